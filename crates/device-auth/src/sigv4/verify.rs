//! Deciding whether a claim is true.

use super::parse::Payload;
use super::{CLOCK_SKEW_SECS, Claim, Form, HttpRequest, SERVICES, WEBSOCKET_SERVICE, canonical, timestamp};
use crate::access_key::SecretAccessKey;
use crate::{AuthError, keyed_hash};
use iot_types::{Region, UnixMillis};
use subtle::ConstantTimeEq;

/// Headers whose repetition would leave open which one was meant.
const SINGLE_HEADERS: &[&str] =
    &["host", "authorization", "date", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"];

/// What a signature has to be made for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The time.
    pub now: UnixMillis,
    /// This deployment's region; `None` accepts any, for clients whose region can't be configured.
    pub region: Option<&'a Region>,
    /// The services that may be meant.
    pub services: &'a [&'a str],
}

impl<'a> Expected<'a> {
    /// Any of [`SERVICES`] in one region.
    #[must_use]
    pub const fn new(now: UnixMillis, region: &'a Region) -> Self {
        Self { now, region: Some(region), services: SERVICES }
    }
}

/// The texts behind a signature, for finding out why two sides disagree.
///
/// They hold nothing but what the request itself holds, session token included: show them to whoever sent it, and to
/// no log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// "The Canonical String for this request should have been".
    pub canonical_request: String,
    /// "The String-to-Sign should have been".
    pub string_to_sign: String,
}

/// What we would have signed.
///
/// # Errors
/// [`AuthError::InvalidSignature`] when a signed header is missing.
pub fn explain(claim: &Claim, request: &HttpRequest<'_>) -> Result<Explanation, AuthError> {
    explanation(claim, request, claim.service != WEBSOCKET_SERVICE)
}

/// Checks a claim against the request it was read from, with the secret of its access key.
///
/// `session_token` is the one that belongs to a temporary key; `None` for a lasting one.
///
/// # Errors
/// - [`AuthError::InvalidSignature`], which names the rule that was broken;
/// - [`AuthError::SignatureExpired`] and [`AuthError::SignatureNotYetCurrent`];
/// - [`AuthError::SignatureMismatch`]: the signature is another one;
/// - [`AuthError::UnrecognizedClient`]: the session token is another one, missing or too many;
/// - [`AuthError::IncompleteSignature`]: a header that must be there once is repeated.
pub fn verify(
    claim: &Claim,
    request: &HttpRequest<'_>,
    secret: &SecretAccessKey,
    session_token: Option<&str>,
    expected: &Expected<'_>,
) -> Result<(), AuthError> {
    check_scope(claim, expected)?;
    check_coverage(claim, request)?;
    check_time(claim, expected.now)?;
    check_payload(claim, request)?;
    if !is_signed_by(claim, request, secret)? {
        return Err(AuthError::SignatureMismatch);
    }
    check_session_token(claim, session_token)
}

fn check_scope(claim: &Claim, expected: &Expected<'_>) -> Result<(), AuthError> {
    if !expected.services.contains(&claim.service.as_str()) {
        return Err(AuthError::invalid(format!(
            "Credential should be scoped to correct service: '{}', not '{:.64}'.",
            expected.services.join("', '"),
            claim.service
        )));
    }
    match expected.region {
        Some(region) if *region != claim.region => Err(AuthError::invalid(format!(
            "Credential should be scoped to a valid region, not '{}'. This endpoint is in '{region}'.",
            claim.region
        ))),
        _ => Ok(()),
    }
}

fn check_coverage(claim: &Claim, request: &HttpRequest<'_>) -> Result<(), AuthError> {
    if !canonical::is_normal_path(request.path) {
        return Err(AuthError::invalid("A signed path must not have empty, '.' or '..' segments."));
    }
    for name in SINGLE_HEADERS {
        request.single_header(name)?;
    }
    for (name, _) in request.headers {
        let is_amz = name.as_bytes().get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"x-amz-"));
        if is_amz && !claim.signed_headers.iter().any(|signed| signed.eq_ignore_ascii_case(name)) {
            return Err(AuthError::invalid(format!("The header '{name:.64}' must be signed.")));
        }
    }
    Ok(())
}

fn check_time(claim: &Claim, now: UnixMillis) -> Result<(), AuthError> {
    let skew = CLOCK_SKEW_SECS * 1_000;
    if claim.date.millis_since(now) > skew {
        return Err(AuthError::SignatureNotYetCurrent {
            message: format!(
                "{} is still later than {} ({} + 5 min.)",
                claim.timestamp,
                timestamp::basic(now.plus_millis(skew)),
                timestamp::basic(now)
            ),
        });
    }
    let (lifetime, message) = match claim.form {
        Form::Query { expires_secs: Some(secs) } => (
            u64::from(secs) * 1_000,
            format!("{} + {secs} s is now earlier than {}", claim.timestamp, timestamp::basic(now)),
        ),
        Form::Header | Form::Query { expires_secs: None } => (
            skew,
            format!(
                "{} is now earlier than {} ({} - 5 min.)",
                claim.timestamp,
                timestamp::basic(UnixMillis(now.0.saturating_sub(skew))),
                timestamp::basic(now)
            ),
        ),
    };
    if now.millis_since(claim.date) > lifetime { Err(AuthError::SignatureExpired { message }) } else { Ok(()) }
}

fn check_payload(claim: &Claim, request: &HttpRequest<'_>) -> Result<(), AuthError> {
    match &claim.payload {
        Payload::Digest(digest) if *digest != hex::encode(keyed_hash::sha256(request.body)) => {
            Err(AuthError::invalid("The provided x-amz-content-sha256 does not match what was computed."))
        }
        _ => Ok(()),
    }
}

fn is_signed_by(claim: &Claim, request: &HttpRequest<'_>, secret: &SecretAccessKey) -> Result<bool, AuthError> {
    let matches = |token_is_signed| -> Result<bool, AuthError> {
        let text = explanation(claim, request, token_is_signed)?.string_to_sign;
        Ok(claim.scope().signature(secret, &text).ct_eq(&claim.signature).into())
    };
    // The token is compared on its own, so it doesn't matter whether the signature covers it too.
    let token_may_be_appended =
        claim.service == WEBSOCKET_SERVICE && claim.form != Form::Header && claim.session_token.is_some();
    Ok(matches(true)? || token_may_be_appended && matches(false)?)
}

fn check_session_token(claim: &Claim, expected: Option<&str>) -> Result<(), AuthError> {
    let same = match (claim.session_token.as_deref(), expected) {
        (None, None) => true,
        (Some(given), Some(expected)) => given.as_bytes().ct_eq(expected.as_bytes()).into(),
        _ => false,
    };
    if same { Ok(()) } else { Err(AuthError::UnrecognizedClient) }
}

fn explanation(claim: &Claim, request: &HttpRequest<'_>, token_is_signed: bool) -> Result<Explanation, AuthError> {
    let query = canonical::query(request.query, |name| {
        claim.form != Form::Header
            && (name.eq_ignore_ascii_case(b"x-amz-signature")
                || !token_is_signed && name.eq_ignore_ascii_case(b"x-amz-security-token"))
    });
    let payload = match &claim.payload {
        Payload::Body => &hex::encode(keyed_hash::sha256(request.body)),
        Payload::Digest(digest) => digest,
        Payload::Unsigned => "UNSIGNED-PAYLOAD",
    };
    let canonical_request = canonical::request(request, &query, &claim.signed_headers, payload)?;
    let string_to_sign = claim.scope().string_to_sign(&canonical_request);
    Ok(Explanation { canonical_request, string_to_sign })
}
