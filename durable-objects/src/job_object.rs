//! `Job`: one job, its targets and its counters.
//!
//! **State**: one row for the job, one for its progress, one for each target.
//! **Called by**: the API (create, describe), the cron trigger (dispatch), Things (outcomes). **Calls**: Things, to
//! queue executions, never before it returns.
//! **Why it is atomic**: `call` never awaits; each request writes its rows before its reply exists. A target counts as
//! dispatched only once its Thing has stored the execution, and queueing one again changes nothing there.
//! **Woken by**: calls.

use crate::config::Config;
use crate::host::Host;
use crate::outgoing::{Caller, from_js, now_millis, pump};
use crate::storage::{self, SqlStorage, StorageError, blob};
use iot_types::{JobId, ThingName, UnixMillis};
use jobs::job::{Changes, CreateJobRequest, Job, JobRow, ProgressRow, TargetRow};
use jobs::{ExecutionStatus, FIRST_EXECUTION_NUMBER, Outcome};
use messages::address::Address;
use messages::channel::{Call, ChannelLimits, Outbox};
use messages::codec::{Batch, BatchReply};
use messages::jobs::{ExecutionOutcome, JobReply, JobRequest};
use messages::thing::ThingRequest;
use messages::{Refusal, Reply, Request};
use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use worker::{Env, State};

const SCHEMA: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS job (kind TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS targets (thing_name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
];

/// Targets in one step of the rollout, so that a step fits into one event however large the job is.
const STEP: usize = 200;

/// The Rust half of a Job.
#[wasm_bindgen]
pub struct JobObject {
    inner: AssertUnwindSafe<Rc<Inner>>,
}

struct Inner {
    sql: SqlStorage,
    host: Host,
    config: Config,
    job_id: JobId,
    /// The rows in memory, read on first use and written through.
    job: RefCell<Option<Job>>,
    /// The token is the target that a Thing was asked to queue an execution for.
    outbox: RefCell<Outbox<ThingName>>,
}

#[wasm_bindgen]
impl JobObject {
    /// Called by `workers/entry` on first use.
    ///
    /// # Errors
    /// When storage fails, the settings are wrong or the object was not opened by a job's id.
    #[wasm_bindgen(constructor)]
    pub fn new(state: worker::worker_sys::DurableObjectState, env: Env, host: Host) -> Result<Self, JsError> {
        let state = State::from(state);
        let name = state.id().name().unwrap_or_default();
        let job_id = JobId::new(name.strip_prefix("job/").unwrap_or_default())?;
        let sql = SqlStorage::of(&host);
        for statement in SCHEMA {
            storage::run(&sql, statement, vec![]).map_err(|error| JsError::new(&error.0))?;
        }
        let address = Address::Job(job_id.clone());
        let inner = Inner {
            job: RefCell::new(restore(&sql).map_err(|error| JsError::new(&error.0))?),
            sql,
            host,
            config: Config::from_env(&env)?,
            job_id,
            outbox: RefCell::new(Outbox::new(address, 0, now_millis(), ChannelLimits::default())),
        };
        Ok(Self { inner: AssertUnwindSafe(Rc::new(inner)) })
    }

    /// Applies a packed batch.
    ///
    /// # Errors
    /// When the batch is unreadable or storage fails: the caller tries again.
    pub fn call(&self, batch: &[u8], now: f64) -> Result<Vec<u8>, JsError> {
        let batch = Batch::decode(batch)?;
        let now = from_js(now);
        let mut replies = Vec::with_capacity(batch.requests.len());
        for request in batch.requests {
            let reply = match request {
                Request::Job(request) => self.inner.apply(now, request).map_err(|error| self.inner.failed(&error))?,
                _ => Reply::Refused(Refusal::WrongClass),
            };
            replies.push(reply);
        }
        pump(&self.inner, now);
        Ok(BatchReply { epoch: 0, replies }.encode()?)
    }

    /// A Job sets no alarm: the cron trigger wakes it while it has something to do.
    pub fn alarm(&self, _now: f64) {}

    /// A call is to be tried again.
    pub fn tick(&self, now: f64) {
        pump(&self.inner, from_js(now));
    }
}

fn restore(sql: &SqlStorage) -> Result<Option<Job>, StorageError> {
    let unreadable = |error: jobs::JobError| StorageError(error.to_string());
    let read = |kind: &str| storage::rows(sql, "SELECT value FROM job WHERE kind = ?", vec![kind.into()]);
    let (job, progress) = (read("job")?, read("progress")?);
    let (Some(job), Some(progress)) = (job.first(), progress.first()) else { return Ok(None) };
    let mut targets = Vec::new();
    for row in storage::rows(sql, "SELECT value FROM targets", vec![])? {
        targets.push(TargetRow::decode(blob(&row, 0)?).map_err(unreadable)?);
    }
    let job = JobRow::decode(blob(job, 0)?).map_err(unreadable)?;
    let progress = ProgressRow::decode(blob(progress, 0)?).map_err(unreadable)?;
    Ok(Some(Job::restore(job, progress, targets)))
}

impl Inner {
    /// Memory may be ahead of the rows: the next call starts from them.
    fn failed(&self, error: &StorageError) -> JsError {
        *self.job.borrow_mut() = restore(&self.sql).unwrap_or_default();
        JsError::new(&error.0)
    }

    fn apply(&self, now: UnixMillis, request: JobRequest) -> Result<Reply, StorageError> {
        let mut job = self.job.borrow_mut();
        let reply = match (request, job.as_mut()) {
            (JobRequest::Create { .. }, Some(_)) => JobReply::AlreadyExists,
            (JobRequest::Create { body }, None) => {
                let request = CreateJobRequest::parse(self.job_id.as_str(), &body)
                    .map_err(|error| StorageError(error.to_string()))?;
                let created = Job::create(request, &self.config.scope, now);
                self.put("job", created.row().encode())?;
                self.put("progress", created.progress().encode())?;
                for target in created.targets() {
                    self.put_target(&target.thing_name, target.encode())?;
                }
                let body = created.created().to_string();
                *job = Some(created);
                JobReply::Body(body.into())
            }
            (_, None) => JobReply::NotFound,
            (JobRequest::Describe, Some(job)) => JobReply::Body(job.describe().to_string().into()),
            (JobRequest::Dispatch, Some(job)) => self.dispatch(job),
            (JobRequest::Outcome(outcome), Some(job)) => {
                if let Some(changes) = outcome_of(&self.job_id, outcome).and_then(|outcome| job.outcome(&outcome, now))
                {
                    self.store(&changes)?;
                }
                return Ok(Reply::Applied);
            }
        };
        Ok(Reply::Job(reply))
    }

    fn dispatch(&self, job: &Job) -> JobReply {
        let mut outbox = self.outbox.borrow_mut();
        let mut left = 0;
        // While a step is under way, the next one would only name the same targets again.
        if outbox.is_idle() {
            let targets = job.next_dispatch(STEP);
            left = u32::try_from(targets.len()).unwrap_or(u32::MAX);
            for thing_name in targets {
                let request = Request::Thing(ThingRequest::QueueExecution {
                    job_id: self.job_id.clone(),
                    document: job.row().document.clone(),
                    execution_number: FIRST_EXECUTION_NUMBER,
                });
                // What finds no room belongs to the next step.
                let _ = outbox.push(Address::Thing(thing_name.clone()), request, thing_name);
            }
        }
        JobReply::Dispatched { status: job.status().as_str().to_owned(), left }
    }

    fn store(&self, changes: &Changes) -> Result<(), StorageError> {
        self.put("progress", changes.progress.encode())?;
        for target in &changes.targets {
            self.put_target(&target.thing_name, target.encode())?;
        }
        Ok(())
    }

    fn put(&self, kind: &str, value: Vec<u8>) -> Result<(), StorageError> {
        let statement = "INSERT OR REPLACE INTO job (kind, value) VALUES (?, ?)";
        storage::run(&self.sql, statement, vec![kind.into(), value.into()])
    }

    fn put_target(&self, thing_name: &ThingName, value: Vec<u8>) -> Result<(), StorageError> {
        let statement = "INSERT OR REPLACE INTO targets (thing_name, value) VALUES (?, ?)";
        storage::run(&self.sql, statement, vec![thing_name.as_str().into(), value.into()])
    }
}

fn outcome_of(job_id: &JobId, told: ExecutionOutcome) -> Option<Outcome> {
    Some(Outcome {
        job_id: job_id.clone(),
        thing_name: told.thing_name,
        execution_number: told.execution_number,
        from: None,
        to: ExecutionStatus::parse(&told.status)?,
        version_number: told.version_number,
    })
}

impl Caller for Inner {
    fn calls(&self, now: UnixMillis) -> Vec<Call> {
        self.outbox.borrow_mut().calls(now)
    }

    fn answered(&self, now: UnixMillis, target: &Address, reply: Option<BatchReply>) {
        let answers = self.outbox.borrow_mut().answered(target, reply, now);
        let queued: Vec<ThingName> = answers.into_iter().filter(|(_, r)| r.is_ok()).map(|(name, _)| name).collect();
        let mut memory = self.job.borrow_mut();
        let Some(job) = memory.as_mut().filter(|_| !queued.is_empty()) else { return };
        let changes = job.dispatched(&queued, now);
        if self.store(&changes).is_err() {
            // The rows still say "not dispatched": the next step asks the Thing again, which changes nothing there.
            *memory = restore(&self.sql).unwrap_or_default();
        }
    }

    fn next_timeout(&self) -> Option<UnixMillis> {
        self.outbox.borrow().next_retry()
    }

    fn host(&self) -> &Host {
        &self.host
    }
}
