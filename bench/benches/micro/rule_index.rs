//! Rules: which ones a topic concerns, and what they make of a message.

use crate::support::paths::program;
use criterion::Criterion;
use iot_types::{AccountId, Region, RuleName, Scope, UnixMillis};
use rules::{Context, Message, RuleIndex, evaluate};
use std::hint::black_box;

pub fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rules");
    for size in [10, 1_000] {
        group.bench_function(format!("one of {size} concerns a topic"), |bencher| {
            let mut index = RuleIndex::new();
            for number in 0..size {
                let name = RuleName::new(format!("rule_{number}")).expect("a name");
                index.insert(name, program(&format!("SELECT * FROM 'fleet/{number}/#'")));
            }
            bencher.iter(|| {
                let mut found = 0;
                index.for_each_match(black_box("fleet/7/state"), |_, program| {
                    black_box(program);
                    found += 1;
                });
                assert_eq!(found, 1);
            });
        });
    }
    let payload = br#"{"temperature": 31.5, "humidity": 40, "position": {"x": 1.5, "y": 2.5}, "serial": "a-17"}"#;
    let scope = Scope {
        account_id: AccountId::new("123456789012").expect("twelve digits"),
        region: Region::new("eu-central-1").expect("a region"),
    };
    let rule_name = RuleName::new("hot").expect("a name");
    for (name, sql) in [
        ("SELECT *", "SELECT * FROM 'fleet/#'"),
        (
            "three items with a condition",
            "SELECT temperature, position.x AS x, topic(2) AS device FROM 'fleet/#' WHERE temperature > 30",
        ),
    ] {
        let program = program(sql);
        group.bench_function(format!("{name} evaluated on 90 B"), |bencher| {
            bencher.iter(|| {
                let message = Message::new("fleet/7/state", black_box(payload), Some("client"), UnixMillis(0));
                let context = Context { scope: &scope, rule_name: &rule_name };
                let output = evaluate(&program, &message, &context).expect("it fits the message");
                assert!(output.is_some());
                output
            });
        });
    }
    group.finish();
}
