//! `cargo xtask dev` as a person or a script starts it: its contract, and that the test hooks are not in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use messages::address::Class;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;
use system_tests::dev::Dev;
use system_tests::http::{Answer, Proof, Sent, send};
use system_tests::platform::{Contract, root};

/// Everything that the line of `--json` says, and nothing else.
const KEYS: [&str; 7] = ["endpoint", "mqtt", "accessKeyId", "secretAccessKey", "region", "accountId", "ca"];

#[tokio::test]
async fn dev_keeps_its_contract_and_has_no_test_hooks() {
    let temporary = tempfile::tempdir().unwrap();
    let options = ["--ephemeral", "--no-device", "--port", "0", "--json"];
    let path = temporary.path().to_owned();
    let dev = tokio::task::spawn_blocking(move || Dev::start(&options, &path)).await.unwrap();

    let line: Value = serde_json::from_str(&dev.line).expect("the line is no JSON");
    let keys: BTreeSet<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(KEYS));
    let contract = dev.contract();
    let port: u16 = contract.endpoint.strip_prefix("http://127.0.0.1:").unwrap().parse().unwrap();
    assert_eq!(contract.mqtt, format!("ws://127.0.0.1:{port}/mqtt"));
    assert_eq!((line["region"].as_str(), line["accountId"].as_str()), (Some("us-east-1"), Some("123456789012")));
    assert_eq!(line["ca"], Value::Null);
    for method in ["GET", "POST"] {
        for proof in ["unsigned", "iot"] {
            assert_no_hooks(&contract, method, proof).await;
        }
    }
    let things = send(&contract, &Proof::parse("iot"), &Sent::new("GET", "/things", "")).await;
    assert_eq!((things.status, things.json()["things"].as_array().map(Vec::len)), (200, Some(0)), "not ephemeral");

    let ended = tokio::task::spawn_blocking(move || dev.terminate()).await.unwrap();
    assert!(ended.took < Duration::from_secs(5), "it took {:?} to end", ended.took);
    assert!(ended.status.success(), "{}\n{}", ended.status, ended.stderr);
    assert_eq!(ended.left, Vec::<String>::new(), "processes are left");
    assert_eq!(ended.more_stdout, "", "stdout carries exactly one line");
    assert!(ended.stderr.contains("ready"), "the narration is not on stderr: {}", ended.stderr);
    let files: Vec<_> = std::fs::read_dir(temporary.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.is_empty(), "ephemeral state is left: {files:?}");
}

/// The hooks' paths are answered exactly as paths that nobody ever thought of.
async fn assert_no_hooks(contract: &Contract, method: &str, proof: &str) {
    let get = async |path: &str| {
        let mut answer = send(contract, &Proof::parse(proof), &Sent::new(method, path, "")).await;
        answer.headers.retain(|(name, _)| !["x-amzn-requestid", "date"].contains(&name.as_str()));
        answer
    };
    let unknown: Answer = get("/no/such-path").await;
    let wanted =
        if proof == "iot" { "404 UnknownOperationException" } else { "403 MissingAuthenticationTokenException" };
    assert_eq!(unknown.verdict(), wanted);
    let hooks = ["panic", "panic-in-broker", "trap-in-broker", "counts/0", "drain/0", "", "anything"];
    for path in hooks.map(|hook| format!("/__test/{hook}")) {
        let path = path.as_str();
        assert_eq!(get(path).await, unknown, "{method} {path}, {proof}");
    }
}

fn wrangler_toml() -> String {
    std::fs::read_to_string(root().join("wrangler.toml")).unwrap()
}

#[test]
fn wrangler_toml_does_not_know_the_test_hooks() {
    assert!(!wrangler_toml().contains("TEST_HOOKS"));
}

#[test]
fn classes_and_bindings_are_the_same_in_wrangler_toml_and_in_the_address_book() {
    let wrangler: toml::Table = wrangler_toml().parse().unwrap();
    let text = |value: &toml::Value| value.as_str().unwrap().to_owned();
    let known: BTreeSet<_> =
        Class::ALL.iter().map(|class| (class.binding().to_owned(), class.class_name().to_owned())).collect();
    let bindings = wrangler["durable_objects"]["bindings"].as_array().unwrap();
    let bound: BTreeSet<_> = bindings.iter().map(|b| (text(&b["name"]), text(&b["class_name"]))).collect();
    assert_eq!(bound, known);
    let migrations = wrangler["migrations"].as_array().unwrap();
    let created = migrations.iter().filter_map(|m| m.get("new_sqlite_classes")?.as_array()).flatten();
    let created: BTreeSet<_> = created.map(text).collect();
    assert_eq!(created, known.into_iter().map(|(_, class)| class).collect(), "a class without SQLite storage");
}
