//! What the Worker asks of a Broker for an operation of the data plane whose outcome its caller waits for.
//!
//! It has its own RPC method, next to the one for batches: a batch is answered at once, and this only when the message
//! is safe, or the client has acknowledged it. Nothing is numbered: the Worker keeps no channel, and asks once.

use crate::broker::ConnectionId;
use crate::codec::{self, CodecError};
use crate::publication::Publication;
use iot_types::ClientId;
use serde::{Deserialize, Serialize};

/// Requests to a `Broker` that are answered when they are done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BrokerApiRequest {
    /// AWS `Publish`: as a client's PUBLISH, so that a request to a shadow or a job reaches its Thing and Basic Ingest
    /// its rule. Done when the message is delivered or durable.
    Publish(Publication),
    /// AWS `SendDirectMessage`: for one client, whether it subscribed or not. Passes no rule, is not retained, and is
    /// not kept for a client that is away.
    Direct {
        /// Where the client was connected when its Sessions shard was asked.
        connection: ConnectionId,
        /// Whose connection it has to be.
        client_id: ClientId,
        /// The message.
        publication: Publication,
        /// Whether to wait until the client has acknowledged it (PUBACK).
        confirmation: bool,
        /// For how long to wait for that, in milliseconds.
        timeout_millis: u32,
    },
}

/// The answer to a [`BrokerApiRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BrokerApiReply {
    /// Done, in the sense of the request.
    Done,
    /// It can't be done.
    Failed(ApiFailure),
    /// The client did not acknowledge the message in time. It may have it.
    TimedOut,
}

/// Why a [`BrokerApiRequest`] can't be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiFailure {
    /// The connection is over, or another client's.
    NotConnected,
    /// Too much is on its way, through this Broker or to this client. Nothing was done.
    Overloaded,
    /// Somebody who shall have the message could not take it. Others may have it.
    NotSafe,
    /// Nobody may publish to this topic, or the client may not receive it.
    NotAuthorized,
    /// The packet would be larger than the client takes.
    TooLarge,
}

impl BrokerApiRequest {
    /// The bytes for a call.
    ///
    /// # Errors
    /// [`CodecError::TooLarge`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(self)
    }

    /// Reads the bytes of a call.
    ///
    /// # Errors
    /// See [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(bytes)
    }
}

impl BrokerApiReply {
    /// The bytes for a call's return.
    ///
    /// # Errors
    /// [`CodecError::TooLarge`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        codec::encode(self)
    }

    /// Reads the bytes of a call's return.
    ///
    /// # Errors
    /// See [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        codec::decode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_types::{Qos, UnixMillis};

    fn requests() -> Vec<(BrokerApiRequest, &'static str)> {
        let publication = Publication::of_platform("t".into(), "x", Qos::AtLeastOnce, UnixMillis(1));
        let direct = BrokerApiRequest::Direct {
            connection: ConnectionId(5),
            client_id: ClientId::new("c1").unwrap(),
            publication: publication.clone(),
            confirmation: true,
            timeout_millis: 5_000,
        };
        vec![
            (BrokerApiRequest::Publish(publication), "020001740178010000000100"),
            (direct, "020105026331017401780100000001000188 27"),
        ]
    }

    #[test]
    fn the_bytes_of_every_request_are_pinned() {
        for (request, expected) in requests() {
            let bytes = request.encode().unwrap();
            assert_eq!(hex::encode(&bytes), expected.replace(' ', ""), "{request:?}");
            assert_eq!(BrokerApiRequest::decode(&bytes), Ok(request));
        }
    }

    #[test]
    fn the_bytes_of_every_reply_are_pinned() {
        let rows = [
            (BrokerApiReply::Done, "0200"),
            (BrokerApiReply::Failed(ApiFailure::NotConnected), "020100"),
            (BrokerApiReply::Failed(ApiFailure::Overloaded), "020101"),
            (BrokerApiReply::Failed(ApiFailure::NotSafe), "020102"),
            (BrokerApiReply::Failed(ApiFailure::NotAuthorized), "020103"),
            (BrokerApiReply::Failed(ApiFailure::TooLarge), "020104"),
            (BrokerApiReply::TimedOut, "0202"),
        ];
        for (reply, expected) in rows {
            assert_eq!(hex::encode(reply.encode().unwrap()), expected, "{reply:?}");
            assert_eq!(BrokerApiReply::decode(&reply.encode().unwrap()), Ok(reply));
        }
    }

    #[test]
    fn another_version_and_damage_are_told_apart() {
        assert_eq!(BrokerApiReply::decode(&[9, 0]), Err(CodecError::Version(9)));
        assert_eq!(BrokerApiReply::decode(&[codec::VERSION, 9]), Err(CodecError::Malformed));
        assert_eq!(BrokerApiRequest::decode(&[]), Err(CodecError::Malformed));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..128)) {
            let _ = BrokerApiRequest::decode(&bytes);
            let _ = BrokerApiReply::decode(&bytes);
        }
    }
}
