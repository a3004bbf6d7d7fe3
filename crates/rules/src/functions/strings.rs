//! Text: everything is converted to a string first, and `Null` and `Undefined` have none.

use super::{Arguments, Environment};
use crate::convert::{to_int, to_text};
use crate::value::Value;

pub(super) fn upper(_environment: &Environment<'_>, arguments: &Arguments<'_>) -> Value {
    to_text(arguments.at(0)).map_or(Value::Undefined, |text| Value::String(text.to_uppercase()))
}

pub(super) fn lower(_environment: &Environment<'_>, arguments: &Arguments<'_>) -> Value {
    to_text(arguments.at(0)).map_or(Value::Undefined, |text| Value::String(text.to_lowercase()))
}

/// Characters, not bytes.
pub(super) fn length(_environment: &Environment<'_>, arguments: &Arguments<'_>) -> Value {
    to_text(arguments.at(0))
        .and_then(|text| i64::try_from(text.chars().count()).ok())
        .map_or(Value::Undefined, Value::Int)
}

pub(super) fn starts_with(_environment: &Environment<'_>, arguments: &Arguments<'_>) -> Value {
    match (to_text(arguments.at(0)), to_text(arguments.at(1))) {
        (Some(text), Some(start)) => Value::Boolean(text.starts_with(&*start)),
        _ => Value::Undefined,
    }
}

pub(super) fn ends_with(_environment: &Environment<'_>, arguments: &Arguments<'_>) -> Value {
    match (to_text(arguments.at(0)), to_text(arguments.at(1))) {
        (Some(text), Some(end)) => Value::Boolean(text.ends_with(&*end)),
        _ => Value::Undefined,
    }
}

/// `substring(text, from[, to])`: positions from 0, the end exclusive, both clamped to the text.
pub(super) fn substring(_environment: &Environment<'_>, arguments: &Arguments<'_>) -> Value {
    // Below zero is zero, and no text is longer than what does not fit.
    let position = |value: &Value| to_int(value).map(|number| usize::try_from(number.max(0)).unwrap_or(usize::MAX));
    let end = if arguments.len() > 2 { position(arguments.at(2)) } else { Some(usize::MAX) };
    let (Some(text), Some(start), Some(end)) = (to_text(arguments.at(0)), position(arguments.at(1)), end) else {
        return Value::Undefined;
    };
    Value::String(text.chars().skip(start).take(end.saturating_sub(start)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn texts_are_converted_then_changed_or_measured() {
        check(&[
            ("upper('straße')", "\"STRASSE\""),
            ("upper(true)", "\"TRUE\""),
            ("upper(null)", "Undefined"),
            ("lower('HELLO')", "\"hello\""),
            ("lower(['HELLO'])", r#""[\"hello\"]""#),
            ("lower(1.5)", "\"1.5\""),
            ("length('hi')", "2"),
            ("length('€')", "1"),
            ("length(false)", "5"),
            ("length(123)", "3"),
            ("length([1,2])", "5"),
            ("length(null)", "Undefined"),
            ("startswith('ranger', 'ran')", "true"),
            ("startswith('ranger', 'an')", "false"),
            ("startswith(123, 12)", "true"),
            ("startswith('x', null)", "Undefined"),
            ("endswith('cat', 'at')", "true"),
            ("endswith('cat', 'ca')", "false"),
            ("endswith(true, 'rue')", "true"),
            ("endswith(null, 'x')", "Undefined"),
        ]);
    }

    #[test]
    fn substring_clamps_its_positions() {
        check(&[
            ("substring('012345', 0)", "\"012345\""),
            ("substring('012345', 2.745)", "\"2345\""),
            ("substring('012345', -1)", "\"012345\""),
            ("substring(false, -2.411E247)", "\"false\""),
            ("substring('012345', 1e300)", "\"\""),
            ("substring('012345', 1, 3)", "\"12\""),
            ("substring('012345', -50, 50)", "\"012345\""),
            ("substring('012345', 3, 1)", "\"\""),
            ("substring('äöü', 1, 2)", "\"ö\""),
            ("substring('012345', '4')", "\"45\""),
            ("substring('012345', 'x')", "Undefined"),
            ("substring('012345', 1, missing)", "Undefined"),
            ("substring(null, 1)", "Undefined"),
        ]);
    }
}
