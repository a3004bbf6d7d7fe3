//! Packets byte for byte, both directions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use bytes::Bytes;
use bytestring::ByteString;
use common::{decode_all, encoded};
use iot_types::{PacketId, Qos};
use mqtt_codec::ProtocolVersion::{V3_1_1, V5};
use mqtt_codec::*;

fn bytes(text: &str) -> Bytes {
    hex::decode(text.replace([' ', '\n'], "")).unwrap().into()
}

fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

fn user() -> UserProperties {
    [("k", "v")].into()
}

fn text(text: &'static str) -> Option<ByteString> {
    Some(ByteString::from_static(text))
}

fn data(data: &'static [u8]) -> Option<Bytes> {
    Some(Bytes::from_static(data))
}

fn connect(version: ProtocolVersion) -> Connect {
    Connect {
        version,
        clean_start: true,
        keep_alive: 60,
        client_id: "".into(),
        will: None,
        username: None,
        password: None,
        properties: ConnectProperties::default(),
    }
}

fn publish(topic: &'static str, payload: &'static [u8]) -> Publish {
    Publish {
        dup: false,
        qos: Qos::AtMostOnce,
        retain: false,
        topic: topic.into(),
        packet_id: None,
        properties: PublishProperties::default().into(),
        payload: payload.into(),
    }
}

/// The bytes decode to the packet and the packet encodes to the bytes.
fn check(version: ProtocolVersion, text: &str, packet: Packet) {
    assert_eq!(decode_all(bytes(text), version).as_deref(), Ok(&[packet.clone()][..]), "{text}");
    assert_eq!(hex::encode(encoded(&packet, version)), text.replace([' ', '\n'], ""), "{packet:?}");
}

#[test]
fn packets_of_version_3_1_1_are_byte_for_byte_what_the_standard_says() {
    let full = Connect {
        keep_alive: 10,
        client_id: "c".into(),
        will: Some(Will {
            qos: Qos::AtLeastOnce,
            retain: true,
            topic: "w".into(),
            payload: Bytes::from_static(b"bye"),
            properties: WillProperties::default(),
        }),
        username: text("u"),
        password: data(b"p"),
        ..connect(V3_1_1)
    };
    let ack = |reason_codes: &[ReasonCode]| (id(1), reason_codes.to_vec(), AckProperties::default());
    let (packet_id, reason_codes, properties) =
        ack(&[ReasonCode::GrantedQos0, ReasonCode::GrantedQos2, ReasonCode::UnspecifiedError]);
    let connack = |session_present, reason_code| {
        Packet::ConnAck(Box::new(ConnAck { session_present, reason_code, properties: ConnAckProperties::default() }))
    };
    let redelivered =
        Publish { dup: true, qos: Qos::AtLeastOnce, retain: true, packet_id: Some(id(10)), ..publish("a", b"x") };
    let rows = [
        ("10 0c 00044d515454 04 02 003c 0000", Packet::Connect(Box::new(connect(V3_1_1)))),
        ("10 1b 00044d515454 04 ee 000a 000163 000177 0003627965 000175 000170", Packet::Connect(Box::new(full))),
        ("20 02 01 00", connack(true, ReasonCode::Success)),
        ("20 02 00 01", connack(false, ReasonCode::UnsupportedProtocolVersion)),
        ("20 02 00 02", connack(false, ReasonCode::ClientIdentifierNotValid)),
        ("20 02 00 03", connack(false, ReasonCode::ServerUnavailable)),
        ("20 02 00 04", connack(false, ReasonCode::BadUserNameOrPassword)),
        ("20 02 00 05", connack(false, ReasonCode::NotAuthorized)),
        ("30 07 0003612f62 6869", Packet::Publish(publish("a/b", b"hi"))),
        ("3b 06 000161 000a 78", Packet::Publish(redelivered)),
        (
            "34 05 000161 0001",
            Packet::Publish(Publish { qos: Qos::ExactlyOnce, packet_id: Some(id(1)), ..publish("a", b"") }),
        ),
        ("40 02 0001", Packet::PubAck(PubAck::new(id(1)))),
        ("50 02 0001", Packet::PubRec(PubRec::new(id(1)))),
        ("62 02 0001", Packet::PubRel(PubRel::new(id(1)))),
        ("70 02 ffff", Packet::PubComp(PubComp::new(id(65_535)))),
        (
            "82 0b 0001 0002612f 01 000123 02",
            Packet::Subscribe(Subscribe {
                packet_id: id(1),
                filters: List::from([
                    SubscriptionRequest::new("a/", Qos::AtLeastOnce),
                    SubscriptionRequest::new("#", Qos::ExactlyOnce),
                ]),
                properties: SubscribeProperties::default(),
            }),
        ),
        ("90 05 0001 00 02 80", Packet::SubAck(SubAck { packet_id, reason_codes, properties })),
        (
            "a2 05 0001 000161",
            Packet::Unsubscribe(Unsubscribe {
                packet_id: id(1),
                filters: ["a".into()].into(),
                user_properties: UserProperties::new(),
            }),
        ),
        (
            "b0 02 0001",
            Packet::UnsubAck(UnsubAck { packet_id: id(1), reason_codes: vec![], properties: AckProperties::default() }),
        ),
        ("c0 00", Packet::PingReq),
        ("d0 00", Packet::PingResp),
        ("e0 00", Packet::Disconnect(Disconnect::default())),
    ];
    for (text, packet) in rows {
        check(V3_1_1, text, packet);
    }
}

#[test]
fn connection_packets_of_version_5_are_byte_for_byte_what_the_standard_says() {
    let full = Connect {
        clean_start: false,
        client_id: "c".into(),
        will: Some(Will {
            qos: Qos::ExactlyOnce,
            retain: false,
            topic: "w".into(),
            payload: Bytes::new(),
            properties: WillProperties {
                will_delay_interval: Some(5),
                payload_format_indicator: Some(true),
                message_expiry_interval: Some(60),
                content_type: text("t/"),
                response_topic: text("r"),
                correlation_data: data(b"\xff"),
                user_properties: [("k", "")].into(),
            },
        }),
        // A password without a user name, which version 5 allows.
        password: data(b"p"),
        properties: ConnectProperties {
            session_expiry_interval: Some(10),
            receive_maximum: Some(20),
            maximum_packet_size: Some(1_024),
            topic_alias_maximum: Some(8),
            request_response_information: Some(true),
            request_problem_information: Some(false),
            user_properties: user(),
            authentication_method: text("m"),
            authentication_data: data(b"\xab\xcd"),
        },
        ..connect(V5)
    };
    let connack = ConnAck {
        session_present: true,
        reason_code: ReasonCode::Success,
        properties: ConnAckProperties {
            session_expiry_interval: Some(3_600),
            receive_maximum: Some(100),
            maximum_qos: Some(Qos::AtLeastOnce),
            retain_available: Some(true),
            maximum_packet_size: Some(8_192),
            assigned_client_identifier: text("i"),
            topic_alias_maximum: Some(8),
            reason_string: text("ok"),
            user_properties: user(),
            wildcard_subscription_available: Some(true),
            subscription_identifier_available: Some(false),
            shared_subscription_available: Some(true),
            server_keep_alive: Some(1_200),
            response_information: text("r"),
            server_reference: text("s"),
            authentication_method: text("m"),
            authentication_data: data(b"\x01"),
        },
    };
    let disconnect = Disconnect {
        reason_code: ReasonCode::SessionTakenOver,
        properties: DisconnectProperties {
            session_expiry_interval: Some(0),
            reason_string: text("x"),
            user_properties: user(),
            server_reference: text("s"),
        },
    };
    let auth = Auth {
        reason_code: ReasonCode::ContinueAuthentication,
        properties: AuthProperties {
            authentication_method: text("m"),
            authentication_data: data(b"\x01"),
            reason_string: text("x"),
            user_properties: user(),
        },
    };
    let refusal = ConnAck {
        session_present: false,
        reason_code: ReasonCode::NotAuthorized,
        properties: ConnAckProperties::default(),
    };
    let rows = [
        ("10 0d 00044d515454 05 02 003c 00 0000", Packet::Connect(Box::new(connect(V5)))),
        (
            "10 5a 00044d515454 05 54 003c
             24 11 0000000a 21 0014 27 00000400 22 0008 19 01 17 00 26 00016b 000176 15 00016d 16 0002abcd
             000163
             1f 18 00000005 01 01 02 0000003c 03 0002742f 08 000172 09 0001ff 26 00016b 0000
             000177 0000 000170",
            Packet::Connect(Box::new(full)),
        ),
        ("20 03 00 87 00", Packet::ConnAck(Box::new(refusal))),
        (
            "20 40 01 00
             3d 11 00000e10 21 0064 24 01 25 01 27 00002000 12 000169 22 0008 1f 00026f6b 26 00016b 000176
             28 01 29 00 2a 01 13 04b0 1a 000172 1c 000173 15 00016d 16 000101",
            Packet::ConnAck(Box::new(connack)),
        ),
        ("e0 00", Packet::Disconnect(Disconnect::default())),
        ("e0 01 04", Packet::Disconnect(Disconnect::new(ReasonCode::DisconnectWithWillMessage))),
        ("e0 16 8e 14 11 00000000 1f 000178 26 00016b 000176 1c 000173", Packet::Disconnect(disconnect)),
        ("f0 00", Packet::Auth(Auth::default())),
        ("f0 15 18 13 15 00016d 16 000101 1f 000178 26 00016b 000176", Packet::Auth(auth)),
        ("c0 00", Packet::PingReq),
        ("d0 00", Packet::PingResp),
    ];
    for (text, packet) in rows {
        check(V5, text, packet);
    }
}

#[test]
fn message_packets_of_version_5_are_byte_for_byte_what_the_standard_says() {
    let full = Publish {
        dup: true,
        qos: Qos::ExactlyOnce,
        retain: true,
        packet_id: Some(id(10)),
        properties: PublishProperties {
            payload_format_indicator: Some(true),
            message_expiry_interval: Some(10),
            topic_alias: Some(3),
            response_topic: text("r"),
            correlation_data: data(b"\x01\x02"),
            user_properties: user(),
            subscription_identifiers: vec![1, 268_435_455],
            content_type: text("c"),
        }
        .into(),
        ..publish("a", b"hi")
    };
    let aliased = Publish {
        properties: PublishProperties { topic_alias: Some(1), ..PublishProperties::default() }.into(),
        ..publish("", b"")
    };
    let reason = AckProperties { reason_string: text("ok"), user_properties: UserProperties::new() };
    let with_user = AckProperties { reason_string: None, user_properties: user() };
    let rows = [
        ("30 05 000161 00 78", Packet::Publish(publish("a", b"x"))),
        (
            "3d 2d 000161 000a
             25 01 01 02 0000000a 23 0003 08 000172 09 00020102 26 00016b 000176 0b 01 0b ffffff7f 03 000163
             6869",
            Packet::Publish(full),
        ),
        ("30 06 0000 03 23 0001", Packet::Publish(aliased)),
        ("40 02 0001", Packet::PubAck(PubAck::new(id(1)))),
        ("40 03 0001 10", Packet::PubAck(PubAck::with_reason(id(1), ReasonCode::NoMatchingSubscribers))),
        (
            "40 09 0001 00 05 1f 00026f6b",
            Packet::PubAck(PubAck { packet_id: id(1), reason_code: ReasonCode::Success, properties: reason }),
        ),
        ("50 03 0001 97", Packet::PubRec(PubRec::with_reason(id(1), ReasonCode::QuotaExceeded))),
        ("62 02 0001", Packet::PubRel(PubRel::new(id(1)))),
        ("62 03 0001 92", Packet::PubRel(PubRel::with_reason(id(1), ReasonCode::PacketIdentifierNotFound))),
        (
            "70 0b 0001 92 07 26 00016b 000176",
            Packet::PubComp(PubComp {
                packet_id: id(1),
                reason_code: ReasonCode::PacketIdentifierNotFound,
                properties: with_user,
            }),
        ),
        (
            "82 15 0001 0a 0b 8001 26 00016b 000176 000161 2e 000162 11",
            Packet::Subscribe(Subscribe {
                packet_id: id(1),
                filters: List::from([
                    SubscriptionRequest {
                        filter: "a".into(),
                        qos: Qos::ExactlyOnce,
                        no_local: true,
                        retain_as_published: true,
                        retain_handling: RetainHandling::DoNotSend,
                    },
                    SubscriptionRequest {
                        retain_handling: RetainHandling::SendIfNew,
                        ..SubscriptionRequest::new("b", Qos::AtLeastOnce)
                    },
                ]),
                properties: SubscribeProperties { subscription_identifier: Some(128), user_properties: user() },
            }),
        ),
        (
            "90 06 0001 00 01 87 a2",
            Packet::SubAck(SubAck {
                packet_id: id(1),
                reason_codes: vec![
                    ReasonCode::GrantedQos1,
                    ReasonCode::NotAuthorized,
                    ReasonCode::WildcardSubscriptionsNotSupported,
                ],
                properties: AckProperties::default(),
            }),
        ),
        (
            "a2 0d 0001 07 26 00016b 000176 000161",
            Packet::Unsubscribe(Unsubscribe {
                packet_id: id(1),
                filters: ["a".into()].into(),
                user_properties: user(),
            }),
        ),
        (
            "b0 05 0001 00 00 11",
            Packet::UnsubAck(UnsubAck {
                packet_id: id(1),
                reason_codes: vec![ReasonCode::Success, ReasonCode::NoSubscriptionExisted],
                properties: AckProperties::default(),
            }),
        ),
    ];
    for (text, packet) in rows {
        check(V5, text, packet);
    }
}

#[test]
fn longer_forms_than_our_own_are_read() {
    let rows = [
        (V5, "40 03 0001 00", Packet::PubAck(PubAck::new(id(1)))),
        (V5, "40 04 0001 00 00", Packet::PubAck(PubAck::new(id(1)))),
        (V5, "e0 01 00", Packet::Disconnect(Disconnect::default())),
        (V5, "e0 02 00 00", Packet::Disconnect(Disconnect::default())),
        // MQTT 3.1.1 does not ask for the shortest Remaining Length.
        (V3_1_1, "c0 80 00", Packet::PingReq),
        (V3_1_1, "10 8c 80 00 00044d515454 04 02 003c 0000", Packet::Connect(Box::new(connect(V3_1_1)))),
    ];
    for (version, text, packet) in rows {
        assert_eq!(decode_all(bytes(text), version), Ok(vec![packet]), "{text}");
    }
}

#[test]
fn what_version_3_1_1_cannot_say_is_left_out() {
    let connack = |reason_code| {
        Packet::ConnAck(Box::new(ConnAck {
            session_present: true,
            reason_code,
            properties: ConnAckProperties::default(),
        }))
    };
    let refused = SubAck {
        packet_id: id(1),
        reason_codes: vec![ReasonCode::GrantedQos1, ReasonCode::NotAuthorized],
        properties: AckProperties { reason_string: text("no"), user_properties: user() },
    };
    let rows = [
        (connack(ReasonCode::ServerBusy), "20020003"),
        (connack(ReasonCode::Banned), "20020005"),
        (connack(ReasonCode::MalformedPacket), ""),
        (Packet::SubAck(refused), "900400010180"),
        (Packet::PubAck(PubAck::with_reason(id(1), ReasonCode::NotAuthorized)), "40020001"),
        (Packet::Disconnect(Disconnect::new(ReasonCode::ServerBusy)), "e000"),
        (Packet::Auth(Auth::default()), ""),
    ];
    for (packet, text) in rows {
        assert_eq!(hex::encode(encoded(&packet, V3_1_1)), text, "{packet:?}");
        assert_eq!(encoded_len(&packet, V3_1_1), text.len() / 2, "{packet:?}");
    }
}

#[test]
fn nothing_malformed_is_written_whatever_the_caller_says() {
    let long = "ä".repeat(40_000);
    let publishes = [
        Publish { dup: true, packet_id: Some(id(1)), ..publish("a", b"x") },
        Publish { dup: true, qos: Qos::AtLeastOnce, ..publish("a", b"x") },
        Publish { topic: long.as_str().into(), ..publish("", b"x") },
    ];
    for packet in publishes {
        let packets = decode_all(encoded(&Packet::Publish(packet), V5), V5).unwrap();
        let [Packet::Publish(read)] = &packets[..] else { panic!("{packets:?}") };
        assert_eq!((read.qos, read.packet_id, read.dup, &read.payload[..]), (Qos::AtMostOnce, None, false, &b"x"[..]));
        assert!(read.topic.len() <= 65_535 && (*read.topic == *"a" || long.starts_with(&*read.topic)));
    }
    let refusal = ConnAck {
        session_present: true,
        reason_code: ReasonCode::ServerBusy,
        properties: ConnAckProperties::default(),
    };
    assert_eq!(hex::encode(encoded(&Packet::ConnAck(Box::new(refusal)), V5)), "2003008900");
}
