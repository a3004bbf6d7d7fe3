//! The server's side of one MQTT connection, and of its session, as pure state machines.
//!
//! In scope:
//! - what each packet means in each phase of a connection, in MQTT 3.1.1 and 5.0 ([`Session`]): acknowledgements and
//!   their order, QoS 2 both ways, flow control both ways, topic aliases both ways, keep-alive, enhanced
//!   authentication, what must be said before closing, what of the will and the session is left then;
//! - the outgoing half of a session ([`Outbound`]): packet identifiers, the receive window, the queue, what is sent
//!   again after a reconnect. A session that ends with its connection has it in [`Session`]; one that outlives it has
//!   it in its Sessions shard, and [`Session`] only passes packets and acknowledgements through;
//! - every limit, with AWS's values beside ours ([`SessionSettings`]).
//!
//! Out of scope: bytes → `mqtt-codec`; who else gets a message → `broker`, `routing`; who owns a client id, durable
//! sessions, when a will is published → `sessions`; whether a client may do something → the broker asks `device-auth`;
//! budgets that need more than one connection's view, or the size of what was sent → `broker`.
//!
//! Time and identifiers are arguments. [`Session::handle`] is the only way in, and what comes out is a list of
//! [`Output`]s to carry out in order.

mod io;
mod outbound;
mod rate;
mod session;
mod settings;
mod snapshot;
mod unsettled;

pub use io::{AcceptedSession, Disconnection, Input, Output};
pub use messages::session::{SubscriptionOptions, Subscriptions, WillMessage};
pub use outbound::{Delivery, Entry, Offer, Outbound, OutboundLimits, Phase, PubRec, Resend, Sending};
pub use rate::RateLimit;
pub use session::Session;
pub use settings::SessionSettings;
pub use snapshot::{SessionSnapshot, SnapshotError};
