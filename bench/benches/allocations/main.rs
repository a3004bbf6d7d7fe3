//! How often and how much memory is allocated for a publish: `cargo bench -p bench --bench allocations [-- NAME]`.
//!
//! Counted is everything from a frame's bytes, which are there already, until what leaves has been dropped. In workerd the copy
//! of a frame out of JavaScript's memory is one more. What the benchmark itself does allocates nothing.
#![allow(clippy::print_stdout, reason = "it is what this is for")]

#[path = "../support/mod.rs"]
mod support;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use support::paths;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// As many that what happens now and then, such as a table that grows, shows in its share.
const TURNS: u32 = 20_000;

fn main() {
    // cargo passes options of its own
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with("--")).unwrap_or_default();
    println!("{:>9} {:>9} {:>11}  a publish", "allocated", "resized", "bytes");
    for path in paths::ALL {
        if !path.name.contains(&filter) {
            continue;
        }
        let mut turn = (path.build)();
        for _ in 0..TURNS / 10 {
            turn();
        }
        let region = Region::new(ALLOCATOR);
        for _ in 0..TURNS {
            turn();
        }
        let change = region.change();
        let publishes = f64::from(TURNS) * f64::from(path.publishes);
        let each = |count: usize| u32::try_from(count).map_or(f64::INFINITY, f64::from) / publishes;
        println!(
            "{:>9.2} {:>9.2} {:>11.1}  {}",
            each(change.allocations),
            each(change.reallocations),
            each(change.bytes_allocated),
            path.name
        );
    }
}
