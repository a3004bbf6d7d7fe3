//! Retained messages: how long it takes until a subscriber to all of them has the last.

use crate::client::{Client, Endpoint, Place, Role};
use crate::load::Settings;
use crate::outcome::{Counted, Faults, Outcome, histogram};
use crate::proc::Usage;
use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use iot_types::{PacketId, Qos};
use mqtt_codec::Packet;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// All of them have to be stored within this.
const STORE_WITHIN: Duration = Duration::from_secs(15);
/// So many are published before their PUBACKs are awaited.
const BATCH: u16 = 50;
/// What has not come by then is lost.
const ARRIVE_WITHIN: Duration = Duration::from_secs(3);

/// Publishes the retained messages, subscribes to all of them again and again, and deletes them. See
/// [`crate::load::measure`].
///
/// # Errors
/// When the server refuses something or does not answer.
pub async fn measure(
    endpoint: &Endpoint,
    root: u32,
    (topics, length): (usize, usize),
    settings: Settings,
    run: &str,
) -> Result<Outcome> {
    let topic = format!("bench/{run}");
    let open = |kind: &str, role| {
        Client::open(endpoint, format!("{run}-{kind}"), &topic, role, Place { floor: "retained", broker: 0 })
    };
    let mut publisher = open("p", Role::Publisher).await?;
    let payload = |index: usize| {
        let mut payload = BytesMut::zeroed(length);
        payload.get_mut(..8).context("the payload is too short")?.put_u64(index as u64);
        Ok(payload.freeze())
    };
    let storing = store(&mut publisher, &topic, topics, payload);
    timeout(STORE_WITHIN, storing).await.context("the server does not store the messages in time")??;

    // at a floor, who has a role as publisher is not sent anything by itself
    let mut subscriber = open("s", Role::Publisher).await?;
    let measured = subscribe(&mut subscriber, &format!("{topic}/#"), topics, root, settings).await;
    subscriber.close().await;

    // each run has its own object of a floor
    if matches!(endpoint, Endpoint::Mqtt { .. }) {
        let deleting = store(&mut publisher, &topic, topics, |_| Ok(Bytes::new()));
        timeout(STORE_WITHIN, deleting).await.context("the server does not delete the messages in time")??;
    }
    publisher.close().await;
    measured
}

async fn store(
    client: &mut Client,
    topic: &str,
    topics: usize,
    payload: impl Fn(usize) -> Result<Bytes>,
) -> Result<()> {
    let mut fed = 0;
    for index in 0..topics {
        fed += 1;
        let packet_id = PacketId::new(fed).context("no packet identifier")?;
        client.feed_retained(format!("{topic}/{index}").into(), packet_id, payload(index)?).await?;
        if fed == BATCH || index + 1 == topics {
            client.flush().await?;
            for _ in 0..fed {
                match client.next().await? {
                    Packet::PubAck(_) => {}
                    other => bail!("a publisher got {other:?}"),
                }
            }
            fed = 0;
        }
    }
    Ok(())
}

async fn subscribe(client: &mut Client, filter: &str, topics: usize, root: u32, settings: Settings) -> Result<Outcome> {
    let begun = Instant::now();
    while begun.elapsed() < settings.warm_up {
        replay(client, filter, topics).await?;
    }
    let mut latency = histogram()?;
    let (mut deliveries, mut delivering, mut faults) = (0, Duration::ZERO, Faults::default());
    client.take_frames();
    let before = Usage::now(root)?;
    let begun = Instant::now();
    while begun.elapsed() < settings.measure {
        let (elapsed, wrong) = replay(client, filter, topics).await?;
        ensure!(wrong.lost == 0, "{} of {topics} retained messages did not come", wrong.lost);
        latency.saturating_record(u64::try_from(elapsed.as_micros())?);
        delivering += elapsed;
        deliveries += topics as u64;
        faults = faults.plus(wrong);
    }
    let whole = begun.elapsed();
    let after = Usage::now(root)?;
    let frames = client.take_frames();
    let counted = Counted { deliveries, frames, elapsed: whole, latency: &latency, faults };
    let mut outcome = Outcome::new(&counted, before, after);
    // between two replays nothing is delivered
    outcome.deliveries_per_second = deliveries as f64 / delivering.as_secs_f64();
    Ok(outcome)
}

/// One subscription: the time until the last message has come, and what was wrong. Unsubscribes.
async fn replay(client: &mut Client, filter: &str, topics: usize) -> Result<(Duration, Faults)> {
    let start = Instant::now();
    client.feed_subscribe(filter, Qos::AtMostOnce).await?;
    client.flush().await?;
    let mut seen = vec![false; topics];
    let (mut missing, mut doubled, mut is_subscribed) = (topics, 0, false);
    let receiving = async {
        while missing > 0 || !is_subscribed {
            match client.next().await? {
                Packet::SubAck(answer) => {
                    ensure!(answer.reason_codes.iter().all(|code| code.as_u8() < 0x80), "SUBSCRIBE was refused");
                    is_subscribed = true;
                }
                Packet::Publish(publish) => {
                    let mut payload = publish.payload.as_ref();
                    ensure!(payload.len() >= 8, "a delivery without our header");
                    let index = usize::try_from(payload.get_u64())?;
                    let seen = seen.get_mut(index).context("a message that was not published")?;
                    if std::mem::replace(seen, true) {
                        doubled += 1;
                    } else {
                        missing -= 1;
                    }
                }
                other => bail!("a subscriber got {other:?}"),
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    // what is missing after this counts as lost
    if let Ok(ended) = timeout(ARRIVE_WITHIN, receiving).await {
        ended?;
    }
    let elapsed = start.elapsed();
    client.feed_unsubscribe(filter).await?;
    client.flush().await?;
    let unsubscribing = async {
        loop {
            match client.next().await? {
                Packet::UnsubAck(_) => return Ok(()),
                Packet::Publish(_) => doubled += 1,
                other => bail!("a subscriber got {other:?}"),
            }
        }
    };
    timeout(ARRIVE_WITHIN, unsubscribing).await.context("UNSUBSCRIBE is not answered")??;
    Ok((elapsed, Faults { lost: missing as u64, doubled, ..Faults::default() }))
}
