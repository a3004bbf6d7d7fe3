//! Forced failures for the system tests. Without the `TEST_HOOKS` binding, which only the test harness supplies, these
//! paths are like any other unknown path.

use crate::http;
use durable_objects::{Config, call_object, open};
use messages::address::{Address, BrokerId};
use messages::broker::BrokerRequest;
use messages::codec::Batch;
use messages::pool::{Directive, DrainOrder};
use messages::{Reply, Request as ObjectRequest};
use worker::{Env, Request, Response, Result};

/// Panics in this request.
const PANIC: &str = "/__test/panic";
/// Panics inside the first Broker, while its state is borrowed.
const PANIC_IN_BROKER: &str = "/__test/panic-in-broker";
/// Followed by the number of a Broker: orders it to send its clients elsewhere, as its pool would.
const DRAIN: &str = "/__test/drain/";

pub async fn answer(request: &Request, env: &Env) -> Option<Result<Response>> {
    let path = request.path();
    if !path.starts_with("/__test/") || env.var("TEST_HOOKS").is_err() {
        return None;
    }
    match path.as_str() {
        #[allow(clippy::panic)]
        PANIC => panic!("forced by a test"),
        PANIC_IN_BROKER => Some(panic_in_broker(env).await),
        path => Some(drain(env, path.strip_prefix(DRAIN)?.parse().ok()?).await),
    }
}

async fn drain(env: &Env, index: u32) -> Result<Response> {
    let now = http::now();
    let order = Directive::Drain(DrainOrder { from: now, until: now, unless_build: None });
    let batch = Batch { sender: None, requests: vec![ObjectRequest::Broker(BrokerRequest::Pool(order))] };
    let target = Address::Broker(BrokerId { region: "home".to_owned(), index });
    match call_object(env, &target, &batch).await.as_ref().map(|reply| reply.replies.as_slice()) {
        Some([Reply::BrokerReport(report)]) => Response::ok(report.connections.to_string()),
        _ => Response::error("the Broker does not answer", 500),
    }
}

async fn panic_in_broker(env: &Env) -> Result<Response> {
    let target: Address = Config::from_env(env)?.publishing_broker("test");
    open(env, &target)?.fetch_with_str("https://broker.internal/__test/panic").await
}
