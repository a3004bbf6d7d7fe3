//! Routers, Brokers in several lives, a Sessions object, and what is between them.

use crate::support::{MapStore, broker_id};
use iot_types::UnixMillis;
use messages::address::{Address, ShardMap};
use messages::broker::BrokerRequest;
use messages::channel::{Acceptance, ChannelLimits, Inbox, Outbox, Undelivered};
use messages::codec::{Batch, BatchReply};
use messages::router::{Destination, RouterRequest};
use messages::sessions::SessionsRequest;
use messages::{Reply, Request};
use mqtt_topic::{matches, node};
use routing::{
    Added, LeaseSettings, Leases, Registrar, RegistrarSettings, RegistrarToken, Registration, Route, RouterSettings,
    RouterShard,
};
use std::collections::{BTreeMap, BTreeSet};

pub const FILTERS: &[&str] =
    &["#", "+/b", "a", "a/#", "a/b", "a/b/+", "a/b/c/d/e", "a/b/c/d/+", "b/#", "$share/g/a/+", "$share/g/#"];

pub const TOPICS: &[&str] = &["a", "a/b", "a/b/c", "a/b/c/d/e", "b", "b/b"];

/// Objects at first; the third gets virtual shards only by moves.
const INITIAL_ROUTERS: u16 = 2;

#[derive(Clone, Copy, Debug)]
pub enum Step {
    Subscribe {
        broker: usize,
        filter: usize,
    },
    Unsubscribe {
        broker: usize,
        filter: usize,
    },
    SubscribeDurable {
        filter: usize,
    },
    UnsubscribeDurable {
        filter: usize,
    },
    /// By a Broker, or by its zombie.
    Publish {
        holder: usize,
        topic: usize,
    },
    /// Something on the network arrives.
    Deliver(u16),
    /// Everything arrives, so many times.
    Flush(u8),
    /// A request or its answer is lost.
    Lose(u16),
    /// A request seems lost and arrives later.
    Late(u16),
    /// A request arrives twice.
    Repeat(u16),
    RestartRouter(usize),
    /// A new epoch; the old life goes on as a zombie, which calls don't reach any more.
    RestartBroker(usize),
    /// The same epoch with an empty memory.
    WakeBroker(usize),
    /// Leases are given back, as by a Broker without connections.
    GiveBack(usize),
    RestartSessions,
    StoreFails {
        router: usize,
        after: u32,
    },
    HandOver {
        filter: usize,
        to: u32,
    },
    Advance(u64),
}

/// Mistakes built in on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    RevocationsAreIgnored,
    HoldersAreNotStored,
    TaintIsIgnored,
    EpochsAreIgnored,
    LeasesLastTooLong,
    MarksAreNotStored,
    SubscriptionsAreNotStored,
    ZombiesGoOn,
}

#[derive(Clone, Copy, Debug)]
enum Token {
    Ask(u64),
    Registrar(RegistrarToken),
}

/// One memory of a Broker or of the Sessions object.
struct Life {
    address: Address,
    epoch: u64,
    instance: u64,
    leases: Leases,
    registrar: Registrar,
    outbox: Outbox<Token>,
    inbox: Inbox,
    shards: ShardMap,
    wanted: BTreeSet<String>,
    in_force: BTreeSet<String>,
    /// What is being asked for.
    asks: BTreeMap<u64, Vec<String>>,
}

struct Router {
    shard: RouterShard,
    instance: u64,
    store: MapStore,
}

struct Message {
    /// Who waits for the answer: an address in one of its lives.
    caller: (Address, u64),
    target: Address,
    batch: Batch,
    /// The answer, once it has been given.
    reply: Option<BatchReply>,
    /// Nobody waits for the answer any more.
    is_orphan: bool,
}

pub struct World {
    now: UnixMillis,
    routers: Vec<Router>,
    /// The Brokers' present lives, then the Sessions object.
    lives: Vec<Life>,
    /// By Broker. They end when they have to prove that they are the present instance.
    zombies: BTreeMap<usize, (UnixMillis, Life)>,
    network: Vec<Message>,
    view_bytes: usize,
    sabotage: Option<Sabotage>,
}

/// How long a Broker uses its leases between two proofs that it is the present instance, in milliseconds.
const FENCE_MILLIS: u64 = 2_000;

const BROKERS: usize = 3;
const SESSIONS: usize = BROKERS;

impl World {
    pub fn new(view_bytes: usize, sabotage: Option<Sabotage>) -> Self {
        let now = UnixMillis(1_000_000);
        let mut world = Self {
            now,
            routers: Vec::new(),
            lives: Vec::new(),
            zombies: BTreeMap::new(),
            network: Vec::new(),
            view_bytes,
            sabotage,
        };
        for number in 0..3 {
            let loses = match sabotage {
                Some(Sabotage::HoldersAreNotStored) => Some(b'H'),
                Some(Sabotage::MarksAreNotStored) => Some(b'M'),
                Some(Sabotage::SubscriptionsAreNotStored) => Some(b'S'),
                _ => None,
            };
            let store = MapStore { loses, ..MapStore::default() };
            world.routers.push(Router { shard: world.router(number), instance: now.0, store });
        }
        for index in 0..BROKERS {
            world.lives.push(world.life(Address::Broker(broker_id(index as u32)), 1));
        }
        world.lives.push(world.life(Address::Sessions(4), 0));
        world
    }

    fn router(&self, number: u32) -> RouterShard {
        let settings = RouterSettings { view_bytes: self.view_bytes, ..RouterSettings::default() };
        RouterShard::new(number, INITIAL_ROUTERS, self.now, settings)
    }

    fn life(&self, address: Address, epoch: u64) -> Life {
        let mut settings = LeaseSettings::default();
        if self.sabotage == Some(Sabotage::LeasesLastTooLong) {
            settings.lease_millis *= 3;
        }
        Life {
            outbox: Outbox::new(address.clone(), epoch, self.now, ChannelLimits { attempts: 2, ..Default::default() }),
            address,
            epoch,
            instance: self.now.0,
            leases: Leases::new(settings),
            registrar: Registrar::new(self.now.0 << 20, RegistrarSettings::default()),
            inbox: Inbox::default(),
            shards: ShardMap::new(INITIAL_ROUTERS),
            wanted: BTreeSet::new(),
            in_force: BTreeSet::new(),
            asks: BTreeMap::new(),
        }
    }

    pub fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Subscribe { broker, filter } => self.subscribe(broker, FILTERS[filter]),
            Step::Unsubscribe { broker, filter } => self.unsubscribe(broker, FILTERS[filter]),
            Step::SubscribeDurable { filter } => self.subscribe(SESSIONS, FILTERS[filter]),
            Step::UnsubscribeDurable { filter } => self.unsubscribe(SESSIONS, FILTERS[filter]),
            Step::Publish { holder, topic } => {
                let now = self.now;
                let life = match holder.checked_sub(BROKERS) {
                    None => self.lives.get_mut(holder),
                    Some(zombie) => self.zombies.get_mut(&zombie).map(|(_, life)| life),
                };
                if let Some(life) = life {
                    life.leases.route(now, TOPICS[topic]);
                }
            }
            Step::Deliver(at) => self.deliver(at.into()),
            Step::Flush(times) => self.flush(times),
            Step::Lose(at) => self.lose(at.into(), false),
            Step::Late(at) => self.lose(at.into(), true),
            Step::Repeat(at) => self.repeat(at.into()),
            Step::RestartRouter(number) => {
                self.now = self.now.plus_millis(1);
                self.routers[number].shard = self.router(number as u32);
                self.routers[number].instance = self.now.0;
            }
            Step::RestartBroker(broker) => {
                self.now = self.now.plus_millis(1);
                let old = &self.lives[broker];
                let mut new = self.life(old.address.clone(), old.epoch + 1);
                core::mem::swap(&mut new, &mut self.lives[broker]);
                self.zombies.insert(broker, (self.now.plus_millis(FENCE_MILLIS), new));
                let life = &mut self.lives[broker];
                for router in 0..3 {
                    // Not a request of the Registrar's, so with a token of nothing.
                    let request = Request::Router(RouterRequest::EpochStarted);
                    life.outbox.push(Address::Router(router), request, Token::Ask(u64::MAX)).unwrap();
                }
            }
            Step::WakeBroker(broker) => self.wake(broker),
            Step::GiveBack(broker) => {
                let life = &mut self.lives[broker];
                life.asks.clear();
                for router in life.leases.give_back() {
                    let request = Request::Router(RouterRequest::LeasesReturned);
                    life.outbox.push(Address::Router(router), request, Token::Ask(u64::MAX)).unwrap();
                }
            }
            Step::RestartSessions => self.wake(SESSIONS),
            Step::StoreFails { router, after } => self.routers[router].store.fails_after = Some(after),
            Step::HandOver { filter, to } => self.hand_over(FILTERS[filter], to),
            Step::Advance(millis) => self.now = self.now.plus_millis(millis),
        }
        self.pump();
        self.check()
    }

    fn subscribe(&mut self, at: usize, filter: &str) {
        let life = &mut self.lives[at];
        if life.wanted.insert(filter.to_owned()) && life.registrar.add(self.now, filter) == Added::InForce {
            life.in_force.insert(filter.to_owned());
        }
    }

    fn unsubscribe(&mut self, at: usize, filter: &str) {
        let life = &mut self.lives[at];
        if life.wanted.remove(filter) {
            life.in_force.remove(filter);
            life.registrar.remove(filter);
        }
    }

    /// A new memory that knows what was in force: of a Broker from its sockets, of a Sessions object from its rows.
    fn wake(&mut self, at: usize) {
        self.now = self.now.plus_millis(1);
        let old = &self.lives[at];
        let mut life = self.life(old.address.clone(), old.epoch);
        for filter in &old.in_force {
            life.registrar.restore(filter);
            life.wanted.insert(filter.clone());
            life.in_force.insert(filter.clone());
        }
        self.lives[at] = life;
    }

    fn hand_over(&mut self, filter: &str, to: u32) {
        let shard = ShardMap::virtual_shard(node::node_of(filter).as_bytes());
        let now = self.now;
        for router in &mut self.routers {
            let batch = Batch { sender: None, requests: vec![Request::Router(RouterRequest::HandOver { shard, to })] };
            // Those that don't have it refuse.
            let _ = router.shard.call(now, &batch, &mut router.store);
        }
    }

    /// Lets everybody say what they have to say.
    fn pump(&mut self) {
        let now = self.now;
        if self.sabotage != Some(Sabotage::ZombiesGoOn) {
            self.zombies.retain(|_, (until, _)| *until > now);
        }
        for life in self.lives.iter_mut().chain(self.zombies.values_mut().map(|(_, life)| life)) {
            for ask in life.leases.asks(now, &life.shards) {
                life.asks.insert(ask.id, ask.nodes.clone());
                let request = Request::Router(RouterRequest::Lease { nodes: ask.nodes });
                life.outbox.push(Address::Router(ask.router), request, Token::Ask(ask.id)).unwrap();
            }
            for wanted in life.registrar.take_requests(now, &life.shards) {
                let target = Address::Router(wanted.router);
                life.outbox.push(target, Request::Router(wanted.request), Token::Registrar(wanted.token)).unwrap();
            }
            for finished in life.registrar.take_finished() {
                match finished {
                    Registration::InForce(filter) => {
                        assert!(life.wanted.contains(&filter), "{filter} is in force for nobody");
                        life.in_force.insert(filter);
                    }
                    Registration::Failed(filter) => {
                        assert!(life.wanted.remove(&filter), "{filter} fails for nobody");
                    }
                    Registration::Removed(_) | Registration::Marked { .. } => {}
                }
            }
            for call in life.outbox.calls(now) {
                let caller = (life.address.clone(), life.instance);
                let Address::Router(_) = call.target else { panic!("{:?}", call.target) };
                let (target, batch) = (call.target, call.batch.as_ref().clone());
                self.network.push(Message { caller, target, batch, reply: None, is_orphan: false });
            }
        }
        for (number, router) in self.routers.iter_mut().enumerate() {
            if router.shard.next_timeout().is_some_and(|at| at <= now) {
                let _ = router.shard.timeout(now, &mut router.store);
            }
            for call in router.shard.calls(now) {
                let caller = (Address::Router(number as u32), router.instance);
                let (target, batch) = (call.target, call.batch.as_ref().clone());
                self.network.push(Message { caller, target, batch, reply: None, is_orphan: false });
            }
        }
    }

    fn deliver(&mut self, at: usize) {
        if self.network.is_empty() {
            return;
        }
        let at = at % self.network.len();
        let message = &self.network[at];
        if message.reply.is_some() {
            let message = self.network.swap_remove(at);
            return self.answered(message.caller, &message.target, message.reply);
        }
        let (target, batch) = (message.target.clone(), message.batch.clone());
        let reply = self.apply(&target, &batch);
        let message = &mut self.network[at];
        message.reply = reply;
        if message.is_orphan || message.reply.is_none() {
            let message = self.network.swap_remove(at);
            if !message.is_orphan {
                self.answered(message.caller, &message.target, None);
            }
        }
    }

    /// Everything that is on the network now arrives, and its answer.
    fn flush(&mut self, times: u8) {
        for _ in 0..u32::from(times) * 2 {
            // In order, and what is answered meanwhile comes next time.
            let mut count = self.network.len();
            let mut at = 0;
            while at < count {
                let before = self.network.len();
                self.deliver(at);
                // What arrived with its answer was replaced by the last.
                if self.network.len() < before { count -= 1 } else { at += 1 }
            }
            self.pump();
        }
    }

    fn lose(&mut self, at: usize, is_late: bool) {
        if self.network.is_empty() {
            return;
        }
        let at = at % self.network.len();
        let message = &mut self.network[at];
        if is_late && message.reply.is_none() && !message.is_orphan {
            message.is_orphan = true;
            let (caller, target) = (message.caller.clone(), message.target.clone());
            return self.answered(caller, &target, None);
        }
        let message = self.network.swap_remove(at);
        if !message.is_orphan {
            self.answered(message.caller, &message.target, None);
        }
    }

    fn repeat(&mut self, at: usize) {
        if self.network.is_empty() {
            return;
        }
        let Message { caller, target, batch, .. } = &self.network[at % self.network.len()];
        let (caller, target, batch) = (caller.clone(), target.clone(), batch.clone());
        self.network.push(Message { caller, target, batch, reply: None, is_orphan: true });
    }

    /// The receiver carries a batch out; `None` if it fails.
    fn apply(&mut self, target: &Address, batch: &Batch) -> Option<BatchReply> {
        if let Address::Router(number) = target {
            let router = &mut self.routers[*number as usize];
            return router.shard.call(self.now, batch, &mut router.store).ok();
        }
        let sabotage = self.sabotage;
        let at = self.lives.iter().position(|life| life.address == *target)?;
        let life = &mut self.lives[at];
        let sender = batch.sender.as_ref()?;
        match life.inbox.accept(sender) {
            Acceptance::Repeat(reply) => return Some(reply),
            Acceptance::Superseded => return Some(Inbox::refuse(batch, life.epoch)),
            Acceptance::New { .. } => {}
        }
        let Address::Router(router) = sender.address else { panic!("{:?}", sender.address) };
        for request in &batch.requests {
            match request {
                Request::Broker(BrokerRequest::Revoke { nodes }) => life.revoke(router, nodes.as_deref(), sabotage),
                Request::Broker(BrokerRequest::Registered { registration })
                | Request::Sessions(SessionsRequest::Registered { registration }) => {
                    life.registrar.registered(*registration);
                }
                other => panic!("{other:?}"),
            }
        }
        let mut reply = BatchReply { epoch: life.epoch, replies: vec![Reply::Applied; batch.requests.len()] };
        life.inbox.remember(sender, &reply);
        if sabotage == Some(Sabotage::EpochsAreIgnored)
            && let Some((_, zombie)) = self.zombies.get(&at)
        {
            reply.epoch = zombie.epoch;
        }
        Some(reply)
    }

    fn answered(&mut self, caller: (Address, u64), target: &Address, reply: Option<BatchReply>) {
        let now = self.now;
        if let Address::Router(number) = caller.0 {
            let router = &mut self.routers[number as usize];
            if router.instance == caller.1 {
                let _ = router.shard.answered(now, target, reply, &mut router.store);
            }
            return;
        }
        let lives = self.lives.iter_mut().chain(self.zombies.values_mut().map(|(_, life)| life));
        let Some(life) = lives.into_iter().find(|life| (&life.address, life.instance) == (&caller.0, caller.1)) else {
            return;
        };
        for (token, result) in life.outbox.answered(target, reply, now) {
            if let Err(Undelivered::Moved { shard, to }) = result {
                life.shards.note_moved(shard, to);
            }
            match token {
                Token::Ask(id) => {
                    life.asks.remove(&id);
                    life.leases.answered(now, id, result);
                }
                Token::Registrar(token) => {
                    let result = result.as_ref().map_err(|error| *error);
                    life.registrar.answered(now, token, result);
                }
            }
        }
    }

    /// Invariant L.
    fn check(&self) -> Result<(), String> {
        for (holder, is_zombie) in self.lives[..BROKERS]
            .iter()
            .map(|life| (life, false))
            .chain(self.zombies.values().map(|(_, life)| (life, true)))
        {
            for topic in TOPICS {
                // On a copy: looking makes nothing wanted.
                let Route::Ready(found) = holder.leases.clone().route(self.now, topic) else { continue };
                for life in &self.lives {
                    if life.address == holder.address && !is_zombie {
                        continue;
                    }
                    for filter in life.in_force.iter().filter(|filter| matches(filter, topic)) {
                        let is_found = match &life.address {
                            _ if found.large.iter().any(|large| large == node::node_of(filter)) => true,
                            address if filter.starts_with("$share/") => found.shared.iter().any(|(shared, members)| {
                                shared == filter && members.iter().any(|member| is_at(member, address))
                            }),
                            Address::Broker(id) => found.brokers.contains(id),
                            Address::Sessions(shard) => found.sessions.contains(shard),
                            other => panic!("{other}"),
                        };
                        if !is_found {
                            let zombie = if is_zombie { " (zombie)" } else { "" };
                            let (holder, to) = (&holder.address, &life.address);
                            return Err(format!(
                                "{holder}{zombie} on {topic} does not find {filter} of {to}: {found:?}"
                            ));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// With a network that works everything that was begun comes to its end.
    pub fn settle(&mut self) -> Result<(), String> {
        for router in &mut self.routers {
            router.store.fails_after = None;
        }
        for round in 0..40 {
            self.now = self.now.plus_millis(if round < 20 { 500 } else { 5_000 });
            self.pump();
            self.flush(6);
            self.check()?;
        }
        for life in &self.lives {
            if life.in_force != life.wanted {
                return Err(format!("{} waits for ever: {:?} of {:?}", life.address, life.in_force, life.wanted));
            }
        }
        for router in &self.routers {
            if !router.shard.is_at_rest() {
                return Err(format!("never at rest: {:?}", router.shard));
            }
        }
        for topic in TOPICS {
            for broker in 0..BROKERS {
                for _ in 0..40 {
                    // A move of a virtual shard that a restart interrupted goes on with the first call.
                    self.now = self.now.plus_millis(700);
                    if self.lives[broker].leases.route(self.now, topic) != Route::Missing {
                        break;
                    }
                    self.pump();
                    self.flush(4);
                }
                if self.lives[broker].leases.route(self.now, topic) == Route::Missing {
                    return Err(format!("{topic} is never known to broker {broker}"));
                }
            }
            self.check()?;
        }
        Ok(())
    }
}

impl Life {
    fn revoke(&mut self, router: u32, nodes: Option<&[String]>, sabotage: Option<Sabotage>) {
        match sabotage {
            Some(Sabotage::RevocationsAreIgnored) => {}
            Some(Sabotage::TaintIsIgnored) => {
                let all: Vec<String> = TOPICS
                    .iter()
                    .flat_map(|topic| node::nodes_on_path(topic))
                    .map(str::to_owned)
                    .filter(|node| nodes.is_none_or(|nodes| nodes.contains(node)))
                    .filter(|node| !self.asks.values().any(|asked| asked.contains(node)))
                    .collect();
                self.leases.revoke(router, Some(&all));
            }
            _ => self.leases.revoke(router, nodes),
        }
    }
}

fn is_at(member: &Destination, address: &Address) -> bool {
    match (member, address) {
        (Destination::Broker(member), Address::Broker(id)) => member == id,
        (Destination::Sessions(member), Address::Sessions(shard)) => member == shard,
        _ => false,
    }
}
