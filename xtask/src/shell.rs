//! Running commands so that SIGINT or SIGTERM ends them and everything they started.
//!
//! Each command gets a process group of its own. A terminal's Ctrl-C reaches only this process, which then ends the groups.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

static STOP_ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

const POLL: Duration = Duration::from_millis(15);

/// How long a command may take to end by itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// From here on SIGINT, SIGTERM and SIGHUP make [`stop_asked`] true instead of ending this process.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn catch_signals() -> Result<()> {
    let flag = STOP_ASKED.get_or_init(Arc::default);
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag)).context("cannot catch signals")?;
    }
    Ok(())
}

/// Whether someone wants this process to end.
pub fn stop_asked() -> bool {
    STOP_ASKED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// What happens next, for a person; on stderr, since stdout may be a contract.
pub fn say(text: impl Display) {
    eprintln!("{text}");
}

/// Says what is done and, when it took noticeable time, how long.
///
/// # Errors
/// Those of `work`.
pub fn timed<T>(what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    say(format_args!("{what} …"));
    let start = Instant::now();
    let result = work().with_context(|| format!("{what} failed"))?;
    if start.elapsed() > Duration::from_millis(500) {
        say(format_args!("{what}: {}", seconds(start.elapsed())));
    }
    Ok(result)
}

/// `4.2 s`, `3 min 20 s`
pub fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    if whole < 60 { format!("{:.1} s", duration.as_secs_f64()) } else { format!("{} min {} s", whole / 60, whole % 60) }
}

/// A running process, the leader of its own group, which does not outlive this value.
pub struct Group {
    child: Child,
    pid: Pid,
}

impl Group {
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let child = command.process_group(0).spawn().with_context(|| format!("cannot start {}", name(command)))?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
        Ok(Self { child, pid })
    }

    /// The leader, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The leader's exit status, once it has ended.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Sends SIGTERM to the whole group.
    pub fn terminate(&self) {
        // it may have ended already
        let _ = kill_process_group(self.pid, Signal::TERM);
    }

    /// Waits until the leader has ended or `grace` is over, then kills what is left of the group.
    pub fn end_within(&mut self, grace: Duration) {
        let deadline = Instant::now() + grace;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(POLL);
        }
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = self.child.wait();
    }

    /// Waits for the leader.
    ///
    /// # Errors
    /// When this process is asked to stop meanwhile; the group is ended then.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if stop_asked() {
                self.terminate();
                self.end_within(GRACE);
                bail!("interrupted");
            }
            thread::sleep(POLL);
        }
    }

    /// What still runs in this group, as `ps` shows it. Zombies are not counted: they wait for their parent, not for us.
    pub fn survivors(&self) -> Vec<String> {
        let group = self.pid.as_raw_nonzero().to_string();
        let listing = capture(Command::new("ps").args(["-A", "-o", "pgid=,stat=,pid=,args="])).unwrap_or_default();
        listing
            .lines()
            .map(str::trim)
            .filter(|line| {
                let mut columns = line.split_whitespace();
                columns.next() == Some(group.as_str()) && columns.next().is_some_and(|state| !state.starts_with('Z'))
            })
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end_within(Duration::ZERO);
        }
    }
}

fn name(command: &Command) -> String {
    let words: Vec<_> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// Runs the command to its end, its stdout going to our stderr.
///
/// # Errors
/// When it fails, cannot be started or is interrupted.
pub fn run(command: &mut Command) -> Result<()> {
    let status = Group::spawn(command.stdin(Stdio::null()).stdout(Stdio::from(io::stderr())))?.wait()?;
    if status.success() { Ok(()) } else { bail!("{} failed: {status}", name(command)) }
}

/// Runs the command to its end without a word, and shows what it printed only when it fails.
///
/// # Errors
/// When it fails, cannot be started or is interrupted.
pub fn run_quietly(command: &mut Command) -> Result<()> {
    let (status, output) = collect(command, false)?;
    if status.success() { Ok(()) } else { bail!("{} failed: {status}\n{output}", name(command)) }
}

/// Runs the command to its end and answers its status and everything it printed, which is shown meanwhile.
///
/// # Errors
/// When it cannot be started or is interrupted.
pub fn tee(command: &mut Command) -> Result<(ExitStatus, String)> {
    collect(command, true)
}

fn collect(command: &mut Command, show: bool) -> Result<(ExitStatus, String)> {
    let mut group = Group::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    let printed = Arc::new(Mutex::new(String::new()));
    let child = group.child();
    let readers: Vec<_> = [
        child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
    ]
    .into_iter()
    .flatten()
    .map(|pipe| {
        let printed = Arc::clone(&printed);
        thread::spawn(move || forward(pipe, &printed, show))
    })
    .collect();
    let status = group.wait()?;
    for reader in readers {
        let _ = reader.join();
    }
    let output = printed.lock().map(|text| text.clone()).unwrap_or_default();
    Ok((status, output))
}

fn forward(pipe: Box<dyn Read + Send>, printed: &Mutex<String>, show: bool) {
    let mut lines = BufReader::new(pipe);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        if show {
            let mut stdout = io::stdout().lock();
            let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
        }
        if let Ok(mut text) = printed.lock() {
            text.push_str(&String::from_utf8_lossy(&line));
        }
        line.clear();
    }
}

/// What the command prints on stdout, its stderr dropped.
///
/// # Errors
/// When it fails or cannot be started.
pub fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", name(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", name(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
