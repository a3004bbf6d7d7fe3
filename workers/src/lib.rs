//! The Worker: what Cloudflare calls, sorted out and handed on.
//!
//! `gateway` takes upgrades to the MQTT nodes, `api` answers AWS's operations over HTTPS, `consumers` run what rules
//! put out and keep indexes up, `cron` dispatches jobs, spreads virtual shards, tells Brokers of changes again and keeps the audit log short. Decisions are in `crates/`; the one place where errors become HTTP is
//! `api/error.rs`.

mod announce;
mod api;
mod brokers;
mod consumers;
mod cron;
mod deployment;
mod gateway;
mod http;
mod test_hooks;

// Names the classes' crate: without this the linker drops their exports silently.
pub use durable_objects::{BrokerObject, JobObject, PoolObject, RouterObject, SessionsObject, ThingObject};

use deployment::Deployment;
use http::RawUrl;
use worker::{Context, Env, MessageBatch, Request, Result, ScheduleContext, ScheduledEvent, event, web_sys};

/// Requests from outside.
#[event(fetch)]
async fn fetch(request: web_sys::Request, env: Env, context: Context) -> Result<web_sys::Response> {
    let raw = RawUrl::of(&request);
    if let Some(response) = test_hooks::answer(raw.path(), &env).await {
        return Ok(response?.into());
    }
    let deployment = Deployment::of(env)?;
    match raw.path() {
        gateway::PATH => gateway::upgrade(&deployment, &request, &raw, &context).await,
        _ => Ok(api::answer(&deployment, Request::from(request)).await?.into()),
    }
}

/// Outputs of rules, and work on indexes. Never an error: this would end the instance, and each message tells for itself
/// how it went.
#[event(queue)]
async fn queue(batch: MessageBatch<()>, env: Env, _context: Context) -> Result<()> {
    match batch.queue().as_str() {
        consumers::fleet_index::QUEUE => consumers::fleet_index::consume(&batch, &env).await,
        _ => consumers::rule_actions::consume(&batch, &env).await,
    }
    Ok(())
}

/// The cron trigger, once a minute.
#[event(scheduled)]
async fn scheduled(_event: ScheduledEvent, env: Env, _context: ScheduleContext) {
    let (jobs, shards) = (cron::jobs::dispatch(&env), cron::shards::spread(&env));
    let forgetting = async {
        cron::audit::forget(&env).await;
        cron::expired::forget(&env).await;
    };
    futures_util::future::join4(jobs, shards, cron::control::tell(&env), forgetting).await;
}
