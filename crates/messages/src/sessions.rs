//! What a `Sessions` shard is asked.

use crate::broker::ConnectionId;
use iot_types::ClientId;
use serde::{Deserialize, Serialize};

/// Requests to a `Sessions` shard, from Brokers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionsRequest {
    /// A CONNECT has been authenticated: make this the client id's only connection ([MQTT-3.1.4-3]).
    Claim {
        /// The client id.
        client_id: ClientId,
        /// The claiming Broker's connection.
        connection: ConnectionId,
    },
    /// The connection is gone; forget it if it still is the client id's.
    Release {
        /// The client id.
        client_id: ClientId,
        /// The number that the claim was granted with.
        number: u64,
    },
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClaimReply {
    /// The client id is this connection's. Numbers rise with every claim of a client id.
    Granted {
        /// The connection number.
        number: u64,
    },
    /// An older connection has to end first; `BrokerRequest::ClaimDecided` follows.
    Pending,
}
