//! AUTH: authentication exchange (MQTT 5.0 section 3.15).

use super::{Body, reason_code};
use crate::properties::properties;
use crate::wire::Reader;
use crate::{DecodeError, PacketType, ProtocolVersion, ReasonCode, UserProperties};
use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

/// A step of enhanced authentication (section 4.12); not in MQTT 3.1.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Auth {
    /// `Success`, `ContinueAuthentication` or `ReAuthenticate`.
    pub reason_code: ReasonCode,
    /// Properties. The method may only be absent when the code is `Success` and there is no other property.
    pub properties: AuthProperties,
}

properties! {
    /// Section 3.15.2.2.
    AuthProperties {
        /// Name of the method.
        authentication_method: Option<ByteString> = AuthenticationMethod,
        /// Its data.
        authentication_data: Option<Bytes> = AuthenticationData,
        /// Text for a human.
        reason_string: Option<ByteString> = ReasonString,
        /// User Properties.
        user_properties: UserProperties = UserProperty,
    }
}

impl Auth {
    pub(crate) fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        if reader.is_empty() {
            return Ok(Self::default());
        }
        let code = reason_code(reader, PacketType::Auth)?;
        let properties = AuthProperties::decode(reader, "MQTT 5.0 section 3.15.2.2")?;
        if properties.authentication_method.is_none() {
            return Err(DecodeError::AuthenticationMethodMissing);
        }
        Ok(Self { reason_code: code, properties })
    }

    fn is_short(&self) -> bool {
        self.reason_code == ReasonCode::Success && self.properties.inner_len() == 0
    }
}

impl Body for Auth {
    fn flags(&self) -> u8 {
        0
    }

    fn length(&self, _: ProtocolVersion) -> usize {
        if self.is_short() { 0 } else { 1 + self.properties.encoded_len() }
    }

    fn write(&self, _: ProtocolVersion, out: &mut BytesMut) {
        if !self.is_short() {
            out.put_u8(self.reason_code.as_u8());
            self.properties.write(out);
        }
    }
}
