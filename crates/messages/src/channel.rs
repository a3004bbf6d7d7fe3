//! The channel between two objects: one packed call in flight per target, numbered, retried, bounded.
//!
//! What is pushed while a call is under way waits and leaves together with whatever else has come by then, so a busy
//! target gets fewer, fuller calls, requests to one target are applied in the order they were pushed, and a slow
//! target holds back nobody else. See ARCHITECTURE.md, "Channels".

use crate::address::Address;
use crate::broker::BrokerRequest;
use crate::codec::{Batch, BatchReply, Sender};
use crate::router::RouterRequest;
use crate::session::Outgoing;
use crate::sessions::SessionsRequest;
use crate::thing::ThingRequest;
use crate::{Refusal, Reply, Request};
use iot_types::UnixMillis;
use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Bounds of an [`Outbox`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelLimits {
    /// Most requests in one call.
    pub batch_requests: usize,
    /// Bytes after which a call is full. One larger request still travels alone.
    pub batch_bytes: usize,
    /// Most bytes waiting for one target; beyond it `push` refuses.
    pub target_bytes: usize,
    /// Calls in a row that may fail before what they carried is given up.
    pub attempts: u32,
    /// Wait after the first failure in milliseconds; doubles with each further one.
    pub retry_millis: u64,
}

impl Default for ChannelLimits {
    fn default() -> Self {
        Self {
            batch_requests: 1_024,
            batch_bytes: 1024 * 1024,
            target_bytes: 8 * 1024 * 1024,
            attempts: 6,
            retry_millis: 20,
        }
    }
}

/// A packed call to make now. Its outcome goes to [`Outbox::answered`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Whom to call.
    pub target: Address,
    /// What to send. The outbox keeps it as well, in case it has to go again.
    pub batch: Rc<Batch>,
}

/// Why a request got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// The target failed again and again. It may or may not have applied the request.
    #[error("the object could not be reached")]
    Unreachable,
    /// The target answered that it can't.
    #[error("the object refused the request")]
    Refused,
    /// The target knows a newer epoch or connection than the one that asked.
    #[error("the request came from an epoch or connection that is over")]
    Superseded,
    /// The virtual shard is another object's now; the request has not been applied.
    #[error("virtual shard {shard} has moved to object {to}")]
    Moved {
        /// The virtual shard.
        shard: u16,
        /// The number of the object that has it.
        to: u32,
    },
}

/// Too much is waiting for the target; the request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too much is waiting for this object")]
pub struct Full;

/// The sending half. `T` is whatever the owner needs to recognise an answer.
#[derive(Debug)]
pub struct Outbox<T> {
    address: Address,
    epoch: u64,
    instance: UnixMillis,
    next_number: u64,
    limits: ChannelLimits,
    targets: BTreeMap<Address, Target<T>>,
}

#[derive(Debug)]
struct Target<T> {
    waiting: VecDeque<Waiting<T>>,
    waiting_bytes: usize,
    in_flight: Option<InFlight<T>>,
    failures: u32,
    /// The call failed and goes again at this time.
    retry_at: Option<UnixMillis>,
}

#[derive(Debug)]
struct Waiting<T> {
    token: T,
    request: Request,
    weight: usize,
}

#[derive(Debug)]
struct InFlight<T> {
    batch: Rc<Batch>,
    tokens: Vec<T>,
}

impl<T> Default for Target<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), waiting_bytes: 0, in_flight: None, failures: 0, retry_at: None }
    }
}

impl<T> Outbox<T> {
    /// An outbox of an object whose memory began at `instance`.
    #[must_use]
    pub const fn new(address: Address, epoch: u64, instance: UnixMillis, limits: ChannelLimits) -> Self {
        Self { address, epoch, instance, next_number: 1, limits, targets: BTreeMap::new() }
    }

    /// The epoch that batches carry from here on.
    pub const fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// Whether anything waits or is under way. Such an object must not fall asleep.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.targets.is_empty()
    }

    /// Adds a request behind those already waiting for the target.
    ///
    /// # Errors
    /// [`Full`] when too much is waiting; nothing was taken.
    pub fn push(&mut self, target: Address, request: Request, token: T) -> Result<(), Full> {
        let weight = weight(&request);
        let limit = self.limits.target_bytes;
        let entry = self.targets.entry(target).or_default();
        if entry.waiting_bytes > 0 && entry.waiting_bytes + weight > limit {
            return Err(Full);
        }
        entry.waiting_bytes += weight;
        entry.waiting.push_back(Waiting { token, request, weight });
        Ok(())
    }

    /// Takes out requests that wait for the target and are not under way: what they were about is over.
    pub fn discard(&mut self, target: &Address, is_over: impl Fn(&T) -> bool) {
        let Some(entry) = self.targets.get_mut(target) else { return };
        entry.waiting.retain(|waiting| !is_over(&waiting.token));
        entry.waiting_bytes = entry.waiting.iter().map(|waiting| waiting.weight).sum();
        if entry.waiting.is_empty() && entry.in_flight.is_none() {
            self.targets.remove(target);
        }
    }

    /// Whether a request of this kind waits or is under way.
    pub fn has(&self, is_it: impl Fn(&T) -> bool) -> bool {
        self.targets.values().any(|target| {
            let in_flight = target.in_flight.iter().flat_map(|in_flight| &in_flight.tokens);
            target.waiting.iter().map(|waiting| &waiting.token).chain(in_flight).any(&is_it)
        })
    }

    /// How many bytes wait for the target, apart from those under way.
    #[must_use]
    pub fn waiting_bytes(&self, target: &Address) -> usize {
        self.targets.get(target).map_or(0, |target| target.waiting_bytes)
    }

    /// The calls to make now: for each target without a call under way, all that fits.
    pub fn calls(&mut self, now: UnixMillis) -> Vec<Call> {
        let mut calls = Vec::new();
        for (address, target) in &mut self.targets {
            if let Some(retry_at) = target.retry_at {
                if retry_at <= now
                    && let Some(in_flight) = &target.in_flight
                {
                    target.retry_at = None;
                    calls.push(Call { target: address.clone(), batch: Rc::clone(&in_flight.batch) });
                }
                continue;
            }
            if target.in_flight.is_some() || target.waiting.is_empty() {
                continue;
            }
            let (mut requests, mut tokens, mut bytes) = (Vec::new(), Vec::new(), 0);
            while let Some(next) = target.waiting.front() {
                let full =
                    bytes + next.weight > self.limits.batch_bytes || requests.len() >= self.limits.batch_requests;
                if full && !requests.is_empty() {
                    break;
                }
                if let Some(next) = target.waiting.pop_front() {
                    bytes += next.weight;
                    requests.push(next.request);
                    tokens.push(next.token);
                }
            }
            target.waiting_bytes = target.waiting_bytes.saturating_sub(bytes);
            let sender = Sender {
                address: self.address.clone(),
                epoch: self.epoch,
                instance: self.instance.0,
                number: self.next_number,
            };
            self.next_number += 1;
            let batch = Rc::new(Batch { sender: Some(sender), requests });
            target.in_flight = Some(InFlight { batch: Rc::clone(&batch), tokens });
            calls.push(Call { target: address.clone(), batch });
        }
        calls
    }

    /// Takes the outcome of a call and returns what became of each of its requests, in order.
    ///
    /// `None` stands for a call that failed: it goes again by itself, with the same number, until the attempts are
    /// spent. Call [`Self::calls`] afterwards.
    pub fn answered(
        &mut self,
        target: &Address,
        reply: Option<BatchReply>,
        now: UnixMillis,
    ) -> Vec<(T, Result<Reply, Undelivered>)> {
        let Some(entry) = self.targets.get_mut(target) else { return Vec::new() };
        let Some(in_flight) = entry.in_flight.take() else { return Vec::new() };
        let outcomes = match reply {
            Some(reply) if reply.replies.len() == in_flight.tokens.len() => {
                entry.failures = 0;
                let results = reply.replies.into_iter().map(|reply| match reply {
                    Reply::Refused(Refusal::Superseded) => Err(Undelivered::Superseded),
                    Reply::Refused(Refusal::Moved { shard, to }) => Err(Undelivered::Moved { shard, to }),
                    Reply::Refused(_) => Err(Undelivered::Refused),
                    reply => Ok(reply),
                });
                in_flight.tokens.into_iter().zip(results).collect()
            }
            // A reply of another length is as good as none: nobody can tell which answer belongs to what.
            Some(_) | None => {
                entry.failures += 1;
                if entry.failures < self.limits.attempts {
                    let wait = self.limits.retry_millis << (entry.failures - 1).min(10);
                    entry.retry_at = Some(now.plus_millis(wait));
                    entry.in_flight = Some(in_flight);
                    return Vec::new();
                }
                entry.failures = 0;
                in_flight.tokens.into_iter().map(|token| (token, Err(Undelivered::Unreachable))).collect()
            }
        };
        if entry.waiting.is_empty() {
            self.targets.remove(target);
        }
        outcomes
    }

    /// When [`Self::calls`] will have something to send again by itself.
    #[must_use]
    pub fn next_retry(&self) -> Option<UnixMillis> {
        self.targets.values().filter_map(|target| target.retry_at).min()
    }
}

fn weight(request: &Request) -> usize {
    const SMALL: usize = 128;
    match request {
        Request::Broker(
            BrokerRequest::Deliver(publication)
            | BrokerRequest::Publish(publication)
            | BrokerRequest::Announce { publication, .. }
            | BrokerRequest::DeliverShared { publication, .. },
        )
        | Request::Router(RouterRequest::Retain(publication) | RouterRequest::QueueShared { publication, .. })
        | Request::Sessions(
            SessionsRequest::Deliver { publication, .. }
            | SessionsRequest::DeliverShared { publication, .. }
            | SessionsRequest::Direct { publication, .. },
        ) => SMALL + publication.weight(),
        Request::Broker(BrokerRequest::DeliverPackets { packets }) => SMALL + packets.len(),
        Request::Router(RouterRequest::TakeOver { rows, .. })
        | Request::Sessions(SessionsRequest::TakeOver { page: rows, .. }) => SMALL + rows.len(),
        Request::Router(RouterRequest::Lease { nodes })
        | Request::Broker(BrokerRequest::Revoke { nodes: Some(nodes) }) => {
            SMALL + nodes.iter().map(|node| node.len() + 2).sum::<usize>()
        }
        Request::Broker(BrokerRequest::Send { packets, .. }) => {
            let weigh = |packet: &Outgoing| match packet {
                Outgoing::Publish { publication, .. } => publication.weight(),
                Outgoing::PubRel { .. } => 8,
            };
            SMALL + packets.iter().map(weigh).sum::<usize>()
        }
        Request::Sessions(SessionsRequest::Subscribe { filters, .. }) => {
            SMALL + filters.iter().map(|(filter, ..)| filter.len() + 16).sum::<usize>()
        }
        Request::Sessions(SessionsRequest::Claim { claim, .. }) => {
            SMALL + claim.will.as_ref().map_or(0, |will| will.topic.len() + will.payload.len())
        }
        Request::Thing(ThingRequest::Shadow { payload, .. } | ThingRequest::Job { payload, .. }) => {
            SMALL + payload.len()
        }
        Request::Thing(ThingRequest::QueueExecution { document, .. }) => SMALL + document.len(),
        Request::Broker(_) | Request::Router(_) | Request::Sessions(_) | Request::Job(_) | Request::Pool(_) => SMALL,
    }
}

/// Senders that a receiver remembers: Brokers are few, but every Thing of a fleet may send its notifications.
const MAXIMUM_SENDERS: usize = 8_192;

/// The receiving half: tells repeats of a call from new ones, and what a sender's earlier life said late.
///
/// A sender has one call under way at a time, so remembering the last answer is remembering all that can be asked
/// again. Soft state: a receiver that forgets it applies a repeat once more, as QoS 1 allows; messages of QoS 2 are told
/// apart by their `MessageId`, and a Router keeps the senders' instances as rows ([`Inbox::restore`]).
#[derive(Debug, Default)]
pub struct Inbox {
    last: BTreeMap<Address, Last>,
}

#[derive(Debug)]
struct Last {
    instance: u64,
    number: u64,
    reply: Option<BatchReply>,
}

/// What [`Inbox::accept`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// Not seen before: apply it, and give the answer to [`Inbox::remember`].
    New {
        /// Whether the sender has not been heard since its memory began.
        is_new_instance: bool,
    },
    /// Applied already: answer this.
    Repeat(BatchReply),
    /// Said before something that has been applied, by this life of the sender or an earlier one: apply nothing. The
    /// sender no longer waits for the answer, or is no longer the sender.
    Superseded,
}

impl Inbox {
    /// An inbox that knows the instances of senders that its owner has stored, each with a number up to which its calls
    /// say nothing any more.
    #[must_use]
    pub fn restore(senders: impl IntoIterator<Item = (Address, u64, u64)>) -> Self {
        let last =
            senders.into_iter().map(|(address, instance, number)| (address, Last { instance, number, reply: None }));
        Self { last: last.collect() }
    }

    /// Tells what to do with a batch.
    #[must_use]
    pub fn accept(&self, sender: &Sender) -> Acceptance {
        let Some(last) = self.last.get(&sender.address) else { return Acceptance::New { is_new_instance: true } };
        match (sender.instance, sender.number).cmp(&(last.instance, last.number)) {
            Ordering::Greater => Acceptance::New { is_new_instance: sender.instance > last.instance },
            Ordering::Equal => last.reply.clone().map_or(Acceptance::Superseded, Acceptance::Repeat),
            Ordering::Less => Acceptance::Superseded,
        }
    }

    /// Notes the answer to a batch that was accepted as new.
    pub fn remember(&mut self, sender: &Sender, reply: &BatchReply) {
        if self.last.len() >= MAXIMUM_SENDERS && !self.last.contains_key(&sender.address) {
            // Any of them: what is forgotten is at worst applied once more.
            self.last.pop_first();
        }
        let last = Last { instance: sender.instance, number: sender.number, reply: Some(reply.clone()) };
        self.last.insert(sender.address.clone(), last);
    }

    /// The answer to a batch that says nothing any more.
    #[must_use]
    pub fn refuse(batch: &Batch, epoch: u64) -> BatchReply {
        BatchReply { epoch, replies: vec![Reply::Refused(Refusal::Superseded); batch.requests.len()] }
    }
}

#[cfg(test)]
mod tests;
