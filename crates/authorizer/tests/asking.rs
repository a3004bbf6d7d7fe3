//! What the function is told and what it may answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use authorizer::{Answer, AnswerError, Authorized, AuthorizerFunction, Event, Http, MAXIMUM_ANSWER_BYTES, Mqtt};
use policy::PolicyDocument;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const CONNECTION: &str = "0f5d1c56-4ab3-4b4b-9a55-2f1c6a8b7c3d";

fn parse(body: &[u8]) -> Result<Answer, AnswerError> {
    Answer::parse(body, PolicyDocument::parse)
}

fn told(event: &Event<'_>) -> Value {
    serde_json::from_slice(&event.to_json()).unwrap()
}

/// The example of the developer guide, "Defining your Lambda function", with values for its placeholders.
#[test]
fn an_event_is_as_aws_documents_it() {
    let headers = BTreeMap::from([("#{name}".to_owned(), "#{value}".to_owned())]);
    let event = Event {
        token: Some("aToken"),
        is_signature_verified: true,
        server_name: Some("serverName"),
        http: Some(Http { headers: Some(&headers), query_string: Some("?#{name}=#{value}") }),
        mqtt: Some(Mqtt { username: Some("myUserName"), password: Some(b"myPassword"), client_id: Some("myClientId") }),
        connection_id: CONNECTION,
    };
    let golden = r##"{"token":"aToken","signatureVerified":true,"protocols":["tls","http","mqtt"],"protocolData":{"tls":{"serverName":"serverName"},"http":{"headers":{"#{name}":"#{value}"},"queryString":"?#{name}=#{value}"},"mqtt":{"username":"myUserName","password":"bXlQYXNzd29yZA==","clientId":"myClientId"}},"connectionMetadata":{"id":"0f5d1c56-4ab3-4b4b-9a55-2f1c6a8b7c3d"}}"##;
    assert_eq!(String::from_utf8(event.to_json()).unwrap(), golden);
}

#[test]
fn what_is_not_relevant_is_left_out_of_an_event() {
    let nothing = Event { connection_id: CONNECTION, ..Event::default() };
    let rows: &[(Event<'_>, Value)] = &[
        (nothing.clone(), json!({"protocols": [], "protocolData": {}})),
        (
            Event { server_name: Some("iot.example.com"), ..nothing.clone() },
            json!({"protocols": ["tls"], "protocolData": {"tls": {"serverName": "iot.example.com"}}}),
        ),
        (
            Event { http: Some(Http::default()), ..nothing.clone() },
            json!({"protocols": ["http"], "protocolData": {"http": {}}}),
        ),
        (
            Event { mqtt: Some(Mqtt { username: Some("u?a=b"), ..Mqtt::default() }), ..nothing.clone() },
            json!({"protocols": ["mqtt"], "protocolData": {"mqtt": {"username": "u?a=b"}}}),
        ),
        (
            Event { mqtt: Some(Mqtt { password: Some(&[0, 255, 0x80]), ..Mqtt::default() }), ..nothing.clone() },
            json!({"protocols": ["mqtt"], "protocolData": {"mqtt": {"password": "AP+A"}}}),
        ),
    ];
    for (event, expected) in rows {
        let mut expected = expected.clone();
        expected["signatureVerified"] = false.into();
        expected["connectionMetadata"] = json!({ "id": CONNECTION });
        assert_eq!(told(event), expected);
    }
}

/// The example of the developer guide, "Defining your Lambda function", with an account for its placeholder.
const DOCUMENTED: &str = r#"{
    "isAuthenticated": true,
    "principalId": "xxxxxxxx",
    "disconnectAfterInSeconds": 86400,
    "refreshAfterInSeconds": 300,
    "policyDocuments": [
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Action": ["iot:Publish"],
                    "Effect": "Allow",
                    "Resource": ["arn:aws:iot:us-east-1:123456789012:topic/customauthtesting"]
                }
            ]
        }
    ]
}"#;

#[test]
fn the_answer_that_aws_documents_is_understood() {
    let document = r#"{"Version":"2012-10-17","Statement":[{"Action":["iot:Publish"],"Effect":"Allow","Resource":["arn:aws:iot:us-east-1:123456789012:topic/customauthtesting"]}]}"#;
    let expected = Answer::Authorized(Authorized {
        principal_id: "xxxxxxxx".to_owned(),
        disconnect_after_secs: 86_400,
        refresh_after_secs: 300,
        policy_documents: vec![document.to_owned()],
    });
    assert_eq!(parse(DOCUMENTED.as_bytes()), Ok(expected.clone()));
    // older examples have documents in strings
    let mut older: Value = serde_json::from_str(DOCUMENTED).unwrap();
    older["policyDocuments"] = json!([document]);
    assert_eq!(parse(older.to_string().as_bytes()), Ok(expected));
}

/// The documented answer with one member replaced, or removed for `null`.
fn with(member: &str, value: &Value) -> Result<Answer, String> {
    let mut answer: Value = serde_json::from_str(DOCUMENTED).unwrap();
    answer[member] = value.clone();
    parse(answer.to_string().as_bytes()).map_err(|error| error.to_string())
}

fn is_authorized(answer: &Result<Answer, String>) -> bool {
    matches!(answer, Ok(Answer::Authorized(_)))
}

#[test]
fn a_client_is_denied_whatever_else_the_function_says() {
    assert_eq!(with("isAuthenticated", &json!(false)), Ok(Answer::Denied));
    for body in [r#"{"isAuthenticated":false}"#, r#"{"isAuthenticated":false,"principalId":7,"policyDocuments":"x"}"#] {
        assert_eq!(parse(body.as_bytes()), Ok(Answer::Denied), "{body}");
    }
}

#[test]
fn an_answer_within_the_bounds_is_accepted() {
    let short = json!({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}});
    for (member, value) in [
        ("principalId", json!("a")),
        ("principalId", json!("aZ09".repeat(32))),
        ("disconnectAfterInSeconds", json!(300)),
        ("refreshAfterInSeconds", json!(86_400)),
        ("policyDocuments", json!([])),
        ("policyDocuments", json!(vec![short.clone(); 10])),
        ("policyDocuments", json!([short.to_string(), short])),
        ("context", json!({"anything": [1, 2, 3]})),
    ] {
        assert!(is_authorized(&with(member, &value)), "{member} {value}");
    }
}

#[test]
fn what_the_function_did_wrong_is_said() {
    let long = |characters: usize| {
        let document = |filler: &str| {
            format!(
                r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":"iot:Publish","Resource":"arn:aws:iot:*:*:topic/{filler}"}}}}"#
            )
        };
        document(&"x".repeat(characters - document("").len()))
    };
    assert!(is_authorized(&with("policyDocuments", &json!([long(2_048)]))));
    let spaced = long(2_048).replace(',', &format!(",{}", " ".repeat(3_000)));
    assert!(is_authorized(&with("policyDocuments", &json!([spaced]))), "white space does not count");
    let ok = json!({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}});
    let answer = |rest: &str| format!("{rest} of the function's answer");
    let rows: &[(&str, Value, String)] = &[
        ("isAuthenticated", json!(null), "the function's answer has no isAuthenticated".into()),
        ("isAuthenticated", json!("true"), "isAuthenticated of the function's answer is not a Boolean".into()),
        ("isAuthenticated", json!(1), "isAuthenticated of the function's answer is not a Boolean".into()),
        ("principalId", json!(null), "the function's answer has no principalId".into()),
        ("principalId", json!(12), answer("principalId") + " is not a string"),
        ("principalId", json!(""), answer("principalId") + " must match [a-zA-Z0-9]{1,128}"),
        ("principalId", json!("a-b"), answer("principalId") + " must match [a-zA-Z0-9]{1,128}"),
        ("principalId", json!("ä"), answer("principalId") + " must match [a-zA-Z0-9]{1,128}"),
        ("principalId", json!("a".repeat(129)), answer("principalId") + " must match [a-zA-Z0-9]{1,128}"),
        ("disconnectAfterInSeconds", json!(null), "the function's answer has no disconnectAfterInSeconds".into()),
        (
            "disconnectAfterInSeconds",
            json!(299),
            answer("disconnectAfterInSeconds") + " must be between 300 and 86400, not 299",
        ),
        (
            "disconnectAfterInSeconds",
            json!(86_401),
            answer("disconnectAfterInSeconds") + " must be between 300 and 86400, not 86401",
        ),
        (
            "refreshAfterInSeconds",
            json!(-1),
            answer("refreshAfterInSeconds") + " must be between 300 and 86400, not -1",
        ),
        ("refreshAfterInSeconds", json!("300"), answer("refreshAfterInSeconds") + " is not a whole number of seconds"),
        ("refreshAfterInSeconds", json!(300.5), answer("refreshAfterInSeconds") + " is not a whole number of seconds"),
        (
            "refreshAfterInSeconds",
            json!(u64::MAX),
            answer("refreshAfterInSeconds") + " is not a whole number of seconds",
        ),
        ("policyDocuments", json!(null), "the function's answer has no policyDocuments".into()),
        (
            "policyDocuments",
            json!({}),
            answer("policyDocuments") + " is not a list of policy documents, each a string or an object",
        ),
        (
            "policyDocuments",
            json!([1]),
            answer("policyDocuments") + " is not a list of policy documents, each a string or an object",
        ),
        ("policyDocuments", json!(vec![ok.clone(); 11]), answer("policyDocuments") + " has 11 documents, more than 10"),
        (
            "policyDocuments",
            json!([ok, {"Statement": []}]),
            "document 2 of ".to_owned() + &answer("policyDocuments") + ": The policy has no statement",
        ),
        (
            "policyDocuments",
            json!([long(2_049)]),
            "document 1 of ".to_owned()
                + &answer("policyDocuments")
                + ": The policy document has more than 2048 characters",
        ),
    ];
    for (member, value, expected) in rows {
        assert_eq!(with(member, value).unwrap_err(), *expected, "{member} {value}");
    }
    let refused = |body: &[u8]| parse(body).unwrap_err().to_string();
    assert_eq!(refused(b"[]"), "the function's answer is not a JSON object");
    assert!(refused(b"").starts_with("the function's answer is not valid JSON: "));
    assert!(refused(b"{\"isAuthenticated\":\xff}").starts_with("the function's answer is not valid JSON: "));
    assert!(refused("[".repeat(60_000).as_bytes()).starts_with("the function's answer is not valid JSON: "));
}

#[test]
fn an_answer_has_64_kib_at_most() {
    let padded = |length: usize| {
        let body = r#"{"isAuthenticated":false}"#;
        format!("{body}{}", " ".repeat(length - body.len()))
    };
    assert_eq!(parse(padded(MAXIMUM_ANSWER_BYTES).as_bytes()), Ok(Answer::Denied));
    let refused = parse(padded(MAXIMUM_ANSWER_BYTES + 1).as_bytes()).unwrap_err();
    assert_eq!(refused.to_string(), "the function's answer has more than 65536 bytes");
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (300_i64..90_000).prop_map(Value::from),
        "[a-zA-Z0-9]{0,4}".prop_map(Value::from),
        Just(json!({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,3}", inner, 0..3).prop_map(|map| json!(map)),
        ]
    })
}

fn document() -> impl Strategy<Value = Value> {
    let good = json!({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}});
    prop_oneof![5 => Just(good.clone()), 5 => Just(good.to_string().into()), 1 => json_value()]
}

proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}", is_local: bool) {
        let _ = parse(&body);
        let _ = parse(text.as_bytes());
        let _ = AuthorizerFunction::parse(&text, is_local);
        let _ = AuthorizerFunction::parse(&format!("https://{text}"), is_local);
        let _ = AuthorizerFunction::parse(&format!("arn:aws:lambda:{text}"), is_local);
    }

    /// Whatever is accepted is within AWS's bounds.
    #[test]
    fn what_is_accepted_keeps_the_rules(
        is_authenticated in prop_oneof![4 => Just(json!(true)), 1 => json_value()],
        principal in prop_oneof![4 => "[a-zA-Z0-9]{0,130}".prop_map(Value::from), 1 => json_value()],
        disconnect in prop_oneof![4 => (290_i64..90_000).prop_map(Value::from), 1 => json_value()],
        refresh in prop_oneof![4 => (290_i64..90_000).prop_map(Value::from), 1 => json_value()],
        documents in prop_oneof![4 => proptest::collection::vec(document(), 0..12).prop_map(Value::from), 1 => json_value()],
    ) {
        let body = json!({
            "isAuthenticated": is_authenticated, "principalId": principal, "disconnectAfterInSeconds": disconnect,
            "refreshAfterInSeconds": refresh, "policyDocuments": documents,
        });
        if let Ok(Answer::Authorized(authorized)) = parse(body.to_string().as_bytes()) {
            prop_assert!((300..=86_400).contains(&authorized.disconnect_after_secs));
            prop_assert!((300..=86_400).contains(&authorized.refresh_after_secs));
            prop_assert!((1..=128).contains(&authorized.principal_id.len()));
            prop_assert!(authorized.policy_documents.len() <= 10);
            for document in &authorized.policy_documents {
                prop_assert!(PolicyDocument::parse(document).is_ok());
            }
        }
    }
}
