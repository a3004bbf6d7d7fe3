//! Thing groups: CreateThingGroup, DescribeThingGroup, ListThingGroups, UpdateThingGroup, DeleteThingGroup. Who is in them is in
//! `group_members.rs`, those with a query are in `dynamic_groups.rs`.

use super::error::Failure;
use super::{Call, events, resources};
use crate::http::random_uuid;
use durable_objects::d1;
use registry::registry_event::{Association, Change, RegistryEvent};
use registry::thing_group::{
    self, ChildrenRow, CreateThingGroupRequest, GroupPath, ListThingGroupsRequest, MemberRow, ThingGroup,
    ThingGroupNameRequest, ThingGroupRow, UpdateThingGroupRequest,
};
use registry::{ApiError, Partition, statements};

const P: Partition = Partition::FIRST;

/// Things that one statement takes out of a group that is deleted.
const MEMBERS_AT_ONCE: u32 = 5_000;

pub async fn create(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: CreateThingGroupRequest = call.read()?;
    let parent = match &request.parent_group_name {
        Some(name) => read(call, name).await?,
        None => None,
    };
    let candidate = request.create(parent.as_ref(), random_uuid(), &call.deployment.limits(), call.now)?;
    let stored = store_new(call, &candidate).await?;
    Ok(thing_group::create_response(&call.deployment.config.scope, &stored))
}

/// Stores a new group and tells of it; the same again is what is stored already.
pub async fn store_new(call: &Call<'_>, candidate: &ThingGroup) -> Result<ThingGroup, Failure> {
    let (scope, limits) = (&call.deployment.config.scope, call.deployment.limits());
    let name = &candidate.thing_group_name;
    let batch = [statements::insert_thing_group(P, candidate, &limits), statements::select_thing_group(P, name)];
    let results = call.deployment.registry().batch(&batch).await?;
    let stored = d1::rows_at::<ThingGroupRow>(&results, 1)?.into_iter().next().map(ThingGroup::try_from).transpose()?;
    let stored = thing_group::settle_create(scope, candidate, stored, &limits)?;
    if d1::changes_at(&results, 0)? > 0 {
        let above = above(call, &stored.path).await?;
        let mut told = vec![RegistryEvent::thing_group(scope, Change::Created, &stored, &above)];
        if let Some(parent) = above.last() {
            told.push(RegistryEvent::hierarchy(Association::Added, parent, &stored));
        }
        events::tell(call, told).await;
    }
    Ok(stored)
}

/// The groups above one, the root first.
async fn above(call: &Call<'_>, path: &GroupPath) -> Result<Vec<ThingGroup>, Failure> {
    let names = path.ancestors();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<ThingGroupRow> = call.deployment.registry().read(statements::select_thing_groups(P, &names)).await?;
    let mut groups: Vec<ThingGroup> = rows.into_iter().map(ThingGroup::try_from).collect::<Result<_, _>>()?;
    groups.sort_by_key(|group| group.path.depth());
    Ok(groups)
}

pub async fn describe(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: ThingGroupNameRequest = call.read()?;
    let name = &request.thing_group_name;
    let stored = read(call, name).await?.ok_or_else(|| thing_group::not_found(name))?;
    Ok(thing_group::describe_response(&call.deployment.config.scope, &stored))
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = ListThingGroupsRequest::of(&call.input, &call.deployment.limits())?;
    let parent = match &request.parent_group_name {
        Some(name) => Some(read(call, name).await?.ok_or_else(|| thing_group::not_found(name))?),
        None => None,
    };
    let statement = statements::list_thing_groups(P, &request, parent.as_ref());
    let rows: Vec<ThingGroupRow> = call.deployment.registry().read(statement).await?;
    let groups = rows.into_iter().map(ThingGroup::try_from).collect::<Result<_, _>>()?;
    Ok(thing_group::list_response(&call.deployment.config.scope, &request, groups))
}

pub async fn update(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: UpdateThingGroupRequest = call.read()?;
    let limits = call.deployment.limits();
    let changed = change(call, &request, |stored| request.update(stored, false, &limits)).await?;
    Ok(thing_group::update_response(&changed))
}

/// Changes a group, again if somebody else was faster, and tells of it.
pub async fn change(
    call: &Call<'_>,
    request: &UpdateThingGroupRequest,
    change: impl Fn(Option<&ThingGroup>) -> Result<ThingGroup, ApiError>,
) -> Result<ThingGroup, Failure> {
    let name = &request.thing_group_name;
    for _ in 0..resources::TRIES {
        let stored = read(call, name).await?;
        let changed = change(stored.as_ref())?;
        let Some(stored) = stored else { continue };
        let batch = [statements::update_thing_group(P, &stored, &changed)];
        let results = call.deployment.registry().batch(&batch).await?;
        if d1::changes_at(&results, 0)? > 0 {
            let scope = &call.deployment.config.scope;
            let above = above(call, &changed.path).await?;
            events::tell(call, vec![RegistryEvent::thing_group(scope, Change::Updated, &changed, &above)]).await;
            return Ok(changed);
        }
        if request.expected_version.is_some() {
            return Err(thing_group::version_conflict(name).into());
        }
    }
    Err(resources::busy().into())
}

pub async fn delete(call: &Call<'_>, is_dynamic: bool) -> Result<Vec<u8>, Failure> {
    let request: ThingGroupNameRequest = call.read()?;
    let name = &request.thing_group_name;
    // As with things: what is not there is deleted already.
    let Some(stored) = read(call, name).await? else { return Ok(b"{}".to_vec()) };
    thing_group::found(name, Some(&stored), is_dynamic)?;
    let registry = call.deployment.registry();
    let children: Vec<ChildrenRow> = registry.read(statements::count_children(P, name)).await?;
    let children = children.first().map_or(0, |row| row.children);
    thing_group::check_delete(&stored, request.expected_version, children)?;
    // Its things go first: a group of this name that is created later begins empty.
    remove_members(call, &stored.path).await?;
    let arn = call.deployment.config.scope.thing_group_arn(name);
    let batch = vec![statements::delete_thing_group(P, &stored), statements::detach_all_policies(P, arn.as_str())];
    let (changed, _) = super::control::store(call, batch, 0, registry::control::ControlKind::ThingGroup, name).await?;
    if changed == 0 {
        return Err(resources::busy().into());
    }
    // Whoever came in between is not left behind.
    remove_members(call, &stored.path).await?;
    let scope = &call.deployment.config.scope;
    let above = above(call, &stored.path).await?;
    let mut told = vec![RegistryEvent::thing_group(scope, Change::Deleted, &stored, &above)];
    if let Some(parent) = above.last() {
        told.push(RegistryEvent::hierarchy(Association::Removed, parent, &stored));
    }
    events::tell(call, told).await;
    Ok(b"{}".to_vec())
}

async fn remove_members(call: &Call<'_>, path: &GroupPath) -> Result<(), Failure> {
    for partition in call.deployment.partitions().all() {
        loop {
            let batch = [statements::delete_members(partition, path, MEMBERS_AT_ONCE)];
            let results = call.deployment.registry().batch(&batch).await?;
            if d1::changes_at(&results, 0)? == 0 {
                break;
            }
        }
    }
    Ok(())
}

pub async fn list_things(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: ThingGroupNameRequest = call.read()?;
    let name = &request.thing_group_name;
    let group = read(call, name).await?.ok_or_else(|| thing_group::not_found(name))?;
    let page = thing_group::members_page(&call.input, &call.deployment.limits())?;
    let is_recursive = call.input.get("recursive").and_then(serde_json::Value::as_bool).unwrap_or(false);
    let mut rows: Vec<MemberRow> = Vec::new();
    for partition in call.deployment.partitions().all() {
        let statement = statements::list_members(partition, &group.path, is_recursive, &page);
        rows.extend(call.deployment.registry().read::<MemberRow>(statement).await?);
    }
    Ok(thing_group::members_response(&page, rows))
}

pub async fn read(call: &Call<'_>, name: &str) -> Result<Option<ThingGroup>, Failure> {
    let rows: Vec<ThingGroupRow> = call.deployment.registry().read(statements::select_thing_group(P, name)).await?;
    Ok(rows.into_iter().next().map(ThingGroup::try_from).transpose()?)
}
