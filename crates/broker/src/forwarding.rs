//! Messages that take the short way to subscribers elsewhere: to other Brokers packed as they are, one request a tick
//! and one answer for all of them; to Sessions objects one by one.
//!
//! A publisher's messages reach each object in their order: these and those of the long way go through the same outbox,
//! and what is packed is always put into it first.

use crate::broker::Broker;
use crate::plans::Elsewhere;
use crate::straight::Straight;
use crate::token::Token;
use bytes::{Bytes, BytesMut};
use iot_types::{PacketId, Qos, UnixMillis};
use messages::address::{Address, BrokerId};
use messages::broker::{BrokerRequest, ConnectionId};
use messages::channel::Undelivered;
use messages::publication::Publication;
use messages::sessions::SessionsRequest;
use messages::{Refusal, Reply, Request};
use mqtt_codec::{Decoder, Packet, ProtocolVersion, Publish};
use rustc_hash::FxBuildHasher;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Bytes for one Broker with which a request is full: several fit into one call.
const FULL: usize = 256 * 1024;

/// What a publish that waits for its acknowledgement weighs beside its packet, in bytes.
const OVERHEAD: usize = 96;

/// Names a publish whose publisher waits for an acknowledgement, also to Sessions objects; unlike any part's number.
pub type ForwardTicket = u64;

/// What goes to other Brokers as packets.
#[derive(Default)]
pub struct Forwards {
    /// What goes with the next calls.
    packed: BTreeMap<BrokerId, Packed>,
    /// Publishes of QoS 1 that somebody has not answered for. Never iterated: the order means nothing.
    waiting: HashMap<ForwardTicket, Waiting, FxBuildHasher>,
    /// When those are given up for which a Sessions object asked for patience; the earliest first.
    deadlines: VecDeque<(UnixMillis, ForwardTicket)>,
}

impl Forwards {
    /// Whether nobody waits for anything.
    pub fn is_idle(&self) -> bool {
        self.packed.is_empty() && self.waiting.is_empty()
    }

    /// When something has to be given up.
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        self.deadlines.front().map(|(at, _)| *at)
    }

    /// Nobody is to be woken for the sake of what is done.
    fn tidy(&mut self) {
        while self.deadlines.front().is_some_and(|(_, ticket)| !self.waiting.contains_key(ticket)) {
            self.deadlines.pop_front();
        }
    }
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
    objects_left: usize,
    has_failed: bool,
}

impl Broker {
    /// Whether a publish may take the short way to these.
    pub(crate) fn can_forward(&self, id: ConnectionId, publish: &Publish, to: &Elsewhere) -> bool {
        // A packet does not say when it was accepted.
        (to.brokers.is_empty() || publish.properties.message_expiry_interval.is_none())
            && match publish.qos {
                Qos::AtMostOnce => true,
                Qos::AtLeastOnce => self.has_budget(id, weight(publish)),
                // Its receivers have to know its name.
                Qos::ExactlyOnce => false,
            }
    }

    /// Begins to wait until all of these have answered for a publish of QoS 1; then it is acknowledged.
    pub(crate) fn begin_forward(
        &mut self,
        id: ConnectionId,
        publish: &Publish,
        to: &Elsewhere,
    ) -> Option<ForwardTicket> {
        let packet_id = publish.packet_id?;
        let weight = weight(publish);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.pending += 1;
            connection.forwarded += 1;
            connection.pending_bytes += weight;
        }
        self.publishes.bytes += weight;
        let ticket = self.publishes.next_number();
        let waiting = Waiting { connection: id, packet_id, weight, objects_left: to.len(), has_failed: false };
        self.forwards.waiting.insert(ticket, waiting);
        Some(ticket)
    }

    /// Packs a publish for other Brokers.
    pub(crate) fn forward_to_brokers(
        &mut self,
        now: UnixMillis,
        ticket: Option<ForwardTicket>,
        publish: &Publish,
        brokers: &[BrokerId],
    ) {
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

    /// Hands a publish to Sessions objects.
    pub(crate) fn forward_to_sessions(
        &mut self,
        now: UnixMillis,
        ticket: Option<ForwardTicket>,
        publication: &Publication,
        sessions: &[u32],
    ) {
        for object in sessions {
            let request = SessionsRequest::Deliver { publication: publication.clone(), ticket };
            let token = ticket.map_or(Token::Nothing, Token::ForwardToSessions);
            if self.outbox.push(Address::Sessions(*object), Request::Sessions(request), token).is_err() {
                self.forwarded(now, ticket, false);
            }
        }
    }

    /// A Sessions object has answered for a publish, or could not.
    pub(crate) fn sessions_answered(
        &mut self,
        now: UnixMillis,
        ticket: ForwardTicket,
        result: Result<Reply, Undelivered>,
    ) {
        match result {
            // Unless it has said already what it was going to say.
            Ok(Reply::Pending) if self.forwards.waiting.contains_key(&ticket) => {
                let at = now.plus_millis(self.settings.limits.settle_millis);
                self.forwards.deadlines.push_back((at, ticket));
            }
            Ok(Reply::Pending) => {}
            result => self.forwarded(now, [ticket], result.is_ok()),
        }
    }

    /// Whether this names a publish that took the short way and has not been answered for.
    pub(crate) fn is_forwarding(&self, ticket: ForwardTicket) -> bool {
        self.forwards.waiting.contains_key(&ticket)
    }

    /// Gives up those for which a Sessions object asked for patience and then said nothing.
    pub(crate) fn give_up_forwards(&mut self, now: UnixMillis) {
        while let Some((at, ticket)) = self.forwards.deadlines.front().copied() {
            if at > now {
                return;
            }
            self.forwards.deadlines.pop_front();
            if let Some(waiting) = self.forwards.waiting.get_mut(&ticket) {
                waiting.objects_left = 1;
                self.forwarded(now, [ticket], false);
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

    /// An object has answered for these, or could not.
    pub(crate) fn forwarded(
        &mut self,
        now: UnixMillis,
        tickets: impl IntoIterator<Item = ForwardTicket>,
        is_safe: bool,
    ) {
        for ticket in tickets {
            let Some(waiting) = self.forwards.waiting.get_mut(&ticket) else { continue };
            waiting.has_failed |= !is_safe;
            waiting.objects_left = waiting.objects_left.saturating_sub(1);
            if waiting.objects_left > 0 {
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
        self.forwards.tidy();
    }

    /// Delivers what another Broker has packed.
    pub(crate) fn deliver_packets(&mut self, now: UnixMillis, packets: Bytes) -> Reply {
        let mut decoder = Decoder::restore(u32::MAX, Some(ProtocolVersion::V5), Bytes::new());
        decoder.push(packets);
        loop {
            match decoder.next_packet() {
                Ok(Some(Packet::Publish(publish))) => {
                    let receivers = self.arrival_plan(now, &publish.topic);
                    self.hand_out(now, None, Straight::new(publish), &receivers);
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
