//! What a shard stores: its rows, and the trait that a database implements for it.
//!
//! The shard reads when it needs something that isn't in memory and writes once per call: all changes of a call are one
//! [`Changes`], so that rows share statements and nothing is ever half done.

use iot_types::{ClientId, PacketId, UnixMillis};
use messages::address::{BrokerId, ShardMap};
use messages::publication::MessageId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Storage failed. What was being written may have been written or not; the shard's memory must be dropped, since it may
/// be ahead of the rows, and a new shard made of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("storage failed: {0}")]
pub struct StoreError(pub String);

/// What a shard knows of one client id. All but `bytes` is there to be searched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientRow {
    /// The key.
    pub client_id: ClientId,
    /// When something is due: a fence, a will, the end of the session, the row itself. `None` while it is connected.
    pub deadline: Option<UnixMillis>,
    /// The Broker that has the present connection, or will have it, and the Broker's epoch.
    pub broker: Option<(BrokerId, u64)>,
    /// Whether the Broker has to be asked if it is silent: there is a will or a session that outlives the connection.
    pub is_watched: bool,
    /// Of the newest will or presence event; zero for none.
    pub event_sequence: u64,
    /// The rest.
    pub bytes: Vec<u8>,
}

impl ClientRow {
    /// The virtual shard that the client id belongs to.
    #[must_use]
    pub fn virtual_shard(&self) -> u16 {
        ShardMap::virtual_shard(self.client_id.as_str().as_bytes())
    }
}

/// How far a message to a client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Not sent yet, or sent so recently that it isn't noted.
    Waiting = 0,
    /// PUBLISH was sent under the row's packet identifier.
    Published = 1,
    /// PUBREC came; PUBREL was sent or is about to be.
    Released = 2,
    /// A message of QoS 2 has been delivered: only its name is kept, so that it isn't delivered again.
    Done = 3,
}

/// A message for a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRow {
    /// With `sequence` the key.
    pub client_id: ClientId,
    /// Rises with every message of the session.
    pub sequence: u64,
    /// What it was sent with.
    pub packet_id: Option<PacketId>,
    /// How far it has come.
    pub phase: Phase,
    /// Its name, if it is to be delivered with QoS 2.
    pub message_id: Option<MessageId>,
    /// What it counts against quotas, in bytes.
    pub weight: u64,
    /// When it expires.
    pub expires_at: Option<UnixMillis>,
    /// The message.
    pub bytes: Vec<u8>,
}

/// A change to the row of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageChange {
    /// Insert it, or replace it.
    Put(MessageRow),
    /// Set the packet identifier and the phase. [`Phase::Done`] empties `bytes` and sets `weight` to zero.
    Mark {
        /// The packet identifier.
        packet_id: Option<PacketId>,
        /// The phase.
        phase: Phase,
    },
    /// Delete it.
    Delete,
}

/// A packet identifier under which a client has published with QoS 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// The message's name.
    pub message_id: MessageId,
    /// Whether it is safe with everybody.
    pub is_settled: bool,
}

/// A Broker as this shard has heard of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BrokerRow {
    /// The newest epoch.
    pub epoch: u64,
    /// When its connections of earlier epochs were found to be gone, until they have been dealt with.
    pub lost_at: Option<UnixMillis>,
}

/// Everything that one call changes, to be written in one transaction: all of it or nothing.
///
/// `forgotten_sessions` comes first, the order of the others means nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Delete all messages and received packet identifiers of these.
    pub forgotten_sessions: BTreeSet<ClientId>,
    /// Insert or replace (`Some`), or delete.
    pub clients: BTreeMap<ClientId, Option<ClientRow>>,
    /// Insert or replace (`Some`), or delete: the subscriptions of a session.
    pub subscriptions: BTreeMap<ClientId, Option<Vec<u8>>>,
    /// By client id and sequence.
    pub messages: BTreeMap<(ClientId, u64), MessageChange>,
    /// Insert or replace (`Some`), or delete, by client id and packet identifier.
    pub received: BTreeMap<(ClientId, PacketId), Option<Received>>,
    /// Insert or replace.
    pub brokers: BTreeMap<BrokerId, BrokerRow>,
    /// The one row of the shard itself: insert or replace.
    pub shard: Option<Vec<u8>>,
}

impl Changes {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How many rows it names. A forgotten session's messages aren't counted.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.clients.len()
            + self.subscriptions.len()
            + self.messages.len()
            + self.received.len()
            + self.brokers.len()
            + usize::from(self.shard.is_some())
    }

    pub(crate) fn put_message(&mut self, row: MessageRow) {
        self.messages.insert((row.client_id.clone(), row.sequence), MessageChange::Put(row));
    }

    /// Joins the mark with what the same transaction does to the row already.
    pub(crate) fn mark_message(
        &mut self,
        client_id: &ClientId,
        sequence: u64,
        packet_id: Option<PacketId>,
        phase: Phase,
    ) {
        match self.messages.get_mut(&(client_id.clone(), sequence)) {
            Some(MessageChange::Put(row)) => {
                row.packet_id = packet_id;
                row.phase = phase;
                if phase == Phase::Done {
                    row.bytes.clear();
                    row.weight = 0;
                }
            }
            _ => {
                self.messages.insert((client_id.clone(), sequence), MessageChange::Mark { packet_id, phase });
            }
        }
    }

    pub(crate) fn delete_message(&mut self, client_id: &ClientId, sequence: u64) {
        let key = (client_id.clone(), sequence);
        // A sequence is used once, so what is put here isn't a row yet.
        if matches!(self.messages.get(&key), Some(MessageChange::Put(_))) {
            self.messages.remove(&key);
        } else {
            self.messages.insert(key, MessageChange::Delete);
        }
    }

    /// Forgets the session's messages and received packet identifiers, those of this transaction as well.
    pub(crate) fn forget_session(&mut self, client_id: &ClientId) {
        self.messages.retain(|(of, _), _| of != client_id);
        self.received.retain(|(of, _), _| of != client_id);
        self.forgotten_sessions.insert(client_id.clone());
    }
}

/// What is stored of a session's messages, without the messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessagesSummary {
    /// The greatest sequence, of messages in any phase; zero for none.
    pub last_sequence: u64,
    /// How many there are that are not [`Phase::Done`].
    pub messages: usize,
    /// The sum of their weights.
    pub bytes: u64,
    /// The names there are, with their sequences and whether they are [`Phase::Done`], by sequence.
    pub message_ids: Vec<(u64, MessageId, bool)>,
}

/// A page of stored messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessagesPage {
    /// By sequence.
    pub rows: Vec<MessageRow>,
    /// Whether there are none behind them.
    pub is_last: bool,
}

/// The rows of one shard. Synchronous, as Durable Objects' SQLite is.
///
/// Reads see everything that was committed before. Nothing needs an index beyond the keys but `deadline`, which is
/// `None` in most rows (a partial index costs a row only where there is a value); the other searches are rare and read
/// the table, since rows read cost a thousandth of rows written.
pub trait SessionStore {
    /// One client.
    ///
    /// # Errors
    /// [`StoreError`], like all methods here.
    fn client(&mut self, client_id: &ClientId) -> Result<Option<ClientRow>, StoreError>;

    /// The clients whose deadline is at `now` or before it, earliest first, at most `limit`; but for those of the virtual
    /// shards in `except`, which another object has, had or will have.
    ///
    /// # Errors
    /// [`StoreError`].
    fn clients_due(&mut self, now: UnixMillis, limit: usize, except: &[u16]) -> Result<Vec<ClientId>, StoreError>;

    /// The earliest deadline among them.
    ///
    /// # Errors
    /// [`StoreError`].
    fn next_deadline(&mut self, except: &[u16]) -> Result<Option<UnixMillis>, StoreError>;

    /// Clients whose `broker` is this one with an epoch before `epoch`, at most `limit`; but for those of the virtual
    /// shards in `except`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn clients_of_epochs_before(
        &mut self,
        broker: &BrokerId,
        epoch: u64,
        limit: usize,
        except: &[u16],
    ) -> Result<Vec<ClientId>, StoreError>;

    /// The Brokers of clients with `is_watched`, each once.
    ///
    /// # Errors
    /// [`StoreError`].
    fn watched_brokers(&mut self) -> Result<Vec<BrokerId>, StoreError>;

    /// Clients with an `event_sequence` above this.
    ///
    /// # Errors
    /// [`StoreError`].
    fn clients_with_events_after(&mut self, sequence: u64) -> Result<Vec<ClientId>, StoreError>;

    /// Clients with a `broker` that have messages in another phase than [`Phase::Done`].
    ///
    /// # Errors
    /// [`StoreError`].
    fn connected_clients_with_messages(&mut self) -> Result<Vec<ClientId>, StoreError>;

    /// Clients of a virtual shard in the order of their ids, after the one given, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn clients_of_shard(
        &mut self,
        shard: u16,
        after: Option<&ClientId>,
        limit: usize,
    ) -> Result<Vec<ClientId>, StoreError>;

    /// The subscriptions of all sessions.
    ///
    /// # Errors
    /// [`StoreError`].
    fn subscriptions(&mut self) -> Result<Vec<(ClientId, Vec<u8>)>, StoreError>;

    /// What is stored of a session's messages.
    ///
    /// # Errors
    /// [`StoreError`].
    fn summary(&mut self, client_id: &ClientId) -> Result<MessagesSummary, StoreError>;

    /// Messages that are [`Phase::Published`] or [`Phase::Released`], by sequence.
    ///
    /// # Errors
    /// [`StoreError`].
    fn in_flight(&mut self, client_id: &ClientId) -> Result<Vec<MessageRow>, StoreError>;

    /// Messages that are [`Phase::Waiting`] after a sequence: at most `messages`, and no more once their weight has
    /// reached `bytes`, but one at least.
    ///
    /// # Errors
    /// [`StoreError`].
    fn waiting(
        &mut self,
        client_id: &ClientId,
        after: u64,
        messages: usize,
        bytes: u64,
    ) -> Result<MessagesPage, StoreError>;

    /// All messages after a sequence, in any phase, in such pages. For a session's move to another shard.
    ///
    /// # Errors
    /// [`StoreError`].
    fn messages(
        &mut self,
        client_id: &ClientId,
        after: u64,
        messages: usize,
        bytes: u64,
    ) -> Result<MessagesPage, StoreError>;

    /// Sequences and weights of [`Phase::Waiting`] messages that have expired, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn expired(&mut self, client_id: &ClientId, now: UnixMillis, limit: usize) -> Result<Vec<(u64, u64)>, StoreError>;

    /// The packet identifiers that the client has published under with QoS 2.
    ///
    /// # Errors
    /// [`StoreError`].
    fn received(&mut self, client_id: &ClientId) -> Result<Vec<(PacketId, Received)>, StoreError>;

    /// All Brokers.
    ///
    /// # Errors
    /// [`StoreError`].
    fn brokers(&mut self) -> Result<Vec<(BrokerId, BrokerRow)>, StoreError>;

    /// The row of the shard itself.
    ///
    /// # Errors
    /// [`StoreError`].
    fn shard(&mut self) -> Result<Option<Vec<u8>>, StoreError>;

    /// Bytes that the database takes. May be an estimate.
    ///
    /// # Errors
    /// [`StoreError`].
    fn stored_bytes(&mut self) -> Result<u64, StoreError>;

    /// Writes everything, or nothing if it fails; after a failure nobody can be sure which.
    ///
    /// # Errors
    /// [`StoreError`].
    fn commit(&mut self, changes: &Changes) -> Result<(), StoreError>;
}

/// The version byte of every `bytes`.
const VERSION: u8 = 1;

pub(crate) fn encode<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    postcard::to_extend(value, vec![VERSION]).map_err(|error| StoreError(error.to_string()))
}

pub(crate) fn decode<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => postcard::from_bytes(rest).map_err(|error| StoreError(error.to_string())),
        Some((version, _)) => Err(StoreError(format!("a row has the unknown version {version}"))),
        None => Err(StoreError("an empty row".into())),
    }
}
