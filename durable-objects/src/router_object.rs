//! `Router`: a shard of the topic tree, the directory of who wants what. It keeps retained messages, too, and the queues
//! of shared groups with nobody online. Messages on their way never pass it.
//!
//! **State**: one table of rows by key (`crates/routing/src/store.rs` says what they mean), and in memory the nodes in
//! use and who holds leases of them.
//! **Called by**: Brokers, Sessions shards, other Routers and the API. **Calls**: Brokers, to take leases back, and
//! whoever waits for a registration, never before it returns.
//! **Why it is atomic**: `call` never awaits, so one batch is applied whole before the next; rows are written before
//! the reply exists, and the output gate holds the reply until they are durable.
//! **Woken by**: calls, and a timer while a registration waits for leases to end.

use crate::config::Config;
use crate::host::{Host, log_line};
use crate::outgoing::{Caller, from_js, now_millis, pump};
use crate::storage::{self, SqlStorage, StorageError, blob, integer};
use iot_types::UnixMillis;
use messages::address::{Address, INITIAL_OBJECTS};
use messages::channel::Call;
use messages::codec::{Batch, BatchReply};
use routing::{RouterShard, RouterStore, StoreError};
use serde_json::json;
use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use worker::{Env, State};

/// Without row ids, so that the key costs no second row.
const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID";

/// How often a Router that has something under way looks whether it still has, in milliseconds.
const AWAKE_MILLIS: u64 = 1_000;

/// The Rust half of a Router.
#[wasm_bindgen]
pub struct RouterObject {
    inner: AssertUnwindSafe<Rc<Inner>>,
}

struct Inner {
    sql: SqlStorage,
    host: Host,
    config: Config,
    number: u32,
    /// `None` until something needs it. After storage has failed it drops what it remembers by itself.
    shard: RefCell<Option<RouterShard>>,
}

#[wasm_bindgen]
impl RouterObject {
    /// Called by `workers/entry` on first use.
    ///
    /// # Errors
    /// When storage fails, the settings are wrong or the object was not opened by a Router's name.
    #[wasm_bindgen(constructor)]
    pub fn new(state: worker::worker_sys::DurableObjectState, env: Env, host: Host) -> Result<Self, JsError> {
        let state = State::from(state);
        let sql = SqlStorage::of(&host);
        storage::run(&sql, SCHEMA, vec![]).map_err(|error| JsError::new(&error.0))?;
        let number = state.id().name().as_deref().and_then(|name| name.strip_prefix("router/")?.parse().ok());
        let inner = Inner {
            sql,
            host,
            config: Config::from_env(&env)?,
            number: number.ok_or(JsError::new("not a Router's name"))?,
            shard: RefCell::new(None),
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
            .with_shard(now, |shard, store| shard.call(now, &batch, store))
            .map_err(|error| JsError::new(&error.to_string()))?;
        pump(&self.inner, now);
        Ok(reply.encode()?)
    }

    /// A Router sets no alarm.
    pub fn alarm(&self, _now: f64) {}

    /// Something that was asked for is due.
    pub fn tick(&self, now: f64) {
        pump(&self.inner, from_js(now));
    }
}

impl Inner {
    fn with_shard<T>(
        &self,
        now: UnixMillis,
        act: impl FnOnce(&mut RouterShard, &mut SqlRouterStore<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut memory = self.shard.borrow_mut();
        let shard = memory.get_or_insert_with(|| {
            let settings = self.config.router_settings();
            RouterShard::new(self.number, INITIAL_OBJECTS, now, settings)
        });
        let result = act(shard, &mut SqlRouterStore(&self.sql));
        if let Err(error) = &result {
            log_line(
                &json!({"level": "error", "event": "storage_failed", "router": self.number, "reason": error.to_string()}),
            );
        }
        result
    }
}

impl Caller for Inner {
    fn calls(&self, now: UnixMillis) -> Vec<Call> {
        let calls = self.with_shard(now, |shard, store| {
            shard.timeout(now, store)?;
            Ok(shard.calls(now))
        });
        // A failure is logged; whoever waits asks again.
        calls.unwrap_or_default()
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

struct SqlRouterStore<'a>(&'a SqlStorage);

impl RouterStore for SqlRouterStore<'_> {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = get(storage::rows(self.0, "SELECT value FROM rows WHERE key = ?", vec![key.to_vec().into()]))?;
        rows.first().map(|row| Ok(get(blob(row, 0))?.to_vec())).transpose()
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let statement = "INSERT OR REPLACE INTO rows (key, value) VALUES (?, ?)";
        get(storage::run(self.0, statement, vec![key.to_vec().into(), value.to_vec().into()]))
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        get(storage::run(self.0, "DELETE FROM rows WHERE key = ?", vec![key.to_vec().into()]))
    }

    fn scan(&mut self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        let statement = "SELECT key, value FROM rows WHERE key >= ? AND key < ? ORDER BY key LIMIT ?";
        let bindings = vec![from.to_vec().into(), to.to_vec().into(), integer(limit as u64)];
        let rows = get(storage::rows(self.0, statement, bindings))?;
        rows.iter().map(|row| Ok((get(blob(row, 0))?.to_vec(), get(blob(row, 1))?.to_vec()))).collect()
    }

    fn scan_keys(&mut self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        let statement = "SELECT key FROM rows WHERE key >= ? AND key < ? ORDER BY key LIMIT ?";
        let bindings = vec![from.to_vec().into(), to.to_vec().into(), integer(limit as u64)];
        let rows = get(storage::rows(self.0, statement, bindings))?;
        rows.iter().map(|row| Ok(get(blob(row, 0))?.to_vec())).collect()
    }
}

fn get<T>(result: Result<T, StorageError>) -> Result<T, StoreError> {
    result.map_err(|error| StoreError(error.0))
}
