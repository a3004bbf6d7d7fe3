//! Consumers of queues.

pub mod rule_actions;
