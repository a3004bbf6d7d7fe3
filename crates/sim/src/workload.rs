//! Random runs: clients that do anything, and nodes that anything happens to.

use crate::client::{ClientKey, ClientOptions};
use crate::model;
use crate::random::Random;
use crate::settings::{Faults, WorldSettings};
use crate::world::World;
use broker::StoredRule;
use iot_types::{Qos, RuleName, ThingName};
use messages::address::Address;
use mqtt_codec::{ProtocolVersion, ReasonCode};
use rules::{Program, SqlVersion};
use sessions::Failing;
use std::collections::BTreeMap;

/// Clients whose sessions end with their connections.
const CLEAN: [&str; 4] = ["ada", "bob", "cyd", "dan"];
/// Clients whose sessions don't.
const DURABLE: [&str; 4] = ["eve", "fay", "gus", "hal"];
/// Clients that share what they get, and ask for nothing else.
const SHARING: [&str; 3] = ["ivy", "joe", "kim"];
const FILTERS: [&str; 11] =
    ["$aws/things/+/shadow/#", "a", "a/#", "a/+", "a/b", "+/b", "#", "b/+/c", "a/b/c/d/e/#", "b/#", "+/+/c"];
const SHARED_FILTERS: [&str; 3] = ["$share/g/a/#", "$share/h/#", "$share/g/+/b"];
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
    /// Whether the world keeps a log.
    pub keeps_log: bool,
}

impl Workload {
    /// So many things happen, and nothing goes wrong by itself.
    #[must_use]
    pub const fn new(steps: u64, faults: Faults) -> Self {
        Self { steps, faults, restarts: false, sleeps_anywhere: false, keeps_log: false }
    }
}

/// Runs a world of this shape, then lets everything end well, and returns what went wrong.
#[must_use]
pub fn run(settings: WorldSettings, workload: Workload) -> (World, Vec<String>) {
    let mut random = Random::new(settings.seed ^ 0x5eed);
    let mut world = World::new(WorldSettings { faults: workload.faults, ..settings });
    if workload.keeps_log {
        world.keep_log();
    }
    world.set_rules(1, rule().into_iter().collect());
    let mut live: Vec<ClientKey> = Vec::new();
    let mut moves = Moves::new();
    for _ in 0..workload.steps {
        step(&mut world, &mut random, &mut live, &mut moves, workload);
        let wait = if random.chance(100) { random.below(3_000) } else { random.below(30) };
        world.run_for(wait);
        live.retain(|key| world.client(*key).ended.is_none());
    }
    world.set_faults(Faults::NONE);
    world.end_zombies();
    for object in objects(&world) {
        world.reconnect_object(&object);
    }
    let mut found = Vec::new();
    for (shard, (from, to)) in &moves {
        for _ in 0..100 {
            if from == to || world.hand_over(*shard, *from, *to) {
                break;
            }
            world.run_for(1_000);
        }
    }
    if !world.settle(120_000) {
        found.push("two minutes after the last fault, something is still under way".to_owned());
    }
    // A node that was put to sleep while somebody connected is woken by its alarm.
    world.run_for(model::LONGEST_WAIT_MILLIS);
    // What was lost on the way to here shows in what still arrives.
    for key in live.iter().filter(|key| world.client(**key).is_connected()).copied().collect::<Vec<_>>() {
        for topic in TOPICS {
            world.publish(key, topic, Qos::AtLeastOnce);
        }
    }
    if !world.settle(120_000) {
        found.push("two minutes after the last message, something is still under way".to_owned());
    }
    bring_everybody_back(&mut world);
    found.extend(wrong_retained_messages(&mut world));
    found.extend(model::violations(&world));
    found.extend(missing_rule_outputs(&world));
    (world, found)
}

/// Every session that outlives its connections gets a connection, so that it can show what it has.
fn bring_everybody_back(world: &mut World) {
    for client_id in DURABLE.iter().chain(&SHARING) {
        let last = world.clients().filter(|(_, c)| c.options.client_id == **client_id && c.options.is_durable()).last();
        let Some((_, client)) = last else { continue };
        if client.is_connected() && client.server_ended_at.is_none() {
            continue;
        }
        let options = ClientOptions { clean_start: false, will: None, ..client.options.clone() };
        world.connect(options);
        world.run_for(3_000);
    }
    world.settle(120_000);
}

/// A new subscriber of everything gets the newest retained message of each topic.
fn wrong_retained_messages(world: &mut World) -> Vec<String> {
    let probe = world.connect(ClientOptions::new("zoe", 0));
    world.run_for(1_000);
    world.subscribe(probe, &["#"], Qos::AtLeastOnce);
    world.settle(60_000);
    let mut found = Vec::new();
    for topic in TOPICS {
        let candidates = model::retained_candidates(world, topic);
        let copies: Vec<&str> = world
            .client(probe)
            .received
            .iter()
            .filter(|received| received.retain && received.topic == topic)
            .map(|received| received.payload.as_str())
            .collect();
        let is_right = match copies.as_slice() {
            [] => candidates.iter().any(String::is_empty),
            [copy] => candidates.iter().any(|candidate| candidate == copy),
            _ => false,
        };
        if !is_right {
            found.push(format!("{topic} retains {copies:?}, which should be one of {candidates:?}"));
        }
    }
    found
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

/// Where virtual shards of nodes are, and where they are to go.
type Moves = BTreeMap<u16, (u32, u32)>;

/// Begins to move a virtual shard to another Router, or goes on with it.
fn move_shard(world: &mut World, random: &mut Random, moves: &mut Moves, filter: &str) {
    let (shard, first) = world.router_of(filter);
    let routers = u64::from(world.settings.router_shards);
    let (from, to) = moves.entry(shard).or_insert((first, first));
    if from == to {
        *to = u32::try_from(random.below(routers)).unwrap_or_default();
    }
    if from != to && world.hand_over(shard, *from, *to) {
        *from = *to;
    }
}

fn step(world: &mut World, random: &mut Random, live: &mut Vec<ClientKey>, moves: &mut Moves, workload: Workload) {
    let brokers = u64::from(world.settings.brokers);
    let node = u32::try_from(random.below(brokers)).unwrap_or_default();
    let qos = match random.below(10) {
        0..=1 => Qos::AtMostOnce,
        2..=6 => Qos::AtLeastOnce,
        _ => Qos::ExactlyOnce,
    };
    let filter = random.pick(&FILTERS).copied().unwrap_or_default();
    let topic = random.pick(&TOPICS).copied().unwrap_or_default();
    let client = random.pick(live).copied();
    match (random.below(100), client) {
        (0..=12, _) | (_, None) => {
            let mut options = match random.below(10) {
                0..=3 => ClientOptions::new(random.pick(&CLEAN).copied().unwrap_or_default(), node),
                4..=7 => ClientOptions::new(random.pick(&DURABLE).copied().unwrap_or_default(), node).durable(),
                _ => {
                    let options = ClientOptions::new(random.pick(&SHARING).copied().unwrap_or_default(), node);
                    if random.chance(700) { options.durable() } else { options }
                }
            };
            // The version goes with the client id: a session is not taken up in another.
            if matches!(options.client_id.as_str(), "bob" | "dan" | "fay" | "gus" | "kim") {
                options = options.v3();
            }
            if options.version == ProtocolVersion::V5 && options.is_durable() && random.chance(50) {
                options.clean_start = true;
            }
            if random.chance(200) {
                options.keep_alive = 5;
            }
            if random.chance(300) {
                options.receive_maximum = Some(1 + u16::try_from(random.below(3)).unwrap_or_default());
            }
            options.will = random.chance(300).then(|| (topic.to_owned(), "a will".to_owned(), qos));
            options.will_delay = u32::try_from(random.below(4)).unwrap_or_default();
            live.push(world.connect(options));
        }
        (13..=30, Some(client)) => {
            let second = random.pick(&FILTERS).copied().unwrap_or_default();
            let filters = [filter, second];
            let shares = SHARING.contains(&world.client(client).options.client_id.as_str());
            let shared = random.pick(&SHARED_FILTERS).copied().unwrap_or_default();
            let filters: &[&str] = match (shares, random.chance(300)) {
                (true, _) => &[shared],
                (false, true) => &filters,
                (false, false) => filters.get(..1).unwrap_or_default(),
            };
            world.subscribe(client, filters, qos);
        }
        (31..=37, Some(client)) => {
            let shares = SHARING.contains(&world.client(client).options.client_id.as_str());
            let shared = random.pick(&SHARED_FILTERS).copied().unwrap_or_default();
            world.unsubscribe(client, if shares { shared } else { filter });
        }
        (38..=74, Some(client)) => {
            for _ in 0..=random.below(4) {
                world.publish(client, topic, qos);
            }
        }
        (75..=79, Some(client)) => {
            // Nobody may retain a reserved topic.
            let topic = if topic.starts_with('$') { "a/b" } else { topic };
            world.publish_retained(client, topic, qos, random.chance(250));
        }
        (80..=82, Some(client)) => world.ping(client),
        (83..=84, Some(client)) => world.disconnect(client),
        (85..=86, Some(client)) => world.lose(client),
        (87..=91, _) if workload.restarts && (workload.sleeps_anywhere || world.is_at_rest(node)) => world.sleep(node),
        (92, _) if workload.restarts && random.chance(500) => world.restart_broker(node),
        (92, _) if workload.restarts => world.replace_broker(node, random.below(90_000)),
        (93..=94, _) if workload.restarts => {
            let shard = random.below(u64::from(world.settings.router_shards));
            let shard = u32::try_from(shard).unwrap_or_default();
            match random.below(4) {
                0 => move_shard(world, random, moves, filter),
                1 => world.fail_router_write(shard),
                _ => world.restart_router(shard),
            }
        }
        (95, _) if workload.restarts => {
            let shard = u32::try_from(random.below(u64::from(world.settings.sessions_shards))).unwrap_or_default();
            match random.below(3) {
                0 => world.restart_sessions(shard),
                1 => world.fail_sessions_write(shard, Failing::Before),
                _ => world.fail_sessions_write(shard, Failing::After),
            }
        }
        (96..=99, _) => {
            let objects = objects(world);
            let Some(object) = random.pick(&objects).cloned() else { return };
            match random.below(5) {
                0 => world.slow_down(object, random.below(3_000)),
                2 if workload.restarts => {
                    if let Some(other) = random.pick(&objects).cloned() {
                        world.part(object, other);
                    }
                }
                1 if workload.restarts => world.cut_off(object),
                _ => objects.iter().for_each(|object| world.reconnect_object(object)),
            }
        }
        _ => {}
    }
}
