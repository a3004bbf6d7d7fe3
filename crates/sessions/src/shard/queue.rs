//! The outgoing half of durable sessions: what is stored, what is in memory, and what leaves.
//!
//! A message is in one of three places: only in memory (QoS 1, its session is connected, its publisher still waits), in
//! memory and stored, or only stored (the session isn't connected, or has more waiting than fits in memory). What is
//! only stored comes after what is in memory, so that order holds.

use super::{LogEvent, SessionsShard, Stored, Told, Wait};
use crate::client::{Client, PACKET_ID_BLOCK};
use crate::live::{Fact, Live, Online, name_of, publish, put_message};
use crate::store::{MessageRow, MessageState, Phase, SessionStore, phase_of};
use iot_types::{ClientId, PacketId, Qos, UnixMillis};
use messages::address::Address;
use messages::broker::BrokerRequest;
use messages::publication::Publication;
use messages::session::Outgoing;
use mqtt_session::{Delivery, Entry, Outbound, OutboundLimits, Phase as OutboundPhase, Resend};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What became of a message for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// Nothing has to be waited for: it is stored when the transaction is, or it has QoS 0.
    Safe,
    /// It is in memory; the wait will be settled.
    Pending,
    /// There was no room.
    Dropped,
    /// There is no such session.
    NoSession,
}

impl SessionsShard {
    /// Brings a session into memory, and online if its connection was granted; `false` if there is none.
    pub(super) fn load_live(
        &mut self,
        client_id: &ClientId,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<bool> {
        if self.is_online(client_id) {
            return Ok(true);
        }
        if !self.load_stored(client_id, store)? {
            return Ok(false);
        }
        let current = self.clients.get(client_id).and_then(Client::granted);
        let is_connected = current.is_some_and(|current| !self.is_gone(&current.holder));
        if is_connected && !self.is_frozen(client_id) {
            // A memory before this one had it; its connection goes on.
            self.go_online(client_id, false, now, store)?;
        }
        Ok(true)
    }

    /// Brings a session into memory; `false` if there is none.
    pub(super) fn load_stored(&mut self, client_id: &ClientId, store: &mut dyn SessionStore) -> Stored<bool> {
        if !self.load_client(client_id, store)? {
            return Ok(false);
        }
        if self.clients.get(client_id).is_none_or(|client| client.session.is_none()) {
            return Ok(false);
        }
        if !self.lives.contains_key(client_id) {
            let mut live = Live::of_summary(store.summary(client_id)?);
            live.next_sequence = live.next_sequence.max(self.first_sequence_of(client_id));
            self.lives.insert(client_id.clone(), live);
        }
        Ok(true)
    }

    /// The session's connection has been granted: what is in flight is sent again ([MQTT-4.4.0-1]).
    ///
    /// Or this memory takes it over from one that was lost, perhaps with packets that had not left. Nobody but the
    /// Broker knows which have, so all of them are sent again, marked as such; it drops those that the connection has had.
    pub(super) fn go_online(
        &mut self,
        client_id: &ClientId,
        is_new: bool,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<()> {
        let Some(current) = self.clients.get(client_id).and_then(Client::granted) else { return Ok(()) };
        let limits = OutboundLimits {
            window: current.claim.receive_maximum.max(1),
            // Both are counted here, over what is stored as well.
            maximum_messages: usize::MAX,
            maximum_bytes: usize::MAX,
        };
        let holder = current.holder.clone();
        let has_messages = self.lives.get(client_id).is_some_and(|live| live.messages > 0);
        let rows = if has_messages {
            self.commit(store)?;
            store.in_flight(client_id)?
        } else {
            Vec::new()
        };
        let mut online = Box::new(Online {
            client_id: Rc::new(client_id.clone()),
            broker: holder.broker,
            epoch: holder.epoch,
            connection: holder.connection,
            number: holder.number,
            outbound: Outbound::new(limits),
            facts: BTreeMap::new(),
            rows: BTreeMap::new(),
            dirty_rows: Vec::new(),
            open_row: None,
            backlog_after: has_messages.then_some(0),
            packet_ids_from: None,
            outgoing: Vec::new(),
            outgoing_bytes: 0,
        });
        for row in rows {
            // Those that wait beside them are read with all that wait.
            online.restore(&row, |_, state| matches!(state.phase, Phase::Published | Phase::Released))?;
        }
        for resend in online.outbound.resend(now) {
            online.say(match resend {
                Resend::Publish(sending) => publish(sending),
                Resend::PubRel(packet_id) => Outgoing::PubRel { packet_id, is_unknown: false },
            });
        }
        if is_new {
            // The row is about to be written.
            self.take_packet_ids(client_id, &mut online, now);
        }
        if let Some(live) = self.lives.get_mut(client_id) {
            live.online = Some(online);
            self.ready.insert(client_id.clone());
        }
        Ok(())
    }

    /// The session takes a block of packet identifiers that no memory has used on this connection.
    fn take_packet_ids(&mut self, client_id: &ClientId, online: &mut Online, now: UnixMillis) {
        let first = self.change(client_id).take_packet_ids();
        if online.packet_ids_from.replace(first).is_none() {
            begin_packet_ids(&mut online.outbound, first, now);
        }
    }

    /// The session's connection is over, or about to be: what is only in memory becomes rows.
    pub(super) fn go_offline(&mut self, client_id: &ClientId) -> Stored<()> {
        let Some(mut online) = self.lives.get_mut(client_id).and_then(|live| live.online.take()) else { return Ok(()) };
        self.ready.remove(client_id);
        for sequence in online.facts.keys().copied().collect::<Vec<_>>() {
            self.write(client_id, &mut online, sequence)?;
        }
        self.write_rows(client_id, &mut online);
        Ok(())
    }

    /// The connected half goes back to where it was taken from, when its rows say what is so.
    pub(super) fn put_back(&mut self, client_id: &ClientId, mut online: Box<Online>) {
        self.write_rows(client_id, &mut online);
        if let Some(live) = self.lives.get_mut(client_id) {
            live.online = Some(online);
        }
    }

    /// Writes what rows say that was changed.
    fn write_rows(&mut self, client_id: &ClientId, online: &mut Online) {
        for sequence in std::mem::take(&mut online.dirty_rows) {
            let Some(row) = online.rows.get(&sequence) else { continue };
            let is_gone = row.states.iter().all(Option::is_none);
            if is_gone {
                self.changes.delete_row(client_id, sequence);
            } else {
                self.changes.note_row(client_id, sequence, row.states.clone(), row.weight);
            }
            if is_gone || phase_of(&row.states) == Phase::Done {
                online.rows.remove(&sequence);
            }
        }
    }

    /// Makes the row of a message say what is so, and settles the publisher's part.
    fn write(&mut self, client_id: &ClientId, online: &mut Online, sequence: u64) -> Stored<()> {
        let Some(fact) = online.facts.get_mut(&sequence) else { return Ok(()) };
        let state = fact.state;
        match fact.stored {
            None => {
                if let Some(entry) = online.outbound.entry(sequence) {
                    let (delivery, joining) = (&entry.delivery, online.open_row);
                    let row = put_message(&mut self.changes, client_id, sequence, state, delivery, joining)?;
                    let stored = online.rows.entry(row).or_default();
                    stored.states.push(Some(state));
                    stored.weight += fact.weight;
                    online.open_row = Some(row);
                    fact.stored = Some((row, state));
                }
            }
            Some((row, noted)) if noted != state => {
                fact.stored = Some((row, state));
                let weight = fact.weight;
                online.note(row, sequence, Some(state), weight);
            }
            Some(_) => {}
        }
        if let Some(wait) = online.facts.get_mut(&sequence).and_then(|fact| fact.wait.take()) {
            self.settle(wait);
        }
        Ok(())
    }

    /// Takes a message for a session. `wait` is settled once the message is safe, if it is answered with `Pending`.
    pub(super) fn offer(
        &mut self,
        client_id: &ClientId,
        delivery: Delivery,
        wait: Option<u64>,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<Offered> {
        if self.closed_since(client_id).is_some() || !self.load_live(client_id, now, store)? {
            return Ok(Offered::NoSession);
        }
        let weight = delivery.publication.weight() as u64;
        if delivery.qos == Qos::AtMostOnce {
            self.offer_unstored(client_id, &delivery);
            return Ok(Offered::Safe);
        }
        let message_id = name_of(&delivery);
        let Some(live) = self.lives.get(client_id) else { return Ok(Offered::NoSession) };
        if message_id.is_some_and(|id| live.message_ids.contains(&id)) {
            return Ok(Offered::Safe);
        }
        if !self.has_room(client_id, weight, now, store)? {
            // The counter is written when something else of the row is.
            if let Some(client) = self.clients.get_mut(client_id) {
                client.dropped += 1;
            }
            self.note_dropping(client_id);
            return Ok(Offered::Dropped);
        }
        let (page_messages, page_bytes) = (self.settings.page_messages, self.settings.page_bytes);
        let Some(live) = self.lives.get_mut(client_id) else { return Ok(Offered::NoSession) };
        let sequence = live.next_sequence;
        live.next_sequence += 1;
        live.messages += 1;
        live.bytes += weight;
        live.is_dropping = false;
        live.message_ids.extend(message_id);
        let mut online = live.online.take();
        let Some(mut online) = online.take_if(|online| {
            online.backlog_after.is_none()
                && (online.outbound.has_room() || online.facts.len() < page_messages)
                && (online.outbound.is_idle() || online.outbound.bytes() < page_bytes)
        }) else {
            if let Some(mut online) = online {
                if online.backlog_after.is_none() {
                    online.backlog_after = Some(sequence.saturating_sub(1));
                    // What comes before a row is one as well, so that it isn't said again behind it if memory is lost.
                    for sequence in online.facts.keys().copied().collect::<Vec<_>>() {
                        self.write(client_id, &mut online, sequence)?;
                    }
                }
                self.put_back(client_id, online);
            }
            // Not into one of those rows: what is in memory of them would not know of it.
            let live = self.lives.get_mut(client_id);
            let joining = live.as_ref().and_then(|live| live.open_row);
            let row = put_message(&mut self.changes, client_id, sequence, MessageState::WAITING, &delivery, joining)?;
            if let Some(live) = live {
                live.open_row = Some(row);
            }
            return Ok(Offered::Safe);
        };
        online.facts.insert(
            sequence,
            Fact { weight, message_id, qos: delivery.qos, state: MessageState::WAITING, stored: None, wait: None },
        );
        let is_exactly_once = delivery.qos == Qos::ExactlyOnce;
        online.outbound.restore_entry(Entry { sequence, packet_id: None, phase: OutboundPhase::Waiting, delivery });
        self.pump_into(client_id, &mut online, now)?;
        let offered = match (wait, online.facts.get_mut(&sequence)) {
            // It had expired.
            (_, None) => Offered::Safe,
            (Some(wait), Some(fact)) if !is_exactly_once => {
                fact.wait = Some(wait);
                let name = Rc::clone(&online.client_id);
                self.slow.push_back((now.plus_millis(self.settings.slow_millis), name, sequence));
                Offered::Pending
            }
            // Nobody waits for it, or it is for QoS 2: it is a row before anything is said of it.
            (_, Some(_)) => {
                self.write(client_id, &mut online, sequence)?;
                Offered::Safe
            }
        };
        self.put_back(client_id, online);
        Ok(offered)
    }

    /// QoS 0: now or never.
    fn offer_unstored(&mut self, client_id: &ClientId, delivery: &Delivery) {
        let maximum = self.settings.page_bytes.saturating_mul(4);
        let Some(online) = self.lives.get_mut(client_id).and_then(|live| live.online.as_mut()) else { return };
        if online.outgoing_bytes > maximum {
            return;
        }
        online.say(Outgoing::Publish {
            packet_id: None,
            dup: false,
            qos: Qos::AtMostOnce,
            retain: delivery.retain,
            subscription_identifiers: delivery.subscription_identifiers.clone(),
            publication: Publication::clone(&delivery.publication),
        });
        self.ready.insert(client_id.clone());
    }

    /// Whether there is room for one more message; makes some by dropping expired ones.
    fn has_room(
        &mut self,
        client_id: &ClientId,
        weight: u64,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<bool> {
        const LOOK_AGAIN_MILLIS: u64 = 1_000;
        if now.millis_since(self.stored_bytes.0) >= LOOK_AGAIN_MILLIS || self.stored_bytes.0 == UnixMillis(0) {
            self.stored_bytes = (now, store.stored_bytes()?);
        }
        if self.stored_bytes.1 >= self.settings.maximum_stored_bytes {
            return Ok(false);
        }
        let (messages, bytes) = (self.settings.maximum_messages, self.settings.maximum_bytes as u64);
        let fits = |live: &Live| {
            live.messages < messages && (live.messages == 0 || live.bytes.saturating_add(weight) <= bytes)
        };
        let Some(live) = self.lives.get_mut(client_id) else { return Ok(false) };
        if fits(live) {
            return Ok(true);
        }
        if now.millis_since(live.expired_at) < LOOK_AGAIN_MILLIS {
            return Ok(false);
        }
        live.expired_at = now;
        self.commit(store)?;
        let expired = store.expired(client_id, now, messages)?;
        let Some(live) = self.lives.get_mut(client_id) else { return Ok(false) };
        for (sequence, weight) in expired {
            // What is in memory is found when its turn comes.
            if live.online.as_ref().is_none_or(|online| !online.facts.contains_key(&sequence)) {
                live.messages = live.messages.saturating_sub(1);
                live.bytes = live.bytes.saturating_sub(weight);
                self.changes.delete_row(client_id, sequence);
            }
        }
        Ok(fits(live))
    }

    /// Publishes what waits in memory, as far as the client's window is open.
    pub(super) fn pump(&mut self, client_id: &ClientId, now: UnixMillis) -> Stored<()> {
        let Some(mut online) = self.lives.get_mut(client_id).and_then(|live| live.online.take()) else { return Ok(()) };
        self.pump_into(client_id, &mut online, now)?;
        self.put_back(client_id, online);
        Ok(())
    }

    pub(super) fn pump_into(&mut self, client_id: &ClientId, online: &mut Online, now: UnixMillis) -> Stored<()> {
        if online.packet_ids_from.is_none() && online.facts.values().any(|fact| fact.state.phase == Phase::Waiting) {
            self.take_packet_ids(client_id, online, now);
        }
        loop {
            let next = online.outbound.next_waiting(now);
            for sequence in online.outbound.take_expired() {
                self.finish(client_id, online, sequence, true);
            }
            let Some(sending) = next else { break };
            let (sequence, packet_id, is_again) = (sending.sequence, sending.packet_id, sending.dup);
            online.say(publish(sending));
            if let Some(fact) = online.facts.get_mut(&sequence)
                && !is_again
            {
                fact.state = MessageState { packet_id, phase: Phase::Published };
                if fact.qos == Qos::ExactlyOnce {
                    self.write(client_id, online, sequence)?;
                } else if fact.stored.is_some() {
                    // Its row is told of the packet identifier only if the acknowledgement doesn't come at once.
                    let name = Rc::clone(&online.client_id);
                    self.slow.push_back((now.plus_millis(self.settings.slow_millis), name, sequence));
                }
            }
            let first = online.packet_ids_from.filter(|_| !is_again);
            if packet_id.zip(first).is_some_and(|(id, first)| is_used_up(first, id)) {
                self.take_packet_ids(client_id, online, now);
            }
        }
        if (!online.outgoing.is_empty() || online.backlog_after.is_some() && online.outbound.has_room())
            && !self.ready.contains(client_id)
        {
            self.ready.insert(client_id.clone());
        }
        Ok(())
    }

    /// A message is done with: the client has it, refused it, or it has expired. The publisher's part is settled.
    pub(super) fn finish(&mut self, client_id: &ClientId, online: &mut Online, sequence: u64, has_expired: bool) {
        let Some(fact) = online.facts.remove(&sequence) else { return };
        let is_remembered = fact.message_id.is_some() && !has_expired;
        if let Some((row, _)) = fact.stored {
            online.note(row, sequence, is_remembered.then_some(MessageState::DONE), fact.weight);
        }
        if let Some(live) = self.lives.get_mut(client_id) {
            live.messages = live.messages.saturating_sub(1);
            live.bytes = live.bytes.saturating_sub(fact.weight);
            match fact.message_id {
                Some(id) if is_remembered => {
                    live.recent.push_back((sequence, id));
                    let keep = self.settings.recent_messages;
                    // In bulk: a statement for many rows.
                    if live.recent.len() > keep + keep / 4 {
                        let old = live.recent.len() - keep;
                        for (sequence, id) in live.recent.drain(..old) {
                            live.message_ids.remove(&id);
                            self.changes.delete_row(client_id, sequence);
                        }
                    }
                }
                Some(id) => {
                    live.message_ids.remove(&id);
                }
                None => {}
            }
        }
        if let Some(wait) = fact.wait {
            self.settle(wait);
        }
    }

    /// A message that a publisher's part waits for is safe.
    pub(super) fn settle(&mut self, wait: u64) {
        let Some(part) = self.waits.get_mut(&wait) else { return };
        part.remaining = part.remaining.saturating_sub(1);
        if part.remaining == 0
            && let Some(Wait { broker, ticket, .. }) = self.waits.remove(&wait)
        {
            self.settled.entry(broker).or_default().push((ticket, true));
        }
    }

    /// Stores what clients have not acknowledged in time.
    pub(super) fn slow_due(&mut self, now: UnixMillis) -> Stored<()> {
        while let Some((at, client_id, sequence)) = self.slow.front() {
            let (at, client_id, sequence) = (*at, Rc::clone(client_id), *sequence);
            let online = self.lives.get_mut(&*client_id).and_then(|live| live.online.as_mut());
            let is_current = online.is_some_and(|online| {
                online.facts.get(&sequence).is_some_and(|fact| !fact.is_stored_as_it_is() || fact.wait.is_some())
            });
            if is_current && at > now {
                break;
            }
            self.slow.pop_front();
            if !is_current {
                continue;
            }
            let Some(mut online) = self.lives.get_mut(&*client_id).and_then(|live| live.online.take()) else {
                continue;
            };
            self.write(&client_id, &mut online, sequence)?;
            self.put_back(&client_id, online);
        }
        Ok(())
    }

    /// Reads stored messages of sessions that have room for them.
    pub(super) fn read_ready(&mut self, now: UnixMillis, store: &mut dyn SessionStore) -> Stored<()> {
        for client_id in self.ready.iter().cloned().collect::<Vec<_>>() {
            self.pump(&client_id, now)?;
            // Bounded by the window: expired messages take no place in it, so there may be several pages.
            while let Some(after) = self.backlog_with_room(&client_id) {
                self.commit(store)?;
                let (rows, bytes) = (self.settings.page_messages, self.settings.read_bytes);
                let page = store.waiting(&client_id, after, rows, bytes)?;
                let Some(online) = self.lives.get_mut(&client_id).and_then(|live| live.online.as_mut()) else { break };
                let last = page.rows.last().map(MessageRow::last_sequence);
                online.backlog_after = last.filter(|_| !page.is_last);
                for row in &page.rows {
                    let is_behind = |sequence, state: MessageState| sequence > after && state.phase == Phase::Waiting;
                    online.restore(row, is_behind)?;
                }
                self.pump(&client_id, now)?;
            }
            self.continue_drains(&client_id, now);
        }
        Ok(())
    }

    fn backlog_with_room(&self, client_id: &ClientId) -> Option<u64> {
        let online = self.lives.get(client_id)?.online.as_ref()?;
        // What a slow Broker has not taken waits in memory already.
        let is_slow = online.outgoing_bytes > self.settings.page_bytes.saturating_mul(2);
        let has_bytes = online.outbound.is_idle() || online.outbound.bytes() < self.settings.page_bytes;
        online.backlog_after.filter(|_| online.outbound.has_room() && has_bytes && !is_slow)
    }

    /// Gives a session's packets to its Broker.
    pub(super) fn send(&mut self, client_id: &ClientId) {
        let Some(online) = self.lives.get_mut(client_id).and_then(|live| live.online.as_mut()) else { return };
        let (connection, number) = (online.connection, online.number);
        let target = Address::Broker(online.broker.clone());
        while !online.outgoing.is_empty() {
            if self.outbox.waiting_bytes(&target) + self.settings.send_bytes > self.settings.channel.target_bytes {
                // The Broker is slow: the packets wait here, and nothing is published behind them.
                self.ready.insert(client_id.clone());
                return;
            }
            let packets = online.take_outgoing(self.settings.send_bytes);
            let request = BrokerRequest::Send { connection, number, packets };
            let told = Told::Send { client_id: client_id.clone(), number };
            if self.outbox.push(target.clone(), messages::Request::Broker(request), told).is_err() {
                // Nothing is lost that was stored, and QoS 0 may be.
                return;
            }
        }
    }

    /// Tells once that a session drops messages, until it has taken one again.
    fn note_dropping(&mut self, client_id: &ClientId) {
        if let Some(live) = self.lives.get_mut(client_id)
            && !std::mem::replace(&mut live.is_dropping, true)
        {
            self.note(LogEvent::Dropping { client_id: client_id.clone() });
        }
    }

    /// Whether a member of a shared group can take a message at once.
    pub(super) fn can_take(&self, client_id: &ClientId) -> bool {
        let online = self.lives.get(client_id).and_then(|live| live.online.as_ref());
        online.is_some_and(|online| online.backlog_after.is_none() && online.outbound.has_room())
    }

    pub(super) fn is_online(&self, client_id: &ClientId) -> bool {
        self.lives.get(client_id).is_some_and(|live| live.online.is_some())
    }

    /// Whether a session has had a message of QoS 2.
    pub(super) fn has_had(&self, client_id: &ClientId, publication: &Publication) -> bool {
        let live = self.lives.get(client_id);
        publication.message_id.is_some_and(|id| live.is_some_and(|live| live.message_ids.contains(&id)))
    }
}

/// Lets an [`Outbound`] use packet identifiers from here on: one message that is done with has the one before.
fn begin_packet_ids(outbound: &mut Outbound, first: u16, now: UnixMillis) {
    let Some(mut before) = PacketId::new(if first <= 1 { u16::MAX } else { first - 1 }) else { return };
    let used: BTreeSet<PacketId> = outbound.entries().filter_map(|entry| entry.packet_id).collect();
    while used.contains(&before) {
        before = before.next();
    }
    let publication = Rc::new(Publication::of_platform(String::new(), "", Qos::AtLeastOnce, now));
    let delivery = Delivery { publication, qos: Qos::AtLeastOnce, retain: false, subscription_identifiers: Vec::new() };
    outbound.restore_entry(Entry { sequence: 0, packet_id: Some(before), phase: OutboundPhase::Published, delivery });
    outbound.discard(0);
}

/// Whether the block of packet identifiers ends with this one.
fn is_used_up(first: u16, packet_id: PacketId) -> bool {
    let distance = (u32::from(packet_id.get()) + u32::from(u16::MAX) - u32::from(first)) % u32::from(u16::MAX);
    distance + 1 >= u32::from(PACKET_ID_BLOCK)
}
