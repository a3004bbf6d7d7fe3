//! Statements about custom authorizers. Which one is the default is in the table `deployment`.

use super::{Parameter, Sql, Statement, page_limit};
use crate::authorizer::{
    AuthorizerStatus, CreateAuthorizerRequest, DEFAULT_AUTHORIZER_KEY, ListAuthorizersRequest, UpdateAuthorizerRequest,
};
use crate::limits::Limits;
use crate::partition::Partition;
use iot_types::{AuthorizerName, UnixMillis};
use std::collections::BTreeMap;

/// The counts are as high as the limits at most.
pub(super) const INSERT_AUTHORIZER: Sql = Sql {
    name: "INSERT_AUTHORIZER",
    text: "INSERT INTO authorizers (authorizer_name, function_arn, token_key_name, signing_keys, signing_disabled, \
           status, enable_caching_for_http, created_at, last_modified_at) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8 \
           WHERE (SELECT COUNT(*) FROM authorizers) < ?9 \
           AND (?6 <> 'ACTIVE' OR (SELECT COUNT(*) FROM authorizers WHERE status = 'ACTIVE') < ?10) \
           ON CONFLICT (authorizer_name) DO NOTHING",
    parameters: &[
        "authorizer_name",
        "function_arn",
        "token_key_name",
        "signing_keys",
        "signing_disabled",
        "status",
        "enable_caching_for_http",
        "created_at",
        "most authorizers",
        "most active ones",
    ],
    plan: "SCAN CONSTANT ROW; \
           SCALAR SUBQUERY 1; \
           SCAN authorizers USING COVERING INDEX authorizers_by_status; \
           SCALAR SUBQUERY 2; \
           SEARCH authorizers USING COVERING INDEX authorizers_by_status (status=?)",
};

macro_rules! authorizer_columns {
    () => {
        "SELECT a.authorizer_name, a.function_arn, a.token_key_name, a.signing_keys, a.signing_disabled, a.status, \
         a.enable_caching_for_http, a.created_at, a.last_modified_at, "
    };
}

pub(super) const SELECT_AUTHORIZER: Sql = Sql {
    name: "SELECT_AUTHORIZER",
    text: concat!(
        authorizer_columns!(),
        "EXISTS (SELECT 1 FROM deployment WHERE key = ?2 AND value = ?1) AS is_default \
         FROM authorizers AS a WHERE a.authorizer_name = ?1"
    ),
    parameters: &["authorizer_name", "the deployment's key"],
    plan: "SEARCH a USING PRIMARY KEY (authorizer_name=?); \
           SCALAR SUBQUERY 1; \
           SEARCH deployment USING PRIMARY KEY (key=?)",
};

pub(super) const SELECT_DEFAULT_AUTHORIZER: Sql = Sql {
    name: "SELECT_DEFAULT_AUTHORIZER",
    text: concat!(
        authorizer_columns!(),
        "1 AS is_default FROM deployment AS d JOIN authorizers AS a ON a.authorizer_name = d.value WHERE d.key = ?1"
    ),
    parameters: &["the deployment's key"],
    plan: "SEARCH d USING PRIMARY KEY (key=?); \
           SEARCH a USING PRIMARY KEY (authorizer_name=?)",
};

/// Keys can't be taken from an authorizer that needs them.
pub(super) const UPDATE_AUTHORIZER: Sql = Sql {
    name: "UPDATE_AUTHORIZER",
    text: "UPDATE authorizers SET function_arn = COALESCE(?2, function_arn), \
           token_key_name = COALESCE(?3, token_key_name), signing_keys = COALESCE(?4, signing_keys), \
           status = COALESCE(?5, status), enable_caching_for_http = COALESCE(?6, enable_caching_for_http), \
           last_modified_at = ?7 \
           WHERE authorizer_name = ?1 AND (?4 IS NOT '{}' OR signing_disabled = 1) AND (?5 IS NOT 'ACTIVE' \
           OR status = 'ACTIVE' OR (SELECT COUNT(*) FROM authorizers WHERE status = 'ACTIVE') < ?8)",
    parameters: &[
        "authorizer_name",
        "function_arn or NULL",
        "token_key_name or NULL",
        "signing_keys or NULL",
        "status or NULL",
        "enable_caching_for_http or NULL",
        "last_modified_at",
        "most active ones",
    ],
    plan: "SEARCH authorizers USING PRIMARY KEY (authorizer_name=?); \
           SCALAR SUBQUERY 1; \
           SEARCH authorizers USING COVERING INDEX authorizers_by_status (status=?)",
};

pub(super) const DELETE_AUTHORIZER: Sql = Sql {
    name: "DELETE_AUTHORIZER",
    text: "DELETE FROM authorizers WHERE authorizer_name = ?1 AND status <> 'ACTIVE' \
           AND NOT EXISTS (SELECT 1 FROM deployment WHERE key = ?2 AND value = ?1)",
    parameters: &["authorizer_name", "the deployment's key"],
    plan: "SEARCH authorizers USING PRIMARY KEY (authorizer_name=?); \
           SCALAR SUBQUERY 1; \
           SEARCH deployment USING PRIMARY KEY (key=?)",
};

pub(super) const LIST_AUTHORIZERS: Sql = Sql {
    name: "LIST_AUTHORIZERS",
    text: "SELECT authorizer_name FROM authorizers WHERE authorizer_name > ?1 ORDER BY authorizer_name LIMIT ?2",
    parameters: &["after authorizer_name", "limit"],
    plan: "SEARCH authorizers USING PRIMARY KEY (authorizer_name>?)",
};

pub(super) const LIST_AUTHORIZERS_DESCENDING: Sql = Sql {
    name: "LIST_AUTHORIZERS_DESCENDING",
    text: "SELECT authorizer_name FROM authorizers WHERE authorizer_name < ?1 ORDER BY authorizer_name DESC LIMIT ?2",
    parameters: &["before authorizer_name", "limit"],
    plan: "SEARCH authorizers USING PRIMARY KEY (authorizer_name<?)",
};

pub(super) const LIST_AUTHORIZERS_BY_STATUS: Sql = Sql {
    name: "LIST_AUTHORIZERS_BY_STATUS",
    text: "SELECT authorizer_name FROM authorizers WHERE status = ?3 AND authorizer_name > ?1 \
           ORDER BY authorizer_name LIMIT ?2",
    parameters: &["after authorizer_name", "limit", "status"],
    plan: "SEARCH authorizers USING COVERING INDEX authorizers_by_status (status=? AND authorizer_name>?)",
};

pub(super) const LIST_AUTHORIZERS_BY_STATUS_DESCENDING: Sql = Sql {
    name: "LIST_AUTHORIZERS_BY_STATUS_DESCENDING",
    text: "SELECT authorizer_name FROM authorizers WHERE status = ?3 AND authorizer_name < ?1 \
           ORDER BY authorizer_name DESC LIMIT ?2",
    parameters: &["before authorizer_name", "limit", "status"],
    plan: "SEARCH authorizers USING COVERING INDEX authorizers_by_status (status=? AND authorizer_name<?)",
};

pub(super) const SET_DEFAULT_AUTHORIZER: Sql = Sql {
    name: "SET_DEFAULT_AUTHORIZER",
    text: "INSERT INTO deployment (key, value) SELECT ?2, authorizer_name FROM authorizers WHERE authorizer_name = ?1 \
           ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    parameters: &["authorizer_name", "the deployment's key"],
    plan: "SEARCH authorizers USING PRIMARY KEY (authorizer_name=?)",
};

pub(super) const CLEAR_DEFAULT_AUTHORIZER: Sql = Sql {
    name: "CLEAR_DEFAULT_AUTHORIZER",
    text: "DELETE FROM deployment WHERE key = ?1",
    parameters: &["the deployment's key"],
    plan: "SEARCH deployment USING PRIMARY KEY (key=?)",
};

/// Stores a new authorizer; changes 0 rows when there is one of the name, or as many as may be.
#[must_use]
pub fn insert_authorizer(
    partition: Partition,
    request: &CreateAuthorizerRequest,
    limits: &Limits,
    now: UnixMillis,
) -> Statement {
    let parameters = vec![
        request.authorizer_name.as_str().into(),
        request.function.to_string().as_str().into(),
        request.token_key_name.as_deref().into(),
        json_object(&request.signing_keys),
        request.signing_disabled.into(),
        request.status.as_str().into(),
        request.enable_caching_for_http.into(),
        now.into(),
        u64::from(limits.authorizers).into(),
        u64::from(limits.active_authorizers).into(),
    ];
    INSERT_AUTHORIZER.bind(partition, parameters)
}

/// Reads an authorizer: [`AuthorizerRow`](crate::authorizer::AuthorizerRow), none or one.
#[must_use]
pub fn select_authorizer(partition: Partition, name: &AuthorizerName) -> Statement {
    SELECT_AUTHORIZER.bind(partition, vec![name.as_str().into(), DEFAULT_AUTHORIZER_KEY.into()])
}

/// Reads the default authorizer: [`AuthorizerRow`](crate::authorizer::AuthorizerRow), none or one.
#[must_use]
pub fn select_default_authorizer(partition: Partition) -> Statement {
    SELECT_DEFAULT_AUTHORIZER.bind(partition, vec![DEFAULT_AUTHORIZER_KEY.into()])
}

/// Changes what the request has of an authorizer; changes 0 rows when there is none of the name, as many active ones as
/// may be, or when it would be left without keys that it needs.
#[must_use]
pub fn update_authorizer(
    partition: Partition,
    request: &UpdateAuthorizerRequest,
    limits: &Limits,
    now: UnixMillis,
) -> Statement {
    let parameters = vec![
        request.authorizer_name.as_str().into(),
        request.function.as_ref().map(ToString::to_string).as_deref().into(),
        request.token_key_name.as_deref().into(),
        request.signing_keys.as_ref().map_or(Parameter::Null, json_object),
        request.status.map(AuthorizerStatus::as_str).into(),
        request.enable_caching_for_http.into(),
        now.into(),
        u64::from(limits.active_authorizers).into(),
    ];
    UPDATE_AUTHORIZER.bind(partition, parameters)
}

/// Deletes an authorizer that is neither active nor the default one; else changes 0 rows.
#[must_use]
pub fn delete_authorizer(partition: Partition, name: &AuthorizerName) -> Statement {
    DELETE_AUTHORIZER.bind(partition, vec![name.as_str().into(), DEFAULT_AUTHORIZER_KEY.into()])
}

/// Reads a page of authorizers: [`AuthorizerNameRow`](crate::authorizer::AuthorizerNameRow), up to one more than the
/// page.
#[must_use]
pub fn list_authorizers(partition: Partition, request: &ListAuthorizersRequest) -> Statement {
    let page = &request.page;
    let mut parameters = vec![page.after.as_str().into(), page_limit(page.size)];
    parameters.extend(request.status.map(|status| status.as_str().into()));
    let sql = match (request.status, page.is_ascending) {
        (None, true) => LIST_AUTHORIZERS,
        (None, false) => LIST_AUTHORIZERS_DESCENDING,
        (Some(_), true) => LIST_AUTHORIZERS_BY_STATUS,
        (Some(_), false) => LIST_AUTHORIZERS_BY_STATUS_DESCENDING,
    };
    sql.bind(partition, parameters)
}

/// Makes an authorizer the default one; changes 0 rows when there is none of the name.
#[must_use]
pub fn set_default_authorizer(partition: Partition, name: &AuthorizerName) -> Statement {
    SET_DEFAULT_AUTHORIZER.bind(partition, vec![name.as_str().into(), DEFAULT_AUTHORIZER_KEY.into()])
}

/// Leaves the deployment without a default authorizer; changes 0 rows when it has none.
#[must_use]
pub fn clear_default_authorizer(partition: Partition) -> Statement {
    CLEAR_DEFAULT_AUTHORIZER.bind(partition, vec![DEFAULT_AUTHORIZER_KEY.into()])
}

/// Strings always have a JSON form.
fn json_object(texts: &BTreeMap<String, String>) -> Parameter {
    Parameter::Text(serde_json::to_string(texts).unwrap_or_default())
}
