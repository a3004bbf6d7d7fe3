//! Requests to servers that operators name: webhooks of rules and of authorizers.

use core::future::Future;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use js_sys::Uint8Array;
use std::time::Duration;
use worker::{Delay, Headers, Method, Request, RequestInit, RequestRedirect, Response, Result};

/// A POST with these headers and this body.
pub fn post(url: &str, headers: Headers, body: &[u8], redirect: RequestRedirect) -> Result<Request> {
    let mut init = RequestInit::new();
    init.with_method(Method::Post)
        .with_headers(headers)
        .with_redirect(redirect)
        .with_body(Some(Uint8Array::from(body).into()));
    Request::new_with_init(url, &init)
}

/// What comes of `work` if it comes in time.
pub async fn within<T>(timeout: Duration, work: impl Future<Output = T>) -> Option<T> {
    match select(Box::pin(work), Box::pin(Delay::from(timeout))).await {
        Either::Left((result, _)) => Some(result),
        Either::Right(_) => None,
    }
}

/// The body of a response, or `None` when it is longer than `maximum` bytes. Never keeps more than that.
pub async fn body(mut response: Response, maximum: usize) -> Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    if matches!(response.body(), worker::ResponseBody::Empty) {
        return Ok(Some(body));
    }
    let mut stream = response.stream()?;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        if chunk.len() > maximum.saturating_sub(body.len()) {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}
