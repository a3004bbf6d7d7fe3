//! What a device is told: replies, rejections and notifications, as JSON.
//! Shapes: <https://docs.aws.amazon.com/iot/latest/developerguide/jobs-mqtt-https-api.html>; timestamps are in seconds.

use super::Execution;
use super::request::Members;
use crate::ExecutionStatus;
use iot_types::{JobId, ThingName, UnixMillis};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// How the device asked, which decides the shape of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Replies carry `timestamp` and `clientToken`, and the job document is JSON within JSON.
    Mqtt,
    /// The service `iot-jobs-data`: neither of the two, and the job document is a string.
    Http,
}

/// ErrorCode of <https://docs.aws.amazon.com/iot/latest/developerguide/jobs-api.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionCode {
    /// The topic maps to no operation.
    InvalidTopic,
    /// The payload is no JSON object.
    InvalidJson,
    /// A member of the request is wrong; the message says which.
    InvalidRequest,
    /// The execution's current status does not allow the update.
    InvalidStateTransition,
    /// No such execution.
    ResourceNotFound,
    /// `expectedVersion` is not the current version.
    VersionMismatch,
    /// Our fault.
    InternalError,
    /// Too many requests.
    RequestThrottled,
    /// An execution that is over cannot be described.
    TerminalStateReached,
}

impl RejectionCode {
    /// The code over MQTT.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidTopic => "InvalidTopic",
            Self::InvalidJson => "InvalidJson",
            Self::InvalidRequest => "InvalidRequest",
            Self::InvalidStateTransition => "InvalidStateTransition",
            Self::ResourceNotFound => "ResourceNotFound",
            Self::VersionMismatch => "VersionMismatch",
            Self::InternalError => "InternalError",
            Self::RequestThrottled => "RequestThrottled",
            Self::TerminalStateReached => "TerminalStateReached",
        }
    }

    /// The exception's name in AWS's service model `iot-jobs-data`.
    #[must_use]
    pub const fn exception(self) -> &'static str {
        match self {
            Self::InvalidTopic | Self::InvalidJson | Self::InvalidRequest => "InvalidRequestException",
            // The model has no exception of its own for a version, and this is the only 409 of UpdateJobExecution.
            Self::InvalidStateTransition | Self::VersionMismatch => "InvalidStateTransitionException",
            Self::ResourceNotFound => "ResourceNotFoundException",
            Self::InternalError => "ServiceUnavailableException",
            Self::RequestThrottled => "ThrottlingException",
            Self::TerminalStateReached => "TerminalStateException",
        }
    }

    /// The HTTP status of that exception.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::InvalidTopic | Self::InvalidJson | Self::InvalidRequest => 400,
            Self::ResourceNotFound => 404,
            Self::InvalidStateTransition | Self::VersionMismatch => 409,
            Self::TerminalStateReached => 410,
            Self::RequestThrottled => 429,
            Self::InternalError => 503,
        }
    }
}

/// The answer to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// `None` when accepted.
    pub code: Option<RejectionCode>,
    /// JSON for `…/accepted` or `…/rejected`, or the body of the HTTP response.
    pub payload: Vec<u8>,
}

impl Reply {
    /// Whether it belongs on `…/accepted`.
    #[must_use]
    pub const fn accepted(&self) -> bool {
        self.code.is_none()
    }

    /// A rejection that needs no thing to be looked at: a topic that maps to no operation, throttling, a fault of ours.
    /// The `clientToken` of the request's payload is echoed if there is one.
    #[must_use]
    pub fn rejected(code: RejectionCode, message: &str, request: &[u8], plane: Plane, now: UnixMillis) -> Self {
        let members = Members::parse(request).unwrap_or_default();
        Rejection::new(code, message).reply(&Envelope { plane, client_token: members.client_token(), now })
    }
}

/// Why a request is refused.
pub(super) struct Rejection {
    code: RejectionCode,
    message: String,
    state: Option<Box<State>>,
}

impl Rejection {
    pub(super) fn new(code: RejectionCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), state: None }
    }

    /// Adds the execution's state, which spares the device a second request.
    pub(super) fn with_state(mut self, of: &Execution) -> Self {
        self.state = Some(Box::new(State::of(of)));
        self
    }

    pub(super) fn reply(&self, envelope: &Envelope<'_>) -> Reply {
        // Over HTTP the exception's name travels in a header.
        let code = (envelope.plane == Plane::Mqtt).then_some(self.code.as_str());
        let body =
            Body { code, message: Some(&self.message), execution_state: self.state.as_deref(), ..Body::default() };
        Reply { code: Some(self.code), payload: envelope.seal(body) }
    }
}

/// What every message of a plane has in common.
pub(super) struct Envelope<'a> {
    pub plane: Plane,
    pub client_token: Option<&'a str>,
    pub now: UnixMillis,
}

impl Envelope<'_> {
    pub(super) fn accept(&self, body: Body<'_>) -> Reply {
        Reply { code: None, payload: self.seal(body) }
    }

    fn seal(&self, mut body: Body<'_>) -> Vec<u8> {
        if self.plane == Plane::Mqtt {
            body.timestamp = Some(self.now.as_secs());
            // The token borrows from the request, the rest from the executions.
            return encode(&Body { client_token: self.client_token, ..body });
        }
        encode(&body)
    }
}

/// The payload of `jobs/notify`.
pub(super) fn notify<'a>(listed: impl Iterator<Item = &'a Execution>, now: UnixMillis) -> Vec<u8> {
    let mut jobs: BTreeMap<&str, Vec<Summary<'a>>> = BTreeMap::new();
    for execution in listed {
        jobs.entry(execution.status.as_str()).or_default().push(Summary::of(execution));
    }
    encode(&Body { jobs: Some(jobs), timestamp: Some(now.as_secs()), ..Body::default() })
}

/// The payload of `jobs/notify-next`. AWS leaves the thing's name out of this one.
pub(super) fn notify_next(head: Option<&Execution>, now: UnixMillis) -> Vec<u8> {
    let execution = head.map(|head| View { thing_name: None, ..View::of(head, true, Plane::Mqtt) });
    encode(&Body { execution, timestamp: Some(now.as_secs()), ..Body::default() })
}

fn encode(body: &Body<'_>) -> Vec<u8> {
    // Strings, numbers and maps with string keys: serde_json has no error for these.
    serde_json::to_vec(body).unwrap_or_default()
}

/// Every member that any message of the device plane may have.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_progress_jobs: Option<Vec<Summary<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queued_jobs: Option<Vec<Summary<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution: Option<View<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_state: Option<&'a State>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_document: Option<Document<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<BTreeMap<&'static str, Vec<Summary<'a>>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_token: Option<&'a str>,
}

/// JobExecutionSummary.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary<'a> {
    job_id: &'a JobId,
    queued_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<u64>,
    last_updated_at: u64,
    execution_number: u64,
    version_number: u64,
}

impl<'a> Summary<'a> {
    pub(super) fn of(execution: &'a Execution) -> Self {
        Self {
            job_id: &execution.job_id,
            queued_at: execution.queued_at.as_secs(),
            started_at: execution.started_at.map(UnixMillis::as_secs),
            last_updated_at: execution.last_updated_at.as_secs(),
            execution_number: execution.execution_number,
            version_number: execution.version_number,
        }
    }
}

/// JobExecution.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View<'a> {
    job_id: &'a JobId,
    #[serde(skip_serializing_if = "Option::is_none")]
    thing_name: Option<&'a ThingName>,
    status: ExecutionStatus,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    status_details: &'a BTreeMap<String, String>,
    queued_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<u64>,
    last_updated_at: u64,
    version_number: u64,
    execution_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_document: Option<Document<'a>>,
}

impl<'a> View<'a> {
    pub(super) fn of(execution: &'a Execution, include_job_document: bool, plane: Plane) -> Self {
        Self {
            job_id: &execution.job_id,
            thing_name: Some(&execution.thing_name),
            status: execution.status,
            status_details: &execution.status_details,
            queued_at: execution.queued_at.as_secs(),
            started_at: execution.started_at.map(UnixMillis::as_secs),
            last_updated_at: execution.last_updated_at.as_secs(),
            version_number: execution.version_number,
            execution_number: execution.execution_number,
            job_document: include_job_document.then(|| Document::of(&execution.document, plane)),
        }
    }
}

/// JobExecutionState.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct State {
    status: ExecutionStatus,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    status_details: BTreeMap<String, String>,
    version_number: u64,
}

impl State {
    pub(super) fn of(execution: &Execution) -> Self {
        Self {
            status: execution.status,
            status_details: execution.status_details.clone(),
            version_number: execution.version_number,
        }
    }
}

/// A job document in the form of its plane.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Document<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

impl<'a> Document<'a> {
    pub(super) fn of(document: &'a str, plane: Plane) -> Self {
        match plane {
            Plane::Http => Self::Text(document),
            // CreateJob checked that it is JSON; a row that has rotted since still makes a well-formed reply.
            Plane::Mqtt => serde_json::from_str(document).map_or(Self::Text(document), Self::Json),
        }
    }
}
