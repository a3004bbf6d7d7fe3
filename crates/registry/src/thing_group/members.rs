//! Which things are in which groups: AddThingToThingGroup, RemoveThingFromThingGroup, UpdateThingGroupsForThing,
//! ListThingsInThingGroup, ListThingGroupsForThing.

use crate::error::ApiError;
use crate::limits::Limits;
use crate::page::{List, Page};
use iot_types::{Arn, Scope, ThingName};
use serde::Deserialize;
use serde_json::{Value, json};
use service_model::Input;

use super::GroupPath;

/// A thing in a group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct MemberRow {
    pub path: String,
    pub thing_name: String,
}

/// A group that a thing is in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct GroupOfThingRow {
    pub thing_name: String,
    pub path: String,
    /// 0 or 1.
    pub is_dynamic: u8,
}

/// What there is after AddThingToThingGroup.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct MemberStateRow {
    /// `None`: no such thing.
    pub thing_id: Option<String>,
    /// 0 or 1.
    pub is_member: u8,
    /// Groups that the thing is in.
    pub groups: u32,
}

/// AddThingToThingGroup, RemoveThingFromThingGroup and, with the names of billing groups, their counterparts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MembershipRequest {
    thing_group_name: Option<String>,
    thing_group_arn: Option<String>,
    billing_group_name: Option<String>,
    billing_group_arn: Option<String>,
    thing_name: Option<String>,
    thing_arn: Option<String>,
    /// Whether the newest dynamic groups make room for a static one.
    pub override_dynamic_groups: bool,
}

impl MembershipRequest {
    /// The thing, by name or ARN.
    ///
    /// # Errors
    /// `InvalidRequestException` for neither, or two that differ.
    pub fn thing(&self) -> Result<ThingName, ApiError> {
        let name = one_of(self.thing_name.as_deref(), self.thing_arn.as_deref(), "thing", "thingName or thingArn")?;
        ThingName::new(name).map_err(|_| ApiError::invalid_request("The thing's name is not valid"))
    }

    /// The name of the thing group.
    ///
    /// # Errors
    /// `InvalidRequestException` for neither name nor ARN, or two that differ.
    pub fn thing_group(&self) -> Result<String, ApiError> {
        let (name, arn) = (self.thing_group_name.as_deref(), self.thing_group_arn.as_deref());
        one_of(name, arn, "thinggroup", "thingGroupName or thingGroupArn").map(str::to_owned)
    }

    /// The name of the billing group.
    ///
    /// # Errors
    /// `InvalidRequestException` for neither name nor ARN, or two that differ.
    pub fn billing_group(&self) -> Result<String, ApiError> {
        let (name, arn) = (self.billing_group_name.as_deref(), self.billing_group_arn.as_deref());
        one_of(name, arn, "billinggroup", "billingGroupName or billingGroupArn").map(str::to_owned)
    }
}

fn one_of<'a>(name: Option<&'a str>, arn: Option<&'a str>, kind: &str, members: &str) -> Result<&'a str, ApiError> {
    let of_arn = arn.map(|arn| {
        Arn::resource_name(arn, kind)
            .ok_or_else(|| ApiError::invalid_request(format!("{arn} is not the ARN of a {kind}")))
    });
    match (name, of_arn.transpose()?) {
        (Some(name), Some(other)) if name != other => {
            Err(ApiError::invalid_request(format!("{members} must not name different resources")))
        }
        (Some(name), _) | (None, Some(name)) => Ok(name),
        (None, None) => Err(ApiError::invalid_request(format!("{members} must be given"))),
    }
}

/// UpdateThingGroupsForThing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ThingGroupsForThingRequest {
    thing_name: Option<String>,
    /// Groups that the thing is to be in.
    pub thing_groups_to_add: Vec<String>,
    /// Groups that it is not to be in.
    pub thing_groups_to_remove: Vec<String>,
    /// Whether the newest dynamic groups make room for static ones.
    pub override_dynamic_groups: bool,
}

impl ThingGroupsForThingRequest {
    /// The thing.
    ///
    /// # Errors
    /// `InvalidRequestException`.
    pub fn thing(&self) -> Result<ThingName, ApiError> {
        let name = self.thing_name.as_deref().ok_or_else(|| ApiError::invalid_request("thingName must be given"))?;
        ThingName::new(name).map_err(|_| ApiError::invalid_request("The thing's name is not valid"))
    }
}

/// Whether a thing is in a group now, from what there is.
///
/// # Errors
/// `ResourceNotFoundException` for no such thing; `InvalidRequestException` for one that is in too many groups, or in
/// another of the same hierarchy where that is not allowed.
pub fn settle_add(
    thing: &ThingName,
    path: &GroupPath,
    state: Option<&MemberStateRow>,
    limits: &Limits,
) -> Result<(), ApiError> {
    match state {
        Some(MemberStateRow { thing_id: Some(_), is_member: 1, .. }) => Ok(()),
        Some(MemberStateRow { thing_id: Some(_), groups, .. }) if *groups >= limits.thing_groups_of_thing => {
            let message = format!("Thing {thing} is in {groups} thing groups already, as many as a thing can be in");
            Err(ApiError::invalid_request(message))
        }
        Some(MemberStateRow { thing_id: Some(_), .. }) if !limits.several_groups_of_hierarchy => {
            let message = format!("Thing {thing} is in another group of the hierarchy of {} already", path.name());
            Err(ApiError::invalid_request(message))
        }
        // The group went while the thing was about to be added.
        Some(MemberStateRow { thing_id: Some(_), .. }) => Err(super::not_found(path.name())),
        _ => Err(ApiError::resource_not_found(format!("Thing {thing} not found"))),
    }
}

/// Parses the page of ListThingsInThingGroup. The token has the path and the thing's name.
///
/// # Errors
/// `InvalidRequestException` for a token that is none.
pub fn members_page(input: &Input, limits: &Limits) -> Result<Page, ApiError> {
    Page::of(List::ThingsInGroup, input, limits)
}

/// ListThingsInThingGroupResponse from what every partition gave, in any order.
#[must_use]
pub fn members_response(page: &Page, mut rows: Vec<MemberRow>) -> Vec<u8> {
    rows.sort_by(|a, b| (&a.path, &a.thing_name).cmp(&(&b.path, &b.thing_name)));
    page.response(
        "things",
        rows,
        |row| format!("{}\n{}", row.path, row.thing_name),
        |row| row.thing_name.as_str().into(),
    )
}

/// Parses the page of ListThingGroupsForThing.
///
/// # Errors
/// `InvalidRequestException` for a token that is none.
pub fn groups_of_thing_page(input: &Input, limits: &Limits) -> Result<Page, ApiError> {
    Page::of(List::GroupsOfThing, input, limits)
}

/// ListThingGroupsForThingResponse.
#[must_use]
pub fn groups_of_thing_response(scope: &Scope, page: &Page, rows: Vec<GroupOfThingRow>) -> Vec<u8> {
    let value = |row: &GroupOfThingRow| -> Value {
        let path = GroupPath::parse(&row.path);
        let name = path.as_ref().map_or("", GroupPath::name);
        json!({"groupName": name, "groupArn": scope.thing_group_arn(name).as_str()})
    };
    page.response("thingGroups", rows, |row| row.path.clone(), value)
}
