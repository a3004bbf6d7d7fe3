//! What goes into a node and what comes out.

use crate::authority::{AuthorityRequest, StoredAuthority};
use bytes::Bytes;
use device_auth::internal_header::ConnectionGrant;
use device_auth::principal::Principal;
use iot_types::{ClientId, RuleName};
use messages::address::Address;
use messages::api::BrokerApiReply;
use messages::broker::ConnectionId;
use messages::channel::Call;
use messages::codec::BatchReply;
use messages::publication::Publication;
use mqtt_codec::ReasonCode;

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
    /// The answer to [`Output::AuthenticateEnhanced`].
    EnhancedAuthenticated {
        /// Whose.
        connection: ConnectionId,
        /// What follows.
        step: AuthenticationStep,
    },
    /// Somebody who is no client publishes and waits for the outcome (AWS `Publish`); answered with
    /// [`Output::Published`]. Requests to shadows and jobs reach their Thing, and Basic Ingest its rule.
    PublishRequest {
        /// The asker's name for the answer.
        request: u64,
        /// The message.
        publication: Publication,
    },
    /// A message for one client, whether it subscribed or not (AWS `SendDirectMessage`); answered with
    /// [`Output::Published`].
    DirectRequest {
        /// The asker's name for the answer.
        request: u64,
        /// Where the client is connected.
        connection: ConnectionId,
        /// Whose connection it has to be.
        client_id: ClientId,
        /// The message.
        publication: Publication,
        /// Whether to wait until the client has acknowledged it.
        confirmation: bool,
        /// For how long, in milliseconds.
        timeout_millis: u32,
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
    /// Which virtual shards have moved, as the registry has it. May come at any time, or not at all: objects that have
    /// given one away say so themselves, at the price of a call.
    ShardsKnown {
        /// Of the topic tree, each with the number of its Router.
        routers: Vec<(u16, u32)>,
        /// Of the client ids, each with the number of its Sessions object.
        sessions: Vec<(u16, u32)>,
    },
    /// The rules could not be read; they are asked for again with the next publish.
    RulesUnavailable,
    /// What clients may do, for [`Output::LoadAuthorities`].
    AuthoritiesLoaded {
        /// The control log's head before it was read.
        sequence: u64,
        /// For each connection asked for; `None` for a principal that is not registered, or not active.
        found: Vec<(ConnectionId, Option<StoredAuthority>)>,
    },
    /// It could not be read.
    AuthoritiesUnavailable {
        /// What was asked.
        requests: Vec<AuthorityRequest>,
    },
    /// The answer to [`Output::Provision`].
    Provisioned {
        /// As it was asked.
        ticket: u64,
        /// The topic and the payload for the device; `None` when there is nobody to ask.
        answer: Option<(String, Bytes)>,
    },
    /// The queue has taken the message of [`Output::Enqueue`], or has not.
    Enqueued {
        /// Whether it is durable now.
        accepted: bool,
    },
    /// Time has passed.
    Tick,
}

/// A step of an enhanced authentication (MQTT 5.0 section 4.12), as the method decided it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthenticationStep {
    /// The client has to say more (AUTH with 0x18).
    Continue {
        /// Authentication Data for the client.
        data: Option<Bytes>,
    },
    /// The client is who it says.
    Success {
        /// Who that is.
        principal: Principal,
        /// The certificate itself in DER, where the client sent it.
        certificate: Option<Vec<u8>>,
        /// Authentication Data for the client, in CONNACK or AUTH.
        data: Option<Bytes>,
    },
    /// It is not.
    Failure {
        /// For CONNACK or DISCONNECT.
        reason_code: ReasonCode,
    },
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
        /// As in CONNECT: empty when it is to be assigned.
        client_id: String,
        /// The host name, perhaps with a port, that the client asked for.
        host: String,
        /// Where it comes from, if that is known.
        source_ip: Option<String>,
        /// As in CONNECT.
        username: Option<String>,
        /// As in CONNECT.
        password: Option<Bytes>,
        /// What the upgrade brought for a custom authorizer, as JSON of the `authorizer` crate.
        invocation: Option<String>,
    },
    /// Take a step of an enhanced authentication (MQTT 5.0 section 4.12); answer with [`Input::EnhancedAuthenticated`].
    AuthenticateEnhanced {
        /// Whose.
        connection: ConnectionId,
        /// As in CONNECT: empty when it is to be assigned. The connection's own when it authenticates again.
        client_id: String,
        /// The host name, perhaps with a port, that the client asked for.
        host: String,
        /// One of the methods in the settings.
        method: String,
        /// Authentication Data from the client.
        data: Option<Bytes>,
    },
    /// Answer a device that is being provisioned; answer with [`Input::Provisioned`].
    Provision {
        /// The publish.
        ticket: u64,
        /// Whose it is.
        client_id: String,
        /// Who that has proved to be.
        principal: Option<Box<Principal>>,
        /// Its topic.
        topic: String,
        /// Its payload.
        payload: Bytes,
    },
    /// Answer [`Input::PublishRequest`] or [`Input::DirectRequest`].
    Published {
        /// As in the request.
        request: u64,
        /// What became of it.
        outcome: BrokerApiReply,
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
    /// Write something to the node's own storage, and let nothing that follows leave before it is durable. An instance
    /// whose place another has taken can't, and so never hands on a message by leases that are not its own any more.
    Fence,
    /// Put a body into the queue of rule outputs; answer with [`Input::Enqueued`]. One at a time.
    Enqueue {
        /// As `messages::rules` encodes it.
        body: Vec<u8>,
    },
    /// Read the rules; answer with [`Input::RulesLoaded`] or [`Input::RulesUnavailable`].
    LoadRules,
    /// Read what clients may do; answer with [`Input::AuthoritiesLoaded`] or [`Input::AuthoritiesUnavailable`].
    LoadAuthorities {
        /// Whom to look up.
        requests: Vec<AuthorityRequest>,
    },
    /// Keep policies with the node until they are forgotten, or an epoch begins, for [`crate::Broker::restore_policies`].
    SavePolicies {
        /// Their number.
        number: u64,
        /// What to keep.
        bytes: Vec<u8>,
    },
    /// Forget these policies.
    ForgetPolicies {
        /// Their number.
        number: u64,
    },
    /// Write a log line.
    Log(LogEvent),
    /// Give up this instance: a later one of the same node is at work. Everything has been closed; nothing follows.
    Stop,
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
    /// Who it is, if that is known.
    pub principal: Option<String>,
    /// From where, if that is known.
    pub source_ip: Option<String>,
    /// The topic name or filter concerned.
    pub topic: Option<String>,
    /// Why.
    pub reason: Option<&'static str>,
    /// The MQTT 5.0 reason code.
    pub reason_code: Option<u8>,
}

impl LogEvent {
    /// What was denied, if anything was: the action of policies, and the kind of resource that its topic or client names.
    #[must_use]
    pub fn denied(&self) -> Option<(&'static str, &'static str)> {
        // [MQTT-5.0 section 2.4]: Not authorized, Bad User Name or Password.
        match (self.event, self.reason_code?) {
            ("publish_refused", 0x87) => Some(("iot:Publish", "topic")),
            ("subscribe_refused", 0x87) => Some(("iot:Subscribe", "topicfilter")),
            ("disconnected", 0x86 | 0x87) => Some(("iot:Connect", "client")),
            _ => None,
        }
    }

    /// Whether it tells of a connection that came or went as it should.
    #[must_use]
    pub fn is_routine(&self) -> bool {
        matches!(self.event, "connected" | "disconnected") && self.reason_code.is_none_or(|code| code < 0x80)
    }
}
