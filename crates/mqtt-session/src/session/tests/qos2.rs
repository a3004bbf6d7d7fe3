//! QoS 2 of sessions that end with their connection.

use super::*;

#[test]
fn a_message_of_qos_2_is_published_once_and_answered_twice() {
    for version in VERSIONS {
        let mut connection = Connection::connected(version);
        assert_eq!(connection.packet(Packet::Publish(publish_2(7))), [Output::Publish(Box::new(publish_2(7)))]);
        let again = Publish { dup: true, ..publish_2(7) };
        assert_eq!(connection.packet(Packet::Publish(again.clone())), [], "its PUBREC is still to come");
        assert_eq!(connection.settle(7, ReasonCode::Success), [pubrec(7, ReasonCode::Success)], "[MQTT-4.3.3-8]");
        assert!(!connection.session.is_at_rest(), "the identifier has to be remembered");
        for _ in 0..2 {
            let out = connection.packet(Packet::Publish(again.clone()));
            assert_eq!(out, [pubrec(7, ReasonCode::Success)], "[MQTT-4.3.3-10], and no second publication");
        }
        assert_eq!(connection.pubrel(7), [pubcomp(7, version, ReasonCode::Success)], "[MQTT-4.3.3-11]");
        assert!(connection.session.is_at_rest());
        let out = connection.packet(Packet::Publish(publish_2(7)));
        assert_eq!(out, [Output::Publish(Box::new(publish_2(7)))], "[MQTT-4.3.3-12] a new message after PUBCOMP");
    }
}

#[test]
fn pubrel_without_a_message_is_answered_so() {
    for version in VERSIONS {
        let mut connection = Connection::connected(version);
        let unknown = pubcomp(3, version, ReasonCode::PacketIdentifierNotFound);
        assert_eq!(connection.pubrel(3), [unknown], "section 3.7.2.1");
        connection.packet(Packet::Publish(publish_2(3)));
        let unknown = pubcomp(3, version, ReasonCode::PacketIdentifierNotFound);
        assert_eq!(connection.pubrel(3), [unknown], "before PUBREC");
        connection.settle(3, ReasonCode::Success);
        assert_eq!(connection.pubrel(3), [pubcomp(3, version, ReasonCode::Success)]);
        let unknown = pubcomp(3, version, ReasonCode::PacketIdentifierNotFound);
        assert_eq!(connection.pubrel(3), [unknown], "twice");
    }
}

#[test]
fn a_refused_message_frees_its_identifier() {
    let mut connection = Connection::connected(V5);
    connection.packet(Packet::Publish(publish_2(3)));
    assert_eq!(connection.settle(3, ReasonCode::QuotaExceeded), [pubrec(3, ReasonCode::QuotaExceeded)]);
    assert!(connection.session.is_at_rest());
    let out = connection.packet(Packet::Publish(publish_2(3)));
    assert_eq!(out, [Output::Publish(Box::new(publish_2(3)))], "[MQTT-4.3.3-9] a new message");
}

#[test]
fn pubrecs_leave_in_the_order_of_the_publishes() {
    for version in VERSIONS {
        let mut connection = Connection::connected(version);
        for packet_id in [5, 3] {
            connection.packet(Packet::Publish(publish_2(packet_id)));
        }
        connection.packet(Packet::Publish(publish(Some(4))));
        assert_eq!(connection.settle(3, ReasonCode::Success), [], "[MQTT-4.6.0-3]");
        let out = connection.settle(5, ReasonCode::Success);
        assert_eq!(out, [pubrec(5, ReasonCode::Success), pubrec(3, ReasonCode::Success)]);
        assert_eq!(connection.settle(4, ReasonCode::Success), [puback(4, ReasonCode::Success)], "[MQTT-4.6.0-2]");
    }
}

#[test]
fn a_message_counts_for_receive_maximum_until_its_pubcomp() {
    let settings = SessionSettings { receive_maximum: 2, ..STANDARD };
    let begin = || {
        let mut connection = Connection::connected_with(settings, connect(V5));
        connection.packet(Packet::Publish(publish_2(1)));
        connection.packet(Packet::Publish(publish_2(2)));
        connection.settle(1, ReasonCode::Success);
        connection
    };
    let third = || Packet::Publish(publish(Some(3)));
    let mut connection = begin();
    let out = connection.packet(third());
    check_ended(&out, V5, ReasonCode::ReceiveMaximumExceeded, "[MQTT-3.3.4-7]");

    let mut connection = begin();
    connection.packet(Packet::Publish(Publish { dup: true, ..publish_2(1) }));
    connection.pubrel(1);
    assert_eq!(connection.packet(third()), [Output::Publish(Box::new(publish(Some(3))))], "after PUBCOMP");
    let out = connection.packet(Packet::Publish(publish_2(4)));
    check_ended(&out, V5, ReasonCode::ReceiveMaximumExceeded, "[MQTT-3.3.4-7]");

    let mut connection = begin();
    connection.settle(2, ReasonCode::QuotaExceeded);
    assert_eq!(
        connection.packet(third()),
        [Output::Publish(Box::new(publish(Some(3))))],
        "after a PUBREC with an error"
    );
}

#[test]
fn a_delivery_of_qos_2_takes_four_packets() {
    for version in VERSIONS {
        let mut connection = Connection::connected(version);
        let out = connection.deliver(delivery("t", Qos::ExactlyOnce));
        assert_eq!(out, [Output::Send(Packet::Publish(publish_2(1)))], "[MQTT-4.3.3-2], [MQTT-3.3.1-2]");
        assert!(!connection.session.is_at_rest());
        let released = || [pubrel(1, version, ReasonCode::Success)];
        assert_eq!(connection.pubrec(1, ReasonCode::Success), released(), "[MQTT-4.3.3-4]");
        assert_eq!(connection.pubrec(1, ReasonCode::Success), released(), "it was lost, or so the client thinks");
        assert!(!connection.session.is_at_rest());
        assert_eq!(connection.pubcomp(1), []);
        assert!(connection.session.is_at_rest());
    }
}

#[test]
fn pubrec_for_an_unknown_message_is_answered_so() {
    for version in VERSIONS {
        let mut connection = Connection::connected(version);
        let unknown = || [pubrel(9, version, ReasonCode::PacketIdentifierNotFound)];
        assert_eq!(connection.pubrec(9, ReasonCode::Success), unknown(), "section 3.6.2.1");
        assert_eq!(connection.pubrec(9, ReasonCode::NoMatchingSubscribers), unknown());
        assert_eq!(connection.pubcomp(9), []);
    }
    let mut connection = Connection::connected(V5);
    assert_eq!(connection.pubrec(9, ReasonCode::UnspecifiedError), [], "there is nothing to release");
}

#[test]
fn a_pubrec_with_an_error_ends_the_delivery_and_opens_the_window() {
    let properties = ConnectProperties { receive_maximum: Some(1), ..ConnectProperties::default() };
    for code in [ReasonCode::UnspecifiedError, ReasonCode::NotAuthorized, ReasonCode::PacketIdentifierInUse] {
        let mut connection = Connection::connected_with(STANDARD, connect_with(properties.clone()));
        connection.deliver(delivery("1", Qos::ExactlyOnce));
        assert_eq!(connection.deliver(delivery("2", Qos::AtLeastOnce)), []);
        assert_eq!(deliveries(&connection.pubrec(1, code)), [("2".into(), Some(2))], "[MQTT-4.4.0-2]");
        connection.acknowledge(2);
        assert!(connection.session.is_at_rest());
    }
}

#[test]
fn a_delivery_holds_its_place_in_the_window_until_pubcomp() {
    let properties = ConnectProperties { receive_maximum: Some(1), ..ConnectProperties::default() };
    let mut connection = Connection::connected_with(STANDARD, connect_with(properties));
    connection.deliver(delivery("1", Qos::ExactlyOnce));
    assert_eq!(connection.deliver(delivery("2", Qos::ExactlyOnce)), [], "[MQTT-3.3.4-9]");
    assert_eq!(connection.acknowledge(1), [], "PUBACK is for QoS 1");
    assert_eq!(connection.pubcomp(1), [], "before PUBREC");
    assert_eq!(connection.pubrec(1, ReasonCode::Success).len(), 1);
    assert_eq!(deliveries(&connection.pubcomp(1)), [("2".into(), Some(2))]);
}

#[test]
fn pubrels_leave_in_the_order_of_the_pubrecs() {
    for version in VERSIONS {
        let mut connection = Connection::connected(version);
        for topic in ["1", "2", "3"] {
            connection.deliver(delivery(topic, Qos::ExactlyOnce));
        }
        for packet_id in [2, 1, 3] {
            let out = connection.pubrec(packet_id, ReasonCode::Success);
            assert_eq!(out, [pubrel(packet_id, version, ReasonCode::Success)], "[MQTT-4.6.0-4]");
        }
    }
}

#[test]
fn a_message_that_the_publisher_sends_again_is_delivered_once() {
    for version in VERSIONS {
        let named = || {
            let mut delivery = delivery("t", Qos::ExactlyOnce);
            let name = MessageId { origin: 1, number: 2 };
            Rc::get_mut(&mut delivery.publication).unwrap().message_id = Some(name);
            delivery
        };
        let mut connection = Connection::connected(version);
        assert_eq!(connection.deliver(named()).len(), 1);
        assert_eq!(connection.deliver(named()), []);
        connection.pubrec(1, ReasonCode::Success);
        assert_eq!(connection.deliver(named()), []);
        connection.pubcomp(1);
        assert_eq!(connection.deliver(named()), []);
        let snapshot = connection.session.snapshot().unwrap();
        connection.session = Session::restore(STANDARD, snapshot);
        assert_eq!(connection.deliver(named()), [], "after sleep as well");
    }
}
