//! Everything Umbra's own parts say to each other: requests between objects, queue bodies, and where objects live.
//!
//! In scope: the address book, the message types, their versioned binary form, and the channel that packs, numbers
//! and retries them. Out of scope: what a receiver does with a request (the domain crates), and how bytes travel
//! (`durable-objects`).
//!
//! **Format rule.** Worker and object code run at different versions for a while after a deploy. So variants are only
//! ever added at the end of their enum, and are understood one release before they are sent. A field can't be added to
//! what there is, since the binary form has neither names nor lengths: that takes a new variant or a raised
//! [`codec::VERSION`]. The pin tests hold the bytes of every message still.

pub mod address;
pub mod api;
pub mod broker;
pub mod channel;
pub mod codec;
pub mod jobs;
pub mod pool;
pub mod publication;
pub mod router;
pub mod rules;
pub mod session;
pub mod sessions;
pub mod thing;

use serde::{Deserialize, Serialize};

/// What one object or the Worker asks of an object. The variant names the class that can answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// For a `Broker`.
    Broker(broker::BrokerRequest),
    /// For a `Router`.
    Router(router::RouterRequest),
    /// For a `Sessions` shard.
    Sessions(sessions::SessionsRequest),
    /// For a `Thing`.
    Thing(thing::ThingRequest),
    /// For a `Job`.
    Job(jobs::JobRequest),
    /// For a `BrokerPool`.
    Pool(pool::PoolRequest),
}

/// The answer to one [`Request`], in the same place of the batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done; there is nothing to say.
    Applied,
    /// It is on its way; a later message says when it is done.
    Pending,
    /// From a `Router`: who wants the topic.
    Route(Vec<(String, Vec<router::Destination>)>),
    /// From a `Router`: what it knows at each node, in the order asked.
    Leases(Vec<router::NodeView>),
    /// From a `Router`: retained messages.
    Retained(router::RetainedPage),
    /// From a `Router`: queued messages of a shared group with their places, oldest first.
    SharedQueue(Vec<(u64, publication::Publication)>),
    /// From a `Sessions` shard: what became of a claim.
    Claim(sessions::ClaimReply),
    /// From a `Sessions` shard: what is known of a packet identifier of QoS 2.
    Received(sessions::ReceivedState),
    /// From a Broker or a `Sessions` shard: what became of a message for a shared group.
    Shared(sessions::SharedReply),
    /// From a `Sessions` shard: what it knows of a client id.
    Client(Option<Box<session::ClientState>>),
    /// From a Broker: the subscriptions of a connection.
    Subscriptions(Option<session::Subscriptions>),
    /// From a `Thing`: what to publish and what to answer.
    Thing(thing::ThingReply),
    /// From a `Job`.
    Job(jobs::JobReply),
    /// This object can't do that now. The sender treats it as a failure of its own request, not of the batch.
    Refused(Refusal),
    /// From a `BrokerPool`.
    Pool(pool::PoolReply),
    /// From a Broker: how it is.
    BrokerReport(pool::BrokerReport),
}

/// Why a request was refused, for logs and for the sender's decision to try again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The request is for another class: a programming error or a mismatch of versions.
    WrongClass,
    /// Storage or another dependency failed; trying again may help.
    Unavailable,
    /// The sender's epoch or connection number is not the present one: whatever it speaks for is over.
    Superseded,
    /// There is no room for it now; what was asked has not been done.
    Full,
    /// The virtual shard lives in another object now.
    Moved {
        /// The virtual shard.
        shard: u16,
        /// The number of the object that has it.
        to: u32,
    },
}
