//! The one row that a shadow is, and its format in storage.

use crate::document::{Document, Section};
use iot_types::UnixMillis;
use json_doc::{Map, Value};
use serde::{Deserialize, Serialize};

/// How long the version of a deleted shadow is remembered, in milliseconds: a shadow created again within 48 hours goes
/// on counting, a later one begins at 1. AWS: developer guide, "Interacting with shadows".
pub const TOMBSTONE_MILLIS: u64 = 48 * 60 * 60 * 1_000;

/// The format that [`StoredShadow::encode`] writes. Raise it when an older program could misread a row.
const FORMAT: u32 = 1;

/// What one row holds: a shadow, or the tombstone of one.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredShadow {
    version: u64,
    timestamp: UnixMillis,
    /// `None` is a tombstone.
    document: Option<Document>,
}

/// Why a row cannot be read. Never the client's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A later program wrote it.
    #[error("stored shadow has format {format}, but only formats up to {FORMAT} are known")]
    UnknownFormat {
        /// The row's format.
        format: u32,
    },
    /// It is not what [`StoredShadow::encode`] writes.
    #[error("stored shadow is corrupt: {reason}")]
    Corrupt {
        /// What was found.
        reason: String,
    },
}

impl StoredShadow {
    pub(crate) fn live(version: u64, timestamp: UnixMillis, document: Document) -> Self {
        Self { version, timestamp, document: Some(document) }
    }

    pub(crate) fn tombstone(version: u64, timestamp: UnixMillis) -> Self {
        Self { version, timestamp, document: None }
    }

    pub(crate) fn document(&self) -> Option<&Document> {
        self.document.as_ref()
    }

    /// Counts the accepted updates; of a tombstone, the version that was deleted.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// When the shadow was last updated, or deleted.
    #[must_use]
    pub fn timestamp(&self) -> UnixMillis {
        self.timestamp
    }

    /// When the shadow was deleted; `None` while it exists.
    #[must_use]
    pub fn deleted_at(&self) -> Option<UnixMillis> {
        self.document.is_none().then_some(self.timestamp)
    }

    /// When a tombstone means nothing any more and its row may go; `None` while the shadow exists.
    #[must_use]
    pub fn forgotten_at(&self) -> Option<UnixMillis> {
        self.deleted_at().map(|deleted_at| deleted_at.plus_millis(TOMBSTONE_MILLIS))
    }

    /// The `desired` section, unless it is empty.
    #[must_use]
    pub fn desired(&self) -> Option<&Value> {
        self.document.as_ref()?.desired.as_ref().map(Section::state)
    }

    /// The `reported` section, unless it is empty.
    #[must_use]
    pub fn reported(&self) -> Option<&Value> {
        self.document.as_ref()?.reported.as_ref().map(Section::state)
    }

    /// What is desired and not reported; `None` when there is nothing.
    #[must_use]
    pub fn delta(&self) -> Option<Value> {
        self.document.as_ref()?.delta()
    }

    /// The row as JSON text. The timestamps of the metadata are runs `[seconds, count]` over the section's leaves in
    /// order, so that a row takes little more than its state.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        fn section(section: &Section) -> SectionRow<&Value> {
            SectionRow { state: section.state(), metadata: section.runs() }
        }
        let document = self.document.as_ref();
        let row = Row {
            format: FORMAT,
            version: self.version,
            timestamp: self.timestamp.0,
            deleted: document.is_none(),
            desired: document.and_then(|document| document.desired.as_ref()).map(section),
            reported: document.and_then(|document| document.reported.as_ref()).map(section),
        };
        crate::reply::json(&row)
    }

    /// Reads a row that [`encode`](Self::encode) of this or an earlier version of the program wrote.
    ///
    /// # Errors
    /// [`DecodeError`]; the row should be left as it is and the request answered with
    /// [`ShadowError::Internal`](crate::ShadowError::Internal).
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let corrupt = |reason: &dyn ToString| DecodeError::Corrupt { reason: reason.to_string() };
        // The number alone first: the rest of a later format may look like anything.
        let Format { format } = serde_json::from_slice(bytes).map_err(|error| corrupt(&error))?;
        if format > FORMAT {
            return Err(DecodeError::UnknownFormat { format });
        }
        let row: Row<Map<String, Value>> = serde_json::from_slice(bytes).map_err(|error| corrupt(&error))?;
        let section = |row: Option<SectionRow<Map<String, Value>>>| {
            row.map(|row| {
                Section::restore(row.state, &row.metadata).ok_or_else(|| corrupt(&"metadata does not fit the state"))
            })
            .transpose()
        };
        let document = if row.deleted {
            None
        } else {
            Some(Document { desired: section(row.desired)?, reported: section(row.reported)? })
        };
        Ok(Self { version: row.version, timestamp: UnixMillis(row.timestamp), document })
    }
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct Row<S> {
    format: u32,
    version: u64,
    /// Milliseconds.
    timestamp: u64,
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    deleted: bool,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    desired: Option<SectionRow<S>>,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    reported: Option<SectionRow<S>>,
}

/// `Default` would ask for it of `S`.
fn none<S>() -> Option<SectionRow<S>> {
    None
}

#[derive(Serialize, Deserialize)]
struct SectionRow<S> {
    state: S,
    metadata: Vec<(u64, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LIVE: &str = r#"{"format":1,"version":7,"timestamp":1719855498123,"desired":{"state":{"z":1,"a":{"b":[true,"x"],"c":{}}},"metadata":[[1719855498,1],[1719855400,2]]},"reported":{"state":{"n":1.50e2},"metadata":[[1719855300,1]]}}"#;
    const EMPTY: &str = r#"{"format":1,"version":1,"timestamp":1719855498123}"#;
    const TOMBSTONE: &str = r#"{"format":1,"version":7,"timestamp":1719855498123,"deleted":true}"#;

    #[test]
    fn the_format_of_the_row_is_unchanged() {
        for text in [LIVE, EMPTY, TOMBSTONE] {
            let shadow = StoredShadow::decode(text.as_bytes()).unwrap();
            let encoded = String::from_utf8(shadow.encode()).unwrap();
            assert_eq!(encoded, text.replace("1.50e2", "150.0"));
            assert_eq!(StoredShadow::decode(encoded.as_bytes()), Ok(shadow));
        }
    }

    #[test]
    fn a_row_tells_what_it_holds() {
        let live = StoredShadow::decode(LIVE.as_bytes()).unwrap();
        assert_eq!((live.version(), live.timestamp(), live.deleted_at()), (7, UnixMillis(1_719_855_498_123), None));
        assert_eq!(live.desired(), Some(&json!({"z": 1, "a": {"b": [true, "x"], "c": {}}})));
        assert_eq!(live.reported(), Some(&json!({"n": 150.0})));
        assert_eq!(live.delta(), Some(json!({"z": 1, "a": {"b": [true, "x"], "c": {}}})));
        assert_eq!(live.forgotten_at(), None);

        let deleted = StoredShadow::decode(TOMBSTONE.as_bytes()).unwrap();
        assert_eq!(deleted.deleted_at(), Some(UnixMillis(1_719_855_498_123)));
        assert_eq!(deleted.forgotten_at(), Some(UnixMillis(1_719_855_498_123 + 172_800_000)));
        assert_eq!((deleted.desired(), deleted.reported(), deleted.delta()), (None, None, None));
    }

    #[test]
    fn a_row_of_a_later_format_or_a_broken_one_is_refused() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let error = StoredShadow::decode(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        check(r#"{"format":2,"anything":[]}"#, "stored shadow has format 2, but only formats up to 1 are known");
        check(r#"{"version":1}"#, "stored shadow is corrupt: missing field `format`");
        check("", "stored shadow is corrupt: EOF");
        let sections = |state: &str, metadata: &str| {
            format!(r#"{{"format":1,"version":1,"timestamp":1,"desired":{{"state":{state},"metadata":{metadata}}}}}"#)
        };
        let mismatch = "stored shadow is corrupt: metadata does not fit the state";
        check(&sections(r#"{"a":[1,2]}"#, "[[5,1]]"), mismatch);
        check(&sections(r#"{"a":[1,2]}"#, "[[5,3]]"), mismatch);
        check(&sections(r#"{"a":[1,2]}"#, "[[5,18446744073709551615],[5,18446744073709551615]]"), mismatch);
        check(&sections("[1]", "[[5,1]]"), "stored shadow is corrupt: invalid type: sequence");
        assert!(StoredShadow::decode(sections(r#"{"a":[1,2]}"#, "[[5,0],[5,2],[6,0]]").as_bytes()).is_ok());
    }
}
