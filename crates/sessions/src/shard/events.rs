//! Wills and presence events on their way to whoever has subscribed to them, published through a Broker.
//!
//! Each is noted in its client's row by the write that made it so, under a number that rises through the shard. The row
//! isn't written again when it has been published; instead the shard's own row says, now and then, up to which number
//! all have been. A memory that begins with unpublished ones above it publishes them once more.
//!
//! One is published when it is safe with everybody who wants it. The presence events of a client wait for each other, so
//! that they come in the order of what they tell; one that can't be made safe with everybody holds back nobody, and
//! comes again.

use super::moves::ShardRow;
use super::{LogEvent, SessionsShard, Stored};
use crate::client::Connection;
use crate::settings::ShardSettings;
use crate::store::SessionStore;
use iot_types::{ClientId, Qos, UnixMillis};
use messages::address::BrokerId;
use messages::publication::Publication;
use messages::session::DisconnectReason;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// What has not been published yet.
#[derive(Debug, Default)]
pub(super) struct Events {
    next: u64,
    pending: BTreeMap<u64, Event>,
    /// Whether one came since the last transaction.
    has_new: bool,
    are_dropped: bool,
}

#[derive(Debug)]
struct Event {
    publication: Publication,
    client_id: ClientId,
    /// The Broker that had the connection.
    broker: Option<BrokerId>,
    is_will: bool,
    /// How often no Broker took it.
    attempts: usize,
    /// How often it could not be made safe with everybody.
    failures: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    /// A Broker is being asked.
    Sent,
    /// It has taken it, and will say what became of it.
    Accepted {
        until: UnixMillis,
    },
    Failed {
        again_at: UnixMillis,
    },
}

/// What presence events tell.
#[derive(Clone, Copy, Debug)]
pub(super) enum Presence {
    Connected,
    Disconnected(DisconnectReason),
}

/// The lifecycle event of a connection (AWS IoT developer guide, "Connect/Disconnect events"). Client ids with a
/// wildcard have none, as no topic could be theirs.
pub(super) fn presence(
    client_id: &ClientId,
    connection: &Connection,
    presence: Presence,
    now: UnixMillis,
) -> Option<Publication> {
    let id = client_id.as_str();
    if id.contains(['+', '#']) {
        return None;
    }
    let details = &connection.claim.details;
    let event_type = match presence {
        Presence::Connected => "connected",
        Presence::Disconnected(_) => "disconnected",
    };
    let mut event = json!({
        "clientId": id,
        "timestamp": now.0,
        "eventType": event_type,
    });
    if let Some(event) = event.as_object_mut() {
        if let Presence::Disconnected(reason) = presence {
            let is_clients = reason == DisconnectReason::ClientInitiated;
            event.insert("clientInitiatedDisconnect".into(), is_clients.into());
        }
        event.insert("sessionIdentifier".into(), details.trace_id.clone().into());
        event.insert("principalIdentifier".into(), details.principal.clone().into());
        match presence {
            Presence::Connected => {
                if let Some(source_ip) = &details.source_ip {
                    event.insert("ipAddress".into(), source_ip.clone().into());
                }
            }
            Presence::Disconnected(reason) => {
                event.insert("disconnectReason".into(), reason.as_str().into());
            }
        }
        event.insert("versionNumber".into(), connection.version.into());
    }
    let topic = format!("$aws/events/presence/{event_type}/{id}");
    Some(Publication::of_platform(topic, event.to_string(), Qos::AtLeastOnce, now))
}

/// The publication as one that comes now: where it goes is decided anew each time. It expires when it would have.
fn accepted_now(publication: &Publication, now: UnixMillis) -> Publication {
    let mut publication = publication.clone();
    let waited = u32::try_from(now.millis_since(publication.accepted_at) / 1_000).unwrap_or(u32::MAX);
    publication.accepted_at = now;
    if let Some(properties) = &mut publication.properties {
        let left = properties.message_expiry_interval.map(|interval| interval.saturating_sub(waited));
        properties.message_expiry_interval = left;
    }
    publication
}

impl Events {
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub fn is_pending(&self, sequence: u64) -> bool {
        self.pending.contains_key(&sequence)
    }

    /// When one is to be given to another Broker.
    pub fn next_retry(&self) -> Option<UnixMillis> {
        let failed = self.pending.values().filter_map(|event| match event.state {
            State::Failed { again_at: at } | State::Accepted { until: at } => Some(at),
            State::New | State::Sent => None,
        });
        failed.min()
    }

    /// When the shard's row is to be brought up to date.
    pub fn note_at(&self, row: &ShardRow, settings: &ShardSettings) -> Option<UnixMillis> {
        row.has_unpublished.then(|| row.noted_at.plus_millis(settings.note_pending_millis))
    }

    /// When to note that all have been published, before the object sleeps: the next memory would publish them again.
    pub fn note_soon_at(&self, row: &ShardRow, settings: &ShardSettings) -> Option<UnixMillis> {
        let is_all = row.has_unpublished && self.pending.is_empty();
        is_all.then(|| row.noted_at.plus_millis(settings.note_published_millis))
    }

    /// Before a transaction with new events: the row has to say that there may be some. Whether it changed.
    pub fn note_new(&mut self, row: &mut ShardRow, now: UnixMillis) -> bool {
        if !std::mem::take(&mut self.has_new) || row.has_unpublished {
            return false;
        }
        row.has_unpublished = true;
        row.noted_at = now;
        row.published_to = self.published_to();
        true
    }

    fn published_to(&self) -> u64 {
        self.pending.keys().next().map_or(self.next, |first| first.saturating_sub(1))
    }

    /// Those to be given to a Broker now.
    pub fn take_unsent(&mut self, now: UnixMillis, settings: &ShardSettings) -> Vec<(BrokerId, Publication, u64)> {
        // Clients with an event that those after it wait for.
        let mut before: BTreeSet<&ClientId> = BTreeSet::new();
        let mut unsent = Vec::new();
        for (sequence, event) in &mut self.pending {
            let Event { client_id, state, .. } = event;
            let waits = !event.is_will && event.failures == 0 && before.contains(client_id);
            if *state == State::New && !waits {
                *state = State::Sent;
                let broker = event.broker.clone().filter(|_| event.attempts == 0);
                let other = || settings.publishing_broker(client_id.as_str(), event.attempts);
                unsent.push((broker.unwrap_or_else(other), accepted_now(&event.publication, now), *sequence));
            }
            if !event.is_will && event.failures == 0 {
                before.insert(client_id);
            }
        }
        unsent
    }

    /// A Broker has not taken one: another is asked.
    pub fn refused(&mut self, sequence: u64, now: UnixMillis, settings: &ShardSettings) {
        if let Some(event) = self.pending.get_mut(&sequence) {
            event.attempts += 1;
            event.state = State::Failed { again_at: now.plus_millis(settings.retry_publish_millis) };
        }
    }

    /// A Broker has taken one, and will say what became of it. It may have said so before.
    pub fn accepted(&mut self, sequence: u64, now: UnixMillis, settings: &ShardSettings) {
        if let Some(event) = self.pending.get_mut(&sequence).filter(|event| event.state == State::Sent) {
            event.state = State::Accepted { until: now.plus_millis(settings.announce_millis) };
        }
    }

    /// One is safe with everybody who wants it, or can't be made so for now. Who can't be had for long goes without.
    pub fn settled(&mut self, sequence: u64, is_safe: bool, now: UnixMillis, settings: &ShardSettings) {
        let Some(event) = self.pending.get_mut(&sequence) else { return };
        event.failures += 1;
        if is_safe || event.failures >= settings.maximum_announcements {
            self.pending.remove(&sequence);
            self.are_dropped &= !self.pending.is_empty();
            return;
        }
        let wait = settings.retry_publish_millis << event.failures.saturating_sub(1);
        event.state = State::Failed { again_at: now.plus_millis(wait) };
    }
}

impl SessionsShard {
    /// Publishes a will or a presence event of a client.
    pub(super) fn publish(
        &mut self,
        client_id: &ClientId,
        publication: Publication,
        broker: Option<BrokerId>,
        is_will: bool,
    ) {
        if !is_will && self.events.pending.len() >= self.settings.maximum_events {
            if !std::mem::replace(&mut self.events.are_dropped, true) {
                self.note(LogEvent::EventsDropped);
            }
            return;
        }
        self.events.next += 1;
        let sequence = self.events.next;
        self.change(client_id).unpublished.push((sequence, publication.clone()));
        self.events.has_new = true;
        let event = Event {
            publication,
            client_id: client_id.clone(),
            broker,
            is_will,
            attempts: 0,
            failures: 0,
            state: State::New,
        };
        self.events.pending.insert(sequence, event);
    }

    /// Finds what a memory before this one may not have published.
    pub(super) fn load_events(&mut self, now: UnixMillis, store: &mut dyn SessionStore) -> Stored<()> {
        // Above all numbers of earlier memories, which counted from their beginnings.
        self.events.next = now.0.saturating_mul(1_000).max(self.row.published_to);
        if !self.row.has_unpublished {
            return Ok(());
        }
        for client_id in store.clients_with_events_after(self.row.published_to)? {
            if !self.load_client(&client_id, store)? {
                continue;
            }
            let Some(client) = self.clients.get(&client_id) else { continue };
            let broker = client.current.as_ref().map(|current| current.holder.broker.clone());
            for (sequence, publication) in &client.unpublished {
                if *sequence > self.row.published_to {
                    self.events.next = self.events.next.max(*sequence);
                    self.events.pending.insert(
                        *sequence,
                        Event {
                            publication: publication.clone(),
                            client_id: client_id.clone(),
                            broker: broker.clone(),
                            // Only a will is a client's message.
                            is_will: publication.client_id.is_some(),
                            attempts: 0,
                            failures: 0,
                            state: State::New,
                        },
                    );
                }
            }
        }
        Ok(())
    }

    /// Takes up again what failed, and brings the shard's row up to date.
    pub(super) fn events_due(&mut self, now: UnixMillis) {
        for event in self.events.pending.values_mut() {
            match event.state {
                State::Failed { again_at } if again_at <= now => event.state = State::New,
                // It has forgotten it, or can't tell.
                State::Accepted { until } if until <= now => {
                    event.attempts += 1;
                    event.state = State::New;
                }
                _ => {}
            }
        }
        let (soon, late) =
            (self.events.note_soon_at(&self.row, &self.settings), self.events.note_at(&self.row, &self.settings));
        if soon.into_iter().chain(late).any(|at| at <= now) {
            self.row.published_to = self.events.published_to();
            self.row.has_unpublished = !self.events.pending.is_empty();
            self.row.noted_at = now;
            self.is_row_dirty = true;
        }
    }
}
