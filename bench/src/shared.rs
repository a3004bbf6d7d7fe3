//! What all tasks of one measurement share: what is on its way, what has come, and whether it is right.

use crate::client::Client;
use crate::outcome::{Counted, Faults, Outcome, histogram};
use crate::proc::Usage;
use crate::window::Window;
use anyhow::{Context, Result, ensure};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use hdrhistogram::Histogram;
use mqtt_codec::Publish;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::time::sleep;

/// A publisher that has not got on for this long stops waiting for what it has sent.
const STALLED_AFTER: Duration = Duration::from_secs(1);
/// When it was sent, who sent it, its sequence number.
const PAYLOAD_HEADER: usize = 8 + 4 + 8;
/// After a larger gap it is not known any more which of its messages come late.
const REMEMBERED_GAP: u64 = 100_000;

/// One publisher's messages.
pub struct Publisher {
    pub window: RefCell<Window>,
    /// There is new room in the window.
    pub room: Notify,
}

/// What a subscriber has had of one publisher.
#[derive(Clone, Debug, Default)]
pub struct Received {
    next: u64,
    missing: BTreeSet<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    InOrder,
    OutOfOrder,
    Doubled,
}

impl Received {
    fn judge(&mut self, sequence: u64) -> Verdict {
        if sequence >= self.next {
            let gap = self.next..sequence;
            if sequence - self.next <= REMEMBERED_GAP {
                self.missing.extend(gap);
            }
            self.next = sequence + 1;
            Verdict::InOrder
        } else if self.missing.remove(&sequence) {
            Verdict::OutOfOrder
        } else {
            Verdict::Doubled
        }
    }
}

/// The state of one measurement. Everything runs on one thread, so it needs no synchronisation.
pub struct Shared {
    epoch: Instant,
    pub publishers: Vec<Publisher>,
    pub is_measuring: Cell<bool>,
    /// Nothing more is published.
    pub is_stopping: Cell<bool>,
    /// Nothing more is awaited.
    pub is_done: Cell<bool>,
    pub done: Notify,
    deliveries: Cell<u64>,
    frames: Cell<u64>,
    faults: Cell<Faults>,
    given_up: Cell<u64>,
    latency: RefCell<Histogram<u64>>,
}

impl Shared {
    pub fn new(publishers: usize, window: usize) -> Result<Self> {
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
            faults: Cell::new(Faults::default()),
            given_up: Cell::new(0),
            latency: RefCell::new(histogram()?),
        })
    }

    fn nanos(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }

    /// What a subscriber keeps.
    pub fn received(&self) -> Vec<Received> {
        vec![Received::default(); self.publishers.len()]
    }

    /// The payload of a message whose latency is counted from `sent`.
    pub fn payload(&self, length: usize, sent: Instant, publisher: usize, sequence: u64) -> Result<Bytes> {
        let mut payload = BytesMut::zeroed(length);
        let mut header = payload.get_mut(..PAYLOAD_HEADER).context("the payload is too short")?;
        header.put_u64(self.nanos(sent));
        header.put_u32(u32::try_from(publisher)?);
        header.put_u64(sequence);
        Ok(payload.freeze())
    }

    fn fault(&self, fault: Faults) {
        self.faults.set(self.faults.get().plus(fault));
    }

    /// Something that was awaited of a publisher's message has come.
    pub fn arrived(&self, publisher: usize, sequence: u64) -> Result<()> {
        let publisher = self.publishers.get(publisher).context("a message of an unknown publisher")?;
        let mut window = publisher.window.borrow_mut();
        if sequence < window.base() {
            self.fault(Faults { late: 1, ..Faults::default() });
        } else if window.arrive(sequence) {
            publisher.room.notify_one();
        }
        Ok(())
    }

    /// `received`: what this subscriber has had of each publisher.
    pub fn delivered(&self, publish: &Publish, received: &mut [Received]) -> Result<()> {
        let mut payload = publish.payload.as_ref();
        ensure!(payload.len() >= PAYLOAD_HEADER, "a delivery without our header");
        let (sent, publisher, sequence) = (payload.get_u64(), payload.get_u32() as usize, payload.get_u64());
        let received = received.get_mut(publisher).context("a message of an unknown publisher")?;
        match received.judge(sequence) {
            Verdict::InOrder => {}
            Verdict::OutOfOrder => self.fault(Faults { out_of_order: 1, ..Faults::default() }),
            Verdict::Doubled => {
                // another one arrived for this message: nothing that is awaited has come
                self.fault(Faults { doubled: 1, ..Faults::default() });
                return Ok(());
            }
        }
        if self.is_measuring.get() {
            self.deliveries.set(self.deliveries.get() + 1);
            let latency = self.nanos(Instant::now()).saturating_sub(sent) / 1_000;
            self.latency.borrow_mut().saturating_record(latency);
        }
        self.arrived(publisher, sequence)
    }

    pub fn count_frames(&self, client: &mut Client) {
        let frames = client.take_frames();
        if self.is_measuring.get() {
            self.frames.set(self.frames.get() + frames);
        }
    }

    fn abandon(&self, publisher: &Publisher) {
        self.given_up.set(self.given_up.get() + publisher.window.borrow_mut().abandon());
        publisher.room.notify_one();
    }

    /// Stops waiting for everything that is on its way.
    pub fn abandon_all(&self) {
        self.publishers.iter().for_each(|publisher| self.abandon(publisher));
    }

    /// Whether everything has come.
    pub fn is_drained(&self) -> bool {
        self.publishers.iter().all(|publisher| publisher.window.borrow().is_empty())
    }

    /// Lets publishers go on whose messages were lost.
    pub async fn watch(&self) {
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

    /// The figures.
    pub fn outcome(&self, elapsed: Duration, before: Usage, after: Usage) -> Outcome {
        let mut faults = self.faults.get();
        faults.lost = self.given_up.get().saturating_sub(faults.late);
        let (deliveries, frames) = (self.deliveries.get(), self.frames.get());
        let latency = self.latency.borrow();
        Outcome::new(&Counted { deliveries, frames, elapsed, latency: &latency, faults }, before, after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_types::Qos;
    use mqtt_codec::PublishProperties;

    fn delivery(shared: &Shared, publisher: usize, sequence: u64) -> Publish {
        Publish {
            dup: false,
            qos: Qos::AtMostOnce,
            retain: false,
            topic: "t".into(),
            packet_id: None,
            properties: PublishProperties::default().into(),
            payload: shared.payload(64, Instant::now(), publisher, sequence).unwrap(),
        }
    }

    fn faults(sequences: &[u64]) -> (u64, u64) {
        let shared = Shared::new(1, 64).unwrap();
        let mut received = shared.received();
        for sequence in sequences {
            shared.delivered(&delivery(&shared, 0, *sequence), &mut received).unwrap();
        }
        let faults = shared.faults.get();
        (faults.doubled, faults.out_of_order)
    }

    #[test]
    fn doubled_and_overtaken_deliveries_are_told_apart_and_a_gap_is_neither() {
        assert_eq!(faults(&[0, 1, 2]), (0, 0));
        assert_eq!(faults(&[0, 0, 1, 0]), (2, 0));
        assert_eq!(faults(&[0, 2, 3]), (0, 0));
        assert_eq!(faults(&[2, 0, 1, 3]), (0, 2));
        assert_eq!(faults(&[1, 0, 0]), (1, 1));
    }

    #[test]
    fn a_doubled_delivery_is_not_taken_for_one_that_is_awaited() {
        let shared = Shared::new(1, 64).unwrap();
        // two subscribers: both have to get it
        assert_eq!(shared.publishers[0].window.borrow_mut().open(2), Some(0));
        let mut received = shared.received();
        for _ in 0..2 {
            shared.delivered(&delivery(&shared, 0, 0), &mut received).unwrap();
        }
        assert!(!shared.is_drained());
    }

    #[test]
    fn only_what_arrives_during_the_measurement_counts() {
        let shared = Shared::new(1, 64).unwrap();
        let mut received = shared.received();
        shared.delivered(&delivery(&shared, 0, 0), &mut received).unwrap();
        shared.is_measuring.set(true);
        shared.delivered(&delivery(&shared, 0, 1), &mut received).unwrap();
        assert_eq!((shared.deliveries.get(), shared.latency.borrow().len()), (1, 1));
    }

    #[test]
    fn what_comes_after_it_was_given_up_is_late_and_what_does_not_come_is_lost() {
        let shared = Shared::new(1, 64).unwrap();
        let publisher = &shared.publishers[0];
        assert_eq!([0, 1].map(|_| publisher.window.borrow_mut().open(1)), [Some(0), Some(1)]);
        shared.abandon(publisher);
        shared.delivered(&delivery(&shared, 0, 0), &mut shared.received()).unwrap();
        let usage = Usage { server: Duration::ZERO, generator: Duration::ZERO, machine: Duration::ZERO };
        let Faults { lost, late, .. } = shared.outcome(Duration::from_secs(1), usage, usage).faults;
        assert_eq!((lost, late), (1, 1));
    }

    #[test]
    fn what_is_none_of_our_messages_is_refused() {
        let shared = Shared::new(1, 64).unwrap();
        assert!(shared.delivered(&delivery(&shared, 1, 0), &mut shared.received()).is_err());
        let short = Publish { payload: Bytes::from_static(b"x"), ..delivery(&shared, 0, 0) };
        assert!(shared.delivered(&short, &mut shared.received()).is_err());
    }
}
