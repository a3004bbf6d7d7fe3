//! The outgoing half of a session: packet identifiers, the receive window, what waits for it, and what is sent again.
//!
//! A clean session has it in its Broker's memory, a durable one in its Sessions shard, which stores [`Entry`]s.

mod in_flight;

use in_flight::{InFlight, InFlights};
use iot_types::{PacketId, Qos, UnixMillis};
use messages::publication::{MessageId, Publication};
use rustc_hash::FxHashSet;
use std::collections::VecDeque;
use std::rc::Rc;

/// A message on its way to one subscriber. The publication is shared by all of them.
///
/// The copy of a retained message that answers a SUBSCRIBE has no [`Publication::message_id`]: it is a delivery of its
/// own, and must not be taken for the live message that it once was.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub publication: Rc<Publication>,
    /// The quality of service to deliver with.
    pub qos: Qos,
    /// The RETAIN flag to deliver with.
    pub retain: bool,
    /// The identifiers of the matching subscriptions that have one ([MQTT-3.3.4-3]).
    pub subscription_identifiers: Vec<u32>,
}

/// What an [`Outbound`] may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboundLimits {
    /// Messages of QoS 1 and 2 that the client takes unacknowledged; zero while nobody is connected.
    pub window: u16,
    /// Messages that wait. Beyond it the newest is dropped.
    pub maximum_messages: usize,
    /// Bytes of what waits and what is unacknowledged. A message that is alone is taken whatever its size.
    pub maximum_bytes: usize,
}

/// The outgoing half of a session (MQTT 5.0 sections 4.3, 4.4, 4.6 and 4.9).
#[derive(Debug)]
pub struct Outbound {
    limits: OutboundLimits,
    next_sequence: u64,
    next_packet_id: PacketId,
    /// What has a packet identifier, by sequence; all of it before all that waits.
    in_flight: InFlights,
    /// Published on an earlier connection, and not yet on this one for want of room.
    unsent: VecDeque<u64>,
    waiting: VecDeque<(u64, Delivery)>,
    bytes: usize,
    /// The names of what is in flight, waits, or is among `recent`.
    known: FxHashSet<MessageId>,
    /// The names of the last messages that are done.
    recent: VecDeque<MessageId>,
    expired: Vec<u64>,
    /// Nothing that waits expires before.
    next_expiry: Option<UnixMillis>,
}

/// How many names of finished messages are remembered. A publisher that lost its connection sends again at most what
/// it had unacknowledged, 100 by default, so that this holds for some of them at once.
const RECENT: usize = 256;

/// What became of a message offered to [`Outbound::offer`].
#[derive(Debug)]
pub enum Offer {
    /// Send it now.
    Send(Sending),
    /// It waits for room in the receive window, under this sequence.
    Waits(u64),
    /// The queue is full, or it has QoS 0 and nobody is connected: the message is dropped.
    Dropped,
    /// The session has had it.
    Duplicate,
}

/// A PUBLISH to send.
#[derive(Clone, Debug)]
pub struct Sending {
    /// Names the message within its session; zero with QoS 0.
    pub sequence: u64,
    /// With QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// Whether it was sent before ([MQTT-3.3.1-1]).
    pub dup: bool,
    /// The message.
    pub delivery: Delivery,
}

/// A packet to send again after a reconnect ([MQTT-4.4.0-1]).
#[derive(Clone, Debug)]
pub enum Resend {
    /// PUBLISH.
    Publish(Sending),
    /// PUBREL.
    PubRel(PacketId),
}

/// What a PUBREC did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PubRec {
    /// The message of this sequence has arrived: send PUBREL.
    Release(u64),
    /// The client doesn't take the message of this sequence: the exchange is over.
    Done(u64),
    /// It came before: send PUBREL again.
    Again,
    /// There is no such message of QoS 2: send PUBREL with reason code 0x92.
    Unknown,
}

/// How far the delivery of a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Phase {
    /// It waits and has no packet identifier.
    Waiting,
    /// PUBLISH was sent, or was about to be.
    Published,
    /// PUBREC came; PUBREL was sent, or was about to be. The payload is gone.
    Released,
}

/// A message as durable storage keeps it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Names the message within its session, and rises in the order of delivery.
    pub sequence: u64,
    /// Unless it waits.
    pub packet_id: Option<PacketId>,
    /// How far it is.
    pub phase: Phase,
    /// The message.
    pub delivery: Delivery,
}

impl Outbound {
    /// An outgoing half with nothing in it.
    #[must_use]
    pub fn new(limits: OutboundLimits) -> Self {
        Self {
            limits,
            next_sequence: 1,
            next_packet_id: PacketId::FIRST,
            in_flight: InFlights::default(),
            unsent: VecDeque::new(),
            waiting: VecDeque::new(),
            bytes: 0,
            known: FxHashSet::default(),
            recent: VecDeque::new(),
            expired: Vec::new(),
            next_expiry: None,
        }
    }

    /// The client takes this many messages unacknowledged from now on; zero when the connection is gone.
    pub const fn set_window(&mut self, window: u16) {
        self.limits.window = window;
    }

    /// Whether nothing waits and everything sent has been acknowledged.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.waiting.is_empty()
    }

    /// Messages that wait or are unacknowledged.
    #[must_use]
    pub fn len(&self) -> usize {
        self.in_flight.len() + self.waiting.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.is_idle()
    }

    /// Bytes of them, roughly.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a message of QoS 1 or 2 would be sent at once.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting.is_empty() && self.unsent.is_empty() && self.is_window_open()
    }

    /// Whether a message of QoS 1 or 2 and this weight would be sent or queued rather than dropped.
    #[must_use]
    pub fn can_take(&self, weight: usize) -> bool {
        let has_bytes = self.bytes == 0 || self.bytes.saturating_add(weight) <= self.limits.maximum_bytes;
        has_bytes && (self.has_room() || self.waiting.len() < self.limits.maximum_messages)
    }

    /// Takes a message for the client. Order is kept among messages of QoS 1 and 2 ([MQTT-4.6.0-5]). Call
    /// [`Self::expire`] before, so that expired messages don't take its place.
    pub fn offer(&mut self, delivery: Delivery) -> Offer {
        let name = delivery.publication.message_id;
        if name.is_some_and(|name| self.known.contains(&name)) {
            return Offer::Duplicate;
        }
        if delivery.qos == Qos::AtMostOnce {
            if self.limits.window == 0 {
                return Offer::Dropped;
            }
            self.remember(name);
            return Offer::Send(Sending { sequence: 0, packet_id: None, dup: false, delivery });
        }
        let weight = delivery.publication.weight();
        if !self.can_take(weight) {
            return Offer::Dropped;
        }
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.bytes += weight;
        self.known.extend(name);
        if self.has_room() {
            return Offer::Send(self.publish(sequence, delivery));
        }
        self.note_expiry(&delivery);
        self.waiting.push_back((sequence, delivery));
        Offer::Waits(sequence)
    }

    /// PUBACK came: gives the sequence of the message that is now done ([MQTT-4.3.2-3]).
    pub fn puback(&mut self, packet_id: PacketId) -> Option<u64> {
        let (sequence, in_flight) = self.find(packet_id)?;
        (in_flight.delivery.qos == Qos::AtLeastOnce).then_some(())?;
        self.finish(sequence);
        Some(sequence)
    }

    /// PUBREC came, with a reason code of 0x80 or more if it `failed` ([MQTT-4.3.3-3] to [MQTT-4.3.3-6]).
    pub fn pubrec(&mut self, packet_id: PacketId, failed: bool) -> PubRec {
        match self.find(packet_id) {
            Some((sequence, in_flight)) if in_flight.delivery.qos == Qos::ExactlyOnce => {
                let is_released = in_flight.phase == Phase::Released;
                if failed {
                    self.finish(sequence);
                    PubRec::Done(sequence)
                } else if is_released {
                    PubRec::Again
                } else {
                    self.release(sequence);
                    PubRec::Release(sequence)
                }
            }
            Some(_) | None => PubRec::Unknown,
        }
    }

    /// PUBCOMP came: gives the sequence of the message that is now done.
    pub fn pubcomp(&mut self, packet_id: PacketId) -> Option<u64> {
        let (sequence, in_flight) = self.find(packet_id)?;
        (in_flight.phase == Phase::Released).then_some(())?;
        self.finish(sequence);
        Some(sequence)
    }

    /// The next PUBLISH that the window has room for: first what [`Self::resend`] had no room for, then what waits
    /// and has not expired ([MQTT-3.3.2-5]).
    pub fn next_waiting(&mut self, now: UnixMillis) -> Option<Sending> {
        if !self.is_window_open() {
            return None;
        }
        while let Some(sequence) = self.unsent.pop_front() {
            if let Some(sending) = self.again(sequence) {
                return Some(sending);
            }
        }
        while let Some((sequence, delivery)) = self.waiting.pop_front() {
            if delivery.publication.is_expired(now) {
                self.forget(sequence, &delivery);
                continue;
            }
            return Some(self.publish(sequence, delivery));
        }
        self.next_expiry = None;
        None
    }

    /// What to send again at the beginning of a connection, in the original order and under the original packet
    /// identifiers ([MQTT-4.4.0-1], [MQTT-4.6.0-1]). Every PUBREL is among it, and as many PUBLISHes as the window
    /// allows; [`Self::next_waiting`] gives the others. A message whose delivery began is sent again even if it has
    /// expired since.
    pub fn resend(&mut self, _now: UnixMillis) -> Vec<Resend> {
        let mut resends = Vec::new();
        self.unsent.clear();
        let released = self.in_flight.values().filter(|message| message.phase == Phase::Released).count();
        let mut room = usize::from(self.limits.window).saturating_sub(released);
        for (sequence, message) in self.in_flight.iter() {
            if message.phase == Phase::Released {
                resends.push(Resend::PubRel(message.packet_id));
            } else if room > 0 && self.unsent.is_empty() {
                room -= 1;
                resends.push(Resend::Publish(message.again(sequence)));
            } else {
                self.unsent.push_back(sequence);
            }
        }
        resends
    }

    /// Drops what waits and has expired ([MQTT-3.3.2-5]); [`Self::take_expired`] tells what it was.
    pub fn expire(&mut self, now: UnixMillis) {
        if self.next_expiry.is_none_or(|next| next > now) {
            return;
        }
        self.next_expiry = None;
        for (sequence, delivery) in core::mem::take(&mut self.waiting) {
            if delivery.publication.is_expired(now) {
                self.forget(sequence, &delivery);
            } else {
                self.note_expiry(&delivery);
                self.waiting.push_back((sequence, delivery));
            }
        }
    }

    /// When [`Self::expire`] may have something to do.
    #[must_use]
    pub const fn next_expiry(&self) -> Option<UnixMillis> {
        self.next_expiry
    }

    /// The sequences of messages that expired while they waited, since the last call.
    pub fn take_expired(&mut self) -> Vec<u64> {
        core::mem::take(&mut self.expired)
    }

    /// Forgets a message as if the client had acknowledged it; `false` if there is none.
    pub fn discard(&mut self, sequence: u64) -> bool {
        if self.in_flight.get(sequence).is_some() {
            self.finish(sequence);
            return true;
        }
        let Some(place) = self.waiting.iter().position(|(waiting, _)| *waiting == sequence) else { return false };
        if let Some((_, delivery)) = self.waiting.remove(place) {
            self.subtract(&delivery);
            self.unname(&delivery);
        }
        true
    }

    /// What durable storage should hold, in the order of delivery.
    pub fn entries(&self) -> impl Iterator<Item = Entry> {
        let in_flight = self.in_flight.iter().map(|(sequence, message)| Entry {
            sequence,
            packet_id: Some(message.packet_id),
            phase: message.phase,
            delivery: message.delivery.clone(),
        });
        let waiting = self.waiting.iter().map(|(sequence, delivery)| Entry {
            sequence: *sequence,
            packet_id: None,
            phase: Phase::Waiting,
            delivery: delivery.clone(),
        });
        in_flight.chain(waiting)
    }

    /// One of [`Self::entries`], or `None` if there is none of this sequence.
    #[must_use]
    pub fn entry(&self, sequence: u64) -> Option<Entry> {
        if let Some(message) = self.in_flight.get(sequence) {
            let (packet_id, phase) = (Some(message.packet_id), message.phase);
            return Some(Entry { sequence, packet_id, phase, delivery: message.delivery.clone() });
        }
        let (_, delivery) = self.waiting.iter().find(|(waiting, _)| *waiting == sequence)?;
        Some(Entry { sequence, packet_id: None, phase: Phase::Waiting, delivery: delivery.clone() })
    }

    /// Puts back what storage held, in the order of the sequences. [`Self::resend`] comes after it.
    pub fn restore_entry(&mut self, entry: Entry) {
        let Entry { sequence, packet_id, phase, delivery } = entry;
        self.next_sequence = self.next_sequence.max(sequence.saturating_add(1));
        self.bytes += delivery.publication.weight();
        self.known.extend(delivery.publication.message_id);
        match packet_id {
            Some(packet_id) if phase != Phase::Waiting => {
                self.next_packet_id = packet_id.next();
                self.in_flight.insert(sequence, InFlight { packet_id, phase, delivery });
                if phase == Phase::Published {
                    self.unsent.push_back(sequence);
                }
            }
            _ => {
                self.note_expiry(&delivery);
                self.waiting.push_back((sequence, delivery));
            }
        }
    }

    /// The names of the last messages that are done, oldest first.
    pub fn recent(&self) -> impl Iterator<Item = MessageId> {
        self.recent.iter().copied()
    }

    /// Puts back a name that storage held.
    pub fn restore_recent(&mut self, name: MessageId) {
        self.remember(Some(name));
    }

    fn is_window_open(&self) -> bool {
        self.in_flight.len().saturating_sub(self.unsent.len()) < usize::from(self.limits.window)
    }

    fn find(&self, packet_id: PacketId) -> Option<(u64, &InFlight)> {
        self.in_flight.find(packet_id)
    }

    fn again(&self, sequence: u64) -> Option<Sending> {
        self.in_flight.get(sequence).map(|message| message.again(sequence))
    }

    /// Gives a message a packet identifier that is not in use ([MQTT-2.2.1-4]).
    fn publish(&mut self, sequence: u64, delivery: Delivery) -> Sending {
        // Nothing new is published unless fewer than the window are in flight, so this finds a free one.
        while self.in_flight.has(self.next_packet_id) {
            self.next_packet_id = self.next_packet_id.next();
        }
        let packet_id = self.next_packet_id;
        self.next_packet_id = packet_id.next();
        let message = InFlight { packet_id, phase: Phase::Published, delivery: delivery.clone() };
        self.in_flight.insert(sequence, message);
        Sending { sequence, packet_id: Some(packet_id), dup: false, delivery }
    }

    /// The client has the message: only its identifiers are needed now.
    fn release(&mut self, sequence: u64) {
        let Some(message) = self.in_flight.get_mut(sequence) else { return };
        message.phase = Phase::Released;
        if !self.unsent.is_empty() {
            self.unsent.retain(|unsent| *unsent != sequence);
        }
        let publication = &message.delivery.publication;
        let weight = publication.weight();
        let mut rest = Publication::of_platform(String::new(), "", publication.qos, publication.accepted_at);
        rest.message_id = publication.message_id;
        self.bytes = self.bytes.saturating_sub(weight) + rest.weight();
        message.delivery.publication = Rc::new(rest);
        message.delivery.subscription_identifiers = Vec::new();
    }

    fn finish(&mut self, sequence: u64) {
        let Some(message) = self.in_flight.remove(sequence) else { return };
        if !self.unsent.is_empty() {
            self.unsent.retain(|unsent| *unsent != sequence);
        }
        self.subtract(&message.delivery);
        self.unname(&message.delivery);
    }

    fn forget(&mut self, sequence: u64, delivery: &Delivery) {
        self.subtract(delivery);
        self.unname(delivery);
        self.expired.push(sequence);
    }

    fn subtract(&mut self, delivery: &Delivery) {
        self.bytes = self.bytes.saturating_sub(delivery.publication.weight());
    }

    fn unname(&mut self, delivery: &Delivery) {
        self.remember(delivery.publication.message_id);
    }

    fn remember(&mut self, name: Option<MessageId>) {
        let Some(name) = name else { return };
        if self.recent.len() >= RECENT
            && let Some(oldest) = self.recent.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.known.insert(name);
        self.recent.push_back(name);
    }

    fn note_expiry(&mut self, delivery: &Delivery) {
        let publication = &delivery.publication;
        let interval = publication.properties.as_ref().and_then(|properties| properties.message_expiry_interval);
        if let Some(secs) = interval {
            let expiry = publication.accepted_at.plus_secs(secs.into());
            self.next_expiry = Some(self.next_expiry.map_or(expiry, |next| next.min(expiry)));
        }
    }
}

impl InFlight {
    fn again(&self, sequence: u64) -> Sending {
        Sending { sequence, packet_id: Some(self.packet_id), dup: true, delivery: self.delivery.clone() }
    }
}

#[cfg(test)]
mod tests;
