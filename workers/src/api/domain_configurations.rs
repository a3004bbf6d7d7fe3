//! Domain configurations: CreateDomainConfiguration, DescribeDomainConfiguration, ListDomainConfigurations,
//! UpdateDomainConfiguration, DeleteDomainConfiguration.

use super::error::Failure;
use super::{Call, resources};
use crate::http::random_uuid;
use durable_objects::d1;
use registry::domain_configuration::{self as configuration, DomainConfiguration};
use registry::resource::{Resource, ResourceKind};
use registry::{ApiError, Partition, statements};
use serde_json::Value;

const KIND: ResourceKind = ResourceKind::DomainConfiguration;

/// Characters behind the name in an ARN, as AWS has it.
const SUFFIX_LENGTH: usize = 5;

pub async fn create(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let suffix: String = random_uuid().chars().take(SUFFIX_LENGTH).collect();
    let candidate = configuration::create(&call.input, &suffix, call.now)?;
    let scope = &call.deployment.config.scope;
    let (stored, _) = resources::create(call, KIND, &candidate).await?;
    configuration::settle_create(scope, &candidate, &stored)?;
    Ok(configuration::named_response(scope, &stored))
}

pub async fn describe(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = name(call);
    let stored: Option<Resource<DomainConfiguration>> = resources::read(call, KIND, name).await?;
    let stored = stored.ok_or_else(|| ApiError::resource_not_found(configuration::missing(name)))?;
    let host = call.header("host").unwrap_or_default();
    Ok(configuration::describe_response(&call.deployment.config.scope, &stored, host))
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let page = configuration::list_page(&call.input, &call.deployment.limits())?;
    let mut stored: Vec<Resource<DomainConfiguration>> = resources::list(call, KIND, "", &page).await?;
    if let Some(service) = call.input.get("serviceType").and_then(Value::as_str) {
        stored.retain(|one| one.document.service_type == service);
    }
    Ok(configuration::list_response(&call.deployment.config.scope, &page, stored))
}

pub async fn update(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = name(call);
    let changed = resources::update(call, KIND, name, |stored: Option<Resource<DomainConfiguration>>| {
        let stored = stored.ok_or_else(|| ApiError::resource_not_found(configuration::missing(name)))?;
        let document = configuration::update(&call.input, &stored.document, call.now)?;
        Ok((stored, document))
    })
    .await?;
    Ok(configuration::named_response(&call.deployment.config.scope, &changed))
}

pub async fn delete(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = name(call);
    let results =
        call.deployment.registry().batch(&[statements::delete_resource(Partition::FIRST, KIND, name, None)]).await?;
    if d1::changes_at(&results, 0)? == 0 {
        return Err(ApiError::resource_not_found(configuration::missing(name)).into());
    }
    Ok(b"{}".to_vec())
}

fn name<'a>(call: &'a Call<'_>) -> &'a str {
    call.route.parameter("domainConfigurationName")
}
