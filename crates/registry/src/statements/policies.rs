//! Statements about policies, their versions and their attachments. Whoever changes what a principal may do adds
//! [`append_control_log`](super::append_control_log) to the batch.

use super::{Parameter, Sql, Statement, page_limit};
use crate::partition::Partition;
use crate::policy::{ListTargetsRequest, MAXIMUM_VERSIONS, MarkerPage, PolicyTarget};
use iot_types::{PolicyName, UnixMillis};

/// Before [`INSERT_POLICY`], so that it sees whether there is a policy of the name.
pub(super) const INSERT_FIRST_POLICY_VERSION: Sql = Sql {
    name: "INSERT_FIRST_POLICY_VERSION",
    text: "INSERT INTO policy_versions (policy_name, version, document, created_at) SELECT ?1, 1, ?2, ?3 \
           WHERE NOT EXISTS (SELECT 1 FROM policies WHERE policy_name = ?1)",
    parameters: &["policy_name", "document", "created_at"],
    plan: "SCAN CONSTANT ROW; \
           SCALAR SUBQUERY 1; \
           SEARCH policies USING PRIMARY KEY (policy_name=?)",
};

pub(super) const INSERT_POLICY: Sql = Sql {
    name: "INSERT_POLICY",
    text: "INSERT INTO policies (policy_name, default_version, newest_version, created_at, last_modified_at) \
           VALUES (?1, 1, 1, ?2, ?2) ON CONFLICT (policy_name) DO NOTHING",
    parameters: &["policy_name", "created_at"],
    plan: "",
};

pub(super) const SELECT_POLICY: Sql = Sql {
    name: "SELECT_POLICY",
    text: "SELECT p.policy_name, p.default_version, p.newest_version, p.created_at, p.last_modified_at, v.document, \
           (SELECT COUNT(*) FROM policy_versions WHERE policy_name = p.policy_name) AS versions, \
           EXISTS (SELECT 1 FROM policy_attachments WHERE policy_name = p.policy_name) AS is_attached \
           FROM policies AS p JOIN policy_versions AS v ON v.policy_name = p.policy_name AND v.version = p.default_version \
           WHERE p.policy_name = ?1",
    parameters: &["policy_name"],
    plan: "SEARCH p USING PRIMARY KEY (policy_name=?); \
           SEARCH v USING PRIMARY KEY (policy_name=? AND version=?); \
           CORRELATED SCALAR SUBQUERY 1; \
           SEARCH policy_versions USING PRIMARY KEY (policy_name=?); \
           CORRELATED SCALAR SUBQUERY 2; \
           SEARCH policy_attachments USING COVERING INDEX policy_attachments_by_policy (policy_name=?)",
};

pub(super) const LIST_POLICIES: Sql = Sql {
    name: "LIST_POLICIES",
    text: "SELECT policy_name FROM policies WHERE policy_name > ?1 ORDER BY policy_name LIMIT ?2",
    parameters: &["after policy_name", "limit"],
    plan: "SEARCH policies USING PRIMARY KEY (policy_name>?)",
};

pub(super) const LIST_POLICIES_DESCENDING: Sql = Sql {
    name: "LIST_POLICIES_DESCENDING",
    text: "SELECT policy_name FROM policies WHERE policy_name < ?1 ORDER BY policy_name DESC LIMIT ?2",
    parameters: &["before policy_name", "limit"],
    plan: "SEARCH policies USING PRIMARY KEY (policy_name<?)",
};

/// Counts the version in that [`INSERT_POLICY_VERSION`] stores, under the same condition.
pub(super) const COUNT_POLICY_VERSION: Sql = Sql {
    name: "COUNT_POLICY_VERSION",
    text: "UPDATE policies SET newest_version = newest_version + 1, \
           default_version = CASE WHEN ?3 THEN newest_version + 1 ELSE default_version END, last_modified_at = ?2 \
           WHERE policy_name = ?1 AND (SELECT COUNT(*) FROM policy_versions WHERE policy_name = ?1) < ?4",
    parameters: &["policy_name", "last_modified_at", "whether it is the default", "most versions"],
    plan: "SEARCH policies USING PRIMARY KEY (policy_name=?); \
           SCALAR SUBQUERY 1; \
           SEARCH policy_versions USING PRIMARY KEY (policy_name=?)",
};

pub(super) const INSERT_POLICY_VERSION: Sql = Sql {
    name: "INSERT_POLICY_VERSION",
    text: "INSERT INTO policy_versions (policy_name, version, document, created_at) \
           SELECT policy_name, newest_version, ?2, ?3 FROM policies \
           WHERE policy_name = ?1 AND (SELECT COUNT(*) FROM policy_versions WHERE policy_name = ?1) < ?4",
    parameters: &["policy_name", "document", "created_at", "most versions"],
    plan: "SEARCH policies USING PRIMARY KEY (policy_name=?); \
           SCALAR SUBQUERY 1; \
           SEARCH policy_versions USING PRIMARY KEY (policy_name=?)",
};

macro_rules! version_columns {
    () => {
        "SELECT v.version, v.document, v.created_at, p.default_version, p.last_modified_at FROM policy_versions AS v \
         JOIN policies AS p ON p.policy_name = v.policy_name WHERE v.policy_name = ?1"
    };
}

pub(super) const SELECT_POLICY_VERSION: Sql = Sql {
    name: "SELECT_POLICY_VERSION",
    text: concat!(version_columns!(), " AND v.version = ?2"),
    parameters: &["policy_name", "version"],
    plan: "SEARCH v USING PRIMARY KEY (policy_name=? AND version=?); \
           SEARCH p USING PRIMARY KEY (policy_name=?)",
};

/// All of them, which are five at most.
pub(super) const LIST_POLICY_VERSIONS: Sql = Sql {
    name: "LIST_POLICY_VERSIONS",
    text: concat!(version_columns!(), " ORDER BY v.version DESC"),
    parameters: &["policy_name"],
    plan: "SEARCH p USING PRIMARY KEY (policy_name=?); \
           SEARCH v USING PRIMARY KEY (policy_name=?)",
};

pub(super) const DELETE_POLICY_VERSION: Sql = Sql {
    name: "DELETE_POLICY_VERSION",
    text: "DELETE FROM policy_versions WHERE policy_name = ?1 AND version = ?2 \
           AND version <> (SELECT default_version FROM policies WHERE policy_name = ?1)",
    parameters: &["policy_name", "version"],
    plan: "SEARCH policy_versions USING PRIMARY KEY (policy_name=? AND version=?); \
           SCALAR SUBQUERY 1; \
           SEARCH policies USING PRIMARY KEY (policy_name=?)",
};

pub(super) const SET_DEFAULT_POLICY_VERSION: Sql = Sql {
    name: "SET_DEFAULT_POLICY_VERSION",
    text: "UPDATE policies SET default_version = ?2, last_modified_at = ?3 WHERE policy_name = ?1 \
           AND EXISTS (SELECT 1 FROM policy_versions WHERE policy_name = ?1 AND version = ?2)",
    parameters: &["policy_name", "version", "last_modified_at"],
    plan: "SEARCH policies USING PRIMARY KEY (policy_name=?); \
           SCALAR SUBQUERY 1; \
           SEARCH policy_versions USING PRIMARY KEY (policy_name=? AND version=?)",
};

pub(super) const DELETE_POLICY: Sql = Sql {
    name: "DELETE_POLICY",
    text: "DELETE FROM policies WHERE policy_name = ?1 \
           AND (SELECT COUNT(*) FROM policy_versions WHERE policy_name = ?1) = 1 \
           AND NOT EXISTS (SELECT 1 FROM policy_attachments WHERE policy_name = ?1)",
    parameters: &["policy_name"],
    plan: "SEARCH policies USING PRIMARY KEY (policy_name=?); \
           SCALAR SUBQUERY 1; \
           SEARCH policy_versions USING PRIMARY KEY (policy_name=?); \
           SCALAR SUBQUERY 2; \
           SEARCH policy_attachments USING COVERING INDEX policy_attachments_by_policy (policy_name=?)",
};

/// After [`DELETE_POLICY`]: what it has left behind.
pub(super) const DELETE_POLICY_VERSIONS: Sql = Sql {
    name: "DELETE_POLICY_VERSIONS",
    text: "DELETE FROM policy_versions WHERE policy_name = ?1 \
           AND NOT EXISTS (SELECT 1 FROM policies WHERE policy_name = ?1)",
    parameters: &["policy_name"],
    plan: "SEARCH policy_versions USING PRIMARY KEY (policy_name=?); \
           SCALAR SUBQUERY 1; \
           SEARCH policies USING PRIMARY KEY (policy_name=?)",
};

pub(super) const ATTACH_POLICY: Sql = Sql {
    name: "ATTACH_POLICY",
    text: "INSERT INTO policy_attachments (target, policy_name) SELECT ?1, policy_name FROM policies \
           WHERE policy_name = ?2 AND (?3 IS NULL OR EXISTS (SELECT 1 FROM certificates WHERE certificate_id = ?3)) \
           AND (?5 IS NULL OR EXISTS (SELECT 1 FROM api_keys WHERE access_key_id = ?5)) \
           AND (?6 IS NULL OR EXISTS (SELECT 1 FROM thing_groups WHERE thing_group_name = ?6)) \
           AND (SELECT COUNT(*) FROM policy_attachments WHERE target = ?1) < ?4 \
           ON CONFLICT (target, policy_name) DO NOTHING",
    parameters: &[
        "target",
        "policy_name",
        "certificate_id or NULL",
        "most policies of a target",
        "API key or NULL",
        "thing group or NULL",
    ],
    plan: "SEARCH policies USING PRIMARY KEY (policy_name=?); \
           SCALAR SUBQUERY 1; \
           SEARCH certificates USING PRIMARY KEY (certificate_id=?); \
           SCALAR SUBQUERY 2; \
           SEARCH api_keys USING PRIMARY KEY (access_key_id=?); \
           SCALAR SUBQUERY 3; \
           SEARCH thing_groups USING PRIMARY KEY (thing_group_name=?); \
           SCALAR SUBQUERY 4; \
           SEARCH policy_attachments USING PRIMARY KEY (target=?)",
};

/// One row: what there is of what [`ATTACH_POLICY`] needs, and whether it is attached.
pub(super) const SELECT_ATTACHMENT: Sql = Sql {
    name: "SELECT_ATTACHMENT",
    text: "SELECT EXISTS (SELECT 1 FROM policies WHERE policy_name = ?2) AS has_policy, \
           ((?3 IS NULL OR EXISTS (SELECT 1 FROM certificates WHERE certificate_id = ?3)) \
           AND (?4 IS NULL OR EXISTS (SELECT 1 FROM api_keys WHERE access_key_id = ?4)) \
           AND (?5 IS NULL OR EXISTS (SELECT 1 FROM thing_groups WHERE thing_group_name = ?5))) AS has_target, \
           EXISTS (SELECT 1 FROM policy_attachments WHERE target = ?1 AND policy_name = ?2) AS is_attached",
    parameters: &["target", "policy_name", "certificate_id or NULL", "API key or NULL", "thing group or NULL"],
    plan: "SCAN CONSTANT ROW; \
           SCALAR SUBQUERY 1; \
           SEARCH policies USING PRIMARY KEY (policy_name=?); \
           SCALAR SUBQUERY 2; \
           SEARCH certificates USING PRIMARY KEY (certificate_id=?); \
           SCALAR SUBQUERY 3; \
           SEARCH api_keys USING PRIMARY KEY (access_key_id=?); \
           SCALAR SUBQUERY 4; \
           SEARCH thing_groups USING PRIMARY KEY (thing_group_name=?); \
           SCALAR SUBQUERY 5; \
           SEARCH policy_attachments USING PRIMARY KEY (target=? AND policy_name=?)",
};

pub(super) const DETACH_POLICY: Sql = Sql {
    name: "DETACH_POLICY",
    text: "DELETE FROM policy_attachments WHERE target = ?1 AND policy_name = ?2",
    parameters: &["target", "policy_name"],
    plan: "SEARCH policy_attachments USING PRIMARY KEY (target=? AND policy_name=?)",
};

pub(super) const DETACH_ALL_POLICIES: Sql = Sql {
    name: "DETACH_ALL_POLICIES",
    text: "DELETE FROM policy_attachments WHERE target = ?1",
    parameters: &["target"],
    plan: "SEARCH policy_attachments USING PRIMARY KEY (target=?)",
};

pub(super) const LIST_ATTACHED_POLICIES: Sql = Sql {
    name: "LIST_ATTACHED_POLICIES",
    text: "SELECT policy_name FROM policy_attachments WHERE target = ?3 AND policy_name > ?1 \
           ORDER BY policy_name LIMIT ?2",
    parameters: &["after policy_name", "limit", "target"],
    plan: "SEARCH policy_attachments USING PRIMARY KEY (target=? AND policy_name>?)",
};

pub(super) const LIST_TARGETS_FOR_POLICY: Sql = Sql {
    name: "LIST_TARGETS_FOR_POLICY",
    text: "SELECT target FROM policy_attachments WHERE policy_name = ?3 AND target > ?1 ORDER BY target LIMIT ?2",
    parameters: &["after target", "limit", "policy_name"],
    plan: "SEARCH policy_attachments USING COVERING INDEX policy_attachments_by_policy (policy_name=? AND target>?)",
};

/// For a Broker: what is in force for some targets, in one read.
pub(super) const SELECT_POLICIES_OF_TARGETS: Sql = Sql {
    name: "SELECT_POLICIES_OF_TARGETS",
    text: "SELECT a.target, a.policy_name, v.document FROM json_each(?1) AS t \
           JOIN policy_attachments AS a ON a.target = t.value \
           JOIN policies AS p ON p.policy_name = a.policy_name \
           JOIN policy_versions AS v ON v.policy_name = p.policy_name AND v.version = p.default_version",
    parameters: &["targets, a JSON array"],
    plan: "SCAN t VIRTUAL TABLE INDEX 1:; \
           SEARCH a USING PRIMARY KEY (target=?); \
           SEARCH p USING PRIMARY KEY (policy_name=?); \
           SEARCH v USING PRIMARY KEY (policy_name=? AND version=?)",
};

pub(super) const SELECT_POLICIES_BY_NAME: Sql = Sql {
    name: "SELECT_POLICIES_BY_NAME",
    text: "SELECT '' AS target, p.policy_name, v.document FROM json_each(?1) AS t \
           JOIN policies AS p ON p.policy_name = t.value \
           JOIN policy_versions AS v ON v.policy_name = p.policy_name AND v.version = p.default_version",
    parameters: &["policy_names, a JSON array"],
    plan: "SCAN t VIRTUAL TABLE INDEX 1:; \
           SEARCH p USING PRIMARY KEY (policy_name=?); \
           SEARCH v USING PRIMARY KEY (policy_name=? AND version=?)",
};

/// Stores a new policy, with [`insert_policy`] behind it in the batch; changes 0 rows when there is one of the name.
#[must_use]
pub fn insert_first_policy_version(
    partition: Partition,
    name: &PolicyName,
    document: &str,
    now: UnixMillis,
) -> Statement {
    INSERT_FIRST_POLICY_VERSION.bind(partition, vec![name.as_str().into(), document.into(), now.into()])
}

/// See [`insert_first_policy_version`].
#[must_use]
pub fn insert_policy(partition: Partition, name: &PolicyName, now: UnixMillis) -> Statement {
    INSERT_POLICY.bind(partition, vec![name.as_str().into(), now.into()])
}

/// Reads a policy: [`PolicyRow`](crate::policy::PolicyRow), none or one.
#[must_use]
pub fn select_policy(partition: Partition, name: &PolicyName) -> Statement {
    SELECT_POLICY.bind(partition, vec![name.as_str().into()])
}

/// Reads a page of policies: [`PolicyNameRow`](crate::policy::PolicyNameRow), up to one more than the page.
#[must_use]
pub fn list_policies(partition: Partition, page: &MarkerPage) -> Statement {
    let parameters = vec![page.after.as_str().into(), page_limit(page.size)];
    let sql = if page.is_ascending { LIST_POLICIES } else { LIST_POLICIES_DESCENDING };
    sql.bind(partition, parameters)
}

/// Makes room for another version, with [`insert_policy_version`] behind it in the batch; changes 0 rows when there is no
/// policy of the name, or as many versions as may be.
#[must_use]
pub fn count_policy_version(partition: Partition, name: &PolicyName, is_default: bool, now: UnixMillis) -> Statement {
    let parameters = vec![name.as_str().into(), now.into(), is_default.into(), MAXIMUM_VERSIONS.into()];
    COUNT_POLICY_VERSION.bind(partition, parameters)
}

/// See [`count_policy_version`].
#[must_use]
pub fn insert_policy_version(partition: Partition, name: &PolicyName, document: &str, now: UnixMillis) -> Statement {
    let parameters = vec![name.as_str().into(), document.into(), now.into(), MAXIMUM_VERSIONS.into()];
    INSERT_POLICY_VERSION.bind(partition, parameters)
}

/// Reads a version: [`PolicyVersionRow`](crate::policy::PolicyVersionRow), none or one.
#[must_use]
pub fn select_policy_version(partition: Partition, name: &PolicyName, version: u64) -> Statement {
    SELECT_POLICY_VERSION.bind(partition, vec![name.as_str().into(), version.into()])
}

/// Reads all versions, the newest first: [`PolicyVersionRow`](crate::policy::PolicyVersionRow).
#[must_use]
pub fn list_policy_versions(partition: Partition, name: &PolicyName) -> Statement {
    LIST_POLICY_VERSIONS.bind(partition, vec![name.as_str().into()])
}

/// Deletes a version that is not the default one; else changes 0 rows.
#[must_use]
pub fn delete_policy_version(partition: Partition, name: &PolicyName, version: u64) -> Statement {
    DELETE_POLICY_VERSION.bind(partition, vec![name.as_str().into(), version.into()])
}

/// Puts a version into force; changes 0 rows when there is none of the number.
#[must_use]
pub fn set_default_policy_version(partition: Partition, name: &PolicyName, version: u64, now: UnixMillis) -> Statement {
    SET_DEFAULT_POLICY_VERSION.bind(partition, vec![name.as_str().into(), version.into(), now.into()])
}

/// Deletes a policy that has one version and is not attached, with [`delete_policy_versions`] behind it in the batch;
/// else changes 0 rows.
#[must_use]
pub fn delete_policy(partition: Partition, name: &PolicyName) -> Statement {
    DELETE_POLICY.bind(partition, vec![name.as_str().into()])
}

/// See [`delete_policy`].
#[must_use]
pub fn delete_policy_versions(partition: Partition, name: &PolicyName) -> Statement {
    DELETE_POLICY_VERSIONS.bind(partition, vec![name.as_str().into()])
}

/// Attaches a policy, if policy and target exist and the target has fewer than `most`.
#[must_use]
pub fn attach_policy(partition: Partition, name: &PolicyName, target: &PolicyTarget, most: u32) -> Statement {
    let parameters = vec![
        target.as_str().into(),
        name.as_str().into(),
        target.certificate_id().into(),
        u64::from(most).into(),
        target.api_key_id().into(),
        target.thing_group().into(),
    ];
    ATTACH_POLICY.bind(partition, parameters)
}

/// Reads what has become of it: one [`AttachmentRow`](crate::policy::AttachmentRow).
#[must_use]
pub fn select_attachment(partition: Partition, name: &PolicyName, target: &PolicyTarget) -> Statement {
    let parameters = vec![
        target.as_str().into(),
        name.as_str().into(),
        target.certificate_id().into(),
        target.api_key_id().into(),
        target.thing_group().into(),
    ];
    SELECT_ATTACHMENT.bind(partition, parameters)
}

/// Detaches a policy; changes 0 rows when it was not attached.
#[must_use]
pub fn detach_policy(partition: Partition, name: &PolicyName, target: &PolicyTarget) -> Statement {
    DETACH_POLICY.bind(partition, vec![target.as_str().into(), name.as_str().into()])
}

/// Detaches all policies of what is deleted.
#[must_use]
pub fn detach_all_policies(partition: Partition, target: &str) -> Statement {
    DETACH_ALL_POLICIES.bind(partition, vec![target.into()])
}

/// Reads a page of a target's policies: [`PolicyNameRow`](crate::policy::PolicyNameRow), up to one more than the page.
#[must_use]
pub fn list_attached_policies(partition: Partition, target: &PolicyTarget, page: &MarkerPage) -> Statement {
    let parameters = vec![page.after.as_str().into(), page_limit(page.size), target.as_str().into()];
    LIST_ATTACHED_POLICIES.bind(partition, parameters)
}

/// Reads a page of a policy's targets: [`PolicyTargetRow`](crate::policy::PolicyTargetRow), up to one more than the page.
#[must_use]
pub fn list_targets_for_policy(partition: Partition, request: &ListTargetsRequest) -> Statement {
    let page = &request.page;
    let parameters = vec![page.after.as_str().into(), page_limit(page.size), request.policy_name.as_str().into()];
    LIST_TARGETS_FOR_POLICY.bind(partition, parameters)
}

/// Reads the policies in force of some targets, for a Broker:
/// [`PolicyOfTargetRow`](crate::policy::PolicyOfTargetRow).
#[must_use]
pub fn select_policies_of_targets(partition: Partition, targets: &[&str]) -> Statement {
    SELECT_POLICIES_OF_TARGETS.bind(partition, vec![json_array(targets)])
}

/// Reads policies in the version that is in force: [`PolicyOfTargetRow`](crate::policy::PolicyOfTargetRow), without
/// targets.
#[must_use]
pub fn select_policies_by_name(partition: Partition, names: &[&str]) -> Statement {
    SELECT_POLICIES_BY_NAME.bind(partition, vec![json_array(names)])
}

/// Strings always have a JSON form.
pub(super) fn json_array(texts: &[&str]) -> Parameter {
    Parameter::Text(serde_json::to_string(texts).unwrap_or_default())
}
