//! Statements of the standards that no other file here shows; tests/conformance lists which.

use super::*;
use crate::{Offer, Outbound, OutboundLimits, Resend};
use messages::session::{Acknowledgement, AcknowledgementKind, Outgoing};

const METHOD: &str = "m";

fn send(packet: Packet) -> [Output; 1] {
    [Output::Send(packet)]
}

fn window_of_one(version: ProtocolVersion) -> Connection {
    let settings = SessionSettings { maximum_inflight: 1, ..STANDARD };
    Connection::connected_with(settings, connect(version))
}

fn qos_2(mut delivery: Delivery) -> Delivery {
    Rc::get_mut(&mut delivery.publication).unwrap().qos = Qos::ExactlyOnce;
    Delivery { qos: Qos::ExactlyOnce, ..delivery }
}

#[test]
fn the_client_identifiers_that_every_server_must_allow_are_allowed() {
    const ALLOWED: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let around = ALLOWED.repeat(2);
    let of_length = |length| (0..ALLOWED.len()).map(move |from| (from, from + length));
    for (from, to) in of_length(1).chain(of_length(23)) {
        for settings in [STANDARD, SessionSettings::AWS] {
            for version in VERSIONS {
                let client_id = &around[from..to];
                let mut connection =
                    Connection::connecting(settings, Connect { client_id: client_id.into(), ..connect(version) });
                let client_id = ClientId::new(client_id).expect("[MQTT-3.1.3-5]");
                let session = AcceptedSession::default();
                let out = connection.input(Input::Accepted {
                    client_id,
                    assigned: false,
                    session,
                    authentication_data: None,
                });
                let [Output::Send(Packet::ConnAck(connack))] = &out[..] else { panic!("{out:?}") };
                assert_eq!(connack.reason_code, ReasonCode::Success);
            }
        }
    }
}

#[test]
fn the_user_properties_of_a_will_keep_their_order() {
    let user_properties = [("b", "1"), ("a", "2"), ("b", "3"), ("a", "2"), ("", "4"), ("B", "")];
    let properties = WillProperties { user_properties: user_properties.into(), ..WillProperties::default() };
    let asking = Connect { will: Some(Will { properties, ..will() }), ..connect(V5) };
    let claim = Connection::connecting(STANDARD, asking).session.claim(ConnectionDetails::default()).unwrap();
    let passed = claim.will.unwrap().properties.unwrap().user_properties;
    assert_eq!(passed.iter().collect::<Vec<_>>(), user_properties, "[MQTT-3.1.3-10]");
}

/// A PUBLISH with this alias, and what becomes of it.
fn aliased(connection: &mut Connection, topic: &str, alias: u16) -> Vec<Output> {
    let mut publish = Publish { topic: topic.into(), ..publish(None) };
    publish.properties.topic_alias = Some(alias);
    connection.packet(Packet::Publish(publish))
}

#[test]
fn every_topic_alias_up_to_the_maximum_is_accepted_and_can_stand_for_another_topic() {
    let many = SessionSettings { topic_alias_maximum: 300, ..STANDARD };
    for settings in [STANDARD, SessionSettings::AWS, many] {
        let mut connection =
            Connection::connected_with(SessionSettings { publish_rate: None, ..settings }, connect(V5));
        for turn in ["first", "second"] {
            for alias in 1..=settings.topic_alias_maximum {
                let topic = format!("{turn}/{alias}");
                for sent in [topic.as_str(), ""] {
                    let out = aliased(&mut connection, sent, alias);
                    let [Output::Publish(publish)] = &out[..] else { panic!("[MQTT-3.3.2-12] {alias}: {out:?}") };
                    assert_eq!(publish.topic, topic);
                }
            }
        }
    }
}

#[test]
fn a_topic_alias_means_nothing_on_the_next_connection_of_its_session() {
    let mut first = Connection::durable(V5);
    aliased(&mut first, "a", 1);
    assert_eq!(aliased(&mut first, "", 1).len(), 1);
    first.input(Input::ConnectionLost);

    let mut second = Connection::connecting(STANDARD, connect_durably(V5));
    second.input(accepted(AcceptedSession { session_present: true, ..durable_session() }));
    let out = aliased(&mut second, "", 1);
    check_ended(&out, V5, ReasonCode::ProtocolError, "section 3.3.2.3.4"); // [MQTT-3.3.2-7]
}

/// [MQTT-3.3.4-10], [MQTT-4.9.0-3]
#[test]
fn while_the_window_is_full_only_messages_with_qos_1_and_2_wait() {
    for version in VERSIONS {
        for filling in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut connection = window_of_one(version);
            assert_eq!(connection.deliver(delivery("1", filling)).len(), 1);
            for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
                assert_eq!(connection.deliver(delivery("2", qos)), [], "the window is full");
            }
            assert_eq!(connection.deliver(delivery("3", Qos::AtMostOnce)).len(), 1);
            assert_eq!(connection.packet(Packet::PingReq), send(Packet::PingResp));
            connection.packet(Packet::Publish(publish(Some(1))));
            assert_eq!(connection.settle(1, ReasonCode::Success), [puback(1, ReasonCode::Success)]);
            connection.packet(Packet::Publish(publish_2(2)));
            assert_eq!(connection.settle(2, ReasonCode::Success), [pubrec(2, ReasonCode::Success)]);
            assert_eq!(connection.pubrel(2), [pubcomp(2, version, ReasonCode::Success)]);
            let unknown = ReasonCode::PacketIdentifierNotFound;
            assert_eq!(connection.pubrec(77, ReasonCode::Success), [pubrel(77, version, unknown)]);
            connection.packet(Packet::Subscribe(subscribe(3, &["a"])));
            let out = connection.input(Input::Subscribed { packet_id: id(3), reason_codes: vec![ReasonCode::Success] });
            assert!(matches!(out[..], [Output::Send(Packet::SubAck(_))]), "{out:?}");
            let out = connection.packet(Packet::Unsubscribe(unsubscribe(4, &["a"])));
            assert!(matches!(out[..], [Output::Unsubscribe(_), Output::Send(Packet::UnsubAck(_))]), "{out:?}");
            if filling == Qos::ExactlyOnce {
                assert_eq!(connection.pubrec(1, ReasonCode::Success), [pubrel(1, version, ReasonCode::Success)]);
            }
        }
    }
}

/// One packet of each type that the server sends, of those that can say so each with bad news.
fn all_that_the_server_says(properties: ConnectProperties) -> Vec<Packet> {
    let settings = SessionSettings { has_enhanced_authentication: true, ..STANDARD };
    let method = || Some(METHOD.into());
    let auth = |reason_code| {
        let properties = AuthProperties { authentication_method: method(), ..AuthProperties::default() };
        Input::Packet(Packet::Auth(Auth { reason_code, properties }))
    };
    let mut connection = Connection::connecting(
        settings,
        connect_with(ConnectProperties { authentication_method: method(), ..properties }),
    );
    let refused = || vec![ReasonCode::NotAuthorized];
    let inputs = [
        Input::AuthContinue { data: None },
        auth(ReasonCode::ContinueAuthentication),
        accepted(AcceptedSession::default()),
        Input::Packet(Packet::PingReq),
        Input::Packet(Packet::Publish(publish(Some(1)))),
        Input::Settled { packet_id: id(1), reason_code: ReasonCode::NotAuthorized },
        Input::Packet(Packet::Publish(publish_2(2))),
        Input::Settled { packet_id: id(2), reason_code: ReasonCode::NotAuthorized },
        Input::Packet(Packet::PubRec(PubRec::new(id(3)))),
        Input::Packet(Packet::PubRel(PubRel::new(id(4)))),
        Input::Packet(Packet::Subscribe(subscribe(5, &["a"]))),
        // Its identifier is in use.
        Input::Packet(Packet::Unsubscribe(unsubscribe(5, &["a"]))),
        Input::Subscribed { packet_id: id(5), reason_codes: refused() },
        Input::Deliver(delivery("t", Qos::AtLeastOnce)),
        auth(ReasonCode::ReAuthenticate),
        Input::Reauthenticated { data: None },
        Input::End { reason_code: ReasonCode::NotAuthorized, reason: "a reason in so many words" },
    ];
    let sent = |output| if let Output::Send(packet) = output { Some(packet) } else { None };
    inputs.into_iter().flat_map(|input| connection.input(input)).filter_map(sent).collect()
}

/// The Reason String, and how many User Properties there are.
fn explanation(packet: &Packet) -> (Option<&str>, usize) {
    let of_acknowledgement =
        |properties: &AckProperties| (properties.reason_string.clone(), properties.user_properties.len());
    let (reason_string, user_properties) = match packet {
        Packet::ConnAck(p) => (p.properties.reason_string.clone(), p.properties.user_properties.len()),
        Packet::Publish(p) => (None, p.properties.user_properties.len()),
        Packet::PubAck(p) => of_acknowledgement(&p.properties),
        Packet::PubRec(p) => of_acknowledgement(&p.properties),
        Packet::PubRel(p) => of_acknowledgement(&p.properties),
        Packet::PubComp(p) => of_acknowledgement(&p.properties),
        Packet::SubAck(p) => of_acknowledgement(&p.properties),
        Packet::UnsubAck(p) => of_acknowledgement(&p.properties),
        Packet::Disconnect(p) => (p.properties.reason_string.clone(), p.properties.user_properties.len()),
        Packet::Auth(p) => (p.properties.reason_string.clone(), p.properties.user_properties.len()),
        Packet::PingResp => (None, 0),
        other => panic!("no packet of a server: {other:?}"),
    };
    (reason_string.map(|_| "words"), user_properties)
}

const SAID: [(PacketType, bool); 12] = [
    (PacketType::Auth, false),
    (PacketType::ConnAck, false),
    (PacketType::PingResp, false),
    (PacketType::PubAck, true),
    (PacketType::PubRec, true),
    (PacketType::PubRel, true),
    (PacketType::PubComp, true),
    (PacketType::UnsubAck, true),
    (PacketType::SubAck, true),
    (PacketType::Publish, false),
    (PacketType::Auth, false),
    (PacketType::Disconnect, true),
];

#[test]
fn nothing_is_explained_to_a_client_that_does_not_want_it() {
    for (wanted, has_words) in [(None, true), (Some(true), true), (Some(false), false)] {
        let asking = ConnectProperties { request_problem_information: wanted, ..ConnectProperties::default() };
        let said = all_that_the_server_says(asking);
        let types: Vec<_> = said.iter().map(Packet::packet_type).collect();
        assert_eq!(types, SAID.map(|(packet_type, _)| packet_type));
        for (packet, (_, may_have_words)) in said.iter().zip(SAID) {
            let expected = (has_words && may_have_words).then_some("words");
            assert_eq!(explanation(packet).0, expected, "[MQTT-3.1.2-29] {wanted:?}: {packet:?}");
        }
    }
}

#[test]
fn no_packet_of_the_servers_own_has_user_properties() {
    for wanted in [None, Some(true), Some(false)] {
        let asking = ConnectProperties { request_problem_information: wanted, ..ConnectProperties::default() };
        for packet in all_that_the_server_says(asking) {
            // [MQTT-3.1.2-29], [MQTT-3.2.2-20], [MQTT-3.4.2-3], [MQTT-3.5.2-3], [MQTT-3.6.2-3], [MQTT-3.7.2-3],
            // [MQTT-3.9.2-2], [MQTT-3.11.2-2], [MQTT-3.14.2-4], [MQTT-3.15.2-3]
            assert_eq!(explanation(&packet).1, 0, "{packet:?}");
        }
    }
}

#[test]
fn the_reason_string_is_left_out_of_each_packet_in_which_it_has_no_room() {
    let all = all_that_the_server_says(ConnectProperties::default());
    for (place, (packet_type, has_words)) in SAID.into_iter().enumerate() {
        if !has_words {
            // AUTH never has one ([MQTT-3.15.2-2]).
            continue;
        }
        let length = u32::try_from(encoded_len(&all[place], V5)).unwrap();
        for (maximum, expected) in [(length + 1, Some("words")), (length, Some("words")), (length - 1, None)] {
            let asking = ConnectProperties { maximum_packet_size: Some(maximum), ..ConnectProperties::default() };
            let said = all_that_the_server_says(asking);
            assert_eq!(said.len(), SAID.len(), "{packet_type:?} with {maximum}: {said:?}");
            // [MQTT-3.4.2-2], [MQTT-3.5.2-2], [MQTT-3.6.2-2], [MQTT-3.7.2-2], [MQTT-3.9.2-1], [MQTT-3.11.2-1],
            // [MQTT-3.14.2-3]
            assert_eq!(explanation(&said[place]).0, expected, "{maximum}: {:?}", said[place]);
            let too_large = |packet: &&Packet| encoded_len(packet, V5) > usize::try_from(maximum).unwrap();
            assert_eq!(said.iter().find(too_large), None, "[MQTT-3.1.2-24] {maximum}");
        }
    }
}

#[test]
fn a_message_that_the_client_refuses_counts_as_acknowledged() {
    for code in [ReasonCode::UnspecifiedError, ReasonCode::NotAuthorized, ReasonCode::QuotaExceeded] {
        let refusal = |packet_id| Packet::PubAck(PubAck::with_reason(id(packet_id), code));
        let mut connection = window_of_one(V5);
        connection.deliver(delivery("1", Qos::AtLeastOnce));
        connection.deliver(delivery("2", Qos::AtLeastOnce));
        let out = connection.packet(refusal(1));
        assert_eq!(deliveries(&out), [("2".into(), Some(2))], "[MQTT-4.4.0-2] {code:?}");
        assert_eq!(connection.packet(refusal(2)), []);
        assert!(connection.session.is_at_rest());

        let out = Connection::durable(V5).packet(refusal(7));
        let kind = AcknowledgementKind::PubAck;
        assert_eq!(out, [Output::Acknowledged(Acknowledgement { packet_id: id(7), kind })], "[MQTT-4.4.0-2] {code:?}");
    }
}

/// The outgoing half of a session, with a message in flight for each quality of service.
fn in_flight() -> Outbound {
    let limits = OutboundLimits { window: 5, maximum_messages: 5, maximum_bytes: 10_000 };
    let mut outbound = Outbound::new(limits);
    for (number, qos) in (1..).zip([Qos::AtLeastOnce, Qos::ExactlyOnce]) {
        let Offer::Send(sending) = outbound.offer(Delivery { qos, ..expiring("t", 10) }) else { panic!() };
        assert_eq!((sending.packet_id, sending.dup), (Some(id(number)), false), "[MQTT-3.3.1-1]");
    }
    outbound
}

#[test]
fn a_message_that_the_client_refused_is_not_sent_again() {
    let mut outbound = in_flight();
    outbound.set_window(0);
    outbound.set_window(5);
    assert_eq!(outbound.resend(START).len(), 2);
    outbound.puback(id(1));
    outbound.pubrec(id(2), true);
    assert_eq!(outbound.resend(START).len(), 0, "[MQTT-4.4.0-2]");
}

#[test]
fn what_was_sent_is_sent_again_on_the_next_connection_only() {
    for version in VERSIONS {
        let mut connection = Connection::connected(version);
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce, Qos::ExactlyOnce] {
            connection.deliver(delivery("t", qos));
        }
        connection.pubrec(2, ReasonCode::Success);
        for _ in 0..100 {
            assert_eq!(connection.wait(60_000), [], "[MQTT-4.4.0-1]");
            assert_eq!(connection.packet(Packet::PingReq), send(Packet::PingResp), "[MQTT-4.4.0-1]");
        }
    }
    let mut outbound = in_flight();
    assert!(outbound.next_waiting(START.plus_secs(3_600)).is_none(), "[MQTT-4.4.0-1]");
    outbound.pubrec(id(2), false);
    outbound.set_window(5);
    let again = outbound.resend(START);
    let [Resend::Publish(publish), Resend::PubRel(released)] = &again[..] else { panic!("{again:?}") };
    assert_eq!((publish.packet_id, publish.dup), (Some(id(1)), true), "[MQTT-3.3.1-1], [MQTT-4.4.0-1]");
    assert_eq!(*released, id(2), "[MQTT-4.3.3-6]: PUBREL, not PUBLISH");
}

#[test]
fn a_qos_2_exchange_is_completed_though_its_message_expires() {
    for version in VERSIONS {
        // To the client ([MQTT-4.3.3-7]).
        let mut connection = Connection::connected(version);
        assert_eq!(connection.deliver(qos_2(expiring("t", 10))).len(), 1);
        assert_eq!(connection.wait(10_000), []);
        assert!(!connection.session.is_at_rest());
        assert_eq!(connection.pubrec(1, ReasonCode::Success), [pubrel(1, version, ReasonCode::Success)]);
        assert_eq!(connection.wait(10_000), []);
        assert_eq!(connection.pubcomp(1), []);
        assert!(connection.session.is_at_rest());

        // From the client ([MQTT-4.3.3-13]).
        let mut publish = publish_2(1);
        publish.properties.message_expiry_interval = (version == V5).then_some(1);
        connection.packet(Packet::Publish(publish));
        assert_eq!(connection.wait(10_000), []);
        assert_eq!(connection.settle(1, ReasonCode::Success), [pubrec(1, ReasonCode::Success)]);
        assert_eq!(connection.wait(10_000), []);
        assert_eq!(connection.pubrel(1), [pubcomp(1, version, ReasonCode::Success)]);

        // On the next connection of a session that lasts.
        let mut connection = Connection::durable(version);
        connection.now = START.plus_secs(3_600);
        let publication = (*qos_2(expiring("t", 10)).publication).clone();
        let out = connection.input(Input::Relay(Outgoing::Publish {
            packet_id: Some(id(1)),
            dup: true,
            qos: Qos::ExactlyOnce,
            retain: false,
            subscription_identifiers: Vec::new(),
            publication,
        }));
        assert_eq!(deliveries(&out), [("t".into(), Some(1))]);
    }
    let mut outbound = in_flight();
    let late = START.plus_secs(3_600);
    outbound.expire(late);
    assert_eq!(outbound.take_expired(), []);
    outbound.set_window(5);
    assert!(
        matches!(&outbound.resend(late)[..], [Resend::Publish(_), Resend::Publish(again)] if again.packet_id == Some(id(2))),
        "[MQTT-4.3.3-7]"
    );
}

#[test]
fn a_delivery_under_way_is_completed_though_its_filter_is_unsubscribed() {
    for version in VERSIONS {
        let mut connection = window_of_one(version);
        connection.session.add_subscription("t", options(Qos::ExactlyOnce));
        for (number, qos) in [(1, Qos::AtLeastOnce), (2, Qos::ExactlyOnce)] {
            assert_eq!(deliveries(&connection.deliver(delivery("t", qos))), [("t".into(), Some(number))]);
            // Before each step of the exchange, from the beginning on.
            let unsubscribe = |connection: &mut Connection| {
                let out = connection.packet(Packet::Unsubscribe(unsubscribe(9, &["t"])));
                assert!(matches!(out[..], [Output::Unsubscribe(_), Output::Send(Packet::UnsubAck(_))]), "{out:?}");
                assert!(!connection.session.is_at_rest(), "[MQTT-3.10.4-3]");
            };
            unsubscribe(&mut connection);
            if qos == Qos::AtLeastOnce {
                assert_eq!(connection.acknowledge(number), []);
            } else {
                let released = pubrel(number, version, ReasonCode::Success);
                assert_eq!(connection.pubrec(number, ReasonCode::Success), [released], "[MQTT-3.10.4-3]");
                unsubscribe(&mut connection);
                assert_eq!(connection.pubcomp(number), []);
            }
            assert!(connection.session.is_at_rest());
        }
    }
}

#[test]
fn a_subscribe_for_more_than_the_maximum_qos_is_accepted() {
    for version in VERSIONS {
        let mut connection = Connection::connected_with(SessionSettings::AWS, connect(version));
        let filters = [SubscriptionRequest::new("a", Qos::ExactlyOnce)].into();
        let asked = Subscribe { filters, ..subscribe(1, &[]) };
        assert_eq!(connection.packet(Packet::Subscribe(asked.clone())), [Output::Subscribe(asked)], "[MQTT-3.2.2-10]");
        let reason_codes = vec![ReasonCode::GrantedQos1];
        let out = connection.input(Input::Subscribed { packet_id: id(1), reason_codes: reason_codes.clone() });
        let suback = SubAck { packet_id: id(1), reason_codes, properties: AckProperties::default() };
        assert_eq!(out, send(Packet::SubAck(suback)));
    }
}
