//! Thing types: CreateThingType, DescribeThingType, ListThingTypes, UpdateThingType, DeprecateThingType, DeleteThingType
//! (AWS IoT developer guide, "Thing types").

use crate::error::ApiError;
use crate::limits::Limits;
use crate::page::{List, Page};
use crate::resource::Resource;
use iot_types::{Scope, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use service_model::Input;
use std::collections::{BTreeMap, BTreeSet};

/// A thing type as it is stored; its name is the resource's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingType {
    /// A UUID that tells it from an earlier one of the same name.
    pub thing_type_id: String,
    /// What it is.
    pub properties: ThingTypeProperties,
    /// When things could no longer be made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated_at: Option<UnixMillis>,
}

/// What a client says of a thing type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ThingTypeProperties {
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thing_type_description: Option<String>,
    /// Attributes by which things of the type are found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub searchable_attributes: Option<Vec<String>>,
    /// What clients' messages get along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt5_configuration: Option<Mqtt5Configuration>,
}

/// MQTT 5 settings of a thing type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mqtt5Configuration {
    /// User properties that each message gets whose client is a thing of the type.
    pub propagating_attributes: Vec<PropagatingAttribute>,
}

/// A user property and where its value is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PropagatingAttribute {
    /// The user property's name; without one the attribute's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_property_key: Option<String>,
    /// An attribute of the thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_attribute: Option<String>,
    /// A variable of the connection, such as `iot:ClientId`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_attribute: Option<String>,
}

/// Variables that a connection attribute can be.
const CONNECTION_ATTRIBUTES: [&str; 2] = ["iot:ClientId", "iot:Thing.ThingName"];

/// CreateThingType and UpdateThingType.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingTypeRequest {
    /// From the path.
    pub thing_type_name: String,
    /// What it is to be.
    #[serde(default)]
    pub thing_type_properties: ThingTypeProperties,
}

impl ThingTypeRequest {
    /// What the service model does not say.
    ///
    /// # Errors
    /// `InvalidRequestException`.
    pub fn check(&self, limits: &Limits) -> Result<(), ApiError> {
        let searchable = self.thing_type_properties.searchable_attributes.as_deref().unwrap_or_default();
        if searchable.len() > limits.searchable_attributes {
            let message =
                format!("A thing type can have at most {} searchable attributes", limits.searchable_attributes);
            return Err(ApiError::invalid_request(message));
        }
        if searchable.iter().collect::<BTreeSet<_>>().len() < searchable.len() {
            return Err(ApiError::invalid_request("searchableAttributes names an attribute twice"));
        }
        let configuration = self.thing_type_properties.mqtt5_configuration.clone().unwrap_or_default();
        for attribute in &configuration.propagating_attributes {
            match (&attribute.thing_attribute, &attribute.connection_attribute) {
                (Some(_), None) => {}
                (None, Some(name)) if CONNECTION_ATTRIBUTES.contains(&name.as_str()) => {}
                (None, Some(name)) => {
                    let message = format!("connectionAttribute must be one of {CONNECTION_ATTRIBUTES:?}, not {name}");
                    return Err(ApiError::invalid_request(message));
                }
                _ => {
                    let message = "A propagating attribute has either a thingAttribute or a connectionAttribute";
                    return Err(ApiError::invalid_request(message));
                }
            }
            if attribute.connection_attribute.is_some() && attribute.user_property_key.is_none() {
                return Err(ApiError::invalid_request("A connectionAttribute needs a userPropertyKey"));
            }
        }
        Ok(())
    }

    /// The resource that CreateThingType wants to exist.
    #[must_use]
    pub fn create(&self, thing_type_id: String, now: UnixMillis) -> Resource<ThingType> {
        let properties = self.thing_type_properties.clone();
        Resource::new(self.thing_type_name.clone(), ThingType { thing_type_id, properties, deprecated_at: None }, now)
    }

    /// What UpdateThingType makes of a thing type.
    ///
    /// # Errors
    /// `InvalidRequestException` for other searchable attributes, which never change.
    pub fn update(&self, stored: &ThingType) -> Result<ThingType, ApiError> {
        let wanted = &self.thing_type_properties;
        let mut changed = stored.clone();
        if wanted.searchable_attributes.is_some()
            && wanted.searchable_attributes != stored.properties.searchable_attributes
        {
            return Err(ApiError::invalid_request("The searchable attributes of a thing type cannot be changed"));
        }
        if wanted.thing_type_description.is_some() {
            changed.properties.thing_type_description.clone_from(&wanted.thing_type_description);
        }
        if wanted.mqtt5_configuration.is_some() {
            changed.properties.mqtt5_configuration.clone_from(&wanted.mqtt5_configuration);
        }
        Ok(changed)
    }
}

/// Whether what is stored is what CreateThingType asked for: it may have been asked before.
///
/// # Errors
/// `ResourceAlreadyExistsException` for other properties.
pub fn settle_create(
    scope: &Scope,
    candidate: &Resource<ThingType>,
    stored: &Resource<ThingType>,
) -> Result<(), ApiError> {
    if stored.document.properties == candidate.document.properties && stored.document.deprecated_at.is_none() {
        return Ok(());
    }
    let (name, arn) = (&stored.name, scope.resource_arn("thingtype", &stored.name));
    let message = format!("Thing Type {name} already exists in current account with different properties");
    Err(ApiError::resource_already_exists(message, name, arn.as_str()))
}

/// What DeprecateThingType makes of a thing type.
#[must_use]
pub fn deprecate(stored: &ThingType, undo: bool, now: UnixMillis) -> ThingType {
    let deprecated_at = if undo { None } else { stored.deprecated_at.or(Some(now)) };
    ThingType { deprecated_at, ..stored.clone() }
}

/// Whether a thing type can go. `has_things`: whether any thing has it.
///
/// # Errors
/// `InvalidRequestException`.
pub fn check_delete(
    stored: &Resource<ThingType>,
    has_things: bool,
    limits: &Limits,
    now: UnixMillis,
) -> Result<(), ApiError> {
    let name = &stored.name;
    let Some(at) = stored.document.deprecated_at else {
        return Err(ApiError::invalid_request(format!("Cannot delete: thing type {name} is not deprecated")));
    };
    let delay = limits.thing_type_deletion_delay_millis;
    if now.0.saturating_sub(at.0) < delay {
        let minutes = delay / 60_000;
        let message = format!("Cannot delete: thing type {name} must have been deprecated for {minutes} minutes");
        return Err(ApiError::invalid_request(message));
    }
    if has_things {
        let message = format!("Cannot delete: thing type {name} is still associated with things");
        return Err(ApiError::invalid_request(message));
    }
    Ok(())
}

/// Whether a thing may be given this type. `is_new`: by CreateThing.
///
/// # Errors
/// `ResourceNotFoundException`, `InvalidRequestException` for one that is deprecated.
pub fn check_use(name: &str, stored: Option<&Resource<ThingType>>, is_new: bool) -> Result<(), ApiError> {
    match stored.map(|stored| stored.document.deprecated_at) {
        None => Err(not_found(name)),
        Some(None) => Ok(()),
        Some(Some(_)) if is_new => {
            Err(ApiError::invalid_request(format!("Can not create new thing with deprecated thing type:{name}")))
        }
        Some(Some(_)) => {
            Err(ApiError::invalid_request(format!("Can not update a thing to use deprecated thing type: {name}")))
        }
    }
}

/// There is no such thing type.
#[must_use]
pub fn not_found(name: &str) -> ApiError {
    ApiError::resource_not_found(format!("Thing type {name} does not exist"))
}

/// User properties that the messages of a thing get along.
#[must_use]
pub fn propagated(
    thing_type: &ThingType,
    attributes: &BTreeMap<String, String>,
    client_id: &str,
    thing_name: &str,
) -> Vec<(String, String)> {
    let configuration = thing_type.properties.mqtt5_configuration.iter();
    let all = configuration.flat_map(|configuration| &configuration.propagating_attributes);
    let property = |attribute: &PropagatingAttribute| {
        let (own_name, value) = match (&attribute.thing_attribute, attribute.connection_attribute.as_deref()) {
            (Some(name), _) => (name.as_str(), attributes.get(name)?.as_str()),
            (None, Some(name @ "iot:ClientId")) => (name, client_id),
            (None, Some(name @ "iot:Thing.ThingName")) => (name, thing_name),
            _ => return None,
        };
        let name = attribute.user_property_key.as_deref().unwrap_or(own_name);
        Some((name.to_owned(), value.to_owned()))
    };
    all.filter_map(property).collect()
}

/// CreateThingTypeResponse.
#[must_use]
pub fn create_response(scope: &Scope, stored: &Resource<ThingType>) -> Vec<u8> {
    json!({
        "thingTypeName": stored.name,
        "thingTypeArn": scope.resource_arn("thingtype", &stored.name).as_str(),
        "thingTypeId": stored.document.thing_type_id,
    })
    .to_string()
    .into_bytes()
}

/// DescribeThingTypeResponse.
#[must_use]
pub fn describe_response(scope: &Scope, stored: &Resource<ThingType>) -> Vec<u8> {
    let mut body = definition(scope, stored);
    body.insert("thingTypeId".to_owned(), stored.document.thing_type_id.as_str().into());
    Value::Object(body).to_string().into_bytes()
}

/// Parses ListThingTypes.
///
/// # Errors
/// `InvalidRequestException` for a token that is none.
pub fn list_page(input: &Input, limits: &Limits) -> Result<Page, ApiError> {
    Page::of(List::ThingTypes, input, limits)
}

/// ListThingTypesResponse.
#[must_use]
pub fn list_response(scope: &Scope, page: &Page, stored: Vec<Resource<ThingType>>) -> Vec<u8> {
    let value = |one: &Resource<ThingType>| Value::Object(definition(scope, one));
    page.response("thingTypes", stored, |one| one.name.clone(), value)
}

fn definition(scope: &Scope, stored: &Resource<ThingType>) -> Map<String, Value> {
    let deprecated_at = stored.document.deprecated_at;
    let mut metadata = Map::new();
    metadata.insert("deprecated".to_owned(), deprecated_at.is_some().into());
    if let Some(at) = deprecated_at {
        metadata.insert("deprecationDate".to_owned(), at.as_secs().into());
    }
    metadata.insert("creationDate".to_owned(), stored.created_at.as_secs().into());
    let mut body = Map::new();
    body.insert("thingTypeName".to_owned(), stored.name.as_str().into());
    body.insert("thingTypeArn".to_owned(), scope.resource_arn("thingtype", &stored.name).as_str().into());
    body.insert("thingTypeProperties".to_owned(), json!(stored.document.properties));
    body.insert("thingTypeMetadata".to_owned(), metadata.into());
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(properties: Value) -> ThingTypeRequest {
        serde_json::from_value(json!({"thingTypeName": "lamp", "thingTypeProperties": properties})).unwrap()
    }

    #[test]
    fn properties_say_what_can_be_searched_and_what_goes_along_with_messages() {
        let check = |properties| request(properties).check(&Limits::STANDARD).map_err(|error| error.name());
        let propagating = |attribute: Value| json!({"mqtt5Configuration": {"propagatingAttributes": [attribute]}});
        assert_eq!(check(json!({"searchableAttributes": ["a", "b", "c"]})), Ok(()));
        assert_eq!(check(propagating(json!({"thingAttribute": "a"}))), Ok(()));
        let connection = json!({"connectionAttribute": "iot:ClientId", "userPropertyKey": "id"});
        assert_eq!(check(propagating(connection)), Ok(()));
        for bad in [
            json!({"searchableAttributes": ["a", "b", "c", "d"]}),
            json!({"searchableAttributes": ["a", "a"]}),
            propagating(json!({})),
            propagating(json!({"thingAttribute": "a", "connectionAttribute": "iot:ClientId"})),
            propagating(json!({"connectionAttribute": "iot:Secret", "userPropertyKey": "id"})),
            propagating(json!({"connectionAttribute": "iot:ClientId"})),
        ] {
            assert_eq!(check(bad.clone()), Err("InvalidRequestException"), "{bad}");
        }
    }

    #[test]
    fn a_thing_type_is_created_once_deprecated_and_deleted() {
        let (now, limits) = (UnixMillis(1_000_000), Limits::AWS);
        let first = request(json!({})).create("id-1".to_owned(), now);
        assert_eq!(check_use("lamp", Some(&first), true), Ok(()));
        assert_eq!(check_delete(&first, false, &limits, now).unwrap_err().name(), "InvalidRequestException");
        let deprecated = first.changed(deprecate(&first.document, false, now), now);
        assert_eq!(check_use("lamp", Some(&deprecated), true).unwrap_err().name(), "InvalidRequestException");
        let later = UnixMillis(now.0 + 300_000);
        assert!(check_delete(&deprecated, false, &limits, UnixMillis(later.0 - 1)).is_err());
        assert_eq!(check_delete(&deprecated, false, &limits, later), Ok(()));
        assert!(check_delete(&deprecated, true, &limits, later).is_err());
        assert_eq!(deprecate(&deprecated.document, false, later), deprecated.document, "the first time counts");
        assert_eq!(deprecate(&deprecated.document, true, later), first.document);
        assert_eq!(check_use("lamp", None, true).unwrap_err().name(), "ResourceNotFoundException");
    }

    #[test]
    fn an_update_leaves_what_it_does_not_name_and_never_changes_what_can_be_searched() {
        let stored = request(json!({"thingTypeDescription": "a", "searchableAttributes": ["x"]}));
        let stored = stored.create("id".to_owned(), UnixMillis(1)).document;
        let changed = request(json!({"thingTypeDescription": "b"})).update(&stored).unwrap();
        assert_eq!(changed.properties.thing_type_description.as_deref(), Some("b"));
        assert_eq!(changed.properties.searchable_attributes, Some(vec!["x".to_owned()]));
        assert!(request(json!({"searchableAttributes": ["y"]})).update(&stored).is_err());
    }
}
