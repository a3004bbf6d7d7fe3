//! Who wants which topic: the directory that Routers keep, the leases that publishers' Brokers hold of it, and the
//! registrations by which subscribers get into it.
//!
//! In scope:
//! - [`RouterShard`]: a Router object. Filters by node and destination, leases and their revocation, retained messages,
//!   the queue of shared groups with nobody online, and the move of a virtual shard to another object;
//! - [`Leases`]: what a Broker knows of the nodes on its publishers' topics, and what it has to ask;
//! - [`Registrar`]: the filters for which a Broker or a Sessions object is a destination, and whether they are in force.
//!
//! Out of scope:
//! - messages on their way: they never pass a Router → `broker`, `sessions`;
//! - clients and sessions, of which a Router has never heard;
//! - which member of a shared group gets a message → `broker`;
//! - the database → whoever implements [`RouterStore`].
//!
//! A filter belongs to one node, its literal prefix of at most four levels ([`mqtt_topic::node`]), a node to one virtual
//! shard, and a virtual shard to one Router. **Invariant L**: once a registration is complete, every [`Leases::route`] of
//! every Broker names its destination, whatever is lost, repeated, late or restarted on the way. It rests on this:
//! a filter is a row before anything is confirmed; leases that were lent before it are revoked, and the confirmation waits
//! until their holders have said that they dropped them, or until the leases have ended by themselves; who may hold
//! leases is a row before the first of them leaves, so that a Router that forgot everything still knows whom to ask.

mod leases;
mod registrar;
mod router;
mod settings;
mod store;

pub use leases::{Ask, Destinations, Leases, Route};
pub use registrar::{Added, Registrar, RegistrarRequest, RegistrarToken, Registration};
pub use router::RouterShard;
pub use settings::{LeaseSettings, RegistrarSettings, RouterSettings};
pub use store::{RouterStore, Row, StoreError};

use messages::address::ShardMap;
use mqtt_topic::node;

/// The number of the Router that keeps a Topic Filter. For a Topic Name: the one that keeps its retained message.
#[must_use]
pub fn router_of_filter(filter: &str, shards: &ShardMap) -> u32 {
    router_of_node(node::node_of(filter), shards)
}

/// The number of the Router that keeps a node.
#[must_use]
pub fn router_of_node(node: &str, shards: &ShardMap) -> u32 {
    shards.place(node.as_bytes())
}
