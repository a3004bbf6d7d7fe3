//! What a `Router` shard is asked.

use crate::address::BrokerId;
use serde::{Deserialize, Serialize};

/// Requests to a `Router`. All are idempotent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouterRequest {
    /// Who wants this topic, among the filters of this shard's nodes?
    Route {
        /// A Topic Name.
        topic: String,
    },
    /// The sending Broker has a first subscriber of this filter. Applied once it is a row.
    Subscribe {
        /// A Topic Filter.
        filter: String,
    },
    /// The sending Broker has no subscriber of this filter any more.
    Unsubscribe {
        /// A Topic Filter.
        filter: String,
    },
    /// The sending Broker starts with nothing: whatever it asked for in earlier epochs is over.
    EpochStarted,
}

/// The Brokers that have subscribers for a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destinations {
    /// In ascending order, without repeats.
    pub brokers: Vec<BrokerId>,
}
