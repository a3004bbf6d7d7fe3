//! Errors: what a client is told, and what is wrong with our own rows.

use crate::operation::Plane;
use serde_json::{Map, Value};
use service_model::Problem;

/// An error as every AWS plane answers it: an HTTP status, the exception's name in the header `x-amzn-ErrorType`, and
/// a JSON body with `message` and sometimes more members (`rest-json` protocol).
///
/// A status of 500 or more is our fault, anything else the client's. The message is meant for the client: it never
/// holds anything about the inside of the platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {message}")]
pub struct ApiError {
    name: &'static str,
    status: u16,
    message: String,
    members: Vec<(&'static str, String)>,
}

impl ApiError {
    /// An error that has no constructor of its own, for example a signature error: `name` is the exception's name in
    /// the service model, `status` the HTTP status that the model gives it.
    #[must_use]
    pub fn new(name: &'static str, status: u16, message: impl Into<String>) -> Self {
        Self { name, status, message: message.into(), members: Vec::new() }
    }

    /// 400: the request breaks a rule that the service model or the documentation states.
    #[must_use]
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new("InvalidRequestException", 400, message)
    }

    /// 400: the body is not JSON, or a member has another JSON type than the service model says.
    #[must_use]
    pub fn serialization(message: impl Into<String>) -> Self {
        Self::new("SerializationException", 400, message)
    }

    /// 400: a rule's SQL cannot be parsed.
    #[must_use]
    pub fn sql_parse(message: impl Into<String>) -> Self {
        Self::new("SqlParseException", 400, message)
    }

    /// 401: authenticated or not, the caller may not do this.
    #[must_use]
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self::new("UnauthorizedException", 401, message)
    }

    /// 403: the caller is known and may not do this.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new("ForbiddenException", 403, message)
    }

    /// 404: a named resource does not exist.
    #[must_use]
    pub fn resource_not_found(message: impl Into<String>) -> Self {
        Self::new("ResourceNotFoundException", 404, message)
    }

    /// 404: no operation has this path.
    #[must_use]
    pub fn unknown_operation() -> Self {
        Self::new("UnknownOperationException", 404, "No operation has this path")
    }

    /// 501: AWS has this operation, and it is not built.
    #[must_use]
    pub fn not_implemented(operation: &str) -> Self {
        Self::new("NotImplementedException", 501, format!("{operation} is not implemented here"))
    }

    /// What a request is answered with that breaks the service model.
    #[must_use]
    pub fn of_problem(problem: Problem, operation: &service_model::Operation) -> Self {
        match problem {
            Problem::Serialization(message) => Self::serialization(message),
            Problem::Validation(message) => Self::new(operation.validation_exception(), 400, message),
        }
    }

    /// 405: operations have this path, none with this method.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self::new("MethodNotAllowedException", 405, "The path does not support this method")
    }

    /// 409: the resource exists with another configuration. Carries `resourceId` and `resourceArn`.
    #[must_use]
    pub fn resource_already_exists(message: impl Into<String>, resource_id: &str, resource_arn: &str) -> Self {
        let mut error = Self::new("ResourceAlreadyExistsException", 409, message);
        error.members = vec![("resourceId", resource_id.to_owned()), ("resourceArn", resource_arn.to_owned())];
        error
    }

    /// 409: something depends on the resource, so that it can't be deleted.
    #[must_use]
    pub fn delete_conflict(message: impl Into<String>) -> Self {
        Self::new("DeleteConflictException", 409, message)
    }

    /// 410: there are as many as may be.
    #[must_use]
    pub fn limit_exceeded(message: impl Into<String>) -> Self {
        Self::new("LimitExceededException", 410, message)
    }

    /// 409: `expectedVersion` is not the stored version.
    #[must_use]
    pub fn version_conflict(message: impl Into<String>) -> Self {
        Self::new("VersionConflictException", 409, message)
    }

    /// 413: the body is larger than the operation takes.
    #[must_use]
    pub fn request_entity_too_large(message: impl Into<String>) -> Self {
        Self::new("RequestEntityTooLargeException", 413, message)
    }

    /// Too many requests: 429 on the data plane, 400 on the control plane, as the two service models have it.
    #[must_use]
    pub fn throttling(plane: Plane, message: impl Into<String>) -> Self {
        let status = match plane {
            Plane::Iot => 400,
            Plane::IotData | Plane::IotJobsData => 429,
        };
        Self::new("ThrottlingException", status, message)
    }

    /// 500: our fault. What went wrong belongs in the log, so there is no message to give.
    #[must_use]
    pub fn internal_failure() -> Self {
        Self::new("InternalFailureException", 500, "An unexpected error has occurred.")
    }

    /// 503: our fault, and a retry may help.
    #[must_use]
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::new("ServiceUnavailableException", 503, message)
    }

    /// 504: somebody else did not answer in time.
    #[must_use]
    pub fn gateway_timeout(message: impl Into<String>) -> Self {
        Self::new("GatewayTimeoutException", 504, message)
    }

    /// The exception's name, the value of the header `x-amzn-ErrorType`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The text for the client.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The JSON body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let mut body = Map::new();
        body.insert("message".to_owned(), Value::from(self.message.as_str()));
        for (name, value) in &self.members {
            body.insert((*name).to_owned(), Value::from(value.as_str()));
        }
        Value::Object(body).to_string().into_bytes()
    }
}

/// A stored row that this code cannot read: our fault, answered as [`ApiError::internal_failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column} of table {table} holds a value that does not parse")]
pub struct CorruptRow {
    /// The table.
    pub table: &'static str,
    /// The column.
    pub column: &'static str,
}

impl From<CorruptRow> for ApiError {
    fn from(_: CorruptRow) -> Self {
        Self::internal_failure()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_holds_the_message_and_the_members_of_the_exception() {
        let text = |error: &ApiError| String::from_utf8(error.body()).unwrap();
        assert_eq!(text(&ApiError::invalid_request("a \"b\"")), r#"{"message":"a \"b\""}"#);
        let exists = ApiError::resource_already_exists("m", "lamp", "arn:lamp");
        assert_eq!(text(&exists), r#"{"message":"m","resourceId":"lamp","resourceArn":"arn:lamp"}"#);
        assert_eq!((exists.name(), exists.status()), ("ResourceAlreadyExistsException", 409));
    }

    #[test]
    fn throttling_has_the_status_of_its_plane() {
        assert_eq!(ApiError::throttling(Plane::Iot, "").status(), 400);
        assert_eq!(ApiError::throttling(Plane::IotData, "").status(), 429);
    }

    #[test]
    fn a_corrupt_row_tells_the_client_nothing() {
        let error = ApiError::from(CorruptRow { table: "things", column: "attributes" });
        assert_eq!(error.status(), 500);
        assert!(!error.message().contains("things"));
    }
}
