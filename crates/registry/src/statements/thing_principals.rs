//! Statements about the principals of things. Whoever attaches or detaches one adds
//! [`append_control_log`](super::append_control_log) to the batch: policy variables change with it.

use super::{Parameter, Sql, Statement, page_limit};
use crate::partition::Partition;
use crate::policy::PolicyTarget;
use crate::thing_principal::{ThingPrincipalType, ThingPrincipalsPage};
use iot_types::ThingName;
use serde_json::json;

pub(super) const ATTACH_THING_PRINCIPAL: Sql = Sql {
    name: "ATTACH_THING_PRINCIPAL",
    text: "INSERT INTO thing_principals (principal, thing_name, is_exclusive) SELECT ?1, thing_name, ?3 FROM things \
           WHERE thing_name = ?2 AND (?4 IS NULL OR EXISTS (SELECT 1 FROM certificates WHERE certificate_id = ?4)) \
           AND NOT EXISTS (SELECT 1 FROM thing_principals WHERE principal = ?1 AND thing_name <> ?2 \
           AND (?3 OR is_exclusive)) ON CONFLICT (principal, thing_name) DO NOTHING",
    parameters: &["principal", "thing_name", "is_exclusive", "certificate_id or NULL"],
    plan: "SEARCH things USING PRIMARY KEY (thing_name=?); \
           SCALAR SUBQUERY 1; \
           SEARCH certificates USING PRIMARY KEY (certificate_id=?); \
           SCALAR SUBQUERY 2; \
           SEARCH thing_principals USING PRIMARY KEY (principal=?)",
};

pub(super) const SELECT_THING_ATTACHMENT: Sql = Sql {
    name: "SELECT_THING_ATTACHMENT",
    text: "SELECT EXISTS (SELECT 1 FROM things WHERE thing_name = ?2) AS has_thing, \
           (?3 IS NULL OR EXISTS (SELECT 1 FROM certificates WHERE certificate_id = ?3)) AS has_principal, \
           (SELECT is_exclusive FROM thing_principals WHERE principal = ?1 AND thing_name = ?2) AS is_exclusive",
    parameters: &["principal", "thing_name", "certificate_id or NULL"],
    plan: "SCAN CONSTANT ROW; \
           SCALAR SUBQUERY 1; \
           SEARCH things USING PRIMARY KEY (thing_name=?); \
           SCALAR SUBQUERY 2; \
           SEARCH certificates USING PRIMARY KEY (certificate_id=?); \
           SCALAR SUBQUERY 3; \
           SEARCH thing_principals USING PRIMARY KEY (principal=? AND thing_name=?)",
};

pub(super) const DETACH_THING_PRINCIPAL: Sql = Sql {
    name: "DETACH_THING_PRINCIPAL",
    text: "DELETE FROM thing_principals WHERE principal = ?1 AND thing_name = ?2",
    parameters: &["principal", "thing_name"],
    plan: "SEARCH thing_principals USING PRIMARY KEY (principal=? AND thing_name=?)",
};

pub(super) const LIST_THING_PRINCIPALS: Sql = Sql {
    name: "LIST_THING_PRINCIPALS",
    text: "SELECT principal, thing_name, is_exclusive FROM thing_principals WHERE thing_name = ?3 AND principal > ?1 \
           AND (?4 IS NULL OR is_exclusive = ?4) ORDER BY principal LIMIT ?2",
    parameters: &["after principal", "limit", "thing_name", "is_exclusive or NULL"],
    plan: "SEARCH thing_principals USING INDEX thing_principals_by_thing (thing_name=? AND principal>?)",
};

pub(super) const LIST_PRINCIPAL_THINGS: Sql = Sql {
    name: "LIST_PRINCIPAL_THINGS",
    text: "SELECT principal, thing_name, is_exclusive FROM thing_principals WHERE principal = ?3 AND thing_name > ?1 \
           AND (?4 IS NULL OR is_exclusive = ?4) ORDER BY thing_name LIMIT ?2",
    parameters: &["after thing_name", "limit", "principal", "is_exclusive or NULL"],
    plan: "SEARCH thing_principals USING PRIMARY KEY (principal=? AND thing_name>?)",
};

pub(super) const HAS_PRINCIPALS: Sql = Sql {
    name: "HAS_PRINCIPALS",
    text: "SELECT EXISTS (SELECT 1 FROM thing_principals WHERE thing_name = ?1) AS has_principals",
    parameters: &["thing_name"],
    plan: "SCAN CONSTANT ROW; \
           SCALAR SUBQUERY 1; \
           SEARCH thing_principals USING COVERING INDEX thing_principals_by_thing (thing_name=?)",
};

/// For a Broker: the things that connections are, in one read. The thing that is named like the client, or the one that
/// the principal has for itself.
pub(super) const SELECT_THINGS_OF_PRINCIPALS: Sql = Sql {
    name: "SELECT_THINGS_OF_PRINCIPALS",
    text: "SELECT p.principal, a.value ->> 1 AS client_id, t.thing_name, t.thing_type_name, t.attributes \
           FROM json_each(?1) AS a JOIN thing_principals AS p ON p.principal = a.value ->> 0 \
           AND (p.is_exclusive OR p.thing_name = a.value ->> 1) JOIN things AS t ON t.thing_name = p.thing_name",
    parameters: &["principals and client ids, a JSON array of pairs"],
    plan: "SCAN a VIRTUAL TABLE INDEX 1:; \
           SEARCH p USING PRIMARY KEY (principal=?); \
           SEARCH t USING PRIMARY KEY (thing_name=?)",
};

/// Attaches a principal to a thing, if both are there and neither is another's alone.
#[must_use]
pub fn attach_thing_principal(
    partition: Partition,
    name: &ThingName,
    principal: &PolicyTarget,
    kind: ThingPrincipalType,
) -> Statement {
    let is_exclusive = kind == ThingPrincipalType::Exclusive;
    let parameters =
        vec![principal.as_str().into(), name.as_str().into(), is_exclusive.into(), certificate_id(principal)];
    ATTACH_THING_PRINCIPAL.bind(partition, parameters)
}

/// Reads what [`attach_thing_principal`] needs and has done:
/// [`ThingAttachmentRow`](crate::thing_principal::ThingAttachmentRow), one.
#[must_use]
pub fn select_thing_attachment(partition: Partition, name: &ThingName, principal: &PolicyTarget) -> Statement {
    let parameters = vec![principal.as_str().into(), name.as_str().into(), certificate_id(principal)];
    SELECT_THING_ATTACHMENT.bind(partition, parameters)
}

/// Reads whether any client is this thing: [`HasPrincipalsRow`](crate::thing_principal::HasPrincipalsRow), one.
#[must_use]
pub fn has_principals(partition: Partition, name: &ThingName) -> Statement {
    HAS_PRINCIPALS.bind(partition, vec![name.as_str().into()])
}

/// Detaches a principal.
#[must_use]
pub fn detach_thing_principal(partition: Partition, name: &ThingName, principal: &PolicyTarget) -> Statement {
    DETACH_THING_PRINCIPAL.bind(partition, vec![principal.as_str().into(), name.as_str().into()])
}

/// Reads a page of a thing's principals: [`ThingPrincipalRow`](crate::thing_principal::ThingPrincipalRow).
#[must_use]
pub fn list_thing_principals(partition: Partition, name: &ThingName, page: &ThingPrincipalsPage) -> Statement {
    LIST_THING_PRINCIPALS.bind(partition, page_of(page, name.as_str()))
}

/// Reads a page of a principal's things: [`ThingPrincipalRow`](crate::thing_principal::ThingPrincipalRow).
#[must_use]
pub fn list_principal_things(partition: Partition, principal: &PolicyTarget, page: &ThingPrincipalsPage) -> Statement {
    LIST_PRINCIPAL_THINGS.bind(partition, page_of(page, principal.as_str()))
}

/// Reads the things that connections are, each a principal and a client id:
/// [`ThingOfPrincipalRow`](crate::thing_principal::ThingOfPrincipalRow).
#[must_use]
pub fn select_things_of_principals(partition: Partition, connections: &[(&str, &str)]) -> Statement {
    SELECT_THINGS_OF_PRINCIPALS.bind(partition, vec![Parameter::Text(json!(connections).to_string())])
}

fn page_of(page: &ThingPrincipalsPage, of: &str) -> Vec<Parameter> {
    let only = page.only.map(|kind| kind == ThingPrincipalType::Exclusive);
    vec![page.after.as_str().into(), page_limit(page.size), of.into(), only.map_or(Parameter::Null, Parameter::from)]
}

fn certificate_id(principal: &PolicyTarget) -> Parameter {
    principal.certificate_id().map_or(Parameter::Null, Parameter::from)
}
