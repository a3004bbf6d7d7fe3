//! The end of a connection: what its client is told, what its Sessions shard is told, and what goes with it.

use crate::broker::Broker;
use crate::io::{LogEvent, Output};
use crate::token::Token;
use iot_types::{ClientId, UnixMillis};
use messages::address::Address;
use messages::broker::{ConnectionId, FenceReason};
use messages::channel::Undelivered;
use messages::session::Ending;
use messages::sessions::SessionsRequest;
use messages::{Reply, Request};
use mqtt_codec::ReasonCode;
use mqtt_session::{Disconnection, Input as SessionInput};
use std::collections::{BTreeMap, VecDeque};

/// Wait before a Sessions shard that could not be told of an ending is told again, in milliseconds.
const RETRY_MILLIS: u64 = 1_000;

/// How long the answer to the claim of a connection that is gone is waited for, in milliseconds.
pub const ABANDONED_MILLIS: u64 = 60_000;

/// Most endings that wait for a Sessions shard. What is dropped beyond it the shard finds out by asking.
const MAXIMUM_ENDINGS: usize = 16_384;

/// How long an ending that nothing depends on but a lifecycle event waits for a claim to travel with, in milliseconds:
/// clients that come and go would cost a call and a transaction each time they go.
const HELD_MILLIS: u64 = 20;

/// Most endings that wait for that.
const MAXIMUM_HELD: usize = 512;

/// Endings that their Sessions shards don't know yet: wills and lifecycle events depend on them.
#[derive(Default)]
pub struct Endings {
    /// To be told soon, by the shard.
    held: BTreeMap<Address, Vec<(ClientId, u64, Ending)>>,
    held_count: usize,
    held_until: Option<UnixMillis>,
    /// Could not be told.
    untold: VecDeque<(ClientId, u64, Ending)>,
    retry_at: Option<UnixMillis>,
}

impl Endings {
    pub fn is_empty(&self) -> bool {
        self.untold.is_empty() && self.held.is_empty()
    }

    pub fn retry_at(&self) -> Option<UnixMillis> {
        self.retry_at.into_iter().chain(self.held_until).min()
    }

    fn hold(&mut self, now: UnixMillis, target: Address, ending: (ClientId, u64, Ending)) {
        self.held.entry(target).or_default().push(ending);
        self.held_count += 1;
        self.held_until.get_or_insert(now.plus_millis(HELD_MILLIS));
    }

    fn take_held(&mut self, target: &Address) -> Vec<(ClientId, u64, Ending)> {
        let held = self.held.remove(target).unwrap_or_default();
        self.held_count -= held.len();
        if self.held.is_empty() {
            self.held_until = None;
        }
        held
    }

    fn take_all_held(&mut self) -> impl Iterator<Item = (ClientId, u64, Ending)> + use<> {
        self.held_count = 0;
        self.held_until = None;
        core::mem::take(&mut self.held).into_values().flatten()
    }

    fn keep(&mut self, now: UnixMillis, client_id: ClientId, number: u64, ending: Ending) {
        if self.untold.len() >= MAXIMUM_ENDINGS {
            self.untold.pop_front();
        }
        self.untold.push_back((client_id, number, ending));
        self.retry_at.get_or_insert(now.plus_millis(RETRY_MILLIS));
    }
}

impl Broker {
    /// Ends a connection, or refuses its CONNECT.
    pub(crate) fn end(&mut self, now: UnixMillis, id: ConnectionId, reason_code: ReasonCode, reason: &'static str) {
        self.session(now, id, SessionInput::End { reason_code, reason });
    }

    /// Another connection has the client id now ([MQTT-3.1.4-3]).
    pub(crate) fn take_over(&mut self, now: UnixMillis, id: ConnectionId) {
        self.end(now, id, ReasonCode::SessionTakenOver, "another connection uses this client identifier");
    }

    /// A Sessions shard closes a connection.
    pub(crate) fn fence(&mut self, now: UnixMillis, id: ConnectionId, client_id: &ClientId, reason: FenceReason) {
        let Some(connection) = self.connections.get_mut(&id).filter(|c| c.is_of(client_id)) else {
            // The shard is about to believe that it has only just ended.
            return self.tell_all_held(now);
        };
        // Somebody waits for it.
        connection.is_ending_urgent = true;
        match reason {
            FenceReason::TakenOver => self.take_over(now, id),
            FenceReason::Administrative { prevents_will } => {
                connection.prevents_will = prevents_will;
                self.end(now, id, ReasonCode::AdministrativeAction, "the connection was deleted");
            }
        }
    }

    pub(crate) fn closed(&mut self, now: UnixMillis, id: ConnectionId, disconnection: Disconnection) {
        self.tell_acknowledgements(now, id);
        let Some(mut connection) = self.connections.remove(&id) else { return };
        self.restless.remove(&id);
        self.backlog.remove(&id);
        self.backlog_bytes = self.backlog_bytes.saturating_sub(connection.counted_backlog);
        self.outputs.push(Output::Log(LogEvent {
            event: "disconnected",
            trace_id: connection.grant.trace_id.clone(),
            client_id: disconnection
                .client_id
                .as_ref()
                .or(connection.claiming.as_ref().map(|claiming| &claiming.client_id))
                .map(|client_id| client_id.as_str().to_owned()),
            principal: connection.grant.principal.as_ref().map(|who| who.identifier().to_owned()),
            source_ip: connection.grant.source_ip.map(|ip| ip.to_string()),
            topic: None,
            reason: Some(disconnection.reason),
            reason_code: Some(disconnection.reason_code.as_u8()),
        }));
        if let Some(bytes) = connection.take_frame(&mut self.frames) {
            self.outputs.push(Output::Send { connection: id, bytes });
        }
        if !connection.is_lost {
            let code = if disconnection.client_initiated { 1000 } else { close_code(disconnection.reason_code) };
            self.outputs.push(Output::Close { connection: id, code, reason: disconnection.reason });
        }
        self.forget_subscriber(now, id, &disconnection);
        self.fail_directs_of(id);
        match (connection.client_id.zip(connection.number), connection.claiming) {
            (Some((client_id, number)), _) => {
                let mut ending = disconnection.ending();
                ending.publishes_will &= !connection.prevents_will;
                if connection.is_ending_urgent {
                    return self.give_back(now, client_id, number, ending);
                }
                let target = Address::sessions_of_client(&client_id, &self.settings.sessions_shards);
                self.endings.hold(now, target, (client_id, number, ending));
                if self.endings.held_count >= MAXIMUM_HELD {
                    self.tell_all_held(now);
                }
            }
            (None, Some(claiming)) if claiming.is_asked => {
                // Given back when the answer comes.
                self.abandoned.insert(id, (claiming.client_id, now.plus_millis(ABANDONED_MILLIS)));
            }
            (None, _) => {}
        }
    }

    /// Tells a shard that is about to be asked something which of its connections have ended: it hears of them first.
    pub(crate) fn tell_held(&mut self, now: UnixMillis, target: &Address) {
        for (client_id, number, ending) in self.endings.take_held(target) {
            self.give_back(now, client_id, number, ending);
        }
    }

    fn tell_all_held(&mut self, now: UnixMillis) {
        for (client_id, number, ending) in self.endings.take_all_held() {
            self.give_back(now, client_id, number, ending);
        }
    }

    /// Tells a Sessions shard that a connection has ended.
    pub(crate) fn give_back(&mut self, now: UnixMillis, client_id: ClientId, number: u64, ending: Ending) {
        let target = Address::sessions_of_client(&client_id, &self.settings.sessions_shards);
        let token = Token::Release(Box::new((client_id.clone(), number, ending.clone())));
        let request = SessionsRequest::Release { client_id: client_id.clone(), number, ending: ending.clone() };
        if self.outbox.push(target, Request::Sessions(request), token).is_err() {
            self.endings.keep(now, client_id, number, ending);
        }
    }

    /// A shard has heard of an ending, or could not be told.
    pub(crate) fn give_back_answered(
        &mut self,
        now: UnixMillis,
        (client_id, number, ending): (ClientId, u64, Ending),
        result: Result<Reply, Undelivered>,
    ) {
        match result {
            // That it is over is what it was to be told.
            Ok(_) | Err(Undelivered::Superseded) => {}
            Err(Undelivered::Moved { .. }) => self.give_back(now, client_id, number, ending),
            Err(_) => self.endings.keep(now, client_id, number, ending),
        }
    }

    /// Tries again what could not be told, and stops waiting for claims that nobody decides.
    pub(crate) fn retry_endings(&mut self, now: UnixMillis) {
        self.abandoned.retain(|_, (_, until)| *until > now);
        if self.endings.held_until.is_some_and(|at| at <= now) {
            self.tell_all_held(now);
        }
        if self.endings.retry_at.is_some_and(|at| at <= now) {
            self.endings.retry_at = None;
            for (client_id, number, ending) in core::mem::take(&mut self.endings.untold) {
                self.give_back(now, client_id, number, ending);
            }
        }
    }

    /// This instance has been replaced: whatever it says nobody hears. Its clients find the newer one when they connect
    /// again.
    pub(crate) fn stop(&mut self, now: UnixMillis) {
        if core::mem::replace(&mut self.is_stopped, true) {
            return;
        }
        self.tells_stop = true;
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            self.end(now, id, ReasonCode::ServerBusy, "this node has been replaced; please connect again");
        }
        self.drain(now);
        self.log_platform("node_replaced", "", "another object knows a later instance of this node");
    }
}

/// The WebSocket close code that comes nearest (RFC 6455 section 7.4.1).
const fn close_code(reason_code: ReasonCode) -> u16 {
    match reason_code {
        ReasonCode::MalformedPacket | ReasonCode::ProtocolError => 1002,
        ReasonCode::PacketTooLarge => 1009,
        ReasonCode::ServerBusy
        | ReasonCode::ServerUnavailable
        | ReasonCode::ServerShuttingDown
        | ReasonCode::UseAnotherServer => 1012,
        _ => 1008,
    }
}
