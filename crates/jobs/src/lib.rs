//! AWS IoT Jobs as two state machines that know nothing of each other's storage: the executions of one thing
//! ([`execution`]) and one job ([`job`]). They talk through [`Outcome`]s, which may be told twice or out of order.
//!
//! In scope:
//! - CreateJob for a SNAPSHOT of things with an inline document: parsing, AWS's validations, dispatch in bounded steps,
//!   exact counters, completion; the shapes of DescribeJob, ListJobs and CreateJob
//!   (<https://docs.aws.amazon.com/iot/latest/apireference/API_CreateJob.html>);
//! - the device plane, over MQTT and HTTP: GetPendingJobExecutions, StartNextPendingJobExecution, DescribeJobExecution,
//!   UpdateJobExecution, and the notifications `jobs/notify` and `jobs/notify-next`
//!   (<https://docs.aws.amazon.com/iot/latest/developerguide/jobs-mqtt-api.html>);
//! - the stored form of every row, versioned.
//!
//! Out of scope:
//! - storage, delivery of outcomes until they are acknowledged, and publishing: the objects that hold the machines;
//! - topics: `mqtt-topic` parses requests, whoever calls names the reply's topic;
//! - whether a thing or a job id exists: the registry;
//! - parameters of CreateJob beyond those above: refused by name, never ignored.

mod error;
pub mod execution;
pub mod job;
mod row;
mod status;

pub use error::JobError;
pub use status::{ExecutionStatus, Outcome};

/// The executionNumber of the first attempt of a job on a thing.
pub const FIRST_EXECUTION_NUMBER: u64 = 1;
/// The versionNumber of an execution that has just been queued; each change adds one.
pub const FIRST_VERSION_NUMBER: u64 = 1;
