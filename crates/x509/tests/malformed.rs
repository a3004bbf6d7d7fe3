//! Certificates, requests and keys with bytes changed: refused or read, never a panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{certificate, text};
use proptest::prelude::*;
use proptest::sample::Index;
use x509::*;

const CERTIFICATES: [&str; 8] =
    ["names", "aws", "device-p384", "by-ed25519", "by-pss-sha256", "name-bmp", "serial-negative", "root-rsa4096"];

#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Flip(Index, u8),
    Remove(Index),
    Insert(Index, u8),
    Truncate(Index),
    Repeat(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        4 => (at(), 0_u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        2 => at().prop_map(Change::Remove),
        2 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        1 => at().prop_map(Change::Truncate),
        1 => (at(), at()).prop_map(|(from, to)| Change::Repeat(from, to)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    match change {
        Change::Set(at, byte) => bytes[at.index(length)] = *byte,
        Change::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
        Change::Remove(at) => drop(bytes.remove(at.index(length))),
        Change::Insert(at, byte) => bytes.insert(at.index(length), *byte),
        Change::Truncate(at) => bytes.truncate(at.index(length)),
        Change::Repeat(from, to) => {
            let (from, to) = (from.index(length), to.index(length));
            let piece = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.extend(piece);
        }
    }
}

/// Everything that can be asked of a certificate is asked.
fn use_up(certificate: &Certificate) {
    let _ = certificate.policy_variables();
    let _ = (certificate.subject().to_string(), certificate.issuer().to_string(), format!("{certificate:?}"));
    let _ = (certificate.is_self_issued(), certificate.extended_key_usage(), certificate.may_authenticate_clients());
    let _ = certificate.verify_issued_by(certificate);
    assert_eq!(Certificate::from_pem(&certificate.to_pem()).as_ref(), Ok(certificate));
    assert!(certificate.certificate_id().is_ok());
    let signed = certificate.signed_part().unwrap();
    assert!(certificate.der().windows(signed.len()).any(|window| window == signed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_changed_certificate_is_refused_or_is_no_longer_its_issuers(
        which in any::<Index>(),
        changes in prop::collection::vec(change(), 1..4),
    ) {
        let original = certificate(CERTIFICATES[which.index(CERTIFICATES.len())]);
        let mut der = original.der().to_vec();
        for change in &changes {
            apply(&mut der, change);
        }
        if let Ok(changed) = Certificate::from_der(&der) {
            use_up(&changed);
            if changed.signed_part() != original.signed_part() {
                for issuer in ["root-p256", "root-rsa2048", "root-ed25519", "aws-ca", "root-rsa4096"] {
                    prop_assert!(changed.verify_issued_by(&certificate(issuer)).is_err());
                }
            }
        }
    }

    #[test]
    fn a_changed_text_is_refused_or_read(changes in prop::collection::vec(change(), 1..6)) {
        for file in ["chain.pem", "aws-with-text.pem", "request-p256.pem", "p256.pub", "authority.key"] {
            let mut pem = text(file).into_bytes();
            for change in &changes {
                apply(&mut pem, change);
            }
            let pem = String::from_utf8_lossy(&pem);
            for certificate in Certificate::chain_from_pem(&pem).iter().flatten() {
                use_up(certificate);
            }
            let _ = CertificateSigningRequest::from_pem(&pem);
            let _ = PublicKey::from_pem(&pem);
            let _ = AuthorityKey::from_pkcs8_pem(&pem);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Certificate::from_der(&bytes);
        let _ = CertificateSigningRequest::from_der(&bytes);
        let _ = PublicKey::from_spki_der(&bytes);
        let _ = AuthorityKey::from_pkcs8_der(&bytes);
        let key = certificate("device-p256");
        prop_assert!(key.public_key().verify(SignatureAlgorithm::EcdsaDer(Hash::Sha256), b"", &bytes).is_err());
    }
}

#[test]
fn deep_nesting_costs_no_stack() {
    let mut der = Vec::new();
    for _ in 0..2_000 {
        let length = der.len();
        let mut outer = vec![0x30, 0x82, u8::try_from(length >> 8).unwrap(), u8::try_from(length & 0xff).unwrap()];
        outer.append(&mut der);
        der = outer;
    }
    assert!(Certificate::from_der(&der).is_err());
    assert!(CertificateSigningRequest::from_der(&der).is_err());
    assert!(PublicKey::from_spki_der(&der).is_err());
}
