//! The committed tables are whole, and requests are read by them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use proptest::prelude::*;
use serde_json::{Value, json};
use service_model::{IOT, IOT_DATA, IOT_JOBS_DATA, Input, Kind, Location, Model, Problem, Request};

const TABLES: [&str; 5] = [
    include_str!("../model/iot.txt"),
    include_str!("../model/umbra-iot.txt"),
    include_str!("../model/iot-data.txt"),
    include_str!("../model/umbra-iot-data.txt"),
    include_str!("../model/iot-jobs-data.txt"),
];

fn models() -> [&'static Model; 3] {
    [&IOT, &IOT_DATA, &IOT_JOBS_DATA]
}

fn read(operation: &str, path: &[(&'static str, &str)], query: &str, body: &str) -> Result<Input, Problem> {
    let path: Vec<(&str, String)> = path.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    let headers = [("X-Amzn-Principal".to_owned(), "p".to_owned())];
    let request = Request { path_parameters: &path, query, headers: &headers, body: body.as_bytes() };
    IOT.read(IOT.operation(operation).unwrap(), &request)
}

fn validation(operation: &str, path: &[(&'static str, &str)], query: &str, body: &str) -> String {
    match read(operation, path, query, body) {
        Err(Problem::Validation(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn aws_has_272_control_operations_11_of_data_and_5_of_device_jobs() {
    let count = |table: &str| table.lines().filter(|line| line.starts_with("operation ")).count();
    assert_eq!([count(TABLES[0]), count(TABLES[2]), count(TABLES[4])], [272, 11, 5]);
}

#[test]
fn every_line_of_the_tables_is_understood() {
    for line in TABLES.iter().flat_map(|table| table.lines()).filter(|line| !line.starts_with('#')) {
        let model = Model::parse(&[line]);
        let facts = model.operations().count() + model.shapes().count();
        assert!(facts == 1 || line.starts_with("error "), "{line}");
        let structures = model.shapes().filter_map(|(_, shape)| match &shape.kind {
            Kind::Structure(members) => Some(members.len()),
            _ => None,
        });
        for members in structures {
            assert_eq!(members, line.split(' ').skip(2).filter(|word| !word.is_empty()).count(), "{line}");
        }
    }
}

#[test]
fn every_name_in_the_tables_stands_for_something() {
    for model in models() {
        for operation in model.operations() {
            if let Some(input) = operation.input {
                assert!(model.shape(input).is_some(), "{}", operation.name);
            }
            let placeholders = operation.uri_template.matches('{').count();
            let in_path = |member: &&service_model::Member| matches!(member.location, Location::Path(_));
            let members = model.members(operation.input.unwrap_or_default()).iter().filter(in_path).count();
            assert_eq!(placeholders, members, "{}", operation.name);
        }
        for (name, shape) in model.shapes() {
            let parts: Vec<&str> = match &shape.kind {
                Kind::Structure(members) => members.iter().map(|member| member.shape).collect(),
                Kind::List(of) => vec![of],
                Kind::Map(key, of) => vec![key, of],
                _ => Vec::new(),
            };
            for part in parts {
                assert!(model.shape(part).is_some(), "{part} in {name}");
            }
        }
    }
}

#[test]
fn members_are_found_wherever_they_are() {
    let input = read("DeleteThing", &[("thingName", "lamp")], "expectedVersion=3", "").unwrap();
    assert_eq!(Value::Object(input), json!({"thingName": "lamp", "expectedVersion": 3}));
    let input = read("AttachThingPrincipal", &[("thingName", "lamp")], "", "ignored").unwrap();
    assert_eq!(Value::Object(input), json!({"thingName": "lamp", "principal": "p"}));
    let input = read("SetLoggingOptions", &[], "", r#"{"roleArn":"r","logLevel":"INFO"}"#).unwrap();
    assert_eq!(Value::Object(input), json!({"loggingOptionsPayload": {"roleArn": "r", "logLevel": "INFO"}}));
    let body =
        r#"{"attributePayload":{"attributes":{"a":"b","c":null},"merge":true,"x":1},"y":2,"thingTypeName":null}"#;
    let input = read("CreateThing", &[("thingName", "lamp")], "", body).unwrap();
    let expected = json!({"thingName": "lamp", "attributePayload": {"attributes": {"a": "b"}, "merge": true}});
    assert_eq!(Value::Object(input), expected);
}

#[test]
fn broken_constraints_are_told_in_awss_words() {
    let lamp = [("thingName", "lamp")];
    for (operation, path, query, body, expected) in [
        (
            "CreateThing",
            [("thingName", "a b")],
            "",
            "",
            "1 validation error detected: Value 'a b' at 'thingName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [a-zA-Z0-9:_-]+",
        ),
        (
            "CreateThing",
            lamp,
            "",
            r#"{"attributePayload":{"attributes":{"a":" "}}}"#,
            "1 validation error detected: Value '{a= }' at 'attributePayload.attributes' failed to satisfy constraint: \
             Map value must satisfy constraint: [Member must have length less than or equal to 800, \
             Member must satisfy regular expression pattern: [a-zA-Z0-9_.,@/:#=\\[\\]-]*]",
        ),
        (
            "ListThings",
            lamp,
            "maxResults=0&attributeName=!",
            "",
            "2 validation errors detected: Value '0' at 'maxResults' failed to satisfy constraint: Member must have \
             value greater than or equal to 1; Value '!' at 'attributeName' failed to satisfy constraint: Member must \
             satisfy regular expression pattern: [a-zA-Z0-9_.,@/:#-]+",
        ),
        (
            "RegisterThing",
            lamp,
            "",
            "{}",
            "1 validation error detected: Value null at 'templateBody' failed to satisfy constraint: \
             Member must not be null",
        ),
        (
            "SetV2LoggingOptions",
            lamp,
            "",
            r#"{"defaultLogLevel":"LOUD"}"#,
            "1 validation error detected: Value 'LOUD' at 'defaultLogLevel' failed to satisfy constraint: \
             Member must satisfy enum value set: [DEBUG, INFO, ERROR, WARN, DISABLED]",
        ),
    ] {
        assert_eq!(validation(operation, &path, query, body), expected, "{operation}");
    }
    let long = "x".repeat(1_000_000);
    let message = validation("CreateThing", &[("thingName", &long)], "", "");
    assert!(message.len() < 600 && message.contains("length less than or equal to 128"), "{message}");
}

#[test]
fn values_of_other_types_are_told_apart_from_broken_constraints() {
    for (operation, query, body, expected) in [
        ("CreateThing", "", "[]", "The request body is not a JSON object"),
        ("CreateThing", "", r#"{"thingTypeName":1}"#, "NUMBER_VALUE can not be converted to a String"),
        ("CreateThing", "", r#"{"attributePayload":1}"#, "Expected a structure or map"),
        ("CreateThing", "", r#"{"attributePayload":{"merge":"x"}}"#, "STRING_VALUE can not be converted to a Boolean"),
        ("UpdateThing", "", r#"{"expectedVersion":1.5}"#, "DECIMAL_VALUE can not be converted to a Long"),
        ("DeleteThing", "expectedVersion=x", "", "The parameter expectedVersion is not a Long"),
    ] {
        let problem = read(operation, &[("thingName", "lamp")], query, body);
        assert_eq!(problem, Err(Problem::Serialization(expected.to_owned())), "{operation}");
    }
}

#[test]
fn an_operation_says_which_exception_a_bad_request_is() {
    let exception = |name: &str| IOT.operation(name).unwrap().validation_exception();
    assert_eq!(exception("CreateThing"), "InvalidRequestException");
    assert_eq!(exception("CreatePackage"), "ValidationException");
    assert_eq!(IOT.status_of("LimitExceededException"), Some(410));
}

proptest! {
    #[test]
    fn no_request_breaks_the_reader(
        n in any::<prop::sample::Index>(),
        text in "\\PC{0,40}",
        query in "[a-zA-Z0-9=&%]{0,60}",
        body in prop_oneof!["\\PC{0,80}", "[{}\\[\\]\",:a-z0-9]{0,80}"],
    ) {
        for model in models() {
            let operations: Vec<_> = model.operations().collect();
            let operation = operations[n.index(operations.len())];
            let path = [("thingName", text.clone()), ("jobId", text.clone())];
            let request = Request { path_parameters: &path, query: &query, headers: &[], body: body.as_bytes() };
            let _ = model.read(operation, &request);
        }
    }
}
