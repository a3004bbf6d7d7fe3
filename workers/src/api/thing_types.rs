//! Thing types: CreateThingType, DescribeThingType, ListThingTypes, UpdateThingType, DeprecateThingType, DeleteThingType.

use super::error::Failure;
use super::{Call, events, resources};
use crate::http::random_uuid;
use durable_objects::d1;
use registry::registry_event::{Change, RegistryEvent};
use registry::resource::{Resource, ResourceKind};
use registry::thing::{ListThingsRequest, ThingRow};
use registry::thing_type::{self, ThingType, ThingTypeRequest};
use registry::{ApiError, Partition, statements};

const KIND: ResourceKind = ResourceKind::ThingType;

pub async fn create(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: ThingTypeRequest = call.read()?;
    request.check(&call.deployment.limits())?;
    let candidate = request.create(random_uuid(), call.now);
    let scope = &call.deployment.config.scope;
    let (stored, is_new) = resources::create(call, KIND, &candidate).await?;
    thing_type::settle_create(scope, &candidate, &stored)?;
    if is_new {
        events::tell(call, vec![RegistryEvent::thing_type(Change::Created, &stored)]).await;
    }
    Ok(thing_type::create_response(scope, &stored))
}

pub async fn describe(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = name(call);
    let stored = read(call, name).await?.ok_or_else(|| thing_type::not_found(name))?;
    Ok(thing_type::describe_response(&call.deployment.config.scope, &stored))
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let page = thing_type::list_page(&call.input, &call.deployment.limits())?;
    let only = call.input.get("thingTypeName").and_then(serde_json::Value::as_str);
    let stored = match only {
        Some(name) => read(call, name).await?.into_iter().filter(|one| one.name > page.after).collect(),
        None => resources::list(call, KIND, "", &page).await?,
    };
    Ok(thing_type::list_response(&call.deployment.config.scope, &page, stored))
}

pub async fn update(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: ThingTypeRequest = call.read()?;
    request.check(&call.deployment.limits())?;
    change(call, |stored| request.update(stored)).await
}

pub async fn deprecate(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let undo = call.input.get("undoDeprecate").and_then(serde_json::Value::as_bool).unwrap_or(false);
    change(call, |stored| Ok(thing_type::deprecate(stored, undo, call.now))).await
}

async fn change(
    call: &Call<'_>,
    change: impl Fn(&ThingType) -> Result<ThingType, ApiError>,
) -> Result<Vec<u8>, Failure> {
    let name = name(call);
    let changed = resources::update(call, KIND, name, |stored: Option<Resource<ThingType>>| {
        let stored = stored.ok_or_else(|| thing_type::not_found(name))?;
        let document = change(&stored.document)?;
        Ok((stored, document))
    })
    .await?;
    events::tell(call, vec![RegistryEvent::thing_type(Change::Updated, &changed)]).await;
    Ok(b"{}".to_vec())
}

pub async fn delete(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let (name, limits) = (name(call), call.deployment.limits());
    let stored = read(call, name).await?.ok_or_else(|| thing_type::not_found(name))?;
    let one = ListThingsRequest::of_type(name, 1);
    let mut has_things = false;
    for partition in call.deployment.partitions().all() {
        let rows: Vec<ThingRow> = call.deployment.registry().read(statements::list_things(partition, &one)).await?;
        has_things = has_things || !rows.is_empty();
    }
    thing_type::check_delete(&stored, has_things, &limits, call.now)?;
    let batch = [statements::delete_resource(Partition::FIRST, KIND, name, Some(stored.version))];
    let results = call.deployment.registry().batch(&batch).await?;
    if d1::changes_at(&results, 0)? == 0 {
        return Err(resources::busy().into());
    }
    events::tell(call, vec![RegistryEvent::thing_type(Change::Deleted, &stored)]).await;
    Ok(b"{}".to_vec())
}

pub async fn read(call: &Call<'_>, name: &str) -> Result<Option<Resource<ThingType>>, Failure> {
    resources::read(call, KIND, name).await
}

fn name<'a>(call: &'a Call<'_>) -> &'a str {
    call.route.parameter("thingTypeName")
}
