//! Runs the actions of rules: one attempt for each output, concurrently; what fails goes back with a delay, what is
//! spent goes to the dead-letter queue.

use durable_objects::{log_line, queues, requests};
use futures_util::StreamExt as _;
use js_sys::Uint8Array;
use messages::rules::{RuleOutput, RuleOutputs};
use rules::delivery::{Verdict, judge};
use rules::{Action, HttpAction};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use wasm_bindgen::JsValue;
use worker::{Env, Fetch, Headers, MessageBatch, MessageExt, RequestRedirect, Result};

/// The platform allows six connections at once for an invocation.
const AT_ONCE: usize = 6;
/// How long a target may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The binding of the queue itself, for what comes again.
const QUEUE: &str = "RULE_ACTIONS";
/// The binding of the dead-letter queue.
const DEAD_LETTERS: &str = "RULE_ACTIONS_DLQ";

/// Consumes a batch. A message is acknowledged once everything in it is delivered or stored elsewhere.
pub async fn consume(batch: &MessageBatch<()>, env: &Env) {
    for message in batch.raw_iter() {
        let outputs = match RuleOutputs::decode(&Uint8Array::new(&message.body()).to_vec()) {
            Ok(outputs) => outputs.outputs,
            Err(error) => {
                // A newer release's message: later, an instance that can read it gets it.
                log_line(&json!({"level": "error", "event": "rule_outputs_unreadable", "reason": error.to_string()}));
                message.retry();
                continue;
            }
        };
        let left = run_all(outputs).await;
        if put_back(env, left).await { message.ack() } else { message.retry() }
    }
}

/// Runs all outputs once; returns those that are not done, each with what is to become of it.
async fn run_all(outputs: Vec<RuleOutput>) -> Vec<(RuleOutput, Verdict)> {
    futures_util::stream::iter(outputs)
        .map(|output| async move {
            let status = run(&output).await;
            let verdict = judge(status, output.attempt);
            (output, status, verdict)
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(|(output, status, verdict)| async move {
            if verdict == Verdict::Delivered {
                return None;
            }
            log_line(&json!({
                "level": "warn", "event": "rule_action_failed", "rule_name": output.rule_name, "topic": output.topic,
                "attempt": output.attempt, "status": status, "verdict": format!("{verdict:?}"),
            }));
            Some((output, verdict))
        })
        .collect()
        .await
}

/// The HTTP status of an attempt; `None` when there was no answer.
async fn run(output: &RuleOutput) -> Option<u16> {
    let action = serde_json::from_str(&output.action).ok().and_then(|action| Action::parse(&action).ok())?;
    match action {
        Action::Http(http) => post(&http, output).await.ok().flatten(),
    }
}

async fn post(action: &HttpAction, output: &RuleOutput) -> Result<Option<u16>> {
    let headers = Headers::new();
    headers.set("content-type", "application/json")?;
    for header in action.headers.iter().flatten() {
        headers.set(&header.key, &header.value)?;
    }
    let fetch = Fetch::Request(requests::post(&action.url, headers, &output.payload, RequestRedirect::Follow)?);
    match requests::within(TIMEOUT, fetch.send()).await {
        Some(response) => response.map(|response| Some(response.status_code())),
        None => Ok(None),
    }
}

/// Stores what is not done, packed by how long it waits. Whether all of it is stored.
async fn put_back(env: &Env, left: Vec<(RuleOutput, Verdict)>) -> bool {
    let mut packed: BTreeMap<(&str, u32), RuleOutputs> = BTreeMap::new();
    for (mut output, verdict) in left {
        let place = match verdict {
            Verdict::Delivered => continue,
            Verdict::Retry { delay_secs } => {
                output.attempt += 1;
                (QUEUE, delay_secs)
            }
            Verdict::GiveUp => (DEAD_LETTERS, 0),
        };
        packed.entry(place).or_default().outputs.push(output);
    }
    for ((binding, delay_secs), outputs) in packed {
        if let Err(error) = send(env, binding, &outputs, delay_secs).await {
            log_line(&json!({"level": "error", "event": "rule_outputs_not_stored", "reason": format!("{error:?}")}));
            return false;
        }
    }
    true
}

async fn send(env: &Env, binding: &str, outputs: &RuleOutputs, delay_secs: u32) -> core::result::Result<(), JsValue> {
    let body = outputs.encode().map_err(|error| JsValue::from_str(&error.to_string()))?;
    queues::send(env, binding, &body, delay_secs).await
}
