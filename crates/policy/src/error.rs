//! Why a text is no policy document.

/// What is wrong with a policy document, in words for whoever wrote it: AWS's `MalformedPolicyException`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PolicyError {
    message: String,
}

impl PolicyError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}
