//! Conditions of a statement (IAM user guide, "IAM JSON policy elements: Condition operators" and "Multivalued context
//! keys").

use crate::PolicyError;
use crate::facts::Facts;
use crate::glob::Glob;
use crate::template::Template;
use core::net::IpAddr;
use ipnet::IpNet;
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, macros::format_description};

/// A key, an operator and the values to compare with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Condition {
    pub key: String,
    test: Test,
    is_negated: bool,
    if_exists: bool,
    quantifier: Option<Quantifier>,
    values: Vec<Template>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quantifier {
    ForAllValues,
    ForAnyValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Equals,
    EqualsIgnoreCase,
    Like,
    Arn,
    Number(Order),
    Date(Order),
    Bool,
    Ip,
    Null,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A condition with the facts filled in.
#[derive(Clone, Debug)]
pub(crate) struct CompiledCondition {
    pub key: String,
    is_negated: bool,
    if_exists: bool,
    quantifier: Option<Quantifier>,
    expected: Vec<Expected>,
}

#[derive(Clone, Debug)]
enum Expected {
    Equals(String),
    EqualsIgnoreCase(String),
    Like(Glob),
    /// Part by part.
    Arn(Vec<Glob>),
    Number(Order, f64),
    /// Milliseconds.
    Date(Order, i128),
    Bool(bool),
    Ip(IpNet),
    /// Whether the key must be missing.
    Null(bool),
}

impl Condition {
    /// Reads one condition.
    ///
    /// # Errors
    /// When the operator is not known, or a value without variables is none that it can compare with.
    pub fn parse(
        operator: &str,
        key: &str,
        values: impl Iterator<Item = String>,
        has_variables: bool,
    ) -> Result<Self, PolicyError> {
        let unknown = || PolicyError::new(format!("The condition operator {operator} is not known"));
        let (quantifier, name) = match operator.split_once(':') {
            Some(("ForAllValues", name)) => (Some(Quantifier::ForAllValues), name),
            Some(("ForAnyValue", name)) => (Some(Quantifier::ForAnyValue), name),
            Some(_) => return Err(unknown()),
            None => (None, operator),
        };
        let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
        let (test, is_negated) = Test::parse(name).ok_or_else(unknown)?;
        if test == Test::Null && (if_exists || quantifier.is_some()) {
            return Err(unknown());
        }
        if key.is_empty() {
            return Err(PolicyError::new("A condition has no key"));
        }
        let values: Vec<Template> =
            values.map(|value| Template::parse(&value, has_variables)).collect::<Result<_, _>>()?;
        let condition = Self { key: key.to_owned(), test, is_negated, if_exists, quantifier, values };
        for value in &condition.values {
            if value.variables().next().is_none() && condition.expected(value, &Facts::default()).is_none() {
                let text = value.text(&Facts::default()).unwrap_or_default();
                return Err(PolicyError::new(format!("{text} is no value for the condition operator {operator}")));
            }
        }
        Ok(condition)
    }

    /// The names of the variables in its values.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.values.iter().flat_map(Template::variables)
    }

    /// Fills the facts in.
    pub fn compile(&self, facts: &Facts) -> CompiledCondition {
        CompiledCondition {
            key: self.key.to_ascii_lowercase(),
            is_negated: self.is_negated,
            if_exists: self.if_exists,
            quantifier: self.quantifier,
            expected: self.values.iter().filter_map(|value| self.expected(value, facts)).collect(),
        }
    }

    fn expected(&self, value: &Template, facts: &Facts) -> Option<Expected> {
        Some(match self.test {
            Test::Like => Expected::Like(value.glob(facts)?),
            Test::Arn => Expected::Arn(arn_globs(&value.text(facts)?)?),
            Test::Equals => Expected::Equals(value.text(facts)?),
            Test::EqualsIgnoreCase => Expected::EqualsIgnoreCase(value.text(facts)?.to_lowercase()),
            Test::Number(order) => Expected::Number(order, value.text(facts)?.parse().ok()?),
            Test::Date(order) => Expected::Date(order, date(&value.text(facts)?)?),
            Test::Bool => Expected::Bool(boolean(&value.text(facts)?)?),
            Test::Null => Expected::Null(boolean(&value.text(facts)?)?),
            Test::Ip => Expected::Ip(network(&value.text(facts)?)?),
        })
    }
}

impl Test {
    /// The test and whether it is the other way round.
    fn parse(name: &str) -> Option<(Self, bool)> {
        use Order::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};
        Some(match name {
            "StringEquals" | "BinaryEquals" => (Self::Equals, false),
            "StringNotEquals" => (Self::Equals, true),
            "StringEqualsIgnoreCase" => (Self::EqualsIgnoreCase, false),
            "StringNotEqualsIgnoreCase" => (Self::EqualsIgnoreCase, true),
            "StringLike" => (Self::Like, false),
            "StringNotLike" => (Self::Like, true),
            "ArnEquals" | "ArnLike" => (Self::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Self::Arn, true),
            "NumericEquals" => (Self::Number(Equal), false),
            "NumericNotEquals" => (Self::Number(Equal), true),
            "NumericLessThan" => (Self::Number(Less), false),
            "NumericLessThanEquals" => (Self::Number(LessOrEqual), false),
            "NumericGreaterThan" => (Self::Number(Greater), false),
            "NumericGreaterThanEquals" => (Self::Number(GreaterOrEqual), false),
            "DateEquals" => (Self::Date(Equal), false),
            "DateNotEquals" => (Self::Date(Equal), true),
            "DateLessThan" => (Self::Date(Less), false),
            "DateLessThanEquals" => (Self::Date(LessOrEqual), false),
            "DateGreaterThan" => (Self::Date(Greater), false),
            "DateGreaterThanEquals" => (Self::Date(GreaterOrEqual), false),
            "Bool" => (Self::Bool, false),
            "IpAddress" => (Self::Ip, false),
            "NotIpAddress" => (Self::Ip, true),
            "Null" => (Self::Null, false),
            _ => return None,
        })
    }
}

impl CompiledCondition {
    /// Whether it holds for a key with these values; `None`: the key is missing.
    pub fn holds(&self, values: Option<&[String]>) -> bool {
        let values = values.filter(|values| !values.is_empty());
        if let Some(Expected::Null(_)) = self.expected.first() {
            return self
                .expected
                .iter()
                .any(|expected| matches!(expected, Expected::Null(n) if *n == values.is_none()));
        }
        let Some(values) = values else {
            return match self.quantifier {
                Some(Quantifier::ForAllValues) => true,
                Some(Quantifier::ForAnyValue) => self.if_exists,
                None => self.if_exists || self.is_negated,
            };
        };
        let passes = |value: &String| self.expected.iter().any(|expected| expected.is(value)) != self.is_negated;
        match self.quantifier {
            Some(Quantifier::ForAllValues) => values.iter().all(passes),
            Some(Quantifier::ForAnyValue) => values.iter().any(passes),
            // IAM leaves several values without a quantifier open: then what is forbidden must not be among them.
            None if self.is_negated => values.iter().all(passes),
            None => values.iter().any(passes),
        }
    }
}

impl Expected {
    fn is(&self, value: &str) -> bool {
        match self {
            Self::Equals(expected) => expected == value,
            Self::EqualsIgnoreCase(expected) => *expected == value.to_lowercase(),
            Self::Like(glob) => glob.matches(value),
            Self::Arn(globs) => {
                let mut parts = value.splitn(6, ':');
                globs.iter().all(|glob| parts.next().is_some_and(|part| glob.matches(part))) && parts.next().is_none()
            }
            Self::Number(order, expected) => value
                .parse::<f64>()
                .ok()
                .and_then(|value| value.partial_cmp(expected))
                .is_some_and(|is| order.allows(is)),
            Self::Date(order, expected) => date(value).is_some_and(|value| order.allows(value.cmp(expected))),
            Self::Bool(expected) => boolean(value) == Some(*expected),
            Self::Ip(network) => value.parse::<IpAddr>().is_ok_and(|address| network.contains(&address)),
            Self::Null(_) => false,
        }
    }
}

impl Order {
    const fn allows(self, is: core::cmp::Ordering) -> bool {
        match self {
            Self::Equal => is.is_eq(),
            Self::Less => is.is_lt(),
            Self::LessOrEqual => is.is_le(),
            Self::Greater => is.is_gt(),
            Self::GreaterOrEqual => is.is_ge(),
        }
    }
}

/// Six parts, each with its own wildcards.
fn arn_globs(text: &str) -> Option<Vec<Glob>> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let glob = |part: &&str| Template::parse(part, false).ok()?.glob(&Facts::default());
    (parts.len() == 6 && parts.first() == Some(&"arn")).then(|| parts.iter().map(glob).collect())?
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// An address alone is the network that has only this.
fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// Milliseconds since 1970: ISO 8601 as W3C has it, or seconds.
fn date(text: &str) -> Option<i128> {
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(i128::from(seconds) * 1_000);
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339)
        .ok()
        .or_else(|| Some(Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?.midnight().assume_utc()));
    moment.map(|moment| moment.unix_timestamp_nanos() / 1_000_000)
}
