//! Who was found to be calling.

use crate::access_key::AccessKeyId;
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
}

impl Principal {
    /// What AWS calls `principalIdentifier` in lifecycle events and `principal()` in rules.
    #[must_use]
    pub fn identifier(&self) -> &str {
        match self {
            Self::RootKey { access_key_id } => access_key_id.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_of_a_principal_is_fixed() {
        let principal = Principal::RootKey { access_key_id: AccessKeyId::new("AKIDEXAMPLEEXAMPLE").unwrap() };
        let text = r#"{"kind":"root_key","accessKeyId":"AKIDEXAMPLEEXAMPLE"}"#;
        assert_eq!(serde_json::to_string(&principal).unwrap(), text);
        assert_eq!(serde_json::from_str::<Principal>(text).unwrap(), principal);
        assert_eq!(principal.identifier(), "AKIDEXAMPLEEXAMPLE");
    }
}
