//! Merging, comparing and measuring documents.

use serde_json::{Map, Number, Value};

/// Arrays and objects inside one another: 0 for a scalar, 1 for `{}` or `[1]`, 2 for `{"a":{}}`. Does not recurse.
#[must_use]
pub fn depth(value: &Value) -> usize {
    let mut deepest = 0;
    walk(value, |_, depth| deepest = deepest.max(depth));
    deepest
}

/// Scalars, arrays and objects in the document, itself included, keys not counted. Does not recurse.
#[must_use]
pub fn count_values(value: &Value) -> usize {
    let mut count = 0;
    walk(value, |_, _| count += 1);
    count
}

/// Whether a null stands anywhere below an array. A merge could not tell it from "delete this". Does not recurse.
#[must_use]
pub fn has_null_in_array(value: &Value) -> bool {
    let mut found = false;
    let mut arrays = Vec::new();
    walk(value, |value, _| {
        if let Value::Array(items) = value {
            arrays.push(items);
        }
    });
    // An array within an array is also in the list: looking at objects below each array once is enough.
    for items in arrays {
        let mut pending: Vec<&Value> = items.iter().collect();
        while let Some(value) = pending.pop() {
            match value {
                Value::Null => found = true,
                Value::Object(map) => pending.extend(map.values()),
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {}
            }
        }
    }
    found
}

/// Visits every value with its depth (see [`depth`]), the root first, siblings in no particular order.
fn walk<'a>(root: &'a Value, mut visit: impl FnMut(&'a Value, usize)) {
    let mut pending = vec![(root, 0_usize)];
    while let Some((value, above)) = pending.pop() {
        match value {
            Value::Array(items) => {
                visit(value, above + 1);
                pending.extend(items.iter().map(|item| (item, above + 1)));
            }
            Value::Object(map) => {
                visit(value, above + 1);
                pending.extend(map.values().map(|item| (item, above + 1)));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => visit(value, above),
        }
    }
}

/// Applies `patch` to `target` as a JSON Merge Patch (RFC 7396), which is how a shadow takes an update: objects are
/// merged key by key, arrays and scalars replaced whole, a null deletes its key, and an object, even an empty one,
/// replaces what is not an object. Keys keep their place; new ones are appended.
///
/// AWS: developer guide, "Device Shadow service documents".
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    let mut deletes = false;
    for (key, change) in patch {
        if change.is_null() {
            deletes = true;
        } else {
            merge(fields.entry(key.as_str()).or_insert(Value::Null), change);
        }
    }
    if deletes {
        // One pass for all deletions: taking keys out one by one moves the rest of the object each time.
        fields.retain(|key, _| !patch.get(key).is_some_and(Value::is_null));
    }
}

/// The part of `desired` that `reported` lacks or has otherwise, with the path that leads to it; `None` when there is
/// none. Keys that only `reported` has never appear; arrays are compared and given whole; a value of another type
/// differs, `{}` in place of a scalar included. Numbers are compared by value (see [`equivalent`]).
///
/// AWS: developer guide, "Device Shadow service documents", delta state.
#[must_use]
pub fn difference(desired: &Value, reported: &Value) -> Option<Value> {
    let (Value::Object(desired_fields), Value::Object(reported_fields)) = (desired, reported) else {
        return (!equivalent(desired, reported)).then(|| desired.clone());
    };
    let mut differing = Map::new();
    for (key, wanted) in desired_fields {
        let found = match reported_fields.get(key) {
            Some(held) => difference(wanted, held),
            None => Some(wanted.clone()),
        };
        if let Some(found) = found {
            differing.insert(key.clone(), found);
        }
    }
    (!differing.is_empty()).then_some(Value::Object(differing))
}

/// Equality of JSON values: objects without regard to order, numbers by value, so that a device which writes 5 as 5.0
/// agrees with who wrote 5.
#[must_use]
pub fn equivalent(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => same_number(left, right),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equivalent(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, left)| right.get(key).is_some_and(|right| equivalent(left, right)))
        }
        _ => left == right,
    }
}

fn same_number(left: &Number, right: &Number) -> bool {
    if left.is_f64() == right.is_f64() {
        return left == right;
    }
    // Beyond 2^53 the nearest double stands for several integers: there an integer equals no double.
    let exact = |number: &Number| number.is_f64() || number.as_i64().is_some_and(|n| n.unsigned_abs() <= 1 << 53);
    exact(left) && exact(right) && left.as_f64() == right.as_f64()
}

/// The value at the end of `path`: keys of objects, and decimal indexes of arrays. An empty path is the document.
#[must_use]
pub fn get_path<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, step| match value {
        Value::Object(map) => map.get(*step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn merging_follows_the_rules_of_shadow_updates() {
        #[track_caller]
        fn check(target: Value, patch: Value, expected: Value) {
            let mut merged = target.clone();
            merge(&mut merged, &patch);
            // Compared as text, so that the order of keys counts.
            assert_eq!(merged.to_string(), expected.to_string(), "{target} with {patch}");
        }
        check(json!({"a": 1}), json!({"b": 2}), json!({"a": 1, "b": 2}));
        check(json!({"a": 1, "b": 2}), json!({"a": 3}), json!({"a": 3, "b": 2}));
        check(json!({"a": {"b": 1, "c": 2}}), json!({"a": {"c": 3}}), json!({"a": {"b": 1, "c": 3}}));
        check(json!({"a": [1, 2, 3]}), json!({"a": [4]}), json!({"a": [4]}));
        check(json!({"a": [{"b": 1}]}), json!({"a": [{"c": 1}]}), json!({"a": [{"c": 1}]}));
        check(json!({"a": 1, "b": 2, "c": 3}), json!({"a": null}), json!({"b": 2, "c": 3}));
        check(json!({"b": 2}), json!({"a": null}), json!({"b": 2}));
        check(json!({"a": {"b": 1}}), json!({"a": {"b": null}}), json!({"a": {}}));
        check(json!({"c": 3}), json!({"c": {}}), json!({"c": {}}));
        check(json!({"c": [3]}), json!({"c": {}}), json!({"c": {}}));
        check(json!({"c": {"d": 1}}), json!({"c": {}}), json!({"c": {"d": 1}}));
        check(json!({"c": {"d": 1}}), json!({"c": 3}), json!({"c": 3}));
        check(json!({"c": 3}), json!({"c": {"d": {"e": null, "f": 1}}}), json!({"c": {"d": {"f": 1}}}));
        check(json!({}), json!({"a": {"b": null}}), json!({"a": {}}));
        check(json!({"a": 1}), json!(null), json!(null));
        check(json!({"a": 1}), json!([1]), json!([1]));
        check(json!(5), json!({"a": 1}), json!({"a": 1}));
    }

    #[test]
    fn deleting_many_keys_of_a_wide_object_takes_one_pass() {
        let mut target = Value::Object((0..100_000).map(|n| (format!("k{n}"), json!(n))).collect());
        let patch = Value::Object((0..99_999).map(|n| (format!("k{n}"), Value::Null)).collect());
        merge(&mut target, &patch);
        assert_eq!(target, json!({"k99999": 99_999}));
    }

    #[test]
    fn the_difference_is_what_desired_has_and_reported_lacks() {
        #[track_caller]
        fn check(desired: Value, reported: Value, expected: Option<Value>) {
            assert_eq!(difference(&desired, &reported), expected, "{desired} against {reported}");
        }
        check(json!({"a": 1}), json!({"a": 1}), None);
        check(json!({"a": 1}), json!({}), Some(json!({"a": 1})));
        check(json!({}), json!({"a": 1}), None);
        check(json!({"a": true}), json!({"a": true, "b": 2}), None);
        check(json!({"a": 1, "b": 2}), json!({"a": 1, "b": 3}), Some(json!({"b": 2})));
        check(
            json!({"a": {"b": {"c": 1, "d": 2}}}),
            json!({"a": {"b": {"c": 1}}}),
            Some(json!({"a": {"b": {"d": 2}}})),
        );
        check(
            json!({"a": {"b1": {"c": "d"}, "b2": "s"}}),
            json!({"a": {"b1": {"c": "d"}}}),
            Some(json!({"a": {"b2": "s"}})),
        );
        check(json!({"l": ["a"]}), json!({"l": ["a", "b"]}), Some(json!({"l": ["a"]})));
        check(json!({"l": ["a", "b"]}), json!({"l": ["b", "a"]}), Some(json!({"l": ["a", "b"]})));
        check(json!({"l": [["a"]]}), json!({"l": [["a"], ["b"]]}), Some(json!({"l": [["a"]]})));
        check(json!({"l": [{"a": 1, "b": 2}]}), json!({"l": [{"b": 2, "a": 1}]}), None);
        check(json!({"a": 1}), json!({"a": "1"}), Some(json!({"a": 1})));
        check(json!({"a": 1}), json!({"a": true}), Some(json!({"a": 1})));
        check(json!({"a": {"b": 1}}), json!({"a": 1}), Some(json!({"a": {"b": 1}})));
        check(json!({"a": 1}), json!({"a": {"b": 1}}), Some(json!({"a": 1})));
        check(json!({"d": {}}), json!({}), Some(json!({"d": {}})));
        check(json!({"d": {}}), json!({"d": 3}), Some(json!({"d": {}})));
        check(json!({"d": {}}), json!({"d": {"x": 1}}), None);
        check(json!({"n": 5}), json!({"n": 5.0}), None);
        check(json!({"n": [5.0]}), json!({"n": [5]}), None);
        check(json!({"n": 5}), json!({"n": 5.5}), Some(json!({"n": 5})));
        check(
            json!({"n": 9_007_199_254_740_993_u64}),
            json!({"n": 9_007_199_254_740_992_u64}),
            Some(json!({"n": 9_007_199_254_740_993_u64})),
        );
        check(
            json!({"n": 9_007_199_254_740_993_u64}),
            json!({"n": 9_007_199_254_740_992.0}),
            Some(json!({"n": 9_007_199_254_740_993_u64})),
        );
        check(json!({"n": -1}), json!({"n": u64::MAX}), Some(json!({"n": -1})));
    }

    #[test]
    fn depth_and_values_are_counted_without_recursion() {
        for (value, levels, values) in [
            (json!(1), 0, 1),
            (json!(null), 0, 1),
            (json!({}), 1, 1),
            (json!([1]), 1, 2),
            (json!({"a": {}, "b": [1, 2]}), 2, 5),
            (json!({"a": {"b": [{"c": 1}]}}), 4, 5),
        ] {
            assert_eq!((depth(&value), count_values(&value)), (levels, values), "{value}");
        }
        let mut deep = json!(1);
        for _ in 0..100_000 {
            deep = Value::Array(vec![deep]);
        }
        assert_eq!(depth(&deep), 100_000);
        // Dropping so deep a value recurses inside `serde_json`; only tests can build one.
        core::mem::forget(deep);
    }

    #[test]
    fn nulls_are_found_below_arrays_only() {
        for (value, found) in [
            (json!({"a": null}), false),
            (json!({"a": {"b": null}, "c": [1]}), false),
            (json!([null]), true),
            (json!({"a": [1, null]}), true),
            (json!({"a": [[1], [null]]}), true),
            (json!({"a": [{"b": {"c": null}}]}), true),
            (json!({"a": [{"b": [{"c": null}]}]}), true),
        ] {
            assert_eq!(has_null_in_array(&value), found, "{value}");
        }
    }

    #[test]
    fn paths_lead_through_objects_and_arrays() {
        let document = json!({"a": {"b": [10, {"c": 20}]}, "0": 1});
        for (path, expected) in [
            (&[][..], Some(&document)),
            (&["a", "b", "0"], Some(&json!(10))),
            (&["a", "b", "1", "c"], Some(&json!(20))),
            (&["0"], Some(&json!(1))),
            (&["a", "b", "2"], None),
            (&["a", "b", "-1"], None),
            (&["a", "x"], None),
            (&["0", "x"], None),
        ] {
            assert_eq!(get_path(&document, path), expected, "{path:?}");
        }
    }
}
