//! What goes into a node and what comes out.

use bytes::Bytes;
use device_auth::internal_header::ConnectionGrant;
use device_auth::principal::Principal;
use iot_types::RuleName;
use messages::address::Address;
use messages::broker::ConnectionId;
use messages::channel::Call;
use messages::codec::BatchReply;

/// Something that happened to the node. Calls from other objects go to [`crate::Broker::call`] instead.
#[derive(Debug)]
pub enum Input {
    /// A socket was accepted.
    Opened {
        /// The number given to it.
        connection: ConnectionId,
        /// What the gateway found out about it.
        grant: Box<ConnectionGrant>,
    },
    /// Bytes came in, any part of any number of packets ([MQTT-6.0.0-2]).
    Received {
        /// From whom.
        connection: ConnectionId,
        /// The frame's payload.
        bytes: Bytes,
    },
    /// A text frame came in, which MQTT does not use ([MQTT-6.0.0-1]).
    ReceivedText {
        /// From whom.
        connection: ConnectionId,
    },
    /// The socket is gone.
    Lost {
        /// Whose.
        connection: ConnectionId,
    },
    /// The answer to [`Output::Authenticate`].
    Authenticated {
        /// Whose.
        connection: ConnectionId,
        /// Who it is; `None` when the proof is no good.
        principal: Option<Principal>,
    },
    /// A call made for [`Output::Call`] came back.
    Answered {
        /// Who was called.
        target: Address,
        /// The reply; `None` when the call failed.
        reply: Option<BatchReply>,
    },
    /// The rules there are, for [`Output::LoadRules`].
    RulesLoaded {
        /// The control log's head when they were read.
        sequence: u64,
        /// All enabled rules.
        rules: Vec<StoredRule>,
    },
    /// The rules could not be read; they are asked for again with the next publish.
    RulesUnavailable,
    /// The queue has taken the message of [`Output::Enqueue`], or has not.
    Enqueued {
        /// Whether it is durable now.
        accepted: bool,
    },
    /// Time has passed.
    Tick,
}

/// A rule as the registry stores it.
#[derive(Clone, Debug)]
pub struct StoredRule {
    /// Its name.
    pub rule_name: RuleName,
    /// The compiled program, as `rules` encodes it.
    pub program: Vec<u8>,
    /// The actions, each as JSON text.
    pub actions: Vec<String>,
}

/// Something to do, in the order given.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send one frame.
    Send {
        /// To whom.
        connection: ConnectionId,
        /// The frame's payload: one or more whole packets.
        bytes: Bytes,
    },
    /// Close the socket. Nothing follows for this connection.
    Close {
        /// Whose.
        connection: ConnectionId,
        /// WebSocket close code.
        code: u16,
        /// For the close frame.
        reason: &'static str,
    },
    /// Check a user name and password; answer with [`Input::Authenticated`].
    Authenticate {
        /// Whose.
        connection: ConnectionId,
        /// As in CONNECT.
        username: String,
        /// As in CONNECT.
        password: Bytes,
    },
    /// Keep these bytes with the socket until the next ones.
    SaveAttachment {
        /// Whose.
        connection: ConnectionId,
        /// See [`crate::Attachment`].
        bytes: Vec<u8>,
    },
    /// Call an object; answer with [`Input::Answered`].
    Call(Call),
    /// Put a body into the queue of rule outputs; answer with [`Input::Enqueued`]. One at a time.
    Enqueue {
        /// As `messages::rules` encodes it.
        body: Vec<u8>,
    },
    /// Read the rules; answer with [`Input::RulesLoaded`] or [`Input::RulesUnavailable`].
    LoadRules,
    /// Write a log line.
    Log(LogEvent),
}

/// A log line: identifiers, never payloads or secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEvent {
    /// What happened, in snake_case.
    pub event: &'static str,
    /// The trace id that the gateway gave the connection; empty for the platform itself.
    pub trace_id: String,
    /// The client id, if it is known.
    pub client_id: Option<String>,
    /// The topic name or filter concerned.
    pub topic: Option<String>,
    /// Why.
    pub reason: Option<&'static str>,
    /// The MQTT 5.0 reason code.
    pub reason_code: Option<u8>,
}
