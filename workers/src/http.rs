//! Requests as they came in, and identifiers.

use crate::deployment::Deployment;
use authorizer::Invocation;
use device_auth::jwt::{self, Token};
use device_auth::principal::Principal;
use device_auth::tls_client::{self, TlsClientAuth};
use device_auth::{AuthError, relay_header};
use durable_objects::{authorities, log_line};
use iot_types::UnixMillis;
use serde_json::json;
use wasm_bindgen::prelude::*;
use worker::{Headers, Request, Result, web_sys};

#[wasm_bindgen]
extern "C" {
    /// A random UUID, version 4.
    #[wasm_bindgen(js_namespace = crypto, js_name = randomUUID)]
    pub fn random_uuid() -> String;
}

/// The platform's clock.
pub fn now() -> UnixMillis {
    // Date.now() is a whole number of milliseconds, above zero and far below 2^53.
    UnixMillis(js_sys::Date::now() as u64)
}

/// Path and query exactly as they were sent: a signature covers them byte for byte.
pub struct RawUrl {
    url: String,
    path: core::ops::Range<usize>,
}

impl RawUrl {
    pub fn of(request: &web_sys::Request) -> Self {
        let url = request.url();
        let start = url.find("://").map_or(0, |at| at + 3);
        let from_host = url.get(start..).unwrap_or_default();
        let begin = from_host.find('/').map_or(url.len(), |at| start + at);
        let end = url.get(begin..).and_then(|rest| rest.find(['?', '#'])).map_or(url.len(), |at| begin + at);
        Self { url, path: begin..end }
    }

    pub fn path(&self) -> &str {
        self.url.get(self.path.clone()).unwrap_or("/")
    }

    pub fn query(&self) -> &str {
        let rest = self.url.get(self.path.end..).unwrap_or_default();
        rest.strip_prefix('?').unwrap_or_default()
    }
}

/// What the platform says of where a request comes from (`request.cf`), if it says anything.
pub fn cf(request: &web_sys::Request, name: &str) -> Option<String> {
    let cf = js_sys::Reflect::get(request, &"cf".into()).ok()?;
    js_sys::Reflect::get(&cf, &name.into()).ok()?.as_string()
}

/// A client certificate that the platform has verified.
pub struct TlsClient {
    pub principal: Principal,
    /// DER, where the platform tells it.
    pub certificate: Option<Vec<u8>>,
}

/// The client certificate that the platform has verified, if there is one. `local_secret`: what a local platform's
/// `request.cf` has to know, which there is a header that anybody can send.
///
/// # Errors
/// [`AuthError`] for one that is revoked, and for one that was made up.
pub fn tls_client(
    request: &web_sys::Request,
    local_secret: Option<&str>,
) -> core::result::Result<Option<TlsClient>, AuthError> {
    let cf = js_sys::Reflect::get(request, &"cf".into()).unwrap_or_default();
    let seen = js_sys::Reflect::get(&cf, &"tlsClientAuth".into()).unwrap_or_default();
    let about = |name: &str| js_sys::Reflect::get(&seen, &name.into()).ok().and_then(|value| value.as_string());
    let [presented, verified, revoked, fingerprint] =
        ["certPresented", "certVerified", "certRevoked", "certFingerprintSHA256"].map(|n| about(n).unwrap_or_default());
    if let Some(local_secret) = local_secret
        && presented == "1"
    {
        tls_client::check_local_secret(local_secret, &about("localSecret").unwrap_or_default())?;
    }
    let seen = TlsClientAuth {
        presented: &presented,
        verified: &verified,
        revoked: &revoked,
        fingerprint_sha256: &fingerprint,
    };
    let certificate = about("certRFC9440").and_then(|field| tls_client::certificate_of_field(&field));
    Ok(seen.principal()?.map(|principal| TlsClient { principal, certificate }))
}

/// The token in `Authorization: Bearer …` (RFC 6750 section 2.1), unless the request is meant for a custom authorizer,
/// which may have its own there.
pub fn bearer_token<'a>(authorization: &'a str, invocation: Option<&Invocation>) -> Option<&'a str> {
    let (scheme, token) = authorization.split_once(' ')?;
    let is_ours =
        scheme.eq_ignore_ascii_case("bearer") && invocation.is_none_or(|invocation| !invocation.is_explicit());
    is_ours.then_some(token.trim())
}

/// Who has signed a bearer token.
///
/// # Errors
/// [`AuthError`], which says no more than that it is no good: others could learn which certificates there are. The log
/// has the reason.
pub async fn of_bearer_token(
    deployment: &Deployment,
    token: &str,
    host: &str,
    now: UnixMillis,
) -> core::result::Result<Principal, AuthError> {
    let token = Token::parse(token)?;
    let expected = jwt::Expected { audience: host, client_id: None, now };
    let proved = authorities::of_token(&deployment.env, &deployment.config.scope, &token, &expected).await;
    proved.map_err(|reason| {
        log_line(&json!({"level": "warn", "event": "token_refused", "reason": reason}));
        AuthError::UnrecognizedClient
    })
}

/// The client whose certificate a relay has seen, if the request comes through one.
///
/// # Errors
/// [`AuthError`] when the header is no good, and when this deployment has no relay.
pub fn relayed_client(
    deployment: &Deployment,
    header: Option<&str>,
    host: &str,
    now: UnixMillis,
) -> core::result::Result<Option<TlsClient>, AuthError> {
    let Some(header) = header else { return Ok(None) };
    let Some(key) = &deployment.relay_key else { return Err(AuthError::UnrecognizedClient) };
    let client = relay_header::open(key, header, host, now)?;
    let certificate_id = client.certificate.certificate_id().map_err(|_| AuthError::UnrecognizedClient)?;
    Ok(Some(TlsClient {
        principal: Principal::Certificate { certificate_id },
        certificate: Some(client.certificate.der().to_vec()),
    }))
}

/// All headers; a name that came several times has its values joined by commas.
pub fn headers(request: &web_sys::Request) -> Vec<(String, String)> {
    Headers(request.headers()).entries().collect()
}

/// What is read of a body that is too large: its sender then hears why, which it does not when the connection is closed
/// on what it still sends.
const DISCARD_BYTES: usize = 16 * 1024 * 1024;

/// The body, or `None` when it is longer than `maximum` bytes. Never keeps more than that.
pub async fn body(request: &mut Request, maximum: usize) -> Result<Option<Vec<u8>>> {
    use futures_util::StreamExt as _;
    let declared = request.headers().get("content-length")?.and_then(|length| length.parse::<usize>().ok());
    if declared.is_some_and(|length| length > DISCARD_BYTES) {
        return Ok(None);
    }
    let mut body = Vec::with_capacity(declared.unwrap_or_default().min(maximum));
    if request.inner().body().is_none() {
        return Ok(Some(body));
    }
    let mut length = 0_usize;
    let mut stream = request.stream()?;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        length = length.saturating_add(chunk.len());
        if length <= maximum {
            body.extend_from_slice(&chunk);
        } else if length <= DISCARD_BYTES {
            body = Vec::new();
        } else {
            return Ok(None);
        }
    }
    Ok((length <= maximum).then_some(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use js_sys::Uint8Array;
    use wasm_bindgen_test::wasm_bindgen_test;
    use worker::{Method, RequestInit};

    fn get(url: &str) -> Request {
        Request::new(url, Method::Get).unwrap()
    }

    fn post(bytes: &[u8]) -> Request {
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_body(Some(Uint8Array::from(bytes).into()));
        Request::new_with_init("https://umbra.example/things/a", &init).unwrap()
    }

    #[wasm_bindgen_test]
    fn path_and_query_are_as_they_were_sent() {
        for (url, path, query) in [
            ("https://h/", "/", ""),
            ("https://h", "/", ""),
            ("https://h:8787/things/a?maxResults=1&nextToken=a%2Bb", "/things/a", "maxResults=1&nextToken=a%2Bb"),
            ("https://h/things/a%2Fb%20c", "/things/a%2Fb%20c", ""),
            ("https://h/things/%zz", "/things/%zz", ""),
            ("https://h/topics//a/", "/topics//a/", ""),
            ("https://h/a?b?c=/d", "/a", "b?c=/d"),
            ("https://h/?", "/", ""),
            ("https://h?a=b", "/", "a=b"),
            ("https://h/a#b?c", "/a", ""),
            ("https://h/things/a:b~c+d", "/things/a:b~c+d", ""),
        ] {
            let raw = RawUrl::of(get(url).inner());
            assert_eq!((raw.path(), raw.query()), (path, query), "{url}");
        }
    }

    #[wasm_bindgen_test]
    fn a_header_that_came_twice_is_one_with_a_comma() {
        let request = get("https://h/");
        let mine = request.headers();
        // those of a request that was made here may be changed
        mine.append("X-Amz-Date", "20260101T000000Z").unwrap();
        mine.append("x-amz-date", "20260101T000001Z").unwrap();
        let wanted = ("x-amz-date".to_owned(), "20260101T000000Z, 20260101T000001Z".to_owned());
        assert_eq!(headers(request.inner()), [wanted]);
    }

    #[wasm_bindgen_test]
    async fn a_body_is_read_up_to_the_maximum_and_not_beyond() {
        let all_bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(body(&mut post(&all_bytes), 256).await.unwrap(), Some(all_bytes.clone()));
        assert_eq!(body(&mut post(&all_bytes), 255).await.unwrap(), None);
        assert_eq!(body(&mut post(b""), 0).await.unwrap(), Some(Vec::new()));
        assert_eq!(body(&mut get("https://h/"), 10).await.unwrap(), Some(Vec::new()));
        assert_eq!(body(&mut post(&vec![0; 3_000_000]), 1_000_000).await.unwrap(), None);
        assert_eq!(body(&mut post(&vec![0; DISCARD_BYTES + 1]), 1_000_000).await.unwrap(), None);
    }

    #[wasm_bindgen_test]
    async fn a_declared_length_is_not_believed_when_it_is_too_small() {
        let mut request = post(&[7; 100]);
        request.headers_mut().unwrap().set("content-length", "1").unwrap();
        assert_eq!(body(&mut request, 99).await.unwrap(), None);
        let mut request = post(&[7; 100]);
        request.headers_mut().unwrap().set("content-length", "nonsense").unwrap();
        assert_eq!(body(&mut request, 100).await.unwrap(), Some(vec![7; 100]));
    }

    #[wasm_bindgen_test]
    fn the_clock_is_javascripts_in_whole_milliseconds() {
        let (before, now, after) = (js_sys::Date::now(), now(), js_sys::Date::now());
        assert!((before..=after).contains(&(now.0 as f64)), "{before} {now:?} {after}");
    }

    #[wasm_bindgen_test]
    fn identifiers_are_random_uuids() {
        let (one, two) = (random_uuid(), random_uuid());
        assert_ne!(one, two);
        for id in [one, two] {
            let parts: Vec<&str> = id.split('-').collect();
            assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{id}");
            assert!(
                id.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)),
                "{id}"
            );
            assert!(parts[2].starts_with('4') && parts[3].starts_with(['8', '9', 'a', 'b']), "{id}");
        }
    }
}
