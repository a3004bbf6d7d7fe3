//! A shadow under test: a row, a clock, and requests written as text.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use iot_types::{ShadowName, ThingName, UnixMillis};
use json_doc::Value;
use shadow::{AnnouncementKind, Change, Limits, Operation, Outcome, Request, StoredShadow, handle};

pub struct Subject {
    pub row: Option<StoredShadow>,
    pub now: UnixMillis,
    pub limits: Limits,
    pub shadow_name: Option<ShadowName>,
    pub thing_name: ThingName,
}

impl Subject {
    pub fn new() -> Self {
        Self {
            row: None,
            now: UnixMillis(1_000_999),
            limits: Limits::AWS,
            shadow_name: None,
            thing_name: ThingName::new("lamp").unwrap(),
        }
    }

    /// Does the request and stores what it changes, by way of the stored format.
    pub fn send(&mut self, operation: Operation, payload: impl AsRef<[u8]>) -> Outcome {
        let outcome = self.peek(operation, payload);
        if let Some(Change::Put(shadow)) = &outcome.change {
            let decoded = StoredShadow::decode(&shadow.encode()).unwrap();
            assert_eq!(&decoded, shadow);
            self.row = Some(decoded);
        }
        outcome
    }

    /// Does the request and stores nothing.
    pub fn peek(&self, operation: Operation, payload: impl AsRef<[u8]>) -> Outcome {
        let request = Request {
            operation,
            payload: payload.as_ref(),
            thing_name: &self.thing_name,
            shadow_name: self.shadow_name.as_ref(),
        };
        let outcome = handle(self.row.as_ref(), &request, self.now, &self.limits);
        if outcome.reply.is_err() {
            assert_eq!((&outcome.change, outcome.announcements.len()), (&None, 0), "a refusal changes nothing");
        }
        outcome
    }

    /// Sends an update that must be accepted; the text of the reply.
    pub fn update(&mut self, payload: impl AsRef<[u8]>) -> String {
        accepted(&self.send(Operation::Update, payload))
    }

    /// The text of `get/accepted`.
    pub fn get(&self) -> String {
        accepted(&self.peek(Operation::Get, b""))
    }

    /// The `state` that a get shows.
    pub fn state(&self) -> Value {
        serde_json::from_str::<Value>(&self.get()).unwrap()["state"].clone()
    }

    pub fn wait_secs(&mut self, secs: u64) {
        self.now = self.now.plus_secs(secs);
    }
}

pub fn accepted(outcome: &Outcome) -> String {
    match &outcome.reply {
        Ok(payload) => String::from_utf8(payload.clone()).unwrap(),
        Err(rejection) => panic!("{rejection:?}"),
    }
}

/// The text of `/rejected`.
pub fn rejected(outcome: &Outcome) -> String {
    String::from_utf8(outcome.reply.as_ref().expect_err("a refusal").payload.clone()).unwrap()
}

/// The text of an announcement, if it was made.
pub fn announced(outcome: &Outcome, kind: AnnouncementKind) -> Option<String> {
    let mut found = outcome.announcements.iter().filter(|announcement| announcement.kind == kind);
    let text = found.next().map(|announcement| String::from_utf8(announcement.payload.clone()).unwrap());
    assert!(found.next().is_none(), "announced twice");
    text
}
