//! The rules of RFC 5280 between certificates, each broken once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{bytes, certificate, text};
use iot_types::UnixMillis;
use x509::*;

/// 2026-01-01.
const NOW: UnixMillis = UnixMillis(1_767_225_600_000);

#[test]
fn an_issuer_is_recognized_by_signatures_of_every_kind() {
    for (name, issuer) in [
        ("by-rsa-sha256", "root-rsa2048"),
        ("by-rsa-sha384", "root-rsa2048"),
        ("by-rsa-sha512", "root-rsa2048"),
        ("by-rsa4096-sha512", "root-rsa4096"),
        ("by-pss-sha256", "root-rsa2048"),
        ("by-pss-sha384", "root-rsa2048"),
        ("by-pss-sha512", "root-rsa2048"),
        ("by-p256-sha256", "root-p256"),
        ("by-p256-sha384", "root-p256"),
        ("by-p256-sha512", "root-p256"),
        ("by-p384-sha256", "root-p384"),
        ("by-p384-sha384", "root-p384"),
        ("by-p384-sha512", "root-p384"),
        ("by-ed25519", "root-ed25519"),
        ("device-rsa4096", "root-p256"),
        ("device-ed25519", "root-p256"),
        ("aws", "aws-ca"),
    ] {
        let (certificate, issuer) = (certificate(name), certificate(issuer));
        assert_eq!(certificate.verify_issued_by(&issuer), Ok(()), "{name}");
        assert_eq!(issuer.verify_issued_by(&issuer), Ok(()), "{name}: signed by itself");
        // the last byte of what is signed, and of the signature
        let der = certificate.der();
        for at in [der.len() - certificate.signature().len() - 40, der.len() - 1] {
            let mut changed = der.to_vec();
            changed[at] ^= 1;
            if let Ok(changed) = Certificate::from_der(&changed) {
                assert!(changed.verify_issued_by(&issuer).is_err(), "{name} {at}");
            }
        }
    }
}

#[test]
fn each_rule_between_a_certificate_and_its_issuer_is_kept() {
    for (name, issuer, expected) in [
        ("device-p256", "root-p256", Ok(())),
        ("device-p256", "root-respelled", Ok(())),
        ("below-no-key-usage", "ca-no-key-usage", Ok(())),
        ("unknown", "root-p256", Ok(())),
        ("policies", "root-p256", Ok(())),
        ("device-p256", "root-p384", Err(Rule::IssuerName)),
        ("device-p256", "device-p256", Err(Rule::IssuerName)),
        ("device-p256", "root-impostor", Err(Rule::AuthorityKeyIdentifier)),
        ("serial-zero", "root-impostor", Err(Rule::Signature)),
        ("below-device", "device-p384", Err(Rule::NotAnAuthority)),
        ("below-no-constraints", "ca-no-constraints", Err(Rule::NotAnAuthority)),
        ("below-ca-false", "ca-ca-false", Err(Rule::NotAnAuthority)),
        ("below-no-cert-sign", "ca-no-cert-sign", Err(Rule::KeyCertSign)),
        ("below-name-constraints", "ca-name-constraints", Err(Rule::CriticalExtension)),
        ("unknown-critical", "root-p256", Err(Rule::CriticalExtension)),
    ] {
        let result = certificate(name).verify_issued_by(&certificate(issuer));
        assert_eq!(result, expected.map_err(Error::Refused), "{name} of {issuer}");
    }
}

#[test]
fn both_ends_of_a_validity_belong_to_it() {
    let certificate = certificate("device-p256");
    let (from, to) = (certificate.not_before(), certificate.not_after());
    for (now, expected) in [
        (UnixMillis(0), Err(Rule::NotYetValid)),
        (UnixMillis(from.0 - 1), Err(Rule::NotYetValid)),
        (from, Ok(())),
        (NOW, Ok(())),
        (to, Ok(())),
        (to.plus_millis(999), Ok(())),
        (to.plus_millis(1_000), Err(Rule::Expired)),
        (UnixMillis(u64::MAX), Err(Rule::Expired)),
    ] {
        assert_eq!(certificate.check_validity(now), expected.map_err(Error::Refused), "{now:?}");
    }
}

#[test]
fn a_chain_is_valid_link_by_link_and_as_a_whole() {
    for (chain, expected) in [
        (vec!["below-intermediate", "intermediate", "root-p256"], Ok(())),
        (vec!["below-intermediate", "intermediate"], Ok(())),
        (vec!["below-intermediate"], Ok(())),
        (vec!["sub", "intermediate", "root-p256"], Ok(())),
        (vec!["root-p256", "root-respelled"], Ok(())),
        (vec!["device-p256", "root-p256", "root-p256", "root-p256"], Ok(())),
        (vec!["below-sub", "sub", "intermediate", "root-p256"], Err(Rule::PathLength)),
        (vec!["below-sub", "sub", "intermediate"], Err(Rule::PathLength)),
        (vec!["below-sub", "sub"], Ok(())),
        (vec!["below-intermediate", "root-p256"], Err(Rule::IssuerName)),
        (vec!["intermediate", "below-intermediate", "root-p256"], Err(Rule::IssuerName)),
        (vec!["expired", "root-p256"], Err(Rule::Expired)),
        (vec!["future", "root-p256"], Err(Rule::NotYetValid)),
        (vec!["unknown-critical"], Err(Rule::CriticalExtension)),
        (vec![], Err(Rule::ChainLength)),
        (vec!["root-p256"; MAXIMUM_CHAIN], Ok(())),
        (vec!["root-p256"; MAXIMUM_CHAIN + 1], Err(Rule::ChainLength)),
    ] {
        let certificates: Vec<Certificate> = chain.iter().copied().map(certificate).collect();
        assert_eq!(verify_chain(&certificates, NOW), expected.map_err(Error::Refused), "{chain:?}");
    }
    let chain = Certificate::chain_from_pem(&text("chain.pem")).unwrap();
    assert_eq!(verify_chain(&chain, NOW), Ok(()));
    assert_eq!(verify_chain(&chain, UnixMillis(0)), Err(Error::Refused(Rule::NotYetValid)));
}

#[test]
fn every_refusal_names_its_section() {
    for rule in [
        Rule::Version,
        Rule::AlgorithmMismatch,
        Rule::DuplicateExtension,
        Rule::AuthorityKeyIdentifier,
        Rule::Signature,
        Rule::NotYetValid,
        Rule::Expired,
        Rule::IssuerName,
        Rule::NotAnAuthority,
        Rule::PathLength,
        Rule::KeyCertSign,
        Rule::CriticalExtension,
        Rule::ChainLength,
    ] {
        assert!(Error::Refused(rule).to_string().contains("(RFC 5280 section"), "{rule}");
    }
}

#[test]
fn messages_are_verified_with_the_algorithms_of_the_key() {
    use SignatureAlgorithm::{EcdsaDer, Ed25519, RsaPkcs1, RsaPss};
    let message = bytes("message");
    let hashes = [("sha256", Hash::Sha256, 32), ("sha384", Hash::Sha384, 48), ("sha512", Hash::Sha512, 64)];
    let mut rows = vec![("ed25519", "message.ed25519.sig".to_owned(), Ed25519)];
    for (md, hash, salt_bytes) in hashes {
        for key in ["rsa2048", "rsa3072", "rsa4096"] {
            rows.push((key, format!("message.{key}.{md}.sig"), RsaPkcs1(hash)));
        }
        for key in ["p256", "p384"] {
            rows.push((key, format!("message.{key}.{md}.sig"), EcdsaDer(hash)));
        }
        rows.push(("rsa2048", format!("message.rsa2048.pss-{md}.sig"), RsaPss { hash, salt_bytes }));
    }
    let algorithms: Vec<SignatureAlgorithm> = hashes
        .iter()
        .flat_map(|(_, hash, salt_bytes)| {
            let (hash, salt_bytes) = (*hash, *salt_bytes);
            [RsaPkcs1(hash), RsaPss { hash, salt_bytes }, EcdsaDer(hash), SignatureAlgorithm::EcdsaRaw(hash)]
        })
        .chain([Ed25519])
        .collect();
    for (key, file, algorithm) in rows {
        let key = PublicKey::from_pem(&text(&format!("{key}.pub"))).unwrap();
        let signature = bytes(&file);
        for other in &algorithms {
            let expected = if *other == algorithm { Ok(()) } else { Err(Error::Signature) };
            assert_eq!(key.verify(*other, &message, &signature), expected, "{file} as {other:?}");
        }
        assert!(key.verify(algorithm, b"another message", &signature).is_err(), "{file}");
        assert!(key.verify(algorithm, &message, &signature[1..]).is_err(), "{file}");
        assert!(key.verify(algorithm, &message, &[signature.as_slice(), &[0]].concat()).is_err(), "{file}");
        assert!(key.verify(algorithm, &message, &[]).is_err(), "{file}");
        let mut changed = signature.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(key.verify(algorithm, &message, &changed).is_err(), "{file}");
    }
}

#[test]
fn signatures_of_ecdsa_are_read_in_both_forms() {
    let message = bytes("message");
    for (name, half) in [("p256", 32), ("p384", 48)] {
        let key = PublicKey::from_pem(&text(&format!("{name}.pub"))).unwrap();
        let der = bytes(&format!("message.{name}.sha256.sig"));
        // SEQUENCE { INTEGER r, INTEGER s }, all shorter than 128 bytes
        let r_length = usize::from(der[3]);
        let (r, s) = (&der[4..4 + r_length], &der[6 + r_length..]);
        let raw: Vec<u8> = [r, s]
            .into_iter()
            .flat_map(|number| {
                let number: Vec<u8> = number.iter().copied().skip_while(|byte| *byte == 0).collect();
                [vec![0; half - number.len()], number].concat()
            })
            .collect();
        let algorithm = SignatureAlgorithm::EcdsaRaw(Hash::Sha256);
        assert_eq!(key.verify(algorithm, &message, &raw), Ok(()), "{name}");
        assert_eq!(key.verify(algorithm, &message, &vec![0; 2 * half]), Err(Error::Signature), "{name}: zeros");
        assert_eq!(key.verify(algorithm, &message, &der), Err(Error::Signature), "{name}");
    }
}
