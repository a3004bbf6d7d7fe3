//! A Broker without a platform: its clients are frames, and everything it asks is answered at once, as by objects that are
//! well. Shared by the benchmarks of this directory.
#![allow(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot be set up shall stop")]

pub mod node;
pub mod paths;
