//! Queries in AWS's grammar (version 2017-09-30), as a tree.
//!
//! ```text
//! query    = and { "OR" and }
//! and      = not { [ "AND" ] not }
//! not      = { "NOT" | "-" | "+" } clause
//! clause   = "(" query ")" | [ field ":" ] value | field ( "<" | "<=" | ">" | ">=" ) value | field ":(" query ")"
//! value    = word | '"' phrase '"' | "[" low "TO" high "]" | "{" low "TO" high "}", also mixed
//! ```
//!
//! `*` in a word stands for any characters, `?` for one; alone, `*` is everything, and after a field it asks whether the
//! field is there. In a range it leaves a side open. `\` takes a character's meaning away.
//!
//! What AWS's documentation leaves open is decided like this:
//! - AND binds more tightly than OR, and adjacency is AND: `a OR b c` is `a OR (b AND c)`.
//! - A value without quotes that is a number is compared as a number by `<`, `>` and ranges, everything else as text. A
//!   string that is a number (every attribute is a string) has both forms.
//! - An equality finds a number by its value and a string by its text: `1.1` does not find the attribute `"1.10"`.
//! - A string of several words is found by the whole of it, by each word, and by a phrase of words that follow one
//!   another in it. Wildcards and text ranges look at the whole and at each word.
//! - Wildcards don't look at numbers (but at strings that are numbers): `level:7*` does not find 78.
//! - `a:*` also finds documents with `a.b`.
//! - Characters that AWS calls unsupported, like `@` and `/`, are themselves; a `:` within a value is, too.

mod parse;
mod value;

pub(crate) use value::{glob, search_field};

/// A query that was read. [`Query::parse`] makes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    pub(crate) root: Expression,
    pub(crate) terms: usize,
}

impl Query {
    /// The only version of the grammar.
    pub const VERSION: &'static str = "2017-09-30";

    /// Everything, the query `*`.
    #[must_use]
    pub fn all() -> Self {
        Self { root: Expression::All, terms: 0 }
    }

    /// What the query asks.
    #[must_use]
    pub fn expression(&self) -> &Expression {
        &self.root
    }

    /// How many terms it has, for [`Limits::dynamic_group_terms`](crate::Limits::dynamic_group_terms).
    #[must_use]
    pub fn terms(&self) -> usize {
        self.terms
    }
}

/// A part of a query.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// Every document.
    All,
    /// Documents with a value that matches.
    Term(Term),
    /// Documents that the other does not find.
    Not(Box<Expression>),
    /// Documents that all of them find.
    And(Vec<Expression>),
    /// Documents that one of them finds.
    Or(Vec<Expression>),
}

/// One condition on the values of a field, or of all fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// The number of the term in the query, from 0.
    pub index: usize,
    /// The field; `None` for a term that is looked for everywhere.
    pub field: Option<String>,
    /// What a value must be.
    pub condition: Condition,
}

/// What a value must be.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// The field is there.
    Exists,
    /// A text or one of its words, in lower case, or a number.
    Equal {
        /// In lower case.
        text: String,
        /// The number that the text is.
        number: Option<f64>,
    },
    /// At least two words that follow one another, in lower case.
    Phrase(Vec<String>),
    /// A text or one of its words, with wildcards.
    Pattern(Vec<PatternToken>),
    /// A number between bounds.
    Numbers(Bound<f64>, Bound<f64>),
    /// A text between bounds, in lower case.
    Texts(Bound<String>, Bound<String>),
}

/// A side of a range.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound<T> {
    /// No bound.
    Open,
    /// This and beyond.
    Including(T),
    /// Beyond this.
    Excluding(T),
}

/// A part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternToken {
    /// This character, in lower case.
    Character(char),
    /// `?`, any one character.
    One,
    /// `*`, any characters, or none.
    Many,
}
