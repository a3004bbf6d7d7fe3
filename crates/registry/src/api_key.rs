//! API keys, for people and services (AWS has IAM for that): CreateApiKey, DescribeApiKey, ListApiKeys, UpdateApiKey,
//! DeleteApiKey. What one may do is what the policies say that are attached to its ARN. Secrets are not here: they are
//! derived.

use crate::error::ApiError;
use crate::input::{Body, Query, Violations};
use crate::limits::Limits;
use crate::page::{self, List};
use iot_types::{Scope, UnixMillis};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Longest description, in characters.
const LONGEST_DESCRIPTION: usize = 256;

/// Whether a key may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ApiKeyStatus {
    Active,
    Inactive,
}

impl ApiKeyStatus {
    /// As it is stored and told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
        }
    }
}

/// A row of `api_keys`, as D1 gives it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct ApiKeyRow {
    pub access_key_id: String,
    pub description: String,
    pub status: String,
    pub created_at: u64,
    pub last_modified_at: u64,
}

/// A key that may be used, for a Broker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct ApiKeyInUseRow {
    pub access_key_id: String,
}

/// The description in the body of CreateApiKey.
///
/// # Errors
/// `InvalidRequestException`, `SerializationException`.
pub fn description(body: &[u8]) -> Result<String, ApiError> {
    Ok(described(&Body::parse(body)?)?.unwrap_or_default())
}

fn described(body: &Body) -> Result<Option<String>, ApiError> {
    match body.string("description")? {
        Some(text) if text.chars().count() > LONGEST_DESCRIPTION => {
            let message = format!("description must have at most {LONGEST_DESCRIPTION} characters");
            Err(ApiError::invalid_request(message))
        }
        text => Ok(text.map(str::to_owned)),
    }
}

/// A valid UpdateApiKey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateApiKeyRequest {
    /// Whether it may be used.
    pub status: Option<ApiKeyStatus>,
    /// What it is for.
    pub description: Option<String>,
}

impl UpdateApiKeyRequest {
    /// Parses the body.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let body = Body::parse(body)?;
        let status = match body.string("status")? {
            None => None,
            Some("ACTIVE") => Some(ApiKeyStatus::Active),
            Some("INACTIVE") => Some(ApiKeyStatus::Inactive),
            Some(_) => return Err(ApiError::invalid_request("The status of an API key must be ACTIVE or INACTIVE")),
        };
        Ok(Self { status, description: described(&body)? })
    }
}

/// Whether a change found the key.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn settle_change(id: &str, rows_changed: u64) -> Result<(), ApiError> {
    if rows_changed > 0 { Ok(()) } else { Err(not_found(id)) }
}

/// The key that must exist.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn found(id: &str, row: Option<ApiKeyRow>) -> Result<ApiKeyRow, ApiError> {
    row.ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> ApiError {
    ApiError::resource_not_found(format!("The API key {id} does not exist"))
}

fn object(scope: &Scope, row: &ApiKeyRow) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert("apiKeyId".to_owned(), row.access_key_id.as_str().into());
    members.insert("apiKeyArn".to_owned(), scope.api_key_arn(&row.access_key_id).as_str().into());
    members.insert("description".to_owned(), row.description.as_str().into());
    members.insert("status".to_owned(), row.status.as_str().into());
    members.insert("creationDate".to_owned(), UnixMillis(row.created_at).as_secs().into());
    members.insert("lastModifiedDate".to_owned(), UnixMillis(row.last_modified_at).as_secs().into());
    members
}

/// The answer to CreateApiKey: the only one that tells the secret.
#[must_use]
pub fn create_response(scope: &Scope, id: &str, secret: &str, now: UnixMillis) -> Vec<u8> {
    json!({
        "apiKeyId": id,
        "apiKeyArn": scope.api_key_arn(id).as_str(),
        "secretAccessKey": secret,
        "creationDate": now.as_secs(),
    })
    .to_string()
    .into_bytes()
}

/// The answer to DescribeApiKey.
#[must_use]
pub fn describe_response(scope: &Scope, row: &ApiKeyRow) -> Vec<u8> {
    Value::Object(object(scope, row)).to_string().into_bytes()
}

/// A valid ListApiKeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListApiKeysRequest {
    /// The page begins after this key.
    pub after: String,
    /// The most on the page.
    pub size: u32,
}

impl ListApiKeysRequest {
    /// Parses the query.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(query: &str, limits: &Limits) -> Result<Self, ApiError> {
        let query = Query::parse(query);
        let mut violations = Violations::default();
        let size = query.max_results(limits.default_page_size, limits.max_page_size, &mut violations)?;
        violations.finish()?;
        let token = query.string("nextToken").filter(|token| !token.is_empty());
        let after = token.map(|token| page::decode_token(List::ApiKeys, token)).transpose()?.unwrap_or_default();
        Ok(Self { after, size })
    }

    /// The answer.
    #[must_use]
    pub fn response(&self, scope: &Scope, mut rows: Vec<ApiKeyRow>) -> Vec<u8> {
        let next = page::cut(&mut rows, self.size, List::ApiKeys, |row| row.access_key_id.clone());
        let keys: Vec<Value> = rows.iter().map(|row| Value::Object(object(scope, row))).collect();
        let mut body = Map::new();
        body.insert("apiKeys".to_owned(), keys.into());
        if let Some(next) = next {
            body.insert("nextToken".to_owned(), next.into());
        }
        Value::Object(body).to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_short_description_and_one_of_two_statuses() {
        assert_eq!(description(b"").unwrap(), "");
        assert_eq!(description(br#"{"description":"the dashboard"}"#).unwrap(), "the dashboard");
        let long = format!(r#"{{"description":"{}"}}"#, "x".repeat(257));
        assert_eq!(description(long.as_bytes()).unwrap_err().name(), "InvalidRequestException");
        let update = UpdateApiKeyRequest::parse(br#"{"status":"INACTIVE"}"#).unwrap();
        assert_eq!((update.status, update.description), (Some(ApiKeyStatus::Inactive), None));
        assert!(UpdateApiKeyRequest::parse(br#"{"status":"REVOKED"}"#).is_err());
    }
}
