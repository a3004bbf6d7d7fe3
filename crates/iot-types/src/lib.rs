//! The words every part of Umbra shares: names with their syntax checked once, time, quality of service, and User
//! Properties.
//!
//! In scope: newtypes whose value is known to be well formed, and the errors their parsers give.
//! Out of scope: behaviour. What a thing, a session or a job *does* lives in the domain crates.

mod arn;
mod names;
mod time;
mod user_properties;

pub use arn::{Arn, Scope};
pub use names::{
    AccountId, AuthorizerName, CertificateId, ClientId, JobId, NameError, PolicyName, Region, RuleName, ShadowName,
    ThingName,
};
pub use time::UnixMillis;
pub use user_properties::UserProperties;

use serde::{Deserialize, Serialize};

/// Quality of service of an Application Message or of a subscription (MQTT 5.0 section 4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Qos {
    /// Delivered according to what the network can do; never stored.
    #[default]
    AtMostOnce = 0,
    /// Acknowledged by PUBACK; may arrive more than once.
    AtLeastOnce = 1,
    /// Acknowledged in two steps; arrives once.
    ExactlyOnce = 2,
}

impl Qos {
    /// The level that two bits on the wire stand for; `None` for 3, which is malformed ([MQTT-3.3.1-4]).
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// The two bits on the wire.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

/// A Packet Identifier: never zero ([MQTT-2.2.1-3]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PacketId(core::num::NonZeroU16);

impl PacketId {
    /// The smallest identifier, where a new session begins.
    pub const FIRST: Self = Self(core::num::NonZeroU16::MIN);

    /// Wraps a wire value; `None` for zero.
    #[must_use]
    pub const fn new(value: u16) -> Option<Self> {
        match core::num::NonZeroU16::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The wire value.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// The identifier that follows, skipping zero when it wraps.
    #[must_use]
    pub const fn next(self) -> Self {
        match core::num::NonZeroU16::new(self.0.get().wrapping_add(1)) {
            Some(value) => Self(value),
            None => Self::FIRST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_is_no_quality_of_service() {
        assert_eq!(Qos::from_bits(3), None);
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            assert_eq!(Qos::from_bits(qos.bits()), Some(qos));
        }
    }

    #[test]
    fn packet_identifiers_skip_zero_when_they_wrap() {
        assert_eq!(PacketId::new(0), None);
        assert_eq!(PacketId::new(65_535).map(|id| id.next().get()), Some(1));
    }
}
