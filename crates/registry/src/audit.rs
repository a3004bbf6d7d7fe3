//! The audit log: who changed what over the API, and what was denied to whom. AWS has CloudTrail for it; here it is an
//! operation, ListAuditEvents. Nothing in it is a secret: a request's body is never part of it.

use crate::error::ApiError;
use crate::input::{Query, Violations};
use crate::limits::Limits;
use crate::operation::{Operation, Plane};
use crate::page::{self, List};
use iot_types::UnixMillis;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// How long rows are kept, in milliseconds: 90 days, as CloudTrail's event history is.
pub const KEPT_MILLIS: u64 = 90 * 24 * 60 * 60 * 1_000;

/// Longest text in a column, in bytes: a topic may have 65,535.
const LONGEST_TEXT: usize = 1_024;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An operation has changed something, or tried to and found it so.
    Changed,
    /// Somebody wanted what no policy allows, or a policy denies.
    Denied,
}

impl Outcome {
    /// As it is stored and told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Denied => "denied",
        }
    }
}

/// A row to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// When.
    pub at: UnixMillis,
    /// What happened.
    pub outcome: Outcome,
    /// Who; empty when nobody has proved anything.
    pub principal: String,
    /// From where, if it is known.
    pub source_ip: Option<String>,
    /// Such as `iot:CreateThing`.
    pub action: String,
    /// An ARN, or `*`.
    pub resource: String,
    /// Why it was denied.
    pub reason: Option<String>,
    /// Of the request or the connection, as in logs and answers.
    pub trace_id: String,
}

impl AuditEvent {
    /// A text as it is stored, which may be cut.
    pub(crate) fn bounded(text: &str) -> &str {
        let end = (0..=LONGEST_TEXT.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.get(..end).unwrap_or_default()
    }
}

/// A row as D1 gives it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct AuditRow {
    pub sequence: u64,
    pub at: u64,
    pub outcome: String,
    pub principal: String,
    pub source_ip: Option<String>,
    pub action: String,
    pub resource: String,
    pub reason: Option<String>,
    pub trace_id: String,
}

/// Whether an operation changes what the registry has, and so is logged.
#[must_use]
pub fn is_change(operation: Operation) -> bool {
    use Operation as O;
    let only_reads = operation.is_get()
        || matches!(
            operation,
            O::ListAttachedPolicies
                | O::ListTargetsForPolicy
                | O::GetEffectivePolicies
                | O::TestAuthorization
                | O::TestInvokeAuthorizer
                | O::SearchIndex
                | O::GetStatistics
                | O::GetCardinality
                | O::GetPercentiles
                | O::GetBucketsAggregation
        );
    operation.plane() == Plane::Iot && !only_reads
}

/// A valid ListAuditEvents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListAuditEventsRequest {
    /// The page begins after this one; the newest come first.
    pub before: u64,
    /// The most on the page.
    pub size: u32,
    /// Only from then on.
    pub from: UnixMillis,
    /// Only of this principal.
    pub principal: Option<String>,
}

impl ListAuditEventsRequest {
    /// Parses the query: `maxResults`, `nextToken`, `startTime` (seconds since 1970), `principal`.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(query: &str, limits: &Limits) -> Result<Self, ApiError> {
        let query = Query::parse(query);
        let mut violations = Violations::default();
        let size = query.max_results(limits.default_page_size, limits.max_page_size, &mut violations)?;
        violations.finish()?;
        let before = match query.string("nextToken").filter(|token| !token.is_empty()) {
            None => i64::MAX.unsigned_abs() >> 10,
            Some(token) => {
                let key = page::decode_token(List::AuditEvents, token)?;
                key.parse().map_err(|_| ApiError::invalid_request("The nextToken is not valid"))?
            }
        };
        let from = query.long("startTime")?.and_then(|secs| u64::try_from(secs).ok()).unwrap_or_default();
        let principal = query.string("principal").map(str::to_owned);
        Ok(Self { before, size, from: UnixMillis(from.saturating_mul(1_000)), principal })
    }

    /// The answer.
    #[must_use]
    pub fn response(&self, mut rows: Vec<AuditRow>) -> Vec<u8> {
        let next = page::cut(&mut rows, self.size, List::AuditEvents, |row| row.sequence.to_string());
        let events: Vec<Value> = rows
            .into_iter()
            .map(|row| {
                let mut event = json!({
                    "eventId": row.sequence,
                    "eventTime": row.at / 1_000,
                    "outcome": row.outcome,
                    "principal": row.principal,
                    "action": row.action,
                    "resource": row.resource,
                    "traceId": row.trace_id,
                });
                if let Some(event) = event.as_object_mut() {
                    event.extend(row.source_ip.map(|ip| ("sourceIp".to_owned(), ip.into())));
                    event.extend(row.reason.map(|reason| ("reason".to_owned(), reason.into())));
                }
                event
            })
            .collect();
        let mut body = Map::new();
        body.insert("events".to_owned(), events.into());
        if let Some(next) = next {
            body.insert("nextToken".to_owned(), next.into());
        }
        Value::Object(body).to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_that_change_something_are_logged() {
        use Operation as O;
        for (operation, expected) in [
            (O::CreateThing, true),
            (O::DeletePolicy, true),
            (O::AttachPolicy, true),
            (O::DetachPolicy, true),
            (O::CreateKeysAndCertificate, true),
            (O::CreateApiKey, true),
            (O::DescribeThing, false),
            (O::ListAttachedPolicies, false),
            (O::TestAuthorization, false),
            (O::Publish, false),
            (O::UpdateThingShadow, false),
        ] {
            assert_eq!(is_change(operation), expected, "{operation:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(AuditEvent::bounded("short"), "short");
        let long = "ä".repeat(1_000);
        assert_eq!(AuditEvent::bounded(&long).len(), 1_024);
        assert_eq!(AuditEvent::bounded(&format!("x{long}")).len(), 1_023);
    }

    #[test]
    fn events_come_page_by_page_from_the_newest() {
        let row = |sequence| AuditRow {
            sequence,
            at: 5_000,
            outcome: "denied".into(),
            principal: "p".into(),
            source_ip: None,
            action: "iot:Publish".into(),
            resource: "arn:x".into(),
            reason: Some("no policy allows it".into()),
            trace_id: "t".into(),
        };
        let parse = |query: &str| ListAuditEventsRequest::parse(query, &Limits::STANDARD);
        let body: Value =
            serde_json::from_slice(&parse("maxResults=1").unwrap().response(vec![row(9), row(8)])).unwrap();
        assert_eq!(body.pointer("/events/0/eventTime"), Some(&json!(5)));
        assert_eq!(body.pointer("/events/0/reason"), Some(&json!("no policy allows it")));
        let token = body.pointer("/nextToken").and_then(Value::as_str).unwrap();
        assert_eq!(parse(&format!("nextToken={token}")).unwrap().before, 9);
        assert_eq!(parse("startTime=7&principal=p").unwrap().from, UnixMillis(7_000));
        assert!(parse("nextToken=x").is_err());
    }
}
