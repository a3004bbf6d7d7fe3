//! What travels through the `rule-actions` queue.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The body of one queue message: outputs of many evaluations, packed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleOutputs {
    /// In the order of evaluation.
    pub outputs: Vec<RuleOutput>,
}

/// One action to run for one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleOutput {
    /// The rule that matched.
    pub rule_name: String,
    /// The action as in the rule's payload, JSON text.
    pub action: String,
    /// What the SELECT clause made of the message.
    pub payload: Bytes,
    /// The topic of the message, for substitution templates and logs.
    pub topic: String,
    /// How often this action has been tried already.
    pub attempt: u32,
}

/// A rule as the registry keeps it for Brokers: compiled once, when it is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompiledRule {
    /// The program, as the `rules` crate encodes it.
    pub program: Bytes,
    /// The actions, each as JSON text.
    pub actions: Vec<String>,
}
