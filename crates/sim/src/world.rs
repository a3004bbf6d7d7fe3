//! The deployment and everything that happens in it.

mod carry_out;
mod ceilings;
mod clients;
mod moves;
mod overheard;

pub use ceilings::Load;

use crate::client::{Client, ClientKey};
use crate::node::Node;
use crate::random::Random;
use crate::record::{Publish, Stamp};
use crate::schedule::{Schedule, SimClock};
use crate::settings::{Faults, WorldSettings, broker_id};
use crate::shards::{Router, Sessions};
use broker::{Input, StoredRule};
use bytes::Bytes;
use device_auth::principal::Principal;
use iot_types::{ClientId, ThingName, UnixMillis};
use messages::Request;
use messages::address::Address;
use messages::broker::{BrokerRequest, ConnectionId};
use messages::channel::Call;
use messages::codec::{Batch, BatchReply};
use messages::rules::RuleOutput;
use messages::thing::{ThingReply, ThingRequest};
use sessions::Failing;
use std::collections::{BTreeMap, BTreeSet};

/// What a Thing answers.
pub type ThingBehaviour = Box<dyn FnMut(&ThingName, &ThingRequest, UnixMillis) -> ThingReply>;

/// How much of what has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Events in all.
    pub events: u64,
    /// Calls between objects, repeats included.
    pub calls: u64,
    /// Calls that failed.
    pub failed_calls: u64,
    /// Memories of Brokers that were dropped and came back with their sockets.
    pub wakes: u64,
    /// Objects that were slowed down.
    pub slowed: u64,
    /// Memories of any object that were lost, and writes that failed.
    pub losses: u64,
}

/// A simulated deployment.
pub struct World {
    pub(crate) settings: WorldSettings,
    pub(crate) random: Random,
    pub(crate) schedule: Schedule<Event>,
    /// All instances of Brokers that there have been; those that were replaced and still run among them.
    pub(crate) nodes: Vec<Node>,
    /// Where the present instance of each Broker is.
    pub(crate) current: Vec<u32>,
    pub(crate) routers: Vec<Router>,
    pub(crate) sessions: Vec<Sessions>,
    pub(crate) clients: Vec<Client>,
    pub(crate) published: Vec<Publish>,
    pub(crate) violations: Vec<String>,
    pub(crate) loads: BTreeMap<Address, Load>,
    /// Whose each connection of a Broker is.
    pub(crate) connections: BTreeMap<(u32, ConnectionId), ClientKey>,
    /// Whose each granted claim of a client id is.
    pub(crate) grants: BTreeMap<(ClientId, u64), ClientKey>,
    /// Ceilings that were exceeded, and by whom.
    exceeded: BTreeSet<(&'static str, String)>,
    /// The second that is counted, and the queue messages in it.
    queued: (u64, u64),
    /// The last call that each sender has made of each Sessions shard.
    last_calls: BTreeMap<(u32, Address), (u64, u64)>,
    unreachable: BTreeSet<Address>,
    pub(crate) partitions: BTreeSet<(Address, Address)>,
    slow: BTreeMap<Address, u64>,
    rules: (u64, Vec<StoredRule>),
    queue: Vec<RuleOutput>,
    things: ThingBehaviour,
    stamps: u64,
    deliveries: u64,
    count: Count,
    log: Option<Vec<String>>,
}

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// The client's socket writes what it has.
    Write(ClientKey),
    /// Bytes reach the node.
    Upstream { client: ClientKey, bytes: Bytes },
    /// The node learns that the connection is lost.
    Lost { client: ClientKey },
    /// Bytes reach the client.
    Downstream { client: ClientKey, bytes: Bytes },
    /// The client learns that the connection is closed.
    Closed { client: ClientKey },
    /// It is time for a PINGREQ.
    Ping(ClientKey),
    /// A call reaches its target.
    Arrives { caller: Caller, call: Call, answer: Answer },
    /// The caller learns how its call went.
    Returns { caller: Caller, target: Address, reply: Option<BatchReply> },
    /// An answer to a node that is no call.
    Answer { node: u32, life: u64, input: Input },
    /// A timer of a node.
    NodeTimer { node: u32, timer: u64 },
    /// A timer or the alarm of a Sessions shard.
    SessionsTimer { shard: u32, timer: u64 },
    /// The alarm of a Sessions shard that has lost its memory.
    SessionsAlarm { shard: u32 },
    /// A timer of a Router shard.
    RouterTimer { shard: u32, timer: u64 },
    /// The alarm of a node.
    Alarm { node: u32 },
    /// An instance that was replaced runs no longer.
    ZombieEnds { node: u32 },
}

/// One memory of an object that calls others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Node { node: u32, life: u64 },
    Sessions { shard: u32, life: u64 },
    Router { shard: u32, life: u64 },
}

/// What becomes of the answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The caller gets it.
    Told,
    /// The caller is told that the call failed.
    Lost,
    /// The caller has been answered already: this is a late copy.
    Nobody,
}

const START: UnixMillis = UnixMillis(1_700_000_000_000);

impl Count {
    /// Whether every object kept its memory, and every call arrived in time.
    #[must_use]
    pub const fn is_flawless(&self) -> bool {
        self.losses == 0 && self.failed_calls == 0 && self.slowed == 0
    }
}

impl World {
    /// A deployment in which nothing has happened yet.
    #[must_use]
    pub fn new(settings: WorldSettings) -> Self {
        let nodes = (0..settings.brokers).filter_map(|i| settings.broker_settings(i)).map(Node::new).collect();
        let (router_shards, sessions_shards) = (settings.router_shards(), settings.sessions_shards());
        let router = |number| Router::new(number, router_shards.clone(), settings.router_settings());
        let routers = (0..settings.router_shards).map(router).collect();
        let session = |number| {
            let (shards, routers) = (sessions_shards.clone(), router_shards.clone());
            Sessions::new(number, shards, routers, settings.shard_settings(), settings.sabotage)
        };
        let sessions = (0..settings.sessions_shards).map(session).collect();
        Self {
            random: Random::new(settings.seed),
            schedule: Schedule::new(START),
            nodes,
            current: (0..settings.brokers).collect(),
            routers,
            sessions,
            clients: Vec::new(),
            published: Vec::new(),
            violations: Vec::new(),
            loads: BTreeMap::new(),
            connections: BTreeMap::new(),
            grants: BTreeMap::new(),
            exceeded: BTreeSet::new(),
            queued: (0, 0),
            last_calls: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            partitions: BTreeSet::new(),
            slow: BTreeMap::new(),
            rules: (0, Vec::new()),
            queue: Vec::new(),
            things: Box::new(carry_out::accept_shadow_requests),
            stamps: 0,
            deliveries: 0,
            count: Count::default(),
            log: None,
            settings,
        }
    }

    /// The clock.
    #[must_use]
    pub const fn clock(&self) -> SimClock {
        self.schedule.clock()
    }

    pub(crate) const fn now(&self) -> UnixMillis {
        self.schedule.clock().now()
    }

    /// What has happened so far, in numbers.
    #[must_use]
    pub const fn count(&self) -> Count {
        self.count
    }

    /// What the rule queue has taken.
    #[must_use]
    pub fn queue(&self) -> &[RuleOutput] {
        &self.queue
    }

    /// Rows of all Router shards.
    #[must_use]
    pub fn subscription_rows(&self) -> usize {
        self.routers.iter().map(Router::row_count).sum()
    }

    /// From here on, these faults.
    pub const fn set_faults(&mut self, faults: Faults) {
        self.settings.faults = faults;
    }

    /// From here on, these rules, which nobody is told of.
    pub fn set_rules(&mut self, sequence: u64, rules: Vec<StoredRule>) {
        self.rules = (sequence, rules);
    }

    /// From here on, Things answer so.
    pub fn set_things(&mut self, behaviour: ThingBehaviour) {
        self.things = behaviour;
    }

    /// Calls to this object fail before they arrive, until [`Self::reconnect_object`].
    pub fn cut_off(&mut self, address: Address) {
        self.note(|| format!("cut_off {address}"));
        self.unreachable.insert(address);
    }

    /// Calls between these two fail before they arrive, until either is reconnected.
    pub fn part(&mut self, a: Address, b: Address) {
        self.note(|| format!("part {a} {b}"));
        self.partitions.insert(carry_out::pair(a, b));
    }

    /// Ends what [`Self::cut_off`], [`Self::slow_down`] and [`Self::part`] began.
    pub fn reconnect_object(&mut self, address: &Address) {
        self.note(|| format!("reconnect_object {address}"));
        self.partitions.retain(|(a, b)| a != address && b != address);
        self.unreachable.remove(address);
        self.slow.remove(address);
    }

    /// Calls to this object take this many milliseconds more, each way.
    pub fn slow_down(&mut self, address: Address, millis: u64) {
        self.note(|| format!("slow_down {address} {millis}"));
        self.count.slowed += 1;
        self.slow.insert(address, millis);
    }

    /// The Worker asks a node, as the API does.
    pub fn ask_broker(&mut self, broker: u32, request: BrokerRequest) {
        let index = self.instance(broker);
        self.wake(index);
        let now = self.now();
        if let Some(memory) = self.nodes.get_mut(index as usize).and_then(|node| node.memory.as_mut()) {
            let _ = memory.call(now, Batch { sender: None, requests: vec![Request::Broker(request)] });
        }
        self.after_event(index);
    }

    /// The node's address.
    #[must_use]
    pub fn broker(index: u32) -> Address {
        Address::Broker(broker_id(index))
    }

    /// The present instance of a Broker.
    pub(crate) fn instance(&self, broker: u32) -> u32 {
        self.current.get(broker as usize).copied().unwrap_or(broker)
    }

    /// Whether the node could be put to sleep.
    #[must_use]
    pub fn is_at_rest(&self, broker: u32) -> bool {
        self.nodes.get(self.instance(broker) as usize).is_some_and(Node::is_at_rest)
    }

    /// Whether no claim waits at the Sessions shard, and nobody has to be told anything.
    #[must_use]
    pub fn is_sessions_at_rest(&self, shard: u32) -> bool {
        self.sessions.get(shard as usize).is_some_and(Sessions::is_at_rest)
    }

    /// Whether the node has no memory now.
    #[must_use]
    pub fn is_asleep(&self, broker: u32) -> bool {
        self.nodes.get(self.instance(broker) as usize).is_some_and(|node| node.memory.is_none())
    }

    /// The node loses its memory and keeps its sockets: a hibernation, whether it was at rest or not.
    ///
    /// A tick that has begun is finished first. Calls of the lost memory that have not arrived never do; that they might
    /// is another fault, of old instances that still run.
    pub fn sleep(&mut self, broker: u32) {
        self.count.losses += 1;
        self.note(|| format!("sleep {broker}"));
        let index = self.instance(broker);
        self.end_tick(index);
        let Some(node) = self.nodes.get_mut(index as usize) else { return };
        let life = node.life;
        node.forget();
        // Nor do late copies of calls to it: the platform lets an object sleep only when nothing has come for a while.
        let own = Self::broker(broker);
        self.schedule.retain(|event| match event {
            Event::Arrives { caller, call, answer } => {
                let is_its = *caller == Caller::Node { node: index, life };
                !is_its && (*answer != Answer::Nobody || call.target != own)
            }
            _ => true,
        });
    }

    /// The node loses its memory and its sockets: a crash or a deploy. Its calls may still arrive.
    pub fn restart_broker(&mut self, broker: u32) {
        self.count.losses += 1;
        self.note(|| format!("restart_broker {broker}"));
        self.end(self.instance(broker));
    }

    /// Another instance takes the Broker's name and storage, while this one still runs with its sockets for some time:
    /// a zombie. Whatever is sent to the Broker from here on reaches the new one.
    pub fn replace_broker(&mut self, broker: u32, millis: u64) {
        self.count.losses += 1;
        self.note(|| format!("replace_broker {broker} {millis}"));
        let old = self.instance(broker);
        let Some(node) = self.nodes.get_mut(old as usize) else { return };
        let successor = node.replaced();
        let clients: Vec<ClientKey> = node.sockets.values().map(|socket| socket.client).collect();
        let now = self.now();
        for key in clients {
            // Nothing is promised to them any more: they will have to connect again.
            if let Some(client) = self.clients.get_mut(key.0) {
                client.server_ended_at.get_or_insert(now);
                client.overheard.lost_at.get_or_insert(now);
            }
        }
        let new = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes.push(successor);
        if let Some(current) = self.current.get_mut(broker as usize) {
            *current = new;
        }
        if self.nodes.get(old as usize).is_some_and(|node| node.memory.is_none()) {
            // Only what is in memory can go on without its storage.
            return self.end(old);
        }
        self.later(millis, Event::ZombieEnds { node: old });
    }

    /// All instances end that were replaced.
    pub fn end_zombies(&mut self) {
        let zombies = self.nodes.iter().enumerate().filter(|(_, node)| node.is_zombie);
        for index in zombies.map(|(index, _)| index).collect::<Vec<_>>() {
            self.end(u32::try_from(index).unwrap_or(u32::MAX));
        }
    }

    /// The instance and its sockets end.
    pub(crate) fn end(&mut self, index: u32) {
        let Some(node) = self.nodes.get_mut(index as usize) else { return };
        node.forget();
        let now = self.schedule.clock().now();
        for socket in core::mem::take(&mut node.sockets).into_values() {
            if let Some(client) = self.clients.get_mut(socket.client.0) {
                client.overheard.lost_at.get_or_insert(now);
            }
            self.server_ended(socket.client);
        }
    }

    /// The Router shard loses its memory and comes back from its rows.
    pub fn restart_router(&mut self, shard: u32) {
        self.count.losses += 1;
        self.note(|| format!("restart_router {shard}"));
        if let Some(router) = self.routers.get_mut(shard as usize) {
            router.restart();
        }
    }

    /// The Sessions shard loses its memory and comes back from its rows.
    pub fn restart_sessions(&mut self, shard: u32) {
        self.count.losses += 1;
        self.note(|| format!("restart_sessions {shard}"));
        if let Some(sessions) = self.sessions.get_mut(shard as usize) {
            sessions.restart();
        }
        // The alarm is stored: it comes again.
        self.later(1, Event::SessionsAlarm { shard });
    }

    /// The next write of the Sessions shard fails.
    pub fn fail_sessions_write(&mut self, shard: u32, failing: Failing) {
        self.count.losses += 1;
        self.note(|| format!("fail_sessions_write {shard} {failing:?}"));
        if let Some(sessions) = self.sessions.get_mut(shard as usize) {
            sessions.fail_next(failing);
        }
    }

    /// The next write of the Router shard fails.
    pub fn fail_router_write(&mut self, shard: u32) {
        self.count.losses += 1;
        self.note(|| format!("fail_router_write {shard}"));
        if let Some(router) = self.routers.get_mut(shard as usize) {
            router.fail_next();
        }
    }

    /// Rows that all Sessions shards have written.
    #[must_use]
    pub fn sessions_rows_written(&self) -> u64 {
        self.sessions.iter().map(Sessions::rows_written).sum()
    }

    /// Whether a call to a Sessions shard has been made before.
    pub(crate) fn is_repeat(&mut self, shard: u32, batch: &Batch) -> bool {
        let Some(sender) = &batch.sender else { return false };
        let call = (sender.instance, sender.number);
        self.last_calls.insert((shard, sender.address.clone()), call) == Some(call)
    }

    /// Lets this many milliseconds pass.
    pub fn run_for(&mut self, millis: u64) {
        let limit = self.now().plus_millis(millis);
        while let Some(event) = self.schedule.pop(limit) {
            self.happen(event);
        }
        self.schedule.advance_to(limit);
    }

    /// Lets time pass until nothing is under way, but no longer than this. Returns whether it became quiet.
    pub fn settle(&mut self, millis: u64) -> bool {
        let limit = self.now().plus_millis(millis);
        while !self.is_quiet() {
            // To look takes longer than most events.
            for _ in 0..8 {
                match self.schedule.pop(limit) {
                    Some(event) => self.happen(event),
                    None => return self.is_quiet(),
                }
            }
        }
        true
    }

    /// Whether nothing is under way but keep-alives.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.nodes.iter().all(Node::is_at_rest)
            && self.sessions.iter().all(Sessions::is_at_rest)
            && self.routers.iter().all(Router::is_at_rest)
            && !self.schedule.any(|event| {
                !matches!(
                    event,
                    Event::Alarm { .. }
                        | Event::Ping(_)
                        | Event::NodeTimer { .. }
                        | Event::SessionsTimer { .. }
                        | Event::SessionsAlarm { .. }
                        | Event::RouterTimer { .. }
                        | Event::ZombieEnds { .. }
                )
            })
    }

    /// From here on, keeps everything that is said in words, for whoever looks for a mistake.
    pub fn keep_log(&mut self) {
        self.log.get_or_insert_default();
    }

    /// What was said since [`Self::keep_log`].
    #[must_use]
    pub fn log(&self) -> &[String] {
        self.log.as_deref().unwrap_or_default()
    }

    pub(crate) const fn is_logging(&self) -> bool {
        self.log.is_some()
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let at = self.now().0 - START.0;
        if let Some(log) = &mut self.log {
            log.push(format!("{at:>8} {}", line()));
        }
    }

    pub(crate) fn stamp(&mut self) -> Stamp {
        self.stamps += 1;
        Stamp { order: self.stamps, at: self.now() }
    }

    pub(crate) fn delay(&mut self) -> u64 {
        let faults = self.settings.faults;
        faults.minimum_delay + self.random.below(faults.maximum_delay.saturating_sub(faults.minimum_delay) + 1)
    }

    pub(crate) fn later(&mut self, millis: u64, event: Event) {
        self.schedule.at(self.schedule.clock().now().plus_millis(millis), event);
    }

    fn happen(&mut self, event: Event) {
        self.count.events += 1;
        match event {
            Event::Write(client) => self.write(client),
            Event::Upstream { client, bytes } => {
                self.frame_arrived(client);
                if let Some((node, connection)) = self.socket(client) {
                    let broker = self.nodes.get(node as usize).map(|node| node.broker_id().clone());
                    if let Some(broker) = broker {
                        self.count_load(Address::Broker(broker), 1, 0);
                    }
                    self.handle(node, Input::Received { connection, bytes });
                }
            }
            Event::Lost { client } => self.lost(client),
            Event::Downstream { client, bytes } => self.client_received(client, bytes),
            Event::Closed { client } => self.client_ended(client),
            Event::Ping(client) => self.ping_in_time(client),
            Event::Arrives { caller, call, answer } => self.arrives(caller, call, answer),
            Event::Returns { caller, target, reply } => self.returns(caller, target, reply),
            Event::Answer { node, life, input } => {
                if matches!(input, Input::Enqueued { .. })
                    && self.nodes.get(node as usize).is_some_and(|n| n.life == life)
                {
                    self.enqueued(node);
                }
                if self.nodes.get(node as usize).is_some_and(|node| node.life == life && node.memory.is_some()) {
                    self.handle(node, input);
                }
            }
            Event::NodeTimer { node, timer } => {
                if let Some(object) = self.nodes.get_mut(node as usize).filter(|object| object.timer == timer) {
                    object.is_ticking = false;
                    self.handle(node, Input::Tick);
                }
            }
            Event::SessionsTimer { shard, timer } => {
                if self.sessions.get(shard as usize).is_some_and(|sessions| sessions.timer == timer) {
                    self.pump(shard);
                }
            }
            Event::SessionsAlarm { shard } => self.pump(shard),
            Event::RouterTimer { shard, timer } => {
                if self.routers.get(shard as usize).is_some_and(|router| router.timer == timer) {
                    self.pump_router(shard);
                }
            }
            Event::Alarm { node } => {
                let now = self.now();
                if let Some(object) = self.nodes.get_mut(node as usize).filter(|o| o.alarm_at == Some(now)) {
                    object.alarm_at = None;
                    self.handle(node, Input::Tick);
                }
            }
            Event::ZombieEnds { node } => self.end(node),
        }
    }

    /// The server's end of a client's connection, while there is one.
    pub(crate) fn socket(&self, key: ClientKey) -> Option<(u32, ConnectionId)> {
        let client = self.clients.get(key.0)?;
        let node = self.nodes.get(client.node as usize)?;
        let socket = node.sockets.get(&client.connection)?;
        (socket.client == key).then_some((client.node, client.connection))
    }

    fn lost(&mut self, key: ClientKey) {
        let Some((node, connection)) = self.socket(key) else { return };
        self.wake(node);
        if let Some(object) = self.nodes.get_mut(node as usize) {
            object.sockets.remove(&connection);
        }
        if let Some(client) = self.clients.get_mut(key.0) {
            client.server_ended_at.get_or_insert(self.schedule.clock().now());
        }
        self.handle(node, Input::Lost { connection });
    }

    /// The principal of everybody whose upgrade proved who they are.
    pub(crate) fn principal() -> Option<Principal> {
        let access_key_id = device_auth::access_key::AccessKeyId::new("SIMULATED0ACCESS0KEY").ok()?;
        Some(Principal::RootKey { access_key_id })
    }
}
