//! Limits of a session: every number the code compares with, in one place, with AWS's values beside ours.

use crate::{OutboundLimits, RateLimit};
use iot_types::Qos;
use mqtt_codec::{Connect, ProtocolVersion};

/// What a session allows and announces. All counts are per connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// Publishes of QoS 1 and 2 that a client may have unacknowledged (Receive Maximum of the CONNACK).
    pub receive_maximum: u16,
    /// Largest packet accepted, in bytes (Maximum Packet Size of the CONNACK).
    pub maximum_packet_size: u32,
    /// Largest payload of a PUBLISH, in bytes; beyond it the connection ends (0x97). `None`: what fits into a packet.
    pub maximum_payload_bytes: Option<usize>,
    /// Longest Content Type, in bytes (0x97).
    pub maximum_content_type_bytes: Option<usize>,
    /// Longest Correlation Data, in bytes (0x97).
    pub maximum_correlation_data_bytes: Option<usize>,
    /// Bytes of all User Properties of a PUBLISH (0x97).
    pub maximum_user_property_bytes: Option<usize>,
    /// Highest quality of service (Maximum QoS of the CONNACK).
    pub maximum_qos: Qos,
    /// Whether messages can be retained (Retain Available of the CONNACK).
    pub is_retain_available: bool,
    /// Whether a SUBSCRIBE may have a Subscription Identifier; else the connection ends (0xA1).
    pub are_subscription_identifiers_available: bool,
    /// Topic Aliases that a client may use (Topic Alias Maximum of the CONNACK).
    pub topic_alias_maximum: u16,
    /// Topic Aliases used towards a client that allows as many.
    pub outgoing_topic_aliases: u16,
    /// Basis for Response Topics, for clients that ask for it (Response Information of the CONNACK).
    pub response_information: Option<&'static str>,
    /// Whether the broker knows any method of enhanced authentication; if not, a CONNECT with one is refused (0x8C).
    /// Which methods there are is the broker's to know: it refuses others with [`crate::Input::End`].
    pub has_enhanced_authentication: bool,
    /// Longest time in seconds that a session outlives its connection; longer ones are cut (Session Expiry Interval of
    /// the CONNACK). `None`: the client's word, which may be for ever.
    pub maximum_session_expiry: Option<u32>,
    /// The same for MQTT 3.1.1, whose clients can't say it: of sessions without Clean Session, in seconds.
    pub v3_session_expiry: u32,
    /// Longest Message Expiry Interval in seconds; longer ones are cut.
    pub maximum_message_expiry: Option<u32>,
    /// Shortest Message Expiry Interval in seconds; shorter ones are raised.
    pub minimum_message_expiry: u32,
    /// Messages of QoS 1 and 2 sent to a client and not acknowledged by it, whatever Receive Maximum it announces.
    pub maximum_inflight: u16,
    /// Messages that wait for room in the client's receive window. Beyond it the newest is dropped.
    pub maximum_queued_messages: usize,
    /// Bytes of the same, and of what the client has not acknowledged.
    pub maximum_queued_bytes: usize,
    /// Publishes in a second. Beyond it one of QoS 0 is dropped, and any other ends the connection (0x96). `None`: as
    /// many as the broker takes.
    pub publish_rate: Option<RateLimit>,
    /// Bytes of payload in a second, likewise.
    pub publish_bytes_rate: Option<RateLimit>,
    /// Packets a client may send between its CONNECT and our CONNACK ([MQTT-3.1.4-5] lets it not wait).
    pub maximum_early_packets: usize,
    /// Bytes of the same. Not below [`Self::maximum_packet_size`], or a client couldn't send the largest packet at once.
    pub maximum_early_bytes: usize,
    /// Longest keep-alive in seconds; a longer one or none is replaced (Server Keep Alive). `None`: the client's word.
    pub maximum_keep_alive: Option<u16>,
    /// Shortest keep-alive in seconds.
    pub minimum_keep_alive: u16,
    /// Longest client identifier in bytes.
    pub maximum_client_id_bytes: usize,
    /// Filters in one SUBSCRIBE; beyond it the connection ends (0x97).
    pub maximum_filters_per_subscribe: usize,
    /// Filters in one UNSUBSCRIBE, likewise.
    pub maximum_filters_per_unsubscribe: usize,
    /// SUBSCRIBEs and UNSUBSCRIBEs of one session that wait for their answer.
    pub maximum_subscribing: usize,
    /// Subscriptions of one session.
    pub maximum_subscriptions: usize,
    /// Bytes of a will's topic, payload and properties: it is stored with each claim.
    pub maximum_will_bytes: usize,
}

impl SessionSettings {
    /// The standard's bound or the platform's.
    pub const STANDARD: Self = Self {
        receive_maximum: 100,
        // A megabyte: isolates have 128 MB for all their connections, and a queue message carries 128 KB at most.
        maximum_packet_size: 1024 * 1024,
        maximum_payload_bytes: None,
        maximum_content_type_bytes: None,
        maximum_correlation_data_bytes: None,
        maximum_user_property_bytes: None,
        maximum_qos: Qos::ExactlyOnce,
        is_retain_available: true,
        are_subscription_identifiers_available: true,
        topic_alias_maximum: 16,
        outgoing_topic_aliases: 16,
        response_information: None,
        has_enhanced_authentication: false,
        maximum_session_expiry: None,
        // Thirty days: a client of MQTT 3.1.1 can't say when it is gone for good, and its queue costs storage.
        v3_session_expiry: 30 * 24 * 3_600,
        maximum_message_expiry: None,
        minimum_message_expiry: 0,
        maximum_inflight: 100,
        maximum_queued_messages: 1_000,
        maximum_queued_bytes: 4 * 1024 * 1024,
        // The broker lets a client that sends much wait for its turn.
        publish_rate: None,
        publish_bytes_rate: None,
        maximum_early_packets: 64,
        maximum_early_bytes: 1024 * 1024,
        maximum_keep_alive: None,
        minimum_keep_alive: 5,
        maximum_client_id_bytes: 1_024,
        maximum_filters_per_subscribe: 256,
        // All subscriptions that a session can have.
        maximum_filters_per_unsubscribe: 1_024,
        maximum_subscribing: 1_024,
        maximum_subscriptions: 1_024,
        maximum_will_bytes: 8 * 1024,
    };

    /// AWS IoT Core's message broker limits and quotas (AWS General Reference, "AWS IoT Core endpoints and quotas";
    /// developer guide, "MQTT").
    pub const AWS: Self = Self {
        maximum_packet_size: 149_504,
        maximum_payload_bytes: Some(128 * 1024),
        maximum_content_type_bytes: Some(256),
        maximum_correlation_data_bytes: Some(8 * 1024),
        maximum_user_property_bytes: Some(8 * 1024),
        maximum_qos: Qos::AtLeastOnce,
        are_subscription_identifiers_available: false,
        topic_alias_maximum: 8,
        outgoing_topic_aliases: 8,
        maximum_session_expiry: Some(3_600),
        v3_session_expiry: 3_600,
        maximum_message_expiry: Some(604_800),
        minimum_message_expiry: 1,
        // Two seconds' worth at once.
        publish_rate: Some(RateLimit { per_second: 100, burst: 200 }),
        publish_bytes_rate: Some(RateLimit { per_second: 512 * 1024, burst: 1024 * 1024 }),
        maximum_keep_alive: Some(1_200),
        minimum_keep_alive: 30,
        maximum_client_id_bytes: 128,
        maximum_filters_per_subscribe: 8,
        maximum_subscriptions: 50,
        ..Self::STANDARD
    };

    /// The keep-alive to use for the one a client asks for, in seconds; zero means none.
    #[must_use]
    pub const fn keep_alive(&self, asked: u16) -> u16 {
        match (asked, self.maximum_keep_alive) {
            (0, Some(maximum)) => maximum,
            (0, None) => 0,
            (asked, Some(maximum)) if asked > maximum => maximum,
            (asked, _) if asked < self.minimum_keep_alive => self.minimum_keep_alive,
            (asked, _) => asked,
        }
    }

    /// How long the session of a CONNECT is to outlive its connection, in seconds (MQTT 5.0 section 3.1.2.11.2; in
    /// MQTT 3.1.1 as Clean Session says).
    #[must_use]
    pub fn session_expiry(&self, connect: &Connect) -> u32 {
        match connect.version {
            ProtocolVersion::V5 => self.limited_expiry(connect.properties.session_expiry_interval.unwrap_or(0)),
            ProtocolVersion::V3_1_1 if connect.clean_start => 0,
            ProtocolVersion::V3_1_1 => self.v3_session_expiry,
        }
    }

    /// A Session Expiry Interval cut to the limit.
    pub(crate) fn limited_expiry(&self, secs: u32) -> u32 {
        secs.min(self.maximum_session_expiry.unwrap_or(u32::MAX))
    }

    /// A Message Expiry Interval within the limits.
    pub(crate) fn message_expiry(&self, asked: Option<u32>) -> Option<u32> {
        let maximum = self.maximum_message_expiry.unwrap_or(u32::MAX);
        asked.map(|secs| secs.max(self.minimum_message_expiry).min(maximum))
    }

    /// The limits of the outgoing half for a client with this Receive Maximum.
    #[must_use]
    pub fn outbound(&self, receive_maximum: u16) -> OutboundLimits {
        OutboundLimits {
            window: receive_maximum.min(self.maximum_inflight),
            maximum_messages: self.maximum_queued_messages,
            maximum_bytes: self.maximum_queued_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keep_alive_follows_the_client_or_awss_bounds() {
        for (asked, standard, aws) in
            [(0, 0, 1_200), (1, 5, 30), (60, 60, 60), (1_201, 1_201, 1_200), (65_535, 65_535, 1_200)]
        {
            assert_eq!(SessionSettings::STANDARD.keep_alive(asked), standard, "standard, {asked}");
            assert_eq!(SessionSettings::AWS.keep_alive(asked), aws, "AWS, {asked}");
        }
    }

    #[test]
    fn message_expiry_follows_the_client_or_awss_bounds() {
        for (asked, standard, aws) in [
            (None, None, None),
            (Some(0), Some(0), Some(1)),
            (Some(604_800), Some(604_800), Some(604_800)),
            (Some(u32::MAX), Some(u32::MAX), Some(604_800)),
        ] {
            assert_eq!(SessionSettings::STANDARD.message_expiry(asked), standard, "standard, {asked:?}");
            assert_eq!(SessionSettings::AWS.message_expiry(asked), aws, "AWS, {asked:?}");
        }
    }
}
