//! Tags: TagResource, UntagResource, ListTagsForResource, and the tags of what is created.

use super::Call;
use super::error::Failure;
use durable_objects::d1;
use iot_types::{AuthorizerName, CertificateId, PolicyName, RuleName};
use registry::resource::ResourceKind;
use registry::tag::{self, TagRow, TaggedKind, Tags};
use registry::{ApiError, Partition, statements};
use serde::Deserialize;
use serde_json::Value;

const P: Partition = Partition::FIRST;

/// TagResource.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TagRequest {
    resource_arn: String,
    tags: Tags,
}

/// UntagResource.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UntagRequest {
    resource_arn: String,
    tag_keys: Vec<String>,
}

pub async fn tag(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: TagRequest = call.read()?;
    let limit = call.deployment.limits().tags_of_resource;
    request.tags.check(limit)?;
    let arn = found(call, &request.resource_arn).await?;
    if !request.tags.0.is_empty() {
        let batch = [statements::put_tags(P, &arn, &request.tags, limit)];
        let results = call.deployment.registry().batch(&batch).await?;
        if d1::changes_at(&results, 0)? == 0 {
            return Err(tag::too_many(limit).into());
        }
    }
    Ok(b"{}".to_vec())
}

pub async fn untag(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request: UntagRequest = call.read()?;
    let arn = found(call, &request.resource_arn).await?;
    let batch = [statements::delete_tags(P, &arn, &request.tag_keys)];
    call.deployment.registry().batch(&batch).await?;
    Ok(b"{}".to_vec())
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let arn = call.input.get("resourceArn").and_then(Value::as_str).unwrap_or_default();
    let arn = found(call, arn).await?;
    let page = tag::list_page(&call.input, &call.deployment.limits())?;
    let rows: Vec<TagRow> = call.deployment.registry().read(statements::list_tags(P, &arn, &page)).await?;
    Ok(tag::list_response(&page, rows))
}

/// Before a resource is created: whether its tags are good.
pub fn check_creation(call: &Call<'_>) -> Result<(), ApiError> {
    tag::of_creation(&call.input, call.deployment.limits().tags_of_resource).map(|_| ())
}

/// After a resource has been created or deleted: its tags come and go with it.
pub async fn follow(call: &Call<'_>) -> Result<(), Failure> {
    let Some((kind, member)) = tag::of_operation(call.route.operation) else { return Ok(()) };
    let name = call.input.get(member).and_then(Value::as_str).unwrap_or_default();
    let arn = tag::stored_arn(kind, name, &call.deployment.config.scope);
    let limit = call.deployment.limits().tags_of_resource;
    let tags = tag::of_creation(&call.input, limit)?;
    let statement = match call.route.operation.name().starts_with("Delete") {
        true => statements::delete_all_tags(P, &arn),
        false if tags.0.is_empty() => return Ok(()),
        false => statements::put_tags(P, &arn, &tags, limit),
    };
    call.deployment.registry().batch(&[statement]).await?;
    Ok(())
}

/// The ARN under which the tags of a resource are, which must exist.
async fn found(call: &Call<'_>, arn: &str) -> Result<String, Failure> {
    let scope = &call.deployment.config.scope;
    let (kind, name) = tag::tagged(arn, scope)?;
    let resource = |kind| Some(statements::select_resource(P, kind, name));
    let statement = match kind {
        TaggedKind::BillingGroup => resource(ResourceKind::BillingGroup),
        TaggedKind::DomainConfiguration => resource(ResourceKind::DomainConfiguration),
        TaggedKind::FleetMetric => resource(ResourceKind::FleetMetric),
        TaggedKind::ProvisioningTemplate => resource(ResourceKind::ProvisioningTemplate),
        TaggedKind::ThingType => resource(ResourceKind::ThingType),
        TaggedKind::RoleAlias => Some(statements::select_role_alias(P, name)),
        TaggedKind::ThingGroup => Some(statements::select_thing_group(P, name)),
        TaggedKind::Policy => PolicyName::new(name).ok().map(|name| statements::select_policy(P, &name)),
        TaggedKind::TopicRule => RuleName::new(name).ok().map(|name| statements::select_topic_rule(P, &name)),
        TaggedKind::Authorizer => AuthorizerName::new(name).ok().map(|name| statements::select_authorizer(P, &name)),
        TaggedKind::Certificate => CertificateId::new(name).ok().map(|id| statements::select_certificate(P, &id, arn)),
        TaggedKind::CaCertificate => CertificateId::new(name).ok().map(|id| statements::select_ca_certificate(P, &id)),
    };
    let found = match statement {
        Some(statement) => !call.deployment.registry().read::<Value>(statement).await?.is_empty(),
        None => false,
    };
    if !found {
        return Err(ApiError::resource_not_found(format!("{arn} does not exist")).into());
    }
    Ok(tag::stored_arn(kind, name, scope))
}
