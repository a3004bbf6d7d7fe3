//! Access keys: an identifier that travels in the open and a secret that never travels.

use crate::principal::Principal;
use crate::sigv4::{self, Claim, Expected, HttpRequest};
use crate::{AuthError, keyed_hash};
use core::fmt;
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
    /// Of the identifier and of the secret, which every CONNECT is compared with.
    root_digests: [[u8; 32]; 2],
}

impl fmt::Debug for AccessKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKeys").field("root", &self.root).finish_non_exhaustive()
    }
}

impl AccessKeys {
    /// A deployment with its root key only.
    #[must_use]
    pub fn new(root: RootKey) -> Self {
        let root_digests = [root.access_key_id.as_str().as_bytes(), root.secret.expose()].map(keyed_hash::sha256);
        Self { root, root_digests }
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
        if claim.access_key_id != self.root.access_key_id {
            return Err(AuthError::UnrecognizedClient);
        }
        sigv4::verify(&claim, request, &self.root.secret, None, expected)?;
        Ok(Some((self.root_principal(), claim)))
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
        if bool::from(known & proved) { Ok(self.root_principal()) } else { Err(AuthError::UnrecognizedClient) }
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
        AccessKeys::new(RootKey {
            access_key_id: AccessKeyId::new(ID).unwrap(),
            secret: SecretAccessKey::new(SECRET).unwrap(),
        })
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
