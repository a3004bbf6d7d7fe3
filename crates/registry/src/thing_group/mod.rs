//! Thing groups, static and dynamic: what requests do to them (AWS IoT developer guide, "Static thing groups", "Dynamic thing
//! groups"). Who is in them is in `members.rs`, answers are in `response.rs`.

mod members;
mod path;
mod response;

pub use members::{
    GroupOfThingRow, MemberRow, MemberStateRow, MembershipRequest, ThingGroupsForThingRequest, groups_of_thing_page,
    groups_of_thing_response, members_page, members_response, settle_add,
};
pub use path::GroupPath;
pub use response::{create_response, describe_response, list_response, update_response};

use crate::error::{ApiError, CorruptRow};
use crate::limits::Limits;
use crate::page::{List, Page};
use iot_types::{Scope, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use service_model::Input;
use std::collections::BTreeMap;

/// A thing group as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThingGroup {
    /// The name, which no other group has, wherever it is.
    pub thing_group_name: String,
    /// A UUID that tells it from an earlier one of the same name.
    pub thing_group_id: String,
    /// Where it is.
    pub path: GroupPath,
    /// 1 at creation, one more with every change.
    pub version: u64,
    /// What a client says of it.
    pub document: GroupDocument,
    /// When it was created.
    pub created_at: UnixMillis,
}

/// What a client says of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupDocument {
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Names and values, none of them empty.
    pub attributes: BTreeMap<String, String>,
    /// Of a dynamic group: who is in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<GroupQuery>,
}

/// The query of a dynamic group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupQuery {
    /// Over which index.
    pub index_name: String,
    /// In which language.
    pub query_version: String,
    /// The query.
    pub query_string: String,
    /// Whether all things have been asked since the query was last changed.
    pub is_built: bool,
}

/// A row of the table `thing_groups`, as D1 gives it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct ThingGroupRow {
    pub thing_group_name: String,
    pub thing_group_id: String,
    pub path: String,
    pub version: u64,
    pub document: String,
    pub created_at: u64,
}

impl TryFrom<ThingGroupRow> for ThingGroup {
    type Error = CorruptRow;

    fn try_from(row: ThingGroupRow) -> Result<Self, CorruptRow> {
        let corrupt = |column| CorruptRow { table: "thing_groups", column };
        Ok(Self {
            path: GroupPath::parse(&row.path).ok_or(corrupt("path"))?,
            document: serde_json::from_str(&row.document).map_err(|_| corrupt("document"))?,
            thing_group_name: row.thing_group_name,
            thing_group_id: row.thing_group_id,
            version: row.version,
            created_at: UnixMillis(row.created_at),
        })
    }
}

/// How many children the parent of a new group has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct ChildrenRow {
    pub children: u32,
}

/// The properties in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupProperties {
    /// What it is for.
    pub thing_group_description: Option<String>,
    /// Its attributes.
    pub attribute_payload: Option<AttributePayload>,
}

/// The attributes in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AttributePayload {
    /// Names and values; an empty value means removal. Absent: nothing is to change.
    pub attributes: Option<BTreeMap<String, String>>,
    /// Whether attributes that are not named stay.
    pub merge: bool,
}

/// CreateThingGroup and CreateDynamicThingGroup.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateThingGroupRequest {
    /// From the path.
    pub thing_group_name: String,
    /// The group above it.
    #[serde(default)]
    pub parent_group_name: Option<String>,
    /// What it is.
    #[serde(default)]
    pub thing_group_properties: GroupProperties,
    /// Of a dynamic group.
    #[serde(default)]
    pub query_string: Option<String>,
    /// Of a dynamic group.
    #[serde(default)]
    pub query_version: Option<String>,
    /// Of a dynamic group.
    #[serde(default)]
    pub index_name: Option<String>,
}

impl CreateThingGroupRequest {
    /// The group that is to exist. `parent` is the stored one that the request names.
    ///
    /// # Errors
    /// `ResourceNotFoundException` without the parent; `InvalidRequestException` for a parent that is dynamic, too many
    /// levels or attributes.
    pub fn create(
        &self,
        parent: Option<&ThingGroup>,
        thing_group_id: String,
        limits: &Limits,
        now: UnixMillis,
    ) -> Result<ThingGroup, ApiError> {
        let path = match (&self.parent_group_name, parent) {
            (None, _) => GroupPath::root(&self.thing_group_name),
            (Some(name), None) => return Err(not_found(name)),
            (Some(_), Some(parent)) if parent.document.query.is_some() => {
                return Err(ApiError::invalid_request("A dynamic thing group cannot have child groups"));
            }
            (Some(_), Some(parent)) => parent.path.child(&self.thing_group_name),
        };
        if path.depth() > limits.thing_group_depth {
            let message = format!("A hierarchy of thing groups can have at most {} levels", limits.thing_group_depth);
            return Err(ApiError::invalid_request(message));
        }
        let mut document = GroupDocument {
            description: self.thing_group_properties.thing_group_description.clone(),
            ..Default::default()
        };
        set_attributes(&mut document.attributes, self.thing_group_properties.attribute_payload.as_ref(), limits)?;
        Ok(ThingGroup {
            thing_group_name: self.thing_group_name.clone(),
            thing_group_id,
            path,
            version: 1,
            document,
            created_at: now,
        })
    }
}

/// Whether what is stored is what CreateThingGroup asked for: it may have been asked before.
///
/// # Errors
/// `ResourceAlreadyExistsException` for a group that differs; `InvalidRequestException` when nothing is stored, which is
/// when its parent has as many children as it may have.
pub fn settle_create(
    scope: &Scope,
    candidate: &ThingGroup,
    stored: Option<ThingGroup>,
    limits: &Limits,
) -> Result<ThingGroup, ApiError> {
    let Some(stored) = stored else {
        let message = format!("A thing group can have at most {} child groups", limits.children_of_thing_group);
        return Err(ApiError::invalid_request(message));
    };
    let is_same_query =
        |a: &GroupQuery, b: &GroupQuery| a.query_string == b.query_string && a.index_name == b.index_name;
    let same_query = match (&stored.document.query, &candidate.document.query) {
        (Some(a), Some(b)) => is_same_query(a, b),
        (a, b) => a.is_none() && b.is_none(),
    };
    let (a, b) = (&stored.document, &candidate.document);
    if stored.path == candidate.path && a.description == b.description && a.attributes == b.attributes && same_query {
        return Ok(stored);
    }
    let name = &stored.thing_group_name;
    let message = format!("Thing Group {name} already exists in current account with different properties");
    Err(ApiError::resource_already_exists(message, name, scope.thing_group_arn(name).as_str()))
}

/// UpdateThingGroup and UpdateDynamicThingGroup.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateThingGroupRequest {
    /// From the path.
    pub thing_group_name: String,
    /// What it is to be.
    #[serde(default)]
    pub thing_group_properties: GroupProperties,
    /// The version that it must have.
    #[serde(default)]
    pub expected_version: Option<i64>,
    /// Of a dynamic group.
    #[serde(default)]
    pub query_string: Option<String>,
    /// Of a dynamic group.
    #[serde(default)]
    pub query_version: Option<String>,
    /// Of a dynamic group.
    #[serde(default)]
    pub index_name: Option<String>,
}

impl UpdateThingGroupRequest {
    /// What it makes of a group.
    ///
    /// # Errors
    /// `ResourceNotFoundException`, `VersionConflictException`, `InvalidRequestException` for too many attributes.
    pub fn update(
        &self,
        stored: Option<&ThingGroup>,
        is_dynamic: bool,
        limits: &Limits,
    ) -> Result<ThingGroup, ApiError> {
        let stored = found(&self.thing_group_name, stored, is_dynamic)?;
        check_version(stored, self.expected_version)?;
        let mut changed = stored.clone();
        changed.version = stored.version.saturating_add(1);
        if self.thing_group_properties.thing_group_description.is_some() {
            changed.document.description.clone_from(&self.thing_group_properties.thing_group_description);
        }
        set_attributes(
            &mut changed.document.attributes,
            self.thing_group_properties.attribute_payload.as_ref(),
            limits,
        )?;
        Ok(changed)
    }
}

/// DeleteThingGroup, DeleteDynamicThingGroup and DescribeThingGroup.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThingGroupNameRequest {
    /// From the path.
    pub thing_group_name: String,
    /// The version that it must have.
    #[serde(default)]
    pub expected_version: Option<i64>,
}

/// Whether a group can go that is stored. `children`: how many groups are right below it.
///
/// # Errors
/// `VersionConflictException`; `InvalidRequestException` while it has children.
pub fn check_delete(stored: &ThingGroup, expected_version: Option<i64>, children: u32) -> Result<(), ApiError> {
    check_version(stored, expected_version)?;
    if children > 0 {
        let name = &stored.thing_group_name;
        let message = format!("Cannot delete thing group : {name} when there are still child groups attached to it");
        return Err(ApiError::invalid_request(message));
    }
    Ok(())
}

fn check_version(stored: &ThingGroup, expected_version: Option<i64>) -> Result<(), ApiError> {
    if expected_version.is_some_and(|expected| u64::try_from(expected) != Ok(stored.version)) {
        return Err(version_conflict(&stored.thing_group_name));
    }
    Ok(())
}

/// The group has another version than is expected.
#[must_use]
pub fn version_conflict(name: &str) -> ApiError {
    ApiError::version_conflict(format!("The version for thing group {name} does not match the expected version."))
}

/// The group that must exist, and be of the kind that the operation is for.
///
/// # Errors
/// `ResourceNotFoundException`, `InvalidRequestException`.
pub fn found<'a>(name: &str, stored: Option<&'a ThingGroup>, is_dynamic: bool) -> Result<&'a ThingGroup, ApiError> {
    let stored = stored.ok_or_else(|| not_found(name))?;
    match (is_dynamic, stored.document.query.is_some()) {
        (true, false) => Err(ApiError::invalid_request(format!("Thing group {name} is not a dynamic thing group"))),
        (false, true) => Err(ApiError::invalid_request(format!(
            "Thing group {name} is a dynamic thing group, which only its query changes"
        ))),
        _ => Ok(stored),
    }
}

/// There is no such group.
#[must_use]
pub fn not_found(name: &str) -> ApiError {
    ApiError::resource_not_found(format!("Thing group {name} does not exist"))
}

/// As for things: without `merge` the given attributes replace all, and an empty value removes one.
fn set_attributes(
    attributes: &mut BTreeMap<String, String>,
    payload: Option<&AttributePayload>,
    limits: &Limits,
) -> Result<(), ApiError> {
    let Some(AttributePayload { attributes: Some(given), merge }) = payload else { return Ok(()) };
    if !merge {
        attributes.clear();
    }
    for (name, value) in given {
        if value.is_empty() {
            attributes.remove(name);
        } else {
            attributes.insert(name.clone(), value.clone());
        }
    }
    if attributes.len() > limits.thing_group_attributes {
        let message = format!("A thing group can have at most {} attributes", limits.thing_group_attributes);
        return Err(ApiError::invalid_request(message));
    }
    Ok(())
}

/// A valid ListThingGroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListThingGroupsRequest {
    /// Only what is below this group.
    pub parent_group_name: Option<String>,
    /// Only names that begin so.
    pub name_prefix: String,
    /// Also what is not right below.
    pub is_recursive: bool,
    /// Which part of it.
    pub page: Page,
}

impl ListThingGroupsRequest {
    /// From a request that has been checked against the service model.
    ///
    /// # Errors
    /// `InvalidRequestException` for a token that is none.
    pub fn of(input: &Input, limits: &Limits) -> Result<Self, ApiError> {
        let text = |name: &str| input.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            parent_group_name: text("parentGroup"),
            name_prefix: text("namePrefixFilter").unwrap_or_default(),
            is_recursive: input.get("recursive").and_then(Value::as_bool).unwrap_or(true),
            page: Page::of(List::ThingGroups, input, limits)?,
        })
    }

    /// Whether groups are listed by their paths: all that are below one. Others are listed by name.
    #[must_use]
    pub const fn is_by_path(&self) -> bool {
        self.parent_group_name.is_some() && self.is_recursive
    }

    /// What the list is ordered by.
    pub(crate) fn key<'a>(&self, group: &'a ThingGroup) -> &'a str {
        if self.is_by_path() { group.path.as_str() } else { &group.thing_group_name }
    }
}

#[cfg(test)]
mod tests;
