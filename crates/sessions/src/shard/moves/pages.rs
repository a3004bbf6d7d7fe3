//! What a virtual shard moves in.

use crate::store::Received;
use iot_types::{ClientId, PacketId};
use messages::address::BrokerId;
use messages::session::Subscriptions;
use serde::{Deserialize, Serialize};

/// Subscriptions of clients that are still served by the object that sends them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SubscriptionsPage {
    pub clients: Vec<(ClientId, Subscriptions)>,
}

/// Clients that nobody serves any more: all of the virtual shard with ids after `after` and up to `last`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClientsPage {
    /// `None` for the beginning.
    pub after: Option<ClientId>,
    /// `None` for the end.
    pub last: Option<ClientId>,
    pub clients: Vec<MovedClient>,
    /// The epochs of their Brokers, as far as the sender has heard of them.
    pub epochs: Vec<(BrokerId, u64)>,
}

/// A client, without its messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MovedClient {
    pub client_id: ClientId,
    /// What its row says, without the events: those are the sender's to publish.
    pub bytes: Vec<u8>,
    pub subscriptions: Subscriptions,
    /// The packet identifiers it has published under with QoS 2.
    pub received: Vec<(PacketId, Received)>,
}

impl ClientsPage {
    /// Whether a client of the virtual shard would be in this page.
    pub fn covers(&self, client_id: &ClientId) -> bool {
        self.after.as_ref().is_none_or(|after| client_id > after)
            && self.last.as_ref().is_none_or(|last| client_id <= last)
    }
}
