//! A [`SessionStore`] in memory, for tests and simulations: it counts rows and can fail on demand.

use crate::store::{
    BrokerRow, Changes, ClientRow, MAXIMUM_ROW_MESSAGES, MessageChange, MessageRow, MessagesPage, MessagesSummary,
    Phase, Received, SessionStore, StoreError,
};
use iot_types::{ClientId, PacketId, UnixMillis};
use messages::address::BrokerId;
use std::collections::{BTreeMap, BTreeSet};

/// How the next commits of a [`MemoryStore`] go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failing {
    /// They succeed.
    #[default]
    Never,
    /// The next one fails and has written nothing.
    Before,
    /// The next one fails although it has written everything.
    After,
}

/// Rows in ordered maps.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    clients: BTreeMap<ClientId, ClientRow>,
    subscriptions: BTreeMap<ClientId, Vec<u8>>,
    messages: BTreeMap<(ClientId, u64), MessageRow>,
    received: BTreeMap<(ClientId, PacketId), Received>,
    brokers: BTreeMap<BrokerId, BrokerRow>,
    shard: Option<Vec<u8>>,
    rows_written: u64,
    commits: u64,
    failing: Failing,
}

impl MemoryStore {
    /// Rows written so far: inserted, changed or deleted, as SQLite on Durable Objects counts them.
    #[must_use]
    pub const fn rows_written(&self) -> u64 {
        self.rows_written
    }

    /// Transactions so far.
    #[must_use]
    pub const fn commits(&self) -> u64 {
        self.commits
    }

    /// Messages that are neither gone nor [`Phase::Done`].
    #[must_use]
    pub fn stored_messages(&self) -> usize {
        self.messages.values().map(MessageRow::messages).sum()
    }

    /// Rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.clients.len() + self.subscriptions.len() + self.messages.len() + self.received.len() + self.brokers.len()
    }

    /// Says how the next commit goes.
    pub const fn fail_next(&mut self, failing: Failing) {
        self.failing = failing;
    }

    /// Rows with a message after a sequence.
    fn messages_of(&self, client_id: &ClientId, after: u64) -> impl Iterator<Item = &MessageRow> {
        let from = after.saturating_sub(MAXIMUM_ROW_MESSAGES as u64);
        self.messages
            .range((client_id.clone(), from)..=(client_id.clone(), u64::MAX))
            .map(|(_, row)| row)
            .filter(move |row| row.last_sequence() > after)
    }

    fn clients_but(&self, except: &[u16]) -> impl Iterator<Item = &ClientRow> {
        self.clients.values().filter(|row| !except.contains(&row.virtual_shard()))
    }

    fn write(&mut self, changes: &Changes) {
        for client_id in &changes.forgotten_sessions {
            let before = self.messages.len() + self.received.len();
            self.messages.retain(|(of, _), _| of != client_id);
            self.received.retain(|(of, _), _| of != client_id);
            self.rows_written += (before - self.messages.len() - self.received.len()) as u64;
        }
        self.rows_written += changes.rows() as u64;
        for (client_id, row) in &changes.clients {
            replace(&mut self.clients, client_id, row.as_ref());
        }
        for (client_id, row) in &changes.subscriptions {
            replace(&mut self.subscriptions, client_id, row.as_ref());
        }
        for (client_id, of_client) in &changes.messages {
            for (sequence, change) in of_client {
                let key = (client_id.clone(), *sequence);
                match change {
                    MessageChange::Put(row) => {
                        self.messages.insert(key, row.clone());
                    }
                    MessageChange::Note { states, weight } => {
                        if let Some(row) = self.messages.get_mut(&key) {
                            row.note(states.clone(), *weight);
                        }
                    }
                    MessageChange::Delete => {
                        self.messages.remove(&key);
                    }
                }
            }
        }
        for (key, row) in &changes.received {
            replace(&mut self.received, key, row.as_ref());
        }
        self.brokers.extend(changes.brokers.iter().map(|(broker, row)| (broker.clone(), *row)));
        if changes.shard.is_some() {
            self.shard.clone_from(&changes.shard);
        }
    }
}

fn replace<K: Ord + Clone, V: Clone>(map: &mut BTreeMap<K, V>, key: &K, value: Option<&V>) {
    match value {
        Some(value) => map.insert(key.clone(), value.clone()),
        None => map.remove(key),
    };
}

impl SessionStore for MemoryStore {
    fn client(&mut self, client_id: &ClientId) -> Result<Option<ClientRow>, StoreError> {
        Ok(self.clients.get(client_id).cloned())
    }

    fn clients_due(&mut self, now: UnixMillis, limit: usize, except: &[u16]) -> Result<Vec<ClientId>, StoreError> {
        let mut due: Vec<_> = self
            .clients_but(except)
            .filter_map(|row| Some((row.deadline.filter(|deadline| *deadline <= now)?, row.client_id.clone())))
            .collect();
        due.sort();
        due.truncate(limit);
        Ok(due.into_iter().map(|(_, client_id)| client_id).collect())
    }

    fn next_deadline(&mut self, except: &[u16]) -> Result<Option<UnixMillis>, StoreError> {
        Ok(self.clients_but(except).filter_map(|row| row.deadline).min())
    }

    fn clients_of_epochs_before(
        &mut self,
        broker: &BrokerId,
        epoch: u64,
        limit: usize,
        except: &[u16],
    ) -> Result<Vec<ClientId>, StoreError> {
        let is_older = |row: &&ClientRow| row.broker.as_ref().is_some_and(|(of, at)| of == broker && *at < epoch);
        Ok(self.clients_but(except).filter(is_older).take(limit).map(|row| row.client_id.clone()).collect())
    }

    fn watched_brokers(&mut self) -> Result<Vec<BrokerId>, StoreError> {
        let watched = self.clients.values().filter(|row| row.is_watched);
        let brokers: BTreeSet<_> = watched.filter_map(|row| Some(row.broker.as_ref()?.0.clone())).collect();
        Ok(brokers.into_iter().collect())
    }

    fn clients_with_events_after(&mut self, sequence: u64) -> Result<Vec<ClientId>, StoreError> {
        let rows = self.clients.values().filter(|row| row.event_sequence > sequence);
        Ok(rows.map(|row| row.client_id.clone()).collect())
    }

    fn connected_clients_with_messages(&mut self) -> Result<Vec<ClientId>, StoreError> {
        let rows = self.clients.values().filter(|row| {
            row.broker.is_some() && self.messages_of(&row.client_id, 0).any(|message| message.messages() > 0)
        });
        Ok(rows.map(|row| row.client_id.clone()).collect())
    }

    fn clients_of_shard(
        &mut self,
        shard: u16,
        after: Option<&ClientId>,
        limit: usize,
    ) -> Result<Vec<ClientId>, StoreError> {
        let rows = self.clients.values().filter(|row| row.virtual_shard() == shard);
        let rows = rows.filter(|row| after.is_none_or(|after| row.client_id > *after));
        Ok(rows.take(limit).map(|row| row.client_id.clone()).collect())
    }

    fn subscriptions(&mut self) -> Result<Vec<(ClientId, Vec<u8>)>, StoreError> {
        Ok(self.subscriptions.iter().map(|(client_id, row)| (client_id.clone(), row.clone())).collect())
    }

    fn summary(&mut self, client_id: &ClientId) -> Result<MessagesSummary, StoreError> {
        let mut summary = MessagesSummary::default();
        for row in self.messages_of(client_id, 0) {
            let is_done = row.phase() == Phase::Done;
            summary.last_sequence = row.last_sequence();
            summary.messages += row.messages();
            summary.bytes += row.weight;
            summary.message_ids.extend(row.message_id.map(|id| (row.sequence, id, is_done)));
        }
        Ok(summary)
    }

    fn in_flight(&mut self, client_id: &ClientId) -> Result<Vec<MessageRow>, StoreError> {
        let rows = self.messages_of(client_id, 0);
        Ok(rows.filter(|row| matches!(row.phase(), Phase::Published | Phase::Released)).cloned().collect())
    }

    fn waiting(
        &mut self,
        client_id: &ClientId,
        after: u64,
        rows: usize,
        bytes: u64,
    ) -> Result<MessagesPage, StoreError> {
        let waiting = self.messages_of(client_id, after).filter(|row| row.has_waiting());
        MessagesPage::of(waiting.cloned().map(Ok), rows, bytes)
    }

    fn messages(
        &mut self,
        client_id: &ClientId,
        after: u64,
        rows: usize,
        bytes: u64,
    ) -> Result<MessagesPage, StoreError> {
        MessagesPage::of(self.messages_of(client_id, after).cloned().map(Ok), rows, bytes)
    }

    fn expired(&mut self, client_id: &ClientId, now: UnixMillis, limit: usize) -> Result<Vec<(u64, u64)>, StoreError> {
        let rows = self.messages_of(client_id, 0).filter(|row| row.phase() == Phase::Waiting);
        let expired = rows.filter(|row| row.expires_at.is_some_and(|at| at <= now));
        Ok(expired.take(limit).map(|row| (row.sequence, row.weight)).collect())
    }

    fn received(&mut self, client_id: &ClientId) -> Result<Vec<(PacketId, Received)>, StoreError> {
        let rows = self.received.iter().filter(|((of, _), _)| of == client_id);
        Ok(rows.map(|((_, packet_id), row)| (*packet_id, *row)).collect())
    }

    fn brokers(&mut self) -> Result<Vec<(BrokerId, BrokerRow)>, StoreError> {
        Ok(self.brokers.iter().map(|(broker, row)| (broker.clone(), *row)).collect())
    }

    fn shard(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.shard.clone())
    }

    fn stored_bytes(&mut self) -> Result<u64, StoreError> {
        Ok(self.messages.values().map(|row| row.weight).sum())
    }

    fn commit(&mut self, changes: &Changes) -> Result<(), StoreError> {
        self.commits += 1;
        let failing = std::mem::take(&mut self.failing);
        if failing != Failing::Before {
            self.write(changes);
        }
        if failing == Failing::Never { Ok(()) } else { Err(StoreError("on demand".into())) }
    }
}
