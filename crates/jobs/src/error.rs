//! What can go wrong on the control plane.

/// Why a request about jobs fails. The message is fit for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// Our fault: a stored row does not read back. The text is for the log, not for the client.
    #[error("stored row does not read back: {0}")]
    CorruptRow(String),
    /// The client's fault: a parameter is missing, malformed or not supported.
    #[error("{0}")]
    InvalidRequest(String),
    /// The client's fault: the job or execution is in a state that does not allow the change.
    #[error("{0}")]
    InvalidStateTransition(String),
    /// The client's fault: more than this account may have.
    #[error("{0}")]
    LimitExceeded(String),
    /// The client's fault: the job id is taken.
    #[error("Job {job_id} already exists.")]
    ResourceAlreadyExists {
        /// The id that is taken.
        job_id: String,
        /// The ARN of the job that has it.
        resource_arn: String,
    },
    /// The client's fault: no such job, execution or target.
    #[error("{0}")]
    ResourceNotFound(String),
    /// The client's fault: `expectedVersion` is not the current version.
    #[error("{0}")]
    VersionConflict(String),
}

impl JobError {
    /// The exception's name in AWS's service model `iot`.
    #[must_use]
    pub const fn exception(&self) -> &'static str {
        match self {
            Self::CorruptRow(_) => "InternalFailureException",
            Self::InvalidRequest(_) => "InvalidRequestException",
            Self::InvalidStateTransition(_) => "InvalidStateTransitionException",
            Self::LimitExceeded(_) => "LimitExceededException",
            Self::ResourceAlreadyExists { .. } => "ResourceAlreadyExistsException",
            Self::ResourceNotFound(_) => "ResourceNotFoundException",
            Self::VersionConflict(_) => "VersionConflictException",
        }
    }

    /// The HTTP status that AWS's service model gives the exception.
    #[must_use]
    pub const fn http_status(&self) -> u16 {
        match self {
            Self::CorruptRow(_) => 500,
            Self::InvalidRequest(_) => 400,
            Self::ResourceNotFound(_) => 404,
            Self::InvalidStateTransition(_) | Self::ResourceAlreadyExists { .. } | Self::VersionConflict(_) => 409,
            // 410 Gone is what the model says, odd as it is.
            Self::LimitExceeded(_) => 410,
        }
    }

    /// Whether the client can do something about it; otherwise the message stays in the log.
    #[must_use]
    pub const fn is_client_fault(&self) -> bool {
        !matches!(self, Self::CorruptRow(_))
    }
}
