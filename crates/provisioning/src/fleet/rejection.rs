//! What a device is told when a request is not carried out.

use super::format::Format;
use crate::evaluate::EvaluationError;
use crate::hook::HookDenial;
use crate::merge::ResourceConflict;
use serde::{Deserialize, Serialize};

/// `errorCode` of a rejection.
///
/// AWS documents the members of a rejection and no codes. `InvalidCertificateOwnershipToken` with 400 and its message
/// have been seen on AWS (issue 69 of aws-iot-device-sdk-js-v2), and the guide names `ACCESS_DENIED` for hooks; the
/// others are ours, after the names that the service model has for the same faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectionCode {
    /// 400: the payload is not as documented.
    InvalidPayload,
    /// 400: the request for a certificate can't be used.
    InvalidCsr,
    /// 400: the token is none of ours, for another device, or expired.
    InvalidCertificateOwnershipToken,
    /// 400: the template asks for nothing with these parameters.
    InvalidParameters,
    /// 403: the hook does not allow it, or the template is not enabled.
    AccessDenied,
    /// 404: there is no such template, or something that it names is missing.
    ResourceNotFound,
    /// 409: a resource is there and is to be left alone.
    ResourceConflict,
    /// 429: too many requests.
    Throttled,
    /// 500: our fault.
    InternalFailure,
    /// 503: our fault, and another attempt may help.
    ServiceUnavailable,
}

impl RejectionCode {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::InvalidPayload,
        Self::InvalidCsr,
        Self::InvalidCertificateOwnershipToken,
        Self::InvalidParameters,
        Self::AccessDenied,
        Self::ResourceNotFound,
        Self::ResourceConflict,
        Self::Throttled,
        Self::InternalFailure,
        Self::ServiceUnavailable,
    ];

    /// `errorCode`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidPayload => "InvalidPayload",
            Self::InvalidCsr => "InvalidCSR",
            Self::InvalidCertificateOwnershipToken => "InvalidCertificateOwnershipToken",
            Self::InvalidParameters => "InvalidParameters",
            Self::AccessDenied => "AccessDenied",
            Self::ResourceNotFound => "ResourceNotFound",
            Self::ResourceConflict => "ResourceConflict",
            Self::Throttled => "Throttled",
            Self::InternalFailure => "InternalFailure",
            Self::ServiceUnavailable => "ServiceUnavailable",
        }
    }

    /// `statusCode`.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidPayload
            | Self::InvalidCsr
            | Self::InvalidCertificateOwnershipToken
            | Self::InvalidParameters => 400,
            Self::AccessDenied => 403,
            Self::ResourceNotFound => 404,
            Self::ResourceConflict => 409,
            Self::Throttled => 429,
            Self::InternalFailure => 500,
            Self::ServiceUnavailable => 503,
        }
    }
}

/// The payload of a `/rejected` topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{status_code} {error_code}: {error_message}")]
pub struct Rejection {
    /// As in HTTP.
    pub status_code: u16,
    /// [`RejectionCode::as_str`].
    pub error_code: String,
    /// For people.
    pub error_message: String,
}

impl Rejection {
    /// A rejection with this message.
    #[must_use]
    pub fn new(code: RejectionCode, message: impl Into<String>) -> Self {
        Self { status_code: code.status(), error_code: code.as_str().to_owned(), error_message: message.into() }
    }

    /// Our own fault, of which a device is told no more.
    #[must_use]
    pub fn internal_failure() -> Self {
        Self::new(RejectionCode::InternalFailure, "An unexpected error has occurred.")
    }

    /// The payload.
    #[must_use]
    pub fn encode(&self, format: Format) -> Vec<u8> {
        format.encode(self)
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// `InvalidPayload`.
    pub fn decode(format: Format, payload: &[u8]) -> Result<Self, Self> {
        format.decode(payload).map_err(|reason| Self::new(RejectionCode::InvalidPayload, reason))
    }
}

impl From<EvaluationError> for Rejection {
    fn from(error: EvaluationError) -> Self {
        Self::new(RejectionCode::InvalidParameters, error.to_string())
    }
}

impl From<ResourceConflict> for Rejection {
    fn from(conflict: ResourceConflict) -> Self {
        Self::new(RejectionCode::ResourceConflict, conflict.to_string())
    }
}

impl From<HookDenial> for Rejection {
    /// A device is not told what is wrong with the hook.
    fn from(_: HookDenial) -> Self {
        Self::new(RejectionCode::AccessDenied, "Access Denied")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_is_the_same_in_both_formats() {
        for code in RejectionCode::ALL {
            let rejection = Rejection::new(code, "why \"not\"");
            for format in Format::ALL {
                assert_eq!(Rejection::decode(format, &rejection.encode(format)), Ok(rejection.clone()));
            }
        }
        let empty = Rejection::new(
            RejectionCode::InvalidCertificateOwnershipToken,
            "Certificate ownership token cannot be empty.",
        );
        let text = r#"{"statusCode":400,"errorCode":"InvalidCertificateOwnershipToken","errorMessage":"Certificate ownership token cannot be empty."}"#;
        assert_eq!(String::from_utf8(empty.encode(Format::Json)).unwrap(), text);
    }

    #[test]
    fn faults_become_rejections() {
        let missing = EvaluationError::MissingParameter { name: "P".to_owned() };
        let conflict = ResourceConflict { logical_name: "thing".to_owned(), property: "ThingTypeName" };
        for (rejection, expected) in [
            (Rejection::from(missing), "400 InvalidParameters: Parameter P is missing"),
            (Rejection::from(conflict), "409 ResourceConflict: Resource thing exists with another ThingTypeName"),
            (Rejection::from(HookDenial::Refused), "403 AccessDenied: Access Denied"),
            (Rejection::internal_failure(), "500 InternalFailure: An unexpected error has occurred."),
        ] {
            assert_eq!(rejection.to_string(), expected);
        }
    }
}
