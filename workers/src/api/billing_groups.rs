//! Billing groups: CreateBillingGroup, DescribeBillingGroup, ListBillingGroups, UpdateBillingGroup, DeleteBillingGroup,
//! AddThingToBillingGroup, RemoveThingFromBillingGroup, ListThingsInBillingGroup.

use super::error::Failure;
use super::{Call, resources, things};
use crate::http::random_uuid;
use durable_objects::{d1, indexing};
use registry::billing_group::{self as group, BillingGroup, BillingGroupRequest, ThingNameRow};
use registry::indexing::Work;
use registry::resource::{self, Resource, ResourceKind};
use registry::thing;
use registry::thing_group::MembershipRequest;
use registry::{ApiError, Partition, statements};
use serde_json::Value;

const KIND: ResourceKind = ResourceKind::BillingGroup;

/// Things that one statement takes out of a group that is deleted.
const THINGS_AT_ONCE: u32 = 5_000;

pub async fn create(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: BillingGroupRequest = call.read()?;
    let candidate = request.create(random_uuid(), call.now);
    let scope = &call.deployment.config.scope;
    let (stored, _) = resources::create(call, KIND, &candidate).await?;
    group::settle_create(scope, &candidate, &stored)?;
    Ok(group::create_response(scope, &stored))
}

pub async fn describe(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let stored = found(call, call.route.parameter("billingGroupName")).await?;
    Ok(group::describe_response(&call.deployment.config.scope, &stored))
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let page = group::list_page(&call.input, &call.deployment.limits())?;
    let prefix = call.input.get("namePrefixFilter").and_then(Value::as_str).unwrap_or_default();
    let stored = resources::list(call, KIND, prefix, &page).await?;
    Ok(group::list_response(&call.deployment.config.scope, &page, stored))
}

pub async fn update(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: BillingGroupRequest = call.read()?;
    let name = &request.billing_group_name;
    let changed = resources::update(call, KIND, name, |stored: Option<Resource<BillingGroup>>| {
        let stored = resource::expect(stored, request.expected_version, || group::missing(name))?;
        let mut document = stored.document.clone();
        document.properties = request.billing_group_properties.clone();
        Ok((stored, document))
    })
    .await?;
    Ok(group::update_response(changed.version))
}

pub async fn delete(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: BillingGroupRequest = call.read()?;
    let name = &request.billing_group_name;
    // As with things: what is not there is deleted already.
    let stored: Option<Resource<BillingGroup>> = resources::read(call, KIND, name).await?;
    let Some(stored) = stored else { return Ok(b"{}".to_vec()) };
    let stored = resource::expect(Some(stored), request.expected_version, || group::missing(name))?;
    for partition in call.deployment.partitions().all() {
        loop {
            let batch = [statements::leave_billing_group(partition, name, THINGS_AT_ONCE)];
            let results = call.deployment.registry().batch(&batch).await?;
            if d1::changes_at(&results, 0)? == 0 {
                break;
            }
        }
    }
    let batch = [statements::delete_resource(Partition::FIRST, KIND, name, Some(stored.version))];
    let results = call.deployment.registry().batch(&batch).await?;
    if d1::changes_at(&results, 0)? == 0 {
        return Err(resources::busy().into());
    }
    indexing::registry_changed(&call.deployment.env, Work::left(name)).await;
    Ok(b"{}".to_vec())
}

pub async fn add(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: MembershipRequest = call.read()?;
    let (name, thing) = (request.billing_group()?, request.thing()?);
    found(call, &name).await?;
    let partition = call.deployment.partitions().of(&thing);
    let batch = [statements::set_billing_group(partition, &thing, Some(&name), None)];
    let results = call.deployment.registry().batch(&batch).await?;
    if d1::changes_at(&results, 0)? == 0 {
        thing::found(&thing, None)?;
    }
    indexing::registry_changed(&call.deployment.env, Work::thing(thing.as_str())).await;
    Ok(b"{}".to_vec())
}

pub async fn remove(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: MembershipRequest = call.read()?;
    let (name, thing) = (request.billing_group()?, request.thing()?);
    found(call, &name).await?;
    let partition = call.deployment.partitions().of(&thing);
    let batch = [statements::set_billing_group(partition, &thing, None, Some(&name))];
    let results = call.deployment.registry().batch(&batch).await?;
    if d1::changes_at(&results, 0)? == 0 {
        thing::found(&thing, things::read(call, &thing).await?)?;
    }
    indexing::registry_changed(&call.deployment.env, Work::thing(thing.as_str())).await;
    Ok(b"{}".to_vec())
}

pub async fn list_things(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = call.route.parameter("billingGroupName");
    found(call, name).await?;
    let page = group::things_page(&call.input, &call.deployment.limits())?;
    let mut rows = Vec::new();
    for partition in call.deployment.partitions().all() {
        let statement = statements::list_things_in_billing_group(partition, name, &page);
        rows.extend(call.deployment.registry().read::<ThingNameRow>(statement).await?);
    }
    Ok(group::things_response(&page, rows))
}

async fn found(call: &Call<'_>, name: &str) -> Result<Resource<BillingGroup>, Failure> {
    let stored = resources::read(call, KIND, name).await?;
    Ok(stored.ok_or_else(|| ApiError::resource_not_found(group::missing(name)))?)
}
