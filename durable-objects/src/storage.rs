//! The few forms in which objects use their SQLite database.

use crate::host::Host;
use js_sys::Array;
use wasm_bindgen::JsValue;
use worker::SqlStorageValue;

/// Storage failed, or a row is not what this release wrote. The caller refuses the request; nothing was changed.
#[derive(Clone, Debug)]
pub struct StorageError(pub String);

impl From<JsValue> for StorageError {
    fn from(error: JsValue) -> Self {
        Self(format!("{error:?}"))
    }
}

/// The SQLite database of an object.
#[derive(Clone)]
pub struct SqlStorage {
    host: Host,
}

impl SqlStorage {
    /// The database of the object that has this host.
    #[must_use]
    pub fn of(host: &Host) -> Self {
        Self { host: host.clone() }
    }

    /// How large it is, in bytes.
    #[must_use]
    pub fn database_size(&self) -> f64 {
        self.host.database_size()
    }
}

/// A row.
pub type Row = Vec<SqlStorageValue>;

/// Runs a statement and returns its rows.
///
/// # Errors
/// When the database refuses it.
pub fn rows(sql: &SqlStorage, statement: &str, bindings: Vec<SqlStorageValue>) -> Result<Vec<Row>, StorageError> {
    Ok(rows_within(sql, statement, bindings, u64::MAX)?.0)
}

/// The same, but stops with the row that makes it `limit` bytes or more; whether there may be further rows.
///
/// # Errors
/// When the database refuses the statement.
pub fn rows_within(
    sql: &SqlStorage,
    statement: &str,
    bindings: Vec<SqlStorageValue>,
    limit: u64,
) -> Result<(Vec<Row>, bool), StorageError> {
    let packed = sql.host.rows(statement, bound(bindings), limit as f64)?;
    unpack(&packed).ok_or_else(|| StorageError("rows that are no rows".into()))
}

/// Runs a statement that returns nothing.
///
/// # Errors
/// When the database refuses it.
pub fn run(sql: &SqlStorage, statement: &str, bindings: Vec<SqlStorageValue>) -> Result<(), StorageError> {
    Ok(sql.host.run(statement, bound(bindings))?)
}

fn bound(bindings: Vec<SqlStorageValue>) -> Array {
    bindings.into_iter().map(JsValue::from).collect()
}

/// What `workers/entry/rows.js` has packed.
fn unpack(mut packed: &[u8]) -> Option<(Vec<Row>, bool)> {
    let (mut rows, mut row) = (Vec::new(), Vec::new());
    while let Some((tag, rest)) = packed.split_first() {
        packed = match tag {
            0 => {
                row.push(SqlStorageValue::Null);
                rest
            }
            1 => {
                let (number, rest) = rest.split_first_chunk()?;
                row.push(number_value(f64::from_le_bytes(*number)));
                rest
            }
            2 | 3 => {
                let (length, rest) = rest.split_first_chunk()?;
                let (bytes, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
                row.push(if *tag == 2 {
                    SqlStorageValue::String(String::from_utf8(bytes.to_vec()).ok()?)
                } else {
                    SqlStorageValue::Blob(bytes.to_vec())
                });
                rest
            }
            4 => {
                let columns = row.len();
                rows.push(core::mem::replace(&mut row, Vec::with_capacity(columns)));
                rest
            }
            5 if rest.is_empty() => return Some((rows, true)),
            _ => return None,
        };
    }
    row.is_empty().then_some((rows, false))
}

/// An integer, if it is one that JavaScript keeps exactly.
#[allow(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
fn number_value(number: f64) -> SqlStorageValue {
    const LARGEST: f64 = 9_007_199_254_740_991.0;
    if number.fract() == 0.0 && number.abs() <= LARGEST {
        SqlStorageValue::Integer(number as i64)
    } else {
        SqlStorageValue::Float(number)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use js_sys::{ArrayBuffer, Number, Uint8Array};
    use wasm_bindgen::{JsCast as _, JsValue};
    use wasm_bindgen_test::wasm_bindgen_test;

    const LARGEST: u64 = (1 << 53) - 1;

    /// What the storage would give back for what it was given.
    fn through_javascript(value: SqlStorageValue) -> SqlStorageValue {
        SqlStorageValue::try_from(JsValue::from(value)).unwrap()
    }

    /// What `workers/entry/rows.js` makes of rows.
    fn packed(rows: &[&[SqlStorageValue]]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for row in rows {
            for value in *row {
                match value {
                    SqlStorageValue::Null => bytes.push(0),
                    SqlStorageValue::Integer(number) => {
                        bytes.push(1);
                        bytes.extend((*number as f64).to_le_bytes());
                    }
                    SqlStorageValue::Float(number) => {
                        bytes.push(1);
                        bytes.extend(number.to_le_bytes());
                    }
                    SqlStorageValue::String(text) => {
                        bytes.push(2);
                        bytes.extend((text.len() as u32).to_le_bytes());
                        bytes.extend(text.as_bytes());
                    }
                    SqlStorageValue::Blob(blob) => {
                        bytes.push(3);
                        bytes.extend((blob.len() as u32).to_le_bytes());
                        bytes.extend(blob);
                    }
                    SqlStorageValue::Boolean(_) => panic!("SQLite has none"),
                }
            }
            bytes.push(4);
        }
        bytes
    }

    #[wasm_bindgen_test]
    fn packed_rows_are_read_as_they_were() {
        let first = [SqlStorageValue::Null, SqlStorageValue::Integer(-7), SqlStorageValue::Float(0.5)];
        let second = ["Grüße".into(), vec![0, 4, 5].into(), SqlStorageValue::Integer(LARGEST as i64)];
        let mut bytes = packed(&[&first, &second, &[]]);
        let expected = vec![first.to_vec(), second.to_vec(), Vec::new()];
        assert_eq!(unpack(&bytes), Some((expected.clone(), false)));
        bytes.push(5);
        assert_eq!(unpack(&bytes), Some((expected, true)), "there may be more");
        assert_eq!(unpack(&[]), Some((Vec::new(), false)));
    }

    #[wasm_bindgen_test]
    fn bytes_that_are_no_rows_are_told() {
        let whole = packed(&[&["text".into(), vec![1, 2].into(), integer(3)]]);
        for length in 1..whole.len() {
            assert_eq!(unpack(&whole[..length]), None, "cut after {length}");
        }
        for bytes in [&[6][..], &[5, 4], &[2, 1, 0, 0, 0, 0xff, 4]] {
            assert_eq!(unpack(bytes), None, "{bytes:?}");
        }
    }

    #[wasm_bindgen_test]
    fn numbers_up_to_2_to_the_53_come_back_as_they_were() {
        for value in [0, 1, u64::from(u32::MAX), u64::from(u32::MAX) + 1, LARGEST - 1, LARGEST] {
            assert_eq!(number(&[through_javascript(integer(value))], 0).unwrap(), value);
        }
    }

    #[wasm_bindgen_test]
    fn larger_numbers_saturate_rather_than_change() {
        for value in [LARGEST + 1, LARGEST + 2, u64::MAX] {
            let given = JsValue::from(integer(value));
            assert!(Number::is_safe_integer(&given));
            assert_eq!(given.as_f64(), Some(9_007_199_254_740_991.0));
        }
    }

    #[wasm_bindgen_test]
    fn what_is_no_count_is_not_read_as_one() {
        // 2^53, a fraction, a negative number, a text of digits, nothing
        for value in [JsValue::from(9_007_199_254_740_992.0), 0.5.into(), (-1).into(), "1".into(), JsValue::NULL] {
            let read = SqlStorageValue::try_from(value.clone()).unwrap();
            assert!(number(&[read], 0).is_err(), "{value:?}");
        }
        assert!(number(&[], 0).is_err());
    }

    #[wasm_bindgen_test]
    fn every_byte_survives_the_way_through_javascript() {
        let bytes: Vec<u8> = (0..=255).collect();
        let value: SqlStorageValue = bytes.clone().into();
        assert_eq!(blob(&[through_javascript(value)], 0).unwrap(), bytes);
        assert_eq!(blob(&[through_javascript(Vec::new().into())], 0).unwrap(), b"");
        // the storage answers with these, though it takes the others
        let buffer: JsValue = Uint8Array::from(bytes.as_slice()).buffer().into();
        assert_eq!(blob(&[SqlStorageValue::try_from(buffer).unwrap()], 0).unwrap(), bytes);
    }

    #[wasm_bindgen_test]
    fn a_blob_is_copied_out_of_the_modules_memory() {
        let given: Uint8Array = JsValue::from(SqlStorageValue::from(vec![1, 2, 3])).unchecked_into();
        let memory: ArrayBuffer =
            wasm_bindgen::memory().unchecked_into::<js_sys::WebAssembly::Memory>().buffer().into();
        assert!(!js_sys::Object::is(&given.buffer(), &memory));
    }

    #[wasm_bindgen_test]
    fn texts_outside_of_ascii_come_back_as_they_were() {
        for value in ["", "Grüße", "\u{1F321} 21 °C", "\u{0}"] {
            assert_eq!(text(&[through_javascript(value.into())], 0).unwrap(), value);
        }
        assert!(text(&[through_javascript(integer(1))], 0).is_err());
    }
}
