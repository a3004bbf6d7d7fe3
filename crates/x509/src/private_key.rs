//! Private keys of devices, on their way to them.

use crate::Error;
use crate::pem::{self, Label};
use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Sequence};
use x509_cert::spki::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// RFC 5208 section 5, what of it is of interest here.
#[derive(Sequence)]
struct PrivateKeyInfo<'a> {
    version: u8,
    algorithm: AlgorithmIdentifierRef<'a>,
    private_key: &'a OctetStringRef,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", constructed = "true", optional = "true")]
    attributes: Option<der::asn1::SetOfVec<der::asn1::Any>>,
}

/// The PEM of PKCS #1 (`RSA PRIVATE KEY`), which is what AWS gives to devices, of an RSA key in PKCS #8, which is what
/// WebCrypto exports.
///
/// # Errors
/// [`Error::Der`] for anything else.
pub fn rsa_private_key_pem(pkcs8: &[u8]) -> Result<Zeroizing<String>, Error> {
    const WHAT: &str = "the private key";
    let malformed = |_| Error::Der { what: WHAT };
    let info = PrivateKeyInfo::from_der(pkcs8).map_err(malformed)?;
    if info.version != 0 || info.algorithm.oid != RSA_ENCRYPTION {
        return Err(Error::Der { what: WHAT });
    }
    // Whole, and nothing behind it.
    AnyRef::from_der(info.private_key.as_bytes()).map_err(malformed)?;
    Ok(Zeroizing::new(pem::encode(Label::RsaPrivateKey, info.private_key.as_bytes())))
}
