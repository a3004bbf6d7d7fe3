//! What can go wrong, and whose fault it is.

/// A statement that does not compile. The fault of whoever wrote it; AWS's `SqlParseException`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at line {line}, column {column}")]
pub struct SqlError {
    /// What is wrong, in words fit for the client.
    pub message: String,
    /// Line of the statement, from 1.
    pub line: u64,
    /// Column in characters, from 1.
    pub column: u64,
}

/// A `TopicRulePayload` that cannot be accepted. Always the client's fault, HTTP 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Something other than the statement is wrong.
    #[error("{message}")]
    InvalidRequest {
        /// What is wrong, in words fit for the client.
        message: String,
    },
    /// The statement does not compile.
    #[error(transparent)]
    SqlParse(#[from] SqlError),
}

impl RuleError {
    /// The exception of AWS's service model that this is answered with.
    #[must_use]
    pub const fn exception(&self) -> &'static str {
        match self {
            Self::InvalidRequest { .. } => "InvalidRequestException",
            Self::SqlParse(_) => "SqlParseException",
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidRequest { message: message.into() }
    }
}

/// A message on which a rule fails. AWS logs such a failure (`RuleExecution`) and runs no action, not even the error
/// action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// `*` stands beside other items, and there is no object to add them to. The publisher's fault.
    #[error("SELECT * with further items needs a payload that is a JSON object")]
    PayloadIsNoObject,
    /// The statement would need more than [`crate::limits::BASE_WORK`] allows. The rule's author's fault.
    #[error("evaluating the statement on this message takes more work than is allowed")]
    TooMuchWork,
}

/// Bytes that are no program. The fault of this server: what it stored is damaged or comes from a newer release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The first byte names an encoding that this release does not know; compile the statement again.
    #[error("the program is in encoding {0}, which this release does not know")]
    UnknownEncoding(u8),
    /// The bytes do not describe a program.
    #[error("the bytes are no program")]
    Malformed,
}
