//! What a publish costs as subscriptions and Brokers become more that it has nothing to do with.

use crate::growth_load::{KINDS, Outcome, PAYLOAD, WARM_UP, load};
use crate::link::{Lasting, Link};
use crate::servers::single::Single;
use crate::stats::Spread;
use crate::{proc, tables, until_stop_asked};
use anyhow::{Context, Result, bail, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use iot_types::Qos;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::runtime::Builder;

pub const USAGE: &str = "\
cargo run --release -p bench -- growth [options]
  --rounds N             rounds (5)
  --seconds S            of each measurement (0.7)
  --window N             publishes on their way (64)
  --subscriptions A,B,C  on one Broker (10,1000,100000)
  --brokers A,B,C        with 1000 subscriptions in all (1,4,16)
  --json FILE            where the results go, besides target/bench/growth.json";

/// How much more than with the fewest a publish may cost.
const BAR: f64 = 1.5;
/// With several Brokers, and the one that they are compared with.
const SUBSCRIPTIONS_OF_BROKERS: usize = 1_000;
/// A session takes 1,024.
const SUBSCRIPTIONS_OF_A_CONNECTION: usize = 1_000;
/// A SUBSCRIBE takes 256.
const FILTERS_AT_ONCE: usize = 250;
/// Connections that subscribe at the same time.
const SUBSCRIBERS_AT_ONCE: usize = 4;
/// So that every Broker has some.
const CONNECTIONS_OF_A_BROKER: usize = 4;

struct Arguments {
    rounds: usize,
    seconds: f64,
    window: u64,
    subscriptions: Vec<usize>,
    brokers: Vec<usize>,
    json: Option<PathBuf>,
    help: bool,
}

impl Arguments {
    fn parse(mut parser: lexopt::Parser) -> Result<Self> {
        use lexopt::prelude::*;
        let mut arguments = Self {
            rounds: 5,
            seconds: 0.7,
            window: 64,
            subscriptions: vec![10, 1_000, 100_000],
            brokers: vec![1, 4, 16],
            json: None,
            help: false,
        };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("rounds") => arguments.rounds = parser.value()?.parse()?,
                Long("seconds") => arguments.seconds = parser.value()?.parse()?,
                Long("window") => arguments.window = parser.value()?.parse()?,
                Long("subscriptions") => arguments.subscriptions = numbers(&parser.value()?.string()?)?,
                Long("brokers") => arguments.brokers = numbers(&parser.value()?.string()?)?,
                Long("json") => arguments.json = Some(parser.value()?.into()),
                Long("help") | Short('h') => arguments.help = true,
                other => return Err(other.unexpected().into()),
            }
        }
        let Self { rounds, seconds, window, subscriptions, brokers, .. } = &arguments;
        ensure!(*rounds > 0 && *window > 0, "--rounds and --window take a number of at least 1");
        ensure!((0.1..=60.0).contains(seconds), "--seconds takes a number from 0.1 to 60");
        ensure!(subscriptions.iter().all(|count| *count <= 1_000_000), "--subscriptions takes numbers up to 1000000");
        ensure!(brokers.iter().all(|count| *count <= 64), "--brokers takes numbers up to 64");
        Ok(arguments)
    }

    /// The platforms that are compared, in each series the one with the fewest first.
    fn series(&self) -> [(&'static str, Vec<Size>); 2] {
        let sorted = |numbers: &[usize]| {
            let mut numbers = numbers.to_vec();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        };
        let by_subscriptions = sorted(&self.subscriptions).into_iter();
        let by_subscriptions = by_subscriptions.map(|subscriptions| Size { subscriptions, brokers: 1 });
        let by_brokers = sorted(&self.brokers).into_iter();
        let by_brokers = by_brokers.map(|brokers| Size { subscriptions: SUBSCRIPTIONS_OF_BROKERS, brokers });
        [("subscriptions", by_subscriptions.collect()), ("Brokers", by_brokers.collect())]
    }
}

/// Numbers with commas between them.
fn numbers(text: &str) -> Result<Vec<usize>> {
    let parse = |number: &str| {
        let number: usize = number.parse().with_context(|| format!("{number:?} is no number"))?;
        ensure!(number > 0, "0 is too few");
        Ok(number)
    };
    text.split(',').map(parse).collect()
}

/// How large a platform is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Size {
    brokers: usize,
    /// That match nothing that is published.
    subscriptions: usize,
}

impl Size {
    fn connections(self) -> usize {
        let fewest = self.subscriptions.div_ceil(SUBSCRIPTIONS_OF_A_CONNECTION);
        fewest.max(self.brokers * CONNECTIONS_OF_A_BROKER).min(self.subscriptions)
    }

    /// The filters of a connection. Half of them are topics, the others end with `#`, and one in a hundred has a `+` so
    /// early that all of its kind are at one place in the tree.
    fn filters(self, connection: usize) -> Vec<String> {
        let numbers = (connection..self.subscriptions).step_by(self.connections());
        let filter = |number: usize| match number % 100 {
            99 => format!("growth/+/{number}/state"),
            even if even % 2 == 0 => format!("growth/{connection}/{number}/state"),
            _ => format!("growth/{connection}/{number}/#"),
        };
        numbers.map(filter).collect()
    }
}

#[derive(Serialize)]
struct Row {
    round: usize,
    publish: String,
    #[serde(flatten)]
    size: Size,
    #[serde(flatten)]
    outcome: Option<Outcome>,
    error: Option<String>,
}

#[derive(Serialize)]
struct Summary {
    series: &'static str,
    publish: String,
    #[serde(flatten)]
    size: Size,
    publishes_per_second: Option<Spread>,
    server_cpu_us_per_publish: Option<Spread>,
    /// To the smallest of the series.
    cpu_ratio: Option<Spread>,
    speed_ratio: Option<Spread>,
    generator_cpus: Option<Spread>,
    faults: u64,
    failed: usize,
}

#[derive(Serialize)]
struct Report {
    conditions: String,
    settings: String,
    load_average_before: String,
    load_average_after: String,
    other_cpus: Option<Spread>,
    /// How long it took to subscribe.
    seconds_to_subscribe: Vec<(Size, f64)>,
    summary: Vec<Summary>,
    measurements: Vec<Row>,
}

/// A platform with its subscribers.
struct Platform {
    size: Size,
    server: Single,
    publisher: Link,
    /// They stay connected.
    _subscribers: Vec<Link>,
    seconds_to_subscribe: f64,
}

/// Measures and prints.
///
/// # Errors
/// When a server does not start or refuses a subscription.
pub fn run(root: &Path, parser: lexopt::Parser) -> Result<()> {
    let arguments = Arguments::parse(parser)?;
    if arguments.help {
        println!("{USAGE}");
        return Ok(());
    }
    let load_average_before = proc::load_average();
    let series = arguments.series();
    let mut sizes: Vec<Size> = series.iter().flat_map(|(_, sizes)| sizes.iter().copied()).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut platforms = Vec::new();
    for size in sizes {
        let server = Single::umbra(root, &["--brokers", &size.brokers.to_string()])?;
        platforms.push(runtime.block_on(interruptible(populate(server, size)))?);
    }
    let rows = runtime.block_on(interruptible(measure(&arguments, &mut platforms)))?;
    let report = Report {
        conditions: crate::conditions_line(root, &tables::versions(root)),
        settings: format!(
            "{} rounds, interleaved; each {} s after {} s of warm-up; one publisher, {PAYLOAD} B, window {}. Median (min–max).",
            arguments.rounds,
            arguments.seconds,
            WARM_UP.as_secs_f64(),
            arguments.window
        ),
        load_average_before,
        load_average_after: proc::load_average(),
        other_cpus: Spread::of(rows.iter().filter_map(|row| row.outcome).map(|outcome| outcome.other_cpus)),
        seconds_to_subscribe: platforms.iter().map(|platform| (platform.size, platform.seconds_to_subscribe)).collect(),
        summary: summarise(&series, &rows),
        measurements: rows,
    };
    tables::save(root, "growth", arguments.json.as_deref(), &report)?;
    println!("{}", markdown(&report));
    Ok(())
}

async fn interruptible<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        result = work => result,
        () = until_stop_asked() => bail!("interrupted"),
    }
}

async fn populate(server: Single, size: Size) -> Result<Platform> {
    let begun = Instant::now();
    let connections = (0..size.connections()).map(|connection| subscriber(&server, size, connection));
    let subscribers = stream::iter(connections).buffer_unordered(SUBSCRIBERS_AT_ONCE).try_collect().await?;
    let seconds_to_subscribe = begun.elapsed().as_secs_f64();
    eprintln!("{size:?}: {} connections, {seconds_to_subscribe:.1} s to subscribe", size.connections());
    let mut publisher = Link::open(&server, "growth-publisher", Lasting::Clean).await?;
    for kind in KINDS.iter().filter(|kind| kind.is_wanted) {
        publisher.subscribe(&[kind.topic().to_string()], kind.qos).await?;
    }
    Ok(Platform { size, server, publisher, _subscribers: subscribers, seconds_to_subscribe })
}

async fn subscriber(server: &Single, size: Size, connection: usize) -> Result<Link> {
    let mut link = Link::open(server, &format!("growth-{connection}"), Lasting::Clean).await?;
    for filters in size.filters(connection).chunks(FILTERS_AT_ONCE) {
        link.subscribe(filters, Qos::AtLeastOnce).await?;
    }
    Ok(link)
}

async fn measure(arguments: &Arguments, platforms: &mut [Platform]) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for round in 1..=arguments.rounds {
        eprintln!("round {round} of {}", arguments.rounds);
        for kind in KINDS {
            // each round begins with another platform
            platforms.rotate_left(1);
            for platform in platforms.iter_mut() {
                let (server, publisher) = (&platform.server, &mut platform.publisher);
                let measure = Duration::from_secs_f64(arguments.seconds);
                let outcome = load(server, publisher, kind, arguments.window, measure).await;
                match &outcome {
                    Ok(outcome) => eprintln!(
                        "  {:<32} {:>6} subscriptions {:>2} Brokers {:>9.0}/s {:>6.2} µs",
                        kind.describe(),
                        platform.size.subscriptions,
                        platform.size.brokers,
                        outcome.publishes_per_second,
                        outcome.server_cpu_us_per_publish
                    ),
                    Err(error) => eprintln!("  {:<32} {:?}: {error:#}", kind.describe(), platform.size),
                }
                let (outcome, error) = match outcome {
                    Ok(outcome) => (Some(outcome), None),
                    Err(error) => (None, Some(format!("{error:#}"))),
                };
                rows.push(Row { round, publish: kind.describe(), size: platform.size, outcome, error });
            }
        }
    }
    Ok(rows)
}

fn summarise(series: &[(&'static str, Vec<Size>)], rows: &[Row]) -> Vec<Summary> {
    let mut summary = Vec::new();
    for (series, sizes) in series {
        for kind in KINDS {
            for size in sizes {
                let publish = kind.describe();
                let of = |size: &Size| {
                    let (publish, size) = (publish.clone(), *size);
                    rows.iter().filter(move |row| row.publish == publish && row.size == size)
                };
                let spread =
                    |get: fn(&Outcome) -> f64| Spread::of(of(size).filter_map(|row| row.outcome.as_ref().map(get)));
                let ratio = |get: fn(&Outcome) -> f64| {
                    Spread::of_ratios(of(size).map(|row| {
                        let base = sizes.first().and_then(|base| of(base).find(|base| base.round == row.round));
                        let value = |row: &Row| row.outcome.as_ref().map(get);
                        (value(row), base.and_then(value))
                    }))
                };
                summary.push(Summary {
                    series,
                    size: *size,
                    publishes_per_second: spread(|outcome| outcome.publishes_per_second),
                    server_cpu_us_per_publish: spread(|outcome| outcome.server_cpu_us_per_publish),
                    cpu_ratio: ratio(|outcome| outcome.server_cpu_us_per_publish),
                    speed_ratio: ratio(|outcome| outcome.publishes_per_second),
                    generator_cpus: spread(|outcome| outcome.generator_cpus),
                    faults: of(size).filter_map(|row| row.outcome).map(|outcome| outcome.faults).sum(),
                    failed: of(size).filter(|row| row.outcome.is_none()).count(),
                    publish,
                });
            }
        }
    }
    summary
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
        "| publish | Brokers | subscriptions | publishes/s | server CPU µs/publish | CPU to the fewest | at most {BAR} | \
         speed to the fewest |"
    )?;
    writeln!(text, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
    let mut previous = ("", String::new());
    for row in &report.summary {
        let at = (row.series, row.publish.clone());
        let is_busy = row.generator_cpus.is_some_and(|cpus| cpus.median >= 0.9);
        let is_first = previous != at;
        let is_met = row.cpu_ratio.is_some_and(|ratio| ratio.median <= BAR);
        writeln!(
            text,
            "| {}{} | {} | {} | {} | {} | {} | {} | {} |",
            if is_first { row.publish.as_str() } else { "" },
            if is_busy { " *" } else { "" },
            row.size.brokers,
            row.size.subscriptions,
            tables::thousands(row.publishes_per_second),
            tables::cell(row.server_cpu_us_per_publish, 2),
            tables::cell(row.cpu_ratio, 2),
            match (is_first, is_met) {
                (true, _) => "–",
                (false, true) => "met",
                (false, false) => "missed",
            },
            tables::cell(row.speed_ratio, 2),
        )?;
        previous = at;
    }
    if report.summary.iter().any(|row| row.generator_cpus.is_some_and(|cpus| cpus.median >= 0.9)) {
        writeln!(text, "\n\\* the load generator used up its processor: the server can do more.")?;
    }
    for (size, seconds) in &report.seconds_to_subscribe {
        writeln!(
            text,
            "\n{} subscriptions of {} connections to {} Brokers: {seconds:.1} s to subscribe.",
            size.subscriptions,
            size.connections(),
            size.brokers
        )?;
    }
    for row in report.summary.iter().filter(|row| row.faults > 0 || row.failed > 0) {
        writeln!(
            text,
            "\n**{}, {} Brokers, {} subscriptions**: {} lost or out of order, {} measurements failed.",
            row.publish, row.size.brokers, row.size.subscriptions, row.faults, row.failed
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::growth_load::Kind;
    use std::collections::BTreeSet;

    fn parsed(arguments: &str) -> Result<Arguments> {
        Arguments::parse(lexopt::Parser::from_args(arguments.split_whitespace()))
    }

    fn matches(filter: &str, topic: &str) -> bool {
        let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
        loop {
            match (filter.next(), topic.next()) {
                (Some("#"), _) | (None, None) => return true,
                (Some("+"), Some(_)) => {}
                (Some(wanted), Some(level)) if wanted == level => {}
                _ => return false,
            }
        }
    }

    #[test]
    fn every_subscription_is_another_and_none_matches_what_is_published() {
        for (subscriptions, brokers) in [(10, 1), (1_000, 16), (100_000, 1)] {
            let size = Size { subscriptions, brokers };
            let connections: Vec<_> = (0..size.connections()).map(|connection| size.filters(connection)).collect();
            assert!(connections.iter().all(|filters| (1..=SUBSCRIPTIONS_OF_A_CONNECTION).contains(&filters.len())));
            assert!(connections.len() >= brokers);
            let filters: BTreeSet<&String> = connections.iter().flatten().collect();
            assert_eq!(filters.len(), subscriptions);
            for topic in KINDS.map(Kind::topic) {
                assert!(!filters.iter().any(|filter| matches(filter, &topic)), "{topic}");
            }
        }
        assert!(matches("growth/+/99/state", "growth/3/99/state") && matches("growth/0/1/#", "growth/0/1/x/y"));
    }

    #[test]
    fn each_series_begins_with_the_fewest() {
        let [(_, by_subscriptions), (_, by_brokers)] =
            parsed("--subscriptions 50,5,50 --brokers 4,2").unwrap().series();
        assert_eq!(by_subscriptions.iter().map(|size| size.subscriptions).collect::<Vec<_>>(), [5, 50]);
        assert_eq!(by_brokers.iter().map(|size| size.brokers).collect::<Vec<_>>(), [2, 4]);
        assert!(by_brokers.iter().all(|size| size.subscriptions == SUBSCRIPTIONS_OF_BROKERS));
    }

    #[test]
    fn wrong_options_are_refused() {
        for wrong in ["--subscriptions 0", "--subscriptions 1,x", "--brokers 65", "--rounds 0", "--seconds 0", "x"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_table_says_which_size_costs_too_much() {
        let small = Size { subscriptions: 10, brokers: 1 };
        let large = Size { subscriptions: 1_000, brokers: 1 };
        let row = |round, size, cost| Row {
            round,
            publish: KINDS[0].describe(),
            size,
            outcome: Some(Outcome {
                publishes_per_second: 1e6 / cost,
                server_cpu_us_per_publish: cost,
                generator_cpus: 0.5,
                other_cpus: 0.0,
                faults: 3,
            }),
            error: None,
        };
        let rows = vec![row(1, small, 5.0), row(1, large, 10.0), row(2, large, 20.0), row(2, small, 10.0)];
        let summary = summarise(&[("subscriptions", vec![small, large])], &rows);
        let report = Report {
            conditions: String::new(),
            settings: String::new(),
            load_average_before: String::new(),
            load_average_after: String::new(),
            other_cpus: None,
            seconds_to_subscribe: vec![(large, 1.25)],
            summary,
            measurements: rows,
        };
        let text = markdown(&report);
        for expected in [
            "| QoS 0, nobody wants it | 1 | 10 | 150.0 k (100.0–200.0) | 7.50 (5.00–10.00) | 1.00 (1.00–1.00) | – |",
            "|  | 1 | 1000 | 75.0 k (50.0–100.0) | 15.00 (10.00–20.00) | 2.00 (2.00–2.00) | missed | 0.50 (0.50–0.50) |",
            "1000 subscriptions of 4 connections to 1 Brokers: 1.2 s to subscribe.",
            "**QoS 0, nobody wants it, 1 Brokers, 1000 subscriptions**: 6 lost or out of order, 0 measurements failed.",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }
}
