//! Properties (MQTT 5.0 section 2.2.2): one table of identifiers, one rule per value type, one macro that makes the
//! three directions of a property list (read, measure, write) from its fields.

use crate::DecodeError;
use crate::wire::{Reader, binary_len, put_binary, put_text, put_varint, text_len, varint_len};
use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use iot_types::{Qos, UserProperties};

macro_rules! property_ids {
    ($($name:ident = $value:literal;)*) => {
        /// The identifier of a property (section 2.2.2.2, table 2-4).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[allow(missing_docs)] // the names are the standard's
        pub enum PropertyId { $($name = $value,)* }

        impl PropertyId {
            fn from_u32(value: u32) -> Option<Self> {
                match value {
                    $($value => Some(Self::$name),)*
                    _ => None,
                }
            }
        }
    };
}

property_ids! {
    PayloadFormatIndicator = 0x01;
    MessageExpiryInterval = 0x02;
    ContentType = 0x03;
    ResponseTopic = 0x08;
    CorrelationData = 0x09;
    SubscriptionIdentifier = 0x0B;
    SessionExpiryInterval = 0x11;
    AssignedClientIdentifier = 0x12;
    ServerKeepAlive = 0x13;
    AuthenticationMethod = 0x15;
    AuthenticationData = 0x16;
    RequestProblemInformation = 0x17;
    WillDelayInterval = 0x18;
    RequestResponseInformation = 0x19;
    ResponseInformation = 0x1A;
    ServerReference = 0x1C;
    ReasonString = 0x1F;
    ReceiveMaximum = 0x21;
    TopicAliasMaximum = 0x22;
    TopicAlias = 0x23;
    MaximumQos = 0x24;
    RetainAvailable = 0x25;
    UserProperty = 0x26;
    MaximumPacketSize = 0x27;
    WildcardSubscriptionAvailable = 0x28;
    SubscriptionIdentifierAvailable = 0x29;
    SharedSubscriptionAvailable = 0x2A;
}

/// Where a property was found: which one, and the section that lists its packet's properties.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    property: PropertyId,
    section: &'static str,
}

impl Place {
    fn bad_value(self) -> DecodeError {
        DecodeError::PropertyValue { property: self.property, section: self.section }
    }

    pub(crate) fn not_allowed(self) -> DecodeError {
        DecodeError::PropertyNotAllowed { property: self.property, section: self.section }
    }

    pub(crate) fn property(self) -> PropertyId {
        self.property
    }
}

/// The next property's identifier; `None` at the end of the section.
pub(crate) fn next_property(reader: &mut Reader, section: &'static str) -> Result<Option<Place>, DecodeError> {
    if reader.is_empty() {
        return Ok(None);
    }
    let value = reader.varint()?;
    let property = PropertyId::from_u32(value).ok_or(DecodeError::PropertyUnknown(value))?;
    Ok(Some(Place { property, section }))
}

/// A value of one of the data types of section 2.2.2.2.
pub(crate) trait Value: Sized {
    fn read(place: Place, reader: &mut Reader) -> Result<Self, DecodeError>;
    fn length(&self, property: PropertyId) -> usize;
    fn write(&self, property: PropertyId, out: &mut BytesMut);
}

impl Value for bool {
    fn read(place: Place, reader: &mut Reader) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(place.bad_value()),
        }
    }

    fn length(&self, _: PropertyId) -> usize {
        1
    }

    fn write(&self, _: PropertyId, out: &mut BytesMut) {
        out.put_u8(u8::from(*self));
    }
}

/// Maximum QoS, which can only say 0 or 1 (section 3.2.2.3.4).
impl Value for Qos {
    fn read(place: Place, reader: &mut Reader) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            _ => Err(place.bad_value()),
        }
    }

    fn length(&self, _: PropertyId) -> usize {
        1
    }

    fn write(&self, _: PropertyId, out: &mut BytesMut) {
        out.put_u8(self.bits().min(1));
    }
}

impl Value for u16 {
    fn read(place: Place, reader: &mut Reader) -> Result<Self, DecodeError> {
        match (reader.u16()?, place.property) {
            (0, PropertyId::TopicAlias) => Err(DecodeError::TopicAliasZero),
            (0, PropertyId::ReceiveMaximum) => Err(place.bad_value()),
            (value, _) => Ok(value),
        }
    }

    fn length(&self, _: PropertyId) -> usize {
        2
    }

    fn write(&self, _: PropertyId, out: &mut BytesMut) {
        out.put_u16(*self);
    }
}

/// A Four Byte Integer, except the Subscription Identifier, which is a Variable Byte Integer.
impl Value for u32 {
    fn read(place: Place, reader: &mut Reader) -> Result<Self, DecodeError> {
        let value = match place.property {
            PropertyId::SubscriptionIdentifier => reader.varint()?,
            _ => reader.u32()?,
        };
        match (value, place.property) {
            (0, PropertyId::SubscriptionIdentifier | PropertyId::MaximumPacketSize) => Err(place.bad_value()),
            (value, _) => Ok(value),
        }
    }

    fn length(&self, property: PropertyId) -> usize {
        match property {
            PropertyId::SubscriptionIdentifier => varint_len(*self as usize),
            _ => 4,
        }
    }

    fn write(&self, property: PropertyId, out: &mut BytesMut) {
        match property {
            PropertyId::SubscriptionIdentifier => put_varint(out, *self as usize),
            _ => out.put_u32(*self),
        }
    }
}

impl Value for ByteString {
    fn read(place: Place, reader: &mut Reader) -> Result<Self, DecodeError> {
        let text = reader.text()?;
        if place.property == PropertyId::ResponseTopic && text.contains(['+', '#']) {
            return Err(DecodeError::WildcardInResponseTopic);
        }
        Ok(text)
    }

    fn length(&self, _: PropertyId) -> usize {
        text_len(self)
    }

    fn write(&self, _: PropertyId, out: &mut BytesMut) {
        put_text(out, self);
    }
}

impl Value for Bytes {
    fn read(_: Place, reader: &mut Reader) -> Result<Self, DecodeError> {
        reader.binary()
    }

    fn length(&self, _: PropertyId) -> usize {
        binary_len(self)
    }

    fn write(&self, _: PropertyId, out: &mut BytesMut) {
        put_binary(out, self);
    }
}

/// A field of a property list: once at most (`Option`) or any number of times (`Vec`, [`UserProperties`]).
pub(crate) trait Slot {
    fn fill(&mut self, place: Place, reader: &mut Reader) -> Result<(), DecodeError>;
    fn length(&self, property: PropertyId) -> usize;
    fn write(&self, property: PropertyId, out: &mut BytesMut);
}

impl<T: Value> Slot for Option<T> {
    fn fill(&mut self, place: Place, reader: &mut Reader) -> Result<(), DecodeError> {
        if self.is_some() {
            return Err(DecodeError::PropertyDuplicate { property: place.property, section: place.section });
        }
        *self = Some(T::read(place, reader)?);
        Ok(())
    }

    fn length(&self, property: PropertyId) -> usize {
        self.as_ref().map_or(0, |value| 1 + value.length(property))
    }

    fn write(&self, property: PropertyId, out: &mut BytesMut) {
        if let Some(value) = self {
            out.put_u8(property as u8);
            value.write(property, out);
        }
    }
}

impl<T: Value> Slot for Vec<T> {
    fn fill(&mut self, place: Place, reader: &mut Reader) -> Result<(), DecodeError> {
        let value = T::read(place, reader)?;
        if self.len() == self.capacity() {
            // As a vector grows by itself, but not for more than can still come: a value takes two bytes at least.
            self.reserve_exact(self.len().clamp(4, 4 + reader.len() / 2));
        }
        self.push(value);
        Ok(())
    }

    fn length(&self, property: PropertyId) -> usize {
        self.iter().map(|value| 1 + value.length(property)).sum()
    }

    fn write(&self, property: PropertyId, out: &mut BytesMut) {
        for value in self {
            out.put_u8(property as u8);
            value.write(property, out);
        }
    }
}

impl Slot for UserProperties {
    /// Takes all that stand one behind the other at once, as a slice.
    fn fill(&mut self, _: Place, reader: &mut Reader) -> Result<(), DecodeError> {
        // The identifier before the first has one byte and is read already.
        let start = reader.position().saturating_sub(1);
        loop {
            reader.skip_text()?;
            reader.skip_text()?;
            if !reader.skip(Self::IDENTIFIER) {
                break;
            }
        }
        self.append_encoded(reader.since(start));
        Ok(())
    }

    fn length(&self, _: PropertyId) -> usize {
        self.as_encoded().len()
    }

    fn write(&self, _: PropertyId, out: &mut BytesMut) {
        out.put_slice(self.as_encoded());
    }
}

/// Defines a property list: `field: type = PropertyId` rows.
macro_rules! properties {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty = $property:ident,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl $crate::Empty for $name {
            fn empty() -> &'static Self {
                static EMPTY: std::sync::LazyLock<$name> = std::sync::LazyLock::new($name::default);
                &EMPTY
            }
        }

        impl $name {
            /// Reads the Property Length and what it spans; `section` is where the standard lists them.
            pub(crate) fn decode(
                reader: &mut $crate::wire::Reader,
                section: &'static str,
            ) -> Result<Self, $crate::DecodeError> {
                let mut properties = Self::default();
                let mut reader = reader.section()?;
                while let Some(place) = $crate::properties::next_property(&mut reader, section)? {
                    match place.property() {
                        $($crate::PropertyId::$property => {
                            $crate::properties::Slot::fill(&mut properties.$field, place, &mut reader)?;
                        })*
                        _ => return Err(place.not_allowed()),
                    }
                }
                Ok(properties)
            }

            /// Bytes of the properties without the Property Length.
            pub(crate) fn inner_len(&self) -> usize {
                0 $(+ $crate::properties::Slot::length(&self.$field, $crate::PropertyId::$property))*
            }

            /// Bytes of the properties with the Property Length.
            pub(crate) fn encoded_len(&self) -> usize {
                let inner = self.inner_len();
                $crate::wire::varint_len(inner) + inner
            }

            /// Writes the properties without the Property Length.
            pub(crate) fn write_inner(&self, out: &mut bytes::BytesMut) {
                $($crate::properties::Slot::write(&self.$field, $crate::PropertyId::$property, out);)*
            }

            /// Writes the Property Length, zero included ([MQTT-2.2.2-1]), and the properties.
            pub(crate) fn write(&self, out: &mut bytes::BytesMut) {
                $crate::wire::put_varint(out, self.inner_len());
                self.write_inner(out);
            }
        }
    };
}
pub(crate) use properties;

properties! {
    /// The properties of PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK and UNSUBACK; none of them exist in MQTT 3.1.1.
    AckProperties {
        /// Text for a human, for diagnosis only.
        reason_string: Option<ByteString> = ReasonString,
        /// User Properties.
        user_properties: UserProperties = UserProperty,
    }
}
