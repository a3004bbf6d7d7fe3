//! How long and how deep a topic may be.

use crate::TopicError;

/// Limits of a deployment on Topic Names and Topic Filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicLimits {
    /// Bytes of UTF-8.
    pub maximum_bytes: usize,
    /// Levels: one more than there are slashes.
    pub maximum_levels: usize,
}

impl TopicLimits {
    /// What MQTT allows in bytes, and as many levels as nobody needs.
    pub const STANDARD: Self = Self { maximum_bytes: 65_535, maximum_levels: 128 };
    /// AWS IoT Core: 256 bytes and 7 slashes (AWS General Reference, "AWS IoT Core endpoints and quotas").
    pub const AWS: Self = Self { maximum_bytes: 256, maximum_levels: 8 };

    /// Checks what counts of a topic.
    pub(crate) fn check(&self, counted: &str) -> Result<(), TopicError> {
        if counted.len() > self.maximum_bytes {
            return Err(TopicError::TooManyBytes { maximum: self.maximum_bytes });
        }
        if counted.split('/').count() > self.maximum_levels {
            return Err(TopicError::TooManyLevels { maximum: self.maximum_levels });
        }
        Ok(())
    }
}

impl Default for TopicLimits {
    fn default() -> Self {
        Self::STANDARD
    }
}
