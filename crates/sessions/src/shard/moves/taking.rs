//! The half of the object that a virtual shard comes to.

use super::giving::Task;
use super::pages::{ClientsPage, SubscriptionsPage};
use super::{Move, SessionsShard, Stage, Stored, Work, first_sequence, shard_of};
use crate::client::Client;
use crate::shard::{Known, Told};
use crate::store::{BrokerRow, MessageRow, SessionStore, StoreError, decode};
use iot_types::{ClientId, UnixMillis};
use messages::address::BrokerId;
use messages::broker::BrokerRequest;
use messages::session::Subscriptions;
use messages::sessions::MovePart;
use messages::{Refusal, Reply};
use std::collections::{BTreeMap, BTreeSet};

/// Clients to welcome in one step.
const CLIENTS: usize = 32;

impl SessionsShard {
    /// A part of a virtual shard comes from the object that has it.
    pub(in crate::shard) fn take_over(
        &mut self,
        from: u32,
        (shard, version): (u16, u64),
        (part, page): (MovePart, &[u8]),
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<Reply> {
        let unavailable = Ok(Reply::Refused(Refusal::Unavailable));
        let is_beginning = match self.row.moves.get(&shard).copied() {
            None => {
                if self.initially.object(shard) == self.number {
                    return Ok(Reply::Refused(Refusal::Superseded));
                }
                true
            }
            Some(state) if version < state.version() => {
                // The move is over, whether its sender has heard so or not.
                return Ok(Reply::Applied);
            }
            Some(Move::Here { version: of, .. }) if version == of => return Ok(Reply::Applied),
            Some(Move::Arriving { version: of, .. }) if version == of => false,
            Some(Move::Arriving { version: of, .. }) => {
                // Its owner has served the clients since: what came before is out of date.
                self.set_move(shard, Move::Left { to: from, version: of, safe_since: UnixMillis(0), is_clean: false });
                self.works.insert(shard, Work::new(Task::FIRST_FORGOTTEN, now));
                return unavailable;
            }
            Some(Move::Left { is_clean: true, version: of, .. }) if version > of => true,
            Some(Move::Left { is_clean: false, version: of, .. }) if version > of => return unavailable,
            // Nobody else can have it.
            Some(Move::Here { .. } | Move::Leaving { .. } | Move::Left { .. }) => {
                return Ok(Reply::Refused(Refusal::Superseded));
            }
        };
        if is_beginning && !matches!(part, MovePart::Subscriptions | MovePart::Clients) {
            return unavailable;
        }
        // What was written by another release, or not by us at all, is refused and not taken for broken storage.
        let taken = match part {
            MovePart::Subscriptions => decode(page).ok().map(Taken::Subscriptions),
            MovePart::Clients => decode(page).and_then(Taken::clients).ok(),
            MovePart::Messages => decode(page).ok().map(Taken::Messages),
            MovePart::Confirm => Some(Taken::Confirm),
            MovePart::Open => Some(Taken::Open),
        };
        let Some(taken) = taken else { return unavailable };
        let had_clients =
            matches!(self.row.moves.get(&shard), Some(Move::Arriving { has_clients: true, .. })) && !is_beginning;
        let has_clients = had_clients || part == MovePart::Clients;
        if is_beginning || has_clients && !had_clients {
            self.set_move(shard, Move::Arriving { version, has_clients });
        }
        self.commit(store)?;
        match taken {
            // A part that comes late doesn't undo what came for good.
            Taken::Subscriptions(_) if has_clients => {}
            Taken::Subscriptions(page) => {
                for (client_id, subscriptions) in page.clients.iter().filter(|(id, _)| shard_of(id) == shard) {
                    self.replace_subscriptions(client_id, subscriptions, now);
                }
            }
            Taken::Clients(page, clients) => self.take_clients(shard, &page, clients, now, store)?,
            Taken::Messages(rows) => self.take_messages((shard, version), rows, store)?,
            Taken::Confirm => {
                if !self.confirm(shard, now) {
                    return Ok(Reply::Pending);
                }
            }
            Taken::Open => {
                self.set_move(shard, Move::Here { version, is_welcomed: false });
                self.works.insert(shard, Work::new(Task::FIRST_WELCOMED, now));
                self.deadline = store.next_deadline(&self.foreign())?;
            }
        }
        Ok(Reply::Applied)
    }

    fn replace_subscriptions(&mut self, client_id: &ClientId, subscriptions: &Subscriptions, now: UnixMillis) {
        for filter in self.subscriptions.options(client_id).into_keys() {
            if !subscriptions.contains_key(&filter) {
                self.take_out(client_id, &filter);
            }
        }
        for (filter, options) in subscriptions {
            if self.subscriptions.insert(client_id, filter, *options) == Some(true) {
                self.dirty_subscriptions.insert(client_id.clone());
            }
            self.register(filter, now);
        }
    }

    fn take_clients(
        &mut self,
        shard: u16,
        page: &ClientsPage,
        mut clients: BTreeMap<ClientId, Client>,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<()> {
        for moved in &page.clients {
            let client_id = &moved.client_id;
            let Some(client) = clients.remove(client_id).filter(|_| shard_of(client_id) == shard) else { continue };
            if !self.load_client(client_id, store)? || self.clients.get(client_id) != Some(&client) {
                *self.change(client_id) = client;
            }
            self.replace_subscriptions(client_id, &moved.subscriptions, now);
            let here: BTreeMap<_, _> = store.received(client_id)?.into_iter().collect();
            for (packet_id, received) in &moved.received {
                if here.get(packet_id) != Some(received) {
                    self.changes.received.insert((client_id.clone(), *packet_id), Some(*received));
                }
            }
        }
        // Clients that were forgotten after their subscriptions had come.
        let is_gone = |client_id: &&ClientId| {
            shard_of(client_id) == shard
                && page.covers(client_id)
                && !page.clients.iter().any(|moved| moved.client_id == **client_id)
        };
        let gone: Vec<ClientId> = self.subscriptions.subscribers().filter(is_gone).cloned().collect();
        gone.iter().for_each(|client_id| self.unsubscribe_all(client_id));
        for (broker, epoch) in &page.epochs {
            if self.brokers.get(broker).is_none_or(|known| known.row.epoch < *epoch) {
                self.hear(broker, *epoch, None, now, store)?;
            }
        }
        Ok(())
    }

    fn take_messages(
        &mut self,
        (shard, version): (u16, u64),
        rows: Vec<MessageRow>,
        store: &mut dyn SessionStore,
    ) -> Stored<()> {
        let mut by_client: BTreeMap<ClientId, Vec<MessageRow>> = BTreeMap::new();
        for row in rows.into_iter().filter(|row| shard_of(&row.client_id) == shard) {
            by_client.entry(row.client_id.clone()).or_default().push(row);
        }
        for (client_id, rows) in by_client {
            // What came here already and is among what came there is that message's second copy.
            let here = store.summary(&client_id)?.message_ids;
            let names: BTreeSet<_> = rows.iter().filter_map(|row| row.message_id).collect();
            for (sequence, id, _) in here {
                if sequence >= first_sequence(version) && names.contains(&id) {
                    self.changes.delete_row(&client_id, sequence);
                }
            }
            rows.into_iter().for_each(|row| self.changes.put_row(row));
            self.lives.remove(&client_id);
        }
        // Whoever reads a session from here on has to find these.
        self.commit(store)
    }

    /// Whether the Routers know of all filters of a virtual shard that comes; those that they don't are told again.
    fn confirm(&mut self, shard: u16, now: UnixMillis) -> bool {
        let subscribers = self.subscriptions.subscribers().filter(|client_id| shard_of(client_id) == shard);
        let filters = subscribers.flat_map(|client_id| self.subscriptions.options(client_id).into_keys());
        let missing: Vec<String> = filters.filter(|filter| !self.subscriptions.is_registered(filter)).collect();
        missing.iter().for_each(|filter| self.register(filter, now));
        missing.is_empty()
    }

    /// Does for some clients of a virtual shard that is served here now what a new memory does for all.
    pub(super) fn welcome(
        &mut self,
        shard: u16,
        mut after: Option<ClientId>,
        mut asked: BTreeSet<BrokerId>,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<()> {
        let ids = store.clients_of_shard(shard, after.as_ref(), CLIENTS)?;
        let is_last = ids.len() < CLIENTS;
        for client_id in ids {
            self.load_client(&client_id, store)?;
            let holder = self.clients.get(&client_id).and_then(|client| Some(client.current.as_ref()?.holder.clone()));
            if let Some(holder) = holder {
                let unknown = Known { row: BrokerRow::default(), heard_at: now, instance: 0, is_watched: true };
                let known = self.brokers.entry(holder.broker.clone()).or_insert(unknown);
                known.is_watched = true;
                if holder.epoch < known.row.epoch {
                    // As if it had been heard now, again if need be: its client has as long to come back.
                    known.row.lost_at = Some(now);
                    self.changes.brokers.insert(holder.broker, known.row);
                } else if asked.insert(holder.broker.clone()) {
                    // It may have lost its connections since the other object heard of it.
                    self.tell(holder.broker, BrokerRequest::Settled { tickets: Vec::new() }, Told::Epoch);
                }
            }
            self.fence_older(&client_id);
            if self.load_live(&client_id, now, store)? && self.is_online(&client_id) {
                self.drain_groups(&client_id, now);
            }
            after = Some(client_id);
        }
        if !is_last {
            self.go_to(shard, Task::Welcome { after, asked }, now);
            return Ok(());
        }
        match self.row.moves.get(&shard).copied() {
            // It stays here for the moment, and tries again to leave.
            Some(Move::Leaving { stage: Stage::Preparing, .. }) => {
                self.go_to(shard, Task::Subscriptions { after: None }, now);
                self.wait(shard, now.plus_millis(self.settings.move_retry_maximum_millis));
            }
            state => {
                self.works.remove(&shard);
                if let Some(Move::Here { version, .. }) = state {
                    self.set_move(shard, Move::Here { version, is_welcomed: true });
                }
            }
        }
        Ok(())
    }
}

/// A part that could be read.
enum Taken {
    Subscriptions(SubscriptionsPage),
    Clients(ClientsPage, BTreeMap<ClientId, Client>),
    Messages(Vec<MessageRow>),
    Confirm,
    Open,
}

impl Taken {
    fn clients(page: ClientsPage) -> Result<Self, StoreError> {
        let read = |moved: &super::pages::MovedClient| Ok((moved.client_id.clone(), decode(&moved.bytes)?));
        let clients = page.clients.iter().map(read).collect::<Result<_, StoreError>>()?;
        Ok(Self::Clients(page, clients))
    }
}
