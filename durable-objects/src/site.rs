//! What work outside of any one object needs of the deployment.

use crate::d1::Registry;
use device_auth::internal_header::InternalKey;
use iot_types::{Scope, UnixMillis};
use registry::{ApiError, CorruptRow, Limits, Partitions};
use worker::Env;

/// The deployment, as far as issuing certificates and provisioning things need it, at one moment.
pub struct Site<'a> {
    /// Bindings.
    pub env: &'a Env,
    /// Whose it is.
    pub scope: &'a Scope,
    /// What is allowed.
    pub limits: Limits,
    /// Where things are.
    pub partitions: Partitions,
    /// Encrypts the key of the platform's own certificate authority.
    pub authority_key: &'a InternalKey,
    /// The time.
    pub now: UnixMillis,
}

impl Site<'_> {
    /// The registry's databases.
    #[must_use]
    pub fn registry(&self) -> Registry {
        Registry::new(self.env.clone())
    }
}

/// Why something is not done.
#[derive(Debug)]
pub enum Refusal {
    /// The client's to mend.
    Client(ApiError),
    /// Ours, for the log.
    Platform(String),
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self::Client(error)
    }
}

impl From<worker::Error> for Refusal {
    fn from(error: worker::Error) -> Self {
        Self::Platform(error.to_string())
    }
}

impl From<CorruptRow> for Refusal {
    fn from(error: CorruptRow) -> Self {
        Self::Platform(error.to_string())
    }
}

impl From<x509::Error> for Refusal {
    fn from(error: x509::Error) -> Self {
        Self::Platform(error.to_string())
    }
}
