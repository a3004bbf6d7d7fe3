//! Every D1 statement, as text with numbered parameters and as a function that binds them; but for those that follow from
//! a query of fleet indexing, which the crate `fleet-index` writes and tests.
//!
//! Each is listed in [`CATALOGUE`] with the index that serves it, and `tests/sql.rs` runs all of them against the
//! migrations and compares their query plans, so that neither can rot.
//!
//! Rules that hold for all: one row per write where it is possible (D1 bills rows, an index entry is a row); optimistic
//! concurrency is in the `WHERE` of the statement, never in a read before it; lists are keyset-paginated and ask for
//! one row more than the page to know whether there is another. Integers are below 2^53, which is what JavaScript holds.

mod audit;
mod authorizers;
mod ca_certificates;
mod certificates;
mod control;
mod indexing;
mod jobs;
mod keys;
mod policies;
mod resources;
mod tags;
mod thing_groups;
mod thing_principals;
mod things;
mod token_uses;
mod topic_rules;
mod transfers;

pub use audit::{append_audit_log, forget_audit_log, list_audit_log};
pub use authorizers::{
    clear_default_authorizer, delete_authorizer, insert_authorizer, list_authorizers, select_authorizer,
    select_default_authorizer, set_default_authorizer, update_authorizer,
};
pub use ca_certificates::{
    delete_ca_certificate, delete_registration_code, insert_ca_certificate, insert_platform_authority,
    insert_registration_code, list_ca_certificates, list_certificates_by_ca, select_ca_certificate,
    select_ca_certificates_of_subject, select_platform_authority, select_registration_code, update_ca_certificate,
};
pub use certificates::{
    delete_certificate, delete_expired_certificate, detach_from_certificate, insert_certificate, list_certificates,
    select_certificate, select_certificates_in_use, update_certificate,
};
pub use control::{
    append_control_log, control_head, control_log_after, put_deployment_value, put_virtual_shard, select_deployment,
    select_virtual_shards,
};
pub use indexing::{list_indexed_names, list_registered_names};
pub use jobs::{insert_job, list_jobs, select_job, update_job_status};
pub use keys::{
    delete_api_key, delete_role_alias, detach_from_api_key, insert_api_key, insert_role_alias, list_api_keys,
    list_role_aliases, select_api_key, select_api_keys_in_use, select_role_alias, update_api_key, update_role_alias,
};
pub use policies::{
    attach_policy, count_policy_version, delete_policy, delete_policy_version, delete_policy_versions,
    detach_all_policies, detach_policy, insert_first_policy_version, insert_policy, insert_policy_version,
    list_attached_policies, list_policies, list_policy_versions, list_targets_for_policy, select_attachment,
    select_policies_by_name, select_policies_of_targets, select_policy, select_policy_version,
    set_default_policy_version,
};
pub use resources::{
    delete_resource, delete_resources, insert_resource, insert_resource_beside, list_resources, put_resource,
    select_resource, select_resources, update_resource,
};
pub use tags::{delete_all_tags, delete_tags, list_tags, put_tags};
pub use thing_groups::{
    count_children, delete_member, delete_members, delete_thing_group, insert_member, insert_thing_group,
    leave_all_groups, list_dynamic_groups, list_groups_of_thing, list_members, list_thing_groups, make_room,
    select_groups_of_things, select_member_state, select_thing_group, select_thing_groups, update_thing_group,
};
pub use thing_principals::{
    attach_thing_principal, detach_thing_principal, has_principals, list_principal_things, list_thing_principals,
    select_thing_attachment, select_things_of_principals,
};
pub use things::{
    delete_thing, insert_thing, leave_billing_group, list_things, list_things_in_billing_group, select_thing,
    set_billing_group, update_thing,
};
pub use token_uses::{forget_tokens, use_token};
pub use topic_rules::{
    delete_topic_rule, insert_topic_rule, list_enabled_topic_rules, list_topic_rules, select_topic_rule,
};
pub use transfers::{begin_transfer, end_transfer, forget_transfer, insert_transfer, list_outgoing, note_transfer};

use crate::partition::Partition;
use iot_types::UnixMillis;
use std::borrow::Cow;

/// A statement with its parameters, ready for one partition's database.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Which database.
    pub partition: Partition,
    /// The text, with parameters `?1`, `?2`, …
    pub sql: Cow<'static, str>,
    /// The parameters, `?1` first.
    pub parameters: Vec<Parameter>,
}

impl Statement {
    /// A statement of the crate `fleet-index`, whose text follows from a query.
    #[must_use]
    pub fn of_index(partition: Partition, statement: fleet_index::Statement) -> Self {
        let parameters = statement.parameters.into_iter().map(|parameter| match parameter {
            fleet_index::Parameter::Null => Parameter::Null,
            fleet_index::Parameter::Integer(number) => Parameter::Integer(number),
            fleet_index::Parameter::Text(text) => Parameter::Text(text),
        });
        Self { partition, sql: Cow::Owned(statement.sql), parameters: parameters.collect() }
    }
}

/// A value bound to a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// SQL NULL.
    Null,
    /// An integer that JavaScript holds exactly.
    Integer(i64),
    /// UTF-8 text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// A statement's entry in the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Sql {
    /// The constant's name.
    pub name: &'static str,
    /// The text.
    pub text: &'static str,
    /// What `?1`, `?2`, … are.
    pub parameters: &'static [&'static str],
    /// What EXPLAIN QUERY PLAN must say: the index that serves the statement. Empty for a plain INSERT.
    pub plan: &'static str,
}

impl Sql {
    fn bind(&self, partition: Partition, parameters: Vec<Parameter>) -> Statement {
        debug_assert_eq!(parameters.len(), self.parameters.len(), "{}", self.name);
        Statement { partition, sql: Cow::Borrowed(self.text), parameters }
    }
}

/// All statements.
pub const CATALOGUE: &[Sql] = &[
    things::INSERT_THING,
    things::SELECT_THING,
    things::UPDATE_THING,
    things::DELETE_THING,
    things::LIST_THINGS,
    things::LIST_THINGS_BY_TYPE,
    things::LIST_THINGS_BY_ATTRIBUTE,
    things::LIST_THINGS_BY_TYPE_AND_ATTRIBUTE,
    things::LIST_THINGS_IN_BILLING_GROUP,
    things::SET_BILLING_GROUP,
    things::LEAVE_BILLING_GROUP,
    topic_rules::INSERT_TOPIC_RULE,
    topic_rules::SELECT_TOPIC_RULE,
    topic_rules::DELETE_TOPIC_RULE,
    topic_rules::LIST_TOPIC_RULES,
    topic_rules::LIST_ENABLED_TOPIC_RULES,
    jobs::INSERT_JOB,
    jobs::SELECT_JOB,
    jobs::UPDATE_JOB_STATUS,
    jobs::LIST_JOBS,
    jobs::LIST_JOBS_BY_STATUS,
    policies::INSERT_FIRST_POLICY_VERSION,
    policies::INSERT_POLICY,
    policies::SELECT_POLICY,
    policies::LIST_POLICIES,
    policies::LIST_POLICIES_DESCENDING,
    policies::COUNT_POLICY_VERSION,
    policies::INSERT_POLICY_VERSION,
    policies::SELECT_POLICY_VERSION,
    policies::LIST_POLICY_VERSIONS,
    policies::DELETE_POLICY_VERSION,
    policies::SET_DEFAULT_POLICY_VERSION,
    policies::DELETE_POLICY,
    policies::DELETE_POLICY_VERSIONS,
    policies::ATTACH_POLICY,
    policies::SELECT_ATTACHMENT,
    policies::DETACH_POLICY,
    policies::DETACH_ALL_POLICIES,
    policies::LIST_ATTACHED_POLICIES,
    policies::LIST_TARGETS_FOR_POLICY,
    policies::SELECT_POLICIES_OF_TARGETS,
    certificates::INSERT_CERTIFICATE,
    certificates::SELECT_CERTIFICATE,
    certificates::UPDATE_CERTIFICATE,
    certificates::DELETE_CERTIFICATE,
    certificates::DELETE_EXPIRED_CERTIFICATE,
    certificates::DETACH_FROM_CERTIFICATE,
    certificates::LIST_CERTIFICATES,
    certificates::LIST_CERTIFICATES_DESCENDING,
    certificates::SELECT_CERTIFICATES_IN_USE,
    ca_certificates::INSERT_CA_CERTIFICATE,
    ca_certificates::SELECT_CA_CERTIFICATE,
    ca_certificates::SELECT_CA_CERTIFICATES_OF_SUBJECT,
    ca_certificates::UPDATE_CA_CERTIFICATE,
    ca_certificates::DELETE_CA_CERTIFICATE,
    ca_certificates::LIST_CA_CERTIFICATES,
    ca_certificates::LIST_CA_CERTIFICATES_DESCENDING,
    ca_certificates::LIST_CERTIFICATES_BY_CA,
    ca_certificates::LIST_CERTIFICATES_BY_CA_DESCENDING,
    ca_certificates::INSERT_REGISTRATION_CODE,
    ca_certificates::SELECT_REGISTRATION_CODE,
    ca_certificates::DELETE_REGISTRATION_CODE,
    ca_certificates::INSERT_PLATFORM_AUTHORITY,
    ca_certificates::SELECT_PLATFORM_AUTHORITY,
    transfers::BEGIN_TRANSFER,
    transfers::INSERT_TRANSFER,
    transfers::END_TRANSFER,
    transfers::NOTE_TRANSFER,
    transfers::FORGET_TRANSFER,
    transfers::LIST_OUTGOING,
    transfers::LIST_OUTGOING_DESCENDING,
    thing_principals::ATTACH_THING_PRINCIPAL,
    thing_principals::SELECT_THING_ATTACHMENT,
    thing_principals::DETACH_THING_PRINCIPAL,
    thing_principals::LIST_THING_PRINCIPALS,
    thing_principals::LIST_PRINCIPAL_THINGS,
    thing_principals::HAS_PRINCIPALS,
    thing_principals::SELECT_THINGS_OF_PRINCIPALS,
    policies::SELECT_POLICIES_BY_NAME,
    token_uses::USE_TOKEN,
    token_uses::FORGET_TOKENS,
    keys::INSERT_API_KEY,
    keys::SELECT_API_KEY,
    keys::LIST_API_KEYS,
    keys::UPDATE_API_KEY,
    keys::DELETE_API_KEY,
    keys::DETACH_FROM_API_KEY,
    keys::SELECT_API_KEYS_IN_USE,
    keys::INSERT_ROLE_ALIAS,
    keys::SELECT_ROLE_ALIAS,
    keys::UPDATE_ROLE_ALIAS,
    keys::DELETE_ROLE_ALIAS,
    keys::LIST_ROLE_ALIASES,
    keys::LIST_ROLE_ALIASES_DESCENDING,
    authorizers::INSERT_AUTHORIZER,
    authorizers::SELECT_AUTHORIZER,
    authorizers::SELECT_DEFAULT_AUTHORIZER,
    authorizers::UPDATE_AUTHORIZER,
    authorizers::DELETE_AUTHORIZER,
    authorizers::LIST_AUTHORIZERS,
    authorizers::LIST_AUTHORIZERS_DESCENDING,
    authorizers::LIST_AUTHORIZERS_BY_STATUS,
    authorizers::LIST_AUTHORIZERS_BY_STATUS_DESCENDING,
    authorizers::SET_DEFAULT_AUTHORIZER,
    authorizers::CLEAR_DEFAULT_AUTHORIZER,
    audit::APPEND_AUDIT_LOG,
    audit::LIST_AUDIT_LOG,
    audit::FORGET_AUDIT_LOG,
    control::APPEND_CONTROL_LOG,
    control::CONTROL_HEAD,
    control::CONTROL_LOG_AFTER,
    control::PUT_DEPLOYMENT_VALUE,
    control::SELECT_DEPLOYMENT,
    control::PUT_VIRTUAL_SHARD,
    control::SELECT_VIRTUAL_SHARDS,
    resources::INSERT_RESOURCE,
    resources::PUT_RESOURCE,
    resources::SELECT_RESOURCE,
    resources::SELECT_RESOURCES,
    resources::UPDATE_RESOURCE,
    resources::DELETE_RESOURCE,
    resources::INSERT_RESOURCE_BESIDE,
    resources::DELETE_RESOURCES,
    resources::LIST_RESOURCES,
    resources::LIST_RESOURCES_DESCENDING,
    tags::PUT_TAGS,
    tags::DELETE_TAGS,
    tags::DELETE_ALL_TAGS,
    tags::LIST_TAGS,
    thing_groups::INSERT_THING_GROUP,
    thing_groups::SELECT_THING_GROUP,
    thing_groups::SELECT_THING_GROUPS,
    thing_groups::UPDATE_THING_GROUP,
    thing_groups::DELETE_THING_GROUP,
    thing_groups::COUNT_CHILDREN,
    thing_groups::LIST_THING_GROUPS,
    thing_groups::LIST_CHILD_GROUPS,
    thing_groups::LIST_DESCENDANT_GROUPS,
    thing_groups::LIST_DYNAMIC_GROUPS,
    thing_groups::INSERT_MEMBER,
    thing_groups::MAKE_ROOM,
    thing_groups::SELECT_MEMBER_STATE,
    thing_groups::DELETE_MEMBER,
    thing_groups::DELETE_MEMBERS,
    thing_groups::LEAVE_ALL_GROUPS,
    thing_groups::LIST_MEMBERS,
    thing_groups::LIST_MEMBERS_BELOW,
    thing_groups::LIST_GROUPS_OF_THING,
    thing_groups::SELECT_GROUPS_OF_THINGS,
    indexing::LIST_THING_NAMES,
    indexing::LIST_THING_GROUP_NAMES,
    indexing::LIST_INDEXED_THINGS,
    indexing::LIST_INDEXED_THING_GROUPS,
];

impl From<&str> for Parameter {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Parameter {
    fn from(value: u64) -> Self {
        Self::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<UnixMillis> for Parameter {
    fn from(at: UnixMillis) -> Self {
        at.0.into()
    }
}

impl From<bool> for Parameter {
    fn from(value: bool) -> Self {
        Self::Integer(value.into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Parameter {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// One more than the page, to see whether there is another.
fn page_limit(max_results: u32) -> Parameter {
    Parameter::Integer(i64::from(max_results).saturating_add(1))
}
