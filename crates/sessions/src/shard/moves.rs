//! Moving a virtual shard to another object while its clients are connected.
//!
//! 1. `start_move` at the object that has it: its clients' requests are refused from now on, and nothing is sent to
//!    them, but messages for them are still taken and stored.
//! 2. `export`, page by page, and `import` at the other object, which stores everything and registers the filters
//!    with the Routers. From then on messages come to both.
//! 3. When the other object says [`SessionsShard::is_imported`], `finish_move` at the first one: it takes no more
//!    messages for these sessions, answers `Refusal::Moved`, and exports what came meanwhile with `export` again.
//! 4. `import` of that, `finish_import` at the other: it speaks to the clients; `forget_moved` at the first.
//!
//! Each step can be repeated. Messages that came to both have one row each: those of QoS 2 are told apart by their
//! names, those of QoS 1 may arrive twice.

use super::{Known, SessionsShard, Stored};
use crate::client::{Client, SubscriptionSet};
use crate::store::{
    BrokerRow, ClientRow, MessageChange, MessageRow, Received, SessionStore, StoreError, decode, encode,
};
use iot_types::{ClientId, PacketId, UnixMillis};
use messages::Refusal;
use messages::address::ShardMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The shard's own row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ShardRow {
    /// Whether there may be wills and events above `published_to` that have not been published.
    pub has_unpublished: bool,
    /// Up to here all have been.
    pub published_to: u64,
    pub noted_at: UnixMillis,
    /// When silent Brokers were last asked.
    pub asked_at: UnixMillis,
    pub moves: BTreeMap<u16, Move>,
}

/// What happens to a virtual shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Move {
    /// It is being copied to another object.
    Leaving { to: u32 },
    /// The other object has it.
    Left { to: u32 },
    /// It is being copied from another object.
    Arriving,
    /// It came from another object.
    Arrived,
}

/// What a virtual shard moves with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedPage {
    /// The virtual shard.
    pub shard: u16,
    /// Some of its clients, in the order of their ids.
    pub clients: Vec<ExportedClient>,
    /// The last of them, to go on from; `None` when these were all.
    pub next: Option<ClientId>,
}

/// All rows of one client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedClient {
    /// What is known of the client id.
    pub client: ClientRow,
    /// Its session's subscriptions.
    pub subscriptions: Option<Vec<u8>>,
    /// Its session's messages.
    pub messages: Vec<MessageRow>,
    /// The packet identifiers it has published under with QoS 2.
    pub received: Vec<(PacketId, Received)>,
}

impl ExportedPage {
    /// The bytes to send.
    ///
    /// # Errors
    /// [`StoreError`], which doesn't happen.
    pub fn encode(&self) -> Result<Vec<u8>, StoreError> {
        encode(self)
    }

    /// Reads the bytes.
    ///
    /// # Errors
    /// [`StoreError`] when they are none.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        decode(bytes)
    }
}

/// The first sequence of messages that come to the new object before the old one has given its last: far above those.
const ARRIVING_SEQUENCES: u64 = 1 << 40;

/// Clients of one page.
const PAGE: usize = 64;

impl SessionsShard {
    /// Why a request about this client id can't be answered here.
    pub(super) fn is_elsewhere(&self, client_id: &ClientId) -> Option<Refusal> {
        let shard = ShardMap::virtual_shard(client_id.as_str().as_bytes());
        match self.row.moves.get(&shard) {
            Some(Move::Leaving { .. } | Move::Arriving) => Some(Refusal::Unavailable),
            Some(Move::Left { to }) => Some(Refusal::Moved { shard, to: *to }),
            Some(Move::Arrived) => None,
            None => {
                let to = self.shards.object(shard);
                (to != self.number).then_some(Refusal::Moved { shard, to })
            }
        }
    }

    /// Whether nothing may be sent to the client now.
    pub(super) fn is_frozen(&self, client_id: &ClientId) -> bool {
        self.is_elsewhere(client_id).is_some()
    }

    pub(super) fn load_moves(&mut self) {
        for (shard, state) in self.row.moves.clone() {
            match state {
                Move::Left { to } => self.shards.note_moved(shard, to),
                Move::Arrived => self.shards.note_moved(shard, self.number),
                Move::Leaving { .. } | Move::Arriving => {}
            }
        }
    }

    /// Registrations of a virtual shard that is arriving, of which a memory before this one may not have heard.
    pub(super) fn load_arrivals(&mut self, now: UnixMillis, store: &mut dyn SessionStore) -> Stored<()> {
        for shard in self.arriving() {
            for client_id in store.clients_of_shard(shard, None, usize::MAX)? {
                for filter in self.subscriptions.options(&client_id).into_keys() {
                    self.register(&filter, now);
                }
            }
        }
        Ok(())
    }

    /// Whether there are rows here of a virtual shard that another object has, had or will have.
    pub(super) fn is_moving(&self) -> bool {
        self.row.moves.values().any(|state| *state != Move::Arrived)
    }

    fn arriving(&self) -> Vec<u16> {
        let arriving = self.row.moves.iter().filter(|(_, state)| **state == Move::Arriving);
        arriving.map(|(shard, _)| *shard).collect()
    }

    fn set_move(&mut self, shard: u16, state: Option<Move>) {
        match state {
            Some(state) => self.row.moves.insert(shard, state),
            None => self.row.moves.remove(&shard),
        };
        self.is_row_dirty = true;
    }

    /// Begins to move a virtual shard to another object.
    ///
    /// # Errors
    /// [`StoreError`]: drop the shard.
    pub fn start_move(
        &mut self,
        now: UnixMillis,
        shard: u16,
        to: u32,
        store: &mut dyn SessionStore,
    ) -> Result<(), StoreError> {
        self.load(now, store)?;
        if to == self.number || matches!(self.row.moves.get(&shard), Some(Move::Left { .. })) {
            return Ok(());
        }
        self.set_move(shard, Some(Move::Leaving { to }));
        for client_id in self.lives.keys().cloned().collect::<Vec<_>>() {
            if ShardMap::virtual_shard(client_id.as_str().as_bytes()) == shard {
                self.go_offline(&client_id)?;
            }
        }
        self.commit(store)
    }

    /// A page of a virtual shard that is being moved.
    ///
    /// # Errors
    /// [`StoreError`]: drop the shard.
    pub fn export(
        &mut self,
        now: UnixMillis,
        shard: u16,
        after: Option<&ClientId>,
        store: &mut dyn SessionStore,
    ) -> Result<ExportedPage, StoreError> {
        self.load(now, store)?;
        self.commit(store)?;
        let ids = store.clients_of_shard(shard, after, PAGE)?;
        let mut page = ExportedPage { shard, clients: Vec::new(), next: None };
        let mut bytes = 0_u64;
        let count = ids.len();
        for client_id in ids {
            let Some(client) = store.client(&client_id)? else { continue };
            let set = self.subscriptions.set(&client_id);
            let messages = store.messages(&client_id, 0, usize::MAX, u64::MAX)?.rows;
            bytes += messages.iter().map(|row| row.weight).sum::<u64>();
            let received = store.received(&client_id)?;
            let subscriptions = set.map(|set| encode(&set)).transpose()?;
            page.clients.push(ExportedClient { client, subscriptions, messages, received });
            if bytes >= self.settings.maximum_bytes as u64 {
                page.next = Some(client_id);
                return Ok(page);
            }
            if page.clients.len() == count && count == PAGE {
                page.next = Some(client_id);
            }
        }
        Ok(page)
    }

    /// Takes a page of a virtual shard that comes from another object.
    ///
    /// # Errors
    /// [`StoreError`]: drop the shard.
    pub fn import(
        &mut self,
        now: UnixMillis,
        page: &ExportedPage,
        store: &mut dyn SessionStore,
    ) -> Result<(), StoreError> {
        self.load(now, store)?;
        match self.row.moves.get(&page.shard) {
            Some(Move::Arrived) => return Ok(()),
            Some(Move::Arriving) => {}
            _ => self.set_move(page.shard, Some(Move::Arriving)),
        }
        for exported in &page.clients {
            let client_id = &exported.client.client_id;
            let client = Client::of_row(&exported.client)?;
            // Its events are the old object's to publish.
            *self.change(client_id) = Client { unpublished: Vec::new(), ..client };
            if let Some(bytes) = &exported.subscriptions {
                let set: SubscriptionSet = decode(bytes)?;
                for (filter, held) in set.filters {
                    if self.subscriptions.insert(client_id, &filter, held.options) == Some(true) {
                        self.dirty_subscriptions.insert(client_id.clone());
                    }
                    self.register(&filter, now);
                }
            }
            self.commit(store)?;
            // What came here already and is among what came there is that message's second copy.
            let here = store.summary(client_id)?;
            for row in &exported.messages {
                if let Some(id) = row.message_id {
                    let copies =
                        here.message_ids.iter().filter(|(sequence, of, _)| *of == id && *sequence != row.sequence);
                    for (sequence, ..) in copies {
                        self.changes.messages.insert((client_id.clone(), *sequence), MessageChange::Delete);
                    }
                }
                self.changes.put_message(row.clone());
            }
            for (packet_id, received) in &exported.received {
                self.changes.received.insert((client_id.clone(), *packet_id), Some(*received));
            }
            self.commit(store)?;
            self.lives.remove(client_id);
            if self.clients.get(client_id).is_some_and(|client| client.session.is_some()) {
                self.load_live(client_id, now, store)?;
                if let Some(live) = self.lives.get_mut(client_id) {
                    live.next_sequence = live.next_sequence.max(ARRIVING_SEQUENCES);
                }
            }
        }
        self.commit(store)
    }

    /// Whether the Routers know of all filters of a virtual shard that is being imported.
    #[must_use]
    pub fn is_imported(&self, shard: u16) -> bool {
        let sessions =
            self.subscriptions.clients().filter(|id| ShardMap::virtual_shard(id.as_str().as_bytes()) == shard);
        let mut filters = sessions.flat_map(|client_id| self.subscriptions.options(client_id).into_keys());
        filters.all(|filter| self.subscriptions.is_registered(&filter))
    }

    /// The other object has everything but what came meanwhile, and hears of new messages itself: from now on this one
    /// takes none. Export once more.
    ///
    /// # Errors
    /// [`StoreError`]: drop the shard.
    pub fn finish_move(&mut self, now: UnixMillis, shard: u16, store: &mut dyn SessionStore) -> Result<(), StoreError> {
        self.load(now, store)?;
        let Some(Move::Leaving { to }) = self.row.moves.get(&shard).copied() else { return Ok(()) };
        self.set_move(shard, Some(Move::Left { to }));
        self.shards.note_moved(shard, to);
        for client_id in store.clients_of_shard(shard, None, usize::MAX)? {
            self.lives.remove(&client_id);
            self.replays.forget(&client_id);
            self.unsubscribe_all(&client_id);
        }
        self.commit(store)
    }

    /// The virtual shard is this object's.
    ///
    /// # Errors
    /// [`StoreError`]: drop the shard.
    pub fn finish_import(
        &mut self,
        now: UnixMillis,
        shard: u16,
        store: &mut dyn SessionStore,
    ) -> Result<(), StoreError> {
        self.load(now, store)?;
        if self.row.moves.get(&shard) != Some(&Move::Arriving) {
            return Ok(());
        }
        self.set_move(shard, Some(Move::Arrived));
        self.shards.note_moved(shard, self.number);
        self.commit(store)?;
        for client_id in store.clients_of_shard(shard, None, usize::MAX)? {
            self.load_live(&client_id, now, store)?;
            let holder = self.clients.get(&client_id).and_then(|client| Some(client.current.as_ref()?.holder.clone()));
            if let Some(holder) = holder {
                let known = Known { row: BrokerRow::default(), heard_at: now, instance: 0, is_watched: true };
                self.brokers.entry(holder.broker).or_insert(known).is_watched = true;
            }
        }
        self.commit(store)
    }

    /// Forgets the rows of a virtual shard that another object has now.
    ///
    /// # Errors
    /// [`StoreError`]: drop the shard.
    pub fn forget_moved(
        &mut self,
        now: UnixMillis,
        shard: u16,
        store: &mut dyn SessionStore,
    ) -> Result<(), StoreError> {
        self.load(now, store)?;
        if !matches!(self.row.moves.get(&shard), Some(Move::Left { .. })) {
            return Ok(());
        }
        loop {
            self.commit(store)?;
            let clients = store.clients_of_shard(shard, None, PAGE)?;
            if clients.is_empty() {
                return Ok(());
            }
            for client_id in clients {
                self.changes.forget_session(&client_id);
                self.clients.remove(&client_id);
                self.dirty.remove(&client_id);
                self.changes.clients.insert(client_id, None);
            }
        }
    }
}
