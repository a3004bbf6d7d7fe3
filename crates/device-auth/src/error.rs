//! What can be wrong with a proof of identity, under AWS's names.

/// Why a caller isn't who it says it is, or isn't believed.
///
/// The text is fit for the client and never holds a secret, a token or a whole header.
///
/// Names and statuses follow AWS's "Common Error Types" page: `IncompleteSignature` is 400, the others are 403. They are
/// the same for every plane. The service models of the data planes (`iotdata`, `iot-jobs-data`) declare only
/// `UnauthorizedException` (401) and `ForbiddenException` (403); an answer that must keep to them uses the former for
/// [`AuthError::MissingAuthenticationToken`] and the latter for the rest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The request says it is signed, but what it says isn't well formed.
    #[error("{message}")]
    IncompleteSignature {
        /// What is missing or malformed.
        message: String,
    },
    /// The request is well formed, and its signature can't be accepted.
    #[error("{message}")]
    InvalidSignature {
        /// Which rule it broke.
        message: String,
    },
    /// Everything about the signature is in order but its value: another secret, or another request.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details."
    )]
    SignatureMismatch,
    /// The signature's time has passed.
    #[error("Signature expired: {message}")]
    SignatureExpired {
        /// Both times, as AWS words them.
        message: String,
    },
    /// The signature's time has not come: one of the clocks is wrong.
    #[error("Signature not yet current: {message}")]
    SignatureNotYetCurrent {
        /// Both times, as AWS words them.
        message: String,
    },
    /// An access key, session token or password that isn't one of ours.
    #[error("The security token included in the request is invalid.")]
    UnrecognizedClient,
    /// Temporary credentials whose time is over.
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    /// The operation needs a proof and the request brought none.
    #[error("Missing Authentication Token")]
    MissingAuthenticationToken,
    /// What a device shows as proof of its key or certificate can't be accepted.
    #[error("{what} is refused: {reason}")]
    DeviceProof {
        /// What it showed.
        what: &'static str,
        /// Which rule that breaks.
        reason: &'static str,
    },
    /// The sealed header between the Gateway and a Durable Object is not one that the Gateway made just now.
    #[error("internal header refused: {reason}")]
    InternalHeader {
        /// What was found.
        reason: &'static str,
    },
    /// A secret of this deployment can't be used as it is.
    #[error("this deployment's {what} is unusable: {reason}")]
    Configuration {
        /// Which setting.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// Whose mistake an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Who sent the request.
    Client,
    /// Who set this deployment up, or this project.
    Deployment,
}

impl AuthError {
    /// AWS's name for it: the `x-amzn-ErrorType` header and the `__type` member.
    #[must_use]
    pub const fn exception_name(&self) -> &'static str {
        match self {
            Self::IncompleteSignature { .. } => "IncompleteSignatureException",
            Self::InvalidSignature { .. }
            | Self::SignatureMismatch
            | Self::SignatureExpired { .. }
            | Self::SignatureNotYetCurrent { .. } => "InvalidSignatureException",
            Self::UnrecognizedClient => "UnrecognizedClientException",
            Self::ExpiredToken => "ExpiredTokenException",
            Self::MissingAuthenticationToken => "MissingAuthenticationTokenException",
            Self::DeviceProof { .. } | Self::InternalHeader { .. } => "ForbiddenException",
            Self::Configuration { .. } => "InternalFailureException",
        }
    }

    /// The HTTP status that goes with [`AuthError::exception_name`].
    #[must_use]
    pub const fn http_status(&self) -> u16 {
        match self {
            Self::IncompleteSignature { .. } => 400,
            Self::Configuration { .. } => 500,
            _ => 403,
        }
    }

    /// Whose mistake it is.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Configuration { .. } => Fault::Deployment,
            _ => Fault::Client,
        }
    }

    pub(crate) fn incomplete(message: impl Into<String>) -> Self {
        Self::IncompleteSignature { message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidSignature { message: message.into() }
    }
}
