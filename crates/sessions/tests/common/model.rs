//! The shard among Brokers, clients and publishers, while everything fails: its memory is lost between any two steps,
//! writes fail or fail although they landed, calls and replies are lost, connections break and are taken over, Brokers
//! start afresh. Then all heals, and what was acknowledged must have arrived: QoS 1 at least once, QoS 2 exactly once,
//! in the order of the publisher.
//!
//! There may be several shards, among which a virtual shard moves as an operator asks for. Then a message is acknowledged
//! when all have it that the Routers knew of when it was handed on.

mod router;

use super::{at_most, broker, durable, ending, id};
use iot_types::{ClientId, PacketId, Qos, UnixMillis};
use messages::address::{Address, ShardMap};
use messages::broker::{BrokerRequest, ConnectionId};
use messages::channel::{Acceptance, Call, ChannelLimits, Inbox, Outbox, Undelivered};
use messages::codec::{Batch, BatchReply, Sender};
use messages::publication::{MessageId, Publication};
use messages::session::{Acknowledgement, AcknowledgementKind, Claim, DisconnectReason, Grant, Outgoing};
use messages::sessions::{ClaimReply, SessionsRequest};
use messages::{Refusal, Reply, Request};
use router::Router;
use sessions::{Failing, MemoryStore, SessionStore, SessionsShard, ShardSettings, StoreError};
use std::collections::{BTreeMap, BTreeSet};

pub const CLIENTS: usize = 3;
/// The first two have ids of the virtual shard that moves.
const NAMES: [&str; CLIENTS] = ["c0", "c394", "c2"];
/// Brokers 0 and 1 have the subscribers, 2 the publisher.
pub const BROKERS: usize = 3;
const WINDOW: u16 = 4;
/// Room for everything that a test publishes.
pub const AMPLE: usize = 100_000;
/// How long a call may be on its way.
const LATE_MILLIS: u64 = 20_000;

#[derive(Clone, Debug)]
enum Token {
    Claim(ConnectionId),
    Deliver { publish: usize, ticket: u64 },
    Acknowledge(ConnectionId, SessionsRequest),
    Other(SessionsRequest),
}

#[derive(Debug)]
pub struct Connection {
    client: usize,
    pub number: Option<u64>,
    /// The client or the network has closed it.
    is_closed: bool,
    /// Packets that came before the grant.
    early: Vec<(u64, Vec<Outgoing>)>,
    acknowledgements: Vec<Acknowledgement>,
}

#[derive(Debug)]
pub struct Broker {
    pub epoch: u64,
    outbox: Outbox<Token>,
    inbox: Inbox,
    pub connections: BTreeMap<ConnectionId, Connection>,
    shards: ShardMap,
}

#[derive(Debug, Default)]
pub struct Client {
    /// The connection that the client uses.
    pub connection: Option<(usize, ConnectionId)>,
    is_accepted: bool,
    had_session: bool,
    /// Packet identifiers of QoS 2 whose PUBREL has not come: the client's half of the session.
    unreleased: BTreeSet<PacketId>,
    /// Of QoS 1 on this connection, unacknowledged.
    unacknowledged: BTreeMap<PacketId, String>,
    /// (message, attempt) in the order of arrival.
    pub received: Vec<(usize, u64)>,
}

#[derive(Debug)]
pub struct Publish {
    qos: Qos,
    pub is_acknowledged: bool,
    /// The tickets of the attempt under way that are not settled.
    tickets: BTreeSet<u64>,
    attempts: u32,
}

/// A shard and its rows.
pub struct Object {
    pub store: MemoryStore,
    pub shard: SessionsShard,
    /// Which life of the shard calls belong to.
    life: u64,
}

pub struct Model {
    pub now: UnixMillis,
    pub objects: Vec<Object>,
    pub router: Router,
    flying: Vec<(usize, u64, Call)>,
    /// Calls of Brokers on their way, with the epoch that made them and when.
    late: Vec<(usize, u64, UnixMillis, Call)>,
    /// Calls that have arrived and will once more.
    copies: Vec<(UnixMillis, Call)>,
    pub brokers: Vec<Broker>,
    pub clients: Vec<Client>,
    pub publishes: Vec<Publish>,
    /// Topics of wills and presence events.
    pub published: Vec<String>,
    /// What a Broker has to tell again.
    again: Vec<(usize, SessionsRequest)>,
    next_connection: u64,
    next_serial: u64,
    settings: ShardSettings,
    most_stored: usize,
    /// Objects that can't be reached.
    pub down: BTreeSet<usize>,
    /// Parts of virtual shards that came, with where to.
    pub parts: Vec<(usize, Batch)>,
    numbers: u64,
    /// Where the operator wants the virtual shard to be.
    pub wanted: u32,
}

fn claim() -> Claim {
    Claim { receive_maximum: WINDOW, session_expiry: 1_000_000, ..durable() }
}

fn new_shard(number: usize, now: UnixMillis, settings: &ShardSettings) -> SessionsShard {
    SessionsShard::new(number as u32, now, settings.clone(), ShardMap::new(1), ShardMap::new(1))
}

/// The virtual shard that moves.
pub fn moving() -> u16 {
    ShardMap::virtual_shard(NAMES[0].as_bytes())
}

fn outbox(index: u32, epoch: u64, now: UnixMillis) -> Outbox<Token> {
    let limits = ChannelLimits { attempts: u32::MAX, ..ChannelLimits::default() };
    Outbox::new(Address::Broker(broker(index)), epoch, now, limits)
}

pub fn client_id(client: usize) -> ClientId {
    id(NAMES[client])
}

impl Model {
    pub fn new(maximum_messages: usize, objects: usize) -> Self {
        let now = UnixMillis(1_000_000);
        let settings = ShardSettings {
            page_messages: 3,
            page_bytes: 600,
            recent_messages: 64,
            maximum_messages,
            cached_sessions: if objects > 1 { 8 } else { 1 },
            move_page_rows: 2,
            move_page_bytes: 400,
            move_freeze_millis: 1_000,
            move_patience_millis: 1_000_000,
            ..ShardSettings::default()
        };
        let brokers = (0..BROKERS as u32).map(|index| Broker {
            epoch: 1,
            outbox: outbox(index, 1, now),
            inbox: Inbox::default(),
            connections: BTreeMap::new(),
            shards: ShardMap::new(1),
        });
        let object =
            |number| Object { store: MemoryStore::default(), shard: new_shard(number, now, &settings), life: 0 };
        let mut model = Self {
            now,
            objects: (0..objects).map(object).collect(),
            router: Router { is_fast: objects == 1, ..Router::default() },
            flying: Vec::new(),
            late: Vec::new(),
            copies: Vec::new(),
            brokers: brokers.collect(),
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
            publishes: Vec::new(),
            published: Vec::new(),
            again: Vec::new(),
            next_connection: 1,
            next_serial: 1,
            settings,
            most_stored: 0,
            down: BTreeSet::new(),
            parts: Vec::new(),
            numbers: 0,
            wanted: 0,
        };
        for client in 0..CLIENTS {
            model.connect(client, client % 2);
            model.heal(20);
            let (at, connection) = model.clients[client].connection.unwrap();
            let number = model.brokers[at].connections[&connection].number.unwrap();
            let qos = [Qos::ExactlyOnce, Qos::ExactlyOnce, Qos::AtLeastOnce][client];
            let filters = vec![("a/#".to_owned(), at_most(qos), false)];
            let packet_id = PacketId::FIRST;
            let subscribe = SessionsRequest::Subscribe { client_id: client_id(client), number, packet_id, filters };
            model.push_other(at, subscribe);
            model.heal(20);
        }
        model
    }

    fn push(&mut self, at: usize, to: u32, request: SessionsRequest, token: Token) {
        self.brokers[at].outbox.push(Address::Sessions(to), Request::Sessions(request), token).unwrap();
    }

    /// To where the Broker believes the client's virtual shard to be.
    fn push_of(&mut self, at: usize, client: &ClientId, request: SessionsRequest, token: Token) {
        let to = self.brokers[at].shards.place(client.as_str().as_bytes());
        self.push(at, to, request, token);
    }

    fn push_other(&mut self, at: usize, request: SessionsRequest) {
        let (SessionsRequest::Subscribe { client_id, .. } | SessionsRequest::Release { client_id, .. }) = &request
        else {
            panic!("{request:?}");
        };
        self.push_of(at, &client_id.clone(), request.clone(), Token::Other(request));
    }

    pub fn tick(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis.max(1));
    }

    /// A shard's memory is lost.
    pub fn restart_shard(&mut self, number: usize) {
        self.tick(1);
        self.objects[number].life += 1;
        self.objects[number].shard = new_shard(number, self.now, &self.settings);
    }

    pub fn or_restart<T>(&mut self, number: usize, result: Result<T, StoreError>) -> Option<T> {
        if result.is_err() {
            self.restart_shard(number);
        }
        result.ok()
    }

    pub fn call(&mut self, number: usize, batch: &Batch) -> Option<BatchReply> {
        if self.down.contains(&number) {
            return None;
        }
        let object = &mut self.objects[number];
        let result = object.shard.call(self.now, batch.clone(), &mut object.store);
        self.or_restart(number, result)
    }

    /// A question without a sender.
    pub fn ask(&mut self, number: usize, request: SessionsRequest) -> Option<Reply> {
        let batch = Batch { sender: None, requests: vec![Request::Sessions(request)] };
        Some(self.call(number, &batch)?.replies.remove(0))
    }

    /// What a Broker that isn't in the model asks.
    pub fn ask_as(&mut self, sender: Address, number: usize, request: SessionsRequest) -> Option<Reply> {
        self.numbers += 1;
        let sender = Sender { address: sender, epoch: 1, instance: 1, number: self.numbers };
        let batch = Batch { sender: Some(sender), requests: vec![Request::Sessions(request)] };
        Some(self.call(number, &batch)?.replies.remove(0))
    }

    /// Goes on until the virtual shard is there.
    pub fn move_to(&mut self, to: u32) {
        self.wanted = to;
        for _ in 0..400 {
            if self.has_handed_over(to) {
                return;
            }
            self.heal(1);
        }
        panic!("it doesn't arrive");
    }

    pub fn hand_over(&mut self, number: usize, to: u32) -> Option<Reply> {
        self.ask(number, SessionsRequest::HandOver { shard: moving(), to })
    }

    /// Whoever has the virtual shard is asked to hand it over. Whether it is there.
    pub fn has_handed_over(&mut self, to: u32) -> bool {
        for number in 0..self.objects.len() {
            self.hand_over(number, to);
        }
        self.hand_over(to as usize, to) == Some(Reply::Applied)
    }

    pub fn connect(&mut self, client: usize, at: usize) {
        self.clients[client].connection = None;
        self.clients[client].is_accepted = false;
        self.clients[client].unacknowledged.clear();
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        self.clients[client].connection = Some((at, connection));
        self.brokers[at].connections.insert(
            connection,
            Connection { client, number: None, is_closed: false, early: Vec::new(), acknowledgements: Vec::new() },
        );
        self.push_claim(at, connection);
    }

    fn push_claim(&mut self, at: usize, connection: ConnectionId) {
        let client_id = client_id(self.brokers[at].connections[&connection].client);
        let request = SessionsRequest::Claim { client_id: client_id.clone(), connection, claim: Box::new(claim()) };
        self.push_of(at, &client_id, request, Token::Claim(connection));
    }

    /// The network connection of a client breaks; its Broker notices.
    pub fn disconnect(&mut self, client: usize) {
        let Some((at, connection)) = self.clients[client].connection.take() else { return };
        self.clients[client].is_accepted = false;
        self.close(at, connection);
    }

    fn close(&mut self, at: usize, id: ConnectionId) {
        let Some(connection) = self.brokers[at].connections.get_mut(&id) else { return };
        connection.is_closed = true;
        let client = connection.client;
        if let Some(number) = connection.number {
            self.brokers[at].connections.remove(&id);
            let ending = ending(DisconnectReason::ConnectionLost);
            self.push_other(at, SessionsRequest::Release { client_id: client_id(client), number, ending });
        }
    }

    fn granted(&mut self, at: usize, id: ConnectionId, grant: &Grant) {
        let Some(connection) = self.brokers[at].connections.get_mut(&id) else { return };
        if connection.number.is_some() {
            return;
        }
        connection.number = Some(grant.number);
        let client = connection.client;
        if connection.is_closed {
            self.close(at, id);
            return;
        }
        let early = std::mem::take(&mut connection.early);
        if self.clients[client].connection == Some((at, id)) {
            assert!(grant.session_present || !self.clients[client].had_session, "the session of {client} is lost");
            self.clients[client].had_session = true;
            self.clients[client].is_accepted = true;
        }
        for (number, packets) in early {
            if number == grant.number {
                self.deliver_to(at, id, packets);
            }
        }
    }

    fn deliver_to(&mut self, at: usize, id: ConnectionId, packets: Vec<Outgoing>) {
        let Some(connection) = self.brokers[at].connections.get_mut(&id) else { return };
        let client = &mut self.clients[connection.client];
        if client.connection != Some((at, id)) {
            // The client has gone elsewhere.
            return;
        }
        for packet in packets {
            let (packet_id, kind) = match packet {
                Outgoing::Publish { packet_id, dup, qos, publication, .. } => {
                    let text = String::from_utf8(publication.payload.to_vec()).unwrap();
                    let (message, attempt) = text.split_once(':').unwrap();
                    let entry = (message.parse().unwrap(), attempt.parse().unwrap());
                    let Some(packet_id) = packet_id else { continue };
                    if qos == Qos::ExactlyOnce {
                        if client.unreleased.insert(packet_id) {
                            client.received.push(entry);
                        } else {
                            assert!(dup, "[MQTT-2.2.1-4] {packet_id:?}");
                        }
                        (packet_id, AcknowledgementKind::PubRec)
                    } else {
                        let before = client.unacknowledged.insert(packet_id, text.clone());
                        assert!(
                            before.is_none() || dup && before.as_ref() == Some(&text),
                            "[MQTT-2.2.1-4] {packet_id:?} {before:?}"
                        );
                        client.received.push(entry);
                        (packet_id, AcknowledgementKind::PubAck)
                    }
                }
                Outgoing::PubRel { packet_id, .. } => {
                    client.unreleased.remove(&packet_id);
                    (packet_id, AcknowledgementKind::PubComp)
                }
            };
            connection.acknowledgements.push(Acknowledgement { packet_id, kind });
        }
    }

    /// The client's answers reach its Broker: some or all of them.
    pub fn answer(&mut self, client: usize, count: usize) {
        let Some((at, id)) = self.clients[client].connection else { return };
        let Some(connection) = self.brokers[at].connections.get_mut(&id) else { return };
        let Some(number) = connection.number else { return };
        let count = count.min(connection.acknowledgements.len());
        let acknowledgements: Vec<_> = connection.acknowledgements.drain(..count).collect();
        if acknowledgements.is_empty() {
            return;
        }
        for acknowledgement in &acknowledgements {
            if acknowledgement.kind == AcknowledgementKind::PubAck {
                self.clients[client].unacknowledged.remove(&acknowledgement.packet_id);
            }
        }
        let request = SessionsRequest::Acknowledge { client_id: client_id(client), number, acknowledgements };
        self.push_of(at, &client_id(client), request.clone(), Token::Acknowledge(id, request));
    }

    pub fn publish(&mut self, qos: Qos) {
        self.publishes.push(Publish { qos, is_acknowledged: false, tickets: BTreeSet::new(), attempts: 0 });
        self.attempt(self.publishes.len() - 1);
    }

    fn attempt(&mut self, publish: usize) {
        let text = format!("{publish}:{}", self.next_serial);
        let one = &mut self.publishes[publish];
        one.tickets.clear();
        one.attempts += 1;
        let mut publication = Publication::of_platform("a/b".into(), text, one.qos, self.now);
        if one.qos == Qos::ExactlyOnce {
            publication.message_id = Some(MessageId { origin: 1, number: publish as u64 });
        }
        let targets = self.router.known.get("a/#").cloned().unwrap_or_default();
        assert!(!targets.is_empty(), "somebody has subscribed");
        for to in targets {
            let ticket = self.next_serial;
            self.next_serial += 1;
            self.publishes[publish].tickets.insert(ticket);
            let request = SessionsRequest::Deliver { publication: publication.clone(), ticket: Some(ticket) };
            self.push(2, to, request, Token::Deliver { publish, ticket });
        }
    }

    /// The publisher's Broker gives up on what isn't settled, and the publisher sends it again.
    pub fn publish_again(&mut self) {
        for publish in 0..self.publishes.len() {
            if !self.publishes[publish].is_acknowledged {
                self.attempt(publish);
            }
        }
    }

    fn settled(&mut self, ticket: u64, is_safe: bool) {
        let one = self.publishes.iter_mut().find(|publish| publish.tickets.contains(&ticket));
        if let Some(publish) = one
            && is_safe
        {
            publish.tickets.remove(&ticket);
            publish.is_acknowledged |= publish.tickets.is_empty();
        }
    }

    pub fn restart_broker(&mut self, at: usize) {
        self.tick(1);
        let epoch = self.brokers[at].epoch + 1;
        self.brokers[at] = Broker {
            epoch,
            outbox: outbox(at as u32, epoch, self.now),
            inbox: Inbox::default(),
            connections: BTreeMap::new(),
            shards: ShardMap::new(1),
        };
        self.again.retain(|(of, _)| *of != at);
        for client in &mut self.clients {
            if client.connection.is_some_and(|(of, _)| of == at) {
                client.connection = None;
                client.is_accepted = false;
            }
        }
        self.push(at, 0, SessionsRequest::EpochStarted, Token::Other(SessionsRequest::EpochStarted));
        if at == 2 {
            for publish in &mut self.publishes {
                publish.tickets.clear();
            }
        }
    }

    /// A Broker's call reaches the shard, or doesn't, or its reply is lost; or it is on its way for a while; or it reaches
    /// it, and will once more.
    pub fn flush_broker(&mut self, at: usize, fault: u8) {
        for call in self.brokers[at].outbox.calls(self.now) {
            match fault {
                3 => self.late.push((at, self.brokers[at].epoch, self.now, call)),
                4 => {
                    // A shard that has lost its memory takes an old message for a new one: QoS 1 may come twice, but
                    // then not in its order.
                    let is_old = |request: &Request| match request {
                        Request::Sessions(SessionsRequest::Deliver { publication, .. }) => {
                            publication.qos == Qos::AtLeastOnce
                        }
                        _ => false,
                    };
                    if !call.batch.requests.iter().any(is_old) {
                        self.copies.push((self.now, call.clone()));
                    }
                    self.arrive(at, &call, 0);
                }
                fault => self.arrive(at, &call, fault),
            }
        }
    }

    fn arrive(&mut self, at: usize, call: &Call, fault: u8) {
        let mut reply = None;
        if fault != 1 {
            reply = self.call(number_of(&call.target), &call.batch);
        }
        if fault == 2 {
            reply = None;
        }
        let stored = self.objects.iter().map(|object| object.store.stored_messages()).sum();
        self.most_stored = self.most_stored.max(stored);
        let now = self.now;
        for (token, result) in self.brokers[at].outbox.answered(&call.target, reply, now) {
            if let Err(Undelivered::Moved { shard, to }) = result {
                self.brokers[at].shards.note_moved(shard, to);
            }
            match (token, result) {
                (Token::Claim(connection), Ok(Reply::Claim(ClaimReply::Granted(grant)))) => {
                    self.granted(at, connection, &grant);
                }
                (Token::Claim(connection), Err(Undelivered::Moved { .. }))
                    if self.brokers[at].connections.contains_key(&connection) =>
                {
                    self.push_claim(at, connection);
                }
                (Token::Deliver { publish, ticket }, Ok(reply)) => {
                    assert!(matches!(reply, Reply::Applied | Reply::Pending), "{reply:?}");
                    if reply == Reply::Applied && self.publishes[publish].tickets.contains(&ticket) {
                        self.settled(ticket, true);
                    }
                }
                (Token::Deliver { publish, ticket }, Err(_)) if self.publishes[publish].tickets.contains(&ticket) => {
                    self.publishes[publish].tickets.clear();
                }
                (Token::Acknowledge(connection, request), Err(Undelivered::Moved { .. })) => {
                    let SessionsRequest::Acknowledge { client_id, .. } = &request else { panic!() };
                    self.push_of(at, &client_id.clone(), request.clone(), Token::Acknowledge(connection, request));
                }
                // The Broker closes the connection.
                (Token::Acknowledge(connection, _), Err(_)) => {
                    for client in &mut self.clients {
                        if client.connection == Some((at, connection)) {
                            client.connection = None;
                            client.is_accepted = false;
                        }
                    }
                    self.close(at, connection);
                }
                (Token::Other(request), Err(Undelivered::Moved { .. })) => self.push_other(at, request),
                (Token::Other(request @ SessionsRequest::Release { .. }), Err(Undelivered::Refused)) => {
                    self.again.push((at, request));
                }
                _ => {}
            }
        }
    }

    /// A call that was on its way arrives, or one arrives again.
    fn arrive_late(&mut self, which: usize) {
        if !self.late.is_empty() {
            let (at, epoch, since, call) = self.late.remove(which % self.late.len());
            let is_lost = self.now.millis_since(since) > LATE_MILLIS;
            if self.brokers[at].epoch == epoch {
                self.arrive(at, &call, u8::from(is_lost));
            } else if !is_lost {
                self.call(number_of(&call.target), &call.batch);
            }
        } else if !self.copies.is_empty() {
            let (since, call) = self.copies.remove(which % self.copies.len());
            if self.now.millis_since(since) <= LATE_MILLIS {
                self.at_target(&call);
            }
        }
    }

    pub fn flush_shard(&mut self, number: usize) {
        let object = &mut self.objects[number];
        let result = object.shard.calls(self.now, &mut object.store);
        if let Some(calls) = self.or_restart(number, result) {
            let life = self.objects[number].life;
            self.flying.extend(calls.into_iter().map(|call| (number, life, call)));
        }
    }

    /// One of the shards' calls arrives, perhaps after the shard has forgotten it.
    fn land(&mut self, which: usize, fault: u8) {
        if self.flying.is_empty() {
            return;
        }
        let (number, life, call) = self.flying.remove(which % self.flying.len());
        if fault == 4 {
            self.copies.push((self.now, call.clone()));
        }
        let reply = if fault == 1 { None } else { self.at_target(&call) };
        if life == self.objects[number].life {
            let reply = reply.filter(|_| fault != 2);
            let object = &mut self.objects[number];
            let result = object.shard.answered(self.now, &call.target, reply, &mut object.store);
            self.or_restart(number, result);
        }
    }

    fn at_target(&mut self, call: &Call) -> Option<BatchReply> {
        // What goes between objects can be encoded.
        let call = &Call { batch: Batch::decode(&call.batch.encode().unwrap()).unwrap().into(), ..call.clone() };
        let target = match &call.target {
            Address::Broker(target) => target,
            Address::Sessions(number) => {
                self.parts.push((*number as usize, Batch::clone(&call.batch)));
                return self.call(*number as usize, &call.batch);
            }
            Address::Router(_) => return Some(self.at_router(call)),
            other => panic!("{other}"),
        };
        let at = target.index as usize;
        // Others than those three are no more than somebody who asks.
        let Some(broker) = self.brokers.get_mut(at) else {
            let published = call.batch.requests.iter().filter_map(|request| match request {
                Request::Broker(BrokerRequest::Announce { publication, .. }) => Some(publication.topic.clone()),
                _ => None,
            });
            self.published.extend(published);
            return Some(BatchReply { epoch: 1, replies: vec![Reply::Applied; call.batch.requests.len()] });
        };
        let sender = call.batch.sender.as_ref().unwrap();
        let epoch = broker.epoch;
        match broker.inbox.accept(sender) {
            Acceptance::New { .. } => {}
            Acceptance::Repeat(reply) => return Some(reply),
            Acceptance::Superseded => return Some(Inbox::refuse(&call.batch, epoch)),
        }
        for request in &call.batch.requests {
            let Request::Broker(request) = request else { panic!() };
            match request {
                BrokerRequest::Fence { connection, .. } => {
                    if let Some(closed) = self.brokers[at].connections.remove(connection) {
                        let client = &mut self.clients[closed.client];
                        if client.connection == Some((at, *connection)) {
                            client.connection = None;
                            client.is_accepted = false;
                        }
                    }
                }
                BrokerRequest::ClaimDecided { connection, grant: Some(grant) } => {
                    self.granted(at, *connection, grant);
                }
                BrokerRequest::ClaimDecided { connection, grant: None } => {
                    if let Some(closed) = self.brokers[at].connections.remove(connection) {
                        let client = &mut self.clients[closed.client];
                        if client.connection == Some((at, *connection)) {
                            client.connection = None;
                        }
                    }
                }
                BrokerRequest::Send { connection, number, packets } => {
                    if let Some(open) = self.brokers[at].connections.get_mut(connection) {
                        match open.number {
                            None => open.early.push((*number, packets.clone())),
                            Some(of) if of == *number => self.deliver_to(at, *connection, packets.clone()),
                            Some(_) => {}
                        }
                    }
                }
                BrokerRequest::Settled { tickets } => {
                    for (ticket, is_safe) in tickets {
                        self.settled(*ticket, *is_safe);
                    }
                }
                BrokerRequest::Announce { publication, .. } => self.published.push(publication.topic.clone()),
                _ => {}
            }
        }
        let replies = vec![Reply::Applied; call.batch.requests.len()];
        let reply = BatchReply { epoch, replies };
        self.brokers[at].inbox.remember(sender, &reply);
        Some(reply)
    }

    fn claim_again(&mut self) {
        for at in 0..BROKERS {
            let waiting = self.brokers[at].connections.iter().filter(|(_, one)| one.number.is_none());
            for connection in waiting.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.push_claim(at, connection);
            }
        }
    }

    /// Everything goes well for some rounds.
    pub fn heal(&mut self, rounds: usize) {
        self.go_on(rounds, true, true);
    }

    /// The same, but perhaps leases aren't revoked, or nothing reaches the Brokers.
    fn go_on(&mut self, rounds: usize, revokes: bool, reaches_brokers: bool) {
        for _ in 0..rounds {
            for (at, request) in std::mem::take(&mut self.again) {
                self.push_other(at, request);
            }
            for at in 0..BROKERS {
                self.flush_broker(at, 0);
            }
            for number in 0..self.objects.len() {
                self.flush_shard(number);
            }
            let lands =
                |(_, _, call): &(usize, u64, Call)| reaches_brokers || !matches!(call.target, Address::Broker(_));
            while let Some(which) = self.flying.iter().position(lands) {
                self.land(which, 0);
            }
            if revokes {
                self.revoke(0);
            }
            for client in 0..CLIENTS {
                self.answer(client, usize::MAX);
            }
            self.tick(50);
        }
    }

    pub fn step(&mut self, (kind, a, b): (u8, u8, u8)) {
        let (client, at) = (usize::from(a) % CLIENTS, usize::from(b) % 2);
        let objects = self.objects.len();
        let faults = if objects > 1 { 5 } else { 3 };
        let fault = if b < 40 { b % faults } else { 0 };
        match kind {
            0 | 1 => self.connect(client, at),
            2 => self.disconnect(client),
            3..=6 => self.publish(if a % 2 == 0 { Qos::AtLeastOnce } else { Qos::ExactlyOnce }),
            7..=12 => self.flush_broker(usize::from(a) % BROKERS, fault),
            13..=17 => self.flush_shard(usize::from(a) % objects),
            18..=25 => self.land(usize::from(a), fault),
            26..=30 => self.answer(client, usize::from(b) % 4 + 1),
            31 | 32 => self.tick(u64::from(b)),
            33 => self.tick(u64::from(b) * 20),
            34 => self.restart_shard(usize::from(b) % objects),
            35 => {
                let failing = if b % 2 == 0 { Failing::Before } else { Failing::After };
                self.objects[usize::from(a) % objects].store.fail_next(failing);
            }
            36 => self.restart_broker(usize::from(b) % BROKERS),
            37 => self.publish_again(),
            38 => self.claim_again(),
            39 | 40 => self.revoke(fault),
            41 | 42 => self.arrive_late(usize::from(a)),
            43 => {
                for (at, request) in std::mem::take(&mut self.again) {
                    self.push_other(at, request);
                }
            }
            // Some rounds without faults, so that a move gets somewhere.
            44 => self.go_on(usize::from(b) % 16, a % 2 == 0, a % 3 > 0),
            45 => self.go_on(usize::from(a) % 64, b % 4 == 0, b % 8 > 0),
            _ => {
                self.wanted = u32::from(b) % objects as u32;
                self.has_handed_over(self.wanted);
            }
        }
        self.tick(1);
    }

    pub fn check(&mut self) {
        for object in &mut self.objects {
            object.store.fail_next(Failing::Never);
        }
        while !self.late.is_empty() || !self.copies.is_empty() {
            self.arrive_late(0);
        }
        let mut has_moved = self.objects.len() == 1;
        for round in 0..40 {
            has_moved = has_moved || self.has_handed_over(self.wanted);
            for client in 0..CLIENTS {
                if self.clients[client].connection.is_none() {
                    self.connect(client, client % 2);
                }
            }
            if round % 4 == 0 {
                self.claim_again();
                self.publish_again();
            }
            self.heal(25);
        }
        for (number, client) in self.clients.iter().enumerate() {
            assert!(client.is_accepted, "client {number} is not connected");
            for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
                let mut seen = BTreeSet::new();
                let of_qos = client.received.iter().filter(|(message, _)| self.publishes[*message].qos == qos);
                // What one of two objects has missed and gets with another attempt, the other may have in its first place.
                let is_alone = self.objects.len() == 1;
                let of_qos = of_qos.filter(|(message, _)| is_alone || self.publishes[*message].attempts == 1);
                let first: Vec<u64> = of_qos.map(|(_, serial)| *serial).filter(|serial| seen.insert(*serial)).collect();
                assert!(first.is_sorted(), "[MQTT-4.6.0-5] client {number}, {qos:?}: {first:?}");
            }
            for (message, publish) in self.publishes.iter().enumerate() {
                assert!(publish.is_acknowledged, "message {message} was never acknowledged");
                let count = client.received.iter().filter(|(of, _)| *of == message).count();
                let may_miss = self.settings.maximum_messages < AMPLE;
                assert!(count >= 1 || may_miss, "client {number} misses message {message} of {:?}", publish.qos);
                if publish.qos == Qos::ExactlyOnce && number != 2 {
                    assert!(count <= 1, "[MQTT-4.3.3-2] client {number}, message {message}: {count} times");
                }
            }
        }
        for object in &self.objects {
            assert_eq!(object.store.stored_messages(), 0, "all have been acknowledged");
        }
        if self.objects.len() == 1 {
            assert!(self.most_stored <= CLIENTS * self.settings.maximum_messages);
            return;
        }
        assert!(has_moved);
        for _ in 0..40 {
            self.heal(20);
        }
        let elsewhere = (0..self.objects.len()).filter(|number| *number as u32 != self.wanted);
        for number in elsewhere.collect::<Vec<_>>() {
            let found = self.objects[number].store.clients_of_shard(moving(), None, 10).unwrap();
            assert_eq!(found, [], "object {number}");
        }
        assert_eq!(self.router.filters["a/#"], BTreeSet::from([0, self.wanted]));
        assert!(self.objects.iter().all(|object| object.shard.is_at_rest()));
    }

    pub fn refused(&mut self, number: usize, client: usize) -> Option<Refusal> {
        match self.ask(number, SessionsRequest::Describe { client_id: client_id(client) }) {
            Some(Reply::Refused(refusal)) => Some(refusal),
            Some(Reply::Client(Some(_))) => None,
            other => panic!("{other:?}"),
        }
    }
}

fn number_of(target: &Address) -> usize {
    let Address::Sessions(number) = target else { panic!("{target}") };
    *number as usize
}
