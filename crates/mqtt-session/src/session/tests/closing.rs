use super::*;

fn connected_with_will(version: ProtocolVersion) -> Connection {
    let mut connection = Connection::connected_with(STANDARD, Connect { will: Some(will()), ..connect(version) });
    connection.session.add_subscription("a", options(Qos::AtLeastOnce));
    connection
}

#[test]
fn disconnect_discards_the_will_unless_its_code_says_otherwise() {
    for (version, code, keeps_will) in [
        (V3_1_1, ReasonCode::NormalDisconnection, false),
        (V5, ReasonCode::NormalDisconnection, false),
        (V5, ReasonCode::DisconnectWithWillMessage, true),
        (V5, ReasonCode::UnspecifiedError, true),
        (V5, ReasonCode::MalformedPacket, true),
    ] {
        let mut connection = connected_with_will(version);
        let out = connection.packet(Packet::Disconnect(Disconnect::new(code)));
        let expected = Disconnection {
            reason_code: code,
            reason: "the client disconnected",
            client_initiated: true,
            will: keeps_will.then(will_message),
            client_id: ClientId::new("c"),
            subscriptions: [("a".to_owned(), options(Qos::AtLeastOnce))].into(),
        };
        assert_eq!(out, [Output::Close(expected)], "[MQTT-3.14.4-3], [MQTT-3.1.2-8]");
        assert!(connection.session.is_closed());
    }
}

#[test]
fn every_other_ending_publishes_the_will() {
    for version in VERSIONS {
        let mut lost = connected_with_will(version);
        let out = lost.input(Input::ConnectionLost);
        assert!(
            matches!(&out[..], [Output::Close(ended)]
                if ended.will == Some(will_message()) && ended.subscriptions.contains_key("a")),
            "[MQTT-3.1.2-8]: {out:?}"
        );

        type End = fn(&mut Connection) -> Vec<Output>;
        let rows: &[(ReasonCode, &str, End)] = &[
            (ReasonCode::ProtocolError, "only a server", |c| c.packet(Packet::PingResp)),
            (ReasonCode::MalformedPacket, "section 1.2", |c| c.input(Input::Undecodable(DecodeError::Truncated))),
            (ReasonCode::KeepAliveTimeout, "[MQTT-3.1.2-22]", |c| c.wait(90_000)),
            (ReasonCode::SessionTakenOver, "another", |c| {
                c.input(Input::End { reason_code: ReasonCode::SessionTakenOver, reason: "another" })
            }),
        ];
        for (code, clause, end) in rows {
            let out = end(&mut connected_with_will(version));
            let ended = check_ended(&out, version, *code, clause);
            assert_eq!((ended.will, ended.client_id), (Some(will_message()), ClientId::new("c")), "{clause}");
        }
    }
}

#[test]
fn the_will_keeps_its_properties() {
    let mut connect = connect(V5);
    let properties = WillProperties {
        will_delay_interval: None,
        payload_format_indicator: Some(true),
        message_expiry_interval: Some(9),
        content_type: Some("text/plain".into()),
        response_topic: Some("answers".into()),
        correlation_data: Some("42".into()),
        user_properties: vec![("k".into(), "v".into())],
    };
    connect.will = Some(Will { properties, ..will() });
    let out = Connection::connected_with(STANDARD, connect).input(Input::ConnectionLost);
    let [Output::Close(Disconnection { will: Some(will), .. })] = &out[..] else { panic!("{out:?}") };
    let expected = PublicationProperties {
        payload_format_indicator: Some(true),
        message_expiry_interval: Some(9),
        content_type: Some("text/plain".into()),
        response_topic: Some("answers".into()),
        correlation_data: Some("42".into()),
        user_properties: vec![("k".into(), "v".into())],
    };
    assert_eq!(will.properties.as_deref(), Some(&expected), "section 3.1.3.2");
}

#[test]
fn a_session_expiry_interval_may_not_begin_with_disconnect() {
    for (in_connect, in_disconnect, is_error) in [
        (None, None, false),
        (None, Some(0), false),
        (None, Some(1), true),
        (Some(0), Some(1), true),
        (Some(1), Some(2), false),
        (Some(1), Some(0), false),
    ] {
        let properties = ConnectProperties { session_expiry_interval: in_connect, ..ConnectProperties::default() };
        let connect = Connect { will: Some(will()), ..connect_with(properties) };
        let mut connection = Connection::connected_with(STANDARD, connect);
        let mut disconnect = Disconnect::default();
        disconnect.properties.session_expiry_interval = in_disconnect;
        let out = connection.packet(Packet::Disconnect(disconnect));
        if is_error {
            let ended = check_ended(&out, V5, ReasonCode::ProtocolError, "section 3.14.2.2.2");
            assert_eq!(ended.will, Some(will_message()), "it is no valid DISCONNECT");
        } else {
            assert!(matches!(&out[..], [Output::Close(ended)] if ended.client_initiated), "{out:?}");
        }
    }
}

#[test]
fn packets_that_have_no_place_here_are_protocol_errors() {
    for version in VERSIONS {
        for packet in packets_after_connect(version) {
            let clause = match &packet {
                Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => "only a server",
                Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_) => "QoS 2 is not in use",
                Packet::Auth(_) => "[MQTT-4.12.0-7]",
                _ => continue,
            };
            let out = Connection::connected(version).packet(packet);
            check_ended(&out, version, ReasonCode::ProtocolError, clause);
        }
    }
}

#[test]
fn pingreq_is_answered() {
    for version in VERSIONS {
        let out = Connection::connected(version).packet(Packet::PingReq);
        assert_eq!(out, [Output::Send(Packet::PingResp)], "[MQTT-3.12.4-1]");
    }
}

#[test]
fn silence_of_one_and_a_half_times_the_keep_alive_ends_the_connection() {
    for version in VERSIONS {
        let mut connection = Connection::connected(version);
        assert_eq!(connection.session.next_timeout(), Some(START.plus_millis(90_000)));
        assert_eq!(connection.wait(89_999), []);
        // Any packet counts; what the server does for itself doesn't.
        connection.packet(Packet::PingReq);
        connection.now = connection.now.plus_millis(60_000);
        connection.deliver(delivery("t", Qos::AtMostOnce));
        assert_eq!(connection.wait(29_999), []);
        let out = connection.wait(1);
        check_ended(&out, version, ReasonCode::KeepAliveTimeout, "[MQTT-3.1.2-22]");
        assert_eq!(connection.session.next_timeout(), None);
    }
}

#[test]
fn without_a_keep_alive_silence_is_patience() {
    for version in VERSIONS {
        let mut connection = Connection::connected_with(STANDARD, Connect { keep_alive: 0, ..connect(version) });
        assert_eq!(connection.session.next_timeout(), None);
        assert_eq!(connection.wait(1_000_000_000), []);
    }
}

#[test]
fn reasons_in_words_are_for_those_who_want_them() {
    for (wanted, words) in [(None, true), (Some(true), true), (Some(false), false)] {
        let properties = ConnectProperties { request_problem_information: wanted, ..ConnectProperties::default() };
        let end = || Input::End { reason_code: ReasonCode::NotAuthorized, reason: "why" };

        let out = Connection::connected_with(STANDARD, connect_with(properties.clone())).input(end());
        let [Output::Send(Packet::Disconnect(disconnect)), _] = &out[..] else { panic!("{out:?}") };
        assert_eq!(disconnect.properties.reason_string.is_some(), words, "section 3.1.2.11.7, {wanted:?}");

        let out = Connection::connecting(STANDARD, connect_with(properties)).input(end());
        let [Output::Send(Packet::ConnAck(connack)), _] = &out[..] else { panic!("{out:?}") };
        assert_eq!(connack.properties.reason_string.is_some(), words, "section 3.1.2.11.7, {wanted:?}");
    }
}

#[test]
fn reasons_in_words_are_left_out_where_they_do_not_fit() {
    let properties = ConnectProperties { maximum_packet_size: Some(60), ..ConnectProperties::default() };
    for (reason, words) in [("short", true), ("a reason that has rather more letters than the client's maximum", false)]
    {
        let end = || Input::End { reason_code: ReasonCode::NotAuthorized, reason };
        let out = Connection::connected_with(STANDARD, connect_with(properties.clone())).input(end());
        let [Output::Send(Packet::Disconnect(disconnect)), _] = &out[..] else { panic!("{out:?}") };
        assert_eq!(disconnect.properties.reason_string.is_some(), words, "[MQTT-3.14.2-3]");
        let out = Connection::connecting(STANDARD, connect_with(properties.clone())).input(end());
        let [Output::Send(Packet::ConnAck(connack)), _] = &out[..] else { panic!("{out:?}") };
        assert_eq!(connack.properties.reason_string.is_some(), words, "[MQTT-3.2.2-19]");
    }
}

#[test]
fn a_closed_session_says_nothing_more() {
    for version in VERSIONS {
        let mut connection = Connection::connected(version);
        connection.packet(Packet::Disconnect(Disconnect::default()));
        for packet in packets_after_connect(version).into_iter().chain([Packet::Connect(connect(version))]) {
            assert_eq!(connection.packet(packet), [], "[MQTT-3.14.4-1]");
        }
        assert_eq!(connection.accept(), []);
        assert_eq!(connection.deliver(delivery("t", Qos::AtMostOnce)), []);
        assert_eq!(connection.settle(1, ReasonCode::Success), []);
        assert_eq!(connection.input(Input::ConnectionLost), []);
        assert_eq!(connection.input(Input::Undecodable(DecodeError::Truncated)), []);
        assert_eq!(connection.input(Input::End { reason_code: ReasonCode::ServerBusy, reason: "" }), []);
        assert_eq!(connection.wait(1_000_000), []);
        assert!(connection.session.snapshot().is_none());
    }
}
