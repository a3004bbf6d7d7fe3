//! What every test of statements needs: a message, a rule's context, and results as JSON text.

use iot_types::{AccountId, Region, RuleName, Scope, UnixMillis};
use rules::{Context, EvaluationError, Message, Program, SqlVersion, evaluate};

pub const NOW: UnixMillis = UnixMillis(1_481_825_251_155);
pub const CLIENT: &str = "123456789012";

/// The output of a compiled statement; `None` when WHERE does not hold.
pub fn run(program: &Program, topic: &str, payload: &[u8]) -> Result<Option<Vec<u8>>, EvaluationError> {
    let scope =
        Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() };
    let rule_name = RuleName::new("rule").unwrap();
    let context = Context { scope: &scope, rule_name: &rule_name };
    evaluate(program, &Message::new(topic, payload, Some(CLIENT), NOW), &context)
}

/// The output of a statement as text, `silent` when WHERE does not hold, or the error's text.
#[allow(dead_code)]
pub fn output(sql: &str, version: SqlVersion, payload: &str) -> String {
    let program = Program::compile(sql, version).unwrap_or_else(|error| panic!("{sql}: {error}"));
    match run(&program, "a/b", payload.as_bytes()) {
        Ok(Some(bytes)) => String::from_utf8(bytes).unwrap(),
        Ok(None) => "silent".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// What one expression gives, as JSON text, or `Undefined`.
#[allow(dead_code)]
pub fn result_of(expression: &str, version: SqlVersion, payload: &str) -> String {
    let text = output(&format!("SELECT {expression} AS result FROM 'a/b'"), version, payload);
    match text.strip_prefix("{\"result\":").and_then(|rest| rest.strip_suffix('}')) {
        Some(value) => value.to_owned(),
        None if text == "{}" => "Undefined".to_owned(),
        None => text,
    }
}
