//! Requests about authorizers, parsed and checked against the service model.

use super::AuthorizerStatus;
use crate::error::ApiError;
use crate::input::{Body, Query, Violations};
use crate::limits::Limits;
use crate::page::List;
use crate::policy::{MarkerPage, required};
use authorizer::{AuthorizerFunction, SigningKeys};
use iot_types::AuthorizerName;
use std::collections::BTreeMap;

/// A valid CreateAuthorizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateAuthorizerRequest {
    /// From the path.
    pub authorizer_name: AuthorizerName,
    /// Where its function is.
    pub function: AuthorizerFunction,
    /// What clients call the token. Always there if tokens have to be signed.
    pub token_key_name: Option<String>,
    /// PEM by name, known to be good keys. Never empty if tokens have to be signed.
    pub signing_keys: BTreeMap<String, String>,
    /// Whether tokens need no signature. It stays as it is.
    pub signing_disabled: bool,
    /// The status to begin with.
    pub status: AuthorizerStatus,
    /// Whether an answer holds for all requests of an HTTP connection.
    pub enable_caching_for_http: bool,
}

impl CreateAuthorizerRequest {
    /// Parses the path parameter and the body; `is_local` as in [`AuthorizerFunction::parse`]. Tags are ignored.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(authorizer_name: &str, body: &[u8], is_local: bool) -> Result<Self, ApiError> {
        let authorizer_name = parse_authorizer_name(authorizer_name)?;
        let body = Body::parse(body)?;
        let mut violations = Violations::default();
        let token_key_name = token_key_name(&body, &mut violations)?;
        let status = status(body.string("status")?, &mut violations);
        violations.finish()?;
        let function = function(required(&body, "authorizerFunctionArn")?, is_local)?;
        let signing_disabled = body.boolean("signingDisabled")?.unwrap_or(false);
        let signing_keys = signing_keys(&body)?.unwrap_or_default();
        if !signing_disabled && (token_key_name.is_none() || signing_keys.is_empty()) {
            return Err(ApiError::invalid_request(
                "tokenKeyName and tokenSigningPublicKeys must be given unless signingDisabled is true",
            ));
        }
        Ok(Self {
            authorizer_name,
            function,
            token_key_name,
            signing_keys,
            signing_disabled,
            // AWS's documentation does not say; what was not asked for is not open.
            status: status.unwrap_or(AuthorizerStatus::Inactive),
            enable_caching_for_http: body.boolean("enableCachingForHttp")?.unwrap_or(false),
        })
    }
}

/// A valid UpdateAuthorizer. What is absent stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateAuthorizerRequest {
    /// From the path.
    pub authorizer_name: AuthorizerName,
    /// Where its function is.
    pub function: Option<AuthorizerFunction>,
    /// What clients call the token.
    pub token_key_name: Option<String>,
    /// PEM by name, known to be good keys: instead of all that there were.
    pub signing_keys: Option<BTreeMap<String, String>>,
    /// Its status.
    pub status: Option<AuthorizerStatus>,
    /// Whether an answer holds for all requests of an HTTP connection.
    pub enable_caching_for_http: Option<bool>,
}

impl UpdateAuthorizerRequest {
    /// Parses the path parameter and the body; `is_local` as in [`AuthorizerFunction::parse`].
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(authorizer_name: &str, body: &[u8], is_local: bool) -> Result<Self, ApiError> {
        let authorizer_name = parse_authorizer_name(authorizer_name)?;
        let body = Body::parse(body)?;
        let mut violations = Violations::default();
        let token_key_name = token_key_name(&body, &mut violations)?;
        let status = status(body.string("status")?, &mut violations);
        violations.finish()?;
        // AWS's model has no such member, and ignoring it would leave open what somebody wanted to close.
        if body.boolean("signingDisabled")?.is_some() {
            return Err(ApiError::invalid_request("signingDisabled cannot be changed"));
        }
        let function = body.string("authorizerFunctionArn")?.map(|text| function(text, is_local)).transpose()?;
        Ok(Self {
            authorizer_name,
            function,
            token_key_name,
            signing_keys: signing_keys(&body)?,
            status,
            enable_caching_for_http: body.boolean("enableCachingForHttp")?,
        })
    }
}

/// A valid ListAuthorizers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListAuthorizersRequest {
    /// Which of them.
    pub page: MarkerPage,
    /// Only those with this status.
    pub status: Option<AuthorizerStatus>,
}

impl ListAuthorizersRequest {
    /// Parses the query.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(query: &str, limits: &Limits) -> Result<Self, ApiError> {
        let page = MarkerPage::parse(query, List::Authorizers, true, limits)?;
        let mut violations = Violations::default();
        let status = status(Query::parse(query).string("status"), &mut violations);
        violations.finish()?;
        Ok(Self { page, status })
    }
}

/// An authorizer's name in a path.
///
/// # Errors
/// `InvalidRequestException`.
pub fn parse_authorizer_name(text: &str) -> Result<AuthorizerName, ApiError> {
    AuthorizerName::new(text).map_err(|error| ApiError::invalid_request(error.to_string()))
}

/// The authorizer that SetDefaultAuthorizer names in its body.
///
/// # Errors
/// `InvalidRequestException`, `SerializationException`.
pub fn default_authorizer_of(body: &[u8]) -> Result<AuthorizerName, ApiError> {
    parse_authorizer_name(required(&Body::parse(body)?, "authorizerName")?)
}

fn function(text: &str, is_local: bool) -> Result<AuthorizerFunction, ApiError> {
    AuthorizerFunction::parse(text, is_local).map_err(|error| ApiError::invalid_request(error.to_string()))
}

/// AWS API, `TokenKeyName`.
fn token_key_name(body: &Body, violations: &mut Violations) -> Result<Option<String>, ApiError> {
    const NAME: &str = "tokenKeyName";
    let Some(text) = body.string(NAME)? else { return Ok(None) };
    if text.is_empty() {
        violations.add(text, NAME, "Member must have length greater than or equal to 1");
    }
    if text.chars().count() > 128 {
        violations.add(text, NAME, "Member must have length less than or equal to 128");
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
        violations.add(text, NAME, "Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+");
    }
    Ok(Some(text.to_owned()))
}

fn status(text: Option<&str>, violations: &mut Violations) -> Option<AuthorizerStatus> {
    let text = text?;
    let status = AuthorizerStatus::parse(text);
    if status.is_none() {
        violations.add(text, "status", "Member must satisfy enum value set: [ACTIVE, INACTIVE]");
    }
    status
}

/// No keys at all may be right: for an authorizer whose tokens need no signature.
fn signing_keys(body: &Body) -> Result<Option<BTreeMap<String, String>>, ApiError> {
    let Some(keys) = body.structure("tokenSigningPublicKeys")? else { return Ok(None) };
    let keys = keys.strings()?;
    if !keys.is_empty() {
        SigningKeys::parse(&keys).map_err(|error| ApiError::invalid_request(error.to_string()))?;
    }
    Ok(Some(keys))
}
