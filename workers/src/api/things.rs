//! Things: CreateThing, DescribeThing, ListThings, UpdateThing, DeleteThing, GetThingConnectivityData.

use super::error::Failure;
use super::resources::{self, TRIES};
use super::{Call, connections, control, events};
use crate::http::random_uuid;
use durable_objects::d1;
use iot_types::{ClientId, ThingName};
use registry::billing_group::BillingGroup;
use registry::data::connectivity_response;
use registry::registry_event::{Association, Change, RegistryEvent};
use registry::resource::{Resource, ResourceKind, ResourceRow};
use registry::thing::{
    self, CreateThingRequest, DeleteThingRequest, DescribeThingRequest, ListThingsRequest, ThingRecord, ThingRow,
    Update, UpdateThingRequest, Uses,
};
use registry::thing_principal::HasPrincipalsRow;
use registry::thing_type::ThingType;
use registry::{ApiError, Partition, statements};
use worker::D1Result;

pub async fn create(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = CreateThingRequest::parse(call.route.parameter("thingName"), &call.body, &call.deployment.limits())?;
    let candidate = thing::create(&request, random_uuid(), call.now);
    let uses = Uses {
        thing_type_name: candidate.thing_type_name.as_deref(),
        billing_group_name: candidate.billing_group_name.as_deref(),
        is_new: true,
    };
    check_uses(call, uses).await?;
    let partition = call.deployment.partitions().of(&candidate.thing_name);
    let batch =
        [statements::insert_thing(partition, &candidate), statements::select_thing(partition, &candidate.thing_name)];
    let results = call.deployment.registry().batch(&batch).await?;
    let stored = record(results.last())?.ok_or_else(|| Failure::Platform("the thing was not stored".to_owned()))?;
    let scope = &call.deployment.config.scope;
    thing::settle_create(scope, &candidate, &stored)?;
    if d1::changes_at(&results, 0)? > 0 {
        let mut told = vec![RegistryEvent::thing(Change::Created, &stored)];
        let thing_type = stored.thing_type_name.as_deref();
        told.extend(thing_type.map(|name| RegistryEvent::thing_type_association(Association::Added, &stored, name)));
        events::tell(call, told).await;
    }
    Ok(thing::create_thing_response(scope, &stored))
}

/// Whether a thing may have the type and the billing group that a request names.
pub async fn check_uses(call: &Call<'_>, uses: Uses<'_>) -> Result<(), Failure> {
    if uses.is_nothing() {
        return Ok(());
    }
    let select =
        |kind, name: Option<&str>| statements::select_resource(Partition::FIRST, kind, name.unwrap_or_default());
    let batch = [
        select(ResourceKind::ThingType, uses.thing_type_name),
        select(ResourceKind::BillingGroup, uses.billing_group_name),
    ];
    let results = call.deployment.registry().batch(&batch).await?;
    let row = |place| -> Result<Option<ResourceRow>, Failure> { Ok(d1::rows_at(&results, place)?.into_iter().next()) };
    let thing_type = row(0)?.map(Resource::<ThingType>::try_from).transpose()?;
    let billing_group = row(1)?.map(Resource::<BillingGroup>::try_from).transpose()?;
    Ok(uses.check(thing_type.as_ref(), billing_group.as_ref())?)
}

pub async fn describe(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = DescribeThingRequest::parse(call.route.parameter("thingName"))?;
    let stored = thing::found(&request.thing_name, read(call, &request.thing_name).await?)?;
    Ok(thing::describe_thing_response(&call.deployment.config.scope, &stored))
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = ListThingsRequest::parse(call.query, &call.deployment.limits())?;
    let registry = call.deployment.registry();
    let mut things = Vec::new();
    for partition in call.deployment.partitions().all() {
        let rows: Vec<ThingRow> = registry.read(statements::list_things(partition, &request)).await?;
        for row in rows {
            things.push(ThingRecord::try_from(row)?);
        }
    }
    Ok(thing::list_things_response(&call.deployment.config.scope, &request, things))
}

pub async fn update(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let limits = call.deployment.limits();
    let request = UpdateThingRequest::parse(call.route.parameter("thingName"), &call.body, &limits)?;
    let name = &request.thing_name;
    let partition = call.deployment.partitions().of(name);
    let uses = Uses { thing_type_name: request.thing_type_name.as_deref(), billing_group_name: None, is_new: false };
    check_uses(call, uses).await?;
    for _ in 0..TRIES {
        let stored = read(call, name).await?;
        let changed = thing::update(&request, stored.as_ref(), &limits)?;
        let Some(stored) = stored else { continue };
        let batch =
            [statements::update_thing(partition, &stored, &changed), statements::has_principals(partition, name)];
        let results = call.deployment.registry().batch(&batch).await?;
        match thing::settle_update(&request, d1::changes_at(&results, 0)?)? {
            Update::Done => {
                let rows: Vec<HasPrincipalsRow> = d1::rows_at(&results, 1)?;
                control::thing_changed(call, name, rows.iter().any(|row| row.has_principals == 1)).await?;
                tell_of_update(call, &stored, &changed).await;
                return Ok(thing::update_thing_response());
            }
            Update::Retry => {}
        }
    }
    Err(resources::busy().into())
}

async fn tell_of_update(call: &Call<'_>, stored: &ThingRecord, changed: &ThingRecord) {
    let mut told = vec![RegistryEvent::thing(Change::Updated, changed)];
    let (before, after) = (stored.thing_type_name.as_deref(), changed.thing_type_name.as_deref());
    if before != after {
        let associated = |association, name| RegistryEvent::thing_type_association(association, changed, name);
        told.extend(before.map(|name| associated(Association::Removed, name)));
        told.extend(after.map(|name| associated(Association::Added, name)));
    }
    events::tell(call, told).await;
}

pub async fn delete(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = DeleteThingRequest::parse(call.route.parameter("thingName"), call.query)?;
    let name = &request.thing_name;
    let partition = call.deployment.partitions().of(name);
    let batch = [
        statements::select_thing(partition, name),
        statements::delete_thing(partition, &request),
        statements::leave_all_groups(partition, name),
        statements::select_thing(partition, name),
    ];
    let results = call.deployment.registry().batch(&batch).await?;
    thing::settle_delete(&request, record(results.last())?.as_ref())?;
    if let Some(deleted) = record(results.first())? {
        let mut told = vec![RegistryEvent::thing(Change::Deleted, &deleted)];
        let thing_type = deleted.thing_type_name.as_deref();
        told.extend(thing_type.map(|name| RegistryEvent::thing_type_association(Association::Removed, &deleted, name)));
        events::tell(call, told).await;
    }
    Ok(thing::delete_thing_response())
}

/// GetThingConnectivityData: the connection of the client that has the thing's name.
pub async fn connectivity(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = ThingName::new(call.route.parameter("thingName"))
        .map_err(|_| ApiError::invalid_request("The thing's name is not valid"))?;
    thing::found(&name, read(call, &name).await?)?;
    let client_id =
        ClientId::new(name.as_str()).ok_or_else(|| ApiError::invalid_request("The name is no client id"))?;
    let state = connections::describe(call, &client_id).await?;
    Ok(connectivity_response(&name, state.as_ref()))
}

/// The thing that the path names.
pub fn name(call: &Call<'_>) -> Result<ThingName, ApiError> {
    DescribeThingRequest::parse(call.route.parameter("thingName")).map(|request| request.thing_name)
}

pub async fn read(call: &Call<'_>, thing_name: &iot_types::ThingName) -> Result<Option<ThingRecord>, Failure> {
    let partition = call.deployment.partitions().of(thing_name);
    let rows: Vec<ThingRow> = call.deployment.registry().read(statements::select_thing(partition, thing_name)).await?;
    Ok(rows.into_iter().next().map(ThingRecord::try_from).transpose()?)
}

fn record(result: Option<&D1Result>) -> Result<Option<ThingRecord>, Failure> {
    let rows: Vec<ThingRow> = result.map(D1Result::results).transpose()?.unwrap_or_default();
    Ok(rows.into_iter().next().map(ThingRecord::try_from).transpose()?)
}
