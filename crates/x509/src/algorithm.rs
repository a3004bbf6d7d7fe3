//! Signature algorithms, and their names in certificates (RFC 3279, 4055, 5758, 8410).

use crate::Error;
use der::asn1::ObjectIdentifier;
use der::{Decode, Encode, Sequence};
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::spki::{AlgorithmIdentifierOwned, AlgorithmIdentifierRef};

/// A hash function of a signature. SHA-1 and MD5 are not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How a signature was made and is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2): JOSE's `RS256` with SHA-256.
    RsaPkcs1(Hash),
    /// RSASSA-PSS (RFC 8017 section 8.1), with MGF1 over the same hash: JOSE's `PS256` with SHA-256 and 32 bytes of salt.
    RsaPss {
        /// The hash of the message and of MGF1.
        hash: Hash,
        /// How long the salt is, in bytes.
        salt_bytes: u16,
    },
    /// ECDSA, r and s as a DER sequence (RFC 3279 section 2.2.3): certificates, and what openssl writes.
    EcdsaDer(Hash),
    /// ECDSA, r and s one after the other, each as long as the curve's field (RFC 7518 section 3.4): JOSE, WebCrypto.
    EcdsaRaw(Hash),
    /// Ed25519 (RFC 8032), not prehashed: JOSE's `EdDSA`.
    Ed25519,
}

pub(crate) const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
pub(crate) const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(crate) const CURVE_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(crate) const CURVE_P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
pub(crate) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
pub(crate) const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const SHA384_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const SHA512_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const MGF1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.8");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
const SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.3");

impl Hash {
    pub(crate) fn digest(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(message).to_vec(),
            Self::Sha384 => Sha384::digest(message).to_vec(),
            Self::Sha512 => Sha512::digest(message).to_vec(),
        }
    }

    fn from_oid(oid: ObjectIdentifier) -> Result<Self, Error> {
        match oid {
            SHA256 => Ok(Self::Sha256),
            SHA384 => Ok(Self::Sha384),
            SHA512 => Ok(Self::Sha512),
            other => Err(unsupported(other)),
        }
    }
}

impl SignatureAlgorithm {
    /// What a certificate or request says that it was signed with.
    pub(crate) fn from_identifier(identifier: &AlgorithmIdentifierOwned) -> Result<Self, Error> {
        let parameters = identifier.parameters.as_ref();
        let algorithm = match identifier.oid {
            SHA256_WITH_RSA => Self::RsaPkcs1(Hash::Sha256),
            SHA384_WITH_RSA => Self::RsaPkcs1(Hash::Sha384),
            SHA512_WITH_RSA => Self::RsaPkcs1(Hash::Sha512),
            ECDSA_WITH_SHA256 => Self::EcdsaDer(Hash::Sha256),
            ECDSA_WITH_SHA384 => Self::EcdsaDer(Hash::Sha384),
            ECDSA_WITH_SHA512 => Self::EcdsaDer(Hash::Sha512),
            ED25519 => Self::Ed25519,
            RSASSA_PSS => {
                let malformed = Error::Der { what: "the parameters of RSASSA-PSS" };
                let parameters = parameters.and_then(|parameters| parameters.to_der().ok()).ok_or(malformed.clone())?;
                return PssParameters::from_der(&parameters).map_err(|_| malformed)?.algorithm();
            }
            other => return Err(unsupported(other)),
        };
        // RFC 4055 section 5 demands NULL and asks to accept nothing in its place; RFC 5758 and 8410 demand nothing.
        let is_rsa = matches!(algorithm, Self::RsaPkcs1(_));
        match parameters {
            None => Ok(algorithm),
            Some(parameters) if is_rsa && parameters.is_null() => Ok(algorithm),
            Some(_) => Err(Error::Der { what: "the parameters of the signature algorithm" }),
        }
    }
}

fn unsupported(oid: ObjectIdentifier) -> Error {
    Error::UnsupportedAlgorithm { oid: oid.to_string() }
}

/// RFC 4055 section 3.1. What is absent stands for SHA-1.
#[derive(Sequence)]
struct PssParameters<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    hash: Option<AlgorithmIdentifierRef<'a>>,
    #[asn1(context_specific = "1", tag_mode = "EXPLICIT", optional = "true")]
    mask: Option<AlgorithmIdentifierRef<'a>>,
    #[asn1(context_specific = "2", tag_mode = "EXPLICIT", optional = "true")]
    salt_bytes: Option<u16>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    trailer: Option<u8>,
}

impl PssParameters<'_> {
    /// The longest salt that fits a signature of 4096 bits.
    const MAXIMUM_SALT: u16 = 512;

    fn algorithm(&self) -> Result<SignatureAlgorithm, Error> {
        let unaccepted = || unsupported(RSASSA_PSS);
        let hash = Hash::from_oid(self.hash.as_ref().ok_or_else(unaccepted)?.oid)?;
        let mask = self.mask.as_ref().filter(|mask| mask.oid == MGF1).ok_or_else(unaccepted)?;
        let inner = mask.parameters.ok_or_else(unaccepted)?;
        let inner = inner.decode_as::<AlgorithmIdentifierRef<'_>>().map_err(|_| unaccepted())?;
        let salt_bytes = self.salt_bytes.unwrap_or(20);
        if Hash::from_oid(inner.oid)? != hash || salt_bytes > Self::MAXIMUM_SALT || self.trailer.unwrap_or(1) != 1 {
            return Err(unaccepted());
        }
        Ok(SignatureAlgorithm::RsaPss { hash, salt_bytes })
    }
}
