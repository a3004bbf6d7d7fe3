//! How clients ask for an authorizer, and signed tokens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use authorizer::{
    CheckedToken, Invocation, InvocationError, MAXIMUM_INVOCATION_BYTES, SigningKeyError, SigningKeys, SigningPolicy,
    TokenError, check_token,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn invocation(headers: &[(&str, &str)], query: &str, user_name: &str) -> Invocation {
    let http = Invocation::from_http(headers.iter().copied(), query).unwrap();
    http.with_user_name(user_name).unwrap()
}

/// Headers, query and user name, and the name, signature and token (under `Token-Key`) in them.
type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str, Option<&'a str>, Option<&'a str>, Option<&'a str>);

#[test]
fn name_signature_and_token_come_in_headers_a_query_or_the_user_name() {
    let rows: &[Row<'_>] = &[
        (&[], "", "", None, None, None),
        (&[("accept", "x")], "qos=1", "user", None, None, None),
        // AWS's example requests of HTTPS
        (
            &[("x-amz-customauthorizer-signature", "c2ln"), ("Token-Key", "t"), ("x-amz-customauthorizer-name", "A")],
            "qos=1",
            "",
            Some("A"),
            Some("c2ln"),
            Some("t"),
        ),
        (&[], "qos=1&x-amz-customauthorizer-signature=c2ln&Token-Key=t", "", None, Some("c2ln"), Some("t")),
        // and of MQTT
        (
            &[],
            "",
            "user?x-amz-customauthorizer-name=A&x-amz-customauthorizer-signature=c2ln&Token-Key=t",
            Some("A"),
            Some("c2ln"),
            Some("t"),
        ),
        (&[], "", "?Token-Key=t", None, None, Some("t")),
        (&[], "", "a?b?Token-Key=t", None, None, None),
        (&[], "", "x-amz-customauthorizer-name=A", None, None, None),
        // header names have no case, parameters have
        (&[("X-Amz-CustomAuthorizer-Name", "A"), ("TOKEN-KEY", "t")], "", "", Some("A"), None, Some("t")),
        (&[], "X-Amz-CustomAuthorizer-Name=A&token-key=t", "", None, None, None),
        // percent-decoded, and a plus stays one
        (
            &[],
            "",
            "u?%78-amz-customauthorizer-signature=a%2Bb%2F%3D&Token-Key=a+b%20c",
            None,
            Some("a+b/="),
            Some("a+b c"),
        ),
        (&[("token-key", "a%20b")], "", "", None, None, Some("a%20b")),
        (&[], "Token-Key=a=b%", "", None, None, Some("a=b%")),
        (&[], "Token-Key=%ff", "", None, None, Some("\u{fffd}")),
        // the first that is not empty counts
        (&[("token-key", "h")], "Token-Key=q", "?Token-Key=u", None, None, Some("h")),
        (&[], "Token-Key=q&Token-Key=r", "?Token-Key=u", None, None, Some("q")),
        (&[("token-key", "")], "Token-Key=&Token-Key", "?Token-Key=u", None, None, Some("u")),
        (&[("token-key", "a"), ("Token-Key", "b")], "", "", None, None, Some("a, b")),
    ];
    for (headers, query, user_name, name, signature, token) in rows {
        let asked = invocation(headers, query, user_name);
        let found = (asked.authorizer_name(), asked.signature(), asked.token("Token-Key"));
        let wanted = (name.map(str::to_owned), signature.map(str::to_owned), token.map(str::to_owned));
        assert_eq!(found, wanted, "{headers:?} {query} {user_name}");
        assert_eq!(asked.is_explicit(), name.is_some() || signature.is_some());
    }
}

#[test]
fn the_function_is_told_all_headers_and_the_query() {
    let asked = invocation(&[("B", "1"), ("a", "2"), ("b", "3")], "x=%20&y", "user?z=1");
    let headers: Vec<_> = asked.headers().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(headers, [("a", "2"), ("b", "1, 3")]);
    assert_eq!(asked.query_string(), "?x=%20&y");
    assert_eq!(invocation(&[], "", "").query_string(), "");
}

#[test]
fn what_a_client_sends_along_is_bounded_wherever_it_is() {
    let most = MAXIMUM_INVOCATION_BYTES;
    let read = |header: usize, query: usize, user_name: usize| {
        let value = "v".repeat(header);
        let headers = (header > 0).then_some(("n", value.as_str()));
        Invocation::from_http(headers, &"q".repeat(query))?.with_user_name(&format!("user?{}", "u".repeat(user_name)))
    };
    for (header, query, user_name, is_good) in [
        (most - 1, 0, 0, true),
        (most, 0, 0, false),
        (0, most, 0, true),
        (0, most + 1, 0, false),
        (0, 0, most, true),
        (0, 0, most + 1, false),
        (1_000, 1_000, most - 2_001, true),
        (1_000, 1_000, most - 2_000, false),
        (0, 0, 1 << 20, false),
    ] {
        let refused = read(header, query, user_name).err();
        assert_eq!(refused, (!is_good).then_some(InvocationError::TooLarge), "{header} {query} {user_name}");
    }
    // commas between repeated headers count, too
    let many = std::iter::repeat_n(("a", ""), most);
    assert_eq!(Invocation::from_http(many, ""), Err(InvocationError::TooLarge));
}

#[test]
fn what_was_stored_is_read_again_and_bounded_again() {
    let asked = invocation(&[("a", "b")], "c=d", "?e=f");
    let stored = serde_json::to_string(&asked).unwrap();
    assert_eq!(stored, r#"{"headers":{"a":"b"},"query":"c=d","user_name_query":"e=f"}"#);
    assert_eq!(serde_json::from_str::<Invocation>(&stored).unwrap(), asked);
    let forged = stored.replace("c=d", &"x".repeat(MAXIMUM_INVOCATION_BYTES));
    assert!(serde_json::from_str::<Invocation>(&forged).is_err());
}

const RSA2048: &str = include_str!("../../x509/tests/data/rsa2048.pub");
const RSA3072: &str = include_str!("../../x509/tests/data/rsa3072.pub");
const RSA4096: &str = include_str!("../../x509/tests/data/rsa4096.pub");
const P256: &str = include_str!("../../x509/tests/data/p256.pub");
const ED25519: &str = include_str!("../../x509/tests/data/ed25519.pub");
const CERTIFICATE: &str = include_str!("../../x509/tests/data/device-rsa2048.pem");
/// What openssl has signed.
const TOKEN: &str = include_str!("../../x509/tests/data/message");
const BY_2048: &[u8] = include_bytes!("../../x509/tests/data/message.rsa2048.sha256.sig");
const BY_3072: &[u8] = include_bytes!("../../x509/tests/data/message.rsa3072.sha256.sig");
const BY_4096: &[u8] = include_bytes!("../../x509/tests/data/message.rsa4096.sha256.sig");
const BY_2048_SHA512: &[u8] = include_bytes!("../../x509/tests/data/message.rsa2048.sha512.sig");
const BY_2048_PSS: &[u8] = include_bytes!("../../x509/tests/data/message.rsa2048.pss-sha256.sig");

fn keys(pems: &[&str]) -> BTreeMap<String, String> {
    pems.iter().enumerate().map(|(n, pem)| (format!("Key:{n}_-"), (*pem).to_owned())).collect()
}

fn required(pems: &[&str]) -> SigningPolicy {
    SigningPolicy::Required(SigningKeys::parse(&keys(pems)).unwrap())
}

#[test]
fn a_token_must_be_signed_by_one_of_the_keys() {
    let encoded = |signature: &[u8]| STANDARD.encode(signature);
    let percent = |text: String| text.replace('+', "%2B").replace('/', "%2f").replace('=', "%3D");
    let both = [RSA2048, RSA4096];
    let good = Ok(CheckedToken { token: Some(TOKEN.to_owned()), is_signature_verified: true });
    type Row<'a> = (&'a [&'a str], Option<&'a str>, Option<String>, Result<CheckedToken, TokenError>);
    let rows: &[Row<'_>] = &[
        (&both, Some(TOKEN), Some(encoded(BY_2048)), good.clone()),
        (&both, Some(TOKEN), Some(encoded(BY_4096)), good.clone()),
        (&[RSA3072], Some(TOKEN), Some(encoded(BY_3072)), good.clone()),
        (&both, Some(TOKEN), Some(percent(encoded(BY_2048))), good.clone()),
        (&both, Some(TOKEN), Some(STANDARD_NO_PAD.encode(BY_2048)), good),
        (&both, Some(TOKEN), Some(encoded(BY_3072)), Err(TokenError::Signature)),
        (&[RSA4096], Some(TOKEN), Some(encoded(BY_2048)), Err(TokenError::Signature)),
        (&both, Some(TOKEN), Some(encoded(BY_2048_SHA512)), Err(TokenError::Signature)),
        (&both, Some(TOKEN), Some(encoded(BY_2048_PSS)), Err(TokenError::Signature)),
        (&both, Some("another token"), Some(encoded(BY_2048)), Err(TokenError::Signature)),
        (&both, Some(""), Some(encoded(BY_2048)), Err(TokenError::Signature)),
        (&both, Some(TOKEN), Some("AAAA".to_owned()), Err(TokenError::Signature)),
        (&both, Some(TOKEN), Some(String::new()), Err(TokenError::Signature)),
        (&both, Some(TOKEN), Some("not Base64".to_owned()), Err(TokenError::SignatureEncoding)),
        (&both, Some(TOKEN), Some("%ff".to_owned()), Err(TokenError::SignatureEncoding)),
        (&both, Some(TOKEN), None, Err(TokenError::NoSignature)),
        (&both, None, Some(encoded(BY_2048)), Err(TokenError::NoToken)),
        (&both, None, None, Err(TokenError::NoToken)),
    ];
    for (pems, token, signature, expected) in rows {
        let token = token.map(str::to_owned);
        assert_eq!(&check_token(token, signature.as_deref(), &required(pems)), expected, "{signature:?}");
    }
}

#[test]
fn without_signing_a_token_is_passed_on_as_it_is() {
    for token in [None, Some("t".to_owned())] {
        let checked = check_token(token.clone(), Some("nonsense"), &SigningPolicy::Disabled);
        assert_eq!(checked, Ok(CheckedToken { token, is_signature_verified: false }));
    }
}

#[test]
fn signing_keys_are_one_or_two_of_rsa() {
    for pems in [&[RSA2048][..], &[RSA3072], &[RSA4096], &[RSA2048, RSA4096], &[RSA2048, RSA2048]] {
        assert!(SigningKeys::parse(&keys(pems)).is_ok());
    }
    let refused = |pems: &[&str]| SigningKeys::parse(&keys(pems)).unwrap_err();
    assert_eq!(refused(&[]), SigningKeyError::Count);
    assert_eq!(refused(&[RSA2048, RSA3072, RSA4096]), SigningKeyError::Count);
    for pem in [P256, ED25519] {
        assert_eq!(refused(&[RSA2048, pem]), SigningKeyError::Algorithm { name: "Key:1_-".to_owned() });
    }
    for pem in ["", "PEM", CERTIFICATE, &RSA2048.replace("MII", "MIJ")] {
        assert!(matches!(refused(&[pem]), SigningKeyError::Key { .. }), "{pem}");
    }
    assert!(matches!(refused(&[&format!("{RSA2048}{}", "\n".repeat(5_120))]), SigningKeyError::Length { .. }));
    let named = |name: &str| SigningKeys::parse(&BTreeMap::from([(name.to_owned(), RSA2048.to_owned())]));
    assert!(named(&"x".repeat(128)).is_ok());
    for name in ["", "a b", "ä", &"x".repeat(129)] {
        assert_eq!(named(name), Err(SigningKeyError::Name), "{name}");
    }
}

proptest! {
    #[test]
    fn nothing_that_a_client_sends_panics(
        headers in proptest::collection::vec(("\\PC{0,20}", "\\PC{0,40}"), 0..6),
        query in "[a-c?&=%+0-9x\\PC]{0,60}",
        user_name in "[a-c?&=%+0-9x\\PC]{0,60}",
        key in "\\PC{0,3}",
        signature in "[A-Za-z0-9+/=%\\PC]{0,60}",
    ) {
        let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let asked = Invocation::from_http(pairs, &query).unwrap().with_user_name(&user_name).unwrap();
        let _ = (asked.authorizer_name(), asked.signature(), asked.token(&key), asked.is_explicit());
        prop_assert!(check_token(Some(key), Some(&signature), &required(&[RSA2048])).is_err());
    }
}
