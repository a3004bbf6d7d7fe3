//! Every condition operator, with every quantifier and suffix, holds when an interpreter of single values says so (IAM
//! user guide, "IAM JSON policy elements: Condition operators" and "Multivalued context keys").
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use iot_types::{AccountId, Region, Scope};
use policy::{Action, Authority, Context, Effect, Facts, PolicyDocument};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::json;
use std::collections::BTreeMap;

/// Operators and what they compare; `Not` within a name turns it round.
const OPERATORS: [(&str, Kind); 26] = [
    ("StringEquals", Kind::Text),
    ("StringNotEquals", Kind::Text),
    ("StringEqualsIgnoreCase", Kind::Text),
    ("StringNotEqualsIgnoreCase", Kind::Text),
    ("StringLike", Kind::Text),
    ("StringNotLike", Kind::Text),
    ("BinaryEquals", Kind::Text),
    ("ArnEquals", Kind::Arn),
    ("ArnNotEquals", Kind::Arn),
    ("ArnLike", Kind::Arn),
    ("ArnNotLike", Kind::Arn),
    ("NumericEquals", Kind::Number),
    ("NumericNotEquals", Kind::Number),
    ("NumericLessThan", Kind::Number),
    ("NumericLessThanEquals", Kind::Number),
    ("NumericGreaterThan", Kind::Number),
    ("NumericGreaterThanEquals", Kind::Number),
    ("DateEquals", Kind::Date),
    ("DateNotEquals", Kind::Date),
    ("DateLessThan", Kind::Date),
    ("DateLessThanEquals", Kind::Date),
    ("DateGreaterThan", Kind::Date),
    ("DateGreaterThanEquals", Kind::Date),
    ("Bool", Kind::Bool),
    ("IpAddress", Kind::Ip),
    ("NotIpAddress", Kind::Ip),
];

/// What is compared, as numbers where it has an order: tables, so that nothing is parsed twice in the same wrong way.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Text,
    Arn,
    Number,
    Date,
    Bool,
    Ip,
}

/// Tenths.
const NUMBERS: [(&str, i64); 6] = [("-1", -10), ("0", 0), ("1", 10), ("1.0", 10), ("1.5", 15), ("2", 20)];
/// Milliseconds.
const DATES: [(&str, i64); 7] = [
    ("0", 0),
    ("1970-01-01", 0),
    ("1970-01-01T01:00:00+01:00", 0),
    ("1", 1_000),
    ("1970-01-01T00:00:01Z", 1_000),
    ("1970-01-01T00:00:01.5Z", 1_500),
    ("1970-01-02", 86_400_000),
];
const BOOLEANS: [(&str, i64); 4] = [("true", 1), ("True", 1), ("false", 0), ("FALSE", 0)];
/// Is it version 4? The address, and how many of its bits count.
const NETWORKS: [(&str, bool, u128, u32); 7] = [
    ("10.0.0.1", true, 0x0a00_0001, 32),
    ("10.0.0.2", true, 0x0a00_0002, 32),
    ("11.0.0.1", true, 0x0b00_0001, 32),
    ("::1", false, 1, 128),
    ("10.0.0.0/31", true, 0x0a00_0000, 31),
    ("10.0.0.0/8", true, 0x0a00_0000, 8),
    ("::/127", false, 0, 127),
];
const TEXTS: [&str; 9] = ["", "a", "A", "ab", "é", "É", "a*", "?b", "*"];
const ARNS: [&str; 6] =
    ["arn:aws:iot:r:1:a", "arn:aws:iot:r:1:ab", "arn:aws:iot:r:1:a:b", "arn:aws:sns:r:1:a", "a", ""];
/// With the wildcards and variables of policies.
const ARN_PATTERNS: [&str; 6] = [
    "arn:aws:iot:r:1:a",
    "arn:aws:iot:r:1:a*",
    "arn:aws:*:r:1:a?",
    "arn:*:r:1:a:b:c",
    "arn:aws:?o*:*:*:*",
    "arn:aws:iot:r:1:${iot:ClientId}",
];

fn rank(table: &[(&str, i64)], text: &str) -> Option<i64> {
    table.iter().find(|(known, _)| *known == text).map(|(_, rank)| *rank)
}

fn is_like(pattern: &[char], text: &[char]) -> bool {
    match (pattern.first(), text.first()) {
        (None, _) => text.is_empty(),
        (Some('*'), _) => (0..=text.len()).any(|skip| is_like(&pattern[1..], &text[skip..])),
        (Some('?'), Some(_)) => is_like(&pattern[1..], &text[1..]),
        (Some(wanted), Some(given)) => wanted == given && is_like(&pattern[1..], &text[1..]),
        (Some(_), None) => false,
    }
}

fn like(pattern: &str, text: &str) -> bool {
    is_like(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
}

fn is_ordered(name: &str, given: Option<i64>, wanted: Option<i64>) -> bool {
    let (Some(given), Some(wanted)) = (given, wanted) else { return false };
    if name.ends_with("LessThan") {
        given < wanted
    } else if name.ends_with("LessThanEquals") {
        given <= wanted
    } else if name.ends_with("GreaterThan") {
        given > wanted
    } else if name.ends_with("GreaterThanEquals") {
        given >= wanted
    } else {
        given == wanted
    }
}

/// Whether one value is what the operator, without its `Not`, wants. No value that is put in for a variable here has a
/// wildcard, so that a pattern may be filled in as text.
fn compares(name: &str, kind: Kind, wanted: &str, given: &str, client_id: Option<&str>) -> bool {
    let variable = "${iot:ClientId}";
    let client_id = client_id.filter(|id| !id.contains(['*', '?', '$', '+', '#']));
    let wanted = match client_id {
        Some(client_id) => wanted.replace(variable, client_id),
        None if wanted.contains(variable) => return false,
        None => wanted.to_owned(),
    };
    match kind {
        Kind::Text if name.ends_with("IgnoreCase") => wanted.to_lowercase() == given.to_lowercase(),
        Kind::Text if name.ends_with("Like") => like(&wanted, given),
        Kind::Text => wanted == given,
        Kind::Arn => {
            let (wanted, given): (Vec<_>, Vec<_>) = (wanted.splitn(6, ':').collect(), given.splitn(6, ':').collect());
            wanted.len() == given.len() && wanted.iter().zip(&given).all(|(wanted, given)| like(wanted, given))
        }
        Kind::Number => is_ordered(name, rank(&NUMBERS, given), rank(&NUMBERS, &wanted)),
        Kind::Date => is_ordered(name, rank(&DATES, given), rank(&DATES, &wanted)),
        Kind::Bool => is_ordered(name, rank(&BOOLEANS, given), rank(&BOOLEANS, &wanted)),
        Kind::Ip => {
            let find = |text: &str| NETWORKS.iter().find(|(known, ..)| *known == text).copied();
            let (Some((_, is_wanted_v4, network, bits)), Some((_, is_v4, address, of))) = (find(&wanted), find(given))
            else {
                return false;
            };
            let is_address = of == if is_v4 { 32 } else { 128 };
            is_address && is_wanted_v4 == is_v4 && network >> (of - bits) == address >> (of - bits)
        }
    }
}

#[derive(Clone, Debug)]
struct Condition {
    quantifier: Option<&'static str>,
    name: &'static str,
    kind: Kind,
    if_exists: bool,
    wanted: Vec<String>,
}

impl Condition {
    fn operator(&self) -> String {
        let quantifier = self.quantifier.map(|quantifier| format!("{quantifier}:")).unwrap_or_default();
        format!("{quantifier}{}{}", self.name, if self.if_exists { "IfExists" } else { "" })
    }

    /// Whether it holds for a key that has these values; none at all: the key is missing.
    fn holds(&self, given: &[String], client_id: Option<&str>) -> bool {
        let is_negated = self.name.contains("Not");
        let one = |given: &String| {
            self.wanted.iter().any(|wanted| compares(self.name, self.kind, wanted, given, client_id)) != is_negated
        };
        match (self.quantifier, given.is_empty()) {
            (Some("ForAllValues"), _) => given.iter().all(one),
            (Some(_), true) => self.if_exists,
            (Some(_), false) => given.iter().any(one),
            (None, true) => self.if_exists || is_negated,
            (None, false) if is_negated => given.iter().all(one),
            (None, false) => given.iter().any(one),
        }
    }
}

fn condition() -> impl Strategy<Value = (Condition, Vec<String>)> {
    let of = |texts: Vec<&'static str>, least: usize, most: usize| {
        prop::collection::vec(prop::sample::select(texts).prop_map(str::to_owned), least..=most)
    };
    let quantifier = prop::sample::select(vec![None, None, Some("ForAllValues"), Some("ForAnyValue")]);
    (prop::sample::select(OPERATORS.to_vec()), quantifier, any::<bool>()).prop_flat_map(
        move |((name, kind), quantifier, if_exists)| {
            // what policies have, and what keys have: also what is no such value
            let (wanted, given) = match kind {
                Kind::Text => ([&TEXTS[..], &["${iot:ClientId}", "a${iot:ClientId}"]].concat(), TEXTS.to_vec()),
                Kind::Arn => (ARN_PATTERNS.to_vec(), ARNS.to_vec()),
                Kind::Number => (first(&NUMBERS), [&first(&NUMBERS)[..], &["x", ""]].concat()),
                Kind::Date => (first(&DATES), [&first(&DATES)[..], &["x"]].concat()),
                Kind::Bool => (first(&BOOLEANS), [&first(&BOOLEANS)[..], &["yes"]].concat()),
                Kind::Ip => {
                    let all: Vec<&str> = NETWORKS.iter().map(|(text, ..)| *text).collect();
                    ([&all[..], &["${iot:ClientId}"]].concat(), [&all[..4], &["x", "10.0.0.0/8"]].concat())
                }
            };
            (of(wanted, 0, 2), of(given, 0, 3))
                .prop_map(move |(wanted, given)| (Condition { quantifier, name, kind, if_exists, wanted }, given))
        },
    )
}

fn first(table: &[(&'static str, i64)]) -> Vec<&'static str> {
    table.iter().map(|(text, _)| *text).collect()
}

fn client_id() -> impl Strategy<Value = Option<String>> {
    prop::sample::select(vec![None, Some("a"), Some("b"), Some("a*"), Some("10.0.0.1")])
        .prop_map(|id| id.map(str::to_owned))
}

/// Whether they let a publish, as the interpreter says and the crate agrees.
fn compared(conditions: &[(Condition, Vec<String>)], client_id: Option<String>) -> bool {
    let mut facts = Facts { client_id: client_id.clone(), ..Facts::default() };
    let mut written: BTreeMap<String, BTreeMap<String, &[String]>> = BTreeMap::new();
    for (at, (condition, given)) in conditions.iter().enumerate() {
        facts.other.insert(format!("aws:key{at}"), given.clone());
        written.entry(condition.operator()).or_default().insert(format!("AWS:Key{at}"), &condition.wanted);
    }
    let document = json!({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Action": "iot:Publish", "Resource": "*", "Condition": written,
    }});
    let document = PolicyDocument::parse(&document.to_string()).unwrap_or_else(|error| panic!("{error}: {document}"));
    let scope =
        Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() };
    let authority = Authority::compile([("p", &document)], &facts, &scope);
    let decision = authority.decide(Action::Publish, "a", &Context::default());
    let is_allowed = conditions.iter().all(|(condition, given)| condition.holds(given, client_id.as_deref()));
    let expected = if is_allowed { Effect::Allowed } else { Effect::ImplicitDeny };
    assert_eq!(decision.effect(), expected, "{document:?} {facts:?}");
    is_allowed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4 * ProptestConfig::default().cases, ..ProptestConfig::default() })]
    #[test]
    fn conditions_hold_when_an_interpreter_of_single_values_says_so(
        conditions in prop::collection::vec(condition(), 1..3),
        client_id in client_id(),
    ) {
        compared(&conditions, client_id);
    }
}

/// The comparison above means something only if each operator often holds and often does not.
#[test]
fn each_operator_holds_often_and_often_does_not() {
    let mut runner = TestRunner::deterministic();
    let strategy = (condition(), client_id());
    let mut counts: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for _ in 0..8_000 {
        let (condition, client_id) = strategy.new_tree(&mut runner).unwrap().current();
        let name = condition.0.name;
        counts.entry(name).or_default()[usize::from(compared(&[condition], client_id))] += 1;
    }
    assert_eq!(counts.len(), OPERATORS.len());
    assert!(counts.values().flatten().all(|count| *count >= 40), "{counts:?}");
}
