//! Compares Umbra in workerd with other brokers and with floors, Durable Objects in plain JavaScript that do nothing of a
//! broker: the same load on each, interleaved in one run, as ratios. bench/README.md says what is measured and how.

mod client;
mod clock;
mod connects;
mod durable;
mod durable_load;
mod growth;
mod growth_load;
mod idle;
mod latency;
mod link;
mod load;
mod outcome;
mod proc;
mod report;
mod retained;
mod scenario;
mod servers;
mod shared;
mod start;
mod stats;
mod tables;
mod targets;
mod window;

use anyhow::{Context, Result, bail, ensure};
use outcome::Outcome;
use report::{Conditions, Report, Row, summarise};
use scenario::{Group, Load, Scenario};
use servers::Servers;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use targets::{TARGETS, takes_part};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::runtime::{Builder, Runtime};

const USAGE: &str = "\
cargo run --release -p bench -- [options]
  --quick             fewer scenarios and shorter measurements: about two minutes
  --rounds N          rounds (5; with --quick 2)
  --seconds S         of each measurement (1; with --quick 0.4)
  --pairs N           pairs of publisher and subscriber (10)
  --window N          messages that a publisher has on their way (64)
  --groups A,B        of pairs, fan-out, fan-in, cross, connect, latency, retained (all)
  --targets A,B       of umbra, umbra-accepted, mosquitto, rumqttd, aedes, floor, floor-accepted, floor-each (all)
  --scenarios TEXT    only those whose name contains it
  --json FILE         where the results go, besides target/bench/latest.json

cargo run --release -p bench -- idle --help: memory of idle connections
cargo run --release -p bench -- durable --help: sessions that outlive their connections
cargo run --release -p bench -- growth --help: a publish among many subscriptions and Brokers
cargo run --release -p bench -- start --help: the time to a first CONNACK";

/// Connections of the largest scenario and what else is open.
const OPEN_FILES: u64 = 4_096;

static STOP_ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Whether someone wants this process to end.
fn stop_asked() -> bool {
    STOP_ASKED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

struct Arguments {
    quick: bool,
    rounds: usize,
    pairs: usize,
    load: load::Settings,
    targets: Vec<&'static str>,
    groups: Vec<Group>,
    scenarios: String,
    json: Option<PathBuf>,
    help: bool,
}

impl Arguments {
    fn parse(mut parser: lexopt::Parser) -> Result<Self> {
        use lexopt::prelude::*;
        let (mut quick, mut help, mut pairs, mut window) = (false, false, 10, 64);
        let (mut rounds, mut seconds, mut json) = (None, None, None);
        let (mut targets, mut groups, mut scenarios) = (TARGETS.to_vec(), Group::ALL.to_vec(), String::new());
        while let Some(argument) = parser.next()? {
            match argument {
                Long("quick") => quick = true,
                Long("rounds") => rounds = Some(parser.value()?.parse()?),
                Long("seconds") => seconds = Some(parser.value()?.parse()?),
                Long("pairs") => pairs = parser.value()?.parse()?,
                Long("window") => window = parser.value()?.parse()?,
                Long("targets") => targets = targets::parse(&TARGETS, &parser.value()?.string()?)?,
                Long("groups") => groups = Group::parse_list(&parser.value()?.string()?)?,
                Long("scenarios") => scenarios = parser.value()?.string()?,
                Long("json") => json = Some(parser.value()?.into()),
                Long("help") | Short('h') => help = true,
                other => return Err(other.unexpected().into()),
            }
        }
        let rounds = rounds.unwrap_or(if quick { 2 } else { 5 });
        let seconds: f64 = seconds.unwrap_or(if quick { 0.4 } else { 1.0 });
        ensure!(rounds > 0 && pairs > 0, "--rounds and --pairs take a number of at least 1");
        ensure!((1..=10_000).contains(&window), "--window takes a number from 1 to 10000");
        ensure!((0.1..=60.0).contains(&seconds), "--seconds takes a number from 0.1 to 60");
        let warm_up = Duration::from_millis(if quick { 200 } else { 300 });
        let load = load::Settings { window, warm_up, measure: Duration::from_secs_f64(seconds) };
        Ok(Self { quick, rounds, pairs, load, targets, groups, scenarios, json, help })
    }

    /// What is to be measured. With `--quick` and neither groups nor names given, fewer.
    fn scenarios(&self) -> Vec<Scenario> {
        let is_chosen = !self.scenarios.is_empty() || self.groups != Group::ALL;
        let mut scenarios = scenario::all(self.pairs);
        scenarios.retain(|scenario| {
            scenario.name.contains(&self.scenarios)
                && self.groups.contains(&scenario.group)
                && (is_chosen || scenario.is_quick || !self.quick)
        });
        scenarios
    }

    /// No measurement begins later than this after the servers are ready, so that a run is bounded in time.
    fn begin_within(&self) -> Duration {
        Duration::from_secs(if self.quick { 150 } else { 25 * 60 })
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let flag = STOP_ASKED.get_or_init(Arc::default);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag)).context("cannot catch signals")?;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no parent directory")?.canonicalize()?;
    let rest = || lexopt::Parser::from_args(std::env::args_os().skip(2));
    match std::env::args().nth(1).as_deref() {
        Some("idle") => return idle::run(&root, rest()),
        Some("durable") => return durable::run(&root, rest()),
        Some("growth") => return growth::run(&root, rest()),
        Some("start") => return start::run(&root, rest()),
        _ => {}
    }
    let arguments = Arguments::parse(lexopt::Parser::from_env())?;
    if arguments.help {
        println!("{USAGE}");
        return Ok(());
    }
    let scenarios = arguments.scenarios();
    ensure!(!scenarios.is_empty(), "no scenario of these groups has a name that contains {:?}", arguments.scenarios);
    proc::allow_open_files(OPEN_FILES)?;

    let wanted = scenarios.iter().flat_map(|scenario| {
        let targets = arguments.targets.iter().filter(|target| takes_part(target, scenario));
        targets.map(|target| (*target, scenario.brokers()))
    });
    let servers = Servers::start(&root, wanted)?;
    let mut conditions = conditions(&root, &arguments, &servers);
    let measurements = measure(&arguments, &scenarios, &servers)?;
    conditions.load_average_after = proc::load_average();
    conditions.rounds = measurements.iter().map(|row| row.round).max().unwrap_or_default();
    drop(servers);

    let summary = summarise(&measurements, &scenarios, &arguments.targets);
    let report = Report { conditions, summary, measurements };
    tables::save(&root, "latest", arguments.json.as_deref(), &report)?;
    println!("{}", report.markdown());
    Ok(())
}

/// One measurement after the other, all targets of a scenario close together, each round beginning with another target.
fn measure(arguments: &Arguments, scenarios: &[Scenario], servers: &Servers) -> Result<Vec<Row>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let start = Instant::now();
    let mut rows = Vec::new();
    for round in 1..=arguments.rounds {
        eprintln!("round {round} of {}, {:.0} s so far", arguments.rounds, start.elapsed().as_secs_f64());
        let mut of_this_round = Vec::new();
        for scenario in scenarios {
            let mut targets: Vec<&'static str> =
                arguments.targets.iter().copied().filter(|target| takes_part(target, scenario)).collect();
            let first = round % targets.len().max(1);
            targets.rotate_left(first);
            for target in targets {
                if start.elapsed() > arguments.begin_within() {
                    eprintln!("out of time: round {round} is not counted");
                    ensure!(!rows.is_empty(), "not one round was finished in time");
                    return Ok(rows);
                }
                let run = format!("{round}-{}", of_this_round.len());
                of_this_round.push(measure_one(&runtime, arguments.load, servers, scenario, target, round, &run)?);
            }
        }
        rows.append(&mut of_this_round);
    }
    Ok(rows)
}

fn measure_one(
    runtime: &Runtime,
    settings: load::Settings,
    servers: &Servers,
    scenario: &Scenario,
    target: &'static str,
    round: usize,
    run: &str,
) -> Result<Row> {
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = load_one(settings, servers, scenario, target, run) => Ok(outcome),
            () = until_stop_asked() => bail!("interrupted"),
        }
    })?;
    let (outcome, error) = match outcome {
        Ok(outcome) => (Some(outcome), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    match (&outcome, &error) {
        (Some(outcome), _) => eprintln!(
            "  {:<40} {target:<15} {:>9.0}/s  p50 {:>6.2} ms  p99 {:>6.2} ms  {:>6.2} µs  {}",
            scenario.name,
            outcome.deliveries_per_second,
            outcome.latency_p50_ms,
            outcome.latency_p99_ms,
            outcome.server_cpu_us_per_delivery,
            outcome.faults.words().unwrap_or_default(),
        ),
        (None, error) => eprintln!("  {:<40} {target:<15} {}", scenario.name, error.as_deref().unwrap_or_default()),
    }
    Ok(Row { round, scenario: scenario.name.clone(), target, outcome, error })
}

async fn load_one(
    settings: load::Settings,
    servers: &Servers,
    scenario: &Scenario,
    target: &'static str,
    run: &str,
) -> Result<Outcome> {
    let brokers = scenario.brokers();
    let (endpoint, root) = servers.get(target, brokers)?;
    let outcome = match scenario.load {
        Load::Saturate(traffic) => load::measure(endpoint, root, traffic, settings, run).await?,
        Load::Paced { traffic, per_second } => {
            // so little has to be measured for longer
            let settings = load::Settings { measure: settings.measure * 4, ..settings };
            latency::measure(&endpoint.at_once(), root, traffic, per_second, settings, run).await?
        }
        Load::Connects { connectors } => connects::measure(endpoint, root, connectors, settings, run).await?,
        Load::Retained { topics, payload } => {
            retained::measure(endpoint, root, (topics, payload), settings, run).await?
        }
    };
    // clients are where they should be, or it would not be what it is called
    if let Some(started) = servers.nodes_started(target, brokers)? {
        ensure!(started >= brokers as usize, "{started} of {brokers} Brokers had clients");
    }
    Ok(outcome)
}

async fn until_stop_asked() {
    while !stop_asked() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn conditions(root: &Path, arguments: &Arguments, servers: &Servers) -> Conditions {
    Conditions {
        date: date(),
        commit: commit(root),
        command: command(),
        processor: proc::processor(),
        processors: processors(),
        load_average_before: proc::load_average(),
        load_average_after: String::new(),
        versions: servers.versions.clone(),
        window: arguments.load.window,
        warm_up_seconds: arguments.load.warm_up.as_secs_f64(),
        measure_seconds: arguments.load.measure.as_secs_f64(),
        rounds: 0,
    }
}

/// The same for people, as far as it is not about load.
fn conditions_line(root: &Path, versions: &BTreeMap<&'static str, String>) -> String {
    let versions = versions.values().cloned().collect::<Vec<_>>().join(", ");
    let (date, commit, command, processors) = (date(), commit(root), command(), processors());
    format!("{date}, commit {commit}, `{command}`; {versions}; {processors} × {}.", proc::processor())
}

fn date() -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    OffsetDateTime::now_utc().format(format).unwrap_or_default()
}

fn command() -> String {
    let given: Vec<String> = std::env::args().skip(1).collect();
    let command = ["cargo run --release -p bench".to_owned()].into_iter();
    command.chain((!given.is_empty()).then(|| format!("-- {}", given.join(" ")))).collect::<Vec<_>>().join(" ")
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn commit(root: &Path) -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    let is_dirty = git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|changes| !changes.is_empty());
    if is_dirty { format!("{commit}-dirty") } else { commit }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &str) -> Result<Arguments> {
        Arguments::parse(lexopt::Parser::from_args(arguments.split_whitespace()))
    }

    #[test]
    fn options_override_what_quick_says() {
        let quick = parsed("--quick").unwrap();
        assert!(quick.quick && quick.rounds < parsed("").unwrap().rounds);
        let given = parsed("--quick --rounds 7 --seconds 2 --window 8 --pairs 3").unwrap();
        assert_eq!((given.rounds, given.pairs, given.load.window), (7, 3, 8));
        assert_eq!(given.load.measure, Duration::from_secs(2));
    }

    #[test]
    fn targets_are_reported_in_the_same_order_however_they_are_named() {
        assert_eq!(parsed("--targets floor,umbra").unwrap().targets, ["umbra", "floor"]);
    }

    #[test]
    fn scenarios_are_chosen_by_group_and_name_and_quick_leaves_out_only_what_was_not_asked_for() {
        let count = |options| parsed(options).unwrap().scenarios().len();
        assert!(count("--quick") < count(""));
        assert_eq!(count("--quick --groups fan-in"), count("--groups fan-in"));
        assert_eq!(count("--groups fan-out --scenarios 1→1000"), 1);
    }

    #[test]
    fn wrong_options_are_refused() {
        for wrong in [
            "--targets nats",
            "--groups all",
            "--rounds 0",
            "--seconds 0",
            "--seconds 1e9",
            "--window 0",
            "--quik",
            "extra",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
