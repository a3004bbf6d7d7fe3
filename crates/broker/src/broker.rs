//! The node: its state and its turns.

use crate::attachment::Attachment;
use crate::authority::Authorities;
use crate::budgets::TokenBucket;
use crate::closing::Endings;
use crate::connection::Connection;
use crate::connections::Connections;
use crate::direct::Directs;
use crate::durable::Subscribing;
use crate::forwarding::Forwards;
use crate::frames::Frames;
use crate::io::{Input, LogEvent, Output};
use crate::permissions::Permissions;
use crate::placement::Placement;
use crate::plans::Plans;
use crate::publishes::Publishes;
use crate::retained::Replays;
use crate::routes::Routes;
use crate::rule_outputs::RuleOutputsQueue;
use crate::settings::BrokerSettings;
use crate::shared::Groups;
use crate::subscribe::Filters;
use crate::token::Token;
use crate::touched::Touched;
use iot_types::{ClientId, UnixMillis};
use messages::Request;
use messages::address::Address;
use messages::broker::ConnectionId;
use messages::channel::{Inbox, Outbox, Undelivered};
use messages::router::RouterRequest;
use messages::session::SubscriptionOptions;
use messages::sessions::SessionsRequest;
use mqtt_codec::ReasonCode;
use mqtt_session::{Input as SessionInput, Output as SessionOutput};
use mqtt_topic::SubscriptionIndex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// An MQTT server node.
pub struct Broker {
    pub(crate) settings: BrokerSettings,
    pub(crate) epoch: u64,
    /// A newer instance of this node is at work: this one does nothing any more.
    pub(crate) is_stopped: bool,
    /// Whoever runs the node has to be told so.
    pub(crate) tells_stop: bool,
    pub(crate) connections: Connections,
    pub(crate) authorities: Authorities,
    /// Subscriptions of sessions that end with their connections, but for shared ones.
    pub(crate) index: SubscriptionIndex<ConnectionId, SubscriptionOptions>,
    pub(crate) groups: Groups,
    pub(crate) filters: Filters,
    pub(crate) subscribing: Subscribing,
    pub(crate) replays: Replays,
    pub(crate) routes: Routes,
    pub(crate) publishes: Publishes,
    pub(crate) forwards: Forwards,
    pub(crate) directs: Directs,
    pub(crate) rules: RuleOutputsQueue,
    pub(crate) endings: Endings,
    /// What became of wills and presence events, for the Sessions objects that they are from.
    pub(crate) announced: BTreeMap<u32, Vec<(u64, bool)>>,
    /// Connections that ended while their claim was being decided: it has to be given back. Until when that is waited
    /// for.
    pub(crate) abandoned: BTreeMap<ConnectionId, (ClientId, UnixMillis)>,
    pub(crate) connect_rate: Option<TokenBucket>,
    /// `None` for a node that is no pool's.
    pub(crate) placement: Option<Placement>,
    /// Connections with more to work on, when it is their turn again.
    pub(crate) backlog: BTreeSet<ConnectionId>,
    /// Bytes received on all connections and not yet worked on.
    pub(crate) backlog_bytes: usize,
    pub(crate) outbox: Outbox<Token>,
    pub(crate) inbox: Inbox,
    /// The latest instance of each Router that was heard.
    pub(crate) router_instances: BTreeMap<u32, u64>,
    pub(crate) outputs: Vec<Output>,
    /// What sessions put out and the node has not carried out yet. A queue, so that nothing here recurses.
    work: VecDeque<(ConnectionId, SessionOutput)>,
    /// Empty: memory for what a session puts out next.
    pub(crate) scratch: Vec<SessionOutput>,
    pub(crate) plans: Plans,
    /// For messages that come from other Brokers.
    pub(crate) arrivals: Plans,
    /// What several clients are sent in this tick.
    pub(crate) frames: Frames,
    /// Connections with something to send or to save at the end of the tick.
    pub(crate) touched: Touched,
    /// Connections that had something under way at the end of the last tick, or whose attachment still says so.
    pub(crate) restless: BTreeSet<ConnectionId>,
    /// No session times out before this. Only ever too early, never too late.
    deadline: Option<UnixMillis>,
}

impl Broker {
    /// A node whose memory begins at `now`. `epoch` is its stored epoch; a node that starts without any socket has
    /// to be given a new one and told so by [`Self::begin_epoch`].
    #[must_use]
    pub fn new(settings: BrokerSettings, epoch: u64, now: UnixMillis) -> Self {
        let outbox = Outbox::new(Address::Broker(settings.id.clone()), epoch, now, settings.channels);
        let connect_rate = settings.limits.connects_per_second.map(|rate| TokenBucket::new(rate, now));
        Self {
            epoch,
            is_stopped: false,
            tells_stop: false,
            connections: Connections::default(),
            authorities: Authorities::default(),
            index: empty_index(settings.limits.matches_parent),
            groups: Groups::new(empty_index(settings.limits.matches_parent)),
            filters: Filters::default(),
            subscribing: Subscribing::new(),
            replays: Replays::default(),
            routes: Routes::new(&settings, now),
            publishes: Publishes::new(now),
            forwards: Forwards::default(),
            directs: Directs::default(),
            rules: RuleOutputsQueue::default(),
            endings: Endings::default(),
            announced: BTreeMap::new(),
            abandoned: BTreeMap::new(),
            connect_rate,
            placement: None,
            backlog: BTreeSet::new(),
            backlog_bytes: 0,
            outbox,
            inbox: Inbox::default(),
            router_instances: BTreeMap::new(),
            outputs: Vec::new(),
            work: VecDeque::new(),
            scratch: Vec::new(),
            plans: Plans::default(),
            arrivals: Plans::default(),
            frames: Frames::default(),
            touched: Touched::default(),
            restless: BTreeSet::new(),
            deadline: None,
            settings,
        }
    }

    /// Starts an epoch: everything that earlier ones registered anywhere is over.
    pub fn begin_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.outbox.set_epoch(epoch);
        let routers = self.settings.router_shards.objects().into_iter().map(Address::Router);
        let sessions = self.settings.sessions_shards.objects().into_iter().map(Address::Sessions);
        for object in routers.chain(sessions).collect::<Vec<_>>() {
            self.announce_epoch(object);
        }
    }

    pub(crate) fn announce_epoch(&mut self, object: Address) {
        let request = match object {
            Address::Router(_) => Request::Router(RouterRequest::EpochStarted),
            _ => Request::Sessions(SessionsRequest::EpochStarted),
        };
        // Who has no room to be told now learns it from the next call of this epoch.
        let _ = self.outbox.push(object.clone(), request, Token::Epoch(object));
    }

    /// Takes back the connections that outlived the node's memory, from their attachments.
    ///
    /// Those that had something under way, or whose attachment says nothing usable, are closed: their clients connect
    /// again, instead of waiting for what nobody remembers.
    pub fn wake(&mut self, now: UnixMillis, sockets: Vec<(ConnectionId, Vec<u8>)>) {
        let mut doubtful = Vec::new();
        for (id, bytes) in sockets {
            let restored = Attachment::decode(&bytes)
                .ok()
                .filter(|attachment| attachment.epoch == self.epoch)
                .and_then(|attachment| {
                    Connection::restore(attachment, self.settings.session, now, |record| {
                        Permissions::restore(record, &self.settings.scope, |number| self.authorities.set(number))
                    })
                });
            let Some(connection) = restored else {
                self.outputs.push(Output::Close { connection: id, code: 1012, reason: "please connect again" });
                continue;
            };
            let was_dirty = connection.is_marked_dirty();
            let is_durable = connection.session.is_durable();
            let subscriptions: Vec<_> =
                connection.session.subscriptions().map(|(filter, options)| (filter.to_owned(), options)).collect();
            self.note_deadline(connection.next_timeout());
            self.connections.insert(id, connection);
            if was_dirty && !is_durable {
                // It may be that a Router has not heard of some, nor of what they need above them.
                doubtful.extend(subscriptions.into_iter().map(|(filter, _)| filter));
            } else if !is_durable {
                for (filter, options) in subscriptions {
                    self.restore_subscription(now, id, &filter, options);
                }
            }
            if was_dirty {
                let reason = "the connection was in the middle of something when its node slept";
                self.end(now, id, ReasonCode::ServerBusy, reason);
            }
        }
        for filter in doubtful {
            self.routes.take_out(&filter);
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
        !self.is_stopped && self.connections.len() < self.settings.limits.maximum_connections
    }

    /// How many connections the next [`Self::flush`] looks at.
    #[must_use]
    pub fn touched_connections(&self) -> usize {
        self.touched.len()
    }

    /// Whether the node could lose its memory now without anybody noticing.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.is_stopped
            || self.outbox.is_idle()
                && self.publishes.is_empty()
                && self.forwards.is_idle()
                && self.directs.is_empty()
                && self.rules.is_idle()
                && self.replays.is_idle()
                && self.groups.is_idle()
                && self.filters.is_idle()
                && self.routes.is_idle()
                && self.subscribing.is_empty()
                && self.endings.is_empty()
                && self.authorities.is_idle()
                && self.abandoned.is_empty()
                && self.backlog.is_empty()
                && self.touched.is_empty()
                && self.restless.is_empty()
    }

    /// When [`Input::Tick`] is due because of a client. May be long: whoever waits may sleep until then.
    #[must_use]
    pub const fn next_timeout(&self) -> Option<UnixMillis> {
        self.deadline
    }

    /// When [`Input::Tick`] is due because of something under way. Soon, or now.
    #[must_use]
    pub fn next_retry(&self) -> Option<UnixMillis> {
        if self.is_stopped {
            return None;
        }
        let waits = [
            self.outbox.next_retry(),
            self.rules.next_retry(),
            self.publishes.next_deadline(),
            self.forwards.next_deadline(),
            self.directs.next_deadline(),
            self.replays.next_retry(),
            self.groups.next_drain(),
            self.endings.retry_at(),
            self.authorities.next_retry(),
            self.placement_due(),
            (!self.backlog.is_empty()).then_some(UnixMillis(0)),
            self.subscribing.values().map(|subscribing| subscribing.until).min(),
            self.abandoned.values().map(|(_, until)| *until).min(),
            self.routes.next_timeout(self.publishes.waits_for_leases()),
        ];
        waits.into_iter().flatten().min()
    }

    /// Takes one input. What follows from it waits for [`Self::flush`].
    pub fn handle(&mut self, now: UnixMillis, input: Input) {
        if self.is_stopped {
            return self.refuse_input(input);
        }
        match input {
            Input::Opened { connection, grant } => {
                let opened = Connection::new(connection, *grant, self.settings.session, now);
                self.note_deadline(opened.session.next_timeout());
                self.connections.insert(connection, opened);
                self.touched.insert(connection);
            }
            Input::Received { connection, bytes } => self.received(now, connection, bytes),
            Input::ReceivedText { connection } => {
                self.end(now, connection, ReasonCode::ProtocolError, "[MQTT-6.0.0-1] a text frame");
            }
            Input::Lost { connection } => {
                if let Some(lost) = self.connections.get_mut(&connection) {
                    lost.is_lost = true;
                    if !self.backlog.contains(&connection) {
                        self.session(now, connection, SessionInput::ConnectionLost);
                    }
                }
            }
            Input::Authenticated { connection, principal } => self.authenticated(now, connection, principal),
            Input::EnhancedAuthenticated { connection, step } => self.enhanced_authenticated(now, connection, step),
            Input::PublishRequest { request, publication } => self.publish_request(now, request, publication),
            Input::DirectRequest { request, connection, client_id, publication, confirmation, timeout_millis } => {
                let until = now.plus_millis(u64::from(timeout_millis));
                self.direct_request(now, request, (connection, client_id), publication, confirmation.then_some(until));
            }
            Input::Answered { target, reply } => {
                let reply = reply.filter(|reply| self.is_present(&target, reply.epoch));
                for (token, result) in self.outbox.answered(&target, reply, now) {
                    if let Err(Undelivered::Moved { shard, to }) = result {
                        self.note_moved(&target, shard, to);
                    }
                    self.outcome(now, &target, token, result);
                    self.drain(now);
                }
            }
            Input::ShardsKnown { routers, sessions } => {
                self.settings.router_shards.note_table(routers);
                self.settings.sessions_shards.note_table(sessions);
            }
            Input::RulesLoaded { sequence, rules } => self.rules_loaded(now, sequence, &rules),
            Input::RulesUnavailable => self.rules_unavailable(now),
            Input::AuthoritiesLoaded { sequence, found } => self.authorities_loaded(now, sequence, found),
            Input::AuthoritiesUnavailable { requests } => self.authorities_unavailable(now, requests),
            Input::Provisioned { ticket, answer } => self.provisioned(now, ticket, answer),
            Input::Enqueued { accepted } => self.enqueued(now, accepted),
            Input::Tick => self.tick(now),
        }
        self.drain(now);
    }

    /// A node that has been replaced takes nothing on.
    fn refuse_input(&mut self, input: Input) {
        match input {
            Input::Opened { connection, .. } => {
                self.outputs.push(Output::Close { connection, code: 1012, reason: "please connect again" });
            }
            Input::PublishRequest { request, .. } | Input::DirectRequest { request, .. } => {
                let failure = messages::api::ApiFailure::NotSafe;
                let outcome = messages::api::BrokerApiReply::Failed(failure);
                self.outputs.push(Output::Published { request, outcome });
            }
            _ => {}
        }
    }

    /// Ends the tick: returns everything to be carried out, each client's packets in one frame.
    pub fn flush(&mut self, now: UnixMillis) -> Vec<Output> {
        if self.is_stopped {
            let stop = core::mem::take(&mut self.tells_stop).then_some(Output::Stop);
            self.outputs.extend(stop);
            return core::mem::take(&mut self.outputs);
        }
        self.tend_placement(now);
        self.ask_authorities(now);
        self.tell_registrations(now);
        self.ask_pages(now);
        self.ask_drains(now);
        self.offer_rule_outputs(now);
        self.drain(now);
        let touched = self.touched.take();
        for id in touched.iter().copied() {
            self.tell_acknowledgements(now, id);
            self.drain(now);
            let Some(connection) = self.connections.get_mut(&id) else {
                self.restless.remove(&id);
                continue;
            };
            if let Some(bytes) = connection.take_frame(&mut self.frames) {
                self.outputs.push(Output::Send { connection: id, bytes });
            }
            if self.settings.sockets_outlive_memory
                && let Some(bytes) = connection.attachment_to_save(self.epoch, now)
            {
                self.outputs.push(Output::SaveAttachment { connection: id, bytes });
            }
            if connection.is_at_rest() && !connection.is_marked_dirty() {
                self.restless.remove(&id);
            } else {
                self.restless.insert(id);
            }
        }
        self.frames.clear();
        self.touched.reuse(touched);
        // What ended a connection just now may have left something for the Routers.
        self.tell_registrations(now);
        self.give_leases_back();
        self.tell_announced();
        self.ask_leases(now);
        self.send_all_packed(now);
        self.outputs.extend(self.outbox.calls(now).into_iter().map(Output::Call));
        if self.needs_fence(now) {
            self.outputs.insert(0, Output::Fence);
        }
        core::mem::take(&mut self.outputs)
    }

    /// Gives an input to a session. What it puts out is carried out by [`Self::drain`].
    pub(crate) fn session(&mut self, now: UnixMillis, id: ConnectionId, input: SessionInput) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut out = core::mem::take(&mut self.scratch);
        connection.session.handle(now, input, &mut out);
        self.carry_out(id, &mut out);
        self.scratch = out;
    }

    /// Carries out what a session put out, behind what waits already.
    pub(crate) fn carry_out(&mut self, id: ConnectionId, out: &mut Vec<SessionOutput>) {
        self.touched.insert(id);
        self.work.extend(out.drain(..).map(|output| (id, output)));
    }

    pub(crate) fn drain(&mut self, now: UnixMillis) {
        while let Some((id, output)) = self.work.pop_front() {
            match output {
                SessionOutput::Send(packet) => {
                    if let Some(connection) = self.connections.get_mut(&id) {
                        connection.send(&packet, &mut self.frames);
                    }
                }
                SessionOutput::Authenticate { method, data, .. } => self.authenticate_enhanced(now, id, method, data),
                SessionOutput::Release { packet_id } => self.forget_received(now, id, packet_id),
                SessionOutput::Acknowledged(acknowledgement) => {
                    if let Some(connection) = self.connections.get_mut(&id) {
                        connection.acknowledgements.push(acknowledgement);
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

    fn tick(&mut self, now: UnixMillis) {
        // Dirty marks that wait for the end of their interval are looked at again.
        self.touched.extend(self.restless.iter().copied());
        self.work_on_backlog(now);
        self.give_up_parts(now);
        self.give_up_forwards(now);
        self.give_up_directs(now);
        self.give_up_subscribes(now);
        self.retry_endings(now);
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        let due: Vec<ConnectionId> = self
            .connections
            .iter()
            .filter(|(_, c)| c.next_timeout().is_some_and(|timeout| timeout <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.check_lease(now, id);
            self.session(now, id, SessionInput::Tick);
        }
        self.drain(now);
        self.deadline = self.connections.values().filter_map(Connection::next_timeout).min();
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
            client_id: connection.and_then(|c| c.client_id.as_ref()).map(|client_id| client_id.as_str().to_owned()),
            principal: connection.and_then(|c| c.grant.principal.as_ref()).map(|who| who.identifier().to_owned()),
            source_ip: connection.and_then(|c| c.grant.source_ip).map(|ip| ip.to_string()),
            topic: topic.map(str::to_owned),
            reason,
            reason_code: reason_code.map(|code| code as u8),
        }));
    }

    /// A log line about something that is no connection's.
    pub(crate) fn log_platform(&mut self, event: &'static str, topic: &str, reason: &'static str) {
        self.outputs.push(Output::Log(LogEvent {
            event,
            trace_id: String::new(),
            client_id: None,
            principal: None,
            source_ip: None,
            topic: (!topic.is_empty()).then(|| topic.to_owned()),
            reason: Some(reason),
            reason_code: None,
        }));
    }
}

/// An index without filters; `matches_parent`: whether `a/#` matches `a` in it.
fn empty_index<K: Ord + Clone, V>(matches_parent: bool) -> SubscriptionIndex<K, V> {
    if matches_parent { SubscriptionIndex::new() } else { SubscriptionIndex::without_parent_match() }
}
