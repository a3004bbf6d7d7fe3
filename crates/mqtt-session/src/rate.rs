//! How much a client may send in a time: a token bucket.

use iot_types::UnixMillis;

/// A rate, and what may come at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// On average.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

/// What is left of a [`RateLimit`]. Begins full.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// Thousandths of what has been taken and not grown again.
    taken: u64,
    at: UnixMillis,
}

impl Bucket {
    /// Takes `amount`; `false`, and nothing is taken, if there is not so much. More than the whole burst is never there.
    pub(crate) fn take(&mut self, limit: RateLimit, amount: usize, now: UnixMillis) -> bool {
        let grown = now.millis_since(self.at).saturating_mul(limit.per_second.into());
        self.taken = self.taken.saturating_sub(grown);
        self.at = now.max(self.at);
        let amount = u64::try_from(amount).unwrap_or(u64::MAX).saturating_mul(1_000);
        let taken = self.taken.saturating_add(amount);
        let fits = taken <= u64::from(limit.burst) * 1_000;
        if fits {
            self.taken = taken;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_may_come_at_once_and_then_the_average() {
        let limit = RateLimit { per_second: 10, burst: 3 };
        let mut bucket = Bucket::default();
        let at = |millis: u64| UnixMillis(1_700_000_000_000 + millis);
        for (millis, amount, fits) in [
            (0, 2, true),
            (0, 1, true),
            (0, 1, false),
            (99, 1, false),
            (100, 1, true),
            (100, 1, false),
            (9_000, 4, false),
            (9_000, 3, true),
        ] {
            assert_eq!(bucket.take(limit, amount, at(millis)), fits, "at {millis}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let limit = RateLimit { per_second: 1, burst: 1 };
        let mut bucket = Bucket::default();
        assert!(bucket.take(limit, 1, UnixMillis(10_000)));
        assert!(!bucket.take(limit, 1, UnixMillis(0)));
        assert!(!bucket.take(limit, 1, UnixMillis(10_999)));
        assert!(bucket.take(limit, 1, UnixMillis(11_000)));
    }
}
