//! MQTT 5's enhanced authentication with device keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod devices;

use device_auth::AuthError;
use device_auth::enhanced::{CHALLENGE_LIFETIME_MILLIS, Challenge, Credential, NONCE_BYTES};
use devices::{certificate, named, sign};
use iot_types::UnixMillis;
use x509::Certificate;

const NOW: UnixMillis = UnixMillis(1_738_240_496_000);
const NONCE: [u8; NONCE_BYTES] = [0xab; NONCE_BYTES];

fn challenge() -> Challenge {
    Challenge::start(&[], "IOT.example.com", "device-1", NONCE, NOW).unwrap()
}

fn answer(algorithm: u8, credential: &[u8], signature: &[u8]) -> Vec<u8> {
    let length = u16::try_from(credential.len()).unwrap().to_be_bytes();
    [&[1, algorithm], &length[..], credential, signature].concat()
}

fn refused(reason: &'static str) -> AuthError {
    AuthError::DeviceProof { what: "the authentication data", reason }
}

fn fingerprint(certificate: &Certificate) -> Vec<u8> {
    certificate.fingerprint().to_vec()
}

#[test]
fn devices_with_every_kind_of_key_answer_a_challenge() {
    for (byte, kind, algorithm) in [
        (1, "p256", "ES256"),
        (2, "p384", "ES384"),
        (3, "ed25519", "EdDSA"),
        (4, "rsa2048", "RS256"),
        (4, "rsa4096", "RS256"),
        (5, "rsa3072", "PS256"),
        (6, "p256", "ES256-DER"),
        (7, "p384", "ES384-DER"),
    ] {
        let certificate = certificate(kind);
        let id = certificate.certificate_id().unwrap();
        // what a client has to know: the challenge, its own name and the server's
        let data = challenge().data();
        let text =
            [&b"umbra-x509 v1\0\x00\x0fiot.example.com\x00\x08device-1"[..], data.strip_prefix(&[1]).unwrap()].concat();
        assert_eq!(challenge().signed_text(), text);
        let signature = sign(kind, algorithm, &text);
        for (credential, expected) in [
            (fingerprint(&certificate), Credential::Id(id.clone())),
            (certificate.der().to_vec(), Credential::Certificate(Box::new(certificate.clone()))),
        ] {
            let answer = challenge().finish(&answer(byte, &credential, &signature), NOW).unwrap();
            assert_eq!(*answer.credential(), expected);
            assert_eq!(answer.verify(&certificate), Ok(id.clone()), "{kind} {algorithm}");
        }
        for other in (0..=8).filter(|other| *other != byte) {
            let answer = challenge().finish(&answer(other, &fingerprint(&certificate), &signature), NOW);
            assert!(answer.and_then(|answer| answer.verify(&certificate)).is_err(), "{kind} {byte} as {other}");
        }
    }
}

#[test]
fn a_signature_is_good_for_one_challenge_only() {
    let certificate = certificate("ed25519");
    let data = answer(3, &fingerprint(&certificate), &sign("ed25519", "EdDSA", &challenge().signed_text()));
    let wrong = Err(refused("the signature is not the certificate's key's over this challenge"));
    for (server_name, client_id, nonce, is_good) in [
        ("iot.example.com", "device-1", NONCE, true),
        ("iot.example.com", "device-1", [0xac; NONCE_BYTES], false),
        ("iot.example.com", "device-2", NONCE, false),
        ("iot.example.com", "", NONCE, false),
        ("other.example.com", "device-1", NONCE, false),
        ("iot.example.comd", "evice-1", NONCE, false),
    ] {
        let challenge = Challenge::start(&[], server_name, client_id, nonce, NOW).unwrap();
        let result = challenge.finish(&data, NOW).unwrap().verify(&certificate);
        let expected = if is_good { certificate.certificate_id().map_err(|_| refused("")) } else { wrong.clone() };
        assert_eq!(result, expected, "{server_name} {client_id}");
    }
}

#[test]
fn the_certificate_must_be_the_one_of_the_answer() {
    let (own, same_key) = (named("by-p256-sha256"), named("expired"));
    let signature = sign("p256", "ES256", &challenge().signed_text());
    for credential in [fingerprint(&own), own.der().to_vec()] {
        let answer = challenge().finish(&answer(1, &credential, &signature), NOW).unwrap();
        assert!(answer.verify(&own).is_ok());
        assert_eq!(answer.verify(&same_key), Err(refused("it is of another certificate")));
    }
}

#[test]
fn an_answer_has_thirty_seconds_and_its_form() {
    let certificate = certificate("ed25519");
    let good = answer(3, &fingerprint(&certificate), &sign("ed25519", "EdDSA", &challenge().signed_text()));
    let last = NOW.plus_millis(CHALLENGE_LIFETIME_MILLIS);
    assert!(challenge().finish(&good, last).is_ok());
    assert_eq!(challenge().finish(&good, last.plus_millis(1)), Err(refused("the answer came too late")));
    for (data, reason) in [
        (vec![], "it is malformed"),
        (vec![1, 3, 0], "it is malformed"),
        (answer(3, &[0; 32], &[])[..35].to_vec(), "it is malformed"),
        ([&[2], &good[1..]].concat(), "it has an unknown version"),
        (answer(0, &[0; 32], &[]), "it has an unknown algorithm"),
        (answer(8, &[0; 32], &[]), "it has an unknown algorithm"),
        (answer(3, &[0; 31], &[]), "its certificate can't be read"),
        (answer(3, &[], &[]), "its certificate can't be read"),
        (vec![1; 16 * 1_024 + 1], "it is too long"),
    ] {
        assert_eq!(challenge().finish(&data, NOW), Err(refused(reason)), "{data:?}");
    }
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1;
        let result = challenge().finish(&changed, NOW).and_then(|answer| answer.verify(&certificate));
        assert!(result.is_err(), "{at}");
    }
}

#[test]
fn a_challenge_begins_without_data_and_outlives_a_sleep() {
    let early = Challenge::start(b"x", "iot.example.com", "device-1", NONCE, NOW);
    assert_eq!(early, Err(refused("CONNECT has authentication data, which this method has not")));
    assert!(Challenge::start(&[], "iot.example.com", &"x".repeat(65_535), NONCE, NOW).is_ok());
    assert!(Challenge::start(&[], "iot.example.com", &"x".repeat(65_536), NONCE, NOW).is_err());
    assert_eq!(challenge().data(), [&[1][..], &NONCE].concat());
    let stored = serde_json::to_string(&challenge()).unwrap();
    assert_eq!(serde_json::from_str::<Challenge>(&stored).unwrap(), challenge());
}
