//! The states of an execution and what the job is told about them.

use iot_types::{JobId, ThingName};
use serde::{Deserialize, Serialize};

/// JobExecutionStatus of AWS's service model: QUEUED → IN_PROGRESS → one of the terminal ones, or QUEUED → terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExecutionStatus {
    /// Waits for the device.
    Queued,
    /// The device is at work.
    InProgress,
    /// The device did it.
    Succeeded,
    /// The device tried and could not.
    Failed,
    /// A timer expired before the device was done.
    TimedOut,
    /// The device refused.
    Rejected,
    /// The thing is no longer a target.
    Removed,
    /// The job or this execution was canceled.
    Canceled,
}

impl ExecutionStatus {
    /// Every status, in the order of AWS's service model.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::InProgress,
        Self::Succeeded,
        Self::Failed,
        Self::TimedOut,
        Self::Rejected,
        Self::Removed,
        Self::Canceled,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::InProgress => "IN_PROGRESS",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::TimedOut => "TIMED_OUT",
            Self::Rejected => "REJECTED",
            Self::Removed => "REMOVED",
            Self::Canceled => "CANCELED",
        }
    }

    /// The status with this name on the wire.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether nothing can change any more.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::InProgress)
    }
}

/// A change of an execution's status, for the job to count once. `(thing_name, execution_number, version_number)`
/// identifies it; a later pair of numbers supersedes an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The job.
    pub job_id: JobId,
    /// The thing.
    pub thing_name: ThingName,
    /// The attempt, from [`crate::FIRST_EXECUTION_NUMBER`].
    pub execution_number: u64,
    /// The status before; `None` when the execution is new, or when its status is merely told again.
    pub from: Option<ExecutionStatus>,
    /// The status after.
    pub to: ExecutionStatus,
    /// The execution's version after.
    pub version_number: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_stored_as_it_goes_on_the_wire() {
        for status in ExecutionStatus::ALL {
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{}\"", status.as_str()));
            assert_eq!(ExecutionStatus::parse(status.as_str()), Some(status));
        }
        assert_eq!(ExecutionStatus::parse("SUCCESS"), None);
    }
}
