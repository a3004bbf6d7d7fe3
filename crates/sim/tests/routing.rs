//! Leases, zombies, partitions and moves, one promise at a time; and what they cost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{acknowledged, connected, ends_well, granted, numbers, payloads, subscribed, world};
use iot_types::Qos;
use messages::address::Address;
use mqtt_codec::ReasonCode;
use sim::{Ceilings, ClientOptions, Faults, World, WorldSettings};

#[test]
fn a_steady_stream_of_publishes_asks_no_router_after_the_first() {
    let mut world = world(3);
    subscribed(&mut world, ClientOptions::new("s", 1), "a/+/c", Qos::AtLeastOnce);
    let publisher = connected(&mut world, ClientOptions::new("p", 0));
    world.run_for(1_000);
    world.publish(publisher, "a/b/c", Qos::AtLeastOnce);
    world.run_for(1_000);
    let before = world.router_calls();
    for _ in 0..200 {
        world.publish(publisher, "a/b/c", Qos::AtLeastOnce);
        world.run_for(100);
    }
    assert_eq!(world.router_calls() - before, 0, "leases last a minute");
    for _ in 0..1_000 {
        world.publish(publisher, "a/b/c", Qos::AtLeastOnce);
        world.run_for(100);
    }
    let renewals = world.router_calls() - before;
    assert!(renewals <= 10, "{renewals} calls in two minutes: one for each Router and half minute");
    ends_well(&mut world);
    assert_eq!(payloads(&world, "s").len(), 1_201);
}

#[test]
fn everything_published_after_a_suback_is_delivered_although_leases_were_held() {
    for round in 0..30 {
        let mut world = World::new(WorldSettings {
            seed: round,
            brokers: 4,
            router_shards: 3,
            faults: Faults { maximum_delay: 30, ..Faults::NONE },
            // Much more at once than anybody would do.
            ceilings: Ceilings { calls: u64::MAX, ..Ceilings::default() },
            ..WorldSettings::default()
        });
        let publishers: Vec<_> =
            (0..4).map(|broker| connected(&mut world, ClientOptions::new(&format!("p{broker}"), broker))).collect();
        for publisher in &publishers {
            world.publish(*publisher, "a/b/c/d/e", Qos::AtLeastOnce);
        }
        world.run_for(500);
        let subscriber = world.connect(ClientOptions::new("s", u32::try_from(round).unwrap() % 4));
        for (at, filter) in ["#", "a/#", "a/b/+/d/e", "a/b/c/d/e", "+/b/#"].into_iter().enumerate() {
            world.subscribe(subscriber, &[filter], Qos::AtLeastOnce);
            for _ in 0..40 {
                for publisher in &publishers {
                    world.publish(*publisher, "a/b/c/d/e", Qos::AtLeastOnce);
                }
                world.run_for(5);
            }
            assert_eq!(world.client(subscriber).subscriptions.iter().filter(|s| s.answered.is_some()).count(), at + 1);
        }
        ends_well(&mut world);
    }
}

#[test]
fn a_subscriber_waits_for_a_holder_that_cannot_be_reached_as_long_as_its_lease_lasts() {
    let mut world = world(3);
    let publisher = connected(&mut world, ClientOptions::new("p", 0));
    world.publish(publisher, "t", Qos::AtLeastOnce);
    world.run_for(1_000);
    for router in 0..2 {
        world.part(World::broker(0), Address::Router(router));
    }
    let subscriber = connected(&mut world, ClientOptions::new("s", 1));
    world.subscribe(subscriber, &["t"], Qos::AtLeastOnce);
    // The publisher's node goes on by its lease and knows of nobody: so nobody has been promised anything.
    for _ in 0..50 {
        world.publish(publisher, "t", Qos::AtLeastOnce);
        world.run_for(1_000);
    }
    assert_eq!(granted(&world, subscriber), None);
    assert_eq!(acknowledged(&world, 30), Some(ReasonCode::Success));
    world.run_for(20_000);
    assert_eq!(granted(&world, subscriber), Some(ReasonCode::GrantedQos1));
    let late = world.publish(publisher, "t", Qos::AtLeastOnce);
    world.run_for(20_000);
    assert_ne!(acknowledged(&world, late), Some(ReasonCode::Success), "its lease is over, and no other to be had");
    for router in 0..2 {
        world.reconnect_object(&Address::Router(router));
    }
    world.publish(publisher, "t", Qos::AtLeastOnce);
    ends_well(&mut world);
    assert_eq!(payloads(&world, "s").last(), Some(&format!("m{}", late + 1)));
}

#[test]
fn a_zombie_stops_publishing_before_a_subscriber_is_promised_anything() {
    let mut world = world(2);
    let publisher = connected(&mut world, ClientOptions::new("p", 0));
    world.publish(publisher, "t", Qos::AtLeastOnce);
    world.run_for(3_000);
    world.publish(publisher, "t", Qos::AtLeastOnce);
    world.run_for(100);
    world.replace_broker(0, 60_000);
    connected(&mut world, ClientOptions::new("x", 0));
    let subscriber = connected(&mut world, ClientOptions::new("s", 1));
    let asked = world.clock().now();
    world.subscribe(subscriber, &["t"], Qos::AtLeastOnce);
    while granted(&world, subscriber).is_none() {
        world.publish(publisher, "t", Qos::AtLeastOnce);
        world.run_for(20);
    }
    assert!(world.clock().now().millis_since(asked) < 5_000, "nobody waits for a whole lease");
    for _ in 0..100 {
        world.publish(publisher, "t", Qos::AtLeastOnce);
        world.run_for(20);
    }
    world.end_zombies();
    ends_well(&mut world);
    assert!(world.client(publisher).ended.is_some());
}

#[test]
fn a_subscription_waits_a_few_seconds_for_a_broker_that_restarted() {
    let mut world = world(2);
    let publisher = connected(&mut world, ClientOptions::new("p", 0));
    world.publish(publisher, "t", Qos::AtLeastOnce);
    world.run_for(1_000);
    world.restart_broker(0);
    let again = connected(&mut world, ClientOptions::new("p", 0));
    let subscriber = connected(&mut world, ClientOptions::new("s", 1));
    world.subscribe(subscriber, &["t"], Qos::AtLeastOnce);
    world.run_for(5_000);
    assert_eq!(granted(&world, subscriber), Some(ReasonCode::GrantedQos1));
    world.publish(again, "t", Qos::AtLeastOnce);
    ends_well(&mut world);
    assert_eq!(payloads(&world, "s"), ["m1"]);
}

#[test]
fn a_router_that_restarts_revokes_leases_that_it_does_not_remember() {
    let mut world = world(2);
    let publisher = connected(&mut world, ClientOptions::new("p", 0));
    world.publish(publisher, "t", Qos::AtLeastOnce);
    world.run_for(1_000);
    for router in 0..2 {
        world.restart_router(router);
    }
    let subscriber = subscribed(&mut world, ClientOptions::new("s", 1), "t", Qos::AtLeastOnce);
    world.publish(publisher, "t", Qos::AtLeastOnce);
    ends_well(&mut world);
    assert_eq!(world.client(subscriber).payloads(), ["m1"]);
}

#[test]
fn a_partition_between_two_brokers_fails_what_crosses_it_and_nothing_else() {
    let mut world = world(3);
    subscribed(&mut world, ClientOptions::new("near", 2), "t", Qos::AtLeastOnce);
    subscribed(&mut world, ClientOptions::new("far", 1), "t", Qos::AtLeastOnce);
    let publisher = connected(&mut world, ClientOptions::new("p", 0));
    world.part(World::broker(0), World::broker(1));
    let number = world.publish(publisher, "t", Qos::AtLeastOnce);
    world.run_for(10_000);
    assert_eq!(acknowledged(&world, number), Some(ReasonCode::ImplementationSpecificError));
    assert_eq!(payloads(&world, "near"), ["m0"]);
    world.reconnect_object(&World::broker(1));
    world.publish(publisher, "t", Qos::AtLeastOnce);
    ends_well(&mut world);
    assert_eq!(payloads(&world, "far"), ["m1"]);
}

#[test]
fn a_virtual_shard_of_nodes_moves_to_another_router_while_traffic_goes_on() {
    let mut world = world(3);
    subscribed(&mut world, ClientOptions::new("old", 1), "a/#", Qos::AtLeastOnce);
    subscribed(&mut world, ClientOptions::new("durable", 1).durable(), "a/+", Qos::AtLeastOnce);
    let publisher = connected(&mut world, ClientOptions::new("p", 0));
    world.publish_retained(publisher, "a", Qos::AtLeastOnce, false);
    world.run_for(500);
    let (shard, from) = world.router_of("a/#");
    let to = world.add_router();
    let mut has_moved = false;
    for round in 0..200 {
        world.publish(publisher, "a/b", Qos::AtLeastOnce);
        if round % 10 == 0 {
            has_moved |= world.hand_over(shard, from, to);
        }
        if round == 30 {
            world.restart_router(to);
        }
        world.run_for(100);
    }
    assert!(has_moved);
    let new = subscribed(&mut world, ClientOptions::new("new", 2), "a/#", Qos::AtLeastOnce);
    for _ in 0..20 {
        world.publish(publisher, "a/b", Qos::AtLeastOnce);
        world.run_for(100);
    }
    ends_well(&mut world);
    assert_eq!(payloads(&world, "old"), numbers(0, 221));
    assert_eq!(payloads(&world, "durable"), numbers(1, 221));
    assert_eq!(world.client(new).payloads().len(), 21, "the retained message and the new ones");
}

#[test]
fn a_virtual_shard_of_clients_moves_to_another_object_while_traffic_goes_on() {
    let mut world = world(3);
    let online = subscribed(&mut world, ClientOptions::new("s", 1).durable(), "t", Qos::ExactlyOnce);
    let publisher = connected(&mut world, ClientOptions::new("p", 0));
    for _ in 0..20 {
        world.publish(publisher, "t", Qos::ExactlyOnce);
        world.run_for(30);
    }
    let (shard, from) = world.sessions_of("s");
    let to = world.add_sessions();
    let is_there = (0..100).any(|_| {
        let is_there = world.move_clients(shard, from, to);
        world.run_for(100);
        is_there
    });
    assert!(is_there);
    for _ in 0..20 {
        world.publish(publisher, "t", Qos::ExactlyOnce);
        world.run_for(30);
    }
    if !world.client(online).is_connected() {
        world.connect(ClientOptions::new("s", 1).durable());
    }
    world.run_for(1_000);
    let again = world.connect(ClientOptions::new("s", 2).durable());
    for _ in 0..20 {
        world.publish(publisher, "t", Qos::ExactlyOnce);
        world.run_for(30);
    }
    ends_well(&mut world);
    assert_eq!(world.client(again).session_present, Some(true));
    assert_eq!(payloads(&world, "s"), numbers(0, 60));
}

#[test]
fn a_normal_load_stays_far_below_what_an_object_can_take() {
    // A hundred messages a second from fifty devices, each to four durable and four other subscribers.
    let mut world = World::new(WorldSettings {
        brokers: 4,
        faults: Faults { minimum_delay: 3, maximum_delay: 8, ..Faults::NONE },
        ..WorldSettings::default()
    });
    for number in 0..8_u32 {
        let options = ClientOptions::new(&format!("s{number}"), number % 4);
        let options = if number % 2 == 0 { options.durable() } else { options };
        subscribed(&mut world, options, "devices/+/state", Qos::AtLeastOnce);
    }
    let devices: Vec<_> =
        (0..50).map(|number| connected(&mut world, ClientOptions::new(&format!("d{number}"), number % 4))).collect();
    world.run_for(60_000);
    for _ in 0..20 {
        for (number, device) in devices.iter().enumerate() {
            world.publish(*device, &format!("devices/{number}/state"), Qos::AtLeastOnce);
            world.run_for(10);
        }
    }
    ends_well(&mut world);
    for number in 0..2 {
        let (router, sessions) = (world.load(&Address::Router(number)), world.load(&Address::Sessions(number)));
        assert!(router.most_calls < 100, "{router:?}");
        assert!(sessions.most_calls < 700 && sessions.most_rows < 100, "{sessions:?}");
    }
    for number in 0..4 {
        let broker = world.load(&World::broker(number));
        assert!(broker.most_calls < 700, "{broker:?}");
    }
}

#[test]
fn an_object_that_gets_more_than_it_can_take_is_noticed() {
    let mut world = world(1);
    let publisher = connected(&mut world, ClientOptions::new("p", 0));
    for _ in 0..1_500 {
        world.publish(publisher, "t", Qos::AtMostOnce);
    }
    world.settle(10_000);
    let violations = sim::model::violations(&world);
    assert_eq!(violations, [r#"ceiling "calls" exceeded by broker/home/0: 1001 > 1000 (seed 1)"#]);
}
