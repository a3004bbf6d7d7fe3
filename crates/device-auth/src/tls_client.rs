//! Client certificates that were proved in TLS before this deployment, by Cloudflare.
//!
//! Whoever terminates TLS has checked that the client holds the certificate's private key. What it says is believed only
//! when it also found the certificate to be in order; which certificate that is, the registry has to know.

use crate::principal::Principal;
use crate::{AuthError, keyed_hash};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use iot_types::CertificateId;
use subtle::ConstantTimeEq;

/// What `request.cf.tlsClientAuth` says (Cloudflare Workers, "Client certificate variables").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsClientAuth<'a> {
    /// `certPresented`: `1` when there was a certificate.
    pub presented: &'a str,
    /// `certVerified`: `SUCCESS`, `NONE`, or `FAILED:` and a reason. Stays `SUCCESS` for a certificate that is revoked.
    pub verified: &'a str,
    /// `certRevoked`: `1` when it is.
    pub revoked: &'a str,
    /// `certFingerprintSHA256`: of the certificate in DER, in hexadecimal digits.
    pub fingerprint_sha256: &'a str,
}

impl TlsClientAuth<'_> {
    /// Who the client is. `None` when it brought no certificate, or one that could not be verified: then it may prove
    /// who it is in another way.
    ///
    /// # Errors
    /// [`AuthError::UnrecognizedClient`] for a revoked certificate, and when the fingerprint is none.
    pub fn principal(&self) -> Result<Option<Principal>, AuthError> {
        if self.presented != "1" || self.verified != "SUCCESS" {
            return Ok(None);
        }
        // Anything but a clear no is a yes.
        if !matches!(self.revoked, "0" | "") {
            return Err(AuthError::UnrecognizedClient);
        }
        let certificate_id = CertificateId::new(self.fingerprint_sha256.to_ascii_lowercase());
        let certificate_id = certificate_id.map_err(|_| AuthError::UnrecognizedClient)?;
        Ok(Some(Principal::Certificate { certificate_id }))
    }
}

/// The DER in a field as RFC 9440 section 2.1 has it, a byte sequence of RFC 8941; `None` for anything else, such as
/// what Cloudflare leaves empty because it is too large.
#[must_use]
pub fn certificate_of_field(field: &str) -> Option<Vec<u8>> {
    let base64 = field.trim().strip_prefix(':')?.strip_suffix(':')?;
    BASE64.decode(base64).ok().filter(|der| !der.is_empty() && der.len() <= x509::MAXIMUM_BYTES)
}

/// Whether what a local platform is told of a client certificate comes from whom it gave its secret.
///
/// # Errors
/// [`AuthError::UnrecognizedClient`].
pub fn check_local_secret(secret: &str, given: &str) -> Result<(), AuthError> {
    // Digests, so that neither contents nor lengths show in the time it takes.
    let [secret, given] = [secret, given].map(|text| keyed_hash::sha256(text.as_bytes()));
    if bool::from(secret.ct_eq(&given)) { Ok(()) } else { Err(AuthError::UnrecognizedClient) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_platform_believes_only_who_knows_its_secret() {
        assert_eq!(check_local_secret("secret", "secret"), Ok(()));
        for given in ["", "secre", "secrets", "SECRET"] {
            assert_eq!(check_local_secret("secret", given), Err(AuthError::UnrecognizedClient), "{given}");
        }
    }

    #[test]
    fn a_certificate_is_read_from_the_field_of_rfc_9440() {
        for (field, der) in [
            (":AQID:", Some(vec![1, 2, 3])),
            (" :AQID: ", Some(vec![1, 2, 3])),
            ("AQID", None),
            (":AQID", None),
            ("::", None),
            (":", None),
            (":!:", None),
            ("", None),
        ] {
            assert_eq!(certificate_of_field(field), der, "{field}");
        }
    }

    #[test]
    fn only_a_verified_certificate_that_is_not_revoked_proves_anything() {
        let fingerprint = "AB".repeat(32);
        let proved = Ok(Some(Principal::Certificate { certificate_id: CertificateId::new("ab".repeat(32)).unwrap() }));
        let refused = Err(AuthError::UnrecognizedClient);
        let rows = [
            ("1", "SUCCESS", "0", fingerprint.as_str(), &proved),
            ("1", "SUCCESS", "", fingerprint.as_str(), &proved),
            ("1", "SUCCESS", "1", fingerprint.as_str(), &refused),
            ("1", "SUCCESS", "true", fingerprint.as_str(), &refused),
            ("1", "SUCCESS", "0", "", &refused),
            ("1", "SUCCESS", "0", "zz", &refused),
            ("1", "FAILED:self signed certificate", "0", fingerprint.as_str(), &Ok(None)),
            ("1", "FAILED:certificate has expired", "1", fingerprint.as_str(), &Ok(None)),
            ("1", "success", "0", fingerprint.as_str(), &Ok(None)),
            ("1", "NONE", "0", fingerprint.as_str(), &Ok(None)),
            ("0", "SUCCESS", "0", fingerprint.as_str(), &Ok(None)),
            ("0", "NONE", "0", "", &Ok(None)),
            ("", "", "", "", &Ok(None)),
        ];
        for (presented, verified, revoked, fingerprint_sha256, expected) in rows {
            let seen = TlsClientAuth { presented, verified, revoked, fingerprint_sha256 };
            assert_eq!(seen.principal(), *expected, "{seen:?}");
        }
    }
}
