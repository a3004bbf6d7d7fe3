//! A whole MQTT server node without I/O: connections, sessions, subscriptions, publishing and rules, composed from
//! the domain crates.
//!
//! In scope: everything a node decides. Out of scope: sockets, storage, clocks and calls; whoever runs a [`Broker`]
//! feeds it [`Input`]s, carries out its [`Output`]s in order, and calls [`Broker::flush`] at the end of a tick.
//! Nothing here knows about Cloudflare: the same node can run behind a TCP listener.
//!
//! One turn: inputs change state and fill buffers; `flush` turns the buffers into one frame for each client, one
//! packed call for each object and one queue message, so that work done together leaves together.

mod attachment;
mod broker;
mod connect;
mod connection;
mod io;
mod publish;
mod reserved;
mod rule_outputs;
mod settings;
mod subscribe;

pub use attachment::{Attachment, AttachmentError};
pub use broker::Broker;
pub use io::{Input, LogEvent, Output, StoredRule};
pub use settings::BrokerSettings;
