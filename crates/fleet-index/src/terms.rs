//! The rows of a document in the index, what is stored of them with the document, and what changes between two.

use crate::document::{Document, Part, approximate, is_searched_without_field};
use crate::limits::DocumentLimits;
use crate::text::{finite, normalise, number};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a row's value is. The numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i64)]
pub enum Kind {
    /// A text as a whole, or a boolean.
    Text = 0,
    /// A number.
    Number = 1,
    /// The number that a text is.
    NumberOfText = 2,
    /// One of several words of a text.
    Word = 3,
}

/// A value of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TermValue {
    /// Finite.
    Number(f64),
    /// In lower case.
    Text(String),
}

/// A row of the index, but for the document's name.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The path to the value, with dots.
    pub field: String,
    /// The value.
    pub value: TermValue,
    /// What it is.
    pub kind: Kind,
}

/// What a document is found by: what D1 stores next to it, and which rows that are.
///
/// It is a column of the document for three reasons. What was stored is known exactly when the next version comes,
/// whatever an earlier release made of documents. A condition that no index serves in the order of names (a range, a
/// pattern, a negation) is decided for one document without the rows, which have no index by name: that would double
/// the price of every write. And aggregations find the values of those documents that a query found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// Texts and numbers by field.
    #[serde(rename = "v", default)]
    pub(crate) values: BTreeMap<String, Vec<TermValue>>,
    /// Numbers that texts are.
    #[serde(rename = "n", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) numbers: BTreeMap<String, Vec<TermValue>>,
    /// The words of texts with several.
    #[serde(rename = "w", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) words: BTreeMap<String, Vec<TermValue>>,
    /// Versions, which have no rows.
    #[serde(rename = "a", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) versions: BTreeMap<String, Vec<TermValue>>,
}

/// What becomes of a document's rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Difference {
    /// Rows that go.
    pub delete: Vec<Row>,
    /// Rows that come, or whose kind changes.
    pub insert: Vec<Row>,
}

impl Terms {
    /// Takes a document apart. What exceeds the bounds is left out: whole values, from the end of
    /// [`Document::visit`]; so the same document always has the same terms.
    #[must_use]
    pub fn of(document: &impl Document, limits: &DocumentLimits) -> Self {
        let mut builder = Builder { terms: Self::default(), rows: 0, is_full: false, limits };
        document.visit(&mut |field, part| builder.part(field, part));
        let mut terms = builder.terms;
        // A number and a text that is this number, in one array, are one row, and one value of an aggregation.
        for (field, numbers) in &mut terms.numbers {
            let values = terms.values.get(field);
            numbers.retain(|number| values.is_none_or(|values| !values.contains(number)));
        }
        terms.numbers.retain(|_, numbers| !numbers.is_empty());
        terms
    }

    /// What D1 stores next to the document.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// A stored text. `None` when it is not one.
    #[must_use]
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The rows, in the order of their key.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = BTreeMap::new();
        // A number and the number of a text may be equal, a word and a text, too: the first wins.
        for (section, number_kind, text_kind) in [
            (&self.values, Kind::Number, Kind::Text),
            (&self.numbers, Kind::NumberOfText, Kind::Text),
            (&self.words, Kind::Number, Kind::Word),
        ] {
            for (field, values) in section {
                for value in values {
                    let kind = if matches!(value, TermValue::Number(_)) { number_kind } else { text_kind };
                    rows.entry((field.clone(), Key::of(value))).or_insert_with(|| (value.clone(), kind));
                }
            }
        }
        rows.into_iter().map(|((field, _), (value, kind))| Row { field, value, kind }).collect()
    }

    /// What takes the rows from `self` to `new`.
    #[must_use]
    pub fn difference(&self, new: &Self) -> Difference {
        let key = |row: &Row| (row.field.clone(), Key::of(&row.value));
        let old: BTreeMap<_, _> = self.rows().into_iter().map(|row| (key(&row), row)).collect();
        let new: BTreeMap<_, _> = new.rows().into_iter().map(|row| (key(&row), row)).collect();
        let insert = new.iter().filter(|(key, row)| old.get(key) != Some(row)).map(|(_, row)| row.clone());
        let delete = old.iter().filter(|(key, _)| !new.contains_key(key)).map(|(_, row)| row.clone());
        Difference { delete: delete.collect(), insert: insert.collect() }
    }

    /// Texts and numbers of all fields that a term looks at, or of one field.
    pub(crate) fn looked_at<'a>(&'a self, field: Option<&'a str>) -> impl Iterator<Item = &'a TermValue> {
        let is_meant = move |name: &str| field.map_or_else(|| is_searched_without_field(name), |field| field == name);
        self.values.iter().filter(move |(name, _)| is_meant(name)).flat_map(|(_, values)| values)
    }
}

/// Numbers before texts, as SQLite sorts them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Number(u64),
    Text(String),
}

impl Key {
    fn of(value: &TermValue) -> Self {
        match value {
            // the bits of a double, turned so that they sort like the numbers
            TermValue::Number(number) => {
                let bits = number.to_bits();
                Self::Number(if bits >> 63 == 1 { !bits } else { bits | 1 << 63 })
            }
            TermValue::Text(text) => Self::Text(text.clone()),
        }
    }
}

struct Builder<'a> {
    terms: Terms,
    rows: usize,
    is_full: bool,
    limits: &'a DocumentLimits,
}

impl Builder<'_> {
    fn part(&mut self, field: &str, part: Part<'_>) {
        match part {
            Part::Text(text) => self.text(field, text),
            Part::Number(number) => self.number(field, number),
            Part::Boolean(value) => self.text(field, if value { "true" } else { "false" }),
            Part::Json(value) => self.json(field, value),
            Part::Metadata(value) if self.limits.metadata => self.json(field, value),
            Part::Metadata(_) => {}
            Part::Version(version) if self.is_indexable(field) => {
                self.terms.versions.insert(field.to_owned(), vec![TermValue::Number(approximate(version))]);
            }
            Part::Version(_) => {}
        }
    }

    /// Depth first, in the order of the document, without recursion.
    fn json(&mut self, field: &str, value: &Value) {
        let mut pending = vec![(field.to_owned(), value, 0_usize)];
        while let Some((field, value, depth)) = pending.pop() {
            match value {
                Value::Null => {}
                Value::Bool(value) => self.text(&field, if *value { "true" } else { "false" }),
                Value::Number(number) => {
                    if let Some(number) = number.as_f64() {
                        self.number(&field, number);
                    }
                }
                Value::String(text) => self.text(&field, text),
                Value::Array(_) | Value::Object(_) if depth >= self.limits.nesting || self.is_full => {}
                Value::Array(items) => pending.extend(items.iter().rev().map(|item| (field.clone(), item, depth + 1))),
                Value::Object(members) if field.len() < self.limits.field_length => {
                    pending.extend(members.iter().rev().map(|(name, value)| {
                        // a longer name would only be thrown away, after it was copied for all that is below it
                        let name = if name.len() > self.limits.field_length { "\"" } else { name };
                        (format!("{field}.{name}"), value, depth + 1)
                    }));
                }
                Value::Object(_) => {}
            }
        }
    }

    fn text(&mut self, field: &str, text: &str) {
        let text = normalise(text, self.limits.text_length);
        let number = number(&text);
        let words: BTreeSet<&str> = if text.contains(' ') { text.split(' ').collect() } else { BTreeSet::new() };
        if !self.take(field, 1 + usize::from(number.is_some()) + words.len()) {
            return;
        }
        if let Some(number) = number {
            push(&mut self.terms.numbers, field, TermValue::Number(number));
        }
        for word in words {
            push(&mut self.terms.words, field, TermValue::Text(word.to_owned()));
        }
        push(&mut self.terms.values, field, TermValue::Text(text));
    }

    fn number(&mut self, field: &str, number: f64) {
        if let Some(number) = finite(number)
            && self.take(field, 1)
        {
            push(&mut self.terms.values, field, TermValue::Number(number));
        }
    }

    /// Whether there is room for so many rows more. Once there was none, nothing more is taken: a smaller value that
    /// comes later would make it hard to say what is searchable.
    fn take(&mut self, field: &str, rows: usize) -> bool {
        if self.is_full || !self.is_indexable(field) {
            return false;
        }
        self.rows += rows;
        self.is_full = self.rows > self.limits.terms;
        !self.is_full
    }

    fn is_indexable(&self, field: &str) -> bool {
        field.len() <= self.limits.field_length && is_nameable(field)
    }
}

/// JSON paths of SQLite cannot name a member with a quote, a backslash or a control character: such a field is not
/// searchable.
pub(crate) fn is_nameable(field: &str) -> bool {
    !field.chars().any(|character| matches!(character, '"' | '\\') || character.is_control())
}

fn push(section: &mut BTreeMap<String, Vec<TermValue>>, field: &str, value: TermValue) {
    let values = section.entry(field.to_owned()).or_default();
    if !values.contains(&value) {
        values.push(value);
    }
}
