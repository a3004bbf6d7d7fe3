//! What a connection costs in memory when nothing happens on it: the server's process, before and after many of them.

use crate::client::{Client, Endpoint, retry_after};
use crate::servers::Servers;
use crate::tables;
use crate::targets::{self, describe};
use crate::{conditions_line, proc, stop_asked, until_stop_asked};
use anyhow::{Result, bail, ensure};
use futures_util::future::try_join_all;
use iot_types::Qos;
use serde::Serialize;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::time::sleep;

pub const USAGE: &str = "\
cargo run --release -p bench -- idle [options]
  --connections N     to each server (10000)
  --targets A,B       of umbra, umbra-accepted, mosquitto, floor, floor-accepted (all)
  --json FILE         where the results go, besides target/bench/idle.json";

/// In the order in which they are reported.
const TARGETS: [&str; 5] = ["umbra", "umbra-accepted", "mosquitto", "floor", "floor-accepted"];
/// Connections of a Broker, by default (`BROKER_CAPACITY`).
const CAPACITY: usize = 2_000;
/// After a change, until memory is looked at.
const SETTLE: Duration = Duration::from_secs(4);
/// workerd puts an object to sleep after ten seconds without an event, and a Broker has things to note before.
const FALL_ASLEEP: Duration = Duration::from_secs(40);
/// Clients that do something at the same time, where it is allowed.
const AT_ONCE: usize = 50;
/// A server that refuses for this long has no room.
const OPEN_WITHIN: Duration = Duration::from_secs(30);
/// Files that a process needs besides its connections.
const OTHER_FILES: u64 = 500;

struct Arguments {
    connections: usize,
    targets: Vec<&'static str>,
    json: Option<PathBuf>,
    help: bool,
}

impl Arguments {
    fn parse(mut parser: lexopt::Parser) -> Result<Self> {
        use lexopt::prelude::*;
        let mut arguments = Self { connections: 10_000, targets: TARGETS.to_vec(), json: None, help: false };
        while let Some(argument) = parser.next()? {
            match argument {
                Long("connections") => arguments.connections = parser.value()?.parse()?,
                Long("targets") => arguments.targets = targets::parse(&TARGETS, &parser.value()?.string()?)?,
                Long("json") => arguments.json = Some(parser.value()?.into()),
                Long("help") | Short('h') => arguments.help = true,
                other => return Err(other.unexpected().into()),
            }
        }
        ensure!((1..=60_000).contains(&arguments.connections), "--connections takes a number from 1 to 60000");
        Ok(arguments)
    }

    /// One more than are needed, as clients choose at random.
    fn brokers(&self) -> usize {
        self.connections.div_ceil(CAPACITY) + 1
    }
}

/// Of one server. Bytes are those of its process that are in memory.
#[derive(Debug, Serialize)]
struct Outcome {
    target: &'static str,
    connections: usize,
    /// After some clients have come and gone.
    bytes_before: u64,
    /// With all connections.
    bytes_connected: u64,
    /// With a subscription of its own for each; `None` where it can't be told from connecting.
    bytes_subscribed: Option<u64>,
    /// After 40 seconds in which nothing happened; `None` where nothing sleeps.
    bytes_asleep: Option<u64>,
    /// After every client has said something and been answered.
    bytes_awake_again: u64,
    /// Connections that were answered at the end.
    answered: usize,
    /// How often an object has woken from sleep since the clients were silent, where the server tells.
    woken: Option<usize>,
    seconds_to_connect: f64,
}

impl Outcome {
    /// What each connection added.
    fn per_connection(&self, bytes: u64) -> f64 {
        (bytes as f64 - self.bytes_before as f64) / self.connections as f64
    }
}

#[derive(Serialize)]
struct Report {
    conditions: String,
    measurements: Vec<Outcome>,
}

/// Measures and prints.
///
/// # Errors
/// When a server does not start or does not take the connections.
pub fn run(root: &Path, parser: lexopt::Parser) -> Result<()> {
    let arguments = Arguments::parse(parser)?;
    if arguments.help {
        println!("{USAGE}");
        return Ok(());
    }
    proc::allow_open_files(arguments.connections as u64 + OTHER_FILES)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let mut measurements = Vec::new();
    let mut versions = std::collections::BTreeMap::new();
    // One after the other: each has the machine for itself.
    for target in &arguments.targets {
        let brokers = arguments.brokers();
        let servers = Servers::start_idle(root, target, u32::try_from(brokers)?)?;
        versions.extend(servers.versions.clone());
        let outcome = runtime.block_on(async {
            tokio::select! {
                outcome = measure(&servers, target, arguments.connections, brokers) => outcome,
                () = until_stop_asked() => bail!("interrupted"),
            }
        })?;
        measurements.push(outcome);
    }
    let report = Report { conditions: conditions_line(root, &versions), measurements };
    tables::save(root, "idle", arguments.json.as_deref(), &report)?;
    println!("{}", markdown(&report));
    Ok(())
}

async fn measure(servers: &Servers, target: &'static str, connections: usize, objects: usize) -> Result<Outcome> {
    let brokers = u32::try_from(objects)?;
    let (endpoint, root) = servers.get(target, brokers)?;
    let is_workerd = target != "mosquitto";
    let sleeps = is_workerd && !target.ends_with("accepted");
    let program = if is_workerd { "workerd" } else { "mosquitto" };
    let resident = || proc::resident(root, program);
    // This workerd never lets an object sleep that took two upgrades at once; mosquitto looks ten times a second.
    let at_once = if sleeps { 1 } else { AT_ONCE };
    // What the first clients cost is not a connection's.
    for client in open(endpoint, "warm", objects * 8, objects, at_once).await? {
        client.close().await;
    }
    sleep(SETTLE).await;
    let bytes_before = resident()?;

    let begun = Instant::now();
    let mut clients = open(endpoint, "idle", connections, objects, at_once).await?;
    let seconds_to_connect = begun.elapsed().as_secs_f64();
    sleep(SETTLE).await;
    let bytes_connected = resident()?;

    let is_mqtt = matches!(endpoint, Endpoint::Mqtt { .. });
    let mut bytes_subscribed = None;
    if is_mqtt {
        for (chunk, some) in clients.chunks_mut(AT_ONCE).enumerate() {
            let subscribe = |(index, client): (usize, _)| subscribe(client, chunk * AT_ONCE + index);
            try_join_all(some.iter_mut().enumerate().map(subscribe)).await?;
        }
        sleep(SETTLE).await;
        bytes_subscribed = Some(resident()?);
    }

    let woken_before = servers.nodes_woken(target, brokers)?;
    let mut bytes_asleep = None;
    if sleeps {
        sleep(FALL_ASLEEP).await;
        bytes_asleep = Some(resident()?);
    }
    let mut answered = 0;
    for some in clients.chunks_mut(AT_ONCE) {
        let answers = futures_util::future::join_all(some.iter_mut().map(Client::is_alive)).await;
        answered += answers.into_iter().filter(|is_alive| *is_alive).count();
    }
    sleep(SETTLE).await;
    let bytes_awake_again = resident()?;
    let woken = servers.nodes_woken(target, brokers)?.zip(woken_before).map(|(after, before)| after - before);
    Ok(Outcome {
        target,
        connections,
        bytes_before,
        bytes_connected,
        bytes_subscribed,
        bytes_asleep,
        bytes_awake_again,
        answered,
        woken,
        seconds_to_connect,
    })
}

async fn open(endpoint: &Endpoint, kind: &str, count: usize, objects: usize, at_once: usize) -> Result<Vec<Client>> {
    let mut clients = Vec::with_capacity(count);
    while clients.len() < count {
        let some = clients.len()..count.min(clients.len() + at_once);
        let some = some.map(|index| open_one(endpoint, index % objects, format!("{kind}{index}")));
        clients.extend(try_join_all(some).await?);
        if stop_asked() {
            bail!("interrupted");
        }
    }
    Ok(clients)
}

/// Comes again when it is told to.
async fn open_one(endpoint: &Endpoint, object: usize, name: String) -> Result<Client> {
    let deadline = Instant::now() + OPEN_WITHIN;
    loop {
        let error = match Client::open_idle(endpoint, object, &name).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let wait = retry_after(&error).filter(|_| Instant::now() < deadline);
        let Some(wait) = wait else { return Err(error.context(format!("connection {name}"))) };
        sleep(wait).await;
    }
}

async fn subscribe(client: &mut Client, index: usize) -> Result<()> {
    client.subscribe(&format!("bench/idle/{index}"), Qos::AtLeastOnce).await
}

fn markdown(report: &Report) -> String {
    tables::text(|text| write_markdown(text, report))
}

fn write_markdown(text: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(text, "{}\n", report.conditions)?;
    writeln!(
        text,
        "| server | connections | answered at the end | MiB before | with all | bytes a connection, connected | \
         subscribed | after 40 s of silence | awake again | seconds to connect |"
    )?;
    writeln!(text, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
    for outcome in &report.measurements {
        let mebibytes = |bytes: u64| bytes as f64 / 1_048_576.0;
        let each = |bytes: Option<u64>| {
            bytes.map_or_else(|| "–".to_owned(), |bytes| format!("{:.0}", outcome.per_connection(bytes)))
        };
        let asleep = match outcome.woken {
            Some(woken) => format!("{} ({woken} times a Broker woke)", each(outcome.bytes_asleep)),
            None => each(outcome.bytes_asleep),
        };
        writeln!(
            text,
            "| {} | {} | {} | {:.0} | {:.0} | {} | {} | {asleep} | {} | {:.0} |",
            describe(outcome.target),
            outcome.connections,
            outcome.answered,
            mebibytes(outcome.bytes_before),
            mebibytes(outcome.bytes_subscribed.unwrap_or(outcome.bytes_connected)),
            each(Some(outcome.bytes_connected)),
            each(outcome.bytes_subscribed),
            each(Some(outcome.bytes_awake_again)),
            outcome.seconds_to_connect,
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

    #[test]
    fn there_is_a_broker_more_than_is_needed() {
        for (options, brokers) in [("", 6), ("--connections 1", 2), ("--connections 2001", 3)] {
            assert_eq!(parsed(options).unwrap().brokers(), brokers, "{options}");
        }
    }

    #[test]
    fn wrong_options_are_refused() {
        for wrong in ["--targets umbra-1", "--connections 0", "--connections 100000", "--rounds 3", "idle"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_table_says_what_each_connection_added() {
        let outcome = Outcome {
            target: "umbra",
            connections: 1_000,
            bytes_before: 1_048_576,
            bytes_connected: 3 * 1_048_576,
            bytes_subscribed: Some(4 * 1_048_576),
            bytes_asleep: Some(2 * 1_048_576),
            bytes_awake_again: 1_048_576,
            answered: 999,
            woken: Some(2),
            seconds_to_connect: 3.2,
        };
        let relay = Outcome { target: "floor", bytes_subscribed: None, woken: None, ..outcome_of(&outcome) };
        let text = markdown(&Report { conditions: "here".to_owned(), measurements: vec![outcome, relay] });
        for expected in [
            "| Umbra | 1000 | 999 | 1 | 4 | 2097 | 3146 | 1049 (2 times a Broker woke) | 0 | 3 |",
            "| 1000 | 999 | 1 | 3 | 2097 | – | 1049 | 0 | 3 |",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }

    fn outcome_of(other: &Outcome) -> Outcome {
        Outcome { ..*other }
    }
}
