//! SUBSCRIBE and UNSUBSCRIBE of durable sessions: rows, and the word to the Routers.

use super::{SessionsShard, Stored, Told};
use crate::client::Client;
use crate::store::SessionStore;
use iot_types::{ClientId, PacketId, UnixMillis};
use messages::Reply;
use messages::Request;
use messages::address::Address;
use messages::broker::BrokerRequest;
use messages::channel::Undelivered;
use messages::session::SubscriptionOptions;
use routing::Registration;

/// A SUBSCRIBE whose filters the Routers have yet to hear of.
#[derive(Debug)]
pub(super) struct Subscribing {
    client_id: ClientId,
    number: u64,
    packet_id: PacketId,
    filters: Vec<(String, Option<bool>)>,
}

impl SessionsShard {
    pub(super) fn subscribe(
        &mut self,
        client_id: &ClientId,
        number: u64,
        packet_id: PacketId,
        filters: &[(String, SubscriptionOptions, bool)],
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<Reply> {
        if let Some(refused) = self.speaks(client_id, number, now, store)? {
            return Ok(refused);
        }
        let mut outcomes = Vec::with_capacity(filters.len());
        for (filter, options, replays) in filters {
            let Some(is_changed) = self.subscriptions.insert(client_id, filter, *options) else {
                outcomes.push((filter.clone(), Some(false)));
                continue;
            };
            if is_changed {
                // The row is there before the Routers hear of it: whoever finds the filter there finds somebody here.
                self.dirty_subscriptions.insert(client_id.clone());
            }
            if *replays {
                self.replays.prepare(client_id, filter, *options);
            }
            self.register(filter, now);
            outcomes.push((filter.clone(), self.subscriptions.is_registered(filter).then_some(true)));
        }
        let is_pending = outcomes.iter().any(|(_, outcome)| outcome.is_none());
        for (filter, _) in outcomes.iter().filter(|(_, outcome)| *outcome == Some(true)) {
            self.in_force(client_id, filter, now);
        }
        // A malformed filter has been refused by the Broker; one that gets here is told like one that failed.
        if !is_pending && outcomes.iter().all(|(_, outcome)| *outcome == Some(true)) {
            return Ok(Reply::Applied);
        }
        self.subscribing.push(Subscribing { client_id: client_id.clone(), number, packet_id, filters: outcomes });
        self.registrations_due();
        Ok(Reply::Pending)
    }

    /// Tells the Routers of a filter, unless they have been told.
    pub(super) fn register(&mut self, filter: &str, now: UnixMillis) {
        if self.subscriptions.begin_registering(filter) {
            self.registrar.add(now, filter);
        }
    }

    /// Tells the Routers that nobody here has a filter, whether this memory has told them otherwise or one before it.
    pub(super) fn unregister(&mut self, filter: &str) {
        self.registrar.remove(filter);
        self.registrar.take_out(filter);
    }

    fn in_force(&mut self, client_id: &ClientId, filter: &str, now: UnixMillis) {
        self.start_replay(client_id, filter);
        if filter.starts_with("$share/") {
            self.drain_groups(client_id, now);
        }
    }

    pub(super) fn unsubscribe(
        &mut self,
        client_id: &ClientId,
        number: u64,
        filters: &[String],
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<Reply> {
        if let Some(refused) = self.speaks(client_id, number, now, store)? {
            return Ok(refused);
        }
        for filter in filters {
            self.take_out(client_id, filter);
        }
        Ok(Reply::Applied)
    }

    pub(super) fn take_out(&mut self, client_id: &ClientId, filter: &str) {
        let (was_held, is_last) = self.subscriptions.remove(client_id, filter);
        if was_held {
            self.dirty_subscriptions.insert(client_id.clone());
            self.replays.forget_filter(client_id, filter);
        }
        if is_last {
            self.unregister(filter);
        }
        for one in self.subscribing.iter_mut().filter(|one| one.client_id == *client_id) {
            for (_, outcome) in one.filters.iter_mut().filter(|(of, outcome)| of == filter && outcome.is_none()) {
                *outcome = Some(false);
            }
        }
    }

    /// Whether a SUBSCRIBE of such a client is under way.
    pub(super) fn is_subscribing(&self, is_it: impl Fn(&ClientId) -> bool) -> bool {
        self.subscribing.iter().any(|one| is_it(&one.client_id))
    }

    /// Fails what is under way of such clients' SUBSCRIBEs.
    pub(super) fn fail_subscribing(&mut self, is_it: impl Fn(&ClientId) -> bool) {
        let mut failed = Vec::new();
        for one in self.subscribing.iter().filter(|one| is_it(&one.client_id)) {
            let undecided = one.filters.iter().filter(|(_, outcome)| outcome.is_none());
            failed.extend(undecided.map(|(filter, _)| (one.client_id.clone(), filter.clone())));
        }
        for (client_id, filter) in failed {
            self.take_out(&client_id, &filter);
        }
        self.answer_subscribing();
    }

    /// The session is over.
    pub(super) fn unsubscribe_all(&mut self, client_id: &ClientId) {
        if self.subscriptions.set(client_id).is_some() {
            self.dirty_subscriptions.insert(client_id.clone());
        }
        for filter in self.subscriptions.remove_all(client_id) {
            self.unregister(&filter);
        }
        self.subscribing.retain(|one| one.client_id != *client_id);
    }

    /// Carries on with what the Routers have decided.
    pub(super) fn registrations_due(&mut self) {
        for finished in self.registrar.take_finished() {
            match finished {
                Registration::InForce(filter) => {
                    self.subscriptions.set_registered(&filter);
                    self.decide(&filter, true);
                }
                Registration::Failed(filter) => {
                    self.subscriptions.set_failed(&filter);
                    self.decide(&filter, false);
                }
                Registration::Removed(filter) => {
                    // The note in the row costs a write to take out; it goes with the next one, unless it is old or all
                    // that the row has.
                    let is_old = self.removed_before.remove(&filter);
                    for client_id in self.subscriptions.note_unregistered(&filter) {
                        if is_old || self.subscriptions.set(&client_id).is_none() {
                            self.dirty_subscriptions.insert(client_id);
                        }
                    }
                }
                // A Sessions shard retains nothing.
                Registration::Marked { .. } => {}
            }
        }
        self.answer_subscribing();
    }

    /// What the Routers have to be told.
    pub(super) fn tell_routers(&mut self, now: UnixMillis) {
        for request in self.registrar.take_requests(now, &self.routers) {
            let target = Address::Router(request.router);
            if self.outbox.push(target, Request::Router(request.request), Told::Register(request.token)).is_err() {
                self.registrar.answered(now, request.token, Err(Undelivered::Unreachable));
            }
        }
    }

    fn decide(&mut self, filter: &str, is_registered: bool) {
        let mut decided = Vec::new();
        for one in &mut self.subscribing {
            for (of, outcome) in &mut one.filters {
                if of == filter && outcome.is_none() {
                    *outcome = Some(is_registered);
                    decided.push(one.client_id.clone());
                }
            }
        }
        for client_id in decided {
            if is_registered {
                self.in_force(&client_id, filter, self.now);
            } else {
                // It was this SUBSCRIBE that brought the filter: nobody was told that it is in force.
                self.take_out(&client_id, filter);
            }
        }
    }

    fn answer_subscribing(&mut self) {
        let (decided, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.subscribing)
            .into_iter()
            .partition(|one| one.filters.iter().all(|(_, outcome)| outcome.is_some()));
        self.subscribing = rest;
        for Subscribing { client_id, number, packet_id, filters } in decided {
            let current = self.clients.get(&client_id).and_then(Client::granted);
            let Some(current) = current.filter(|current| current.holder.number == number) else { continue };
            let (broker, connection) = (current.holder.broker.clone(), current.holder.connection);
            let are_stored = filters.into_iter().map(|(_, outcome)| outcome == Some(true)).collect();
            let subscribed = BrokerRequest::Subscribed { connection, number, packet_id, are_stored };
            self.tell(broker, subscribed, Told::News);
        }
    }
}
