//! A request taken apart: from path, query, headers and body to checked members.

use crate::model::{Kind, Location, Member, Model, Operation, Shape};
use crate::problem::{Input, Problem};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What a message repeats of a bad value, in bytes: enough to recognise it, and an answer that stays small.
pub const ECHO_LIMIT: usize = 256;

/// Broken constraints that one answer tells.
const MAXIMUM_VIOLATIONS: usize = 16;

/// A request as it came.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Decoded, by name.
    pub path_parameters: &'a [(&'static str, String)],
    /// Without the question mark.
    pub query: &'a str,
    /// By name in any case.
    pub headers: &'a [(String, String)],
    /// JSON, or empty.
    pub body: &'a [u8],
}

/// Broken constraints, told together as AWS does.
#[derive(Default)]
struct Violations {
    count: usize,
    told: Vec<String>,
}

impl Violations {
    fn add(&mut self, value: Option<&str>, path: &str, constraint: &str) {
        self.count = self.count.saturating_add(1);
        if self.told.len() < MAXIMUM_VIOLATIONS {
            let value = value.map_or_else(|| "null".to_owned(), |value| format!("'{}'", echo(value)));
            self.told.push(format!("Value {value} at '{path}' failed to satisfy constraint: {constraint}"));
        }
    }
}

impl Model {
    /// Takes a request for `operation` apart.
    ///
    /// # Errors
    /// [`Problem`]: the first value of a wrong type, or all broken constraints.
    pub fn read(&self, operation: &Operation, request: &Request<'_>) -> Result<Input, Problem> {
        let Some(input) = operation.input else { return Ok(Map::new()) };
        let members = self.members(input);
        let mut query = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(request.query.as_bytes()) {
            query.entry(name).or_insert(value);
        }
        let takes_body = members.iter().any(|member| matches!(member.location, Location::Body | Location::Payload));
        let mut body = if takes_body { parse(request.body)? } else { Map::new() };
        let mut given = Vec::new();
        for member in members {
            let text = match member.location {
                Location::Body => {
                    given.push(body.remove(member.name));
                    continue;
                }
                Location::Payload => {
                    let payload = core::mem::take(&mut body);
                    given.push((!request.body.is_empty()).then_some(Value::Object(payload)));
                    continue;
                }
                Location::Path(wire) => {
                    request.path_parameters.iter().find(|(name, _)| *name == wire).map(|(_, value)| value.as_str())
                }
                Location::Query(wire) => query.get(wire).map(AsRef::as_ref),
                Location::Header(wire) => request
                    .headers
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(wire))
                    .map(|(_, value)| value.as_str()),
            };
            given.push(text.map(|text| self.of_text(member, text)).transpose()?);
        }
        let mut violations = Violations::default();
        let mut checked = Map::new();
        for (member, value) in members.iter().zip(given) {
            self.member(member, value, "", &mut checked, &mut violations)?;
        }
        match violations.count {
            0 => Ok(checked),
            count => {
                let errors = if count == 1 { "error" } else { "errors" };
                let told = violations.told.join("; ");
                Err(Problem::Validation(format!("{count} validation {errors} detected: {told}")))
            }
        }
    }

    /// Whether a value is one of this shape.
    ///
    /// # Errors
    /// [`Problem`].
    pub fn check(&self, shape: &str, value: &Value) -> Result<(), Problem> {
        let mut violations = Violations::default();
        self.value(shape, value.clone(), "value", &mut violations)?;
        if violations.count == 0 { Ok(()) } else { Err(Problem::Validation(violations.told.join("; "))) }
    }

    /// The value of a member that came as text, outside the body.
    fn of_text(&self, member: &Member, text: &str) -> Result<Value, Problem> {
        let wrong = |kind| Problem::Serialization(format!("The parameter {} is not a {kind}", member.name));
        match self.shape(member.shape).map(|shape| &shape.kind) {
            Some(Kind::Boolean) => text.parse::<bool>().map(Value::from).map_err(|_| wrong("Boolean")),
            Some(Kind::Long) => text.parse::<i64>().map(Value::from).map_err(|_| wrong("Long")),
            Some(Kind::Integer) => text.parse::<i32>().map(Value::from).map_err(|_| wrong("Integer")),
            Some(Kind::Double | Kind::Timestamp) if text.parse::<f64>().is_ok_and(f64::is_finite) => {
                Ok(text.parse::<f64>().map(Value::from).unwrap_or_default())
            }
            Some(Kind::Double) => Err(wrong("Double")),
            _ => Ok(Value::from(text)),
        }
    }

    fn member(
        &self,
        member: &Member,
        value: Option<Value>,
        parent: &str,
        into: &mut Input,
        violations: &mut Violations,
    ) -> Result<(), Problem> {
        let path = if parent.is_empty() { member.name.to_owned() } else { format!("{parent}.{}", member.name) };
        match value.filter(|value| !value.is_null()) {
            Some(value) => {
                let value = self.value(member.shape, value, &path, violations)?;
                into.insert(member.name.to_owned(), value);
            }
            None if member.is_required => violations.add(None, &path, "Member must not be null"),
            None => {}
        }
        Ok(())
    }

    /// Depth is bounded by that of the JSON, which its parser bounds.
    fn value(&self, name: &str, value: Value, path: &str, violations: &mut Violations) -> Result<Value, Problem> {
        let Some(shape) = self.shape(name) else { return Ok(value) };
        match (&shape.kind, value) {
            (Kind::Structure(members), Value::Object(mut object)) => {
                let mut checked = Map::new();
                for member in members {
                    let value = object.remove(member.name);
                    self.member(member, value, path, &mut checked, violations)?;
                }
                Ok(Value::Object(checked))
            }
            (Kind::Map(key, of), Value::Object(object)) => {
                size(shape, object.len(), path, violations);
                self.entries(key, of, &object, path, violations);
                let mut checked = Map::new();
                for (name, value) in object {
                    if matches!(value, Value::String(_)) && self.is_string(of) {
                        checked.insert(name, value);
                    } else if !value.is_null() {
                        let value = self.value(of, value, &format!("{path}.{}.member", echo(&name)), violations)?;
                        checked.insert(name, value);
                    }
                }
                Ok(Value::Object(checked))
            }
            (Kind::Structure(_) | Kind::Map(..), _) => {
                Err(Problem::Serialization("Expected a structure or map".to_owned()))
            }
            (Kind::List(of), Value::Array(values)) => {
                size(shape, values.len(), path, violations);
                let mut checked = Vec::new();
                for (n, value) in values.into_iter().enumerate().filter(|(_, value)| !value.is_null()) {
                    checked.push(self.value(
                        of,
                        value,
                        &format!("{path}.{}.member", n.saturating_add(1)),
                        violations,
                    )?);
                }
                Ok(Value::Array(checked))
            }
            (Kind::String(pattern), Value::String(text)) => {
                string(shape, pattern, &text, path, violations);
                Ok(Value::String(text))
            }
            (Kind::Enum(values), Value::String(text)) => {
                if !values.contains(&text.as_str()) {
                    let constraint = format!("Member must satisfy enum value set: [{}]", values.join(", "));
                    violations.add(Some(&text), path, &constraint);
                }
                Ok(Value::String(text))
            }
            (Kind::Blob, Value::String(text)) => {
                match STANDARD.decode(&text) {
                    Ok(bytes) => size(shape, bytes.len(), path, violations),
                    Err(_) => return Err(Problem::Serialization("STRING_VALUE is not valid base64".to_owned())),
                }
                Ok(Value::String(text))
            }
            (Kind::Timestamp, value @ (Value::Number(_) | Value::String(_))) => Ok(value),
            (Kind::Boolean, value @ Value::Bool(_)) => Ok(value),
            (Kind::Double, Value::Number(number)) => {
                range(shape, &number.to_string(), number.as_f64(), path, violations);
                Ok(Value::Number(number))
            }
            (Kind::Long | Kind::Integer, Value::Number(number)) => {
                let is_integer = shape.kind == Kind::Integer;
                match number.as_i64().filter(|whole| !is_integer || i32::try_from(*whole).is_ok()) {
                    // Every bound of the models is far below 2^53.
                    Some(whole) => range(shape, &number.to_string(), Some(whole as f64), path, violations),
                    None => return Err(wrong_type(&Value::Number(number), &shape.kind)),
                }
                Ok(Value::Number(number))
            }
            (kind, value) => Err(wrong_type(&value, kind)),
        }
    }
    fn is_string(&self, shape: &str) -> bool {
        self.shape(shape).is_some_and(|shape| matches!(shape.kind, Kind::String(_)))
    }

    /// Keys, and values that are strings: AWS tells of all entries together.
    fn entries(&self, key: &str, of: &str, map: &Map<String, Value>, path: &str, violations: &mut Violations) {
        let is_bad = |shape: &Shape, text: &str| match &shape.kind {
            Kind::String(pattern) => {
                let mut found = Violations::default();
                string(shape, pattern, text, path, &mut found);
                found.count > 0
            }
            Kind::Enum(values) => !values.contains(&text),
            _ => false,
        };
        let all = || {
            let pairs = map.iter().take(MAXIMUM_VIOLATIONS).map(|(name, value)| match value {
                Value::String(text) => format!("{}={}", echo(name), echo(text)),
                _ => echo(name),
            });
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        };
        if let Some(shape) = self.shape(key)
            && map.keys().any(|name| is_bad(shape, name))
        {
            let constraint = format!("Map keys must satisfy constraint: [{}]", constraints(shape));
            violations.add(Some(&all()), path, &constraint);
        }
        if let Some(shape) = self.shape(of)
            && map.values().filter_map(Value::as_str).any(|text| self.is_string(of) && is_bad(shape, text))
        {
            let constraint = format!("Map value must satisfy constraint: [{}]", constraints(shape));
            violations.add(Some(&all()), path, &constraint);
        }
    }
}

/// All that a shape asks of a text.
fn constraints(shape: &Shape) -> String {
    let mut all = Vec::new();
    if shape.max.is_some() {
        all.push(format!("Member must have length less than or equal to {}", bound(shape.max)));
    }
    if shape.min.is_some() {
        all.push(format!("Member must have length greater than or equal to {}", bound(shape.min)));
    }
    match &shape.kind {
        Kind::String(pattern) if !pattern.is_empty() => {
            all.push(format!("Member must satisfy regular expression pattern: {pattern}"));
        }
        Kind::Enum(values) => all.push(format!("Member must satisfy enum value set: [{}]", values.join(", "))),
        _ => {}
    }
    all.join(", ")
}

/// No body and `{}` are the same: SDKs send either when every member is absent.
fn parse(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Problem::Serialization("The request body is not a JSON object".to_owned())),
        Err(error) => Err(Problem::Serialization(format!("The request body is not valid JSON: {error}"))),
    }
}

fn string(shape: &Shape, pattern: &str, text: &str, path: &str, violations: &mut Violations) {
    let length = text.chars().count();
    if below(shape.min, length) {
        let constraint = format!("Member must have length greater than or equal to {}", bound(shape.min));
        violations.add(Some(text), path, &constraint);
    }
    if above(shape.max, length) {
        let constraint = format!("Member must have length less than or equal to {}", bound(shape.max));
        violations.add(Some(text), path, &constraint);
        // Matching would take as long as the text is.
        return;
    }
    if !pattern.is_empty() && !shape.matches(pattern, text) {
        violations.add(Some(text), path, &format!("Member must satisfy regular expression pattern: {pattern}"));
    }
}

fn size(shape: &Shape, size: usize, path: &str, violations: &mut Violations) {
    let what = format!("[{size} elements]");
    if below(shape.min, size) {
        let constraint = format!("Member must have length greater than or equal to {}", bound(shape.min));
        violations.add(Some(&what), path, &constraint);
    }
    if above(shape.max, size) {
        let constraint = format!("Member must have length less than or equal to {}", bound(shape.max));
        violations.add(Some(&what), path, &constraint);
    }
}

fn range(shape: &Shape, text: &str, value: Option<f64>, path: &str, violations: &mut Violations) {
    let Some(value) = value else { return };
    if shape.min.is_some_and(|min| value < min) {
        let constraint = format!("Member must have value greater than or equal to {}", bound(shape.min));
        violations.add(Some(text), path, &constraint);
    }
    if shape.max.is_some_and(|max| value > max) {
        let constraint = format!("Member must have value less than or equal to {}", bound(shape.max));
        violations.add(Some(text), path, &constraint);
    }
}

fn below(min: Option<f64>, size: usize) -> bool {
    min.is_some_and(|min| (size as f64) < min)
}

fn above(max: Option<f64>, size: usize) -> bool {
    max.is_some_and(|max| (size as f64) > max)
}

fn bound(bound: Option<f64>) -> String {
    bound.unwrap_or_default().to_string()
}

fn wrong_type(value: &Value, wanted: &Kind) -> Problem {
    let wanted = match wanted {
        Kind::List(_) => "List",
        Kind::String(_) | Kind::Enum(_) => "String",
        Kind::Long => "Long",
        Kind::Integer => "Integer",
        Kind::Double => "Double",
        Kind::Boolean => "Boolean",
        Kind::Timestamp => "Timestamp",
        Kind::Blob => "Blob",
        Kind::Structure(_) | Kind::Map(..) => "structure or map",
    };
    let token = match value {
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(number) if number.is_f64() => "DECIMAL_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
        Value::Array(_) => return Problem::Serialization("Start of list found where not expected".to_owned()),
        Value::Object(_) => {
            return Problem::Serialization("Start of structure or map found where not expected.".to_owned());
        }
    };
    Problem::Serialization(format!("{token} can not be converted to a {wanted}"))
}

fn echo(value: &str) -> String {
    let mut end = ECHO_LIMIT;
    if value.len() <= end {
        return value.to_owned();
    }
    while !value.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    format!("{}…", value.get(..end).unwrap_or_default())
}
