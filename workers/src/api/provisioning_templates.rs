//! Provisioning templates: CreateProvisioningTemplate, DescribeProvisioningTemplate, ListProvisioningTemplates,
//! UpdateProvisioningTemplate, DeleteProvisioningTemplate and the four operations on versions.

use super::error::Failure;
use super::{Call, resources};
use durable_objects::d1;
use provisioning::{Limits, Template, TemplateKind};
use registry::provisioning_template::{
    self as stored, CreateTemplateRequest, ProvisioningTemplate, TemplateVersion, version_name, versions_prefix,
};
use registry::resource::{Resource, ResourceKind};
use registry::{ApiError, Page, Partition, statements};
use serde_json::Value;
use std::fmt::Display;

const P: Partition = Partition::FIRST;
const KIND: ResourceKind = ResourceKind::ProvisioningTemplate;
const VERSION: ResourceKind = ResourceKind::ProvisioningTemplateVersion;

/// Versions of a template, as in AWS.
const MOST_VERSIONS: usize = 5;

/// What a client may be told of a template that is none, or of parameters that don't fit.
pub fn invalid(error: impl Display) -> ApiError {
    ApiError::invalid_request(error.to_string())
}

/// What templates may be.
pub const fn limits(call: &Call<'_>) -> Limits {
    if call.deployment.config.is_aws { Limits::AWS } else { Limits::STANDARD }
}

fn check(call: &Call<'_>, body: &str, template_type: &str) -> Result<(), ApiError> {
    let kind = TemplateKind::from_template_type(template_type)
        .ok_or_else(|| ApiError::invalid_request(format!("{template_type} is no type of a template")))?;
    Template::parse(body, kind, &limits(call)).map(|_| ()).map_err(invalid)
}

pub async fn create(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: CreateTemplateRequest = call.read()?;
    check(call, &request.template_body, request.template_type())?;
    let (template, version) = request.create(call.now);
    let batch = [
        statements::insert_resource(P, KIND, &template),
        // Without effect when the template is there already: so is its first version, or it was deleted for a later one.
        statements::insert_resource_beside(P, VERSION, &version, KIND, &template.name, call.now),
    ];
    let results = call.deployment.registry().batch(&batch).await?;
    let scope = &call.deployment.config.scope;
    if d1::changes_at(&results, 0)? == 0 {
        return Err(stored::exists(scope, &template.name).into());
    }
    Ok(stored::create_response(scope, &template.name))
}

/// The template that must exist.
pub async fn read(call: &Call<'_>, name: &str) -> Result<Resource<ProvisioningTemplate>, Failure> {
    let template = resources::read(call, KIND, name).await?;
    Ok(template.ok_or_else(|| stored::not_found(name))?)
}

/// A version of it, which must exist.
pub async fn read_version(call: &Call<'_>, name: &str, id: u32) -> Result<Resource<TemplateVersion>, Failure> {
    let version = resources::read(call, VERSION, &version_name(name, id)).await?;
    let missing =
        || ApiError::resource_not_found(format!("Version {id} of provisioning template {name} does not exist"));
    Ok(version.ok_or_else(missing)?)
}

pub async fn describe(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let template = read(call, name(call)).await?;
    let version = read_version(call, &template.name, template.document.default_version_id).await?;
    let scope = &call.deployment.config.scope;
    Ok(stored::describe_response(scope, &template, &version.document.template_body))
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let page = stored::list_page(&call.input, &call.deployment.limits())?;
    let templates = resources::list(call, KIND, "", &page).await?;
    Ok(stored::list_response(&call.deployment.config.scope, &page, templates))
}

pub async fn update(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = name(call);
    let has_version = match stored::wanted_default(&call.input) {
        Some(id) => resources::read::<TemplateVersion>(call, VERSION, &version_name(name, id)).await?.is_some(),
        None => false,
    };
    resources::update(call, KIND, name, |template: Option<Resource<ProvisioningTemplate>>| {
        let template = template.ok_or_else(|| stored::not_found(name))?;
        let document = stored::update(&call.input, &template.document, has_version)?;
        Ok((template, document))
    })
    .await?;
    Ok(b"{}".to_vec())
}

pub async fn delete(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = name(call);
    let batch = [
        statements::delete_resource(P, KIND, name, None),
        statements::delete_resources(P, VERSION, &versions_prefix(name)),
    ];
    let results = call.deployment.registry().batch(&batch).await?;
    if d1::changes_at(&results, 0)? == 0 {
        return Err(stored::not_found(name).into());
    }
    Ok(b"{}".to_vec())
}

pub async fn create_version(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = name(call);
    let body = call.input.get("templateBody").and_then(Value::as_str).unwrap_or_default();
    let is_default = call.input.get("setAsDefault").and_then(Value::as_bool).unwrap_or(false);
    let template = read(call, name).await?;
    check(call, body, &template.document.template_type)?;
    if versions(call, name, &Page::whole()).await?.len() >= MOST_VERSIONS {
        let message = format!("A provisioning template can have at most {MOST_VERSIONS} versions");
        return Err(ApiError::new("VersionsLimitExceededException", 409, message).into());
    }
    let id = template.document.newest_version_id.saturating_add(1);
    let mut document = template.document.clone();
    document.newest_version_id = id;
    if is_default {
        document.default_version_id = id;
    }
    let version = Resource::new(
        version_name(name, id),
        TemplateVersion { version_id: id, template_body: body.to_owned() },
        call.now,
    );
    let batch = [
        statements::insert_resource(P, VERSION, &version),
        statements::update_resource(P, KIND, &template, &template.changed(document, call.now)),
    ];
    let results = call.deployment.registry().batch(&batch).await?;
    if d1::changes_at(&results, 1)? == 0 {
        // Two came at once: the number belongs to the other.
        return Err(
            ApiError::new("ConflictingResourceUpdateException", 409, "The template was changed; try again").into()
        );
    }
    Ok(stored::create_version_response(&call.deployment.config.scope, name, id, is_default))
}

pub async fn describe_version(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let template = read(call, name(call)).await?;
    let version = read_version(call, &template.name, stored::version_id(&call.input)?).await?;
    Ok(stored::describe_version_response(&version, template.document.default_version_id))
}

pub async fn list_versions(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let template = read(call, name(call)).await?;
    let page = stored::versions_page(&call.input, &call.deployment.limits())?;
    let versions = versions(call, &template.name, &page).await?;
    Ok(stored::list_versions_response(&page, versions, template.document.default_version_id))
}

async fn versions(call: &Call<'_>, name: &str, page: &Page) -> Result<Vec<Resource<TemplateVersion>>, Failure> {
    resources::list(call, VERSION, &versions_prefix(name), page).await
}

pub async fn delete_version(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let template = read(call, name(call)).await?;
    let id = stored::version_id(&call.input)?;
    read_version(call, &template.name, id).await?;
    if id == template.document.default_version_id {
        let message = format!("Version {id} is the default version of the template");
        return Err(ApiError::delete_conflict(message).into());
    }
    resources::is_changed(call, statements::delete_resource(P, VERSION, &version_name(&template.name, id), None))
        .await?;
    Ok(b"{}".to_vec())
}

fn name<'a>(call: &'a Call<'_>) -> &'a str {
    call.route.parameter("templateName")
}
