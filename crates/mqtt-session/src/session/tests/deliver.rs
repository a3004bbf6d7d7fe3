use super::*;

/// Announces this Receive Maximum in MQTT 5.0; MQTT 3.1.1 gets the same window from the settings.
fn connected_with_window(version: ProtocolVersion, window: u16, settings: SessionSettings) -> Connection {
    match version {
        V3_1_1 => {
            let settings = SessionSettings { maximum_inflight: window, ..settings };
            Connection::connected_with(settings, connect(V3_1_1))
        }
        V5 => {
            let properties = ConnectProperties { receive_maximum: Some(window), ..ConnectProperties::default() };
            Connection::connected_with(settings, connect_with(properties))
        }
    }
}

#[test]
fn messages_wait_for_the_receive_window_and_leave_in_order() {
    for version in VERSIONS {
        let mut connection = connected_with_window(version, 2, STANDARD);
        let mut sent = Vec::new();
        for topic in ["1", "2", "3", "4", "5"] {
            sent.extend(deliveries(&connection.deliver(delivery(topic, Qos::AtLeastOnce))));
        }
        assert_eq!(sent, [("1".into(), Some(1)), ("2".into(), Some(2))], "[MQTT-3.3.4-9]");
        // The window opens by whichever is acknowledged; the order is that of the messages ([MQTT-4.6.0-5]).
        assert_eq!(deliveries(&connection.acknowledge(2)), [("3".into(), Some(3))]);
        assert_eq!(deliveries(&connection.acknowledge(1)), [("4".into(), Some(4))]);
        assert_eq!(deliveries(&connection.acknowledge(4)), [("5".into(), Some(5))]);
        for packet_id in [3, 5] {
            assert_eq!(connection.acknowledge(packet_id), []);
        }
        assert!(connection.session.is_at_rest());
    }
}

#[test]
fn messages_with_qos_0_wait_for_nobody() {
    for version in VERSIONS {
        let mut connection = connected_with_window(version, 1, STANDARD);
        connection.deliver(delivery("1", Qos::AtLeastOnce));
        connection.deliver(delivery("2", Qos::AtLeastOnce));
        assert_eq!(deliveries(&connection.deliver(delivery("3", Qos::AtMostOnce))), [("3".into(), None)]);
    }
}

#[test]
fn the_window_is_never_larger_than_the_servers_own() {
    let settings = SessionSettings { maximum_inflight: 1, ..STANDARD };
    let mut connection = connected_with_window(V5, 10, settings);
    assert_eq!(connection.deliver(delivery("1", Qos::AtLeastOnce)).len(), 1);
    assert_eq!(connection.deliver(delivery("2", Qos::AtLeastOnce)), []);
}

#[test]
fn a_full_queue_drops_the_newest() {
    let weight = delivery("3", Qos::AtLeastOnce).publication.weight();
    for settings in [
        SessionSettings { maximum_queued_messages: 2, ..STANDARD },
        SessionSettings { maximum_queued_bytes: 4 * weight - 1, ..STANDARD },
    ] {
        for version in VERSIONS {
            let mut connection = connected_with_window(version, 1, settings);
            connection.deliver(delivery("1", Qos::AtLeastOnce));
            assert_eq!(connection.deliver(delivery("2", Qos::AtLeastOnce)), []);
            assert_eq!(connection.deliver(delivery("3", Qos::AtLeastOnce)), []);
            assert_eq!(connection.deliver(delivery("4", Qos::AtLeastOnce)), [Output::Dropped(1)]);
            assert_eq!(deliveries(&connection.acknowledge(1)), [("2".into(), Some(2))]);
            assert_eq!(connection.deliver(delivery("5", Qos::AtLeastOnce)), [], "there is room again");
            assert_eq!(deliveries(&connection.acknowledge(2)), [("3".into(), Some(3))]);
            assert_eq!(deliveries(&connection.acknowledge(3)), [("5".into(), Some(4))]);
        }
    }
}

#[test]
fn puback_with_unknown_packet_id_is_ignored() {
    for version in VERSIONS {
        let mut connection = connected_with_window(version, 1, STANDARD);
        assert_eq!(connection.acknowledge(1), []);
        connection.deliver(delivery("1", Qos::AtLeastOnce));
        connection.deliver(delivery("2", Qos::AtLeastOnce));
        assert_eq!(connection.acknowledge(9), [], "it opens no window");
        assert_eq!(deliveries(&connection.acknowledge(1)), [("2".into(), Some(2))]);
        assert_eq!(connection.acknowledge(1), [], "nor does the same one twice");
    }
}

#[test]
fn a_packet_identifier_in_use_is_passed_over_when_the_numbers_wrap() {
    for version in VERSIONS {
        let mut connection = connected_with_window(version, 2, STANDARD);
        connection.deliver(delivery("stays", Qos::AtLeastOnce));
        for packet_id in 2..=u16::MAX {
            connection.deliver(delivery("goes", Qos::AtLeastOnce));
            connection.acknowledge(packet_id);
        }
        let out = connection.deliver(delivery("next", Qos::AtLeastOnce));
        assert_eq!(deliveries(&out), [("next".into(), Some(2))], "[MQTT-2.2.1-4]");
    }
}

#[test]
fn expired_messages_are_not_sent() {
    for version in VERSIONS {
        let mut connection = connected_with_window(version, 1, STANDARD);
        connection.deliver(delivery("1", Qos::AtLeastOnce));
        connection.deliver(expiring("2", 10));
        connection.deliver(expiring("3", 20));
        connection.deliver(expiring("4", 10));
        assert_eq!(connection.wait(10_000), []);
        let out = connection.acknowledge(1);
        assert!(matches!(&deliveries(&out)[..], [(topic, Some(2))] if topic == "3"), "{out:?}");
        assert_eq!(connection.acknowledge(2), [], "the last one expired in the queue");
        assert!(connection.session.is_at_rest());
    }
}

#[test]
fn a_message_that_expired_on_its_way_is_not_sent() {
    for version in VERSIONS {
        for (waited, is_sent) in [(9_999, true), (10_000, false)] {
            let mut connection = Connection::connected(version);
            connection.now = START.plus_millis(waited);
            assert_eq!(connection.deliver(expiring("t", 10)).len(), usize::from(is_sent), "[MQTT-3.3.2-5]");
            assert_eq!(connection.session.is_at_rest(), !is_sent);
        }
    }
}

#[test]
fn the_remaining_expiry_interval_is_forwarded() {
    for version in VERSIONS {
        let mut connection = Connection::connected(version);
        connection.now = START.plus_millis(4_000);
        let out = connection.deliver(expiring("t", 10));
        let [Output::Send(Packet::Publish(publish))] = &out[..] else { panic!("{out:?}") };
        let expected = (version == V5).then_some(6);
        assert_eq!(publish.properties.message_expiry_interval, expected, "[MQTT-3.3.2-6]");
    }
}

/// A delivery with everything that MQTT 5.0 passes on.
fn rich() -> Delivery {
    let properties = PublicationProperties {
        payload_format_indicator: Some(true),
        message_expiry_interval: Some(10),
        content_type: Some("text/plain".into()),
        response_topic: Some("answers".into()),
        correlation_data: Some("42".into()),
        user_properties: [("b", "1"), ("a", "2")].into(),
    };
    let mut rich = with_properties(delivery("t", Qos::AtLeastOnce), properties);
    rich.subscription_identifiers = vec![7, 300_000];
    rich.retain = true;
    rich
}

#[test]
fn properties_and_subscription_identifiers_reach_mqtt_5_only() {
    let passed = PublishProperties {
        payload_format_indicator: Some(true),
        message_expiry_interval: Some(10),
        content_type: Some("text/plain".into()),
        response_topic: Some("answers".into()),
        correlation_data: Some("42".into()),
        user_properties: [("b", "1"), ("a", "2")].into(),
        subscription_identifiers: vec![7, 300_000],
        topic_alias: None,
    };
    for (version, properties) in [(V3_1_1, PublishProperties::default()), (V5, passed)] {
        let out = Connection::connected(version).deliver(rich());
        let expected = Publish { retain: true, properties: properties.into(), ..publish(Some(1)) };
        assert_eq!(out, [Output::Send(Packet::Publish(expected))], "[MQTT-3.3.2-17], [MQTT-3.3.4-3]");
    }
}

#[test]
fn packets_too_large_for_the_client_are_skipped() {
    for delivery in [rich(), delivery("a/longer/topic", Qos::AtMostOnce), delivery("t", Qos::AtLeastOnce)] {
        let out = Connection::connected(V5).deliver(delivery.clone());
        let [Output::Send(packet)] = &out[..] else { panic!("{out:?}") };
        let length = encoded_len(packet, V5);
        // Too small a maximum for CONNACK would end the connection, so a payload makes up for it.
        let mut padded = delivery;
        Rc::get_mut(&mut padded.publication).unwrap().payload = vec![0; 61].into();
        let length = u32::try_from(length).unwrap() + 60;
        for (maximum, is_sent) in [(length, true), (length - 1, false)] {
            let properties = ConnectProperties {
                maximum_packet_size: Some(maximum),
                receive_maximum: Some(1),
                ..ConnectProperties::default()
            };
            let mut connection = Connection::connected_with(STANDARD, connect_with(properties));
            let out = connection.deliver(padded.clone());
            assert_eq!(out.len(), usize::from(is_sent), "[MQTT-3.1.2-25] {maximum}");
            if !is_sent {
                assert!(connection.session.is_at_rest(), "it counts as delivered");
            }
        }
    }
}

#[test]
fn nothing_is_delivered_before_connack() {
    for version in VERSIONS {
        let mut connection = Connection::connecting(STANDARD, connect(version));
        assert_eq!(connection.deliver(delivery("t", Qos::AtLeastOnce)), []);
        assert_eq!(connection.accept().len(), 1);
    }
}
