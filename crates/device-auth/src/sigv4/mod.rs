//! AWS Signature Version 4: verified as AWS does for `iot` and its data planes, and produced.
//!
//! Both forms are understood: the `Authorization` header and the presigned URL (`X-Amz-…` query parameters). See
//! "AWS Signature Version 4 for API requests" in the IAM user guide, and "MQTT over the WebSocket Protocol" in the AWS
//! IoT developer guide. Not understood, and refused: Signature Version 4A, chunked (`STREAMING-…`) payloads.
//!
//! What was learned from AWS's own clients, and is pinned by `tests/data/sdk-vectors.tsv`:
//! - Paths are encoded twice (every service but S3): the canonical path is the path on the wire, percent-encoded again
//!   except for `/`. botocore, the JavaScript SDK and aws-crt agree.
//! - For WebSockets (`iotdevicegateway`) IoT clients append the session token *after* signing, while general-purpose
//!   signers sign it; both are accepted. They also leave `X-Amz-Expires` out, which then counts as five minutes.
//! - aws-crt, beneath the AWS IoT Device SDKs, signs the `connection` header of a WebSocket upgrade. It belongs to one
//!   hop, so proxies may change it; its value in a canonical upgrade is always `Upgrade`.
//! - The JavaScript SDK sends `x-amz-content-sha256` always, botocore only when it is told to.
//!
//! Where this is stricter than AWS: a signed path must be in normal form (no empty, `.` or `..` segment), since the
//! signature covers the normal form only and a router sees the raw one; and `+` in a query string is a space to the
//! signature, as it is to everything that reads query strings, so that a signed `%2B` can't be replayed as `+`.

mod canonical;
mod parse;
mod sign;
mod timestamp;
mod verify;

pub use parse::{Claim, Form, parse};
pub use sign::{Signer, presign_url, sign_headers};
pub use verify::{Expected, Explanation, explain, verify};

/// The one algorithm there is.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The services whose signatures Umbra takes, as credential scopes name them.
pub const SERVICES: &[&str] = &["iot", "iotdata", WEBSOCKET_SERVICE, "iot-jobs-data"];

/// The service that MQTT over WebSocket is signed for.
pub const WEBSOCKET_SERVICE: &str = "iotdevicegateway";

/// How far the client's clock may be from ours, and how long a signature without an expiry lasts, in seconds.
pub const CLOCK_SKEW_SECS: u64 = 5 * 60;

/// The longest `X-Amz-Expires`, in seconds: seven days.
pub const MAX_EXPIRES_SECS: u32 = 604_800;

/// What of an HTTP request a signature covers.
#[derive(Clone, Copy, Debug)]
pub struct HttpRequest<'a> {
    /// The method, as received.
    pub method: &'a str,
    /// The path as received: still percent-encoded, without the query string.
    pub path: &'a str,
    /// The query string as received, without `?`; empty when there is none.
    pub query: &'a str,
    /// Header names, in any case, and values, in the order received. `host` is among them.
    pub headers: &'a [(&'a str, &'a str)],
    /// The whole body; empty for a WebSocket upgrade.
    pub body: &'a [u8],
}

impl<'a> HttpRequest<'a> {
    /// Every value of a header.
    fn header_values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// The value of a header that may be there once.
    fn single_header(&self, name: &str) -> Result<Option<&'a str>, crate::AuthError> {
        let mut values = self.header_values(name);
        let first = values.next();
        match values.next() {
            Some(_) => Err(crate::AuthError::incomplete(format!("The request has more than one '{name}' header."))),
            None => Ok(first.map(str::trim)),
        }
    }
}
