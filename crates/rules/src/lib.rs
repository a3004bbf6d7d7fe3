//! Topic rules: the statement, what it compiles to, what it makes of a message, and the actions as data.
//!
//! In scope:
//! - AWS IoT SQL: parsing with `sqlparser` under a dialect of our own, compiling to a small [`Program`] that can be
//!   stored, and evaluating that program on one message ([`evaluate`]);
//! - the value model with AWS's `Undefined`, `Null` and implicit conversions (`value`, `convert`, `operators`);
//! - the body of `CreateTopicRule` ([`TopicRule`], [`TopicRulePayload`], [`Action`]);
//! - which rules a topic concerns ([`RuleIndex`]).
//!
//! Out of scope:
//! - running actions, retrying them and the error action's document: the queue consumer;
//! - storing rules, `ruleArn` and `createdAt`: the registry and the API;
//! - functions that need I/O, a clock or randomness: whoever calls [`evaluate`] brings facts in a [`Message`].
//!
//! Every limit on what a statement or a message may cost is a named constant in [`limits`].

mod action;
mod convert;
pub mod delivery;
mod error;
mod evaluate;
mod functions;
mod index;
pub mod limits;
mod operators;
mod program;
mod rule;
mod sql;
mod value;

pub use action::{Action, HttpAction, HttpHeader};
pub use error::{DecodeError, EvaluationError, RuleError, SqlError};
pub use evaluate::{Context, Message, evaluate};
pub use index::RuleIndex;
pub use program::{Program, SqlVersion};
pub use rule::{TopicRule, TopicRulePayload};
