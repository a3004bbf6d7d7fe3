//! Who in this shard has subscribed to what, in memory.

use crate::client::{Held, SubscriptionSet};
use iot_types::{ClientId, Qos};
use messages::publication::Publication;
use messages::session::{SubscriptionOptions, Subscriptions as Options};
use mqtt_topic::{SubscriptionIndex, TopicFilter};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The subscriptions of all sessions.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    sets: BTreeMap<ClientId, SubscriptionSet>,
    /// Short names for sessions in the index.
    names: BTreeMap<ClientId, u32>,
    clients: BTreeMap<u32, Rc<ClientId>>,
    next_name: u32,
    /// Those that aren't shared.
    index: SubscriptionIndex<u32, SubscriptionOptions>,
    groups: BTreeMap<String, Group>,
    /// How many sessions have a filter, and whether the Routers know that this shard has.
    filters: BTreeMap<String, Filter>,
}

/// The members of a shared group that this shard has.
#[derive(Debug, Default)]
struct Group {
    members: BTreeMap<ClientId, SubscriptionOptions>,
    /// The member that got the last message.
    last: Option<ClientId>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Filter {
    sessions: u32,
    is_registered: bool,
    is_registering: bool,
}

/// What a session gets of one message: one copy, whatever number of its subscriptions match (MQTT 5.0 section 3.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub client_id: Rc<ClientId>,
    pub qos: Qos,
    pub retain: bool,
    pub subscription_identifiers: Vec<u32>,
}

impl Subscriptions {
    /// `matches_parent`: whether `a/#` matches `a`.
    pub fn new(matches_parent: bool) -> Self {
        let index = if matches_parent { SubscriptionIndex::new() } else { SubscriptionIndex::without_parent_match() };
        Self { index, ..Self::default() }
    }

    /// Takes over what is stored. Gives the filters whose end the Routers may not know of yet.
    pub fn restore(&mut self, client_id: &ClientId, set: SubscriptionSet) -> Vec<String> {
        let removed = set.removed.iter().cloned().collect();
        self.sets.insert(client_id.clone(), SubscriptionSet { removed: set.removed, ..SubscriptionSet::default() });
        for (filter, held) in set.filters {
            self.insert(client_id, &filter, held.options);
            if held.is_registered {
                self.set_registered(&filter);
            }
        }
        removed
    }

    /// The sessions that have subscriptions.
    pub fn subscribers(&self) -> impl Iterator<Item = &ClientId> {
        self.sets.iter().filter(|(_, set)| !set.filters.is_empty()).map(|(client_id, _)| client_id)
    }

    /// What is to be stored for a session; `None` for nothing.
    pub fn set(&self, client_id: &ClientId) -> Option<SubscriptionSet> {
        let mut set = self.sets.get(client_id)?.clone();
        for (filter, held) in &mut set.filters {
            held.is_registered = self.is_registered(filter);
        }
        (!set.filters.is_empty() || !set.removed.is_empty()).then_some(set)
    }

    /// A session's subscriptions.
    pub fn options(&self, client_id: &ClientId) -> Options {
        let filters = self.sets.get(client_id).map(|set| &set.filters);
        filters.into_iter().flatten().map(|(filter, held)| (filter.clone(), held.options)).collect()
    }

    /// Adds or replaces a subscription. `None` when the filter is malformed, else whether something changed.
    pub fn insert(&mut self, client_id: &ClientId, filter: &str, options: SubscriptionOptions) -> Option<bool> {
        let parsed = TopicFilter::new(filter.to_owned()).ok()?;
        let set = self.sets.entry(client_id.clone()).or_default();
        let mut is_changed = set.removed.remove(filter);
        let before = set.filters.insert(filter.to_owned(), Held { options, is_registered: false });
        is_changed |= before.is_none_or(|before| before.options != options);
        if before.is_none() {
            self.filters.entry(filter.to_owned()).or_default().sessions += 1;
        }
        if parsed.share().is_some() {
            self.groups.entry(filter.to_owned()).or_default().members.insert(client_id.clone(), options);
        } else {
            let name = match self.names.get(client_id) {
                Some(name) => *name,
                None => {
                    self.next_name += 1;
                    self.names.insert(client_id.clone(), self.next_name);
                    self.clients.insert(self.next_name, Rc::new(client_id.clone()));
                    self.next_name
                }
            };
            self.index.insert(&parsed, name, options);
        }
        Some(is_changed)
    }

    /// Takes out a subscription: whether there was one, and whether it was the last of its filter, which the Routers
    /// then have to hear; the session's set notes it until they have.
    pub fn remove(&mut self, client_id: &ClientId, filter: &str) -> (bool, bool) {
        let Some(set) = self.sets.get_mut(client_id) else { return (false, false) };
        if set.filters.remove(filter).is_none() {
            return (false, false);
        }
        if let Ok(parsed) = TopicFilter::new(filter.to_owned()) {
            if parsed.share().is_some() {
                if let Some(group) = self.groups.get_mut(filter) {
                    group.members.remove(client_id);
                    if group.members.is_empty() {
                        self.groups.remove(filter);
                    }
                }
            } else if let Some(name) = self.names.get(client_id) {
                self.index.remove(&parsed, name);
            }
        }
        let is_last = self.filters.get_mut(filter).is_some_and(|use_| {
            use_.sessions = use_.sessions.saturating_sub(1);
            use_.sessions == 0
        });
        if is_last {
            self.filters.remove(filter);
            set.removed.insert(filter.to_owned());
        }
        (true, is_last)
    }

    /// Takes out all of a session's subscriptions: the filters that the Routers have to hear of.
    pub fn remove_all(&mut self, client_id: &ClientId) -> Vec<String> {
        let filters: Vec<String> =
            self.sets.get(client_id).into_iter().flat_map(|set| set.filters.keys().cloned()).collect();
        let gone = filters.into_iter().filter(|filter| self.remove(client_id, filter).1).collect();
        if let Some(name) = self.names.remove(client_id) {
            self.clients.remove(&name);
        }
        gone
    }

    /// The Routers know that nobody here has the filter. Gives the sessions whose sets noted it.
    pub fn note_unregistered(&mut self, filter: &str) -> Vec<ClientId> {
        let noting =
            self.sets.iter_mut().filter_map(|(client_id, set)| set.removed.remove(filter).then(|| client_id.clone()));
        let noting: Vec<ClientId> = noting.collect();
        self.sets.retain(|_, set| !set.filters.is_empty() || !set.removed.is_empty());
        noting
    }

    /// Whether a session here has the filter.
    pub fn is_held(&self, filter: &str) -> bool {
        self.filters.contains_key(filter)
    }

    /// Whether the Routers know that this shard has the filter.
    pub fn is_registered(&self, filter: &str) -> bool {
        self.filters.get(filter).is_some_and(|filter| filter.is_registered)
    }

    pub fn set_registered(&mut self, filter: &str) {
        if let Some(filter) = self.filters.get_mut(filter) {
            (filter.is_registered, filter.is_registering) = (true, false);
        }
    }

    /// The Routers are being told of a filter. Whether they have to be, and weren't yet.
    pub fn begin_registering(&mut self, filter: &str) -> bool {
        let filter = self.filters.get_mut(filter).filter(|filter| !filter.is_registered);
        filter.is_some_and(|filter| !std::mem::replace(&mut filter.is_registering, true))
    }

    /// The Routers could not be told of a filter.
    pub fn set_failed(&mut self, filter: &str) {
        if let Some(filter) = self.filters.get_mut(filter) {
            filter.is_registering = false;
        }
    }

    /// The filters that the Routers know of.
    pub fn registered(&self) -> impl Iterator<Item = &String> {
        self.filters.iter().filter(|(_, filter)| filter.is_registered).map(|(filter, _)| filter)
    }

    /// Who gets a message.
    pub fn matches(&self, publication: &Publication) -> Vec<Match> {
        let mut subscriptions = Vec::new();
        self.index.for_each_match(&publication.topic, |name, options| subscriptions.push((*name, *options)));
        subscriptions.sort_by_key(|(name, _)| *name);
        let mut found = Vec::new();
        for of_session in subscriptions.chunk_by(|(one, _), (other, _)| one == other) {
            let Some(client_id) = of_session.first().and_then(|(name, _)| self.clients.get(name)) else { continue };
            let is_own = publication.client_id.as_deref() == Some(client_id.as_str());
            let mut options =
                of_session.iter().map(|(_, options)| options).filter(|it| !(it.no_local && is_own)).peekable();
            if options.peek().is_none() {
                continue;
            }
            let mut one = Match {
                client_id: Rc::clone(client_id),
                qos: Qos::AtMostOnce,
                retain: false,
                subscription_identifiers: Vec::new(),
            };
            for options in options {
                one.qos = one.qos.max(options.qos.min(publication.qos));
                one.retain |= options.retain_as_published && publication.retain;
                one.subscription_identifiers.extend(options.subscription_identifier);
            }
            one.subscription_identifiers.sort_unstable();
            one.subscription_identifiers.dedup();
            found.push(one);
        }
        found
    }

    /// The members of a shared group with their options, the one whose turn it is first; `None` if there is none.
    pub fn members(&self, shared_filter: &str) -> Option<Vec<(ClientId, SubscriptionOptions)>> {
        let group = self.groups.get(shared_filter)?;
        let after = |(client_id, _): &(&ClientId, &SubscriptionOptions)| {
            group.last.as_ref().is_none_or(|last| *client_id > last)
        };
        let (first, then): (Vec<_>, Vec<_>) = group.members.iter().partition(after);
        Some(first.into_iter().chain(then).map(|(client_id, options)| (client_id.clone(), *options)).collect())
    }

    /// A member of a shared group got a message: the next is another's.
    pub fn note_turn(&mut self, shared_filter: &str, client_id: ClientId) {
        if let Some(group) = self.groups.get_mut(shared_filter) {
            group.last = Some(client_id);
        }
    }

    /// The shared groups with members here.
    pub fn shared_filters(&self) -> impl Iterator<Item = &String> {
        self.groups.keys()
    }

    /// The shared groups that a session is a member of.
    pub fn groups_of(&self, client_id: &ClientId) -> BTreeSet<String> {
        let filters = self.sets.get(client_id).into_iter().flat_map(|set| set.filters.keys());
        filters.filter(|filter| self.groups.contains_key(*filter)).cloned().collect()
    }
}
