//! One topic against many filters.

use criterion::{BatchSize, Criterion};
use mqtt_topic::{SubscriptionIndex, TopicFilter, matches};
use std::hint::black_box;

const SIZES: [u32; 3] = [10, 1_000, 100_000];
/// Keys under a filter that many have.
const MANY: u32 = 100;

pub fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("topic index");
    for size in SIZES {
        let mut index = None;
        for (what, topic, expected) in [
            ("none matches", "fleet/nowhere/devices/0/state", 0),
            ("one literal matches", "fleet/1/devices/1/state", 1),
            ("one + matches", "fleet/2/devices/2/state", 1),
            ("one # matches", "fleet/3/devices/3/state", 1),
            ("100 match", "all/of/them", MANY),
        ] {
            group.bench_function(format!("{size} filters, {what}"), |bencher| {
                let index = index.get_or_insert_with(|| filled(size));
                bencher.iter(|| assert_eq!(count(index, black_box(topic)), expected));
            });
        }
        group.bench_function(format!("{size} filters, one more and away"), |bencher| {
            let index = index.get_or_insert_with(|| filled(size));
            let more = filter("fleet/4/devices/4/more/+");
            bencher.iter(|| {
                index.insert(black_box(&more), 0, ());
                assert_eq!(index.remove(black_box(&more), &0), Some(()));
            });
        });
    }
    group.bench_function("all 32 filters of + and a level match a topic of five", |bencher| {
        let mut index = SubscriptionIndex::new();
        for mask in 0..32_u32 {
            let levels = ["a", "b", "c", "d", "e"].iter().enumerate();
            let levels: Vec<&str> = levels.map(|(at, &level)| if mask >> at & 1 == 1 { "+" } else { level }).collect();
            index.insert(&filter(&levels.join("/")), mask, ());
        }
        bencher.iter(|| assert_eq!(count(&index, black_box("a/b/c/d/e")), 32));
    });
    group.bench_function("1 000 filters put into an empty one", |bencher| {
        bencher.iter_batched(|| (), |()| filled(1_000), BatchSize::PerIteration);
    });
    group.finish();

    let mut group = criterion.benchmark_group("topic filter");
    group.bench_function("checked", |bencher| {
        bencher.iter(|| filter(black_box("fleet/7/devices/+/state/#")));
    });
    group.bench_function("against a topic", |bencher| {
        bencher
            .iter(|| assert!(matches(black_box("fleet/7/devices/+/state/#"), black_box("fleet/7/devices/12/state/a"))));
    });
    group.finish();
}

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).expect("a filter")
}

/// Of four filters one each is literal, has `+`, has `#`, and is literal again; and one that many have.
fn filled(size: u32) -> SubscriptionIndex<u32, ()> {
    let mut index = SubscriptionIndex::new();
    for number in 0..size {
        let group = number % 1_000;
        let text = match number % 4 {
            2 => format!("fleet/{group}/+/{number}/state"),
            3 => format!("fleet/{group}/devices/{number}/#"),
            _ => format!("fleet/{group}/devices/{number}/state"),
        };
        index.insert(&filter(&text), number, ());
    }
    for key in 0..MANY {
        index.insert(&filter("all/of/+"), key, ());
    }
    index
}

fn count(index: &SubscriptionIndex<u32, ()>, topic: &str) -> u32 {
    let mut found = 0;
    index.for_each_match(topic, |key, ()| {
        black_box(key);
        found += 1;
    });
    found
}
