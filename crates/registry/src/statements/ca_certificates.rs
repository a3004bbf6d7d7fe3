//! Statements about certificate authorities.

use super::{Parameter, Sql, Statement, page_limit};
use crate::ca_certificate::{CaCertificateRecord, MAXIMUM_WITH_SAME_SUBJECT, RegisterCaRequest, UpdateCaRequest};
use crate::certificate::{CertificateStatus, ListCertificatesRequest};
use crate::partition::Partition;
use iot_types::{CertificateId, UnixMillis};

pub(super) const INSERT_CA_CERTIFICATE: Sql = Sql {
    name: "INSERT_CA_CERTIFICATE",
    text: "INSERT INTO ca_certificates (ca_certificate_id, pem, subject_digest, status, registers_devices, \
           certificate_mode, registration_config, not_before, not_after, customer_version, generation_id, created_at, \
           last_modified_at) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 1, ?10, ?11, ?11 \
           WHERE (SELECT COUNT(*) FROM ca_certificates WHERE subject_digest = ?3) < ?12 \
           ON CONFLICT (ca_certificate_id) DO NOTHING",
    parameters: &[
        "ca_certificate_id",
        "pem",
        "subject_digest",
        "status",
        "registers_devices",
        "certificate_mode",
        "registration_config or NULL",
        "not_before",
        "not_after",
        "generation_id",
        "created_at",
        "most of one subject",
    ],
    plan: "SCAN CONSTANT ROW; \
           SCALAR SUBQUERY 1; \
           SEARCH ca_certificates USING COVERING INDEX ca_certificates_by_subject (subject_digest=?)",
};

macro_rules! ca_columns {
    () => {
        "SELECT ca_certificate_id, pem, status, registers_devices, certificate_mode, registration_config, not_before, \
         not_after, customer_version, generation_id, created_at, last_modified_at FROM ca_certificates"
    };
}

pub(super) const SELECT_CA_CERTIFICATE: Sql = Sql {
    name: "SELECT_CA_CERTIFICATE",
    text: concat!(ca_columns!(), " WHERE ca_certificate_id = ?1"),
    parameters: &["ca_certificate_id"],
    plan: "SEARCH ca_certificates USING PRIMARY KEY (ca_certificate_id=?)",
};

/// A handful at most: see [`MAXIMUM_WITH_SAME_SUBJECT`].
pub(super) const SELECT_CA_CERTIFICATES_OF_SUBJECT: Sql = Sql {
    name: "SELECT_CA_CERTIFICATES_OF_SUBJECT",
    text: concat!(ca_columns!(), " WHERE subject_digest = ?1 ORDER BY ca_certificate_id"),
    parameters: &["subject_digest"],
    plan: "SEARCH ca_certificates USING INDEX ca_certificates_by_subject (subject_digest=?)",
};

pub(super) const UPDATE_CA_CERTIFICATE: Sql = Sql {
    name: "UPDATE_CA_CERTIFICATE",
    text: "UPDATE ca_certificates SET status = COALESCE(?2, status), \
           registers_devices = COALESCE(?3, registers_devices), \
           registration_config = CASE WHEN ?5 THEN NULL ELSE COALESCE(?4, registration_config) END, \
           last_modified_at = ?6, generation_id = ?7, customer_version = customer_version + 1 \
           WHERE ca_certificate_id = ?1",
    parameters: &[
        "ca_certificate_id",
        "status or NULL",
        "registers_devices or NULL",
        "registration_config or NULL",
        "whether it is removed",
        "last_modified_at",
        "generation_id",
    ],
    plan: "SEARCH ca_certificates USING PRIMARY KEY (ca_certificate_id=?)",
};

pub(super) const DELETE_CA_CERTIFICATE: Sql = Sql {
    name: "DELETE_CA_CERTIFICATE",
    text: "DELETE FROM ca_certificates WHERE ca_certificate_id = ?1 AND status <> 'ACTIVE'",
    parameters: &["ca_certificate_id"],
    plan: "SEARCH ca_certificates USING PRIMARY KEY (ca_certificate_id=?)",
};

pub(super) const LIST_CA_CERTIFICATES: Sql = Sql {
    name: "LIST_CA_CERTIFICATES",
    text: "SELECT ca_certificate_id, status, created_at FROM ca_certificates \
           WHERE (created_at, ca_certificate_id) > (?1, ?2) ORDER BY created_at, ca_certificate_id LIMIT ?3",
    parameters: &["after created_at", "after ca_certificate_id", "limit"],
    plan: "SEARCH ca_certificates USING INDEX ca_certificates_by_creation ((created_at,ca_certificate_id)>(?,?))",
};

pub(super) const LIST_CA_CERTIFICATES_DESCENDING: Sql = Sql {
    name: "LIST_CA_CERTIFICATES_DESCENDING",
    text: "SELECT ca_certificate_id, status, created_at FROM ca_certificates \
           WHERE (created_at, ca_certificate_id) < (?1, ?2) ORDER BY created_at DESC, ca_certificate_id DESC LIMIT ?3",
    parameters: &["before created_at", "before ca_certificate_id", "limit"],
    plan: "SEARCH ca_certificates USING INDEX ca_certificates_by_creation ((created_at,ca_certificate_id)<(?,?))",
};

pub(super) const LIST_CERTIFICATES_BY_CA: Sql = Sql {
    name: "LIST_CERTIFICATES_BY_CA",
    text: "SELECT certificate_id, status, ca_certificate_id, created_at FROM certificates \
           WHERE ca_certificate_id = ?4 AND (created_at, certificate_id) > (?1, ?2) \
           ORDER BY created_at, certificate_id LIMIT ?3",
    parameters: &["after created_at", "after certificate_id", "limit", "ca_certificate_id"],
    plan: "SEARCH certificates USING INDEX certificates_by_ca (ca_certificate_id=? AND (created_at,certificate_id)>(?,?))",
};

pub(super) const LIST_CERTIFICATES_BY_CA_DESCENDING: Sql = Sql {
    name: "LIST_CERTIFICATES_BY_CA_DESCENDING",
    text: "SELECT certificate_id, status, ca_certificate_id, created_at FROM certificates \
           WHERE ca_certificate_id = ?4 AND (created_at, certificate_id) < (?1, ?2) \
           ORDER BY created_at DESC, certificate_id DESC LIMIT ?3",
    parameters: &["before created_at", "before certificate_id", "limit", "ca_certificate_id"],
    plan: "SEARCH certificates USING INDEX certificates_by_ca (ca_certificate_id=? AND (created_at,certificate_id)<(?,?))",
};

pub(super) const INSERT_REGISTRATION_CODE: Sql = Sql {
    name: "INSERT_REGISTRATION_CODE",
    text: "INSERT INTO registration_codes (registration_code, created_at) SELECT ?1, ?2 \
           WHERE NOT EXISTS (SELECT 1 FROM registration_codes)",
    parameters: &["registration_code", "created_at"],
    plan: "SCAN CONSTANT ROW; \
           SCALAR SUBQUERY 1; \
           SCAN registration_codes",
};

pub(super) const SELECT_REGISTRATION_CODE: Sql = Sql {
    name: "SELECT_REGISTRATION_CODE",
    text: "SELECT registration_code FROM registration_codes",
    parameters: &[],
    plan: "SCAN registration_codes",
};

pub(super) const DELETE_REGISTRATION_CODE: Sql =
    Sql { name: "DELETE_REGISTRATION_CODE", text: "DELETE FROM registration_codes", parameters: &[], plan: "" };

pub(super) const INSERT_PLATFORM_AUTHORITY: Sql = Sql {
    name: "INSERT_PLATFORM_AUTHORITY",
    text: "INSERT INTO platform_authorities (number, pem, sealed_key, created_at) VALUES (1, ?1, ?2, ?3) \
           ON CONFLICT (number) DO NOTHING",
    parameters: &["pem", "sealed_key", "created_at"],
    plan: "",
};

pub(super) const SELECT_PLATFORM_AUTHORITY: Sql = Sql {
    name: "SELECT_PLATFORM_AUTHORITY",
    text: "SELECT pem, sealed_key FROM platform_authorities WHERE number = 1",
    parameters: &[],
    plan: "SEARCH platform_authorities USING INTEGER PRIMARY KEY (rowid=?)",
};

/// Stores a new authority; changes 0 rows when it is there, or when there are too many of its name.
#[must_use]
pub fn insert_ca_certificate(
    partition: Partition,
    certificate: &CaCertificateRecord,
    request: &RegisterCaRequest,
) -> Statement {
    let status = if request.is_active { CertificateStatus::Active } else { CertificateStatus::Inactive };
    let parameters = vec![
        certificate.ca_certificate_id.as_str().into(),
        certificate.pem.as_str().into(),
        certificate.subject_digest.as_str().into(),
        status.as_str().into(),
        request.registers_devices.into(),
        request.mode.as_str().into(),
        request.registration_config.as_deref().map_or(Parameter::Null, Parameter::from),
        certificate.not_before.into(),
        certificate.not_after.into(),
        certificate.generation_id.as_str().into(),
        certificate.created_at.into(),
        MAXIMUM_WITH_SAME_SUBJECT.into(),
    ];
    INSERT_CA_CERTIFICATE.bind(partition, parameters)
}

/// Reads an authority: [`CaCertificateRow`](crate::ca_certificate::CaCertificateRow), none or one.
#[must_use]
pub fn select_ca_certificate(partition: Partition, id: &CertificateId) -> Statement {
    SELECT_CA_CERTIFICATE.bind(partition, vec![id.as_str().into()])
}

/// Reads the authorities of a name: [`CaCertificateRow`](crate::ca_certificate::CaCertificateRow).
#[must_use]
pub fn select_ca_certificates_of_subject(partition: Partition, subject_digest: &str) -> Statement {
    SELECT_CA_CERTIFICATES_OF_SUBJECT.bind(partition, vec![subject_digest.into()])
}

/// Changes an authority; 0 rows when there is none.
#[must_use]
pub fn update_ca_certificate(
    partition: Partition,
    id: &CertificateId,
    request: &UpdateCaRequest,
    generation_id: &str,
    now: UnixMillis,
) -> Statement {
    let parameters = vec![
        id.as_str().into(),
        request.status.map_or(Parameter::Null, |status| status.as_str().into()),
        request.registers_devices.map_or(Parameter::Null, Parameter::from),
        request.registration_config.as_deref().map_or(Parameter::Null, Parameter::from),
        request.removes_registration_config.into(),
        now.into(),
        generation_id.into(),
    ];
    UPDATE_CA_CERTIFICATE.bind(partition, parameters)
}

/// Deletes an authority that is not active.
#[must_use]
pub fn delete_ca_certificate(partition: Partition, id: &CertificateId) -> Statement {
    DELETE_CA_CERTIFICATE.bind(partition, vec![id.as_str().into()])
}

/// Reads a page of authorities: [`CaCertificateSummaryRow`](crate::ca_certificate::CaCertificateSummaryRow).
#[must_use]
pub fn list_ca_certificates(partition: Partition, request: &ListCertificatesRequest) -> Statement {
    let (created_at, id) = &request.after;
    let parameters = vec![(*created_at).into(), id.as_str().into(), page_limit(request.page_size)];
    let sql = if request.is_ascending { LIST_CA_CERTIFICATES } else { LIST_CA_CERTIFICATES_DESCENDING };
    sql.bind(partition, parameters)
}

/// Reads a page of what an authority has issued: [`CertificateSummaryRow`](crate::certificate::CertificateSummaryRow).
#[must_use]
pub fn list_certificates_by_ca(
    partition: Partition,
    ca: &CertificateId,
    request: &ListCertificatesRequest,
) -> Statement {
    let (created_at, id) = &request.after;
    let limit = page_limit(request.page_size);
    let parameters = vec![(*created_at).into(), id.as_str().into(), limit, ca.as_str().into()];
    let sql = if request.is_ascending { LIST_CERTIFICATES_BY_CA } else { LIST_CERTIFICATES_BY_CA_DESCENDING };
    sql.bind(partition, parameters)
}

/// Makes this the registration code, unless there is one.
#[must_use]
pub fn insert_registration_code(partition: Partition, code: &str, now: UnixMillis) -> Statement {
    INSERT_REGISTRATION_CODE.bind(partition, vec![code.into(), now.into()])
}

/// Reads the registration code: [`RegistrationCodeRow`](crate::ca_certificate::RegistrationCodeRow), none or one.
#[must_use]
pub fn select_registration_code(partition: Partition) -> Statement {
    SELECT_REGISTRATION_CODE.bind(partition, Vec::new())
}

/// Deletes the registration code; the next one is another.
#[must_use]
pub fn delete_registration_code(partition: Partition) -> Statement {
    DELETE_REGISTRATION_CODE.bind(partition, Vec::new())
}

/// Makes this the platform's own authority, unless it has one.
#[must_use]
pub fn insert_platform_authority(partition: Partition, pem: &str, sealed_key: &str, now: UnixMillis) -> Statement {
    INSERT_PLATFORM_AUTHORITY.bind(partition, vec![pem.into(), sealed_key.into(), now.into()])
}

/// Reads the platform's own authority: [`PlatformAuthorityRow`](crate::ca_certificate::PlatformAuthorityRow).
#[must_use]
pub fn select_platform_authority(partition: Partition) -> Statement {
    SELECT_PLATFORM_AUTHORITY.bind(partition, Vec::new())
}
