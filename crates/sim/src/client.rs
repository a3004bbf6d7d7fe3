//! A minimal MQTT client, in both versions of the protocol. One value is one connection.

use crate::record::{Stamp, Subscription, Waiting};
use bytes::{Bytes, BytesMut};
use iot_types::{PacketId, Qos, UnixMillis};
use messages::broker::ConnectionId;
use mqtt_codec::{
    AckProperties, Connect, ConnectProperties, Decoder, Packet, ProtocolVersion, PubAck, ReasonCode, Will,
    WillProperties, encode,
};
use std::collections::BTreeMap;

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
    /// Topic, payload and QoS of the Will Message.
    pub will: Option<(String, String, Qos)>,
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
            will: None,
            credentials: None,
        }
    }

    /// The same in MQTT 3.1.1.
    #[must_use]
    pub const fn v3(mut self) -> Self {
        self.version = ProtocolVersion::V3_1_1;
        self
    }

    pub(crate) fn connect_packet(&self) -> Packet {
        let properties = ConnectProperties { receive_maximum: self.receive_maximum, ..ConnectProperties::default() };
        Packet::Connect(Connect {
            version: self.version,
            clean_start: true,
            keep_alive: self.keep_alive,
            client_id: self.client_id.as_str().into(),
            will: self.will.as_ref().map(|(topic, payload, qos)| Will {
                qos: *qos,
                retain: false,
                topic: topic.as_str().into(),
                payload: Bytes::from(payload.clone()),
                properties: WillProperties::default(),
            }),
            username: self.credentials.as_ref().map(|(name, _)| name.as_str().into()),
            password: self.credentials.as_ref().map(|(_, password)| Bytes::from(password.clone())),
            properties,
        })
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
    /// When the connection ended for its Broker.
    pub server_ended_at: Option<UnixMillis>,
    /// The longest that it waited for an answer, in milliseconds, and for what.
    pub longest_wait: (u64, Option<Waiting>),
    pub(crate) connection: ConnectionId,
    pub(crate) waiting: BTreeMap<Waiting, UnixMillis>,
    pub(crate) sending: BytesMut,
    pub(crate) upstream_free: UnixMillis,
    pub(crate) downstream_free: UnixMillis,
    decoder: Decoder,
    next_packet_id: PacketId,
}

impl Client {
    pub(crate) fn new(options: ClientOptions, connection: ConnectionId, now: UnixMillis) -> Self {
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
            server_ended_at: None,
            longest_wait: (0, None),
            connection,
            waiting: BTreeMap::new(),
            sending: BytesMut::new(),
            upstream_free: now,
            downstream_free: now,
            decoder,
            next_packet_id: PacketId::FIRST,
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
            let id = self.next_packet_id;
            self.next_packet_id = id.next();
            let kinds = [Waiting::Subscribe(id), Waiting::Unsubscribe(id), Waiting::Publish(id)];
            if kinds.iter().all(|kind| !self.waiting.contains_key(kind)) {
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
        }
    }

    pub(crate) fn acknowledge(&mut self, packet_id: PacketId) {
        let properties = AckProperties::default();
        self.write(&Packet::PubAck(PubAck { packet_id, reason_code: ReasonCode::Success, properties }));
    }
}
