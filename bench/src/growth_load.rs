//! The loads of `bench growth`: one connection that publishes, and subscribes to some of it.

use crate::link::Link;
use crate::proc::Usage;
use crate::servers::single::Single;
use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, BufMut, BytesMut};
use iot_types::{PacketId, Qos};
use mqtt_codec::{ByteString, Packet};
use serde::Serialize;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Runs before a measurement and does not count.
pub const WARM_UP: Duration = Duration::from_millis(200);
/// Bytes of a payload.
pub const PAYLOAD: usize = 64;
const FINISH_WITHIN: Duration = Duration::from_secs(10);
/// Packet identifiers go round: 1 to 65,535.
const PACKET_IDS: u64 = 65_535;

/// What is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub qos: Qos,
    /// By the connection that publishes it, and so on the same Broker, wherever that is.
    pub is_wanted: bool,
}

pub const KINDS: [Kind; 4] = [
    Kind { qos: Qos::AtMostOnce, is_wanted: false },
    Kind { qos: Qos::AtMostOnce, is_wanted: true },
    Kind { qos: Qos::AtLeastOnce, is_wanted: false },
    Kind { qos: Qos::AtLeastOnce, is_wanted: true },
];

impl Kind {
    /// Among those of the first connection's subscriptions.
    pub fn topic(self) -> ByteString {
        let wanted = if self.is_wanted { "wanted" } else { "unwanted" };
        format!("growth/0/{wanted}-{}/state", self.qos.bits()).into()
    }

    pub fn describe(self) -> String {
        let wanted = if self.is_wanted { "one local subscriber" } else { "nobody wants it" };
        format!("QoS {}, {wanted}", self.qos.bits())
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Outcome {
    pub publishes_per_second: f64,
    pub server_cpu_us_per_publish: f64,
    pub generator_cpus: f64,
    pub other_cpus: f64,
    /// What was to be delivered and was not, or not in its turn.
    pub faults: u64,
}

/// Publishes of one kind for so long.
///
/// # Errors
/// When the server ends the connection or stops to answer.
pub async fn load(server: &Single, link: &mut Link, kind: Kind, window: u64, measure: Duration) -> Result<Outcome> {
    let root = server.root();
    let mut flow = Flow::new(link, kind, window);
    flow.run(WARM_UP).await?;
    let (before, done, begun) = (Usage::now(root)?, flow.done, Instant::now());
    flow.run(measure).await?;
    let (after, seconds) = (Usage::now(root)?, begun.elapsed().as_secs_f64());
    let publishes = (flow.done - done) as f64;
    let faults = flow.finish().await?;
    let used = |get: fn(&Usage) -> Duration| get(&after).saturating_sub(get(&before)).as_secs_f64();
    let (server, generator, machine) = (used(|u| u.server), used(|u| u.generator), used(|u| u.machine));
    Ok(Outcome {
        publishes_per_second: publishes / seconds,
        server_cpu_us_per_publish: server * 1e6 / publishes,
        generator_cpus: generator / seconds,
        other_cpus: (machine - server - generator).max(0.0) / seconds,
        faults,
    })
}

/// Publishes of one kind over one connection, in a closed loop.
struct Flow<'a> {
    link: &'a mut Link,
    kind: Kind,
    topic: ByteString,
    window: u64,
    sent: u64,
    /// Publishes that the server has worked off: acknowledged or, with QoS 0, before an answered PINGREQ.
    done: u64,
    delivered: u64,
    faults: u64,
}

impl<'a> Flow<'a> {
    fn new(link: &'a mut Link, kind: Kind, window: u64) -> Self {
        Self { link, kind, topic: kind.topic(), window, sent: 0, done: 0, delivered: 0, faults: 0 }
    }

    fn is_acknowledged(&self) -> bool {
        self.kind.qos != Qos::AtMostOnce
    }

    /// Publishes for so long.
    async fn run(&mut self, duration: Duration) -> Result<()> {
        let end = Instant::now() + duration;
        while Instant::now() < end {
            if self.is_acknowledged() {
                while self.sent - self.done < self.window
                    && (!self.kind.is_wanted || self.sent - self.delivered < self.window)
                {
                    self.publish().await?;
                }
            } else {
                // QoS 0 has no answer: behind each half of a window there is a PINGREQ.
                let half = self.window.div_ceil(2);
                while self.sent - self.done <= half {
                    for _ in 0..half {
                        self.publish().await?;
                    }
                    self.link.feed(&Packet::PingReq).await?;
                }
            }
            self.link.flush().await?;
            self.take().await?;
        }
        Ok(())
    }

    async fn publish(&mut self) -> Result<()> {
        let mut payload = BytesMut::zeroed(PAYLOAD);
        payload.as_mut().put_u64(self.sent);
        let packet_id = u16::try_from(self.sent % PACKET_IDS + 1).ok().and_then(PacketId::new);
        let packet_id = packet_id.filter(|_| self.is_acknowledged());
        self.sent += 1;
        self.link.feed_publish(&self.topic, packet_id, payload.freeze()).await
    }

    /// What has come, at least one packet.
    async fn take(&mut self) -> Result<()> {
        let mut packet = Some(timeout(FINISH_WITHIN, self.link.next()).await.context("the server has stopped")??);
        let mut has_answered = false;
        while let Some(received) = packet {
            match received {
                Packet::PubAck(_) => self.done += 1,
                Packet::PingResp => self.done = self.sent.min(self.done + self.window.div_ceil(2)),
                Packet::Publish(publish) => {
                    let mut payload = publish.payload.as_ref();
                    ensure!(payload.len() == PAYLOAD && publish.topic == self.topic, "a delivery of something else");
                    self.faults += u64::from(payload.get_u64() != self.delivered);
                    self.delivered += 1;
                    if let Some(packet_id) = publish.packet_id {
                        self.link.feed_puback(packet_id).await?;
                        has_answered = true;
                    }
                }
                other => bail!("the publisher got {other:?}"),
            }
            packet = self.link.next_if_ready()?;
        }
        if has_answered {
            self.link.flush().await?;
        }
        Ok(())
    }

    /// Waits for what is on its way. Answers how much of what was wanted did not come, or not in its turn.
    async fn finish(mut self) -> Result<u64> {
        let expected = if self.kind.is_wanted { self.sent } else { 0 };
        let finishing = async {
            while self.done < self.sent || self.delivered < expected {
                self.take().await?;
            }
            Ok::<_, anyhow::Error>(())
        };
        // what has not come by then is missing
        let _ = timeout(FINISH_WITHIN, finishing).await;
        ensure!(self.done == self.sent, "{} publishes were not answered", self.sent - self.done);
        Ok(self.faults + expected.abs_diff(self.delivered))
    }
}
