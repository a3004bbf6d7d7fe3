//! What each packet means once CONNACK has been sent.

use super::{Connected, Phase, Session};
use crate::SubscriptionOptions;
use crate::io::{Delivery, Disconnection, Output};
use crate::outbound::Offer;
use iot_types::{PacketId, Qos, UnixMillis};
use mqtt_codec::{
    AckProperties, ByteString, Disconnect, Packet, PubAck, Publish, PublishProperties, ReasonCode, SubAck, Subscribe,
    UnsubAck, Unsubscribe,
};

impl Session {
    pub(super) fn connected_packet(&mut self, packet: Packet, now: UnixMillis, out: &mut Vec<Output>) {
        match packet {
            Packet::Publish(publish) => self.publish(publish, out),
            Packet::PubAck(ack) => self.acknowledged(ack.packet_id, now, out),
            Packet::Subscribe(subscribe) => self.subscribe(subscribe, out),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe, out),
            Packet::PingReq => out.push(Output::Send(Packet::PingResp)),
            Packet::Disconnect(disconnect) => self.disconnect(&disconnect, out),
            Packet::Connect(_) => self.end(ReasonCode::ProtocolError, "[MQTT-3.1.0-2] a second CONNECT", out),
            Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_) => {
                self.end(ReasonCode::ProtocolError, "QoS 2 is not in use on this connection", out);
            }
            Packet::Auth(_) => self.end(ReasonCode::ProtocolError, "[MQTT-4.12.0-7] AUTH without a method", out),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                self.end(ReasonCode::ProtocolError, "a packet that only a server may send", out);
            }
        }
    }

    fn publish(&mut self, publish: Publish, out: &mut Vec<Output>) {
        let Phase::Connected(connected) = &mut self.phase else { return };
        if publish.qos > self.settings.maximum_qos {
            return self.end(
                ReasonCode::QosNotSupported,
                "[MQTT-3.2.2-11] the QoS is higher than the Maximum QoS",
                out,
            );
        }
        if publish.properties.topic_alias.is_some() {
            return self.end(ReasonCode::TopicAliasInvalid, "[MQTT-3.3.2-9] Topic Alias Maximum is 0", out);
        }
        if !publish.properties.subscription_identifiers.is_empty() {
            return self.end(ReasonCode::ProtocolError, "[MQTT-3.3.4-6] a Subscription Identifier from a client", out);
        }
        if publish.retain && connected.negotiated.is_v5 {
            return self.end(
                ReasonCode::RetainNotSupported,
                "[MQTT-3.2.2-14] retained messages are not supported",
                out,
            );
        }
        if let Some(packet_id) = publish.packet_id {
            let is_full =
                connected.negotiated.is_v5 && connected.unsettled.len() >= usize::from(self.settings.receive_maximum);
            if !connected.unsettled.begin(packet_id) {
                // A retransmission of what is being worked on: its one PUBACK is still to come.
                return;
            }
            if is_full {
                return self.end(ReasonCode::ReceiveMaximumExceeded, "[MQTT-3.3.4-7] more than Receive Maximum", out);
            }
        }
        out.push(Output::Publish(Box::new(publish)));
    }

    pub(super) fn settled(&mut self, packet_id: PacketId, reason_code: ReasonCode, out: &mut Vec<Output>) {
        let Phase::Connected(connected) = &mut self.phase else { return };
        connected.unsettled.settle(packet_id, reason_code);
        while let Some((packet_id, reason_code)) = connected.unsettled.next_settled() {
            out.push(Output::Send(Packet::PubAck(PubAck {
                packet_id,
                reason_code,
                properties: AckProperties::default(),
            })));
        }
    }

    pub(super) fn deliver(&mut self, delivery: Delivery, now: UnixMillis, out: &mut Vec<Output>) {
        let (messages, bytes) = (self.settings.maximum_queued_messages, self.settings.maximum_queued_bytes);
        let Phase::Connected(connected) = &mut self.phase else { return };
        if delivery.publication.is_expired(now) || connected.is_too_large(&delivery, now) {
            // [MQTT-3.1.2-25]: a packet that is too large for the client counts as delivered.
            return;
        }
        match connected.outbound.offer(delivery, messages, bytes) {
            Offer::Send(delivery, packet_id) => {
                out.push(Output::Send(publish_packet(&delivery, packet_id, connected.negotiated.is_v5, now)));
            }
            Offer::Waits => {}
            Offer::Dropped => out.push(Output::Dropped(1)),
        }
    }

    fn acknowledged(&mut self, packet_id: PacketId, now: UnixMillis, out: &mut Vec<Output>) {
        let Phase::Connected(connected) = &mut self.phase else { return };
        // An unknown identifier is no error: it may acknowledge what was sent before this object slept.
        connected.outbound.acknowledge(packet_id);
        while let Some((delivery, packet_id)) = connected.outbound.next_waiting() {
            if delivery.publication.is_expired(now) {
                connected.outbound.acknowledge(packet_id);
                continue;
            }
            out.push(Output::Send(publish_packet(&delivery, Some(packet_id), connected.negotiated.is_v5, now)));
        }
    }

    fn subscribe(&mut self, subscribe: Subscribe, out: &mut Vec<Output>) {
        let Phase::Connected(connected) = &mut self.phase else { return };
        if subscribe.filters.len() > self.settings.maximum_filters_per_subscribe {
            return self.end(ReasonCode::QuotaExceeded, "too many Topic Filters in one SUBSCRIBE", out);
        }
        if connected.subscribing >= self.settings.maximum_subscribing {
            return self.end(ReasonCode::QuotaExceeded, "too many SUBSCRIBEs before their SUBACKs", out);
        }
        connected.subscribing += 1;
        out.push(Output::Subscribe(subscribe));
    }

    /// Notes a subscription that the broker has granted, before [`crate::Input::Subscribed`]; `false` when there are too many.
    pub fn add_subscription(&mut self, filter: &str, options: SubscriptionOptions) -> bool {
        let maximum = self.settings.maximum_subscriptions;
        let Phase::Connected(connected) = &mut self.phase else { return false };
        if connected.subscriptions.len() >= maximum && !connected.subscriptions.contains_key(filter) {
            return false;
        }
        connected.subscriptions.insert(filter.to_owned(), options);
        true
    }

    /// Forgets a subscription that could not be put into force.
    pub fn remove_subscription(&mut self, filter: &str) {
        if let Phase::Connected(connected) = &mut self.phase {
            connected.subscriptions.remove(filter);
        }
    }

    pub(super) fn subscribed(&mut self, packet_id: PacketId, reason_codes: Vec<ReasonCode>, out: &mut Vec<Output>) {
        let Phase::Connected(connected) = &mut self.phase else { return };
        connected.subscribing = connected.subscribing.saturating_sub(1);
        let suback = SubAck { packet_id, reason_codes, properties: AckProperties::default() };
        self.answer(Packet::SubAck(suback), out);
    }

    fn unsubscribe(&mut self, unsubscribe: Unsubscribe, out: &mut Vec<Output>) {
        let Phase::Connected(connected) = &mut self.phase else { return };
        let reason_codes = unsubscribe
            .filters
            .iter()
            .map(|filter| match connected.subscriptions.remove(&**filter) {
                Some(_) => ReasonCode::Success,
                None => ReasonCode::NoSubscriptionExisted,
            })
            .collect();
        let packet_id = unsubscribe.packet_id;
        // The broker takes them away before anything else happens, so nothing is delivered after this UNSUBACK.
        out.push(Output::Unsubscribe(unsubscribe));
        let unsuback = UnsubAck { packet_id, reason_codes, properties: AckProperties::default() };
        self.answer(Packet::UnsubAck(unsuback), out);
    }

    /// Sends an acknowledgement that grows with the request; a client without room for it would wait for ever.
    fn answer(&mut self, packet: Packet, out: &mut Vec<Output>) {
        let Phase::Connected(connected) = &self.phase else { return };
        if connected.negotiated.takes(&packet) {
            out.push(Output::Send(packet));
        } else {
            self.end(ReasonCode::PacketTooLarge, "[MQTT-3.1.2-24] the answer is larger than the client takes", out);
        }
    }

    fn disconnect(&mut self, disconnect: &Disconnect, out: &mut Vec<Output>) {
        let Phase::Connected(connected) = &self.phase else { return };
        if disconnect.properties.session_expiry_interval.is_some_and(|secs| secs > 0)
            && !connected.negotiated.asked_session_expiry
        {
            let reason = "section 3.14.2.2.2: a Session Expiry Interval where CONNECT had none";
            return self.end(ReasonCode::ProtocolError, reason, out);
        }
        let Phase::Connected(connected) = core::mem::replace(&mut self.phase, Phase::Closed) else { return };
        // Every other code leaves the Will Message in force ([MQTT-3.14.4-3]).
        let discards_will = disconnect.reason_code == ReasonCode::NormalDisconnection;
        out.push(Output::Close(Disconnection {
            reason_code: disconnect.reason_code,
            reason: "the client disconnected",
            client_initiated: true,
            will: connected.negotiated.will.filter(|_| !discards_will),
            client_id: Some(connected.client_id),
            subscriptions: connected.subscriptions,
        }));
    }
}

impl Connected {
    fn is_too_large(&self, delivery: &Delivery, now: UnixMillis) -> bool {
        // Measured only for clients that set a maximum. The packet identifier's value doesn't change the length.
        self.negotiated.maximum_packet_size.is_some() && {
            let packet_id = (delivery.qos > Qos::AtMostOnce).then_some(PacketId::FIRST);
            !self.negotiated.takes(&publish_packet(delivery, packet_id, self.negotiated.is_v5, now))
        }
    }
}

fn publish_packet(delivery: &Delivery, packet_id: Option<PacketId>, is_v5: bool, now: UnixMillis) -> Packet {
    let publication = &delivery.publication;
    let mut properties = PublishProperties::default();
    if is_v5 {
        if let Some(passed) = &publication.properties {
            properties.payload_format_indicator = passed.payload_format_indicator;
            properties.message_expiry_interval = publication.remaining_expiry(now);
            properties.content_type = passed.content_type.as_deref().map(ByteString::from);
            properties.response_topic = passed.response_topic.as_deref().map(ByteString::from);
            properties.correlation_data.clone_from(&passed.correlation_data);
            properties.user_properties = passed
                .user_properties
                .iter()
                .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                .collect();
        }
        properties.subscription_identifiers.clone_from(&delivery.subscription_identifiers);
    }
    Packet::Publish(Publish {
        dup: false,
        qos: delivery.qos,
        retain: delivery.retain,
        topic: publication.topic.as_str().into(),
        packet_id,
        properties,
        payload: publication.payload.clone(),
    })
}
