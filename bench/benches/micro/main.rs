//! What single steps of a publish cost, natively and without a platform: `cargo bench -p bench --bench micro [-- NAME]`.
//!
//! In scope: the codec, the index of subscriptions, rules, policies, and the whole way through `Broker::handle` and `flush`. Out of scope:
//! what frames cost in workerd (`cargo run --release -p bench`), and allocations (`--bench allocations`).
#![allow(clippy::expect_used, reason = "a benchmark that cannot be set up shall stop")]

mod codec;
mod nodes;
mod policies;
mod rule_index;
#[path = "../support/mod.rs"]
mod support;
mod topic_index;

use criterion::Criterion;
use std::time::Duration;

fn main() {
    // short: there are many, and what is looked for is more than a few percent
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_200))
        .sample_size(20)
        .configure_from_args();
    codec::run(&mut criterion);
    topic_index::run(&mut criterion);
    rule_index::run(&mut criterion);
    policies::run(&mut criterion);
    nodes::run(&mut criterion);
    criterion.final_summary();
}
