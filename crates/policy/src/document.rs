//! A policy document as it is written (IAM user guide, "IAM JSON policy elements reference"; AWS IoT developer guide,
//! "AWS IoT Core policies").

use crate::PolicyError;
use crate::condition::Condition;
use crate::template::Template;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// Longest document, in characters that are not white space (AWS General Reference, "AWS IoT Core policy limits").
pub const MAXIMUM_CHARACTERS: usize = 2_048;
/// Longest document, white space included: a bound for the reader.
const MAXIMUM_BYTES: usize = 64 * 1_024;

/// A policy document whose every part is understood.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyDocument {
    pub(crate) statements: Vec<Statement>,
}

/// One statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Statement {
    pub sid: Option<String>,
    pub is_allow: bool,
    /// Patterns of action names, in lower case.
    pub actions: Vec<Template>,
    /// Whether the statement is about all other actions (`NotAction`).
    pub is_not_action: bool,
    pub resources: Vec<Template>,
    /// Likewise `NotResource`.
    pub is_not_resource: bool,
    pub conditions: Vec<Condition>,
}

impl PolicyDocument {
    /// Reads a document.
    ///
    /// # Errors
    /// [`PolicyError`] when it is no JSON, too long, or has anything in it that is not understood: a policy that is
    /// only half understood allows something else than its author meant.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let characters = text.chars().filter(|character| !character.is_whitespace()).count();
        if characters > MAXIMUM_CHARACTERS || text.len() > MAXIMUM_BYTES {
            let message = format!("The policy document has more than {MAXIMUM_CHARACTERS} characters");
            return Err(PolicyError::new(message));
        }
        let raw: RawDocument = serde_json::from_str(text)
            .map_err(|error| PolicyError::new(format!("The policy document is malformed: {error}")))?;
        let has_variables = match raw.version.as_deref() {
            Some("2012-10-17") => true,
            Some("2008-10-17") | None => false,
            Some(other) => {
                let message = format!("The policy version {other} is not known; it must be 2012-10-17 or 2008-10-17");
                return Err(PolicyError::new(message));
            }
        };
        let statements = raw.statement.0;
        if statements.is_empty() {
            return Err(PolicyError::new("The policy has no statement"));
        }
        let statements: Vec<Statement> = statements
            .into_iter()
            .map(|statement| Statement::read(statement, has_variables))
            .collect::<Result<_, _>>()?;
        let sids: Vec<&str> = statements.iter().filter_map(|statement| statement.sid.as_deref()).collect();
        if let Some(twice) =
            sids.iter().enumerate().find(|(at, sid)| sids.iter().skip(at + 1).any(|other| other == *sid))
        {
            return Err(PolicyError::new(format!("Two statements have the Sid {}", twice.1)));
        }
        Ok(Self { statements })
    }
}

impl Statement {
    fn read(raw: RawStatement, has_variables: bool) -> Result<Self, PolicyError> {
        let is_allow = match raw.effect.as_str() {
            "Allow" => true,
            "Deny" => false,
            other => return Err(PolicyError::new(format!("The effect {other} must be Allow or Deny"))),
        };
        let (actions, is_not_action) = one_of("Action", raw.action, "NotAction", raw.not_action)?;
        let (resources, is_not_resource) = one_of("Resource", raw.resource, "NotResource", raw.not_resource)?;
        for action in &actions {
            if action != "*" && !is_action(action) {
                return Err(PolicyError::new(format!("{action} is no action; it must be like iot:Publish")));
            }
        }
        for resource in &resources {
            if resource != "*" && !resource.starts_with("arn:") {
                return Err(PolicyError::new(format!("The resource {resource} must be * or an ARN")));
            }
        }
        let actions = actions.iter().map(|action| Template::parse(&action.to_ascii_lowercase(), false));
        let resources = resources.iter().map(|resource| Template::parse(resource, has_variables));
        let mut conditions = Vec::new();
        for (operator, keys) in raw.condition.map(|all| all.0).unwrap_or_default() {
            for (key, values) in keys.0 {
                let values = values.0.into_iter().map(RawValue::into_text);
                conditions.push(Condition::parse(&operator, &key, values, has_variables)?);
            }
        }
        Ok(Self {
            sid: raw.sid,
            is_allow,
            actions: actions.collect::<Result<_, _>>()?,
            is_not_action,
            resources: resources.collect::<Result<_, _>>()?,
            is_not_resource,
            conditions,
        })
    }
}

fn is_action(text: &str) -> bool {
    let allowed = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'?' | b'-'))
    };
    text.split_once(':').is_some_and(|(service, name)| allowed(service) && allowed(name))
}

fn one_of(
    name: &str,
    is: Option<OneOrMany<String>>,
    not_name: &str,
    is_not: Option<OneOrMany<String>>,
) -> Result<(Vec<String>, bool), PolicyError> {
    let (values, is_not) = match (is, is_not) {
        (Some(values), None) => (values.0, false),
        (None, Some(values)) => (values.0, true),
        _ => return Err(PolicyError::new(format!("A statement must have either {name} or {not_name}"))),
    };
    if values.is_empty() {
        return Err(PolicyError::new(format!("A statement has an empty {name}")));
    }
    Ok((values, is_not))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RawDocument {
    version: Option<String>,
    #[serde(rename = "Id")]
    #[allow(dead_code, reason = "a name for people")]
    id: Option<String>,
    statement: OneOrMany<RawStatement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RawStatement {
    sid: Option<String>,
    effect: String,
    action: Option<OneOrMany<String>>,
    not_action: Option<OneOrMany<String>>,
    resource: Option<OneOrMany<String>>,
    not_resource: Option<OneOrMany<String>>,
    condition: Option<Unique<Unique<OneOrMany<RawValue>>>>,
}

/// A value, or an array of them.
struct OneOrMany<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either<T> {
            Many(Vec<T>),
            One(T),
        }
        Ok(match Either::deserialize(deserializer)? {
            Either::One(one) => Self(vec![one]),
            Either::Many(many) => Self(many),
        })
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawValue {
    Text(String),
    Bool(bool),
    Number(serde_json::Number),
}

impl RawValue {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
        }
    }
}

/// An object that has no name twice.
struct Unique<T>(BTreeMap<String, T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Unique<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Names<T> {
            type Value = Unique<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique<T>, A::Error> {
                let mut found = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, T>()? {
                    let message = format_args!("{name} is there twice").to_string();
                    if found.insert(name, value).is_some() {
                        return Err(A::Error::custom(message));
                    }
                }
                Ok(Unique(found))
            }
        }
        deserializer.deserialize_map(Names(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_that_are_not_understood_are_refused() {
        let wrap = |statement: &str| format!(r#"{{"Version":"2012-10-17","Statement":[{statement}]}}"#);
        let good = r#"{"Effect":"Allow","Action":"iot:*","Resource":"*"}"#;
        let with_condition =
            |condition: &str| wrap(&format!("{},\"Condition\":{condition}}}", good.trim_end_matches('}')));
        let with_action = |action: &str| wrap(&good.replace("iot:*", action));
        for (text, expected) in [
            (wrap(good), ""),
            (r#"{"Statement":{"Effect":"Deny","NotAction":["iot:Connect"],"NotResource":["arn:aws:iot:*:*:client/a"]}}"#.to_owned(), ""),
            (r#"{"Version":"2012-10-17","Id":"x","Statement":[]}"#.to_owned(), "no statement"),
            (r#"{"Version":"2012-10-18","Statement":[]}"#.to_owned(), "2012-10-18 is not known"),
            ("{}".to_owned(), "missing field `Statement`"),
            ("[]".to_owned(), "malformed"),
            ("".to_owned(), "malformed"),
            (wrap(r#"{"Effect":"allow","Action":"iot:*","Resource":"*"}"#), "allow must be Allow or Deny"),
            (wrap(r#"{"Effect":"Allow","Resource":"*"}"#), "either Action or NotAction"),
            (wrap(r#"{"Effect":"Allow","Action":"iot:*","NotAction":"iot:*","Resource":"*"}"#), "either Action or NotAction"),
            (wrap(r#"{"Effect":"Allow","Action":"iot:*"}"#), "either Resource or NotResource"),
            (wrap(r#"{"Effect":"Allow","Action":[],"Resource":"*"}"#), "empty Action"),
            (wrap(r#"{"Effect":"Allow","Action":"publish","Resource":"*"}"#), "publish is no action"),
            (wrap(r#"{"Effect":"Allow","Action":"iot:*","Resource":"topic/a"}"#), "must be * or an ARN"),
            (wrap(r#"{"Effect":"Allow","Action":"iot:*","Resource":"*","Principal":"*"}"#), "malformed"),
            (wrap(r#"{"Effect":"Allow","Effect":"Deny","Action":"iot:*","Resource":"*"}"#), "malformed"),
            (wrap(r#"{"Effect":"Allow","Action":"iot:*","Resource":"*","Condition":{"Like":{"a":"b"}}}"#), "Like"),
            (wrap(r#"{"Effect":"Allow","Action":"iot:*","Resource":"*","Condition":{"Bool":{"a":"b","a":"c"}}}"#), "malformed"),
            (wrap(r#"{"Effect":"Allow","Action":"iot:*","Resource":"arn:aws:iot:::topic/${a"}"#), "has no end"),
            (wrap(&format!(r#"{{"Sid":"a","Effect":"Allow","Action":"iot:*","Resource":"*"}},{}"#, r#"{"Sid":"a","Effect":"Deny","Action":"iot:*","Resource":"*"}"#)), "Sid a"),
            (with_condition(r#"{"NullIfExists":{"a":"true"}}"#), "NullIfExists is not known"),
            (with_condition(r#"{"ForAnyValue:Null":{"a":"true"}}"#), "ForAnyValue:Null is not known"),
            (with_condition(r#"{"ForNoValue:Bool":{"a":"true"}}"#), "ForNoValue:Bool is not known"),
            (with_condition(r#"{"Bool":{"":"true"}}"#), "has no key"),
            (with_condition(r#"{"Bool":{"a":"maybe"}}"#), "maybe is no value for the condition operator Bool"),
            (with_condition(r#"{"NumericEquals":{"a":["1","one"]}}"#), "one is no value for"),
            (with_condition(r#"{"DateEquals":{"a":"today"}}"#), "today is no value for"),
            (with_condition(r#"{"IpAddress":{"a":"10.0.0"}}"#), "10.0.0 is no value for"),
            (with_condition(r#"{"ArnLike":{"a":"arn:aws:iot:r:1"}}"#), "arn:aws:iot:r:1 is no value for"),
            (with_condition(r#"{"ArnLike":{"a":"*:aws:iot:r:1:a"}}"#), "*:aws:iot:r:1:a is no value for"),
            (with_condition(r#"{"ArnLike":{"a":"arn:aws:iot:r:1:${a}"},"Bool":{"a":"${b}"}}"#), ""),
            (with_condition("[]"), "malformed"),
            (with_condition(r#"{"Bool":true}"#), "malformed"),
            (with_action("*"), ""),
            (with_action("io?:Get-*"), ""),
            (with_action("iot:"), "iot: is no action"),
            (with_action(":Publish"), ":Publish is no action"),
            (with_action("iot:Pub/lish"), "iot:Pub/lish is no action"),
            (with_action("i/t:Publish"), "i/t:Publish is no action"),
            (wrap(r#"{"Sid":"a","Effect":"Allow","Action":"iot:*","Resource":"*"},{"Sid":"b","Effect":"Deny","Action":"iot:*","Resource":"*"}"#), ""),
            (wrap(&good.replace('*', &"x".repeat(2_100))), "more than 2048"),
            (format!("{}{}", wrap(good), " ".repeat(3_000)), ""),
            ("[".repeat(2_000), "malformed"),
        ] {
            match PolicyDocument::parse(&text) {
                Ok(_) => assert_eq!(expected, "", "{text}"),
                Err(error) => {
                    assert!(!expected.is_empty() && error.to_string().contains(expected), "{text}: {error}");
                }
            }
        }
    }
    #[test]
    fn a_document_may_be_as_long_as_aws_says_and_no_longer() {
        let text = |characters: usize, bytes: usize| {
            let least = r#"{"Statement":{"Effect":"Allow","Action":"iot:*","Resource":"arn:"}}"#;
            let name = "x".repeat(characters - least.len());
            format!("{}{}", least.replace("arn:", &format!("arn:{name}")), " ".repeat(bytes - characters))
        };
        for (characters, bytes, is_read) in [
            (2_048, 2_048, true),
            (2_049, 2_049, false),
            (2_048, 65_536, true),
            (2_048, 65_537, false),
            (2_049, 65_536, false),
            (100, 65_536, true),
            (100, 65_537, false),
        ] {
            let text = text(characters, bytes);
            assert_eq!(text.len(), bytes);
            assert_eq!(PolicyDocument::parse(&text).is_ok(), is_read, "{characters} {bytes}");
        }
    }
}
