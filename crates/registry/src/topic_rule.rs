//! Topic rules as D1 holds them. What a rule means is the `rules` crate's; here it is a name, JSON and a program.

use crate::error::{ApiError, CorruptRow};
use crate::input::{Query, Violations};
use crate::limits::Limits;
use crate::page::{self, List};
use iot_types::{RuleName, Scope, UnixMillis};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A rule to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRuleRecord {
    /// The name, which never changes.
    pub rule_name: RuleName,
    /// The topic filter of its FROM clause.
    pub topic_pattern: String,
    /// The TopicRulePayload as the client sent it: a JSON object.
    pub payload: String,
    /// The compiled rule, in the format of the `rules` crate.
    pub program: Vec<u8>,
    /// Whether it is switched off.
    pub rule_disabled: bool,
    /// When it was created.
    pub created_at: UnixMillis,
}

/// A row for GetTopicRule, as D1 gives it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct TopicRuleRow {
    pub rule_name: String,
    pub payload: String,
    /// 0 or 1.
    pub rule_disabled: u8,
    /// Unix milliseconds.
    pub created_at: u64,
}

/// A row for ListTopicRules, as D1 gives it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct TopicRuleSummaryRow {
    pub rule_name: String,
    pub topic_pattern: String,
    /// 0 or 1.
    pub rule_disabled: u8,
    /// Unix milliseconds.
    pub created_at: u64,
}

/// A row for a Broker that loads the enabled rules, as D1 gives it (a BLOB comes as an array of numbers).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)]
pub struct TopicRuleProgramRow {
    pub rule_name: String,
    pub topic_pattern: String,
    pub program: Vec<u8>,
}

/// The rule's name in a path.
///
/// # Errors
/// `InvalidRequestException`.
pub fn parse_rule_name(text: &str) -> Result<RuleName, ApiError> {
    RuleName::new(text).map_err(|error| ApiError::invalid_request(error.to_string()))
}

/// Whether CreateTopicRule stored the rule, from the rows that
/// [`insert_topic_rule`](crate::statements::insert_topic_rule) changed.
///
/// # Errors
/// `ResourceAlreadyExistsException`: unlike CreateThing, this operation is not idempotent.
pub fn settle_create(scope: &Scope, rule_name: &RuleName, rows_changed: u64) -> Result<(), ApiError> {
    if rows_changed > 0 {
        return Ok(());
    }
    Err(ApiError::resource_already_exists(
        format!("Rule {rule_name} already exists"),
        rule_name.as_str(),
        scope.rule_arn(rule_name).as_str(),
    ))
}

/// The row of a rule that must exist.
///
/// # Errors
/// `UnauthorizedException`, which is what AWS answers for a rule that does not exist: GetTopicRule has no
/// `ResourceNotFoundException` in its model (noted in Terraform's AWS provider too).
pub fn found(rule_name: &RuleName, row: Option<TopicRuleRow>) -> Result<TopicRuleRow, ApiError> {
    row.ok_or_else(|| ApiError::unauthorized(format!("Access to topic rule '{rule_name}' was denied")))
}

/// GetTopicRuleResponse.
///
/// # Errors
/// [`CorruptRow`].
pub fn get_topic_rule_response(scope: &Scope, row: TopicRuleRow) -> Result<Vec<u8>, CorruptRow> {
    let corrupt = |column| CorruptRow { table: "topic_rules", column };
    let arn = rule_arn(scope, &row.rule_name)?;
    let payload: Map<String, Value> = serde_json::from_str(&row.payload).map_err(|_| corrupt("payload"))?;
    let mut rule = Map::new();
    rule.insert("ruleName".to_owned(), row.rule_name.into());
    // Only what the model has: a client may have sent more.
    for member in ["sql", "description", "actions", "awsIotSqlVersion", "errorAction"] {
        if let Some(value) = payload.get(member) {
            rule.insert(member.to_owned(), value.clone());
        }
    }
    rule.insert("createdAt".to_owned(), UnixMillis(row.created_at).as_secs().into());
    rule.insert("ruleDisabled".to_owned(), (row.rule_disabled != 0).into());
    let mut body = Map::new();
    body.insert("ruleArn".to_owned(), arn.into());
    body.insert("rule".to_owned(), Value::Object(rule));
    Ok(Value::Object(body).to_string().into_bytes())
}

/// A valid ListTopicRules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListTopicRulesRequest {
    /// The page begins after this name; empty for the first page.
    pub after: String,
    /// The most rules on the page.
    pub max_results: u32,
    /// Only rules whose topic filter is exactly this text.
    pub topic: Option<String>,
    /// Only rules that are, or are not, switched off.
    pub rule_disabled: Option<bool>,
}

impl ListTopicRulesRequest {
    /// Parses the query string (without `?`).
    ///
    /// # Errors
    /// `InvalidRequestException`, `SerializationException`.
    pub fn parse(query: &str, limits: &Limits) -> Result<Self, ApiError> {
        let query = Query::parse(query);
        let mut violations = Violations::default();
        let max_results =
            query.max_results(limits.default_rule_page_size, limits.max_rule_page_size, &mut violations)?;
        violations.finish()?;
        let rule_disabled = query.boolean("ruleDisabled")?;
        let after = query.string("nextToken").map(|token| page::decode_token(List::TopicRules, token)).transpose()?;
        let topic = query.string("topic").map(str::to_owned);
        Ok(Self { after: after.unwrap_or_default(), max_results, topic, rule_disabled })
    }
}

/// ListTopicRulesResponse from the rows that [`list_topic_rules`](crate::statements::list_topic_rules) gave.
///
/// # Errors
/// [`CorruptRow`].
pub fn list_topic_rules_response(
    scope: &Scope,
    request: &ListTopicRulesRequest,
    mut rows: Vec<TopicRuleSummaryRow>,
) -> Result<Vec<u8>, CorruptRow> {
    let next_token = page::cut(&mut rows, request.max_results, List::TopicRules, |row| row.rule_name.clone());
    let mut rules = Vec::with_capacity(rows.len());
    for row in rows {
        let mut rule = Map::new();
        rule.insert("ruleArn".to_owned(), rule_arn(scope, &row.rule_name)?.into());
        rule.insert("ruleName".to_owned(), row.rule_name.into());
        rule.insert("topicPattern".to_owned(), row.topic_pattern.into());
        rule.insert("createdAt".to_owned(), UnixMillis(row.created_at).as_secs().into());
        rule.insert("ruleDisabled".to_owned(), (row.rule_disabled != 0).into());
        rules.push(Value::Object(rule));
    }
    let mut body = Map::new();
    body.insert("rules".to_owned(), Value::Array(rules));
    if let Some(token) = next_token {
        body.insert("nextToken".to_owned(), token.into());
    }
    Ok(Value::Object(body).to_string().into_bytes())
}

fn rule_arn(scope: &Scope, rule_name: &str) -> Result<String, CorruptRow> {
    let name = RuleName::new(rule_name).map_err(|_| CorruptRow { table: "topic_rules", column: "rule_name" })?;
    Ok(scope.rule_arn(&name).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_types::{AccountId, Region};

    fn scope() -> Scope {
        Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() }
    }

    #[test]
    fn a_rule_is_told_back_as_it_was_sent() {
        let row = TopicRuleRow {
            rule_name: "hot".to_owned(),
            payload: r#"{"sql":"SELECT * FROM 't'","actions":[],"ruleDisabled":false,"other":1}"#.to_owned(),
            rule_disabled: 1,
            created_at: 1_700_000_000_999,
        };
        let rule = found(&RuleName::new("hot").unwrap(), Some(row)).unwrap();
        assert_eq!(
            String::from_utf8(get_topic_rule_response(&scope(), rule).unwrap()).unwrap(),
            r#"{"ruleArn":"arn:aws:iot:us-east-1:123456789012:rule/hot","rule":{"ruleName":"hot","sql":"SELECT * FROM 't'","actions":[],"createdAt":1700000000,"ruleDisabled":true}}"#
        );
    }

    #[test]
    fn a_rule_that_does_not_exist_is_denied() {
        let error = found(&RuleName::new("hot").unwrap(), None).unwrap_err();
        assert_eq!((error.status(), error.message()), (401, "Access to topic rule 'hot' was denied"));
    }

    #[test]
    fn a_second_rule_of_the_name_is_refused() {
        let name = parse_rule_name("hot").unwrap();
        assert_eq!(settle_create(&scope(), &name, 1), Ok(()));
        assert_eq!(settle_create(&scope(), &name, 0).unwrap_err().name(), "ResourceAlreadyExistsException");
        assert_eq!(parse_rule_name("a-b").unwrap_err().name(), "InvalidRequestException");
    }

    #[test]
    fn list_topic_rules_requests_are_checked() {
        let parse = |query| ListTopicRulesRequest::parse(query, &Limits::STANDARD);
        let all = parse("").unwrap();
        assert_eq!((all.max_results, all.after.as_str(), all.rule_disabled), (100, "", None));
        assert_eq!(parse("ruleDisabled=true&maxResults=10000").unwrap().rule_disabled, Some(true));
        assert_eq!(parse("topic=a%2Fb").unwrap().topic.as_deref(), Some("a/b"));
        assert_eq!(parse("maxResults=10001").unwrap_err().name(), "InvalidRequestException");
        assert_eq!(parse("nextToken=AXRsYW1w").unwrap_err().name(), "InvalidRequestException");
    }
}
