//! Statements about thing groups and who is in them. Groups are in the first partition, members in that of their thing.

use super::{Parameter, Sql, Statement, page_limit};
use crate::limits::Limits;
use crate::page::Page;
use crate::partition::Partition;
use crate::resource::to_text;
use crate::thing_group::{GroupPath, ListThingGroupsRequest, ThingGroup};
use iot_types::{ThingName, UnixMillis};
use serde_json::json;

macro_rules! columns {
    () => {
        "thing_group_name, thing_group_id, path, version, document, created_at"
    };
}

pub(super) const INSERT_THING_GROUP: Sql = Sql {
    name: "INSERT_THING_GROUP",
    text: "INSERT INTO thing_groups (thing_group_name, thing_group_id, parent_group_name, path, version, document, \
           is_dynamic, created_at) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 \
           WHERE ?3 = '' OR (EXISTS (SELECT 1 FROM thing_groups WHERE thing_group_name = ?3) \
           AND (SELECT COUNT(*) FROM thing_groups WHERE parent_group_name = ?3) < ?9) \
           ON CONFLICT (thing_group_name) DO NOTHING",
    parameters: &[
        "thing_group_name",
        "thing_group_id",
        "parent_group_name or empty",
        "path",
        "version",
        "document",
        "is_dynamic",
        "created_at",
        "most children",
    ],
    plan: "SCAN CONSTANT ROW; \
           SCALAR SUBQUERY 1; \
           SEARCH thing_groups USING PRIMARY KEY (thing_group_name=?); \
           SCALAR SUBQUERY 2; \
           SEARCH thing_groups USING COVERING INDEX thing_groups_by_parent (parent_group_name=?)",
};

pub(super) const SELECT_THING_GROUP: Sql = Sql {
    name: "SELECT_THING_GROUP",
    text: concat!("SELECT ", columns!(), " FROM thing_groups WHERE thing_group_name = ?1"),
    parameters: &["thing_group_name"],
    plan: "SEARCH thing_groups USING PRIMARY KEY (thing_group_name=?)",
};

pub(super) const SELECT_THING_GROUPS: Sql = Sql {
    name: "SELECT_THING_GROUPS",
    text: "SELECT g.thing_group_name, g.thing_group_id, g.path, g.version, g.document, g.created_at \
           FROM json_each(?1) AS n JOIN thing_groups AS g ON g.thing_group_name = n.value",
    parameters: &["names, a JSON array"],
    plan: "SCAN n VIRTUAL TABLE INDEX 1:; \
           SEARCH g USING PRIMARY KEY (thing_group_name=?)",
};

pub(super) const UPDATE_THING_GROUP: Sql = Sql {
    name: "UPDATE_THING_GROUP",
    text: "UPDATE thing_groups SET version = ?4, document = ?5 \
           WHERE thing_group_name = ?1 AND thing_group_id = ?2 AND version = ?3",
    parameters: &["thing_group_name", "thing_group_id", "stored version", "version", "document"],
    plan: "SEARCH thing_groups USING PRIMARY KEY (thing_group_name=?)",
};

pub(super) const DELETE_THING_GROUP: Sql = Sql {
    name: "DELETE_THING_GROUP",
    text: "DELETE FROM thing_groups WHERE thing_group_name = ?1 AND thing_group_id = ?2 AND version = ?3 \
           AND NOT EXISTS (SELECT 1 FROM thing_groups WHERE parent_group_name = ?1)",
    parameters: &["thing_group_name", "thing_group_id", "version"],
    plan: "SEARCH thing_groups USING PRIMARY KEY (thing_group_name=?); \
           SCALAR SUBQUERY 1; \
           SEARCH thing_groups USING COVERING INDEX thing_groups_by_parent (parent_group_name=?)",
};

pub(super) const COUNT_CHILDREN: Sql = Sql {
    name: "COUNT_CHILDREN",
    text: "SELECT COUNT(*) AS children FROM thing_groups WHERE parent_group_name = ?1",
    parameters: &["thing_group_name"],
    plan: "SEARCH thing_groups USING COVERING INDEX thing_groups_by_parent (parent_group_name=?)",
};

pub(super) const LIST_THING_GROUPS: Sql = Sql {
    name: "LIST_THING_GROUPS",
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM thing_groups WHERE thing_group_name > ?1 AND thing_group_name >= ?3 AND thing_group_name < ?4 \
           ORDER BY thing_group_name LIMIT ?2"
    ),
    parameters: &["after thing_group_name", "limit", "first name", "end of names"],
    plan: "SEARCH thing_groups USING PRIMARY KEY (thing_group_name>? AND thing_group_name<?)",
};

pub(super) const LIST_CHILD_GROUPS: Sql = Sql {
    name: "LIST_CHILD_GROUPS",
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM thing_groups WHERE parent_group_name = ?5 AND thing_group_name > ?1 AND thing_group_name >= ?3 \
           AND thing_group_name < ?4 ORDER BY thing_group_name LIMIT ?2"
    ),
    parameters: &["after thing_group_name", "limit", "first name", "end of names", "parent_group_name or empty"],
    plan: "SEARCH thing_groups USING INDEX thing_groups_by_parent (parent_group_name=? AND thing_group_name>? AND thing_group_name<?)",
};

pub(super) const LIST_DESCENDANT_GROUPS: Sql = Sql {
    name: "LIST_DESCENDANT_GROUPS",
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM thing_groups WHERE path > ?1 AND path < ?5 AND thing_group_name >= ?3 AND thing_group_name < ?4 \
           ORDER BY path LIMIT ?2"
    ),
    parameters: &["after path", "limit", "first name", "end of names", "end of paths"],
    plan: "SEARCH thing_groups USING INDEX thing_groups_by_path (path>? AND path<?)",
};

pub(super) const LIST_DYNAMIC_GROUPS: Sql = Sql {
    name: "LIST_DYNAMIC_GROUPS",
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM thing_groups INDEXED BY dynamic_thing_groups WHERE is_dynamic = 1 ORDER BY thing_group_name LIMIT ?1"
    ),
    parameters: &["limit"],
    plan: "SCAN thing_groups USING INDEX dynamic_thing_groups",
};

/// Where groups and things are in one database, only to a group that is there.
pub(super) const INSERT_MEMBER: Sql = Sql {
    name: "INSERT_MEMBER",
    text: "INSERT INTO thing_group_members (path, thing_name, is_dynamic, added_at) \
           SELECT ?1, thing_name, ?3, ?4 FROM things WHERE thing_name = ?2 \
           AND (?5 OR EXISTS (SELECT 1 FROM thing_groups WHERE path = ?1)) \
           AND (SELECT COUNT(*) FROM thing_group_members WHERE thing_name = ?2) < ?6 \
           AND (?7 IS NULL OR NOT EXISTS (SELECT 1 FROM thing_group_members WHERE thing_name = ?2 \
           AND path >= ?7 AND path < ?8)) ON CONFLICT (path, thing_name) DO NOTHING",
    parameters: &[
        "path",
        "thing_name",
        "is_dynamic",
        "added_at",
        "whether groups are elsewhere",
        "most groups",
        "root path, or NULL if several of a hierarchy are allowed",
        "end of the root's paths",
    ],
    plan: "SEARCH things USING PRIMARY KEY (thing_name=?); \
           SCALAR SUBQUERY 1; \
           SEARCH thing_groups USING COVERING INDEX thing_groups_by_path (path=?); \
           SCALAR SUBQUERY 2; \
           SEARCH thing_group_members USING COVERING INDEX thing_group_members_by_thing (thing_name=?); \
           SCALAR SUBQUERY 3; \
           SEARCH thing_group_members USING COVERING INDEX thing_group_members_by_thing (thing_name=? AND path>? AND path<?)",
};

pub(super) const MAKE_ROOM: Sql = Sql {
    name: "MAKE_ROOM",
    text: "DELETE FROM thing_group_members WHERE thing_name = ?1 AND is_dynamic = 1 \
           AND path = (SELECT path FROM thing_group_members WHERE thing_name = ?1 AND is_dynamic = 1 \
           AND added_at = (SELECT MAX(added_at) FROM thing_group_members WHERE thing_name = ?1 AND is_dynamic = 1)) \
           AND (SELECT COUNT(*) FROM thing_group_members WHERE thing_name = ?1) >= ?2",
    parameters: &["thing_name", "most groups"],
    plan: "SEARCH thing_group_members USING PRIMARY KEY (path=? AND thing_name=?); \
           SCALAR SUBQUERY 2; \
           SEARCH thing_group_members USING INDEX thing_group_members_by_thing (thing_name=?); \
           SCALAR SUBQUERY 1; \
           SEARCH thing_group_members USING INDEX thing_group_members_by_thing (thing_name=?); \
           SCALAR SUBQUERY 3; \
           SEARCH thing_group_members USING COVERING INDEX thing_group_members_by_thing (thing_name=?)",
};

pub(super) const SELECT_MEMBER_STATE: Sql = Sql {
    name: "SELECT_MEMBER_STATE",
    text: "SELECT (SELECT thing_id FROM things WHERE thing_name = ?2) AS thing_id, \
           EXISTS (SELECT 1 FROM thing_group_members WHERE path = ?1 AND thing_name = ?2) AS is_member, \
           (SELECT COUNT(*) FROM thing_group_members WHERE thing_name = ?2) AS groups",
    parameters: &["path", "thing_name"],
    plan: "SCAN CONSTANT ROW; \
           SCALAR SUBQUERY 1; \
           SEARCH things USING PRIMARY KEY (thing_name=?); \
           SCALAR SUBQUERY 2; \
           SEARCH thing_group_members USING PRIMARY KEY (path=? AND thing_name=?); \
           SCALAR SUBQUERY 3; \
           SEARCH thing_group_members USING COVERING INDEX thing_group_members_by_thing (thing_name=?)",
};

pub(super) const DELETE_MEMBER: Sql = Sql {
    name: "DELETE_MEMBER",
    text: "DELETE FROM thing_group_members WHERE path = ?1 AND thing_name = ?2",
    parameters: &["path", "thing_name"],
    plan: "SEARCH thing_group_members USING PRIMARY KEY (path=? AND thing_name=?)",
};

pub(super) const DELETE_MEMBERS: Sql = Sql {
    name: "DELETE_MEMBERS",
    text: "DELETE FROM thing_group_members WHERE path = ?1 AND thing_name <= COALESCE((SELECT thing_name \
           FROM thing_group_members WHERE path = ?1 ORDER BY thing_name LIMIT 1 OFFSET ?2), char(1114111))",
    parameters: &["path", "most of them"],
    plan: "SEARCH thing_group_members USING PRIMARY KEY (path=? AND thing_name<?); \
           SCALAR SUBQUERY 1; \
           SEARCH thing_group_members USING PRIMARY KEY (path=?)",
};

pub(super) const LEAVE_ALL_GROUPS: Sql = Sql {
    name: "LEAVE_ALL_GROUPS",
    text: "DELETE FROM thing_group_members WHERE thing_name = ?1 \
           AND NOT EXISTS (SELECT 1 FROM things WHERE thing_name = ?1)",
    parameters: &["thing_name"],
    plan: "SEARCH thing_group_members USING INDEX thing_group_members_by_thing (thing_name=?); \
           SCALAR SUBQUERY 1; \
           SEARCH things USING PRIMARY KEY (thing_name=?)",
};

pub(super) const LIST_MEMBERS: Sql = Sql {
    name: "LIST_MEMBERS",
    text: "SELECT path, thing_name FROM thing_group_members WHERE path = ?1 AND thing_name > ?2 \
           ORDER BY thing_name LIMIT ?3",
    parameters: &["path", "after thing_name", "limit"],
    plan: "SEARCH thing_group_members USING PRIMARY KEY (path=? AND thing_name>?)",
};

/// Each thing once, though it may be in several of the groups: where its first path is.
pub(super) const LIST_MEMBERS_BELOW: Sql = Sql {
    name: "LIST_MEMBERS_BELOW",
    text: "SELECT path, thing_name FROM thing_group_members AS m WHERE (path, thing_name) > (?1, ?2) AND path < ?5 \
           AND NOT EXISTS (SELECT 1 FROM thing_group_members AS o WHERE o.thing_name = m.thing_name \
           AND o.path >= ?4 AND o.path < m.path) ORDER BY path, thing_name LIMIT ?3",
    parameters: &["after path", "after thing_name", "limit", "path", "end of paths"],
    plan: "SEARCH m USING PRIMARY KEY ((path,thing_name)>(?,?) AND path<?); \
           CORRELATED SCALAR SUBQUERY 1; \
           SEARCH o USING COVERING INDEX thing_group_members_by_thing (thing_name=? AND path>? AND path<?)",
};

pub(super) const LIST_GROUPS_OF_THING: Sql = Sql {
    name: "LIST_GROUPS_OF_THING",
    text: "SELECT thing_name, path, is_dynamic FROM thing_group_members WHERE thing_name = ?1 AND path > ?2 \
           ORDER BY path LIMIT ?3",
    parameters: &["thing_name", "after path", "limit"],
    plan: "SEARCH thing_group_members USING INDEX thing_group_members_by_thing (thing_name=? AND path>?)",
};

/// For a Broker: the groups of the things that connections are.
pub(super) const SELECT_GROUPS_OF_THINGS: Sql = Sql {
    name: "SELECT_GROUPS_OF_THINGS",
    text: "SELECT m.thing_name, m.path, m.is_dynamic FROM json_each(?1) AS t \
           JOIN thing_group_members AS m ON m.thing_name = t.value",
    parameters: &["thing names, a JSON array"],
    plan: "SCAN t VIRTUAL TABLE INDEX 1:; \
           SEARCH m USING INDEX thing_group_members_by_thing (thing_name=?)",
};

/// Stores a new group, unless there is one of the name or its parent has too many children. Follow it with
/// [`select_thing_group`] in the same batch.
#[must_use]
pub fn insert_thing_group(partition: Partition, group: &ThingGroup, limits: &Limits) -> Statement {
    let parameters = vec![
        group.thing_group_name.as_str().into(),
        group.thing_group_id.as_str().into(),
        group.path.ancestors().last().copied().unwrap_or_default().into(),
        group.path.as_str().into(),
        group.version.into(),
        Parameter::Text(to_text(&group.document)),
        group.document.query.is_some().into(),
        group.created_at.into(),
        u64::from(limits.children_of_thing_group).into(),
    ];
    INSERT_THING_GROUP.bind(partition, parameters)
}

/// Reads a group: [`ThingGroupRow`](crate::thing_group::ThingGroupRow), none or one.
#[must_use]
pub fn select_thing_group(partition: Partition, name: &str) -> Statement {
    SELECT_THING_GROUP.bind(partition, vec![name.into()])
}

/// Reads those groups of these names that there are: [`ThingGroupRow`](crate::thing_group::ThingGroupRow).
#[must_use]
pub fn select_thing_groups(partition: Partition, names: &[&str]) -> Statement {
    SELECT_THING_GROUPS.bind(partition, vec![Parameter::Text(json!(names).to_string())])
}

/// Stores `changed` in place of `stored`, unless that has changed since it was read: then it changes 0 rows.
#[must_use]
pub fn update_thing_group(partition: Partition, stored: &ThingGroup, changed: &ThingGroup) -> Statement {
    let parameters = vec![
        stored.thing_group_name.as_str().into(),
        stored.thing_group_id.as_str().into(),
        stored.version.into(),
        changed.version.into(),
        Parameter::Text(to_text(&changed.document)),
    ];
    UPDATE_THING_GROUP.bind(partition, parameters)
}

/// Deletes a group that has not changed since it was read and has no children.
#[must_use]
pub fn delete_thing_group(partition: Partition, stored: &ThingGroup) -> Statement {
    let (name, id) = (stored.thing_group_name.as_str(), stored.thing_group_id.as_str());
    DELETE_THING_GROUP.bind(partition, vec![name.into(), id.into(), stored.version.into()])
}

/// Reads how many groups are right below one: [`ChildrenRow`](crate::thing_group::ChildrenRow), one.
#[must_use]
pub fn count_children(partition: Partition, name: &str) -> Statement {
    COUNT_CHILDREN.bind(partition, vec![name.into()])
}

/// Reads a page of groups: [`ThingGroupRow`](crate::thing_group::ThingGroupRow), up to one more than the page. `parent`
/// is the stored group that the request names.
#[must_use]
pub fn list_thing_groups(
    partition: Partition,
    request: &ListThingGroupsRequest,
    parent: Option<&ThingGroup>,
) -> Statement {
    let prefix = request.name_prefix.as_str();
    let page = &request.page;
    let end = Parameter::Text(format!("{prefix}\u{10ffff}"));
    let mut parameters = vec![page.after.as_str().into(), page_limit(page.size), prefix.into(), end];
    match (parent, request.is_recursive) {
        (None, true) => LIST_THING_GROUPS.bind(partition, parameters),
        (Some(parent), true) => {
            if page.after.is_empty() {
                parameters.splice(..1, [parent.path.as_str().into()]);
            }
            parameters.push(Parameter::Text(parent.path.end()));
            LIST_DESCENDANT_GROUPS.bind(partition, parameters)
        }
        (parent, false) => {
            parameters.push(parent.map_or("", |parent| parent.thing_group_name.as_str()).into());
            LIST_CHILD_GROUPS.bind(partition, parameters)
        }
    }
}

/// Reads the dynamic groups: [`ThingGroupRow`](crate::thing_group::ThingGroupRow).
#[must_use]
pub fn list_dynamic_groups(partition: Partition, limit: u32) -> Statement {
    LIST_DYNAMIC_GROUPS.bind(partition, vec![Parameter::Integer(limit.into())])
}

/// Puts a thing into a group, as far as the limits allow it. Follow it with [`select_member_state`] in the same batch.
#[must_use]
pub fn insert_member(
    partition: Partition,
    path: &GroupPath,
    thing: &ThingName,
    is_dynamic: bool,
    limits: &Limits,
    now: UnixMillis,
) -> Statement {
    let is_elsewhere = partition != Partition::FIRST;
    let root = path.of_root();
    let only_one = !limits.several_groups_of_hierarchy && !is_dynamic;
    let parameters = vec![
        path.as_str().into(),
        thing.as_str().into(),
        is_dynamic.into(),
        now.into(),
        is_elsewhere.into(),
        u64::from(limits.thing_groups_of_thing).into(),
        only_one.then(|| root.as_str()).into(),
        Parameter::Text(root.end()),
    ];
    INSERT_MEMBER.bind(partition, parameters)
}

/// Takes a thing that is in as many groups as it may be out of its newest dynamic group (`overrideDynamicGroups`).
#[must_use]
pub fn make_room(partition: Partition, thing: &ThingName, limits: &Limits) -> Statement {
    MAKE_ROOM.bind(partition, vec![thing.as_str().into(), u64::from(limits.thing_groups_of_thing).into()])
}

/// Reads what [`insert_member`] needs and has done: [`MemberStateRow`](crate::thing_group::MemberStateRow), one.
#[must_use]
pub fn select_member_state(partition: Partition, path: &GroupPath, thing: &ThingName) -> Statement {
    SELECT_MEMBER_STATE.bind(partition, vec![path.as_str().into(), thing.as_str().into()])
}

/// Takes a thing out of a group.
#[must_use]
pub fn delete_member(partition: Partition, path: &GroupPath, thing: &ThingName) -> Statement {
    DELETE_MEMBER.bind(partition, vec![path.as_str().into(), thing.as_str().into()])
}

/// Takes things out of a group, the first so many and one. Repeat it until it changes no row.
#[must_use]
pub fn delete_members(partition: Partition, path: &GroupPath, most: u32) -> Statement {
    DELETE_MEMBERS.bind(partition, vec![path.as_str().into(), Parameter::Integer(most.into())])
}

/// Takes a thing that is no more out of all groups.
#[must_use]
pub fn leave_all_groups(partition: Partition, thing: &ThingName) -> Statement {
    LEAVE_ALL_GROUPS.bind(partition, vec![thing.as_str().into()])
}

/// Reads a page of the things in a group, or in it and those below: [`MemberRow`](crate::thing_group::MemberRow), up to
/// one more than the page. Every partition is asked.
#[must_use]
pub fn list_members(partition: Partition, path: &GroupPath, is_recursive: bool, page: &Page) -> Statement {
    let (after_path, after_name) = page.after.split_once('\n').unwrap_or((path.as_str(), ""));
    let limit = page_limit(page.size);
    if is_recursive {
        let end = Parameter::Text(path.end());
        return LIST_MEMBERS_BELOW
            .bind(partition, vec![after_path.into(), after_name.into(), limit, path.as_str().into(), end]);
    }
    LIST_MEMBERS.bind(partition, vec![path.as_str().into(), after_name.into(), limit])
}

/// Reads a page of the groups that a thing is in: [`GroupOfThingRow`](crate::thing_group::GroupOfThingRow).
#[must_use]
pub fn list_groups_of_thing(partition: Partition, thing: &ThingName, page: &Page) -> Statement {
    LIST_GROUPS_OF_THING.bind(partition, vec![thing.as_str().into(), page.after.as_str().into(), page_limit(page.size)])
}

/// Reads the groups of things: [`GroupOfThingRow`](crate::thing_group::GroupOfThingRow).
#[must_use]
pub fn select_groups_of_things(partition: Partition, things: &[&str]) -> Statement {
    SELECT_GROUPS_OF_THINGS.bind(partition, vec![Parameter::Text(json!(things).to_string())])
}
