//! MQTT 5.0's properties in a query and in headers, as Publish and SendDirectMessage have them.

use super::{DataLimits, HttpParts, topic_name};
use crate::error::ApiError;
use crate::input::{Query, Violations};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use bytes::Bytes;
use iot_types::UserProperties;
use messages::publication::PublicationProperties;
use serde_json::{Map, Value};

const USER_PROPERTIES: &str = "x-amz-mqtt5-user-properties";
const PAYLOAD_FORMAT_INDICATOR: &str = "x-amz-mqtt5-payload-format-indicator";
const CORRELATION_DATA: &str = "x-amz-mqtt5-correlation-data";

/// SDKs pad, people often don't.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The properties that both operations have. `None` when there are none.
pub(super) fn parse(
    http: &HttpParts<'_>,
    query: &Query,
    message_expiry_interval: Option<u32>,
    violations: &mut Violations,
    limits: &DataLimits,
) -> Result<Option<Box<PublicationProperties>>, ApiError> {
    let header = |name: &str| {
        let found = http.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    };
    let payload_format_indicator = match header(PAYLOAD_FORMAT_INDICATOR) {
        None => None,
        Some("UNSPECIFIED_BYTES") => Some(false),
        Some("UTF8_DATA") => Some(true),
        Some(other) => {
            let constraint = "Member must satisfy enum value set: [UNSPECIFIED_BYTES, UTF8_DATA]";
            violations.add(other, "payloadFormatIndicator", constraint);
            None
        }
    };
    let content_type = match query.string("contentType") {
        None => None,
        Some(text) => Some(content_type(text, limits)?),
    };
    let response_topic = match query.string("responseTopic") {
        None => None,
        Some(text) => Some(topic_name(text, "responseTopic", limits)?),
    };
    let correlation_data = match header(CORRELATION_DATA) {
        None => None,
        Some(text) => Some(Bytes::from(decode(text, "correlationData", limits.maximum_correlation_data_bytes)?)),
    };
    let user_properties = match header(USER_PROPERTIES) {
        None => UserProperties::new(),
        Some(text) => user_properties(text, limits)?,
    };
    let properties = PublicationProperties {
        payload_format_indicator,
        message_expiry_interval,
        content_type,
        response_topic,
        correlation_data,
        user_properties,
    };
    Ok((properties != PublicationProperties::default()).then(|| Box::new(properties)))
}

/// User Properties the way the header has them: base64 of a JSON array of objects with one member each.
pub(super) fn encode_user_properties(properties: &UserProperties) -> String {
    let objects = properties.iter().map(|(name, value)| {
        let mut object = Map::new();
        object.insert(name.to_owned(), Value::from(value));
        Value::Object(object)
    });
    STANDARD.encode(Value::Array(objects.collect()).to_string())
}

fn content_type(text: &str, limits: &DataLimits) -> Result<String, ApiError> {
    let maximum = limits.maximum_content_type_bytes;
    if text.len() > maximum {
        return Err(ApiError::invalid_request(format!("The contentType is longer than {maximum} bytes")));
    }
    utf8_string(text, "contentType")
}

fn user_properties(text: &str, limits: &DataLimits) -> Result<UserProperties, ApiError> {
    const SHAPE: &str = "The userProperties must be a JSON array of objects whose values are strings";
    let maximum = limits.maximum_user_properties_bytes;
    // JSON takes up to ten bytes for one of a property: `{"a":""},` or an escape such as `\u0001`.
    let json = decode(text, "userProperties", maximum.saturating_mul(10))?;
    let objects: Vec<Map<String, Value>> =
        serde_json::from_slice(&json).map_err(|_| ApiError::invalid_request(SHAPE))?;
    let mut pairs = Vec::new();
    for (name, value) in objects.into_iter().flatten() {
        let Value::String(value) = value else { return Err(ApiError::invalid_request(SHAPE)) };
        pairs.push((utf8_string(&name, "userProperties")?, utf8_string(&value, "userProperties")?));
    }
    let properties = UserProperties::from_iter(pairs);
    if properties.text_bytes() > maximum {
        return Err(ApiError::invalid_request(format!("The userProperties are longer than {maximum} bytes")));
    }
    Ok(properties)
}

fn decode(text: &str, member: &str, maximum: usize) -> Result<Vec<u8>, ApiError> {
    if text.len() / 4 * 3 > maximum.saturating_add(3) {
        return Err(ApiError::invalid_request(format!("The {member} is longer than {maximum} bytes")));
    }
    let bytes =
        BASE64.decode(text).map_err(|_| ApiError::invalid_request(format!("The {member} is not valid base64")))?;
    if bytes.len() > maximum {
        return Err(ApiError::invalid_request(format!("The {member} is longer than {maximum} bytes")));
    }
    Ok(bytes)
}

/// A UTF-8 Encoded String of MQTT: without U+0000 ([MQTT-1.5.4-2]) and with a length of two bytes.
fn utf8_string(text: &str, member: &str) -> Result<String, ApiError> {
    if text.contains('\0') || text.len() > usize::from(u16::MAX) {
        return Err(ApiError::invalid_request(format!("The {member} can't be carried by MQTT")));
    }
    Ok(text.to_owned())
}
