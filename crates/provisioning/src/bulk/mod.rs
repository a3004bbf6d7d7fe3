//! Bulk registration tasks: a file of lines, each the parameters of one device (AWS IoT developer guide, "Bulk
//! registration").
//!
//! A task is carried out in steps, each of which may be the last before a crash: the [`Checkpoint`] says where the next
//! one begins, and is to be stored with what the step has written. A line that is done twice all the same gets the same
//! identifiers ([`line_id`]), so it finds what it made.

mod input;
mod lines;
mod report;

pub use input::{InputError, InputFile};
pub use lines::{Cursor, Line, LineError, LineSplitter, MAXIMUM_LINE_BYTES, parse_line};
pub use report::{ReportType, error_line, result_line};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How far a task is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// `successCount`: devices that were provisioned.
    pub succeeded: u64,
    /// `failureCount`: lines of which nothing came.
    pub failed: u64,
}

impl Progress {
    /// Counts one line.
    pub fn count(&mut self, has_succeeded: bool) {
        let counter = if has_succeeded { &mut self.succeeded } else { &mut self.failed };
        *counter = counter.saturating_add(1);
    }
}

/// Where a task goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The first line that is not done.
    pub cursor: Cursor,
    /// What became of the lines before.
    pub progress: Progress,
}

impl Checkpoint {
    /// `percentageProgress` of a file of so many bytes. 100 is for whoever has seen the end of the file: a task with
    /// its last line under way has 99.
    #[must_use]
    pub fn percentage(&self, file_bytes: u64) -> u8 {
        let hundredths = u128::from(self.cursor.offset) * 100 / u128::from(file_bytes.max(1));
        u8::try_from(hundredths.min(99)).unwrap_or(99)
    }

    /// As JSON, to be stored.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Does not fail: numbers under fixed names.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From JSON; `None` if it is not what [`Checkpoint::to_json`] makes.
    #[must_use]
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// `Status` of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskStatus {
    /// Lines are left.
    InProgress,
    /// All lines are done, some of them perhaps in vain.
    Completed,
    /// The task itself could not be carried out: the file could not be read.
    Failed,
    /// StopThingRegistrationTask, and it stands still.
    Cancelled,
    /// StopThingRegistrationTask, and a line may still be under way.
    Cancelling,
}

impl TaskStatus {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::InProgress, Self::Completed, Self::Failed, Self::Cancelled, Self::Cancelling];

    /// AWS's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::Cancelling => "Cancelling",
        }
    }

    /// Reads AWS's spelling.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether it keeps another task from being started: one runs at a time.
    #[must_use]
    pub const fn is_running(self) -> bool {
        matches!(self, Self::InProgress | Self::Cancelling)
    }
}

/// An identifier for something that this line of this task makes, the same each time: a UUID of version 8 (RFC 9562,
/// section 5.8) from a hash. `purpose` tells the things apart that one line makes.
#[must_use]
pub fn line_id(task_id: &str, line_number: u64, purpose: &str) -> String {
    // Lengths first, so that no two triples give the same bytes.
    let mut hash = Sha256::new();
    for text in [task_id, purpose] {
        hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.update(line_number.to_be_bytes());
    let bits = hash.finalize().iter().take(16).fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    const VERSION: u128 = 0xf << 76;
    const VARIANT: u128 = 0b11 << 62;
    let bits = bits & !VERSION & !VARIANT | 8 << 76 | 0b10 << 62;
    let digits = format!("{bits:032x}");
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| digits.get(range).unwrap_or_default());
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_task_is_as_far_as_its_cursor_and_never_through() {
        let at = |offset| Checkpoint { cursor: Cursor { offset, line: 1 }, progress: Progress::default() };
        for (offset, file_bytes, expected) in
            [(0, 0, 0), (0, 10, 0), (1, 3, 33), (2, 3, 66), (10, 10, 99), (11, 10, 99), (u64::MAX, u64::MAX, 99)]
        {
            assert_eq!(at(offset).percentage(file_bytes), expected, "{offset} {file_bytes}");
        }
        assert_eq!(at(u64::MAX).percentage(1), 99);
    }

    #[test]
    fn a_checkpoint_comes_back_from_json() {
        let mut progress = Progress::default();
        for outcome in [true, false, true] {
            progress.count(outcome);
        }
        let checkpoint = Checkpoint { cursor: Cursor { offset: 17, line: 4 }, progress };
        let text = r#"{"cursor":{"offset":17,"line":4},"progress":{"succeeded":2,"failed":1}}"#;
        assert_eq!(checkpoint.to_json(), text);
        assert_eq!(Checkpoint::from_json(text), Some(checkpoint));
        for bad in ["", "{}", r#"{"cursor":{"offset":-1,"line":4},"progress":{"succeeded":2,"failed":1}}"#] {
            assert_eq!(Checkpoint::from_json(bad), None);
        }
    }

    #[test]
    fn a_line_has_the_same_identifiers_each_time_and_no_other_has_them() {
        let id = line_id("task", 1, "thing");
        assert_eq!(id, line_id("task", 1, "thing"));
        assert_eq!(id.len(), 36);
        assert_eq!((id.as_bytes()[14], id.bytes().filter(|byte| *byte == b'-').count()), (b'8', 4));
        assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
        let mut ids = BTreeSet::new();
        for task in ["", "task", "taskt", "t"] {
            for purpose in ["", "thing", "hing", "ask"] {
                for line in [0, 1, u64::MAX] {
                    assert!(ids.insert(line_id(task, line, purpose)));
                }
            }
        }
    }

    #[test]
    fn statuses_are_named_as_in_the_service_model() {
        for status in TaskStatus::ALL {
            assert_eq!(TaskStatus::parse(status.as_str()), Some(status));
        }
        assert_eq!(TaskStatus::parse("inProgress"), None);
        let running: Vec<_> = TaskStatus::ALL.into_iter().filter(|status| status.is_running()).collect();
        assert_eq!(running, [TaskStatus::InProgress, TaskStatus::Cancelling]);
    }
}
