//! Access keys: an identifier that travels in the open and a secret that never travels.

use crate::derived_keys::DerivedKeys;
use crate::principal::Principal;
use crate::sigv4::{self, Claim, Expected, HttpRequest};
use crate::{AuthError, keyed_hash};
use core::fmt;
use iot_types::UnixMillis;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

/// The public half of an access key, `[A-Z0-9]{16,128}` as IAM writes them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccessKeyId(String);

impl AccessKeyId {
    /// Checks the syntax.
    ///
    /// # Errors
    /// [`AuthError::UnrecognizedClient`]: a text of another form can't be a key of ours, and AWS says no more either.
    pub fn new(text: impl Into<String>) -> Result<Self, AuthError> {
        let text = text.into();
        let well_formed = (16..=128).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if well_formed { Ok(Self(text)) } else { Err(AuthError::UnrecognizedClient) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AccessKeyId {
    type Error = AuthError;
    fn try_from(text: String) -> Result<Self, AuthError> {
        Self::new(text)
    }
}

impl From<AccessKeyId> for String {
    fn from(id: AccessKeyId) -> Self {
        id.0
    }
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The secret half of an access key. Never printed and not serialisable.
#[derive(Clone)]
pub struct SecretAccessKey(String);

impl SecretAccessKey {
    /// Takes a secret of 16 to 256 bytes; IAM's have 40.
    ///
    /// # Errors
    /// [`AuthError::Configuration`] when it is too short to resist guessing from one observed signature, or too long.
    pub fn new(text: impl Into<String>) -> Result<Self, AuthError> {
        let text = text.into();
        if (16..=256).contains(&text.len()) {
            Ok(Self(text))
        } else {
            Err(AuthError::Configuration { what: "secret access key", reason: "it must have 16 to 256 bytes" })
        }
    }

    pub(crate) fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The text, for the one answer that tells it to its owner.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

impl PartialEq for SecretAccessKey {
    /// In the same time for any two of the same length.
    fn eq(&self, other: &Self) -> bool {
        bool::from(self.expose().ct_eq(other.expose()))
    }
}

impl fmt::Debug for SecretAccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretAccessKey(redacted)")
    }
}

/// The access key that a deployment's secrets name. It may do everything.
#[derive(Clone, Debug)]
pub struct RootKey {
    /// The public half.
    pub access_key_id: AccessKeyId,
    /// The secret half.
    pub secret: SecretAccessKey,
}

/// The access keys a deployment knows.
#[derive(Clone)]
pub struct AccessKeys {
    root: RootKey,
    derived: DerivedKeys,
    /// Of the identifier and of the secret, which every CONNECT is compared with.
    root_digests: [[u8; 32]; 2],
}

impl fmt::Debug for AccessKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKeys").field("root", &self.root).finish_non_exhaustive()
    }
}

impl AccessKeys {
    /// Those of a deployment: its root key, and all that are derived from its master secret.
    #[must_use]
    pub fn new(root: RootKey, derived: DerivedKeys) -> Self {
        let root_digests = [root.access_key_id.as_str().as_bytes(), root.secret.expose()].map(keyed_hash::sha256);
        Self { root, derived, root_digests }
    }

    /// Checks a request's signature. `None` when it carries none.
    ///
    /// The claim names the service that the caller meant, which picks the plane where paths collide.
    ///
    /// # Errors
    /// Those of [`sigv4::parse`] and [`sigv4::verify`], and [`AuthError::UnrecognizedClient`] for a key that isn't
    /// here.
    pub fn authenticate_signature(
        &self,
        request: &HttpRequest<'_>,
        expected: &Expected<'_>,
    ) -> Result<Option<(Principal, Claim)>, AuthError> {
        let Some(claim) = sigv4::parse(request)? else { return Ok(None) };
        if claim.access_key_id == self.root.access_key_id {
            sigv4::verify(&claim, request, &self.root.secret, None, expected)?;
            return Ok(Some((self.root_principal(), claim)));
        }
        let token = claim.session_token.as_deref();
        let found = self.derived.find(&claim.access_key_id, token, expected.now)?;
        let (secret, principal) = found.ok_or(AuthError::UnrecognizedClient)?;
        // An API key has no session token, and one that comes with it is no good.
        let belonging = if matches!(principal, Principal::RoleSession { .. }) { token } else { None };
        sigv4::verify(&claim, request, &secret, belonging, expected)?;
        Ok(Some((principal, claim)))
    }

    /// Checks an MQTT user name and password: the identifier and the secret of an access key.
    ///
    /// It takes the same time for a name that isn't known and for a wrong password.
    ///
    /// # Errors
    /// [`AuthError::UnrecognizedClient`], whichever of the two is wrong.
    pub fn authenticate_api_key(&self, user_name: &str, password: &[u8]) -> Result<Principal, AuthError> {
        // Digests, so that neither contents nor lengths show in the time it takes.
        let [access_key_id, secret] = &self.root_digests;
        let known = keyed_hash::sha256(user_name.as_bytes()).ct_eq(access_key_id);
        let proved = keyed_hash::sha256(password).ct_eq(secret);
        if bool::from(known & proved) {
            return Ok(self.root_principal());
        }
        let access_key_id = AccessKeyId::new(user_name)?;
        // Temporary credentials have no place for their token here.
        let Some((secret, principal @ Principal::ApiKey { .. })) =
            self.derived.find(&access_key_id, None, UnixMillis(0))?
        else {
            return Err(AuthError::UnrecognizedClient);
        };
        let proved = keyed_hash::sha256(password).ct_eq(&keyed_hash::sha256(secret.expose()));
        if bool::from(proved) { Ok(principal) } else { Err(AuthError::UnrecognizedClient) }
    }

    /// Issues and finds API keys and temporary credentials.
    #[must_use]
    pub const fn derived(&self) -> &DerivedKeys {
        &self.derived
    }

    fn root_principal(&self) -> Principal {
        Principal::RootKey { access_key_id: self.root.access_key_id.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "AKIDEXAMPLEEXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn keys() -> AccessKeys {
        AccessKeys::new(
            RootKey { access_key_id: AccessKeyId::new(ID).unwrap(), secret: SecretAccessKey::new(SECRET).unwrap() },
            DerivedKeys::new(b"a master secret of some length").unwrap(),
        )
    }

    #[test]
    fn an_access_key_id_is_16_to_128_capitals_and_digits() {
        for (text, accepted) in [
            (ID.to_owned(), true),
            ("A".repeat(16), true),
            ("A".repeat(128), true),
            ("A".repeat(15), false),
            ("A".repeat(129), false),
            ("AKIDexampleEXAMPLE".to_owned(), false),
            ("AKIDEXAMPLE/EXAMPLE".to_owned(), false),
            ("ÄKIDEXAMPLEEXAMPLE".to_owned(), false),
        ] {
            assert_eq!(AccessKeyId::new(text.clone()).is_ok(), accepted, "{text}");
        }
    }

    #[test]
    fn a_short_secret_is_refused_as_the_deployments_fault() {
        let error = SecretAccessKey::new("short").unwrap_err();
        assert_eq!((error.http_status(), error.fault()), (500, crate::Fault::Deployment));
    }

    #[test]
    fn debug_output_does_not_show_the_secret() {
        assert!(!format!("{:?}", keys()).contains("wJalr"));
    }

    #[test]
    fn a_derived_api_key_is_accepted_only_with_its_own_secret() {
        let issued = keys().derived().issue_api_key(&[3; 16]).unwrap();
        let (name, secret) = (issued.access_key_id.as_str(), issued.secret.clone().into_text());
        let principal = Principal::ApiKey { access_key_id: issued.access_key_id.clone() };
        assert_eq!(keys().authenticate_api_key(name, secret.as_bytes()), Ok(principal));
        for (name, password) in
            [(name, SECRET), (name, ""), ("UMBKAAAAAAAAAAAAAAAA", secret.as_str()), ("ASIAAAAAAAAAAAAAAAAA", "")]
        {
            let refused = keys().authenticate_api_key(name, password.as_bytes());
            assert_eq!(refused, Err(AuthError::UnrecognizedClient), "{name} {password}");
        }
    }

    #[test]
    fn an_api_key_is_accepted_only_with_its_own_secret() {
        let longer = format!("{SECRET}x");
        for (user_name, password, accepted) in [
            (ID, SECRET, true),
            (ID, "", false),
            (ID, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEZ", false),
            (ID, longer.as_str(), false),
            ("AKIDEXAMPLEEXAMPLF", SECRET, false),
            ("", SECRET, false),
            (SECRET, ID, false),
        ] {
            let result = keys().authenticate_api_key(user_name, password.as_bytes());
            assert_eq!(result.is_ok(), accepted, "{user_name} {password}");
            if !accepted {
                assert_eq!(result, Err(AuthError::UnrecognizedClient));
            }
        }
    }
}
