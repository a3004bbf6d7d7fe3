//! Statements about what fleet indexing walks through. What it writes and searches is the crate `fleet-index`'s.

use super::{Parameter, Sql, Statement};
use crate::partition::Partition;
use fleet_index::Index;

pub(super) const LIST_THING_NAMES: Sql = Sql {
    name: "LIST_THING_NAMES",
    text: "SELECT thing_name AS name, 0 AS is_left FROM things WHERE thing_name > ?1 ORDER BY thing_name LIMIT ?2",
    parameters: &["after thing_name", "limit"],
    plan: "SEARCH things USING PRIMARY KEY (thing_name>?)",
};

pub(super) const LIST_THING_GROUP_NAMES: Sql = Sql {
    name: "LIST_THING_GROUP_NAMES",
    text: "SELECT thing_group_name AS name, 0 AS is_left FROM thing_groups WHERE thing_group_name > ?1 \
           ORDER BY thing_group_name LIMIT ?2",
    parameters: &["after thing_group_name", "limit"],
    plan: "SEARCH thing_groups USING PRIMARY KEY (thing_group_name>?)",
};

pub(super) const LIST_INDEXED_THINGS: Sql = Sql {
    name: "LIST_INDEXED_THINGS",
    text: "SELECT name, NOT EXISTS (SELECT 1 FROM things WHERE thing_name = d.name) AS is_left \
           FROM thing_index_documents AS d WHERE name > ?1 ORDER BY name LIMIT ?2",
    parameters: &["after name", "limit"],
    plan: "SEARCH d USING COVERING INDEX sqlite_autoindex_thing_index_documents_1 (name>?); \
           CORRELATED SCALAR SUBQUERY 1; \
           SEARCH things USING PRIMARY KEY (thing_name=?)",
};

pub(super) const LIST_INDEXED_THING_GROUPS: Sql = Sql {
    name: "LIST_INDEXED_THING_GROUPS",
    text: "SELECT name, NOT EXISTS (SELECT 1 FROM thing_groups WHERE thing_group_name = d.name) AS is_left \
           FROM thing_group_index_documents AS d WHERE name > ?1 ORDER BY name LIMIT ?2",
    parameters: &["after name", "limit"],
    plan: "SEARCH d USING COVERING INDEX sqlite_autoindex_thing_group_index_documents_1 (name>?); \
           CORRELATED SCALAR SUBQUERY 1; \
           SEARCH thing_groups USING PRIMARY KEY (thing_group_name=?)",
};

/// Reads the next names of what an index is made of: [`NameRow`](crate::indexing::NameRow), up to `limit`.
#[must_use]
pub fn list_registered_names(partition: Partition, index: Index, after: &str, limit: u32) -> Statement {
    let sql = match index {
        Index::Things => LIST_THING_NAMES,
        Index::ThingGroups => LIST_THING_GROUP_NAMES,
    };
    sql.bind(partition, vec![after.into(), Parameter::Integer(limit.into())])
}

/// Reads the next names of what is in an index: [`NameRow`](crate::indexing::NameRow), up to `limit`.
#[must_use]
pub fn list_indexed_names(partition: Partition, index: Index, after: &str, limit: u32) -> Statement {
    let sql = match index {
        Index::Things => LIST_INDEXED_THINGS,
        Index::ThingGroups => LIST_INDEXED_THING_GROUPS,
    };
    sql.bind(partition, vec![after.into(), Parameter::Integer(limit.into())])
}
