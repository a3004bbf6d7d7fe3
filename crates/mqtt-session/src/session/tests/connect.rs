use super::*;

#[test]
fn a_connect_that_breaks_a_rule_is_refused() {
    type Change = fn(&mut Connect);
    let rows: &[(&str, &[ProtocolVersion], ReasonCode, Change)] = &[
        ("MQTT 3.1.1 [MQTT-3.1.3-8]", &[V3_1_1], ReasonCode::ClientIdentifierNotValid, |connect| {
            connect.client_id = "".into();
            connect.clean_start = false;
        }),
        ("client identifier is too long", &VERSIONS, ReasonCode::ClientIdentifierNotValid, |connect| {
            connect.client_id = "x".repeat(1_025).into();
        }),
        ("[MQTT-4.12.0-1]", &[V5], ReasonCode::BadAuthenticationMethod, |connect| {
            connect.properties.authentication_method = Some("SCRAM-SHA-256".into());
        }),
        ("[MQTT-3.2.2-12]", &VERSIONS, ReasonCode::QosNotSupported, |connect| {
            connect.will = Some(Will { qos: Qos::ExactlyOnce, ..will() });
        }),
        ("[MQTT-3.2.2-13]", &[V5], ReasonCode::RetainNotSupported, |connect| {
            connect.will = Some(Will { retain: true, ..will() });
        }),
        ("Will Message is too large", &VERSIONS, ReasonCode::PacketTooLarge, |connect| {
            connect.will = Some(Will { payload: vec![0; 8 * 1024 - 3].into(), ..will() });
        }),
        ("Will Message is too large", &[V5], ReasonCode::PacketTooLarge, |connect| {
            let big = "x".repeat(2_048);
            let properties = WillProperties {
                content_type: Some(big.as_str().into()),
                response_topic: Some(big.as_str().into()),
                correlation_data: Some(big.clone().into()),
                user_properties: vec![("".into(), big.into())],
                ..WillProperties::default()
            };
            connect.will = Some(Will { properties, ..will() });
        }),
    ];
    for (clause, versions, code, change) in rows {
        for version in *versions {
            let mut connect = connect(*version);
            change(&mut connect);
            let mut connection = Connection::opened(STANDARD);
            let out = connection.packet(Packet::Connect(connect));
            check_refused(&out, *version, *code, clause);
            assert!(connection.accept().is_empty(), "{clause}");
        }
    }
}

#[test]
fn a_connect_just_within_the_rules_goes_to_the_broker() {
    type Change = fn(&mut Connect);
    let rows: &[(&str, &[ProtocolVersion], Change)] = &[
        ("MQTT 3.1.1 [MQTT-3.1.3-7]", &VERSIONS, |connect| connect.client_id = "".into()),
        ("[MQTT-3.1.3-6]", &[V5], |connect| {
            connect.client_id = "".into();
            connect.clean_start = false;
        }),
        ("the longest client identifier", &VERSIONS, |connect| connect.client_id = "x".repeat(1_024).into()),
        ("the largest Will Message", &VERSIONS, |connect| {
            connect.will = Some(Will { payload: vec![0; 8 * 1024 - 4].into(), ..will() });
        }),
        ("there is no word against it in MQTT 3.1.1", &[V3_1_1], |connect| {
            connect.will = Some(Will { retain: true, ..will() });
        }),
    ];
    for (_, versions, change) in rows {
        for version in *versions {
            let mut connect = connect(*version);
            change(&mut connect);
            Connection::connecting(STANDARD, connect);
        }
    }
}

#[test]
fn awss_client_identifiers_have_128_bytes_at_most() {
    for version in VERSIONS {
        let of_length = |length| Connect { client_id: "x".repeat(length).into(), ..connect(version) };
        Connection::connecting(SessionSettings::AWS, of_length(128));
        let out = Connection::opened(SessionSettings::AWS).packet(Packet::Connect(of_length(129)));
        check_refused(&out, version, ReasonCode::ClientIdentifierNotValid, "too long");
    }
}

#[test]
fn a_first_packet_other_than_connect_closes_without_a_word() {
    for packet in packets_after_connect(V5) {
        let mut connection = Connection::opened(STANDARD);
        let out = connection.packet(packet.clone());
        let [Output::Close(ended)] = &out[..] else { panic!("{packet:?}: {out:?}") };
        assert_eq!(ended.reason_code, ReasonCode::ProtocolError, "{packet:?}");
        assert!(ended.reason.contains("[MQTT-3.1.0-1]"));
    }
}

#[test]
fn only_an_unsupported_version_is_answered_before_connect() {
    for (error, is_answered) in [
        (DecodeError::ProtocolLevel(3), true),
        (DecodeError::ProtocolLevel(6), true),
        (DecodeError::ProtocolName, true),
        (DecodeError::Truncated, false),
        (DecodeError::ConnectFlagReserved, false),
    ] {
        let out = Connection::opened(STANDARD).input(Input::Undecodable(error.clone()));
        let answer = Output::Send(Packet::ConnAck(ConnAck {
            session_present: false,
            reason_code: ReasonCode::UnsupportedProtocolVersion,
            properties: ConnAckProperties::default(),
        }));
        assert_eq!(out.first() == Some(&answer), is_answered, "[MQTT-3.1.2-2] {error}");
        assert_eq!(out.len(), 1 + usize::from(is_answered));
        assert!(matches!(out.last(), Some(Output::Close(ended)) if ended.reason_code == error.reason_code()));
    }
}

#[test]
fn early_packets_take_their_turn_after_connack() {
    for version in VERSIONS {
        let mut connection = Connection::connecting(STANDARD, connect(version));
        for packet in [
            Packet::Publish(publish(Some(7))),
            Packet::PingReq,
            Packet::Subscribe(subscribe(8, &["t"])),
            Packet::Publish(publish(None)),
        ] {
            assert_eq!(connection.packet(packet), [], "[MQTT-3.1.4-5] nothing happens before CONNACK");
        }
        let out = connection.accept();
        assert!(matches!(out[0], Output::Send(Packet::ConnAck(_))), "{out:?}");
        assert_eq!(
            out[1..],
            [
                Output::Publish(Box::new(publish(Some(7)))),
                Output::Send(Packet::PingResp),
                Output::Subscribe(subscribe(8, &["t"])),
                Output::Publish(Box::new(publish(None))),
            ]
        );
    }
}

#[test]
fn nothing_happens_after_an_early_disconnect() {
    for version in VERSIONS {
        let mut connection = Connection::connecting(STANDARD, connect(version));
        connection.packet(Packet::Disconnect(Disconnect::default()));
        connection.packet(Packet::PingReq);
        let out = connection.accept();
        assert!(
            matches!(&out[..], [Output::Send(Packet::ConnAck(_)), Output::Close(ended)] if ended.client_initiated),
            "{out:?}"
        );
    }
}

#[test]
fn early_packets_are_bounded_in_number_and_bytes() {
    let payload = |bytes: usize| Packet::Publish(Publish { payload: vec![0; bytes].into(), ..publish(None) });
    for version in VERSIONS {
        let settings = SessionSettings { maximum_early_packets: 3, maximum_early_bytes: 100, ..STANDARD };
        for (fit, excess) in [
            (vec![Packet::PingReq, Packet::PingReq, Packet::PingReq], Packet::PingReq),
            (vec![payload(40), payload(40)], payload(40)),
            (vec![], payload(100)),
        ] {
            let mut connection = Connection::connecting(settings, connect(version));
            for packet in fit {
                assert_eq!(connection.packet(packet), []);
            }
            let out = connection.packet(excess);
            check_refused(&out, version, ReasonCode::QuotaExceeded, "before CONNACK");
        }
    }
}

#[test]
fn a_second_connect_is_a_protocol_error() {
    for version in VERSIONS {
        let second = Packet::Connect(connect(version));
        let out = Connection::connected(version).packet(second.clone());
        check_ended(&out, version, ReasonCode::ProtocolError, "[MQTT-3.1.0-2]");

        let mut early = Connection::connecting(STANDARD, connect(version));
        assert_eq!(early.packet(second), []);
        let out = early.accept();
        check_ended(&out[1..], version, ReasonCode::ProtocolError, "[MQTT-3.1.0-2]");

        let error = DecodeError::ProtocolLevel(9);
        let out = Connection::connected(version).input(Input::Undecodable(error));
        check_ended(&out, version, ReasonCode::ProtocolError, "[MQTT-3.1.0-2]");
    }
}

#[test]
fn the_brokers_refusal_carries_a_code_that_connack_has() {
    for version in VERSIONS {
        for (code, told) in [
            (ReasonCode::NotAuthorized, ReasonCode::NotAuthorized),
            (ReasonCode::BadUserNameOrPassword, ReasonCode::BadUserNameOrPassword),
            (ReasonCode::SessionTakenOver, ReasonCode::UnspecifiedError),
            (ReasonCode::TopicAliasInvalid, ReasonCode::UnspecifiedError),
        ] {
            let mut connection = Connection::connecting(STANDARD, connect(version));
            let out = connection.input(Input::End { reason_code: code, reason: "why" });
            let [Output::Send(Packet::ConnAck(connack)), Output::Close(ended)] = &out[..] else { panic!("{out:?}") };
            assert_eq!((connack.reason_code, ended.reason_code), (told, code), "[MQTT-3.2.2-8]");
        }
    }
}

#[test]
fn the_brokers_ending_carries_a_code_that_disconnect_has() {
    for (code, told) in [
        (ReasonCode::SessionTakenOver, ReasonCode::SessionTakenOver),
        (ReasonCode::ServerUnavailable, ReasonCode::UnspecifiedError),
    ] {
        let out = Connection::connected(V5).input(Input::End { reason_code: code, reason: "why" });
        let [Output::Send(Packet::Disconnect(disconnect)), Output::Close(ended)] = &out[..] else { panic!("{out:?}") };
        assert_eq!((disconnect.reason_code, ended.reason_code), (told, code), "[MQTT-3.14.2-1]");
    }
}

/// The CONNACK for a CONNECT.
fn connack(settings: SessionSettings, connect: Connect, assigned: bool) -> ConnAckProperties {
    let mut connection = Connection::connecting(settings, connect);
    let out = connection.input(Input::Accepted { client_id: ClientId::new("given").unwrap(), assigned });
    let [Output::Send(Packet::ConnAck(connack))] = &out[..] else { panic!("{out:?}") };
    assert_eq!((connack.session_present, connack.reason_code), (false, ReasonCode::Success), "[MQTT-3.2.2-2]");
    assert_eq!(connection.session.client_id().map(ClientId::as_str), Some("given"));
    connack.properties.clone()
}

#[test]
fn connack_announces_what_is_allowed() {
    let bare = ConnAckProperties {
        receive_maximum: Some(100),
        maximum_qos: Some(Qos::AtLeastOnce),
        retain_available: Some(false),
        maximum_packet_size: Some(1_048_576),
        shared_subscription_available: Some(false),
        ..ConnAckProperties::default()
    };
    assert_eq!(connack(STANDARD, connect(V5), false), bare);
    assert_eq!(connack(STANDARD, connect(V3_1_1), true), ConnAckProperties::default(), "no properties in MQTT 3.1.1");

    let aws = ConnAckProperties { maximum_packet_size: Some(149_504), ..bare.clone() };
    assert_eq!(connack(SessionSettings::AWS, connect(V5), false), aws);

    let with_qos_2 = SessionSettings { maximum_qos: Qos::ExactlyOnce, ..STANDARD };
    assert_eq!(connack(with_qos_2, connect(V5), false).maximum_qos, None, "section 3.2.2.3.4: 2 is not announced");

    let assigned = ConnAckProperties { assigned_client_identifier: Some("given".into()), ..bare };
    assert_eq!(connack(STANDARD, connect(V5), true), assigned, "[MQTT-3.2.2-16]");
}

#[test]
fn connack_says_that_no_session_outlives_its_connection() {
    for (asked, told) in [(None, None), (Some(0), None), (Some(1), Some(0)), (Some(u32::MAX), Some(0))] {
        let asking = connect_with(ConnectProperties { session_expiry_interval: asked, ..ConnectProperties::default() });
        let properties = connack(STANDARD, asking, false);
        assert_eq!(properties.session_expiry_interval, told, "section 3.2.2.3.2, {asked:?}");
    }
}

#[test]
fn connack_overrides_the_keep_alive_only_where_it_differs() {
    for (settings, asked, told, used) in [
        (STANDARD, 0, None, 0),
        (STANDARD, 60, None, 60),
        (STANDARD, 1, Some(5), 5),
        (SessionSettings::AWS, 0, Some(1_200), 1_200),
        (SessionSettings::AWS, 29, Some(30), 30),
        (SessionSettings::AWS, 30, None, 30),
        (SessionSettings::AWS, 1_200, None, 1_200),
        (SessionSettings::AWS, 1_201, Some(1_200), 1_200),
    ] {
        let asking = |version| Connect { keep_alive: asked, ..connect(version) };
        assert_eq!(connack(settings, asking(V5), false).server_keep_alive, told, "[MQTT-3.2.2-21], {asked}");
        for version in VERSIONS {
            let connection = Connection::connected_with(settings, asking(version));
            assert_eq!(connection.session.keep_alive(), used, "[MQTT-3.2.2-22], {asked}");
        }
    }
}

#[test]
fn a_client_without_room_for_the_connack_is_closed() {
    for (maximum, sends) in [(1, 0), (5, 1), (200, 1)] {
        let properties = ConnectProperties { maximum_packet_size: Some(maximum), ..ConnectProperties::default() };
        let out = Connection::connecting(STANDARD, connect_with(properties)).accept();
        let sent: Vec<_> = out.iter().filter(|output| matches!(output, Output::Send(_))).collect();
        assert_eq!(sent.len(), sends, "[MQTT-3.1.2-24]: {out:?}");
        let is_closed =
            matches!(out.last(), Some(Output::Close(ended)) if ended.reason_code == ReasonCode::PacketTooLarge);
        assert_eq!(is_closed, maximum < 200, "{out:?}");
    }
}

#[test]
fn a_connection_has_fifteen_seconds_for_each_step_to_connack() {
    for version in VERSIONS {
        let mut connection = Connection::opened(STANDARD);
        assert_eq!(connection.session.next_timeout(), Some(START.plus_millis(15_000)));
        assert_eq!(connection.wait(14_999), []);
        let out = connection.wait(1);
        assert!(matches!(&out[..], [Output::Close(ended)] if ended.reason_code == ReasonCode::KeepAliveTimeout));

        let mut connection = Connection::connecting(STANDARD, connect(version));
        assert_eq!(connection.wait(14_999), []);
        let out = connection.wait(1);
        check_refused(&out, version, ReasonCode::ServerUnavailable, "could not be set up");
    }
}

#[test]
fn a_connection_that_is_lost_before_connack_has_no_will() {
    for version in VERSIONS {
        let mut connection = Connection::connecting(STANDARD, Connect { will: Some(will()), ..connect(version) });
        let out = connection.input(Input::ConnectionLost);
        assert!(matches!(&out[..], [Output::Close(ended)] if ended.will.is_none() && ended.client_id.is_none()));
    }
}
