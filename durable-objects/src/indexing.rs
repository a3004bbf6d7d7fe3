//! Telling fleet indexing what may have changed. The change stands whether or not it is told: what could not be is logged,
//! and found when the thing changes again or the index is built again.

use crate::d1::Registry;
use crate::host::log_line;
use crate::outgoing::now_millis;
use crate::queues;
use fleet_index::Index;
use iot_types::{ThingName, UnixMillis};
use registry::indexing::{BELIEVED_MILLIS, IndexingConfiguration, Work};
use registry::resource::{Resource, ResourceKind, ResourceRow};
use registry::setting::Setting;
use registry::{Partition, statements};
use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use worker::Env;

/// The queue's binding.
const QUEUE: &str = "FLEET_INDEX";

/// Names in one message, which may have 128 KB: a name has up to 128 bytes. All of a Broker's clients may go at once.
const NAMES_OF_MESSAGE: usize = 500;

thread_local! {
    /// What this instance believes, for a moment, and since when. No I/O object of any request is in it.
    static BELIEVED: RefCell<Option<(UnixMillis, Rc<IndexingConfiguration>)>> = const { RefCell::new(None) };
}

/// The configuration as it is stored.
///
/// # Errors
/// When D1 fails, or holds what a newer release has written.
pub async fn read(env: &Env) -> worker::Result<Option<Resource<IndexingConfiguration>>> {
    let name = Setting::IndexingConfiguration.as_str();
    let statement = statements::select_resource(Partition::FIRST, ResourceKind::Setting, name);
    let rows: Vec<ResourceRow> = Registry::new(env.clone()).read(statement).await?;
    let stored = rows.into_iter().next().map(Resource::try_from).transpose();
    stored.map_err(|error| worker::Error::RustError(error.to_string()))
}

/// Puts work into the queue; whether all of it has been taken.
pub async fn send(env: &Env, work: &[Work], delay_secs: u32) -> bool {
    for one in work {
        if let Err(error) = queues::send(env, QUEUE, &one.encode(), delay_secs).await {
            log_line(&json!({"level": "error", "event": "fleet_index_not_told", "reason": format!("{error:?}")}));
            return false;
        }
    }
    true
}

/// Tells of a thing whose shadow has changed, without waiting for it.
pub fn shadow_changed(env: &Env, name: &ThingName, shadow: Option<&str>) {
    let shadow = shadow.map(str::to_owned);
    tell(env, vec![name.clone()], move |configuration| configuration.has_shadow(shadow.as_deref()));
}

/// Tells of things, if the configuration wants to know. It may be some seconds old: walks wait for that.
fn tell(env: &Env, names: Vec<ThingName>, is_wanted: impl Fn(&IndexingConfiguration) -> bool + 'static) {
    if names.is_empty() || fresh().is_some_and(|configuration| !is_wanted(&configuration)) {
        return;
    }
    let env = env.clone();
    wasm_bindgen_futures::spawn_local(AssertUnwindSafe(async move {
        if believed(&env).await.is_some_and(|configuration| is_wanted(&configuration)) {
            let work = names.chunks(NAMES_OF_MESSAGE).map(|names| {
                let things = names.iter().map(|name| name.as_str().to_owned()).collect();
                Work::Changed { things, thing_groups: BTreeSet::new() }
            });
            send(&env, &work.collect::<Vec<_>>(), 0).await;
        }
    }));
}

/// Tells of things that were changed in the registry, where no event says it.
pub async fn registry_changed(env: &Env, work: Work) {
    match read(env).await {
        Ok(Some(stored)) if stored.document.is_on(Index::Things) => {
            send(env, &[work], 0).await;
        }
        Ok(_) => {}
        Err(error) => log_unreadable(&error),
    }
}

fn fresh() -> Option<Rc<IndexingConfiguration>> {
    let now = now_millis();
    BELIEVED.with_borrow(|believed| {
        let (since, configuration) = believed.as_ref()?;
        (now.millis_since(*since) < BELIEVED_MILLIS).then(|| Rc::clone(configuration))
    })
}

async fn believed(env: &Env) -> Option<Rc<IndexingConfiguration>> {
    if let Some(configuration) = fresh() {
        return Some(configuration);
    }
    // From before it was read: it may not be believed longer than that.
    let since = now_millis();
    match read(env).await {
        Ok(stored) => {
            let configuration = Rc::new(stored.map(|stored| stored.document).unwrap_or_default());
            BELIEVED.set(Some((since, Rc::clone(&configuration))));
            Some(configuration)
        }
        Err(error) => {
            log_unreadable(&error);
            None
        }
    }
}

fn log_unreadable(error: &worker::Error) {
    log_line(&json!({"level": "error", "event": "indexing_configuration_unreadable", "reason": error.to_string()}));
}
