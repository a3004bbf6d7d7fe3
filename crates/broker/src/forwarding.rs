//! Messages that take the short way to subscribers of other Brokers: packed as they are, one request a tick, and one
//! answer for all of them.
//!
//! A publisher's messages reach each Broker in their order: these and those of the long way go through the same outbox,
//! and what is packed is always put into it first.

use crate::broker::Broker;
use crate::token::Token;
use bytes::{Bytes, BytesMut};
use iot_types::{PacketId, Qos, UnixMillis};
use messages::address::{Address, BrokerId};
use messages::broker::{BrokerRequest, ConnectionId};
use messages::{Refusal, Reply, Request};
use mqtt_codec::{Decoder, Packet, ProtocolVersion, Publish};
use rustc_hash::FxBuildHasher;
use std::collections::{BTreeMap, HashMap};

/// Bytes for one Broker with which a request is full: several fit into one call.
const FULL: usize = 256 * 1024;

/// What a publish that waits for its acknowledgement weighs beside its packet, in bytes.
const OVERHEAD: usize = 96;

/// Names a publish whose publisher waits for an acknowledgement.
pub type ForwardTicket = u64;

/// What goes to other Brokers as packets.
#[derive(Default)]
pub struct Forwards {
    /// What goes with the next calls.
    packed: BTreeMap<BrokerId, Packed>,
    /// Publishes of QoS 1 that some Broker has not answered for. Never iterated: the order means nothing.
    waiting: HashMap<ForwardTicket, Waiting, FxBuildHasher>,
    last_ticket: ForwardTicket,
}

#[derive(Default)]
struct Packed {
    packets: BytesMut,
    tickets: Vec<ForwardTicket>,
}

struct Waiting {
    connection: ConnectionId,
    packet_id: PacketId,
    weight: usize,
    brokers_left: usize,
    has_failed: bool,
}

impl Broker {
    /// Whether a publish may go to other Brokers as a packet.
    pub(crate) fn can_forward(&self, id: ConnectionId, publish: &Publish) -> bool {
        publish.properties.message_expiry_interval.is_none()
            && match publish.qos {
                Qos::AtMostOnce => true,
                Qos::AtLeastOnce => self.has_budget(id, weight(publish)),
                // Its receivers have to know its name.
                Qos::ExactlyOnce => false,
            }
    }

    /// Packs a publish for other Brokers. With QoS 1 it is acknowledged when all of them have answered.
    pub(crate) fn forward(&mut self, now: UnixMillis, id: ConnectionId, publish: &Publish, brokers: &[BrokerId]) {
        let ticket = publish.packet_id.map(|packet_id| {
            let weight = weight(publish);
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.pending += 1;
                connection.forwarded += 1;
                connection.pending_bytes += weight;
            }
            self.publishes.bytes += weight;
            self.forwards.last_ticket += 1;
            let waiting = Waiting { connection: id, packet_id, weight, brokers_left: brokers.len(), has_failed: false };
            self.forwards.waiting.insert(self.forwards.last_ticket, waiting);
            self.forwards.last_ticket
        });
        for broker in brokers {
            if !self.forwards.packed.contains_key(broker) {
                self.forwards.packed.insert(broker.clone(), Packed::default());
            }
            let Some(packed) = self.forwards.packed.get_mut(broker) else { continue };
            publish.encode(ProtocolVersion::V5, &mut packed.packets);
            packed.tickets.extend(ticket);
            if packed.packets.len() >= FULL {
                self.send_packed(now, broker);
            }
        }
    }

    /// Puts what is packed for a Broker behind what waits for it already.
    pub(crate) fn send_packed(&mut self, now: UnixMillis, broker: &BrokerId) {
        if let Some(packed) = self.forwards.packed.remove(broker) {
            self.send_packets(now, broker.clone(), packed);
        }
    }

    /// The same for all Brokers.
    pub(crate) fn send_all_packed(&mut self, now: UnixMillis) {
        for (broker, packed) in core::mem::take(&mut self.forwards.packed) {
            self.send_packets(now, broker, packed);
        }
    }

    fn send_packets(&mut self, now: UnixMillis, broker: BrokerId, packed: Packed) {
        let Packed { packets, tickets } = packed;
        let request = Request::Broker(BrokerRequest::DeliverPackets { packets: packets.freeze() });
        let token = Token::Forward(tickets.clone());
        if self.outbox.push(Address::Broker(broker), request, token).is_err() {
            // A slow receiver loses QoS 0 and holds back nobody; anything else is not acknowledged and comes again.
            self.forwarded(now, tickets, false);
        }
    }

    /// A Broker has answered for these, or could not.
    pub(crate) fn forwarded(&mut self, now: UnixMillis, tickets: Vec<ForwardTicket>, is_safe: bool) {
        for ticket in tickets {
            let Some(waiting) = self.forwards.waiting.get_mut(&ticket) else { continue };
            waiting.has_failed |= !is_safe;
            waiting.brokers_left = waiting.brokers_left.saturating_sub(1);
            if waiting.brokers_left > 0 {
                continue;
            }
            let Some(done) = self.forwards.waiting.remove(&ticket) else { continue };
            self.publishes.bytes = self.publishes.bytes.saturating_sub(done.weight);
            if let Some(connection) = self.connections.get_mut(&done.connection) {
                connection.pending = connection.pending.saturating_sub(1);
                connection.forwarded = connection.forwarded.saturating_sub(1);
                connection.pending_bytes = connection.pending_bytes.saturating_sub(done.weight);
                self.touched.insert(done.connection);
            }
            self.acknowledge_publish(now, done.connection, done.packet_id, None, !done.has_failed);
            self.drain(now);
        }
    }

    /// Delivers what another Broker has packed.
    pub(crate) fn deliver_packets(&mut self, now: UnixMillis, packets: Bytes) -> Reply {
        let mut decoder = Decoder::restore(u32::MAX, Some(ProtocolVersion::V5), Bytes::new());
        decoder.push(packets);
        loop {
            match decoder.next_packet() {
                Ok(Some(Packet::Publish(publish))) => {
                    let receivers = self.arrival_plan(&publish.topic);
                    self.hand_out(now, None, publish, &receivers);
                    self.drain(now);
                }
                Ok(None) if decoder.remainder().is_empty() => return Reply::Applied,
                // Whoever packed this meant something else.
                Ok(_) | Err(_) => return Reply::Refused(Refusal::WrongClass),
            }
        }
    }
}

fn weight(publish: &Publish) -> usize {
    OVERHEAD + publish.encoded_len(ProtocolVersion::V5)
}
