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
