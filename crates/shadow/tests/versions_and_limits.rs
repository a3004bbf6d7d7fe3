//! Versions, tombstones and limits, each at its edge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Subject, announced, rejected};
use serde_json::Value;
use shadow::AnnouncementKind::{Delta, Documents};
use shadow::Operation::{Delete, Get, Update};
use shadow::{Change, Limits, ShadowError, TOMBSTONE_MILLIS};

fn version(reply: &str) -> u64 {
    serde_json::from_str::<Value>(reply).unwrap()["version"].as_u64().unwrap()
}

#[test]
fn versions_begin_at_one_and_rise_by_one() {
    let mut subject = Subject::new();
    for expected in 1..5 {
        assert_eq!(version(&subject.update(r#"{"state":{"desired":{"a":1}}}"#)), expected);
        assert_eq!(version(&subject.get()), expected);
    }
}

#[test]
fn a_version_in_a_request_must_be_the_current_one() {
    #[track_caller]
    fn check(subject: &Subject, version: &str, conflict: bool) {
        let payload = format!(r#"{{"state":{{"desired":{{"a":2}}}},"version":{version}}}"#);
        let error = subject.peek(Update, payload).reply.err().map(|rejection| rejection.error);
        assert_eq!(error, conflict.then_some(ShadowError::VersionConflict), "{version}");
    }
    let mut subject = Subject::new();
    check(&subject, "0", false);
    check(&subject, "1", true);
    subject.update(r#"{"state":{"desired":{"a":1}}}"#);
    subject.update(r#"{"state":{"desired":{"a":1}}}"#);
    for (version, conflict) in [("2", false), ("1", true), ("3", true), ("0", true), ("null", false)] {
        check(&subject, version, conflict);
    }
    assert_eq!(
        rejected(&subject.peek(Delete, r#"{"version":1}"#)),
        r#"{"code":409,"message":"Version conflict","timestamp":1000}"#
    );
    assert!(subject.send(Delete, r#"{"version":2}"#).reply.is_ok());
    check(&subject, "2", false);
    check(&subject, "0", true);
}

#[test]
fn a_deleted_shadow_goes_on_counting_for_48_hours() {
    for (millis, expected) in [(0, 3), (TOMBSTONE_MILLIS - 1, 3), (TOMBSTONE_MILLIS, 1), (TOMBSTONE_MILLIS * 10, 1)] {
        let mut subject = Subject::new();
        subject.update(r#"{"state":{"desired":{"a":1}}}"#);
        subject.update(r#"{"state":{"desired":{"b":1}}}"#);
        subject.send(Delete, "");
        let deleted_at = subject.row.as_ref().unwrap().deleted_at();
        assert_eq!(deleted_at, Some(subject.now));
        for operation in [Get, Delete] {
            assert_eq!(subject.peek(operation, "").reply.unwrap_err().error.code(), 404);
        }
        subject.now = subject.now.plus_millis(millis);
        let outcome = subject.send(Update, r#"{"state":{"reported":{"c":1}}}"#);
        assert_eq!(version(&subject.get()), expected, "after {millis} ms");
        assert_eq!(subject.state(), serde_json::json!({"reported": {"c": 1}}));
        assert!(announced(&outcome, Documents).unwrap().starts_with(r#"{"previous":null,"#));
    }
}

#[test]
fn a_clock_that_goes_back_does_not_forget_a_tombstone() {
    let mut subject = Subject::new();
    subject.update(r#"{"state":{"desired":{"a":1}}}"#);
    subject.send(Delete, "");
    subject.now = iot_types::UnixMillis(0);
    assert_eq!(version(&subject.update(r#"{"state":{"desired":{"a":1}}}"#)), 2);
}

#[test]
fn deltas_are_announced_while_anything_differs_and_documents_always() {
    let mut subject = Subject::new();
    for (state, differs) in [
        (r#"{"reported":{"a":1}}"#, false),
        (r#"{"desired":{"a":2,"b":1}}"#, true),
        (r#"{"reported":{"b":1}}"#, true),
        (r#"{"reported":{"unrelated":1}}"#, true),
        (r#"{}"#, true),
        (r#"{"reported":{"a":2}}"#, false),
        (r#"{"reported":{"a":null}}"#, true),
        (r#"{"desired":{"a":null}}"#, false),
        (r#"{"desired":{"c":{}}}"#, true),
        (r#"{"desired":null}"#, false),
    ] {
        let outcome = subject.send(Update, format!(r#"{{"state":{state}}}"#));
        assert_eq!(announced(&outcome, Delta).is_some(), differs, "{state}");
        assert!(announced(&outcome, Documents).is_some(), "{state}");
    }
}

/// `{"desired":{"k":"xx…"}}` of exactly `bytes` bytes.
fn document_of(bytes: usize) -> String {
    let frame = r#"{"desired":{"k":""}}"#.len();
    format!(r#"{{"desired":{{"k":"{}"}}}}"#, "x".repeat(bytes - frame))
}

#[test]
fn the_state_document_is_limited_in_bytes_without_metadata_or_white_space() {
    for limits in [Limits::AWS, Limits::STANDARD] {
        let maximum = limits.maximum_document_bytes;
        let mut subject = Subject::new();
        subject.limits = limits;
        let full = document_of(maximum);
        subject.update(format!(r#"{{ "clientToken": "t", "ignored": [1, 2, 3],      "state" :  {full} }}"#));
        let outcome = subject.peek(Update, format!(r#"{{"state":{}}}"#, document_of(maximum + 390)));
        let message = format!("Json document too large. Size is {}, max allowed: {maximum}", maximum + 390);
        assert_eq!(outcome.reply.unwrap_err().error.message(), message);
        // What is there already counts too: `,"reported":{"a":1}` has 19 bytes.
        let error = subject.peek(Update, r#"{"state":{"reported":{"a":1}}}"#).reply.unwrap_err().error;
        assert_eq!(error, ShadowError::DocumentTooLarge { size: maximum + 19, maximum });
        subject.update(r#"{"state":{"desired":{"k":null},"reported":{"a":1}}}"#);
    }
}

#[test]
fn the_state_document_is_limited_in_values() {
    let mut subject = Subject::new();
    subject.limits = Limits { maximum_document_values: 10, ..Limits::AWS };
    subject.update(r#"{"state":{"desired":{"a":[1,2,3]}}}"#);
    subject.update(r#"{"state":{"reported":{"a":1,"b":2,"c":3,"d":4}}}"#);
    let error = subject.peek(Update, r#"{"state":{"reported":{"e":5}}}"#).reply.unwrap_err().error;
    assert_eq!(error, ShadowError::PayloadTooLarge);
    let request = format!(r#"{{"state":{{}},"ignored":[{}0]}}"#, "0,".repeat(40));
    assert_eq!(subject.peek(Update, request).reply.unwrap_err().error, ShadowError::PayloadTooLarge);
}

#[test]
fn sections_are_limited_in_levels() {
    for (limits, maximum) in [(Limits::AWS, 8), (Limits::STANDARD, 32)] {
        let mut subject = Subject::new();
        subject.limits = limits;
        // `levels` objects below the section, as AWS's page of quotas counts: "desired":{"one":{"two":{}}} has two.
        let nested = |open: &str, levels: usize, close: &str| {
            let (open, close) = (open.repeat(levels - 1), close.repeat(levels - 1));
            format!(r#"{{"state":{{"desired":{{"one":{open}{{}}{close}}}}}}}"#)
        };
        for (open, close) in [(r#"{"x":"#, "}"), ("[", "]")] {
            subject.update(nested(open, maximum, close));
            let error = subject.peek(Update, nested(open, maximum + 1, close)).reply.unwrap_err().error;
            assert_eq!(error, ShadowError::TooDeep { maximum });
            assert_eq!(error.message(), format!("JSON contains too many levels of nesting; maximum is {maximum}"));
        }
    }
}

#[test]
fn a_client_token_may_have_as_many_bytes_as_the_limit() {
    let mut subject = Subject::new();
    for token in ["x".repeat(64), "ä".repeat(32), String::new()] {
        let reply = subject.update(format!(r#"{{"state":{{}},"clientToken":"{token}"}}"#));
        assert!(reply.ends_with(&format!(r#""clientToken":"{token}"}}"#)));
    }
}

#[test]
fn the_largest_row_fits_a_cell_of_the_platforms_storage() {
    let limits = Limits::STANDARD;
    let mut subject = Subject::new();
    subject.limits = limits;
    // As many leaves as allowed, every other written a second later: the most runs of timestamps there can be.
    let keys = limits.maximum_document_values - 2;
    let fields = |parity: usize| {
        let fields: Vec<String> = (parity..keys).step_by(2).map(|n| format!(r#""{n:05}":1"#)).collect();
        fields.join(",")
    };
    let all: Vec<String> = (0..keys).map(|n| format!(r#""{n:05}":1"#)).collect();
    subject.now = iot_types::UnixMillis(99_999_999_998_000);
    subject.update(format!(r#"{{"state":{{"desired":{{{}}}}}}}"#, all.join(",")));
    subject.wait_secs(1);
    subject.update(format!(r#"{{"state":{{"desired":{{{}}}}}}}"#, fields(1)));
    let used: usize = subject.row.as_ref().unwrap().desired().unwrap().to_string().len() + r#"{"desired":}"#.len();
    let padding = "x".repeat(limits.maximum_document_bytes - used - r#","long":"""#.len());
    subject.update(format!(r#"{{"state":{{"desired":{{"long":"{padding}"}}}}}}"#));
    let row = subject.row.as_ref().unwrap().encode().len();
    assert!((1_500_000..2_000_000).contains(&row), "{row} bytes");
}

#[test]
fn a_hundred_thousand_brackets_are_refused() {
    let subject = Subject { limits: Limits::STANDARD, ..Subject::new() };
    for bracket in ["[", r#"{"a":"#, r#"{"state":"#] {
        let error = subject.peek(Update, bracket.repeat(100_000)).reply.unwrap_err().error;
        assert_eq!(error, ShadowError::TooDeep { maximum: 32 });
        assert_eq!(subject.peek(Get, bracket.repeat(100_000)).reply.unwrap_err().error.code(), 404);
    }
}

#[test]
fn only_accepted_updates_and_deletes_change_the_row() {
    let mut subject = Subject::new();
    assert!(matches!(subject.send(Update, r#"{"state":{}}"#).change, Some(Change::Put(_))));
    assert_eq!(subject.send(Get, "").change, None);
    assert_eq!(subject.send(Update, "{}").change, None);
    assert!(matches!(subject.send(Delete, "").change, Some(Change::Put(_))));
    assert_eq!(subject.send(Delete, "").change, None);
}
