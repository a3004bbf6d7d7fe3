//! Requests as they came in, and identifiers.

use iot_types::UnixMillis;
use wasm_bindgen::prelude::*;
use worker::{Request, Result};

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
    pub fn of(request: &Request) -> Self {
        let url = request.inner().url();
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

/// All headers; a name that came several times has its values joined by commas.
pub fn headers(request: &Request) -> Vec<(String, String)> {
    request.headers().entries().collect()
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
