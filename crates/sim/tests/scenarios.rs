//! One promise at a time, across nodes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use broker::StoredRule;
use iot_types::{Qos, RuleName, ThingName};
use messages::address::Address;
use messages::broker::BrokerRequest;
use messages::thing::ThingReply;
use mqtt_codec::{ProtocolVersion, ReasonCode};
use rules::{Program, SqlVersion};
use sim::{ClientKey, ClientOptions, Faults, World, WorldSettings, model};
use std::cell::Cell;
use std::rc::Rc;

fn world(brokers: u32) -> World {
    World::new(WorldSettings { brokers, ..WorldSettings::default() })
}

fn connected(world: &mut World, options: ClientOptions) -> ClientKey {
    let client = world.connect(options);
    world.run_for(50);
    assert!(world.client(client).is_connected());
    client
}

fn subscribed(world: &mut World, options: ClientOptions, filter: &str) -> ClientKey {
    let client = connected(world, options);
    world.subscribe(client, &[filter], Qos::AtLeastOnce);
    world.run_for(50);
    assert_eq!(granted(world, client), Some(ReasonCode::GrantedQos1));
    client
}

fn granted(world: &World, client: ClientKey) -> Option<ReasonCode> {
    world.client(client).subscriptions.last()?.answered.map(|(_, code)| code)
}

fn acknowledged(world: &World, number: usize) -> Option<ReasonCode> {
    world.published()[number].acknowledged.map(|(_, code)| code)
}

/// Everything ends well: it becomes quiet, and the model agrees with all that happened.
fn ends_well(world: &mut World) {
    assert!(world.settle(60_000), "something never ends");
    let violations = model::violations(world);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_publish_crosses_nodes_in_both_versions() {
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5] {
        let mut world = world(3);
        let options = |id: &str, broker| ClientOptions { version, ..ClientOptions::new(id, broker) };
        let near = subscribed(&mut world, options("near", 0), "a/+");
        let far = subscribed(&mut world, options("far", 1), "a/#");
        let other = subscribed(&mut world, options("other", 2), "b/#");
        let publisher = connected(&mut world, options("publisher", 0));
        let number = world.publish(publisher, "a/b", Qos::AtLeastOnce);
        ends_well(&mut world);
        assert_eq!(acknowledged(&world, number), Some(ReasonCode::Success));
        assert_eq!(world.client(near).payloads(), ["m0"]);
        assert_eq!(world.client(far).payloads(), ["m0"]);
        assert!(world.client(other).payloads().is_empty());
    }
}

#[test]
fn a_takeover_across_nodes_closes_the_older_connection_first() {
    let mut world = world(2);
    let older = connected(&mut world, ClientOptions::new("c", 0));
    let newer = connected(&mut world, ClientOptions::new("c", 1));
    ends_well(&mut world);
    assert_eq!(world.client(older).disconnect, Some(ReasonCode::SessionTakenOver));
    let (closed, accepted) = (world.client(older).server_ended_at, world.client(newer).accepted_at);
    assert!(closed.unwrap() <= accepted.unwrap(), "{closed:?} {accepted:?}");
}

#[test]
fn an_older_connection_that_cannot_be_reached_holds_the_newer_back_for_two_seconds_and_is_closed_later() {
    let mut world = world(2);
    let older = connected(&mut world, ClientOptions::new("c", 0));
    world.cut_off(World::broker(0));
    let newer = world.connect(ClientOptions::new("c", 1));
    world.run_for(1_900);
    assert_eq!(world.client(newer).connack, None);
    world.run_for(200);
    assert!(world.client(newer).is_connected());
    assert!(world.client(older).is_connected());
    world.reconnect_object(&World::broker(0));
    ends_well(&mut world);
    assert!(!world.client(older).is_connected());
}

#[test]
fn a_newer_connection_wins_although_the_older_was_not_yet_told_that_it_was_granted() {
    let mut world = world(2);
    for (id, broker) in [("x", 0), ("y", 1)] {
        connected(&mut world, ClientOptions::new(id, broker));
    }
    // The first is granted after 200 ms and would hear it 200 ms later.
    for shard in 0..2 {
        world.slow_down(Address::Sessions(shard), 200);
    }
    let first = world.connect(ClientOptions::new("c", 0));
    world.run_for(250);
    for shard in 0..2 {
        world.reconnect_object(&Address::Sessions(shard));
    }
    let second = world.connect(ClientOptions::new("c", 1));
    ends_well(&mut world);
    assert!(world.client(second).is_connected());
    assert!(!world.client(first).is_connected());
}

#[test]
fn a_failed_call_is_repeated_and_loses_nothing() {
    for (lost_requests, lost_replies) in [(300, 0), (0, 300)] {
        let faults = Faults { lost_requests, lost_replies, ..Faults::NONE };
        let mut world = world(3);
        let subscriber = subscribed(&mut world, ClientOptions::new("s", 1), "t");
        let publisher = connected(&mut world, ClientOptions::new("p", 0));
        world.set_faults(faults);
        for _ in 0..50 {
            world.publish(publisher, "t", Qos::AtLeastOnce);
            world.run_for(20);
        }
        world.set_faults(Faults::NONE);
        ends_well(&mut world);
        assert!(world.count().failed_calls > 10);
        let all: Vec<String> = (0..50).map(|number| format!("m{number}")).collect();
        assert_eq!(world.client(subscriber).payloads(), all, "once and in order: the receiver knows repeats");
    }
}

#[test]
fn a_will_is_published_on_loss_and_not_on_disconnect() {
    let mut world = world(2);
    let watcher = subscribed(&mut world, ClientOptions::new("watcher", 1), "gone/#");
    let options = |id: &str| ClientOptions {
        will: Some((format!("gone/{id}"), "bye".to_owned(), Qos::AtLeastOnce)),
        ..ClientOptions::new(id, 0)
    };
    let (lost, polite) = (options("lost"), options("polite"));
    let lost = connected(&mut world, lost);
    let polite = connected(&mut world, polite);
    world.lose(lost);
    world.disconnect(polite);
    ends_well(&mut world);
    let topics: Vec<&str> = world.client(watcher).received.iter().map(|received| received.topic.as_str()).collect();
    assert_eq!(topics, ["gone/lost"]);
}

#[test]
fn a_silent_client_is_closed_after_one_and_a_half_keep_alives_and_a_pinging_one_is_not() {
    let mut world = world(1);
    let silent = connected(&mut world, ClientOptions { keep_alive: 10, pings: false, ..ClientOptions::new("s", 0) });
    let pinging = connected(&mut world, ClientOptions { keep_alive: 10, ..ClientOptions::new("p", 0) });
    world.run_for(14_000);
    assert!(world.client(silent).is_connected());
    world.run_for(3_000);
    assert_eq!(world.client(silent).disconnect, Some(ReasonCode::KeepAliveTimeout));
    world.run_for(600_000);
    assert!(world.client(pinging).is_connected());
    ends_well(&mut world);
}

#[test]
fn a_publisher_hears_that_a_node_stays_unreachable() {
    let mut world = world(2);
    subscribed(&mut world, ClientOptions::new("s", 1), "t");
    let old = connected(&mut world, ClientOptions::new("old", 0).v3());
    let new = connected(&mut world, ClientOptions::new("new", 0));
    world.cut_off(World::broker(1));
    let numbers = [world.publish(old, "t", Qos::AtLeastOnce), world.publish(new, "t", Qos::AtLeastOnce)];
    ends_well(&mut world);
    assert!(world.client(old).ended.is_some(), "3.1.1 has no other way to say it");
    assert_eq!(acknowledged(&world, numbers[0]), None);
    assert!(world.client(new).is_connected());
    assert_eq!(acknowledged(&world, numbers[1]), Some(ReasonCode::ImplementationSpecificError));
}

#[test]
fn a_subscriber_hears_that_its_router_stays_unreachable() {
    let mut world = world(2);
    let client = connected(&mut world, ClientOptions::new("c", 0));
    for shard in 0..2 {
        world.cut_off(Address::Router(shard));
    }
    world.subscribe(client, &["t"], Qos::AtLeastOnce);
    // A Router that can't reach a holder of leases may take over a minute, too.
    world.run_for(90_000);
    assert_eq!(granted(&world, client), Some(ReasonCode::ImplementationSpecificError));
    for shard in 0..2 {
        world.reconnect_object(&Address::Router(shard));
    }
    assert!(world.settle(60_000), "what the Router has to forget is told until it is heard");
}

#[test]
fn a_slow_node_does_not_hold_back_others() {
    let mut world = world(3);
    let slow = subscribed(&mut world, ClientOptions::new("slow", 1), "t/slow");
    let fast = subscribed(&mut world, ClientOptions::new("fast", 2), "t/fast");
    let (to_slow, to_fast) =
        (connected(&mut world, ClientOptions::new("p", 0)), connected(&mut world, ClientOptions::new("q", 0)));
    world.slow_down(World::broker(1), 5_000);
    world.publish(to_slow, "t/slow", Qos::AtLeastOnce);
    for _ in 0..20 {
        world.publish(to_fast, "t/fast", Qos::AtLeastOnce);
        world.run_for(10);
    }
    world.run_for(50);
    assert_eq!(world.client(fast).payloads().len(), 20);
    assert_eq!(acknowledged(&world, 20), Some(ReasonCode::Success));
    assert!(world.client(slow).payloads().is_empty());
    ends_well(&mut world);
    assert_eq!(world.client(slow).payloads(), ["m0"]);
}

#[test]
fn an_unsubscribe_before_the_suback_still_gets_both_answers() {
    let mut world = world(2);
    let client = connected(&mut world, ClientOptions::new("c", 0));
    world.slow_down(Address::Router(0), 100);
    world.slow_down(Address::Router(1), 100);
    world.subscribe(client, &["t", "u"], Qos::AtLeastOnce);
    world.unsubscribe(client, "t");
    world.run_for(20);
    assert!(world.client(client).is_waiting(), "the other filter is not registered yet");
    ends_well(&mut world);
    assert_eq!(world.subscription_rows(), 1);
}

#[test]
fn what_is_subscribed_and_unsubscribed_before_connack_does_not_come_back_after_a_sleep() {
    let mut world = world(1);
    let client = world.connect(ClientOptions::new("c", 0));
    world.subscribe(client, &["t", "u"], Qos::AtLeastOnce);
    world.unsubscribe(client, "t");
    assert!(world.settle(10_000));
    world.sleep(0);
    world.publish(client, "t", Qos::AtLeastOnce);
    world.publish(client, "u", Qos::AtLeastOnce);
    ends_well(&mut world);
    assert_eq!(world.client(client).payloads(), ["m1"]);
}

#[test]
fn user_name_and_password_decide_where_the_upgrade_proved_nothing() {
    let mut world = world(1);
    let with = |id: &str, password: &str| ClientOptions {
        credentials: Some(("user".to_owned(), password.to_owned())),
        ..ClientOptions::new(id, 0)
    };
    connected(&mut world, with("good", "secret"));
    let bad = world.connect(with("bad", "guess"));
    ends_well(&mut world);
    assert_eq!(world.client(bad).connack, Some(ReasonCode::BadUserNameOrPassword));
}

#[test]
fn packets_cut_and_joined_anywhere_mean_the_same() {
    let mut world =
        World::new(WorldSettings { faults: Faults { fragments: true, ..Faults::NONE }, ..WorldSettings::default() });
    let subscriber = subscribed(&mut world, ClientOptions::new("s", 1), "t");
    let publisher = connected(&mut world, ClientOptions::new("p", 0).v3());
    for _ in 0..100 {
        world.publish(publisher, "t", Qos::AtLeastOnce);
    }
    ends_well(&mut world);
    assert_eq!(world.client(subscriber).payloads().len(), 100);
}

#[test]
fn a_client_that_acknowledges_nothing_gets_its_receive_maximum_and_the_rest_after_acknowledging() {
    let mut world = world(2);
    let options = ClientOptions { receive_maximum: Some(3), acknowledges: false, ..ClientOptions::new("s", 1) };
    let subscriber = subscribed(&mut world, options, "t");
    let publisher = connected(&mut world, ClientOptions::new("p", 0));
    for _ in 0..5 {
        world.publish(publisher, "t", Qos::AtLeastOnce);
    }
    world.run_for(1_000);
    assert_eq!(world.client(subscriber).payloads(), ["m0", "m1", "m2"]);
    assert_eq!(acknowledged(&world, 4), Some(ReasonCode::Success), "a slow reader delays no publisher");
    assert!(!world.is_at_rest(1), "what waits is in memory only");
    for id in 1..=5 {
        world.acknowledge(subscriber, iot_types::PacketId::new(id).unwrap());
        world.run_for(10);
    }
    ends_well(&mut world);
    assert_eq!(world.client(subscriber).payloads(), ["m0", "m1", "m2", "m3", "m4"]);
}

#[test]
fn a_shadow_request_gives_the_reply_and_puback_comes_only_after_it() {
    let mut world = world(2);
    let watcher = subscribed(&mut world, ClientOptions::new("watcher", 1), "$aws/things/lamp/shadow/#");
    let device = subscribed(&mut world, ClientOptions::new("lamp", 0), "$aws/things/lamp/shadow/update/accepted");
    let thing = Address::Thing(ThingName::new("lamp").unwrap());
    world.slow_down(thing, 200);
    let document = r#"{"state":{"reported":{"on":true}}}"#.to_owned();
    world.publish_payload(device, "$aws/things/lamp/shadow/update", Qos::AtLeastOnce, document.clone());
    world.run_for(390);
    assert_eq!(acknowledged(&world, 0), None, "the Thing has not stored it");
    assert!(world.client(device).payloads().is_empty());
    ends_well(&mut world);
    assert_eq!(acknowledged(&world, 0), Some(ReasonCode::Success));
    assert_eq!(world.client(device).payloads(), [format!("accepted {document}")]);
    let topics: Vec<&str> = world.client(watcher).received.iter().map(|received| received.topic.as_str()).collect();
    assert_eq!(topics, ["$aws/things/lamp/shadow/update", "$aws/things/lamp/shadow/update/accepted"]);
}

#[test]
fn coalesced_shadow_requests_reach_the_thing_in_order_and_once() {
    let mut world = world(1);
    let seen = Rc::new(Cell::new(0));
    let counter = Rc::clone(&seen);
    world.set_things(Box::new(move |_, _, _| {
        counter.set(counter.get() + 1);
        ThingReply { direct: None, publications: Vec::new(), http: None }
    }));
    let device = connected(&mut world, ClientOptions::new("lamp", 0));
    for _ in 0..20 {
        world.publish_payload(device, "$aws/things/lamp/shadow/get", Qos::AtLeastOnce, String::new());
    }
    ends_well(&mut world);
    assert_eq!(seen.get(), 20);
    assert!(world.published().iter().all(|publish| publish.acknowledged.is_some()));
}

fn rule(name: &str, sql: &str) -> StoredRule {
    StoredRule {
        rule_name: RuleName::new(name).unwrap(),
        program: Program::compile(sql, SqlVersion::V2016).unwrap().encode(),
        actions: vec![r#"{"http":{"url":"https://example.com"}}"#.to_owned()],
    }
}

#[test]
fn a_publish_that_rules_want_is_acknowledged_when_the_queue_has_their_outputs() {
    let mut world = world(1);
    world.set_rules(1, vec![rule("all", "SELECT * FROM 't/#'"), rule("none", "SELECT * FROM 'u'")]);
    let publisher = connected(&mut world, ClientOptions::new("p", 0));
    world.set_faults(Faults { refused_messages: 1_000, ..Faults::NONE });
    world.publish_payload(publisher, "t/1", Qos::AtLeastOnce, r#"{"x":1}"#.to_owned());
    world.run_for(100);
    assert_eq!(acknowledged(&world, 0), None);
    assert!(!world.is_at_rest(0));
    world.set_faults(Faults::NONE);
    ends_well(&mut world);
    assert_eq!(acknowledged(&world, 0), Some(ReasonCode::Success));
    let names: Vec<&str> = world.queue().iter().map(|output| output.rule_name.as_str()).collect();
    assert_eq!(names, ["all"]);
}

#[test]
fn a_publish_whose_rule_outputs_the_queue_keeps_refusing_fails() {
    let mut world = world(1);
    world.set_rules(1, vec![rule("all", "SELECT * FROM '#'")]);
    let publisher = connected(&mut world, ClientOptions::new("p", 0));
    world.set_faults(Faults { refused_messages: 1_000, ..Faults::NONE });
    world.publish_payload(publisher, "t", Qos::AtLeastOnce, "{}".to_owned());
    ends_well(&mut world);
    assert_eq!(acknowledged(&world, 0), Some(ReasonCode::ImplementationSpecificError));
    assert!(world.queue().is_empty());
}

#[test]
fn a_change_of_rules_holds_from_the_next_publish_on() {
    let mut world = world(1);
    let publisher = connected(&mut world, ClientOptions::new("p", 0));
    world.publish_payload(publisher, "t", Qos::AtLeastOnce, "{}".to_owned());
    world.run_for(50);
    world.set_rules(2, vec![rule("new", "SELECT * FROM 't'")]);
    world.ask_broker(0, BrokerRequest::RulesChanged { sequence: 2 });
    world.publish_payload(publisher, "t", Qos::AtLeastOnce, "{}".to_owned());
    ends_well(&mut world);
    assert_eq!(world.queue().len(), 1);
}
