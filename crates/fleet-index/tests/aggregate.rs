//! Aggregations over several partitions, against the same worked out by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::float_cmp)]

mod common;

use common::{Database, parse, thing};
use fleet_index::aggregate::{self, Aggregation, Bucket, DEFAULT_PERCENTS, PercentileRow, Statistics, TermRow};
use fleet_index::configuration::{FieldType, ThingIndexingConfiguration};
use fleet_index::{AggregationError, Estimates, Index, Limits, Statement};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn on(field: Option<&str>) -> Aggregation {
    let configuration = ThingIndexingConfiguration::parse(
        r#"{"thingIndexingMode":"REGISTRY_AND_SHADOW","thingConnectivityIndexingMode":"STATUS","customFields":[
            {"name":"attributes.n","type":"Number"},{"name":"attributes.s","type":"String"},
            {"name":"shadow.reported.n","type":"Number"},{"name":"shadow.reported.b","type":"Boolean"}]}"#,
        &Limits::STANDARD,
    )
    .unwrap();
    Aggregation::new(field, |name| configuration.field_type(name)).unwrap()
}

fn rows<T: DeserializeOwned>(databases: &[Database], statement: &Statement) -> Vec<Vec<T>> {
    let read = |database: &Database| {
        database.rows(statement).into_iter().map(|row| serde_json::from_value(Value::Object(row)).unwrap()).collect()
    };
    databases.iter().map(read).collect()
}

fn fill(partitions: usize, things: &[(String, Value)]) -> Vec<Database> {
    let databases: Vec<Database> = (0..partitions).map(|_| Database::new()).collect();
    for (n, (name, members)) in things.iter().enumerate() {
        databases[n % partitions].put(&thing(name, members.clone()));
    }
    databases
}

fn statistics(databases: &[Database], query: &str, aggregation: &Aggregation) -> Statistics {
    let statement = aggregate::statistics(Index::Things, &parse(query), &Estimates::default(), aggregation);
    aggregate::merge_statistics(aggregation, &rows(databases, &statement).concat())
}

fn buckets(databases: &[Database], query: &str, aggregation: &Aggregation, max: u32) -> Vec<Bucket> {
    let statement =
        aggregate::buckets(Index::Things, &parse(query), &Estimates::default(), aggregation, max, databases.len() == 1);
    aggregate::merge_buckets(aggregation, &rows::<TermRow>(databases, &statement.unwrap()), max)
}

fn cardinality(databases: &[Database], query: &str, aggregation: &Aggregation) -> u64 {
    let statement = aggregate::cardinality(Index::Things, &parse(query), &Estimates::default(), aggregation);
    aggregate::merge_cardinality(&rows(databases, &statement))
}

fn percentiles(databases: &[Database], query: &str, percents: &[f64]) -> Vec<(f64, f64)> {
    let statement =
        aggregate::percentiles(Index::Things, &parse(query), &Estimates::default(), &on(Some("attributes.n"))).unwrap();
    aggregate::merge_percentiles(percents, &rows::<PercentileRow>(databases, &statement).concat()).unwrap()
}

fn fleet() -> Vec<(String, Value)> {
    (1..=5)
        .map(|n| {
            let members = json!({
                "version": n, "attributes": { "n": n.to_string(), "s": if n < 3 { "Red Car" } else { "blue" }, "a": "x" },
                "shadow": { "version": n * 10, "hasDelta": n == 2, "reported": { "n": [n, "text"], "b": n > 1 } },
            });
            (format!("t{n}"), members)
        })
        .collect()
}

#[test]
fn statistics_of_numbers_strings_and_booleans() {
    for partitions in [1, 2, 7] {
        let databases = fill(partitions, &fleet());
        for (field, query, expected) in [
            (
                None,
                "*",
                json!({ "count": 5, "average": 3.0, "sum": 15.0, "minimum": 1.0, "maximum": 5.0, "sumOfSquares": 55.0,
                    "variance": 2.0, "stdDeviation": std::f64::consts::SQRT_2 }),
            ),
            (
                Some("attributes.n"),
                "attributes.s:blue",
                json!({ "count": 3, "average": 4.0, "sum": 12.0, "minimum": 3.0, "maximum": 5.0, "sumOfSquares": 50.0,
                    "variance": 2.0 / 3.0, "stdDeviation": (2.0_f64 / 3.0).sqrt() }),
            ),
            (
                Some("shadow.version"),
                "attributes.a:x attributes.n<3",
                json!({ "count": 2, "average": 15.0, "sum": 30.0, "minimum": 10.0, "maximum": 20.0, "sumOfSquares": 500.0,
                    "variance": 25.0, "stdDeviation": 5.0 }),
            ),
            (
                Some("shadow.reported.b"),
                "*",
                json!({ "count": 5, "average": 0.8, "sum": 4.0, "minimum": 0.0, "maximum": 1.0, "sumOfSquares": 4.0,
                    "variance": 0.16, "stdDeviation": 0.4 }),
            ),
            (Some("attributes.s"), "*", json!({ "count": 5 })),
            (Some("attributes.s"), "thingName:t9", json!({ "count": 0 })),
            (Some("attributes.n"), "thingName:t9", json!({ "count": 0 })),
        ] {
            let answer = serde_json::to_value(statistics(&databases, query, &on(field))).unwrap();
            assert_eq!(answer.as_object().unwrap().len(), expected.as_object().unwrap().len(), "{field:?} {query}");
            for (name, value) in expected.as_object().unwrap() {
                let difference = answer[name].as_f64().unwrap() - value.as_f64().unwrap();
                assert!(difference.abs() < 1e-12, "{field:?} {query} {name}: {answer}");
            }
        }
    }
}

#[test]
fn buckets_are_of_whole_values_and_the_most_frequent_come_first() {
    let bucket = |key_value: &str, count| Bucket { key_value: key_value.to_owned(), count };
    for partitions in [1, 2, 7] {
        let databases = fill(partitions, &fleet());
        for query in ["*", "attributes.a:x"] {
            let find = |field| buckets(&databases, query, &on(Some(field)), 10);
            assert_eq!(find("attributes.s"), [bucket("blue", 3), bucket("red car", 2)]);
            assert_eq!(find("shadow.reported.b"), [bucket("true", 4), bucket("false", 1)]);
            assert_eq!(find("shadow.reported.n").len(), 5);
            assert_eq!(find("shadow.reported.n")[0], bucket("1", 1));
            assert_eq!(buckets(&databases, query, &on(Some("attributes.s")), 1), [bucket("blue", 3)]);
        }
        assert_eq!(cardinality(&databases, "*", &on(Some("attributes.s"))), 2);
        assert_eq!(cardinality(&databases, "attributes.n>2", &on(Some("attributes.s"))), 1);
        assert_eq!(cardinality(&databases, "*", &on(None)), 5);
        assert_eq!(cardinality(&databases, "thingName:t9", &on(None)), 0);
    }
}

#[test]
fn what_cannot_be_aggregated_is_refused() {
    let unknown = Aggregation::new(Some("attributes.z"), |_| None);
    assert_eq!(unknown, Err(AggregationError::UnknownField("attributes.z".to_owned())));
    let (query, estimates) = (parse("*"), Estimates::default());
    let text = on(Some("attributes.s"));
    let error = aggregate::percentiles(Index::Things, &query, &estimates, &text).unwrap_err();
    assert_eq!(error, AggregationError::NotANumber("attributes.s".to_owned()));
    assert_eq!(aggregate::merge_percentiles(&[101.0], &[]), Err(AggregationError::Percent(101.0)));
    assert!(aggregate::merge_percentiles(&[f64::NAN], &[]).is_err());
    for max in [0, 10_001] {
        assert!(aggregate::buckets(Index::Things, &query, &estimates, &text, max, true).is_err());
    }
    assert_eq!(on(Some("registry.thingTypeName")).field_type(), FieldType::String);
}

#[test]
fn a_variance_far_from_zero_keeps_its_digits() {
    let things: Vec<_> = (0..4)
        .map(|n| (format!("t{n}"), json!({ "attributes": { "n": format!("{}", 1e9 + f64::from(n)) } })))
        .collect();
    for partitions in [1, 3] {
        let answer = statistics(&fill(partitions, &things), "*", &on(Some("attributes.n")));
        assert_eq!((answer.count, answer.variance), (4, Some(1.25)));
    }
}

#[test]
fn percentiles_of_many_values_are_near_and_cardinality_is_estimated() {
    let count = 30_000;
    let rows: Vec<PercentileRow> = (0..2_000)
        .map(|n| PercentileRow { low: f64::from(n) * 15.0, high: f64::from(n) * 15.0 + 14.0, count: 15 })
        .collect();
    for (percent, value) in aggregate::merge_percentiles(&DEFAULT_PERCENTS, &rows).unwrap() {
        assert!((value - percent / 100.0 * f64::from(count)).abs() <= 15.0, "{percent} {value}");
    }
    // Two partitions of 20 000 values each, half of them in both, and each tells its first 10 000.
    let partition = |from: u32| -> Vec<aggregate::CardinalityRow> {
        let row = |n: u32| json!({ "value": format!("{:08}", n.reverse_bits() >> 12 << 8 | (n * 2 + from)), "total": 20_000 });
        let mut rows: Vec<_> = (0..10_000).map(row).collect();
        rows.sort_by_key(|row| row["value"].as_str().unwrap().to_owned());
        rows.into_iter().map(|row| serde_json::from_value(row).unwrap()).collect()
    };
    assert_eq!(aggregate::merge_cardinality(&[partition(0), partition(0)]), 20_000);
    assert_eq!(aggregate::merge_cardinality(&[partition(0), partition(1)]), 40_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn percentiles_and_statistics_are_those_of_all_values(
        values in proptest::collection::vec(-100_i32..100, 0..30),
        partitions in 1_usize..4,
    ) {
        let things: Vec<_> = values.iter().enumerate().map(|(n, value)| {
            (format!("t{n:02}"), json!({ "attributes": { "n": value.to_string(), "a": "x" } }))
        }).collect();
        let databases = fill(partitions, &things);
        let mut sorted: Vec<f64> = values.iter().copied().map(f64::from).collect();
        sorted.sort_by(f64::total_cmp);
        for query in ["*", "attributes.a:x", "NOT attributes.a:y"] {
            let answer = percentiles(&databases, query, &[0.0, 12.5, 50.0, 99.0, 100.0]);
            prop_assert_eq!(answer.len(), if values.is_empty() { 0 } else { 5 });
            for (percent, value) in answer {
                let rank = percent / 100.0 * (sorted.len() - 1) as f64;
                let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
                prop_assert!((value - (low + (high - low) * rank.fract())).abs() < 1e-9, "{} {}", percent, value);
            }
            let answer = statistics(&databases, query, &on(Some("attributes.n")));
            prop_assert_eq!(answer.count, values.len() as u64);
            if !values.is_empty() {
                let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
                let variance = sorted.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / sorted.len() as f64;
                prop_assert!((answer.average.unwrap() - mean).abs() < 1e-9);
                prop_assert!((answer.variance.unwrap() - variance).abs() < 1e-6);
            }
            let different: std::collections::BTreeSet<_> = values.iter().collect();
            prop_assert_eq!(cardinality(&databases, query, &on(Some("attributes.n"))), different.len() as u64);
        }
    }
}
