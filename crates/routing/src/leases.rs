//! What a Broker knows of who wants which topic.

mod view;

pub use view::Destinations;

use crate::router_of_node;
use crate::settings::LeaseSettings;
use iot_types::UnixMillis;
use messages::Reply;
use messages::address::ShardMap;
use messages::channel::Undelivered;
use messages::router::NodeView;
use mqtt_topic::node;
use std::collections::{BTreeMap, BTreeSet};
use view::View;

/// The leases of the nodes on the topics of a Broker's publishers.
///
/// A publish looks its topic up with [`Leases::route`], node by node from the root, as long as there may be filters below.
/// What is missing, and what is in use and half over, is asked for by [`Leases::asks`]. A lease may be used until T after
/// it was *asked for*, by this Broker's clock, so that it has ended here when its Router counts it as ended.
#[derive(Clone, Debug)]
pub struct Leases {
    settings: LeaseSettings,
    nodes: BTreeMap<Box<str>, Entry>,
    bytes: usize,
    asks: BTreeMap<u64, Asked>,
    next_ask: u64,
    /// Nodes to ask for, and not before when.
    wanted: BTreeMap<String, UnixMillis>,
    /// A lease that is in use is half over.
    is_renewal_due: bool,
    changes: u64,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    lease: Option<Lease>,
    /// The ask whose answer is waited for.
    asking: Option<u64>,
    /// A revocation came while it was being asked for: the answer may be older.
    is_tainted: bool,
    used_at: UnixMillis,
}

#[derive(Clone, Debug)]
struct Lease {
    view: View,
    asked_at: UnixMillis,
    router: u32,
}

#[derive(Clone, Debug)]
struct Asked {
    router: u32,
    at: UnixMillis,
    nodes: Vec<String>,
}

/// Who gets a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// These, and whoever the Routers of [`Destinations::large`] name.
    Ready(Destinations),
    /// It isn't known; what is missing will be among the next [`Leases::asks`]. The publish waits and looks again when an
    /// answer has come.
    Missing,
}

/// Nodes to ask a Router for with `RouterRequest::Lease`. The outcome goes to [`Leases::answered`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Names it in [`Leases::answered`].
    pub id: u64,
    /// The number of the Router.
    pub router: u32,
    /// The nodes.
    pub nodes: Vec<String>,
}

impl Leases {
    /// No lease at all.
    #[must_use]
    pub const fn new(settings: LeaseSettings) -> Self {
        Self {
            settings,
            nodes: BTreeMap::new(),
            bytes: 0,
            asks: BTreeMap::new(),
            next_ask: 0,
            wanted: BTreeMap::new(),
            is_renewal_due: false,
            changes: 0,
        }
    }

    /// Who gets a message on this topic that is published now. Local subscribers are the caller's own business: this
    /// Broker's destinations may be among the answer or not.
    pub fn route(&mut self, now: UnixMillis, topic: &str) -> Route {
        let mut destinations = Destinations::default();
        for node in node::nodes_on_path(topic) {
            let Some(entry) = self.nodes.get_mut(node) else {
                self.want(now, node);
                return Route::Missing;
            };
            entry.used_at = now;
            let age = entry.lease.as_ref().map(|lease| now.millis_since(lease.asked_at));
            let (Some(lease), Some(age)) = (&entry.lease, age.filter(|age| *age < self.settings.lease_millis)) else {
                if entry.asking.is_none() {
                    self.want(now, node);
                }
                return Route::Missing;
            };
            let is_half_over = age >= self.settings.lease_millis / 2;
            self.is_renewal_due |= is_half_over && entry.asking.is_none() && !self.wanted.contains_key(node);
            lease.view.collect(node, topic, self.settings.matches_parent, &mut destinations);
            if !lease.view.has_filters_below {
                break;
            }
        }
        destinations.tidy();
        Route::Ready(destinations)
    }

    /// Rises with everything that is learnt or revoked: what [`Self::route`] gave stays true as long as this is the
    /// same, until [`Self::settled_until`].
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// Until when what [`Self::route`] gave for this topic may be used without asking it again: then the first of its
    /// leases is half over and has to be renewed. `None` when something is missing.
    #[must_use]
    pub fn settled_until(&self, topic: &str) -> Option<UnixMillis> {
        let mut until = None;
        for node in node::nodes_on_path(topic) {
            let lease = self.nodes.get(node)?.lease.as_ref()?;
            let half = lease.asked_at.plus_millis(self.settings.lease_millis / 2);
            until = Some(until.map_or(half, |until: UnixMillis| until.min(half)));
            if !lease.view.has_filters_below {
                break;
            }
        }
        until
    }

    /// What to ask the Routers now. Each node is asked for once at a time.
    pub fn asks(&mut self, now: UnixMillis, shards: &ShardMap) -> Vec<Ask> {
        let mut by_router: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
        let due: Vec<String> = self.wanted.iter().filter(|(_, at)| **at <= now).map(|(node, _)| node.clone()).collect();
        for node in due {
            self.wanted.remove(&node);
            let is_asked = self.nodes.get(node.as_str()).is_some_and(|entry| entry.asking.is_some());
            if !is_asked {
                by_router.entry(router_of_node(&node, shards)).or_default().insert(node);
            }
        }
        if core::mem::take(&mut self.is_renewal_due) {
            self.renew(now, shards, &mut by_router);
        }
        let mut asks = Vec::new();
        for (router, nodes) in by_router {
            let nodes: Vec<String> = nodes.into_iter().collect();
            for nodes in nodes.chunks(self.settings.ask_nodes.max(1)) {
                self.next_ask += 1;
                let id = self.next_ask;
                for node in nodes {
                    let entry = self.nodes.entry(node.as_str().into()).or_default();
                    entry.asking = Some(id);
                    entry.is_tainted = false;
                }
                self.asks.insert(id, Asked { router, at: now, nodes: nodes.to_vec() });
                asks.push(Ask { id, router, nodes: nodes.to_vec() });
            }
        }
        asks
    }

    /// When [`Self::asks`] has something by itself.
    #[must_use]
    pub fn next_timeout(&self) -> Option<UnixMillis> {
        self.wanted.values().min().copied()
    }

    /// Whether nothing is being asked for.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.asks.is_empty() && self.wanted.is_empty()
    }

    /// Takes the outcome of an ask. If it is [`Undelivered::Moved`], note it in the shard map first.
    pub fn answered(&mut self, now: UnixMillis, ask: u64, result: Result<Reply, Undelivered>) {
        self.changes += 1;
        let Some(asked) = self.asks.remove(&ask) else { return };
        let retry_at = match &result {
            Ok(Reply::Leases(views)) if !views.is_empty() => now,
            Err(Undelivered::Moved { .. }) => now,
            _ => now.plus_millis(self.settings.retry_millis),
        };
        let in_time = now.millis_since(asked.at) < self.settings.lease_millis;
        if let Ok(Reply::Leases(views)) = result {
            for view in views {
                self.granted(ask, &asked, view, in_time);
            }
        }
        for node in asked.nodes {
            let Some(entry) = self.nodes.get_mut(node.as_str()).filter(|entry| entry.asking == Some(ask)) else {
                continue;
            };
            // No answer, or one that can't be used.
            entry.asking = None;
            let is_in_use = now.millis_since(entry.used_at) < self.settings.lease_millis / 2;
            if is_in_use {
                self.wanted.insert(node, retry_at);
            } else if entry.lease.is_none() {
                self.nodes.remove(node.as_str());
            }
        }
        self.make_room();
    }

    /// A Router revokes leases: of these nodes, or all that it has ever given (`BrokerRequest::Revoke`). They are gone
    /// when this returns, and so are answers that were on their way.
    pub fn revoke(&mut self, router: u32, nodes: Option<&[String]>) {
        self.changes += 1;
        match nodes {
            Some(nodes) => {
                for node in nodes {
                    self.drop_lease(node, |_| true, |_| true);
                }
            }
            None => {
                let nodes: Vec<Box<str>> = self.nodes.keys().cloned().collect();
                let of_router: BTreeSet<u64> =
                    self.asks.iter().filter(|(_, ask)| ask.router == router).map(|(id, _)| *id).collect();
                for node in nodes {
                    self.drop_lease(&node, |lease| lease.router == router, |ask| of_router.contains(&ask));
                }
            }
        }
    }

    /// Drops the lease of a filter's node and asks for it again: what it says has been found to be out of date, as when
    /// a destination of a shared group has no member.
    pub fn refresh(&mut self, now: UnixMillis, filter: &str) {
        self.changes += 1;
        let node = node::node_of(filter);
        self.drop_lease(node, |_| true, |_| true);
        let is_asked = self.nodes.get(node).is_some_and(|entry| entry.asking.is_some());
        if !is_asked {
            self.want(now, node);
        }
    }

    /// Drops everything, and the answers that are on their way. Gives the Routers that have lent something, or are about
    /// to: they are to be told (`RouterRequest::LeasesReturned`).
    pub fn give_back(&mut self) -> BTreeSet<u32> {
        self.changes += 1;
        let lent = self.nodes.values().filter_map(|entry| entry.lease.as_ref()).map(|lease| lease.router);
        let routers: BTreeSet<u32> = lent.chain(self.asks.values().map(|ask| ask.router)).collect();
        self.wanted.clear();
        for router in &routers {
            self.revoke(*router, None);
        }
        routers
    }

    /// How many nodes are in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether no node is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn want(&mut self, now: UnixMillis, node: &str) {
        if !self.wanted.contains_key(node) {
            self.wanted.insert(node.to_owned(), now);
        }
        // When the answer is no, it is asked again as long as somebody waits.
        self.nodes.entry(node.into()).or_default().used_at = now;
    }

    /// Adds what is used and past a quarter of its time to the asks of each Router that one is due from, so that leases
    /// asked for at different times come to be renewed together.
    fn renew(&mut self, now: UnixMillis, shards: &ShardMap, by_router: &mut BTreeMap<u32, BTreeSet<String>>) {
        let lease_millis = self.settings.lease_millis;
        let (nodes, wanted) = (&self.nodes, &self.wanted);
        let candidates = |quarter: u64| {
            nodes.iter().filter(move |(node, entry)| {
                entry.asking.is_none()
                    && !wanted.contains_key(&***node)
                    && entry.lease.as_ref().is_some_and(|lease| {
                        entry.used_at > lease.asked_at && now.millis_since(lease.asked_at) >= lease_millis * quarter / 4
                    })
            })
        };
        let due: BTreeSet<u32> = candidates(2).map(|(node, _)| router_of_node(node, shards)).collect();
        for (node, _) in candidates(1) {
            let router = router_of_node(node, shards);
            if due.contains(&router) {
                by_router.entry(router).or_default().insert(node.to_string());
            }
        }
        // What nobody uses is not renewed, and goes when it has ended.
        let bytes = &mut self.bytes;
        self.nodes.retain(|node, entry| {
            let is_over = entry.lease.as_ref().is_none_or(|lease| now.millis_since(lease.asked_at) >= lease_millis);
            let keep = !is_over || entry.asking.is_some() || self.wanted.contains_key(&**node);
            if !keep {
                *bytes = bytes.saturating_sub(entry.weight(node));
            }
            keep
        });
    }

    fn granted(&mut self, ask: u64, asked: &Asked, view: NodeView, in_time: bool) {
        let Some((node, entry)) =
            self.nodes.get_key_value(view.node.as_str()).map(|(node, entry)| (node.clone(), entry))
        else {
            return;
        };
        if entry.asking != Some(ask) || entry.is_tainted || !in_time {
            return;
        }
        let before = entry.weight(&node);
        let lease =
            Lease { view: View::new(view, self.settings.matches_parent), asked_at: asked.at, router: asked.router };
        let entry = Entry { lease: Some(lease), asking: None, is_tainted: false, used_at: entry.used_at };
        self.bytes = (self.bytes + entry.weight(&node)).saturating_sub(before);
        self.nodes.insert(node, entry);
    }

    fn drop_lease(&mut self, node: &str, of_lease: impl Fn(&Lease) -> bool, of_ask: impl Fn(u64) -> bool) {
        let Some(entry) = self.nodes.get_mut(node) else { return };
        if entry.lease.as_ref().is_some_and(of_lease) {
            self.bytes = self.bytes.saturating_sub(entry.weight(node));
            entry.lease = None;
        }
        entry.is_tainted |= entry.asking.is_some_and(of_ask);
        if entry.lease.is_none() && entry.asking.is_none() && !self.wanted.contains_key(node) {
            self.nodes.remove(node);
        }
    }

    fn make_room(&mut self) {
        let LeaseSettings { maximum_nodes, maximum_bytes, .. } = self.settings;
        if self.nodes.len() <= maximum_nodes && self.bytes <= maximum_bytes {
            return;
        }
        let idle = self.nodes.iter().filter(|(_, entry)| entry.asking.is_none() && entry.lease.is_some());
        let mut by_use: Vec<(UnixMillis, Box<str>)> = idle.map(|(node, entry)| (entry.used_at, node.clone())).collect();
        by_use.sort_unstable();
        for (_, node) in by_use {
            // A quarter more than necessary, so that it is not looked for each time.
            if self.nodes.len() <= maximum_nodes - maximum_nodes / 4 && self.bytes <= maximum_bytes - maximum_bytes / 4
            {
                break;
            }
            if let Some(entry) = self.nodes.remove(&node) {
                self.bytes = self.bytes.saturating_sub(entry.weight(&node));
            }
        }
    }
}

impl Entry {
    fn weight(&self, node: &str) -> usize {
        self.lease.as_ref().map_or(0, |lease| 128 + node.len() + lease.view.weight)
    }
}
