//! The rules that Brokers hold, read from the registry.

use broker::StoredRule;
use iot_types::UnixMillis;
use worker::Env;

/// Reads all enabled rules, and the control log's head from before they were read: a change in between is announced
/// with a higher number and read then.
pub async fn load(env: &Env) -> worker::Result<(u64, Vec<StoredRule>)> {
    let _ = (env, UnixMillis(0));
    Err(worker::Error::RustError("not connected".into()))
}
