//! Statements about API keys and role aliases. Whoever changes what a key may do adds
//! [`append_control_log`](super::append_control_log) to the batch.

use super::policies::json_array;
use super::{Parameter, Sql, Statement, page_limit};
use crate::api_key::{ApiKeyStatus, ListApiKeysRequest, UpdateApiKeyRequest};
use crate::partition::Partition;
use crate::policy::MarkerPage;
use crate::role_alias::RoleAliasRequest;
use iot_types::UnixMillis;

pub(super) const INSERT_API_KEY: Sql = Sql {
    name: "INSERT_API_KEY",
    text: "INSERT INTO api_keys (access_key_id, description, status, created_at, last_modified_at) \
           VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT (access_key_id) DO NOTHING",
    parameters: &["access_key_id", "description", "status", "created_at"],
    plan: "",
};

pub(super) const SELECT_API_KEY: Sql = Sql {
    name: "SELECT_API_KEY",
    text: "SELECT access_key_id, description, status, created_at, last_modified_at FROM api_keys \
           WHERE access_key_id = ?1",
    parameters: &["access_key_id"],
    plan: "SEARCH api_keys USING PRIMARY KEY (access_key_id=?)",
};

pub(super) const LIST_API_KEYS: Sql = Sql {
    name: "LIST_API_KEYS",
    text: "SELECT access_key_id, description, status, created_at, last_modified_at FROM api_keys \
           WHERE access_key_id > ?1 ORDER BY access_key_id LIMIT ?2",
    parameters: &["after access_key_id", "limit"],
    plan: "SEARCH api_keys USING PRIMARY KEY (access_key_id>?)",
};

pub(super) const UPDATE_API_KEY: Sql = Sql {
    name: "UPDATE_API_KEY",
    text: "UPDATE api_keys SET status = COALESCE(?2, status), description = COALESCE(?3, description), \
           last_modified_at = ?4 WHERE access_key_id = ?1",
    parameters: &["access_key_id", "status or NULL", "description or NULL", "last_modified_at"],
    plan: "SEARCH api_keys USING PRIMARY KEY (access_key_id=?)",
};

pub(super) const DELETE_API_KEY: Sql = Sql {
    name: "DELETE_API_KEY",
    text: "DELETE FROM api_keys WHERE access_key_id = ?1",
    parameters: &["access_key_id"],
    plan: "SEARCH api_keys USING PRIMARY KEY (access_key_id=?)",
};

/// After [`DELETE_API_KEY`]: what it has left behind.
pub(super) const DETACH_FROM_API_KEY: Sql = Sql {
    name: "DETACH_FROM_API_KEY",
    text: "DELETE FROM policy_attachments WHERE target = ?1",
    parameters: &["its ARN"],
    plan: "SEARCH policy_attachments USING PRIMARY KEY (target=?)",
};

/// For a Broker: which of some keys may be used.
pub(super) const SELECT_API_KEYS_IN_USE: Sql = Sql {
    name: "SELECT_API_KEYS_IN_USE",
    text: "SELECT k.access_key_id FROM json_each(?1) AS t JOIN api_keys AS k ON k.access_key_id = t.value \
           WHERE k.status = 'ACTIVE'",
    parameters: &["access_key_ids, a JSON array"],
    plan: "SCAN t VIRTUAL TABLE INDEX 1:; \
           SEARCH k USING PRIMARY KEY (access_key_id=?)",
};

pub(super) const INSERT_ROLE_ALIAS: Sql = Sql {
    name: "INSERT_ROLE_ALIAS",
    text: "INSERT INTO role_aliases (role_alias, role_arn, credential_duration_secs, created_at, last_modified_at) \
           VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT (role_alias) DO NOTHING",
    parameters: &["role_alias", "role_arn", "credential_duration_secs", "created_at"],
    plan: "",
};

pub(super) const SELECT_ROLE_ALIAS: Sql = Sql {
    name: "SELECT_ROLE_ALIAS",
    text: "SELECT role_alias, role_arn, credential_duration_secs, created_at, last_modified_at FROM role_aliases \
           WHERE role_alias = ?1",
    parameters: &["role_alias"],
    plan: "SEARCH role_aliases USING PRIMARY KEY (role_alias=?)",
};

pub(super) const UPDATE_ROLE_ALIAS: Sql = Sql {
    name: "UPDATE_ROLE_ALIAS",
    text: "UPDATE role_aliases SET role_arn = COALESCE(?2, role_arn), \
           credential_duration_secs = COALESCE(?3, credential_duration_secs), last_modified_at = ?4 \
           WHERE role_alias = ?1",
    parameters: &["role_alias", "role_arn or NULL", "credential_duration_secs or NULL", "last_modified_at"],
    plan: "SEARCH role_aliases USING PRIMARY KEY (role_alias=?)",
};

pub(super) const DELETE_ROLE_ALIAS: Sql = Sql {
    name: "DELETE_ROLE_ALIAS",
    text: "DELETE FROM role_aliases WHERE role_alias = ?1",
    parameters: &["role_alias"],
    plan: "SEARCH role_aliases USING PRIMARY KEY (role_alias=?)",
};

pub(super) const LIST_ROLE_ALIASES: Sql = Sql {
    name: "LIST_ROLE_ALIASES",
    text: "SELECT role_alias FROM role_aliases WHERE role_alias > ?1 ORDER BY role_alias LIMIT ?2",
    parameters: &["after role_alias", "limit"],
    plan: "SEARCH role_aliases USING PRIMARY KEY (role_alias>?)",
};

pub(super) const LIST_ROLE_ALIASES_DESCENDING: Sql = Sql {
    name: "LIST_ROLE_ALIASES_DESCENDING",
    text: "SELECT role_alias FROM role_aliases WHERE role_alias < ?1 ORDER BY role_alias DESC LIMIT ?2",
    parameters: &["before role_alias", "limit"],
    plan: "SEARCH role_aliases USING PRIMARY KEY (role_alias<?)",
};

/// Stores a new API key.
#[must_use]
pub fn insert_api_key(partition: Partition, id: &str, description: &str, now: UnixMillis) -> Statement {
    let status = ApiKeyStatus::Active.as_str();
    INSERT_API_KEY.bind(partition, vec![id.into(), description.into(), status.into(), now.into()])
}

/// Reads an API key: [`ApiKeyRow`](crate::api_key::ApiKeyRow), none or one.
#[must_use]
pub fn select_api_key(partition: Partition, id: &str) -> Statement {
    SELECT_API_KEY.bind(partition, vec![id.into()])
}

/// Reads a page of API keys: [`ApiKeyRow`](crate::api_key::ApiKeyRow), up to one more than the page.
#[must_use]
pub fn list_api_keys(partition: Partition, request: &ListApiKeysRequest) -> Statement {
    LIST_API_KEYS.bind(partition, vec![request.after.as_str().into(), page_limit(request.size)])
}

/// Changes an API key; 0 rows when there is none.
#[must_use]
pub fn update_api_key(partition: Partition, id: &str, request: &UpdateApiKeyRequest, now: UnixMillis) -> Statement {
    let parameters = vec![
        id.into(),
        request.status.map_or(Parameter::Null, |status| status.as_str().into()),
        request.description.as_deref().map_or(Parameter::Null, Parameter::from),
        now.into(),
    ];
    UPDATE_API_KEY.bind(partition, parameters)
}

/// Deletes an API key; with [`detach_from_api_key`] behind it in the batch.
#[must_use]
pub fn delete_api_key(partition: Partition, id: &str) -> Statement {
    DELETE_API_KEY.bind(partition, vec![id.into()])
}

/// See [`delete_api_key`].
#[must_use]
pub fn detach_from_api_key(partition: Partition, arn: &str) -> Statement {
    DETACH_FROM_API_KEY.bind(partition, vec![arn.into()])
}

/// Reads which of these keys may be used: [`ApiKeyInUseRow`](crate::api_key::ApiKeyInUseRow).
#[must_use]
pub fn select_api_keys_in_use(partition: Partition, ids: &[&str]) -> Statement {
    SELECT_API_KEYS_IN_USE.bind(partition, vec![json_array(ids)])
}

/// Stores a new role alias; changes 0 rows when there is one of the name.
#[must_use]
pub fn insert_role_alias(partition: Partition, request: &RoleAliasRequest, now: UnixMillis) -> Statement {
    let parameters = vec![
        request.role_alias.as_str().into(),
        request.role_arn.as_deref().unwrap_or_default().into(),
        request.duration_or_default().into(),
        now.into(),
    ];
    INSERT_ROLE_ALIAS.bind(partition, parameters)
}

/// Reads a role alias: [`RoleAliasRow`](crate::role_alias::RoleAliasRow), none or one.
#[must_use]
pub fn select_role_alias(partition: Partition, name: &str) -> Statement {
    SELECT_ROLE_ALIAS.bind(partition, vec![name.into()])
}

/// Changes a role alias; 0 rows when there is none.
#[must_use]
pub fn update_role_alias(partition: Partition, request: &RoleAliasRequest, now: UnixMillis) -> Statement {
    let parameters = vec![
        request.role_alias.as_str().into(),
        request.role_arn.as_deref().map_or(Parameter::Null, Parameter::from),
        request.duration_secs.map_or(Parameter::Null, Parameter::from),
        now.into(),
    ];
    UPDATE_ROLE_ALIAS.bind(partition, parameters)
}

/// Deletes a role alias; 0 rows when there is none.
#[must_use]
pub fn delete_role_alias(partition: Partition, name: &str) -> Statement {
    DELETE_ROLE_ALIAS.bind(partition, vec![name.into()])
}

/// Reads a page of role aliases: [`RoleAliasNameRow`](crate::role_alias::RoleAliasNameRow).
#[must_use]
pub fn list_role_aliases(partition: Partition, page: &MarkerPage) -> Statement {
    let sql = if page.is_ascending { LIST_ROLE_ALIASES } else { LIST_ROLE_ALIASES_DESCENDING };
    sql.bind(partition, vec![page.after.as_str().into(), page_limit(page.size)])
}
