//! Topic Names, Topic Filters, what matches what, and the topics that Umbra keeps for itself.
//!
//! In scope:
//! - the syntax of MQTT 5.0 section 4.7 and of Shared Subscriptions (section 4.8.2), in both versions of the protocol;
//! - matching: one filter against one topic, and one topic against many filters ([`SubscriptionIndex`]);
//! - [`node`]: under which literal prefix the routing tree keeps a filter;
//! - [`reserved`]: topics that begin with `$`, parsed once into values, and built from them.
//!
//! Out of scope:
//! - who may use a topic → policies; here is only what nobody may do ([`reserved::may_publish`]);
//! - which member of a shared group gets a message → `routing`;
//! - names of things and shadows inside reserved topics are text here; `iot-types` checks them.
//!
//! A Shared Subscription's filter `$share/{name}/{filter}` matches what the filter inside it matches, everywhere in
//! this crate.

mod error;
mod filter;
mod index;
mod limits;
mod name;
pub mod node;
pub mod reserved;

pub use bytestring::ByteString;
pub use error::TopicError;
pub use filter::{SharedFilter, TopicFilter, matches, matches_without_parent};
pub use index::SubscriptionIndex;
pub use limits::TopicLimits;
pub use name::TopicName;
