//! What each packet means in each phase, with one body for both versions of the protocol.

mod aliases;
mod authentication;
mod closing;
mod conformance;
mod connect;
mod deliver;
mod durable;
mod limits;
mod properties;
mod publish;
mod qos2;
mod sleep;
mod subscribe;

use super::*;
use crate::io::{AcceptedSession, Disconnection};
use crate::{Delivery, RateLimit, WillMessage};
use iot_types::Qos;
use messages::publication::{MessageId, Publication, PublicationProperties};
use messages::session::{ConnectionDetails, DisconnectReason};
use mqtt_codec::{
    AckProperties, Auth, AuthProperties, ConnAck, ConnAckProperties, Connect, ConnectProperties, DecodeError,
    Disconnect, PacketType, PubAck, PubComp, PubRec, PubRel, Publish, PublishProperties, SubAck, Subscribe,
    SubscribeProperties, SubscriptionRequest, UnsubAck, Unsubscribe, UserProperties, Will, WillProperties,
};
use std::rc::Rc;

const V3_1_1: ProtocolVersion = ProtocolVersion::V3_1_1;
const V5: ProtocolVersion = ProtocolVersion::V5;
const VERSIONS: [ProtocolVersion; 2] = [V3_1_1, V5];
const START: UnixMillis = UnixMillis(1_700_000_000_000);
const STANDARD: SessionSettings = SessionSettings::STANDARD;

/// A session, and the client and the broker at its two ends.
struct Connection {
    session: Session,
    now: UnixMillis,
}

impl Connection {
    fn opened(settings: SessionSettings) -> Self {
        Self { session: Session::new(settings, START), now: START }
    }

    /// CONNECT was sent and waits for the broker.
    fn connecting(settings: SessionSettings, connect: Connect) -> Self {
        let mut connection = Self::opened(settings);
        let out = connection.packet(Packet::Connect(Box::new(connect.clone())));
        assert_eq!(out, [Output::Connect(Box::new(connect))]);
        connection
    }

    fn connected(version: ProtocolVersion) -> Self {
        Self::connected_with(STANDARD, connect(version))
    }

    fn connected_with(settings: SessionSettings, connect: Connect) -> Self {
        let mut connection = Self::connecting(settings, connect);
        let out = connection.accept();
        assert!(matches!(out[..], [Output::Send(Packet::ConnAck(_))]), "{out:?}");
        connection
    }

    /// A durable session, as its Sessions shard granted it.
    fn durable(version: ProtocolVersion) -> Self {
        Self::durable_with(STANDARD, connect_durably(version))
    }

    fn durable_with(settings: SessionSettings, connect: Connect) -> Self {
        let mut connection = Self::connecting(settings, connect);
        let out = connection.input(accepted(durable_session()));
        assert!(matches!(out[..], [Output::Send(Packet::ConnAck(_))]), "{out:?}");
        connection
    }

    fn accept(&mut self) -> Vec<Output> {
        self.input(accepted(AcceptedSession::default()))
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        let mut out = Vec::new();
        self.session.handle(self.now, input, &mut out);
        out
    }

    fn packet(&mut self, packet: Packet) -> Vec<Output> {
        self.input(Input::Packet(packet))
    }

    fn acknowledge(&mut self, packet_id: u16) -> Vec<Output> {
        self.packet(Packet::PubAck(PubAck::new(id(packet_id))))
    }

    fn settle(&mut self, packet_id: u16, reason_code: ReasonCode) -> Vec<Output> {
        self.input(Input::Settled { packet_id: id(packet_id), reason_code })
    }

    fn pubrec(&mut self, packet_id: u16, reason_code: ReasonCode) -> Vec<Output> {
        self.packet(Packet::PubRec(PubRec::with_reason(id(packet_id), reason_code)))
    }

    fn pubrel(&mut self, packet_id: u16) -> Vec<Output> {
        self.packet(Packet::PubRel(PubRel::new(id(packet_id))))
    }

    fn pubcomp(&mut self, packet_id: u16) -> Vec<Output> {
        self.packet(Packet::PubComp(PubComp::new(id(packet_id))))
    }

    fn deliver(&mut self, delivery: Delivery) -> Vec<Output> {
        self.input(Input::Deliver(delivery))
    }

    fn wait(&mut self, millis: u64) -> Vec<Output> {
        self.now = self.now.plus_millis(millis);
        self.input(Input::Tick)
    }
}

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

fn accepted(session: AcceptedSession) -> Input {
    Input::Accepted { client_id: ClientId::new("c").unwrap(), assigned: false, session, authentication_data: None }
}

fn durable_session() -> AcceptedSession {
    AcceptedSession { is_durable: true, session_expiry: 600, ..AcceptedSession::default() }
}

/// A CONNECT for a session that outlives its connection.
fn connect_durably(version: ProtocolVersion) -> Connect {
    let mut connect = Connect { clean_start: false, ..connect(version) };
    connect.properties.session_expiry_interval = (version == V5).then_some(600);
    connect
}

fn connect(version: ProtocolVersion) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        client_id: "c".into(),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

/// A CONNECT of MQTT 5.0 with these properties.
fn connect_with(properties: ConnectProperties) -> Connect {
    Connect { properties, ..connect(V5) }
}

fn will() -> Will {
    Will {
        qos: Qos::AtLeastOnce,
        retain: false,
        topic: "last".into(),
        payload: "words".into(),
        properties: WillProperties::default(),
    }
}

fn will_message() -> WillMessage {
    WillMessage {
        topic: "last".into(),
        payload: "words".into(),
        qos: Qos::AtLeastOnce,
        retain: false,
        delay: 0,
        properties: None,
    }
}

/// A PUBLISH from the client; QoS 1 if it has a packet identifier.
fn publish(packet_id: Option<u16>) -> Publish {
    Publish {
        dup: false,
        qos: if packet_id.is_some() { Qos::AtLeastOnce } else { Qos::AtMostOnce },
        retain: false,
        topic: "t".into(),
        packet_id: packet_id.map(id),
        properties: PublishProperties::default().into(),
        payload: "p".into(),
    }
}

/// A PUBLISH of QoS 2 from the client.
fn publish_2(packet_id: u16) -> Publish {
    Publish { qos: Qos::ExactlyOnce, ..publish(Some(packet_id)) }
}

fn subscribe(packet_id: u16, filters: &[&str]) -> Subscribe {
    Subscribe {
        packet_id: id(packet_id),
        filters: filters.iter().map(|filter| SubscriptionRequest::new(*filter, Qos::AtLeastOnce)).collect(),
        properties: SubscribeProperties::default(),
    }
}

fn unsubscribe(packet_id: u16, filters: &[&str]) -> Unsubscribe {
    let filters = filters.iter().map(|filter| (*filter).into()).collect();
    Unsubscribe { packet_id: id(packet_id), filters, user_properties: UserProperties::new() }
}

fn options(qos: Qos) -> SubscriptionOptions {
    SubscriptionOptions { qos, no_local: false, retain_as_published: false, subscription_identifier: None }
}

/// A message for the client.
fn delivery(topic: &str, qos: Qos) -> Delivery {
    Delivery {
        publication: Rc::new(Publication::of_platform(topic.into(), "p", qos, START)),
        qos,
        retain: false,
        subscription_identifiers: Vec::new(),
    }
}

fn with_properties(mut delivery: Delivery, properties: PublicationProperties) -> Delivery {
    Rc::get_mut(&mut delivery.publication).unwrap().properties = Some(Box::new(properties));
    delivery
}

fn expiring(topic: &str, secs: u32) -> Delivery {
    let properties = PublicationProperties { message_expiry_interval: Some(secs), ..PublicationProperties::default() };
    with_properties(delivery(topic, Qos::AtLeastOnce), properties)
}

/// The topics and packet identifiers of the PUBLISHes among the outputs, which hold nothing else.
fn deliveries(out: &[Output]) -> Vec<(String, Option<u16>)> {
    let publish = |output: &Output| match output {
        Output::Send(Packet::Publish(publish)) => (publish.topic.to_string(), publish.packet_id.map(PacketId::get)),
        other => panic!("not a PUBLISH: {other:?}"),
    };
    out.iter().map(publish).collect()
}

/// An acknowledgement with this code, and in MQTT 5.0 with its text if it is an error.
fn said(version: ProtocolVersion, reason_code: ReasonCode) -> AckProperties {
    let reason_string = (version == V5 && reason_code.is_error()).then(|| reason_code.text().into());
    AckProperties { reason_string, ..AckProperties::default() }
}

fn puback(packet_id: u16, reason_code: ReasonCode) -> Output {
    let properties = said(V5, reason_code);
    Output::Send(Packet::PubAck(PubAck { packet_id: id(packet_id), reason_code, properties }))
}

fn pubrec(packet_id: u16, reason_code: ReasonCode) -> Output {
    let properties = said(V5, reason_code);
    Output::Send(Packet::PubRec(PubRec { packet_id: id(packet_id), reason_code, properties }))
}

fn pubrel(packet_id: u16, version: ProtocolVersion, reason_code: ReasonCode) -> Output {
    let properties = said(version, reason_code);
    Output::Send(Packet::PubRel(PubRel { packet_id: id(packet_id), reason_code, properties }))
}

fn pubcomp(packet_id: u16, version: ProtocolVersion, reason_code: ReasonCode) -> Output {
    let properties = said(version, reason_code);
    Output::Send(Packet::PubComp(PubComp { packet_id: id(packet_id), reason_code, properties }))
}

/// One packet of each type but CONNECT; without AUTH, which the codec refuses there, in MQTT 3.1.1.
fn packets_after_connect(version: ProtocolVersion) -> Vec<Packet> {
    let mut packets = vec![
        Packet::ConnAck(Box::new(ConnAck {
            session_present: false,
            reason_code: ReasonCode::Success,
            properties: ConnAckProperties::default(),
        })),
        Packet::Publish(publish(Some(1))),
        Packet::PubAck(PubAck::new(id(1))),
        Packet::PubRec(PubRec::new(id(1))),
        Packet::PubRel(PubRel::new(id(1))),
        Packet::PubComp(PubComp::new(id(1))),
        Packet::Subscribe(subscribe(1, &["t"])),
        Packet::SubAck(SubAck { packet_id: id(1), reason_codes: vec![], properties: AckProperties::default() }),
        Packet::Unsubscribe(unsubscribe(1, &["t"])),
        Packet::UnsubAck(UnsubAck { packet_id: id(1), reason_codes: vec![], properties: AckProperties::default() }),
        Packet::PingReq,
        Packet::PingResp,
        Packet::Disconnect(Disconnect::default()),
    ];
    if version == V5 {
        packets.push(Packet::Auth(Auth::default()));
    }
    packets
}

/// The server ended a connection in use: MQTT 5.0 is told why, MQTT 3.1.1 has no packet for it.
#[track_caller]
fn check_ended(out: &[Output], version: ProtocolVersion, code: ReasonCode, clause: &str) -> Disconnection {
    let (last, told) = out.split_last().expect("the connection was not ended");
    let Output::Close(ended) = last else { panic!("the connection was not ended: {out:?}") };
    assert_eq!((ended.reason_code, ended.client_initiated), (code, false), "{ended:?}");
    assert!(ended.reason.contains(clause), "{:?} does not cite {clause}", ended.reason);
    let expected = match version {
        V3_1_1 => Vec::new(),
        V5 => {
            let mut disconnect = Disconnect::new(code);
            disconnect.properties.reason_string = Some(ended.reason.into());
            vec![Output::Send(Packet::Disconnect(disconnect))]
        }
    };
    assert_eq!(told, expected);
    ended.clone()
}

/// The server refused the CONNECT; the clause is told in MQTT 5.0.
#[track_caller]
fn check_refused(out: &[Output], version: ProtocolVersion, code: ReasonCode, clause: &str) {
    let [Output::Send(Packet::ConnAck(connack)), Output::Close(ended)] = out else {
        panic!("the CONNECT was not refused: {out:?}")
    };
    let reason_string = (version == V5).then(|| ended.reason.into());
    let properties = ConnAckProperties { reason_string, ..ConnAckProperties::default() };
    assert_eq!(*connack, Box::new(ConnAck { session_present: false, reason_code: code, properties }));
    assert!(ended.reason.contains(clause), "{:?} does not cite {clause}", ended.reason);
    assert_eq!((ended.reason_code, ended.publishes_will, &ended.client_id), (code, false, &None));
}
