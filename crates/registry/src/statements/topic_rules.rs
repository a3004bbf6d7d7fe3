//! Statements about topic rules. Whoever changes one adds [`append_control_log`](super::append_control_log) to the batch.

use super::{Parameter, Sql, Statement, page_limit};
use crate::partition::Partition;
use crate::topic_rule::{ListTopicRulesRequest, TopicRuleRecord};
use iot_types::RuleName;

pub(super) const INSERT_TOPIC_RULE: Sql = Sql {
    name: "INSERT_TOPIC_RULE",
    text: "INSERT INTO topic_rules (rule_name, topic_pattern, payload, program, rule_disabled, created_at) \
           VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (rule_name) DO NOTHING",
    parameters: &["rule_name", "topic_pattern", "payload", "program", "rule_disabled", "created_at"],
    plan: "",
};

pub(super) const SELECT_TOPIC_RULE: Sql = Sql {
    name: "SELECT_TOPIC_RULE",
    text: "SELECT rule_name, payload, rule_disabled, created_at FROM topic_rules WHERE rule_name = ?1",
    parameters: &["rule_name"],
    plan: "SEARCH topic_rules USING PRIMARY KEY (rule_name=?)",
};

pub(super) const DELETE_TOPIC_RULE: Sql = Sql {
    name: "DELETE_TOPIC_RULE",
    text: "DELETE FROM topic_rules WHERE rule_name = ?1",
    parameters: &["rule_name"],
    plan: "SEARCH topic_rules USING PRIMARY KEY (rule_name=?)",
};

pub(super) const LIST_TOPIC_RULES: Sql = Sql {
    name: "LIST_TOPIC_RULES",
    text: "SELECT rule_name, topic_pattern, rule_disabled, created_at FROM topic_rules WHERE rule_name > ?1 \
           AND (?3 IS NULL OR topic_pattern = ?3) AND (?4 IS NULL OR rule_disabled = ?4) ORDER BY rule_name LIMIT ?2",
    parameters: &["after rule_name", "limit", "topic_pattern or NULL", "rule_disabled or NULL"],
    plan: "SEARCH topic_rules USING PRIMARY KEY (rule_name>?)",
};

pub(super) const LIST_ENABLED_TOPIC_RULES: Sql = Sql {
    name: "LIST_ENABLED_TOPIC_RULES",
    text: "SELECT rule_name, topic_pattern, program FROM topic_rules WHERE rule_name > ?1 AND rule_disabled = 0 \
           ORDER BY rule_name LIMIT ?2",
    parameters: &["after rule_name", "limit"],
    plan: "SEARCH topic_rules USING PRIMARY KEY (rule_name>?)",
};

/// Stores a new rule; changes 0 rows when there is one of the name.
#[must_use]
pub fn insert_topic_rule(partition: Partition, rule: &TopicRuleRecord) -> Statement {
    let parameters = vec![
        rule.rule_name.as_str().into(),
        rule.topic_pattern.as_str().into(),
        rule.payload.as_str().into(),
        Parameter::Blob(rule.program.clone()),
        rule.rule_disabled.into(),
        rule.created_at.into(),
    ];
    INSERT_TOPIC_RULE.bind(partition, parameters)
}

/// Reads a rule: [`TopicRuleRow`](crate::topic_rule::TopicRuleRow), none or one.
#[must_use]
pub fn select_topic_rule(partition: Partition, rule_name: &RuleName) -> Statement {
    SELECT_TOPIC_RULE.bind(partition, vec![rule_name.as_str().into()])
}

/// Deletes a rule; changes 0 rows when there is none.
#[must_use]
pub fn delete_topic_rule(partition: Partition, rule_name: &RuleName) -> Statement {
    DELETE_TOPIC_RULE.bind(partition, vec![rule_name.as_str().into()])
}

/// Reads a page of rules: [`TopicRuleSummaryRow`](crate::topic_rule::TopicRuleSummaryRow), up to one more than the page.
#[must_use]
pub fn list_topic_rules(partition: Partition, request: &ListTopicRulesRequest) -> Statement {
    let parameters = vec![
        request.after.as_str().into(),
        page_limit(request.max_results),
        request.topic.as_deref().into(),
        request.rule_disabled.into(),
    ];
    LIST_TOPIC_RULES.bind(partition, parameters)
}

/// Reads enabled rules with their programs, for a Broker: [`TopicRuleProgramRow`](crate::topic_rule::TopicRuleProgramRow),
/// up to `limit`. The next call begins after the last name; `after` is empty in the first.
#[must_use]
pub fn list_enabled_topic_rules(partition: Partition, after: &str, limit: u32) -> Statement {
    LIST_ENABLED_TOPIC_RULES.bind(partition, vec![after.into(), u64::from(limit).into()])
}
