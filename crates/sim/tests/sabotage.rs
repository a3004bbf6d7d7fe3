//! Mistakes built in on purpose: the model finds each, so its silence elsewhere means something.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use sim::workload::{Workload, run};
use sim::{Faults, Sabotage, WorldSettings};

/// Runs seeds until the model complains and checks that it complains about the right thing.
fn check(sabotage: Sabotage, complaint: &str) {
    // Delays and batches, but no failing call: every complaint is the built-in mistake's.
    let faults = Faults { maximum_delay: 20, ..Faults::NONE };
    let restarts = sabotage == Sabotage::RowsAreNotWritten;
    for seed in 1..=20 {
        let workload = Workload { steps: 200, faults, restarts, sleeps_anywhere: false, keeps_log: false };
        let settings = WorldSettings { seed, brokers: 3, sabotage: Some(sabotage), ..WorldSettings::default() };
        let (_, violations) = run(settings, workload);
        if violations.iter().any(|violation| violation.contains(complaint)) {
            return;
        }
    }
    panic!("{sabotage:?} goes unnoticed");
}

#[test]
fn subscriptions_that_routers_do_not_keep_are_noticed() {
    check(Sabotage::SubscriptionsAreNotStored, "never got");
}

#[test]
fn rows_that_are_not_written_are_noticed() {
    check(Sabotage::RowsAreNotWritten, "never got");
}

#[test]
fn deliveries_that_are_confirmed_and_lost_are_noticed() {
    check(Sabotage::DeliveriesAreLost, "never got");
}

#[test]
fn calls_applied_backwards_are_noticed() {
    check(Sabotage::CallsAreAppliedBackwards, " after ");
}

#[test]
fn deliveries_after_unsuback_are_noticed() {
    check(Sabotage::UnsubscribesAreIgnored, "without a subscription");
}

#[test]
fn two_connections_of_one_client_id_are_noticed() {
    check(Sabotage::FencesAreIgnored, "both live");
}

#[test]
fn pubacks_that_never_come_are_noticed() {
    check(Sabotage::PubAcksAreLost, "still waits");
}

#[test]
fn without_a_built_in_mistake_the_same_runs_are_clean() {
    let faults = Faults { maximum_delay: 20, ..Faults::NONE };
    for seed in 1..=20 {
        let workload =
            Workload { steps: 200, faults, restarts: seed % 2 == 0, sleeps_anywhere: false, keeps_log: false };
        let (_, violations) = run(WorldSettings { seed, brokers: 3, ..WorldSettings::default() }, workload);
        assert!(violations.is_empty(), "seed {seed}\n{}", violations.join("\n"));
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let workload =
        Workload { steps: 150, faults: Faults::MANY, restarts: true, sleeps_anywhere: true, keeps_log: false };
    let settings = WorldSettings { seed: 7, brokers: 3, ..WorldSettings::default() };
    let (first, second) = (run(settings.clone(), workload).0, run(settings, workload).0);
    assert_eq!(first.count(), second.count());
    assert_eq!(format!("{:?}", first.published()), format!("{:?}", second.published()));
}
