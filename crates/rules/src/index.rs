//! Which rules a topic concerns.

use crate::program::Program;
use crate::rule::TopicRule;
use iot_types::RuleName;
use mqtt_topic::{SubscriptionIndex, TopicFilter};
use std::collections::BTreeMap;

/// The enabled rules of an account with their programs, as a Broker holds them.
#[derive(Default)]
pub struct RuleIndex {
    programs: BTreeMap<RuleName, Program>,
    /// Under each filter the names of the rules that have it in FROM.
    filters: SubscriptionIndex<RuleName, ()>,
}

impl RuleIndex {
    /// An index without rules.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an enabled rule or replaces the one of that name; a disabled one leaves the index.
    pub fn set(&mut self, rule: &TopicRule) {
        if rule.is_enabled() {
            self.insert(rule.name.clone(), rule.program.clone());
        } else {
            self.remove(&rule.name);
        }
    }

    /// Adds a rule known to be enabled, or replaces the one of that name.
    pub fn insert(&mut self, name: RuleName, program: Program) {
        self.remove(&name);
        if let Some(filter) = filter_of(&program) {
            self.filters.insert(&filter, name.clone(), ());
        }
        self.programs.insert(name, program);
    }

    /// Takes a rule out: deleted or disabled. Does nothing when it is not there.
    pub fn remove(&mut self, name: &RuleName) {
        if let Some(filter) = self.programs.remove(name).as_ref().and_then(filter_of) {
            self.filters.remove(&filter, name);
        }
    }

    /// The program of an enabled rule, whatever its topic filter: what Basic Ingest (`$aws/rules/{name}/…`) asks for.
    #[must_use]
    pub fn get(&self, name: &RuleName) -> Option<&Program> {
        self.programs.get(name)
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.programs.len()
    }

    /// Whether no rule is enabled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty()
    }

    /// Calls `visit` for every enabled rule whose FROM clause matches `topic`, once each.
    pub fn for_each_match(&self, topic: &str, mut visit: impl FnMut(&RuleName, &Program)) {
        self.filters.for_each_match(topic, |name, ()| {
            if let Some(program) = self.programs.get(name) {
                visit(name, program);
            }
        });
    }
}

/// The filter was checked when the statement was compiled.
fn filter_of(program: &Program) -> Option<TopicFilter> {
    TopicFilter::new(program.topic_filter()?).ok()
}
