//! Custom authorizers: CreateAuthorizer, DescribeAuthorizer, UpdateAuthorizer, DeleteAuthorizer, ListAuthorizers,
//! SetDefaultAuthorizer, DescribeDefaultAuthorizer, ClearDefaultAuthorizer, TestInvokeAuthorizer.

use super::Call;
use super::error::Failure;
use crate::http::random_uuid;
use authorizer::Answer;
use durable_objects::{authorizer_call, d1};
use iot_types::AuthorizerName;
use policy::PolicyDocument;
use registry::authorizer::{
    self as stored, AuthorizerNameRow, AuthorizerRow, CreateAuthorizerRequest, ListAuthorizersRequest,
    TestInvokeAuthorizerRequest, UpdateAuthorizerRequest,
};
use registry::{ApiError, Partition, statements};

const P: Partition = Partition::FIRST;

pub async fn create(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = CreateAuthorizerRequest::parse(name_in_path(call), &call.body, call.deployment.is_local())?;
    let name = &request.authorizer_name;
    let batch = [
        statements::insert_authorizer(P, &request, &call.deployment.limits(), call.now),
        statements::select_authorizer(P, name),
    ];
    let results = call.deployment.registry().batch(&batch).await?;
    let rows: Vec<AuthorizerRow> = d1::rows_at(&results, 1)?;
    let scope = &call.deployment.config.scope;
    stored::settle_create(scope, name, d1::changes_at(&results, 0)?, rows.first())?;
    Ok(stored::authorizer_response(scope, name))
}

pub async fn describe(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let row = read(call, &name(call)?).await?;
    Ok(stored::describe_authorizer_response(&call.deployment.config.scope, &row)?)
}

pub async fn update(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = UpdateAuthorizerRequest::parse(name_in_path(call), &call.body, call.deployment.is_local())?;
    let name = &request.authorizer_name;
    let batch = [
        statements::update_authorizer(P, &request, &call.deployment.limits(), call.now),
        statements::select_authorizer(P, name),
    ];
    let results = call.deployment.registry().batch(&batch).await?;
    let rows: Vec<AuthorizerRow> = d1::rows_at(&results, 1)?;
    stored::settle_update(&request, d1::changes_at(&results, 0)?, rows.first())?;
    Ok(stored::authorizer_response(&call.deployment.config.scope, name))
}

pub async fn delete(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = name(call)?;
    let batch = [statements::delete_authorizer(P, &name), statements::select_authorizer(P, &name)];
    let results = call.deployment.registry().batch(&batch).await?;
    let left: Vec<AuthorizerRow> = d1::rows_at(&results, 1)?;
    stored::settle_delete(&name, d1::changes_at(&results, 0)?, left.first())?;
    Ok(b"{}".to_vec())
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = ListAuthorizersRequest::parse(call.query, &call.deployment.limits())?;
    let statement = statements::list_authorizers(P, &request);
    let rows: Vec<AuthorizerNameRow> = call.deployment.registry().read(statement).await?;
    Ok(stored::list_authorizers_response(&call.deployment.config.scope, &request, rows)?)
}

pub async fn set_default(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = stored::default_authorizer_of(&call.body)?;
    let results = call.deployment.registry().batch(&[statements::set_default_authorizer(P, &name)]).await?;
    stored::settle_set_default(&name, d1::changes_at(&results, 0)?)?;
    Ok(stored::authorizer_response(&call.deployment.config.scope, &name))
}

pub async fn describe_default(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let statement = statements::select_default_authorizer(P);
    let rows: Vec<AuthorizerRow> = call.deployment.registry().read(statement).await?;
    let row = stored::found_default(rows.into_iter().next())?;
    Ok(stored::describe_authorizer_response(&call.deployment.config.scope, &row)?)
}

pub async fn clear_default(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let results = call.deployment.registry().batch(&[statements::clear_default_authorizer(P)]).await?;
    stored::settle_clear_default(d1::changes_at(&results, 0)?)?;
    Ok(b"{}".to_vec())
}

pub async fn test_invoke(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = TestInvokeAuthorizerRequest::parse(name_in_path(call), &call.body)?;
    let row = read(call, &request.authorizer_name).await?;
    let event = request.event(&request.check(&row)?, &random_uuid());
    let body = authorizer_call::invoke(&call.deployment.env, &row, &event).await;
    let body = body.map_err(|error| stored::invalid_response(&error))?;
    let answer = Answer::parse(&body, PolicyDocument::parse).map_err(|error| stored::invalid_response(&error))?;
    Ok(stored::test_invoke_authorizer_response(&answer))
}

async fn read(call: &Call<'_>, name: &AuthorizerName) -> Result<AuthorizerRow, Failure> {
    let rows: Vec<AuthorizerRow> = call.deployment.registry().read(statements::select_authorizer(P, name)).await?;
    Ok(stored::found(name, rows.into_iter().next())?)
}

fn name(call: &Call<'_>) -> Result<AuthorizerName, ApiError> {
    stored::parse_authorizer_name(name_in_path(call))
}

fn name_in_path<'a>(call: &'a Call<'_>) -> &'a str {
    call.route.parameter("authorizerName")
}
