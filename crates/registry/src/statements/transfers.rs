//! Statements about transfers of certificates.

use super::{Sql, Statement, page_limit};
use crate::certificate::{CertificateStatus, ListCertificatesRequest};
use crate::certificate_transfer::Transfer;
use crate::partition::Partition;
use iot_types::{AccountId, CertificateId, UnixMillis};

pub(super) const BEGIN_TRANSFER: Sql = Sql {
    name: "BEGIN_TRANSFER",
    text: "UPDATE certificates SET status = 'PENDING_TRANSFER', last_modified_at = ?3, generation_id = ?4, \
           customer_version = customer_version + 1 WHERE certificate_id = ?1 AND status = 'INACTIVE' \
           AND NOT EXISTS (SELECT 1 FROM policy_attachments WHERE target = ?2) \
           AND NOT EXISTS (SELECT 1 FROM thing_principals WHERE principal = ?2)",
    parameters: &["certificate_id", "its ARN", "last_modified_at", "generation_id"],
    plan: "SEARCH certificates USING PRIMARY KEY (certificate_id=?); \
           SCALAR SUBQUERY 1; \
           SEARCH policy_attachments USING PRIMARY KEY (target=?); \
           SCALAR SUBQUERY 2; \
           SEARCH thing_principals USING PRIMARY KEY (principal=?)",
};

/// After [`BEGIN_TRANSFER`], under the generation that it gave.
pub(super) const INSERT_TRANSFER: Sql = Sql {
    name: "INSERT_TRANSFER",
    text: "INSERT INTO certificate_transfers (certificate_id, transfer) SELECT certificate_id, ?3 FROM certificates \
           WHERE certificate_id = ?1 AND generation_id = ?2 \
           ON CONFLICT (certificate_id) DO UPDATE SET transfer = excluded.transfer",
    parameters: &["certificate_id", "generation_id", "transfer"],
    plan: "SEARCH certificates USING PRIMARY KEY (certificate_id=?)",
};

pub(super) const END_TRANSFER: Sql = Sql {
    name: "END_TRANSFER",
    text: "UPDATE certificates SET status = ?2, last_modified_at = ?3, generation_id = ?4, \
           customer_version = customer_version + 1 WHERE certificate_id = ?1 AND status = 'PENDING_TRANSFER' \
           AND (?5 IS NULL OR EXISTS (SELECT 1 FROM certificate_transfers \
           WHERE certificate_id = ?1 AND transfer ->> '$.to' = ?5))",
    parameters: &["certificate_id", "status", "last_modified_at", "generation_id", "target account or NULL"],
    plan: "SEARCH certificates USING PRIMARY KEY (certificate_id=?); \
           SCALAR SUBQUERY 1; \
           SEARCH certificate_transfers USING PRIMARY KEY (certificate_id=?)",
};

/// After [`END_TRANSFER`], under the generation that it gave.
pub(super) const NOTE_TRANSFER: Sql = Sql {
    name: "NOTE_TRANSFER",
    text: "UPDATE certificate_transfers SET transfer = json_patch(transfer, ?3) WHERE certificate_id = ?1 \
           AND EXISTS (SELECT 1 FROM certificates WHERE certificate_id = ?1 AND generation_id = ?2)",
    parameters: &["certificate_id", "generation_id", "what has become of it"],
    plan: "SEARCH certificate_transfers USING PRIMARY KEY (certificate_id=?); \
           SCALAR SUBQUERY 1; \
           SEARCH certificates USING PRIMARY KEY (certificate_id=?)",
};

/// After [`END_TRANSFER`], when it was cancelled.
pub(super) const FORGET_TRANSFER: Sql = Sql {
    name: "FORGET_TRANSFER",
    text: "DELETE FROM certificate_transfers WHERE certificate_id = ?1 \
           AND NOT EXISTS (SELECT 1 FROM certificates WHERE certificate_id = ?1 AND generation_id <> ?2)",
    parameters: &["certificate_id", "generation_id"],
    plan: "SEARCH certificate_transfers USING PRIMARY KEY (certificate_id=?); \
           SCALAR SUBQUERY 1; \
           SEARCH certificates USING PRIMARY KEY (certificate_id=?)",
};

pub(super) const LIST_OUTGOING: Sql = Sql {
    name: "LIST_OUTGOING",
    text: "SELECT c.certificate_id, c.created_at, t.transfer FROM certificates AS c \
           LEFT JOIN certificate_transfers AS t ON t.certificate_id = c.certificate_id \
           WHERE c.status = 'PENDING_TRANSFER' AND (c.created_at, c.certificate_id) > (?1, ?2) \
           ORDER BY c.created_at, c.certificate_id LIMIT ?3",
    parameters: &["after created_at", "after certificate_id", "limit"],
    plan: "SEARCH c USING COVERING INDEX certificates_in_transfer ((created_at,certificate_id)>(?,?)); \
           SEARCH t USING PRIMARY KEY (certificate_id=?) LEFT-JOIN",
};

pub(super) const LIST_OUTGOING_DESCENDING: Sql = Sql {
    name: "LIST_OUTGOING_DESCENDING",
    text: "SELECT c.certificate_id, c.created_at, t.transfer FROM certificates AS c \
           LEFT JOIN certificate_transfers AS t ON t.certificate_id = c.certificate_id \
           WHERE c.status = 'PENDING_TRANSFER' AND (c.created_at, c.certificate_id) < (?1, ?2) \
           ORDER BY c.created_at DESC, c.certificate_id DESC LIMIT ?3",
    parameters: &["before created_at", "before certificate_id", "limit"],
    plan: "SEARCH c USING COVERING INDEX certificates_in_transfer ((created_at,certificate_id)<(?,?)); \
           SEARCH t USING PRIMARY KEY (certificate_id=?) LEFT-JOIN",
};

/// Begins a transfer of an INACTIVE certificate without policies; with [`insert_transfer`] behind it in the batch.
#[must_use]
pub fn begin_transfer(
    partition: Partition,
    id: &CertificateId,
    arn: &str,
    generation_id: &str,
    now: UnixMillis,
) -> Statement {
    BEGIN_TRANSFER.bind(partition, vec![id.as_str().into(), arn.into(), now.into(), generation_id.into()])
}

/// See [`begin_transfer`].
#[must_use]
pub fn insert_transfer(
    partition: Partition,
    id: &CertificateId,
    generation_id: &str,
    transfer: &Transfer,
) -> Statement {
    let transfer = transfer.to_json();
    INSERT_TRANSFER.bind(partition, vec![id.as_str().into(), generation_id.into(), transfer.as_str().into()])
}

/// Ends a transfer that is under way, to `target` if there is one; with [`note_transfer`] or [`forget_transfer`] behind
/// it in the batch.
#[must_use]
pub fn end_transfer(
    partition: Partition,
    id: &CertificateId,
    status: CertificateStatus,
    target: Option<&AccountId>,
    generation_id: &str,
    now: UnixMillis,
) -> Statement {
    let target = target.map_or(super::Parameter::Null, |target| target.as_str().into());
    let parameters = vec![id.as_str().into(), status.as_str().into(), now.into(), generation_id.into(), target];
    END_TRANSFER.bind(partition, parameters)
}

/// Adds to what is known of a transfer: `note` is a JSON object. See [`end_transfer`].
#[must_use]
pub fn note_transfer(partition: Partition, id: &CertificateId, generation_id: &str, note: &str) -> Statement {
    NOTE_TRANSFER.bind(partition, vec![id.as_str().into(), generation_id.into(), note.into()])
}

/// See [`end_transfer`]. Deletes also what is left of one whose certificate is not there any more.
#[must_use]
pub fn forget_transfer(partition: Partition, id: &CertificateId, generation_id: &str) -> Statement {
    FORGET_TRANSFER.bind(partition, vec![id.as_str().into(), generation_id.into()])
}

/// Reads a page of transfers under way: [`OutgoingRow`](crate::certificate_transfer::OutgoingRow), up to one more than
/// the page.
#[must_use]
pub fn list_outgoing(partition: Partition, request: &ListCertificatesRequest) -> Statement {
    let (created_at, id) = &request.after;
    let parameters = vec![(*created_at).into(), id.as_str().into(), page_limit(request.page_size)];
    let sql = if request.is_ascending { LIST_OUTGOING } else { LIST_OUTGOING_DESCENDING };
    sql.bind(partition, parameters)
}
