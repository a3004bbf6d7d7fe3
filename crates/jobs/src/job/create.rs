//! CreateJob's request (<https://docs.aws.amazon.com/iot/latest/apireference/API_CreateJob.html>).

use crate::JobError;
use iot_types::{Arn, JobId, ThingName};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Most bytes of a job document (JobDocument; the quota "job document length" of AWS IoT Device Management).
const DOCUMENT_BYTES: usize = 32_768;
/// Most targets of a request (the quota "targets per job").
const TARGETS: usize = 100;
/// Most characters of a target's ARN (TargetArn).
const TARGET_ARN: usize = 2_048;
/// Most characters of a description (JobDescription).
const DESCRIPTION: usize = 2_028;
/// What AWS replaces in a document when it is delivered.
const PLACEHOLDER: &str = "${aws:iot:";

/// Parameters that AWS has and this does not: a job that ignored them would do something else than was asked.
const UNSUPPORTED: [&str; 12] = [
    "abortConfig",
    "destinationPackageVersions",
    "documentParameters",
    "documentSource",
    "jobExecutionsRetryConfig",
    "jobExecutionsRolloutConfig",
    "jobTemplateArn",
    "namespaceId",
    "presignedUrlConfig",
    "schedulingConfig",
    "tags",
    "timeoutConfig",
];

/// A request that has passed every check that needs no registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateJobRequest {
    /// The job's id.
    pub job_id: JobId,
    /// Target ARNs as given.
    pub targets: Vec<String>,
    /// The things they name, each once, in order.
    pub things: Vec<ThingName>,
    /// JSON text.
    pub document: String,
    /// The client's words about the job.
    pub description: Option<String>,
}

impl CreateJobRequest {
    /// Reads the path's job id and the body.
    ///
    /// # Errors
    /// [`JobError::InvalidRequest`] names the parameter that is missing, malformed or not supported.
    pub fn parse(job_id: &str, body: &[u8]) -> Result<Self, JobError> {
        let job_id = JobId::new(job_id).map_err(|error| invalid(error.to_string()))?;
        let body = match serde_json::from_slice(body) {
            Ok(Value::Object(body)) => body,
            Ok(_) => return Err(invalid("The request's body is not a JSON object")),
            Err(error) => return Err(invalid(format!("The request's body is not JSON: {error}"))),
        };
        if let Some(name) = UNSUPPORTED.into_iter().find(|name| body.get(*name).is_some_and(says_something)) {
            return Err(invalid(format!("{name} is not supported")));
        }
        match text(&body, "targetSelection")? {
            None | Some("SNAPSHOT") => {}
            Some("CONTINUOUS") => return Err(invalid("targetSelection CONTINUOUS is not supported")),
            Some(_) => return Err(invalid("targetSelection must be SNAPSHOT or CONTINUOUS")),
        }
        let (targets, things) = targets(&body)?;
        Ok(Self { job_id, targets, things, document: document(&body)?, description: description(&body)? })
    }
}

/// The name behind the ARN of a thing.
pub(super) fn thing_of(arn: &str) -> Option<&str> {
    Arn::resource_name(arn, "thing")
}

fn invalid(message: impl Into<String>) -> JobError {
    JobError::InvalidRequest(message.into())
}

/// SDKs send empty structures for what the caller left out; these ask for nothing.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, JobError> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid(format!("{name} must be a string"))),
    }
}

fn targets(body: &Map<String, Value>) -> Result<(Vec<String>, Vec<ThingName>), JobError> {
    let given = match body.get("targets") {
        Some(Value::Array(given)) => given,
        None | Some(Value::Null) => return Err(invalid("targets is required")),
        Some(_) => return Err(invalid("targets must be a list")),
    };
    if !(1..=TARGETS).contains(&given.len()) {
        return Err(invalid(format!("targets must have 1 to {TARGETS} elements")));
    }
    let (mut arns, mut things, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
    for target in given {
        let Some(arn) = target.as_str().filter(|arn| arn.chars().count() <= TARGET_ARN) else {
            return Err(invalid(format!("targets must be ARNs of at most {TARGET_ARN} characters")));
        };
        if Arn::resource_name(arn, "thinggroup").is_some() {
            return Err(invalid(format!("targets: thing groups are not supported: {arn}")));
        }
        let Some(name) = thing_of(arn) else {
            return Err(invalid(format!("targets: not the ARN of a thing: {arn}")));
        };
        let thing = ThingName::new(name).map_err(|error| invalid(format!("targets: {error}")))?;
        if seen.insert(thing.clone()) {
            arns.push(arn.to_owned());
            things.push(thing);
        }
    }
    Ok((arns, things))
}

fn document(body: &Map<String, Value>) -> Result<String, JobError> {
    let Some(document) = text(body, "document")? else { return Err(invalid("document is required")) };
    if document.len() > DOCUMENT_BYTES {
        return Err(invalid(format!("document must have at most {DOCUMENT_BYTES} bytes")));
    }
    // The parser's own limit on depth protects the devices that have to read it, too.
    if let Err(error) = serde_json::from_str::<Value>(document) {
        return Err(invalid(format!("document is not valid JSON: {error}")));
    }
    if document.contains(PLACEHOLDER) {
        return Err(invalid(format!("document: placeholders {PLACEHOLDER}…}} are not supported")));
    }
    Ok(document.to_owned())
}

fn description(body: &Map<String, Value>) -> Result<Option<String>, JobError> {
    let Some(description) = text(body, "description")? else { return Ok(None) };
    if description.is_empty() || description.chars().count() > DESCRIPTION || description.chars().any(char::is_control)
    {
        return Err(invalid(format!("description must have 1 to {DESCRIPTION} characters and no control characters")));
    }
    Ok(Some(description.to_owned()))
}
