//! Subscriptions of sessions that end with their connection.

use super::*;

fn subacks(world: &mut World, connection: ConnectionId) -> Vec<Vec<ReasonCode>> {
    let packets = world.take(connection);
    let codes = packets.into_iter().filter_map(|packet| match packet {
        Packet::SubAck(ack) => Some(ack.reason_codes),
        _ => None,
    });
    codes.collect()
}

fn router_requests(world: &mut World) -> Vec<String> {
    world.asked(|_, request| match request {
        Request::Router(RouterRequest::Subscribe { filter, .. }) => Some(format!("+{filter}")),
        Request::Router(RouterRequest::Unsubscribe { filter }) => Some(format!("-{filter}")),
        Request::Router(RouterRequest::Mark { node, .. }) => Some(format!("mark {node}")),
        _ => None,
    })
}

#[test]
fn suback_waits_until_every_node_knows_the_filter() {
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    world.script(|_, request| match request {
        Request::Router(RouterRequest::Subscribe { .. }) => Some(Reply::Pending),
        _ => None,
    });
    world.send(connection, subscribe(1, &[("a/b", Qos::AtLeastOnce)]));
    assert!(subacks(&mut world, connection).is_empty());
    let (address, registration) = world
        .asked(|address, request| match request {
            Request::Router(RouterRequest::Subscribe { registration, .. }) => Some((address.clone(), *registration)),
            _ => None,
        })
        .remove(0);
    world.unscript();
    world.ask(address, BrokerRequest::Registered { registration });
    world.settle();
    assert_eq!(subacks(&mut world, connection), [[ReasonCode::GrantedQos1]], "[MQTT-3.8.4-1]");
}

#[test]
fn the_first_subscriber_of_a_filter_registers_it_and_the_last_takes_it_away() {
    let mut world = World::new();
    let (a, b) = (world.client(1, connect("a")), world.client(2, connect("b")));
    world.send(a, subscribe(1, &[("x/y/+", Qos::AtMostOnce)]));
    let mut asked = router_requests(&mut world);
    asked.sort();
    assert_eq!(asked, ["+x/y/+", "mark ", "mark x"]);
    world.send(b, subscribe(1, &[("x/y/+", Qos::AtMostOnce), ("x/y/+/z", Qos::AtMostOnce)]));
    assert_eq!(router_requests(&mut world), ["+x/y/+/z"], "the way to it is marked already");
    world.send(a, unsubscribe(2, &["x/y/+"]));
    assert!(router_requests(&mut world).is_empty());
    world.input(Input::Lost { connection: b });
    world.settle();
    let mut asked = router_requests(&mut world);
    asked.sort();
    assert_eq!(asked, ["-x/y/+", "-x/y/+/z"]);
}

#[test]
fn each_filter_is_answered_in_its_place() {
    let mut world = World::aws();
    let connection = world.client(1, connect("a"));
    let filters = [
        ("a/#", Qos::AtLeastOnce, ReasonCode::GrantedQos1),
        ("a/#/b", Qos::AtMostOnce, ReasonCode::TopicFilterInvalid),
        ("1/2/3/4/5/6/7/8/9", Qos::AtMostOnce, ReasonCode::TopicFilterInvalid),
        ("$umbra/x", Qos::AtMostOnce, ReasonCode::NotAuthorized),
        ("$aws/rules/r", Qos::AtMostOnce, ReasonCode::NotAuthorized),
        ("$share/g/b", Qos::AtMostOnce, ReasonCode::Success),
    ];
    world.send(connection, subscribe(1, &filters.map(|(filter, qos, _)| (filter, qos))));
    let expected: Vec<ReasonCode> = filters.iter().map(|(.., code)| *code).collect();
    assert_eq!(subacks(&mut world, connection), [expected], "[MQTT-3.8.4-6]");
}

#[test]
fn a_filter_that_can_not_be_registered_is_refused_and_gone() {
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    for _ in 0..3 {
        world.frame(connection, &[subscribe(1, &[("a", Qos::AtMostOnce)])]);
        // Longer than a registration may take.
        for _ in 0..200 {
            for call in core::mem::take(&mut world.calls) {
                world.input(Input::Answered { target: call.target, reply: None });
            }
            world.now = world.now.plus_millis(1_000);
            world.input(Input::Tick);
        }
        assert_eq!(subacks(&mut world, connection), [[ReasonCode::ImplementationSpecificError]]);
    }
    world.send(connection, publish("a", "x", Qos::AtMostOnce, 0));
    assert!(world.messages(connection).is_empty(), "it was not granted");
}

#[test]
fn nothing_is_delivered_after_unsuback() {
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    world.send(connection, subscribe(1, &[("a", Qos::AtMostOnce), ("b", Qos::AtMostOnce)]));
    world.take(connection);
    world.send(connection, unsubscribe(2, &["a", "c"]));
    let packets = world.take(connection);
    let [Packet::UnsubAck(ack)] = &packets[..] else { panic!("{packets:?}") };
    assert_eq!(ack.reason_codes, [ReasonCode::Success, ReasonCode::NoSubscriptionExisted], "[MQTT-3.11.3-1]");
    for topic in ["a", "b"] {
        world.send(connection, publish(topic, "x", Qos::AtMostOnce, 0));
    }
    let topics: Vec<String> = world.messages(connection).into_iter().map(|(topic, ..)| topic).collect();
    assert_eq!(topics, ["b"], "[MQTT-3.10.4-2]");
}

#[test]
fn subscriptions_are_told_to_whoever_listens_in_awss_form() {
    let mut world = World::new();
    let (listener, client) = (world.client(1, connect("l")), world.client(2, connect("thing1")));
    world.send(listener, subscribe(1, &[("$aws/events/subscriptions/#", Qos::AtMostOnce)]));
    world.take(listener);
    world.send(client, subscribe(1, &[("a", Qos::AtMostOnce), ("b/#/c", Qos::AtMostOnce), ("d", Qos::AtMostOnce)]));
    world.send(client, unsubscribe(2, &["d", "never"]));
    let events: Vec<(String, serde_json::Value)> = world
        .messages(listener)
        .into_iter()
        .map(|(topic, payload, ..)| (topic, serde_json::from_str(&payload).unwrap()))
        .collect();
    let event = |kind: &str, topics: &[&str]| {
        let body = serde_json::json!({
            "clientId": "thing1",
            "timestamp": START.0,
            "eventType": kind,
            "sessionIdentifier": "trace-2",
            "principalIdentifier": "AKIDEXAMPLEEXAMPLE",
            "topics": topics,
        });
        (format!("$aws/events/subscriptions/{kind}/thing1"), body)
    };
    assert_eq!(events, [event("subscribed", &["a", "d"]), event("unsubscribed", &["d"])]);
}

#[test]
fn a_client_id_with_a_wildcard_causes_no_events() {
    let mut world = World::new();
    let (listener, client) = (world.client(1, connect("l")), world.client(2, connect("a+b")));
    world.send(listener, subscribe(1, &[("$aws/events/subscriptions/#", Qos::AtMostOnce)]));
    world.take(listener);
    world.send(client, subscribe(1, &[("a", Qos::AtMostOnce)]));
    assert!(world.messages(listener).is_empty());
}

#[test]
fn a_connections_subscriptions_can_be_asked_for() {
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    world.send(connection, subscribe(1, &[("x", Qos::AtLeastOnce)]));
    for (asked, expected) in [(connection, true), (ConnectionId(9), false)] {
        let reply = world.ask(Address::Sessions(0), BrokerRequest::Subscriptions { connection: asked });
        let Reply::Subscriptions(found) = reply else { panic!("{reply:?}") };
        assert_eq!(found.is_some_and(|found| found["x"].qos == Qos::AtLeastOnce), expected);
    }
}
