//! `cargo xtask dev`, started as a script would start it.

use crate::platform::{Contract, root};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A first start compiles the Worker, which `cargo xtask test` has done before.
const READY_WITHIN: Duration = Duration::from_secs(15 * 60);

/// A running `cargo xtask dev`. It is ended when this value is dropped.
pub struct Dev {
    child: Child,
    /// The line that it printed.
    pub line: String,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
}

/// How a `cargo xtask dev` ended.
pub struct Ended {
    /// After SIGTERM.
    pub took: Duration,
    /// Its own.
    pub status: ExitStatus,
    /// Everything on stdout after the first line.
    pub more_stdout: String,
    /// Everything on stderr.
    pub stderr: String,
    /// Processes that it had started, directly or not, and that were still there when it had ended.
    pub left: Vec<String>,
}

impl Dev {
    /// Starts it with these options, its temporary files below `temporary`, and waits for its line.
    ///
    /// # Panics
    /// When it does not get ready.
    #[must_use]
    pub fn start(options: &[&str], temporary: &Path) -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["xtask", "dev"]).args(options).current_dir(root()).env("TMPDIR", temporary);
        // what Node keeps there for its next start is no state of ours
        command.env("NODE_DISABLE_COMPILE_CACHE", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("cargo cannot be started");
        let mut stderr = child.stderr.take().unwrap();
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let (sender, receiver) = mpsc::channel();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let stdout = thread::spawn(move || {
            let mut line = String::new();
            let _ = stdout.read_line(&mut line);
            let _ = sender.send(line);
            let mut more = String::new();
            let _ = stdout.read_to_string(&mut more);
            more
        });
        let mut dev = Self { child, line: String::new(), stdout: Some(stdout), stderr: Some(stderr) };
        dev.line = receiver.recv_timeout(READY_WITHIN).unwrap_or_default();
        if !dev.line.ends_with('\n') {
            let _ = dev.child.kill();
            let stderr = dev.stderr.take().map(|thread| thread.join().unwrap_or_default());
            panic!("cargo xtask dev did not get ready:\n{}", stderr.unwrap_or_default());
        }
        dev
    }

    /// What the line says.
    ///
    /// # Panics
    /// When it is not the contract.
    #[must_use]
    pub fn contract(&self) -> Contract {
        serde_json::from_str(&self.line).expect("the line of cargo xtask dev --json")
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// When it does not end at all.
    #[must_use]
    pub fn terminate(mut self) -> Ended {
        let started = descendants(self.child.id());
        let begun = Instant::now();
        self.signal();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "cargo xtask dev ignores SIGTERM");
            thread::sleep(Duration::from_millis(10));
        };
        let took = begun.elapsed();
        let now = processes();
        let left = started
            .into_iter()
            .filter(|(pid, process)| now.get(pid).is_some_and(|same| same.command == process.command));
        let left = left.map(|(pid, process)| format!("{pid} {}", process.command)).collect();
        let text = |thread: Option<JoinHandle<String>>| thread.map(|t| t.join().unwrap()).unwrap_or_default();
        Ended { took, status, more_stdout: text(self.stdout.take()), stderr: text(self.stderr.take()), left }
    }

    fn signal(&self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        let _ = kill_process(pid, Signal::TERM);
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal();
            let _ = self.child.wait();
        }
    }
}

#[derive(Clone)]
struct Process {
    parent: u32,
    command: String,
}

/// Every process by its id, without those that have ended and only wait for their parent.
fn processes() -> BTreeMap<u32, Process> {
    let listing = Command::new("ps").args(["-A", "-o", "pid=,ppid=,stat=,args="]).output().expect("ps");
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    let parse = |line: &str| {
        let mut columns = line.split_whitespace();
        let (pid, parent) = (columns.next()?.parse().ok()?, columns.next()?.parse().ok()?);
        let is_zombie = columns.next()?.starts_with('Z');
        (!is_zombie).then(|| (pid, Process { parent, command: columns.collect::<Vec<_>>().join(" ") }))
    };
    listing.lines().filter_map(parse).collect()
}

/// The children of a process, and theirs.
fn descendants(root: u32) -> BTreeMap<u32, Process> {
    let all = processes();
    let mut found: BTreeMap<u32, Process> = BTreeMap::new();
    loop {
        let more = all.iter().filter(|(pid, process)| {
            !found.contains_key(pid) && (process.parent == root || found.contains_key(&process.parent))
        });
        let more: Vec<_> = more.map(|(pid, process)| (*pid, process.clone())).collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}
