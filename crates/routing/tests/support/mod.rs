//! Rows in memory, and shorthands.
#![allow(dead_code)]

use iot_types::{Qos, UnixMillis};
use messages::address::{Address, BrokerId};
use messages::codec::{Batch, Sender};
use messages::publication::Publication;
use messages::router::RouterRequest;
use messages::{Reply, Request};
use routing::{RouterShard, RouterStore, Row, StoreError};
use std::collections::BTreeMap;

/// A store whose next operations may fail.
#[derive(Clone, Debug, Default)]
pub struct MapStore {
    pub rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Operations that still succeed; then one fails.
    pub fails_after: Option<u32>,
    /// Rows of this table are not kept.
    pub loses: Option<u8>,
    /// Rows written and deleted.
    pub writes: u32,
    /// Values read.
    pub reads: usize,
}

impl MapStore {
    fn operate(&mut self) -> Result<(), StoreError> {
        match &mut self.fails_after {
            Some(0) => {
                self.fails_after = None;
                Err(StoreError("on purpose".into()))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn range(&self, from: &[u8], to: &[u8]) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
        self.rows.range(from.to_vec()..to.max(from).to_vec())
    }

    pub fn count(&self, table: u8) -> usize {
        self.rows.keys().filter(|key| key[0] == table).count()
    }
}

impl RouterStore for MapStore {
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.operate()?;
        self.reads += 1;
        Ok(self.rows.get(key).cloned())
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.operate()?;
        self.writes += 1;
        if self.loses != Some(key[0]) {
            self.rows.insert(key.to_vec(), value.to_vec());
        }
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.operate()?;
        self.writes += 1;
        self.rows.remove(key);
        Ok(())
    }

    fn scan(&mut self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError> {
        self.operate()?;
        let rows = self.range(from, to).take(limit);
        let rows: Vec<Row> = rows.map(|(key, value)| (key.clone(), value.clone())).collect();
        self.reads += rows.len();
        Ok(rows)
    }

    fn scan_keys(&mut self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.operate()?;
        Ok(self.range(from, to).take(limit).map(|(key, _)| key.clone()).collect())
    }
}

pub fn broker_id(index: u32) -> BrokerId {
    BrokerId { region: "home".into(), index }
}

pub fn message(topic: &str, payload: &str, now: UnixMillis) -> Publication {
    Publication::of_platform(topic.into(), payload.to_owned(), Qos::AtLeastOnce, now)
}

/// Calls a Router as one sender after the other.
pub struct Caller {
    pub address: Address,
    pub epoch: u64,
    pub instance: u64,
    pub number: u64,
}

impl Caller {
    pub fn broker(index: u32) -> Self {
        Self { address: Address::Broker(broker_id(index)), epoch: 1, instance: 1, number: 0 }
    }

    pub fn sessions(shard: u32) -> Self {
        Self { address: Address::Sessions(shard), epoch: 0, instance: 1, number: 0 }
    }

    pub fn batch(&mut self, requests: Vec<RouterRequest>) -> Batch {
        self.number += 1;
        let sender =
            Sender { address: self.address.clone(), epoch: self.epoch, instance: self.instance, number: self.number };
        Batch { sender: Some(sender), requests: requests.into_iter().map(Request::Router).collect() }
    }

    pub fn ask(&mut self, now: u64, request: RouterRequest, router: &mut RouterShard, store: &mut MapStore) -> Reply {
        let batch = self.batch(vec![request]);
        router.call(UnixMillis(now), &batch, store).unwrap().replies.remove(0)
    }
}
