//! What travels between Umbra's own parts, or is stored by them. Nobody outside writes it; but parts of different
//! releases do, and a message that ends an object's memory ends every connection in it.

use crate::memory;
use crate::session::a_connected_session;
use broker::Attachment;
use device_auth::internal_header::ConnectionGrant;
use messages::Reply;
use messages::api::{BrokerApiReply, BrokerApiRequest};
use messages::broker::ConnectionId;
use messages::codec::{Batch, BatchReply, VERSION};
use messages::rules::{CompiledRule, RuleOutputs};
use mqtt_session::SessionSnapshot;
use std::fmt::Debug;
use std::sync::OnceLock;

/// Bytes that decoding may hold for each byte that came: a reply that says nothing takes one byte, and in a vector
/// as much as the largest does, up to three times while the vector grows.
const MEMORY_FACTOR: u64 = 700;

/// Bytes that decoding may hold besides: serde believes a declared length as far as a megabyte, at each level.
const MEMORY_BASE: u64 = 4 * 1024 * 1024;

/// Byte 0 chooses what the rest is, without the version byte in front, so that a new version leaves the corpus in use.
///
/// Holds: nothing panics; memory is bounded by what came and a constant; what decodes is encoded in no more bytes and
/// decodes to the same.
pub fn messages(data: &[u8]) -> usize {
    let Some((&kind, rest)) = data.split_first() else { return 0 };
    let bytes: Vec<u8> = core::iter::once(VERSION).chain(rest.iter().copied()).collect();
    match kind % 8 {
        0 => check(&bytes, |bytes| Batch::decode(bytes).ok(), |batch| batch.encode().ok())
            .map_or(0, |batch| 1 + batch.requests.len()),
        1 => check(&bytes, |bytes| BatchReply::decode(bytes).ok(), |reply| reply.encode().ok())
            .map_or(0, |reply| 1 + reply.replies.iter().filter(|reply| **reply != Reply::Applied).count()),
        2 => check(&bytes, |bytes| RuleOutputs::decode(bytes).ok(), |outputs| outputs.encode().ok())
            .map_or(0, |outputs| 1 + outputs.outputs.len()),
        3 => told(&check(&bytes, |bytes| CompiledRule::decode(bytes).ok(), |rule| rule.encode().ok())),
        4 => told(&check(&bytes, |bytes| BrokerApiRequest::decode(bytes).ok(), |request| request.encode().ok())),
        5 => told(&check(&bytes, |bytes| BrokerApiReply::decode(bytes).ok(), |reply| reply.encode().ok())),
        6 => {
            let bytes = [&[versions().0], rest].concat();
            told(&check(&bytes, |bytes| SessionSnapshot::decode(bytes).ok(), |snapshot| Some(snapshot.encode())))
        }
        _ => {
            // Part of it is JSON, which may say the same in fewer bytes than we do.
            let bytes = [&[versions().1], rest].concat();
            let (attachment, peak) = memory::peak(|| Attachment::decode(&bytes).ok());
            is_bounded(peak, &bytes);
            let Some(attachment) = attachment else { return 0 };
            assert_eq!(Attachment::decode(&attachment.encode()).as_ref(), Ok(&attachment));
            1
        }
    }
}

/// The version bytes of snapshots and attachments, which are their own.
fn versions() -> (u8, u8) {
    static VERSIONS: OnceLock<(u8, u8)> = OnceLock::new();
    *VERSIONS.get_or_init(|| {
        let snapshot = a_connected_session().snapshot().expect("it is connected");
        let grant = ConnectionGrant::default();
        let attachment =
            Attachment { epoch: 0, connection: ConnectionId(0), number: None, grant, permissions: None, session: None };
        (snapshot.encode()[0], attachment.encode()[0])
    })
}

fn is_bounded(peak: u64, bytes: &[u8]) {
    assert!(peak <= MEMORY_BASE + MEMORY_FACTOR * bytes.len() as u64, "{peak} bytes for {}", bytes.len());
}

fn told<T>(value: &Option<T>) -> usize {
    usize::from(value.is_some())
}

fn check<T: PartialEq + Debug>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Option<T>,
    encode: impl Fn(&T) -> Option<Vec<u8>>,
) -> Option<T> {
    let (value, peak) = memory::peak(|| decode(bytes));
    is_bounded(peak, bytes);
    let value = value?;
    let encoded = encode(&value).expect("what came in a message fits into one");
    assert!(encoded.len() <= bytes.len(), "{} bytes became {}", bytes.len(), encoded.len());
    assert_eq!(decode(&encoded).as_ref(), Some(&value));
    Some(value)
}
