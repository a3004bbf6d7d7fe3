//! Statements about the control log and the values fixed at the first deploy.

use super::{Sql, Statement};
use crate::control::ControlChange;
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

/// The first writer decides: a later deploy reads what it must live with.
pub(super) const FIX_DEPLOYMENT_VALUE: Sql = Sql {
    name: "FIX_DEPLOYMENT_VALUE",
    text: "INSERT INTO deployment (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING",
    parameters: &["key", "value"],
    plan: "",
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

/// Fixes a value unless it is fixed already. Follow it with [`select_deployment`] in the same batch, and use what that
/// says.
#[must_use]
pub fn fix_deployment_value(partition: Partition, key: &str, value: &str) -> Statement {
    FIX_DEPLOYMENT_VALUE.bind(partition, vec![key.into(), value.into()])
}

/// Reads all fixed values: [`DeploymentRow`](crate::control::DeploymentRow).
#[must_use]
pub fn select_deployment(partition: Partition) -> Statement {
    SELECT_DEPLOYMENT.bind(partition, Vec::new())
}
