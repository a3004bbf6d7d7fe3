//! The Broker's rows about policies: what a node that wakes up needs to know what its clients may do.

use crate::storage::{self, SqlStorage, StorageError, blob, integer, number};
use broker::Broker;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS policies (number INTEGER PRIMARY KEY, bytes BLOB NOT NULL)";

/// Gives the node the policies that its sleeping connections have.
pub fn restore(sql: &SqlStorage, node: &mut Broker) -> Result<(), StorageError> {
    storage::run(sql, SCHEMA, vec![])?;
    let rows = storage::rows(sql, "SELECT number, bytes FROM policies ORDER BY number", vec![])?;
    let stored = rows.iter().map(|row| Ok((number(row, 0)?, blob(row, 1)?.to_vec())));
    node.restore_policies(stored.collect::<Result<_, StorageError>>()?);
    Ok(())
}

/// Forgets all: nobody has slept.
pub fn clear(sql: &SqlStorage) -> Result<(), StorageError> {
    storage::run(sql, SCHEMA, vec![])?;
    storage::run(sql, "DELETE FROM policies", vec![])
}

/// Keeps a set of policies.
pub fn save(sql: &SqlStorage, number: u64, bytes: Vec<u8>) -> Result<(), StorageError> {
    let statement = "INSERT OR REPLACE INTO policies (number, bytes) VALUES (?, ?)";
    storage::run(sql, statement, vec![integer(number), bytes.into()])
}

/// Forgets a set of policies.
pub fn forget(sql: &SqlStorage, number: u64) -> Result<(), StorageError> {
    storage::run(sql, "DELETE FROM policies WHERE number = ?", vec![integer(number)])
}
