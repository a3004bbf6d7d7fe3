//! The load generator: one scenario against one server, in a closed loop.
//!
//! Everything runs on one thread, so that it takes one processor and leaves the other to the server, and so that
//! counters need no synchronisation.

use crate::client::{Client, Endpoint, Role};
use crate::proc::Usage;
use crate::scenario::Scenario;
use crate::window::Window;
use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BufMut, BytesMut};
use futures_util::future::{join_all, try_join_all};
use hdrhistogram::Histogram;
use iot_types::{PacketId, Qos};
use mqtt_codec::{ByteString, Packet, Publish};
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

/// All connections of a scenario have to be open within this.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// What is on its way at the end has to arrive within this.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);
const CLOSE_WITHIN: Duration = Duration::from_millis(500);
/// A publisher that has not got on for this long stops waiting for what it has sent.
const STALLED_AFTER: Duration = Duration::from_secs(1);
/// When it was sent, who sent it, its sequence number.
const PAYLOAD_HEADER: usize = 8 + 4 + 8;
/// Packet identifiers go round: 1 to 65,535.
const PACKET_IDS: u64 = 65_535;

/// How to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Messages that each publisher may have on their way.
    pub window: usize,
    /// Runs before the measurement and does not count.
    pub warm_up: Duration,
    pub measure: Duration,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub deliveries_per_second: f64,
    pub latency_p50_ms: f64,
    pub latency_p99_ms: f64,
    /// Processor time of all the server's processes, in microseconds.
    pub server_cpu_us_per_delivery: f64,
    /// Processors that the server used.
    pub server_cpus: f64,
    /// Processors that the load generator used. Near 1 it was the limit.
    pub generator_cpus: f64,
    /// Processors that neither of them used, but something else on the machine.
    pub other_cpus: f64,
    /// How many deliveries a WebSocket message from the server carried.
    pub deliveries_per_frame: f64,
    /// Deliveries and acknowledgements that did not come.
    pub lost: u64,
    /// Those that came after they had been given up: their publisher had not got on for more than a second.
    pub late: u64,
    /// Deliveries whose sequence number was not the one after the publisher's previous.
    pub out_of_sequence: u64,
}

struct Publisher {
    window: RefCell<Window>,
    room: Notify,
}

/// What all tasks of one measurement share.
struct Shared {
    epoch: Instant,
    publishers: Vec<Publisher>,
    is_measuring: Cell<bool>,
    /// Nothing more is published.
    is_stopping: Cell<bool>,
    /// Nothing more is awaited.
    is_done: Cell<bool>,
    done: Notify,
    deliveries: Cell<u64>,
    frames: Cell<u64>,
    out_of_sequence: Cell<u64>,
    given_up: Cell<u64>,
    late: Cell<u64>,
    latency: RefCell<Histogram<u64>>,
}

fn add(cell: &Cell<u64>, value: u64) {
    cell.set(cell.get() + value);
}

impl Shared {
    fn new(publishers: usize, window: usize) -> Result<Self> {
        let publisher = || Publisher { window: RefCell::new(Window::new(window)), room: Notify::new() };
        Ok(Self {
            epoch: Instant::now(),
            publishers: (0..publishers).map(|_| publisher()).collect(),
            is_measuring: Cell::new(false),
            is_stopping: Cell::new(false),
            is_done: Cell::new(false),
            done: Notify::new(),
            deliveries: Cell::new(0),
            frames: Cell::new(0),
            out_of_sequence: Cell::new(0),
            given_up: Cell::new(0),
            late: Cell::new(0),
            // microseconds, to three digits
            latency: RefCell::new(Histogram::new_with_bounds(1, 60_000_000, 3)?),
        })
    }

    fn now_nanos(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn arrived(&self, publisher: usize, sequence: u64) -> Result<()> {
        let publisher = self.publishers.get(publisher).context("a message of an unknown publisher")?;
        let mut window = publisher.window.borrow_mut();
        if sequence < window.base() {
            add(&self.late, 1);
        } else if window.arrive(sequence) {
            publisher.room.notify_one();
        }
        Ok(())
    }

    /// `expected`: the sequence number that comes next, for each publisher.
    fn delivered(&self, publish: &Publish, expected: &mut [u64]) -> Result<()> {
        let mut payload = publish.payload.as_ref();
        ensure!(payload.len() >= PAYLOAD_HEADER, "a delivery without our header");
        let (sent, publisher, sequence) = (payload.get_u64(), payload.get_u32() as usize, payload.get_u64());
        let expected = expected.get_mut(publisher).context("a message of an unknown publisher")?;
        if *expected != sequence {
            add(&self.out_of_sequence, 1);
        }
        *expected = sequence + 1;
        if self.is_measuring.get() {
            add(&self.deliveries, 1);
            self.latency.borrow_mut().saturating_record(self.now_nanos().saturating_sub(sent) / 1_000);
        }
        self.arrived(publisher, sequence)
    }

    fn count_frames(&self, client: &mut Client) {
        let frames = client.take_frames();
        if self.is_measuring.get() {
            add(&self.frames, frames);
        }
    }

    fn abandon(&self, publisher: &Publisher) {
        add(&self.given_up, publisher.window.borrow_mut().abandon());
        publisher.room.notify_one();
    }

    /// Lets publishers go on whose messages were lost.
    async fn watch(&self) {
        let mut seen: Vec<u64> = self.publishers.iter().map(|_| u64::MAX).collect();
        loop {
            for (publisher, seen) in self.publishers.iter().zip(&mut seen) {
                let (base, is_empty) = {
                    let window = publisher.window.borrow();
                    (window.base(), window.is_empty())
                };
                if base == *seen && !is_empty {
                    self.abandon(publisher);
                }
                *seen = base;
            }
            sleep(STALLED_AFTER).await;
        }
    }
}

fn packet_id_of(sequence: u64) -> Option<PacketId> {
    u16::try_from(sequence % PACKET_IDS + 1).ok().and_then(PacketId::new)
}

/// The sequence number with this packet identifier that is nearest to `base`: one below it was given up.
fn sequence_of(packet_id: PacketId, base: u64) -> u64 {
    let ahead = (u64::from(packet_id.get()) - 1 + PACKET_IDS - base % PACKET_IDS) % PACKET_IDS;
    if ahead > PACKET_IDS / 2 { (base + ahead).saturating_sub(PACKET_IDS) } else { base + ahead }
}

struct Sender {
    index: usize,
    topic: ByteString,
    scenario: Scenario,
}

async fn publish(shared: Rc<Shared>, sender: Sender, mut client: Client) -> Result<Client> {
    let Sender { index, topic, scenario } = sender;
    let own = shared.publishers.get(index).context("no such publisher")?;
    let is_acknowledged = scenario.qos != Qos::AtMostOnce;
    let arrivals = scenario.shape.receivers() + u32::from(is_acknowledged);
    loop {
        let mut has_sent = false;
        while !shared.is_stopping.get() {
            let Some(sequence) = own.window.borrow_mut().open(arrivals) else { break };
            let mut payload = BytesMut::zeroed(scenario.payload);
            let mut header = payload.get_mut(..PAYLOAD_HEADER).context("the payload is too short")?;
            header.put_u64(shared.now_nanos());
            header.put_u32(u32::try_from(index)?);
            header.put_u64(sequence);
            let packet_id = if is_acknowledged { packet_id_of(sequence) } else { None };
            client.feed_publish(topic.clone(), packet_id, payload.freeze()).await?;
            has_sent = true;
        }
        if has_sent {
            client.flush().await?;
        }
        if shared.is_stopping.get() && own.window.borrow().is_empty() {
            return Ok(client);
        }
        let mut packet = tokio::select! {
            biased;
            packet = client.next() => Some(packet?),
            () = own.room.notified() => None,
        };
        while let Some(received) = packet {
            match received {
                Packet::PubAck(answer) => {
                    let base = own.window.borrow().base();
                    shared.arrived(index, sequence_of(answer.packet_id, base))?;
                }
                other => bail!("a publisher got {other:?}"),
            }
            packet = client.next_if_ready()?;
        }
    }
}

async fn subscribe(shared: Rc<Shared>, mut client: Client) -> Result<Client> {
    let mut expected = vec![0; shared.publishers.len()];
    while !shared.is_done.get() {
        let mut packet = tokio::select! {
            biased;
            packet = client.next() => Some(packet?),
            () = shared.done.notified() => None,
        };
        let mut has_answered = false;
        while let Some(received) = packet {
            match received {
                Packet::Publish(publish) => {
                    shared.delivered(&publish, &mut expected)?;
                    if let Some(packet_id) = publish.packet_id {
                        client.feed_puback(packet_id).await?;
                        has_answered = true;
                    }
                }
                other => bail!("a subscriber got {other:?}"),
            }
            packet = client.next_if_ready()?;
        }
        if has_answered {
            client.flush().await?;
        }
        shared.count_frames(&mut client);
    }
    Ok(client)
}

/// Runs one scenario against the server whose processes descend from `root`. `run` tells its topics and client
/// identifiers from those of other runs.
///
/// # Errors
/// When the server refuses a connection, ends one, or answers what no MQTT server answers. Lost messages are no error:
/// they are counted.
pub async fn measure(
    endpoint: &Endpoint,
    root: u32,
    scenario: Scenario,
    settings: Settings,
    run: &str,
) -> Result<Outcome> {
    LocalSet::new().run_until(measure_here(endpoint, root, scenario, settings, run)).await
}

async fn open(
    endpoint: &Endpoint,
    run: &str,
    kind: &str,
    count: usize,
    scenario: Scenario,
    role: Role,
) -> Result<Vec<Client>> {
    let clients = (0..count).map(|index| async move {
        let topic = topic(run, scenario, index);
        Client::open(endpoint, format!("{run}-{kind}{index}"), &topic, role).await
    });
    timeout(OPEN_WITHIN, try_join_all(clients)).await.context("the server is too slow to connect to")?
}

fn topic(run: &str, scenario: Scenario, index: usize) -> String {
    format!("bench/{run}/{}", scenario.shape.topic_of(index))
}

async fn measure_here(
    endpoint: &Endpoint,
    root: u32,
    scenario: Scenario,
    settings: Settings,
    run: &str,
) -> Result<Outcome> {
    let shape = scenario.shape;
    let subscribers = open(endpoint, run, "s", shape.subscribers(), scenario, Role::Subscriber(scenario.qos)).await?;
    let publishers = open(endpoint, run, "p", shape.publishers(), scenario, Role::Publisher).await?;
    let shared = Rc::new(Shared::new(shape.publishers(), settings.window)?);
    let (mut subscribing, mut publishing) = (JoinSet::new(), JoinSet::new());
    for client in subscribers {
        subscribing.spawn_local(subscribe(Rc::clone(&shared), client));
    }
    for (index, client) in publishers.into_iter().enumerate() {
        let sender = Sender { index, topic: topic(run, scenario, index).into(), scenario };
        publishing.spawn_local(publish(Rc::clone(&shared), sender, client));
    }

    let measurement = async {
        sleep(settings.warm_up).await;
        let before = Usage::now(root)?;
        let start = Instant::now();
        shared.is_measuring.set(true);
        sleep(settings.measure).await;
        shared.is_measuring.set(false);
        let elapsed = start.elapsed();
        Ok::<_, anyhow::Error>((elapsed, before, Usage::now(root)?))
    };
    let (elapsed, before, after) = tokio::select! {
        measured = measurement => measured?,
        () = shared.watch() => bail!("the watch does not end"),
        Some(ended) = subscribing.join_next() => bail!("a subscriber ended: {:?}", ended?.err()),
        Some(ended) = publishing.join_next() => bail!("a publisher ended: {:?}", ended?.err()),
    };

    shared.is_stopping.set(true);
    for publisher in &shared.publishers {
        publisher.room.notify_one();
    }
    let mut clients = Vec::new();
    if let Ok(ended) = timeout(DRAIN_WITHIN, all_of(&mut publishing, &mut clients)).await {
        ended?;
    } else {
        shared.publishers.iter().for_each(|publisher| shared.abandon(publisher));
    }
    shared.is_done.set(true);
    shared.done.notify_waiters();
    if let Ok(ended) = timeout(DRAIN_WITHIN, all_of(&mut subscribing, &mut clients)).await {
        ended?;
    }
    let closing = join_all(clients.into_iter().map(Client::close));
    // a server that does not answer a farewell is left all the same
    let _ = timeout(CLOSE_WITHIN, closing).await;
    Ok(outcome(&shared, elapsed, before, after))
}

async fn all_of(tasks: &mut JoinSet<Result<Client>>, clients: &mut Vec<Client>) -> Result<()> {
    while let Some(client) = tasks.join_next().await {
        clients.push(client??);
    }
    Ok(())
}

fn outcome(shared: &Shared, elapsed: Duration, before: Usage, after: Usage) -> Outcome {
    let seconds = elapsed.as_secs_f64();
    let deliveries = shared.deliveries.get() as f64;
    let latency = shared.latency.borrow();
    let server = after.server.saturating_sub(before.server);
    let generator = after.generator.saturating_sub(before.generator);
    let machine = after.machine.saturating_sub(before.machine);
    Outcome {
        deliveries_per_second: deliveries / seconds,
        latency_p50_ms: latency.value_at_quantile(0.5) as f64 / 1_000.0,
        latency_p99_ms: latency.value_at_quantile(0.99) as f64 / 1_000.0,
        server_cpu_us_per_delivery: server.as_secs_f64() * 1e6 / deliveries,
        server_cpus: server.as_secs_f64() / seconds,
        generator_cpus: generator.as_secs_f64() / seconds,
        other_cpus: machine.saturating_sub(server).saturating_sub(generator).as_secs_f64() / seconds,
        deliveries_per_frame: deliveries / shared.frames.get() as f64,
        lost: shared.given_up.get().saturating_sub(shared.late.get()),
        late: shared.late.get(),
        out_of_sequence: shared.out_of_sequence.get(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use mqtt_codec::PublishProperties;

    fn payload(publisher: u32, sequence: u64) -> Bytes {
        let mut payload = BytesMut::new();
        payload.put_u64(0);
        payload.put_u32(publisher);
        payload.put_u64(sequence);
        payload.freeze()
    }

    fn delivery(publisher: u32, sequence: u64) -> Publish {
        Publish {
            dup: false,
            qos: Qos::AtMostOnce,
            retain: false,
            topic: "t".into(),
            packet_id: None,
            properties: PublishProperties::default(),
            payload: payload(publisher, sequence),
        }
    }

    #[test]
    fn a_packet_id_leads_back_to_its_sequence_number() {
        for base in [0, 1, 65_530, 65_534, 65_535, 65_536, 131_069, 131_070, 1_000_000] {
            for sequence in base..base + 64 {
                let packet_id = packet_id_of(sequence).unwrap();
                assert_eq!(sequence_of(packet_id, base), sequence, "base {base}");
                assert_eq!(sequence_of(packet_id, base + 128), sequence, "given up before {}", base + 128);
            }
        }
    }

    #[test]
    fn repeated_missing_and_reordered_deliveries_are_out_of_sequence() {
        for (sequences, expected) in
            [(vec![0, 1, 2], 0), (vec![0, 0, 1], 1), (vec![0, 2, 3], 1), (vec![0, 2, 1, 3], 3), (vec![1], 1)]
        {
            let shared = Shared::new(1, 64).unwrap();
            let mut next = vec![0];
            for sequence in &sequences {
                shared.delivered(&delivery(0, *sequence), &mut next).unwrap();
            }
            assert_eq!(shared.out_of_sequence.get(), expected, "{sequences:?}");
        }
    }

    #[test]
    fn only_what_arrives_during_the_measurement_counts() {
        let shared = Shared::new(1, 64).unwrap();
        let mut next = vec![0];
        shared.delivered(&delivery(0, 0), &mut next).unwrap();
        shared.is_measuring.set(true);
        shared.delivered(&delivery(0, 1), &mut next).unwrap();
        assert_eq!((shared.deliveries.get(), shared.latency.borrow().len()), (1, 1));
    }

    #[test]
    fn what_comes_after_it_was_given_up_is_late_and_what_does_not_come_is_lost() {
        let shared = Shared::new(1, 64).unwrap();
        let publisher = &shared.publishers[0];
        assert_eq!([0, 1].map(|_| publisher.window.borrow_mut().open(1)), [Some(0), Some(1)]);
        shared.abandon(publisher);
        shared.delivered(&delivery(0, 0), &mut [0]).unwrap();
        let usage = Usage { server: Duration::ZERO, generator: Duration::ZERO, machine: Duration::ZERO };
        let outcome = outcome(&shared, Duration::from_secs(1), usage, usage);
        assert_eq!((outcome.lost, outcome.late), (1, 1));
    }

    #[test]
    fn what_is_none_of_our_messages_is_refused() {
        let shared = Shared::new(1, 64).unwrap();
        assert!(shared.delivered(&delivery(1, 0), &mut [0]).is_err());
        let short = Publish { payload: Bytes::from_static(b"x"), ..delivery(0, 0) };
        assert!(shared.delivered(&short, &mut [0]).is_err());
    }

    #[test]
    fn figures_are_those_of_the_measured_time() {
        let shared = Shared::new(1, 64).unwrap();
        shared.deliveries.set(1_000);
        shared.frames.set(500);
        let usage = |server, generator, machine| Usage {
            server: Duration::from_millis(server),
            generator: Duration::from_millis(generator),
            machine: Duration::from_millis(machine),
        };
        let outcome = outcome(&shared, Duration::from_secs(2), usage(100, 0, 1_000), usage(300, 600, 2_000));
        assert_eq!(outcome.deliveries_per_second, 500.0);
        assert_eq!(outcome.server_cpu_us_per_delivery, 200.0);
        assert_eq!((outcome.server_cpus, outcome.generator_cpus, outcome.other_cpus), (0.1, 0.3, 0.1));
        assert_eq!(outcome.deliveries_per_frame, 2.0);
    }
}
