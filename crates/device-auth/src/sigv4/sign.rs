//! Signing requests to AWS, or to ourselves.

use super::canonical::{self, CredentialScope};
use super::{ALGORITHM, HttpRequest, MAX_EXPIRES_SECS, WEBSOCKET_SERVICE, timestamp};
use crate::access_key::{AccessKeyId, SecretAccessKey};
use crate::{AuthError, keyed_hash};
use iot_types::{Region, UnixMillis};

/// Headers that proxies change or that the signature is written to; the list of botocore and aws-crt.
const UNSIGNABLE_HEADERS: &[&str] = &[
    "authorization",
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "x-amzn-trace-id",
];

/// Who signs, and for which service. S3, which encodes paths once, is not supported.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    /// The public half of the key.
    pub access_key_id: &'a AccessKeyId,
    /// The secret half of the key.
    pub secret: &'a SecretAccessKey,
    /// The session token that belongs to a temporary key.
    pub session_token: Option<&'a str>,
    /// The region that will be asked.
    pub region: &'a Region,
    /// The service that will be asked, as credential scopes name it.
    pub service: &'a str,
}

impl Signer<'_> {
    fn scope<'s>(&'s self, timestamp: &'s str) -> CredentialScope<'s> {
        CredentialScope { timestamp, region: self.region.as_str(), service: self.service }
    }

    fn credential(&self, timestamp: &str) -> String {
        format!("{}/{}", self.access_key_id, self.scope(timestamp).text())
    }
}

/// The headers to add to a request, in lower case: `x-amz-date`, `x-amz-security-token` for a temporary key, and
/// `authorization`. They replace headers of these names.
///
/// All of the request's other headers are signed, save those that a proxy may change; `x-amz-content-sha256`, where it
/// is given, has to be right.
///
/// # Errors
/// [`AuthError::IncompleteSignature`] when the request has no `host` header.
pub fn sign_headers(
    signer: &Signer<'_>,
    request: &HttpRequest<'_>,
    now: UnixMillis,
) -> Result<Vec<(&'static str, String)>, AuthError> {
    check_host(request)?;
    let timestamp = timestamp::basic(now);
    let replaced = ["x-amz-date", "x-amz-security-token"];
    let mut headers: Vec<(&str, &str)> = request.headers.to_vec();
    headers.retain(|(name, _)| !replaced.iter().any(|other| name.eq_ignore_ascii_case(other)));
    headers.push(("x-amz-date", &timestamp));
    if let Some(token) = signer.session_token {
        headers.push(("x-amz-security-token", token));
    }
    let mut names: Vec<String> = headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.retain(|name| !UNSIGNABLE_HEADERS.contains(&name.as_str()));
    names.sort();
    names.dedup();
    let payload = match request.single_header("x-amz-content-sha256")? {
        Some(given) => given.to_owned(),
        None => hex::encode(keyed_hash::sha256(request.body)),
    };
    let query = canonical::query(request.query, |_| false);
    let text = canonical::request(&HttpRequest { headers: &headers, ..*request }, &query, &names, &payload)?;
    let scope = signer.scope(&timestamp);
    let signature = hex::encode(scope.signature(signer.secret, &scope.string_to_sign(&text)));
    let authorization = format!(
        "{ALGORITHM} Credential={}, SignedHeaders={}, Signature={signature}",
        signer.credential(&timestamp),
        names.join(";")
    );
    let mut added = vec![("x-amz-date", timestamp)];
    if let Some(token) = signer.session_token {
        added.push(("x-amz-security-token", token.to_owned()));
    }
    added.push(("authorization", authorization));
    Ok(added)
}

/// The URL of a request with the signature in its query string. Of the headers only `host` is signed.
///
/// `expires_secs` is 1 to [`MAX_EXPIRES_SECS`]; `None` leaves it to the server, which is what AWS's IoT clients do. The
/// session token is appended after signing for [`WEBSOCKET_SERVICE`] ("MQTT over the WebSocket Protocol", AWS IoT
/// developer guide) and signed for every other service.
///
/// # Errors
/// [`AuthError::IncompleteSignature`] when the request has no `host` header or the expiry is out of range.
pub fn presign_url(
    signer: &Signer<'_>,
    scheme: &str,
    request: &HttpRequest<'_>,
    expires_secs: Option<u32>,
    now: UnixMillis,
) -> Result<String, AuthError> {
    let host = check_host(request)?;
    if expires_secs.is_some_and(|secs| !(1..=MAX_EXPIRES_SECS).contains(&secs)) {
        return Err(AuthError::incomplete(format!("X-Amz-Expires must be between 1 and {MAX_EXPIRES_SECS} seconds.")));
    }
    let timestamp = timestamp::basic(now);
    let mut query = request.query.to_owned();
    let mut push = |name: &str, value: &str| {
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(name);
        query.push('=');
        query.push_str(&canonical::component(value.as_bytes()));
    };
    push("X-Amz-Algorithm", ALGORITHM);
    push("X-Amz-Credential", &signer.credential(&timestamp));
    push("X-Amz-Date", &timestamp);
    if let Some(secs) = expires_secs {
        push("X-Amz-Expires", &secs.to_string());
    }
    push("X-Amz-SignedHeaders", "host");
    let (signed_token, appended_token) =
        if signer.service == WEBSOCKET_SERVICE { (None, signer.session_token) } else { (signer.session_token, None) };
    if let Some(token) = signed_token {
        push("X-Amz-Security-Token", token);
    }
    let payload = hex::encode(keyed_hash::sha256(request.body));
    let text = canonical::request(request, &canonical::query(&query, |_| false), &["host"], &payload)?;
    let scope = signer.scope(&timestamp);
    let signature = hex::encode(scope.signature(signer.secret, &scope.string_to_sign(&text)));
    let mut url = format!("{scheme}://{host}{}?{query}&X-Amz-Signature={signature}", request.path);
    if let Some(token) = appended_token {
        url.push_str("&X-Amz-Security-Token=");
        url.push_str(&canonical::component(token.as_bytes()));
    }
    Ok(url)
}

fn check_host<'a>(request: &HttpRequest<'a>) -> Result<&'a str, AuthError> {
    request.single_header("host")?.ok_or_else(|| AuthError::incomplete("The request has no 'host' header."))
}
