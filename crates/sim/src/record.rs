//! What clients saw, in one order, for the model.

use crate::client::ClientKey;
use iot_types::{PacketId, Qos, UnixMillis};
use mqtt_codec::ReasonCode;

/// A place in the order of everything that clients did and saw, and the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Counts up.
    pub order: u64,
    /// When.
    pub at: UnixMillis,
}

/// A PUBLISH from a client.
#[derive(Clone, Debug)]
pub struct Publish {
    /// Who.
    pub client: ClientKey,
    /// Where.
    pub topic: String,
    /// What.
    pub payload: String,
    /// How.
    pub qos: Qos,
    /// The RETAIN flag.
    pub retain: bool,
    /// With QoS 1 and 2.
    pub packet_id: Option<PacketId>,
    /// When it left the client for the first time.
    pub sent: Stamp,
    /// Whether it was sent again on a later connection.
    pub is_resent: bool,
    /// When its PUBACK or PUBREC came, and what it said.
    pub acknowledged: Option<(Stamp, ReasonCode)>,
}

/// One filter of a SUBSCRIBE.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The Topic Filter.
    pub filter: String,
    /// The QoS asked for.
    pub qos: Qos,
    /// Of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// When the SUBSCRIBE left the client.
    pub asked: Stamp,
    /// When the SUBACK came, and what it said.
    pub answered: Option<(Stamp, ReasonCode)>,
    /// When the first UNSUBSCRIBE left the client.
    pub ended: Option<Stamp>,
    /// On which connection the last one did, and with which identifier.
    pub end_asked: Option<(ClientKey, PacketId)>,
    /// When its UNSUBACK came.
    pub end_confirmed: Option<Stamp>,
}

/// A request of a client that has no answer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waiting {
    /// For CONNACK.
    Connect,
    /// For SUBACK.
    Subscribe(PacketId),
    /// For UNSUBACK.
    Unsubscribe(PacketId),
    /// For PUBACK.
    Publish(PacketId),
    /// For PINGRESP.
    Ping,
}
