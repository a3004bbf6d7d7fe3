//! Subscriptions, queues, QoS 1 and 2 both ways, shared groups, retained messages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{World, at_most, clean, durable, id, message, once, packet};
use iot_types::{Qos, UnixMillis};
use messages::broker::{BrokerRequest, ConnectionId};
use messages::publication::{MessageId, Publication, PublicationProperties};
use messages::router::{RetainedPage, RouterRequest};
use messages::session::AcknowledgementKind::{PubAck, PubComp, PubRec, PubRecFailed};
use messages::session::{Claim, DisconnectReason as Reason, SubscriptionOptions};
use messages::sessions::{ReceivedState, SessionsRequest, SharedReply};
use messages::{Refusal, Reply};
use sessions::{LogEvent, ShardSettings};

const QOS0: Qos = Qos::AtMostOnce;
const QOS1: Qos = Qos::AtLeastOnce;
const QOS2: Qos = Qos::ExactlyOnce;

fn expiring(text: &str, secs: u32) -> Publication {
    let properties = PublicationProperties { message_expiry_interval: Some(secs), ..PublicationProperties::default() };
    Publication { properties: Some(Box::new(properties)), ..message(text, QOS1) }
}

#[test]
fn a_fast_subscriber_of_qos_0_and_1_costs_no_row() {
    let mut world = World::new();
    let number = world.subscriber("c", QOS1);
    // The publishing Broker becomes known, and the presence event is noted as published.
    world.deliver(message("m", QOS0), 1);
    world.pass(60_000);
    world.told.clear();
    let rows = world.rows(|world| {
        for round in 0..3_000_u16 {
            assert_eq!(world.deliver(message("m", QOS0), 1), Reply::Applied);
            assert_eq!(world.deliver(message("n", QOS1), u64::from(round)), Reply::Pending);
            let packets = world.packets();
            assert_eq!(packets, ["m q0".to_owned(), format!("n q1 #{}", round + 1)]);
            world.pass(100);
            world.acknowledge(0, "c", number, &[(round + 1, PubAck)]);
            assert_eq!(world.settled(), [(u64::from(round), true)]);
        }
    });
    assert_eq!(rows, 0);
}

#[test]
fn what_is_not_acknowledged_in_200_milliseconds_is_stored_and_settled() {
    let mut world = World::new();
    let number = world.subscriber("c", QOS1);
    for ticket in 0..5 {
        assert_eq!(world.deliver(message("m", QOS1), ticket), Reply::Pending);
    }
    world.pass(150);
    assert_eq!(world.settled(), []);
    let commits = world.store.commits();
    assert_eq!(world.rows(|world| world.pass(60)), 1, "they are joined");
    assert_eq!(world.store.commits() - commits, 1, "together");
    assert_eq!(world.settled().len(), 5);
    world.told.clear();
    world.restart();
    world.release(0, "c", number, Reason::ConnectionLost);
    world.connect(0, "c", 2, durable());
    assert_eq!(world.packets(), ["m q1 #1 dup", "m q1 #2 dup", "m q1 #3 dup", "m q1 #4 dup", "m q1 #5 dup"]);
}

#[test]
fn an_offline_session_gets_what_was_stored_in_order() {
    for restarts in [false, true] {
        let mut world = World::new();
        let number = world.subscriber("c", QOS1);
        world.release(0, "c", number, Reason::ConnectionLost);
        for text in 0..250 {
            assert_eq!(world.deliver(message(&text.to_string(), QOS1), 1), Reply::Applied);
            assert_eq!(world.deliver(message("zero", QOS0), 1), Reply::Applied);
        }
        if restarts {
            world.restart();
        }
        let grant = world.connect(0, "c", 2, durable());
        assert!(grant.session_present);
        assert_eq!(grant.subscriptions.len(), 1);
        let mut got = Vec::new();
        for _ in 0..100 {
            let packets = world.packets();
            if packets.is_empty() {
                break;
            }
            assert!(packets.len() <= 10, "receive maximum");
            let mut acknowledgements = Vec::new();
            for packet in packets {
                let (text, rest) = packet.split_once(" q1 #").unwrap();
                got.push(text.parse::<u32>().unwrap());
                acknowledgements.push((rest.parse().unwrap(), PubAck));
            }
            world.acknowledge(0, "c", grant.number, &acknowledgements);
        }
        assert_eq!(got, (0..250).collect::<Vec<_>>());
        assert_eq!(world.store.stored_messages(), 0);
    }
}

#[test]
fn nothing_overtakes_what_waits_in_storage() {
    let mut world = World::new();
    let number = world.subscriber("c", QOS1);
    world.release(0, "c", number, Reason::ConnectionLost);
    for text in 0..100 {
        world.deliver(message(&text.to_string(), QOS1), 1);
    }
    let number = world.connect(0, "c", 2, durable()).number;
    let mut got = Vec::new();
    for text in 100..200 {
        world.deliver(message(&text.to_string(), QOS1), 1);
        let acknowledgements: Vec<_> = world
            .packets()
            .into_iter()
            .map(|packet| {
                let (text, rest) = packet.split_once(" q1 #").unwrap();
                got.push(text.parse::<u32>().unwrap());
                (rest.parse().unwrap(), PubAck)
            })
            .collect();
        world.acknowledge(0, "c", number, &acknowledgements);
    }
    assert_eq!(got.len(), 200);
    assert!(got.is_sorted());
}

#[test]
fn a_full_queue_drops_the_newest_and_says_so_once() {
    let mut world = World::with(ShardSettings { maximum_messages: 3, ..ShardSettings::default() });
    let number = world.subscriber("c", QOS1);
    world.release(0, "c", number, Reason::ConnectionLost);
    for text in ["1", "2", "3", "4", "5"] {
        assert_eq!(world.deliver(message(text, QOS1), 1), Reply::Applied, "the publisher isn't held back");
    }
    assert_eq!(world.log, [LogEvent::Dropping { client_id: id("c") }]);
    let Reply::Client(Some(state)) = world.ask_api(SessionsRequest::Describe { client_id: id("c") }) else { panic!() };
    assert_eq!((state.queued, state.dropped), (3, 2));
    world.connect(0, "c", 2, durable());
    assert_eq!(world.packets().len(), 3);
}

#[test]
fn queues_are_bounded_in_bytes_of_the_session_and_of_the_shard() {
    let weight = message("1234567890", QOS1).weight();
    for (session, shard, expected) in [(3 * weight, 1_000_000, 3), (1_000_000, weight, 1), (1, 1_000_000, 1)] {
        let mut world = World::with(ShardSettings {
            maximum_bytes: session,
            maximum_stored_bytes: shard as u64,
            ..ShardSettings::default()
        });
        let number = world.subscriber("c", QOS1);
        world.release(0, "c", number, Reason::ConnectionLost);
        for _ in 0..5 {
            world.deliver(message("1234567890", QOS1), 1);
            world.pass(1_000);
        }
        assert_eq!(world.store.stored_messages(), expected, "{session} {shard}");
    }
}

#[test]
fn expired_messages_are_not_sent_and_make_room() {
    let mut world = World::with(ShardSettings { maximum_messages: 3, ..ShardSettings::default() });
    let number = world.subscriber("c", QOS1);
    world.release(0, "c", number, Reason::ConnectionLost);
    for (text, secs) in [("1", 5), ("2", 500), ("3", 5)] {
        world.deliver(expiring(text, secs), 1);
    }
    world.pass(6_000);
    world.deliver(message("4", QOS1), 1);
    world.connect(0, "c", 2, durable());
    assert_eq!(world.packets(), ["2 q1 #4097", "4 q1 #4098"]);
    assert_eq!(world.log, []);
}

#[test]
fn a_session_ends_when_its_time_has_come_and_takes_everything_with_it() {
    let mut world = World::new();
    let number = world.subscriber("c", QOS2);
    world.ask(
        0,
        SessionsRequest::Receive {
            client_id: id("c"),
            number,
            packet_id: packet(1),
            message_id: MessageId { origin: 9, number: 9 },
        },
    );
    world.release(0, "c", number, Reason::ConnectionLost);
    world.deliver(once("m", 1), 1);
    world.asked.clear();
    world.pass(599_000);
    assert_eq!(world.store.stored_messages(), 1);
    world.restart();
    world.pass(2_000);
    assert_eq!(world.asked, [RouterRequest::Unsubscribe { filter: "a/#".into() }]);
    assert_eq!(world.store.rows(), 3, "the client id's and the Brokers'");
    assert_eq!(world.deliver(message("m", QOS1), 1), Reply::Applied);
    assert_eq!(world.store.stored_messages(), 0);
}

#[test]
fn overlapping_subscriptions_get_one_copy_with_the_highest_qos_and_all_identifiers() {
    let mut world = World::new();
    let number = world.connect(0, "c", 1, durable()).number;
    let with = |qos, identifier| SubscriptionOptions { subscription_identifier: Some(identifier), ..at_most(qos) };
    world.subscribe(0, "c", number, &[("a/#", with(QOS0, 7)), ("+/b", with(QOS1, 3)), ("x", with(QOS2, 9))]);
    world.told.clear();
    world.deliver(message("m", QOS2), 1);
    assert_eq!(world.packets(), ["m q1 #1 [3, 7]"]);
}

#[test]
fn options_of_subscriptions_are_kept() {
    let mut world = World::new();
    let number = world.connect(0, "c", 1, durable()).number;
    let own = SubscriptionOptions { no_local: true, ..at_most(QOS0) };
    let kept = SubscriptionOptions { retain_as_published: true, ..at_most(QOS0) };
    world.subscribe(0, "c", number, &[("a/b", own), ("a/+", kept)]);
    world.restart();
    let number = world.connect(0, "c", 2, durable()).number;
    world.told.clear();
    world.deliver(Publication { retain: true, ..message("1", QOS0) }, 1);
    world.deliver(Publication { client_id: Some("c".into()), ..message("2", QOS0) }, 1);
    assert_eq!(world.packets(), ["1 q0 retain", "2 q0"]);
    world.ask(0, SessionsRequest::Unsubscribe { client_id: id("c"), number, filters: vec!["a/+".into()] });
    world.deliver(Publication { client_id: Some("c".into()), ..message("3", QOS0) }, 1);
    assert_eq!(world.packets(), Vec::<String>::new());
}

#[test]
fn routers_hear_of_the_first_subscriber_of_a_filter_and_of_the_last() {
    let mut world = World::new();
    let first = world.connect(0, "c", 1, durable()).number;
    let second = world.connect(0, "d", 2, durable()).number;
    let filters = |world: &World| -> Vec<String> {
        let name = |request: &RouterRequest| match request {
            RouterRequest::Subscribe { filter, .. } => Some(format!("+{filter}")),
            RouterRequest::Unsubscribe { filter } => Some(format!("-{filter}")),
            _ => None,
        };
        world.asked.iter().filter_map(name).collect()
    };
    let one = [("x/y", at_most(QOS1))];
    assert_eq!(world.subscribe(0, "c", first, &one), Reply::Pending);
    assert_eq!(world.subscribe(0, "d", second, &one), Reply::Applied);
    assert_eq!(filters(&world), ["+x/y"]);
    // The row of `c` was written before the Routers had the filter; that of `d` says that they do.
    world.restart();
    assert_eq!(world.subscribe(0, "c", first, &one), Reply::Applied);
    let filter = vec![String::from("x/y")];
    world.ask(0, SessionsRequest::Unsubscribe { client_id: id("c"), number: first, filters: filter.clone() });
    assert_eq!(filters(&world), ["+x/y"]);
    world.ask(0, SessionsRequest::Unsubscribe { client_id: id("d"), number: second, filters: filter });
    assert_eq!(filters(&world), ["+x/y", "-x/y"]);
    assert!(world.shard.is_at_rest());
}

#[test]
fn a_subscription_whose_registration_was_lost_is_registered_again() {
    let mut world = World::new();
    let number = world.connect(0, "c", 1, durable()).number;
    let filters = vec![("x".to_owned(), at_most(QOS1), false)];
    let subscribe = SessionsRequest::Subscribe { client_id: id("c"), number, packet_id: packet(1), filters };
    assert_eq!(world.ask_only(0, subscribe.clone()), Reply::Pending);
    world.restart();
    world.asked.clear();
    assert_eq!(world.ask(0, subscribe), Reply::Pending);
    assert!(world.asked.iter().any(|request| matches!(request, RouterRequest::Subscribe { .. })));
    let answer = world.told.iter().find_map(|(_, request)| match request {
        BrokerRequest::Subscribed { are_stored, connection, .. } => Some((are_stored.clone(), *connection)),
        _ => None,
    });
    assert_eq!(answer, Some((vec![true], ConnectionId(1))));
}

#[test]
fn an_unsubscription_whose_word_to_the_routers_was_lost_is_said_again() {
    let mut world = World::new();
    let number = world.subscriber("c", QOS1);
    let unsubscribe = SessionsRequest::Unsubscribe { client_id: id("c"), number, filters: vec!["a/#".into()] };
    assert_eq!(world.ask_only(0, unsubscribe), Reply::Applied);
    for expected in [1, 0] {
        world.asked.clear();
        world.restart();
        world.run();
        assert_eq!(world.asked.len(), expected);
    }
}

#[test]
fn a_subscription_that_routers_do_not_take_is_refused_and_forgotten() {
    let mut world = World::new();
    let number = world.connect(0, "c", 1, durable()).number;
    world.router_answers.extend(std::iter::repeat_n(Reply::Refused(Refusal::Full), 10_000));
    assert_eq!(world.subscribe(0, "c", number, &[("x", at_most(QOS1))]), Reply::Pending);
    world.pass(80_000);
    let answer = world.told.iter().find_map(|(_, request)| match request {
        BrokerRequest::Subscribed { are_stored, .. } => Some(are_stored.clone()),
        _ => None,
    });
    assert_eq!(answer, Some(vec![false]));
    let Reply::Client(Some(state)) = world.ask_api(SessionsRequest::Describe { client_id: id("c") }) else { panic!() };
    assert!(state.subscriptions.is_empty());
}

#[test]
fn the_same_subscribe_again_writes_nothing() {
    let mut world = World::new();
    let number = world.subscriber("c", QOS1);
    world.pass(60_000);
    assert_eq!(world.rows(|world| drop(world.subscribe(0, "c", number, &[("a/#", at_most(QOS1))]))), 0);
    assert_eq!(world.rows(|world| drop(world.subscribe(0, "c", number, &[("a/#", at_most(QOS2))]))), 1);
}

#[test]
fn qos_2_goes_out_in_its_four_steps_and_survives_each() {
    for restart_after in 0..5 {
        let mut world = World::new();
        let number = world.subscriber("c", QOS2);
        let mut step = 0;
        let mut maybe_restart = |world: &mut World| {
            if step == restart_after {
                world.restart();
                world.run();
                // Nobody knows here what had left.
                world.told.clear();
            }
            step += 1;
        };
        maybe_restart(&mut world);
        assert_eq!(world.deliver(once("m", 1), 1), Reply::Applied, "stored");
        let sent = world.packets();
        let first = if restart_after == 0 { 4097 } else { 1 };
        assert_eq!(sent, [format!("m q2 #{first}")]);
        maybe_restart(&mut world);
        assert_eq!(world.deliver(once("m", 1), 2), Reply::Applied, "again");
        assert_eq!(world.packets(), Vec::<String>::new());
        world.acknowledge(0, "c", number, &[(first, PubRec)]);
        assert_eq!(world.packets(), [format!("pubrel #{first}")]);
        maybe_restart(&mut world);
        world.acknowledge(0, "c", number, &[(first, PubRec)]);
        assert_eq!(world.packets(), [format!("pubrel #{first}")], "again");
        world.acknowledge(0, "c", number, &[(first, PubComp)]);
        maybe_restart(&mut world);
        assert_eq!(world.deliver(once("m", 1), 3), Reply::Applied);
        assert_eq!(world.packets(), Vec::<String>::new(), "it has had it");
        assert_eq!(world.store.stored_messages(), 0);
        world.acknowledge(0, "c", number, &[(first, PubRec)]);
        assert_eq!(world.packets(), [format!("pubrel #{first} unknown")]);
    }
}

#[test]
fn a_refused_message_of_qos_2_is_done() {
    let mut world = World::new();
    let number = world.subscriber("c", QOS2);
    world.deliver(once("m", 1), 1);
    world.told.clear();
    world.acknowledge(0, "c", number, &[(1, PubRecFailed)]);
    assert_eq!(world.store.stored_messages(), 0);
    assert_eq!(world.packets(), Vec::<String>::new());
}

#[test]
fn a_reconnect_sends_again_in_order_and_under_the_same_identifiers() {
    for restarts in [false, true] {
        let mut world = World::new();
        let number = world.subscriber("c", QOS2);
        world.deliver(once("1", 1), 1);
        world.deliver(message("2", QOS1), 2);
        world.deliver(once("3", 3), 3);
        world.acknowledge(0, "c", number, &[(1, PubRec)]);
        world.release(0, "c", number, Reason::ConnectionLost);
        assert_eq!(world.settled(), [(2, true)], "stored when the connection ended");
        world.told.clear();
        if restarts {
            world.restart();
        }
        world.connect(0, "c", 2, durable());
        assert_eq!(world.packets(), ["pubrel #1", "2 q1 #2 dup", "3 q2 #3 dup"]);
    }
}

#[test]
fn names_of_delivered_messages_are_bounded() {
    let mut world = World::with(ShardSettings { recent_messages: 4, ..ShardSettings::default() });
    let number = world.subscriber("c", QOS2);
    let before = world.store.rows();
    for name in 1..100 {
        world.deliver(once("m", name), name);
        let packet_id = u16::try_from(name).unwrap();
        world.acknowledge(0, "c", number, &[(packet_id, PubRec), (packet_id, PubComp)]);
    }
    assert!(world.store.rows() - before <= 6, "{}", world.store.rows());
}

#[test]
fn an_inbound_message_of_qos_2_keeps_its_name_until_pubrel() {
    let mut world = World::new();
    let number = world.connect(0, "c", 1, durable()).number;
    let (client_id, packet_id) = (id("c"), packet(5));
    let receive = |origin| SessionsRequest::Receive {
        client_id: id("c"),
        number,
        packet_id: packet(5),
        message_id: MessageId { origin, number: 1 },
    };
    let state =
        |origin, is_settled| Reply::Received(ReceivedState { message_id: MessageId { origin, number: 1 }, is_settled });
    let settled =
        |is_safe| SessionsRequest::ReceiveSettled { client_id: id("c"), number, packet_id: packet(5), is_safe };
    for restarts in [false, true] {
        for (request, expected) in [
            (receive(1), state(1, false)),
            (receive(2), state(1, false)),
            (settled(false), Reply::Applied),
            (receive(3), state(3, false)),
            (settled(true), Reply::Applied),
            (receive(4), state(3, true)),
            (SessionsRequest::PubRel { client_id: client_id.clone(), number, packet_id }, Reply::Applied),
            (SessionsRequest::PubRel { client_id: client_id.clone(), number, packet_id }, Reply::Applied),
            (receive(5), state(5, false)),
            (SessionsRequest::PubRel { client_id: client_id.clone(), number, packet_id }, Reply::Applied),
        ] {
            assert_eq!(world.ask(0, request.clone()), expected, "{request:?}");
            if restarts {
                world.restart();
            }
        }
    }
}

#[test]
fn a_clean_session_has_nothing_to_ask_here() {
    let mut world = World::new();
    let number = world.connect(0, "c", 1, clean()).number;
    assert_eq!(world.subscribe(0, "c", number, &[("a", at_most(QOS1))]), Reply::Refused(Refusal::WrongClass));
}

#[test]
fn a_resumed_session_stays_here_even_if_it_is_to_end_with_its_connection() {
    let mut world = World::new();
    let number = world.subscriber("c", QOS1);
    world.release(0, "c", number, Reason::ConnectionLost);
    world.deliver(message("m", QOS1), 1);
    let grant = world.connect(0, "c", 2, Claim { session_expiry: 0, ..durable() });
    assert!(grant.session_present);
    assert_eq!(world.packets(), ["m q1 #4097"]);
    world.release(0, "c", grant.number, Reason::ConnectionLost);
    assert_eq!(world.store.stored_messages(), 0);
    assert!(!world.connect(0, "c", 3, durable()).session_present);
}

#[test]
fn a_connection_whose_messages_could_not_be_sent_is_closed_and_misses_nothing() {
    let mut world = World::new();
    world.subscriber("c", QOS1);
    world.unreachable.insert(0);
    world.deliver(message("m", QOS1), 1);
    world.pass(3_000);
    assert_eq!(world.settled(), [(1, true)]);
    assert!(world.log.contains(&LogEvent::ConnectionLost { client_id: id("c") }));
    world.unreachable.clear();
    world.pass(3_000);
    assert!(world.told.iter().any(|(_, request)| matches!(request, BrokerRequest::Fence { .. })));
    world.told.clear();
    world.connect(0, "c", 2, durable());
    assert_eq!(world.packets(), ["m q1 #1 dup"]);
}

#[test]
fn packet_identifiers_of_a_lost_memory_are_not_used_again() {
    let mut world = World::new();
    let number = world.subscriber("c", QOS1);
    assert_eq!(world.deliver(message("1", QOS1), 1), Reply::Pending);
    world.restart();
    world.packets();
    assert_eq!(world.deliver(message("2", QOS1), 2), Reply::Pending);
    assert_eq!(world.packets(), ["2 q1 #4097"]);
    world.acknowledge(0, "c", number, &[(1, PubAck)]);
    assert_eq!(world.settled(), [], "of something else");
}

#[test]
fn parts_of_publishers_whose_memory_is_new_are_not_settled() {
    let mut world = World::new();
    let number = world.subscriber("c", QOS1);
    world.deliver(message("1", QOS1), 1);
    world.epochs.insert(7, 2);
    world.ask(7, SessionsRequest::EpochStarted);
    world.acknowledge(0, "c", number, &[(1, PubAck)]);
    assert_eq!(world.settled(), []);
}

#[test]
fn a_repeated_call_is_answered_and_not_applied() {
    let mut world = World::new();
    world.subscriber("c", QOS1);
    let batch = world.batch(7, vec![SessionsRequest::Deliver { publication: message("m", QOS1), ticket: Some(1) }]);
    let first = world.call(&batch);
    assert_eq!(world.call(&batch), first);
    world.run();
    assert_eq!(world.packets(), ["m q1 #1"]);
}

#[test]
fn a_direct_message_needs_no_subscription_but_somebody_there() {
    let mut world = World::new();
    let direct = |qos| SessionsRequest::Direct { client_id: id("c"), publication: message("m", qos), ticket: Some(4) };
    assert_eq!(world.ask(7, direct(QOS1)), Reply::Refused(Refusal::Unavailable));
    let number = world.connect(0, "c", 1, durable()).number;
    assert_eq!(world.ask(7, direct(QOS1)), Reply::Pending);
    assert_eq!(world.ask(7, direct(QOS0)), Reply::Applied);
    world.acknowledge(0, "c", number, &[(1, PubAck)]);
    assert_eq!(world.settled(), [(4, true)]);
    assert_eq!(world.packets(), ["m q1 #1", "m q0"]);
    world.release(0, "c", number, Reason::ConnectionLost);
    assert_eq!(world.ask(7, direct(QOS1)), Reply::Refused(Refusal::Unavailable));
}

fn shared(text: &str, qos: Qos, ticket: u64) -> SessionsRequest {
    let publication = if qos == QOS2 { once(text, ticket) } else { message(text, qos) };
    SessionsRequest::DeliverShared { shared_filter: "$share/g/a/+".into(), publication, ticket: Some(ticket) }
}

#[test]
fn members_of_a_shared_group_take_turns_and_those_with_room_come_first() {
    let mut world = World::new();
    let group = [("$share/g/a/+", at_most(QOS2))];
    assert_eq!(world.ask(7, shared("m", QOS1, 1)), Reply::Shared(SharedReply::NoMember));
    let mut numbers = Vec::new();
    for (connection, client) in ["c", "d", "e"].iter().enumerate() {
        let claim = Claim { receive_maximum: 1, ..durable() };
        let number = world.connect(0, client, connection as u64 + 1, claim).number;
        world.subscribe(0, client, number, &group);
        numbers.push(number);
    }
    world.release(0, "d", numbers[1], Reason::ConnectionLost);
    world.told.clear();
    assert_eq!(world.deliver(message("no", QOS1), 9), Reply::Applied, "not by its filter");
    assert_eq!(world.packets(), Vec::<String>::new());
    let connections = |world: &mut World| -> Vec<u64> {
        let told = std::mem::take(&mut world.told);
        let sent = told.into_iter().filter_map(|(_, request)| match request {
            BrokerRequest::Send { connection, .. } => Some(connection.0),
            _ => None,
        });
        sent.collect()
    };
    assert_eq!(world.ask(7, shared("1", QOS1, 1)), Reply::Shared(SharedReply::Pending));
    assert_eq!(world.ask(7, shared("2", QOS2, 2)), Reply::Shared(SharedReply::Taken));
    assert_eq!(connections(&mut world), [1, 3]);
    world.acknowledge(0, "e", numbers[2], &[(1, PubRec), (1, PubComp)]);
    world.told.clear();
    assert_eq!(world.ask(7, shared("3", QOS0, 3)), Reply::Shared(SharedReply::Taken));
    assert_eq!(connections(&mut world), [3], "the other has no room");
    world.restart();
    assert_eq!(world.ask(7, shared("2", QOS2, 2)), Reply::Shared(SharedReply::Taken));
    assert_eq!(connections(&mut world), Vec::<u64>::new(), "somebody has had it");
    world.release(0, "c", numbers[0], Reason::ConnectionLost);
    world.release(0, "e", numbers[2], Reason::ConnectionLost);
    assert_eq!(world.ask(7, shared("4", QOS1, 4)), Reply::Shared(SharedReply::NobodyOnline));
}

#[test]
fn a_member_that_comes_online_gets_what_its_group_has_queued() {
    let mut world = World::new();
    let number = world.connect(0, "c", 1, durable()).number;
    world.subscribe(0, "c", number, &[("$share/g/a/+", at_most(QOS1))]);
    world.release(0, "c", number, Reason::ConnectionLost);
    let queue = (1..=20).map(|place| (place, message(&place.to_string(), QOS1))).collect();
    world.queues.insert("$share/g/a/+".into(), queue);
    world.told.clear();
    let number = world.connect(0, "c", 2, durable()).number;
    let mut got = Vec::new();
    for _ in 0..30 {
        let mut acknowledgements = Vec::new();
        for packet in world.packets() {
            let (text, rest) = packet.split_once(" q1 #").unwrap();
            got.push(text.parse::<u64>().unwrap());
            acknowledgements.push((rest.parse().unwrap(), PubAck));
        }
        world.acknowledge(0, "c", number, &acknowledgements);
    }
    assert_eq!(got, (1..=20).collect::<Vec<_>>());
    assert!(world.queues["$share/g/a/+"].is_empty());
}

#[test]
fn retained_messages_come_after_subscribe_unless_a_live_one_was_newer() {
    let mut world = World::new();
    let number = world.connect(0, "c", 1, durable()).number;
    let retained = |topic: &str, text: &str| Publication { topic: topic.into(), retain: true, ..message(text, QOS1) };
    world.retained.push_back(RetainedPage {
        messages: vec![retained("a/1", "old"), retained("a/b", "stale")],
        next: Some("a/b".into()),
        has_retained_below: true,
        ..RetainedPage::default()
    });
    world.retained.push_back(RetainedPage {
        messages: vec![retained("a/c", "last")],
        next: None,
        has_retained_below: true,
        ..RetainedPage::default()
    });
    world.router_answers.extend([Reply::Pending, Reply::Pending]);
    let filters = vec![("a/#".to_owned(), at_most(QOS1), true)];
    world.ask(0, SessionsRequest::Subscribe { client_id: id("c"), number, packet_id: packet(1), filters });
    world.told.clear();
    // Before the Routers have confirmed, and so before the replay.
    world.deliver(message("live", QOS1), 1);
    for request in world.asked.clone() {
        if let RouterRequest::Subscribe { registration, .. } | RouterRequest::Mark { registration, .. } = request {
            world.ask_api(SessionsRequest::Registered { registration });
        }
    }
    assert_eq!(world.packets(), ["live q1 #1", "old q1 #2 retain", "last q1 #3 retain"]);
    let pages: Vec<_> = world
        .asked
        .iter()
        .filter_map(|request| match request {
            RouterRequest::Retained { after, .. } => Some(after.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(pages, [None, Some("a/b".to_owned())], "there is one Router");
    assert!(world.shard.is_at_rest() || world.shard.next_timeout().is_some());
}

#[test]
fn a_replay_waits_for_room_in_the_queue() {
    let mut world = World::with(ShardSettings { maximum_messages: 20, retained_page: 10, ..ShardSettings::default() });
    let number = world.connect(0, "c", 1, durable()).number;
    for page in 0..5_u32 {
        let messages = (0..10).map(|n| Publication { topic: format!("a/{page}{n}"), ..message("m", QOS1) }).collect();
        world.retained.push_back(RetainedPage {
            messages,
            next: (page < 4).then(|| format!("a/{page}9")),
            has_retained_below: false,
            ..RetainedPage::default()
        });
    }
    let filters = vec![("a/#".to_owned(), at_most(QOS1), true)];
    world.ask(0, SessionsRequest::Subscribe { client_id: id("c"), number, packet_id: packet(1), filters });
    let mut got = 0;
    for _ in 0..30 {
        let acknowledgements: Vec<_> = world
            .packets()
            .iter()
            .map(|packet| (packet.split_once('#').unwrap().1.split(' ').next().unwrap().parse().unwrap(), PubAck))
            .collect();
        got += acknowledgements.len();
        world.acknowledge(0, "c", number, &acknowledgements);
    }
    assert_eq!(got, 50);
    assert_eq!(world.log, []);
}

#[test]
fn many_sessions_share_a_transaction() {
    let mut world = World::new();
    for client in 0..50 {
        let number = world.subscriber(&format!("c{client}"), QOS1);
        world.release(0, &format!("c{client}"), number, Reason::ConnectionLost);
    }
    let commits = world.store.commits();
    world.deliver(message("m", QOS1), 1);
    assert_eq!(world.store.commits() - commits, 1);
    assert_eq!(world.store.stored_messages(), 50);
}

#[test]
fn sessions_without_a_connection_do_not_stay_in_memory() {
    let mut world = World::with(ShardSettings { cached_sessions: 4, ..ShardSettings::default() });
    for client in 0..20 {
        let number = world.subscriber(&format!("c{client}"), QOS1);
        world.release(0, &format!("c{client}"), number, Reason::ConnectionLost);
    }
    for round in 0..3 {
        world.deliver(message(&round.to_string(), QOS1), 1);
    }
    assert_eq!(world.store.stored_messages(), 60);
    world.told.clear();
    world.connect(0, "c7", 2, durable());
    assert_eq!(world.packets(), ["0 q1 #4097", "1 q1 #4098", "2 q1 #4099"]);
    assert!(world.now > UnixMillis(0));
}
