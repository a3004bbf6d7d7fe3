//! Arbitrary packets in the form that decoding gives them.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use iot_types::{PacketId, Qos};
use mqtt_codec::*;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

pub const MAXIMUM: u32 = 268_435_460;

pub fn encoded(packet: &Packet, version: ProtocolVersion) -> Bytes {
    let mut out = BytesMut::new();
    encode(packet, version, &mut out);
    out.freeze()
}

/// Every packet that `bytes` hold, by a decoder that already knows the version.
pub fn decode_all(bytes: Bytes, version: ProtocolVersion) -> Result<Vec<Packet>, DecodeError> {
    let mut decoder = Decoder::restore(MAXIMUM, Some(version), bytes);
    let mut packets = Vec::new();
    while let Some(packet) = decoder.next_packet()? {
        packets.push(packet);
    }
    Ok(packets)
}

pub fn versions() -> impl Strategy<Value = ProtocolVersion> {
    select(vec![ProtocolVersion::V3_1_1, ProtocolVersion::V5])
}

fn text() -> impl Strategy<Value = ByteString> {
    prop_oneof!["[^\u{0}]{0,12}", Just(String::new()), "[a-z]{100,200}"].prop_map(ByteString::from)
}

fn topic() -> impl Strategy<Value = ByteString> {
    "[^\u{0}+#]{1,20}".prop_map(ByteString::from)
}

fn data() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn qos() -> impl Strategy<Value = Qos> {
    select(vec![Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce])
}

fn id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}

fn users() -> impl Strategy<Value = UserProperties> {
    vec((text(), text()), 0..3).prop_map(UserProperties::from_iter)
}

fn codes(packet: PacketType) -> impl Strategy<Value = ReasonCode> {
    select(ReasonCode::ALL.iter().copied().filter(|code| code.is_allowed_in(packet)).collect::<Vec<_>>())
}

fn ack() -> impl Strategy<Value = AckProperties> {
    (of(text()), users()).prop_map(|(reason_string, user_properties)| AckProperties { reason_string, user_properties })
}

fn connect() -> impl Strategy<Value = Connect> {
    let properties = (
        (of(any::<u32>()), of(1..=u16::MAX), of(1..=u32::MAX), of(any::<u16>()), of(any::<bool>()), of(any::<bool>())),
        (users(), of((text(), of(data())))),
    )
        .prop_map(|((sei, rm, mps, tam, rri, rpi), (user_properties, auth))| ConnectProperties {
            session_expiry_interval: sei,
            receive_maximum: rm,
            maximum_packet_size: mps,
            topic_alias_maximum: tam,
            request_response_information: rri,
            request_problem_information: rpi,
            user_properties,
            authentication_method: auth.clone().map(|(method, _)| method),
            authentication_data: auth.and_then(|(_, data)| data),
        });
    (any::<bool>(), any::<u16>(), text(), of(will()), of(text()), of(data()), properties).prop_map(
        |(clean_start, keep_alive, client_id, will, username, password, properties)| Connect {
            version: ProtocolVersion::V5,
            clean_start,
            keep_alive,
            client_id,
            will,
            username,
            password,
            properties,
        },
    )
}

fn will() -> impl Strategy<Value = Will> {
    let properties =
        (of(any::<u32>()), of(any::<bool>()), of(any::<u32>()), of(text()), of(topic()), of(data()), users()).prop_map(
            |(delay, pfi, mei, content_type, response_topic, correlation_data, user_properties)| WillProperties {
                will_delay_interval: delay,
                payload_format_indicator: pfi,
                message_expiry_interval: mei,
                content_type,
                response_topic,
                correlation_data,
                user_properties,
            },
        );
    (qos(), any::<bool>(), topic(), data(), properties).prop_map(|(qos, retain, topic, payload, properties)| Will {
        qos,
        retain,
        topic,
        payload,
        properties,
    })
}

fn connack() -> impl Strategy<Value = ConnAck> {
    let properties = (
        (of(any::<u32>()), of(1..=u16::MAX), of(any::<bool>()), of(any::<bool>()), of(1..=u32::MAX), of(text())),
        (of(any::<u16>()), of(text()), users(), of(any::<bool>()), of(any::<bool>()), of(any::<bool>())),
        (of(any::<u16>()), of(text()), of(text()), of(text()), of(data())),
    )
        .prop_map(|((sei, rm, mq, ra, mps, aci), (tam, rs, up, ws, si, ss), (ska, ri, sr, am, ad))| {
            ConnAckProperties {
                session_expiry_interval: sei,
                receive_maximum: rm,
                maximum_qos: mq.map(|one| if one { Qos::AtLeastOnce } else { Qos::AtMostOnce }),
                retain_available: ra,
                maximum_packet_size: mps,
                assigned_client_identifier: aci,
                topic_alias_maximum: tam,
                reason_string: rs,
                user_properties: up,
                wildcard_subscription_available: ws,
                subscription_identifier_available: si,
                shared_subscription_available: ss,
                server_keep_alive: ska,
                response_information: ri,
                server_reference: sr,
                authentication_method: am,
                authentication_data: ad,
            }
        });
    (any::<bool>(), codes(PacketType::ConnAck), properties).prop_map(|(present, reason_code, properties)| ConnAck {
        session_present: present && reason_code == ReasonCode::Success,
        reason_code,
        properties,
    })
}

pub fn publish() -> impl Strategy<Value = Publish> {
    let properties = (
        (of(any::<bool>()), of(any::<u32>()), of(1..=u16::MAX), of(topic())),
        (of(data()), users(), vec(1..=268_435_455_u32, 0..3), of(text())),
    )
        .prop_map(|((pfi, mei, alias, response), (correlation, users, ids, content))| PublishProperties {
            payload_format_indicator: pfi,
            message_expiry_interval: mei,
            topic_alias: alias,
            response_topic: response,
            correlation_data: correlation,
            user_properties: users,
            subscription_identifiers: ids,
            content_type: content,
        });
    let payload = prop_oneof![data(), vec(any::<u8>(), 16_300..16_500).prop_map(Bytes::from)];
    (any::<bool>(), qos(), any::<bool>(), topic(), id(), properties, payload, any::<bool>()).prop_map(
        |(dup, qos, retain, topic, id, properties, payload, alias_only)| {
            let (dup, packet_id) = if qos == Qos::AtMostOnce { (false, None) } else { (dup, Some(id)) };
            let topic = if alias_only && properties.topic_alias.is_some() { ByteString::new() } else { topic };
            Publish { dup, qos, retain, topic, packet_id, properties: properties.into(), payload }
        },
    )
}

fn subscribe() -> impl Strategy<Value = Subscribe> {
    let handling = select(vec![RetainHandling::SendAtSubscribe, RetainHandling::SendIfNew, RetainHandling::DoNotSend]);
    let request = (text(), qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        |(filter, qos, no_local, retain_as_published, retain_handling)| SubscriptionRequest {
            filter,
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        },
    );
    (id(), vec(request, 1..4), of(1..=268_435_455_u32), users()).prop_map(|(packet_id, filters, identifier, users)| {
        let properties = SubscribeProperties { subscription_identifier: identifier, user_properties: users };
        Subscribe { packet_id, filters: List::from_iter(filters), properties }
    })
}

fn disconnect() -> impl Strategy<Value = Disconnect> {
    (codes(PacketType::Disconnect), of(any::<u32>()), of(text()), users(), of(text())).prop_map(
        |(reason_code, session_expiry_interval, reason_string, user_properties, server_reference)| Disconnect {
            reason_code,
            properties: DisconnectProperties {
                session_expiry_interval,
                reason_string,
                user_properties,
                server_reference,
            },
        },
    )
}

fn auth() -> impl Strategy<Value = Auth> {
    let full = (codes(PacketType::Auth), text(), of(data()), of(text()), users()).prop_map(
        |(reason_code, method, authentication_data, reason_string, user_properties)| Auth {
            reason_code,
            properties: AuthProperties {
                authentication_method: Some(method),
                authentication_data,
                reason_string,
                user_properties,
            },
        },
    );
    prop_oneof![full, Just(Auth::default())]
}

fn packet_v5() -> impl Strategy<Value = Packet> {
    macro_rules! acknowledgement {
        ($name:ident) => {
            (id(), codes(PacketType::$name), ack())
                .prop_map(|(packet_id, reason_code, properties)| {
                    Packet::$name($name { packet_id, reason_code, properties })
                })
                .boxed()
        };
    }
    let suback =
        (id(), vec(codes(PacketType::SubAck), 0..4), ack()).prop_map(|(packet_id, reason_codes, properties)| {
            Packet::SubAck(SubAck { packet_id, reason_codes, properties })
        });
    let unsuback =
        (id(), vec(codes(PacketType::UnsubAck), 0..4), ack()).prop_map(|(packet_id, reason_codes, properties)| {
            Packet::UnsubAck(UnsubAck { packet_id, reason_codes, properties })
        });
    let unsubscribe = (id(), vec(text(), 1..4), users()).prop_map(|(packet_id, filters, user_properties)| {
        Packet::Unsubscribe(Unsubscribe { packet_id, filters: List::from_iter(filters), user_properties })
    });
    prop_oneof![
        connect().prop_map(|packet| Packet::Connect(Box::new(packet))),
        connack().prop_map(|packet| Packet::ConnAck(Box::new(packet))),
        publish().prop_map(Packet::Publish),
        acknowledgement!(PubAck),
        acknowledgement!(PubRec),
        acknowledgement!(PubRel),
        acknowledgement!(PubComp),
        subscribe().prop_map(Packet::Subscribe),
        suback,
        unsubscribe,
        unsuback,
        Just(Packet::PingReq),
        Just(Packet::PingResp),
        disconnect().prop_map(Packet::Disconnect),
        auth().prop_map(Packet::Auth),
    ]
}

/// What is left of a packet in MQTT 3.1.1.
fn without_version_5(packet: Packet) -> Packet {
    match packet {
        Packet::Connect(connect) => Packet::Connect(Box::new(Connect {
            version: ProtocolVersion::V3_1_1,
            password: connect.password.filter(|_| connect.username.is_some()),
            will: connect.will.map(|will| Will { properties: WillProperties::default(), ..will }),
            properties: ConnectProperties::default(),
            ..*connect
        })),
        Packet::ConnAck(connack) => {
            let reason_code = match connack.reason_code.connect_return_code() {
                Some(0) => ReasonCode::Success,
                Some(1) => ReasonCode::UnsupportedProtocolVersion,
                Some(2) => ReasonCode::ClientIdentifierNotValid,
                Some(4) => ReasonCode::BadUserNameOrPassword,
                Some(5) => ReasonCode::NotAuthorized,
                _ => ReasonCode::ServerUnavailable,
            };
            Packet::ConnAck(Box::new(ConnAck { reason_code, properties: ConnAckProperties::default(), ..*connack }))
        }
        Packet::Publish(publish) => Packet::Publish(Publish {
            topic: if publish.topic.is_empty() { "t".into() } else { publish.topic },
            properties: PublishProperties::default().into(),
            ..publish
        }),
        Packet::PubAck(packet) => Packet::PubAck(PubAck::new(packet.packet_id)),
        Packet::PubRec(packet) => Packet::PubRec(PubRec::new(packet.packet_id)),
        Packet::PubRel(packet) => Packet::PubRel(PubRel::new(packet.packet_id)),
        Packet::PubComp(packet) => Packet::PubComp(PubComp::new(packet.packet_id)),
        Packet::Subscribe(subscribe) => Packet::Subscribe(Subscribe {
            filters: subscribe
                .filters
                .iter()
                .map(|request| SubscriptionRequest::new(request.filter, request.qos))
                .collect(),
            properties: SubscribeProperties::default(),
            ..subscribe
        }),
        Packet::SubAck(suback) => Packet::SubAck(SubAck {
            reason_codes: suback.reason_codes.into_iter().map(|code| code.min(ReasonCode::UnspecifiedError)).collect(),
            properties: AckProperties::default(),
            ..suback
        }),
        Packet::Unsubscribe(unsubscribe) => {
            Packet::Unsubscribe(Unsubscribe { user_properties: UserProperties::new(), ..unsubscribe })
        }
        Packet::UnsubAck(unsuback) => {
            Packet::UnsubAck(UnsubAck { reason_codes: vec![], properties: AckProperties::default(), ..unsuback })
        }
        Packet::Disconnect(_) => Packet::Disconnect(Disconnect::default()),
        Packet::Auth(_) => Packet::PingReq,
        same @ (Packet::PingReq | Packet::PingResp) => same,
    }
}

pub fn packet(version: ProtocolVersion) -> BoxedStrategy<Packet> {
    match version {
        ProtocolVersion::V5 => packet_v5().boxed(),
        ProtocolVersion::V3_1_1 => packet_v5().prop_map(without_version_5).boxed(),
    }
}

pub fn version_and_packet() -> impl Strategy<Value = (ProtocolVersion, Packet)> {
    versions().prop_flat_map(|version| (Just(version), packet(version)))
}

pub fn version_and_packets() -> impl Strategy<Value = (ProtocolVersion, Vec<Packet>)> {
    versions().prop_flat_map(|version| (Just(version), vec(packet(version), 1..6)))
}
