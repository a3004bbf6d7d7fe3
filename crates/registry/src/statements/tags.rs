//! Statements about tags.

use super::{Parameter, Sql, Statement, page_limit};
use crate::page::Page;
use crate::partition::Partition;
use crate::tag::Tags;
use serde_json::json;

/// A resource has no more tags than a setting says, whoever adds some at the same time.
pub(super) const PUT_TAGS: Sql = Sql {
    name: "PUT_TAGS",
    text: "INSERT INTO tags (resource_arn, key, value) SELECT ?1, t.key, t.value FROM json_each(?2) AS t \
           WHERE (SELECT COUNT(*) FROM tags WHERE resource_arn = ?1 \
           AND key NOT IN (SELECT n.key FROM json_each(?2) AS n)) + json_array_length(?4) <= ?3 \
           ON CONFLICT (resource_arn, key) DO UPDATE SET value = excluded.value",
    parameters: &["resource_arn", "tags, a JSON object", "limit", "keys, a JSON array"],
    plan: "SCAN t VIRTUAL TABLE INDEX 1:; \
           SCALAR SUBQUERY 2; \
           SEARCH tags USING PRIMARY KEY (resource_arn=?); \
           LIST SUBQUERY 1; \
           SCAN n VIRTUAL TABLE INDEX 1:; \
           CREATE BLOOM FILTER",
};

pub(super) const DELETE_TAGS: Sql = Sql {
    name: "DELETE_TAGS",
    text: "DELETE FROM tags WHERE resource_arn = ?1 AND key IN (SELECT value FROM json_each(?2))",
    parameters: &["resource_arn", "keys, a JSON array"],
    plan: "SEARCH tags USING PRIMARY KEY (resource_arn=? AND key=?); \
           LIST SUBQUERY 1; \
           SCAN json_each VIRTUAL TABLE INDEX 1:; \
           CREATE BLOOM FILTER",
};

pub(super) const DELETE_ALL_TAGS: Sql = Sql {
    name: "DELETE_ALL_TAGS",
    text: "DELETE FROM tags WHERE resource_arn = ?1",
    parameters: &["resource_arn"],
    plan: "SEARCH tags USING PRIMARY KEY (resource_arn=?)",
};

pub(super) const LIST_TAGS: Sql = Sql {
    name: "LIST_TAGS",
    text: "SELECT key, value FROM tags WHERE resource_arn = ?1 AND key > ?2 ORDER BY key LIMIT ?3",
    parameters: &["resource_arn", "after key", "limit"],
    plan: "SEARCH tags USING PRIMARY KEY (resource_arn=? AND key>?)",
};

/// Adds tags or changes their values, unless there would be more than `limit`: then it changes 0 rows.
#[must_use]
pub fn put_tags(partition: Partition, resource_arn: &str, tags: &Tags, limit: u32) -> Statement {
    let keys: Vec<&String> = tags.0.keys().collect();
    let parameters = vec![
        resource_arn.into(),
        Parameter::Text(json!(tags.0).to_string()),
        Parameter::Integer(limit.into()),
        Parameter::Text(json!(keys).to_string()),
    ];
    PUT_TAGS.bind(partition, parameters)
}

/// Removes tags.
#[must_use]
pub fn delete_tags(partition: Partition, resource_arn: &str, keys: &[String]) -> Statement {
    DELETE_TAGS.bind(partition, vec![resource_arn.into(), Parameter::Text(json!(keys).to_string())])
}

/// Removes all tags of a resource, with the resource.
#[must_use]
pub fn delete_all_tags(partition: Partition, resource_arn: &str) -> Statement {
    DELETE_ALL_TAGS.bind(partition, vec![resource_arn.into()])
}

/// Reads a page of a resource's tags: [`TagRow`](crate::tag::TagRow), up to one more than the page.
#[must_use]
pub fn list_tags(partition: Partition, resource_arn: &str, page: &Page) -> Statement {
    LIST_TAGS.bind(partition, vec![resource_arn.into(), page.after.as_str().into(), page_limit(page.size)])
}
