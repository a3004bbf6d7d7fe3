//! One node and scripted peers: the tests say what each object answers and see what each was asked.

mod authority;
mod budgets;
mod connecting;
mod direct;
mod durable;
mod forwarding;
mod ordering;
mod placement;
mod planning;
mod provisioning;
mod publishing;
mod retained;
mod sharing;
mod subscribing;
mod waking;

use crate::{
    Attachment, AuthenticationStep, AuthorityRequest, Broker, BrokerLimits, BrokerSettings, Input, LogEvent, Output,
};
use bytes::{Bytes, BytesMut};
use device_auth::access_key::AccessKeyId;
use device_auth::internal_header::ConnectionGrant;
use device_auth::principal::Principal;
use iot_types::{AccountId, ClientId, PacketId, Qos, Region, Scope, UnixMillis};
use messages::address::{Address, BrokerId, ShardMap};
use messages::api::{ApiFailure, BrokerApiReply};
use messages::broker::{BrokerRequest, ConnectionId, FenceReason};
use messages::channel::{Call, ChannelLimits};
use messages::codec::{Batch, BatchReply, Sender};
use messages::publication::Publication;
use messages::router::{Destination, NodeView, RetainedPage, RouterRequest};
use messages::session::{Claim, DisconnectReason, Grant, Outgoing};
use messages::sessions::{ClaimReply, ReceivedState, SessionsRequest, SharedReply};
use messages::{Refusal, Reply, Request};
use mqtt_codec::{
    Connect, ConnectProperties, Decoder, Disconnect, Packet, ProtocolVersion, PubAck, PubComp, PubRec, PubRel, Publish,
    PublishProperties, ReasonCode, RetainHandling, Subscribe, SubscribeProperties, SubscriptionRequest, Unsubscribe,
    encode,
};
use mqtt_session::SessionSettings;
use mqtt_topic::TopicLimits;
use mqtt_topic::node::{node_of, nodes_on_path};
use std::collections::{BTreeMap, BTreeSet};

const START: UnixMillis = UnixMillis(1_700_000_000_000);
const EPOCH: u64 = 3;

/// What an object answers to a request; `None` for what [`World::answer`] says.
type Script = Box<dyn FnMut(&Address, &Request) -> Option<Reply>>;

/// A node, its clients and its peers.
struct World {
    node: Broker,
    now: UnixMillis,
    sent: BTreeMap<ConnectionId, (Decoder, Vec<Packet>)>,
    closed: BTreeMap<ConnectionId, u16>,
    attachments: BTreeMap<ConnectionId, Vec<u8>>,
    /// Calls that nobody has answered.
    calls: Vec<Call>,
    /// Everything that objects were asked and that arrived.
    asked: Vec<(Address, Request)>,
    published: Vec<(u64, BrokerApiReply)>,
    enqueued: usize,
    /// How often the rules were asked for.
    rule_loads: usize,
    /// What devices that are being provisioned have asked for: the ticket, the client and the topic.
    provisioning: Vec<(u64, String, String)>,
    authentications: Vec<Output>,
    /// Questions about what clients may do that nobody has answered.
    authority_loads: Vec<Vec<AuthorityRequest>>,
    /// Policies that are kept with the node.
    policies: BTreeMap<u64, Vec<u8>>,
    logs: Vec<LogEvent>,
    is_stopped: bool,
    /// Who has which filters elsewhere.
    elsewhere: Vec<(String, Destination)>,
    script: Script,
    next_number: u64,
    next_batch: u64,
}

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn other_broker(index: u32) -> BrokerId {
    BrokerId { region: "home".into(), index }
}

fn settings(limits: BrokerLimits, session: SessionSettings, topics: TopicLimits) -> BrokerSettings {
    BrokerSettings {
        id: other_broker(0),
        router_shards: ShardMap::new(2),
        sessions_shards: ShardMap::new(2),
        scope: Scope {
            account_id: AccountId::new("123456789012").unwrap(),
            region: Region::new("eu-central-1").unwrap(),
        },
        session,
        topics,
        channels: ChannelLimits::default(),
        limits,
        authentication_methods: vec!["SCRAM".into()],
        sockets_outlive_memory: true,
    }
}

fn principal() -> Principal {
    Principal::RootKey { access_key_id: AccessKeyId::new("AKIDEXAMPLEEXAMPLE").unwrap() }
}

fn connect(client_id: &str) -> Connect {
    Connect {
        version: ProtocolVersion::V5,
        clean_start: true,
        keep_alive: 0,
        client_id: client_id.into(),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

/// A CONNECT whose session outlives its connection.
fn durable(client_id: &str) -> Connect {
    let properties = ConnectProperties { session_expiry_interval: Some(3_600), ..ConnectProperties::default() };
    Connect { clean_start: false, properties, ..connect(client_id) }
}

fn publish(topic: &str, payload: &str, qos: Qos, packet_id: u16) -> Packet {
    Packet::Publish(Publish {
        dup: false,
        qos,
        retain: false,
        topic: topic.into(),
        packet_id: PacketId::new(packet_id).filter(|_| qos > Qos::AtMostOnce),
        properties: PublishProperties::default().into(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    })
}

fn retained(topic: &str, payload: &str, qos: Qos, packet_id: u16) -> Packet {
    match publish(topic, payload, qos, packet_id) {
        Packet::Publish(publish) => Packet::Publish(Publish { retain: true, ..publish }),
        other => other,
    }
}

/// A message that another object was handed.
#[derive(Debug, PartialEq, Eq)]
struct Handed {
    topic: String,
    payload: Bytes,
}

/// The messages in a request to another Broker or a Sessions object.
fn handed_over(request: &Request) -> Vec<Handed> {
    match request {
        Request::Broker(BrokerRequest::DeliverPackets { packets }) => {
            let mut decoder = Decoder::restore(u32::MAX, Some(ProtocolVersion::V5), packets.clone());
            let packets = core::iter::from_fn(|| decoder.next_packet().unwrap());
            packets
                .map(|packet| match packet {
                    Packet::Publish(publish) => Handed { topic: publish.topic.to_string(), payload: publish.payload },
                    packet => panic!("{packet:?}"),
                })
                .collect()
        }
        Request::Broker(BrokerRequest::Deliver(publication))
        | Request::Sessions(SessionsRequest::Deliver { publication, .. }) => {
            vec![Handed { topic: publication.topic.clone(), payload: publication.payload.clone() }]
        }
        _ => Vec::new(),
    }
}

fn subscribe(packet_id: u16, filters: &[(&str, Qos)]) -> Packet {
    let filters = filters.iter().map(|(filter, qos)| SubscriptionRequest::new(*filter, *qos)).collect();
    Packet::Subscribe(Subscribe { packet_id: id(packet_id), filters, properties: SubscribeProperties::default() })
}

fn unsubscribe(packet_id: u16, filters: &[&str]) -> Packet {
    Packet::Unsubscribe(Unsubscribe {
        packet_id: id(packet_id),
        filters: filters.iter().map(|filter| (*filter).into()).collect(),
        user_properties: Default::default(),
    })
}

impl World {
    fn new() -> Self {
        Self::with(settings(BrokerLimits::STANDARD, SessionSettings::STANDARD, TopicLimits::STANDARD))
    }

    fn aws() -> Self {
        Self::with(settings(BrokerLimits::AWS, SessionSettings::AWS, TopicLimits::AWS))
    }

    fn with(settings: BrokerSettings) -> Self {
        let mut node = Broker::new(settings, EPOCH, START);
        node.handle(START, Input::RulesLoaded { sequence: 1, rules: Vec::new() });
        Self {
            node,
            now: START,
            sent: BTreeMap::new(),
            closed: BTreeMap::new(),
            attachments: BTreeMap::new(),
            calls: Vec::new(),
            asked: Vec::new(),
            published: Vec::new(),
            enqueued: 0,
            rule_loads: 0,
            provisioning: Vec::new(),
            authentications: Vec::new(),
            authority_loads: Vec::new(),
            policies: BTreeMap::new(),
            logs: Vec::new(),
            is_stopped: false,
            elsewhere: Vec::new(),
            script: Box::new(|_, _| None),
            next_number: START.0,
            next_batch: 1,
        }
    }

    /// From here on objects answer so, where the script has an answer.
    fn script(&mut self, script: impl FnMut(&Address, &Request) -> Option<Reply> + 'static) {
        self.script = Box::new(script);
    }

    fn unscript(&mut self) {
        self.script = Box::new(|_, _| None);
    }

    /// Somebody elsewhere has a filter.
    fn subscribe_elsewhere(&mut self, filter: &str, destination: Destination) {
        self.elsewhere.push((filter.to_owned(), destination));
    }

    fn input(&mut self, input: Input) {
        self.node.handle(self.now, input);
        self.flush();
    }

    fn flush(&mut self) {
        for output in self.node.flush(self.now) {
            match output {
                Output::Send { connection, bytes } => {
                    let (decoder, packets) = self.sent.get_mut(&connection).expect("a socket");
                    decoder.push(bytes);
                    while let Some(packet) = decoder.next_packet().expect("well-formed packets") {
                        packets.push(packet);
                    }
                }
                Output::Close { connection, code, .. } => {
                    self.closed.insert(connection, code);
                }
                Output::SaveAttachment { connection, bytes } => {
                    self.attachments.insert(connection, bytes);
                }
                Output::Call(call) => self.calls.push(call),
                Output::Published { request, outcome } => self.published.push((request, outcome)),
                Output::Enqueue { .. } => self.enqueued += 1,
                Output::LoadRules => self.rule_loads += 1,
                Output::Fence => {}
                Output::LoadAuthorities { requests } => self.authority_loads.push(requests),
                Output::SavePolicies { number, bytes } => {
                    self.policies.insert(number, bytes);
                }
                Output::ForgetPolicies { number } => {
                    self.policies.remove(&number).expect("it was kept");
                }
                Output::Log(event) => self.logs.push(event),
                Output::Stop => self.is_stopped = true,
                Output::Provision { ticket, client_id, topic, .. } => {
                    self.provisioning.push((ticket, client_id, topic))
                }
                other @ (Output::Authenticate { .. } | Output::AuthenticateEnhanced { .. }) => {
                    self.authentications.push(other);
                }
            }
        }
    }

    /// Answers one call, as the script or [`Self::answer`] says.
    fn answer_call(&mut self, call: Call) {
        let replies = call
            .batch
            .requests
            .iter()
            .map(|request| {
                self.asked.push((call.target.clone(), request.clone()));
                (self.script)(&call.target, request).unwrap_or_else(|| self.answer(request))
            })
            .collect();
        // Answers are those of the latest instances.
        self.input(Input::Answered { target: call.target, reply: Some(BatchReply { epoch: u64::MAX, replies }) });
    }

    /// Answers calls until there are none.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            if self.calls.is_empty() {
                return;
            }
            let call = self.calls.remove(0);
            self.answer_call(call);
        }
        panic!("it never ends: {:?}", self.calls);
    }

    /// What well-behaved objects answer.
    fn answer(&mut self, request: &Request) -> Reply {
        match request {
            Request::Router(RouterRequest::Lease { nodes }) => {
                Reply::Leases(nodes.iter().map(|node| self.view(node)).collect())
            }
            Request::Router(RouterRequest::Retained { .. }) => Reply::Retained(RetainedPage::default()),
            Request::Router(RouterRequest::DrainShared { .. }) => Reply::SharedQueue(Vec::new()),
            Request::Sessions(SessionsRequest::Claim { .. }) => {
                self.next_number += 1;
                Reply::Claim(ClaimReply::Granted(Box::new(self.grant_of(self.next_number))))
            }
            Request::Sessions(SessionsRequest::Receive { message_id, .. }) => {
                Reply::Received(ReceivedState { message_id: *message_id, is_settled: false })
            }
            Request::Broker(BrokerRequest::DeliverShared { .. })
            | Request::Sessions(SessionsRequest::DeliverShared { .. }) => Reply::Shared(SharedReply::Taken),
            _ => Reply::Applied,
        }
    }

    fn grant_of(&self, number: u64) -> Grant {
        Grant { number, session_present: false, subscriptions: BTreeMap::new() }
    }

    /// What a Router says of a node, from who has which filters elsewhere.
    fn view(&self, node: &str) -> NodeView {
        let mut filters: BTreeMap<String, Vec<Destination>> = BTreeMap::new();
        for (filter, destination) in self.elsewhere.iter().filter(|(filter, _)| node_of(filter) == node) {
            filters.entry(filter.clone()).or_default().push(destination.clone());
        }
        let is_below = |filter: &str| {
            let at = node_of(filter);
            at != node && nodes_on_path(at).any(|on_path| on_path == node)
        };
        NodeView {
            node: node.to_owned(),
            filters: filters.into_iter().collect(),
            has_filters_below: self.elsewhere.iter().any(|(filter, _)| is_below(filter)),
            is_large: false,
        }
    }

    // --- clients -------------------------------------------------------------------------------------------------

    fn open(&mut self, connection: u64) -> ConnectionId {
        self.open_as(connection, Some(principal()))
    }

    fn open_as(&mut self, connection: u64, principal: Option<Principal>) -> ConnectionId {
        let connection = ConnectionId(connection);
        self.sent.insert(connection, (Decoder::restore(u32::MAX, Some(ProtocolVersion::V5), Bytes::new()), Vec::new()));
        let grant = Box::new(ConnectionGrant {
            principal,
            source_ip: None,
            trace_id: format!("trace-{}", connection.0),
            host: "host".into(),
            ..ConnectionGrant::default()
        });
        self.input(Input::Opened { connection, grant });
        connection
    }

    fn frame(&mut self, connection: ConnectionId, packets: &[Packet]) {
        let mut bytes = BytesMut::new();
        packets.iter().for_each(|packet| encode(packet, ProtocolVersion::V5, &mut bytes));
        self.input(Input::Received { connection, bytes: bytes.freeze() });
    }

    /// Sends a packet and lets everything it causes happen.
    fn send(&mut self, connection: ConnectionId, packet: Packet) {
        self.frame(connection, &[packet]);
        self.settle();
    }

    /// A client that is connected.
    fn client(&mut self, connection: u64, connect: Connect) -> ConnectionId {
        let connection = self.open(connection);
        self.send(connection, Packet::Connect(Box::new(connect)));
        let packets = self.take(connection);
        assert!(
            matches!(&packets[..], [Packet::ConnAck(ack), ..] if ack.reason_code == ReasonCode::Success),
            "{packets:?}"
        );
        self.asked.clear();
        connection
    }

    /// What was sent to a client since the last time.
    fn take(&mut self, connection: ConnectionId) -> Vec<Packet> {
        core::mem::take(&mut self.sent.get_mut(&connection).unwrap().1)
    }

    /// Topic, payload, QoS and RETAIN of the messages among it.
    fn messages(&mut self, connection: ConnectionId) -> Vec<(String, String, u8, bool)> {
        self.take(connection)
            .into_iter()
            .filter_map(|packet| match packet {
                Packet::Publish(publish) => Some((
                    publish.topic.to_string(),
                    String::from_utf8(publish.payload.to_vec()).unwrap(),
                    publish.qos.bits(),
                    publish.retain,
                )),
                _ => None,
            })
            .collect()
    }

    /// The reason codes of the PUBACKs and PUBRECs sent to a client.
    fn acknowledged(&mut self, connection: ConnectionId) -> Vec<(u16, ReasonCode)> {
        self.take(connection)
            .into_iter()
            .filter_map(|packet| match packet {
                Packet::PubAck(ack) => Some((ack.packet_id.get(), ack.reason_code)),
                Packet::PubRec(ack) => Some((ack.packet_id.get(), ack.reason_code)),
                _ => None,
            })
            .collect()
    }

    /// The reason code that the connection ended with, if it did.
    fn ended(&mut self, connection: ConnectionId) -> Option<ReasonCode> {
        self.closed.get(&connection)?;
        self.take(connection).into_iter().find_map(|packet| match packet {
            Packet::Disconnect(disconnect) => Some(disconnect.reason_code),
            Packet::ConnAck(ack) => Some(ack.reason_code),
            _ => None,
        })
    }

    // --- other objects -------------------------------------------------------------------------------------------

    /// Another object asks, once.
    fn ask(&mut self, from: Address, request: BrokerRequest) -> Reply {
        self.next_batch += 1;
        let number = self.next_batch;
        let sender = Sender { address: from, epoch: 0, instance: 1, number };
        let batch = Batch { sender: Some(sender), requests: vec![Request::Broker(request)] };
        let reply = self.node.call(self.now, batch);
        self.flush();
        reply.replies.into_iter().next().unwrap()
    }

    /// What objects were asked that `find` finds, since the last time.
    fn asked<T>(&mut self, find: impl Fn(&Address, &Request) -> Option<T>) -> Vec<T> {
        core::mem::take(&mut self.asked).iter().filter_map(|(address, request)| find(address, request)).collect()
    }

    fn sessions(&self, client_id: &str) -> Address {
        Address::sessions_of_client(&ClientId::new(client_id).unwrap(), &ShardMap::new(2))
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
        self.input(Input::Tick);
        self.settle();
    }

    fn count_logs(&self, event: &str) -> usize {
        self.logs.iter().filter(|log| log.event == event).count()
    }
}
