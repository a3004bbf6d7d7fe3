//! `Router`: a shard of the topic tree, the directory of which Brokers want what.
//!
//! **State**: one row for each (Broker, filter); in memory the same as an index, rebuilt from the rows.
//! **Called by**: Brokers, with packed batches. It calls nobody.
//! **Why it is atomic**: `call` never awaits, so one batch is applied whole before the next; rows are written before
//! the reply exists, and the output gate holds the reply until they are durable.
//! **Woken by**: calls only.

use crate::storage::{self, StorageError, integer, number, text};
use messages::address::{Address, BrokerId};
use messages::codec::{Batch, BatchReply, Sender};
use messages::router::RouterRequest;
use messages::{Refusal, Reply, Request};
use routing::{Directory, RowChange};
use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use wasm_bindgen::prelude::*;
use worker::{Env, SqlStorage, State};

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS subscriptions (
    region TEXT NOT NULL, broker INTEGER NOT NULL, filter TEXT NOT NULL, epoch INTEGER NOT NULL,
    PRIMARY KEY (region, broker, filter)) WITHOUT ROWID";

/// The Rust half of a Router.
#[wasm_bindgen]
pub struct RouterObject {
    sql: AssertUnwindSafe<SqlStorage>,
    directory: AssertUnwindSafe<RefCell<Option<Directory>>>,
}

#[wasm_bindgen]
impl RouterObject {
    /// Called by `workers/entry` on first use.
    #[wasm_bindgen(constructor)]
    #[must_use]
    pub fn new(state: worker::worker_sys::DurableObjectState, _env: Env, _host: crate::Host) -> Self {
        let sql = State::from(state).storage().sql();
        Self { sql: AssertUnwindSafe(sql), directory: AssertUnwindSafe(RefCell::new(None)) }
    }

    /// Applies a packed batch.
    ///
    /// # Errors
    /// When the batch is unreadable or storage fails: the caller tries again.
    pub fn call(&self, batch: &[u8], _now: f64) -> Result<Vec<u8>, JsError> {
        let batch = Batch::decode(batch)?;
        let mut memory = self.directory.borrow_mut();
        let directory = match memory.as_mut() {
            Some(directory) => directory,
            None => memory.insert(self.restore().map_err(|error| JsError::new(&error.0))?),
        };
        let mut replies = Vec::with_capacity(batch.requests.len());
        for request in batch.requests {
            let reply = match (request, broker(batch.sender.as_ref())) {
                (Request::Router(request), Some((id, epoch))) => self.apply(directory, id, epoch, request),
                _ => Ok(Reply::Refused(Refusal::WrongClass)),
            };
            match reply {
                Ok(reply) => replies.push(reply),
                Err(error) => {
                    // Memory may be ahead of the rows now: it starts again from them.
                    *memory = None;
                    return Err(JsError::new(&error.0));
                }
            }
        }
        Ok(BatchReply { epoch: 0, replies }.encode()?)
    }

    /// A Router sets no alarm.
    pub fn alarm(&self, _now: f64) {}

    /// A Router asks for no tick.
    pub fn tick(&self, _now: f64) {}
}

impl RouterObject {
    fn restore(&self) -> Result<Directory, StorageError> {
        storage::run(&self.sql, SCHEMA, vec![])?;
        let mut subscriptions = Vec::new();
        for row in storage::rows(&self.sql, "SELECT region, broker, epoch, filter FROM subscriptions", vec![])? {
            let index = u32::try_from(number(&row, 1)?).unwrap_or(u32::MAX);
            let id = BrokerId { region: text(&row, 0)?.to_owned(), index };
            subscriptions.push((id, number(&row, 2)?, text(&row, 3)?.to_owned()));
        }
        Ok(Directory::restore(subscriptions))
    }

    fn apply(
        &self,
        directory: &mut Directory,
        broker: &BrokerId,
        epoch: u64,
        request: RouterRequest,
    ) -> Result<Reply, StorageError> {
        let changes = match request {
            RouterRequest::Route { topic } => return Ok(Reply::Route(directory.route(&topic))),
            RouterRequest::Subscribe { filter } => directory.subscribe(broker, epoch, &filter),
            RouterRequest::Unsubscribe { filter } => directory.unsubscribe(broker, epoch, &filter),
            RouterRequest::EpochStarted => directory.begin_epoch(broker, epoch),
        };
        for change in changes {
            self.store(change)?;
        }
        Ok(Reply::Applied)
    }

    fn store(&self, change: RowChange) -> Result<(), StorageError> {
        match change {
            RowChange::Put { broker, epoch, filter } => storage::run(
                &self.sql,
                "INSERT OR REPLACE INTO subscriptions (region, broker, filter, epoch) VALUES (?, ?, ?, ?)",
                vec![broker.region.into(), integer(broker.index.into()), filter.into(), integer(epoch)],
            ),
            RowChange::Delete { broker, filter } => storage::run(
                &self.sql,
                "DELETE FROM subscriptions WHERE region = ? AND broker = ? AND filter = ?",
                vec![broker.region.into(), integer(broker.index.into()), filter.into()],
            ),
            RowChange::DeleteAll { broker } => storage::run(
                &self.sql,
                "DELETE FROM subscriptions WHERE region = ? AND broker = ?",
                vec![broker.region.into(), integer(broker.index.into())],
            ),
        }
    }
}

/// The Broker that sent a batch, if one did.
pub fn broker(sender: Option<&Sender>) -> Option<(&BrokerId, u64)> {
    match sender {
        Some(Sender { address: Address::Broker(id), epoch, .. }) => Some((id, *epoch)),
        _ => None,
    }
}
