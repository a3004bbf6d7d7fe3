//! The examples of the developer guide's page on functions, one per line in `data/sql-examples.tsv`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;
use common::run;
use rules::{Program, SqlVersion};
use serde_json::Value;
use std::collections::BTreeSet;

/// Functions that do not exist here yet. This list may only shrink.
const NOT_YET: &[&str] = &[
    "acos",
    "asin",
    "atan",
    "atan2",
    "bitand",
    "bitnot",
    "bitor",
    "chr",
    "cos",
    "cosh",
    "exp",
    "indexof",
    "ln",
    "log",
    "lpad",
    "ltrim",
    "md2",
    "md5",
    "mod",
    "nanvl",
    "newuuid",
    "numbytes",
    "power",
    "rand",
    "regexp_matches",
    "regexp_replace",
    "regexp_substr",
    "remainder",
    "replace",
    "rpad",
    "rtrim",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "time_to_epoch",
    "traceid",
    "trim",
    "trunc",
];

/// Rows where the page contradicts itself: the expression, what it gives here, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "concat(1)",
        "1",
        "the page's table says that a single argument is returned unmodified; the example shows a string",
    ),
    ("get(\"abc\", 1)", "\"b\"", "the page's table says that positions begin at 0; the example counts from 1"),
    ("isUndefined(floor([1,2,3])))", "does not compile", "the example has one closing parenthesis too many"),
];

fn rows() -> Vec<(&'static str, &'static str)> {
    include_str!("data/sql-examples.tsv")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once('\t').expect("two columns"))
        .collect()
}

/// The names before an opening parenthesis, but for `AS` and types.
fn functions(expression: &str) -> BTreeSet<String> {
    let mut outside_quotes = String::new();
    let mut quoted = false;
    for ch in expression.chars() {
        if ch == '"' {
            quoted = !quoted;
        } else if !quoted {
            outside_quotes.push(ch);
        }
    }
    outside_quotes
        .match_indices('(')
        .map(|(at, _)| {
            let name = outside_quotes[..at].rsplit(|ch: char| !ch.is_alphanumeric() && ch != '_').next().unwrap();
            name.to_lowercase()
        })
        .filter(|name| !name.is_empty())
        .collect()
}

/// What an expression gives, as JSON text, or `Undefined`.
fn evaluated(expression: &str, expected: &str) -> String {
    // The page has examples of `topic` on two topics; the second is on Basic Ingest.
    let topic = if expected.contains("Building") || expected.contains("Floor") {
        "$aws/rules/BuildingManager/Buildings/Building5/Floor2/Room201/Lights"
    } else {
        "things/myThings/thingOne"
    };
    let Ok(program) = Program::compile(&format!("SELECT {expression} AS result FROM 'a'"), SqlVersion::V2016) else {
        return "does not compile".to_owned();
    };
    let output: Value = serde_json::from_slice(&run(&program, topic, b"{}").unwrap().unwrap()).unwrap();
    output.get("result").map_or_else(|| "Undefined".to_owned(), ToString::to_string)
}

fn same(left: &str, right: &str) -> bool {
    match (serde_json::from_str::<Value>(left), serde_json::from_str::<Value>(right)) {
        (Ok(Value::Number(left)), Ok(Value::Number(right))) => left.as_f64() == right.as_f64(),
        (Ok(left), Ok(right)) => left == right,
        _ => left == right,
    }
}

#[test]
fn every_documented_example_of_a_known_function_holds() {
    let mut checked = 0;
    for (expression, documented) in rows() {
        if functions(expression).iter().any(|name| NOT_YET.contains(&name.as_str())) {
            continue;
        }
        let exception = EXCEPTIONS.iter().find(|(row, ..)| *row == expression);
        let expected = exception.map_or(documented, |(_, ours, _)| ours);
        let result = evaluated(expression, documented);
        assert!(same(&result, expected), "{expression}: {result}, documented {documented}");
        checked += 1;
    }
    assert!(checked >= 45, "only {checked} rows were checked");
}

#[test]
fn every_exception_is_a_row_that_really_differs() {
    for (expression, ours, reason) in EXCEPTIONS {
        let (_, documented) = rows().into_iter().find(|(row, _)| row == expression).expect(expression);
        assert!(!same(documented, ours), "{expression} is no exception: {reason}");
    }
}

#[test]
fn functions_listed_as_missing_are_missing_and_in_the_examples() {
    let used: BTreeSet<String> = rows().iter().flat_map(|(expression, _)| functions(expression)).collect();
    for name in NOT_YET {
        assert!(used.contains(*name), "{name} is in no example");
        let error = Program::compile(&format!("SELECT {name}(a) FROM 'a'"), SqlVersion::V2016).expect_err(name);
        assert!(error.message.contains("not known or not supported"), "{name}: {error}");
    }
}
