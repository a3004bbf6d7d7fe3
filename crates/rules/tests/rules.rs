//! Bodies of `CreateTopicRule`, and the index of rules.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use iot_types::RuleName;
use rules::{Action, HttpAction, HttpHeader, RuleIndex, SqlVersion, TopicRule};
use serde_json::{Value, json};

fn parse(body: &Value) -> Result<TopicRule, String> {
    TopicRule::parse("rule", &serde_json::to_vec(body).unwrap())
        .map_err(|error| format!("{}: {error}", error.exception()))
}

fn with_action(action: &Value) -> Value {
    json!({"sql": "SELECT * FROM 'a'", "actions": [action]})
}

#[test]
fn a_rule_keeps_what_the_client_sent() {
    let body = json!({
        "sql": "SELECT length(a) AS l FROM 'a/+'",
        "description": "lengths",
        "actions": [
            {"http": {"url": "https://example.com/in/x", "confirmationUrl": "https://example.com/in", "headers": [{"key": "X-A", "value": "b"}]}},
            {"http": {"url": "http://[::1]:8080/"}},
        ],
        "ruleDisabled": false,
        "awsIotSqlVersion": "2016-03-23",
        "errorAction": {"http": {"url": "https://example.com/errors"}},
    });
    let rule = parse(&body).unwrap();
    assert_eq!(serde_json::to_value(&rule.payload).unwrap(), body);
    assert_eq!(rule.payload.sql_version(), Ok(SqlVersion::V2016));
    assert_eq!(rule.program.topic_filter(), Some("a/+"));
    assert!(rule.is_enabled());
    assert_eq!(
        rule.payload.actions[0],
        Action::Http(HttpAction {
            url: "https://example.com/in/x".to_owned(),
            confirmation_url: Some("https://example.com/in".to_owned()),
            headers: Some(vec![HttpHeader { key: "X-A".to_owned(), value: "b".to_owned() }]),
        })
    );

    let least = json!({"sql": "SELECT *", "actions": [{"http": {"url": "https://example.com"}}]});
    let rule = parse(&least).unwrap();
    assert_eq!(serde_json::to_value(&rule.payload).unwrap(), least);
    assert_eq!(rule.payload.sql_version(), Ok(SqlVersion::V2015));
    assert_eq!(rule.program.topic_filter(), None);
}

#[test]
fn bodies_that_are_no_rule_are_refused_in_words_the_client_understands() {
    let http = json!({"http": {"url": "https://example.com"}});
    for (body, expected) in [
        (json!({}), "InvalidRequestException: topicRulePayload: missing field `sql`"),
        (json!({"sql": "SELECT *"}), "InvalidRequestException: topicRulePayload: missing field `actions`"),
        (json!({"sql": "SELECT *", "actions": []}), "InvalidRequestException: a rule must have 1 to 10 actions"),
        (
            json!({"sql": "SELECT *", "actions": vec![&http; 11]}),
            "InvalidRequestException: a rule must have 1 to 10 actions",
        ),
        (
            json!({"sql": "SELECT a b", "actions": [&http]}),
            "SqlParseException: expected the end of the statement, found b at line 1, column 10",
        ),
        (
            json!({"sql": "SELECT *", "actions": [&http], "awsIotSqlVersion": "2017"}),
            "InvalidRequestException: awsIotSqlVersion must be",
        ),
        (with_action(&json!({})), "InvalidRequestException: an action must have exactly one member"),
        (
            with_action(&json!({"http": {"url": "https://a"}, "s3": {}})),
            "InvalidRequestException: an action must have exactly one member",
        ),
        (
            with_action(&json!({"dynamoDB": {}})),
            "InvalidRequestException: this server does not support the action 'dynamoDB' yet",
        ),
        (
            with_action(&json!({"republish": {}})),
            "InvalidRequestException: this server does not support the action 'republish' yet",
        ),
        (with_action(&json!({"webhook": {}})), "InvalidRequestException: unknown action 'webhook'"),
        (with_action(&json!({"http": {}})), "InvalidRequestException: http action: missing field `url`"),
        (
            with_action(&json!({"http": {"url": "https://a", "auth": {}}})),
            "InvalidRequestException: http action: unknown field `auth`",
        ),
        (with_action(&json!({"http": {"url": "ftp://a"}})), "InvalidRequestException: http action: url must be"),
        (with_action(&json!({"http": {"url": "https://"}})), "InvalidRequestException: http action: url must be"),
        (with_action(&json!({"http": {"url": "https:///x"}})), "InvalidRequestException: http action: url must be"),
        (with_action(&json!({"http": {"url": "https://a b"}})), "InvalidRequestException: http action: url must be"),
        (
            with_action(&json!({"http": {"url": "https://a/${topic()}"}})),
            "InvalidRequestException: http action: url holds a substitution template",
        ),
        (
            with_action(&json!({"http": {"url": "https://a/x", "confirmationUrl": "https://b"}})),
            "InvalidRequestException: http action: url must begin with confirmationUrl",
        ),
        (
            with_action(&json!({"http": {"url": "https://a", "headers": [{"key": "a b", "value": ""}]}})),
            "InvalidRequestException: http action: a header's key",
        ),
        (
            with_action(&json!({"http": {"url": "https://a", "headers": [{"key": "a", "value": "b\r\nc: d"}]}})),
            "InvalidRequestException: http action: a header's value",
        ),
        (
            with_action(&json!({"http": {"url": "https://a", "headers": [{"key": "a", "value": "${topic()}"}]}})),
            "InvalidRequestException: http action: a header's value holds",
        ),
        (
            with_action(&json!({"http": {"url": "https://a", "headers": vec![json!({"key": "a", "value": ""}); 101]}})),
            "InvalidRequestException: http action: at most 100 headers",
        ),
        (
            json!({"sql": "SELECT *", "actions": [&http], "errorAction": {"sqs": {}}}),
            "InvalidRequestException: this server does not support the action 'sqs'",
        ),
    ] {
        let error = parse(&body).expect_err(expected);
        assert!(error.starts_with(expected), "{body}: {error}");
    }
    let error = TopicRule::parse("a-b", b"{}").unwrap_err();
    assert_eq!(error.to_string(), "ruleName must match ^[a-zA-Z0-9_]+$");
    assert!(TopicRule::parse("a", b"not json").is_err());
}

#[test]
fn the_index_finds_each_enabled_rule_whose_filter_matches_once() {
    let rule = |name: &str, sql: &str, disabled: bool| {
        let body = json!({"sql": sql, "actions": [{"http": {"url": "https://a"}}], "ruleDisabled": disabled});
        TopicRule::parse(name, &serde_json::to_vec(&body).unwrap()).unwrap()
    };
    let mut index = RuleIndex::new();
    assert!(index.is_empty());
    for (name, sql, disabled) in [
        ("all", "SELECT * FROM '#'", false),
        ("lamps", "SELECT * FROM 'lamps/+/state'", false),
        ("one", "SELECT * FROM 'lamps/1/state'", false),
        ("also_one", "SELECT 1 AS x FROM 'lamps/1/state'", false),
        ("asleep", "SELECT * FROM '#'", true),
        ("ingest", "SELECT *", false),
    ] {
        index.set(&rule(name, sql, disabled));
    }
    let matches = |index: &RuleIndex, topic: &str| {
        let mut names = Vec::new();
        index.for_each_match(topic, |name, program| {
            assert_eq!(index.get(name), Some(program));
            names.push(name.as_str().to_owned());
        });
        names.sort();
        names
    };
    assert_eq!(index.len(), 5);
    assert_eq!(matches(&index, "lamps/1/state"), ["all", "also_one", "lamps", "one"]);
    assert_eq!(matches(&index, "lamps/2/state"), ["all", "lamps"]);
    assert_eq!(matches(&index, "doors"), ["all"]);
    assert!(index.get(&RuleName::new("ingest").unwrap()).is_some());

    // A replaced rule listens where it listens now, a disabled or deleted one nowhere.
    index.set(&rule("one", "SELECT * FROM 'doors'", false));
    index.set(&rule("lamps", "SELECT * FROM 'lamps/+/state'", true));
    index.remove(&RuleName::new("also_one").unwrap());
    assert_eq!(matches(&index, "lamps/1/state"), ["all"]);
    assert_eq!(matches(&index, "doors"), ["all", "one"]);
    assert_eq!(index.len(), 3);
}
