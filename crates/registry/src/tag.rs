//! Tags of resources: TagResource, UntagResource, ListTagsForResource, and the tags that things are created with (AWS IoT
//! developer guide, "Tagging your AWS IoT resources").

use crate::error::ApiError;
use crate::limits::Limits;
use crate::operation::Operation;
use crate::page::{List, Page};
use iot_types::Scope;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use service_model::Input;
use std::collections::BTreeMap;

/// Tags by their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(pub BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Tags {
    /// From AWS's list of `Key` and `Value`; the last of a key counts.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Tag {
            #[serde(rename = "Key")]
            key: String,
            #[serde(rename = "Value", default)]
            value: String,
        }
        let list = Vec::<Tag>::deserialize(deserializer)?;
        Ok(Self(list.into_iter().map(|tag| (tag.key, tag.value)).collect()))
    }
}

/// Beginnings of keys that are AWS's own.
const RESERVED: &str = "aws:";

impl Tags {
    /// What AWS's pattern does not say about them, and how many there may be.
    ///
    /// # Errors
    /// `InvalidRequestException`.
    pub fn check(&self, limit: u32) -> Result<(), ApiError> {
        if self.0.keys().any(|key| key.to_ascii_lowercase().starts_with(RESERVED)) {
            return Err(ApiError::invalid_request("Tag keys must not begin with aws:"));
        }
        if self.0.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
            return Err(too_many(limit));
        }
        Ok(())
    }
}

/// There would be too many.
#[must_use]
pub fn too_many(limit: u32) -> ApiError {
    ApiError::invalid_request(format!("A resource can have at most {limit} tags"))
}

/// A row of the table `tags`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct TagRow {
    pub key: String,
    pub value: String,
}

/// A resource that can have tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum TaggedKind {
    Authorizer,
    BillingGroup,
    CaCertificate,
    Certificate,
    DomainConfiguration,
    ThingGroup,
    FleetMetric,
    Policy,
    ProvisioningTemplate,
    RoleAlias,
    ThingType,
    TopicRule,
}

/// What stands before the name in an ARN. AWS's things can have no tags, so ours can't either.
const KINDS: &[(&str, TaggedKind)] = &[
    ("authorizer", TaggedKind::Authorizer),
    ("billinggroup", TaggedKind::BillingGroup),
    ("cacert", TaggedKind::CaCertificate),
    ("cert", TaggedKind::Certificate),
    ("domainconfiguration", TaggedKind::DomainConfiguration),
    ("thinggroup", TaggedKind::ThingGroup),
    ("fleetmetric", TaggedKind::FleetMetric),
    ("policy", TaggedKind::Policy),
    ("provisioningtemplate", TaggedKind::ProvisioningTemplate),
    ("rolealias", TaggedKind::RoleAlias),
    ("thingtype", TaggedKind::ThingType),
    ("rule", TaggedKind::TopicRule),
];

/// The resource that an ARN names.
///
/// # Errors
/// `InvalidRequestException` for what is no ARN of this account or can have no tags.
pub fn tagged<'a>(arn: &'a str, scope: &Scope) -> Result<(TaggedKind, &'a str), ApiError> {
    let own = format!("arn:aws:iot:{}:{}:", scope.region.as_str(), scope.account_id.as_str());
    let found = arn.strip_prefix(&own).and_then(|resource| {
        let (kind, name) = resource.split_once('/')?;
        let (_, kind) = KINDS.iter().find(|(known, _)| *known == kind)?;
        // A domain configuration has more than its name in its ARN.
        let name = if *kind == TaggedKind::DomainConfiguration { name.split('/').next()? } else { name };
        Some((*kind, name)).filter(|(_, name)| !name.is_empty())
    });
    found.ok_or_else(|| ApiError::invalid_request(format!("{arn} is not the ARN of a resource that can have tags")))
}

/// The ARN that a resource's tags are stored under: without what a domain configuration has behind its name.
#[must_use]
pub fn stored_arn(kind: TaggedKind, name: &str, scope: &Scope) -> String {
    let word = KINDS.iter().find(|(_, known)| *known == kind).map_or("", |(word, _)| word);
    scope.resource_arn(word, name).to_string()
}

/// The resource that an operation creates or deletes, and the member of the request that has its name.
#[must_use]
pub const fn of_operation(operation: Operation) -> Option<(TaggedKind, &'static str)> {
    use Operation as O;
    Some(match operation {
        O::CreateThingType | O::DeleteThingType => (TaggedKind::ThingType, "thingTypeName"),
        O::CreateThingGroup | O::DeleteThingGroup => (TaggedKind::ThingGroup, "thingGroupName"),
        O::CreateBillingGroup | O::DeleteBillingGroup => (TaggedKind::BillingGroup, "billingGroupName"),
        O::CreatePolicy | O::DeletePolicy => (TaggedKind::Policy, "policyName"),
        O::CreateAuthorizer | O::DeleteAuthorizer => (TaggedKind::Authorizer, "authorizerName"),
        O::CreateRoleAlias | O::DeleteRoleAlias => (TaggedKind::RoleAlias, "roleAlias"),
        O::CreateDomainConfiguration | O::DeleteDomainConfiguration => {
            (TaggedKind::DomainConfiguration, "domainConfigurationName")
        }
        O::CreateProvisioningTemplate | O::DeleteProvisioningTemplate => {
            (TaggedKind::ProvisioningTemplate, "templateName")
        }
        O::CreateTopicRule | O::DeleteTopicRule => (TaggedKind::TopicRule, "ruleName"),
        O::DeleteCertificate => (TaggedKind::Certificate, "certificateId"),
        O::DeleteCACertificate => (TaggedKind::CaCertificate, "caCertificateId"),
        _ => return None,
    })
}

/// Parses the page of ListTagsForResource.
///
/// # Errors
/// `InvalidRequestException` for a token that is none.
pub fn list_page(input: &Input, limits: &Limits) -> Result<Page, ApiError> {
    Page::of(List::Tags, input, limits)
}

/// ListTagsForResourceResponse.
#[must_use]
pub fn list_response(page: &Page, rows: Vec<TagRow>) -> Vec<u8> {
    page.response("tags", rows, |row| row.key.clone(), |row| json!({"Key": row.key, "Value": row.value}))
}

/// The tags in a request that creates something: a list, or in the header of CreateTopicRule a query string.
///
/// # Errors
/// `InvalidRequestException`.
pub fn of_creation(input: &Input, limit: u32) -> Result<Tags, ApiError> {
    let tags = match input.get("tags") {
        None => Tags::default(),
        Some(Value::String(query)) => Tags(
            form_urlencoded::parse(query.as_bytes())
                .map(|(key, value)| (key.into_owned(), value.into_owned()))
                .collect(),
        ),
        Some(list) => {
            serde_json::from_value(list.clone()).map_err(|_| ApiError::invalid_request("tags is not a list of tags"))?
        }
    };
    tags.check(limit)?;
    Ok(tags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_types::{AccountId, Region};

    #[test]
    fn an_arn_of_this_account_names_a_resource_that_can_have_tags() {
        let scope =
            Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() };
        let own = "arn:aws:iot:us-east-1:123456789012:";
        let of = |text: &str| tagged(text, &scope).map(|(kind, name)| (kind, name.to_owned()));
        assert_eq!(of(&format!("{own}thinggroup/a:b")), Ok((TaggedKind::ThingGroup, "a:b".to_owned())));
        let configuration = of(&format!("{own}domainconfiguration/d/abcde"));
        assert_eq!(configuration, Ok((TaggedKind::DomainConfiguration, "d".to_owned())));
        for bad in ["", "x", &format!("{own}thing/a"), &format!("{own}rule/"), "arn:aws:iot:us-east-1:1:rule/a"] {
            assert_eq!(of(bad).unwrap_err().name(), "InvalidRequestException", "{bad}");
        }
    }

    #[test]
    fn keys_of_awss_own_are_refused() {
        let tags = |text: &str| {
            let input = json!({"tags": serde_json::from_str::<Value>(text).unwrap()});
            of_creation(input.as_object().unwrap(), 2)
        };
        let expected = BTreeMap::from([("a".to_owned(), "2".to_owned()), ("b".to_owned(), String::new())]);
        let list = r#"[{"Key":"a","Value":"1"},{"Key":"a","Value":"2"},{"Key":"b"}]"#;
        assert_eq!(tags(list).unwrap().0, expected);
        assert!(tags(r#"[{"Key":"AWS:x","Value":""}]"#).is_err());
        assert!(tags(r#"[{"Key":"a"},{"Key":"b"},{"Key":"c"}]"#).is_err());
        assert_eq!(tags(r#""a=2&b=""#).unwrap().0, expected);
        assert_eq!(of_creation(&Input::new(), 2).unwrap(), Tags::default());
    }
}
