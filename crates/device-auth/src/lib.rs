//! Who is calling: proofs that devices and back ends bring with a request, checked without I/O.
//!
//! In scope:
//! - AWS Signature Version 4, verified ([`sigv4`]) and produced ([`sigv4::sign_headers`], [`sigv4::presign_url`]);
//! - client certificates that were proved in TLS ([`tls_client`]);
//! - the deployment's own access key, also as an MQTT user name and password ([`access_key`]);
//! - API keys and temporary credentials, whose secrets are derived ([`derived_keys`]);
//! - proofs of a device's registered key: JSON Web Tokens ([`jwt`]), MQTT 5's enhanced authentication ([`enhanced`]), and
//!   the client certificate that a relay has seen ([`relay_header`]);
//! - the result, a [`principal::Principal`], and its sealed journey from the Gateway to a Broker ([`internal_header`]).
//!
//! Out of scope:
//! - what the principal may do: the `policy` crate;
//! - certificates themselves, and the arithmetic of signatures: the `x509` crate;
//! - custom authorizers: the `authorizer` crate;
//! - where secrets and the clock come from: the Worker, which passes both as arguments;
//! - turning an [`AuthError`] into an HTTP answer: the API's error module, from [`AuthError::http_status`].

pub mod access_key;
pub mod derived_keys;
pub mod enhanced;
pub mod internal_header;
pub mod jwt;
pub mod principal;
pub mod relay_header;
pub mod sigv4;
pub mod tls_client;

mod error;
mod keyed_hash;
mod sealed;

pub use error::{AuthError, Fault};
