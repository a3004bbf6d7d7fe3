//! PUBLISH: an Application Message (MQTT 5.0 section 3.3).

use super::{Body, PacketType, packet_len, put_header};
use crate::properties::properties;
use crate::wire::{Reader, VARINT_MAX, put_text, text_len};
use crate::{DecodeError, ProtocolVersion, Rare, UserProperties};
use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use iot_types::{PacketId, Qos};

/// An Application Message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// A delivery that may have happened before; never with QoS 0, and not written there.
    pub dup: bool,
    /// Quality of service.
    pub qos: Qos,
    /// From the client: store it. To the client: it was stored.
    pub retain: bool,
    /// Without wildcards; empty only in MQTT 5.0 and beside a Topic Alias.
    pub topic: ByteString,
    /// Present exactly when the QoS is 1 or 2. Without one the packet is written with QoS 0, as anything else would
    /// be malformed.
    pub packet_id: Option<PacketId>,
    /// Properties; none in MQTT 3.1.1.
    pub properties: Rare<PublishProperties>,
    /// The message itself, may be empty.
    pub payload: Bytes,
}

properties! {
    /// Section 3.3.2.3.
    PublishProperties {
        /// Whether the payload is UTF-8 text (it is not checked here).
        payload_format_indicator: Option<bool> = PayloadFormatIndicator,
        /// Lifetime in seconds.
        message_expiry_interval: Option<u32> = MessageExpiryInterval,
        /// Stands for the topic on this connection; not zero.
        topic_alias: Option<u16> = TopicAlias,
        /// Where to answer; without wildcards.
        response_topic: Option<ByteString> = ResponseTopic,
        /// Tells the requester which request an answer is for.
        correlation_data: Option<Bytes> = CorrelationData,
        /// User Properties.
        user_properties: UserProperties = UserProperty,
        /// Of the subscriptions that it is sent for; only from the server ([MQTT-3.3.4-6], the session refuses them
        /// from a client). 1 to 268,435,455.
        subscription_identifiers: Vec<u32> = SubscriptionIdentifier,
        /// What the payload is, a MIME type by convention.
        content_type: Option<ByteString> = ContentType,
    }
}

impl Publish {
    pub(crate) fn decode(flags: u8, version: ProtocolVersion, mut reader: Reader) -> Result<Self, DecodeError> {
        let qos = Qos::from_bits(flags >> 1 & 0b11).ok_or(DecodeError::PublishQos3)?;
        let dup = flags & 0b1000 != 0;
        if dup && qos == Qos::AtMostOnce {
            return Err(DecodeError::DupWithQos0);
        }
        let topic = reader.text()?;
        if topic.contains(['+', '#']) {
            return Err(DecodeError::WildcardInTopicName);
        }
        let packet_id = match qos {
            Qos::AtMostOnce => None,
            Qos::AtLeastOnce | Qos::ExactlyOnce => Some(reader.packet_id()?),
        };
        let properties = match version {
            ProtocolVersion::V3_1_1 => Rare::default(),
            ProtocolVersion::V5 => PublishProperties::decode(&mut reader, "MQTT 5.0 section 3.3.2.3")?.into(),
        };
        if topic.is_empty() && properties.topic_alias.is_none() {
            return Err(DecodeError::EmptyTopicName);
        }
        Ok(Self { dup, qos, retain: flags & 1 != 0, topic, packet_id, properties, payload: reader.rest() })
    }

    /// [`encode`](crate::encode) for a PUBLISH that is in no [`Packet`](crate::Packet).
    pub fn encode(&self, version: ProtocolVersion, out: &mut BytesMut) {
        let length = self.length(version);
        if length <= VARINT_MAX {
            put_header(PacketType::Publish, self.flags(), length, out);
            self.write(version, out);
        }
    }

    /// Bytes that [`Self::encode`] writes.
    #[must_use]
    pub fn encoded_len(&self, version: ProtocolVersion) -> usize {
        let length = self.length(version);
        if length <= VARINT_MAX { packet_len(length) } else { 0 }
    }
}

/// The first byte's lower half, and the Packet Identifier if the QoS has one.
pub(super) fn flags(dup: bool, qos: Qos, retain: bool, id: Option<PacketId>) -> (u8, Option<PacketId>) {
    match id.filter(|_| qos != Qos::AtMostOnce) {
        Some(id) => (u8::from(dup) << 3 | qos.bits() << 1 | u8::from(retain), Some(id)),
        None => (u8::from(retain), None),
    }
}

impl Body for Publish {
    fn flags(&self) -> u8 {
        flags(self.dup, self.qos, self.retain, self.packet_id).0
    }

    fn length(&self, version: ProtocolVersion) -> usize {
        let (_, id) = flags(self.dup, self.qos, self.retain, self.packet_id);
        let properties = match version {
            ProtocolVersion::V3_1_1 => 0,
            ProtocolVersion::V5 => self.properties.encoded_len(),
        };
        text_len(&self.topic) + id.map_or(0, |_| 2) + properties + self.payload.len()
    }

    fn write(&self, version: ProtocolVersion, out: &mut BytesMut) {
        put_text(out, &self.topic);
        if let (_, Some(id)) = flags(self.dup, self.qos, self.retain, self.packet_id) {
            out.put_u16(id.get());
        }
        if version == ProtocolVersion::V5 {
            self.properties.write(out);
        }
        out.put_slice(&self.payload);
    }
}
