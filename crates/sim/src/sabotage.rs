//! Storage with a mistake built in.

use crate::settings::Sabotage;
use iot_types::{ClientId, PacketId, UnixMillis};
use messages::address::BrokerId;
use sessions::{
    BrokerRow, Changes, ClientRow, MemoryStore, MessageChange, MessagesPage, MessagesSummary, Received, SessionStore,
    StoreError,
};
use std::collections::BTreeMap;

/// The rows of a Sessions shard, as a storage with a mistake would keep them.
pub struct SabotagedStore {
    pub rows: MemoryStore,
    pub sabotage: Option<Sabotage>,
    commits: u64,
    /// Bytes of the largest row since [`crate::shards::Sessions::take_row_bytes`], and of all rows.
    pub largest: usize,
    pub bytes: u64,
}

impl SabotagedStore {
    pub fn new(sabotage: Option<Sabotage>) -> Self {
        Self { rows: MemoryStore::default(), sabotage, commits: 0, largest: 0, bytes: 0 }
    }
}

impl SabotagedStore {
    fn measure(&mut self, changes: &Changes) {
        const EACH: u64 = 16;
        let clients = changes.clients.values().flatten().map(|row| row.bytes.len());
        let subscriptions = changes.subscriptions.values().flatten().map(Vec::len);
        let messages = changes.messages.values().flat_map(BTreeMap::values).map(|change| match change {
            MessageChange::Put(row) => row.bytes.len(),
            MessageChange::Note { .. } | MessageChange::Delete => 0,
        });
        let shard = changes.shard.iter().map(Vec::len);
        let largest = clients.chain(subscriptions).chain(messages).chain(shard).max();
        self.largest = self.largest.max(largest.unwrap_or_default());
        if self.commits % EACH == 1 {
            // Adding all of them up takes time; messages are what there can be much of.
            self.bytes = self.rows.stored_bytes().unwrap_or_default();
        }
    }
}

impl SessionStore for SabotagedStore {
    fn client(&mut self, client_id: &ClientId) -> Result<Option<ClientRow>, StoreError> {
        self.rows.client(client_id)
    }

    fn clients_due(&mut self, now: UnixMillis, limit: usize, except: &[u16]) -> Result<Vec<ClientId>, StoreError> {
        self.rows.clients_due(now, limit, except)
    }

    fn next_deadline(&mut self, except: &[u16]) -> Result<Option<UnixMillis>, StoreError> {
        self.rows.next_deadline(except)
    }

    fn clients_of_epochs_before(
        &mut self,
        broker: &BrokerId,
        epoch: u64,
        limit: usize,
        except: &[u16],
    ) -> Result<Vec<ClientId>, StoreError> {
        self.rows.clients_of_epochs_before(broker, epoch, limit, except)
    }

    fn watched_brokers(&mut self) -> Result<Vec<BrokerId>, StoreError> {
        self.rows.watched_brokers()
    }

    fn clients_with_events_after(&mut self, sequence: u64) -> Result<Vec<ClientId>, StoreError> {
        self.rows.clients_with_events_after(sequence)
    }

    fn connected_clients_with_messages(&mut self) -> Result<Vec<ClientId>, StoreError> {
        self.rows.connected_clients_with_messages()
    }

    fn clients_of_shard(
        &mut self,
        shard: u16,
        after: Option<&ClientId>,
        limit: usize,
    ) -> Result<Vec<ClientId>, StoreError> {
        self.rows.clients_of_shard(shard, after, limit)
    }

    fn subscriptions(&mut self) -> Result<Vec<(ClientId, Vec<u8>)>, StoreError> {
        self.rows.subscriptions()
    }

    fn summary(&mut self, client_id: &ClientId) -> Result<MessagesSummary, StoreError> {
        self.rows.summary(client_id)
    }

    fn in_flight(&mut self, client_id: &ClientId) -> Result<Vec<sessions::MessageRow>, StoreError> {
        self.rows.in_flight(client_id)
    }

    fn waiting(
        &mut self,
        client_id: &ClientId,
        after: u64,
        messages: usize,
        bytes: u64,
    ) -> Result<MessagesPage, StoreError> {
        self.rows.waiting(client_id, after, messages, bytes)
    }

    fn messages(
        &mut self,
        client_id: &ClientId,
        after: u64,
        messages: usize,
        bytes: u64,
    ) -> Result<MessagesPage, StoreError> {
        self.rows.messages(client_id, after, messages, bytes)
    }

    fn expired(&mut self, client_id: &ClientId, now: UnixMillis, limit: usize) -> Result<Vec<(u64, u64)>, StoreError> {
        self.rows.expired(client_id, now, limit)
    }

    fn received(&mut self, client_id: &ClientId) -> Result<Vec<(PacketId, Received)>, StoreError> {
        self.rows.received(client_id)
    }

    fn brokers(&mut self) -> Result<Vec<(BrokerId, BrokerRow)>, StoreError> {
        self.rows.brokers()
    }

    fn shard(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        self.rows.shard()
    }

    fn stored_bytes(&mut self) -> Result<u64, StoreError> {
        self.rows.stored_bytes()
    }

    fn commit(&mut self, changes: &Changes) -> Result<(), StoreError> {
        self.commits += 1;
        self.measure(changes);
        match self.sabotage {
            Some(Sabotage::WritesAreLost) if self.commits.is_multiple_of(5) => Ok(()),
            Some(Sabotage::ReceivedIdsAreForgotten) => {
                let changes = Changes { received: Default::default(), ..changes.clone() };
                self.rows.commit(&changes)
            }
            _ => self.rows.commit(changes),
        }
    }
}
