//! The rows of a Sessions shard in its object's SQLite.
//!
//! A row of `messages` is one message for one client or several: WITHOUT ROWID, so that its key costs no second row.
//! `deadline` is the only other index, and has entries only where there is one.

use crate::host::Host;
use crate::storage::{self, SqlStorage, StorageError, blob, integer, number, text};
use iot_types::{ClientId, PacketId, UnixMillis};
use messages::address::BrokerId;
use messages::publication::MessageId;
use sessions::{
    BrokerRow, Changes, ClientRow, MAXIMUM_ROW_MESSAGES, MessageChange, MessageRow, MessageState, MessagesPage,
    MessagesSummary, Phase, Received, SessionStore, StoreError, phase_of, unfinished,
};
use std::collections::BTreeMap;
use worker::SqlStorageValue;

const SCHEMA: [&str; 7] = [
    "CREATE TABLE IF NOT EXISTS clients (
        client_id TEXT PRIMARY KEY, shard INTEGER NOT NULL, deadline INTEGER, region TEXT, broker INTEGER,
        epoch INTEGER, is_watched INTEGER NOT NULL, event_sequence INTEGER NOT NULL, bytes BLOB NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS clients_by_deadline ON clients (deadline) WHERE deadline IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS subscriptions (client_id TEXT PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS messages (
        client_id TEXT NOT NULL, sequence INTEGER NOT NULL, count INTEGER NOT NULL, messages INTEGER NOT NULL,
        phase INTEGER NOT NULL, states BLOB, message_id BLOB, weight INTEGER NOT NULL, expires_at INTEGER,
        bytes BLOB NOT NULL, PRIMARY KEY (client_id, sequence)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS received (
        client_id TEXT NOT NULL, packet_id INTEGER NOT NULL, message_id BLOB NOT NULL, is_settled INTEGER NOT NULL,
        PRIMARY KEY (client_id, packet_id)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS brokers (
        region TEXT NOT NULL, broker INTEGER NOT NULL, epoch INTEGER NOT NULL, lost_at INTEGER,
        PRIMARY KEY (region, broker)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS shard (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)",
];

/// Most parameters of one statement that the platform takes.
const MAXIMUM_PARAMETERS: usize = 100;

/// The columns of `messages`.
const MESSAGE_VALUES: usize = 10;

/// Those of them that make a [`MessageRow`] of a client.
const MESSAGE_COLUMNS: &str = "sequence, count, states, message_id, weight, expires_at, bytes";

/// The database of one shard.
pub struct SqlSessionStore<'a> {
    sql: &'a SqlStorage,
    host: &'a Host,
}

/// Makes the tables that are missing.
///
/// # Errors
/// When storage fails.
pub fn create_tables(sql: &SqlStorage) -> Result<(), StorageError> {
    SCHEMA.iter().try_for_each(|statement| storage::run(sql, statement, vec![]))
}

type Rows = Vec<Vec<SqlStorageValue>>;

impl<'a> SqlSessionStore<'a> {
    pub const fn new(sql: &'a SqlStorage, host: &'a Host) -> Self {
        Self { sql, host }
    }

    fn rows(&self, statement: &str, bindings: Vec<SqlStorageValue>) -> Result<Rows, StoreError> {
        storage::rows(self.sql, statement, bindings).map_err(from_storage)
    }

    fn run(&self, statement: &str, bindings: Vec<SqlStorageValue>) -> Result<(), StoreError> {
        storage::run(self.sql, statement, bindings).map_err(from_storage)
    }

    /// Inserts or replaces rows, as many in one statement as fit.
    fn put(&self, table: &str, columns: usize, values: Vec<SqlStorageValue>) -> Result<(), StoreError> {
        let one = format!("({})", vec!["?"; columns].join(","));
        let mut values = values.into_iter().peekable();
        while values.peek().is_some() {
            let chunk: Vec<_> = values.by_ref().take(MAXIMUM_PARAMETERS / columns * columns).collect();
            let places = vec![one.as_str(); chunk.len() / columns].join(",");
            self.run(&format!("INSERT OR REPLACE INTO {table} VALUES {places}"), chunk)?;
        }
        Ok(())
    }

    fn client_ids(&self, statement: &str, bindings: Vec<SqlStorageValue>) -> Result<Vec<ClientId>, StoreError> {
        self.rows(statement, bindings)?.iter().map(|row| client_id(row, 0)).collect()
    }

    fn page(
        &self,
        client_id: &ClientId,
        condition: &str,
        after: u64,
        rows: usize,
        bytes: u64,
    ) -> Result<MessagesPage, StoreError> {
        // Where a row begins that has the next message is known within bounds only. One row more than the page tells
        // whether there is another page.
        let statement = format!(
            "SELECT {MESSAGE_COLUMNS} FROM messages WHERE client_id = ? AND sequence > ? AND sequence + count > ? {condition}
             ORDER BY sequence LIMIT ?"
        );
        let from = after.saturating_sub(MAXIMUM_ROW_MESSAGES as u64);
        let limit = (rows as u64).saturating_add(1);
        let next = integer(after.saturating_add(1));
        let bindings = vec![client_id.as_str().into(), integer(from), next, integer(limit)];
        // What messages weigh is about what their row takes.
        let (read, is_cut) = storage::rows_within(self.sql, &statement, bindings, bytes).map_err(from_storage)?;
        let mut page = MessagesPage::of(read.iter().map(|row| message(client_id, row)), rows, bytes)?;
        page.is_last &= !is_cut;
        Ok(page)
    }

    fn write(&self, changes: &Changes) -> Result<(), StoreError> {
        for client_id in &changes.forgotten_sessions {
            self.run("DELETE FROM messages WHERE client_id = ?", vec![client_id.as_str().into()])?;
            self.run("DELETE FROM received WHERE client_id = ?", vec![client_id.as_str().into()])?;
        }
        let mut clients = Vec::new();
        for (client_id, row) in &changes.clients {
            match row {
                Some(row) => clients.extend(client_values(row)),
                None => self.run("DELETE FROM clients WHERE client_id = ?", vec![client_id.as_str().into()])?,
            }
        }
        self.put("clients", 9, clients)?;
        let mut subscriptions = Vec::new();
        for (client_id, bytes) in &changes.subscriptions {
            match bytes {
                Some(bytes) => subscriptions.extend([client_id.as_str().into(), bytes.clone().into()]),
                None => self.run("DELETE FROM subscriptions WHERE client_id = ?", vec![client_id.as_str().into()])?,
            }
        }
        self.put("subscriptions", 2, subscriptions)?;
        self.write_messages(changes)?;
        let mut received = Vec::new();
        for ((client_id, packet_id), row) in &changes.received {
            let key = [client_id.as_str().into(), integer(packet_id.get().into())];
            match row {
                Some(row) => {
                    received.extend(key);
                    received.extend([id_bytes(row.message_id), integer(row.is_settled.into())]);
                }
                None => self.run("DELETE FROM received WHERE client_id = ? AND packet_id = ?", key.into())?,
            }
        }
        self.put("received", 4, received)?;
        let brokers = changes.brokers.iter().flat_map(|(broker, row)| {
            let place = [SqlStorageValue::from(broker.region.clone()), integer(broker.index.into())];
            place.into_iter().chain([integer(row.epoch), optional(row.lost_at.map(|at| at.0))])
        });
        self.put("brokers", 4, brokers.collect())?;
        if let Some(bytes) = &changes.shard {
            self.put("shard", 2, vec![integer(0), bytes.clone().into()])?;
        }
        Ok(())
    }

    fn write_messages(&self, changes: &Changes) -> Result<(), StoreError> {
        let mut put = Vec::new();
        let mut deleted: Vec<(&ClientId, Vec<u64>)> = Vec::new();
        for (client_id, of_client) in &changes.messages {
            for (sequence, change) in of_client {
                match change {
                    MessageChange::Put(row) => put.extend(message_values(row)?),
                    MessageChange::Note { states, weight } => self.note(client_id, *sequence, states, *weight)?,
                    MessageChange::Delete => match deleted.last_mut() {
                        Some((last, sequences)) if *last == client_id => sequences.push(*sequence),
                        _ => deleted.push((client_id, vec![*sequence])),
                    },
                }
            }
        }
        self.put("messages", MESSAGE_VALUES, put)?;
        for (client_id, sequences) in deleted {
            for chunk in sequences.chunks(MAXIMUM_PARAMETERS - 1) {
                let places = vec!["?"; chunk.len()].join(",");
                let mut bindings: Vec<SqlStorageValue> = vec![client_id.as_str().into()];
                bindings.extend(chunk.iter().map(|sequence| integer(*sequence)));
                let statement = format!("DELETE FROM messages WHERE client_id = ? AND sequence IN ({places})");
                self.run(&statement, bindings)?;
            }
        }
        Ok(())
    }

    fn note(
        &self,
        client_id: &ClientId,
        sequence: u64,
        states: &[Option<MessageState>],
        weight: u64,
    ) -> Result<(), StoreError> {
        let phase = phase_of(states);
        let emptied = if phase == Phase::Done { ", bytes = x''" } else { "" };
        let statement = format!(
            "UPDATE messages SET messages = ?, phase = ?, states = ?, weight = ?{emptied} WHERE client_id = ? AND sequence = ?"
        );
        let bindings = vec![
            integer(unfinished(states) as u64),
            integer(phase as u64),
            states_bytes(states)?,
            integer(weight),
            client_id.as_str().into(),
            integer(sequence),
        ];
        self.run(&statement, bindings)
    }
}

impl SessionStore for SqlSessionStore<'_> {
    fn client(&mut self, client_id: &ClientId) -> Result<Option<ClientRow>, StoreError> {
        let statement = "SELECT deadline, region, broker, epoch, is_watched, event_sequence, bytes
                         FROM clients WHERE client_id = ?";
        let rows = self.rows(statement, vec![client_id.as_str().into()])?;
        let Some(row) = rows.first() else { return Ok(None) };
        let broker = match column(row, 1) {
            SqlStorageValue::Null => None,
            _ => Some((broker_id(row, 1)?, get(number(row, 3))?)),
        };
        Ok(Some(ClientRow {
            client_id: client_id.clone(),
            deadline: optional_number(row, 0)?.map(UnixMillis),
            broker,
            is_watched: get(number(row, 4))? != 0,
            event_sequence: get(number(row, 5))?,
            bytes: get(blob(row, 6))?.to_vec(),
        }))
    }

    fn clients_due(&mut self, now: UnixMillis, limit: usize, except: &[u16]) -> Result<Vec<ClientId>, StoreError> {
        let statement = format!(
            "SELECT client_id FROM clients WHERE deadline IS NOT NULL AND deadline <= ? {}
             ORDER BY deadline, client_id LIMIT ?",
            but_for(except)
        );
        self.client_ids(&statement, vec![integer(now.0), integer(limit as u64)])
    }

    fn next_deadline(&mut self, except: &[u16]) -> Result<Option<UnixMillis>, StoreError> {
        let statement = format!("SELECT MIN(deadline) FROM clients WHERE deadline IS NOT NULL {}", but_for(except));
        let rows = self.rows(&statement, vec![])?;
        Ok(rows.first().map(|row| optional_number(row, 0)).transpose()?.flatten().map(UnixMillis))
    }

    fn clients_of_epochs_before(
        &mut self,
        broker: &BrokerId,
        epoch: u64,
        limit: usize,
        except: &[u16],
    ) -> Result<Vec<ClientId>, StoreError> {
        let but_for = but_for(except);
        let statement =
            format!("SELECT client_id FROM clients WHERE region = ? AND broker = ? AND epoch < ? {but_for} LIMIT ?");
        let bindings =
            vec![broker.region.clone().into(), integer(broker.index.into()), integer(epoch), integer(limit as u64)];
        self.client_ids(&statement, bindings)
    }

    fn watched_brokers(&mut self) -> Result<Vec<BrokerId>, StoreError> {
        let statement = "SELECT DISTINCT region, broker FROM clients WHERE is_watched = 1 AND broker IS NOT NULL";
        self.rows(statement, vec![])?.iter().map(|row| broker_id(row, 0)).collect()
    }

    fn clients_with_events_after(&mut self, sequence: u64) -> Result<Vec<ClientId>, StoreError> {
        self.client_ids("SELECT client_id FROM clients WHERE event_sequence > ?", vec![integer(sequence)])
    }

    fn connected_clients_with_messages(&mut self) -> Result<Vec<ClientId>, StoreError> {
        let statement = "SELECT client_id FROM clients WHERE broker IS NOT NULL AND EXISTS (
                         SELECT 1 FROM messages WHERE messages.client_id = clients.client_id AND messages.messages > 0)";
        self.client_ids(statement, vec![])
    }

    fn clients_of_shard(
        &mut self,
        shard: u16,
        after: Option<&ClientId>,
        limit: usize,
    ) -> Result<Vec<ClientId>, StoreError> {
        let statement = "SELECT client_id FROM clients WHERE shard = ? AND client_id > ? ORDER BY client_id LIMIT ?";
        // No client id is empty, so the empty text is before all.
        let after = after.map_or("", ClientId::as_str);
        self.client_ids(statement, vec![integer(shard.into()), after.into(), integer(limit as u64)])
    }

    fn subscriptions(&mut self) -> Result<Vec<(ClientId, Vec<u8>)>, StoreError> {
        let rows = self.rows("SELECT client_id, bytes FROM subscriptions", vec![])?;
        rows.iter().map(|row| Ok((client_id(row, 0)?, get(blob(row, 1))?.to_vec()))).collect()
    }

    fn summary(&mut self, client_id: &ClientId) -> Result<MessagesSummary, StoreError> {
        let statement =
            "SELECT MAX(sequence + count - 1), SUM(messages), SUM(weight) FROM messages WHERE client_id = ?";
        let rows = self.rows(statement, vec![client_id.as_str().into()])?;
        let mut summary = MessagesSummary::default();
        if let Some(row) = rows.first() {
            summary.last_sequence = optional_number(row, 0)?.unwrap_or_default();
            summary.messages = usize::try_from(optional_number(row, 1)?.unwrap_or_default()).unwrap_or(usize::MAX);
            summary.bytes = optional_number(row, 2)?.unwrap_or_default();
        }
        let statement = "SELECT sequence, message_id, phase FROM messages
                         WHERE client_id = ? AND message_id IS NOT NULL ORDER BY sequence";
        for row in self.rows(statement, vec![client_id.as_str().into()])? {
            let is_done = get(number(&row, 2))? == Phase::Done as u64;
            summary.message_ids.push((get(number(&row, 0))?, message_id(&row, 1)?, is_done));
        }
        Ok(summary)
    }

    fn in_flight(&mut self, client_id: &ClientId) -> Result<Vec<MessageRow>, StoreError> {
        let statement =
            format!("SELECT {MESSAGE_COLUMNS} FROM messages WHERE client_id = ? AND phase IN (1, 2) ORDER BY sequence");
        let rows = self.rows(&statement, vec![client_id.as_str().into()])?;
        rows.iter().map(|row| message(client_id, row)).collect()
    }

    fn waiting(
        &mut self,
        client_id: &ClientId,
        after: u64,
        rows: usize,
        bytes: u64,
    ) -> Result<MessagesPage, StoreError> {
        self.page(client_id, "AND (phase = 0 OR phase = 1 AND count > 1)", after, rows, bytes)
    }

    fn messages(
        &mut self,
        client_id: &ClientId,
        after: u64,
        rows: usize,
        bytes: u64,
    ) -> Result<MessagesPage, StoreError> {
        self.page(client_id, "", after, rows, bytes)
    }

    fn expired(&mut self, client_id: &ClientId, now: UnixMillis, limit: usize) -> Result<Vec<(u64, u64)>, StoreError> {
        let statement = "SELECT sequence, weight FROM messages
                         WHERE client_id = ? AND phase = 0 AND expires_at <= ? ORDER BY sequence LIMIT ?";
        let rows = self.rows(statement, vec![client_id.as_str().into(), integer(now.0), integer(limit as u64)])?;
        rows.iter().map(|row| Ok((get(number(row, 0))?, get(number(row, 1))?))).collect()
    }

    fn received(&mut self, client_id: &ClientId) -> Result<Vec<(PacketId, Received)>, StoreError> {
        let statement = "SELECT packet_id, message_id, is_settled FROM received WHERE client_id = ?";
        let rows = self.rows(statement, vec![client_id.as_str().into()])?;
        let read = |row: &Vec<SqlStorageValue>| {
            let packet_id = packet_id(row, 0)?.ok_or_else(|| StoreError("no packet identifier".into()))?;
            let received = Received { message_id: message_id(row, 1)?, is_settled: get(number(row, 2))? != 0 };
            Ok((packet_id, received))
        };
        rows.iter().map(read).collect()
    }

    fn brokers(&mut self) -> Result<Vec<(BrokerId, BrokerRow)>, StoreError> {
        let rows = self.rows("SELECT region, broker, epoch, lost_at FROM brokers", vec![])?;
        let read = |row: &Vec<SqlStorageValue>| {
            let lost_at = optional_number(row, 3)?.map(UnixMillis);
            Ok((broker_id(row, 0)?, BrokerRow { epoch: get(number(row, 2))?, lost_at }))
        };
        rows.iter().map(read).collect()
    }

    fn shard(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let rows = self.rows("SELECT bytes FROM shard WHERE id = 0", vec![])?;
        rows.first().map(|row| Ok(get(blob(row, 0))?.to_vec())).transpose()
    }

    fn stored_bytes(&mut self) -> Result<u64, StoreError> {
        Ok(self.sql.database_size() as u64)
    }

    fn commit(&mut self, changes: &Changes) -> Result<(), StoreError> {
        if is_one_statement(changes) {
            return self.write(changes);
        }
        let mut result = Ok(());
        let is_committed = self.host.in_transaction(|| {
            result = self.write(changes);
            result.is_ok()
        });
        match result {
            Ok(()) if !is_committed => Err(StoreError("the transaction failed".into())),
            result => result,
        }
    }
}

/// Whether one statement writes it, which needs no transaction around it: what is stored for those who are away, and what
/// they acknowledge when they come.
fn is_one_statement(changes: &Changes) -> bool {
    let rows = || changes.messages.values().flat_map(BTreeMap::values);
    let count = rows().count();
    if !changes.forgotten_sessions.is_empty() || changes.rows() != count {
        return false;
    }
    let is_insert =
        rows().all(|change| matches!(change, MessageChange::Put(_))) && count <= MAXIMUM_PARAMETERS / MESSAGE_VALUES;
    let is_delete = changes.messages.len() == 1
        && rows().all(|change| matches!(change, MessageChange::Delete))
        && count < MAXIMUM_PARAMETERS;
    count == 1 || is_insert || is_delete
}

/// A condition that leaves out virtual shards.
fn but_for(except: &[u16]) -> String {
    if except.is_empty() {
        return String::new();
    }
    let shards: Vec<String> = except.iter().map(u16::to_string).collect();
    format!("AND shard NOT IN ({})", shards.join(","))
}

fn client_values(row: &ClientRow) -> [SqlStorageValue; 9] {
    let broker = row.broker.as_ref();
    [
        row.client_id.as_str().into(),
        integer(row.virtual_shard().into()),
        optional(row.deadline.map(|at| at.0)),
        broker.map_or(SqlStorageValue::Null, |(broker, _)| broker.region.clone().into()),
        optional(broker.map(|(broker, _)| broker.index.into())),
        optional(broker.map(|(_, epoch)| *epoch)),
        integer(row.is_watched.into()),
        integer(row.event_sequence),
        row.bytes.clone().into(),
    ]
}

fn message_values(row: &MessageRow) -> Result<[SqlStorageValue; MESSAGE_VALUES], StoreError> {
    Ok([
        row.client_id.as_str().into(),
        integer(row.sequence),
        integer(row.states.len() as u64),
        integer(row.messages() as u64),
        integer(row.phase() as u64),
        states_bytes(&row.states)?,
        row.message_id.map_or(SqlStorageValue::Null, id_bytes),
        integer(row.weight),
        optional(row.expires_at.map(|at| at.0)),
        row.bytes.clone().into(),
    ])
}

/// Reads [`MESSAGE_COLUMNS`].
fn message(client_id: &ClientId, row: &[SqlStorageValue]) -> Result<MessageRow, StoreError> {
    let count = usize::try_from(get(number(row, 1))?).unwrap_or(usize::MAX).min(MAXIMUM_ROW_MESSAGES);
    Ok(MessageRow {
        client_id: client_id.clone(),
        sequence: get(number(row, 0))?,
        states: match column(row, 2) {
            SqlStorageValue::Null => vec![Some(MessageState::WAITING); count],
            _ => MessageState::many_of(get(blob(row, 2))?)?,
        },
        message_id: match column(row, 3) {
            SqlStorageValue::Null => None,
            _ => Some(message_id(row, 3)?),
        },
        weight: get(number(row, 4))?,
        expires_at: optional_number(row, 5)?.map(UnixMillis),
        bytes: get(blob(row, 6))?.to_vec(),
    })
}

/// Nothing while all of them wait.
fn states_bytes(states: &[Option<MessageState>]) -> Result<SqlStorageValue, StoreError> {
    if states.iter().all(|state| *state == Some(MessageState::WAITING)) {
        return Ok(SqlStorageValue::Null);
    }
    MessageState::bytes_of(states).map(SqlStorageValue::from)
}

/// Both numbers whole: neither need be below 2^53.
fn id_bytes(id: MessageId) -> SqlStorageValue {
    let mut bytes = id.origin.to_be_bytes().to_vec();
    bytes.extend_from_slice(&id.number.to_be_bytes());
    bytes.into()
}

fn message_id(row: &[SqlStorageValue], at: usize) -> Result<MessageId, StoreError> {
    let bytes = get(blob(row, at))?;
    let halves = bytes.split_first_chunk::<8>().and_then(|(origin, rest)| Some((*origin, rest.try_into().ok()?)));
    let (origin, number) = halves.ok_or_else(|| StoreError("a message id of another length".into()))?;
    Ok(MessageId { origin: u64::from_be_bytes(origin), number: u64::from_be_bytes(number) })
}

fn packet_id(row: &[SqlStorageValue], at: usize) -> Result<Option<PacketId>, StoreError> {
    Ok(optional_number(row, at)?.and_then(|id| PacketId::new(u16::try_from(id).ok()?)))
}

fn client_id(row: &[SqlStorageValue], at: usize) -> Result<ClientId, StoreError> {
    ClientId::new(get(text(row, at))?).ok_or_else(|| StoreError("no client id".into()))
}

/// From the columns `region` and `broker`, beginning at `at`.
fn broker_id(row: &[SqlStorageValue], at: usize) -> Result<BrokerId, StoreError> {
    let index = u32::try_from(get(number(row, at + 1))?).map_err(|error| StoreError(error.to_string()))?;
    Ok(BrokerId { region: get(text(row, at))?.to_owned(), index })
}

fn column(row: &[SqlStorageValue], at: usize) -> &SqlStorageValue {
    row.get(at).unwrap_or(&SqlStorageValue::Null)
}

fn optional(value: Option<u64>) -> SqlStorageValue {
    value.map_or(SqlStorageValue::Null, integer)
}

fn optional_number(row: &[SqlStorageValue], at: usize) -> Result<Option<u64>, StoreError> {
    match column(row, at) {
        SqlStorageValue::Null => Ok(None),
        _ => get(number(row, at)).map(Some),
    }
}

fn get<T>(read: Result<T, StorageError>) -> Result<T, StoreError> {
    read.map_err(from_storage)
}

fn from_storage(error: StorageError) -> StoreError {
    StoreError(error.0)
}
