//! The data representations of MQTT 5.0 section 1.5.

use crate::DecodeError;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use bytestring::ByteString;
use iot_types::PacketId;

/// The largest Variable Byte Integer (section 1.5.5).
pub(crate) const VARINT_MAX: usize = 268_435_455;

/// Reads the body of one packet; what it hands out are slices of the body, never copies.
pub struct Reader {
    bytes: Bytes,
    /// Where the next byte is; never past the end.
    at: usize,
}

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    fn left(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.left().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left().is_empty()
    }

    /// How much has been read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// What has been read since a [`Self::position`].
    pub(crate) fn since(&self, position: usize) -> Bytes {
        self.bytes.slice(position.min(self.at)..self.at)
    }

    /// Whether the next byte is this one; if so, it is taken.
    pub(crate) fn skip(&mut self, byte: u8) -> bool {
        let is_next = self.left().first() == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], DecodeError> {
        let array = *self.left().first_chunk().ok_or(DecodeError::Truncated)?;
        self.at += LENGTH;
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// A Variable Byte Integer.
    pub(crate) fn varint(&mut self) -> Result<u32, DecodeError> {
        let read = read_varint(self.left())?.ok_or(DecodeError::Truncated)?;
        if read.overlong {
            return Err(DecodeError::OverlongInteger);
        }
        self.at += read.length;
        Ok(read.value)
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.len() {
            return Err(DecodeError::Truncated);
        }
        let start = self.at;
        self.at += length;
        Ok(self.since(start))
    }

    /// Binary Data (section 1.5.6).
    pub(crate) fn binary(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// A UTF-8 Encoded String (section 1.5.4).
    pub(crate) fn text(&mut self) -> Result<ByteString, DecodeError> {
        let text = ByteString::try_from(self.binary()?).map_err(|_| DecodeError::IllFormedText)?;
        if text.as_bytes().contains(&0) {
            return Err(DecodeError::NullCharacter);
        }
        Ok(text)
    }

    /// Passes over a UTF-8 Encoded String.
    pub(crate) fn skip_text(&mut self) -> Result<(), DecodeError> {
        let length = self.u16()?.into();
        let text = self.left().get(..length).ok_or(DecodeError::Truncated)?;
        core::str::from_utf8(text).map_err(|_| DecodeError::IllFormedText)?;
        if text.contains(&0) {
            return Err(DecodeError::NullCharacter);
        }
        self.at += length;
        Ok(())
    }

    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        PacketId::new(self.u16()?).ok_or(DecodeError::PacketIdentifierZero)
    }

    /// A section that is preceded by its length: the properties.
    pub(crate) fn section(&mut self) -> Result<Self, DecodeError> {
        let length = self.varint()?;
        // A length that no usize holds overruns any packet.
        self.take(usize::try_from(length).unwrap_or(usize::MAX)).map(Self::new)
    }

    /// All that is left.
    pub(crate) fn rest(mut self) -> Bytes {
        self.bytes.advance(self.at.min(self.bytes.len()));
        self.bytes
    }

    /// # Errors
    /// [`DecodeError::TrailingBytes`] unless everything was read.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.is_empty() { Ok(()) } else { Err(DecodeError::TrailingBytes) }
    }
}

/// A Variable Byte Integer as it was found.
pub(crate) struct Varint {
    pub(crate) value: u32,
    /// Bytes it took, 1 to 4.
    pub(crate) length: usize,
    /// It took more bytes than it needs, which MQTT 3.1.1 allows and MQTT 5.0 does not.
    pub(crate) overlong: bool,
}

/// Reads a Variable Byte Integer from the front; `None` when it continues beyond the bytes at hand.
pub(crate) fn read_varint(bytes: &[u8]) -> Result<Option<Varint>, DecodeError> {
    let (mut value, mut length) = (0_u32, 0);
    for byte in bytes.iter().take(4) {
        value |= u32::from(byte & 0x7F) << (7 * length);
        length += 1;
        if byte & 0x80 == 0 {
            return Ok(Some(Varint { value, length, overlong: *byte == 0 && length > 1 }));
        }
    }
    if length == 4 { Err(DecodeError::IntegerTooLong) } else { Ok(None) }
}

pub(crate) const fn varint_len(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Writes a Variable Byte Integer; a value above [`VARINT_MAX`] is the caller's to exclude and is written as that.
pub(crate) fn put_varint(out: &mut BytesMut, value: usize) {
    let mut rest = value.min(VARINT_MAX);
    loop {
        // Seven bits always fit.
        let byte = (rest & 0x7F) as u8;
        rest >>= 7;
        if rest == 0 {
            out.put_u8(byte);
            return;
        }
        out.put_u8(byte | 0x80);
    }
}

/// What of a text fits its two-byte length, cut at a character.
fn fitting(text: &str) -> &str {
    text.get(..text.floor_char_boundary(usize::from(u16::MAX))).unwrap_or_default()
}

pub(crate) fn text_len(text: &str) -> usize {
    2 + fitting(text).len()
}

pub(crate) fn put_text(out: &mut BytesMut, text: &str) {
    put_binary(out, fitting(text).as_bytes());
}

pub(crate) fn binary_len(data: &[u8]) -> usize {
    2 + data.len().min(usize::from(u16::MAX))
}

pub(crate) fn put_binary(out: &mut BytesMut, data: &[u8]) {
    let data = data.get(..usize::from(u16::MAX)).unwrap_or(data);
    // Cut above to what the length can say.
    out.put_u16(data.len() as u16);
    out.put_slice(data);
}
