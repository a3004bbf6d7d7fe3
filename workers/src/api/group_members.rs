//! Which things are in which groups: AddThingToThingGroup, RemoveThingFromThingGroup, UpdateThingGroupsForThing,
//! ListThingGroupsForThing.

use super::error::Failure;
use super::{Call, control, events, thing_groups, things};
use durable_objects::d1;
use iot_types::ThingName;
use registry::registry_event::{Association, RegistryEvent};
use registry::statements;
use registry::thing;
use registry::thing_group::{
    self, GroupOfThingRow, MemberStateRow, MembershipRequest, ThingGroup, ThingGroupsForThingRequest,
};
use registry::thing_principal::HasPrincipalsRow;

pub async fn add(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: MembershipRequest = call.read()?;
    let (name, thing) = (request.thing_group()?, request.thing()?);
    let group = static_group(call, &name).await?;
    put_in(call, &group, &thing, request.override_dynamic_groups).await?;
    announce(call, &thing).await?;
    Ok(b"{}".to_vec())
}

pub async fn remove(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: MembershipRequest = call.read()?;
    let (name, thing) = (request.thing_group()?, request.thing()?);
    let group = static_group(call, &name).await?;
    take_out(call, &group, &thing).await?;
    announce(call, &thing).await?;
    Ok(b"{}".to_vec())
}

pub async fn update(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: ThingGroupsForThingRequest = call.read()?;
    let thing = request.thing()?;
    // All that could go wrong is looked at before anything is done.
    thing::found(&thing, things::read(call, &thing).await?)?;
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for name in &request.thing_groups_to_add {
        added.push(static_group(call, name).await?);
    }
    for name in &request.thing_groups_to_remove {
        removed.push(static_group(call, name).await?);
    }
    for group in &removed {
        take_out(call, group, &thing).await?;
    }
    for group in &added {
        put_in(call, group, &thing, request.override_dynamic_groups).await?;
    }
    announce(call, &thing).await?;
    Ok(b"{}".to_vec())
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = things::name(call)?;
    let page = thing_group::groups_of_thing_page(&call.input, &call.deployment.limits())?;
    let partition = call.deployment.partitions().of(&name);
    let statement = statements::list_groups_of_thing(partition, &name, &page);
    let rows: Vec<GroupOfThingRow> = call.deployment.registry().read(statement).await?;
    if rows.is_empty() {
        thing::found(&name, things::read(call, &name).await?)?;
    }
    Ok(thing_group::groups_of_thing_response(&call.deployment.config.scope, &page, rows))
}

async fn static_group(call: &Call<'_>, name: &str) -> Result<ThingGroup, Failure> {
    let group = thing_groups::read(call, name).await?;
    Ok(thing_group::found(name, group.as_ref(), false)?.clone())
}

async fn put_in(call: &Call<'_>, group: &ThingGroup, thing: &ThingName, makes_room: bool) -> Result<(), Failure> {
    let limits = call.deployment.limits();
    let partition = call.deployment.partitions().of(thing);
    let insert = statements::insert_member(partition, &group.path, thing, false, &limits, call.now);
    let mut batch = vec![insert, statements::select_member_state(partition, &group.path, thing)];
    if makes_room {
        batch.insert(0, statements::make_room(partition, thing, &limits));
    }
    let results = call.deployment.registry().batch(&batch).await?;
    let state = d1::rows_at::<MemberStateRow>(&results, batch.len() - 1)?.into_iter().next();
    thing_group::settle_add(thing, &group.path, state.as_ref(), &limits)?;
    if d1::changes_at(&results, batch.len() - 2)? > 0 {
        tell(call, Association::Added, group, thing, state).await;
    }
    Ok(())
}

async fn take_out(call: &Call<'_>, group: &ThingGroup, thing: &ThingName) -> Result<(), Failure> {
    let partition = call.deployment.partitions().of(thing);
    let batch = [
        statements::delete_member(partition, &group.path, thing),
        statements::select_member_state(partition, &group.path, thing),
    ];
    let results = call.deployment.registry().batch(&batch).await?;
    let state = d1::rows_at::<MemberStateRow>(&results, 1)?.into_iter().next();
    if d1::changes_at(&results, 0)? > 0 {
        tell(call, Association::Removed, group, thing, state).await;
    } else if state.as_ref().is_none_or(|state| state.thing_id.is_none()) {
        thing::found(thing, None)?;
    }
    Ok(())
}

async fn tell(
    call: &Call<'_>,
    association: Association,
    group: &ThingGroup,
    thing: &ThingName,
    state: Option<MemberStateRow>,
) {
    let thing_id = state.and_then(|state| state.thing_id).unwrap_or_default();
    let scope = &call.deployment.config.scope;
    let id = &group.thing_group_id;
    let event = RegistryEvent::membership(scope, association, &group.path, id, thing, &thing_id);
    events::tell(call, vec![event]).await;
}

/// What the thing's client may do follows its groups.
async fn announce(call: &Call<'_>, thing: &ThingName) -> Result<(), Failure> {
    let statement = statements::has_principals(call.deployment.partitions().of(thing), thing);
    let rows: Vec<HasPrincipalsRow> = call.deployment.registry().read(statement).await?;
    control::thing_changed(call, thing, rows.iter().any(|row| row.has_principals == 1)).await
}
