//! Certificates, requests, keys and what devices sign, from a client.

use crate::memory;
use device_auth::enhanced::{Challenge, Credential};
use device_auth::jwt::Token;
use iot_types::UnixMillis;
use x509::{AuthorityKey, Certificate, CertificateSigningRequest, PublicKey};

/// What may be allocated at once for reading `length` bytes: copies of them, and small structures for the smallest parts
/// that DER has (two bytes each).
fn bound(length: usize) -> u64 {
    16_384 + 128 * length as u64
}

/// The first byte says what the others are.
///
/// Holds: no panic; memory follows what came; what was read is written and read as the same; what is signed is a piece
/// of what came; a name is the same as itself; a certificate that says that it issued itself is held to every rule.
pub fn certificates(data: &[u8]) -> usize {
    let Some((kind, data)) = data.split_first() else { return 0 };
    let (found, peak) = memory::peak(|| match kind % 8 {
        0 => Certificate::from_der(data).map_or(0, |certificate| is_whole(&certificate)),
        1 => certificates_of_a_text(data),
        2 => usize::from(CertificateSigningRequest::from_der(data).is_ok()),
        3 => requests_and_keys_of_a_text(data),
        4 => PublicKey::from_spki_der(data).map_or(0, |key| {
            assert_eq!(key.spki_der(), data);
            assert_eq!(PublicKey::from_pem(&key.to_pem()).as_ref(), Ok(&key));
            1
        }),
        5 => key_of_an_authority(data),
        6 => usize::from(core::str::from_utf8(data).is_ok_and(|text| Token::parse(text).is_ok())),
        _ => answer(data),
    });
    // texts in base64, and escapes of names, are larger than what they stand for
    assert!(peak <= 4 * bound(data.len()), "{peak} bytes for {}", data.len());
    found
}

fn is_whole(certificate: &Certificate) -> usize {
    let der = certificate.der();
    let signed = certificate.signed_part().expect("it was read");
    assert!(der.windows(signed.len()).any(|window| window == signed));
    assert_eq!(Certificate::from_pem(&certificate.to_pem()).as_ref(), Ok(certificate));
    let again = Certificate::from_der(der).expect("it was read");
    assert_eq!(again.subject(), certificate.subject());
    assert_eq!(again.subject().to_string(), certificate.subject().to_string());
    assert_eq!(certificate.certificate_id().map(|id| id.as_str().len()), Ok(64));
    for variable in certificate.policy_variables() {
        assert!(variable.name.starts_with("iot:Certificate.") && !variable.values.is_empty());
    }
    if certificate.verify_issued_by(certificate).is_ok() {
        assert!(certificate.is_ca() && certificate.is_self_issued());
        assert!(certificate.key_usage().is_none_or(|usage| usage.key_cert_sign()));
    }
    let (from, to) = (certificate.not_before(), certificate.not_after());
    assert_eq!(certificate.check_validity(from).is_ok(), from <= to);
    assert!(certificate.check_validity(to.plus_secs(1)).is_err());
    1
}

fn certificates_of_a_text(data: &[u8]) -> usize {
    let Ok(text) = core::str::from_utf8(data) else { return 0 };
    let chain = Certificate::chain_from_pem(text).unwrap_or_default();
    assert_eq!(Certificate::from_pem(text).is_ok(), chain.len() == 1);
    chain.iter().map(is_whole).sum()
}

fn requests_and_keys_of_a_text(data: &[u8]) -> usize {
    let Ok(text) = core::str::from_utf8(data) else { return 0 };
    let is_request = CertificateSigningRequest::from_pem(text).is_ok();
    let is_key = PublicKey::from_pem(text).is_ok();
    assert!(!(is_request && is_key));
    usize::from(is_request || is_key)
}

fn key_of_an_authority(data: &[u8]) -> usize {
    let Ok(key) = AuthorityKey::from_pkcs8_der(data) else { return 0 };
    let written = key.to_pkcs8_der().expect("its sizes are fixed");
    let again = AuthorityKey::from_pkcs8_der(&written).expect("it was written");
    assert_eq!(again.public_key(), key.public_key());
    1
}

fn answer(data: &[u8]) -> usize {
    let challenge =
        Challenge::start(&[], "iot.example.com", "client", [7; 32], UnixMillis(0)).expect("names are short");
    let Ok(answer) = challenge.finish(data, UnixMillis(0)) else { return 0 };
    if let Credential::Certificate(certificate) = answer.credential() {
        // nobody has signed this nonce
        assert!(answer.verify(certificate).is_err());
    }
    1
}
