//! `BrokerPool`: how many Brokers a region has, and which of them are drained.
//!
//! **State**: one row, a snapshot of the machine (`crates/placement/src/pool.rs`).
//! **Called by**: Gateways, for a view of the region, and Brokers, which report how they are. **Calls**: Brokers, with
//! orders, never before it returns.
//! **Why it is atomic**: `call` never awaits; the snapshot is written in the same turn as what it changes, and the
//! output gate holds back reply and orders until it is durable.
//! **Woken by**: calls, and the alarm while something goes on in the region: growing, shrinking, an update.

use crate::config::Config;
use crate::host::{Host, log_line};
use crate::outgoing::{from_js, millis, now_millis};
use crate::storage::{self, SqlStorage, StorageError, blob};
use iot_types::UnixMillis;
use messages::address::{Address, BrokerId};
use messages::broker::BrokerRequest;
use messages::codec::{Batch, BatchReply};
use messages::pool::{BrokerReport, BrokerState};
use messages::{Refusal, Reply, Request};
use placement::pool::Order;
use placement::{Pool, PoolSettings};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use worker::{Env, State};

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS pool (id INTEGER PRIMARY KEY, snapshot BLOB NOT NULL)";

/// An alarm is set no sooner than this, in milliseconds: it costs a row.
const SOONEST_ALARM_MILLIS: u64 = 1_000;

/// The Rust half of a region's pool.
#[wasm_bindgen]
pub struct PoolObject {
    inner: AssertUnwindSafe<Rc<Inner>>,
}

struct Inner {
    sql: SqlStorage,
    host: Host,
    settings: PoolSettings,
    region: String,
    /// `None` until something needs it, and after storage has failed: then the memory may be ahead of the row.
    pool: RefCell<Option<Pool>>,
    /// The alarm as it is stored, so that it is only written when it has to come earlier.
    alarm_at: Cell<Option<UnixMillis>>,
}

#[wasm_bindgen]
impl PoolObject {
    /// Called by `workers/entry` on first use.
    ///
    /// # Errors
    /// When storage fails, the settings are wrong or the object was not opened by a pool's name.
    #[wasm_bindgen(constructor)]
    pub fn new(state: worker::worker_sys::DurableObjectState, env: Env, host: Host) -> Result<Self, JsError> {
        let state = State::from(state);
        let sql = SqlStorage::of(&host);
        storage::run(&sql, SCHEMA, vec![]).map_err(|error| JsError::new(&error.0))?;
        let region = state.id().name().as_deref().and_then(|name| Some(name.strip_prefix("pool/")?.to_owned()));
        let inner = Inner {
            sql,
            host,
            settings: Config::from_env(&env)?.pool_settings(),
            region: region.ok_or(JsError::new("not a pool's name"))?,
            pool: RefCell::new(None),
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
        let replies = self.inner.turn(now, |pool| {
            let answer = |request| match request {
                Request::Pool(request) => Reply::Pool(pool.handle(now, &request)),
                _ => Reply::Refused(Refusal::WrongClass),
            };
            batch.requests.into_iter().map(answer).collect()
        })?;
        Ok(BatchReply { epoch: 0, replies }.encode()?)
    }

    /// Something goes on in the region.
    ///
    /// # Errors
    /// When storage fails: the platform calls again.
    pub fn alarm(&self, now: f64) -> Result<(), JsError> {
        let now = from_js(now);
        self.inner.turn(now, |pool| {
            self.inner.alarm_at.set(None);
            pool.timeout(now);
        })
    }

    /// A pool asks for no timer.
    pub fn tick(&self, _now: f64) {}
}

impl Inner {
    /// One turn: `act`, and then everything that follows from it.
    fn turn<T>(self: &Rc<Self>, now: UnixMillis, act: impl FnOnce(&mut Pool) -> T) -> Result<T, JsError> {
        let mut memory = self.pool.borrow_mut();
        let result = self.with(&mut memory, now, act);
        let (answer, orders) = result.map_err(|error| {
            *memory = None;
            log_line(&json!({"level": "error", "event": "storage_failed", "region": &self.region, "reason": &error.0}));
            JsError::new(&error.0)
        })?;
        drop(memory);
        for order in orders {
            let inner = Rc::clone(self);
            wasm_bindgen_futures::spawn_local(AssertUnwindSafe(async move { inner.send(order).await }));
        }
        Ok(answer)
    }

    fn with<T>(
        &self,
        memory: &mut Option<Pool>,
        now: UnixMillis,
        act: impl FnOnce(&mut Pool) -> T,
    ) -> Result<(T, Vec<Order>), StorageError> {
        if memory.is_none() {
            *memory = Some(self.restore(now)?);
        }
        let Some(pool) = memory.as_mut() else { return Err(StorageError("the pool could not be built".into())) };
        let answer = act(pool);
        if let Some(snapshot) = pool.take_snapshot() {
            self.store(snapshot)?;
            self.log(pool, now);
        }
        if let Some(at) = pool.next_timeout(now)
            && self.alarm_at.get().is_none_or(|armed| armed > at)
        {
            let at = at.max(now.plus_millis(SOONEST_ALARM_MILLIS));
            if self.host.set_alarm(millis(at.0)).is_ok() {
                self.alarm_at.set(Some(at));
            }
        }
        let orders = core::iter::from_fn(|| pool.poll_order()).collect();
        Ok((answer, orders))
    }

    fn restore(&self, now: UnixMillis) -> Result<Pool, StorageError> {
        let rows = storage::rows(&self.sql, "SELECT snapshot FROM pool WHERE id = 0", vec![])?;
        let Some(row) = rows.first() else { return Ok(Pool::new(self.settings)) };
        let Ok(mut pool) = Pool::restore(self.settings, blob(row, 0)?) else {
            log_line(&json!({"level": "error", "event": "pool_unreadable", "region": &self.region}));
            return Ok(Pool::new(self.settings));
        };
        match pool.take_snapshot() {
            Some(snapshot) => self.store(snapshot)?,
            // What is due has an alarm since the row was written: to set it again with each wake would make a row of
            // each view that a Gateway asks for.
            None => self.alarm_at.set(pool.next_timeout(now)),
        }
        Ok(pool)
    }

    fn store(&self, snapshot: Vec<u8>) -> Result<(), StorageError> {
        let statement = "INSERT OR REPLACE INTO pool (id, snapshot) VALUES (0, ?)";
        storage::run(&self.sql, statement, vec![snapshot.into()])
    }

    fn log(&self, pool: &Pool, now: UnixMillis) {
        let view = pool.view(now);
        let count = |state| view.brokers.iter().filter(|broker| broker.state == state).count();
        log_line(&json!({
            "level": "info", "event": "pool_stored", "region": &self.region, "version": view.version,
            "active": count(BrokerState::Active), "leaving": count(BrokerState::Leaving),
            "draining": count(BrokerState::Draining), "retired": count(BrokerState::Retired),
        }));
    }

    /// Tells a Broker what to do. One that can't be told is told again when the machine says so.
    async fn send(self: Rc<Self>, order: Order) {
        let target = Address::Broker(BrokerId { region: self.region.clone(), index: order.index });
        let batch = Batch { sender: None, requests: vec![Request::Broker(BrokerRequest::Pool(order.directive))] };
        let reply = self.host.call_batch(&target, &batch).await;
        match reply.and_then(|reply| reply.replies.into_iter().next()) {
            Some(Reply::BrokerReport(report)) => self.answered(order, &report),
            _ => log_line(&json!({
                "level": "warn", "event": "order_undelivered", "region": &self.region, "node": order.index,
            })),
        }
    }

    fn answered(self: &Rc<Self>, order: Order, report: &BrokerReport) {
        let now = now_millis();
        // A failure is logged. The Broker is asked again.
        let _ = self.turn(now, |pool| pool.answered(now, order, report));
    }
}
