//! What is known of who wants what elsewhere (leases), and what of here is registered there.

use crate::broker::Broker;
use crate::publishes::{Found, Lookup, Targets, Ticket};
use crate::settings::BrokerSettings;
use crate::token::Token;
use iot_types::UnixMillis;
use messages::address::Address;
use messages::channel::Undelivered;
use messages::router::{Destination, RouterRequest};
use messages::{Reply, Request};
use routing::{
    Added, Destinations, LeaseSettings, Leases, Registrar, RegistrarSettings, RegistrarToken, Registration, Route,
};

/// A node's two relations to the Routers.
pub struct Routes {
    leases: Leases,
    registrar: Registrar,
    /// Whether something has been handed on by leases since the node's storage was last written to.
    is_used: bool,
    fenced_at: UnixMillis,
}

impl Routes {
    pub fn new(settings: &BrokerSettings, now: UnixMillis) -> Self {
        let matches_parent = settings.limits.matches_parent;
        let leases = LeaseSettings { matches_parent, ..LeaseSettings::default() };
        let deadline_millis = settings.limits.subscribe_millis;
        let registrar = RegistrarSettings { deadline_millis, ..RegistrarSettings::default() };
        Self {
            leases: Leases::new(leases),
            registrar: Registrar::new(now.0 << 20, registrar),
            is_used: false,
            fenced_at: UnixMillis(0),
        }
    }

    /// Whether nothing is being registered or taken away.
    pub fn is_idle(&self) -> bool {
        self.registrar.is_idle()
    }

    /// Rises with everything that is learnt or revoked of who wants what elsewhere.
    pub const fn changes(&self) -> u64 {
        self.leases.changes()
    }

    /// Who gets a message on this topic elsewhere, and until when that may be used without asking again.
    pub fn route(&mut self, now: UnixMillis, topic: &str) -> (Route, Option<UnixMillis>) {
        (self.leases.route(now, topic), self.leases.settled_until(topic))
    }

    /// A message was handed on by what leases say.
    pub const fn note_use(&mut self) {
        self.is_used = true;
    }

    /// When something has to be asked again; `waits_for_leases`: whether anybody waits for some.
    pub fn next_timeout(&self, waits_for_leases: bool) -> Option<UnixMillis> {
        let leases = self.leases.next_timeout().filter(|_| waits_for_leases);
        leases.into_iter().chain(self.registrar.next_timeout()).min()
    }

    /// A subscriber of a filter that has been in force since before this memory began.
    pub fn restore(&mut self, filter: &str) {
        self.registrar.restore(filter);
    }

    /// Takes a filter out of the directory that nobody here has, and that an earlier memory may have registered.
    pub fn take_out(&mut self, filter: &str) {
        self.registrar.take_out(filter);
    }

    /// One more subscriber of a filter; whether it is in force already.
    pub fn add(&mut self, now: UnixMillis, filter: &str) -> bool {
        self.registrar.add(now, filter) == Added::InForce
    }

    pub fn is_in_force(&self, filter: &str) -> bool {
        self.registrar.is_in_force(filter)
    }

    /// One subscriber of a filter less.
    pub fn remove(&mut self, filter: &str) {
        self.registrar.remove(filter);
    }
}

impl Broker {
    // --- leases --------------------------------------------------------------------------------------------------

    /// Makes sure that what is not known of a topic's receivers is asked for.
    pub(crate) fn want_leases(&mut self, now: UnixMillis, topic: &str) {
        let _ = self.routes.leases.route(now, topic);
    }

    /// Where a publish goes, as far as it is known.
    pub(crate) fn look_up(&mut self, now: UnixMillis, ticket: Ticket) -> Lookup {
        let Some(publication) = self.publishes.publication(ticket) else { return Lookup::Unreachable };
        let Route::Ready(mut destinations) = self.routes.leases.route(now, &publication.topic) else {
            return Lookup::Asked;
        };
        let mut is_known = true;
        for node in destinations.large.clone() {
            let Some(routes) = self.publishes.routes(ticket) else { return Lookup::Unreachable };
            match routes.get(&node) {
                Some(Some(found)) => destinations.add_route(&node, found.clone()),
                Some(None) => is_known = false,
                None => {
                    is_known = false;
                    routes.insert(node.clone(), None);
                    if !self.ask_route(ticket, &node, &publication.topic) {
                        return Lookup::Unreachable;
                    }
                }
            }
        }
        self.routes.is_used |= is_known;
        if is_known { Lookup::Known(self.targets(&publication.topic, destinations)) } else { Lookup::Asked }
    }

    /// Where a message on a topic goes, as far as leases say.
    pub(crate) fn look_up_topic(&mut self, now: UnixMillis, topic: &str) -> Lookup {
        match self.routes.leases.route(now, topic) {
            Route::Ready(destinations) => {
                self.routes.is_used = true;
                Lookup::Known(self.targets(topic, destinations))
            }
            Route::Missing => Lookup::Asked,
        }
    }

    fn targets(&self, topic: &str, found: Destinations) -> Targets {
        let brokers = found.brokers.into_iter().map(Destination::Broker);
        let sessions = found.sessions.into_iter().map(Destination::Sessions);
        let shared =
            found.shared.into_iter().map(|(filter, destinations)| (filter, destinations.into_iter().collect()));
        Targets {
            destinations: brokers.chain(sessions).collect(),
            shared: self.with_own_groups(topic, shared.collect()),
        }
    }

    fn ask_route(&mut self, ticket: Ticket, node: &str, topic: &str) -> bool {
        let target = Address::router_of_node(node, &self.settings.router_shards);
        let request = RouterRequest::Route { node: node.to_owned(), topic: topic.to_owned() };
        let token = Token::Route { ticket, node: node.to_owned() };
        self.outbox.push(target, Request::Router(request), token).is_ok()
    }

    /// A Router has said who wants a publish's topic at a large node, or could not.
    pub(crate) fn route_answered(
        &mut self,
        now: UnixMillis,
        ticket: Ticket,
        node: &str,
        result: Result<Reply, Undelivered>,
    ) {
        let found: Option<Found> = match result {
            Ok(Reply::Route(found)) => Some(found),
            _ => None,
        };
        if let Some(routes) = self.publishes.routes(ticket) {
            match found {
                Some(found) => routes.insert(node.to_owned(), Some(found)),
                // Asked again, as long as the publish may wait.
                None => routes.remove(node),
            };
        }
        self.advance_waiting(now);
    }

    /// Whether this tick has to prove that no other instance has taken the node's place: it hands on messages by leases,
    /// and the last proof is old.
    pub(crate) fn needs_fence(&mut self, now: UnixMillis) -> bool {
        let is_used = core::mem::take(&mut self.routes.is_used);
        let is_due = is_used && now.millis_since(self.routes.fenced_at) >= self.settings.limits.fence_millis;
        if is_due {
            self.routes.fenced_at = now;
        }
        is_due
    }

    /// A node without connections is soon forgotten, and nobody should have to wait for the leases that it leaves.
    pub(crate) fn give_leases_back(&mut self) {
        if !self.connections.is_empty() || !self.publishes.is_empty() {
            return;
        }
        for router in self.routes.leases.give_back() {
            let request = Request::Router(RouterRequest::LeasesReturned);
            // If it can't be told, others wait a little.
            let _ = self.outbox.push(Address::Router(router), request, Token::Nothing);
        }
    }

    /// What is known of a filter's node has been found to be out of date.
    pub(crate) fn refresh_lease(&mut self, now: UnixMillis, filter: &str) {
        self.routes.leases.refresh(now, filter);
    }

    /// Asks Routers for what publishes need, packed.
    pub(crate) fn ask_leases(&mut self, now: UnixMillis) {
        for ask in self.routes.leases.asks(now, &self.settings.router_shards) {
            let request = Request::Router(RouterRequest::Lease { nodes: ask.nodes });
            if self.outbox.push(Address::Router(ask.router), request, Token::Lease(ask.id)).is_err() {
                self.routes.leases.answered(now, ask.id, Err(Undelivered::Unreachable));
            }
        }
    }

    /// A Router has lent nodes, or could not.
    pub(crate) fn leases_answered(&mut self, now: UnixMillis, ask: u64, result: Result<Reply, Undelivered>) {
        self.routes.leases.answered(now, ask, result);
        self.advance_waiting(now);
    }

    /// A Router takes leases back; nothing that is dispatched from here on rests on them.
    pub(crate) fn leases_revoked(&mut self, router: u32, nodes: Option<&[String]>) {
        self.routes.leases.revoke(router, nodes);
    }

    // --- registrations -------------------------------------------------------------------------------------------

    /// Marks the nodes above a topic whose message is retained; the publish waits for it.
    pub(crate) fn mark_retained(&mut self, now: UnixMillis, ticket: Ticket, topic: &str) {
        if self.routes.registrar.mark_retained(now, topic, ticket) == Added::Waits {
            self.publishes.hold(ticket);
        }
    }

    /// Tells Routers what has to be registered or taken away.
    pub(crate) fn tell_registrations(&mut self, now: UnixMillis) {
        for request in self.routes.registrar.take_requests(now, &self.settings.router_shards) {
            let token = Token::Registration(request.token);
            if self.outbox.push(Address::Router(request.router), Request::Router(request.request), token).is_err() {
                self.routes.registrar.answered(now, request.token, Err(Undelivered::Unreachable));
            }
        }
        self.finish_registrations(now);
    }

    /// A Router has answered a registration, or could not.
    pub(crate) fn registration_answered(
        &mut self,
        now: UnixMillis,
        token: RegistrarToken,
        result: Result<Reply, Undelivered>,
    ) {
        self.routes.registrar.answered(now, token, result.as_ref().map_err(|error| *error));
        self.finish_registrations(now);
    }

    /// A Router confirms a registration that it had answered with `Pending`.
    pub(crate) fn registered(&mut self, now: UnixMillis, registration: u64) {
        self.routes.registrar.registered(registration);
        self.finish_registrations(now);
    }

    fn finish_registrations(&mut self, now: UnixMillis) {
        for registration in self.routes.registrar.take_finished() {
            match registration {
                Registration::InForce(filter) => self.filter_registered(now, &filter, true),
                Registration::Failed(filter) => self.filter_registered(now, &filter, false),
                Registration::Removed(_) => {}
                Registration::Marked { ticket, is_marked: true } => self.release(now, ticket),
                Registration::Marked { ticket, is_marked: false } => self.hold_failed(now, ticket),
            }
        }
    }
}
