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
/// Clients whose sessions last for seconds. They ask for nothing and publish nothing, but for their wills.
const BRIEF: [&str; 2] = ["lea", "max"];
/// Who has subscribed to all wills and presence events before anything happens.
const WATCHER: &str = "wes";
const WATCHED_FILTERS: [&str; 2] = ["$aws/events/presence/#", "w/#"];
const WILL_TOPICS: [&str; 2] = ["w/a", "w/b"];
const FILTERS: [&str; 11] =
    ["$aws/things/+/shadow/#", "a", "a/#", "a/+", "a/b", "+/b", "#", "b/+/c", "a/b/c/d/e/#", "b/#", "+/+/c"];
const SHARED_FILTERS: [&str; 3] = ["$share/g/a/#", "$share/h/#", "$share/g/+/b"];
const TOPICS: [&str; 8] = ["a", "a/b", "a/x", "b/x/c", "a/b/c/d/e/f", "b", "c/d/c", "$aws/things/lamp/shadow/get"];
/// The rule that every run has, and what its FROM clause is.
const RULE: (&str, &str) = ("SELECT topic() AS topic FROM 'a/+'", "a/+");

/// How long things may be under way after the last fault, in milliseconds: what could not be made safe with everybody is
/// tried again after up to 160 seconds.
const QUIET_MILLIS: u64 = 180_000;

/// How long everything is watched after the last thing that a client does, in milliseconds.
const AFTERWARDS_MILLIS: u64 = 40_000;

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
    watch(&mut world, workload.faults);
    let mut live: Vec<ClientKey> = Vec::new();
    let mut moves = Moves::default();
    for _ in 0..workload.steps {
        step(&mut world, &mut random, &mut live, &mut moves, workload);
        let wait = if random.chance(100) { random.below(3_000) } else { random.below(30) };
        world.run_for(wait);
        live.retain(|key| world.client(*key).ended.is_none());
        if random.chance(200) {
            watch_again(&mut world, &mut random);
        }
    }
    world.set_faults(Faults::NONE);
    world.end_zombies();
    for object in objects(&world) {
        world.reconnect_object(&object);
    }
    let mut found = Vec::new();
    for (shard, (from, to)) in &moves.of_nodes {
        for _ in 0..100 {
            if from == to || world.hand_over(*shard, *from, *to) {
                break;
            }
            world.run_for(1_000);
        }
    }
    for (shard, (from, to)) in &moves.of_clients {
        let is_there = from == to
            || (0..100).any(|_| {
                let is_there = world.move_clients(*shard, *from, *to);
                world.run_for(1_000);
                is_there
            });
        if !is_there {
            found.push(format!("virtual shard {shard} of clients never came to sessions/{to}"));
        }
    }
    // Every Broker that was lost has something to say to every Sessions object.
    let (brokers, objects) = (world.settings.brokers, world.settings.sessions_shards);
    for (broker, object) in (0..brokers).flat_map(|broker| (0..objects).map(move |object| (broker, object))) {
        let mut names = (0..1_000).map(|number| format!("zoe{broker}x{number}"));
        if let Some(name) = names.find(|name| world.sessions_of(name).1 == object) {
            world.connect(ClientOptions::new(&name, broker));
        }
    }
    if !world.settle(QUIET_MILLIS) {
        found.push("three minutes after the last fault, something is still under way".to_owned());
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
    // Clients of lost Brokers have had time to come back, and the shortest sessions are over.
    world.run_for(AFTERWARDS_MILLIS);
    world.settle(120_000);
    found.extend(model::violations(&world));
    found.extend(model::lifecycle_violations(&world, WATCHER));
    found.extend(missing_rule_outputs(&world));
    (world, found)
}

/// The watcher connects and subscribes, before anything goes wrong.
fn watch(world: &mut World, faults: Faults) {
    world.set_faults(Faults::NONE);
    let watcher = world.connect(ClientOptions::new(WATCHER, 0).durable());
    world.run_for(100);
    world.subscribe(watcher, &WATCHED_FILTERS, Qos::ExactlyOnce);
    world.run_for(1_000);
    world.set_faults(faults);
}

/// The watcher comes back if its connection is gone.
fn watch_again(world: &mut World, random: &mut Random) {
    let watchers = world.clients().filter(|(_, client)| client.options.client_id == WATCHER);
    if watchers.last().is_none_or(|(_, client)| client.ended.is_some()) {
        let node = u32::try_from(random.below(u64::from(world.settings.brokers))).unwrap_or_default();
        world.connect(ClientOptions::new(WATCHER, node).durable());
    }
}

/// Every session that outlives its connections gets a connection, so that it can show what it has.
fn bring_everybody_back(world: &mut World) {
    for client_id in DURABLE.iter().chain(&SHARING).chain(&[WATCHER]) {
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
    let publishes = TOPICS.map(|topic| (topic, model::retained_candidates(world, topic)));
    let wills = WILL_TOPICS.map(|topic| {
        let (mut candidates, is_sure) = model::wills::retained(world, topic);
        candidates.extend((!is_sure).then(String::new));
        (topic, candidates)
    });
    for (topic, candidates) in publishes.into_iter().chain(wills) {
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

/// Where virtual shards of nodes and of clients are, and where they are to go.
#[derive(Default)]
struct Moves {
    of_nodes: BTreeMap<u16, (u32, u32)>,
    of_clients: BTreeMap<u16, (u32, u32)>,
}

/// Begins to move a virtual shard to another Router, or goes on with it.
fn move_shard(world: &mut World, random: &mut Random, moves: &mut Moves, filter: &str) {
    let (shard, first) = world.router_of(filter);
    let routers = u64::from(world.settings.router_shards);
    let (from, to) = moves.of_nodes.entry(shard).or_insert((first, first));
    if from == to {
        *to = u32::try_from(random.below(routers)).unwrap_or_default();
    }
    if from != to && world.hand_over(shard, *from, *to) {
        *from = *to;
    }
}

/// Begins to move a virtual shard to another Sessions object, or goes on with it. Few of them move at all, so that most
/// moves are done before the run ends.
fn move_clients(world: &mut World, random: &mut Random, moves: &mut Moves) {
    let movable = [DURABLE.first(), CLEAN.first(), SHARING.first(), Some(&WATCHER)];
    let Some(Some(client_id)) = random.pick(&movable).copied() else { return };
    let (shard, first) = world.sessions_of(client_id);
    let objects = u64::from(world.settings.sessions_shards);
    let (from, to) = moves.of_clients.entry(shard).or_insert((first, first));
    if from == to {
        *to = u32::try_from(random.below(objects)).unwrap_or_default();
    }
    if from != to && world.move_clients(shard, *from, *to) {
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
    let is_brief = client.is_some_and(|key| BRIEF.contains(&world.client(key).options.client_id.as_str()));
    match (random.below(100), client) {
        (0..=12, _) | (_, None) => {
            let mut options = match random.below(12) {
                10.. => {
                    let options = ClientOptions::new(random.pick(&BRIEF).copied().unwrap_or_default(), node);
                    let session_expiry = 1 + u32::try_from(random.below(3)).unwrap_or_default();
                    ClientOptions { session_expiry, clean_start: false, ..options }
                }
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
                options.pings = random.chance(900);
            }
            if random.chance(300) {
                options.receive_maximum = Some(1 + u16::try_from(random.below(3)).unwrap_or_default());
            }
            let number = world.clients().count();
            options.will = random.chance(500).then(|| {
                let watched = random.pick(&WILL_TOPICS).copied().filter(|_| random.chance(800));
                (watched.unwrap_or(topic).to_owned(), format!("w{number}"), qos)
            });
            let is_watched = options.will.as_ref().is_some_and(|(topic, ..)| WILL_TOPICS.contains(&topic.as_str()));
            options.will_retain = is_watched && random.chance(300);
            options.will_delay = u32::try_from(random.below(4)).unwrap_or_default();
            live.push(world.connect(options));
        }
        (13..=30, Some(client)) if !is_brief => {
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
        (31..=37, Some(client)) if !is_brief => {
            let shares = SHARING.contains(&world.client(client).options.client_id.as_str());
            let shared = random.pick(&SHARED_FILTERS).copied().unwrap_or_default();
            world.unsubscribe(client, if shares { shared } else { filter });
        }
        (38..=74, Some(client)) if !is_brief => {
            for _ in 0..=random.below(4) {
                world.publish(client, topic, qos);
            }
        }
        (75..=79, Some(client)) if !is_brief => {
            // Nobody may retain a reserved topic.
            let topic = if topic.starts_with('$') { "a/b" } else { topic };
            world.publish_retained(client, topic, qos, random.chance(250));
        }
        (80..=82, Some(client)) => world.ping(client),
        (83..=84, Some(client)) => {
            let is_v5 = world.client(client).options.version == ProtocolVersion::V5;
            if is_v5 && random.chance(300) {
                world.disconnect_with(client, ReasonCode::DisconnectWithWillMessage);
            } else {
                world.disconnect(client);
            }
        }
        (85..=86, Some(client)) if world.client(client).options.keep_alive > 0 && random.chance(300) => {
            world.vanish(client);
        }
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
            match random.below(6) {
                4.. => move_clients(world, random, moves),
                0 => world.restart_sessions(shard),
                1 | 2 => world.fail_sessions_write(shard, Failing::Before),
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
