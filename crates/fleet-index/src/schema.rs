//! The tables, for a migration of D1, and the statements that write them.
//!
//! A row of `…_terms` says that a document has a value at a field. `value` is an `ANY`: numbers sort before texts, so one
//! key in the order (field, value, name) serves equalities, ranges of numbers, ranges of texts and prefixes, and gives the
//! names of an equality in the order of pages. **There is no second index**: a value costs one billed row when it comes
//! and one when it goes (two if it is a string that is a number). A by-name index, or one of texts and one of numbers,
//! would make that two or three; see the measurements in the crate's documentation.
//!
//! The documents have row ids: without them, SQLite keeps at most a quarter of a page in the tree and gives the rest of
//! each document a page of its own, 4.7 KB for each thing of the measurements instead of 2.1. The index of the names that
//! this costs is one row more when a document comes and when it goes, none when it changes.
//!
//! The rows of a thing live in the partition of the thing. Numbers are bound as text and converted by SQLite on all
//! paths, so that it is the same conversion that made the stored number.

use crate::statement::{Parameter, Statement};
use crate::terms::{Row, TermValue, Terms};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The tables of the index `AWS_Things`.
pub const THING_TABLES: &str = "\
CREATE TABLE IF NOT EXISTS thing_index_documents (
    name TEXT PRIMARY KEY NOT NULL,
    revision INTEGER NOT NULL,
    document TEXT NOT NULL,
    terms TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS thing_index_terms (
    field TEXT NOT NULL,
    value ANY NOT NULL,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    PRIMARY KEY (field, value, name)
) STRICT, WITHOUT ROWID;
";

/// The tables of the index `AWS_ThingGroups`.
pub const THING_GROUP_TABLES: &str = "\
CREATE TABLE IF NOT EXISTS thing_group_index_documents (
    name TEXT PRIMARY KEY NOT NULL,
    revision INTEGER NOT NULL,
    document TEXT NOT NULL,
    terms TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS thing_group_index_terms (
    field TEXT NOT NULL,
    value ANY NOT NULL,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    PRIMARY KEY (field, value, name)
) STRICT, WITHOUT ROWID;
";

/// One of AWS's two indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Index {
    /// `AWS_Things`.
    #[serde(rename = "AWS_Things")]
    Things,
    /// `AWS_ThingGroups`.
    #[serde(rename = "AWS_ThingGroups")]
    ThingGroups,
}

impl Index {
    /// The index of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Things, Self::ThingGroups].into_iter().find(|index| index.name() == name)
    }

    /// AWS's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Things => "AWS_Things",
            Self::ThingGroups => "AWS_ThingGroups",
        }
    }

    /// The field that each document has once.
    pub(crate) const fn name_field(self) -> &'static str {
        match self {
            Self::Things => "thingName",
            Self::ThingGroups => "thingGroupName",
        }
    }

    pub(crate) const fn documents(self) -> &'static str {
        match self {
            Self::Things => "thing_index_documents",
            Self::ThingGroups => "thing_group_index_documents",
        }
    }

    pub(crate) const fn terms(self) -> &'static str {
        match self {
            Self::Things => "thing_index_terms",
            Self::ThingGroups => "thing_group_index_terms",
        }
    }
}

/// What is stored of a document.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stored {
    /// Counts its writes; `None` when there is none.
    pub revision: Option<u64>,
    /// What it is found by.
    pub terms: Terms,
}

/// Reads what [`write()`] needs: `revision`, `document` and `terms` of one document.
#[must_use]
pub fn read(index: Index, name: &str) -> Statement {
    let sql = format!("SELECT revision, document, terms FROM {} WHERE name = ?1", index.documents());
    Statement { sql, parameters: vec![name.into()] }
}

/// Puts a document into the index, in one batch (one transaction). Of the rows only those are written that change. If
/// what is stored is not `stored` any more, nothing is written, and the last statement changes 0 rows: read again.
#[must_use]
pub fn write(index: Index, name: &str, document: &str, stored: &Stored, terms: &Terms) -> Vec<Statement> {
    let mut statements = change_rows(index, name, stored, terms);
    let sql = match stored.revision {
        // a document that came meanwhile stays
        None => format!(
            "INSERT INTO {} (name, revision, document, terms) SELECT ?1, 1, ?3, ?4 WHERE ?2 IS NULL \
             ON CONFLICT (name) DO NOTHING",
            index.documents()
        ),
        Some(_) => format!(
            "UPDATE {} SET revision = revision + 1, document = ?3, terms = ?4 WHERE name = ?1 AND revision = ?2",
            index.documents()
        ),
    };
    let parameters = vec![name.into(), stored.revision.into(), document.into(), terms.to_json().into()];
    statements.push(Statement { sql, parameters });
    statements
}

/// Takes a document out of the index, as [`write()`] does.
#[must_use]
pub fn remove(index: Index, name: &str, stored: &Stored) -> Vec<Statement> {
    let mut statements = change_rows(index, name, stored, &Terms::default());
    let sql = format!("DELETE FROM {} WHERE name = ?1 AND revision = ?2", index.documents());
    statements.push(Statement { sql, parameters: vec![name.into(), stored.revision.into()] });
    statements
}

/// The rows travel as JSON, so that any number of them is one statement with three parameters.
fn change_rows(index: Index, name: &str, stored: &Stored, terms: &Terms) -> Vec<Statement> {
    let difference = stored.terms.difference(terms);
    let guard = format!("(SELECT revision FROM {} WHERE name = ?1) IS ?2", index.documents());
    let mut statements = Vec::new();
    if !difference.delete.is_empty() {
        let sql = format!(
            "DELETE FROM {} WHERE {guard} AND (field, value, name) IN \
             (SELECT value ->> 0, value ->> 1, ?1 FROM json_each(?3))",
            index.terms()
        );
        statements.push(Statement { sql, parameters: parameters(name, stored, &difference.delete) });
    }
    if !difference.insert.is_empty() {
        let sql = format!(
            "INSERT INTO {} (field, value, name, kind) SELECT value ->> 0, value ->> 1, ?1, value ->> 2 \
             FROM json_each(?3) WHERE {guard} ON CONFLICT (field, value, name) DO UPDATE SET kind = excluded.kind",
            index.terms()
        );
        statements.push(Statement { sql, parameters: parameters(name, stored, &difference.insert) });
    }
    statements
}

fn parameters(name: &str, stored: &Stored, rows: &[Row]) -> Vec<Parameter> {
    let row = |row: &Row| match &row.value {
        TermValue::Number(number) => json!([row.field, number, row.kind as i64]),
        TermValue::Text(text) => json!([row.field, text, row.kind as i64]),
    };
    let rows = Value::Array(rows.iter().map(row).collect());
    vec![name.into(), stored.revision.into(), rows.to_string().into()]
}
