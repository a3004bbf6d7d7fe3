//! What a node is told about its deployment, and its limits: every number the code compares with, in one place, with
//! AWS's values beside ours.

use iot_types::Scope;
use messages::address::{BrokerId, ShardMap};
use messages::channel::ChannelLimits;
use mqtt_session::SessionSettings;
use mqtt_topic::TopicLimits;

/// The settings of one node.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// This node's own address.
    pub id: BrokerId,
    /// Which object has which shard of the topic tree.
    pub router_shards: ShardMap,
    /// Which object has which shard of the client ids.
    pub sessions_shards: ShardMap,
    /// Account and region, for rules' `accountid()` and the like.
    pub scope: Scope,
    /// Limits of each session.
    pub session: SessionSettings,
    /// Limits of topic names and filters.
    pub topics: TopicLimits,
    /// Limits of the channels to other objects.
    pub channels: ChannelLimits,
    /// Limits of the node.
    pub limits: BrokerLimits,
    /// Methods of enhanced authentication that whoever runs the node knows (MQTT 5.0 section 4.12). A CONNECT that
    /// names another is refused (0x8C).
    pub authentication_methods: Vec<String>,
    /// Whether sockets outlive the node's memory: only then is anything kept with them.
    pub sockets_outlive_memory: bool,
}

/// Limits and behaviours of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerLimits {
    /// Connections this node takes; beyond it the next node is tried.
    pub maximum_connections: usize,
    /// CONNECTs in a second that are let in, on average and in one burst; beyond it 0x9F. `None`: no limit.
    pub connects_per_second: Option<u32>,
    /// Packets of one connection that are worked on before others get their turn.
    pub packets_per_turn: usize,
    /// Bytes of one connection that wait for their turn; beyond it the connection ends (0x96).
    pub maximum_backlog_bytes: usize,
    /// Bytes of all connections that wait for their turn or for the rest of their packet. Beyond it the connection with
    /// most of them ends (0x97), of those without CONNACK first.
    pub maximum_backlog_bytes_of_all: usize,
    /// Publishes of one connection that may be on their way at once. Beyond it QoS 0 is dropped and anything else ends
    /// the connection (0x97).
    pub maximum_pending_per_connection: usize,
    /// Bytes of the same, so that one flooding client leaves room for the others.
    pub maximum_pending_bytes_per_connection: usize,
    /// Bytes of all publishes on their way. The isolate's 128 MB are shared with sockets and other objects.
    pub maximum_pending_bytes: usize,
    /// Bytes sent to a client since it last said anything; beyond it QoS 0 is dropped, and beyond twice as much the
    /// connection ends (0x97): nobody reads there, and the platform doesn't tell how much it buffers.
    pub maximum_unheard_bytes: usize,
    /// Bytes of packets from a Sessions shard that came before the grant they belong to.
    pub maximum_early_bytes: usize,
    /// Bytes of rule outputs that no publisher waits for.
    pub maximum_rule_bytes: usize,
    /// After a receiver said that a message takes longer, how long its sender waits before it gives up, in
    /// milliseconds.
    pub settle_millis: u64,
    /// How old the last proof may be that no other instance has taken the node's place, when messages are handed on, in
    /// milliseconds. Shorter than a Router waits for an instance that has been replaced. Each proof is a row.
    pub fence_millis: u64,
    /// How long a SUBSCRIBE waits for Routers and Sessions shards, in milliseconds: longer than a lease can last.
    pub subscribe_millis: u64,
    /// Retained messages asked of a Router at once, which bounds their bytes.
    pub retained_page: u32,
    /// Topics of live messages that a retained replay remembers, so as not to send what is older after them.
    pub maximum_replay_topics: usize,
    /// Whether PUBACK waits until the rules' outputs are safe.
    pub waits_for_rules: bool,
    /// Whether `sensor/#` matches `sensor` (MQTT 5.0 section 4.7.1.2).
    pub matches_parent: bool,
    /// Whether retained messages are sent to new subscriptions with wildcards.
    pub replays_to_wildcards: bool,
}

impl BrokerLimits {
    /// The standard's bound or the platform's.
    pub const STANDARD: Self = Self {
        maximum_connections: 2_000,
        // A node may be filled at once, and not again and again.
        connects_per_second: Some(2_000),
        packets_per_turn: 128,
        // A client may send one packet of the largest size right behind another.
        maximum_backlog_bytes: 8 * 1024 * 1024,
        maximum_backlog_bytes_of_all: 24 * 1024 * 1024,
        maximum_pending_per_connection: 10_000,
        maximum_pending_bytes_per_connection: 4 * 1024 * 1024,
        maximum_pending_bytes: 24 * 1024 * 1024,
        maximum_unheard_bytes: 16 * 1024 * 1024,
        maximum_early_bytes: 1024 * 1024,
        maximum_rule_bytes: 4 * 1024 * 1024,
        settle_millis: 5_000,
        fence_millis: 2_000,
        subscribe_millis: 75_000,
        retained_page: 1_000,
        maximum_replay_topics: 4_096,
        waits_for_rules: true,
        matches_parent: true,
        replays_to_wildcards: true,
    };

    /// AWS IoT Core's message broker limits and behaviours (AWS General Reference, "AWS IoT Core endpoints and
    /// quotas"; developer guide, "MQTT").
    pub const AWS: Self =
        Self { waits_for_rules: false, matches_parent: false, replays_to_wildcards: false, ..Self::STANDARD };
}

impl BrokerSettings {
    /// Bytes of rule outputs in one queue message: Queues bill by 64 KB and refuse more than 128 KB.
    pub const RULE_BATCH_BYTES: usize = 60 * 1024;
    /// Largest output of a rule: with its action and envelope it must fit into a queue message of 128 KB.
    pub const RULE_OUTPUT_BYTES: usize = 112 * 1024;
    /// Times a queue message is offered before the publishes behind it fail.
    pub const QUEUE_ATTEMPTS: u32 = 5;
}
