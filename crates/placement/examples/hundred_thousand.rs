//! 100 000 connections join, leave and all reconnect at once: prints what it came to.
//!
//! `cargo run --release -p placement --example hundred_thousand [clients [isolates [seed]]]`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

#[path = "../tests/simulation/mod.rs"]
mod simulation;

use simulation::{Measured, Settings, World};

const MINUTE: u64 = 60_000;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().expect("a number"));
    let clients = arguments.next().unwrap_or(100_000);
    let isolates = arguments.next().unwrap_or(200);
    let seed = arguments.next().unwrap_or(1) as u64;
    let mut world = World::new(Settings { seed, ..Settings::of(clients, isolates) });
    println!("{clients} clients, {isolates} isolates, seed {seed}\n");
    println!("{}", header());

    world.begin();
    world.join(0, clients, 5 * MINUTE);
    world.run_until_all_are_in(30 * MINUTE);
    show("join within 5 min, pool new", &mut world);

    world.run_for(10 * MINUTE);
    world.begin();
    world.restart_all();
    world.run_until_all_are_in(30 * MINUTE);
    show("region restarts", &mut world);

    world.run_for(10 * MINUTE);
    world.begin();
    world.restart(0);
    world.run_until_all_are_in(30 * MINUTE);
    show("one Broker restarts", &mut world);

    world.run_for(10 * MINUTE);
    world.begin();
    world.deploy(2);
    // Whoever connects tells the pool of the new code: here a few that come and go.
    world.leave(0, clients / 100, MINUTE);
    world.run_for(MINUTE);
    world.join(0, clients / 100, 3 * MINUTE);
    world.run_for(5 * MINUTE);
    world.run_until_all_are_in(30 * MINUTE);
    show("deploy, max_delay 300 s", &mut world);
    let (on, used) = world.brokers_on(2);
    println!("  ({on} of {used} Brokers with clients run the new code)");

    world.run_for(10 * MINUTE);
    world.begin();
    world.leave(clients / 10, clients, 5 * MINUTE);
    world.run_for(6 * 60 * MINUTE);
    show("9 of 10 leave, 6 h later", &mut world);

    world.begin();
    world.join(clients / 10, clients, 1_000);
    world.run_until_all_are_in(60 * MINUTE);
    show("all back at once, pool small", &mut world);

    world.run_for(10 * MINUTE);
    world.begin();
    world.leave(0, clients, 5 * MINUTE);
    world.run_for(48 * 60 * MINUTE);
    show("all leave, 48 h later", &mut world);
    println!("  (alarm set: {})", world.has_alarm());
}

fn header() -> String {
    format!(
        "{:<30} {:>6} {:>7} | {:>6} {:>6} {:>6} | {:>14} {:>14} {:>14} | {:>4} {:>5} {:>5} | {:>5} {:>5} {:>5} {:>5} | {:>7} {:>6} {:>5} {:>6} | {:>5} {:>3}",
        "",
        "secs",
        "in",
        "50%",
        "99%",
        "all",
        "polite",
        "backs off",
        "every second",
        "act",
        "full",
        "bal",
        "b/s",
        "in/s",
        "p/s",
        "over",
        "b calls",
        "pcalls",
        "prows",
        "brows",
        "moves",
        "max"
    )
}

fn show(what: &str, world: &mut World) {
    let m: Measured = world.finish();
    let refusals: Vec<String> = m
        .refusals_mean
        .iter()
        .map(|(habit, mean)| format!("{:>14}", format!("{mean:.2} max {}", m.refusals_max[habit])))
        .collect();
    println!(
        "{what:<30} {:>6} {:>7} | {:>6.1} {:>6.1} {:>6.1} | {} | {:>4} {:>5} {:>5.2} | {:>5} {:>5} {:>5} {:>5} | {:>7} {:>6} {:>5} {:>6} | {:>5.2} {:>3}",
        m.secs,
        m.connected,
        m.half as f64 / 1e3,
        m.most as f64 / 1e3,
        m.all as f64 / 1e3,
        refusals.join(" "),
        m.active,
        m.fullest,
        m.balance,
        m.broker_calls_peak,
        m.admitted_peak,
        m.pool_calls_peak,
        m.overloaded,
        m.broker_calls,
        m.pool_calls,
        m.pool_rows,
        m.broker_rows,
        m.moves_mean,
        m.moves_max
    );
}
