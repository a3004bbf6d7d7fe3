//! What a `Thing` is asked.

use crate::publication::Publication;
use bytes::Bytes;
use iot_types::{JobId, Qos, ShadowName};
use serde::{Deserialize, Serialize};

/// Requests to a `Thing`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ThingRequest {
    /// Get, update or delete a shadow.
    Shadow {
        /// `None` for the classic shadow.
        shadow_name: Option<ShadowName>,
        /// What to do.
        operation: ShadowOperation,
        /// The request document as the client sent it.
        payload: Bytes,
        /// How the reply travels.
        plane: Plane,
    },
    /// A device's request about its job executions, from MQTT.
    Job {
        /// What to do.
        operation: JobOperation,
        /// The request document as the device sent it.
        payload: Bytes,
        /// Quality of service for the direct reply.
        qos: Qos,
    },
    /// From a Job: put an execution into the queue. Idempotent by job id and execution number.
    QueueExecution {
        /// The job.
        job_id: JobId,
        /// The job document, JSON text.
        document: String,
        /// Which attempt at this thing it is, from 1.
        execution_number: u64,
    },
}

/// The three operations on a shadow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShadowOperation {
    /// GetThingShadow.
    Get,
    /// UpdateThingShadow.
    Update,
    /// DeleteThingShadow.
    Delete,
}

/// Where a request came from, which decides where its reply goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Plane {
    /// From a Broker: replies are messages on `…/accepted` and `…/rejected`.
    Mqtt,
    /// From the API: the reply is the HTTP response, and changes are announced on MQTT as well.
    Http,
}

/// A device's operations on its job executions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobOperation {
    /// GetPendingJobExecutions.
    GetPending,
    /// StartNextPendingJobExecution.
    StartNext,
    /// DescribeJobExecution; the job id may be `$next`.
    Describe {
        /// A job id or `$next`, not yet checked.
        job_id: String,
    },
    /// UpdateJobExecution.
    Update {
        /// A job id, not yet checked.
        job_id: String,
    },
}

/// What a Thing answers. Everything in it is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThingReply {
    /// For the requesting connection alone, whether it subscribed or not.
    pub direct: Option<Publication>,
    /// To be published like any other message, in this order.
    pub publications: Vec<Publication>,
    /// The response body for [`Plane::Http`].
    pub http: Option<HttpReply>,
}

/// A finished HTTP response of the data plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpReply {
    /// HTTP status.
    pub status: u16,
    /// AWS's exception name when the status is an error.
    pub error_name: Option<String>,
    /// The body, JSON.
    pub body: Bytes,
}
