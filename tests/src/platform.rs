//! The platform that the tests share.

use serde::Deserialize;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// What `cargo xtask dev --json` prints.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contract {
    /// `http://127.0.0.1:PORT`
    pub endpoint: String,
    /// `ws://127.0.0.1:PORT/mqtt`
    pub mqtt: String,
    /// The key that may do everything.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// What requests are signed for.
    pub region: String,
    /// What ARNs name.
    pub account_id: String,
    /// With it a request may say which client certificate was verified in TLS.
    pub local_tls_secret: Option<String>,
}

impl Contract {
    /// `127.0.0.1:PORT`
    #[must_use]
    pub fn authority(&self) -> &str {
        self.endpoint.strip_prefix("http://").expect("the system tests run without TLS")
    }
}

/// The running platform.
///
/// # Panics
/// When none is named: a test that cannot run has failed.
#[must_use]
pub fn platform() -> &'static Contract {
    static CONTRACT: LazyLock<Contract> = LazyLock::new(|| {
        let line = std::env::var("UMBRA_PLATFORM").unwrap_or_else(|_| {
            panic!(
                "UMBRA_PLATFORM is not set: run `cargo xtask test --only rust`, or give it the line that \
                 `cargo xtask dev --json` prints"
            )
        });
        serde_json::from_str(&line).expect("UMBRA_PLATFORM is not the line of `cargo xtask dev --json`")
    });
    &CONTRACT
}

/// The repository's root.
#[must_use]
pub fn root() -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests/ is in the repository").to_owned()
}

/// Milliseconds since the epoch.
#[must_use]
pub fn now_millis() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    u64::try_from(elapsed.as_millis()).expect("the clock is before the year 500 million")
}
