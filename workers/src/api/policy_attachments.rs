//! Who has which policies: AttachPolicy, DetachPolicy, ListAttachedPolicies, ListTargetsForPolicy.

use super::error::Failure;
use super::{Call, control};
use durable_objects::d1;
use registry::control::ControlKind;
use registry::policy::{
    self as stored, AttachmentRow, ListTargetsRequest, MarkerPage, PolicyNameRow, PolicyTarget, PolicyTargetRow,
};
use registry::{Partition, statements};

const P: Partition = Partition::FIRST;

pub async fn attach(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = stored::parse_policy_name(call.route.parameter("policyName"))?;
    let target = PolicyTarget::from_body(&call.body, &call.deployment.config.scope)?;
    let batch = vec![
        statements::attach_policy(P, &name, &target, call.deployment.limits().policies_of_target),
        statements::select_attachment(P, &name, &target),
    ];
    let (_, results) = control::store(call, batch, 0, ControlKind::Principal, target.principal_identifier()).await?;
    let after: Vec<AttachmentRow> = d1::rows_at(&results, 1)?;
    stored::settle_attach(&name, &target, after.into_iter().next())?;
    Ok(Vec::new())
}

pub async fn detach(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = stored::parse_policy_name(call.route.parameter("policyName"))?;
    let target = PolicyTarget::from_body(&call.body, &call.deployment.config.scope)?;
    let batch = vec![statements::detach_policy(P, &name, &target)];
    // As in AWS it is no mistake to detach what is not attached.
    control::store(call, batch, 0, ControlKind::Principal, target.principal_identifier()).await?;
    Ok(Vec::new())
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let scope = &call.deployment.config.scope;
    let target = PolicyTarget::parse(call.route.parameter("target"), scope)?;
    let page = MarkerPage::of_attached_policies(call.query, &call.deployment.limits())?;
    let statement = statements::list_attached_policies(P, &target, &page);
    let rows: Vec<PolicyNameRow> = call.deployment.registry().read(statement).await?;
    Ok(stored::list_policies_response(scope, &page, rows)?)
}

pub async fn targets(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = ListTargetsRequest::parse(call.route.parameter("policyName"), call.query, &call.deployment.limits())?;
    let registry = call.deployment.registry();
    let rows: Vec<PolicyTargetRow> = registry.read(statements::list_targets_for_policy(P, &request)).await?;
    if rows.is_empty() {
        let policies = registry.read(statements::select_policy(P, &request.policy_name)).await?;
        stored::found(&request.policy_name, policies.into_iter().next())?;
    }
    Ok(stored::list_targets_response(&request, rows))
}
