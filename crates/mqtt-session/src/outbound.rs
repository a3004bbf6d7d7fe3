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
