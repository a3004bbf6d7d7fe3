//! One message for many subscribers: what is the same for all of them is encoded once.

use super::{PacketType, packet_len, publish, put_header};
use crate::properties::Slot;
use crate::wire::{VARINT_MAX, put_text, put_varint, varint_len};
use crate::{PropertyId, ProtocolVersion, Publish};
use bytes::{BufMut, Bytes, BytesMut};
use iot_types::{PacketId, Qos};

/// What differs from subscriber to subscriber.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery<'a> {
    /// A delivery that may have happened before; not written with QoS 0.
    pub dup: bool,
    /// Quality of service.
    pub qos: Qos,
    /// As Retain As Published decides.
    pub retain: bool,
    /// Needed for QoS 1 and 2; without one the packet is written with QoS 0.
    pub packet_id: Option<PacketId>,
    /// Of the subscriptions that matched; left out in MQTT 3.1.1.
    pub subscription_identifiers: &'a [u32],
}

/// A PUBLISH with its topic and properties already encoded; the payload is shared.
///
/// Deliveries of QoS 0 that are equal are equal bytes: encode one and send it to all.
#[derive(Clone, Debug)]
pub struct PublishTemplate {
    version: ProtocolVersion,
    topic: Bytes,
    /// Without the Property Length and the Subscription Identifiers.
    properties: Bytes,
    payload: Bytes,
}

impl PublishTemplate {
    /// Takes topic, properties and payload from `publish`; its flags, Packet Identifier and Subscription Identifiers
    /// are each [`Delivery`]'s own.
    #[must_use]
    pub fn new(publish: &Publish, version: ProtocolVersion) -> Self {
        let mut topic = BytesMut::with_capacity(2 + publish.topic.len());
        put_text(&mut topic, &publish.topic);
        let mut properties = BytesMut::new();
        if version == ProtocolVersion::V5 {
            properties.reserve(publish.properties.inner_len());
            let mut shared = publish.properties.clone();
            shared.subscription_identifiers.clear();
            shared.write_inner(&mut properties);
        }
        Self { version, topic: topic.freeze(), properties: properties.freeze(), payload: publish.payload.clone() }
    }

    /// Bytes that [`Self::encode`] writes.
    #[must_use]
    pub fn encoded_len(&self, delivery: &Delivery<'_>) -> usize {
        let length = self.body_len(delivery);
        if length > VARINT_MAX { 0 } else { packet_len(length) }
    }

    /// Appends the packet for one subscriber; nothing for a body above 268,435,455 bytes.
    pub fn encode(&self, delivery: &Delivery<'_>, out: &mut BytesMut) {
        let length = self.body_len(delivery);
        if length > VARINT_MAX {
            return;
        }
        let (flags, id) = publish::flags(delivery.dup, delivery.qos, delivery.retain, delivery.packet_id);
        put_header(PacketType::Publish, flags, length, out);
        out.put_slice(&self.topic);
        if let Some(id) = id {
            out.put_u16(id.get());
        }
        if self.version == ProtocolVersion::V5 {
            put_varint(out, self.properties_len(delivery));
            out.put_slice(&self.properties);
            for id in delivery.subscription_identifiers {
                Some(*id).write(PropertyId::SubscriptionIdentifier, out);
            }
        }
        out.put_slice(&self.payload);
    }

    fn properties_len(&self, delivery: &Delivery<'_>) -> usize {
        let ids = delivery.subscription_identifiers.iter();
        self.properties.len() + ids.map(|id| Some(*id).length(PropertyId::SubscriptionIdentifier)).sum::<usize>()
    }

    fn body_len(&self, delivery: &Delivery<'_>) -> usize {
        let (_, id) = publish::flags(delivery.dup, delivery.qos, delivery.retain, delivery.packet_id);
        let properties = match self.version {
            ProtocolVersion::V3_1_1 => 0,
            ProtocolVersion::V5 => {
                let inner = self.properties_len(delivery);
                varint_len(inner) + inner
            }
        };
        self.topic.len() + id.map_or(0, |_| 2) + properties + self.payload.len()
    }
}
