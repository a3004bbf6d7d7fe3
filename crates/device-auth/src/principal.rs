//! Who was found to be calling.

use crate::access_key::AccessKeyId;
use iot_types::{CertificateId, Scope, UnixMillis};
use serde::{Deserialize, Serialize};

/// A caller whose proof was accepted. What it may do is the `policy` crate's question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Principal {
    /// Holds the deployment's own access key, which may do everything.
    RootKey {
        /// The public half of the key.
        access_key_id: AccessKeyId,
    },
    /// Has proved that it holds the private key of a certificate. Whether that is registered and active is the
    /// registry's question.
    Certificate {
        /// The certificate.
        certificate_id: CertificateId,
    },
    /// Holds an API key. Whether that is still there and active is the registry's question.
    ApiKey {
        /// The public half of the key.
        access_key_id: AccessKeyId,
    },
    /// Holds temporary credentials that were given to a device for its certificate. Whether that is still active is the
    /// registry's question.
    RoleSession {
        /// The role whose policies count.
        role_arn: String,
        /// The certificate that asked for them.
        certificate_id: CertificateId,
        /// The thing that it asked for them as.
        thing_name: Option<String>,
        /// When they end. A connection that was opened with them may go on.
        expires_at: UnixMillis,
    },
    /// A custom authorizer has vouched for it, and said what it may do.
    Authorized {
        /// The authorizer.
        authorizer_name: String,
        /// What the authorizer calls it.
        principal_id: String,
    },
}

impl Principal {
    /// What AWS calls `principalIdentifier` in lifecycle events and `principal()` in rules.
    #[must_use]
    pub fn identifier(&self) -> &str {
        match self {
            Self::RootKey { access_key_id } | Self::ApiKey { access_key_id } => access_key_id.as_str(),
            Self::Certificate { certificate_id } | Self::RoleSession { certificate_id, .. } => certificate_id.as_str(),
            Self::Authorized { principal_id, .. } => principal_id,
        }
    }

    /// Whether a change of what `subject` may do is a change of what this principal may do: `subject` is an
    /// [`identifier`](Self::identifier), or what else its policies are attached to.
    #[must_use]
    pub fn is_concerned(&self, subject: &str) -> bool {
        match self {
            Self::RootKey { .. } | Self::Authorized { .. } => false,
            Self::Certificate { .. } | Self::ApiKey { .. } => self.identifier() == subject,
            Self::RoleSession { role_arn, .. } => role_arn == subject || self.identifier() == subject,
        }
    }

    /// Whether it may do everything, so that no policy is asked.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        matches!(self, Self::RootKey { .. })
    }

    /// What its policies are attached to; `None` for who needs none, or brings its own.
    #[must_use]
    pub fn policy_target(&self, scope: &Scope) -> Option<String> {
        match self {
            Self::RootKey { .. } | Self::Authorized { .. } => None,
            Self::Certificate { certificate_id } => Some(scope.certificate_arn(certificate_id).to_string()),
            Self::ApiKey { access_key_id } => Some(scope.api_key_arn(access_key_id.as_str()).to_string()),
            Self::RoleSession { role_arn, .. } => Some(role_arn.clone()),
        }
    }

    /// The certificate that has to be active for it.
    #[must_use]
    pub const fn certificate_id(&self) -> Option<&CertificateId> {
        match self {
            Self::Certificate { certificate_id } | Self::RoleSession { certificate_id, .. } => Some(certificate_id),
            Self::RootKey { .. } | Self::ApiKey { .. } | Self::Authorized { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_types::{AccountId, Region};

    #[test]
    fn the_stored_form_of_a_principal_is_fixed() {
        let access_key_id = AccessKeyId::new("AKIDEXAMPLEEXAMPLE").unwrap();
        let certificate_id = CertificateId::new("0a".repeat(32)).unwrap();
        let (role_arn, id) = ("arn:aws:iam::123456789012:role/r".to_owned(), "0a".repeat(32));
        let session = Principal::RoleSession {
            role_arn,
            certificate_id: certificate_id.clone(),
            thing_name: Some("lamp".to_owned()),
            expires_at: UnixMillis(7),
        };
        let authorized = Principal::Authorized { authorizer_name: "a".to_owned(), principal_id: "someone".to_owned() };
        for (principal, text, identifier) in [
            (
                Principal::RootKey { access_key_id: access_key_id.clone() },
                r#"{"kind":"root_key","accessKeyId":"AKIDEXAMPLEEXAMPLE"}"#.to_owned(),
                "AKIDEXAMPLEEXAMPLE",
            ),
            (
                Principal::Certificate { certificate_id },
                format!(r#"{{"kind":"certificate","certificateId":"{id}"}}"#),
                id.as_str(),
            ),
            (
                Principal::ApiKey { access_key_id },
                r#"{"kind":"api_key","accessKeyId":"AKIDEXAMPLEEXAMPLE"}"#.to_owned(),
                "AKIDEXAMPLEEXAMPLE",
            ),
            (
                session,
                format!(
                    r#"{{"kind":"role_session","roleArn":"arn:aws:iam::123456789012:role/r","certificateId":"{id}","thingName":"lamp","expiresAt":7}}"#
                ),
                id.as_str(),
            ),
            (authorized, r#"{"kind":"authorized","authorizerName":"a","principalId":"someone"}"#.to_owned(), "someone"),
        ] {
            assert_eq!(serde_json::to_string(&principal).unwrap(), text);
            assert_eq!(serde_json::from_str::<Principal>(&text).unwrap(), principal);
            assert_eq!(principal.identifier(), identifier);
            assert_eq!(principal.is_root(), text.contains("root_key"));
        }
    }

    #[test]
    fn a_change_concerns_those_whose_policies_or_proof_it_is_about() {
        let scope =
            Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("eu-west-1").unwrap() };
        let id = "0a".repeat(32);
        let certificate_id = CertificateId::new(id.clone()).unwrap();
        let role = "arn:aws:iam::123456789012:role/r";
        let key = Principal::ApiKey { access_key_id: AccessKeyId::new("AKIDEXAMPLEEXAMPLE").unwrap() };
        let session = Principal::RoleSession {
            role_arn: role.to_owned(),
            certificate_id: certificate_id.clone(),
            thing_name: None,
            expires_at: UnixMillis(0),
        };
        let certificate = Principal::Certificate { certificate_id };
        let root = Principal::RootKey { access_key_id: AccessKeyId::new("AKIDEXAMPLEEXAMPLE").unwrap() };
        for (principal, subject, is_concerned) in [
            (&certificate, id.as_str(), true),
            (&certificate, role, false),
            (&session, id.as_str(), true),
            (&session, role, true),
            (&key, "AKIDEXAMPLEEXAMPLE", true),
            (&root, "AKIDEXAMPLEEXAMPLE", false),
        ] {
            assert_eq!(principal.is_concerned(subject), is_concerned, "{principal:?} {subject}");
        }
        assert_eq!(
            key.policy_target(&scope).as_deref(),
            Some("arn:aws:iot:eu-west-1:123456789012:apikey/AKIDEXAMPLEEXAMPLE")
        );
        assert_eq!(session.policy_target(&scope).as_deref(), Some(role));
        assert_eq!(root.policy_target(&scope), None);
    }
}
