//! The servers that are compared: starting them, and ending them with everything they started.

mod peers;
mod running;
pub mod single;

use crate::client::Endpoint;
use crate::tables;
use anyhow::{Context, Result, bail};
use running::Running;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Umbra is built first, which takes minutes on a machine that has built nothing.
const UMBRA_READY_WITHIN: Duration = Duration::from_secs(1_200);
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Regions of Umbra with several Brokers: one Broker in each, so that a client's origin says which one it gets.
/// `CONTINENTS` in client.rs has the origins.
const REGIONS: [&str; 4] = ["weur", "enam", "apac", "oc"];
/// Umbra's variables for all of its servers: what protects a deployment from connection storms is out of the way.
/// No test hooks, which count what is written: they aren't there in a deployment either.
const VARIABLES: [&str; 2] = ["BROKER_CONNECTS_PER_SECOND=20000", "TEST_HOOKS="];

/// A target, and how many Brokers it has if it is Umbra; 1 for everybody else.
type Key = (&'static str, u32);

struct Server {
    endpoint: Endpoint,
    /// The process that all of its processes descend from.
    root: u32,
    /// What its Worker has logged.
    log: Option<PathBuf>,
}

/// All the servers of a run; they end when this value is dropped.
#[derive(Default)]
pub struct Servers {
    // ended before the directories are removed
    running: Vec<Running>,
    servers: BTreeMap<Key, Server>,
    /// Names with versions, for the report.
    pub versions: BTreeMap<&'static str, String>,
    directories: Vec<TempDir>,
}

/// What a target is called with that many Brokers.
fn key(target: &'static str, brokers: u32) -> Key {
    (target, if target.starts_with("umbra") { brokers } else { 1 })
}

impl Servers {
    /// Starts what these targets with this many Brokers need. `root`: the repository.
    ///
    /// # Errors
    /// When something is missing or does not start.
    pub fn start(root: &Path, wanted: impl IntoIterator<Item = (&'static str, u32)>) -> Result<Self> {
        let wanted: BTreeSet<Key> = wanted.into_iter().map(|(target, brokers)| key(target, brokers)).collect();
        let has = |target: &str| wanted.iter().any(|(wanted, _)| *wanted == target);
        let mut servers = Self::default();
        let mosquitto = has("mosquitto").then(peers::find_mosquitto).transpose()?;
        // Umbra first: `cargo xtask` also installs what the floors run on
        for (target, brokers) in &wanted {
            if target.starts_with("umbra") {
                servers.start_umbra(root, target, *brokers, Spread::Regions)?;
            }
        }
        if let Some(program) = mosquitto {
            servers.start_mosquitto(&program)?;
        }
        if has("rumqttd") {
            servers.start_rumqttd(root)?;
        }
        if has("aedes") {
            servers.start_aedes(root)?;
        }
        if wanted.iter().any(|(target, _)| target.starts_with("floor")) {
            servers.start_floors(root)?;
        }
        Ok(servers)
    }

    /// Starts one to which many connect and do nothing. Umbra has this many Brokers, which clients are spread over at
    /// random.
    ///
    /// # Errors
    /// Those of [`Self::start`].
    pub fn start_idle(root: &Path, target: &'static str, brokers: u32) -> Result<Self> {
        if !target.starts_with("umbra") {
            return Self::start(root, [(target, 1)]);
        }
        let mut servers = Self::default();
        servers.start_umbra(root, target, brokers, Spread::Random)?;
        Ok(servers)
    }

    /// How often a Broker has woken from sleep so far, where the target has any.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn nodes_woken(&self, target: &'static str, brokers: u32) -> Result<Option<usize>> {
        self.count_logged(target, brokers, r#""event":"node_woken""#)
    }

    /// How many Brokers have had something to do so far, where the target has any.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn nodes_started(&self, target: &'static str, brokers: u32) -> Result<Option<usize>> {
        self.count_logged(target, brokers, r#""event":"node_started""#)
    }

    fn count_logged(&self, target: &'static str, brokers: u32, what: &str) -> Result<Option<usize>> {
        let Some(log) = self.servers.get(&key(target, brokers)).and_then(|server| server.log.as_ref()) else {
            return Ok(None);
        };
        let text = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
        Ok(Some(text.matches(what).count()))
    }

    /// Where the target with this many Brokers is, and the process that all of its processes descend from.
    ///
    /// # Errors
    /// When it was not started.
    pub fn get(&self, target: &'static str, brokers: u32) -> Result<(&Endpoint, u32)> {
        let server = self.servers.get(&key(target, brokers)).context("a target that was not started")?;
        Ok((&server.endpoint, server.root))
    }

    fn start_umbra(&mut self, root: &Path, target: &'static str, brokers: u32, spread: Spread) -> Result<()> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Contract {
            mqtt: String,
            access_key_id: String,
            secret_access_key: String,
            control: Control,
        }
        #[derive(Deserialize)]
        struct Control {
            log: PathBuf,
        }
        let regions = if brokers > 1 && spread == Spread::Regions {
            let count = usize::try_from(brokers)?;
            Some(REGIONS.get(..count).context("more Brokers than regions")?.join(","))
        } else {
            None
        };
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // `--control`: no cron trigger in the middle of a measurement
        command
            .args("xtask dev --json --ephemeral --port 0 --no-device --control --brokers".split(' '))
            .arg(if regions.is_some() { 1 } else { brokers }.to_string())
            .args(VARIABLES.iter().flat_map(|variable| ["--var", *variable]))
            .current_dir(root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if target == "umbra-accepted" {
            command.args(["--var", "SOCKET_MODE=accepted"]);
        }
        if let Some(regions) = &regions {
            command.arg("--var").arg(format!("REGIONS={regions}"));
        }
        let mut running = Running::spawn(target, &mut command)?;
        let contract: Contract = running.json(UMBRA_READY_WITHIN)?;
        let login = Some((contract.access_key_id, contract.secret_access_key));
        let endpoint = Endpoint::Mqtt { url: contract.mqtt, login, has_regions: regions.is_some() };
        self.servers
            .insert((target, brokers), Server { endpoint, root: running.id(), log: Some(contract.control.log) });
        self.running.push(running);
        self.versions.extend(tables::versions(root));
        Ok(())
    }

    fn start_mosquitto(&mut self, program: &Path) -> Result<()> {
        let (port, idle_port) = peers::free_ports()?;
        let path = self.configuration("mosquitto.conf", &peers::mosquitto_conf(port, idle_port))?;
        let mut command = Command::new(program);
        command.arg("-c").arg(&path).stdin(Stdio::null()).stdout(Stdio::null());
        let mut running = Running::spawn("mosquitto", &mut command)?;
        running.wait_for(port, READY_WITHIN)?;
        self.add_peer("mosquitto", format!("ws://127.0.0.1:{port}/mqtt"), running);
        let help = Command::new(program).arg("-h").output()?;
        let version = String::from_utf8_lossy(&help.stdout).lines().next().unwrap_or_default().to_owned();
        self.versions.insert("mosquitto", version);
        Ok(())
    }

    fn start_rumqttd(&mut self, root: &Path) -> Result<()> {
        let program = peers::build_rumqttd(root)?;
        let (port, _) = peers::free_ports()?;
        let path = self.configuration("rumqttd.toml", &peers::rumqttd_conf(port))?;
        let mut command = Command::new(program);
        command.arg(path).stdin(Stdio::null()).stdout(Stdio::null());
        let mut running = Running::spawn("rumqttd", &mut command)?;
        running.wait_for(port, READY_WITHIN)?;
        self.add_peer("rumqttd", format!("ws://127.0.0.1:{port}/mqtt"), running);
        self.versions.insert("rumqttd", "rumqttd 0.20.0".to_owned());
        Ok(())
    }

    fn start_aedes(&mut self, root: &Path) -> Result<()> {
        #[derive(Deserialize)]
        struct Ready {
            mqtt: String,
            version: String,
        }
        let program = peers::install_aedes(root)?;
        let mut running = Running::spawn("aedes", &mut node(root, &program)?)?;
        let Ready { mqtt, version } = running.json(READY_WITHIN)?;
        self.add_peer("aedes", mqtt, running);
        self.versions.insert("aedes", version);
        Ok(())
    }

    fn start_floors(&mut self, root: &Path) -> Result<()> {
        #[derive(Deserialize)]
        struct Ready {
            floors: String,
        }
        if !root.join("node_modules/miniflare").is_dir() {
            bail!("node_modules is not installed: run `cargo xtask dev` once, or measure an umbra target too");
        }
        let mut running = Running::spawn("floors", &mut node(root, &root.join("bench/relay/host.mjs"))?)?;
        let Ready { floors } = running.json(READY_WITHIN)?;
        let targets = [
            ("floor", "hibernatable", "coalesced"),
            ("floor-accepted", "accepted", "coalesced"),
            ("floor-each", "hibernatable", "each"),
        ];
        for (target, mode, way) in targets {
            let endpoint = Endpoint::Floor { url: floors.clone(), mode, way };
            self.servers.insert((target, 1), Server { endpoint, root: running.id(), log: None });
        }
        self.running.push(running);
        self.versions.extend(tables::versions(root));
        Ok(())
    }

    fn add_peer(&mut self, target: &'static str, url: String, running: Running) {
        let endpoint = Endpoint::Mqtt { url, login: None, has_regions: false };
        self.servers.insert((target, 1), Server { endpoint, root: running.id(), log: None });
        self.running.push(running);
    }

    fn configuration(&mut self, name: &str, text: &str) -> Result<PathBuf> {
        let directory = tempfile::Builder::new().prefix("umbra-bench-").tempdir()?;
        let path = directory.path().join(name);
        fs::write(&path, text)?;
        self.directories.push(directory);
        Ok(path)
    }
}

/// How clients get to one of several Brokers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spread {
    /// Each Broker is alone in its region.
    Regions,
    /// All are in one region.
    Random,
}

/// A program that ends when its stdin is closed, even if this process is killed.
fn node(root: &Path, program: &Path) -> Result<Command> {
    let mut command = Command::new("node");
    command.arg(program).env("PATH", peers::path_with_node(root)?).stdin(Stdio::piped()).stdout(Stdio::piped());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::CONTINENTS;
    use placement::region::{Origin, Regions};

    #[test]
    fn only_umbra_has_servers_of_different_sizes() {
        assert_eq!([key("umbra-accepted", 4), key("mosquitto", 4)], [("umbra-accepted", 4), ("mosquitto", 1)]);
    }

    #[test]
    fn a_broker_is_where_clients_of_its_continent_are_sent() {
        let regions = Regions::parse(&REGIONS.join(",")).unwrap();
        for (continent, region) in CONTINENTS.into_iter().zip(REGIONS) {
            let origin = Origin { continent: Some(continent), ..Origin::default() };
            assert_eq!(regions.region_of(&origin).as_str(), region, "{continent}");
        }
    }
}
