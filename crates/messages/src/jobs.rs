//! What a `Job` is asked.

use bytes::Bytes;
use iot_types::ThingName;
use serde::{Deserialize, Serialize};

/// Requests to a `Job`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobRequest {
    /// From the API: create the job from a CreateJob body that has been checked.
    Create {
        /// The body of CreateJob.
        body: Bytes,
    },
    /// From the API: DescribeJob.
    Describe,
    /// From the cron trigger: send the next step of the rollout.
    Dispatch,
    /// From a Thing: an execution changed its status. Counted once however often it is told.
    Outcome(ExecutionOutcome),
}

/// One change of a job execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionOutcome {
    /// The thing whose execution it is.
    pub thing_name: ThingName,
    /// Which attempt, from 1.
    pub execution_number: u64,
    /// The execution's version; rises with each change.
    pub version_number: u64,
    /// The status in AWS's spelling, for example `SUCCEEDED`.
    pub status: String,
}

/// What a Job answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobReply {
    /// The response body, JSON.
    Body(Bytes),
    /// There is a job with this id already.
    AlreadyExists,
    /// There is no job with this id.
    NotFound,
    /// The job's status after a dispatch, in AWS's spelling, and whether targets are left to dispatch.
    Dispatched {
        /// For example `IN_PROGRESS`.
        status: String,
        /// Targets that wait for a later step.
        left: u32,
    },
}
