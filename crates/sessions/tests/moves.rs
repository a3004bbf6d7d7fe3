//! A virtual shard moves to other objects while its clients are connected and messages come. Everything goes by requests
//! and the objects' own calls to each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::model::{AMPLE, Model, client_id, moving};
use common::{at_most, broker, durable, ending, id, message, packet, with_will};
use iot_types::{ClientId, Qos, UnixMillis};
use messages::address::{Address, ShardMap, VIRTUAL_SHARDS};
use messages::broker::ConnectionId;
use messages::channel::Call;
use messages::codec::{Batch, BatchReply, Sender};
use messages::publication::Publication;
use messages::session::{DisconnectReason, Grant};
use messages::sessions::{ClaimReply, MovePart, SessionsRequest};
use messages::{Refusal, Reply, Request};
use proptest::prelude::*;
use sessions::{MemoryStore, SessionsShard, ShardSettings};
use std::collections::BTreeSet;

const UNAVAILABLE: Reply = Reply::Refused(Refusal::Unavailable);

fn moved(to: u32) -> Reply {
    Reply::Refused(Refusal::Moved { shard: moving(), to })
}

/// Goes on until clients of the virtual shard are refused.
fn until_frozen(model: &mut Model) {
    for _ in 0..100 {
        if model.refused(0, 0).is_some() {
            return;
        }
        model.heal(1);
    }
    panic!("it is never frozen");
}

fn texts(model: &Model, client: usize) -> Vec<usize> {
    model.clients[client].received.iter().map(|(message, _)| *message).collect()
}

#[test]
fn it_moves_while_messages_come_and_clients_connect() {
    for (restarted, moves) in [(None, vec![1]), (Some(0), vec![1, 2]), (Some(1), vec![1, 0]), (None, vec![1, 2, 0, 1])]
    {
        let mut model = Model::new(AMPLE, 3);
        for to in moves {
            for round in 0..60 {
                model.publish([Qos::AtLeastOnce, Qos::ExactlyOnce][round % 2]);
                if round % 10 == 7 {
                    model.connect(round % 3, round % 2);
                }
                if round == 15 {
                    restarted.into_iter().for_each(|number| model.restart_shard(number));
                }
                model.has_handed_over(to);
                model.heal(1);
            }
            model.move_to(to);
        }
        model.check();
    }
}

#[test]
fn a_connected_client_gets_what_came_meanwhile_on_the_same_connection() {
    let mut model = Model::new(AMPLE, 2);
    let connection = model.clients[0].connection;
    model.publish(Qos::ExactlyOnce);
    model.heal(10);
    assert_eq!(model.hand_over(0, 1), Some(Reply::Pending));
    until_frozen(&mut model);
    for _ in 0..3 {
        model.publish(Qos::ExactlyOnce);
        model.heal(1);
    }
    model.heal(8);
    assert_eq!(texts(&model, 0), [0], "nothing is sent to it now");
    assert!(model.publishes.iter().all(|publish| publish.is_acknowledged), "but taken and stored");
    model.move_to(1);
    model.publish(Qos::ExactlyOnce);
    model.heal(10);
    assert_eq!(texts(&model, 0), [0, 1, 2, 3, 4]);
    assert_eq!(model.clients[0].connection, connection);
    model.check();
}

#[test]
fn clients_are_refused_for_little_more_than_a_second() {
    let mut model = Model::new(AMPLE, 2);
    model.hand_over(0, 1);
    until_frozen(&mut model);
    let since = model.now;
    model.move_to(1);
    assert!((1_000..1_700).contains(&model.now.millis_since(since)), "{}", model.now.millis_since(since));
}

#[test]
fn the_operator_is_told_how_far_it_is() {
    let mut model = Model::new(AMPLE, 3);
    let wrong = Some(Reply::Refused(Refusal::WrongClass));
    assert_eq!(model.ask(0, SessionsRequest::HandOver { shard: VIRTUAL_SHARDS, to: 1 }), wrong);
    assert_eq!(model.hand_over(1, 2), Some(moved(0)), "not here");
    assert_eq!(model.hand_over(0, 0), Some(Reply::Applied), "here already");
    assert_eq!(model.hand_over(0, 1), Some(Reply::Pending));
    model.heal(10);
    assert_eq!(model.hand_over(0, 1), Some(Reply::Pending));
    assert_eq!(model.hand_over(0, 2), Some(UNAVAILABLE), "another move is under way");
    assert_eq!(model.hand_over(1, 2), Some(UNAVAILABLE), "it isn't here yet");
    model.move_to(1);
    assert_eq!(model.hand_over(0, 1), Some(Reply::Applied));
    assert_eq!(model.hand_over(0, 2), Some(moved(1)));
    // Only another object has something to give.
    let part = SessionsRequest::TakeOver { shard: 3, version: 9, part: MovePart::Clients, page: Vec::new().into() };
    assert_eq!(model.ask(1, part.clone()), wrong);
    assert_eq!(model.ask_as(Address::Broker(broker(0)), 1, part.clone()), wrong);
    // And nobody has to take for rows what can't be read.
    assert_eq!(model.ask_as(Address::Sessions(9), 1, part), Some(UNAVAILABLE));
}

#[test]
fn nobody_notices_an_object_that_cannot_be_reached() {
    let mut model = Model::new(AMPLE, 2);
    model.down.insert(1);
    assert_eq!(model.hand_over(0, 1), Some(Reply::Pending));
    for _ in 0..100 {
        model.publish(Qos::ExactlyOnce);
        model.heal(5);
        assert_eq!(model.refused(0, 0), None);
    }
    assert!(model.publishes.iter().all(|publish| publish.is_acknowledged));
    let parts = model.parts.len();
    model.heal(400);
    assert!(model.parts.len() - parts < 30, "it isn't asked all the time: {}", model.parts.len() - parts);
    assert!(!model.objects[0].shard.is_at_rest());
    assert!(model.objects[0].shard.next_alarm().is_some(), "an object that has lost its timers goes on, too");
    model.down.clear();
    model.move_to(1);
    model.check();
}

#[test]
fn clients_are_served_again_if_the_other_object_is_lost_right_after_the_freeze() {
    let mut model = Model::new(AMPLE, 2);
    model.hand_over(0, 1);
    until_frozen(&mut model);
    model.down.insert(1);
    model.publish(Qos::ExactlyOnce);
    let since = model.now;
    for _ in 0..200 {
        model.heal(1);
        // Publishers whose Brokers know of the other object already fail meanwhile, as whenever one can't be reached.
        model.publish_again();
        if model.refused(0, 0).is_none() {
            break;
        }
    }
    assert!(model.now.millis_since(since) < 3_000);
    model.heal(10);
    assert_eq!(texts(&model, 0), [0], "it has been told what came meanwhile");
    assert_eq!(model.hand_over(0, 1), Some(Reply::Pending), "and the move goes on");
    model.down.clear();
    model.move_to(1);
    model.check();
}

#[test]
fn nothing_is_lost_if_the_other_object_is_gone_for_long_after_it_has_taken_messages() {
    let mut model = Model::new(AMPLE, 2);
    model.hand_over(0, 1);
    until_frozen(&mut model);
    let is_messages = |(_, batch): &(usize, Batch)| {
        let part = |request: &Request| match request {
            Request::Sessions(SessionsRequest::TakeOver { part, .. }) => *part == MovePart::Messages,
            _ => false,
        };
        batch.requests.iter().any(part)
    };
    while !model.parts.iter().any(is_messages) {
        model.publish(Qos::ExactlyOnce);
        model.heal(1);
    }
    model.down.insert(1);
    model.heal(1_000);
    assert_eq!(model.refused(0, 0), Some(Refusal::Unavailable));
    model.restart_shard(0);
    model.heal(100);
    model.down.clear();
    model.move_to(1);
    model.check();
}

fn text(text: &str, accepted_at: UnixMillis) -> Publication {
    Publication { accepted_at, ..message(text, Qos::AtLeastOnce) }
}

#[test]
fn a_message_that_may_have_missed_the_other_object_is_refused() {
    let mut model = Model::new(AMPLE, 2);
    let began_at = model.now;
    model.hand_over(0, 1);
    model.move_to(1);
    let publisher = Address::Broker(broker(7));
    let deliver = |model: &mut Model, accepted_at, ticket| {
        let request = SessionsRequest::Deliver { publication: text("9999:1", accepted_at), ticket };
        model.ask_as(publisher.clone(), 0, request).unwrap()
    };
    // One of the clients has stayed, and gets it the sooner.
    assert_eq!(deliver(&mut model, began_at, Some(1)), UNAVAILABLE);
    assert_eq!(deliver(&mut model, began_at, None), Reply::Applied, "nobody would send it again");
    let now = model.now;
    assert_eq!(deliver(&mut model, now, Some(2)), Reply::Pending);
    model.heal(300);
    assert_eq!(model.objects[0].store.stored_messages(), 0);
    let now = model.now;
    assert_eq!(deliver(&mut model, now, Some(3)), Reply::Pending);
    assert_eq!(deliver(&mut model, began_at, Some(4)), UNAVAILABLE, "those who left have been forgotten");
    model.heal(1_200);
    assert_eq!(deliver(&mut model, began_at, Some(5)), Reply::Pending, "nothing takes so long");
}

#[test]
fn a_late_part_of_an_earlier_move_changes_nothing() {
    let mut model = Model::new(AMPLE, 3);
    let mut earlier = Vec::new();
    for to in [1, 2, 0, 1] {
        for _ in 0..5 {
            model.publish(Qos::ExactlyOnce);
        }
        model.hand_over(model.wanted as usize, to);
        until_moves(&mut model);
        for _ in 0..5 {
            model.publish(Qos::ExactlyOnce);
        }
        model.move_to(to);
        // They come late, to objects that have lost their memory and so don't know that they have had them.
        for number in 0..3 {
            model.restart_shard(number);
        }
        let parts = std::mem::take(&mut model.parts);
        assert!(parts.len() > 5);
        earlier.extend(parts);
        model.heal(300);
        let rows: Vec<u64> = model.objects.iter().map(|object| object.store.rows_written()).collect();
        for (number, batch) in &earlier {
            let sender = batch.sender.clone().unwrap();
            for request in &batch.requests {
                let Request::Sessions(request) = request else { panic!() };
                let reply = model.ask_as(sender.address.clone(), *number, request.clone());
                assert_eq!(reply, Some(Reply::Applied), "its sender has heard that it is over");
            }
        }
        model.heal(5);
        let after: Vec<u64> = model.objects.iter().map(|object| object.store.rows_written()).collect();
        assert_eq!(rows, after);
        assert!(model.has_handed_over(to));
    }
    model.check();
}

fn until_moves(model: &mut Model) {
    for _ in 0..20 {
        model.heal(1);
    }
}

#[test]
fn subscriptions_that_change_before_the_freeze_change_there_too() {
    let mut model = Model::new(AMPLE, 2);
    let (at, connection) = model.clients[0].connection.unwrap();
    let number = model.brokers[at].connections[&connection].number.unwrap();
    let client = client_id(0);
    let subscribe = |filter: &str| SessionsRequest::Subscribe {
        client_id: client.clone(),
        number,
        packet_id: packet(9),
        filters: vec![(filter.to_owned(), at_most(Qos::AtLeastOnce), false)],
    };
    let from = Address::Broker(broker(7));
    model.ask_as(from.clone(), 0, subscribe("old")).unwrap();
    model.heal(5);
    model.hand_over(0, 1);
    // The other object has heard of `old`.
    while !model.router.filters["old"].contains(&1) {
        model.heal(1);
    }
    let filters = vec!["old".to_owned()];
    let unsubscribe = SessionsRequest::Unsubscribe { client_id: client.clone(), number, filters };
    assert_eq!(model.ask_as(from.clone(), 0, unsubscribe), Some(Reply::Applied));
    model.ask_as(from, 0, subscribe("new")).unwrap();
    model.move_to(1);
    model.heal(400);
    assert_eq!(model.router.filters["new"], BTreeSet::from([1]));
    assert_eq!(model.router.filters["old"], BTreeSet::new());
    model.check();
}

#[test]
fn wills_and_events_are_published_once_whoever_does_it() {
    let mut model = Model::new(AMPLE, 2);
    let from = Address::Broker(broker(7));
    // A client with a will that is due while nobody serves it.
    let named =
        (0..).map(|number| format!("w{number}")).find(|name| ShardMap::virtual_shard(name.as_bytes()) == moving());
    let client_id = id(&named.unwrap());
    let claim = SessionsRequest::Claim {
        client_id: client_id.clone(),
        connection: ConnectionId(1_000),
        claim: Box::new(with_will(durable(), 2)),
    };
    let Some(Reply::Claim(ClaimReply::Granted(grant))) = model.ask_as(from.clone(), 0, claim) else { panic!() };
    let Grant { number, .. } = *grant;
    model.heal(1);
    assert_eq!(model.hand_over(0, 1), Some(Reply::Pending));
    let release = SessionsRequest::Release {
        client_id: client_id.clone(),
        number,
        ending: ending(DisconnectReason::ConnectionLost),
    };
    assert_eq!(model.ask_as(from, 0, release), Some(Reply::Applied));
    let at = model.now;
    let is_refused = |model: &mut Model, number| {
        model.ask(number, SessionsRequest::Describe { client_id: client_id.clone() }) == Some(UNAVAILABLE)
    };
    while model.now.millis_since(at) < 2_000 {
        model.heal(1);
    }
    assert!(!model.published.contains(&"will".to_owned()));
    model.move_to(1);
    assert!(!is_refused(&mut model, 1));
    // Until both have noted what has been published.
    model.heal(1_000);
    model.restart_shard(0);
    model.restart_shard(1);
    model.heal(300);
    let count = |topic: &str| model.published.iter().filter(|of| *of == topic).count();
    assert_eq!(count("will"), 1);
    assert_eq!(count(&format!("$aws/events/presence/connected/{}", client_id.as_str())), 1);
    assert_eq!(count(&format!("$aws/events/presence/disconnected/{}", client_id.as_str())), 1);
}

#[test]
fn what_the_first_object_has_to_publish_is_not_forgotten_before() {
    let settings = ShardSettings { brokers: 1, ..ShardSettings::default() };
    let mut pair = Pair::new(settings);
    let clients = pair.names(1);
    pair.claim(&clients[0], 1);
    pair.are_brokers_down = true;
    pair.run(100);
    assert_eq!(pair.hand_over(), Reply::Pending);
    pair.run(40_000);
    assert_eq!(pair.hand_over(), Reply::Applied);
    pair.shards[0] = pair.new_shard(0);
    pair.are_brokers_down = false;
    pair.run(40_000);
    assert_eq!(pair.published, [format!("$aws/events/presence/connected/{}", clients[0].as_str())]);
    assert_eq!(pair.stores[0].rows(), 1, "the Broker's");
    assert!(pair.shards[0].is_at_rest());
}

/// Two objects with their Brokers and Routers, whom nothing goes wrong.
struct Pair {
    now: UnixMillis,
    settings: ShardSettings,
    shards: Vec<SessionsShard>,
    stores: Vec<MemoryStore>,
    numbers: u64,
    are_brokers_down: bool,
    published: Vec<String>,
    /// The most rows that were written in one turn, and the most bytes of one part.
    most_rows: u64,
    most_bytes: usize,
}

impl Pair {
    fn new(settings: ShardSettings) -> Self {
        let mut pair = Self {
            now: UnixMillis(1_000_000),
            settings,
            shards: Vec::new(),
            stores: vec![MemoryStore::default(), MemoryStore::default()],
            numbers: 0,
            are_brokers_down: false,
            published: Vec::new(),
            most_rows: 0,
            most_bytes: 0,
        };
        pair.shards = (0..2).map(|number| pair.new_shard(number)).collect();
        pair
    }

    fn new_shard(&mut self, number: u32) -> SessionsShard {
        self.now = self.now.plus_millis(1);
        SessionsShard::new(number, self.now, self.settings.clone(), ShardMap::new(1), ShardMap::new(1))
    }

    /// Client ids of one virtual shard.
    fn names(&self, count: usize) -> Vec<ClientId> {
        let names = (0..).map(|number: u64| format!("client-{number}"));
        let names = names.filter(|name| ShardMap::virtual_shard(name.as_bytes()) == moving());
        names.take(count).map(|name| id(&name)).collect()
    }

    fn batch(&mut self, request: SessionsRequest) -> Batch {
        self.numbers += 1;
        let address = Address::Broker(broker(0));
        let sender = Sender { address, epoch: 1, instance: 1, number: self.numbers };
        Batch { sender: Some(sender), requests: vec![Request::Sessions(request)] }
    }

    fn ask(&mut self, number: usize, request: SessionsRequest) -> Reply {
        let batch = self.batch(request);
        self.shards[number].call(self.now, batch, &mut self.stores[number]).unwrap().replies.remove(0)
    }

    fn hand_over(&mut self) -> Reply {
        self.ask(0, SessionsRequest::HandOver { shard: moving(), to: 1 })
    }

    fn describe(&mut self, client_id: &ClientId) -> Reply {
        self.ask(0, SessionsRequest::Describe { client_id: client_id.clone() })
    }

    fn subscribe(&mut self, client_id: &ClientId, number: u64) {
        let filters = vec![("a/#".to_owned(), at_most(Qos::AtLeastOnce), false)];
        self.ask(0, SessionsRequest::Subscribe { client_id: client_id.clone(), number, packet_id: packet(9), filters });
    }

    fn claim(&mut self, client_id: &ClientId, connection: u64) -> u64 {
        let claim = Box::new(durable());
        let request =
            SessionsRequest::Claim { client_id: client_id.clone(), connection: ConnectionId(connection), claim };
        let Reply::Claim(ClaimReply::Granted(grant)) = self.ask(0, request) else { panic!() };
        grant.number
    }

    fn receive(&mut self, call: &Call) -> Option<BatchReply> {
        if let Address::Sessions(number) = call.target {
            let number = number as usize;
            self.most_bytes = self.most_bytes.max(call.batch.encode().unwrap().len());
            let before = self.stores[number].rows_written();
            let reply =
                self.shards[number].call(self.now, call.batch.as_ref().clone(), &mut self.stores[number]).unwrap();
            self.most_rows = self.most_rows.max(self.stores[number].rows_written() - before);
            return Some(reply);
        }
        let is_broker = matches!(call.target, Address::Broker(_));
        if is_broker && self.are_brokers_down {
            return None;
        }
        for request in &call.batch.requests {
            if let Request::Broker(messages::broker::BrokerRequest::Announce { publication, .. }) = request {
                self.published.push(publication.topic.clone());
            }
        }
        let replies = vec![Reply::Applied; call.batch.requests.len()];
        Some(BatchReply { epoch: u64::from(is_broker), replies })
    }

    /// Time passes; the shards do what they said would be due and nothing else.
    fn run(&mut self, millis: u64) {
        let end = self.now.plus_millis(millis);
        while self.now < end {
            let mut next = end;
            for number in 0..2 {
                let before = self.stores[number].rows_written();
                let calls = self.shards[number].calls(self.now, &mut self.stores[number]).unwrap();
                self.most_rows = self.most_rows.max(self.stores[number].rows_written() - before);
                for call in calls {
                    let reply = self.receive(&call);
                    let (now, store) = (self.now, &mut self.stores[number]);
                    self.shards[number].answered(now, &call.target, reply, store).unwrap();
                    next = self.now;
                }
                let shard = &self.shards[number];
                next = shard.next_timeout().into_iter().chain(shard.next_alarm()).fold(next, UnixMillis::min);
            }
            self.now = next.max(self.now.plus_millis(1));
        }
    }
}

#[test]
fn no_turn_does_more_than_a_few_hundred_rows() {
    let mut pair = Pair::new(ShardSettings::default());
    let clients = pair.names(600);
    for (number, client_id) in clients.iter().enumerate() {
        let connection = pair.claim(client_id, number as u64);
        pair.subscribe(client_id, connection);
        if number % 2 == 0 {
            let ending = ending(DisconnectReason::ConnectionLost);
            pair.ask(0, SessionsRequest::Release { client_id: client_id.clone(), number: connection, ending });
        }
    }
    pair.run(40_000);
    for _ in 0..20 {
        let publication = message(&"x".repeat(1_000), Qos::AtLeastOnce);
        pair.ask(0, SessionsRequest::Deliver { publication, ticket: None });
    }
    pair.run(1_000);
    let stored = pair.stores[0].stored_messages();
    assert_eq!(stored, 12_000);
    (pair.most_rows, pair.most_bytes) = (0, 0);
    assert_eq!(pair.hand_over(), Reply::Pending);
    let since = pair.now;
    while pair.hand_over() != Reply::Applied {
        pair.run(20);
    }
    assert!(pair.now.millis_since(since) < 10_000);
    pair.run(60_000);
    assert_eq!(pair.hand_over(), Reply::Applied);
    assert!(pair.most_rows <= 1_100, "{}", pair.most_rows);
    assert!(pair.most_bytes <= 300 * 1024, "{}", pair.most_bytes);
    assert_eq!(pair.stores[0].rows(), 1, "all but what is known of the Broker has been forgotten");
    assert_eq!(pair.stores[1].stored_messages(), stored);
}

#[test]
fn virtual_shards_that_leave_together_take_turns() {
    for has_subscribers in [true, false] {
        let mut pair = Pair::new(ShardSettings::default());
        let clients: Vec<ClientId> = (0..64).map(|number| id(&format!("client-{number}"))).collect();
        let shards: BTreeSet<u16> =
            clients.iter().map(|client_id| ShardMap::virtual_shard(client_id.as_str().as_bytes())).collect();
        assert!(shards.len() > 50);
        for (number, client_id) in clients.iter().enumerate() {
            let connection = pair.claim(client_id, number as u64);
            if has_subscribers {
                pair.subscribe(client_id, connection);
            }
        }
        pair.run(1_000);
        let since = pair.now;
        loop {
            let replies: BTreeSet<bool> = shards
                .iter()
                .map(|shard| pair.ask(0, SessionsRequest::HandOver { shard: *shard, to: 1 }) == Reply::Applied)
                .collect();
            if replies == BTreeSet::from([true]) {
                break;
            }
            let refused = clients.iter().filter(|client_id| pair.describe(client_id) == UNAVAILABLE).count();
            assert!(refused <= 10, "{refused}");
            pair.run(10);
        }
        let most = if has_subscribers { 14_000 } else { 3_000 };
        assert!(pair.now.millis_since(since) < most, "{}", pair.now.millis_since(since));
    }
}

#[test]
fn another_objects_client_ids_are_refused_with_its_number() {
    let map = ShardMap::new(2);
    let (now, mut store) = (UnixMillis(1_000_000), MemoryStore::default());
    let mut shard = SessionsShard::new(0, now, ShardSettings::default(), ShardMap::new(2), ShardMap::new(1));
    for client in 0..20 {
        let client_id = id(&format!("client-{client}"));
        let of = ShardMap::virtual_shard(client_id.as_str().as_bytes());
        let batch = Batch { sender: None, requests: vec![Request::Sessions(SessionsRequest::Describe { client_id })] };
        let reply = shard.call(now, batch, &mut store).unwrap().replies.remove(0);
        let expected = match map.object(of) {
            0 => Reply::Client(None),
            to => Reply::Refused(Refusal::Moved { shard: of, to }),
        };
        assert_eq!(reply, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_arrives_whatever_fails_and_moves(
        steps in proptest::collection::vec((0..48_u8, any::<u8>(), any::<u8>()), 0..500),
    ) {
        let mut model = Model::new(AMPLE, 3);
        for step in steps {
            model.step(step);
        }
        model.check();
    }
}

/// Found by `what_was_acknowledged_arrives_whatever_fails_and_moves`: the subscriptions of the client that the message is for
/// have been forgotten, those of another have not, and the memory that had both is lost.
#[test]
fn a_message_that_comes_too_late_is_refused_while_what_has_left_is_half_forgotten() {
    let mut model = Model::new(AMPLE, 3);
    let steps = [
        (46, 0, 2),
        (13, 15, 0),
        (2, 53, 0),
        (0, 0, 0),
        (3, 0, 0),
        (7, 134, 3),
        (18, 0, 2),
        (13, 119, 0),
        (18, 0, 27),
        (39, 0, 2),
        (3, 0, 0),
        (0, 0, 0),
        (45, 27, 1),
        (33, 0, 176),
        (33, 0, 99),
        (0, 0, 0),
        (33, 0, 198),
        (34, 0, 141),
        (13, 198, 0),
        (0, 0, 0),
    ];
    for step in steps {
        model.step(step);
    }
    model.check();
}
