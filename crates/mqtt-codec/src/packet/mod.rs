//! Control Packets (MQTT 5.0 section 3), one file each.

mod acknowledgement;
pub(crate) mod auth;
pub(crate) mod connack;
pub(crate) mod connect;
pub(crate) mod disconnect;
pub(crate) mod puback;
pub(crate) mod pubcomp;
pub(crate) mod publish;
pub(crate) mod publish_template;
pub(crate) mod pubrec;
pub(crate) mod pubrel;
pub(crate) mod suback;
pub(crate) mod subscribe;
pub(crate) mod unsuback;
pub(crate) mod unsubscribe;

use crate::wire::{Reader, VARINT_MAX, put_varint, varint_len};
use crate::{
    Auth, ConnAck, Connect, DecodeError, Disconnect, ProtocolVersion, PubAck, PubComp, PubRec, PubRel, Publish,
    ReasonCode, SubAck, Subscribe, UnsubAck, Unsubscribe,
};
use bytes::{BufMut, BytesMut};
use core::fmt;

/// One MQTT Control Packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A client asks for a connection.
    Connect(Box<Connect>),
    /// The server's answer to CONNECT.
    ConnAck(Box<ConnAck>),
    /// An Application Message.
    Publish(Publish),
    /// QoS 1: the message is accepted.
    PubAck(PubAck),
    /// QoS 2, part 1.
    PubRec(PubRec),
    /// QoS 2, part 2.
    PubRel(PubRel),
    /// QoS 2, part 3.
    PubComp(PubComp),
    /// A client asks for subscriptions.
    Subscribe(Subscribe),
    /// The answer to SUBSCRIBE.
    SubAck(SubAck),
    /// A client ends subscriptions.
    Unsubscribe(Unsubscribe),
    /// The answer to UNSUBSCRIBE.
    UnsubAck(UnsubAck),
    /// A client shows that it lives.
    PingReq,
    /// The answer to PINGREQ.
    PingResp,
    /// The last packet of a connection.
    Disconnect(Disconnect),
    /// Enhanced authentication, MQTT 5.0 only.
    Auth(Auth),
}

impl Packet {
    /// Which kind of packet it is.
    #[must_use]
    pub const fn packet_type(&self) -> PacketType {
        match self {
            Self::Connect(_) => PacketType::Connect,
            Self::ConnAck(_) => PacketType::ConnAck,
            Self::Publish(_) => PacketType::Publish,
            Self::PubAck(_) => PacketType::PubAck,
            Self::PubRec(_) => PacketType::PubRec,
            Self::PubRel(_) => PacketType::PubRel,
            Self::PubComp(_) => PacketType::PubComp,
            Self::Subscribe(_) => PacketType::Subscribe,
            Self::SubAck(_) => PacketType::SubAck,
            Self::Unsubscribe(_) => PacketType::Unsubscribe,
            Self::UnsubAck(_) => PacketType::UnsubAck,
            Self::PingReq => PacketType::PingReq,
            Self::PingResp => PacketType::PingResp,
            Self::Disconnect(_) => PacketType::Disconnect,
            Self::Auth(_) => PacketType::Auth,
        }
    }
}

macro_rules! packet_types {
    ($($name:ident = $value:literal, $text:literal, $flags:expr;)*) => {
        /// MQTT Control Packet type (section 2.1.2, table 2-1).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)] // the names are the standard's
        pub enum PacketType { $($name = $value,)* }

        impl PacketType {
            pub(crate) const fn from_u8(value: u8) -> Option<Self> {
                match value {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The flags of the first byte where the standard fixes them (section 2.1.3, table 2-2).
            pub(crate) const fn fixed_flags(self) -> Option<u8> {
                match self { $(Self::$name => $flags,)* }
            }
        }

        impl fmt::Display for PacketType {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)* })
            }
        }
    };
}

packet_types! {
    Connect = 1, "CONNECT", Some(0);
    ConnAck = 2, "CONNACK", Some(0);
    Publish = 3, "PUBLISH", None;
    PubAck = 4, "PUBACK", Some(0);
    PubRec = 5, "PUBREC", Some(0);
    PubRel = 6, "PUBREL", Some(2);
    PubComp = 7, "PUBCOMP", Some(0);
    Subscribe = 8, "SUBSCRIBE", Some(2);
    SubAck = 9, "SUBACK", Some(0);
    Unsubscribe = 10, "UNSUBSCRIBE", Some(2);
    UnsubAck = 11, "UNSUBACK", Some(0);
    PingReq = 12, "PINGREQ", Some(0);
    PingResp = 13, "PINGRESP", Some(0);
    Disconnect = 14, "DISCONNECT", Some(0);
    Auth = 15, "AUTH", Some(0);
}

/// A fixed header whose packet is within the maximum size.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    pub(crate) packet_type: PacketType,
    pub(crate) flags: u8,
    /// Bytes of the header itself.
    pub(crate) header_len: usize,
    pub(crate) remaining_length: usize,
    /// The Remaining Length took more bytes than it needs.
    pub(crate) overlong: bool,
}

impl Header {
    pub(crate) const fn packet_len(&self) -> usize {
        self.header_len + self.remaining_length
    }
}

/// Reads the body of a packet; of CONNECT what follows the protocol level.
pub(crate) fn decode(header: Header, version: ProtocolVersion, mut reader: Reader) -> Result<Packet, DecodeError> {
    let packet = match header.packet_type {
        PacketType::Connect => Packet::Connect(Box::new(Connect::decode(version, &mut reader)?)),
        PacketType::ConnAck => Packet::ConnAck(Box::new(ConnAck::decode(version, &mut reader)?)),
        PacketType::Publish => return Publish::decode(header.flags, version, reader).map(Packet::Publish),
        PacketType::PubAck => Packet::PubAck(PubAck::decode(version, &mut reader)?),
        PacketType::PubRec => Packet::PubRec(PubRec::decode(version, &mut reader)?),
        PacketType::PubRel => Packet::PubRel(PubRel::decode(version, &mut reader)?),
        PacketType::PubComp => Packet::PubComp(PubComp::decode(version, &mut reader)?),
        PacketType::Subscribe => Packet::Subscribe(Subscribe::decode(version, &mut reader)?),
        PacketType::SubAck => Packet::SubAck(SubAck::decode(version, &mut reader)?),
        PacketType::Unsubscribe => Packet::Unsubscribe(Unsubscribe::decode(version, &mut reader)?),
        PacketType::UnsubAck => Packet::UnsubAck(UnsubAck::decode(version, &mut reader)?),
        PacketType::PingReq => Packet::PingReq,
        PacketType::PingResp => Packet::PingResp,
        PacketType::Disconnect => Packet::Disconnect(Disconnect::decode(version, &mut reader)?),
        PacketType::Auth => Packet::Auth(Auth::decode(&mut reader)?),
    };
    reader.finish()?;
    Ok(packet)
}

/// Reads a Reason Code that must belong to `packet`.
pub(crate) fn reason_code(reader: &mut Reader, packet: PacketType) -> Result<ReasonCode, DecodeError> {
    let value = reader.u8()?;
    let code = ReasonCode::from_u8(value).ok_or(DecodeError::ReasonCodeUnknown(value))?;
    if code.is_allowed_in(packet) { Ok(code) } else { Err(DecodeError::ReasonCodeNotAllowed(packet, code)) }
}

/// What follows the fixed header.
pub(crate) trait Body {
    /// The first byte's lower half.
    fn flags(&self) -> u8;
    /// Bytes of the body.
    fn length(&self, version: ProtocolVersion) -> usize;
    /// Writes exactly [`Self::length`] bytes.
    fn write(&self, version: ProtocolVersion, out: &mut BytesMut);
}

/// A body without a byte.
struct Empty;

impl Body for Empty {
    fn flags(&self) -> u8 {
        0
    }

    fn length(&self, _: ProtocolVersion) -> usize {
        0
    }

    fn write(&self, _: ProtocolVersion, _: &mut BytesMut) {}
}

/// The body of a packet, or `None` when the version has no such packet.
fn body(packet: &Packet, version: ProtocolVersion) -> Option<&dyn Body> {
    let body: &dyn Body = match packet {
        Packet::Connect(packet) => &**packet,
        Packet::ConnAck(packet) => {
            if version == ProtocolVersion::V3_1_1 {
                packet.reason_code.connect_return_code()?;
            }
            &**packet
        }
        Packet::Publish(packet) => packet,
        Packet::PubAck(packet) => packet,
        Packet::PubRec(packet) => packet,
        Packet::PubRel(packet) => packet,
        Packet::PubComp(packet) => packet,
        Packet::Subscribe(packet) => packet,
        Packet::SubAck(packet) => packet,
        Packet::Unsubscribe(packet) => packet,
        Packet::UnsubAck(packet) => packet,
        Packet::PingReq | Packet::PingResp => &Empty,
        Packet::Disconnect(packet) => packet,
        Packet::Auth(_) if version == ProtocolVersion::V3_1_1 => return None,
        Packet::Auth(packet) => packet,
    };
    (body.length(version) <= VARINT_MAX).then_some(body)
}

/// Appends a packet to `out`. CONNECT is written in the version it names itself.
///
/// What the version cannot say is left out: properties and the Reason Codes of acknowledgements in MQTT 3.1.1.
/// Nothing at all is written for a CONNACK whose code has no return code in MQTT 3.1.1
/// ([`ReasonCode::connect_return_code`]: there the server just closes), for AUTH in MQTT 3.1.1, and for a body above
/// 268,435,455 bytes. Texts and binary data above 65,535 bytes are cut, texts at a character. A DISCONNECT to a
/// client of MQTT 3.1.1 is written although only clients send it there: the session does not send one.
pub fn encode(packet: &Packet, version: ProtocolVersion, out: &mut BytesMut) {
    if let Some(body) = body(packet, version) {
        write(packet.packet_type(), body, version, out);
    }
}

/// Bytes that [`encode`] writes; to be compared with the receiver's Maximum Packet Size ([MQTT-3.1.2-24]).
#[must_use]
pub fn encoded_len(packet: &Packet, version: ProtocolVersion) -> usize {
    body(packet, version).map_or(0, |body| packet_len(body.length(version)))
}

/// Bytes of a packet whose body has `body` bytes.
pub(crate) const fn packet_len(body: usize) -> usize {
    1 + varint_len(body) + body
}

pub(crate) fn put_header(packet_type: PacketType, flags: u8, body: usize, out: &mut BytesMut) {
    out.reserve(packet_len(body));
    out.put_u8((packet_type as u8) << 4 | flags);
    put_varint(out, body);
}

fn write(packet_type: PacketType, body: &dyn Body, version: ProtocolVersion, out: &mut BytesMut) {
    put_header(packet_type, body.flags(), body.length(version), out);
    body.write(version, out);
}
