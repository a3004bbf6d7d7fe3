//! Results as JSON, to be compared later, and as Markdown, to be read.

use crate::load::Outcome;
use crate::servers::describe;
use crate::stats::Spread;
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

/// One scenario on one target over all rounds.
#[derive(Debug, Serialize)]
pub struct Summary {
    pub scenario: String,
    pub target: &'static str,
    pub deliveries_per_second: Option<Spread>,
    pub latency_p50_ms: Option<Spread>,
    pub latency_p99_ms: Option<Spread>,
    pub server_cpu_us_per_delivery: Option<Spread>,
    pub generator_cpus: Option<Spread>,
    pub deliveries_per_frame: Option<Spread>,
    /// Deliveries a second, divided by those of the same scenario and round.
    pub ratio_to_mosquitto: Option<Spread>,
    pub ratio_to_relay: Option<Spread>,
    pub ratio_to_relay_coalesced: Option<Spread>,
    pub lost: u64,
    pub late: u64,
    pub out_of_sequence: u64,
    pub failed: usize,
}

/// The load generator has one processor: from here on it was the limit, not the server.
const GENERATOR_AT_ITS_LIMIT: f64 = 0.9;

/// Medians, spreads and ratios, in the order of `scenarios` and `targets`.
pub fn summarise(rows: &[Row], scenarios: &[String], targets: &[&'static str]) -> Vec<Summary> {
    let mut all = Vec::new();
    for scenario in scenarios {
        for target in targets {
            all.push(summary(rows, scenario, target));
        }
    }
    all
}

fn summary(rows: &[Row], scenario: &str, target: &'static str) -> Summary {
    let own: Vec<&Row> = rows.iter().filter(|row| row.scenario == scenario && row.target == target).collect();
    let outcomes = || own.iter().filter_map(|row| row.outcome.as_ref());
    let spread = |value: fn(&Outcome) -> f64| Spread::of(outcomes().map(value));
    let rate = |round: usize, target: &str| {
        rows.iter()
            .find(|row| row.round == round && row.scenario == scenario && row.target == target)
            .and_then(|row| row.outcome.as_ref())
            .map(|outcome| outcome.deliveries_per_second)
    };
    let ratio = |base: &str| Spread::of_ratios(own.iter().map(|row| (rate(row.round, target), rate(row.round, base))));
    Summary {
        scenario: scenario.to_owned(),
        target,
        deliveries_per_second: spread(|outcome| outcome.deliveries_per_second),
        latency_p50_ms: spread(|outcome| outcome.latency_p50_ms),
        latency_p99_ms: spread(|outcome| outcome.latency_p99_ms),
        server_cpu_us_per_delivery: spread(|outcome| outcome.server_cpu_us_per_delivery),
        generator_cpus: spread(|outcome| outcome.generator_cpus),
        deliveries_per_frame: spread(|outcome| outcome.deliveries_per_frame),
        ratio_to_mosquitto: ratio("mosquitto"),
        ratio_to_relay: ratio("relay"),
        ratio_to_relay_coalesced: ratio("relay-coalesced"),
        lost: outcomes().map(|outcome| outcome.lost).sum(),
        late: outcomes().map(|outcome| outcome.late).sum(),
        out_of_sequence: outcomes().map(|outcome| outcome.out_of_sequence).sum(),
        failed: own.iter().filter(|row| row.outcome.is_none()).count(),
    }
}

impl Report {
    /// For people.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        // writing to a String cannot fail
        let _ = self.write_markdown(&mut text);
        text
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
        writeln!(
            text,
            "| scenario | server | deliveries/s | ratio to mosquitto | ratio to relay | ratio to coalesced relay | \
             latency p50 ms | p99 ms | server CPU µs/delivery |"
        )?;
        writeln!(text, "|---|---|--:|--:|--:|--:|--:|--:|--:|")?;
        let mut previous = "";
        for row in &self.summary {
            let scenario = if row.scenario == previous { "" } else { &row.scenario };
            previous = &row.scenario;
            let at_its_limit = row.generator_cpus.is_some_and(|cpus| cpus.median >= GENERATOR_AT_ITS_LIMIT);
            writeln!(
                text,
                "| {scenario} | {} | {}{} | {} | {} | {} | {} | {} | {} |",
                describe(row.target),
                thousands(row.deliveries_per_second),
                if at_its_limit { " *" } else { "" },
                cell(row.ratio_to_mosquitto, 2),
                cell(row.ratio_to_relay, 2),
                cell(row.ratio_to_relay_coalesced, 2),
                median(row.latency_p50_ms, 1),
                median(row.latency_p99_ms, 1),
                median(row.server_cpu_us_per_delivery, 1),
            )?;
        }
        writeln!(text, "\n\\* the load generator used up its processor: the server can do more.")?;
        for row in self.summary.iter().filter(|row| row.lost + row.late + row.out_of_sequence > 0 || row.failed > 0) {
            writeln!(
                text,
                "\n**{}, {}**: {} lost, {} late, {} out of sequence, {} measurements failed.",
                row.scenario,
                describe(row.target),
                row.lost,
                row.late,
                row.out_of_sequence,
                row.failed
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

    fn row(round: usize, target: &'static str, rate: Option<f64>) -> Row {
        let outcome = rate.map(|deliveries_per_second| Outcome {
            deliveries_per_second,
            latency_p50_ms: 1.0,
            latency_p99_ms: 2.0,
            server_cpu_us_per_delivery: 30.0,
            server_cpus: 1.0,
            generator_cpus: 0.95,
            other_cpus: 0.0,
            deliveries_per_frame: 1.0,
            lost: 2,
            late: 1,
            out_of_sequence: 0,
        });
        let error = rate.is_none().then(|| "refused".to_owned());
        Row { round, scenario: "10 pairs".to_owned(), target, outcome, error }
    }

    fn rows() -> Vec<Row> {
        vec![
            row(1, "umbra-1", Some(10_000.0)),
            row(1, "mosquitto", Some(40_000.0)),
            row(2, "umbra-1", Some(30_000.0)),
            row(2, "mosquitto", Some(60_000.0)),
            row(3, "umbra-1", None),
            row(3, "mosquitto", Some(50_000.0)),
        ]
    }

    #[test]
    fn a_summary_pairs_the_rounds_and_counts_what_failed() {
        let summary = summary(&rows(), "10 pairs", "umbra-1");
        let rate = Spread { median: 20_000.0, min: 10_000.0, max: 30_000.0 };
        assert_eq!(summary.deliveries_per_second, Some(rate));
        assert_eq!(summary.ratio_to_mosquitto, Some(Spread { median: 0.375, min: 0.25, max: 0.5 }));
        assert_eq!(summary.ratio_to_relay, None);
        assert_eq!((summary.lost, summary.failed), (4, 1));
    }

    #[test]
    fn the_markdown_says_what_was_lost_and_where_the_generator_was_the_limit() {
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
        let summary = summarise(&rows(), &["10 pairs".to_owned()], &["umbra-1", "mosquitto"]);
        let text = Report { conditions, summary, measurements: rows() }.markdown();
        for expected in [
            "| 10 pairs | Umbra with 1 Broker | 20.0 k (10.0–30.0) * | 0.38 (0.25–0.50) | – | – | 1.0 | 2.0 | 30.0 |",
            "|  | mosquitto | 50.0 k (40.0–60.0) * | 1.00 (1.00–1.00) |",
            "**10 pairs, Umbra with 1 Broker**: 4 lost, 2 late, 0 out of sequence, 1 measurements failed.",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }
}
