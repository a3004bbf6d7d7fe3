//! The load generator: one scenario against one server, in a closed loop.
//!
//! Everything runs on one thread, so that it takes one processor and leaves the other to the server, and so that
//! counters need no synchronisation.

use crate::client::{Client, Endpoint, Place, Role, retry_after};
use crate::outcome::Outcome;
use crate::proc::Usage;
use crate::scenario::Traffic;
use crate::shared::Shared;
use anyhow::{Context, Result, anyhow, bail};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use iot_types::{PacketId, Qos};
use mqtt_codec::{ByteString, Packet, PubAck, PubComp, PubRec, PubRel};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

/// All connections of a scenario have to be open within this.
const OPEN_WITHIN: Duration = Duration::from_secs(30);
/// So many clients connect at the same time.
const OPEN_AT_ONCE: usize = 25;
/// What is on its way at the end has to arrive within this.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(5);
const CLOSE_WITHIN: Duration = Duration::from_millis(1_500);
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
    traffic: Traffic,
}

async fn publish(shared: Rc<Shared>, sender: Sender, mut client: Client) -> Result<Client> {
    let Sender { index, topic, traffic } = sender;
    let own = shared.publishers.get(index).context("no such publisher")?;
    let is_acknowledged = traffic.qos != Qos::AtMostOnce;
    let arrivals = traffic.shape.receivers() + u32::from(is_acknowledged);
    let mut has_fed = false;
    loop {
        while !shared.is_stopping.get() {
            let Some(sequence) = own.window.borrow_mut().open(arrivals) else { break };
            let payload = shared.payload(traffic.payload, Instant::now(), index, sequence)?;
            let packet_id = if is_acknowledged { packet_id_of(sequence) } else { None };
            client.feed_publish(topic.clone(), packet_id, traffic.qos, payload).await?;
            has_fed = true;
        }
        if std::mem::take(&mut has_fed) {
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
            let acknowledged = match received {
                Packet::PubAck(answer) if traffic.qos == Qos::AtLeastOnce => Some(answer.packet_id),
                Packet::PubComp(answer) if traffic.qos == Qos::ExactlyOnce => Some(answer.packet_id),
                Packet::PubRec(answer) if traffic.qos == Qos::ExactlyOnce => {
                    client.feed(&Packet::PubRel(PubRel::new(answer.packet_id))).await?;
                    has_fed = true;
                    None
                }
                other => bail!("a publisher got {other:?}"),
            };
            if let Some(packet_id) = acknowledged {
                let base = own.window.borrow().base();
                shared.arrived(index, sequence_of(packet_id, base))?;
            }
            packet = client.next_if_ready()?;
        }
    }
}

/// Takes deliveries, acknowledges and counts them, until the end.
pub async fn subscribe(shared: Rc<Shared>, mut client: Client) -> Result<Client> {
    let mut received_before = shared.received();
    while !shared.is_done.get() {
        let mut packet = tokio::select! {
            biased;
            packet = client.next() => Some(packet?),
            () = shared.done.notified() => None,
        };
        let mut has_fed = false;
        while let Some(received) = packet {
            let answer = match received {
                Packet::Publish(publish) => {
                    shared.delivered(&publish, &mut received_before)?;
                    match (publish.qos, publish.packet_id) {
                        (Qos::AtLeastOnce, Some(packet_id)) => Some(Packet::PubAck(PubAck::new(packet_id))),
                        (Qos::ExactlyOnce, Some(packet_id)) => Some(Packet::PubRec(PubRec::new(packet_id))),
                        _ => None,
                    }
                }
                Packet::PubRel(release) => Some(Packet::PubComp(PubComp::new(release.packet_id))),
                Packet::PingResp => None,
                other => bail!("a subscriber got {other:?}"),
            };
            if let Some(answer) = answer {
                client.feed(&answer).await?;
                has_fed = true;
            }
            packet = client.next_if_ready()?;
        }
        if client.speak().await? || has_fed {
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
    traffic: Traffic,
    settings: Settings,
    run: &str,
) -> Result<Outcome> {
    LocalSet::new().run_until(measure_here(endpoint, root, traffic, settings, run)).await
}

/// All clients of a scenario: subscribers, then publishers.
///
/// # Errors
/// When the server refuses one.
pub async fn open_all(endpoint: &Endpoint, traffic: Traffic, run: &str) -> Result<(Vec<Client>, Vec<Client>)> {
    let Traffic { shape, qos, layout, .. } = traffic;
    let floor = layout.floor();
    let subscriber = |index: usize| {
        let (role, place) = (Role::Subscriber(qos), Place { floor, broker: layout.subscriber(index) });
        open_one(endpoint, format!("{run}-s{index}"), topic(run, traffic, index), role, place)
    };
    let publisher = |index: usize| {
        let (role, place) = (Role::Publisher, Place { floor, broker: 0 });
        open_one(endpoint, format!("{run}-p{index}"), topic(run, traffic, index), role, place)
    };
    let opening = async {
        let subscribers: Vec<Client> =
            stream::iter((0..shape.subscribers()).map(subscriber)).buffered(OPEN_AT_ONCE).try_collect().await?;
        let publishers: Vec<Client> =
            stream::iter((0..shape.publishers()).map(publisher)).buffered(OPEN_AT_ONCE).try_collect().await?;
        Ok::<_, anyhow::Error>((subscribers, publishers))
    };
    timeout(OPEN_WITHIN, opening).await.context("the server is too slow to connect to")?
}

/// Comes again when it is told to.
async fn open_one(endpoint: &Endpoint, client_id: String, topic: String, role: Role, place: Place) -> Result<Client> {
    loop {
        match Client::open(endpoint, client_id.clone(), &topic, role, place).await {
            Ok(client) => return Ok(client),
            Err(error) => match retry_after(&error) {
                Some(wait) => sleep(wait).await,
                None => return Err(error),
            },
        }
    }
}

/// The topic of a publisher or subscriber.
pub fn topic(run: &str, traffic: Traffic, index: usize) -> String {
    format!("bench/{run}/{}", traffic.shape.topic_of(index))
}

async fn measure_here(
    endpoint: &Endpoint,
    root: u32,
    traffic: Traffic,
    settings: Settings,
    run: &str,
) -> Result<Outcome> {
    let (subscribers, publishers) = open_all(endpoint, traffic, run).await?;
    let shared = Rc::new(Shared::new(traffic.shape.publishers(), settings.window)?);
    let (mut subscribing, mut publishing) = (JoinSet::new(), JoinSet::new());
    for client in subscribers {
        subscribing.spawn_local(subscribe(Rc::clone(&shared), client));
    }
    for (index, client) in publishers.into_iter().enumerate() {
        let sender = Sender { index, topic: topic(run, traffic, index).into(), traffic };
        publishing.spawn_local(publish(Rc::clone(&shared), sender, client));
    }

    let measured = tokio::select! {
        measured = measurement(&shared, root, settings) => measured,
        () = shared.watch() => bail!("the watch does not end"),
        Some(ended) = subscribing.join_next() => return Err(ended_early("a subscriber", ended?)),
        Some(ended) = publishing.join_next() => return Err(ended_early("a publisher", ended?)),
    };
    let (elapsed, before, after) = measured?;

    shared.is_stopping.set(true);
    for publisher in &shared.publishers {
        publisher.room.notify_one();
    }
    let mut clients = Vec::new();
    if let Ok(ended) = timeout(DRAIN_WITHIN, all_of(&mut publishing, &mut clients)).await {
        ended?;
    } else {
        shared.abandon_all();
    }
    finish(&shared, subscribing, clients).await?;
    Ok(shared.outcome(elapsed, before, after))
}

/// Why a client has ended that should go on.
pub fn ended_early(who: &str, ended: Result<Client>) -> anyhow::Error {
    match ended {
        Ok(_) => anyhow!("{who} ended by itself"),
        Err(error) => error.context(format!("{who} ended")),
    }
}

/// Warms up and measures: how long, and what was used before and after.
///
/// # Errors
/// When /proc cannot be read.
pub async fn measurement(shared: &Shared, root: u32, settings: Settings) -> Result<(Duration, Usage, Usage)> {
    sleep(settings.warm_up).await;
    let before = Usage::now(root)?;
    let start = Instant::now();
    shared.is_measuring.set(true);
    sleep(settings.measure).await;
    shared.is_measuring.set(false);
    Ok((start.elapsed(), before, Usage::now(root)?))
}

/// Ends the subscribers and closes all connections.
///
/// # Errors
/// When a subscriber has got what it should not.
pub async fn finish(shared: &Shared, mut subscribing: JoinSet<Result<Client>>, mut clients: Vec<Client>) -> Result<()> {
    shared.is_done.set(true);
    shared.done.notify_waiters();
    if let Ok(ended) = timeout(DRAIN_WITHIN, all_of(&mut subscribing, &mut clients)).await {
        ended?;
    }
    let closing = join_all(clients.into_iter().map(Client::close));
    // a server that does not answer a farewell is left all the same
    let _ = timeout(CLOSE_WITHIN, closing).await;
    Ok(())
}

async fn all_of(tasks: &mut JoinSet<Result<Client>>, clients: &mut Vec<Client>) -> Result<()> {
    while let Some(client) = tasks.join_next().await {
        clients.push(client??);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
