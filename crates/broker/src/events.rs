//! The subscription events (AWS developer guide, "Lifecycle events": "Subscribe/Unsubscribe events").

use crate::broker::Broker;
use iot_types::{Qos, UnixMillis};
use messages::broker::ConnectionId;
use messages::publication::Publication;
use mqtt_topic::reserved;
use serde::Serialize;

/// What happened to subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionEvent {
    Subscribed,
    Unsubscribed,
}

impl SubscriptionEvent {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Subscribed => "subscribed",
            Self::Unsubscribed => "unsubscribed",
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    client_id: &'a str,
    timestamp: u64,
    event_type: &'static str,
    session_identifier: &'a str,
    principal_identifier: &'a str,
    topics: &'a [String],
}

impl Broker {
    /// Tells whoever is interested which filters a client has or has no more.
    pub(crate) fn announce_subscriptions(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        event: SubscriptionEvent,
        topics: &[String],
    ) {
        let Some(connection) = self.connections.get(&id) else { return };
        let Some(client_id) = connection.session.client_id() else { return };
        // As in AWS: a client id with a wildcard would make no topic name.
        if topics.is_empty() || client_id.as_str().contains(['+', '#']) {
            return;
        }
        let topic = reserved::event_topic(&format!("subscriptions/{}/{client_id}", event.as_str()));
        let body = Event {
            client_id: client_id.as_str(),
            timestamp: now.0,
            event_type: event.as_str(),
            session_identifier: &connection.grant.trace_id,
            principal_identifier: connection.grant.principal.as_ref().map_or("", |principal| principal.identifier()),
            topics,
        };
        // Strings and numbers always have a JSON form.
        let Ok(payload) = serde_json::to_vec(&body) else { return };
        let event = Publication::of_platform(topic, payload, Qos::AtLeastOnce, now);
        let key = client_id.as_str().to_owned();
        if !self.has_room_for(event.weight()) {
            return self.log(id, "message_dropped", Some(&event.topic), Some("too much is on its way"), None);
        }
        self.publish_for_platform(now, event, Some(key));
    }
}
