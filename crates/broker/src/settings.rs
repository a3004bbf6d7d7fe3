//! What a node is told about its deployment, and its limits.

use iot_types::Scope;
use messages::address::{BrokerId, Shards};
use messages::channel::ChannelLimits;
use mqtt_session::SessionSettings;
use mqtt_topic::TopicLimits;

/// The settings of one node.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// This node's own address.
    pub id: BrokerId,
    /// Nodes in the deployment. With one there is nobody else to route to.
    pub broker_count: u32,
    /// Shards of the topic tree.
    pub router_shards: Shards,
    /// Shards of the client ids.
    pub sessions_shards: Shards,
    /// Account and region, for rules' `accountid()` and the like.
    pub scope: Scope,
    /// Limits of each session.
    pub session: SessionSettings,
    /// Limits of topic names and filters.
    pub topics: TopicLimits,
    /// Limits of the channels to other objects.
    pub channels: ChannelLimits,
    /// Connections this node takes; beyond it the next node is tried.
    pub maximum_connections: usize,
    /// Publishes of one connection that may be on their way at once. Beyond it QoS 0 is dropped and QoS 1 ends the
    /// connection (0x97).
    pub maximum_pending_per_connection: usize,
    /// Bytes of the same, so that one flooding client leaves room for the others.
    pub maximum_pending_bytes_per_connection: usize,
    /// Bytes of all publishes on their way. The isolate's 128 MB are shared with sockets and other objects.
    pub maximum_pending_bytes: usize,
}

impl BrokerSettings {
    /// Bytes of rule outputs in one queue message: Queues bill by 64 KB and refuse more than 128 KB.
    pub const RULE_BATCH_BYTES: usize = 60 * 1024;
    /// Largest output of a rule: with its action and envelope it must fit into a queue message of 128 KB.
    pub const RULE_OUTPUT_BYTES: usize = 112 * 1024;
    /// Times a queue message is offered before the publishes behind it fail.
    pub const QUEUE_ATTEMPTS: u32 = 5;
}
