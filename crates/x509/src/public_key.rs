//! The keys that devices and authorities may have, and what they signed.

use crate::algorithm::{CURVE_P256, CURVE_P384, EC_PUBLIC_KEY, ED25519, RSA_ENCRYPTION};
use crate::pem::{self, Label};
use crate::{Error, Hash, MAXIMUM_BYTES, SignatureAlgorithm};
use core::fmt;
use der::asn1::{ObjectIdentifier, UintRef};
use der::{Decode, Encode, Sequence};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::BoxedUint;
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::pss::Pss;
use sha2::{Sha256, Sha384, Sha512};
use x509_cert::spki::{SubjectPublicKeyInfoOwned, SubjectPublicKeyInfoRef};

/// Which kind of key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    /// RSA with a modulus of 2048 bits.
    Rsa2048,
    /// RSA with a modulus of 3072 bits.
    Rsa3072,
    /// RSA with a modulus of 4096 bits.
    Rsa4096,
    /// On the curve P-256, also called prime256v1 and secp256r1.
    P256,
    /// On the curve P-384, also called secp384r1.
    P384,
    /// Ed25519.
    Ed25519,
}

/// A public key of one of the kinds that are accepted, known to be well formed: a point is on its curve.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: Key,
    /// SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7).
    spki: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq)]
enum Key {
    Rsa(KeyKind, rsa::PublicKey),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

const WHAT: &str = "the public key";

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo in DER, as `openssl pkey -pubout -outform der` writes it.
    ///
    /// # Errors
    /// [`Error::Der`]; [`Error::UnsupportedKey`] for RSA keys of other sizes than 2048, 3072 and 4096 bits, for other
    /// curves than P-256 and P-384, and for other algorithms.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, Error> {
        if der.len() > MAXIMUM_BYTES {
            return Err(Error::TooLarge { what: WHAT, maximum_bytes: MAXIMUM_BYTES });
        }
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| Error::Der { what: WHAT })?;
        let bits = spki.subject_public_key.as_bytes().ok_or(Error::Der { what: WHAT })?;
        let parameters = spki.algorithm.parameters;
        let key = match spki.algorithm.oid {
            RSA_ENCRYPTION if parameters.is_some_and(|parameters| parameters.is_null()) => rsa_key(bits)?,
            EC_PUBLIC_KEY => {
                let curve = parameters.and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
                match curve.ok_or(Error::UnsupportedKey { reason: "its curve has no name" })? {
                    CURVE_P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(bits).map(Key::P256),
                    CURVE_P384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(bits).map(Key::P384),
                    _ => return Err(Error::UnsupportedKey { reason: "its curve is neither P-256 nor P-384" }),
                }
                .map_err(|_| Error::UnsupportedKey { reason: "its point is not on the curve" })?
            }
            ED25519 if parameters.is_none() => <[u8; 32]>::try_from(bits)
                .ok()
                .and_then(|bytes| ed25519_dalek::VerifyingKey::from_bytes(&bytes).ok())
                .filter(|key| !key.is_weak())
                .map(Key::Ed25519)
                .ok_or(Error::UnsupportedKey { reason: "its point is not one of Ed25519's" })?,
            RSA_ENCRYPTION | ED25519 => return Err(Error::Der { what: WHAT }),
            _ => return Err(Error::UnsupportedKey { reason: "it is neither RSA nor ECDSA nor Ed25519" }),
        };
        Ok(Self { key, spki: der.to_vec() })
    }

    pub(crate) fn from_spki(spki: &SubjectPublicKeyInfoOwned) -> Result<Self, Error> {
        Self::from_spki_der(&spki.to_der().map_err(|_| Error::Der { what: WHAT })?)
    }

    /// Reads the PEM that AWS calls `PublicKey` of a key pair.
    ///
    /// # Errors
    /// [`Error::Pem`], and those of [`PublicKey::from_spki_der`].
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let blocks = pem::decode(text, Label::PublicKey, 1, WHAT)?;
        Self::from_spki_der(blocks.first().map_or(&[], Vec::as_slice))
    }

    /// Its SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// Its SubjectPublicKeyInfo in PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode(Label::PublicKey, &self.spki)
    }

    /// Which kind of key it is.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        match &self.key {
            Key::Rsa(kind, _) => *kind,
            Key::P256(_) => KeyKind::P256,
            Key::P384(_) => KeyKind::P384,
            Key::Ed25519(_) => KeyKind::Ed25519,
        }
    }

    /// Whether `signature` is this key's over `message`, made with `algorithm`.
    ///
    /// # Errors
    /// [`Error::Signature`] when it is not, or when keys of this kind do not sign with this algorithm.
    pub fn verify(&self, algorithm: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let is_good = match (&self.key, algorithm) {
            (Key::Rsa(_, key), SignatureAlgorithm::RsaPkcs1(hash)) => {
                let scheme = match hash {
                    Hash::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
                    Hash::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
                    Hash::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
                };
                key.verify(scheme, &hash.digest(message), signature).is_ok()
            }
            (Key::Rsa(_, key), SignatureAlgorithm::RsaPss { hash, salt_bytes }) => {
                let digest = hash.digest(message);
                let salt = usize::from(salt_bytes);
                match hash {
                    Hash::Sha256 => key.verify(Pss::<Sha256>::new_with_salt(salt), &digest, signature),
                    Hash::Sha384 => key.verify(Pss::<Sha384>::new_with_salt(salt), &digest, signature),
                    Hash::Sha512 => key.verify(Pss::<Sha512>::new_with_salt(salt), &digest, signature),
                }
                .is_ok()
            }
            (Key::P256(key), SignatureAlgorithm::EcdsaDer(hash)) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&hash.digest(message), &signature).is_ok()),
            (Key::P256(key), SignatureAlgorithm::EcdsaRaw(hash)) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_prehash(&hash.digest(message), &signature).is_ok()),
            (Key::P384(key), SignatureAlgorithm::EcdsaDer(hash)) => p384::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&hash.digest(message), &signature).is_ok()),
            (Key::P384(key), SignatureAlgorithm::EcdsaRaw(hash)) => p384::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_prehash(&hash.digest(message), &signature).is_ok()),
            // strict: refuses points of small order, for which one signature fits many messages
            (Key::Ed25519(key), SignatureAlgorithm::Ed25519) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            (Key::Rsa(..) | Key::P256(_) | Key::P384(_) | Key::Ed25519(_), _) => false,
        };
        if is_good { Ok(()) } else { Err(Error::Signature) }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.kind()).finish()
    }
}

/// RFC 3279 section 2.3.1.
#[derive(Sequence)]
struct RsaKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

fn rsa_key(bits: &[u8]) -> Result<Key, Error> {
    let RsaKey { modulus, exponent } = RsaKey::from_der(bits).map_err(|_| Error::Der { what: WHAT })?;
    let modulus = modulus.as_bytes();
    let has_top_bit = modulus.first().is_some_and(|byte| byte & 0x80 != 0);
    let kind = match (modulus.len(), has_top_bit) {
        (256, true) => KeyKind::Rsa2048,
        (384, true) => KeyKind::Rsa3072,
        (512, true) => KeyKind::Rsa4096,
        _ => return Err(Error::UnsupportedKey { reason: "an RSA key has 2048, 3072 or 4096 bits" }),
    };
    // An exponent of more bits makes each verification slower, and none is in use.
    if exponent.as_bytes().len() > 4 {
        return Err(Error::UnsupportedKey { reason: "an RSA key's exponent has at most 32 bits" });
    }
    rsa::PublicKey::new(
        BoxedUint::from_be_slice_vartime(modulus),
        BoxedUint::from_be_slice_vartime(exponent.as_bytes()),
    )
    .map(|key| Key::Rsa(kind, key))
    .map_err(|_| Error::UnsupportedKey { reason: "its modulus or exponent is none of RSA's" })
}
