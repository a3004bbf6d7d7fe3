//! Asking what a principal may do: GetEffectivePolicies, TestAuthorization (AWS IoT API reference). The decisions
//! themselves are the `policy` crate's.

use crate::error::ApiError;
use crate::input::{Body, Query};
use crate::policy::{PolicyOfTargetRow, PolicyTarget, parse_policy_name};
use iot_types::{PolicyName, Scope, ThingName};
use serde_json::{Map, Value, json};

/// The most questions of one request; AWS has 10.
const MAXIMUM_AUTH_INFOS: usize = 10;
/// The most resources of one question.
const MAXIMUM_RESOURCES: usize = 100;

/// A valid GetEffectivePolicies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectivePoliciesRequest {
    /// Whose policies; `None` for those of a thing's groups only.
    pub principal: Option<PolicyTarget>,
    /// The thing that the principal is.
    pub thing_name: Option<ThingName>,
}

impl EffectivePoliciesRequest {
    /// Parses query and body.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(query: &str, body: &[u8], scope: &Scope) -> Result<Self, ApiError> {
        let body = Body::parse(body)?;
        let thing_name = match Query::parse(query).string("thingName") {
            None => None,
            Some(text) => Some(ThingName::new(text).map_err(|error| ApiError::invalid_request(error.to_string()))?),
        };
        let principal = principal(&body, scope)?;
        if principal.is_none() && thing_name.is_none() {
            return Err(ApiError::invalid_request("A principal or a thingName must be given"));
        }
        Ok(Self { principal, thing_name })
    }
}

fn principal(body: &Body, scope: &Scope) -> Result<Option<PolicyTarget>, ApiError> {
    if body.string("cognitoIdentityPoolId")?.is_some() {
        return Err(ApiError::invalid_request("There are no Cognito identities here: give a principal"));
    }
    body.string("principal")?.map(|text| PolicyTarget::parse(text, scope)).transpose()
}

/// GetEffectivePoliciesResponse.
#[must_use]
pub fn effective_policies_response(scope: &Scope, rows: &[PolicyOfTargetRow]) -> Vec<u8> {
    let policies: Vec<Value> = rows
        .iter()
        .map(|row| {
            let mut policy = named(scope, &row.policy_name);
            policy.insert("policyDocument".to_owned(), row.document.as_str().into());
            Value::Object(policy)
        })
        .collect();
    json!({ "effectivePolicies": policies }).to_string().into_bytes()
}

fn named(scope: &Scope, name: &str) -> Map<String, Value> {
    let mut policy = Map::new();
    policy.insert("policyName".to_owned(), name.into());
    if let Ok(name) = PolicyName::new(name) {
        policy.insert("policyArn".to_owned(), scope.policy_arn(&name).as_str().into());
    }
    policy
}

/// AWS's `ActionType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ActionType {
    Publish,
    Subscribe,
    Receive,
    Connect,
}

impl ActionType {
    /// AWS's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "PUBLISH",
            Self::Subscribe => "SUBSCRIBE",
            Self::Receive => "RECEIVE",
            Self::Connect => "CONNECT",
        }
    }

    /// The action of policies.
    #[must_use]
    pub const fn policy_action(self) -> &'static str {
        match self {
            Self::Publish => "iot:Publish",
            Self::Subscribe => "iot:Subscribe",
            Self::Receive => "iot:Receive",
            Self::Connect => "iot:Connect",
        }
    }
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthInfo {
    /// What is to be done.
    pub action: ActionType,
    /// With what: ARNs.
    pub resources: Vec<String>,
}

/// A valid TestAuthorization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestAuthorizationRequest {
    /// Who asks; `None`: only the policies to add count.
    pub principal: Option<PolicyTarget>,
    /// The MQTT client identifier.
    pub client_id: Option<String>,
    /// What is asked.
    pub auth_infos: Vec<AuthInfo>,
    /// Policies that count, too.
    pub policies_to_add: Vec<PolicyName>,
    /// Policies that do not count.
    pub policies_to_skip: Vec<PolicyName>,
}

impl TestAuthorizationRequest {
    /// Parses query and body.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`, `LimitExceededException`.
    pub fn parse(query: &str, body: &[u8], scope: &Scope) -> Result<Self, ApiError> {
        let client_id = Query::parse(query).string("clientId").map(str::to_owned);
        let body = Body::parse(body)?;
        let names = |member: &str| -> Result<Vec<PolicyName>, ApiError> {
            body.list(member)?.iter().map(|name| parse_policy_name(name.as_str().unwrap_or_default())).collect()
        };
        let auth_infos: Vec<AuthInfo> =
            body.list("authInfos")?.iter().map(AuthInfo::parse).collect::<Result<_, ApiError>>()?;
        if auth_infos.is_empty() {
            return Err(ApiError::invalid_request("authInfos must not be empty"));
        }
        if auth_infos.len() > MAXIMUM_AUTH_INFOS {
            return Err(ApiError::limit_exceeded(format!("authInfos may have {MAXIMUM_AUTH_INFOS} members at most")));
        }
        let (policies_to_add, policies_to_skip) = (names("policyNamesToAdd")?, names("policyNamesToSkip")?);
        Ok(Self { principal: principal(&body, scope)?, client_id, auth_infos, policies_to_add, policies_to_skip })
    }
}

impl AuthInfo {
    fn parse(value: &Value) -> Result<Self, ApiError> {
        let action = match value.get("actionType").and_then(Value::as_str) {
            Some("PUBLISH") => ActionType::Publish,
            Some("SUBSCRIBE") => ActionType::Subscribe,
            Some("RECEIVE") => ActionType::Receive,
            Some("CONNECT") => ActionType::Connect,
            _ => {
                let message = "actionType must be PUBLISH, SUBSCRIBE, RECEIVE or CONNECT";
                return Err(ApiError::invalid_request(message));
            }
        };
        let resources = value.get("resources").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if resources.is_empty() || resources.len() > MAXIMUM_RESOURCES {
            let message = format!("resources must have from 1 to {MAXIMUM_RESOURCES} members");
            return Err(ApiError::invalid_request(message));
        }
        let text = |value: &Value| {
            value.as_str().map(str::to_owned).ok_or_else(|| ApiError::serialization("A resource is not a String"))
        };
        Ok(Self { action, resources: resources.iter().map(text).collect::<Result<_, _>>()? })
    }
}

/// How a question was decided (AWS's `AuthDecision`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum AuthDecision {
    Allowed,
    ImplicitDeny,
    ExplicitDeny,
}

impl AuthDecision {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "ALLOWED",
            Self::ImplicitDeny => "IMPLICIT_DENY",
            Self::ExplicitDeny => "EXPLICIT_DENY",
        }
    }
}

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthResult {
    /// The question.
    pub info: AuthInfo,
    /// The least favourable decision for any of its resources.
    pub decision: AuthDecision,
    /// The names of the policies that decided.
    pub policies: Vec<String>,
    /// Variables and keys of policies that nothing is known of.
    pub missing: Vec<String>,
}

/// TestAuthorizationResponse.
#[must_use]
pub fn test_authorization_response(scope: &Scope, results: &[AuthResult]) -> Vec<u8> {
    let results: Vec<Value> = results
        .iter()
        .map(|result| {
            let policies: Vec<Value> = result.policies.iter().map(|name| Value::Object(named(scope, name))).collect();
            let of = |decision| if result.decision == decision { policies.clone() } else { Vec::new() };
            json!({
                "authInfo": {"actionType": result.info.action.as_str(), "resources": result.info.resources},
                "allowed": {"policies": of(AuthDecision::Allowed)},
                "denied": {
                    "implicitDeny": {"policies": of(AuthDecision::ImplicitDeny)},
                    "explicitDeny": {"policies": of(AuthDecision::ExplicitDeny)},
                },
                "authDecision": result.decision.as_str(),
                "missingContextValues": result.missing,
            })
        })
        .collect();
    json!({ "authResults": results }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_types::{AccountId, Region};

    fn scope() -> Scope {
        Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("eu-west-1").unwrap() }
    }

    #[test]
    fn a_question_names_an_action_and_resources() {
        let parse = |body: &str| TestAuthorizationRequest::parse("clientId=c", body.as_bytes(), &scope());
        let good = parse(
            r#"{"principal":"p","authInfos":[{"actionType":"PUBLISH","resources":["a"]}],"policyNamesToAdd":["x"]}"#,
        );
        let good = good.unwrap();
        assert_eq!(good.auth_infos, [AuthInfo { action: ActionType::Publish, resources: vec!["a".into()] }]);
        assert_eq!((good.client_id.as_deref(), good.policies_to_add.len()), (Some("c"), 1));
        let many = format!(r#"{{"authInfos":[{}]}}"#, [r#"{"actionType":"PUBLISH","resources":["a"]}"#; 11].join(","));
        for (body, name) in [
            ("{}", "InvalidRequestException"),
            (r#"{"authInfos":[{"actionType":"X","resources":["a"]}]}"#, "InvalidRequestException"),
            (r#"{"authInfos":[{"actionType":"CONNECT","resources":[]}]}"#, "InvalidRequestException"),
            (r#"{"authInfos":[{"actionType":"CONNECT","resources":[1]}]}"#, "SerializationException"),
            (r#"{"authInfos":1}"#, "SerializationException"),
            (
                r#"{"authInfos":[{"actionType":"CONNECT","resources":["a"]}],"policyNamesToSkip":["a b"]}"#,
                "InvalidRequestException",
            ),
            (many.as_str(), "LimitExceededException"),
        ] {
            assert_eq!(parse(body).unwrap_err().name(), name, "{body}");
        }
    }

    #[test]
    fn an_answer_names_the_policies_that_decided_under_what_they_decided() {
        let info = AuthInfo { action: ActionType::Connect, resources: vec!["arn:x".into()] };
        let result =
            AuthResult { info, decision: AuthDecision::ExplicitDeny, policies: vec!["p".into()], missing: vec![] };
        let body: Value = serde_json::from_slice(&test_authorization_response(&scope(), &[result])).unwrap();
        let policy = json!({"policyName": "p", "policyArn": "arn:aws:iot:eu-west-1:123456789012:policy/p"});
        assert_eq!(body.pointer("/authResults/0/denied/explicitDeny/policies/0"), Some(&policy));
        assert_eq!(body.pointer("/authResults/0/allowed/policies"), Some(&json!([])));
        assert_eq!(body.pointer("/authResults/0/authDecision"), Some(&json!("EXPLICIT_DENY")));
    }

    #[test]
    fn effective_policies_are_of_somebody() {
        let parse = |query: &str, body: &str| EffectivePoliciesRequest::parse(query, body.as_bytes(), &scope());
        assert!(parse("thingName=lamp", "").unwrap().principal.is_none());
        assert!(parse("", r#"{"principal":"p"}"#).unwrap().thing_name.is_none());
        for (query, body) in [("", ""), ("thingName=a%20b", ""), ("", r#"{"cognitoIdentityPoolId":"x"}"#)] {
            assert_eq!(parse(query, body).unwrap_err().name(), "InvalidRequestException", "{query} {body}");
        }
    }
}
