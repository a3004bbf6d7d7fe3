//! What a `Broker` is asked.

use crate::publication::Publication;
use iot_types::ClientId;
use serde::{Deserialize, Serialize};

/// A network connection of a Broker: counts up within one Broker epoch and never comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionId(pub u64);

/// Requests to a `Broker`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BrokerRequest {
    /// From another Broker: hand the message to the local subscribers. Not idempotent, so channels deduplicate it.
    Deliver(Publication),
    /// From a publisher that is no client (HTTPS publish, a Thing): publish as if a client here had.
    Publish(Publication),
    /// From a Sessions shard: the client id belongs to a newer connection; close this one.
    Fence {
        /// The connection to close.
        connection: ConnectionId,
        /// Whose it is.
        client_id: ClientId,
    },
    /// From a Sessions shard: a claim that had to wait is decided.
    ClaimDecided {
        /// The connection that claimed.
        connection: ConnectionId,
        /// The connection number if granted; `None` when a newer claim won.
        number: Option<u64>,
    },
    /// From the API: rules changed; read them again. A hint, the registry is the truth.
    RulesChanged {
        /// The sequence number of the control log that the change has.
        sequence: u64,
    },
}
