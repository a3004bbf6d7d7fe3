//! Policies and their versions: CreatePolicy, GetPolicy, ListPolicies, DeletePolicy, CreatePolicyVersion,
//! GetPolicyVersion, ListPolicyVersions, DeletePolicyVersion, SetDefaultPolicyVersion.

use super::error::Failure;
use super::{Call, control};
use durable_objects::d1;
use iot_types::PolicyName;
use policy::PolicyDocument;
use registry::control::ControlKind;
use registry::policy::{self as stored, MarkerPage, PolicyNameRow, PolicyRow, PolicyVersionRow};
use registry::{ApiError, Partition, statements};

const P: Partition = Partition::FIRST;

pub async fn create(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = name(call)?;
    let document = document(call)?;
    let batch = [
        statements::insert_first_policy_version(P, &name, &document, call.now),
        statements::insert_policy(P, &name, call.now),
    ];
    let results = call.deployment.registry().batch(&batch).await?;
    let scope = &call.deployment.config.scope;
    stored::settle_create(scope, &name, d1::changes_at(&results, 1)?)?;
    Ok(stored::create_policy_response(scope, &name, &document))
}

pub async fn get(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = name(call)?;
    let rows: Vec<PolicyRow> = call.deployment.registry().read(statements::select_policy(P, &name)).await?;
    let row = stored::found(&name, rows.into_iter().next())?;
    Ok(stored::get_policy_response(&call.deployment.config.scope, &name, &row))
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let page = MarkerPage::of_policies(call.query, &call.deployment.limits())?;
    let rows: Vec<PolicyNameRow> = call.deployment.registry().read(statements::list_policies(P, &page)).await?;
    Ok(stored::list_policies_response(&call.deployment.config.scope, &page, rows)?)
}

pub async fn delete(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = name(call)?;
    let batch = [
        statements::delete_policy(P, &name),
        statements::delete_policy_versions(P, &name),
        statements::select_policy(P, &name),
    ];
    let results = call.deployment.registry().batch(&batch).await?;
    let left: Vec<PolicyRow> = d1::rows_at(&results, 2)?;
    stored::settle_delete(&name, d1::changes_at(&results, 0)?, left.first())?;
    Ok(Vec::new())
}

pub async fn create_version(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = name(call)?;
    let document = document(call)?;
    let is_default = stored::sets_as_default(call.query)?;
    let batch = vec![
        statements::count_policy_version(P, &name, is_default, call.now),
        statements::insert_policy_version(P, &name, &document, call.now),
        statements::select_policy(P, &name),
    ];
    let (changed, results) = if is_default {
        control::store(call, batch, 1, ControlKind::Policy, name.as_str()).await?
    } else {
        let results = call.deployment.registry().batch(&batch).await?;
        (d1::changes_at(&results, 1)?, results)
    };
    let after: Vec<PolicyRow> = d1::rows_at(&results, 2)?;
    let after = stored::settle_create_version(&name, changed, after.into_iter().next())?;
    Ok(stored::create_policy_version_response(&call.deployment.config.scope, &name, &document, &after))
}

pub async fn get_version(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let (name, version) = (name(call)?, version(call)?);
    let statement = statements::select_policy_version(P, &name, version);
    let rows: Vec<PolicyVersionRow> = call.deployment.registry().read(statement).await?;
    let row = stored::found_version(&name, version, rows.into_iter().next())?;
    Ok(stored::get_policy_version_response(&call.deployment.config.scope, &name, &row))
}

pub async fn list_versions(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = name(call)?;
    let statement = statements::list_policy_versions(P, &name);
    let rows: Vec<PolicyVersionRow> = call.deployment.registry().read(statement).await?;
    if rows.is_empty() {
        stored::found(&name, None)?;
    }
    Ok(stored::list_policy_versions_response(&rows))
}

pub async fn delete_version(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let (name, version) = (name(call)?, version(call)?);
    let batch =
        [statements::delete_policy_version(P, &name, version), statements::select_policy_version(P, &name, version)];
    let results = call.deployment.registry().batch(&batch).await?;
    let left: Vec<PolicyVersionRow> = d1::rows_at(&results, 1)?;
    stored::settle_delete_version(&name, version, d1::changes_at(&results, 0)?, left.first())?;
    Ok(Vec::new())
}

pub async fn set_default_version(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let (name, version) = (name(call)?, version(call)?);
    let batch = vec![statements::set_default_policy_version(P, &name, version, call.now)];
    let (changed, _) = control::store(call, batch, 0, ControlKind::Policy, name.as_str()).await?;
    stored::settle_set_default(&name, version, changed)?;
    Ok(Vec::new())
}

fn name(call: &Call<'_>) -> Result<PolicyName, ApiError> {
    stored::parse_policy_name(call.route.parameter("policyName"))
}

fn version(call: &Call<'_>) -> Result<u64, ApiError> {
    stored::parse_version(call.route.parameter("policyVersionId"))
}

/// A document that Brokers will understand.
fn document(call: &Call<'_>) -> Result<String, ApiError> {
    let document = stored::document_of(&call.body)?;
    PolicyDocument::parse(&document)
        .map_err(|error| ApiError::new("MalformedPolicyException", 400, error.to_string()))?;
    Ok(document)
}
