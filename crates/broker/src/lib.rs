//! A whole MQTT server node without I/O: connections, sessions, subscriptions, publishing and rules, composed from
//! the domain crates.
//!
//! In scope: everything a node decides: who is let in, who gets a message and when its publisher is told so, what a
//! client may take of what all of them share. Out of scope: sockets, storage, clocks and calls; whoever runs a
//! [`Broker`] feeds it [`Input`]s, carries out its [`Output`]s in order, and calls [`Broker::flush`] at the end of a
//! tick. Nothing here knows about Cloudflare: the same node can run behind a TCP listener.
//!
//! One turn: inputs change state and fill buffers; `flush` turns the buffers into one frame for each client, one
//! packed call for each object and one queue message, so that work done together leaves together.
//!
//! | file | concept |
//! |---|---|
//! | `connect`, `closing` | from CONNECT to CONNACK; the end of a connection |
//! | `authority`, `permissions` | where it comes from what clients may do; what one of them may |
//! | `publish`, `publishes`, `dispatch`, `delivery` | taking a publish; what is known of it; its order, receivers and acknowledgement; this node's clients |
//! | `routes` | what is known of who wants what elsewhere, and what is registered there |
//! | `subscribe`, `retained`, `shared`, `events` | subscriptions that end with their connection, and what follows from them |
//! | `durable` | sessions that outlive their connection, which belong to their Sessions shard |
//! | `direct`, `reserved`, `rule_outputs` | messages for one client; requests to Things; rules |
//! | `requests`, `token` | what other objects ask; what they were asked, and who hears the answer |
//! | `budgets` | what one client may take of what all of them share |
//! | `placement` | its place among the Brokers of its region |

mod attachment;
mod authority;
mod broker;
mod budgets;
mod closing;
mod connect;
mod connection;
mod connections;
mod delivery;
mod direct;
mod dispatch;
mod durable;
mod events;
mod forwarding;
mod frames;
mod io;
mod permissions;
mod placement;
mod plans;
mod publish;
mod publishes;
mod requests;
mod reserved;
mod retained;
mod routes;
mod rule_outputs;
mod settings;
mod shared;
mod straight;
mod subscribe;
mod token;
mod touched;

pub use attachment::{Attachment, AttachmentError};
pub use authority::{AuthorityRequest, PolicySource, StoredAuthority};
pub use broker::Broker;
pub use io::{AuthenticationStep, Input, LogEvent, Output, StoredRule};
pub use permissions::{ConnectWish, PermissionsRecord};
pub use placement::PlacementSettings;
pub use settings::{BrokerLimits, BrokerSettings};

#[cfg(test)]
mod tests;
