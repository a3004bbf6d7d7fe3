//! Answers about thing groups.

use super::{ListThingGroupsRequest, ThingGroup};
use iot_types::Scope;
use serde_json::{Map, Value, json};

/// CreateThingGroupResponse and CreateDynamicThingGroupResponse.
#[must_use]
pub fn create_response(scope: &Scope, group: &ThingGroup) -> Vec<u8> {
    let mut body = names(scope, group);
    if let Some(query) = &group.document.query {
        body.insert("indexName".to_owned(), query.index_name.as_str().into());
        body.insert("queryString".to_owned(), query.query_string.as_str().into());
        body.insert("queryVersion".to_owned(), query.query_version.as_str().into());
    }
    Value::Object(body).to_string().into_bytes()
}

/// DescribeThingGroupResponse.
#[must_use]
pub fn describe_response(scope: &Scope, group: &ThingGroup) -> Vec<u8> {
    let mut body = names(scope, group);
    body.insert("version".to_owned(), group.version.into());
    let mut properties = Map::new();
    if let Some(description) = &group.document.description {
        properties.insert("thingGroupDescription".to_owned(), description.as_str().into());
    }
    properties.insert("attributePayload".to_owned(), json!({"attributes": group.document.attributes}));
    body.insert("thingGroupProperties".to_owned(), properties.into());
    let mut metadata = Map::new();
    let ancestors = group.path.ancestors();
    if let Some(parent) = ancestors.last() {
        let above =
            ancestors.iter().map(|name| json!({"groupName": name, "groupArn": scope.thing_group_arn(name).as_str()}));
        metadata.insert("parentGroupName".to_owned(), (*parent).into());
        metadata.insert("rootToParentThingGroups".to_owned(), above.collect());
    }
    metadata.insert("creationDate".to_owned(), group.created_at.as_secs().into());
    body.insert("thingGroupMetadata".to_owned(), metadata.into());
    if let Some(query) = &group.document.query {
        body.insert("indexName".to_owned(), query.index_name.as_str().into());
        body.insert("queryString".to_owned(), query.query_string.as_str().into());
        body.insert("queryVersion".to_owned(), query.query_version.as_str().into());
        body.insert("status".to_owned(), if query.is_built { "ACTIVE" } else { "BUILDING" }.into());
    }
    Value::Object(body).to_string().into_bytes()
}

/// UpdateThingGroupResponse and UpdateDynamicThingGroupResponse.
#[must_use]
pub fn update_response(group: &ThingGroup) -> Vec<u8> {
    json!({"version": group.version}).to_string().into_bytes()
}

/// ListThingGroupsResponse.
#[must_use]
pub fn list_response(scope: &Scope, request: &ListThingGroupsRequest, groups: Vec<ThingGroup>) -> Vec<u8> {
    let value = |group: &ThingGroup| -> Value {
        let arn = scope.thing_group_arn(&group.thing_group_name);
        json!({"groupName": group.thing_group_name, "groupArn": arn.as_str()})
    };
    request.page.response("thingGroups", groups, |group| request.key(group).to_owned(), value)
}

fn names(scope: &Scope, group: &ThingGroup) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("thingGroupName".to_owned(), group.thing_group_name.as_str().into());
    body.insert("thingGroupArn".to_owned(), scope.thing_group_arn(&group.thing_group_name).as_str().into());
    body.insert("thingGroupId".to_owned(), group.thing_group_id.as_str().into());
    body
}
