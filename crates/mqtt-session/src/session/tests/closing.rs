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
            disconnect_reason: DisconnectReason::ClientInitiated,
            publishes_will: keeps_will,
            session_expiry: None,
            is_durable: false,
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
                if ended.publishes_will && ended.subscriptions.contains_key("a")),
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
            assert_eq!((ended.publishes_will, ended.client_id), (true, ClientId::new("c")), "{clause}");
        }
    }
}

#[test]
fn a_disconnect_with_a_code_for_servers_is_a_protocol_error() {
    let of_clients = [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99];
    for code in ReasonCode::ALL.iter().copied().filter(|code| code.is_allowed_in(PacketType::Disconnect)) {
        let out = connected_with_will(V5).packet(Packet::Disconnect(Disconnect::new(code)));
        if of_clients.contains(&code.as_u8()) {
            assert!(matches!(&out[..], [Output::Close(ended)] if ended.client_initiated), "{code:?}: {out:?}");
        } else {
            let ended = check_ended(&out, V5, ReasonCode::ProtocolError, "[MQTT-3.14.2-1]");
            assert!(ended.publishes_will, "it is no valid DISCONNECT");
        }
    }
}

#[test]
fn a_session_expiry_interval_may_not_begin_with_disconnect() {
    for (in_connect, in_disconnect, expected) in [
        (None, None, Ok(None)),
        (None, Some(0), Ok(None)),
        (None, Some(1), Err(())),
        (Some(0), Some(1), Err(())),
        (Some(1), None, Ok(None)),
        (Some(1), Some(7_200), Ok(Some(7_200))),
        (Some(1), Some(0), Ok(Some(0))),
    ] {
        let mut connect = connect_durably(V5);
        connect.properties.session_expiry_interval = in_connect;
        let is_durable = in_connect.is_some_and(|secs| secs > 0);
        let mut connection = if is_durable {
            Connection::durable_with(STANDARD, connect)
        } else {
            Connection::connected_with(STANDARD, connect)
        };
        let mut disconnect = Disconnect::default();
        disconnect.properties.session_expiry_interval = in_disconnect;
        let out = connection.packet(Packet::Disconnect(disconnect));
        match expected {
            Err(()) => {
                let ended = check_ended(&out, V5, ReasonCode::ProtocolError, "section 3.14.2.2.2");
                assert!(ended.publishes_will, "it is no valid DISCONNECT");
            }
            Ok(session_expiry) => {
                let [Output::Close(ended)] = &out[..] else { panic!("{out:?}") };
                assert_eq!((ended.session_expiry, ended.is_durable), (session_expiry, is_durable), "{in_disconnect:?}");
                assert_eq!(ended.ending().session_expiry, session_expiry);
            }
        }
    }
}

#[test]
fn a_session_expiry_interval_of_disconnect_is_limited_like_that_of_connect() {
    let mut connection = Connection::durable_with(SessionSettings::AWS, connect_durably(V5));
    let mut disconnect = Disconnect::default();
    disconnect.properties.session_expiry_interval = Some(u32::MAX);
    let out = connection.packet(Packet::Disconnect(disconnect));
    assert!(matches!(&out[..], [Output::Close(ended)] if ended.session_expiry == Some(3_600)), "{out:?}");
}

#[test]
fn every_ending_has_a_word_for_lifecycle_events() {
    for (code, expected) in [
        (ReasonCode::KeepAliveTimeout, DisconnectReason::KeepAliveTimeout),
        (ReasonCode::SessionTakenOver, DisconnectReason::DuplicateClientId),
        (ReasonCode::BadAuthenticationMethod, DisconnectReason::AuthError),
        (ReasonCode::NotAuthorized, DisconnectReason::ForbiddenAccess),
        (ReasonCode::QuotaExceeded, DisconnectReason::Throttled),
        (ReasonCode::MessageRateTooHigh, DisconnectReason::Throttled),
        (ReasonCode::AdministrativeAction, DisconnectReason::ApiInitiated),
        (ReasonCode::ServerShuttingDown, DisconnectReason::ServerInitiated),
        (ReasonCode::ImplementationSpecificError, DisconnectReason::ServerError),
        (ReasonCode::MalformedPacket, DisconnectReason::ClientError),
        (ReasonCode::ProtocolError, DisconnectReason::ClientError),
    ] {
        let out = Connection::connected(V5).input(Input::End { reason_code: code, reason: "why" });
        let Some(Output::Close(ended)) = out.last() else { panic!("{out:?}") };
        assert_eq!(ended.ending().reason, expected, "{code:?}");
        assert!(ended.ending().publishes_will);
    }
    let out = Connection::connected(V5).input(Input::ConnectionLost);
    assert!(matches!(&out[..], [Output::Close(e)] if e.disconnect_reason == DisconnectReason::ConnectionLost));
}

#[test]
fn packets_that_have_no_place_here_are_protocol_errors() {
    for version in VERSIONS {
        for packet in packets_after_connect(version) {
            let clause = match &packet {
                Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => "only a server",
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
        for packet in packets_after_connect(version).into_iter().chain([Packet::Connect(Box::new(connect(version)))]) {
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
