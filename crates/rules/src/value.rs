//! Values as AWS IoT SQL knows them: those of JSON, `Int` and `Decimal` apart, and `Undefined`.
//!
//! AWS documents 34 digits for numbers. Here an `Int` has 64 bits and a `Decimal` is a double, which costs nothing in
//! wasm; numbers that need more keep their digits only in a statement that passes the payload through (`SELECT *`).

use crate::limits::UNITS_PER_NODE;
use core::fmt;
use indexmap::IndexMap;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

/// A JSON object in the order in which its members arrived.
pub(crate) type Object = IndexMap<String, Value>;

/// A value during evaluation. Arrays and objects never hold [`Value::Undefined`]: it cannot be written as JSON, so
/// whoever builds a container leaves it out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Not a value: a missing member, or a function's answer to arguments it has no answer for.
    Undefined,
    /// JSON's `null`.
    Null,
    Boolean(bool),
    Int(i64),
    /// Always finite.
    Decimal(f64),
    String(String),
    Array(Vec<Value>),
    Object(Object),
}

impl Value {
    /// A `Decimal`, or `Undefined` when the number is not finite: overflow and division by zero have no result.
    pub(crate) fn decimal(number: f64) -> Self {
        if number.is_finite() { Self::Decimal(number) } else { Self::Undefined }
    }

    /// The `Int` nearest to a number that has no fraction; a `Decimal` when it does not fit.
    pub(crate) fn whole(number: f64) -> Self {
        // 2^63 is exact as a double, and the largest double below it fits.
        const LIMIT: f64 = 9_223_372_036_854_775_808.0;
        #[allow(clippy::cast_possible_truncation)]
        if (-LIMIT..LIMIT).contains(&number) { Self::Int(number as i64) } else { Self::decimal(number) }
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    pub(crate) const fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined)
    }

    /// What copying or reading the value through costs, see [`crate::limits`].
    pub(crate) fn weight(&self) -> usize {
        UNITS_PER_NODE.saturating_add(match self {
            Self::Undefined | Self::Null | Self::Boolean(_) | Self::Int(_) | Self::Decimal(_) => 0,
            Self::String(text) => text.len(),
            Self::Array(items) => items.iter().map(Self::weight).fold(0, usize::saturating_add),
            Self::Object(members) => {
                members.iter().map(|(key, value)| key.len() + value.weight()).fold(0, usize::saturating_add)
            }
        })
    }

    /// SQL version 2016-03-23 reads `10.0` as the `Int` 10 (developer guide, "Data types").
    pub(crate) fn read_whole_decimals_as_int(&mut self) {
        match self {
            Self::Decimal(number) if number.fract() == 0.0 => *self = Self::whole(*number),
            Self::Array(items) => items.iter_mut().for_each(Self::read_whole_decimals_as_int),
            Self::Object(members) => members.values_mut().for_each(Self::read_whole_decimals_as_int),
            _ => {}
        }
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Undefined | Self::Null => serializer.serialize_unit(),
            Self::Boolean(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Decimal(value) => serializer.serialize_f64(*value),
            Self::String(value) => serializer.serialize_str(value),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(members) => serializer.collect_map(members),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct JsonVisitor;

        impl<'de> Visitor<'de> for JsonVisitor {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Boolean(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Int(value))
            }

            #[allow(clippy::cast_precision_loss)]
            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(i64::try_from(value).map_or_else(|_| Value::Decimal(value as f64), Value::Int))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::decimal(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::text(value))
            }

            fn visit_string<E>(self, value: String) -> Result<Value, E> {
                Ok(Value::String(value))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = sequence.next_element()? {
                    items.push(item);
                }
                Ok(Value::Array(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut members = Object::new();
                while let Some((key, value)) = map.next_entry()? {
                    members.insert(key, value);
                }
                Ok(Value::Object(members))
            }
        }

        deserializer.deserialize_any(JsonVisitor)
    }
}
