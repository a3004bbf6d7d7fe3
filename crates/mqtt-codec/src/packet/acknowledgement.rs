//! What PUBACK, PUBREC, PUBREL and PUBCOMP share: a Packet Identifier, a Reason Code, two properties.

use crate::packet::reason_code;
use crate::wire::Reader;
use crate::{AckProperties, DecodeError, PacketType, ProtocolVersion, ReasonCode};
use bytes::{BufMut, BytesMut};
use iot_types::PacketId;

pub(super) fn decode(
    packet: PacketType,
    section: &'static str,
    version: ProtocolVersion,
    reader: &mut Reader,
) -> Result<(PacketId, ReasonCode, AckProperties), DecodeError> {
    let packet_id = reader.packet_id()?;
    if version == ProtocolVersion::V3_1_1 || reader.is_empty() {
        return Ok((packet_id, ReasonCode::Success, AckProperties::default()));
    }
    let code = reason_code(reader, packet)?;
    let properties = if reader.is_empty() { AckProperties::default() } else { AckProperties::decode(reader, section)? };
    Ok((packet_id, code, properties))
}

/// The shortest of the three forms that says everything.
fn form(version: ProtocolVersion, code: ReasonCode, properties: &AckProperties) -> (bool, bool) {
    let with_properties = version == ProtocolVersion::V5 && properties.inner_len() > 0;
    let with_code = with_properties || version == ProtocolVersion::V5 && code != ReasonCode::Success;
    (with_code, with_properties)
}

pub(super) fn length(version: ProtocolVersion, code: ReasonCode, properties: &AckProperties) -> usize {
    let (with_code, with_properties) = form(version, code, properties);
    2 + usize::from(with_code) + if with_properties { properties.encoded_len() } else { 0 }
}

pub(super) fn write(
    version: ProtocolVersion,
    id: PacketId,
    code: ReasonCode,
    properties: &AckProperties,
    out: &mut BytesMut,
) {
    let (with_code, with_properties) = form(version, code, properties);
    out.put_u16(id.get());
    if with_code {
        out.put_u8(code.as_u8());
    }
    if with_properties {
        properties.write(out);
    }
}

/// Defines one of the four packets.
macro_rules! acknowledgement {
    ($(#[$meta:meta])* $name:ident, flags $flags:literal, properties $section:literal) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            /// The Packet Identifier of the PUBLISH that it is about.
            pub packet_id: iot_types::PacketId,
            /// How it went; always `Success` in MQTT 3.1.1.
            pub reason_code: $crate::ReasonCode,
            /// Properties; none in MQTT 3.1.1.
            pub properties: $crate::AckProperties,
        }

        impl $name {
            /// `Success`, without properties.
            #[must_use]
            pub fn new(packet_id: iot_types::PacketId) -> Self {
                Self::with_reason(packet_id, $crate::ReasonCode::Success)
            }

            /// The given code, without properties.
            #[must_use]
            pub fn with_reason(packet_id: iot_types::PacketId, reason_code: $crate::ReasonCode) -> Self {
                Self { packet_id, reason_code, properties: $crate::AckProperties::default() }
            }

            pub(crate) fn decode(
                version: $crate::ProtocolVersion,
                reader: &mut $crate::wire::Reader,
            ) -> Result<Self, $crate::DecodeError> {
                let (packet_id, reason_code, properties) =
                    super::acknowledgement::decode($crate::PacketType::$name, $section, version, reader)?;
                Ok(Self { packet_id, reason_code, properties })
            }
        }

        impl super::Body for $name {
            fn flags(&self) -> u8 {
                $flags
            }

            fn length(&self, version: $crate::ProtocolVersion) -> usize {
                super::acknowledgement::length(version, self.reason_code, &self.properties)
            }

            fn write(&self, version: $crate::ProtocolVersion, out: &mut bytes::BytesMut) {
                super::acknowledgement::write(version, self.packet_id, self.reason_code, &self.properties, out);
            }
        }
    };
}
pub(super) use acknowledgement;
