//! The functions of AWS IoT SQL, all named in one table.
//!
//! To add one: write it in the module of its kind (arguments in, a value out; `Undefined` when the arguments do not
//! fit), add its line to [`FUNCTIONS`], add rows to the module's test table, and strike it from the list of missing
//! functions in `tests/sql_examples.rs`.

mod collections;
mod message;
mod numbers;
mod strings;

use crate::evaluate::{Context, Message};
use crate::program::SqlVersion;
use crate::value::Value;
use core::fmt;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

/// Sorted by name. Programs store names, so a name stays once it has been released.
#[rustfmt::skip]
static FUNCTIONS: &[Function] = &[
    //            name           arguments  since              what it does
    Function::new("abs",         1..=1,     SqlVersion::V2015, numbers::abs),
    Function::new("accountid",   0..=0,     SqlVersion::V2015, message::account_id),
    Function::new("ceil",        1..=1,     SqlVersion::V2015, numbers::ceil),
    Function::new("clientid",    0..=0,     SqlVersion::V2015, message::client_id),
    Function::new("concat",      0..=ANY,   SqlVersion::V2015, collections::concat),
    Function::new("endswith",    2..=2,     SqlVersion::V2015, strings::ends_with),
    Function::new("floor",       1..=1,     SqlVersion::V2015, numbers::floor),
    Function::new("get",         2..=2,     SqlVersion::V2015, collections::get),
    Function::new("isnull",      1..=1,     SqlVersion::V2015, collections::is_null),
    Function::new("isundefined", 1..=1,     SqlVersion::V2016, collections::is_undefined),
    Function::new("length",      1..=1,     SqlVersion::V2016, strings::length),
    Function::new("lower",       1..=1,     SqlVersion::V2015, strings::lower),
    Function::new("round",       1..=1,     SqlVersion::V2015, numbers::round),
    Function::new("sql_version", 0..=0,     SqlVersion::V2015, message::sql_version),
    Function::new("startswith",  2..=2,     SqlVersion::V2015, strings::starts_with),
    Function::new("substring",   2..=3,     SqlVersion::V2015, strings::substring),
    Function::new("timestamp",   0..=0,     SqlVersion::V2015, message::timestamp),
    Function::new("topic",       0..=1,     SqlVersion::V2015, message::topic),
    Function::new("upper",       1..=1,     SqlVersion::V2015, strings::upper),
];

/// As many arguments as one likes.
const ANY: usize = usize::MAX;

/// The function of that name, in any case.
pub(crate) fn find(name: &str) -> Option<FunctionRef> {
    FUNCTIONS.iter().find(|function| function.name.eq_ignore_ascii_case(name)).map(FunctionRef)
}

/// What a function may know besides its arguments.
pub(crate) struct Environment<'a> {
    pub(crate) message: &'a Message<'a>,
    pub(crate) context: &'a Context<'a>,
    pub(crate) version: SqlVersion,
}

/// The evaluated arguments of a call.
pub(crate) struct Arguments<'a>(Vec<Cow<'a, Value>>);

impl<'a> Arguments<'a> {
    pub(crate) const fn new(values: Vec<Cow<'a, Value>>) -> Self {
        Self(values)
    }

    /// The argument at `index`, counted from 0; `Undefined` when the call has fewer.
    fn at(&self, index: usize) -> &Value {
        static MISSING: Value = Value::Undefined;
        self.0.get(index).map_or(&MISSING, |value| value)
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn iter(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().map(|value| &**value)
    }
}

type Implementation = fn(&Environment<'_>, &Arguments<'_>) -> Value;

struct Function {
    /// In lower case.
    name: &'static str,
    arguments: core::ops::RangeInclusive<usize>,
    since: SqlVersion,
    implementation: Implementation,
}

impl Function {
    const fn new(
        name: &'static str,
        arguments: core::ops::RangeInclusive<usize>,
        since: SqlVersion,
        implementation: Implementation,
    ) -> Self {
        Self { name, arguments, since, implementation }
    }
}

/// A function in a program; stored as its name.
#[derive(Clone, Copy)]
pub(crate) struct FunctionRef(&'static Function);

impl FunctionRef {
    pub(crate) fn call(self, environment: &Environment<'_>, arguments: &Arguments<'_>) -> Value {
        if self.takes(arguments.len()) { (self.0.implementation)(environment, arguments) } else { Value::Undefined }
    }

    pub(crate) fn takes(self, arguments: usize) -> bool {
        self.0.arguments.contains(&arguments)
    }

    pub(crate) const fn since(self) -> SqlVersion {
        self.0.since
    }
}

impl fmt::Debug for FunctionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl PartialEq for FunctionRef {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Serialize for FunctionRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name)
    }
}

impl<'de> Deserialize<'de> for FunctionRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        find(<&str>::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("no such function"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Program, evaluate};
    use iot_types::{AccountId, Region, RuleName, Scope, UnixMillis};

    /// What an expression gives on a fixed message, as JSON text, or `Undefined`.
    pub(super) fn result_of(expression: &str) -> String {
        let sql = format!("SELECT {expression} AS result FROM 't'");
        let program = Program::compile(&sql, SqlVersion::V2016).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let scope =
            Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() };
        let rule_name = RuleName::new("rule").unwrap();
        let context = Context { scope: &scope, rule_name: &rule_name };
        let message = Message::new(
            "things/myThings/thingOne",
            br#"{"list":[1,2],"text":"Ab","n":null}"#,
            Some("client 1"),
            UnixMillis(1_481_825_251_155),
        );
        let output = evaluate(&program, &message, &context).unwrap().unwrap();
        match serde_json::from_slice(&output).unwrap() {
            Value::Object(members) => members
                .get("result")
                .map_or_else(|| "Undefined".to_owned(), |value| serde_json::to_string(value).unwrap()),
            other => panic!("{other:?}"),
        }
    }

    /// Rows of an expression and its result.
    pub(super) fn check(rows: &[(&str, &str)]) {
        for (expression, expected) in rows {
            assert_eq!(result_of(expression), *expected, "{expression}");
        }
    }

    #[test]
    fn the_table_is_sorted_and_in_lower_case() {
        assert!(FUNCTIONS.is_sorted_by(|left, right| left.name < right.name));
        assert!(FUNCTIONS.iter().all(|function| function.name == function.name.to_lowercase()));
    }

    #[test]
    fn names_of_functions_are_found_in_any_case() {
        check(&[("UPPER('a')", "\"A\""), ("IsNull(null)", "true")]);
    }

    #[test]
    fn the_wrong_number_of_arguments_gives_undefined() {
        for function in FUNCTIONS.iter().filter(|function| *function.arguments.end() != ANY) {
            let arguments = vec!["1"; function.arguments.end() + 1].join(",");
            assert_eq!(result_of(&format!("{}({arguments})", function.name)), "Undefined", "{}", function.name);
        }
    }

    #[test]
    fn no_function_makes_something_of_undefined_unless_it_says_so() {
        for function in FUNCTIONS.iter().filter(|function| *function.arguments.start() > 0) {
            let arguments = vec!["missing"; *function.arguments.start()].join(",");
            let expected = if function.name == "isundefined" {
                "true"
            } else if function.name == "isnull" {
                "false"
            } else {
                "Undefined"
            };
            assert_eq!(result_of(&format!("{}({arguments})", function.name)), expected, "{}", function.name);
        }
    }
}
