//! The node: its state, its turns, and what other objects ask of it.

use crate::attachment::Attachment;
use crate::connection::Connection;
use crate::io::{Input, LogEvent, Output};
use crate::publish::{Publishes, Ticket};
use crate::rule_outputs::RuleOutputsQueue;
use crate::settings::BrokerSettings;
use crate::subscribe::Filters;
use iot_types::{ClientId, UnixMillis};
use messages::address::Address;
use messages::broker::{BrokerRequest, ConnectionId};
use messages::channel::{Acceptance, Inbox, Outbox, Undelivered};
use messages::codec::{Batch, BatchReply};
use messages::sessions::{ClaimReply, SessionsRequest};
use messages::{Refusal, Reply, Request};
use mqtt_codec::ReasonCode;
use mqtt_session::{Disconnection, Input as SessionInput, Output as SessionOutput, SubscriptionOptions};
use mqtt_topic::SubscriptionIndex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// An MQTT server node.
pub struct Broker {
    pub(crate) settings: BrokerSettings,
    pub(crate) epoch: u64,
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    pub(crate) index: SubscriptionIndex<ConnectionId, SubscriptionOptions>,
    pub(crate) filters: Filters,
    pub(crate) publishes: Publishes,
    pub(crate) rules: RuleOutputsQueue,
    pub(crate) outbox: Outbox<Token>,
    pub(crate) outputs: Vec<Output>,
    /// What sessions put out and the node has not carried out yet. A queue, so that nothing here recurses.
    work: VecDeque<(ConnectionId, SessionOutput)>,
    /// Connections with something to send or to save at the end of the tick.
    touched: BTreeSet<ConnectionId>,
    /// Connections that had something under way at the end of the last tick, or whose attachment still says so.
    restless: BTreeSet<ConnectionId>,
    inbox: Inbox,
    /// Registrations that a Router's channel had no room for.
    pub(crate) refused: Vec<(String, u64)>,
    /// No session times out before this. Only ever too early, never too late.
    deadline: Option<UnixMillis>,
}

/// What a request to another object was for.
#[derive(Clone, Debug)]
pub(crate) enum Token {
    /// Who wants this publish's topic?
    Route(Ticket),
    /// The publish, handed to another node.
    Deliver(Ticket),
    /// A shadow or job request that came as a publish.
    Thing(Ticket),
    /// A filter registered at its Router.
    Subscribe { filter: String, generation: u64 },
    /// A client id claimed.
    Claim(ConnectionId),
    /// Nobody waits for the answer.
    Nothing,
}

impl Broker {
    /// A node whose memory begins at `now`. `epoch` is its stored epoch; a node that starts without any socket has
    /// to be given a new one and told so by [`Self::begin_epoch`].
    #[must_use]
    pub fn new(settings: BrokerSettings, epoch: u64, now: UnixMillis) -> Self {
        let outbox = Outbox::new(Address::Broker(settings.id.clone()), epoch, now, settings.channels);
        Self {
            settings,
            epoch,
            connections: BTreeMap::new(),
            index: SubscriptionIndex::default(),
            filters: Filters::default(),
            publishes: Publishes::default(),
            rules: RuleOutputsQueue::default(),
            outbox,
            outputs: Vec::new(),
            work: VecDeque::new(),
            touched: BTreeSet::new(),
            restless: BTreeSet::new(),
            inbox: Inbox::default(),
            refused: Vec::new(),
            deadline: None,
        }
    }

    /// Starts an epoch: everything that earlier ones registered anywhere is over.
    pub fn begin_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.outbox.set_epoch(epoch);
        if self.settings.broker_count > 1 {
            for shard in 0..self.settings.router_shards.count() {
                let request = Request::Router(messages::router::RouterRequest::EpochStarted);
                // A shard that can't be told now learns it from the first subscription of this epoch.
                let _ = self.outbox.push(Address::Router(shard), request, Token::Nothing);
            }
        }
    }

    /// Takes back the connections that outlived the node's memory, from their attachments.
    ///
    /// Those that had something under way, or whose attachment says nothing usable, are closed: their clients connect
    /// again, instead of waiting for what nobody remembers.
    pub fn wake(&mut self, now: UnixMillis, sockets: Vec<(ConnectionId, Vec<u8>)>) {
        for (id, bytes) in sockets {
            let restored = Attachment::decode(&bytes)
                .ok()
                .filter(|attachment| attachment.epoch == self.epoch)
                .and_then(|attachment| Connection::restore(attachment, self.settings.session));
            let Some(connection) = restored else {
                self.outputs.push(Output::Close { connection: id, code: 1012, reason: "please connect again" });
                continue;
            };
            let was_dirty = connection.is_marked_dirty();
            let subscriptions: Vec<(String, SubscriptionOptions)> =
                connection.session.subscriptions().map(|(filter, options)| (filter.to_owned(), options)).collect();
            self.note_deadline(connection.session.next_timeout());
            self.connections.insert(id, connection);
            for (filter, options) in subscriptions {
                self.restore_subscription(id, &filter, options);
            }
            if was_dirty {
                let reason = "the connection was in the middle of something when its node slept";
                self.session(now, id, SessionInput::End { reason_code: ReasonCode::ServerBusy, reason });
            }
        }
        self.drain(now);
    }

    /// How many connections there are.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Whether another connection may come.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.connections.len() < self.settings.maximum_connections
    }

    /// Whether the node could lose its memory now without anybody noticing.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.outbox.is_idle()
            && self.publishes.is_empty()
            && self.rules.is_idle()
            && self.touched.is_empty()
            && self.restless.is_empty()
    }

    /// When [`Input::Tick`] is due because of a client. May be long: whoever waits may sleep until then.
    #[must_use]
    pub const fn next_timeout(&self) -> Option<UnixMillis> {
        self.deadline
    }

    /// When [`Input::Tick`] is due because of another object. Soon.
    #[must_use]
    pub fn next_retry(&self) -> Option<UnixMillis> {
        match (self.outbox.next_retry(), self.rules.next_retry()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Takes one input. What follows from it waits for [`Self::flush`].
    pub fn handle(&mut self, now: UnixMillis, input: Input) {
        match input {
            Input::Opened { connection, grant } => {
                let opened = Connection::new(connection, *grant, self.settings.session, now);
                self.note_deadline(opened.session.next_timeout());
                self.connections.insert(connection, opened);
                self.touched.insert(connection);
            }
            Input::Received { connection, bytes } => self.received(now, connection, bytes),
            Input::ReceivedText { connection } => {
                let reason = "[MQTT-6.0.0-1] a text frame";
                self.session(now, connection, SessionInput::End { reason_code: ReasonCode::ProtocolError, reason });
            }
            Input::Lost { connection } => self.session(now, connection, SessionInput::ConnectionLost),
            Input::Authenticated { connection, principal } => self.authenticated(now, connection, principal),
            Input::Answered { target, reply } => {
                for (token, result) in self.outbox.answered(&target, reply, now) {
                    self.outcome(now, token, result);
                }
            }
            Input::RulesLoaded { sequence, rules } => self.rules_loaded(now, sequence, &rules),
            Input::RulesUnavailable => self.rules_unavailable(now),
            Input::Enqueued { accepted } => self.enqueued(now, accepted),
            Input::Tick => self.tick(now),
        }
        self.drain(now);
    }

    /// Applies what another object or the Worker asks. Answers at once and waits for nobody.
    pub fn call(&mut self, now: UnixMillis, batch: Batch) -> BatchReply {
        let acceptance = batch.sender.as_ref().map_or(Acceptance::New, |sender| self.inbox.accept(sender));
        let mut replies = Vec::with_capacity(batch.requests.len());
        for request in batch.requests {
            if acceptance == Acceptance::Repeat && !messages::channel::is_idempotent(&request) {
                replies.push(Reply::Applied);
                continue;
            }
            let Request::Broker(request) = request else {
                replies.push(Reply::Refused(Refusal::WrongClass));
                continue;
            };
            self.request(now, request);
            self.drain(now);
            replies.push(Reply::Applied);
        }
        BatchReply { epoch: self.epoch, replies }
    }

    /// Ends the tick: returns everything to be carried out, each client's packets in one frame.
    pub fn flush(&mut self, now: UnixMillis) -> Vec<Output> {
        self.offer_rule_outputs(now);
        for id in core::mem::take(&mut self.touched) {
            let Some(connection) = self.connections.get_mut(&id) else {
                self.restless.remove(&id);
                continue;
            };
            if let Some(bytes) = connection.take_frame() {
                self.outputs.push(Output::Send { connection: id, bytes });
            }
            if let Some(bytes) = connection.attachment_to_save(self.epoch, now) {
                self.outputs.push(Output::SaveAttachment { connection: id, bytes });
            }
            if connection.is_at_rest() && !connection.is_marked_dirty() {
                self.restless.remove(&id);
            } else {
                self.restless.insert(id);
            }
        }
        self.outputs.extend(self.outbox.calls(now).into_iter().map(Output::Call));
        core::mem::take(&mut self.outputs)
    }

    fn request(&mut self, now: UnixMillis, request: BrokerRequest) {
        match request {
            BrokerRequest::Deliver(publication) => self.deliver(now, &std::rc::Rc::new(publication), None),
            BrokerRequest::Publish(publication) => self.publish_for_platform(now, publication),
            BrokerRequest::Fence { connection, client_id } => {
                if self.connections.get(&connection).is_some_and(|c| c.is_of(&client_id)) {
                    self.take_over(now, connection);
                }
            }
            BrokerRequest::ClaimDecided { connection, number: Some(number) } => self.claimed(now, connection, number),
            BrokerRequest::ClaimDecided { connection, number: None } => self.take_over(now, connection),
            BrokerRequest::RulesChanged { sequence } => self.rules_changed(sequence),
        }
    }

    fn take_over(&mut self, now: UnixMillis, connection: ConnectionId) {
        let reason = "another connection uses this client identifier";
        self.session(now, connection, SessionInput::End { reason_code: ReasonCode::SessionTakenOver, reason });
    }

    fn received(&mut self, now: UnixMillis, id: ConnectionId, bytes: bytes::Bytes) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.decoder.push(bytes);
        self.touched.insert(id);
        loop {
            // Looked up again each time: a packet can end the connection.
            let Some(connection) = self.connections.get_mut(&id) else { return };
            let Some(input) = connection.next_input() else { return };
            self.session(now, id, input);
            self.drain(now);
        }
    }

    /// Gives an input to a session. What it puts out is carried out by [`Self::drain`].
    pub(crate) fn session(&mut self, now: UnixMillis, id: ConnectionId, input: SessionInput) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut out = Vec::new();
        connection.session.handle(now, input, &mut out);
        self.touched.insert(id);
        self.work.extend(out.into_iter().map(|output| (id, output)));
    }

    fn drain(&mut self, now: UnixMillis) {
        while let Some((id, output)) = self.work.pop_front() {
            match output {
                SessionOutput::Send(packet) => {
                    if let Some(connection) = self.connections.get_mut(&id) {
                        connection.send(&packet);
                    }
                }
                SessionOutput::Connect(connect) => self.connect(now, id, &connect),
                SessionOutput::Publish(publish) => self.publish_from_client(now, id, *publish),
                SessionOutput::Subscribe(subscribe) => self.subscribe(now, id, &subscribe),
                SessionOutput::Unsubscribe(unsubscribe) => self.unsubscribe(now, id, &unsubscribe),
                SessionOutput::Dropped(count) => {
                    for _ in 0..count {
                        self.log(id, "message_dropped", None, Some("the session's queue is full"), None);
                    }
                }
                SessionOutput::Close(disconnection) => self.closed(now, id, disconnection),
            }
        }
    }

    fn closed(&mut self, now: UnixMillis, id: ConnectionId, disconnection: Disconnection) {
        let Some(mut connection) = self.connections.remove(&id) else { return };
        self.restless.remove(&id);
        self.outputs.push(Output::Log(LogEvent {
            event: "disconnected",
            trace_id: connection.grant.trace_id.clone(),
            client_id: disconnection.client_id.as_ref().map(|client_id| client_id.as_str().to_owned()),
            topic: None,
            reason: Some(disconnection.reason),
            reason_code: Some(disconnection.reason_code.as_u8()),
        }));
        if let Some(bytes) = connection.take_frame() {
            self.outputs.push(Output::Send { connection: id, bytes });
        }
        let code = if disconnection.client_initiated { 1000 } else { close_code(disconnection.reason_code) };
        self.outputs.push(Output::Close { connection: id, code, reason: disconnection.reason });
        self.forget_subscriber(id);
        for filter in disconnection.subscriptions.keys() {
            self.remove_subscription(now, id, filter);
        }
        if let Some((client_id, number)) = released(&connection, disconnection.client_id) {
            let target = Address::sessions_of_client(&client_id, self.settings.sessions_shards);
            let request = Request::Sessions(SessionsRequest::Release { client_id, number });
            // If it can't be sent, the row stays until the next claim, which fences a connection that is gone.
            let _ = self.outbox.push(target, request, Token::Nothing);
        }
        if let Some(will) = disconnection.will {
            self.publish_will(now, &connection, will);
        }
    }

    fn outcome(&mut self, now: UnixMillis, token: Token, result: Result<Reply, Undelivered>) {
        match (token, result) {
            (Token::Route(ticket), Ok(Reply::Route(destinations))) => self.routed(now, ticket, Some(destinations)),
            (Token::Route(ticket), _) => self.routed(now, ticket, None),
            (Token::Deliver(ticket), result) => self.part_done(now, ticket, result.is_ok()),
            (Token::Thing(ticket), Ok(Reply::Thing(reply))) => self.thing_replied(now, ticket, Some(reply)),
            (Token::Thing(ticket), _) => self.thing_replied(now, ticket, None),
            (Token::Subscribe { filter, generation }, result) => {
                self.registered(now, &filter, generation, result.is_ok());
            }
            (Token::Claim(connection), Ok(Reply::Claim(ClaimReply::Granted { number }))) => {
                self.claimed(now, connection, number);
            }
            // `ClaimDecided` follows.
            (Token::Claim(_), Ok(Reply::Claim(ClaimReply::Pending))) | (Token::Nothing, _) => {}
            (Token::Claim(connection), _) => {
                let reason = "the client identifier could not be claimed";
                let input = SessionInput::End { reason_code: ReasonCode::ServerUnavailable, reason };
                self.session(now, connection, input);
            }
        }
        self.drain(now);
    }

    fn tick(&mut self, now: UnixMillis) {
        // Dirty marks that wait for the end of their interval are looked at again.
        self.touched.extend(self.restless.iter().copied());
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        let due: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, c)| c.session.next_timeout().is_some_and(|timeout| timeout <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.session(now, id, SessionInput::Tick);
        }
        self.drain(now);
        self.deadline = self.connections.values().filter_map(|c| c.session.next_timeout()).min();
    }

    pub(crate) fn note_deadline(&mut self, timeout: Option<UnixMillis>) {
        self.deadline = match (self.deadline, timeout) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    pub(crate) fn log(
        &mut self,
        id: ConnectionId,
        event: &'static str,
        topic: Option<&str>,
        reason: Option<&'static str>,
        reason_code: Option<ReasonCode>,
    ) {
        let connection = self.connections.get(&id);
        self.outputs.push(Output::Log(LogEvent {
            event,
            trace_id: connection.map_or_else(String::new, |c| c.grant.trace_id.clone()),
            client_id: connection.and_then(|c| c.session.client_id()).map(|client_id| client_id.as_str().to_owned()),
            topic: topic.map(str::to_owned),
            reason,
            reason_code: reason_code.map(|code| code as u8),
        }));
    }

    pub(crate) fn log_rule(&mut self, rule_name: String, reason: &'static str) {
        self.outputs.push(Output::Log(LogEvent {
            event: "rule_failed",
            trace_id: String::new(),
            client_id: None,
            topic: Some(rule_name),
            reason: Some(reason),
            reason_code: None,
        }));
    }
}

/// The claim to give back for a connection that ended.
fn released(connection: &Connection, client_id: Option<ClientId>) -> Option<(ClientId, u64)> {
    let claiming = || connection.claiming.as_ref().map(|(client_id, _)| client_id.clone());
    Some((client_id.or_else(claiming)?, connection.number?))
}

/// The WebSocket close code that comes nearest (RFC 6455 section 7.4.1).
const fn close_code(reason_code: ReasonCode) -> u16 {
    match reason_code {
        ReasonCode::MalformedPacket | ReasonCode::ProtocolError => 1002,
        ReasonCode::PacketTooLarge => 1009,
        ReasonCode::ServerBusy | ReasonCode::ServerUnavailable | ReasonCode::ServerShuttingDown => 1012,
        _ => 1008,
    }
}
