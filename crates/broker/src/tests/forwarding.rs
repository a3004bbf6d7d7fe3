//! Messages that go to other Brokers as packets, and those that come so.

use super::*;

/// A node where it has been found out that Brokers 1 to `brokers` have subscribers of `t`, and a publisher.
fn steady(brokers: u32) -> (World, ConnectionId) {
    let mut world = World::new();
    let publisher = world.client(1, connect("p"));
    for index in 1..=brokers {
        world.subscribe_elsewhere("t", Destination::Broker(other_broker(index)));
    }
    world.send(publisher, publish("t", "first", Qos::AtMostOnce, 0));
    world.asked.clear();
    (world, publisher)
}

/// What Brokers were handed, request by request.
fn handed(world: &mut World) -> Vec<(Address, Vec<String>)> {
    world.asked(|address, request| {
        let payloads: Vec<String> = handed_over(request)
            .into_iter()
            .map(|message| String::from_utf8(message.payload.to_vec()).unwrap())
            .collect();
        (!payloads.is_empty()).then(|| (address.clone(), payloads))
    })
}

#[test]
fn what_a_tick_has_for_a_broker_is_one_request() {
    let (mut world, publisher) = steady(2);
    let packets = [publish("t", "a", Qos::AtMostOnce, 0), publish("t", "b", Qos::AtLeastOnce, 7)];
    world.frame(publisher, &packets);
    world.settle();
    let expected = [1, 2].map(|index| (Address::Broker(other_broker(index)), vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!(handed(&mut world), expected);
}

#[test]
fn a_publish_of_qos_1_is_acknowledged_when_all_brokers_have_answered() {
    let (mut world, publisher) = steady(2);
    world.frame(publisher, &[publish("t", "x", Qos::AtLeastOnce, 7), publish("t", "y", Qos::AtLeastOnce, 8)]);
    let last = world.calls.pop().unwrap();
    world.settle();
    assert_eq!(world.acknowledged(publisher), [], "one is missing");
    assert!(!world.node.is_at_rest());
    world.answer_call(last);
    world.settle();
    assert_eq!(world.acknowledged(publisher), [(7, ReasonCode::Success), (8, ReasonCode::Success)]);
    assert_eq!(world.node.publishes.bytes(), 0);
}

#[test]
fn a_publish_of_qos_1_that_one_broker_cannot_take_is_not_acknowledged() {
    let (mut world, publisher) = steady(2);
    world.script(|address, request| {
        let is_second = *address == Address::Broker(other_broker(2));
        (is_second && !handed_over(request).is_empty()).then_some(Reply::Refused(Refusal::Unavailable))
    });
    world.send(publisher, publish("t", "x", Qos::AtLeastOnce, 7));
    assert_eq!(world.acknowledged(publisher), [(7, ReasonCode::ImplementationSpecificError)]);
    assert_eq!(world.node.publishes.bytes(), 0);
}

#[test]
fn a_broker_that_cannot_be_reached_costs_qos_0_and_nothing_else() {
    let (mut world, publisher) = steady(1);
    world.script(|address, _| matches!(address, Address::Broker(_)).then_some(Reply::Refused(Refusal::Unavailable)));
    world.send(publisher, publish("t", "x", Qos::AtMostOnce, 0));
    assert!(!world.closed.contains_key(&publisher));
    world.unscript();
    world.asked.clear();
    world.send(publisher, publish("t", "y", Qos::AtMostOnce, 0));
    assert_eq!(handed(&mut world), [(Address::Broker(other_broker(1)), vec!["y".to_owned()])]);
}

#[test]
fn what_takes_the_long_way_does_not_overtake() {
    let (mut world, publisher) = steady(1);
    let packets = [
        publish("t", "1", Qos::AtLeastOnce, 1),
        publish("t", "2", Qos::ExactlyOnce, 2),
        publish("t", "3", Qos::AtLeastOnce, 3),
        retained("t", "4", Qos::AtMostOnce, 0),
        publish("t", "5", Qos::AtMostOnce, 0),
    ];
    world.frame(publisher, &packets);
    world.settle();
    let payloads: Vec<String> = handed(&mut world).into_iter().flat_map(|(_, payloads)| payloads).collect();
    assert_eq!(payloads, ["1", "2", "3", "4", "5"], "[MQTT-4.6.0-6]");
}

#[test]
fn a_publisher_may_have_no_more_on_its_way_than_on_the_long_way() {
    let limits = BrokerLimits { maximum_pending_per_connection: 3, ..BrokerLimits::STANDARD };
    let mut world = World::with(settings(limits, SessionSettings::STANDARD, TopicLimits::STANDARD));
    let publisher = world.client(1, connect("p"));
    world.subscribe_elsewhere("t", Destination::Broker(other_broker(1)));
    world.send(publisher, publish("t", "first", Qos::AtMostOnce, 0));
    for packet_id in 1..=3 {
        world.frame(publisher, &[publish("t", "x", Qos::AtLeastOnce, packet_id)]);
    }
    assert!(!world.closed.contains_key(&publisher));
    world.frame(publisher, &[publish("t", "x", Qos::AtLeastOnce, 4)]);
    assert!(world.closed.contains_key(&publisher), "nobody has answered for three");
}

#[test]
fn a_message_with_an_expiry_goes_with_the_time_of_its_publish() {
    let (mut world, publisher) = steady(1);
    let Packet::Publish(mut packet) = publish("t", "x", Qos::AtMostOnce, 0) else { panic!() };
    packet.properties.message_expiry_interval = Some(10);
    world.send(publisher, Packet::Publish(packet));
    let accepted: Vec<UnixMillis> = world.asked(|_, request| match request {
        Request::Broker(BrokerRequest::Deliver(publication)) => Some(publication.accepted_at),
        _ => None,
    });
    assert_eq!(accepted, [world.now]);
}

#[test]
fn a_message_from_another_broker_reaches_each_client_once_as_it_subscribed() {
    let (mut world, publisher) = steady(1);
    world.frame(publisher, &[publish("t", "a", Qos::AtLeastOnce, 7), publish("t", "b", Qos::AtMostOnce, 0)]);
    let packets = world
        .calls
        .iter()
        .flat_map(|call| &call.batch.requests)
        .find_map(|request| match request {
            Request::Broker(BrokerRequest::DeliverPackets { packets }) => Some(packets.clone()),
            _ => None,
        })
        .unwrap();

    let mut world = World::new();
    let clients: Vec<ConnectionId> = (1..=2).map(|n| world.client(n, connect(&format!("s{n}")))).collect();
    world.send(clients[0], subscribe(1, &[("t", Qos::AtMostOnce), ("#", Qos::AtLeastOnce)]));
    world.send(clients[1], subscribe(1, &[("+", Qos::AtMostOnce)]));
    for client in &clients {
        world.take(*client);
    }
    for _ in 0..2 {
        let reply =
            world.ask(Address::Broker(other_broker(1)), BrokerRequest::DeliverPackets { packets: packets.clone() });
        assert_eq!(reply, Reply::Applied);
        let expected = |qos| [("t".to_owned(), "a".to_owned(), qos, false), ("t".to_owned(), "b".to_owned(), 0, false)];
        assert_eq!(world.messages(clients[0]), expected(1));
        assert_eq!(world.messages(clients[1]), expected(0));
    }
    world.send(clients[1], unsubscribe(2, &["+"]));
    world.take(clients[1]);
    world.ask(Address::Broker(other_broker(1)), BrokerRequest::DeliverPackets { packets });
    assert_eq!((world.messages(clients[0]).len(), world.messages(clients[1]).len()), (2, 0));
}

#[test]
fn packets_that_are_no_whole_publishes_are_refused() {
    let mut world = World::new();
    for packets in [&b"\xc0\0"[..], b"0\x06\0\x01t", b"\xff"] {
        let packets = Bytes::from_static(packets);
        let reply = world.ask(Address::Broker(other_broker(1)), BrokerRequest::DeliverPackets { packets });
        assert_eq!(reply, Reply::Refused(Refusal::WrongClass));
    }
}

/// A node where it has been found out that Sessions object 1 and Broker 1 want `t`, and a publisher.
fn beside_durable() -> (World, ConnectionId) {
    let mut world = World::new();
    let publisher = world.client(1, connect("p"));
    world.subscribe_elsewhere("t", Destination::Broker(other_broker(1)));
    world.subscribe_elsewhere("t", Destination::Sessions(1));
    world.send(publisher, publish("t", "first", Qos::AtMostOnce, 0));
    world.asked.clear();
    (world, publisher)
}

/// The tickets that Sessions object 1 was given since the last time.
fn tickets(world: &mut World) -> Vec<u64> {
    world.asked(|address, request| match request {
        Request::Sessions(SessionsRequest::Deliver { ticket, .. }) if *address == Address::Sessions(1) => *ticket,
        _ => None,
    })
}

fn settled(world: &mut World, ticket: u64, is_safe: bool) {
    world.ask(Address::Sessions(1), BrokerRequest::Settled { tickets: vec![(ticket, is_safe)] });
    world.settle();
}

fn patiently(_: &Address, request: &Request) -> Option<Reply> {
    matches!(request, Request::Sessions(SessionsRequest::Deliver { ticket: Some(_), .. })).then_some(Reply::Pending)
}

#[test]
fn sessions_objects_get_it_whole_and_it_is_acknowledged_when_they_say_so() {
    let (mut world, publisher) = beside_durable();
    world.script(patiently);
    world.send(publisher, publish("t", "x", Qos::AtLeastOnce, 7));
    let publications = world.asked.iter().filter_map(|(_, request)| match request {
        Request::Sessions(SessionsRequest::Deliver { publication, .. }) => Some(publication.client_id.clone()),
        _ => None,
    });
    assert_eq!(publications.collect::<Vec<_>>(), [Some("p".to_owned())]);
    let ticket = tickets(&mut world)[0];
    assert_eq!(world.acknowledged(publisher), []);
    assert!(!world.node.is_at_rest());
    settled(&mut world, ticket, true);
    assert_eq!(world.acknowledged(publisher), [(7, ReasonCode::Success)]);
    assert_eq!(world.node.publishes.bytes(), 0);
    world.wait(1_500);
    assert!(world.node.is_at_rest());
}

#[test]
fn a_sessions_object_may_say_so_before_its_answer_arrives() {
    let (mut world, publisher) = beside_durable();
    world.frame(publisher, &[publish("t", "x", Qos::AtLeastOnce, 7)]);
    let requests: Vec<Request> = world.calls.iter().flat_map(|call| call.batch.requests.clone()).collect();
    let ticket = requests.iter().find_map(|request| match request {
        Request::Sessions(SessionsRequest::Deliver { ticket, .. }) => *ticket,
        _ => None,
    });
    world.ask(Address::Sessions(1), BrokerRequest::Settled { tickets: vec![(ticket.unwrap(), true)] });
    world.script(patiently);
    world.settle();
    assert_eq!(world.acknowledged(publisher), [(7, ReasonCode::Success)]);
}

#[test]
fn a_publish_that_a_sessions_object_cannot_make_safe_is_not_acknowledged() {
    let (mut world, publisher) = beside_durable();
    world.script(patiently);
    world.send(publisher, publish("t", "x", Qos::AtLeastOnce, 7));
    let ticket = tickets(&mut world)[0];
    settled(&mut world, ticket, false);
    assert_eq!(world.acknowledged(publisher), [(7, ReasonCode::ImplementationSpecificError)]);
}

#[test]
fn who_asks_for_patience_and_says_nothing_is_given_up() {
    let (mut world, publisher) = beside_durable();
    world.script(patiently);
    world.send(publisher, publish("t", "x", Qos::AtLeastOnce, 7));
    let ticket = tickets(&mut world)[0];
    world.wait(4_900);
    assert_eq!(world.acknowledged(publisher), []);
    world.wait(200);
    assert_eq!(world.acknowledged(publisher), [(7, ReasonCode::ImplementationSpecificError)]);
    settled(&mut world, ticket, true);
    assert_eq!(world.acknowledged(publisher), [], "it comes too late");
    assert_eq!(world.node.publishes.bytes(), 0);
}
