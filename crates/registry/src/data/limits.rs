//! Limits of the data plane, in two columns.

use mqtt_topic::TopicLimits;

/// What the data plane allows.
///
/// AWS's column is from the service model and from "AWS IoT Core endpoints and quotas" in the AWS General Reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataLimits {
    /// Of Topic Names, the Response Topic included.
    pub topics: TopicLimits,
    /// Bytes of a message's payload.
    pub maximum_payload_bytes: usize,
    /// Bytes of the Content Type.
    pub maximum_content_type_bytes: usize,
    /// Bytes of the Correlation Data.
    pub maximum_correlation_data_bytes: usize,
    /// Bytes of all User Properties, names and values.
    pub maximum_user_properties_bytes: usize,
    /// The longest Message Expiry Interval, in seconds. A longer one is replaced with it.
    pub maximum_message_expiry: u32,
    /// Bytes of a client identifier.
    pub maximum_client_id_bytes: usize,
    /// Whether client identifiers may not begin with a dollar sign.
    pub refuses_dollar_client_ids: bool,
    /// For how long it is told when and why a client's last connection ended, in milliseconds; `None`: as long as it is
    /// known.
    pub disconnect_information_millis: Option<u64>,
}

impl DataLimits {
    /// The default: what MQTT and the platform allow.
    pub const STANDARD: Self = Self {
        topics: TopicLimits::STANDARD,
        // As the largest MQTT packet: isolates have 128 MB for everything in them.
        maximum_payload_bytes: 1024 * 1024,
        maximum_content_type_bytes: 65_535,
        maximum_correlation_data_bytes: 65_535,
        maximum_user_properties_bytes: 65_535,
        maximum_message_expiry: u32::MAX,
        maximum_client_id_bytes: 1_024,
        refuses_dollar_client_ids: false,
        disconnect_information_millis: None,
    };

    /// AWS's own limits, for `COMPAT = "aws"`.
    pub const AWS: Self = Self {
        topics: TopicLimits::AWS,
        maximum_payload_bytes: 128 * 1024,
        maximum_content_type_bytes: 256,
        maximum_correlation_data_bytes: 8 * 1024,
        maximum_user_properties_bytes: 8 * 1024,
        maximum_message_expiry: 604_800,
        maximum_client_id_bytes: 128,
        refuses_dollar_client_ids: true,
        disconnect_information_millis: Some(30 * 60 * 1_000),
    };
}
