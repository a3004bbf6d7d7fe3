//! What survives a sleep, a restart and a deploy, and what is closed rather than left waiting.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use iot_types::Qos;
use messages::address::Address;
use mqtt_codec::ReasonCode;
use sim::{ClientKey, ClientOptions, World, WorldSettings, model};

fn world(brokers: u32) -> World {
    World::new(WorldSettings { brokers, ..WorldSettings::default() })
}

fn subscribed(world: &mut World, options: ClientOptions, filter: &str) -> ClientKey {
    let client = world.connect(options);
    world.subscribe(client, &[filter], Qos::AtLeastOnce);
    assert!(world.settle(10_000));
    assert!(world.client(client).is_connected());
    client
}

fn ends_well(world: &mut World) {
    assert!(world.settle(60_000), "something never ends");
    let violations = model::violations(world);
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn a_clean_session_keeps_its_subscriptions_over_a_sleep() {
    for options in [ClientOptions::new("s", 0), ClientOptions::new("s", 0).v3()] {
        let mut world = world(2);
        let subscriber = subscribed(&mut world, options, "t/#");
        let publisher = subscribed(&mut world, ClientOptions::new("p", 1), "unrelated");
        world.sleep(0);
        assert!(world.is_asleep(0));
        world.publish(publisher, "t/1", Qos::AtLeastOnce);
        ends_well(&mut world);
        assert_eq!(world.client(subscriber).payloads(), ["m0"], "a message from elsewhere wakes the node");
        world.sleep(0);
        world.publish(subscriber, "t/2", Qos::AtLeastOnce);
        ends_well(&mut world);
        assert_eq!(world.client(subscriber).payloads(), ["m0", "m1"], "and so does its own client");
        assert_eq!(world.count().wakes, 2);
    }
}

#[test]
fn a_node_that_sleeps_with_something_under_way_closes_that_connection_only() {
    let mut world = world(2);
    let idle = subscribed(&mut world, ClientOptions::new("idle", 0), "i");
    let reader = subscribed(&mut world, ClientOptions { acknowledges: false, ..ClientOptions::new("r", 0) }, "t");
    let publisher = subscribed(&mut world, ClientOptions::new("p", 1), "unrelated");
    world.publish(publisher, "t", Qos::AtLeastOnce);
    world.run_for(50);
    assert!(!world.is_at_rest(0), "the reader has not acknowledged");
    world.sleep(0);
    world.ping(idle);
    ends_well(&mut world);
    assert_eq!(world.client(reader).disconnect, Some(ReasonCode::ServerBusy));
    assert!(world.client(idle).is_connected());
}

#[test]
fn a_sleep_while_a_subscribe_waits_for_its_router_closes_the_connection() {
    let mut world = world(2);
    let client = subscribed(&mut world, ClientOptions::new("c", 0), "a");
    world.slow_down(Address::Router(0), 500);
    world.slow_down(Address::Router(1), 500);
    world.subscribe(client, &["b"], Qos::AtLeastOnce);
    world.run_for(50);
    world.sleep(0);
    world.publish(client, "x", Qos::AtMostOnce);
    ends_well(&mut world);
    assert_eq!(world.client(client).disconnect, Some(ReasonCode::ServerBusy));
    assert_eq!(world.subscription_rows(), 0, "its filters are gone from the Routers, too");
}

#[test]
fn a_keep_alive_runs_out_while_the_node_sleeps() {
    let mut world = world(1);
    let options = ClientOptions { keep_alive: 60, pings: false, ..ClientOptions::new("s", 0) };
    let silent = subscribed(&mut world, options, "t");
    world.sleep(0);
    world.run_for(80_000);
    assert!(world.client(silent).is_connected());
    world.run_for(20_000);
    assert_eq!(world.client(silent).disconnect, Some(ReasonCode::KeepAliveTimeout), "the alarm woke the node");
}

#[test]
fn a_keep_alive_survives_any_number_of_sleeps() {
    let mut world = world(1);
    let client = subscribed(&mut world, ClientOptions { keep_alive: 30, ..ClientOptions::new("s", 0) }, "t");
    for _ in 0..100 {
        world.run_for(13_000);
        world.sleep(0);
    }
    assert!(world.client(client).is_connected());
}

#[test]
fn a_restarted_node_begins_an_epoch_and_its_old_filters_are_over() {
    let mut world = world(2);
    let before = subscribed(&mut world, ClientOptions::new("before", 0), "t");
    assert_eq!(world.subscription_rows(), 1);
    world.restart_broker(0);
    world.run_for(10);
    assert!(!world.client(before).is_connected());
    let after = subscribed(&mut world, ClientOptions::new("after", 0), "u");
    let publisher = subscribed(&mut world, ClientOptions::new("p", 1), "unrelated");
    world.publish(publisher, "t", Qos::AtLeastOnce);
    world.publish(publisher, "u", Qos::AtLeastOnce);
    ends_well(&mut world);
    world.run_for(400_000);
    world.publish(publisher, "v", Qos::AtLeastOnce);
    ends_well(&mut world);
    assert_eq!(world.subscription_rows(), 2, "u and unrelated: after some minutes the Routers look for what is over");
    assert_eq!(world.client(after).payloads(), ["m1"]);
}

#[test]
fn a_client_comes_back_to_a_restarted_node_without_waiting() {
    let mut world = world(2);
    subscribed(&mut world, ClientOptions::new("c", 0), "t");
    world.restart_broker(0);
    let again = world.connect(ClientOptions::new("c", 0));
    world.run_for(20);
    assert!(world.client(again).is_connected(), "there is no older connection to wait for");
    ends_well(&mut world);
}

#[test]
fn a_router_restart_loses_no_subscription() {
    let mut world = world(3);
    let filters = ["#", "a/#", "a/b", "+/b"];
    let subscribers: Vec<ClientKey> = filters
        .iter()
        .enumerate()
        .map(|(n, filter)| subscribed(&mut world, ClientOptions::new(&format!("s{n}"), 1), filter))
        .collect();
    let publisher = subscribed(&mut world, ClientOptions::new("p", 0), "unrelated");
    world.unsubscribe(subscribers[3], "+/b");
    assert!(world.settle(10_000));
    world.restart_router(0);
    world.restart_router(1);
    world.publish(publisher, "a/b", Qos::AtLeastOnce);
    ends_well(&mut world);
    for subscriber in &subscribers[..3] {
        assert_eq!(world.client(*subscriber).payloads(), ["m0"]);
    }
    assert!(world.client(subscribers[3]).payloads().is_empty());
}

#[test]
fn a_sessions_restart_forgets_no_holder() {
    let mut world = world(2);
    let older = subscribed(&mut world, ClientOptions::new("c", 0), "t");
    world.restart_sessions(0);
    world.restart_sessions(1);
    let newer = subscribed(&mut world, ClientOptions::new("c", 1), "t");
    ends_well(&mut world);
    assert!(!world.client(older).is_connected());
    assert!(world.client(newer).is_connected());
}

#[test]
fn a_claim_that_waits_is_decided_although_its_shard_restarts() {
    let mut world = world(2);
    subscribed(&mut world, ClientOptions::new("c", 0), "t");
    world.cut_off(World::broker(0));
    let newer = world.connect(ClientOptions::new("c", 1));
    world.run_for(100);
    world.restart_sessions(0);
    world.restart_sessions(1);
    world.run_for(1_000);
    assert_eq!(world.client(newer).connack, None, "the older connection has its time to close");
    world.run_for(4_000);
    assert!(world.client(newer).is_connected());
    world.reconnect_object(&World::broker(0));
    ends_well(&mut world);
}

#[test]
fn everything_restarting_at_once_closes_everybody_and_lets_them_come_back() {
    let mut world = world(3);
    for round in 0..3 {
        let clients: Vec<ClientKey> = (0..6)
            .map(|n| subscribed(&mut world, ClientOptions::new(&format!("c{n}"), (n + round) % 3), "t/#"))
            .collect();
        world.publish(clients[0], "t/x", Qos::AtLeastOnce);
        world.run_for(2);
        for node in 0..3 {
            world.restart_broker(node);
        }
        for shard in 0..2 {
            world.restart_router(shard);
            world.restart_sessions(shard);
        }
        ends_well(&mut world);
        assert!(clients.iter().all(|client| !world.client(*client).is_connected()));
    }
}

#[test]
fn a_subscribe_that_a_sleep_interrupted_leaves_nothing_that_a_later_one_relies_on() {
    for router in 0..3 {
        let mut world = World::new(WorldSettings { brokers: 2, router_shards: 3, ..WorldSettings::default() });
        let publisher = subscribed(&mut world, ClientOptions::new("p", 1), "unrelated");
        let client = subscribed(&mut world, ClientOptions::new("c", 0), "unrelated");
        world.cut_off(Address::Router(router));
        world.subscribe(client, &["a/b/c/#"], Qos::AtLeastOnce);
        world.run_for(500);
        world.sleep(0);
        world.reconnect_object(&Address::Router(router));
        world.ping(client);
        assert!(world.settle(100_000));
        let again = subscribed(&mut world, ClientOptions::new("c", 0), "a/b/c/#");
        let number = world.publish(publisher, "a/b/c/d", Qos::AtLeastOnce);
        ends_well(&mut world);
        assert_eq!(world.client(again).payloads(), [format!("m{number}")]);
    }
}
