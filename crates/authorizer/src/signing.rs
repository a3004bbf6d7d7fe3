//! Signed tokens: they keep strangers from making the function run.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::collections::BTreeMap;
use x509::{Hash, KeyKind, PublicKey, SignatureAlgorithm};

/// Most keys of an authorizer: the present one and the one before it or after it (AWS IoT developer guide, "Creating and
/// managing custom authorizers").
pub const MAXIMUM_SIGNING_KEYS: usize = 2;

/// Longest name of a key, in characters (AWS API, `KeyName`).
const MAXIMUM_KEY_NAME_CHARACTERS: usize = 128;
/// Longest key, in characters (AWS API, `KeyValue`).
const MAXIMUM_KEY_CHARACTERS: usize = 5_120;

/// AWS's pattern for signatures, `[A-Za-z0-9+/]+={0,2}`, does not ask for padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The keys that an authorizer's tokens are signed with: one or two of RSA, of 2048 bits or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKeys(Vec<PublicKey>);

/// Why keys are not accepted. Fit for the client that sent them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// None, or more than [`MAXIMUM_SIGNING_KEYS`].
    #[error("tokenSigningPublicKeys must have one or two keys")]
    Count,
    /// A key's name.
    #[error(
        "The names of tokenSigningPublicKeys must have 1 to {MAXIMUM_KEY_NAME_CHARACTERS} characters and match \
         [a-zA-Z0-9:_-]+"
    )]
    Name,
    /// More than AWS's 5,120 characters.
    #[error("The key {name} of tokenSigningPublicKeys must have at most {MAXIMUM_KEY_CHARACTERS} characters")]
    Length {
        /// The key's name.
        name: String,
    },
    /// Not the PEM of a public key.
    #[error("The key {name} of tokenSigningPublicKeys is not valid: {error}")]
    Key {
        /// The key's name.
        name: String,
        /// What is wrong with it.
        error: x509::Error,
    },
    /// A key of another algorithm.
    #[error("The key {name} of tokenSigningPublicKeys is no RSA key")]
    Algorithm {
        /// The key's name.
        name: String,
    },
}

impl SigningKeys {
    /// Reads `tokenSigningPublicKeys`: PEM by name.
    ///
    /// # Errors
    /// [`SigningKeyError`].
    pub fn parse(keys: &BTreeMap<String, String>) -> Result<Self, SigningKeyError> {
        if !(1..=MAXIMUM_SIGNING_KEYS).contains(&keys.len()) {
            return Err(SigningKeyError::Count);
        }
        let keys = keys.iter().map(|(name, pem)| {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-');
            if !(1..=MAXIMUM_KEY_NAME_CHARACTERS).contains(&name.len()) || !name.bytes().all(is_name) {
                return Err(SigningKeyError::Name);
            }
            let name = || name.clone();
            if pem.chars().nth(MAXIMUM_KEY_CHARACTERS).is_some() {
                return Err(SigningKeyError::Length { name: name() });
            }
            let key = PublicKey::from_pem(pem).map_err(|error| SigningKeyError::Key { name: name(), error })?;
            match key.kind() {
                KeyKind::Rsa2048 | KeyKind::Rsa3072 | KeyKind::Rsa4096 => Ok(key),
                KeyKind::P256 | KeyKind::P384 | KeyKind::Ed25519 => Err(SigningKeyError::Algorithm { name: name() }),
            }
        });
        keys.collect::<Result<_, _>>().map(Self)
    }

    /// Whether the signature is one of these keys', with RSASSA-PKCS1-v1_5 and SHA-256. It is Base64, which may be
    /// percent-encoded: browsers have to, and some clients do in headers, where nobody decodes it.
    fn verify(&self, token: &str, signature: &str) -> Result<(), TokenError> {
        let signature = if signature.contains('%') {
            percent_decode_str(signature).decode_utf8().map_err(|_| TokenError::SignatureEncoding)?
        } else {
            Cow::Borrowed(signature)
        };
        let signature = BASE64.decode(signature.as_bytes()).map_err(|_| TokenError::SignatureEncoding)?;
        let algorithm = SignatureAlgorithm::RsaPkcs1(Hash::Sha256);
        let is_signed = |key: &PublicKey| key.verify(algorithm, token.as_bytes(), &signature).is_ok();
        if self.0.iter().any(is_signed) { Ok(()) } else { Err(TokenError::Signature) }
    }
}

/// Whether an authorizer's tokens must be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SigningPolicy {
    /// `signingDisabled`: the function is called with whatever comes.
    Disabled,
    /// By one of these keys.
    Required(SigningKeys),
}

/// Why the function is not called and the client refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none under the authorizer's `tokenKeyName`.
    #[error("the request has no token for the authorizer")]
    NoToken,
    /// There is no signature.
    #[error("the request has no signature of its token")]
    NoSignature,
    /// The signature is not Base64.
    #[error("the signature of the token is not Base64")]
    SignatureEncoding,
    /// The signature is not one of the authorizer's keys'.
    #[error("the signature of the token is not valid")]
    Signature,
}

/// A token that the function may be called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedToken {
    /// The token, which can be absent only where none has to be signed.
    pub token: Option<String>,
    /// Whether a signature was checked: `signatureVerified` of the event.
    pub is_signature_verified: bool,
}

/// Decides whether the function may be called.
///
/// # Errors
/// [`TokenError`]: it may not.
pub fn check_token(
    token: Option<String>,
    signature: Option<&str>,
    policy: &SigningPolicy,
) -> Result<CheckedToken, TokenError> {
    let SigningPolicy::Required(keys) = policy else {
        return Ok(CheckedToken { token, is_signature_verified: false });
    };
    let token = token.ok_or(TokenError::NoToken)?;
    keys.verify(&token, signature.ok_or(TokenError::NoSignature)?)?;
    Ok(CheckedToken { token: Some(token), is_signature_verified: true })
}
