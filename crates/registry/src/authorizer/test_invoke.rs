//! TestInvokeAuthorizer: the function is called as it would be for a client.

use super::{AuthorizerRow, parse_authorizer_name};
use crate::error::ApiError;
use crate::input::{Body, Violations};
use authorizer::{Answer, CheckedToken, Event, Http, Invocation, Mqtt, check_token};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use iot_types::AuthorizerName;
use serde_json::json;
use std::collections::BTreeMap;

/// Longest strings, in characters, and passwords, in bytes (AWS API, `TestInvokeAuthorizer`).
const LONGEST_TOKEN: usize = 6_144;
const LONGEST_SIGNATURE: usize = 2_560;
const LONGEST_QUERY_STRING: usize = 4_096;
const LONGEST_SERVER_NAME: usize = 253;
const LONGEST_OF_MQTT: usize = 65_535;

/// A valid TestInvokeAuthorizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestInvokeAuthorizerRequest {
    /// From the path.
    pub authorizer_name: AuthorizerName,
    token: Option<String>,
    signature: Option<String>,
    /// What headers, query and user name hold. A token and a signature there count if there are no others.
    invocation: Invocation,
    http: Option<HttpContext>,
    mqtt: Option<MqttContext>,
    server_name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct HttpContext {
    has_headers: bool,
    query_string: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct MqttContext {
    username: Option<String>,
    password: Option<Vec<u8>>,
    client_id: Option<String>,
}

impl TestInvokeAuthorizerRequest {
    /// Parses the path parameter and the body.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(authorizer_name: &str, body: &[u8]) -> Result<Self, ApiError> {
        let authorizer_name = parse_authorizer_name(authorizer_name)?;
        let body = Body::parse(body)?;
        let mut violations = Violations::default();
        let token = text(&body, "token", "token", LONGEST_TOKEN, &mut violations)?;
        let signature = text(&body, "tokenSignature", "tokenSignature", LONGEST_SIGNATURE, &mut violations)?;
        if let Some(signature) = signature.as_deref().filter(|signature| !is_base64(signature)) {
            const PATTERN: &str = "Member must satisfy regular expression pattern: [A-Za-z0-9+/]+={0,2}";
            violations.add(signature, "tokenSignature", PATTERN);
        }
        let mut headers = BTreeMap::new();
        let mut http = None;
        if let Some(context) = body.structure("httpContext")? {
            let given = context.structure("headers")?;
            let has_headers = given.is_some();
            headers = given.map(|given| given.strings()).transpose()?.unwrap_or_default();
            let path = "httpContext.queryString";
            let query_string = text(&context, "queryString", path, LONGEST_QUERY_STRING, &mut violations)?;
            http = Some(HttpContext { has_headers, query_string });
        }
        let mqtt = body.structure("mqttContext")?.map(|context| MqttContext::parse(&context, &mut violations));
        let mqtt = mqtt.transpose()?;
        let server_name = match body.structure("tlsContext")? {
            Some(context) => {
                text(&context, "serverName", "tlsContext.serverName", LONGEST_SERVER_NAME, &mut violations)?
            }
            None => None,
        };
        violations.finish()?;
        let query = http.as_ref().and_then(|http| http.query_string.as_deref()).unwrap_or_default();
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let user_name = mqtt.as_ref().and_then(|mqtt| mqtt.username.as_deref()).unwrap_or_default();
        let invocation = Invocation::from_http(headers, query.strip_prefix('?').unwrap_or(query))
            .and_then(|invocation| invocation.with_user_name(user_name))
            .map_err(|error| ApiError::invalid_request(error.to_string()))?;
        Ok(Self { authorizer_name, token, signature, invocation, http, mqtt, server_name })
    }

    /// Decides whether the function is called.
    ///
    /// # Errors
    /// `InvalidRequestException` when a client that sent this would be refused without a call;
    /// `InternalFailureException`.
    pub fn check(&self, row: &AuthorizerRow) -> Result<CheckedToken, ApiError> {
        let from_context = || row.token_key_name.as_deref().and_then(|name| self.invocation.token(name));
        let token = self.token.clone().or_else(from_context);
        let signature = self.signature.clone().or_else(|| self.invocation.signature());
        check_token(token, signature.as_deref(), &row.signing_policy()?)
            .map_err(|error| ApiError::invalid_request(format!("The authorizer was not invoked: {error}")))
    }

    /// What the function is told. `connection_id`: a random UUID, as a connection's would be.
    #[must_use]
    pub fn event(&self, checked: &CheckedToken, connection_id: &str) -> Vec<u8> {
        Event {
            token: checked.token.as_deref(),
            is_signature_verified: checked.is_signature_verified,
            server_name: self.server_name.as_deref(),
            http: self.http.as_ref().map(|http| Http {
                headers: http.has_headers.then(|| self.invocation.headers()),
                query_string: http.query_string.as_deref(),
            }),
            mqtt: self.mqtt.as_ref().map(|mqtt| Mqtt {
                username: mqtt.username.as_deref(),
                password: mqtt.password.as_deref(),
                client_id: mqtt.client_id.as_deref(),
            }),
            connection_id,
        }
        .to_json()
    }
}

impl MqttContext {
    fn parse(context: &Body, violations: &mut Violations) -> Result<Self, ApiError> {
        let username = text(context, "username", "mqttContext.username", LONGEST_OF_MQTT, violations)?;
        let client_id = text(context, "clientId", "mqttContext.clientId", LONGEST_OF_MQTT, violations)?;
        let decoded = context.string("password")?.map(|password| STANDARD.decode(password)).transpose();
        let password = decoded.map_err(|_| ApiError::serialization("mqttContext.password is not valid Base64"))?;
        if let Some(length) = password.as_ref().map(Vec::len).filter(|length| !(1..=LONGEST_OF_MQTT).contains(length)) {
            let constraint = format!("Member must have length between 1 and {LONGEST_OF_MQTT}");
            violations.add(&format!("{length} bytes"), "mqttContext.password", &constraint);
        }
        Ok(Self { username, password, client_id })
    }
}

/// A string of 1 to `longest` characters.
fn text(
    body: &Body,
    name: &str,
    path: &str,
    longest: usize,
    violations: &mut Violations,
) -> Result<Option<String>, ApiError> {
    let Some(text) = body.string(name)? else { return Ok(None) };
    if text.is_empty() {
        violations.add(text, path, "Member must have length greater than or equal to 1");
    }
    if text.chars().nth(longest).is_some() {
        violations.add(text, path, &format!("Member must have length less than or equal to {longest}"));
    }
    Ok(Some(text.to_owned()))
}

fn is_base64(text: &str) -> bool {
    let digits = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// The function could not be called, or answered what it may not.
#[must_use]
pub fn invalid_response(reason: &impl ToString) -> ApiError {
    ApiError::new("InvalidResponseException", 400, reason.to_string())
}

/// TestInvokeAuthorizerResponse.
#[must_use]
pub fn test_invoke_authorizer_response(answer: &Answer) -> Vec<u8> {
    let body = match answer {
        Answer::Denied => json!({ "isAuthenticated": false }),
        Answer::Authorized(authorized) => json!({
            "isAuthenticated": true,
            "principalId": authorized.principal_id,
            "policyDocuments": authorized.policy_documents,
            "refreshAfterInSeconds": authorized.refresh_after_secs,
            "disconnectAfterInSeconds": authorized.disconnect_after_secs,
        }),
    };
    body.to_string().into_bytes()
}
