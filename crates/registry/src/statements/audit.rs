//! Statements about the audit log.

use super::{Parameter, Sql, Statement, page_limit};
use crate::audit::{AuditEvent, ListAuditEventsRequest};
use crate::partition::Partition;
use iot_types::UnixMillis;

/// Rows that are deleted at once.
const FORGOTTEN_AT_ONCE: u64 = 500;

pub(super) const APPEND_AUDIT_LOG: Sql = Sql {
    name: "APPEND_AUDIT_LOG",
    text: "INSERT INTO audit_log (at, outcome, principal, source_ip, action, resource, reason, trace_id) \
           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    parameters: &[
        "at",
        "outcome",
        "principal",
        "source_ip or NULL",
        "action",
        "resource",
        "reason or NULL",
        "trace_id",
    ],
    plan: "",
};

/// Reads on until the page is full: what is asked for is nearly always at the end of the log.
pub(super) const LIST_AUDIT_LOG: Sql = Sql {
    name: "LIST_AUDIT_LOG",
    text: "SELECT sequence, at, outcome, principal, source_ip, action, resource, reason, trace_id FROM audit_log \
           WHERE sequence < ?1 AND at >= ?3 AND (?4 IS NULL OR principal = ?4) ORDER BY sequence DESC LIMIT ?2",
    parameters: &["before sequence", "limit", "from", "principal or NULL"],
    plan: "SEARCH audit_log USING INTEGER PRIMARY KEY (rowid<?)",
};

/// The oldest rows, as far as they are too old.
pub(super) const FORGET_AUDIT_LOG: Sql = Sql {
    name: "FORGET_AUDIT_LOG",
    text: "DELETE FROM audit_log WHERE at < ?1 AND sequence IN (SELECT sequence FROM audit_log ORDER BY sequence LIMIT ?2)",
    parameters: &["before", "limit"],
    plan: "SEARCH audit_log USING INTEGER PRIMARY KEY (rowid=?); \
           LIST SUBQUERY 1; \
           SCAN audit_log; \
           CREATE BLOOM FILTER",
};

/// Writes an event.
#[must_use]
pub fn append_audit_log(partition: Partition, event: &AuditEvent) -> Statement {
    let text = |text: &str| Parameter::from(AuditEvent::bounded(text));
    let parameters = vec![
        event.at.into(),
        event.outcome.as_str().into(),
        text(&event.principal),
        event.source_ip.as_deref().map_or(Parameter::Null, text),
        text(&event.action),
        text(&event.resource),
        event.reason.as_deref().map_or(Parameter::Null, text),
        text(&event.trace_id),
    ];
    APPEND_AUDIT_LOG.bind(partition, parameters)
}

/// Reads a page of events: [`AuditRow`](crate::audit::AuditRow), up to one more than the page.
#[must_use]
pub fn list_audit_log(partition: Partition, request: &ListAuditEventsRequest) -> Statement {
    let principal = request.principal.as_deref().map_or(Parameter::Null, Parameter::from);
    let parameters = vec![request.before.into(), page_limit(request.size), request.from.into(), principal];
    LIST_AUDIT_LOG.bind(partition, parameters)
}

/// Deletes some of the events that are older than this.
#[must_use]
pub fn forget_audit_log(partition: Partition, before: UnixMillis) -> Statement {
    FORGET_AUDIT_LOG.bind(partition, vec![before.into(), FORGOTTEN_AT_ONCE.into()])
}
