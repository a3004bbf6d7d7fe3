//! Every condition operator, with values that it holds for and values that it doesn't (IAM user guide, "IAM JSON policy
//! elements: Condition operators").
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use iot_types::{AccountId, Region, Scope, UnixMillis};
use policy::{Authority, Context, Facts, PolicyDocument};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn document(operator: &str, values: &Value) -> Result<PolicyDocument, policy::PolicyError> {
    let statement = json!({
        "Effect": "Allow", "Action": "iot:Publish", "Resource": "*", "Condition": {operator: {"test:Key": values}},
    });
    PolicyDocument::parse(&json!({"Version": "2012-10-17", "Statement": statement}).to_string())
}

/// Whether a condition holds for a key with these values; none: the key is missing.
fn holds(operator: &str, values: &Value, given: &[&str]) -> bool {
    let document = document(operator, values).unwrap_or_else(|error| panic!("{operator} {values}: {error}"));
    let given: Vec<String> = given.iter().map(|value| (*value).to_owned()).collect();
    let facts = Facts {
        client_id: Some("me".to_owned()),
        other: BTreeMap::from([("test:key".to_owned(), given)]),
        ..Facts::default()
    };
    let scope =
        Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() };
    let authority = Authority::compile([("p", &document)], &facts, &scope);
    authority.decide_any("iot:Publish", "arn:x", &Context { now: UnixMillis(1), ..Context::default() }).is_allowed()
}

/// Operator, what it compares with, values that it holds for, values that it doesn't hold for.
type Row = (&'static str, Value, &'static [&'static str], &'static [&'static str]);

fn rows() -> Vec<Row> {
    vec![
        ("StringEquals", json!("Lamp*"), &["Lamp*"], &["lamp*", "Lamp", "Lamps", ""]),
        ("StringEquals", json!(["a", "b"]), &["a", "b"], &["c", "ab"]),
        ("StringEquals", json!("${iot:ClientId}"), &["me"], &["you", "${iot:ClientId}"]),
        ("StringNotEquals", json!(["a", "b"]), &["c", "A"], &["a", "b"]),
        ("StringEqualsIgnoreCase", json!("Lamp"), &["lamp", "LAMP"], &["lamps"]),
        ("StringNotEqualsIgnoreCase", json!("Lamp"), &["lamps"], &["lamp", "LAMP"]),
        ("StringLike", json!("a*c?"), &["acd", "abbbcd"], &["ac", "acdd", "bacd", "ACD"]),
        ("StringNotLike", json!("a*"), &["b", "A"], &["a", "ab"]),
        ("BinaryEquals", json!("QUJD"), &["QUJD"], &["QUJE"]),
        (
            "ArnEquals",
            json!("arn:aws:iot:*:1:topic/a*"),
            &["arn:aws:iot:x:1:topic/a/b"],
            &["arn:aws:iot:x:2:topic/a", "a"],
        ),
        ("ArnLike", json!("arn:aws:iot:*:1:topic/a?"), &["arn:aws:iot:x:1:topic/ab"], &["arn:aws:iot:x:y:1:topic/ab"]),
        ("ArnNotEquals", json!("arn:aws:iot:x:1:t/*"), &["arn:aws:iot:x:1:u/a"], &["arn:aws:iot:x:1:t/a"]),
        ("ArnNotLike", json!("arn:aws:iot:x:1:t/*"), &["arn:aws:iot:y:1:t/a"], &["arn:aws:iot:x:1:t/"]),
        ("NumericEquals", json!(10), &["10", "10.0", "1e1"], &["9", "11", "ten", ""]),
        ("NumericNotEquals", json!(10), &["9", "11", "ten"], &["10", "10.0"]),
        ("NumericLessThan", json!("10"), &["9", "-1", "9.99"], &["10", "11", "x"]),
        ("NumericLessThanEquals", json!(10), &["9", "10"], &["10.1", "x"]),
        ("NumericGreaterThan", json!(10), &["11", "10.1"], &["10", "9", "x"]),
        ("NumericGreaterThanEquals", json!(10), &["11", "10"], &["9.9", "x"]),
        (
            "DateEquals",
            json!("2026-01-02T00:00:00Z"),
            &["2026-01-02", "1767312000"],
            &["2026-01-03", "1767312001", "x"],
        ),
        ("DateNotEquals", json!("2026-01-02"), &["2026-01-03", "x"], &["2026-01-02T00:00:00Z"]),
        ("DateLessThan", json!("2026-01-02"), &["2026-01-01", "2026-01-01T23:59:59.999Z"], &["2026-01-02", "x"]),
        ("DateLessThanEquals", json!("2026-01-02"), &["2026-01-01", "2026-01-02"], &["2026-01-02T00:00:00.001Z", "x"]),
        ("DateGreaterThan", json!("2026-01-02"), &["2026-01-02T00:00:00.001Z"], &["2026-01-02", "2026-01-01", "x"]),
        ("DateGreaterThanEquals", json!("2026-01-02"), &["2026-01-02", "2026-01-03"], &["2026-01-01T23:59:59Z", "x"]),
        ("Bool", json!(true), &["true", "TRUE"], &["false", "1", ""]),
        ("Bool", json!("False"), &["false"], &["true", "no"]),
        ("IpAddress", json!("203.0.113.0/24"), &["203.0.113.7"], &["203.0.114.7", "x", "2001:db8::1"]),
        ("IpAddress", json!(["2001:db8::/32", "198.51.100.1"]), &["2001:db8::1", "198.51.100.1"], &["198.51.100.2"]),
        ("NotIpAddress", json!("203.0.113.0/24"), &["203.0.114.7", "x"], &["203.0.113.7"]),
    ]
}

#[test]
fn an_operator_holds_for_the_values_that_it_should_and_no_others() {
    for (operator, values, good, bad) in rows() {
        for given in good {
            assert!(holds(operator, &values, &[given]), "{operator} {values} {given}");
        }
        for given in bad {
            assert!(!holds(operator, &values, &[given]), "{operator} {values} {given}");
        }
    }
}

#[test]
fn a_missing_key_is_no_value_unless_that_is_said_not_to_matter() {
    for (operator, values, good, bad) in rows() {
        let is_negated = operator.contains("Not");
        assert_eq!(holds(operator, &values, &[]), is_negated, "{operator}");
        let if_exists = format!("{operator}IfExists");
        assert!(holds(&if_exists, &values, &[]), "{if_exists}");
        assert!(holds(&if_exists, &values, &good[..1]), "{if_exists}");
        assert!(!holds(&if_exists, &values, &bad[..1]), "{if_exists}");
    }
}

#[test]
fn quantifiers_ask_all_values_or_any() {
    for (operator, values, good, bad) in rows() {
        let [good, bad] = [good[0], bad[0]];
        let all = format!("ForAllValues:{operator}");
        let any = format!("ForAnyValue:{operator}");
        for (given, all_hold, any_holds) in [
            (&[good, good][..], true, true),
            (&[good, bad], false, true),
            (&[bad, bad], false, false),
            (&[], true, false),
        ] {
            assert_eq!(holds(&all, &values, given), all_hold, "{all} {values} {given:?}");
            assert_eq!(holds(&any, &values, given), any_holds, "{any} {values} {given:?}");
        }
        assert!(holds(&format!("{any}IfExists"), &values, &[]), "{any}IfExists");
        // without a quantifier what is forbidden must not be among them
        assert_eq!(holds(operator, &values, &[good, bad]), !operator.contains("Not"), "{operator}");
    }
}

#[test]
fn null_asks_whether_a_key_is_there() {
    assert!(holds("Null", &json!(true), &[]) && !holds("Null", &json!(true), &["x"]));
    assert!(holds("Null", &json!("false"), &["x"]) && !holds("Null", &json!("false"), &[]));
    assert!(holds("Null", &json!(["true", "false"]), &["x"]));
}

#[test]
fn what_no_operator_can_compare_with_is_refused() {
    for (operator, values) in [
        ("NullIfExists", json!(true)),
        ("ForAllValues:Null", json!(true)),
        ("ForAnyValue:Null", json!(true)),
        ("Null", json!("maybe")),
        ("StringEqualish", json!("x")),
        ("ForSomeValues:StringEquals", json!("x")),
        ("NumericEquals", json!("ten")),
        ("DateEquals", json!("yesterday")),
        ("Bool", json!("yes")),
        ("IpAddress", json!("203.0.113.0/33")),
        ("ArnEquals", json!("topic/a")),
        ("ArnEquals", json!("urn:aws:iot:x:1:t")),
        ("ArnEquals", json!("arn:aws:iot:x:1")),
    ] {
        assert!(document(operator, &values).is_err(), "{operator} {values}");
    }
}

#[test]
fn what_is_asked_for_and_not_known_is_told() {
    let text = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "iot:Publish",
        "Resource": "arn:aws:iot:us-east-1:123456789012:topic/${iot:Connection.Thing.ThingName}",
        "Condition": {
            "StringEquals": {"iot:DomainName": "${iot:Certificate.Subject.CommonName}"},
            "Bool": {"iot:Connection.Thing.IsAttached": "true"},
            "DateLessThan": {"aws:CurrentTime": "2026-01-01"},
        },
    }]});
    let document = PolicyDocument::parse(&text.to_string()).unwrap();
    let scope =
        Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() };
    let missing = |facts: &Facts| {
        let authority = Authority::compile([("p", &document)], facts, &scope);
        authority.missing_context_values().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = ["iot:Certificate.Subject.CommonName", "iot:Connection.Thing.ThingName", "iot:DomainName"];
    assert_eq!(missing(&Facts::default()), all);
    let known = Facts { domain_name: Some("d".to_owned()), ..Facts::default() };
    assert_eq!(missing(&known), all[..2]);
}
