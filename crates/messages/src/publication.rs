//! An Application Message on its way between Umbra's parts.

use bytes::Bytes;
use iot_types::{Qos, UnixMillis, UserProperties};
use serde::{Deserialize, Serialize};

/// An Application Message (MQTT 5.0 section 1.2), independent of the packets that carry it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// The Topic Name, already found valid.
    pub topic: String,
    /// The Application Message payload.
    pub payload: Bytes,
    /// The quality of service it was published with.
    pub qos: Qos,
    /// The RETAIN flag as published, for subscriptions with Retain As Published.
    pub retain: bool,
    /// What MQTT 5.0 passes through unchanged; `None` when there is nothing, the usual case.
    pub properties: Option<Box<PublicationProperties>>,
    /// The client that published it; `None` for the platform itself.
    pub client_id: Option<String>,
    /// When the platform accepted it.
    pub accepted_at: UnixMillis,
    /// Its name, if it was published with QoS 2: whoever has had it doesn't take it again.
    pub message_id: Option<MessageId>,
}

/// Names a message of QoS 2 for as long as its publisher may send it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// The connection number of the publisher's claim when it first sent the message, or what is as unique.
    pub origin: u64,
    /// Counts the messages from there.
    pub number: u64,
}

/// The properties of a PUBLISH packet that the Server forwards (MQTT 5.0 section 3.3.2.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicationProperties {
    /// Payload Format Indicator: `true` for UTF-8.
    pub payload_format_indicator: Option<bool>,
    /// Message Expiry Interval in seconds, counted from [`Publication::accepted_at`].
    pub message_expiry_interval: Option<u32>,
    /// Content Type.
    pub content_type: Option<String>,
    /// Response Topic.
    pub response_topic: Option<String>,
    /// Correlation Data.
    pub correlation_data: Option<Bytes>,
    /// User Properties, in the order of the sender ([MQTT-3.3.2-18]).
    pub user_properties: UserProperties,
}

impl Publication {
    /// A message of the platform itself, such as a shadow's reply.
    #[must_use]
    pub fn of_platform(topic: String, payload: impl Into<Bytes>, qos: Qos, now: UnixMillis) -> Self {
        Self {
            topic,
            payload: payload.into(),
            qos,
            retain: false,
            properties: None,
            client_id: None,
            accepted_at: now,
            message_id: None,
        }
    }

    /// Whether the Message Expiry Interval has passed ([MQTT-3.3.2-5]).
    #[must_use]
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        self.remaining_expiry(now) == Some(0)
    }

    /// The Message Expiry Interval to forward: what is left of it, in seconds ([MQTT-3.3.2-6]).
    #[must_use]
    pub fn remaining_expiry(&self, now: UnixMillis) -> Option<u32> {
        let interval = self.properties.as_ref()?.message_expiry_interval?;
        let waited = u32::try_from(now.millis_since(self.accepted_at) / 1_000).unwrap_or(u32::MAX);
        Some(interval.saturating_sub(waited))
    }

    /// Roughly how much memory it holds, in bytes, for budgets.
    #[must_use]
    pub fn weight(&self) -> usize {
        const OVERHEAD: usize = 96;
        OVERHEAD
            + self.topic.len()
            + self.payload.len()
            + self.properties.as_deref().map_or(0, PublicationProperties::weight)
    }
}

impl PublicationProperties {
    /// Roughly how much memory they hold, in bytes, for budgets.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.user_properties.as_encoded().len()
            + self.correlation_data.as_ref().map_or(0, Bytes::len)
            + self.content_type.as_ref().map_or(0, String::len)
            + self.response_topic.as_ref().map_or(0, String::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_a_client_gives_is_weighed() {
        let weight = |properties: PublicationProperties| {
            let mut message = Publication::of_platform("t".into(), "x", Qos::AtMostOnce, UnixMillis(0));
            let without = message.weight();
            message.properties = Some(Box::new(properties));
            message.weight() - without
        };
        let (none, kilobyte) = (PublicationProperties::default, || "k".repeat(1_024));
        assert_eq!(weight(none()), 0);
        for (name, properties) in [
            ("content type", PublicationProperties { content_type: Some(kilobyte()), ..none() }),
            ("response topic", PublicationProperties { response_topic: Some(kilobyte()), ..none() }),
            ("correlation data", PublicationProperties { correlation_data: Some(kilobyte().into()), ..none() }),
            ("a name", PublicationProperties { user_properties: [(kilobyte(), "")].into(), ..none() }),
            ("a value", PublicationProperties { user_properties: [("", kilobyte())].into(), ..none() }),
            ("many names", PublicationProperties { user_properties: [("", ""); 250].into(), ..none() }),
        ] {
            assert!((1_024..1_300).contains(&weight(properties)), "{name}");
        }
    }

    #[test]
    fn the_expiry_interval_shrinks_while_a_message_waits() {
        let mut message = Publication::of_platform("t".into(), "x", Qos::AtMostOnce, UnixMillis(10_000));
        assert_eq!(message.remaining_expiry(UnixMillis(99_000)), None);
        message.properties = Some(Box::new(PublicationProperties {
            message_expiry_interval: Some(5),
            ..PublicationProperties::default()
        }));
        for (now, left, expired) in
            [(10_000, 5, false), (10_999, 5, false), (12_000, 3, false), (15_000, 0, true), (99_000, 0, true)]
        {
            assert_eq!(message.remaining_expiry(UnixMillis(now)), Some(left));
            assert_eq!(message.is_expired(UnixMillis(now)), expired);
        }
    }
}
