//! Things: what a request does to a record. Requests are in `request.rs`, answers in `response.rs`.

mod request;
mod response;

pub use request::{
    AttributeFilter, AttributePayload, CreateThingRequest, DeleteThingRequest, DescribeThingRequest, ListThingsRequest,
    UpdateThingRequest,
};
pub use response::{
    create_thing_response, delete_thing_response, describe_thing_response, list_things_response, update_thing_response,
};

use crate::billing_group::{self, BillingGroup};
use crate::error::{ApiError, CorruptRow};
use crate::limits::Limits;
use crate::resource::Resource;
use crate::thing_type::{self, ThingType};
use iot_types::{Scope, ThingName, UnixMillis};
use serde::Deserialize;
use std::collections::BTreeMap;

/// A thing as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThingRecord {
    /// The name, which never changes.
    pub thing_name: ThingName,
    /// A UUID that tells this thing from an earlier one of the same name.
    pub thing_id: String,
    /// 1 at creation, one more with every update.
    pub version: u64,
    /// Names and values, none of them empty.
    pub attributes: BTreeMap<String, String>,
    /// The thing type, if the thing has one.
    pub thing_type_name: Option<String>,
    /// The billing group, if the thing is in one.
    pub billing_group_name: Option<String>,
    /// When it was created.
    pub created_at: UnixMillis,
}

/// A row of the table `things`, as D1 gives it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct ThingRow {
    pub thing_name: String,
    pub thing_id: String,
    pub version: u64,
    pub attributes: String,
    pub thing_type_name: Option<String>,
    pub billing_group_name: Option<String>,
    pub created_at: u64,
}

impl TryFrom<ThingRow> for ThingRecord {
    type Error = CorruptRow;

    fn try_from(row: ThingRow) -> Result<Self, CorruptRow> {
        let corrupt = |column| CorruptRow { table: "things", column };
        Ok(Self {
            thing_name: ThingName::new(row.thing_name).map_err(|_| corrupt("thing_name"))?,
            thing_id: row.thing_id,
            version: row.version,
            attributes: serde_json::from_str(&row.attributes).map_err(|_| corrupt("attributes"))?,
            thing_type_name: row.thing_type_name,
            billing_group_name: row.billing_group_name,
            created_at: UnixMillis(row.created_at),
        })
    }
}

/// The record that a valid CreateThing wants to exist. `thing_id` is a fresh UUID.
///
/// Run the batch [`insert_thing`](crate::statements::insert_thing),
/// [`select_thing`](crate::statements::select_thing) and hand what is then stored to [`settle_create`].
///
/// Whether its thing type and billing group may be used is for [`Uses`] to say.
#[must_use]
pub fn create(request: &CreateThingRequest, thing_id: String, now: UnixMillis) -> ThingRecord {
    ThingRecord {
        thing_name: request.thing_name.clone(),
        thing_id,
        version: 1,
        attributes: request.attributes.clone(),
        thing_type_name: request.thing_type_name.clone(),
        billing_group_name: request.billing_group_name.clone(),
        created_at: now,
    }
}

/// What a request wants a thing to have that is elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uses<'a> {
    /// The thing type.
    pub thing_type_name: Option<&'a str>,
    /// The billing group.
    pub billing_group_name: Option<&'a str>,
    /// Whether the thing is to be created.
    pub is_new: bool,
}

impl Uses<'_> {
    /// Whether nothing has to be looked up.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.thing_type_name.is_none() && self.billing_group_name.is_none()
    }

    /// Whether they may be used, from what is stored of them.
    ///
    /// # Errors
    /// `ResourceNotFoundException`; `InvalidRequestException` for a deprecated thing type.
    pub fn check(
        &self,
        thing_type: Option<&Resource<ThingType>>,
        billing_group: Option<&Resource<BillingGroup>>,
    ) -> Result<(), ApiError> {
        if let Some(name) = self.thing_type_name {
            thing_type::check_use(name, thing_type, self.is_new)?;
        }
        match (self.billing_group_name, billing_group) {
            (Some(name), None) => Err(ApiError::resource_not_found(billing_group::missing(name))),
            _ => Ok(()),
        }
    }
}

/// Whether `stored`, read after trying to insert `candidate`, is what the client asked for.
///
/// CreateThing is idempotent: the same configuration again succeeds with the ids of the thing that exists, so answer
/// with [`create_thing_response`] of `stored` either way.
///
/// # Errors
/// `ResourceAlreadyExistsException` when a thing of the name has another configuration.
pub fn settle_create(scope: &Scope, candidate: &ThingRecord, stored: &ThingRecord) -> Result<(), ApiError> {
    let difference = if stored.attributes != candidate.attributes {
        "attributes"
    } else if stored.thing_type_name != candidate.thing_type_name {
        "thing type"
    } else if stored.billing_group_name != candidate.billing_group_name {
        "billing group"
    } else {
        return Ok(());
    };
    Err(ApiError::resource_already_exists(
        format!("Thing {} already exists in account with different {difference}", stored.thing_name),
        stored.thing_name.as_str(),
        scope.thing_arn(&stored.thing_name).as_str(),
    ))
}

/// The record after an UpdateThing, with the next version.
///
/// Without `merge` the given attributes replace all; an empty value removes the attribute in both cases. Store it with
/// [`update_thing`](crate::statements::update_thing), which changes nothing unless the stored version is still that of
/// `stored`, and hand the number of changed rows to [`settle_update`].
///
/// # Errors
/// `ResourceNotFoundException` without a stored record, `VersionConflictException`, and `InvalidRequestException` when there would be too many attributes.
pub fn update(
    request: &UpdateThingRequest,
    stored: Option<&ThingRecord>,
    limits: &Limits,
) -> Result<ThingRecord, ApiError> {
    let Some(stored) = stored else { return Err(thing_not_found(&request.thing_name)) };
    if request.expected_version.is_some_and(|expected| u64::try_from(expected) != Ok(stored.version)) {
        return Err(version_conflict(&request.thing_name));
    }
    let mut record = stored.clone();
    record.version = stored.version.saturating_add(1);
    if request.remove_thing_type {
        record.thing_type_name = None;
    } else if request.thing_type_name.is_some() {
        record.thing_type_name.clone_from(&request.thing_type_name);
    }
    if let Some(payload) = &request.attribute_payload {
        if !payload.merge {
            record.attributes.clear();
        }
        for (name, value) in &payload.attributes {
            if value.is_empty() {
                record.attributes.remove(name);
            } else {
                record.attributes.insert(name.clone(), value.clone());
            }
        }
    }
    request::check_attribute_count(record.attributes.len(), record.thing_type_name.is_some(), limits)?;
    Ok(record)
}

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// It is stored.
    Done,
    /// Another request changed the thing in between: read it again and call [`update`] again, a few times at most.
    Retry,
}

/// Whether the row changed.
///
/// # Errors
/// `VersionConflictException` when the client expected a version and the thing has changed since it was read.
pub fn settle_update(request: &UpdateThingRequest, rows_changed: u64) -> Result<Update, ApiError> {
    match (rows_changed, request.expected_version) {
        (0, Some(_)) => Err(version_conflict(&request.thing_name)),
        (0, None) => Ok(Update::Retry),
        _ => Ok(Update::Done),
    }
}

/// Whether a DeleteThing did what it should, from what is left after the batch
/// [`delete_thing`](crate::statements::delete_thing), [`select_thing`](crate::statements::select_thing).
///
/// A thing that does not exist is not an error: "Returns successfully with no error if the deletion is successful or
/// you specify a thing that doesn't exist" (AWS IoT API reference, DeleteThing).
///
/// # Errors
/// `VersionConflictException` when the thing is there with another version than the client expects,
/// `InvalidRequestException` while a principal is attached to it.
pub fn settle_delete(request: &DeleteThingRequest, remaining: Option<&ThingRecord>) -> Result<(), ApiError> {
    match remaining {
        None => Ok(()),
        Some(thing) if request.expected_version.is_none_or(|expected| u64::try_from(expected) == Ok(thing.version)) => {
            let name = &request.thing_name;
            let message = format!("Cannot delete. Thing {name} is still attached to one or more principals");
            Err(ApiError::invalid_request(message))
        }
        Some(_) => Err(version_conflict(&request.thing_name)),
    }
}

/// The record of a thing that must exist.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn found(thing_name: &ThingName, stored: Option<ThingRecord>) -> Result<ThingRecord, ApiError> {
    stored.ok_or_else(|| thing_not_found(thing_name))
}

fn thing_not_found(thing_name: &ThingName) -> ApiError {
    ApiError::resource_not_found(format!("Thing {thing_name} not found"))
}

fn version_conflict(thing_name: &ThingName) -> ApiError {
    ApiError::version_conflict(format!("The version for thing {thing_name} does not match the expected version."))
}

#[cfg(test)]
mod tests;
