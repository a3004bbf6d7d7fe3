//! A running platform: `xtask/host` in Node, which runs the built Worker in workerd.

use crate::repo::Repo;
use crate::setup::Tools;
use crate::shell::{Group, stop_asked};
use crate::wrangler::Wrangler;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

const READY_WITHIN: Duration = Duration::from_secs(120);
/// `dev` promises to end within 5 s; the host stops by itself within half of that.
const STOP_WITHIN: Duration = Duration::from_millis(3_500);
const POLL: Duration = Duration::from_millis(50);

/// Which of the Worker's log lines the terminal shows. All of them are in the log file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Logs {
    /// Every line.
    All,
    /// Warnings, errors and what is not JSON.
    Warnings,
    /// None.
    Hidden,
}

/// How to start a platform.
pub struct Options {
    /// 0 picks one.
    pub port: u16,
    /// Fresh state and credentials, removed at the end.
    pub ephemeral: bool,
    pub tls: bool,
    /// The simulated device too.
    pub device: bool,
    /// A control port and the Worker's test hooks: for the system tests only.
    pub control: bool,
    /// Variables that override wrangler.toml's.
    pub vars: BTreeMap<String, String>,
    pub logs: Logs,
    pub log_file: PathBuf,
}

/// A platform that is ready. It ends, with all its processes, when this value is dropped.
pub struct Platform {
    group: Group,
    /// The host stops when this is closed, also when this process is killed.
    stdin: Option<ChildStdin>,
    contract: Value,
}

impl Platform {
    /// Starts the host and waits until it is ready. The Worker must have been built.
    ///
    /// # Errors
    /// When it does not get ready, or this process is asked to stop meanwhile.
    pub fn start(repo: &Repo, tools: &Tools, options: &Options) -> Result<Self> {
        let wrangler = Wrangler::load(repo)?;
        let settings = json!({
            "root": repo.root(),
            "wrangler": wrangler.as_json(),
            "port": options.port,
            "ephemeral": options.ephemeral,
            "tls": options.tls,
            "device": options.device,
            "control": options.control,
            "vars": options.vars,
            "showLogs": match options.logs {
                Logs::All => "all",
                Logs::Warnings => "warnings",
                Logs::Hidden => "none",
            },
            "logFile": options.log_file,
        });
        let mut node = tools.node();
        // Node says at each start that some part of it is experimental
        node.arg("--disable-warning=ExperimentalWarning").arg(repo.path("xtask/host/host.mjs"));
        let mut group = Group::spawn(node.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let mut stdin = group.child().stdin.take().context("the host has no stdin")?;
        let stdout = group.child().stdout.take().context("the host has no stdout")?;
        writeln!(stdin, "{settings}").context("the host does not listen")?;

        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut platform = Self { group, stdin: Some(stdin), contract: Value::Null };
        let deadline = Instant::now() + READY_WITHIN;
        let line = loop {
            match receiver.recv_timeout(POLL) {
                Ok(line) => break line,
                Err(RecvTimeoutError::Disconnected) => bail!("the platform did not start"),
                Err(RecvTimeoutError::Timeout) if stop_asked() => bail!("interrupted"),
                Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => {
                    bail!("the platform is not ready after two minutes")
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        platform.contract = serde_json::from_str(&line).context("the host's ready line")?;
        if let Some(control) = platform.contract.get_mut("control").and_then(Value::as_object_mut) {
            control.insert("socketMode".to_owned(), socket_mode(&wrangler, &options.vars));
        }
        Ok(platform)
    }

    /// What `dev --json` prints, plus `control` when it was asked for.
    pub fn contract(&self) -> &Value {
        &self.contract
    }

    /// Waits until someone wants this process to end.
    ///
    /// # Errors
    /// When the platform ends before.
    pub fn wait_until_asked_to_stop(&mut self) -> Result<()> {
        while !stop_asked() {
            if let Some(status) = self.group.try_wait()? {
                bail!("the platform ended by itself: {status}");
            }
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// When a process was left and had to be killed.
    pub fn stop(mut self) -> Result<()> {
        drop(self.stdin.take());
        let deadline = Instant::now() + STOP_WITHIN;
        while Instant::now() < deadline && self.group.try_wait()?.is_none() {
            thread::sleep(POLL);
        }
        let mut survivors = self.group.survivors();
        while Instant::now() < deadline && !survivors.is_empty() {
            thread::sleep(POLL);
            survivors = self.group.survivors();
        }
        self.group.end_within(Duration::ZERO);
        if survivors.is_empty() {
            Ok(())
        } else {
            bail!("these processes did not end by themselves:\n{}", survivors.join("\n"))
        }
    }
}

/// What the system tests have to know of the platform, since objects with accepted sockets never sleep.
fn socket_mode(wrangler: &Wrangler, vars: &BTreeMap<String, String>) -> Value {
    let configured = || wrangler.as_json().pointer("/vars/SOCKET_MODE").cloned().unwrap_or_default();
    vars.get("SOCKET_MODE").map_or_else(configured, |mode| json!(mode))
}

impl Drop for Platform {
    fn drop(&mut self) {
        drop(self.stdin.take());
        self.group.end_within(STOP_WITHIN);
    }
}
