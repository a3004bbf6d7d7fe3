//! Router and Sessions shards with their rows, as their objects run them.

use crate::sabotage::SabotagedStore;
use crate::settings::Sabotage;
use iot_types::UnixMillis;
use messages::address::{Address, ShardMap};
use messages::channel::Call;
use messages::codec::{Batch, BatchReply};
use messages::router::RouterRequest;
use messages::{Reply, Request};
use routing::{RouterSettings, RouterShard, RouterStore, StoreError as RouterStoreError};
use sessions::{Failing, SessionsShard, ShardSettings};
use std::collections::BTreeMap;

/// A Router shard: memory and the rows that it comes back from.
pub struct Router {
    number: u32,
    shards: ShardMap,
    settings: RouterSettings,
    memory: Option<RouterShard>,
    rows: Rows,
    /// Counts the memories, so that an answer meant for an earlier one finds nobody.
    pub life: u64,
    /// The timer that counts; earlier ones are void.
    pub timer: u64,
}

/// Rows by key.
#[derive(Default)]
struct Rows {
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    written: u64,
    /// Bytes of the largest row since [`Router::take_row_bytes`], and of all.
    largest: usize,
    bytes: u64,
    /// Writes that are confirmed and not done.
    forgets: bool,
    /// The next write fails.
    fails: bool,
}

impl Router {
    pub fn new(number: u32, shards: ShardMap, settings: RouterSettings) -> Self {
        Self { number, shards, settings, memory: None, rows: Rows::default(), life: 0, timer: 0 }
    }

    pub fn restart(&mut self) {
        self.memory = None;
        self.life += 1;
        self.timer += 1;
    }

    /// Rows of subscriptions.
    pub fn row_count(&self) -> usize {
        self.rows.rows.keys().filter(|key| key.first() == Some(&b'S')).count()
    }

    /// The next write fails.
    pub const fn fail_next(&mut self) {
        self.rows.fails = true;
    }

    /// Rows written so far.
    pub const fn rows_written(&self) -> u64 {
        self.rows.written
    }

    /// Bytes of the largest row written since the last time, and of all rows.
    pub const fn take_row_bytes(&mut self) -> (usize, u64) {
        (core::mem::replace(&mut self.rows.largest, 0), self.rows.bytes)
    }

    pub fn is_at_rest(&self) -> bool {
        self.memory.as_ref().is_none_or(RouterShard::is_at_rest)
    }

    pub fn next_timeout(&self) -> Option<UnixMillis> {
        self.memory.as_ref()?.next_timeout()
    }

    fn memory(&mut self, now: UnixMillis) -> (&mut RouterShard, &mut Rows) {
        let memory =
            self.memory.get_or_insert_with(|| RouterShard::new(self.number, self.shards.count(), now, self.settings));
        (memory, &mut self.rows)
    }

    pub fn call(&mut self, now: UnixMillis, mut batch: Batch, sabotage: Option<Sabotage>) -> Option<BatchReply> {
        let mut pretended = Vec::new();
        if sabotage == Some(Sabotage::SubscriptionsAreNotStored) {
            let is_subscribe = |request: &Request| matches!(request, Request::Router(RouterRequest::Subscribe { .. }));
            pretended = batch.requests.iter().map(is_subscribe).collect();
            batch.requests.retain(|request| !is_subscribe(request));
        }
        self.rows.forgets = sabotage == Some(Sabotage::RowsAreNotWritten);
        let (memory, rows) = self.memory(now);
        let mut reply = memory.call(now, &batch, rows).ok()?;
        if !pretended.is_empty() {
            let mut real = reply.replies.into_iter();
            let replies = pretended.iter().filter_map(|p| if *p { Some(Reply::Applied) } else { real.next() });
            reply.replies = replies.collect();
        }
        Some(reply)
    }

    pub fn calls(&mut self, now: UnixMillis) -> Vec<Call> {
        let (memory, rows) = self.memory(now);
        let _ = memory.timeout(now, rows);
        memory.calls(now)
    }

    pub fn answered(&mut self, now: UnixMillis, target: &Address, reply: Option<BatchReply>) {
        let (memory, rows) = self.memory(now);
        let _ = memory.answered(now, target, reply, rows);
    }
}

impl RouterStore for Rows {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, RouterStoreError> {
        Ok(self.rows.get(key).cloned())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), RouterStoreError> {
        self.written += 1;
        if core::mem::take(&mut self.fails) {
            return Err(RouterStoreError("as asked for".to_owned()));
        }
        if !self.forgets {
            let bytes = key.len() + value.len();
            self.largest = self.largest.max(bytes);
            let before = self.rows.insert(key.to_vec(), value.to_vec());
            let freed = before.map_or(0, |before| key.len() + before.len());
            self.bytes = (self.bytes + bytes as u64).saturating_sub(freed as u64);
        }
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), RouterStoreError> {
        self.written += 1;
        let freed = self.rows.remove(key).map_or(0, |before| key.len() + before.len());
        self.bytes = self.bytes.saturating_sub(freed as u64);
        Ok(())
    }

    fn scan(&mut self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, RouterStoreError> {
        let rows = self.rows.range(from.to_vec()..to.to_vec());
        Ok(rows.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn scan_keys(&mut self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, RouterStoreError> {
        Ok(self.rows.range(from.to_vec()..to.to_vec()).take(limit).map(|(key, _)| key.clone()).collect())
    }
}

/// A Sessions shard: memory and the rows that it comes back from.
pub struct Sessions {
    number: u32,
    shards: ShardMap,
    routers: ShardMap,
    settings: ShardSettings,
    memory: Option<SessionsShard>,
    rows: SabotagedStore,
    /// Counts the memories, so that an answer meant for an earlier one finds nobody.
    pub life: u64,
    /// The timer that counts; earlier ones are void.
    pub timer: u64,
}

impl Sessions {
    pub fn new(
        number: u32,
        shards: ShardMap,
        routers: ShardMap,
        settings: ShardSettings,
        sabotage: Option<Sabotage>,
    ) -> Self {
        let rows = SabotagedStore::new(sabotage);
        Self { number, shards, routers, settings, memory: None, rows, life: 0, timer: 0 }
    }

    pub fn restart(&mut self) {
        self.memory = None;
        self.life += 1;
        self.timer += 1;
    }

    /// The next transaction fails, whether it has written or not.
    pub const fn fail_next(&mut self, failing: Failing) {
        self.rows.rows.fail_next(failing);
    }

    pub const fn rows_written(&self) -> u64 {
        self.rows.rows.rows_written()
    }

    /// Bytes of the largest row written since the last time, and of all rows as they were lately.
    pub const fn take_row_bytes(&mut self) -> (usize, u64) {
        (core::mem::replace(&mut self.rows.largest, 0), self.rows.bytes)
    }

    pub fn is_at_rest(&self) -> bool {
        self.memory.as_ref().is_none_or(SessionsShard::is_at_rest)
    }

    /// When the object looks again: its timer, or its alarm.
    pub fn next_time(&self) -> Option<UnixMillis> {
        let memory = self.memory.as_ref()?;
        memory.next_timeout().into_iter().chain(memory.next_alarm()).min()
    }

    /// Runs one of the shard's functions; after a failure of its storage the memory is gone.
    pub fn with<T>(
        &mut self,
        now: UnixMillis,
        act: impl FnOnce(&mut SessionsShard, &mut SabotagedStore) -> Result<T, sessions::StoreError>,
    ) -> Option<T> {
        let memory = self.memory.get_or_insert_with(|| {
            SessionsShard::new(self.number, now, self.settings.clone(), self.shards.clone(), self.routers.clone())
        });
        let result = act(memory, &mut self.rows);
        if result.is_err() {
            self.restart();
        }
        result.ok()
    }

    pub fn call(&mut self, now: UnixMillis, batch: &Batch) -> Option<BatchReply> {
        self.with(now, |shard, rows| shard.call(now, batch.clone(), rows))
    }

    pub fn calls(&mut self, now: UnixMillis) -> Vec<Call> {
        self.with(now, |shard, rows| shard.calls(now, rows)).unwrap_or_default()
    }

    pub fn answered(&mut self, now: UnixMillis, target: &Address, reply: Option<BatchReply>) {
        self.with(now, |shard, rows| shard.answered(now, target, reply, rows));
    }
}
