//! Invariant L over a network that delays, loses and repeats, with restarts of everything, zombies, failing storage and
//! virtual shards that move: once a registration is complete, every route of every Broker names its destination.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;
#[path = "model/world.rs"]
mod world;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use world::{Sabotage, Step, World};

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3_usize, 0..world::FILTERS.len()).prop_map(|(broker, filter)| Step::Subscribe { broker, filter }),
        3 => (0..3_usize, 0..world::FILTERS.len()).prop_map(|(broker, filter)| Step::Unsubscribe { broker, filter }),
        4 => (0..world::FILTERS.len()).prop_map(|filter| Step::SubscribeDurable { filter }),
        2 => (0..world::FILTERS.len()).prop_map(|filter| Step::UnsubscribeDurable { filter }),
        14 => (0..6_usize, 0..world::TOPICS.len()).prop_map(|(holder, topic)| Step::Publish { holder, topic }),
        24 => any::<u16>().prop_map(Step::Deliver),
        10 => (1..4_u8).prop_map(Step::Flush),
        3 => any::<u16>().prop_map(Step::Lose),
        3 => any::<u16>().prop_map(Step::Late),
        3 => any::<u16>().prop_map(Step::Repeat),
        3 => (0..3_usize).prop_map(Step::RestartRouter),
        2 => (0..3_usize).prop_map(Step::RestartBroker),
        2 => (0..3_usize).prop_map(Step::WakeBroker),
        2 => (0..3_usize).prop_map(Step::GiveBack),
        1 => Just(Step::RestartSessions),
        2 => (0..3_usize, 0..20_u32).prop_map(|(router, after)| Step::StoreFails { router, after }),
        3 => (0..world::FILTERS.len(), 0..3_u32).prop_map(|(filter, to)| Step::HandOver { filter, to }),
        6 => prop_oneof![Just(5_u64), Just(700), Just(3_000), Just(31_000), Just(61_000)].prop_map(Step::Advance),
    ]
}

fn run(steps: Vec<Step>, view_bytes: usize, sabotage: Option<Sabotage>) -> Result<(), String> {
    let mut world = World::new(view_bytes, sabotage);
    for step in steps {
        world.step(step)?;
    }
    world.settle()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, max_shrink_iters: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_publish_after_a_registration_is_complete_finds_it(
        steps in prop::collection::vec(step(), 1..250), is_small in any::<bool>()
    ) {
        let view_bytes = if is_small { 40 } else { 100_000 };
        run(steps, view_bytes, None).map_err(TestCaseError::fail)?;
    }
}

/// A mistake built in on purpose is found, or the test above means nothing.
fn check_found(sabotage: Sabotage) {
    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec(step(), 100..250);
    for _ in 0..3_000 {
        let steps = steps.new_tree(&mut runner).unwrap().current();
        match run(steps, 100_000, Some(sabotage)) {
            Err(complaint) if complaint.contains("does not find") => return,
            _ => {}
        }
    }
    panic!("{sabotage:?} goes unnoticed");
}

#[test]
fn revocations_that_holders_ignore_are_noticed() {
    check_found(Sabotage::RevocationsAreIgnored);
}

#[test]
fn holders_that_are_not_stored_are_noticed() {
    check_found(Sabotage::HoldersAreNotStored);
}

#[test]
fn answers_that_a_revocation_overtook_are_noticed() {
    check_found(Sabotage::TaintIsIgnored);
}

#[test]
fn acknowledgements_by_another_epoch_are_noticed() {
    check_found(Sabotage::EpochsAreIgnored);
}

#[test]
fn leases_that_last_too_long_are_noticed() {
    check_found(Sabotage::LeasesLastTooLong);
}

#[test]
fn ancestors_without_marks_are_noticed() {
    check_found(Sabotage::MarksAreNotStored);
}

#[test]
fn zombies_that_never_have_to_prove_anything_are_noticed() {
    check_found(Sabotage::ZombiesGoOn);
}

#[test]
fn subscriptions_that_are_not_stored_are_noticed() {
    check_found(Sabotage::SubscriptionsAreNotStored);
}
