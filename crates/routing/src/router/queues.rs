//! Messages for shared groups with nobody online (MQTT 5.0 section 4.8.2; AWS IoT developer guide, "Shared
//! Subscriptions": queued while a persistent session is a member and none is connected).

use crate::settings::RouterSettings;
use crate::store::{self, RouterStore, StoreError};
use iot_types::UnixMillis;
use messages::address::Address;
use messages::publication::Publication;
use messages::{Refusal, Reply};
use std::collections::BTreeMap;

/// Most messages in one answer.
const PAGE: usize = 100;

/// Most bytes in one answer, unless one message has more.
const PAGE_BYTES: usize = 512 * 1024;

/// Groups whose fill is remembered.
const MAXIMUM_QUEUES: usize = 1_000;

#[derive(Debug, Default)]
pub(crate) struct Queues {
    queues: BTreeMap<String, Queue>,
    /// Places rise with the clock, also from one object to the next and after the queue was empty: a place that was
    /// drained once never names another message.
    last_place: u64,
}

#[derive(Debug, Default)]
struct Queue {
    messages: usize,
    bytes: usize,
    /// Who drains it, and until when nobody else may.
    drained_by: Option<(Address, UnixMillis)>,
}

impl Queues {
    pub fn append(
        &mut self,
        now: UnixMillis,
        shared_filter: &str,
        publication: &Publication,
        settings: &RouterSettings,
        store: &mut dyn RouterStore,
    ) -> Result<Reply, StoreError> {
        let value = store::encode(publication)?;
        let queue = self.load(shared_filter, store)?;
        if queue.messages >= settings.shared_messages || queue.bytes + value.len() > settings.shared_bytes {
            return Ok(Reply::Refused(Refusal::Full));
        }
        queue.messages += 1;
        queue.bytes += value.len();
        self.last_place = (self.last_place + 1).max(now.0 << 10);
        store.put(&store::shared_key(shared_filter, self.last_place), &value)?;
        Ok(Reply::Applied)
    }

    /// Deletes what `by` has in safety and gives the next.
    pub fn drain(
        &mut self,
        now: UnixMillis,
        shared_filter: &str,
        done: u64,
        by: &Address,
        settings: &RouterSettings,
        store: &mut dyn RouterStore,
    ) -> Result<Reply, StoreError> {
        let queue = self.load(shared_filter, store)?;
        let is_anothers = |(other, until): &(Address, UnixMillis)| other != by && *until > now;
        let (start, to) = store::shared_of(shared_filter);
        let mut from = start;
        if done > 0 {
            let end = store::after(&store::shared_key(shared_filter, done));
            loop {
                let rows = store.scan(&from, &end, PAGE)?;
                let is_last = rows.len() < PAGE;
                for (key, value) in rows {
                    store.delete(&key)?;
                    queue.take(value.len());
                    from = store::after(&key);
                }
                if is_last {
                    break;
                }
            }
            from = end;
        }
        if queue.drained_by.as_ref().is_some_and(is_anothers) {
            // Two at once would give each message to two members.
            return Ok(Reply::Refused(Refusal::Unavailable));
        }
        let (mut messages, mut bytes) = (Vec::new(), 0);
        'pages: loop {
            let rows = store.scan(&from, &to, PAGE)?;
            let is_last = rows.len() < PAGE;
            for (key, value) in rows {
                let message = store::decode_publication(&value).filter(|message| !message.is_expired(now));
                match (message, store::parse_place(&key)) {
                    (Some(message), Some(place)) => {
                        if messages.len() >= PAGE || bytes >= PAGE_BYTES {
                            break 'pages;
                        }
                        bytes += value.len();
                        messages.push((place, message));
                    }
                    _ => {
                        store.delete(&key)?;
                        queue.take(value.len());
                    }
                }
                from = store::after(&key);
            }
            if is_last {
                break;
            }
        }
        let until = now.plus_millis(settings.drain_millis);
        queue.drained_by = (!messages.is_empty()).then(|| (by.clone(), until));
        if queue.messages == 0 && queue.drained_by.is_none() {
            self.queues.remove(shared_filter);
        }
        Ok(Reply::SharedQueue(messages))
    }

    /// The queues of this virtual shard are another object's, or will be.
    pub fn forget(&mut self, shard: u16) {
        self.queues.retain(|filter, _| store::shard_of_node(mqtt_topic::node::node_of(filter)) != shard);
    }

    fn load(&mut self, shared_filter: &str, store: &mut dyn RouterStore) -> Result<&mut Queue, StoreError> {
        if !self.queues.contains_key(shared_filter) {
            if self.queues.len() >= MAXIMUM_QUEUES {
                self.queues.retain(|_, queue| queue.drained_by.is_some());
            }
            let mut queue = Queue::default();
            let (mut from, to) = store::shared_of(shared_filter);
            loop {
                let rows = store.scan(&from, &to, PAGE)?;
                let is_last = rows.len() < PAGE;
                for (key, value) in rows {
                    queue.messages += 1;
                    queue.bytes += value.len();
                    from = store::after(&key);
                }
                if is_last {
                    break;
                }
            }
            self.queues.insert(shared_filter.to_owned(), queue);
        }
        Ok(self.queues.entry(shared_filter.to_owned()).or_default())
    }
}

impl Queue {
    const fn take(&mut self, bytes: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}
