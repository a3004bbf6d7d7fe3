//! Topic rules: CreateTopicRule, GetTopicRule, ListTopicRules, DeleteTopicRule.

use super::error::Failure;
use super::{Call, control};
use bytes::Bytes;
use messages::rules::CompiledRule;
use registry::control::ControlKind;
use registry::topic_rule::{
    self, ListTopicRulesRequest, TopicRuleRecord, TopicRuleRow, TopicRuleSummaryRow, parse_rule_name,
};
use registry::{Partition, statements};
use rules::TopicRule;

pub async fn create(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let rule_name = parse_rule_name(call.route.parameter("ruleName"))?;
    let rule = TopicRule::parse(rule_name.as_str(), &call.body)?;
    let platform = |error: &dyn core::fmt::Display| Failure::Platform(error.to_string());
    let actions: Result<Vec<String>, _> = rule.payload.actions.iter().map(serde_json::to_string).collect();
    let compiled = CompiledRule {
        program: Bytes::from(rule.program.encode()),
        actions: actions.map_err(|error| platform(&error))?,
    };
    let record = TopicRuleRecord {
        rule_name: rule_name.clone(),
        topic_pattern: rule.program.topic_filter().unwrap_or_default().to_owned(),
        payload: serde_json::to_string(&rule.payload).map_err(|error| platform(&error))?,
        program: compiled.encode().map_err(|error| platform(&error))?,
        rule_disabled: !rule.is_enabled(),
        created_at: call.now,
    };
    let change = statements::insert_topic_rule(Partition::FIRST, &record);
    let (rows_changed, _) = control::store(call, vec![change], 0, ControlKind::TopicRule, rule_name.as_str()).await?;
    topic_rule::settle_create(&call.deployment.config.scope, &rule_name, rows_changed)?;
    Ok(Vec::new())
}

pub async fn get(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let rule_name = parse_rule_name(call.route.parameter("ruleName"))?;
    let statement = statements::select_topic_rule(Partition::FIRST, &rule_name);
    let rows: Vec<TopicRuleRow> = call.deployment.registry().read(statement).await?;
    let row = topic_rule::found(&rule_name, rows.into_iter().next())?;
    Ok(topic_rule::get_topic_rule_response(&call.deployment.config.scope, row)?)
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = ListTopicRulesRequest::parse(call.query, &call.deployment.limits())?;
    let statement = statements::list_topic_rules(Partition::FIRST, &request);
    let rows: Vec<TopicRuleSummaryRow> = call.deployment.registry().read(statement).await?;
    Ok(topic_rule::list_topic_rules_response(&call.deployment.config.scope, &request, rows)?)
}

pub async fn delete(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let rule_name = parse_rule_name(call.route.parameter("ruleName"))?;
    let change = statements::delete_topic_rule(Partition::FIRST, &rule_name);
    control::store(call, vec![change], 0, ControlKind::TopicRule, rule_name.as_str()).await?;
    Ok(Vec::new())
}
