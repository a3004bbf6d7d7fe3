//! Latency of a server that has little to do: messages at fixed times, whatever has become of those before.
//!
//! A latency counts from the time that the message was due, not from when it was sent. So a server, or a generator, that
//! holds up the sending makes latencies longer; in a closed loop it would only make messages fewer.

use crate::client::{Client, Endpoint};
use crate::clock::Alarm;
use crate::load::{self, DRAIN_WITHIN, Settings};
use crate::outcome::Outcome;
use crate::scenario::Traffic;
use crate::shared::Shared;
use anyhow::{Context, Result, bail, ensure};
use iot_types::Qos;
use mqtt_codec::ByteString;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

/// Messages on their way of one publisher: some seconds' worth, so that it is no closed loop.
const WINDOW: usize = 10_000;
/// How often it is looked whether everything has come.
const POLL: Duration = Duration::from_millis(10);

/// Runs one scenario of QoS 0. See [`load::measure`].
///
/// # Errors
/// Those of [`load::measure`].
pub async fn measure(
    endpoint: &Endpoint,
    root: u32,
    traffic: Traffic,
    per_second: u32,
    settings: Settings,
    run: &str,
) -> Result<Outcome> {
    LocalSet::new().run_until(measure_here(endpoint, root, traffic, per_second, settings, run)).await
}

async fn measure_here(
    endpoint: &Endpoint,
    root: u32,
    traffic: Traffic,
    per_second: u32,
    settings: Settings,
    run: &str,
) -> Result<Outcome> {
    ensure!(traffic.qos == Qos::AtMostOnce, "acknowledgements are not read here");
    let (subscribers, mut publishers) = load::open_all(endpoint, traffic, run).await?;
    let shared = Rc::new(Shared::new(publishers.len(), WINDOW)?);
    let mut subscribing = JoinSet::new();
    for client in subscribers {
        subscribing.spawn_local(load::subscribe(Rc::clone(&shared), client));
    }
    let topics: Vec<ByteString> = (0..publishers.len()).map(|index| load::topic(run, traffic, index).into()).collect();
    // the publishers take turns, so that the server never gets two messages at once
    let interval = Duration::from_secs(1) / per_second / u32::try_from(publishers.len())?;
    let measured = tokio::select! {
        measured = load::measurement(&shared, root, settings) => measured,
        () = shared.watch() => bail!("the watch does not end"),
        Some(ended) = subscribing.join_next() => return Err(load::ended_early("a subscriber", ended?)),
        failed = pace(&shared, traffic, &mut publishers, &topics, interval) => {
            failed?;
            bail!("publishing ended by itself");
        }
    };
    let (elapsed, before, after) = measured?;
    let drained = async {
        while !shared.is_drained() {
            sleep(POLL).await;
        }
    };
    if timeout(DRAIN_WITHIN, drained).await.is_err() {
        shared.abandon_all();
    }
    load::finish(&shared, subscribing, publishers).await?;
    Ok(shared.outcome(elapsed, before, after))
}

/// Never ends but by failing.
async fn pace(
    shared: &Shared,
    traffic: Traffic,
    publishers: &mut [Client],
    topics: &[ByteString],
    interval: Duration,
) -> Result<()> {
    let alarm = Alarm::new()?;
    let mut due = Instant::now() + interval;
    loop {
        for (index, (client, topic)) in publishers.iter_mut().zip(topics).enumerate() {
            alarm.until(due).await?;
            let window = &shared.publishers.get(index).context("no such publisher")?.window;
            let sequence = window.borrow_mut().open(traffic.shape.receivers());
            let sequence = sequence.context("the server keeps thousands of messages to itself")?;
            let payload = shared.payload(traffic.payload, due, index, sequence)?;
            client.feed_publish(topic.clone(), None, Qos::AtMostOnce, payload).await?;
            client.flush().await?;
            due += interval;
        }
    }
}
