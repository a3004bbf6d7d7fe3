//! How a relay that terminates TLS tells us which client certificate it has seen.
//!
//! A relay (for MQTT over TCP, or mutual TLS without a plan that has it) takes a device's connection, has the device
//! prove the key of its certificate in the TLS handshake, and forwards the request with one header,
//! [`RELAY_CERTIFICATE_HEADER`]. It holds a key of its own, derived from a secret that it shares with the deployment:
//! `InternalKey::derive(secret, RELAY_KEY_LABEL)`. Unlike internal headers this one comes from outside, so it is not
//! stripped at the door, and the MAC is the only lock.
//!
//! Wire form, version 1: `1.<base64url of JSON>.<base64url of HMAC-SHA-256 over "1.<base64url of JSON>">`, base64url
//! without padding, the JSON an object of
//!
//! | member | |
//! |---|---|
//! | `issuedAt` | milliseconds since 1970: the header is believed for 30 seconds |
//! | `certificate` | the device's certificate: DER in base64 (RFC 4648 section 4, with padding) |
//! | `chainVerified` | whether the relay has also verified who issued it; possession of its key, always |
//! | `host` | the server name that the device asked for in TLS (SNI), which must be the one of the request |
//! | `sourceIp` | the device's address; absent or `null` when it is not known |
//!
//! Unknown members are ignored. The header is not bound to one use: who can read it off the connection between relay
//! and deployment, which is TLS, could also read the session. Whether the certificate is registered and active is not
//! the relay's to know.

use crate::internal_header::InternalKey;
use crate::{AuthError, sealed};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use core::net::IpAddr;
use iot_types::UnixMillis;
use serde::{Deserialize, Serialize};
use x509::Certificate;

/// The header that carries a relayed certificate.
pub const RELAY_CERTIFICATE_HEADER: &str = "x-umbra-relay-certificate";

/// What the key of a relay is derived for.
pub const RELAY_KEY_LABEL: &str = "relay certificate";

/// How long a relayed certificate is believed, in milliseconds.
pub const RELAY_LIFETIME_MILLIS: u64 = sealed::LIFETIME_MILLIS;

/// A device whose key a relay has seen proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayedClient {
    /// The device's certificate.
    pub certificate: Certificate,
    /// Whether the relay has verified its issuer.
    pub chain_verified: bool,
    /// The server name of the TLS handshake, in lower case.
    pub host: String,
    /// The device's address, if the relay knows it.
    pub source_ip: Option<IpAddr>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    issued_at: UnixMillis,
    certificate: String,
    chain_verified: bool,
    host: String,
    source_ip: Option<IpAddr>,
}

/// The header's value for a connection seen `now`.
///
/// # Errors
/// [`AuthError::DeviceProof`] when the certificate is too large for a header (about 9 KiB of DER).
pub fn seal(key: &InternalKey, client: &RelayedClient, now: UnixMillis) -> Result<String, AuthError> {
    let wire = Wire {
        issued_at: now,
        certificate: BASE64.encode(client.certificate.der()),
        chain_verified: client.chain_verified,
        host: client.host.clone(),
        source_ip: client.source_ip,
    };
    sealed::seal(key, &wire).map_err(refused)
}

/// The client in a header's value, if a relay with this key sealed it within [`RELAY_LIFETIME_MILLIS`] for a request to
/// `host`.
///
/// # Errors
/// [`AuthError::DeviceProof`] when it is malformed, of another version, forged, too old, from the future, meant for
/// another server, or its certificate can't be read.
pub fn open(key: &InternalKey, value: &str, host: &str, now: UnixMillis) -> Result<RelayedClient, AuthError> {
    let wire: Wire = sealed::open(key, value).map_err(refused)?;
    sealed::check_age(wire.issued_at, now).map_err(refused)?;
    if !wire.host.eq_ignore_ascii_case(host) {
        return Err(refused("it is meant for another server"));
    }
    let der = BASE64.decode(&wire.certificate).map_err(|_| refused("its certificate can't be read"))?;
    Ok(RelayedClient {
        certificate: Certificate::from_der(&der).map_err(|_| refused("its certificate can't be read"))?,
        chain_verified: wire.chain_verified,
        host: wire.host.to_ascii_lowercase(),
        source_ip: wire.source_ip,
    })
}

const fn refused(reason: &'static str) -> AuthError {
    AuthError::DeviceProof { what: "the relayed certificate", reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_738_240_496_000);
    const HOST: &str = "iot.example.com";

    fn key(secret: &str, label: &str) -> InternalKey {
        InternalKey::derive(secret.as_bytes(), label).unwrap()
    }

    fn relay() -> InternalKey {
        key("a secret of the relay's", RELAY_KEY_LABEL)
    }

    fn client() -> RelayedClient {
        RelayedClient {
            certificate: Certificate::from_pem(include_str!("../../x509/tests/data/aws.pem")).unwrap(),
            chain_verified: false,
            host: HOST.to_owned(),
            source_ip: Some("2001:db8::1".parse().unwrap()),
        }
    }

    #[test]
    fn a_relayed_certificate_is_believed_for_thirty_seconds() {
        let value = seal(&relay(), &client(), NOW).unwrap();
        assert_eq!(open(&relay(), &value, HOST, NOW), Ok(client()));
        assert_eq!(open(&relay(), &value, "IOT.example.com", NOW), Ok(client()));
        for (at, opens) in [
            (NOW.plus_millis(30_000), true),
            (NOW.plus_millis(30_001), false),
            (UnixMillis(NOW.0 - 5_000), true),
            (UnixMillis(NOW.0 - 5_001), false),
            (UnixMillis(0), false),
            (UnixMillis(u64::MAX), false),
        ] {
            assert_eq!(open(&relay(), &value, HOST, at).is_ok(), opens, "{at:?}");
        }
    }

    #[test]
    fn another_key_another_purpose_and_another_server_are_refused() {
        let value = seal(&relay(), &client(), NOW).unwrap();
        let forged = "it was not sealed by this deployment";
        for (other, reason) in [
            (key("another secret of a relay's", RELAY_KEY_LABEL), forged),
            (key("a secret of the relay's", "grant"), forged),
        ] {
            assert_eq!(open(&other, &value, HOST, NOW), Err(refused(reason)));
        }
        let elsewhere = open(&relay(), &value, "other.example.com", NOW);
        assert_eq!(elsewhere, Err(refused("it is meant for another server")));
        let version = open(&relay(), &value.replacen('1', "2", 1), HOST, NOW);
        assert_eq!(version, Err(refused("it has an unknown version")));
    }

    #[test]
    fn a_header_changed_anywhere_is_refused() {
        let value = seal(&relay(), &client(), NOW).unwrap();
        for at in 0..value.len() {
            for replacement in ["A", "B", "."] {
                let mut changed = value.clone();
                changed.replace_range(at..=at, replacement);
                assert!(changed == value || open(&relay(), &changed, HOST, NOW).is_err(), "{at} {replacement}");
            }
        }
        for text in ["", ".", "1..", "1.e30.", "1.e30"] {
            assert!(open(&relay(), text, HOST, NOW).is_err(), "{text}");
        }
    }

    #[test]
    fn a_sealed_value_that_is_no_certificate_is_refused() {
        for certificate in ["", "!", "AAAA"] {
            let wire = Wire {
                issued_at: NOW,
                certificate: certificate.to_owned(),
                chain_verified: true,
                host: HOST.to_owned(),
                source_ip: None,
            };
            let value = sealed::seal(&relay(), &wire).unwrap();
            assert_eq!(open(&relay(), &value, HOST, NOW), Err(refused("its certificate can't be read")));
        }
    }

    #[test]
    fn the_wire_form_is_fixed() {
        let value = sealed::seal(
            &relay(),
            &Wire {
                issued_at: NOW,
                certificate: "MIIB".to_owned(),
                chain_verified: true,
                host: HOST.to_owned(),
                source_ip: None,
            },
        );
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let json = URL_SAFE_NO_PAD.decode(value.unwrap().split('.').nth(1).unwrap()).unwrap();
        assert_eq!(
            String::from_utf8(json).unwrap(),
            r#"{"issuedAt":1738240496000,"certificate":"MIIB","chainVerified":true,"host":"iot.example.com","sourceIp":null}"#
        );
    }
}
