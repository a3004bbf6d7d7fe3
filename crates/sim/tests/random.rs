//! Random runs against the model. `UMBRA_SIM_STEPS` sets how many things happen in all (default: a few seconds' worth);
//! `UMBRA_SIM_SEED` repeats the run of one seed that failed, and `UMBRA_SIM_LOG` names a file for what was said in it.

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
    let keeps_log = std::env::var("UMBRA_SIM_LOG").is_ok();
    let (mut steps, mut events, mut messages, mut failures) = (0, 0, 0, Vec::new());
    for seed in seeds {
        let (world, violations) = run(WorldSettings { seed, ..settings.clone() }, Workload { keeps_log, ..workload });
        steps += workload.steps;
        events += world.count().events;
        messages += world.clients().map(|(_, client)| client.received.len()).sum::<usize>();
        if let (true, Ok(file)) = (keeps_log, std::env::var("UMBRA_SIM_LOG")) {
            std::fs::write(file, world.log().join("\n")).unwrap();
        }
        if !violations.is_empty() {
            failures.push(format!("UMBRA_SIM_SEED={seed}\n{}", violations.join("\n")));
        }
        if failures.len() >= 10 {
            break;
        }
    }
    println!("{steps} steps, {events} events, {messages} messages received");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_network_without_faults_breaks_no_promise() {
    let workload = Workload::new(STEPS, Faults::NONE);
    check(60, &WorldSettings::default(), workload);
}

#[test]
fn one_node_alone_keeps_every_promise() {
    let workload =
        Workload { steps: STEPS, faults: Faults::MANY, restarts: true, sleeps_anywhere: true, keeps_log: false };
    check(60, &WorldSettings { brokers: 1, sessions_shards: 1, ..WorldSettings::default() }, workload);
}

#[test]
fn failing_calls_break_no_promise() {
    let workload = Workload::new(STEPS, Faults::MANY);
    check(60, &WorldSettings { brokers: 4, ..WorldSettings::default() }, workload);
}

#[test]
fn restarts_and_sleep_break_no_promise() {
    let workload =
        Workload { steps: STEPS, faults: Faults::MANY, restarts: true, sleeps_anywhere: true, keeps_log: false };
    check(60, &WorldSettings { brokers: 3, router_shards: 3, ..WorldSettings::default() }, workload);
}
