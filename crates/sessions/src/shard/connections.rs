//! Claims and endings: who has a client id, what a session is when its connection changes, wills and presence.

use super::brokers::PAGE;
use super::events::{Presence, presence};
use super::{Asker, LogEvent, SessionsShard, Stored, Told};
use crate::claims::{Claimed, Holder};
use crate::client::{Client, Connection, DelayedWill, Last, Session};
use crate::live::Live;
use crate::store::SessionStore;
use iot_types::{ClientId, Qos, UnixMillis};
use messages::Reply;
use messages::address::{Address, BrokerId, stable_hash};
use messages::broker::{BrokerRequest, ConnectionId, FenceReason};
use messages::channel::Undelivered;
use messages::publication::{MessageId, Publication};
use messages::session::{Claim, DisconnectReason, Ending, Grant, NEVER_EXPIRES, WillMessage};
use messages::sessions::ClaimReply;

impl SessionsShard {
    pub(super) fn claim(
        &mut self,
        client_id: &ClientId,
        asker: &Asker,
        connection: ConnectionId,
        claim: &Claim,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<Reply> {
        self.load_client(client_id, store)?;
        let mut client = self.clients.remove(client_id).unwrap_or_default();
        let by = (BrokerId::clone(&asker.broker), asker.epoch, connection);
        let claimed = client.claim(by, claim.clone(), now, |holder| self.is_gone(holder));
        self.clients.insert(client_id.clone(), client);
        let Claimed::New { refused, fence, gone } = claimed else {
            return Ok(Reply::Claim(self.claim_reply(client_id)));
        };
        self.change(client_id);
        if claim.session_expiry > 0 || claim.will.is_some() {
            self.watch(&asker.broker);
        }
        // From here on the session's messages are stored: its older connection has nothing to say any more.
        self.go_offline(client_id)?;
        if let Some(refused) = refused {
            let decided = BrokerRequest::ClaimDecided { connection: refused.connection, grant: None };
            self.tell(refused.broker, decided, Told::News);
        }
        if let Some(gone) = gone {
            // The platform has lost the connection, and the client is back: nobody has to hear its will.
            let ending = Ending { reason: DisconnectReason::ServerError, publishes_will: false, session_expiry: None };
            self.end(client_id, *gone, &ending, (now, now), Some(BrokerId::clone(&asker.broker)))?;
        }
        if let Some(fence) = fence {
            self.fence(client_id, &fence, FenceReason::TakenOver, now);
        }
        self.grant_if_free(client_id, now, store)?;
        Ok(Reply::Claim(self.claim_reply(client_id)))
    }

    fn claim_reply(&self, client_id: &ClientId) -> ClaimReply {
        match self.clients.get(client_id).and_then(Client::granted) {
            Some(current) => ClaimReply::Granted(Box::new(Grant {
                number: current.holder.number,
                session_present: current.session_present,
                subscriptions: self.subscriptions.options(client_id),
            })),
            None => ClaimReply::Pending,
        }
    }

    /// Grants the claim that waits, if there is nothing that it has to wait for any more. Whether it did.
    fn grant_if_free(&mut self, client_id: &ClientId, now: UnixMillis, store: &mut dyn SessionStore) -> Stored<bool> {
        let Some(client) = self.clients.get(client_id) else { return Ok(false) };
        let Some(current) = client.current.as_ref().filter(|current| !current.is_granted) else { return Ok(false) };
        if client.has_to_wait() {
            return Ok(false);
        }
        if self.is_gone(&current.holder) {
            // While it waited its Broker was lost: there is nobody to grant it to.
            self.change(client_id).current = None;
            return Ok(false);
        }
        let (clean_start, session_expiry) = (current.claim.clean_start, current.claim.session_expiry);
        let broker = current.holder.broker.clone();
        let is_v5 = current.claim.details.is_v5;
        let is_any_version = self.settings.resumes_other_version;
        let is_alive = |session: &Session| {
            session.expires_at.is_none_or(|at| at > now) && (is_any_version || session.is_v5 == is_v5)
        };
        let is_resumed = client.session.as_ref().is_some_and(is_alive) && !clean_start;
        if client.will.as_ref().is_some_and(|will| will.is_excused) {
            self.change(client_id).will = None;
        }
        if !is_resumed {
            self.end_session(client_id, now, Some(&broker))?;
        }
        let client = self.change(client_id);
        if is_resumed {
            // [MQTT-3.1.3-9]
            client.will = None;
        }
        if is_resumed || session_expiry > 0 {
            client.session = Some(Session { expiry: session_expiry, expires_at: None, is_v5 });
        }
        let version = client.next_version;
        client.next_version += 1;
        let Some(current) = &mut client.current else { return Ok(false) };
        current.is_granted = true;
        current.session_present = is_resumed;
        current.version = version;
        current.connected_at = now;
        let event = presence(client_id, current, Presence::Connected, now);
        if let Some(event) = event {
            self.publish(client_id, event, Some(broker), false);
        }
        if is_resumed {
            self.load_stored(client_id, store)?;
            self.go_online(client_id, true, now, store)?;
            self.continue_replays(client_id);
            self.drain_groups(client_id, now);
        } else if session_expiry > 0 {
            self.lives.insert(
                client_id.clone(),
                Live { next_sequence: 1, received: Some(Default::default()), ..Live::default() },
            );
            self.go_online(client_id, true, now, store)?;
        }
        Ok(true)
    }

    /// The same for a claim that was answered with `Pending`.
    fn grant_late(&mut self, client_id: &ClientId, now: UnixMillis, store: &mut dyn SessionStore) -> Stored<()> {
        if self.grant_if_free(client_id, now, store)?
            && let ClaimReply::Granted(grant) = self.claim_reply(client_id)
            && let Some(current) = self.clients.get(client_id).and_then(Client::granted)
        {
            let (broker, connection) = (current.holder.broker.clone(), current.holder.connection);
            let decided = BrokerRequest::ClaimDecided { connection, grant: Some(grant) };
            self.tell(broker, decided, Told::News);
        }
        Ok(())
    }

    pub(super) fn release(
        &mut self,
        client_id: &ClientId,
        number: u64,
        ending: &Ending,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<()> {
        if !self.load_client(client_id, store)? {
            return Ok(());
        }
        let Some(client) = self.clients.get(client_id) else { return Ok(()) };
        let is_current = client.current.as_ref().is_some_and(|current| current.holder.number == number);
        if is_current {
            self.go_offline(client_id)?;
            let Some(connection) = self.change(client_id).current.take() else { return Ok(()) };
            // A claim that was never granted has neither will nor session to its name; those before it still do.
            if connection.is_granted {
                let broker = connection.holder.broker.clone();
                self.end(client_id, connection, ending, (now, now), Some(broker))?;
            }
            return Ok(());
        }
        self.older_closed(client_id, number, Some(ending), now, store)
    }

    /// An older connection has closed.
    fn older_closed(
        &mut self,
        client_id: &ClientId,
        number: u64,
        words: Option<&Ending>,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<()> {
        self.fencing.remove(&(client_id.clone(), number));
        self.fenced.remove(&(client_id.clone(), number));
        if !self.load_client(client_id, store)? {
            return Ok(());
        }
        let Some(client) = self.clients.get(client_id) else { return Ok(()) };
        if !client.older.iter().any(|older| older.holder.number == number) {
            return Ok(());
        }
        if let Some((connection, ending)) = self.change(client_id).closed(number, words) {
            let broker = connection.holder.broker.clone();
            self.end(client_id, connection, &ending, (now, now), Some(broker))?;
            self.grant_late(client_id, now, store)?;
        }
        Ok(())
    }

    /// An older connection is gone with its Broker's memory.
    fn older_gone(
        &mut self,
        client_id: &ClientId,
        number: u64,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<()> {
        let older = self.change(client_id).older.iter_mut().find(|older| older.holder.number == number);
        if let Some((_, ending)) = older.and_then(|older| older.unsettled.as_deref_mut())
            && ending.reason == DisconnectReason::DuplicateClientId
        {
            *ending = Ending { reason: DisconnectReason::ServerError, publishes_will: false, session_expiry: None };
        }
        self.older_closed(client_id, number, None, now, store)
    }

    /// What follows from the end of a connection that had been granted, at the first of the two times; the second is
    /// the present.
    pub(super) fn end(
        &mut self,
        client_id: &ClientId,
        connection: Connection,
        ending: &Ending,
        (at, now): (UnixMillis, UnixMillis),
        broker: Option<BrokerId>,
    ) -> Stored<()> {
        let expiry = ending.session_expiry.unwrap_or(connection.claim.session_expiry);
        let is_over = expiry == 0;
        let number = connection.holder.number;
        if let Some(event) = presence(client_id, &connection, Presence::Disconnected(ending.reason), at) {
            self.publish(client_id, event, broker.clone(), false);
        }
        let client = self.change(client_id);
        let is_clean = client.session.is_none();
        if let Some(session) = &mut client.session {
            session.expiry = expiry;
            session.expires_at = (expiry != NEVER_EXPIRES).then(|| at.plus_secs(expiry.into()));
        }
        client.last = Some(Last {
            details: (*connection.claim.details).clone(),
            is_clean,
            session_expiry: expiry,
            connected_at: connection.connected_at,
            ended_at: at,
            reason: ending.reason,
        });
        if let Some(will) = connection.claim.will.filter(|_| ending.publishes_will) {
            // The will comes with the end of the session if that is earlier ([MQTT-3.1.2-8]).
            let delay = if is_clean { 0 } else { will.delay.min(expiry) };
            // Sent elsewhere, or closed for want of something that is ours to have: it comes back like the client of a
            // Broker that was lost.
            let is_gone = self.is_gone(&connection.holder) && at == now;
            let is_excused = ending.reason == DisconnectReason::ServerInitiated || is_gone;
            let grace = if is_excused { self.settings.grace_millis } else { 0 };
            let due_at = at.plus_secs(delay.into()).max(at.plus_millis(grace));
            if due_at <= now {
                self.publish_will(client_id, &will, number, broker.clone(), now);
            } else {
                self.change(client_id).will = Some(DelayedWill { will: *will, number, due_at, is_excused });
            }
        }
        if is_over && !is_clean {
            self.end_session(client_id, now, broker.as_ref())?;
        }
        Ok(())
    }

    /// Forgets a session, if there is one, and publishes the will that waits for it.
    fn end_session(&mut self, client_id: &ClientId, now: UnixMillis, broker: Option<&BrokerId>) -> Stored<()> {
        self.go_offline(client_id)?;
        let client = self.change(client_id);
        // One that is excused waits for its client, whose session may well have ended with the connection.
        let will = client.will.take_if(|will| !will.is_excused);
        let had_session = client.session.take().is_some();
        if let Some(will) = will {
            self.publish_will(client_id, &will.will, will.number, broker.cloned(), now);
        }
        if had_session {
            self.lives.remove(client_id);
            self.ready.remove(client_id);
            self.replays.forget(client_id);
            self.changes.forget_session(client_id);
            self.unsubscribe_all(client_id);
        }
        Ok(())
    }

    fn publish_will(
        &mut self,
        client_id: &ClientId,
        will: &WillMessage,
        number: u64,
        broker: Option<BrokerId>,
        now: UnixMillis,
    ) {
        // Stable, however often the will is given to a Broker. Claims of one millisecond have the same number, so the
        // client id is part of it; the bit is one that the messages of a connection, which count up, never have.
        let client = stable_hash(client_id.as_str().as_bytes());
        let message_id = MessageId { origin: number, number: client | 1 << 43 };
        let publication = Publication {
            topic: will.topic.clone(),
            payload: will.payload.clone(),
            qos: will.qos,
            retain: will.retain,
            properties: will.properties.clone(),
            client_id: Some(client_id.as_str().to_owned()),
            accepted_at: now,
            message_id: (will.qos == Qos::ExactlyOnce).then_some(message_id),
        };
        self.publish(client_id, publication, broker, true);
    }

    /// DeleteConnection: the connection has to close, and says nothing any more.
    pub(super) fn disconnect(
        &mut self,
        client_id: &ClientId,
        clean_session: bool,
        prevents_will: bool,
        now: UnixMillis,
    ) -> Stored<()> {
        self.go_offline(client_id)?;
        let client = self.change(client_id);
        if prevents_will {
            client.will = None;
        }
        match client.current.take() {
            Some(connection) if connection.is_granted => {
                let ending = Ending {
                    reason: DisconnectReason::ApiInitiated,
                    publishes_will: !prevents_will,
                    session_expiry: clean_session.then_some(0),
                };
                let holder = connection.holder.clone();
                if clean_session {
                    // Not after the fence: nobody shall find the session from here on.
                    self.end(client_id, connection, &ending, (now, now), Some(holder.broker.clone()))?;
                    self.change(client_id).older.push(crate::claims::Older {
                        holder: holder.clone(),
                        since: now,
                        unsettled: None,
                    });
                } else {
                    client.close(connection, ending, now);
                }
                self.fence(client_id, &holder, FenceReason::Administrative { prevents_will }, now);
            }
            waiting => {
                client.current = waiting;
                if clean_session && client.session.is_some() {
                    self.end_session(client_id, now, None)?;
                }
            }
        }
        Ok(())
    }

    /// A connection couldn't be told something that it must not miss: it is closed, and its client finds everything
    /// stored when it connects again.
    pub(super) fn lose(
        &mut self,
        client_id: &ClientId,
        number: u64,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<()> {
        if !self.load_client(client_id, store)? {
            return Ok(());
        }
        if self.clients.get(client_id).is_none_or(|client| client.connection(number).is_none()) {
            return Ok(());
        }
        self.go_offline(client_id)?;
        let client = self.change(client_id);
        let Some(connection) = client.current.take() else { return Ok(()) };
        let holder = connection.holder.clone();
        let ending = Ending { reason: DisconnectReason::ServerError, publishes_will: true, session_expiry: None };
        client.close(connection, ending, now);
        // Nor must it get what comes behind: that would overtake.
        self.outbox.discard(
            &Address::Broker(holder.broker.clone()),
            |told| matches!(told, Told::Send { client_id: of, number: sent } if of == client_id && *sent == number),
        );
        self.fence(client_id, &holder, FenceReason::Administrative { prevents_will: false }, now);
        self.note(LogEvent::ConnectionLost { client_id: client_id.clone() });
        Ok(())
    }

    fn fence(&mut self, client_id: &ClientId, old: &Holder, reason: FenceReason, now: UnixMillis) {
        let number = old.number;
        self.fencing.entry((client_id.clone(), number)).or_insert(now);
        self.tell_fence(client_id, old, reason);
    }

    fn tell_fence(&mut self, client_id: &ClientId, old: &Holder, reason: FenceReason) {
        let number = old.number;
        self.fenced.insert((client_id.clone(), number));
        let fence = BrokerRequest::Fence { connection: old.connection, client_id: client_id.clone(), reason };
        // A Broker too far behind to be told: the row names the connection, and its time comes.
        self.tell(old.broker.clone(), fence, Told::Fence { client_id: client_id.clone(), number });
    }

    /// What a Broker said when it was asked to close a connection.
    pub(super) fn fence_answered(
        &mut self,
        client_id: &ClientId,
        number: u64,
        result: &Result<Reply, Undelivered>,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<()> {
        if self.is_fixed(client_id) || !self.load_client(client_id, store)? {
            self.fencing.remove(&(client_id.clone(), number));
            return Ok(());
        }
        let older = self
            .clients
            .get(client_id)
            .and_then(|client| client.older.iter().find(|older| older.holder.number == number).cloned());
        let Some(older) = older else {
            self.fencing.remove(&(client_id.clone(), number));
            return Ok(());
        };
        if self.is_gone(&older.holder) {
            // As if it had been known when the client came back: nobody has to hear the will.
            return self.older_gone(client_id, number, now, store);
        }
        if result.is_ok() {
            return self.older_closed(client_id, number, None, now, store);
        }
        let is_out_of_reach = *result == Err(Undelivered::Unreachable);
        if is_out_of_reach && now.millis_since(older.since) < self.settings.fence_attempts_millis {
            self.fence(client_id, &older.holder, FenceReason::TakenOver, now);
        }
        Ok(())
    }

    /// Older connections that a memory before this one asked to close, and that may not have heard it.
    pub(super) fn fence_again(&mut self, now: UnixMillis, store: &mut dyn SessionStore) -> Stored<()> {
        // Those that are not among the first are asked when their time is up.
        let soon = now.plus_millis(self.settings.fence_attempts_millis);
        for client_id in store.clients_due(soon, PAGE, &self.foreign())? {
            self.load_client(&client_id, store)?;
            self.fence_older(&client_id);
        }
        Ok(())
    }

    /// Asks a client's older connections to close that nobody waits for.
    pub(super) fn fence_older(&mut self, client_id: &ClientId) {
        let older = self.clients.get(client_id).map(|client| client.older.clone()).unwrap_or_default();
        for older in older.into_iter().filter(|older| older.unsettled.is_none()) {
            self.tell_fence(client_id, &older.holder, FenceReason::TakenOver);
        }
    }

    /// Goes on without older connections that have been asked for long enough.
    pub(super) fn fences_due(&mut self, now: UnixMillis, store: &mut dyn SessionStore) -> Stored<()> {
        let wait = self.settings.fence_millis;
        let due = self.fencing.iter().filter(|(_, since)| since.plus_millis(wait) <= now);
        for (client_id, number) in due.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.fencing.remove(&(client_id.clone(), number));
            if self.load_client(&client_id, store)? {
                self.overdue(&client_id, now, store)?;
            }
        }
        Ok(())
    }

    fn overdue(&mut self, client_id: &ClientId, now: UnixMillis, store: &mut dyn SessionStore) -> Stored<()> {
        let Some(client) = self.clients.get(client_id) else { return Ok(()) };
        if !client.has_to_wait() {
            return Ok(());
        }
        let fence_millis = self.settings.fence_millis;
        for (connection, ending) in self.change(client_id).overdue(now, fence_millis) {
            let broker =
                self.clients.get(client_id).and_then(|client| Some(client.current.as_ref()?.holder.broker.clone()));
            self.end(client_id, connection, &ending, (now, now), broker)?;
        }
        self.grant_late(client_id, now, store)
    }

    /// Deals with the rows whose time has come.
    pub(super) fn rows_due(&mut self, now: UnixMillis, store: &mut dyn SessionStore) -> Stored<()> {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return Ok(());
        }
        loop {
            self.commit(store)?;
            // Those of virtual shards on the move are the other object's, or will be.
            let foreign = self.foreign();
            let due = store.clients_due(now, PAGE, &foreign)?;
            if due.is_empty() {
                self.deadline = store.next_deadline(&foreign)?;
                break;
            }
            for client_id in due {
                self.row_due(&client_id, now, store)?;
            }
        }
        Ok(())
    }

    fn row_due(&mut self, client_id: &ClientId, now: UnixMillis, store: &mut dyn SessionStore) -> Stored<()> {
        if !self.load_client(client_id, store)? {
            return Ok(());
        }
        let (wait, attempts) = (self.settings.fence_millis, self.settings.fence_attempts_millis);
        let client = self.change(client_id);
        if client.will.as_ref().is_some_and(|will| will.due_at <= now)
            && let Some(will) = client.will.take()
        {
            self.publish_will(client_id, &will.will, will.number, None, now);
        }
        let client = self.change(client_id);
        let expires_at = client.session.as_ref().and_then(|session| session.expires_at);
        if expires_at.is_some_and(|at| at <= now) {
            self.end_session(client_id, now, None)?;
        }
        let (fencing, fenced) = (std::mem::take(&mut self.fencing), std::mem::take(&mut self.fenced));
        let mut again = Vec::new();
        self.change(client_id).older.retain_mut(|older| {
            let waited = now.millis_since(older.since);
            let is_asked = fenced.contains(&(client_id.clone(), older.holder.number));
            if older.unsettled.is_none() && (waited < attempts || is_asked) {
                return waited < attempts;
            }
            if older.unsettled.is_none()
                || waited >= wait && !fencing.contains_key(&(client_id.clone(), older.holder.number))
            {
                // A memory before this one asked, or it could not: its time begins again.
                older.since = now;
                again.push(older.holder.clone());
            }
            true
        });
        (self.fencing, self.fenced) = (fencing, fenced);
        for holder in again {
            self.fence(client_id, &holder, FenceReason::TakenOver, now);
        }
        self.overdue(client_id, now, store)?;
        self.grant_late(client_id, now, store)?;
        let forget_at = self.clients.get(client_id).and_then(|client| client.forget_at(&self.settings));
        if forget_at.is_some_and(|at| at <= now) {
            let is_published = self
                .clients
                .get(client_id)
                .is_none_or(|client| client.unpublished.iter().all(|(sequence, _)| !self.events.is_pending(*sequence)));
            let has_last = self.clients.get(client_id).is_some_and(|client| client.last.is_some());
            if is_published || !has_last {
                self.clients.remove(client_id);
                self.dirty.remove(client_id);
                self.changes.clients.insert(client_id.clone(), None);
            } else if let Some(last) = &mut self.change(client_id).last {
                last.ended_at = now;
            }
        }
        Ok(())
    }
}
