//! A node as its lease shows it, ready for matching.

use messages::address::BrokerId;
use messages::router::{Destination, NodeView};
use mqtt_topic::{SubscriptionIndex, TopicFilter, matches, matches_without_parent};

/// Up to so many filters, trying one after the other is quicker than an index, and smaller.
const FEW: usize = 8;

/// Who wants a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destinations {
    /// Brokers, each once.
    pub brokers: Vec<BrokerId>,
    /// Sessions objects, each once.
    pub sessions: Vec<u32>,
    /// The shared groups that match, each once, by `$share/{name}/{filter}`, with whoever has members.
    pub shared: Vec<(String, Vec<Destination>)>,
    /// Nodes that are too large to be lent: their Routers have to be asked with `RouterRequest::Route` for this message,
    /// after it was accepted, and their answers go to [`Destinations::add_route`].
    pub large: Vec<String>,
}

impl Destinations {
    /// Whether nobody wants it, as far as is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.brokers.is_empty() && self.sessions.is_empty() && self.shared.is_empty() && self.large.is_empty()
    }

    /// Adds what a Router said of a large node (`Reply::Route`).
    pub fn add_route(&mut self, node: &str, found: Vec<(String, Vec<Destination>)>) {
        self.large.retain(|large| large != node);
        for (filter, destinations) in &found {
            self.add(filter, destinations);
        }
        self.tidy();
    }

    fn add(&mut self, filter: &str, destinations: &[Destination]) {
        if filter.starts_with("$share/") {
            self.shared.push((filter.to_owned(), destinations.to_vec()));
            return;
        }
        for destination in destinations {
            match destination {
                Destination::Broker(broker) if !self.brokers.contains(broker) => self.brokers.push(broker.clone()),
                Destination::Sessions(shard) if !self.sessions.contains(shard) => self.sessions.push(*shard),
                Destination::Broker(_) | Destination::Sessions(_) => {}
            }
        }
    }

    pub(crate) fn tidy(&mut self) {
        self.brokers.sort_unstable();
        self.sessions.sort_unstable();
        self.shared.sort_unstable();
        self.shared.dedup_by(|a, b| a.0 == b.0);
    }
}

#[derive(Clone, Debug)]
pub(crate) struct View {
    pub has_filters_below: bool,
    is_large: bool,
    filters: Vec<(String, Vec<Destination>)>,
    /// Places in `filters`, if these are many.
    index: Option<SubscriptionIndex<usize, ()>>,
    /// Memory, roughly, in bytes.
    pub weight: usize,
}

impl View {
    pub fn new(view: NodeView, matches_parent: bool) -> Self {
        let NodeView { filters, has_filters_below, is_large, .. } = view;
        let per_filter = if filters.len() > FEW { 160 } else { 48 };
        let weight = filters.iter().map(|(filter, to)| per_filter + filter.len() + 40 * to.len()).sum();
        let index = (filters.len() > FEW).then(|| {
            let mut index =
                if matches_parent { SubscriptionIndex::new() } else { SubscriptionIndex::without_parent_match() };
            for (place, (filter, _)) in filters.iter().enumerate() {
                if let Ok(parsed) = TopicFilter::new(filter.as_str()) {
                    index.insert(&parsed, place, ());
                }
            }
            index
        });
        Self { has_filters_below, is_large, filters, index, weight }
    }

    /// Adds those at this node that want the topic.
    pub fn collect(&self, node: &str, topic: &str, matches_parent: bool, destinations: &mut Destinations) {
        if self.is_large {
            destinations.large.push(node.to_owned());
        } else if let Some(index) = &self.index {
            index.for_each_match(topic, |place, ()| {
                if let Some((filter, to)) = self.filters.get(*place) {
                    destinations.add(filter, to);
                }
            });
        } else {
            let does_match = if matches_parent { matches } else { matches_without_parent };
            for (filter, to) in &self.filters {
                if does_match(filter, topic) {
                    destinations.add(filter, to);
                }
            }
        }
    }
}
