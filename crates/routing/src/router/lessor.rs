//! Who holds leases, and what waits until they are dropped.
//!
//! A registration waits for the leases that were lent before its row was written. Each lease that it waits for is a
//! *hold*, which goes when the holder acknowledges a revocation sent after the row was written, or when the lease has
//! ended by itself. A revocation that another epoch of the Broker acknowledges says nothing of the holder: it may be cut
//! off from everything and still serve its clients.

use crate::settings::RouterSettings;
use crate::store;
use iot_types::UnixMillis;
use messages::address::{Address, BrokerId};
use messages::router::Destination;
use std::collections::{BTreeMap, BTreeSet};

/// A Broker in one of its epochs.
pub(crate) type Holder = (BrokerId, u64);

/// When a holder asked for something: the instance and the number of the call. Rises with every call.
pub(crate) type Said = (u64, u64);

/// For what an earlier memory lent.
const UNKNOWN: Said = (u64::MAX, u64::MAX);

/// What a registration is about, at its node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RowKey {
    /// A destination's filter.
    Filter(String, Destination),
    /// `Mark::Filters`.
    Mark,
}

/// A registration whose row has been written.
pub(crate) struct NewRegistration {
    pub node: String,
    pub key: RowKey,
    /// Whether the row was not there before; one that was has no leases from before it, or waits for them already.
    pub is_new: bool,
    /// A holder that need not hear of it.
    pub exempt: Option<Holder>,
    /// Not to be confirmed earlier.
    pub not_before: UnixMillis,
    pub asker: Address,
    pub registration: u64,
}

/// A call to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Revocation {
    pub broker: BrokerId,
    /// `None` for all.
    pub nodes: Option<Vec<String>>,
    pub sequence: u64,
}

#[derive(Debug)]
struct Lent {
    until: UnixMillis,
    /// When it was lent, in the order of lending and revoking.
    sequence: u64,
    asked: Said,
    /// Revoked since, with this revocation.
    revoked: Option<u64>,
    is_large: bool,
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    until: UnixMillis,
    /// When the lease was asked for.
    asked: Said,
    /// The revocation whose acknowledgement ends it, or a later one's; `None` if none has been sent.
    sequence: Option<u64>,
}

#[derive(Debug)]
struct Pending {
    holds: BTreeMap<Holder, Hold>,
    exempt: Option<Holder>,
    not_before: UnixMillis,
    askers: BTreeSet<(Address, u64)>,
}

#[derive(Debug)]
pub(crate) struct Lessor {
    /// T and the margin.
    lease_millis: u64,
    retry_millis: u64,
    forget_millis: u64,
    sequence: u64,
    leases: BTreeMap<String, BTreeMap<Holder, Lent>>,
    /// Those with a row, and when their last lease ends.
    holders: BTreeMap<Holder, UnixMillis>,
    /// Those of epochs that are over, and when they use no lease any more.
    over: BTreeMap<Holder, UnixMillis>,
    /// Those that may hold leases which an earlier memory lent: what nodes is not known.
    barrier: BTreeMap<Holder, Hold>,
    pending: BTreeMap<String, BTreeMap<RowKey, Pending>>,
    /// The holders of the leases of virtual shards that are leaving.
    leaving: BTreeMap<u16, BTreeMap<Holder, Hold>>,
    retries: BTreeMap<BrokerId, UnixMillis>,
    /// No hold ends by itself before this.
    earliest: Option<UnixMillis>,
    purge_at: UnixMillis,
    /// To be sent.
    pub revocations: Vec<Revocation>,
    /// To be confirmed.
    pub complete: Vec<(Address, u64)>,
}

impl Lessor {
    /// A lessor that has forgotten everything but who held leases.
    pub fn new(now: UnixMillis, settings: &RouterSettings, holders: impl IntoIterator<Item = Holder>) -> Self {
        let lease_millis = settings.lease_millis + settings.margin_millis;
        let until = now.plus_millis(lease_millis);
        let holders: BTreeMap<Holder, UnixMillis> = holders.into_iter().map(|holder| (holder, until)).collect();
        Self {
            lease_millis,
            retry_millis: settings.retry_millis,
            forget_millis: settings.forget_millis,
            sequence: 0,
            leases: BTreeMap::new(),
            barrier: holders
                .keys()
                .map(|holder| (holder.clone(), Hold { until, asked: UNKNOWN, sequence: None }))
                .collect(),
            holders,
            over: BTreeMap::new(),
            pending: BTreeMap::new(),
            leaving: BTreeMap::new(),
            retries: BTreeMap::new(),
            earliest: None,
            purge_at: until,
            revocations: Vec::new(),
            complete: Vec::new(),
        }
    }

    /// Whether nothing waits for anything.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.leaving.is_empty()
    }

    /// Whether the holder has a row.
    pub fn is_recorded(&self, holder: &Holder) -> bool {
        self.holders.contains_key(holder)
    }

    /// Notes a lease, or its renewal. The holder must have a row by now.
    pub fn lend(&mut self, now: UnixMillis, node: &str, holder: &Holder, asked: Said, is_large: bool) {
        self.sequence += 1;
        let until = now.plus_millis(self.lease_millis);
        self.holders.insert(holder.clone(), until);
        let leases = self.leases.entry(node.to_owned()).or_default();
        // As long as the answer may be lost, the holder may go on with what it was told before.
        let was_small = leases.get(holder).is_some_and(|lent| lent.until > now && !lent.is_large);
        let lent = Lent { until, sequence: self.sequence, asked, revoked: None, is_large: is_large && !was_small };
        leases.insert(holder.clone(), lent);
    }

    /// Whether the registration is complete. If not, the asker will be in `complete`.
    pub fn register(&mut self, now: UnixMillis, new: NewRegistration) -> bool {
        self.barrier.retain(|_, hold| hold.until > now);
        let waiting = self.pending.get_mut(&new.node).and_then(|keys| keys.get_mut(&new.key));
        if let (Some(pending), false) = (waiting, new.is_new) {
            pending.askers.insert((new.asker, new.registration));
            return false;
        }
        let holds = if new.is_new { self.revoke(now, &new) } else { BTreeMap::new() };
        self.raise_barrier(new.exempt.as_ref());
        let pending = Pending {
            holds,
            exempt: new.exempt,
            not_before: new.not_before,
            askers: BTreeSet::from([(new.asker, new.registration)]),
        };
        if pending.is_done(now, &self.barrier) {
            self.withdraw(&new.node, &new.key);
            return true;
        }
        self.note_earliest(pending.deadline(now));
        self.note_earliest(self.barrier.values().map(|hold| hold.until).min());
        self.pending.entry(new.node).or_default().insert(new.key, pending);
        false
    }

    /// The row is gone, and what waited for its confirmation.
    pub fn withdraw(&mut self, node: &str, key: &RowKey) {
        if let Some(keys) = self.pending.get_mut(node) {
            keys.remove(key);
            if keys.is_empty() {
                self.pending.remove(node);
            }
        }
    }

    /// Revokes the leases of a node that were lent before now.
    fn revoke(&mut self, now: UnixMillis, new: &NewRegistration) -> BTreeMap<Holder, Hold> {
        let mut holds = BTreeMap::new();
        let Some(leases) = self.leases.get_mut(&new.node) else { return holds };
        leases.retain(|_, lent| lent.until > now);
        let of_filter = matches!(new.key, RowKey::Filter(..));
        // One call tells all epochs of a Broker.
        let mut told: BTreeMap<BrokerId, u64> = BTreeMap::new();
        for (holder, lent) in leases {
            // Whoever was told that the node is large asks each time.
            if new.exempt.as_ref() == Some(holder) || of_filter && lent.is_large {
                continue;
            }
            let sequence = *lent.revoked.get_or_insert_with(|| {
                *told.entry(holder.0.clone()).or_insert_with(|| {
                    self.sequence += 1;
                    let nodes = Some(vec![new.node.clone()]);
                    self.revocations.push(Revocation { broker: holder.0.clone(), nodes, sequence: self.sequence });
                    self.sequence
                })
            });
            holds.insert(holder.clone(), Hold { until: lent.until, asked: lent.asked, sequence: Some(sequence) });
        }
        holds
    }

    /// Asks those to drop everything that an earlier memory may have lent to.
    fn raise_barrier(&mut self, exempt: Option<&Holder>) {
        let mut told: BTreeMap<BrokerId, u64> = BTreeMap::new();
        for (holder, hold) in &mut self.barrier {
            if exempt == Some(holder) || hold.sequence.is_some() {
                continue;
            }
            let sequence = *told.entry(holder.0.clone()).or_insert_with(|| {
                self.sequence += 1;
                self.revocations.push(Revocation { broker: holder.0.clone(), nodes: None, sequence: self.sequence });
                self.sequence
            });
            hold.sequence = Some(sequence);
        }
    }

    /// The Broker, in this epoch, has carried out a revocation. [`Self::collect`] then finds what is complete.
    pub fn acknowledged(&mut self, by: &Holder, sequence: u64, nodes: Option<&[String]>) {
        let is_over = |hold: &Hold| hold.sequence.is_some_and(|sent| sent <= sequence);
        let drop_lease = |leases: &mut BTreeMap<Holder, Lent>| {
            if leases.get(by).is_some_and(|lent| lent.sequence < sequence) {
                leases.remove(by);
            }
        };
        let end_hold = |keys: &mut BTreeMap<RowKey, Pending>| {
            for pending in keys.values_mut() {
                if pending.holds.get(by).is_some_and(is_over) {
                    pending.holds.remove(by);
                }
            }
        };
        match nodes {
            Some(nodes) => {
                for node in nodes {
                    if let Some(leases) = self.leases.get_mut(node) {
                        drop_lease(leases);
                    }
                    if let Some(keys) = self.pending.get_mut(node) {
                        end_hold(keys);
                    }
                }
            }
            None => {
                self.leases.values_mut().for_each(drop_lease);
                self.pending.values_mut().for_each(end_hold);
                for holds in self.leaving.values_mut() {
                    if holds.get(by).is_some_and(is_over) {
                        holds.remove(by);
                    }
                }
                if self.barrier.get(by).is_some_and(is_over) {
                    self.barrier.remove(by);
                }
            }
        }
    }

    /// The Broker has begun this epoch. Instances of earlier ones can't write to its storage any more, and so use their
    /// leases no longer than until their next write is due, whether they hear of anything or not.
    pub fn superseded(&mut self, now: UnixMillis, broker: &BrokerId, epoch: u64, millis: u64) {
        let until = now.plus_millis(millis);
        let is_over = |(of, at): &Holder| of == broker && *at < epoch;
        let mut is_shortened = false;
        let mut shorten = |holder: &Holder, at: &mut UnixMillis| {
            if is_over(holder) && *at > until {
                *at = until;
                is_shortened = true;
            }
        };
        for (holder, lent) in self.leases.values_mut().flatten() {
            shorten(holder, &mut lent.until);
        }
        let pending = self.pending.values_mut().flat_map(BTreeMap::values_mut).flat_map(|pending| &mut pending.holds);
        let holds = pending.chain(&mut self.barrier).chain(self.leaving.values_mut().flatten());
        for (holder, hold) in holds {
            shorten(holder, &mut hold.until);
        }
        if is_shortened {
            self.note_earliest(Some(until));
        }
        for holder in self.holders.keys().filter(|holder| is_over(holder)) {
            self.over.entry(holder.clone()).or_insert(until);
        }
    }

    /// The holder has dropped all leases that it had asked for before it said so. Gives whether it may be forgotten.
    pub fn returned(&mut self, by: &Holder, said: Said) -> bool {
        for leases in self.leases.values_mut() {
            if leases.get(by).is_some_and(|lent| lent.asked <= said) {
                leases.remove(by);
            }
        }
        let pending = self.pending.values_mut().flat_map(BTreeMap::values_mut).map(|pending| &mut pending.holds);
        for holds in pending.chain(self.leaving.values_mut()) {
            if holds.get(by).is_some_and(|hold| hold.asked <= said) {
                holds.remove(by);
            }
        }
        // What an earlier memory lent may have been asked for after this was said: a word may come late.
        let is_over = !self.barrier.contains_key(by)
            && !self.leases.values().any(|leases| leases.contains_key(by))
            && !self.leaving.values().any(|holds| holds.contains_key(by));
        if is_over {
            self.over.remove(by);
        }
        is_over && self.holders.remove(by).is_some()
    }

    /// A revocation did not arrive.
    pub fn undelivered(&mut self, now: UnixMillis, broker: &BrokerId) {
        let waits = |holds: &BTreeMap<Holder, Hold>| holds.keys().any(|(of, _)| of == broker);
        let is_awaited = self.pending.values().flat_map(BTreeMap::values).any(|pending| waits(&pending.holds))
            || self.leaving.values().any(waits)
            || !self.pending.is_empty() && waits(&self.barrier);
        if is_awaited {
            self.retries.insert(broker.clone(), now.plus_millis(self.retry_millis));
        }
        // Whoever waits for any of these next has it sent again.
        for hold in self.barrier.iter_mut().filter(|((of, _), _)| of == broker).map(|(_, hold)| hold) {
            hold.sequence = None;
        }
        for (_, lent) in self.leases.values_mut().flatten().filter(|((of, _), _)| of == broker) {
            lent.revoked = None;
        }
    }

    /// Ends what has waited long enough and sends revocations again that did not arrive.
    pub fn settle(&mut self, now: UnixMillis) {
        if self.earliest.is_some_and(|at| at <= now) {
            self.barrier.retain(|_, hold| hold.until > now);
            for pending in self.pending.values_mut().flat_map(BTreeMap::values_mut) {
                pending.holds.retain(|_, hold| hold.until > now);
            }
            for holds in self.leaving.values_mut() {
                holds.retain(|_, hold| hold.until > now);
            }
            self.collect(now);
        }
        let due: Vec<BrokerId> =
            self.retries.iter().filter(|(_, at)| **at <= now).map(|(broker, _)| broker.clone()).collect();
        for broker in due {
            self.retries.remove(&broker);
            self.send_again(&broker);
        }
    }

    /// When [`Self::settle`] or [`Self::purge`] has something to do.
    pub fn next_timeout(&self) -> Option<UnixMillis> {
        // While there are rows of those, each memory would wait for them anew.
        let over = self.over.values().copied().min();
        let waits = self.earliest.into_iter().chain(self.retries.values().copied()).filter(|_| !self.is_idle());
        waits.chain(over).min()
    }

    /// Drops leases that have ended. Gives the holders to forget: those of epochs that are over as soon as they use no
    /// lease any more, the others from time to time.
    pub fn purge(&mut self, now: UnixMillis) -> Vec<Holder> {
        let mut forgotten = Vec::new();
        self.over.retain(|holder, until| {
            let is_over = *until <= now;
            if is_over {
                forgotten.push(holder.clone());
            }
            !is_over
        });
        for holder in &forgotten {
            self.holders.remove(holder);
            self.barrier.remove(holder);
            for leases in self.leases.values_mut() {
                leases.remove(holder);
            }
        }
        if now < self.purge_at {
            return forgotten;
        }
        self.purge_at = now.plus_millis(self.lease_millis);
        self.leases.retain(|_, leases| {
            leases.retain(|_, lent| lent.until > now);
            !leases.is_empty()
        });
        let is_over = |until: &UnixMillis| until.plus_millis(self.forget_millis) <= now;
        let over: Vec<Holder> =
            self.holders.iter().filter(|(_, until)| is_over(until)).map(|(holder, _)| holder.clone()).collect();
        for holder in &over {
            self.holders.remove(holder);
            self.barrier.remove(holder);
            self.over.remove(holder);
        }
        forgotten.extend(over);
        forgotten
    }

    /// A virtual shard leaves: its leases are revoked, and nothing of it is confirmed here any more.
    pub fn leave(&mut self, now: UnixMillis, shard: u16) {
        self.pending.retain(|node, _| store::shard_of_node(node) != shard);
        self.barrier.retain(|_, hold| hold.until > now);
        self.raise_barrier(None);
        let mut holds = self.barrier.clone();
        let mut told: BTreeMap<BrokerId, u64> = BTreeMap::new();
        for (_, leases) in self.leases.iter().filter(|(node, _)| store::shard_of_node(node) == shard) {
            for (holder, lent) in leases.iter().filter(|(_, lent)| lent.until > now) {
                let sequence = *told.entry(holder.0.clone()).or_insert_with(|| {
                    self.sequence += 1;
                    self.revocations.push(Revocation {
                        broker: holder.0.clone(),
                        nodes: None,
                        sequence: self.sequence,
                    });
                    self.sequence
                });
                let hold = holds.entry(holder.clone()).or_insert(Hold {
                    until: lent.until,
                    asked: lent.asked,
                    sequence: None,
                });
                *hold = Hold {
                    until: hold.until.max(lent.until),
                    asked: hold.asked.max(lent.asked),
                    sequence: Some(sequence),
                };
            }
        }
        self.note_earliest(holds.values().map(|hold| hold.until).min());
        self.leaving.insert(shard, holds);
    }

    /// For how long leases of a virtual shard that leaves may be used, in milliseconds.
    pub fn leaving_millis(&self, now: UnixMillis, shard: u16) -> u64 {
        let holds = self.leaving.get(&shard).into_iter().flat_map(BTreeMap::values);
        holds.map(|hold| hold.until.millis_since(now)).max().unwrap_or(0)
    }

    /// The virtual shard has left.
    pub fn left(&mut self, shard: u16) {
        self.leaving.remove(&shard);
        self.leases.retain(|node, _| store::shard_of_node(node) != shard);
    }

    fn send_again(&mut self, broker: &BrokerId) {
        let is_of = |holder: &Holder| holder.0 == *broker;
        self.sequence += 1;
        let sequence = self.sequence;
        let mut all = false;
        let mut nodes = Vec::new();
        let again = |holds: &mut BTreeMap<Holder, Hold>| {
            let mut any = false;
            for (_, hold) in holds.iter_mut().filter(|(holder, _)| is_of(holder)) {
                hold.sequence = Some(sequence);
                any = true;
            }
            any
        };
        for (node, keys) in &mut self.pending {
            let mut any = false;
            for pending in keys.values_mut() {
                any |= again(&mut pending.holds);
            }
            if any {
                nodes.push(node.clone());
            }
        }
        for holds in self.leaving.values_mut() {
            all |= again(holds);
        }
        if self.pending.values().any(|keys| !keys.is_empty()) {
            all |= again(&mut self.barrier);
        }
        for node in &nodes {
            for (_, lent) in self.leases.get_mut(node).into_iter().flatten().filter(|(holder, _)| is_of(holder)) {
                lent.revoked = Some(sequence);
            }
        }
        if all || !nodes.is_empty() {
            let nodes = (!all).then_some(nodes);
            self.revocations.push(Revocation { broker: broker.clone(), nodes, sequence });
        }
    }

    /// Moves what is done from `pending` to `complete`.
    pub fn collect(&mut self, now: UnixMillis) {
        let (barrier, complete) = (&self.barrier, &mut self.complete);
        let mut earliest: Option<UnixMillis> = None;
        self.pending.retain(|_, keys| {
            keys.retain(|_, pending| {
                if pending.is_done(now, barrier) {
                    complete.append(&mut pending.askers.iter().cloned().collect());
                    return false;
                }
                earliest = earliest.into_iter().chain(pending.deadline(now)).min();
                true
            });
            !keys.is_empty()
        });
        let others = self.leaving.values().chain((!self.pending.is_empty()).then_some(&self.barrier));
        let others = others.flat_map(BTreeMap::values).map(|hold| hold.until);
        self.earliest = others.chain(earliest).min();
    }

    fn note_earliest(&mut self, at: Option<UnixMillis>) {
        self.earliest = self.earliest.into_iter().chain(at).min();
    }
}

impl Pending {
    fn is_done(&self, now: UnixMillis, barrier: &BTreeMap<Holder, Hold>) -> bool {
        self.holds.is_empty()
            && self.not_before <= now
            && barrier.keys().all(|holder| self.exempt.as_ref() == Some(holder))
    }

    /// When it could be done at the earliest if nobody says anything.
    fn deadline(&self, now: UnixMillis) -> Option<UnixMillis> {
        let not_before = (self.not_before > now).then_some(self.not_before);
        self.holds.values().map(|hold| hold.until).chain(not_before).min()
    }
}
