//! Custom authorizers as D1 holds them. What clients send for them, what their functions are told and answer is the
//! `authorizer` crate's.

mod request;
mod test_invoke;

pub use request::{
    CreateAuthorizerRequest, ListAuthorizersRequest, UpdateAuthorizerRequest, default_authorizer_of,
    parse_authorizer_name,
};
pub use test_invoke::{TestInvokeAuthorizerRequest, invalid_response, test_invoke_authorizer_response};

use crate::error::{ApiError, CorruptRow};
use crate::page::{self, List};
use crate::policy::with_marker;
use authorizer::{AuthorizerFunction, FunctionError, SigningKeys, SigningPolicy};
use core::fmt;
use iot_types::{AuthorizerName, Scope, UnixMillis};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;

/// The key in the table `deployment` for the name of the default authorizer.
pub(crate) const DEFAULT_AUTHORIZER_KEY: &str = "default_authorizer";

/// An authorizer's status (AWS API, `AuthorizerStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum AuthorizerStatus {
    Active,
    Inactive,
}

impl AuthorizerStatus {
    /// AWS's spelling, which is also how it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
        }
    }

    /// The status of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Inactive].into_iter().find(|status| status.as_str() == text)
    }
}

impl fmt::Display for AuthorizerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An authorizer, as D1 gives it; times in Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct AuthorizerRow {
    pub authorizer_name: String,
    pub function_arn: String,
    pub token_key_name: Option<String>,
    /// A JSON object: PEM by name.
    pub signing_keys: String,
    /// 0 or 1, here and below.
    pub signing_disabled: u8,
    pub status: String,
    pub enable_caching_for_http: u8,
    pub created_at: u64,
    pub last_modified_at: u64,
    pub is_default: u8,
}

impl AuthorizerRow {
    /// Whether clients may be let in by it.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status == AuthorizerStatus::Active.as_str()
    }

    /// Where its function is; `is_local` as in [`AuthorizerFunction::parse`].
    ///
    /// # Errors
    /// [`FunctionError`] when it was stored while the deployment was local, and no longer may be called.
    pub fn function(&self, is_local: bool) -> Result<AuthorizerFunction, FunctionError> {
        AuthorizerFunction::parse(&self.function_arn, is_local)
    }

    /// Who must have signed its tokens.
    ///
    /// # Errors
    /// [`CorruptRow`].
    pub fn signing_policy(&self) -> Result<SigningPolicy, CorruptRow> {
        if self.signing_disabled != 0 {
            return Ok(SigningPolicy::Disabled);
        }
        let corrupt = CorruptRow { table: "authorizers", column: "signing_keys" };
        SigningKeys::parse(&self.keys()?).map(SigningPolicy::Required).map_err(|_| corrupt)
    }

    fn keys(&self) -> Result<BTreeMap<String, String>, CorruptRow> {
        serde_json::from_str(&self.signing_keys)
            .map_err(|_| CorruptRow { table: "authorizers", column: "signing_keys" })
    }

    fn name(&self) -> Result<AuthorizerName, CorruptRow> {
        name_of(&self.authorizer_name)
    }
}

fn name_of(text: &str) -> Result<AuthorizerName, CorruptRow> {
    AuthorizerName::new(text).map_err(|_| CorruptRow { table: "authorizers", column: "authorizer_name" })
}

/// A row of a list of authorizers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct AuthorizerNameRow {
    pub authorizer_name: String,
}

/// Whether CreateAuthorizer stored the authorizer, from the rows that
/// [`insert_authorizer`](crate::statements::insert_authorizer) changed and what is stored then.
///
/// # Errors
/// `ResourceAlreadyExistsException`, for the same configuration, too; `LimitExceededException`.
pub fn settle_create(
    scope: &Scope,
    name: &AuthorizerName,
    rows_changed: u64,
    stored: Option<&AuthorizerRow>,
) -> Result<(), ApiError> {
    match (rows_changed, stored) {
        (1.., _) => Ok(()),
        (0, Some(_)) => {
            let message = format!("Authorizer cannot be created - name already exists (name={name})");
            Err(ApiError::resource_already_exists(message, name.as_str(), scope.authorizer_arn(name).as_str()))
        }
        (0, None) => Err(limit_exceeded()),
    }
}

fn limit_exceeded() -> ApiError {
    ApiError::limit_exceeded("There are as many authorizers, or as many active ones, as may be")
}

/// The authorizer that must exist.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn found(name: &AuthorizerName, row: Option<AuthorizerRow>) -> Result<AuthorizerRow, ApiError> {
    row.ok_or_else(|| not_found(name))
}

fn not_found(name: &AuthorizerName) -> ApiError {
    ApiError::resource_not_found(format!("Authorizer not found (name={name})"))
}

/// The default authorizer, which must be set.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn found_default(row: Option<AuthorizerRow>) -> Result<AuthorizerRow, ApiError> {
    row.ok_or_else(no_default)
}

fn no_default() -> ApiError {
    ApiError::resource_not_found("There is no default authorizer")
}

/// Whether UpdateAuthorizer changed the authorizer, from the rows that it changed and what is stored.
///
/// # Errors
/// `ResourceNotFoundException`, `InvalidRequestException` when an authorizer that needs keys would be left without any,
/// `LimitExceededException`.
pub fn settle_update(
    request: &UpdateAuthorizerRequest,
    rows_changed: u64,
    stored: Option<&AuthorizerRow>,
) -> Result<(), ApiError> {
    let has_no_keys = request.signing_keys.as_ref().is_some_and(BTreeMap::is_empty);
    match (rows_changed, stored) {
        (1.., _) => Ok(()),
        (0, None) => Err(not_found(&request.authorizer_name)),
        (0, Some(row)) if has_no_keys && row.signing_disabled == 0 => {
            Err(ApiError::invalid_request(authorizer::SigningKeyError::Count.to_string()))
        }
        (0, Some(_)) => Err(limit_exceeded()),
    }
}

/// Whether DeleteAuthorizer deleted the authorizer, from the rows that it changed and what is left of it.
///
/// # Errors
/// `DeleteConflictException` for one that is active or the default one, `ResourceNotFoundException`.
pub fn settle_delete(name: &AuthorizerName, rows_changed: u64, left: Option<&AuthorizerRow>) -> Result<(), ApiError> {
    match (rows_changed, left) {
        (1.., _) => Ok(()),
        (0, None) => Err(not_found(name)),
        (0, Some(row)) if row.is_default != 0 => {
            Err(ApiError::delete_conflict(format!("Cannot delete the default authorizer (name={name})")))
        }
        (0, Some(_)) => Err(ApiError::delete_conflict(format!(
            "Authorizer must be deactivated (not ACTIVE) before deletion (name={name})"
        ))),
    }
}

/// Whether SetDefaultAuthorizer did, from the rows that it changed.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn settle_set_default(name: &AuthorizerName, rows_changed: u64) -> Result<(), ApiError> {
    if rows_changed > 0 { Ok(()) } else { Err(not_found(name)) }
}

/// Whether ClearDefaultAuthorizer found one, from the rows that it changed.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn settle_clear_default(rows_changed: u64) -> Result<(), ApiError> {
    if rows_changed > 0 { Ok(()) } else { Err(no_default()) }
}

/// CreateAuthorizerResponse, UpdateAuthorizerResponse and SetDefaultAuthorizerResponse, which are the same.
#[must_use]
pub fn authorizer_response(scope: &Scope, name: &AuthorizerName) -> Vec<u8> {
    json!({"authorizerName": name.as_str(), "authorizerArn": scope.authorizer_arn(name).as_str()})
        .to_string()
        .into_bytes()
}

/// DescribeAuthorizerResponse and DescribeDefaultAuthorizerResponse, which are the same.
///
/// # Errors
/// [`CorruptRow`].
pub fn describe_authorizer_response(scope: &Scope, row: &AuthorizerRow) -> Result<Vec<u8>, CorruptRow> {
    let name = row.name()?;
    let mut description = json!({
        "authorizerName": name.as_str(),
        "authorizerArn": scope.authorizer_arn(&name).as_str(),
        "authorizerFunctionArn": row.function_arn,
        "tokenSigningPublicKeys": row.keys()?,
        "status": row.status,
        "creationDate": UnixMillis(row.created_at).as_secs(),
        "lastModifiedDate": UnixMillis(row.last_modified_at).as_secs(),
        "signingDisabled": row.signing_disabled != 0,
        "enableCachingForHttp": row.enable_caching_for_http != 0,
    });
    if let (Some(members), Some(token_key_name)) = (description.as_object_mut(), &row.token_key_name) {
        members.insert("tokenKeyName".to_owned(), token_key_name.as_str().into());
    }
    Ok(json!({ "authorizerDescription": description }).to_string().into_bytes())
}

/// ListAuthorizersResponse.
///
/// # Errors
/// [`CorruptRow`].
pub fn list_authorizers_response(
    scope: &Scope,
    request: &ListAuthorizersRequest,
    mut rows: Vec<AuthorizerNameRow>,
) -> Result<Vec<u8>, CorruptRow> {
    let next = page::cut(&mut rows, request.page.size, List::Authorizers, |row| row.authorizer_name.clone());
    let authorizers = rows.into_iter().map(|row| {
        let name = name_of(&row.authorizer_name)?;
        Ok(json!({"authorizerName": name.as_str(), "authorizerArn": scope.authorizer_arn(&name).as_str()}))
    });
    Ok(with_marker("authorizers", authorizers.collect::<Result<_, _>>()?, next))
}
