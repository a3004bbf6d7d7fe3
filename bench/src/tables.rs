//! What reports have in common: cells, names, and where they go.

use crate::stats::Spread;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// What `write` writes.
pub fn text(write: impl FnOnce(&mut String) -> std::fmt::Result) -> String {
    let mut text = String::new();
    // writing to a String cannot fail
    let _ = write(&mut text);
    text
}

/// What is above a table: under which conditions, with which settings, and what else the machine did.
pub fn heading(
    text: &mut String,
    [conditions, settings]: [&str; 2],
    [before, after]: [&str; 2],
    other_cpus: Option<Spread>,
) -> std::fmt::Result {
    let others = cell(other_cpus, 2);
    writeln!(
        text,
        "{conditions}\nLoad average {before} before, {after} after; processors that others used during measurements: \
         {others}.\n{settings}\n"
    )
}

/// A median with its spread.
pub fn cell(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(
        || "–".to_owned(),
        |Spread { median, min, max }| format!("{median:.digits$} ({min:.digits$}–{max:.digits$})"),
    )
}

/// A median.
pub fn median(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(|| "–".to_owned(), |Spread { median, .. }| format!("{median:.digits$}"))
}

/// A median with its spread, in thousands.
pub fn thousands(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "–".to_owned(),
        |Spread { median, min, max }| format!("{:.1} k ({:.1}–{:.1})", median / 1e3, min / 1e3, max / 1e3),
    )
}

/// The least that a ratio has to be, and whether its median is.
pub fn bar(bar: Option<f64>, ratio: Option<Spread>) -> String {
    let Some(bar) = bar else { return "–".to_owned() };
    let is_met = ratio.is_some_and(|ratio| ratio.median >= bar);
    format!("{bar} {}", if is_met { "met" } else { "missed" })
}

/// Those of `all` that are named, in the order of `all`.
///
/// # Errors
/// When a name is none of them.
pub fn chosen(option: &str, all: &[&'static str], text: &str) -> Result<Vec<&'static str>> {
    let wanted: Vec<&str> = text.split(',').collect();
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        bail!("{option} takes names of {}, not {unknown:?}", all.join(", "));
    }
    Ok(all.iter().copied().filter(|name| wanted.contains(name)).collect())
}

/// What the platform runs on, as npm has installed it.
pub fn versions(root: &Path) -> BTreeMap<&'static str, String> {
    #[derive(Deserialize)]
    struct Package {
        version: String,
    }
    let version = |name: &'static str| {
        let text = fs::read_to_string(root.join("node_modules").join(name).join("package.json")).ok()?;
        let Package { version } = serde_json::from_str(&text).ok()?;
        Some((name, format!("{name} {version}")))
    };
    ["miniflare", "workerd"].into_iter().filter_map(version).collect()
}

/// Writes a report to target/bench, and to where else it is wanted.
///
/// # Errors
/// When it cannot be written.
pub fn save(root: &Path, name: &str, elsewhere: Option<&Path>, report: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string_pretty(report)? + "\n";
    let latest = root.join(format!("target/bench/{name}.json"));
    for path in std::iter::once(latest.as_path()).chain(elsewhere) {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(path, &json).with_context(|| format!("cannot write {}", path.display()))?;
        eprintln!("results: {}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_by_the_median() {
        let ratio = |median| Some(Spread { median, min: 0.1, max: 9.0 });
        assert_eq!(bar(Some(0.6), ratio(0.6)), "0.6 met");
        assert_eq!(bar(Some(0.6), ratio(0.59)), "0.6 missed");
        assert_eq!(bar(Some(0.6), None), "0.6 missed");
        assert_eq!(bar(None, ratio(1.0)), "–");
    }

    #[test]
    fn names_are_taken_in_their_own_order() {
        assert_eq!(chosen("--x", &["a", "b", "c"], "c,a").unwrap(), ["a", "c"]);
        assert!(chosen("--x", &["a", "b"], "a,d").unwrap_err().to_string().contains("--x takes names of a, b"));
    }
}
