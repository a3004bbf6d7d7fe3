//! Why a call of the function gave no answer.

use crate::{FunctionError, MAXIMUM_ANSWER_BYTES, TIMEOUT_MILLIS};

/// Why there is no answer. Fit for who wrote the function, in TestInvokeAuthorizer and in the log; clients that are
/// refused for it are not told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It may not be called where the deployment runs.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// The Worker has no service binding of the name.
    #[error("the Worker has no service binding {name}")]
    NoBinding {
        /// The name.
        name: String,
    },
    /// No connection, or it broke off; or the Worker behind the binding failed.
    #[error("the function could not be reached, or failed")]
    Unreachable,
    /// It answered with another status than one of success. Redirections are not followed.
    #[error("the function answered with status {0}")]
    Status(u16),
    /// [`TIMEOUT_MILLIS`].
    #[error("the function did not answer within {} seconds", TIMEOUT_MILLIS / 1_000)]
    Timeout,
    /// [`MAXIMUM_ANSWER_BYTES`].
    #[error("the function's answer has more than {MAXIMUM_ANSWER_BYTES} bytes")]
    TooLarge,
}
