//! The data plane's operations about messages and connections (service model `iot-data`): what a request asks, whom it
//! concerns, and what it is answered with.
//!
//! The steps between are calls to objects, which the `workers` crate makes: a Broker for [`PublishRequest`] and
//! [`SendDirectMessageRequest`], Routers for retained messages, a Sessions shard for connections.

mod connection;
mod direct;
mod limits;
mod properties;
mod publish;
mod retained;

pub use connection::{
    DeleteConnectionRequest, GetConnectionRequest, ListSubscriptionsRequest, SubscriptionSource, connectivity_response,
    get_connection_response, list_subscriptions_response, settle_delete_connection, subscription_source,
};
pub use direct::{SendDirectMessageRequest, settle_direct_message};
pub use limits::DataLimits;
pub use publish::{PublishRequest, message_response, settle_publish};
pub use retained::{
    GetRetainedMessageRequest, ListRetainedMessagesRequest, RetainedListing, RetainedSummaries,
    get_retained_message_response,
};

use crate::error::ApiError;
use crate::input::Violations;
use iot_types::{ClientId, UnixMillis};
use messages::address::BrokerId;
use messages::broker::ConnectionId;
use messages::session::{ClientState, NEVER_EXPIRES};
use mqtt_topic::TopicName;

/// Where a client is connected.
pub type Holder = (BrokerId, ConnectionId);

/// What operations read of an HTTP request, besides its path.
#[derive(Clone, Copy, Debug)]
pub struct HttpParts<'a> {
    /// Without the question mark.
    pub query: &'a str,
    /// Names in any case.
    pub headers: &'a [(String, String)],
    /// The whole body.
    pub body: &'a [u8],
}

/// A Topic Name within the limits. `member` is its name in the service model.
fn topic_name(text: &str, member: &str, limits: &DataLimits) -> Result<String, ApiError> {
    match TopicName::new(text).and_then(|topic| topic.check(&limits.topics).map(|()| topic)) {
        Ok(topic) => Ok(topic.as_str().to_owned()),
        Err(error) => Err(ApiError::invalid_request(format!("The {member} is not valid: {error}"))),
    }
}

/// The client identifier in a path.
fn client_id(text: &str, limits: &DataLimits, mut violations: Violations) -> Result<ClientId, ApiError> {
    if text.len() > limits.maximum_client_id_bytes {
        let constraint = format!("Member must have length less than or equal to {}", limits.maximum_client_id_bytes);
        violations.add(text, "clientId", &constraint);
    }
    if text.contains('\0') || limits.refuses_dollar_client_ids && text.starts_with('$') {
        violations.add(text, "clientId", "Member must satisfy regular expression pattern: ^[^$].*");
    }
    let client_id = ClientId::new(text);
    if client_id.is_none() {
        violations.add(text, "clientId", "Member must have length greater than or equal to 1");
    }
    violations.finish()?;
    client_id.ok_or_else(|| ApiError::invalid_request("The clientId is empty"))
}

/// Whether the client is connected or has a session that has outlived its connection.
fn has_session(state: &ClientState, now: UnixMillis) -> bool {
    let is_kept = || match (state.session_expiry, state.disconnected) {
        (NEVER_EXPIRES, _) | (_, None) => true,
        (seconds, Some((at, _))) => now.millis_since(at) < u64::from(seconds) * 1_000,
    };
    state.holder.is_some() || !state.is_clean && is_kept()
}

fn no_session(client_id: &ClientId) -> ApiError {
    ApiError::resource_not_found(format!("Client {client_id} has no connection and no session"))
}
