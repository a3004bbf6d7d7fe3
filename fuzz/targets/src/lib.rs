//! What is fuzzed: functions that take bytes, do something with them, and panic if what must hold does not.
//!
//! Each returns how many things it found to check. Zero is no fault: most bytes mean nothing. But a corpus of which
//! most files give zero has gone stale, which the replay looks for.
//!
//! In scope: what arrives from outside (the decoder, topics, a whole session, certificates) and what travels between Umbra's own
//! parts. Out of scope: libFuzzer, which `fuzz_targets/` ties to these functions; this crate needs no nightly compiler.

mod certificates;
mod decoder;
mod memory;
mod messages;
mod session;
mod topic_filters;

pub use certificates::certificates;
pub use decoder::decoder;
pub use messages::messages;
pub use session::session;
pub use topic_filters::topic_filters;
