//! The subscriptions of a Router shard, by Broker.

use messages::address::BrokerId;
use messages::router::Destinations;
use mqtt_topic::{SubscriptionIndex, TopicFilter};
use std::collections::{BTreeMap, BTreeSet};

/// The filters of one shard's nodes and the Brokers that have subscribers for them.
///
/// In memory it is a cache of the shard's rows: every change comes with the [`RowChange`] to store before the sender
/// hears that it is applied.
#[derive(Debug, Default)]
pub struct Directory {
    index: SubscriptionIndex<BrokerId, ()>,
    brokers: BTreeMap<BrokerId, Registered>,
}

#[derive(Debug, Default)]
struct Registered {
    epoch: u64,
    filters: BTreeSet<String>,
}

/// A change to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowChange {
    /// Insert a row, or replace the one of the same Broker and filter.
    Put {
        /// Who.
        broker: BrokerId,
        /// The Broker's epoch.
        epoch: u64,
        /// What.
        filter: String,
    },
    /// Delete the row of this Broker and filter.
    Delete {
        /// Who.
        broker: BrokerId,
        /// What.
        filter: String,
    },
    /// Delete all rows of this Broker.
    DeleteAll {
        /// Who.
        broker: BrokerId,
    },
}

impl Directory {
    /// The directory as its rows `(broker, epoch, filter)` have it. Rows that are no filters are passed over.
    pub fn restore(rows: impl IntoIterator<Item = (BrokerId, u64, String)>) -> Self {
        let mut directory = Self::default();
        for (broker, epoch, filter) in rows {
            directory.subscribe(&broker, epoch, &filter);
        }
        directory
    }

    /// The Broker wants what matches the filter. Returns what to store; repeating it changes nothing.
    pub fn subscribe(&mut self, broker: &BrokerId, epoch: u64, filter: &str) -> Vec<RowChange> {
        let Ok(parsed) = TopicFilter::new(filter) else { return Vec::new() };
        let mut changes = self.begin_epoch(broker, epoch);
        let registered = self.brokers.entry(broker.clone()).or_default();
        if registered.epoch != epoch {
            // A late word from an earlier epoch: that Broker has no subscribers of those days.
            return changes;
        }
        if registered.filters.insert(filter.to_owned()) {
            self.index.insert(&parsed, broker.clone(), ());
            changes.push(RowChange::Put { broker: broker.clone(), epoch, filter: filter.to_owned() });
        }
        changes
    }

    /// The Broker wants it no more.
    pub fn unsubscribe(&mut self, broker: &BrokerId, epoch: u64, filter: &str) -> Vec<RowChange> {
        let mut changes = self.begin_epoch(broker, epoch);
        let Some(registered) = self.brokers.get_mut(broker) else { return changes };
        if registered.epoch == epoch && registered.filters.remove(filter) {
            if let Ok(parsed) = TopicFilter::new(filter) {
                self.index.remove(&parsed, broker);
            }
            changes.push(RowChange::Delete { broker: broker.clone(), filter: filter.to_owned() });
        }
        changes
    }

    /// The Broker is in this epoch; what it asked for in earlier ones is over.
    pub fn begin_epoch(&mut self, broker: &BrokerId, epoch: u64) -> Vec<RowChange> {
        let registered = self.brokers.entry(broker.clone()).or_default();
        if registered.epoch >= epoch {
            return Vec::new();
        }
        registered.epoch = epoch;
        let over = core::mem::take(&mut registered.filters);
        if over.is_empty() {
            return Vec::new();
        }
        for filter in over {
            if let Ok(parsed) = TopicFilter::new(filter.as_str()) {
                self.index.remove(&parsed, broker);
            }
        }
        vec![RowChange::DeleteAll { broker: broker.clone() }]
    }

    /// The Brokers with a filter that matches the topic.
    #[must_use]
    pub fn route(&self, topic: &str) -> Destinations {
        let mut brokers = BTreeSet::new();
        self.index.for_each_match(topic, |broker, ()| {
            if !brokers.contains(broker) {
                brokers.insert(broker.clone());
            }
        });
        Destinations { brokers: brokers.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn broker(index: u32) -> BrokerId {
        BrokerId { region: "home".into(), index }
    }

    fn routed(directory: &Directory, topic: &str) -> Vec<u32> {
        directory.route(topic).brokers.iter().map(|broker| broker.index).collect()
    }

    #[test]
    fn a_topic_goes_to_each_broker_with_a_matching_filter_once() {
        let mut directory = Directory::default();
        directory.subscribe(&broker(2), 1, "a/+");
        directory.subscribe(&broker(2), 1, "a/#");
        directory.subscribe(&broker(1), 1, "a/b");
        directory.subscribe(&broker(3), 1, "b/#");
        assert_eq!(routed(&directory, "a/b"), [1, 2]);
    }

    #[test]
    fn a_repeated_subscription_stores_nothing() {
        let mut directory = Directory::default();
        assert_eq!(directory.subscribe(&broker(1), 1, "a").len(), 1);
        assert!(directory.subscribe(&broker(1), 1, "a").is_empty());
    }

    #[test]
    fn a_new_epoch_ends_what_earlier_ones_asked_for() {
        let mut directory = Directory::default();
        directory.subscribe(&broker(1), 1, "a");
        assert_eq!(directory.begin_epoch(&broker(1), 2), [RowChange::DeleteAll { broker: broker(1) }]);
        assert!(routed(&directory, "a").is_empty());
        assert!(directory.subscribe(&broker(1), 1, "a").is_empty(), "a late word of epoch 1");
        assert!(directory.unsubscribe(&broker(1), 1, "a").is_empty());
        assert!(routed(&directory, "a").is_empty());
    }

    #[test]
    fn a_restored_directory_routes_as_before() {
        let rows = [(broker(1), 4, "a/#".to_owned()), (broker(2), 1, "b".to_owned())];
        let mut directory = Directory::restore(rows);
        assert_eq!(routed(&directory, "a/x"), [1]);
        assert_eq!(directory.unsubscribe(&broker(1), 4, "a/#").len(), 1);
        assert!(routed(&directory, "a/x").is_empty());
    }

    proptest! {
        #[test]
        fn memory_and_rows_never_differ(
            steps in proptest::collection::vec((0_u32..3, 1_u64..4, 0_u8..3, "[ab](/[ab+])?"), 1..60)
        ) {
            let mut directory = Directory::default();
            let mut rows: BTreeMap<(BrokerId, String), u64> = BTreeMap::new();
            for (index, epoch, action, filter) in steps {
                let changes = match action {
                    0 => directory.begin_epoch(&broker(index), epoch),
                    1 => directory.unsubscribe(&broker(index), epoch, &filter),
                    _ => directory.subscribe(&broker(index), epoch, &filter),
                };
                for change in changes {
                    match change {
                        RowChange::Put { broker, epoch, filter } => { rows.insert((broker, filter), epoch); }
                        RowChange::Delete { broker, filter } => { rows.remove(&(broker, filter)); }
                        RowChange::DeleteAll { broker } => rows.retain(|(b, _), _| *b != broker),
                    }
                }
                let restored = Directory::restore(rows.iter().map(|((b, f), e)| (b.clone(), *e, f.clone())));
                for topic in ["a", "b", "a/a", "b/b"] {
                    prop_assert_eq!(directory.route(topic), restored.route(topic));
                }
            }
        }
    }
}
