//! Answers of custom authorizers that are good for all requests which bring the same (`enableCachingForHttp`), for as long
//! as the authorizer says. Each isolate has its own.

use authorizer::Invocation;
use durable_objects::custom_authorizer::Authorization;
use iot_types::UnixMillis;
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Answers that are kept; the one that ends first makes room.
const MAXIMUM_ANSWERS: usize = 128;

thread_local! {
    static KEPT: RefCell<BTreeMap<String, Authorization>> = const { RefCell::new(BTreeMap::new()) };
}

/// The answer for a request that brings this, if there is one.
pub fn find(invocation: &Invocation, now: UnixMillis) -> Option<Authorization> {
    KEPT.with_borrow(|kept| kept.get(&key(invocation)?).filter(|kept| kept.lease.refresh_at > now).cloned())
}

/// Keeps an answer, if its authorizer allows it.
pub fn keep(invocation: &Invocation, authorization: &Authorization) {
    let Some(key) = key(invocation).filter(|_| authorization.is_cacheable) else { return };
    KEPT.with_borrow_mut(|kept| {
        if kept.len() >= MAXIMUM_ANSWERS
            && let Some(first) = kept.iter().min_by_key(|(_, kept)| kept.lease.refresh_at).map(|(key, _)| key.clone())
        {
            kept.remove(&first);
        }
        kept.insert(key, authorization.clone());
    });
}

/// What the function would be told, without what is another for each request: the platform's own headers, and those about
/// the body.
fn key(invocation: &Invocation) -> Option<String> {
    const PASSING: [&str; 6] = ["cf-", "content-", "date", "x-forwarded-", "x-real-ip", "x-amz-date"];
    let lasting = |(name, _): &(&String, &String)| !PASSING.iter().any(|passing| name.starts_with(passing));
    let headers: BTreeMap<&String, &String> = invocation.headers().iter().filter(lasting).collect();
    serde_json::to_string(&(headers, invocation.query_string())).ok()
}
