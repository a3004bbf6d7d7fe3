//! What a `Sessions` shard is asked.

use crate::broker::ConnectionId;
use crate::publication::{MessageId, Publication};
use crate::session::{Acknowledgement, Claim, Ending, Grant, SubscriptionOptions};
use bytes::Bytes;
use iot_types::{ClientId, PacketId};
use serde::{Deserialize, Serialize};

/// Requests to a `Sessions` shard.
///
/// Those with a `number` are refused with `Refusal::Superseded` unless it is the number of the client id's present
/// connection: an older connection has nothing to say any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionsRequest {
    /// A CONNECT has been authenticated: make this the client id's only connection ([MQTT-3.1.4-3]).
    Claim {
        /// The client id.
        client_id: ClientId,
        /// The claiming Broker's connection.
        connection: ConnectionId,
        /// What it asks for.
        claim: Box<Claim>,
    },
    /// The connection has ended.
    Release {
        /// The client id.
        client_id: ClientId,
        /// The number that the claim was granted with.
        number: u64,
        /// How.
        ending: Ending,
    },
    /// SUBSCRIBE of a session that outlives its connection. Answered with `Applied` or, if Routers have to be told,
    /// `Pending`, and then `BrokerRequest::Subscribed` follows.
    Subscribe {
        /// The client id.
        client_id: ClientId,
        /// The connection's number.
        number: u64,
        /// Of the SUBSCRIBE.
        packet_id: PacketId,
        /// What was granted, each with whether the retained messages are to be sent (Retain Handling).
        filters: Vec<(String, SubscriptionOptions, bool)>,
    },
    /// UNSUBSCRIBE of such a session.
    Unsubscribe {
        /// The client id.
        client_id: ClientId,
        /// The connection's number.
        number: u64,
        /// The Topic Filters.
        filters: Vec<String>,
    },
    /// What the client said of messages that the shard had sent to it.
    Acknowledge {
        /// The client id.
        client_id: ClientId,
        /// The connection's number.
        number: u64,
        /// In the order they came.
        acknowledgements: Vec<Acknowledgement>,
    },
    /// A PUBLISH of QoS 2 came from such a session: note its packet identifier. Answered with `Reply::Received`.
    Receive {
        /// The client id.
        client_id: ClientId,
        /// The connection's number.
        number: u64,
        /// Of the PUBLISH.
        packet_id: PacketId,
        /// The name to give to the message, if the identifier is new.
        message_id: MessageId,
    },
    /// The message received under this packet identifier is safe with everybody: PUBREC leaves.
    ReceiveSettled {
        /// The client id.
        client_id: ClientId,
        /// The connection's number.
        number: u64,
        /// Of the PUBLISH.
        packet_id: PacketId,
        /// Whether it is; if not the identifier is forgotten, as PUBREC carries an error.
        is_safe: bool,
    },
    /// PUBREL came: forget the packet identifier. PUBCOMP waits for the answer.
    PubRel {
        /// The client id.
        client_id: ClientId,
        /// The connection's number.
        number: u64,
        /// Of the PUBLISH.
        packet_id: PacketId,
    },
    /// A message for every session here with a matching subscription. Answered with `Applied` when it is safe,
    /// with `Pending` if that takes longer, and then `BrokerRequest::Settled` follows.
    Deliver {
        /// The message.
        publication: Publication,
        /// The sender's name for the answer; `None` if it needs none.
        ticket: Option<u64>,
    },
    /// A message for one member of a shared group. Answered with `Reply::Shared`; a taken one is settled like `Deliver`.
    DeliverShared {
        /// `$share/{name}/{filter}`.
        shared_filter: String,
        /// The message.
        publication: Publication,
        /// The sender's name for the answer.
        ticket: Option<u64>,
    },
    /// A message for one client, whether it subscribed or not, if its session outlives its connection (AWS
    /// SendDirectMessage). Answered like `Deliver`; `Refused` if there is no such session online.
    Direct {
        /// The client id.
        client_id: ClientId,
        /// The message.
        publication: Publication,
        /// The sender's name for the answer.
        ticket: Option<u64>,
    },
    /// The sending Broker starts with nothing: its connections of earlier epochs are gone.
    EpochStarted,
    /// From the API: what is known of the client id? Answered with `Reply::Client`.
    Describe {
        /// The client id.
        client_id: ClientId,
    },
    /// From the API: end the connection (AWS DeleteConnection). Answered with `Reply::Client` as it was before.
    Disconnect {
        /// The client id.
        client_id: ClientId,
        /// Whether to forget the session as well.
        clean_session: bool,
        /// Whether to drop the Will Message.
        prevents_will: bool,
    },
    /// From a Router: a registration that it answered with `Reply::Pending` is complete.
    Registered {
        /// As in the request.
        registration: u64,
    },
    /// From the operator: move a virtual shard to another Sessions object. Answered with `Pending` until it is there,
    /// then with `Applied`: to be asked again until then. `Refused` with `Refusal::Unavailable` while another move of it
    /// is under way, with `Refusal::Moved` by an object that doesn't have it.
    HandOver {
        /// The virtual shard.
        shard: u16,
        /// The number of the object that is to have it.
        to: u32,
    },
    /// From the object that has the virtual shard: some of what the receiver is to have. All parts of a move may come
    /// twice, and late ones change nothing. Answered with `Applied`, or with `Pending` to a question whose answer is not
    /// yet; with `Refused` by an object that can't take the virtual shard now, or that has no use for this part before
    /// others.
    TakeOver {
        /// The virtual shard.
        shard: u16,
        /// Names the move. Rises with every move of this virtual shard, and is never below the sender's clock in
        /// milliseconds when the move began.
        version: u64,
        /// What `page` has.
        part: MovePart,
        /// Packed rows; empty where the part has none.
        page: Bytes,
    },
    /// From a Broker: wills and presence events that it answered with `Reply::Pending` are safe with everybody who wants
    /// them, or can't be made so.
    Announced {
        /// The shard's tickets, and whether each is safe.
        tickets: Vec<(u64, bool)>,
    },
}

/// The parts that a virtual shard of client ids moves in, in this order. See ARCHITECTURE.md, "Virtual shards".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MovePart {
    /// Subscriptions of clients that the sender goes on to serve: the receiver tells the Routers of their filters.
    Subscriptions,
    /// A question: do the Routers know of all filters that have come? Asked before the sender stops serving the clients,
    /// and again when it has sent them.
    Confirm,
    /// Clients that nobody serves any more, without their messages: from now on the receiver stores what comes for them.
    Clients,
    /// Messages of these clients. The sender takes no more of them.
    Messages,
    /// That was all: the virtual shard is the receiver's.
    Open,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClaimReply {
    /// The client id is this connection's. Numbers rise with every claim of a client id.
    Granted(Box<Grant>),
    /// An older connection has to end first; `BrokerRequest::ClaimDecided` follows.
    Pending,
}

/// What is known of a packet identifier of QoS 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceivedState {
    /// The message's name: the one given, or that of the first time.
    pub message_id: MessageId,
    /// Whether the message is safe with everybody already: PUBREC can leave at once.
    pub is_settled: bool,
}

/// What became of a message for a shared group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SharedReply {
    /// A member has it, and it is safe.
    Taken,
    /// A member has it; `BrokerRequest::Settled` follows.
    Pending,
    /// No member here can take it now.
    NobodyOnline,
    /// There is no member here at all: the sender's lease is out of date.
    NoMember,
}
