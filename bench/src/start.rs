//! How long a client waits for its CONNACK when nothing has been started yet, beside an object that does nothing else.

use crate::link::{Lasting, Link};
use crate::servers::single::Single;
use crate::stats::Spread;
use crate::{proc, tables, until_stop_asked};
use anyhow::{Result, bail, ensure};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::time::sleep;

pub const USAGE: &str = "\
cargo run --release -p bench -- start [options]
  --rounds N          starts of each kind (10)
  --json FILE         where the results go, besides target/bench/start.json";

/// A client finds one that nobody has used, whichever is picked for it: so many that few meet.
const BROKERS: &str = "512";
/// A line of the log is written by then.
const LOGGED_WITHIN: Duration = Duration::from_secs(2);
/// What a start still does after its answer.
const PAUSE: Duration = Duration::from_millis(100);

const UMBRA: &str = "Umbra";
const PLAIN: &str = "floor";
const WITH_ROW: &str = "floor that stores a row first";

/// What has been started already.
const ISOLATE: &str = "nothing but the process";
const OBJECTS: &str = "the isolate, no object";
const ANOTHER: &str = "all but the Broker";
const NOTHING: &str = "everything";

const SITUATIONS: [&str; 4] = [ISOLATE, OBJECTS, ANOTHER, NOTHING];
const TARGETS: [&str; 3] = [UMBRA, PLAIN, WITH_ROW];

struct Arguments {
    rounds: usize,
    json: Option<PathBuf>,
    help: bool,
}

impl Arguments {
    fn parse(mut parser: lexopt::Parser) -> Result<Self> {
        use lexopt::prelude::*;
        let mut arguments = Self { rounds: 10, json: None, help: false };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("rounds") => arguments.rounds = parser.value()?.parse()?,
                Long("json") => arguments.json = Some(parser.value()?.into()),
                Long("help") | Short('h') => arguments.help = true,
                other => return Err(other.unexpected().into()),
            }
        }
        ensure!((1..=100).contains(&arguments.rounds), "--rounds takes a number from 1 to 100");
        Ok(arguments)
    }
}

/// One start, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Outcome {
    /// From dialling to CONNACK.
    total_ms: f64,
    /// From dialling until the WebSocket is open.
    upgrade_ms: f64,
    /// From CONNECT to CONNACK.
    connack_ms: f64,
    /// Before: a request to a path that leads nowhere.
    request_ms: Option<f64>,
    /// Before: ending workerd and starting it again.
    restart_ms: Option<f64>,
}

#[derive(Serialize)]
struct Row {
    round: usize,
    started: &'static str,
    target: &'static str,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Serialize)]
struct Summary {
    started: &'static str,
    target: &'static str,
    total_ms: Option<Spread>,
    /// To the floor.
    ratio: Option<Spread>,
    upgrade_ms: Option<Spread>,
    connack_ms: Option<Spread>,
    request_ms: Option<Spread>,
    restart_ms: Option<Spread>,
}

#[derive(Serialize)]
struct Report {
    conditions: String,
    rounds: usize,
    load_average_before: String,
    load_average_after: String,
    summary: Vec<Summary>,
    measurements: Vec<Row>,
}

struct Servers {
    /// With one Broker.
    umbra: Single,
    /// With very many.
    wide: Single,
    floor: Single,
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
    let servers = Servers {
        umbra: Single::umbra(root, &["--brokers", "1"])?,
        wide: Single::umbra(root, &["--brokers", BROKERS])?,
        floor: Single::floor(root, "start")?,
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let rows = runtime.block_on(async {
        tokio::select! {
            rows = measure(&servers, arguments.rounds) => rows,
            () = until_stop_asked() => bail!("interrupted"),
        }
    })?;
    let report = Report {
        conditions: crate::conditions_line(root, &tables::versions(root)),
        rounds: arguments.rounds,
        load_average_before,
        load_average_after: proc::load_average(),
        summary: summarise(&rows),
        measurements: rows,
    };
    tables::save(root, "start", arguments.json.as_deref(), &report)?;
    println!("{}", markdown(&report));
    Ok(())
}

async fn measure(servers: &Servers, rounds: usize) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    // What the first of all costs is a start of Node's.
    for (server, path) in [(&servers.umbra, ""), (&servers.wide, ""), (&servers.floor, "/plain/first")] {
        connect(server, path, "first").await?;
    }
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for started in SITUATIONS {
            for target in TARGETS {
                let outcome = start(servers, started, target, round).await?;
                let Some(outcome) = outcome else {
                    eprintln!("  {started}, {target}: met a Broker that was in use, and does not count");
                    continue;
                };
                eprintln!("  {started:<24} {target:<30} {:>7.2} ms", outcome.total_ms);
                rows.push(Row { round, started, target, outcome });
                sleep(PAUSE).await;
            }
        }
    }
    Ok(rows)
}

/// One of them. `None` if it was not what it should have been.
async fn start(
    servers: &Servers,
    started: &'static str,
    target: &'static str,
    round: usize,
) -> Result<Option<Outcome>> {
    let is_umbra = target == UMBRA;
    let is_another = started == ANOTHER;
    let server = match (is_umbra, is_another) {
        (true, true) => &servers.wide,
        (true, false) => &servers.umbra,
        (false, _) => &servers.floor,
    };
    let kind = if target == WITH_ROW { "row" } else { "plain" };
    let path = match (is_umbra, is_another) {
        (true, _) => String::new(),
        (false, true) => format!("/{kind}/{round}"),
        (false, false) => format!("/{kind}/one"),
    };
    let (mut restart_ms, mut request_ms) = (None, None);
    if started == ISOLATE || started == OBJECTS {
        restart_ms = Some(timed(server.restart()).await?.0);
    }
    if started == OBJECTS {
        let (millis, status) = timed(server.get("/nothing-here")).await?;
        ensure!((400..500).contains(&status), "a path that leads nowhere was answered by {status}");
        request_ms = Some(millis);
    }
    if started == NOTHING {
        connect(server, &path, &format!("before-{round}")).await?;
        sleep(PAUSE).await;
    }
    let begun = if is_umbra && is_another { Some(server.nodes_started()?) } else { None };
    let outcome = connect(server, &path, &format!("start-{round}")).await?;
    if let Some(begun) = begun
        && !has_begun(server, begun).await?
    {
        return Ok(None);
    }
    Ok(Some(Outcome { request_ms, restart_ms, ..outcome }))
}

async fn has_begun(server: &Single, before: usize) -> Result<bool> {
    let deadline = Instant::now() + LOGGED_WITHIN;
    while server.nodes_started()? == before {
        if Instant::now() > deadline {
            return Ok(false);
        }
        sleep(PAUSE).await;
    }
    Ok(true)
}

async fn connect(server: &Single, path: &str, client_id: &str) -> Result<Outcome> {
    let (upgrade_ms, mut link) = timed(Link::dial(&format!("{}{path}", server.url))).await?;
    let (connack_ms, _) = timed(link.connect(server.login.clone(), client_id, Lasting::Clean)).await?;
    link.close().await;
    Ok(Outcome { total_ms: upgrade_ms + connack_ms, upgrade_ms, connack_ms, request_ms: None, restart_ms: None })
}

/// Milliseconds that it took, and its result.
async fn timed<T>(work: impl Future<Output = Result<T>>) -> Result<(f64, T)> {
    let begun = Instant::now();
    let result = work.await?;
    Ok((begun.elapsed().as_secs_f64() * 1e3, result))
}

fn summarise(rows: &[Row]) -> Vec<Summary> {
    let pairs = SITUATIONS.into_iter().flat_map(|started| TARGETS.map(|target| (started, target)));
    let summary = pairs.map(|(started, target)| {
        let of = |target: &'static str| rows.iter().filter(move |row| row.started == started && row.target == target);
        let spread = |get: fn(&Outcome) -> Option<f64>| Spread::of(of(target).filter_map(|row| get(&row.outcome)));
        let ratios = of(target).map(|row| {
            let base = of(PLAIN).find(|base| base.round == row.round);
            (Some(row.outcome.total_ms), base.map(|base| base.outcome.total_ms))
        });
        Summary {
            started,
            target,
            total_ms: spread(|outcome| Some(outcome.total_ms)),
            ratio: Spread::of_ratios(ratios),
            upgrade_ms: spread(|outcome| Some(outcome.upgrade_ms)),
            connack_ms: spread(|outcome| Some(outcome.connack_ms)),
            request_ms: spread(|outcome| outcome.request_ms),
            restart_ms: spread(|outcome| outcome.restart_ms),
        }
    });
    summary.filter(|row| row.total_ms.is_some()).collect()
}

fn markdown(report: &Report) -> String {
    tables::text(|text| write_markdown(text, report))
}

fn write_markdown(text: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(
        text,
        "{}\nLoad average {} before, {} after. {} starts of each kind, interleaved; milliseconds, median (min–max).\n",
        report.conditions, report.load_average_before, report.load_average_after, report.rounds
    )?;
    writeln!(
        text,
        "| started already | server | dialling to CONNACK | ratio | until the WebSocket is open | CONNECT to CONNACK | \
         before: a request | before: workerd again |"
    )?;
    writeln!(text, "|---|---|--:|--:|--:|--:|--:|--:|")?;
    for row in &report.summary {
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            row.started,
            row.target,
            tables::cell(row.total_ms, 1),
            tables::cell(row.ratio, 2),
            tables::median(row.upgrade_ms, 1),
            tables::median(row.connack_ms, 1),
            tables::median(row.request_ms, 1),
            tables::median(row.restart_ms, 0),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(round: usize, target: &'static str, total_ms: f64) -> Row {
        let outcome = Outcome {
            total_ms,
            upgrade_ms: total_ms / 4.0,
            connack_ms: total_ms * 3.0 / 4.0,
            request_ms: Some(7.0),
            restart_ms: None,
        };
        Row { round, started: OBJECTS, target, outcome }
    }

    #[test]
    fn the_table_has_ratios_of_a_round_and_leaves_out_what_was_not_measured() {
        let rows = vec![row(1, UMBRA, 20.0), row(1, PLAIN, 10.0), row(2, PLAIN, 20.0), row(2, UMBRA, 60.0)];
        let report = Report {
            conditions: String::new(),
            rounds: 2,
            load_average_before: String::new(),
            load_average_after: String::new(),
            summary: summarise(&rows),
            measurements: rows,
        };
        let text = markdown(&report);
        let expected =
            "| the isolate, no object | Umbra | 40.0 (20.0–60.0) | 2.50 (2.00–3.00) | 10.0 | 30.0 | 7.0 | – |";
        assert!(text.contains(expected), "{expected} is not in\n{text}");
        assert!(!text.contains(WITH_ROW) && !text.contains(ISOLATE));
    }

    #[test]
    fn wrong_options_are_refused() {
        for wrong in ["--rounds 0", "--rounds 101", "--seconds 1", "x"] {
            assert!(Arguments::parse(lexopt::Parser::from_args(wrong.split_whitespace())).is_err(), "{wrong}");
        }
    }
}
