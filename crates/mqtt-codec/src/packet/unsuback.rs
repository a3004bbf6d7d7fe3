//! UNSUBACK: unsubscribe acknowledgement (MQTT 5.0 section 3.11).

use super::{Body, reason_code};
use crate::wire::Reader;
use crate::{AckProperties, DecodeError, PacketType, ProtocolVersion, ReasonCode};
use bytes::{BufMut, BytesMut};
use iot_types::PacketId;

/// The answer to UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubAck {
    /// That of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// One for each filter, in its order ([MQTT-3.11.3-1]); none in MQTT 3.1.1.
    pub reason_codes: Vec<ReasonCode>,
    /// Properties; none in MQTT 3.1.1.
    pub properties: AckProperties,
}

impl UnsubAck {
    pub(crate) fn decode(version: ProtocolVersion, reader: &mut Reader) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        if version == ProtocolVersion::V3_1_1 {
            return Ok(Self { packet_id, reason_codes: Vec::new(), properties: AckProperties::default() });
        }
        let properties = AckProperties::decode(reader, "MQTT 5.0 section 3.11.2.1")?;
        let mut reason_codes = Vec::with_capacity(reader.len());
        while !reader.is_empty() {
            reason_codes.push(reason_code(reader, PacketType::UnsubAck)?);
        }
        Ok(Self { packet_id, reason_codes, properties })
    }
}

impl Body for UnsubAck {
    fn flags(&self) -> u8 {
        0
    }

    fn length(&self, version: ProtocolVersion) -> usize {
        match version {
            ProtocolVersion::V3_1_1 => 2,
            ProtocolVersion::V5 => 2 + self.properties.encoded_len() + self.reason_codes.len(),
        }
    }

    fn write(&self, version: ProtocolVersion, out: &mut BytesMut) {
        out.put_u16(self.packet_id.get());
        if version == ProtocolVersion::V5 {
            self.properties.write(out);
            for code in &self.reason_codes {
                out.put_u8(code.as_u8());
            }
        }
    }
}
