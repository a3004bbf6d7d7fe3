//! The servers that are compared: starting them, and ending them with everything they started.

use crate::client::Endpoint;
use crate::proc::{self, Process};
use crate::stop_asked;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const POLL: Duration = Duration::from_millis(20);
/// Umbra is built first, which takes minutes on a machine that has built nothing.
const UMBRA_READY_WITHIN: Duration = Duration::from_secs(1_200);
const READY_WITHIN: Duration = Duration::from_secs(30);
/// `cargo xtask dev` promises to end within 5 s.
const END_WITHIN: Duration = Duration::from_secs(6);

/// The names, in the order in which they are reported.
pub const TARGETS: [&str; 5] = ["umbra-1", "umbra-3", "mosquitto", "relay", "relay-coalesced"];

/// What a name stands for.
pub fn describe(target: &str) -> &'static str {
    match target {
        "umbra" => "Umbra",
        "umbra-1" => "Umbra with 1 Broker",
        "umbra-3" => "Umbra with 3 Brokers",
        "mosquitto" => "mosquitto",
        "relay" => "relay, a message out per message in",
        "relay-coalesced" => "relay, output coalesced per turn",
        _ => "",
    }
}

/// A process tree that ends when this value is dropped.
struct Running {
    child: Child,
    pid: Pid,
    name: &'static str,
}

impl Running {
    fn spawn(name: &'static str, command: &mut Command) -> Result<Self> {
        // a terminal's Ctrl-C shall reach only this process, which then ends the others
        let child = command.process_group(0).spawn().with_context(|| format!("cannot start {name}"))?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
        Ok(Self { child, pid, name })
    }

    /// Reads the first line of its stdout.
    fn first_line(&mut self, within: Duration) -> Result<String> {
        let stdout = self.child.stdout.take().context("no stdout")?;
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let deadline = Instant::now() + within;
        loop {
            match receiver.recv_timeout(POLL) {
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Disconnected) => bail!("{} did not start", self.name),
                Err(RecvTimeoutError::Timeout) => self.check_start(deadline)?,
            }
        }
    }

    fn check_start(&mut self, deadline: Instant) -> Result<()> {
        if stop_asked() {
            bail!("interrupted");
        }
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended by itself: {status}", self.name);
        }
        if Instant::now() > deadline {
            bail!("{} does not get ready", self.name);
        }
        Ok(())
    }

    fn json<T: DeserializeOwned>(&mut self, within: Duration) -> Result<T> {
        let line = self.first_line(within)?;
        serde_json::from_str(&line).with_context(|| format!("{} printed {line}", self.name))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let tree = proc::tree(self.pid.as_raw_nonzero().get().unsigned_abs());
        let running = || tree.iter().copied().filter(|process| process.is_running());
        let _ = kill_process_group(self.pid, Signal::TERM);
        let deadline = Instant::now() + END_WITHIN;
        while Instant::now() < deadline && (matches!(self.child.try_wait(), Ok(None)) || running().next().is_some()) {
            thread::sleep(POLL);
        }
        for Process { pid, .. } in running() {
            eprintln!("bench: {} left process {pid}, which is killed", self.name);
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}

/// All the servers of a run; they end when this value is dropped.
#[derive(Default)]
pub struct Servers {
    // ended before the directory is removed
    running: Vec<Running>,
    endpoints: BTreeMap<&'static str, (Endpoint, u32)>,
    /// Names with versions, for the report.
    pub versions: BTreeMap<&'static str, String>,
    directory: Option<TempDir>,
    /// What Workers have logged.
    logs: BTreeMap<&'static str, PathBuf>,
}

impl Servers {
    /// Starts what the targets need. `root`: the repository.
    ///
    /// # Errors
    /// When something is missing or does not start.
    pub fn start(root: &Path, targets: &[&'static str]) -> Result<Self> {
        let mut servers = Self::default();
        let mosquitto = targets.contains(&"mosquitto").then(find_mosquitto).transpose()?;
        // Umbra first: `cargo xtask` also installs what the relay runs on
        for (name, brokers) in [("umbra-1", 1), ("umbra-3", 3)] {
            if targets.contains(&name) {
                servers.start_umbra(root, name, brokers)?;
            }
        }
        if let Some(program) = mosquitto {
            servers.start_mosquitto(&program)?;
        }
        if targets.iter().any(|target| target.starts_with("relay")) {
            servers.start_relay(root)?;
        }
        Ok(servers)
    }

    /// Starts one to which many connect and do nothing: `umbra` with this many Brokers, `mosquitto` or `relay`.
    ///
    /// # Errors
    /// Those of [`Self::start`].
    pub fn start_idle(root: &Path, target: &'static str, brokers: u32) -> Result<Self> {
        let mut servers = Self::default();
        match target {
            "mosquitto" => servers.start_mosquitto(&find_mosquitto()?)?,
            "relay" => servers.start_relay(root)?,
            umbra => servers.start_umbra(root, umbra, brokers)?,
        }
        Ok(servers)
    }

    /// How often a Broker has woken from sleep so far, where the target has any.
    ///
    /// # Errors
    /// When its log cannot be read.
    pub fn nodes_woken(&self, target: &str) -> Result<Option<usize>> {
        let Some(log) = self.logs.get(target) else { return Ok(None) };
        let text = fs::read_to_string(log).with_context(|| format!("cannot read {}", log.display()))?;
        Ok(Some(text.matches(r#""event":"node_woken""#).count()))
    }

    /// Where the target is, and the process that all of its processes descend from.
    ///
    /// # Errors
    /// When it was not started.
    pub fn get(&self, target: &str) -> Result<(&Endpoint, u32)> {
        self.endpoints.get(target).map(|(endpoint, root)| (endpoint, *root)).context("a target that was not started")
    }

    fn start_umbra(&mut self, root: &Path, name: &'static str, brokers: u32) -> Result<()> {
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
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // `--control`: no cron trigger in the middle of a measurement
        command
            .args("xtask dev --json --ephemeral --port 0 --no-device --control --brokers".split(' '))
            .arg(brokers.to_string())
            .current_dir(root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut running = Running::spawn(name, &mut command)?;
        let contract: Contract = running.json(UMBRA_READY_WITHIN)?;
        let login = Some((contract.access_key_id, contract.secret_access_key));
        self.add(name, Endpoint::Mqtt { url: contract.mqtt, login }, &running);
        self.running.push(running);
        self.logs.insert(name, contract.control.log);
        Ok(())
    }

    fn start_mosquitto(&mut self, program: &Path) -> Result<()> {
        let directory = tempfile::Builder::new().prefix("umbra-bench-").tempdir()?;
        let (port, idle_port) = free_ports()?;
        let path = directory.path().join("mosquitto.conf");
        fs::write(&path, mosquitto_conf(port, idle_port))?;
        let mut command = Command::new(program);
        command.arg("-c").arg(&path).current_dir(directory.path());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut running = Running::spawn("mosquitto", &mut command)?;
        self.directory = Some(directory);
        let deadline = Instant::now() + READY_WITHIN;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            running.check_start(deadline)?;
            thread::sleep(POLL);
        }
        self.add("mosquitto", Endpoint::Mqtt { url: format!("ws://127.0.0.1:{port}/mqtt"), login: None }, &running);
        self.running.push(running);
        let help = Command::new(program).arg("-h").output()?;
        let version = String::from_utf8_lossy(&help.stdout).lines().next().unwrap_or_default().to_owned();
        self.versions.insert("mosquitto", version);
        Ok(())
    }

    fn start_relay(&mut self, root: &Path) -> Result<()> {
        #[derive(Deserialize)]
        struct Ready {
            relay: String,
        }
        if !root.join("node_modules/miniflare").is_dir() {
            bail!("node_modules is not installed: run `cargo xtask dev` once, or measure an umbra target too");
        }
        let mut command = Command::new("node");
        command
            .arg(root.join("bench/relay/host.mjs"))
            .env("PATH", path_with_node(root)?)
            // the relay ends when this pipe is closed, even if this process is killed
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut running = Running::spawn("relay", &mut command)?;
        let Ready { relay } = running.json(READY_WITHIN)?;
        for (name, way) in [("relay", "each"), ("relay-coalesced", "coalesced")] {
            self.add(name, Endpoint::Relay { url: format!("{relay}/{way}") }, &running);
        }
        self.running.push(running);
        for (name, package) in [("miniflare", "miniflare"), ("workerd", "workerd")] {
            self.versions.insert(name, format!("{name} {}", package_version(root, package)?));
        }
        Ok(())
    }

    fn add(&mut self, target: &'static str, endpoint: Endpoint, running: &Running) {
        self.endpoints.insert(target, (endpoint, running.child.id()));
    }
}

fn find_mosquitto() -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    // Debian has it where the PATH of a user does not lead
    let directories = env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    directories.map(|directory| directory.join("mosquitto")).find(|program| program.is_file()).context(
        "mosquitto is missing: `apt-get install mosquitto` (package mosquitto; macOS: `brew install mosquitto`), \
         or leave it out with `--targets umbra-1,umbra-3,relay,relay-coalesced`",
    )
}

/// In-flight messages as Umbra allows them by default, and more than the load's window; everything else is the default.
///
/// Debian's 2.0.11 refuses to run with a WebSocket listener alone, hence the idle one, and with IPv6 allowed it binds the
/// WebSocket listener to all addresses, whatever address it is given.
fn mosquitto_conf(websocket_port: u16, idle_port: u16) -> String {
    format!(
        "listener {idle_port} 127.0.0.1\n\
         listener {websocket_port} 127.0.0.1\n\
         protocol websockets\n\
         socket_domain ipv4\n\
         allow_anonymous true\n\
         persistence false\n\
         set_tcp_nodelay true\n\
         max_inflight_messages 100\n\
         log_type error\n\
         log_dest stderr\n"
    )
}

/// Two that nobody uses at this moment.
fn free_ports() -> Result<(u16, u16)> {
    let (one, other) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?);
    Ok((one.local_addr()?.port(), other.local_addr()?.port()))
}

/// The Node that `cargo xtask` uses: npm brings one where the machine's is too old.
fn path_with_node(root: &Path) -> Result<OsString> {
    let architecture = if env::consts::ARCH == "aarch64" { "arm64" } else { "x64" };
    let brought = root.join(format!("node_modules/node-linux-{architecture}/bin"));
    let inherited = env::var_os("PATH").unwrap_or_default();
    let brought = brought.is_dir().then_some(brought);
    env::join_paths(brought.into_iter().chain(env::split_paths(&inherited))).context("PATH cannot be extended")
}

fn package_version(root: &Path, package: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Package {
        version: String,
    }
    let path = root.join("node_modules").join(package).join("package.json");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(serde_json::from_str::<Package>(&text)?.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_ends_with_what_it_started() {
        let mut command = Command::new("sh");
        let mut running =
            Running::spawn("sh", command.args(["-c", "sleep 60 & echo '{}'; wait"]).stdout(Stdio::piped())).unwrap();
        running.json::<serde_json::Value>(READY_WITHIN).unwrap();
        let tree = proc::tree(running.child.id());
        assert_eq!(tree.len(), 2);
        drop(running);
        assert!(!tree.iter().any(|process| process.is_running()));
    }

    #[test]
    fn a_server_that_ends_at_once_is_reported() {
        let mut command = Command::new("sh");
        let mut running = Running::spawn("sh", command.args(["-c", "exit 3"]).stdout(Stdio::piped())).unwrap();
        assert!(running.json::<serde_json::Value>(READY_WITHIN).is_err());
    }

    #[test]
    fn mosquitto_listens_on_loopback_only() {
        let conf = mosquitto_conf(9001, 1883);
        let listeners: Vec<&str> = conf.lines().filter(|line| line.starts_with("listener")).collect();
        assert_eq!(listeners, ["listener 1883 127.0.0.1", "listener 9001 127.0.0.1"]);
        assert!(conf.contains("socket_domain ipv4\n"));
    }

    #[test]
    fn every_target_is_described() {
        assert!(TARGETS.iter().all(|target| !describe(target).is_empty()));
    }
}
