use super::*;
use crate::protocol::BuildId;
use proptest::prelude::*;

const OLD: BuildId = BuildId(1);
const NEW: BuildId = BuildId(2);
const S: PoolSettings = PoolSettings::STANDARD;

fn report(index: u32, connections: u32, build: BuildId, started: u64) -> BrokerReport {
    let instance = Instance { build, started: UnixMillis(started) };
    BrokerReport { index, epoch: 1, instance, connections, capacity: 2_000, refused_full: 0 }
}

fn tell(pool: &mut Pool, now: u64, report: BrokerReport) -> Directive {
    match pool.handle(UnixMillis(now), &PoolRequest::Report(report)) {
        PoolReply::Directive(directive) => directive,
        PoolReply::View(_) => panic!("a view for a report"),
    }
}

fn load(pool: &mut Pool, now: u64, connections: &[u32]) {
    for (index, connections) in (0..).zip(connections) {
        tell(pool, now, report(index, *connections, OLD, 1));
    }
}

fn states(pool: &Pool, now: u64) -> Vec<BrokerState> {
    pool.view(UnixMillis(now)).brokers.iter().map(|broker| broker.state).collect()
}

fn count(pool: &Pool, now: u64, state: BrokerState) -> usize {
    states(pool, now).into_iter().filter(|other| *other == state).count()
}

fn orders(pool: &mut Pool) -> Vec<Order> {
    core::iter::from_fn(|| pool.poll_order()).collect()
}

#[test]
fn a_region_grows_when_it_is_seventy_percent_full_and_at_most_doubles() {
    for (connections, brokers) in [(1_390, 3), (1_400, 4), (1_600, 5), (2_000, 6)] {
        let mut pool = Pool::new(S);
        load(&mut pool, 10_000, &[0, 0]);
        let all = [connections; 3];
        // The last report decides, since each is looked at as it comes.
        pool.row.grown = UnixMillis(9_000);
        load(&mut pool, 10_000, &all);
        pool.row.grown = UnixMillis(0);
        pool.timeout(UnixMillis(10_000));
        assert_eq!(count(&pool, 10_000, BrokerState::Active), brokers, "{connections}");
    }
}

#[test]
fn it_grows_step_by_step_and_never_above_the_maximum() {
    let mut pool = Pool::new(PoolSettings { maximum: 10, ..S });
    let mut now = 10_000;
    let mut sizes = Vec::new();
    for _ in 0..6 {
        let all = vec![2_000; count(&pool, now, BrokerState::Active)];
        load(&mut pool, now, &all);
        pool.timeout(UnixMillis(now));
        sizes.push(count(&pool, now, BrokerState::Active));
        assert!(pool.next_timeout(UnixMillis(now)).is_none_or(|at| at.0 > now));
        now += 5_000;
    }
    assert_eq!(sizes.last(), Some(&10), "{sizes:?}");
    assert!(sizes.windows(2).all(|pair| pair[1] <= pair[0] * 2), "{sizes:?}");
}

#[test]
fn clients_that_were_refused_count_as_demand() {
    let mut pool = Pool::new(PoolSettings { minimum: 1, ..S });
    tell(&mut pool, 10_000, BrokerReport { refused_full: 5_000, ..report(0, 2_000, OLD, 1) });
    assert_eq!(count(&pool, 10_000, BrokerState::Active), 2);
    tell(&mut pool, 16_000, BrokerReport { refused_full: 5_000, ..report(0, 2_000, OLD, 1) });
    assert_eq!(count(&pool, 16_000, BrokerState::Active), 4);
}

#[test]
fn a_broker_not_heard_of_for_long_is_not_counted_full() {
    let mut pool = Pool::new(S);
    load(&mut pool, 10_000, &[1_300, 1_300, 1_300]);
    let later = 10_000 + S.stale_after_millis + 1;
    tell(&mut pool, later, report(0, 2_000, OLD, 1));
    assert_eq!(count(&pool, later, BrokerState::Active), 3);
    assert_eq!(pool.view(UnixMillis(later)).brokers[1].percent, 0);
}

/// Grown to six Brokers, then with so many connections on each.
fn grown(connections: u32) -> Pool {
    let mut pool = Pool::new(S);
    pool.open(UnixMillis(10_000), 3);
    orders(&mut pool);
    load(&mut pool, 20_000, &[connections; 6]);
    pool
}

#[test]
fn a_region_shrinks_when_it_was_well_below_for_long() {
    let mut pool = grown(300);
    let at = pool.next_timeout(UnixMillis(20_000)).unwrap();
    assert_eq!(at, UnixMillis(20_000 + S.shrink_after_millis));
    assert_eq!(orders(&mut pool), []);
    pool.timeout(at);
    let found = orders(&mut pool);
    assert_eq!(found.len(), 1, "a quarter of six");
    let Order { index: 5, directive: Directive::Drain(order) } = found[0] else { panic!("{found:?}") };
    assert_eq!(order.until.millis_since(order.from), S.shrink_over_millis);
    // It has sent its clients to the others.
    assert_eq!(tell(&mut pool, at.0 + 100, report(5, 299, OLD, 1)), Directive::Drain(order));
    assert!(matches!(tell(&mut pool, at.0 + 600_000, report(5, 0, OLD, 1)), Directive::Drain(_)), "stays closed");
    assert_eq!(count(&pool, at.0 + 600_000, BrokerState::Retired), 1);
}

#[test]
fn a_region_does_not_shrink_when_it_fills_up_again_or_sleeps_full() {
    let mut pool = grown(500);
    load(&mut pool, 30_000, &[900; 6]);
    assert_eq!(pool.next_timeout(UnixMillis(30_000)), None);
    // Silence is no reason to think that everybody left, until a day is over.
    let later = 30_000 + S.forget_after_millis - 1;
    pool.timeout(UnixMillis(later));
    assert_eq!(pool.next_timeout(UnixMillis(later)), None);
}

#[test]
fn growing_takes_back_a_broker_that_is_being_drained() {
    let mut pool = grown(300);
    pool.timeout(UnixMillis(700_000));
    orders(&mut pool);
    load(&mut pool, 710_000, &[1_600; 5]);
    assert_eq!(count(&pool, 710_000, BrokerState::Draining), 0);
    assert!(orders(&mut pool).contains(&Order { index: 5, directive: Directive::Serve }));
}

#[test]
fn a_retired_broker_with_clients_is_drained_again() {
    let mut pool = grown(300);
    pool.timeout(UnixMillis(700_000));
    tell(&mut pool, 700_000, report(5, 0, OLD, 1));
    assert_eq!(count(&pool, 700_000, BrokerState::Retired), 1);
    let late = BrokerReport { epoch: 2, ..report(5, 1, OLD, 690_000) };
    assert!(matches!(tell(&mut pool, 800_000, late), Directive::Drain(_)));
    assert_eq!(count(&pool, 800_000, BrokerState::Draining), 1);
}

#[test]
fn a_broker_the_pool_does_not_know_is_drained() {
    let mut pool = Pool::new(S);
    assert!(matches!(tell(&mut pool, 10_000, report(9, 50, OLD, 1)), Directive::Drain(_)));
    assert_eq!(states(&pool, 10_000)[9], BrokerState::Draining);
    assert!(matches!(tell(&mut pool, 10_000, report(4_000_000_000, 50, OLD, 1)), Directive::Drain(_)));
    assert_eq!(states(&pool, 10_000).len(), 10, "what is absurd is not remembered");
}

#[test]
fn a_report_of_an_instance_that_is_over_changes_nothing() {
    let mut pool = Pool::new(S);
    tell(&mut pool, 10_000, BrokerReport { epoch: 2, ..report(0, 10, OLD, 5_000) });
    tell(&mut pool, 11_000, BrokerReport { epoch: 1, ..report(0, 1_900, OLD, 9_000) });
    tell(&mut pool, 11_000, BrokerReport { epoch: 2, ..report(0, 1_900, OLD, 4_000) });
    assert_eq!(pool.row.members[0].load.connections, 10);
}

/// Runs a deploy: each drained Broker empties by its `until`, restarts with the new build, and its clients go to a
/// Broker that stays. Returns the moves of each Broker's clients, the most Brokers drained at once, and the end.
fn roll(pool: &mut Pool, connections: &mut Vec<u32>, deployed: u64) -> (u32, usize, u64) {
    let mut builds = vec![OLD; connections.len()];
    let (mut moves, mut most, mut now) = (0, 0, deployed);
    let mut drains: Vec<(u32, UnixMillis)> = Vec::new();
    pool.handle(UnixMillis(now), &PoolRequest::View(Instance { build: NEW, started: UnixMillis(now) }));
    for _ in 0..100_000 {
        for Order { index, directive } in orders(pool) {
            let Directive::Drain(order) = directive else { continue };
            if builds[index as usize] != NEW && drains.iter().all(|(other, _)| *other != index) {
                drains.push((index, order.until));
            }
            tell(pool, now, report(index, connections[index as usize], builds[index as usize], 1));
        }
        most = most.max(count(pool, now, BrokerState::Draining));
        for (index, _) in drains.extract_if(.., |(_, until)| until.0 <= now).collect::<Vec<_>>() {
            let view = pool.view(UnixMillis(now));
            connections.resize(view.brokers.len(), 0);
            builds.resize(view.brokers.len(), NEW);
            let leaving = core::mem::take(&mut connections[index as usize]);
            builds[index as usize] = NEW;
            let to = (view.brokers.iter())
                .filter(|broker| broker.state == BrokerState::Active)
                .min_by_key(|broker| connections[broker.index as usize])
                .expect("somebody takes them");
            connections[to.index as usize] += leaving;
            moves += leaving;
            for changed in [index, to.index] {
                let epoch = BrokerReport { epoch: 2, ..report(changed, connections[changed as usize], NEW, now) };
                tell(pool, now, epoch);
            }
        }
        now += 1_000;
        if pool.next_timeout(UnixMillis(now)).is_some_and(|at| at.0 <= now) {
            pool.timeout(UnixMillis(now));
        }
        let is_draining = count(pool, now, BrokerState::Draining) > 0;
        if drains.is_empty() && !is_draining && !pool.is_rolling(UnixMillis(now)) {
            break;
        }
    }
    (moves, most, now)
}

#[test]
fn a_deploy_drains_all_brokers_in_time_and_each_client_moves_once() {
    for (brokers, delay, at_most) in [(1, 300_000, 1), (3, 300_000, 1), (60, 300_000, 16), (60, 86_400_000, 1)] {
        let settings = PoolSettings { minimum: brokers, maximum_delay_millis: delay, ..S };
        let mut pool = Pool::new(settings);
        let mut connections = vec![1_000; brokers as usize];
        load(&mut pool, 10_000, &connections);
        let (moves, most, end) = roll(&mut pool, &mut connections, 100_000);
        assert_eq!(moves, brokers * 1_000, "{brokers} in {delay}");
        assert!(most <= at_most, "{most} at once of {brokers} in {delay}");
        assert!(end <= 100_000 + delay, "{end} of {brokers} in {delay}");
        assert_eq!(count(&pool, end, BrokerState::Leaving), 0);
    }
}

#[test]
fn sleepers_that_woke_with_the_new_build_are_not_drained() {
    let mut pool = Pool::new(S);
    load(&mut pool, 10_000, &[100, 0, 0]);
    pool.handle(UnixMillis(50_000), &PoolRequest::View(Instance { build: NEW, started: UnixMillis(50_000) }));
    assert_eq!(count(&pool, 50_000, BrokerState::Leaving), 1, "only who has clients");
    tell(&mut pool, 51_000, report(0, 100, NEW, 51_000));
    pool.timeout(UnixMillis(90_000));
    assert_eq!(orders(&mut pool), []);
    assert_eq!(pool.next_timeout(UnixMillis(90_000)), None);
}

#[test]
fn a_roll_back_is_a_deploy_and_an_old_instance_is_none() {
    let mut pool = Pool::new(S);
    load(&mut pool, 10_000, &[100, 100, 100]);
    let view = |pool: &mut Pool, now: u64, build, started| {
        pool.handle(UnixMillis(now), &PoolRequest::View(Instance { build, started: UnixMillis(started) }));
        count(pool, now, BrokerState::Leaving)
    };
    assert_eq!(view(&mut pool, 50_000, NEW, 50_000), 3);
    assert_eq!(view(&mut pool, 51_000, OLD, 40_000), 3, "a Gateway that is not replaced yet");
    assert_eq!(view(&mut pool, 60_000, OLD, 60_000), 0, "rolled back");
}

#[test]
fn a_broker_that_does_not_answer_is_asked_a_few_times() {
    let mut pool = Pool::new(S);
    load(&mut pool, 10_000, &[100, 0, 0]);
    pool.handle(UnixMillis(50_000), &PoolRequest::View(Instance { build: NEW, started: UnixMillis(50_000) }));
    let mut asked = 0;
    let mut now = UnixMillis(50_000);
    while let Some(at) = pool.next_timeout(now) {
        assert!(at > now || at == now && asked == 0, "time goes on");
        now = at.max(now.plus_millis(1));
        pool.timeout(now);
        asked += orders(&mut pool).iter().filter(|order| order.directive != Directive::Serve).count();
    }
    assert_eq!(asked, 5);
    assert_eq!(count(&pool, now.0, BrokerState::Active), 3, "nothing is gained by giving it up");
}

#[test]
fn a_pool_goes_on_from_its_snapshot() {
    let mut pool = grown(300);
    let snapshot = pool.take_snapshot().unwrap();
    assert_eq!(pool.take_snapshot(), None, "nothing new");
    pool.handle(UnixMillis(21_000), &PoolRequest::View(Instance { build: OLD, started: UnixMillis(1) }));
    assert_eq!(pool.take_snapshot(), None, "to look at it changes nothing");
    load(&mut pool, 22_000, &[301]);
    assert!(pool.take_snapshot().is_some(), "a Broker doesn't say it twice");
    let mut again = Pool::restore(S, &snapshot).unwrap();
    again.timeout(UnixMillis(20_000 + S.shrink_after_millis));
    assert_eq!(orders(&mut again).len(), 1);
    assert_eq!(Pool::restore(S, &[]).unwrap_err(), RestoreError);
    assert_eq!(Pool::restore(S, &[9, 1, 2]).unwrap_err(), RestoreError);
    let more = Pool::restore(PoolSettings { minimum: 8, ..S }, &snapshot).unwrap();
    assert_eq!(count(&more, 20_000, BrokerState::Active), 8, "BROKERS was raised");
}

#[test]
fn an_idle_pool_has_no_alarm() {
    let mut pool = grown(0);
    let mut now = UnixMillis(20_000);
    let mut alarms = 0;
    while let Some(at) = pool.next_timeout(now) {
        now = at.max(now.plus_millis(1));
        pool.timeout(now);
        for order in orders(&mut pool) {
            tell(&mut pool, now.0, report(order.index, 0, OLD, 1));
        }
        alarms += 1;
    }
    assert_eq!(count(&pool, now.0, BrokerState::Active), 3);
    assert!(alarms <= 6, "{alarms}");
}

#[derive(Clone, Debug)]
enum Step {
    Report { index: u32, connections: u32, build: u64, refused_full: u32, restarts: bool },
    View { build: u64 },
    Wait,
    Evict,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..14_u32, 0..2_500_u32, 0..3_u64, 0..50_u32, any::<bool>()).prop_map(
            |(index, connections, build, refused_full, restarts)| Step::Report { index, connections, build, refused_full, restarts }
        ),
        1 => (0..3_u64).prop_map(|build| Step::View { build }),
        3 => Just(Step::Wait),
        1 => Just(Step::Evict),
    ]
}

proptest! {
    /// Whatever is reported: between the fewest and the most Brokers serve, somebody always does, and once nobody says
    /// anything any more, the alarms end.
    #[test]
    fn the_pool_keeps_its_bounds(steps in prop::collection::vec((step(), 0..400_000_u64), 1..120)) {
        let settings = PoolSettings { minimum: 2, maximum: 10, ..S };
        let mut pool = Pool::new(settings);
        let mut now = UnixMillis(1_000_000);
        let mut epoch = 1;
        for (step, gap) in steps {
            now = now.plus_millis(gap);
            match step {
                Step::Report { index, connections, build, refused_full, restarts } => {
                    epoch += u64::from(restarts);
                    let started = if restarts { now } else { UnixMillis(1) };
                    let instance = Instance { build: BuildId(build), started };
                    let report = BrokerReport { index, epoch, instance, connections, capacity: 2_000, refused_full };
                    pool.handle(now, &PoolRequest::Report(report));
                }
                Step::View { build } => {
                    pool.handle(now, &PoolRequest::View(Instance { build: BuildId(build), started: now }));
                }
                Step::Wait => {
                    if let Some(at) = pool.next_timeout(now) {
                        now = now.max(at);
                        pool.timeout(now);
                    }
                }
                Step::Evict => {
                    pool.is_dirty = true;
                    let snapshot = pool.take_snapshot().unwrap();
                    pool = Pool::restore(settings, &snapshot).unwrap();
                }
            }
            let view = pool.view(now);
            let taking = view.brokers.iter().filter(|b| matches!(b.state, BrokerState::Active | BrokerState::Leaving));
            let taking = taking.count();
            prop_assert!((1..=10).contains(&taking), "{taking}");
            prop_assert!(view.brokers.len() <= 12, "{}", view.brokers.len());
            orders(&mut pool);
        }
        for _ in 0..500 {
            let Some(at) = pool.next_timeout(now) else { return Ok(()) };
            now = at.max(now.plus_millis(1));
            pool.timeout(now);
            orders(&mut pool);
        }
        prop_assert!(false, "alarms without end: {:?}", pool.row);
    }
}

#[test]
fn a_broker_that_was_told_what_no_longer_holds_is_told_again() {
    let mut pool = grown(300);
    let at = pool.next_timeout(UnixMillis(20_000)).unwrap();
    pool.timeout(at);
    let drain = orders(&mut pool)[0];
    // The region has filled up while the order was on its way.
    load(&mut pool, at.0 + 10, &[1_900; 5]);
    let serve = Order { index: 5, directive: Directive::Serve };
    assert_eq!(orders(&mut pool), [serve]);
    pool.answered(UnixMillis(at.0 + 20), drain, &report(5, 300, OLD, 1));
    assert_eq!(orders(&mut pool), [serve]);
    pool.answered(UnixMillis(at.0 + 30), serve, &report(5, 300, OLD, 1));
    assert_eq!(orders(&mut pool), []);
}
