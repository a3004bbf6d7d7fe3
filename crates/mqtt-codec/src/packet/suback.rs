//! SUBACK: subscribe acknowledgement (MQTT 5.0 section 3.9).

use super::{Body, reason_code};
use crate::wire::Reader;
use crate::{AckProperties, DecodeError, PacketType, ProtocolVersion, ReasonCode};
use bytes::{BufMut, BytesMut};
use iot_types::PacketId;

/// The answer to SUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubAck {
    /// That of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// One for each filter, in its order ([MQTT-3.9.3-1]). In MQTT 3.1.1 every failure is written as 0x80.
    pub reason_codes: Vec<ReasonCode>,
    /// Properties; none in MQTT 3.1.1.
    pub properties: AckProperties,
}

impl SubAck {
    pub(crate) fn decode(version: ProtocolVersion, reader: &mut Reader) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let properties = match version {
            ProtocolVersion::V3_1_1 => AckProperties::default(),
            ProtocolVersion::V5 => AckProperties::decode(reader, "MQTT 5.0 section 3.9.2.1")?,
        };
        let mut reason_codes = Vec::with_capacity(reader.len());
        while !reader.is_empty() {
            let code = reason_code(reader, PacketType::SubAck)?;
            if version == ProtocolVersion::V3_1_1 && code > ReasonCode::UnspecifiedError {
                return Err(DecodeError::ReasonCodeNotAllowed(PacketType::SubAck, code));
            }
            reason_codes.push(code);
        }
        Ok(Self { packet_id, reason_codes, properties })
    }
}

impl Body for SubAck {
    fn flags(&self) -> u8 {
        0
    }

    fn length(&self, version: ProtocolVersion) -> usize {
        let properties = match version {
            ProtocolVersion::V3_1_1 => 0,
            ProtocolVersion::V5 => self.properties.encoded_len(),
        };
        2 + properties + self.reason_codes.len()
    }

    fn write(&self, version: ProtocolVersion, out: &mut BytesMut) {
        out.put_u16(self.packet_id.get());
        if version == ProtocolVersion::V5 {
            self.properties.write(out);
        }
        for code in &self.reason_codes {
            out.put_u8(match version {
                ProtocolVersion::V3_1_1 => code.as_u8().min(0x80),
                ProtocolVersion::V5 => code.as_u8(),
            });
        }
    }
}
