//! JSON Web Tokens that devices sign with their registered key (RFC 7519), as a password or a bearer token.
//!
//! ```text
//! header  {"alg": "ES256", "kid": "<certificateId>", "typ": "JWT"}
//! claims  {"aud": "<host>", "iat": 1738240496, "exp": 1738242296, "sub": "<client id>", "jti": "…"}
//! ```
//!
//! - `alg` is `ES256`, `ES384`, `EdDSA`, `RS256` or `PS256`, and must be what the certificate's key signs with. There is
//!   no `none`, and no HMAC: a public key is no secret.
//! - `kid` is the certificateId, whose key is looked up between [`Token::parse`] and [`Token::verify`].
//! - `aud` is the server name that the device has connected to, or an array that has it.
//! - `iat` and `exp` are required and at most [`MAXIMUM_LIFETIME_MILLIS`] apart; `nbf` is kept if it is there.
//!   Clocks may differ by [`CLOCK_TOLERANCE_MILLIS`].
//! - `sub` is required: the certificateId, or the MQTT client identifier, with which the token is good for no other.
//! - `jti` makes a token good for one use, which whoever accepts it has to see to ([`DeviceToken::use_of_it`]). Without it a token can be used until it expires, which is
//!   what HTTPS clients want of a bearer token; the bound is then its lifetime.

use crate::principal::Principal;
use crate::{AuthError, keyed_hash};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use iot_types::{CertificateId, UnixMillis};
use serde::Deserialize;
use x509::{Certificate, Hash, KeyKind, SignatureAlgorithm};

/// The longest token. One of a key of 4096 bits has 683 characters of signature; the rest is header and claims.
pub const MAXIMUM_TOKEN_BYTES: usize = 4 * 1_024;

/// The longest time from `iat` to `exp`, in milliseconds: an hour. A stolen token is worth that long at most.
pub const MAXIMUM_LIFETIME_MILLIS: u64 = 3_600_000;

/// How far a device's clock may be off, in milliseconds: five minutes, as for AWS's signatures.
pub const CLOCK_TOLERANCE_MILLIS: u64 = 300_000;

/// The most members of `aud`.
const MAXIMUM_AUDIENCES: usize = 8;

/// The latest time that is read, in seconds: the year 9999. What is beyond it is no time.
const MAXIMUM_SECONDS: f64 = 253_402_300_799.0;

/// The server name in a `Host` header, which is what `aud` names (RFC 9110 section 7.2).
#[must_use]
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // An address of version 6 is in brackets, colons and all.
        Some((name, port)) if !port.ends_with(']') && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// A token that is well formed and not verified: nothing in it is to be believed.
#[derive(Clone, PartialEq)]
pub struct Token {
    algorithm: Algorithm,
    certificate_id: CertificateId,
    claims: Claims,
    signed: Vec<u8>,
    signature: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Algorithm {
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "ES384")]
    Es384,
    #[serde(rename = "EdDSA")]
    EdDsa,
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "PS256")]
    Ps256,
}

impl Algorithm {
    /// What the signature was made with, if keys of this kind make such.
    const fn of_key(self, kind: KeyKind) -> Option<SignatureAlgorithm> {
        match (self, kind) {
            (Self::Es256, KeyKind::P256) => Some(SignatureAlgorithm::EcdsaRaw(Hash::Sha256)),
            (Self::Es384, KeyKind::P384) => Some(SignatureAlgorithm::EcdsaRaw(Hash::Sha384)),
            (Self::EdDsa, KeyKind::Ed25519) => Some(SignatureAlgorithm::Ed25519),
            (Self::Rs256, KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096) => {
                Some(SignatureAlgorithm::RsaPkcs1(Hash::Sha256))
            }
            (Self::Ps256, KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096) => {
                Some(SignatureAlgorithm::RsaPss { hash: Hash::Sha256, salt_bytes: 32 })
            }
            (Self::Es256 | Self::Es384 | Self::EdDsa | Self::Rs256 | Self::Ps256, _) => None,
        }
    }
}

/// RFC 7515 section 4.1. Members that are not named are ignored, as it demands.
#[derive(Deserialize)]
struct Header {
    alg: Algorithm,
    kid: String,
    typ: Option<String>,
    /// Extensions that must be understood. None is.
    crit: Option<serde_json::Value>,
}

/// RFC 7519 section 4.1.
#[derive(Clone, PartialEq, Deserialize)]
struct Claims {
    aud: Audience,
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
    sub: String,
    jti: Option<String>,
}

#[derive(Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// What a token is held against.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The server name that the device has connected to.
    pub audience: &'a str,
    /// The MQTT client identifier; `None` where there is none, as on HTTPS.
    pub client_id: Option<&'a str>,
    /// The time.
    pub now: UnixMillis,
}

/// A verified token: the holder of the certificate's key has signed it. Whether it has been used before, and the validity
/// and status of the certificate, are the caller's to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceToken {
    /// Whose key it was signed with.
    pub certificate_id: CertificateId,
    /// When it ends. A connection that was opened with it may go on.
    pub expires_at: UnixMillis,
    /// The SHA-256 of its `jti`, if it has one and so is good for one use.
    pub once: Option<[u8; 32]>,
}

impl DeviceToken {
    /// What names the one use that it is good for, and until when that has to be remembered; `None` for a token that may
    /// be used until it expires.
    #[must_use]
    pub fn use_of_it(&self) -> Option<(String, UnixMillis)> {
        let until = self.expires_at.plus_millis(CLOCK_TOLERANCE_MILLIS);
        self.once.as_ref().map(|once| (hex::encode(once), until))
    }

    /// Who has signed it.
    #[must_use]
    pub fn into_principal(self) -> Principal {
        Principal::Certificate { certificate_id: self.certificate_id }
    }
}

impl Token {
    /// Reads a token (RFC 7515 section 7.1).
    ///
    /// # Errors
    /// [`AuthError::DeviceProof`] when it is too long, malformed, lacks what is required, or has another algorithm.
    pub fn parse(text: &str) -> Result<Self, AuthError> {
        if text.len() > MAXIMUM_TOKEN_BYTES {
            return Err(refused("it is too long"));
        }
        let malformed = || refused("it is malformed");
        let (signed, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        let decode = |part: &str| BASE64URL.decode(part).map_err(|_| malformed());
        let header: Header = serde_json::from_slice(&decode(header)?)
            .map_err(|_| refused("its header lacks `kid`, or an algorithm that is accepted"))?;
        if header.crit.is_some() {
            return Err(refused("its header demands extensions"));
        }
        if header.typ.is_some_and(|typ| !typ.eq_ignore_ascii_case("JWT")) {
            return Err(refused("its `typ` is not `JWT`"));
        }
        let certificate_id = CertificateId::new(header.kid.to_ascii_lowercase());
        let claims: Claims = serde_json::from_slice(&decode(claims)?)
            .map_err(|_| refused("its claims lack one of `aud`, `exp`, `iat` and `sub`, or one is malformed"))?;
        if let Audience::Several(audiences) = &claims.aud
            && audiences.len() > MAXIMUM_AUDIENCES
        {
            return Err(refused("it is for too many audiences"));
        }
        Ok(Self {
            algorithm: header.alg,
            certificate_id: certificate_id.map_err(|_| refused("its `kid` is not a certificateId"))?,
            claims,
            signed: signed.as_bytes().to_vec(),
            signature: decode(signature)?,
        })
    }

    /// Whose key it says that it was signed with: the certificate to look up.
    #[must_use]
    pub const fn certificate_id(&self) -> &CertificateId {
        &self.certificate_id
    }

    /// Whether this certificate's key has signed the token, and it is meant for here and now.
    ///
    /// # Errors
    /// [`AuthError::DeviceProof`] with the first rule that it breaks; the signature is looked at before the claims.
    pub fn verify(&self, certificate: &Certificate, expected: &Expected<'_>) -> Result<DeviceToken, AuthError> {
        let certificate_id = self.certificate_id.clone();
        if certificate.certificate_id().as_ref() != Ok(&certificate_id) {
            return Err(refused("it is of another certificate"));
        }
        let key = certificate.public_key();
        let algorithm = self.algorithm.of_key(key.kind());
        let algorithm = algorithm.ok_or(refused("its algorithm is not one of the certificate's key"))?;
        key.verify(algorithm, &self.signed, &self.signature)
            .map_err(|_| refused("the signature is not the certificate's key's"))?;

        let Claims { aud, exp, iat, nbf, sub, jti } = &self.claims;
        let is_here = |audience: &String| audience.eq_ignore_ascii_case(expected.audience);
        if !match aud {
            Audience::One(audience) => is_here(audience),
            Audience::Several(audiences) => audiences.iter().any(is_here),
        } {
            return Err(refused("its `aud` is another server"));
        }
        if sub != certificate_id.as_str() && Some(sub.as_str()) != expected.client_id {
            return Err(refused("its `sub` is neither the certificateId nor the client identifier"));
        }
        let (issued_at, expires_at) = (millis(*iat)?, millis(*exp)?);
        let not_before = nbf.map(millis).transpose()?.unwrap_or(issued_at).max(issued_at);
        if expires_at <= issued_at {
            return Err(refused("its `exp` is not after its `iat`"));
        }
        if expires_at.millis_since(issued_at) > MAXIMUM_LIFETIME_MILLIS {
            return Err(refused("it is valid for more than an hour"));
        }
        if not_before.millis_since(expected.now) > CLOCK_TOLERANCE_MILLIS {
            return Err(refused("it is not valid yet"));
        }
        if expected.now >= expires_at.plus_millis(CLOCK_TOLERANCE_MILLIS) {
            return Err(refused("it has expired"));
        }
        let once = jti.as_ref().map(|id| keyed_hash::sha256(id.as_bytes()));
        Ok(DeviceToken { certificate_id, expires_at, once })
    }
}

/// RFC 7519 section 2: seconds, and parts of them.
fn millis(seconds: f64) -> Result<UnixMillis, AuthError> {
    if !(0.0..=MAXIMUM_SECONDS).contains(&seconds) {
        return Err(refused("a time in it is none"));
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded above, and not negative")]
    let millis = (seconds * 1_000.0) as u64;
    Ok(UnixMillis(millis))
}

const fn refused(reason: &'static str) -> AuthError {
    AuthError::DeviceProof { what: "the token", reason }
}
