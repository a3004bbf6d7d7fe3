//! What is wrong with a topic.

/// Why a text is no Topic Name or Topic Filter, or not one that is accepted here. The client's fault; the text begins
/// with the clause where there is one and is safe to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// No character at all.
    #[error("[MQTT-4.7.3-1]: a topic must be at least one character long")]
    Empty,
    /// U+0000.
    #[error("[MQTT-4.7.3-2]: a topic must not contain the null character")]
    NullCharacter,
    /// More bytes than MQTT's length can say.
    #[error("[MQTT-4.7.3-3]: a topic must not be longer than 65535 bytes")]
    TooLong,
    /// A wildcard in a Topic Name.
    #[error("[MQTT-4.7.0-1]: a Topic Name must not contain wildcards")]
    WildcardInName,
    /// `#` with something before or after it in its level, or levels after it.
    #[error("[MQTT-4.7.1-1]: # must be the whole last level")]
    MultiLevelWildcard,
    /// `+` with something before or after it in its level.
    #[error("[MQTT-4.7.1-2]: + must be a whole level")]
    SingleLevelWildcard,
    /// `$share/` without a name.
    #[error("[MQTT-4.8.2-1]: the Share Name must be at least one character long")]
    ShareNameEmpty,
    /// A wildcard in the Share Name.
    #[error("[MQTT-4.8.2-2]: the Share Name must not contain wildcards")]
    ShareNameWildcard,
    /// `$share/{name}` without a filter.
    #[error("[MQTT-4.8.2-2]: the Share Name must be followed by / and a Topic Filter")]
    ShareWithoutFilter,
    /// A Shared Subscription of a Shared Subscription, which could never match.
    #[error("[MQTT-4.8.2-2]: the Topic Filter after the Share Name must not begin with $share/")]
    ShareWithinShare,
    /// Over [`TopicLimits::maximum_bytes`](crate::TopicLimits::maximum_bytes).
    #[error("the topic is longer than {maximum} bytes")]
    TooManyBytes {
        /// Bytes allowed.
        maximum: usize,
    },
    /// Over [`TopicLimits::maximum_levels`](crate::TopicLimits::maximum_levels).
    #[error("the topic has more than {maximum} levels")]
    TooManyLevels {
        /// Levels allowed.
        maximum: usize,
    },
}
