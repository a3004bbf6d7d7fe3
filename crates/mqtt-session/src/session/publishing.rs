//! Messages from the client (MQTT 5.0 sections 3.3 to 3.7, 4.3, 4.6, 4.9).

use super::aliases::AliasError;
use super::{Connected, Session};
use crate::SessionSettings;
use crate::io::Output;
use iot_types::{PacketId, Qos, UnixMillis};
use mqtt_codec::{Packet, PubAck, PubComp, PubRec, Publish, ReasonCode};

type Refusal = (ReasonCode, &'static str);

impl Session {
    /// Takes a PUBLISH of the client; `true` when it is to be published, and to be answered with
    /// [`Input::Settled`](crate::Input::Settled) if it has a packet identifier. [`Output::Publish`] without the box.
    pub fn receive_publish(&mut self, now: UnixMillis, publish: &mut Publish, out: &mut Vec<Output>) -> bool {
        self.last_heard = now;
        self.admit(publish, now, out)
    }

    pub(super) fn publish(&mut self, mut publish: Publish, now: UnixMillis, out: &mut Vec<Output>) {
        if self.admit(&mut publish, now, out) {
            out.push(Output::Publish(Box::new(publish)));
        }
    }

    fn admit(&mut self, publish: &mut Publish, now: UnixMillis, out: &mut Vec<Output>) -> bool {
        let settings = self.settings;
        let Some(connected) = self.connected_mut() else { return false };
        match connected.check(publish, &settings) {
            Ok(is_changed) => self.is_changed |= is_changed,
            Err((reason_code, reason)) => {
                self.end(reason_code, reason, out);
                return false;
            }
        }
        let Some(connected) = self.connected_mut() else { return false };
        publish.properties.message_expiry_interval =
            settings.message_expiry(publish.properties.message_expiry_interval);
        if !connected.is_within_rates(publish, &settings, now) {
            if publish.qos > Qos::AtMostOnce {
                self.end(ReasonCode::MessageRateTooHigh, "more publishes in a second than allowed", out);
            }
            return false;
        }
        let Some(packet_id) = publish.packet_id else { return true };
        let other_qos = connected
            .unsettled
            .qos(packet_id)
            .or_else(|| connected.received.contains(&packet_id).then_some(Qos::ExactlyOnce))
            .filter(|qos| *qos != publish.qos);
        if other_qos.is_some() {
            self.refuse_identifier(packet_id, publish.qos, out);
            return false;
        }
        if connected.unsettled.qos(packet_id).is_some() {
            // Sent again while it is being worked on: its one acknowledgement is still to come.
            return false;
        }
        if connected.received.contains(&packet_id) {
            if !connected.is_durable {
                // [MQTT-4.3.3-10]: the same again until PUBREL comes, and the message is not published twice.
                out.push(Output::Send(Packet::PubRec(PubRec::new(packet_id))));
                return false;
            }
            connected.received.remove(&packet_id);
        } else if connected.negotiated.is_v5
            && connected.unsettled.len() + connected.received.len() >= usize::from(settings.receive_maximum)
        {
            let reason = "[MQTT-3.3.4-7] more than Receive Maximum";
            self.end(ReasonCode::ReceiveMaximumExceeded, reason, out);
            return false;
        }
        connected.unsettled.begin(packet_id, publish.qos);
        true
    }

    /// The packet identifier names a message of the other quality of service that is still under way.
    fn refuse_identifier(&mut self, packet_id: PacketId, qos: Qos, out: &mut Vec<Output>) {
        let Some(connected) = self.connected() else { return };
        if !connected.negotiated.is_v5 {
            let reason = "[MQTT-2.2.1-3] the packet identifier is in use";
            return self.end(ReasonCode::ProtocolError, reason, out);
        }
        out.push(Output::Send(connected.publish_acknowledgement(packet_id, qos, ReasonCode::PacketIdentifierInUse)));
    }

    pub(super) fn settled(&mut self, packet_id: PacketId, reason_code: ReasonCode, out: &mut Vec<Output>) {
        let Some(connected) = self.connected_mut() else { return };
        connected.unsettled.settle(packet_id, reason_code);
        while let Some((packet_id, qos, reason_code)) = connected.unsettled.next_settled() {
            if reason_code.is_error() && !connected.negotiated.is_v5 {
                // MQTT 3.1.1 section 3.3.5.2: acknowledge, or close.
                return self.end(reason_code, "MQTT 3.1.1 [MQTT-3.3.5-2]: a publish was refused", out);
            }
            if qos == Qos::ExactlyOnce && !reason_code.is_error() {
                connected.received.insert(packet_id);
            }
            out.push(Output::Send(connected.publish_acknowledgement(packet_id, qos, reason_code)));
        }
    }

    pub(super) fn pubrel(&mut self, packet_id: PacketId, out: &mut Vec<Output>) {
        let Some(connected) = self.connected_mut() else { return };
        if connected.is_durable {
            // One that came twice is answered once.
            if connected.releasing.insert(packet_id) {
                out.push(Output::Release { packet_id });
            }
            return;
        }
        // [MQTT-4.3.3-11]
        let reason_code = if connected.received.remove(&packet_id) {
            ReasonCode::Success
        } else {
            ReasonCode::PacketIdentifierNotFound
        };
        out.push(Output::Send(connected.pubcomp_packet(packet_id, reason_code)));
    }

    pub(super) fn released(&mut self, packet_id: PacketId, out: &mut Vec<Output>) {
        let Some(connected) = self.connected_mut() else { return };
        if connected.releasing.remove(&packet_id) {
            connected.received.remove(&packet_id);
            out.push(Output::Send(connected.pubcomp_packet(packet_id, ReasonCode::Success)));
        }
    }
}

impl Connected {
    /// Whether the PUBLISH keeps to the standard and the limits, with its alias resolved; gives whether the aliases
    /// have changed.
    fn check(&mut self, publish: &mut Publish, settings: &SessionSettings) -> Result<bool, Refusal> {
        if publish.qos > settings.maximum_qos {
            return Err((ReasonCode::QosNotSupported, "[MQTT-3.2.2-11] the QoS is higher than the Maximum QoS"));
        }
        if !publish.properties.subscription_identifiers.is_empty() {
            return Err((ReasonCode::ProtocolError, "[MQTT-3.3.4-6] a Subscription Identifier from a client"));
        }
        if publish.retain && !settings.is_retain_available && self.negotiated.is_v5 {
            return Err((ReasonCode::RetainNotSupported, "[MQTT-3.2.2-14] retained messages are not supported"));
        }
        let exceeds = |maximum: Option<usize>, bytes: usize| maximum.is_some_and(|maximum| bytes > maximum);
        let properties = &publish.properties;
        if exceeds(settings.maximum_payload_bytes, publish.payload.len()) {
            return Err((ReasonCode::QuotaExceeded, "the payload is larger than allowed"));
        }
        if exceeds(settings.maximum_content_type_bytes, properties.content_type.as_ref().map_or(0, |text| text.len())) {
            return Err((ReasonCode::QuotaExceeded, "the Content Type is longer than allowed"));
        }
        let correlation_data = properties.correlation_data.as_ref().map_or(0, bytes::Bytes::len);
        if exceeds(settings.maximum_correlation_data_bytes, correlation_data) {
            return Err((ReasonCode::QuotaExceeded, "the Correlation Data is longer than allowed"));
        }
        if exceeds(settings.maximum_user_property_bytes, properties.user_properties.text_bytes()) {
            return Err((ReasonCode::QuotaExceeded, "the User Properties are longer than allowed"));
        }
        self.incoming_aliases.resolve(publish, settings.topic_alias_maximum).map_err(|error| match error {
            AliasError::TooLarge => {
                (ReasonCode::TopicAliasInvalid, "[MQTT-3.3.2-9] the Topic Alias is above Topic Alias Maximum")
            }
            AliasError::Unknown => {
                (ReasonCode::ProtocolError, "section 3.3.2.3.4: the Topic Alias stands for no topic yet")
            }
        })
    }

    fn is_within_rates(&mut self, publish: &Publish, settings: &SessionSettings, now: UnixMillis) -> bool {
        let bytes = publish.payload.len();
        settings.publish_rate.is_none_or(|limit| self.publish_rate.take(limit, 1, now))
            && settings.publish_bytes_rate.is_none_or(|limit| self.publish_bytes_rate.take(limit, bytes, now))
    }

    fn publish_acknowledgement(&self, packet_id: PacketId, qos: Qos, reason_code: ReasonCode) -> Packet {
        self.negotiated.acknowledgement(&[reason_code], |properties| {
            if qos == Qos::ExactlyOnce {
                Packet::PubRec(PubRec { packet_id, reason_code, properties })
            } else {
                Packet::PubAck(PubAck { packet_id, reason_code, properties })
            }
        })
    }

    fn pubcomp_packet(&self, packet_id: PacketId, reason_code: ReasonCode) -> Packet {
        self.negotiated.acknowledgement(&[reason_code], |properties| {
            Packet::PubComp(PubComp { packet_id, reason_code, properties })
        })
    }
}
