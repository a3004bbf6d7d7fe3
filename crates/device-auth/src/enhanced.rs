//! MQTT 5's enhanced authentication with a device's key (MQTT 5.0 section 4.12): the server draws a nonce, the device
//! signs it.
//!
//! The authentication method is [`METHOD`]. CONNECT carries no authentication data. AUTH with reason code 0x18 brings
//! the challenge, the client answers with the same reason code, and CONNACK or DISCONNECT follows; the same again when a
//! client re-authenticates (section 4.12.1), with a new nonce.
//!
//! | packet | authentication data |
//! |---|---|
//! | AUTH from the server | byte 1 (the version), 32 bytes of nonce |
//! | AUTH from the client | byte 1, a byte for the [algorithm](Algorithm), a two-byte length, a credential of that length, the signature |
//!
//! The credential is the certificateId as 32 bytes, or the whole certificate in DER, for one that is not registered yet
//! but whose authority is. The signature is over
//!
//! ```text
//! "umbra-x509 v1" 00 | length, server name | length, client identifier | nonce
//! ```
//!
//! with lengths of two bytes, big endian. The server name is the host that the client has connected to, in lower case
//! and without a port: a server that forwards the challenge of another gets a signature that the other doesn't accept.
//! The client identifier is CONNECT's, empty when the server is to assign one; in a re-authentication that of the connection.

use crate::AuthError;
use iot_types::{CertificateId, UnixMillis};
use serde::{Deserialize, Serialize};
use x509::{Certificate, Hash, SignatureAlgorithm};

/// The Authentication Method.
pub const METHOD: &str = "umbra-x509";

/// How many random bytes a challenge has.
pub const NONCE_BYTES: usize = 32;

/// How long an answer is waited for, in milliseconds: as long as for CONNECT itself.
pub const CHALLENGE_LIFETIME_MILLIS: u64 = 30_000;

/// The longest answer: a certificate of 4096 bits with many extensions, and a signature of 512 bytes.
const MAXIMUM_ANSWER_BYTES: usize = 16 * 1_024;

const VERSION: u8 = 1;

const DOMAIN: &[u8] = b"umbra-x509 v1\0";

/// How the device signs, as the second byte of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256, r and s one after the other (RFC 7518).
    Es256 = 1,
    /// ECDSA on P-384 with SHA-384, r and s one after the other.
    Es384 = 2,
    /// Ed25519.
    EdDsa = 3,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256 = 4,
    /// RSASSA-PSS with SHA-256 and 32 bytes of salt.
    Ps256 = 5,
    /// As 1, as a DER sequence, which TLS libraries and secure elements give.
    Es256Der = 6,
    /// As 2, as a DER sequence.
    Es384Der = 7,
}

impl Algorithm {
    const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Es256,
            2 => Self::Es384,
            3 => Self::EdDsa,
            4 => Self::Rs256,
            5 => Self::Ps256,
            6 => Self::Es256Der,
            7 => Self::Es384Der,
            _ => return None,
        })
    }

    const fn signature_algorithm(self) -> SignatureAlgorithm {
        match self {
            Self::Es256 => SignatureAlgorithm::EcdsaRaw(Hash::Sha256),
            Self::Es384 => SignatureAlgorithm::EcdsaRaw(Hash::Sha384),
            Self::EdDsa => SignatureAlgorithm::Ed25519,
            Self::Rs256 => SignatureAlgorithm::RsaPkcs1(Hash::Sha256),
            Self::Ps256 => SignatureAlgorithm::RsaPss { hash: Hash::Sha256, salt_bytes: 32 },
            Self::Es256Der => SignatureAlgorithm::EcdsaDer(Hash::Sha256),
            Self::Es384Der => SignatureAlgorithm::EcdsaDer(Hash::Sha384),
        }
    }
}

/// A challenge that waits for its answer. It can be stored while its object sleeps; it is answered at most once.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Challenge {
    nonce: [u8; NONCE_BYTES],
    server_name: String,
    client_id: String,
    issued_at: UnixMillis,
}

impl Challenge {
    /// Begins an exchange. `nonce` must have been drawn at random for it alone; `client_id` is CONNECT's.
    ///
    /// # Errors
    /// [`AuthError::DeviceProof`] when CONNECT has authentication data, or a name is longer than 65,535 bytes.
    pub fn start(
        data: &[u8],
        server_name: &str,
        client_id: &str,
        nonce: [u8; NONCE_BYTES],
        now: UnixMillis,
    ) -> Result<Self, AuthError> {
        if !data.is_empty() {
            return Err(refused("CONNECT has authentication data, which this method has not"));
        }
        if [server_name, client_id].iter().any(|name| u16::try_from(name.len()).is_err()) {
            return Err(refused("a name is too long"));
        }
        let server_name = server_name.to_ascii_lowercase();
        Ok(Self { nonce, server_name, client_id: client_id.to_owned(), issued_at: now })
    }

    /// The authentication data of the server's AUTH.
    #[must_use]
    pub fn data(&self) -> Vec<u8> {
        [&[VERSION], self.nonce.as_slice()].concat()
    }

    /// What the client signs.
    #[must_use]
    pub fn signed_text(&self) -> Vec<u8> {
        let mut text = DOMAIN.to_vec();
        for name in [&self.server_name, &self.client_id] {
            // `start` has bounded them
            text.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_be_bytes());
            text.extend(name.as_bytes());
        }
        text.extend(self.nonce);
        text
    }

    /// Takes the authentication data of the client's AUTH. What it proves is known when the certificate has been found:
    /// [`Answer::verify`].
    ///
    /// # Errors
    /// [`AuthError::DeviceProof`] when it is malformed or too late.
    pub fn finish(self, data: &[u8], now: UnixMillis) -> Result<Answer, AuthError> {
        if now.millis_since(self.issued_at) > CHALLENGE_LIFETIME_MILLIS {
            return Err(refused("the answer came too late"));
        }
        if data.len() > MAXIMUM_ANSWER_BYTES {
            return Err(refused("it is too long"));
        }
        let malformed = || refused("it is malformed");
        let ([version, algorithm, length @ ..], rest) = data.split_first_chunk::<4>().ok_or_else(malformed)?;
        if *version != VERSION {
            return Err(refused("it has an unknown version"));
        }
        let algorithm = Algorithm::from_byte(*algorithm).ok_or(refused("it has an unknown algorithm"))?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (credential, signature) = rest.split_at_checked(length).ok_or_else(malformed)?;
        let credential = if credential.len() == 32 {
            Credential::Id(CertificateId::new(hex::encode(credential)).map_err(|_| malformed())?)
        } else {
            let certificate =
                Certificate::from_der(credential).map_err(|_| refused("its certificate can't be read"))?;
            Credential::Certificate(Box::new(certificate))
        };
        Ok(Answer { credential, algorithm, signed_text: self.signed_text(), signature: signature.to_vec() })
    }
}

/// Which certificate's key is being proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A registered one.
    Id(CertificateId),
    /// One that came with the answer. It has to be looked up all the same: it may be registered, inactive or revoked.
    Certificate(Box<Certificate>),
}

/// An answer, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    credential: Credential,
    algorithm: Algorithm,
    signed_text: Vec<u8>,
    signature: Vec<u8>,
}

impl Answer {
    /// Which certificate to look up.
    #[must_use]
    pub const fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Whether the holder of this certificate's key gave the answer. Its validity and status are the caller's to check.
    ///
    /// # Errors
    /// [`AuthError::DeviceProof`] when the certificate is not the one of the answer, or the signature is not its key's.
    pub fn verify(&self, certificate: &Certificate) -> Result<CertificateId, AuthError> {
        let other = || refused("it is of another certificate");
        let found = certificate.certificate_id().map_err(|_| other())?;
        let is_same = match &self.credential {
            Credential::Id(id) => *id == found,
            Credential::Certificate(own) => **own == *certificate,
        };
        if !is_same {
            return Err(other());
        }
        certificate
            .public_key()
            .verify(self.algorithm.signature_algorithm(), &self.signed_text, &self.signature)
            .map_err(|_| refused("the signature is not the certificate's key's over this challenge"))?;
        Ok(found)
    }
}

const fn refused(reason: &'static str) -> AuthError {
    AuthError::DeviceProof { what: "the authentication data", reason }
}
