//! The rules between a certificate, its issuer and the time (RFC 5280 section 6).

use crate::{Certificate, Error, Rule};
use iot_types::UnixMillis;

/// The longest chain that is verified, with its first and its last certificate. Each one costs a verification.
pub const MAXIMUM_CHAIN: usize = 5;

impl Certificate {
    /// Whether `issuer` may have issued this certificate, and did.
    ///
    /// Between these two there is no other authority, so that a path length of zero is kept; chains of more are
    /// [`verify_chain`]'s. The time is not looked at: AWS goes on accepting devices of an authority that has expired.
    ///
    /// # Errors
    /// [`Error::Refused`] with the first [`Rule`] that is broken.
    pub fn verify_issued_by(&self, issuer: &Self) -> Result<(), Error> {
        self.check_critical_extensions()?;
        issuer.check_critical_extensions()?;
        if self.issuer() != issuer.subject() {
            return Err(Rule::IssuerName.into());
        }
        if let (Some(wanted), Some(found)) = (self.authority_key_identifier(), issuer.subject_key_identifier())
            && wanted != found
        {
            return Err(Rule::AuthorityKeyIdentifier.into());
        }
        if !issuer.is_ca() {
            return Err(Rule::NotAnAuthority.into());
        }
        if issuer.key_usage().is_some_and(|usage| !usage.key_cert_sign()) {
            return Err(Rule::KeyCertSign.into());
        }
        issuer
            .public_key()
            .verify(self.signature_algorithm(), self.signed_part()?, self.signature())
            .map_err(|_| Rule::Signature.into())
    }

    /// Whether it is valid at this time; both ends are, and the last second is to its end.
    ///
    /// # Errors
    /// [`Rule::NotYetValid`], [`Rule::Expired`].
    pub fn check_validity(&self, now: UnixMillis) -> Result<(), Error> {
        if now < self.not_before() {
            return Err(Rule::NotYetValid.into());
        }
        if now.as_secs() > self.not_after().as_secs() {
            return Err(Rule::Expired.into());
        }
        Ok(())
    }

    /// Whether each of its critical extensions is understood here.
    ///
    /// # Errors
    /// [`Rule::CriticalExtension`].
    pub fn check_critical_extensions(&self) -> Result<(), Error> {
        if self.extensions.has_unknown_critical { Err(Rule::CriticalExtension.into()) } else { Ok(()) }
    }
}

/// Whether each certificate was issued by the one that follows it, and all are valid now.
///
/// The first is a device's (or an authority's that is being registered). The last is the anchor: it is trusted by the
/// caller, so its own signature is not looked at; its constraints are.
///
/// # Errors
/// [`Error::Refused`] with the first [`Rule`] that is broken.
pub fn verify_chain(chain: &[Certificate], now: UnixMillis) -> Result<(), Error> {
    if chain.is_empty() || chain.len() > MAXIMUM_CHAIN {
        return Err(Rule::ChainLength.into());
    }
    for certificate in chain {
        certificate.check_validity(now)?;
        certificate.check_critical_extensions()?;
    }
    // Authorities below the one that is looked at, without the first certificate and without those that an authority
    // issued to itself (section 4.2.1.9).
    let mut below = 0_usize;
    for (at, pair) in chain.windows(2).enumerate() {
        let [certificate, issuer] = pair else { continue };
        if at > 0 && !certificate.is_self_issued() {
            below += 1;
        }
        if issuer.path_length().is_some_and(|most| below > usize::from(most)) {
            return Err(Rule::PathLength.into());
        }
        certificate.verify_issued_by(issuer)?;
    }
    Ok(())
}
