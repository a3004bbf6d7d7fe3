//! The few forms in which objects use their SQLite database.

use worker::{SqlStorage, SqlStorageValue};

/// Storage failed, or a row is not what this release wrote. The caller refuses the request; nothing was changed.
#[derive(Clone, Debug)]
pub struct StorageError(pub String);

impl From<worker::Error> for StorageError {
    fn from(error: worker::Error) -> Self {
        Self(error.to_string())
    }
}

/// Runs a statement and returns its rows.
pub fn rows(
    sql: &SqlStorage,
    statement: &str,
    bindings: Vec<SqlStorageValue>,
) -> Result<Vec<Vec<SqlStorageValue>>, StorageError> {
    let cursor = sql.exec(statement, bindings)?;
    cursor.raw().map(|row| row.map_err(StorageError::from)).collect()
}

/// Runs a statement that returns nothing.
pub fn run(sql: &SqlStorage, statement: &str, bindings: Vec<SqlStorageValue>) -> Result<(), StorageError> {
    sql.exec(statement, bindings)?;
    Ok(())
}

/// The blob in a row's column.
pub fn blob(row: &[SqlStorageValue], column: usize) -> Result<&[u8], StorageError> {
    match row.get(column) {
        Some(SqlStorageValue::Blob(bytes)) => Ok(bytes),
        _ => Err(StorageError(format!("column {column} is no blob"))),
    }
}

/// The text in a row's column.
pub fn text(row: &[SqlStorageValue], column: usize) -> Result<&str, StorageError> {
    match row.get(column) {
        Some(SqlStorageValue::String(text)) => Ok(text),
        _ => Err(StorageError(format!("column {column} is no text"))),
    }
}

/// The number in a row's column; SQLite integers pass JavaScript exactly up to 2^53.
pub fn number(row: &[SqlStorageValue], column: usize) -> Result<u64, StorageError> {
    match row.get(column) {
        Some(SqlStorageValue::Integer(number)) => {
            u64::try_from(*number).map_err(|_| StorageError(format!("column {column} is negative")))
        }
        _ => Err(StorageError(format!("column {column} is no number"))),
    }
}

/// A number to store. Above 2^53, which no counter here reaches, it saturates rather than lose digits.
pub fn integer(number: u64) -> SqlStorageValue {
    const MAXIMUM: u64 = (1 << 53) - 1;
    SqlStorageValue::Integer(i64::try_from(number.min(MAXIMUM)).unwrap_or(i64::MAX))
}
