//! What is read in a certificate, compared with what openssl reads in it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Scratch, bytes, certificate, path, read, text};
use iot_types::UnixMillis;
use x509::*;

#[test]
fn keys_of_the_kinds_that_are_accepted_are_read_and_others_are_named() {
    for (name, kind) in [
        ("device-rsa2048", Ok(KeyKind::Rsa2048)),
        ("device-rsa3072", Ok(KeyKind::Rsa3072)),
        ("device-rsa4096", Ok(KeyKind::Rsa4096)),
        ("device-p256", Ok(KeyKind::P256)),
        ("device-p384", Ok(KeyKind::P384)),
        ("device-ed25519", Ok(KeyKind::Ed25519)),
        ("device-rsa1024", Err("an RSA key has 2048, 3072 or 4096 bits")),
        ("device-p521", Err("its curve is neither P-256 nor P-384")),
        ("device-k256", Err("its curve is neither P-256 nor P-384")),
    ] {
        let found = read(name).map(|certificate| certificate.public_key().kind());
        assert_eq!(found, kind.map_err(|reason| Error::UnsupportedKey { reason }), "{name}");
    }
}

#[test]
fn signatures_with_sha_1_are_not_accepted() {
    for (name, oid) in [
        ("by-rsa-sha1", "1.2.840.113549.1.1.5"),
        ("by-p256-sha1", "1.2.840.10045.4.1"),
        ("by-p384-sha1", "1.2.840.10045.4.1"),
        ("by-pss-sha1", "1.2.840.113549.1.1.10"),
        ("by-pss-mixed", "1.2.840.113549.1.1.10"),
    ] {
        assert_eq!(read(name), Err(Error::UnsupportedAlgorithm { oid: oid.to_owned() }), "{name}");
    }
}

#[test]
fn identifiers_dates_and_serial_numbers_are_what_openssl_says() {
    let scratch = Scratch::new("parsing");
    for name in ["device-rsa2048", "names", "aws", "serial-twenty", "serial-twenty-one", "root-p384", "expired"] {
        let certificate = certificate(name);
        let file = path(&format!("{name}.pem"));
        let says = |option: &str| {
            let output = scratch.openssl(&["x509", "-noout", "-in", file.to_str().unwrap(), option, "-sha256"]);
            output.unwrap().trim().split_once('=').unwrap().1.replace(':', "").to_ascii_lowercase()
        };
        assert_eq!(certificate.certificate_id().unwrap().as_str(), says("-fingerprint"), "{name}");
        assert_eq!(certificate.serial_number_hex(), says("-serial"), "{name}");
    }
    for (name, not_before, not_after) in [
        ("device-p256", 1_704_067_200_000, 2_493_072_000_000),
        ("expired", 1_577_836_800_000, 1_609_459_200_000),
        ("aws", 1_718_100_900_000, Validity::AWS_NOT_AFTER.0),
        ("generalized", 2_524_608_000_000, 253_402_300_799_000),
    ] {
        let certificate = certificate(name);
        assert_eq!((certificate.not_before().0, certificate.not_after().0), (not_before, not_after), "{name}");
    }
}

#[test]
fn serial_numbers_that_break_the_standard_are_read() {
    for (name, serial, hex) in [
        ("serial-negative", vec![0x81], "81"),
        ("serial-zero", vec![0], "00"),
        (
            "serial-twenty",
            vec![0x7f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19],
            "7f0102030405060708090a0b0c0d0e0f10111213",
        ),
        (
            "serial-twenty-one",
            vec![0, 0x8f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19],
            "8f0102030405060708090a0b0c0d0e0f10111213",
        ),
    ] {
        let certificate = certificate(name);
        assert_eq!(certificate.serial_number(), serial, "{name}");
        assert_eq!(certificate.serial_number_hex(), hex, "{name}");
    }
}

#[test]
fn the_text_of_a_subject_is_what_openssl_says_of_it() {
    let scratch = Scratch::new("subjects");
    for name in ["device-p256", "aws", "aws-ca", "name-bmp", "name-t61", "root-p256", "root-respelled"] {
        let file = path(&format!("{name}.pem"));
        for (option, ours) in
            [("-subject", certificate(name).subject().to_string()), ("-issuer", certificate(name).issuer().to_string())]
        {
            let arguments =
                ["x509", "-noout", "-in", file.to_str().unwrap(), option, "-nameopt", "RFC2253,utf8,-esc_msb"];
            let theirs = scratch.openssl(&arguments).unwrap();
            assert_eq!(ours, theirs.trim().split_once('=').unwrap().1, "{name}");
        }
    }
    // openssl has its own names for these, and knows the one of PKCS #9
    assert_eq!(
        certificate("names").subject().to_string(),
        "1.2.840.113549.1.9.1=#160d61406578616d706c652e636f6d,serialNumber=123,generationQualifier=4,\
         pseudonym=RGB Device,title=RGB,sn=Multi Color,dnQualifier=Bulb001,initials=ZZ,\
         CN=LightBulb Device Cert+givenName=Bulb,ST=NY,OU=Kitchen\\, upstairs,OU=LightBulb,O=IoT Devices,C=US"
    );
}

#[test]
fn policies_see_every_attribute_that_aws_names() {
    let variables = certificate("names").policy_variables();
    let found: Vec<(&str, Vec<&str>)> = variables
        .iter()
        .map(|variable| {
            let name = variable.name.strip_prefix("iot:Certificate.").unwrap();
            (name, variable.values.iter().map(String::as_str).collect())
        })
        .collect();
    assert_eq!(
        found,
        [
            ("Subject.CommonName", vec!["LightBulb Device Cert"]),
            ("Subject.Country", vec!["US"]),
            ("Subject.Organization", vec!["IoT Devices"]),
            ("Subject.OrganizationalUnit", vec!["LightBulb", "Kitchen, upstairs"]),
            ("Subject.State", vec!["NY"]),
            ("Subject.SerialNumber", vec!["123"]),
            ("Subject.Title", vec!["RGB"]),
            ("Subject.Surname", vec!["Multi Color"]),
            ("Subject.GivenName", vec!["Bulb"]),
            ("Subject.Initials", vec!["ZZ"]),
            ("Subject.Pseudonym", vec!["RGB Device"]),
            ("Subject.GenerationQualifier", vec!["4"]),
            ("Subject.DistinguishedNameQualifier", vec!["Bulb001"]),
            ("Subject.AlternativeName.RFC822Name", vec!["a@example.com"]),
            ("Subject.AlternativeName.DNSName", vec!["one.example.com", "two.example.com"]),
            ("Subject.AlternativeName.DirectoryName", vec!["CN=Alternative,C=DE"]),
            ("Subject.AlternativeName.UniformResourceIdentifier", vec!["urn:device:7"]),
            ("Subject.AlternativeName.IPAddress", vec!["192.0.2.1", "2001:db8::1"]),
            ("Issuer.CommonName", vec!["Root p256"]),
            ("Issuer.Organization", vec!["Umbra Tests"]),
            ("Issuer.AlternativeName.RFC822Name", vec!["ca@example.com"]),
            ("Issuer.AlternativeName.DNSName", vec!["ca.example.com"]),
            ("Issuer.AlternativeName.DirectoryName", vec!["CN=Alternative,C=DE"]),
            ("Issuer.AlternativeName.UniformResourceIdentifier", vec!["https://ca.example.com"]),
            ("Issuer.AlternativeName.IPAddress", vec!["192.0.2.2"]),
            ("SerialNumber", vec![&certificate("names").serial_number_hex()]),
        ]
    );
}

#[test]
fn a_certificate_of_aws_is_read_and_written_as_it_was() {
    let aws = certificate("aws");
    assert_eq!(aws.subject().values(NameAttribute::CommonName), ["AWS IoT Certificate"]);
    assert_eq!(
        aws.issuer().values(NameAttribute::OrganizationalUnit),
        ["Amazon Web Services O=Amazon.com Inc. L=Seattle ST=WA C=US"]
    );
    assert!(!aws.is_ca() && aws.key_usage().unwrap().digital_signature());
    assert!(!aws.key_usage().unwrap().key_encipherment());
    assert_eq!(aws.authority_key_identifier(), certificate("aws-ca").subject_key_identifier());
    assert_eq!(aws.to_pem(), text("aws.pem"));
    assert_eq!(certificate("aws-with-text"), aws, "what `openssl x509 -text` puts before it is passed over");
}

#[test]
fn constraints_and_usages_are_read() {
    for (name, is_ca, path_length) in [
        ("root-p256", true, None),
        ("intermediate", true, Some(0)),
        ("device-p256", false, None),
        ("ca-ca-false", false, None),
        ("ca-no-constraints", false, None),
        ("serial-zero", false, None),
    ] {
        let certificate = certificate(name);
        assert_eq!((certificate.is_ca(), certificate.path_length()), (is_ca, path_length), "{name}");
    }
    for (name, purposes, may) in [
        ("device-p256", None, true),
        ("server-only", Some(vec!["1.3.6.1.5.5.7.3.1"]), false),
        ("client", Some(vec!["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]), true),
        ("any-purpose", Some(vec!["2.5.29.37.0"]), true),
    ] {
        let certificate = certificate(name);
        let found = certificate.extended_key_usage();
        assert_eq!(found, purposes.map(|all| all.into_iter().map(str::to_owned).collect()), "{name}");
        assert_eq!(certificate.may_authenticate_clients(), may, "{name}");
    }
    assert!(certificate("serial-zero").key_usage().is_none(), "version 1 has no extensions");
}

#[test]
fn one_certificate_and_a_chain_are_told_apart() {
    let chain = text("chain.pem");
    assert_eq!(Certificate::chain_from_pem(&chain).unwrap().len(), 3);
    assert!(matches!(Certificate::from_pem(&chain), Err(Error::Pem { reason: "too many blocks", .. })));
    let one = text("device-p256.pem");
    assert_eq!(Certificate::chain_from_pem(&one).unwrap(), [certificate("device-p256")]);
    assert!(Certificate::chain_from_pem(&one.repeat(MAXIMUM_CHAIN)).is_ok());
    assert!(Certificate::chain_from_pem(&one.repeat(MAXIMUM_CHAIN + 1)).is_err());
    assert!(Certificate::from_pem(&text("request-p256.pem")).is_err());
    assert!(Certificate::from_pem(&text("p256.key")).is_err());
}

#[test]
fn a_byte_too_few_or_too_many_is_refused() {
    let der = certificate("names").der().to_vec();
    for length in 0..der.len() {
        assert!(Certificate::from_der(&der[..length]).is_err(), "{length}");
    }
    assert_eq!(Certificate::from_der(&[der.as_slice(), &[0]].concat()), Err(Error::Der { what: "the certificate" }));
    assert!(matches!(Certificate::from_der(&vec![0x30; MAXIMUM_BYTES + 1]), Err(Error::TooLarge { .. })));
}

#[test]
fn the_algorithm_inside_must_be_the_one_outside() {
    let mut der = certificate("device-p256").der().to_vec();
    let ecdsa_with_sha256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let at = der.windows(8).position(|window| window == ecdsa_with_sha256).unwrap();
    der[at + 7] = 0x03;
    assert_eq!(Certificate::from_der(&der), Err(Error::Refused(Rule::AlgorithmMismatch)));
}

#[test]
fn no_extension_is_there_twice() {
    // the critical extension of the same length becomes a second key usage
    let mut der = certificate("device-p256").der().to_vec();
    let basic_constraints = [0x06, 0x03, 0x55, 0x1d, 0x13];
    let at = der.windows(5).position(|window| window == basic_constraints).unwrap();
    der[at + 4] = 0x0f;
    assert!(Certificate::from_der(&der).is_err());
    let subject_key_identifier = [0x06, 0x03, 0x55, 0x1d, 0x0e];
    let mut der = certificate("root-p256").der().to_vec();
    let at = der.windows(5).position(|window| window == subject_key_identifier).unwrap();
    der[at + 4] = 0x20;
    assert!(Certificate::from_der(&der).is_ok(), "another extension, not read");
    let mut der = certificate("unknown").der().to_vec();
    let at = der.windows(5).position(|window| window == [0x06, 0x03, 0x2a, 0x03, 0x04]).unwrap();
    der[at + 2..at + 5].copy_from_slice(&[0x55, 0x1d, 0x0f]);
    assert_eq!(Certificate::from_der(&der), Err(Error::Refused(Rule::DuplicateExtension)));
}

#[test]
fn public_keys_are_read_and_written() {
    for name in ["rsa2048", "rsa3072", "rsa4096", "p256", "p384", "ed25519"] {
        let pem = text(&format!("{name}.pub"));
        assert_eq!(PublicKey::from_pem(&pem).unwrap().to_pem(), pem, "{name}");
    }
    let device = certificate("device-p256");
    assert_eq!(*device.public_key(), PublicKey::from_pem(&text("p256.pub")).unwrap());
    let compressed = PublicKey::from_pem(&text("p256-compressed.pub")).unwrap();
    let message = bytes("message");
    let signature = bytes("message.p256.sha256.sig");
    compressed.verify(SignatureAlgorithm::EcdsaDer(Hash::Sha256), &message, &signature).unwrap();
}

#[test]
fn points_off_the_curve_and_weak_points_are_no_keys() {
    let mut off = PublicKey::from_pem(&text("p256.pub")).unwrap().spki_der().to_vec();
    *off.last_mut().unwrap() ^= 1;
    assert_eq!(PublicKey::from_spki_der(&off), Err(Error::UnsupportedKey { reason: "its point is not on the curve" }));
    let mut weak = PublicKey::from_pem(&text("ed25519.pub")).unwrap().spki_der().to_vec();
    let at = weak.len() - 32;
    weak[at..].fill(0);
    weak[at] = 1;
    assert!(PublicKey::from_spki_der(&weak).is_err(), "the neutral element");
    let mut even = PublicKey::from_pem(&text("rsa2048.pub")).unwrap().spki_der().to_vec();
    let at = even.len() - 6;
    even[at] &= 0xfe;
    assert!(PublicKey::from_spki_der(&even).is_err(), "a modulus is odd");
}

#[test]
fn requests_are_read_and_their_signature_is_verified() {
    for (name, kind) in [
        ("rsa2048", KeyKind::Rsa2048),
        ("rsa3072", KeyKind::Rsa3072),
        ("rsa4096", KeyKind::Rsa4096),
        ("p256", KeyKind::P256),
        ("p384", KeyKind::P384),
        ("ed25519", KeyKind::Ed25519),
    ] {
        let pem = text(&format!("request-{name}.pem"));
        let request = CertificateSigningRequest::from_pem(&pem).unwrap();
        assert_eq!(request.public_key().kind(), kind);
        assert_eq!(request.subject().to_string(), format!("CN=request {name},O=Umbra Tests"));
        let blocks: String = pem.lines().filter(|line| !line.starts_with("--")).collect();
        let der = decoded(&blocks);
        assert_eq!(CertificateSigningRequest::from_der(&der).unwrap(), request);
        // the subject is changed, so that it is not what was signed
        let mut changed = der.clone();
        let at = changed.windows(5).position(|window| window == b"Umbra").unwrap();
        changed[at] = b'u';
        assert_eq!(CertificateSigningRequest::from_der(&changed), Err(Error::Signature), "{name}");
        assert!(CertificateSigningRequest::from_der(&[der, vec![0]].concat()).is_err());
    }
    for (name, reason) in
        [("rsa1024", "an RSA key has 2048, 3072 or 4096 bits"), ("p521", "its curve is neither P-256 nor P-384")]
    {
        let request = CertificateSigningRequest::from_pem(&text(&format!("request-{name}.pem")));
        assert_eq!(request, Err(Error::UnsupportedKey { reason }));
    }
    assert!(CertificateSigningRequest::from_pem(&text("device-p256.pem")).is_err());
}

fn decoded(base64: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(base64).unwrap()
}

#[test]
fn the_beginning_of_the_epoch_is_the_first_date() {
    assert!(certificate("device-p256").not_before() > UnixMillis(0));
    // a UTCTime of 1969 instead of 2024
    let mut der = certificate("device-p256").der().to_vec();
    let at = der.windows(13).position(|window| window == b"240101000000Z").unwrap();
    der[at..at + 2].copy_from_slice(b"69");
    assert_eq!(Certificate::from_der(&der), Err(Error::Der { what: "the certificate" }));
    der[at..at + 2].copy_from_slice(b"70");
    assert_eq!(Certificate::from_der(&der).unwrap().not_before(), UnixMillis(0));
}
