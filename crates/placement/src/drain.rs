//! Sending a Broker's clients elsewhere, each at its own moment.

use crate::hash::{below, combine};
use crate::protocol::{BuildId, DrainOrder};
use iot_types::UnixMillis;

/// DISCONNECT reason code for 5.0 clients of a Broker that is drained (MQTT 5.0 section 4.11): *Use another server*,
/// without a Server Reference, since the same address leads elsewhere. 3.1.1 has no DISCONNECT from the server: the
/// connection is closed ([MQTT-3.1.1 section 3.14]), and [`ADMINISTRATIVE_ACTION`] is what is logged.
pub const USE_ANOTHER_SERVER: u8 = 0x9C;

/// The reason in logs and lifecycle events when a client can't be told: *Administrative action*.
pub const ADMINISTRATIVE_ACTION: u8 = 0x98;

/// A drain that is going on in a Broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    order: DrainOrder,
    from: UnixMillis,
    until: UnixMillis,
}

impl Drain {
    /// Begins to obey an order; `None` when the Broker runs the wanted build already.
    ///
    /// A Broker that hears of it late (it slept, or forgot it in a restart) still takes `at_least_millis`, so that its
    /// clients never go all at once.
    #[must_use]
    pub fn begin(order: DrainOrder, now: UnixMillis, build: BuildId, at_least_millis: u64) -> Option<Self> {
        if order.unless_build == Some(build) {
            return None;
        }
        let from = order.from.max(now);
        Some(Self { order, from, until: order.until.max(from.plus_millis(at_least_millis)) })
    }

    /// What is obeyed.
    #[must_use]
    pub const fn order(&self) -> DrainOrder {
        self.order
    }

    /// When a connection is told to go. Always the same for the same connection number of the same Broker, so that
    /// nothing has to be remembered: on each tick, all whose moment has come are told.
    #[must_use]
    pub fn moment(&self, connection: u64) -> UnixMillis {
        let span = self.until.millis_since(self.from);
        self.from.plus_millis(below(combine(connection, self.from.0), span))
    }

    /// When nobody should be left.
    #[must_use]
    pub const fn until(&self) -> UnixMillis {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(from: u64, until: u64) -> DrainOrder {
        DrainOrder { from: UnixMillis(from), until: UnixMillis(until), unless_build: Some(BuildId(2)) }
    }

    #[test]
    fn a_broker_that_runs_the_wanted_build_ignores_the_order() {
        assert_eq!(Drain::begin(order(0, 1_000), UnixMillis(0), BuildId(2), 0), None);
        assert!(Drain::begin(order(0, 1_000), UnixMillis(0), BuildId(1), 0).is_some());
    }

    #[test]
    fn connections_go_evenly_over_the_whole_time() {
        let drain = Drain::begin(order(10_000, 40_000), UnixMillis(0), BuildId(1), 30_000).unwrap();
        let mut seconds = [0_u32; 30];
        for connection in 0..2_000 {
            let moment = drain.moment(connection).0;
            assert_eq!(drain.moment(connection).0, moment);
            seconds[usize::try_from((moment - 10_000) / 1_000).unwrap()] += 1;
        }
        assert!(seconds.iter().all(|count| (35..=105).contains(count)), "{seconds:?}");
    }

    #[test]
    fn an_order_heard_late_still_takes_its_time() {
        let drain = Drain::begin(order(10_000, 40_000), UnixMillis(90_000), BuildId(1), 30_000).unwrap();
        assert_eq!(drain.until(), UnixMillis(120_000));
        assert!((0..100).all(|connection| (90_000..120_000).contains(&drain.moment(connection).0)));
    }

    #[test]
    fn a_drain_may_take_a_day() {
        let drain = Drain::begin(order(0, 86_400_000), UnixMillis(0), BuildId(1), 30_000).unwrap();
        let late = (0..1_000).filter(|connection| drain.moment(*connection).0 > 43_200_000).count();
        assert!((430..570).contains(&late), "{late}");
    }
}
