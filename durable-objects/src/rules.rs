//! What Brokers read from the registry: the rules, and where virtual shards are.

use crate::d1::Registry;
use broker::StoredRule;
use iot_types::RuleName;
use messages::rules::CompiledRule;
use registry::Partition;
use registry::control::{ControlHead, ShardKind, VirtualShardRow};
use registry::statements;
use registry::topic_rule::TopicRuleProgramRow;
use worker::Env;

/// Rules in one read.
const PAGE: u32 = 500;

/// Reads which virtual shards have moved: those of the topic tree and those of the client ids.
pub async fn load_shards(env: &Env) -> worker::Result<[Vec<(u16, u32)>; 2]> {
    let registry = Registry::new(env.clone());
    let rows: Vec<VirtualShardRow> = registry.read(statements::select_virtual_shards(Partition::FIRST)).await?;
    Ok([ShardKind::Router, ShardKind::Sessions].map(|kind| VirtualShardRow::of_kind(&rows, kind).collect()))
}

/// Reads all enabled rules, and the control log's head from before they were read: a change in between is announced
/// with a higher number and read then.
pub async fn load(env: &Env) -> worker::Result<(u64, Vec<StoredRule>)> {
    let registry = Registry::new(env.clone());
    let heads: Vec<ControlHead> = registry.read(statements::control_head(Partition::FIRST)).await?;
    let sequence = heads.first().map_or(0, |head| head.sequence);
    let mut rules = Vec::new();
    let mut after = String::new();
    loop {
        let statement = statements::list_enabled_topic_rules(Partition::FIRST, &after, PAGE);
        let page: Vec<TopicRuleProgramRow> = registry.read(statement).await?;
        let is_last = page.len() < PAGE as usize;
        for row in page {
            after.clone_from(&row.rule_name);
            // A row of a newer release waits until this object runs that release.
            let (Ok(rule_name), Ok(compiled)) = (RuleName::new(row.rule_name), CompiledRule::decode(&row.program))
            else {
                continue;
            };
            let program = compiled.program.to_vec();
            rules.push(StoredRule { rule_name, program, actions: compiled.actions });
        }
        if is_last {
            return Ok((sequence, rules));
        }
    }
}
