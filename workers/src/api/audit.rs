//! The audit log: ListAuditEvents, and what is written of requests.

use super::Call;
use super::error::Failure;
use durable_objects::audit;
use registry::audit::{AuditEvent, AuditRow, ListAuditEventsRequest, Outcome, is_change};
use registry::authorization::{Needed, needed};
use registry::{Partition, statements};

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = ListAuditEventsRequest::parse(call.query, &call.deployment.limits())?;
    let statement = statements::list_audit_log(Partition::FIRST, &request);
    let rows: Vec<AuditRow> = call.deployment.registry().read(statement).await?;
    Ok(request.response(rows))
}

/// Notes who has changed what, once it is done.
pub async fn note_change(call: &Call<'_>) {
    if !is_change(call.route.operation) {
        return;
    }
    let scope = &call.deployment.config.scope;
    if let Some(first) = needed(&call.route, call.query, &call.body, scope).ok().and_then(|all| all.into_iter().next())
    {
        audit::write(&call.deployment.env, event(call, Outcome::Changed, first, None)).await;
    }
}

/// Notes what was denied to whom, and why.
pub async fn note_denied(call: &Call<'_>, needed: Needed, reason: String) {
    audit::write(&call.deployment.env, event(call, Outcome::Denied, needed, Some(reason))).await;
}

fn event(call: &Call<'_>, outcome: Outcome, needed: Needed, reason: Option<String>) -> AuditEvent {
    AuditEvent {
        at: call.now,
        outcome,
        principal: call.principal.identifier().to_owned(),
        source_ip: call.header("cf-connecting-ip").map(str::to_owned),
        action: needed.action,
        resource: needed.resource,
        reason,
        trace_id: call.request_id.to_owned(),
    }
}
