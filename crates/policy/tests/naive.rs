//! Decisions are those of an interpreter that does nothing in advance: it goes through the statements as they are written,
//! puts in the variables, and asks of each whether it is about the request.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use iot_types::{AccountId, Region, Scope, UnixMillis};
use policy::{Action, Authority, Context, Effect, Facts, PolicyDocument, ThingFacts};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const PREFIX: &str = "arn:aws:iot:us-east-1:123456789012:";
const WHEN: UnixMillis = UnixMillis(1_738_240_496_000);

/// A statement before it is JSON.
#[derive(Clone, Debug)]
struct Written {
    is_allow: bool,
    actions: Vec<String>,
    is_not_action: bool,
    resources: Vec<String>,
    is_not_resource: bool,
    /// Operator, key, values.
    conditions: Vec<(String, String, Vec<String>)>,
}

impl Written {
    fn to_json(&self) -> Value {
        let mut statement = Map::new();
        statement.insert("Effect".into(), if self.is_allow { "Allow" } else { "Deny" }.into());
        let name = |is_not: bool, name: &str| format!("{}{name}", if is_not { "Not" } else { "" });
        statement.insert(name(self.is_not_action, "Action"), json!(self.actions));
        statement.insert(name(self.is_not_resource, "Resource"), json!(self.resources));
        if !self.conditions.is_empty() {
            let mut operators: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
            for (operator, key, values) in &self.conditions {
                operators.entry(operator).or_default().insert(key.clone(), json!(values));
            }
            statement.insert("Condition".into(), json!(operators));
        }
        Value::Object(statement)
    }

    /// Conditions with the same operator and key are one in JSON: the last.
    fn effective_conditions(&self) -> Vec<(String, String, Vec<String>)> {
        let mut last: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
        for (operator, key, values) in &self.conditions {
            last.insert((operator.clone(), key.clone()), values.clone());
        }
        last.into_iter().map(|((operator, key), values)| (operator, key, values)).collect()
    }
}

/// `None` stays as it is written, so that nothing is like it.
fn value_of(variable: &str, facts: &Facts) -> Option<String> {
    let thing = facts.thing.as_ref().filter(|thing| thing.is_attached);
    let value = match variable {
        "iot:ClientId" => facts.client_id.clone()?,
        "iot:Connection.Thing.ThingName" => thing?.name.clone(),
        "iot:Connection.Thing.Attributes[room]" => thing?.attributes.get("room")?.clone(),
        "iot:Certificate.Subject.CommonName" => facts.certificate.get("Subject.CommonName")?.first()?.clone(),
        _ => return None,
    };
    (!value.contains(['*', '$', '+', '?', '#'])).then_some(value)
}

/// Text in which wildcards are apart from what was put in.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Char(char),
    One,
    Any,
    /// A variable without a value: like nothing.
    Nothing,
}

fn pieces(text: &str, facts: &Facts) -> Vec<Piece> {
    let mut rest = text;
    let mut pieces = Vec::new();
    while let Some(first) = rest.chars().next() {
        if let Some((variable, after)) = rest.strip_prefix("${").and_then(|rest| rest.split_once('}')) {
            rest = after;
            match variable {
                "*" | "?" | "$" => pieces.extend(variable.chars().map(Piece::Char)),
                _ => match value_of(variable, facts) {
                    Some(value) => pieces.extend(value.chars().map(Piece::Char)),
                    None => pieces.push(Piece::Nothing),
                },
            }
            continue;
        }
        rest = &rest[first.len_utf8()..];
        pieces.push(match first {
            '*' => Piece::Any,
            '?' => Piece::One,
            other => Piece::Char(other),
        });
    }
    pieces
}

fn is_like(pieces: &[Piece], text: &[char]) -> bool {
    match (pieces.first(), text.first()) {
        (None, _) => text.is_empty(),
        (Some(Piece::Any), _) => (0..=text.len()).any(|skip| is_like(&pieces[1..], &text[skip..])),
        (Some(Piece::One), Some(_)) => is_like(&pieces[1..], &text[1..]),
        (Some(Piece::Char(wanted)), Some(given)) if wanted == given => is_like(&pieces[1..], &text[1..]),
        _ => false,
    }
}

fn matches(pattern: &str, text: &str, facts: &Facts) -> bool {
    is_like(&pieces(pattern, facts), &text.chars().collect::<Vec<_>>())
}

/// What a condition key stands for; several for a set.
fn key_values(key: &str, facts: &Facts, context: &Context<'_>) -> Option<Vec<String>> {
    match key {
        "iot:ClientId" => facts.client_id.clone().map(|id| vec![id]),
        "iot:ConnectAttributes" => {
            let mut attributes = Vec::new();
            attributes.extend(context.is_persistent.then(|| "PersistentConnect".to_owned()));
            attributes.extend(context.last_will_topic.map(|_| "LastWill".to_owned()));
            Some(attributes)
        }
        "iot:Connection.Thing.IsAttached" => {
            Some(vec![facts.thing.as_ref().is_some_and(|thing| thing.is_attached).to_string()])
        }
        _ => None,
    }
}

fn holds((operator, key, values): &(String, String, Vec<String>), facts: &Facts, context: &Context<'_>) -> bool {
    let given = key_values(key, facts, context);
    let (quantifier, name) = operator.split_once(':').map_or((None, operator.as_str()), |(q, n)| (Some(q), n));
    let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
    if name == "Null" {
        return values.iter().any(|value| (value == "true") == given.is_none());
    }
    let is_negated = name.contains("Not");
    let equal = |wanted: &str, given: &str| match name.replace("Not", "").as_str() {
        "StringEquals" => {
            let wanted = pieces(wanted, facts);
            // wildcards are characters here
            let plain: Option<String> = wanted
                .iter()
                .map(|piece| match piece {
                    Piece::Char(c) => Some(*c),
                    Piece::One => Some('?'),
                    Piece::Any => Some('*'),
                    Piece::Nothing => None,
                })
                .collect();
            plain.as_deref() == Some(given)
        }
        "StringLike" => matches(wanted, given, facts),
        "Bool" => wanted == given,
        other => panic!("{other}"),
    };
    let one = |given: &str| values.iter().any(|wanted| equal(wanted, given)) != is_negated;
    match (quantifier, given) {
        (Some("ForAllValues"), given) => given.unwrap_or_default().iter().all(|given| one(given)),
        (Some("ForAnyValue"), None) => if_exists,
        (Some("ForAnyValue"), Some(given)) => given.iter().any(|given| one(given)),
        (None, None) => is_negated || if_exists,
        (None, Some(given)) => match given.as_slice() {
            [one_value] => one(one_value),
            // neither is documented for a set: all of them, as for a single value
            several => several.iter().any(|given| values.iter().any(|wanted| equal(wanted, given))) != is_negated,
        },
        other => panic!("{other:?}"),
    }
}

fn decide(statements: &[Written], facts: &Facts, action: &str, resource: &str, context: &Context<'_>) -> Effect {
    let is_about = |statement: &&Written| {
        let action = action.to_lowercase();
        let is_action =
            statement.actions.iter().any(|pattern| matches(&pattern.to_lowercase(), &action, &Facts::default()));
        let is_resource = statement.resources.iter().any(|pattern| matches(pattern, resource, facts));
        is_action != statement.is_not_action
            && is_resource != statement.is_not_resource
            && statement.effective_conditions().iter().all(|condition| holds(condition, facts, context))
    };
    let applying: Vec<&Written> = statements.iter().filter(is_about).collect();
    match (applying.iter().any(|s| !s.is_allow), applying.iter().any(|s| s.is_allow)) {
        (true, _) => Effect::ExplicitDeny,
        (false, true) => Effect::Allowed,
        (false, false) => Effect::ImplicitDeny,
    }
}

fn action() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "iot:*",
        "iot:Publish",
        "iot:publish",
        "iot:Receive",
        "iot:Re*",
        "iot:Subscribe",
        "iot:Connect",
        "*",
        "iot:?onnect",
    ])
    .prop_map(str::to_owned)
}

/// What is behind the account in an ARN: few letters, so that much matches.
fn name() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "a",
        "b",
        "/",
        "*",
        "?",
        "+",
        "#",
        "${iot:ClientId}",
        "${iot:Connection.Thing.ThingName}",
        "${iot:Connection.Thing.Attributes[room]}",
        "${iot:Certificate.Subject.CommonName}",
        "${*}",
        "${?}",
        "${iot:Unknown}",
    ]);
    prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
}

fn resource() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec!["client/", "topic/", "topicfilter/", "top*/", "*"]);
    prop_oneof![
        1 => Just("*".to_owned()),
        8 => (kind, name()).prop_map(|(kind, name)| format!("{PREFIX}{kind}{name}")),
    ]
}

fn condition() -> impl Strategy<Value = (String, String, Vec<String>)> {
    let strings = (
        prop::sample::select(vec![
            "StringEquals",
            "StringNotEquals",
            "StringLike",
            "StringNotLike",
            "StringEqualsIfExists",
        ]),
        prop::sample::select(vec!["iot:ClientId", "iot:Unknown"]),
        prop::collection::vec(name(), 1..3),
    );
    let sets = (
        prop::sample::select(vec![
            "ForAllValues:StringEquals",
            "ForAnyValue:StringEquals",
            "ForAnyValue:StringNotEquals",
        ]),
        Just("iot:ConnectAttributes"),
        prop::collection::vec(
            prop::sample::select(vec!["PersistentConnect", "LastWill"]).prop_map(str::to_owned),
            0..3,
        ),
    );
    let flags = (
        prop::sample::select(vec!["Bool", "Null"]),
        Just("iot:Connection.Thing.IsAttached"),
        prop::sample::select(vec!["true", "false"]).prop_map(|value| vec![value.to_owned()]),
    );
    let owned = |(operator, key, values): (&str, &str, Vec<String>)| (operator.to_owned(), key.to_owned(), values);
    prop_oneof![strings.prop_map(owned), sets.prop_map(owned), flags.prop_map(owned)]
}

fn statement() -> impl Strategy<Value = Written> {
    (
        prop::bool::weighted(0.7),
        prop::collection::vec(action(), 1..3),
        prop::bool::weighted(0.15),
        prop::collection::vec(resource(), 1..3),
        prop::bool::weighted(0.15),
        prop::collection::vec(condition(), 0..2),
    )
        .prop_map(|(is_allow, actions, is_not_action, resources, is_not_resource, conditions)| Written {
            is_allow,
            actions,
            is_not_action,
            resources,
            is_not_resource,
            conditions,
        })
}

fn facts() -> impl Strategy<Value = Facts> {
    let value = || prop::sample::select(vec!["a", "b", "ab", "a/b", "*", "a+", "$a", ""]).prop_map(str::to_owned);
    let thing = (value(), prop::option::of(value()), any::<bool>()).prop_map(|(name, room, is_attached)| ThingFacts {
        name,
        thing_type: None,
        attributes: room.into_iter().map(|room| ("room".to_owned(), room)).collect(),
        is_attached,
        ..ThingFacts::default()
    });
    (prop::option::of(value()), prop::option::of(thing), prop::option::of(value())).prop_map(
        |(client_id, thing, name)| {
            let certificate = name.into_iter().map(|name| ("Subject.CommonName".to_owned(), vec![name])).collect();
            Facts { client_id, thing, certificate, ..Facts::default() }
        },
    )
}

fn scope() -> Scope {
    Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() }
}

/// The decision about an action of MQTT, and whether both ways of asking and the interpreter agree.
fn compared(
    statements: &[Written],
    facts: &Facts,
    action: Action,
    name: &str,
    is_persistent: bool,
    has_will: bool,
) -> Effect {
    let document =
        json!({"Version": "2012-10-17", "Statement": statements.iter().map(Written::to_json).collect::<Vec<_>>()});
    let document = PolicyDocument::parse(&document.to_string()).unwrap();
    let authority = Authority::compile([("p", &document)], facts, &scope());
    let context = Context { now: WHEN, last_will_topic: has_will.then_some("will"), is_persistent };
    let (written, kind) = match action {
        Action::Connect => ("iot:Connect", "client"),
        Action::Publish => ("iot:Publish", "topic"),
        Action::RetainPublish => ("iot:RetainPublish", "topic"),
        Action::Receive => ("iot:Receive", "topic"),
        Action::Subscribe => ("iot:Subscribe", "topicfilter"),
    };
    let resource = format!("{PREFIX}{kind}/{name}");
    let decided = authority.decide(action, name, &context).effect();
    assert_eq!(
        decided,
        authority.decide_any(written, &resource, &context).effect(),
        "{statements:?} {facts:?} {resource}"
    );
    assert_eq!(
        decided,
        decide(statements, facts, written, &resource, &context),
        "{statements:?} {facts:?} {written} {resource} {context:?}"
    );
    decided
}

fn mqtt_action() -> impl Strategy<Value = Action> {
    prop::sample::select(vec![
        Action::Connect,
        Action::Publish,
        Action::RetainPublish,
        Action::Receive,
        Action::Subscribe,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8 * ProptestConfig::default().cases, ..ProptestConfig::default() })]
    #[test]
    fn decisions_are_those_of_an_interpreter_that_does_nothing_in_advance(
        statements in prop::collection::vec(statement(), 1..5),
        facts in facts(),
        requests in prop::collection::vec((mqtt_action(), "[ab/*?+#]{0,4}", any::<bool>(), any::<bool>()), 1..12),
    ) {
        for (action, name, is_persistent, has_will) in requests {
            compared(&statements, &facts, action, &name, is_persistent, has_will);
        }
    }
}

/// One of the operations over HTTP, or an action of MQTT by its name and an ARN of whatever kind.
fn any_request() -> impl Strategy<Value = (&'static str, String)> {
    let action = prop::sample::select(vec![
        "iot:GetThingShadow",
        "iot:REceive",
        "iot:Connect",
        "iot:connects",
        "greengrass:Discover",
    ]);
    let kind = prop::sample::select(vec!["client/", "topic/", "topicfilter/", "thing/", ""]);
    let resource = prop_oneof![
        1 => Just("*".to_owned()),
        8 => (kind, "[ab/*?+#]{0,4}").prop_map(|(kind, name)| format!("{PREFIX}{kind}{name}")),
    ];
    (action, resource)
}

/// The decision about any action, of two policies: the statements before and from `cut` on. It names the first statement
/// of its kind to apply.
fn compared_any(statements: &[Written], cut: usize, facts: &Facts, (action, resource): &(&str, String)) -> Effect {
    let (first, second) = statements.split_at(cut.min(statements.len()));
    let documents: Vec<PolicyDocument> = [first, second]
        .into_iter()
        .filter(|statements| !statements.is_empty())
        .map(|statements| {
            let statements: Vec<Value> = statements.iter().map(Written::to_json).collect();
            let document = json!({"Version": "2012-10-17", "Statement": statements});
            PolicyDocument::parse(&document.to_string()).unwrap()
        })
        .collect();
    let authority = Authority::compile(documents.iter().map(|document| ("p", document)), facts, &scope());
    let context = Context { now: WHEN, ..Context::default() };
    let decision = authority.decide_any(action, resource, &context);
    let alone = |statement: &Written| decide(std::slice::from_ref(statement), facts, action, resource, &context);
    let expected = decide(statements, facts, action, resource, &context);
    assert_eq!(decision.effect(), expected, "{statements:?} {facts:?} {action} {resource}");
    let by = statements.iter().position(|s| expected != Effect::ImplicitDeny && alone(s) == expected).map(|at| {
        let of_first = first.len();
        match documents.len() {
            2 if at >= of_first => (1, at - of_first),
            _ => (0, at),
        }
    });
    assert_eq!(decision.by().map(|by| (by.policy, by.statement)), by, "{statements:?} {facts:?} {action} {resource}");
    expected
}

proptest! {
    #[test]
    fn decisions_about_any_action_are_those_of_the_interpreter_too_and_name_their_statement(
        statements in prop::collection::vec(statement(), 1..5),
        cut in 0..5_usize,
        facts in facts(),
        requests in prop::collection::vec(any_request(), 1..12),
    ) {
        for request in requests {
            compared_any(&statements, cut, &facts, &request);
        }
    }
}

#[test]
fn any_actions_are_often_allowed_denied_and_neither() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let strategy = (prop::collection::vec(statement(), 1..5), 0..5_usize, facts(), any_request());
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..2_000 {
        let (statements, cut, facts, request) = strategy.new_tree(&mut runner).unwrap().current();
        *counts.entry(format!("{:?}", compared_any(&statements, cut, &facts, &request))).or_default() += 1;
    }
    assert!(counts.len() == 3 && counts.values().all(|count| *count > 100), "{counts:?}");
}

/// The comparison above means something only if all three decisions are frequent.
#[test]
fn allowed_denied_and_neither_are_all_frequent_among_the_requests() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let strategy = (prop::collection::vec(statement(), 1..5), facts(), mqtt_action(), "[ab/*?+#]{0,4}");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..2_000 {
        let (statements, facts, action, name) = strategy.new_tree(&mut runner).unwrap().current();
        *counts.entry(format!("{:?}", compared(&statements, &facts, action, &name, false, false))).or_default() += 1;
    }
    assert!(counts.len() == 3 && counts.values().all(|count| *count > 100), "{counts:?}");
}
