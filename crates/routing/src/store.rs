//! What a Router stores: ordered rows of bytes, their keys and their values.
//!
//! One table of keys and values is all that is needed, costs one row for each thing stored, and lets a virtual shard move
//! without anybody knowing what its rows mean.

use iot_types::UnixMillis;
use messages::address::{Address, BrokerId, ShardMap};
use messages::publication::Publication;
use messages::router::{Destination, Mark};
use mqtt_topic::node;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Storage failed, or a row is not what this release or the one before wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("storage failed: {0}")]
pub struct StoreError(pub String);

/// A key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Rows by key, in the order of their bytes. Synchronous, as a Durable Object's SQLite is.
///
/// A call of [`RouterShard`](crate::RouterShard) that fails may have written some of its rows; it can be repeated.
pub trait RouterStore {
    /// The value under a key.
    ///
    /// # Errors
    /// [`StoreError`].
    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Inserts a row, or replaces the one with the same key.
    ///
    /// # Errors
    /// [`StoreError`].
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError>;

    /// Deletes a row, if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    fn delete(&mut self, key: &[u8]) -> Result<(), StoreError>;

    /// The first `limit` rows from `from` up to and without `to`, in order.
    ///
    /// # Errors
    /// [`StoreError`].
    fn scan(&mut self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Row>, StoreError>;

    /// [`Self::scan`] without reading the values.
    ///
    /// # Errors
    /// [`StoreError`].
    fn scan_keys(&mut self, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StoreError>;
}

/// The format of the values.
const VERSION: u8 = 1;

const SUBSCRIPTION: u8 = b'S';
const MARK: u8 = b'M';
const HOLDER: u8 = b'H';
const SENDER: u8 = b'I';
const RETAINED: u8 = b'R';
const SHARED: u8 = b'Q';
const SHARD: u8 = b'V';

/// The tables whose rows belong to virtual shards and move with them.
pub(crate) const MOVABLE: [u8; 4] = [MARK, SHARED, RETAINED, SUBSCRIPTION];

/// The value of a subscription's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subscription {
    /// The destination's epoch. A Broker's rows of earlier epochs are void.
    pub epoch: u64,
    /// The batch that brought it: a word from before it, that comes late, doesn't undo it.
    pub instance: u64,
    pub number: u64,
}

/// The value of a sender's row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SenderRow {
    pub epoch: u64,
    pub instance: u64,
    /// The last call that did something that must not be done again; those before it say nothing any more.
    pub number: u64,
}

/// The value of a virtual shard's row; without one it is where the map has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardRow {
    /// Counts its moves.
    pub version: u64,
    pub state: ShardState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ShardState {
    /// It is here, and on its way to another object; nothing of it changes.
    Leaving { to: u32 },
    /// It is another object's. Rows are left until `is_clean`.
    Gone { to: u32, is_clean: bool },
    /// Its rows are coming.
    Arriving { from: u32 },
    /// It is here. Nothing new is confirmed before the given time, when all leases of the owner before have ended.
    Here { not_before: UnixMillis },
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    postcard::to_extend(value, vec![VERSION]).map_err(|error| StoreError(error.to_string()))
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|error| StoreError(error.to_string())),
        _ => Err(StoreError("a row of an unknown format".to_owned())),
    }
}

/// The range of a whole table.
pub(crate) fn table(tag: u8) -> (Vec<u8>, Vec<u8>) {
    (vec![tag], vec![tag + 1])
}

pub(crate) fn holders_table() -> (Vec<u8>, Vec<u8>) {
    table(HOLDER)
}

pub(crate) fn senders_table() -> (Vec<u8>, Vec<u8>) {
    table(SENDER)
}

pub(crate) fn shards_table() -> (Vec<u8>, Vec<u8>) {
    table(SHARD)
}

pub(crate) fn subscriptions_table() -> (Vec<u8>, Vec<u8>) {
    table(SUBSCRIPTION)
}

/// Where a scan goes on after a key.
pub(crate) fn after(key: &[u8]) -> Vec<u8> {
    joined(key, &[0])
}

fn joined(first: &[u8], second: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(first.len() + second.len());
    bytes.extend_from_slice(first);
    bytes.extend_from_slice(second);
    bytes
}

/// A key that begins with a text, which has no U+0000 as topics have none.
fn key(tag: u8, text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() + 24);
    bytes.push(tag);
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    bytes
}

/// The keys that begin with this one, which ends with a zero.
fn below(key: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let mut end = key.clone();
    if let Some(last) = end.last_mut() {
        *last = 1;
    }
    (key, end)
}

pub(crate) fn subscription_key(node: &str, filter: &str, destination: &Destination) -> Vec<u8> {
    let mut bytes = key(SUBSCRIPTION, node);
    bytes.extend_from_slice(filter.as_bytes());
    bytes.push(0);
    match destination {
        Destination::Broker(broker) => {
            bytes.push(b'B');
            bytes.extend_from_slice(&broker.index.to_be_bytes());
            bytes.extend_from_slice(broker.region.as_bytes());
        }
        Destination::Sessions(shard) => {
            bytes.push(b'S');
            bytes.extend_from_slice(&shard.to_be_bytes());
        }
    }
    bytes
}

pub(crate) fn subscriptions_of(node: &str) -> (Vec<u8>, Vec<u8>) {
    below(key(SUBSCRIPTION, node))
}

/// The filter and the destination of a subscription's key.
pub(crate) fn parse_subscription(key: &[u8]) -> Option<(&str, Destination)> {
    let mut parts = key.get(1..)?.splitn(3, |byte| *byte == 0).skip(1);
    let filter = core::str::from_utf8(parts.next()?).ok()?;
    let (kind, rest) = parts.next()?.split_first()?;
    let (number, region) = rest.split_first_chunk::<4>()?;
    let number = u32::from_be_bytes(*number);
    let destination = match kind {
        b'B' => Destination::Broker(BrokerId { region: core::str::from_utf8(region).ok()?.to_owned(), index: number }),
        b'S' => Destination::Sessions(number),
        _ => return None,
    };
    Some((filter, destination))
}

pub(crate) fn mark_key(node: &str, mark: Mark) -> Vec<u8> {
    let mut bytes = key(MARK, node);
    bytes.push(match mark {
        Mark::Filters => b'F',
        Mark::Retained => b'R',
    });
    bytes
}

pub(crate) fn marks_of(node: &str) -> (Vec<u8>, Vec<u8>) {
    below(key(MARK, node))
}

pub(crate) fn parse_mark(key: &[u8]) -> Option<Mark> {
    match key.last()? {
        b'F' => Some(Mark::Filters),
        b'R' => Some(Mark::Retained),
        _ => None,
    }
}

pub(crate) fn holder_key(broker: &BrokerId, epoch: u64) -> Vec<u8> {
    let mut bytes = vec![HOLDER];
    bytes.extend_from_slice(&broker.index.to_be_bytes());
    bytes.extend_from_slice(&epoch.to_be_bytes());
    bytes.extend_from_slice(broker.region.as_bytes());
    bytes
}

pub(crate) fn parse_holder(key: &[u8]) -> Option<(BrokerId, u64)> {
    let (index, rest) = key.get(1..)?.split_first_chunk::<4>()?;
    let (epoch, region) = rest.split_first_chunk::<8>()?;
    let region = core::str::from_utf8(region).ok()?.to_owned();
    Some((BrokerId { region, index: u32::from_be_bytes(*index) }, u64::from_be_bytes(*epoch)))
}

pub(crate) fn sender_key(address: &Address) -> Result<Vec<u8>, StoreError> {
    postcard::to_extend(address, vec![SENDER]).map_err(|error| StoreError(error.to_string()))
}

pub(crate) fn parse_sender(key: &[u8]) -> Option<Address> {
    postcard::from_bytes(key.get(1..)?).ok()
}

/// Ends without a zero: topics follow each other in their own order.
pub(crate) fn retained_key(topic: &str) -> Vec<u8> {
    joined(&[RETAINED], topic.as_bytes())
}

pub(crate) fn parse_retained(key: &[u8]) -> Option<&str> {
    core::str::from_utf8(key.get(1..)?).ok()
}

/// The retained messages of the topics that begin with a text.
pub(crate) fn retained_with_prefix(prefix: &str) -> (Vec<u8>, Vec<u8>) {
    let from = retained_key(prefix);
    let mut to = from.clone();
    // 0xFF is in no UTF-8 text.
    to.push(0xff);
    (from, to)
}

pub(crate) fn shared_key(shared_filter: &str, place: u64) -> Vec<u8> {
    joined(&key(SHARED, shared_filter), &place.to_be_bytes())
}

pub(crate) fn shared_of(shared_filter: &str) -> (Vec<u8>, Vec<u8>) {
    below(key(SHARED, shared_filter))
}

pub(crate) fn parse_place(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|place| u64::from_be_bytes(*place))
}

pub(crate) fn shard_key(shard: u16) -> Vec<u8> {
    joined(&[SHARD], &shard.to_be_bytes())
}

pub(crate) fn parse_shard(key: &[u8]) -> Option<u16> {
    key.get(1..)?.first_chunk::<2>().map(|shard| u16::from_be_bytes(*shard))
}

/// The virtual shard that a row belongs to, if its table is one that moves.
pub(crate) fn shard_of_key(key: &[u8]) -> Option<u16> {
    let (tag, rest) = key.split_first()?;
    let text = core::str::from_utf8(rest.split(|byte| *byte == 0).next()?).ok()?;
    match *tag {
        SUBSCRIPTION | MARK => Some(shard_of_node(text)),
        RETAINED | SHARED => Some(shard_of_node(node::node_of(text))),
        _ => None,
    }
}

pub(crate) fn shard_of_node(node: &str) -> u16 {
    ShardMap::virtual_shard(node.as_bytes())
}

/// A message as it is stored; `None` for what can't be read, which is passed over.
pub(crate) fn decode_publication(bytes: &[u8]) -> Option<Publication> {
    decode(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_give_back_what_they_were_made_of() {
        let broker = BrokerId { region: "home".into(), index: 256 };
        for destination in [Destination::Broker(broker.clone()), Destination::Sessions(0)] {
            for (node, filter) in [("", "#"), ("a/b", "$share/g/a/b/+"), ("ä", "ä")] {
                let key = subscription_key(node, filter, &destination);
                assert_eq!(parse_subscription(&key), Some((filter, destination.clone())));
                assert_eq!(shard_of_key(&key), Some(shard_of_node(node)));
                let (from, to) = subscriptions_of(node);
                assert!(from <= key && key < to);
            }
        }
        assert_eq!(parse_holder(&holder_key(&broker, 7)), Some((broker.clone(), 7)));
        let address = Address::Broker(broker);
        assert_eq!(parse_sender(&sender_key(&address).unwrap()), Some(address));
        for mark in [Mark::Filters, Mark::Retained] {
            let key = mark_key("a", mark);
            assert_eq!((parse_mark(&key), shard_of_key(&key)), (Some(mark), Some(shard_of_node("a"))));
        }
        assert_eq!(parse_retained(&retained_key("a/b")), Some("a/b"));
        assert_eq!(shard_of_key(&retained_key("a/b/c/d/e")), Some(shard_of_node("a/b/c/d")));
        let key = shared_key("$share/g/a/+", 1 << 40);
        assert_eq!((parse_place(&key), shard_of_key(&key)), (Some(1 << 40), Some(shard_of_node("a"))));
        assert_eq!(parse_shard(&shard_key(1_023)), Some(1_023));
        assert_eq!(shard_of_key(&shard_key(3)), None);
    }

    #[test]
    fn values_of_another_format_are_refused() {
        let row = SenderRow { epoch: 1, instance: 2, number: 3 };
        let bytes = encode(&row).unwrap();
        assert_eq!(decode::<SenderRow>(&bytes), Ok(row));
        assert!(decode::<SenderRow>(&[9, 1, 2]).is_err());
        assert!(decode::<SenderRow>(&[]).is_err());
    }

    #[test]
    fn the_rows_of_this_release_are_pinned() {
        let subscription = Subscription { epoch: 1, instance: 2, number: 3 };
        assert_eq!(encode(&subscription).unwrap(), [1, 1, 2, 3]);
        for (state, bytes) in [
            (ShardState::Leaving { to: 4 }, vec![1, 9, 0, 4]),
            (ShardState::Gone { to: 4, is_clean: true }, vec![1, 9, 1, 4, 1]),
            (ShardState::Arriving { from: 4 }, vec![1, 9, 2, 4]),
            (ShardState::Here { not_before: UnixMillis(5) }, vec![1, 9, 3, 5]),
        ] {
            assert_eq!(encode(&ShardRow { version: 9, state }).unwrap(), bytes);
        }
        let key = subscription_key("a", "a/#", &Destination::Broker(BrokerId { region: "h".into(), index: 1 }));
        assert_eq!(key, b"Sa\0a/#\0B\0\0\0\x01h");
        assert_eq!(shared_key("$share/g/a", 1), b"Q$share/g/a\0\0\0\0\0\0\0\0\x01");
    }
}
