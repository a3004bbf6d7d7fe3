//! Router and Sessions shards with their rows, as their objects run them.

use crate::settings::Sabotage;
use iot_types::{ClientId, UnixMillis};
use messages::address::{Address, BrokerId};
use messages::channel::ChannelLimits;
use messages::codec::{Batch, BatchReply, Sender};
use messages::router::RouterRequest;
use messages::sessions::SessionsRequest;
use messages::{Refusal, Reply, Request};
use mqtt_session::claims::Holder;
use mqtt_session::{RowEffect, SessionsShard};
use routing::{Directory, RowChange};
use std::collections::BTreeMap;

/// A Router shard: memory and the rows that it comes back from.
#[derive(Debug, Default)]
pub struct Router {
    directory: Option<Directory>,
    rows: BTreeMap<(BrokerId, String), u64>,
}

impl Router {
    pub fn restart(&mut self) {
        self.directory = None;
    }

    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    pub fn call(&mut self, batch: &Batch, sabotage: Option<Sabotage>) -> BatchReply {
        let rows = &self.rows;
        let directory = self.directory.get_or_insert_with(|| {
            Directory::restore(rows.iter().map(|((broker, filter), epoch)| (broker.clone(), *epoch, filter.clone())))
        });
        let mut replies = Vec::new();
        for request in &batch.requests {
            let (Request::Router(request), Some((broker, epoch))) = (request, broker(batch.sender.as_ref())) else {
                replies.push(Reply::Refused(Refusal::WrongClass));
                continue;
            };
            let changes = match request {
                RouterRequest::Route { topic } => {
                    replies.push(Reply::Route(directory.route(topic)));
                    continue;
                }
                RouterRequest::Subscribe { .. } if sabotage == Some(Sabotage::SubscriptionsAreNotStored) => Vec::new(),
                RouterRequest::Subscribe { filter } => directory.subscribe(broker, epoch, filter),
                RouterRequest::Unsubscribe { filter } => directory.unsubscribe(broker, epoch, filter),
                RouterRequest::EpochStarted => directory.begin_epoch(broker, epoch),
            };
            replies.push(Reply::Applied);
            if sabotage == Some(Sabotage::RowsAreNotWritten) {
                continue;
            }
            for change in changes {
                match change {
                    RowChange::Put { broker, epoch, filter } => {
                        self.rows.insert((broker, filter), epoch);
                    }
                    RowChange::Delete { broker, filter } => {
                        self.rows.remove(&(broker, filter));
                    }
                    RowChange::DeleteAll { broker } => self.rows.retain(|(of, _), _| *of != broker),
                }
            }
        }
        BatchReply { epoch: 0, replies }
    }
}

/// A Sessions shard: memory and the rows that it comes back from.
#[derive(Debug)]
pub struct Sessions {
    pub shard: SessionsShard,
    pub rows: BTreeMap<ClientId, Holder>,
    /// Counts the memories, so that an answer meant for an earlier one finds nobody.
    pub life: u64,
    /// The timer that counts; earlier ones are void.
    pub timer: u64,
}

impl Sessions {
    pub fn new(index: u32, now: UnixMillis, limits: ChannelLimits) -> Self {
        let shard = SessionsShard::new(Address::Sessions(index), now, limits);
        Self { shard, rows: BTreeMap::new(), life: 0, timer: 0 }
    }

    pub fn restart(&mut self, index: u32, now: UnixMillis, limits: ChannelLimits) {
        self.shard = SessionsShard::new(Address::Sessions(index), now, limits);
        self.life += 1;
        self.timer += 1;
    }

    pub fn call(&mut self, now: UnixMillis, batch: &Batch) -> BatchReply {
        let mut replies = Vec::new();
        for request in &batch.requests {
            let (Request::Sessions(request), Some(sender)) = (request, broker(batch.sender.as_ref())) else {
                replies.push(Reply::Refused(Refusal::WrongClass));
                continue;
            };
            let (SessionsRequest::Claim { client_id, .. } | SessionsRequest::Release { client_id, .. }) = request;
            let current = self.rows.get(client_id).cloned();
            let (effect, reply) = self.shard.request(now, sender, request, current);
            match effect {
                RowEffect::Keep => {}
                RowEffect::Put(holder) => {
                    self.rows.insert(client_id.clone(), holder);
                }
                RowEffect::Delete => {
                    self.rows.remove(client_id);
                }
            }
            replies.push(reply);
        }
        BatchReply { epoch: 0, replies }
    }
}

fn broker(sender: Option<&Sender>) -> Option<(&BrokerId, u64)> {
    match sender {
        Some(Sender { address: Address::Broker(id), epoch, .. }) => Some((id, *epoch)),
        _ => None,
    }
}
