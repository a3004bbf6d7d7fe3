//! The harness of the system tests: the running platform, signed requests, raw MQTT over WebSocket, `cargo xtask dev`.
//!
//! In scope: what several tests in `tests/tests` need and no client library does, since a test must be able to be wrong
//! on purpose.
//! Out of scope: starting the shared platform, which `cargo xtask test` does; well-behaved clients, which are libraries.

// All of this is test code: it fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

pub mod dev;
pub mod http;
pub mod mqtt;
pub mod notation;
pub mod platform;
pub mod table;

use std::time::Duration;

/// How long anything may take before a test gives up. Generous: a slow machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The result of `future`, or a failure that says what did not happen in time.
///
/// # Panics
/// When it takes longer than [`PATIENCE`].
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// A name that no other test uses, on this platform or an earlier one.
#[must_use]
pub fn unique(prefix: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}-{}-{}-{number}", std::process::id(), platform::now_millis())
}
