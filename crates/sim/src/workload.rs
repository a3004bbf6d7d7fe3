//! Random runs: clients that do anything, and nodes that anything happens to.

use crate::client::{ClientKey, ClientOptions};
use crate::model;
use crate::random::Random;
use crate::settings::{Faults, WorldSettings};
use crate::world::World;
use broker::StoredRule;
use iot_types::{Qos, RuleName, ThingName};
use messages::address::Address;
use mqtt_codec::ReasonCode;
use rules::{Program, SqlVersion};

const CLIENT_IDS: [&str; 6] = ["ada", "bob", "cyd", "dan", "eve", "fay"];
const FILTERS: [&str; 11] =
    ["$aws/things/+/shadow/#", "a", "a/#", "a/+", "a/b", "+/b", "#", "b/+/c", "a/b/c/d/e/#", "b/#", "+/+/c"];
const TOPICS: [&str; 8] = ["a", "a/b", "a/x", "b/x/c", "a/b/c/d/e/f", "b", "c/d/c", "$aws/things/lamp/shadow/get"];
/// The rule that every run has, and what its FROM clause is.
const RULE: (&str, &str) = ("SELECT topic() AS topic FROM 'a/+'", "a/+");

/// What happens in a random run.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// How many things happen.
    pub steps: u64,
    /// Faults of the network while they do.
    pub faults: Faults,
    /// Whether nodes and shards lose their memory.
    pub restarts: bool,
    /// Whether nodes are put to sleep although they have something under way.
    pub sleeps_anywhere: bool,
}

/// Runs a world of this shape, then lets everything end well, and returns what went wrong.
#[must_use]
pub fn run(settings: WorldSettings, workload: Workload) -> (World, Vec<String>) {
    let mut random = Random::new(settings.seed ^ 0x5eed);
    let mut world = World::new(WorldSettings { faults: workload.faults, ..settings });
    world.set_rules(1, rule().into_iter().collect());
    let mut live: Vec<ClientKey> = Vec::new();
    for _ in 0..workload.steps {
        step(&mut world, &mut random, &mut live, workload);
        let wait = if random.chance(100) { random.below(3_000) } else { random.below(30) };
        world.run_for(wait);
        live.retain(|key| world.client(*key).ended.is_none());
    }
    world.set_faults(Faults::NONE);
    for object in objects(&world) {
        world.reconnect_object(&object);
    }
    let mut found = Vec::new();
    if !world.settle(60_000) {
        found.push("a minute after the last fault, something is still under way".to_owned());
    }
    // A node that was put to sleep while somebody connected is woken by its alarm.
    world.run_for(model::LONGEST_WAIT_MILLIS);
    // What was lost on the way to here shows in what still arrives.
    for key in live.iter().filter(|key| world.client(**key).is_connected()).copied().collect::<Vec<_>>() {
        for topic in TOPICS {
            world.publish(key, topic, Qos::AtLeastOnce);
        }
    }
    world.settle(60_000);
    found.extend(model::violations(&world));
    found.extend(missing_rule_outputs(&world));
    (world, found)
}

fn rule() -> Option<StoredRule> {
    Some(StoredRule {
        rule_name: RuleName::new("all").ok()?,
        program: Program::compile(RULE.0, SqlVersion::V2016).ok()?.encode(),
        actions: vec!["{}".to_owned()],
    })
}

/// Every acknowledged publish that the rule wants has an output in the queue.
fn missing_rule_outputs(world: &World) -> Vec<String> {
    let wanted = TOPICS.iter().filter(|topic| model::matches(RULE.1, topic));
    let counts = wanted.map(|topic| {
        let acknowledged = world.published().iter().filter(|publish| {
            publish.topic == *topic && publish.acknowledged.is_some_and(|(_, code)| code == ReasonCode::Success)
        });
        (topic, acknowledged.count(), world.queue().iter().filter(|output| output.topic == *topic).count())
    });
    counts
        .filter(|(_, acknowledged, outputs)| outputs < acknowledged)
        .map(|(topic, acknowledged, outputs)| format!("{topic}: {acknowledged} acknowledged, {outputs} in the queue"))
        .collect()
}

/// All objects that a fault can cut off.
fn objects(world: &World) -> Vec<Address> {
    let settings = &world.settings;
    let things = ThingName::new("lamp").map(Address::Thing);
    (0..settings.brokers)
        .map(World::broker)
        .chain((0..settings.router_shards).map(Address::Router))
        .chain((0..settings.sessions_shards).map(Address::Sessions))
        .chain(things)
        .collect()
}

fn step(world: &mut World, random: &mut Random, live: &mut Vec<ClientKey>, workload: Workload) {
    let brokers = u64::from(world.settings.brokers);
    let node = u32::try_from(random.below(brokers)).unwrap_or_default();
    let qos = if random.chance(800) { Qos::AtLeastOnce } else { Qos::AtMostOnce };
    let filter = random.pick(&FILTERS).copied().unwrap_or_default();
    let topic = random.pick(&TOPICS).copied().unwrap_or_default();
    let client = random.pick(live).copied();
    match (random.below(100), client) {
        (0..=12, _) | (_, None) => {
            let mut options = ClientOptions::new(random.pick(&CLIENT_IDS).copied().unwrap_or_default(), node);
            if random.chance(500) {
                options = options.v3();
            }
            if random.chance(200) {
                options.keep_alive = 5;
            }
            if random.chance(300) {
                options.receive_maximum = Some(1 + u16::try_from(random.below(3)).unwrap_or_default());
            }
            options.will = random.chance(300).then(|| (topic.to_owned(), "a will".to_owned(), Qos::AtLeastOnce));
            live.push(world.connect(options));
        }
        (13..=30, Some(client)) => {
            let second = random.pick(&FILTERS).copied().unwrap_or_default();
            let filters = [filter, second];
            world.subscribe(
                client,
                if random.chance(300) { &filters } else { filters.get(..1).unwrap_or_default() },
                qos,
            );
        }
        (31..=37, Some(client)) => world.unsubscribe(client, filter),
        (38..=79, Some(client)) => {
            for _ in 0..=random.below(4) {
                world.publish(client, topic, qos);
            }
        }
        (80..=82, Some(client)) => world.ping(client),
        (83..=84, Some(client)) => world.disconnect(client),
        (85..=86, Some(client)) => world.lose(client),
        (87..=91, _) if workload.restarts && (workload.sleeps_anywhere || world.is_at_rest(node)) => world.sleep(node),
        (92, _) if workload.restarts => world.restart_broker(node),
        (93..=94, _) if workload.restarts => {
            let shard = random.below(u64::from(world.settings.router_shards));
            world.restart_router(u32::try_from(shard).unwrap_or_default());
        }
        (95, _) if workload.restarts => {
            let shard = u32::try_from(random.below(u64::from(world.settings.sessions_shards))).unwrap_or_default();
            // A claim that waits for an older connection is not stored as such: whom it waits for would be forgotten.
            if world.is_sessions_at_rest(shard) {
                world.restart_sessions(shard);
            }
        }
        (96..=99, _) => {
            let objects = objects(world);
            let Some(object) = random.pick(&objects).cloned() else { return };
            match random.below(4) {
                0 => world.slow_down(object, random.below(3_000)),
                1 if workload.restarts => world.cut_off(object),
                _ => objects.iter().for_each(|object| world.reconnect_object(object)),
            }
        }
        _ => {}
    }
}
