use super::*;

fn aliased(topic: &str, alias: u16) -> Packet {
    let mut publish = Publish { topic: topic.into(), ..publish(None) };
    publish.properties.topic_alias = Some(alias);
    Packet::Publish(publish)
}

/// The topic that the broker gets.
fn topic(out: &[Output]) -> &str {
    let [Output::Publish(publish)] = out else { panic!("{out:?}") };
    assert_eq!(publish.properties.topic_alias, None, "it means nothing outside of the connection");
    &publish.topic
}

#[test]
fn an_alias_stands_for_the_topic_that_came_with_it_last() {
    let mut connection = Connection::connected(V5);
    for (sent, alias, expected) in
        [("a", 1, "a"), ("b", 16, "b"), ("", 1, "a"), ("", 16, "b"), ("c", 1, "c"), ("", 1, "c"), ("", 16, "b")]
    {
        assert_eq!(topic(&connection.packet(aliased(sent, alias))), expected, "[MQTT-3.3.2-12]");
    }
}

#[test]
fn an_alias_is_noted_whatever_becomes_of_the_message() {
    let settings = SessionSettings { publish_rate: Some(RateLimit { per_second: 1, burst: 1 }), ..STANDARD };
    let mut connection = Connection::connected_with(settings, connect(V5));
    assert_eq!(topic(&connection.packet(aliased("a", 1))), "a");
    assert_eq!(connection.packet(aliased("b", 1)), [], "dropped");
    connection.wait(1_000);
    assert_eq!(topic(&connection.packet(aliased("", 1))), "b");
}

#[test]
fn aliases_that_were_not_allowed_or_mean_nothing_end_the_connection() {
    for (settings, packet, code, clause) in [
        (STANDARD, aliased("a", 17), ReasonCode::TopicAliasInvalid, "[MQTT-3.3.2-9]"),
        (SessionSettings::AWS, aliased("a", 9), ReasonCode::TopicAliasInvalid, "[MQTT-3.3.2-9]"),
        (
            SessionSettings { topic_alias_maximum: 0, ..STANDARD },
            aliased("a", 1),
            ReasonCode::TopicAliasInvalid,
            "[MQTT-3.3.2-9]",
        ),
        (STANDARD, aliased("", 1), ReasonCode::ProtocolError, "section 3.3.2.3.4"),
    ] {
        let out = Connection::connected_with(settings, connect(V5)).packet(packet);
        check_ended(&out, V5, code, clause);
    }
    let out = Connection::connected(V5).input(Input::Undecodable(DecodeError::TopicAliasZero));
    check_ended(&out, V5, ReasonCode::TopicAliasInvalid, "[MQTT-3.3.2-8]");
}

#[test]
fn the_clients_aliases_survive_sleep_and_not_the_connection() {
    let mut connection = Connection::connected(V5);
    assert!(connection.session.take_changed(), "accepted");
    connection.packet(aliased("a", 1));
    assert!(connection.session.take_changed(), "what was stored before is out of date");
    connection.packet(aliased("a", 1));
    connection.packet(aliased("", 1));
    assert!(!connection.session.take_changed());
    let snapshot = connection.session.snapshot().unwrap();
    assert!(!snapshot.is_dirty);
    connection.session = Session::restore(STANDARD, snapshot);
    assert_eq!(topic(&connection.packet(aliased("", 1))), "a");

    let out = Connection::connected(V5).packet(aliased("", 1));
    check_ended(&out, V5, ReasonCode::ProtocolError, "section 3.3.2.3.4"); // [MQTT-3.3.2-7]
}

fn allowing(aliases: Option<u16>, maximum_packet_size: Option<u32>) -> Connect {
    connect_with(ConnectProperties {
        topic_alias_maximum: aliases,
        maximum_packet_size,
        ..ConnectProperties::default()
    })
}

/// Topic and alias of what the client gets.
fn gets(connection: &mut Connection, topic: &str) -> (String, Option<u16>) {
    let out = connection.deliver(delivery(topic, Qos::AtMostOnce));
    let [Output::Send(Packet::Publish(publish))] = &out[..] else { panic!("{out:?}") };
    (publish.topic.to_string(), publish.properties.topic_alias)
}

#[test]
fn a_client_that_allows_aliases_gets_them_at_once_and_then_for_topics_that_come_back() {
    let mut connection = Connection::connected_with(STANDARD, allowing(Some(1), None));
    for (topic, sent, alias) in [
        ("long/topic", "long/topic", Some(1)),
        ("long/topic", "", Some(1)),
        ("another/one", "another/one", None),
        ("another/one", "another/one", Some(1)),
        ("long/topic", "long/topic", None),
    ] {
        assert_eq!(gets(&mut connection, topic), (sent.into(), alias), "[MQTT-3.1.2-26], [MQTT-3.3.2-11]");
    }
}

#[test]
fn a_client_that_allows_none_gets_none() {
    for connect in [allowing(None, None), allowing(Some(0), None), connect(V3_1_1)] {
        let mut connection = Connection::connected_with(STANDARD, connect);
        for _ in 0..3 {
            assert_eq!(gets(&mut connection, "long/topic"), ("long/topic".into(), None), "[MQTT-3.1.2-27]");
        }
    }
}

#[test]
fn never_more_aliases_are_used_than_the_client_and_the_settings_allow() {
    for (allowed, most) in [(2, 2), (100, 16)] {
        let mut connection = Connection::connected_with(STANDARD, allowing(Some(allowed), None));
        for number in 0..40 {
            for _ in 0..2 {
                let (_, alias) = gets(&mut connection, &format!("long/topic/{number}"));
                assert!(alias.is_none_or(|alias| alias <= most), "[MQTT-3.1.2-26]");
            }
        }
    }
}

#[test]
fn an_alias_that_would_make_the_packet_too_large_is_not_begun() {
    let topic = "t".repeat(60);
    let length = 2 + 2 + 60 + 1 + 1;
    for (maximum, alias) in [(length, None), (length + 3, Some(1))] {
        let mut connection = Connection::connected_with(STANDARD, allowing(Some(1), Some(maximum)));
        assert_eq!(gets(&mut connection, &topic), (topic.clone(), alias), "[MQTT-3.1.2-24]");
    }
}

#[test]
fn our_aliases_begin_anew_after_sleep() {
    let mut connection = Connection::connected_with(STANDARD, allowing(Some(5), None));
    for sent in ["long/topic", ""] {
        assert_eq!(gets(&mut connection, "long/topic"), (sent.into(), Some(1)));
    }
    let snapshot = connection.session.snapshot().unwrap();
    connection.session = Session::restore(STANDARD, snapshot);
    for (sent, alias) in [("long/topic", Some(1)), ("", Some(1))] {
        assert_eq!(gets(&mut connection, "long/topic"), (sent.into(), alias));
    }
}
