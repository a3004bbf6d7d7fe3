//! Publishes: their receivers, their order, and when their publishers are told.

use super::*;
use crate::StoredRule;

/// Topics that were handed to other nodes and Sessions objects, in order.
fn handed_on(world: &mut World) -> Vec<(Address, String, bool)> {
    world
        .asked(|address, request| match request {
            Request::Sessions(SessionsRequest::Deliver { publication, ticket }) => {
                Some(vec![(address.clone(), publication.topic.clone(), ticket.is_some())])
            }
            request => {
                let topics = handed_over(request).into_iter().map(|message| message.topic);
                Some(topics.map(|topic| (address.clone(), topic, false)).collect())
            }
        })
        .into_iter()
        .flatten()
        .collect()
}

fn broker(index: u32) -> Destination {
    Destination::Broker(other_broker(index))
}

#[test]
fn a_message_goes_to_local_subscribers_at_once_and_to_the_others_that_leases_name() {
    let mut world = World::new();
    let (publisher, subscriber) = (world.client(1, connect("p")), world.client(2, connect("s")));
    world.send(subscriber, subscribe(1, &[("a/#", Qos::AtLeastOnce)]));
    world.take(subscriber);
    world.subscribe_elsewhere("a/b", broker(1));
    world.subscribe_elsewhere("a/+", broker(1));
    world.subscribe_elsewhere("#", Destination::Sessions(1));
    world.subscribe_elsewhere("x", broker(2));
    world.wait(61_000);
    world.asked.clear();
    world.frame(publisher, &[publish("a/b", "1", Qos::AtLeastOnce, 1)]);
    assert_eq!(world.messages(subscriber).len(), 1, "before any other object has answered");
    assert!(world.acknowledged(publisher).is_empty());
    world.settle();
    let expected =
        [(Address::Broker(other_broker(1)), "a/b".to_owned(), false), (Address::Sessions(1), "a/b".to_owned(), true)];
    assert_eq!(handed_on(&mut world), expected, "one copy for each");
    assert_eq!(world.acknowledged(publisher), [(1, ReasonCode::Success)]);
    world.send(publisher, publish("a/b", "2", Qos::AtMostOnce, 0));
    let asked = world.asked(|_, request| matches!(request, Request::Router(_)).then_some(()));
    assert!(asked.is_empty(), "the leases are still good");
    world.send(publisher, publish("a/b", "3", Qos::AtMostOnce, 0));
    assert!(handed_on(&mut world).iter().all(|(.., is_waited_for)| !is_waited_for), "nobody waits for QoS 0");
}

#[test]
fn an_earlier_instance_of_a_router_lends_nothing_once_its_successor_was_heard() {
    let mut world = World::new();
    let publisher = world.client(1, connect("p"));
    world.frame(publisher, &[publish("t", "x", Qos::AtMostOnce, 0)]);
    let asked = core::mem::take(&mut world.calls);
    let router = asked.iter().map(|call| call.target.clone()).find(|target| matches!(target, Address::Router(_)));
    let router = router.expect("a lease is asked for");
    // The successor takes leases back; the answer of the instance before it is still under way.
    let sender = Sender { address: router.clone(), epoch: 0, instance: 200, number: 1 };
    world.node.call(world.now, Batch { sender: Some(sender), requests: Vec::new() });
    world.subscribe_elsewhere("t", broker(1));
    for call in asked.iter().filter(|call| call.target == router) {
        let replies = call.batch.requests.iter().map(|request| world.answer(request)).collect();
        let reply = BatchReply { epoch: 100, replies };
        world.input(Input::Answered { target: router.clone(), reply: Some(reply) });
    }
    assert_eq!(handed_on(&mut world), [], "its word counts as a failed call");
    world.wait(100);
    assert_eq!(handed_on(&mut world).len(), 1, "the successor is asked instead");
}

#[test]
fn nodes_are_asked_for_from_the_root_only_as_far_as_there_are_filters() {
    let mut world = World::new();
    let publisher = world.client(1, connect("p"));
    world.subscribe_elsewhere("a/b/+", broker(1));
    world.send(publisher, publish("a/b/c/d/e", "1", Qos::AtMostOnce, 0));
    let nodes: BTreeSet<String> = world
        .asked(|_, request| match request {
            Request::Router(RouterRequest::Lease { nodes }) => Some(nodes.clone()),
            _ => None,
        })
        .into_iter()
        .flatten()
        .collect();
    assert!(["", "a", "a/b"].iter().all(|node| nodes.contains(*node)), "{nodes:?}");
    assert!(!nodes.contains("a/b/c/d"), "nothing is below a/b: {nodes:?}");
}

#[test]
fn publishes_of_one_publisher_keep_their_order_and_a_stuck_topic_holds_up_nobody_else() {
    let mut world = World::new();
    let (slow, quick) = (world.client(1, connect("slow")), world.client(2, connect("quick")));
    for filter in ["stuck/+", "free/+"] {
        world.subscribe_elsewhere(filter, broker(1));
    }
    world.send(quick, publish("free/0", "x", Qos::AtMostOnce, 0));
    world.asked.clear();
    world.frame(slow, &[publish("stuck/1", "x", Qos::AtMostOnce, 0), publish("free/2", "x", Qos::AtMostOnce, 0)]);
    let leases = core::mem::take(&mut world.calls);
    assert!(!leases.is_empty(), "the node `stuck` is asked for");
    world.send(quick, publish("free/3", "x", Qos::AtMostOnce, 0));
    world.input(Input::PublishRequest {
        request: 1,
        publication: Publication::of_platform("free/4".into(), "x", Qos::AtMostOnce, START),
    });
    world.settle();
    let topics = |world: &mut World| handed_on(world).into_iter().map(|(_, topic, _)| topic).collect::<Vec<_>>();
    assert_eq!(topics(&mut world), ["free/3", "free/4"]);
    world.calls = leases;
    world.settle();
    assert_eq!(topics(&mut world), ["stuck/1", "free/2"], "[MQTT-4.6.0-6]");
}

#[test]
fn puback_waits_until_every_receiver_has_the_message() {
    let rows = [
        (Reply::Applied, ReasonCode::Success),
        (Reply::Refused(Refusal::Unavailable), ReasonCode::ImplementationSpecificError),
        (Reply::Refused(Refusal::Full), ReasonCode::ImplementationSpecificError),
    ];
    for (answer, expected) in rows {
        for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let mut world = World::new();
            let publisher = world.client(1, connect("p"));
            world.subscribe_elsewhere("t", Destination::Sessions(0));
            world.subscribe_elsewhere("t", broker(1));
            let reply = answer.clone();
            world.script(move |_, request| match request {
                Request::Sessions(SessionsRequest::Deliver { .. }) => Some(reply.clone()),
                _ => None,
            });
            world.send(publisher, publish("t", "x", qos, 1));
            assert_eq!(world.acknowledged(publisher), [(1, expected)], "{answer:?} {qos:?}");
        }
    }
}

#[test]
fn a_receiver_that_takes_its_time_settles_later_or_fails_the_publish() {
    for (outcome, expected) in [
        (Some(true), ReasonCode::Success),
        (Some(false), ReasonCode::ImplementationSpecificError),
        (None, ReasonCode::ImplementationSpecificError),
    ] {
        for is_early in [false, true] {
            let mut world = World::new();
            let publisher = world.client(1, connect("p"));
            world.subscribe_elsewhere("t", Destination::Sessions(0));
            world.script(|_, request| match request {
                Request::Sessions(SessionsRequest::Deliver { .. }) => Some(Reply::Pending),
                _ => None,
            });
            // Leases first, so that only the delivery is under way.
            world.send(publisher, publish("t", "x", Qos::AtMostOnce, 0));
            world.asked.clear();
            world.frame(publisher, &[publish("t", "x", Qos::AtLeastOnce, 1)]);
            let ticket = world.calls.iter().flat_map(|call| &call.batch.requests).find_map(|request| match request {
                Request::Sessions(SessionsRequest::Deliver { ticket, .. }) => *ticket,
                _ => None,
            });
            let settled = outcome.map(|is_safe| BrokerRequest::Settled { tickets: vec![(ticket.unwrap(), is_safe)] });
            if is_early && let Some(settled) = settled.clone() {
                world.ask(Address::Sessions(0), settled);
            }
            world.settle();
            if !is_early {
                assert!(world.acknowledged(publisher).is_empty());
                if let Some(settled) = settled {
                    world.ask(Address::Sessions(0), settled);
                }
            }
            if outcome.is_none() {
                world.wait(4_999);
                assert!(world.acknowledged(publisher).is_empty(), "five seconds are not over");
                world.wait(1);
            }
            assert_eq!(world.acknowledged(publisher), [(1, expected)], "{outcome:?}, early: {is_early}");
        }
    }
}

#[test]
fn what_is_for_an_earlier_memory_of_the_node_settles_nothing() {
    let ticket_of = |world: &mut World| {
        let publisher = world.client(1, connect("p"));
        world.subscribe_elsewhere("t", Destination::Sessions(0));
        world.script(|_, request| match request {
            Request::Sessions(SessionsRequest::Deliver { .. }) => Some(Reply::Pending),
            _ => None,
        });
        world.send(publisher, publish("t", "x", Qos::AtLeastOnce, 1));
        let tickets = world.asked(|_, request| match request {
            Request::Sessions(SessionsRequest::Deliver { ticket, .. }) => *ticket,
            _ => None,
        });
        (publisher, tickets[0])
    };
    let (_, earlier) = ticket_of(&mut World::new());
    let mut world = World::new();
    world.now = START.plus_millis(1);
    world.node = Broker::new(
        settings(BrokerLimits::STANDARD, SessionSettings::STANDARD, TopicLimits::STANDARD),
        EPOCH,
        world.now,
    );
    world.input(Input::RulesLoaded { sequence: 1, rules: Vec::new() });
    let (publisher, later) = ticket_of(&mut world);
    world.ask(Address::Sessions(0), BrokerRequest::Settled { tickets: vec![(earlier, true)] });
    assert!(world.acknowledged(publisher).is_empty());
    world.ask(Address::Sessions(0), BrokerRequest::Settled { tickets: vec![(later, true)] });
    assert_eq!(world.acknowledged(publisher), [(1, ReasonCode::Success)]);
}

#[test]
fn a_router_that_can_not_be_asked_fails_publishes_that_need_it() {
    let mut world = World::new();
    let publisher = world.client(1, connect("p"));
    world.script(|address, _| matches!(address, Address::Router(_)).then_some(Reply::Refused(Refusal::Unavailable)));
    world.frame(publisher, &[publish("t", "x", Qos::AtLeastOnce, 1), publish("t", "x", Qos::AtMostOnce, 0)]);
    for _ in 0..20 {
        world.settle();
        world.wait(1_000);
    }
    assert_eq!(world.acknowledged(publisher), [(1, ReasonCode::ImplementationSpecificError)]);
    assert!(world.node.is_at_rest() || !world.closed.contains_key(&publisher));
    world.unscript();
    world.wait(5_000);
    world.send(publisher, publish("t", "x", Qos::AtLeastOnce, 2));
    assert_eq!(world.acknowledged(publisher), [(2, ReasonCode::Success)]);
}

#[test]
fn a_revoked_lease_is_asked_for_again_before_the_next_publish() {
    let mut world = World::new();
    let publisher = world.client(1, connect("p"));
    world.send(publisher, publish("a/b", "x", Qos::AtMostOnce, 0));
    world.subscribe_elsewhere("a/b", broker(1));
    world.asked.clear();
    for router in [0, 1] {
        let reply = world.ask(Address::Router(router), BrokerRequest::Revoke { nodes: None });
        assert_eq!(reply, Reply::Applied);
    }
    world.send(publisher, publish("a/b", "x", Qos::AtMostOnce, 0));
    assert_eq!(handed_on(&mut world).len(), 1, "everything published after a SUBACK arrives");
}

#[test]
fn nodes_too_large_to_be_lent_are_asked_about_each_topic() {
    let mut world = World::new();
    let publisher = world.client(1, connect("p"));
    world.script(|_, request| match request {
        Request::Router(RouterRequest::Lease { nodes }) => Some(Reply::Leases(
            nodes
                .iter()
                .map(|node| NodeView {
                    node: node.clone(),
                    is_large: node == "big",
                    has_filters_below: node.is_empty(),
                    ..NodeView::default()
                })
                .collect(),
        )),
        Request::Router(RouterRequest::Route { topic, .. }) => {
            Some(Reply::Route(vec![(topic.clone(), vec![Destination::Broker(other_broker(1))])]))
        }
        _ => None,
    });
    for number in 1..=2 {
        world.send(publisher, publish("big/x", "x", Qos::AtLeastOnce, number));
        assert_eq!(handed_on(&mut world).len(), 1);
    }
    assert_eq!(world.acknowledged(publisher).len(), 2);
}

#[test]
fn messages_of_qos_2_have_names_that_never_come_twice() {
    let mut world = World::new();
    let (a, b) = (world.client(1, connect("a")), world.client(2, connect("b")));
    world.subscribe_elsewhere("#", broker(1));
    for (connection, packet_id) in [(a, 1), (a, 2), (b, 1)] {
        world.send(connection, publish("t", "x", Qos::ExactlyOnce, packet_id));
    }
    let names = world.asked(|_, request| match request {
        Request::Broker(BrokerRequest::Deliver(publication)) => Some(publication.message_id),
        _ => None,
    });
    assert_eq!(names.len(), 3);
    assert!(names.iter().all(Option::is_some));
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 3, "{names:?}");
    assert!(matches!(world.take(a)[..], [Packet::PubRec(_), Packet::PubRec(_)]), "[MQTT-4.3.3-8]");
    world.send(a, publish("t", "x", Qos::ExactlyOnce, 1));
    let again = world.asked(|_, request| matches!(request, Request::Broker(_)).then_some(()));
    assert!(again.is_empty(), "[MQTT-4.3.3-10] it is not published again before PUBREL");
    world.send(a, Packet::PubRel(PubRel::new(id(1))));
    assert!(matches!(world.take(a)[..], [Packet::PubRec(_), Packet::PubComp(_)]), "[MQTT-4.3.3-11]");
}

#[test]
fn two_clients_with_the_same_connection_number_give_their_messages_different_names() {
    let mut world = World::new();
    world.script(|_, request| match request {
        Request::Sessions(SessionsRequest::Claim { .. }) => {
            let grant = Grant { number: START.0, session_present: false, subscriptions: BTreeMap::new() };
            Some(Reply::Claim(ClaimReply::Granted(Box::new(grant))))
        }
        _ => None,
    });
    world.subscribe_elsewhere("#", broker(1));
    for connection in [(1, "a"), (2, "b")].map(|(connection, client_id)| world.client(connection, connect(client_id))) {
        world.frame(connection, &[publish("t", "x", Qos::ExactlyOnce, 1)]);
    }
    world.settle();
    let names: BTreeSet<_> = world
        .asked(|_, request| match request {
            Request::Broker(BrokerRequest::Deliver(publication)) => publication.message_id,
            _ => None,
        })
        .into_iter()
        .collect();
    assert_eq!(names.len(), 2);
}

#[test]
fn aws_does_not_match_the_parent_of_a_multi_level_wildcard() {
    for (mut world, expected) in [(World::new(), 1), (World::aws(), 0)] {
        let connection = world.client(1, connect("a"));
        world.send(connection, subscribe(1, &[("sensor/#", Qos::AtMostOnce)]));
        world.take(connection);
        world.send(connection, publish("sensor", "x", Qos::AtMostOnce, 0));
        assert_eq!(world.messages(connection).len(), expected);
    }
}

#[test]
fn one_copy_for_each_client_with_the_highest_qos_and_every_identifier() {
    let mut world = World::new();
    let connection = world.client(1, connect("a"));
    for (packet_id, filter, qos, no_local) in
        [(1, "a/#", Qos::AtMostOnce, false), (2, "a/+", Qos::AtLeastOnce, false), (3, "#", Qos::ExactlyOnce, true)]
    {
        let properties = SubscribeProperties {
            subscription_identifier: Some(u32::from(packet_id)),
            ..SubscribeProperties::default()
        };
        let filters = [SubscriptionRequest { no_local, ..SubscriptionRequest::new(filter, qos) }].into();
        world.send(connection, Packet::Subscribe(Subscribe { packet_id: id(packet_id), filters, properties }));
    }
    world.take(connection);
    world.send(connection, publish("a/b", "x", Qos::AtMostOnce, 0));
    world.ask(
        Address::Broker(other_broker(1)),
        BrokerRequest::Deliver(Publication::of_platform("a/b".into(), "y", Qos::ExactlyOnce, START)),
    );
    let mut received = world.take(connection).into_iter().filter_map(|packet| match packet {
        Packet::Publish(publish) => Some((publish.qos, publish.properties.subscription_identifiers.clone())),
        _ => None,
    });
    let mut next = || {
        received.next().map(|(qos, mut identifiers)| {
            identifiers.sort_unstable();
            (qos, identifiers)
        })
    };
    assert_eq!(next(), Some((Qos::AtMostOnce, vec![1, 2])), "[MQTT-3.8.3-3] no local");
    assert_eq!(next(), Some((Qos::ExactlyOnce, vec![1, 2, 3])), "[MQTT-3.3.4-2], [MQTT-3.3.4-3]");
    assert_eq!(next(), None);
}

#[test]
fn puback_waits_for_rules_unless_aws_is_to_be_like() {
    for (mut world, waits) in [(World::new(), true), (World::aws(), false)] {
        let program = rules::Program::compile("SELECT * FROM 'r'", rules::SqlVersion::V2016).unwrap().encode();
        let rule_name = iot_types::RuleName::new("r").unwrap();
        let rules = vec![StoredRule { rule_name, program, actions: vec!["{}".into()] }];
        world.input(Input::RulesLoaded { sequence: 2, rules });
        let publisher = world.client(1, connect("p"));
        world.send(publisher, publish("r", "{}", Qos::AtLeastOnce, 1));
        assert_eq!(world.enqueued, 1);
        assert_eq!(world.acknowledged(publisher).is_empty(), waits);
        assert!(!world.node.is_at_rest(), "the queue has not taken it");
        world.input(Input::Enqueued { accepted: true });
        assert_eq!(world.acknowledged(publisher).len(), usize::from(waits));
        world.wait(2_000);
        assert!(world.node.is_at_rest());
    }
}

#[test]
fn a_publish_request_is_answered_when_the_message_is_safe() {
    let rows = [
        ("t", Qos::AtLeastOnce, Reply::Applied, BrokerApiReply::Done),
        ("t", Qos::AtLeastOnce, Reply::Refused(Refusal::Unavailable), BrokerApiReply::Failed(ApiFailure::NotSafe)),
        ("t", Qos::AtMostOnce, Reply::Refused(Refusal::Unavailable), BrokerApiReply::Done),
        ("$umbra/t", Qos::AtMostOnce, Reply::Applied, BrokerApiReply::Failed(ApiFailure::NotAuthorized)),
        ("a/+/b", Qos::AtMostOnce, Reply::Applied, BrokerApiReply::Failed(ApiFailure::NotAuthorized)),
    ];
    for (topic, qos, reply, expected) in rows {
        let mut world = World::new();
        world.subscribe_elsewhere("t", Destination::Sessions(0));
        let answer = reply.clone();
        world.script(move |_, request| match request {
            Request::Sessions(SessionsRequest::Deliver { .. }) => Some(answer.clone()),
            _ => None,
        });
        let publication = Publication::of_platform(topic.into(), "x", qos, START);
        world.input(Input::PublishRequest { request: 7, publication });
        world.settle();
        assert_eq!(world.published, [(7, expected)], "{topic} {qos:?} {reply:?}");
    }
}

#[test]
fn a_request_to_a_shadow_reaches_its_thing_from_clients_and_from_the_api() {
    use messages::thing::{ThingReply, ThingRequest};
    for from_api in [false, true] {
        let mut world = World::new();
        let client = world.client(1, connect("t"));
        world.send(client, subscribe(1, &[("$aws/things/t/shadow/get/accepted", Qos::AtMostOnce)]));
        world.take(client);
        world.script(|_, request| match request {
            Request::Thing(ThingRequest::Shadow { .. }) => {
                let topic = "$aws/things/t/shadow/get/accepted".to_owned();
                let publications = vec![Publication::of_platform(topic, "{}", Qos::AtMostOnce, START)];
                Some(Reply::Thing(ThingReply { direct: None, publications, http: None }))
            }
            _ => None,
        });
        let topic = "$aws/things/t/shadow/get";
        if from_api {
            let publication = Publication::of_platform(topic.into(), "", Qos::AtLeastOnce, START);
            world.input(Input::PublishRequest { request: 1, publication });
            world.settle();
            assert_eq!(world.published, [(1, BrokerApiReply::Done)]);
        } else {
            world.send(client, publish(topic, "", Qos::AtMostOnce, 0));
        }
        assert_eq!(world.messages(client).len(), 1, "from the API: {from_api}");
    }
}

#[test]
fn what_has_to_come_first_is_not_waited_for_longer_than_anything_else() {
    for (qos, packet_id) in [(Qos::AtLeastOnce, 1), (Qos::AtMostOnce, 0)] {
        let mut world = World::new();
        let connection = world.client(1, connect("a"));
        world.send(connection, subscribe(1, &[("#", Qos::AtMostOnce)]));
        world.take(connection);
        // The Router that is to store the message has it, and says nothing.
        world.frame(connection, &[retained("t", "x", qos, packet_id), publish("u", "y", Qos::AtMostOnce, 0)]);
        let is_of_t = |call: &Call| call.target == Address::router_of_node("t", &ShardMap::new(2));
        world.calls.retain(|call| !is_of_t(call));
        world.settle();
        assert!(world.take(connection).is_empty());
        world.now = world.now.plus_millis(5_000);
        world.input(Input::Tick);
        let received = world.take(connection);
        let is_refused = |packet: &Packet| matches!(packet, Packet::PubAck(ack) if ack.reason_code == ReasonCode::ImplementationSpecificError);
        assert_eq!(received.iter().any(is_refused), packet_id > 0, "{received:?}");
        let topics: Vec<&str> = received
            .iter()
            .filter_map(|packet| match packet {
                Packet::Publish(publish) => Some(&*publish.topic),
                _ => None,
            })
            .collect();
        let expected: &[&str] = if packet_id > 0 { &["u"] } else { &["t", "u"] };
        assert_eq!(topics, expected, "QoS 0 does not come again, and what is behind goes on");
    }
}

#[test]
fn a_shard_that_has_moved_is_asked_where_it_is_now() {
    // Everything is answered by object 7 alone, which has every virtual shard.
    let mut world = World::new();
    world.subscribe_elsewhere("#", Destination::Broker(other_broker(1)));
    world.script(|address, request| {
        let key = match request {
            Request::Router(RouterRequest::Subscribe { filter, .. }) => node_of(filter).to_owned(),
            Request::Router(RouterRequest::Lease { nodes }) => nodes[0].clone(),
            Request::Router(RouterRequest::Retain(publication)) => publication.topic.clone(),
            Request::Router(RouterRequest::Mark { node, .. }) => node.clone(),
            Request::Router(RouterRequest::Retained { filter, .. }) => node_of(filter).to_owned(),
            Request::Router(_) => return None,
            Request::Sessions(
                SessionsRequest::Claim { client_id, .. }
                | SessionsRequest::Receive { client_id, .. }
                | SessionsRequest::ReceiveSettled { client_id, .. }
                | SessionsRequest::PubRel { client_id, .. }
                | SessionsRequest::Subscribe { client_id, .. }
                | SessionsRequest::Unsubscribe { client_id, .. }
                | SessionsRequest::Acknowledge { client_id, .. }
                | SessionsRequest::Release { client_id, .. },
            ) => client_id.as_str().to_owned(),
            _ => return None,
        };
        let shard = ShardMap::virtual_shard(key.as_bytes());
        let is_there = matches!(address, Address::Router(7) | Address::Sessions(7));
        (!is_there).then_some(Reply::Refused(Refusal::Moved { shard, to: 7 }))
    });
    let steps: [Packet; 7] = [
        subscribe(1, &[("s", Qos::AtMostOnce)]),
        retained("r", "x", Qos::AtLeastOnce, 2),
        publish("q", "x", Qos::ExactlyOnce, 3),
        Packet::PubRel(PubRel::new(id(3))),
        unsubscribe(4, &["s"]),
        Packet::PubAck(PubAck::new(id(9))),
        Packet::Disconnect(Disconnect::new(ReasonCode::Success)),
    ];
    for (number, connect) in [(1, connect("clean")), (2, durable("durable"))] {
        let connection = world.client(number, connect);
        let answers: Vec<Vec<Packet>> = steps
            .iter()
            .map(|step| {
                // Told anew each time, so that every request meets a map that is out of date.
                world.send(connection, step.clone());
                world.take(connection)
            })
            .collect();
        assert!(
            matches!(
                &answers.concat()[..],
                [Packet::SubAck(sub), Packet::PubAck(ack), Packet::PubRec(rec), Packet::PubComp(_), Packet::UnsubAck(_)]
                    if !sub.reason_codes[0].is_error() && !ack.reason_code.is_error() && !rec.reason_code.is_error()
            ),
            "{answers:?}"
        );
    }
    assert!(world.node.is_at_rest());
    assert!(!world.is_stopped);
}

#[test]
fn nothing_wakes_the_node_for_what_is_done() {
    let mut world = World::new();
    let publisher = world.client(1, connect("p"));
    world.subscribe_elsewhere("t", Destination::Sessions(0));
    world.script(|_, request| match request {
        Request::Sessions(SessionsRequest::Deliver { .. }) => Some(Reply::Pending),
        _ => None,
    });
    world.send(publisher, publish("t", "x", Qos::AtLeastOnce, 1));
    assert_eq!(world.node.next_retry(), Some(world.now.plus_millis(5_000)));
    let tickets = world.asked(|_, request| match request {
        Request::Sessions(SessionsRequest::Deliver { ticket, .. }) => *ticket,
        _ => None,
    });
    world.ask(Address::Sessions(0), BrokerRequest::Settled { tickets: vec![(tickets[0], true)] });
    assert_eq!(world.node.next_retry(), None);
}

/// What Sessions objects heard of their wills and presence events.
fn announced(world: &mut World) -> Vec<(Address, Vec<(u64, bool)>)> {
    world.asked(|address, request| match request {
        Request::Sessions(SessionsRequest::Announced { tickets }) => Some((address.clone(), tickets.clone())),
        _ => None,
    })
}

#[test]
fn a_sessions_object_hears_when_its_will_is_safe_with_everybody() {
    let mut world = World::new();
    world.client(1, connect("c"));
    let will = |ticket| {
        let publication = Publication::of_platform("w".into(), "gone", Qos::AtLeastOnce, UnixMillis(0));
        BrokerRequest::Announce { publication, ticket }
    };
    assert_eq!(world.ask(Address::Sessions(1), will(1)), Reply::Pending, "no leases yet");
    world.settle();
    assert_eq!(announced(&mut world), [(Address::Sessions(1), vec![(1, true)])]);
    world.asked.clear();
    assert_eq!(world.ask(Address::Sessions(1), will(2)), Reply::Applied, "nobody wants it, and that is known");
    world.settle();
    assert_eq!(announced(&mut world), []);
    world.subscribe_elsewhere("w", Destination::Sessions(0));
    world.wait(61_000);
    world.asked.clear();
    world.script(|_, request| match request {
        Request::Sessions(SessionsRequest::Deliver { .. }) => Some(Reply::Refused(Refusal::Full)),
        _ => None,
    });
    assert_eq!(world.ask(Address::Sessions(1), will(3)), Reply::Pending);
    world.settle();
    world.wait(10_000);
    world.settle();
    assert_eq!(announced(&mut world), [(Address::Sessions(1), vec![(3, false)])]);
    assert!(world.node.is_at_rest());
    let refused = world.ask(Address::Router(1), will(4));
    assert_eq!(refused, Reply::Refused(Refusal::WrongClass), "only Sessions objects have wills");
}
