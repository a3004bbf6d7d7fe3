//! Retained messages (MQTT 5.0 section 3.3.1.3).

use super::Context;
use super::ownership::Ownership;
use crate::store::{self, RouterStore, StoreError};
use iot_types::UnixMillis;
use messages::publication::Publication;
use messages::router::RetainedPage;
use mqtt_topic::{matches, matches_without_parent};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Topics looked at for one page: a filter that few of them match gets short pages rather than a slow answer.
const PAGE_TOPICS: usize = 4_000;

/// Keys read at a time.
const SCAN: usize = 500;

/// Rows read at a time, of which each may be as large as a message.
const SCAN_ROWS: usize = 64;

/// What a message in memory takes beside its own bytes.
const ENTRY_BYTES: usize = 128;

/// All retained messages of the object, as long as they are few enough: whoever subscribes gets them without a row
/// being read.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    /// `None` when they have not been read.
    messages: Option<BTreeMap<String, Entry>>,
    bytes: usize,
    /// They were too many, and are not read again before.
    not_before: UnixMillis,
}

/// A retained message in memory.
#[derive(Debug)]
struct Entry {
    /// The virtual shard that it belongs to.
    shard: u16,
    publication: Publication,
}

impl Entry {
    fn of(publication: Publication) -> Self {
        Self { shard: shard_of(&publication.topic), publication }
    }
}

fn shard_of(topic: &str) -> u16 {
    store::shard_of_node(mqtt_topic::node::node_of(topic))
}

impl Cache {
    /// Rows have come or gone otherwise than one at a time.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// All messages, which are read now if they have to be; `None` when they are too many.
    fn all(
        &mut self,
        context: &Context<'_>,
        store: &mut dyn RouterStore,
    ) -> Result<Option<&BTreeMap<String, Entry>>, StoreError> {
        if self.messages.is_none() && self.not_before <= context.now {
            self.read(context, store)?;
        }
        Ok(self.messages.as_ref())
    }

    fn read(&mut self, context: &Context<'_>, store: &mut dyn RouterStore) -> Result<(), StoreError> {
        let (mut messages, mut bytes) = (BTreeMap::new(), 0);
        let (mut from, to) = store::retained_with_prefix("");
        loop {
            let rows = store.scan(&from, &to, SCAN_ROWS)?;
            let is_last = rows.len() < SCAN_ROWS;
            if let Some((key, _)) = rows.last() {
                from = store::after(key);
            }
            for publication in rows.iter().filter_map(|(_, value)| store::decode_publication(value)) {
                bytes += weight(&publication);
                messages.insert(publication.topic.clone(), Entry::of(publication));
            }
            if bytes > context.settings.retained_bytes {
                self.not_before = context.now.plus_millis(context.settings.retained_retry_millis);
                return Ok(());
            }
            if is_last {
                (self.messages, self.bytes) = (Some(messages), bytes);
                return Ok(());
            }
        }
    }

    /// A message is stored, or its topic's deleted.
    fn note(&mut self, context: &Context<'_>, publication: &Publication) {
        let Some(messages) = &mut self.messages else { return };
        let before = if publication.payload.is_empty() {
            messages.remove(&publication.topic)
        } else {
            self.bytes += weight(publication);
            messages.insert(publication.topic.clone(), Entry::of(publication.clone()))
        };
        self.bytes = self.bytes.saturating_sub(before.map_or(0, |entry| weight(&entry.publication)));
        if self.bytes > context.settings.retained_bytes {
            self.messages = None;
            self.not_before = context.now.plus_millis(context.settings.retained_retry_millis);
        }
    }
}

fn weight(publication: &Publication) -> usize {
    ENTRY_BYTES + publication.topic.len() + publication.weight()
}

/// Stores the message, or deletes the topic's if it has no payload ([MQTT-3.3.1-6], [MQTT-3.3.1-7]).
pub(crate) fn retain(
    context: &Context<'_>,
    publication: &Publication,
    cache: &mut Cache,
    store: &mut dyn RouterStore,
) -> Result<(), StoreError> {
    let key = store::retained_key(&publication.topic);
    if publication.payload.is_empty() {
        store.delete(&key)?;
    } else {
        store.put(&key, &store::encode(publication)?)?;
    }
    cache.note(context, publication);
    Ok(())
}

/// What a page may have.
pub(crate) struct Limits {
    pub messages: usize,
    pub bytes: usize,
}

/// A page that is being filled.
struct Filling<'a> {
    page: RetainedPage,
    bytes: usize,
    limits: &'a Limits,
}

impl Filling<'_> {
    fn add(&mut self, publication: Publication) {
        self.bytes += publication.weight();
        self.page.messages.push(publication);
    }

    /// Whether there is no room for one more. The next page then begins after the last message.
    fn is_full(&mut self) -> bool {
        let is_full = self.page.messages.len() >= self.limits.messages.max(1) || self.bytes >= self.limits.bytes;
        match self.page.messages.last() {
            Some(last) if is_full => {
                self.page.next = Some(last.topic.clone());
                true
            }
            _ => false,
        }
    }
}

/// The messages that are here and match, from a place on: at least one, if there is one.
pub(crate) fn page(
    context: &Context<'_>,
    (filter, start_after): (&str, Option<&str>),
    limits: &Limits,
    ownership: &Ownership,
    cache: &mut Cache,
    store: &mut dyn RouterStore,
) -> Result<RetainedPage, StoreError> {
    let mut filling = Filling { page: RetainedPage::default(), bytes: 0, limits };
    let Some(wildcard) = filter.find(['+', '#']) else {
        if start_after.is_none_or(|after| after < filter)
            && let Some(publication) = get(context, filter, cache, store)?
        {
            filling.add(publication);
        }
        return Ok(filling.page);
    };
    let does_match = if context.settings.matches_parent { matches } else { matches_without_parent };
    let is_wanted = |topic: &str| does_match(filter, topic) && ownership.has(shard_of(topic));
    let prefix = filter.get(..wildcard).unwrap_or_default();
    // `a/#` matches `a`, which does not begin with `a/`, and comes before everything that does.
    let parent = prefix.strip_suffix('/').filter(|parent| is_wanted(parent));
    if let Some(parent) = parent.filter(|parent| start_after.is_none_or(|after| after < *parent))
        && let Some(publication) = get(context, parent, cache, store)?
    {
        filling.add(publication);
    }
    // Whatever begins with `a/` matches `a/#`.
    let all_match = filter.len() == prefix.len() + 1 && filter.ends_with('#') && prefix.ends_with('/');
    let does_match = |topic: &str| all_match || does_match(filter, topic);
    match cache.all(context, store)? {
        Some(messages) => {
            let is_wanted = |entry: &Entry| does_match(&entry.publication.topic) && ownership.has(entry.shard);
            for topic in from_memory(context, messages, (prefix, start_after), &mut filling, is_wanted) {
                expire(&topic, cache, store)?;
            }
        }
        None => from_rows(context, (prefix, start_after), &mut filling, is_wanted, cache, store)?,
    }
    Ok(filling.page)
}

/// Fills a page from memory. Gives topics whose messages have expired.
fn from_memory(
    context: &Context<'_>,
    messages: &BTreeMap<String, Entry>,
    (prefix, start_after): (&str, Option<&str>),
    filling: &mut Filling<'_>,
    is_wanted: impl Fn(&Entry) -> bool,
) -> Vec<String> {
    let start = match start_after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix),
    };
    let mut expired = Vec::new();
    let range = messages.range::<str, _>((start, Bound::Unbounded));
    let in_range = range.take_while(|(topic, _)| topic.starts_with(prefix));
    for (topic, Entry { publication, .. }) in in_range.filter(|(_, entry)| is_wanted(entry)) {
        if filling.is_full() {
            break;
        }
        if has_expired(context, publication) {
            expired.push(topic.clone());
        } else {
            filling.add(publication.clone());
        }
    }
    expired
}

/// The same from the rows.
fn from_rows(
    context: &Context<'_>,
    (prefix, start_after): (&str, Option<&str>),
    filling: &mut Filling<'_>,
    is_wanted: impl Fn(&str) -> bool,
    cache: &mut Cache,
    store: &mut dyn RouterStore,
) -> Result<(), StoreError> {
    let (start, to) = store::retained_with_prefix(prefix);
    let mut from = start_after.map_or_else(Vec::new, |after| store::after(&store::retained_key(after))).max(start);
    let mut looked_at = 0;
    loop {
        let keys = store.scan_keys(&from, &to, SCAN)?;
        let is_last = keys.len() < SCAN;
        looked_at += keys.len();
        for key in keys {
            if let Some(topic) = store::parse_retained(&key).filter(|topic| is_wanted(topic)) {
                if filling.is_full() {
                    return Ok(());
                }
                if let Some(publication) = get(context, topic, cache, store)? {
                    filling.add(publication);
                }
            }
            from = store::after(&key);
        }
        if is_last {
            return Ok(());
        }
        if looked_at >= PAGE_TOPICS {
            // Without the zero behind it, which `after` put there.
            let last = from.split_last().map_or(&[][..], |(_, key)| key);
            filling.page.next = store::parse_retained(last).map(str::to_owned);
            return Ok(());
        }
    }
}

fn has_expired(context: &Context<'_>, publication: &Publication) -> bool {
    context.settings.retained_expire && publication.is_expired(context.now)
}

/// The topic's message. One that has expired is deleted.
fn get(
    context: &Context<'_>,
    topic: &str,
    cache: &mut Cache,
    store: &mut dyn RouterStore,
) -> Result<Option<Publication>, StoreError> {
    let found = match &cache.messages {
        Some(messages) => messages.get(topic).map(|entry| entry.publication.clone()),
        None => store.get(&store::retained_key(topic))?.and_then(|bytes| store::decode_publication(&bytes)),
    };
    let Some(publication) = found else { return Ok(None) };
    if has_expired(context, &publication) {
        expire(topic, cache, store)?;
        return Ok(None);
    }
    Ok(Some(publication))
}

fn expire(topic: &str, cache: &mut Cache, store: &mut dyn RouterStore) -> Result<(), StoreError> {
    store.delete(&store::retained_key(topic))?;
    if let Some(expired) = cache.messages.as_mut().and_then(|messages| messages.remove(topic)) {
        cache.bytes = cache.bytes.saturating_sub(weight(&expired.publication));
    }
    Ok(())
}
