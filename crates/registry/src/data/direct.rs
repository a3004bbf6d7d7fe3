//! SendDirectMessage.

use super::publish::{overloaded, payload};
use super::{DataLimits, Holder, HttpParts, client_id, properties, topic_name};
use crate::error::ApiError;
use crate::input::{Query, Violations};
use iot_types::{ClientId, Qos, UnixMillis};
use messages::api::{ApiFailure, BrokerApiReply, BrokerApiRequest};
use messages::publication::Publication;
use messages::session::ClientState;
use mqtt_topic::reserved;

/// Seconds to wait for the client's acknowledgement when `timeout` is absent.
const DEFAULT_TIMEOUT: u32 = 5;
/// The longest `timeout`.
const MAXIMUM_TIMEOUT: u32 = 15;

/// A valid SendDirectMessage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendDirectMessageRequest {
    /// From the path.
    pub client_id: ClientId,
    /// The message: QoS 1 with `confirmation`, else QoS 0.
    pub publication: Publication,
    /// Whether to wait for the client's acknowledgement.
    pub confirmation: bool,
    /// For how long, in milliseconds.
    pub timeout_millis: u32,
}

impl SendDirectMessageRequest {
    /// Parses the path parameter and the rest of the request. `timeout` is ignored without `confirmation`.
    ///
    /// A reserved topic is refused: what a client hears there is the platform's word.
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`, `ForbiddenException`, `RequestEntityTooLargeException`.
    pub fn parse(client: &str, http: &HttpParts<'_>, limits: &DataLimits, now: UnixMillis) -> Result<Self, ApiError> {
        let query = Query::parse(http.query);
        let mut violations = Violations::default();
        let confirmation = query.boolean("confirmation")?.unwrap_or(false);
        let timeout = if confirmation { timeout(&query, &mut violations)? } else { DEFAULT_TIMEOUT };
        let properties = properties::parse(http, &query, None, &mut violations, limits)?;
        let client_id = client_id(client, limits, violations)?;
        let topic = query.string("topic").ok_or_else(|| ApiError::invalid_request("The topic is missing"))?;
        let topic = topic_name(topic, "topic", limits)?;
        if reserved::parse(&topic).is_some() {
            return Err(ApiError::forbidden("Messages to reserved topics are the platform's own"));
        }
        let publication = Publication {
            topic,
            payload: payload(http.body, limits)?,
            qos: if confirmation { Qos::AtLeastOnce } else { Qos::AtMostOnce },
            retain: false,
            properties,
            client_id: None,
            accepted_at: now,
            message_id: None,
        };
        Ok(Self { client_id, publication, confirmation, timeout_millis: timeout * 1_000 })
    }

    /// Where to send it, from what the Sessions shard knows of the client: nothing is kept for one that is away.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub fn addressed(self, state: Option<&ClientState>) -> Result<(Holder, BrokerApiRequest), ApiError> {
        let Self { client_id, publication, confirmation, timeout_millis } = self;
        let Some(holder) = state.and_then(|state| state.holder.clone()) else {
            return Err(not_connected(client_id.as_str()));
        };
        let connection = holder.1;
        Ok((holder, BrokerApiRequest::Direct { connection, client_id, publication, confirmation, timeout_millis }))
    }
}

/// What became of a [`SendDirectMessageRequest`].
///
/// # Errors
/// `ResourceNotFoundException`, `ForbiddenException`, `RequestEntityTooLargeException`, `ThrottlingException`,
/// `GatewayTimeoutException`, `InternalFailureException`.
pub fn settle_direct_message(client_id: &str, reply: BrokerApiReply) -> Result<(), ApiError> {
    match reply {
        BrokerApiReply::Done => Ok(()),
        BrokerApiReply::TimedOut => {
            Err(ApiError::gateway_timeout(format!("Client {client_id} did not acknowledge the message in time")))
        }
        BrokerApiReply::Failed(ApiFailure::NotConnected) => Err(not_connected(client_id)),
        BrokerApiReply::Failed(ApiFailure::Overloaded) => Err(overloaded()),
        BrokerApiReply::Failed(ApiFailure::NotAuthorized) => {
            Err(ApiError::forbidden(format!("Client {client_id} may not receive messages of this topic")))
        }
        BrokerApiReply::Failed(ApiFailure::TooLarge) => Err(ApiError::request_entity_too_large(format!(
            "The message is larger than the largest packet that client {client_id} takes"
        ))),
        BrokerApiReply::Failed(ApiFailure::NotSafe) => Err(ApiError::internal_failure()),
    }
}

fn not_connected(client_id: &str) -> ApiError {
    ApiError::resource_not_found(format!("Client {client_id} is not connected"))
}

fn timeout(query: &Query, violations: &mut Violations) -> Result<u32, ApiError> {
    let Some(value) = query.long("timeout")? else { return Ok(DEFAULT_TIMEOUT) };
    if value < 1 {
        violations.add(&value.to_string(), "timeout", "Member must have value greater than or equal to 1");
    }
    if value > i64::from(MAXIMUM_TIMEOUT) {
        let constraint = format!("Member must have value less than or equal to {MAXIMUM_TIMEOUT}");
        violations.add(&value.to_string(), "timeout", &constraint);
    }
    Ok(u32::try_from(value).unwrap_or(DEFAULT_TIMEOUT).min(MAXIMUM_TIMEOUT))
}
