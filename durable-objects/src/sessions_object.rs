//! `Sessions`: a shard of the client ids, which decides who may have which.
//!
//! **State**: one row for each connected client id: its Broker, connection and number. Claims that wait for an older
//! connection are in memory only; losing them costs the waiting client another try.
//! **Called by**: Brokers. **Calls**: Brokers, to close connections and to decide claims, never before it returns.
//! **Why it is atomic**: `call` never awaits; a claim's row is written before its reply exists.
//! **Woken by**: calls, and a timer while a claim waits.

use crate::host::Host;
use crate::outgoing::{Caller, from_js, pump};
use crate::router_object::broker;
use crate::storage::{self, StorageError, integer, number, text};
use iot_types::{ClientId, UnixMillis};
use messages::address::{Address, BrokerId};
use messages::broker::ConnectionId;
use messages::channel::{Call, ChannelLimits};
use messages::codec::{Batch, BatchReply};
use messages::sessions::SessionsRequest;
use messages::{Refusal, Reply, Request};
use mqtt_session::claims::Holder;
use mqtt_session::{RowEffect, SessionsShard};
use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use worker::{Env, SqlStorage, State};

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS clients (
    client_id TEXT PRIMARY KEY, region TEXT NOT NULL, broker INTEGER NOT NULL, epoch INTEGER NOT NULL,
    connection INTEGER NOT NULL, number INTEGER NOT NULL) WITHOUT ROWID";

/// The Rust half of a Sessions shard.
#[wasm_bindgen]
pub struct SessionsObject {
    inner: AssertUnwindSafe<Rc<Inner>>,
}

struct Inner {
    sql: SqlStorage,
    host: Host,
    shard: RefCell<SessionsShard>,
}

#[wasm_bindgen]
impl SessionsObject {
    /// Called by `workers/entry` on first use.
    ///
    /// # Errors
    /// When storage fails.
    #[wasm_bindgen(constructor)]
    pub fn new(state: worker::worker_sys::DurableObjectState, _env: Env, host: Host) -> Result<Self, JsError> {
        let state = State::from(state);
        let sql = state.storage().sql();
        storage::run(&sql, SCHEMA, vec![]).map_err(|error| JsError::new(&error.0))?;
        let number = state.id().name().as_deref().and_then(|name| name.strip_prefix("sessions/")?.parse().ok());
        let address = Address::Sessions(number.ok_or(JsError::new("not a Sessions shard's name"))?);
        let shard = SessionsShard::new(address, crate::outgoing::now_millis(), ChannelLimits::default());
        Ok(Self { inner: AssertUnwindSafe(Rc::new(Inner { sql, host, shard: RefCell::new(shard) })) })
    }

    /// Applies a packed batch.
    ///
    /// # Errors
    /// When the batch is unreadable or storage fails: the caller tries again.
    pub fn call(&self, batch: &[u8], now: f64) -> Result<Vec<u8>, JsError> {
        let batch = Batch::decode(batch)?;
        let now = from_js(now);
        let mut replies = Vec::with_capacity(batch.requests.len());
        for request in &batch.requests {
            let reply = match (request, broker(batch.sender.as_ref())) {
                (Request::Sessions(request), Some(sender)) => {
                    self.inner.apply(now, sender, request).map_err(|error| JsError::new(&error.0))?
                }
                _ => Reply::Refused(Refusal::WrongClass),
            };
            replies.push(reply);
        }
        pump(&self.inner, now);
        Ok(BatchReply { epoch: 0, replies }.encode()?)
    }

    /// A Sessions shard sets no alarm.
    pub fn alarm(&self, _now: f64) {}

    /// A claim has waited long enough, or a call is to be tried again.
    pub fn tick(&self, now: f64) {
        pump(&self.inner, from_js(now));
    }
}

impl Inner {
    fn apply(
        &self,
        now: UnixMillis,
        sender: (&BrokerId, u64),
        request: &SessionsRequest,
    ) -> Result<Reply, StorageError> {
        let (SessionsRequest::Claim { client_id, .. } | SessionsRequest::Release { client_id, .. }) = request;
        let current = self.holder(client_id)?;
        let (effect, reply) = self.shard.borrow_mut().request(now, sender, request, current);
        match effect {
            RowEffect::Keep => {}
            RowEffect::Put(holder) => storage::run(
                &self.sql,
                "INSERT OR REPLACE INTO clients (client_id, region, broker, epoch, connection, number)
                 VALUES (?, ?, ?, ?, ?, ?)",
                vec![
                    client_id.as_str().into(),
                    holder.broker.region.into(),
                    integer(holder.broker.index.into()),
                    integer(holder.epoch),
                    integer(holder.connection.0),
                    integer(holder.number),
                ],
            )?,
            RowEffect::Delete => {
                storage::run(&self.sql, "DELETE FROM clients WHERE client_id = ?", vec![client_id.as_str().into()])?;
            }
        }
        Ok(reply)
    }

    fn holder(&self, client_id: &ClientId) -> Result<Option<Holder>, StorageError> {
        let statement = "SELECT region, broker, epoch, connection, number FROM clients WHERE client_id = ?";
        let rows = storage::rows(&self.sql, statement, vec![client_id.as_str().into()])?;
        let Some(row) = rows.first() else { return Ok(None) };
        let index = u32::try_from(number(row, 1)?).unwrap_or(u32::MAX);
        Ok(Some(Holder {
            broker: BrokerId { region: text(row, 0)?.to_owned(), index },
            epoch: number(row, 2)?,
            connection: ConnectionId(number(row, 3)?),
            number: number(row, 4)?,
        }))
    }
}

impl Caller for Inner {
    fn calls(&self, now: UnixMillis) -> Vec<Call> {
        self.shard.borrow_mut().calls(now)
    }

    fn answered(&self, now: UnixMillis, target: &Address, reply: Option<BatchReply>) {
        self.shard.borrow_mut().answered(now, target, reply);
    }

    fn next_timeout(&self) -> Option<UnixMillis> {
        self.shard.borrow().next_timeout()
    }

    fn host(&self) -> &Host {
        &self.host
    }
}
