//! The shard: what every request does, what is due, and what leaves.

mod brokers;
mod connections;
mod deliveries;
mod drains;
mod events;
mod moves;
mod queue;
mod replays;
mod subscribing;

use crate::client::{Client, SubscriptionSet};
use crate::live::Live;
use crate::settings::ShardSettings;
use crate::store::{BrokerRow, Changes, SessionStore, StoreError, decode, encode};
use crate::subscriptions::Subscriptions;
use drains::Drains;
use events::Events;
use iot_types::{ClientId, UnixMillis};
use messages::address::{Address, BrokerId, ShardMap};
use messages::broker::BrokerRequest;
use messages::channel::{Acceptance, Call, Inbox, Outbox, Undelivered};
use messages::codec::{Batch, BatchReply};
use messages::session::{ClientState, ConnectionDetails};
use messages::sessions::SessionsRequest;
use messages::{Refusal, Reply, Request};
use moves::{ShardRow, Work};
use replays::Replays;
use routing::{Registrar, RegistrarToken};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use subscribing::Subscribing;

/// A Sessions shard: claims, durable sessions, wills and presence of its client ids.
///
/// After every call, and when [`Self::next_timeout`] or [`Self::next_alarm`] says so, ask [`Self::calls`]. After an
/// error, drop the shard and make a new one: see [`StoreError`].
#[derive(Debug)]
pub struct SessionsShard {
    number: u32,
    settings: ShardSettings,
    /// Where the virtual shards were when the deployment began; what has moved is in the row.
    initially: ShardMap,
    routers: ShardMap,
    outbox: Outbox<Told>,
    inbox: Inbox,
    /// When it was last asked something.
    now: UnixMillis,
    /// When its memory began.
    began_at: UnixMillis,
    is_loaded: bool,
    row: ShardRow,
    is_row_dirty: bool,
    /// What is being done about virtual shards that move.
    works: BTreeMap<u16, Work>,
    next_part: u64,
    /// Until when messages may come too late for a virtual shard that has left.
    late_until: UnixMillis,
    changes: Changes,
    /// Rows in memory, and those of them to be written.
    clients: BTreeMap<ClientId, Client>,
    dirty: BTreeSet<ClientId>,
    dirty_subscriptions: BTreeSet<ClientId>,
    lives: BTreeMap<ClientId, Live>,
    /// Sessions with stored messages to read or packets to send.
    ready: BTreeSet<ClientId>,
    subscriptions: Subscriptions,
    registrar: Registrar,
    /// Filters that a memory before this one may not have come to take out of the Routers.
    removed_before: BTreeSet<String>,
    subscribing: Vec<Subscribing>,
    replays: Replays,
    drains: Drains,
    events: Events,
    brokers: BTreeMap<BrokerId, Known>,
    /// When each older connection was asked to close, by client id and number.
    fencing: BTreeMap<(ClientId, u64), UnixMillis>,
    /// Older connections that this memory has asked to close.
    fenced: BTreeSet<(ClientId, u64)>,
    /// Parts of publishers that wait for acknowledgements, by a number of our own.
    waits: BTreeMap<u64, Wait>,
    next_wait: u64,
    settled: BTreeMap<Rc<BrokerId>, Vec<(u64, bool)>>,
    /// Messages of QoS 1 that are stored unless they are acknowledged until then.
    slow: VecDeque<(UnixMillis, Rc<ClientId>, u64)>,
    /// Not after the earliest deadline of a row.
    deadline: Option<UnixMillis>,
    stored_bytes: (UnixMillis, u64),
    log: Vec<LogEvent>,
}

/// Something an operator wants to know, for the object's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// A session's queue, or the shard, is full: the newest message was dropped. Told once until there is room again.
    Dropping {
        /// Whose session.
        client_id: ClientId,
    },
    /// There are more presence events than Brokers take: they are being dropped.
    EventsDropped,
    /// A Broker has lost its connections: their wills follow if they don't come back.
    BrokerLost {
        /// Which.
        broker: BrokerId,
        /// Its new epoch.
        epoch: u64,
    },
    /// A connection couldn't be told its messages and is being closed, so that its client connects again.
    ConnectionLost {
        /// Whose.
        client_id: ClientId,
    },
    /// The replay of retained messages ended early.
    ReplayAbandoned {
        /// Whose.
        client_id: ClientId,
        /// What for.
        filter: String,
    },
    /// A virtual shard is another object's now.
    Moved {
        /// Which.
        shard: u16,
        /// The number of the object.
        to: u32,
    },
}

/// What another object was told, to recognise its answer.
#[derive(Clone, Debug)]
enum Told {
    Fence {
        client_id: ClientId,
        number: u64,
    },
    /// What became of a claim, a SUBSCRIBE or a publisher's part: a Broker that doesn't hear it asks again.
    News,
    Send {
        client_id: ClientId,
        number: u64,
    },
    Publish {
        sequence: u64,
    },
    /// A Broker was asked for its epoch.
    Epoch,
    Register(RegistrarToken),
    Replay {
        replay: u64,
    },
    Drain {
        shared_filter: String,
    },
    /// A part of a virtual shard.
    Move {
        shard: u16,
        part: u64,
    },
}

/// A Broker in memory.
#[derive(Clone, Copy, Debug)]
struct Known {
    row: BrokerRow,
    /// When it was last heard or asked.
    heard_at: UnixMillis,
    /// The start of its memory, as it last said.
    instance: u64,
    /// Whether connections of it may have a will or a durable session.
    is_watched: bool,
}

/// A publisher's part.
#[derive(Clone, Debug)]
struct Wait {
    broker: Rc<BrokerId>,
    instance: u64,
    ticket: u64,
    /// Messages that are not safe yet.
    remaining: usize,
}

/// A Broker that asks.
#[derive(Clone, Debug)]
struct Asker {
    broker: Rc<BrokerId>,
    epoch: u64,
    instance: u64,
}

type Stored<T> = Result<T, StoreError>;

impl SessionsShard {
    /// The shard of this number, whose memory begins at `now`; where the virtual shards of client ids were when the
    /// deployment began, and where those of nodes are.
    #[must_use]
    pub fn new(number: u32, now: UnixMillis, settings: ShardSettings, shards: ShardMap, routers: ShardMap) -> Self {
        let address = Address::Sessions(number);
        Self {
            number,
            outbox: Outbox::new(address, 0, now, settings.channel),
            inbox: Inbox::default(),
            now,
            began_at: now,
            is_loaded: false,
            row: ShardRow::default(),
            is_row_dirty: false,
            works: BTreeMap::new(),
            next_part: 0,
            late_until: UnixMillis(0),
            changes: Changes::default(),
            clients: BTreeMap::new(),
            dirty: BTreeSet::new(),
            dirty_subscriptions: BTreeSet::new(),
            lives: BTreeMap::new(),
            ready: BTreeSet::new(),
            subscriptions: Subscriptions::new(settings.matches_parent),
            registrar: Registrar::new(now.0 << 20, settings.registrar),
            removed_before: BTreeSet::new(),
            subscribing: Vec::new(),
            replays: Replays::default(),
            drains: Drains::default(),
            events: Events::default(),
            brokers: BTreeMap::new(),
            fencing: BTreeMap::new(),
            fenced: BTreeSet::new(),
            waits: BTreeMap::new(),
            next_wait: 1,
            settled: BTreeMap::new(),
            slow: VecDeque::new(),
            deadline: None,
            stored_bytes: (UnixMillis(0), 0),
            log: Vec::new(),
            settings,
            initially: ShardMap::new(shards.count()),
            routers,
        }
    }

    /// Applies a packed call. All that its answer promises is stored.
    ///
    /// # Errors
    /// [`StoreError`]: drop the shard.
    pub fn call(
        &mut self,
        now: UnixMillis,
        batch: Batch,
        store: &mut dyn SessionStore,
    ) -> Result<BatchReply, StoreError> {
        self.load(now, store)?;
        let mut asker = None;
        let from = batch.sender.as_ref().map(|sender| &sender.address);
        if let Some(sender) = &batch.sender {
            if let Address::Broker(broker) = &sender.address {
                if !self.hear(broker, sender.epoch, Some(sender.instance), now, store)? {
                    return Ok(Inbox::refuse(&batch, 0));
                }
                asker = Some(Asker { broker: Rc::new(broker.clone()), epoch: sender.epoch, instance: sender.instance });
            }
            match self.inbox.accept(sender) {
                Acceptance::New { .. } => {}
                Acceptance::Repeat(reply) => return Ok(reply),
                Acceptance::Superseded => return Ok(Inbox::refuse(&batch, 0)),
            }
        }
        let mut replies = Vec::with_capacity(batch.requests.len());
        for request in batch.requests {
            let reply = match request {
                Request::Sessions(SessionsRequest::TakeOver { shard, version, part, page }) => match from {
                    Some(Address::Sessions(from)) => {
                        self.take_over(*from, (shard, version), (part, &page), now, store)?
                    }
                    _ => Reply::Refused(Refusal::WrongClass),
                },
                Request::Sessions(SessionsRequest::Deliver { publication, ticket }) => {
                    self.deliver(publication, ticket, asker.as_ref(), now, store)?
                }
                Request::Sessions(request) => self.apply(&request, asker.as_ref(), now, store)?,
                _ => Reply::Refused(Refusal::WrongClass),
            };
            replies.push(reply);
        }
        self.commit(store)?;
        self.forget_cached();
        let reply = BatchReply { epoch: 0, replies };
        if let Some(sender) = &batch.sender {
            self.inbox.remember(sender, &reply);
        }
        Ok(reply)
    }

    /// Does what is due and gives the calls to make now.
    ///
    /// # Errors
    /// [`StoreError`]: drop the shard.
    pub fn calls(&mut self, now: UnixMillis, store: &mut dyn SessionStore) -> Result<Vec<Call>, StoreError> {
        self.load(now, store)?;
        self.commit(store)?;
        self.fences_due(now, store)?;
        self.rows_due(now, store)?;
        self.brokers_due(now, store)?;
        self.slow_due(now)?;
        self.events_due(now);
        self.drains_due(now, store)?;
        self.moves_due(now, store)?;
        self.tell_routers(now);
        self.registrations_due();
        self.commit(store)?;
        self.read_ready(now, store)?;
        self.commit(store)?;
        // Nothing before this line has left the shard, and everything that leaves is stored.
        self.tell_all(now);
        self.forget_cached();
        Ok(self.outbox.calls(now))
    }

    /// Takes the outcome of a call; `None` if it failed. Ask [`Self::calls`] afterwards.
    ///
    /// # Errors
    /// [`StoreError`]: drop the shard.
    pub fn answered(
        &mut self,
        now: UnixMillis,
        target: &Address,
        reply: Option<BatchReply>,
        store: &mut dyn SessionStore,
    ) -> Result<(), StoreError> {
        self.load(now, store)?;
        if let (Address::Broker(broker), Some(reply)) = (target, &reply) {
            self.hear(broker, reply.epoch, None, now, store)?;
        }
        for (told, result) in self.outbox.answered(target, reply, now) {
            self.heard_back(target, told, result, now, store)?;
        }
        self.commit(store)?;
        self.forget_cached();
        Ok(())
    }

    /// When [`Self::calls`] is due by itself, soon: the object has to stay awake until then.
    #[must_use]
    pub fn next_timeout(&self) -> Option<UnixMillis> {
        let fences = self.fencing.values().map(|since| since.plus_millis(self.settings.fence_millis));
        fences
            .min()
            .into_iter()
            .chain(self.outbox.next_retry())
            .chain(self.slow.front().map(|(at, ..)| *at))
            .chain(self.events.next_retry())
            .chain(self.events.note_soon_at(&self.row, &self.settings))
            .chain(self.drains.next_timeout())
            .chain(self.registrar.next_timeout())
            .chain(self.next_step())
            .min()
    }

    /// When [`Self::calls`] is due by itself; the object may sleep until then.
    #[must_use]
    pub fn next_alarm(&self) -> Option<UnixMillis> {
        let lost = self.brokers.values().filter_map(|known| known.row.lost_at);
        lost.map(|at| at.plus_millis(self.settings.grace_millis))
            .chain(self.deadline)
            .chain(self.next_question())
            .chain(self.events.note_at(&self.row, &self.settings))
            .chain(self.next_move_alarm())
            .min()
    }

    /// Whether nothing would be lost, nor anybody kept waiting, if the shard forgot its memory now.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.outbox.is_idle()
            && self.waits.is_empty()
            && self.settled.is_empty()
            && self.slow.is_empty()
            && self.fencing.is_empty()
            && self.ready.is_empty()
            && self.subscribing.is_empty()
            && self.replays.is_empty()
            && self.registrar.is_idle()
            && self.events.is_empty()
            && self.drains.is_idle()
            && self.works.is_empty()
    }

    /// What happened that an operator wants to know, since the last call.
    pub fn take_log(&mut self) -> Vec<LogEvent> {
        std::mem::take(&mut self.log)
    }

    fn note(&mut self, event: LogEvent) {
        const MAXIMUM: usize = 256;
        if self.log.len() < MAXIMUM {
            self.log.push(event);
        }
    }

    fn apply(
        &mut self,
        request: &SessionsRequest,
        asker: Option<&Asker>,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<Reply> {
        if let Some(client_id) = client_of(request)
            && let Some(refusal) = self.is_elsewhere(client_id)
        {
            return Ok(Reply::Refused(refusal));
        }
        match request {
            SessionsRequest::Claim { client_id, connection, claim } => {
                let Some(asker) = asker else { return Ok(Reply::Refused(Refusal::WrongClass)) };
                self.claim(client_id, asker, *connection, claim, now, store)
            }
            SessionsRequest::Release { client_id, number, ending } => {
                self.release(client_id, *number, ending, now, store)?;
                Ok(Reply::Applied)
            }
            SessionsRequest::Subscribe { client_id, number, packet_id, filters } => {
                self.subscribe(client_id, *number, *packet_id, filters, now, store)
            }
            SessionsRequest::Unsubscribe { client_id, number, filters } => {
                self.unsubscribe(client_id, *number, filters, now, store)
            }
            SessionsRequest::Acknowledge { client_id, number, acknowledgements } => {
                self.acknowledge(client_id, *number, acknowledgements, now, store)
            }
            SessionsRequest::Receive { client_id, number, packet_id, message_id } => {
                self.receive(client_id, *number, *packet_id, *message_id, now, store)
            }
            SessionsRequest::ReceiveSettled { client_id, number, packet_id, is_safe } => {
                self.receive_settled(client_id, *number, *packet_id, *is_safe, now, store)
            }
            SessionsRequest::PubRel { client_id, number, packet_id } => {
                self.pubrel(client_id, *number, *packet_id, now, store)
            }
            SessionsRequest::Deliver { publication, ticket } => {
                self.deliver(publication.clone(), *ticket, asker, now, store)
            }
            SessionsRequest::DeliverShared { shared_filter, publication, ticket } => {
                self.deliver_shared(shared_filter, publication, *ticket, asker, now, store)
            }
            SessionsRequest::Direct { client_id, publication, ticket } => {
                self.direct(client_id, publication, *ticket, asker, now, store)
            }
            // That its epoch is a newer one has been heard already.
            SessionsRequest::EpochStarted => Ok(Reply::Applied),
            SessionsRequest::Describe { client_id } => Ok(Reply::Client(self.describe(client_id, store)?)),
            SessionsRequest::Disconnect { client_id, clean_session, prevents_will } => {
                let before = self.describe(client_id, store)?;
                if before.is_some() {
                    self.disconnect(client_id, *clean_session, *prevents_will, now)?;
                }
                Ok(Reply::Client(before))
            }
            SessionsRequest::Registered { registration } => {
                self.registrar.registered(*registration);
                self.registrations_due();
                Ok(Reply::Applied)
            }
            SessionsRequest::Announced { tickets } => {
                for (sequence, is_safe) in tickets {
                    self.events.settled(*sequence, *is_safe, now, &self.settings);
                }
                Ok(Reply::Applied)
            }
            SessionsRequest::HandOver { shard, to } => Ok(self.hand_over(*shard, *to, now)),
            // Only another shard has something to give.
            SessionsRequest::TakeOver { .. } => Ok(Reply::Refused(Refusal::WrongClass)),
        }
    }

    fn heard_back(
        &mut self,
        target: &Address,
        told: Told,
        result: Result<Reply, Undelivered>,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<()> {
        if let (Err(Undelivered::Moved { shard, to }), Address::Router(_)) = (&result, target) {
            self.routers.note_moved(*shard, *to);
        }
        match told {
            Told::Fence { client_id, number } => self.fence_answered(&client_id, number, &result, now, store),
            Told::Send { client_id, number } if result.is_err() && !self.is_fixed(&client_id) => {
                self.lose(&client_id, number, now, store)
            }
            Told::Move { shard, part } => {
                self.part_answered(shard, part, &result, now);
                Ok(())
            }
            Told::Publish { sequence } => {
                match result {
                    Ok(Reply::Pending) => self.events.accepted(sequence, now, &self.settings),
                    Ok(_) => self.events.settled(sequence, true, now, &self.settings),
                    Err(_) => self.events.refused(sequence, now, &self.settings),
                }
                Ok(())
            }
            Told::Register(token) => {
                self.registrar.answered(now, token, result.as_ref().map_err(|error| *error));
                self.registrations_due();
                Ok(())
            }
            Told::Replay { replay } => self.replay_answered(replay, target, result, now, store),
            Told::Drain { shared_filter } => self.drain_answered(&shared_filter, result, now, store),
            Told::News | Told::Epoch | Told::Send { .. } => Ok(()),
        }
    }

    fn describe(&mut self, client_id: &ClientId, store: &mut dyn SessionStore) -> Stored<Option<Box<ClientState>>> {
        if !self.load_client(client_id, store)? {
            return Ok(None);
        }
        let queued = match self.lives.get(client_id) {
            Some(live) => live.messages,
            None => store.summary(client_id)?.messages,
        };
        let Some(client) = self.clients.get(client_id) else { return Ok(None) };
        let current = client.granted();
        let last = client.last.as_ref();
        if current.is_none() && last.is_none() && client.session.is_none() {
            return Ok(None);
        }
        let details = current.map(|current| &*current.claim.details).or(last.map(|last| &last.details));
        let expiry = current.map(|current| current.claim.session_expiry).or(last.map(|last| last.session_expiry));
        Ok(Some(Box::new(ClientState {
            holder: current.map(|current| (current.holder.broker.clone(), current.holder.connection)),
            details: details.cloned().unwrap_or_else(ConnectionDetails::default),
            is_clean: client.session.is_none(),
            session_expiry: client.session.as_ref().map(|session| session.expiry).or(expiry).unwrap_or_default(),
            connected_at: current
                .map(|current| current.connected_at)
                .or(last.map(|last| last.connected_at))
                .unwrap_or_default(),
            disconnected: last.filter(|_| current.is_none()).map(|last| (last.ended_at, last.reason)),
            subscriptions: self.subscriptions.options(client_id),
            queued: queued as u64,
            dropped: client.dropped,
        })))
    }

    /// Reads what every request needs, once.
    fn load(&mut self, now: UnixMillis, store: &mut dyn SessionStore) -> Stored<()> {
        self.now = now;
        if self.is_loaded {
            return Ok(());
        }
        self.is_loaded = true;
        if let Some(bytes) = store.shard()? {
            self.row = decode(&bytes)?;
        }
        self.load_moves(now);
        let heard_at = self.row.asked_at;
        for (broker, row) in store.brokers()? {
            self.brokers.insert(broker, Known { row, heard_at, instance: 0, is_watched: false });
        }
        for broker in store.watched_brokers()? {
            let known = Known { row: BrokerRow::default(), heard_at, instance: 0, is_watched: true };
            self.brokers.entry(broker).or_insert(known).is_watched = true;
        }
        let mut removed = BTreeSet::new();
        for (client_id, bytes) in store.subscriptions()? {
            let set: SubscriptionSet = decode(&bytes)?;
            removed.extend(self.subscriptions.restore(&client_id, set));
        }
        for filter in self.subscriptions.registered() {
            self.registrar.restore(filter);
        }
        for filter in removed {
            if !self.subscriptions.is_held(&filter) {
                self.registrar.take_out(&filter);
                self.removed_before.insert(filter);
            }
        }
        self.fence_again(now, store)?;
        self.load_drains(now);
        self.deadline = store.next_deadline(&self.foreign())?;
        self.load_events(now, store)?;
        for client_id in store.connected_clients_with_messages()? {
            if !self.is_frozen(&client_id) {
                self.load_live(&client_id, now, store)?;
            }
        }
        Ok(())
    }

    /// Reads a client's row; `false` if there is none.
    fn load_client(&mut self, client_id: &ClientId, store: &mut dyn SessionStore) -> Stored<bool> {
        if self.clients.contains_key(client_id) {
            return Ok(true);
        }
        if self.changes.clients.get(client_id).is_some_and(Option::is_none) {
            return Ok(false);
        }
        let Some(row) = store.client(client_id)? else { return Ok(false) };
        self.clients.insert(client_id.clone(), Client::of_row(&row)?);
        Ok(true)
    }

    /// A client's row, to be changed.
    fn change(&mut self, client_id: &ClientId) -> &mut Client {
        self.changes.clients.remove(client_id);
        self.dirty.insert(client_id.clone());
        self.clients.entry(client_id.clone()).or_default()
    }

    /// Writes everything that has changed.
    fn commit(&mut self, store: &mut dyn SessionStore) -> Stored<()> {
        for client_id in std::mem::take(&mut self.dirty) {
            let Some(client) = self.clients.get_mut(&client_id) else { continue };
            let row = client.row(&client_id, &self.settings, |sequence| self.events.is_pending(sequence))?;
            self.deadline = self.deadline.into_iter().chain(row.deadline).min();
            self.changes.clients.insert(client_id, Some(row));
        }
        for client_id in std::mem::take(&mut self.dirty_subscriptions) {
            let set = self.subscriptions.set(&client_id);
            let bytes = set.map(|set| encode(&set)).transpose()?;
            self.changes.subscriptions.insert(client_id, bytes);
        }
        self.is_row_dirty |= self.events.note_new(&mut self.row, self.now);
        if std::mem::take(&mut self.is_row_dirty) {
            self.changes.shard = Some(encode(&self.row)?);
        }
        if !self.changes.is_empty() {
            store.commit(&self.changes)?;
            self.changes = Changes::default();
        }
        Ok(())
    }

    /// Drops from memory what can be read again. Only when nothing is being done and all is written.
    fn forget_cached(&mut self) {
        if self.lives.len() > self.settings.cached_sessions {
            let keeps = &self.replays;
            self.lives.retain(|client_id, live| live.online.is_some() || keeps.is_for(client_id));
        }
        if self.clients.len() > self.settings.cached_sessions.saturating_mul(2) {
            self.clients.retain(|client_id, _| self.lives.contains_key(client_id));
        }
    }

    /// Packs what is to be told.
    fn tell_all(&mut self, now: UnixMillis) {
        for client_id in std::mem::take(&mut self.ready) {
            self.send(&client_id);
        }
        for (broker, tickets) in std::mem::take(&mut self.settled) {
            self.tell(BrokerId::clone(&broker), BrokerRequest::Settled { tickets }, Told::News);
        }
        for (broker, publication, sequence) in self.events.take_unsent(now, &self.settings) {
            let announce = BrokerRequest::Announce { publication, ticket: sequence };
            if self.tell(broker, announce, Told::Publish { sequence }).is_none() {
                self.events.refused(sequence, now, &self.settings);
            }
        }
        self.tell_routers(now);
    }

    /// `None` when too much waits for the Broker.
    fn tell(&mut self, broker: BrokerId, request: BrokerRequest, told: Told) -> Option<()> {
        self.outbox.push(Address::Broker(broker), Request::Broker(request), told).ok()
    }
}

/// The client id that a request is about; what is for whoever has subscribed isn't about one.
const fn client_of(request: &SessionsRequest) -> Option<&ClientId> {
    match request {
        SessionsRequest::Claim { client_id, .. }
        | SessionsRequest::Release { client_id, .. }
        | SessionsRequest::Subscribe { client_id, .. }
        | SessionsRequest::Unsubscribe { client_id, .. }
        | SessionsRequest::Acknowledge { client_id, .. }
        | SessionsRequest::Receive { client_id, .. }
        | SessionsRequest::ReceiveSettled { client_id, .. }
        | SessionsRequest::PubRel { client_id, .. }
        | SessionsRequest::Direct { client_id, .. }
        | SessionsRequest::Describe { client_id }
        | SessionsRequest::Disconnect { client_id, .. } => Some(client_id),
        SessionsRequest::Deliver { .. }
        | SessionsRequest::DeliverShared { .. }
        | SessionsRequest::EpochStarted
        | SessionsRequest::Registered { .. }
        | SessionsRequest::Announced { .. }
        | SessionsRequest::HandOver { .. }
        | SessionsRequest::TakeOver { .. } => None,
    }
}
