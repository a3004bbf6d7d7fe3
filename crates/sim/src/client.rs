//! A minimal MQTT client, in both versions of the protocol. One value is one connection.

use crate::record::{Stamp, Subscription, Waiting};
use bytes::{Bytes, BytesMut};
use iot_types::{PacketId, Qos, UnixMillis};
use messages::broker::ConnectionId;
use messages::session::Ending;
use mqtt_codec::{
    AckProperties, Connect, ConnectProperties, Decoder, Packet, ProtocolVersion, PubAck, PubComp, PubRec, PubRel,
    ReasonCode, Will, WillProperties, encode,
};
use std::collections::{BTreeMap, BTreeSet};

/// Names a connection of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientKey(pub usize);

/// How a client connects.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Client Identifier.
    pub client_id: String,
    /// The Broker that the gateway chose.
    pub broker: u32,
    /// The version it speaks.
    pub version: ProtocolVersion,
    /// Keep Alive in seconds.
    pub keep_alive: u16,
    /// Whether it sends PINGREQs in time.
    pub pings: bool,
    /// Whether it acknowledges what it gets.
    pub acknowledges: bool,
    /// Receive Maximum; MQTT 5.0 only.
    pub receive_maximum: Option<u16>,
    /// Whether the session there is shall be forgotten. One that outlives its connection is otherwise taken up again.
    pub clean_start: bool,
    /// Seconds that the session outlives the connection; with MQTT 3.1.1 only whether it does.
    pub session_expiry: u32,
    /// Topic, payload and QoS of the Will Message.
    pub will: Option<(String, String, Qos)>,
    /// The Will Message's RETAIN flag.
    pub will_retain: bool,
    /// Will Delay Interval in seconds; MQTT 5.0 only.
    pub will_delay: u32,
    /// User name and password, where the upgrade proved nothing.
    pub credentials: Option<(String, String)>,
}

impl ClientOptions {
    /// A client of MQTT 5.0 without keep-alive that answers everything.
    #[must_use]
    pub fn new(client_id: &str, broker: u32) -> Self {
        Self {
            client_id: client_id.to_owned(),
            broker,
            version: ProtocolVersion::V5,
            keep_alive: 0,
            pings: true,
            acknowledges: true,
            receive_maximum: None,
            clean_start: true,
            session_expiry: 0,
            will: None,
            will_retain: false,
            will_delay: 0,
            credentials: None,
        }
    }

    /// The same in MQTT 3.1.1.
    #[must_use]
    pub const fn v3(mut self) -> Self {
        self.version = ProtocolVersion::V3_1_1;
        self
    }

    /// The same with a session that outlives its connections by a day, and that is taken up again.
    #[must_use]
    pub const fn durable(mut self) -> Self {
        self.clean_start = false;
        self.session_expiry = 86_400;
        self
    }

    /// Whether the session outlives the connection.
    #[must_use]
    pub const fn is_durable(&self) -> bool {
        self.session_expiry > 0
    }

    /// Milliseconds between the end of the connection and its will ([MQTT-3.1.3-9]): the Will Delay Interval, or the end
    /// of the session if that is earlier.
    #[must_use]
    pub fn will_delay_millis(&self) -> u64 {
        let is_v5 = self.version == ProtocolVersion::V5;
        if is_v5 { u64::from(self.will_delay.min(self.session_expiry)) * 1_000 } else { 0 }
    }

    pub(crate) fn connect_packet(&self) -> Packet {
        let is_v5 = self.version == ProtocolVersion::V5;
        let properties = ConnectProperties {
            receive_maximum: self.receive_maximum,
            session_expiry_interval: (is_v5 && self.is_durable()).then_some(self.session_expiry),
            ..ConnectProperties::default()
        };
        Packet::Connect(Box::new(Connect {
            version: self.version,
            clean_start: if is_v5 { self.clean_start } else { !self.is_durable() },
            keep_alive: self.keep_alive,
            client_id: self.client_id.as_str().into(),
            will: self.will.as_ref().map(|(topic, payload, qos)| Will {
                qos: *qos,
                retain: self.will_retain,
                topic: topic.as_str().into(),
                payload: Bytes::from(payload.clone()),
                properties: WillProperties {
                    will_delay_interval: (is_v5 && self.will_delay > 0).then_some(self.will_delay),
                    ..WillProperties::default()
                },
            }),
            username: self.credentials.as_ref().map(|(name, _)| name.as_str().into()),
            password: self.credentials.as_ref().map(|(_, password)| Bytes::from(password.clone())),
            properties,
        }))
    }
}

/// A message that came.
#[derive(Clone, Debug)]
pub struct Received {
    /// When.
    pub stamp: Stamp,
    /// Where it was published.
    pub topic: String,
    /// Payload, as text.
    pub payload: String,
    /// The QoS it came with.
    pub qos: Qos,
    /// The RETAIN flag it came with.
    pub retain: bool,
    /// The DUP flag it came with.
    pub dup: bool,
}

/// What is known of a connection from what the platform's objects said to each other and from what physically happened,
/// in simulated time.
#[derive(Clone, Debug, Default)]
pub struct Overheard {
    /// Its Sessions shard granted its claim.
    pub granted: Option<Granted>,
    /// It was granted once more by a shard that had forgotten: a late copy of its claim arrived.
    pub is_granted_again: bool,
    /// Its Sessions shard took the word of its Broker that it had ended.
    pub released: Option<(UnixMillis, Ending)>,
    /// Its Sessions shard asked for its end, for the first time.
    pub fenced_at: Option<UnixMillis>,
    /// All of its DISCONNECT reached a Broker that still had the connection.
    pub disconnect_arrived_at: Option<UnixMillis>,
    /// Its Broker was lost with it, or replaced.
    pub lost_at: Option<UnixMillis>,
}

/// A claim that was granted.
#[derive(Clone, Copy, Debug)]
pub struct Granted {
    /// When.
    pub at: UnixMillis,
    /// The number that it was granted with.
    pub number: u64,
    /// Whether it took up a session.
    pub session_present: bool,
}

/// What a client keeps of a session over its connections (MQTT 5.0 section 4.1).
#[derive(Debug)]
pub struct Memory {
    /// Publishes of QoS 1 and 2 that are not done, in the order they were sent.
    pub unacknowledged: Vec<Unacknowledged>,
    /// Packet identifiers of messages of QoS 2 that came and have not been released.
    pub unreleased: BTreeSet<PacketId>,
    next_packet_id: PacketId,
}

/// A publish of QoS 1 or 2 that is not done.
#[derive(Clone, Copy, Debug)]
pub struct Unacknowledged {
    /// Its packet identifier.
    pub packet_id: PacketId,
    /// Its number among all publishes.
    pub number: usize,
    /// Whether PUBREC has come.
    pub is_received: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Self { unacknowledged: Vec::new(), unreleased: BTreeSet::new(), next_packet_id: PacketId::FIRST }
    }
}

/// One connection, as its client sees it.
#[derive(Debug)]
pub struct Client {
    /// How it connected.
    pub options: ClientOptions,
    /// The answer to CONNECT.
    pub connack: Option<ReasonCode>,
    /// What a DISCONNECT from the server said.
    pub disconnect: Option<ReasonCode>,
    /// When the connection ended for the client.
    pub ended: Option<Stamp>,
    /// Messages, in the order they came.
    pub received: Vec<Received>,
    /// All subscriptions it ever asked for.
    pub subscriptions: Vec<Subscription>,
    /// Every packet that came, by kind and in order; for tests of order.
    pub log: Vec<String>,
    /// When CONNECT left.
    pub opened_at: UnixMillis,
    /// When its Broker accepted it.
    pub accepted_at: Option<UnixMillis>,
    /// The DISCONNECT that it sent.
    pub disconnected: Option<ReasonCode>,
    /// What its server's objects said of it.
    pub overheard: Overheard,
    /// When the connection ended for its Broker.
    pub server_ended_at: Option<UnixMillis>,
    /// The longest that it waited for an answer, in milliseconds, and for what.
    pub longest_wait: (u64, Option<Waiting>),
    /// All waits of more than ten seconds, in milliseconds.
    pub long_waits: Vec<(u64, Waiting)>,
    /// The instance of its Broker.
    pub(crate) node: u32,
    pub(crate) connection: ConnectionId,
    pub(crate) waiting: BTreeMap<Waiting, UnixMillis>,
    pub(crate) sending: BytesMut,
    pub(crate) upstream_free: UnixMillis,
    /// Frames on their way to the Broker.
    pub(crate) upstream_pieces: u64,
    pub(crate) downstream_free: UnixMillis,
    /// The connection whose session this one may take up again.
    pub before: Option<ClientKey>,
    /// Session Present of the CONNACK.
    pub session_present: Option<bool>,
    pub(crate) memory: Memory,
    decoder: Decoder,
}

impl Client {
    pub(crate) fn new(options: ClientOptions, node: u32, connection: ConnectionId, now: UnixMillis) -> Self {
        let decoder = Decoder::restore(16 * 1024 * 1024, Some(options.version), Bytes::new());
        Self {
            options,
            connack: None,
            disconnect: None,
            ended: None,
            received: Vec::new(),
            subscriptions: Vec::new(),
            log: Vec::new(),
            opened_at: now,
            accepted_at: None,
            disconnected: None,
            overheard: Overheard::default(),
            upstream_pieces: 0,
            server_ended_at: None,
            longest_wait: (0, None),
            long_waits: Vec::new(),
            node,
            connection,
            waiting: BTreeMap::new(),
            sending: BytesMut::new(),
            upstream_free: now,
            downstream_free: now,
            before: None,
            session_present: None,
            memory: Memory::default(),
            decoder,
        }
    }

    /// Whether CONNACK has come and the connection lives.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connack == Some(ReasonCode::Success) && self.ended.is_none()
    }

    /// Whether something has no answer yet.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.ended.is_none() && !self.waiting.is_empty()
    }

    /// The payloads that came, in order.
    #[must_use]
    pub fn payloads(&self) -> Vec<&str> {
        self.received.iter().map(|received| received.payload.as_str()).collect()
    }

    pub(crate) fn packet_id(&mut self) -> PacketId {
        loop {
            let id = self.memory.next_packet_id;
            self.memory.next_packet_id = id.next();
            let kinds = [Waiting::Subscribe(id), Waiting::Unsubscribe(id), Waiting::Publish(id)];
            let is_in_use = kinds.iter().any(|kind| self.waiting.contains_key(kind))
                || self.memory.unacknowledged.iter().any(|publish| publish.packet_id == id);
            if !is_in_use {
                return id;
            }
        }
    }

    pub(crate) fn write(&mut self, packet: &Packet) {
        encode(packet, self.options.version, &mut self.sending);
    }

    /// Takes a frame and returns its packets.
    pub(crate) fn read(&mut self, bytes: Bytes) -> Result<Vec<Packet>, String> {
        let mut packets = Vec::new();
        self.decoder.push(bytes);
        loop {
            match self.decoder.next_packet() {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => return Ok(packets),
                Err(error) => return Err(format!("{}: the server sent nonsense: {error}", self.options.client_id)),
            }
        }
    }

    pub(crate) fn answered(&mut self, what: Waiting, now: UnixMillis) {
        if let Some(since) = self.waiting.remove(&what) {
            let waited = now.millis_since(since);
            if waited > self.longest_wait.0 {
                self.longest_wait = (waited, Some(what));
            }
            if waited > 10_000 {
                self.long_waits.push((waited, what));
            }
        }
    }

    /// Answers a PUBLISH.
    pub(crate) fn acknowledge(&mut self, packet_id: PacketId, qos: Qos) {
        let (reason_code, properties) = (ReasonCode::Success, AckProperties::default());
        let answer = if qos == Qos::ExactlyOnce {
            Packet::PubRec(PubRec { packet_id, reason_code, properties })
        } else {
            Packet::PubAck(PubAck { packet_id, reason_code, properties })
        };
        self.write(&answer);
    }

    /// Answers a PUBREC.
    pub(crate) fn release(&mut self, packet_id: PacketId) {
        let (reason_code, properties) = (ReasonCode::Success, AckProperties::default());
        self.write(&Packet::PubRel(PubRel { packet_id, reason_code, properties }));
    }

    /// Answers a PUBREL.
    pub(crate) fn complete(&mut self, packet_id: PacketId) {
        self.memory.unreleased.remove(&packet_id);
        let (reason_code, properties) = (ReasonCode::Success, AckProperties::default());
        self.write(&Packet::PubComp(PubComp { packet_id, reason_code, properties }));
    }
}
