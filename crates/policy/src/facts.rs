//! What policy variables and condition keys stand for, as far as it is the same for a whole connection (AWS IoT developer
//! guide, "Basic AWS IoT Core policy variables", "Thing policy variables", "X.509 Certificate AWS IoT Core policy
//! variables").

use core::net::IpAddr;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A longer value is not put in place of a variable, in characters.
const LONGEST_VALUE: usize = 1_024;
/// Of an attribute with more values, the first so many count.
const MOST_VALUES: usize = 5;

/// What is known of a connection, or of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// `iot:ClientId`.
    pub client_id: Option<String>,
    /// `aws:SourceIp`.
    pub source_ip: Option<IpAddr>,
    /// `iot:DomainName`.
    pub domain_name: Option<String>,
    /// The thing that the connection is, if its principal has any.
    pub thing: Option<ThingFacts>,
    /// What begins with `iot:Certificate.`: its name behind that, and its values in their order.
    pub certificate: BTreeMap<String, Vec<String>>,
    /// Any other key with its values; names in lower case.
    pub other: BTreeMap<String, Vec<String>>,
}

/// A thing of the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThingFacts {
    /// `iot:Connection.Thing.ThingName`.
    pub name: String,
    /// `iot:Connection.Thing.ThingTypeName`.
    pub thing_type: Option<String>,
    /// `iot:Connection.Thing.Attributes[name]`.
    pub attributes: BTreeMap<String, String>,
    /// `iot:Connection.Thing.IsAttached`. Without it the other variables stand for nothing.
    pub is_attached: bool,
    /// The names of the groups that it is in, and of those above them: theirs are policies that it has.
    #[serde(default)]
    pub groups: Vec<String>,
    /// User properties that its messages get along: its type's propagating attributes.
    #[serde(default)]
    pub propagated: Vec<(String, String)>,
}

impl Facts {
    /// The values of a key; `None` when it has none.
    pub(crate) fn values(&self, key: &str) -> Option<Vec<String>> {
        let lower = key.to_ascii_lowercase();
        let one = |value: &Option<String>| value.clone().map(|value| vec![value]);
        if let Some(about) = lower.strip_prefix("iot:connection.thing.") {
            return self.thing_values(about, key.get("iot:connection.thing.".len()..)?);
        }
        if lower.strip_prefix("iot:certificate.").is_some() {
            return self.certificate_values(key.get("iot:certificate.".len()..)?);
        }
        match lower.as_str() {
            "iot:clientid" => one(&self.client_id),
            "iot:domainname" => one(&self.domain_name),
            "aws:sourceip" => self.source_ip.map(|ip| vec![ip.to_string()]),
            "aws:securetransport" => Some(vec!["true".to_owned()]),
            _ => self.other.get(&lower).filter(|values| !values.is_empty()).cloned(),
        }
    }

    /// `about`: in lower case; `name`: as it is written.
    fn thing_values(&self, about: &str, name: &str) -> Option<Vec<String>> {
        if about == "isattached" {
            return Some(vec![self.thing.as_ref().is_some_and(|thing| thing.is_attached).to_string()]);
        }
        let thing = self.thing.as_ref().filter(|thing| thing.is_attached)?;
        let value = match about {
            "thingname" => thing.name.clone(),
            "thingtypename" => thing.thing_type.clone()?,
            _ if about.starts_with("attributes[") => {
                let attribute = name.get("attributes[".len()..)?.strip_suffix(']')?;
                thing.attributes.get(attribute)?.clone()
            }
            _ => return None,
        };
        Some(vec![value])
    }

    /// `Subject.CommonName` and `Subject.CommonName.1` are the first of them, `Subject.CommonName.List` all.
    fn certificate_values(&self, name: &str) -> Option<Vec<String>> {
        let find = |name: &str| {
            let mut entries = self.certificate.iter();
            entries.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, values)| values)
        };
        if let Some(values) = find(name) {
            return values.first().map(|first| vec![first.clone()]);
        }
        let (name, index) = name.rsplit_once('.')?;
        let values = find(name)?;
        if index.eq_ignore_ascii_case("list") {
            return Some(values.iter().take(MOST_VALUES).cloned().collect());
        }
        let number: usize = index.parse().ok()?;
        values.iter().take(MOST_VALUES).nth(number.checked_sub(1)?).map(|value| vec![value.clone()])
    }

    /// What a variable is replaced with; `None` leaves it standing, so that nothing matches: for a value that is not
    /// known, not a single one, or that could widen what the policy says.
    pub(crate) fn substitute(&self, variable: &str) -> Option<String> {
        let mut values = self.values(variable)?;
        let value = values.pop().filter(|_| values.is_empty())?;
        let is_harmless = !value.contains(['*', '$', '+', '?', '#']) && value.chars().count() <= LONGEST_VALUE;
        is_harmless.then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_could_widen_a_policy_is_not_put_in() {
        for (value, is_put_in) in [
            ("lamp", true),
            ("a/b", true),
            ("*", false),
            ("a?", false),
            ("a+", false),
            ("#", false),
            ("$aws", false),
            (&"x".repeat(1_024), true),
            (&"x".repeat(1_025), false),
        ] {
            let facts = Facts { client_id: Some(value.to_owned()), ..Facts::default() };
            assert_eq!(facts.substitute("iot:ClientId").is_some(), is_put_in, "{value}");
        }
    }

    #[test]
    fn a_things_variables_stand_for_nothing_until_it_is_attached() {
        let thing = ThingFacts {
            name: "lamp".into(),
            thing_type: Some("light".into()),
            attributes: BTreeMap::from([("Room".to_owned(), "hall".to_owned())]),
            is_attached: true,
            ..ThingFacts::default()
        };
        let of = |is_attached| Facts { thing: Some(ThingFacts { is_attached, ..thing.clone() }), ..Facts::default() };
        for (variable, value) in [
            ("iot:Connection.Thing.ThingName", Some("lamp")),
            ("iot:connection.thing.thingtypename", Some("light")),
            ("iot:Connection.Thing.Attributes[Room]", Some("hall")),
            ("iot:Connection.Thing.Attributes[room]", None),
            ("iot:Connection.Thing.Else", None),
            ("iot:Connection.Thing.Properties[Room]", None),
        ] {
            assert_eq!(of(true).substitute(variable).as_deref(), value, "{variable}");
            assert_eq!(of(false).substitute(variable), None, "{variable}");
        }
        let attached = "iot:Connection.Thing.IsAttached";
        assert_eq!(of(true).substitute(attached).as_deref(), Some("true"));
        assert_eq!(of(false).substitute(attached).as_deref(), Some("false"));
        assert_eq!(Facts::default().substitute(attached).as_deref(), Some("false"));
    }

    #[test]
    fn a_certificates_attributes_are_numbered_and_at_most_five() {
        let units: Vec<String> = (0..7).map(|n| format!("unit{n}")).collect();
        let certificate = BTreeMap::from([("Subject.OrganizationalUnit".to_owned(), units)]);
        let facts = Facts { certificate, ..Facts::default() };
        for (variable, value) in [
            ("iot:Certificate.Subject.OrganizationalUnit", Some("unit0")),
            ("iot:Certificate.Subject.OrganizationalUnit.1", Some("unit0")),
            ("iot:Certificate.Subject.OrganizationalUnit.5", Some("unit4")),
            ("iot:Certificate.Subject.OrganizationalUnit.6", None),
            ("iot:Certificate.Subject.OrganizationalUnit.0", None),
            ("iot:Certificate.Subject.OrganizationalUnit.List", None),
            ("iot:Certificate.Subject.CommonName", None),
        ] {
            assert_eq!(facts.substitute(variable).as_deref(), value, "{variable}");
        }
        assert_eq!(facts.values("iot:Certificate.Subject.OrganizationalUnit.List").map(|all| all.len()), Some(5));
    }
}
