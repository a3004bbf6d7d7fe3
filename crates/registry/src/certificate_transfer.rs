//! Handing certificates over to an account: TransferCertificate, AcceptCertificateTransfer, RejectCertificateTransfer,
//! CancelCertificateTransfer, ListOutgoingCertificates (AWS IoT API reference).
//!
//! A deployment is one account. What is transferred to it may be accepted and rejected here; what is transferred to
//! another waits until it is cancelled.

use crate::certificate::{CertificateRow, CertificateStatus, ListCertificatesRequest, not_found};
use crate::error::{ApiError, CorruptRow};
use crate::input::{Body, Query};
use crate::limits::Limits;
use crate::page::{self, List};
use crate::policy::with_marker;
use iot_types::{AccountId, CertificateId, Scope, UnixMillis};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Longest message and longest reason, in characters.
const LONGEST_MESSAGE: usize = 128;

/// What is known of a transfer, as it is stored in JSON; times in Unix milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Transfer {
    /// Account.
    pub from: String,
    /// Account.
    pub to: String,
    pub message: Option<String>,
    pub transferred_at: u64,
    pub accepted_at: Option<u64>,
    pub rejected_at: Option<u64>,
    pub reject_reason: Option<String>,
}

impl Transfer {
    pub(crate) fn of_row(text: Option<&str>) -> Result<Option<Self>, CorruptRow> {
        let corrupt = |_| CorruptRow { table: "certificate_transfers", column: "transfer" };
        text.map(|text| serde_json::from_str(text).map_err(corrupt)).transpose()
    }

    /// As it is stored.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and numbers always have a JSON form.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// AWS's `TransferData`.
    pub(crate) fn data(&self) -> Value {
        let mut data = Map::new();
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                data.insert(name.to_owned(), value);
            }
        };
        let secs = |at: u64| Value::from(UnixMillis(at).as_secs());
        add("transferMessage", self.message.clone().map(Value::from));
        add("rejectReason", self.reject_reason.clone().map(Value::from));
        add("transferDate", Some(secs(self.transferred_at)));
        add("acceptDate", self.accepted_at.map(secs));
        add("rejectDate", self.rejected_at.map(secs));
        Value::Object(data)
    }
}

/// A valid TransferCertificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferRequest {
    /// To whom.
    pub target: AccountId,
    /// What they are told.
    pub message: Option<String>,
}

impl TransferRequest {
    /// Parses query and body.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(query: &str, body: &[u8]) -> Result<Self, ApiError> {
        let query = Query::parse(query);
        let target = AccountId::new(query.string("targetAwsAccount").unwrap_or_default())
            .map_err(|_| ApiError::invalid_request("targetAwsAccount must be an account of twelve digits"))?;
        Ok(Self { target, message: short(&Body::parse(body)?, "transferMessage")? })
    }

    /// The transfer that it begins.
    #[must_use]
    pub fn begin(&self, scope: &Scope, now: UnixMillis) -> Transfer {
        Transfer {
            from: scope.account_id.as_str().to_owned(),
            to: self.target.as_str().to_owned(),
            message: self.message.clone(),
            transferred_at: now.0,
            ..Transfer::default()
        }
    }
}

fn short(body: &Body, name: &str) -> Result<Option<String>, ApiError> {
    match body.string(name)? {
        Some(text) if text.chars().count() > LONGEST_MESSAGE => {
            Err(ApiError::invalid_request(format!("{name} must have at most {LONGEST_MESSAGE} characters")))
        }
        text => Ok(text.map(str::to_owned)),
    }
}

/// The reason in the body of RejectCertificateTransfer.
///
/// # Errors
/// `InvalidRequestException`, `SerializationException`.
pub fn reject_reason(body: &[u8]) -> Result<Option<String>, ApiError> {
    short(&Body::parse(body)?, "rejectReason")
}

/// The status that a transferred certificate gets (`setAsActive` in the query of AcceptCertificateTransfer).
///
/// # Errors
/// `SerializationException`.
pub fn status_of_accepted(query: &str) -> Result<CertificateStatus, ApiError> {
    let is_active = Query::parse(query).boolean("setAsActive")?.unwrap_or(false);
    Ok(if is_active { CertificateStatus::Active } else { CertificateStatus::Inactive })
}

/// Whether TransferCertificate began a transfer, from the rows that it changed and what there is.
///
/// # Errors
/// `ResourceNotFoundException`; `TransferConflictException` while policies are attached; `CertificateStateException`
/// for one that is not INACTIVE.
pub fn settle_transfer(id: &CertificateId, rows_changed: u64, row: Option<&CertificateRow>) -> Result<(), ApiError> {
    match (rows_changed, row) {
        (1.., _) => Ok(()),
        (0, None) => Err(not_found(id)),
        (0, Some(row)) if row.status != CertificateStatus::Inactive.as_str() => {
            let message = format!("Only an INACTIVE certificate can be transferred; it is {} (id={id})", row.status);
            Err(ApiError::new("CertificateStateException", 406, message))
        }
        (0, Some(_)) => {
            let message = format!("Policies and things must be detached before a transfer (id={id})");
            Err(ApiError::new("TransferConflictException", 409, message))
        }
    }
}

/// Whether a transfer was ended, from the rows that it changed and what there is.
///
/// # Errors
/// `ResourceNotFoundException` without the certificate, or when it is not this account's to decide;
/// `TransferAlreadyCompletedException`.
pub fn settle_end(id: &CertificateId, rows_changed: u64, row: Option<&CertificateRow>) -> Result<(), ApiError> {
    match (rows_changed, row) {
        (1.., _) => Ok(()),
        (0, None) => Err(not_found(id)),
        (0, Some(row)) if row.status == CertificateStatus::PendingTransfer.as_str() => Err(
            ApiError::resource_not_found(format!("The certificate is being transferred to another account (id={id})")),
        ),
        (0, Some(_)) => {
            let message = format!("No transfer of this certificate is under way (id={id})");
            Err(ApiError::new("TransferAlreadyCompletedException", 410, message))
        }
    }
}

/// AcceptCertificateTransfer and the like answer with nothing; TransferCertificate with the ARN.
#[must_use]
pub fn transfer_response(scope: &Scope, id: &CertificateId) -> Vec<u8> {
    json!({"transferredCertificateArn": scope.certificate_arn(id).as_str()}).to_string().into_bytes()
}

/// A row of ListOutgoingCertificates.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct OutgoingRow {
    pub certificate_id: String,
    pub created_at: u64,
    pub transfer: Option<String>,
}

/// Parses ListOutgoingCertificates.
///
/// # Errors
/// `InvalidRequestException`, `SerializationException`.
pub fn parse_list_outgoing(query: &str, limits: &Limits) -> Result<ListCertificatesRequest, ApiError> {
    ListCertificatesRequest::of(List::OutgoingCertificates, query, limits)
}

/// ListOutgoingCertificatesResponse.
///
/// # Errors
/// [`CorruptRow`].
pub fn list_outgoing_response(
    scope: &Scope,
    request: &ListCertificatesRequest,
    mut rows: Vec<OutgoingRow>,
) -> Result<Vec<u8>, CorruptRow> {
    let key = |row: &OutgoingRow| format!("{} {}", row.created_at, row.certificate_id);
    let next = page::cut(&mut rows, request.page_size, List::OutgoingCertificates, key);
    let outgoing = rows.into_iter().map(|row| {
        let id = CertificateId::new(row.certificate_id)
            .map_err(|_| CorruptRow { table: "certificates", column: "certificate_id" })?;
        let transfer = Transfer::of_row(row.transfer.as_deref())?.unwrap_or_default();
        let mut members = json!({
            "certificateArn": scope.certificate_arn(&id).as_str(),
            "certificateId": id.as_str(),
            "transferredTo": transfer.to,
            "transferDate": UnixMillis(transfer.transferred_at).as_secs(),
            "creationDate": UnixMillis(row.created_at).as_secs(),
        });
        if let (Some(members), Some(message)) = (members.as_object_mut(), transfer.message) {
            members.insert("transferMessage".to_owned(), message.into());
        }
        Ok(members)
    });
    Ok(with_marker("outgoingCertificates", outgoing.collect::<Result<_, _>>()?, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_names_an_account_and_may_have_a_short_message() {
        let parse = |query: &str, body: &str| TransferRequest::parse(query, body.as_bytes());
        let request = parse("targetAwsAccount=123456789012", r#"{"transferMessage":"yours"}"#).unwrap();
        assert_eq!((request.target.as_str(), request.message.as_deref()), ("123456789012", Some("yours")));
        assert_eq!(parse("targetAwsAccount=123456789012", "").unwrap().message, None);
        let long = format!(r#"{{"transferMessage":"{}"}}"#, "x".repeat(129));
        for (query, body) in [("", ""), ("targetAwsAccount=12", ""), ("targetAwsAccount=123456789012", long.as_str())] {
            assert_eq!(parse(query, body).unwrap_err().name(), "InvalidRequestException", "{query} {body}");
        }
    }

    #[test]
    fn only_an_accepted_certificate_may_begin_active() {
        assert_eq!(status_of_accepted("setAsActive=true").unwrap(), CertificateStatus::Active);
        assert_eq!(status_of_accepted("").unwrap(), CertificateStatus::Inactive);
        assert!(status_of_accepted("setAsActive=1").is_err());
    }
}
