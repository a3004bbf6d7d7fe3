//! When a Broker reports to its pool: when it matters, and rarely.

use crate::protocol::{BrokerReport, BuildId};
use crate::settings::ReportSettings;
use iot_types::UnixMillis;
use serde::{Deserialize, Serialize};

/// What the pool was last told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    connections: u32,
    epoch: u64,
    build: BuildId,
    at: UnixMillis,
}

impl Told {
    const FORMAT: u8 = 1;

    /// The bytes to store.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Four numbers always have a form.
        postcard::to_extend(self, vec![Self::FORMAT]).unwrap_or_default()
    }

    /// Reads stored bytes. What can't be read, the pool is told anew.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&Self::FORMAT, bytes) = bytes.split_first()? else { return None };
        postcard::from_bytes(bytes).ok()
    }
}

/// Decides when a Broker reports.
///
/// [`Self::told`] is stored in a row with each report and given back to [`Self::new`]: a Broker that wakes for a
/// PINGREQ must not report merely because it forgot that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportPolicy {
    settings: ReportSettings,
    told: Option<Told>,
    refused_full: u32,
    /// A report is on its way: no other before it has arrived or failed.
    is_reporting: bool,
    /// The last attempt, which may have failed.
    tried: Option<UnixMillis>,
}

impl ReportPolicy {
    /// For a Broker that has just begun, with what is stored.
    #[must_use]
    pub const fn new(settings: ReportSettings, told: Option<Told>) -> Self {
        Self { settings, told, refused_full: 0, is_reporting: false, tried: None }
    }

    /// What to store.
    #[must_use]
    pub const fn told(&self) -> Option<Told> {
        self.told
    }

    /// An upgrade was refused because the Broker is full.
    pub const fn refused_full(&mut self) {
        self.refused_full = self.refused_full.saturating_add(1);
    }

    /// When a report is due, given how things are now (`refused_full` is not looked at) and whether the Broker is being drained. `None`: not unless something
    /// changes. To be asked after each event that opens, closes or refuses a connection, and after a wake. While a
    /// report is due soon, the Broker counts as busy, so that it doesn't sleep on it.
    #[must_use]
    pub fn due(&self, now: UnixMillis, state: &BrokerReport, is_draining: bool) -> Option<UnixMillis> {
        if self.is_reporting {
            return None;
        }
        let earliest = |every: u64| self.tried.map_or(now, |at| at.plus_millis(every).max(now));
        let Some(told) = self.told else { return Some(earliest(self.settings.every_millis)) };
        if self.refused_full > 0 {
            return Some(earliest(self.settings.urgent_every_millis));
        }
        // Three clients that come and go are nobody's business.
        let step = (u64::from(state.capacity) * u64::from(self.settings.change_percent) / 100).max(1);
        let (is, was) = (u64::from(state.connections), u64::from(told.connections));
        // That there is anybody matters, since a Broker that seems to be empty is neither told of a deploy nor sent
        // what all Brokers are told. That nobody is left matters to a drain.
        let changed = is.abs_diff(was) >= step || is > 0 && was == 0 || is == 0 && was > 0 && is_draining;
        if changed || told.epoch != state.epoch || told.build != state.instance.build {
            return Some(earliest(self.settings.every_millis).max(told.at.plus_millis(self.settings.every_millis)));
        }
        let is_old = now.millis_since(told.at) >= self.settings.refresh_millis;
        (is_old && is >= step).then(|| earliest(self.settings.every_millis))
    }

    /// A report leaves now: the same with what was refused since the last.
    #[must_use]
    pub fn begin(&mut self, now: UnixMillis, state: BrokerReport) -> BrokerReport {
        self.is_reporting = true;
        self.tried = Some(now);
        BrokerReport { refused_full: self.refused_full, ..state }
    }

    /// The pool has it.
    pub fn arrived(&mut self, now: UnixMillis, report: &BrokerReport) {
        self.is_reporting = false;
        self.refused_full = self.refused_full.saturating_sub(report.refused_full);
        self.told =
            Some(Told { connections: report.connections, epoch: report.epoch, build: report.instance.build, at: now });
    }

    /// It didn't arrive. What it said is said again with the next.
    pub const fn failed(&mut self) {
        self.is_reporting = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Instance;

    fn state(connections: u32) -> BrokerReport {
        let instance = Instance { build: BuildId(1), started: UnixMillis(0) };
        BrokerReport { index: 0, epoch: 1, instance, connections, capacity: 2_000, refused_full: 0 }
    }

    fn told_at(at: u64, connections: u32) -> ReportPolicy {
        let mut policy = ReportPolicy::new(ReportSettings::STANDARD, None);
        let report = policy.begin(UnixMillis(at), state(connections));
        policy.arrived(UnixMillis(at), &report);
        policy
    }

    #[test]
    fn reports_are_due_when_something_matters() {
        let other_build = BrokerReport { instance: Instance { build: BuildId(2), ..Instance::default() }, ..state(1) };
        for (told, now, state, due) in [
            (1_000, 10_000, state(1_100), None),
            (1_000, 10_000, state(1_199), None),
            (1_000, 10_000, state(1_200), Some(10_000)),
            (1_000, 10_000, state(800), Some(10_000)),
            (1_000, 2_000, state(800), Some(5_000)),
            (100, 10_000, state(0), None),
            (0, 10_000, state(100), Some(10_000)),
            (1, 10_000, other_build, Some(10_000)),
            (1, 10_000, BrokerReport { epoch: 2, ..state(1) }, Some(10_000)),
            (1_000, 1_900_000, state(1_000), Some(1_900_000)),
            (100, 1_900_000, state(100), None),
        ] {
            let policy = told_at(0, told);
            assert_eq!(policy.due(UnixMillis(now), &state, false), due.map(UnixMillis), "{told} {now} {state:?}");
        }
    }

    #[test]
    fn a_drained_broker_says_that_nobody_is_left() {
        assert_eq!(told_at(0, 100).due(UnixMillis(9_000), &state(0), true), Some(UnixMillis(9_000)));
        assert_eq!(told_at(0, 0).due(UnixMillis(9_000), &state(0), true), None);
    }

    #[test]
    fn the_first_report_is_due_at_once() {
        let policy = ReportPolicy::new(ReportSettings::STANDARD, None);
        assert_eq!(policy.due(UnixMillis(7), &state(1), false), Some(UnixMillis(7)));
    }

    #[test]
    fn what_was_told_survives_its_row() {
        let told = told_at(300, 1_000).told().unwrap();
        assert_eq!(told.encode(), [1, 0xe8, 0x07, 1, 1, 0xac, 0x02], "the stored form");
        assert_eq!(Told::decode(&told.encode()), Some(told));
        for damaged in [&[] as &[u8], &[1], &[2, 0, 0, 0, 0]] {
            assert_eq!(Told::decode(damaged), None);
        }
    }

    #[test]
    fn a_sleep_does_not_make_a_report_due() {
        let policy = ReportPolicy::new(ReportSettings::STANDARD, told_at(0, 1_000).told());
        assert_eq!(policy.due(UnixMillis(20_000), &state(1_000), false), None);
    }

    #[test]
    fn refusals_are_urgent_counted_and_not_lost_with_a_failed_report() {
        let mut policy = told_at(0, 2_000);
        policy.refused_full();
        policy.refused_full();
        assert_eq!(policy.due(UnixMillis(500), &state(2_000), false), Some(UnixMillis(2_000)));
        assert_eq!(policy.begin(UnixMillis(2_000), state(2_000)).refused_full, 2);
        assert_eq!(policy.due(UnixMillis(2_100), &state(0), false), None, "one at a time");
        policy.failed();
        policy.refused_full();
        assert_eq!(policy.due(UnixMillis(2_100), &state(2_000), false), Some(UnixMillis(4_000)));
        let report = policy.begin(UnixMillis(4_000), state(2_000));
        assert_eq!(report.refused_full, 3);
        policy.refused_full();
        policy.arrived(UnixMillis(4_050), &report);
        assert_eq!(policy.begin(UnixMillis(9_000), state(2_000)).refused_full, 1);
    }
}
