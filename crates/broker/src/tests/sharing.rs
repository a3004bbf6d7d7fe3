//! Shared subscriptions.

use super::*;

fn member(world: &mut World, connection: u64, client_id: &str, receive_maximum: Option<u16>) -> ConnectionId {
    let properties = ConnectProperties { receive_maximum, ..ConnectProperties::default() };
    let connection = world.client(connection, Connect { properties, ..connect(client_id) });
    world.send(connection, subscribe(1, &[("$share/g/t/+", Qos::AtLeastOnce)]));
    world.take(connection);
    world.asked.clear();
    connection
}

fn offered(world: &mut World) -> Vec<Address> {
    world.asked(|address, request| match request {
        Request::Broker(BrokerRequest::DeliverShared { .. })
        | Request::Sessions(SessionsRequest::DeliverShared { .. })
        | Request::Router(RouterRequest::QueueShared { .. }) => Some(address.clone()),
        _ => None,
    })
}

const GROUP: &str = "$share/g/t/+";

fn home() -> Address {
    Address::router_of_node("t", &ShardMap::new(2))
}

#[test]
fn each_message_goes_to_one_member_here_in_turn_and_to_every_group() {
    let mut world = World::new();
    let members = [member(&mut world, 1, "a", None), member(&mut world, 2, "b", None)];
    let other = world.client(3, connect("c"));
    world.send(other, subscribe(1, &[("$share/h/#", Qos::AtMostOnce), ("t/1", Qos::AtMostOnce)]));
    world.take(other);
    let publisher = world.client(4, connect("p"));
    for number in 0..4 {
        world.send(publisher, publish("t/1", &number.to_string(), Qos::AtLeastOnce, number + 1));
    }
    let counts = members.map(|connection| world.messages(connection).len());
    assert_eq!(counts, [2, 2], "section 4.8.2");
    assert_eq!(world.messages(other).len(), 8, "as a member of its group, and for itself");
    assert_eq!(world.acknowledged(publisher).len(), 4);
}

#[test]
fn a_member_without_room_is_passed_over() {
    let mut world = World::new();
    let (full, free) = (member(&mut world, 1, "full", Some(1)), member(&mut world, 2, "free", None));
    let publisher = world.client(4, connect("p"));
    for number in 1..=5 {
        world.send(publisher, publish("t/1", "x", Qos::AtLeastOnce, number));
    }
    assert_eq!([full, free].map(|connection| world.messages(connection).len()), [1, 4]);
}

#[test]
fn whoever_declines_is_passed_over_for_the_next_destination() {
    let rows = [
        (SharedReply::Taken, 1),
        (SharedReply::NobodyOnline, 2),
        // Asked again with a fresh lease, which still names both.
        (SharedReply::NoMember, 2),
    ];
    for (first, expected) in rows {
        let mut world = World::new();
        let publisher = world.client(1, connect("p"));
        world.subscribe_elsewhere(GROUP, Destination::Broker(other_broker(1)));
        world.subscribe_elsewhere(GROUP, Destination::Broker(other_broker(2)));
        let mut is_first = true;
        world.script(move |_, request| match request {
            Request::Broker(BrokerRequest::DeliverShared { .. }) if core::mem::take(&mut is_first) => {
                Some(Reply::Shared(first))
            }
            _ => None,
        });
        world.send(publisher, publish("t/1", "x", Qos::AtLeastOnce, 1));
        assert_eq!(offered(&mut world).len(), expected, "{first:?}");
        assert_eq!(world.acknowledged(publisher), [(1, ReasonCode::Success)]);
    }
}

#[test]
fn with_nobody_online_the_router_keeps_what_a_lasting_session_is_to_get() {
    let rows = [
        (vec![Destination::Sessions(0), Destination::Broker(other_broker(1))], Qos::AtLeastOnce, true),
        (vec![Destination::Sessions(0)], Qos::AtMostOnce, false),
        (vec![Destination::Broker(other_broker(1))], Qos::AtLeastOnce, false),
    ];
    for (destinations, qos, is_kept) in rows {
        let mut world = World::new();
        let publisher = world.client(1, connect("p"));
        for destination in &destinations {
            world.subscribe_elsewhere(GROUP, destination.clone());
        }
        world.script(|_, request| match request {
            Request::Broker(BrokerRequest::DeliverShared { .. })
            | Request::Sessions(SessionsRequest::DeliverShared { .. }) => {
                Some(Reply::Shared(SharedReply::NobodyOnline))
            }
            _ => None,
        });
        world.send(publisher, publish("t/1", "x", qos, 1));
        let asked = offered(&mut world);
        assert_eq!(asked.len(), destinations.len() + usize::from(is_kept), "{asked:?}");
        assert_eq!(asked.contains(&home()), is_kept);
        if qos > Qos::AtMostOnce {
            assert_eq!(world.acknowledged(publisher), [(1, ReasonCode::Success)]);
        }
    }
}

#[test]
fn a_group_that_the_leases_wrongly_name_is_looked_up_afresh_once() {
    let mut world = World::new();
    let publisher = world.client(1, connect("p"));
    world.subscribe_elsewhere(GROUP, Destination::Broker(other_broker(1)));
    world.send(publisher, publish("t/1", "x", Qos::AtMostOnce, 0));
    world.asked.clear();
    // The member has moved, and nothing was revoked here.
    world.elsewhere = vec![(GROUP.to_owned(), Destination::Broker(other_broker(2)))];
    world.script(|address, request| match request {
        Request::Broker(BrokerRequest::DeliverShared { .. }) if *address == Address::Broker(other_broker(1)) => {
            Some(Reply::Shared(SharedReply::NoMember))
        }
        _ => None,
    });
    world.send(publisher, publish("t/1", "x", Qos::AtLeastOnce, 1));
    let expected = [Address::Broker(other_broker(1)), Address::Broker(other_broker(2))];
    assert_eq!(offered(&mut world), expected);
    assert_eq!(world.acknowledged(publisher), [(1, ReasonCode::Success)]);
}

#[test]
fn qos_2_that_may_have_been_taken_is_offered_to_nobody_else() {
    for (qos, offers) in [(Qos::AtLeastOnce, 2), (Qos::ExactlyOnce, 1)] {
        let mut world = World::new();
        let publisher = world.client(1, connect("p"));
        world.subscribe_elsewhere(GROUP, Destination::Sessions(0));
        world.subscribe_elsewhere(GROUP, Destination::Sessions(1));
        let mut is_first = true;
        world.script(move |_, request| match request {
            Request::Sessions(SessionsRequest::DeliverShared { .. }) if core::mem::take(&mut is_first) => {
                Some(Reply::Shared(SharedReply::Pending))
            }
            _ => None,
        });
        world.send(publisher, publish("t/1", "x", qos, 1));
        let tickets = world.asked(|_, request| match request {
            Request::Sessions(SessionsRequest::DeliverShared { ticket, .. }) => *ticket,
            _ => None,
        });
        world.ask(Address::Sessions(0), BrokerRequest::Settled { tickets: vec![(tickets[0], false)] });
        world.settle();
        assert_eq!(offered(&mut world).len() + 1, offers, "{qos:?} [MQTT-4.8.2-5]");
        let expected = if offers == 2 { ReasonCode::Success } else { ReasonCode::ImplementationSpecificError };
        assert_eq!(world.acknowledged(publisher), [(1, expected)]);
    }
}

#[test]
fn another_node_is_told_whether_a_member_here_took_the_message() {
    let mut world = World::new();
    let deliver = || BrokerRequest::DeliverShared {
        shared_filter: GROUP.to_owned(),
        publication: Publication::of_platform("t/1".into(), "x", Qos::AtLeastOnce, START),
    };
    let from = Address::Broker(other_broker(1));
    assert_eq!(world.ask(from.clone(), deliver()), Reply::Shared(SharedReply::NoMember));
    let connection = member(&mut world, 1, "a", Some(1));
    assert_eq!(world.ask(from.clone(), deliver()), Reply::Shared(SharedReply::Taken));
    // Its window is full, and there is nobody else: it waits in the member's queue.
    assert_eq!(world.ask(from.clone(), deliver()), Reply::Shared(SharedReply::Taken));
    world.send(connection, unsubscribe(2, &[GROUP]));
    assert_eq!(world.ask(from, deliver()), Reply::Shared(SharedReply::NoMember));
}

#[test]
fn the_first_member_here_drains_what_a_router_has_kept() {
    let mut world = World::new();
    let kept = |place: u64| (place, Publication::of_platform(format!("t/{place}"), "x", Qos::AtLeastOnce, START));
    world.script(move |_, request| match request {
        Request::Router(RouterRequest::DrainShared { after, .. }) => {
            Some(Reply::SharedQueue((after + 1..=5).take(2).map(kept).collect()))
        }
        _ => None,
    });
    let properties = ConnectProperties { receive_maximum: Some(3), ..ConnectProperties::default() };
    let connection = world.client(1, Connect { properties, ..connect("a") });
    world.send(connection, subscribe(1, &[(GROUP, Qos::AtLeastOnce)]));
    assert_eq!(world.messages(connection).len(), 3, "as many as it takes");
    assert!(!world.node.is_at_rest());
    for packet_id in 1..=3 {
        world.send(connection, Packet::PubAck(PubAck::new(id(packet_id))));
    }
    world.wait(1_000);
    assert_eq!(world.messages(connection).len(), 2);
    world.wait(1_000);
    let told = world.asked(|address, request| match request {
        Request::Router(RouterRequest::DrainShared { after, .. }) => Some((address.clone(), *after)),
        _ => None,
    });
    assert_eq!(told.last(), Some(&(home(), 5)), "the Router may forget them: {told:?}");
}
