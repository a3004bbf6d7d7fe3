//! What a rule does with its output, as data.

use crate::error::RuleError;
use crate::limits::{MAX_HEADER_KEY_BYTES, MAX_HEADER_VALUE_BYTES, MAX_HTTP_HEADERS, MAX_URL_BYTES};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Every action that AWS's service model has, so that an error can tell a missing action from a misspelt one.
const AWS_ACTIONS: &[&str] = &[
    "cloudwatchAlarm",
    "cloudwatchLogs",
    "cloudwatchMetric",
    "dynamoDB",
    "dynamoDBv2",
    "elasticsearch",
    "firehose",
    "http",
    "influxDB",
    "iotAnalytics",
    "iotEvents",
    "iotSiteWise",
    "kafka",
    "kinesis",
    "lambda",
    "location",
    "openSearch",
    "republish",
    "s3",
    "salesforce",
    "sns",
    "sqs",
    "stepFunctions",
    "timestream",
];

/// One action. Serializes to what `CreateTopicRule` takes: an object with the action's name as its only member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// POSTs the output to a web server.
    Http(HttpAction),
}

/// The `http` action (AWS service model, `HttpAction`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpAction {
    /// Where the output goes.
    pub url: String,
    /// Where the request for confirmation goes; `url` begins with it. Without one, `url` is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmation_url: Option<String>,
    /// Headers of every request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Vec<HttpHeader>>,
}

/// A header of an `http` action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpHeader {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

impl Action {
    /// Reads one element of `actions`, or `errorAction`.
    ///
    /// # Errors
    /// [`RuleError::InvalidRequest`] names what is wrong, and the action when this server does not have it.
    pub fn parse(action: &Map<String, Value>) -> Result<Self, RuleError> {
        let mut members = action.iter();
        let (Some((name, body)), None) = (members.next(), members.next()) else {
            return Err(RuleError::invalid("an action must have exactly one member, the name of its kind"));
        };
        match name.as_str() {
            "http" => HttpAction::parse(body).map(Self::Http),
            known if AWS_ACTIONS.contains(&known) => Err(RuleError::invalid(format!(
                "this server does not support the action '{known}' yet; it supports 'http'"
            ))),
            unknown => {
                let shown: String = unknown.chars().take(64).collect();
                Err(RuleError::invalid(format!("unknown action '{shown}'")))
            }
        }
    }
}

impl HttpAction {
    fn parse(body: &Value) -> Result<Self, RuleError> {
        let action = Self::deserialize(body).map_err(|error| RuleError::invalid(format!("http action: {error}")))?;
        check_url("url", &action.url)?;
        if let Some(confirmation_url) = &action.confirmation_url {
            check_url("confirmationUrl", confirmation_url)?;
            if !action.url.starts_with(confirmation_url.as_str()) {
                return Err(RuleError::invalid("http action: url must begin with confirmationUrl"));
            }
        }
        let headers = action.headers.as_deref().unwrap_or_default();
        if headers.len() > MAX_HTTP_HEADERS {
            return Err(RuleError::invalid(format!("http action: at most {MAX_HTTP_HEADERS} headers")));
        }
        headers.iter().try_for_each(HttpHeader::check)?;
        Ok(action)
    }
}

impl HttpHeader {
    fn check(&self) -> Result<(), RuleError> {
        // RFC 9110 section 5.1 and 5.5: a token, and a value that cannot end the line.
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let key_ok = (1..=MAX_HEADER_KEY_BYTES).contains(&self.key.len()) && self.key.bytes().all(is_token);
        let value_ok = self.value.len() <= MAX_HEADER_VALUE_BYTES && !self.value.chars().any(char::is_control);
        if !key_ok {
            return Err(RuleError::invalid("http action: a header's key must be a header name of 1 to 256 characters"));
        }
        if !value_ok {
            return Err(RuleError::invalid(
                "http action: a header's value must have at most 2048 bytes and no control characters",
            ));
        }
        reject_template("a header's value", &self.value)
    }
}

fn check_url(member: &str, url: &str) -> Result<(), RuleError> {
    reject_template(member, url)?;
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host_begins = host.and_then(|host| host.chars().next());
    let well_formed = url.len() <= MAX_URL_BYTES
        && host_begins.is_some_and(|first| first.is_ascii_alphanumeric() || first == '[')
        && url.bytes().all(|byte| byte.is_ascii_graphic());
    if well_formed {
        return Ok(());
    }
    Err(RuleError::invalid(format!(
        "http action: {member} must be an http or https URL of at most {MAX_URL_BYTES} bytes"
    )))
}

/// A template sent as it is would be a wrong address that looks right.
fn reject_template(member: &str, text: &str) -> Result<(), RuleError> {
    if text.contains("${") {
        return Err(RuleError::invalid(format!(
            "http action: {member} holds a substitution template, which this server does not support yet"
        )));
    }
    Ok(())
}
