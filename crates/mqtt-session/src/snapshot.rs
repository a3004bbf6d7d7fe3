//! What a session must not lose while its object sleeps: it is kept in the socket's attachment.

use crate::io::{Subscriptions, WillMessage};
use iot_types::{ClientId, UnixMillis};
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;

/// Why a snapshot could not be read. The connection it belongs to has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session's snapshot is unreadable")]
pub struct SnapshotError;

/// A connected session at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSnapshot {
    /// The client id.
    pub client_id: ClientId,
    /// Whether the connection speaks MQTT 5.0.
    pub is_v5: bool,
    /// Whether CONNECT asked for a session that outlives the connection.
    pub asked_session_expiry: bool,
    /// Seconds; zero for none.
    pub keep_alive: u16,
    /// When the client was last heard, exact to a quarter of the keep-alive.
    pub last_heard: UnixMillis,
    /// The client's Receive Maximum.
    pub receive_maximum: u16,
    /// The client's Maximum Packet Size.
    pub maximum_packet_size: Option<u32>,
    /// Whether reason strings may be sent.
    pub problem_information: bool,
    /// Filters and their options.
    pub subscriptions: Subscriptions,
    /// The Will Message.
    pub will: Option<WillMessage>,
    /// Whether something was under way that a snapshot doesn't hold. After waking, such a connection is closed.
    pub is_dirty: bool,
}

impl SessionSnapshot {
    /// The bytes to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Serialising into memory fails only for types that postcard has no form for; there is none here.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    /// [`SnapshotError`] when they are no snapshot, or a newer release's.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|_| SnapshotError),
            Some(_) | None => Err(SnapshotError),
        }
    }
}
