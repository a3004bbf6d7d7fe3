//! Certificates as D1 holds them. What is in one is the `x509` crate's; here it is PEM text, an identifier and what
//! policy variables stand for.

use crate::certificate_transfer::Transfer;
use crate::error::{ApiError, CorruptRow};
use crate::input::{Body, Query, Violations};
use crate::limits::Limits;
use crate::page::{self, List};
use crate::policy::with_marker;
use core::fmt;
use iot_types::{CertificateId, Scope, UnixMillis};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A certificate's status (AWS API, `CertificateStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CertificateStatus {
    Active,
    Inactive,
    Revoked,
    PendingTransfer,
    PendingActivation,
}

impl CertificateStatus {
    const ALL: [Self; 5] =
        [Self::Active, Self::Inactive, Self::Revoked, Self::PendingTransfer, Self::PendingActivation];

    /// AWS's spelling, which is also how it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
            Self::Revoked => "REVOKED",
            Self::PendingTransfer => "PENDING_TRANSFER",
            Self::PendingActivation => "PENDING_ACTIVATION",
        }
    }

    /// The status of this name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

impl fmt::Display for CertificateStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A certificate to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRecord {
    /// The SHA-256 of its DER encoding.
    pub certificate_id: CertificateId,
    /// The certificate itself.
    pub pem: String,
    /// Whether it may be used.
    pub status: CertificateStatus,
    /// The certificate authority that is known to have issued it.
    pub ca_certificate_id: Option<CertificateId>,
    /// What policy variables stand for, by their names behind `iot:Certificate.`.
    pub attributes: BTreeMap<String, Vec<String>>,
    /// From when on it is valid.
    pub not_before: UnixMillis,
    /// Until when.
    pub not_after: UnixMillis,
    /// Names this state of it.
    pub generation_id: String,
    /// When it was registered.
    pub created_at: UnixMillis,
}

/// A row for DescribeCertificate, as D1 gives it; times in Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct CertificateRow {
    pub certificate_id: String,
    pub pem: String,
    pub status: String,
    pub ca_certificate_id: Option<String>,
    pub not_before: u64,
    pub not_after: u64,
    pub customer_version: u64,
    pub generation_id: String,
    pub created_at: u64,
    pub last_modified_at: u64,
    /// Whether policies are attached: 0 or 1.
    pub is_attached: u8,
    /// Whether things are attached: 0 or 1.
    pub has_things: u8,
    /// What is known of its latest transfer, as [`Transfer`] in JSON.
    pub transfer: Option<String>,
}

/// A row for ListCertificates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct CertificateSummaryRow {
    pub certificate_id: String,
    pub status: String,
    pub ca_certificate_id: Option<String>,
    pub created_at: u64,
}

/// What a Broker asks about a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct CertificateInUseRow {
    pub certificate_id: String,
    pub status: String,
    pub ca_certificate_id: Option<String>,
    /// A JSON object of arrays of strings.
    pub attributes: String,
    pub not_before: u64,
    pub not_after: u64,
}

impl CertificateInUseRow {
    /// What policy variables stand for, if the certificate may be used `now`; `None` if it may not.
    ///
    /// # Errors
    /// [`CorruptRow`].
    pub fn usable(&self, now: UnixMillis) -> Result<Option<BTreeMap<String, Vec<String>>>, CorruptRow> {
        let is_usable =
            self.status == CertificateStatus::Active.as_str() && (self.not_before..=self.not_after).contains(&now.0);
        if !is_usable {
            return Ok(None);
        }
        self.attributes().map(Some)
    }

    /// What policy variables stand for, whether it may be used or not.
    ///
    /// # Errors
    /// [`CorruptRow`].
    pub fn attributes(&self) -> Result<BTreeMap<String, Vec<String>>, CorruptRow> {
        let attributes = serde_json::from_str(&self.attributes);
        attributes.map_err(|_| CorruptRow { table: "certificates", column: "attributes" })
    }
}

/// A valid RegisterCertificateWithoutCA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterCertificateRequest {
    /// The certificate, as the client sent it.
    pub pem: String,
    /// The status to begin with.
    pub status: CertificateStatus,
}

impl RegisterCertificateRequest {
    /// Parses the request body.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let body = Body::parse(body)?;
        let pem = body.string("certificatePem")?.unwrap_or_default().to_owned();
        if pem.is_empty() {
            return Err(ApiError::invalid_request("certificatePem must not be empty"));
        }
        let status = match body.string("status")? {
            // As in AWS, registered without a status it is not active.
            None => CertificateStatus::Inactive,
            Some(text) => settable(text)?,
        };
        Ok(Self { pem, status })
    }
}

/// A status that clients may set.
pub(crate) fn settable(text: &str) -> Result<CertificateStatus, ApiError> {
    match CertificateStatus::parse(text) {
        Some(status @ (CertificateStatus::Active | CertificateStatus::Inactive | CertificateStatus::Revoked)) => {
            Ok(status)
        }
        Some(status) => Err(ApiError::invalid_request(format!("A certificate cannot be set to {status}"))),
        None => Err(ApiError::invalid_request("The status of a certificate must be ACTIVE, INACTIVE or REVOKED")),
    }
}

/// A certificate's identifier in a path.
///
/// # Errors
/// `InvalidRequestException`.
pub fn parse_certificate_id(text: &str) -> Result<CertificateId, ApiError> {
    CertificateId::new(text.to_ascii_lowercase()).map_err(|error| ApiError::invalid_request(error.to_string()))
}

/// The status that UpdateCertificate sets (`newStatus` in the query).
///
/// # Errors
/// `InvalidRequestException`.
pub fn new_status(query: &str) -> Result<CertificateStatus, ApiError> {
    settable(Query::parse(query).string("newStatus").unwrap_or_default())
}

/// Whether DeleteCertificate is to detach policies first (`forceDelete` in the query).
///
/// # Errors
/// `SerializationException`.
pub fn forces_delete(query: &str) -> Result<bool, ApiError> {
    Ok(Query::parse(query).boolean("forceDelete")?.unwrap_or(false))
}

/// Whether a registration stored the certificate, from the rows that
/// [`insert_certificate`](crate::statements::insert_certificate) changed.
///
/// # Errors
/// `ResourceAlreadyExistsException`.
pub fn settle_register(scope: &Scope, id: &CertificateId, rows_changed: u64) -> Result<(), ApiError> {
    if rows_changed > 0 {
        return Ok(());
    }
    let message = "The certificate is already provisioned or registered";
    Err(ApiError::resource_already_exists(message, id.as_str(), scope.certificate_arn(id).as_str()))
}

/// The certificate that must exist.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn found(id: &CertificateId, row: Option<CertificateRow>) -> Result<CertificateRow, ApiError> {
    row.ok_or_else(|| not_found(id))
}

pub(crate) fn not_found(id: &CertificateId) -> ApiError {
    ApiError::resource_not_found(format!("The certificate given in the request does not exist (id={id})"))
}

/// Whether UpdateCertificate found the certificate, from the rows that it changed.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn settle_update(id: &CertificateId, rows_changed: u64) -> Result<(), ApiError> {
    if rows_changed > 0 { Ok(()) } else { Err(not_found(id)) }
}

/// Whether DeleteCertificate deleted the certificate, from the rows that it changed and what is left of it.
///
/// # Errors
/// `CertificateStateException` for one that is active, `DeleteConflictException` for one with policies,
/// `ResourceNotFoundException`.
pub fn settle_delete(id: &CertificateId, rows_changed: u64, left: Option<&CertificateRow>) -> Result<(), ApiError> {
    match (rows_changed, left) {
        (1.., _) => Ok(()),
        (0, None) => Err(not_found(id)),
        (0, Some(row)) if row.status == CertificateStatus::Active.as_str() => {
            let message = format!("Certificate must be deactivated (not ACTIVE) before deletion. (id={id})");
            Err(ApiError::new("CertificateStateException", 406, message))
        }
        (0, Some(row)) if row.has_things == 1 => {
            Err(ApiError::delete_conflict(format!("Things must be detached before deletion (id={id})")))
        }
        (0, Some(_)) => Err(ApiError::delete_conflict(format!(
            "Certificate policies must be detached before deletion (arn={id}), or forceDelete be set"
        ))),
    }
}

/// RegisterCertificateWithoutCAResponse.
#[must_use]
pub fn register_certificate_response(scope: &Scope, id: &CertificateId) -> Vec<u8> {
    json!({"certificateArn": scope.certificate_arn(id).as_str(), "certificateId": id.as_str()}).to_string().into_bytes()
}

fn set(object: &mut Value, name: &str, value: &str) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value.into());
    }
}

/// AWS's `CertificateMode`: one that was registered without its authority serves only clients that send the server's
/// name.
const fn mode(ca_certificate_id: Option<&str>) -> &'static str {
    if ca_certificate_id.is_some() { "DEFAULT" } else { "SNI_ONLY" }
}

/// DescribeCertificateResponse.
///
/// # Errors
/// [`CorruptRow`].
pub fn describe_certificate_response(
    scope: &Scope,
    id: &CertificateId,
    row: &CertificateRow,
) -> Result<Vec<u8>, CorruptRow> {
    let transfer = Transfer::of_row(row.transfer.as_deref())?;
    let mut description = json!({
        "certificateArn": scope.certificate_arn(id).as_str(),
        "certificateId": id.as_str(),
        "status": row.status,
        "certificatePem": row.pem,
        "ownedBy": scope.account_id.as_str(),
        "creationDate": UnixMillis(row.created_at).as_secs(),
        "lastModifiedDate": UnixMillis(row.last_modified_at).as_secs(),
        "customerVersion": row.customer_version,
        "transferData": transfer.as_ref().map_or_else(|| json!({}), Transfer::data),
        "generationId": row.generation_id,
        "validity": {
            "notBefore": UnixMillis(row.not_before).as_secs(),
            "notAfter": UnixMillis(row.not_after).as_secs(),
        },
        "certificateMode": mode(row.ca_certificate_id.as_deref()),
    });
    if let Some(ca) = &row.ca_certificate_id {
        set(&mut description, "caCertificateId", ca.as_str());
    }
    if let Some(from) = transfer.as_ref().filter(|transfer| transfer.accepted_at.is_some()).map(|t| t.from.as_str()) {
        set(&mut description, "previousOwnedBy", from);
    }
    Ok(json!({ "certificateDescription": description }).to_string().into_bytes())
}

/// A valid ListCertificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListCertificatesRequest {
    /// The page begins after this, in the order of the list.
    pub after: (UnixMillis, String),
    /// The most certificates on the page.
    pub page_size: u32,
    /// From the oldest to the newest.
    pub is_ascending: bool,
}

impl ListCertificatesRequest {
    /// Parses the query.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(query: &str, limits: &Limits) -> Result<Self, ApiError> {
        Self::of(List::Certificates, query, limits)
    }

    /// The same for another list in the order of creation.
    pub(crate) fn of(list: List, query: &str, limits: &Limits) -> Result<Self, ApiError> {
        let query = Query::parse(query);
        let mut violations = Violations::default();
        let page_size = query.page_size("pageSize", limits.default_page_size, limits.max_page_size, &mut violations)?;
        violations.finish()?;
        // As in AWS, the newest come first.
        let is_ascending = query.boolean("isAscendingOrder")?.unwrap_or(false);
        let after = match query.string("marker").filter(|marker| !marker.is_empty()) {
            Some(marker) => {
                let key = page::decode_token(list, marker)?;
                let parsed =
                    key.split_once(' ').and_then(|(at, id)| Some((UnixMillis(at.parse().ok()?), id.to_owned())));
                parsed.ok_or_else(|| ApiError::invalid_request("The marker is not valid"))?
            }
            None if is_ascending => (UnixMillis(0), String::new()),
            // Beyond any time that D1 is given, and exact in JavaScript.
            None => (UnixMillis((1 << 53) - 1), String::new()),
        };
        Ok(Self { after, page_size, is_ascending })
    }
}

/// ListCertificatesResponse.
///
/// # Errors
/// [`CorruptRow`].
pub fn list_certificates_response(
    scope: &Scope,
    request: &ListCertificatesRequest,
    rows: Vec<CertificateSummaryRow>,
) -> Result<Vec<u8>, CorruptRow> {
    summaries(scope, request, List::Certificates, rows)
}

/// A page of certificates, of whatever list.
pub(crate) fn summaries(
    scope: &Scope,
    request: &ListCertificatesRequest,
    list: List,
    mut rows: Vec<CertificateSummaryRow>,
) -> Result<Vec<u8>, CorruptRow> {
    let key = |row: &CertificateSummaryRow| format!("{} {}", row.created_at, row.certificate_id);
    let next = page::cut(&mut rows, request.page_size, list, key);
    let certificates = rows.into_iter().map(|row| {
        let id = CertificateId::new(row.certificate_id)
            .map_err(|_| CorruptRow { table: "certificates", column: "certificate_id" })?;
        Ok(json!({
            "certificateArn": scope.certificate_arn(&id).as_str(),
            "certificateId": id.as_str(),
            "status": row.status,
            "certificateMode": mode(row.ca_certificate_id.as_deref()),
            "creationDate": UnixMillis(row.created_at).as_secs(),
        }))
    });
    Ok(with_marker("certificates", certificates.collect::<Result<_, _>>()?, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_may_be_used_while_it_is_active_and_valid() {
        let row = |status: &str| CertificateInUseRow {
            certificate_id: "0a".repeat(32),
            status: status.into(),
            ca_certificate_id: None,
            attributes: r#"{"Subject.CommonName":["lamp"]}"#.into(),
            not_before: 1_000,
            not_after: 2_000,
        };
        for (status, now, is_usable) in [
            ("ACTIVE", 1_000, true),
            ("ACTIVE", 2_000, true),
            ("ACTIVE", 999, false),
            ("ACTIVE", 2_001, false),
            ("INACTIVE", 1_500, false),
            ("REVOKED", 1_500, false),
            ("PENDING_TRANSFER", 1_500, false),
            ("PENDING_ACTIVATION", 1_500, false),
        ] {
            assert_eq!(row(status).usable(UnixMillis(now)).unwrap().is_some(), is_usable, "{status} {now}");
        }
        let corrupt = CertificateInUseRow { attributes: "[]".into(), ..row("ACTIVE") };
        assert!(corrupt.usable(UnixMillis(1_500)).is_err());
    }

    #[test]
    fn only_three_statuses_can_be_set() {
        for (query, expected) in [
            ("newStatus=ACTIVE", Some(CertificateStatus::Active)),
            ("newStatus=INACTIVE", Some(CertificateStatus::Inactive)),
            ("newStatus=REVOKED", Some(CertificateStatus::Revoked)),
            ("newStatus=PENDING_TRANSFER", None),
            ("newStatus=active", None),
            ("", None),
        ] {
            assert_eq!(new_status(query).ok(), expected, "{query}");
        }
        let parse = |body: &str| RegisterCertificateRequest::parse(body.as_bytes());
        assert_eq!(parse(r#"{"certificatePem":"x"}"#).unwrap().status, CertificateStatus::Inactive);
        assert_eq!(parse(r#"{"certificatePem":"x","status":"ACTIVE"}"#).unwrap().status, CertificateStatus::Active);
        for body in ["{}", r#"{"certificatePem":""}"#, r#"{"certificatePem":"x","status":"PENDING_TRANSFER"}"#] {
            assert_eq!(parse(body).unwrap_err().name(), "InvalidRequestException", "{body}");
        }
    }

    #[test]
    fn certificates_are_listed_from_the_newest() {
        let parse = |query: &str| ListCertificatesRequest::parse(query, &Limits::STANDARD);
        assert_eq!(parse("").unwrap().after.0, UnixMillis((1 << 53) - 1));
        assert_eq!(parse("isAscendingOrder=true").unwrap().after.0, UnixMillis(0));
        let marker = page::encode_token(List::Certificates, "17 0a");
        assert_eq!(parse(&format!("marker={marker}")).unwrap().after, (UnixMillis(17), "0a".to_owned()));
        let broken = page::encode_token(List::Certificates, "x");
        assert_eq!(parse(&format!("marker={broken}")).unwrap_err().name(), "InvalidRequestException");
    }
}
