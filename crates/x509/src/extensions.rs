//! The extensions of a certificate that mean something here (RFC 5280 section 4.2.1).

use crate::{Error, Rule};
use der::Decode;
use der::asn1::ObjectIdentifier;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::GeneralNames;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName, SubjectKeyIdentifier,
};

pub(crate) const SUBJECT_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.14");
pub(crate) const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
pub(crate) const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
pub(crate) const AUTHORITY_KEY_IDENTIFIER: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.35");
const SUBJECT_ALTERNATIVE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const ISSUER_ALTERNATIVE_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.18");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
/// Understood without being read: any policy is acceptable here (RFC 5280 section 6.1.1 (c), `any-policy`).
const CERTIFICATE_POLICIES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.32");

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extensions {
    pub(crate) basic_constraints: Option<BasicConstraints>,
    pub(crate) key_usage: Option<KeyUsage>,
    pub(crate) extended_key_usage: Option<Vec<ObjectIdentifier>>,
    pub(crate) subject_key_identifier: Option<Vec<u8>>,
    pub(crate) authority_key_identifier: Option<Vec<u8>>,
    pub(crate) subject_alternative_names: GeneralNames,
    pub(crate) issuer_alternative_names: GeneralNames,
    pub(crate) has_unknown_critical: bool,
}

impl Extensions {
    pub(crate) fn read(extensions: &[Extension]) -> Result<Self, Error> {
        let mut read = Self::default();
        for (at, extension) in extensions.iter().enumerate() {
            if extensions.iter().take(at).any(|earlier| earlier.extn_id == extension.extn_id) {
                return Err(Rule::DuplicateExtension.into());
            }
            read.take(extension)?;
        }
        Ok(read)
    }

    fn take(&mut self, extension: &Extension) -> Result<(), Error> {
        let value = extension.extn_value.as_bytes();
        match extension.extn_id {
            BASIC_CONSTRAINTS => self.basic_constraints = Some(decoded(value, "basic constraints")?),
            KEY_USAGE => self.key_usage = Some(decoded(value, "the key usage")?),
            EXTENDED_KEY_USAGE => {
                self.extended_key_usage = Some(decoded::<ExtendedKeyUsage>(value, "the extended key usage")?.0);
            }
            SUBJECT_KEY_IDENTIFIER => {
                let identifier: SubjectKeyIdentifier = decoded(value, "the subject key identifier")?;
                self.subject_key_identifier = Some(identifier.0.as_bytes().to_vec());
            }
            AUTHORITY_KEY_IDENTIFIER => {
                let identifier: AuthorityKeyIdentifier = decoded(value, "the authority key identifier")?;
                self.authority_key_identifier = identifier.key_identifier.map(|octets| octets.as_bytes().to_vec());
            }
            SUBJECT_ALTERNATIVE_NAME => {
                self.subject_alternative_names = decoded::<SubjectAltName>(value, "the subject alternative name")?.0;
            }
            ISSUER_ALTERNATIVE_NAME => {
                self.issuer_alternative_names = decoded::<SubjectAltName>(value, "the issuer alternative name")?.0;
            }
            CERTIFICATE_POLICIES => {}
            _ => self.has_unknown_critical |= extension.critical,
        }
        Ok(())
    }
}

fn decoded<T>(value: &[u8], what: &'static str) -> Result<T, Error>
where
    T: for<'a> Decode<'a>,
{
    T::from_der(value).map_err(|_| Error::Der { what })
}
