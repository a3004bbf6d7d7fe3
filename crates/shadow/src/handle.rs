//! What each operation does.

use crate::document::json_bytes;
use crate::reply::{self, Sections};
use crate::request::{Update, read_options, read_update};
use crate::{Limits, Operation, Rejection, Request, ShadowError, StoredShadow};
use iot_types::UnixMillis;

/// All that a request causes.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What to store, before anything is sent; `None` for a get and for a refusal.
    pub change: Option<Change>,
    /// The payload for `/accepted` and the HTTP answer, or the refusal for `/rejected`.
    pub reply: Result<Vec<u8>, Rejection>,
    /// What to publish besides the reply, in this order, whoever asked: HTTP requests are announced too.
    pub announcements: Vec<Announcement>,
}

/// What to store.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Write this one row in place of the shadow's current one.
    Put(StoredShadow),
}

/// A message about an accepted update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Which, and with it the topic.
    pub kind: AnnouncementKind,
    /// What to publish.
    pub payload: Vec<u8>,
}

/// Where an announcement goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnouncementKind {
    /// `…/shadow/update/delta`.
    Delta,
    /// `…/shadow/update/documents`.
    Documents,
}

/// Does one request to one shadow. `current` is the row that is stored, tombstones included.
#[must_use]
pub fn handle(current: Option<&StoredShadow>, request: &Request<'_>, now: UnixMillis, limits: &Limits) -> Outcome {
    let (client_token, result) = match request.operation {
        Operation::Get => {
            let reading = read_options(request.payload, limits);
            let token = reading.client_token;
            // A version in a get means nothing, not even a wrong one.
            let refused = reading.result.err().filter(|error| *error != ShadowError::InvalidVersion);
            let result = match refused {
                Some(error) => Err(error),
                None => get(current, request, token.as_deref(), now),
            };
            (token, result)
        }
        Operation::Update => {
            let reading = read_update(request.payload, limits);
            let token = reading.client_token;
            let result = reading.result.and_then(|asked| update(current, &asked, token.as_deref(), now, limits));
            (token, result)
        }
        Operation::Delete => {
            let reading = read_options(request.payload, limits);
            let token = reading.client_token;
            let result = reading.result.and_then(|version| delete(current, request, version, token.as_deref(), now));
            (token, result)
        }
    };
    result.unwrap_or_else(|error| refusal(Rejection::new(error, client_token.as_deref(), now)))
}

/// Refuses a request that never came to [`handle`]: for policies, rate limits and failing storage. Echoes the client
/// token as `handle` would.
#[must_use]
pub fn reject(request: &Request<'_>, error: ShadowError, now: UnixMillis, limits: &Limits) -> Rejection {
    let client_token = read_options(request.payload, limits).client_token;
    Rejection::new(error, client_token.as_deref(), now)
}

fn refusal(rejection: Rejection) -> Outcome {
    Outcome { change: None, reply: Err(rejection), announcements: Vec::new() }
}

fn get(
    current: Option<&StoredShadow>,
    request: &Request<'_>,
    client_token: Option<&str>,
    now: UnixMillis,
) -> Result<Outcome, ShadowError> {
    let shadow = current.ok_or_else(|| request.not_found())?;
    let document = shadow.document().ok_or_else(|| request.not_found())?;
    let payload = reply::get_accepted(document, shadow.version(), client_token, now);
    Ok(Outcome { change: None, reply: Ok(payload), announcements: Vec::new() })
}

fn update(
    current: Option<&StoredShadow>,
    asked: &Update,
    client_token: Option<&str>,
    now: UnixMillis,
    limits: &Limits,
) -> Result<Outcome, ShadowError> {
    let remembered = current.filter(|shadow| shadow.forgotten_at().is_none_or(|forgotten_at| now < forgotten_at));
    let current_version = remembered.map_or(0, StoredShadow::version);
    if asked.version.is_some_and(|version| version != current_version) {
        return Err(ShadowError::VersionConflict);
    }
    let mut document = remembered.and_then(StoredShadow::document).cloned().unwrap_or_default();
    document.apply(&asked.state, now.as_secs());

    let size = json_bytes(&Sections::state(&document));
    if size > limits.maximum_document_bytes {
        return Err(ShadowError::DocumentTooLarge { size, maximum: limits.maximum_document_bytes });
    }
    if document.count_values() > limits.maximum_document_values {
        return Err(ShadowError::PayloadTooLarge);
    }

    let version = current_version.saturating_add(1);
    let mut announcements = Vec::with_capacity(2);
    if let Some(payload) = reply::delta(&document, version, client_token, now) {
        announcements.push(Announcement { kind: AnnouncementKind::Delta, payload });
    }
    let updated = StoredShadow::live(version, now, document);
    let payload = reply::documents(remembered, &updated, client_token, now);
    announcements.push(Announcement { kind: AnnouncementKind::Documents, payload });

    let accepted = reply::update_accepted(&asked.state, version, client_token, now);
    Ok(Outcome { change: Some(Change::Put(updated)), reply: Ok(accepted), announcements })
}

fn delete(
    current: Option<&StoredShadow>,
    request: &Request<'_>,
    version: Option<u64>,
    client_token: Option<&str>,
    now: UnixMillis,
) -> Result<Outcome, ShadowError> {
    let shadow = current.filter(|shadow| shadow.document().is_some()).ok_or_else(|| request.not_found())?;
    if version.is_some_and(|version| version != shadow.version()) {
        return Err(ShadowError::VersionConflict);
    }
    let tombstone = StoredShadow::tombstone(shadow.version(), now);
    let payload = reply::delete_accepted(shadow.version(), client_token, now);
    Ok(Outcome { change: Some(Change::Put(tombstone)), reply: Ok(payload), announcements: Vec::new() })
}
