//! Access keys whose secrets are nowhere stored: they are derived from the deployment's master secret whenever they are
//! needed, so that a copy of the registry holds nothing to sign with.
//!
//! - **API keys**, for people and services: `UMBK` and 16 characters drawn at random. The secret is of the identifier.
//! - **Temporary credentials**, for devices: `ASIA` and 16 characters, and a session token that says, under a MAC, whom
//!   they were given to, for which role, and until when. The secret is of both.
//!
//! Whether an API key is still there, and whether the certificate of a session is still active, is the registry's to
//! know: what is found here is only that the caller holds the secret.

use crate::access_key::{AccessKeyId, SecretAccessKey};
use crate::internal_header::InternalKey;
use crate::principal::Principal;
use crate::{AuthError, keyed_hash, sealed};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use iot_types::{CertificateId, UnixMillis};
use serde::{Deserialize, Serialize};

/// Random bytes in an identifier: five bits of each make a character.
pub const RANDOM_BYTES: usize = 16;

const API_KEY_PREFIX: &str = "UMBK";
const SESSION_PREFIX: &str = "ASIA";
/// RFC 4648 section 6.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Bytes of a derived secret: 40 characters of base64, as IAM's have.
const SECRET_BYTES: usize = 30;

/// What the keys of API keys and of sessions are derived for.
const LABELS: [&str; 3] = ["api key secrets", "session secrets", "session tokens"];

/// A key that was made just now. The secret is told once, and kept nowhere.
#[derive(Clone, Debug)]
pub struct IssuedKey {
    /// The public half.
    pub access_key_id: AccessKeyId,
    /// The secret half.
    pub secret: SecretAccessKey,
    /// For temporary ones only.
    pub session_token: Option<String>,
}

/// Whom temporary credentials are for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// The role whose policies count.
    pub role_arn: String,
    /// The certificate that asked for them.
    pub certificate_id: CertificateId,
    /// The thing that it asked for them as.
    pub thing_name: Option<String>,
    /// When they end.
    pub expires_at: UnixMillis,
}

/// Derives secrets.
#[derive(Clone, Debug)]
pub struct DerivedKeys {
    api_keys: InternalKey,
    sessions: InternalKey,
    tokens: InternalKey,
}

impl DerivedKeys {
    /// Those of a deployment.
    ///
    /// # Errors
    /// [`AuthError::Configuration`] for a master secret that is too short.
    pub fn new(master: &[u8]) -> Result<Self, AuthError> {
        let [api_keys, sessions, tokens] = LABELS.map(|label| InternalKey::derive(master, label));
        Ok(Self { api_keys: api_keys?, sessions: sessions?, tokens: tokens? })
    }

    /// A new API key. To be stored: its identifier.
    ///
    /// # Errors
    /// None that happens.
    pub fn issue_api_key(&self, random: &[u8; RANDOM_BYTES]) -> Result<IssuedKey, AuthError> {
        let access_key_id = identifier(API_KEY_PREFIX, random)?;
        let secret = secret(&self.api_keys, &[access_key_id.as_str().as_bytes()])?;
        Ok(IssuedKey { access_key_id, secret, session_token: None })
    }

    /// New temporary credentials. Nothing is to be stored.
    ///
    /// # Errors
    /// None that happens.
    pub fn issue_session(&self, random: &[u8; RANDOM_BYTES], session: &Session) -> Result<IssuedKey, AuthError> {
        let access_key_id = identifier(SESSION_PREFIX, random)?;
        let token = sealed::seal(&self.tokens, session)
            .map_err(|reason| AuthError::Configuration { what: "session token", reason })?;
        let secret = self.session_secret(&access_key_id, &token)?;
        Ok(IssuedKey { access_key_id, secret, session_token: Some(token) })
    }

    /// The secret that a caller has to hold who names this key, and who it is then; `None` for what is no key of these
    /// kinds.
    ///
    /// # Errors
    /// [`AuthError::UnrecognizedClient`] for a session token that is missing or not ours; [`AuthError::ExpiredToken`].
    pub fn find(
        &self,
        access_key_id: &AccessKeyId,
        session_token: Option<&str>,
        now: UnixMillis,
    ) -> Result<Option<(SecretAccessKey, Principal)>, AuthError> {
        if access_key_id.as_str().starts_with(API_KEY_PREFIX) {
            let secret = secret(&self.api_keys, &[access_key_id.as_str().as_bytes()])?;
            return Ok(Some((secret, Principal::ApiKey { access_key_id: access_key_id.clone() })));
        }
        if !access_key_id.as_str().starts_with(SESSION_PREFIX) {
            return Ok(None);
        }
        let token = session_token.ok_or(AuthError::UnrecognizedClient)?;
        let session: Session = sealed::open(&self.tokens, token).map_err(|_| AuthError::UnrecognizedClient)?;
        if now >= session.expires_at {
            return Err(AuthError::ExpiredToken);
        }
        let Session { role_arn, certificate_id, thing_name, expires_at } = session;
        let principal = Principal::RoleSession { role_arn, certificate_id, thing_name, expires_at };
        Ok(Some((self.session_secret(access_key_id, token)?, principal)))
    }

    fn session_secret(&self, access_key_id: &AccessKeyId, token: &str) -> Result<SecretAccessKey, AuthError> {
        secret(&self.sessions, &[access_key_id.as_str().as_bytes(), b".", token.as_bytes()])
    }
}

fn identifier(prefix: &str, random: &[u8; RANDOM_BYTES]) -> Result<AccessKeyId, AuthError> {
    let mut text = prefix.to_owned();
    text.extend(random.iter().filter_map(|byte| BASE32.get(usize::from(byte & 31)).copied().map(char::from)));
    AccessKeyId::new(text)
}

fn secret(key: &InternalKey, of: &[&[u8]]) -> Result<SecretAccessKey, AuthError> {
    let mac = keyed_hash::hmac_sha256(key.as_bytes(), of);
    SecretAccessKey::new(BASE64.encode(mac.get(..SECRET_BYTES).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_738_240_496_000);

    fn keys() -> DerivedKeys {
        DerivedKeys::new(b"a master secret of some length").unwrap()
    }

    fn session() -> Session {
        Session {
            role_arn: "arn:aws:iam::123456789012:role/lamps".to_owned(),
            certificate_id: CertificateId::new("0a".repeat(32)).unwrap(),
            thing_name: Some("lamp".to_owned()),
            expires_at: NOW.plus_secs(3_600),
        }
    }

    #[test]
    fn the_secret_of_an_api_key_is_found_again_and_is_another_for_another_deployment() {
        let issued = keys().issue_api_key(&[7; RANDOM_BYTES]).unwrap();
        assert_eq!(issued.access_key_id.as_str(), "UMBKHHHHHHHHHHHHHHHH");
        assert_eq!(issued.secret.expose().len(), 40);
        let (found, principal) = keys().find(&issued.access_key_id, None, NOW).unwrap().unwrap();
        assert_eq!(found.expose(), issued.secret.expose());
        assert_eq!(principal, Principal::ApiKey { access_key_id: issued.access_key_id.clone() });
        let others = DerivedKeys::new(b"another master secret of a length").unwrap();
        let (other, _) = others.find(&issued.access_key_id, None, NOW).unwrap().unwrap();
        assert_ne!(other.expose(), issued.secret.expose());
        let next = keys().issue_api_key(&[8; RANDOM_BYTES]).unwrap();
        assert_ne!(next.secret.expose(), issued.secret.expose());
    }

    #[test]
    fn how_secrets_are_derived_does_not_change() {
        let issued = keys().issue_api_key(&[7; RANDOM_BYTES]).unwrap();
        let text = String::from_utf8(issued.secret.expose().to_vec()).unwrap();
        assert_eq!(text, "1+ItM8xKxc1f1aR3VezKtaQu8yPx0+MIytW4uSkX");
    }

    #[test]
    fn temporary_credentials_end() {
        let issued = keys().issue_session(&[9; RANDOM_BYTES], &session()).unwrap();
        let token = issued.session_token.as_deref();
        let find = |at| keys().find(&issued.access_key_id, token, at);
        let (found, principal) = find(NOW).unwrap().unwrap();
        assert_eq!(found.expose(), issued.secret.expose());
        assert_eq!(principal.identifier(), "0a".repeat(32));
        assert!(find(UnixMillis(session().expires_at.0 - 1)).is_ok());
        assert_eq!(find(session().expires_at).unwrap_err(), AuthError::ExpiredToken);
    }

    #[test]
    fn a_session_token_changed_anywhere_is_refused_or_has_another_secret() {
        let issued = keys().issue_session(&[9; RANDOM_BYTES], &session()).unwrap();
        let token = issued.session_token.unwrap();
        for at in 0..token.len() {
            for replacement in ["A", "B", "."] {
                let mut changed = token.clone();
                changed.replace_range(at..=at, replacement);
                let found = keys().find(&issued.access_key_id, Some(&changed), NOW);
                assert!(changed == token || found == Err(AuthError::UnrecognizedClient), "{at} {replacement}");
            }
        }
        assert_eq!(keys().find(&issued.access_key_id, None, NOW), Err(AuthError::UnrecognizedClient));
        // another key's token is no key's of this one
        let other = keys().issue_session(&[1; RANDOM_BYTES], &session()).unwrap();
        let (mixed, _) = keys().find(&other.access_key_id, Some(&token), NOW).unwrap().unwrap();
        assert_ne!(mixed.expose(), issued.secret.expose());
    }

    #[test]
    fn other_keys_are_not_found_here() {
        let id = AccessKeyId::new("AKIDEXAMPLEEXAMPLE").unwrap();
        assert!(keys().find(&id, None, NOW).unwrap().is_none());
    }
}
