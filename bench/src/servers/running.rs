//! A server that runs, and how it ends with everything it started.

use crate::proc::{self, Process};
use crate::stop_asked;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde::de::DeserializeOwned;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);
/// `cargo xtask dev` promises to end within 5 s.
const END_WITHIN: Duration = Duration::from_secs(6);

/// A process tree that ends when this value is dropped.
pub struct Running {
    child: Child,
    pid: Pid,
    name: &'static str,
}

impl Running {
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(name: &'static str, command: &mut Command) -> Result<Self> {
        // a terminal's Ctrl-C shall reach only this process, which then ends the others
        let child = command.process_group(0).spawn().with_context(|| format!("cannot start {name}"))?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
        Ok(Self { child, pid, name })
    }

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

    /// To be called again and again until it is ready.
    ///
    /// # Errors
    /// When it has ended, takes too long, or nobody wants it any more.
    pub fn check_start(&mut self, deadline: Instant) -> Result<()> {
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

    /// Reads the first line of its stdout, which is JSON.
    ///
    /// # Errors
    /// When it prints none in time.
    pub fn json<T: DeserializeOwned>(&mut self, within: Duration) -> Result<T> {
        let line = self.first_line(within)?;
        serde_json::from_str(&line).with_context(|| format!("{} printed {line}", self.name))
    }
}

impl Running {
    /// Waits until somebody listens at the port.
    ///
    /// # Errors
    /// When nobody does in time.
    pub fn wait_for(&mut self, port: u16, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            self.check_start(deadline)?;
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// The process that all others of it descend from.
    pub fn id(&self) -> u32 {
        self.child.id()
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    const READY_WITHIN: Duration = Duration::from_secs(30);

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
}
