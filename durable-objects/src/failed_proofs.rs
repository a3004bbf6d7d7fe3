//! Who fails too often to prove who it is has to wait: counted by Cloudflare's rate limiting for each location, and
//! remembered here for as long as it counts.

use crate::outgoing::now_millis;
use core::net::IpAddr;
use iot_types::UnixMillis;
use std::cell::RefCell;
use std::collections::BTreeMap;
use worker::Env;

/// For how long, in milliseconds: the period of both bindings in wrangler.toml.
const BLOCKED_MILLIS: u64 = 60_000;
/// Of an address, whoever it says it is: many devices may be behind one.
const OF_ADDRESS: &str = "FAILED_PROOFS_OF_ADDRESS";
/// Of an address that says it is this client.
const OF_CLIENT: &str = "FAILED_PROOFS_OF_CLIENT";
/// Blocked callers that are remembered; those whose time ends first make room.
const MAXIMUM_BLOCKED: usize = 1_024;

thread_local! {
    static BLOCKED: RefCell<BTreeMap<String, UnixMillis>> = const { RefCell::new(BTreeMap::new()) };
}

/// Somebody who wants to prove who it is.
pub struct Prover {
    keys: Vec<(&'static str, String)>,
}

impl Prover {
    /// From this address, saying it is this client. On a laptop, where all come from the same machine, only the client
    /// counts.
    #[must_use]
    pub fn new(source_ip: Option<&str>, client_id: Option<&str>) -> Self {
        let is_remote = |ip: &&str| !ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        let source_ip = source_ip.filter(is_remote);
        let address = source_ip.map(|ip| (OF_ADDRESS, ip.to_owned()));
        let client = client_id
            .filter(|client_id| !client_id.is_empty())
            .map(|client_id| (OF_CLIENT, format!("{} {client_id}", source_ip.unwrap_or_default())));
        Self { keys: address.into_iter().chain(client).collect() }
    }

    /// Whether it has to wait.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        let now = now_millis();
        BLOCKED
            .with_borrow(|blocked| self.keys.iter().any(|(_, key)| blocked.get(key).is_some_and(|until| *until > now)))
    }

    /// Counts a failure. Without the bindings, or when they fail, nothing is limited.
    pub async fn failed(&self, env: &Env) {
        for (binding, key) in &self.keys {
            let Ok(limiter) = env.rate_limiter(binding) else { continue };
            if limiter.limit(key.clone()).await.is_ok_and(|outcome| !outcome.success) {
                block(key.clone());
            }
        }
    }
}

fn block(key: String) {
    BLOCKED.with_borrow_mut(|blocked| {
        if blocked.len() >= MAXIMUM_BLOCKED
            && let Some(first) = blocked.iter().min_by_key(|(_, until)| **until).map(|(key, _)| key.clone())
        {
            blocked.remove(&first);
        }
        blocked.insert(key, now_millis().plus_millis(BLOCKED_MILLIS));
    });
}
