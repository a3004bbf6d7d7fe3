//! SUBSCRIBE: subscribe request (MQTT 5.0 section 3.8).

use super::Body;
use crate::list::Item;
use crate::properties::properties;
use crate::wire::{Reader, put_text};
use crate::{DecodeError, List, ProtocolVersion, UserProperties};
use bytes::{BufMut, BytesMut};
use bytestring::ByteString;
use iot_types::{PacketId, Qos};

/// A client asks for subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// SUBACK answers with the same.
    pub packet_id: PacketId,
    /// At least one, answered in this order.
    pub filters: List<SubscriptionRequest>,
    /// Properties; none in MQTT 3.1.1.
    pub properties: SubscribeProperties,
}

/// One Topic Filter with its Subscription Options (section 3.8.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionRequest {
    /// Any well-formed text: what is no Topic Filter gets its own SUBACK code from the session.
    pub filter: ByteString,
    /// The highest quality of service to send with.
    pub qos: Qos,
    /// Not what this client published itself; false in MQTT 3.1.1.
    pub no_local: bool,
    /// Keep the RETAIN flag as published; false in MQTT 3.1.1.
    pub retain_as_published: bool,
    /// Whether retained messages come first; `SendAtSubscribe` in MQTT 3.1.1.
    pub retain_handling: RetainHandling,
}

impl SubscriptionRequest {
    /// A filter with the options that MQTT 3.1.1 has.
    #[must_use]
    pub fn new(filter: impl Into<ByteString>, qos: Qos) -> Self {
        Self {
            filter: filter.into(),
            qos,
            no_local: false,
            retain_as_published: false,
            retain_handling: RetainHandling::SendAtSubscribe,
        }
    }
}

/// When retained messages are sent for a new subscription (section 3.8.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// At each SUBSCRIBE.
    #[default]
    SendAtSubscribe = 0,
    /// Only if the subscription did not exist.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

impl RetainHandling {
    /// The meaning of the two bits; `None` for 3.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::SendAtSubscribe),
            1 => Some(Self::SendIfNew),
            2 => Some(Self::DoNotSend),
            _ => None,
        }
    }

    /// The two bits on the wire.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

properties! {
    /// Section 3.8.2.1.
    SubscribeProperties {
        /// Comes back on what these subscriptions deliver; 1 to 268,435,455.
        subscription_identifier: Option<u32> = SubscriptionIdentifier,
        /// User Properties.
        user_properties: UserProperties = UserProperty,
    }
}

const NO_LOCAL: u8 = 0x04;
const RETAIN_AS_PUBLISHED: u8 = 0x08;
const RETAIN_HANDLING_SHIFT: u8 = 4;

impl Subscribe {
    pub(crate) fn decode(version: ProtocolVersion, reader: &mut Reader) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let properties = match version {
            ProtocolVersion::V3_1_1 => SubscribeProperties::default(),
            ProtocolVersion::V5 => SubscribeProperties::decode(reader, "MQTT 5.0 section 3.8.2.1")?,
        };
        if reader.is_empty() {
            return Err(DecodeError::SubscribeWithoutFilter);
        }
        Ok(Self { packet_id, filters: List::decode(version, reader)?, properties })
    }
}

impl Item for SubscriptionRequest {
    fn decode(version: ProtocolVersion, reader: &mut Reader) -> Result<Self, DecodeError> {
        let filter = reader.text()?;
        let options = reader.u8()?;
        let reserved = match version {
            ProtocolVersion::V3_1_1 => 0b1111_1100,
            ProtocolVersion::V5 => 0b1100_0000,
        };
        if options & reserved != 0 {
            return Err(DecodeError::SubscriptionOptionsReserved);
        }
        let qos = Qos::from_bits(options & 0b11).ok_or(DecodeError::SubscriptionQos3)?;
        let retain_handling =
            RetainHandling::from_bits(options >> RETAIN_HANDLING_SHIFT).ok_or(DecodeError::RetainHandling3)?;
        let request = Self::with_options(filter, qos, retain_handling, options);
        if request.no_local && request.filter.starts_with("$share/") {
            return Err(DecodeError::NoLocalOnSharedSubscription);
        }
        Ok(request)
    }

    fn read(reader: &mut Reader) -> Option<Self> {
        let filter = reader.binary().ok()?.try_into().ok()?;
        let options = reader.u8().ok()?;
        let qos = Qos::from_bits(options & 0b11)?;
        let retain_handling = RetainHandling::from_bits(options >> RETAIN_HANDLING_SHIFT)?;
        Some(Self::with_options(filter, qos, retain_handling, options))
    }

    fn write(&self, version: ProtocolVersion, out: &mut BytesMut) {
        put_text(out, &self.filter);
        out.put_u8(self.options(version));
    }
}

impl SubscriptionRequest {
    fn with_options(filter: ByteString, qos: Qos, retain_handling: RetainHandling, options: u8) -> Self {
        let (no_local, retain_as_published) = (options & NO_LOCAL != 0, options & RETAIN_AS_PUBLISHED != 0);
        Self { filter, qos, no_local, retain_as_published, retain_handling }
    }

    fn options(&self, version: ProtocolVersion) -> u8 {
        let mut options = self.qos.bits();
        if version == ProtocolVersion::V5 {
            options |= self.retain_handling.bits() << RETAIN_HANDLING_SHIFT;
            if self.no_local {
                options |= NO_LOCAL;
            }
            if self.retain_as_published {
                options |= RETAIN_AS_PUBLISHED;
            }
        }
        options
    }
}

impl Body for Subscribe {
    fn flags(&self) -> u8 {
        2
    }

    fn length(&self, version: ProtocolVersion) -> usize {
        let properties = match version {
            ProtocolVersion::V3_1_1 => 0,
            ProtocolVersion::V5 => self.properties.encoded_len(),
        };
        2 + properties + self.filters.encoded_len()
    }

    fn write(&self, version: ProtocolVersion, out: &mut BytesMut) {
        out.put_u16(self.packet_id.get());
        if version == ProtocolVersion::V5 {
            self.properties.write(out);
        }
        self.filters.write(version, out);
    }
}
