//! Properties of every history of requests, against a model written naively from AWS's rules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Subject, accepted, announced};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use shadow::{AnnouncementKind, Operation, StoredShadow};

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0_i64..3).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-b\"\\\\é]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from), objects_of(inner)]
    })
}

fn objects_of(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::vec(("[a-c]", inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect()))
}

fn sections() -> impl Strategy<Value = Value> {
    prop_oneof![1 => Just(Value::Null), 8 => objects_of(values()), 1 => values()]
}

fn states() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        4 => sections().prop_map(|desired| json!({"desired": desired})),
        4 => sections().prop_map(|reported| json!({"reported": reported})),
        4 => (sections(), sections()).prop_map(|(desired, reported)| json!({"reported": reported, "desired": desired})),
        1 => sections().prop_map(|other| json!({"other": other})),
    ]
}

fn requests() -> impl Strategy<Value = (Operation, Value)> {
    let version = prop_oneof![6 => Just(None), 1 => (0_u64..6).prop_map(Some)];
    prop_oneof![
        10 => (states(), version).prop_map(|(state, version)| {
            let mut payload = json!({"state": state});
            if let Some(version) = version {
                payload["version"] = version.into();
            }
            (Operation::Update, payload)
        }),
        1 => Just((Operation::Delete, json!({}))),
        1 => Just((Operation::Get, json!({}))),
    ]
}

/// The merge of one key at a time, by paths.
fn model_merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, change) in patch {
        match change {
            Value::Null => {
                target.remove(key);
            }
            Value::Object(change) => {
                let mut inner = match target.get(key) {
                    Some(Value::Object(inner)) => inner.clone(),
                    _ => Map::new(),
                };
                model_merge(&mut inner, change);
                target.insert(key.clone(), Value::Object(inner));
            }
            other => {
                target.insert(key.clone(), other.clone());
            }
        }
    }
}

/// The shape of a state, with every leaf the same.
fn shape(value: &Value, is_leaf: &impl Fn(&Value) -> bool) -> Value {
    match value {
        leaf if is_leaf(leaf) => json!("leaf"),
        Value::Array(items) => items.iter().map(|item| shape(item, is_leaf)).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), shape(value, is_leaf))).collect(),
        _ => panic!("not a leaf: {value}"),
    }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

proptest! {
    #[test]
    fn any_history_of_requests_agrees_with_the_model(history in prop::collection::vec(requests(), 1..12)) {
        let mut subject = Subject::new();
        let (mut desired, mut reported) = (Map::new(), Map::new());
        let (mut version, mut exists) = (0, false);
        for (operation, payload) in history {
            subject.wait_secs(1);
            let before = subject.row.clone();
            let outcome = subject.send(operation, payload.to_string());
            if outcome.reply.is_err() || operation == Operation::Get {
                prop_assert_eq!(&subject.row, &before);
                continue;
            }
            if operation == Operation::Delete {
                prop_assert!(exists);
                (desired, reported, exists) = (Map::new(), Map::new(), false);
                continue;
            }
            // The model of an accepted update.
            exists = true;
            version += 1;
            for (name, section) in [("desired", &mut desired), ("reported", &mut reported)] {
                match (&payload["state"], payload["state"].get(name)) {
                    (Value::Null, _) | (_, Some(Value::Null)) => section.clear(),
                    (_, Some(patch)) => model_merge(section, patch.as_object().unwrap()),
                    (_, None) => {}
                }
            }
            let get: Value = serde_json::from_str(&subject.get()).unwrap();
            prop_assert_eq!(get["version"].as_u64(), Some(version));
            prop_assert_eq!(object(&get["state"]["desired"]), desired.clone());
            prop_assert_eq!(object(&get["state"]["reported"]), reported.clone());

            // Metadata mirrors the leaves of the state exactly, and nothing is empty but shown.
            for name in ["desired", "reported"] {
                prop_assert_ne!(&get["state"][name], &json!({}));
                prop_assert_eq!(get["state"].get(name).is_some(), get["metadata"].get(name).is_some());
                if let Some(state) = get["state"].get(name) {
                    let state = shape(state, &|value| !value.is_object() && !value.is_array());
                    let metadata = shape(&get["metadata"][name], &|value| value["timestamp"].is_u64());
                    prop_assert_eq!(state.to_string(), metadata.to_string());
                }
            }

            // The delta message says what a get says, and is sent exactly when there is something to say.
            let delta = announced(&outcome, AnnouncementKind::Delta);
            let delta = delta.map(|text| serde_json::from_str::<Value>(&text).unwrap());
            prop_assert_eq!(delta.as_ref().map(|delta| &delta["state"]), get["state"].get("delta"));
        }
    }

    #[test]
    fn a_device_that_reports_what_is_desired_has_no_delta(state in objects_of(values()), reported in objects_of(values())) {
        let mut subject = Subject::new();
        let first = json!({"state": {"desired": state, "reported": reported}});
        if subject.send(Operation::Update, first.to_string()).reply.is_ok() {
            let get = subject.state();
            if let Some(delta) = get.get("delta") {
                subject.update(json!({"state": {"reported": delta}}).to_string());
            }
            prop_assert!(subject.state().get("delta").is_none());

            let mut equal = Subject::new();
            equal.update(json!({"state": {"desired": state, "reported": state}}).to_string());
            prop_assert!(equal.state().get("delta").is_none());
        }
    }

    #[test]
    fn an_update_sent_twice_changes_only_version_and_times(state in states()) {
        let mut subject = Subject::new();
        let payload = json!({"state": state}).to_string();
        if subject.send(Operation::Update, &payload).reply.is_ok() {
            let once = subject.get();
            subject.update(&payload);
            prop_assert_eq!(subject.get(), once.replace(r#""version":1"#, r#""version":2"#));
        }
    }

    #[test]
    fn arbitrary_bytes_are_answered(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let subject = Subject::new();
        for operation in [Operation::Get, Operation::Update, Operation::Delete] {
            prop_assert!(subject.peek(operation, &payload).reply.is_err());
        }
    }

    #[test]
    fn bytes_around_an_update_are_answered(noise in "[\\[\\]{}\",:0-9a ntuls]{0,12}", at in 0..60_usize) {
        let mut text = r#"{"state":{"desired":{"a":[1,{"b":2}]}},"clientToken":"t","version":0}"#.to_owned();
        text.insert_str(at, &noise);
        let outcome = Subject::new().send(Operation::Update, &text);
        if outcome.reply.is_ok() {
            prop_assert!(serde_json::from_str::<Value>(&accepted(&outcome)).is_ok());
        }
    }

    #[test]
    fn arbitrary_rows_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..200_usize) {
        let _ = StoredShadow::decode(&bytes);
        let mut subject = Subject::new();
        subject.update(r#"{"state":{"desired":{"a":[1,{"b":2}]},"reported":{"x":1}}}"#);
        let row = subject.row.unwrap().encode();
        if cut < row.len() {
            prop_assert!(StoredShadow::decode(&row[..cut]).is_err());
        }
    }
}
