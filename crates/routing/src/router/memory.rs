//! What a Router remembers, and what it does with each request.

use super::Context;
use super::lessor::{Holder, Lessor, NewRegistration, RowKey, Said};
use super::nodes::{Nodes, is_alive};
use super::ownership::{HandOver, Ownership, Part};
use super::queues::Queues;
use super::retained;
use crate::store::{self, RouterStore, SenderRow, StoreError, Subscription};
use iot_types::UnixMillis;
use messages::address::{Address, BrokerId};
use messages::channel::{Acceptance, Inbox};
use messages::codec::{Batch, BatchReply, Sender};
use messages::router::{Destination, Mark, RouterRequest};
use messages::{Refusal, Reply, Request};
use mqtt_topic::{TopicFilter, node};
use std::collections::BTreeMap;

/// Larger answers are not kept for a repetition of the call: it is applied once more.
const REMEMBERED_BYTES: usize = 16 * 1024;

/// Bytes of a reply in which there is little.
const SMALL: usize = 32;

/// Void rows are looked for this long after a Broker's restart, in milliseconds: most are written anew.
const SWEEP_MILLIS: u64 = 300_000;

/// No limit.
const ALL: usize = 1 << 30;

/// Rows looked at for that in one call.
const SWEEP_ROWS: usize = 256;

#[derive(Debug)]
pub(crate) struct Memory {
    inbox: Inbox,
    senders: BTreeMap<Address, SenderRow>,
    nodes: Nodes,
    pub lessor: Lessor,
    queues: Queues,
    retained: retained::Cache,
    ownership: Ownership,
    /// Where the search for rows of earlier epochs goes on, and not before when.
    sweep: Option<(UnixMillis, Vec<u8>)>,
    /// To be sent to those who take virtual shards over.
    pub parts: Vec<Part>,
    /// Who has to be reminded of which virtual shard.
    pub reminders: Vec<(u32, u16)>,
    /// Brokers for whom there was no room in the outbox.
    pub not_sent: Vec<BrokerId>,
    /// Parts for which there was none.
    pub unsent_parts: Vec<(u16, u64, bool)>,
}

/// A part of the answer to a batch, and how much room it takes.
type Answer = Result<(Reply, usize), StoreError>;

fn small(reply: Reply) -> Answer {
    Ok((reply, SMALL))
}

fn refused(refusal: Refusal) -> Answer {
    small(Reply::Refused(refusal))
}

impl Memory {
    pub fn load(
        number: u32,
        initial_objects: u16,
        context: &Context<'_>,
        store: &mut dyn RouterStore,
    ) -> Result<Self, StoreError> {
        let mut senders = BTreeMap::new();
        let (from, to) = store::senders_table();
        for (key, value) in store.scan(&from, &to, ALL)? {
            if let Some(address) = store::parse_sender(&key) {
                senders.insert(address, store::decode::<SenderRow>(&value)?);
            }
        }
        let (from, to) = store::holders_table();
        let keys = store.scan_keys(&from, &to, ALL)?;
        let mut lessor =
            Lessor::new(context.now, context.settings, keys.iter().filter_map(|key| store::parse_holder(key)));
        for (address, row) in &senders {
            if let Address::Broker(broker) = address {
                lessor.superseded(context.now, broker, row.epoch, context.settings.superseded_millis);
            }
        }
        let ownership = Ownership::load(context.now, number, initial_objects, store)?;
        for shard in ownership.leaving() {
            lessor.leave(context.now, shard);
        }
        Ok(Self {
            // The last one may be asked again by a sender that has not heard the answer.
            inbox: Inbox::restore(
                senders.iter().map(|(address, row)| (address.clone(), row.instance, row.number.saturating_sub(1))),
            ),
            senders,
            nodes: Nodes::default(),
            lessor,
            queues: Queues::default(),
            retained: retained::Cache::default(),
            ownership,
            sweep: None,
            parts: Vec::new(),
            reminders: Vec::new(),
            not_sent: Vec::new(),
            unsent_parts: Vec::new(),
        })
    }

    pub fn is_idle(&self) -> bool {
        self.lessor.is_idle() && self.ownership.is_idle()
    }

    pub fn next_timeout(&self) -> Option<UnixMillis> {
        self.lessor.next_timeout().into_iter().chain(self.ownership.next_timeout()).min()
    }

    /// Does what is due.
    pub fn go_on(&mut self, context: &Context<'_>, store: &mut dyn RouterStore) -> Result<(), StoreError> {
        let now = context.now;
        for broker in core::mem::take(&mut self.not_sent) {
            self.lessor.undelivered(now, &broker);
        }
        for part in core::mem::take(&mut self.unsent_parts) {
            self.ownership.part_answered(now, context.settings.retry_millis, part, false, store)?;
        }
        self.lessor.settle(now);
        for (broker, epoch) in self.lessor.purge(now) {
            store.delete(&store::holder_key(&broker, epoch))?;
        }
        let lessor = &self.lessor;
        let leaving_millis = |shard| lessor.leaving_millis(now, shard);
        let parts = self.ownership.step(now, context.settings.move_millis, leaving_millis, store)?;
        self.parts.extend(parts);
        self.reminders.extend(self.ownership.reminders(now, context.settings.retry_millis));
        self.sweep(now, store)
    }

    /// A Broker has carried out a revocation. [`Self::collect`] then finds what is complete.
    pub fn revoked(&mut self, context: &Context<'_>, by: &Holder, sequence: u64, nodes: Option<&[String]>) {
        self.lessor.superseded(context.now, &by.0, by.1, context.settings.superseded_millis);
        self.lessor.acknowledged(by, sequence, nodes);
    }

    /// Finds what has nothing to wait for any more.
    pub fn collect(&mut self, now: UnixMillis) {
        self.lessor.collect(now);
        self.ownership.wake(now);
    }

    /// A Broker could not be told of a revocation.
    pub fn revocation_failed(&mut self, now: UnixMillis, broker: &BrokerId) {
        self.lessor.undelivered(now, broker);
    }

    /// Whoever takes a virtual shard over has answered, or could not.
    pub fn part_answered(
        &mut self,
        context: &Context<'_>,
        part: (u16, u64, bool),
        is_applied: bool,
        store: &mut dyn RouterStore,
    ) -> Result<(), StoreError> {
        if self.ownership.part_answered(context.now, context.settings.retry_millis, part, is_applied, store)? {
            self.lessor.left(part.0);
        }
        Ok(())
    }

    pub fn call(
        &mut self,
        context: &Context<'_>,
        batch: &Batch,
        epoch: u64,
        store: &mut dyn RouterStore,
    ) -> Result<BatchReply, StoreError> {
        self.lessor.settle(context.now);
        let sender = batch.sender.as_ref();
        if let Some(sender) = sender {
            match self.inbox.accept(sender) {
                Acceptance::Repeat(reply) => return Ok(reply),
                Acceptance::Superseded => return Ok(Inbox::refuse(batch, epoch)),
                Acceptance::New { .. } => {}
            }
            if !self.admit(context, sender, store)? {
                return Ok(Inbox::refuse(batch, epoch));
            }
        }
        let known = sender.and_then(|sender| self.senders.get(&sender.address)).copied().unwrap_or_default();
        let was_done = sender.is_some_and(|sender| known.number == sender.number && known.instance == sender.instance);
        let mut replies = Vec::with_capacity(batch.requests.len());
        let (mut bytes, mut is_repeatable, mut is_refused) = (0, true, false);
        for request in &batch.requests {
            let room = context.settings.reply_bytes.saturating_sub(bytes);
            let (reply, weight) = match request {
                Request::Router(RouterRequest::QueueShared { .. } | RouterRequest::Retain(_)) if was_done => {
                    // By a memory before this one. Meanwhile somebody else may have retained something on the topic.
                    (Reply::Applied, SMALL)
                }
                Request::Router(request) => {
                    let (reply, weight) = self.request(context, sender, request, room, store)?;
                    if matches!(request, RouterRequest::QueueShared { .. } | RouterRequest::Retain(_)) {
                        is_repeatable = false;
                        is_refused |= reply != Reply::Applied;
                    }
                    (reply, weight)
                }
                _ => (Reply::Refused(Refusal::WrongClass), SMALL),
            };
            bytes += weight;
            replies.push(reply);
        }
        let reply = BatchReply { epoch, replies };
        if let Some(sender) = sender
            && !is_repeatable
            && !is_refused
        {
            let row = SenderRow { number: sender.number, ..known };
            store.put(&store::sender_key(&sender.address)?, &store::encode(&row)?)?;
            self.senders.insert(sender.address.clone(), row);
        }
        if let Some(sender) = sender
            && (bytes <= REMEMBERED_BYTES || !is_repeatable)
        {
            self.inbox.remember(sender, &reply);
        }
        Ok(reply)
    }

    /// Whether the sender is the newest of its address; if so it is a row from here on.
    fn admit(
        &mut self,
        context: &Context<'_>,
        sender: &Sender,
        store: &mut dyn RouterStore,
    ) -> Result<bool, StoreError> {
        let now = context.now;
        let known = self.senders.get(&sender.address).copied().unwrap_or_default();
        if sender.epoch < known.epoch || sender.instance < known.instance {
            return Ok(false);
        }
        if (sender.epoch, sender.instance) == (known.epoch, known.instance) {
            return Ok(true);
        }
        let number = if sender.instance == known.instance { known.number } else { 0 };
        let row = SenderRow { epoch: sender.epoch, instance: sender.instance, number };
        store.put(&store::sender_key(&sender.address)?, &store::encode(&row)?)?;
        self.senders.insert(sender.address.clone(), row);
        if let Address::Broker(broker) = &sender.address
            && row.epoch > known.epoch
        {
            self.nodes.begin_epoch(broker, row.epoch);
            self.lessor.superseded(now, broker, row.epoch, context.settings.superseded_millis);
            if known.epoch > 0 && self.sweep.is_none() {
                self.sweep = Some((now.plus_millis(SWEEP_MILLIS), store::subscriptions_table().0));
            }
        }
        Ok(true)
    }

    fn request(
        &mut self,
        context: &Context<'_>,
        sender: Option<&Sender>,
        request: &RouterRequest,
        room: usize,
        store: &mut dyn RouterStore,
    ) -> Answer {
        match (request, sender) {
            (RouterRequest::Subscribe { filter, registration }, Some(sender)) => {
                self.subscribe(context, sender, filter, *registration, store)
            }
            (RouterRequest::Unsubscribe { filter }, Some(sender)) => self.unsubscribe(context, sender, filter, store),
            (RouterRequest::Mark { node, mark, registration }, Some(sender)) => {
                self.mark(context, sender, node, *mark, *registration, store)
            }
            // The epoch has been noted with the batch.
            (RouterRequest::EpochStarted, Some(_)) => small(Reply::Applied),
            (
                RouterRequest::Lease { nodes },
                Some(Sender { address: Address::Broker(broker), epoch, instance, number }),
            ) => {
                let holder = (broker.clone(), *epoch);
                self.lease(context, &holder, (*instance, *number), nodes, room, store)
            }
            (
                RouterRequest::LeasesReturned,
                Some(Sender { address: Address::Broker(broker), epoch, instance, number }),
            ) => {
                if self.lessor.returned(&(broker.clone(), *epoch), (*instance, *number)) {
                    store.delete(&store::holder_key(broker, *epoch))?;
                }
                self.collect(context.now);
                small(Reply::Applied)
            }
            (RouterRequest::Route { node, topic }, _) => self.route(context, node, topic, room, store),
            (RouterRequest::Retain(publication), _) => {
                match self.ownership.check(store::shard_of_node(node::node_of(&publication.topic))) {
                    Ok(_) => {
                        retained::retain(context, publication, &mut self.retained, store)?;
                        small(Reply::Applied)
                    }
                    Err(refusal) => refused(refusal),
                }
            }
            (RouterRequest::Retained { filter, after, limit }, _) => {
                self.retained(context, filter, after.as_deref(), *limit, room, store)
            }
            (RouterRequest::QueueShared { shared_filter, publication }, _) => {
                match self.ownership.check(store::shard_of_node(node::node_of(shared_filter))) {
                    Ok(_) => {
                        let settings = context.settings;
                        small(self.queues.append(context.now, shared_filter, publication, settings, store)?)
                    }
                    Err(refusal) => refused(refusal),
                }
            }
            (RouterRequest::DrainShared { shared_filter, after }, Some(sender)) => {
                self.drain(context, sender, shared_filter, *after, room, store)
            }
            (RouterRequest::HandOver { shard, to }, _) => {
                match self.ownership.hand_over(context.now, *shard, *to, store)? {
                    HandOver::Answer(reply) => small(*reply),
                    HandOver::Begins => {
                        self.lessor.leave(context.now, *shard);
                        self.nodes.forget(*shard);
                        self.queues.forget(*shard);
                        small(Reply::Pending)
                    }
                }
            }
            (
                RouterRequest::TakeOver { shard, version, rows, last },
                Some(Sender { address: Address::Router(from), .. }),
            ) => {
                self.retained.forget();
                small(self.ownership.take_over(context.now, *from, (*shard, *version), rows, *last, store)?)
            }
            // What there is to do began with the call.
            (RouterRequest::GoOn { .. }, _) => small(Reply::Applied),
            (
                RouterRequest::Subscribe { .. }
                | RouterRequest::Unsubscribe { .. }
                | RouterRequest::Mark { .. }
                | RouterRequest::EpochStarted
                | RouterRequest::Lease { .. }
                | RouterRequest::LeasesReturned
                | RouterRequest::DrainShared { .. }
                | RouterRequest::TakeOver { .. },
                _,
            ) => refused(Refusal::WrongClass),
        }
    }

    fn subscribe(
        &mut self,
        context: &Context<'_>,
        sender: &Sender,
        filter: &str,
        registration: u64,
        store: &mut dyn RouterStore,
    ) -> Answer {
        let Some(destination) = destination(&sender.address) else { return refused(Refusal::WrongClass) };
        if TopicFilter::new(filter).is_err() {
            return refused(Refusal::WrongClass);
        }
        let node = node::node_of(filter);
        let not_before = match self.ownership.check(store::shard_of_node(node)) {
            Ok(not_before) => not_before,
            Err(refusal) => return refused(refusal),
        };
        let known = self.nodes.load(node, context.settings.cache_bytes, &self.senders, store)?;
        let is_new = known.get(filter, &destination).is_none_or(|row| row.epoch != sender.epoch);
        if is_new && known.rows() >= context.settings.node_rows {
            return refused(Refusal::Full);
        }
        let row = Subscription { epoch: sender.epoch, instance: sender.instance, number: sender.number };
        store.put(&store::subscription_key(node, filter, &destination), &store::encode(&row)?)?;
        self.nodes.insert(node, filter, destination.clone(), row);
        // What a Broker publishes reaches its own subscribers whatever its leases say.
        let exempt = match &destination {
            Destination::Broker(broker) => Some((broker.clone(), sender.epoch)),
            Destination::Sessions(_) => None,
        };
        let new = NewRegistration {
            node: node.to_owned(),
            key: RowKey::Filter(filter.to_owned(), destination),
            is_new,
            exempt,
            not_before,
            asker: sender.address.clone(),
            registration,
        };
        let is_complete = self.lessor.register(context.now, new);
        small(if is_complete { Reply::Applied } else { Reply::Pending })
    }

    fn unsubscribe(
        &mut self,
        context: &Context<'_>,
        sender: &Sender,
        filter: &str,
        store: &mut dyn RouterStore,
    ) -> Answer {
        let Some(destination) = destination(&sender.address) else { return refused(Refusal::WrongClass) };
        let node = node::node_of(filter);
        if let Err(refusal) = self.ownership.check(store::shard_of_node(node)) {
            return refused(refusal);
        }
        let known = self.nodes.load(node, context.settings.cache_bytes, &self.senders, store)?;
        let now_said = (sender.instance, sender.number);
        if known.get(filter, &destination).is_some_and(|row| (row.instance, row.number) <= now_said) {
            store.delete(&store::subscription_key(node, filter, &destination))?;
            self.nodes.remove(node, filter, &destination);
            self.lessor.withdraw(node, &RowKey::Filter(filter.to_owned(), destination));
        }
        small(Reply::Applied)
    }

    fn mark(
        &mut self,
        context: &Context<'_>,
        sender: &Sender,
        node: &str,
        mark: Mark,
        registration: u64,
        store: &mut dyn RouterStore,
    ) -> Answer {
        let not_before = match self.ownership.check(store::shard_of_node(node)) {
            Ok(not_before) => not_before,
            Err(refusal) => return refused(refusal),
        };
        let known = self.nodes.load(node, context.settings.cache_bytes, &self.senders, store)?;
        let flag = match mark {
            Mark::Filters => &mut known.has_filters_below,
            Mark::Retained => &mut known.has_retained_below,
        };
        let is_new = !*flag;
        if is_new {
            store.put(&store::mark_key(node, mark), &[])?;
            *flag = true;
        }
        if mark == Mark::Retained {
            // Leases don't tell it: whoever wants retained messages asks.
            return small(Reply::Applied);
        }
        let new = NewRegistration {
            node: node.to_owned(),
            key: RowKey::Mark,
            is_new,
            // The asker's own lease says that there is nothing below, and others rely on the mark from here on.
            exempt: None,
            not_before,
            asker: sender.address.clone(),
            registration,
        };
        let is_complete = self.lessor.register(context.now, new);
        small(if is_complete { Reply::Applied } else { Reply::Pending })
    }

    fn lease(
        &mut self,
        context: &Context<'_>,
        holder: &Holder,
        asked: Said,
        nodes: &[String],
        room: usize,
        store: &mut dyn RouterStore,
    ) -> Answer {
        for node in nodes {
            if let Err(refusal) = self.ownership.check(store::shard_of_node(node)) {
                return refused(refusal);
            }
        }
        if !self.lessor.is_recorded(holder) {
            store.put(&store::holder_key(&holder.0, holder.1), &[])?;
        }
        let limit = context.settings.view_bytes;
        let (mut views, mut bytes) = (Vec::new(), 0);
        for name in nodes {
            let node = self.nodes.load(name, context.settings.cache_bytes, &self.senders, store)?;
            let weight = name.len() + node.view_weight(limit);
            if bytes + weight > room {
                // The holder asks for the rest again.
                break;
            }
            bytes += weight;
            self.lessor.lend(context.now, name, holder, asked, node.is_large(limit));
            views.push(node.view(name, limit));
        }
        Ok(if views.is_empty() && !nodes.is_empty() {
            (Reply::Refused(Refusal::Full), SMALL)
        } else {
            (Reply::Leases(views), bytes)
        })
    }

    fn route(
        &mut self,
        context: &Context<'_>,
        name: &str,
        topic: &str,
        room: usize,
        store: &mut dyn RouterStore,
    ) -> Answer {
        if let Err(refusal) = self.ownership.check(store::shard_of_node(name)) {
            return refused(refusal);
        }
        let node = self.nodes.load(name, context.settings.cache_bytes, &self.senders, store)?;
        let found = node.route(topic, context.settings.matches_parent);
        let weight = found.iter().map(|(filter, to)| filter.len() + 16 * to.len()).sum();
        if weight > room {
            return refused(Refusal::Full);
        }
        Ok((Reply::Route(found), weight))
    }

    fn retained(
        &mut self,
        context: &Context<'_>,
        filter: &str,
        after: Option<&str>,
        limit: u32,
        room: usize,
        store: &mut dyn RouterStore,
    ) -> Answer {
        if room == 0 {
            return refused(Refusal::Full);
        }
        let name = node::node_of(filter);
        let owned = self.ownership.check(store::shard_of_node(name));
        let has_wildcard = filter.contains(['+', '#']);
        if let (false, Err(refusal)) = (has_wildcard, &owned) {
            return refused(refusal.clone());
        }
        let limits = retained::Limits { messages: limit as usize, bytes: room / 2 };
        let settings = context.settings;
        let (ownership, cache) = (&self.ownership, &mut self.retained);
        let mut page = retained::page(context, (filter, after), &limits, ownership, cache, store)?;
        if has_wildcard {
            page.given_away = self.ownership.given_away();
            // If the node isn't here it isn't known.
            page.has_retained_below =
                owned.is_err() || self.nodes.load(name, settings.cache_bytes, &self.senders, store)?.has_retained_below;
        }
        let weight = SMALL + page.messages.iter().map(|message| message.weight()).sum::<usize>();
        Ok((Reply::Retained(page), weight))
    }

    fn drain(
        &mut self,
        context: &Context<'_>,
        sender: &Sender,
        shared_filter: &str,
        done: u64,
        room: usize,
        store: &mut dyn RouterStore,
    ) -> Answer {
        if room == 0 {
            return refused(Refusal::Full);
        }
        if let Err(refusal) = self.ownership.check(store::shard_of_node(node::node_of(shared_filter))) {
            return refused(refusal);
        }
        let by = &sender.address;
        let reply = self.queues.drain(context.now, shared_filter, done, by, context.settings, store)?;
        let weight = match &reply {
            Reply::SharedQueue(messages) => messages.iter().map(|(_, message)| message.weight()).sum(),
            _ => SMALL,
        };
        Ok((reply, weight))
    }

    /// Deletes rows that Brokers left behind in earlier epochs.
    fn sweep(&mut self, now: UnixMillis, store: &mut dyn RouterStore) -> Result<(), StoreError> {
        let Some((_, from)) = self.sweep.take_if(|(not_before, _)| *not_before <= now) else { return Ok(()) };
        let to = store::subscriptions_table().1;
        let rows = store.scan(&from, &to, SWEEP_ROWS)?;
        if rows.len() == SWEEP_ROWS
            && let Some((last, _)) = rows.last()
        {
            self.sweep = Some((now, store::after(last)));
        }
        for (key, value) in rows {
            let row: Subscription = store::decode(&value)?;
            if let Some((_, destination)) = store::parse_subscription(&key)
                && !is_alive(&self.senders, &destination, &row)
            {
                store.delete(&key)?;
            }
        }
        Ok(())
    }
}

/// What a sender is when it subscribes.
fn destination(address: &Address) -> Option<Destination> {
    match address {
        Address::Broker(broker) => Some(Destination::Broker(broker.clone())),
        Address::Sessions(shard) => Some(Destination::Sessions(*shard)),
        Address::Router(_) | Address::Thing(_) | Address::Job(_) | Address::Pool(_) => None,
    }
}
