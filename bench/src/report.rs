//! Results as JSON, to be compared later, and as Markdown, to be read.

use crate::outcome::{Faults, Outcome};
use crate::scenario::{Group, Scenario};
use crate::stats::Spread;
use crate::tables;
use crate::targets::{describe, floor_of, takes_part};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// One measurement and where it belongs.
#[derive(Debug, Serialize)]
pub struct Row {
    pub round: usize,
    pub scenario: String,
    pub target: &'static str,
    /// `None` when it failed.
    #[serde(flatten)]
    pub outcome: Option<Outcome>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Where and how it was measured.
#[derive(Debug, Serialize)]
pub struct Conditions {
    /// UTC.
    pub date: String,
    /// `-dirty` where files differ from it.
    pub commit: String,
    pub command: String,
    pub processor: String,
    pub processors: usize,
    pub load_average_before: String,
    pub load_average_after: String,
    pub versions: BTreeMap<&'static str, String>,
    pub window: usize,
    pub warm_up_seconds: f64,
    pub measure_seconds: f64,
    /// How many rounds were finished.
    pub rounds: usize,
}

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    pub conditions: Conditions,
    pub summary: Vec<Summary>,
    /// Every single measurement.
    pub measurements: Vec<Row>,
}

/// One scenario on one target over all rounds. Ratios are to the same scenario in the same round; the floor is the one
/// with the same sockets.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub scenario: String,
    pub group: &'static str,
    pub target: &'static str,
    pub deliveries_per_second: Option<Spread>,
    pub latency_p50_ms: Option<Spread>,
    pub latency_p99_ms: Option<Spread>,
    pub server_cpu_us_per_delivery: Option<Spread>,
    pub generator_cpus: Option<Spread>,
    pub deliveries_per_frame: Option<Spread>,
    /// Deliveries a second.
    pub ratio_to_mosquitto: Option<Spread>,
    pub ratio_to_floor: Option<Spread>,
    pub cpu_ratio_to_floor: Option<Spread>,
    pub latency_p50_ratio_to_floor: Option<Spread>,
    pub latency_p99_ratio_to_floor: Option<Spread>,
    #[serde(flatten)]
    pub faults: Faults,
    /// Measurements.
    pub failed: usize,
    /// Why the last of them failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The load generator has one processor: from here on it was the limit, not the server.
const GENERATOR_AT_ITS_LIMIT: f64 = 0.9;

/// Medians, spreads and ratios, in the order of `scenarios` and `targets`.
pub fn summarise(rows: &[Row], scenarios: &[Scenario], targets: &[&'static str]) -> Vec<Summary> {
    let mut all = Vec::new();
    for scenario in scenarios {
        for target in targets.iter().filter(|target| takes_part(target, scenario)) {
            all.push(summary(rows, scenario, target));
        }
    }
    all
}

fn summary(rows: &[Row], scenario: &Scenario, target: &'static str) -> Summary {
    let of_target =
        |target: &'static str| rows.iter().filter(move |row| row.scenario == scenario.name && row.target == target);
    let own: Vec<&Row> = of_target(target).collect();
    let outcomes = || own.iter().filter_map(|row| row.outcome.as_ref());
    let spread = |value: fn(&Outcome) -> f64| Spread::of(outcomes().map(value));
    let ratio = |base: Option<&'static str>, value: fn(&Outcome) -> f64| {
        let base = base?;
        Spread::of_ratios(own.iter().map(|row| {
            let base = of_target(base).find(|other| other.round == row.round);
            (row.outcome.as_ref().map(value), base.and_then(|row| row.outcome.as_ref()).map(value))
        }))
    };
    let floor = floor_of(target);
    Summary {
        scenario: scenario.name.clone(),
        group: scenario.group.as_str(),
        target,
        deliveries_per_second: spread(|outcome| outcome.deliveries_per_second),
        latency_p50_ms: spread(|outcome| outcome.latency_p50_ms),
        latency_p99_ms: spread(|outcome| outcome.latency_p99_ms),
        server_cpu_us_per_delivery: spread(|outcome| outcome.server_cpu_us_per_delivery),
        generator_cpus: spread(|outcome| outcome.generator_cpus),
        deliveries_per_frame: spread(|outcome| outcome.deliveries_per_frame),
        ratio_to_mosquitto: ratio(Some("mosquitto"), |outcome| outcome.deliveries_per_second),
        ratio_to_floor: ratio(floor, |outcome| outcome.deliveries_per_second),
        cpu_ratio_to_floor: ratio(floor, |outcome| outcome.server_cpu_us_per_delivery),
        latency_p50_ratio_to_floor: ratio(floor, |outcome| outcome.latency_p50_ms),
        latency_p99_ratio_to_floor: ratio(floor, |outcome| outcome.latency_p99_ms),
        faults: outcomes().fold(Faults::default(), |sum, outcome| sum.plus(outcome.faults)),
        failed: own.iter().filter(|row| row.outcome.is_none()).count(),
        error: own.iter().rev().find_map(|row| row.error.clone()),
    }
}

impl Report {
    /// For people.
    pub fn markdown(&self) -> String {
        tables::text(|text| self.write_markdown(text))
    }

    fn write_markdown(&self, text: &mut String) -> std::fmt::Result {
        let Conditions { date, commit, command, processor, processors, .. } = &self.conditions;
        let Conditions { window, warm_up_seconds, measure_seconds, rounds, .. } = &self.conditions;
        let versions = self.conditions.versions.values().cloned().collect::<Vec<_>>().join(", ");
        let others = self.measurements.iter().filter_map(|row| row.outcome.as_ref()).map(|outcome| outcome.other_cpus);
        writeln!(text, "{date}, commit {commit}, `{command}`; {versions}.")?;
        writeln!(
            text,
            "{processors} × {processor}, shared by server and load generator; load average {} before, {} after; \
             processors that others used during measurements: {}.",
            self.conditions.load_average_before,
            self.conditions.load_average_after,
            cell(Spread::of(others), 2),
        )?;
        writeln!(
            text,
            "{rounds} rounds, interleaved; each {measure_seconds} s after {warm_up_seconds} s of warm-up; window \
             {window} a publisher. Median (min–max).\n"
        )?;
        self.write_rates(text)?;
        self.write_latencies(text)?;
        for row in &self.summary {
            let faults = row.faults.words();
            let failed = (row.failed > 0)
                .then(|| format!("{} measurements failed ({})", row.failed, row.error.as_deref().unwrap_or_default()));
            let all: Vec<String> = faults.into_iter().chain(failed).collect();
            if !all.is_empty() {
                writeln!(text, "\n**{}, {}**: {}.", row.scenario, describe(row.target), all.join(", "))?;
            }
        }
        Ok(())
    }

    fn write_rates(&self, text: &mut String) -> std::fmt::Result {
        let is_rate = |row: &&Summary| row.group != Group::Latency.as_str();
        if !self.summary.iter().any(|row| is_rate(&row)) {
            return Ok(());
        }
        writeln!(
            text,
            "| scenario | server | deliveries/s | to the floor | to mosquitto | server CPU µs/delivery | to the floor | \
             latency p50 ms | p99 ms |"
        )?;
        writeln!(text, "|---|---|--:|--:|--:|--:|--:|--:|--:|")?;
        let mut previous = "";
        for row in self.summary.iter().filter(is_rate) {
            let scenario = if row.scenario == previous { "" } else { &row.scenario };
            previous = &row.scenario;
            let at_its_limit = row.generator_cpus.is_some_and(|cpus| cpus.median >= GENERATOR_AT_ITS_LIMIT);
            writeln!(
                text,
                "| {scenario} | {} | {}{} | {} | {} | {} | {} | {} | {} |",
                describe(row.target),
                thousands(row.deliveries_per_second),
                if at_its_limit { " *" } else { "" },
                cell(row.ratio_to_floor, 2),
                cell(row.ratio_to_mosquitto, 2),
                median(row.server_cpu_us_per_delivery, 2),
                cell(row.cpu_ratio_to_floor, 2),
                median(row.latency_p50_ms, 2),
                median(row.latency_p99_ms, 2),
            )?;
        }
        writeln!(text, "\n\\* the load generator used up its processor: the server can do more.")
    }

    fn write_latencies(&self, text: &mut String) -> std::fmt::Result {
        let is_latency = |row: &&Summary| row.group == Group::Latency.as_str();
        if !self.summary.iter().any(|row| is_latency(&row)) {
            return Ok(());
        }
        writeln!(
            text,
            "\n| scenario | server | p50 ms | to the floor | p99 ms | to the floor | server CPU µs/delivery | \
             to the floor |"
        )?;
        writeln!(text, "|---|---|--:|--:|--:|--:|--:|--:|")?;
        let mut previous = "";
        for row in self.summary.iter().filter(is_latency) {
            let scenario = if row.scenario == previous { "" } else { &row.scenario };
            previous = &row.scenario;
            writeln!(
                text,
                "| {scenario} | {} | {} | {} | {} | {} | {} | {} |",
                describe(row.target),
                cell(row.latency_p50_ms, 2),
                cell(row.latency_p50_ratio_to_floor, 2),
                cell(row.latency_p99_ms, 2),
                cell(row.latency_p99_ratio_to_floor, 2),
                median(row.server_cpu_us_per_delivery, 1),
                cell(row.cpu_ratio_to_floor, 2),
            )?;
        }
        Ok(())
    }
}

fn cell(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(
        || "–".to_owned(),
        |Spread { median, min, max }| format!("{median:.digits$} ({min:.digits$}–{max:.digits$})"),
    )
}

fn median(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(|| "–".to_owned(), |Spread { median, .. }| format!("{median:.digits$}"))
}

fn thousands(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "–".to_owned(),
        |Spread { median, min, max }| format!("{:.1} k ({:.1}–{:.1})", median / 1e3, min / 1e3, max / 1e3),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    fn pairs() -> Scenario {
        scenario::all(10).into_iter().next().unwrap()
    }

    fn row(round: usize, target: &'static str, rate: Option<f64>) -> Row {
        let outcome = rate.map(|deliveries_per_second| Outcome {
            deliveries_per_second,
            latency_p50_ms: 1.0,
            latency_p99_ms: 2.0,
            server_cpu_us_per_delivery: 1e6 / deliveries_per_second,
            server_cpus: 1.0,
            generator_cpus: 0.95,
            other_cpus: 0.0,
            deliveries_per_frame: 1.0,
            faults: Faults { lost: 2, late: 1, ..Faults::default() },
        });
        let error = rate.is_none().then(|| "no more".to_owned());
        Row { round, scenario: pairs().name, target, outcome, error }
    }

    fn rows() -> Vec<Row> {
        vec![
            row(1, "umbra", Some(10_000.0)),
            row(1, "mosquitto", Some(40_000.0)),
            row(1, "floor", Some(20_000.0)),
            row(2, "umbra", Some(30_000.0)),
            row(2, "mosquitto", Some(60_000.0)),
            row(2, "floor", Some(40_000.0)),
            row(3, "umbra", None),
            row(3, "mosquitto", Some(50_000.0)),
            row(3, "floor", Some(20_000.0)),
        ]
    }

    #[test]
    fn a_summary_pairs_the_rounds_and_counts_what_failed() {
        let of_umbra = summary(&rows(), &pairs(), "umbra");
        let rate = Spread { median: 20_000.0, min: 10_000.0, max: 30_000.0 };
        assert_eq!(of_umbra.deliveries_per_second, Some(rate));
        assert_eq!(of_umbra.ratio_to_mosquitto, Some(Spread { median: 0.375, min: 0.25, max: 0.5 }));
        assert_eq!(of_umbra.ratio_to_floor, Some(Spread { median: 0.625, min: 0.5, max: 0.75 }));
        assert_eq!(of_umbra.cpu_ratio_to_floor.map(|spread| spread.max), Some(2.0));
        assert_eq!((of_umbra.faults.lost, of_umbra.failed, of_umbra.error.as_deref()), (4, 1, Some("no more")));
        assert_eq!(summary(&rows(), &pairs(), "mosquitto").ratio_to_floor, None);
    }

    fn report(scenario: &Scenario, measurements: Vec<Row>) -> String {
        let conditions = Conditions {
            date: "2026-01-01".to_owned(),
            commit: "abc".to_owned(),
            command: "bench".to_owned(),
            processor: "some".to_owned(),
            processors: 2,
            load_average_before: "0 0 0".to_owned(),
            load_average_after: "1 1 1".to_owned(),
            versions: BTreeMap::new(),
            window: 64,
            warm_up_seconds: 0.3,
            measure_seconds: 1.0,
            rounds: 3,
        };
        let summary = summarise(&measurements, std::slice::from_ref(scenario), &["umbra", "mosquitto"]);
        Report { conditions, summary, measurements }.markdown()
    }

    #[test]
    fn the_markdown_says_what_was_lost_and_where_the_generator_was_the_limit() {
        let text = report(&pairs(), rows());
        for expected in [
            "| 10 pairs, QoS 0, 64 B | Umbra | 20.0 k (10.0–30.0) * | 0.62 (0.50–0.75) | 0.38 (0.25–0.50) | 66.67 | \
             1.67 (1.33–2.00) | 1.00 | 2.00 |",
            "|  | mosquitto | 50.0 k (40.0–60.0) * | – | 1.00 (1.00–1.00) |",
            "**10 pairs, QoS 0, 64 B, Umbra**: 4 lost, 2 late, 1 measurements failed (no more).",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }

    #[test]
    fn latencies_have_a_table_of_their_own() {
        let latency = scenario::all(10).into_iter().find(|scenario| scenario.group == Group::Latency).unwrap();
        let rows = rows().into_iter().map(|row| Row { scenario: latency.name.clone(), ..row }).collect();
        let text = report(&latency, rows);
        let expected = "| Umbra | 1.00 (1.00–1.00) | 1.00 (1.00–1.00) | 2.00 (2.00–2.00) | 1.00 (1.00–1.00) |";
        assert!(text.contains(expected) && !text.contains("deliveries/s"), "{text}");
    }
}
