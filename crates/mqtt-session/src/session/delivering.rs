//! Messages to the client (MQTT 5.0 sections 3.3 to 3.7, 4.3, 4.9). Those of a durable session come from its Sessions
//! shard with their packet identifiers, and what the client says of them goes back there.

use super::aliases::Alias;
use super::{Connected, Session};
use crate::Delivery;
use crate::io::Output;
use crate::outbound::{self, Offer, Sending};
use iot_types::{PacketId, Qos, UnixMillis};
use messages::session::{Acknowledgement, AcknowledgementKind, Outgoing};
use mqtt_codec::{ByteString, Packet, PubRel, Publish, PublishProperties, ReasonCode};
use std::rc::Rc;

impl Session {
    pub(super) fn deliver(&mut self, mut delivery: Delivery, now: UnixMillis, out: &mut Vec<Output>) {
        let Some(connected) = self.connected_mut() else { return };
        if connected.is_durable {
            delivery.qos = Qos::AtMostOnce;
        }
        if delivery.publication.is_expired(now) || connected.is_too_large(&delivery, now) {
            return;
        }
        if let Some(sending) = self.take(delivery, now, out)
            && let Some(connected) = self.connected_mut()
        {
            connected.send_publish(&sending, now, out);
        }
    }

    /// Takes a message that has not expired for a client that [`Self::takes_shared`] and whose session is not durable.
    /// Gives the Packet Identifier to send it with now; the packet is made by the caller, who makes it for many.
    #[must_use]
    pub fn deliver_shared(&mut self, delivery: Delivery, now: UnixMillis, out: &mut Vec<Output>) -> Option<PacketId> {
        self.take(delivery, now, out).and_then(|sending| sending.packet_id)
    }

    /// What is to be sent now of a message that has just come.
    fn take(&mut self, delivery: Delivery, now: UnixMillis, out: &mut Vec<Output>) -> Option<Sending> {
        let connected = self.connected_mut()?;
        connected.outbound.expire(now);
        connected.outbound.take_expired();
        let has_name = delivery.publication.message_id.is_some();
        match connected.outbound.offer(delivery) {
            Offer::Send(sending) => {
                // With QoS 0 the session stays at rest, and yet there is a name more to remember.
                self.is_changed |= has_name;
                return Some(sending);
            }
            Offer::Waits(_) | Offer::Duplicate => {}
            Offer::Dropped => out.push(Output::Dropped(1)),
        }
        None
    }

    /// Whether a PUBLISH with so many bytes can be sent to this client as it is to any other of its protocol version:
    /// nothing in it is this connection's own but a Packet Identifier and Subscription Identifiers.
    #[must_use]
    pub fn takes_shared(&self, bytes: usize) -> bool {
        self.connected().is_some_and(|connected| {
            let maximum = connected.negotiated.maximum_packet_size;
            connected.negotiated.topic_alias_maximum == 0
                && connected.negotiated.receive_maximum > 0
                && maximum.is_none_or(|maximum| bytes <= usize::try_from(maximum).unwrap_or(usize::MAX))
        })
    }

    pub(super) fn relay(&mut self, outgoing: Outgoing, now: UnixMillis, out: &mut Vec<Output>) {
        let Some(connected) = self.connected_mut().filter(|connected| connected.is_durable) else { return };
        match outgoing {
            Outgoing::Publish { packet_id, dup, qos, retain, subscription_identifiers, publication } => {
                let delivery = Delivery { publication: Rc::new(publication), qos, retain, subscription_identifiers };
                if qos == Qos::AtMostOnce && delivery.publication.is_expired(now) {
                    return;
                }
                if connected.is_too_large(&delivery, now) {
                    // [MQTT-3.1.2-25]: the shard is told what it would be told if it had been delivered.
                    let kind = match qos {
                        Qos::AtMostOnce => return,
                        Qos::AtLeastOnce => AcknowledgementKind::PubAck,
                        Qos::ExactlyOnce => AcknowledgementKind::PubRecFailed,
                    };
                    let acknowledgement = packet_id.map(|packet_id| Acknowledgement { packet_id, kind });
                    out.extend(acknowledgement.map(Output::Acknowledged));
                    return;
                }
                connected.send_publish(&Sending { sequence: 0, packet_id, dup, delivery }, now, out);
            }
            Outgoing::PubRel { packet_id, is_unknown } => out.push(connected.pubrel_packet(packet_id, is_unknown)),
        }
    }

    pub(super) fn puback(&mut self, packet_id: PacketId, now: UnixMillis, out: &mut Vec<Output>) {
        let Some(connected) = self.connected_mut() else { return };
        if connected.is_durable {
            return out.push(acknowledged(packet_id, AcknowledgementKind::PubAck));
        }
        // An unknown identifier is no error: it may acknowledge what was sent before this object slept.
        connected.outbound.puback(packet_id);
        connected.send_waiting(now, out);
    }

    pub(super) fn pubrec(
        &mut self,
        packet_id: PacketId,
        reason_code: ReasonCode,
        now: UnixMillis,
        out: &mut Vec<Output>,
    ) {
        let Some(connected) = self.connected_mut() else { return };
        let failed = reason_code.is_error();
        if connected.is_durable {
            let kind = if failed { AcknowledgementKind::PubRecFailed } else { AcknowledgementKind::PubRec };
            return out.push(acknowledged(packet_id, kind));
        }
        match connected.outbound.pubrec(packet_id, failed) {
            outbound::PubRec::Release(_) | outbound::PubRec::Again => {
                out.push(connected.pubrel_packet(packet_id, false));
            }
            outbound::PubRec::Done(_) => connected.send_waiting(now, out),
            // An error needs no answer: the client has forgotten the identifier as well.
            outbound::PubRec::Unknown if failed => {}
            outbound::PubRec::Unknown => out.push(connected.pubrel_packet(packet_id, true)),
        }
    }

    pub(super) fn pubcomp(&mut self, packet_id: PacketId, now: UnixMillis, out: &mut Vec<Output>) {
        let Some(connected) = self.connected_mut() else { return };
        if connected.is_durable {
            return out.push(acknowledged(packet_id, AcknowledgementKind::PubComp));
        }
        connected.outbound.pubcomp(packet_id);
        connected.send_waiting(now, out);
    }
}

const fn acknowledged(packet_id: PacketId, kind: AcknowledgementKind) -> Output {
    Output::Acknowledged(Acknowledgement { packet_id, kind })
}

impl Connected {
    /// Whether the message is larger than the client takes: it then counts as delivered ([MQTT-3.1.2-25]).
    fn is_too_large(&self, delivery: &Delivery, now: UnixMillis) -> bool {
        // Measured only for clients that set a maximum. The packet identifier's value doesn't change the length.
        self.negotiated.maximum_packet_size.is_some() && {
            let packet_id = (delivery.qos > Qos::AtMostOnce).then_some(PacketId::FIRST);
            let sending = Sending { sequence: 0, packet_id, dup: false, delivery: delivery.clone() };
            !self.negotiated.takes(&Packet::Publish(publish_packet(&sending, self.negotiated.is_v5, now)))
        }
    }

    /// Sends what the window has room for again.
    fn send_waiting(&mut self, now: UnixMillis, out: &mut Vec<Output>) {
        while let Some(sending) = self.outbound.next_waiting(now) {
            self.send_publish(&sending, now, out);
        }
        self.outbound.take_expired();
    }

    fn send_publish(&mut self, sending: &Sending, now: UnixMillis, out: &mut Vec<Output>) {
        let mut publish = publish_packet(sending, self.negotiated.is_v5, now);
        let topic = publish.topic.clone();
        let mut alias = self.outgoing_aliases.alias(&topic);
        match alias {
            Alias::None => {}
            Alias::Known(number) => {
                publish.properties.topic_alias = Some(number);
                publish.topic = ByteString::new();
            }
            Alias::New(number) => publish.properties.topic_alias = Some(number),
        }
        let mut packet = Packet::Publish(publish);
        if let Packet::Publish(publish) = &mut packet
            && matches!(alias, Alias::New(_))
            && !self.negotiated.takes(&Packet::Publish(publish.clone()))
        {
            // The packet was measured without it.
            publish.properties.topic_alias = None;
            alias = Alias::None;
        }
        self.outgoing_aliases.sent(&topic, alias);
        out.push(Output::Send(packet));
    }

    fn pubrel_packet(&self, packet_id: PacketId, is_unknown: bool) -> Output {
        let reason_code = if is_unknown { ReasonCode::PacketIdentifierNotFound } else { ReasonCode::Success };
        Output::Send(self.negotiated.acknowledgement(&[reason_code], |properties| {
            Packet::PubRel(PubRel { packet_id, reason_code, properties })
        }))
    }
}

fn publish_packet(sending: &Sending, is_v5: bool, now: UnixMillis) -> Publish {
    let delivery = &sending.delivery;
    let publication = &delivery.publication;
    let mut properties = PublishProperties::default();
    if is_v5 {
        if let Some(passed) = &publication.properties {
            properties.payload_format_indicator = passed.payload_format_indicator;
            properties.message_expiry_interval = publication.remaining_expiry(now);
            properties.content_type = passed.content_type.as_deref().map(ByteString::from);
            properties.response_topic = passed.response_topic.as_deref().map(ByteString::from);
            properties.correlation_data.clone_from(&passed.correlation_data);
            properties.user_properties.clone_from(&passed.user_properties);
        }
        properties.subscription_identifiers.clone_from(&delivery.subscription_identifiers);
    }
    Publish {
        dup: sending.dup,
        qos: delivery.qos,
        retain: delivery.retain,
        topic: publication.topic.as_str().into(),
        packet_id: sending.packet_id,
        properties: properties.into(),
        payload: publication.payload.clone(),
    }
}
