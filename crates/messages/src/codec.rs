//! The binary form of batches: one version byte, then postcard.

use crate::address::Address;
use crate::rules::{CompiledRule, RuleOutputs};
use crate::{Reply, Request};
use serde::{Deserialize, Serialize};

/// The version that is written. A reader knows this one and the one before.
pub const VERSION: u8 = 2;

/// Largest packed call in bytes. Isolates have 128 MB for everything in them, so a peer never gets to fill one.
pub const MAXIMUM_BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Why bytes from another part could not be read. Never the fault of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Written by a newer release, or not by us at all.
    #[error("unknown format version {0}")]
    Version(u8),
    /// Not a message, cut short, or more than one.
    #[error("malformed internal message")]
    Malformed,
    /// Longer than [`MAXIMUM_BATCH_BYTES`].
    #[error("internal message too large")]
    TooLarge,
}

/// Who sent a batch, so that the receiver can tell repeats and restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// The sending object.
    pub address: Address,
    /// The sender's epoch: a higher one means that it lost what it had. Zero for objects that never lose anything.
    pub epoch: u64,
    /// The start of the sender's memory in milliseconds: numbers count from there, even within one epoch.
    pub instance: u64,
    /// Counts the batches from this instance to this receiver.
    pub number: u64,
}

/// What one tick of one sender has for one receiver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// `None` when the Worker asks, which keeps no state.
    pub sender: Option<Sender>,
    /// In the order to be applied.
    pub requests: Vec<Request>,
}

/// The answers to a [`Batch`], one for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchReply {
    /// The receiver's epoch; zero for objects that never lose anything.
    pub epoch: u64,
    /// As many as there were requests.
    pub replies: Vec<Reply>,
}

impl Batch {
    /// The bytes for a call.
    ///
    /// # Errors
    /// [`CodecError::TooLarge`] when the batch must be split.
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        encode(self)
    }

    /// Reads the bytes of a call.
    ///
    /// # Errors
    /// See [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        decode(bytes)
    }
}

impl BatchReply {
    /// The bytes for a call's return.
    ///
    /// # Errors
    /// [`CodecError::TooLarge`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        encode(self)
    }

    /// Reads the bytes of a call's return.
    ///
    /// # Errors
    /// See [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        decode(bytes)
    }
}

impl RuleOutputs {
    /// The bytes for a queue message.
    ///
    /// # Errors
    /// [`CodecError::TooLarge`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        encode(self)
    }

    /// Reads a queue message.
    ///
    /// # Errors
    /// See [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        decode(bytes)
    }
}

impl CompiledRule {
    /// The bytes for the registry.
    ///
    /// # Errors
    /// [`CodecError::TooLarge`].
    pub fn encode(&self) -> Result<Vec<u8>, CodecError> {
        encode(self)
    }

    /// Reads the bytes from the registry.
    ///
    /// # Errors
    /// See [`CodecError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        decode(bytes)
    }
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    let bytes = postcard::to_extend(value, vec![VERSION]).map_err(|_| CodecError::Malformed)?;
    if bytes.len() > MAXIMUM_BATCH_BYTES { Err(CodecError::TooLarge) } else { Ok(bytes) }
}

pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    if bytes.len() > MAXIMUM_BATCH_BYTES {
        return Err(CodecError::TooLarge);
    }
    match bytes.split_first() {
        Some((&VERSION, rest)) => match postcard::take_from_bytes(rest) {
            Ok((value, [])) => Ok(value),
            // What follows would be lost, so whoever wrote it meant something else.
            Ok(_) | Err(_) => Err(CodecError::Malformed),
        },
        Some((&version, _)) => Err(CodecError::Version(version)),
        None => Err(CodecError::Malformed),
    }
}

#[cfg(test)]
mod tests;
