//! A certificate as it is read.

use crate::extensions::Extensions;
use crate::pem::{self, Label};
use crate::{DistinguishedName, Error, KeyUsage, MAXIMUM_BYTES, MAXIMUM_CHAIN, PublicKey, Rule, SignatureAlgorithm};
use core::fmt;
use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tag, Tagged};
use iot_types::{CertificateId, UnixMillis};
use sha2::{Digest, Sha256};
use x509_cert::certificate::Version;
use x509_cert::time::Time;

const WHAT: &str = "the certificate";

const CLIENT_AUTHENTICATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");
const ANY_EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");

/// An X.509 certificate that is well formed and has a key of a kind that is accepted.
///
/// Nothing is said by that about who signed it or when it is valid: [`Certificate::verify_issued_by`],
/// [`Certificate::check_validity`], [`verify_chain`](crate::verify_chain).
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    serial: Vec<u8>,
    issuer: DistinguishedName,
    subject: DistinguishedName,
    not_before: UnixMillis,
    not_after: UnixMillis,
    public_key: PublicKey,
    signature_algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
    pub(crate) extensions: Extensions,
}

impl Certificate {
    /// Reads one certificate in PEM; text before it is passed over.
    ///
    /// # Errors
    /// Those of [`Certificate::from_der`], and [`Error::Pem`] when the text holds none, several, or something else.
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let blocks = pem::decode(text, Label::Certificate, 1, WHAT)?;
        Self::from_der(blocks.first().map_or(&[], Vec::as_slice))
    }

    /// Reads from one to [`MAXIMUM_CHAIN`] certificates in PEM, in the order of the text.
    ///
    /// # Errors
    /// As [`Certificate::from_pem`], for the first one that is not accepted.
    pub fn chain_from_pem(text: &str) -> Result<Vec<Self>, Error> {
        pem::decode(text, Label::Certificate, MAXIMUM_CHAIN, WHAT)?.iter().map(|der| Self::from_der(der)).collect()
    }

    /// Reads a certificate in DER.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond [`MAXIMUM_BYTES`]; [`Error::Der`], also for bytes after the end;
    /// [`Error::UnsupportedKey`]; [`Error::UnsupportedAlgorithm`]; [`Error::Refused`] for [`Rule::Version`],
    /// [`Rule::AlgorithmMismatch`] and [`Rule::DuplicateExtension`].
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        if der.len() > MAXIMUM_BYTES {
            return Err(Error::TooLarge { what: WHAT, maximum_bytes: MAXIMUM_BYTES });
        }
        let read = x509_cert::Certificate::from_der(der).map_err(|_| Error::Der { what: WHAT })?;
        let tbs = read.tbs_certificate();
        if tbs.signature() != read.signature_algorithm() {
            return Err(Rule::AlgorithmMismatch.into());
        }
        if tbs.extensions().is_some() && tbs.version() != Version::V3 {
            return Err(Rule::Version.into());
        }
        let signature = read.signature().as_bytes().ok_or(Error::Der { what: "the signature" })?;
        Ok(Self {
            der: der.to_vec(),
            serial: tbs.serial_number().as_bytes().to_vec(),
            issuer: DistinguishedName::from_name(tbs.issuer().clone()),
            subject: DistinguishedName::from_name(tbs.subject().clone()),
            not_before: unix_millis(tbs.validity().not_before),
            not_after: unix_millis(tbs.validity().not_after),
            public_key: PublicKey::from_spki(tbs.subject_public_key_info())?,
            signature_algorithm: SignatureAlgorithm::from_identifier(read.signature_algorithm())?,
            signature: signature.to_vec(),
            extensions: Extensions::read(tbs.extensions().map_or(&[], Vec::as_slice))?,
        })
    }

    /// The bytes it was read from.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its PEM as AWS writes it: lines of 64 characters ended by line feeds.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode(Label::Certificate, &self.der)
    }

    /// The SHA-256 of its DER, which AWS calls `certificateId`, as bytes.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        Sha256::digest(&self.der).into()
    }

    /// AWS's `certificateId`: the SHA-256 of its DER in lower-case hexadecimal digits.
    ///
    /// # Errors
    /// None that happens: 64 hexadecimal digits are a [`CertificateId`].
    pub fn certificate_id(&self) -> Result<CertificateId, Error> {
        CertificateId::new(hex::encode(self.fingerprint())).map_err(|_| Error::Der { what: WHAT })
    }

    /// Its serial number in two's complement, big endian, without superfluous bytes, as in its DER.
    ///
    /// Numbers below zero and of 21 bytes break RFC 5280 (section 4.1.2.2) and are in use, so they are read.
    #[must_use]
    pub fn serial_number(&self) -> &[u8] {
        &self.serial
    }

    /// Who it is about.
    #[must_use]
    pub const fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// Who issued it.
    #[must_use]
    pub const fn issuer(&self) -> &DistinguishedName {
        &self.issuer
    }

    /// The first moment at which it is valid. The year 1950 to 1969 of a UTCTime is before our epoch and refused.
    #[must_use]
    pub const fn not_before(&self) -> UnixMillis {
        self.not_before
    }

    /// The beginning of the last second in which it is valid.
    #[must_use]
    pub const fn not_after(&self) -> UnixMillis {
        self.not_after
    }

    /// The key that it binds to its subject.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// What it was signed with.
    #[must_use]
    pub const fn signature_algorithm(&self) -> SignatureAlgorithm {
        self.signature_algorithm
    }

    /// The issuer's signature, as in its DER.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The bytes that its issuer signed, exactly as they were read.
    ///
    /// # Errors
    /// None that happens: what was read as a certificate begins with them.
    pub fn signed_part(&self) -> Result<&[u8], Error> {
        signed_part(&self.der, WHAT)
    }

    /// Whether its basic constraints say that it may issue others (RFC 5280 section 4.2.1.9).
    #[must_use]
    pub fn is_ca(&self) -> bool {
        self.extensions.basic_constraints.as_ref().is_some_and(|constraints| constraints.ca)
    }

    /// How many authorities may stand between it and the last certificate of a chain; `None` for any number.
    #[must_use]
    pub fn path_length(&self) -> Option<u8> {
        self.extensions.basic_constraints.as_ref().and_then(|constraints| constraints.path_len_constraint)
    }

    /// What its key may be used for; `None` when it doesn't say, which forbids nothing.
    #[must_use]
    pub const fn key_usage(&self) -> Option<KeyUsage> {
        self.extensions.key_usage
    }

    /// The purposes of its key, as dotted object identifiers; `None` when it doesn't say, which forbids nothing.
    #[must_use]
    pub fn extended_key_usage(&self) -> Option<Vec<String>> {
        let purposes = self.extensions.extended_key_usage.as_ref()?;
        Some(purposes.iter().map(ToString::to_string).collect())
    }

    /// Whether its extended key usage lets it prove who a client is (RFC 5280 section 4.2.1.12).
    #[must_use]
    pub fn may_authenticate_clients(&self) -> bool {
        self.extensions.extended_key_usage.as_ref().is_none_or(|purposes| {
            purposes.iter().any(|purpose| [CLIENT_AUTHENTICATION, ANY_EXTENDED_KEY_USAGE].contains(purpose))
        })
    }

    /// Which of the subject's keys this is about (RFC 5280 section 4.2.1.2).
    #[must_use]
    pub fn subject_key_identifier(&self) -> Option<&[u8]> {
        self.extensions.subject_key_identifier.as_deref()
    }

    /// Which of the issuer's keys has signed it (RFC 5280 section 4.2.1.1).
    #[must_use]
    pub fn authority_key_identifier(&self) -> Option<&[u8]> {
        self.extensions.authority_key_identifier.as_deref()
    }

    /// Whether subject and issuer have the same name (RFC 5280 section 3.2).
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("certificate_id", &hex::encode(self.fingerprint()))
            .field("subject", &self.subject.to_string())
            .finish_non_exhaustive()
    }
}

/// The first part of a signed structure, which is what the signature is over. It is taken from the bytes as they came:
/// what is encoded anew need not be what was signed.
pub(crate) fn signed_part<'a>(der: &'a [u8], what: &'static str) -> Result<&'a [u8], Error> {
    let malformed = |_| Error::Der { what };
    let outer = AnyRef::from_der(der).map_err(malformed)?;
    if outer.tag() != Tag::Sequence {
        return Err(Error::Der { what });
    }
    SliceReader::new(outer.value()).and_then(|mut reader| reader.tlv_bytes()).map_err(malformed)
}

fn unix_millis(time: Time) -> UnixMillis {
    UnixMillis(time.to_unix_duration().as_secs().saturating_mul(1_000))
}
