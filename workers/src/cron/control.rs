//! Tells Brokers of changes that they may have missed: the number of the newest is enough, and whoever finds a gap reads
//! again what its clients may do.

use crate::announce::tell_brokers;
use crate::deployment::Deployment;
use crate::http;
use durable_objects::d1::Registry;
use durable_objects::log_line;
use messages::broker::{AuthoritySubject, BrokerRequest};
use registry::control::{ControlHead, ControlRow};
use registry::{Partition, statements};
use serde_json::json;
use worker::Env;

/// How old the newest change may be to be told again, in milliseconds: three runs. After that Brokers that sleep are left
/// asleep.
const RECENT_MILLIS: u64 = 180_000;

/// Tells the newest change, if it is recent.
pub async fn tell(env: &Env) {
    if let Err(error) = tell_recent(env).await {
        log_line(&json!({"level": "error", "event": "changes_not_told", "reason": error.to_string()}));
    }
}

async fn tell_recent(env: &Env) -> worker::Result<()> {
    let registry = Registry::new(env.clone());
    let heads: Vec<ControlHead> = registry.read(statements::control_head(Partition::FIRST)).await?;
    let Some(sequence) = heads.first().map(|head| head.sequence).filter(|sequence| *sequence > 0) else {
        return Ok(());
    };
    let newest = statements::control_log_after(Partition::FIRST, sequence - 1, 1);
    let newest: Vec<ControlRow> = registry.read(newest).await?;
    let age = newest.first().map(|row| http::now().0.saturating_sub(row.at));
    if age.is_some_and(|age| age <= RECENT_MILLIS) {
        let deployment = Deployment::of(env.clone())?;
        let request = BrokerRequest::AuthoritiesChanged { sequence, subject: AuthoritySubject::Nobody };
        tell_brokers(&deployment, request, sequence).await;
    }
    Ok(())
}
