//! MQTT 3.1.1 and MQTT 5.0 packets: bytes to values and back, strictly.
//!
//! In scope:
//! - all fifteen Control Packet types and all twenty-seven properties, both directions;
//! - every rule that one packet alone can break, each refusal citing its clause ([`DecodeError`]);
//! - the stream: packets cut anywhere, several at once, the declared length bounded before anything is allocated;
//! - bounded memory: a packet's values take at most four times its bytes besides those bytes, and some hundred more.
//!
//! Out of scope:
//! - what a packet means and in which order packets may come → `mqtt-session`;
//! - the syntax of topic filters, limits on topics → `mqtt-topic` (here a filter is any well-formed text);
//! - Topic Alias tables, flow control, the receiver's Maximum Packet Size when sending → `mqtt-session`;
//! - WebSocket framing → the adapter.
//!
//! Clause numbers are those of MQTT 5.0 unless `MQTT 3.1.1` stands before them.

mod decoder;
mod error;
mod list;
mod packet;
mod properties;
mod rare;
mod reason_code;
mod wire;

pub use bytes::{Bytes, BytesMut};
pub use bytestring::ByteString;
pub use decoder::Decoder;
pub use error::DecodeError;
pub use iot_types::UserProperties;
pub use list::List;
pub use packet::auth::{Auth, AuthProperties};
pub use packet::connack::{ConnAck, ConnAckProperties};
pub use packet::connect::{Connect, ConnectProperties, Will, WillProperties};
pub use packet::disconnect::{Disconnect, DisconnectProperties};
pub use packet::puback::PubAck;
pub use packet::pubcomp::PubComp;
pub use packet::publish::{Publish, PublishProperties};
pub use packet::publish_template::{Delivery, PublishTemplate};
pub use packet::pubrec::PubRec;
pub use packet::pubrel::PubRel;
pub use packet::suback::SubAck;
pub use packet::subscribe::{RetainHandling, Subscribe, SubscribeProperties, SubscriptionRequest};
pub use packet::unsuback::UnsubAck;
pub use packet::unsubscribe::Unsubscribe;
pub use packet::{Packet, PacketType, encode, encoded_len};
pub use properties::{AckProperties, PropertyId};
pub use rare::{Empty, Rare};
pub use reason_code::ReasonCode;

/// The version of the protocol, fixed by CONNECT for the life of the Network Connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolVersion {
    /// MQTT 3.1.1, protocol level 4.
    V3_1_1,
    /// MQTT 5.0, protocol version 5.
    V5,
}

impl ProtocolVersion {
    /// The byte that follows the protocol name in CONNECT.
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Self::V3_1_1 => 4,
            Self::V5 => 5,
        }
    }

    /// The version behind a protocol level; `None` for one that is not spoken here.
    #[must_use]
    pub const fn from_level(level: u8) -> Option<Self> {
        match level {
            4 => Some(Self::V3_1_1),
            5 => Some(Self::V5),
            _ => None,
        }
    }
}
