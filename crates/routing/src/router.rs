//! A Router object: its rows, what it remembers of them, and the calls that it makes.

mod lessor;
mod memory;
mod nodes;
mod ownership;
mod queues;
mod retained;

use crate::settings::RouterSettings;
use crate::store::{RouterStore, StoreError};
use iot_types::UnixMillis;
use lessor::Revocation;
use memory::Memory;
use messages::Request;
use messages::address::{Address, BrokerId};
use messages::broker::BrokerRequest;
use messages::channel::{Call, Outbox};
use messages::codec::{Batch, BatchReply};
use messages::router::RouterRequest;
use messages::sessions::SessionsRequest;

/// A Router.
///
/// What it knows is a cache of its rows, read on first use. After [`RouterShard::call`], [`RouterShard::timeout`] and
/// [`RouterShard::answered`], make the [`RouterShard::calls`] and set a timer to [`RouterShard::next_timeout`].
///
/// **After a storage error** the caller answers with a failure, and nothing else: the shard has dropped its memory, reads
/// the rows again with the next call and sees to it that nobody relies on what may have been lost. The same shard must be
/// kept, since its outgoing calls go on being numbered.
#[derive(Debug)]
pub struct RouterShard {
    number: u32,
    initial_objects: u16,
    /// When this instance began: the epoch of its answers, by which Brokers know those of an earlier one.
    began_at: UnixMillis,
    settings: RouterSettings,
    outbox: Outbox<Token>,
    /// Counts the memories: what was asked for by an earlier one is nothing to the present.
    life: u64,
    memory: Option<Box<Memory>>,
    /// Storage failed: the rows are read again then, even if nobody calls, since something may have been under way.
    reload_at: Option<UnixMillis>,
}

/// What an outgoing call is about.
#[derive(Debug)]
struct Token {
    life: u64,
    about: About,
}

#[derive(Debug)]
enum About {
    Revoke { broker: BrokerId, sequence: u64, nodes: Option<Vec<String>> },
    Registered,
    GoOn,
    TakeOver { shard: u16, version: u64, is_last: bool },
}

/// The present time and the settings.
pub(crate) struct Context<'a> {
    pub now: UnixMillis,
    pub settings: &'a RouterSettings,
}

impl RouterShard {
    /// The Router of this number, in a deployment that began with so many. Its memory begins `now`.
    #[must_use]
    pub fn new(number: u32, initial_objects: u16, now: UnixMillis, settings: RouterSettings) -> Self {
        let outbox = Outbox::new(Address::Router(number), 0, now, settings.channel);
        Self { number, initial_objects, began_at: now, settings, outbox, life: 0, memory: None, reload_at: None }
    }

    /// Applies a packed call.
    ///
    /// # Errors
    /// [`StoreError`]: the call has failed and may be repeated.
    pub fn call(
        &mut self,
        now: UnixMillis,
        batch: &Batch,
        store: &mut dyn RouterStore,
    ) -> Result<BatchReply, StoreError> {
        let epoch = self.began_at.0;
        self.with_memory(now, store, |memory, context, store| memory.call(context, batch, epoch, store))
    }

    /// Does what is due. Harmless when nothing is.
    ///
    /// # Errors
    /// [`StoreError`]: what is due is tried again with the next call.
    pub fn timeout(&mut self, now: UnixMillis, store: &mut dyn RouterStore) -> Result<(), StoreError> {
        if self.memory.is_none() && self.reload_at.is_none_or(|at| at > now) {
            return Ok(());
        }
        self.with_memory(now, store, |_, _, _| Ok(()))
    }

    /// The calls to make now. Their outcomes go to [`Self::answered`].
    pub fn calls(&mut self, now: UnixMillis) -> Vec<Call> {
        self.outbox.calls(now)
    }

    /// Takes the outcome of a call; `None` when it failed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn answered(
        &mut self,
        now: UnixMillis,
        target: &Address,
        reply: Option<BatchReply>,
        store: &mut dyn RouterStore,
    ) -> Result<(), StoreError> {
        let epoch = reply.as_ref().map(|reply| reply.epoch);
        let outcomes = self.outbox.answered(target, reply, now);
        if self.memory.is_none() {
            return Ok(());
        }
        let life = self.life;
        self.with_memory(now, store, |memory, context, store| {
            for (token, result) in outcomes.into_iter().filter(|(token, _)| token.life == life) {
                match (token.about, epoch) {
                    (About::Revoke { broker, sequence, nodes }, Some(epoch)) if result.is_ok() => {
                        memory.revoked(context, &(broker, epoch), sequence, nodes.as_deref());
                    }
                    (About::Revoke { broker, .. }, _) => memory.revocation_failed(now, &broker),
                    (About::TakeOver { shard, version, is_last }, _) => {
                        memory.part_answered(context, (shard, version, is_last), result.is_ok(), store)?;
                    }
                    (About::Registered | About::GoOn, _) => {}
                }
            }
            memory.collect(now);
            Ok(())
        })
    }

    /// When [`Self::timeout`] and [`Self::calls`] have something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<UnixMillis> {
        let of_memory = self.memory.as_ref().and_then(|memory| memory.next_timeout());
        of_memory.into_iter().chain(self.reload_at).chain(self.outbox.next_retry()).min()
    }

    /// Whether nothing is under way that would be delayed if the object fell asleep. Nothing would be lost in any case.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.outbox.is_idle() && self.reload_at.is_none() && self.memory.as_ref().is_none_or(|memory| memory.is_idle())
    }

    fn with_memory<T>(
        &mut self,
        now: UnixMillis,
        store: &mut dyn RouterStore,
        act: impl FnOnce(&mut Memory, &Context<'_>, &mut dyn RouterStore) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let context = Context { now, settings: &self.settings };
        self.reload_at = Some(now.plus_millis(self.settings.retry_millis));
        // Put back only if all went well: else memory may be ahead of the rows.
        let mut memory = match self.memory.take() {
            Some(memory) => memory,
            None => {
                self.life += 1;
                Box::new(Memory::load(self.number, self.initial_objects, &context, store)?)
            }
        };
        let result = act(&mut memory, &context, store)?;
        memory.go_on(&context, store)?;
        self.send(&mut memory);
        self.memory = Some(memory);
        self.reload_at = None;
        Ok(result)
    }

    /// Hands what memory has to say to the outbox. What doesn't fit is made good later: revocations by their retries,
    /// confirmations when they are asked for again.
    fn send(&mut self, memory: &mut Memory) {
        let life = self.life;
        for Revocation { broker, nodes, sequence } in core::mem::take(&mut memory.lessor.revocations) {
            let request = Request::Broker(BrokerRequest::Revoke { nodes: nodes.clone() });
            let about = About::Revoke { broker: broker.clone(), sequence, nodes };
            if self.outbox.push(Address::Broker(broker.clone()), request, Token { life, about }).is_err() {
                memory.not_sent.push(broker);
            }
        }
        for (asker, registration) in core::mem::take(&mut memory.lessor.complete) {
            let request = match asker {
                Address::Broker(_) => Request::Broker(BrokerRequest::Registered { registration }),
                Address::Sessions(_) => Request::Sessions(SessionsRequest::Registered { registration }),
                Address::Router(_) | Address::Thing(_) | Address::Job(_) | Address::Pool(_) => continue,
            };
            let _ = self.outbox.push(asker, request, Token { life, about: About::Registered });
        }
        for (from, shard) in core::mem::take(&mut memory.reminders) {
            let request = Request::Router(RouterRequest::GoOn { shard });
            let _ = self.outbox.push(Address::Router(from), request, Token { life, about: About::GoOn });
        }
        for part in core::mem::take(&mut memory.parts) {
            let ownership::Part { to, shard, version, rows, is_last, leases_millis } = part;
            let last = is_last.then_some(leases_millis);
            let request = Request::Router(RouterRequest::TakeOver { shard, version, rows, last });
            let about = About::TakeOver { shard, version, is_last };
            if self.outbox.push(Address::Router(to), request, Token { life, about }).is_err() {
                memory.unsent_parts.push((shard, version, is_last));
            }
        }
    }
}
