//! Plans: what is remembered of a topic, and what ends it.

use super::*;
use crate::StoredRule;

/// A node where what a publish to `t` comes to has been found out, and one client that gets it.
fn steady() -> (World, ConnectionId, ConnectionId) {
    let mut world = World::new();
    let (publisher, subscriber) = (world.client(1, connect("p")), world.client(2, connect("s")));
    world.send(subscriber, subscribe(1, &[("t", Qos::AtLeastOnce)]));
    for payload in ["first", "second"] {
        world.send(publisher, publish("t", payload, Qos::AtMostOnce, 0));
    }
    assert_eq!(world.messages(subscriber).len(), 2);
    world.asked.clear();
    (world, publisher, subscriber)
}

fn payloads(world: &mut World, connection: ConnectionId) -> Vec<String> {
    world.messages(connection).into_iter().map(|(_, payload, ..)| payload).collect()
}

#[test]
fn a_new_subscriber_gets_the_next_message() {
    for filter in ["t", "+", "#", "t/#"] {
        let (mut world, publisher, subscriber) = steady();
        let other = world.client(3, connect("o"));
        world.send(other, subscribe(1, &[(filter, Qos::AtLeastOnce)]));
        world.send(publisher, publish("t", "x", Qos::AtMostOnce, 0));
        assert_eq!(
            (payloads(&mut world, subscriber), payloads(&mut world, other)),
            (vec!["x".into()], vec!["x".into()])
        );
    }
}

#[test]
fn who_unsubscribes_or_goes_gets_no_more() {
    let (mut world, publisher, subscriber) = steady();
    world.send(subscriber, unsubscribe(2, &["t"]));
    world.send(publisher, publish("t", "x", Qos::AtMostOnce, 0));
    assert!(payloads(&mut world, subscriber).is_empty());

    let (mut world, publisher, subscriber) = steady();
    world.input(Input::Lost { connection: subscriber });
    world.settle();
    world.send(publisher, publish("t", "x", Qos::AtLeastOnce, 7));
    assert_eq!(world.acknowledged(publisher), [(7, ReasonCode::Success)], "nobody is left to wait for");
}

#[test]
fn a_subscription_that_is_replaced_changes_the_quality_of_service() {
    let (mut world, publisher, subscriber) = steady();
    world.send(subscriber, subscribe(2, &[("t", Qos::AtMostOnce)]));
    world.take(subscriber);
    world.send(publisher, publish("t", "x", Qos::AtLeastOnce, 7));
    assert_eq!(world.messages(subscriber), [("t".to_owned(), "x".to_owned(), 0, false)]);
}

#[test]
fn a_group_gets_the_next_message() {
    let (mut world, publisher, _) = steady();
    let member = world.client(3, connect("m"));
    world.send(member, subscribe(1, &[("$share/g/t", Qos::AtLeastOnce)]));
    world.send(publisher, publish("t", "x", Qos::AtMostOnce, 0));
    assert_eq!(payloads(&mut world, member), ["x"]);
}

#[test]
fn whoever_subscribes_elsewhere_gets_what_follows_the_revocation() {
    let (mut world, publisher, subscriber) = steady();
    world.subscribe_elsewhere("t", Destination::Broker(other_broker(1)));
    for router in [0, 1] {
        world.ask(Address::Router(router), BrokerRequest::Revoke { nodes: None });
    }
    world.send(publisher, publish("t", "x", Qos::AtMostOnce, 0));
    let delivered =
        world.asked(|_, request| matches!(request, Request::Broker(BrokerRequest::Deliver(_))).then_some(()));
    assert_eq!(delivered.len(), 1);
    assert_eq!(payloads(&mut world, subscriber), ["x"]);
}

#[test]
fn a_lease_that_is_not_renewed_ends_what_rests_on_it() {
    let (mut world, publisher, _) = steady();
    world.subscribe_elsewhere("t", Destination::Broker(other_broker(1)));
    world.now = world.now.plus_millis(120_000);
    world.send(publisher, publish("t", "x", Qos::AtMostOnce, 0));
    let delivered =
        world.asked(|_, request| matches!(request, Request::Broker(BrokerRequest::Deliver(_))).then_some(()));
    assert_eq!(delivered.len(), 1, "although no revocation came");
}

#[test]
fn a_rule_gets_the_next_message() {
    let (mut world, publisher, _) = steady();
    let program = rules::Program::compile("SELECT * FROM 't'", rules::SqlVersion::V2016).unwrap().encode();
    let rule_name = iot_types::RuleName::new("r").unwrap();
    let rules = vec![StoredRule { rule_name, program, actions: vec!["{}".into()] }];
    world.input(Input::RulesLoaded { sequence: 2, rules });
    world.send(publisher, publish("t", "{}", Qos::AtMostOnce, 0));
    assert_eq!(world.enqueued, 1);
}

#[test]
fn rules_are_read_again_each_minute_under_traffic_that_concerns_none() {
    let (mut world, publisher, subscriber) = steady();
    let begun = world.rule_loads;
    for second in 1..=130_u64 {
        world.wait(1_000);
        world.send(publisher, publish("t", "x", Qos::AtMostOnce, 0));
        if world.rule_loads > begun {
            assert!(second >= 59, "after {second} s");
            break;
        }
    }
    assert_eq!(world.rule_loads, begun + 1, "whoever missed an announcement finds out");
    assert!(!payloads(&mut world, subscriber).is_empty());
}

#[test]
fn a_message_beside_another_quality_of_service_and_version_is_the_same_for_all() {
    let (mut world, publisher, subscriber) = steady();
    let others = [3, 4].map(|number| world.client(number, connect(&format!("o{number}"))));
    world.send(others[0], subscribe(1, &[("t", Qos::AtMostOnce)]));
    world.send(others[1], subscribe(1, &[("#", Qos::ExactlyOnce)]));
    for connection in [subscriber, others[0], others[1]] {
        world.take(connection);
    }
    let packets = [publish("t", "a", Qos::AtLeastOnce, 7), publish("t", "b", Qos::AtMostOnce, 0)];
    world.frame(publisher, &packets);
    let expected = |qos| [("t".to_owned(), "a".to_owned(), qos, false), ("t".to_owned(), "b".to_owned(), 0, false)];
    for (connection, qos) in [(subscriber, 1), (others[0], 0), (others[1], 1)] {
        assert_eq!(world.messages(connection), expected(qos));
    }
    assert_eq!(world.acknowledged(publisher), [(7, ReasonCode::Success)]);
}

#[test]
fn a_topic_that_is_long_has_no_plan_and_arrives_all_the_same() {
    let (mut world, publisher, subscriber) = steady();
    let topic = "t".repeat(300);
    world.send(subscriber, subscribe(2, &[(&topic, Qos::AtMostOnce)]));
    world.take(subscriber);
    for _ in 0..3 {
        world.send(publisher, publish(&topic, "x", Qos::AtMostOnce, 0));
    }
    assert_eq!(payloads(&mut world, subscriber), ["x", "x", "x"]);
}
