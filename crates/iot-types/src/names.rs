//! Names with their syntax checked once, at the edge; everything behind it takes these types.

use core::fmt;
use serde::{Deserialize, Serialize};

/// Why a text is not a name of the wanted kind. Safe to show to the client that sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A character outside the kind's set.
    #[error("{kind} must match {pattern}")]
    Character {
        /// What was being named, in AWS's spelling.
        kind: &'static str,
        /// The pattern of AWS's service model.
        pattern: &'static str,
    },
    /// Too short or too long.
    #[error("{kind} must have length between {min} and {max}")]
    Length {
        /// What was being named, in AWS's spelling.
        kind: &'static str,
        /// Fewest bytes allowed.
        min: usize,
        /// Most bytes allowed.
        max: usize,
    },
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $pattern:literal, $min:literal ..= $max:literal, |$byte:ident| $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Checks the syntax.
            ///
            /// # Errors
            /// [`NameError`] says what is wrong in words fit for the client.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                if !($min..=$max).contains(&text.len()) {
                    return Err(NameError::Length { kind: $kind, min: $min, max: $max });
                }
                if !text.bytes().all(|$byte| $allowed) {
                    return Err(NameError::Character { kind: $kind, pattern: $pattern });
                }
                Ok(Self(text))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

const fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

name!(
    /// The name of a thing, `[a-zA-Z0-9:_-]{1,128}`.
    ThingName, "thingName", "[a-zA-Z0-9:_-]+", 1..=128, |b| word(b) || b == b':'
);
name!(
    /// The name of a named shadow, `[$a-zA-Z0-9:_-]{1,64}`. The classic shadow has none.
    ShadowName, "shadowName", "[$a-zA-Z0-9:_-]+", 1..=64, |b| word(b) || b == b':' || b == b'$'
);
name!(
    /// The identifier of a job, `[a-zA-Z0-9_-]{1,64}`.
    JobId, "jobId", "[a-zA-Z0-9_-]+", 1..=64, |b| word(b)
);
name!(
    /// The name of a topic rule, `[a-zA-Z0-9_]{1,128}`.
    RuleName, "ruleName", "^[a-zA-Z0-9_]+$", 1..=128, |b| b.is_ascii_alphanumeric() || b == b'_'
);
name!(
    /// The identifier of a certificate: the SHA-256 of its DER encoding, 64 hexadecimal digits.
    CertificateId, "certificateId", "(0x)?[a-fA-F0-9]+", 64..=64, |b| b.is_ascii_hexdigit()
);
name!(
    /// The name of a policy, `[\w+=,.@-]{1,128}`.
    PolicyName, "policyName", "[\\w+=,.@-]+", 1..=128, |b| word(b) || matches!(b, b'+' | b'=' | b',' | b'.' | b'@')
);
name!(
    /// The name of a custom authorizer, `[\w=,@-]{1,128}`.
    AuthorizerName, "authorizerName", "[\\w=,@-]+", 1..=128, |b| word(b) || matches!(b, b'=' | b',' | b'@')
);
name!(
    /// An account's twelve digits.
    AccountId, "accountId", "[0-9]+", 12..=12, |b| b.is_ascii_digit()
);
name!(
    /// A region such as `us-east-1`.
    Region, "region", "[a-z0-9-]+", 1..=32, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'
);

/// An MQTT Client Identifier: any UTF-8 text without U+0000 (MQTT 5.0 section 3.1.3.1).
///
/// How long it may be is a setting of the broker, so only emptiness is excluded here.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientId(String);

impl ClientId {
    /// Wraps a client identifier that the codec has found to be valid UTF-8; `None` when it is empty.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (!text.is_empty()).then_some(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_held_to_the_patterns_of_the_service_model() {
        for (text, good) in [("a", true), ("a:b_c-D9", true), ("", false), ("a b", false), ("ä", false), ("a/b", false)]
        {
            assert_eq!(ThingName::new(text).is_ok(), good, "{text:?}");
        }
        assert!(ThingName::new("x".repeat(128)).is_ok());
        assert!(ThingName::new("x".repeat(129)).is_err());
        assert!(ShadowName::new("$package").is_ok());
        assert!(RuleName::new("a-b").is_err());
        assert!(AccountId::new("12345678901").is_err());
    }

    #[test]
    fn a_name_that_breaks_its_pattern_does_not_deserialize() {
        assert!(ThingName::try_from("no spaces".to_owned()).is_err());
        assert_eq!(ThingName::new("x y").unwrap_err().to_string(), "thingName must match [a-zA-Z0-9:_-]+");
    }
}
