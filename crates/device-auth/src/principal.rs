//! Who was found to be calling.

use crate::access_key::AccessKeyId;
use iot_types::{Arn, CertificateId, Scope};
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
}

impl Principal {
    /// What AWS calls `principalIdentifier` in lifecycle events and `principal()` in rules.
    #[must_use]
    pub fn identifier(&self) -> &str {
        match self {
            Self::RootKey { access_key_id } => access_key_id.as_str(),
            Self::Certificate { certificate_id } => certificate_id.as_str(),
        }
    }

    /// Whether it may do everything, so that no policy is asked.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        matches!(self, Self::RootKey { .. })
    }

    /// What policies are attached to; `None` for the deployment's own access key, which needs none.
    #[must_use]
    pub fn arn(&self, scope: &Scope) -> Option<Arn> {
        match self {
            Self::RootKey { .. } => None,
            Self::Certificate { certificate_id } => Some(scope.certificate_arn(certificate_id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_of_a_certificates_holder_is_fixed() {
        let principal = Principal::Certificate { certificate_id: CertificateId::new("0a".repeat(32)).unwrap() };
        let text = format!(r#"{{"kind":"certificate","certificateId":"{}"}}"#, "0a".repeat(32));
        assert_eq!(serde_json::to_string(&principal).unwrap(), text);
        assert_eq!(serde_json::from_str::<Principal>(&text).unwrap(), principal);
        assert_eq!((principal.identifier(), principal.is_root()), ("0a".repeat(32).as_str(), false));
    }

    #[test]
    fn the_stored_form_of_a_principal_is_fixed() {
        let principal = Principal::RootKey { access_key_id: AccessKeyId::new("AKIDEXAMPLEEXAMPLE").unwrap() };
        let text = r#"{"kind":"root_key","accessKeyId":"AKIDEXAMPLEEXAMPLE"}"#;
        assert_eq!(serde_json::to_string(&principal).unwrap(), text);
        assert_eq!(serde_json::from_str::<Principal>(text).unwrap(), principal);
        assert_eq!(principal.identifier(), "AKIDEXAMPLEEXAMPLE");
    }
}
