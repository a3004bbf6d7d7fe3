//! Who has which policies: AttachPolicy, DetachPolicy, ListAttachedPolicies, ListTargetsForPolicy, and the older
//! AttachPrincipalPolicy, DetachPrincipalPolicy, ListPrincipalPolicies, ListPolicyPrincipals.

use super::error::Failure;
use super::{Call, control};
use durable_objects::d1;
use registry::control::ControlKind;
use registry::policy::{
    self as stored, AttachmentRow, ListTargetsRequest, MarkerPage, PolicyNameRow, PolicyTarget, PolicyTargetRow,
};
use registry::{ApiError, Partition, statements};

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
    let (_, results) = control::store(call, batch, 0, ControlKind::Principal, target.principal_identifier()).await?;
    let after: Vec<AttachmentRow> = d1::rows_at(&results, 1)?;
    stored::settle_attach(&name, target, after.into_iter().next())?;
    Ok(Vec::new())
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
    control::store(call, batch, 0, ControlKind::Principal, target.principal_identifier()).await?;
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
    let statement = statements::list_attached_policies(P, target, &page);
    let rows: Vec<PolicyNameRow> = call.deployment.registry().read(statement).await?;
    Ok(stored::list_policies_response(&call.deployment.config.scope, &page, rows)?)
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
