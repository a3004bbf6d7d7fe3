//! Words and values as they are written, and what they become.

use super::{Bound, Condition, PatternToken};

/// A word with what its characters mean.
pub(super) struct Word {
    /// Each with whether it was escaped.
    pub(super) characters: Vec<(char, bool)>,
    /// Where it begins.
    pub(super) position: usize,
}

impl Word {
    pub(super) fn text(&self) -> String {
        self.characters.iter().map(|(character, _)| character).collect()
    }

    pub(super) fn is(&self, text: &str) -> bool {
        self.characters.iter().all(|(_, is_escaped)| !is_escaped) && self.text() == text
    }

    pub(super) fn has_wildcard(&self) -> bool {
        self.characters.iter().any(|character| matches!(character, ('*' | '?', false)))
    }

    pub(super) fn is_stars(&self) -> bool {
        !self.characters.is_empty() && self.characters.iter().all(|character| *character == ('*', false))
    }
}

/// What stands for a value.
pub(super) enum Value {
    Word(Word),
    Quoted(String),
}

/// A value that may be compared either way.
#[derive(Clone)]
pub(super) struct Comparable {
    /// The number that an unquoted word is.
    pub(super) number: Option<f64>,
    /// In lower case.
    pub(super) text: String,
}

/// As numbers when no side forbids it.
pub(super) fn between(low: Bound<Comparable>, high: Bound<Comparable>) -> Condition {
    let number = |bound: &Bound<Comparable>| match bound {
        Bound::Open => Some(Bound::Open),
        Bound::Including(value) => value.number.map(Bound::Including),
        Bound::Excluding(value) => value.number.map(Bound::Excluding),
    };
    let text = |bound: Bound<Comparable>| match bound {
        Bound::Open => Bound::Open,
        Bound::Including(value) => Bound::Including(value.text),
        Bound::Excluding(value) => Bound::Excluding(value.text),
    };
    match (number(&low), number(&high)) {
        // a range without sides is the same as `*`
        (Some(Bound::Open), Some(Bound::Open)) => Condition::Exists,
        (Some(low), Some(high)) => Condition::Numbers(low, high),
        _ => Condition::Texts(text(low), text(high)),
    }
}

/// Aggregations name two fields differently from queries; both names are good everywhere.
pub(crate) fn search_field(field: &str) -> &str {
    match field {
        "registry.thingTypeName" => "thingTypeName",
        "registry.thingGroupNames" => "thingGroupNames",
        _ => field,
    }
}

/// A pattern in the syntax of SQLite's GLOB.
pub(crate) fn glob(tokens: impl Iterator<Item = PatternToken>) -> String {
    let mut glob = String::new();
    for token in tokens {
        match token {
            PatternToken::One => glob.push('?'),
            PatternToken::Many => glob.push('*'),
            PatternToken::Character(character @ ('*' | '?' | '[')) => glob.extend(['[', character, ']']),
            PatternToken::Character(character) => glob.push(character),
        }
    }
    glob
}
