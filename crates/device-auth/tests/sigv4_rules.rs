//! What is refused, and what nothing may break.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{HOST, KEY_ID, Keys, NOW, Request};
use device_auth::AuthError;
use device_auth::access_key::{AccessKeys, RootKey, SecretAccessKey};
use device_auth::derived_keys::DerivedKeys;
use device_auth::principal::Principal;
use device_auth::sigv4::{Expected, Form, SERVICES, explain, parse, presign_url, sign_headers, verify};
use iot_types::{Region, UnixMillis};
use proptest::prelude::*;

/// A publish, signed in its headers.
fn signed() -> Request {
    let mut request = Request::new(
        "POST",
        "/topics/a%2Fb",
        "qos=1&retain=true",
        &[("Host", HOST), ("Content-Type", "application/json"), ("X-Amz-Mqtt5-User-Properties", "W10=")],
        b"{\"on\":true}",
    );
    sign(&mut request, "iotdata");
    request
}

fn sign(request: &mut Request, service: &str) {
    let keys = Keys::new();
    let added = request.with(|r| sign_headers(&keys.signer(service, None), r, NOW)).unwrap();
    for (name, value) in added {
        request.set_header(name, &value);
    }
}

/// A WebSocket upgrade, signed in its URL.
fn presigned(expires_secs: Option<u32>) -> Request {
    let keys = Keys::new();
    let mut request = Request::new("GET", "/mqtt", "a=b", &[("host", HOST), ("Upgrade", "websocket")], b"");
    let url =
        request.with(|r| presign_url(&keys.signer("iotdevicegateway", None), "wss", r, expires_secs, NOW)).unwrap();
    request.set_url(&url);
    request
}

fn check_at(request: &Request, now: UnixMillis) -> Result<(), AuthError> {
    let keys = Keys::new();
    let claim = request.with(parse)?.ok_or(AuthError::MissingAuthenticationToken)?;
    request.with(|r| verify(&claim, r, &keys.secret, None, &Expected::new(now, &keys.region)))
}

fn check(request: &Request) -> Result<(), AuthError> {
    check_at(request, NOW)
}

/// Changes a good request and gives the error's name, status and text.
fn refusal(mut request: Request, change: impl FnOnce(&mut Request)) -> (&'static str, u16, String) {
    assert_eq!(check(&request), Ok(()), "the request is good before the change");
    let before = request.clone();
    change(&mut request);
    assert_ne!(request, before, "the change changes something");
    let error = check(&request).unwrap_err();
    (error.exception_name(), error.http_status(), error.to_string())
}

const INVALID: &str = "InvalidSignatureException";
const INCOMPLETE: &str = "IncompleteSignatureException";
const MISMATCH: &str = "does not match the signature you provided";

fn replace(text: &mut String, from: &str, to: &str) {
    *text = text.replace(from, to);
}

fn authorization(request: &mut Request, from: &str, to: &str) {
    let value = request.header("authorization").replace(from, to);
    request.set_header("authorization", &value);
}

#[test]
fn every_change_to_a_signed_request_is_refused() {
    type Change = fn(&mut Request);
    let rows: &[(&str, Change, &str)] = &[
        ("method", |r| replace(&mut r.method, "POST", "PUT"), MISMATCH),
        ("path", |r| replace(&mut r.path, "a%2Fb", "a%2Fc"), MISMATCH),
        ("path, decoded once", |r| replace(&mut r.path, "%2F", "/"), MISMATCH),
        ("path, encoded once more", |r| replace(&mut r.path, "%2F", "%252F"), MISMATCH),
        ("path, empty segment", |r| replace(&mut r.path, "/topics/", "/topics//"), "empty, '.' or '..' segments"),
        ("path, dot segment", |r| replace(&mut r.path, "/topics/", "/x/../topics/"), "empty, '.' or '..' segments"),
        ("query value", |r| replace(&mut r.query, "qos=1", "qos=0"), MISMATCH),
        ("query parameter added", |r| r.query.push_str("&x=1"), MISMATCH),
        ("query parameter removed", |r| replace(&mut r.query, "&retain=true", ""), MISMATCH),
        ("query parameter twice", |r| r.query.push_str("&qos=1"), MISMATCH),
        ("host", |r| r.set_header("host", "elsewhere.example"), MISMATCH),
        ("signed header", |r| r.set_header("content-type", "text/plain"), MISMATCH),
        ("signed header twice", |r| r.headers.push(("content-type".into(), "text/plain".into())), MISMATCH),
        ("signed header gone", |r| r.remove_header("content-type"), "'content-type' is not in the request"),
        ("amz header", |r| r.set_header("x-amz-mqtt5-user-properties", "W11="), MISMATCH),
        ("amz header added", |r| r.set_header("X-Amz-Meta", "1"), "'X-Amz-Meta' must be signed"),
        ("body", |r| r.body.push(b' '), MISMATCH),
        ("date", |r| r.set_header("x-amz-date", "20250130T123457Z"), MISMATCH),
        ("day", |r| r.set_header("x-amz-date", "20250131T003456Z"), "Date in Credential scope does not match"),
        (
            "day in both",
            |r| {
                r.set_header("x-amz-date", "20250131T123456Z");
                authorization(r, "20250130", "20250131");
            },
            "Signature not yet current",
        ),
        ("region", |r| authorization(r, "us-east-1", "eu-west-1"), "not 'eu-west-1'. This endpoint is in 'us-east-1'"),
        ("region that is none", |r| authorization(r, "us-east-1", "US_EAST"), "valid region, not 'US_EAST'"),
        ("service", |r| authorization(r, "/iotdata/", "/iot/"), MISMATCH),
        ("service that isn't ours", |r| authorization(r, "/iotdata/", "/execute-api/"), "not 'execute-api'"),
        ("terminator", |r| authorization(r, "aws4_request", "aws5_request"), "valid terminator"),
        ("signed headers", |r| authorization(r, "content-type;", ""), MISMATCH),
        (
            "signature",
            |r| {
                let last = if r.header("authorization").ends_with('0') { "1" } else { "0" };
                let mut value = r.header("authorization").to_owned();
                value.pop();
                r.set_header("authorization", &format!("{value}{last}"));
            },
            MISMATCH,
        ),
    ];
    for (name, change, text) in rows {
        let (exception, status, message) = refusal(signed(), change);
        assert_eq!((exception, status), (INVALID, 403), "{name}: {message}");
        assert!(message.contains(text), "{name}: {message}");
    }
}

#[test]
fn malformed_signatures_are_incomplete() {
    type Change = fn(&mut Request);
    let rows: &[(&str, Change, &str)] = &[
        ("no credential", |r| authorization(r, "Credential=", "C="), "unknown parameter 'C'"),
        ("nothing but the scheme", |r| r.set_header("authorization", "AWS4-HMAC-SHA256"), "requires 'Credential'"),
        ("no date", |r| r.remove_header("x-amz-date"), "either a 'X-Amz-Date' or a 'Date' header"),
        ("a date of another form", |r| r.set_header("x-amz-date", "2025-01-30T12:34:56Z"), "basic format"),
        ("two dates", |r| r.headers.push(("X-AMZ-DATE".into(), "20250130T123456Z".into())), "more than one"),
        ("two hosts", |r| r.headers.push(("host".into(), HOST.into())), "more than one 'host' header"),
        ("two proofs", |r| r.headers.push(("Authorization".into(), "Bearer x".into())), "more than one"),
        ("both forms", |r| r.query.push_str("&X-Amz-Signature=0"), "Only one of"),
        ("both forms, hidden", |r| r.query.push_str("&X%2DAmz-Credential=0"), "Only one of"),
        ("no equal-sign", |r| authorization(r, "Signature=", "Signature"), "missing equal-sign"),
        ("a part twice", |r| authorization(r, "Signature=", "Signature=0, Signature="), "more than one 'Signature'"),
        ("short credential", |r| authorization(r, "/aws4_request", ""), "exactly 5"),
        ("long credential", |r| authorization(r, "/aws4_request", "/aws4_request/x"), "exactly 5"),
        ("another algorithm", |r| authorization(r, "AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), "algorithm"),
        ("capitals in signed headers", |r| authorization(r, "=content-type", "=Content-type"), "lower-case"),
        ("signed headers out of order", |r| authorization(r, "content-type;host", "host;content-type"), "sorted"),
        ("a signed header twice", |r| authorization(r, "host;", "host;host;"), "once"),
        ("an empty signed header", |r| authorization(r, "host;", "host;;"), "lower-case"),
        ("short signature", |r| authorization(r, "Signature=", "Signature=0"), "64"),
        ("content hash of another form", |r| r.set_header("x-amz-content-sha256", "no"), "64"),
    ];
    for (name, change, text) in rows {
        let (exception, status, message) = refusal(signed(), change);
        assert_eq!((exception, status), (INCOMPLETE, 400), "{name}: {message}");
        assert!(message.contains(text), "{name}: {message}");
    }
}

#[test]
fn the_host_must_be_signed() {
    let (exception, _, message) = refusal(signed(), |r| authorization(r, "host;", ""));
    assert_eq!(exception, INVALID);
    assert!(message.contains("'Host' or ':authority'"), "{message}");
}

#[test]
fn the_content_hash_header_must_fit_the_body() {
    for (value, accepted, text) in [
        ("88b21fd7e4c6a4a3bb8ed3bf94fdb6db7e3a0ad2bcd2a3b6b7f51a3df38e4f20", false, "does not match what was computed"),
        ("UNSIGNED-PAYLOAD", false, "must be signed"),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", false, "Chunked"),
        ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", false, "Chunked"),
        ("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", true, ""),
    ] {
        let mut request = Request::new("GET", "/things", "", &[("host", HOST), ("x-amz-content-sha256", value)], b"");
        sign(&mut request, "iot");
        match check(&request) {
            Ok(()) => assert!(accepted, "{value}"),
            Err(error) => assert!(!accepted && error.to_string().contains(text), "{value}: {error}"),
        }
    }
}

#[test]
fn a_signed_request_is_good_for_five_minutes_either_way() {
    let request = signed();
    let minutes = 5 * 60 * 1_000;
    for (now, name) in [
        (UnixMillis(NOW.0 - minutes), None),
        (UnixMillis(NOW.0 - minutes - 1), Some("Signature not yet current: 20250130T123456Z is still later than ")),
        (NOW.plus_millis(minutes), None),
        (NOW.plus_millis(minutes + 1), Some("Signature expired: 20250130T123456Z is now earlier than ")),
        (UnixMillis(0), Some("Signature not yet current")),
        (UnixMillis(u64::MAX), Some("Signature expired")),
    ] {
        match (check_at(&request, now), name) {
            (Ok(()), None) => {}
            (Err(error), Some(text)) => {
                assert!(error.to_string().starts_with(text), "{error}");
                assert_eq!((error.exception_name(), error.http_status()), (INVALID, 403));
            }
            (result, wanted) => panic!("{now:?}: {result:?} instead of {wanted:?}"),
        }
    }
}

#[test]
fn a_presigned_url_is_good_until_it_expires() {
    for (expires_secs, after_secs, accepted) in [
        (Some(60), 60, true),
        (Some(60), 61, false),
        (Some(604_800), 604_800, true),
        (Some(604_800), 604_801, false),
        (None, 300, true),
        (None, 301, false),
    ] {
        let request = presigned(expires_secs);
        let result = check_at(&request, NOW.plus_secs(after_secs));
        assert_eq!(result.is_ok(), accepted, "{expires_secs:?} {after_secs} {result:?}");
        assert_eq!(check_at(&request, UnixMillis(NOW.0 - 300_000)), Ok(()));
        assert!(check_at(&request, UnixMillis(NOW.0 - 300_001)).is_err());
        let claim = request.with(parse).unwrap().unwrap();
        assert_eq!(claim.form, Form::Query { expires_secs });
    }
}

#[test]
fn every_change_to_a_presigned_url_is_refused() {
    type Change = fn(&mut Request);
    let rows: &[(&str, Change, &str)] = &[
        ("method", |r| replace(&mut r.method, "GET", "PUT"), MISMATCH),
        ("path", |r| replace(&mut r.path, "/mqtt", "/mqtt2"), MISMATCH),
        ("parameter", |r| replace(&mut r.query, "a=b", "a=c"), MISMATCH),
        ("parameter added", |r| r.query.push_str("&x=1"), MISMATCH),
        ("longer life", |r| replace(&mut r.query, "Expires=60", "Expires=600"), MISMATCH),
        ("no expiry", |r| replace(&mut r.query, "&X-Amz-Expires=60", ""), MISMATCH),
        ("date", |r| replace(&mut r.query, "T123456Z", "T123457Z"), MISMATCH),
        ("body", |r| r.body.push(b'x'), MISMATCH),
        ("unsigned payload", |r| r.query.push_str("&X-Amz-Content-Sha256=UNSIGNED-PAYLOAD"), MISMATCH),
        ("unsigned payload header", |r| r.set_header("x-amz-content-sha256", "UNSIGNED-PAYLOAD"), "must be signed"),
        ("host", |r| r.set_header("host", "elsewhere.example"), MISMATCH),
        ("a token without need", |r| r.query.push_str("&X-Amz-Security-Token=t"), "security token"),
        ("too long a life", |r| replace(&mut r.query, "Expires=60", "Expires=604801"), "between 1 and 604800"),
        ("no life", |r| replace(&mut r.query, "Expires=60", "Expires=0"), "between 1 and 604800"),
        ("negative life", |r| replace(&mut r.query, "Expires=60", "Expires=-1"), "between 1 and 604800"),
        ("parameter twice", |r| r.query.push_str("&X-Amz-Date=20250130T123456Z"), "more than once"),
        ("signature twice", |r| r.query.push_str("&X-Amz-Signature=0"), "more than once"),
        ("twice, in other words", |r| r.query.push_str("&x%2damz-expires=604800"), "more than once"),
        ("no signature", |r| replace(&mut r.query, "X-Amz-Signature", "Y"), "must include 'X-Amz-Signature'"),
        ("another algorithm", |r| replace(&mut r.query, "HMAC-SHA256", "HMAC-SHA1"), "algorithm"),
        ("not text", |r| r.query.push_str("&X-Amz-Meta=%FF"), "not UTF-8"),
    ];
    for (name, change, text) in rows {
        let (_, _, message) = refusal(presigned(Some(60)), change);
        assert!(message.contains(text), "{name}: {message}");
    }
}

#[test]
fn a_session_token_may_be_appended_after_signing_only_for_websockets() {
    let keys = Keys::new();
    for (service, accepted) in [("iotdevicegateway", true), ("iotdata", false)] {
        let mut request = presigned(Some(60));
        request.query = "a=b".to_owned();
        let url = request.with(|r| presign_url(&keys.signer(service, None), "wss", r, Some(60), NOW)).unwrap();
        request.set_url(&url);
        request.query.push_str("&X-Amz-Security-Token=token");
        let claim = request.with(parse).unwrap().unwrap();
        let expected = Expected::new(NOW, &keys.region);
        let result = request.with(|r| verify(&claim, r, &keys.secret, Some("token"), &expected));
        assert_eq!(result.is_ok(), accepted, "{service} {result:?}");
    }
}

#[test]
fn a_temporary_key_needs_its_own_token() {
    let keys = Keys::new();
    let mut request = Request::new("GET", "/things", "", &[("host", HOST)], b"");
    let added = request.with(|r| sign_headers(&keys.signer("iot", Some("s3ss10n")), r, NOW)).unwrap();
    for (name, value) in added {
        request.set_header(name, &value);
    }
    let claim = request.with(parse).unwrap().unwrap();
    let expected = Expected::new(NOW, &keys.region);
    for (token, result) in [
        (Some("s3ss10n"), Ok(())),
        (Some("s3ss10m"), Err(AuthError::UnrecognizedClient)),
        (None, Err(AuthError::UnrecognizedClient)),
    ] {
        assert_eq!(request.with(|r| verify(&claim, r, &keys.secret, token, &expected)), result, "{token:?}");
    }
    assert!(!format!("{claim:?}").contains("s3ss10n"), "a claim's debug output hides the token");
}

#[test]
fn another_secret_does_not_match() {
    let keys = Keys::new();
    let other = SecretAccessKey::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEZ").unwrap();
    for request in [signed(), presigned(None)] {
        let claim = request.with(parse).unwrap().unwrap();
        let expected = Expected::new(NOW, &keys.region);
        let result = request.with(|r| verify(&claim, r, &other, None, &expected));
        assert_eq!(result, Err(AuthError::SignatureMismatch));
    }
}

#[test]
fn the_region_check_can_be_turned_off() {
    let keys = Keys::new();
    let region = Region::new("eu-central-1").unwrap();
    let request = signed();
    let claim = request.with(parse).unwrap().unwrap();
    for (region, accepted) in [(Some(&region), false), (None, true)] {
        let expected = Expected { now: NOW, region, services: SERVICES };
        assert_eq!(request.with(|r| verify(&claim, r, &keys.secret, None, &expected)).is_ok(), accepted);
    }
}

#[test]
fn repeated_headers_are_joined_with_commas_in_the_order_received() {
    let mut request = Request::new("GET", "/things", "", &[("host", HOST), ("x-list", " b  c "), ("X-List", "a")], b"");
    sign(&mut request, "iot");
    assert_eq!(check(&request), Ok(()));
    let claim = request.with(parse).unwrap().unwrap();
    let explanation = request.with(|r| explain(&claim, r)).unwrap();
    assert!(explanation.canonical_request.contains("\nx-list:b c,a\n"), "{}", explanation.canonical_request);

    request.remove_header("x-list");
    request.set_header("x-list", "b c,a");
    assert_eq!(check(&request), Ok(()), "a list in one line means the same");
    request.set_header("x-list", "a,b c");
    assert_eq!(check(&request), Err(AuthError::SignatureMismatch));
}

#[test]
fn the_connection_header_of_an_upgrade_may_change_on_the_way() {
    let keys = Keys::new();
    let row = common::rows(include_str!("data/sdk-vectors.tsv")).find(|row| row[0] == "crt websocket").unwrap();
    for connection in ["Upgrade", "upgrade", "keep-alive, Upgrade"] {
        let headers = [("host", HOST), ("Upgrade", "websocket"), ("Connection", connection)];
        let request = Request::new("GET", &row[4], &row[5], &headers, b"");
        assert_eq!(check(&request), Ok(()), "{connection}");
    }
    let mut plain = Request::new("GET", "/things", "", &[("host", HOST), ("connection", "close")], b"");
    sign(&mut plain, "iot");
    let claim = plain.with(parse).unwrap().unwrap();
    assert!(!claim.signed_headers.contains(&"connection".to_owned()));
    assert_eq!(plain.with(|r| verify(&claim, r, &keys.secret, None, &Expected::new(NOW, &keys.region))), Ok(()));
}

#[test]
fn other_proofs_are_none_of_its_business() {
    for headers in [
        vec![("host", HOST)],
        vec![("host", HOST), ("authorization", "Bearer abc")],
        vec![("host", HOST), ("authorization", "Basic YTpi")],
        vec![("host", HOST), ("authorization", "")],
    ] {
        let request = Request::new("GET", "/mqtt", "x-amz-customauthorizer-name=a", &headers, b"");
        assert_eq!(request.with(parse), Ok(None), "{headers:?}");
    }
}

#[test]
fn the_root_key_is_recognised_and_no_other() {
    let keys = Keys::new();
    let derived = DerivedKeys::new(b"a master secret of some length").unwrap();
    let known = AccessKeys::new(RootKey { access_key_id: keys.id.clone(), secret: keys.secret.clone() }, derived);
    let expected = Expected::new(NOW, &keys.region);
    let authenticate = |request: &Request| request.with(|r| known.authenticate_signature(r, &expected));

    let (principal, claim) = authenticate(&signed()).unwrap().unwrap();
    assert_eq!(principal, Principal::RootKey { access_key_id: keys.id.clone() });
    assert_eq!(claim.service, "iotdata");
    for id in ["AKIDEXAMPLEEXAMPLF", "short"] {
        let mut request = signed();
        authorization(&mut request, KEY_ID, id);
        let error = authenticate(&request).unwrap_err();
        assert_eq!((error.exception_name(), error.http_status()), ("UnrecognizedClientException", 403));
        assert_eq!(error.to_string(), "The security token included in the request is invalid.");
    }
    let unsigned = Request::new("GET", "/things", "", &[("host", HOST)], b"");
    assert_eq!(authenticate(&unsigned), Ok(None));
}

#[test]
fn a_request_without_a_host_is_not_signed() {
    let keys = Keys::new();
    let request = Request::new("GET", "/", "", &[], b"");
    assert!(request.with(|r| sign_headers(&keys.signer("iot", None), r, NOW)).is_err());
    assert!(request.with(|r| presign_url(&keys.signer("iot", None), "https", r, None, NOW)).is_err());
    let hosted = Request::new("GET", "/", "", &[("host", HOST)], b"");
    for secs in [0, 604_801] {
        assert!(hosted.with(|r| presign_url(&keys.signer("iot", None), "https", r, Some(secs), NOW)).is_err());
    }
}

/// Text that looks like a part of a signature often enough to get past the first check.
fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,40}",
        Just("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLEEXAMPLE/20250130/us-east-1/iot/aws4_request, SignedHeaders=host;x-amz-date, Signature=".to_owned() + &"0".repeat(64)),
        "AWS4-HMAC-SHA256 (Credential|SignedHeaders|Signature|,|=|/|;| ){0,12}",
        "(&?(X-Amz-(Algorithm|Credential|Date|Expires|SignedHeaders|Signature)=(AWS4-HMAC-SHA256|host|[0-9TZ]{16}|AKIDEXAMPLEEXAMPLE/20250130/us-east-1/iot/aws4_request|%[0-9A-Fa-f]{2}))){0,7}",
        Just("20250130T123456Z".to_owned()),
        Just(HOST.to_owned()),
    ]
}

fn header_name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("authorization".to_owned()),
        Just("Host".to_owned()),
        Just("X-Amz-Date".to_owned()),
        Just("x-amz-content-sha256".to_owned()),
        Just("date".to_owned()),
        "[a-zA-Z-]{0,10}",
    ]
}

proptest! {
    #[test]
    fn no_request_panics(
        method in "[A-Z]{0,7}",
        path in fragment(),
        query in fragment(),
        headers in proptest::collection::vec((header_name(), fragment()), 0..6),
        body in proptest::collection::vec(any::<u8>(), 0..20),
        now in any::<u64>(),
    ) {
        let keys = Keys::new();
        let request = Request { method, path, query, headers, body };
        let now = UnixMillis(now);
        request.with(|r| {
            if let Ok(Some(claim)) = parse(r) {
                let _ = explain(&claim, r);
                prop_assert!(verify(&claim, r, &keys.secret, None, &Expected::new(now, &keys.region)).is_err());
            }
            let _ = sign_headers(&keys.signer("iot", Some("t")), r, now);
            let _ = presign_url(&keys.signer("iot", Some("t")), "https", r, Some(1), now);
            Ok(())
        })?;
    }

    #[test]
    fn what_is_signed_is_verified(
        method in "[A-Z]{1,7}",
        segments in proptest::collection::vec("[!-.0-~]{1,8}", 0..4),
        query in "[!-~]{0,20}",
        name in "[a-z]{1,8}",
        value in "[ -~]{0,12}",
        body in proptest::collection::vec(any::<u8>(), 0..20),
        presign in any::<bool>(),
    ) {
        prop_assume!(!segments.iter().any(|segment| segment == "." || segment == ".."));
        prop_assume!(name != "host" && name != "date");
        let keys = Keys::new();
        let path = format!("/{}", segments.join("/"));
        let mut request = Request::new(&method, &path, &query, &[("host", HOST), (&name, &value)], &body);
        let signer = keys.signer("iotdata", None);
        if presign {
            let url = request.with(|r| presign_url(&signer, "https", r, Some(1), NOW)).unwrap();
            // As a URL is split, but for the `?` that the generated path may hold.
            url[8 + HOST.len() + path.len() + 1..].clone_into(&mut request.query);
        } else {
            sign(&mut request, "iotdata");
        }
        prop_assert_eq!(check(&request), Ok(()));
        request.body.push(0);
        prop_assert_eq!(check(&request), Err(AuthError::SignatureMismatch));
    }
}
