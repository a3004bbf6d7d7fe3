//! UNSUBSCRIBE: unsubscribe request (MQTT 5.0 section 3.10).

use super::Body;
use crate::list::Item;
use crate::properties::{Slot, next_property};
use crate::wire::{Reader, put_text, put_varint, varint_len};
use crate::{DecodeError, List, PropertyId, ProtocolVersion, UserProperties};
use bytes::{BufMut, BytesMut};
use bytestring::ByteString;
use iot_types::PacketId;

/// A client ends subscriptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsubscribe {
    /// UNSUBACK answers with the same.
    pub packet_id: PacketId,
    /// At least one, answered in this order; any well-formed text.
    pub filters: List<ByteString>,
    /// User Properties, the only properties there are; none in MQTT 3.1.1.
    pub user_properties: UserProperties,
}

impl Unsubscribe {
    pub(crate) fn decode(version: ProtocolVersion, reader: &mut Reader) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let user_properties = match version {
            ProtocolVersion::V3_1_1 => UserProperties::new(),
            ProtocolVersion::V5 => user_properties(reader)?,
        };
        if reader.is_empty() {
            return Err(DecodeError::UnsubscribeWithoutFilter);
        }
        Ok(Self { packet_id, filters: List::decode(version, reader)?, user_properties })
    }
}

impl Item for ByteString {
    fn decode(_: ProtocolVersion, reader: &mut Reader) -> Result<Self, DecodeError> {
        reader.text()
    }

    fn read(reader: &mut Reader) -> Option<Self> {
        reader.binary().ok()?.try_into().ok()
    }

    fn write(&self, _: ProtocolVersion, out: &mut BytesMut) {
        put_text(out, self);
    }
}

/// The property list of a packet that has no other property (section 3.10.2.1).
fn user_properties(reader: &mut Reader) -> Result<UserProperties, DecodeError> {
    let mut reader = reader.section()?;
    let mut user_properties = UserProperties::new();
    while let Some(place) = next_property(&mut reader, "MQTT 5.0 section 3.10.2.1")? {
        match place.property() {
            PropertyId::UserProperty => user_properties.fill(place, &mut reader)?,
            _ => return Err(place.not_allowed()),
        }
    }
    Ok(user_properties)
}

impl Body for Unsubscribe {
    fn flags(&self) -> u8 {
        2
    }

    fn length(&self, version: ProtocolVersion) -> usize {
        let properties = match version {
            ProtocolVersion::V3_1_1 => 0,
            ProtocolVersion::V5 => {
                let inner = self.user_properties.length(PropertyId::UserProperty);
                varint_len(inner) + inner
            }
        };
        2 + properties + self.filters.encoded_len()
    }

    fn write(&self, version: ProtocolVersion, out: &mut BytesMut) {
        out.put_u16(self.packet_id.get());
        if version == ProtocolVersion::V5 {
            put_varint(out, self.user_properties.length(PropertyId::UserProperty));
            self.user_properties.write(PropertyId::UserProperty, out);
        }
        self.filters.write(version, out);
    }
}
