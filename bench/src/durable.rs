//! What sessions cost that outlive their connections: connected, away, and when they come back.

use crate::durable_load::{Outcome, Settings, begin_sessions, drain, forget, online, store};
use crate::link::Lasting;
use crate::servers::single::Single;
use crate::stats::Spread;
use crate::{proc, tables, until_stop_asked};
use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::runtime::Builder;

pub const USAGE: &str = "\
cargo run --release -p bench -- durable [options]
  --rounds N          rounds (5)
  --seconds S         of each measurement with connected subscribers (1)
  --pairs N           pairs of publisher and subscriber (10)
  --window N          messages that a publisher has on their way (64)
  --messages N        stored for each subscriber (960, at most 1000)
  --repeats N         so often are they stored and drained for one measurement (3)
  --parts A,B         of connected, stored (both)
  --json FILE         where the results go, besides target/bench/durable.json";

/// What is measured, in the order in which it is reported.
const PARTS: [&str; 2] = ["connected", "stored"];
/// A session's queue takes no more.
const MAXIMUM_MESSAGES: u64 = 1_000;

struct Arguments {
    rounds: usize,
    repeats: usize,
    parts: Vec<&'static str>,
    load: Settings,
    json: Option<PathBuf>,
    help: bool,
}

impl Arguments {
    fn parse(mut parser: lexopt::Parser) -> Result<Self> {
        use lexopt::prelude::*;
        let (mut rounds, mut seconds, mut pairs, mut window, mut messages) = (5, 1.0, 10, 64, 960);
        let (mut repeats, mut parts, mut json, mut help) = (3, PARTS.to_vec(), None, false);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("rounds") => rounds = parser.value()?.parse()?,
                Long("seconds") => seconds = parser.value()?.parse()?,
                Long("pairs") => pairs = parser.value()?.parse()?,
                Long("window") => window = parser.value()?.parse()?,
                Long("messages") => messages = parser.value()?.parse()?,
                Long("repeats") => repeats = parser.value()?.parse()?,
                Long("parts") => parts = tables::chosen("--parts", &PARTS, &parser.value()?.string()?)?,
                Long("json") => json = Some(parser.value()?.into()),
                Long("help") | Short('h') => help = true,
                other => return Err(other.unexpected().into()),
            }
        }
        ensure!((1..=100).contains(&repeats), "--repeats takes a number from 1 to 100");
        ensure!(rounds > 0 && (1..=100).contains(&pairs), "--rounds takes at least 1, --pairs 1 to 100");
        ensure!((1..=1_000).contains(&window), "--window takes a number from 1 to 1000");
        ensure!((0.1..=60.0).contains(&seconds), "--seconds takes a number from 0.1 to 60");
        ensure!((1..=MAXIMUM_MESSAGES).contains(&messages), "--messages takes a number from 1 to {MAXIMUM_MESSAGES}");
        let (warm_up, measure) = (Duration::from_millis(300), Duration::from_secs_f64(seconds));
        let load = Settings { pairs, window, payload: 64, messages, warm_up, measure };
        Ok(Self { rounds, repeats, parts, load, json, help })
    }
}

/// What is compared with what, and how much of it there has to be.
struct Comparison {
    what: &'static str,
    target: &'static str,
    base: Option<&'static str>,
    bar: Option<f64>,
}

const COMPARISONS: [Comparison; 6] = [
    Comparison { what: ONLINE, target: CLEAN, base: None, bar: None },
    Comparison { what: ONLINE, target: DURABLE, base: Some(CLEAN), bar: Some(0.7) },
    Comparison { what: STORED, target: FLOOR, base: None, bar: None },
    Comparison { what: STORED, target: UMBRA, base: Some(FLOOR), bar: Some(0.6) },
    Comparison { what: DRAINED, target: FLOOR, base: None, bar: None },
    Comparison { what: DRAINED, target: UMBRA, base: Some(FLOOR), bar: Some(0.6) },
];
const ONLINE: &str = "QoS 1 to connected sessions";
const STORED: &str = "stored for those away";
const DRAINED: &str = "drained when they come back";
const CLEAN: &str = "Umbra, clean sessions";
const DURABLE: &str = "Umbra, durable sessions";
const UMBRA: &str = "Umbra";
const FLOOR: &str = "floor";

#[derive(Serialize)]
struct Row {
    round: usize,
    what: &'static str,
    target: &'static str,
    #[serde(flatten)]
    outcome: Option<Outcome>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Summary {
    what: &'static str,
    target: &'static str,
    messages_per_second: Option<Spread>,
    ratio: Option<Spread>,
    bar: Option<f64>,
    server_cpu_us_per_message: Option<Spread>,
    cpu_ratio: Option<Spread>,
    stored_bytes_per_message: Option<Spread>,
    generator_cpus: Option<Spread>,
    lost: u64,
    doubled: u64,
    out_of_order: u64,
    failed: usize,
}

#[derive(Serialize)]
struct Report {
    conditions: String,
    settings: String,
    load_average_before: String,
    load_average_after: String,
    other_cpus: Option<Spread>,
    summary: Vec<Summary>,
    measurements: Vec<Row>,
}

struct Run<'a> {
    arguments: &'a Arguments,
    umbra: Single,
    floor: Option<Single>,
    rows: Vec<Row>,
}

/// Measures and prints.
///
/// # Errors
/// When a server does not start.
pub fn run(root: &Path, parser: lexopt::Parser) -> Result<()> {
    let arguments = Arguments::parse(parser)?;
    if arguments.help {
        println!("{USAGE}");
        return Ok(());
    }
    let load_average_before = proc::load_average();
    let umbra = Single::umbra(root, &["--brokers", "1"])?;
    let floor = arguments.parts.contains(&"stored").then(|| Single::floor(root, "durable")).transpose()?;
    let mut run = Run { arguments: &arguments, umbra, floor, rows: Vec::new() };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            result = run.measure() => result,
            () = until_stop_asked() => bail!("interrupted"),
        }
    })?;
    let Settings { pairs, window, payload, messages, measure, .. } = arguments.load;
    let report = Report {
        conditions: crate::conditions_line(root, &tables::versions(root)),
        settings: format!(
            "{} rounds, interleaved; {pairs} pairs, {payload} B, window {window} a publisher; connected: {} s after {} s of \
             warm-up; stored: {messages} messages for each subscriber, {} times. Median (min–max).",
            arguments.rounds,
            measure.as_secs_f64(),
            arguments.load.warm_up.as_secs_f64(),
            arguments.repeats,
        ),
        load_average_before,
        load_average_after: proc::load_average(),
        other_cpus: Spread::of(run.rows.iter().filter_map(|row| row.outcome).map(|outcome| outcome.other_cpus)),
        summary: summarise(&run.rows),
        measurements: run.rows,
    };
    tables::save(root, "durable", arguments.json.as_deref(), &report)?;
    println!("{}", markdown(&report));
    Ok(())
}

impl Run<'_> {
    async fn measure(&mut self) -> Result<()> {
        let parts = &self.arguments.parts;
        // Tables are made and code is compiled; none of it counts.
        let warm = Settings { messages: self.arguments.load.messages.min(200), ..self.arguments.load };
        if parts.contains(&"stored") {
            self.stored(0, true, warm).await;
            self.stored(0, false, warm).await;
        }
        self.rows.clear();
        for round in 1..=self.arguments.rounds {
            eprintln!("round {round} of {}", self.arguments.rounds);
            // each round begins with another target
            let order = [round % 2 == 0, round % 2 == 1];
            if parts.contains(&"connected") {
                for is_durable in order {
                    self.online(round, is_durable).await;
                }
            }
            if parts.contains(&"stored") {
                for is_umbra in order {
                    self.stored(round, is_umbra, self.arguments.load).await;
                }
            }
        }
        Ok(())
    }

    async fn online(&mut self, round: usize, is_durable: bool) {
        let (lasting, target) = if is_durable { (Lasting::Durable, DURABLE) } else { (Lasting::Clean, CLEAN) };
        let run = format!("{round}-{}", if is_durable { "d" } else { "c" });
        let outcome = online(&self.umbra, lasting, self.arguments.load, &run).await;
        self.note(round, ONLINE, target, outcome);
    }

    /// Into the queues and out of them.
    async fn stored(&mut self, round: usize, is_umbra: bool, load: Settings) {
        let target = if is_umbra { UMBRA } else { FLOOR };
        let outcomes = self.stored_repeatedly(round, is_umbra, load).await;
        let (stored, drained) = match outcomes {
            Ok((stored, drained)) => (Ok(stored), Ok(drained)),
            Err(error) => (Err(anyhow!("{error:#}")), Err(error)),
        };
        self.note(round, STORED, target, stored);
        self.note(round, DRAINED, target, drained);
    }

    async fn stored_repeatedly(&self, round: usize, is_umbra: bool, load: Settings) -> Result<(Outcome, Outcome)> {
        let floor = || self.floor.as_ref().context("no floor was started");
        let server = if is_umbra { &self.umbra } else { floor()? };
        // a floor gets them over one connection
        let links = if is_umbra { load.pairs } else { 1 };
        let mut sum: Option<(Outcome, Outcome)> = None;
        for repeat in 0..self.arguments.repeats {
            let run = format!("{round}-{repeat}");
            if is_umbra {
                begin_sessions(server, load, &run).await?;
            }
            let stored = store(server, links, load, &run).await?;
            let drained = drain(server, load, &run).await?;
            if is_umbra {
                forget(server, load.pairs, &run).await?;
            }
            sum = Some(sum.map_or((stored, drained), |(before, after)| (before.and(stored), after.and(drained))));
        }
        sum.context("nothing was measured")
    }

    fn note(&mut self, round: usize, what: &'static str, target: &'static str, outcome: Result<Outcome>) {
        match &outcome {
            Ok(outcome) => eprintln!(
                "  {what:<28} {target:<24} {:>9.0}/s {:>7.1} µs {:>7.0} B{}",
                outcome.messages_per_second,
                outcome.server_cpu_us_per_message,
                outcome.stored_bytes_per_message,
                if outcome.faults() > 0 {
                    format!(
                        "  {} lost, {} doubled, {} out of order",
                        outcome.lost, outcome.doubled, outcome.out_of_order
                    )
                } else {
                    String::new()
                }
            ),
            Err(error) => eprintln!("  {what:<28} {target:<24} {error:#}"),
        }
        let (outcome, error) = match outcome {
            Ok(outcome) => (Some(outcome), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        self.rows.push(Row { round, what, target, outcome, error });
    }
}

fn summarise(rows: &[Row]) -> Vec<Summary> {
    COMPARISONS
        .iter()
        .filter(|comparison| rows.iter().any(|row| row.what == comparison.what))
        .map(|Comparison { what, target, base, bar }| {
            let of = |target: &'static str| rows.iter().filter(move |row| row.what == *what && row.target == target);
            let outcomes = || of(target).filter_map(|row| row.outcome);
            let spread = |get: fn(&Outcome) -> f64| Spread::of(outcomes().map(|outcome| get(&outcome)));
            let ratio = |get: fn(&Outcome) -> f64| {
                Spread::of_ratios(of(target).map(|row| {
                    let base = base.and_then(|base| of(base).find(|base| base.round == row.round));
                    let value = |row: &Row| row.outcome.as_ref().map(get);
                    (value(row), base.and_then(value))
                }))
            };
            let sum = |get: fn(&Outcome) -> u64| outcomes().map(|outcome| get(&outcome)).sum();
            Summary {
                what,
                target,
                messages_per_second: spread(|outcome| outcome.messages_per_second),
                ratio: ratio(|outcome| outcome.messages_per_second),
                bar: *bar,
                server_cpu_us_per_message: spread(|outcome| outcome.server_cpu_us_per_message),
                cpu_ratio: ratio(|outcome| outcome.server_cpu_us_per_message),
                stored_bytes_per_message: spread(|outcome| outcome.stored_bytes_per_message),
                generator_cpus: spread(|outcome| outcome.generator_cpus),
                lost: sum(|outcome| outcome.lost),
                doubled: sum(|outcome| outcome.doubled),
                out_of_order: sum(|outcome| outcome.out_of_order),
                failed: of(target).filter(|row| row.outcome.is_none()).count(),
            }
        })
        .collect()
}

fn markdown(report: &Report) -> String {
    tables::text(|text| write_markdown(text, report))
}

fn write_markdown(text: &mut String, report: &Report) -> std::fmt::Result {
    tables::heading(
        text,
        [&report.conditions, &report.settings],
        [&report.load_average_before, &report.load_average_after],
        report.other_cpus,
    )?;
    writeln!(
        text,
        "| what | server | messages/s | ratio | bar | server CPU µs/message | ratio | bytes to storage a message |"
    )?;
    writeln!(text, "|---|---|--:|--:|--:|--:|--:|--:|")?;
    for row in &report.summary {
        writeln!(
            text,
            "| {} | {}{} | {} | {} | {} | {} | {} | {} |",
            row.what,
            row.target,
            if row.generator_cpus.is_some_and(|cpus| cpus.median >= 0.9) { " *" } else { "" },
            tables::thousands(row.messages_per_second),
            tables::cell(row.ratio, 3),
            tables::bar(row.bar, row.ratio),
            tables::cell(row.server_cpu_us_per_message, 1),
            tables::cell(row.cpu_ratio, 2),
            tables::median(row.stored_bytes_per_message, 0),
        )?;
    }
    if report.summary.iter().any(|row| row.generator_cpus.is_some_and(|cpus| cpus.median >= 0.9)) {
        writeln!(text, "\n\\* the load generator used up its processor: the server can do more.")?;
    }
    for row in report.summary.iter().filter(|row| row.lost + row.doubled + row.out_of_order > 0 || row.failed > 0) {
        writeln!(
            text,
            "\n**{}, {}**: {} lost, {} doubled, {} out of order, {} measurements failed.",
            row.what, row.target, row.lost, row.doubled, row.out_of_order, row.failed
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &str) -> Result<Arguments> {
        Arguments::parse(lexopt::Parser::from_args(arguments.split_whitespace()))
    }

    fn row(round: usize, target: &'static str, rate: Option<f64>) -> Row {
        let outcome = rate.map(|messages_per_second| Outcome {
            messages: 100,
            seconds: 1.0,
            messages_per_second,
            server_cpu_us_per_message: 1e6 / messages_per_second,
            stored_bytes_per_message: 400.0,
            generator_cpus: 0.5,
            other_cpus: 0.0,
            lost: 1,
            doubled: 0,
            out_of_order: 2,
        });
        let error = rate.is_none().then(|| "refused".to_owned());
        Row { round, what: STORED, target, outcome, error }
    }

    #[test]
    fn wrong_options_are_refused() {
        for wrong in [
            "--messages 1001",
            "--messages 0",
            "--rounds 0",
            "--window 0",
            "--repeats 0",
            "--parts other",
            "--seconds 0",
            "x",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parsed("--parts stored").unwrap().parts, ["stored"]);
    }

    #[test]
    fn ratios_are_of_a_round_and_the_table_says_whether_the_bar_is_met() {
        let rows = [
            row(1, UMBRA, Some(5_000.0)),
            row(1, FLOOR, Some(10_000.0)),
            row(2, FLOOR, Some(40_000.0)),
            row(2, UMBRA, Some(10_000.0)),
            row(3, UMBRA, None),
            row(3, FLOOR, Some(10_000.0)),
        ];
        let summary = summarise(&rows);
        assert_eq!(summary.iter().map(|row| row.target).collect::<Vec<_>>(), [FLOOR, UMBRA]);
        let umbra = &summary[1];
        assert_eq!(umbra.ratio, Some(Spread { median: 0.375, min: 0.25, max: 0.5 }));
        assert_eq!((umbra.lost, umbra.out_of_order, umbra.failed), (2, 4, 1));
        let report = Report {
            conditions: "here".to_owned(),
            settings: String::new(),
            load_average_before: String::new(),
            load_average_after: String::new(),
            other_cpus: None,
            summary,
            measurements: Vec::new(),
        };
        let text = markdown(&report);
        for expected in [
            "| stored for those away | Umbra | 7.5 k (5.0–10.0) | 0.375 (0.250–0.500) | 0.6 missed | 150.0 (100.0–200.0) |",
            "**stored for those away, Umbra**: 2 lost, 0 doubled, 4 out of order, 1 measurements failed.",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }
}
