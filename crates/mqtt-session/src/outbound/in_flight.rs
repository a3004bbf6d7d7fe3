//! What has a packet identifier, in the order of the sequences.
//!
//! There are at most as many as the window allows, and clients acknowledge the oldest first, as a rule: a queue that is
//! searched is quicker than a tree.

use super::{Delivery, Phase};
use iot_types::PacketId;
use rustc_hash::FxHashSet;
use std::collections::VecDeque;

/// A message on its way to the client.
#[derive(Debug)]
pub struct InFlight {
    pub packet_id: PacketId,
    pub phase: Phase,
    pub delivery: Delivery,
}

/// All of a session's.
#[derive(Debug, Default)]
pub struct InFlights {
    /// By sequence, which rises.
    queue: VecDeque<(u64, InFlight)>,
    packet_ids: FxHashSet<PacketId>,
}

impl InFlights {
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, &InFlight)> {
        self.queue.iter().map(|(sequence, message)| (*sequence, message))
    }

    pub fn values(&self) -> impl Iterator<Item = &InFlight> {
        self.queue.iter().map(|(_, message)| message)
    }

    pub fn get(&self, sequence: u64) -> Option<&InFlight> {
        self.queue.get(self.place(sequence)?).map(|(_, message)| message)
    }

    pub fn get_mut(&mut self, sequence: u64) -> Option<&mut InFlight> {
        let place = self.place(sequence)?;
        self.queue.get_mut(place).map(|(_, message)| message)
    }

    /// The message with a packet identifier, and its sequence.
    pub fn find(&self, packet_id: PacketId) -> Option<(u64, &InFlight)> {
        self.iter().find(|(_, message)| message.packet_id == packet_id)
    }

    pub fn has(&self, packet_id: PacketId) -> bool {
        self.packet_ids.contains(&packet_id)
    }

    /// Adds a message; neither its sequence nor its packet identifier may be in use.
    pub fn insert(&mut self, sequence: u64, message: InFlight) {
        self.packet_ids.insert(message.packet_id);
        match self.queue.back() {
            Some((last, _)) if *last >= sequence => {
                let place = self.queue.partition_point(|(other, _)| *other < sequence);
                self.queue.insert(place, (sequence, message));
            }
            _ => self.queue.push_back((sequence, message)),
        }
    }

    pub fn remove(&mut self, sequence: u64) -> Option<InFlight> {
        let place = self.place(sequence)?;
        let (_, message) = self.queue.remove(place)?;
        self.packet_ids.remove(&message.packet_id);
        Some(message)
    }

    fn place(&self, sequence: u64) -> Option<usize> {
        match self.queue.front() {
            Some((first, _)) if *first == sequence => Some(0),
            _ => self.queue.binary_search_by_key(&sequence, |(sequence, _)| *sequence).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_types::{Qos, UnixMillis};
    use messages::publication::Publication;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::rc::Rc;

    fn message(packet_id: u16) -> InFlight {
        let publication = Publication::of_platform("t".into(), "", Qos::AtLeastOnce, UnixMillis(0));
        let delivery = Delivery {
            publication: Rc::new(publication),
            qos: Qos::AtLeastOnce,
            retain: false,
            subscription_identifiers: Vec::new(),
        };
        InFlight { packet_id: PacketId::new(packet_id).unwrap(), phase: Phase::Published, delivery }
    }

    proptest! {
        #[test]
        fn it_is_a_map_that_is_in_order(steps in prop::collection::vec((any::<bool>(), 0..12_u64, 1..9_u16), 0..60)) {
            let (mut queue, mut model) = (InFlights::default(), BTreeMap::new());
            for (is_added, sequence, packet_id) in steps {
                let is_new = !model.contains_key(&sequence) && model.values().all(|id| *id != packet_id);
                if is_added && is_new {
                    queue.insert(sequence, message(packet_id));
                    model.insert(sequence, packet_id);
                } else if !is_added {
                    let removed = queue.remove(sequence).map(|message| message.packet_id.get());
                    prop_assert_eq!(removed, model.remove(&sequence));
                }
                let all: Vec<(u64, u16)> = queue.iter().map(|(sequence, m)| (sequence, m.packet_id.get())).collect();
                prop_assert_eq!(&all, &model.clone().into_iter().collect::<Vec<_>>());
                prop_assert_eq!((queue.len(), queue.is_empty()), (model.len(), model.is_empty()));
                for sequence in 0..12 {
                    let found = queue.get(sequence).map(|message| message.packet_id.get());
                    prop_assert_eq!(found, model.get(&sequence).copied());
                }
                for packet_id in 1..9 {
                    let found = queue.find(PacketId::new(packet_id).unwrap()).map(|(sequence, _)| sequence);
                    let expected = model.iter().find(|(_, id)| **id == packet_id).map(|(sequence, _)| *sequence);
                    prop_assert_eq!(found, expected);
                    prop_assert_eq!(queue.has(PacketId::new(packet_id).unwrap()), expected.is_some());
                }
            }
        }
    }
}
