//! The body of `CreateTopicRule` and `ReplaceTopicRule`.

use crate::action::Action;
use crate::error::RuleError;
use crate::limits::MAX_ACTIONS;
use crate::program::{Program, SqlVersion};
use iot_types::RuleName;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A rule that can run.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicRule {
    /// Its name.
    pub name: RuleName,
    /// What the client sent, for `GetTopicRule` and the consumer of actions.
    pub payload: TopicRulePayload,
    /// The compiled statement, for Brokers.
    pub program: Program,
}

/// AWS's `TopicRulePayload`. Serializes to the members the client sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicRulePayload {
    /// The statement.
    pub sql: String,
    /// What the rule is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What to do with the output, 1 to [`MAX_ACTIONS`].
    pub actions: Vec<Action>,
    /// Whether the rule sleeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_disabled: Option<bool>,
    /// See [`SqlVersion`]; `2015-10-08` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws_iot_sql_version: Option<String>,
    /// What to do when an action fails for good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_action: Option<Action>,
}

/// The members before their meaning is checked. Unknown ones are ignored, as AWS's protocol does.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    sql: String,
    description: Option<String>,
    actions: Vec<Map<String, Value>>,
    rule_disabled: Option<bool>,
    aws_iot_sql_version: Option<String>,
    error_action: Option<Map<String, Value>>,
}

impl TopicRule {
    /// Reads the body of `CreateTopicRule` and compiles the statement.
    ///
    /// # Errors
    /// [`RuleError`], with AWS's exception in [`RuleError::exception`].
    pub fn parse(rule_name: &str, body: &[u8]) -> Result<Self, RuleError> {
        let name = RuleName::new(rule_name).map_err(|error| RuleError::invalid(error.to_string()))?;
        let payload = TopicRulePayload::parse(body)?;
        let program = Program::compile(&payload.sql, payload.sql_version()?)?;
        Ok(Self { name, payload, program })
    }

    /// Whether messages reach the rule.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        !self.payload.rule_disabled.unwrap_or(false)
    }
}

impl TopicRulePayload {
    /// Reads the members without compiling the statement: for those who stored a rule and need its actions.
    ///
    /// # Errors
    /// [`RuleError::InvalidRequest`] names what is wrong.
    pub fn parse(body: &[u8]) -> Result<Self, RuleError> {
        let wire: Wire =
            serde_json::from_slice(body).map_err(|error| RuleError::invalid(format!("topicRulePayload: {error}")))?;
        if !(1..=MAX_ACTIONS).contains(&wire.actions.len()) {
            return Err(RuleError::invalid(format!("a rule must have 1 to {MAX_ACTIONS} actions")));
        }
        let payload = Self {
            sql: wire.sql,
            description: wire.description,
            actions: wire.actions.iter().map(Action::parse).collect::<Result<_, _>>()?,
            rule_disabled: wire.rule_disabled,
            aws_iot_sql_version: wire.aws_iot_sql_version,
            error_action: wire.error_action.as_ref().map(Action::parse).transpose()?,
        };
        payload.sql_version()?;
        Ok(payload)
    }

    /// The version of the language that the statement is written in.
    ///
    /// # Errors
    /// [`RuleError::InvalidRequest`] when there is no such version.
    pub fn sql_version(&self) -> Result<SqlVersion, RuleError> {
        match &self.aws_iot_sql_version {
            None => Ok(SqlVersion::default()),
            Some(name) => SqlVersion::from_name(name)
                .ok_or_else(|| RuleError::invalid("awsIotSqlVersion must be 2015-10-08, 2016-03-23 or beta")),
        }
    }
}
