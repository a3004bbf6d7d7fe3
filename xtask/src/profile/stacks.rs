//! Profiles from whichever profiler, as weighted call stacks, and what is read off them.

use super::sources::PART;
use crate::symbols::{leading_crate, readable, without_arguments};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

/// The time in which a load either is there or is not.
const BIN: Duration = Duration::from_millis(100);
/// The part of a processor that counts as load.
const BUSY: f64 = 0.5;
/// Begins after the load has: V8 compiles again what it finds to be hot.
const WARM_UP: Duration = Duration::from_secs(1);

/// A function, and what it is a part of, such as the kernel or a crate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frame {
    pub part: Rc<str>,
    pub function: Rc<str>,
}

impl Frame {
    pub fn new(part: &str, function: &str) -> Self {
        Self { part: part.into(), function: function.into() }
    }

    /// A function of the wasm by its name there.
    pub fn of_wasm(name: &str) -> Self {
        let part = leading_crate(name).map_or_else(|| "wasm: no crate".to_owned(), |of| format!("wasm: {of}"));
        Self::new(&part, &readable(name))
    }
}

/// From the outermost function to the one that ran.
pub type Stack = Rc<[Frame]>;

/// What ran when, in the order of time.
#[derive(Default)]
pub struct Samples {
    /// The time at which it ran and for how long, in seconds.
    samples: Vec<(f64, f64, Stack)>,
}

impl Samples {
    pub fn push(&mut self, at: f64, seconds: f64, stack: Stack) {
        self.samples.push((at, seconds, stack));
    }

    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// What the longest stretch under load consists of, without its beginning; everything when there is no load.
    pub fn under_load(&self) -> Profile {
        let start = self.samples.first().map_or(0.0, |&(at, ..)| at);
        let mut bins: Vec<f64> = Vec::new();
        for &(at, seconds, _) in &self.samples {
            let bin = bin_of(at - start);
            if bins.len() <= bin {
                bins.resize(bin + 1, 0.0);
            }
            if let Some(busy) = bins.get_mut(bin) {
                *busy += seconds;
            }
        }
        let threshold = BUSY * BIN.as_secs_f64();
        let longest = longest_run(&bins, |&busy| busy >= threshold);
        let warm_up = bin_of(WARM_UP.as_secs_f64());
        let is_load = longest.len() > 2 * warm_up;
        let window = if is_load { longest.start + warm_up..longest.end } else { 0..bins.len() };
        let mut stacks = BTreeMap::new();
        for (at, seconds, stack) in &self.samples {
            if window.contains(&bin_of(at - start)) {
                *stacks.entry(Rc::clone(stack)).or_insert(0.0) += seconds;
            }
        }
        Profile {
            stacks,
            is_load,
            seconds: BIN.as_secs_f64() * f64::from(u32::try_from(window.len()).unwrap_or(u32::MAX)),
        }
    }
}

/// The bins are far fewer than 2³², and times are not negative.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn bin_of(seconds: f64) -> usize {
    (seconds / BIN.as_secs_f64()) as usize
}

fn longest_run<T>(items: &[T], is_in: impl Fn(&T) -> bool) -> Range<usize> {
    let mut longest = 0..0;
    let mut start = 0;
    for (at, item) in items.iter().enumerate() {
        if !is_in(item) {
            start = at + 1;
        } else if at + 1 - start > longest.len() {
            longest = start..at + 1;
        }
    }
    longest
}

/// How long which stack ran.
pub struct Profile {
    stacks: BTreeMap<Stack, f64>,
    /// Whether it is of a load, and not of everything because there was none.
    pub is_load: bool,
    /// The time that it covers.
    pub seconds: f64,
}

impl Profile {
    /// The time in which something ran.
    pub fn busy(&self) -> f64 {
        self.stacks.values().sum()
    }

    /// One line for each stack, as flame graph tools read them.
    pub fn collapsed(&self) -> String {
        let mut text = String::new();
        for (stack, seconds) in &self.stacks {
            let frames: Vec<String> = stack.iter().map(|frame| frame.function.replace(';', ":")).collect();
            // writing to a String cannot fail; their unit is a whole number, so microseconds
            let _ = writeln!(text, "{} {:.0}", frames.join(";"), seconds * 1e6);
        }
        text
    }

    /// # Errors
    /// When there is nothing to draw.
    pub fn flame_graph(&self, title: &str) -> Result<Vec<u8>> {
        let mut options = inferno::flamegraph::Options::default();
        title.clone_into(&mut options.title);
        "µs".clone_into(&mut options.count_name);
        let mut svg = Vec::new();
        inferno::flamegraph::from_lines(&mut options, self.collapsed().lines(), &mut svg).context("no flame graph")?;
        Ok(svg)
    }

    /// What a person reads first: the parts, and the functions in which the time is spent.
    pub fn tables(&self, top: usize) -> String {
        let busy = self.busy().max(f64::MIN_POSITIVE);
        let (mut parts, mut own) = (BTreeMap::new(), BTreeMap::new());
        let mut inclusive: BTreeMap<&Frame, f64> = BTreeMap::new();
        for (stack, seconds) in &self.stacks {
            if let Some(frame) = stack.last() {
                *parts.entry(&*frame.part).or_insert(0.0) += seconds;
                *own.entry(frame).or_insert(0.0) += seconds;
            }
            // a recursive function is in a stack more than once
            for frame in stack.iter().collect::<BTreeSet<_>>() {
                *inclusive.entry(frame).or_insert(0.0) += seconds;
            }
        }
        let percent = |seconds: f64| 100.0 * seconds / busy;
        let mut text = format!("{:.2} s of {:.1} s busy\n\n  self  part\n", busy, self.seconds);
        for (part, &seconds) in descending(&parts) {
            let _ = writeln!(text, "{:5.1}%  {part}", percent(seconds));
        }
        let _ = writeln!(text, "\n  self   total  function");
        for (&frame, &seconds) in descending(&own).into_iter().take(top) {
            let total = inclusive.get(frame).copied().unwrap_or_default();
            let _ = writeln!(text, "{:5.1}%  {:5.1}%  {}", percent(seconds), percent(total), shown(frame));
        }
        let _ = writeln!(text, "\n total  with all that it calls, only what is not C++ or the kernel");
        let ours = |frame: &Frame| frame.part.starts_with("wasm: ") || &*frame.part == PART;
        for (&frame, &seconds) in descending(&inclusive).into_iter().filter(|(frame, _)| ours(frame)).take(top / 2) {
            let _ = writeln!(text, "{:5.1}%  {}", percent(seconds), shown(frame));
        }
        text
    }
}

/// Such that it fits a line; all of it is in the files.
fn shown(frame: &Frame) -> String {
    const WIDTH: usize = 110;
    let is_wasm = frame.part.starts_with("wasm: ");
    // C++ names are longer by far
    let name = if is_wasm { frame.function.to_string() } else { without_arguments(&frame.function) };
    let mut text: String = name.chars().take(WIDTH).collect();
    if name.chars().nth(WIDTH).is_some() {
        text.push('…');
    }
    if !is_wasm {
        let _ = write!(text, "  [{}]", frame.part);
    }
    text
}

fn descending<K>(of: &BTreeMap<K, f64>) -> Vec<(&K, &f64)> {
    let mut all: Vec<_> = of.iter().collect();
    all.sort_by(|(_, left), (_, right)| right.total_cmp(left));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(functions: &[&str]) -> Stack {
        functions.iter().map(|function| Frame::new("part", function)).collect()
    }

    /// `seconds` in which all of the time goes to `of`, sample by sample of 10 ms.
    fn run(samples: &mut Samples, from: f64, seconds: u32, of: &Stack) {
        for sample in 0..seconds * 100 {
            samples.push(from + f64::from(sample) * 0.01, 0.01, Rc::clone(of));
        }
    }

    #[test]
    fn what_counts_is_the_longest_load_without_its_beginning() {
        let (start_up, load) = (stack(&["main", "start"]), stack(&["main", "load"]));
        let mut samples = Samples::default();
        run(&mut samples, 0.0, 2, &start_up);
        run(&mut samples, 4.0, 5, &load);
        let profile = samples.under_load();
        assert!(profile.is_load);
        assert_eq!(profile.stacks.keys().collect::<Vec<_>>(), [&load]);
        assert!((profile.busy() - 4.0).abs() < 0.2, "{}", profile.busy());
    }

    #[test]
    fn without_a_load_everything_counts() {
        let mut samples = Samples::default();
        for second in 0..10 {
            samples.push(f64::from(second), 0.01, stack(&["main", "tick"]));
        }
        let profile = samples.under_load();
        assert!(!profile.is_load);
        assert!((profile.busy() - 0.1).abs() < 1e-9);
    }

    #[test]
    fn a_recursive_function_is_counted_once_in_its_total() {
        let mut samples = Samples::default();
        samples.push(0.0, 0.3, stack(&["main", "walk", "walk"]));
        samples.push(0.3, 0.1, stack(&["main", "walk", "other"]));
        let tables = samples.under_load().tables(10);
        assert!(tables.contains(" 75.0%  100.0%  walk"), "{tables}");
        assert!(tables.contains("100.0%  part"), "{tables}");
    }

    #[test]
    fn stacks_are_collapsed_one_a_line_and_drawn() {
        let mut samples = Samples::default();
        samples.push(0.0, 0.25, stack(&["main", "a;b"]));
        let profile = samples.under_load();
        assert_eq!(profile.collapsed(), "main;a:b 250000\n");
        let svg = String::from_utf8(profile.flame_graph("a title").unwrap()).unwrap();
        assert!(svg.contains("a title") && svg.contains("a:b"));
    }
}
