//! CONNACK: connect acknowledgement (MQTT 5.0 section 3.2).

use super::{Body, reason_code};
use crate::properties::properties;
use crate::wire::Reader;
use crate::{DecodeError, PacketType, ProtocolVersion, ReasonCode, UserProperties};
use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use iot_types::Qos;

/// The server's answer to CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnAck {
    /// An old session goes on; written as false beside a code other than `Success` ([MQTT-3.2.2-6]).
    pub session_present: bool,
    /// Accepted, or why not; the return codes of MQTT 3.1.1 are in [`ReasonCode::connect_return_code`].
    pub reason_code: ReasonCode,
    /// Properties; none in MQTT 3.1.1.
    pub properties: ConnAckProperties,
}

properties! {
    /// Section 3.2.2.3.
    ConnAckProperties {
        /// Seconds; the server's value where it differs from the client's wish.
        session_expiry_interval: Option<u32> = SessionExpiryInterval,
        /// QoS 1 and 2 messages the server takes at once; not zero, absent is 65,535.
        receive_maximum: Option<u16> = ReceiveMaximum,
        /// 0 or 1; absent is 2, and 2 is written as 1.
        maximum_qos: Option<Qos> = MaximumQos,
        /// Absent is yes.
        retain_available: Option<bool> = RetainAvailable,
        /// Bytes of the largest packet the server takes; not zero, absent is no limit.
        maximum_packet_size: Option<u32> = MaximumPacketSize,
        /// The Client Identifier, when the client gave none.
        assigned_client_identifier: Option<ByteString> = AssignedClientIdentifier,
        /// Largest Topic Alias the server takes; absent is 0.
        topic_alias_maximum: Option<u16> = TopicAliasMaximum,
        /// Text for a human.
        reason_string: Option<ByteString> = ReasonString,
        /// User Properties.
        user_properties: UserProperties = UserProperty,
        /// Absent is yes.
        wildcard_subscription_available: Option<bool> = WildcardSubscriptionAvailable,
        /// Absent is yes.
        subscription_identifier_available: Option<bool> = SubscriptionIdentifierAvailable,
        /// Absent is yes.
        shared_subscription_available: Option<bool> = SharedSubscriptionAvailable,
        /// Seconds; replaces the client's Keep Alive.
        server_keep_alive: Option<u16> = ServerKeepAlive,
        /// Basis for Response Topics.
        response_information: Option<ByteString> = ResponseInformation,
        /// Another server to use.
        server_reference: Option<ByteString> = ServerReference,
        /// Name of the enhanced authentication method.
        authentication_method: Option<ByteString> = AuthenticationMethod,
        /// Its data.
        authentication_data: Option<Bytes> = AuthenticationData,
    }
}

impl ConnAck {
    pub(crate) fn decode(version: ProtocolVersion, reader: &mut Reader) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        if flags > 1 {
            return Err(DecodeError::ConnAckFlagsReserved);
        }
        let session_present = flags == 1;
        let code = match version {
            ProtocolVersion::V3_1_1 => {
                let code = reader.u8()?;
                ReasonCode::from_connect_return_code(code).ok_or(DecodeError::ReturnCodeReserved(code))?
            }
            ProtocolVersion::V5 => reason_code(reader, PacketType::ConnAck)?,
        };
        if session_present && code != ReasonCode::Success {
            return Err(DecodeError::SessionPresentWithError);
        }
        let properties = match version {
            ProtocolVersion::V3_1_1 => ConnAckProperties::default(),
            ProtocolVersion::V5 => ConnAckProperties::decode(reader, "MQTT 5.0 section 3.2.2.3")?,
        };
        Ok(Self { session_present, reason_code: code, properties })
    }
}

impl Body for ConnAck {
    fn flags(&self) -> u8 {
        0
    }

    fn length(&self, version: ProtocolVersion) -> usize {
        match version {
            ProtocolVersion::V3_1_1 => 2,
            ProtocolVersion::V5 => 2 + self.properties.encoded_len(),
        }
    }

    fn write(&self, version: ProtocolVersion, out: &mut BytesMut) {
        out.put_u8(u8::from(self.session_present && self.reason_code == ReasonCode::Success));
        match version {
            // `encode` does not come here with a code that MQTT 3.1.1 cannot say.
            ProtocolVersion::V3_1_1 => out.put_u8(self.reason_code.connect_return_code().unwrap_or(3)),
            ProtocolVersion::V5 => {
                out.put_u8(self.reason_code.as_u8());
                self.properties.write(out);
            }
        }
    }
}
