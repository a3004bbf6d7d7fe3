//! The server's side of one MQTT connection and of a client id, as pure state machines.
//!
//! In scope: what each packet means in each phase, acknowledgements and their order, flow control, keep-alive, the
//! will, what must be said before closing ([`Session`]); and who owns a client id ([`claims`]).
//! Out of scope: bytes (`mqtt-codec`), who else gets a message (`broker`, `routing`), and whether a client may do
//! something (the broker asks `device-auth`). Sessions that outlive their connection come with the `Sessions` shards'
//! durable half.
//!
//! Time and identifiers are arguments. [`Session::handle`] is the only way in, and what comes out is a list of
//! [`Output`]s to carry out in order.

pub mod claims;
mod io;
mod outbound;
mod session;
mod settings;
mod shard;
mod snapshot;
mod unsettled;

pub use io::{Delivery, Disconnection, Input, Output, Subscriptions, WillMessage};
pub use session::Session;
pub use settings::SessionSettings;
pub use shard::{RowEffect, SessionsShard};
pub use snapshot::{SessionSnapshot, SnapshotError};

use serde::{Deserialize, Serialize};

/// The options of one subscription (MQTT 5.0 section 3.8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionOptions {
    /// The highest quality of service to deliver with.
    pub qos: iot_types::Qos,
    /// Don't deliver what the same client published.
    pub no_local: bool,
    /// Forward the RETAIN flag as it was published.
    pub retain_as_published: bool,
    /// The Subscription Identifier to put on deliveries.
    pub subscription_identifier: Option<u32>,
}
