//! `BrokerPool`: how many Brokers a region has, and which of them are drained.
//!
//! A machine without I/O. The object that runs it gives it requests and timeouts, sends its orders
//! ([`Pool::poll_order`]), sets its alarm to [`Pool::next_timeout`] and stores [`Pool::take_snapshot`], one row, in the
//! same turn. Each report is stored: a Broker doesn't repeat what it believes to be known, and reports are rare.
//!
//! What isn't known counts against acting: a Broker that hasn't been heard of for long is empty when it comes to
//! growing, and as full as it was when it comes to shrinking.

mod member;
mod roll;
#[cfg(test)]
mod tests;

use crate::protocol::{
    BrokerLoad, BrokerReport, BrokerState, Directive, DrainOrder, Instance, PoolReply, PoolRequest, PoolView,
};
use crate::settings::PoolSettings;
use iot_types::UnixMillis;
use member::{Draining, Member, Purpose, State};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The version of the snapshot's format.
const FORMAT: u8 = 1;

/// A snapshot can't be read. The pool then begins anew with [`Pool::new`] and learns from the Brokers' reports; one
/// that it doesn't know of is drained as soon as it reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored pool can't be read")]
pub struct RestoreError;

/// An order for a Broker, to be sent as a request of its own. The answer is a report ([`Pool::answered`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// The Broker.
    pub index: u32,
    /// What it is to do.
    pub directive: Directive,
}

/// What is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    version: u64,
    members: Vec<Member>,
    /// The latest instance that was heard of: what it runs is what all should run.
    target: Instance,
    target_since: UnixMillis,
    grown: UnixMillis,
    /// Since when the region is so empty that it could shrink.
    low_since: Option<UnixMillis>,
}

/// The pool of one region.
#[derive(Clone, Debug)]
pub struct Pool {
    settings: PoolSettings,
    row: Row,
    is_dirty: bool,
    /// Brokers that were given an order which they have not been told yet.
    untold: BTreeSet<u32>,
    /// Upgrades refused for being full, by reports since the last step of growth or a little longer.
    refused: u64,
    refused_at: UnixMillis,
    /// When it last tried to drain a Broker for a deploy.
    rolled: UnixMillis,
}

impl Pool {
    /// A region that has never had a pool: the fewest Brokers, all active.
    #[must_use]
    pub fn new(settings: PoolSettings) -> Self {
        let row = Row {
            version: 1,
            members: vec![Member::new(); settings.minimum.max(1) as usize],
            target: Instance::default(),
            target_since: UnixMillis(0),
            grown: UnixMillis(0),
            low_since: None,
        };
        Self::of_row(settings, row, true)
    }

    /// Goes on from what was stored.
    ///
    /// # Errors
    /// [`RestoreError`] when that is no snapshot of this format.
    pub fn restore(settings: PoolSettings, snapshot: &[u8]) -> Result<Self, RestoreError> {
        let (FORMAT, bytes) = snapshot.split_first().map(|(format, bytes)| (*format, bytes)).ok_or(RestoreError)?
        else {
            return Err(RestoreError);
        };
        let row: Row = postcard::from_bytes(bytes).map_err(|_| RestoreError)?;
        Ok(Self::of_row(settings, row, false))
    }

    fn of_row(settings: PoolSettings, row: Row, is_dirty: bool) -> Self {
        let mut pool = Self {
            settings,
            row,
            is_dirty,
            untold: BTreeSet::new(),
            refused: 0,
            refused_at: UnixMillis(0),
            rolled: UnixMillis(0),
        };
        // `BROKERS` may have been raised since.
        while pool.serving() < u64::from(pool.settings.minimum.max(1)) {
            pool.open_one();
        }
        pool
    }

    /// Answers a request.
    pub fn handle(&mut self, now: UnixMillis, request: &PoolRequest) -> PoolReply {
        match request {
            PoolRequest::Report(report) => PoolReply::Directive(self.report(now, report)),
            PoolRequest::View(instance) => {
                self.note_instance(now, *instance);
                self.evaluate(now);
                PoolReply::View(self.view(now))
            }
        }
    }

    /// A Broker has answered an order with how it is. If it is to do something else by now, that is an order of its own:
    /// there is nothing to answer it with.
    pub fn answered(&mut self, now: UnixMillis, order: Order, report: &BrokerReport) {
        // Whatever it says, it is the Broker that was asked.
        let report = BrokerReport { index: order.index, ..*report };
        if self.report(now, &report) != order.directive {
            self.untold.insert(order.index);
        }
    }

    /// The alarm came.
    pub fn timeout(&mut self, now: UnixMillis) {
        self.evaluate(now);
    }

    /// The next order to send. To be polled until `None` after [`Self::handle`], [`Self::answered`] and
    /// [`Self::timeout`]. The answer goes to [`Self::answered`]. One that can't be delivered is forgotten by the sender:
    /// it comes again.
    #[must_use]
    pub fn poll_order(&mut self) -> Option<Order> {
        let index = self.untold.pop_first()?;
        let directive = self.directive(index);
        Some(Order { index, directive })
    }

    /// What to store, if it has to be stored. To be asked after the same calls.
    pub fn take_snapshot(&mut self) -> Option<Vec<u8>> {
        if !self.is_dirty {
            return None;
        }
        let bytes = postcard::to_extend(&self.row, vec![FORMAT]).ok()?;
        self.is_dirty = false;
        Some(bytes)
    }

    /// When to call [`Self::timeout`]; `None` when nothing will change by itself, which is how every pool ends up when
    /// nobody talks to it. To be asked after the same calls.
    #[must_use]
    pub fn next_timeout(&self, now: UnixMillis) -> Option<UnixMillis> {
        let drains = self.row.members.iter().filter_map(|member| member.next_timeout(&self.settings));
        let shrink = self
            .row
            .low_since
            .filter(|_| self.may_shrink(now))
            .map(|since| since.plus_millis(self.settings.shrink_after_millis));
        let grow = self.wants_to_grow(now).then(|| self.row.grown.plus_millis(self.settings.grow_every_millis));
        drains.chain(shrink).chain(grow).chain(self.next_roll_step(now)).min()
    }

    /// The region as Gateways see it.
    #[must_use]
    pub fn view(&self, now: UnixMillis) -> PoolView {
        let brokers = (0..).zip(&self.row.members).map(|(index, member)| BrokerLoad {
            index,
            state: match member.state {
                State::Active if self.is_straggler(member, now) => BrokerState::Leaving,
                State::Active => BrokerState::Active,
                State::Draining(_) => BrokerState::Draining,
                State::Retired => BrokerState::Retired,
            },
            percent: member.percent(now, &self.settings),
        });
        PoolView { version: self.row.version, brokers: brokers.collect() }
    }

    fn report(&mut self, now: UnixMillis, report: &BrokerReport) -> Directive {
        self.note_instance(now, report.instance);
        let position = report.index as usize;
        if position >= self.row.members.len() {
            if report.index >= self.settings.maximum.max(self.settings.minimum) {
                // Nobody sends it clients but a Gateway with a view of long ago.
                let until = now.plus_millis(self.settings.drain_at_least_millis);
                return Directive::Drain(DrainOrder { from: now, until, unless_build: None });
            }
            // From a time before a row was lost, or `BROKERS` was lowered: known from now on, to be drained below.
            self.row.members.resize(position + 1, Member::retired());
            self.changed();
        }
        if let Some(member) = self.row.members.get_mut(position) {
            if !member.heard(now, report) {
                return member.directive();
            }
            self.is_dirty = true;
            if member.state == State::Retired && report.connections > 0 {
                let until = now.plus_millis(self.settings.drain_at_least_millis);
                member.drain(DrainOrder { from: now, until, unless_build: None }, Purpose::Shrink, now);
                self.changed();
            }
        }
        if report.refused_full > 0 {
            self.refused = self.recently_refused(now).saturating_add(u64::from(report.refused_full));
            self.refused_at = now;
        }
        self.evaluate(now);
        // It is told with this answer.
        self.untold.remove(&report.index);
        self.directive(report.index)
    }

    fn directive(&self, index: u32) -> Directive {
        self.row.members.get(index as usize).map_or(Directive::Serve, Member::directive)
    }

    /// Does what is due.
    fn evaluate(&mut self, now: UnixMillis) {
        self.end_drains(now);
        self.grow(now);
        self.roll(now);
        self.shrink(now);
    }

    fn end_drains(&mut self, now: UnixMillis) {
        let (settings, target) = (self.settings, self.row.target.build);
        let mut is_changed = false;
        for (index, member) in (0..).zip(&mut self.row.members) {
            let State::Draining(draining) = &mut member.state else { continue };
            let is_over = match draining.purpose {
                Purpose::Deploy => {
                    member.load.instance.build == target
                        || draining.emptied.is_some_and(|at| now.millis_since(at) >= settings.comeback_millis)
                }
                Purpose::Shrink => draining.emptied.is_some(),
            };
            if is_over || draining.asks > settings.asks && now >= draining.asked.plus_millis(settings.ask_again_millis)
            {
                member.state = match draining.purpose {
                    Purpose::Deploy => State::Active,
                    Purpose::Shrink => State::Retired,
                };
                is_changed = true;
                match member.state {
                    // It may not have been restarted after all.
                    State::Active => self.untold.insert(index),
                    State::Draining(_) | State::Retired => self.untold.remove(&index),
                };
            } else if now >= draining.ask_at(&settings) && draining.emptied.is_none() {
                draining.asks += 1;
                draining.asked = now;
                self.untold.insert(index);
                self.is_dirty = true;
            }
        }
        if is_changed {
            self.changed();
        }
    }

    fn grow(&mut self, now: UnixMillis) {
        if !self.wants_to_grow(now) || now.millis_since(self.row.grown) < self.settings.grow_every_millis {
            return;
        }
        let serving = self.serving();
        let demand = self.connections(now, self.settings.stale_after_millis) + self.recently_refused(now);
        let each = u64::from(self.settings.capacity.max(1)) * u64::from(self.settings.grow_to_percent.max(1)) / 100;
        let needed = demand.div_ceil(each.max(1)).clamp(serving + 1, serving * 2);
        self.open(now, needed - serving);
        self.refused = 0;
    }

    fn wants_to_grow(&self, now: UnixMillis) -> bool {
        let demand = self.connections(now, self.settings.stale_after_millis) + self.recently_refused(now);
        !self.is_at_maximum() && demand * 100 >= self.capacity() * u64::from(self.settings.grow_at_percent)
    }

    /// Opens more Brokers, as far as the maximum allows: first those that were to go, then those that were, then new
    /// ones.
    fn open(&mut self, now: UnixMillis, count: u64) {
        let room = u64::from(self.settings.maximum).saturating_sub(self.committed());
        let count = count.min(room);
        for _ in 0..count {
            self.open_one();
        }
        if count > 0 {
            self.row.grown = now;
        }
    }

    fn open_one(&mut self) {
        let surplus =
            |member: &Member| matches!(member.state, State::Draining(Draining { purpose: Purpose::Shrink, .. }));
        let members = &mut self.row.members;
        let position = (members.iter().position(surplus))
            .or_else(|| members.iter().position(|member| member.state == State::Retired))
            .unwrap_or(members.len());
        match members.get_mut(position) {
            Some(member) => {
                member.state = State::Active;
                // It may still know that it is drained.
                self.untold.insert(position as u32);
            }
            None => members.push(Member::new()),
        }
        self.row.low_since = None;
        self.changed();
    }

    fn shrink(&mut self, now: UnixMillis) {
        if !self.may_shrink(now) {
            if self.row.low_since.take().is_some() {
                self.is_dirty = true;
            }
            return;
        }
        let percent = self.percent(now, self.settings.forget_after_millis);
        match self.row.low_since {
            None if percent < u64::from(self.settings.shrink_at_percent) => {
                self.row.low_since = Some(now);
                self.is_dirty = true;
            }
            None => {}
            Some(_) if percent >= u64::from(self.settings.shrink_not_at_percent) => {
                self.row.low_since = None;
                self.is_dirty = true;
            }
            Some(since) if now.millis_since(since) >= self.settings.shrink_after_millis => {
                self.row.low_since = None;
                self.is_dirty = true;
                self.close_surplus(now);
            }
            Some(_) => {}
        }
    }

    /// More Brokers than the fewest, and nothing under way that needs them.
    fn may_shrink(&self, now: UnixMillis) -> bool {
        self.serving() > u64::from(self.settings.minimum.max(1))
            && !self.row.members.iter().any(|member| matches!(member.state, State::Draining(_)))
            && !self.is_rolling(now)
    }

    /// Drains a quarter of the Brokers: the emptiest, since their clients have to move, and of equals the latest.
    /// Even one that seems to be empty is told: clients may have come since it reported.
    fn close_surplus(&mut self, now: UnixMillis) {
        let serving = self.serving();
        let count = (serving / 4).max(1).min(serving - u64::from(self.settings.minimum.max(1)).min(serving));
        let order =
            DrainOrder { from: now, until: now.plus_millis(self.settings.shrink_over_millis), unless_build: None };
        let within = self.settings.forget_after_millis;
        let members = (0_u32..).zip(&self.row.members).filter(|(_, member)| member.state == State::Active);
        let mut emptiest: Vec<(u32, core::cmp::Reverse<u32>)> =
            members.map(|(index, member)| (member.connections(now, within), core::cmp::Reverse(index))).collect();
        emptiest.sort_unstable();
        for (_, core::cmp::Reverse(index)) in emptiest.into_iter().take(count as usize) {
            if let Some(member) = self.row.members.get_mut(index as usize) {
                member.drain(order, Purpose::Shrink, now);
                self.untold.insert(index);
            }
        }
        self.changed();
    }

    /// Brokers that take connections.
    fn serving(&self) -> u64 {
        self.row.members.iter().filter(|member| member.state == State::Active).count() as u64
    }

    /// Those and the ones that will again when they are updated.
    fn committed(&self) -> u64 {
        self.serving() + self.row.members.iter().filter(|member| member.is_updating()).count() as u64
    }

    fn is_at_maximum(&self) -> bool {
        self.committed() >= u64::from(self.settings.maximum)
    }

    fn capacity(&self) -> u64 {
        let serving = self.row.members.iter().filter(|member| member.state == State::Active);
        serving.map(|member| u64::from(member.capacity(&self.settings))).sum::<u64>().max(1)
    }

    /// All connections of the region: those of drained Brokers will be looking for another.
    fn connections(&self, now: UnixMillis, within: u64) -> u64 {
        self.row.members.iter().map(|member| u64::from(member.connections(now, within))).sum()
    }

    fn percent(&self, now: UnixMillis, within: u64) -> u64 {
        self.connections(now, within) * 100 / self.capacity()
    }

    fn recently_refused(&self, now: UnixMillis) -> u64 {
        if now.millis_since(self.refused_at) < 2 * self.settings.grow_every_millis { self.refused } else { 0 }
    }

    fn changed(&mut self) {
        self.row.version += 1;
        self.is_dirty = true;
    }
}
