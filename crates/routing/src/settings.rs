//! Settings, with defaults.

use messages::channel::ChannelLimits;

/// Of a Router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterSettings {
    /// T: how long a lease lasts, in milliseconds. As [`LeaseSettings::lease_millis`].
    pub lease_millis: u64,
    /// How much longer than T a Router waits for a holder that it can't reach: clocks differ.
    pub margin_millis: u64,
    /// How long an instance of a Broker may use its leases after a later epoch of the Broker was heard of, in
    /// milliseconds. Longer than the Broker's own interval between the writes that prove it to be the present one.
    pub superseded_millis: u64,
    /// Wait before a revocation that did not arrive is sent again, in milliseconds.
    pub retry_millis: u64,
    /// A Broker without leases for so long is forgotten as a holder, in milliseconds.
    pub forget_millis: u64,
    /// How long a move of a virtual shard waits for the holders of its leases before it leaves the rest of the waiting to
    /// the new owner, in milliseconds. Nobody is answered meanwhile.
    pub move_millis: u64,
    /// Largest view to lend, in bytes; publishers ask for larger nodes each time.
    pub view_bytes: usize,
    /// Most (filter, destination) pairs of a node. Beyond it SUBSCRIBE is refused.
    pub node_rows: usize,
    /// Memory for nodes in use, in bytes.
    pub cache_bytes: usize,
    /// Memory for retained messages, in bytes: if they take more, they are read from the rows each time.
    pub retained_bytes: usize,
    /// When they are counted again after they were too many, in milliseconds.
    pub retained_retry_millis: u64,
    /// Most bytes in the answer to one call. Well below `MAXIMUM_BATCH_BYTES`.
    pub reply_bytes: usize,
    /// Most messages that wait for a shared group with nobody online; beyond it new ones are refused.
    pub shared_messages: usize,
    /// Most bytes of them.
    pub shared_bytes: usize,
    /// How long a destination that drains the queue of a shared group keeps others from it, in milliseconds.
    pub drain_millis: u64,
    /// Whether the Message Expiry Interval ends retained messages; AWS keeps them.
    pub retained_expire: bool,
    /// Whether `a/#` matches `a`; AWS: no.
    pub matches_parent: bool,
    /// Of the calls that the Router makes.
    pub channel: ChannelLimits,
}

impl Default for RouterSettings {
    fn default() -> Self {
        Self {
            lease_millis: 60_000,
            margin_millis: 5_000,
            superseded_millis: 3_000,
            retry_millis: 2_000,
            forget_millis: 600_000,
            move_millis: 2_000,
            view_bytes: 256 * 1024,
            node_rows: 50_000,
            cache_bytes: 24 * 1024 * 1024,
            retained_bytes: 8 * 1024 * 1024,
            retained_retry_millis: 600_000,
            reply_bytes: 2 * 1024 * 1024,
            shared_messages: 10_000,
            shared_bytes: 16 * 1024 * 1024,
            drain_millis: 30_000,
            retained_expire: true,
            matches_parent: true,
            channel: ChannelLimits::default(),
        }
    }
}

/// Of [`Leases`](crate::Leases).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseSettings {
    /// T: how long a lease may be used after it was asked for, in milliseconds.
    pub lease_millis: u64,
    /// Wait before nodes are asked for again whose Router could not answer, in milliseconds.
    pub retry_millis: u64,
    /// Most nodes in one request.
    pub ask_nodes: usize,
    /// Most nodes in memory; beyond it those used longest ago go.
    pub maximum_nodes: usize,
    /// Most bytes of views in memory, roughly.
    pub maximum_bytes: usize,
    /// Whether `a/#` matches `a`; AWS: no.
    pub matches_parent: bool,
}

impl Default for LeaseSettings {
    fn default() -> Self {
        Self {
            lease_millis: 60_000,
            retry_millis: 500,
            ask_nodes: 512,
            maximum_nodes: 50_000,
            maximum_bytes: 16 * 1024 * 1024,
            matches_parent: true,
        }
    }
}

/// Of [`Registrar`](crate::Registrar).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistrarSettings {
    /// Wait before what a Router could not do is asked again, in milliseconds.
    pub retry_millis: u64,
    /// Wait before a Router that promised to confirm is asked again: it may have forgotten, in milliseconds.
    pub pending_millis: u64,
    /// When a registration has failed, in milliseconds. Longer than T and the Router's margin, or an unreachable holder
    /// makes registrations fail.
    pub deadline_millis: u64,
    /// How many marked nodes are remembered.
    pub maximum_marks: usize,
}

impl Default for RegistrarSettings {
    fn default() -> Self {
        Self { retry_millis: 1_000, pending_millis: 5_000, deadline_millis: 75_000, maximum_marks: 20_000 }
    }
}
