//! The executions of one thing: what its device may ask, what it is told, and what the jobs are told.
//!
//! Pending executions are ordered: those IN_PROGRESS before those QUEUED, each in the order in which they were queued.
//! The first of them is "next". `jobs/notify` follows the *membership* of this list and `jobs/notify-next` its first
//! element; a status that changes neither is announced to nobody
//! (<https://docs.aws.amazon.com/iot/latest/developerguide/jobs-comm-notifications.html>).

mod machine;
mod reply;
mod request;

pub use machine::{Effects, Executions};
pub use reply::{Plane, RejectionCode, Reply};
pub use request::DeviceRequest;

use crate::{ExecutionStatus, JobError, Outcome, row};
use iot_types::{JobId, ThingName, UnixMillis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One attempt of a job on a thing. As a row, its key is `(job_id, execution_number)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// The job.
    pub job_id: JobId,
    /// The thing.
    pub thing_name: ThingName,
    /// Where it stands.
    pub status: ExecutionStatus,
    /// What the device last said about it: at most 10 pairs.
    pub status_details: BTreeMap<String, String>,
    /// When it was queued.
    pub queued_at: UnixMillis,
    /// When it first became IN_PROGRESS, if ever.
    pub started_at: Option<UnixMillis>,
    /// When it last changed.
    pub last_updated_at: UnixMillis,
    /// From [`crate::FIRST_VERSION_NUMBER`]; each change adds one.
    pub version_number: u64,
    /// Which attempt of the job on this thing.
    pub execution_number: u64,
    /// The place in the order in which the thing's executions were queued. Milliseconds are too coarse for that, since
    /// a platform's clock may stand still between two requests.
    pub sequence: u64,
    /// The job document, JSON text. Empty once the status is terminal: nobody may read it then
    /// (TerminalStateReached), the job keeps it, and a thing keeps many finished executions.
    pub document: String,
}

impl Execution {
    /// The row to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        row::encode(self)
    }

    /// Reads a stored row.
    ///
    /// # Errors
    /// [`JobError::CorruptRow`] when it is not one, or of a version that this code does not know.
    pub fn decode(stored: &[u8]) -> Result<Self, JobError> {
        row::decode(stored)
    }

    /// Tells the job about this execution.
    fn outcome(&self, from: Option<ExecutionStatus>) -> Outcome {
        Outcome {
            job_id: self.job_id.clone(),
            thing_name: self.thing_name.clone(),
            execution_number: self.execution_number,
            from,
            to: self.status,
            version_number: self.version_number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_of_an_execution_does_not_change() {
        let execution = Execution {
            job_id: JobId::new("job-1").unwrap(),
            thing_name: ThingName::new("lamp").unwrap(),
            status: ExecutionStatus::InProgress,
            status_details: BTreeMap::from([("step".to_owned(), "1".to_owned())]),
            queued_at: UnixMillis(1_000),
            started_at: Some(UnixMillis(2_000)),
            last_updated_at: UnixMillis(3_000),
            version_number: 3,
            execution_number: 1,
            sequence: 7,
            document: r#"{"op":"x"}"#.to_owned(),
        };
        let stored = concat!(
            r#"{"v":1,"row":{"job_id":"job-1","thing_name":"lamp","status":"IN_PROGRESS","status_details":{"step":"1"},"#,
            r#""queued_at":1000,"started_at":2000,"last_updated_at":3000,"version_number":3,"execution_number":1,"#,
            r#""sequence":7,"document":"{\"op\":\"x\"}"}}"#
        );
        assert_eq!(String::from_utf8(execution.encode()).unwrap(), stored);
        assert_eq!(Execution::decode(stored.as_bytes()).unwrap(), execution);
    }

    #[test]
    fn rows_that_do_not_read_back_are_named_as_our_fault() {
        for (stored, part) in [
            (&b""[..], "EOF"),
            (b"{\"v\":2,\"row\":{}}", "version 2"),
            (b"{\"v\":1,\"row\":{}}", "missing field"),
            (b"\xff", "expected value"),
        ] {
            let error = Execution::decode(stored).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
            assert!(!error.is_client_fault());
        }
    }
}
