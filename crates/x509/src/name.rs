//! Distinguished names (RFC 5280 section 4.1.2.4): their attributes, their text, and when two are the same.

use crate::Error;
use core::fmt;
use der::asn1::{Any, ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use der::{Decode, Encode, Tag, Tagged};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::name::{Name, RdnSequence, RelativeDistinguishedName};

macro_rules! attributes {
    ($($(#[$doc:meta])* $variant:ident, $oid:literal, $short:literal;)*) => {
        /// An attribute of a name. The variants are called as in AWS's policy variables where it has one for them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum NameAttribute {
            $($(#[$doc])* $variant,)*
        }

        impl NameAttribute {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            const fn oid(self) -> ObjectIdentifier {
                match self {
                    $(Self::$variant => ObjectIdentifier::new_unwrap($oid),)*
                }
            }

            /// What RFC 4514 section 3 and RFC 4519 call it.
            const fn short_name(self) -> &'static str {
                match self {
                    $(Self::$variant => $short,)*
                }
            }

            /// The variant's name, as in `iot:Certificate.Subject.CommonName`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)*
                }
            }
        }
    };
}

attributes! {
    /// `CN`.
    CommonName, "2.5.4.3", "CN";
    /// `C`.
    Country, "2.5.4.6", "C";
    /// `O`.
    Organization, "2.5.4.10", "O";
    /// `OU`.
    OrganizationalUnit, "2.5.4.11", "OU";
    /// `ST`: a state or province.
    State, "2.5.4.8", "ST";
    /// `serialNumber`: of the device, not of the certificate.
    SerialNumber, "2.5.4.5", "serialNumber";
    /// `title`.
    Title, "2.5.4.12", "title";
    /// `sn`.
    Surname, "2.5.4.4", "sn";
    /// `givenName`.
    GivenName, "2.5.4.42", "givenName";
    /// `initials`.
    Initials, "2.5.4.43", "initials";
    /// `pseudonym`.
    Pseudonym, "2.5.4.65", "pseudonym";
    /// `generationQualifier`.
    GenerationQualifier, "2.5.4.44", "generationQualifier";
    /// `dnQualifier`.
    DistinguishedNameQualifier, "2.5.4.46", "dnQualifier";
    /// `L`: not one of AWS's variables.
    Locality, "2.5.4.7", "L";
    /// `STREET`: not one of AWS's variables.
    Street, "2.5.4.9", "STREET";
    /// `DC`: not one of AWS's variables.
    DomainComponent, "0.9.2342.19200300.100.1.25", "DC";
    /// `UID`: not one of AWS's variables.
    UserId, "0.9.2342.19200300.100.1.1", "UID";
}

impl NameAttribute {
    fn from_oid(oid: ObjectIdentifier) -> Option<Self> {
        Self::ALL.iter().copied().find(|attribute| attribute.oid() == oid)
    }

    /// The longest value, in characters (RFC 5280 appendix A.1, `ub-…`).
    const fn maximum_characters(self) -> usize {
        match self {
            Self::CommonName
            | Self::Organization
            | Self::OrganizationalUnit
            | Self::SerialNumber
            | Self::Title
            | Self::DistinguishedNameQualifier => 64,
            Self::Country => 2,
            Self::State | Self::Locality | Self::Pseudonym | Self::Street | Self::DomainComponent | Self::UserId => 128,
            Self::Surname | Self::GivenName | Self::Initials | Self::GenerationQualifier => 32_768,
        }
    }
}

/// A distinguished name: who a certificate is about, or who issued it.
///
/// Its `Display` is the string of RFC 4514: the last part first. Equality is RFC 5280's (section 7.1): characters in any
/// case, any amount of white space, any kind of string.
#[derive(Clone, Debug)]
pub struct DistinguishedName(Name);

impl DistinguishedName {
    /// A name of these attributes in this order, each a part of its own.
    ///
    /// # Errors
    /// [`Error::Issue`] when a value is empty, longer than RFC 5280 allows, or holds what its type can't
    /// (`Country`, `SerialNumber` and `DistinguishedNameQualifier` are PrintableStrings).
    pub fn new(attributes: &[(NameAttribute, &str)]) -> Result<Self, Error> {
        let mut parts = RdnSequence::default();
        for (attribute, value) in attributes {
            if !(1..=attribute.maximum_characters()).contains(&value.chars().count()) {
                return Err(Error::Issue { reason: "an attribute of the subject is empty or too long" });
            }
            let is_printable = matches!(
                attribute,
                NameAttribute::Country | NameAttribute::SerialNumber | NameAttribute::DistinguishedNameQualifier
            );
            let encoded = if is_printable {
                PrintableStringRef::new(value).and_then(|value| Any::encode_from(&value))
            } else if *attribute == NameAttribute::DomainComponent {
                der::asn1::Ia5StringRef::new(value).and_then(|value| Any::encode_from(&value))
            } else {
                Utf8StringRef::new(value).and_then(|value| Any::encode_from(&value))
            };
            let part = encoded
                .and_then(|value| {
                    RelativeDistinguishedName::try_from(vec![AttributeTypeAndValue { oid: attribute.oid(), value }])
                })
                .map_err(|_| Error::Issue {
                    reason: "an attribute of the subject has characters that it can't have",
                })?;
            parts.push(part);
        }
        parts
            .to_der()
            .and_then(|der| Name::from_der(&der))
            .map(Self)
            .map_err(|_| Error::Issue { reason: "the subject can't be encoded" })
    }

    pub(crate) const fn from_name(name: Name) -> Self {
        Self(name)
    }

    pub(crate) const fn as_name(&self) -> &Name {
        &self.0
    }

    /// Whether it has no parts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values of an attribute, in the order of the name. One that is in no known encoding is left out.
    #[must_use]
    pub fn values(&self, attribute: NameAttribute) -> Vec<String> {
        let oid = attribute.oid();
        self.0.iter().filter(|part| part.oid == oid).filter_map(|part| text(&part.value)).collect()
    }

    /// A digest in hexadecimal digits that equal names have in common, to look one up by.
    #[must_use]
    pub fn digest(&self) -> String {
        use sha2::{Digest, Sha256};
        let mut digest = Sha256::new();
        let mut add = |bytes: &[u8]| {
            // Lengths go first, so that no two names read alike.
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        for part in self.normalized() {
            add(&(part.len() as u64).to_be_bytes());
            for (oid, value) in part {
                add(oid.as_bytes());
                add(&value);
            }
        }
        hex::encode(digest.finalize())
    }

    /// What two names have in common if they are the same.
    fn normalized(&self) -> Vec<Vec<(ObjectIdentifier, Vec<u8>)>> {
        self.0
            .iter_rdn()
            .map(|part| {
                let mut attributes: Vec<_> = part
                    .iter()
                    .map(|attribute| match text(&attribute.value) {
                        Some(text) => (attribute.oid, folded(&text).into_bytes()),
                        None => (attribute.oid, attribute.value.value().to_vec()),
                    })
                    .collect();
                attributes.sort();
                attributes
            })
            .collect()
    }
}

impl PartialEq for DistinguishedName {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.normalized() == other.normalized()
    }
}

impl Eq for DistinguishedName {}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Within a part the order is free; backwards is how openssl has it.
        let parts: Vec<Vec<_>> = self.0.iter_rdn().map(|part| part.iter().collect()).collect();
        for (at, part) in parts.into_iter().rev().enumerate() {
            for (within, attribute) in part.into_iter().rev().enumerate() {
                match (at, within) {
                    (0, 0) => {}
                    (_, 0) => f.write_str(",")?,
                    _ => f.write_str("+")?,
                }
                match (NameAttribute::from_oid(attribute.oid), text(&attribute.value)) {
                    (Some(known), Some(text)) => write!(f, "{}={}", known.short_name(), Escaped(&text))?,
                    (Some(known), None) => write!(f, "{}=#{}", known.short_name(), encoding(&attribute.value))?,
                    (None, _) => write!(f, "{}=#{}", attribute.oid, encoding(&attribute.value))?,
                }
            }
        }
        Ok(())
    }
}

/// The hexadecimal form of RFC 4514 section 2.4, for what has no string form.
fn encoding(value: &Any) -> String {
    value.to_der().map(hex::encode).unwrap_or_default()
}

/// RFC 4514 section 2.4.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.len().saturating_sub(1);
        for (at, character) in self.0.char_indices() {
            match character {
                '"' | '+' | ',' | ';' | '<' | '>' | '\\' => write!(f, "\\{character}")?,
                '#' if at == 0 => f.write_str("\\#")?,
                ' ' if at == 0 || at == last => f.write_str("\\ ")?,
                '\0' => f.write_str("\\00")?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

/// The text in a value of one of ASN.1's string types; `None` when it is none or malformed.
fn text(value: &Any) -> Option<String> {
    let bytes = value.value();
    match value.tag() {
        Tag::Utf8String => core::str::from_utf8(bytes).ok().map(str::to_owned),
        Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            bytes.is_ascii().then(|| bytes.iter().copied().map(char::from).collect())
        }
        // T.61 is what the standard says, Latin-1 is what is in use, and what openssl shows.
        Tag::TeletexString => Some(bytes.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let (pairs, rest) = bytes.as_chunks::<2>();
            let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
            rest.is_empty().then(|| char::decode_utf16(units).collect::<Result<String, _>>().ok()).flatten()
        }
        _ => None,
    }
}

/// A text as it is compared (RFC 5280 section 7.1, RFC 4518): lower case, without white space at its ends, one space
/// for several.
fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !folded.is_empty() {
            folded.push(' ');
        }
        folded.extend(word.chars().flat_map(char::to_lowercase));
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(attributes: &[(NameAttribute, &str)]) -> DistinguishedName {
        DistinguishedName::new(attributes).unwrap()
    }

    fn with_value(tag: Tag, bytes: &[u8]) -> DistinguishedName {
        let value = Any::new(tag, bytes).unwrap();
        let part = RelativeDistinguishedName::try_from(vec![AttributeTypeAndValue {
            oid: NameAttribute::CommonName.oid(),
            value,
        }]);
        let mut parts = RdnSequence::default();
        parts.push(part.unwrap());
        DistinguishedName(Name::from_der(&parts.to_der().unwrap()).unwrap())
    }

    #[test]
    fn the_text_of_a_name_is_rfc_4514s() {
        use NameAttribute as A;
        for (attributes, text) in [
            (vec![], ""),
            (
                vec![(A::Country, "US"), (A::Organization, "Amazon.com, Inc."), (A::CommonName, "a")],
                "CN=a,O=Amazon.com\\, Inc.,C=US",
            ),
            (vec![(A::CommonName, " a ")], "CN=\\ a\\ "),
            (vec![(A::CommonName, " ")], "CN=\\ "),
            (vec![(A::CommonName, "#a#")], "CN=\\#a#"),
            (vec![(A::CommonName, "\"+;<>\\\0=ä")], "CN=\\\"\\+\\;\\<\\>\\\\\\00=ä"),
            (vec![(A::DomainComponent, "example"), (A::SerialNumber, "7")], "serialNumber=7,DC=example"),
        ] {
            assert_eq!(name(&attributes).to_string(), text);
        }
    }

    #[test]
    fn every_string_type_is_read_and_what_is_none_is_shown_as_it_is_encoded() {
        for (tag, bytes, text) in [
            (Tag::Utf8String, "Zoë".as_bytes(), "CN=Zoë"),
            (Tag::PrintableString, b"Zoe", "CN=Zoe"),
            (Tag::Ia5String, b"a@b", "CN=a@b"),
            (Tag::TeletexString, b"Zo\xeb", "CN=Zoë"),
            (Tag::BmpString, b"\0Z\0o\0\xeb", "CN=Zoë"),
            (Tag::BmpString, b"\xd8\x3d\xde\x00", "CN=😀"),
            (Tag::BmpString, b"\0Z\0", "CN=#1e03005a00"),
            (Tag::BmpString, b"\xd8\x3d\0a", "CN=#1e04d83d0061"),
            (Tag::Utf8String, b"\xff", "CN=#0c01ff"),
            (Tag::PrintableString, b"\xff", "CN=#1301ff"),
            (Tag::Integer, b"\x05", "CN=#020105"),
        ] {
            let name = with_value(tag, bytes);
            assert_eq!(name.to_string(), text);
            assert_eq!(name.values(NameAttribute::CommonName).is_empty(), text.contains('#'));
        }
    }

    #[test]
    fn names_are_the_same_in_any_case_spacing_and_string_type() {
        let one = with_value(Tag::Utf8String, "Umbra  IoT".as_bytes());
        for (other, same) in [
            (with_value(Tag::PrintableString, b" umbra iot "), true),
            (with_value(Tag::BmpString, b"\0U\0m\0b\0r\0a\0 \0I\0o\0T"), true),
            (with_value(Tag::PrintableString, b"umbraiot"), false),
            (name(&[(NameAttribute::Organization, "Umbra IoT")]), false),
            (name(&[(NameAttribute::CommonName, "Umbra IoT"), (NameAttribute::CommonName, "Umbra IoT")]), false),
            (name(&[]), false),
        ] {
            assert_eq!(one == other, same, "{other}");
        }
    }

    #[test]
    fn a_name_with_values_beyond_their_bounds_is_not_made() {
        use NameAttribute as A;
        for (attribute, value, good) in [
            (A::CommonName, "x".repeat(64), true),
            (A::CommonName, "ä".repeat(64), true),
            (A::CommonName, "x".repeat(65), false),
            (A::CommonName, String::new(), false),
            (A::Country, "DE".to_owned(), true),
            (A::Country, "DEU".to_owned(), false),
            (A::SerialNumber, "a_b".to_owned(), false),
            (A::DomainComponent, "ä".to_owned(), false),
        ] {
            assert_eq!(DistinguishedName::new(&[(attribute, &value)]).is_ok(), good, "{attribute:?} {value}");
        }
    }
}
