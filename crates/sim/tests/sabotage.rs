//! Mistakes built in on purpose: the model finds each, so its silence elsewhere means something.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use iot_types::Qos;
use sim::workload::{Workload, run};
use sim::{ClientOptions, Faults, Sabotage, World, WorldSettings, model};

/// Runs seeds until the model complains and checks that it complains about the right thing.
fn check(sabotage: Sabotage, complaint: &str) {
    // Delays and batches, but no failing call unless the mistake needs one: every complaint is the built-in mistake's.
    let lost_replies = if sabotage == Sabotage::RepeatsAreAppliedAgain { 50 } else { 0 };
    let faults = Faults { maximum_delay: 20, lost_replies, ..Faults::NONE };
    let restarts = matches!(
        sabotage,
        Sabotage::RowsAreNotWritten
            | Sabotage::ReceivedIdsAreForgotten
            | Sabotage::WritesAreLost
            | Sabotage::WillsAreRenamed
    );
    for seed in 1..=60 {
        let workload = Workload { restarts, ..Workload::new(200, faults) };
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
fn leases_that_outlive_their_revocation_are_noticed() {
    check(Sabotage::LeasesOutliveRevocation, "never got");
}

#[test]
fn calls_that_are_done_twice_are_noticed() {
    check(Sabotage::RepeatsAreAppliedAgain, "twice, although it was sent once");
}

#[test]
fn packet_identifiers_of_qos_2_that_are_forgotten_are_noticed() {
    check(Sabotage::ReceivedIdsAreForgotten, "of QoS 2 twice");
}

#[test]
fn writes_that_are_confirmed_and_lost_are_noticed() {
    check(Sabotage::WritesAreLost, "never got");
}

#[test]
fn wills_of_clients_that_came_back_in_time_are_noticed() {
    check(Sabotage::WillsAreNotCancelled, "was taken up before the Will Delay Interval was over");
}

#[test]
fn wills_of_clients_that_said_goodbye_are_noticed() {
    check(Sabotage::DisconnectsAreForgotten, "although its client said goodbye");
}

#[test]
fn wills_that_are_published_again_under_another_name_are_noticed() {
    check(Sabotage::WillsAreRenamed, "of QoS 2, was published twice");
}

#[test]
fn presence_events_that_are_confirmed_and_lost_are_noticed() {
    check(Sabotage::EventsAreLost, "nobody was told that");
}

/// A Broker is replaced while it still runs and goes on to publish; meanwhile somebody subscribes.
fn publishing_while_replaced(sabotage: Option<Sabotage>) -> Vec<String> {
    let mut world = World::new(WorldSettings { sabotage, ..WorldSettings::default() });
    let publisher = world.connect(ClientOptions::new("p", 0));
    world.run_for(100);
    world.publish(publisher, "t", Qos::AtLeastOnce);
    world.run_for(2_500);
    world.publish(publisher, "t", Qos::AtLeastOnce);
    world.run_for(100);
    world.replace_broker(0, 20_000);
    world.connect(ClientOptions::new("x", 0));
    world.run_for(100);
    let subscriber = world.connect(ClientOptions::new("s", 1));
    world.subscribe(subscriber, &["t"], Qos::AtLeastOnce);
    for _ in 0..100 {
        world.publish(publisher, "t", Qos::AtLeastOnce);
        world.run_for(50);
    }
    world.end_zombies();
    world.settle(60_000);
    model::violations(&world)
}

#[test]
fn an_epoch_that_is_skipped_is_noticed() {
    assert_eq!(publishing_while_replaced(None), Vec::<String>::new());
    let violations = publishing_while_replaced(Some(Sabotage::EpochsAreSkipped));
    assert!(violations.iter().any(|violation| violation.contains("never got")), "{violations:?}");
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
