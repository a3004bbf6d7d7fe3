//! What the message and the rule are: `topic()`, `clientid()`, `timestamp()`, `accountid()`, `sql_version()`.

use super::{Arguments, Environment};
use crate::convert::to_int;
use crate::value::Value;
use mqtt_topic::reserved::{self, ReservedTopic};

/// `topic()` or `topic(n)`, segments counted from 1. Basic Ingest's `$aws/rules/{name}/` is not part of it.
pub(super) fn topic(environment: &Environment<'_>, arguments: &Arguments<'_>) -> Value {
    let topic = match reserved::parse(environment.message.topic) {
        Some(ReservedTopic::Rule { topic, .. }) => topic.unwrap_or_default(),
        _ => environment.message.topic,
    };
    if arguments.len() == 0 {
        return Value::text(topic);
    }
    to_int(arguments.at(0))
        .and_then(|position| usize::try_from(position.checked_sub(1)?).ok())
        .and_then(|index| topic.split('/').nth(index))
        .map_or(Value::Undefined, Value::text)
}

/// `n/a` for a message that did not come over MQTT.
pub(super) fn client_id(environment: &Environment<'_>, _arguments: &Arguments<'_>) -> Value {
    Value::text(environment.message.client_id.unwrap_or("n/a"))
}

/// Milliseconds since the Unix epoch.
pub(super) fn timestamp(environment: &Environment<'_>, _arguments: &Arguments<'_>) -> Value {
    Value::Int(i64::try_from(environment.message.timestamp.0).unwrap_or(i64::MAX))
}

pub(super) fn account_id(environment: &Environment<'_>, _arguments: &Arguments<'_>) -> Value {
    Value::text(environment.context.scope.account_id.as_str())
}

pub(super) fn sql_version(environment: &Environment<'_>, _arguments: &Arguments<'_>) -> Value {
    Value::text(environment.version.name())
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn the_message_and_the_rule_tell_of_themselves() {
        check(&[
            ("topic()", "\"things/myThings/thingOne\""),
            ("topic(1)", "\"things\""),
            ("topic(3)", "\"thingOne\""),
            ("topic(2.9)", "\"myThings\""),
            ("topic('2')", "\"myThings\""),
            ("topic(0)", "Undefined"),
            ("topic(-9223372036854775807 - 1)", "Undefined"),
            ("topic(4)", "Undefined"),
            ("topic('x')", "Undefined"),
            ("clientid()", "\"client 1\""),
            ("timestamp()", "1481825251155"),
            ("accountid()", "\"123456789012\""),
            ("sql_version()", "\"2016-03-23\""),
        ]);
    }
}
