//! Implicit conversions (developer guide, "Data types", and the tables of `cast()`).

use crate::program::{CastType, SqlVersion};
use crate::value::Value;
use std::borrow::Cow;

/// A number that an operator can work on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    Decimal(f64),
}

impl Number {
    #[allow(clippy::cast_precision_loss)]
    pub(crate) const fn as_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Decimal(value) => value,
        }
    }
}

/// Booleans, and the strings `true` and `false` in any case.
pub(crate) fn to_boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Boolean(value) => Some(*value),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// Numbers, and strings that spell one. A string always gives a `Decimal`, as the operator tables say.
pub(crate) fn to_number(value: &Value) -> Option<Number> {
    match value {
        Value::Int(value) => Some(Number::Int(*value)),
        Value::Decimal(value) => Some(Number::Decimal(*value)),
        Value::String(text) => parse_decimal(text).map(Number::Decimal),
        _ => None,
    }
}

/// What `to_number` gives, rounded down. Saturates: `substring(s, -2.411E247)` begins at 0.
pub(crate) fn to_int(value: &Value) -> Option<i64> {
    #[allow(clippy::cast_possible_truncation)]
    to_number(value).map(|number| match number {
        Number::Int(value) => value,
        Number::Decimal(value) => value.floor() as i64,
    })
}

/// Every defined value but `Null` has a text; arrays and objects have their JSON.
pub(crate) fn to_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Undefined | Value::Null => None,
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Boolean(value) => Some(Cow::Borrowed(if *value { "true" } else { "false" })),
        Value::Int(_) | Value::Decimal(_) | Value::Array(_) | Value::Object(_) => {
            serde_json::to_string(value).ok().map(Cow::Owned)
        }
    }
}

/// `cast(value as target)`: the conversions above, plus numbers to and from booleans.
pub(crate) fn cast(value: &Value, target: CastType, version: SqlVersion) -> Value {
    match target {
        CastType::String => to_text(value).map_or(Value::Undefined, |text| Value::String(text.into_owned())),
        CastType::Int => match value {
            Value::Boolean(value) => Value::Int(i64::from(*value)),
            _ => to_number(value).map_or(Value::Undefined, |number| match number {
                Number::Int(value) => Value::Int(value),
                Number::Decimal(value) => Value::whole(value.floor()),
            }),
        },
        CastType::Decimal => {
            let number = match value {
                Value::Boolean(value) => Some(f64::from(u8::from(*value))),
                _ => to_number(value).map(Number::as_f64),
            };
            let mut result = match (number, value) {
                // "A Decimal with no decimal point": an `Int` keeps all its digits and prints without a fraction.
                (_, Value::Int(value)) => Value::Int(*value),
                (Some(number), _) => Value::decimal(number),
                (None, _) => Value::Undefined,
            };
            if version.is_2016_or_later() {
                result.read_whole_decimals_as_int();
            }
            result
        }
        CastType::Boolean => match value {
            Value::Int(value) => Value::Boolean(*value != 0),
            Value::Decimal(value) => Value::Boolean(*value != 0.0),
            _ => to_boolean(value).map_or(Value::Undefined, Value::Boolean),
        },
    }
}

/// Parses what matches AWS's `^-?\d+(\.\d+)?((?i)E-?\d+)?$`: no `+`, no spaces, no bare point, no `inf`.
fn parse_decimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (integer, fraction) = match mantissa.split_once('.') {
        Some((integer, fraction)) => (integer, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let well_formed = digits(integer)
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix('-').unwrap_or(exponent)));
    if !well_formed {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Value {
        if text == "Undefined" { Value::Undefined } else { serde_json::from_str(text).unwrap() }
    }

    #[test]
    fn strings_become_decimals_only_when_they_match_the_documented_pattern() {
        for (text, expected) in [
            ("0", Some(0.0)),
            ("-1.2", Some(-1.2)),
            ("5E-12", Some(5e-12)),
            ("5e3", Some(5000.0)),
            ("007", Some(7.0)),
            ("+1", None),
            ("1.", None),
            (".5", None),
            (" 1", None),
            ("1 ", None),
            ("", None),
            ("-", None),
            ("1e", None),
            ("1e+3", None),
            ("1e--3", None),
            ("inf", None),
            ("NaN", None),
            ("1e999", None),
            ("0x10", None),
            ("٣", None),
            ("1.2.3", None),
        ] {
            assert_eq!(parse_decimal(text), expected, "{text:?}");
        }
    }

    #[test]
    fn conversions_follow_the_tables_of_the_data_types_page() {
        // value, to boolean, to number, to text
        for (value, boolean, number, text) in [
            ("1", None, Some(1.0), Some("1")),
            ("1.5", None, Some(1.5), Some("1.5")),
            ("1e300", None, Some(1e300), Some("1e+300")),
            ("true", Some(true), None, Some("true")),
            ("\"TRUE\"", Some(true), None, Some("TRUE")),
            ("\"False\"", Some(false), None, Some("False")),
            ("\"yes\"", None, None, Some("yes")),
            ("\"2.5\"", None, Some(2.5), Some("2.5")),
            ("null", None, None, None),
            ("[1,\"a\",null]", None, None, Some("[1,\"a\",null]")),
            ("{\"b\":1,\"a\":2}", None, None, Some("{\"b\":1,\"a\":2}")),
            ("Undefined", None, None, None),
        ] {
            let parsed = json(value);
            assert_eq!(to_boolean(&parsed), boolean, "{value} to boolean");
            assert_eq!(to_number(&parsed).map(Number::as_f64), number, "{value} to number");
            assert_eq!(to_text(&parsed).as_deref(), text, "{value} to text");
        }
    }

    #[test]
    fn cast_follows_its_tables() {
        use CastType::{Boolean, Decimal, Int, String};
        for (value, target, expected) in [
            ("5", String, "\"5\""),
            ("true", String, "\"true\""),
            ("\"abc\"", String, "\"abc\""),
            ("[1,2]", String, "\"[1,2]\""),
            ("null", String, "Undefined"),
            ("5", Int, "5"),
            ("1.9", Int, "1"),
            ("-1.1", Int, "-2"),
            ("true", Int, "1"),
            ("false", Int, "0"),
            ("\"12.7\"", Int, "12"),
            ("\"x\"", Int, "Undefined"),
            ("null", Int, "Undefined"),
            ("[1]", Int, "Undefined"),
            ("9223372036854775807", Decimal, "9223372036854775807"),
            ("1.5", Decimal, "1.5"),
            ("\"1.5\"", Decimal, "1.5"),
            ("\"10.0\"", Decimal, "10"),
            ("true", Decimal, "1"),
            ("null", Decimal, "Undefined"),
            ("0", Boolean, "false"),
            ("-3", Boolean, "true"),
            ("0.0", Boolean, "false"),
            ("\"TRUE\"", Boolean, "true"),
            ("\"1\"", Boolean, "Undefined"),
            ("null", Boolean, "Undefined"),
            ("Undefined", Boolean, "Undefined"),
        ] {
            assert_eq!(cast(&json(value), target, SqlVersion::V2016), json(expected), "cast({value} as {target:?})");
        }
        assert_eq!(cast(&json("true"), Decimal, SqlVersion::V2015), Value::Decimal(1.0));
    }
}
