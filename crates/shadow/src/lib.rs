//! The Device Shadow service: what a get, an update or a delete does to one shadow, and every message it causes.
//!
//! In scope: reading the request, the sections `desired` and `reported` with their metadata, versions and the 48 hours
//! that a deleted version is remembered, the delta, the payloads of `accepted`, `rejected`, `delta` and `documents`,
//! AWS's error codes and texts, and the format of the stored row. Classic and named shadows are the same here: a name
//! only shows in one error text.
//! Out of scope: topics and who may use them, HTTP, which row belongs to which shadow, listing named shadows, history,
//! when the row is written, and rate limits (their errors are in [`ShadowError`] for who imposes them).
//!
//! [`handle`] is the whole interface: the row that is stored, a request and the time go in; at most one row to write,
//! the reply and the announcements come out. A caller that writes the row before it sends anything has all of AWS's
//! guarantees, since a request that is refused changes nothing.
//!
//! AWS: developer guide, "AWS IoT Device Shadow service".

mod document;
mod error;
mod handle;
mod reply;
mod request;
mod stored;

pub use error::{Rejection, ShadowError};
pub use handle::{Announcement, AnnouncementKind, Change, Outcome, handle, reject};
pub use request::{Operation, Request};
pub use stored::{DecodeError, StoredShadow, TOMBSTONE_MILLIS};

/// What one shadow and one request may cost. AWS: General Reference, "AWS IoT Device Shadow service quotas".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of the state document: `desired` and `reported` after the update as compact JSON, metadata not
    /// counted.
    pub maximum_document_bytes: usize,
    /// Most values (scalars, arrays, objects) in the state document; a request may have twice as many. Each leaf has a
    /// timestamp in memory, in the stored row and in replies, so bytes alone bound none of them.
    pub maximum_document_values: usize,
    /// Most levels below `desired` or `reported`: 1 is `"desired":{"one":{}}`.
    pub maximum_depth: usize,
    /// Most bytes of a client token.
    pub maximum_client_token_bytes: usize,
}

impl Limits {
    /// What the platform bears: a row of SQLite in a Durable Object holds 2 MB. The state takes up to 1 MiB of that,
    /// and its timestamps up to 32 768 × 16 bytes, half a MiB.
    pub const STANDARD: Self = Self {
        maximum_document_bytes: 1 << 20,
        maximum_document_values: 32_768,
        maximum_depth: 32,
        maximum_client_token_bytes: 256,
    };

    /// AWS's quotas: 8 KB (no document of that size has more values than bytes), 8 levels, 64 bytes.
    pub const AWS: Self = Self {
        maximum_document_bytes: 8_192,
        maximum_document_values: 8_192,
        maximum_depth: 8,
        maximum_client_token_bytes: 64,
    };

    /// Most bytes of a request that are read at all: twice the document, for white space, escapes and the nulls that
    /// delete, and some for what stands around the state.
    #[must_use]
    pub const fn maximum_payload_bytes(&self) -> usize {
        self.maximum_document_bytes.saturating_mul(2).saturating_add(4_096)
    }
}
