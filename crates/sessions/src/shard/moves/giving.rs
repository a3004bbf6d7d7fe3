//! The half of the object that a virtual shard leaves.

use super::pages::{ClientsPage, MovedClient, SubscriptionsPage};
use super::{Move, SessionsShard, Stage, Stored, Told, shard_of};
use crate::client::Client;
use crate::store::{MessageRow, SessionStore, encode};
use iot_types::{ClientId, UnixMillis};
use messages::Request;
use messages::address::{Address, BrokerId};
use messages::sessions::{MovePart, SessionsRequest};
use std::collections::BTreeSet;

/// What comes next for a virtual shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Send subscriptions of the clients after this one.
    Subscriptions { after: Option<ClientId> },
    /// Ask whether they are in force.
    ConfirmSubscriptions,
    /// Wait until nothing is under way that would have to begin again.
    Quiet,
    /// Clients are refused: wait until Brokers have what they were being told.
    Settle,
    /// Send the clients after this one.
    Clients { after: Option<ClientId> },
    /// Ask whether their subscriptions are in force.
    Confirm,
    /// Wait for messages that were on their way.
    Linger,
    /// Send messages of the clients after this one, and of the one behind it those after a sequence.
    Messages { after: Option<ClientId>, sequence: u64 },
    /// Tell that it was all.
    Open,
    /// Forget the clients after this one; whether all before it have been.
    Forget { after: Option<ClientId>, are_forgotten: bool },
    /// Begin what the clients after this one wait for.
    Welcome { after: Option<ClientId>, asked: BTreeSet<BrokerId> },
}

impl Task {
    pub(super) const FIRST_MESSAGES: Self = Self::Messages { after: None, sequence: 0 };
    pub(super) const FIRST_FORGOTTEN: Self = Self::Forget { after: None, are_forgotten: true };
    pub(super) const FIRST_WELCOMED: Self = Self::Welcome { after: None, asked: BTreeSet::new() };
}

/// Clients to look at in one step.
const CLIENTS: usize = 64;

/// Rows to delete in one step, unless one client has more.
const FORGET_ROWS: usize = 250;

/// How soon to look again whether something is over that ends by itself, in milliseconds.
const LOOK_AGAIN_MILLIS: u64 = 50;

/// How soon to look again whether it is a virtual shard's turn, in milliseconds.
const TURN_MILLIS: u64 = 200;

impl SessionsShard {
    /// Clients are refused although their rows may still change: what Brokers are being told has to arrive, so that it
    /// doesn't arrive behind what the other object tells them.
    pub(super) fn is_paused(&self, shard: u16) -> bool {
        self.works.get(&shard).is_some_and(|work| work.task == Task::Settle)
    }

    /// One step of what is due. Everything has been written before.
    pub(super) fn move_step(&mut self, shard: u16, now: UnixMillis, store: &mut dyn SessionStore) -> Stored<()> {
        let Some((task, since, failures)) =
            self.works.get(&shard).map(|work| (work.task.clone(), work.since, work.failures))
        else {
            return Ok(());
        };
        let state = self.row.moves.get(&shard).copied();
        let frozen = match state {
            Some(Move::Leaving { stage: Stage::Frozen { since }, .. }) => Some(since),
            _ => None,
        };
        let is_too_long = frozen.is_some_and(|at| at.plus_millis(self.settings.move_freeze_millis) <= now);
        if is_too_long && failures > 0 && matches!(task, Task::Clients { .. } | Task::Confirm) {
            return self.thaw(shard, now, store);
        }
        let patience = since.plus_millis(self.settings.move_patience_millis);
        match task {
            Task::Subscriptions { after } => {
                let (page, last) = self.subscriptions_after(shard, after.as_ref(), store)?;
                let next = last.map_or(Task::ConfirmSubscriptions, |last| Task::Subscriptions { after: Some(last) });
                self.send_part(shard, MovePart::Subscriptions, encode(&page)?, next, now);
            }
            Task::ConfirmSubscriptions => {
                // Asked when it is its turn, so that the other object was there just before the freeze.
                if self.are_many_frozen(state) {
                    self.wait(shard, now.plus_millis(TURN_MILLIS));
                } else {
                    self.send_part(shard, MovePart::Confirm, Vec::new(), Task::Quiet, now);
                }
            }
            Task::Quiet => {
                let is_of = |client_id: &ClientId| shard_of(client_id) == shard;
                if (self.is_subscribing(is_of) || self.replays.has(is_of)) && now < patience {
                    self.wait(shard, now.plus_millis(LOOK_AGAIN_MILLIS));
                } else {
                    self.go_to(shard, Task::Settle, now);
                    self.take_offline(shard)?;
                    self.fail_subscribing(is_of);
                    self.abandon_replays(is_of);
                }
            }
            Task::Settle => {
                let is_send =
                    |told: &Told| matches!(told, Told::Send { client_id, .. } if shard_of(client_id) == shard);
                if self.outbox.has(is_send) && now < patience {
                    self.wait(shard, now.plus_millis(LOOK_AGAIN_MILLIS));
                } else {
                    self.freeze(shard, now)?;
                }
            }
            Task::Clients { after } => {
                let page = self.clients_after(shard, after, store)?;
                let next = page.last.clone().map_or(Task::Confirm, |last| Task::Clients { after: Some(last) });
                self.send_part(shard, MovePart::Clients, encode(&page)?, next, now);
            }
            Task::Confirm => {
                let next = if frozen.is_some() { Task::Linger } else { Task::FIRST_MESSAGES };
                self.send_part(shard, MovePart::Confirm, Vec::new(), next, now);
            }
            Task::Linger => {
                // No message is for anybody without subscriptions.
                let is_needed = self.subscriptions.subscribers().any(|client_id| shard_of(client_id) == shard);
                let until = since.plus_millis(if is_needed { self.settings.move_linger_millis } else { 0 });
                if let (Some(Move::Leaving { to, version, .. }), true) = (state, until <= now) {
                    // Confirmed at `since`, and what Brokers had accepted until then reaches both.
                    let stage = Stage::Closed { safe_since: since.plus_millis(self.settings.clock_margin_millis) };
                    self.set_move(shard, Move::Leaving { to, version, stage });
                    self.go_to(shard, Task::FIRST_MESSAGES, now);
                } else {
                    self.wait(shard, until);
                }
            }
            Task::Messages { after, sequence } => {
                let (rows, next) = self.messages_after(shard, after, sequence, store)?;
                if rows.is_empty() {
                    self.go_to(shard, next, now);
                } else {
                    self.send_part(shard, MovePart::Messages, encode(&rows)?, next, now);
                }
            }
            Task::Open => self.send_part(shard, MovePart::Open, Vec::new(), Task::Open, now),
            Task::Forget { after, are_forgotten } => self.forget(shard, (after, are_forgotten), now, store)?,
            Task::Welcome { after, asked } => self.welcome(shard, after, asked, now, store)?,
        }
        Ok(())
    }

    /// Whether as many virtual shards are frozen as go to one object at a time: the more there are, the longer each takes.
    fn are_many_frozen(&self, state: Option<Move>) -> bool {
        const MAXIMUM: usize = 8;
        let Some(Move::Leaving { to, .. }) = state else { return false };
        let under_way = self.works.iter().filter(|(shard, work)| {
            let goes_there = matches!(self.row.moves.get(shard), Some(Move::Leaving { to: other, .. }) if *other == to);
            let is_preparing = match work.task {
                Task::Subscriptions { .. } | Task::Welcome { .. } => true,
                Task::ConfirmSubscriptions => work.under_way.is_none(),
                _ => false,
            };
            goes_there && !is_preparing
        });
        under_way.count() >= MAXIMUM
    }

    fn send_part(&mut self, shard: u16, part: MovePart, page: Vec<u8>, next: Task, now: UnixMillis) {
        let Some(Move::Leaving { to, version, .. }) = self.row.moves.get(&shard).copied() else { return };
        self.next_part += 1;
        let number = self.next_part;
        let request = SessionsRequest::TakeOver { shard, version, part, page: page.into() };
        let told = Told::Move { shard, part: number };
        if self.outbox.push(Address::Sessions(to), Request::Sessions(request), told).is_err() {
            self.back_off(shard, now, u64::MAX);
        } else if let Some(work) = self.works.get_mut(&shard) {
            work.under_way = Some((number, next));
        }
    }

    /// What is only in memory of the virtual shard's sessions becomes rows.
    fn take_offline(&mut self, shard: u16) -> Stored<()> {
        let of: Vec<ClientId> = self.lives.keys().filter(|client_id| shard_of(client_id) == shard).cloned().collect();
        of.iter().try_for_each(|client_id| self.go_offline(client_id))
    }

    /// Nothing changes here any more but that messages come.
    fn freeze(&mut self, shard: u16, now: UnixMillis) -> Stored<()> {
        let Some(Move::Leaving { to, version, .. }) = self.row.moves.get(&shard).copied() else { return Ok(()) };
        // A claim may have been granted meanwhile.
        self.take_offline(shard)?;
        // The other object finds in the rows which connections have to close.
        self.fencing.retain(|(client_id, _), _| shard_of(client_id) != shard);
        self.fenced.retain(|(client_id, _)| shard_of(client_id) != shard);
        self.set_move(shard, Move::Leaving { to, version, stage: Stage::Frozen { since: now } });
        self.go_to(shard, Task::Clients { after: None }, now);
        Ok(())
    }

    /// The other object doesn't answer: the clients are served again, and all begins anew later. What the other object
    /// has stored meanwhile it forgets when it hears of the new version.
    fn thaw(&mut self, shard: u16, now: UnixMillis, store: &mut dyn SessionStore) -> Stored<()> {
        let Some(Move::Leaving { to, .. }) = self.row.moves.get(&shard).copied() else { return Ok(()) };
        let version = self.next_version(shard, now);
        self.set_move(shard, Move::Leaving { to, version, stage: Stage::Preparing });
        self.go_to(shard, Task::FIRST_WELCOMED, now);
        self.deadline = store.next_deadline(&self.foreign())?;
        Ok(())
    }

    /// Subscriptions of clients after this one; and the last that was looked at, if there are more.
    fn subscriptions_after(
        &mut self,
        shard: u16,
        after: Option<&ClientId>,
        store: &mut dyn SessionStore,
    ) -> Stored<(SubscriptionsPage, Option<ClientId>)> {
        let limit = self.settings.move_page_rows;
        let ids = store.clients_of_shard(shard, after, limit)?;
        let is_last = ids.len() < limit;
        let mut last = ids.last().cloned().filter(|_| !is_last);
        let (mut page, mut bytes) = (SubscriptionsPage::default(), 0);
        for client_id in ids {
            let subscriptions = self.subscriptions.options(&client_id);
            if subscriptions.is_empty() {
                continue;
            }
            bytes += subscriptions.keys().map(|filter| filter.len() + 16).sum::<usize>();
            page.clients.push((client_id.clone(), subscriptions));
            if bytes >= self.settings.move_page_bytes {
                last = Some(client_id);
                break;
            }
        }
        Ok((page, last))
    }

    fn clients_after(
        &mut self,
        shard: u16,
        after: Option<ClientId>,
        store: &mut dyn SessionStore,
    ) -> Stored<ClientsPage> {
        let limit = self.settings.move_page_rows;
        let ids = store.clients_of_shard(shard, after.as_ref(), limit)?;
        let last = ids.last().cloned().filter(|_| ids.len() >= limit);
        let mut page = ClientsPage { after, last, ..ClientsPage::default() };
        let (mut bytes, mut brokers) = (0, BTreeSet::new());
        for client_id in ids {
            let Some(row) = store.client(&client_id)? else { continue };
            brokers.extend(row.broker.as_ref().map(|(broker, _)| broker.clone()));
            let client = Client { unpublished: Vec::new(), ..Client::of_row(&row)? };
            let subscriptions = self.subscriptions.options(&client_id);
            let received = store.received(&client_id)?;
            let client = MovedClient { client_id: client_id.clone(), bytes: encode(&client)?, subscriptions, received };
            let filters = client.subscriptions.keys().map(|filter| filter.len() + 16).sum::<usize>();
            bytes += client.bytes.len() + filters + client.received.len() * 16;
            page.clients.push(client);
            if bytes >= self.settings.move_page_bytes {
                page.last = Some(client_id);
                break;
            }
        }
        let known = brokers.into_iter().filter_map(|broker| {
            let epoch = self.brokers.get(&broker)?.row.epoch;
            Some((broker, epoch))
        });
        page.epochs = known.collect();
        Ok(page)
    }

    /// Messages of the clients after this one, and what comes next.
    fn messages_after(
        &mut self,
        shard: u16,
        mut after: Option<ClientId>,
        mut sequence: u64,
        store: &mut dyn SessionStore,
    ) -> Stored<(Vec<MessageRow>, Task)> {
        let (most_rows, most_bytes) = (self.settings.move_page_rows, self.settings.move_page_bytes as u64);
        let ids = store.clients_of_shard(shard, after.as_ref(), CLIENTS)?;
        let is_last = ids.len() < CLIENTS;
        let (mut rows, mut bytes) = (Vec::new(), 0_u64);
        for client_id in ids {
            if rows.len() >= most_rows || bytes >= most_bytes {
                return Ok((rows, Task::Messages { after, sequence }));
            }
            let page = store.messages(&client_id, sequence, most_rows - rows.len(), most_bytes - bytes)?;
            bytes += page.rows.iter().map(|row| row.weight).sum::<u64>();
            let up_to = page.rows.last().map_or(sequence, MessageRow::last_sequence);
            rows.extend(page.rows);
            if !page.is_last {
                return Ok((rows, Task::Messages { after, sequence: up_to }));
            }
            (after, sequence) = (Some(client_id), 0);
        }
        Ok((rows, if is_last { Task::Open } else { Task::Messages { after, sequence } }))
    }

    /// Deletes some of what is stored of a virtual shard that is elsewhere.
    fn forget(
        &mut self,
        shard: u16,
        (mut after, mut are_forgotten): (Option<ClientId>, bool),
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<()> {
        let Some(Move::Left { to, version, safe_since, .. }) = self.row.moves.get(&shard).copied() else {
            self.works.remove(&shard);
            return Ok(());
        };
        let ids = store.clients_of_shard(shard, after.as_ref(), CLIENTS)?;
        let mut is_last = ids.len() < CLIENTS;
        let mut rows = 0;
        for client_id in ids {
            if rows >= FORGET_ROWS {
                is_last = false;
                break;
            }
            self.load_client(&client_id, store)?;
            let unpublished = self.clients.get(&client_id).map(|client| client.unpublished.as_slice());
            if unpublished.unwrap_or_default().iter().any(|(sequence, _)| self.events.is_pending(*sequence)) {
                // Its will, or that it has gone, is this object's to tell.
                are_forgotten = false;
            } else {
                let summary = store.summary(&client_id)?;
                rows += 3 + summary.messages + summary.message_ids.len();
                self.changes.forget_session(&client_id);
                self.clients.remove(&client_id);
                self.dirty.remove(&client_id);
                self.changes.clients.insert(client_id.clone(), None);
            }
            self.lives.remove(&client_id);
            self.ready.remove(&client_id);
            after = Some(client_id);
        }
        if !is_last {
            self.go_to(shard, Task::Forget { after, are_forgotten }, now);
            return Ok(());
        }
        // Also those that came before their clients, which then didn't come.
        let rest = self.subscriptions.subscribers().filter(|client_id| shard_of(client_id) == shard);
        let rest: Vec<ClientId> = rest.take(CLIENTS).cloned().collect();
        rest.iter().for_each(|client_id| self.unsubscribe_all(client_id));
        if rest.is_empty() && are_forgotten {
            self.works.remove(&shard);
            self.set_move(shard, Move::Left { to, version, safe_since, is_clean: true });
        } else {
            self.go_to(shard, Task::FIRST_FORGOTTEN, now);
            self.wait(shard, if are_forgotten { now } else { now.plus_secs(1) });
        }
        Ok(())
    }
}
