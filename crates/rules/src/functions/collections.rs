//! Containers and what a value is: `get`, `concat`, `isNull`, `isUndefined`.

use super::{Arguments, Environment};
use crate::convert::{to_int, to_text};
use crate::value::Value;

/// An array's item, a string's character (both from 0) or an object's member, whose key is taken as it is.
pub(super) fn get(_environment: &Environment<'_>, arguments: &Arguments<'_>) -> Value {
    let index = |value: &Value| usize::try_from(to_int(value)?).ok();
    match (arguments.at(0), arguments.at(1)) {
        (Value::Array(items), key) => index(key).and_then(|index| items.get(index)).cloned(),
        (Value::String(text), key) => {
            index(key).and_then(|index| text.chars().nth(index)).map(|character| Value::String(character.to_string()))
        }
        (Value::Object(members), Value::String(key)) => members.get(key).cloned(),
        _ => None,
    }
    .unwrap_or(Value::Undefined)
}

/// One argument comes back as it is. Of several, any array makes an array of all that are defined, any string a
/// string; without either there is nothing to concatenate.
pub(super) fn concat(_environment: &Environment<'_>, arguments: &Arguments<'_>) -> Value {
    if arguments.len() < 2 {
        return arguments.at(0).clone();
    }
    if arguments.iter().any(|value| matches!(value, Value::Array(_))) {
        let mut items = Vec::new();
        for value in arguments.iter() {
            match value {
                Value::Array(more) => items.extend(more.iter().cloned()),
                Value::Undefined => {}
                item => items.push(item.clone()),
            }
        }
        return Value::Array(items);
    }
    if !arguments.iter().any(|value| matches!(value, Value::String(_))) {
        return Value::Undefined;
    }
    let mut text = String::new();
    for value in arguments.iter() {
        match to_text(value) {
            Some(piece) => text.push_str(&piece),
            None => return Value::Undefined,
        }
    }
    Value::String(text)
}

pub(super) fn is_null(_environment: &Environment<'_>, arguments: &Arguments<'_>) -> Value {
    Value::Boolean(*arguments.at(0) == Value::Null)
}

pub(super) fn is_undefined(_environment: &Environment<'_>, arguments: &Arguments<'_>) -> Value {
    Value::Boolean(arguments.at(0).is_undefined())
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn get_reads_arrays_strings_and_objects() {
        check(&[
            ("get(['a', 'b', 'c'], 1)", "\"b\""),
            ("get(list, '1')", "2"),
            ("get(list, 0.9)", "1"),
            ("get(list, -1)", "Undefined"),
            ("get(list, 2)", "Undefined"),
            ("get(list, true)", "Undefined"),
            ("get({'a': 'b'}, 'a')", "\"b\""),
            ("get({'1': 'b'}, 1)", "Undefined"),
            ("get({'a': 'b'}, 'x')", "Undefined"),
            ("get(*, 'text')", "\"Ab\""),
            ("get(*, 'n')", "null"),
            ("get('abc', 1)", "\"b\""),
            ("get('abc', 3)", "Undefined"),
            ("get(5, 0)", "Undefined"),
            ("get(null, 0)", "Undefined"),
        ]);
    }

    #[test]
    fn concat_prefers_arrays_to_strings() {
        check(&[
            ("concat()", "Undefined"),
            ("concat(1)", "1"),
            ("concat(null)", "null"),
            ("concat(1, 2)", "Undefined"),
            ("concat('con', 'cat')", "\"concat\""),
            ("concat(1, 'hello')", "\"1hello\""),
            ("concat('a', true, [1])", "[\"a\",true,1]"),
            ("concat([1], missing, null, [[2]])", "[1,null,[2]]"),
            ("concat('a', null)", "Undefined"),
            ("concat('a', missing)", "Undefined"),
            ("concat('a', {'b': 1})", r#""a{\"b\":1}""#),
        ]);
    }

    #[test]
    fn null_and_undefined_are_told_apart() {
        check(&[
            ("isNull(null)", "true"),
            ("isNull(n)", "true"),
            ("isNull(missing)", "false"),
            ("isNull(5)", "false"),
            ("isUndefined(missing)", "true"),
            ("isUndefined(n)", "false"),
            ("isUndefined(n.deeper)", "true"),
            ("isUndefined(floor([1,2,3]))", "true"),
            ("isUndefined('')", "false"),
        ]);
    }
}
