//! Messages for sessions here, what their clients answer, and what they publish with QoS 2.

use super::queue::Offered;
use super::{Asker, SessionsShard, Stored, Wait};
use crate::store::{Phase, Received, SessionStore};
use iot_types::{ClientId, PacketId, UnixMillis};
use messages::publication::{MessageId, Publication};
use messages::session::{Acknowledgement, AcknowledgementKind, Outgoing, SubscriptionOptions};
use messages::sessions::{ReceivedState, SharedReply};
use messages::{Refusal, Reply};
use mqtt_session::{Delivery, PubRec};
use std::rc::Rc;

impl SessionsShard {
    pub(super) fn deliver(
        &mut self,
        publication: Publication,
        ticket: Option<u64>,
        asker: Option<&Asker>,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<Reply> {
        let wait = self.name_wait(ticket, asker);
        let publication = Rc::new(publication);
        let mut pending = 0;
        let mut is_missed = self.may_have_missed(publication.accepted_at, now);
        for found in self.subscriptions.matches(&publication) {
            if let Some(safe_since) = self.closed_since(&found.client_id) {
                is_missed |= publication.accepted_at < safe_since;
                continue;
            }
            self.replays.note_live(&found.client_id, &publication.topic);
            let delivery = Delivery {
                publication: Rc::clone(&publication),
                qos: found.qos,
                retain: found.retain,
                subscription_identifiers: found.subscription_identifiers,
            };
            let offered = self.offer(&found.client_id, delivery, wait, now, store)?;
            pending += usize::from(offered == Offered::Pending);
        }
        if is_missed && ticket.is_some() {
            // Too late for a session that has left, and perhaps too early for its new object.
            return Ok(Reply::Refused(Refusal::Unavailable));
        }
        Ok(if self.begin_wait(wait, pending, ticket, asker) { Reply::Pending } else { Reply::Applied })
    }

    pub(super) fn deliver_shared(
        &mut self,
        shared_filter: &str,
        publication: &Publication,
        ticket: Option<u64>,
        asker: Option<&Asker>,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<Reply> {
        let wait = self.name_wait(ticket, asker);
        let Some(members) = self.subscriptions.members(shared_filter) else {
            return Ok(Reply::Shared(SharedReply::NoMember));
        };
        for (client_id, _) in &members {
            self.load_live(client_id, now, store)?;
            if self.has_had(client_id, publication) {
                return Ok(Reply::Shared(SharedReply::Taken));
            }
        }
        // First those who can have it at once, then those with somebody there.
        for needs_room in [true, false] {
            for (client_id, options) in &members {
                let is_candidate = self.is_online(client_id) && (self.can_take(client_id) == needs_room);
                if !is_candidate {
                    continue;
                }
                let offered = self.offer(client_id, to_member(publication, *options), wait, now, store)?;
                if matches!(offered, Offered::Safe | Offered::Pending) {
                    self.subscriptions.note_turn(shared_filter, client_id.clone());
                    let is_pending = self.begin_wait(wait, usize::from(offered == Offered::Pending), ticket, asker);
                    return Ok(Reply::Shared(if is_pending { SharedReply::Pending } else { SharedReply::Taken }));
                }
            }
        }
        self.drains.note_declined(shared_filter, now);
        Ok(Reply::Shared(SharedReply::NobodyOnline))
    }

    pub(super) fn direct(
        &mut self,
        client_id: &ClientId,
        publication: &Publication,
        ticket: Option<u64>,
        asker: Option<&Asker>,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<Reply> {
        if !self.load_live(client_id, now, store)? || !self.is_online(client_id) {
            return Ok(Reply::Refused(Refusal::Unavailable));
        }
        let wait = self.name_wait(ticket, asker);
        let delivery = Delivery {
            publication: Rc::new(publication.clone()),
            qos: publication.qos,
            retain: false,
            subscription_identifiers: Vec::new(),
        };
        Ok(match self.offer(client_id, delivery, wait, now, store)? {
            Offered::Safe => Reply::Applied,
            Offered::Pending => {
                self.begin_wait(wait, 1, ticket, asker);
                Reply::Pending
            }
            Offered::Dropped => Reply::Refused(Refusal::Full),
            Offered::NoSession => Reply::Refused(Refusal::Unavailable),
        })
    }

    /// A number for a publisher's part, if a Broker waits for it. What nobody waits for is stored at once.
    fn name_wait(&mut self, ticket: Option<u64>, asker: Option<&Asker>) -> Option<u64> {
        (ticket.is_some() && asker.is_some()).then(|| {
            self.next_wait += 1;
            self.next_wait
        })
    }

    /// Whether there is something to wait for.
    fn begin_wait(&mut self, wait: Option<u64>, remaining: usize, ticket: Option<u64>, asker: Option<&Asker>) -> bool {
        let (Some(wait), Some(ticket), Some(asker)) = (wait, ticket, asker) else { return false };
        if remaining > 0 {
            let (broker, instance) = (Rc::clone(&asker.broker), asker.instance);
            self.waits.insert(wait, Wait { broker, instance, ticket, remaining });
        }
        remaining > 0
    }

    /// Whether the number is that of the client's present connection and its session is the shard's.
    fn may_speak(
        &mut self,
        client_id: &ClientId,
        number: u64,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<Result<(), Refusal>> {
        if !self.load_client(client_id, store)? {
            return Ok(Err(Refusal::Superseded));
        }
        let client = self.clients.get(client_id);
        if client.is_none_or(|client| client.connection(number).is_none()) {
            return Ok(Err(Refusal::Superseded));
        }
        if client.and_then(|client| client.session.as_ref()).is_none() {
            return Ok(Err(Refusal::WrongClass));
        }
        self.load_live(client_id, now, store)?;
        Ok(Ok(()))
    }

    pub(super) fn speaks(
        &mut self,
        client_id: &ClientId,
        number: u64,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<Option<Reply>> {
        Ok(self.may_speak(client_id, number, now, store)?.err().map(Reply::Refused))
    }

    pub(super) fn acknowledge(
        &mut self,
        client_id: &ClientId,
        number: u64,
        acknowledgements: &[Acknowledgement],
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<Reply> {
        if let Some(refused) = self.speaks(client_id, number, now, store)? {
            return Ok(refused);
        }
        let Some(mut online) = self.lives.get_mut(client_id).and_then(|live| live.online.take()) else {
            return Ok(Reply::Applied);
        };
        for Acknowledgement { packet_id, kind } in acknowledgements {
            let packet_id = *packet_id;
            let done = match kind {
                AcknowledgementKind::PubAck => online.outbound.puback(packet_id),
                AcknowledgementKind::PubComp => online.outbound.pubcomp(packet_id),
                AcknowledgementKind::PubRec | AcknowledgementKind::PubRecFailed => {
                    let failed = *kind == AcknowledgementKind::PubRecFailed;
                    let pubrel = |is_unknown| Outgoing::PubRel { packet_id, is_unknown };
                    match online.outbound.pubrec(packet_id, failed) {
                        PubRec::Release(sequence) => {
                            if let Some(fact) = online.facts.get_mut(&sequence) {
                                fact.state.phase = Phase::Released;
                                let (state, weight) = (fact.state, fact.weight);
                                if let Some((row, noted)) = &mut fact.stored {
                                    *noted = state;
                                    let row = *row;
                                    online.note(row, sequence, Some(state), weight);
                                }
                            }
                            online.say(pubrel(false));
                            None
                        }
                        PubRec::Done(sequence) => Some(sequence),
                        PubRec::Again => {
                            online.say(pubrel(false));
                            None
                        }
                        PubRec::Unknown => {
                            if !failed {
                                online.say(pubrel(true));
                            }
                            None
                        }
                    }
                }
            };
            if let Some(sequence) = done {
                self.finish(client_id, &mut online, sequence, false);
            }
        }
        self.pump_into(client_id, &mut online, now)?;
        self.put_back(client_id, online);
        self.ready.insert(client_id.clone());
        self.continue_replays(client_id);
        Ok(Reply::Applied)
    }

    /// What the client publishes with QoS 2, read if it hasn't been.
    fn received(
        &mut self,
        client_id: &ClientId,
        store: &mut dyn SessionStore,
    ) -> Stored<Option<&mut crate::live::Live>> {
        let Some(live) = self.lives.get_mut(client_id) else { return Ok(None) };
        if live.received.is_none() {
            // Nothing of it can wait to be written: whatever writes it has read it.
            live.received = Some(store.received(client_id)?.into_iter().collect());
        }
        Ok(Some(live))
    }

    pub(super) fn receive(
        &mut self,
        client_id: &ClientId,
        number: u64,
        packet_id: PacketId,
        message_id: MessageId,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<Reply> {
        if let Some(refused) = self.speaks(client_id, number, now, store)? {
            return Ok(refused);
        }
        let maximum = self.settings.maximum_received;
        let Some(received) = self.received(client_id, store)?.and_then(|live| live.received.as_mut()) else {
            return Ok(Reply::Refused(Refusal::Unavailable));
        };
        if let Some(known) = received.get(&packet_id) {
            let state = ReceivedState { message_id: known.message_id, is_settled: known.is_settled };
            return Ok(Reply::Received(state));
        }
        if received.len() >= maximum {
            return Ok(Reply::Refused(Refusal::Full));
        }
        let row = Received { message_id, is_settled: false };
        received.insert(packet_id, row);
        self.changes.received.insert((client_id.clone(), packet_id), Some(row));
        Ok(Reply::Received(ReceivedState { message_id, is_settled: false }))
    }

    pub(super) fn receive_settled(
        &mut self,
        client_id: &ClientId,
        number: u64,
        packet_id: PacketId,
        is_safe: bool,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<Reply> {
        if let Some(refused) = self.speaks(client_id, number, now, store)? {
            return Ok(refused);
        }
        let Some(received) = self.received(client_id, store)?.and_then(|live| live.received.as_mut()) else {
            return Ok(Reply::Refused(Refusal::Unavailable));
        };
        let Some(row) = received.get_mut(&packet_id) else { return Ok(Reply::Applied) };
        let change = if is_safe {
            row.is_settled = true;
            Some(*row)
        } else {
            received.remove(&packet_id);
            None
        };
        self.changes.received.insert((client_id.clone(), packet_id), change);
        Ok(Reply::Applied)
    }

    pub(super) fn pubrel(
        &mut self,
        client_id: &ClientId,
        number: u64,
        packet_id: PacketId,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<Reply> {
        if let Some(refused) = self.speaks(client_id, number, now, store)? {
            return Ok(refused);
        }
        let Some(received) = self.received(client_id, store)?.and_then(|live| live.received.as_mut()) else {
            return Ok(Reply::Refused(Refusal::Unavailable));
        };
        if received.remove(&packet_id).is_some() {
            self.changes.received.insert((client_id.clone(), packet_id), None);
        }
        Ok(Reply::Applied)
    }
}

pub(super) fn to_member(publication: &Publication, options: SubscriptionOptions) -> Delivery {
    Delivery {
        publication: Rc::new(publication.clone()),
        qos: publication.qos.min(options.qos),
        retain: options.retain_as_published && publication.retain,
        subscription_identifiers: options.subscription_identifier.into_iter().collect(),
    }
}
