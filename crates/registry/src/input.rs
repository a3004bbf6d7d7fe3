//! Reading a request body and a query the way AWS's services do, with their messages.
//!
//! Members that the service model does not know are ignored, `null` is the same as absent, and a value of another JSON
//! type is a `SerializationException`. Broken constraints are collected and told together.

use crate::error::ApiError;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use service_model::Input;
use std::collections::BTreeMap;

/// A request as a struct, from members that have been checked against the service model.
///
/// # Errors
/// `SerializationException`, where a struct wants more than the model.
pub fn read<T: DeserializeOwned>(input: &Input) -> Result<T, ApiError> {
    serde_json::from_value(Value::Object(input.clone())).map_err(|error| ApiError::serialization(error.to_string()))
}

/// What a message repeats of a bad value, in bytes: enough to recognise it, and an answer that stays small.
const ECHO_LIMIT: usize = 256;

/// The JSON object in a request body.
pub(crate) struct Body(Map<String, Value>);

impl Body {
    /// No body and `{}` are the same: SDKs send either when every member is absent.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        if bytes.is_empty() {
            return Ok(Self(Map::new()));
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(members)) => Ok(Self(members)),
            Ok(_) => Err(ApiError::serialization("The request body is not a JSON object")),
            Err(error) => Err(ApiError::serialization(format!("The request body is not valid JSON: {error}"))),
        }
    }

    pub(crate) fn string(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => string(value).map(Some),
        }
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(value) => Err(wrong_type(value, "Boolean")),
        }
    }

    pub(crate) fn long(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or_else(|| wrong_type(value, "Long")),
        }
    }

    pub(crate) fn structure(&self, name: &str) -> Result<Option<Self>, ApiError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Self(members.clone()))),
            Some(_) => Err(ApiError::serialization("Expected a structure or map")),
        }
    }

    /// A list; none is the same as an empty one.
    pub(crate) fn list(&self, name: &str) -> Result<&[Value], ApiError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(&[]),
            Some(Value::Array(values)) => Ok(values),
            Some(value) => Err(wrong_type(value, "List")),
        }
    }

    /// A map of strings. A `null` value is an absent one.
    pub(crate) fn strings(&self) -> Result<BTreeMap<String, String>, ApiError> {
        self.0
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| Ok((name.clone(), string(value)?.to_owned())))
            .collect()
    }
}

fn string(value: &Value) -> Result<&str, ApiError> {
    value.as_str().ok_or_else(|| wrong_type(value, "String"))
}

fn wrong_type(value: &Value, wanted: &str) -> ApiError {
    let token = match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(number) if number.is_f64() => "DECIMAL_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => return ApiError::serialization("Start of list found where not expected"),
        Value::Object(_) => return ApiError::serialization("Start of structure or map found where not expected."),
    };
    ApiError::serialization(format!("{token} can not be converted to a {wanted}"))
}

/// The parameters of a query string. The first of a repeated name counts.
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            parameters.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
        Self(parameters)
    }

    pub(crate) fn string(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.string(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(ApiError::serialization(format!("The query parameter {name} is not a Boolean"))),
        }
    }

    pub(crate) fn long(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let parse = |text: &str| {
            text.parse().map_err(|_| ApiError::serialization(format!("The query parameter {name} is not a Long")))
        };
        self.string(name).map(parse).transpose()
    }

    /// `maxResults` between 1 and `max`.
    pub(crate) fn max_results(&self, default: u32, max: u32, violations: &mut Violations) -> Result<u32, ApiError> {
        self.page_size("maxResults", default, max, violations)
    }

    /// The same under another name.
    pub(crate) fn page_size(
        &self,
        name: &str,
        default: u32,
        max: u32,
        violations: &mut Violations,
    ) -> Result<u32, ApiError> {
        let Some(value) = self.long(name)? else { return Ok(default) };
        if value < 1 {
            violations.add(&value.to_string(), name, "Member must have value greater than or equal to 1");
        }
        if value > i64::from(max) {
            let constraint = format!("Member must have value less than or equal to {max}");
            violations.add(&value.to_string(), name, &constraint);
        }
        Ok(u32::try_from(value).unwrap_or(default))
    }
}

/// Broken constraints of the service model, told together as AWS does.
#[derive(Default)]
pub(crate) struct Violations(Vec<String>);

impl Violations {
    pub(crate) fn add(&mut self, value: &str, path: &str, constraint: &str) {
        self.0.push(format!("Value '{}' at '{path}' failed to satisfy constraint: {constraint}", echo(value)));
    }

    /// A name of 1 to 128 characters of `[a-zA-Z0-9:_-]`: things, thing types, thing groups, billing groups.
    pub(crate) fn name(&mut self, value: &str, path: &str) {
        const PATTERN: &str = "Member must satisfy regular expression pattern: [a-zA-Z0-9:_-]+";
        if value.is_empty() {
            self.add(value, path, "Member must have length greater than or equal to 1");
        }
        if value.chars().count() > 128 {
            self.add(value, path, "Member must have length less than or equal to 128");
        }
        if value.is_empty() || !value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'_' | b'-')) {
            self.add(value, path, PATTERN);
        }
    }

    pub(crate) fn finish(self) -> Result<(), ApiError> {
        let errors = match self.0.len() {
            0 => return Ok(()),
            1 => "error",
            _ => "errors",
        };
        Err(ApiError::invalid_request(format!("{} validation {errors} detected: {}", self.0.len(), self.0.join("; "))))
    }
}

fn echo(value: &str) -> String {
    let mut end = ECHO_LIMIT;
    if value.len() <= end {
        return value.to_owned();
    }
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", value.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_bad_value_is_cut_between_characters() {
        assert_eq!(echo("short"), "short");
        let long = format!("{}ä{}", "x".repeat(ECHO_LIMIT - 1), "y".repeat(1_000));
        assert_eq!(echo(&long), format!("{}…", "x".repeat(ECHO_LIMIT - 1)));
    }

    #[test]
    fn a_body_nested_too_deeply_is_refused_and_not_followed() {
        let bytes = "[".repeat(100_000);
        assert_eq!(Body::parse(bytes.as_bytes()).err().map(|error| error.name()), Some("SerializationException"));
    }
}
