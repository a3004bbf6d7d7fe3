//! `Sessions`: a shard of the client ids. It decides who may have which, and keeps the sessions that outlive their
//! connections: what they subscribed to, what waits for them, and how far each message has come.
//!
//! **State**: rows (`sessions_store.rs`), and in memory what connected sessions are being sent. Messages of QoS 1 become
//! rows only when they aren't acknowledged at once; until then their publishers aren't answered, so that losing this
//! memory loses nothing.
//! **Called by**: Brokers, Routers and the API. **Calls**: Brokers and Routers, never before it returns.
//! **Why it is atomic**: `call` never awaits; what it changes is one transaction, written before its reply exists, and
//! the output gate holds back reply and calls until the transaction is durable.
//! **Woken by**: calls, a timer while anything is under way, and the alarm (wills with a delay, sessions that expire).

use crate::config::Config;
use crate::host::{Host, log_line};
use crate::outgoing::{Caller, from_js, millis, now_millis, pump};
use crate::sessions_store::{SqlSessionStore, create_tables};
use crate::storage::SqlStorage;
use iot_types::UnixMillis;
use messages::address::{Address, ShardMap};
use messages::channel::Call;
use messages::codec::{Batch, BatchReply};
use serde_json::json;
use sessions::{LogEvent, SessionsShard, StoreError};
use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use worker::{Env, State};

/// How often a shard that has something under way looks whether it still has, in milliseconds.
const AWAKE_MILLIS: u64 = 1_000;

/// The Rust half of a Sessions shard.
#[wasm_bindgen]
pub struct SessionsObject {
    inner: AssertUnwindSafe<Rc<Inner>>,
}

struct Inner {
    sql: SqlStorage,
    host: Host,
    config: Config,
    number: u32,
    /// `None` until something needs it, and after storage has failed: then the memory may be ahead of the rows.
    shard: RefCell<Option<SessionsShard>>,
    /// The alarm as it is stored, so that it is only written when it has to come earlier.
    alarm_at: Cell<Option<UnixMillis>>,
}

#[wasm_bindgen]
impl SessionsObject {
    /// Called by `workers/entry` on first use.
    ///
    /// # Errors
    /// When storage fails, the settings are wrong or the object was not opened by a Sessions shard's name.
    #[wasm_bindgen(constructor)]
    pub fn new(state: worker::worker_sys::DurableObjectState, env: Env, host: Host) -> Result<Self, JsError> {
        let state = State::from(state);
        let sql = SqlStorage::of(&host);
        create_tables(&sql).map_err(|error| JsError::new(&error.0))?;
        let number = state.id().name().as_deref().and_then(|name| name.strip_prefix("sessions/")?.parse().ok());
        let inner = Inner {
            sql,
            host,
            config: Config::from_env(&env)?,
            number: number.ok_or(JsError::new("not a Sessions shard's name"))?,
            shard: RefCell::new(None),
            alarm_at: Cell::new(None),
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
        let reply = self
            .inner
            .with_shard(now, |shard, store| shard.call(now, batch, store))
            .map_err(|error| JsError::new(&error.to_string()))?;
        pump(&self.inner, now);
        Ok(reply.encode()?)
    }

    /// A will is due, or a session expires.
    pub fn alarm(&self, now: f64) {
        self.inner.alarm_at.set(None);
        pump(&self.inner, from_js(now));
    }

    /// Something that was asked for is due.
    pub fn tick(&self, now: f64) {
        pump(&self.inner, from_js(now));
    }
}

impl Inner {
    fn with_shard<T>(
        &self,
        now: UnixMillis,
        act: impl FnOnce(&mut SessionsShard, &mut SqlSessionStore<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut memory = self.shard.borrow_mut();
        let shard = memory.get_or_insert_with(|| {
            let settings = self.config.shard_settings();
            let (shards, routers) = (ShardMap::initial(), ShardMap::initial());
            SessionsShard::new(self.number, now, settings, shards, routers)
        });
        let result = act(shard, &mut SqlSessionStore::new(&self.sql, &self.host));
        for event in shard.take_log() {
            self.log(&event);
        }
        if let Err(error) = &result {
            log_line(
                &json!({"level": "error", "event": "storage_failed", "shard": self.number, "reason": error.to_string()}),
            );
            *memory = None;
        }
        result
    }

    fn log(&self, event: &LogEvent) {
        let shard = self.number;
        log_line(&match event {
            LogEvent::Dropping { client_id } => json!({
                "level": "warn", "event": "message_dropped", "shard": shard, "client_id": client_id.as_str(),
                "reason": "the session's queue is full",
            }),
            LogEvent::EventsDropped => json!({"level": "warn", "event": "presence_events_dropped", "shard": shard}),
            LogEvent::BrokerLost { broker, epoch } => json!({
                "level": "warn", "event": "node_lost", "shard": shard, "node": broker.index, "epoch": epoch,
            }),
            LogEvent::ConnectionLost { client_id } => json!({
                "level": "warn", "event": "connection_unreachable", "shard": shard, "client_id": client_id.as_str(),
            }),
            LogEvent::ReplayAbandoned { client_id, filter } => json!({
                "level": "warn", "event": "retained_replay_abandoned", "shard": shard, "client_id": client_id.as_str(),
                "topic": filter,
            }),
            LogEvent::Moved { shard: moved, to } => json!({
                "level": "info", "event": "virtual_shard_moved", "shard": shard, "virtual_shard": moved, "to": to,
            }),
        });
    }

    fn arm(&self, now: UnixMillis, at: Option<UnixMillis>) {
        let Some(at) = at else { return };
        if self.alarm_at.get().is_some_and(|armed| armed <= at) {
            return;
        }
        // Never at once: an alarm costs a row, and what is due sooner has a timer.
        let at = at.max(now.plus_millis(AWAKE_MILLIS));
        if self.host.set_alarm(millis(at.0)).is_ok() {
            self.alarm_at.set(Some(at));
        }
    }
}

impl Caller for Inner {
    fn calls(&self, now: UnixMillis) -> Vec<Call> {
        match self.with_shard(now, |shard, store| Ok((shard.calls(now, store)?, shard.next_alarm()))) {
            Ok((calls, alarm)) => {
                self.arm(now, alarm);
                calls
            }
            // Logged; what was due is found again in the rows.
            Err(_) => {
                self.host.schedule(millis(AWAKE_MILLIS));
                Vec::new()
            }
        }
    }

    fn answered(&self, now: UnixMillis, target: &Address, reply: Option<BatchReply>) {
        // A failure has dropped the memory that waited for this.
        let _ = self.with_shard(now, |shard, store| shard.answered(now, target, reply, store));
    }

    fn next_timeout(&self) -> Option<UnixMillis> {
        let shard = self.shard.borrow();
        let shard = shard.as_ref()?;
        shard.next_timeout().or_else(|| (!shard.is_at_rest()).then(|| now_millis().plus_millis(AWAKE_MILLIS)))
    }

    fn host(&self) -> &Host {
        &self.host
    }
}
