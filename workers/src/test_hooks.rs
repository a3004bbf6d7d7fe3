//! Forced failures for the system tests. Without the `TEST_HOOKS` binding, which only the test harness supplies, these
//! paths are like any other unknown path.

use crate::http;
use durable_objects::{Config, call_object, open};
use messages::address::{Address, BrokerId};
use messages::broker::BrokerRequest;
use messages::codec::Batch;
use messages::pool::{Directive, DrainOrder};
use messages::{Reply, Request as ObjectRequest};
use worker::{Env, Response, Result};

/// Panics in this request.
const PANIC: &str = "/__test/panic";
/// Panics inside the first Broker, while its state is borrowed.
const PANIC_IN_BROKER: &str = "/__test/panic-in-broker";
/// Traps there, which costs every object of the isolate its memory.
const TRAP_IN_BROKER: &str = "/__test/trap-in-broker";
/// Followed by the number of a Broker: what it has done so far, as JSON (`workers/entry/test_hooks.js`).
const COUNTS: &str = "/__test/counts/";
/// Followed by the number of a Broker: orders it to send its clients elsewhere, as its pool would.
const DRAIN: &str = "/__test/drain/";

pub async fn answer(path: &str, env: &Env) -> Option<Result<Response>> {
    if !path.starts_with("/__test/") || env.var("TEST_HOOKS").is_err() {
        return None;
    }
    match path {
        #[allow(clippy::panic)]
        PANIC => panic!("forced by a test"),
        PANIC_IN_BROKER => Some(fail_in_broker(env, "panic").await),
        TRAP_IN_BROKER => Some(fail_in_broker(env, "trap").await),
        path => match path.strip_prefix(COUNTS) {
            Some(index) => Some(ask(env, &broker(index)?, "counts").await),
            None => Some(drain(env, &broker(path.strip_prefix(DRAIN)?)?).await),
        },
    }
}

fn broker(index: &str) -> Option<Address> {
    Some(Address::Broker(BrokerId { region: "home".to_owned(), index: index.parse().ok()? }))
}

async fn drain(env: &Env, target: &Address) -> Result<Response> {
    let now = http::now();
    let order = Directive::Drain(DrainOrder { from: now, until: now, unless_build: None });
    let batch = Batch { sender: None, requests: vec![ObjectRequest::Broker(BrokerRequest::Pool(order))] };
    match call_object(env, target, &batch).await.as_ref().map(|reply| reply.replies.as_slice()) {
        Some([Reply::BrokerReport(report)]) => Response::ok(report.connections.to_string()),
        _ => Response::error("the Broker does not answer", 500),
    }
}

async fn fail_in_broker(env: &Env, how: &str) -> Result<Response> {
    ask(env, &Config::from_env(env)?.publishing_broker("test"), how).await
}

async fn ask(env: &Env, target: &Address, hook: &str) -> Result<Response> {
    open(env, target)?.fetch_with_str(&format!("https://broker.internal/__test/{hook}")).await
}
