//! The messages of the service. Fields stand in the order in which AWS sends them.

use crate::document::{Document, Section, Stamped};
use crate::{ShadowError, StoredShadow};
use iot_types::UnixMillis;
use json_doc::Value;
use serde::Serialize;

/// JSON text of one of our own structures.
pub(crate) fn json(value: &impl Serialize) -> Vec<u8> {
    // Only a failing writer or keys that are no strings could fail, and there are neither.
    serde_json::to_vec(value).unwrap_or_default()
}

/// `{"state","metadata","version","timestamp"[,"clientToken"]}` of get and update.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Accepted<'a, S: Serialize, M: Serialize> {
    state: S,
    metadata: M,
    version: u64,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_token: Option<&'a str>,
}

/// The sections of a state document, or their metadata; empty ones do not show.
#[derive(Serialize)]
pub(crate) struct Sections<T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    desired: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reported: Option<T>,
}

impl<'a> Sections<&'a Value> {
    pub(crate) fn state(document: &'a Document) -> Self {
        Self {
            desired: document.desired.as_ref().map(Section::state),
            reported: document.reported.as_ref().map(Section::state),
        }
    }
}

impl<'a> Sections<Stamped<'a>> {
    fn metadata(document: &'a Document) -> Self {
        let stamped = |section: &'a Section| section.metadata(section.state());
        Self { desired: document.desired.as_ref().map(stamped), reported: document.reported.as_ref().map(stamped) }
    }
}

/// `get/accepted`: the document with its delta. The timestamp is the time of the answer; metadata has no delta.
pub(crate) fn get_accepted(document: &Document, version: u64, client_token: Option<&str>, now: UnixMillis) -> Vec<u8> {
    #[derive(Serialize)]
    struct State<'a> {
        #[serde(flatten)]
        sections: Sections<&'a Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        delta: Option<Value>,
    }
    json(&Accepted {
        state: State { sections: Sections::state(document), delta: document.delta() },
        metadata: Sections::metadata(document),
        version,
        timestamp: now.as_secs(),
        client_token,
    })
}

/// `update/accepted`: what was sent, nulls included, and metadata for just that.
pub(crate) fn update_accepted(state: &Value, version: u64, client_token: Option<&str>, now: UnixMillis) -> Vec<u8> {
    let timestamp = now.as_secs();
    json(&Accepted { state, metadata: Stamped::all(state, timestamp), version, timestamp, client_token })
}

/// `delete/accepted`: the version that was deleted.
pub(crate) fn delete_accepted(version: u64, client_token: Option<&str>, now: UnixMillis) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Deleted<'a> {
        version: u64,
        timestamp: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_token: Option<&'a str>,
    }
    json(&Deleted { version, timestamp: now.as_secs(), client_token })
}

/// `update/delta`: what is desired and not reported, with the desired section's timestamps; `None` when all is as
/// desired. It tells all that differs, whichever update made it so.
pub(crate) fn delta(document: &Document, version: u64, client_token: Option<&str>, now: UnixMillis) -> Option<Vec<u8>> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Delta<'a> {
        version: u64,
        timestamp: u64,
        state: &'a Value,
        metadata: Stamped<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_token: Option<&'a str>,
    }
    let state = &document.delta()?;
    let metadata = document.desired.as_ref()?.metadata(state);
    Some(json(&Delta { version, timestamp: now.as_secs(), state, metadata, client_token }))
}

/// `update/documents`: the document before (null when there was none) and after.
pub(crate) fn documents(
    previous: Option<&StoredShadow>,
    current: &StoredShadow,
    client_token: Option<&str>,
    now: UnixMillis,
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Snapshot<'a> {
        state: Sections<&'a Value>,
        metadata: Sections<Stamped<'a>>,
        version: u64,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Documents<'a> {
        previous: Option<Snapshot<'a>>,
        current: Option<Snapshot<'a>>,
        timestamp: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_token: Option<&'a str>,
    }
    fn snapshot(shadow: &StoredShadow) -> Option<Snapshot<'_>> {
        let document = shadow.document()?;
        Some(Snapshot {
            state: Sections::state(document),
            metadata: Sections::metadata(document),
            version: shadow.version(),
        })
    }
    json(&Documents {
        previous: previous.and_then(snapshot),
        current: snapshot(current),
        timestamp: now.as_secs(),
        client_token,
    })
}

/// `…/rejected` of any operation.
pub(crate) fn rejected(error: &ShadowError, client_token: Option<&str>, now: UnixMillis) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Rejected<'a> {
        code: u16,
        message: String,
        timestamp: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        client_token: Option<&'a str>,
    }
    json(&Rejected { code: error.code(), message: error.message(), timestamp: now.as_secs(), client_token })
}
