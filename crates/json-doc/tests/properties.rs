//! Properties of the document algebra, over documents of every shape.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use json_doc::{Bounds, Map, Value, count_values, depth, difference, equivalent, get_path, merge, parse};
use proptest::prelude::*;

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
        (-2.0_f64..2.0).prop_map(Value::from),
        "[a-c,\\[{\"\\\\]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-d]", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Documents with nulls as values of objects, as a patch has them.
fn patches() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), (0_i64..3).prop_map(Value::from), documents()];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop::collection::vec(("[a-d]", inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect()))
    })
}

/// The leaves of a document with their paths; arrays and empty objects are leaves.
fn leaves(value: &Value, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, Value)>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                path.push(key.clone());
                leaves(value, path, found);
                path.pop();
            }
        }
        leaf => found.push((path.clone(), leaf.clone())),
    }
}

/// The delta written naively, leaf by leaf, from the rule's own words.
fn naive_difference(desired: &Map<String, Value>, reported: &Value) -> Option<Value> {
    let mut all = Vec::new();
    leaves(&Value::Object(desired.clone()), &mut Vec::new(), &mut all);
    let mut result = Map::new();
    for (path, leaf) in all {
        if path.is_empty() {
            continue;
        }
        let steps: Vec<&str> = path.iter().map(String::as_str).collect();
        // Only objects are walked into: an array on the way is a difference of its own.
        let held = (0..steps.len())
            .all(|n| get_path(reported, &steps[..n]).is_some_and(Value::is_object))
            .then(|| get_path(reported, &steps))
            .flatten();
        let same = match held {
            None => false,
            Some(held) if leaf == Value::Object(Map::new()) => held.is_object(),
            Some(held) => equivalent(&leaf, held),
        };
        if !same {
            let mut place = &mut result;
            for step in &path[..path.len() - 1] {
                place = place.entry(step.as_str()).or_insert_with(|| Map::new().into()).as_object_mut().unwrap();
            }
            place.insert(path[path.len() - 1].clone(), leaf);
        }
    }
    (!result.is_empty()).then_some(Value::Object(result))
}

fn has_null_field(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.values().any(|value| value.is_null() || has_null_field(value)),
        _ => false,
    }
}

proptest! {
    #[test]
    fn merging_twice_is_merging_once(target in documents(), patch in patches()) {
        let mut once = target;
        merge(&mut once, &patch);
        let mut twice = once.clone();
        merge(&mut twice, &patch);
        prop_assert_eq!(once.to_string(), twice.to_string());
    }

    #[test]
    fn a_merge_leaves_no_null_behind(target in documents(), patch in patches()) {
        let mut merged = target;
        merge(&mut merged, &patch);
        prop_assert!(!has_null_field(&merged));
    }

    #[test]
    fn merging_the_difference_leaves_no_difference(desired in documents(), reported in documents()) {
        if let Some(delta) = difference(&desired, &reported) {
            let mut settled = reported;
            merge(&mut settled, &delta);
            prop_assert_eq!(difference(&desired, &settled), None);
        }
    }

    #[test]
    fn a_document_does_not_differ_from_itself(document in documents()) {
        prop_assert!(equivalent(&document, &document));
        prop_assert_eq!(difference(&document, &document), None);
    }

    #[test]
    fn the_difference_agrees_with_the_naive_model(desired in documents(), reported in documents()) {
        if let Value::Object(fields) = &desired && reported.is_object() {
            prop_assert_eq!(difference(&desired, &reported), naive_difference(fields, &reported));
        }
    }

    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes, &Bounds { maximum_bytes: 128, maximum_depth: 4, maximum_values: 16 });
    }

    #[test]
    fn json_like_bytes_are_read_or_refused(text in "[\\[\\]{}\",:0-9a\\\\ eE.+-]{0,60}") {
        let bounds = Bounds { maximum_bytes: 128, maximum_depth: 4, maximum_values: 16 };
        if let Ok(value) = parse(text.as_bytes(), &bounds) {
            prop_assert!(depth(&value) <= 4 && count_values(&value) <= 16);
        }
    }

    #[test]
    fn the_bounds_admit_exactly_what_the_document_measures(document in documents()) {
        let text = document.to_string();
        let (levels, values) = (depth(&document), count_values(&document));
        let bounds = Bounds { maximum_bytes: text.len(), maximum_depth: levels, maximum_values: values };
        prop_assert_eq!(parse(text.as_bytes(), &bounds), Ok(document));
        let refuses = |bounds: Bounds| parse(text.as_bytes(), &bounds).is_err();
        let fewer_values = Bounds { maximum_values: values - 1, ..bounds };
        let fewer_levels = Bounds { maximum_depth: levels.saturating_sub(1), ..bounds };
        let fewer_bytes = Bounds { maximum_bytes: text.len() - 1, ..bounds };
        prop_assert!(refuses(fewer_values) && refuses(fewer_bytes));
        prop_assert!(levels == 0 || refuses(fewer_levels));
    }
}
