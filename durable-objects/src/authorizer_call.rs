//! Calls the function of a custom authorizer: a webhook, or the Worker behind a service binding.

use crate::host::log_line;
use crate::requests;
use authorizer::{AuthorizerFunction, CallError, MAXIMUM_ANSWER_BYTES, TIMEOUT_MILLIS};
use registry::authorizer::AuthorizerRow;
use serde_json::json;
use std::time::Duration;
use worker::{AbortController, Env, Fetch, Headers, RequestRedirect, Result};

/// What Workers behind service bindings see as the URL. The host means nothing.
const SERVICE_URL: &str = "https://authorizer.internal/";

/// Calls the function with an event and gives its answer as it came, which nobody has looked into.
///
/// # Errors
/// [`CallError`].
pub async fn invoke(env: &Env, authorizer: &AuthorizerRow, event: &[u8]) -> core::result::Result<Vec<u8>, CallError> {
    let function = authorizer.function(is_local(env))?;
    let timeout = Duration::from_millis(TIMEOUT_MILLIS.into());
    call(env, &function, event, timeout).await.map_err(|failure| match failure {
        Failure::Told(error) => error,
        // The platform's words may tell about its inside: they are for the log.
        Failure::Platform(error) => {
            log_line(&json!({
                "level": "warn", "event": "authorizer_unreachable", "authorizer_name": authorizer.authorizer_name,
                "reason": error.to_string(),
            }));
            CallError::Unreachable
        }
    })
}

/// Posts something to a function that is no authorizer, and gives its answer as it came.
///
/// # Errors
/// Why there is none, for the log.
pub async fn post_to(env: &Env, function: &str, body: &[u8]) -> core::result::Result<Vec<u8>, String> {
    let function = AuthorizerFunction::parse(function, is_local(env)).map_err(|error| error.to_string())?;
    let timeout = Duration::from_millis(TIMEOUT_MILLIS.into());
    call(env, &function, body, timeout).await.map_err(|failure| match failure {
        Failure::Told(error) => error.to_string(),
        Failure::Platform(error) => error.to_string(),
    })
}

/// Whether this runs on a developer's own machine, where functions may be web servers there, without encryption: only the
/// local host makes this secret.
fn is_local(env: &Env) -> bool {
    env.secret("LOCAL_TLS_SECRET").is_ok()
}

/// Why there is no answer.
#[derive(Debug)]
enum Failure {
    Told(CallError),
    Platform(worker::Error),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Told(error)
    }
}

impl From<worker::Error> for Failure {
    fn from(error: worker::Error) -> Self {
        Self::Platform(error)
    }
}

async fn call(
    env: &Env,
    function: &AuthorizerFunction,
    event: &[u8],
    timeout: Duration,
) -> core::result::Result<Vec<u8>, Failure> {
    let controller = AbortController::default();
    let signal = controller.signal();
    let answer = async {
        let response = match function {
            AuthorizerFunction::Webhook(webhook) => {
                Fetch::Request(post(webhook.url(), event)?).send_with_signal(&signal).await?
            }
            AuthorizerFunction::Service(name) | AuthorizerFunction::Lambda { name, .. } => {
                let service = env.service(name).map_err(|_| CallError::NoBinding { name: name.clone() })?;
                service.fetch_request(post(SERVICE_URL, event)?).await?
            }
        };
        let status = response.status_code();
        if !(200..300).contains(&status) {
            return Err(CallError::Status(status).into());
        }
        Ok(requests::body(response, MAXIMUM_ANSWER_BYTES).await?.ok_or(CallError::TooLarge)?)
    };
    let answer = requests::within(timeout, answer).await;
    // A server that dawdles would go on holding one of the six connections that an invocation has. The same is right for
    // what is left of an answer that was not read.
    if !matches!(answer, Some(Ok(_))) {
        controller.abort();
    }
    answer.unwrap_or(Err(CallError::Timeout.into()))
}

fn post(url: &str, event: &[u8]) -> Result<worker::Request> {
    let headers = Headers::new();
    headers.set("content-type", "application/json")?;
    requests::post(url, headers, event, RequestRedirect::Manual)
}

#[cfg(test)]
mod tests {
    use super::*;
    use js_sys::{Function, Object, Reflect};
    use wasm_bindgen::{JsCast, JsValue};
    use wasm_bindgen_test::wasm_bindgen_test;

    const EVENT: &[u8] = br#"{"token":"t"}"#;
    const TIMEOUT: Duration = Duration::from_millis(200);

    /// What a server or a Worker does with `request` (an async function's body), and what comes of it. Both ways of
    /// reaching it must give the same.
    async fn called(does: &str) -> [core::result::Result<String, String>; 2] {
        let behaviour = Function::new_with_args("request, init", &format!("return (async () => {{ {does} }})()"));
        let fetcher = Function::new_with_args("fetch", "return new (class Fetcher { fetch = fetch })()");
        let env = Object::new();
        let binding = fetcher.call1(&JsValue::NULL, &behaviour).unwrap();
        Reflect::set(&env, &"AUTH".into(), &binding).unwrap();
        let env: Env = env.unchecked_into();
        let real = Reflect::get(&js_sys::global(), &"fetch".into()).unwrap();
        Reflect::set(&js_sys::global(), &"fetch".into(), &behaviour).unwrap();
        let by_url = answer(&env, "https://auth.example.com/a?b").await;
        Reflect::set(&js_sys::global(), &"fetch".into(), &real).unwrap();
        [by_url, answer(&env, "service:AUTH").await]
    }

    /// Timers are numbers for the platform and objects for Node, which takes their numbers, too.
    const NUMBERED_TIMERS: &str = "if (typeof setTimeout(() => {}) == 'object') { const real = setTimeout; \
                                   globalThis.setTimeout = (...given) => +real(...given); }";

    async fn answer(env: &Env, function: &str) -> core::result::Result<String, String> {
        Function::new_no_args(NUMBERED_TIMERS).call0(&JsValue::NULL).unwrap();
        let function = AuthorizerFunction::parse(function, false).unwrap();
        match call(env, &function, EVENT, TIMEOUT).await {
            Ok(body) => Ok(String::from_utf8(body).unwrap()),
            Err(Failure::Told(error)) => Err(error.to_string()),
            Err(Failure::Platform(error)) => Err(format!("platform: {error}")),
        }
    }

    #[wasm_bindgen_test]
    async fn the_function_gets_the_event_and_its_answer_comes_back() {
        let told = "return new Response([request.method, request.url, request.redirect, \
                    request.headers.get('content-type'), await request.text()].join(' '))";
        let [by_url, by_service] = called(told).await;
        let event = r#"{"token":"t"}"#;
        assert_eq!(by_url, Ok(format!("POST https://auth.example.com/a?b manual application/json {event}")));
        assert_eq!(by_service, Ok(format!("POST {SERVICE_URL} manual application/json {event}")));
    }

    #[wasm_bindgen_test]
    async fn an_answer_is_read_up_to_the_maximum_and_not_beyond() {
        for (does, expected) in [
            ("return new Response(null, {status: 204})", Ok(0)),
            ("return new Response('x'.repeat(65536))", Ok(65_536)),
            ("return new Response('x'.repeat(65537))", Err("the function's answer has more than 65536 bytes")),
            // endless
            (
                "return new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(1000)) } }))",
                Err("the function's answer has more than 65536 bytes"),
            ),
        ] {
            for given in called(does).await {
                assert_eq!(given.map(|body| body.len()), expected.map_err(str::to_owned), "{does}");
            }
        }
    }

    #[wasm_bindgen_test]
    async fn other_statuses_than_those_of_success_are_no_answer() {
        for status in [301, 302, 400, 404, 500, 503] {
            let does = format!("return new Response('{{}}', {{status: {status}, headers: {{location: '/'}}}})");
            for given in called(&does).await {
                assert_eq!(given, Err(format!("the function answered with status {status}")));
            }
        }
    }

    #[wasm_bindgen_test]
    async fn the_whole_answer_must_come_in_time() {
        let never = "await new Promise(() => {})";
        let half = "return new Response(new ReadableStream({ start(c) { c.enqueue(new Uint8Array(1)) } }))";
        for does in [never, half] {
            for given in called(does).await {
                assert_eq!(given, Err("the function did not answer within 5 seconds".to_owned()), "{does}");
            }
        }
    }

    #[wasm_bindgen_test]
    async fn a_server_that_dawdles_is_hung_up_on() {
        let does = "init?.signal?.addEventListener('abort', () => { globalThis.hungUp = true }); \
                    await new Promise(() => {})";
        let _ = called(does).await;
        assert_eq!(Reflect::get(&js_sys::global(), &"hungUp".into()).unwrap(), JsValue::TRUE);
    }

    #[wasm_bindgen_test]
    async fn what_cannot_be_reached_is_the_platforms_to_say() {
        for given in called("throw new TypeError('inside')").await {
            assert!(given.unwrap_err().starts_with("platform: "));
        }
        let env: Env = Object::new().unchecked_into();
        let lambda = "arn:aws:lambda:us-east-1:123456789012:function:auth";
        assert_eq!(answer(&env, lambda).await, Err("the Worker has no service binding auth".to_owned()));
        Reflect::set(&env, &"SECRET".into(), &"s".into()).unwrap();
        assert_eq!(answer(&env, "service:SECRET").await, Err("the Worker has no service binding SECRET".to_owned()));
        assert_eq!(
            answer(&env, "service:__proto__").await,
            Err("the Worker has no service binding __proto__".to_owned())
        );
    }
}
