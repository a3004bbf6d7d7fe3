use super::*;

#[test]
fn a_publish_that_breaks_a_rule_ends_the_connection() {
    type Change = fn(&mut Publish);
    let rows: &[(&str, &[ProtocolVersion], ReasonCode, Change)] = &[
        ("[MQTT-3.2.2-11]", &VERSIONS, ReasonCode::QosNotSupported, |publish| publish.qos = Qos::ExactlyOnce),
        ("[MQTT-3.3.2-9]", &[V5], ReasonCode::TopicAliasInvalid, |publish| publish.properties.topic_alias = Some(1)),
        ("[MQTT-3.3.4-6]", &[V5], ReasonCode::ProtocolError, |publish| {
            publish.properties.subscription_identifiers = vec![1];
        }),
        ("[MQTT-3.2.2-14]", &[V5], ReasonCode::RetainNotSupported, |publish| publish.retain = true),
    ];
    for (clause, versions, code, change) in rows {
        for version in *versions {
            let mut publish = publish(Some(1));
            change(&mut publish);
            let out = Connection::connected(*version).packet(Packet::Publish(publish));
            check_ended(&out, *version, *code, clause);
        }
    }
}

#[test]
fn mqtt_3_1_1_may_set_retain_because_it_was_never_told_not_to() {
    let retained = Publish { retain: true, ..publish(None) };
    let out = Connection::connected(V3_1_1).packet(Packet::Publish(retained.clone()));
    assert_eq!(out, [Output::Publish(Box::new(retained))]);
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
        let out = connection.settle(3, ReasonCode::NotAuthorized);
        assert_eq!(out, [puback(3, ReasonCode::NotAuthorized), puback(9, ReasonCode::Success)]);
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
