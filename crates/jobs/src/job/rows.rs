//! What is stored of a job.

use crate::{ExecutionStatus, JobError, row};
use iot_types::{JobId, ThingName, UnixMillis};
use serde::{Deserialize, Serialize};

/// JobStatus of AWS's service model, as far as a job can get to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobStatus {
    /// Some target has no execution yet or one that is pending.
    InProgress,
    /// The execution of every target is terminal.
    Completed,
}

impl JobStatus {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "IN_PROGRESS",
            Self::Completed => "COMPLETED",
        }
    }
}

/// How many targets have an execution in each status. Targets without one are in none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "named for the statuses")]
pub struct Counts {
    pub queued: u64,
    pub in_progress: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub timed_out: u64,
    pub rejected: u64,
    pub removed: u64,
    pub canceled: u64,
}

impl Counts {
    /// How many executions are QUEUED or IN_PROGRESS.
    #[must_use]
    pub const fn pending(&self) -> u64 {
        self.queued.saturating_add(self.in_progress)
    }

    pub(super) const fn add(&mut self, status: ExecutionStatus) {
        let count = self.of(status);
        *count = count.saturating_add(1);
    }

    pub(super) const fn subtract(&mut self, status: ExecutionStatus) {
        let count = self.of(status);
        *count = count.saturating_sub(1);
    }

    const fn of(&mut self, status: ExecutionStatus) -> &mut u64 {
        match status {
            ExecutionStatus::Queued => &mut self.queued,
            ExecutionStatus::InProgress => &mut self.in_progress,
            ExecutionStatus::Succeeded => &mut self.succeeded,
            ExecutionStatus::Failed => &mut self.failed,
            ExecutionStatus::TimedOut => &mut self.timed_out,
            ExecutionStatus::Rejected => &mut self.rejected,
            ExecutionStatus::Removed => &mut self.removed,
            ExecutionStatus::Canceled => &mut self.canceled,
        }
    }
}

/// What CreateJob fixed for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRow {
    /// The job.
    pub job_id: JobId,
    /// Its ARN.
    pub job_arn: String,
    /// Target ARNs as the client gave them.
    pub targets: Vec<String>,
    /// The job document, JSON text of at most 32 768 bytes.
    pub document: String,
    /// The client's words about the job.
    pub description: Option<String>,
    /// When it was created.
    pub created_at: UnixMillis,
}

/// How far a job has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressRow {
    /// Whether it is over.
    pub status: JobStatus,
    /// What its targets' rows add up to.
    pub counts: Counts,
    /// When a row last changed.
    pub last_updated_at: UnixMillis,
    /// When it became COMPLETED.
    pub completed_at: Option<UnixMillis>,
}

/// One thing of a job. As a row, its key is `thing_name`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetRow {
    /// Its place in the order of dispatch.
    pub position: u32,
    /// The thing.
    pub thing_name: ThingName,
    /// The latest known status of its execution; `None` before it has one.
    pub status: Option<ExecutionStatus>,
    /// The attempt that `status` is of; 0 before the first.
    pub execution_number: u64,
    /// The version of that attempt that `status` is of; 0 before the first.
    pub version_number: u64,
}

macro_rules! stored {
    ($($type:ident),+) => {$(
        impl $type {
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
        }
    )+};
}
stored!(JobRow, ProgressRow, TargetRow);

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: PartialEq + core::fmt::Debug>(
        row: &T,
        encode: impl Fn(&T) -> Vec<u8>,
        decode: impl Fn(&[u8]) -> Result<T, JobError>,
        stored: &str,
    ) {
        assert_eq!(String::from_utf8(encode(row)).unwrap(), stored);
        assert_eq!(&decode(stored.as_bytes()).unwrap(), row);
    }

    #[test]
    fn the_stored_forms_of_a_job_do_not_change() {
        let row = JobRow {
            job_id: JobId::new("j").unwrap(),
            job_arn: "arn:j".to_owned(),
            targets: vec!["arn:t".to_owned()],
            document: "{}".to_owned(),
            description: None,
            created_at: UnixMillis(5),
        };
        check(
            &row,
            JobRow::encode,
            JobRow::decode,
            r#"{"v":1,"row":{"job_id":"j","job_arn":"arn:j","targets":["arn:t"],"document":"{}","description":null,"created_at":5}}"#,
        );
        let counts = Counts {
            queued: 1,
            in_progress: 2,
            succeeded: 3,
            failed: 4,
            timed_out: 5,
            rejected: 6,
            removed: 7,
            canceled: 8,
        };
        let progress = ProgressRow {
            status: JobStatus::InProgress,
            counts,
            last_updated_at: UnixMillis(6),
            completed_at: Some(UnixMillis(7)),
        };
        check(
            &progress,
            ProgressRow::encode,
            ProgressRow::decode,
            concat!(
                r#"{"v":1,"row":{"status":"IN_PROGRESS","counts":{"queued":1,"in_progress":2,"succeeded":3,"failed":4,"#,
                r#""timed_out":5,"rejected":6,"removed":7,"canceled":8},"last_updated_at":6,"completed_at":7}}"#
            ),
        );
        let target = TargetRow {
            position: 3,
            thing_name: ThingName::new("t").unwrap(),
            status: Some(ExecutionStatus::TimedOut),
            execution_number: 1,
            version_number: 2,
        };
        check(
            &target,
            TargetRow::encode,
            TargetRow::decode,
            r#"{"v":1,"row":{"position":3,"thing_name":"t","status":"TIMED_OUT","execution_number":1,"version_number":2}}"#,
        );
    }
}
