//! What stays with a socket while its node sleeps.

use crate::permissions::PermissionsRecord;
use device_auth::internal_header::ConnectionGrant;
use messages::broker::ConnectionId;
use mqtt_session::SessionSnapshot;
use serde::{Deserialize, Serialize};

const VERSION: u8 = 4;

/// Why an attachment could not be read; its socket has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection's attachment is unreadable")]
pub struct AttachmentError;

/// A connection at rest: everything that has to outlive the node's memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    /// The node's epoch when the connection was made. Another epoch than the stored one is a restart, not a sleep.
    pub epoch: u64,
    /// The connection.
    pub connection: ConnectionId,
    /// The number that its client id was granted with.
    pub number: Option<u64>,
    /// Who it is and where it came from.
    #[serde(with = "as_json")]
    pub grant: ConnectionGrant,
    /// What it may do; `None` before that is known.
    pub permissions: Option<PermissionsRecord>,
    /// The session; `None` before CONNACK.
    pub session: Option<SessionSnapshot>,
}

impl Attachment {
    /// The bytes to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Serialising into memory fails only for types that postcard has no form for; there is none here.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    /// [`AttachmentError`] when they are no attachment, or a newer release's.
    pub fn decode(bytes: &[u8]) -> Result<Self, AttachmentError> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|_| AttachmentError),
            Some(_) | None => Err(AttachmentError),
        }
    }
}

/// A grant is JSON everywhere it is stored: its principals are tagged by name, which a compact form has no way to tell.
mod as_json {
    use device_auth::internal_header::ConnectionGrant;
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(grant: &ConnectionGrant, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&serde_json::to_string(grant).map_err(S::Error::custom)?)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ConnectionGrant, D::Error> {
        serde_json::from_str(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
