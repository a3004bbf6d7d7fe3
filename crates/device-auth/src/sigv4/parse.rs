//! Reading what a request says about its own signature, before anything is believed.

use super::{ALGORITHM, HttpRequest, MAX_EXPIRES_SECS, canonical, timestamp};
use crate::AuthError;
use crate::access_key::AccessKeyId;
use core::fmt;
use iot_types::{Region, UnixMillis};
use std::collections::BTreeMap;

/// More signed headers than any client has; bounds the work for one request.
const MAX_SIGNED_HEADERS: usize = 128;

/// Which of its two forms a signature has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The `Authorization` header.
    Header,
    /// Query parameters: a presigned URL.
    Query {
        /// `X-Amz-Expires`, in seconds after the date. AWS's IoT clients leave it out.
        expires_secs: Option<u32>,
    },
}

/// What stands for the body in the canonical request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// Nothing is said: the digest of the body.
    Body,
    /// The digest that `x-amz-content-sha256` gives.
    Digest(String),
    /// `UNSIGNED-PAYLOAD`.
    Unsigned,
}

/// What a request claims: who signed it, when and for what. Nothing of it is proved before [`super::verify`].
#[derive(Clone, PartialEq, Eq)]
pub struct Claim {
    /// Where the signature was found.
    pub form: Form,
    /// The key it was made with.
    pub access_key_id: AccessKeyId,
    /// When it was made.
    pub date: UnixMillis,
    /// The region it was made for.
    pub region: Region,
    /// The service it was made for, such as `iotdata`.
    pub service: String,
    /// The headers it covers: lower case, sorted, `host` among them.
    pub signed_headers: Vec<String>,
    /// The session token that came along, for temporary keys.
    pub session_token: Option<String>,
    pub(super) timestamp: String,
    pub(super) payload: Payload,
    pub(super) signature: [u8; 32],
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A signature and a session token can be replayed: they stay out of logs.
        f.debug_struct("Claim")
            .field("form", &self.form)
            .field("access_key_id", &self.access_key_id)
            .field("timestamp", &self.timestamp)
            .field("region", &self.region)
            .field("service", &self.service)
            .field("signed_headers", &self.signed_headers)
            .finish_non_exhaustive()
    }
}

impl Claim {
    pub(super) fn scope(&self) -> canonical::CredentialScope<'_> {
        canonical::CredentialScope { timestamp: &self.timestamp, region: self.region.as_str(), service: &self.service }
    }
}

/// Finds and reads the signature of a request. `None` when it has none, whatever else its `Authorization` header holds.
///
/// # Errors
/// - [`AuthError::IncompleteSignature`]: a part is missing, malformed or there twice, or both forms are used;
/// - [`AuthError::InvalidSignature`]: it is well formed, and breaks a rule that needs no key;
/// - [`AuthError::UnrecognizedClient`]: no access key has such an identifier.
pub fn parse(request: &HttpRequest<'_>) -> Result<Option<Claim>, AuthError> {
    let in_header = request.header_values("authorization").any(|value| value.trim_start().starts_with("AWS4-"));
    let in_query = canonical::query_parameters(request.query).any(|(name, _)| {
        ["x-amz-algorithm", "x-amz-credential", "x-amz-signature"]
            .iter()
            .any(|wanted| name.eq_ignore_ascii_case(wanted.as_bytes()))
    });
    match (in_header, in_query) {
        (false, false) => Ok(None),
        (true, true) => Err(AuthError::incomplete(
            "Only one of the 'Authorization' header and the 'X-Amz-' query parameters may carry a signature.",
        )),
        (true, false) => parse_header(request).map(Some),
        (false, true) => parse_query(request).map(Some),
    }
}

fn parse_header(request: &HttpRequest<'_>) -> Result<Claim, AuthError> {
    let value = request.single_header("authorization")?.unwrap_or_default();
    let (algorithm, rest) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
    check_algorithm(algorithm)?;
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for part in rest.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').ok_or_else(|| {
            AuthError::incomplete(format!(
                "'{part:.64}' not a valid key=value pair (missing equal-sign) in Authorization header."
            ))
        })?;
        let slot = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut signed_headers,
            "Signature" => &mut signature,
            _ => {
                return Err(AuthError::incomplete(format!("Authorization header has unknown parameter '{name:.64}'.")));
            }
        };
        if slot.replace(value).is_some() {
            return Err(AuthError::incomplete(format!("Authorization header has more than one '{name}' parameter.")));
        }
    }
    let iso_date = request.single_header("x-amz-date")?;
    let http_date = request.single_header("date")?;
    let mut missing = String::new();
    for (part, name) in [(credential, "Credential"), (signature, "Signature"), (signed_headers, "SignedHeaders")] {
        if part.is_none() {
            missing.push_str(&format!("Authorization header requires '{name}' parameter. "));
        }
    }
    if iso_date.or(http_date).is_none() {
        missing.push_str("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ");
    }
    let (Some(credential), Some(signed_headers), Some(signature), Some(date)) =
        (credential, signed_headers, signature, iso_date.or(http_date))
    else {
        return Err(AuthError::incomplete(missing.trim_end()));
    };
    let date = match iso_date {
        Some(_) => parse_date(date)?,
        None => timestamp::parse_basic(date).or_else(|| timestamp::parse_http_date(date)).ok_or_else(|| {
            AuthError::incomplete(format!("The 'Date' header has no date that is known: '{date:.64}'."))
        })?,
    };
    let payload = parse_payload(request.single_header("x-amz-content-sha256")?, false)?;
    let session_token = request.single_header("x-amz-security-token")?.map(str::to_owned);
    claim(Form::Header, credential, date, signed_headers, signature, session_token, payload)
}

fn parse_query(request: &HttpRequest<'_>) -> Result<Claim, AuthError> {
    let mut parameters = BTreeMap::new();
    for (name, value) in canonical::query_parameters(request.query) {
        let name = name.to_ascii_lowercase();
        if !name.starts_with(b"x-amz-") {
            continue;
        }
        let malformed = |_| AuthError::incomplete("An 'X-Amz-' query parameter is not UTF-8 text.");
        let name = String::from_utf8(name).map_err(malformed)?;
        let value = String::from_utf8(value).map_err(malformed)?;
        if parameters.insert(name.clone(), value).is_some() {
            return Err(AuthError::incomplete(format!("The query parameter '{name:.64}' is there more than once.")));
        }
    }
    let mut missing = String::new();
    let mut required = |name: &str| {
        let value = parameters.get(name.to_ascii_lowercase().as_str()).map(String::as_str);
        if value.is_none() {
            missing.push_str(&format!("AWS query-string parameters must include '{name}'. "));
        }
        value
    };
    let algorithm = required("X-Amz-Algorithm");
    let credential = required("X-Amz-Credential");
    let signature = required("X-Amz-Signature");
    let signed_headers = required("X-Amz-SignedHeaders");
    let date = required("X-Amz-Date");
    let (Some(algorithm), Some(credential), Some(signature), Some(signed_headers), Some(date)) =
        (algorithm, credential, signature, signed_headers, date)
    else {
        return Err(AuthError::incomplete(missing.trim_end()));
    };
    check_algorithm(algorithm)?;
    let expires_secs = parameters.get("x-amz-expires").map(|text| parse_expires(text)).transpose()?;
    // A general-purpose signer moves the header into the query string when it signs a URL.
    let in_header = request.single_header("x-amz-content-sha256")?;
    let payload = parse_payload(in_header.or(parameters.get("x-amz-content-sha256").map(String::as_str)), true)?;
    let session_token = parameters.get("x-amz-security-token").cloned();
    claim(
        Form::Query { expires_secs },
        credential,
        parse_date(date)?,
        signed_headers,
        signature,
        session_token,
        payload,
    )
}

fn claim(
    form: Form,
    credential: &str,
    date: UnixMillis,
    signed_headers: &str,
    signature: &str,
    session_token: Option<String>,
    payload: Payload,
) -> Result<Claim, AuthError> {
    let mut elements = credential.splitn(6, '/');
    let five = [elements.next(), elements.next(), elements.next(), elements.next(), elements.next()];
    let ([Some(access_key_id), Some(day), Some(region), Some(service), Some(terminator)], None) =
        (five, elements.next())
    else {
        return Err(AuthError::incomplete(format!(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
             '{credential:.128}'."
        )));
    };
    let timestamp = timestamp::basic(date);
    if day != timestamp::day(&timestamp) {
        return Err(AuthError::invalid(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{day:.64}' != \
             '{}', from '{timestamp}'.",
            timestamp::day(&timestamp)
        )));
    }
    if terminator != "aws4_request" {
        return Err(AuthError::invalid(format!(
            "Credential should be scoped with a valid terminator: 'aws4_request', not '{terminator:.64}'."
        )));
    }
    let region = Region::new(region).map_err(|_| {
        AuthError::invalid(format!("Credential should be scoped to a valid region, not '{region:.64}'."))
    })?;
    Ok(Claim {
        form,
        access_key_id: AccessKeyId::new(access_key_id)?,
        date,
        region,
        service: service.to_owned(),
        signed_headers: parse_signed_headers(signed_headers)?,
        session_token,
        timestamp,
        payload,
        signature: parse_signature(signature)?,
    })
}

fn check_algorithm(algorithm: &str) -> Result<(), AuthError> {
    if algorithm == ALGORITHM {
        return Ok(());
    }
    Err(AuthError::incomplete(format!("Unsupported AWS 'algorithm': '{algorithm:.64}'; it must be '{ALGORITHM}'.")))
}

fn parse_date(text: &str) -> Result<UnixMillis, AuthError> {
    timestamp::parse_basic(text).ok_or_else(|| {
        AuthError::incomplete(format!(
            "Date must be in ISO-8601 'basic format' (YYYYMMDD'T'HHMMSS'Z'). Got '{text:.64}'."
        ))
    })
}

fn parse_expires(text: &str) -> Result<u32, AuthError> {
    text.parse().ok().filter(|secs| (1..=MAX_EXPIRES_SECS).contains(secs)).ok_or_else(|| {
        AuthError::incomplete(format!(
            "X-Amz-Expires must be between 1 and {MAX_EXPIRES_SECS} seconds, not '{text:.64}'."
        ))
    })
}

fn parse_payload(text: Option<&str>, presigned: bool) -> Result<Payload, AuthError> {
    match text {
        None => Ok(Payload::Body),
        Some("UNSIGNED-PAYLOAD") if presigned => Ok(Payload::Unsigned),
        Some("UNSIGNED-PAYLOAD") => {
            Err(AuthError::invalid("The payload must be signed: x-amz-content-sha256 must not be 'UNSIGNED-PAYLOAD'."))
        }
        Some(streaming) if streaming.starts_with("STREAMING-") => {
            Err(AuthError::invalid("Chunked payload signatures (x-amz-content-sha256: STREAMING-…) are not supported."))
        }
        Some(digest) if digest.len() == 64 && digest.bytes().all(is_lower_hex) => {
            Ok(Payload::Digest(digest.to_owned()))
        }
        Some(_) => Err(AuthError::incomplete("x-amz-content-sha256 must be 64 lower-case hexadecimal digits.")),
    }
}

fn parse_signed_headers(text: &str) -> Result<Vec<String>, AuthError> {
    let names: Vec<String> = text.split(';').take(MAX_SIGNED_HEADERS + 1).map(str::to_owned).collect();
    if names.len() > MAX_SIGNED_HEADERS {
        return Err(AuthError::incomplete(format!("SignedHeaders may name {MAX_SIGNED_HEADERS} headers at most.")));
    }
    // RFC 9110 section 5.6.2 `token`, without capitals. Anything else could not be a header's name, or could make two
    // different requests look alike.
    let is_token = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let well_formed = names.iter().all(|name| !name.is_empty() && name.bytes().all(is_token));
    if !well_formed || !names.is_sorted_by(|left, right| left < right) {
        return Err(AuthError::incomplete("SignedHeaders must be lower-case names, sorted, each once, between ';'."));
    }
    if !names.iter().any(|name| name == "host") {
        return Err(AuthError::invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."));
    }
    Ok(names)
}

fn parse_signature(text: &str) -> Result<[u8; 32], AuthError> {
    let mut signature = [0; 32];
    if !text.bytes().all(is_lower_hex) || hex::decode_to_slice(text, &mut signature).is_err() {
        return Err(AuthError::incomplete("The signature must be 64 lower-case hexadecimal digits."));
    }
    Ok(signature)
}

const fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}
