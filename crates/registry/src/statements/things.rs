//! Statements about things. A thing is one row of `things`, its attributes JSON text in it.

use super::{Parameter, Sql, Statement, page_limit};
use crate::page::Page;
use crate::partition::Partition;
use crate::thing::{AttributeFilter, DeleteThingRequest, ListThingsRequest, ThingRecord};
use iot_types::ThingName;
use serde_json::{Map, Value};

macro_rules! columns {
    () => {
        "thing_name, thing_id, version, attributes, thing_type_name, billing_group_name, created_at"
    };
}

// The value of one attribute, compared as a whole or by its beginning. There is no index behind it: a filter by
// attribute reads the things in order of their names until the page is full. An index would cost a row per attribute
// and write; whoever searches often has fleet indexing.
macro_rules! attribute_matches {
    () => {
        "CASE ?5 WHEN 1 THEN substr(json_extract(attributes, ?3), 1, length(?4)) \
         ELSE json_extract(attributes, ?3) END = ?4"
    };
}

/// Changes nothing when the name is taken: the [`select_thing`] after it in the batch tells whose row is stored.
pub(super) const INSERT_THING: Sql = Sql {
    name: "INSERT_THING",
    text: concat!(
        "INSERT INTO things (",
        columns!(),
        ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (thing_name) DO NOTHING"
    ),
    parameters: &[
        "thing_name",
        "thing_id",
        "version",
        "attributes",
        "thing_type_name",
        "billing_group_name",
        "created_at",
    ],
    plan: "",
};

pub(super) const SELECT_THING: Sql = Sql {
    name: "SELECT_THING",
    text: concat!("SELECT ", columns!(), " FROM things WHERE thing_name = ?1"),
    parameters: &["thing_name"],
    plan: "SEARCH things USING PRIMARY KEY (thing_name=?)",
};

/// Changes nothing unless the thing that was read is still there, unchanged. Its id is compared as well as its version:
/// a thing deleted and created again may have come to the same version.
pub(super) const UPDATE_THING: Sql = Sql {
    name: "UPDATE_THING",
    text: "UPDATE things SET version = ?4, attributes = ?5, thing_type_name = ?6 \
           WHERE thing_name = ?1 AND thing_id = ?2 AND version = ?3",
    parameters: &["thing_name", "thing_id", "stored version", "new version", "attributes", "thing_type_name"],
    plan: "SEARCH things USING PRIMARY KEY (thing_name=?)",
};

pub(super) const DELETE_THING: Sql = Sql {
    name: "DELETE_THING",
    text: "DELETE FROM things WHERE thing_name = ?1 AND (?2 IS NULL OR version = ?2) \
           AND NOT EXISTS (SELECT 1 FROM thing_principals WHERE thing_name = ?1)",
    parameters: &["thing_name", "expected version or NULL"],
    plan: "SEARCH things USING PRIMARY KEY (thing_name=?); \
           SCALAR SUBQUERY 1; \
           SEARCH thing_principals USING COVERING INDEX thing_principals_by_thing (thing_name=?)",
};

pub(super) const LIST_THINGS: Sql = Sql {
    name: "LIST_THINGS",
    text: concat!("SELECT ", columns!(), " FROM things WHERE thing_name > ?1 ORDER BY thing_name LIMIT ?2"),
    parameters: &["after thing_name", "limit"],
    plan: "SEARCH things USING PRIMARY KEY (thing_name>?)",
};

pub(super) const LIST_THINGS_BY_TYPE: Sql = Sql {
    name: "LIST_THINGS_BY_TYPE",
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM things WHERE thing_type_name = ?3 AND thing_name > ?1 ORDER BY thing_name LIMIT ?2"
    ),
    parameters: &["after thing_name", "limit", "thing_type_name"],
    plan: "SEARCH things USING INDEX things_by_thing_type (thing_type_name=? AND thing_name>?)",
};

pub(super) const LIST_THINGS_BY_ATTRIBUTE: Sql = Sql {
    name: "LIST_THINGS_BY_ATTRIBUTE",
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM things WHERE thing_name > ?1 AND ",
        attribute_matches!(),
        " ORDER BY thing_name LIMIT ?2"
    ),
    parameters: &["after thing_name", "limit", "JSON path", "value", "1 to compare the beginning"],
    plan: "SEARCH things USING PRIMARY KEY (thing_name>?)",
};

pub(super) const LIST_THINGS_BY_TYPE_AND_ATTRIBUTE: Sql = Sql {
    name: "LIST_THINGS_BY_TYPE_AND_ATTRIBUTE",
    text: concat!(
        "SELECT ",
        columns!(),
        " FROM things WHERE thing_type_name = ?6 AND thing_name > ?1 AND ",
        attribute_matches!(),
        " ORDER BY thing_name LIMIT ?2"
    ),
    parameters: &["after thing_name", "limit", "JSON path", "value", "1 to compare the beginning", "thing_type_name"],
    plan: "SEARCH things USING INDEX things_by_thing_type (thing_type_name=? AND thing_name>?)",
};

pub(super) const LIST_THINGS_IN_BILLING_GROUP: Sql = Sql {
    name: "LIST_THINGS_IN_BILLING_GROUP",
    text: "SELECT thing_name FROM things WHERE billing_group_name = ?3 AND thing_name > ?1 ORDER BY thing_name LIMIT ?2",
    parameters: &["after thing_name", "limit", "billing_group_name"],
    plan: "SEARCH things USING COVERING INDEX things_by_billing_group (billing_group_name=? AND thing_name>?)",
};

/// The thing's version counts only what its owner says of it, so it stays.
pub(super) const SET_BILLING_GROUP: Sql = Sql {
    name: "SET_BILLING_GROUP",
    text: "UPDATE things SET billing_group_name = ?2 WHERE thing_name = ?1 AND (?3 IS NULL OR billing_group_name = ?3)",
    parameters: &["thing_name", "billing_group_name or NULL", "only if it is in this one, or NULL"],
    plan: "SEARCH things USING PRIMARY KEY (thing_name=?)",
};

pub(super) const LEAVE_BILLING_GROUP: Sql = Sql {
    name: "LEAVE_BILLING_GROUP",
    text: "UPDATE things SET billing_group_name = NULL WHERE billing_group_name = ?1 AND thing_name <= \
           COALESCE((SELECT thing_name FROM things WHERE billing_group_name = ?1 ORDER BY thing_name LIMIT 1 OFFSET ?2), \
           char(1114111))",
    parameters: &["billing_group_name", "most of them"],
    plan: "SEARCH things USING INDEX things_by_billing_group (billing_group_name=? AND thing_name<?); \
           SCALAR SUBQUERY 1; \
           SEARCH things USING COVERING INDEX things_by_billing_group (billing_group_name=?)",
};

/// Reads a page of the things in a billing group: [`ThingNameRow`](crate::billing_group::ThingNameRow), up to one more
/// than the page. Every partition is asked.
#[must_use]
pub fn list_things_in_billing_group(partition: Partition, name: &str, page: &Page) -> Statement {
    LIST_THINGS_IN_BILLING_GROUP.bind(partition, vec![page.after.as_str().into(), page_limit(page.size), name.into()])
}

/// Puts a thing into a billing group, or takes it out of `only`.
#[must_use]
pub fn set_billing_group(
    partition: Partition,
    thing_name: &ThingName,
    name: Option<&str>,
    only: Option<&str>,
) -> Statement {
    SET_BILLING_GROUP.bind(partition, vec![thing_name.as_str().into(), name.into(), only.into()])
}

/// Takes things out of a billing group, the first so many and one. Repeat it until it changes no row.
#[must_use]
pub fn leave_billing_group(partition: Partition, name: &str, most: u32) -> Statement {
    LEAVE_BILLING_GROUP.bind(partition, vec![name.into(), Parameter::Integer(most.into())])
}

/// Stores a new thing, unless there is one of the name. Follow it with [`select_thing`] in the same batch.
#[must_use]
pub fn insert_thing(partition: Partition, thing: &ThingRecord) -> Statement {
    let parameters = vec![
        thing.thing_name.as_str().into(),
        thing.thing_id.as_str().into(),
        thing.version.into(),
        attributes(thing),
        thing.thing_type_name.as_deref().into(),
        thing.billing_group_name.as_deref().into(),
        thing.created_at.into(),
    ];
    INSERT_THING.bind(partition, parameters)
}

/// Reads a thing: [`ThingRow`](crate::thing::ThingRow), none or one.
#[must_use]
pub fn select_thing(partition: Partition, thing_name: &ThingName) -> Statement {
    SELECT_THING.bind(partition, vec![thing_name.as_str().into()])
}

/// Stores `thing` in place of `stored`, unless that has changed since it was read: then it changes 0 rows.
#[must_use]
pub fn update_thing(partition: Partition, stored: &ThingRecord, thing: &ThingRecord) -> Statement {
    let parameters = vec![
        stored.thing_name.as_str().into(),
        stored.thing_id.as_str().into(),
        stored.version.into(),
        thing.version.into(),
        attributes(thing),
        thing.thing_type_name.as_deref().into(),
    ];
    UPDATE_THING.bind(partition, parameters)
}

/// Deletes a thing if it has the version that the client expects. Follow it with [`select_thing`] in the same batch.
#[must_use]
pub fn delete_thing(partition: Partition, request: &DeleteThingRequest) -> Statement {
    let expected_version = request.expected_version.map_or(Parameter::Null, Parameter::Integer);
    DELETE_THING.bind(partition, vec![request.thing_name.as_str().into(), expected_version])
}

/// Reads a page of things: [`ThingRow`](crate::thing::ThingRow), up to one more than the page. Every partition is asked.
#[must_use]
pub fn list_things(partition: Partition, request: &ListThingsRequest) -> Statement {
    let mut parameters = vec![request.after.as_str().into(), page_limit(request.max_results)];
    let sql = match (&request.attribute, &request.thing_type_name) {
        (None, None) => LIST_THINGS,
        (None, Some(_)) => LIST_THINGS_BY_TYPE,
        (Some(_), None) => LIST_THINGS_BY_ATTRIBUTE,
        (Some(_), Some(_)) => LIST_THINGS_BY_TYPE_AND_ATTRIBUTE,
    };
    if let Some(AttributeFilter { name, value, prefix }) = &request.attribute {
        // The request was checked: a name has no quote to break out of this path with.
        parameters.push(Parameter::Text(format!("$.\"{name}\"")));
        parameters.push(value.as_str().into());
        parameters.push((*prefix).into());
    }
    if let Some(name) = &request.thing_type_name {
        parameters.push(name.as_str().into());
    }
    sql.bind(partition, parameters)
}

fn attributes(thing: &ThingRecord) -> Parameter {
    let pairs: Map<String, Value> =
        thing.attributes.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    Parameter::Text(Value::Object(pairs).to_string())
}
