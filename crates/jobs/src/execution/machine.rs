//! The state machine.

use super::Execution;
use super::reply::{Body, Document, Envelope, Plane, Rejection, RejectionCode, Reply, State, Summary, View};
use super::reply::{notify, notify_next};
use super::request::{Describe, DeviceRequest, Members, StartNext, Update, invalid};
use crate::{ExecutionStatus, FIRST_VERSION_NUMBER, Outcome};
use iot_types::{JobId, ThingName, UnixMillis};
use std::collections::BTreeMap;

/// Most executions in GetPendingJobExecutions and in `jobs/notify`
/// (<https://docs.aws.amazon.com/iot/latest/developerguide/job-limits.html>, without a scheduling configuration).
const LISTED_EXECUTIONS: usize = 10;

/// What a call changed and what has to be said about it. Store the rows first; publish in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// The rows to insert or replace: exactly those that changed.
    pub rows: Vec<Execution>,
    /// For the device that asked.
    pub reply: Option<Reply>,
    /// For `$aws/things/{thingName}/jobs/notify`.
    pub notify: Option<Vec<u8>>,
    /// For `$aws/things/{thingName}/jobs/notify-next`.
    pub notify_next: Option<Vec<u8>>,
    /// For the jobs, until acknowledged.
    pub outcomes: Vec<Outcome>,
}

/// The executions of one thing. At most one of each job is pending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Executions {
    /// By `sequence`.
    pending: BTreeMap<u64, Execution>,
    /// By job and execution number.
    finished: BTreeMap<(JobId, u64), Execution>,
    next_sequence: u64,
}

impl Executions {
    /// Rebuilds the machine from its stored rows, in any order.
    #[must_use]
    pub fn restore(rows: impl Iterator<Item = Execution>) -> Self {
        let mut executions = Self::default();
        for row in rows {
            executions.next_sequence = executions.next_sequence.max(row.sequence.saturating_add(1));
            executions.put(row);
        }
        executions
    }

    /// Pending executions, next one first.
    pub fn pending(&self) -> impl Iterator<Item = &Execution> {
        let with = |status| self.pending.values().filter(move |execution| execution.status == status);
        with(ExecutionStatus::InProgress).chain(with(ExecutionStatus::Queued))
    }

    /// An attempt of a job, or its latest one.
    #[must_use]
    pub fn get(&self, job_id: &JobId, execution_number: Option<u64>) -> Option<&Execution> {
        // A new attempt begins only after the one before has ended, so the pending one is the latest.
        let pending = self.pending.values().find(|execution| execution.job_id == *job_id);
        match execution_number {
            Some(number) => pending
                .filter(|execution| execution.execution_number == number)
                .or_else(|| self.finished.get(&(job_id.clone(), number))),
            None => pending.or_else(|| {
                let attempts = (job_id.clone(), 0)..=(job_id.clone(), u64::MAX);
                self.finished.range(attempts).next_back().map(|(_, execution)| execution)
            }),
        }
    }

    /// Queues an attempt of a job. Asking again, or for an attempt before the latest one, or while another attempt of
    /// the job is pending, changes nothing: the job is only told once more where the latest attempt stands.
    pub fn queue(
        &mut self,
        thing: &ThingName,
        job_id: &JobId,
        document: &str,
        execution_number: u64,
        now: UnixMillis,
    ) -> Effects {
        if let Some(latest) = self.get(job_id, None)
            && (!latest.status.is_terminal() || latest.execution_number >= execution_number)
        {
            return Effects { outcomes: vec![latest.outcome(None)], ..Effects::default() };
        }
        let execution = Execution {
            job_id: job_id.clone(),
            thing_name: thing.clone(),
            status: ExecutionStatus::Queued,
            status_details: BTreeMap::new(),
            queued_at: now,
            started_at: None,
            last_updated_at: now,
            version_number: FIRST_VERSION_NUMBER,
            execution_number,
            sequence: self.next_sequence,
            document: document.to_owned(),
        };
        self.next_sequence = self.next_sequence.saturating_add(1);
        let mut effects =
            Effects { outcomes: vec![execution.outcome(None)], rows: vec![execution.clone()], ..Effects::default() };
        let head = self.head();
        self.put(execution);
        self.announce(head, true, now, &mut effects);
        effects
    }

    /// Cancels the pending execution of a job: when it is QUEUED, or in any case with `force`. Otherwise nothing
    /// happens, and the device may finish.
    pub fn cancel(&mut self, job_id: &JobId, force: bool, now: UnixMillis) -> Effects {
        let mut effects = Effects::default();
        let canceled = self
            .pending
            .values()
            .find(|execution| execution.job_id == *job_id && (force || execution.status == ExecutionStatus::Queued));
        if let Some(sequence) = canceled.map(|execution| execution.sequence) {
            self.change(sequence, ExecutionStatus::Canceled, None, now, &mut effects);
        }
        effects
    }

    /// Answers a device. The reply is always there; a rejected request changes nothing.
    pub fn request(
        &mut self,
        thing: &ThingName,
        request: DeviceRequest<'_>,
        payload: &[u8],
        plane: Plane,
        now: UnixMillis,
    ) -> Effects {
        let mut effects = Effects::default();
        let reply = match Members::parse(payload) {
            Ok(members) => {
                let envelope = Envelope { plane, client_token: members.client_token(), now };
                self.answer(thing, request, &members, &envelope, &mut effects)
                    .unwrap_or_else(|rejection| rejection.reply(&envelope))
            }
            Err(rejection) => rejection.reply(&Envelope { plane, client_token: None, now }),
        };
        effects.reply = Some(reply);
        effects
    }

    fn answer(
        &mut self,
        thing: &ThingName,
        request: DeviceRequest<'_>,
        members: &Members,
        envelope: &Envelope<'_>,
        effects: &mut Effects,
    ) -> Result<Reply, Rejection> {
        members.check_client_token()?;
        match request {
            DeviceRequest::GetPending => Ok(self.get_pending(envelope)),
            DeviceRequest::StartNext => Ok(self.start_next(StartNext::parse(members)?, envelope, effects)),
            DeviceRequest::Describe { job_id } => self.describe(thing, job_id, &Describe::parse(members)?, envelope),
            DeviceRequest::Update { job_id } => self.update(thing, job_id, Update::parse(members)?, envelope, effects),
        }
    }

    fn get_pending(&self, envelope: &Envelope<'_>) -> Reply {
        let (in_progress, queued): (Vec<_>, Vec<_>) =
            self.listed().partition(|execution| execution.status == ExecutionStatus::InProgress);
        envelope.accept(Body {
            in_progress_jobs: Some(in_progress.into_iter().map(Summary::of).collect()),
            queued_jobs: Some(queued.into_iter().map(Summary::of).collect()),
            ..Body::default()
        })
    }

    fn start_next(&mut self, given: StartNext, envelope: &Envelope<'_>, effects: &mut Effects) -> Reply {
        // One that is IN_PROGRESS is handed out again as it is, details included.
        let queued = self.pending().next().filter(|head| head.status == ExecutionStatus::Queued);
        if let Some(sequence) = queued.map(|head| head.sequence) {
            self.change(sequence, ExecutionStatus::InProgress, given.status_details, envelope.now, effects);
        }
        let execution = self.pending().next().map(|head| View::of(head, true, envelope.plane));
        envelope.accept(Body { execution, ..Body::default() })
    }

    fn describe(
        &self,
        thing: &ThingName,
        job_id: &str,
        given: &Describe,
        envelope: &Envelope<'_>,
    ) -> Result<Reply, Rejection> {
        let execution = if job_id == "$next" {
            self.pending().next()
        } else {
            let found = self.find(thing, job_id, given.execution_number)?;
            if found.status.is_terminal() {
                let message = format!("The job execution is in the terminal state {}", found.status.as_str());
                return Err(Rejection::new(RejectionCode::TerminalStateReached, message));
            }
            Some(found)
        };
        let execution = execution.map(|found| View::of(found, given.include_job_document, envelope.plane));
        Ok(envelope.accept(Body { execution, ..Body::default() }))
    }

    fn update(
        &mut self,
        thing: &ThingName,
        job_id: &str,
        given: Update,
        envelope: &Envelope<'_>,
        effects: &mut Effects,
    ) -> Result<Reply, Rejection> {
        let found = self.find(thing, job_id, given.execution_number)?;
        let version = found.version_number;
        if let Some(expected) = given.expected_version
            && u64::try_from(expected) != Ok(version)
        {
            let message = format!("Expected version {expected} but found version {version}");
            return Err(Rejection::new(RejectionCode::VersionMismatch, message).with_state(found));
        }
        if found.status.is_terminal() {
            let (from, to) = (found.status.as_str(), given.status.as_str());
            let message = format!("A job execution cannot change from {from} to {to}");
            return Err(Rejection::new(RejectionCode::InvalidStateTransition, message).with_state(found));
        }
        // The change may drop the document.
        let document = given.include_job_document.then(|| found.document.clone());
        self.change(found.sequence, given.status, given.status_details, envelope.now, effects);
        let updated = effects.rows.last().filter(|_| given.include_job_execution_state).map(State::of);
        Ok(envelope.accept(Body {
            execution_state: updated.as_ref(),
            job_document: document.as_deref().map(|document| Document::of(document, envelope.plane)),
            ..Body::default()
        }))
    }

    fn find(&self, thing: &ThingName, job_id: &str, execution_number: Option<i64>) -> Result<&Execution, Rejection> {
        let job_id = JobId::new(job_id).map_err(|error| invalid(error.to_string()))?;
        // A negative number is a number all the same: of no execution.
        let found = match execution_number.map(u64::try_from) {
            None => self.get(&job_id, None),
            Some(number) => number.ok().and_then(|number| self.get(&job_id, Some(number))),
        };
        found.ok_or_else(|| {
            let message = format!("Thing {thing} has no such execution of job {job_id}");
            Rejection::new(RejectionCode::ResourceNotFound, message)
        })
    }

    fn listed(&self) -> impl Iterator<Item = &Execution> {
        self.pending().take(LISTED_EXECUTIONS)
    }

    fn head(&self) -> Option<u64> {
        self.pending().next().map(|execution| execution.sequence)
    }

    fn put(&mut self, execution: Execution) {
        if execution.status.is_terminal() {
            self.finished.insert((execution.job_id.clone(), execution.execution_number), execution);
        } else {
            self.pending.insert(execution.sequence, execution);
        }
    }

    /// The one place where a pending execution changes.
    fn change(
        &mut self,
        sequence: u64,
        to: ExecutionStatus,
        status_details: Option<BTreeMap<String, String>>,
        now: UnixMillis,
        effects: &mut Effects,
    ) {
        let head = self.head();
        let Some(mut execution) = self.pending.remove(&sequence) else { return };
        let from = execution.status;
        execution.status = to;
        execution.version_number = execution.version_number.saturating_add(1);
        execution.last_updated_at = now;
        if let Some(status_details) = status_details {
            execution.status_details = status_details;
        }
        if to == ExecutionStatus::InProgress {
            execution.started_at.get_or_insert(now);
        }
        if to.is_terminal() {
            execution.document = String::new();
        }
        if from != to {
            effects.outcomes.push(execution.outcome(Some(from)));
        }
        effects.rows.push(execution.clone());
        self.put(execution);
        self.announce(head, to.is_terminal(), now, effects);
    }

    fn announce(&self, head_before: Option<u64>, members_changed: bool, now: UnixMillis, effects: &mut Effects) {
        if members_changed {
            effects.notify = Some(notify(self.listed(), now));
        }
        if self.head() != head_before {
            effects.notify_next = Some(notify_next(self.pending().next(), now));
        }
    }
}
