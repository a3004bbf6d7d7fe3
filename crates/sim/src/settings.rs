//! What a simulated deployment looks like, and what goes wrong in it.

use broker::{BrokerLimits, BrokerSettings};
use iot_types::{AccountId, Region, Scope};
use messages::address::{BrokerId, ShardMap};
use messages::channel::ChannelLimits;
use mqtt_session::SessionSettings;
use mqtt_topic::TopicLimits;
use routing::RouterSettings;
use sessions::ShardSettings;

/// The shape of a simulated deployment.
#[derive(Clone, Debug)]
pub struct WorldSettings {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Broker nodes.
    pub brokers: u32,
    /// Shards of the topic tree.
    pub router_shards: u32,
    /// Shards of the client ids.
    pub sessions_shards: u32,
    /// Limits of each session.
    pub session: SessionSettings,
    /// Limits of each channel.
    pub channels: ChannelLimits,
    /// What goes wrong by chance.
    pub faults: Faults,
    /// A mistake built in on purpose, to see that the model finds it.
    pub sabotage: Option<Sabotage>,
    /// What no object may exceed.
    pub ceilings: Ceilings,
}

impl Default for WorldSettings {
    fn default() -> Self {
        Self {
            seed: 1,
            brokers: 2,
            router_shards: 2,
            sessions_shards: 2,
            session: SessionSettings::STANDARD,
            channels: ChannelLimits::default(),
            faults: Faults::default(),
            sabotage: None,
            ceilings: Ceilings::default(),
        }
    }
}

impl WorldSettings {
    pub(crate) fn router_shards(&self) -> ShardMap {
        ShardMap::new(u16::try_from(self.router_shards).unwrap_or(u16::MAX))
    }

    pub(crate) fn sessions_shards(&self) -> ShardMap {
        ShardMap::new(u16::try_from(self.sessions_shards).unwrap_or(u16::MAX))
    }

    pub(crate) fn router_settings(&self) -> RouterSettings {
        RouterSettings { channel: self.channels, ..RouterSettings::default() }
    }

    pub(crate) fn shard_settings(&self) -> ShardSettings {
        ShardSettings { brokers: self.brokers, channel: self.channels, ..ShardSettings::default() }
    }

    pub(crate) fn broker_settings(&self, index: u32) -> Option<BrokerSettings> {
        let scope = Scope { account_id: AccountId::new("123456789012").ok()?, region: Region::new("us-east-1").ok()? };
        Some(BrokerSettings {
            id: broker_id(index),
            router_shards: self.router_shards(),
            sessions_shards: self.sessions_shards(),
            scope,
            session: self.session,
            topics: TopicLimits::STANDARD,
            channels: self.channels,
            limits: BrokerLimits { maximum_connections: 10_000, connects_per_second: None, ..BrokerLimits::STANDARD },
            authentication_methods: Vec::new(),
            sockets_outlive_memory: true,
        })
    }
}

pub(crate) fn broker_id(index: u32) -> BrokerId {
    BrokerId { region: "home".to_owned(), index }
}

/// What goes wrong by chance. Chances are per mille.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Shortest way of anything through the network, in milliseconds.
    pub minimum_delay: u64,
    /// Longest way, in milliseconds.
    pub maximum_delay: u64,
    /// A call fails before it arrives.
    pub lost_requests: u64,
    /// A call is applied and its reply is lost.
    pub lost_replies: u64,
    /// A call arrives a second time, up to three seconds later.
    pub late_copies: u64,
    /// The queue refuses a message.
    pub refused_messages: u64,
    /// The rules can't be read.
    pub unreadable_rules: u64,
    /// Whether clients cut and join their packets anywhere, as [MQTT-6.0.0-2] lets them.
    pub fragments: bool,
}

impl Faults {
    /// A network that takes a millisecond and never fails.
    pub const NONE: Self = Self {
        minimum_delay: 1,
        maximum_delay: 1,
        lost_requests: 0,
        lost_replies: 0,
        late_copies: 0,
        refused_messages: 0,
        unreadable_rules: 0,
        fragments: false,
    };

    /// Much worse than any real one.
    pub const MANY: Self = Self {
        minimum_delay: 0,
        maximum_delay: 40,
        lost_requests: 80,
        lost_replies: 80,
        late_copies: 30,
        refused_messages: 100,
        unreadable_rules: 100,
        fragments: true,
    };
}

impl Default for Faults {
    fn default() -> Self {
        Self::NONE
    }
}

/// A mistake built in on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Routers confirm subscriptions without keeping them.
    SubscriptionsAreNotStored,
    /// Routers keep subscriptions in memory only.
    RowsAreNotWritten,
    /// Every third message between Brokers is confirmed and thrown away.
    DeliveriesAreLost,
    /// What one call carries is applied backwards.
    CallsAreAppliedBackwards,
    /// UNSUBACK comes, and the subscription stays.
    UnsubscribesAreIgnored,
    /// Closing an older connection is confirmed and not done.
    FencesAreIgnored,
    /// PUBACKs never arrive.
    PubAcksAreLost,
    /// Brokers confirm that they have dropped leases, and go on to use them.
    LeasesOutliveRevocation,
    /// What a Sessions shard is told again it does again.
    RepeatsAreAppliedAgain,
    /// A Broker that starts with nothing goes on with its epoch.
    EpochsAreSkipped,
    /// Sessions shards keep no packet identifiers that clients have published under with QoS 2.
    ReceivedIdsAreForgotten,
    /// Every fifth transaction of a Sessions shard is confirmed and lost.
    WritesAreLost,
    /// A client that comes back within its Will Delay Interval finds its will published.
    WillsAreNotCancelled,
    /// A will that a Sessions shard publishes again has another name.
    WillsAreRenamed,
    /// Wills are published although their clients said goodbye.
    DisconnectsAreForgotten,
    /// Every third presence event is confirmed and thrown away.
    EventsAreLost,
}

/// What Cloudflare allows, and nothing here enforces by itself. Exceeding one is a violation with its name.
#[derive(Clone, Copy, Debug)]
pub struct Ceilings {
    /// `calls`: calls and frames that reach one object in a second (Durable Objects, "Limits": a soft limit of 1 000
    /// requests).
    pub calls: u64,
    /// `rows`: rows that one object writes in a second (the guide's 200 to 500 writes, many rows to a statement).
    pub rows: u64,
    /// `row bytes`: bytes of one row, string or blob (Durable Objects, "Limits": 2 MB).
    pub row_bytes: u64,
    /// `stored bytes`: bytes that one object stores (Durable Objects, "Limits": 10 GB).
    pub stored_bytes: u64,
    /// `message bytes`: bytes of one call or of its answer (RPC: 32 MiB).
    pub message_bytes: u64,
    /// `subrequests`: calls and queue messages of one turn (Workers, "Limits": 1 000, lately more).
    pub subrequests: u64,
    /// `connections`: queue messages of one object under way at once (Workers, "Limits": six simultaneous outgoing
    /// connections; calls between objects are none).
    pub connections: u64,
    /// `frame bytes`: bytes of a WebSocket message, either way (Durable Objects, "Limits": 32 MiB received).
    pub frame_bytes: u64,
    /// `attachment bytes`: bytes kept with a hibernating WebSocket (Durable Objects, WebSockets: 16 384).
    pub attachment_bytes: u64,
    /// `sockets`: WebSockets of one object (Durable Objects, `acceptWebSocket`: 32 768).
    pub sockets: u64,
    /// `queue message bytes`: bytes of one message of a queue (Queues, "Limits": 128 KB of 1 000 bytes).
    pub queue_message_bytes: u64,
    /// `queue rate`: messages that one queue takes in a second (Queues, "Limits": 5 000).
    pub queue_rate: u64,
}

impl Default for Ceilings {
    fn default() -> Self {
        Self {
            calls: 1_000,
            rows: 1_000,
            row_bytes: 2_000_000,
            stored_bytes: 10_000_000_000,
            message_bytes: 32 * 1024 * 1024,
            subrequests: 1_000,
            connections: 6,
            frame_bytes: 32 * 1024 * 1024,
            attachment_bytes: 16_384,
            sockets: 32_768,
            queue_message_bytes: 128_000,
            queue_rate: 5_000,
        }
    }
}
