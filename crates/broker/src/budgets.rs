//! What one client may take of what all of them share.

use crate::broker::Broker;
use crate::connection::Connection;
use iot_types::UnixMillis;
use messages::broker::ConnectionId;
use mqtt_codec::{Packet, ReasonCode};
use mqtt_session::Input as SessionInput;

/// Lets so many through in a second, and as many at once after a pause.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    per_second: u32,
    /// In thousandths, so that a millisecond's share is a whole number.
    tokens: u64,
    filled_at: UnixMillis,
}

impl TokenBucket {
    pub fn new(per_second: u32, now: UnixMillis) -> Self {
        Self { per_second, tokens: u64::from(per_second) * 1_000, filled_at: now }
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: UnixMillis) -> bool {
        let full = u64::from(self.per_second) * 1_000;
        let earned = now.millis_since(self.filled_at).saturating_mul(u64::from(self.per_second));
        self.tokens = self.tokens.saturating_add(earned).min(full);
        self.filled_at = self.filled_at.max(now);
        if self.tokens < 1_000 {
            return false;
        }
        self.tokens -= 1_000;
        true
    }
}

impl Broker {
    /// Works on what a connection has sent, until it is somebody else's turn.
    pub(crate) fn work_on(&mut self, now: UnixMillis, id: ConnectionId) {
        let is_done = self.take_turn(now, id);
        self.count_backlog(now, id);
        if is_done {
            self.backlog.remove(&id);
            if self.connections.get(&id).is_some_and(|connection| connection.is_lost) {
                self.session(now, id, SessionInput::ConnectionLost);
            }
            return;
        }
        self.backlog.insert(id);
        self.check_backlog(now, id);
    }

    /// Takes a frame.
    pub(crate) fn received(&mut self, now: UnixMillis, id: ConnectionId, bytes: bytes::Bytes) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.push(bytes);
        self.work_on(now, id);
    }

    /// What a connection has left for later, and what all of them have, is bounded.
    fn count_backlog(&mut self, now: UnixMillis, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            let waiting = connection.backlog_bytes();
            self.backlog_bytes = self.backlog_bytes + waiting - connection.counted_backlog;
            connection.counted_backlog = waiting;
        }
        while self.backlog_bytes > self.settings.limits.maximum_backlog_bytes_of_all {
            let weight = |connection: &Connection| (connection.client_id.is_none(), connection.counted_backlog);
            let most = self.connections.values().filter(|c| c.counted_backlog > 0).max_by_key(|c| weight(c));
            let Some(id) = most.map(|connection| connection.id) else { return };
            self.end(now, id, ReasonCode::QuotaExceeded, "the node has no room for the rest of so large a packet");
            // Whatever became of it, it isn't counted any more.
            if let Some(connection) = self.connections.get_mut(&id) {
                self.backlog_bytes = self.backlog_bytes.saturating_sub(connection.counted_backlog);
                connection.counted_backlog = 0;
            }
        }
    }

    fn check_backlog(&mut self, now: UnixMillis, id: ConnectionId) {
        let waiting = self.connections.get(&id).map_or(0, Connection::backlog_bytes);
        if waiting > self.settings.limits.maximum_backlog_bytes {
            let reason = "more is sent than this connection may send";
            self.session(now, id, SessionInput::End { reason_code: ReasonCode::MessageRateTooHigh, reason });
        }
    }

    /// Returns whether everything has been worked on.
    fn take_turn(&mut self, now: UnixMillis, id: ConnectionId) -> bool {
        self.touched.insert(id);
        for _ in 0..self.settings.limits.packets_per_turn.max(1) {
            // Looked up again each time: a packet can end the connection.
            let Some(connection) = self.connections.get_mut(&id) else { return true };
            let Some(input) = connection.next_input() else { return true };
            connection.heard();
            match input {
                SessionInput::Packet(Packet::Publish(publish)) if connection.session.client_id().is_some() => {
                    self.client_published(now, id, publish);
                    continue;
                }
                other => {
                    if let SessionInput::Packet(Packet::PubAck(ack)) = &other {
                        self.note_puback(id, ack.packet_id);
                    }
                    self.session(now, id, other);
                }
            }
            self.drain(now);
        }
        self.connections.get(&id).is_none_or(|connection| connection.backlog_bytes() == 0)
    }

    /// Gives everybody a turn who could not finish in the last one.
    pub(crate) fn work_on_backlog(&mut self, now: UnixMillis) {
        for id in self.backlog.clone() {
            self.work_on(now, id);
        }
    }

    /// Whether a publish of this weight may begin; else what becomes of it is decided by its QoS.
    pub(crate) fn has_budget(&self, id: ConnectionId, weight: usize) -> bool {
        let limits = &self.settings.limits;
        self.has_room_for(weight)
            && self.connections.get(&id).is_some_and(|connection| {
                connection.pending < limits.maximum_pending_per_connection
                    && connection.pending_bytes + weight <= limits.maximum_pending_bytes_per_connection
            })
    }

    /// Whether the node has room for another publish of this weight.
    pub(crate) fn has_room_for(&self, weight: usize) -> bool {
        self.publishes.bytes() + weight <= self.settings.limits.maximum_pending_bytes
    }

    /// Whether a message for this connection is worth sending: `false` when its client seems not to read any more.
    pub(crate) fn is_heard(&mut self, now: UnixMillis, id: ConnectionId, weight: usize, is_droppable: bool) -> bool {
        let limit = self.settings.limits.maximum_unheard_bytes;
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        if connection.unheard_bytes() + weight <= limit {
            return true;
        }
        connection.note_unheard(weight);
        if connection.unheard_bytes() > limit.saturating_mul(2) {
            let reason = "much was sent and nothing was heard";
            self.session(now, id, SessionInput::End { reason_code: ReasonCode::QuotaExceeded, reason });
            return false;
        }
        !is_droppable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_its_rate() {
        let mut bucket = TokenBucket::new(10, UnixMillis(1_000));
        let taken = |bucket: &mut TokenBucket, now| (0..100).filter(|_| bucket.take(UnixMillis(now))).count();
        for (now, expected) in [(1_000, 10), (1_000, 0), (1_099, 0), (1_100, 1), (1_350, 2), (1_399, 0), (9_000, 10)] {
            assert_eq!(taken(&mut bucket, now), expected, "at {now}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let mut bucket = TokenBucket::new(1, UnixMillis(5_000));
        assert!(bucket.take(UnixMillis(5_000)));
        assert!(!bucket.take(UnixMillis(1_000)));
        assert!(!bucket.take(UnixMillis(5_999)));
        assert!(bucket.take(UnixMillis(6_000)));
    }
}
