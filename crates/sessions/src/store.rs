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

/// What is noted of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageState {
    /// What it was sent with.
    pub packet_id: Option<PacketId>,
    /// How far it has come.
    pub phase: Phase,
}

impl MessageState {
    /// It waits.
    pub const WAITING: Self = Self { packet_id: None, phase: Phase::Waiting };
    /// It has been delivered with QoS 2.
    pub const DONE: Self = Self { packet_id: None, phase: Phase::Done };

    /// What is noted of the messages of a row, as storage keeps it.
    ///
    /// # Errors
    /// None that is known.
    pub fn bytes_of(states: &[Option<Self>]) -> Result<Vec<u8>, StoreError> {
        encode(&states)
    }

    /// The other way round.
    ///
    /// # Errors
    /// When it is not what [`Self::bytes_of`] gave.
    pub fn many_of(bytes: &[u8]) -> Result<Vec<Option<Self>>, StoreError> {
        decode(bytes)
    }
}

/// Most messages in one row. What is noted of one of them rewrites the row, so that more would not pay.
pub const MAXIMUM_ROW_MESSAGES: usize = 32;

/// Bytes of a row from which on no message joins it.
const FULL_ROW_BYTES: usize = 8 * 1024;

/// A message for a client, or several with sequences one after the other: those of one transaction are joined, as far as
/// they have QoS 1 and don't expire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRow {
    /// With `sequence` the key.
    pub client_id: ClientId,
    /// Of its first message; rises with every message of the session.
    pub sequence: u64,
    /// What is noted of each of its messages; `None` of those that are gone. One at least is not.
    pub states: Vec<Option<MessageState>>,
    /// Its name, if it is to be delivered with QoS 2. Only one that is alone in its row has one.
    pub message_id: Option<MessageId>,
    /// What those that aren't gone count against quotas, in bytes.
    pub weight: u64,
    /// When it expires. Only one that is alone in its row does.
    pub expires_at: Option<UnixMillis>,
    /// The messages, also those that are gone.
    pub bytes: Vec<u8>,
}

impl MessageRow {
    /// Of its last message.
    #[must_use]
    pub const fn last_sequence(&self) -> u64 {
        self.sequence.saturating_add(self.states.len() as u64).saturating_sub(1)
    }

    /// How many of its messages are not gone, nor [`Phase::Done`].
    #[must_use]
    pub fn messages(&self) -> usize {
        unfinished(&self.states)
    }

    /// The [`phase_of`] its messages.
    #[must_use]
    pub fn phase(&self) -> Phase {
        phase_of(&self.states)
    }

    /// Whether one of them is [`Phase::Waiting`].
    #[must_use]
    pub fn has_waiting(&self) -> bool {
        self.states.iter().flatten().any(|state| state.phase == Phase::Waiting)
    }

    /// Changes what is noted of its messages. [`Phase::Done`] leaves nothing but the name.
    pub fn note(&mut self, states: Vec<Option<MessageState>>, weight: u64) {
        (self.states, self.weight) = (states, weight);
        if self.phase() == Phase::Done {
            self.bytes.clear();
        }
    }

    const fn can_be_joined(&self) -> bool {
        self.message_id.is_none()
            && self.expires_at.is_none()
            && self.bytes.len() < FULL_ROW_BYTES
            && self.states.len() < MAXIMUM_ROW_MESSAGES
    }
}

/// How far the messages of a row have come: [`Phase::Waiting`] if all wait that aren't gone, else the furthest that one of
/// them has.
#[must_use]
pub fn phase_of(states: &[Option<MessageState>]) -> Phase {
    states.iter().flatten().map(|state| state.phase).max().unwrap_or(Phase::Waiting)
}

/// How many messages of a row are not gone, nor [`Phase::Done`].
#[must_use]
pub fn unfinished(states: &[Option<MessageState>]) -> usize {
    states.iter().flatten().filter(|state| state.phase != Phase::Done).count()
}

/// A change to one row of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageChange {
    /// Insert it, or replace it.
    Put(MessageRow),
    /// [`MessageRow::note`].
    Note {
        /// Of each message.
        states: Vec<Option<MessageState>>,
        /// Of those that aren't gone.
        weight: u64,
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
    /// By client id and the sequence of the row. No client is without any.
    pub messages: BTreeMap<ClientId, BTreeMap<u64, MessageChange>>,
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
            + self.messages.values().map(BTreeMap::len).sum::<usize>()
            + self.received.len()
            + self.brokers.len()
            + usize::from(self.shard.is_some())
    }

    pub(crate) fn put_row(&mut self, row: MessageRow) {
        self.messages.entry(row.client_id.clone()).or_default().insert(row.sequence, MessageChange::Put(row));
    }

    /// The row of this sequence, if the transaction inserts it and one more message may join it as its next.
    pub(crate) fn joinable(&mut self, client_id: &ClientId, row: u64, next: u64) -> Option<&mut MessageRow> {
        match self.messages.get_mut(client_id)?.get_mut(&row)? {
            MessageChange::Put(row) => (row.can_be_joined() && row.last_sequence() + 1 == next).then_some(row),
            MessageChange::Note { .. } | MessageChange::Delete => None,
        }
    }

    /// Joins the note with what the same transaction does to the row already.
    pub(crate) fn note_row(&mut self, client_id: &ClientId, row: u64, states: Vec<Option<MessageState>>, weight: u64) {
        let changes = self.messages.entry(client_id.clone()).or_default();
        match changes.get_mut(&row) {
            Some(MessageChange::Put(row)) => row.note(states, weight),
            Some(MessageChange::Delete) => {}
            Some(MessageChange::Note { .. }) | None => {
                changes.insert(row, MessageChange::Note { states, weight });
            }
        }
    }

    pub(crate) fn delete_row(&mut self, client_id: &ClientId, row: u64) {
        if !self.messages.contains_key(client_id) {
            self.messages.insert(client_id.clone(), BTreeMap::new());
        }
        let Some(changes) = self.messages.get_mut(client_id) else { return };
        // A sequence is used once, so what is put here isn't a row yet.
        if !matches!(changes.get(&row), Some(MessageChange::Put(_))) {
            changes.insert(row, MessageChange::Delete);
            return;
        }
        changes.remove(&row);
        if changes.is_empty() {
            self.messages.remove(client_id);
        }
    }

    /// Forgets the session's messages and received packet identifiers, those of this transaction as well.
    pub(crate) fn forget_session(&mut self, client_id: &ClientId) {
        self.messages.remove(client_id);
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

impl MessagesPage {
    /// The rows as far as they fit: so many, and no more once their weight has reached `bytes`, but one at least.
    ///
    /// # Errors
    /// That of the first row that could not be read.
    pub fn of(
        all: impl Iterator<Item = Result<MessageRow, StoreError>>,
        rows: usize,
        bytes: u64,
    ) -> Result<Self, StoreError> {
        let mut page = Self { rows: Vec::new(), is_last: true };
        let mut weight = 0;
        for row in all {
            if !page.rows.is_empty() && (page.rows.len() >= rows || weight >= bytes) {
                page.is_last = false;
                break;
            }
            let row = row?;
            weight += row.weight;
            page.rows.push(row);
        }
        Ok(page)
    }
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

    /// Rows with messages that are [`Phase::Published`] or [`Phase::Released`], by sequence.
    ///
    /// # Errors
    /// [`StoreError`].
    fn in_flight(&mut self, client_id: &ClientId) -> Result<Vec<MessageRow>, StoreError>;

    /// Rows with messages that are [`Phase::Waiting`] and with one after a sequence, which need not be the same: as many
    /// as [`MessagesPage::of`] takes.
    ///
    /// # Errors
    /// [`StoreError`].
    fn waiting(
        &mut self,
        client_id: &ClientId,
        after: u64,
        rows: usize,
        bytes: u64,
    ) -> Result<MessagesPage, StoreError>;

    /// All rows with a message after a sequence, in any phase, in such pages. For a session's move to another shard.
    ///
    /// # Errors
    /// [`StoreError`].
    fn messages(
        &mut self,
        client_id: &ClientId,
        after: u64,
        rows: usize,
        bytes: u64,
    ) -> Result<MessagesPage, StoreError>;

    /// Sequences and weights of the rows of [`Phase::Waiting`] messages that have expired, at most `limit`.
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

/// Writes one more value behind those that are there.
pub(crate) fn append<T: serde::Serialize>(bytes: &mut Vec<u8>, value: &T) -> Result<(), StoreError> {
    *bytes = postcard::to_extend(value, std::mem::take(bytes)).map_err(|error| StoreError(error.to_string()))?;
    Ok(())
}

pub(crate) fn decode<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, StoreError> {
    postcard::from_bytes(without_version(bytes)?).map_err(|error| StoreError(error.to_string()))
}

/// Takes the next value.
pub(crate) fn decode_next<'a, T: serde::Deserialize<'a>>(bytes: &mut &'a [u8]) -> Result<T, StoreError> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|error| StoreError(error.to_string()))?;
    *bytes = rest;
    Ok(value)
}

/// What is behind the version byte.
pub(crate) fn without_version(bytes: &[u8]) -> Result<&[u8], StoreError> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => Ok(rest),
        Some((version, _)) => Err(StoreError(format!("a row has the unknown version {version}"))),
        None => Err(StoreError("an empty row".into())),
    }
}
