//! How the Gateway tells a Durable Object who a WebSocket belongs to.
//!
//! The Gateway authenticates an upgrade and forwards it with one header, [`GRANT_HEADER`]: a [`ConnectionGrant`] in
//! JSON, its age and a MAC under a key that only this deployment has. A Durable Object can be reached only through its
//! own Worker, so this is the second lock, not the first: the door also strips every [`is_internal_header`] name from
//! what comes from outside. A grant is not bound to one use; the name it travels under can't be sent from outside.
//!
//! Wire form, version 1: `1.<base64url of JSON>.<base64url of HMAC-SHA-256 over "1.<base64url of JSON>">`. Unknown JSON
//! members are ignored, so that a Gateway may be one release ahead of the object it calls.

use crate::principal::Principal;
use crate::{AuthError, keyed_hash, sealed};
use core::fmt;
use core::net::IpAddr;
use iot_types::UnixMillis;
use serde::{Deserialize, Serialize};

/// What the name of every header of ours begins with, in lower case.
pub const INTERNAL_HEADER_PREFIX: &str = "x-umbra-internal-";

/// The header that carries a sealed [`ConnectionGrant`].
pub const GRANT_HEADER: &str = "x-umbra-internal-grant";

/// All internal headers in use.
pub const INTERNAL_HEADERS: &[&str] = &[GRANT_HEADER];

/// How long a sealed grant is believed, in milliseconds.
pub const GRANT_LIFETIME_MILLIS: u64 = sealed::LIFETIME_MILLIS;

/// Whether the door must strip a header of this name from a request that comes from outside.
#[must_use]
pub fn is_internal_header(name: &str) -> bool {
    name.as_bytes()
        .get(..INTERNAL_HEADER_PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(INTERNAL_HEADER_PREFIX.as_bytes()))
}

/// A key for messages between the parts of one deployment, derived from its master secret.
#[derive(Clone)]
pub struct InternalKey([u8; 32]);

impl InternalKey {
    /// Derives the key for one purpose by HKDF-SHA-256 (RFC 5869); `label` keeps purposes apart.
    ///
    /// # Errors
    /// [`AuthError::Configuration`] when the master secret has fewer than 16 bytes.
    pub fn derive(master: &[u8], label: &str) -> Result<Self, AuthError> {
        if master.len() < 16 {
            return Err(AuthError::Configuration { what: "master secret", reason: "it must have at least 16 bytes" });
        }
        Ok(Self(keyed_hash::hkdf_sha256(b"umbra internal key v1", master, label.as_bytes())))
    }

    /// The key itself, for a cipher that the platform has.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) const fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for InternalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InternalKey(redacted)")
    }
}

/// What the Gateway knows about a connection that a Broker can't see for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionGrant {
    /// Who was authenticated from the upgrade; `None` leaves it to the MQTT CONNECT packet.
    pub principal: Option<Principal>,
    /// The client's address; `None` where the platform doesn't tell, as on a laptop.
    pub source_ip: Option<IpAddr>,
    /// Identifies the connection in logs, events and answers.
    pub trace_id: String,
    /// The host name that the client asked for: `iot:DomainName` in policies.
    pub host: String,
    /// The certificate that was proved in TLS, in DER: it may have to be registered first. Not kept once the client is
    /// connected.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "base64_text")]
    pub certificate: Option<Vec<u8>>,
    /// What the client brought for a custom authorizer, as JSON of the `authorizer` crate. Not kept once the client is
    /// connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation: Option<String>,
    /// Until when the proof is good, if it does not last as long as the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
}

/// How long a custom authorizer's answer is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// When it is to be asked again (`refreshAfterInSeconds`).
    pub refresh_at: UnixMillis,
    /// When the connection ends (`disconnectAfterInSeconds`).
    pub ends_at: UnixMillis,
}

/// Bytes as base64 text.
mod base64_text {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.as_ref().map(|bytes| BASE64.encode(bytes)).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| BASE64.decode(text).map_err(D::Error::custom)).transpose()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sealed<G> {
    issued_at: UnixMillis,
    grant: G,
}

/// The header's value for a grant made `now`.
///
/// # Errors
/// [`AuthError::InternalHeader`] when the grant is too large for a header.
pub fn seal(key: &InternalKey, grant: &ConnectionGrant, now: UnixMillis) -> Result<String, AuthError> {
    sealed::seal(key, &Sealed { issued_at: now, grant }).map_err(refused)
}

/// The grant in a header's value, if this deployment sealed it within [`GRANT_LIFETIME_MILLIS`].
///
/// # Errors
/// [`AuthError::InternalHeader`] when it is malformed, of another version, forged, too old or from the future.
pub fn open(key: &InternalKey, value: &str, now: UnixMillis) -> Result<ConnectionGrant, AuthError> {
    let sealed: Sealed<ConnectionGrant> = sealed::open(key, value).map_err(refused)?;
    sealed::check_age(sealed.issued_at, now).map_err(refused)?;
    Ok(sealed.grant)
}

const fn refused(reason: &'static str) -> AuthError {
    AuthError::InternalHeader { reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access_key::AccessKeyId;
    use crate::sealed::MAXIMUM_HEADER_BYTES as MAX_HEADER_BYTES;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;

    const NOW: UnixMillis = UnixMillis(1_738_240_496_000);

    fn key() -> InternalKey {
        InternalKey::derive(b"a master secret of some length", "grant").unwrap()
    }

    fn grant() -> ConnectionGrant {
        ConnectionGrant {
            principal: Some(Principal::RootKey { access_key_id: AccessKeyId::new("AKIDEXAMPLEEXAMPLE").unwrap() }),
            source_ip: Some("2001:db8::1".parse().unwrap()),
            trace_id: "7f3c".to_owned(),
            host: "iot.example.com".to_owned(),
            certificate: None,
            invocation: None,
            lease: None,
        }
    }

    #[test]
    fn a_sealed_grant_opens_for_thirty_seconds() {
        let value = seal(&key(), &grant(), NOW).unwrap();
        for (at, opens) in [
            (NOW, true),
            (NOW.plus_millis(30_000), true),
            (NOW.plus_millis(30_001), false),
            (UnixMillis(NOW.0 - 5_000), true),
            (UnixMillis(NOW.0 - 5_001), false),
            (UnixMillis(0), false),
            (UnixMillis(u64::MAX), false),
        ] {
            assert_eq!(open(&key(), &value, at).is_ok(), opens, "{at:?}");
        }
        assert_eq!(open(&key(), &value, NOW), Ok(grant()));
    }

    #[test]
    fn the_wire_form_of_a_grant_is_fixed() {
        let value = seal(&key(), &grant(), NOW).unwrap();
        let json = BASE64URL.decode(value.split('.').nth(1).unwrap()).unwrap();
        assert_eq!(
            String::from_utf8(json).unwrap(),
            r#"{"issuedAt":1738240496000,"grant":{"principal":{"kind":"root_key","accessKeyId":"AKIDEXAMPLEEXAMPLE"},"sourceIp":"2001:db8::1","traceId":"7f3c","host":"iot.example.com"}}"#
        );
    }

    #[test]
    fn another_key_label_or_version_does_not_open_a_grant() {
        let value = seal(&key(), &grant(), NOW).unwrap();
        let other_label = InternalKey::derive(b"a master secret of some length", "other").unwrap();
        let other_master = InternalKey::derive(b"another master secret, longer", "grant").unwrap();
        assert!(open(&other_label, &value, NOW).is_err());
        assert!(open(&other_master, &value, NOW).is_err());
        assert_eq!(open(&key(), &value.replacen('1', "2", 1), NOW), Err(refused("it has an unknown version")));
    }

    #[test]
    fn a_grant_changed_in_any_byte_is_refused() {
        let value = seal(&key(), &grant(), NOW).unwrap();
        for index in 0..value.len() {
            for replacement in ['A', 'B', '.', '~'] {
                let mut changed = value.clone();
                changed.replace_range(index..=index, &replacement.to_string());
                if changed != value {
                    assert!(open(&key(), &changed, NOW).is_err(), "{index} {replacement}");
                }
            }
        }
        for text in ["", ".", "..", "1..", "1.e30.", "1", "1.e30"] {
            assert!(open(&key(), text, NOW).is_err(), "{text}");
        }
    }

    #[test]
    fn a_grant_that_is_too_large_is_not_sealed() {
        let large = ConnectionGrant { host: "h".repeat(MAX_HEADER_BYTES), ..grant() };
        assert!(seal(&key(), &large, NOW).is_err());
        assert!(open(&key(), &"1".repeat(MAX_HEADER_BYTES + 1), NOW).is_err());
    }

    #[test]
    fn the_door_knows_internal_headers_in_any_case() {
        for (name, internal) in [
            (GRANT_HEADER, true),
            ("X-Umbra-Internal-Grant", true),
            ("x-umbra-internal-", true),
            ("x-umbra-internal-anything", true),
            ("x-umbra-internal", false),
            ("x-umbra-trace", false),
            ("", false),
            ("x-umbra-internaé", false),
        ] {
            assert_eq!(is_internal_header(name), internal, "{name}");
        }
        assert!(INTERNAL_HEADERS.iter().all(|name| is_internal_header(name)));
    }

    #[test]
    fn a_short_master_secret_is_refused() {
        assert!(InternalKey::derive(b"short", "grant").is_err());
        assert_eq!(format!("{:?}", key()), "InternalKey(redacted)");
    }
}
