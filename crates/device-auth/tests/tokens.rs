//! JSON Web Tokens of devices: each rule kept and broken once, with real keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod devices;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use device_auth::AuthError;
use device_auth::jwt::{CLOCK_TOLERANCE_MILLIS, DeviceToken, Expected, MAXIMUM_TOKEN_BYTES, Token};
use devices::{certificate, sign};
use iot_types::{CertificateId, UnixMillis};
use serde_json::{Value, json};

const IAT: u64 = 1_738_240_496;
const NOW: UnixMillis = UnixMillis(IAT * 1_000);
const EXPECTED: Expected<'static> = Expected { audience: "iot.example.com", client_id: Some("device-1"), now: NOW };

fn id(kind: &str) -> String {
    certificate(kind).certificate_id().unwrap().into()
}

fn claims() -> Value {
    json!({"aud": "iot.example.com", "iat": IAT, "exp": IAT + 600, "sub": "device-1"})
}

fn text(header: &str, claims: &str) -> String {
    format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims))
}

fn signed(kind: &str, algorithm: &str, claims: &Value) -> String {
    let header = json!({"alg": algorithm, "typ": "JWT", "kid": id(kind)});
    let text = text(&header.to_string(), &claims.to_string());
    let signature = sign(kind, algorithm, text.as_bytes());
    format!("{text}.{}", BASE64URL.encode(signature))
}

fn refused(reason: &'static str) -> AuthError {
    AuthError::DeviceProof { what: "the token", reason }
}

fn verified(token: &str, kind: &str, expected: &Expected<'_>) -> Result<DeviceToken, AuthError> {
    Token::parse(token)?.verify(&certificate(kind), expected)
}

#[test]
fn the_audience_is_the_host_without_its_port() {
    for (host, name) in [
        ("iot.example.com", "iot.example.com"),
        ("iot.example.com:8443", "iot.example.com"),
        ("127.0.0.1:8787", "127.0.0.1"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("[2001:db8::1]:443", "[2001:db8::1]"),
        ("", ""),
    ] {
        assert_eq!(device_auth::jwt::without_port(host), name, "{host}");
    }
}

#[test]
fn tokens_of_every_kind_of_key_are_verified() {
    for (kind, algorithm) in [
        ("p256", "ES256"),
        ("p384", "ES384"),
        ("ed25519", "EdDSA"),
        ("rsa2048", "RS256"),
        ("rsa3072", "RS256"),
        ("rsa4096", "RS256"),
        ("rsa2048", "PS256"),
        ("rsa4096", "PS256"),
    ] {
        let token = signed(kind, algorithm, &claims());
        assert!(token.len() < MAXIMUM_TOKEN_BYTES / 2, "room for claims of their own: {}", token.len());
        assert_eq!(Token::parse(&token).unwrap().certificate_id().as_str(), id(kind));
        let expected = DeviceToken {
            certificate_id: CertificateId::new(id(kind)).unwrap(),
            expires_at: NOW.plus_secs(600),
            once: None,
        };
        assert_eq!(verified(&token, kind, &EXPECTED), Ok(expected), "{kind} {algorithm}");
        // the claims of one, the signature of another
        let other =
            signed(kind, algorithm, &json!({"aud": "iot.example.com", "iat": IAT, "exp": IAT + 601, "sub": "x"}));
        let mixed = format!("{}.{}", token.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
        let wrong = refused("the signature is not the certificate's key's");
        assert_eq!(verified(&mixed, kind, &EXPECTED), Err(wrong), "{kind} {algorithm}");
    }
}

#[test]
fn the_algorithm_must_be_the_keys() {
    let token = signed("p256", "ES256", &claims());
    let (_, rest) = token.split_once('.').unwrap();
    for algorithm in ["ES384", "EdDSA", "RS256", "PS256"] {
        let header = json!({"alg": algorithm, "kid": id("p256")}).to_string();
        let token = format!("{}.{rest}", BASE64URL.encode(header));
        let wrong = refused("its algorithm is not one of the certificate's key");
        assert_eq!(verified(&token, "p256", &EXPECTED), Err(wrong), "{algorithm}");
    }
    for header in [
        json!({"alg": "none", "kid": id("p256")}),
        json!({"alg": "HS256", "kid": id("p256")}),
        json!({"alg": "es256", "kid": id("p256")}),
        json!({"alg": ["ES256"], "kid": id("p256")}),
        json!({"kid": id("p256")}),
        json!({"alg": "ES256"}),
    ] {
        let token = format!("{}.{rest}", BASE64URL.encode(header.to_string()));
        let wrong = refused("its header lacks `kid`, or an algorithm that is accepted");
        assert_eq!(Token::parse(&token).err(), Some(wrong), "{header}");
    }
    for (header, reason) in [
        (json!({"alg": "ES256", "kid": "device-1"}), "its `kid` is not a certificateId"),
        (json!({"alg": "ES256", "kid": id("p256"), "typ": "at+jwt"}), "its `typ` is not `JWT`"),
        (json!({"alg": "ES256", "kid": id("p256"), "crit": ["b64"], "b64": false}), "its header demands extensions"),
    ] {
        let token = format!("{}.{rest}", BASE64URL.encode(header.to_string()));
        assert_eq!(Token::parse(&token).err(), Some(refused(reason)), "{header}");
    }
}

#[test]
fn a_token_is_of_the_certificate_that_it_names() {
    let token = signed("p256", "ES256", &claims());
    let other = refused("it is of another certificate");
    assert_eq!(verified(&token, "p384", &EXPECTED), Err(other.clone()));
    // the same key in another certificate
    let same_key = Token::parse(&token).unwrap().verify(&devices::named("expired"), &EXPECTED);
    assert_eq!(same_key, Err(other));
}

#[test]
fn each_claim_is_held_against_what_is_expected() {
    let base = claims();
    let with = |changes: Value| {
        let mut claims = base.clone();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let hour = 3_600;
    for (changes, expected) in [
        (json!({}), Ok(())),
        (json!({"own": {"claims": [1, 2, 3]}}), Ok(())),
        (json!({"aud": "IOT.example.com"}), Ok(())),
        (json!({"aud": ["other.example.com", "iot.example.com"]}), Ok(())),
        (json!({"aud": "other.example.com"}), Err("its `aud` is another server")),
        (json!({"aud": []}), Err("its `aud` is another server")),
        (json!({"sub": id("ed25519")}), Ok(())),
        (json!({"sub": "device-2"}), Err("its `sub` is neither the certificateId nor the client identifier")),
        (json!({"sub": id("p256")}), Err("its `sub` is neither the certificateId nor the client identifier")),
        (json!({"exp": IAT + hour}), Ok(())),
        (json!({"exp": IAT + hour + 1}), Err("it is valid for more than an hour")),
        (json!({"exp": IAT as f64 + 0.5}), Ok(())),
        (json!({"exp": IAT}), Err("its `exp` is not after its `iat`")),
        (json!({"exp": 0}), Err("its `exp` is not after its `iat`")),
        (json!({"exp": -1}), Err("a time in it is none")),
        (json!({"exp": 1e300}), Err("a time in it is none")),
        (json!({"iat": IAT + 300, "exp": IAT + 900}), Ok(())),
        (json!({"iat": IAT + 301, "exp": IAT + 900}), Err("it is not valid yet")),
        (json!({"nbf": IAT + 300}), Ok(())),
        (json!({"nbf": IAT + 301}), Err("it is not valid yet")),
        (json!({"nbf": 0}), Ok(())),
        (json!({"nbf": 0, "iat": IAT + 301, "exp": IAT + 900}), Err("it is not valid yet")),
        (json!({"iat": IAT - 600, "exp": IAT - 299}), Ok(())),
        (json!({"iat": IAT - 600, "exp": IAT - 300}), Err("it has expired")),
    ] {
        let token = signed("ed25519", "EdDSA", &with(changes.clone()));
        let result = verified(&token, "ed25519", &EXPECTED).map(drop);
        assert_eq!(result, expected.map_err(refused), "{changes}");
    }
    let of_certificate = signed("ed25519", "EdDSA", &with(json!({"sub": id("ed25519")})));
    let https = Expected { client_id: None, ..EXPECTED };
    assert!(verified(&of_certificate, "ed25519", &https).is_ok());
    assert!(verified(&signed("ed25519", "EdDSA", &base), "ed25519", &https).is_err(), "it is of a client");
}

#[test]
fn what_is_missing_or_malformed_is_refused() {
    let token = signed("ed25519", "EdDSA", &claims());
    let parts: Vec<&str> = token.split('.').collect();
    let lacks = refused("its claims lack one of `aud`, `exp`, `iat` and `sub`, or one is malformed");
    let mut many = claims();
    many["aud"] = json!(vec!["a"; 9]);
    let long = json!({"aud": "a", "padding": "x".repeat(MAXIMUM_TOKEN_BYTES)});
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    for (claims, error) in [
        (r#"{"exp":1,"iat":0,"sub":"a"}"#.to_owned(), lacks.clone()),
        (r#"{"aud":"a","iat":0,"sub":"a"}"#.to_owned(), lacks.clone()),
        (r#"{"aud":"a","exp":1,"sub":"a"}"#.to_owned(), lacks.clone()),
        (r#"{"aud":"a","exp":1,"iat":0}"#.to_owned(), lacks.clone()),
        (r#"{"aud":"a","exp":"1","iat":0,"sub":"a"}"#.to_owned(), lacks.clone()),
        (r#"{"aud":"a","exp":1,"exp":2,"iat":0,"sub":"a"}"#.to_owned(), lacks.clone()),
        (r#"{"aud":{},"exp":1,"iat":0,"sub":"a"}"#.to_owned(), lacks.clone()),
        (deep, lacks.clone()),
        ("[]".to_owned(), lacks.clone()),
        (String::new(), lacks),
        (many.to_string(), refused("it is for too many audiences")),
        (long.to_string(), refused("it is too long")),
    ] {
        let text = format!("{}.{}.{}", parts[0], BASE64URL.encode(&claims), parts[2]);
        assert_eq!(Token::parse(&text).err(), Some(error), "{}", &claims[..claims.len().min(80)]);
    }
    for text in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}."),
        format!("{token}.x"),
        format!("{token}="),
        format!(" {token}"),
        token.replace('.', ","),
    ] {
        assert!(Token::parse(&text).is_err(), "{text}");
    }
}

#[test]
fn a_token_with_an_identifier_is_good_for_one_use_that_its_identifier_names() {
    let token = |claims: &Value| verified(&signed("ed25519", "EdDSA", claims), "ed25519", &EXPECTED).unwrap();
    assert_eq!(token(&claims()).use_of_it(), None, "without an identifier it is good until it expires");
    let with_id = |jti: &str, exp: u64| {
        let mut claims = claims();
        claims["jti"] = json!(jti);
        claims["exp"] = json!(exp);
        token(&claims).use_of_it().unwrap()
    };
    let (first, until) = with_id("first", IAT + 600);
    assert_eq!(until, UnixMillis((IAT + 600) * 1_000 + CLOCK_TOLERANCE_MILLIS));
    assert_eq!(with_id("first", IAT + 700).0, first, "another token with the same identifier");
    assert_ne!(with_id("second", IAT + 600).0, first);
    assert_eq!(first.len(), 64);
}
