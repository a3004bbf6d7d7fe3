//! A `Sessions` shard: who has which client id, and the sessions that outlive their connections.
//!
//! In scope:
//! - claims: a client id has one connection in the whole platform, and a number fences every other;
//! - durable sessions: their subscriptions and the word of them to the Routers, their queues, what is in flight, QoS 2
//!   both ways, their expiry;
//! - wills and presence events, decided in the order of the claims;
//! - shared groups' members here, retained messages for new subscriptions, the API's questions about a client id;
//! - moving a virtual shard to another object.
//!
//! Out of scope:
//! - packets and sessions that end with their connections → `mqtt-session`, in a Broker;
//! - who wants a topic → `routing`;
//! - whether a client may do something → the Broker has decided before it asks;
//! - the database → whoever implements [`SessionStore`].
//!
//! **Delivered or durable.** What a reply promises is stored before it leaves: all changes of one call are one
//! transaction ([`Changes`]), and nothing leaves the shard but through [`SessionsShard::calls`], after it. A shard can
//! lose its memory at any moment and is made again of its rows. A message of QoS 1 for a fast client is never a row: its
//! publisher is told to wait until the client has acknowledged or the row is there.
//!
//! **What a Broker owes the shard.** It asks the same claim again when it hears no decision. Its tickets differ over all
//! its memories. A session is the shard's if an expiry was asked for *or* `session_present` is granted. It drops a
//! PUBLISH that is marked as sent before if the connection has had it and not answered. Its answers carry a new epoch as
//! soon as it has lost its connections, not only when it gets new ones.

mod claims;
mod client;
mod live;
mod memory_store;
mod settings;
mod shard;
mod store;
mod subscriptions;

pub use memory_store::{Failing, MemoryStore};
pub use settings::ShardSettings;
pub use shard::{LogEvent, SessionsShard};
pub use store::{
    BrokerRow, Changes, ClientRow, MAXIMUM_ROW_MESSAGES, MessageChange, MessageRow, MessageState, MessagesPage,
    MessagesSummary, Phase, Received, SessionStore, StoreError, phase_of, unfinished,
};
