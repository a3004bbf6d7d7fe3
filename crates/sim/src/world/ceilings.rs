//! Cloudflare's ceilings, which the local platform doesn't enforce: whoever exceeds one is named.

use super::World;
use crate::client::ClientKey;
use broker::Output;
use messages::address::Address;

/// The largest attachment that a Broker's object leaves with the socket; a larger one is a row, and the socket keeps
/// where it is.
const ATTACHMENT_IN_ROW: usize = 12 * 1024;

/// What one object had to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// The second that is counted.
    second: u64,
    calls: u64,
    rows: u64,
    /// Rows written before this second.
    rows_before: u64,
    /// The most calls and frames in a second.
    pub most_calls: u64,
    /// The most rows in a second.
    pub most_rows: u64,
    /// Calls and frames in all.
    pub all_calls: u64,
    /// Bytes of the largest row.
    pub largest_row: u64,
    /// Bytes of the largest call or answer.
    pub largest_message: u64,
    /// The most calls and queue messages of one turn.
    pub most_subrequests: u64,
}

impl World {
    /// What an object had to do so far.
    #[must_use]
    pub fn load(&self, address: &Address) -> Load {
        self.loads.get(address).copied().unwrap_or_default()
    }

    /// Notes the first time that somebody exceeds a ceiling.
    fn check(&mut self, name: &'static str, who: impl FnOnce() -> String, value: u64, ceiling: u64) {
        if value <= ceiling {
            return;
        }
        let who = who();
        if self.exceeded.insert((name, who.clone())) {
            let seed = self.settings.seed;
            self.violations.push(format!("ceiling \"{name}\" exceeded by {who}: {value} > {ceiling} (seed {seed})"));
        }
    }

    fn change_load(&mut self, address: &Address, change: impl FnOnce(&mut Load)) {
        if !self.loads.contains_key(address) {
            self.loads.insert(address.clone(), Load::default());
        }
        if let Some(load) = self.loads.get_mut(address) {
            change(load);
        }
    }

    /// Something has reached an object, which has written so many rows by then.
    pub(crate) fn count_load(&mut self, address: Address, calls: u64, rows: u64) {
        let second = self.now().0 / 1_000;
        let ceilings = self.settings.ceilings;
        let load = self.loads.entry(address.clone()).or_default();
        if load.second != second {
            (load.second, load.calls, load.rows_before) = (second, 0, load.rows_before + load.rows);
        }
        load.calls += calls;
        load.all_calls += calls;
        load.rows = rows.saturating_sub(load.rows_before);
        load.most_calls = load.most_calls.max(load.calls);
        load.most_rows = load.most_rows.max(load.rows);
        let (calls, rows) = (load.calls, load.rows);
        self.check("calls", || address.to_string(), calls, ceilings.calls);
        self.check("rows", || address.to_string(), rows, ceilings.rows);
    }

    /// An object may have written rows.
    pub(super) fn check_rows(&mut self, address: &Address) {
        let (largest, bytes) = match address {
            Address::Router(shard) => self.routers.get_mut(*shard as usize).map(crate::shards::Router::take_row_bytes),
            Address::Sessions(shard) => {
                self.sessions.get_mut(*shard as usize).map(crate::shards::Sessions::take_row_bytes)
            }
            _ => None,
        }
        .unwrap_or_default();
        let ceilings = self.settings.ceilings;
        self.change_load(address, |load| load.largest_row = load.largest_row.max(largest as u64));
        self.check("row bytes", || address.to_string(), largest as u64, ceilings.row_bytes);
        self.check("stored bytes", || address.to_string(), bytes, ceilings.stored_bytes);
    }

    /// A call or its answer is on its way.
    pub(super) fn check_message(&mut self, address: &Address, bytes: usize) {
        let bytes = bytes as u64;
        self.change_load(address, |load| load.largest_message = load.largest_message.max(bytes));
        self.check("message bytes", || address.to_string(), bytes, self.settings.ceilings.message_bytes);
    }

    /// An object makes so many calls in one turn.
    pub(super) fn check_calls(&mut self, address: &Address, calls: usize) {
        let calls = calls as u64;
        self.change_load(address, |load| load.most_subrequests = load.most_subrequests.max(calls));
        self.check("subrequests", || address.to_string(), calls, self.settings.ceilings.subrequests);
    }

    /// What a Broker puts out in one turn.
    pub(super) fn check_turn(&mut self, index: u32, outputs: &[Output]) {
        let Some(node) = self.nodes.get_mut(index as usize) else { return };
        let (mut calls, mut largest, mut rows) = (0, 0, 0);
        for output in outputs {
            match output {
                Output::Call(_) | Output::Enqueue { .. } => calls += 1,
                Output::Send { bytes, .. } => largest = bytes.len().max(largest),
                Output::Fence => rows += 1,
                Output::SaveAttachment { bytes, .. } => rows += u64::from(bytes.len() > ATTACHMENT_IN_ROW),
                _ => {}
            }
        }
        node.rows_written += rows;
        let (address, rows) = (Address::Broker(node.broker_id().clone()), node.rows_written);
        self.check_calls(&address, calls);
        self.count_load(address.clone(), 0, rows);
        self.check("frame bytes", || address.to_string(), largest as u64, self.settings.ceilings.frame_bytes);
    }

    /// A Broker keeps something for a socket.
    pub(super) fn check_attachment(&mut self, index: u32, bytes: usize) {
        let ceilings = self.settings.ceilings;
        let who = || format!("broker {index}");
        if bytes > ATTACHMENT_IN_ROW {
            self.check("row bytes", who, bytes as u64, ceilings.row_bytes);
        } else {
            self.check("attachment bytes", who, bytes as u64, ceilings.attachment_bytes);
        }
    }

    /// A client writes a WebSocket message.
    pub(super) fn check_frame(&mut self, key: ClientKey, bytes: usize) {
        let ceiling = self.settings.ceilings.frame_bytes;
        self.check("frame bytes", || format!("client {}", key.0), bytes as u64, ceiling);
    }

    /// A Broker has one socket more.
    pub(super) fn check_sockets(&mut self, index: u32) {
        let sockets = self.nodes.get(index as usize).map_or(0, |node| node.sockets.len());
        self.check("sockets", || format!("broker {index}"), sockets as u64, self.settings.ceilings.sockets);
    }

    /// A Broker sends a message to the queue.
    pub(super) fn check_queue(&mut self, index: u32, bytes: usize) {
        let (second, ceilings) = (self.now().0 / 1_000, self.settings.ceilings);
        let (of, messages) = self.queued;
        self.queued = if of == second { (second, messages + 1) } else { (second, 1) };
        let enqueuing = self.nodes.get_mut(index as usize).map_or(0, |node| {
            node.enqueuing += 1;
            node.enqueuing
        });
        let who = || format!("broker {index}");
        self.check("queue message bytes", who, bytes as u64, ceilings.queue_message_bytes);
        self.check("connections", who, enqueuing, ceilings.connections);
        self.check("queue rate", || "the queue".to_owned(), self.queued.1, ceilings.queue_rate);
    }

    /// The queue has answered a Broker.
    pub(super) fn enqueued(&mut self, index: u32) {
        if let Some(node) = self.nodes.get_mut(index as usize) {
            node.enqueuing = node.enqueuing.saturating_sub(1);
        }
    }
}
