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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Session, SessionSettings, SubscriptionOptions};
    use iot_types::Qos;
    use messages::publication::PublicationProperties;
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

    fn will() -> impl Strategy<Value = WillMessage> {
        let properties = (of(any::<bool>()), of(any::<u32>()), of(".*"), of(".*"), of(any::<Vec<u8>>()), pairs())
            .prop_map(|(utf8, expiry, content_type, response_topic, correlation, user_properties)| {
                Box::new(PublicationProperties {
                    payload_format_indicator: utf8,
                    message_expiry_interval: expiry,
                    content_type,
                    response_topic,
                    correlation_data: correlation.map(Into::into),
                    user_properties,
                })
            });
        (".*", any::<Vec<u8>>(), qos(), any::<bool>(), of(properties)).prop_map(
            |(topic, payload, qos, retain, properties)| WillMessage {
                topic,
                payload: payload.into(),
                qos,
                retain,
                properties,
            },
        )
    }

    fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
        vec((".*", ".*"), 0..3)
    }

    fn snapshot() -> impl Strategy<Value = SessionSnapshot> {
        let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
        let numbers = (any::<u16>(), any::<u64>(), 1..=u16::MAX, of(1..=u32::MAX));
        (".{1,20}", flags, numbers, subscriptions(), of(will())).prop_map(
            |(
                client_id,
                (is_v5, expiry, problems, is_dirty),
                (keep_alive, heard, window, size),
                subscriptions,
                will,
            )| {
                SessionSnapshot {
                    client_id: ClientId::new(client_id).unwrap(),
                    is_v5,
                    asked_session_expiry: expiry,
                    keep_alive,
                    last_heard: UnixMillis(heard),
                    receive_maximum: window,
                    maximum_packet_size: size,
                    problem_information: problems,
                    subscriptions,
                    will,
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
