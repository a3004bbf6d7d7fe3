//! A region under load: clients with the habits of real libraries, Gateways in many isolates with views of their own,
//! Brokers, and their pool, which is evicted whenever it has nothing to do. Milliseconds, one queue of events, one seed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, dead_code)]

use iot_types::UnixMillis;
use placement::protocol::{BrokerReport, BrokerState, BuildId, Directive, Instance, PoolReply, PoolRequest, PoolView};
use placement::{
    Admission, AdmissionSettings, Candidates, Choice, GatewaySettings, Pool, PoolSettings, Refresh, Refusal,
    RefusalReason, ReportPolicy, ReportSettings,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub clients: usize,
    pub isolates: usize,
    pub pool: PoolSettings,
    pub gateway: GatewaySettings,
    pub admission: AdmissionSettings,
    pub report: ReportSettings,
    pub seed: u64,
    /// Requests a second that an object takes; the platform refuses what is above it.
    pub ceiling: u64,
}

impl Settings {
    pub fn of(clients: usize, isolates: usize) -> Self {
        Self {
            clients,
            isolates,
            pool: PoolSettings::STANDARD,
            gateway: GatewaySettings::STANDARD,
            admission: AdmissionSettings::STANDARD,
            report: ReportSettings::STANDARD,
            seed: 1,
            ceiling: 1_000,
        }
    }

    /// Brokers a tenth as large and as fast: as many of them for a tenth of the clients.
    pub fn tenth(clients: usize, isolates: usize) -> Self {
        let mut settings = Self::of(clients, isolates);
        settings.pool.capacity = 200;
        settings.admission.capacity = 200;
        settings.admission.connects_per_second = 10;
        settings.admission.connect_burst = 20;
        settings.admission.bearable_refusals_per_second = 20;
        settings
    }
}

/// What a client does when it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Habit {
    /// Waits for `Retry-After`.
    Polite,
    /// Doubles its wait from 1 s to 128 s with jitter, as the AWS SDKs do; never sees the header.
    BacksOff,
    /// Comes back every second, always, as some libraries do by default.
    EverySecond,
}

#[derive(Clone, Debug)]
struct Client {
    key: String,
    habit: Habit,
    wants: bool,
    /// Rises with each end of a connection or attempt: events of an earlier one mean nothing.
    life: u32,
    broker: Option<(u32, u64)>,
    refusals: u32,
    in_a_row: u32,
    moves: u32,
    since: u64,
    waited: u64,
}

#[derive(Debug)]
struct Broker {
    epoch: u64,
    instance: Instance,
    /// Restarted and nobody came yet: the first connection makes an epoch.
    is_fresh: bool,
    admission: Admission,
    policy: ReportPolicy,
    connections: BTreeMap<u64, usize>,
    next: u64,
    timer: Option<u64>,
}

#[derive(Clone, Debug)]
enum Event {
    Attempt {
        client: usize,
        life: u32,
    },
    /// With a view that was fetched for it.
    SecondChoice {
        client: usize,
        life: u32,
        isolate: usize,
    },
    Upgrade {
        client: usize,
        life: u32,
        isolate: usize,
        order: Vec<u32>,
        tried: usize,
    },
    Answer {
        client: usize,
        life: u32,
        isolate: usize,
        order: Vec<u32>,
        tried: usize,
        refusal: Option<Refusal>,
        connection: u64,
    },
    Leave {
        client: usize,
    },
    ViewAsked {
        isolate: usize,
    },
    ViewCame {
        isolate: usize,
        view: Option<PoolView>,
    },
    BrokerTimer {
        broker: u32,
    },
    ReportSent {
        report: BrokerReport,
    },
    ReportAnswered {
        report: BrokerReport,
        directive: Directive,
        is_policy: bool,
    },
    OrderSent {
        broker: u32,
        directive: Directive,
    },
    OrderReported {
        report: BrokerReport,
    },
    PoolAlarm {
        at: u64,
    },
    Restart {
        broker: u32,
    },
}

/// What a phase came to.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    pub secs: u64,
    pub connected: usize,
    pub wanted: usize,
    /// Milliseconds from wanting to be connected to being it: half, 99 %, all.
    pub half: u64,
    pub most: u64,
    pub all: u64,
    pub refusals_mean: BTreeMap<Habit, f64>,
    pub refusals_max: BTreeMap<Habit, u32>,
    pub active: usize,
    pub retired: usize,
    pub balance: f64,
    pub fullest: usize,
    pub broker_calls_peak: u64,
    pub admitted_peak: u64,
    pub pool_calls_peak: u64,
    pub pool_calls: u64,
    pub pool_rows: u64,
    pub broker_calls: u64,
    /// Calls to Brokers and to the pool that the platform refused.
    pub overloaded: u64,
    pub broker_rows: u64,
    pub gateway_requests: u64,
    pub moves_mean: f64,
    pub moves_max: u32,
}

pub struct World {
    settings: Settings,
    pub now: u64,
    random: u64,
    sequence: u64,
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    clients: Vec<Client>,
    isolates: Vec<(Candidates, Instance)>,
    brokers: Vec<Broker>,
    pool: Pool,
    stored: Vec<u8>,
    alarm: Option<u64>,
    build: BuildId,
    calls: BTreeMap<(u32, u64), u64>,
    admitted: BTreeMap<(u32, u64), u64>,
    pool_calls: BTreeMap<u64, u64>,
    counts: Measured,
    began: u64,
}

impl World {
    pub fn new(settings: Settings) -> Self {
        let now = 1_000_000_000;
        let build = BuildId(1);
        let clients = (0..settings.clients).map(|i| Client {
            key: format!("client-{i}"),
            habit: match i % 10 {
                0..6 => Habit::Polite,
                6..9 => Habit::BacksOff,
                _ => Habit::EverySecond,
            },
            wants: false,
            life: 0,
            broker: None,
            refusals: 0,
            in_a_row: 0,
            moves: 0,
            since: 0,
            waited: 0,
        });
        let instance = Instance { build, started: UnixMillis(now) };
        let mut pool = Pool::new(settings.pool);
        let stored = pool.take_snapshot().unwrap();
        Self {
            settings,
            now,
            random: settings.seed,
            sequence: 0,
            queue: BinaryHeap::new(),
            events: Vec::new(),
            free: Vec::new(),
            clients: clients.collect(),
            isolates: vec![(Candidates::new(settings.gateway), instance); settings.isolates],
            brokers: Vec::new(),
            pool,
            stored,
            alarm: None,
            build,
            calls: BTreeMap::new(),
            admitted: BTreeMap::new(),
            pool_calls: BTreeMap::new(),
            counts: Measured::default(),
            began: now,
        }
    }

    /// From here on `finish` measures.
    pub fn begin(&mut self) {
        self.began = self.now;
        self.counts = Measured::default();
        self.calls.clear();
        self.admitted.clear();
        self.pool_calls.clear();
        for client in &mut self.clients {
            (client.refusals, client.moves, client.waited) = (0, 0, 0);
        }
    }

    /// Clients `from..to` come within `over` milliseconds.
    pub fn join(&mut self, from: usize, to: usize, over: u64) {
        for client in from..to {
            self.clients[client].wants = true;
            let after = self.below(over.max(1));
            self.clients[client].since = self.now + after;
            self.attempt_in(client, after);
        }
    }

    /// Clients `from..to` go within `over` milliseconds.
    pub fn leave(&mut self, from: usize, to: usize, over: u64) {
        for client in from..to {
            let after = self.below(over.max(1));
            self.after(after, Event::Leave { client });
        }
    }

    /// All Brokers lose everything at this moment.
    pub fn restart_all(&mut self) {
        for broker in 0..self.brokers.len() {
            self.restart(broker as u32);
        }
    }

    pub fn restart(&mut self, broker: u32) {
        self.after(0, Event::Restart { broker });
    }

    /// New code: Gateways run it within 10 s, Brokers when they begin anew.
    pub fn deploy(&mut self, build: u64) {
        self.build = BuildId(build);
        for isolate in 0..self.isolates.len() {
            let started = UnixMillis(self.now + self.below(10_000));
            self.isolates[isolate] = (Candidates::new(self.settings.gateway), Instance { build: self.build, started });
        }
    }

    pub fn connected(&self) -> usize {
        self.clients.iter().filter(|client| client.broker.is_some()).count()
    }

    pub fn wanted(&self) -> usize {
        self.clients.iter().filter(|client| client.wants).count()
    }

    /// Builds that the Brokers with clients run.
    pub fn brokers_on(&self, build: u64) -> (usize, usize) {
        let used = self.brokers.iter().filter(|broker| !broker.connections.is_empty());
        let on = used.clone().filter(|broker| broker.instance.build == BuildId(build));
        (on.count(), used.count())
    }

    pub fn view(&self) -> PoolView {
        self.pool.view(UnixMillis(self.now))
    }

    pub fn has_alarm(&self) -> bool {
        self.alarm.is_some()
    }

    pub fn run_for(&mut self, millis: u64) {
        let end = self.now + millis;
        while let Some(Reverse((at, _, _))) = self.queue.peek().copied()
            && at <= end
        {
            let Reverse((at, _, slot)) = self.queue.pop().unwrap();
            self.now = at;
            self.free.push(slot);
            let event = self.events[slot].take().unwrap();
            self.happen(event);
        }
        self.now = end;
    }

    /// Until all who want to be are connected; at most so long.
    pub fn run_until_all_are_in(&mut self, at_most_millis: u64) {
        let end = self.now + at_most_millis;
        while self.now < end {
            self.run_for(1_000);
            if self.clients.iter().all(|client| client.wants == client.broker.is_some()) {
                break;
            }
        }
    }

    pub fn finish(&mut self) -> Measured {
        let mut measured = std::mem::take(&mut self.counts);
        measured.secs = (self.now - self.began) / 1_000;
        measured.connected = self.connected();
        measured.wanted = self.wanted();
        let mut waits: Vec<u64> = self.clients.iter().map(|c| c.waited).filter(|w| *w > 0).collect();
        waits.sort_unstable();
        let at = |share: f64| waits.get(((waits.len() as f64 * share) as usize).min(waits.len().max(1) - 1)).copied();
        (measured.half, measured.most, measured.all) =
            (at(0.5).unwrap_or(0), at(0.99).unwrap_or(0), at(1.0).unwrap_or(0));
        for habit in [Habit::Polite, Habit::BacksOff, Habit::EverySecond] {
            let refusals: Vec<u32> = self.clients.iter().filter(|c| c.habit == habit).map(|c| c.refusals).collect();
            let sum: u64 = refusals.iter().map(|r| u64::from(*r)).sum();
            measured.refusals_mean.insert(habit, sum as f64 / refusals.len().max(1) as f64);
            measured.refusals_max.insert(habit, refusals.into_iter().max().unwrap_or(0));
        }
        let view = self.view();
        let active: Vec<usize> = (view.brokers.iter())
            .filter(|load| matches!(load.state, BrokerState::Active | BrokerState::Leaving))
            .map(|load| self.brokers.get(load.index as usize).map_or(0, |broker| broker.connections.len()))
            .collect();
        measured.active = active.len();
        measured.retired = view.brokers.iter().filter(|load| load.state == BrokerState::Retired).count();
        measured.fullest = active.iter().copied().max().unwrap_or(0);
        let mean = active.iter().sum::<usize>() as f64 / active.len().max(1) as f64;
        measured.balance = if mean == 0.0 { 1.0 } else { measured.fullest as f64 / mean };
        measured.broker_calls_peak = self.calls.values().copied().max().unwrap_or(0);
        measured.broker_calls = self.calls.values().sum();
        measured.admitted_peak = self.admitted.values().copied().max().unwrap_or(0);
        measured.pool_calls_peak = self.pool_calls.values().copied().max().unwrap_or(0);
        measured.pool_calls = self.pool_calls.values().sum();
        let moves: u64 = self.clients.iter().map(|c| u64::from(c.moves)).sum();
        measured.moves_mean = moves as f64 / self.clients.len() as f64;
        measured.moves_max = self.clients.iter().map(|c| c.moves).max().unwrap_or(0);
        measured
    }

    fn happen(&mut self, event: Event) {
        let now = UnixMillis(self.now);
        match event {
            Event::Attempt { client, life } => self.attempt(client, life),
            Event::SecondChoice { client, life, isolate } => {
                if self.clients[client].life == life {
                    self.choose(client, life, isolate);
                }
            }
            Event::Upgrade { client, life, isolate, order, tried } => {
                self.upgrade(client, life, isolate, order, tried);
            }
            Event::Answer { client, life, isolate, order, tried, refusal, connection } => {
                self.answer(client, life, isolate, order, tried, refusal, connection);
            }
            Event::Leave { client } => {
                self.clients[client].wants = false;
                self.clients[client].life += 1;
                if let Some((broker, connection)) = self.clients[client].broker.take() {
                    self.brokers[broker as usize].connections.remove(&connection);
                    self.tend(broker);
                }
            }
            Event::ViewAsked { isolate } => {
                let view = match self.ask_pool(&PoolRequest::View(self.isolates[isolate].1)) {
                    Some(PoolReply::View(view)) => Some(view),
                    _ => None,
                };
                let later = self.latency();
                self.after(later, Event::ViewCame { isolate, view });
            }
            Event::ViewCame { isolate, view: Some(view) } => self.isolates[isolate].0.refreshed(now, view),
            Event::ViewCame { isolate, view: None } => self.isolates[isolate].0.refresh_failed(now),
            Event::BrokerTimer { broker } => {
                self.brokers[broker as usize].timer = None;
                self.tend(broker);
            }
            Event::ReportSent { report } => {
                let later = self.latency();
                match self.ask_pool(&PoolRequest::Report(report)) {
                    Some(PoolReply::Directive(directive)) => {
                        self.after(later, Event::ReportAnswered { report, directive, is_policy: true });
                    }
                    _ => {
                        self.brokers[report.index as usize].policy.failed();
                        self.tend(report.index);
                    }
                }
            }
            Event::ReportAnswered { report, directive, is_policy } => {
                let broker = &mut self.brokers[report.index as usize];
                if is_policy {
                    broker.policy.arrived(now, &report);
                    self.counts.broker_rows += 1;
                }
                // An answer to an instance that is no more reaches nobody.
                if broker.instance == report.instance {
                    let least = self.settings.pool.drain_at_least_millis;
                    broker.admission.obey(now, directive, broker.instance.build, least);
                }
                self.tend(report.index);
            }
            Event::OrderSent { broker, directive } => {
                self.ensure(broker);
                *self.calls.entry((broker, self.now / 1_000)).or_default() += 1;
                let least = self.settings.pool.drain_at_least_millis;
                let it = &mut self.brokers[broker as usize];
                it.admission.obey(now, directive, it.instance.build, least);
                let report = self.report_of(broker);
                let later = self.latency();
                self.after(later, Event::OrderReported { report });
                self.tend(broker);
            }
            Event::OrderReported { report } => {
                // The reply to the pool's own call: no call of its own.
                let reply = self.pool.handle(now, &PoolRequest::Report(report));
                self.after_pool();
                if let PoolReply::Directive(directive) = reply {
                    self.after(10, Event::ReportAnswered { report, directive, is_policy: false });
                }
            }
            Event::PoolAlarm { at } => {
                if self.alarm == Some(at) {
                    self.alarm = None;
                    self.wake_pool();
                    self.pool.timeout(now);
                    self.after_pool();
                }
            }
            Event::Restart { broker } => self.restart_now(broker),
        }
    }

    fn attempt(&mut self, client: usize, life: u32) {
        let now = UnixMillis(self.now);
        if self.clients[client].life != life || !self.clients[client].wants {
            return;
        }
        self.counts.gateway_requests += 1;
        let isolate = self.below(self.isolates.len() as u64) as usize;
        let (candidates, _) = &mut self.isolates[isolate];
        let mut later = 0;
        match candidates.refresh(now) {
            Refresh::No => {}
            refresh => {
                candidates.refresh_begun(now);
                let there = self.latency();
                self.after(there, Event::ViewAsked { isolate });
                if refresh == Refresh::First {
                    later = 150;
                }
            }
        }
        if later > 0 {
            // It waits for the view.
            self.after(later, Event::SecondChoice { client, life, isolate });
            return;
        }
        self.choose(client, life, isolate);
    }

    fn choose(&mut self, client: usize, life: u32, isolate: usize) {
        let now = UnixMillis(self.now);
        match self.isolates[isolate].0.choose(now, &self.clients[client].key) {
            Choice::Try(order) => {
                let there = self.latency();
                self.after(there, Event::Upgrade { client, life, isolate, order, tried: 0 });
            }
            Choice::Refuse { retry_after_secs } => self.refused(client, retry_after_secs),
        }
    }

    fn upgrade(&mut self, client: usize, life: u32, isolate: usize, order: Vec<u32>, tried: usize) {
        let now = UnixMillis(self.now);
        let index = order[tried];
        self.ensure(index);
        let calls = self.calls.entry((index, self.now / 1_000)).or_default();
        *calls += 1;
        let is_overloaded = *calls > self.settings.ceiling;
        let broker = &mut self.brokers[index as usize];
        let verdict = if is_overloaded {
            self.counts.overloaded += 1;
            Err(Refusal::OVERLOADED)
        } else {
            broker.admission.upgrade(now, broker.connections.len() as u32)
        };
        let connection = broker.next;
        match verdict {
            Ok(()) => {
                broker.next += 1;
                broker.connections.insert(connection, client);
                if std::mem::take(&mut broker.is_fresh) {
                    broker.epoch += 1;
                }
                *self.admitted.entry((index, self.now / 1_000)).or_default() += 1;
            }
            Err(Refusal { reason: RefusalReason::Full, .. }) => broker.policy.refused_full(),
            Err(_) => {}
        }
        self.tend(index);
        let back = self.latency();
        let refusal = verdict.err();
        self.after(back, Event::Answer { client, life, isolate, order, tried, refusal, connection });
    }

    #[allow(clippy::too_many_arguments)]
    fn answer(
        &mut self,
        client: usize,
        life: u32,
        isolate: usize,
        order: Vec<u32>,
        tried: usize,
        refusal: Option<Refusal>,
        connection: u64,
    ) {
        let now = UnixMillis(self.now);
        let index = order[tried];
        let Some(refusal) = refusal else {
            // It may have gone, or the Broker may have been lost, before the answer came.
            let is_wanted = self.clients[client].life == life;
            let is_there = self.brokers[index as usize].connections.contains_key(&connection);
            if !is_wanted {
                self.brokers[index as usize].connections.remove(&connection);
            } else if is_there {
                let it = &mut self.clients[client];
                it.broker = Some((index, connection));
                it.moves += 1;
                it.in_a_row = 0;
                it.waited = it.waited.max(self.now - it.since);
            } else {
                self.attempt_in(client, 1_000);
            }
            return;
        };
        self.isolates[isolate].0.refused(now, index, refusal);
        let candidates = &self.isolates[isolate].0;
        if order.get(tried + 1).is_some_and(|next| candidates.goes_on(now, refusal, *next)) {
            let there = self.latency();
            self.after(there, Event::Upgrade { client, life, isolate, order, tried: tried + 1 });
        } else if self.clients[client].life == life && candidates.deserves_another_view(now) {
            self.isolates[isolate].0.refresh_begun(now);
            let there = self.latency();
            self.after(there, Event::ViewAsked { isolate });
            self.after(150, Event::SecondChoice { client, life, isolate });
        } else if self.clients[client].life == life {
            let secs = self.isolates[isolate].0.retry_after_secs(now, &self.clients[client].key);
            self.refused(client, secs);
        }
    }

    fn refused(&mut self, client: usize, retry_after_secs: u32) {
        let it = &mut self.clients[client];
        it.refusals += 1;
        it.in_a_row += 1;
        let (habit, in_a_row) = (it.habit, it.in_a_row);
        let after = match habit {
            Habit::Polite => u64::from(retry_after_secs) * 1_000 + self.below(1_000),
            Habit::BacksOff => self.below(1_000 << in_a_row.min(7)) + 500,
            Habit::EverySecond => 1_000,
        };
        self.attempt_in(client, after);
    }

    fn attempt_in(&mut self, client: usize, after: u64) {
        self.clients[client].life += 1;
        let life = self.clients[client].life;
        self.after(after, Event::Attempt { client, life });
    }

    /// What the object does after each event: tells those whose moment has come, reports, sets its timer.
    fn tend(&mut self, index: u32) {
        let now = UnixMillis(self.now);
        let state = self.report_of(index);
        let broker = &mut self.brokers[index as usize];
        let mut next: Option<u64> = None;
        if let Some(drain) = broker.admission.drain().copied() {
            let gone: Vec<(u64, usize)> = (broker.connections.iter())
                .filter(|(connection, _)| drain.moment(**connection) <= now)
                .map(|(connection, client)| (*connection, *client))
                .collect();
            for (connection, client) in gone {
                self.lose(index, connection, client);
            }
            if !self.brokers[index as usize].connections.is_empty() {
                next = Some(self.now + 1_000);
            }
        }
        let state = BrokerReport { connections: self.brokers[index as usize].connections.len() as u32, ..state };
        let broker = &mut self.brokers[index as usize];
        let is_draining = broker.admission.drain().is_some();
        match broker.policy.due(now, &state, is_draining) {
            Some(at) if at <= now => {
                let report = broker.policy.begin(now, state);
                let there = self.latency();
                self.after(there, Event::ReportSent { report });
            }
            Some(at) => next = Some(next.map_or(at.0, |other| other.min(at.0))),
            None => {}
        }
        let broker = &mut self.brokers[index as usize];
        // Emptied for a deploy: it restarts itself and is new.
        let is_done = broker.connections.is_empty()
            && broker.admission.drain().is_some_and(|drain| drain.order().unless_build == Some(self.build));
        if is_done {
            self.restart_now(index);
            return;
        }
        if let Some(at) = next
            && broker.timer.is_none_or(|timer| timer > at)
        {
            broker.timer = Some(at);
            self.after(at.saturating_sub(self.now).max(1), Event::BrokerTimer { broker: index });
        }
    }

    fn lose(&mut self, broker: u32, connection: u64, client: usize) {
        self.brokers[broker as usize].connections.remove(&connection);
        if self.clients[client].broker == Some((broker, connection)) {
            self.clients[client].broker = None;
            self.clients[client].since = self.now;
            let after = match self.clients[client].habit {
                Habit::Polite => self.below(1_000),
                Habit::BacksOff => self.below(2_000),
                Habit::EverySecond => 1_000,
            };
            self.attempt_in(client, after);
        }
    }

    fn restart_now(&mut self, index: u32) {
        let lost: Vec<(u64, usize)> =
            self.brokers[index as usize].connections.iter().map(|(n, client)| (*n, *client)).collect();
        for (connection, client) in lost {
            self.lose(index, connection, client);
        }
        let (settings, now, build) = (self.settings, UnixMillis(self.now), self.build);
        let broker = &mut self.brokers[index as usize];
        broker.admission = Admission::new(settings.admission, now);
        broker.policy = ReportPolicy::new(settings.report, broker.policy.told());
        broker.instance = Instance { build, started: now };
        broker.is_fresh = true;
    }

    fn ensure(&mut self, index: u32) {
        while self.brokers.len() <= index as usize {
            let now = UnixMillis(self.now);
            self.brokers.push(Broker {
                epoch: 0,
                instance: Instance { build: self.build, started: now },
                is_fresh: true,
                admission: Admission::new(self.settings.admission, now),
                policy: ReportPolicy::new(self.settings.report, None),
                connections: BTreeMap::new(),
                next: 1,
                timer: None,
            });
        }
    }

    fn report_of(&self, index: u32) -> BrokerReport {
        let broker = &self.brokers[index as usize];
        BrokerReport {
            index,
            epoch: broker.epoch,
            instance: broker.instance,
            connections: broker.connections.len() as u32,
            capacity: self.settings.admission.capacity,
            refused_full: 0,
        }
    }

    fn ask_pool(&mut self, request: &PoolRequest) -> Option<PoolReply> {
        let calls = self.pool_calls.entry(self.now / 1_000).or_default();
        *calls += 1;
        if *calls > self.settings.ceiling {
            self.counts.overloaded += 1;
            return None;
        }
        self.wake_pool();
        let reply = self.pool.handle(UnixMillis(self.now), request);
        self.after_pool();
        Some(reply)
    }

    /// One call in twenty finds that the pool has slept.
    fn wake_pool(&mut self) {
        if self.below(20) == 0 {
            self.pool = Pool::restore(self.settings.pool, &self.stored).unwrap();
        }
    }

    fn after_pool(&mut self) {
        let now = UnixMillis(self.now);
        while let Some(order) = self.pool.poll_order() {
            let there = self.latency();
            self.after(there, Event::OrderSent { broker: order.index, directive: order.directive });
        }
        if let Some(snapshot) = self.pool.take_snapshot() {
            self.stored = snapshot;
            self.counts.pool_rows += 1;
        }
        let next = self.pool.next_timeout(now).map(|at| at.0.max(self.now + 1));
        // A later alarm than needed is moved; an earlier one is left to come in vain.
        if let Some(at) = next
            && self.alarm.is_none_or(|alarm| alarm > at)
        {
            self.alarm = Some(at);
            self.counts.pool_rows += 1;
            self.after(at - self.now, Event::PoolAlarm { at });
        }
    }

    fn after(&mut self, millis: u64, event: Event) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[slot] = Some(event);
        self.sequence += 1;
        self.queue.push(Reverse((self.now + millis, self.sequence, slot)));
    }

    fn latency(&mut self) -> u64 {
        5 + self.below(30)
    }

    fn below(&mut self, below: u64) -> u64 {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(below)) >> 64) as u64
    }
}
