//! What AWS's policies can ask about a certificate.
//!
//! <https://docs.aws.amazon.com/iot/latest/developerguide/cert-policy-variables.html>

use crate::{Certificate, DistinguishedName, NameAttribute};
use core::net::IpAddr;
use x509_cert::ext::pkix::name::GeneralName;

/// A variable without its position, such as `iot:Certificate.Subject.CommonName`, and its values in the order of the
/// certificate, at least one. Where a policy asks for `….N`, the value at position N is meant, and without it the first.
///
/// What of it is substituted (AWS refuses values with wildcards, and more than five of them) is the policy's to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyVariable {
    /// The variable's name.
    pub name: String,
    /// Its values.
    pub values: Vec<String>,
}

/// The attributes that AWS has variables for.
const ATTRIBUTES: [NameAttribute; 13] = [
    NameAttribute::CommonName,
    NameAttribute::Country,
    NameAttribute::Organization,
    NameAttribute::OrganizationalUnit,
    NameAttribute::State,
    NameAttribute::SerialNumber,
    NameAttribute::Title,
    NameAttribute::Surname,
    NameAttribute::GivenName,
    NameAttribute::Initials,
    NameAttribute::Pseudonym,
    NameAttribute::GenerationQualifier,
    NameAttribute::DistinguishedNameQualifier,
];

const ALTERNATIVES: [&str; 5] = ["RFC822Name", "DNSName", "DirectoryName", "UniformResourceIdentifier", "IPAddress"];

impl Certificate {
    /// All variables that have a value: of subject and issuer, of their alternative names, and the serial number.
    ///
    /// AWS doesn't say how it writes what is no text: here directory names are those of RFC 4514, addresses as
    /// RFC 4291 and 5952 have them, and the serial number is in lower-case hexadecimal digits, two for each byte of
    /// its DER but for a first one of zero.
    #[must_use]
    pub fn policy_variables(&self) -> Vec<PolicyVariable> {
        let mut variables = Vec::new();
        let mut add = |name: String, values: Vec<String>| {
            if !values.is_empty() {
                variables.push(PolicyVariable { name, values });
            }
        };
        for (whose, name, alternatives) in [
            ("Subject", self.subject(), &self.extensions.subject_alternative_names),
            ("Issuer", self.issuer(), &self.extensions.issuer_alternative_names),
        ] {
            for attribute in ATTRIBUTES {
                add(format!("iot:Certificate.{whose}.{}", attribute.name()), name.values(attribute));
            }
            for kind in ALTERNATIVES {
                let values = alternatives.iter().filter_map(alternative).filter(|(found, _)| *found == kind);
                add(
                    format!("iot:Certificate.{whose}.AlternativeName.{kind}"),
                    values.map(|(_, value)| value).collect(),
                );
            }
        }
        add("iot:Certificate.SerialNumber".to_owned(), vec![self.serial_number_hex()]);
        variables
    }

    /// The serial number in lower-case hexadecimal digits, without the zero byte that only keeps it positive.
    #[must_use]
    pub fn serial_number_hex(&self) -> String {
        match self.serial_number() {
            [0, rest @ ..] if !rest.is_empty() => hex::encode(rest),
            all => hex::encode(all),
        }
    }
}

/// A general name as one of [`ALTERNATIVES`] and its text; `None` for what AWS has no variable for.
fn alternative(name: &GeneralName) -> Option<(&'static str, String)> {
    match name {
        GeneralName::Rfc822Name(text) => Some(("RFC822Name", text.as_str().to_owned())),
        GeneralName::DnsName(text) => Some(("DNSName", text.as_str().to_owned())),
        GeneralName::DirectoryName(name) => {
            Some(("DirectoryName", DistinguishedName::from_name(name.clone()).to_string()))
        }
        GeneralName::UniformResourceIdentifier(text) => Some(("UniformResourceIdentifier", text.as_str().to_owned())),
        GeneralName::IpAddress(octets) => {
            let address = match octets.as_bytes() {
                bytes if bytes.len() == 4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
                bytes => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
            };
            address.map(|address| ("IPAddress", address.to_string()))
        }
        GeneralName::OtherName(_) | GeneralName::EdiPartyName(_) | GeneralName::RegisteredId(_) => None,
    }
}
