//! One Broker of the pool.

use crate::protocol::{BrokerReport, BuildId, Directive, DrainOrder, Instance};
use crate::settings::PoolSettings;
use iot_types::UnixMillis;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) state: State,
    pub(super) load: Load,
    /// The build that it was drained for: once for each, whether it came of it or not.
    pub(super) drained_for: Option<BuildId>,
}

/// The last report. All zero before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Load {
    pub(super) connections: u32,
    pub(super) capacity: u32,
    pub(super) epoch: u64,
    pub(super) instance: Instance,
    pub(super) heard: UnixMillis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    Active,
    Draining(Draining),
    Retired,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Draining {
    pub(super) order: DrainOrder,
    pub(super) purpose: Purpose,
    /// When the order was last given, and how often.
    pub(super) asked: UnixMillis,
    pub(super) asks: u8,
    /// Whether it has said anything since.
    is_heard: bool,
    /// When it said that it has no clients left.
    pub(super) emptied: Option<UnixMillis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Purpose {
    /// To be updated, and used again.
    Deploy,
    /// To be used no longer.
    Shrink,
}

impl Draining {
    /// When to repeat the order: soon if it was never answered, else when it should have been carried out.
    pub(super) fn ask_at(&self, settings: &PoolSettings) -> UnixMillis {
        let again = self.asked.plus_millis(settings.ask_again_millis);
        if self.is_heard { self.order.until.plus_millis(settings.ask_again_millis).max(again) } else { again }
    }
}

impl Member {
    pub(super) fn new() -> Self {
        Self { state: State::Active, load: Load::default(), drained_for: None }
    }

    pub(super) fn retired() -> Self {
        Self { state: State::Retired, ..Self::new() }
    }

    /// Takes a report; `false` when it is of an instance that is over.
    pub(super) fn heard(&mut self, now: UnixMillis, report: &BrokerReport) -> bool {
        let load = &self.load;
        if (report.epoch, report.instance.started) < (load.epoch, load.instance.started) {
            return false;
        }
        self.load = Load {
            connections: report.connections,
            capacity: report.capacity,
            epoch: report.epoch,
            instance: report.instance,
            heard: now,
        };
        if let State::Draining(draining) = &mut self.state {
            draining.is_heard = true;
            draining.emptied = (report.connections == 0).then(|| draining.emptied.unwrap_or(now));
        }
        true
    }

    pub(super) fn drain(&mut self, order: DrainOrder, purpose: Purpose, now: UnixMillis) {
        let draining = Draining { order, purpose, asked: now, asks: 1, is_heard: false, emptied: None };
        self.state = State::Draining(draining);
    }

    /// Whether it is drained to be updated, and will serve again.
    pub(super) const fn is_updating(&self) -> bool {
        matches!(self.state, State::Draining(Draining { purpose: Purpose::Deploy, .. }))
    }

    pub(super) const fn directive(&self) -> Directive {
        match &self.state {
            State::Draining(draining) => Directive::Drain(draining.order),
            State::Active => Directive::Serve,
            // It has emptied, and stays closed for Gateways with an old view.
            State::Retired => {
                Directive::Drain(DrainOrder { from: UnixMillis(0), until: UnixMillis(0), unless_build: None })
            }
        }
    }

    pub(super) fn next_timeout(&self, settings: &PoolSettings) -> Option<UnixMillis> {
        let State::Draining(draining) = &self.state else { return None };
        let give_up = draining.asked.plus_millis(settings.ask_again_millis);
        Some(match draining.emptied {
            Some(at) => at.plus_millis(settings.comeback_millis),
            None if draining.asks > settings.asks => give_up,
            None => draining.ask_at(settings),
        })
    }

    /// Its connections, if it was heard of within so many milliseconds.
    pub(super) fn connections(&self, now: UnixMillis, within: u64) -> u32 {
        if now.millis_since(self.load.heard) <= within { self.load.connections } else { 0 }
    }

    pub(super) const fn capacity(&self, settings: &PoolSettings) -> u32 {
        if self.load.capacity == 0 { settings.capacity } else { self.load.capacity }
    }

    pub(super) fn percent(&self, now: UnixMillis, settings: &PoolSettings) -> u8 {
        let connections = u64::from(self.connections(now, settings.stale_after_millis));
        let capacity = u64::from(self.capacity(settings).max(1));
        u8::try_from(connections * 100 / capacity).unwrap_or(100).min(100)
    }
}
