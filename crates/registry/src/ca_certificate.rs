//! Certificate authorities of the owner, as D1 holds them: those whose devices may be registered, and the platform's
//! own. What is in a certificate is the `x509` crate's.

use crate::certificate::{CertificateStatus, CertificateSummaryRow, ListCertificatesRequest, settable, summaries};
use crate::error::{ApiError, CorruptRow};
use crate::input::{Body, Query};
use crate::limits::Limits;
use crate::page::{self, List};
use crate::policy::with_marker;
use iot_types::{CertificateId, Scope, UnixMillis};
use serde::Deserialize;
use serde_json::{Value, json};

/// Authorities of one name (AWS General Reference, "AWS IoT Core certificate limits").
pub const MAXIMUM_WITH_SAME_SUBJECT: u64 = 10;

/// Longest provisioning configuration, in bytes of its JSON: a template has 10 KiB at most.
const LONGEST_REGISTRATION_CONFIG: usize = 16 * 1_024;

/// AWS's `CertificateMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateMode {
    /// Who registers an authority proves to hold its key.
    Default,
    /// Nothing is proved, and devices have to send the server's name.
    SniOnly,
}

impl CertificateMode {
    /// AWS's spelling, which is also how it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "DEFAULT",
            Self::SniOnly => "SNI_ONLY",
        }
    }
}

/// An authority to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaCertificateRecord {
    /// The SHA-256 of its DER encoding.
    pub ca_certificate_id: CertificateId,
    /// The certificate itself.
    pub pem: String,
    /// What equal subjects have in common.
    pub subject_digest: String,
    /// From when on it is valid.
    pub not_before: UnixMillis,
    /// Until when.
    pub not_after: UnixMillis,
    /// Names this state of it.
    pub generation_id: String,
    /// When it was registered.
    pub created_at: UnixMillis,
}

/// A row for DescribeCACertificate, as D1 gives it; times in Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct CaCertificateRow {
    pub ca_certificate_id: String,
    pub pem: String,
    pub status: String,
    /// 0 or 1.
    pub registers_devices: u8,
    pub certificate_mode: String,
    /// JSON.
    pub registration_config: Option<String>,
    pub not_before: u64,
    pub not_after: u64,
    pub customer_version: u64,
    pub generation_id: String,
    pub created_at: u64,
    pub last_modified_at: u64,
}

/// A row of ListCACertificates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct CaCertificateSummaryRow {
    pub ca_certificate_id: String,
    pub status: String,
    pub created_at: u64,
}

/// The registration code's row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct RegistrationCodeRow {
    pub registration_code: String,
}

/// The platform's own authority.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct PlatformAuthorityRow {
    pub pem: String,
    /// In base64.
    pub sealed_key: String,
}

/// A valid RegisterCACertificate, but for the certificates in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterCaRequest {
    /// The authority's certificate.
    pub pem: String,
    /// What proves that its key is held by who registers it.
    pub verification_pem: Option<String>,
    /// Whether that is needed.
    pub mode: CertificateMode,
    /// Whether it begins ACTIVE.
    pub is_active: bool,
    /// Whether unknown devices with a certificate of it are registered when they connect.
    pub registers_devices: bool,
    /// How such devices are provisioned, as JSON.
    pub registration_config: Option<String>,
}

impl RegisterCaRequest {
    /// Parses query and body.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(query: &str, body: &[u8]) -> Result<Self, ApiError> {
        let query = Query::parse(query);
        let body = Body::parse(body)?;
        let pem = body.string("caCertificate")?.unwrap_or_default().to_owned();
        if pem.is_empty() {
            return Err(ApiError::invalid_request("caCertificate must not be empty"));
        }
        let mode = match body.string("certificateMode")? {
            None | Some("DEFAULT") => CertificateMode::Default,
            Some("SNI_ONLY") => CertificateMode::SniOnly,
            Some(_) => return Err(ApiError::invalid_request("certificateMode must be DEFAULT or SNI_ONLY")),
        };
        let verification_pem = body.string("verificationCertificate")?.filter(|pem| !pem.is_empty());
        if verification_pem.is_none() && mode == CertificateMode::Default {
            let message = "verificationCertificate is needed when certificateMode is DEFAULT";
            return Err(ApiError::invalid_request(message));
        }
        Ok(Self {
            pem,
            verification_pem: verification_pem.map(str::to_owned),
            mode,
            is_active: query.boolean("setAsActive")?.unwrap_or(false),
            registers_devices: query.boolean("allowAutoRegistration")?.unwrap_or(false),
            registration_config: registration_config(&body)?,
        })
    }
}

/// A valid UpdateCACertificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateCaRequest {
    /// What it is to be.
    pub status: Option<CertificateStatus>,
    /// Whether devices are to be registered when they connect.
    pub registers_devices: Option<bool>,
    /// A new configuration.
    pub registration_config: Option<String>,
    /// Whether the configuration is to be removed.
    pub removes_registration_config: bool,
}

impl UpdateCaRequest {
    /// Parses query and body.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(query: &str, body: &[u8]) -> Result<Self, ApiError> {
        let query = Query::parse(query);
        let body = Body::parse(body)?;
        let status = query.string("newStatus").map(ca_status).transpose()?;
        let registers_devices = match query.string("newAutoRegistrationStatus") {
            None => None,
            Some("ENABLE") => Some(true),
            Some("DISABLE") => Some(false),
            Some(_) => return Err(ApiError::invalid_request("newAutoRegistrationStatus must be ENABLE or DISABLE")),
        };
        Ok(Self {
            status,
            registers_devices,
            registration_config: registration_config(&body)?,
            removes_registration_config: body.boolean("removeAutoRegistration")?.unwrap_or(false),
        })
    }
}

/// AWS's `CACertificateStatus`: an authority is never REVOKED.
fn ca_status(text: &str) -> Result<CertificateStatus, ApiError> {
    match settable(text) {
        Ok(status @ (CertificateStatus::Active | CertificateStatus::Inactive)) => Ok(status),
        _ => Err(ApiError::invalid_request("The status of a CA certificate must be ACTIVE or INACTIVE")),
    }
}

fn registration_config(body: &Body) -> Result<Option<String>, ApiError> {
    let Some(config) = body.structure("registrationConfig")? else { return Ok(None) };
    let mut members = serde_json::Map::new();
    for name in ["templateBody", "roleArn", "templateName"] {
        if let Some(value) = config.string(name)? {
            members.insert(name.to_owned(), value.into());
        }
    }
    let text = Value::Object(members).to_string();
    if text.len() > LONGEST_REGISTRATION_CONFIG {
        return Err(ApiError::invalid_request("registrationConfig is too long"));
    }
    Ok(Some(text))
}

/// A valid RegisterCertificate, but for the certificates in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterWithCaRequest {
    /// The device's certificate.
    pub pem: String,
    /// Its authority's, which must be given when several have the same subject.
    pub ca_pem: Option<String>,
    /// The status to begin with.
    pub status: CertificateStatus,
}

impl RegisterWithCaRequest {
    /// Parses query and body.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`; `CertificateStateException` for a status that only the
    /// platform gives.
    pub fn parse(query: &str, body: &[u8]) -> Result<Self, ApiError> {
        let is_active = Query::parse(query).boolean("setAsActive")?;
        let body = Body::parse(body)?;
        let pem = body.string("certificatePem")?.unwrap_or_default().to_owned();
        if pem.is_empty() {
            return Err(ApiError::invalid_request("certificatePem must not be empty"));
        }
        let status = match (body.string("status")?, is_active) {
            (Some("PENDING_ACTIVATION"), _) => {
                let message = "Not allowed to register certificate with PENDING_ACTIVATION status";
                return Err(ApiError::new("CertificateStateException", 406, message));
            }
            (Some(text), _) => settable(text)?,
            (None, Some(true)) => CertificateStatus::Active,
            (None, _) => CertificateStatus::Inactive,
        };
        let ca_pem = body.string("caCertificatePem")?.filter(|pem| !pem.is_empty()).map(str::to_owned);
        Ok(Self { pem, ca_pem, status })
    }
}

/// The CSR in the body of CreateCertificateFromCsr.
///
/// # Errors
/// `InvalidRequestException`, `SerializationException`.
pub fn certificate_signing_request(body: &[u8]) -> Result<String, ApiError> {
    match Body::parse(body)?.string("certificateSigningRequest")? {
        Some(pem) if !pem.is_empty() => Ok(pem.to_owned()),
        _ => Err(ApiError::invalid_request("certificateSigningRequest must not be empty")),
    }
}

/// The status of a new certificate (`setAsActive` in the query).
///
/// # Errors
/// `SerializationException`.
pub fn status_of_created(query: &str) -> Result<CertificateStatus, ApiError> {
    let is_active = Query::parse(query).boolean("setAsActive")?.unwrap_or(false);
    Ok(if is_active { CertificateStatus::Active } else { CertificateStatus::Inactive })
}

/// Whether RegisterCACertificate stored it, from the rows changed and whether it is there now.
///
/// # Errors
/// `ResourceAlreadyExistsException`, `LimitExceededException`.
pub fn settle_register(
    scope: &Scope,
    id: &CertificateId,
    rows_changed: u64,
    stored: Option<&CaCertificateRow>,
) -> Result<(), ApiError> {
    match (rows_changed, stored) {
        (1.., _) => Ok(()),
        (0, Some(_)) => {
            let message = "The CA certificate is already registered";
            Err(ApiError::resource_already_exists(message, id.as_str(), scope.ca_certificate_arn(id).as_str()))
        }
        (0, None) => Err(ApiError::limit_exceeded(format!(
            "{MAXIMUM_WITH_SAME_SUBJECT} CA certificates with this subject are registered already"
        ))),
    }
}

/// The authority that must exist.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn found(id: &CertificateId, row: Option<CaCertificateRow>) -> Result<CaCertificateRow, ApiError> {
    row.ok_or_else(|| not_found(id))
}

fn not_found(id: &CertificateId) -> ApiError {
    ApiError::resource_not_found(format!("The CA certificate given in the request does not exist (id={id})"))
}

/// Whether UpdateCACertificate found it.
///
/// # Errors
/// `ResourceNotFoundException`.
pub fn settle_update(id: &CertificateId, rows_changed: u64) -> Result<(), ApiError> {
    if rows_changed > 0 { Ok(()) } else { Err(not_found(id)) }
}

/// Whether DeleteCACertificate deleted it, from the rows changed and what is left.
///
/// # Errors
/// `CertificateStateException` for one that is ACTIVE, `ResourceNotFoundException`.
pub fn settle_delete(id: &CertificateId, rows_changed: u64, left: Option<&CaCertificateRow>) -> Result<(), ApiError> {
    match (rows_changed, left) {
        (1.., _) => Ok(()),
        (0, None) => Err(not_found(id)),
        (0, Some(_)) => {
            let message = format!("The CA certificate must be deactivated before deletion (id={id})");
            Err(ApiError::new("CertificateStateException", 406, message))
        }
    }
}

/// RegisterCACertificateResponse.
#[must_use]
pub fn register_ca_response(scope: &Scope, id: &CertificateId) -> Vec<u8> {
    json!({"certificateArn": scope.ca_certificate_arn(id).as_str(), "certificateId": id.as_str()})
        .to_string()
        .into_bytes()
}

/// DescribeCACertificateResponse.
///
/// # Errors
/// [`CorruptRow`].
pub fn describe_ca_response(scope: &Scope, id: &CertificateId, row: &CaCertificateRow) -> Result<Vec<u8>, CorruptRow> {
    let mut response = json!({"certificateDescription": {
        "certificateArn": scope.ca_certificate_arn(id).as_str(),
        "certificateId": id.as_str(),
        "status": row.status,
        "certificatePem": row.pem,
        "ownedBy": scope.account_id.as_str(),
        "creationDate": UnixMillis(row.created_at).as_secs(),
        "autoRegistrationStatus": if row.registers_devices == 1 { "ENABLE" } else { "DISABLE" },
        "lastModifiedDate": UnixMillis(row.last_modified_at).as_secs(),
        "customerVersion": row.customer_version,
        "generationId": row.generation_id,
        "validity": {
            "notBefore": UnixMillis(row.not_before).as_secs(),
            "notAfter": UnixMillis(row.not_after).as_secs(),
        },
        "certificateMode": row.certificate_mode,
    }});
    if let (Some(config), Some(members)) = (&row.registration_config, response.as_object_mut()) {
        let config: Value = serde_json::from_str(config)
            .map_err(|_| CorruptRow { table: "ca_certificates", column: "registration_config" })?;
        members.insert("registrationConfig".to_owned(), config);
    }
    Ok(response.to_string().into_bytes())
}

/// CreateCertificateFromCsrResponse, and with `key_pair` (public, private) CreateKeysAndCertificateResponse.
#[must_use]
pub fn created_response(scope: &Scope, id: &CertificateId, pem: &str, key_pair: Option<(&str, &str)>) -> Vec<u8> {
    let mut response = json!({
        "certificateArn": scope.certificate_arn(id).as_str(),
        "certificateId": id.as_str(),
        "certificatePem": pem,
    });
    if let (Some((public, private)), Some(members)) = (key_pair, response.as_object_mut()) {
        members.insert("keyPair".to_owned(), json!({"PublicKey": public, "PrivateKey": private}));
    }
    response.to_string().into_bytes()
}

/// GetRegistrationCodeResponse.
#[must_use]
pub fn registration_code_response(code: &str) -> Vec<u8> {
    json!({ "registrationCode": code }).to_string().into_bytes()
}

/// What a device's certificate became when it was registered because it connected: the payload of
/// `$aws/events/certificates/registered/{caCertificateId}` (AWS IoT developer guide, "Just-in-time registration").
#[must_use]
pub fn registered_event(scope: &Scope, id: &CertificateId, ca: &CertificateId, now: UnixMillis) -> Vec<u8> {
    json!({
        "certificateId": id.as_str(),
        "caCertificateId": ca.as_str(),
        "timestamp": now.0,
        "certificateStatus": CertificateStatus::PendingActivation.as_str(),
        "awsAccountId": scope.account_id.as_str(),
        "certificateRegistrationTimestamp": null,
    })
    .to_string()
    .into_bytes()
}

/// Parses ListCACertificates.
///
/// # Errors
/// `InvalidRequestException`, `SerializationException`.
pub fn parse_list(query: &str, limits: &Limits) -> Result<ListCertificatesRequest, ApiError> {
    ListCertificatesRequest::of(List::CaCertificates, query, limits)
}

/// Parses ListCertificatesByCA.
///
/// # Errors
/// `InvalidRequestException`, `SerializationException`.
pub fn parse_list_by_ca(query: &str, limits: &Limits) -> Result<ListCertificatesRequest, ApiError> {
    ListCertificatesRequest::of(List::CertificatesOfCa, query, limits)
}

/// ListCACertificatesResponse.
///
/// # Errors
/// [`CorruptRow`].
pub fn list_response(
    scope: &Scope,
    request: &ListCertificatesRequest,
    mut rows: Vec<CaCertificateSummaryRow>,
) -> Result<Vec<u8>, CorruptRow> {
    let key = |row: &CaCertificateSummaryRow| format!("{} {}", row.created_at, row.ca_certificate_id);
    let next = page::cut(&mut rows, request.page_size, List::CaCertificates, key);
    let certificates = rows.into_iter().map(|row| {
        let id = CertificateId::new(row.ca_certificate_id)
            .map_err(|_| CorruptRow { table: "ca_certificates", column: "ca_certificate_id" })?;
        Ok(json!({
            "certificateArn": scope.ca_certificate_arn(&id).as_str(),
            "certificateId": id.as_str(),
            "status": row.status,
            "creationDate": UnixMillis(row.created_at).as_secs(),
        }))
    });
    Ok(with_marker("certificates", certificates.collect::<Result<_, _>>()?, next))
}

/// ListCertificatesByCAResponse.
///
/// # Errors
/// [`CorruptRow`].
pub fn list_by_ca_response(
    scope: &Scope,
    request: &ListCertificatesRequest,
    rows: Vec<CertificateSummaryRow>,
) -> Result<Vec<u8>, CorruptRow> {
    summaries(scope, request, List::CertificatesOfCa, rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_registered_with_proof_or_for_clients_with_sni_only() {
        let parse = |query: &str, body: &str| RegisterCaRequest::parse(query, body.as_bytes());
        let proved = parse("", r#"{"caCertificate":"a","verificationCertificate":"b"}"#).unwrap();
        assert_eq!((proved.mode, proved.is_active, proved.registers_devices), (CertificateMode::Default, false, false));
        let sni = parse(
            "setAsActive=true&allowAutoRegistration=true",
            r#"{"caCertificate":"a","certificateMode":"SNI_ONLY","registrationConfig":{"templateName":"t","x":1}}"#,
        );
        let sni = sni.unwrap();
        assert_eq!((sni.mode, sni.is_active, sni.registers_devices), (CertificateMode::SniOnly, true, true));
        assert_eq!(sni.registration_config.as_deref(), Some(r#"{"templateName":"t"}"#));
        for body in [
            "{}",
            r#"{"caCertificate":"","verificationCertificate":"b"}"#,
            r#"{"caCertificate":"a"}"#,
            r#"{"caCertificate":"a","verificationCertificate":""}"#,
            r#"{"caCertificate":"a","certificateMode":"OTHER"}"#,
        ] {
            assert_eq!(parse("", body).unwrap_err().name(), "InvalidRequestException", "{body}");
        }
    }

    #[test]
    fn an_authority_is_active_or_inactive() {
        let parse = |query: &str, body: &str| UpdateCaRequest::parse(query, body.as_bytes());
        assert_eq!(parse("newStatus=ACTIVE", "").unwrap().status, Some(CertificateStatus::Active));
        assert_eq!(parse("", "").unwrap().status, None);
        assert_eq!(parse("newAutoRegistrationStatus=ENABLE", "").unwrap().registers_devices, Some(true));
        assert!(parse("", r#"{"removeAutoRegistration":true}"#).unwrap().removes_registration_config);
        for query in ["newStatus=REVOKED", "newStatus=", "newAutoRegistrationStatus=on"] {
            assert_eq!(parse(query, "").unwrap_err().name(), "InvalidRequestException", "{query}");
        }
    }

    #[test]
    fn nobody_registers_a_certificate_that_waits_for_activation() {
        let parse = |query: &str, body: &str| RegisterWithCaRequest::parse(query, body.as_bytes());
        let status = |query: &str, body: &str| parse(query, body).unwrap().status;
        assert_eq!(status("", r#"{"certificatePem":"a"}"#), CertificateStatus::Inactive);
        assert_eq!(status("setAsActive=true", r#"{"certificatePem":"a"}"#), CertificateStatus::Active);
        assert_eq!(status("", r#"{"certificatePem":"a","status":"ACTIVE"}"#), CertificateStatus::Active);
        let refused = parse("", r#"{"certificatePem":"a","status":"PENDING_ACTIVATION"}"#).unwrap_err();
        assert_eq!((refused.name(), refused.status()), ("CertificateStateException", 406));
        assert_eq!(parse("", "{}").unwrap_err().name(), "InvalidRequestException");
    }
}
