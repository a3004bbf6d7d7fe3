//! Billing groups: CreateBillingGroup, DescribeBillingGroup, ListBillingGroups, UpdateBillingGroup, DeleteBillingGroup,
//! ListThingsInBillingGroup (AWS IoT developer guide, "Tagging your AWS IoT resources", "Using tags with billing groups").
//! Which group a thing is in is a column of the thing.

use crate::error::ApiError;
use crate::limits::Limits;
use crate::page::{List, Page};
use crate::resource::Resource;
use iot_types::{Scope, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use service_model::Input;

/// A billing group as it is stored; its name is the resource's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BillingGroup {
    /// A UUID that tells it from an earlier one of the same name.
    pub billing_group_id: String,
    /// What a client says of it.
    pub properties: BillingGroupProperties,
}

/// What a client says of a billing group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BillingGroupProperties {
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub billing_group_description: Option<String>,
}

/// CreateBillingGroup, UpdateBillingGroup, DeleteBillingGroup, DescribeBillingGroup.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BillingGroupRequest {
    /// From the path.
    pub billing_group_name: String,
    /// What it is to be.
    #[serde(default)]
    pub billing_group_properties: BillingGroupProperties,
    /// The version that it must have.
    #[serde(default)]
    pub expected_version: Option<i64>,
}

impl BillingGroupRequest {
    /// The resource that CreateBillingGroup wants to exist.
    #[must_use]
    pub fn create(&self, billing_group_id: String, now: UnixMillis) -> Resource<BillingGroup> {
        let properties = self.billing_group_properties.clone();
        Resource::new(self.billing_group_name.clone(), BillingGroup { billing_group_id, properties }, now)
    }
}

/// Whether what is stored is what CreateBillingGroup asked for: it may have been asked before.
///
/// # Errors
/// `ResourceAlreadyExistsException` for other properties.
pub fn settle_create(
    scope: &Scope,
    candidate: &Resource<BillingGroup>,
    stored: &Resource<BillingGroup>,
) -> Result<(), ApiError> {
    if stored.document.properties == candidate.document.properties {
        return Ok(());
    }
    let (name, arn) = (&stored.name, scope.resource_arn("billinggroup", &stored.name));
    let message = format!("Billing Group {name} already exists in current account with different properties");
    Err(ApiError::resource_already_exists(message, name, arn.as_str()))
}

/// There is no such billing group.
#[must_use]
pub fn missing(name: &str) -> String {
    format!("Billing group {name} does not exist")
}

/// CreateBillingGroupResponse.
#[must_use]
pub fn create_response(scope: &Scope, stored: &Resource<BillingGroup>) -> Vec<u8> {
    Value::Object(names(scope, stored)).to_string().into_bytes()
}

/// DescribeBillingGroupResponse.
#[must_use]
pub fn describe_response(scope: &Scope, stored: &Resource<BillingGroup>) -> Vec<u8> {
    let mut body = names(scope, stored);
    body.insert("version".to_owned(), stored.version.into());
    body.insert("billingGroupProperties".to_owned(), json!(stored.document.properties));
    body.insert("billingGroupMetadata".to_owned(), json!({"creationDate": stored.created_at.as_secs()}));
    Value::Object(body).to_string().into_bytes()
}

fn names(scope: &Scope, stored: &Resource<BillingGroup>) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("billingGroupName".to_owned(), stored.name.as_str().into());
    body.insert("billingGroupArn".to_owned(), scope.resource_arn("billinggroup", &stored.name).as_str().into());
    body.insert("billingGroupId".to_owned(), stored.document.billing_group_id.as_str().into());
    body
}

/// UpdateBillingGroupResponse.
#[must_use]
pub fn update_response(version: u64) -> Vec<u8> {
    json!({ "version": version }).to_string().into_bytes()
}

/// Parses the page of ListBillingGroups.
///
/// # Errors
/// `InvalidRequestException` for a token that is none.
pub fn list_page(input: &Input, limits: &Limits) -> Result<Page, ApiError> {
    Page::of(List::BillingGroups, input, limits)
}

/// ListBillingGroupsResponse.
#[must_use]
pub fn list_response(scope: &Scope, page: &Page, stored: Vec<Resource<BillingGroup>>) -> Vec<u8> {
    let value = |one: &Resource<BillingGroup>| -> Value {
        json!({"groupName": one.name, "groupArn": scope.resource_arn("billinggroup", &one.name).as_str()})
    };
    page.response("billingGroups", stored, |one| one.name.clone(), value)
}

/// A thing in a billing group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct ThingNameRow {
    pub thing_name: String,
}

/// Parses the page of ListThingsInBillingGroup.
///
/// # Errors
/// `InvalidRequestException` for a token that is none.
pub fn things_page(input: &Input, limits: &Limits) -> Result<Page, ApiError> {
    Page::of(List::ThingsInBillingGroup, input, limits)
}

/// ListThingsInBillingGroupResponse from what every partition gave, in any order.
#[must_use]
pub fn things_response(page: &Page, mut rows: Vec<ThingNameRow>) -> Vec<u8> {
    rows.sort_by(|a, b| a.thing_name.cmp(&b.thing_name));
    page.response("things", rows, |row| row.thing_name.clone(), |row| row.thing_name.as_str().into())
}
