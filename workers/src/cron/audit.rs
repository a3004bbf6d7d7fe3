//! Takes what is too old out of the audit log.

use crate::http;
use durable_objects::d1::Registry;
use durable_objects::log_line;
use registry::audit::KEPT_MILLIS;
use registry::{Partition, statements};
use serde_json::json;
use worker::Env;

const MINUTE_MILLIS: u64 = 60_000;

/// Once an hour, as it reads rows.
pub async fn forget(env: &Env) {
    let now = http::now();
    if !(now.0 / MINUTE_MILLIS).is_multiple_of(60) {
        return;
    }
    let before = iot_types::UnixMillis(now.0.saturating_sub(KEPT_MILLIS));
    let statement = statements::forget_audit_log(Partition::FIRST, before);
    if let Err(error) = Registry::new(env.clone()).batch(&[statement]).await {
        log_line(&json!({"level": "error", "event": "audit_log_not_forgotten", "reason": error.to_string()}));
    }
}
