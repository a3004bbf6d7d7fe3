//! Writing the audit log. What is denied is limited, so that nobody fills the registry by asking.

use crate::d1::Registry;
use crate::host::log_line;
use iot_types::UnixMillis;
use registry::audit::{AuditEvent, Outcome};
use registry::{Partition, statements};
use serde_json::json;
use std::cell::Cell;
use worker::Env;

/// Denied decisions that each isolate may write in a row, and how many it may write again each second.
const BURST: u64 = 20;

thread_local! {
    /// What may still be written of what is denied, and when that was last counted.
    static LEFT: Cell<(u64, UnixMillis)> = const { Cell::new((BURST, UnixMillis(0))) };
}

/// Writes an event, unless too much has been denied of late: then only the log has it.
pub async fn write(env: &Env, event: AuditEvent) {
    if event.outcome == Outcome::Denied && !may_write(event.at) {
        return;
    }
    let statement = statements::append_audit_log(Partition::FIRST, &event);
    if let Err(error) = Registry::new(env.clone()).batch(&[statement]).await {
        log_line(
            &json!({"level": "error", "event": "audit_log_not_written", "trace_id": event.trace_id, "action": event.action, "principal": event.principal, "reason": error.to_string()}),
        );
    }
}

/// One for each second that has passed, up to a burst.
fn may_write(now: UnixMillis) -> bool {
    LEFT.with(|cell| {
        let (left, counted_at) = cell.get();
        let seconds = now.millis_since(counted_at) / 1_000;
        let left = left.saturating_add(seconds).min(BURST);
        let counted_at = if seconds > 0 { now } else { counted_at };
        cell.set((left.saturating_sub(1), counted_at));
        left > 0
    })
}
