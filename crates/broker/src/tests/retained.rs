//! Retained messages.

use super::*;

fn page(topics: &[&str], next: Option<&str>, has_retained_below: bool) -> Reply {
    let message = |topic: &&str| Publication {
        retain: true,
        ..Publication::of_platform((*topic).to_owned(), "old", Qos::AtLeastOnce, START)
    };
    Reply::Retained(RetainedPage {
        messages: topics.iter().map(message).collect(),
        next: next.map(str::to_owned),
        has_retained_below,
        given_away: Vec::new(),
    })
}

fn retain_requests(world: &mut World) -> Vec<String> {
    world.asked(|_, request| match request {
        Request::Router(RouterRequest::Retain(publication)) => Some(format!("retain {}", publication.topic)),
        Request::Router(RouterRequest::Mark { node, mark: messages::router::Mark::Retained, .. }) => {
            Some(format!("mark {node}"))
        }
        Request::Broker(BrokerRequest::Deliver(publication)) => Some(format!("deliver {}", publication.topic)),
        _ => None,
    })
}

#[test]
fn a_retained_message_is_stored_and_the_way_to_it_marked_before_anybody_gets_it() {
    let mut world = World::new();
    let (publisher, subscriber) = (world.client(1, connect("p")), world.client(2, connect("s")));
    world.subscribe_elsewhere("#", Destination::Broker(other_broker(1)));
    world.send(subscriber, subscribe(1, &[("#", Qos::AtMostOnce)]));
    world.take(subscriber);
    world.asked.clear();
    world.frame(publisher, &[retained("a/b/c", "x", Qos::AtLeastOnce, 1), publish("t", "y", Qos::AtMostOnce, 0)]);
    assert!(world.messages(subscriber).is_empty(), "local subscribers, too; and what is behind it waits");
    world.settle();
    let steps = retain_requests(&mut world);
    let (stored, passed_on) = steps.split_at(steps.len() - 2);
    assert_eq!(passed_on, ["deliver a/b/c", "deliver t"], "{steps:?}");
    let stored: BTreeSet<&str> = stored.iter().map(String::as_str).collect();
    assert_eq!(stored, ["retain a/b/c", "mark ", "mark a", "mark a/b"].into());
    let expected = [("a/b/c".to_owned(), "x".to_owned(), 0, false), ("t".to_owned(), "y".to_owned(), 0, false)];
    assert_eq!(world.messages(subscriber), expected, "[MQTT-3.3.1-12] live copies have RETAIN 0");
    assert_eq!(world.acknowledged(publisher), [(1, ReasonCode::Success)]);
    world.send(publisher, retained("a/b/d", "", Qos::AtLeastOnce, 2));
    assert_eq!(retain_requests(&mut world)[0], "retain a/b/d", "marks are asked for once; an empty one deletes");
}

#[test]
fn a_retained_message_that_can_not_be_stored_is_passed_on_only_with_qos_0() {
    for (qos, packet_id, expected) in [(Qos::AtLeastOnce, 1, 0), (Qos::AtMostOnce, 0, 1)] {
        let mut world = World::new();
        let (publisher, subscriber) = (world.client(1, connect("p")), world.client(2, connect("s")));
        world.send(subscriber, subscribe(1, &[("#", Qos::AtMostOnce)]));
        world.take(subscriber);
        world.script(|_, request| match request {
            Request::Router(RouterRequest::Retain(_)) => Some(Reply::Refused(Refusal::Unavailable)),
            _ => None,
        });
        world.send(publisher, retained("t", "x", qos, packet_id));
        assert_eq!(world.messages(subscriber).len(), expected, "{qos:?}");
        if qos > Qos::AtMostOnce {
            assert_eq!(world.acknowledged(publisher), [(1, ReasonCode::ImplementationSpecificError)]);
        }
    }
}

#[test]
fn requests_and_other_topics_of_the_server_are_not_retained() {
    let mut world = World::new();
    let publisher = world.client(1, connect("p"));
    world.send(publisher, retained("$aws/things/t/shadow/get", "", Qos::AtMostOnce, 0));
    assert!(!retain_requests(&mut world).iter().any(|step| step.starts_with("retain")));
}

#[test]
fn a_new_subscription_gets_every_page_of_every_router_after_its_suback() {
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    let home = ShardMap::new(2).place(b"a");
    world.script(move |address, request| match request {
        Request::Router(RouterRequest::Retained { after, .. }) if *address == Address::Router(home) => {
            Some(match after.as_deref() {
                None => page(&["a", "a/1"], Some("a/1"), true),
                Some(_) => page(&["a/2"], None, true),
            })
        }
        Request::Router(RouterRequest::Retained { .. }) => Some(page(&["a/3/4", "other"], None, false)),
        _ => None,
    });
    world.send(connection, subscribe(1, &[("a/#", Qos::AtMostOnce)]));
    let packets = world.take(connection);
    assert!(matches!(packets[0], Packet::SubAck(_)), "{packets:?}");
    let topics: Vec<String> = packets[1..]
        .iter()
        .map(|packet| match packet {
            Packet::Publish(publish) if publish.retain && publish.qos == Qos::AtMostOnce => publish.topic.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(topics, ["a", "a/1", "a/2", "a/3/4"], "[MQTT-3.3.1-8], [MQTT-3.8.4-8]");
    world.wait(2_000);
    assert!(world.node.is_at_rest());
}

#[test]
fn retain_handling_says_whether_retained_messages_come() {
    let rows = [
        ("a", RetainHandling::SendAtSubscribe, [true, true]),
        ("a", RetainHandling::SendIfNew, [true, false]),
        ("a", RetainHandling::DoNotSend, [false, false]),
        ("$share/g/a", RetainHandling::SendAtSubscribe, [false, false]),
    ];
    for (filter, retain_handling, expected) in rows {
        let mut world = World::new();
        let connection = world.client(1, connect("a"));
        world.script(|_, request| match request {
            Request::Router(RouterRequest::Retained { .. }) => Some(page(&["a"], None, false)),
            _ => None,
        });
        let came = [1, 2].map(|packet_id| {
            let request = SubscriptionRequest { retain_handling, ..SubscriptionRequest::new(filter, Qos::AtMostOnce) };
            let filters = [request].into();
            let properties = SubscribeProperties::default();
            world.send(connection, Packet::Subscribe(Subscribe { packet_id: id(packet_id), filters, properties }));
            !world.messages(connection).is_empty()
        });
        assert_eq!(came, expected, "[MQTT-3.3.1-9] to [MQTT-3.3.1-11] {filter} {retain_handling:?}");
    }
}

#[test]
fn aws_sends_none_to_filters_with_wildcards() {
    for (filter, expected) in [("a/#", false), ("a/b", true)] {
        let mut world = World::aws();
        let connection = world.client(1, connect("a"));
        world.send(connection, subscribe(1, &[(filter, Qos::AtMostOnce)]));
        let asked =
            world.asked(|_, request| matches!(request, Request::Router(RouterRequest::Retained { .. })).then_some(()));
        assert_eq!(!asked.is_empty(), expected, "{filter}");
    }
}

#[test]
fn a_stored_copy_that_is_older_than_what_came_live_is_left_out() {
    for (limit, live) in [(4_096, 1), (1, 3)] {
        let limits = BrokerLimits { maximum_replay_topics: limit, ..BrokerLimits::STANDARD };
        let mut world = World::with(settings(limits, SessionSettings::STANDARD, TopicLimits::STANDARD));
        let (subscriber, publisher) = (world.client(1, connect("s")), world.client(2, connect("p")));
        world.frame(subscriber, &[subscribe(1, &[("t/#", Qos::AtMostOnce)])]);
        // Everything but the page is answered.
        let is_page = |call: &Call| {
            call.batch.requests.iter().any(|r| matches!(r, Request::Router(RouterRequest::Retained { .. })))
        };
        while let Some(at) = world.calls.iter().position(|call| !is_page(call)) {
            let call = world.calls.remove(at);
            world.answer_call(call);
        }
        let page_call = world.calls.pop().expect("the page is asked for");
        world.script(|_, request| match request {
            Request::Router(RouterRequest::Retained { .. }) => Some(page(&["t/0", "t/1", "t/2"], None, false)),
            _ => None,
        });
        for number in 0..live {
            let publication = Publication {
                retain: true,
                ..Publication::of_platform(format!("t/{number}"), "new", Qos::AtMostOnce, START)
            };
            world.ask(Address::Broker(other_broker(1)), BrokerRequest::Deliver(publication));
        }
        let not_retained = Publication::of_platform("t/2".into(), "passing", Qos::AtMostOnce, START);
        world.ask(Address::Broker(other_broker(1)), BrokerRequest::Deliver(not_retained));
        if limit == 1 {
            // The page on its way may be older than what came; the next one is not.
            world.script(|_, request| match request {
                Request::Router(RouterRequest::Retained { .. }) => Some(page(&["t/0"], None, false)),
                _ => None,
            });
        }
        world.answer_call(page_call);
        world.settle();
        let _ = publisher;
        let copies: Vec<(String, bool)> =
            world.messages(subscriber).into_iter().map(|(topic, _, _, retain)| (topic, retain)).collect();
        let stored: Vec<&str> = copies.iter().filter(|(_, retain)| *retain).map(|(topic, _)| topic.as_str()).collect();
        let expected: &[&str] = if limit == 1 { &["t/0"] } else { &["t/1", "t/2"] };
        assert_eq!(stored, expected, "{copies:?}");
    }
}

#[test]
fn a_page_that_can_not_be_had_is_asked_for_again_and_then_given_up() {
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    world.script(|_, request| match request {
        Request::Router(RouterRequest::Retained { .. }) => Some(Reply::Refused(Refusal::Unavailable)),
        _ => None,
    });
    world.send(connection, subscribe(1, &[("a", Qos::AtMostOnce)]));
    for _ in 0..10 {
        world.wait(1_000);
    }
    assert_eq!(world.count_logs("retained_not_sent"), 1);
    assert!(world.node.is_at_rest());
}

#[test]
fn a_subscription_that_ends_during_its_replay_gets_no_more_of_it() {
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    world.script(|_, request| match request {
        Request::Router(RouterRequest::Retained { after, .. }) => {
            Some(page(&[if after.is_some() { "a/2" } else { "a/1" }], Some("a/1"), false))
        }
        _ => None,
    });
    world.frame(connection, &[subscribe(1, &[("a/#", Qos::AtMostOnce)])]);
    for _ in 0..10 {
        if let Some(call) = world.calls.pop() {
            world.answer_call(call);
        }
    }
    world.take(connection);
    world.send(connection, unsubscribe(2, &["a/#"]));
    assert!(world.messages(connection).is_empty());
}

/// The Routers that pages are asked of in the calls under way.
fn asked_now(world: &World) -> Vec<Address> {
    let is_page = |request: &Request| matches!(request, Request::Router(RouterRequest::Retained { .. }));
    let asked = world.calls.iter().filter(|call| call.batch.requests.iter().any(is_page));
    asked.map(|call| call.target.clone()).collect()
}

#[test]
fn once_it_is_known_that_others_have_some_all_routers_are_asked_at_once() {
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    world.script(|_, request| match request {
        Request::Router(RouterRequest::Retained { .. }) => Some(page(&[], None, true)),
        _ => None,
    });
    let home = Address::Router(ShardMap::new(2).place(b"a"));
    for expected in [vec![home.clone()], vec![Address::Router(0), Address::Router(1)]] {
        world.frame(connection, &[subscribe(1, &[("a/#", Qos::AtMostOnce)])]);
        let is_page = |call: &Call| {
            call.batch.requests.iter().any(|r| matches!(r, Request::Router(RouterRequest::Retained { .. })))
        };
        while let Some(at) = world.calls.iter().position(|call| !is_page(call)) {
            let call = world.calls.remove(at);
            world.answer_call(call);
        }
        assert_eq!(asked_now(&world), expected);
        world.settle();
    }
    world.wait(2_000);
    assert!(world.node.is_at_rest());
}

#[test]
fn every_page_on_its_way_may_be_older_than_live_messages_that_are_not_remembered() {
    let limits = BrokerLimits { maximum_replay_topics: 1, ..BrokerLimits::STANDARD };
    let mut world = World::with(settings(limits, SessionSettings::STANDARD, TopicLimits::STANDARD));
    let subscriber = world.client(1, connect("s"));
    let old = |world: &mut World| {
        world.script(|_, request| match request {
            Request::Router(RouterRequest::Retained { .. }) => Some(page(&["t/0", "t/1"], None, true)),
            _ => None,
        });
    };
    old(&mut world);
    world.send(subscriber, subscribe(1, &[("t/#", Qos::AtMostOnce)]));
    world.take(subscriber);
    world.frame(subscriber, &[subscribe(2, &[("t/#", Qos::AtMostOnce)])]);
    let is_page =
        |call: &Call| call.batch.requests.iter().any(|r| matches!(r, Request::Router(RouterRequest::Retained { .. })));
    while let Some(at) = world.calls.iter().position(|call| !is_page(call)) {
        let call = world.calls.remove(at);
        world.answer_call(call);
    }
    let under_way = core::mem::take(&mut world.calls);
    assert_eq!(under_way.len(), 2);
    for number in 0..2 {
        let publication = Publication {
            retain: true,
            ..Publication::of_platform(format!("t/{number}"), "new", Qos::AtMostOnce, START)
        };
        world.ask(Address::Broker(other_broker(1)), BrokerRequest::Deliver(publication));
    }
    for call in under_way {
        world.answer_call(call);
    }
    let live = world.messages(subscriber).into_iter().filter(|(_, payload, _, retain)| payload == "new" && !retain);
    assert_eq!(live.count(), 2);
    world.script(|_, request| match request {
        Request::Router(RouterRequest::Retained { .. }) => Some(page(&["t/2"], None, true)),
        _ => None,
    });
    world.settle();
    let stored: Vec<String> = world.messages(subscriber).into_iter().map(|(topic, ..)| topic).collect();
    assert_eq!(stored, ["t/2", "t/2"], "a page of each Router, asked for anew");
}

#[test]
fn a_client_that_acknowledges_is_sent_one_small_page_at_a_time() {
    for (qos, limit) in [(Qos::AtMostOnce, 1_000), (Qos::AtLeastOnce, 100)] {
        let mut world = World::new();
        let connection = world.client(1, connect("a"));
        world.asked.clear();
        world.send(connection, subscribe(1, &[("a", qos)]));
        let limits = world.asked(|_, request| match request {
            Request::Router(RouterRequest::Retained { limit, .. }) => Some(*limit),
            _ => None,
        });
        assert_eq!(limits, [limit], "{qos:?}");
    }
}
