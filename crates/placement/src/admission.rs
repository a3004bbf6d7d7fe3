//! What a Broker lets in: as many connections as it has room for, and only so many a second.
//!
//! A refused upgrade books a place in a queue that exists only as a number: the wait it is told is how long the queue
//! would take at the admitted rate. So when 100 000 clients come at once, each is told another moment, and when few do,
//! nobody waits for long. Gateways that were refused don't ask again for a while ([`Refusal::hold_millis`]) and answer
//! themselves, so that the refusing costs the Broker little.

use crate::drain::Drain;
use crate::protocol::{BuildId, Directive};
use crate::settings::AdmissionSettings;
use core::fmt;
use iot_types::UnixMillis;

/// CONNACK reason code of 5.0 for a CONNECT that comes too soon after others: *Connection rate exceeded*. 3.1.1 has
/// return code 3, *Server unavailable*.
pub const CONNECTION_RATE_EXCEEDED: u8 = 0x9F;

/// The header beside `Retry-After` in which a Broker tells the Gateway why it answered 503. Not for clients.
pub const REFUSED_HEADER: &str = "x-umbra-refused";

/// A token bucket that tells the refused when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectBucket {
    per_second: u64,
    burst_milli: u64,
    longest_wait_millis: u64,
    /// Thousandths of a token.
    milli: u64,
    /// Thousandths of a place in the queue of those who were told to come back and are not yet due.
    booked_milli: u64,
    at: UnixMillis,
}

impl ConnectBucket {
    /// A full bucket. Zero a second counts as one.
    #[must_use]
    pub fn new(per_second: u32, burst: u32, longest_wait_millis: u64, now: UnixMillis) -> Self {
        let burst_milli = u64::from(burst.max(1)) * 1_000;
        let per_second = u64::from(per_second.max(1));
        Self { per_second, burst_milli, longest_wait_millis, milli: burst_milli, booked_milli: 0, at: now }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// The milliseconds after which the one that was refused would be served, after all that were refused before it.
    pub fn take(&mut self, now: UnixMillis) -> Result<(), u64> {
        // Tokens a second are thousandths of a token a millisecond.
        let gained = now.millis_since(self.at).saturating_mul(self.per_second);
        self.at = self.at.max(now);
        self.milli = self.milli.saturating_add(gained).min(self.burst_milli);
        self.booked_milli = self.booked_milli.saturating_sub(gained);
        if self.milli >= 1_000 {
            self.milli -= 1_000;
            return Ok(());
        }
        // Beyond the longest wait, booking would only make those wait who come when the flood is over.
        let most = self.longest_wait_millis.saturating_mul(self.per_second);
        self.booked_milli = self.booked_milli.saturating_add(1_000).min(most);
        Err(self.booked_milli.div_ceil(self.per_second))
    }
}

/// Why an upgrade was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// It has all the connections it may have.
    Full,
    /// Too many in this second.
    Busy,
    /// It is being drained.
    Draining,
}

/// An upgrade that was refused: 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// `Retry-After`, for a client that has no other Broker to go to.
    pub retry_after_secs: u32,
    /// For how long the Gateway needn't ask this Broker again.
    pub hold_millis: u32,
}

impl fmt::Display for Refusal {
    /// The value of [`REFUSED_HEADER`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            RefusalReason::Full => "full",
            RefusalReason::Busy => "busy",
            RefusalReason::Draining => "draining",
        };
        write!(f, "{reason} {} {}", self.retry_after_secs, self.hold_millis)
    }
}

impl Refusal {
    /// Reads the value of [`REFUSED_HEADER`]. A 503 without one comes from the platform (*overloaded*) or from an older
    /// release: [`Refusal::OVERLOADED`].
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split(' ');
        let reason = match parts.next()? {
            "full" => RefusalReason::Full,
            "busy" => RefusalReason::Busy,
            "draining" => RefusalReason::Draining,
            _ => return None,
        };
        let retry_after_secs = parts.next()?.parse().ok()?;
        let hold_millis = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { reason, retry_after_secs, hold_millis })
    }

    /// An object that the platform gives no more requests, or that can't be reached.
    pub const OVERLOADED: Self = Self { reason: RefusalReason::Busy, retry_after_secs: 5, hold_millis: 5_000 };
}

/// A Broker's door. In memory only: after a restart it starts with a full bucket.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    settings: AdmissionSettings,
    upgrades: ConnectBucket,
    connects: ConnectBucket,
    drain: Option<Drain>,
    /// The second that is counted, what was refused in it, and in the one before.
    second: u64,
    refused: u32,
    refused_before: u32,
}

impl Admission {
    /// Open.
    #[must_use]
    pub fn new(settings: AdmissionSettings, now: UnixMillis) -> Self {
        let longest = u64::from(settings.longest_retry_secs) * 1_000;
        let (rate, burst) = (settings.connects_per_second, settings.connect_burst);
        Self {
            settings,
            upgrades: ConnectBucket::new(rate, burst, longest, now),
            // Twice as much: who was let in evenly never meets it, whatever the network does to the CONNECTs.
            connects: ConnectBucket::new(rate.saturating_mul(2), burst.saturating_mul(2), longest, now),
            drain: None,
            second: now.as_secs(),
            refused: 0,
            refused_before: 0,
        }
    }

    /// Does what the pool says. `at_least_millis` is the least time for a drain.
    pub fn obey(&mut self, now: UnixMillis, directive: Directive, build: BuildId, at_least_millis: u64) {
        match directive {
            Directive::Serve => self.drain = None,
            // Told again: the moments of its connections must not move.
            Directive::Drain(order) if self.drain.is_some_and(|drain| drain.order() == order) => {}
            Directive::Drain(order) => self.drain = Drain::begin(order, now, build, at_least_millis),
        }
    }

    /// The drain that is going on.
    #[must_use]
    pub const fn drain(&self) -> Option<&Drain> {
        self.drain.as_ref()
    }

    /// Whether an upgrade may come in, with so many connections open.
    ///
    /// # Errors
    /// [`Refusal`], for a 503. If it says *full*, [`ReportPolicy::refused_full`](crate::ReportPolicy::refused_full) is
    /// to be told.
    pub fn upgrade(&mut self, now: UnixMillis, connections: u32) -> Result<(), Refusal> {
        let (least, most) = self.settings.hold_millis;
        if self.drain.is_some() {
            // The Gateway looks for a newer view, which no longer has this Broker.
            return Err(Refusal { reason: RefusalReason::Draining, retry_after_secs: 1, hold_millis: most });
        }
        if connections >= self.settings.capacity {
            let hold_millis = self.hold(now).max(most / 2).clamp(least, most);
            let retry_after_secs = self.settings.full_retry_secs;
            return Err(Refusal { reason: RefusalReason::Full, retry_after_secs, hold_millis });
        }
        self.upgrades.take(now).map_err(|wait| {
            let retry_after_secs = u32::try_from(wait.div_ceil(1_000)).unwrap_or(u32::MAX).max(1);
            Refusal { reason: RefusalReason::Busy, retry_after_secs, hold_millis: self.hold(now) }
        })
    }

    /// Whether a CONNECT may be answered now. Sockets are opened at the admitted rate, but nothing keeps their clients
    /// from all sending CONNECT at the same moment.
    ///
    /// # Errors
    /// [`CONNECTION_RATE_EXCEEDED`], for the CONNACK.
    pub fn connect(&mut self, now: UnixMillis) -> Result<(), u8> {
        self.connects.take(now).map_err(|_| CONNECTION_RATE_EXCEEDED)
    }

    /// Counts a refusal and tells for how long the Gateway should not ask again: longer when refusing is itself a
    /// burden, since nobody knows how many Gateways there are.
    fn hold(&mut self, now: UnixMillis) -> u32 {
        let second = now.as_secs();
        if second != self.second {
            self.refused_before = if second == self.second + 1 { self.refused } else { 0 };
            (self.second, self.refused) = (second, 0);
        }
        self.refused = self.refused.saturating_add(1);
        let (least, most) = self.settings.hold_millis;
        let rate = u64::from(self.refused.max(self.refused_before));
        let bearable = u64::from(self.settings.bearable_refusals_per_second.max(1));
        u32::try_from(u64::from(least) * rate / bearable).unwrap_or(most).clamp(least, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::DrainOrder;
    use proptest::prelude::*;

    #[test]
    fn a_rested_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = ConnectBucket::new(100, 200, 120_000, UnixMillis(0));
        assert_eq!((0..1_000).filter(|_| bucket.take(UnixMillis(0)).is_ok()).count(), 200);
        assert_eq!((0..1_000).filter(|_| bucket.take(UnixMillis(1_000)).is_ok()).count(), 100);
        assert_eq!((0..1_000).filter(|_| bucket.take(UnixMillis(1_005)).is_ok()).count(), 0);
        assert_eq!((0..1_000).filter(|_| bucket.take(UnixMillis(1_010)).is_ok()).count(), 1);
        assert_eq!((0..1_000).filter(|_| bucket.take(UnixMillis(900)).is_ok()).count(), 0, "a clock that goes back");
    }

    #[test]
    fn the_refused_are_told_moments_one_after_the_other() {
        let mut bucket = ConnectBucket::new(100, 1, 120_000, UnixMillis(0));
        bucket.take(UnixMillis(0)).unwrap();
        let waits: Vec<u64> = (0..2_000).map(|_| bucket.take(UnixMillis(0)).unwrap_err()).collect();
        assert_eq!((waits[0], waits[99], waits[1_999]), (10, 1_000, 20_000));
        assert!(waits.is_sorted());
        // Those who were told a second have been and gone.
        let mut tries = (0..2_000).map(|_| bucket.take(UnixMillis(1_010)));
        assert_eq!(tries.find_map(Result::err), Some(20_000 - 1_010 + 10));
    }

    #[test]
    fn nobody_is_told_to_wait_for_longer_than_the_longest() {
        let mut bucket = ConnectBucket::new(1, 1, 5_000, UnixMillis(0));
        let longest = (0..100).filter_map(|_| bucket.take(UnixMillis(0)).err()).max();
        assert_eq!(longest, Some(5_000));
    }

    #[test]
    fn a_full_or_drained_broker_refuses_before_it_takes_a_token() {
        let mut admission = Admission::new(AdmissionSettings::STANDARD, UnixMillis(0));
        let reason = |admission: &mut Admission, connections| {
            admission.upgrade(UnixMillis(0), connections).err().map(|refusal| refusal.reason)
        };
        assert_eq!(reason(&mut admission, 1_999), None);
        assert_eq!(reason(&mut admission, 2_000), Some(RefusalReason::Full));
        let order = DrainOrder { from: UnixMillis(0), until: UnixMillis(9), unless_build: Some(BuildId(2)) };
        admission.obey(UnixMillis(0), Directive::Drain(order), BuildId(1), 30_000);
        assert_eq!(reason(&mut admission, 0), Some(RefusalReason::Draining));
        let drain = *admission.drain().unwrap();
        admission.obey(UnixMillis(5_000), Directive::Drain(order), BuildId(1), 30_000);
        assert_eq!(admission.drain(), Some(&drain), "told twice, begun once");
        admission.obey(UnixMillis(0), Directive::Serve, BuildId(1), 30_000);
        assert_eq!((0..500).filter(|_| reason(&mut admission, 0).is_none()).count(), 199);
        assert_eq!(reason(&mut admission, 0), Some(RefusalReason::Busy));
    }

    #[test]
    fn a_broker_that_runs_the_wanted_build_keeps_serving() {
        let mut admission = Admission::new(AdmissionSettings::STANDARD, UnixMillis(0));
        let order = DrainOrder { from: UnixMillis(0), until: UnixMillis(9), unless_build: Some(BuildId(2)) };
        admission.obey(UnixMillis(0), Directive::Drain(order), BuildId(2), 30_000);
        assert_eq!(admission.upgrade(UnixMillis(0), 0), Ok(()));
    }

    #[test]
    fn connects_at_once_on_open_sockets_are_refused_with_0x9f() {
        let mut admission = Admission::new(AdmissionSettings::STANDARD, UnixMillis(0));
        let answers: Vec<Result<(), u8>> = (0..500).map(|_| admission.connect(UnixMillis(0))).collect();
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 400);
        assert_eq!(answers[499], Err(0x9F));
    }

    #[test]
    fn gateways_are_held_back_for_longer_when_many_ask() {
        let mut admission = Admission::new(AdmissionSettings::STANDARD, UnixMillis(0));
        let mut last = |now, tries: u32| {
            (0..tries).filter_map(|_| admission.upgrade(UnixMillis(now), 0).err()).last().unwrap().hold_millis
        };
        assert_eq!(last(0, 300), 1_000);
        assert_eq!(last(500, 1_050), 5_500);
        assert_eq!(last(1_000, 60), 5_500, "the second before counts");
        assert_eq!(last(2_000, 110), 1_000);
        assert_eq!(last(2_500, 9_000), 10_000);
    }

    proptest! {
        #[test]
        fn refusals_survive_the_way_through_a_header(reason in 0..3_u8, retry_after_secs: u32, hold_millis: u32) {
            let reason = [RefusalReason::Full, RefusalReason::Busy, RefusalReason::Draining][usize::from(reason)];
            let refusal = Refusal { reason, retry_after_secs, hold_millis };
            prop_assert_eq!(Refusal::parse(&refusal.to_string()), Some(refusal));
        }

        #[test]
        fn no_second_admits_more_than_rate_and_burst(gaps in prop::collection::vec(0..50_u64, 1..500)) {
            let mut bucket = ConnectBucket::new(100, 20, 10_000, UnixMillis(0));
            let mut now = 0;
            let mut admitted = Vec::new();
            for gap in gaps {
                now += gap;
                if bucket.take(UnixMillis(now)).is_ok() {
                    admitted.push(now);
                }
            }
            for (first, start) in admitted.iter().enumerate() {
                let within = admitted[first..].iter().take_while(|at| **at < start + 1_000).count();
                prop_assert!(within <= 120, "{within}");
            }
        }
    }

    #[test]
    fn other_texts_are_no_refusals() {
        for value in ["", "full", "full 1", "full x 2", "full 1 2 3", "closed 1 2"] {
            assert_eq!(Refusal::parse(value), None, "{value}");
        }
    }
}
