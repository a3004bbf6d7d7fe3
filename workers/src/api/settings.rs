//! Settings of the account: DescribeEventConfigurations, UpdateEventConfigurations, SetV2LoggingOptions, GetV2LoggingOptions,
//! SetV2LoggingLevel, DeleteV2LoggingLevel, ListV2LoggingLevels, SetLoggingOptions, GetLoggingOptions; and DescribeEndpoint.

use super::error::Failure;
use super::{Call, resources};
use registry::endpoint;
use registry::resource::{Resource, ResourceKind};
use registry::setting::Setting;
use registry::setting::event_configuration::{self, EventConfigurations, UpdateEventConfigurationsRequest};
use registry::setting::logging::{
    self, LogTarget, LogTargetConfiguration, LoggingOptions, SetLoggingOptionsRequest, V2LoggingOptions,
};
use registry::{Partition, statements};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const P: Partition = Partition::FIRST;

pub async fn describe_events(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let stored: Option<Resource<EventConfigurations>> = read(call, Setting::EventConfigurations).await?;
    Ok(event_configuration::describe_response(stored.as_ref()))
}

pub async fn update_events(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: UpdateEventConfigurationsRequest = call.read()?;
    let stored: Option<Resource<EventConfigurations>> = read(call, Setting::EventConfigurations).await?;
    let configurations = stored.map(|stored| stored.document).unwrap_or_default().updated(&request);
    put(call, Setting::EventConfigurations, configurations).await
}

pub async fn set_v2_options(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let stored: Option<Resource<V2LoggingOptions>> = read(call, Setting::V2LoggingOptions).await?;
    let options = stored.map(|stored| stored.document).unwrap_or_default().updated(&call.input);
    put(call, Setting::V2LoggingOptions, options).await
}

pub async fn get_v2_options(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let stored: Option<Resource<V2LoggingOptions>> = read(call, Setting::V2LoggingOptions).await?;
    Ok(logging::v2_options_response(stored.as_ref())?)
}

pub async fn set_level(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let configuration: LogTargetConfiguration = call.read()?;
    configuration.log_target.check()?;
    let resource = configuration.resource(call.now);
    let batch = [statements::put_resource(P, ResourceKind::LoggingLevel, &resource)];
    call.deployment.registry().batch(&batch).await?;
    Ok(b"{}".to_vec())
}

pub async fn delete_level(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let target: LogTarget = call.read()?;
    let batch = [statements::delete_resource(P, ResourceKind::LoggingLevel, &target.resource_name(), None)];
    call.deployment.registry().batch(&batch).await?;
    Ok(b"{}".to_vec())
}

pub async fn list_levels(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let page = logging::levels_page(&call.input, &call.deployment.limits())?;
    let prefix = logging::prefix_of_type(call.input.get("targetType").and_then(Value::as_str));
    let stored = resources::list(call, ResourceKind::LoggingLevel, &prefix, &page).await?;
    Ok(logging::levels_response(&page, stored))
}

pub async fn set_options(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: SetLoggingOptionsRequest = call.read()?;
    put(call, Setting::LoggingOptions, request.logging_options_payload).await
}

pub async fn get_options(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let stored: Option<Resource<LoggingOptions>> = read(call, Setting::LoggingOptions).await?;
    Ok(logging::options_response(stored.as_ref()))
}

/// This deployment's own host, whatever is asked for: one origin serves every plane.
pub async fn describe_endpoint(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let wanted = call.input.get("endpointType").and_then(Value::as_str);
    Ok(endpoint::describe_response(wanted, call.header("host").unwrap_or_default())?)
}

async fn read<T: DeserializeOwned>(call: &Call<'_>, setting: Setting) -> Result<Option<Resource<T>>, Failure> {
    resources::read(call, ResourceKind::Setting, setting.as_str()).await
}

async fn put<T: Serialize>(call: &Call<'_>, setting: Setting, document: T) -> Result<Vec<u8>, Failure> {
    let resource = Resource::new(setting.as_str(), document, call.now);
    call.deployment.registry().batch(&[statements::put_resource(P, ResourceKind::Setting, &resource)]).await?;
    Ok(b"{}".to_vec())
}
