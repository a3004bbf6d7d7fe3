//! `cargo xtask profile`: what workerd does with its time under a load of `bench`, by function of the wasm.
//!
//! `bench` builds and starts the platform itself. What it starts inherits our environment, and miniflare takes from there which
//! workerd to run: a script that turns on V8's inspector, and says which process it became.

mod inspector;
mod perf;
mod sources;
mod stacks;

use crate::repo::Repo;
use crate::setup::{self, Tools};
use crate::shell::{Group, capture, say};
use crate::{prerequisites, shell};
use anyhow::{Context, Result, bail};
use inspector::Inspector;
use perf::Perf;
use sources::Sources;
use stacks::Samples;
use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const USAGE: &str = "\
cargo xtask profile [options] [-- options of bench]
  --perf            with Linux's perf, which also sees workerd's C++ and the kernel, instead of V8's own profiler
  --seconds S       of load to sample (5)
  --top N           functions to print (40)

Without options of bench: ten pairs, QoS 0, 64 B. With them, name one target and one scenario.
";

const POLL: Duration = Duration::from_millis(100);
/// `bench` waits for its servers for six seconds before it kills them.
const LOAD_ENDS_WITHIN: Duration = Duration::from_secs(8);
/// The part of one processor, over the last half second, from which on workerd is under load.
const BUSY: f64 = 0.5;
const BUSY_OVER: usize = 5;
/// How much longer than what is wanted the load lasts: clients connect, code becomes hot, the profiler stops.
const MARGIN_SECONDS: u32 = 4;
const ENDED_EARLY: &str =
    "the load has ended, and was never long or heavy enough; of a light one, take a profile with --perf";
/// Of the load, before what is sampled counts.
const LEAD: Duration = Duration::from_millis(1_500);

struct Arguments {
    perf: bool,
    seconds: u32,
    top: usize,
    bench: Vec<OsString>,
    help: bool,
}

/// # Errors
/// When the load fails, or ends before it has been sampled.
pub fn run(repo: &Repo, parser: lexopt::Parser) -> Result<()> {
    let arguments = parse(parser)?;
    if arguments.help {
        print!("{USAGE}");
        return Ok(());
    }
    prerequisites::check(prerequisites::FOR_EVERYTHING)?;
    let tools = setup::prepare_everything(repo)?;
    if arguments.perf {
        capture(Command::new("perf").arg("--version")).context("perf is needed (apt-get install linux-perf)")?;
    }
    let output = repo.path("target/profile");
    fs::create_dir_all(&output)?;
    let hook = Hook::install(repo, &tools)?;
    let mut group = Group::spawn(&mut load(repo, &hook, &arguments))?;
    let samples =
        sample(repo, &arguments, &hook, &mut group, &output).and_then(|samples| Ok((samples, finish(&mut group)?)));
    if samples.is_err() {
        end(&mut group);
    }
    let (samples, status) = samples?;
    if !status.success() {
        bail!("the load failed: {status}");
    }
    if samples.is_empty() {
        bail!("nothing ran while it was sampled");
    }
    let profile = samples.under_load();
    if !profile.is_load {
        say("there was no stretch of load: this is about everything from the start on");
    }
    fs::write(output.join("stacks.folded"), profile.collapsed())?;
    fs::write(output.join("flame.svg"), profile.flame_graph("workerd under load")?)?;
    println!("\n{}", profile.tables(arguments.top));
    let raw = if arguments.perf { "perf.data" } else { "profile.cpuprofile (Chrome, speedscope)" };
    say(format_args!("{}: flame.svg, stacks.folded, {raw}", output.display()));
    Ok(())
}

/// Waits for the load's own end. Not with [`Group::wait`], which would not let it end its servers.
fn finish(load: &mut Group) -> Result<ExitStatus> {
    loop {
        if let Some(status) = load.try_wait()? {
            return Ok(status);
        }
        if shell::stop_asked() {
            bail!("interrupted");
        }
        thread::sleep(POLL);
    }
}

/// Lets the load end its servers, which are in process groups of their own. That its leader, cargo, is gone says nothing.
fn end(load: &mut Group) {
    load.terminate();
    let deadline = Instant::now() + LOAD_ENDS_WITHIN;
    while Instant::now() < deadline && !load.survivors().is_empty() {
        // a zombie as long as nobody asks for it
        let _ = load.try_wait();
        thread::sleep(POLL);
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Arguments> {
    use lexopt::prelude::*;
    let mut arguments = Arguments { perf: false, seconds: 5, top: 40, bench: Vec::new(), help: false };
    while let Some(argument) = parser.next()? {
        match argument {
            Long("perf") => arguments.perf = true,
            Long("seconds") => arguments.seconds = parser.value()?.parse()?,
            Long("top") => arguments.top = parser.value()?.parse()?,
            Long("help") | Short('h') => arguments.help = true,
            // lexopt has taken the `--` in front of it
            Value(first) => {
                arguments.bench.push(first);
                arguments.bench.extend(parser.raw_args()?);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    // as long as bench may measure
    if !(2..=50).contains(&arguments.seconds) {
        bail!("--seconds takes a number from 2 to 50");
    }
    Ok(arguments)
}

/// What stands in for workerd.
struct Hook {
    directory: TempDir,
    inspector_port: u16,
}

impl Hook {
    fn install(repo: &Repo, tools: &Tools) -> Result<Self> {
        let mut node = tools.node();
        node.args(["-p", "require('workerd').default"]).current_dir(repo.root());
        let workerd = capture(&mut node).context("no workerd in node_modules")?;
        let directory = tempfile::tempdir()?;
        // nothing else binds it in the seconds until workerd does, unless it picks just this one
        let inspector_port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let script = directory.path().join("workerd");
        let (workerd, at) = (quoted(workerd.trim()), quoted(&directory.path().to_string_lossy()));
        // `exec` keeps the process id; `mkdir` succeeds for the first only: a second could not listen on the port
        let text = format!(
            "#!/bin/sh\n\
             if mkdir {at}/first 2>/dev/null; then\n\
             echo $$ > {at}/pid.new && mv {at}/pid.new {at}/pid\n\
             exec {workerd} \"$@\" --inspector-addr=127.0.0.1:{inspector_port}\n\
             fi\n\
             exec {workerd} \"$@\"\n"
        );
        fs::write(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Ok(Self { directory, inspector_port })
    }

    fn workerd(&self) -> std::path::PathBuf {
        self.directory.path().join("workerd")
    }

    /// Of the first workerd, once it is there.
    fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.directory.path().join("pid")).ok()?.trim().parse().ok()
    }
}

/// For a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

fn load(repo: &Repo, hook: &Hook, arguments: &Arguments) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--quiet", "--locked", "--release", "--package", "bench", "--"]);
    if arguments.bench.is_empty() {
        cargo.args(["--targets", "umbra", "--scenarios", "10 pairs, QoS 0, 64 B"]);
    } else {
        cargo.args(&arguments.bench);
    }
    cargo.args(["--rounds", "1", "--seconds", &(arguments.seconds + MARGIN_SECONDS).to_string()]);
    cargo.current_dir(repo.root()).stdin(Stdio::null()).env("MINIFLARE_WORKERD_PATH", hook.workerd());
    if arguments.perf {
        cargo.env("MINIFLARE_WORKERD_V8_FLAGS", perf::V8_FLAGS);
    }
    cargo
}

enum Profiler {
    V8(Box<Inspector>),
    Perf(Perf),
}

/// Samples from when workerd is there until it has been under load for long enough.
fn sample(repo: &Repo, arguments: &Arguments, hook: &Hook, load: &mut Group, output: &Path) -> Result<Samples> {
    let mut profiler = None;
    let mut usage = Usage::default();
    let mut busy_since: Option<Instant> = None;
    let wanted = LEAD + Duration::from_secs(u64::from(arguments.seconds));
    loop {
        thread::sleep(POLL);
        if shell::stop_asked() {
            bail!("interrupted");
        }
        if load.try_wait()?.is_some() {
            break;
        }
        let Some(pid) = hook.pid() else { continue };
        if profiler.is_none() {
            profiler = if arguments.perf {
                Some(Profiler::Perf(Perf::start(pid, &output.join("perf.data"))?))
            } else {
                Inspector::start(hook.inspector_port)?.map(|inspector| Profiler::V8(Box::new(inspector)))
            };
            if let Some(Profiler::V8(inspector)) = &profiler {
                say(format_args!("V8 samples the worker {}", inspector.worker));
            }
            usage = Usage::default();
        }
        if usage.of(pid) < BUSY {
            busy_since = None;
        } else if busy_since.get_or_insert_with(Instant::now).elapsed() > wanted {
            break;
        }
    }
    let sources = Sources::load("index.js", &repo.path("build/index.js"));
    match profiler {
        Some(Profiler::V8(inspector)) => {
            let profile = inspector.stop().context(ENDED_EARLY)?;
            fs::write(output.join("profile.cpuprofile"), profile.to_string())?;
            inspector::samples(&profile, &sources)
        }
        Some(Profiler::Perf(perf)) => Ok(perf::samples(&perf.stop()?, &sources)),
        None => bail!("the load started no workerd that could be sampled"),
    }
}

/// How much of one processor a process has used lately.
#[derive(Default)]
struct Usage {
    /// When it had used how many ticks.
    history: Vec<(Instant, u64)>,
}

impl Usage {
    fn of(&mut self, pid: u32) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        self.history.push((Instant::now(), ticks(&stat).unwrap_or_default()));
        if self.history.len() > BUSY_OVER {
            self.history.remove(0);
        }
        let (Some((from, before)), Some((to, after))) = (self.history.first(), self.history.last()) else { return 0.0 };
        let elapsed = to.duration_since(*from).as_secs_f64();
        let used = u32::try_from(after.saturating_sub(*before)).map_or(0.0, f64::from);
        let per_second = u32::try_from(rustix::param::clock_ticks_per_second()).map_or(100.0, f64::from);
        if elapsed > 0.0 { used / per_second / elapsed } else { 0.0 }
    }
}

/// User and system time of a process: the 14th and 15th field of its `stat`. The second one is its name, which may contain anything.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_bench_follow_two_hyphens() {
        let parsed = |text: &str| parse(lexopt::Parser::from_args(text.split_whitespace()));
        let arguments = parsed("--perf --seconds 3 -- --targets floor --scenarios fan-out").unwrap();
        assert!(arguments.perf && arguments.seconds == 3);
        assert_eq!(arguments.bench, ["--targets", "floor", "--scenarios", "fan-out"]);
        assert!(parsed("").unwrap().bench.is_empty());
        for wrong in ["--seconds 1", "--seconds 100", "--flame"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "7 (a ) b) R 1 7 7 0 -1 4194304 1 2 3 4 120 30 0 0 20 0 1 0";
        assert_eq!(ticks(stat), Some(150));
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn what_goes_to_the_shell_stays_one_word() {
        assert_eq!(quoted("/a b/it's"), "'/a b/it'\\''s'");
    }
}
