//! Linux's perf: everything that runs in workerd's process, in JavaScript, wasm, C++ and the kernel, in one call graph. V8 writes
//! down the names of what it compiles.

use super::sources::{PART, Sources};
use super::stacks::{Frame, Samples, Stack};
use crate::shell::capture;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

/// For V8. perf looks for the names in /tmp, where V8 writes them by default; its log, a file for each isolate, is for nobody.
pub const V8_FLAGS: &str = "--perf-basic-prof --perf-basic-prof-only-functions --interpreted-frames-native-stack \
    --no-logfile-per-isolate --logfile=/dev/null";
const SAMPLES_PER_SECOND: u32 = 5_000;

/// A process that is sampled.
pub struct Perf {
    child: Child,
    data: PathBuf,
    names: PathBuf,
}

impl Perf {
    /// # Errors
    /// When perf isn't there.
    pub fn start(pid: u32, data: &Path) -> Result<Self> {
        let child = Command::new("perf")
            .args(["record", "--quiet", "--event", "cpu-clock", "--call-graph", "fp"])
            .args(["--freq", &SAMPLES_PER_SECOND.to_string(), "--pid", &pid.to_string(), "--output"])
            .arg(data)
            .stdin(Stdio::null())
            .spawn()
            .context("cannot start perf (apt-get install linux-perf)")?;
        Ok(Self { child, data: data.to_owned(), names: PathBuf::from(format!("/tmp/perf-{pid}.map")) })
    }

    /// Ends it and answers what `perf script` prints.
    ///
    /// # Errors
    /// When it could not sample.
    pub fn stop(mut self) -> Result<String> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // on which perf writes its file and ends
            let _ = kill_process(pid, Signal::INT);
        }
        let status = self.child.wait()?;
        if !self.data.is_file() {
            bail!("perf recorded nothing ({status}); is /proc/sys/kernel/perf_event_paranoid above 2?");
        }
        let mut script = Command::new("perf");
        // to look up what was inlined would take minutes
        script.args(["script", "--no-inline", "--fields", "comm,time,ip,sym,dso", "--input"]).arg(&self.data);
        capture(&mut script)
    }
}

impl Drop for Perf {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // V8 leaves them behind
        let _ = fs::remove_file(&self.names);
    }
}

/// The samples of what `perf script` prints with the fields above: a line with the thread and the time, then its frames, the
/// innermost first, then an empty line.
pub fn samples(script: &str, sources: &Sources) -> Samples {
    let mut samples = Samples::default();
    let mut known: HashSet<Stack> = HashSet::new();
    let (mut thread, mut at, mut frames) = ("", 0.0, Vec::new());
    for line in script.lines().chain([""]) {
        if line.trim().is_empty() {
            if !frames.is_empty() {
                frames.push(Frame::new("thread", thread));
                frames.reverse();
                let stack: Stack = std::mem::take(&mut frames).into();
                // there are many samples and few stacks
                let stack = known.get(&stack).cloned().unwrap_or_else(|| {
                    known.insert(Rc::clone(&stack));
                    stack
                });
                samples.push(at, 1.0 / f64::from(SAMPLES_PER_SECOND), stack);
            }
        } else if line.starts_with(char::is_whitespace) {
            frames.push(frame(line.trim(), sources));
        } else if let Some((name, time)) = line.trim_end().trim_end_matches(':').rsplit_once(char::is_whitespace) {
            (thread, at) = (name.trim(), time.parse().unwrap_or(at));
        }
    }
    samples
}

/// Of `address symbol (object)`.
fn frame(line: &str, sources: &Sources) -> Frame {
    let line = line.split_once(' ').map_or(line, |(_, rest)| rest);
    let (symbol, object) = line.rsplit_once(" (").unwrap_or((line, ""));
    let object = object.trim_end_matches(')');
    if object.starts_with("[kernel") {
        return Frame::new("kernel", symbol);
    }
    let is_compiled = object.starts_with("/tmp/perf-") || object.starts_with("//anon");
    if is_compiled && let Some(name) = symbol.strip_prefix("JS:") {
        return compiled(name, sources);
    }
    Frame::new(native_part(symbol, if is_compiled { "V8" } else { object }), symbol)
}

/// A function that V8 has compiled: of wasm `name-index-tier`, of JavaScript a mark of the tier, the name, and its place.
fn compiled(name: &str, sources: &Sources) -> Frame {
    let mut words = name.rsplitn(3, '-');
    if let (Some("turbofan" | "liftoff"), Some(index), Some(function)) = (words.next(), words.next(), words.next())
        && index.bytes().all(|digit| digit.is_ascii_digit())
    {
        return Frame::of_wasm(function);
    }
    if ["wasm-to-js", "js-to-wasm"].iter().any(|start| name.starts_with(start)) {
        return Frame::new("between JavaScript and wasm", name);
    }
    let Some((function, place)) = name.rsplit_once(' ') else { return Frame::new("V8", name) };
    let mut place = place.rsplitn(3, ':');
    // counted from 1 there
    let mut next = || place.next().and_then(|number| number.parse::<usize>().ok()?.checked_sub(1));
    let (column, line) = (next(), next());
    let function = function.trim_start_matches(['*', '+', '^', '~', '\'']);
    Frame::new(PART, &sources.function(function, place.next().unwrap_or_default(), line, column))
}

/// What a function of workerd's binary or of a system library is for.
fn native_part(symbol: &str, object: &str) -> &'static str {
    const COLLECTION: [&str; 8] = [
        "v8::internal::Scaveng",
        "v8::internal::MarkCompact",
        "v8::internal::Marking",
        "v8::internal::ArrayBufferSweep",
        "v8::internal::Sweep",
        "v8::internal::Heap::",
        "cppgc::",
        "v8::internal::GlobalHandles::Iterate",
    ];
    const BY_START: [(&str, &[&str]); 6] = [
        ("garbage collection", &COLLECTION),
        ("V8", &["v8::", "Builtins_", "v8_", "bool v8::", "void v8::", "cppgc"]),
        ("malloc", &["tcmalloc::", "TCMalloc", "operator new", "operator delete", "malloc", "free"]),
        (
            "workerd: event loop, sockets and RPC (kj, capnp)",
            &["kj::", "capnp::", "non-virtual thunk to kj::", "bool kj::", "void kj::"],
        ),
        ("SQLite", &["sqlite3", "vdbe", "btree", "pager", "wal"]),
        ("zlib", &["Cr_z_"]),
    ];
    if !object.contains("workerd") && object != "V8" {
        return "system libraries";
    }
    let by_start = BY_START.iter().find(|(_, starts)| starts.iter().any(|start| symbol.starts_with(start)));
    by_start.map_or(if object == "V8" { "V8" } else { "workerd" }, |(part, _)| part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
workerd 39066.206400: 
\t         5511746 tcmalloc::FetchFromTransferCache (/x/bin/workerd)
\t    2355561a0fb8 JS:<broker[2c5562a1eaec4fab]::broker::Broker>::flush-185-turbofan (/tmp/perf-25576.map)
\t    14c701645974 JS:*'webSocketMessage index.js:2:7572 (/tmp/perf-25576.map)
\t         1f97d18 main (/x/bin/workerd)

V8 DefaultWorke 39066.206600: 
\tffffffff81000000 clear_page_erms ([kernel.kallsyms])

";

    #[test]
    fn frames_of_all_kinds_are_told_apart() {
        let profile = samples(SCRIPT, &Sources::default()).under_load();
        assert_eq!(
            profile.collapsed(),
            "workerd;main;webSocketMessage;<broker::broker::Broker>::flush;tcmalloc::FetchFromTransferCache 200\n\
             V8 DefaultWorke;clear_page_erms 200\n"
                .lines()
                .rev()
                .fold(String::new(), |text, line| text + line + "\n")
        );
        let part = |line: &str| frame(line, &Sources::default()).part.to_string();
        assert_eq!(
            part("1 JS:<broker[2c5562a1eaec4fab]::broker::Broker>::flush-185-liftoff (/tmp/perf-1.map)"),
            "wasm: broker"
        );
        assert_eq!(part("1 JS:^call index.js:1:2 (/tmp/perf-1.map)"), "JavaScript");
        assert_eq!(part("1 tcp_ack ([kernel.kallsyms])"), "kernel");
        assert_eq!(part("1 v8::internal::Scavenger::Process (/x/workerd)"), "garbage collection");
        assert_eq!(part("1 kj::EventLoop::turn (/x/workerd)"), "workerd: event loop, sockets and RPC (kj, capnp)");
        assert_eq!(part("1 workerd::api::WebSocket::send (/x/workerd)"), "workerd");
        assert_eq!(part("1 __memmove_avx512_unaligned_erms (/usr/lib/libc.so.6)"), "system libraries");
    }
}
