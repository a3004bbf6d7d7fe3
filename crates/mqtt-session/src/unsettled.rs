//! Publishes of the client that are being worked on, and the order of their acknowledgements.

use iot_types::PacketId;
use mqtt_codec::ReasonCode;
use std::collections::{BTreeMap, VecDeque};

/// PUBACKs leave in the order of the PUBLISHes ([MQTT-4.6.0-2]): settled ones wait for those before them.
#[derive(Debug, Default)]
pub struct Unsettled {
    order: VecDeque<PacketId>,
    outcomes: BTreeMap<PacketId, Option<ReasonCode>>,
}

impl Unsettled {
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Notes a PUBLISH; `false` when its packet identifier is being worked on already.
    pub fn begin(&mut self, packet_id: PacketId) -> bool {
        if self.outcomes.contains_key(&packet_id) {
            return false;
        }
        self.outcomes.insert(packet_id, None);
        self.order.push_back(packet_id);
        true
    }

    /// Notes how a PUBLISH ended. An identifier that is not being worked on is ignored.
    pub fn settle(&mut self, packet_id: PacketId, reason_code: ReasonCode) {
        if let Some(outcome) = self.outcomes.get_mut(&packet_id) {
            *outcome = Some(reason_code);
        }
    }

    /// The next acknowledgement that may leave.
    pub fn next_settled(&mut self) -> Option<(PacketId, ReasonCode)> {
        let packet_id = *self.order.front()?;
        let reason_code = (*self.outcomes.get(&packet_id)?)?;
        self.order.pop_front();
        self.outcomes.remove(&packet_id);
        Some((packet_id, reason_code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledgements_keep_the_order_of_the_publishes() {
        let [a, b, c] = [1, 2, 3].map(|id| PacketId::new(id).unwrap());
        let mut unsettled = Unsettled::default();
        for id in [a, b, c] {
            assert!(unsettled.begin(id));
        }
        assert!(!unsettled.begin(b), "a retransmission");
        unsettled.settle(b, ReasonCode::Success);
        assert_eq!(unsettled.next_settled(), None);
        unsettled.settle(a, ReasonCode::NotAuthorized);
        assert_eq!(unsettled.next_settled(), Some((a, ReasonCode::NotAuthorized)));
        assert_eq!(unsettled.next_settled(), Some((b, ReasonCode::Success)));
        assert_eq!(unsettled.next_settled(), None);
        assert_eq!(unsettled.len(), 1);
        assert!(unsettled.begin(a), "an identifier is free once it is acknowledged");
    }
}
