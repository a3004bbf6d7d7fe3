//! Calls the function of a custom authorizer: a webhook, or the Worker behind a service binding.

use crate::host::log_line;
use crate::requests;
use authorizer::{AuthorizerFunction, CallError, MAXIMUM_ANSWER_BYTES, TIMEOUT_MILLIS};
use registry::authorizer::AuthorizerRow;
use serde_json::json;
use std::time::Duration;
use worker::{AbortController, Env, Fetch, Headers, RequestRedirect, Response, Result};

/// What Workers behind service bindings see as the URL. The host means nothing.
const SERVICE_URL: &str = "https://authorizer.internal/";

/// Calls the function with an event and gives its answer as it came, which nobody has looked into.
///
/// # Errors
/// [`CallError`].
pub async fn invoke(env: &Env, authorizer: &AuthorizerRow, event: &[u8]) -> core::result::Result<Vec<u8>, CallError> {
    let function = authorizer.function(is_local(env))?;
    let controller = AbortController::default();
    let signal = controller.signal();
    let answer = async {
        let response = match &function {
            AuthorizerFunction::Webhook(webhook) => {
                let request = post(webhook.url(), event).map_err(|error| unreachable(authorizer, &error))?;
                Fetch::Request(request).send_with_signal(&signal).await
            }
            AuthorizerFunction::Service(name) | AuthorizerFunction::Lambda { name, .. } => {
                call_service(env, name, event).await?
            }
        };
        let response = response.map_err(|error| unreachable(authorizer, &error))?;
        let status = response.status_code();
        if !(200..300).contains(&status) {
            return Err(CallError::Status(status));
        }
        let body = requests::body(response, MAXIMUM_ANSWER_BYTES).await;
        body.map_err(|error| unreachable(authorizer, &error))?.ok_or(CallError::TooLarge)
    };
    let answer = requests::within(Duration::from_millis(TIMEOUT_MILLIS.into()), answer).await;
    // A server that dawdles would go on holding one of the six connections that an invocation has. The same is right for
    // what is left of an answer that was not read.
    if !matches!(answer, Some(Ok(_))) {
        controller.abort();
    }
    answer.unwrap_or(Err(CallError::Timeout))
}

/// Whether this runs on a developer's own machine, where functions may be web servers there, without encryption: only the
/// local host makes this secret.
fn is_local(env: &Env) -> bool {
    env.secret("LOCAL_TLS_SECRET").is_ok()
}

fn post(url: &str, event: &[u8]) -> Result<worker::Request> {
    let headers = Headers::new();
    headers.set("content-type", "application/json")?;
    requests::post(url, headers, event, RequestRedirect::Manual)
}

/// The inner result is the call's.
async fn call_service(env: &Env, name: &str, event: &[u8]) -> core::result::Result<Result<Response>, CallError> {
    let service = env.service(name).map_err(|_| CallError::NoBinding { name: name.to_owned() })?;
    Ok(match post(SERVICE_URL, event) {
        Ok(request) => service.fetch_request(request).await,
        Err(error) => Err(error),
    })
}

/// The platform's words may tell about its inside: they are for the log.
fn unreachable(authorizer: &AuthorizerRow, error: &worker::Error) -> CallError {
    log_line(&json!({
        "level": "warn", "event": "authorizer_unreachable", "authorizer_name": authorizer.authorizer_name,
        "reason": error.to_string(),
    }));
    CallError::Unreachable
}
