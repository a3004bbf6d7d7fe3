//! What a device asks, read from its payload.

use super::reply::{Rejection, RejectionCode};
use crate::ExecutionStatus;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Most pairs in `statusDetails`.
const STATUS_DETAILS_PAIRS: usize = 10;
/// Most characters of a key of `statusDetails` (DetailsKey).
const STATUS_DETAILS_KEY: usize = 128;
/// Most characters of a value of `statusDetails` (DetailsValue).
const STATUS_DETAILS_VALUE: usize = 1_024;
/// The `stepTimeoutInMinutes` that clears a step timer.
const CLEAR_STEP_TIMER: i64 = -1;

/// An operation of the device plane. The job id is as it came, unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceRequest<'a> {
    /// GetPendingJobExecutions: `jobs/get`.
    GetPending,
    /// StartNextPendingJobExecution: `jobs/start-next`.
    StartNext,
    /// DescribeJobExecution: `jobs/{jobId}/get`.
    Describe {
        /// A job id, or `$next` for the first pending execution.
        job_id: &'a str,
    },
    /// UpdateJobExecution: `jobs/{jobId}/update`.
    Update {
        /// A job id.
        job_id: &'a str,
    },
}

/// The members of a request. Unknown ones are ignored, as AWS does; `null` is the same as absent.
#[derive(Default)]
pub(super) struct Members(Map<String, Value>);

impl Members {
    /// Reads a payload. None at all is an empty object: `jobs/get` has nothing to say.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, Rejection> {
        if payload.is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_slice(payload) {
            Ok(Value::Object(members)) => Ok(Self(members)),
            Ok(_) => Err(Rejection::new(RejectionCode::InvalidJson, "The payload is not a JSON object.")),
            Err(error) => Err(Rejection::new(RejectionCode::InvalidJson, format!("The payload is not JSON: {error}"))),
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn typed<'a, T>(
        &'a self,
        name: &str,
        kind: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Rejection> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(invalid(format!("'{name}' must be {kind}"))),
        }
    }

    /// The token to echo; one that is no text is left to [`Self::check_client_token`].
    pub(super) fn client_token(&self) -> Option<&str> {
        self.get("clientToken").and_then(Value::as_str)
    }

    pub(super) fn check_client_token(&self) -> Result<(), Rejection> {
        self.typed("clientToken", "a string", Value::as_str).map(drop)
    }

    /// AWS's own examples write the same number with and without quotes.
    fn long(&self, name: &str) -> Result<Option<i64>, Rejection> {
        self.typed(name, "an integer", |value| {
            value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
        })
    }

    fn boolean(&self, name: &str, default: bool) -> Result<bool, Rejection> {
        Ok(self.typed(name, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    /// `None` leaves the details as they are; an empty map clears them.
    fn status_details(&self) -> Result<Option<BTreeMap<String, String>>, Rejection> {
        let Some(given) = self.typed("statusDetails", "an object", Value::as_object)? else { return Ok(None) };
        if given.len() > STATUS_DETAILS_PAIRS {
            return Err(invalid(format!("'statusDetails' has more than {STATUS_DETAILS_PAIRS} pairs")));
        }
        given.iter().map(detail).collect::<Result<_, _>>().map(Some)
    }

    /// Step timers are not kept, so asking for one must fail, while clearing one is already done.
    fn check_step_timeout(&self) -> Result<(), Rejection> {
        match self.long("stepTimeoutInMinutes")? {
            None | Some(CLEAR_STEP_TIMER) => Ok(()),
            Some(_) => Err(invalid("'stepTimeoutInMinutes' is not supported")),
        }
    }
}

fn detail((key, value): (&String, &Value)) -> Result<(String, String), Rejection> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-');
    if !(1..=STATUS_DETAILS_KEY).contains(&key.len()) || !key.bytes().all(word) {
        return Err(invalid(format!(
            "A key of 'statusDetails' must match [a-zA-Z0-9:_-]+ and have at most {STATUS_DETAILS_KEY} characters"
        )));
    }
    let text = value.as_str().filter(|text| {
        (1..=STATUS_DETAILS_VALUE).contains(&text.chars().count()) && !text.chars().any(char::is_control)
    });
    match text {
        Some(text) => Ok((key.clone(), text.to_owned())),
        None => Err(invalid(format!(
            "The value of '{key}' in 'statusDetails' must be 1 to {STATUS_DETAILS_VALUE} characters without control characters"
        ))),
    }
}

pub(super) fn invalid(message: impl Into<String>) -> Rejection {
    Rejection::new(RejectionCode::InvalidRequest, message)
}

/// The members of StartNextPendingJobExecution.
pub(super) struct StartNext {
    pub status_details: Option<BTreeMap<String, String>>,
}

impl StartNext {
    pub(super) fn parse(members: &Members) -> Result<Self, Rejection> {
        members.check_step_timeout()?;
        Ok(Self { status_details: members.status_details()? })
    }
}

/// The members of DescribeJobExecution.
pub(super) struct Describe {
    pub execution_number: Option<i64>,
    pub include_job_document: bool,
}

impl Describe {
    pub(super) fn parse(members: &Members) -> Result<Self, Rejection> {
        Ok(Self {
            execution_number: members.long("executionNumber")?,
            include_job_document: members.boolean("includeJobDocument", true)?,
        })
    }
}

/// The members of UpdateJobExecution.
pub(super) struct Update {
    pub status: ExecutionStatus,
    pub status_details: Option<BTreeMap<String, String>>,
    pub expected_version: Option<i64>,
    pub execution_number: Option<i64>,
    pub include_job_execution_state: bool,
    pub include_job_document: bool,
}

impl Update {
    pub(super) fn parse(members: &Members) -> Result<Self, Rejection> {
        members.check_step_timeout()?;
        Ok(Self {
            status: Self::status(members)?,
            status_details: members.status_details()?,
            expected_version: members.long("expectedVersion")?,
            execution_number: members.long("executionNumber")?,
            include_job_execution_state: members.boolean("includeJobExecutionState", false)?,
            include_job_document: members.boolean("includeJobDocument", false)?,
        })
    }

    fn status(members: &Members) -> Result<ExecutionStatus, Rejection> {
        let Some(text) = members.typed("status", "a string", Value::as_str)? else {
            // The words of AWS, seen in aws-iot-device-sdk-cpp-v2 issue 95.
            return Err(invalid("Value null at 'status' failed to satisfy constraint: Member must not be null"));
        };
        match ExecutionStatus::parse(text) {
            Some(
                status @ (ExecutionStatus::InProgress
                | ExecutionStatus::Succeeded
                | ExecutionStatus::Failed
                | ExecutionStatus::Rejected),
            ) => Ok(status),
            // The text is not repeated: it may be as long as the payload.
            _ => Err(invalid("A device may set 'status' to IN_PROGRESS, SUCCEEDED, FAILED or REJECTED only")),
        }
    }
}
