//! What processes use of processors and memory, from Linux's /proc.

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

/// What is read of /proc/PID/stat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    state: char,
    /// Own time and that of children that have ended, user and system, in clock ticks: so the sum over a tree never falls
    /// when one of its processes ends.
    ticks: u64,
    /// In clock ticks since boot: tells a process from a later one with the same id.
    started: u64,
}

/// The line of /proc/PID/stat (proc(5)). The second field is the program's name in parentheses and may itself contain
/// parentheses and spaces.
fn parse_stat(line: &str) -> Option<Stat> {
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // `rest` begins with field 3
    let field = |number: usize| fields.get(number - 3).copied();
    let ticks = [14, 15, 16, 17].map(|number| field(number).and_then(|text| text.parse::<u64>().ok()));
    Some(Stat {
        parent: field(4)?.parse().ok()?,
        state: field(3)?.chars().next()?,
        ticks: ticks.into_iter().sum::<Option<u64>>()?,
        started: field(22)?.parse().ok()?,
    })
}

/// Ticks that all processors together were busy: the first line of /proc/stat without idle and iowait, and without guest
/// time, which user time contains already.
fn parse_busy(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with("cpu "))?;
    let fields: Vec<u64> = line.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
    let (user_to_system, irq_to_steal) = (fields.get(0..3)?, fields.get(5..8)?);
    Some(user_to_system.iter().chain(irq_to_steal).sum())
}

fn all_processes() -> Result<BTreeMap<u32, Stat>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("this needs Linux's /proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // a process may end between the listing and the reading
        if let Some(stat) = fs::read_to_string(format!("/proc/{pid}/stat")).ok().and_then(|line| parse_stat(&line)) {
            all.insert(pid, stat);
        }
    }
    Ok(all)
}

fn tree_in(all: &BTreeMap<u32, Stat>, root: u32) -> BTreeSet<u32> {
    let mut tree = BTreeSet::from([root]);
    loop {
        let found: Vec<u32> = all
            .iter()
            .filter(|(pid, stat)| tree.contains(&stat.parent) && !tree.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if found.is_empty() {
            return tree;
        }
        tree.extend(found);
    }
}

/// The bytes in memory of those processes of the tree that run this program.
///
/// # Errors
/// When there is none, or /proc cannot be read.
pub fn resident(root: u32, program: &str) -> Result<u64> {
    let all = all_processes()?;
    let bytes = tree_in(&all, root).into_iter().filter_map(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        parse_status(&status).filter(|(name, _)| *name == program).map(|(_, bytes)| bytes)
    });
    let bytes = bytes.sum();
    ensure!(bytes > 0, "no process of the server is called {program}");
    Ok(bytes)
}

/// The program's name and its bytes in memory (proc(5)).
fn parse_status(text: &str) -> Option<(&str, u64)> {
    let value = |key| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let kibibytes: u64 = value("VmRSS:")?.strip_suffix("kB")?.trim().parse().ok()?;
    Some((value("Name:")?, kibibytes * 1_024))
}

/// Makes room for this many open files, here and in whatever is started from now on.
///
/// # Errors
/// When that is more than is allowed.
pub fn allow_open_files(count: u64) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    if let Some(maximum) = maximum.filter(|maximum| *maximum < count) {
        bail!("{count} open files are needed and {maximum} are allowed: see `ulimit -Hn`, or take fewer --connections");
    }
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("cannot raise the limit of open files")
}

fn duration(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Processor time so far; the resolution is a clock tick, usually 10 ms.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// Of the server: `root` and all its descendants.
    pub server: Duration,
    /// Of this process, which generates the load.
    pub generator: Duration,
    /// Of the whole machine, these two included.
    pub machine: Duration,
}

impl Usage {
    /// # Errors
    /// When /proc cannot be read.
    pub fn now(root: u32) -> Result<Self> {
        let all = all_processes()?;
        let server = tree_in(&all, root).iter().filter_map(|pid| all.get(pid)).map(|stat| stat.ticks).sum();
        let own = fs::read_to_string("/proc/self/stat")?;
        // of this process only its own time: its children are the servers
        let generator = own_ticks(&own).context("/proc/self/stat is not as proc(5) says")?;
        let machine = parse_busy(&fs::read_to_string("/proc/stat")?).context("/proc/stat is not as proc(5) says")?;
        Ok(Self { server: duration(server), generator: duration(generator), machine: duration(machine) })
    }
}

fn own_ticks(line: &str) -> Option<u64> {
    let (_, rest) = line.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// A process, told from a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    started: u64,
}

/// `root` and all its descendants.
pub fn tree(root: u32) -> Vec<Process> {
    let Ok(all) = all_processes() else { return Vec::new() };
    tree_in(&all, root)
        .into_iter()
        .filter_map(|pid| all.get(&pid).map(|stat| Process { pid, started: stat.started }))
        .collect()
}

impl Process {
    /// Zombies do not run: they wait for their parent to look.
    pub fn is_running(self) -> bool {
        fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .ok()
            .and_then(|line| parse_stat(&line))
            .is_some_and(|stat| stat.started == self.started && !matches!(stat.state, 'Z' | 'X'))
    }
}

/// The three load averages.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// What the processors call themselves.
pub fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(':'));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    const REST: &str =
        "S 77 100 100 0 -1 4194304 500 900 0 0 12 3 40 5 20 0 11 0 6789 1000000 250 18446744073709551615";

    fn check(line: &str, expected: Option<Stat>) {
        assert_eq!(parse_stat(line), expected, "{line}");
    }

    #[test]
    fn a_stat_line_is_read_whatever_the_program_calls_itself() {
        let stat = Some(Stat { parent: 77, state: 'S', ticks: 60, started: 6789 });
        check(&format!("42 (workerd) {REST}"), stat);
        check(&format!("42 (tmux: client) {REST}\n"), stat);
        check(&format!("42 (a) S 1 (b)) {REST}"), stat);
    }

    #[test]
    fn a_stat_line_that_is_cut_or_no_stat_line_is_refused() {
        check("", None);
        check("42 (workerd", None);
        check("42 (workerd) S 77 100", None);
        check(&format!("42 (workerd) {}", REST.replace(" 12 ", " x ")), None);
    }

    #[test]
    fn of_this_process_only_its_own_time_counts() {
        assert_eq!(own_ticks(&format!("42 (bench) {REST}")), Some(15));
        assert_eq!(own_ticks("42 (bench) S 1"), None);
    }

    #[test]
    fn busy_time_is_without_idle_iowait_and_guests() {
        let text = "cpu  100 20 30 4000 500 6 7 8 90 0\ncpu0 1 1 1 1 1 1 1 1 1 1\nintr 5\n";
        assert_eq!(parse_busy(text), Some(100 + 20 + 30 + 6 + 7 + 8));
        assert_eq!(parse_busy("intr 5\n"), None);
        assert_eq!(parse_busy("cpu  1 2 3\n"), None);
    }

    #[test]
    fn the_resident_size_is_in_bytes() {
        let text = "Name:\tworkerd\nVmHWM:\t   90 kB\nVmRSS:\t   12 kB\nThreads:\t1\n";
        assert_eq!(parse_status(text), Some(("workerd", 12_288)));
        // a kernel thread or a zombie has no memory
        assert_eq!(parse_status("Name:\tworkerd\nThreads:\t1\n"), None);
    }

    #[test]
    fn a_tree_is_a_process_with_its_descendants_and_nobody_else() {
        let stat = |parent| Stat { parent, state: 'S', ticks: 1, started: 0 };
        let all = BTreeMap::from([(1, stat(0)), (5, stat(1)), (4, stat(5)), (9, stat(4)), (6, stat(1))]);
        assert_eq!(tree_in(&all, 5), BTreeSet::from([4, 5, 9]));
    }

    #[test]
    fn a_child_is_seen_running_until_it_has_ended() {
        let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let own = tree(std::process::id());
        let process = *own.iter().find(|process| process.pid == child.id()).unwrap();
        assert!(process.is_running());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!process.is_running());
    }
}
