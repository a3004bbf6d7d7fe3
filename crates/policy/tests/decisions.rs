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

#[test]
fn only_a_statement_about_the_request_makes_its_decision_depend_on_time() {
    let time = r#","Condition":{"DateLessThan":{"aws:CurrentTime":"1970-01-02T00:00:00Z"}}"#;
    let epoch = r#","Condition":{"NumericGreaterThan":{"AWS:EpochTime":"60"}}"#;
    let will = r#","Condition":{"Null":{"iot:LastWillTopic":"true"}}"#;
    let never = r#","Condition":{"StringEquals":{"iot:ClientId":"x"},"NumericGreaterThan":{"aws:EpochTime":"0"}}"#;
    for (statements, now_secs, effect, depends_on_time) in [
        (vec![("Allow", "a", will)], 0, Effect::Allowed, false),
        (vec![("Allow", "a", time)], 86_399, Effect::Allowed, true),
        (vec![("Allow", "a", time)], 86_400, Effect::ImplicitDeny, true),
        (vec![("Allow", "a", epoch)], 60, Effect::ImplicitDeny, true),
        (vec![("Allow", "a", epoch)], 61, Effect::Allowed, true),
        // about something else, or about someone else
        (vec![("Allow", "b", time)], 0, Effect::ImplicitDeny, false),
        (vec![("Allow", "a", never)], 1, Effect::ImplicitDeny, false),
        // what denies at any time is decided before the time is asked for
        (vec![("Deny", "a", ""), ("Deny", "a", time)], 0, Effect::ExplicitDeny, false),
        (vec![("Deny", "a", time), ("Deny", "a", "")], 86_400, Effect::ExplicitDeny, true),
        (vec![("Allow", "a", time), ("Allow", "a", will)], 86_400, Effect::Allowed, true),
    ] {
        let written: Vec<String> = statements.iter().map(|(e, t, c)| statement(e, t, c)).collect();
        let authority = authority(&[("p", &written)]);
        let context = Context { now: UnixMillis(now_secs * 1_000), ..Context::default() };
        let decision = authority.decide(Action::Publish, "a", &context);
        let told = (decision.effect(), decision.depends_on_time());
        assert_eq!(told, (effect, depends_on_time), "{statements:?} {now_secs}");
        let again = authority.decide_any("iot:Publish", &format!("{TOPICS}a"), &context);
        assert_eq!(again, decision, "{statements:?} {now_secs}");
    }
}

#[test]
fn who_may_do_everything_is_asked_no_policy() {
    let everything = Authority::allow_all();
    let decision = everything.decide(Action::Connect, "a", &context());
    assert_eq!((decision.is_allowed(), decision.by(), decision.depends_on_time()), (true, None, false));
    assert_eq!(everything.decide_any("iot:CreateThing", "*", &context()), decision);
}
