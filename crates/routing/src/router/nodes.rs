//! The nodes in use, in memory: a cache of their rows.

use crate::store::{self, RouterStore, StoreError, Subscription};
use messages::address::{Address, BrokerId};
use messages::router::{Destination, Mark, NodeView};
use mqtt_topic::{SubscriptionIndex, TopicFilter};
use std::collections::BTreeMap;

/// Rows read at a time.
const PAGE: usize = 1_000;

/// Nodes of which nothing has been asked for long are given back when the others need their memory.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    nodes: BTreeMap<String, Node>,
    bytes: usize,
    clock: u64,
}

/// What the rows of one node say.
#[derive(Debug, Default)]
pub(crate) struct Node {
    filters: BTreeMap<String, BTreeMap<Destination, Subscription>>,
    rows: usize,
    view_bytes: usize,
    pub has_filters_below: bool,
    pub has_retained_below: bool,
    /// Made when the node is too large to be lent and its topics are asked for.
    index: Option<SubscriptionIndex<String, ()>>,
    used: u64,
}

/// The senders' epochs: whether a Broker's row is of its present one.
pub(crate) fn is_alive(
    senders: &BTreeMap<Address, store::SenderRow>,
    destination: &Destination,
    row: &Subscription,
) -> bool {
    match destination {
        Destination::Broker(broker) => {
            senders.get(&Address::Broker(broker.clone())).is_none_or(|sender| sender.epoch <= row.epoch)
        }
        Destination::Sessions(_) => true,
    }
}

impl Node {
    /// How many (filter, destination) pairs there are.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    pub fn get(&self, filter: &str, destination: &Destination) -> Option<Subscription> {
        self.filters.get(filter)?.get(destination).copied()
    }

    pub const fn is_large(&self, limit: usize) -> bool {
        self.view_bytes > limit
    }

    /// What a holder of the node's lease is told.
    pub fn view(&self, node: &str, limit: usize) -> NodeView {
        let is_large = self.is_large(limit);
        let filters = if is_large {
            Vec::new()
        } else {
            let of =
                |(filter, to): (&String, &BTreeMap<Destination, _>)| (filter.clone(), to.keys().cloned().collect());
            self.filters.iter().map(of).collect()
        };
        NodeView { node: node.to_owned(), filters, has_filters_below: self.has_filters_below, is_large }
    }

    /// Bytes of [`Self::view`], roughly.
    pub const fn view_weight(&self, limit: usize) -> usize {
        16 + if self.is_large(limit) { 0 } else { self.view_bytes }
    }

    /// The filters that match a topic, with who has them.
    pub fn route(&mut self, topic: &str, matches_parent: bool) -> Vec<(String, Vec<Destination>)> {
        let index = self.index.get_or_insert_with(|| {
            let mut index =
                if matches_parent { SubscriptionIndex::new() } else { SubscriptionIndex::without_parent_match() };
            for filter in self.filters.keys() {
                if let Ok(parsed) = TopicFilter::new(filter.as_str()) {
                    index.insert(&parsed, filter.clone(), ());
                }
            }
            index
        });
        let mut found = Vec::new();
        index.for_each_match(topic, |filter, ()| {
            if let Some(to) = self.filters.get(filter) {
                found.push((filter.clone(), to.keys().cloned().collect()));
            }
        });
        found
    }

    fn insert(&mut self, filter: &str, destination: Destination, row: Subscription) {
        let weight = weight(&destination);
        if !self.filters.contains_key(filter) {
            self.view_bytes += filter.len() + 3;
            if let (Some(index), Ok(parsed)) = (&mut self.index, TopicFilter::new(filter)) {
                index.insert(&parsed, filter.to_owned(), ());
            }
        }
        if self.filters.entry(filter.to_owned()).or_default().insert(destination, row).is_none() {
            self.rows += 1;
            self.view_bytes += weight;
        }
    }

    fn remove(&mut self, filter: &str, destination: &Destination) {
        let Some(to) = self.filters.get_mut(filter) else { return };
        if to.remove(destination).is_none() {
            return;
        }
        self.rows -= 1;
        self.view_bytes = self.view_bytes.saturating_sub(weight(destination));
        if to.is_empty() {
            self.filters.remove(filter);
            self.view_bytes = self.view_bytes.saturating_sub(filter.len() + 3);
            if let (Some(index), Ok(parsed)) = (&mut self.index, TopicFilter::new(filter)) {
                index.remove(&parsed, &filter.to_owned());
            }
        }
    }

    /// Memory that it takes, roughly.
    const fn memory(&self) -> usize {
        256 + 2 * self.view_bytes + 160 * self.rows
    }
}

fn weight(destination: &Destination) -> usize {
    match destination {
        Destination::Broker(broker) => broker.region.len() + 7,
        Destination::Sessions(_) => 6,
    }
}

impl Nodes {
    /// The node, read from its rows if it isn't in memory.
    pub fn load(
        &mut self,
        name: &str,
        limit: usize,
        senders: &BTreeMap<Address, store::SenderRow>,
        store: &mut dyn RouterStore,
    ) -> Result<&mut Node, StoreError> {
        self.clock += 1;
        if !self.nodes.contains_key(name) {
            self.make_room(limit);
            let node = read(name, senders, store)?;
            self.bytes += node.memory();
            self.nodes.insert(name.to_owned(), node);
        }
        let clock = self.clock;
        let node = self.nodes.entry(name.to_owned()).or_default();
        node.used = clock;
        Ok(node)
    }

    /// A row of a loaded node has been written.
    pub fn insert(&mut self, name: &str, filter: &str, destination: Destination, row: Subscription) {
        self.change(name, |node| node.insert(filter, destination, row));
    }

    /// A row of a loaded node has been deleted.
    pub fn remove(&mut self, name: &str, filter: &str, destination: &Destination) {
        self.change(name, |node| node.remove(filter, destination));
    }

    /// What a Broker asked for before this epoch is void. Its rows stay until they are written anew or swept: after a
    /// restart most of them are asked for again.
    pub fn begin_epoch(&mut self, broker: &BrokerId, epoch: u64) {
        let destination = Destination::Broker(broker.clone());
        let mut bytes = 0;
        for node in self.nodes.values_mut() {
            let over =
                |to: &BTreeMap<Destination, Subscription>| to.get(&destination).is_some_and(|row| row.epoch < epoch);
            let filters: Vec<String> =
                node.filters.iter().filter(|(_, to)| over(to)).map(|(filter, _)| filter.clone()).collect();
            for filter in filters {
                node.remove(&filter, &destination);
            }
            bytes += node.memory();
        }
        self.bytes = bytes;
    }

    /// The nodes of these virtual shards are another object's, or will be.
    pub fn forget(&mut self, shard: u16) {
        self.nodes.retain(|name, _| store::shard_of_node(name) != shard);
        self.bytes = self.nodes.values().map(Node::memory).sum();
    }

    fn change(&mut self, name: &str, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(name) {
            let before = node.memory();
            change(node);
            self.bytes = (self.bytes + node.memory()).saturating_sub(before);
        }
    }

    fn make_room(&mut self, limit: usize) {
        if self.bytes <= limit {
            return;
        }
        let mut by_use: Vec<(u64, String)> = self.nodes.iter().map(|(name, node)| (node.used, name.clone())).collect();
        by_use.sort_unstable();
        // A quarter more than necessary, so that it is not looked for each time.
        for (_, name) in by_use {
            if self.bytes <= limit - limit / 4 {
                break;
            }
            if let Some(node) = self.nodes.remove(&name) {
                self.bytes = self.bytes.saturating_sub(node.memory());
            }
        }
    }
}

fn read(
    name: &str,
    senders: &BTreeMap<Address, store::SenderRow>,
    store: &mut dyn RouterStore,
) -> Result<Node, StoreError> {
    let mut node = Node::default();
    let (from, to) = store::marks_of(name);
    for key in store.scan_keys(&from, &to, 8)? {
        match store::parse_mark(&key) {
            Some(Mark::Filters) => node.has_filters_below = true,
            Some(Mark::Retained) => node.has_retained_below = true,
            None => {}
        }
    }
    let (mut from, to) = store::subscriptions_of(name);
    loop {
        let rows = store.scan(&from, &to, PAGE)?;
        let is_last = rows.len() < PAGE;
        for (key, value) in rows {
            let row: Subscription = store::decode(&value)?;
            if let Some((filter, destination)) = store::parse_subscription(&key)
                && is_alive(senders, &destination, &row)
            {
                node.insert(filter, destination, row);
            }
            from = store::after(&key);
        }
        if is_last {
            return Ok(node);
        }
    }
}
