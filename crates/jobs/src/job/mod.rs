//! One job: which things it goes to, how far it has come, when it is over.
//!
//! Stored as one [`JobRow`] that never changes, one small [`ProgressRow`] and a [`TargetRow`] per thing, so that a job
//! with very many targets rewrites two small rows per outcome. Whatever a method returns as [`Changes`] belongs in one
//! transaction: the counters are exact only together with the rows they count.

mod create;
mod rows;

pub use create::CreateJobRequest;
pub use rows::{Counts, JobRow, JobStatus, ProgressRow, TargetRow};

use crate::{ExecutionStatus, FIRST_EXECUTION_NUMBER, FIRST_VERSION_NUMBER, Outcome};
use iot_types::{Scope, ThingName, UnixMillis};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The rows that a call changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// Always given; the same as before if `targets` is empty.
    pub progress: ProgressRow,
    /// The targets that changed.
    pub targets: Vec<TargetRow>,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    row: JobRow,
    progress: ProgressRow,
    /// In the order of their positions.
    targets: Vec<TargetRow>,
    /// Index into `targets`.
    by_name: BTreeMap<ThingName, usize>,
    /// Indices into `targets`.
    undispatched: BTreeSet<usize>,
}

impl Job {
    /// Makes a job of a request that has been parsed. All its rows have to be stored.
    #[must_use]
    pub fn create(request: CreateJobRequest, scope: &Scope, now: UnixMillis) -> Self {
        let target = |(position, thing_name)| TargetRow {
            position,
            thing_name,
            status: None,
            execution_number: 0,
            version_number: 0,
        };
        let row = JobRow {
            job_arn: scope.job_arn(&request.job_id).as_str().to_owned(),
            job_id: request.job_id,
            targets: request.targets,
            document: request.document,
            description: request.description,
            created_at: now,
        };
        let progress = ProgressRow {
            status: JobStatus::InProgress,
            counts: Counts::default(),
            last_updated_at: now,
            completed_at: None,
        };
        Self::restore(row, progress, (0_u32..).zip(request.things).map(target))
    }

    /// Rebuilds a job from its stored rows, the targets in any order.
    #[must_use]
    pub fn restore(row: JobRow, progress: ProgressRow, targets: impl IntoIterator<Item = TargetRow>) -> Self {
        let mut targets: Vec<_> = targets.into_iter().collect();
        targets.sort_by_key(|target| target.position);
        let by_name = targets.iter().enumerate().map(|(index, target)| (target.thing_name.clone(), index)).collect();
        let undispatched =
            targets.iter().enumerate().filter(|(_, target)| target.status.is_none()).map(|(index, _)| index).collect();
        Self { row, progress, targets, by_name, undispatched }
    }

    /// The row that never changes.
    #[must_use]
    pub const fn row(&self) -> &JobRow {
        &self.row
    }

    /// The row that changes with every outcome.
    #[must_use]
    pub const fn progress(&self) -> &ProgressRow {
        &self.progress
    }

    /// The targets, in the order in which they get their executions.
    #[must_use]
    pub fn targets(&self) -> &[TargetRow] {
        &self.targets
    }

    /// IN_PROGRESS until every target's execution is terminal.
    #[must_use]
    pub const fn status(&self) -> JobStatus {
        self.progress.status
    }

    /// At most `limit` things that have no execution yet, in order. Each is to be sent the document with
    /// [`FIRST_EXECUTION_NUMBER`]; asking again before [`Self::dispatched`] gives the same ones.
    #[must_use]
    pub fn next_dispatch(&self, limit: usize) -> Vec<ThingName> {
        let targets = self.undispatched.iter().filter_map(|&index| self.targets.get(index));
        targets.take(limit).map(|target| target.thing_name.clone()).collect()
    }

    /// Records that these things have queued their executions. One whose outcome came first is left as that says.
    pub fn dispatched(&mut self, things: &[ThingName], now: UnixMillis) -> Changes {
        let mut changed = Vec::new();
        for thing in things {
            let queued = (FIRST_EXECUTION_NUMBER, FIRST_VERSION_NUMBER);
            changed.extend(self.record(thing, queued, ExecutionStatus::Queued));
        }
        self.changes(changed, now)
    }

    /// Counts an outcome, once. `None` when there is nothing to count: it is known, older than what is known, of
    /// another job or of no target.
    pub fn outcome(&mut self, outcome: &Outcome, now: UnixMillis) -> Option<Changes> {
        if outcome.job_id != self.row.job_id {
            return None;
        }
        let numbers = (outcome.execution_number, outcome.version_number);
        let changed = self.record(&outcome.thing_name, numbers, outcome.to)?;
        Some(self.changes(vec![changed], now))
    }

    /// Sets a target's state if `numbers` (execution, version) are later than those it has.
    fn record(&mut self, thing: &ThingName, numbers: (u64, u64), to: ExecutionStatus) -> Option<TargetRow> {
        let index = *self.by_name.get(thing)?;
        let target = self.targets.get_mut(index)?;
        if numbers <= (target.execution_number, target.version_number) {
            return None;
        }
        let over = target.status.is_some_and(ExecutionStatus::is_terminal);
        if over && (numbers.0 == target.execution_number || self.progress.status == JobStatus::Completed) {
            return None;
        }
        if let Some(from) = target.status {
            self.progress.counts.subtract(from);
        }
        self.progress.counts.add(to);
        self.undispatched.remove(&index);
        target.status = Some(to);
        (target.execution_number, target.version_number) = numbers;
        Some(target.clone())
    }

    fn changes(&mut self, targets: Vec<TargetRow>, now: UnixMillis) -> Changes {
        if !targets.is_empty() {
            self.progress.last_updated_at = now;
            if self.undispatched.is_empty() && self.progress.counts.pending() == 0 {
                self.progress.status = JobStatus::Completed;
                self.progress.completed_at = Some(now);
            }
        }
        Changes { progress: self.progress.clone(), targets }
    }

    /// The response of CreateJob.
    #[must_use]
    pub fn created(&self) -> Value {
        let mut response = Map::new();
        response.insert("jobArn".to_owned(), json!(self.row.job_arn));
        response.insert("jobId".to_owned(), json!(self.row.job_id));
        if let Some(description) = &self.row.description {
            response.insert("description".to_owned(), json!(description));
        }
        Value::Object(response)
    }

    /// JobSummary, an element of ListJobs.
    #[must_use]
    pub fn summary(&self) -> Value {
        Value::Object(self.summary_members())
    }

    /// `job` of DescribeJob's response.
    #[must_use]
    pub fn describe(&self) -> Value {
        let counts = &self.progress.counts;
        let mut details = Map::new();
        // Null once the rollout is over, as the model says.
        if !self.undispatched.is_empty() {
            details.insert("processingTargets".to_owned(), json!(self.processing_targets()));
        }
        for (name, count) in [
            ("numberOfCanceledThings", counts.canceled),
            ("numberOfSucceededThings", counts.succeeded),
            ("numberOfFailedThings", counts.failed),
            ("numberOfRejectedThings", counts.rejected),
            ("numberOfQueuedThings", counts.queued),
            ("numberOfInProgressThings", counts.in_progress),
            ("numberOfRemovedThings", counts.removed),
            ("numberOfTimedOutThings", counts.timed_out),
        ] {
            details.insert(name.to_owned(), json!(count));
        }
        let mut job = self.summary_members();
        job.insert("targets".to_owned(), json!(self.row.targets));
        if let Some(description) = &self.row.description {
            job.insert("description".to_owned(), json!(description));
        }
        job.insert("jobProcessDetails".to_owned(), Value::Object(details));
        Value::Object(job)
    }

    fn summary_members(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("jobArn".to_owned(), json!(self.row.job_arn));
        members.insert("jobId".to_owned(), json!(self.row.job_id));
        members.insert("targetSelection".to_owned(), json!("SNAPSHOT"));
        members.insert("status".to_owned(), json!(self.progress.status.as_str()));
        members.insert("createdAt".to_owned(), date(self.row.created_at));
        members.insert("lastUpdatedAt".to_owned(), date(self.progress.last_updated_at));
        if let Some(completed_at) = self.progress.completed_at {
            members.insert("completedAt".to_owned(), date(completed_at));
        }
        members.insert("isConcurrent".to_owned(), json!(!self.undispatched.is_empty()));
        members
    }

    fn processing_targets(&self) -> Vec<&str> {
        let waiting: BTreeSet<&str> = self
            .undispatched
            .iter()
            .filter_map(|&index| self.targets.get(index))
            .map(|target| target.thing_name.as_str())
            .collect();
        let waits = |arn: &&String| create::thing_of(arn).is_some_and(|thing| waiting.contains(thing));
        self.row.targets.iter().filter(waits).map(String::as_str).collect()
    }
}

/// DateType of the service model: seconds since the epoch, with a fraction.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 stay below 2^53 for 285 000 years")]
fn date(at: UnixMillis) -> Value {
    json!(at.0 as f64 / 1_000.0)
}
