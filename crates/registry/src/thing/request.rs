//! Requests about things, parsed and checked against the service model.

use crate::error::ApiError;
use crate::input::{Body, Query, Violations};
use crate::limits::Limits;
use crate::page::{self, List};
use iot_types::ThingName;
use std::collections::BTreeMap;

/// A valid CreateThing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateThingRequest {
    /// From the path.
    pub thing_name: ThingName,
    /// A well-formed name; whether there is such a type is for [`create`](super::create) to say.
    pub thing_type_name: Option<String>,
    /// Those with a value: an empty one is the same as absent.
    pub attributes: BTreeMap<String, String>,
    /// A well-formed name.
    pub billing_group_name: Option<String>,
}

impl CreateThingRequest {
    /// From what a provisioning template gives.
    ///
    /// # Errors
    /// `InvalidRequestException` for names, attributes or numbers of them that CreateThing would not take.
    pub fn new(
        thing_name: ThingName,
        thing_type_name: Option<String>,
        payload: AttributePayload,
        billing_group_name: Option<String>,
        limits: &Limits,
    ) -> Result<Self, ApiError> {
        let mut attributes = payload.attributes;
        attributes.retain(|_, value| !value.is_empty());
        if let Some((name, _)) = attributes
            .iter()
            .find(|(name, value)| !is_attribute_name(name, limits) || !is_attribute_value(value, limits))
        {
            let message = format!("The attribute {name} has a name or a value that an attribute cannot have");
            return Err(ApiError::invalid_request(message));
        }
        check_attribute_count(attributes.len(), thing_type_name.is_some(), limits)?;
        Ok(Self { thing_name, thing_type_name, attributes, billing_group_name })
    }

    /// Parses the path parameter and the body. `attributePayload.merge` has no meaning here and is ignored, as AWS does.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(thing_name: &str, body: &[u8], limits: &Limits) -> Result<Self, ApiError> {
        let body = Body::parse(body)?;
        let mut violations = Violations::default();
        let thing_type_name = optional_name(&body, "thingTypeName", &mut violations)?;
        let billing_group_name = optional_name(&body, "billingGroupName", &mut violations)?;
        let payload = AttributePayload::parse(&body, limits, &mut violations)?;
        let thing_name = finish(thing_name, violations)?;
        let mut attributes = payload.map(|payload| payload.attributes).unwrap_or_default();
        attributes.retain(|_, value| !value.is_empty());
        check_attribute_count(attributes.len(), thing_type_name.is_some(), limits)?;
        Ok(Self { thing_name, thing_type_name, attributes, billing_group_name })
    }
}

/// A valid DescribeThing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeThingRequest {
    /// From the path.
    pub thing_name: ThingName,
}

impl DescribeThingRequest {
    /// Parses the path parameter.
    ///
    /// # Errors
    /// `InvalidRequestException`.
    pub fn parse(thing_name: &str) -> Result<Self, ApiError> {
        Ok(Self { thing_name: finish(thing_name, Violations::default())? })
    }
}

/// A valid UpdateThing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateThingRequest {
    /// From the path.
    pub thing_name: ThingName,
    /// A well-formed name.
    pub thing_type_name: Option<String>,
    /// Absent: the attributes stay as they are.
    pub attribute_payload: Option<AttributePayload>,
    /// The version that the thing must have.
    pub expected_version: Option<i64>,
    /// Whether the thing loses its type.
    pub remove_thing_type: bool,
}

impl UpdateThingRequest {
    /// Parses the path parameter and the body.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(thing_name: &str, body: &[u8], limits: &Limits) -> Result<Self, ApiError> {
        let body = Body::parse(body)?;
        let mut violations = Violations::default();
        let thing_type_name = optional_name(&body, "thingTypeName", &mut violations)?;
        let attribute_payload = AttributePayload::parse(&body, limits, &mut violations)?;
        let expected_version = body.long("expectedVersion")?;
        let remove_thing_type = body.boolean("removeThingType")?.unwrap_or(false);
        let thing_name = finish(thing_name, violations)?;
        if remove_thing_type && thing_type_name.is_some() {
            return Err(ApiError::invalid_request("thingTypeName and removeThingType must not be given together"));
        }
        Ok(Self { thing_name, thing_type_name, attribute_payload, expected_version, remove_thing_type })
    }
}

/// A valid DeleteThing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteThingRequest {
    /// From the path.
    pub thing_name: ThingName,
    /// The version that the thing must have.
    pub expected_version: Option<i64>,
}

impl DeleteThingRequest {
    /// Parses the path parameter and the query string (without `?`).
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(thing_name: &str, query: &str) -> Result<Self, ApiError> {
        let expected_version = Query::parse(query).long("expectedVersion")?;
        Ok(Self { thing_name: finish(thing_name, Violations::default())?, expected_version })
    }
}

/// A valid ListThings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListThingsRequest {
    /// The page begins after this name; empty for the first page.
    pub after: String,
    /// The most things on the page.
    pub max_results: u32,
    /// Only things with this attribute.
    pub attribute: Option<AttributeFilter>,
    /// Only things of this type.
    pub thing_type_name: Option<String>,
}

/// Which things ListThings keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeFilter {
    /// The attribute's name.
    pub name: String,
    /// Its value, or how its value begins.
    pub value: String,
    /// Whether the value only has to begin with `value`.
    pub prefix: bool,
}

impl ListThingsRequest {
    /// The first things of a type.
    #[must_use]
    pub fn of_type(thing_type_name: &str, max_results: u32) -> Self {
        let thing_type_name = Some(thing_type_name.to_owned());
        Self { after: String::new(), max_results, attribute: None, thing_type_name }
    }

    /// Parses the query string (without `?`).
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(query: &str, limits: &Limits) -> Result<Self, ApiError> {
        let query = Query::parse(query);
        let mut violations = Violations::default();
        let max_results = query.max_results(limits.default_page_size, limits.max_page_size, &mut violations)?;
        let prefix = query.boolean("usePrefixAttributeValue")?.unwrap_or(false);
        let name = query.string("attributeName");
        if let Some(name) = name.filter(|name| !is_attribute_name(name, limits)) {
            violations.add(name, "attributeName", &name_constraint(limits));
        }
        let value = query.string("attributeValue");
        if let Some(value) = value.filter(|value| !is_attribute_value(value, limits)) {
            violations.add(value, "attributeValue", &value_constraint(limits));
        }
        let thing_type_name = query.string("thingTypeName");
        if let Some(name) = thing_type_name {
            violations.name(name, "thingTypeName");
        }
        violations.finish()?;
        let attribute = match (name, value) {
            (Some(name), Some(value)) => {
                Some(AttributeFilter { name: name.to_owned(), value: value.to_owned(), prefix })
            }
            (None, None) => None,
            _ => return Err(ApiError::invalid_request("attributeName and attributeValue must be given together")),
        };
        if attribute.is_some() && thing_type_name.is_some() && !limits.combined_thing_filters {
            // AWS's own words (aws-sdk-js issue 4237).
            return Err(ApiError::invalid_request(
                "Listing things by the combination of attribute and thing type is not supported",
            ));
        }
        let after = query.string("nextToken").map(|token| page::decode_token(List::Things, token)).transpose()?;
        Ok(Self {
            after: after.unwrap_or_default(),
            max_results,
            attribute,
            thing_type_name: thing_type_name.map(str::to_owned),
        })
    }
}

/// The attributes in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributePayload {
    /// Names and values; an empty value means removal.
    pub attributes: BTreeMap<String, String>,
    /// Whether attributes that are not named stay.
    pub merge: bool,
}

impl AttributePayload {
    /// `None` when the request has no `attributes`, whatever `merge` says: nothing is to change then.
    fn parse(body: &Body, limits: &Limits, violations: &mut Violations) -> Result<Option<Self>, ApiError> {
        const PATH: &str = "attributePayload.attributes";
        let Some(payload) = body.structure("attributePayload")? else { return Ok(None) };
        let merge = payload.boolean("merge")?.unwrap_or(false);
        let Some(attributes) = payload.structure("attributes")? else { return Ok(None) };
        let attributes = attributes.strings()?;
        let bad_name = attributes.keys().any(|name| !is_attribute_name(name, limits));
        let bad_value = attributes.values().any(|value| !is_attribute_value(value, limits));
        if bad_name || bad_value {
            let pairs: Vec<String> = attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let value = format!("{{{}}}", pairs.join(", "));
            if bad_name {
                let constraint = format!("Map keys must satisfy constraint: [{}]", name_constraint(limits));
                violations.add(&value, PATH, &constraint);
            }
            if bad_value {
                let constraint = format!("Map value must satisfy constraint: [{}]", value_constraint(limits));
                violations.add(&value, PATH, &constraint);
            }
        }
        Ok(Some(Self { attributes, merge }))
    }
}

fn optional_name(body: &Body, member: &str, violations: &mut Violations) -> Result<Option<String>, ApiError> {
    let name = body.string(member)?;
    if let Some(name) = name {
        violations.name(name, member);
    }
    Ok(name.map(str::to_owned))
}

fn finish(thing_name: &str, mut violations: Violations) -> Result<ThingName, ApiError> {
    violations.name(thing_name, "thingName");
    violations.finish()?;
    ThingName::new(thing_name).map_err(|error| ApiError::invalid_request(error.to_string()))
}

/// How many attributes a thing may have depends on whether it has a type.
pub(super) fn check_attribute_count(count: usize, has_thing_type: bool, limits: &Limits) -> Result<(), ApiError> {
    let (limit, which) = if has_thing_type {
        (limits.attributes_with_thing_type, "with")
    } else {
        (limits.attributes_without_thing_type, "without")
    };
    if count > limit {
        return Err(ApiError::invalid_request(format!(
            "The number of attributes, {count}, exceeds the limit of {limit} for a thing {which} a thing type"
        )));
    }
    Ok(())
}

fn shared(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.,@/:#-".contains(&byte)
}

fn is_attribute_name(name: &str, limits: &Limits) -> bool {
    (1..=limits.attribute_name_length).contains(&name.len()) && name.bytes().all(shared)
}

fn is_attribute_value(value: &str, limits: &Limits) -> bool {
    value.len() <= limits.attribute_value_length && value.bytes().all(|b| shared(b) || b"=[]".contains(&b))
}

fn name_constraint(limits: &Limits) -> String {
    constraint(limits.attribute_name_length, "[a-zA-Z0-9_.,@/:#-]+")
}

fn value_constraint(limits: &Limits) -> String {
    constraint(limits.attribute_value_length, r"[a-zA-Z0-9_.,@/:#=\[\]-]*")
}

/// AWS's wording (aws-sdk-java issue 666).
fn constraint(max: usize, pattern: &str) -> String {
    format!(
        "Member must have length less than or equal to {max}, Member must have length greater than or equal to 0, \
         Member must satisfy regular expression pattern: {pattern}"
    )
}
