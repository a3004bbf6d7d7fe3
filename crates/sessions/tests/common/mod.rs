//! One shard with Brokers and Routers that answer as they are told.

#![allow(dead_code, reason = "each test file uses its part")]

pub mod model;

use bytes::Bytes;
use iot_types::{ClientId, PacketId, Qos, UnixMillis};
use messages::address::{Address, BrokerId, ShardMap};
use messages::broker::{BrokerRequest, ConnectionId};
use messages::codec::{Batch, BatchReply, Sender};
use messages::publication::{MessageId, Publication};
use messages::router::{RetainedPage, RouterRequest};
use messages::session::{
    Acknowledgement, AcknowledgementKind, Claim, ConnectionDetails, DisconnectReason, Ending, Grant, Outgoing,
    SubscriptionOptions, WillMessage,
};
use messages::sessions::{ClaimReply, SessionsRequest};
use messages::{Reply, Request};
use sessions::{LogEvent, MemoryStore, SessionsShard, ShardSettings};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub struct World {
    pub now: UnixMillis,
    pub store: MemoryStore,
    pub shard: SessionsShard,
    pub settings: ShardSettings,
    /// What Brokers were told and the test has not taken.
    pub told: Vec<(u32, BrokerRequest)>,
    /// What Routers were asked.
    pub asked: Vec<RouterRequest>,
    /// Brokers that can't be reached.
    pub unreachable: BTreeSet<u32>,
    pub epochs: BTreeMap<u32, u64>,
    pub retained: VecDeque<RetainedPage>,
    pub queues: BTreeMap<String, Vec<(u64, Publication)>>,
    /// Answers to registrations; `Applied` unless said otherwise.
    pub router_answers: VecDeque<Reply>,
    /// What Brokers answer to the next wills and events; `Applied` unless said otherwise.
    pub announcement_answers: VecDeque<Reply>,
    pub log: Vec<LogEvent>,
    numbers: u64,
}

pub fn id(text: &str) -> ClientId {
    ClientId::new(text).unwrap()
}

pub fn packet(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

pub fn broker(index: u32) -> BrokerId {
    BrokerId { region: "home".into(), index }
}

pub fn clean() -> Claim {
    Claim {
        clean_start: true,
        session_expiry: 0,
        receive_maximum: 10,
        maximum_packet_size: None,
        will: None,
        details: Box::new(ConnectionDetails {
            principal: "p".into(),
            trace_id: "t".into(),
            source_ip: Some("192.0.2.1".into()),
            keep_alive: 60,
            is_v5: true,
        }),
    }
}

pub fn durable() -> Claim {
    Claim { clean_start: false, session_expiry: 600, ..clean() }
}

pub fn with_will(claim: Claim, delay: u32) -> Claim {
    let will = WillMessage {
        topic: "will".into(),
        payload: Bytes::from_static(b"gone"),
        qos: Qos::ExactlyOnce,
        retain: true,
        delay,
        properties: None,
    };
    Claim { will: Some(Box::new(will)), ..claim }
}

pub fn message(text: &str, qos: Qos) -> Publication {
    let mut publication = Publication::of_platform("a/b".into(), text.to_owned(), qos, UnixMillis(1_000_000));
    publication.client_id = Some("publisher".into());
    publication
}

/// With a name, for QoS 2.
pub fn once(text: &str, number: u64) -> Publication {
    Publication { message_id: Some(MessageId { origin: 1, number }), ..message(text, Qos::ExactlyOnce) }
}

pub fn at_most(qos: Qos) -> SubscriptionOptions {
    SubscriptionOptions { qos, ..SubscriptionOptions::default() }
}

pub fn ending(reason: DisconnectReason) -> Ending {
    Ending { reason, publishes_will: reason != DisconnectReason::ClientInitiated, session_expiry: None }
}

impl World {
    pub fn new() -> Self {
        Self::with(ShardSettings::default())
    }

    pub fn with(settings: ShardSettings) -> Self {
        let now = UnixMillis(1_000_000);
        Self {
            now,
            store: MemoryStore::default(),
            shard: SessionsShard::new(0, now, settings.clone(), ShardMap::new(1), ShardMap::new(1)),
            settings,
            told: Vec::new(),
            asked: Vec::new(),
            unreachable: BTreeSet::new(),
            epochs: BTreeMap::new(),
            retained: VecDeque::new(),
            queues: BTreeMap::new(),
            router_answers: VecDeque::new(),
            announcement_answers: VecDeque::new(),
            log: Vec::new(),
            numbers: 0,
        }
    }

    pub fn epoch(&self, index: u32) -> u64 {
        self.epochs.get(&index).copied().unwrap_or(1)
    }

    /// The shard loses its memory.
    pub fn restart(&mut self) {
        self.now = self.now.plus_millis(1);
        self.shard = SessionsShard::new(0, self.now, self.settings.clone(), ShardMap::new(1), ShardMap::new(1));
    }

    /// A batch as its Broker would send it.
    pub fn batch(&mut self, index: u32, requests: Vec<SessionsRequest>) -> Batch {
        self.numbers += 1;
        let sender = Sender {
            address: Address::Broker(broker(index)),
            epoch: self.epoch(index),
            instance: self.epoch(index),
            number: self.numbers,
        };
        Batch { sender: Some(sender), requests: requests.into_iter().map(Request::Sessions).collect() }
    }

    pub fn call(&mut self, batch: &Batch) -> BatchReply {
        let reply = self.shard.call(self.now, batch.clone(), &mut self.store).unwrap();
        self.log.extend(self.shard.take_log());
        reply
    }

    /// A Broker's request, without what follows from it.
    pub fn ask_only(&mut self, index: u32, request: SessionsRequest) -> Reply {
        let batch = self.batch(index, vec![request]);
        self.call(&batch).replies.remove(0)
    }

    pub fn ask(&mut self, index: u32, request: SessionsRequest) -> Reply {
        let reply = self.ask_only(index, request);
        self.run();
        reply
    }

    /// A question of the API.
    pub fn ask_api(&mut self, request: SessionsRequest) -> Reply {
        let batch = Batch { sender: None, requests: vec![Request::Sessions(request)] };
        let reply = self.call(&batch).replies.remove(0);
        self.run();
        reply
    }

    /// Makes calls until there are none.
    pub fn run(&mut self) {
        for _ in 0..1_000 {
            let calls = self.shard.calls(self.now, &mut self.store).unwrap();
            if calls.is_empty() {
                self.log.extend(self.shard.take_log());
                return;
            }
            for call in calls {
                // What goes between objects can be encoded.
                let batch = Batch::decode(&call.batch.encode().unwrap()).unwrap();
                let reply = self.receive(&call.target, batch);
                self.shard.answered(self.now, &call.target, reply, &mut self.store).unwrap();
            }
        }
        panic!("it never ends");
    }

    fn receive(&mut self, target: &Address, batch: Batch) -> Option<BatchReply> {
        let mut replies = Vec::new();
        let mut epoch = 0;
        for request in batch.requests {
            replies.push(match (target, request) {
                (Address::Broker(broker), Request::Broker(request)) => {
                    if self.unreachable.contains(&broker.index) {
                        return None;
                    }
                    epoch = self.epoch(broker.index);
                    let is_announcement = matches!(request, BrokerRequest::Announce { .. });
                    self.told.push((broker.index, request));
                    let answer = if is_announcement { self.announcement_answers.pop_front() } else { None };
                    answer.unwrap_or(Reply::Applied)
                }
                (Address::Router(_), Request::Router(request)) => {
                    self.asked.push(request.clone());
                    match request {
                        RouterRequest::Retained { .. } => {
                            Reply::Retained(self.retained.pop_front().unwrap_or_default())
                        }
                        RouterRequest::DrainShared { shared_filter, after } => {
                            let queue = self.queues.entry(shared_filter).or_default();
                            queue.retain(|(place, _)| *place > after);
                            Reply::SharedQueue(queue.iter().take(3).cloned().collect())
                        }
                        RouterRequest::Subscribe { .. } | RouterRequest::Mark { .. } => {
                            self.router_answers.pop_front().unwrap_or(Reply::Applied)
                        }
                        _ => Reply::Applied,
                    }
                }
                (target, request) => panic!("{target}: {request:?}"),
            });
        }
        Some(BatchReply { epoch, replies })
    }

    /// Time passes, and the shard does what it said would be due.
    pub fn pass(&mut self, millis: u64) {
        let end = self.now.plus_millis(millis);
        loop {
            let next = self.shard.next_timeout().into_iter().chain(self.shard.next_alarm()).min();
            match next.filter(|next| *next <= end) {
                Some(next) => self.now = next.max(self.now.plus_millis(1)),
                None => break,
            }
            self.run();
        }
        self.now = end.max(self.now);
        self.run();
    }

    pub fn claim(&mut self, index: u32, client: &str, connection: u64, claim: Claim) -> Reply {
        let connection = ConnectionId(connection);
        self.ask(index, SessionsRequest::Claim { client_id: id(client), connection, claim: Box::new(claim) })
    }

    /// A claim that is granted at once or after a fence.
    pub fn connect(&mut self, index: u32, client: &str, connection: u64, claim: Claim) -> Grant {
        match self.claim(index, client, connection, claim) {
            Reply::Claim(ClaimReply::Granted(grant)) => *grant,
            Reply::Claim(ClaimReply::Pending) => {
                let decided = self.told.iter().rev().find_map(|(to, request)| match request {
                    BrokerRequest::ClaimDecided { connection: of, grant: Some(grant) }
                        if *to == index && of.0 == connection =>
                    {
                        Some((**grant).clone())
                    }
                    _ => None,
                });
                decided.unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn release(&mut self, index: u32, client: &str, number: u64, reason: DisconnectReason) -> Reply {
        self.ask(index, SessionsRequest::Release { client_id: id(client), number, ending: ending(reason) })
    }

    pub fn subscribe(
        &mut self,
        index: u32,
        client: &str,
        number: u64,
        filters: &[(&str, SubscriptionOptions)],
    ) -> Reply {
        let filters = filters.iter().map(|(filter, options)| ((*filter).to_owned(), *options, false)).collect();
        self.ask(index, SessionsRequest::Subscribe { client_id: id(client), number, packet_id: packet(9), filters })
    }

    pub fn deliver(&mut self, publication: Publication, ticket: u64) -> Reply {
        self.ask(7, SessionsRequest::Deliver { publication, ticket: Some(ticket) })
    }

    pub fn acknowledge(&mut self, index: u32, client: &str, number: u64, what: &[(u16, AcknowledgementKind)]) -> Reply {
        let acknowledgements =
            what.iter().map(|(value, kind)| Acknowledgement { packet_id: packet(*value), kind: *kind }).collect();
        self.ask(index, SessionsRequest::Acknowledge { client_id: id(client), number, acknowledgements })
    }

    /// A durable session on Broker 0 that is subscribed to `a/#`.
    pub fn subscriber(&mut self, client: &str, qos: Qos) -> u64 {
        let number = self.connect(0, client, 1, durable()).number;
        self.subscribe(0, client, number, &[("a/#", at_most(qos))]);
        self.told.clear();
        number
    }

    /// The packets that Brokers were given, in short, and forgets what they were told.
    pub fn packets(&mut self) -> Vec<String> {
        let mut packets = Vec::new();
        for (_, request) in std::mem::take(&mut self.told) {
            if let BrokerRequest::Send { packets: sent, .. } = request {
                packets.extend(sent.iter().map(short));
            }
        }
        packets
    }

    /// Publishers' parts that are settled, and forgets them.
    pub fn settled(&mut self) -> Vec<(u64, bool)> {
        let mut settled = Vec::new();
        self.told.retain(|(_, request)| match request {
            BrokerRequest::Settled { tickets } => {
                settled.extend(tickets.clone());
                false
            }
            _ => true,
        });
        settled
    }

    /// Wills and events that were published, and forgets them.
    pub fn published(&mut self) -> Vec<Publication> {
        let mut published = Vec::new();
        self.told.retain(|(_, request)| match request {
            BrokerRequest::Announce { publication, .. } => {
                published.push(publication.clone());
                false
            }
            _ => true,
        });
        published
    }

    /// Those that wait for `Announced`, by their tickets: the Broker that was told of each and its topic. Forgets them.
    pub fn announced(&mut self) -> Vec<(u32, String, u64)> {
        let mut announced = Vec::new();
        self.told.retain(|(index, request)| match request {
            BrokerRequest::Announce { publication, ticket } => {
                announced.push((*index, publication.topic.clone(), *ticket));
                false
            }
            _ => true,
        });
        announced
    }

    pub fn published_topics(&mut self) -> Vec<String> {
        self.published().into_iter().map(|publication| publication.topic).collect()
    }

    /// Rows that `what` writes.
    pub fn rows(&mut self, what: impl FnOnce(&mut Self)) -> u64 {
        let before = self.store.rows_written();
        what(self);
        self.store.rows_written() - before
    }
}

pub fn short(packet: &Outgoing) -> String {
    match packet {
        Outgoing::Publish { packet_id, dup, qos, retain, publication, subscription_identifiers } => {
            let payload = String::from_utf8_lossy(&publication.payload).into_owned();
            let id = packet_id.map_or(String::new(), |id| format!(" #{}", id.get()));
            let dup = if *dup { " dup" } else { "" };
            let retain = if *retain { " retain" } else { "" };
            let ids = if subscription_identifiers.is_empty() {
                String::new()
            } else {
                format!(" {subscription_identifiers:?}")
            };
            format!("{payload} q{}{id}{dup}{retain}{ids}", qos.bits())
        }
        Outgoing::PubRel { packet_id, is_unknown } => {
            format!("pubrel #{}{}", packet_id.get(), if *is_unknown { " unknown" } else { "" })
        }
    }
}
