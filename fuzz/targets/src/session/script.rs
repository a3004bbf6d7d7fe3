//! The script's bytes, read as what a client may send.

use super::{CODES, TOPICS, packet_id};
use bytes::Bytes;
use iot_types::Qos;
use mqtt_codec::{
    Auth, AuthProperties, ByteString, ConnAck, ConnAckProperties, Connect, ConnectProperties, Disconnect,
    DisconnectProperties, Packet, ProtocolVersion, Publish, PublishProperties, ReasonCode, RetainHandling, SubAck,
    Subscribe, SubscribeProperties, SubscriptionRequest, UnsubAck, Unsubscribe, UserProperties, Will, WillProperties,
};

pub(super) struct Script<'a> {
    rest: &'a [u8],
    /// Counts the client's messages, so that each differs.
    published: u16,
}

const FILTERS: [&str; 4] = ["t", "topic/+", "#", "kept"];

impl<'a> Script<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Self { rest, published: 0 }
    }

    pub(super) fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    /// Zero at the end.
    pub(super) fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    pub(super) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.rest.len());
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        bytes
    }

    pub(super) fn code(&mut self) -> ReasonCode {
        CODES[usize::from(self.byte()) % CODES.len()]
    }

    pub(super) fn data(&mut self) -> Option<Bytes> {
        let length = usize::from(self.byte()) % 32;
        (length > 0).then(|| Bytes::from(vec![7; length]))
    }

    fn qos(bits: u8) -> Qos {
        Qos::from_bits(bits & 3).unwrap_or(Qos::ExactlyOnce)
    }

    pub(super) fn connect(&mut self) -> Connect {
        let [flags, sizes, times, will, maximum] = [(); 5].map(|()| self.byte());
        let version = if flags & 1 == 0 { ProtocolVersion::V5 } else { ProtocolVersion::V3_1_1 };
        let is_v5 = version == ProtocolVersion::V5;
        let one_of = |place: u8, values: [Option<u32>; 4]| values[usize::from(place & 3)].filter(|_| is_v5);
        let narrow = |value: Option<u32>| value.and_then(|value| u16::try_from(value).ok());
        let properties = ConnectProperties {
            session_expiry_interval: one_of(times, [None, Some(0), Some(100), Some(u32::MAX)]),
            receive_maximum: narrow(one_of(sizes, [None, Some(1), Some(2), Some(65_535)])),
            maximum_packet_size: (is_v5 && maximum > 0).then_some(maximum.into()),
            topic_alias_maximum: narrow(one_of(sizes >> 2, [None, Some(1), Some(2), Some(65_535)])),
            request_response_information: (is_v5 && flags & 2 != 0).then_some(true),
            request_problem_information: (is_v5 && flags & 4 != 0).then_some(flags & 8 != 0),
            authentication_method: (is_v5 && flags & 16 != 0).then(|| "M".into()),
            ..ConnectProperties::default()
        };
        Connect {
            version,
            clean_start: flags & 32 == 0,
            keep_alive: [60, 0, 1, 65_535][usize::from(times >> 2 & 3)],
            client_id: if flags & 64 == 0 { "client".into() } else { ByteString::new() },
            will: (will & 1 != 0).then(|| Will {
                qos: Self::qos(will >> 1),
                retain: will & 8 != 0,
                topic: "w".into(),
                payload: Bytes::from(vec![b'w'; usize::from(will >> 4)]),
                properties: WillProperties::default(),
            }),
            username: None,
            password: None,
            properties,
        }
    }

    pub(super) fn publish(&mut self) -> Publish {
        let [flags, id, more] = [self.byte(), self.byte(), self.byte()];
        self.published += 1;
        let qos = Self::qos(flags);
        let topic_alias = match flags >> 3 & 7 {
            alias @ 1..=3 => Some(u16::from(alias)),
            7 => Some(100),
            _ => None,
        };
        let is_alias_alone = topic_alias.is_some() && flags & 0x40 != 0;
        Publish {
            dup: qos > Qos::AtMostOnce && more & 1 != 0,
            qos,
            retain: flags & 0x80 != 0,
            topic: if is_alias_alone { ByteString::new() } else { TOPICS[usize::from(more >> 1 & 3)].into() },
            packet_id: (qos > Qos::AtMostOnce).then(|| packet_id(id)),
            properties: PublishProperties {
                topic_alias,
                message_expiry_interval: (more & 8 != 0).then_some(u32::from(id)),
                content_type: (more & 16 != 0).then(|| "c".into()),
                subscription_identifiers: if more & 0xE0 == 0xE0 { vec![1] } else { Vec::new() },
                ..PublishProperties::default()
            }
            .into(),
            payload: Bytes::copy_from_slice(&self.published.to_be_bytes()),
        }
    }

    fn filters(choice: u8) -> impl Iterator<Item = ByteString> {
        (0..=choice & 3).map(move |place| FILTERS[usize::from((choice >> 2) + place) % FILTERS.len()].into())
    }

    pub(super) fn subscribe(&mut self) -> Subscribe {
        let [id, choice, options] = [self.byte(), self.byte(), self.byte()];
        let request = |filter| SubscriptionRequest {
            filter,
            qos: Self::qos(options),
            no_local: options & 4 != 0,
            retain_as_published: options & 8 != 0,
            retain_handling: RetainHandling::SendAtSubscribe,
        };
        Subscribe {
            packet_id: packet_id(id),
            filters: Self::filters(choice).map(request).collect(),
            properties: SubscribeProperties {
                subscription_identifier: (options & 16 != 0).then_some(1),
                ..SubscribeProperties::default()
            },
        }
    }

    pub(super) fn unsubscribe(&mut self) -> Unsubscribe {
        let [id, choice] = [self.byte(), self.byte()];
        let filters = Self::filters(choice).collect();
        Unsubscribe { packet_id: packet_id(id), filters, user_properties: UserProperties::new() }
    }

    /// The packets that have little to say.
    pub(super) fn other(&mut self) -> Packet {
        let [kind, choice] = [self.byte(), self.byte()];
        match kind % 8 {
            0..=2 => Packet::PingReq,
            3 => Packet::Auth(Auth {
                reason_code: [ReasonCode::ContinueAuthentication, ReasonCode::ReAuthenticate, ReasonCode::Success]
                    [usize::from(choice) % 3],
                properties: AuthProperties {
                    authentication_method: Some(if choice & 0x80 == 0 { "M".into() } else { "other".into() }),
                    authentication_data: self.data(),
                    ..AuthProperties::default()
                },
            }),
            4 => Packet::Disconnect(Disconnect {
                reason_code: ReasonCode::ALL[usize::from(choice >> 2) % ReasonCode::ALL.len()],
                properties: DisconnectProperties {
                    session_expiry_interval: [None, Some(0), Some(5), Some(u32::MAX)][usize::from(choice & 3)],
                    ..DisconnectProperties::default()
                },
            }),
            5 => Packet::PingResp,
            6 => Packet::ConnAck(Box::new(ConnAck {
                session_present: false,
                reason_code: ReasonCode::Success,
                properties: ConnAckProperties::default(),
            })),
            _ if choice & 1 == 0 => Packet::SubAck(SubAck {
                packet_id: packet_id(choice),
                reason_codes: Vec::new(),
                properties: Default::default(),
            }),
            _ => Packet::UnsubAck(UnsubAck {
                packet_id: packet_id(choice),
                reason_codes: Vec::new(),
                properties: Default::default(),
            }),
        }
    }
}
