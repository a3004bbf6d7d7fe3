//! Limits of a session: every number the code compares with, in one place, with AWS's values beside ours.

use iot_types::Qos;

/// What a session allows and announces. All counts are per connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// QoS 1 publishes a client may have unacknowledged (Receive Maximum of the CONNACK).
    pub receive_maximum: u16,
    /// Largest packet accepted, in bytes (Maximum Packet Size of the CONNACK).
    pub maximum_packet_size: u32,
    /// Highest quality of service (Maximum QoS of the CONNACK).
    pub maximum_qos: Qos,
    /// QoS 1 messages sent to a client and not acknowledged by it, whatever Receive Maximum it announces.
    pub maximum_inflight: u16,
    /// Messages that wait for room in the client's receive window. Beyond it the newest is dropped.
    pub maximum_queued_messages: usize,
    /// Bytes of the same.
    pub maximum_queued_bytes: usize,
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
    /// Filters in one SUBSCRIBE.
    pub maximum_filters_per_subscribe: usize,
    /// SUBSCRIBEs of one session that wait for their SUBACK.
    pub maximum_subscribing: usize,
    /// Subscriptions of one session.
    pub maximum_subscriptions: usize,
    /// Bytes of a will's topic, payload and properties: it has to fit into the socket's attachment.
    pub maximum_will_bytes: usize,
}

impl SessionSettings {
    /// The standard's bound or the platform's.
    pub const STANDARD: Self = Self {
        receive_maximum: 100,
        // A megabyte: isolates have 128 MB for all their connections, and a queue message carries 128 KB at most.
        maximum_packet_size: 1024 * 1024,
        maximum_qos: Qos::AtLeastOnce,
        maximum_inflight: 100,
        maximum_queued_messages: 1_000,
        maximum_queued_bytes: 1024 * 1024,
        maximum_early_packets: 64,
        maximum_early_bytes: 1024 * 1024,
        maximum_keep_alive: None,
        minimum_keep_alive: 5,
        maximum_client_id_bytes: 1_024,
        maximum_filters_per_subscribe: 256,
        maximum_subscribing: 1_024,
        maximum_subscriptions: 1_024,
        maximum_will_bytes: 8 * 1024,
    };

    /// AWS IoT Core's message broker limits and quotas.
    pub const AWS: Self = Self {
        maximum_packet_size: 149_504,
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
}
