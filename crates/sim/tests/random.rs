//! Random runs against the model. `UMBRA_SIM_STEPS` sets how many things happen in all (default: a few seconds' worth);
//! `UMBRA_SIM_SEED` repeats the run of one seed that failed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![allow(clippy::disallowed_methods)] // the environment says how long to run

use sim::workload::{Workload, run};
use sim::{Faults, WorldSettings};

/// Things that happen in one run.
const STEPS: u64 = 150;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn check(runs: u64, settings: &WorldSettings, workload: Workload) {
    let steps = number("UMBRA_SIM_STEPS").map_or(runs, |steps| (steps / 4 / STEPS).max(1));
    let seeds = number("UMBRA_SIM_SEED").map_or(1..=steps, |seed| seed..=seed);
    let (mut steps, mut events, mut messages) = (0, 0, 0);
    for seed in seeds {
        let (world, violations) = run(WorldSettings { seed, ..settings.clone() }, workload);
        steps += workload.steps;
        events += world.count().events;
        messages += world.clients().map(|(_, client)| client.received.len()).sum::<usize>();
        assert!(violations.is_empty(), "UMBRA_SIM_SEED={seed}\n{}", violations.join("\n"));
    }
    println!("{steps} steps, {events} events, {messages} messages received");
}

#[test]
fn a_network_without_faults_breaks_no_promise() {
    let workload = Workload { steps: STEPS, faults: Faults::NONE, restarts: false, sleeps_anywhere: false };
    check(150, &WorldSettings::default(), workload);
}

#[test]
fn one_node_alone_keeps_every_promise() {
    let workload = Workload { steps: STEPS, faults: Faults::MANY, restarts: true, sleeps_anywhere: true };
    check(150, &WorldSettings { brokers: 1, sessions_shards: 1, ..WorldSettings::default() }, workload);
}

#[test]
fn failing_calls_break_no_promise() {
    let workload = Workload { steps: STEPS, faults: Faults::MANY, restarts: false, sleeps_anywhere: false };
    check(150, &WorldSettings { brokers: 4, ..WorldSettings::default() }, workload);
}

#[test]
fn restarts_and_sleep_break_no_promise() {
    let workload = Workload { steps: STEPS, faults: Faults::MANY, restarts: true, sleeps_anywhere: true };
    check(150, &WorldSettings { brokers: 3, router_shards: 3, ..WorldSettings::default() }, workload);
}
