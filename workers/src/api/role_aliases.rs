//! Role aliases: CreateRoleAlias, DescribeRoleAlias, UpdateRoleAlias, DeleteRoleAlias, ListRoleAliases; and the
//! credential provider, which gives temporary credentials to the holder of a certificate.

use super::Call;
use super::error::{self, Failure};
use device_auth::derived_keys::Session;
use device_auth::principal::Principal;
use durable_objects::{d1, web_crypto};
use registry::role_alias::{self, RoleAliasNameRow, RoleAliasRequest, RoleAliasRow};
use registry::thing_principal::ThingOfPrincipalRow;
use registry::{ApiError, Partition, statements};

const P: Partition = Partition::FIRST;

/// What a device says which thing it is.
const THING_NAME_HEADER: &str = "x-amzn-iot-thingname";

pub async fn create(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = RoleAliasRequest::of_create(call.route.parameter("roleAlias"), &call.body)?;
    let batch = [statements::insert_role_alias(P, &request, call.now)];
    let results = call.deployment.registry().batch(&batch).await?;
    let scope = &call.deployment.config.scope;
    role_alias::settle_create(scope, &request.role_alias, d1::changes_at(&results, 0)?)?;
    Ok(role_alias::named_response(scope, &request.role_alias))
}

pub async fn describe(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let row = read(call).await?;
    Ok(role_alias::describe_response(&call.deployment.config.scope, &row))
}

async fn read(call: &Call<'_>) -> Result<RoleAliasRow, Failure> {
    let name = role_alias::name(call.route.parameter("roleAlias"))?;
    let rows: Vec<RoleAliasRow> = call.deployment.registry().read(statements::select_role_alias(P, &name)).await?;
    Ok(role_alias::found(&name, rows.into_iter().next())?)
}

pub async fn update(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = RoleAliasRequest::of_update(call.route.parameter("roleAlias"), &call.body)?;
    let batch = [statements::update_role_alias(P, &request, call.now)];
    let results = call.deployment.registry().batch(&batch).await?;
    role_alias::settle_change(&request.role_alias, d1::changes_at(&results, 0)?)?;
    Ok(role_alias::named_response(&call.deployment.config.scope, &request.role_alias))
}

pub async fn delete(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = role_alias::name(call.route.parameter("roleAlias"))?;
    let results = call.deployment.registry().batch(&[statements::delete_role_alias(P, &name)]).await?;
    role_alias::settle_change(&name, d1::changes_at(&results, 0)?)?;
    Ok(b"{}".to_vec())
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let page = role_alias::parse_list(call.query, &call.deployment.limits())?;
    let rows: Vec<RoleAliasNameRow> = call.deployment.registry().read(statements::list_role_aliases(P, &page)).await?;
    Ok(role_alias::list_response(&page, rows))
}

/// AssumeRoleWithCertificate. That a policy allows it has been seen to.
pub async fn credentials(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let Principal::Certificate { certificate_id } = &call.principal else {
        return Err(ApiError::forbidden("Only the holder of a certificate is given credentials for a role").into());
    };
    let alias = read(call).await?;
    let thing_name = call.header(THING_NAME_HEADER).map(str::to_owned);
    if let Some(name) = &thing_name {
        let arn = call.deployment.config.scope.certificate_arn(certificate_id).to_string();
        let statement = statements::select_things_of_principals(P, &[(&arn, name)]);
        let things: Vec<ThingOfPrincipalRow> = call.deployment.registry().read(statement).await?;
        if things.iter().all(|row| row.thing_name != *name) {
            return Err(ApiError::forbidden("The certificate is not attached to this thing").into());
        }
    }
    let expires_at = call.now.plus_secs(alias.credential_duration_secs);
    let session = Session { role_arn: alias.role_arn, certificate_id: certificate_id.clone(), thing_name, expires_at };
    let issued = call.deployment.access_keys.derived().issue_session(&web_crypto::random_bytes(), &session);
    let issued = issued.map_err(|error| error::of_auth(&error))?;
    let token = issued.session_token.unwrap_or_default();
    let secret = issued.secret.into_text();
    Ok(role_alias::credentials_response(issued.access_key_id.as_str(), &secret, &token, expires_at))
}
