//! Consumers of queues.

pub mod fleet_index;
pub mod rule_actions;
