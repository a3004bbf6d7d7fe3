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
        ("Will Message is too large", &VERSIONS, ReasonCode::PacketTooLarge, |connect| {
            connect.will = Some(Will { payload: vec![0; 8 * 1024 - 3].into(), ..will() });
        }),
        ("Will Message is too large", &[V5], ReasonCode::PacketTooLarge, |connect| {
            let big = "x".repeat(2_048);
            let properties = WillProperties {
                content_type: Some(big.as_str().into()),
                response_topic: Some(big.as_str().into()),
                correlation_data: Some(big.clone().into()),
                user_properties: [("", big)].into(),
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
            let out = connection.packet(Packet::Connect(Box::new(connect)));
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
        ("a Will Message to be retained, of any QoS", &VERSIONS, |connect| {
            connect.will = Some(Will { retain: true, qos: Qos::ExactlyOnce, ..will() });
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
        let out = Connection::opened(SessionSettings::AWS).packet(Packet::Connect(Box::new(of_length(129))));
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
        let answer = Output::Send(Packet::ConnAck(Box::new(ConnAck {
            session_present: false,
            reason_code: ReasonCode::UnsupportedProtocolVersion,
            properties: ConnAckProperties::default(),
        })));
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
        let second = Packet::Connect(Box::new(connect(version)));
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

#[test]
fn what_is_not_available_is_refused_in_the_will_too() {
    let settings = SessionSettings { is_retain_available: false, maximum_qos: Qos::AtLeastOnce, ..STANDARD };
    for version in VERSIONS {
        let qos_2 = Connect { will: Some(Will { qos: Qos::ExactlyOnce, ..will() }), ..connect(version) };
        let out = Connection::opened(settings).packet(Packet::Connect(Box::new(qos_2)));
        check_refused(&out, version, ReasonCode::QosNotSupported, "[MQTT-3.2.2-12]");
        let retained = Connect { will: Some(Will { retain: true, ..will() }), ..connect(version) };
        let out = Connection::opened(settings).packet(Packet::Connect(Box::new(retained)));
        match version {
            // Nobody has told it.
            V3_1_1 => assert!(matches!(out[..], [Output::Connect(_)])),
            V5 => check_refused(&out, version, ReasonCode::RetainNotSupported, "[MQTT-3.2.2-13]"),
        }
    }
}

#[test]
fn what_a_connect_claims_is_within_the_limits() {
    type Change = fn(&mut Connect);
    let rows: &[(SessionSettings, ProtocolVersion, Change, u32, u16)] = &[
        (STANDARD, V3_1_1, |_| {}, 0, 100),
        (STANDARD, V3_1_1, |connect| connect.clean_start = false, 30 * 24 * 3_600, 100),
        (SessionSettings::AWS, V3_1_1, |connect| connect.clean_start = false, 3_600, 100),
        (STANDARD, V5, |connect| connect.clean_start = false, 0, 100),
        (STANDARD, V5, |connect| connect.properties.session_expiry_interval = Some(7), 7, 100),
        (STANDARD, V5, |connect| connect.properties.session_expiry_interval = Some(u32::MAX), u32::MAX, 100),
        (SessionSettings::AWS, V5, |connect| connect.properties.session_expiry_interval = Some(u32::MAX), 3_600, 100),
        (STANDARD, V5, |connect| connect.properties.receive_maximum = Some(7), 0, 7),
        (STANDARD, V5, |connect| connect.properties.receive_maximum = Some(101), 0, 100),
    ];
    for (settings, version, change, session_expiry, receive_maximum) in rows {
        let mut connect = Connect { will: Some(will()), ..connect(*version) };
        connect.properties.maximum_packet_size = (*version == V5).then_some(500);
        change(&mut connect);
        let mut connection = Connection::connecting(*settings, connect.clone());
        let details = || ConnectionDetails { principal: "p".into(), ..ConnectionDetails::default() };
        let claim = connection.session.claim(details()).unwrap();
        assert_eq!(
            (claim.session_expiry, claim.receive_maximum, claim.clean_start),
            (*session_expiry, *receive_maximum, connect.clean_start),
            "section 3.1.2.11.2, [MQTT-3.1.2-4], [MQTT-3.1.2-5]: {connect:?}"
        );
        assert_eq!(claim.maximum_packet_size, connect.properties.maximum_packet_size);
        assert_eq!(claim.will.as_deref(), Some(&will_message()), "[MQTT-3.1.2-7]");
        let expected = ConnectionDetails { principal: "p".into(), keep_alive: 60, is_v5: *version == V5, ..details() };
        assert_eq!(*claim.details, expected);
        connection.accept();
        assert_eq!(connection.session.claim(details()), None);
    }
}

#[test]
fn the_claimed_will_has_its_delay_and_its_properties() {
    for (settings, expiry) in [(STANDARD, 700_000), (SessionSettings::AWS, 604_800)] {
        let mut connect = connect(V5);
        let properties = WillProperties {
            will_delay_interval: Some(30),
            payload_format_indicator: Some(true),
            message_expiry_interval: Some(700_000),
            content_type: Some("text/plain".into()),
            response_topic: Some("answers".into()),
            correlation_data: Some("42".into()),
            user_properties: [("k", "v")].into(),
        };
        connect.will = Some(Will { retain: true, properties, ..will() });
        let claim = Connection::connecting(settings, connect).session.claim(ConnectionDetails::default()).unwrap();
        let passed = PublicationProperties {
            payload_format_indicator: Some(true),
            message_expiry_interval: Some(expiry),
            content_type: Some("text/plain".into()),
            response_topic: Some("answers".into()),
            correlation_data: Some("42".into()),
            user_properties: [("k", "v")].into(),
        };
        let expected = WillMessage { retain: true, delay: 30, properties: Some(Box::new(passed)), ..will_message() };
        assert_eq!(claim.will.as_deref(), Some(&expected), "section 3.1.3.2, [MQTT-3.1.2-14], [MQTT-3.1.2-15]");
    }
}

#[test]
fn a_claimed_will_does_not_keep_its_connect_alive() {
    let mut connect = connect(V5);
    let properties = WillProperties {
        correlation_data: Some(vec![1; 32].into()),
        user_properties: [("k", "v")].into(),
        ..WillProperties::default()
    };
    let will = Will { properties, ..will() };
    connect.will = Some(will.clone());
    let claim = Connection::connecting(STANDARD, connect).session.claim(ConnectionDetails::default()).unwrap();
    let claimed = claim.will.unwrap();
    let passed = claimed.properties.unwrap();
    let given = will.properties;
    assert_ne!(claimed.payload.as_ptr(), will.payload.as_ptr());
    assert_ne!(passed.correlation_data.unwrap().as_ptr(), given.correlation_data.unwrap().as_ptr());
    assert_ne!(passed.user_properties.as_encoded().as_ptr(), given.user_properties.as_encoded().as_ptr());
}

/// The CONNACK for a CONNECT.
fn connack(settings: SessionSettings, connect: Connect, session: AcceptedSession, assigned: bool) -> ConnAck {
    let mut connection = Connection::connecting(settings, connect);
    let client_id = ClientId::new("given").unwrap();
    let out = connection.input(Input::Accepted { client_id, assigned, session, authentication_data: None });
    let [Output::Send(Packet::ConnAck(connack))] = &out[..] else { panic!("[MQTT-3.2.0-1]: {out:?}") };
    assert_eq!(connack.reason_code, ReasonCode::Success, "[MQTT-3.1.4-5]");
    assert_eq!(connection.session.client_id().map(ClientId::as_str), Some("given"));
    ConnAck::clone(connack)
}

fn announced(settings: SessionSettings, connect: Connect) -> ConnAckProperties {
    connack(settings, connect, AcceptedSession::default(), false).properties
}

#[test]
fn connack_announces_what_is_allowed() {
    let bare = ConnAckProperties {
        receive_maximum: Some(100),
        maximum_packet_size: Some(1_048_576),
        topic_alias_maximum: Some(16),
        ..ConnAckProperties::default()
    };
    assert_eq!(announced(STANDARD, connect(V5)), bare);
    assert_eq!(announced(STANDARD, connect(V3_1_1)), ConnAckProperties::default(), "no properties in MQTT 3.1.1");
    let aws = ConnAckProperties {
        maximum_packet_size: Some(149_504),
        topic_alias_maximum: Some(8),
        maximum_qos: Some(Qos::AtLeastOnce),
        subscription_identifier_available: Some(false),
        ..bare.clone()
    };
    assert_eq!(announced(SessionSettings::AWS, connect(V5)), aws);
    let nothing = SessionSettings { is_retain_available: false, topic_alias_maximum: 0, ..STANDARD };
    let properties = ConnAckProperties { retain_available: Some(false), topic_alias_maximum: None, ..bare.clone() };
    assert_eq!(announced(nothing, connect(V5)), properties);

    let assigned = ConnAckProperties { assigned_client_identifier: Some("given".into()), ..bare };
    for (version, expected) in [(V5, assigned), (V3_1_1, ConnAckProperties::default())] {
        let connack = connack(STANDARD, connect(version), AcceptedSession::default(), true);
        assert_eq!(connack.properties, expected, "[MQTT-3.2.2-16], [MQTT-3.1.3-6]");
    }
}

#[test]
fn connack_says_whether_there_was_a_session() {
    for version in VERSIONS {
        for session_present in [false, true] {
            let session = AcceptedSession { session_present, ..durable_session() };
            let connack = connack(STANDARD, connect_durably(version), session, false);
            assert_eq!(connack.session_present, session_present, "[MQTT-3.2.2-2], [MQTT-3.2.2-3]");
        }
    }
}

#[test]
fn connack_tells_the_session_expiry_where_it_is_not_what_was_asked() {
    for (asked, granted, told) in [
        (None, 0, None),
        (Some(0), 0, None),
        (Some(1), 0, Some(0)),
        (Some(600), 600, None),
        (Some(u32::MAX), 3_600, Some(3_600)),
    ] {
        let asking = connect_with(ConnectProperties { session_expiry_interval: asked, ..ConnectProperties::default() });
        let session =
            AcceptedSession { is_durable: granted > 0, session_expiry: granted, ..AcceptedSession::default() };
        let connack = connack(STANDARD, asking, session, false);
        assert_eq!(connack.properties.session_expiry_interval, told, "section 3.2.2.3.2, {asked:?}");
    }
}

#[test]
fn response_information_is_for_those_who_ask() {
    let settings = SessionSettings { response_information: Some("answers/"), ..STANDARD };
    for (settings, wanted, told) in [
        (settings, None, None),
        (settings, Some(false), None),
        (settings, Some(true), Some("answers/".into())),
        (STANDARD, Some(true), None),
    ] {
        let properties = ConnectProperties { request_response_information: wanted, ..ConnectProperties::default() };
        let told_now = announced(settings, connect_with(properties)).response_information;
        assert_eq!(told_now, told, "[MQTT-3.1.2-28], {wanted:?}");
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
        assert_eq!(announced(settings, asking(V5)).server_keep_alive, told, "[MQTT-3.2.2-21], {asked}");
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
        assert!(matches!(&out[..], [Output::Close(ended)] if !ended.publishes_will && ended.client_id.is_none()));
    }
}
