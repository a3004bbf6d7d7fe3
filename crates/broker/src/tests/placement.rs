//! The node in its region's pool: whom it lets in, what it tells, how it empties.

use super::*;
use crate::PlacementSettings;
use ::placement::{AdmissionSettings, RefusalReason, ReportSettings};
use messages::pool::{BrokerReport, BuildId, Directive, DrainOrder, PoolReply, PoolRequest};

const PLACEMENT: PlacementSettings = PlacementSettings {
    admission: AdmissionSettings { capacity: 20, ..AdmissionSettings::STANDARD },
    reports: ReportSettings::STANDARD,
    drain_at_least_millis: 10_000,
    build: BuildId(1),
};

/// A node of a pool that wants it to do the same whatever it says.
fn pooled(directive: Directive) -> World {
    let mut world = World::new();
    world.node.join_pool(START, PLACEMENT, None);
    world.script(move |target, request| match (target, request) {
        (Address::Pool(region), Request::Pool(PoolRequest::Report(_))) if region == "home" => {
            Some(Reply::Pool(PoolReply::Directive(directive)))
        }
        _ => None,
    });
    world
}

fn reports(world: &mut World) -> Vec<BrokerReport> {
    world.asked(|_, request| match request {
        Request::Pool(PoolRequest::Report(report)) => Some(*report),
        _ => None,
    })
}

fn order(from: UnixMillis, millis: u64) -> DrainOrder {
    DrainOrder { from, until: from.plus_millis(millis), unless_build: None }
}

/// So many connections, open and nothing else.
fn open_many(world: &mut World, count: u64) -> Vec<ConnectionId> {
    let connections = (1..=count).map(|connection| world.open(connection)).collect();
    world.settle();
    connections
}

#[test]
fn a_node_outside_of_a_pool_lets_in_whom_it_has_room_for_and_tells_nobody() {
    let mut world = World::with(settings(
        BrokerLimits { maximum_connections: 1, ..BrokerLimits::STANDARD },
        SessionSettings::STANDARD,
        TopicLimits::STANDARD,
    ));
    assert_eq!(world.node.admit(START), Ok(()));
    world.open(1);
    assert_eq!(world.node.admit(START).map_err(|refusal| refusal.reason), Err(RefusalReason::Full));
    world.wait(60_000);
    assert_eq!((reports(&mut world), world.node.take_told()), (vec![], None));
    let from = Address::Pool("home".into());
    assert_eq!(world.ask(from, BrokerRequest::Pool(Directive::Serve)), Reply::Refused(Refusal::Unavailable));
}

#[test]
fn the_first_connection_is_reported_and_what_was_told_is_not_told_again_after_a_sleep() {
    let mut world = pooled(Directive::Serve);
    assert_eq!(world.node.admit(START), Ok(()));
    world.client(1, connect("a"));
    let told = world.node.take_told().unwrap();
    assert_eq!(world.node.take_told(), None, "once");
    world.wait(60_000);
    assert_eq!(reports(&mut world), [], "nothing has changed that matters");
    assert_eq!(world.node.placement_due(), None, "nothing keeps it awake");
    assert!(world.node.is_at_rest());
    for (told, expected) in [(Some(told), 0), (None, 1), (Some(vec![9, 9]), 1)] {
        let mut woken = pooled(Directive::Serve);
        woken.node.join_pool(START, PLACEMENT, told.as_deref());
        woken.node.wake(woken.now, world.attachments.clone().into_iter().collect());
        woken.wait(60_000);
        assert_eq!(reports(&mut woken).len(), expected, "{told:?}");
    }
}

#[test]
fn reports_say_how_the_node_is_and_are_repeated_when_the_pool_cannot_be_reached() {
    let mut world = pooled(Directive::Serve);
    world.script(|_, request| matches!(request, Request::Pool(_)).then_some(Reply::Refused(Refusal::Unavailable)));
    open_many(&mut world, 3);
    let first = reports(&mut world);
    assert_eq!(first.len(), 1);
    assert_eq!((first[0].index, first[0].epoch, first[0].instance.build), (0, EPOCH, BuildId(1)));
    assert_eq!((first[0].connections, first[0].capacity), (1, 20), "the first connection could not wait");
    world.wait(4_999);
    assert_eq!(reports(&mut world), []);
    assert_eq!(world.node.next_retry(), Some(START.plus_millis(5_000)));
    world.wait(1);
    assert_eq!(reports(&mut world)[0].connections, 3);
    assert_eq!(world.node.take_told(), None, "it knows of nothing");
}

#[test]
fn a_full_node_refuses_and_says_how_often() {
    let mut world = pooled(Directive::Serve);
    open_many(&mut world, 20);
    world.wait(10_000);
    world.asked.clear();
    for _ in 0..3 {
        assert_eq!(world.node.admit(world.now).map_err(|refusal| refusal.reason), Err(RefusalReason::Full));
    }
    world.flush();
    assert_eq!(world.node.next_retry(), Some(world.now.plus_millis(2_000)), "urgent, but the last was just now");
    world.wait(2_000);
    assert_eq!(reports(&mut world).iter().map(|report| report.refused_full).collect::<Vec<_>>(), [3]);
}

#[test]
fn more_connects_than_are_admitted_are_told_0x9f() {
    let mut world = pooled(Directive::Serve);
    let admission = AdmissionSettings { connects_per_second: 1, connect_burst: 1, ..PLACEMENT.admission };
    world.node.join_pool(START, PlacementSettings { admission, ..PLACEMENT }, None);
    let answers: Vec<_> = open_many(&mut world, 3)
        .into_iter()
        .map(|connection| {
            world.send(connection, Packet::Connect(Box::new(connect(&format!("c{}", connection.0)))));
            world.ended(connection)
        })
        .collect();
    assert_eq!(answers, [None, None, Some(ReasonCode::ConnectionRateExceeded)]);
}

#[test]
fn an_order_is_answered_with_a_report_and_empties_the_node_by_and_by() {
    let mut world = pooled(Directive::Drain(order(START, 10_000)));
    // The report is under way, and then the pool orders it.
    world.script(|_, request| matches!(request, Request::Pool(_)).then_some(Reply::Refused(Refusal::Unavailable)));
    let clients: Vec<_> = (1..=10).map(|number| world.client(number, connect(&format!("c{number}")))).collect();
    world.script(|_, _| None);
    let from = Address::Pool("home".into());
    let reply = world.ask(from, BrokerRequest::Pool(Directive::Drain(order(START, 10_000))));
    let Reply::BrokerReport(report) = reply else { panic!("{reply:?}") };
    assert_eq!(report.connections, 10);
    assert_eq!(world.node.admit(START).map_err(|refusal| refusal.reason), Err(RefusalReason::Draining));
    assert!(world.closed.is_empty(), "not all at once");
    let mut left = Vec::new();
    for _ in 0..11 {
        assert!(world.node.next_retry().is_some(), "it doesn't sleep on it");
        world.wait(1_000);
        left.push(world.node.connection_count());
    }
    assert_eq!(left.last(), Some(&0));
    assert!(
        left.windows(2).all(|pair| pair[1] <= pair[0]) && left.iter().any(|left| (1..10).contains(left)),
        "{left:?}"
    );
    for client in &clients {
        assert_eq!(world.closed[client], 1012);
        assert_eq!(world.ended(*client), Some(ReasonCode::UseAnotherServer));
    }
    let endings = world.asked(|_, request| match request {
        Request::Sessions(SessionsRequest::Release { ending, .. }) => Some((ending.reason, ending.publishes_will)),
        _ => None,
    });
    assert_eq!(endings, [(DisconnectReason::ServerInitiated, true); 10], "their shards know what to do about wills");
    assert_eq!(world.count_logs("node_draining"), 1);
}

#[test]
fn a_drained_node_says_that_nobody_is_left_and_serves_again_when_it_is_told() {
    let mut world = pooled(Directive::Drain(order(START, 10_000)));
    world.client(1, connect("a"));
    world.wait(5_000);
    world.wait(10_000);
    world.wait(20);
    assert_eq!(world.node.connection_count(), 0);
    assert_eq!(reports(&mut world).last().map(|report| report.connections), Some(0));
    assert!(world.node.is_at_rest() && world.node.next_retry().is_none());
    assert!(world.node.admit(world.now).is_err());
    let from = Address::Pool("home".into());
    world.ask(from, BrokerRequest::Pool(Directive::Serve));
    assert_eq!(world.node.admit(world.now), Ok(()));
    assert_eq!(world.count_logs("node_serving"), 1);
}

#[test]
fn the_moments_of_clients_do_not_move_when_the_order_comes_again() {
    let mut world = pooled(Directive::Serve);
    world.script(|_, request| matches!(request, Request::Pool(_)).then_some(Reply::Refused(Refusal::Unavailable)));
    open_many(&mut world, 20);
    let from = Address::Pool("home".into());
    for _ in 0..11 {
        world.ask(from.clone(), BrokerRequest::Pool(Directive::Drain(order(START, 10_000))));
        world.wait(1_000);
    }
    assert_eq!(world.node.connection_count(), 0);
}

#[test]
fn a_client_of_3_1_1_that_is_sent_elsewhere_is_only_closed() {
    let mut world = pooled(Directive::Serve);
    let client = world.open(1);
    world.sent.get_mut(&client).unwrap().0 = Decoder::restore(u32::MAX, Some(ProtocolVersion::V3_1_1), Bytes::new());
    world.send(client, Packet::Connect(Box::new(Connect { version: ProtocolVersion::V3_1_1, ..connect("a") })));
    assert_eq!(world.take(client).len(), 1, "CONNACK");
    let from = Address::Pool("home".into());
    world.ask(from, BrokerRequest::Pool(Directive::Drain(order(world.now, 0))));
    world.wait(10_000);
    assert_eq!((world.closed.get(&client).copied(), world.take(client)), (Some(1012), vec![]));
}
