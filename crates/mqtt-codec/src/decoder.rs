//! A stream of bytes, cut anywhere, to packets.

use crate::packet::{Header, PacketType};
use crate::wire::{Reader, read_varint};
use crate::{DecodeError, Packet, ProtocolVersion, packet};
use bytes::{Buf, Bytes, BytesMut};

/// A push more than this many times as large as one of its packets is not kept alive by it, or a message that waits would
/// hold far more memory than anybody counts for it.
const LARGE_FOR_ITS_PACKET: usize = 4;

/// Bytes of a push that any of its packets may keep alive: little enough not to copy each of many small packets.
const SMALL_PUSH: usize = 1_024;

/// Decodes the packets of one Network Connection, in one direction.
///
/// Take every packet out ([`Self::next_packet`] until `None` or an error) after each [`Self::push`]: what is then kept
/// is less than one packet, so never more than the maximum packet size. The texts and data of a packet are slices and
/// keep all of it alive as long as they live, and the push it came in, too, unless that is much larger.
///
/// The version is learnt from CONNECT; until then every other packet is refused ([MQTT-3.1.0-1]). After an error the
/// decoder stays failed: it drops what it holds and repeats the error.
#[derive(Debug)]
pub struct Decoder {
    maximum_packet_size: u32,
    version: Option<ProtocolVersion>,
    /// Bytes as they were pushed; empty while `partial` is not.
    whole: Bytes,
    /// Bytes of the memory behind `whole`, of which it may be the last few.
    whole_memory: usize,
    /// The beginning of a packet that has not fully come.
    partial: BytesMut,
    failed: Option<DecodeError>,
}

impl Decoder {
    /// A decoder for a fresh Network Connection. `maximum_packet_size` is in bytes and counts the fixed header
    /// (MQTT 5.0 section 3.2.2.3.6).
    #[must_use]
    pub fn new(maximum_packet_size: u32) -> Self {
        Self::restore(maximum_packet_size, None, Bytes::new())
    }

    /// A decoder that goes on where another stopped: with its [`Self::version`] and its [`Self::remainder`].
    ///
    /// Also how a client's decoder begins, since no CONNECT tells it the version.
    #[must_use]
    pub fn restore(maximum_packet_size: u32, version: Option<ProtocolVersion>, remainder: Bytes) -> Self {
        let whole_memory = remainder.len();
        Self { maximum_packet_size, version, whole: remainder, whole_memory, partial: BytesMut::new(), failed: None }
    }

    /// Adds bytes that have arrived.
    pub fn push(&mut self, bytes: Bytes) {
        if self.failed.is_some() {
            return;
        }
        if self.remainder().is_empty() {
            self.whole_memory = bytes.len();
            self.whole = bytes;
        } else {
            self.keep();
            self.partial.extend_from_slice(&bytes);
        }
    }

    /// The next packet; `None` when it has not fully come.
    ///
    /// # Errors
    /// What the peer did wrong. The Network Connection has to be closed; every later call repeats the error.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, DecodeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.step();
        if let Err(error) = &result {
            self.failed = Some(error.clone());
            self.whole = Bytes::new();
            self.partial = BytesMut::new();
        }
        result
    }

    /// The version that CONNECT named, known even when the rest of that CONNECT is malformed.
    #[must_use]
    pub fn version(&self) -> Option<ProtocolVersion> {
        self.version
    }

    /// The bytes that are no packet yet.
    #[must_use]
    pub fn remainder(&self) -> &[u8] {
        if self.partial.is_empty() { &self.whole } else { &self.partial }
    }

    fn step(&mut self) -> Result<Option<Packet>, DecodeError> {
        let Some(header) = self.header()? else {
            self.keep();
            return Ok(None);
        };
        if self.remainder().len() < header.packet_len() {
            self.keep();
            return Ok(None);
        }
        if !self.partial.is_empty() {
            self.whole_memory = self.partial.capacity();
            self.whole = std::mem::take(&mut self.partial).freeze();
        }
        let mut body = self.whole.split_to(header.packet_len());
        body.advance(header.header_len);
        if self.whole_memory > SMALL_PUSH && self.whole_memory / LARGE_FOR_ITS_PACKET > header.packet_len() {
            body = Bytes::copy_from_slice(&body);
        }
        let mut reader = Reader::new(body);
        let version = match header.packet_type {
            PacketType::Connect => {
                let named = packet::connect::protocol(&mut reader)?;
                // A second CONNECT is the session's to refuse and must not change how the rest is read.
                self.version.get_or_insert(named);
                named
            }
            other => self.version.ok_or(DecodeError::ConnectExpected(other))?,
        };
        // MQTT 3.1.1 says nothing against padding the Remaining Length, and there are clients that do.
        if header.overlong && version == ProtocolVersion::V5 {
            return Err(DecodeError::OverlongInteger);
        }
        packet::decode(header, version, reader).map(Some)
    }

    /// The fixed header, as soon as it is complete; wrong ones are refused as early as their bytes show it.
    fn header(&self) -> Result<Option<Header>, DecodeError> {
        let Some((&first, rest)) = self.remainder().split_first() else { return Ok(None) };
        let packet_type = PacketType::from_u8(first >> 4).ok_or(DecodeError::ReservedPacketType)?;
        match (self.version, packet_type) {
            (None, PacketType::Connect) | (Some(ProtocolVersion::V5), _) => {}
            (None, other) => return Err(DecodeError::ConnectExpected(other)),
            (Some(ProtocolVersion::V3_1_1), PacketType::Auth) => return Err(DecodeError::AuthBeforeVersion5),
            (Some(ProtocolVersion::V3_1_1), _) => {}
        }
        let flags = first & 0x0F;
        if packet_type.fixed_flags().is_some_and(|fixed| fixed != flags) {
            return Err(DecodeError::FixedHeaderFlags(packet_type));
        }
        let Some(remaining) = read_varint(rest)? else { return Ok(None) };
        let header_len = 1 + remaining.length;
        let length = u64::from(remaining.value) + header_len as u64;
        if length > u64::from(self.maximum_packet_size) {
            return Err(DecodeError::PacketTooLarge { length, maximum: self.maximum_packet_size });
        }
        Ok(Some(Header {
            packet_type,
            flags,
            header_len,
            remaining_length: remaining.value as usize,
            overlong: remaining.overlong,
        }))
    }

    /// Copies what is left of a push, so that a few bytes do not keep a large frame alive. Grows with what arrives,
    /// never with what a header declares.
    fn keep(&mut self) {
        if !self.whole.is_empty() {
            self.partial.extend_from_slice(&self.whole);
            self.whole = Bytes::new();
        }
    }
}
