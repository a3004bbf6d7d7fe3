//! HTTP requests exactly as a test writes them, with proofs that are right, wrong, old or missing.
//!
//! `hyper` rather than a client with an opinion: the path goes out as it is given, dots and percent signs included.

use crate::platform::{Contract, now_millis};
use crate::within;
use device_auth::access_key::{AccessKeyId, SecretAccessKey};
use device_auth::sigv4::{self, HttpRequest, Signer};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use iot_types::{Region, UnixMillis};
use serde_json::Value;
use tokio::net::TcpStream;

/// How a request proves who sends it.
///
/// In words: `unsigned`, or the service that it is signed for (`iot`, `iotdata`, …) followed by any of
/// - `wrong-secret`, `unknown-key`: another key than the platform's;
/// - `expired`, `early`: made ten minutes ago or from now, where five are allowed;
/// - `region=R`: made for another region;
/// - `presigned`: in the query string, good for a minute (`presigned-long`: an hour);
/// - `other-body`: made for another body than the one that is sent.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    service: Option<String>,
    is_secret_wrong: bool,
    is_key_unknown: bool,
    offset_secs: i64,
    region: Option<String>,
    expires_secs: Option<u32>,
    is_body_other: bool,
}

impl Proof {
    /// Reads the words above.
    ///
    /// # Panics
    /// When a word is none of these.
    #[must_use]
    pub fn parse(words: &str) -> Self {
        let mut proof = Self::default();
        for (index, word) in words.split_whitespace().enumerate() {
            match word {
                "unsigned" if index == 0 => {}
                service if index == 0 => proof.service = Some(service.to_owned()),
                "wrong-secret" => proof.is_secret_wrong = true,
                "unknown-key" => proof.is_key_unknown = true,
                "expired" => proof.offset_secs = -600,
                "early" => proof.offset_secs = 600,
                "presigned" => proof.expires_secs = Some(60),
                "presigned-long" => proof.expires_secs = Some(3_600),
                "other-body" => proof.is_body_other = true,
                other => match other.strip_prefix("region=") {
                    Some(region) => proof.region = Some(region.to_owned()),
                    None => panic!("no such proof: {other:?}"),
                },
            }
        }
        proof
    }

    /// The target and headers of the request, with the proof in one of them.
    fn apply(&self, contract: &Contract, request: &Sent) -> (String, Vec<(String, String)>) {
        let mut headers = request.headers.clone();
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            headers.push(("host".into(), contract.authority().into()));
        }
        let Some(service) = &self.service else { return (request.target.clone(), headers) };
        let id = if self.is_key_unknown { "AKIAUNKNOWNUNKNOWN" } else { &contract.access_key_id };
        let secret = if self.is_secret_wrong { "not the secret of this key" } else { &contract.secret_access_key };
        let signer = Signer {
            access_key_id: &AccessKeyId::new(id).unwrap(),
            secret: &SecretAccessKey::new(secret).unwrap(),
            session_token: None,
            region: &Region::new(self.region.as_deref().unwrap_or(&contract.region)).unwrap(),
            service,
        };
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let signed: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let body: &[u8] = if self.is_body_other { b"{}" } else { &request.body };
        let signed = HttpRequest { method: &request.method, path, query, headers: &signed, body };
        let now = UnixMillis(now_millis().saturating_add_signed(self.offset_secs * 1_000));
        if let Some(expires) = self.expires_secs {
            let url = sigv4::presign_url(&signer, "http", &signed, Some(expires), now).unwrap();
            let prefix = format!("http://{}", contract.authority());
            return (url.strip_prefix(&prefix).unwrap().to_owned(), headers);
        }
        let added = sigv4::sign_headers(&signer, &signed, now).unwrap();
        headers.extend(added.into_iter().map(|(name, value)| (name.to_owned(), value)));
        (request.target.clone(), headers)
    }
}

/// A request to send.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// `GET` and the like.
    pub method: String,
    /// Path and query, exactly as they shall be on the request line.
    pub target: String,
    /// Besides `host` and what the proof adds.
    pub headers: Vec<(String, String)>,
    /// May be empty.
    pub body: Vec<u8>,
}

impl Sent {
    /// A request without headers of its own.
    #[must_use]
    pub fn new(method: &str, target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { method: method.into(), target: target.into(), headers: Vec::new(), body: body.into() }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// In the order received, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// `404 ResourceNotFoundException`, or the status alone when no error is named.
    #[must_use]
    pub fn verdict(&self) -> String {
        match self.header("x-amzn-errortype") {
            Some(name) => format!("{} {name}", self.status),
            None => self.status.to_string(),
        }
    }

    /// The body as JSON; `null` when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// Sends a request on a connection of its own.
///
/// # Panics
/// When no answer comes.
pub async fn send(contract: &Contract, proof: &Proof, request: &Sent) -> Answer {
    within(&format!("{} {}", request.method, request.target), exchange(contract, proof, request)).await
}

async fn exchange(contract: &Contract, proof: &Proof, request: &Sent) -> Answer {
    let (target, headers) = proof.apply(contract, request);
    let stream = TcpStream::connect(contract.authority()).await.expect("the platform does not listen");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let mut builder = hyper::Request::builder().method(request.method.as_str()).uri(target.as_str());
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    let body = Full::new(Bytes::from(request.body.clone()));
    let response = sender.send_request(builder.body(body).unwrap()).await.expect("no answer");
    let status = response.status().as_u16();
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    // an upgraded connection has no body and would never end
    let body = match status {
        101 => Vec::new(),
        _ => response.into_body().collect().await.expect("the answer broke off").to_bytes().to_vec(),
    };
    driver.abort();
    Answer { status, headers, body }
}

/// The headers of a WebSocket upgrade that offers `subprotocol`.
#[must_use]
pub fn upgrade_headers(subprotocol: Option<&str>) -> Vec<(String, String)> {
    let mut headers = vec![
        ("connection".to_owned(), "Upgrade".to_owned()),
        ("upgrade".to_owned(), "websocket".to_owned()),
        ("sec-websocket-version".to_owned(), "13".to_owned()),
        ("sec-websocket-key".to_owned(), "dGhlIHNhbXBsZSBub25jZQ==".to_owned()),
    ];
    headers.extend(subprotocol.map(|name| ("sec-websocket-protocol".to_owned(), name.to_owned())));
    headers
}

/// A presigned WebSocket URL for `/mqtt`.
#[must_use]
pub fn presigned_mqtt_url(contract: &Contract, proof: &Proof) -> String {
    let (target, _) = proof.apply(contract, &Sent::new("GET", "/mqtt", ""));
    format!("ws://{}{target}", contract.authority())
}
