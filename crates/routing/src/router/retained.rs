//! Retained messages (MQTT 5.0 section 3.3.1.3).

use super::ownership::Ownership;
use crate::settings::RouterSettings;
use crate::store::{self, RouterStore, StoreError};
use iot_types::UnixMillis;
use messages::publication::Publication;
use messages::router::RetainedPage;
use mqtt_topic::{matches, matches_without_parent};

/// Topics looked at for one page: a filter that few of them match gets short pages rather than a slow answer.
const PAGE_TOPICS: usize = 4_000;

/// Keys read at a time.
const SCAN: usize = 500;

/// Stores the message, or deletes the topic's if it has no payload ([MQTT-3.3.1-6], [MQTT-3.3.1-7]).
pub(crate) fn retain(publication: &Publication, store: &mut dyn RouterStore) -> Result<(), StoreError> {
    let key = store::retained_key(&publication.topic);
    if publication.payload.is_empty() { store.delete(&key) } else { store.put(&key, &store::encode(publication)?) }
}

/// What a page may have.
pub(crate) struct Limits {
    pub messages: usize,
    pub bytes: usize,
}

/// The messages that are here and match, from a place on: at least one, if there is one.
pub(crate) fn page(
    now: UnixMillis,
    filter: &str,
    start_after: Option<&str>,
    limits: &Limits,
    settings: &RouterSettings,
    ownership: &Ownership,
    store: &mut dyn RouterStore,
) -> Result<RetainedPage, StoreError> {
    let mut page = RetainedPage::default();
    let Some(wildcard) = filter.find(['+', '#']) else {
        if start_after.is_none_or(|after| after < filter)
            && let Some(publication) = get(now, filter, settings, store)?
        {
            page.messages.push(publication);
        }
        return Ok(page);
    };
    let does_match = if settings.matches_parent { matches } else { matches_without_parent };
    let prefix = filter.get(..wildcard).unwrap_or_default();
    let mut bytes = 0;
    // `a/#` matches `a`, which does not begin with `a/`, and comes before everything that does.
    let parent = prefix.strip_suffix('/').filter(|parent| does_match(filter, parent));
    if let Some(parent) = parent.filter(|parent| start_after.is_none_or(|after| after < *parent))
        && ownership.has(store::shard_of_node(mqtt_topic::node::node_of(parent)))
        && let Some(publication) = get(now, parent, settings, store)?
    {
        bytes += publication.weight();
        page.messages.push(publication);
    }
    let (start, to) = store::retained_with_prefix(prefix);
    let mut from = start_after.map_or_else(Vec::new, |after| store::after(&store::retained_key(after))).max(start);
    let mut looked_at = 0;
    loop {
        let keys = store.scan_keys(&from, &to, SCAN)?;
        let is_last = keys.len() < SCAN;
        looked_at += keys.len();
        for key in keys {
            if let Some(topic) = store::parse_retained(&key)
                && does_match(filter, topic)
                && ownership.has(store::shard_of_node(mqtt_topic::node::node_of(topic)))
            {
                let is_full = page.messages.len() >= limits.messages.max(1) || bytes >= limits.bytes;
                if is_full && let Some(last) = page.messages.last() {
                    page.next = Some(last.topic.clone());
                    return Ok(page);
                }
                if let Some(publication) = get(now, topic, settings, store)? {
                    bytes += publication.weight();
                    page.messages.push(publication);
                }
            }
            from = store::after(&key);
        }
        if is_last {
            return Ok(page);
        }
        if looked_at >= PAGE_TOPICS {
            // Without the zero behind it, which `after` put there.
            let last = from.split_last().map_or(&[][..], |(_, key)| key);
            page.next = store::parse_retained(last).map(str::to_owned);
            return Ok(page);
        }
    }
}

/// The topic's message. One that has expired is deleted.
fn get(
    now: UnixMillis,
    topic: &str,
    settings: &RouterSettings,
    store: &mut dyn RouterStore,
) -> Result<Option<Publication>, StoreError> {
    let key = store::retained_key(topic);
    let Some(publication) = store.get(&key)?.and_then(|bytes| store::decode_publication(&bytes)) else {
        return Ok(None);
    };
    if settings.retained_expire && publication.is_expired(now) {
        store.delete(&key)?;
        return Ok(None);
    }
    Ok(Some(publication))
}
