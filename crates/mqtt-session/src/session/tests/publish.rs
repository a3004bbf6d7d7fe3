use super::*;

#[test]
fn a_publish_that_breaks_a_rule_ends_the_connection() {
    type Change = fn(&mut Publish);
    let bounded = SessionSettings { is_retain_available: false, maximum_qos: Qos::AtLeastOnce, ..STANDARD };
    let rows: &[(&str, &[ProtocolVersion], ReasonCode, Change)] = &[
        ("[MQTT-3.2.2-11]", &VERSIONS, ReasonCode::QosNotSupported, |publish| publish.qos = Qos::ExactlyOnce),
        ("[MQTT-3.3.4-6]", &[V5], ReasonCode::ProtocolError, |publish| {
            publish.properties.subscription_identifiers = vec![1];
        }),
        ("[MQTT-3.2.2-14]", &[V5], ReasonCode::RetainNotSupported, |publish| publish.retain = true),
    ];
    for (clause, versions, code, change) in rows {
        for version in *versions {
            let mut publish = publish(Some(1));
            change(&mut publish);
            let out = Connection::connected_with(bounded, connect(*version)).packet(Packet::Publish(publish));
            check_ended(&out, *version, *code, clause);
        }
    }
}

#[test]
fn mqtt_3_1_1_may_set_retain_because_it_was_never_told_not_to() {
    let settings = SessionSettings { is_retain_available: false, ..STANDARD };
    let retained = Publish { retain: true, ..publish(None) };
    let out = Connection::connected_with(settings, connect(V3_1_1)).packet(Packet::Publish(retained.clone()));
    assert_eq!(out, [Output::Publish(Box::new(retained))]);
}

#[test]
fn a_retained_publish_is_passed_on_where_retaining_is_available() {
    for version in VERSIONS {
        let retained = Publish { retain: true, ..publish(None) };
        let out = Connection::connected(version).packet(Packet::Publish(retained.clone()));
        assert_eq!(out, [Output::Publish(Box::new(retained))], "[MQTT-3.3.1-5]");
    }
}

#[test]
fn a_publish_with_qos_0_is_passed_on_and_not_acknowledged() {
    for version in VERSIONS {
        let mut connection = Connection::connected(version);
        assert_eq!(connection.packet(Packet::Publish(publish(None))), [Output::Publish(Box::new(publish(None)))]);
        assert!(connection.session.is_at_rest());
    }
}

#[test]
fn pubacks_leave_in_the_order_of_the_publishes() {
    for version in VERSIONS {
        let mut connection = Connection::connected(version);
        for packet_id in [5, 3, 9] {
            let publish = publish(Some(packet_id));
            let out = connection.packet(Packet::Publish(publish.clone()));
            assert_eq!(out, [Output::Publish(Box::new(publish))]);
        }
        assert_eq!(connection.settle(9, ReasonCode::Success), [], "[MQTT-4.6.0-2]");
        assert_eq!(
            connection.settle(5, ReasonCode::NoMatchingSubscribers),
            [puback(5, ReasonCode::NoMatchingSubscribers)]
        );
        let out = connection.settle(3, ReasonCode::Success);
        assert_eq!(out, [puback(3, ReasonCode::Success), puback(9, ReasonCode::Success)]);
        assert!(connection.session.is_at_rest());
    }
}

#[test]
fn a_publish_is_settled_once() {
    for version in VERSIONS {
        let mut connection = Connection::connected(version);
        assert_eq!(connection.settle(1, ReasonCode::Success), [], "nothing to settle");
        connection.packet(Packet::Publish(publish(Some(1))));
        assert_eq!(connection.settle(1, ReasonCode::Success).len(), 1);
        assert_eq!(connection.settle(1, ReasonCode::Success), []);
    }
}

#[test]
fn a_retransmission_is_not_published_while_the_first_is_under_way() {
    for version in VERSIONS {
        let mut connection = Connection::connected(version);
        let again = Publish { dup: true, ..publish(Some(2)) };
        connection.packet(Packet::Publish(publish(Some(1))));
        connection.packet(Packet::Publish(publish(Some(2))));
        assert_eq!(connection.packet(Packet::Publish(again.clone())), []);
        connection.settle(2, ReasonCode::Success);
        assert_eq!(connection.packet(Packet::Publish(again.clone())), [], "settled, its PUBACK still waits");
        let out = connection.settle(1, ReasonCode::Success);
        assert_eq!(out, [puback(1, ReasonCode::Success), puback(2, ReasonCode::Success)], "one PUBACK for both");
        let out = connection.packet(Packet::Publish(again.clone()));
        assert_eq!(out, [Output::Publish(Box::new(again))], "[MQTT-4.3.2-5] a new publication after the PUBACK");
    }
}

#[test]
fn more_than_receive_maximum_is_an_error_where_it_was_announced() {
    let settings = SessionSettings { receive_maximum: 2, ..STANDARD };
    for version in VERSIONS {
        let mut connection = Connection::connected_with(settings, connect(version));
        connection.packet(Packet::Publish(publish(Some(1))));
        connection.packet(Packet::Publish(publish(Some(2))));
        // A settled publish without PUBACK still counts; QoS 0 never does.
        connection.settle(2, ReasonCode::Success);
        assert_eq!(connection.packet(Packet::Publish(publish(None))).len(), 1);
        let out = connection.packet(Packet::Publish(publish(Some(3))));
        match version {
            V3_1_1 => assert_eq!(out, [Output::Publish(Box::new(publish(Some(3))))]),
            V5 => drop(check_ended(&out, V5, ReasonCode::ReceiveMaximumExceeded, "[MQTT-3.3.4-7]")),
        }
    }
}

#[test]
fn a_puback_makes_room_for_another_publish() {
    let settings = SessionSettings { receive_maximum: 1, ..STANDARD };
    let mut connection = Connection::connected_with(settings, connect(V5));
    for packet_id in 1..10 {
        let publish = publish(Some(packet_id));
        let out = connection.packet(Packet::Publish(publish.clone()));
        assert_eq!(out, [Output::Publish(Box::new(publish))]);
        assert_eq!(connection.settle(packet_id, ReasonCode::Success), [puback(packet_id, ReasonCode::Success)]);
    }
}

#[test]
fn a_refused_publish_is_told_in_mqtt_5_and_ends_mqtt_3_1_1() {
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        for version in VERSIONS {
            let mut connection = Connection::connected(version);
            connection.packet(Packet::Publish(Publish { qos, ..publish(Some(3)) }));
            let out = connection.settle(3, ReasonCode::NotAuthorized);
            match (version, qos) {
                (V3_1_1, _) => {
                    check_ended(&out, V3_1_1, ReasonCode::NotAuthorized, "[MQTT-3.3.5-2]");
                }
                (V5, Qos::ExactlyOnce) => assert_eq!(out, [pubrec(3, ReasonCode::NotAuthorized)], "[MQTT-3.5.2-1]"),
                (V5, _) => assert_eq!(out, [puback(3, ReasonCode::NotAuthorized)], "[MQTT-3.4.2-1]"),
            }
            assert!(connection.session.is_at_rest(), "the exchange is over");
        }
    }
}

#[test]
fn the_reason_of_a_refusal_is_left_out_where_it_is_not_wanted_or_has_no_room() {
    for (problems, maximum, words) in
        [(None, None, true), (Some(true), Some(60), true), (Some(false), None, false), (None, Some(20), false)]
    {
        let properties = ConnectProperties {
            request_problem_information: problems,
            maximum_packet_size: maximum,
            ..ConnectProperties::default()
        };
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut connection = Connection::connected_with(STANDARD, connect_with(properties.clone()));
            connection.packet(Packet::Publish(Publish { qos, ..publish(Some(3)) }));
            let out = connection.settle(3, ReasonCode::NotAuthorized);
            let reason_string = match &out[..] {
                [Output::Send(Packet::PubAck(ack))] => ack.properties.reason_string.is_some(),
                [Output::Send(Packet::PubRec(ack))] => ack.properties.reason_string.is_some(),
                other => panic!("{other:?}"),
            };
            assert_eq!(reason_string, words, "[MQTT-3.1.2-29], [MQTT-3.4.2-2], [MQTT-3.5.2-2]: {maximum:?}");
        }
    }
}

#[test]
fn an_identifier_in_use_by_the_other_quality_of_service_is_refused() {
    for version in VERSIONS {
        let rows: [(Publish, bool, Publish); 3] = [
            (publish(Some(1)), false, publish_2(1)),
            (publish_2(1), false, publish(Some(1))),
            (publish_2(1), true, publish(Some(1))),
        ];
        for (first, is_settled, second) in rows {
            let mut connection = Connection::connected(version);
            connection.packet(Packet::Publish(first));
            if is_settled {
                connection.settle(1, ReasonCode::Success);
            }
            let qos = second.qos;
            let out = connection.packet(Packet::Publish(second));
            match (version, qos) {
                (V3_1_1, _) => drop(check_ended(&out, V3_1_1, ReasonCode::ProtocolError, "[MQTT-2.2.1-3]")),
                (V5, Qos::ExactlyOnce) => assert_eq!(out, [pubrec(1, ReasonCode::PacketIdentifierInUse)]),
                (V5, _) => assert_eq!(out, [puback(1, ReasonCode::PacketIdentifierInUse)]),
            }
        }
    }
}

#[test]
fn the_message_expiry_interval_is_within_the_limits() {
    for (settings, asked, passed) in [
        (STANDARD, None, None),
        (STANDARD, Some(0), Some(0)),
        (STANDARD, Some(u32::MAX), Some(u32::MAX)),
        (SessionSettings::AWS, None, None),
        (SessionSettings::AWS, Some(0), Some(1)),
        (SessionSettings::AWS, Some(604_801), Some(604_800)),
    ] {
        let mut publish = publish(None);
        publish.properties.message_expiry_interval = asked;
        let out = Connection::connected_with(settings, connect(V5)).packet(Packet::Publish(publish));
        let [Output::Publish(publish)] = &out[..] else { panic!("{out:?}") };
        assert_eq!(publish.properties.message_expiry_interval, passed, "section 3.3.2.3.3");
    }
}
