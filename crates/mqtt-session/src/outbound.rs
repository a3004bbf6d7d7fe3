//! Messages on their way to the client: packet identifiers, the receive window and what waits for it.

use crate::Delivery;
use iot_types::{PacketId, Qos};
use std::collections::{BTreeSet, VecDeque};

/// The outgoing half of a session.
#[derive(Debug)]
pub struct Outbound {
    next_packet_id: PacketId,
    inflight: BTreeSet<PacketId>,
    window: usize,
    waiting: VecDeque<Delivery>,
    waiting_bytes: usize,
}

/// What became of a message offered to [`Outbound::offer`].
#[derive(Debug)]
pub enum Offer {
    /// Send it now, with this packet identifier if it has QoS 1.
    Send(Delivery, Option<PacketId>),
    /// It waits for room in the receive window.
    Waits,
    /// The queue is full; the message is dropped.
    Dropped,
}

impl Outbound {
    /// An outbound half that keeps at most `window` messages unacknowledged.
    pub fn new(window: u16) -> Self {
        Self {
            next_packet_id: PacketId::FIRST,
            inflight: BTreeSet::new(),
            window: usize::from(window.max(1)),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
        }
    }

    /// Whether nothing waits and everything sent has been acknowledged.
    pub fn is_idle(&self) -> bool {
        self.inflight.is_empty() && self.waiting.is_empty()
    }

    /// Takes a message for the client. Order is kept among messages of QoS 1 ([MQTT-4.6.0-6]).
    pub fn offer(&mut self, delivery: Delivery, maximum_messages: usize, maximum_bytes: usize) -> Offer {
        if delivery.qos == Qos::AtMostOnce {
            return Offer::Send(delivery, None);
        }
        if self.waiting.is_empty()
            && let Some(packet_id) = self.claim()
        {
            return Offer::Send(delivery, Some(packet_id));
        }
        let weight = delivery.publication.weight();
        if self.waiting.len() >= maximum_messages || self.waiting_bytes + weight > maximum_bytes {
            return Offer::Dropped;
        }
        self.waiting_bytes += weight;
        self.waiting.push_back(delivery);
        Offer::Waits
    }

    /// The client has acknowledged; `false` when there was nothing to acknowledge.
    pub fn acknowledge(&mut self, packet_id: PacketId) -> bool {
        self.inflight.remove(&packet_id)
    }

    /// The next waiting message that the window has room for.
    pub fn next_waiting(&mut self) -> Option<(Delivery, PacketId)> {
        if self.waiting.is_empty() {
            return None;
        }
        let packet_id = self.claim()?;
        let delivery = self.waiting.pop_front()?;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(delivery.publication.weight());
        Some((delivery, packet_id))
    }

    /// A packet identifier that is not in use ([MQTT-2.2.1-3]); `None` when the window is full.
    fn claim(&mut self) -> Option<PacketId> {
        if self.inflight.len() >= self.window {
            return None;
        }
        // The window is smaller than the identifiers there are, so this finds a free one.
        while self.inflight.contains(&self.next_packet_id) {
            self.next_packet_id = self.next_packet_id.next();
        }
        let packet_id = self.next_packet_id;
        self.next_packet_id = packet_id.next();
        self.inflight.insert(packet_id);
        Some(packet_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_types::UnixMillis;
    use messages::publication::Publication;
    use proptest::prelude::*;
    use std::rc::Rc;

    fn delivery(number: usize, qos: Qos) -> Delivery {
        Delivery {
            publication: Rc::new(Publication::of_platform(number.to_string(), "", qos, UnixMillis(0))),
            qos,
            retain: false,
            subscription_identifiers: Vec::new(),
        }
    }

    #[test]
    fn a_window_of_zero_would_never_open_and_counts_as_one() {
        let mut outbound = Outbound::new(0);
        assert!(matches!(outbound.offer(delivery(1, Qos::AtLeastOnce), 1, 1_000), Offer::Send(_, Some(_))));
        assert!(matches!(outbound.offer(delivery(2, Qos::AtLeastOnce), 1, 1_000), Offer::Waits));
    }

    #[test]
    fn a_new_message_does_not_overtake_those_that_wait() {
        let mut outbound = Outbound::new(1);
        let Offer::Send(_, Some(packet_id)) = outbound.offer(delivery(1, Qos::AtLeastOnce), 10, 1_000) else {
            panic!()
        };
        assert!(matches!(outbound.offer(delivery(2, Qos::AtLeastOnce), 10, 1_000), Offer::Waits));
        outbound.acknowledge(packet_id);
        assert!(matches!(outbound.offer(delivery(3, Qos::AtLeastOnce), 10, 1_000), Offer::Waits), "[MQTT-4.6.0-5]");
        assert_eq!(outbound.next_waiting().unwrap().0.publication.topic, "2");
    }

    #[test]
    fn the_largest_window_uses_every_packet_identifier_once() {
        let mut outbound = Outbound::new(u16::MAX);
        let mut used = BTreeSet::new();
        for number in 0..usize::from(u16::MAX) {
            match outbound.offer(delivery(number, Qos::AtLeastOnce), 10, 1_000) {
                Offer::Send(_, Some(packet_id)) => assert!(used.insert(packet_id), "[MQTT-2.2.1-4]"),
                other => panic!("{other:?}"),
            }
        }
        assert!(matches!(outbound.offer(delivery(0, Qos::AtLeastOnce), 10, 1_000), Offer::Waits));
        assert!(outbound.acknowledge(PacketId::new(40_000).unwrap()));
        assert_eq!(outbound.next_waiting().unwrap().1.get(), 40_000, "the only free one");
    }

    proptest! {
        /// Offers (`true`) and acknowledgements of the oldest or the newest, in any mixture.
        #[test]
        fn nothing_is_reordered_and_no_limit_is_passed(
            window in 1..5_u16,
            steps in proptest::collection::vec((any::<bool>(), any::<bool>()), 0..200),
        ) {
            const MESSAGES: usize = 4;
            let mut outbound = Outbound::new(window);
            let (mut in_flight, mut sent) = (Vec::new(), Vec::new());
            for (number, (offers, oldest)) in steps.into_iter().enumerate() {
                if offers {
                    match outbound.offer(delivery(number, Qos::AtLeastOnce), MESSAGES, usize::MAX) {
                        Offer::Send(delivery, packet_id) => {
                            in_flight.push(packet_id.unwrap());
                            sent.push(delivery.publication.topic.parse::<usize>().unwrap());
                        }
                        Offer::Waits => {}
                        Offer::Dropped => prop_assert_eq!(outbound.waiting.len(), MESSAGES),
                    }
                } else if !in_flight.is_empty() {
                    let packet_id = in_flight.remove(if oldest { 0 } else { in_flight.len() - 1 });
                    prop_assert!(outbound.acknowledge(packet_id));
                    prop_assert!(!outbound.acknowledge(packet_id));
                    while let Some((delivery, packet_id)) = outbound.next_waiting() {
                        prop_assert!(!in_flight.contains(&packet_id));
                        in_flight.push(packet_id);
                        sent.push(delivery.publication.topic.parse().unwrap());
                    }
                }
                prop_assert!(in_flight.len() <= usize::from(window));
                prop_assert!(outbound.waiting.is_empty() || in_flight.len() == usize::from(window), "it need not wait");
                prop_assert!(sent.is_sorted(), "[MQTT-4.6.0-5]");
                let weight: usize = outbound.waiting.iter().map(|delivery| delivery.publication.weight()).sum();
                prop_assert_eq!(outbound.waiting_bytes, weight);
                prop_assert_eq!(outbound.is_idle(), in_flight.is_empty() && outbound.waiting.is_empty());
            }
        }
    }
}
