//! The simulated clock, and what is going to happen.

use iot_types::UnixMillis;
use std::collections::BTreeMap;

/// A clock that moves only when something happens.
#[derive(Clone, Copy, Debug)]
pub struct SimClock {
    now: UnixMillis,
}

impl SimClock {
    /// The simulated time.
    #[must_use]
    pub const fn now(&self) -> UnixMillis {
        self.now
    }
}

/// Events by time, then by the order of their making.
#[derive(Debug)]
pub struct Schedule<E> {
    clock: SimClock,
    events: BTreeMap<(UnixMillis, u64), E>,
    sequence: u64,
}

impl<E> Schedule<E> {
    pub const fn new(start: UnixMillis) -> Self {
        Self { clock: SimClock { now: start }, events: BTreeMap::new(), sequence: 0 }
    }

    pub const fn clock(&self) -> SimClock {
        self.clock
    }

    pub fn at(&mut self, at: UnixMillis, event: E) {
        self.sequence += 1;
        self.events.insert((at.max(self.clock.now), self.sequence), event);
    }

    /// The next event no later than `limit`; the clock moves to its time.
    pub fn pop(&mut self, limit: UnixMillis) -> Option<E> {
        let entry = self.events.first_entry()?;
        let (at, _) = *entry.key();
        if at > limit {
            return None;
        }
        self.clock.now = at;
        Some(entry.remove())
    }

    pub fn advance_to(&mut self, at: UnixMillis) {
        self.clock.now = self.clock.now.max(at);
    }

    pub fn any(&self, of_interest: impl Fn(&E) -> bool) -> bool {
        self.events.values().any(of_interest)
    }

    pub fn retain(&mut self, keep: impl Fn(&E) -> bool) {
        self.events.retain(|_, event| keep(event));
    }
}
