//! The shard among Brokers, clients and publishers, while everything fails: its memory is lost between any two steps,
//! writes fail or fail although they landed, calls and replies are lost, connections break and are taken over, Brokers
//! start afresh. Then all heals, and what was acknowledged must have arrived: QoS 1 at least once, QoS 2 exactly once,
//! in the order of the publisher.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{at_most, broker, durable, id};
use iot_types::{ClientId, PacketId, Qos, UnixMillis};
use messages::address::{Address, ShardMap};
use messages::broker::{BrokerRequest, ConnectionId};
use messages::channel::{Acceptance, Call, ChannelLimits, Inbox, Outbox};
use messages::codec::BatchReply;
use messages::publication::{MessageId, Publication};
use messages::session::{Acknowledgement, AcknowledgementKind, Claim, DisconnectReason, Grant, Outgoing};
use messages::sessions::{ClaimReply, ReceivedState, SessionsRequest};
use messages::{Reply, Request};
use proptest::prelude::*;
use sessions::{Failing, MemoryStore, SessionsShard, ShardSettings, StoreError};
use std::collections::{BTreeMap, BTreeSet};

const CLIENTS: usize = 3;
/// Brokers 0 and 1 have the subscribers, 2 the publisher.
const BROKERS: usize = 3;
const WINDOW: u16 = 4;
/// Room for everything that a test publishes.
const AMPLE: usize = 100_000;

#[derive(Clone, Debug)]
enum Token {
    Claim(ConnectionId),
    Deliver { publish: usize, ticket: u64 },
    Other,
}

#[derive(Debug)]
struct Connection {
    client: usize,
    number: Option<u64>,
    /// The client or the network has closed it.
    is_closed: bool,
    /// Packets that came before the grant.
    early: Vec<(u64, Vec<Outgoing>)>,
    acknowledgements: Vec<Acknowledgement>,
}

#[derive(Debug)]
struct Broker {
    epoch: u64,
    outbox: Outbox<Token>,
    inbox: Inbox,
    connections: BTreeMap<ConnectionId, Connection>,
}

#[derive(Debug, Default)]
struct Client {
    /// The connection that the client uses.
    connection: Option<(usize, ConnectionId)>,
    is_accepted: bool,
    had_session: bool,
    /// Packet identifiers of QoS 2 whose PUBREL has not come: the client's half of the session.
    unreleased: BTreeSet<PacketId>,
    /// Of QoS 1 on this connection, unacknowledged.
    unacknowledged: BTreeMap<PacketId, String>,
    /// (message, attempt) in the order of arrival.
    received: Vec<(usize, u64)>,
}

#[derive(Debug)]
struct Publish {
    qos: Qos,
    is_acknowledged: bool,
    /// The ticket of the attempt under way.
    ticket: Option<u64>,
    attempts: u32,
}

struct Model {
    now: UnixMillis,
    store: MemoryStore,
    shard: SessionsShard,
    /// Which life of the shard calls belong to.
    life: u64,
    flying: Vec<(u64, Call)>,
    brokers: Vec<Broker>,
    clients: Vec<Client>,
    publishes: Vec<Publish>,
    next_connection: u64,
    next_serial: u64,
    settings: ShardSettings,
    most_stored: usize,
}

fn claim() -> Claim {
    Claim { receive_maximum: WINDOW, session_expiry: 1_000_000, ..durable() }
}

fn new_shard(now: UnixMillis, settings: &ShardSettings) -> SessionsShard {
    SessionsShard::new(0, now, settings.clone(), ShardMap::new(1), ShardMap::new(1))
}

fn outbox(index: u32, epoch: u64, now: UnixMillis) -> Outbox<Token> {
    let limits = ChannelLimits { attempts: u32::MAX, ..ChannelLimits::default() };
    Outbox::new(Address::Broker(broker(index)), epoch, now, limits)
}

fn client_id(client: usize) -> ClientId {
    id(&format!("c{client}"))
}

impl Model {
    fn new(maximum_messages: usize) -> Self {
        let now = UnixMillis(1_000_000);
        let settings = ShardSettings {
            page_messages: 3,
            page_bytes: 600,
            recent_messages: 64,
            maximum_messages,
            cached_sessions: 1,
            ..ShardSettings::default()
        };
        let brokers = (0..BROKERS as u32).map(|index| Broker {
            epoch: 1,
            outbox: outbox(index, 1, now),
            inbox: Inbox::default(),
            connections: BTreeMap::new(),
        });
        let mut model = Self {
            now,
            store: MemoryStore::default(),
            shard: new_shard(now, &settings),
            life: 0,
            flying: Vec::new(),
            brokers: brokers.collect(),
            clients: (0..CLIENTS).map(|_| Client::default()).collect(),
            publishes: Vec::new(),
            next_connection: 1,
            next_serial: 1,
            settings,
            most_stored: 0,
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
            model.push(at, subscribe, Token::Other);
            model.heal(20);
        }
        model
    }

    fn push(&mut self, at: usize, request: SessionsRequest, token: Token) {
        self.brokers[at].outbox.push(Address::Sessions(0), Request::Sessions(request), token).unwrap();
    }

    fn tick(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis.max(1));
    }

    /// The shard's memory is lost.
    fn restart_shard(&mut self) {
        self.tick(1);
        self.life += 1;
        self.shard = new_shard(self.now, &self.settings);
    }

    fn or_restart<T>(&mut self, result: Result<T, StoreError>) -> Option<T> {
        if result.is_err() {
            self.restart_shard();
        }
        result.ok()
    }

    fn connect(&mut self, client: usize, at: usize) {
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
        let request = SessionsRequest::Claim { client_id, connection, claim: Box::new(claim()) };
        self.push(at, request, Token::Claim(connection));
    }

    /// The network connection of a client breaks; its Broker notices.
    fn disconnect(&mut self, client: usize) {
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
            let ending = common::ending(DisconnectReason::ConnectionLost);
            self.push(at, SessionsRequest::Release { client_id: client_id(client), number, ending }, Token::Other);
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
    fn answer(&mut self, client: usize, count: usize) {
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
        self.push(at, request, Token::Other);
    }

    fn publish(&mut self, qos: Qos) {
        self.publishes.push(Publish { qos, is_acknowledged: false, ticket: None, attempts: 0 });
        self.attempt(self.publishes.len() - 1);
    }

    fn attempt(&mut self, publish: usize) {
        let serial = self.next_serial;
        self.next_serial += 1;
        let one = &mut self.publishes[publish];
        one.ticket = Some(serial);
        one.attempts += 1;
        let text = format!("{publish}:{serial}");
        let mut publication = Publication::of_platform("a/b".into(), text, one.qos, self.now);
        if one.qos == Qos::ExactlyOnce {
            publication.message_id = Some(MessageId { origin: 1, number: publish as u64 });
        }
        let request = SessionsRequest::Deliver { publication, ticket: Some(serial) };
        self.push(2, request, Token::Deliver { publish, ticket: serial });
    }

    /// The publisher's Broker gives up on what isn't settled, and the publisher sends it again.
    fn publish_again(&mut self) {
        for publish in 0..self.publishes.len() {
            if !self.publishes[publish].is_acknowledged {
                self.attempt(publish);
            }
        }
    }

    fn settled(&mut self, ticket: u64, is_safe: bool) {
        let one = self.publishes.iter_mut().find(|publish| publish.ticket == Some(ticket));
        if let Some(publish) = one {
            publish.is_acknowledged |= is_safe;
        }
    }

    fn restart_broker(&mut self, at: usize) {
        self.tick(1);
        let epoch = self.brokers[at].epoch + 1;
        self.brokers[at] = Broker {
            epoch,
            outbox: outbox(at as u32, epoch, self.now),
            inbox: Inbox::default(),
            connections: BTreeMap::new(),
        };
        for client in &mut self.clients {
            if client.connection.is_some_and(|(of, _)| of == at) {
                client.connection = None;
                client.is_accepted = false;
            }
        }
        self.push(at, SessionsRequest::EpochStarted, Token::Other);
        if at == 2 {
            for publish in &mut self.publishes {
                publish.ticket = None;
            }
        }
    }

    /// A Broker's call reaches the shard, or doesn't, or its reply is lost.
    fn flush_broker(&mut self, at: usize, fault: u8) {
        for call in self.brokers[at].outbox.calls(self.now) {
            let mut reply = None;
            if fault != 1 {
                let result = self.shard.call(self.now, &call.batch, &mut self.store);
                reply = self.or_restart(result);
            }
            if fault == 2 {
                reply = None;
            }
            let now = self.now;
            for (token, result) in self.brokers[at].outbox.answered(&call.target, reply, now) {
                match (token, result) {
                    (Token::Claim(connection), Ok(Reply::Claim(ClaimReply::Granted(grant)))) => {
                        self.granted(at, connection, &grant);
                    }
                    (Token::Deliver { publish, ticket }, Ok(reply)) => {
                        assert!(matches!(reply, Reply::Applied | Reply::Pending), "{reply:?}");
                        if reply == Reply::Applied && self.publishes[publish].ticket == Some(ticket) {
                            self.publishes[publish].is_acknowledged = true;
                        }
                    }
                    _ => {}
                }
            }
        }
        self.most_stored = self.most_stored.max(self.store.stored_messages());
    }

    fn flush_shard(&mut self) {
        let result = self.shard.calls(self.now, &mut self.store);
        if let Some(calls) = self.or_restart(result) {
            self.flying.extend(calls.into_iter().map(|call| (self.life, call)));
        }
    }

    /// One of the shard's calls arrives, perhaps after the shard has forgotten it.
    fn land(&mut self, which: usize, fault: u8) {
        if self.flying.is_empty() {
            return;
        }
        let (life, call) = self.flying.remove(which % self.flying.len());
        let reply = if fault == 1 { None } else { self.at_target(&call) };
        if life == self.life {
            let reply = reply.filter(|_| fault != 2);
            let result = self.shard.answered(self.now, &call.target, reply, &mut self.store);
            self.or_restart(result);
        }
    }

    fn at_target(&mut self, call: &Call) -> Option<BatchReply> {
        let Address::Broker(target) = &call.target else {
            return Some(BatchReply { epoch: 0, replies: vec![Reply::Applied; call.batch.requests.len()] });
        };
        let at = target.index as usize;
        // The platform's own messages go through a Broker that isn't there in the model.
        let Some(broker) = self.brokers.get_mut(at) else {
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
    fn heal(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for at in 0..BROKERS {
                self.flush_broker(at, 0);
            }
            self.flush_shard();
            while !self.flying.is_empty() {
                self.land(0, 0);
            }
            for client in 0..CLIENTS {
                self.answer(client, usize::MAX);
            }
            self.tick(50);
        }
    }

    fn step(&mut self, (kind, a, b): (u8, u8, u8)) {
        let (client, at) = (usize::from(a) % CLIENTS, usize::from(b) % 2);
        match kind {
            0 | 1 => self.connect(client, at),
            2 => self.disconnect(client),
            3..=6 => self.publish(if a % 2 == 0 { Qos::AtLeastOnce } else { Qos::ExactlyOnce }),
            7..=12 => self.flush_broker(usize::from(a) % BROKERS, if b < 40 { b % 3 } else { 0 }),
            13..=17 => self.flush_shard(),
            18..=25 => self.land(usize::from(a), if b < 40 { b % 3 } else { 0 }),
            26..=30 => self.answer(client, usize::from(b) % 4 + 1),
            31 | 32 => self.tick(u64::from(b)),
            33 => self.tick(u64::from(b) * 20),
            34 => self.restart_shard(),
            35 => self.store.fail_next(if b % 2 == 0 { Failing::Before } else { Failing::After }),
            36 => self.restart_broker(usize::from(b) % BROKERS),
            37 => self.publish_again(),
            _ => self.claim_again(),
        }
        self.tick(1);
    }

    fn check(&mut self) {
        self.store.fail_next(Failing::Never);
        for round in 0..40 {
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
        assert_eq!(self.store.stored_messages(), 0, "all have been acknowledged");
        assert!(self.most_stored <= CLIENTS * self.settings.maximum_messages);
    }
}

#[test]
fn without_faults_fast_subscribers_cost_no_rows() {
    let mut model = Model::new(AMPLE);
    model.publish(Qos::AtLeastOnce);
    for _ in 0..700 {
        model.heal(1);
    }
    let rows = model.store.rows_written();
    for _ in 0..300 {
        model.publish(Qos::AtLeastOnce);
        model.heal(2);
    }
    assert_eq!(model.store.rows_written(), rows);
    model.check();
}

#[test]
fn a_received_message_of_qos_2_has_one_name_whatever_fails() {
    let mut model = Model::new(AMPLE);
    let (at, connection) = model.clients[0].connection.unwrap();
    let number = model.brokers[at].connections[&connection].number.unwrap();
    for (origin, failing, expected) in [
        (1, Failing::Before, None),
        (2, Failing::After, None),
        (3, Failing::Never, Some(2)),
        (4, Failing::Never, Some(2)),
    ] {
        let message_id = MessageId { origin, number: 1 };
        let packet_id = PacketId::FIRST;
        let request = SessionsRequest::Receive { client_id: client_id(0), number, packet_id, message_id };
        let batch = messages::codec::Batch { sender: None, requests: vec![Request::Sessions(request)] };
        model.store.fail_next(failing);
        let result = model.shard.call(model.now, &batch, &mut model.store);
        let state = model.or_restart(result).map(|reply| match reply.replies[0] {
            Reply::Received(ReceivedState { message_id, .. }) => message_id.origin,
            ref other => panic!("{other:?}"),
        });
        assert_eq!(state, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_arrives_whatever_fails(
        steps in proptest::collection::vec((0..39_u8, any::<u8>(), any::<u8>()), 0..400),
    ) {
        let mut model = Model::new(AMPLE);
        for step in steps {
            model.step(step);
        }
        model.check();
    }

    #[test]
    fn small_queues_stay_small_and_hold_nobody_back_whatever_fails(
        steps in proptest::collection::vec((0..39_u8, any::<u8>(), any::<u8>()), 0..300),
    ) {
        let mut model = Model::new(6);
        for step in steps {
            model.step(step);
        }
        model.check();
    }
}
