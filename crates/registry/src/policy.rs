//! Policies and what they are attached to, as D1 holds them. What a document means is the `policy` crate's; here it is
//! text.

use crate::error::{ApiError, CorruptRow};
use crate::input::{Body, Query, Violations};
use crate::limits::Limits;
use crate::page::{self, List};
use iot_types::{Arn, CertificateId, PolicyName, Scope, UnixMillis};
use serde::Deserialize;
use serde_json::{Value, json};

/// Versions of a policy (AWS General Reference, "AWS IoT Core policy limits"), the default one among them.
pub const MAXIMUM_VERSIONS: u64 = 5;

/// Longest target, in bytes.
const LONGEST_TARGET: usize = 2_048;

/// A row for GetPolicy, as D1 gives it; times in Unix milliseconds here and below.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct PolicyRow {
    pub policy_name: String,
    pub default_version: u64,
    pub newest_version: u64,
    pub created_at: u64,
    pub last_modified_at: u64,
    /// Of the default version.
    pub document: String,
    /// How many there are.
    pub versions: u64,
    /// 0 or 1.
    pub is_attached: u8,
}

/// A row of a list of policies.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct PolicyNameRow {
    pub policy_name: String,
}

/// A row of a list of targets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct PolicyTargetRow {
    pub target: String,
}

/// A row for GetPolicyVersion and ListPolicyVersions.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct PolicyVersionRow {
    pub version: u64,
    pub document: String,
    pub created_at: u64,
    /// Of the policy, as is the next.
    pub default_version: u64,
    pub last_modified_at: u64,
}

/// What there is after AttachPolicy; each 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct AttachmentRow {
    pub has_policy: u8,
    pub has_target: u8,
    pub is_attached: u8,
}

/// A policy in force, for a Broker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct PolicyOfTargetRow {
    pub target: String,
    pub policy_name: String,
    pub document: String,
}

/// What a policy is attached to: the ARN of a certificate, or another identity as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyTarget {
    text: String,
    certificate_id: Option<CertificateId>,
    api_key_id: Option<String>,
}

impl PolicyTarget {
    /// Reads a target. ARNs of certificates and API keys are brought to this deployment's own region and account, and
    /// certificates to lower case.
    ///
    /// # Errors
    /// `InvalidRequestException`.
    pub fn parse(text: &str, scope: &Scope) -> Result<Self, ApiError> {
        if text.is_empty() || text.len() > LONGEST_TARGET || text.contains(char::is_control) {
            return Err(ApiError::invalid_request("The target is not valid"));
        }
        if let Some(id) = Arn::resource_name(text, "cert") {
            let certificate_id = CertificateId::new(id.to_ascii_lowercase())
                .map_err(|_| ApiError::invalid_request("The target names no certificate"))?;
            let text = scope.certificate_arn(&certificate_id).to_string();
            return Ok(Self { text, certificate_id: Some(certificate_id), api_key_id: None });
        }
        if let Some(id) = Arn::resource_name(text, "apikey") {
            let text = scope.api_key_arn(id).to_string();
            return Ok(Self { text, certificate_id: None, api_key_id: Some(id.to_owned()) });
        }
        // Groups, too, are this deployment's own, whatever account stands before them.
        let group = Arn::resource_name(text, "thinggroup").map(|name| scope.thing_group_arn(name).to_string());
        Ok(Self { text: group.unwrap_or_else(|| text.to_owned()), certificate_id: None, api_key_id: None })
    }

    /// The target of `{"target": …}` in a request body.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn from_body(body: &[u8], scope: &Scope) -> Result<Self, ApiError> {
        Self::parse(required(&Body::parse(body)?, "target")?, scope)
    }

    /// As it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The certificate that it is, if it is one.
    #[must_use]
    pub fn certificate_id(&self) -> Option<&str> {
        self.certificate_id.as_ref().map(CertificateId::as_str)
    }

    /// The API key that it is, if it is one.
    #[must_use]
    pub fn api_key_id(&self) -> Option<&str> {
        self.api_key_id.as_deref()
    }

    /// The name of the thing group that it is, if it is one.
    #[must_use]
    pub fn thing_group(&self) -> Option<&str> {
        Arn::resource_name(&self.text, "thinggroup")
    }

    /// What Brokers know its holder by: `Principal::is_concerned` of `device-auth`.
    #[must_use]
    pub fn principal_identifier(&self) -> &str {
        self.certificate_id().or(self.api_key_id()).unwrap_or(&self.text)
    }
}

/// A page by `marker` and `pageSize`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkerPage {
    /// The page begins after this, in the order of the list.
    pub after: String,
    /// The most on the page.
    pub size: u32,
    /// From the least to the greatest.
    pub is_ascending: bool,
}

impl MarkerPage {
    /// `has_order`: whether the operation has `isAscendingOrder`; others ignore it.
    pub(crate) fn parse(query: &str, list: List, has_order: bool, limits: &Limits) -> Result<Self, ApiError> {
        let query = Query::parse(query);
        let mut violations = Violations::default();
        let size = query.page_size("pageSize", limits.default_page_size, limits.max_page_size, &mut violations)?;
        violations.finish()?;
        let is_ascending = !has_order || query.boolean("isAscendingOrder")?.unwrap_or(true);
        let marker = query.string("marker").filter(|marker| !marker.is_empty());
        let after = marker.map(|marker| page::decode_token(list, marker)).transpose()?;
        // No name begins with so great a character.
        let first = || if is_ascending { String::new() } else { char::MAX.to_string() };
        Ok(Self { after: after.unwrap_or_else(first), size, is_ascending })
    }

    /// Parses the query of ListPolicies.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn of_policies(query: &str, limits: &Limits) -> Result<Self, ApiError> {
        Self::parse(query, List::Policies, true, limits)
    }

    /// Parses the query of ListAttachedPolicies.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn of_attached_policies(query: &str, limits: &Limits) -> Result<Self, ApiError> {
        Self::parse(query, List::Policies, false, limits)
    }
}

/// A valid ListTargetsForPolicy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListTargetsRequest {
    /// Whose targets.
    pub policy_name: PolicyName,
    /// Which of them.
    pub page: MarkerPage,
}

impl ListTargetsRequest {
    /// Parses the name in the path and the query.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(policy_name: &str, query: &str, limits: &Limits) -> Result<Self, ApiError> {
        let page = MarkerPage::parse(query, List::PolicyTargets, false, limits)?;
        Ok(Self { policy_name: parse_policy_name(policy_name)?, page })
    }
}

/// A policy's name in a path.
///
/// # Errors
/// `InvalidRequestException`.
pub fn parse_policy_name(text: &str) -> Result<PolicyName, ApiError> {
    PolicyName::new(text).map_err(|error| ApiError::invalid_request(error.to_string()))
}

/// A version's number in a path.
///
/// # Errors
/// `InvalidRequestException`.
pub fn parse_version(text: &str) -> Result<u64, ApiError> {
    let is_number = !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| ApiError::invalid_request("policyVersionId must match [0-9]+"))
}

/// The document of `{"policyDocument": …}` in a request body.
///
/// # Errors
/// `InvalidRequestException`, `SerializationException`.
pub fn document_of(body: &[u8]) -> Result<String, ApiError> {
    Ok(required(&Body::parse(body)?, "policyDocument")?.to_owned())
}

/// Whether CreatePolicyVersion is to put the version into force (`setAsDefault` in the query).
///
/// # Errors
/// `SerializationException`.
pub fn sets_as_default(query: &str) -> Result<bool, ApiError> {
    Ok(Query::parse(query).boolean("setAsDefault")?.unwrap_or(false))
}

pub(crate) fn required<'a>(body: &'a Body, name: &str) -> Result<&'a str, ApiError> {
    body.string(name)?.ok_or_else(|| {
        ApiError::invalid_request(format!(
            "1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"
        ))
    })
}

/// Whether CreatePolicy stored the policy, from the rows that
/// [`insert_policy`](crate::statements::insert_policy) changed.
///
/// # Errors
/// `ResourceAlreadyExistsException`, for the same document, too.
pub fn settle_create(scope: &Scope, name: &PolicyName, rows_changed: u64) -> Result<(), ApiError> {
    if rows_changed > 0 {
        return Ok(());
    }
    let message = format!("Policy cannot be created - name already exists (name={name})");
    Err(ApiError::resource_already_exists(message, name.as_str(), scope.policy_arn(name).as_str()))
}

/// The policy that must exist.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn found(name: &PolicyName, row: Option<PolicyRow>) -> Result<PolicyRow, ApiError> {
    row.ok_or_else(|| not_found(name))
}

fn not_found(name: &PolicyName) -> ApiError {
    ApiError::resource_not_found(format!("Policy not found (name={name})"))
}

/// The number of the version that CreatePolicyVersion stored, from the rows that
/// [`insert_policy_version`](crate::statements::insert_policy_version) changed and the policy as it is then.
///
/// # Errors
/// `ResourceNotFoundException`, `VersionsLimitExceededException`.
pub fn settle_create_version(
    name: &PolicyName,
    rows_changed: u64,
    stored: Option<PolicyRow>,
) -> Result<PolicyRow, ApiError> {
    let stored = found(name, stored)?;
    if rows_changed > 0 {
        return Ok(stored);
    }
    let message = format!("The policy {name} already has the maximum number of versions ({MAXIMUM_VERSIONS})");
    Err(ApiError::new("VersionsLimitExceededException", 409, message))
}

/// The version that must exist.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn found_version(
    name: &PolicyName,
    version: u64,
    row: Option<PolicyVersionRow>,
) -> Result<PolicyVersionRow, ApiError> {
    row.ok_or_else(|| version_not_found(name, version))
}

fn version_not_found(name: &PolicyName, version: u64) -> ApiError {
    ApiError::resource_not_found(format!("Policy version not found (name={name}, version={version})"))
}

/// Whether DeletePolicyVersion deleted the version, from the rows that it changed and what is left of it.
///
/// # Errors
/// `DeleteConflictException` for the default version, `ResourceNotFoundException`.
pub fn settle_delete_version(
    name: &PolicyName,
    version: u64,
    rows_changed: u64,
    left: Option<&PolicyVersionRow>,
) -> Result<(), ApiError> {
    match (rows_changed, left) {
        (1.., _) => Ok(()),
        (0, Some(_)) => {
            Err(ApiError::delete_conflict(format!("Cannot delete the default version of a policy (name={name})")))
        }
        (0, None) => Err(version_not_found(name, version)),
    }
}

/// Whether SetDefaultPolicyVersion did, from the rows that it changed.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn settle_set_default(name: &PolicyName, version: u64, rows_changed: u64) -> Result<(), ApiError> {
    if rows_changed > 0 { Ok(()) } else { Err(version_not_found(name, version)) }
}

/// Whether DeletePolicy deleted the policy, from the rows that it changed and what is left of it.
///
/// # Errors
/// `DeleteConflictException`, `ResourceNotFoundException`.
pub fn settle_delete(name: &PolicyName, rows_changed: u64, left: Option<&PolicyRow>) -> Result<(), ApiError> {
    match (rows_changed, left) {
        (1.., _) => Ok(()),
        (0, None) => Err(not_found(name)),
        (0, Some(PolicyRow { is_attached: 1.., .. })) => Err(ApiError::delete_conflict(format!(
            "The policy cannot be deleted as the policy is attached to one or more principals (name={name})"
        ))),
        (0, Some(_)) => Err(ApiError::delete_conflict(format!(
            "Cannot delete the policy because it has one or more policy versions attached to it (name={name})"
        ))),
    }
}

/// Whether AttachPolicy attached the policy, from what there is then.
///
/// # Errors
/// `ResourceNotFoundException`, `LimitExceededException`.
pub fn settle_attach(name: &PolicyName, target: &PolicyTarget, stored: Option<AttachmentRow>) -> Result<(), ApiError> {
    match stored {
        Some(AttachmentRow { is_attached: 1.., .. }) => Ok(()),
        None | Some(AttachmentRow { has_policy: 0, .. }) => Err(not_found(name)),
        Some(AttachmentRow { has_target: 0, .. }) => {
            let message = format!("The target does not exist (target={})", target.as_str());
            Err(ApiError::resource_not_found(message))
        }
        Some(_) => Err(ApiError::limit_exceeded("The target has as many policies as may be attached to one")),
    }
}

/// CreatePolicyResponse.
#[must_use]
pub fn create_policy_response(scope: &Scope, name: &PolicyName, document: &str) -> Vec<u8> {
    bytes(&json!({
        "policyName": name.as_str(),
        "policyArn": scope.policy_arn(name).as_str(),
        "policyDocument": document,
        "policyVersionId": "1",
    }))
}

/// GetPolicyResponse.
#[must_use]
pub fn get_policy_response(scope: &Scope, name: &PolicyName, row: &PolicyRow) -> Vec<u8> {
    bytes(&json!({
        "policyName": name.as_str(),
        "policyArn": scope.policy_arn(name).as_str(),
        "policyDocument": row.document,
        "defaultVersionId": row.default_version.to_string(),
        "creationDate": UnixMillis(row.created_at).as_secs(),
        "lastModifiedDate": UnixMillis(row.last_modified_at).as_secs(),
        "generationId": generation(row.default_version, row.last_modified_at),
    }))
}

/// ListPoliciesResponse, ListAttachedPoliciesResponse.
///
/// # Errors
/// [`CorruptRow`].
pub fn list_policies_response(
    scope: &Scope,
    page: &MarkerPage,
    mut rows: Vec<PolicyNameRow>,
) -> Result<Vec<u8>, CorruptRow> {
    let next = page::cut(&mut rows, page.size, List::Policies, |row| row.policy_name.clone());
    let policies = rows.into_iter().map(|row| {
        let name =
            PolicyName::new(row.policy_name).map_err(|_| CorruptRow { table: "policies", column: "policy_name" })?;
        Ok(json!({"policyName": name.as_str(), "policyArn": scope.policy_arn(&name).as_str()}))
    });
    Ok(with_marker("policies", policies.collect::<Result<_, _>>()?, next))
}

/// ListTargetsForPolicyResponse.
#[must_use]
pub fn list_targets_response(request: &ListTargetsRequest, mut rows: Vec<PolicyTargetRow>) -> Vec<u8> {
    let next = page::cut(&mut rows, request.page.size, List::PolicyTargets, |row| row.target.clone());
    with_marker("targets", rows.into_iter().map(|row| row.target.into()).collect(), next)
}

/// ListPolicyPrincipalsResponse, which is the same under an older name.
#[must_use]
pub fn list_policy_principals_response(request: &ListTargetsRequest, mut rows: Vec<PolicyTargetRow>) -> Vec<u8> {
    let next = page::cut(&mut rows, request.page.size, List::PolicyTargets, |row| row.target.clone());
    with_marker("principals", rows.into_iter().map(|row| row.target.into()).collect(), next)
}

/// CreatePolicyVersionResponse, of a policy as it is stored then.
#[must_use]
pub fn create_policy_version_response(scope: &Scope, name: &PolicyName, document: &str, stored: &PolicyRow) -> Vec<u8> {
    bytes(&json!({
        "policyArn": scope.policy_arn(name).as_str(),
        "policyDocument": document,
        "policyVersionId": stored.newest_version.to_string(),
        "isDefaultVersion": stored.newest_version == stored.default_version,
    }))
}

/// GetPolicyVersionResponse.
#[must_use]
pub fn get_policy_version_response(scope: &Scope, name: &PolicyName, row: &PolicyVersionRow) -> Vec<u8> {
    bytes(&json!({
        "policyArn": scope.policy_arn(name).as_str(),
        "policyName": name.as_str(),
        "policyDocument": row.document,
        "policyVersionId": row.version.to_string(),
        "isDefaultVersion": row.version == row.default_version,
        "creationDate": UnixMillis(row.created_at).as_secs(),
        "lastModifiedDate": UnixMillis(row.last_modified_at).as_secs(),
        "generationId": generation(row.version, row.created_at),
    }))
}

/// ListPolicyVersionsResponse.
#[must_use]
pub fn list_policy_versions_response(rows: &[PolicyVersionRow]) -> Vec<u8> {
    let versions: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({
                "versionId": row.version.to_string(),
                "isDefaultVersion": row.version == row.default_version,
                "createDate": UnixMillis(row.created_at).as_secs(),
            })
        })
        .collect();
    bytes(&json!({ "policyVersions": versions }))
}

/// Opaque: another one for everything that was in force at another time.
fn generation(version: u64, at: u64) -> String {
    format!("{version}-{at}")
}

pub(crate) fn with_marker(name: &str, values: Vec<Value>, next: Option<String>) -> Vec<u8> {
    let mut body = serde_json::Map::new();
    body.insert(name.to_owned(), Value::Array(values));
    if let Some(next) = next {
        body.insert("nextMarker".to_owned(), next.into());
    }
    bytes(&Value::Object(body))
}

fn bytes(body: &Value) -> Vec<u8> {
    body.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_types::{AccountId, Region};

    fn scope() -> Scope {
        Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() }
    }

    #[test]
    fn a_certificates_arn_is_this_deployments_whatever_it_was_before() {
        let id = "AB".repeat(32);
        let target = PolicyTarget::parse(&format!("arn:aws:iot:eu-west-1:000000000000:cert/{id}"), &scope()).unwrap();
        assert_eq!(target.as_str(), format!("arn:aws:iot:us-east-1:123456789012:cert/{}", "ab".repeat(32)));
        assert_eq!(target.principal_identifier(), "ab".repeat(32));
        let other = PolicyTarget::parse("us-east-1:cognito-id", &scope()).unwrap();
        assert_eq!((other.principal_identifier(), other.certificate_id()), ("us-east-1:cognito-id", None));
        for text in ["", "a\nb", "arn:aws:iot:us-east-1:123456789012:cert/abc", &"x".repeat(2_049)] {
            assert_eq!(PolicyTarget::parse(text, &scope()).unwrap_err().name(), "InvalidRequestException", "{text}");
        }
        let body = |text: &str| PolicyTarget::from_body(text.as_bytes(), &scope());
        assert!(body(r#"{"target":"x"}"#).is_ok());
        assert_eq!(body("{}").unwrap_err().name(), "InvalidRequestException");
        assert_eq!(body(r#"{"target":1}"#).unwrap_err().name(), "SerializationException");
    }

    #[test]
    fn versions_are_numbers() {
        assert_eq!(parse_version("12"), Ok(12));
        for text in ["", "v1", "-1", "1.0", "1234567890"] {
            assert_eq!(parse_version(text).unwrap_err().name(), "InvalidRequestException", "{text}");
        }
    }

    #[test]
    fn pages_go_both_ways() {
        let page = |query| MarkerPage::of_policies(query, &Limits::STANDARD);
        let first = page("").unwrap();
        assert_eq!((first.after.as_str(), first.size, first.is_ascending), ("", 25, true));
        assert_eq!(page("isAscendingOrder=false&pageSize=3").unwrap().after, char::MAX.to_string());
        let attached = MarkerPage::of_attached_policies("isAscendingOrder=false", &Limits::STANDARD).unwrap();
        assert!(attached.is_ascending && attached.after.is_empty(), "that list has one order");
        assert_eq!(page("pageSize=251").unwrap_err().name(), "InvalidRequestException");
        assert!(page("marker=AXRsYW1w").unwrap_err().message().contains("marker"));
        let token = page::encode_token(List::Policies, "p");
        assert_eq!(page(&format!("marker={token}&isAscendingOrder=false")).unwrap().after, "p");
    }
}
