//! What a `Router` shard is asked. See ARCHITECTURE.md, "Routing".

use crate::address::BrokerId;
use crate::publication::Publication;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Requests to a `Router`, from Brokers and Sessions shards. All are idempotent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouterRequest {
    /// The sender has a first subscriber of this filter. Answered with `Applied` once it is a row and nobody holds an
    /// older lease of its node; with `Pending` if somebody does, and then `Registered` follows.
    Subscribe {
        /// A Topic Filter, `$share/…` included.
        filter: String,
        /// The sender's name for the answer.
        registration: u64,
    },
    /// The sender has no subscriber of this filter any more.
    Unsubscribe {
        /// A Topic Filter.
        filter: String,
    },
    /// Something lies below this node. Answered like `Subscribe`.
    Mark {
        /// The node.
        node: String,
        /// What.
        mark: Mark,
        /// The sender's name for the answer.
        registration: u64,
    },
    /// The sending Broker starts with nothing: what it asked for in earlier epochs is over, its leases too.
    EpochStarted,
    /// Lend these nodes to the sending Broker. Answered with `Reply::Leases`.
    Lease {
        /// The nodes.
        nodes: Vec<String>,
    },
    /// Who wants this topic, among the filters of this node, now? For nodes that are too large to lend.
    Route {
        /// The node.
        node: String,
        /// A Topic Name.
        topic: String,
    },
    /// Keep this as its topic's retained message, or forget the one there is if its payload is empty ([MQTT-3.3.1-6]).
    Retain(Publication),
    /// The retained messages that match. Answered with `Reply::Retained`.
    Retained {
        /// A Topic Filter.
        filter: String,
        /// The last topic of the page before.
        after: Option<String>,
        /// Messages in a page.
        limit: u32,
    },
    /// Keep a message for a shared group that has nobody online.
    QueueShared {
        /// `$share/{name}/{filter}`.
        shared_filter: String,
        /// The message.
        publication: Publication,
    },
    /// The queued messages of a shared group; those up to `after` have been delivered and are forgotten. Answered with
    /// `Reply::SharedQueue`.
    DrainShared {
        /// `$share/{name}/{filter}`.
        shared_filter: String,
        /// The place of the last message that the sender has in safety; zero for none.
        after: u64,
    },
    /// From the operator: move a virtual shard to another Router. Answered with `Pending` until it is there, then with
    /// `Applied`: to be asked again until then. `Refused` if another move of it is under way.
    HandOver {
        /// The virtual shard.
        shard: u16,
        /// The number of the Router that is to have it.
        to: u32,
    },
    /// From the Router that has the virtual shard: some of its rows. With the last the receiver has it.
    TakeOver {
        /// The virtual shard.
        shard: u16,
        /// Counts the moves of this virtual shard.
        version: u64,
        /// Packed rows.
        rows: Bytes,
        /// Whether these are the last; if so, for how many milliseconds the receiver must not confirm anything new,
        /// since leases that its predecessor gave may be in use.
        last: Option<u64>,
    },
    /// From a Router that has some rows of a virtual shard and is asked for it: send the rest. It wakes an object that
    /// a restart has interrupted.
    GoOn {
        /// The virtual shard.
        shard: u16,
    },
    /// The sending Broker has dropped all leases that this Router has given it: it has no connections any more.
    LeasesReturned,
}

/// What lies below a node, without saying where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mark {
    /// A Topic Filter at a deeper node.
    Filters,
    /// A retained message at a deeper node.
    Retained,
}

/// Somebody who wants messages.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Destination {
    /// A Broker with clients whose sessions end with their connections.
    Broker(BrokerId),
    /// A Sessions object, for sessions that outlive their connections.
    Sessions(u32),
}

/// What is known at a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// The node.
    pub node: String,
    /// Its filters, `$share/…` included, each with whoever has subscribers of it.
    pub filters: Vec<(String, Vec<Destination>)>,
    /// Whether deeper nodes may have filters. If not, nobody has to ask them.
    pub has_filters_below: bool,
    /// Whether the node has too many filters to be lent; `filters` is empty then, and every publish has to ask `Route`.
    pub is_large: bool,
}

/// A page of retained messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetainedPage {
    /// In the order of their topics.
    pub messages: Vec<Publication>,
    /// Where the next page begins; `None` when this is the last.
    pub next: Option<String>,
    /// Whether other Router shards may have retained messages below the filter's node.
    pub has_retained_below: bool,
    /// The virtual shards that this Router once had, and who got them: whoever has to ask all Routers learns of new ones
    /// here.
    pub given_away: Vec<(u16, u32)>,
}
