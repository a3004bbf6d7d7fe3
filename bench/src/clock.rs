//! Waking at an exact time: the runtime's own timer is only good to a millisecond.

use anyhow::{Context, Result};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::yield_now;

/// The kernel wakes a thread late by less than this, mostly. The rest is waited for without sleeping.
const EARLY: Duration = Duration::from_micros(200);

/// An alarm clock: a thread that sleeps.
pub struct Alarm {
    times: Sender<Instant>,
    bell: Arc<Notify>,
}

impl Alarm {
    /// # Errors
    /// When there is no thread to be had.
    pub fn new() -> Result<Self> {
        let (times, wanted) = channel::<Instant>();
        let bell = Arc::new(Notify::new());
        let ringing = Arc::clone(&bell);
        // ends when nobody can ask it for anything any more
        thread::Builder::new().name("alarm".to_owned()).spawn(move || {
            for at in wanted {
                thread::sleep(at.saturating_duration_since(Instant::now()));
                ringing.notify_one();
            }
        })?;
        Ok(Self { times, bell })
    }

    /// Waits until then. Other tasks run meanwhile.
    ///
    /// # Errors
    /// When the thread has ended.
    pub async fn until(&self, deadline: Instant) -> Result<()> {
        let early = deadline.checked_sub(EARLY).filter(|early| *early > Instant::now());
        if let Some(early) = early {
            self.times.send(early).context("the alarm is broken")?;
            self.bell.notified().await;
        }
        while Instant::now() < deadline {
            yield_now().await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_never_early_and_hardly_late() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let alarm = Alarm::new().unwrap();
            let mut late = Vec::new();
            for micros in [0, 50, 700, 3_300, 5_000, 5_000, 5_000] {
                let deadline = Instant::now() + Duration::from_micros(micros);
                alarm.until(deadline).await.unwrap();
                late.push(Instant::now().checked_duration_since(deadline).unwrap());
            }
            late.sort();
            assert!(late[3] < Duration::from_micros(500), "{late:?}");
        });
    }
}
