//! AWS's own test suite and requests as AWS's own clients sign them (tests/data/README.md).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Keys, NOW, Request, rows};
use device_auth::AuthError;
use device_auth::sigv4::{Expected, Form, explain, parse, presign_url, sign_headers, verify};
use iot_types::UnixMillis;

/// 2015-08-30T12:36:00Z.
const SUITE_NOW: UnixMillis = UnixMillis(1_440_938_160_000);

/// Header lines of the suite may go on in the next line, which begins with white space.
fn suite_headers(cell: &str) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in cell.split('\n') {
        let (name, value) = line.split_once(':').unwrap();
        headers.push((common::unescape(name), common::unescape(value)));
    }
    headers
}

#[test]
fn the_aws_suite_is_canonicalised_signed_and_verified() {
    let keys = Keys::new();
    let mut cases = 0;
    for row in rows(include_str!("data/aws-sigv4-suite.tsv")) {
        let [name, method, target, headers, body, canonical, to_sign, authorization] = row.as_slice() else {
            panic!("{row:?}");
        };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut request = Request::new(method, path, query, &[], body.as_bytes());
        request.headers = suite_headers(headers);

        // The suite tells the session token to the signer in another file; the canonical request has it too.
        let token = canonical.lines().find_map(|line| line.strip_prefix("x-amz-security-token:"));
        let signer = keys.signer("service", token);
        let added = request.with(|request| sign_headers(&signer, request, SUITE_NOW)).unwrap();
        // The suite's key identifier is shorter than those of IAM. No signature covers it.
        let authorization = authorization.replace("AKIDEXAMPLE/", &format!("{}/", common::KEY_ID));
        assert_eq!(added.last().unwrap(), &("authorization", authorization), "{name}");
        for (name, value) in added {
            request.set_header(name, &value);
        }

        let claim = request.with(parse).unwrap().unwrap();
        let explanation = request.with(|request| explain(&claim, request)).unwrap();
        assert_eq!(&explanation.canonical_request, canonical, "{name}");
        assert_eq!(&explanation.string_to_sign, to_sign, "{name}");

        let expected = Expected { services: &["service"], ..Expected::new(SUITE_NOW, &keys.region) };
        let result = request.with(|request| verify(&claim, request, &keys.secret, token, &expected));
        let has_normal_path =
            !name.starts_with("normalize-path/get-slash") && !name.starts_with("normalize-path/get-relative");
        if has_normal_path {
            assert_eq!(result, Ok(()), "{name}");
        } else {
            assert!(matches!(result, Err(AuthError::InvalidSignature { .. })), "{name} {result:?}");
        }
        cases += 1;
    }
    assert_eq!(cases, 34);
}

#[test]
fn requests_signed_by_aws_clients_are_accepted_and_signed_alike() {
    let keys = Keys::new();
    let (mut cases, mut signed_alike) = (0, 0);
    for row in rows(include_str!("data/sdk-vectors.tsv")) {
        let [name, service, token, method, path, query, headers, body] = row.as_slice() else {
            panic!("{row:?}");
        };
        let token = (!token.is_empty()).then_some(token.as_str());
        let mut request = Request::new(method, path, query, &[], body.as_bytes());
        request.headers =
            headers.split('\n').map(|line| line.split_once(':').unwrap()).map(|(n, v)| (n.into(), v.into())).collect();
        let claim = request.with(parse).unwrap().unwrap();
        assert_eq!(&claim.service, service, "{name}");

        let expected = Expected::new(NOW, &keys.region);
        let check = |request: &Request, claim: &_, token| {
            request.with(|request| verify(claim, request, &keys.secret, token, &expected))
        };
        assert_eq!(check(&request, &claim, token), Ok(()), "{name}");
        assert_eq!(check(&request, &claim, Some("another token")), Err(AuthError::UnrecognizedClient), "{name}");

        // Our own signer agrees with every client that signs what it signs.
        let signer = keys.signer(service, token);
        let differs = ["crt", "botocore date header", "token signed", "hoisted"];
        if !differs.iter().any(|part| name.contains(part)) {
            let mut again = request.clone();
            again.headers.retain(|(name, _)| claim.signed_headers.contains(&name.to_ascii_lowercase()));
            match claim.form {
                Form::Header => {
                    let added = again.with(|r| sign_headers(&signer, r, NOW)).unwrap();
                    assert_eq!(added.last().unwrap().1, request.header("authorization"), "{name}");
                }
                Form::Query { expires_secs } => {
                    query.split("X-Amz-").next().unwrap().trim_end_matches('&').clone_into(&mut again.query);
                    let url = again.with(|r| presign_url(&signer, "wss", r, expires_secs, NOW)).unwrap();
                    again.set_url(&url);
                    assert_eq!(again.with(parse).unwrap().unwrap(), claim, "{name}");
                }
            }
            signed_alike += 1;
        }
        cases += 1;
    }
    assert_eq!((cases, signed_alike), (63, 55));
}
