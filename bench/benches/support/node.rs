//! The Broker, and whoever answers it.

use broker::{Broker, BrokerLimits, BrokerSettings, Input, Output, StoredRule};
use bytes::{Bytes, BytesMut};
use device_auth::access_key::AccessKeyId;
use device_auth::internal_header::ConnectionGrant;
use device_auth::principal::Principal;
use iot_types::{AccountId, PacketId, Qos, Region, Scope, UnixMillis};
use messages::address::{BrokerId, ShardMap};
use messages::broker::ConnectionId;
use messages::channel::{Call, ChannelLimits};
use messages::codec::BatchReply;
use messages::router::{Destination, NodeView, RetainedPage, RouterRequest};
use messages::session::Grant;
use messages::sessions::{ClaimReply, SessionsRequest};
use messages::{Reply, Request};
use mqtt_codec::{
    Connect, ConnectProperties, Decoder, Packet, ProtocolVersion, ReasonCode, Subscribe, SubscribeProperties,
    SubscriptionRequest, encode,
};
use mqtt_session::SessionSettings;
use mqtt_topic::TopicLimits;
use mqtt_topic::node::{node_of, nodes_on_path};
use std::collections::{BTreeMap, BTreeSet};

const START: UnixMillis = UnixMillis(1_700_000_000_000);
/// Of the clock, while the node comes to rest.
const TICK_MILLIS: u64 = 250;
/// Of a SUBSCRIBE.
const FILTERS: usize = 100;

/// A node with clients.
pub struct Node {
    broker: Broker,
    /// Stands still during turns: what comes back with time, such as the renewal of leases, is not measured.
    now: UnixMillis,
    id: BrokerId,
    next_connection: u64,
    /// Its clients' filters by the place in the routing tree that has them, as Routers would know.
    filters: BTreeMap<String, BTreeSet<String>>,
}

impl Node {
    /// With these rules, which every Broker has been told.
    pub fn new(rules: Vec<StoredRule>) -> Self {
        let id = BrokerId { region: "home".into(), index: 0 };
        let settings = BrokerSettings {
            id: id.clone(),
            router_shards: ShardMap::new(2),
            sessions_shards: ShardMap::new(2),
            scope: Scope {
                account_id: AccountId::new("123456789012").expect("twelve digits"),
                region: Region::new("eu-central-1").expect("a region"),
            },
            session: SessionSettings::STANDARD,
            topics: TopicLimits::STANDARD,
            channels: ChannelLimits::default(),
            // these clients never say anything of their own
            limits: BrokerLimits { maximum_unheard_bytes: usize::MAX, ..BrokerLimits::STANDARD },
            authentication_methods: Vec::new(),
            sockets_outlive_memory: true,
        };
        let mut broker = Broker::new(settings, 1, START);
        broker.handle(START, Input::RulesLoaded { sequence: 1, rules });
        Self { broker, now: START, id, next_connection: 1, filters: BTreeMap::new() }
    }

    /// A client that is connected.
    pub fn client(&mut self, version: ProtocolVersion) -> ConnectionId {
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        let access_key_id = AccessKeyId::new("AKIDEXAMPLEEXAMPLE").expect("an access key");
        let grant = Box::new(ConnectionGrant {
            principal: Some(Principal::RootKey { access_key_id }),
            source_ip: None,
            trace_id: "trace".into(),
            host: "host".into(),
            ..ConnectionGrant::default()
        });
        self.broker.handle(self.now, Input::Opened { connection, grant });
        let connect = Packet::Connect(Box::new(Connect {
            version,
            clean_start: true,
            keep_alive: 0,
            client_id: format!("client-{}", connection.0).into(),
            will: None,
            username: None,
            password: None,
            properties: ConnectProperties::default(),
        }));
        let answers = self.exchange(connection, version, &connect);
        let [Packet::ConnAck(ack)] = answers.as_slice() else { panic!("no CONNACK: {answers:?}") };
        assert_eq!(ack.reason_code, ReasonCode::Success);
        connection
    }

    /// Subscribes it.
    pub fn subscribe(&mut self, connection: ConnectionId, version: ProtocolVersion, filters: &[String], qos: Qos) {
        for filter in filters {
            self.filters.entry(node_of(filter).to_owned()).or_default().insert(filter.clone());
        }
        for filters in filters.chunks(FILTERS) {
            let filters = filters.iter().map(|filter| SubscriptionRequest::new(filter.as_str(), qos)).collect();
            let packet_id = PacketId::new(1).expect("not zero");
            let subscribe = Subscribe { packet_id, filters, properties: SubscribeProperties::default() };
            let answers = self.exchange(connection, version, &Packet::Subscribe(subscribe));
            let [Packet::SubAck(ack)] = answers.as_slice() else { panic!("no SUBACK: {answers:?}") };
            assert!(ack.reason_code_is(qos), "refused: {:?}", ack.reason_codes);
        }
    }

    /// What leaves when this comes in: the hot path, with nothing around it.
    pub fn frame(&mut self, connection: ConnectionId, bytes: Bytes) -> Vec<Output> {
        self.broker.handle(self.now, Input::Received { connection, bytes });
        self.broker.flush(self.now)
    }

    /// The queue has taken what it was given.
    pub fn enqueued(&mut self) -> Vec<Output> {
        self.broker.handle(self.now, Input::Enqueued { accepted: true });
        self.broker.flush(self.now)
    }

    /// Lets everything that is under way come to its end.
    pub fn rest(&mut self) {
        while !self.broker.is_at_rest() {
            self.now = self.now.plus_millis(TICK_MILLIS);
            assert!(self.now.millis_since(START) < 60_000, "it does not come to rest");
            self.broker.handle(self.now, Input::Tick);
            let outputs = self.broker.flush(self.now);
            self.settle(outputs);
        }
    }

    /// Lets this frame come in and everything happen that follows from it, so that the node knows who wants what.
    pub fn warm_up(&mut self, connection: ConnectionId, bytes: Bytes) {
        let outputs = self.frame(connection, bytes);
        self.settle(outputs);
    }

    /// Sends a packet and answers what comes back for the same client.
    fn exchange(&mut self, connection: ConnectionId, version: ProtocolVersion, packet: &Packet) -> Vec<Packet> {
        let mut bytes = BytesMut::new();
        encode(packet, version, &mut bytes);
        let outputs = self.frame(connection, bytes.freeze());
        let mut decoder = Decoder::restore(u32::MAX, Some(version), Bytes::new());
        let mut packets = Vec::new();
        for (to, bytes) in self.settle(outputs) {
            if to == connection {
                decoder.push(bytes);
                while let Some(packet) = decoder.next_packet().expect("well-formed packets") {
                    packets.push(packet);
                }
            }
        }
        packets
    }

    /// Answers calls until there are none. What was sent meanwhile.
    fn settle(&mut self, outputs: Vec<Output>) -> Vec<(ConnectionId, Bytes)> {
        let mut sent = Vec::new();
        let mut waiting = outputs;
        while !waiting.is_empty() {
            for output in core::mem::take(&mut waiting) {
                match output {
                    Output::Send { connection, bytes } => sent.push((connection, bytes)),
                    Output::Call(call) => {
                        let answer = self.answer(call);
                        self.broker.handle(self.now, answer);
                        waiting.extend(self.broker.flush(self.now));
                    }
                    Output::Enqueue { .. } => waiting.extend(self.enqueued()),
                    Output::Fence | Output::SaveAttachment { .. } | Output::Log(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        sent
    }

    fn answer(&self, call: Call) -> Input {
        let replies = call.batch.requests.iter().map(|request| self.reply(request)).collect();
        Input::Answered { target: call.target, reply: Some(BatchReply { epoch: 1, replies }) }
    }

    fn reply(&self, request: &Request) -> Reply {
        match request {
            Request::Router(RouterRequest::Lease { nodes }) => {
                Reply::Leases(nodes.iter().map(|node| self.view(node)).collect())
            }
            Request::Router(RouterRequest::Retained { .. }) => Reply::Retained(RetainedPage::default()),
            Request::Sessions(SessionsRequest::Claim { .. }) => {
                let grant =
                    Grant { number: self.next_connection, session_present: false, subscriptions: BTreeMap::new() };
                Reply::Claim(ClaimReply::Granted(Box::new(grant)))
            }
            _ => Reply::Applied,
        }
    }

    fn view(&self, node: &str) -> NodeView {
        let destinations = vec![Destination::Broker(self.id.clone())];
        let filters = self.filters.get(node).into_iter().flatten().map(|filter| (filter.clone(), destinations.clone()));
        let is_below = |other: &str| other != node && nodes_on_path(other).any(|on_path| on_path == node);
        NodeView {
            node: node.to_owned(),
            filters: filters.collect(),
            has_filters_below: self.filters.keys().any(|other| is_below(other)),
            is_large: false,
        }
    }
}

trait Granted {
    fn reason_code_is(&self, qos: Qos) -> bool;
}

impl Granted for mqtt_codec::SubAck {
    fn reason_code_is(&self, qos: Qos) -> bool {
        self.reason_codes.iter().all(|code| *code as u8 == qos.bits())
    }
}
