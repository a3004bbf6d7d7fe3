//! The loads of `bench durable`: to sessions that are connected, into the queues of those that are not, and out of them.

use crate::link::{Lasting, Link};
use crate::proc::Usage;
use crate::servers::single::Single;
use crate::window::Window;
use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BufMut, BytesMut};
use futures_util::TryStreamExt;
use futures_util::stream::FuturesUnordered;
use iot_types::{PacketId, Qos};
use mqtt_codec::{ByteString, Packet, Publish};
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// What takes longer has stopped.
const PHASE_WITHIN: Duration = Duration::from_secs(60);
/// Whatever should not have come has come by then.
const NOTHING_WITHIN: Duration = Duration::from_millis(300);
/// What the server still does with the last acknowledgements.
const SETTLE: Duration = Duration::from_millis(200);
/// Packet identifiers go round: 1 to 65,535.
const PACKET_IDS: u64 = 65_535;
/// The sequence number.
const PAYLOAD_HEADER: usize = 8;

/// How to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Publishers, and as many subscribers, each pair with a topic of its own.
    pub pairs: usize,
    /// Messages that each publisher may have on their way.
    pub window: usize,
    /// Bytes of a payload.
    pub payload: usize,
    /// Messages stored for each subscriber.
    pub messages: u64,
    /// Of the load on connected sessions: runs before the measurement and does not count.
    pub warm_up: Duration,
    pub measure: Duration,
}

/// One measurement.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    pub messages: u64,
    pub seconds: f64,
    pub messages_per_second: f64,
    /// Processor time of all the server's processes, in microseconds.
    pub server_cpu_us_per_message: f64,
    /// Bytes that the server's processes have caused to be written to storage.
    pub stored_bytes_per_message: f64,
    /// Processors that the load generator used. Near 1 it was the limit.
    pub generator_cpus: f64,
    /// Processors that neither of them used, but something else on the machine.
    pub other_cpus: f64,
    /// Acknowledged messages that did not come.
    pub lost: u64,
    /// Messages that came again.
    pub doubled: u64,
    /// Messages that came after one that was published later.
    pub out_of_order: u64,
}

impl Outcome {
    pub fn faults(&self) -> u64 {
        self.lost + self.doubled + self.out_of_order
    }

    /// Both as one.
    pub fn and(self, other: Self) -> Self {
        let (messages, seconds) = (self.messages + other.messages, self.seconds + other.seconds);
        let by_message = |get: fn(&Self) -> f64| {
            (get(&self) * self.messages as f64 + get(&other) * other.messages as f64) / messages as f64
        };
        let by_second = |get: fn(&Self) -> f64| (get(&self) * self.seconds + get(&other) * other.seconds) / seconds;
        Self {
            messages,
            seconds,
            messages_per_second: messages as f64 / seconds,
            server_cpu_us_per_message: by_message(|outcome| outcome.server_cpu_us_per_message),
            stored_bytes_per_message: by_message(|outcome| outcome.stored_bytes_per_message),
            generator_cpus: by_second(|outcome| outcome.generator_cpus),
            other_cpus: by_second(|outcome| outcome.other_cpus),
            lost: self.lost + other.lost,
            doubled: self.doubled + other.doubled,
            out_of_order: self.out_of_order + other.out_of_order,
        }
    }
}

/// What has come of one publisher's messages.
#[derive(Debug, Default)]
struct Received {
    seen: Vec<bool>,
    count: u64,
    doubled: u64,
    out_of_order: u64,
}

impl Received {
    fn note(&mut self, publish: &Publish) -> Result<u64> {
        let mut payload = publish.payload.as_ref();
        ensure!(payload.len() >= PAYLOAD_HEADER, "a delivery without our header");
        let sequence = payload.get_u64();
        let at = usize::try_from(sequence)?;
        let highest = self.seen.len();
        if at >= highest {
            ensure!(at - highest < 1 << 20, "a delivery of something that was not published");
            self.seen.resize(at + 1, false);
        }
        let seen = self.seen.get_mut(at).context("no place for what has come")?;
        if std::mem::replace(seen, true) {
            self.doubled += 1;
        } else {
            self.count += 1;
            self.out_of_order += u64::from(at < highest);
        }
        Ok(sequence)
    }
}

/// One connection's topics and their messages on their way.
struct Publisher {
    /// More than one share the connection: messages go to them in turn.
    topics: Vec<ByteString>,
    /// Counts the messages of the connection.
    window: RefCell<Window>,
    room: Notify,
    /// Messages of the connection, if they are not as many as go through.
    limit: Option<u64>,
}

impl Publisher {
    fn new(topics: Vec<ByteString>, window: usize, limit: Option<u64>) -> Self {
        let window = RefCell::new(Window::new(window * topics.len()));
        Self { topics, window, room: Notify::new(), limit }
    }

    fn arrived(&self, sequence: u64) {
        if self.window.borrow_mut().arrive(sequence) {
            self.room.notify_one();
        }
    }

    /// The topic of a message of the connection, and which of the topic's it is.
    fn place(&self, sequence: u64) -> Result<(&ByteString, u64)> {
        let topics = self.topics.len() as u64;
        let topic = self.topics.get(usize::try_from(sequence % topics)?).context("no topic")?;
        Ok((topic, sequence / topics))
    }
}

fn packet_id_of(sequence: u64) -> Option<PacketId> {
    u16::try_from(sequence % PACKET_IDS + 1).ok().and_then(PacketId::new)
}

/// The sequence number with this packet identifier that is not below `base`.
fn sequence_of(packet_id: PacketId, base: u64) -> u64 {
    base + (u64::from(packet_id.get()) - 1 + PACKET_IDS - base % PACKET_IDS) % PACKET_IDS
}

/// Publishes until the limit, or until `is_stopping`, and waits for what is on its way. `arrivals`: of each message.
async fn publish(
    publisher: &Publisher,
    arrivals: u32,
    payload: usize,
    is_stopping: &Cell<bool>,
    mut link: Link,
) -> Result<Link> {
    let mut published = 0;
    loop {
        let mut has_sent = false;
        while !is_stopping.get() && publisher.limit.is_none_or(|limit| published < limit) {
            let Some(sequence) = publisher.window.borrow_mut().open(arrivals) else { break };
            let (topic, number) = publisher.place(sequence)?;
            let mut bytes = BytesMut::zeroed(payload);
            bytes.get_mut(..PAYLOAD_HEADER).context("the payload is too short")?.put_u64(number);
            link.feed_publish(topic, packet_id_of(sequence), bytes.freeze()).await?;
            published += 1;
            has_sent = true;
        }
        if has_sent {
            link.flush().await?;
        }
        let is_over = is_stopping.get() || publisher.limit.is_some_and(|limit| published >= limit);
        if is_over && publisher.window.borrow().is_empty() {
            return Ok(link);
        }
        let mut packet = tokio::select! {
            biased;
            packet = link.next() => Some(packet?),
            () = publisher.room.notified() => None,
        };
        while let Some(received) = packet {
            let Packet::PubAck(answer) = received else { bail!("a publisher got {received:?}") };
            let base = publisher.window.borrow().base();
            publisher.arrived(sequence_of(answer.packet_id, base));
            packet = link.next_if_ready()?;
        }
    }
}

/// Receives and acknowledges until `is_enough` of what has come. `heard` is told of each message.
async fn receive(
    link: &mut Link,
    received: &mut Received,
    mut is_enough: impl FnMut(&Received) -> bool,
    stop: &Notify,
    mut heard: impl FnMut(u64),
) -> Result<()> {
    while !is_enough(received) {
        let mut packet = tokio::select! {
            biased;
            packet = link.next() => Some(packet?),
            () = stop.notified() => None,
        };
        let mut has_answered = false;
        while let Some(Packet::Publish(publish)) = packet {
            heard(received.note(&publish)?);
            let packet_id = publish.packet_id.context("a subscriber got a message without packet identifier")?;
            link.feed_puback(packet_id).await?;
            has_answered = true;
            packet = link.next_if_ready()?;
        }
        if let Some(other) = packet {
            bail!("a subscriber got {other:?}");
        }
        if has_answered {
            link.flush().await?;
        }
    }
    Ok(())
}

async fn all<T>(tasks: impl IntoIterator<Item = impl Future<Output = Result<T>>>) -> Result<Vec<T>> {
    tasks.into_iter().collect::<FuturesUnordered<_>>().try_collect().await
}

async fn phase<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(PHASE_WITHIN, work).await.with_context(|| format!("{what} did not end in time: something was lost"))?
}

/// The topic of a pair and the client id of its subscriber: a floor keeps for a client what has its name.
fn name(run: &str, index: usize) -> String {
    format!("bench-{run}-{index}")
}

/// What the server has used so far.
struct Meter {
    usage: Usage,
    stored_bytes: u64,
    at: Instant,
}

impl Meter {
    fn read(server: &Single) -> Result<Self> {
        Ok(Self { usage: Usage::now(server.root())?, stored_bytes: server.stored_bytes(), at: Instant::now() })
    }

    /// `seconds`: in which the messages were, if not since the meter was read first.
    fn outcome(self, server: &Single, messages: u64, seconds: Option<f64>, received: &[Received]) -> Result<Outcome> {
        let after = Self::read(server)?;
        let used = |get: fn(&Usage) -> Duration| get(&after.usage).saturating_sub(get(&self.usage)).as_secs_f64();
        let (server, generator, machine) = (used(|u| u.server), used(|u| u.generator), used(|u| u.machine));
        let elapsed = after.at.duration_since(self.at).as_secs_f64();
        let seconds = seconds.unwrap_or(elapsed);
        Ok(Outcome {
            messages,
            seconds,
            messages_per_second: messages as f64 / seconds,
            server_cpu_us_per_message: server * 1e6 / messages as f64,
            stored_bytes_per_message: after.stored_bytes.saturating_sub(self.stored_bytes) as f64 / messages as f64,
            generator_cpus: generator / elapsed,
            other_cpus: (machine - server - generator).max(0.0) / elapsed,
            lost: 0,
            doubled: received.iter().map(|received| received.doubled).sum(),
            out_of_order: received.iter().map(|received| received.out_of_order).sum(),
        })
    }
}

/// Publishers and connected subscribers, as much as goes through.
///
/// # Errors
/// When the server refuses a connection, ends one, or stops.
pub async fn online(server: &Single, lasting: Lasting, settings: Settings, run: &str) -> Result<Outcome> {
    phase("the load on connected sessions", online_here(server, lasting, settings, run)).await
}

async fn online_here(server: &Single, lasting: Lasting, settings: Settings, run: &str) -> Result<Outcome> {
    let mut subscribers = Vec::new();
    let mut publishers = Vec::new();
    for index in 0..settings.pairs {
        let name = name(run, index);
        let mut link = Link::open(server, &name, lasting).await?;
        link.subscribe(std::slice::from_ref(&name), Qos::AtLeastOnce).await?;
        let publisher = Link::open(server, &format!("{name}-p"), Lasting::Clean).await?;
        publishers.push((Publisher::new(vec![name.into()], settings.window, None), Some(publisher)));
        subscribers.push((link, Received::default()));
    }
    let (is_stopping, is_measuring, is_done) = (Cell::new(false), Cell::new(false), Cell::new(false));
    let delivered = Cell::new(0_u64);
    let stops: Vec<Notify> = subscribers.iter().map(|_| Notify::new()).collect();

    let links: Vec<Link> = publishers.iter_mut().filter_map(|(_, link)| link.take()).collect();
    let publishing = async {
        let tasks = publishers.iter().zip(links);
        let tasks = tasks.map(|((publisher, _), link)| publish(publisher, 2, settings.payload, &is_stopping, link));
        let links = all(tasks).await?;
        is_done.set(true);
        stops.iter().for_each(Notify::notify_one);
        Ok(links)
    };
    let receiving = all(subscribers.iter_mut().zip(&publishers).zip(&stops).map(|((subscriber, publisher), stop)| {
        let heard = |sequence| {
            delivered.set(delivered.get() + u64::from(is_measuring.get()));
            publisher.0.arrived(sequence);
        };
        receive(&mut subscriber.0, &mut subscriber.1, |_| is_done.get(), stop, heard)
    }));
    let measuring = async {
        sleep(settings.warm_up).await;
        let meter = Meter::read(server)?;
        is_measuring.set(true);
        sleep(settings.measure).await;
        is_measuring.set(false);
        let outcome = meter.outcome(server, delivered.get(), None, &[])?;
        is_stopping.set(true);
        publishers.iter().for_each(|(publisher, _)| publisher.room.notify_one());
        Ok::<_, anyhow::Error>(outcome)
    };
    let (links, _, outcome) = tokio::try_join!(publishing, receiving, measuring)?;
    let published = publishers.iter().map(|(publisher, _)| publisher.window.borrow().base());
    let mut faults = [0, 0, 0];
    for ((_, received), published) in subscribers.iter().zip(published) {
        let [lost, doubled, out_of_order] = &mut faults;
        *lost += published.saturating_sub(received.count);
        *doubled += received.doubled;
        *out_of_order += received.out_of_order;
    }
    for link in links.into_iter().chain(subscribers.into_iter().map(|(link, _)| link)) {
        link.close().await;
    }
    if lasting == Lasting::Durable {
        forget(server, settings.pairs, run).await?;
    }
    let [lost, doubled, out_of_order] = faults;
    Ok(Outcome { lost, doubled, out_of_order, ..outcome })
}

/// Begins sessions with a subscription each, and leaves them. A floor has them anyhow.
///
/// # Errors
/// When the server refuses.
pub async fn begin_sessions(server: &Single, settings: Settings, run: &str) -> Result<()> {
    for index in 0..settings.pairs {
        let name = name(run, index);
        let mut link = Link::open(server, &name, Lasting::Durable).await?;
        link.subscribe(std::slice::from_ref(&name), Qos::AtLeastOnce).await?;
        link.close().await;
    }
    Ok(())
}

/// Ends the sessions.
///
/// # Errors
/// When the server refuses.
pub async fn forget(server: &Single, pairs: usize, run: &str) -> Result<()> {
    for index in 0..pairs {
        Link::open(server, &name(run, index), Lasting::Clean).await?.close().await;
    }
    Ok(())
}

/// Publishes to sessions that nobody is connected to, until everything is acknowledged. `links`: connections that
/// publish.
///
/// # Errors
/// When the server refuses a connection, ends one, or does not acknowledge everything in time.
pub async fn store(server: &Single, links: usize, settings: Settings, run: &str) -> Result<Outcome> {
    phase("storing", store_here(server, links, settings, run)).await
}

async fn store_here(server: &Single, links: usize, settings: Settings, run: &str) -> Result<Outcome> {
    let mut publishers = Vec::new();
    for index in 0..links {
        let topics: Vec<ByteString> =
            (index..settings.pairs).step_by(links).map(|pair| name(run, pair).into()).collect();
        let limit = settings.messages * topics.len() as u64;
        let link = Link::open(server, &format!("bench-{run}-p{index}"), Lasting::Clean).await?;
        publishers.push((Publisher::new(topics, settings.window, Some(limit)), link));
    }
    let messages = settings.messages * settings.pairs as u64;
    let never = Cell::new(false);
    let meter = Meter::read(server)?;
    let (publishers, links): (Vec<_>, Vec<_>) = publishers.into_iter().unzip();
    let tasks = publishers.iter().zip(links);
    let tasks = tasks.map(|(publisher, link)| publish(publisher, 1, settings.payload, &never, link));
    let links = all(tasks).await?;
    let outcome = meter.outcome(server, messages, None, &[])?;
    for link in links {
        link.close().await;
    }
    Ok(outcome)
}

/// Connects to the sessions and takes what is stored for them, from the first CONNACK to the last message.
///
/// # Errors
/// When the server refuses a connection, ends one, or has lost a session.
pub async fn drain(server: &Single, settings: Settings, run: &str) -> Result<Outcome> {
    phase("draining", drain_here(server, settings, run)).await
}

async fn drain_here(server: &Single, settings: Settings, run: &str) -> Result<Outcome> {
    let mut subscribers = Vec::new();
    for _ in 0..settings.pairs {
        subscribers.push((Link::dial(&server.url).await?, Received::default()));
    }
    let messages = settings.messages * settings.pairs as u64;
    let (connected, last) = (Cell::new(None::<Instant>), Cell::new(None::<Instant>));
    let stop = Notify::new();
    let meter = Meter::read(server)?;
    let is_enough = |received: &Received| received.count >= settings.messages;
    let tasks = subscribers.into_iter().enumerate().map(|(index, (mut link, mut received))| {
        let (name, connected, last, stop) = (name(run, index), &connected, &last, &stop);
        async move {
            let was_there = link.connect(server.login.clone(), &name, Lasting::Durable).await?;
            ensure!(was_there, "the server has lost the session {name}");
            connected.set(Some(connected.get().unwrap_or_else(Instant::now)));
            // what does not come in time is lost, and counted
            let received_all = receive(&mut link, &mut received, is_enough, stop, |_| last.set(Some(Instant::now())));
            if let Ok(result) = timeout(PHASE_WITHIN / 4, received_all).await {
                result?;
            }
            Ok::<_, anyhow::Error>((link, received))
        }
    });
    let (mut links, received): (Vec<_>, Vec<_>) = all(tasks).await?.into_iter().unzip();
    for link in &mut links {
        link.ping(drop).await?;
    }
    sleep(SETTLE).await;
    let connected = connected.get().context("nobody was connected")?;
    let seconds = last.get().context("nothing came")?.duration_since(connected).as_secs_f64();
    let count = received.iter().map(|received| received.count).sum();
    let mut outcome = meter.outcome(server, count, Some(seconds), &received)?;
    outcome.lost = messages.saturating_sub(count);
    for link in links {
        link.close().await;
    }
    outcome.doubled += come_again(server, settings.pairs, run).await?;
    Ok(outcome)
}

/// Connects once more: nothing may come that has been acknowledged. Answers how much did.
async fn come_again(server: &Single, pairs: usize, run: &str) -> Result<u64> {
    let mut links = Vec::new();
    for index in 0..pairs {
        links.push(Link::open(server, &name(run, index), Lasting::Durable).await?);
    }
    sleep(NOTHING_WITHIN).await;
    let mut came = 0;
    for mut link in links {
        link.ping(|_| came += 1).await?;
        link.close().await;
    }
    Ok(came)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use mqtt_codec::PublishProperties;

    fn message(sequence: u64) -> Publish {
        let mut payload = BytesMut::zeroed(64);
        payload[..PAYLOAD_HEADER].as_mut().put_u64(sequence);
        publish_of(payload.freeze())
    }

    fn publish_of(payload: Bytes) -> Publish {
        let (topic, properties) = ("t".into(), PublishProperties::default());
        Publish {
            dup: false,
            qos: Qos::AtLeastOnce,
            retain: false,
            topic,
            packet_id: None,
            properties: properties.into(),
            payload,
        }
    }

    fn check(sequences: &[u64], (count, doubled, out_of_order): (u64, u64, u64)) {
        let mut received = Received::default();
        for sequence in sequences {
            assert_eq!(received.note(&message(*sequence)).unwrap(), *sequence);
        }
        let found = (received.count, received.doubled, received.out_of_order);
        assert_eq!(found, (count, doubled, out_of_order), "{sequences:?}");
    }

    #[test]
    fn what_comes_again_or_late_is_told_from_what_comes_next() {
        check(&[0, 1, 2], (3, 0, 0));
        check(&[0, 1, 1, 2], (3, 1, 0));
        check(&[0, 2, 1, 3], (4, 0, 1));
        check(&[1, 0, 0], (2, 1, 1));
    }

    #[test]
    fn a_message_that_was_never_published_is_refused() {
        let mut received = Received::default();
        assert!(received.note(&message(u64::MAX)).is_err());
        assert!(received.note(&publish_of(Bytes::from_static(b"short"))).is_err());
    }

    #[test]
    fn two_measurements_together_are_as_fast_as_all_their_messages_in_all_their_time() {
        let one = |messages: u64, seconds: f64, cost: f64| Outcome {
            messages,
            seconds,
            messages_per_second: messages as f64 / seconds,
            server_cpu_us_per_message: cost,
            stored_bytes_per_message: 10.0 * cost,
            generator_cpus: cost,
            other_cpus: 0.0,
            lost: 1,
            doubled: 2,
            out_of_order: 3,
        };
        let both = one(100, 1.0, 8.0).and(one(300, 3.0, 4.0));
        assert_eq!((both.messages, both.messages_per_second), (400, 100.0));
        assert_eq!((both.server_cpu_us_per_message, both.stored_bytes_per_message), (5.0, 50.0));
        assert_eq!((both.generator_cpus, both.faults()), (5.0, 12));
    }

    #[test]
    fn topics_that_share_a_connection_have_sequences_of_their_own() {
        let publisher = Publisher::new(vec!["a".into(), "b".into()], 3, None);
        let places: Vec<(String, u64)> = (0..4)
            .map(|sequence| publisher.place(sequence).map(|(topic, number)| (topic.to_string(), number)).unwrap())
            .collect();
        assert_eq!(places, [("a", 0), ("b", 0), ("a", 1), ("b", 1)].map(|(topic, number)| (topic.to_owned(), number)));
        let open = std::iter::from_fn(|| publisher.window.borrow_mut().open(1));
        assert_eq!(open.count(), 6);
    }

    #[test]
    fn packet_identifiers_go_round_and_come_back_as_sequence_numbers() {
        for (sequence, base) in [(0, 0), (65_534, 65_500), (65_535, 65_500), (200_000, 199_990)] {
            assert_eq!(sequence_of(packet_id_of(sequence).unwrap(), base), sequence);
        }
        assert_eq!(packet_id_of(65_535), PacketId::new(1));
    }
}
