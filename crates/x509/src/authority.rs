//! The platform's own certificate authority.

use crate::algorithm::{CURVE_P256, EC_PUBLIC_KEY, ECDSA_WITH_SHA256};
use crate::extensions::{AUTHORITY_KEY_IDENTIFIER, BASIC_CONSTRAINTS, KEY_USAGE, SUBJECT_KEY_IDENTIFIER};
use crate::pem::{self, Label};
use crate::{Certificate, DistinguishedName, Error, PublicKey};
use core::fmt;
use core::time::Duration;
use der::asn1::{BitString, ObjectIdentifier, OctetString, OctetStringRef};
use der::flagset::FlagSet;
use der::{DateTime, Decode, Encode, Sequence};
use iot_types::UnixMillis;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use sha2::{Digest, Sha256};
use x509_cert::certificate::Version;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, AlgorithmIdentifierRef, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity as EncodedValidity};
use zeroize::Zeroizing;

/// How many random bytes make a serial number: the most that RFC 5280 allows (section 4.1.2.2), as AWS's have.
pub const SERIAL_BYTES: usize = 20;

/// When a certificate is valid: from the first moment to the last, both included. Parts of seconds are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: UnixMillis,
    /// The last moment.
    pub not_after: UnixMillis,
}

impl Validity {
    /// The end of what AWS issues to devices: 2049-12-31T23:59:59Z, the last second that a UTCTime can name.
    pub const AWS_NOT_AFTER: UnixMillis = UnixMillis(2_524_607_999_000);
}

/// The private key of an authority, on P-256. It is never shown by `Debug` and is overwritten when it is dropped.
#[derive(Clone)]
pub struct AuthorityKey(SigningKey);

impl AuthorityKey {
    /// The key with this number, which must have been drawn at random from all numbers of 32 bytes.
    ///
    /// # Errors
    /// [`Error::AuthorityKey`] when it is zero or not below the curve's order, which a random one is once in 2³²: draw
    /// again.
    pub fn from_random(bytes: &[u8; 32]) -> Result<Self, Error> {
        SigningKey::from_slice(bytes)
            .map(Self)
            .map_err(|_| Error::AuthorityKey { reason: "its number is out of range" })
    }

    /// Reads a key in PKCS #8 (RFC 5958, RFC 5915), as WebCrypto exports and openssl writes it.
    ///
    /// # Errors
    /// [`Error::AuthorityKey`] when it is malformed, of another curve, or its public half is not its own.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, Error> {
        let malformed = |_| Error::AuthorityKey { reason: "it is not a key of PKCS #8" };
        let outer = PrivateKeyInfo::from_der(der).map_err(malformed)?;
        let curve = outer.algorithm.parameters.and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
        if outer.version != 0 || outer.algorithm.oid != EC_PUBLIC_KEY || curve != Some(CURVE_P256) {
            return Err(Error::AuthorityKey { reason: "it is not on the curve P-256" });
        }
        let inner = EcPrivateKey::from_der(outer.private_key.as_bytes()).map_err(malformed)?;
        if inner.version != 1 || inner.curve.is_some_and(|curve| curve != CURVE_P256) {
            return Err(Error::AuthorityKey { reason: "it is not on the curve P-256" });
        }
        let secret = <[u8; 32]>::try_from(inner.private_key.as_bytes()).map(Zeroizing::new);
        let key = Self::from_random(&*secret.map_err(|_| Error::AuthorityKey { reason: "it has not 32 bytes" })?)?;
        match &inner.public_key {
            Some(public) if public.as_bytes() != Some(key.point().as_slice()) => {
                Err(Error::AuthorityKey { reason: "its public half is another key's" })
            }
            _ => Ok(key),
        }
    }

    /// Reads a key in PKCS #8 as PEM.
    ///
    /// # Errors
    /// [`Error::Pem`], and those of [`AuthorityKey::from_pkcs8_der`].
    pub fn from_pkcs8_pem(text: &str) -> Result<Self, Error> {
        let blocks = pem::decode(text, Label::PrivateKey, 1, "the private key")?;
        let der = blocks.into_iter().next().map(Zeroizing::new).unwrap_or_default();
        Self::from_pkcs8_der(&der)
    }

    /// The key in PKCS #8, with its public half: to be encrypted before it is stored.
    ///
    /// # Errors
    /// None that happens: the sizes are fixed.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let failed = |_| Error::AuthorityKey { reason: "it can't be encoded" };
        let secret = Zeroizing::new(self.0.to_bytes().to_vec());
        let inner = EcPrivateKey {
            version: 1,
            private_key: OctetStringRef::new(&secret).map_err(failed)?,
            curve: None,
            public_key: Some(BitString::from_bytes(&self.point()).map_err(failed)?),
        };
        let inner = Zeroizing::new(inner.to_der().map_err(failed)?);
        let algorithm = AlgorithmIdentifierRef { oid: EC_PUBLIC_KEY, parameters: Some((&CURVE_P256).into()) };
        let outer = PrivateKeyInfo {
            version: 0,
            algorithm,
            private_key: OctetStringRef::new(&inner).map_err(failed)?,
            attributes: None,
        };
        outer.to_der().map(Zeroizing::new).map_err(failed)
    }

    /// Its public half.
    ///
    /// # Errors
    /// None that happens.
    pub fn public_key(&self) -> Result<PublicKey, Error> {
        let failed = |_| Error::AuthorityKey { reason: "its public half can't be encoded" };
        let spki = SubjectPublicKeyInfoOwned {
            algorithm: AlgorithmIdentifierOwned { oid: EC_PUBLIC_KEY, parameters: Some((&CURVE_P256).into()) },
            subject_public_key: BitString::from_bytes(&self.point()).map_err(failed)?,
        };
        PublicKey::from_spki_der(&spki.to_der().map_err(failed)?)
    }

    /// Its public point, uncompressed (SEC 1 section 2.3.3).
    fn point(&self) -> Vec<u8> {
        self.0.verifying_key().to_sec1_point(false).as_bytes().to_vec()
    }
}

impl fmt::Debug for AuthorityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthorityKey(redacted)")
    }
}

/// A certificate authority: a key, and the certificate that says so.
///
/// It signs with ECDSA as RFC 6979 has it, so the same arguments give the same certificate.
#[derive(Clone, Debug)]
pub struct Authority {
    key: AuthorityKey,
    certificate: Certificate,
}

impl Authority {
    /// The authority that was created before.
    ///
    /// # Errors
    /// [`Error::AuthorityKey`] when the certificate is of another key, or is not an authority's.
    pub fn new(key: AuthorityKey, certificate: Certificate) -> Result<Self, Error> {
        if *certificate.public_key() != key.public_key()? {
            return Err(Error::AuthorityKey { reason: "its certificate is of another key" });
        }
        if !certificate.is_ca() || certificate.key_usage().is_some_and(|usage| !usage.key_cert_sign()) {
            return Err(Error::AuthorityKey { reason: "its certificate is not an authority's" });
        }
        Ok(Self { key, certificate })
    }

    /// A new authority with a certificate that it signs itself. It may issue to devices, not to other authorities.
    ///
    /// # Errors
    /// [`Error::Issue`] for an empty subject, for a validity that ends before it begins or after the year 9999.
    pub fn self_signed(
        key: AuthorityKey,
        subject: &DistinguishedName,
        serial: &[u8; SERIAL_BYTES],
        validity: Validity,
    ) -> Result<Self, Error> {
        if subject.is_empty() {
            return Err(Error::Issue { reason: "an authority has a name" });
        }
        let public_key = key.public_key()?;
        let identifier = key_identifier(&public_key)?;
        let extensions = vec![
            extension(SUBJECT_KEY_IDENTIFIER, false, &identifier)?,
            extension(BASIC_CONSTRAINTS, true, &BasicConstraints { ca: true, path_len_constraint: Some(0) })?,
            extension(KEY_USAGE, true, &KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign))?,
        ];
        let certificate = sign(&key, subject.as_name(), subject.as_name(), &public_key, serial, validity, extensions)?;
        Self::new(key, certificate)
    }

    /// Its certificate.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its key.
    #[must_use]
    pub const fn key(&self) -> &AuthorityKey {
        &self.key
    }

    /// A device's certificate, with the extensions that AWS's have: no authority, for digital signatures, and the
    /// identifiers of both keys.
    ///
    /// `serial` must have been drawn at random: two of its bits are set so that the number is positive and has all its
    /// bytes. That whoever asks holds the private key is the caller's to know.
    ///
    /// # Errors
    /// [`Error::Issue`] for an empty subject, for a validity that ends before it begins or after the year 9999.
    pub fn issue(
        &self,
        public_key: &PublicKey,
        subject: &DistinguishedName,
        serial: &[u8; SERIAL_BYTES],
        validity: Validity,
    ) -> Result<Certificate, Error> {
        if subject.is_empty() {
            return Err(Error::Issue { reason: "the subject is empty" });
        }
        let authority = match self.certificate.subject_key_identifier() {
            Some(identifier) => octets(identifier)?,
            None => key_identifier(self.certificate.public_key())?.0,
        };
        let authority = AuthorityKeyIdentifier { key_identifier: Some(authority), ..AuthorityKeyIdentifier::default() };
        let extensions = vec![
            extension(AUTHORITY_KEY_IDENTIFIER, false, &authority)?,
            extension(SUBJECT_KEY_IDENTIFIER, false, &key_identifier(public_key)?)?,
            extension(BASIC_CONSTRAINTS, true, &BasicConstraints { ca: false, path_len_constraint: None })?,
            extension(KEY_USAGE, true, &KeyUsage(FlagSet::from(KeyUsages::DigitalSignature)))?,
        ];
        let issuer = self.certificate.subject();
        sign(&self.key, issuer.as_name(), subject.as_name(), public_key, serial, validity, extensions)
    }
}

/// RFC 5208 section 5, the first version of RFC 5958's.
#[derive(Sequence)]
struct PrivateKeyInfo<'a> {
    version: u8,
    algorithm: AlgorithmIdentifierRef<'a>,
    private_key: &'a OctetStringRef,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", constructed = "true", optional = "true")]
    attributes: Option<der::asn1::SetOfVec<der::asn1::Any>>,
}

/// RFC 5915 section 3.
#[derive(Sequence)]
struct EcPrivateKey<'a> {
    version: u8,
    private_key: &'a OctetStringRef,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    curve: Option<ObjectIdentifier>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    public_key: Option<BitString>,
}

/// RFC 5280 section 4.1, of version 3.
#[derive(Sequence)]
struct Tbs {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: Version,
    serial_number: SerialNumber,
    signature: AlgorithmIdentifierOwned,
    issuer: Name,
    validity: EncodedValidity,
    subject: Name,
    public_key: SubjectPublicKeyInfoOwned,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

#[derive(Sequence)]
struct Signed {
    tbs: Tbs,
    algorithm: AlgorithmIdentifierOwned,
    signature: BitString,
}

const UNENCODABLE: Error = Error::Issue { reason: "it can't be encoded" };

fn sign(
    key: &AuthorityKey,
    issuer: &Name,
    subject: &Name,
    public_key: &PublicKey,
    serial: &[u8; SERIAL_BYTES],
    validity: Validity,
    extensions: Vec<Extension>,
) -> Result<Certificate, Error> {
    if validity.not_after < validity.not_before {
        return Err(Error::Issue { reason: "it would end before it begins" });
    }
    let mut serial = *serial;
    if let Some(first) = serial.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    let algorithm = AlgorithmIdentifierOwned { oid: ECDSA_WITH_SHA256, parameters: None };
    let tbs = Tbs {
        version: Version::V3,
        serial_number: SerialNumber::new(&serial).map_err(|_| UNENCODABLE)?,
        signature: algorithm.clone(),
        issuer: issuer.clone(),
        validity: EncodedValidity::new(time(validity.not_before)?, time(validity.not_after)?),
        subject: subject.clone(),
        public_key: SubjectPublicKeyInfoOwned::from_der(public_key.spki_der()).map_err(|_| UNENCODABLE)?,
        extensions,
    };
    let signature: Signature = key.0.sign(&tbs.to_der().map_err(|_| UNENCODABLE)?);
    let signature = BitString::from_bytes(signature.to_der().as_bytes()).map_err(|_| UNENCODABLE)?;
    let der = Signed { tbs, algorithm, signature }.to_der().map_err(|_| UNENCODABLE)?;
    Certificate::from_der(&der)
}

/// UTCTime until 2049 and GeneralizedTime from then on (RFC 5280 section 4.1.2.5).
fn time(at: UnixMillis) -> Result<Time, Error> {
    DateTime::from_unix_duration(Duration::from_secs(at.as_secs()))
        .map(Time::from)
        .map_err(|_| Error::Issue { reason: "a certificate can't be valid after the year 9999" })
}

/// The first 20 bytes of the SHA-256 of the key's bits: method 1 of RFC 7093 section 2, which needs no SHA-1.
fn key_identifier(public_key: &PublicKey) -> Result<SubjectKeyIdentifier, Error> {
    let spki = SubjectPublicKeyInfoOwned::from_der(public_key.spki_der()).map_err(|_| UNENCODABLE)?;
    let digest = Sha256::digest(spki.subject_public_key.raw_bytes());
    octets(digest.first_chunk::<20>().map_or(&[], <[u8; 20]>::as_slice)).map(SubjectKeyIdentifier)
}

fn octets(bytes: &[u8]) -> Result<OctetString, Error> {
    OctetString::new(bytes).map_err(|_| UNENCODABLE)
}

fn extension(extn_id: ObjectIdentifier, critical: bool, value: &impl Encode) -> Result<Extension, Error> {
    let value = value.to_der().map_err(|_| UNENCODABLE)?;
    Ok(Extension { extn_id, critical, extn_value: octets(&value)? })
}
