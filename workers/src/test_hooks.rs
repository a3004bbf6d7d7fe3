//! Forced failures for the system tests. Without the `TEST_HOOKS` binding, which only the test harness supplies, these
//! paths are like any other unknown path.

use durable_objects::Config;
use messages::address::Address;
use worker::{Env, Request, Response, Result};

/// Panics in this request.
const PANIC: &str = "/__test/panic";
/// Panics inside the first Broker, while its state is borrowed.
const PANIC_IN_BROKER: &str = "/__test/panic-in-broker";

pub async fn answer(request: &Request, env: &Env) -> Option<Result<Response>> {
    let path = request.path();
    if !path.starts_with("/__test/") || env.var("TEST_HOOKS").is_err() {
        return None;
    }
    match path.as_str() {
        #[allow(clippy::panic)]
        PANIC => panic!("forced by a test"),
        PANIC_IN_BROKER => Some(panic_in_broker(env).await),
        _ => None,
    }
}

async fn panic_in_broker(env: &Env) -> Result<Response> {
    let target: Address = Config::from_env(env)?.publishing_broker("test");
    let namespace = env.durable_object(target.class().binding())?;
    let stub = namespace.id_from_name(&target.to_string())?.get_stub()?;
    stub.fetch_with_str("https://broker.internal/__test/panic").await
}
