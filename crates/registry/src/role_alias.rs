//! Role aliases, under which devices get temporary credentials for their certificates (AWS IoT developer guide,
//! "Authorizing direct calls to AWS services using AWS IoT Core credential provider"). What a role may do is what the
//! policies say that are attached to its ARN.

use crate::error::ApiError;
use crate::input::{Body, Violations};
use crate::limits::Limits;
use crate::page::{self, List};
use crate::policy::{MarkerPage, with_marker};
use iot_types::{Scope, UnixMillis};
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What `credentialDurationSeconds` may be.
const DURATIONS: core::ops::RangeInclusive<i64> = 900..=43_200;
/// What it is when nobody says.
const DEFAULT_DURATION: u64 = 3_600;

/// A row of `role_aliases`, as D1 gives it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct RoleAliasRow {
    pub role_alias: String,
    pub role_arn: String,
    pub credential_duration_secs: u64,
    pub created_at: u64,
    pub last_modified_at: u64,
}

/// A row of ListRoleAliases.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct RoleAliasNameRow {
    pub role_alias: String,
}

/// A valid CreateRoleAlias or UpdateRoleAlias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleAliasRequest {
    /// The name.
    pub role_alias: String,
    /// The role, which CreateRoleAlias has to name.
    pub role_arn: Option<String>,
    /// How long its credentials are good, in seconds.
    pub duration_secs: Option<u64>,
}

impl RoleAliasRequest {
    /// Parses CreateRoleAlias.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn of_create(role_alias: &str, body: &[u8]) -> Result<Self, ApiError> {
        let request = Self::of_update(role_alias, body)?;
        if request.role_arn.is_none() {
            return Err(ApiError::invalid_request("roleArn must not be empty"));
        }
        Ok(request)
    }

    /// Parses UpdateRoleAlias.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn of_update(role_alias: &str, body: &[u8]) -> Result<Self, ApiError> {
        let body = Body::parse(body)?;
        let mut violations = Violations::default();
        let role_arn = body.string("roleArn")?;
        if let Some(arn) = role_arn {
            if !(20..=2_048).contains(&arn.chars().count()) {
                violations.add(arn, "roleArn", "Member must have length between 20 and 2048");
            }
            let is_role = arn.starts_with("arn:") && arn.contains(":iam::") && arn.contains(":role/");
            if !is_role || arn.contains(char::is_control) {
                violations.add(arn, "roleArn", "Member must be the ARN of an IAM role");
            }
        }
        let duration = body.long("credentialDurationSeconds")?;
        if let Some(seconds) = duration.filter(|seconds| !DURATIONS.contains(seconds)) {
            let constraint = "Member must have value between 900 and 43200";
            violations.add(&seconds.to_string(), "credentialDurationSeconds", constraint);
        }
        violations.finish()?;
        Ok(Self {
            role_alias: name(role_alias)?,
            role_arn: role_arn.map(str::to_owned),
            duration_secs: duration.and_then(|seconds| u64::try_from(seconds).ok()),
        })
    }

    /// What a new alias has, if nothing else is said.
    #[must_use]
    pub fn duration_or_default(&self) -> u64 {
        self.duration_secs.unwrap_or(DEFAULT_DURATION)
    }
}

/// A role alias's name in a path.
///
/// # Errors
/// `InvalidRequestException`.
pub fn name(text: &str) -> Result<String, ApiError> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '=' | ',' | '@' | '-');
    if (1..=128).contains(&text.len()) && text.chars().all(is_valid) {
        return Ok(text.to_owned());
    }
    Err(ApiError::invalid_request("The roleAlias must have from 1 to 128 characters of [a-zA-Z0-9_=,@-]"))
}

/// Whether CreateRoleAlias stored it.
///
/// # Errors
/// `ResourceAlreadyExistsException`.
pub fn settle_create(scope: &Scope, name: &str, rows_changed: u64) -> Result<(), ApiError> {
    if rows_changed > 0 {
        return Ok(());
    }
    let arn = scope.role_alias_arn(name);
    Err(ApiError::resource_already_exists("The role alias exists already", name, arn.as_str()))
}

/// Whether UpdateRoleAlias or DeleteRoleAlias found it.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn settle_change(name: &str, rows_changed: u64) -> Result<(), ApiError> {
    if rows_changed > 0 { Ok(()) } else { Err(not_found(name)) }
}

/// The alias that must exist.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn found(name: &str, row: Option<RoleAliasRow>) -> Result<RoleAliasRow, ApiError> {
    row.ok_or_else(|| not_found(name))
}

fn not_found(name: &str) -> ApiError {
    ApiError::resource_not_found(format!("The role alias {name} does not exist"))
}

/// CreateRoleAliasResponse and UpdateRoleAliasResponse.
#[must_use]
pub fn named_response(scope: &Scope, name: &str) -> Vec<u8> {
    json!({"roleAlias": name, "roleAliasArn": scope.role_alias_arn(name).as_str()}).to_string().into_bytes()
}

/// DescribeRoleAliasResponse.
#[must_use]
pub fn describe_response(scope: &Scope, row: &RoleAliasRow) -> Vec<u8> {
    json!({"roleAliasDescription": {
        "roleAlias": row.role_alias,
        "roleAliasArn": scope.role_alias_arn(&row.role_alias).as_str(),
        "roleArn": row.role_arn,
        "owner": scope.account_id.as_str(),
        "credentialDurationSeconds": row.credential_duration_secs,
        "creationDate": UnixMillis(row.created_at).as_secs(),
        "lastModifiedDate": UnixMillis(row.last_modified_at).as_secs(),
    }})
    .to_string()
    .into_bytes()
}

/// Parses ListRoleAliases.
///
/// # Errors
/// `InvalidRequestException`, `SerializationException`.
pub fn parse_list(query: &str, limits: &Limits) -> Result<MarkerPage, ApiError> {
    MarkerPage::parse(query, List::RoleAliases, true, limits)
}

/// ListRoleAliasesResponse.
#[must_use]
pub fn list_response(page: &MarkerPage, mut rows: Vec<RoleAliasNameRow>) -> Vec<u8> {
    let next = page::cut(&mut rows, page.size, List::RoleAliases, |row| row.role_alias.clone());
    with_marker("roleAliases", rows.into_iter().map(|row| row.role_alias.into()).collect(), next)
}

/// The answer of the credential provider.
#[must_use]
pub fn credentials_response(access_key_id: &str, secret: &str, session_token: &str, expires_at: UnixMillis) -> Vec<u8> {
    let at = i64::try_from(expires_at.as_secs()).ok().and_then(|at| OffsetDateTime::from_unix_timestamp(at).ok());
    let expiration: Value = at.and_then(|at| at.format(&Rfc3339).ok()).map_or(Value::Null, Value::from);
    json!({"credentials": {
        "accessKeyId": access_key_id,
        "secretAccessKey": secret,
        "sessionToken": session_token,
        "expiration": expiration,
    }})
    .to_string()
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = r#"{"roleArn":"arn:aws:iam::123456789012:role/lamps"}"#;

    #[test]
    fn a_role_alias_names_a_role() {
        let create = |name: &str, body: &str| RoleAliasRequest::of_create(name, body.as_bytes());
        let request = create("lamps", ROLE).unwrap();
        assert_eq!((request.role_alias.as_str(), request.duration_or_default()), ("lamps", 3_600));
        for (name, body) in [
            ("", ROLE),
            ("a b", ROLE),
            (&"x".repeat(129), ROLE),
            ("a", "{}"),
            ("a", r#"{"roleArn":"short"}"#),
            ("a", r#"{"roleArn":"arn:aws:iot:us-east-1:123456789012:thing/a"}"#),
            ("a", r#"{"roleArn":"arn:aws:iam::123456789012:role/lamps","credentialDurationSeconds":899}"#),
            ("a", r#"{"roleArn":"arn:aws:iam::123456789012:role/lamps","credentialDurationSeconds":43201}"#),
        ] {
            assert_eq!(create(name, body).unwrap_err().name(), "InvalidRequestException", "{name} {body}");
        }
        let update = RoleAliasRequest::of_update("a", br#"{"credentialDurationSeconds":900}"#).unwrap();
        assert_eq!((update.role_arn, update.duration_secs), (None, Some(900)));
    }

    #[test]
    fn credentials_say_when_they_end() {
        let bytes = credentials_response("ASIA", "s", "t", UnixMillis(1_738_240_496_999));
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(body.pointer("/credentials/expiration"), Some(&json!("2025-01-30T12:34:56Z")));
        assert_eq!(body.pointer("/credentials/sessionToken"), Some(&json!("t")));
    }
}
