//! The platform's authority, and what openssl says of its work.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Scratch, bytes, certificate, text};
use iot_types::UnixMillis;
use x509::*;

const SECRET: [u8; 32] = [7; 32];
const SERIAL: [u8; SERIAL_BYTES] = [0xff; SERIAL_BYTES];
/// 2024-01-01 to the end of AWS's certificates.
const VALIDITY: Validity = Validity { not_before: UnixMillis(1_704_067_200_999), not_after: Validity::AWS_NOT_AFTER };
const NOW: UnixMillis = UnixMillis(1_767_225_600_000);

fn subject() -> DistinguishedName {
    DistinguishedName::new(&[(NameAttribute::CommonName, "Umbra IoT Certificate")]).unwrap()
}

fn authority() -> Authority {
    let name = [(NameAttribute::Organization, "Umbra"), (NameAttribute::CommonName, "Umbra IoT Authority")];
    let name = DistinguishedName::new(&name).unwrap();
    Authority::self_signed(AuthorityKey::from_random(&SECRET).unwrap(), &name, &[0; SERIAL_BYTES], VALIDITY).unwrap()
}

#[test]
fn what_is_issued_has_the_extensions_of_awss_certificates() {
    let authority = authority();
    let aws = certificate("aws");
    for kind in ["rsa2048", "rsa3072", "rsa4096", "p256", "p384", "ed25519"] {
        let request = CertificateSigningRequest::from_pem(&text(&format!("request-{kind}.pem"))).unwrap();
        let issued = authority.issue(request.public_key(), &subject(), &SERIAL, VALIDITY).unwrap();
        assert_eq!(issued.verify_issued_by(authority.certificate()), Ok(()));
        assert_eq!(verify_chain(&[issued.clone(), authority.certificate().clone()], NOW), Ok(()));
        assert_eq!(issued.public_key(), request.public_key());
        assert_eq!(*issued.subject(), subject());
        assert_eq!(issued.key_usage(), aws.key_usage());
        assert_eq!((issued.is_ca(), issued.path_length()), (false, None));
        assert_eq!(issued.extended_key_usage(), None);
        assert_eq!(issued.subject_key_identifier().unwrap().len(), 20);
        assert_eq!(issued.authority_key_identifier(), authority.certificate().subject_key_identifier());
        assert_eq!((issued.not_before(), issued.not_after()), (UnixMillis(1_704_067_200_000), VALIDITY.not_after));
        assert_eq!(issued.serial_number(), [vec![0x7f], vec![0xff; 19]].concat());
        assert_eq!(Certificate::from_pem(&issued.to_pem()).unwrap(), issued);
        let again = authority.issue(request.public_key(), &subject(), &SERIAL, VALIDITY).unwrap();
        assert_eq!(again.der(), issued.der(), "the same arguments give the same certificate");
    }
    assert_eq!(authority.certificate().serial_number(), [vec![0x40], vec![0; 19]].concat());
}

#[test]
fn openssl_verifies_what_is_issued() {
    let scratch = Scratch::new("issuing");
    let authority = authority();
    let root = authority.certificate();
    scratch.write("root.pem", root.to_pem());
    let verified = ["verify", "-x509_strict", "-check_ss_sig", "-attime", "1767225600", "-CAfile", "root.pem"];
    assert_eq!(scratch.openssl(&[&verified[..], &["root.pem"]].concat()), Ok("root.pem: OK\n".to_owned()));
    for kind in ["rsa2048", "p256", "p384", "ed25519"] {
        let request = CertificateSigningRequest::from_pem(&text(&format!("request-{kind}.pem"))).unwrap();
        let issued = authority.issue(request.public_key(), request.subject(), &SERIAL, VALIDITY).unwrap();
        scratch.write("issued.pem", issued.to_pem());
        let result = scratch.openssl(&[&verified[..], &["-purpose", "sslclient", "issued.pem"]].concat());
        assert_eq!(result, Ok("issued.pem: OK\n".to_owned()), "{kind}");
        assert_eq!(scratch.openssl(&["x509", "-in", "issued.pem"]).unwrap(), issued.to_pem(), "{kind}: the same PEM");
        let public_key = scratch.openssl(&["x509", "-in", "issued.pem", "-noout", "-pubkey"]).unwrap();
        assert_eq!(public_key, request.public_key().to_pem());
    }
    scratch.write("other.pem", certificate("device-p256").to_pem());
    assert!(scratch.openssl(&[&verified[..], &["other.pem"]].concat()).is_err(), "openssl can say no");
}

#[test]
fn dates_after_2049_are_written_as_openssl_reads_them() {
    let scratch = Scratch::new("dates");
    let authority = authority();
    let key = authority.key().public_key().unwrap();
    for (not_after, text) in [
        (2_524_607_999_999, "notAfter=2049-12-31 23:59:59Z\n"),
        (2_524_608_000_000, "notAfter=2050-01-01 00:00:00Z\n"),
        (4_102_444_800_000, "notAfter=2100-01-01 00:00:00Z\n"),
        (253_402_300_799_999, "notAfter=9999-12-31 23:59:59Z\n"),
    ] {
        let validity = Validity { not_after: UnixMillis(not_after), ..VALIDITY };
        let issued = authority.issue(&key, &subject(), &SERIAL, validity).unwrap();
        scratch.write("issued.pem", issued.to_pem());
        let arguments = ["x509", "-in", "issued.pem", "-noout", "-enddate", "-dateopt", "iso_8601"];
        assert_eq!(scratch.openssl(&arguments).unwrap(), text);
        let is_generalized = not_after >= 2_524_608_000_000;
        let has = issued.der().windows(2).any(|window| window == [0x18, 15]);
        assert_eq!(has, is_generalized, "GeneralizedTime from 2050 on");
    }
    for (not_before, not_after) in [(1_000, 999), (0, 253_402_300_800_000), (u64::MAX, u64::MAX)] {
        let validity = Validity { not_before: UnixMillis(not_before), not_after: UnixMillis(not_after) };
        assert!(matches!(authority.issue(&key, &subject(), &SERIAL, validity), Err(Error::Issue { .. })));
    }
}

#[test]
fn an_authoritys_key_goes_out_and_comes_in_as_pkcs_8() {
    let scratch = Scratch::new("pkcs8");
    let key = AuthorityKey::from_random(&SECRET).unwrap();
    let der = key.to_pkcs8_der().unwrap();
    scratch.write("key.der", der.as_slice());
    let public = scratch.openssl(&["pkey", "-inform", "der", "-in", "key.der", "-check", "-pubout"]).unwrap();
    assert!(public.contains(&key.public_key().unwrap().to_pem()), "{public}");
    assert_eq!(AuthorityKey::from_pkcs8_der(&der).unwrap().public_key(), key.public_key());
    assert_eq!(AuthorityKey::from_pkcs8_der(&der).unwrap().to_pkcs8_der().unwrap(), der);
    assert_eq!(format!("{key:?}"), "AuthorityKey(redacted)");

    let theirs = AuthorityKey::from_pkcs8_pem(&text("authority.key")).unwrap();
    assert_eq!(theirs.public_key().unwrap(), *certificate("aws-ca").public_key());
    for name in ["p384.key", "rsa2048.key", "ed25519.key", "k256.key", "p256.pub"] {
        assert!(AuthorityKey::from_pkcs8_pem(&text(name)).is_err(), "{name}");
    }
    // the public half is changed, or cut off
    let mut changed = der.to_vec();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(
        AuthorityKey::from_pkcs8_der(&changed).unwrap_err(),
        Error::AuthorityKey { reason: "its public half is another key's" }
    );
    assert!(AuthorityKey::from_pkcs8_der(&der[..der.len() - 1]).is_err());
    for number in [[0; 32], [0xff; 32]] {
        assert!(AuthorityKey::from_random(&number).is_err());
    }
}

#[test]
fn an_authority_is_a_key_with_its_own_certificate() {
    let key = || AuthorityKey::from_pkcs8_pem(&text("authority.key")).unwrap();
    assert!(Authority::new(key(), certificate("aws-ca")).is_ok());
    assert!(Authority::new(key(), certificate("aws")).is_err());
    assert!(Authority::new(key(), certificate("root-p256")).is_err());
    let device = AuthorityKey::from_pkcs8_pem(&text("p256.key")).unwrap();
    assert!(Authority::new(device, certificate("device-p256")).is_err(), "no authority's certificate");
    let wrong_usage = AuthorityKey::from_pkcs8_pem(&text("intermediate.key")).unwrap();
    assert!(Authority::new(wrong_usage, certificate("ca-no-cert-sign")).is_err());
    let nobody = DistinguishedName::new(&[]).unwrap();
    assert!(Authority::self_signed(key(), &nobody, &SERIAL, VALIDITY).is_err());
    assert!(authority().issue(&key().public_key().unwrap(), &nobody, &SERIAL, VALIDITY).is_err());
    assert_eq!(authority().certificate().path_length(), Some(0));
    assert!(!bytes("authority.key").is_empty());
}
