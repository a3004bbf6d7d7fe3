//! Publishes of the client that are being worked on, and the order of their acknowledgements.

use iot_types::{PacketId, Qos};
use mqtt_codec::ReasonCode;
use std::collections::{BTreeMap, VecDeque};

/// PUBACKs and PUBRECs leave in the order of the PUBLISHes ([MQTT-4.6.0-2], [MQTT-4.6.0-3]): settled ones wait for
/// those before them.
#[derive(Debug, Default)]
pub struct Unsettled {
    order: VecDeque<PacketId>,
    outcomes: BTreeMap<PacketId, (Qos, Option<ReasonCode>)>,
}

impl Unsettled {
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// The quality of service of the PUBLISH that is being worked on under this identifier.
    pub fn qos(&self, packet_id: PacketId) -> Option<Qos> {
        self.outcomes.get(&packet_id).map(|(qos, _)| *qos)
    }

    /// Notes a PUBLISH whose identifier is not being worked on.
    pub fn begin(&mut self, packet_id: PacketId, qos: Qos) {
        if self.outcomes.insert(packet_id, (qos, None)).is_none() {
            self.order.push_back(packet_id);
        }
    }

    /// Notes how a PUBLISH ended. An identifier that is not being worked on is ignored.
    pub fn settle(&mut self, packet_id: PacketId, reason_code: ReasonCode) {
        if let Some((_, outcome)) = self.outcomes.get_mut(&packet_id) {
            *outcome = Some(reason_code);
        }
    }

    /// The next acknowledgement that may leave.
    pub fn next_settled(&mut self) -> Option<(PacketId, Qos, ReasonCode)> {
        let packet_id = *self.order.front()?;
        let (qos, outcome) = *self.outcomes.get(&packet_id)?;
        let reason_code = outcome?;
        self.order.pop_front();
        self.outcomes.remove(&packet_id);
        Some((packet_id, qos, reason_code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_keep_the_order_of_the_publishes() {
        let [a, b, c] = [1, 2, 3].map(|id| PacketId::new(id).unwrap());
        let mut unsettled = Unsettled::default();
        for (id, qos) in [(a, Qos::AtLeastOnce), (b, Qos::ExactlyOnce), (c, Qos::AtLeastOnce)] {
            assert_eq!(unsettled.qos(id), None);
            unsettled.begin(id, qos);
            assert_eq!(unsettled.qos(id), Some(qos));
        }
        unsettled.settle(b, ReasonCode::Success);
        assert_eq!(unsettled.next_settled(), None);
        unsettled.settle(a, ReasonCode::NotAuthorized);
        assert_eq!(unsettled.next_settled(), Some((a, Qos::AtLeastOnce, ReasonCode::NotAuthorized)));
        assert_eq!(unsettled.next_settled(), Some((b, Qos::ExactlyOnce, ReasonCode::Success)));
        assert_eq!(unsettled.next_settled(), None);
        assert_eq!(unsettled.len(), 1);
        assert_eq!(unsettled.qos(a), None, "an identifier is free once it is acknowledged");
    }
}
