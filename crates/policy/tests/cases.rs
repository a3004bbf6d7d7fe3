//! Policy cases from `tests/cases`: each file names the AWS page whose rules it has, each case a rule.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use iot_types::{AccountId, Region, Scope, UnixMillis};
use policy::{Action, Authority, Context, Effect, Facts, PolicyDocument};
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The page of AWS's documentation.
    page: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What holds, in a sentence.
    rule: String,
    #[serde(default)]
    facts: Facts,
    /// Each is a document, or a list of its statements.
    policies: Vec<Value>,
    requests: Vec<Value>,
    /// Of `Authority::missing_context_values`.
    missing: Option<Vec<String>>,
}

/// What is known of a request only.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Known {
    now: u64,
    last_will_topic: Option<String>,
    is_persistent: bool,
}

fn action(name: &str) -> Option<(Action, &'static str)> {
    Some(match name {
        "Connect" => (Action::Connect, "client"),
        "Publish" => (Action::Publish, "topic"),
        "RetainPublish" => (Action::RetainPublish, "topic"),
        "Receive" => (Action::Receive, "topic"),
        "Subscribe" => (Action::Subscribe, "topicfilter"),
        _ => return None,
    })
}

fn effect(word: &str) -> Effect {
    match word {
        "allowed" => Effect::Allowed,
        "denied" => Effect::ExplicitDeny,
        "no" => Effect::ImplicitDeny,
        other => panic!("{other}"),
    }
}

fn document(value: &Value) -> PolicyDocument {
    let text = match value {
        Value::Array(_) => format!(r#"{{"Version":"2012-10-17","Statement":{value}}}"#),
        _ => value.to_string(),
    };
    PolicyDocument::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn check(label: &str, case: &Case) {
    let scope =
        Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() };
    let documents: Vec<PolicyDocument> = case.policies.iter().map(document).collect();
    let authority = Authority::compile(documents.iter().map(|document| ("p", document)), &case.facts, &scope);
    for request in &case.requests {
        let text = |at: usize| request[at].as_str().unwrap();
        let known: Known =
            request.get(3).map(|known| serde_json::from_value(known.clone()).unwrap()).unwrap_or_default();
        let now = UnixMillis(known.now);
        let context =
            Context { now, last_will_topic: known.last_will_topic.as_deref(), is_persistent: known.is_persistent };
        let (what, resource, expected) = (text(0), text(1), effect(text(2)));
        let Some((action, kind)) = action(what) else {
            assert_eq!(authority.decide_any(what, resource, &context).effect(), expected, "{label}: {request}");
            continue;
        };
        let decision = authority.decide(action, resource, &context);
        assert_eq!(decision.effect(), expected, "{label}: {request}");
        // The way by ARN says the same.
        let arn = format!("arn:aws:iot:us-east-1:123456789012:{kind}/{resource}");
        assert_eq!(authority.decide_any(&format!("iot:{what}"), &arn, &context), decision, "{label}: {request}");
    }
    if let Some(missing) = &case.missing {
        assert_eq!(authority.missing_context_values().collect::<Vec<_>>(), *missing, "{label}");
    }
}

#[test]
fn every_case_is_decided_as_its_file_says() {
    let mut requests = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")).unwrap() {
        let path = entry.unwrap().path();
        let file: File = serde_json::from_str(&std::fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for case in &file.cases {
            check(&format!("{} ({})", case.rule, file.page), case);
            requests += case.requests.len();
        }
    }
    assert!(requests > 120, "{requests}");
}
