//! Who wants which topic: the directory that a `Router` shard keeps, and the way from a topic to its shards.
//!
//! In scope: nodes of the topic tree and their shards ([`shards_of_topic`], [`shard_of_filter`]), and which Brokers
//! have which filters ([`Directory`]). Out of scope: messages themselves, which never pass a Router, and clients,
//! which a Router has never heard of.
//!
//! A filter belongs to one node, its literal prefix of at most four levels, and a node to one shard. A publish asks
//! the shards of the nodes on its topic's path, so nothing has to be known everywhere.

mod directory;

pub use directory::{Directory, RowChange};

use messages::address::{Address, Shards};
use mqtt_topic::node;
use std::collections::BTreeSet;

/// The Router shard that keeps a Topic Filter.
#[must_use]
pub fn shard_of_filter(filter: &str, shards: Shards) -> Address {
    Address::router_of_node(node::node_of(filter), shards)
}

/// The Router shards that may know a subscriber of a Topic Name: at most five.
#[must_use]
pub fn shards_of_topic(topic: &str, shards: Shards) -> BTreeSet<Address> {
    node::nodes_on_path(topic).map(|node| Address::router_of_node(node, shards)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Each level of the topic stays, becomes `+`, or ends the filter with `#`.
        #[test]
        fn whoever_asks_all_shards_of_a_topic_meets_every_filter_that_matches(
            first in ("[ab]", 0_u8..5), others in proptest::collection::vec(("[ab]?", 0_u8..5), 0..7), count in 1_u32..9
        ) {
            let levels: Vec<_> = core::iter::once(first).chain(others).collect();
            let topic = levels.iter().map(|(level, _)| level.as_str()).collect::<Vec<_>>().join("/");
            let mut filter = Vec::new();
            for (level, choice) in &levels {
                filter.push(match choice { 0 => "#", 1 => "+", _ => level.as_str() });
                if *choice == 0 {
                    break;
                }
            }
            let filter = filter.join("/");
            prop_assert!(mqtt_topic::matches(&filter, &topic));
            let shards = Shards::new(count);
            prop_assert!(shards_of_topic(&topic, shards).contains(&shard_of_filter(&filter, shards)));
        }
    }
}
