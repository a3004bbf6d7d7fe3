//! What D1 is to the workers: the tables in SQLite, with D1's limits.
#![allow(dead_code, reason = "each test file uses its part")]

use fleet_index::{
    Document, DocumentLimits, Estimates, Index, Limits, Parameter, Query, Statement, Stored, Terms, ThingDocument,
    schema,
};
use rusqlite::limits::Limit;
use rusqlite::types::{ToSqlOutput, Value as SqlValue, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};
use serde_json::{Map, Value};

pub struct Database(pub Connection);

pub struct Bound<'a>(pub &'a Parameter);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Parameter::Null => ToSqlOutput::Owned(SqlValue::Null),
            Parameter::Integer(value) => ToSqlOutput::Owned(SqlValue::Integer(*value)),
            Parameter::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
        })
    }
}

impl Database {
    pub fn new() -> Self {
        Self::with(Connection::open_in_memory().unwrap())
    }

    pub fn with(connection: Connection) -> Self {
        connection.execute_batch(schema::THING_TABLES).unwrap();
        connection.execute_batch(schema::THING_GROUP_TABLES).unwrap();
        // https://developers.cloudflare.com/d1/platform/limits/ and workerd's own settings
        for (limit, value) in [
            (Limit::SQLITE_LIMIT_SQL_LENGTH, 100_000),
            (Limit::SQLITE_LIMIT_COLUMN, 100),
            (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
            (Limit::SQLITE_LIMIT_COMPOUND_SELECT, 5),
            (Limit::SQLITE_LIMIT_VDBE_OP, 25_000),
            (Limit::SQLITE_LIMIT_FUNCTION_ARG, 32),
            (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 50),
            (Limit::SQLITE_LIMIT_VARIABLE_NUMBER, 100),
        ] {
            connection.set_limit(limit, value).unwrap();
        }
        Self(connection)
    }

    pub fn run(&self, statement: &Statement) -> usize {
        let mut prepared = self.0.prepare(&statement.sql).unwrap_or_else(|error| panic!("{error}: {}", statement.sql));
        prepared.execute(params_from_iter(statement.parameters.iter().map(Bound))).unwrap()
    }

    /// A batch, and how many rows its last statement changed.
    pub fn batch(&self, statements: &[Statement]) -> usize {
        self.0.execute_batch("BEGIN").unwrap();
        let changed = statements.iter().map(|statement| self.run(statement)).last();
        self.0.execute_batch("COMMIT").unwrap();
        changed.unwrap()
    }

    pub fn rows(&self, statement: &Statement) -> Vec<Map<String, Value>> {
        let mut prepared = self.0.prepare(&statement.sql).unwrap_or_else(|error| panic!("{error}: {}", statement.sql));
        let names: Vec<String> = prepared.column_names().into_iter().map(str::to_owned).collect();
        let mut rows = prepared.query(params_from_iter(statement.parameters.iter().map(Bound))).unwrap();
        let mut found = Vec::new();
        while let Some(row) = rows.next().unwrap_or_else(|error| panic!("{error}: {}", statement.sql)) {
            let value = |n| match row.get_ref(n).unwrap() {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(value) => value.into(),
                ValueRef::Real(value) => value.into(),
                ValueRef::Text(text) => std::str::from_utf8(text).unwrap().into(),
                ValueRef::Blob(bytes) => bytes.to_vec().into(),
            };
            found.push(names.iter().enumerate().map(|(n, name)| (name.clone(), value(n))).collect());
        }
        found
    }

    pub fn plan(&self, statement: &Statement) -> String {
        let mut explain = self.0.prepare(&format!("EXPLAIN QUERY PLAN {}", statement.sql)).unwrap();
        let rows =
            explain.query_map(params_from_iter(statement.parameters.iter().map(Bound)), |row| row.get(3)).unwrap();
        rows.map(Result::<String, _>::unwrap).collect::<Vec<_>>().join("; ")
    }

    pub fn stored(&self, index: Index, name: &str) -> Stored {
        let Some(row) = self.rows(&schema::read(index, name)).pop() else { return Stored::default() };
        let terms = Terms::from_json(row["terms"].as_str().unwrap()).unwrap();
        Stored { revision: row["revision"].as_u64(), terms }
    }

    pub fn put(&self, document: &ThingDocument) {
        let stored = self.stored(Index::Things, document.name());
        let terms = Terms::of(document, &DocumentLimits::STANDARD);
        let statements = schema::write(Index::Things, document.name(), &document.to_json(), &stored, &terms);
        assert_eq!(self.batch(&statements), 1);
    }

    pub fn remove(&self, name: &str) {
        let stored = self.stored(Index::Things, name);
        assert_eq!(self.batch(&schema::remove(Index::Things, name, &stored)), 1);
    }

    pub fn estimates(&self, query: &Query) -> Estimates {
        let Some(statement) = fleet_index::estimate(Index::Things, query) else { return Estimates::default() };
        let row = self.rows(&statement).pop().unwrap();
        let count = |n| u32::try_from(row[&format!("t{n}")].as_u64().unwrap()).unwrap();
        Estimates::new((0..query.terms()).map(count).collect())
    }

    /// All pages of a search.
    pub fn search(&self, query: &Query, estimates: &Estimates, page: u32) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        loop {
            let after = found.last().cloned().unwrap_or_default();
            let rows = self.rows(&fleet_index::search(Index::Things, query, estimates, &after, page));
            let is_last = rows.len() < page as usize;
            found.extend(rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()));
            if is_last {
                return found;
            }
        }
    }
}

pub fn parse(text: &str) -> Query {
    Query::parse(text, &Limits::STANDARD).unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub fn thing(name: &str, members: Value) -> ThingDocument {
    let mut document = members;
    document["thingName"] = name.into();
    serde_json::from_value(document).unwrap()
}
