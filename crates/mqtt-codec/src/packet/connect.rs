//! CONNECT: connection request (MQTT 5.0 section 3.1).

use super::Body;
use crate::properties::properties;
use crate::wire::{Reader, binary_len, put_binary, put_text, text_len};
use crate::{DecodeError, ProtocolVersion, UserProperties};
use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use iot_types::Qos;

/// A client asks for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// The version that the connection will speak.
    pub version: ProtocolVersion,
    /// Begin without an old session (Clean Session in MQTT 3.1.1).
    pub clean_start: bool,
    /// Seconds; 0 turns the mechanism off.
    pub keep_alive: u16,
    /// May be empty: whether the server then assigns one is the session's question.
    pub client_id: ByteString,
    /// Published when the connection ends without a farewell.
    pub will: Option<Will>,
    /// User Name.
    pub username: Option<ByteString>,
    /// Password; in MQTT 3.1.1 only beside a user name, and not written without one.
    pub password: Option<Bytes>,
    /// Properties; none in MQTT 3.1.1.
    pub properties: ConnectProperties,
}

/// The Will Message (section 3.1.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Quality of service to publish it with.
    pub qos: Qos,
    /// Publish it as a retained message.
    pub retain: bool,
    /// Where; neither empty nor with wildcards.
    pub topic: ByteString,
    /// What.
    pub payload: Bytes,
    /// Properties; none in MQTT 3.1.1.
    pub properties: WillProperties,
}

properties! {
    /// Section 3.1.2.11.
    ConnectProperties {
        /// Seconds that the session outlives the connection; 0xFFFFFFFF never expires, absent is 0.
        session_expiry_interval: Option<u32> = SessionExpiryInterval,
        /// QoS 1 and 2 messages the client takes at once; not zero, absent is 65,535.
        receive_maximum: Option<u16> = ReceiveMaximum,
        /// Bytes of the largest packet the client takes; not zero, absent is no limit.
        maximum_packet_size: Option<u32> = MaximumPacketSize,
        /// Largest Topic Alias the client takes; absent is 0.
        topic_alias_maximum: Option<u16> = TopicAliasMaximum,
        /// Whether Response Information may come back; absent is no.
        request_response_information: Option<bool> = RequestResponseInformation,
        /// Whether Reason String and User Properties may come on packets other than PUBLISH, CONNACK and DISCONNECT;
        /// absent is yes.
        request_problem_information: Option<bool> = RequestProblemInformation,
        /// User Properties.
        user_properties: UserProperties = UserProperty,
        /// Name of the enhanced authentication method.
        authentication_method: Option<ByteString> = AuthenticationMethod,
        /// Its data; only beside a method.
        authentication_data: Option<Bytes> = AuthenticationData,
    }
}

properties! {
    /// Section 3.1.3.2.
    WillProperties {
        /// Seconds to wait, unless the session ends earlier; absent is 0.
        will_delay_interval: Option<u32> = WillDelayInterval,
        /// Whether the payload is UTF-8 text.
        payload_format_indicator: Option<bool> = PayloadFormatIndicator,
        /// Lifetime in seconds, from publication.
        message_expiry_interval: Option<u32> = MessageExpiryInterval,
        /// What the payload is, a MIME type by convention.
        content_type: Option<ByteString> = ContentType,
        /// Where to answer; without wildcards.
        response_topic: Option<ByteString> = ResponseTopic,
        /// Tells the requester which request an answer is for.
        correlation_data: Option<Bytes> = CorrelationData,
        /// User Properties.
        user_properties: UserProperties = UserProperty,
    }
}

const NAME: &str = "MQTT";
const RESERVED: u8 = 0x01;
const CLEAN_START: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USER_NAME: u8 = 0x80;

/// Reads the protocol name and level, which say how to read the rest.
pub(crate) fn protocol(reader: &mut Reader) -> Result<ProtocolVersion, DecodeError> {
    if reader.binary()? != NAME.as_bytes() {
        return Err(DecodeError::ProtocolName);
    }
    let level = reader.u8()?;
    ProtocolVersion::from_level(level).ok_or(DecodeError::ProtocolLevel(level))
}

impl Connect {
    /// Reads what follows the protocol level.
    pub(crate) fn decode(version: ProtocolVersion, reader: &mut Reader) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        let will_qos = will_qos(flags)?;
        if version == ProtocolVersion::V3_1_1 && flags & (PASSWORD | USER_NAME) == PASSWORD {
            return Err(DecodeError::PasswordWithoutUserName);
        }
        let keep_alive = reader.u16()?;
        let properties = match version {
            ProtocolVersion::V3_1_1 => ConnectProperties::default(),
            ProtocolVersion::V5 => ConnectProperties::decode(reader, "MQTT 5.0 section 3.1.2.11")?,
        };
        if properties.authentication_data.is_some() && properties.authentication_method.is_none() {
            return Err(DecodeError::AuthenticationDataWithoutMethod);
        }
        let client_id = reader.text()?;
        let will = match will_qos {
            Some(qos) => Some(Will::decode(version, qos, flags & WILL_RETAIN != 0, reader)?),
            None => None,
        };
        let username = if flags & USER_NAME != 0 { Some(reader.text()?) } else { None };
        let password = if flags & PASSWORD != 0 { Some(reader.binary()?) } else { None };
        let clean_start = flags & CLEAN_START != 0;
        Ok(Self { version, clean_start, keep_alive, client_id, will, username, password, properties })
    }

    fn connect_flags(&self) -> u8 {
        let mut flags = 0;
        if self.clean_start {
            flags |= CLEAN_START;
        }
        if let Some(will) = &self.will {
            flags |= WILL | will.qos.bits() << WILL_QOS_SHIFT;
            if will.retain {
                flags |= WILL_RETAIN;
            }
        }
        if self.username.is_some() {
            flags |= USER_NAME;
        }
        if self.sent_password().is_some() {
            flags |= PASSWORD;
        }
        flags
    }

    /// The password, where the version allows it.
    fn sent_password(&self) -> Option<&Bytes> {
        self.password.as_ref().filter(|_| self.version == ProtocolVersion::V5 || self.username.is_some())
    }
}

/// The Will QoS if there is a Will.
fn will_qos(flags: u8) -> Result<Option<Qos>, DecodeError> {
    if flags & RESERVED != 0 {
        return Err(DecodeError::ConnectFlagReserved);
    }
    let bits = flags >> WILL_QOS_SHIFT & 0b11;
    if flags & WILL != 0 {
        return Qos::from_bits(bits).map(Some).ok_or(DecodeError::WillQos3);
    }
    if bits != 0 {
        return Err(DecodeError::WillQosWithoutWill);
    }
    if flags & WILL_RETAIN != 0 {
        return Err(DecodeError::WillRetainWithoutWill);
    }
    Ok(None)
}

impl Will {
    fn decode(version: ProtocolVersion, qos: Qos, retain: bool, reader: &mut Reader) -> Result<Self, DecodeError> {
        let properties = match version {
            ProtocolVersion::V3_1_1 => WillProperties::default(),
            ProtocolVersion::V5 => WillProperties::decode(reader, "MQTT 5.0 section 3.1.3.2")?,
        };
        let topic = reader.text()?;
        if topic.is_empty() {
            return Err(DecodeError::EmptyTopicName);
        }
        if topic.contains(['+', '#']) {
            return Err(DecodeError::WildcardInWillTopic);
        }
        Ok(Self { qos, retain, topic, payload: reader.binary()?, properties })
    }
}

impl Body for Connect {
    fn flags(&self) -> u8 {
        0
    }

    fn length(&self, _: ProtocolVersion) -> usize {
        let v5 = self.version == ProtocolVersion::V5;
        let mut length = text_len(NAME) + 1 + 1 + 2 + text_len(&self.client_id);
        if v5 {
            length += self.properties.encoded_len();
        }
        if let Some(will) = &self.will {
            length += text_len(&will.topic) + binary_len(&will.payload);
            if v5 {
                length += will.properties.encoded_len();
            }
        }
        length += self.username.as_ref().map_or(0, |name| text_len(name));
        length + self.sent_password().map_or(0, |password| binary_len(password))
    }

    fn write(&self, _: ProtocolVersion, out: &mut BytesMut) {
        let v5 = self.version == ProtocolVersion::V5;
        put_text(out, NAME);
        out.put_u8(self.version.level());
        out.put_u8(self.connect_flags());
        out.put_u16(self.keep_alive);
        if v5 {
            self.properties.write(out);
        }
        put_text(out, &self.client_id);
        if let Some(will) = &self.will {
            if v5 {
                will.properties.write(out);
            }
            put_text(out, &will.topic);
            put_binary(out, &will.payload);
        }
        if let Some(name) = &self.username {
            put_text(out, name);
        }
        if let Some(password) = self.sent_password() {
            put_binary(out, password);
        }
    }
}
