//! Arithmetic: `abs`, `ceil`, `floor`, `round`. Strings that spell a number count as one.

use super::{Arguments, Environment};
use crate::convert::{Number, to_number};
use crate::value::Value;

pub(super) fn abs(_environment: &Environment<'_>, arguments: &Arguments<'_>) -> Value {
    match to_number(arguments.at(0)) {
        Some(Number::Int(value)) => {
            value.checked_abs().map_or_else(|| Value::whole(9_223_372_036_854_775_808.0), Value::Int)
        }
        Some(Number::Decimal(value)) => Value::decimal(value.abs()),
        None => Value::Undefined,
    }
}

pub(super) fn ceil(_environment: &Environment<'_>, arguments: &Arguments<'_>) -> Value {
    to_whole(arguments.at(0), f64::ceil)
}

pub(super) fn floor(_environment: &Environment<'_>, arguments: &Arguments<'_>) -> Value {
    to_whole(arguments.at(0), f64::floor)
}

/// Halves go away from zero: `round(-1.5)` is -2.
pub(super) fn round(_environment: &Environment<'_>, arguments: &Arguments<'_>) -> Value {
    to_whole(arguments.at(0), f64::round)
}

fn to_whole(value: &Value, rounding: fn(f64) -> f64) -> Value {
    match to_number(value) {
        Some(Number::Int(value)) => Value::Int(value),
        Some(Number::Decimal(value)) => Value::whole(rounding(value)),
        None => Value::Undefined,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn numbers_and_strings_that_spell_them_are_rounded() {
        check(&[
            ("abs(-5)", "5"),
            ("abs(-5.5)", "5.5"),
            ("abs('-5.123')", "5.123"),
            ("abs('x')", "Undefined"),
            ("abs(true)", "Undefined"),
            ("abs(null)", "Undefined"),
            ("abs([1])", "Undefined"),
            ("abs(-9223372036854775807 - 1)", "9.223372036854776e+18"),
            ("ceil(1.2)", "2"),
            ("ceil(-1.2)", "-1"),
            ("ceil('1.2')", "2"),
            ("ceil(7)", "7"),
            ("ceil(true)", "Undefined"),
            ("floor(1.2)", "1"),
            ("floor(-1.2)", "-2"),
            ("floor('1e300')", "1e+300"),
            ("floor({})", "Undefined"),
            ("round(1.2)", "1"),
            ("round(1.5)", "2"),
            ("round(2.5)", "3"),
            ("round(-1.1)", "-1"),
            ("round(-1.5)", "-2"),
            ("round('0.5')", "1"),
            ("round(null)", "Undefined"),
        ]);
    }
}
