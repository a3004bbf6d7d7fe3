//! Publish.

use super::{DataLimits, HttpParts, properties, topic_name};
use crate::error::ApiError;
use crate::input::{Query, Violations};
use crate::operation::Plane;
use bytes::Bytes;
use iot_types::{Qos, UnixMillis};
use messages::api::{ApiFailure, BrokerApiReply};
use messages::publication::Publication;
use mqtt_topic::reserved;
use serde_json::json;

/// A valid Publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishRequest {
    /// The message. It has no client: AWS's `clientid()` gives `n/a` for it, too.
    pub publication: Publication,
}

impl PublishRequest {
    /// Parses the path parameter and the rest of the request.
    ///
    /// Reserved topics are those that clients may publish to: requests to shadows and jobs, and Basic Ingest. Nothing
    /// can be retained there (AWS developer guide, "Retained messages").
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`, `ForbiddenException` for a topic that is the platform's,
    /// `RequestEntityTooLargeException`.
    pub fn parse(topic: &str, http: &HttpParts<'_>, limits: &DataLimits, now: UnixMillis) -> Result<Self, ApiError> {
        let topic = topic_name(topic, "topic", limits)?;
        let query = Query::parse(http.query);
        let mut violations = Violations::default();
        let qos = qos(&query, &mut violations)?;
        let retain = query.boolean("retain")?.unwrap_or(false);
        let expiry = message_expiry(&query, &mut violations, limits)?;
        let properties = properties::parse(http, &query, expiry, &mut violations, limits)?;
        violations.finish()?;
        if !reserved::may_publish(&topic) {
            return Err(reserved_topic());
        }
        if retain && reserved::parse(&topic).is_some() {
            return Err(ApiError::invalid_request("Messages of reserved topics can't be retained"));
        }
        let publication = Publication {
            topic,
            payload: payload(http.body, limits)?,
            qos,
            retain,
            properties,
            client_id: None,
            accepted_at: now,
            message_id: None,
        };
        Ok(Self { publication })
    }
}

/// What became of a [`PublishRequest`].
///
/// # Errors
/// `ForbiddenException`, `ThrottlingException`, and `InternalFailureException` when the message is not safe with
/// everybody who shall have it: SDKs publish it again then.
pub fn settle_publish(reply: BrokerApiReply) -> Result<(), ApiError> {
    match reply {
        BrokerApiReply::Done => Ok(()),
        BrokerApiReply::Failed(ApiFailure::Overloaded) => Err(overloaded()),
        BrokerApiReply::Failed(ApiFailure::NotAuthorized) => Err(reserved_topic()),
        BrokerApiReply::Failed(ApiFailure::TooLarge) => {
            Err(ApiError::request_entity_too_large("The message is too large"))
        }
        BrokerApiReply::Failed(ApiFailure::NotSafe | ApiFailure::NotConnected) | BrokerApiReply::TimedOut => {
            Err(ApiError::internal_failure())
        }
    }
}

/// The answer to Publish (AWS developer guide, "HTTPS"; the service model has none) and SendDirectMessageResponse.
#[must_use]
pub fn message_response(trace_id: &str) -> Vec<u8> {
    json!({"message": "OK", "traceId": trace_id}).to_string().into_bytes()
}

pub(super) fn payload(body: &[u8], limits: &DataLimits) -> Result<Bytes, ApiError> {
    let maximum = limits.maximum_payload_bytes;
    if body.len() > maximum {
        return Err(ApiError::request_entity_too_large(format!("The payload is larger than {maximum} bytes")));
    }
    Ok(Bytes::copy_from_slice(body))
}

pub(super) fn reserved_topic() -> ApiError {
    ApiError::forbidden("Nobody may publish to this reserved topic")
}

pub(super) fn overloaded() -> ApiError {
    ApiError::throttling(Plane::IotData, "More is being published than can be passed on; try again")
}

/// 0 or 1: what QoS 2 promises ends with the HTTP request, which may be sent again.
fn qos(query: &Query, violations: &mut Violations) -> Result<Qos, ApiError> {
    let Some(value) = query.long("qos")? else { return Ok(Qos::AtMostOnce) };
    if value < 0 {
        violations.add(&value.to_string(), "qos", "Member must have value greater than or equal to 0");
    }
    if value > 1 {
        violations.add(&value.to_string(), "qos", "Member must have value less than or equal to 1");
    }
    Ok(if value == 1 { Qos::AtLeastOnce } else { Qos::AtMostOnce })
}

/// In seconds. Zero is one, and what is too long is cut (AWS developer guide, "Message expiry").
fn message_expiry(query: &Query, violations: &mut Violations, limits: &DataLimits) -> Result<Option<u32>, ApiError> {
    let Some(value) = query.long("messageExpiry")? else { return Ok(None) };
    if value < 0 {
        violations.add(&value.to_string(), "messageExpiry", "Member must have value greater than or equal to 0");
    }
    let seconds = u32::try_from(value.max(1)).unwrap_or(u32::MAX);
    Ok(Some(seconds.min(limits.maximum_message_expiry)))
}
