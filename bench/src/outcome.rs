//! What one measurement says.

use crate::proc::Usage;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// One measurement. In a scenario of connects a delivery is a connect; in one of retained messages the latency is the time
/// to the last of them.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub deliveries_per_second: f64,
    pub latency_p50_ms: f64,
    pub latency_p99_ms: f64,
    /// Processor time of all the server's processes, in microseconds.
    pub server_cpu_us_per_delivery: f64,
    /// Processors that the server used.
    pub server_cpus: f64,
    /// Processors that the load generator used. Near 1 it was the limit.
    pub generator_cpus: f64,
    /// Processors that neither of them used, but something else on the machine.
    pub other_cpus: f64,
    /// How many deliveries a WebSocket message from the server carried.
    pub deliveries_per_frame: f64,
    /// What went wrong.
    #[serde(flatten)]
    pub faults: Faults,
}

/// What a server did not do as it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Deliveries and acknowledgements that did not come.
    pub lost: u64,
    /// Those that came after they had been given up: their publisher had not got on for more than a second.
    pub late: u64,
    /// Deliveries that came more than once.
    pub doubled: u64,
    /// Deliveries that came after a later one of the same publisher.
    pub out_of_order: u64,
    /// Connections that were told to come again later.
    pub refused: u64,
}

impl Faults {
    pub fn plus(self, other: Self) -> Self {
        Self {
            lost: self.lost + other.lost,
            late: self.late + other.late,
            doubled: self.doubled + other.doubled,
            out_of_order: self.out_of_order + other.out_of_order,
            refused: self.refused + other.refused,
        }
    }

    /// In words; `None` when there are none.
    pub fn words(self) -> Option<String> {
        let Self { lost, late, doubled, out_of_order, refused } = self;
        let all = [
            (lost, "lost"),
            (late, "late"),
            (doubled, "doubled"),
            (out_of_order, "out of order"),
            (refused, "told to come again"),
        ];
        let some: Vec<String> =
            all.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        (!some.is_empty()).then(|| some.join(", "))
    }
}

/// What was counted while it was measured.
pub struct Counted<'a> {
    pub deliveries: u64,
    pub frames: u64,
    pub elapsed: Duration,
    /// In microseconds.
    pub latency: &'a Histogram<u64>,
    pub faults: Faults,
}

/// A histogram of times up to a minute in microseconds, to three digits.
///
/// # Errors
/// Never: the bounds are in order.
pub fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

impl Outcome {
    pub fn new(counted: &Counted<'_>, before: Usage, after: Usage) -> Self {
        let seconds = counted.elapsed.as_secs_f64();
        let deliveries = counted.deliveries as f64;
        let server = after.server.saturating_sub(before.server);
        let generator = after.generator.saturating_sub(before.generator);
        let machine = after.machine.saturating_sub(before.machine);
        Self {
            deliveries_per_second: deliveries / seconds,
            latency_p50_ms: counted.latency.value_at_quantile(0.5) as f64 / 1_000.0,
            latency_p99_ms: counted.latency.value_at_quantile(0.99) as f64 / 1_000.0,
            server_cpu_us_per_delivery: server.as_secs_f64() * 1e6 / deliveries,
            server_cpus: server.as_secs_f64() / seconds,
            generator_cpus: generator.as_secs_f64() / seconds,
            other_cpus: machine.saturating_sub(server).saturating_sub(generator).as_secs_f64() / seconds,
            deliveries_per_frame: deliveries / counted.frames as f64,
            faults: counted.faults,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_measured_time() {
        let usage = |server, generator, machine| Usage {
            server: Duration::from_millis(server),
            generator: Duration::from_millis(generator),
            machine: Duration::from_millis(machine),
        };
        let mut latency = histogram().unwrap();
        latency.record(1_500).unwrap();
        let counted = Counted {
            deliveries: 1_000,
            frames: 500,
            elapsed: Duration::from_secs(2),
            latency: &latency,
            faults: Faults::default(),
        };
        let outcome = Outcome::new(&counted, usage(100, 0, 1_000), usage(300, 600, 2_000));
        assert_eq!(outcome.deliveries_per_second, 500.0);
        assert_eq!(outcome.server_cpu_us_per_delivery, 200.0);
        assert_eq!((outcome.server_cpus, outcome.generator_cpus, outcome.other_cpus), (0.1, 0.3, 0.1));
        assert_eq!((outcome.deliveries_per_frame, outcome.latency_p50_ms), (2.0, 1.5));
    }

    #[test]
    fn faults_are_added_up_and_named() {
        let one = Faults { lost: 2, doubled: 1, ..Faults::default() };
        let other = Faults { lost: 1, refused: 7, ..Faults::default() };
        assert_eq!(one.plus(other).words().unwrap(), "3 lost, 1 doubled, 7 told to come again");
        assert_eq!(Faults::default().words(), None);
    }
}
