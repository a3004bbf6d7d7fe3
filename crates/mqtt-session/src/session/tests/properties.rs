//! Whatever comes, in whatever order: nothing panics and the rules between packets hold.

use super::*;
use bytes::BytesMut;
use messages::session::Outgoing;
use mqtt_codec::{Decoder, encode};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use std::collections::{BTreeMap, VecDeque};

/// Small enough for random inputs to reach every limit.
const SETTINGS: SessionSettings = SessionSettings {
    receive_maximum: 3,
    maximum_inflight: 3,
    maximum_queued_messages: 3,
    maximum_early_packets: 3,
    maximum_filters_per_subscribe: 3,
    maximum_filters_per_unsubscribe: 3,
    maximum_subscribing: 3,
    maximum_subscriptions: 2,
    maximum_keep_alive: Some(20),
    topic_alias_maximum: 2,
    outgoing_topic_aliases: 2,
    has_enhanced_authentication: true,
    publish_rate: Some(RateLimit { per_second: 10, burst: 20 }),
    ..STANDARD
};

const METHOD: &str = "m";

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..6_u16).prop_map(id)
}

fn qos() -> impl Strategy<Value = Qos> {
    (0..3_u8).prop_map(|bits| Qos::from_bits(bits).unwrap())
}

fn reason_code(packet: PacketType) -> impl Strategy<Value = ReasonCode> {
    select(ReasonCode::ALL.iter().copied().filter(|code| code.is_allowed_in(packet)).collect::<Vec<_>>())
}

/// Success, mostly. An identifier in use is the session's own word.
fn success_or(packet: PacketType) -> impl Strategy<Value = ReasonCode> {
    let other = reason_code(packet).prop_filter("the session's", |code| *code != ReasonCode::PacketIdentifierInUse);
    prop_oneof![3 => Just(ReasonCode::Success), 1 => other]
}

fn a_connect(version: ProtocolVersion) -> impl Strategy<Value = Connect> {
    let of_v5 =
        (of(1..4_u16), of(1..200_u32), of(any::<bool>()), of(0..2_u32), of(0..4_u16), proptest::bool::weighted(0.2));
    (0..30_u16, any::<bool>(), of_v5).prop_map(move |(keep_alive, has_will, of_v5)| {
        let (receive_maximum, maximum_packet_size, problems, expiry, topic_alias_maximum, has_method) = of_v5;
        let properties = match version {
            V3_1_1 => ConnectProperties::default(),
            V5 => ConnectProperties {
                receive_maximum,
                maximum_packet_size,
                request_problem_information: problems,
                session_expiry_interval: expiry,
                topic_alias_maximum,
                authentication_method: has_method.then(|| METHOD.into()),
                ..ConnectProperties::default()
            },
        };
        Connect { keep_alive, will: has_will.then(will), properties, ..connect(version) }
    })
}

fn a_publish(version: ProtocolVersion) -> impl Strategy<Value = Publish> {
    let alias = (proptest::option::weighted(0.3, 1..4_u16), any::<bool>());
    (qos(), packet_id(), any::<bool>(), alias).prop_map(move |(qos, packet_id, retain, (alias, has_topic))| {
        let packet_id = (qos > Qos::AtMostOnce).then_some(packet_id);
        let mut publish = Publish { qos, retain, packet_id, ..publish(None) };
        if version == V5 && alias.is_some() {
            publish.properties.topic_alias = alias;
            publish.topic = if has_topic { "t" } else { "" }.into();
        }
        publish
    })
}

fn an_auth() -> impl Strategy<Value = Packet> {
    (reason_code(PacketType::Auth), of(select(vec![METHOD, METHOD, METHOD, "other"]))).prop_map(
        |(reason_code, method)| {
            // The codec lets no other code through without a method.
            let reason_code = if method.is_some() { reason_code } else { ReasonCode::Success };
            let authentication_method = method.map(Into::into);
            let properties = AuthProperties { authentication_method, ..AuthProperties::default() };
            Packet::Auth(Auth { reason_code, properties })
        },
    )
}

fn a_packet(version: ProtocolVersion) -> BoxedStrategy<Packet> {
    let filters = || vec(select(vec!["a", "b", "c"]), 1..5);
    let common = prop_oneof![
        60 => a_publish(version).prop_map(Packet::Publish),
        30 => packet_id().prop_map(|id| Packet::PubAck(PubAck::new(id))),
        20 => (packet_id(), success_or(PacketType::PubRec))
            .prop_map(|(id, code)| Packet::PubRec(PubRec::with_reason(id, code))),
        30 => packet_id().prop_map(|id| Packet::PubRel(PubRel::new(id))),
        20 => packet_id().prop_map(|id| Packet::PubComp(PubComp::new(id))),
        10 => (packet_id(), filters()).prop_map(|(id, filters)| Packet::Subscribe(subscribe(id.get(), &filters))),
        10 => (packet_id(), filters()).prop_map(|(id, filters)| Packet::Unsubscribe(unsubscribe(id.get(), &filters))),
        10 => Just(Packet::PingReq),
        1 => a_connect(version).prop_map(|packet| Packet::Connect(Box::new(packet))),
        1 => select(packets_after_connect(version)),
    ];
    match version {
        V3_1_1 => common.boxed(),
        V5 => prop_oneof![100 => common, 3 => an_auth()].boxed(),
    }
}

fn a_delivery() -> impl Strategy<Value = Delivery> {
    let identifiers = vec(1..1_000_000_u32, 0..3);
    let name = proptest::option::weighted(0.3, 0..20_u64);
    (qos(), 0..80_usize, of(0..30_u32), identifiers, any::<bool>(), name).prop_map(
        |(qos, length, expiry, identifiers, retain, name)| {
            let mut delivery = delivery(&"t".repeat(1 + length % 7), qos);
            delivery.retain = retain;
            delivery.subscription_identifiers = identifiers;
            if let Some(secs) = expiry {
                let content_type = Some("x".repeat(length));
                let message_expiry_interval = Some(secs);
                let properties = PublicationProperties { message_expiry_interval, content_type, ..Default::default() };
                delivery = with_properties(delivery, properties);
            }
            let publication = Rc::get_mut(&mut delivery.publication).unwrap();
            publication.message_id = name.map(|number| MessageId { origin: 1, number });
            delivery
        },
    )
}

fn an_outgoing() -> impl Strategy<Value = Outgoing> {
    prop_oneof![
        (a_delivery(), packet_id(), any::<bool>()).prop_map(|(delivery, packet_id, dup)| Outgoing::Publish {
            packet_id: (delivery.qos > Qos::AtMostOnce).then_some(packet_id),
            dup: dup && delivery.qos > Qos::AtMostOnce,
            qos: delivery.qos,
            retain: delivery.retain,
            subscription_identifiers: delivery.subscription_identifiers,
            publication: (*delivery.publication).clone(),
        }),
        (packet_id(), any::<bool>()).prop_map(|(packet_id, is_unknown)| Outgoing::PubRel { packet_id, is_unknown }),
    ]
}

fn an_acceptance() -> impl Strategy<Value = Input> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(assigned, is_durable, session_present)| Input::Accepted {
        client_id: ClientId::new("c").unwrap(),
        assigned,
        session: AcceptedSession { is_durable, session_present, ..AcceptedSession::default() },
        authentication_data: None,
    })
}

fn an_input(version: ProtocolVersion) -> impl Strategy<Value = Input> {
    let codes = |packet| vec(reason_code(packet), 1..4);
    prop_oneof![
        160 => a_packet(version).prop_map(Input::Packet),
        60 => (packet_id(), success_or(PacketType::PubAck))
            .prop_map(|(packet_id, reason_code)| Input::Settled { packet_id, reason_code }),
        10 => (packet_id(), codes(PacketType::SubAck))
            .prop_map(|(packet_id, reason_codes)| Input::Subscribed { packet_id, reason_codes }),
        10 => (packet_id(), codes(PacketType::UnsubAck))
            .prop_map(|(packet_id, reason_codes)| Input::Unsubscribed { packet_id, reason_codes }),
        20 => packet_id().prop_map(|packet_id| Input::Released { packet_id }),
        60 => a_delivery().prop_map(Input::Deliver),
        20 => an_outgoing().prop_map(Input::Relay),
        10 => Just(()).prop_map(|()| Input::Tick),
        10 => an_acceptance(),
        5 => of(Just("data".into())).prop_map(|data| Input::AuthContinue { data }),
        5 => of(Just("data".into())).prop_map(|data| Input::Reauthenticated { data }),
        1 => select(ReasonCode::ALL.to_vec()).prop_map(|reason_code| Input::End { reason_code, reason: "because" }),
        1 => Just(()).prop_map(|()| Input::ConnectionLost),
        1 => select(vec![DecodeError::Truncated, DecodeError::ProtocolLevel(9), DecodeError::TopicAliasZero])
            .prop_map(Input::Undecodable),
    ]
}

/// What an onlooker who sees the packets and the outputs knows.
#[derive(Default)]
struct Onlooker {
    is_connected: bool,
    is_durable: bool,
    is_closed: bool,
    /// Publishes given out, in order, without acknowledgement.
    unacknowledged: VecDeque<(Qos, PacketId)>,
    /// Identifiers of QoS 2 between PUBREC and PUBCOMP.
    received: BTreeSet<PacketId>,
    /// PUBLISHes to the client, and whether PUBREC came.
    in_flight: BTreeMap<PacketId, (Qos, bool)>,
    /// What our aliases stand for.
    aliases: BTreeMap<u16, String>,
}

impl Onlooker {
    /// What the client says of what it was sent.
    fn hears(&mut self, input: &Input) {
        let Input::Packet(packet) = input else { return };
        if !self.is_connected {
            return; // Early packets acknowledge nothing that has been sent.
        }
        match packet {
            Packet::PubAck(ack) => {
                self.in_flight.retain(|id, (qos, _)| *id != ack.packet_id || *qos != Qos::AtLeastOnce)
            }
            Packet::PubRec(ack) => {
                if let Some((Qos::ExactlyOnce, is_released)) = self.in_flight.get_mut(&ack.packet_id) {
                    *is_released = true;
                    if ack.reason_code.is_error() {
                        self.in_flight.remove(&ack.packet_id);
                    }
                }
            }
            Packet::PubComp(ack) => self.in_flight.retain(|id, (_, is_released)| *id != ack.packet_id || !*is_released),
            _ => {}
        }
    }

    fn sees(&mut self, connect: &Connect, output: &Output) {
        assert!(!self.is_closed, "[MQTT-3.14.4-1] after the end: {output:?}");
        match output {
            Output::Send(packet) => self.is_sent(connect, packet),
            Output::Publish(publish) => {
                assert!(self.is_connected && !publish.topic.is_empty());
                assert_eq!(publish.properties.topic_alias, None);
                let Some(packet_id) = publish.packet_id else { return };
                assert!(self.unacknowledged.iter().all(|(_, id)| *id != packet_id), "published twice");
                let is_again = self.received.remove(&packet_id);
                assert!(
                    !is_again || self.is_durable && publish.qos == Qos::ExactlyOnce,
                    "[MQTT-4.3.3-10] published twice"
                );
                self.unacknowledged.push_back((publish.qos, packet_id));
                let count = self.unacknowledged.len() + self.received.len();
                assert!(connect.version == V3_1_1 || count <= 3, "[MQTT-3.3.4-7]");
            }
            Output::Close(ended) => {
                self.is_closed = true;
                assert!(!ended.publishes_will || self.is_connected);
            }
            Output::Acknowledged(_) | Output::Release { .. } => assert!(self.is_durable),
            Output::Authenticate { method, is_reauthentication, .. } => {
                assert_eq!((method.as_str(), *is_reauthentication), (METHOD, self.is_connected));
            }
            Output::Dropped(_) => assert!(!self.is_durable),
            Output::Subscribe(_) | Output::Unsubscribe(_) => assert!(self.is_connected),
            Output::Connect(_) => {}
        }
    }

    fn is_sent(&mut self, connect: &Connect, packet: &Packet) {
        is_readable(connect, packet);
        match packet {
            Packet::ConnAck(_) => {
                assert!(!core::mem::replace(&mut self.is_connected, true), "[MQTT-3.2.0-2] a second CONNACK");
            }
            Packet::Auth(_) => assert!(connect.properties.authentication_method.is_some(), "[MQTT-4.12.0-6]"),
            other => assert!(self.is_connected, "[MQTT-3.2.0-1] before CONNACK: {other:?}"),
        }
        match packet {
            Packet::PubAck(ack) if ack.reason_code == ReasonCode::PacketIdentifierInUse => {}
            Packet::PubRec(ack) if ack.reason_code == ReasonCode::PacketIdentifierInUse => {}
            Packet::PubAck(ack) => {
                assert_eq!(self.unacknowledged.pop_front(), Some((Qos::AtLeastOnce, ack.packet_id)), "[MQTT-4.6.0-2]");
            }
            Packet::PubRec(ack) if self.received.contains(&ack.packet_id) => assert!(!self.is_durable),
            Packet::PubRec(ack) => {
                assert_eq!(self.unacknowledged.pop_front(), Some((Qos::ExactlyOnce, ack.packet_id)), "[MQTT-4.6.0-3]");
                if !ack.reason_code.is_error() {
                    self.received.insert(ack.packet_id);
                }
            }
            Packet::PubComp(ack) => {
                let was_received = self.received.remove(&ack.packet_id);
                if connect.version == V5 && !self.is_durable {
                    assert_eq!(was_received, ack.reason_code == ReasonCode::Success, "section 3.7.2.1");
                }
            }
            Packet::Publish(publish) => self.is_delivered(connect, publish),
            _ => {}
        }
    }

    fn is_delivered(&mut self, connect: &Connect, publish: &Publish) {
        assert_eq!(publish.packet_id.is_some(), publish.qos > Qos::AtMostOnce, "[MQTT-2.2.1-4]");
        if let Some(alias) = publish.properties.topic_alias {
            let allowed = connect.properties.topic_alias_maximum.unwrap_or(0).min(2);
            assert!((1..=allowed).contains(&alias), "[MQTT-3.3.2-8], [MQTT-3.1.2-26]");
            if publish.topic.is_empty() {
                assert!(self.aliases.contains_key(&alias), "section 3.3.2.3.4");
            } else {
                self.aliases.insert(alias, publish.topic.to_string());
            }
        } else {
            assert!(!publish.topic.is_empty());
        }
        if self.is_durable {
            return;
        }
        assert!(!publish.dup, "only a reconnect sends again");
        if let Some(packet_id) = publish.packet_id {
            let before = self.in_flight.insert(packet_id, (publish.qos, false));
            assert_eq!(before, None, "[MQTT-2.2.1-4]");
            let window = connect.properties.receive_maximum.unwrap_or(u16::MAX).min(3);
            assert!(self.in_flight.len() <= usize::from(window), "[MQTT-3.3.4-9]");
        }
    }
}

/// The client can read the packet, and it says the same there.
fn is_readable(connect: &Connect, packet: &Packet) {
    let version = connect.version;
    let mut bytes = BytesMut::new();
    encode(packet, version, &mut bytes);
    let maximum = connect.properties.maximum_packet_size.unwrap_or(u32::MAX);
    assert!(bytes.len() <= maximum as usize, "[MQTT-3.1.2-24] {packet:?}");
    let is_refusal = matches!(packet, Packet::ConnAck(connack) if connack.reason_code.is_error());
    if bytes.is_empty() && version == V3_1_1 && is_refusal {
        return; // MQTT 3.1.1 has no return code for it.
    }
    assert!(version == V5 || !matches!(packet, Packet::Disconnect(_)), "MQTT 3.1.1 has no such packet");
    if connect.properties.request_problem_information == Some(false) {
        let reason_string = match packet {
            Packet::PubAck(ack) => &ack.properties.reason_string,
            Packet::PubRec(ack) => &ack.properties.reason_string,
            Packet::PubRel(ack) => &ack.properties.reason_string,
            Packet::PubComp(ack) => &ack.properties.reason_string,
            Packet::SubAck(ack) => &ack.properties.reason_string,
            Packet::UnsubAck(ack) => &ack.properties.reason_string,
            _ => &None,
        };
        assert_eq!(*reason_string, None, "[MQTT-3.1.2-29]");
    }
    let decoded = Decoder::restore(u32::MAX, Some(version), bytes.freeze()).next_packet();
    match version {
        V5 => assert_eq!(decoded, Ok(Some(packet.clone())), "the client reads something else"),
        V3_1_1 => assert!(matches!(decoded, Ok(Some(_))), "{decoded:?}"),
    }
}

fn watch(connect: Connect, acceptance: Option<bool>, inputs: Vec<(u64, Input)>) {
    let mut connection = Connection::opened(SETTINGS);
    let mut onlooker = Onlooker::default();
    let accepted = |is_durable| accepted(AcceptedSession { is_durable, ..AcceptedSession::default() });
    let begin = [Input::Packet(Packet::Connect(Box::new(connect.clone())))].into_iter().chain(acceptance.map(accepted));
    for (millis, input) in begin.map(|input| (0, input)).chain(inputs) {
        connection.now = connection.now.plus_millis(millis);
        if let Input::Accepted { session, .. } = &input
            && !onlooker.is_connected
        {
            onlooker.is_durable = session.is_durable;
        }
        onlooker.hears(&input);
        for output in connection.input(input) {
            onlooker.sees(&connect, &output);
        }
        let session = &connection.session;
        assert_eq!(session.is_closed(), onlooker.is_closed);
        assert_eq!(session.snapshot().is_some(), onlooker.is_connected && !onlooker.is_closed);
        if let Some(snapshot) = session.snapshot() {
            assert!(snapshot.subscriptions.len() <= SETTINGS.maximum_subscriptions);
            assert!(snapshot.topic_aliases.len() <= 2);
            let rests = onlooker.unacknowledged.is_empty()
                && onlooker.in_flight.is_empty()
                && (onlooker.is_durable || onlooker.received.is_empty());
            assert!(rests || snapshot.is_dirty, "something would be forgotten");
            let stored = SessionSnapshot::decode(&snapshot.encode()).unwrap();
            let restored = Session::restore(SETTINGS, stored).snapshot();
            assert_eq!(restored, Some(SessionSnapshot { is_dirty: false, ..snapshot }));
        }
    }
}

fn version() -> impl Strategy<Value = ProtocolVersion> {
    select(VERSIONS.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn whatever_comes_after_connect_the_rules_between_packets_hold(
        (connect, acceptance, inputs) in version().prop_flat_map(|version| {
            let acceptance = proptest::option::weighted(0.8, any::<bool>());
            (a_connect(version), acceptance, vec((0..4_000_u64, an_input(version)), 0..120))
        }),
    ) {
        watch(connect, acceptance, inputs);
    }

    #[test]
    fn whatever_comes_first_nothing_panics_and_nothing_follows_the_end(
        inputs in version().prop_flat_map(|version| vec((0..20_000_u64, an_input(version)), 0..20)),
    ) {
        let mut connection = Connection::opened(SETTINGS);
        let mut is_closed = false;
        for (millis, input) in inputs {
            connection.now = connection.now.plus_millis(millis);
            for output in connection.input(input) {
                prop_assert!(!is_closed, "{:?}", output);
                is_closed = matches!(output, Output::Close(_));
            }
            prop_assert_eq!(is_closed, connection.session.is_closed());
        }
    }
}
