//! A region with 10 000 clients and Brokers of a tenth of the usual size: the bounds that `examples/hundred_thousand.rs`
//! measures with 100 000, held in every run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod simulation;

use placement::protocol::BrokerState;
use simulation::{Habit, Measured, Settings, World};

const MINUTE: u64 = 60_000;
const CLIENTS: usize = 10_000;
const ISOLATES: usize = 50;

fn world(seed: u64) -> World {
    World::new(Settings { seed, ..Settings::tenth(CLIENTS, ISOLATES) })
}

/// With all clients connected, and quiet.
fn settled(mut world: World) -> World {
    world.join(0, CLIENTS, 5 * MINUTE);
    world.run_until_all_are_in(30 * MINUTE);
    world.run_for(10 * MINUTE);
    assert_eq!(world.connected(), CLIENTS);
    world
}

fn ceilings_hold(measured: &Measured, settings: &Settings) {
    let admission = &settings.admission;
    let most = u64::from(admission.connect_burst + admission.connects_per_second);
    assert!(measured.admitted_peak <= most, "a Broker let {} in within a second", measured.admitted_peak);
    assert!(measured.fullest <= admission.capacity as usize, "a Broker has {}", measured.fullest);
    assert!(measured.pool_calls_peak <= settings.ceiling, "{} calls to the pool", measured.pool_calls_peak);
    assert!(measured.broker_calls_peak <= settings.ceiling, "{} calls to a Broker", measured.broker_calls_peak);
    assert_eq!(measured.overloaded, 0);
}

#[test]
fn clients_that_join_within_minutes_are_in_at_once_and_evenly() {
    for seed in 1..=3 {
        let mut world = world(seed);
        world.begin();
        world.join(0, CLIENTS, 5 * MINUTE);
        world.run_until_all_are_in(30 * MINUTE);
        let measured = world.finish();
        assert_eq!(measured.connected, CLIENTS);
        assert!(measured.secs <= 330, "{} s", measured.secs);
        assert!(measured.most <= 30_000, "99 % within {} ms", measured.most);
        assert!(measured.refusals_max[&Habit::Polite] <= 5, "{:?}", measured.refusals_max);
        assert!((60..=140).contains(&measured.active), "{} Brokers", measured.active);
        assert!(measured.balance <= 2.0, "{}", measured.balance);
        // An upgrade for each, and a few refused while the region grew.
        assert!(measured.broker_calls <= CLIENTS as u64 * 3 / 2, "{}", measured.broker_calls);
        ceilings_hold(&measured, &Settings::tenth(CLIENTS, ISOLATES));
    }
}

#[test]
fn after_a_restart_of_the_region_everybody_is_back_within_a_minute() {
    for seed in 1..=3 {
        let mut world = settled(world(seed));
        world.begin();
        world.restart_all();
        world.run_until_all_are_in(30 * MINUTE);
        let measured = world.finish();
        assert_eq!(measured.connected, CLIENTS, "nobody starves");
        assert!(measured.all <= 60_000, "all within {} ms", measured.all);
        assert!(measured.refusals_mean[&Habit::Polite] <= 1.5, "{:?}", measured.refusals_mean);
        assert!(measured.refusals_max[&Habit::Polite] <= 6, "{:?}", measured.refusals_max);
        assert!(measured.balance <= 1.6, "{}", measured.balance);
        ceilings_hold(&measured, &Settings::tenth(CLIENTS, ISOLATES));
    }
}

#[test]
fn without_gateways_that_hold_back_a_restart_overloads_brokers() {
    let mut settings = Settings { ceiling: 200, ..Settings::tenth(CLIENTS, ISOLATES) };
    let mut peaks = Vec::new();
    for hold_millis in [settings.admission.hold_millis, (0, 0)] {
        settings.admission.hold_millis = hold_millis;
        let mut world = settled(World::new(settings));
        world.begin();
        world.restart_all();
        world.run_until_all_are_in(30 * MINUTE);
        peaks.push(world.finish().broker_calls_peak);
    }
    assert!(peaks[0] < 150 && peaks[1] > 200, "{peaks:?}");
}

#[test]
fn the_clients_of_one_lost_broker_find_another_in_seconds() {
    let mut world = settled(world(1));
    world.begin();
    world.restart(0);
    world.run_until_all_are_in(30 * MINUTE);
    let measured = world.finish();
    assert_eq!(measured.connected, CLIENTS);
    assert!(measured.all <= 10_000, "all within {} ms", measured.all);
    ceilings_hold(&measured, &Settings::tenth(CLIENTS, ISOLATES));
}

#[test]
fn a_deploy_moves_each_client_about_once_and_all_brokers_in_time() {
    for seed in 1..=3 {
        let mut world = settled(world(seed));
        world.begin();
        world.deploy(2);
        world.leave(0, CLIENTS / 100, MINUTE);
        world.run_for(MINUTE);
        world.join(0, CLIENTS / 100, 3 * MINUTE);
        world.run_for(5 * MINUTE + 10_000);
        let (on, used) = world.brokers_on(2);
        assert_eq!(on, used, "within max_delay of the first who told the pool");
        world.run_until_all_are_in(10 * MINUTE);
        let measured = world.finish();
        assert_eq!(measured.connected, CLIENTS);
        assert!((0.9..=1.1).contains(&measured.moves_mean), "{}", measured.moves_mean);
        assert!(measured.moves_max <= 4, "{}", measured.moves_max);
        assert!(measured.most <= 5_000, "99 % were away for no longer than {} ms", measured.most);
        ceilings_hold(&measured, &Settings::tenth(CLIENTS, ISOLATES));
    }
}

#[test]
fn a_region_that_empties_shrinks_and_then_sleeps_and_takes_all_back_at_once() {
    let mut world = settled(world(1));
    world.leave(0, CLIENTS, 5 * MINUTE);
    world.run_for(12 * 60 * MINUTE);
    let taking = world.view().brokers.iter().filter(|broker| broker.state == BrokerState::Active).count();
    assert_eq!(taking, 3);
    assert!(!world.has_alarm());
    world.begin();
    world.run_for(24 * 60 * MINUTE);
    let idle = world.finish();
    assert_eq!((idle.pool_calls, idle.pool_rows, idle.broker_calls, idle.broker_rows), (0, 0, 0, 0), "costs nothing");
    world.begin();
    world.join(0, CLIENTS, 1_000);
    world.run_until_all_are_in(60 * MINUTE);
    let measured = world.finish();
    assert_eq!(measured.connected, CLIENTS, "nobody starves");
    assert!(measured.all <= 300_000, "all within {} ms", measured.all);
    assert!(measured.refusals_max[&Habit::Polite] <= 15, "{:?}", measured.refusals_max);
    ceilings_hold(&measured, &Settings::tenth(CLIENTS, ISOLATES));
}
