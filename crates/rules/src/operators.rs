//! Infix and prefix operators (developer guide, "Operators").
//!
//! No operator decides before both operands are known: AWS's tables give `Undefined` for `true OR x` when `x` is no
//! boolean, and an implementation that stopped at `true` would let rules fire that AWS keeps silent.

use crate::convert::{Number, to_boolean, to_number, to_text};
use crate::value::Value;
use serde::{Deserialize, Serialize};

/// Encoded by position: append only (`program` has the pin test).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum InfixOperator {
    And,
    Or,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    In,
    NotIn,
}

pub(crate) fn infix(operator: InfixOperator, left: &Value, right: &Value) -> Value {
    match operator {
        InfixOperator::And => logic(left, right, |left, right| left && right),
        InfixOperator::Or => logic(left, right, |left, right| left || right),
        InfixOperator::Equal => boolean(equal(left, right)),
        InfixOperator::NotEqual => boolean(equal(left, right).map(|equal| !equal)),
        InfixOperator::Less => boolean(compare(left, right).map(core::cmp::Ordering::is_lt)),
        InfixOperator::LessOrEqual => boolean(compare(left, right).map(core::cmp::Ordering::is_le)),
        InfixOperator::Greater => boolean(compare(left, right).map(core::cmp::Ordering::is_gt)),
        InfixOperator::GreaterOrEqual => boolean(compare(left, right).map(core::cmp::Ordering::is_ge)),
        InfixOperator::Add => match (left, right) {
            (Value::String(_), _) | (_, Value::String(_)) => concatenate(left, right),
            _ => arithmetic(left, right, i64::checked_add, |left, right| left + right),
        },
        InfixOperator::Subtract => arithmetic(left, right, i64::checked_sub, |left, right| left - right),
        InfixOperator::Multiply => arithmetic(left, right, i64::checked_mul, |left, right| left * right),
        InfixOperator::Divide => arithmetic(left, right, i64::checked_div, |left, right| left / right),
        InfixOperator::Remainder => arithmetic(left, right, i64::checked_rem, |left, right| left % right),
        InfixOperator::In => boolean(contains(left, right)),
        InfixOperator::NotIn => boolean(contains(left, right).map(|found| !found)),
    }
}

pub(crate) fn not(operand: &Value) -> Value {
    boolean(to_boolean(operand).map(|value| !value))
}

pub(crate) fn negate(operand: &Value) -> Value {
    #[allow(clippy::cast_precision_loss)]
    match to_number(operand) {
        Some(Number::Int(value)) => value.checked_neg().map_or_else(|| Value::decimal(-(value as f64)), Value::Int),
        Some(Number::Decimal(value)) => Value::decimal(-value),
        None => Value::Undefined,
    }
}

/// `=`: no conversion but `Int` to `Decimal`. `None` is `Undefined`; values of different types are not equal.
pub(crate) fn equal(left: &Value, right: &Value) -> Option<bool> {
    if left.is_undefined() || right.is_undefined() { None } else { Some(same(left, right)) }
}

fn same(left: &Value, right: &Value) -> bool {
    #[allow(clippy::cast_precision_loss)]
    match (left, right) {
        (Value::Int(int), Value::Decimal(decimal)) | (Value::Decimal(decimal), Value::Int(int)) => {
            *int as f64 == *decimal
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
        }
        _ => left == right,
    }
}

fn contains(needle: &Value, haystack: &Value) -> Option<bool> {
    match (needle, haystack) {
        (Value::Undefined, _) => None,
        (_, Value::Array(items)) => Some(items.iter().any(|item| same(needle, item))),
        _ => None,
    }
}

fn compare(left: &Value, right: &Value) -> Option<core::cmp::Ordering> {
    match (to_number(left)?, to_number(right)?) {
        (Number::Int(left), Number::Int(right)) => Some(left.cmp(&right)),
        (left, right) => left.as_f64().partial_cmp(&right.as_f64()),
    }
}

fn logic(left: &Value, right: &Value, decide: fn(bool, bool) -> bool) -> Value {
    match (to_boolean(left), to_boolean(right)) {
        (Some(left), Some(right)) => Value::Boolean(decide(left, right)),
        _ => Value::Undefined,
    }
}

fn concatenate(left: &Value, right: &Value) -> Value {
    match (to_text(left), to_text(right)) {
        (Some(left), Some(right)) => {
            let mut text = left.into_owned();
            text.push_str(&right);
            Value::String(text)
        }
        _ => Value::Undefined,
    }
}

/// Two `Int`s give an `Int` (a `Decimal` when 64 bits are too few), everything else a `Decimal`. Division by zero has
/// no result.
fn arithmetic(
    left: &Value,
    right: &Value,
    on_ints: fn(i64, i64) -> Option<i64>,
    on_decimals: fn(f64, f64) -> f64,
) -> Value {
    let (Some(left), Some(right)) = (to_number(left), to_number(right)) else {
        return Value::Undefined;
    };
    if let (Number::Int(left), Number::Int(right)) = (left, right)
        && let Some(result) = on_ints(left, right)
    {
        return Value::Int(result);
    }
    Value::decimal(on_decimals(left.as_f64(), right.as_f64()))
}

fn boolean(value: Option<bool>) -> Value {
    value.map_or(Value::Undefined, Value::Boolean)
}
