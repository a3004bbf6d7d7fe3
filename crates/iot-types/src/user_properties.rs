//! User Properties, which everything passes on and hardly anything looks into.

use bytes::{Bytes, BytesMut};
use core::fmt;
use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// User Properties: pairs of name and value in the order given, names may repeat (MQTT 5.0 section 2.2.2.2, identifier
/// 0x26; [MQTT-3.3.2-18]).
///
/// They are kept as the bytes they have in a packet, and cloning shares them: passing them on copies nothing, and many
/// small ones take no more memory than they took on the wire. To serde they are a sequence of pairs of texts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserProperties {
    encoded: Bytes,
}

impl UserProperties {
    /// The identifier that stands before each of them in a packet.
    pub const IDENTIFIER: u8 = 0x26;

    /// Without any.
    #[must_use]
    pub const fn new() -> Self {
        Self { encoded: Bytes::new() }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// How many there are. Walks over them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pairs().count()
    }

    /// Bytes of all names and values together, which is what quotas count. Walks over them.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.pairs().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Names with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs().map(|(name, value)| (text(name), text(value)))
    }

    /// The bytes that they have in a packet, each with its identifier.
    #[must_use]
    pub const fn as_encoded(&self) -> &Bytes {
        &self.encoded
    }

    /// Appends properties that stand in a packet one behind the other, each with its identifier. The caller has checked
    /// them: what follows something that is no User Property is not seen by anyone.
    ///
    /// The first time nothing is copied; then what there is is, once.
    pub fn append_encoded(&mut self, run: Bytes) {
        if self.encoded.is_empty() {
            self.encoded = run;
        } else {
            let mut joined = BytesMut::from(core::mem::take(&mut self.encoded));
            joined.extend_from_slice(&run);
            self.encoded = joined.freeze();
        }
    }

    /// The same in memory of their own. A slice of a packet keeps the whole packet alive.
    #[must_use]
    pub fn to_owned_bytes(&self) -> Self {
        Self { encoded: Bytes::copy_from_slice(&self.encoded) }
    }

    fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest: &[u8] = &self.encoded;
        core::iter::from_fn(move || {
            let (name, after) = split_binary(rest.strip_prefix(&[Self::IDENTIFIER])?)?;
            let (value, after) = split_binary(after)?;
            rest = after;
            Some((name, value))
        })
    }
}

/// The next data with a length before it, and what follows.
fn split_binary(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

fn text(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap_or_default()
}

fn put(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(UserProperties::IDENTIFIER);
    for text in [name, value] {
        let length = u16::try_from(text.floor_char_boundary(usize::from(u16::MAX))).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(text.as_bytes().get(..usize::from(length)).unwrap_or_default());
    }
}

/// Texts above 65,535 bytes, which no packet can say, are cut at a character.
impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for UserProperties {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut encoded = Vec::new();
        for (name, value) in pairs {
            put(&mut encoded, name.as_ref(), value.as_ref());
        }
        Self { encoded: encoded.into() }
    }
}

impl<N: AsRef<str>, V: AsRef<str>, const LENGTH: usize> From<[(N, V); LENGTH]> for UserProperties {
    fn from(pairs: [(N, V); LENGTH]) -> Self {
        pairs.into_iter().collect()
    }
}

impl fmt::Debug for UserProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for UserProperties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut pairs = serializer.serialize_seq(Some(self.len()))?;
        for pair in self.iter() {
            pairs.serialize_element(&pair)?;
        }
        pairs.end()
    }
}

impl<'de> Deserialize<'de> for UserProperties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Pairs)
    }
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = UserProperties;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence of pairs of texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
        let mut encoded = Vec::new();
        while let Some((name, value)) = pairs.next_element::<(String, String)>()? {
            put(&mut encoded, &name, &value);
        }
        Ok(UserProperties { encoded: encoded.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENCODED: &[u8] = b"\x26\0\x01a\0\x011\x26\0\0\0\0\x26\0\x01a\0\x02\xC3\xA4";

    fn three() -> UserProperties {
        [("a", "1"), ("", ""), ("a", "ä")].into()
    }

    #[test]
    fn they_are_the_bytes_they_have_in_a_packet() {
        let properties = three();
        assert_eq!(properties.as_encoded(), ENCODED);
        assert_eq!(properties.iter().collect::<Vec<_>>(), [("a", "1"), ("", ""), ("a", "ä")]);
        assert_eq!((properties.len(), properties.text_bytes(), properties.is_empty()), (3, 5, false));
        assert_eq!(format!("{properties:?}"), r#"[("a", "1"), ("", ""), ("a", "ä")]"#);
        assert_eq!(properties.to_owned_bytes(), properties);
        assert_eq!(UserProperties::new(), UserProperties::from([("", ""); 0]));
        assert!(UserProperties::new().is_empty());
    }

    #[test]
    fn runs_of_a_packet_are_joined_in_order() {
        let packet = Bytes::from_static(ENCODED);
        let mut properties = UserProperties::new();
        for run in [packet.slice(..7), packet.slice(7..12), packet.slice(12..)] {
            properties.append_encoded(run);
        }
        assert_eq!(properties, three());
    }

    #[test]
    fn one_run_is_shared_and_not_copied() {
        let packet = Bytes::from_static(ENCODED);
        let mut properties = UserProperties::new();
        properties.append_encoded(packet.clone());
        assert_eq!(properties.clone().as_encoded().as_ptr(), packet.as_ptr());
        assert_ne!(properties.to_owned_bytes().as_encoded().as_ptr(), packet.as_ptr());
    }

    #[test]
    fn a_text_too_long_for_a_packet_is_cut_at_a_character() {
        for (long, kept) in [("ä".repeat(32_768), 65_534), ("a".repeat(65_535), 65_535), ("a".repeat(65_536), 65_535)]
        {
            let properties = UserProperties::from([(long.as_str(), "v"), ("k", long.as_str())]);
            assert_eq!(properties.iter().collect::<Vec<_>>(), [(&long[..kept], "v"), ("k", &long[..kept])]);
        }
    }

    #[test]
    fn what_is_no_user_property_ends_them_without_panic() {
        for end in [&b"\x27\0\0\0\0"[..], b"\x26", b"\x26\0", b"\x26\0\x01", b"\x26\0\x01a", b"\x26\0\x01a\0\x02a"] {
            let properties = UserProperties { encoded: [ENCODED, end].concat().into() };
            assert_eq!(properties.len(), 3, "{end:?}");
        }
        let ill_formed = UserProperties { encoded: Bytes::from_static(b"\x26\0\x01\xFF\0\x01v") };
        assert_eq!(ill_formed.iter().collect::<Vec<_>>(), [("", "v")]);
    }
}
