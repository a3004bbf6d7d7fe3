//! The lists in `tests/conformance`: complete, and each statement has a test that exists or a reason why none can.
//!
//! That the tests they name also ran is checked by `cargo xtask test` (xtask/src/conformance.rs).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use system_tests::platform::root;
use system_tests::table;

/// How many statements a section has. Their numbers begin with 1.
type Sections = [(&'static str, u32)];

/// One standard's list.
struct Standard {
    file: &'static str,
    /// In the order of the standard.
    sections: &'static Sections,
    /// Numbers that appendix B of the standard passes over, and why they are nobody's mistake here.
    absent: &'static [(&'static str, u32, &'static str)],
    /// The cell of `bad-input.tsv` that has the answer in this version.
    answer: usize,
}

const MQTT_3_1_1: Standard = Standard {
    file: "conformance/mqtt-3.1.1.tsv",
    sections: &[
        ("1.5.3", 3),
        ("2.2.2", 2),
        ("2.3.1", 7),
        ("3.1.0", 2),
        ("3.1.2", 24),
        ("3.1.3", 11),
        ("3.1.4", 5),
        ("3.2.0", 1),
        ("3.2.2", 6),
        ("3.3.1", 12),
        ("3.3.2", 3),
        ("3.3.4", 1),
        ("3.3.5", 2),
        ("3.6.1", 1),
        ("3.8.1", 1),
        ("3.8.3", 4),
        ("3.8.4", 6),
        ("3.9.3", 2),
        ("3.10.1", 1),
        ("3.10.3", 2),
        ("3.10.4", 6),
        ("3.12.4", 1),
        ("3.14.1", 1),
        ("3.14.4", 3),
        ("4.1.0", 2),
        ("4.3.1", 1),
        ("4.3.2", 2),
        ("4.3.3", 2),
        ("4.4.0", 1),
        ("4.5.0", 2),
        ("4.6.0", 6),
        ("4.7.1", 3),
        ("4.7.2", 1),
        ("4.7.3", 4),
        ("4.8.0", 2),
        ("6.0.0", 4),
        ("7.0.0", 2),
        ("7.1.1", 1),
        ("7.1.2", 1),
    ],
    absent: &[],
    answer: 3,
};

const MQTT_5_0: Standard = Standard {
    file: "conformance/mqtt-5.0.tsv",
    sections: &[
        ("1.5.4", 3),
        ("1.5.5", 1),
        ("1.5.7", 1),
        ("2.1.3", 1),
        ("2.2.1", 6),
        ("2.2.2", 1),
        ("3.1.0", 2),
        ("3.1.2", 30),
        ("3.1.3", 12),
        ("3.1.4", 6),
        ("3.2.0", 2),
        ("3.2.2", 22),
        ("3.3.1", 13),
        ("3.3.2", 20),
        ("3.3.4", 10),
        ("3.4.2", 3),
        ("3.5.2", 3),
        ("3.6.1", 1),
        ("3.6.2", 3),
        ("3.7.2", 3),
        ("3.8.1", 1),
        ("3.8.3", 5),
        ("3.8.4", 8),
        ("3.9.2", 2),
        ("3.9.3", 2),
        ("3.10.1", 1),
        ("3.10.3", 2),
        ("3.10.4", 6),
        ("3.11.2", 2),
        ("3.11.3", 2),
        ("3.12.4", 1),
        ("3.14.0", 1),
        ("3.14.1", 1),
        ("3.14.2", 4),
        ("3.14.4", 3),
        ("3.15.1", 1),
        ("3.15.2", 3),
        ("4.1.0", 2),
        ("4.2", 1),
        ("4.3.1", 1),
        ("4.3.2", 5),
        ("4.3.3", 13),
        ("4.4.0", 2),
        ("4.5.0", 2),
        ("4.6.0", 6),
        ("4.7.0", 1),
        ("4.7.1", 2),
        ("4.7.2", 1),
        ("4.7.3", 4),
        ("4.8.2", 6),
        ("4.9.0", 3),
        ("4.12.0", 7),
        ("4.12.1", 2),
        ("4.13.1", 1),
        ("4.13.2", 1),
        ("6.0.0", 4),
    ],
    absent: &[("2.2.1", 1, "drafts had it; the standard's text begins with MQTT-2.2.1-2")],
    answer: 4,
};

const STANDARDS: [&Standard; 2] = [&MQTT_3_1_1, &MQTT_5_0];

/// The reasons that stand for themselves. The third is `gap: FEATURE`.
const REASONS: [&str; 2] = ["client-side", "not testable over WebSocket"];

/// A test that has yet to be written.
const TODO: &str = "TODO ";

type Row = [String; 3];

impl Standard {
    fn rows(&self) -> Vec<Row> {
        table::rows::<3>(self.file)
    }

    /// The numbers that the list has to have, in this order.
    fn numbers(&self) -> Vec<String> {
        let is_there = |section: &str, number| !self.absent.iter().any(|(s, n, _)| (*s, *n) == (section, number));
        self.sections
            .iter()
            .flat_map(|(section, count)| (1..=*count).map(move |number| (*section, number)))
            .filter(|(section, number)| is_there(section, *number))
            .map(|(section, number)| format!("MQTT-{section}-{number}"))
            .collect()
    }
}

/// The tests that a row names, or none if it has a reason.
fn tests(coverage: &str) -> Vec<&str> {
    coverage.strip_prefix("test: ").map_or(Vec::new(), |tests| tests.split("; ").collect())
}

/// What keeps the rows from being exactly the statements of the standard, in their order.
fn incomplete(standard: &Standard, rows: &[Row]) -> Vec<String> {
    let (wanted, found) = (standard.numbers(), rows.iter().map(|[number, ..]| number.clone()).collect::<Vec<_>>());
    let mut problems = Vec::new();
    let (all, listed): (BTreeSet<_>, BTreeSet<_>) = (wanted.iter().collect(), found.iter().collect());
    problems.extend(all.difference(&listed).map(|number| format!("{number} is missing")));
    problems.extend(listed.difference(&all).map(|number| format!("{number} is no statement of this standard")));
    if problems.is_empty() && wanted != found {
        problems.push("a number is there twice, or not in its place".to_owned());
    }
    problems
}

/// What is wrong with the last cell of the rows, as far as words go. `gaps` are the features that the README calls missing.
fn unfounded(rows: &[Row], gaps: &BTreeSet<String>) -> Vec<String> {
    let is_founded = |coverage: &str| match coverage.split_once(": ") {
        Some(("test", tests)) => tests.split("; ").all(|test| !test.trim().is_empty()),
        Some(("reason", reason)) => {
            REASONS.contains(&reason) || reason.strip_prefix("gap: ").is_some_and(|gap| gaps.contains(gap))
        }
        _ => false,
    };
    let bad = rows.iter().filter(|[_, _, coverage]| !is_founded(coverage));
    bad.map(|[number, _, coverage]| format!("{number}: neither a test nor a reason that counts: {coverage:?}"))
        .collect()
}

/// The first cells of the tables below `## What is missing`.
fn gaps(readme: &str) -> BTreeSet<String> {
    let missing = readme.split("\n## ").find(|section| section.starts_with("What is missing\n")).unwrap_or_default();
    let cells = missing.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
    cells.map(str::trim).filter(|cell| !cell.is_empty() && !cell.starts_with("--")).map(str::to_owned).collect()
}

/// Where a package of the workspace is.
fn directory(package: &str) -> PathBuf {
    match package {
        "system-tests" => root().join("tests"),
        "umbra-worker" => root().join("workers"),
        "durable-objects" | "xtask" | "bench" => root().join(package),
        package => root().join("crates").join(package),
    }
}

/// The text of the file that a module is in.
fn source(base: &Path, modules: &[&str], roots: &[&str]) -> Option<String> {
    (0..=modules.len()).rev().find_map(|outer| {
        let (files, inline) = modules.split_at(outer);
        let path = base.join(files.join("/"));
        let candidates = match files.last() {
            None => roots.iter().map(|root| base.join(root)).collect(),
            Some(_) => vec![path.with_extension("rs"), path.join("mod.rs")],
        };
        let text = candidates.iter().find_map(|candidate| std::fs::read_to_string(candidate).ok())?;
        inline.iter().all(|module| text.contains(&format!("mod {module} {{"))).then_some(text)
    })
}

/// Whether the source has the function, as a test that runs.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_it = |line: &str| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        line.strip_prefix("fn ").and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.starts_with('('))
    };
    lines.iter().enumerate().filter(|(_, line)| is_it(line)).any(|(index, _)| {
        let attributes: Vec<_> = lines[..index].iter().rev().take_while(|line| line.starts_with("#[")).collect();
        let has = |word: &str| attributes.iter().any(|attribute| attribute.contains(word));
        (has("test]") || has("test(")) && !has("ignore")
    })
}

fn rust_test_exists(package: &str, path: &str) -> bool {
    let directory = directory(package);
    let segments: Vec<&str> = path.split("::").collect();
    let Some((name, modules)) = segments.split_last() else { return false };
    let unit = source(&directory.join("src"), modules, &["lib.rs", "main.rs"]);
    let integration = modules.first().and_then(|_| source(&directory.join("tests"), modules, &[]));
    [unit, integration].iter().flatten().any(|source| has_test(source, name))
}

fn node_test_exists(file: &str, name: &str) -> bool {
    let path = root().join("tests/node").join(format!("{file}.test.mjs"));
    let Ok(source) = std::fs::read_to_string(path) else { return false };
    ['"', '`', '\''].iter().any(|quote| source.contains(&format!("test({quote}{name}{quote}")))
}

/// Why a test that a list names is none, if it isn't.
fn unknown(
    standard: &Standard,
    test: &str,
    bad_input: &BTreeMap<(String, String), Vec<[String; 6]>>,
) -> Option<String> {
    let (layer, name) = test.split_once("::")?;
    let row = || {
        let (kind, what) = name.split_once("::").unwrap_or_default();
        match bad_input.get(&(kind.to_owned(), what.to_owned())).map(Vec::as_slice) {
            Some([row]) if kind == "http" || row[standard.answer] != "-" => None,
            Some([_]) => Some("the row is not for this version"),
            Some(_) => Some("several rows have this name"),
            None => Some("no such row"),
        }
    };
    let problem = match layer {
        "bad-input" => row(),
        "node" => {
            let exists = name.split_once("::").is_some_and(|(file, name)| node_test_exists(file, name));
            (!exists).then_some("no such test in tests/node")
        }
        package => (!rust_test_exists(package, name)).then_some("no such test in the sources of the package"),
    };
    problem.map(|problem| format!("{test}: {problem}"))
}

fn bad_input() -> BTreeMap<(String, String), Vec<[String; 6]>> {
    let mut rows = BTreeMap::<_, Vec<_>>::new();
    for row in table::rows::<6>("bad-input.tsv") {
        rows.entry((row[0].clone(), row[1].clone())).or_default().push(row);
    }
    rows
}

/// What is wrong with the tests that the rows name.
fn unknown_tests(standard: &Standard, rows: &[Row]) -> Vec<String> {
    let bad_input = bad_input();
    let named =
        rows.iter().flat_map(|[number, _, coverage]| tests(coverage).into_iter().map(move |test| (number, test)));
    let written = named.filter(|(_, test)| !test.starts_with(TODO));
    let unknown = written.filter_map(|(number, test)| {
        let problem = match test.contains("::") {
            true => unknown(standard, test, &bad_input),
            false => Some(format!("{test}: no layer")),
        };
        problem.map(|problem| format!("{number}: {problem}"))
    });
    unknown.collect()
}

#[track_caller]
fn check(problems_of: impl Fn(&'static Standard) -> Vec<String>) {
    let problems = STANDARDS.iter().flat_map(|standard| {
        problems_of(standard).into_iter().map(|problem| format!("tests/{}: {problem}", standard.file))
    });
    let problems: Vec<String> = problems.collect();
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn the_lists_have_every_statement_of_their_standard_once() {
    assert_eq!(STANDARDS.map(|standard| standard.numbers().len()), [141, 251]);
    check(|standard| incomplete(standard, &standard.rows()));
}

#[test]
fn every_reason_is_one_that_counts() {
    let gaps = gaps(&std::fs::read_to_string(root().join("README.md")).unwrap());
    assert!(gaps.len() > 10, "the README's tables of what is missing were not found");
    check(|standard| unfounded(&standard.rows(), &gaps));
}

#[test]
fn every_test_that_the_lists_name_exists() {
    check(|standard| unknown_tests(standard, &standard.rows()));
}

#[test]
fn every_statement_has_a_test_or_a_reason() {
    check(|standard| {
        let mut open = BTreeMap::<String, Vec<String>>::new();
        for [number, _, coverage] in standard.rows() {
            for test in tests(&coverage).into_iter().filter(|test| test.starts_with(TODO)) {
                open.entry(test.to_owned()).or_default().push(number.clone());
            }
        }
        open.into_iter().map(|(test, numbers)| format!("{test} ({})", numbers.join(", "))).collect()
    });
}

/// A list of which something is changed.
fn changed(change: impl Fn(&mut Vec<Row>)) -> Vec<Row> {
    let mut rows: Vec<Row> = MQTT_5_0
        .numbers()
        .into_iter()
        .map(|number| [number, "words".to_owned(), "reason: client-side".to_owned()])
        .collect();
    change(&mut rows);
    rows
}

#[test]
fn a_list_that_is_not_the_standards_is_noticed() {
    type Change = fn(&mut Vec<Row>);
    let rows: &[(Change, Option<&str>)] = &[
        (|_| {}, None),
        (|rows| drop(rows.remove(7)), Some("MQTT-2.2.1-3 is missing")),
        (|rows| drop(rows.pop()), Some("MQTT-6.0.0-4 is missing")),
        (|rows| rows[0][0] = "MQTT-1.5.4-4".to_owned(), Some("MQTT-1.5.4-1 is missing")),
        (|rows| rows[0][0] = "MQTT-1.5.4-4".to_owned(), Some("MQTT-1.5.4-4 is no statement of this standard")),
        (|rows| rows[6][0] = "MQTT-2.2.1-1".to_owned(), Some("MQTT-2.2.1-1 is no statement of this standard")),
        (|rows| rows.push(rows[0].clone()), Some("a number is there twice, or not in its place")),
        (|rows| rows.swap(0, 1), Some("a number is there twice, or not in its place")),
    ];
    for (change, problem) in rows {
        let problems = incomplete(&MQTT_5_0, &changed(change));
        match problem {
            None => assert_eq!(problems, Vec::<String>::new()),
            Some(problem) => assert!(problems.iter().any(|found| found == problem), "{problem}: {problems:?}"),
        }
    }
}

#[test]
fn only_three_reasons_count() {
    let readme =
        "# T\n\n## What is missing\n\n| feature | today |\n|---|---|\n| QoS 2 | none |\n\n## Where\n\n| QoS 3 | x |\n";
    let gaps = gaps(readme);
    assert_eq!(gaps.iter().map(String::as_str).collect::<Vec<_>>(), ["QoS 2", "feature"]);
    for (coverage, counts) in [
        ("reason: client-side", true),
        ("reason: not testable over WebSocket", true),
        ("reason: gap: QoS 2", true),
        ("reason: gap: QoS 3", false),
        ("reason: gap", false),
        ("reason: difficult", false),
        ("reason: ", false),
        ("test: mqtt-codec::x::y", true),
        ("test: a; ", false),
        ("tests: a", false),
        ("client-side", false),
    ] {
        let row = ["MQTT-1.5.4-1".to_owned(), "words".to_owned(), coverage.to_owned()];
        assert_eq!(unfounded(&[row], &gaps).is_empty(), counts, "{coverage}");
    }
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    let here = "system-tests::conformance::a_test_that_is_not_there_is_noticed";
    for (test, exists) in [
        (here, true),
        ("system-tests::conformance::has_test", false),
        ("system-tests::conformances::a_test_that_is_not_there_is_noticed", false),
        ("system-tests::a_test_that_is_not_there_is_noticed", false),
        ("mqtt-codec::reason_code::tests::a_return_code_of_3_1_1_keeps_its_meaning", true),
        ("mqtt-codec::reason_code::a_return_code_of_3_1_1_keeps_its_meaning", true),
        ("mqtt-codec::reason_code::test::a_return_code_of_3_1_1_keeps_its_meaning", false),
        ("mqtt-codec::error::tests::a_return_code_of_3_1_1_keeps_its_meaning", false),
        ("mqtt-codec::malformed::check", false),
        ("no-such-crate::malformed::connect_is_strict", false),
        ("node::mqtt_publish::PINGREQ is answered with PINGRESP", true),
        ("node::mqtt_publish::PINGREQ is answered", false),
        ("node::mqtt_sessions::PINGREQ is answered with PINGRESP", false),
        ("bad-input::session::PINGREQ with flags", true),
        ("bad-input::mqtt::PINGREQ with flags", false),
        ("bad-input::mqtt::protocol level 3", false),
        ("bad-input::mqtt::protocol level 6", true),
        ("PINGREQ with flags", false),
    ] {
        let row = ["MQTT-1.5.4-1".to_owned(), "words".to_owned(), format!("test: {test}")];
        assert_eq!(unknown_tests(&MQTT_5_0, &[row]).is_empty(), exists, "{test}");
    }
    let source = "#[cfg(test)]\nfn e() {}\n#[test]\n#[ignore]\nfn a() {}\n#[test]\nfn b() {}\nfn c() {}\n#[tokio::test]\nasync fn d() {}\n";
    assert_eq!(["a", "b", "c", "d", "e"].map(|name| has_test(source, name)), [false, true, false, true, false]);
}
