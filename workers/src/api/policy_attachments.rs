//! Who has which policies: AttachPolicy, DetachPolicy, ListAttachedPolicies, ListTargetsForPolicy, and the older
//! AttachPrincipalPolicy, DetachPrincipalPolicy, ListPrincipalPolicies, ListPolicyPrincipals.

use super::error::Failure;
use super::{Call, control};
use durable_objects::d1;
use registry::control::ControlKind;
use registry::policy::{
    self as stored, AttachmentRow, ListTargetsRequest, MarkerPage, PolicyNameRow, PolicyOfTargetRow, PolicyTarget,
    PolicyTargetRow,
};
use registry::{ApiError, Partition, statements};
use std::collections::BTreeSet;

const P: Partition = Partition::FIRST;

pub async fn attach(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    attach_to(call, &PolicyTarget::from_body(&call.body, &call.deployment.config.scope)?).await
}

pub async fn attach_principal(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    attach_to(call, &principal(call)?).await
}

async fn attach_to(call: &Call<'_>, target: &PolicyTarget) -> Result<Vec<u8>, Failure> {
    let name = stored::parse_policy_name(call.route.parameter("policyName"))?;
    let batch = vec![
        statements::attach_policy(P, &name, target, call.deployment.limits().policies_of_target),
        statements::select_attachment(P, &name, target),
    ];
    let (_, results) = control::store(call, batch, 0, kind_of(target).0, kind_of(target).1).await?;
    let after: Vec<AttachmentRow> = d1::rows_at(&results, 1)?;
    stored::settle_attach(&name, target, after.into_iter().next())?;
    Ok(Vec::new())
}

/// Whose permissions change with those of a target.
fn kind_of(target: &PolicyTarget) -> (ControlKind, &str) {
    match target.thing_group() {
        Some(name) => (ControlKind::ThingGroup, name),
        None => (ControlKind::Principal, target.principal_identifier()),
    }
}

pub async fn detach(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    detach_from(call, &PolicyTarget::from_body(&call.body, &call.deployment.config.scope)?).await
}

pub async fn detach_principal(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    detach_from(call, &principal(call)?).await
}

async fn detach_from(call: &Call<'_>, target: &PolicyTarget) -> Result<Vec<u8>, Failure> {
    let name = stored::parse_policy_name(call.route.parameter("policyName"))?;
    let batch = vec![statements::detach_policy(P, &name, target)];
    // As in AWS it is no mistake to detach what is not attached.
    control::store(call, batch, 0, kind_of(target).0, kind_of(target).1).await?;
    Ok(Vec::new())
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let target = PolicyTarget::parse(call.route.parameter("target"), &call.deployment.config.scope)?;
    list_of(call, &target).await
}

pub async fn list_of_principal(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    list_of(call, &principal(call)?).await
}

async fn list_of(call: &Call<'_>, target: &PolicyTarget) -> Result<Vec<u8>, Failure> {
    let page = MarkerPage::of_attached_policies(call.query, &call.deployment.limits())?;
    let is_recursive = call.input.get("recursive").and_then(serde_json::Value::as_bool).unwrap_or(false);
    let rows: Vec<PolicyNameRow> = match target.thing_group().filter(|_| is_recursive) {
        Some(group) => inherited(call, group, &page).await?,
        None => call.deployment.registry().read(statements::list_attached_policies(P, target, &page)).await?,
    };
    Ok(stored::list_policies_response(&call.deployment.config.scope, &page, rows)?)
}

/// Policies of a group and of those above it: a page, and one more.
async fn inherited(call: &Call<'_>, group: &str, page: &MarkerPage) -> Result<Vec<PolicyNameRow>, Failure> {
    let scope = &call.deployment.config.scope;
    let path = super::thing_groups::read(call, group).await?.map(|group| group.path);
    let targets: Vec<String> =
        path.iter().flat_map(|path| path.names()).map(|name| scope.thing_group_arn(name).to_string()).collect();
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let statement = statements::select_policies_of_targets(P, &targets);
    let rows: Vec<PolicyOfTargetRow> = call.deployment.registry().read(statement).await?;
    let names: BTreeSet<String> = rows.into_iter().map(|row| row.policy_name).collect();
    let after = names.into_iter().filter(|name| *name > page.after);
    let size = usize::try_from(page.size).unwrap_or(usize::MAX).saturating_add(1);
    Ok(after.map(|policy_name| PolicyNameRow { policy_name }).take(size).collect())
}

pub async fn targets(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = ListTargetsRequest::parse(call.route.parameter("policyName"), call.query, &call.deployment.limits())?;
    Ok(stored::list_targets_response(&request, targets_of(call, &request).await?))
}

pub async fn principals(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = call.header("x-amzn-iot-policy").unwrap_or_default();
    let request = ListTargetsRequest::parse(name, call.query, &call.deployment.limits())?;
    Ok(stored::list_policy_principals_response(&request, targets_of(call, &request).await?))
}

async fn targets_of(call: &Call<'_>, request: &ListTargetsRequest) -> Result<Vec<PolicyTargetRow>, Failure> {
    let registry = call.deployment.registry();
    let rows: Vec<PolicyTargetRow> = registry.read(statements::list_targets_for_policy(P, request)).await?;
    if rows.is_empty() {
        let policies = registry.read(statements::select_policy(P, &request.policy_name)).await?;
        stored::found(&request.policy_name, policies.into_iter().next())?;
    }
    Ok(rows)
}

/// The principal in the header of the older operations.
fn principal(call: &Call<'_>) -> Result<PolicyTarget, ApiError> {
    PolicyTarget::parse(call.header("x-amzn-iot-principal").unwrap_or_default(), &call.deployment.config.scope)
}
