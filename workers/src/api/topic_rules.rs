//! Topic rules: CreateTopicRule, GetTopicRule, ListTopicRules, DeleteTopicRule.

use super::Call;
use super::error::Failure;
use crate::brokers;
use bytes::Bytes;
use durable_objects::d1::changes;
use durable_objects::{call_object, log_line};
use futures_util::future::join_all;
use messages::Request;
use messages::address::Address;
use messages::broker::BrokerRequest;
use messages::codec::Batch;
use messages::rules::CompiledRule;
use registry::control::{ControlChange, ControlHead, ControlKind};
use registry::topic_rule::{
    self, ListTopicRulesRequest, TopicRuleRecord, TopicRuleRow, TopicRuleSummaryRow, parse_rule_name,
};
use registry::{Partition, statements};
use rules::TopicRule;
use serde_json::json;
use worker::D1Result;

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
    let rows_changed = store(call, change, rule_name.as_str()).await?;
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
    store(call, change, rule_name.as_str()).await?;
    Ok(Vec::new())
}

/// Changes a rule and logs the change in one transaction, then tells the Brokers. Returns the rows changed.
async fn store(call: &Call<'_>, change: statements::Statement, subject: &str) -> Result<u64, Failure> {
    let logged = ControlChange { kind: ControlKind::TopicRule, subject: subject.to_owned(), at: call.now };
    let batch =
        [change, statements::append_control_log(Partition::FIRST, &logged), statements::control_head(Partition::FIRST)];
    let results = call.deployment.registry().batch(&batch).await?;
    let rows_changed = results.first().map(changes).transpose()?.unwrap_or_default();
    let heads: Vec<ControlHead> = results.last().map(D1Result::results).transpose()?.unwrap_or_default();
    if rows_changed > 0 {
        announce(call, heads.first().map_or(0, |head| head.sequence)).await;
    }
    Ok(rows_changed)
}

/// A hint to every Broker, so that the rule is in force when the response arrives. A Broker that misses it reads the
/// rules again within a minute of use.
async fn announce(call: &Call<'_>, sequence: u64) {
    let batch = Batch { sender: None, requests: vec![Request::Broker(BrokerRequest::RulesChanged { sequence })] };
    let calls = brokers::all(call.deployment).await.into_iter().map(|broker| {
        let batch = &batch;
        async move { call_object(&call.deployment.env, &Address::Broker(broker), batch).await }
    });
    let missed = join_all(calls).await.iter().filter(|reply| reply.is_none()).count();
    if missed > 0 {
        log_line(&json!({"level": "warn", "event": "rules_not_announced", "brokers": missed, "sequence": sequence}));
    }
}
