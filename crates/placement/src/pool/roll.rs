//! After a deploy: Brokers that run older code are drained a few at a time, so that each client moves once and to a
//! Broker that stays.
//!
//! The build to go to is that of the instance that began last, whoever it is: new memory is only made with what is
//! deployed. So a roll-back needs nothing of its own, and no order among builds.
//!
//! Gateways prefer Brokers that run the new code from the moment the pool knows of it (`BrokerState::Leaving` marks the
//! others). When these have no room for the clients of the next Broker to be drained, the pool opens as many more as
//! are drained at once; they are surplus afterwards, and shrinking takes care of it. The emptiest goes first: that
//! makes room with the least.

use super::Pool;
use super::member::{Member, Purpose, State};
use crate::protocol::{DrainOrder, Instance};
use crate::settings::MAXIMUM_DELAY_MILLIS;
use iot_types::UnixMillis;

impl Pool {
    /// Somebody tells what it runs, and since when.
    pub(super) fn note_instance(&mut self, now: UnixMillis, instance: Instance) {
        let target = &mut self.row.target;
        if instance.started <= target.started {
            return;
        }
        let is_new = instance.build != target.build;
        let is_first = target.started == UnixMillis(0);
        *target = instance;
        if is_new {
            // The first there ever was is no deploy: nobody runs anything older.
            self.row.target_since = if is_first { UnixMillis(0) } else { now };
            self.changed();
        }
    }

    /// Whether a Broker has clients, runs older code, and can still be drained for it.
    pub(super) fn is_straggler(&self, member: &Member, now: UnixMillis) -> bool {
        let target = self.row.target.build;
        member.state == State::Active
            && member.load.instance.build != target
            && member.drained_for != Some(target)
            && member.connections(now, self.settings.forget_after_millis) > 0
            && now < self.deadline()
    }

    /// Whether Brokers are being updated, or will be.
    pub(super) fn is_rolling(&self, now: UnixMillis) -> bool {
        self.row.members.iter().any(|member| self.is_straggler(member, now))
    }

    pub(super) fn next_roll_step(&self, now: UnixMillis) -> Option<UnixMillis> {
        let begins = self.row.target_since.plus_millis(self.settings.settle_millis);
        // While Brokers are drained, their reports and timeouts move it on; without any, it waits for room.
        if !self.is_rolling(now) || self.row.members.iter().any(Member::is_updating) {
            return None;
        }
        Some(begins.max(self.rolled.plus_millis(self.settings.grow_every_millis)))
    }

    /// Drains the next ones.
    pub(super) fn roll(&mut self, now: UnixMillis) {
        let begins = self.row.target_since.plus_millis(self.settings.settle_millis);
        if now < begins {
            return;
        }
        let mut stragglers: Vec<(u32, u32)> = (0..)
            .zip(&self.row.members)
            .filter(|(_, member)| self.is_straggler(member, now))
            .map(|(index, member)| (member.load.connections, index))
            .collect();
        if stragglers.is_empty() {
            return;
        }
        self.rolled = now;
        stragglers.sort_unstable();
        let drained = self.row.members.iter().filter(|member| member.is_updating()).count() as u64;
        let left = stragglers.len() as u64 + drained;
        // Counted from the beginning, so that it doesn't rise as the deadline comes nearer.
        let at_once = self.at_once(self.drained_for_target() + stragglers.len() as u64);
        for (connections, index) in stragglers.into_iter().take(at_once.saturating_sub(drained) as usize) {
            if !self.has_room_for(u64::from(connections), index, now) {
                let may_open = now.millis_since(self.row.grown) >= self.settings.grow_every_millis;
                if may_open && !self.is_at_maximum() {
                    self.open(now, at_once);
                } else {
                    return;
                }
            }
            // Gateways have to know of a new Broker before clients are sent there.
            let known = self.row.grown.plus_millis(self.settings.view_lag_millis);
            let from = known.max(now);
            let slice = self.slice(left, at_once, from);
            let order = DrainOrder { from, until: from.plus_millis(slice), unless_build: Some(self.row.target.build) };
            let target = self.row.target.build;
            if let Some(member) = self.row.members.get_mut(index as usize) {
                member.drain(order, Purpose::Deploy, now);
                member.drained_for = Some(target);
                self.untold.insert(index);
                self.changed();
            }
        }
    }

    /// Whether the other Brokers take the clients of this one: those that stay, or, at the maximum, all of them.
    fn has_room_for(&self, connections: u64, index: u32, now: UnixMillis) -> bool {
        let is_at_maximum = self.is_at_maximum();
        let on_their_way: u64 = self
            .row
            .members
            .iter()
            .filter(|member| member.is_updating())
            .map(|member| u64::from(member.load.connections))
            .sum();
        let room: u64 = (0..)
            .zip(&self.row.members)
            .filter(|(other, member)| *other != index && member.state == State::Active)
            .filter(|(_, member)| is_at_maximum || !self.is_straggler(member, now))
            .map(|(_, member)| {
                let within = self.settings.forget_after_millis;
                // Not to the brim: rendezvous hashing spreads them unevenly.
                let usable = u64::from(member.capacity(&self.settings)) * 9 / 10;
                usable.saturating_sub(u64::from(member.connections(now, within)))
            })
            .sum();
        room >= connections + on_their_way
    }

    /// How many of so many Brokers have to be drained at once to be done in time.
    fn at_once(&self, all: u64) -> u64 {
        let each = self.settings.drain_at_least_millis + self.settings.comeback_millis;
        let time = self.usable_delay().saturating_sub(self.settings.view_lag_millis).max(1);
        (all * each).div_ceil(time).clamp(1, all.max(1))
    }

    /// How long the next one may take: its share of the time that is left.
    fn slice(&self, left: u64, at_once: u64, from: UnixMillis) -> u64 {
        let rounds = left.div_ceil(at_once.max(1)).max(1);
        let share = self.deadline().millis_since(from) / rounds;
        share.saturating_sub(self.settings.comeback_millis).max(self.settings.drain_at_least_millis)
    }

    fn drained_for_target(&self) -> u64 {
        let target = Some(self.row.target.build);
        self.row.members.iter().filter(|member| member.drained_for == target).count() as u64
    }

    fn usable_delay(&self) -> u64 {
        self.settings.maximum_delay_millis.min(MAXIMUM_DELAY_MILLIS).saturating_sub(self.settings.settle_millis)
    }

    /// When the platform replaces what is left.
    fn deadline(&self) -> UnixMillis {
        self.row.target_since.plus_millis(self.usable_delay() + self.settings.settle_millis)
    }
}
