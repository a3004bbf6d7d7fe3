//! The profiler of V8, over the DevTools protocol: it knows JavaScript and wasm by name, and calls all other code of workerd "(program)".

use super::sources::{PART, Sources};
use super::stacks::{Frame, Samples, Stack};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::rc::Rc;
use std::time::Duration;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Message, WebSocket};

const INTERVAL_MICROS: u32 = 100;
/// A profile of a minute takes V8 seconds to write down.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
const LISTING_WITHIN: Duration = Duration::from_secs(2);

/// A worker whose profiler runs.
pub struct Inspector {
    socket: WebSocket<TcpStream>,
    /// What the profile is of.
    pub worker: String,
    last_id: u32,
}

impl Inspector {
    /// Starts the profiler of the worker that is there for the user, as miniflare names it. `None` when workerd isn't ready.
    ///
    /// # Errors
    /// When workerd refuses it.
    pub fn start(port: u16) -> Result<Option<Self>> {
        let Some(listing) = list(port) else { return Ok(None) };
        let ids = listing.as_array().into_iter().flatten().filter_map(|target| target.get("id")?.as_str());
        let Some(id) = ids.into_iter().find(|id| id.starts_with("core:user:")) else { return Ok(None) };
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("no inspector")?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        // a profile is one message
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let (socket, _) =
            tungstenite::client::client_with_config(format!("ws://127.0.0.1:{port}/{id}"), stream, Some(config))
                .map_err(|error| anyhow::anyhow!("the inspector refuses: {error}"))?;
        let mut inspector = Self { socket, worker: id.trim_start_matches("core:user:").to_owned(), last_id: 0 };
        inspector.call("Profiler.enable", &json!({}))?;
        inspector.call("Profiler.setSamplingInterval", &json!({ "interval": INTERVAL_MICROS }))?;
        inspector.call("Profiler.start", &json!({}))?;
        Ok(Some(inspector))
    }

    /// The profile, in the format that Chrome, VS Code and speedscope open.
    ///
    /// # Errors
    /// When workerd is gone.
    pub fn stop(mut self) -> Result<Value> {
        let mut result = self.call("Profiler.stop", &json!({}))?;
        let profile = result.get_mut("profile").map(Value::take).context("no profile in the answer")?;
        let _ = self.socket.close(None);
        Ok(profile)
    }

    fn call(&mut self, method: &str, params: &Value) -> Result<Value> {
        self.last_id += 1;
        let request = json!({ "id": self.last_id, "method": method, "params": params });
        self.socket
            .send(Message::text(request.to_string()))
            .with_context(|| format!("{method}: the inspector is gone"))?;
        loop {
            let message = self.socket.read().with_context(|| format!("{method}: no answer"))?;
            let Message::Text(text) = message else {
                ensure!(!message.is_close(), "{method}: the inspector has closed");
                continue;
            };
            let mut answer: Value = serde_json::from_str(&text).context("the inspector speaks no JSON")?;
            if answer.get("id").and_then(Value::as_u64) != Some(u64::from(self.last_id)) {
                continue;
            }
            if let Some(error) = answer.get("error") {
                bail!("{method}: {error}");
            }
            return Ok(answer.get_mut("result").map(Value::take).unwrap_or_default());
        }
    }
}

/// What can be inspected, as workerd lists it.
fn list(port: u16) -> Option<Value> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(LISTING_WITHIN)).ok()?;
    write!(stream, "GET /json HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").ok()?;
    let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
    // workerd keeps the connection open: the answer is complete when it is JSON
    loop {
        let length = stream.read(&mut chunk).ok().filter(|&length| length > 0)?;
        answer.extend_from_slice(chunk.get(..length)?);
        let text = String::from_utf8_lossy(&answer);
        let listing = text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok());
        if listing.is_some() {
            return listing;
        }
    }
}

/// The samples of a `.cpuprofile` in which something ran.
///
/// # Errors
/// When it is none.
pub fn samples(profile: &Value, sources: &Sources) -> Result<Samples> {
    let nodes = profile.get("nodes").and_then(Value::as_array).context("no nodes in the profile")?;
    let mut parents: HashMap<u64, u64> = HashMap::new();
    let mut frames: HashMap<u64, Frame> = HashMap::new();
    for node in nodes {
        let id = node.get("id").and_then(Value::as_u64).context("a node without id")?;
        frames.insert(id, frame(node.get("callFrame").unwrap_or(&Value::Null), sources));
        for child in node.get("children").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_u64) {
            parents.insert(child, id);
        }
    }
    let mut stacks: HashMap<u64, Stack> = HashMap::new();
    let ids = profile.get("samples").and_then(Value::as_array).context("no samples in the profile")?;
    let deltas = profile.get("timeDeltas").and_then(Value::as_array).context("no times in the profile")?;
    let micros = |at: usize| deltas.get(at).and_then(Value::as_f64).unwrap_or_default();
    let (mut samples, mut now) = (Samples::default(), 0.0);
    for (at, id) in ids.iter().filter_map(Value::as_u64).enumerate() {
        now += micros(at) / 1e6;
        let stack = stacks.entry(id).or_insert_with(|| {
            let mut path: Vec<Frame> = std::iter::successors(Some(id), |id| parents.get(id).copied())
                .filter_map(|id| frames.get(&id).cloned())
                // V8's is above all others and says nothing
                .filter(|frame| &*frame.function != "(root)")
                .collect();
            path.reverse();
            path.into()
        });
        if stack.last().is_none_or(|frame| &*frame.function != "(idle)") {
            // it ran until the next sample
            samples.push(now, micros(at + 1).max(0.0) / 1e6, Rc::clone(stack));
        }
    }
    Ok(samples)
}

fn frame(call: &Value, sources: &Sources) -> Frame {
    let text = |key: &str| call.get(key).and_then(Value::as_str).unwrap_or_default();
    let (name, url) = (text("functionName"), text("url"));
    if url.starts_with("wasm://") {
        return Frame::of_wasm(name);
    }
    match name {
        "(program)" => return Frame::new("workerd, outside JavaScript", name),
        "(garbage collector)" => return Frame::new("garbage collection", name),
        _ => {}
    }
    if url.is_empty() {
        return Frame::new("called by JavaScript in V8 and workerd", if name.is_empty() { "(nameless)" } else { name });
    }
    let place = |key: &str| call.get(key).and_then(Value::as_u64).and_then(|at| usize::try_from(at).ok());
    Frame::new(PART, &sources.function(name, url, place("lineNumber"), place("columnNumber")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u32, name: &str, url: &str, children: &[u32]) -> Value {
        json!({ "id": id, "callFrame": { "functionName": name, "url": url, "lineNumber": 0, "columnNumber": 4 }, "children": children })
    }

    #[test]
    fn a_sample_lasts_until_the_next_and_idle_ones_are_dropped() {
        let profile = json!({
            "nodes": [
                node(1, "(root)", "", &[2, 3]),
                node(2, "(idle)", "", &[]),
                node(3, "webSocketMessage", "index.js", &[4]),
                node(4, "<broker[2c5562a1eaec4fab]::Broker>::flush", "wasm://wasm/x", &[]),
            ],
            "samples": [4, 2, 3],
            "timeDeltas": [1_000, 300, 500],
        });
        let collapsed = samples(&profile, &Sources::default()).unwrap().under_load().collapsed();
        // the last one is not known to have lasted
        assert_eq!(collapsed, "webSocketMessage 0\nwebSocketMessage;<broker::Broker>::flush 300\n");
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        assert!(samples(&json!({}), &Sources::default()).is_err());
    }
}
