//! Whole turns of a Broker: a frame comes in, frames go out.

use crate::support::paths;
use criterion::{Criterion, Throughput};

pub fn run(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("broker");
    for path in paths::ALL {
        // what is not run is not built
        let mut turn = None;
        group.throughput(Throughput::Elements(u64::from(path.publishes)));
        group.bench_function(path.name, |bencher| bencher.iter(turn.get_or_insert_with(path.build)));
    }
    group.finish();
}
