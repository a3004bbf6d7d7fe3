//! Sessions that outlive their connections, one promise at a time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{acknowledged, connected, ends_well, numbers, payloads, subscribed, world};
use iot_types::Qos;
use messages::address::Address;
use mqtt_codec::{ProtocolVersion, ReasonCode};
use sim::{ClientOptions, Faults, World};

const BOTH: [ProtocolVersion; 2] = [ProtocolVersion::V3_1_1, ProtocolVersion::V5];

fn durable(id: &str, broker: u32) -> ClientOptions {
    ClientOptions::new(id, broker).durable()
}

#[test]
fn a_dormant_session_gets_what_was_published_meanwhile_at_another_broker_and_in_order() {
    for version in BOTH {
        let mut world = world(3);
        let options = |broker| ClientOptions { version, ..durable("s", broker) };
        let subscriber = subscribed(&mut world, options(0), "t/#", Qos::AtLeastOnce);
        let publisher = connected(&mut world, ClientOptions::new("p", 1));
        world.publish(publisher, "t/1", Qos::AtLeastOnce);
        world.run_for(100);
        world.lose(subscriber);
        world.run_for(100);
        for _ in 0..20 {
            world.publish(publisher, "t/1", Qos::AtLeastOnce);
        }
        world.run_for(1_000);
        assert_eq!(acknowledged(&world, 20), Some(ReasonCode::Success), "it is stored");
        let again = world.connect(options(2));
        for _ in 0..20 {
            world.publish(publisher, "t/1", Qos::AtLeastOnce);
            world.run_for(1);
        }
        ends_well(&mut world);
        assert_eq!(world.client(again).session_present, Some(true));
        assert_eq!(payloads(&world, "s"), numbers(0, 41));
    }
}

#[test]
fn a_queue_survives_the_death_of_everything() {
    let mut world = world(2);
    let subscriber = subscribed(&mut world, durable("s", 0), "t", Qos::AtLeastOnce);
    let publisher = connected(&mut world, ClientOptions::new("p", 1));
    world.lose(subscriber);
    world.run_for(100);
    for _ in 0..5 {
        world.publish(publisher, "t", Qos::AtLeastOnce);
    }
    world.run_for(1_000);
    for number in 0..2 {
        world.restart_broker(number);
        world.restart_router(number);
        world.restart_sessions(number);
    }
    world.run_for(1_000);
    world.connect(durable("s", 1));
    ends_well(&mut world);
    assert_eq!(payloads(&world, "s"), numbers(0, 5));
}

#[test]
fn a_message_of_qos_2_arrives_once_over_restarts_of_brokers_and_shards() {
    for restart in 0..6 {
        for after in (0..60).step_by(3) {
            let mut world = world(2);
            world.set_faults(Faults { minimum_delay: 1, maximum_delay: 12, ..Faults::NONE });
            let subscriber = durable("s", 0);
            subscribed(&mut world, subscriber.clone(), "t", Qos::ExactlyOnce);
            let publisher = connected(&mut world, durable("p", 1));
            for _ in 0..5 {
                world.publish(publisher, "t", Qos::ExactlyOnce);
            }
            world.run_for(after);
            match restart {
                0 => world.restart_broker(0),
                1 => world.restart_broker(1),
                2 => world.restart_sessions(0),
                3 => world.restart_sessions(1),
                4 => world.replace_broker(0, 5_000),
                _ => world.replace_broker(1, 5_000),
            }
            world.run_for(200);
            world.connect(subscriber);
            world.connect(durable("p", 1));
            ends_well(&mut world);
            let mut all = payloads(&world, "s");
            all.sort();
            assert_eq!(all, numbers(0, 5), "restart {restart} after {after} ms");
        }
    }
}

#[test]
fn a_fast_subscriber_costs_no_row_for_a_message() {
    let mut world = world(2);
    subscribed(&mut world, durable("s", 0), "t", Qos::AtLeastOnce);
    let publisher = connected(&mut world, ClientOptions::new("p", 1));
    world.publish(publisher, "t", Qos::AtLeastOnce);
    // what connecting has to note is noted
    world.run_for(10_000);
    let before = world.sessions_rows_written();
    for _ in 0..500 {
        world.publish(publisher, "t", Qos::AtLeastOnce);
        world.run_for(10);
    }
    ends_well(&mut world);
    assert_eq!(payloads(&world, "s").len(), 501);
    assert_eq!(world.sessions_rows_written() - before, 0);
}

#[test]
fn a_subscriber_that_does_not_acknowledge_delays_its_publisher_by_a_fifth_of_a_second() {
    let mut world = world(2);
    subscribed(&mut world, ClientOptions { acknowledges: false, ..durable("s", 0) }, "t", Qos::AtLeastOnce);
    let publisher = connected(&mut world, ClientOptions::new("p", 1));
    world.publish(publisher, "t", Qos::AtMostOnce);
    world.run_for(1_000);
    world.publish(publisher, "t", Qos::AtLeastOnce);
    world.run_for(190);
    assert_eq!(acknowledged(&world, 1), None);
    world.run_for(40);
    assert_eq!(acknowledged(&world, 1), Some(ReasonCode::Success), "it is a row by now");
}

#[test]
fn a_new_session_is_asked_for_and_had() {
    let mut world = world(2);
    let first = subscribed(&mut world, durable("s", 0), "t", Qos::AtLeastOnce);
    world.lose(first);
    let second = connected(&mut world, ClientOptions { clean_start: true, ..durable("s", 1) });
    assert_eq!(world.client(second).session_present, Some(false));
    let publisher = connected(&mut world, ClientOptions::new("p", 1));
    world.publish(publisher, "t", Qos::AtLeastOnce);
    ends_well(&mut world);
    assert!(world.client(second).payloads().is_empty());
    assert_eq!(world.subscription_rows(), 0);
}

#[test]
fn a_session_that_is_taken_up_to_end_with_its_connection_gets_its_queue_first() {
    let mut world = world(2);
    let first = subscribed(&mut world, durable("s", 0), "t", Qos::AtLeastOnce);
    world.lose(first);
    world.run_for(100);
    let publisher = connected(&mut world, ClientOptions::new("p", 1));
    world.publish(publisher, "t", Qos::AtLeastOnce);
    world.run_for(100);
    let last = connected(&mut world, ClientOptions { clean_start: false, ..ClientOptions::new("s", 1) });
    world.publish(publisher, "t", Qos::AtLeastOnce);
    world.run_for(1_000);
    assert_eq!(world.client(last).session_present, Some(true));
    assert_eq!(world.client(last).payloads(), ["m0", "m1"]);
    world.disconnect(last);
    world.run_for(1_000);
    assert_eq!(world.subscription_rows(), 0, "it ended with the connection");
}

fn with_will(id: &str, delay: u32, is_durable: bool) -> ClientOptions {
    let options = if is_durable { durable(id, 0) } else { ClientOptions::new(id, 0) };
    let will = Some((format!("gone/{id}"), "bye".to_owned(), Qos::AtLeastOnce));
    ClientOptions { will, will_delay: delay, ..options }
}

#[test]
fn a_will_waits_for_its_delay_and_a_resumption_cancels_it() {
    let mut world = world(2);
    subscribed(&mut world, ClientOptions::new("watcher", 1), "gone/#", Qos::AtLeastOnce);
    let (back, away) =
        (connected(&mut world, with_will("back", 10, true)), connected(&mut world, with_will("away", 10, true)));
    world.lose(back);
    world.lose(away);
    world.run_for(9_000);
    connected(&mut world, ClientOptions { will: None, ..with_will("back", 10, true) });
    assert!(payloads(&world, "watcher").is_empty());
    world.run_for(2_000);
    assert_eq!(payloads(&world, "watcher"), ["bye"]);
    world.run_for(60_000);
    let watcher = world.clients().find(|(_, client)| client.options.client_id == "watcher").unwrap().1;
    assert_eq!(watcher.received[0].topic, "gone/away");
    assert_eq!(watcher.received.len(), 1);
}

#[test]
fn wills_of_a_broker_that_starts_afresh_are_published_after_half_a_minute_unless_their_clients_come_back() {
    let mut world = world(2);
    subscribed(&mut world, ClientOptions::new("watcher", 1), "gone/#", Qos::AtLeastOnce);
    connected(&mut world, with_will("back", 0, true));
    connected(&mut world, with_will("away", 0, false));
    world.restart_broker(0);
    world.run_for(1_000);
    connected(&mut world, ClientOptions { will: None, ..with_will("back", 0, true) });
    world.run_for(25_000);
    assert!(payloads(&world, "watcher").is_empty());
    world.run_for(10_000);
    let watcher = world.clients().find(|(_, client)| client.options.client_id == "watcher").unwrap().1;
    let topics: Vec<&str> = watcher.received.iter().map(|received| received.topic.as_str()).collect();
    assert_eq!(topics, ["gone/away"]);
}

#[test]
fn a_retained_message_reaches_sessions_of_both_kinds_once_and_with_its_flag() {
    let mut world = world(2);
    let publisher = connected(&mut world, ClientOptions::new("p", 1));
    world.publish_retained(publisher, "a/b", Qos::AtLeastOnce, false);
    world.run_for(1_000);
    for (id, options) in [("clean", ClientOptions::new("clean", 0)), ("durable", durable("durable", 0))] {
        let client = subscribed(&mut world, options, "+/b", Qos::AtLeastOnce);
        world.run_for(1_000);
        assert_eq!(world.client(client).payloads(), ["m0"], "{id}");
        assert!(world.client(client).received[0].retain);
    }
    ends_well(&mut world);
}

#[test]
fn a_shared_group_with_nobody_online_gets_everything_later_and_once() {
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut world = world(2);
        let members: Vec<_> =
            ["a", "b"].map(|id| subscribed(&mut world, durable(id, 0), "$share/g/t", Qos::ExactlyOnce)).to_vec();
        members.iter().for_each(|member| world.lose(*member));
        world.run_for(100);
        let publisher = connected(&mut world, ClientOptions::new("p", 1));
        for _ in 0..250 {
            world.publish(publisher, "t", qos);
            world.run_for(2);
        }
        world.run_for(2_000);
        assert_eq!(acknowledged(&world, 249), Some(ReasonCode::Success));
        world.restart_router(0);
        world.restart_router(1);
        connected(&mut world, durable("a", 1));
        connected(&mut world, durable("b", 0));
        ends_well(&mut world);
        let mut all = [payloads(&world, "a"), payloads(&world, "b")].concat();
        all.sort_by_key(|payload| payload[1..].parse::<u32>().unwrap());
        assert_eq!(all, numbers(0, 250));
    }
}

#[test]
fn a_shared_group_whose_only_member_is_behind_loses_nothing() {
    let mut world = world(2);
    let options = ClientOptions { receive_maximum: Some(1), ..ClientOptions::new("s", 0) };
    subscribed(&mut world, options, "$share/g/t", Qos::AtLeastOnce);
    let publisher = connected(&mut world, ClientOptions::new("p", 1));
    for _ in 0..50 {
        world.publish(publisher, "t", Qos::AtLeastOnce);
    }
    ends_well(&mut world);
    assert_eq!(payloads(&world, "s").len(), 50);
}

#[test]
fn a_session_moves_between_brokers_again_and_again_while_messages_come() {
    let mut world = world(3);
    subscribed(&mut world, durable("s", 0), "t", Qos::AtLeastOnce);
    let publisher = connected(&mut world, ClientOptions::new("p", 1));
    for round in 0..20 {
        for _ in 0..5 {
            world.publish(publisher, "t", Qos::AtLeastOnce);
            world.run_for(7);
        }
        world.connect(durable("s", round % 3));
    }
    ends_well(&mut world);
    let mut all = payloads(&world, "s");
    all.sort_by_key(|payload| payload[1..].parse::<u32>().unwrap());
    all.dedup();
    assert_eq!(all, numbers(0, 100));
}

#[test]
fn a_session_whose_shard_cannot_be_reached_is_refused_and_had_later() {
    let mut world = world(2);
    let first = subscribed(&mut world, durable("s", 0), "t", Qos::AtLeastOnce);
    world.lose(first);
    world.run_for(100);
    let (_, object) = world.sessions_of("s");
    world.cut_off(Address::Sessions(object));
    let refused = world.connect(durable("s", 0));
    world.run_for(20_000);
    assert_eq!(world.client(refused).connack, Some(ReasonCode::ServerUnavailable));
    world.reconnect_object(&Address::Sessions(object));
    let again = connected(&mut world, durable("s", 0));
    assert_eq!(world.client(again).session_present, Some(true));
}

#[test]
fn what_a_client_sends_together_with_its_disconnect_is_its_sessions() {
    let mut world = world(2);
    subscribed(&mut world, ClientOptions::new("s", 1), "t", Qos::ExactlyOnce);
    // Nothing of it waits for CONNACK: all of it is worked on when the claim is granted, the end included.
    let publisher = world.connect(durable("p", 0));
    world.publish(publisher, "t", Qos::ExactlyOnce);
    world.disconnect(publisher);
    world.run_for(1_000);
    world.connect(durable("p", 1));
    ends_well(&mut world);
    assert_eq!(payloads(&world, "s"), ["m0"]);
}

#[test]
fn a_message_of_qos_2_that_some_could_not_get_reaches_the_others_once() {
    for version in BOTH {
        let mut world = world(3);
        subscribed(&mut world, ClientOptions::new("near", 2), "t", Qos::ExactlyOnce);
        subscribed(&mut world, ClientOptions::new("far", 1), "t", Qos::ExactlyOnce);
        let options = ClientOptions { version, ..durable("p", 0) };
        let publisher = connected(&mut world, options.clone());
        world.cut_off(World::broker(1));
        world.publish(publisher, "t", Qos::ExactlyOnce);
        world.run_for(10_000);
        assert!(world.client(publisher).ended.is_some(), "it has to send it again, not to publish it anew");
        assert_eq!(payloads(&world, "near"), ["m0"]);
        world.reconnect_object(&World::broker(1));
        world.connect(options);
        ends_well(&mut world);
        assert_eq!(payloads(&world, "near"), ["m0"]);
        assert_eq!(payloads(&world, "far"), ["m0"]);
    }
}

#[test]
fn an_older_connection_is_closed_although_its_shard_forgets_that_it_asked() {
    let mut world = world(2);
    let older = connected(&mut world, ClientOptions::new("c", 0));
    world.cut_off(World::broker(0));
    let newer = world.connect(ClientOptions::new("c", 1));
    world.run_for(5_000);
    assert!(world.client(newer).is_connected());
    let (_, object) = world.sessions_of("c");
    world.restart_sessions(object);
    world.reconnect_object(&World::broker(0));
    world.run_for(1_000);
    ends_well(&mut world);
    assert!(!world.client(older).is_connected());
}

#[test]
fn a_group_that_a_member_joins_while_a_message_is_on_its_way_to_the_queue_gets_it() {
    for wait in (0..60).step_by(2) {
        let mut world = world(2);
        let member = subscribed(&mut world, durable("s", 0), "$share/g/t", Qos::AtLeastOnce);
        let publisher = connected(&mut world, ClientOptions::new("p", 1));
        world.publish(publisher, "t", Qos::AtLeastOnce);
        world.run_for(1_000);
        world.lose(member);
        world.run_for(1_000);
        world.set_faults(Faults { minimum_delay: 5, maximum_delay: 5, ..Faults::NONE });
        world.slow_down(Address::Router(0), 10);
        world.slow_down(Address::Router(1), 10);
        world.publish(publisher, "t", Qos::AtLeastOnce);
        world.run_for(wait);
        world.connect(durable("s", 0));
        ends_well(&mut world);
        assert_eq!(payloads(&world, "s"), ["m0", "m1"], "{wait} ms");
    }
}

#[test]
fn a_client_whose_broker_is_lost_has_half_a_minute_although_its_virtual_shard_moves() {
    let mut world = world(2);
    let names = || (0..).map(|number| format!("client{number}"));
    let client = names().find(|name| world.sessions_of(name).1 == 0).unwrap();
    // Of the other object.
    let mut others = names().filter(|name| world.sessions_of(name).1 == 1).take(3).collect::<Vec<_>>();
    let (other, first, second) = (others.remove(0), others.remove(0), others.remove(0));
    let watcher = subscribed(&mut world, ClientOptions::new("watcher", 1), "will", Qos::AtLeastOnce);
    let lose = |world: &mut World, probe: &str| {
        world.restart_broker(0);
        let probe = connected(world, ClientOptions::new(probe, 0));
        world.disconnect(probe);
        world.run_for(100);
    };
    connected(&mut world, ClientOptions::new(&other, 0).durable());
    lose(&mut world, &first);
    // The other object has heard of this loss, and nothing is left there that it concerns.
    let back = connected(&mut world, ClientOptions::new(&other, 1).durable());
    world.disconnect(back);
    let will = Some(("will".to_owned(), "gone".to_owned(), Qos::AtLeastOnce));
    connected(&mut world, ClientOptions { will, ..ClientOptions::new(&client, 0).durable() });
    world.run_for(15_000);
    lose(&mut world, &second);
    let (shard, _) = world.sessions_of(&client);
    while !world.move_clients(shard, 0, 1) {
        world.run_for(500);
    }
    world.run_for(22_000);
    assert_eq!(world.client(watcher).payloads(), Vec::<&str>::new());
    world.run_for(30_000);
    assert_eq!(world.client(watcher).payloads(), ["gone"]);
}
