//! What a decision tells besides whether it may be done: which statement decided, and whether it may be another one later.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use iot_types::{AccountId, Region, Scope, UnixMillis};
use policy::{Action, Authority, Context, Effect, Facts, PolicyDocument, StatementNumber};

const TOPICS: &str = "arn:aws:iot:us-east-1:123456789012:topic/";

fn statement(effect: &str, topic: &str, condition: &str) -> String {
    format!(r#"{{"Effect":"{effect}","Action":"iot:Publish","Resource":"{TOPICS}{topic}"{condition}}}"#)
}

fn authority(policies: &[(&str, &[String])]) -> Authority {
    let parse = |statements: &[String]| {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","));
        PolicyDocument::parse(&text).unwrap()
    };
    let documents: Vec<(&str, PolicyDocument)> =
        policies.iter().map(|(name, statements)| (*name, parse(statements))).collect();
    let scope =
        Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() };
    let named = documents.iter().map(|(name, document)| (*name, document));
    Authority::compile(named, &Facts::default(), &scope)
}

fn context() -> Context<'static> {
    Context { now: UnixMillis(1_738_240_496_000), ..Context::default() }
}

#[test]
fn a_decision_names_the_statement_and_the_policy_that_decided() {
    let first = [statement("Allow", "a", ""), statement("Allow", "b", "")];
    let second = [statement("Allow", "c", ""), statement("Deny", "b", "")];
    let authority = authority(&[("first", &first), ("second", &second)]);
    for (topic, effect, by) in [
        ("a", Effect::Allowed, Some(("first", 0, 0))),
        ("b", Effect::ExplicitDeny, Some(("second", 1, 1))),
        ("c", Effect::Allowed, Some(("second", 1, 0))),
        ("d", Effect::ImplicitDeny, None),
    ] {
        let decision = authority.decide(Action::Publish, topic, &context());
        let again = authority.decide_any("iot:Publish", &format!("{TOPICS}{topic}"), &context());
        for decision in [decision, again] {
            assert_eq!(decision.effect(), effect, "{topic}");
            let told = decision.by().map(|number: StatementNumber| {
                (authority.policy_name(number).unwrap(), number.policy, number.statement)
            });
            assert_eq!(told, by, "{topic}");
            assert_eq!(decision.is_allowed(), effect == Effect::Allowed, "{topic}");
        }
    }
    assert_eq!(authority.policy_name(StatementNumber { policy: 2, statement: 0 }), None);
}

#[test]
fn a_decision_for_which_the_time_was_asked_must_not_be_remembered() {
    let night = r#","Condition":{"DateLessThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}"#;
    let epoch = r#","Condition":{"NumericGreaterThan":{"aws:EpochTime":"1"}}"#;
    let other = r#","Condition":{"StringEquals":{"iot:LastWillTopic":"x"}}"#;
    let statements = [
        statement("Deny", "a*", night),
        statement("Allow", "a", ""),
        statement("Allow", "b", epoch),
        statement("Allow", "c", ""),
        statement("Deny", "c", other),
    ];
    let authority = authority(&[("p", &statements)]);
    for (topic, is_allowed, depends_on_time) in
        [("a", true, true), ("ab", false, true), ("b", true, true), ("c", true, false), ("d", false, false)]
    {
        let decision = authority.decide(Action::Publish, topic, &context());
        let again = authority.decide_any("iot:Publish", &format!("{TOPICS}{topic}"), &context());
        for decision in [decision, again] {
            assert_eq!((decision.is_allowed(), decision.depends_on_time()), (is_allowed, depends_on_time), "{topic}");
        }
    }
}
