//! The Broker's row about what it told its pool.

use crate::storage::{self, SqlStorage, StorageError, blob};
use broker::{Broker, PlacementSettings};
use iot_types::UnixMillis;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS told (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL)";

/// Makes the node one of its region's pool.
pub fn join_pool(
    sql: &SqlStorage,
    settings: PlacementSettings,
    node: &mut Broker,
    now: UnixMillis,
) -> Result<(), StorageError> {
    storage::run(sql, SCHEMA, vec![])?;
    let rows = storage::rows(sql, "SELECT bytes FROM told WHERE id = 0", vec![])?;
    let told = rows.first().map(|row| blob(row, 0)).transpose()?;
    node.join_pool(now, settings, told);
    Ok(())
}

/// Stores what the pool knows, if that has changed: once for each report.
pub fn store_told(sql: &SqlStorage, node: &mut Broker) -> Result<(), StorageError> {
    let Some(told) = node.take_told() else { return Ok(()) };
    storage::run(sql, "INSERT OR REPLACE INTO told (id, bytes) VALUES (0, ?)", vec![told.into()])
}
