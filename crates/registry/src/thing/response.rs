//! Answers about things: JSON with the members, and the omissions, of the service model.

use super::{ListThingsRequest, ThingRecord};
use crate::page::{self, List};
use iot_types::Scope;
use serde_json::{Map, Value, json};

/// CreateThingResponse.
#[must_use]
pub fn create_thing_response(scope: &Scope, thing: &ThingRecord) -> Vec<u8> {
    let body = json!({
        "thingName": thing.thing_name.as_str(),
        "thingArn": scope.thing_arn(&thing.thing_name).as_str(),
        "thingId": thing.thing_id,
    });
    body.to_string().into_bytes()
}

/// DescribeThingResponse. `defaultClientId` is the thing's name.
#[must_use]
pub fn describe_thing_response(scope: &Scope, thing: &ThingRecord) -> Vec<u8> {
    let mut body = Map::new();
    body.insert("defaultClientId".to_owned(), thing.thing_name.as_str().into());
    body.insert("thingName".to_owned(), thing.thing_name.as_str().into());
    body.insert("thingId".to_owned(), thing.thing_id.as_str().into());
    common_members(&mut body, scope, thing);
    if let Some(name) = &thing.billing_group_name {
        body.insert("billingGroupName".to_owned(), name.as_str().into());
    }
    Value::Object(body).to_string().into_bytes()
}

/// ListThingsResponse from the rows that [`list_things`](crate::statements::list_things) gave: of every partition,
/// in any order.
#[must_use]
pub fn list_things_response(scope: &Scope, request: &ListThingsRequest, mut things: Vec<ThingRecord>) -> Vec<u8> {
    // Each partition's rows are in this order already; together they are not.
    things.sort_by(|a, b| a.thing_name.cmp(&b.thing_name));
    let next_token = page::cut(&mut things, request.max_results, List::Things, |thing| thing.thing_name.to_string());
    let things = things.iter().map(|thing| {
        let mut members = Map::new();
        members.insert("thingName".to_owned(), thing.thing_name.as_str().into());
        common_members(&mut members, scope, thing);
        Value::Object(members)
    });
    let mut body = Map::new();
    body.insert("things".to_owned(), things.collect());
    if let Some(token) = next_token {
        body.insert("nextToken".to_owned(), token.into());
    }
    Value::Object(body).to_string().into_bytes()
}

/// UpdateThingResponse, which has no members.
#[must_use]
pub fn update_thing_response() -> Vec<u8> {
    b"{}".to_vec()
}

/// DeleteThingResponse, which has no members.
#[must_use]
pub fn delete_thing_response() -> Vec<u8> {
    b"{}".to_vec()
}

fn common_members(members: &mut Map<String, Value>, scope: &Scope, thing: &ThingRecord) {
    if let Some(name) = &thing.thing_type_name {
        members.insert("thingTypeName".to_owned(), name.as_str().into());
    }
    members.insert("thingArn".to_owned(), scope.thing_arn(&thing.thing_name).as_str().into());
    let attributes = thing.attributes.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
    members.insert("attributes".to_owned(), Value::Object(attributes.collect()));
    members.insert("version".to_owned(), thing.version.into());
}
