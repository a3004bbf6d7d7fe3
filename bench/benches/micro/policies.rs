//! What a decision about a policy costs, and what a connection pays once for having its policies compiled.

use criterion::Criterion;
use iot_types::{AccountId, Region, Scope, UnixMillis};
use policy::{Action, Authority, Context, Facts, PolicyDocument};
use std::hint::black_box;

const ARN: &str = "arn:aws:iot:eu-central-1:123456789012:";

/// What a device has that keeps to its own topics (AWS IoT developer guide, "Publish/Subscribe policy examples").
fn own_topics() -> String {
    format!(
        r#"{{"Version":"2012-10-17","Statement":[
        {{"Effect":"Allow","Action":"iot:Connect","Resource":"{ARN}client/${{iot:ClientId}}"}},
        {{"Effect":"Allow","Action":["iot:Publish","iot:Receive"],"Resource":"{ARN}topic/devices/${{iot:ClientId}}/*"}},
        {{"Effect":"Allow","Action":"iot:Subscribe","Resource":"{ARN}topicfilter/devices/${{iot:ClientId}}/*"}},
        {{"Effect":"Deny","Action":"iot:Publish","Resource":"{ARN}topic/devices/${{iot:ClientId}}/secret"}}]}}"#
    )
}

/// Nearly as long as a policy may be: topics that are not asked for.
fn long(number: usize) -> String {
    let statements: Vec<String> = (0..12)
        .map(|n| {
            format!(
                r#"{{"Effect":"Allow","Action":"iot:Publish","Resource":"{ARN}topic/other/{number}/{n}/*/telemetry"}}"#
            )
        })
        .collect();
    format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","))
}

fn compile(documents: &[PolicyDocument]) -> Authority {
    let scope = Scope {
        account_id: AccountId::new("123456789012").expect("an account"),
        region: Region::new("eu-central-1").expect("a region"),
    };
    let facts = Facts { client_id: Some("lamp-1".to_owned()), ..Facts::default() };
    Authority::compile(documents.iter().map(|document| ("policy", document)), &facts, &scope)
}

pub fn run(criterion: &mut Criterion) {
    let parse = |text: &str| PolicyDocument::parse(text).expect("a policy");
    let typical = vec![parse(&own_topics())];
    // the most that a principal may have: ten policies, the one that allows last
    let mut most: Vec<PolicyDocument> = (0..9).map(|number| parse(&long(number))).collect();
    most.push(parse(&own_topics()));
    let context = Context { now: UnixMillis(1_738_240_496_000), ..Context::default() };
    for (name, documents) in [("one policy", &typical), ("ten policies", &most)] {
        let authority = compile(documents);
        for (what, action, of) in [
            ("publish", Action::Publish, "devices/lamp-1/telemetry"),
            ("publish denied", Action::Publish, "devices/lamp-1/secret"),
            ("publish elsewhere", Action::Publish, "devices/lamp-2/telemetry"),
            ("receive", Action::Receive, "devices/lamp-1/command"),
            ("subscribe", Action::Subscribe, "devices/lamp-1/#"),
            ("connect", Action::Connect, "lamp-1"),
        ] {
            criterion.bench_function(&format!("policy/decide {what}, {name}"), |bencher| {
                bencher.iter(|| authority.decide(action, black_box(of), &context));
            });
        }
        criterion.bench_function(&format!("policy/compile, {name}"), |bencher| {
            bencher.iter(|| compile(black_box(documents)));
        });
    }
}
