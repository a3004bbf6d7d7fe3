//! What Brokers and Sessions shards tell each other about sessions.

use crate::publication::{Publication, PublicationProperties};
use bytes::Bytes;
use iot_types::{PacketId, Qos, UnixMillis};
use serde::{Deserialize, Serialize};

/// The options of one subscription (MQTT 5.0 section 3.8.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionOptions {
    /// The highest quality of service to deliver with.
    pub qos: Qos,
    /// Don't deliver what the same client published.
    pub no_local: bool,
    /// Forward the RETAIN flag as it was published.
    pub retain_as_published: bool,
    /// The Subscription Identifier to put on deliveries.
    pub subscription_identifier: Option<u32>,
}

/// A session's subscriptions by Topic Filter, `$share/…` included.
pub type Subscriptions = std::collections::BTreeMap<String, SubscriptionOptions>;

/// A Will Message in the form it is stored in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WillMessage {
    /// Topic Name.
    pub topic: String,
    /// Will Payload.
    pub payload: Bytes,
    /// Will QoS.
    pub qos: Qos,
    /// Will Retain.
    pub retain: bool,
    /// Will Delay Interval in seconds ([MQTT-3.1.3-9]).
    pub delay: u32,
    /// What MQTT 5.0 passes on.
    pub properties: Option<Box<PublicationProperties>>,
}

/// A Session Expiry Interval that never ends (MQTT 5.0 section 3.1.2.11.2).
pub const NEVER_EXPIRES: u32 = u32::MAX;

/// What a CONNECT asks of its Sessions shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Clean Start, or Clean Session: forget the session there is.
    pub clean_start: bool,
    /// Seconds that the session outlives the connection; zero: it ends with it. The Broker has put its limit on it.
    pub session_expiry: u32,
    /// Messages of QoS 1 and 2 that the client takes unacknowledged; the Broker has put its limit on it.
    pub receive_maximum: u16,
    /// The largest packet that the client takes.
    pub maximum_packet_size: Option<u32>,
    /// The Will Message.
    pub will: Option<Box<WillMessage>>,
    /// Who and how, for lifecycle events and GetConnection.
    pub details: Box<ConnectionDetails>,
}

/// What lifecycle events and GetConnection say of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionDetails {
    /// AWS's `principalIdentifier`.
    pub principal: String,
    /// The connection's trace id, a UUID: AWS's `sessionIdentifier`.
    pub trace_id: String,
    /// The client's address, if the platform told it.
    pub source_ip: Option<String>,
    /// Seconds; zero for none.
    pub keep_alive: u16,
    /// Whether the connection speaks MQTT 5.0.
    pub is_v5: bool,
}

/// A claim that won.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Fences the connection before it, and names this one in every later word about the client id.
    pub number: u64,
    /// Session Present of the CONNACK.
    pub session_present: bool,
    /// The subscriptions that the session has.
    pub subscriptions: Subscriptions,
}

/// Why a connection ended, in AWS's words (AWS "Lifecycle events", `disconnectReason`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DisconnectReason {
    /// `CLIENT_INITIATED_DISCONNECT`.
    ClientInitiated,
    /// `CLIENT_ERROR`.
    ClientError,
    /// `CONNECTION_LOST`.
    ConnectionLost,
    /// `MQTT_KEEP_ALIVE_TIMEOUT`.
    KeepAliveTimeout,
    /// `DUPLICATE_CLIENTID`.
    DuplicateClientId,
    /// `AUTH_ERROR`.
    AuthError,
    /// `FORBIDDEN_ACCESS`.
    ForbiddenAccess,
    /// `THROTTLED`.
    Throttled,
    /// `SERVER_INITIATED_DISCONNECT`.
    ServerInitiated,
    /// `SERVER_ERROR`.
    ServerError,
    /// `API_INITIATED_DISCONNECT`.
    ApiInitiated,
    /// `CUSTOMAUTH_TTL_EXPIRATION`.
    CustomAuthTtlExpiration,
}

impl DisconnectReason {
    /// AWS's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientInitiated => "CLIENT_INITIATED_DISCONNECT",
            Self::ClientError => "CLIENT_ERROR",
            Self::ConnectionLost => "CONNECTION_LOST",
            Self::KeepAliveTimeout => "MQTT_KEEP_ALIVE_TIMEOUT",
            Self::DuplicateClientId => "DUPLICATE_CLIENTID",
            Self::AuthError => "AUTH_ERROR",
            Self::ForbiddenAccess => "FORBIDDEN_ACCESS",
            Self::Throttled => "THROTTLED",
            Self::ServerInitiated => "SERVER_INITIATED_DISCONNECT",
            Self::ServerError => "SERVER_ERROR",
            Self::ApiInitiated => "API_INITIATED_DISCONNECT",
            Self::CustomAuthTtlExpiration => "CUSTOMAUTH_TTL_EXPIRATION",
        }
    }
}

/// How a connection ended, for its Sessions shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Why.
    pub reason: DisconnectReason,
    /// Whether the Will Message is to be published, now or after its delay.
    pub publishes_will: bool,
    /// A Session Expiry Interval that DISCONNECT put in place of CONNECT's.
    pub session_expiry: Option<u32>,
}

/// A packet for the client of a session whose outgoing half is its Sessions shard's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outgoing {
    /// PUBLISH.
    Publish {
        /// With QoS 1 and 2.
        packet_id: Option<PacketId>,
        /// Whether it was sent before ([MQTT-3.3.1-1]).
        dup: bool,
        /// The quality of service to deliver with.
        qos: Qos,
        /// The RETAIN flag to deliver with.
        retain: bool,
        /// The identifiers of the matching subscriptions that have one ([MQTT-3.3.4-3]).
        subscription_identifiers: Vec<u32>,
        /// The message.
        publication: Publication,
    },
    /// PUBREL.
    PubRel {
        /// Of the PUBLISH.
        packet_id: PacketId,
        /// Whether the session doesn't know the identifier (reason code 0x92).
        is_unknown: bool,
    },
}

/// What the client says of something it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Of the PUBLISH.
    pub packet_id: PacketId,
    /// Which packet it was.
    pub kind: AcknowledgementKind,
}

/// A packet that answers a PUBLISH or PUBREL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AcknowledgementKind {
    /// PUBACK, whatever its reason code.
    PubAck,
    /// PUBREC with a reason code below 0x80: PUBREL follows.
    PubRec,
    /// PUBREC with a reason code of 0x80 or more: the exchange is over.
    PubRecFailed,
    /// PUBCOMP, whatever its reason code.
    PubComp,
}

/// What a Sessions shard knows of a client id, for the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientState {
    /// Where it is connected.
    pub holder: Option<(crate::address::BrokerId, crate::broker::ConnectionId)>,
    /// Of the connection, or of the last one.
    pub details: ConnectionDetails,
    /// Whether the session ends with the connection.
    pub is_clean: bool,
    /// Session Expiry Interval, in seconds.
    pub session_expiry: u32,
    /// When the connection was accepted.
    pub connected_at: UnixMillis,
    /// When it ended, and why; `None` while it lasts.
    pub disconnected: Option<(UnixMillis, DisconnectReason)>,
    /// The subscriptions of a session that outlives its connection.
    pub subscriptions: Subscriptions,
    /// Messages that wait for the client or for its acknowledgement.
    pub queued: u64,
    /// Messages that were dropped because the session's queue was full.
    pub dropped: u64,
}
