//! What goes into a session and what comes out.

use crate::{Delivery, Subscriptions};
use bytes::Bytes;
use iot_types::{ClientId, PacketId};
use messages::session::{Acknowledgement, DisconnectReason, Ending, Outgoing};
use mqtt_codec::{Connect, DecodeError, Packet, Publish, ReasonCode, Subscribe, Unsubscribe};

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
        /// What there is of the session.
        session: AcceptedSession,
        /// Authentication Data for the CONNACK, with enhanced authentication.
        authentication_data: Option<Bytes>,
    },
    /// Enhanced authentication goes on: the answer to [`Output::Connect`] with a method, or to
    /// [`Output::Authenticate`].
    AuthContinue {
        /// Authentication Data for the client.
        data: Option<Bytes>,
    },
    /// A re-authentication succeeded. One that failed is ended with [`Input::End`] ([MQTT-4.12.1-2]).
    Reauthenticated {
        /// Authentication Data for the client.
        data: Option<Bytes>,
    },
    /// A publish given out as [`Output::Publish`] is settled, well or badly.
    Settled {
        /// Of the PUBLISH.
        packet_id: PacketId,
        /// For the PUBACK or PUBREC. In MQTT 3.1.1, which can't say it, an error ends the connection.
        reason_code: ReasonCode,
    },
    /// A SUBSCRIBE given out is in force.
    Subscribed {
        /// Of the SUBSCRIBE.
        packet_id: PacketId,
        /// One for each filter.
        reason_codes: Vec<ReasonCode>,
    },
    /// An UNSUBSCRIBE of a durable session has been carried out.
    Unsubscribed {
        /// Of the UNSUBSCRIBE.
        packet_id: PacketId,
        /// One for each filter.
        reason_codes: Vec<ReasonCode>,
    },
    /// The packet identifier of an [`Output::Release`] is forgotten: PUBCOMP leaves.
    Released {
        /// Of the PUBREL.
        packet_id: PacketId,
    },
    /// A message for this client. In a durable session, whose packet identifiers are its Sessions shard's, it is sent
    /// with QoS 0.
    Deliver(Delivery),
    /// A packet from the Sessions shard of a durable session.
    Relay(Outgoing),
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

/// What a connection begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptedSession {
    /// Whether the session outlives the connection and has its outgoing half in its Sessions shard.
    pub is_durable: bool,
    /// Session Present of the CONNACK.
    pub session_present: bool,
    /// The Session Expiry Interval granted, in seconds.
    pub session_expiry: u32,
    /// The subscriptions that the session has.
    pub subscriptions: Subscriptions,
}

/// Something to do, in the order given.
#[derive(Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "carried out at once; a box would be allocated for every packet")]
pub enum Output {
    /// Send the packet to the client.
    Send(Packet),
    /// Authenticate and claim ([`crate::Session::claim`]); answer with [`Input::Accepted`] or [`Input::End`], or with
    /// [`Input::AuthContinue`] if it has an authentication method.
    Connect(Box<Connect>),
    /// The next step of an enhanced authentication (section 4.12); answer with [`Input::AuthContinue`] or
    /// [`Input::End`], or with [`Input::Accepted`] or [`Input::Reauthenticated`].
    Authenticate {
        /// The method that CONNECT named.
        method: String,
        /// Authentication Data of the client.
        data: Option<Bytes>,
        /// Whether CONNACK has been sent already.
        is_reauthentication: bool,
    },
    /// Publish; answer with [`Input::Settled`] if it has a packet identifier. The topic is never empty: aliases are
    /// resolved. In a durable session the same PUBLISH of QoS 2 may come again.
    Publish(Box<Publish>),
    /// PUBREL came in a durable session: forget the packet identifier; answer with [`Input::Released`].
    Release {
        /// Of the PUBREL.
        packet_id: PacketId,
    },
    /// The client of a durable session acknowledged something, for its Sessions shard.
    Acknowledged(Acknowledgement),
    /// Put the subscriptions into force; answer with [`Input::Subscribed`].
    Subscribe(Subscribe),
    /// Take the subscriptions away. In a durable session answer with [`Input::Unsubscribed`]; else the UNSUBACK
    /// follows.
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
    /// The same as AWS's lifecycle events have it.
    pub disconnect_reason: DisconnectReason,
    /// Whether this ending calls for the Will Message, if there is one ([MQTT-3.1.2-8], [MQTT-3.14.4-3]).
    pub publishes_will: bool,
    /// The Session Expiry Interval that DISCONNECT put in place of CONNECT's, within the limit. Only of durable
    /// sessions.
    pub session_expiry: Option<u32>,
    /// Whether the session outlives its connections.
    pub is_durable: bool,
    /// Whose it was, once accepted.
    pub client_id: Option<ClientId>,
    /// The subscriptions that it had. Those of a durable session stay.
    pub subscriptions: Subscriptions,
}

impl Disconnection {
    /// What the Sessions shard is told.
    #[must_use]
    pub const fn ending(&self) -> Ending {
        Ending {
            reason: self.disconnect_reason,
            publishes_will: self.publishes_will,
            session_expiry: self.session_expiry,
        }
    }
}
