//! DISCONNECT: the last packet of a connection (MQTT 5.0 section 3.14).

use super::{Body, reason_code};
use crate::properties::properties;
use crate::wire::Reader;
use crate::{DecodeError, PacketType, ProtocolVersion, ReasonCode, UserProperties};
use bytes::{BufMut, BytesMut};
use bytestring::ByteString;

/// The last packet of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disconnect {
    /// Why; always `NormalDisconnection` in MQTT 3.1.1.
    pub reason_code: ReasonCode,
    /// Properties; none in MQTT 3.1.1.
    pub properties: DisconnectProperties,
}

properties! {
    /// Section 3.14.2.2.
    DisconnectProperties {
        /// Seconds; only from the client ([MQTT-3.14.2-2]).
        session_expiry_interval: Option<u32> = SessionExpiryInterval,
        /// Text for a human.
        reason_string: Option<ByteString> = ReasonString,
        /// User Properties.
        user_properties: UserProperties = UserProperty,
        /// Another server to use.
        server_reference: Option<ByteString> = ServerReference,
    }
}

impl Disconnect {
    /// The given code, without properties.
    #[must_use]
    pub fn new(reason_code: ReasonCode) -> Self {
        Self { reason_code, properties: DisconnectProperties::default() }
    }

    pub(crate) fn decode(version: ProtocolVersion, reader: &mut Reader) -> Result<Self, DecodeError> {
        if version == ProtocolVersion::V3_1_1 || reader.is_empty() {
            return Ok(Self::default());
        }
        let code = reason_code(reader, PacketType::Disconnect)?;
        let properties = if reader.is_empty() {
            DisconnectProperties::default()
        } else {
            DisconnectProperties::decode(reader, "MQTT 5.0 section 3.14.2.2")?
        };
        Ok(Self { reason_code: code, properties })
    }

    /// The shortest of the three forms that says everything.
    fn form(&self, version: ProtocolVersion) -> (bool, bool) {
        let with_properties = version == ProtocolVersion::V5 && self.properties.inner_len() > 0;
        let with_code = with_properties || version == ProtocolVersion::V5 && self.reason_code != ReasonCode::Success;
        (with_code, with_properties)
    }
}

impl Body for Disconnect {
    fn flags(&self) -> u8 {
        0
    }

    fn length(&self, version: ProtocolVersion) -> usize {
        let (with_code, with_properties) = self.form(version);
        usize::from(with_code) + if with_properties { self.properties.encoded_len() } else { 0 }
    }

    fn write(&self, version: ProtocolVersion, out: &mut BytesMut) {
        let (with_code, with_properties) = self.form(version);
        if with_code {
            out.put_u8(self.reason_code.as_u8());
        }
        if with_properties {
            self.properties.write(out);
        }
    }
}
