//! Shared subscriptions (MQTT 5.0 section 4.8.2): each message goes to one member of each group that matches.
//!
//! The publisher's node picks among the destinations that have members: itself, if one here has room, else one after
//! the other. Whoever is picked and has no room, or no member any more, is passed over. If nobody is online and a
//! session that outlives its connection is a member, the Router of the filter keeps the message; it is drained when a
//! member comes.

use crate::broker::Broker;
use crate::connection::Connection;
use crate::publishes::{Lookup, PartNumber, Ticket};
use crate::token::Token;
use iot_types::{Qos, UnixMillis};
use messages::address::Address;
use messages::broker::{BrokerRequest, ConnectionId};
use messages::channel::Undelivered;
use messages::publication::Publication;
use messages::router::{Destination, RouterRequest};
use messages::session::SubscriptionOptions;
use messages::sessions::{SessionsRequest, SharedReply};
use messages::{Reply, Request};
use mqtt_session::Delivery;
use mqtt_topic::node::node_of;
use mqtt_topic::{SubscriptionIndex, TopicFilter};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// After a drain found no room or no Router, it goes on this much later, in milliseconds.
const DRAIN_MILLIS: u64 = 1_000;

/// This node's members of shared groups.
pub struct Groups {
    groups: BTreeMap<String, Group>,
    /// The groups by the filter inside.
    index: SubscriptionIndex<String, ()>,
    drains: BTreeMap<String, Drain>,
    /// Turns the order in which other nodes are picked.
    turn: usize,
}

#[derive(Default)]
struct Group {
    members: Vec<(ConnectionId, SubscriptionOptions)>,
    next: usize,
}

/// What a Router has kept for a group and this node's members get.
struct Drain {
    after: u64,
    /// When to ask; `None` while the Router is asked.
    ask_at: Option<UnixMillis>,
}

/// A message on its way to a member of a group elsewhere.
pub struct SharedPart {
    shared_filter: String,
    candidates: VecDeque<Destination>,
    /// A session that outlives its connection is a member: with nobody online the message is kept.
    is_kept: bool,
    /// A destination had no member: what is known of the group is out of date.
    is_outdated: bool,
    /// A destination could not be reached.
    has_failed: bool,
    /// Fresh leases have been asked for once already.
    was_refreshed: bool,
    /// The filter's Router is asked to keep it.
    pub is_queued: bool,
}

impl Groups {
    /// No group. `index`: an empty one, which knows whether `a/#` matches `a`.
    pub const fn new(index: SubscriptionIndex<String, ()>) -> Self {
        Self { groups: BTreeMap::new(), index, drains: BTreeMap::new(), turn: 0 }
    }

    /// Whether nothing is being drained.
    pub fn is_idle(&self) -> bool {
        self.drains.is_empty()
    }

    /// When a drain goes on.
    pub fn next_drain(&self) -> Option<UnixMillis> {
        self.drains.values().filter_map(|drain| drain.ask_at).min()
    }

    /// Adds a member or replaces its options: whether it was none, and whether there was none at all.
    pub fn join(&mut self, filter: &TopicFilter, id: ConnectionId, options: SubscriptionOptions) -> (bool, bool) {
        self.index.insert(filter, filter.as_str().to_owned(), ());
        let group = self.groups.entry(filter.as_str().to_owned()).or_default();
        if let Some(member) = group.members.iter_mut().find(|(member, _)| *member == id) {
            member.1 = options;
            return (false, false);
        }
        group.members.push((id, options));
        (true, group.members.len() == 1)
    }

    /// Takes a member out; `true` if it was one.
    pub fn leave(&mut self, filter: &TopicFilter, id: ConnectionId) -> bool {
        let Some(group) = self.groups.get_mut(filter.as_str()) else { return false };
        let before = group.members.len();
        group.members.retain(|(member, _)| *member != id);
        let was_member = group.members.len() < before;
        if group.members.is_empty() {
            self.groups.remove(filter.as_str());
            self.index.remove(filter, &filter.as_str().to_owned());
        }
        was_member
    }

    /// Rises with every change of which groups there are.
    pub const fn changes(&self) -> u64 {
        self.index.changes()
    }

    /// The groups with members here that a topic concerns.
    pub fn matching(&self, topic: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        self.index.for_each_match(topic, |shared_filter, ()| {
            found.insert(shared_filter.clone());
        });
        found
    }
}

impl Broker {
    /// Adds a connection to a group; `true` if it was no member.
    pub(crate) fn join_group(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        filter: &TopicFilter,
        options: SubscriptionOptions,
    ) -> bool {
        let (is_new, is_first) = self.groups.join(filter, id, options);
        if is_first {
            self.drain_group(now, filter.as_str());
        }
        is_new
    }

    /// Asks for what a Router has kept for a group.
    fn drain_group(&mut self, now: UnixMillis, shared_filter: &str) {
        let drain = Drain { after: 0, ask_at: Some(now) };
        self.groups.drains.entry(shared_filter.to_owned()).or_insert(drain);
    }

    /// Takes a message for one member here that can have it at once.
    pub(crate) fn deliver_shared_here(
        &mut self,
        now: UnixMillis,
        shared_filter: &str,
        publication: &Rc<Publication>,
    ) -> SharedReply {
        self.give_member(now, shared_filter, publication, |connection, qos| connection.has_room(qos))
    }

    /// Takes a message for one member here that is behind, but not too far.
    pub(crate) fn queue_shared_here(
        &mut self,
        now: UnixMillis,
        shared_filter: &str,
        publication: &Rc<Publication>,
    ) -> SharedReply {
        let weight = publication.weight();
        self.give_member(now, shared_filter, publication, |connection, qos| connection.can_take(qos, weight))
    }

    fn give_member(
        &mut self,
        now: UnixMillis,
        shared_filter: &str,
        publication: &Rc<Publication>,
        is_able: impl Fn(&Connection, Qos) -> bool,
    ) -> SharedReply {
        let Some(group) = self.groups.groups.get_mut(shared_filter) else { return SharedReply::NoMember };
        let count = group.members.len();
        for offset in 0..count {
            let at = (group.next + offset) % count;
            let Some((id, options)) = group.members.get(at).copied() else { continue };
            let qos = options.qos.min(publication.qos);
            let may_have_it = |connection: &Connection| {
                is_able(connection, qos) && connection.may_receive(now, &publication.topic).is_allowed
            };
            if !self.connections.get(&id).is_some_and(may_have_it) {
                continue;
            }
            group.next = at + 1;
            let delivery = Delivery {
                publication: Rc::clone(publication),
                qos,
                retain: publication.retain && options.retain_as_published,
                subscription_identifiers: options.subscription_identifier.into_iter().collect(),
            };
            self.deliver_to(now, id, delivery);
            return SharedReply::Taken;
        }
        SharedReply::NobodyOnline
    }

    /// Gives a message to one member of a group: here if possible, else elsewhere.
    pub(crate) fn share(
        &mut self,
        now: UnixMillis,
        ticket: Ticket,
        publication: &Rc<Publication>,
        shared_filter: String,
        destinations: BTreeSet<Destination>,
    ) {
        if self.deliver_shared_here(now, &shared_filter, publication) == SharedReply::Taken {
            return;
        }
        let shared = SharedPart {
            candidates: self.candidates(&destinations),
            is_kept: destinations.iter().any(|destination| matches!(destination, Destination::Sessions(_))),
            shared_filter,
            is_outdated: false,
            has_failed: false,
            was_refreshed: false,
            is_queued: false,
        };
        let part = self.new_part(ticket, Some(Box::new(shared)));
        self.offer_to_next(now, part);
    }

    /// The other nodes and Sessions objects, beginning with another one each time.
    fn candidates(&mut self, destinations: &BTreeSet<Destination>) -> VecDeque<Destination> {
        let own = Destination::Broker(self.settings.id.clone());
        let mut candidates: VecDeque<_> = destinations.iter().filter(|d| **d != own).cloned().collect();
        if !candidates.is_empty() {
            let turn = self.groups.turn % candidates.len();
            candidates.rotate_left(turn);
            self.groups.turn = self.groups.turn.wrapping_add(1);
        }
        candidates
    }

    fn offer_to_next(&mut self, now: UnixMillis, part: PartNumber) {
        let Some(publication) = self.publishes.part_publication(part) else { return };
        let publication = (*publication).clone();
        let Some(shared) = self.publishes.shared(part) else { return };
        let shared_filter = shared.shared_filter.clone();
        match shared.candidates.pop_front() {
            Some(Destination::Broker(id)) => {
                let request = BrokerRequest::DeliverShared { shared_filter, publication };
                self.send_part(now, part, Address::Broker(id), Request::Broker(request));
            }
            Some(Destination::Sessions(shard)) => {
                let ticket = (publication.qos > Qos::AtMostOnce).then_some(part);
                let request = SessionsRequest::DeliverShared { shared_filter, publication, ticket };
                self.send_part(now, part, Address::Sessions(shard), Request::Sessions(request));
            }
            None if shared.is_outdated && !shared.was_refreshed => {
                shared.was_refreshed = true;
                self.publishes.refreshing.insert(part);
                self.refresh_lease(now, &shared_filter);
                self.refresh_shared(now, part);
            }
            None => self.keep_shared(now, part, &Rc::new(publication)),
        }
    }

    /// Nobody can have a message at once.
    fn keep_shared(&mut self, now: UnixMillis, part: PartNumber, publication: &Rc<Publication>) {
        let Some(shared) = self.publishes.shared(part) else { return };
        let (is_kept, has_failed) = (shared.is_kept, shared.has_failed);
        let shared_filter = shared.shared_filter.clone();
        // Members here that are behind get it when it is their turn, as those elsewhere would have.
        if self.queue_shared_here(now, &shared_filter, publication) == SharedReply::Taken {
            return self.finish_part(now, part, true);
        }
        if publication.qos == Qos::AtMostOnce {
            return self.finish_part(now, part, true);
        }
        if is_kept {
            return self.keep_for_group(now, part);
        }
        if !has_failed {
            self.log_platform("message_dropped", &publication.topic, "no member of the shared group can take it");
        }
        // There may be members who could not be asked.
        self.finish_part(now, part, !has_failed);
    }

    /// Somebody who was picked could not be reached.
    pub(crate) fn shared_failed(&mut self, now: UnixMillis, part: PartNumber) {
        if let Some(shared) = self.publishes.shared(part) {
            shared.has_failed = true;
        }
        self.shared_declined(now, part, false);
    }

    /// Somebody who was picked could not take the message.
    pub(crate) fn shared_declined(&mut self, now: UnixMillis, part: PartNumber, is_outdated: bool) {
        let Some(shared) = self.publishes.shared(part).filter(|shared| !shared.is_queued) else {
            return self.finish_part(now, part, false);
        };
        shared.is_outdated |= is_outdated;
        self.offer_to_next(now, part);
    }

    /// Goes on with fresh leases, if they are there.
    pub(crate) fn refresh_shared(&mut self, now: UnixMillis, part: PartNumber) {
        let Some(publication) = self.publishes.part_publication(part) else { return };
        let Some(shared) = self.publishes.shared(part) else { return };
        let shared_filter = shared.shared_filter.clone();
        let (destinations, is_known) = match self.look_up_topic(now, &publication.topic) {
            Lookup::Asked if self.publishes.patience(part).is_some_and(|until| until > now) => return,
            Lookup::Known(mut targets) => (targets.shared.remove(&shared_filter).unwrap_or_default(), true),
            Lookup::Asked | Lookup::Unreachable => (BTreeSet::new(), false),
        };
        self.publishes.refreshing.remove(&part);
        if self.deliver_shared_here(now, &shared_filter, &publication) == SharedReply::Taken {
            return self.finish_part(now, part, true);
        }
        let candidates = self.candidates(&destinations);
        if let Some(shared) = self.publishes.shared(part) {
            shared.has_failed |= !is_known;
            shared.is_kept |= destinations.iter().any(|destination| matches!(destination, Destination::Sessions(_)));
            shared.candidates = candidates;
        }
        self.offer_to_next(now, part);
    }

    /// Nobody is online: the Router keeps the message.
    pub(crate) fn keep_for_group(&mut self, now: UnixMillis, part: PartNumber) {
        let Some(publication) = self.publishes.part_publication(part) else { return };
        let Some(shared) = self.publishes.shared(part) else { return };
        shared.is_queued = true;
        let shared_filter = shared.shared_filter.clone();
        if self.groups.groups.contains_key(&shared_filter) {
            // Members here had no room: they get it when they have.
            self.drain_group(now.plus_millis(DRAIN_MILLIS), &shared_filter);
        }
        let target = Address::router_of_node(node_of(&shared_filter), &self.settings.router_shards);
        let request = RouterRequest::QueueShared { shared_filter, publication: (*publication).clone() };
        self.send_part(now, part, target, Request::Router(request));
    }

    /// Asks Routers for what they have kept for groups with members here.
    pub(crate) fn ask_drains(&mut self, now: UnixMillis) {
        let due = |drain: &Drain| drain.ask_at.is_some_and(|at| at <= now);
        let due: Vec<(String, u64)> =
            self.groups.drains.iter().filter(|(_, d)| due(d)).map(|(filter, d)| (filter.clone(), d.after)).collect();
        for (shared_filter, after) in due {
            let target = Address::router_of_node(node_of(&shared_filter), &self.settings.router_shards);
            let request = RouterRequest::DrainShared { shared_filter: shared_filter.clone(), after };
            let token = Token::Drain(shared_filter.clone());
            let is_asked = self.outbox.push(target, Request::Router(request), token).is_ok();
            if let Some(drain) = self.groups.drains.get_mut(&shared_filter) {
                drain.ask_at = (!is_asked).then(|| now.plus_millis(DRAIN_MILLIS));
            }
        }
    }

    /// A Router has answered what it kept for a group.
    pub(crate) fn drained(&mut self, now: UnixMillis, shared_filter: &str, result: Result<Reply, Undelivered>) {
        let Some(drain) = self.groups.drains.get_mut(shared_filter) else { return };
        let Ok(Reply::SharedQueue(kept)) = result else {
            let is_moved = matches!(result, Err(Undelivered::Moved { .. }));
            drain.ask_at = Some(if is_moved { now } else { now.plus_millis(DRAIN_MILLIS) });
            if !self.groups.groups.contains_key(shared_filter) {
                self.groups.drains.remove(shared_filter);
            }
            return;
        };
        let (mut after, is_empty, mut has_room) = (drain.after, kept.is_empty(), true);
        for (place, publication) in kept {
            if publication.is_expired(now) {
                after = place;
                continue;
            }
            if self.deliver_shared_here(now, shared_filter, &Rc::new(publication)) != SharedReply::Taken {
                has_room = false;
                break;
            }
            after = place;
        }
        let has_members = self.groups.groups.contains_key(shared_filter);
        let Some(drain) = self.groups.drains.get_mut(shared_filter) else { return };
        let has_moved = after > drain.after;
        drain.after = after;
        // What was taken has to be told, even if nobody takes more.
        drain.ask_at = Some(if has_room || has_moved && !has_members { now } else { now.plus_millis(DRAIN_MILLIS) });
        if is_empty || !has_members && !has_moved {
            self.groups.drains.remove(shared_filter);
        }
    }

    /// The groups that match a topic, known from leases and from this node's own members: its own leases are not
    /// revoked when it registers something itself.
    pub(crate) fn with_own_groups(
        &self,
        topic: &str,
        mut shared: BTreeMap<String, BTreeSet<Destination>>,
    ) -> BTreeMap<String, BTreeSet<Destination>> {
        for shared_filter in self.groups.matching(topic) {
            shared.entry(shared_filter).or_default();
        }
        shared
    }
}
