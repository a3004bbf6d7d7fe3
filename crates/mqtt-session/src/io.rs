//! What goes into a session and what comes out.

use crate::SubscriptionOptions;
use bytes::Bytes;
use iot_types::{ClientId, PacketId, Qos};
use messages::publication::{Publication, PublicationProperties};
use mqtt_codec::{Connect, DecodeError, Packet, Publish, ReasonCode, Subscribe, Unsubscribe};
use serde::{Deserialize, Serialize};
use std::rc::Rc;

/// Something that happened to the connection.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "lives for one call; a box would be allocated for every packet")]
pub enum Input {
    /// The client sent a packet.
    Packet(Packet),
    /// The client sent bytes that are no packet.
    Undecodable(DecodeError),
    /// The broker has authenticated the CONNECT and claimed the client id.
    Accepted {
        /// The client's own identifier, or the one assigned.
        client_id: ClientId,
        /// Whether it was assigned.
        assigned: bool,
    },
    /// A publish given out as [`Output::Publish`] is settled, well or badly.
    Settled {
        /// Of the PUBLISH.
        packet_id: PacketId,
        /// For the PUBACK.
        reason_code: ReasonCode,
    },
    /// A SUBSCRIBE given out is in force.
    Subscribed {
        /// Of the SUBSCRIBE.
        packet_id: PacketId,
        /// One for each filter.
        reason_codes: Vec<ReasonCode>,
    },
    /// A message for this client.
    Deliver(Delivery),
    /// The server ends the connection, or refuses the CONNECT.
    End {
        /// What to tell the client.
        reason_code: ReasonCode,
        /// The same in words.
        reason: &'static str,
    },
    /// The network connection is gone.
    ConnectionLost,
    /// Time has passed.
    Tick,
}

/// A message on its way to one subscriber. The publication is shared by all of them.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The message.
    pub publication: Rc<Publication>,
    /// The quality of service to deliver with.
    pub qos: Qos,
    /// The RETAIN flag to deliver with.
    pub retain: bool,
    /// The identifiers of the matching subscriptions that have one ([MQTT-3.3.4-3]).
    pub subscription_identifiers: Vec<u32>,
}

/// Something to do, in the order given.
#[derive(Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "carried out at once; a box would be allocated for every packet")]
pub enum Output {
    /// Send the packet to the client.
    Send(Packet),
    /// Authenticate and claim; answer with [`Input::Accepted`] or [`Input::End`].
    Connect(Box<Connect>),
    /// Publish; answer with [`Input::Settled`] if it has a packet identifier.
    Publish(Box<Publish>),
    /// Put the subscriptions into force; answer with [`Input::Subscribed`].
    Subscribe(Subscribe),
    /// Take the subscriptions away. The UNSUBACK follows.
    Unsubscribe(Unsubscribe),
    /// The queue was full; this many messages have been dropped just now.
    Dropped(usize),
    /// Close the connection. Nothing follows.
    Close(Disconnection),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disconnection {
    /// The MQTT 5.0 reason code, also where MQTT 3.1.1 could not be told it.
    pub reason_code: ReasonCode,
    /// In words, for logs.
    pub reason: &'static str,
    /// Whether the client ended it by a DISCONNECT packet.
    pub client_initiated: bool,
    /// The Will Message to publish, if this ending calls for it ([MQTT-3.1.2-8]).
    pub will: Option<WillMessage>,
    /// Whose it was, once accepted.
    pub client_id: Option<ClientId>,
    /// The subscriptions that end with it.
    pub subscriptions: Subscriptions,
}

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
    /// What MQTT 5.0 passes on.
    pub properties: Option<Box<PublicationProperties>>,
}

/// A subscription as the session keeps it.
pub type Subscriptions = std::collections::BTreeMap<String, SubscriptionOptions>;
