//! Requests and answers. Members that are not documented are ignored, and `null` is the same as absent.

use super::format::Format;
use super::rejection::{Rejection, RejectionCode};
use crate::evaluate::check_parameters;
use crate::limits::Limits;
use core::fmt;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Longest request for a certificate, in bytes of its PEM: that of a key of 4,096 bits has some 1,700.
pub const LONGEST_REQUEST_PEM: usize = 16 * 1_024;
/// Longest ownership token.
pub const LONGEST_TOKEN: usize = 4_096;

/// Checks the payload of CreateKeysAndCertificate, which says nothing: it is empty, or anything in its format.
///
/// # Errors
/// `InvalidPayload`.
pub fn check_create_request(format: Format, payload: &[u8]) -> Result<(), Rejection> {
    if payload.is_empty() { Ok(()) } else { decode::<IgnoredAny>(format, payload).map(|_| ()) }
}

/// The payload of CreateCertificateFromCsr.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateFromCsrRequest {
    /// The request in PEM, not empty, and not looked into.
    pub certificate_signing_request: String,
}

impl CreateFromCsrRequest {
    /// Reads a payload.
    ///
    /// # Errors
    /// `InvalidPayload`, `InvalidCSR`.
    pub fn decode(format: Format, payload: &[u8]) -> Result<Self, Rejection> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Payload {
            certificate_signing_request: Option<String>,
        }
        let pem = decode::<Payload>(format, payload)?.certificate_signing_request.unwrap_or_default();
        let message = match pem.len() {
            0 => "Certificate signing request cannot be empty.",
            1..=LONGEST_REQUEST_PEM => return Ok(Self { certificate_signing_request: pem }),
            _ => "Certificate signing request is too long.",
        };
        Err(Rejection::new(RejectionCode::InvalidCsr, message))
    }

    /// The payload.
    #[must_use]
    pub fn encode(&self, format: Format) -> Vec<u8> {
        format.encode(self)
    }
}

/// What proves that a device was given a certificate. Whoever has it may provision the certificate, so it is not shown.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct OwnershipToken(String);

impl OwnershipToken {
    /// Checks the shape: visible ASCII characters, [`LONGEST_TOKEN`] at most.
    ///
    /// # Errors
    /// `InvalidCertificateOwnershipToken`.
    pub fn new(text: impl Into<String>) -> Result<Self, Rejection> {
        let text = text.into();
        let message = match text.len() {
            0 => "Certificate ownership token cannot be empty.",
            1..=LONGEST_TOKEN if text.bytes().all(|byte| byte.is_ascii_graphic()) => return Ok(Self(text)),
            _ => "Certificate ownership token is invalid.",
        };
        Err(Rejection::new(RejectionCode::InvalidCertificateOwnershipToken, message))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OwnershipToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnershipToken(…)")
    }
}

/// The payload of RegisterThing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProvisionRequest {
    /// Names the certificate.
    pub certificate_ownership_token: OwnershipToken,
    /// For the hook and for the template, few and short enough.
    pub parameters: BTreeMap<String, String>,
}

impl ProvisionRequest {
    /// Reads a payload.
    ///
    /// # Errors
    /// `InvalidPayload`, `InvalidCertificateOwnershipToken`, `InvalidParameters`.
    pub fn decode(format: Format, payload: &[u8], limits: &Limits) -> Result<Self, Rejection> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Payload {
            certificate_ownership_token: Option<String>,
            parameters: Option<BTreeMap<String, String>>,
        }
        let payload: Payload = decode(format, payload)?;
        let token = OwnershipToken::new(payload.certificate_ownership_token.unwrap_or_default())?;
        let parameters = payload.parameters.unwrap_or_default();
        check_parameters(&parameters, limits)?;
        Ok(Self { certificate_ownership_token: token, parameters })
    }

    /// The payload.
    #[must_use]
    pub fn encode(&self, format: Format) -> Vec<u8> {
        format.encode(self)
    }
}

fn decode<T: serde::de::DeserializeOwned>(format: Format, payload: &[u8]) -> Result<T, Rejection> {
    format.decode(payload).map_err(|reason| Rejection::new(RejectionCode::InvalidPayload, reason))
}

/// What CreateKeysAndCertificate and CreateCertificateFromCsr answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreatedCertificate {
    /// The certificate's identifier.
    pub certificate_id: String,
    /// The certificate.
    pub certificate_pem: String,
    /// The key, if it was made for the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<String>,
    /// What provisions the certificate.
    pub certificate_ownership_token: String,
}

/// Keys and tokens stay out of logs.
impl fmt::Debug for CreatedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedCertificate").field("certificate_id", &self.certificate_id).finish_non_exhaustive()
    }
}

/// What RegisterThing answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provisioned {
    /// What the template tells the device.
    pub device_configuration: BTreeMap<String, String>,
    /// The thing, if the template declares one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_name: Option<String>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To CreateKeysAndCertificate and CreateCertificateFromCsr.
    Created(CreatedCertificate),
    /// To RegisterThing.
    Provisioned(Provisioned),
    /// To any of them.
    Rejected(Rejection),
}

impl Reply {
    /// Whether it goes to the `/accepted` topic.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        !matches!(self, Self::Rejected(_))
    }

    /// The payload.
    #[must_use]
    pub fn encode(&self, format: Format) -> Vec<u8> {
        match self {
            Self::Created(created) => format.encode(created),
            Self::Provisioned(provisioned) => format.encode(provisioned),
            Self::Rejected(rejection) => format.encode(rejection),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAXIMUM: usize = crate::fleet::MAXIMUM_PAYLOAD_BYTES;

    fn created(private_key: Option<&str>) -> CreatedCertificate {
        CreatedCertificate {
            certificate_id: "id".to_owned(),
            certificate_pem: "pem".to_owned(),
            private_key: private_key.map(str::to_owned),
            certificate_ownership_token: "token".to_owned(),
        }
    }

    /// A payload in JSON and the same in CBOR.
    fn both(json: &str) -> [(Format, Vec<u8>); 2] {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        [(Format::Json, json.as_bytes().to_vec()), (Format::Cbor, Format::Cbor.encode(&value))]
    }

    #[test]
    fn answers_have_the_documented_members_in_both_formats() {
        let provisioned = Provisioned {
            device_configuration: BTreeMap::from([("FallbackUrl".to_owned(), "https://example.com".to_owned())]),
            thing_name: Some("lamp".to_owned()),
        };
        for (reply, json) in [
            (
                Reply::Created(created(Some("key"))),
                r#"{"certificateId":"id","certificatePem":"pem","privateKey":"key","certificateOwnershipToken":"token"}"#,
            ),
            (
                Reply::Created(created(None)),
                r#"{"certificateId":"id","certificatePem":"pem","certificateOwnershipToken":"token"}"#,
            ),
            (
                Reply::Provisioned(provisioned.clone()),
                r#"{"deviceConfiguration":{"FallbackUrl":"https://example.com"},"thingName":"lamp"}"#,
            ),
            (
                Reply::Provisioned(Provisioned { device_configuration: BTreeMap::new(), thing_name: None }),
                r#"{"deviceConfiguration":{}}"#,
            ),
        ] {
            assert!(reply.is_accepted());
            assert_eq!(String::from_utf8(reply.encode(Format::Json)).unwrap(), json);
            for format in Format::ALL {
                let payload = reply.encode(format);
                match &reply {
                    Reply::Created(created) => assert_eq!(format.decode(&payload), Ok(created.clone())),
                    Reply::Provisioned(provisioned) => assert_eq!(format.decode(&payload), Ok(provisioned.clone())),
                    Reply::Rejected(_) => {}
                }
            }
        }
        assert!(!Reply::Rejected(Rejection::internal_failure()).is_accepted());
        // RFC 8949, section 3.1: a map of two, its keys and its values as text.
        let mut expected = b"\xa2\x73deviceConfiguration\xa1\x6bFallbackUrl\x73https://example.com".to_vec();
        expected.extend(b"\x69thingName\x64lamp");
        assert_eq!(Reply::Provisioned(provisioned).encode(Format::Cbor), expected);
    }

    #[test]
    fn requests_are_read_in_both_formats() {
        for (format, payload) in both(r#"{"certificateSigningRequest":"pem","other":[{}]}"#) {
            let request = CreateFromCsrRequest::decode(format, &payload).unwrap();
            assert_eq!(request.certificate_signing_request, "pem");
            assert_eq!(CreateFromCsrRequest::decode(format, &request.encode(format)), Ok(request));
        }
        let limits = &Limits::STANDARD;
        for (format, payload) in both(r#"{"certificateOwnershipToken":"t","parameters":{"SerialNumber":"1"}}"#) {
            let request = ProvisionRequest::decode(format, &payload, limits).unwrap();
            assert_eq!(request.certificate_ownership_token.as_str(), "t");
            assert_eq!(request.parameters, BTreeMap::from([("SerialNumber".to_owned(), "1".to_owned())]));
            assert_eq!(ProvisionRequest::decode(format, &request.encode(format), limits), Ok(request));
        }
        for json in [r#"{"certificateOwnershipToken":"t"}"#, r#"{"certificateOwnershipToken":"t","parameters":null}"#] {
            for (format, payload) in both(json) {
                assert_eq!(ProvisionRequest::decode(format, &payload, limits).unwrap().parameters, BTreeMap::new());
            }
        }
    }

    #[test]
    fn a_request_for_a_key_says_nothing() {
        for payload in [&b""[..], b"{}", b" {} ", b"null", b"\"x\"", b"{\"a\":[1]}"] {
            assert_eq!(check_create_request(Format::Json, payload), Ok(()));
        }
        for payload in [&b""[..], b"\xa0", b"\xf6", b"\xa1\x61a\x81\x01", b"\xbf\xff"] {
            assert_eq!(check_create_request(Format::Cbor, payload), Ok(()), "{payload:x?}");
        }
        let nested = format!("{}{}", "[".repeat(16), "]".repeat(16));
        let deepest = [&[0x81; 15][..], &[0x80]].concat();
        let mut longest = [&[0x5a][..], &u32::try_from(MAXIMUM - 5).unwrap().to_be_bytes()].concat();
        longest.resize(MAXIMUM, 0);
        for (format, payload) in [
            (Format::Json, nested.as_bytes()),
            (Format::Cbor, &deepest),
            (Format::Json, format!("{{}}{}", " ".repeat(MAXIMUM - 2)).as_bytes()),
            (Format::Cbor, &longest),
        ] {
            assert_eq!(check_create_request(format, payload), Ok(()));
        }
        for (format, payload) in [
            (Format::Json, &b"{"[..]),
            (Format::Json, b"\xa0"),
            (Format::Json, &[b'['; 17]),
            (Format::Cbor, b"{}"),
            (Format::Cbor, b"\xa1"),
            (Format::Cbor, b"\xa0\xa0"),
            (Format::Cbor, &vec![0x81; 100_000]),
            (Format::Cbor, &vec![0xd8; 100_000]),
            (Format::Json, &vec![b' '; MAXIMUM + 1]),
            (Format::Cbor, &vec![0; MAXIMUM + 1]),
        ] {
            let rejection = check_create_request(format, payload).unwrap_err();
            assert_eq!(rejection.error_code, "InvalidPayload");
        }
    }

    #[test]
    fn a_request_that_is_malformed_is_rejected_alike_in_both_formats() {
        let long = format!(r#"{{"certificateSigningRequest":"{}"}}"#, "x".repeat(LONGEST_REQUEST_PEM + 1));
        for (json, code) in [
            ("{}", "InvalidCSR"),
            (r#"{"certificateSigningRequest":null}"#, "InvalidCSR"),
            (r#"{"certificateSigningRequest":""}"#, "InvalidCSR"),
            (&long, "InvalidCSR"),
            (r#"{"certificateSigningRequest":1}"#, "InvalidPayload"),
            ("[1]", "InvalidPayload"),
            ("1", "InvalidPayload"),
            (r#""x""#, "InvalidPayload"),
        ] {
            for (format, payload) in both(json) {
                let rejection = CreateFromCsrRequest::decode(format, &payload).unwrap_err();
                assert_eq!(rejection.error_code, code, "{format:?} {json}");
            }
        }
        let long_token = format!(r#"{{"certificateOwnershipToken":"{}"}}"#, "x".repeat(LONGEST_TOKEN + 1));
        let long_value = format!(r#"{{"certificateOwnershipToken":"t","parameters":{{"P":"{}"}}}}"#, "x".repeat(4_097));
        for (json, code) in [
            ("{}", "InvalidCertificateOwnershipToken"),
            (r#"{"certificateOwnershipToken":""}"#, "InvalidCertificateOwnershipToken"),
            (r#"{"certificateOwnershipToken":"a b"}"#, "InvalidCertificateOwnershipToken"),
            (r#"{"certificateOwnershipToken":"ä"}"#, "InvalidCertificateOwnershipToken"),
            (&long_token, "InvalidCertificateOwnershipToken"),
            (&long_value, "InvalidParameters"),
            (r#"{"certificateOwnershipToken":{}}"#, "InvalidPayload"),
            (r#"{"certificateOwnershipToken":"t","parameters":{"P":1}}"#, "InvalidPayload"),
            (r#"{"certificateOwnershipToken":"t","parameters":{"P":null}}"#, "InvalidPayload"),
            (r#"{"certificateOwnershipToken":"t","parameters":{"P":{"Q":"x"}}}"#, "InvalidPayload"),
            (r#"{"certificateOwnershipToken":"t","parameters":"x"}"#, "InvalidPayload"),
        ] {
            for (format, payload) in both(json) {
                let rejection = ProvisionRequest::decode(format, &payload, &Limits::STANDARD).unwrap_err();
                assert_eq!(rejection.error_code, code, "{format:?} {json}");
            }
        }
        let empty = ProvisionRequest::decode(Format::Json, b"", &Limits::STANDARD).unwrap_err();
        assert_eq!(empty.error_code, "InvalidPayload");
    }

    #[test]
    fn keys_and_tokens_are_not_shown() {
        let token = OwnershipToken::new("secret-token").unwrap();
        let request = ProvisionRequest { certificate_ownership_token: token, parameters: BTreeMap::new() };
        let mut created = created(Some("secret-key"));
        created.certificate_ownership_token = "secret-token".to_owned();
        assert!(!format!("{request:?} {created:?}").contains("secret"));
    }
}
