//! Statements about the control log, the deployment and its virtual shards.

use super::{Sql, Statement};
use crate::control::{ControlChange, ShardKind};
use crate::partition::Partition;

/// The number is one more than the head. A D1 database runs one statement at a time, so no two rows get the same. The
/// newest row must never be deleted, or its number would be given again.
pub(super) const APPEND_CONTROL_LOG: Sql = Sql {
    name: "APPEND_CONTROL_LOG",
    text: "INSERT INTO control_log (partition, sequence, kind, subject, at) \
           SELECT ?1, COALESCE(MAX(sequence), 0) + 1, ?2, ?3, ?4 FROM control_log WHERE partition = ?1",
    parameters: &["partition", "kind", "subject", "at"],
    plan: "SEARCH control_log USING PRIMARY KEY (partition=?)",
};

pub(super) const CONTROL_HEAD: Sql = Sql {
    name: "CONTROL_HEAD",
    text: "SELECT COALESCE(MAX(sequence), 0) AS sequence FROM control_log WHERE partition = ?1",
    parameters: &["partition"],
    plan: "SEARCH control_log USING PRIMARY KEY (partition=?)",
};

pub(super) const CONTROL_LOG_AFTER: Sql = Sql {
    name: "CONTROL_LOG_AFTER",
    text: "SELECT sequence, kind, subject, at FROM control_log WHERE partition = ?1 AND sequence > ?2 \
           ORDER BY sequence LIMIT ?3",
    parameters: &["partition", "after sequence", "limit"],
    plan: "SEARCH control_log USING PRIMARY KEY (partition=? AND sequence>?)",
};

pub(super) const PUT_DEPLOYMENT_VALUE: Sql = Sql {
    name: "PUT_DEPLOYMENT_VALUE",
    text: "INSERT INTO deployment (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    parameters: &["key", "value"],
    plan: "",
};

pub(super) const PUT_VIRTUAL_SHARD: Sql = Sql {
    name: "PUT_VIRTUAL_SHARD",
    text: "INSERT INTO virtual_shards (kind, shard, object) VALUES (?1, ?2, ?3) \
           ON CONFLICT (kind, shard) DO UPDATE SET object = excluded.object",
    parameters: &["kind", "shard", "object"],
    plan: "",
};

/// The whole table, which has 2 048 rows at most.
pub(super) const SELECT_VIRTUAL_SHARDS: Sql = Sql {
    name: "SELECT_VIRTUAL_SHARDS",
    text: "SELECT kind, shard, object FROM virtual_shards ORDER BY kind, shard",
    parameters: &[],
    plan: "SCAN virtual_shards",
};

/// The whole table, which has a handful of rows.
pub(super) const SELECT_DEPLOYMENT: Sql = Sql {
    name: "SELECT_DEPLOYMENT",
    text: "SELECT key, value FROM deployment ORDER BY key",
    parameters: &[],
    plan: "SCAN deployment",
};

/// Logs a change. It goes into the batch that makes the change.
#[must_use]
pub fn append_control_log(partition: Partition, change: &ControlChange) -> Statement {
    let parameters = vec![
        u64::from(partition.index()).into(),
        change.kind.as_str().into(),
        change.subject.as_str().into(),
        change.at.into(),
    ];
    APPEND_CONTROL_LOG.bind(partition, parameters)
}

/// Reads the newest number of the log: one [`ControlHead`](crate::control::ControlHead).
#[must_use]
pub fn control_head(partition: Partition) -> Statement {
    CONTROL_HEAD.bind(partition, vec![u64::from(partition.index()).into()])
}

/// Reads what was logged after `sequence`, oldest first: [`ControlRow`](crate::control::ControlRow), up to `limit`.
#[must_use]
pub fn control_log_after(partition: Partition, sequence: u64, limit: u32) -> Statement {
    let parameters = vec![u64::from(partition.index()).into(), sequence.into(), u64::from(limit).into()];
    CONTROL_LOG_AFTER.bind(partition, parameters)
}

/// Writes a fact about the deployment.
#[must_use]
pub fn put_deployment_value(partition: Partition, key: &str, value: &str) -> Statement {
    PUT_DEPLOYMENT_VALUE.bind(partition, vec![key.into(), value.into()])
}

/// Notes which object has a virtual shard.
#[must_use]
pub fn put_virtual_shard(partition: Partition, kind: ShardKind, shard: u16, object: u32) -> Statement {
    let parameters = vec![kind.as_str().into(), u64::from(shard).into(), u64::from(object).into()];
    PUT_VIRTUAL_SHARD.bind(partition, parameters)
}

/// Reads which virtual shards are elsewhere than in the beginning: [`VirtualShardRow`](crate::control::VirtualShardRow).
#[must_use]
pub fn select_virtual_shards(partition: Partition) -> Statement {
    SELECT_VIRTUAL_SHARDS.bind(partition, Vec::new())
}

/// Reads all facts about the deployment: [`DeploymentRow`](crate::control::DeploymentRow).
#[must_use]
pub fn select_deployment(partition: Partition) -> Statement {
    SELECT_DEPLOYMENT.bind(partition, Vec::new())
}
