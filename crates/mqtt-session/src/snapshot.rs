//! What a session must not lose while its object sleeps: it is kept in the socket's attachment.

use crate::Subscriptions;
use iot_types::{ClientId, UnixMillis};
use messages::publication::MessageId;
use serde::{Deserialize, Serialize};

const VERSION: u8 = 2;

/// Why a snapshot could not be read. The connection it belongs to has to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session's snapshot is unreadable")]
pub struct SnapshotError;

/// A connected session at rest. The Will Message is not here but with the claim, in the Sessions shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionSnapshot {
    /// The client id.
    pub client_id: ClientId,
    /// Whether the connection speaks MQTT 5.0.
    pub is_v5: bool,
    /// Whether the session outlives its connection.
    pub is_durable: bool,
    /// The Session Expiry Interval that CONNECT asked for, in seconds.
    pub session_expiry: u32,
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
    /// The client's Topic Alias Maximum. Our own aliases begin anew after a sleep: the client takes a new topic for an
    /// alias at any time.
    pub topic_alias_maximum: u16,
    /// The client's Topic Aliases.
    pub topic_aliases: Vec<(u16, String)>,
    /// The Authentication Method of CONNECT.
    pub authentication_method: Option<String>,
    /// Filters and their options.
    pub subscriptions: Subscriptions,
    /// The names of the last messages of QoS 2 that the client had.
    pub recent: Vec<MessageId>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Session, SessionSettings, SubscriptionOptions};
    use iot_types::Qos;
    use proptest::collection::{btree_map, vec};
    use proptest::option::of;
    use proptest::prelude::*;

    fn qos() -> impl Strategy<Value = Qos> {
        (0..3_u8).prop_map(|bits| Qos::from_bits(bits).unwrap())
    }

    fn subscriptions() -> impl Strategy<Value = Subscriptions> {
        let options = (qos(), any::<bool>(), any::<bool>(), of(any::<u32>())).prop_map(
            |(qos, no_local, retain_as_published, subscription_identifier)| SubscriptionOptions {
                qos,
                no_local,
                retain_as_published,
                subscription_identifier,
            },
        );
        btree_map(".{0,12}", options, 0..4)
    }

    fn snapshot() -> impl Strategy<Value = SessionSnapshot> {
        let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
        let numbers = (any::<u16>(), any::<u64>(), 1..=u16::MAX, of(1..=u32::MAX), any::<u32>(), any::<u16>());
        let aliases = btree_map(1..=16_u16, ".{1,12}", 0..4).prop_map(|aliases| aliases.into_iter().collect());
        let name = (any::<u64>(), any::<u64>()).prop_map(|(origin, number)| MessageId { origin, number });
        (".{1,20}", flags, numbers, subscriptions(), aliases, of(".{0,8}"), vec(name, 0..64)).prop_map(
            |(
                client_id,
                (is_v5, is_durable, problem_information, is_dirty),
                (keep_alive, heard, receive_maximum, maximum_packet_size, session_expiry, topic_alias_maximum),
                subscriptions,
                topic_aliases,
                authentication_method,
                recent,
            )| {
                SessionSnapshot {
                    client_id: ClientId::new(client_id).unwrap(),
                    is_v5,
                    is_durable,
                    session_expiry,
                    keep_alive,
                    last_heard: UnixMillis(heard),
                    receive_maximum,
                    maximum_packet_size,
                    problem_information,
                    topic_alias_maximum,
                    topic_aliases,
                    authentication_method,
                    subscriptions,
                    recent,
                    is_dirty,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_snapshot_survives_being_stored(snapshot in snapshot()) {
            prop_assert_eq!(SessionSnapshot::decode(&snapshot.encode()), Ok(snapshot));
        }

        #[test]
        fn a_restored_session_is_at_rest_and_otherwise_the_same(snapshot in snapshot()) {
            let session = Session::restore(SessionSettings::STANDARD, snapshot.clone());
            prop_assert!(session.is_at_rest());
            prop_assert_eq!(session.snapshot(), Some(SessionSnapshot { is_dirty: false, ..snapshot }));
        }

        #[test]
        fn bytes_of_another_version_are_no_snapshot(snapshot in snapshot(), version in 0..=u8::MAX) {
            prop_assume!(version != VERSION);
            let mut bytes = snapshot.encode();
            bytes[0] = version;
            prop_assert_eq!(SessionSnapshot::decode(&bytes), Err(SnapshotError));
        }

        #[test]
        fn a_cut_snapshot_is_none(snapshot in snapshot(), cut in any::<proptest::sample::Index>()) {
            let bytes = snapshot.encode();
            prop_assert_eq!(SessionSnapshot::decode(&bytes[..cut.index(bytes.len())]), Err(SnapshotError));
        }

        #[test]
        fn no_bytes_panic(mut bytes in vec(any::<u8>(), 0..64)) {
            let _ = SessionSnapshot::decode(&bytes);
            bytes.insert(0, VERSION);
            let _ = SessionSnapshot::decode(&bytes);
        }
    }
}
