//! Requests for certificates (PKCS #10, RFC 2986).

use crate::certificate::signed_part;
use crate::pem::{self, Label};
use crate::{DistinguishedName, Error, MAXIMUM_BYTES, PublicKey, SignatureAlgorithm};
use der::Decode;
use x509_cert::request::CertReq;

const WHAT: &str = "the certificate signing request";

/// A request for a certificate, signed with the key that it is for: whoever made it holds that key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSigningRequest {
    subject: DistinguishedName,
    public_key: PublicKey,
}

impl CertificateSigningRequest {
    /// Reads a request in PEM and verifies its signature.
    ///
    /// # Errors
    /// [`Error::Pem`], [`Error::TooLarge`], and those of [`CertificateSigningRequest::from_der`].
    pub fn from_pem(text: &str) -> Result<Self, Error> {
        let blocks = pem::decode(text, Label::CertificateRequest, 1, WHAT)?;
        Self::from_der(blocks.first().map_or(&[], Vec::as_slice))
    }

    /// Reads a request in DER and verifies its signature.
    ///
    /// # Errors
    /// [`Error::Der`]; [`Error::UnsupportedKey`]; [`Error::UnsupportedAlgorithm`]; [`Error::Signature`] when the
    /// signature is not of the key in it.
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        if der.len() > MAXIMUM_BYTES {
            return Err(Error::TooLarge { what: WHAT, maximum_bytes: MAXIMUM_BYTES });
        }
        let request = CertReq::from_der(der).map_err(|_| Error::Der { what: WHAT })?;
        let public_key = PublicKey::from_spki(&request.info.public_key)?;
        let algorithm = SignatureAlgorithm::from_identifier(&request.algorithm)?;
        let signature = request.signature.as_bytes().ok_or(Error::Der { what: "the signature" })?;
        public_key.verify(algorithm, signed_part(der, WHAT)?, signature)?;
        Ok(Self { subject: DistinguishedName::from_name(request.info.subject), public_key })
    }

    /// Who it asks a certificate for.
    #[must_use]
    pub const fn subject(&self) -> &DistinguishedName {
        &self.subject
    }

    /// The key to be certified.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }
}
