//! API keys: CreateApiKey, DescribeApiKey, ListApiKeys, UpdateApiKey, DeleteApiKey.

use super::error::{self, Failure};
use super::{Call, control};
use durable_objects::{d1, web_crypto};
use registry::api_key::{self, ApiKeyRow, ListApiKeysRequest, UpdateApiKeyRequest};
use registry::control::ControlKind;
use registry::{Partition, statements};

const P: Partition = Partition::FIRST;

pub async fn create(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let description = api_key::description(&call.body)?;
    let issued = call.deployment.access_keys.derived().issue_api_key(&web_crypto::random_bytes());
    let issued = issued.map_err(|error| error::of_auth(&error))?;
    let id = issued.access_key_id.as_str();
    let results =
        call.deployment.registry().batch(&[statements::insert_api_key(P, id, &description, call.now)]).await?;
    if d1::changes_at(&results, 0)? == 0 {
        return Err(Failure::Platform("the identifier that was drawn is taken".to_owned()));
    }
    let secret = issued.secret.into_text();
    Ok(api_key::create_response(&call.deployment.config.scope, id, &secret, call.now))
}

pub async fn describe(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let id = call.route.parameter("apiKeyId");
    let rows: Vec<ApiKeyRow> = call.deployment.registry().read(statements::select_api_key(P, id)).await?;
    let row = api_key::found(id, rows.into_iter().next())?;
    Ok(api_key::describe_response(&call.deployment.config.scope, &row))
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = ListApiKeysRequest::parse(call.query, &call.deployment.limits())?;
    let rows: Vec<ApiKeyRow> = call.deployment.registry().read(statements::list_api_keys(P, &request)).await?;
    Ok(request.response(&call.deployment.config.scope, rows))
}

pub async fn update(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let id = call.route.parameter("apiKeyId");
    let request = UpdateApiKeyRequest::parse(&call.body)?;
    let batch = vec![statements::update_api_key(P, id, &request, call.now)];
    let (changed, _) = control::store(call, batch, 0, ControlKind::Principal, id).await?;
    api_key::settle_change(id, changed)?;
    Ok(b"{}".to_vec())
}

pub async fn delete(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let id = call.route.parameter("apiKeyId");
    let arn = call.deployment.config.scope.api_key_arn(id).to_string();
    let batch = vec![statements::delete_api_key(P, id), statements::detach_from_api_key(P, &arn)];
    let (changed, _) = control::store(call, batch, 0, ControlKind::Principal, id).await?;
    api_key::settle_change(id, changed)?;
    Ok(b"{}".to_vec())
}
