//! What somebody may do, before they try: GetEffectivePolicies, TestAuthorization.

use super::Call;
use super::error::Failure;
use durable_objects::d1;
use iot_types::PolicyName;
use policy::{Authority, Context, Effect, Facts, PolicyDocument, ThingFacts};
use registry::authorization_test::{
    AuthDecision, AuthInfo, AuthResult, EffectivePoliciesRequest, TestAuthorizationRequest,
    effective_policies_response, test_authorization_response,
};
use registry::certificate::CertificateInUseRow;
use registry::policy::{self as stored, PolicyOfTargetRow, PolicyTarget};
use registry::thing_group::{GroupOfThingRow, GroupPath};
use registry::thing_principal::ThingOfPrincipalRow;
use registry::{ApiError, Partition, statements};
use std::collections::BTreeSet;

const P: Partition = Partition::FIRST;

pub async fn get(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let scope = &call.deployment.config.scope;
    let request = EffectivePoliciesRequest::parse(call.query, &call.body, scope)?;
    let mut targets: Vec<String> = request.principal.iter().map(|target| target.as_str().to_owned()).collect();
    if let Some(thing) = &request.thing_name {
        let statement = statements::select_groups_of_things(call.deployment.partitions().of(thing), &[thing.as_str()]);
        let rows: Vec<GroupOfThingRow> = call.deployment.registry().read(statement).await?;
        let paths = rows.iter().filter_map(|row| GroupPath::parse(&row.path));
        let names: BTreeSet<String> =
            paths.flat_map(|path| path.names().map(str::to_owned).collect::<Vec<_>>()).collect();
        targets.extend(names.iter().map(|name| scope.thing_group_arn(name).to_string()));
    }
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let statement = statements::select_policies_of_targets(P, &targets);
    let mut rows: Vec<PolicyOfTargetRow> = call.deployment.registry().read(statement).await?;
    rows.sort_by(|a, b| a.policy_name.cmp(&b.policy_name));
    rows.dedup_by(|a, b| a.policy_name == b.policy_name);
    Ok(effective_policies_response(scope, &rows))
}

pub async fn test(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let scope = &call.deployment.config.scope;
    let request = TestAuthorizationRequest::parse(call.query, &call.body, scope)?;
    let principal = request.principal.as_ref();
    let client_id = request.client_id.clone().unwrap_or_default();
    let targets: Vec<&str> = principal.map(PolicyTarget::as_str).into_iter().collect();
    let certificates: Vec<&str> = principal.and_then(PolicyTarget::certificate_id).into_iter().collect();
    let things: Vec<(&str, &str)> = targets.iter().map(|target| (*target, client_id.as_str())).collect();
    let added: Vec<&str> = request.policies_to_add.iter().map(PolicyName::as_str).collect();
    let batch = [
        statements::select_policies_of_targets(P, &targets),
        statements::select_policies_by_name(P, &added),
        statements::select_certificates_in_use(P, &certificates),
        statements::select_things_of_principals(P, &things),
    ];
    let results = call.deployment.registry().batch(&batch).await?;
    let mut policies: Vec<PolicyOfTargetRow> = d1::rows_at(&results, 0)?;
    let also: Vec<PolicyOfTargetRow> = d1::rows_at(&results, 1)?;
    if let Some(missing) = request.policies_to_add.iter().find(|n| also.iter().all(|row| row.policy_name != n.as_str()))
    {
        stored::found(missing, None)?;
    }
    let certificate: Vec<CertificateInUseRow> = d1::rows_at(&results, 2)?;
    if !certificates.is_empty() && certificate.is_empty() {
        return Err(ApiError::resource_not_found("The certificate given in the request does not exist").into());
    }
    policies.extend(also);
    policies.sort_by(|a, b| a.policy_name.cmp(&b.policy_name));
    policies.dedup_by(|a, b| a.policy_name == b.policy_name);
    policies.retain(|row| request.policies_to_skip.iter().all(|name| name.as_str() != row.policy_name));

    let thing = d1::rows_at::<ThingOfPrincipalRow>(&results, 3)?.into_iter().next();
    let facts = Facts {
        client_id: request.client_id.clone(),
        certificate: certificate.first().map(CertificateInUseRow::attributes).transpose()?.unwrap_or_default(),
        thing: thing.map(thing_facts).transpose()?,
        ..Facts::default()
    };
    let documents: Vec<(String, PolicyDocument)> = policies
        .iter()
        .filter_map(|row| Some((row.policy_name.clone(), PolicyDocument::parse(&row.document).ok()?)))
        .collect();
    let named = documents.iter().map(|(name, document)| (name.as_str(), document));
    let authority = Authority::compile(named, &facts, scope);
    let context = Context { now: call.now, ..Context::default() };
    let results: Vec<AuthResult> =
        request.auth_infos.into_iter().map(|info| answer(&authority, info, &context)).collect();
    Ok(test_authorization_response(scope, &results))
}

fn thing_facts(row: ThingOfPrincipalRow) -> Result<ThingFacts, Failure> {
    let attributes = row.attributes()?;
    Ok(ThingFacts {
        name: row.thing_name,
        thing_type: row.thing_type_name,
        attributes,
        is_attached: true,
        ..ThingFacts::default()
    })
}

/// The worst of the decisions about the resources of a question.
fn answer(authority: &Authority, info: AuthInfo, context: &Context<'_>) -> AuthResult {
    let mut worst = AuthDecision::Allowed;
    let mut by: Vec<(AuthDecision, String)> = Vec::new();
    for resource in &info.resources {
        let decision = authority.decide_any(info.action.policy_action(), resource, context);
        let is = match decision.effect() {
            Effect::Allowed => AuthDecision::Allowed,
            Effect::ImplicitDeny => AuthDecision::ImplicitDeny,
            Effect::ExplicitDeny => AuthDecision::ExplicitDeny,
        };
        worst = worst.max(is);
        let name = decision.by().and_then(|number| authority.policy_name(number));
        by.extend(name.map(|name| (is, name.to_owned())));
    }
    let mut policies: Vec<String> =
        by.into_iter().filter(|(decision, _)| *decision == worst).map(|(_, name)| name).collect();
    policies.sort();
    policies.dedup();
    let missing = authority.missing_context_values().map(str::to_owned).collect();
    AuthResult { info, decision: worst, policies, missing }
}
