//! Telling all Brokers what has changed. Only ever a hint: the registry is the truth.

use crate::brokers;
use crate::deployment::Deployment;
use durable_objects::{call_object, log_line};
use futures_util::future::join_all;
use messages::Request;
use messages::address::Address;
use messages::broker::BrokerRequest;
use messages::codec::Batch;
use serde_json::json;

/// Tells every Broker that can be reached, and returns when all have heard it. Who is missed is logged.
pub async fn tell_brokers(deployment: &Deployment, request: BrokerRequest, sequence: u64) {
    let batch = Batch { sender: None, requests: vec![Request::Broker(request)] };
    let calls = brokers::all(deployment).await.into_iter().map(|broker| {
        let batch = &batch;
        async move { call_object(&deployment.env, &Address::Broker(broker), batch).await }
    });
    let missed = join_all(calls).await.iter().filter(|reply| reply.is_none()).count();
    if missed > 0 {
        log_line(&json!({"level": "warn", "event": "change_not_announced", "brokers": missed, "sequence": sequence}));
    }
}
