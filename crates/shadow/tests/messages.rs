//! Golden tables: every message of the service, as text, so that order and form of fields count.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Subject, accepted, announced, rejected};
use iot_types::{ShadowName, ThingName, UnixMillis};
use serde_json::{Value, json};
use shadow::AnnouncementKind::{Delta, Documents};
use shadow::Operation::{Delete, Get, Update};
use shadow::{Limits, Request, ShadowError, reject};

#[test]
fn a_shadows_life_is_told_as_aws_tells_it() {
    let mut subject = Subject::new();
    let outcome = subject.send(Update, r#"{"state":{"reported":{"Color":"green"}},"clientToken":"t-1"}"#);
    assert_eq!(
        accepted(&outcome),
        r#"{"state":{"reported":{"Color":"green"}},"metadata":{"reported":{"Color":{"timestamp":1000}}},"version":1,"timestamp":1000,"clientToken":"t-1"}"#
    );
    assert_eq!(
        announced(&outcome, Documents).unwrap(),
        r#"{"previous":null,"current":{"state":{"reported":{"Color":"green"}},"metadata":{"reported":{"Color":{"timestamp":1000}}},"version":1},"timestamp":1000,"clientToken":"t-1"}"#
    );
    assert_eq!(announced(&outcome, Delta), None);

    subject.wait_secs(10);
    let outcome = subject.send(Update, r#"{"state":{"desired":{"Color":"red","Rgb":[255,{"g":0}],"On":{"At":7}}}}"#);
    assert_eq!(
        accepted(&outcome),
        r#"{"state":{"desired":{"Color":"red","Rgb":[255,{"g":0}],"On":{"At":7}}},"metadata":{"desired":{"Color":{"timestamp":1010},"Rgb":[{"timestamp":1010},{"g":{"timestamp":1010}}],"On":{"At":{"timestamp":1010}}}},"version":2,"timestamp":1010}"#
    );

    subject.wait_secs(10);
    let outcome = subject.send(Update, r#"{"state":{"reported":{"On":{"At":7},"Ip":"::1"}},"clientToken":"t-3"}"#);
    assert_eq!(
        announced(&outcome, Delta).unwrap(),
        r#"{"version":3,"timestamp":1020,"state":{"Color":"red","Rgb":[255,{"g":0}]},"metadata":{"Color":{"timestamp":1010},"Rgb":[{"timestamp":1010},{"g":{"timestamp":1010}}]},"clientToken":"t-3"}"#
    );
    assert_eq!(
        announced(&outcome, Documents).unwrap(),
        concat!(
            r#"{"previous":{"state":{"desired":{"Color":"red","Rgb":[255,{"g":0}],"On":{"At":7}},"reported":{"Color":"green"}},"#,
            r#""metadata":{"desired":{"Color":{"timestamp":1010},"Rgb":[{"timestamp":1010},{"g":{"timestamp":1010}}],"On":{"At":{"timestamp":1010}}},"reported":{"Color":{"timestamp":1000}}},"version":2},"#,
            r#""current":{"state":{"desired":{"Color":"red","Rgb":[255,{"g":0}],"On":{"At":7}},"reported":{"Color":"green","On":{"At":7},"Ip":"::1"}},"#,
            r#""metadata":{"desired":{"Color":{"timestamp":1010},"Rgb":[{"timestamp":1010},{"g":{"timestamp":1010}}],"On":{"At":{"timestamp":1010}}},"reported":{"Color":{"timestamp":1000},"On":{"At":{"timestamp":1020}},"Ip":{"timestamp":1020}}},"version":3},"#,
            r#""timestamp":1020,"clientToken":"t-3"}"#
        )
    );

    subject.wait_secs(10);
    let outcome = subject.send(Get, r#"{"clientToken":"t-4"}"#);
    assert_eq!(
        accepted(&outcome),
        concat!(
            r#"{"state":{"desired":{"Color":"red","Rgb":[255,{"g":0}],"On":{"At":7}},"reported":{"Color":"green","On":{"At":7},"Ip":"::1"},"delta":{"Color":"red","Rgb":[255,{"g":0}]}},"#,
            r#""metadata":{"desired":{"Color":{"timestamp":1010},"Rgb":[{"timestamp":1010},{"g":{"timestamp":1010}}],"On":{"At":{"timestamp":1010}}},"reported":{"Color":{"timestamp":1000},"On":{"At":{"timestamp":1020}},"Ip":{"timestamp":1020}}},"#,
            r#""version":3,"timestamp":1030,"clientToken":"t-4"}"#
        )
    );
    assert_eq!((outcome.change, outcome.announcements), (None, vec![]));

    let outcome = subject.send(Delete, r#"{"clientToken":"t-5","version":3}"#);
    assert_eq!(accepted(&outcome), r#"{"version":3,"timestamp":1030,"clientToken":"t-5"}"#);
    assert_eq!(outcome.announcements, vec![]);
    let outcome = subject.send(Get, r#"{"clientToken":"t-6"}"#);
    let text = r#"{"code":404,"message":"No shadow exists with name: 'lamp'","timestamp":1030,"clientToken":"t-6"}"#;
    assert_eq!(rejected(&outcome), text);
}

#[test]
fn a_state_of_null_is_accepted_and_clears_the_shadow() {
    for before in ["", r#"{"state":{"desired":{"a":1},"reported":{"b":2}}}"#] {
        let mut subject = Subject::new();
        let mut version = 1;
        if !before.is_empty() {
            subject.update(before);
            version = 2;
        }
        let reply = subject.update(r#"{"state":null,"clientToken":"t"}"#);
        let expected = json!({"state": null, "metadata": {"timestamp": 1000}, "version": version, "timestamp": 1000, "clientToken": "t"});
        assert_eq!(reply, expected.to_string());
        let expected = json!({"state": {}, "metadata": {}, "version": version, "timestamp": 1000});
        assert_eq!(subject.get(), expected.to_string());
    }
}

#[test]
fn accepted_updates_echo_just_what_was_sent_with_its_metadata() {
    #[track_caller]
    fn check(state: &str, metadata: &str) {
        let mut subject = Subject::new();
        subject.update(r#"{"state":{"desired":{"a":1,"b":{"c":2}},"reported":{"a":1}}}"#);
        subject.wait_secs(1);
        let reply = subject.update(format!(r#"{{"state":{state},"other":[1]}}"#));
        assert_eq!(reply, format!(r#"{{"state":{state},"metadata":{metadata},"version":2,"timestamp":1001}}"#));
    }
    check("{}", "{}");
    check(r#"{"desired":{}}"#, r#"{"desired":{}}"#);
    check(r#"{"desired":null}"#, r#"{"desired":{"timestamp":1001}}"#);
    check(r#"{"desired":{"b":null}}"#, r#"{"desired":{"b":{"timestamp":1001}}}"#);
    check(r#"{"reported":{"x":[],"y":{}}}"#, r#"{"reported":{"x":[],"y":{}}}"#);
    check(
        r#"{"reported":{"x":1},"desired":{"b":{"d":[1,[2]]}}}"#,
        r#"{"reported":{"x":{"timestamp":1001}},"desired":{"b":{"d":[{"timestamp":1001},[{"timestamp":1001}]]}}}"#,
    );
}

#[test]
fn updates_and_gets_agree_with_what_was_verified_on_aws() {
    #[track_caller]
    fn check(first: Value, then_shown: Value, second: Value, finally_shown: Value) {
        let mut subject = Subject::new();
        subject.update(json!({"state": first}).to_string());
        assert_eq!(subject.state(), then_shown, "after {first}");
        subject.update(json!({"state": second}).to_string());
        assert_eq!(subject.state(), finally_shown, "after {first} and {second}");
    }
    let on = || json!({"desired": {"on": true}});
    let on_shown = || json!({"desired": {"on": true}, "delta": {"on": true}});
    check(
        on(),
        on_shown(),
        json!({"reported": {"on": false}}),
        json!({"desired": {"on": true}, "reported": {"on": false}, "delta": {"on": true}}),
    );
    check(
        on(),
        on_shown(),
        json!({"reported": {"x": 1, "on": true}}),
        json!({"desired": {"on": true}, "reported": {"x": 1, "on": true}}),
    );
    check(json!({}), json!({}), json!({"reported": {"x": 1}}), json!({"reported": {"x": 1}}));
    check(json!({}), json!({}), json!({"reported": {"x": null}}), json!({}));
    check(json!({"desired": {}}), json!({}), json!({"reported": {"x": 1}}), json!({"reported": {"x": 1}}));
    check(on(), on_shown(), json!({"reported": {}}), on_shown());
    check(on(), on_shown(), json!({"desired": {"on": null}}), json!({}));
    check(on(), on_shown(), json!({"desired": null}), json!({}));
    check(on(), on_shown(), json!({"desired": null, "reported": {"x": 1}}), json!({"reported": {"x": 1}}));
    let list = |items: Value| json!({"reported": {"list": items}});
    for (reported, desired) in [
        (json!(["v1", "v2"]), json!(["v1"])),
        (json!(["v1", "v2"]), json!(["v1", "v3"])),
        (json!([["v1"], ["v2"]]), json!([["v1"]])),
    ] {
        check(
            list(reported.clone()),
            list(reported.clone()),
            json!({"desired": {"list": desired}}),
            json!({"desired": {"list": desired}, "reported": {"list": reported}, "delta": {"list": desired}}),
        );
    }
    let nested = || json!({"reported": {"a": {"b": {"c": "d", "e": "f"}}}});
    check(
        nested(),
        nested(),
        json!({"desired": {"a": {"b": {"c": "d2"}}}}),
        json!({"desired": {"a": {"b": {"c": "d2"}}}, "reported": nested()["reported"], "delta": {"a": {"b": {"c": "d2"}}}}),
    );
    check(
        nested(),
        nested(),
        json!({"desired": {"a": {"b": {"c": "d"}, "b2": "s"}}}),
        json!({"desired": {"a": {"b": {"c": "d"}, "b2": "s"}}, "reported": nested()["reported"], "delta": {"a": {"b2": "s"}}}),
    );
    let desired = |state: Value| json!({"desired": state});
    let wanted = |state: Value| json!({"desired": state, "delta": state});
    for (before, after) in [
        (json!({"a": 1, "b": {"c": 3}}), json!({"a": 1, "b": {"c": 3}, "d": {}})),
        (json!({"a": 1, "b": {"c": 3}, "d": {}}), json!({"a": 1, "b": {"c": {}}, "d": {}})),
        (json!({"a": 1, "b": {"c": 3}}), json!({"a": 1, "b": {"c": {"d": 3}}})),
    ] {
        check(desired(before.clone()), wanted(before), desired(after.clone()), wanted(after));
    }
    check(
        json!({"reported": {"a": [1, 2]}}),
        json!({"reported": {"a": [1, 2]}}),
        json!({"reported": {"a": {"b": 1}}}),
        json!({"reported": {"a": {"b": 1}}}),
    );
    check(
        json!({"reported": {"a": {"b": 1}}}),
        json!({"reported": {"a": {"b": 1}}}),
        json!({"reported": {"a": {"b": null}}}),
        json!({"reported": {"a": {}}}),
    );
    check(
        desired(json!({"n": 5})),
        wanted(json!({"n": 5})),
        json!({"reported": {"n": 5.0}}),
        json!({"desired": {"n": 5}, "reported": {"n": 5.0}}),
    );
}

#[test]
fn metadata_changes_whenever_a_key_is_written_and_goes_with_it() {
    #[track_caller]
    fn check(patch: &str, expected: &str) {
        let mut subject = Subject::new();
        subject.update(r#"{"state":{"desired":{"a":1,"b":{"c":2,"d":3},"e":[1,2]}}}"#);
        subject.wait_secs(1);
        subject.update(format!(r#"{{"state":{{"desired":{patch}}}}}"#));
        let get: Value = serde_json::from_str(&subject.get()).unwrap();
        let expected = expected.replace("OLD", r#"{"timestamp":1000}"#).replace("NEW", r#"{"timestamp":1001}"#);
        assert_eq!(get["metadata"]["desired"].to_string(), expected, "{patch}");
    }
    check(r#"{"a":2}"#, r#"{"a":NEW,"b":{"c":OLD,"d":OLD},"e":[OLD,OLD]}"#);
    check(r#"{"a":1}"#, r#"{"a":NEW,"b":{"c":OLD,"d":OLD},"e":[OLD,OLD]}"#);
    check(r#"{"a":null}"#, r#"{"b":{"c":OLD,"d":OLD},"e":[OLD,OLD]}"#);
    check(r#"{"b":{"d":3}}"#, r#"{"a":OLD,"b":{"c":OLD,"d":NEW},"e":[OLD,OLD]}"#);
    check(r#"{"b":{"d":null,"x":{"y":1}}}"#, r#"{"a":OLD,"b":{"c":OLD,"x":{"y":NEW}},"e":[OLD,OLD]}"#);
    check(r#"{"b":{"c":null,"d":null}}"#, r#"{"a":OLD,"b":{},"e":[OLD,OLD]}"#);
    check(r#"{"b":{}}"#, r#"{"a":OLD,"b":{"c":OLD,"d":OLD},"e":[OLD,OLD]}"#);
    check(r#"{"b":5}"#, r#"{"a":OLD,"b":NEW,"e":[OLD,OLD]}"#);
    check(r#"{"a":{"timestamp":5}}"#, r#"{"a":{"timestamp":NEW},"b":{"c":OLD,"d":OLD},"e":[OLD,OLD]}"#);
    check(r#"{"a":{}}"#, r#"{"a":{},"b":{"c":OLD,"d":OLD},"e":[OLD,OLD]}"#);
    check(r#"{"e":[1]}"#, r#"{"a":OLD,"b":{"c":OLD,"d":OLD},"e":[NEW]}"#);
    check(r#"{"e":{"f":1}}"#, r#"{"a":OLD,"b":{"c":OLD,"d":OLD},"e":{"f":NEW}}"#);
}

#[test]
fn updates_that_are_not_sound_are_refused_with_awss_words() {
    #[track_caller]
    fn check(payload: impl AsRef<[u8]>, code: u16, message: &str) {
        let mut subject = Subject::new();
        for expected_row in [None, Some(1)] {
            let outcome = subject.send(Update, payload.as_ref());
            let expected = json!({"code": code, "message": message, "timestamp": 1000});
            assert_eq!(rejected(&outcome), expected.to_string(), "{}", String::from_utf8_lossy(payload.as_ref()));
            assert_eq!(subject.row.as_ref().map(shadow::StoredShadow::version), expected_row);
            if expected_row.is_none() {
                subject.update(r#"{"state":{"desired":{"a":1}}}"#);
            }
        }
    }
    check("", 400, "Invalid JSON");
    check("{", 400, "Invalid JSON");
    check("{'state':{}}", 400, "Invalid JSON");
    check(r#"{"state":{}} x"#, 400, "Invalid JSON");
    check(r#"{"state":{"desired":{"a":1e999}}}"#, 400, "Invalid JSON");
    check("66", 400, "Missing required node: state");
    check("[]", 400, "Missing required node: state");
    check("{}", 400, "Missing required node: state");
    check(r#"{"State":{}}"#, 400, "Missing required node: state");
    check(r#"{"state":1}"#, 400, "State node must be an object");
    check(r#"{"state":[]}"#, 400, "State node must be an object");
    check(r#"{"state":"null"}"#, 400, "State node must be an object");
    check(r#"{"state":{"desired":1}}"#, 400, "Desired node must be an object");
    check(r#"{"state":{"desired":[]}}"#, 400, "Desired node must be an object");
    check(r#"{"state":{"reported":"x"}}"#, 400, "Reported node must be an object");
    check(r#"{"state":{"desired":{},"reported":false}}"#, 400, "Reported node must be an object");
    check(r#"{"state":{"delta":{"a":1}}}"#, 400, "State contains an invalid node");
    check(r#"{"state":{"desired":{"a":1},"x":null}}"#, 400, "State contains an invalid node");
    check(r#"{"state":{"desired":{"a":[1,null]}}}"#, 400, "State contains an invalid node");
    check(r#"{"state":{"reported":{"a":[{"b":null}]}}}"#, 400, "State contains an invalid node");
    for version in ["-1", "1.5", "1.0", "\"1\"", "true", "[1]", "{}", "18446744073709551616"] {
        check(format!(r#"{{"state":{{}},"version":{version}}}"#), 400, "Invalid version");
    }
    for token in ["1", "true", "[]", "{}"] {
        check(format!(r#"{{"state":{{}},"clientToken":{token}}}"#), 400, "Invalid clientToken");
    }
    check(format!(r#"{{"state":{{}},"clientToken":"{}"}}"#, "x".repeat(65)), 400, "Invalid clientToken");
    check(format!(r#"{{"state":{{}},"clientToken":"{}"}}"#, "ä".repeat(33)), 400, "Invalid clientToken");
    let encoding = "Unsupported documented encoding; supported encoding is UTF-8";
    check(b"{\"state\":{\"desired\":{\"a\":\"\xff\"}}}", 415, encoding);
    check(
        "{\"state\":{}}".encode_utf16().flat_map(u16::to_be_bytes).chain([0xfe, 0xff]).collect::<Vec<_>>(),
        415,
        encoding,
    );
    check(" ".repeat(30_000), 413, "The payload exceeds the maximum size allowed");
    check("[".repeat(10_000), 400, "JSON contains too many levels of nesting; maximum is 8");
}

#[test]
fn tokens_are_echoed_in_refusals_when_they_could_be_read() {
    #[track_caller]
    fn check(operation: shadow::Operation, payload: &str, code: u16, echoed: bool) {
        let mut subject = Subject::new();
        subject.update(r#"{"state":{"desired":{"a":1}}}"#);
        let reply: Value = serde_json::from_str(&rejected(&subject.peek(operation, payload))).unwrap();
        assert_eq!((reply["code"].as_u64(), reply["clientToken"] == "t"), (Some(code.into()), echoed), "{payload}");
    }
    check(Update, r#"{"clientToken":"t"}"#, 400, true);
    check(Update, r#"{"clientToken":"t","state":1}"#, 400, true);
    check(Update, r#"{"clientToken":"t","state":{},"version":"x"}"#, 400, true);
    check(Update, r#"{"clientToken":"t","state":{},"version":9}"#, 409, true);
    check(
        Update,
        &format!(r#"{{"clientToken":"t","state":{{"desired":{{"a":"{}"}}}}}}"#, "x".repeat(9_000)),
        413,
        true,
    );
    check(
        Update,
        r#"{"clientToken":"t","state":{"desired":{"1":{"2":{"3":{"4":{"5":{"6":{"7":{"8":{"9":{}}}}}}}}}}}}"#,
        400,
        true,
    );
    check(Update, r#"{"clientToken":"t","#, 400, false);
    check(Delete, r#"{"clientToken":"t","version":9}"#, 409, true);
    check(Delete, r#"{"clientToken":"t","version":"x"}"#, 400, true);
    check(Delete, r#"{"clientToken":5}"#, 400, false);
    check(Get, r#"{"clientToken":5}"#, 400, false);
}

#[test]
fn refusals_from_outside_have_the_same_form() {
    let thing_name = ThingName::new("lamp").unwrap();
    let mut request =
        Request { operation: Get, payload: br#"{"clientToken":"t"}"#, thing_name: &thing_name, shadow_name: None };
    let rejection = reject(&request, ShadowError::TooManyRequests, UnixMillis(5_000), &Limits::AWS);
    let text = r#"{"code":429,"message":"Too many requests","timestamp":5,"clientToken":"t"}"#;
    assert_eq!((rejection.error, rejection.payload), (ShadowError::TooManyRequests, text.as_bytes().to_vec()));
    request.payload = b"\xff";
    let rejection = reject(&request, ShadowError::Forbidden, UnixMillis(5_000), &Limits::AWS);
    assert_eq!(rejection.payload, br#"{"code":403,"message":"Forbidden","timestamp":5}"#);
}

#[test]
fn what_is_not_needed_of_a_get_or_a_delete_is_ignored() {
    for payload in ["", " ", "payload is ignored", "[1", "\"x\"", r#"{"state":5}"#, r#"{"clientToken":null}"#] {
        let mut subject = Subject::new();
        subject.update(r#"{"state":{"desired":{"a":1}}}"#);
        assert!(subject.peek(Get, payload).reply.is_ok(), "{payload}");
        assert_eq!(accepted(&subject.send(Delete, payload)), r#"{"version":1,"timestamp":1000}"#, "{payload}");
    }
    let mut subject = Subject::new();
    subject.update(r#"{"state":{}}"#);
    assert!(subject.peek(Get, r#"{"version":"x"}"#).reply.is_ok());
    assert!(subject.peek(Get, r#"{"version":9}"#).reply.is_ok());
    assert!(subject.peek(Delete, b"\xff\xfe").reply.is_ok());
}

#[test]
fn a_shadow_that_does_not_exist_is_called_by_its_full_name() {
    let mut subject = Subject::new();
    for (shadow_name, full_name) in [(None, "lamp"), (Some("night"), "lamp~night")] {
        subject.shadow_name = shadow_name.map(|name| ShadowName::new(name).unwrap());
        for operation in [Get, Delete] {
            let expected =
                format!(r#"{{"code":404,"message":"No shadow exists with name: '{full_name}'","timestamp":1000}}"#);
            assert_eq!(rejected(&subject.peek(operation, "")), expected);
        }
    }
}
