//! `Ref` and the intrinsic functions: their grammar (developer guide, "Intrinsic functions").
//!
//! What is text and what is a list is known from the grammar alone, but for `Fn::FindInMap`, whose maps hold both.

use super::{Mappings, TemplateError, TemplateKind};
use serde_json::Value;
use std::collections::BTreeMap;

/// What evaluates to text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Text {
    Literal(String),
    /// `{"Ref": name}`.
    Parameter(String),
    /// `{"Fn::Join": [delimiter, list]}`.
    Join {
        delimiter: String,
        list: List,
    },
    /// `{"Fn::Select": [index, list]}`.
    Select {
        index: Box<Text>,
        list: List,
    },
    /// `{"Fn::FindInMap": [map, first key, second key]}`.
    Mapped(Box<FindInMap>),
    /// `{"Fn::Sub": text}` or `{"Fn::Sub": [text, variables]}`.
    Sub {
        pieces: Vec<Piece>,
        variables: BTreeMap<String, Text>,
    },
}

/// What evaluates to a list of texts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum List {
    Items(Vec<Text>),
    /// `{"Fn::Split": [delimiter, text]}`; the delimiter is not empty.
    Split {
        delimiter: String,
        text: Box<Text>,
    },
    /// `{"Fn::FindInMap": [map, first key, second key]}`.
    Mapped(Box<FindInMap>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FindInMap {
    pub(crate) map: Text,
    pub(crate) first: Text,
    pub(crate) second: Text,
}

/// A part of what `Fn::Sub` substitutes in.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Piece {
    Literal(String),
    /// `${name}`: a variable, or else a parameter.
    Name(String),
}

/// A value in `Mappings`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum MappedValue {
    Text(String),
    List(Vec<String>),
}

/// JSON with functions in it, which each become a string.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// `null`, a Boolean, a number.
    Scalar(Value),
    Text(Text),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

/// What expressions may refer to.
pub(crate) struct Reader<'a> {
    pub(crate) kind: TemplateKind,
    pub(crate) parameters: &'a BTreeMap<String, Option<String>>,
    pub(crate) mappings: &'a Mappings,
    pub(crate) has_functions: bool,
}

impl Reader<'_> {
    /// A string, or a function that makes one.
    pub(crate) fn text(&self, value: &Value, path: &str) -> Result<Text, TemplateError> {
        if let Value::String(text) = value {
            return Ok(Text::Literal(text.clone()));
        }
        let (name, argument, path) = self.function(value, path, "must be a string or a function that makes one")?;
        match name {
            "Ref" => {
                let wanted = argument.as_str().ok_or_else(|| TemplateError::at(&path, "must be a parameter's name"))?;
                self.known_parameter(wanted, &path)?;
                Ok(Text::Parameter(wanted.to_owned()))
            }
            "Fn::Join" => {
                let [delimiter, list] = arguments(argument, &path, "a delimiter and a list")?;
                let delimiter = delimiter.as_str().ok_or_else(|| no_delimiter(&path))?.to_owned();
                Ok(Text::Join { delimiter, list: self.list(list, &format!("{path}.1"))? })
            }
            "Fn::Select" => {
                let [index, list] = arguments(argument, &path, "an index and a list")?;
                let list = self.list(list, &format!("{path}.1"))?;
                let index = Box::new(self.index(index, &list, &format!("{path}.0"))?);
                Ok(Text::Select { index, list })
            }
            "Fn::FindInMap" => self.find_in_map(argument, &path).map(Text::Mapped),
            "Fn::Sub" => self.sub(argument, &path),
            "Fn::Split" => Err(TemplateError::at(path, "makes a list, and here has to be text; select one of it")),
            _ => Err(unknown_function(&path)),
        }
    }

    /// A list, or a function that makes one.
    pub(crate) fn list(&self, value: &Value, path: &str) -> Result<List, TemplateError> {
        if let Value::Array(items) = value {
            let items = items.iter().enumerate();
            let items = items.map(|(index, item)| self.text(item, &format!("{path}.{index}")));
            return items.collect::<Result<_, _>>().map(List::Items);
        }
        let (name, argument, path) = self.function(value, path, "must be a list or a function that makes one")?;
        match name {
            "Fn::Split" => {
                let [delimiter, text] = arguments(argument, &path, "a delimiter and text")?;
                let delimiter = delimiter.as_str().filter(|text| !text.is_empty());
                let delimiter = delimiter.ok_or_else(|| no_delimiter(&path))?.to_owned();
                Ok(List::Split { delimiter, text: Box::new(self.text(text, &format!("{path}.1"))?) })
            }
            "Fn::FindInMap" => self.find_in_map(argument, &path).map(List::Mapped),
            "Ref" | "Fn::Join" | "Fn::Select" | "Fn::Sub" => {
                Err(TemplateError::at(path, "makes text, and here has to be a list; split it"))
            }
            _ => Err(unknown_function(&path)),
        }
    }

    /// JSON with functions in it: an object whose only member is `Ref` or begins with `Fn::`.
    pub(crate) fn node(&self, value: &Value, path: &str) -> Result<Node, TemplateError> {
        Ok(match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => Node::Scalar(value.clone()),
            Value::String(text) => Node::Text(Text::Literal(text.clone())),
            Value::Array(items) => {
                let items = items.iter().enumerate();
                let items = items.map(|(index, item)| self.node(item, &format!("{path}.{index}")));
                Node::Array(items.collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let is_function = |name: &String| name == "Ref" || name.starts_with("Fn::");
                if members.len() == 1 && members.keys().all(is_function) {
                    return self.text(value, path).map(Node::Text);
                }
                let members = members.iter();
                let members =
                    members.map(|(name, value)| Ok((name.clone(), self.node(value, &format!("{path}.{name}"))?)));
                Node::Object(members.collect::<Result<_, TemplateError>>()?)
            }
        })
    }

    /// The name, the argument and the path of a function.
    fn function<'v>(
        &self,
        value: &'v Value,
        path: &str,
        otherwise: &str,
    ) -> Result<(&'v str, &'v Value, String), TemplateError> {
        let mut members = value.as_object().into_iter().flatten();
        let (Some((name, argument)), None) = (members.next(), members.next()) else {
            return Err(TemplateError::at(path, otherwise));
        };
        let path = format!("{path}.{name}");
        if name != "Ref" && !self.has_functions {
            return Err(TemplateError::at(path, "only fleet provisioning templates have functions other than Ref"));
        }
        Ok((name, argument, path))
    }

    fn known_parameter(&self, name: &str, path: &str) -> Result<(), TemplateError> {
        if self.parameters.contains_key(name) || self.kind.built_in().contains(&name) {
            return Ok(());
        }
        Err(TemplateError::at(path, format!("refers to {name}, which Parameters does not declare")))
    }

    /// A number or text. One that is too large for a list that is written out is refused at once.
    fn index(&self, value: &Value, list: &List, path: &str) -> Result<Text, TemplateError> {
        let index = match value {
            Value::Number(number) if number.is_u64() => Text::Literal(number.to_string()),
            value => self.text(value, path)?,
        };
        if let Text::Literal(text) = &index {
            let number: usize = text.parse().map_err(|_| TemplateError::at(path, "must be a whole number from 0"))?;
            if let List::Items(items) = list
                && number >= items.len()
            {
                return Err(TemplateError::at(path, format!("there is no item {number} in a list of {}", items.len())));
            }
        }
        Ok(index)
    }

    /// A map or a key that is written out must be there.
    fn find_in_map(&self, argument: &Value, path: &str) -> Result<Box<FindInMap>, TemplateError> {
        let [map, first, second] = arguments(argument, path, "a map and two keys")?;
        let found = FindInMap {
            map: self.text(map, &format!("{path}.0"))?,
            first: self.text(first, &format!("{path}.1"))?,
            second: self.text(second, &format!("{path}.2"))?,
        };
        if let Text::Literal(map) = &found.map {
            let keys = self.mappings.get(map);
            let keys = keys.ok_or_else(|| TemplateError::at(path, format!("Mappings has no map {map}")))?;
            if let Text::Literal(first) = &found.first {
                let missing = || TemplateError::at(path, format!("Mappings.{map} has no key {first}"));
                let values = keys.get(first).ok_or_else(missing)?;
                if let Text::Literal(second) = &found.second
                    && !values.contains_key(second)
                {
                    return Err(TemplateError::at(path, format!("Mappings.{map}.{first} has no key {second}")));
                }
            }
        }
        Ok(Box::new(found))
    }

    fn sub(&self, argument: &Value, path: &str) -> Result<Text, TemplateError> {
        let (text, variables) = match argument {
            Value::String(text) => (text.as_str(), BTreeMap::new()),
            Value::Array(_) => {
                let [text, variables] = arguments(argument, path, "text and variables")?;
                let text = text.as_str().ok_or_else(|| TemplateError::at(format!("{path}.0"), "must be a string"))?;
                let variables = super::object(variables, &format!("{path}.1"))?.iter();
                let variables = variables
                    .map(|(name, value)| Ok((name.clone(), self.text(value, &format!("{path}.1.{name}"))?)))
                    .collect::<Result<_, TemplateError>>()?;
                (text, variables)
            }
            _ => return Err(TemplateError::at(path, "must be a string, or a list of text and variables")),
        };
        let pieces = pieces(text, path)?;
        for piece in &pieces {
            if let Piece::Name(name) = piece
                && !variables.contains_key(name)
            {
                self.known_parameter(name, path)?;
            }
        }
        Ok(Text::Sub { pieces, variables })
    }
}

fn no_delimiter(path: &str) -> TemplateError {
    TemplateError::at(format!("{path}.0"), "the delimiter must be a string, and not empty if text is split at it")
}

fn unknown_function(path: &str) -> TemplateError {
    let known = "Ref, Fn::Join, Fn::Select, Fn::Split, Fn::FindInMap, Fn::Sub";
    TemplateError::at(path, format!("no function; known are {known}"))
}

fn arguments<'v, const N: usize>(value: &'v Value, path: &str, wanted: &str) -> Result<&'v [Value; N], TemplateError> {
    let items = value.as_array().and_then(|items| items.as_slice().try_into().ok());
    items.ok_or_else(|| TemplateError::at(path, format!("must be a list of {N}: {wanted}")))
}

/// Takes apart what `Fn::Sub` substitutes in: `${name}` is a name, `${!text}` stands for `${text}`.
fn pieces(text: &str, path: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        literal.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            return Err(TemplateError::at(path, "a ${ is not closed; ${!text} stands for ${text}"));
        };
        rest = after;
        if let Some(escaped) = name.strip_prefix('!') {
            literal.push_str("${");
            literal.push_str(escaped);
            literal.push('}');
            continue;
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':');
        if name.is_empty() || !name.bytes().all(is_name) {
            let reason = "a name in ${} has letters, digits, and _ - . : only; ${!text} stands for ${text}";
            return Err(TemplateError::at(path, reason));
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Name(name.to_owned()));
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fn_sub_gets_is_taken_apart() {
        let literal = |text: &str| Piece::Literal(text.to_owned());
        let name = |text: &str| Piece::Name(text.to_owned());
        for (text, expected) in [
            ("", Some(vec![])),
            ("a", Some(vec![literal("a")])),
            ("a${b}c", Some(vec![literal("a"), name("b"), literal("c")])),
            ("${a}${b}", Some(vec![name("a"), name("b")])),
            ("${AWS::IoT::Certificate::Id}", Some(vec![name("AWS::IoT::Certificate::Id")])),
            ("x${!iot:ClientId}y", Some(vec![literal("x${iot:ClientId}y")])),
            ("${!a}${b}", Some(vec![literal("${a}"), name("b")])),
            ("$a {b} $", Some(vec![literal("$a {b} $")])),
            ("${", None),
            ("${a", None),
            ("${}", None),
            ("${a b}", None),
            ("${${a}}", None),
        ] {
            assert_eq!(pieces(text, "p").ok(), expected, "{text}");
        }
    }
}
