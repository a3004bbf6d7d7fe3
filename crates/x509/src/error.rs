//! What can be wrong with a certificate, a request or a key.

/// Why something is not accepted. The text is fit for the client and holds nothing of a key.
///
/// All but [`Error::AuthorityKey`] are the fault of who sent the certificate: where AWS registers certificates it says
/// `CertificateValidationException`, and `InvalidRequestException` where it takes signing requests.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Longer than [`MAXIMUM_BYTES`](crate::MAXIMUM_BYTES).
    #[error("{what} has more than {maximum_bytes} bytes")]
    TooLarge {
        /// What was being read.
        what: &'static str,
        /// The bound.
        maximum_bytes: usize,
    },
    /// The text is not PEM, or not the PEM of what was expected (RFC 7468).
    #[error("{what} is not valid PEM: {reason}")]
    Pem {
        /// What was being read.
        what: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// The bytes are not the DER of what was expected (X.690, RFC 5280 section 4.1, RFC 2986).
    #[error("{what} is not valid DER")]
    Der {
        /// The innermost part that could not be read.
        what: &'static str,
    },
    /// The key is of a kind or size that is not accepted.
    #[error("the public key is not accepted: {reason}")]
    UnsupportedKey {
        /// What would be.
        reason: &'static str,
    },
    /// A signature algorithm that is not accepted, such as one with SHA-1.
    #[error("the signature algorithm {oid} is not accepted")]
    UnsupportedAlgorithm {
        /// Its object identifier.
        oid: String,
    },
    /// A signature by this key over this message does not have this value.
    #[error("the signature does not verify")]
    Signature,
    /// Well formed, but not valid.
    #[error(transparent)]
    Refused(#[from] Rule),
    /// A subject, validity or serial number that can't be put into a certificate.
    #[error("the certificate can't be issued: {reason}")]
    Issue {
        /// What is wrong.
        reason: &'static str,
    },
    /// The deployment's own authority has an unusable key or certificate.
    #[error("the certificate authority is unusable: {reason}")]
    AuthorityKey {
        /// What is wrong.
        reason: &'static str,
    },
}

/// The rule of RFC 5280 that a certificate breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Rule {
    /// Extensions in a certificate that is not of version 3.
    #[error("only version 3 has extensions (RFC 5280 section 4.1.2.1)")]
    Version,
    /// The algorithm inside differs from the one outside.
    #[error("the two names of the signature algorithm differ (RFC 5280 section 4.1.1.2)")]
    AlgorithmMismatch,
    /// One extension twice.
    #[error("an extension is there twice (RFC 5280 section 4.2)")]
    DuplicateExtension,
    /// The authority key identifier names another key than the issuer's.
    #[error("the authority key identifier is not the issuer's subject key identifier (RFC 5280 section 4.2.1.1)")]
    AuthorityKeyIdentifier,
    /// The issuer's key did not sign this.
    #[error("the signature is not the issuer's (RFC 5280 section 6.1.3 (a)(1))")]
    Signature,
    /// Its time has not come.
    #[error("the certificate is not valid yet (RFC 5280 section 6.1.3 (a)(2))")]
    NotYetValid,
    /// Its time has passed.
    #[error("the certificate has expired (RFC 5280 section 6.1.3 (a)(2))")]
    Expired,
    /// The issuer's subject is not the certificate's issuer.
    #[error("the issuer has another name (RFC 5280 section 6.1.3 (a)(4))")]
    IssuerName,
    /// The issuer is no authority.
    #[error("the issuer is not a certificate authority: basic constraints (RFC 5280 section 6.1.4 (k))")]
    NotAnAuthority,
    /// Too many authorities below one that bounds their number.
    #[error("there are more authorities in the chain than a path length allows (RFC 5280 section 6.1.4 (l), (m))")]
    PathLength,
    /// The issuer's key is not for signing certificates.
    #[error("the issuer's key is not for signing certificates: key usage (RFC 5280 section 6.1.4 (n))")]
    KeyCertSign,
    /// A critical extension that is not understood here.
    #[error("a critical extension is not understood (RFC 5280 sections 6.1.4 (o), 6.1.5 (f))")]
    CriticalExtension,
    /// Empty, or longer than [`MAXIMUM_CHAIN`](crate::MAXIMUM_CHAIN).
    #[error("the chain is empty or too long (RFC 5280 section 6.1)")]
    ChainLength,
}
