//! What is said of all topics that a filter matches holds for each of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use iot_types::{AccountId, Region, Scope, UnixMillis};
use mqtt_topic::matches;
use policy::{Action, Authority, Context, Coverage, Facts, PolicyDocument};
use proptest::prelude::*;

fn authority(statements: &[(bool, String)]) -> Authority {
    let statements: Vec<String> = statements
        .iter()
        .map(|(is_allow, pattern)| {
            let effect = if *is_allow { "Allow" } else { "Deny" };
            format!(
                r#"{{"Effect":"{effect}","Action":"iot:Receive","Resource":"arn:aws:iot:us-east-1:123456789012:topic/{pattern}"}}"#
            )
        })
        .collect();
    let text = format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","));
    let document = PolicyDocument::parse(&text).unwrap();
    let scope =
        Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() };
    Authority::compile([("p", &document)], &Facts::default(), &scope)
}

#[test]
fn a_filter_is_covered_by_what_its_topics_begin_with() {
    let allow = |pattern: &str| vec![(true, pattern.to_owned())];
    for (statements, filter, expected) in [
        (allow("*"), "#", Coverage::Always),
        (allow("a*"), "a/#", Coverage::Always),
        (allow("a/*"), "a/#", Coverage::Depends),
        (allow("a/*"), "a/+", Coverage::Always),
        (allow("a/*"), "$share/g/a/b/#", Coverage::Always),
        (allow("a/*"), "+/b", Coverage::Depends),
        (vec![(true, "*".to_owned()), (false, "b".to_owned())], "a/#", Coverage::Depends),
    ] {
        assert_eq!(authority(&statements).coverage(Action::Receive, filter), expected, "{statements:?} {filter}");
    }
    assert_eq!(authority(&allow("*")).coverage(Action::Publish, "#"), Coverage::Never);
    assert_eq!(Authority::allow_all().coverage(Action::Receive, "#"), Coverage::Always);
}

#[test]
fn what_a_statement_leaves_open_is_decided_for_each_topic() {
    let arn = "arn:aws:iot:us-east-1:123456789012:";
    let scope =
        Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() };
    for (rest, filter, expected) in [
        (format!(r#""Action":"iot:*","Resource":"{arn}topic/a/*""#), "a/+", Coverage::Always),
        (format!(r#""Action":"iot:*","NotResource":"{arn}topic/a/*""#), "a/+", Coverage::Depends),
        (format!(r#""Action":"iot:*","NotResource":"{arn}topic/a/*""#), "b/+", Coverage::Depends),
        (
            r#""Action":"iot:*","Resource":"*","Condition":{"DateLessThan":{"aws:CurrentTime":"1970-01-01"}}"#
                .to_owned(),
            "a/+",
            Coverage::Depends,
        ),
        // a statement that is about no topic
        (format!(r#""Action":"iot:*","Resource":["{arn}client/*","{arn}topicfilter/a"]"#), "a/+", Coverage::Never),
        (r#""NotAction":"iot:Rec*","Resource":"*""#.to_owned(), "a/+", Coverage::Never),
        (r#""NotAction":"iot:Publish","Resource":"*""#.to_owned(), "a/+", Coverage::Always),
    ] {
        let text = format!(r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow",{rest}}}}}"#);
        let document = PolicyDocument::parse(&text).unwrap();
        let authority = Authority::compile([("p", &document)], &Facts::default(), &scope);
        assert_eq!(authority.coverage(Action::Receive, filter), expected, "{rest} {filter}");
    }
}

proptest! {
    #[test]
    fn coverage_holds_for_every_topic_of_the_filter(
        statements in prop::collection::vec((prop::bool::weighted(0.9), "([ab/]|[*?]){0,5}"), 1..4),
        filter in "((a|b|[+])/){0,2}(a|b|[+]|#)",
        topics in prop::collection::vec("[ab/]{1,6}", 1..20),
    ) {
        let authority = authority(&statements);
        let coverage = authority.coverage(Action::Receive, &filter);
        let context = Context { now: UnixMillis(1), ..Context::default() };
        for topic in topics.iter().filter(|topic| matches(&filter, topic)) {
            let is_allowed = authority.decide(Action::Receive, topic, &context).is_allowed();
            match coverage {
                Coverage::Always => prop_assert!(is_allowed, "{} {}", filter, topic),
                Coverage::Never => prop_assert!(!is_allowed, "{} {}", filter, topic),
                Coverage::Depends => {}
            }
        }
    }
}
