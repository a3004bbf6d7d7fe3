//! Whatever comes, in whatever order: nothing panics and the rules between packets hold.

use super::*;
use bytes::BytesMut;
use mqtt_codec::{Decoder, encode};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Small enough for random inputs to reach every limit.
const SETTINGS: SessionSettings = SessionSettings {
    receive_maximum: 3,
    maximum_inflight: 3,
    maximum_queued_messages: 3,
    maximum_early_packets: 3,
    maximum_filters_per_subscribe: 2,
    maximum_subscriptions: 2,
    maximum_keep_alive: Some(20),
    ..STANDARD
};

fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..6_u16).prop_map(id)
}

fn qos() -> impl Strategy<Value = Qos> {
    prop_oneof![4 => Just(Qos::AtMostOnce), 12 => Just(Qos::AtLeastOnce), 1 => Just(Qos::ExactlyOnce)]
}

fn reason_code(packet: PacketType) -> impl Strategy<Value = ReasonCode> {
    select(ReasonCode::ALL.iter().copied().filter(|code| code.is_allowed_in(packet)).collect::<Vec<_>>())
}

fn a_connect(version: ProtocolVersion) -> impl Strategy<Value = Connect> {
    let of_v5 = (
        proptest::option::of(1..4_u16),
        proptest::option::of(1..120_u32),
        proptest::option::of(any::<bool>()),
        proptest::option::of(0..2_u32),
    );
    (0..30_u16, any::<bool>(), of_v5).prop_map(move |(keep_alive, has_will, (window, size, problems, expiry))| {
        let properties = match version {
            V3_1_1 => ConnectProperties::default(),
            V5 => ConnectProperties {
                receive_maximum: window,
                maximum_packet_size: size,
                request_problem_information: problems,
                session_expiry_interval: expiry,
                ..ConnectProperties::default()
            },
        };
        Connect { keep_alive, will: has_will.then(will), properties, ..connect(version) }
    })
}

fn a_publish() -> impl Strategy<Value = Publish> {
    (qos(), packet_id(), proptest::bool::weighted(0.05)).prop_map(|(qos, packet_id, retain)| Publish {
        qos,
        retain,
        packet_id: (qos > Qos::AtMostOnce).then_some(packet_id),
        ..publish(None)
    })
}

fn a_packet(version: ProtocolVersion) -> impl Strategy<Value = Packet> {
    let filters = || vec(select(vec!["a", "b", "c"]), 1..4);
    prop_oneof![
        40 => a_publish().prop_map(Packet::Publish),
        40 => packet_id().prop_map(|id| Packet::PubAck(PubAck::new(id))),
        10 => (packet_id(), filters()).prop_map(|(id, filters)| Packet::Subscribe(subscribe(id.get(), &filters))),
        10 => (packet_id(), filters()).prop_map(|(id, filters)| Packet::Unsubscribe(unsubscribe(id.get(), &filters))),
        10 => Just(Packet::PingReq),
        1 => a_connect(version).prop_map(Packet::Connect),
        2 => select(packets_after_connect(version)),
    ]
}

fn a_delivery() -> impl Strategy<Value = Delivery> {
    let identifiers = vec(1..1_000_000_u32, 0..3);
    (qos(), 0..80_usize, proptest::option::of(0..30_u32), identifiers, any::<bool>()).prop_map(
        |(qos, length, expiry, identifiers, retain)| {
            let mut delivery = delivery(&"t".repeat(1 + length), qos.min(Qos::AtLeastOnce));
            delivery.retain = retain;
            delivery.subscription_identifiers = identifiers;
            match expiry {
                Some(secs) => {
                    let content_type = Some("x".repeat(length));
                    let message_expiry_interval = Some(secs);
                    let properties =
                        PublicationProperties { message_expiry_interval, content_type, ..Default::default() };
                    with_properties(delivery, properties)
                }
                None => delivery,
            }
        },
    )
}

fn an_input(version: ProtocolVersion) -> impl Strategy<Value = Input> {
    prop_oneof![
        100 => a_packet(version).prop_map(Input::Packet),
        40 => (packet_id(), reason_code(PacketType::PubAck))
            .prop_map(|(packet_id, reason_code)| Input::Settled { packet_id, reason_code }),
        10 => (packet_id(), vec(reason_code(PacketType::SubAck), 1..3))
            .prop_map(|(packet_id, reason_codes)| Input::Subscribed { packet_id, reason_codes }),
        60 => a_delivery().prop_map(Input::Deliver),
        10 => Just(()).prop_map(|()| Input::Tick),
        10 => any::<bool>().prop_map(|assigned| Input::Accepted { client_id: ClientId::new("c").unwrap(), assigned }),
        1 => select(ReasonCode::ALL.to_vec()).prop_map(|reason_code| Input::End { reason_code, reason: "because" }),
        1 => Just(()).prop_map(|()| Input::ConnectionLost),
        1 => select(vec![DecodeError::Truncated, DecodeError::ProtocolLevel(9), DecodeError::TopicAliasZero])
            .prop_map(Input::Undecodable),
    ]
}

/// What an onlooker who sees only the outputs knows.
#[derive(Default)]
struct Onlooker {
    is_connected: bool,
    is_closed: bool,
    unacknowledged: VecDeque<PacketId>,
    in_flight: Vec<PacketId>,
}

impl Onlooker {
    fn sees(&mut self, connect: &Connect, output: &Output) {
        assert!(!self.is_closed, "[MQTT-3.14.4-1] after the end: {output:?}");
        match output {
            Output::Send(packet) => {
                self.is_sent(connect, packet);
                match packet {
                    Packet::ConnAck(_) => {
                        assert!(!core::mem::replace(&mut self.is_connected, true), "[MQTT-3.2.0-2] a second CONNACK");
                    }
                    other => assert!(self.is_connected, "[MQTT-3.2.0-1] before CONNACK: {other:?}"),
                }
                match packet {
                    Packet::PubAck(ack) => {
                        assert_eq!(self.unacknowledged.pop_front(), Some(ack.packet_id), "[MQTT-4.6.0-2]");
                    }
                    Packet::Publish(publish) => {
                        assert_eq!(publish.packet_id.is_some(), publish.qos == Qos::AtLeastOnce);
                        if let Some(packet_id) = publish.packet_id {
                            assert!(!self.in_flight.contains(&packet_id), "[MQTT-2.2.1-4]");
                            self.in_flight.push(packet_id);
                        }
                        let window = connect.properties.receive_maximum.unwrap_or(u16::MAX).min(3);
                        assert!(self.in_flight.len() <= usize::from(window), "[MQTT-3.3.4-9]");
                    }
                    _ => {}
                }
            }
            Output::Publish(publish) => {
                assert!(self.is_connected && publish.qos < Qos::ExactlyOnce);
                if let Some(packet_id) = publish.packet_id {
                    assert!(!self.unacknowledged.contains(&packet_id), "published twice");
                    self.unacknowledged.push_back(packet_id);
                }
            }
            Output::Close(ended) => {
                self.is_closed = true;
                assert!(ended.will.is_none() || self.is_connected);
            }
            Output::Connect(_) | Output::Subscribe(_) | Output::Unsubscribe(_) | Output::Dropped(_) => {}
        }
    }

    fn is_sent(&self, connect: &Connect, packet: &Packet) {
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
        let decoded = Decoder::restore(u32::MAX, Some(version), bytes.freeze()).next_packet();
        match version {
            V5 => assert_eq!(decoded, Ok(Some(packet.clone())), "the client reads something else"),
            V3_1_1 => assert!(matches!(decoded, Ok(Some(_))), "{decoded:?}"),
        }
    }
}

fn watch(connect: Connect, is_accepted: bool, inputs: Vec<(u64, Input)>) {
    let mut connection = Connection::opened(SETTINGS);
    let mut onlooker = Onlooker::default();
    let accepted = || Input::Accepted { client_id: ClientId::new("c").unwrap(), assigned: false };
    let begin = [Input::Packet(Packet::Connect(connect.clone()))].into_iter().chain(is_accepted.then(accepted));
    for (millis, input) in begin.map(|input| (0, input)).chain(inputs) {
        connection.now = connection.now.plus_millis(millis);
        let acknowledged = match &input {
            Input::Packet(Packet::PubAck(ack)) if onlooker.is_connected => Some(ack.packet_id),
            // Early PUBACKs acknowledge nothing that has been sent.
            _ => None,
        };
        onlooker.in_flight.retain(|packet_id| Some(*packet_id) != acknowledged);
        for output in connection.input(input) {
            onlooker.sees(&connect, &output);
        }
        let session = &connection.session;
        assert_eq!(session.is_closed(), onlooker.is_closed);
        assert_eq!(session.snapshot().is_some(), onlooker.is_connected && !onlooker.is_closed);
        if let Some(snapshot) = session.snapshot() {
            assert!(snapshot.subscriptions.len() <= SETTINGS.maximum_subscriptions);
            let rests = onlooker.unacknowledged.is_empty() && onlooker.in_flight.is_empty();
            assert!(rests || snapshot.is_dirty, "something would be forgotten");
            let restored = Session::restore(SETTINGS, snapshot.clone()).snapshot();
            assert_eq!(restored, Some(SessionSnapshot { is_dirty: false, ..snapshot }));
        }
    }
}

fn version() -> impl Strategy<Value = ProtocolVersion> {
    select(VERSIONS.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_comes_after_connect_the_rules_between_packets_hold(
        (connect, is_accepted, inputs) in version().prop_flat_map(|version| {
            let accepted = proptest::bool::weighted(0.8);
            (a_connect(version), accepted, vec((0..8_000_u64, an_input(version)), 0..60))
        }),
    ) {
        watch(connect, is_accepted, inputs);
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
