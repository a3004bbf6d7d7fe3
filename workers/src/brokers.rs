//! The Brokers of each region, as far as this isolate knows them.
//!
//! What is known outlives a request: a Gateway that asked the pool about every connection would need a call more for
//! each, and would not hold back from a Broker that has just refused ten others. All of it may be old or lost: whoever
//! is sent to a Broker with no room is sent to the next, and a fresh isolate asks its pool.

use crate::deployment::Deployment;
use crate::http;
use durable_objects::{call_object, log_line};
use futures_util::future::{Either, join_all, select};
use iot_types::UnixMillis;
use messages::address::{Address, BrokerId};
use messages::codec::Batch;
use messages::pool::{Instance, PoolReply, PoolRequest, PoolView};
use messages::{Reply, Request};
use placement::{BrokerRegion, Candidates, Choice, Refresh, Refusal};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;
use worker::{Context, Delay, Env};

thread_local! {
    static KNOWN: RefCell<BTreeMap<BrokerRegion, Candidates>> = const { RefCell::new(BTreeMap::new()) };
    /// When this isolate had its first request: there is no clock before.
    static STARTED: Cell<Option<UnixMillis>> = const { Cell::new(None) };
}

/// One region's Brokers.
#[derive(Clone, Copy)]
pub struct Brokers<'a> {
    deployment: &'a Deployment,
    region: BrokerRegion,
}

impl<'a> Brokers<'a> {
    pub const fn of(deployment: &'a Deployment, region: BrokerRegion) -> Self {
        Self { deployment, region }
    }

    pub const fn region(self) -> BrokerRegion {
        self.region
    }

    /// The Brokers for a client, from a view that is new enough.
    pub async fn choose(self, key: &str, context: &Context) -> Choice {
        let now = http::now();
        match self.known(|known| {
            let refresh = known.refresh(now);
            if refresh != Refresh::No {
                known.refresh_begun(now);
            }
            refresh
        }) {
            Refresh::No => {}
            Refresh::First => self.fetch().await,
            Refresh::Beside => {
                let (env, region, instance) = (self.deployment.env.clone(), self.region, self.instance());
                let settings = self.deployment.config.gateway_settings();
                context.wait_until(async move {
                    let view = ask(&env, region, instance).await;
                    KNOWN.with_borrow_mut(|known| {
                        note(known.entry(region).or_insert_with(|| Candidates::new(settings)), view);
                    });
                });
            }
        }
        self.known(|known| known.choose(http::now(), key))
    }

    /// A Broker has refused: whether to try the next of the order.
    pub fn refused(self, index: u32, refusal: Refusal, next: Option<u32>) -> bool {
        let now = http::now();
        self.known(|known| {
            known.refused(now, index, refusal);
            next.is_some_and(|next| known.goes_on(now, refusal, next))
        })
    }

    /// When nobody took the client: fetches another view if that may help. Whether it did.
    pub async fn look_again(self) -> bool {
        let now = http::now();
        let may_help = self.known(|known| {
            let may_help = known.deserves_another_view(now);
            if may_help {
                known.refresh_begun(now);
            }
            may_help
        });
        if may_help {
            self.fetch().await;
        }
        may_help
    }

    /// What a client that nobody takes is told.
    pub fn retry_after_secs(self, key: &str) -> u32 {
        self.known(|known| known.retry_after_secs(http::now(), key))
    }

    fn known<T>(self, act: impl FnOnce(&mut Candidates) -> T) -> T {
        let settings = self.deployment.config.gateway_settings();
        KNOWN.with_borrow_mut(|known| act(known.entry(self.region).or_insert_with(|| Candidates::new(settings))))
    }

    async fn fetch(self) {
        let asking = pin!(ask(&self.deployment.env, self.region, self.instance()));
        let millis = self.deployment.config.gateway_settings().refresh_timeout_millis;
        let view = match select(asking, pin!(Delay::from(Duration::from_millis(millis)))).await {
            Either::Left((view, _)) => view,
            Either::Right(_) => None,
        };
        self.known(|known| note(known, view));
    }

    fn instance(self) -> Instance {
        let started = STARTED.get().unwrap_or_else(http::now);
        STARTED.set(Some(started));
        Instance { build: self.deployment.config.build, started }
    }

    /// All that may have connections or publish for others, as the pool knows them at this moment.
    async fn reachable(self) -> Vec<BrokerId> {
        self.known(|known| known.refresh_begun(http::now()));
        self.fetch().await;
        // The first publish for those who are no clients, even when no client is sent to them any more.
        let fewest = 0..self.deployment.config.brokers;
        let indices: BTreeSet<u32> = self.known(|known| known.view().reachable().chain(fewest).collect());
        let region = self.region.as_str();
        indices.into_iter().map(|index| BrokerId { region: region.to_owned(), index }).collect()
    }
}

/// All Brokers of the deployment that have to hear of something.
pub async fn all(deployment: &Deployment) -> Vec<BrokerId> {
    let regions = deployment.config.regions.all().map(|region| Brokers::of(deployment, region).reachable());
    join_all(regions).await.into_iter().flatten().collect()
}

async fn ask(env: &Env, region: BrokerRegion, instance: Instance) -> Option<PoolView> {
    let batch = Batch { sender: None, requests: vec![Request::Pool(PoolRequest::View(instance))] };
    let reply = call_object(env, &Address::Pool(region.as_str().to_owned()), &batch).await;
    let Some(Reply::Pool(PoolReply::View(view))) = reply.and_then(|reply| reply.replies.into_iter().next()) else {
        log_line(&json!({"level": "warn", "event": "pool_unreachable", "region": region.as_str()}));
        return None;
    };
    Some(view)
}

fn note(known: &mut Candidates, view: Option<PoolView>) {
    let now = http::now();
    match view {
        Some(view) => known.refreshed(now, view),
        None => known.refresh_failed(now),
    }
}
