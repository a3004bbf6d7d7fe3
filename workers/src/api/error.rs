//! The one place where errors become HTTP.

use device_auth::AuthError;
use durable_objects::site::Refusal;
use messages::thing::HttpReply;
use registry::{ApiError, CorruptRow};
use worker::{Headers, Response, Result};

/// Why an operation gives no result.
pub enum Failure {
    /// The client's to mend, or a state it must know of.
    Client(ApiError),
    /// The same, in words that an object has chosen already.
    Data(HttpReply),
    /// Ours: for the log. The client learns that it happened, not what.
    Platform(String),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Client(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Client(error) => Self::Client(error),
            Refusal::Platform(reason) => Self::Platform(reason),
        }
    }
}

impl From<worker::Error> for Failure {
    fn from(error: worker::Error) -> Self {
        Self::Platform(error.to_string())
    }
}

impl From<CorruptRow> for Failure {
    fn from(error: CorruptRow) -> Self {
        Self::Platform(error.to_string())
    }
}

impl From<rules::RuleError> for Failure {
    fn from(error: rules::RuleError) -> Self {
        Self::Client(ApiError::new(error.exception(), 400, error.to_string()))
    }
}

impl From<jobs::JobError> for Failure {
    fn from(error: jobs::JobError) -> Self {
        Self::Client(ApiError::new(error.exception(), error.http_status(), error.to_string()))
    }
}

/// A refused proof.
pub fn of_auth(error: &AuthError) -> ApiError {
    ApiError::new(error.exception_name(), error.http_status(), error.to_string())
}

/// An object did not answer, or answered something else than it was asked for.
pub fn unreachable(what: &str) -> Failure {
    Failure::Platform(format!("{what} could not be reached"))
}

/// AWS's error shape: the name in a header, the message in the body.
pub fn response(error: &ApiError, request_id: &str) -> Result<Response> {
    shaped(error.body(), error.status(), error.name(), request_id)
}

/// The same for a client that is to come again later.
pub fn come_again(error: &ApiError, retry_after_secs: u32, request_id: &str) -> Result<Response> {
    let mut answer = response(error, request_id)?;
    answer.headers_mut().set("retry-after", &retry_after_secs.to_string())?;
    Ok(answer)
}

/// The same for an error that an object has shaped.
pub fn data_response(error: HttpReply, request_id: &str) -> Result<Response> {
    shaped(
        error.body.to_vec(),
        error.status,
        error.error_name.as_deref().unwrap_or("InternalFailureException"),
        request_id,
    )
}

fn shaped(body: Vec<u8>, status: u16, name: &str, request_id: &str) -> Result<Response> {
    let headers = Headers::new();
    headers.set("content-type", "application/json")?;
    headers.set("x-amzn-ErrorType", name)?;
    headers.set("x-amzn-RequestId", request_id)?;
    if status == 503 {
        headers.set("retry-after", "1")?;
    }
    Ok(Response::from_bytes(body)?.with_status(status).with_headers(headers))
}
