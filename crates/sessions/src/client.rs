//! What a shard knows of one client id: the contents of its row.

use crate::claims::{Holder, Older};
use crate::settings::ShardSettings;
use crate::store::{ClientRow, StoreError, decode, encode};
use iot_types::{ClientId, UnixMillis};
use messages::publication::Publication;
use messages::session::{Claim, ConnectionDetails, DisconnectReason, WillMessage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A client id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Client {
    /// Of the newest claim, or above it: what any other number says is refused.
    pub number: u64,
    /// The newest claim.
    pub current: Option<Connection>,
    /// Connections that may not have closed yet, oldest first.
    pub older: Vec<Older>,
    /// The session that outlives connections.
    pub session: Option<Session>,
    /// The will of a connection that has ended, while it waits for its delay.
    pub will: Option<DelayedWill>,
    /// The connection that ended last.
    pub last: Option<Last>,
    /// The next connection's `versionNumber`.
    pub next_version: u64,
    /// Wills and presence events that may not have been published yet.
    pub unpublished: Vec<(u64, Publication)>,
    /// The first packet identifier that no memory of the shard has used on the present connection.
    pub unused_packet_ids: u16,
    /// Messages dropped for want of room.
    pub dropped: u64,
}

/// A claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Connection {
    pub holder: Holder,
    pub claim: Claim,
    /// Whether it was granted; if not it waits for an older connection.
    pub is_granted: bool,
    pub session_present: bool,
    /// AWS's `versionNumber`.
    pub version: u64,
    pub connected_at: UnixMillis,
}

/// A session that outlives connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Session Expiry Interval, in seconds.
    pub expiry: u32,
    /// When it ends; `None` while it is connected, or if it never does.
    pub expires_at: Option<UnixMillis>,
    /// Whether its connections speak MQTT 5.0.
    pub is_v5: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DelayedWill {
    pub will: WillMessage,
    /// The number of the connection that left it.
    pub number: u64,
    pub due_at: UnixMillis,
    /// Whether nobody has to hear it if the client comes back before: the platform ended the connection, not the client.
    pub is_excused: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Last {
    pub details: ConnectionDetails,
    pub is_clean: bool,
    pub session_expiry: u32,
    pub connected_at: UnixMillis,
    pub ended_at: UnixMillis,
    pub reason: DisconnectReason,
}

/// Packet identifiers that a memory of the shard takes at once for a session. Those before are not used again until
/// all others have been, so that an acknowledgement of something that a lost memory sent is never taken for one of
/// something else.
pub(crate) const PACKET_ID_BLOCK: u16 = 4_096;

impl Connection {
    pub const fn waiting(holder: Holder, claim: Claim, now: UnixMillis) -> Self {
        Self { holder, claim, is_granted: false, session_present: false, version: 0, connected_at: now }
    }
}

impl Client {
    /// The present connection, if it was granted and has this number.
    pub fn connection(&self, number: u64) -> Option<&Connection> {
        self.granted().filter(|current| current.holder.number == number)
    }

    /// The present connection, if it was granted.
    pub fn granted(&self) -> Option<&Connection> {
        self.current.as_ref().filter(|current| current.is_granted)
    }

    /// Whether the row could be forgotten once its time has come.
    const fn is_over(&self) -> bool {
        self.current.is_none() && self.older.is_empty() && self.session.is_none() && self.will.is_none()
    }

    /// When the row may be forgotten.
    pub fn forget_at(&self, settings: &ShardSettings) -> Option<UnixMillis> {
        let ended_at = self.last.as_ref().map_or(UnixMillis(0), |last| last.ended_at);
        self.is_over().then(|| ended_at.plus_millis(settings.forget_millis))
    }

    /// When something is due.
    pub fn deadline(&self, settings: &ShardSettings) -> Option<UnixMillis> {
        let older = self.older.iter().map(|older| {
            let wait = if older.unsettled.is_some() { settings.fence_millis } else { settings.fence_attempts_millis };
            older.since.plus_millis(wait)
        });
        let will = self.will.as_ref().map(|will| will.due_at);
        let expiry = self.session.as_ref().and_then(|session| session.expires_at);
        older.chain(will).chain(expiry).chain(self.forget_at(settings)).min()
    }

    /// Takes the next block of packet identifiers: gives its first.
    pub const fn take_packet_ids(&mut self) -> u16 {
        let first = if self.unused_packet_ids == 0 { 1 } else { self.unused_packet_ids };
        // Zero is no identifier and stands for a new session here: 1 follows 65,535.
        let next = first as u32 + PACKET_ID_BLOCK as u32;
        self.unused_packet_ids = if next > u16::MAX as u32 { (next - u16::MAX as u32) as u16 } else { next as u16 };
        first
    }

    /// The row. Of the wills and events it keeps those in `unpublished`.
    pub fn row(
        &mut self,
        client_id: &ClientId,
        settings: &ShardSettings,
        is_unpublished: impl Fn(u64) -> bool,
    ) -> Result<ClientRow, StoreError> {
        self.unpublished.retain(|(sequence, _)| is_unpublished(*sequence));
        let current = self.current.as_ref();
        Ok(ClientRow {
            client_id: client_id.clone(),
            deadline: self.deadline(settings),
            broker: current.map(|current| (current.holder.broker.clone(), current.holder.epoch)),
            is_watched: self.session.is_some() || current.is_some_and(|current| current.claim.will.is_some()),
            event_sequence: self.unpublished.last().map_or(0, |(sequence, _)| *sequence),
            bytes: encode(self)?,
        })
    }

    pub fn of_row(row: &ClientRow) -> Result<Self, StoreError> {
        decode(&row.bytes)
    }
}

/// What a session has subscribed to: the contents of its row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SubscriptionSet {
    pub filters: std::collections::BTreeMap<String, Held>,
    /// Filters whose end a Router may not know of yet.
    pub removed: BTreeSet<String>,
}

/// One subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub options: messages::session::SubscriptionOptions,
    /// Whether the Routers are known to have it. A row may be behind, which costs asking them again.
    pub is_registered: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_packet_identifiers_come_again_only_after_all_others() {
        let mut client = Client::default();
        let firsts: Vec<u16> = (0..16).map(|_| client.take_packet_ids()).collect();
        assert_eq!(&firsts[..3], [1, 4_097, 8_193]);
        assert_eq!(firsts[15], 61_441);
        assert_eq!(client.take_packet_ids(), 2, "65,536 identifiers would be one too many");
        assert!((0..1_000).all(|_| client.take_packet_ids() != 0));
    }
}
