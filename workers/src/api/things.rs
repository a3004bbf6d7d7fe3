//! Things: CreateThing, DescribeThing, ListThings, UpdateThing, DeleteThing.

use super::Call;
use super::error::Failure;
use crate::http::random_uuid;
use durable_objects::d1::changes;
use registry::statements;
use registry::thing::{
    self, CreateThingRequest, DeleteThingRequest, DescribeThingRequest, ListThingsRequest, ThingRecord, ThingRow,
    Update, UpdateThingRequest,
};
use worker::D1Result;

/// How often an update that lost a race is tried again before the client is asked to.
const UPDATE_TRIES: usize = 5;

pub async fn create(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = CreateThingRequest::parse(call.route.parameter("thingName"), &call.body, &call.deployment.limits())?;
    let candidate = thing::create(&request, random_uuid(), call.now)?;
    let partition = call.deployment.partitions().of(&candidate.thing_name);
    let batch =
        [statements::insert_thing(partition, &candidate), statements::select_thing(partition, &candidate.thing_name)];
    let results = call.deployment.registry().batch(&batch).await?;
    let stored = record(results.last())?.ok_or_else(|| Failure::Platform("the thing was not stored".to_owned()))?;
    let scope = &call.deployment.config.scope;
    thing::settle_create(scope, &candidate, &stored)?;
    Ok(thing::create_thing_response(scope, &stored))
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
    let partition = call.deployment.partitions().of(&request.thing_name);
    for _ in 0..UPDATE_TRIES {
        let stored = read(call, &request.thing_name).await?;
        let changed = thing::update(&request, stored.as_ref(), &limits)?;
        let Some(stored) = stored else { continue };
        let statement = statements::update_thing(partition, &stored, &changed);
        let results = call.deployment.registry().batch(&[statement]).await?;
        let rows_changed = results.first().map(changes).transpose()?.unwrap_or_default();
        match thing::settle_update(&request, rows_changed)? {
            Update::Done => return Ok(thing::update_thing_response()),
            Update::Retry => {}
        }
    }
    Err(registry::ApiError::throttling(registry::Plane::Iot, "The thing is being changed too often; try again").into())
}

pub async fn delete(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = DeleteThingRequest::parse(call.route.parameter("thingName"), call.query)?;
    let partition = call.deployment.partitions().of(&request.thing_name);
    let batch =
        [statements::delete_thing(partition, &request), statements::select_thing(partition, &request.thing_name)];
    let results = call.deployment.registry().batch(&batch).await?;
    thing::settle_delete(&request, record(results.last())?.as_ref())?;
    Ok(thing::delete_thing_response())
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
