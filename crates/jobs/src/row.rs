//! The stored form of a row: `{"v":1,"row":{…}}`. A new field takes `#[serde(default)]`; a changed meaning a new `v`.

use crate::JobError;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u32,
    row: T,
}

/// Reads only the version, so that a row of a newer deployment is named as such instead of failing on a field.
#[derive(Deserialize)]
struct Version {
    v: u32,
}

pub(crate) fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    // Rows hold strings, numbers and maps with string keys: serde_json has no error for these.
    serde_json::to_vec(&Versioned { v: VERSION, row }).unwrap_or_default()
}

pub(crate) fn decode<T: DeserializeOwned>(stored: &[u8]) -> Result<T, JobError> {
    let corrupt = |error: serde_json::Error| JobError::CorruptRow(error.to_string());
    let Version { v } = serde_json::from_slice(stored).map_err(corrupt)?;
    if v != VERSION {
        return Err(JobError::CorruptRow(format!("version {v}, expected {VERSION}")));
    }
    serde_json::from_slice::<Versioned<T>>(stored).map(|versioned| versioned.row).map_err(corrupt)
}
