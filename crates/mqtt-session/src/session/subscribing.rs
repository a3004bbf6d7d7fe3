//! Subscriptions (MQTT 5.0 sections 3.8 to 3.11).

use super::Session;
use crate::SubscriptionOptions;
use crate::io::Output;
use iot_types::PacketId;
use mqtt_codec::{Packet, ReasonCode, SubAck, Subscribe, UnsubAck, Unsubscribe};

impl Session {
    pub(super) fn subscribe(&mut self, subscribe: Subscribe, out: &mut Vec<Output>) {
        let settings = self.settings;
        let Some(connected) = self.connected_mut() else { return };
        if subscribe.filters.len() > settings.maximum_filters_per_subscribe {
            return self.end(ReasonCode::QuotaExceeded, "too many Topic Filters in one SUBSCRIBE", out);
        }
        if connected.subscribing.len() >= settings.maximum_subscribing {
            return self.end(ReasonCode::QuotaExceeded, "too many SUBSCRIBEs before their SUBACKs", out);
        }
        if subscribe.properties.subscription_identifier.is_some() && !settings.are_subscription_identifiers_available {
            let reason = "section 3.2.2.3.12: subscription identifiers are not available";
            return self.end(ReasonCode::SubscriptionIdentifiersNotSupported, reason, out);
        }
        if !connected.subscribing.insert(subscribe.packet_id) {
            let reason_codes = vec![ReasonCode::PacketIdentifierInUse; subscribe.filters.len()];
            return self.suback(subscribe.packet_id, reason_codes, out);
        }
        out.push(Output::Subscribe(subscribe));
    }

    /// Notes a subscription that the broker has granted, before [`crate::Input::Subscribed`]; `false` when there are
    /// too many.
    pub fn add_subscription(&mut self, filter: &str, options: SubscriptionOptions) -> bool {
        let maximum = self.settings.maximum_subscriptions;
        let Some(connected) = self.connected_mut() else { return false };
        if connected.subscriptions.len() >= maximum && !connected.subscriptions.contains_key(filter) {
            return false;
        }
        connected.subscriptions.insert(filter.to_owned(), options);
        self.is_changed = true;
        true
    }

    /// Forgets a subscription that could not be put into force.
    pub fn remove_subscription(&mut self, filter: &str) {
        let Some(connected) = self.connected_mut() else { return };
        let is_removed = connected.subscriptions.remove(filter).is_some();
        self.is_changed |= is_removed;
    }

    pub(super) fn subscribed(&mut self, packet_id: PacketId, reason_codes: Vec<ReasonCode>, out: &mut Vec<Output>) {
        let Some(connected) = self.connected_mut() else { return };
        if connected.subscribing.remove(&packet_id) {
            self.suback(packet_id, reason_codes, out);
        }
    }

    fn suback(&mut self, packet_id: PacketId, reason_codes: Vec<ReasonCode>, out: &mut Vec<Output>) {
        let Some(connected) = self.connected() else { return };
        let suback = connected.negotiated.acknowledgement(&reason_codes, |properties| {
            Packet::SubAck(SubAck { packet_id, reason_codes: reason_codes.clone(), properties })
        });
        self.answer(suback, out);
    }

    pub(super) fn unsubscribe(&mut self, unsubscribe: Unsubscribe, out: &mut Vec<Output>) {
        let settings = self.settings;
        let Some(connected) = self.connected_mut() else { return };
        if unsubscribe.filters.len() > settings.maximum_filters_per_unsubscribe {
            return self.end(ReasonCode::QuotaExceeded, "too many Topic Filters in one UNSUBSCRIBE", out);
        }
        let packet_id = unsubscribe.packet_id;
        if connected.subscribing.contains(&packet_id) {
            let reason_codes = vec![ReasonCode::PacketIdentifierInUse; unsubscribe.filters.len()];
            return self.unsuback(packet_id, reason_codes, out);
        }
        if connected.is_durable && connected.subscribing.len() >= settings.maximum_subscribing {
            return self.end(ReasonCode::QuotaExceeded, "too many UNSUBSCRIBEs before their UNSUBACKs", out);
        }
        let reason_codes: Vec<ReasonCode> = unsubscribe
            .filters
            .iter()
            .map(|filter| match connected.subscriptions.remove(&*filter) {
                Some(_) => ReasonCode::Success,
                None => ReasonCode::NoSubscriptionExisted,
            })
            .collect();
        let is_durable = connected.is_durable;
        if is_durable {
            connected.subscribing.insert(packet_id);
        }
        self.is_changed |= reason_codes.contains(&ReasonCode::Success);
        // The broker takes them away before anything else happens, so nothing is delivered after this UNSUBACK
        // ([MQTT-3.10.4-2]). Those of a durable session are its Sessions shard's, which has to answer first.
        out.push(Output::Unsubscribe(unsubscribe));
        if !is_durable {
            self.unsuback(packet_id, reason_codes, out);
        }
    }

    pub(super) fn unsubscribed(&mut self, packet_id: PacketId, reason_codes: Vec<ReasonCode>, out: &mut Vec<Output>) {
        let Some(connected) = self.connected_mut() else { return };
        if connected.subscribing.remove(&packet_id) {
            self.unsuback(packet_id, reason_codes, out);
        }
    }

    fn unsuback(&mut self, packet_id: PacketId, reason_codes: Vec<ReasonCode>, out: &mut Vec<Output>) {
        let Some(connected) = self.connected() else { return };
        let unsuback = connected.negotiated.acknowledgement(&reason_codes, |properties| {
            Packet::UnsubAck(UnsubAck { packet_id, reason_codes: reason_codes.clone(), properties })
        });
        self.answer(unsuback, out);
    }
}
