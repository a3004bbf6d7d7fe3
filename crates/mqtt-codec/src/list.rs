//! The Topic Filters of one packet.

use crate::wire::Reader;
use crate::{DecodeError, ProtocolVersion};
use bytes::{BufMut, Bytes, BytesMut};
use core::fmt;
use core::marker::PhantomData;

/// A list that stays the bytes it has in its packet, as many small items would take many times as much as values.
///
/// Made by collecting items. Items that are read are slices of the packet; whoever keeps one copies it.
pub struct List<T> {
    /// As MQTT 5.0 writes them.
    bytes: Bytes,
    length: usize,
    items: PhantomData<fn() -> T>,
}

/// What a [`List`] has.
pub trait Item: Sized {
    /// Reads one that keeps every rule.
    fn decode(version: ProtocolVersion, reader: &mut Reader) -> Result<Self, DecodeError>;
    /// Reads one that [`Self::decode`] has read or [`Self::write`] has written.
    fn read(reader: &mut Reader) -> Option<Self>;
    /// Writes as many bytes in either version.
    fn write(&self, version: ProtocolVersion, out: &mut BytesMut);
}

impl<T> List<T> {
    /// How many items there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.length
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }
}

impl<T: Item> List<T> {
    /// The items, in order.
    pub fn iter(&self) -> impl Iterator<Item = T> + use<T> {
        let mut reader = Reader::new(self.bytes.clone());
        core::iter::from_fn(move || T::read(&mut reader))
    }

    /// Reads all that is left.
    pub(crate) fn decode(version: ProtocolVersion, reader: &mut Reader) -> Result<Self, DecodeError> {
        let start = reader.position();
        let mut length = 0;
        while !reader.is_empty() {
            T::decode(version, reader)?;
            length += 1;
        }
        Ok(Self { bytes: reader.since(start), length, items: PhantomData })
    }

    pub(crate) fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn write(&self, version: ProtocolVersion, out: &mut BytesMut) {
        match version {
            ProtocolVersion::V3_1_1 => self.iter().for_each(|item| item.write(version, out)),
            ProtocolVersion::V5 => out.put_slice(&self.bytes),
        }
    }
}

impl<T: Item> FromIterator<T> for List<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut bytes = BytesMut::new();
        let mut length = 0;
        for item in items {
            item.write(ProtocolVersion::V5, &mut bytes);
            length += 1;
        }
        Self { bytes: bytes.freeze(), length, items: PhantomData }
    }
}

impl<T: Item, const LENGTH: usize> From<[T; LENGTH]> for List<T> {
    fn from(items: [T; LENGTH]) -> Self {
        items.into_iter().collect()
    }
}

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), length: self.length, items: PhantomData }
    }
}

/// Equal items are equal bytes.
impl<T> PartialEq for List<T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<T> Eq for List<T> {}

impl<T: Item + fmt::Debug> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
