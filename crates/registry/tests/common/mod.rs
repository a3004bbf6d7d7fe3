//! What D1 is to the workers: the migrations in SQLite.

#![allow(dead_code, reason = "each test file uses its part")]

use iot_types::{AccountId, Region, Scope, UnixMillis};
use registry::Partition;
use registry::statements::{Parameter, Statement};
use rusqlite::types::{ToSqlOutput, Value as SqlValue, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub const P: Partition = Partition::FIRST;
pub const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

pub fn migrations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations")
}

/// The migrations in the order in which wrangler applies them.
pub fn migration_files() -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(migrations())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    files.sort();
    files
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

struct Bound<'a>(&'a Parameter);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Parameter::Null => ToSqlOutput::Owned(SqlValue::Null),
            Parameter::Integer(value) => ToSqlOutput::Owned(SqlValue::Integer(*value)),
            Parameter::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Parameter::Blob(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}

/// What D1 is to the workers: statements in, changed rows or rows as JSON out.
pub struct Database(pub Connection);

impl Database {
    pub fn new() -> Self {
        let connection = Connection::open_in_memory().unwrap();
        for file in migration_files() {
            connection.execute_batch(&read(&file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
        Self(connection)
    }

    pub fn run(&self, statement: &Statement) -> u64 {
        let changed =
            self.0.prepare(&statement.sql).unwrap().execute(params_from_iter(statement.parameters.iter().map(Bound)));
        u64::try_from(changed.unwrap()).unwrap()
    }

    pub fn rows<T: DeserializeOwned>(&self, statement: &Statement) -> Vec<T> {
        let mut prepared = self.0.prepare(&statement.sql).unwrap();
        let names: Vec<String> = prepared.column_names().into_iter().map(str::to_owned).collect();
        let mut rows = prepared.query(params_from_iter(statement.parameters.iter().map(Bound))).unwrap();
        let mut found = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            let mut object = Map::new();
            for (n, name) in names.iter().enumerate() {
                let value = match row.get_ref(n).unwrap() {
                    ValueRef::Null => Value::Null,
                    ValueRef::Integer(value) => value.into(),
                    ValueRef::Real(value) => value.into(),
                    ValueRef::Text(text) => std::str::from_utf8(text).unwrap().into(),
                    ValueRef::Blob(bytes) => bytes.to_vec().into(),
                };
                object.insert(name.clone(), value);
            }
            found.push(serde_json::from_value(Value::Object(object)).unwrap());
        }
        found
    }

    /// The schema without comments, and with blanks where there are any.
    pub fn schema(&self) -> BTreeMap<String, String> {
        let mut statement =
            self.0.prepare("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?))).unwrap();
        rows.map(|row| row.map(|(name, text)| (name, text.split_whitespace().collect::<Vec<_>>().join(" "))).unwrap())
            .collect()
    }
}

pub fn scope() -> Scope {
    Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() }
}
