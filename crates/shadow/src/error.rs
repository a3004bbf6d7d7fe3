//! Why a request is refused, in AWS's codes and words.

use crate::reply;
use iot_types::UnixMillis;

/// Why a shadow request is refused. All but [`Internal`](Self::Internal) are the client's to mend.
///
/// Displayed, it is the `message` of the reply. AWS: developer guide, "Device Shadow error messages".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShadowError {
    /// The payload is no JSON.
    #[error("Invalid JSON")]
    InvalidJson,
    /// An update without `state`, or whose payload is no object.
    #[error("Missing required node: state")]
    MissingState,
    /// `state` is neither an object nor null.
    #[error("State node must be an object")]
    StateNotAnObject,
    /// `state.desired` is neither an object nor null.
    #[error("Desired node must be an object")]
    DesiredNotAnObject,
    /// `state.reported` is neither an object nor null.
    #[error("Reported node must be an object")]
    ReportedNotAnObject,
    /// `version` is not a whole number from 0.
    #[error("Invalid version")]
    InvalidVersion,
    /// `clientToken` is no string or too long.
    #[error("Invalid clientToken")]
    InvalidClientToken,
    /// Deeper than [`Limits::maximum_depth`](crate::Limits::maximum_depth) below a section.
    #[error("JSON contains too many levels of nesting; maximum is {maximum}")]
    TooDeep {
        /// Levels allowed.
        maximum: usize,
    },
    /// `state` has a section of another name, or a null within an array.
    #[error("State contains an invalid node")]
    InvalidNode,
    /// The caller did not authenticate.
    #[error("Unauthorized")]
    Unauthorized,
    /// The caller's policy does not allow the operation.
    #[error("Forbidden")]
    Forbidden,
    /// There is no such thing.
    #[error("Thing not found")]
    ThingNotFound,
    /// There is no such shadow, or it is deleted.
    #[error("No shadow exists with name: '{name}'")]
    ShadowNotFound {
        /// `thing` for the classic shadow, `thing~shadow` for a named one.
        name: String,
    },
    /// `version` is not the current one.
    #[error("Version conflict")]
    VersionConflict,
    /// The request itself is too long or has too many values.
    #[error("The payload exceeds the maximum size allowed")]
    PayloadTooLarge,
    /// The state document would be too long. AWS documents the text of
    /// [`PayloadTooLarge`](Self::PayloadTooLarge) and sends this one.
    #[error("Json document too large. Size is {size}, max allowed: {maximum}")]
    DocumentTooLarge {
        /// Bytes that the state document would have.
        size: usize,
        /// Bytes allowed.
        maximum: usize,
    },
    /// The payload is not UTF-8.
    #[error("Unsupported documented encoding; supported encoding is UTF-8")]
    UnsupportedEncoding,
    /// More requests are under way on the connection than allowed.
    #[error("Too many requests")]
    TooManyRequests,
    /// Our fault: storage failed, or what it holds cannot be read.
    #[error("Internal service failure")]
    Internal,
}

impl ShadowError {
    /// The `code` of the reply, which is also the HTTP status.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::InvalidJson
            | Self::MissingState
            | Self::StateNotAnObject
            | Self::DesiredNotAnObject
            | Self::ReportedNotAnObject
            | Self::InvalidVersion
            | Self::InvalidClientToken
            | Self::TooDeep { .. }
            | Self::InvalidNode => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::ThingNotFound | Self::ShadowNotFound { .. } => 404,
            Self::VersionConflict => 409,
            Self::PayloadTooLarge | Self::DocumentTooLarge { .. } => 413,
            Self::UnsupportedEncoding => 415,
            Self::TooManyRequests => 429,
            Self::Internal => 500,
        }
    }

    /// The `message` of the reply.
    #[must_use]
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// The exception that `iot-data`'s service model has for it, as HTTP answers name it.
    #[must_use]
    pub const fn exception(&self) -> &'static str {
        match self.code() {
            400 => "InvalidRequestException",
            401 => "UnauthorizedException",
            403 => "ForbiddenException",
            404 => "ResourceNotFoundException",
            409 => "ConflictException",
            413 => "RequestEntityTooLargeException",
            415 => "UnsupportedDocumentEncodingException",
            429 => "ThrottlingException",
            _ => "InternalFailureException",
        }
    }
}

/// A refusal and the message that tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Why.
    pub error: ShadowError,
    /// What goes to the operation's `/rejected` topic: code, message, timestamp in seconds, and the client token when
    /// it could be read.
    pub payload: Vec<u8>,
}

impl Rejection {
    pub(crate) fn new(error: ShadowError, client_token: Option<&str>, now: UnixMillis) -> Self {
        let payload = reply::rejected(&error, client_token, now);
        Self { error, payload }
    }
}

#[cfg(test)]
mod tests {
    use super::ShadowError::*;
    use super::*;

    #[test]
    fn every_error_has_awss_code_text_and_exception() {
        #[track_caller]
        fn check(error: ShadowError, code: u16, exception: &str, message: &str) {
            assert_eq!((error.code(), error.exception(), error.message().as_str()), (code, exception, message));
        }
        let invalid = "InvalidRequestException";
        check(InvalidJson, 400, invalid, "Invalid JSON");
        check(MissingState, 400, invalid, "Missing required node: state");
        check(StateNotAnObject, 400, invalid, "State node must be an object");
        check(DesiredNotAnObject, 400, invalid, "Desired node must be an object");
        check(ReportedNotAnObject, 400, invalid, "Reported node must be an object");
        check(InvalidVersion, 400, invalid, "Invalid version");
        check(InvalidClientToken, 400, invalid, "Invalid clientToken");
        check(TooDeep { maximum: 6 }, 400, invalid, "JSON contains too many levels of nesting; maximum is 6");
        check(InvalidNode, 400, invalid, "State contains an invalid node");
        check(Unauthorized, 401, "UnauthorizedException", "Unauthorized");
        check(Forbidden, 403, "ForbiddenException", "Forbidden");
        let missing = "ResourceNotFoundException";
        check(ThingNotFound, 404, missing, "Thing not found");
        check(ShadowNotFound { name: "t~s".into() }, 404, missing, "No shadow exists with name: 't~s'");
        check(VersionConflict, 409, "ConflictException", "Version conflict");
        let too_large = "RequestEntityTooLargeException";
        check(PayloadTooLarge, 413, too_large, "The payload exceeds the maximum size allowed");
        let document = DocumentTooLarge { size: 8_582, maximum: 8_192 };
        check(document, 413, too_large, "Json document too large. Size is 8582, max allowed: 8192");
        let encoding = "Unsupported documented encoding; supported encoding is UTF-8";
        check(UnsupportedEncoding, 415, "UnsupportedDocumentEncodingException", encoding);
        check(TooManyRequests, 429, "ThrottlingException", "Too many requests");
        check(Internal, 500, "InternalFailureException", "Internal service failure");
    }
}
