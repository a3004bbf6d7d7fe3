//! Whose a thing is: AttachThingPrincipal, DetachThingPrincipal, ListThingPrincipals, ListPrincipalThings and the second
//! versions of the lists (AWS IoT API reference).

use crate::error::{ApiError, CorruptRow};
use crate::input::{Query, Violations};
use crate::limits::Limits;
use crate::page::{self, List};
use crate::policy::PolicyTarget;
use iot_types::{Scope, ThingName};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// How a principal belongs to a thing (AWS's `ThingPrincipalType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThingPrincipalType {
    /// It has no other thing.
    Exclusive,
    /// It may have others.
    NonExclusive,
}

impl ThingPrincipalType {
    /// AWS's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exclusive => "EXCLUSIVE_THING",
            Self::NonExclusive => "NON_EXCLUSIVE_THING",
        }
    }

    fn of_query(query: &Query) -> Result<Option<Self>, ApiError> {
        match query.string("thingPrincipalType") {
            None => Ok(None),
            Some("EXCLUSIVE_THING") => Ok(Some(Self::Exclusive)),
            Some("NON_EXCLUSIVE_THING") => Ok(Some(Self::NonExclusive)),
            Some(_) => {
                Err(ApiError::invalid_request("thingPrincipalType must be EXCLUSIVE_THING or NON_EXCLUSIVE_THING"))
            }
        }
    }

    const fn of_row(is_exclusive: u8) -> Self {
        if is_exclusive == 1 { Self::Exclusive } else { Self::NonExclusive }
    }
}

/// A row of either list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct ThingPrincipalRow {
    pub principal: String,
    pub thing_name: String,
    /// 0 or 1.
    pub is_exclusive: u8,
}

/// What there is after AttachThingPrincipal; each 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct ThingAttachmentRow {
    pub has_thing: u8,
    pub has_principal: u8,
    /// `None`: not attached.
    pub is_exclusive: Option<u8>,
}

/// Whether a thing has principals; 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct HasPrincipalsRow {
    pub has_principals: u8,
}

/// A thing that a principal has, for a Broker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct ThingOfPrincipalRow {
    pub principal: String,
    /// As it was asked for.
    pub client_id: String,
    pub thing_name: String,
    pub thing_type_name: Option<String>,
    /// A JSON object of strings.
    pub attributes: String,
}

impl ThingOfPrincipalRow {
    /// The attributes.
    ///
    /// # Errors
    /// [`CorruptRow`].
    pub fn attributes(&self) -> Result<BTreeMap<String, String>, CorruptRow> {
        serde_json::from_str(&self.attributes).map_err(|_| CorruptRow { table: "things", column: "attributes" })
    }
}

/// The type that AttachThingPrincipal asks for.
///
/// # Errors
/// `InvalidRequestException`.
pub fn attached_type(query: &str) -> Result<ThingPrincipalType, ApiError> {
    Ok(ThingPrincipalType::of_query(&Query::parse(query))?.unwrap_or(ThingPrincipalType::NonExclusive))
}

/// The principal in the header `x-amzn-principal`, or what takes its place in older operations.
///
/// # Errors
/// `InvalidRequestException`.
pub fn principal(header: Option<&str>, scope: &Scope) -> Result<PolicyTarget, ApiError> {
    PolicyTarget::parse(header.unwrap_or_default(), scope)
}

/// Whether AttachThingPrincipal attached it, from what there is.
///
/// # Errors
/// `ResourceNotFoundException`; `InvalidRequestException` when one is exclusive and there is another.
pub fn settle_attach(
    name: &ThingName,
    principal: &PolicyTarget,
    wanted: ThingPrincipalType,
    row: Option<ThingAttachmentRow>,
) -> Result<(), ApiError> {
    let row = row.unwrap_or(ThingAttachmentRow { has_thing: 0, has_principal: 0, is_exclusive: None });
    if row.has_thing == 0 {
        return Err(ApiError::resource_not_found(format!("Thing {} cannot be found.", name.as_str())));
    }
    if row.has_principal == 0 {
        return Err(ApiError::resource_not_found(format!("Principal {} cannot be found.", principal.as_str())));
    }
    match row.is_exclusive.map(ThingPrincipalType::of_row) {
        Some(stored) if stored == wanted => Ok(()),
        Some(stored) => {
            let message = format!("The principal is attached to this thing as {} already", stored.as_str());
            Err(ApiError::invalid_request(message))
        }
        None => Err(ApiError::invalid_request(
            "The principal has another thing, and one of them is to be exclusive (EXCLUSIVE_THING)",
        )),
    }
}

/// A page of either list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThingPrincipalsPage {
    list: List,
    /// The page begins after this name or principal.
    pub after: String,
    /// The most on the page.
    pub size: u32,
    /// Only those of this type.
    pub only: Option<ThingPrincipalType>,
}

impl ThingPrincipalsPage {
    /// Of ListThingPrincipals.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn of_principals(query: &str, limits: &Limits) -> Result<Self, ApiError> {
        Self::parse(List::ThingPrincipals, query, limits)
    }

    /// Of ListPrincipalThings.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn of_things(query: &str, limits: &Limits) -> Result<Self, ApiError> {
        Self::parse(List::PrincipalThings, query, limits)
    }

    fn parse(list: List, query: &str, limits: &Limits) -> Result<Self, ApiError> {
        let query = Query::parse(query);
        let mut violations = Violations::default();
        let size = query.max_results(limits.default_page_size, limits.max_page_size, &mut violations)?;
        violations.finish()?;
        let token = query.string("nextToken").filter(|token| !token.is_empty());
        let after = token.map(|token| page::decode_token(list, token)).transpose()?.unwrap_or_default();
        Ok(Self { list, after, size, only: ThingPrincipalType::of_query(&query)? })
    }

    /// The answer; `has_types` in the second versions.
    #[must_use]
    pub fn response(&self, mut rows: Vec<ThingPrincipalRow>, has_types: bool) -> Vec<u8> {
        let is_principals = self.list == List::ThingPrincipals;
        let name = |row: &ThingPrincipalRow| if is_principals { row.principal.clone() } else { row.thing_name.clone() };
        let next = page::cut(&mut rows, self.size, self.list, name);
        let value = |row: &ThingPrincipalRow| {
            let kind = ThingPrincipalType::of_row(row.is_exclusive).as_str();
            match (has_types, is_principals) {
                (false, _) => Value::from(name(row)),
                (true, true) => json!({"principal": row.principal, "thingPrincipalType": kind}),
                (true, false) => json!({"thingName": row.thing_name, "thingPrincipalType": kind}),
            }
        };
        let member = match (has_types, is_principals) {
            (false, true) => "principals",
            (false, false) => "things",
            (true, true) => "thingPrincipalObjects",
            (true, false) => "principalThingObjects",
        };
        let mut body = Map::new();
        body.insert(member.to_owned(), rows.iter().map(value).collect());
        if let Some(next) = next {
            body.insert("nextToken".to_owned(), next.into());
        }
        Value::Object(body).to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_types::{AccountId, Region};

    #[test]
    fn what_is_attached_as_one_type_is_not_attached_as_another() {
        let scope =
            Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("eu-west-1").unwrap() };
        let (name, principal) = (ThingName::new("lamp").unwrap(), principal(Some("someone"), &scope).unwrap());
        let settle = |has_thing, has_principal, is_exclusive, wanted| {
            let row = ThingAttachmentRow { has_thing, has_principal, is_exclusive };
            settle_attach(&name, &principal, wanted, Some(row)).err().map(|error| error.name())
        };
        use ThingPrincipalType::{Exclusive, NonExclusive};
        assert_eq!(settle(1, 1, Some(0), NonExclusive), None);
        assert_eq!(settle(1, 1, Some(1), Exclusive), None);
        assert_eq!(settle(1, 1, Some(1), NonExclusive), Some("InvalidRequestException"));
        assert_eq!(settle(1, 1, None, NonExclusive), Some("InvalidRequestException"));
        assert_eq!(settle(0, 1, None, NonExclusive), Some("ResourceNotFoundException"));
        assert_eq!(settle(1, 0, None, NonExclusive), Some("ResourceNotFoundException"));
    }

    #[test]
    fn the_two_versions_of_a_list_differ_in_the_type() {
        let rows = || vec![ThingPrincipalRow { principal: "p".into(), thing_name: "t".into(), is_exclusive: 1 }; 2];
        let page = |query: &str| ThingPrincipalsPage::of_things(query, &Limits::STANDARD).unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(text(page("").response(rows(), false)), r#"{"things":["t","t"]}"#);
        let first = text(page("maxResults=1").response(rows(), true));
        assert!(first.contains(r#"[{"thingName":"t","thingPrincipalType":"EXCLUSIVE_THING"}]"#), "{first}");
        assert!(first.contains("nextToken"), "{first}");
        assert!(ThingPrincipalsPage::of_things("thingPrincipalType=X", &Limits::STANDARD).is_err());
    }
}
