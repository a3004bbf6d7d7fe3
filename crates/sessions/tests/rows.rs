//! Messages that share rows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{World, durable, message, once};
use iot_types::Qos;
use messages::publication::{Publication, PublicationProperties};
use messages::session::AcknowledgementKind::{PubAck, PubComp, PubRec};
use messages::session::{Claim, DisconnectReason as Reason};
use messages::sessions::SessionsRequest;
use messages::{Reply, Request};
use proptest::prelude::*;
use sessions::ShardSettings;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

const QOS1: Qos = Qos::AtLeastOnce;

fn expiring(text: &str) -> Publication {
    let properties = PublicationProperties { message_expiry_interval: Some(9_999), ..PublicationProperties::default() };
    Publication { properties: Some(Box::new(properties)), ..message(text, QOS1) }
}

/// All of them in one call, with tickets from `first` on.
fn deliver(world: &mut World, publications: Vec<Publication>, first: u64) -> Vec<Reply> {
    let with_ticket = |(publication, ticket)| SessionsRequest::Deliver { publication, ticket: Some(ticket) };
    let batch = world.batch(7, publications.into_iter().zip(first..).map(with_ticket).collect());
    assert!(batch.requests.iter().all(|request| matches!(request, Request::Sessions(_))));
    let replies = world.call(&batch).replies;
    world.run();
    replies
}

fn numbered(numbers: Range<u64>) -> Vec<Publication> {
    numbers.map(|number| message(&number.to_string(), QOS1)).collect()
}

/// A session whose client is away, and whose rows are all written.
fn away() -> World {
    let mut world = World::new();
    let number = world.subscriber("c", QOS1);
    world.release(0, "c", number, Reason::ConnectionLost);
    world.deliver(message("known", Qos::AtMostOnce), 1);
    world.pass(60_000);
    world.told.clear();
    world
}

fn wide() -> Claim {
    Claim { receive_maximum: 100, ..durable() }
}

#[test]
fn messages_of_one_call_share_rows_and_those_of_the_next_do_not_join_them() {
    let mut world = away();
    let rows = world.rows(|world| {
        deliver(world, numbered(0..70), 1);
    });
    assert_eq!(rows, 3, "32, 32 and 6");
    assert_eq!(world.rows(|world| drop(deliver(world, numbered(70..72), 1))), 1);
    assert_eq!(world.store.stored_messages(), 72);
}

#[test]
fn large_messages_fill_a_row_sooner() {
    let mut world = away();
    let large = (0..8).map(|_| message(&"x".repeat(5_000), QOS1)).collect();
    assert_eq!(world.rows(|world| drop(deliver(world, large, 1))), 4, "two in each: there is room until it is full");
}

#[test]
fn a_row_is_written_once_for_all_that_is_acknowledged_of_it_in_a_call_and_deleted_with_its_last_message() {
    let mut world = away();
    deliver(&mut world, numbered(0..32), 1);
    let number = world.connect(0, "c", 2, wide()).number;
    let ids: Vec<u16> = ids(&world.packets());
    assert_eq!(ids.len(), 32);
    let some: Vec<_> = ids[..10].iter().map(|id| (*id, PubAck)).collect();
    assert_eq!(world.rows(|world| drop(world.acknowledge(0, "c", number, &some))), 1);
    assert_eq!(world.store.stored_messages(), 22);
    let before = world.store.rows();
    let rest: Vec<_> = ids[10..].iter().map(|id| (*id, PubAck)).collect();
    assert_eq!(world.rows(|world| drop(world.acknowledge(0, "c", number, &rest))), 1);
    assert_eq!((world.store.stored_messages(), before - world.store.rows()), (0, 1));
}

#[test]
fn what_was_acknowledged_of_a_row_does_not_come_again_whatever_happens_to_memory() {
    for restarts in [false, true] {
        let mut world = away();
        deliver(&mut world, numbered(0..6), 1);
        let number = world.connect(0, "c", 2, wide()).number;
        let ids = ids(&world.packets());
        world.acknowledge(0, "c", number, &[(ids[0], PubAck), (ids[3], PubAck)]);
        if restarts {
            world.restart();
        }
        world.release(0, "c", number, Reason::ConnectionLost);
        world.told.clear();
        world.connect(0, "c", 3, wide());
        let came: Vec<_> = world.packets().iter().map(|packet| packet[..1].to_owned()).collect();
        assert_eq!(came, ["1", "2", "4", "5"], "{restarts}");
    }
}

#[test]
fn a_row_tells_what_was_sent_of_it_under_which_packet_identifier() {
    let mut world = away();
    deliver(&mut world, numbered(0..5), 1);
    let number = world.connect(0, "c", 2, Claim { receive_maximum: 3, ..durable() }).number;
    let sent = world.packets();
    let ids = ids(&sent);
    assert_eq!(sent.len(), 3);
    assert_eq!(world.rows(|world| world.pass(300)), 1, "three packet identifiers");
    world.acknowledge(0, "c", number, &[(ids[1], PubAck)]);
    world.told.clear();
    world.restart();
    world.release(0, "c", number, Reason::ConnectionLost);
    world.connect(0, "c", 3, wide());
    let came = world.packets();
    assert_eq!(came[..2], [format!("0 q1 #{} dup", ids[0]), format!("2 q1 #{} dup", ids[2])]);
    assert!(came[2].starts_with("3 q1") && came[3].starts_with("4 q1") && came.len() == 4, "{came:?}");
}

#[test]
fn messages_of_qos_2_and_those_that_expire_have_rows_of_their_own_and_order_is_kept() {
    let mut world = World::new();
    let number = world.subscriber("c", Qos::ExactlyOnce);
    world.release(0, "c", number, Reason::ConnectionLost);
    let publications = vec![
        message("0", QOS1),
        message("1", QOS1),
        once("2", 1),
        message("3", QOS1),
        expiring("4"),
        message("5", QOS1),
    ];
    assert_eq!(deliver(&mut world, publications, 1), vec![Reply::Applied; 6]);
    assert_eq!(world.store.stored_messages(), 6);
    world.restart();
    world.connect(0, "c", 2, wide());
    let came: Vec<_> = world.packets().iter().map(|packet| packet[..4].to_owned()).collect();
    assert_eq!(came, ["0 q1", "1 q1", "2 q2", "3 q1", "4 q1", "5 q1"]);
}

#[test]
fn what_a_full_memory_leaves_to_storage_joins_no_row_of_what_is_in_memory() {
    let settings = ShardSettings { page_messages: 4, ..ShardSettings::default() };
    let mut world = World::with(settings);
    let number = world.connect(0, "c", 1, Claim { receive_maximum: 2, ..durable() }).number;
    world.subscribe(0, "c", number, &[("a/#", common::at_most(QOS1))]);
    world.told.clear();
    deliver(&mut world, numbered(0..9), 1);
    let mut came = Vec::new();
    for _ in 0..20 {
        let packets = world.packets();
        came.extend(packets.iter().map(|packet| packet[..1].to_owned()));
        let acknowledgements: Vec<_> = ids(&packets).into_iter().map(|id| (id, PubAck)).collect();
        world.acknowledge(0, "c", number, &acknowledgements);
    }
    assert_eq!(came, ["0", "1", "2", "3", "4", "5", "6", "7", "8"]);
    assert_eq!(world.store.stored_messages(), 0);
}

/// The packet identifiers of PUBLISHes.
fn ids(packets: &[String]) -> Vec<u16> {
    packets.iter().filter_map(|packet| Some(parsed(packet)?.1)).collect()
}

/// The number and packet identifier of a PUBLISH.
fn parsed(packet: &str) -> Option<(u64, u16)> {
    let (text, rest) = packet.split_once(" q")?;
    let id = rest.split_once('#')?.1.split(' ').next()?;
    Some((text.parse().ok()?, id.parse().ok()?))
}

/// A client of one session, and what it has to get.
struct Client {
    world: World,
    connection: u64,
    number: Option<u64>,
    /// Numbers the messages.
    next: u64,
    /// Those of which the publisher was told that they are safe.
    safe: BTreeSet<u64>,
    /// What came, and what was acknowledged of it.
    came: BTreeSet<u64>,
    acknowledged: BTreeSet<u64>,
    /// By packet identifier, on the present connection.
    unacknowledged: BTreeMap<u16, u64>,
    released: Vec<u16>,
}

impl Client {
    fn new() -> Self {
        let settings = ShardSettings { page_messages: 8, recent_messages: 4, ..ShardSettings::default() };
        let mut world = World::with(settings);
        let number = world.subscriber("c", Qos::ExactlyOnce);
        Self {
            world,
            connection: 1,
            number: Some(number),
            next: 0,
            safe: BTreeSet::new(),
            came: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            unacknowledged: BTreeMap::new(),
            released: Vec::new(),
        }
    }

    fn deliver(&mut self, kinds: &[u8]) {
        let publications: Vec<_> = kinds
            .iter()
            .zip(self.next..)
            .map(|(kind, number)| match kind {
                0 => once(&number.to_string(), number + 1),
                1 => expiring(&number.to_string()),
                _ => message(&number.to_string(), QOS1),
            })
            .collect();
        let first = self.next;
        self.next += kinds.len() as u64;
        let replies = deliver(&mut self.world, publications, first);
        self.safe
            .extend((first..).zip(replies).filter(|(_, reply)| *reply == Reply::Applied).map(|(number, _)| number));
        self.hear();
    }

    /// What the shard has said.
    fn hear(&mut self) {
        self.safe.extend(self.world.settled().into_iter().filter(|(_, is_safe)| *is_safe).map(|(ticket, _)| ticket));
        for packet in self.world.packets() {
            let Some((number, id)) = parsed(&packet) else {
                let id = packet.split_once('#').unwrap().1.split(' ').next().unwrap().parse().unwrap();
                self.released.push(id);
                continue;
            };
            assert!(!self.acknowledged.contains(&number), "{packet} has been acknowledged");
            if self.came.insert(number) {
                assert_eq!(self.came.last(), Some(&number), "{packet} comes after a later one");
            }
            self.unacknowledged.insert(id, number);
        }
    }

    /// Acknowledges those of the unacknowledged for which `picks`, by their place, says so.
    fn acknowledge(&mut self, picks: impl Fn(usize) -> bool) {
        let Some(number) = self.number else { return };
        let mut words: Vec<_> = self.released.drain(..).map(|id| (id, PubComp)).collect();
        let picked: Vec<_> = self
            .unacknowledged
            .iter()
            .enumerate()
            .filter(|(place, _)| picks(*place))
            .map(|(_, of)| (*of.0, *of.1))
            .collect();
        for (id, of) in picked {
            self.unacknowledged.remove(&id);
            self.acknowledged.insert(of);
            // The shard takes no notice of the one that doesn't fit.
            words.extend([(id, PubAck), (id, PubRec)]);
        }
        self.world.acknowledge(0, "c", number, &words);
        self.hear();
    }

    fn leave(&mut self) {
        let Some(number) = self.number.take() else { return };
        self.world.release(0, "c", number, Reason::ConnectionLost);
        self.hear();
        self.unacknowledged.clear();
        self.released.clear();
    }

    fn come(&mut self, receive_maximum: u16) {
        if self.number.is_some() {
            return;
        }
        self.connection += 1;
        let claim = Claim { receive_maximum, ..durable() };
        self.number = Some(self.world.connect(0, "c", self.connection, claim).number);
        self.hear();
    }
}

#[derive(Clone, Debug)]
enum Step {
    Deliver(Vec<u8>),
    Acknowledge(u64),
    Pass(u64),
    Leave,
    Come(u16),
    Restart,
}

fn a_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(0_u8..12, 1..50).prop_map(Step::Deliver),
        4 => any::<u64>().prop_map(Step::Acknowledge),
        2 => (0_u64..400).prop_map(Step::Pass),
        2 => Just(Step::Leave),
        2 => (1_u16..40).prop_map(Step::Come),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_happens_all_that_is_safe_comes_in_order_and_nothing_again_that_was_acknowledged(
        steps in prop::collection::vec(a_step(), 1..40)
    ) {
        let mut client = Client::new();
        for step in steps {
            match step {
                Step::Deliver(kinds) => client.deliver(&kinds),
                Step::Acknowledge(bits) => client.acknowledge(|place| bits >> (place % 64) & 1 == 1),
                Step::Pass(millis) => {
                    client.world.pass(millis);
                    client.hear();
                }
                Step::Leave => client.leave(),
                Step::Come(receive_maximum) => client.come(receive_maximum),
                Step::Restart => {
                    // As if the Broker were lost as well: what was on its way to the client is not.
                    client.hear();
                    client.world.restart();
                    client.leave();
                }
            }
        }
        client.leave();
        client.come(20);
        for _ in 0..2_000 {
            client.acknowledge(|_| true);
            if client.unacknowledged.is_empty() && client.released.is_empty() {
                break;
            }
        }
        let lost: Vec<_> = client.safe.difference(&client.came).collect();
        prop_assert!(lost.is_empty(), "{lost:?}");
        prop_assert_eq!(client.world.store.stored_messages(), 0);
    }
}
