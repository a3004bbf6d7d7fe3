//! What a `Broker` is asked.

use crate::pool::Directive;
use crate::publication::Publication;
use crate::session::{Grant, Outgoing};
use bytes::Bytes;
use iot_types::{ClientId, PacketId};
use serde::{Deserialize, Serialize};

/// A network connection of a Broker: counts up within one Broker epoch and never comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConnectionId(pub u64);

/// Requests to a `Broker`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BrokerRequest {
    /// From another Broker: hand the message to the local subscribers whose sessions end with their connections. Not
    /// idempotent, so channels deduplicate it.
    Deliver(Publication),
    /// From a publisher that is no client (HTTPS publish, a Thing, a will): publish as if a client here had.
    Publish(Publication),
    /// From a Sessions shard: close this connection.
    Fence {
        /// The connection to close.
        connection: ConnectionId,
        /// Whose it is.
        client_id: ClientId,
        /// Why.
        reason: FenceReason,
    },
    /// From a Sessions shard: a claim that had to wait is decided.
    ClaimDecided {
        /// The connection that claimed.
        connection: ConnectionId,
        /// What was granted; `None` when a newer claim won.
        grant: Option<Box<Grant>>,
    },
    /// From the API: rules changed; read them again. A hint, the registry is the truth.
    RulesChanged {
        /// The sequence number of the control log that the change has.
        sequence: u64,
    },
    /// From another Broker: hand the message to one local member of a shared group. Answered with `Reply::Shared`.
    DeliverShared {
        /// The group's filter, `$share/{name}/{filter}`.
        shared_filter: String,
        /// The message.
        publication: Publication,
    },
    /// From a Sessions shard: packets for the client, in this order. Not idempotent.
    Send {
        /// The connection.
        connection: ConnectionId,
        /// The number that it was granted with. May come before the grant itself.
        number: u64,
        /// What to send.
        packets: Vec<Outgoing>,
    },
    /// From a Sessions shard: a SUBSCRIBE that had to wait is in force.
    Subscribed {
        /// The connection.
        connection: ConnectionId,
        /// The number that it was granted with.
        number: u64,
        /// Of the SUBSCRIBE.
        packet_id: PacketId,
        /// For each filter, whether it is in force.
        are_stored: Vec<bool>,
    },
    /// From a Sessions shard: messages that it answered with `Reply::Pending` are safe, or can't be made so.
    Settled {
        /// The sender's tickets, and whether each is safe.
        tickets: Vec<(u64, bool)>,
    },
    /// From a Router: these leases end now.
    Revoke {
        /// The nodes; `None` for all that the Router has ever given.
        nodes: Option<Vec<String>>,
    },
    /// From a Router: a registration that it answered with `Reply::Pending` is complete.
    Registered {
        /// As in the request.
        registration: u64,
    },
    /// From the API: which subscriptions does this connection have? Answered with `Reply::Subscriptions`.
    Subscriptions {
        /// The connection.
        connection: ConnectionId,
    },
    /// From the region's pool: take connections, or send them elsewhere. Answered with `Reply::BrokerReport`.
    Pool(Directive),
    /// From a Sessions shard: publish a will or a presence event. Answered with `Applied` when it is safe with everybody
    /// who wants it, with `Pending` if that takes longer, and then `SessionsRequest::Announced` follows.
    Announce {
        /// The message.
        publication: Publication,
        /// The shard's name for the answer.
        ticket: u64,
    },
    /// From another Broker: as `Deliver`, messages that need nothing but their packets: of QoS 0 and 1, not retained,
    /// without an expiry.
    DeliverPackets {
        /// PUBLISH packets of MQTT 5.0, one behind the other, with the packet identifiers of their publishers.
        packets: Bytes,
    },
    /// From the API: what some clients may do has changed; read it again. A hint, the registry is the truth.
    AuthoritiesChanged {
        /// The sequence number of the control log that the change has.
        sequence: u64,
        /// Whom it concerns.
        subject: AuthoritySubject,
    },
}

/// Whose permissions have changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthoritySubject {
    /// Nobody: the number is told, so that a Broker learns that it has missed something.
    Nobody,
    /// All that have this policy.
    Policy(String),
    /// The holder of this certificate, by its identifier: its policies, its things or its status.
    Principal(String),
    /// The client that is this thing: its attributes, its type or its groups.
    Thing(String),
    /// All clients whose things are in this thing group, or below it.
    ThingGroup(String),
}

/// Why a connection has to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FenceReason {
    /// A newer connection has the client id (0x8E).
    TakenOver,
    /// DeleteConnection (0x98).
    Administrative {
        /// Whether the Will Message is to be dropped.
        prevents_will: bool,
    },
}
