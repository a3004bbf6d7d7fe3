//! `Thing`: the shadows and job executions of one thing.
//!
//! **State**: one row for each shadow, one for each job execution, and one for each outcome that its Job has not
//! confirmed yet. Nothing is cached: SQLite is in the same process.
//! **Called by**: Brokers (requests of devices), the API (HTTPS), Jobs (to queue executions). **Calls**: Jobs (outcomes)
//! and Brokers (notifications), never before it returns.
//! **Why it is atomic**: `call` never awaits, so requests are applied one after the other; each writes its rows before
//! its reply exists, and the output gate holds replies until the rows are durable.
//! **Woken by**: calls; an alarm while outcomes are unconfirmed.

use crate::config::Config;
use crate::host::{Host, log_line};
use crate::indexing;
use crate::outgoing::{Caller, from_js, millis, now_millis, pump};
use crate::storage::{self, SqlStorage, StorageError, blob, integer, number, text};
use bytes::Bytes;
use iot_types::{JobId, Qos, ShadowName, ThingName, UnixMillis};
use jobs::execution::{self, DeviceRequest, Effects, Execution, Executions};
use messages::address::Address;
use messages::broker::BrokerRequest;
use messages::channel::{Call, ChannelLimits, Outbox};
use messages::codec::{Batch, BatchReply};
use messages::jobs::{ExecutionOutcome, JobRequest};
use messages::publication::Publication;
use messages::thing::{HttpReply, JobOperation, Plane, ShadowOperation, ThingReply, ThingRequest};
use messages::{Refusal, Reply, Request};
use mqtt_topic::reserved::{JobMessage, ShadowMessage, job_topic, shadow_topic};
use serde_json::json;
use shadow::{AnnouncementKind, Change, Operation, ShadowError, StoredShadow};
use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use worker::{Env, State};

const SCHEMA: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS shadows (name TEXT PRIMARY KEY, document BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS executions (job_id TEXT NOT NULL, execution_number INTEGER NOT NULL,
        is_terminal INTEGER NOT NULL, execution BLOB NOT NULL, PRIMARY KEY (job_id, execution_number)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS outcomes (id INTEGER PRIMARY KEY, job_id TEXT NOT NULL, execution_number INTEGER NOT NULL,
        version_number INTEGER NOT NULL, status TEXT NOT NULL)",
];

/// The classic shadow has no name; a named one is never empty.
const CLASSIC: &str = "";

/// How long an unconfirmed outcome waits before it is told again, in milliseconds.
const OUTCOME_RETRY_MILLIS: u64 = 10_000;

/// The Rust half of a Thing.
#[wasm_bindgen]
pub struct ThingObject {
    inner: AssertUnwindSafe<Rc<Inner>>,
}

struct Inner {
    sql: SqlStorage,
    host: Host,
    env: Env,
    config: Config,
    thing_name: ThingName,
    outbox: RefCell<Outbox<Told>>,
}

/// What another object was told.
#[derive(Clone, Copy, Debug)]
enum Told {
    /// A Job, the outcome with this row.
    Outcome(u64),
    /// A Broker, a message that nobody stores.
    Notification,
}

#[wasm_bindgen]
impl ThingObject {
    /// Called by `workers/entry` on first use.
    ///
    /// # Errors
    /// When storage fails, the settings are wrong or the object was not opened by a thing's name.
    #[wasm_bindgen(constructor)]
    pub fn new(state: worker::worker_sys::DurableObjectState, env: Env, host: Host) -> Result<Self, JsError> {
        let state = State::from(state);
        let name = state.id().name().unwrap_or_default();
        let thing_name = ThingName::new(name.strip_prefix("thing/").unwrap_or_default())?;
        let sql = SqlStorage::of(&host);
        for statement in SCHEMA {
            storage::run(&sql, statement, vec![]).map_err(|error| JsError::new(&error.0))?;
        }
        let address = Address::Thing(thing_name.clone());
        let inner = Inner {
            sql,
            host,
            config: Config::from_env(&env)?,
            env,
            thing_name,
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
                Request::Thing(request) => self.inner.apply(now, request).map_err(|error| JsError::new(&error.0))?,
                _ => Reply::Refused(Refusal::WrongClass),
            };
            replies.push(reply);
        }
        pump(&self.inner, now);
        Ok(BatchReply { epoch: 0, replies }.encode()?)
    }

    /// Outcomes have been unconfirmed for a while: perhaps the object that was telling them vanished.
    ///
    /// # Errors
    /// When storage fails; the platform calls again.
    pub fn alarm(&self, now: f64) -> Result<(), JsError> {
        let now = from_js(now);
        self.inner.tell_again(now).map_err(|error| JsError::new(&error.0))?;
        pump(&self.inner, now);
        Ok(())
    }

    /// A call is to be tried again.
    pub fn tick(&self, now: f64) {
        pump(&self.inner, from_js(now));
    }
}

impl Inner {
    fn apply(&self, now: UnixMillis, request: ThingRequest) -> Result<Reply, StorageError> {
        match request {
            ThingRequest::Shadow { shadow_name, operation, payload, plane } => {
                self.shadow(now, shadow_name.as_ref(), operation, &payload, plane)
            }
            ThingRequest::Job { operation, payload, qos } => self.job(now, &operation, &payload, qos),
            ThingRequest::QueueExecution { job_id, document, execution_number } => {
                self.queue_execution(now, &job_id, &document, execution_number)
            }
        }
    }

    fn shadow(
        &self,
        now: UnixMillis,
        shadow_name: Option<&ShadowName>,
        operation: ShadowOperation,
        payload: &[u8],
        plane: Plane,
    ) -> Result<Reply, StorageError> {
        let key = shadow_name.map_or(CLASSIC, ShadowName::as_str);
        let (operation, accepted, rejected) = match operation {
            ShadowOperation::Get => (Operation::Get, ShadowMessage::GetAccepted, ShadowMessage::GetRejected),
            ShadowOperation::Update => {
                (Operation::Update, ShadowMessage::UpdateAccepted, ShadowMessage::UpdateRejected)
            }
            ShadowOperation::Delete => {
                (Operation::Delete, ShadowMessage::DeleteAccepted, ShadowMessage::DeleteRejected)
            }
        };
        let request = shadow::Request { operation, payload, thing_name: &self.thing_name, shadow_name };
        let limits = self.config.shadow_limits();
        let rows = storage::rows(&self.sql, "SELECT document FROM shadows WHERE name = ?", vec![key.into()])?;
        let stored = rows.first().map(|row| blob(row, 0).map(StoredShadow::decode)).transpose()?.transpose();
        let (reply, announcements) = match stored {
            Ok(stored) => {
                let outcome = shadow::handle(stored.as_ref(), &request, now, &limits);
                if let Some(Change::Put(changed)) = outcome.change {
                    storage::run(
                        &self.sql,
                        "INSERT OR REPLACE INTO shadows (name, document) VALUES (?, ?)",
                        vec![key.into(), changed.encode().into()],
                    )?;
                    indexing::shadow_changed(&self.env, &self.thing_name, shadow_name.map(ShadowName::as_str));
                }
                (outcome.reply, outcome.announcements)
            }
            Err(error) => {
                // The row stays as it is: a newer release may be able to read it.
                log_line(
                    &json!({"level": "error", "event": "shadow_unreadable", "thing_name": self.thing_name.as_str(), "reason": error.to_string()}),
                );
                (Err(shadow::reject(&request, ShadowError::Internal, now, &limits)), Vec::new())
            }
        };
        let mut publications = Vec::new();
        let message = |message: ShadowMessage, payload: Vec<u8>| {
            let topic = shadow_topic(self.thing_name.as_str(), shadow_name.map(ShadowName::as_str), message);
            Publication::of_platform(topic, payload, Qos::AtLeastOnce, now)
        };
        // A change by HTTPS is announced like one by MQTT; a mere read or a refusal concerns the caller alone.
        let is_announced = plane == Plane::Mqtt || (reply.is_ok() && operation != Operation::Get);
        let http = match &reply {
            Ok(body) => HttpReply { status: 200, error_name: None, body: body.clone().into() },
            Err(rejection) => HttpReply {
                status: rejection.error.code(),
                error_name: Some(rejection.error.exception().to_owned()),
                body: json!({ "message": rejection.error.message() }).to_string().into(),
            },
        };
        if is_announced {
            publications.push(match reply {
                Ok(payload) => message(accepted, payload),
                Err(rejection) => message(rejected, rejection.payload),
            });
        }
        publications.extend(announcements.into_iter().map(|announcement| match announcement.kind {
            AnnouncementKind::Delta => message(ShadowMessage::UpdateDelta, announcement.payload),
            AnnouncementKind::Documents => message(ShadowMessage::UpdateDocuments, announcement.payload),
        }));
        let http = (plane == Plane::Http).then_some(http);
        Ok(Reply::Thing(ThingReply { direct: None, publications, http }))
    }

    fn job(&self, now: UnixMillis, operation: &JobOperation, payload: &Bytes, qos: Qos) -> Result<Reply, StorageError> {
        let request = match operation {
            JobOperation::GetPending => DeviceRequest::GetPending,
            JobOperation::StartNext => DeviceRequest::StartNext,
            JobOperation::Describe { job_id } => DeviceRequest::Describe { job_id },
            JobOperation::Update { job_id } => DeviceRequest::Update { job_id },
        };
        let named = match operation {
            JobOperation::Describe { job_id } | JobOperation::Update { job_id } => job_id.as_str(),
            JobOperation::GetPending | JobOperation::StartNext => "",
        };
        let mut executions = self.executions(named)?;
        let mut effects = executions.request(&self.thing_name, request, payload, execution::Plane::Mqtt, now);
        self.store(now, &effects)?;
        let direct = effects.reply.take().map(|reply| {
            let message = reply_message(operation, reply.accepted());
            Publication::of_platform(job_topic(self.thing_name.as_str(), message), reply.payload, qos, now)
        });
        let publications = self.notifications(now, &effects);
        Ok(Reply::Thing(ThingReply { direct, publications, http: None }))
    }

    fn queue_execution(
        &self,
        now: UnixMillis,
        job_id: &JobId,
        document: &str,
        execution_number: u64,
    ) -> Result<Reply, StorageError> {
        let effects =
            self.executions(job_id.as_str())?.queue(&self.thing_name, job_id, document, execution_number, now);
        self.store(now, &effects)?;
        for publication in self.notifications(now, &effects) {
            let target = self.config.publishing_broker(self.thing_name.as_str());
            let request = Request::Broker(BrokerRequest::Publish(publication));
            // A device that misses it asks for its pending jobs when it connects, as AWS tells devices to.
            let _ = self.outbox.borrow_mut().push(target, request, Told::Notification);
        }
        Ok(Reply::Applied)
    }

    /// The pending executions, and all of the job that a request names: finished ones of other jobs only grow in number.
    fn executions(&self, job_id: &str) -> Result<Executions, StorageError> {
        let statement = "SELECT execution FROM executions WHERE is_terminal = 0 OR job_id = ?";
        let mut executions = Vec::new();
        for row in storage::rows(&self.sql, statement, vec![job_id.into()])? {
            executions.push(Execution::decode(blob(&row, 0)?).map_err(|error| StorageError(error.to_string()))?);
        }
        Ok(Executions::restore(executions.into_iter()))
    }

    /// Writes the changed executions, and what their Jobs have to be told, before anybody hears of them.
    fn store(&self, now: UnixMillis, effects: &Effects) -> Result<(), StorageError> {
        for execution in &effects.rows {
            storage::run(
                &self.sql,
                "INSERT OR REPLACE INTO executions (job_id, execution_number, is_terminal, execution) VALUES (?, ?, ?, ?)",
                vec![
                    execution.job_id.as_str().into(),
                    integer(execution.execution_number),
                    integer(execution.status.is_terminal().into()),
                    execution.encode().into(),
                ],
            )?;
        }
        for outcome in &effects.outcomes {
            let status = outcome.to.as_str();
            let rows = storage::rows(
                &self.sql,
                "INSERT INTO outcomes (job_id, execution_number, version_number, status) VALUES (?, ?, ?, ?) RETURNING id",
                vec![
                    outcome.job_id.as_str().into(),
                    integer(outcome.execution_number),
                    integer(outcome.version_number),
                    status.into(),
                ],
            )?;
            let id = rows.first().map(|row| number(row, 0)).transpose()?.unwrap_or_default();
            self.tell(id, &outcome.job_id, outcome.execution_number, outcome.version_number, status);
        }
        if !effects.outcomes.is_empty() {
            self.wake_at(now.plus_millis(OUTCOME_RETRY_MILLIS))?;
        }
        Ok(())
    }

    fn tell(&self, id: u64, job_id: &JobId, execution_number: u64, version_number: u64, status: &str) {
        let outcome = ExecutionOutcome {
            thing_name: self.thing_name.clone(),
            execution_number,
            version_number,
            status: status.to_owned(),
        };
        let request = Request::Job(JobRequest::Outcome(outcome));
        // What finds no room now is a row, and is told again by the alarm.
        let _ = self.outbox.borrow_mut().push(Address::Job(job_id.clone()), request, Told::Outcome(id));
    }

    fn tell_again(&self, now: UnixMillis) -> Result<(), StorageError> {
        let statement =
            "SELECT id, job_id, execution_number, version_number, status FROM outcomes ORDER BY id LIMIT 100";
        let rows = storage::rows(&self.sql, statement, vec![])?;
        if rows.is_empty() {
            return Ok(());
        }
        self.wake_at(now.plus_millis(OUTCOME_RETRY_MILLIS))?;
        if !self.outbox.borrow().is_idle() {
            // They are being told already.
            return Ok(());
        }
        for row in rows {
            let job_id = JobId::new(text(&row, 1)?).map_err(|error| StorageError(error.to_string()))?;
            self.tell(number(&row, 0)?, &job_id, number(&row, 2)?, number(&row, 3)?, text(&row, 4)?);
        }
        Ok(())
    }

    fn wake_at(&self, at: UnixMillis) -> Result<(), StorageError> {
        // The write is queued at once, behind the rows of the same handler; its promise has nothing more to say.
        self.host.set_alarm(millis(at.0)).map(drop).map_err(|_| StorageError("the alarm could not be set".into()))
    }

    fn notifications(&self, now: UnixMillis, effects: &Effects) -> Vec<Publication> {
        let message = |message: JobMessage<'_>, payload: &[u8]| {
            let topic = job_topic(self.thing_name.as_str(), message);
            Publication::of_platform(topic, payload.to_vec(), Qos::AtLeastOnce, now)
        };
        let notify = effects.notify.as_deref().map(|payload| message(JobMessage::Notify, payload));
        let notify_next = effects.notify_next.as_deref().map(|payload| message(JobMessage::NotifyNext, payload));
        notify.into_iter().chain(notify_next).collect()
    }
}

const fn reply_message(operation: &JobOperation, accepted: bool) -> JobMessage<'_> {
    match (operation, accepted) {
        (JobOperation::GetPending, true) => JobMessage::GetPendingAccepted,
        (JobOperation::GetPending, false) => JobMessage::GetPendingRejected,
        (JobOperation::StartNext, true) => JobMessage::StartNextAccepted,
        (JobOperation::StartNext, false) => JobMessage::StartNextRejected,
        (JobOperation::Describe { job_id }, true) => JobMessage::DescribeAccepted { job_id: job_id.as_str() },
        (JobOperation::Describe { job_id }, false) => JobMessage::DescribeRejected { job_id: job_id.as_str() },
        (JobOperation::Update { job_id }, true) => JobMessage::UpdateAccepted { job_id: job_id.as_str() },
        (JobOperation::Update { job_id }, false) => JobMessage::UpdateRejected { job_id: job_id.as_str() },
    }
}

impl Caller for Inner {
    fn calls(&self, now: UnixMillis) -> Vec<Call> {
        self.outbox.borrow_mut().calls(now)
    }

    fn answered(&self, now: UnixMillis, target: &Address, reply: Option<BatchReply>) {
        for (told, result) in self.outbox.borrow_mut().answered(target, reply, now) {
            if let (Told::Outcome(id), Ok(_)) = (told, result) {
                // Should this fail, the outcome is told once more and counted once.
                let _ = storage::run(&self.sql, "DELETE FROM outcomes WHERE id = ?", vec![integer(id)]);
            }
        }
    }

    fn next_timeout(&self) -> Option<UnixMillis> {
        self.outbox.borrow().next_retry()
    }

    fn host(&self) -> &Host {
        &self.host
    }
}
