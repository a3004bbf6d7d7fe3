//! Statements about resources that are documents.

use super::{Parameter, Sql, Statement, page_limit};
use crate::page::Page;
use crate::partition::Partition;
use crate::resource::{Resource, ResourceKind, to_text};
use iot_types::UnixMillis;
use serde::Serialize;
use serde_json::json;

pub(super) const INSERT_RESOURCE: Sql = Sql {
    name: "INSERT_RESOURCE",
    text: "INSERT INTO resources (kind, name, version, document, created_at, last_modified_at) \
           VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (kind, name) DO NOTHING",
    parameters: &["kind", "name", "version", "document", "created_at", "last_modified_at"],
    plan: "",
};

pub(super) const PUT_RESOURCE: Sql = Sql {
    name: "PUT_RESOURCE",
    text: "INSERT INTO resources (kind, name, version, document, created_at, last_modified_at) \
           VALUES (?1, ?2, 1, ?3, ?4, ?4) ON CONFLICT (kind, name) DO UPDATE SET version = version + 1, \
           document = excluded.document, last_modified_at = excluded.last_modified_at",
    parameters: &["kind", "name", "document", "now"],
    plan: "",
};

pub(super) const SELECT_RESOURCE: Sql = Sql {
    name: "SELECT_RESOURCE",
    text: "SELECT name, version, document, created_at, last_modified_at FROM resources WHERE kind = ?1 AND name = ?2",
    parameters: &["kind", "name"],
    plan: "SEARCH resources USING PRIMARY KEY (kind=? AND name=?)",
};

pub(super) const SELECT_RESOURCES: Sql = Sql {
    name: "SELECT_RESOURCES",
    text: "SELECT r.name, r.version, r.document, r.created_at, r.last_modified_at FROM json_each(?2) AS n \
           CROSS JOIN resources AS r ON r.kind = ?1 AND r.name = n.value",
    parameters: &["kind", "names, a JSON array"],
    plan: "SCAN n VIRTUAL TABLE INDEX 1:; \
           SEARCH r USING PRIMARY KEY (kind=? AND name=?)",
};

pub(super) const UPDATE_RESOURCE: Sql = Sql {
    name: "UPDATE_RESOURCE",
    text: "UPDATE resources SET version = ?4, document = ?5, last_modified_at = ?6 \
           WHERE kind = ?1 AND name = ?2 AND version = ?3 AND created_at = ?7",
    parameters: &["kind", "name", "stored version", "version", "document", "last_modified_at", "created_at"],
    plan: "SEARCH resources USING PRIMARY KEY (kind=? AND name=?)",
};

pub(super) const DELETE_RESOURCE: Sql = Sql {
    name: "DELETE_RESOURCE",
    text: "DELETE FROM resources WHERE kind = ?1 AND name = ?2 AND (?3 IS NULL OR version = ?3)",
    parameters: &["kind", "name", "version or NULL"],
    plan: "SEARCH resources USING PRIMARY KEY (kind=? AND name=?)",
};

/// Only beside one that was stored in this very moment, by the same batch.
pub(super) const INSERT_RESOURCE_BESIDE: Sql = Sql {
    name: "INSERT_RESOURCE_BESIDE",
    text: "INSERT INTO resources (kind, name, version, document, created_at, last_modified_at) \
           SELECT ?1, ?2, 1, ?3, ?4, ?4 WHERE changes() > 0 \
           AND EXISTS (SELECT 1 FROM resources WHERE kind = ?5 AND name = ?6) ON CONFLICT (kind, name) DO NOTHING",
    parameters: &["kind", "name", "document", "now", "kind of the other", "name of the other"],
    plan: "SCAN CONSTANT ROW; \
           SCALAR SUBQUERY 1; \
           SEARCH resources USING PRIMARY KEY (kind=? AND name=?)",
};

pub(super) const DELETE_RESOURCES: Sql = Sql {
    name: "DELETE_RESOURCES",
    text: "DELETE FROM resources WHERE kind = ?1 AND name >= ?2 AND name < ?3",
    parameters: &["kind", "first name", "end of names"],
    plan: "SEARCH resources USING PRIMARY KEY (kind=? AND name>? AND name<?)",
};

pub(super) const LIST_RESOURCES: Sql = Sql {
    name: "LIST_RESOURCES",
    text: "SELECT name, version, document, created_at, last_modified_at FROM resources \
           WHERE kind = ?1 AND name > ?2 AND name >= ?3 AND name < ?4 ORDER BY name LIMIT ?5",
    parameters: &["kind", "after name", "first name", "end of names", "limit"],
    plan: "SEARCH resources USING PRIMARY KEY (kind=? AND name>? AND name<?)",
};

pub(super) const LIST_RESOURCES_DESCENDING: Sql = Sql {
    name: "LIST_RESOURCES_DESCENDING",
    text: "SELECT name, version, document, created_at, last_modified_at FROM resources \
           WHERE kind = ?1 AND name < ?2 ORDER BY name DESC LIMIT ?3",
    parameters: &["kind", "before name", "limit"],
    plan: "SEARCH resources USING PRIMARY KEY (kind=? AND name<?)",
};

/// Stores a new resource, unless there is one of the name. Follow it with [`select_resource`] in the same batch.
#[must_use]
pub fn insert_resource<T: Serialize>(partition: Partition, kind: ResourceKind, resource: &Resource<T>) -> Statement {
    let parameters = vec![
        kind.as_str().into(),
        resource.name.as_str().into(),
        resource.version.into(),
        Parameter::Text(to_text(&resource.document)),
        resource.created_at.into(),
        resource.last_modified_at.into(),
    ];
    INSERT_RESOURCE.bind(partition, parameters)
}

/// Stores a resource, in place of what there is.
#[must_use]
pub fn put_resource<T: Serialize>(partition: Partition, kind: ResourceKind, resource: &Resource<T>) -> Statement {
    let document = Parameter::Text(to_text(&resource.document));
    let parameters =
        vec![kind.as_str().into(), resource.name.as_str().into(), document, resource.last_modified_at.into()];
    PUT_RESOURCE.bind(partition, parameters)
}

/// Reads a resource: [`ResourceRow`](crate::resource::ResourceRow), none or one.
#[must_use]
pub fn select_resource(partition: Partition, kind: ResourceKind, name: &str) -> Statement {
    SELECT_RESOURCE.bind(partition, vec![kind.as_str().into(), name.into()])
}

/// Reads those resources of these names that there are: [`ResourceRow`](crate::resource::ResourceRow).
#[must_use]
pub fn select_resources(partition: Partition, kind: ResourceKind, names: &[&str]) -> Statement {
    SELECT_RESOURCES.bind(partition, vec![kind.as_str().into(), Parameter::Text(json!(names).to_string())])
}

/// Stores `changed` in place of `stored`, unless that has changed since it was read: then it changes 0 rows.
#[must_use]
pub fn update_resource<T: Serialize>(
    partition: Partition,
    kind: ResourceKind,
    stored: &Resource<T>,
    changed: &Resource<T>,
) -> Statement {
    let parameters = vec![
        kind.as_str().into(),
        stored.name.as_str().into(),
        stored.version.into(),
        changed.version.into(),
        Parameter::Text(to_text(&changed.document)),
        changed.last_modified_at.into(),
        stored.created_at.into(),
    ];
    UPDATE_RESOURCE.bind(partition, parameters)
}

/// Deletes a resource, if it has the version that is given.
#[must_use]
pub fn delete_resource(partition: Partition, kind: ResourceKind, name: &str, version: Option<u64>) -> Statement {
    DELETE_RESOURCE.bind(partition, vec![kind.as_str().into(), name.into(), version.into()])
}

/// Stores a resource that belongs to another, if the statement before it in the batch has just stored that.
#[must_use]
pub fn insert_resource_beside<T: Serialize>(
    partition: Partition,
    kind: ResourceKind,
    resource: &Resource<T>,
    other_kind: ResourceKind,
    other_name: &str,
    now: UnixMillis,
) -> Statement {
    let parameters = vec![
        kind.as_str().into(),
        resource.name.as_str().into(),
        Parameter::Text(to_text(&resource.document)),
        now.into(),
        other_kind.as_str().into(),
        other_name.into(),
    ];
    INSERT_RESOURCE_BESIDE.bind(partition, parameters)
}

/// Deletes all resources of a kind whose names begin with `prefix`.
#[must_use]
pub fn delete_resources(partition: Partition, kind: ResourceKind, prefix: &str) -> Statement {
    let end = Parameter::Text(format!("{prefix}\u{10ffff}"));
    DELETE_RESOURCES.bind(partition, vec![kind.as_str().into(), prefix.into(), end])
}

/// Reads a page of a kind's resources whose names begin with `prefix`: [`ResourceRow`](crate::resource::ResourceRow), up
/// to one more than the page. The other way round only without a prefix.
#[must_use]
pub fn list_resources(partition: Partition, kind: ResourceKind, prefix: &str, page: &Page) -> Statement {
    let (kind, after, limit) = (kind.as_str().into(), page.after.as_str().into(), page_limit(page.size));
    if page.is_ascending {
        // No name has so great a character.
        let end = Parameter::Text(format!("{prefix}\u{10ffff}"));
        return LIST_RESOURCES.bind(partition, vec![kind, after, prefix.into(), end, limit]);
    }
    LIST_RESOURCES_DESCENDING.bind(partition, vec![kind, after, limit])
}
