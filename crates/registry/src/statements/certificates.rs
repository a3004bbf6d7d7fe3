//! Statements about certificates. Whoever changes a status adds [`append_control_log`](super::append_control_log) to the
//! batch.

use super::policies::json_array;
use super::{Parameter, Sql, Statement, page_limit};
use crate::certificate::{CertificateRecord, CertificateStatus, ListCertificatesRequest};
use crate::partition::Partition;
use crate::provisioning_template::ExpiringCertificate;
use iot_types::{CertificateId, UnixMillis};

pub(super) const INSERT_CERTIFICATE: Sql = Sql {
    name: "INSERT_CERTIFICATE",
    text: "INSERT INTO certificates (certificate_id, pem, status, ca_certificate_id, attributes, not_before, not_after, \
           customer_version, generation_id, created_at, last_modified_at) \
           VALUES (?1, ?2, ?3, ?9, ?4, ?5, ?6, 1, ?7, ?8, ?8) ON CONFLICT (certificate_id) DO NOTHING",
    parameters: &[
        "certificate_id",
        "pem",
        "status",
        "attributes",
        "not_before",
        "not_after",
        "generation_id",
        "created_at",
        "ca_certificate_id or NULL",
    ],
    plan: "",
};

pub(super) const SELECT_CERTIFICATE: Sql = Sql {
    name: "SELECT_CERTIFICATE",
    text: "SELECT c.certificate_id, c.pem, c.status, c.ca_certificate_id, c.not_before, c.not_after, \
           c.customer_version, c.generation_id, c.created_at, c.last_modified_at, \
           EXISTS (SELECT 1 FROM policy_attachments WHERE target = ?2) AS is_attached, \
           EXISTS (SELECT 1 FROM thing_principals WHERE principal = ?2) AS has_things, t.transfer \
           FROM certificates AS c LEFT JOIN certificate_transfers AS t ON t.certificate_id = c.certificate_id \
           WHERE c.certificate_id = ?1",
    parameters: &["certificate_id", "its ARN"],
    plan: "SEARCH c USING PRIMARY KEY (certificate_id=?); \
           SEARCH t USING PRIMARY KEY (certificate_id=?) LEFT-JOIN; \
           SCALAR SUBQUERY 1; \
           SEARCH policy_attachments USING PRIMARY KEY (target=?); \
           SCALAR SUBQUERY 2; \
           SEARCH thing_principals USING PRIMARY KEY (principal=?)",
};

pub(super) const UPDATE_CERTIFICATE: Sql = Sql {
    name: "UPDATE_CERTIFICATE",
    text: "UPDATE certificates SET status = ?2, last_modified_at = ?3, generation_id = ?4, \
           customer_version = customer_version + 1 WHERE certificate_id = ?1",
    parameters: &["certificate_id", "status", "last_modified_at", "generation_id"],
    plan: "SEARCH certificates USING PRIMARY KEY (certificate_id=?)",
};

pub(super) const DELETE_CERTIFICATE: Sql = Sql {
    name: "DELETE_CERTIFICATE",
    text: "DELETE FROM certificates WHERE certificate_id = ?1 AND status <> 'ACTIVE' \
           AND (?3 OR NOT EXISTS (SELECT 1 FROM policy_attachments WHERE target = ?2)) \
           AND NOT EXISTS (SELECT 1 FROM thing_principals WHERE principal = ?2)",
    parameters: &["certificate_id", "its ARN", "whether policies are detached"],
    plan: "SEARCH certificates USING PRIMARY KEY (certificate_id=?); \
           SCALAR SUBQUERY 1; \
           SEARCH policy_attachments USING PRIMARY KEY (target=?); \
           SCALAR SUBQUERY 2; \
           SEARCH thing_principals USING PRIMARY KEY (principal=?)",
};

/// After [`DELETE_CERTIFICATE`]: what it has left behind.
pub(super) const DETACH_FROM_CERTIFICATE: Sql = Sql {
    name: "DETACH_FROM_CERTIFICATE",
    text: "DELETE FROM policy_attachments WHERE target = ?2 \
           AND NOT EXISTS (SELECT 1 FROM certificates WHERE certificate_id = ?1)",
    parameters: &["certificate_id", "its ARN"],
    plan: "SEARCH policy_attachments USING PRIMARY KEY (target=?); \
           SCALAR SUBQUERY 1; \
           SEARCH certificates USING PRIMARY KEY (certificate_id=?)",
};

pub(super) const DELETE_EXPIRED_CERTIFICATE: Sql = Sql {
    name: "DELETE_EXPIRED_CERTIFICATE",
    text: "DELETE FROM certificates WHERE certificate_id = ?1 AND (?2 OR status = 'PENDING_ACTIVATION')",
    parameters: &["certificate_id", "whether it is a claim"],
    plan: "SEARCH certificates USING PRIMARY KEY (certificate_id=?)",
};

pub(super) const LIST_CERTIFICATES: Sql = Sql {
    name: "LIST_CERTIFICATES",
    text: "SELECT certificate_id, status, ca_certificate_id, created_at FROM certificates WHERE (created_at, certificate_id) > (?1, ?2) \
           ORDER BY created_at, certificate_id LIMIT ?3",
    parameters: &["after created_at", "after certificate_id", "limit"],
    plan: "SEARCH certificates USING INDEX certificates_by_creation ((created_at,certificate_id)>(?,?))",
};

pub(super) const LIST_CERTIFICATES_DESCENDING: Sql = Sql {
    name: "LIST_CERTIFICATES_DESCENDING",
    text: "SELECT certificate_id, status, ca_certificate_id, created_at FROM certificates WHERE (created_at, certificate_id) < (?1, ?2) \
           ORDER BY created_at DESC, certificate_id DESC LIMIT ?3",
    parameters: &["before created_at", "before certificate_id", "limit"],
    plan: "SEARCH certificates USING INDEX certificates_by_creation ((created_at,certificate_id)<(?,?))",
};

/// For a Broker: what it has to know of some certificates, in one read.
pub(super) const SELECT_CERTIFICATES_IN_USE: Sql = Sql {
    name: "SELECT_CERTIFICATES_IN_USE",
    text: "SELECT c.certificate_id, c.status, c.ca_certificate_id, c.attributes, c.not_before, c.not_after FROM json_each(?1) AS t \
           JOIN certificates AS c ON c.certificate_id = t.value",
    parameters: &["certificate_ids, a JSON array"],
    plan: "SCAN t VIRTUAL TABLE INDEX 1:; \
           SEARCH c USING PRIMARY KEY (certificate_id=?)",
};

/// Stores a new certificate; changes 0 rows when it is there.
#[must_use]
pub fn insert_certificate(partition: Partition, certificate: &CertificateRecord) -> Statement {
    let parameters = vec![
        certificate.certificate_id.as_str().into(),
        certificate.pem.as_str().into(),
        certificate.status.as_str().into(),
        // A map of strings always has a JSON form.
        Parameter::Text(serde_json::to_string(&certificate.attributes).unwrap_or_default()),
        certificate.not_before.into(),
        certificate.not_after.into(),
        certificate.generation_id.as_str().into(),
        certificate.created_at.into(),
        certificate.ca_certificate_id.as_ref().map_or(Parameter::Null, |id| id.as_str().into()),
    ];
    INSERT_CERTIFICATE.bind(partition, parameters)
}

/// Reads a certificate: [`CertificateRow`](crate::certificate::CertificateRow), none or one.
#[must_use]
pub fn select_certificate(partition: Partition, id: &CertificateId, arn: &str) -> Statement {
    SELECT_CERTIFICATE.bind(partition, vec![id.as_str().into(), arn.into()])
}

/// Sets a status; changes 0 rows when there is no such certificate.
#[must_use]
pub fn update_certificate(
    partition: Partition,
    id: &CertificateId,
    status: CertificateStatus,
    generation_id: &str,
    now: UnixMillis,
) -> Statement {
    let parameters = vec![id.as_str().into(), status.as_str().into(), now.into(), generation_id.into()];
    UPDATE_CERTIFICATE.bind(partition, parameters)
}

/// Deletes a certificate that is not active and, unless `is_forced`, has no policies; with
/// [`detach_from_certificate`] behind it in the batch.
#[must_use]
pub fn delete_certificate(partition: Partition, id: &CertificateId, arn: &str, is_forced: bool) -> Statement {
    DELETE_CERTIFICATE.bind(partition, vec![id.as_str().into(), arn.into(), is_forced.into()])
}

/// See [`delete_certificate`].
#[must_use]
pub fn detach_from_certificate(partition: Partition, id: &CertificateId, arn: &str) -> Statement {
    DETACH_FROM_CERTIFICATE.bind(partition, vec![id.as_str().into(), arn.into()])
}

/// Deletes a certificate whose time has come: a claim, or one that was never provisioned. One that is in use stays.
#[must_use]
pub fn delete_expired_certificate(partition: Partition, expiring: &ExpiringCertificate) -> Statement {
    DELETE_EXPIRED_CERTIFICATE.bind(partition, vec![expiring.certificate_id.as_str().into(), expiring.is_claim.into()])
}

/// Reads a page of certificates: [`CertificateSummaryRow`](crate::certificate::CertificateSummaryRow), up to one more
/// than the page.
#[must_use]
pub fn list_certificates(partition: Partition, request: &ListCertificatesRequest) -> Statement {
    let (created_at, id) = &request.after;
    let parameters = vec![(*created_at).into(), id.as_str().into(), page_limit(request.page_size)];
    let sql = if request.is_ascending { LIST_CERTIFICATES } else { LIST_CERTIFICATES_DESCENDING };
    sql.bind(partition, parameters)
}

/// Reads some certificates, for a Broker: [`CertificateInUseRow`](crate::certificate::CertificateInUseRow).
#[must_use]
pub fn select_certificates_in_use(partition: Partition, ids: &[&str]) -> Statement {
    SELECT_CERTIFICATES_IN_USE.bind(partition, vec![json_array(ids)])
}
