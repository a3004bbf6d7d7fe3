//! Connects a second: clients that open a connection, CONNECT, get their CONNACK, leave, and come again.

use crate::client::{Client, Endpoint, retry_after};
use crate::load::Settings;
use crate::outcome::{Counted, Faults, Outcome, histogram};
use crate::proc::Usage;
use anyhow::{Result, bail};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// The last connections have to be closed within this.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);

struct Shared {
    is_measuring: Cell<bool>,
    is_stopping: Cell<bool>,
    connects: Cell<u64>,
    refused: Cell<u64>,
    /// Until the CONNACK.
    latency: RefCell<Histogram<u64>>,
}

/// Lets so many clients come and go. See [`crate::load::measure`].
///
/// # Errors
/// When the server refuses a connection otherwise than by telling when to come again, or ends one.
pub async fn measure(
    endpoint: &Endpoint,
    root: u32,
    connectors: usize,
    settings: Settings,
    run: &str,
) -> Result<Outcome> {
    let shared = Shared {
        is_measuring: Cell::new(false),
        is_stopping: Cell::new(false),
        connects: Cell::new(0),
        refused: Cell::new(0),
        latency: RefCell::new(histogram()?),
    };
    let connecting = try_join_all((0..connectors).map(|index| connect(&shared, endpoint, format!("{run}-c{index}"))));
    tokio::pin!(connecting);
    let measurement = async {
        sleep(settings.warm_up).await;
        let before = Usage::now(root)?;
        let start = Instant::now();
        shared.is_measuring.set(true);
        sleep(settings.measure).await;
        shared.is_measuring.set(false);
        Ok::<_, anyhow::Error>((start.elapsed(), before, Usage::now(root)?))
    };
    let (elapsed, before, after) = tokio::select! {
        measured = measurement => measured?,
        ended = &mut connecting => {
            ended?;
            bail!("no client connects any more");
        }
    };
    shared.is_stopping.set(true);
    let mut lost = 0;
    match timeout(DRAIN_WITHIN, connecting).await {
        Ok(ended) => drop(ended?),
        Err(_) => lost = 1,
    }
    let faults = Faults { lost, refused: shared.refused.get(), ..Faults::default() };
    let (deliveries, latency) = (shared.connects.get(), shared.latency.borrow());
    let counted = Counted { deliveries, frames: deliveries, elapsed, latency: &latency, faults };
    Ok(Outcome::new(&counted, before, after))
}

async fn connect(shared: &Shared, endpoint: &Endpoint, name: String) -> Result<()> {
    for count in 0_u64.. {
        if shared.is_stopping.get() {
            break;
        }
        let start = Instant::now();
        match Client::open_and_connect(endpoint, format!("{name}-{count}")).await {
            Ok(client) => {
                if shared.is_measuring.get() {
                    let micros = u64::try_from(start.elapsed().as_micros())?;
                    shared.latency.borrow_mut().saturating_record(micros);
                }
                client.close().await;
                if shared.is_measuring.get() {
                    shared.connects.set(shared.connects.get() + 1);
                }
            }
            Err(error) => {
                let Some(wait) = retry_after(&error) else { return Err(error) };
                shared.refused.set(shared.refused.get() + 1);
                // its end isn't waited for
                let until = Instant::now() + wait;
                while Instant::now() < until && !shared.is_stopping.get() {
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
    Ok(())
}
