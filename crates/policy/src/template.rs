//! Text with wildcards and policy variables (AWS IoT developer guide, "Policy variables"; IAM user guide, "IAM policy
//! elements: Variables and tags").

use crate::PolicyError;
use crate::facts::Facts;
use crate::glob::{Glob, Token};

/// A value as a policy has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    /// `*`
    Any,
    /// `?`
    One,
    Variable(String),
}

impl Template {
    /// Reads a value; `has_variables` in policies of version 2012-10-17.
    ///
    /// # Errors
    /// When a variable has no end or no name.
    pub fn parse(text: &str, has_variables: bool) -> Result<Self, PolicyError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            if has_variables && let Some(behind) = rest.strip_prefix("${") {
                let (name, after) = behind
                    .split_once('}')
                    .ok_or_else(|| PolicyError::new(format!("A variable in {text} has no end")))?;
                match name {
                    "*" | "?" | "$" => literal.push_str(name),
                    "" => return Err(PolicyError::new(format!("A variable in {text} has no name"))),
                    _ => {
                        flush(&mut literal, &mut parts);
                        parts.push(Part::Variable(name.to_owned()));
                    }
                }
                rest = after;
                continue;
            }
            match character {
                '*' => {
                    flush(&mut literal, &mut parts);
                    parts.push(Part::Any);
                }
                '?' => {
                    flush(&mut literal, &mut parts);
                    parts.push(Part::One);
                }
                _ => literal.push(character),
            }
            rest = rest.get(character.len_utf8()..).unwrap_or_default();
        }
        flush(&mut literal, &mut parts);
        Ok(Self { parts })
    }

    /// The names of the variables in it.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// With what the variables stand for, `*` and `?` as wildcards; `None` when one of them stands for nothing: then
    /// nothing matches.
    pub fn glob(&self, facts: &Facts) -> Option<Glob> {
        let mut tokens = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => tokens.extend(text.bytes().map(Token::Byte)),
                Part::Any => tokens.push(Token::Any),
                Part::One => tokens.push(Token::One),
                Part::Variable(name) => tokens.extend(facts.substitute(name)?.bytes().map(Token::Byte)),
            }
        }
        Some(Glob::new(tokens))
    }

    /// With what the variables stand for, `*` and `?` as they are written.
    pub fn text(&self, facts: &Facts) -> Option<String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Any => text.push('*'),
                Part::One => text.push('?'),
                Part::Variable(name) => text.push_str(&facts.substitute(name)?),
            }
        }
        Some(text)
    }
}

fn flush(literal: &mut String, parts: &mut Vec<Part>) {
    if !literal.is_empty() {
        parts.push(Part::Text(core::mem::take(literal)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts { client_id: Some("lamp".into()), ..Facts::default() }
    }

    #[test]
    fn variables_are_filled_in_and_their_special_forms_are_plain_characters() {
        for (text, expected) in [
            ("a/${iot:ClientId}/b", Some("a/lamp/b")),
            ("${IOT:clientid}", Some("lamp")),
            ("a${*}b${?}c${$}d", Some("a*b?c$d")),
            ("${iot:Connection.Thing.ThingName}", None),
            ("a$b{c}", Some("a$b{c}")),
        ] {
            let template = Template::parse(text, true).unwrap();
            assert_eq!(template.text(&facts()).as_deref(), expected, "{text}");
        }
        let plain = Template::parse("${iot:ClientId}", false).unwrap();
        assert_eq!(plain.text(&facts()).as_deref(), Some("${iot:ClientId}"));
        assert!(Template::parse("a${b", true).is_err());
        assert!(Template::parse("a${}", true).is_err());
    }

    #[test]
    fn an_escaped_wildcard_matches_only_itself() {
        let glob = Template::parse("a${*}b", true).unwrap().glob(&facts()).unwrap();
        assert!(glob.matches("a*b"));
        assert!(!glob.matches("axb"));
    }
}
