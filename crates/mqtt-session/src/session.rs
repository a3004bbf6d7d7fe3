//! The state machine of one connection.

mod connected;
mod connecting;

use crate::io::{Disconnection, Input, Output, Subscriptions, WillMessage};
use crate::outbound::Outbound;
use crate::snapshot::SessionSnapshot;
use crate::unsettled::Unsettled;
use crate::{SessionSettings, SubscriptionOptions};
use iot_types::{ClientId, UnixMillis};
use mqtt_codec::{
    ByteString, ConnAck, ConnAckProperties, Disconnect, DisconnectProperties, Packet, PacketType, ProtocolVersion,
    ReasonCode, encoded_len,
};
use std::collections::VecDeque;

/// One MQTT connection and, since only clean sessions exist so far, its session.
#[derive(Debug)]
pub struct Session {
    settings: SessionSettings,
    phase: Phase,
    last_heard: UnixMillis,
}

#[derive(Debug)]
enum Phase {
    /// The socket is open; the first packet must be CONNECT ([MQTT-3.1.0-1]).
    AwaitingConnect { since: UnixMillis },
    /// CONNECT has been given out for authentication; packets that follow it wait.
    Connecting { connect: Box<Negotiated>, early: Early, since: UnixMillis },
    /// CONNACK has been sent.
    Connected(Box<Connected>),
    /// Nothing is read or sent any more.
    Closed,
}

/// Packets that came before CONNACK, oldest first.
#[derive(Debug, Default)]
struct Early {
    packets: VecDeque<Packet>,
    bytes: usize,
}

/// What CONNECT settled.
#[derive(Debug)]
struct Negotiated {
    is_v5: bool,
    asked_keep_alive: u16,
    keep_alive: u16,
    asked_session_expiry: bool,
    receive_maximum: u16,
    maximum_packet_size: Option<u32>,
    problem_information: bool,
    will: Option<WillMessage>,
}

#[derive(Debug)]
struct Connected {
    negotiated: Negotiated,
    client_id: ClientId,
    subscriptions: Subscriptions,
    outbound: Outbound,
    unsettled: Unsettled,
    /// SUBSCRIBEs given out and not yet in force.
    subscribing: usize,
}

/// How long a connection may take to send its CONNECT and to be accepted, in milliseconds.
const CONNECT_MILLIS: u64 = 15_000;

impl Session {
    /// A session for a socket that has just been opened.
    #[must_use]
    pub const fn new(settings: SessionSettings, now: UnixMillis) -> Self {
        Self { settings, phase: Phase::AwaitingConnect { since: now }, last_heard: now }
    }

    /// A session as it was when its snapshot was taken.
    #[must_use]
    pub fn restore(settings: SessionSettings, snapshot: SessionSnapshot) -> Self {
        let window = snapshot.receive_maximum.min(settings.maximum_inflight);
        let negotiated = Negotiated {
            is_v5: snapshot.is_v5,
            asked_keep_alive: snapshot.keep_alive,
            keep_alive: snapshot.keep_alive,
            asked_session_expiry: snapshot.asked_session_expiry,
            receive_maximum: snapshot.receive_maximum,
            maximum_packet_size: snapshot.maximum_packet_size,
            problem_information: snapshot.problem_information,
            will: snapshot.will,
        };
        let connected = Connected {
            negotiated,
            client_id: snapshot.client_id,
            subscriptions: snapshot.subscriptions,
            outbound: Outbound::new(window),
            unsettled: Unsettled::default(),
            subscribing: 0,
        };
        Self { settings, phase: Phase::Connected(Box::new(connected)), last_heard: snapshot.last_heard }
    }

    /// What to store so that the session survives its object's sleep; `None` before CONNACK and after closing.
    #[must_use]
    pub fn snapshot(&self) -> Option<SessionSnapshot> {
        let Phase::Connected(connected) = &self.phase else { return None };
        let negotiated = &connected.negotiated;
        Some(SessionSnapshot {
            client_id: connected.client_id.clone(),
            is_v5: negotiated.is_v5,
            asked_session_expiry: negotiated.asked_session_expiry,
            keep_alive: negotiated.keep_alive,
            last_heard: self.last_heard,
            receive_maximum: negotiated.receive_maximum,
            maximum_packet_size: negotiated.maximum_packet_size,
            problem_information: negotiated.problem_information,
            subscriptions: connected.subscriptions.clone(),
            will: negotiated.will.clone(),
            is_dirty: !self.is_at_rest(),
        })
    }

    /// Whether a snapshot holds everything there is: nothing is unacknowledged, queued or under way.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        match &self.phase {
            Phase::AwaitingConnect { .. } | Phase::Connecting { .. } => false,
            Phase::Connected(connected) => {
                connected.outbound.is_idle() && connected.unsettled.is_empty() && connected.subscribing == 0
            }
            Phase::Closed => true,
        }
    }

    /// The client id, once accepted.
    #[must_use]
    pub fn client_id(&self) -> Option<&ClientId> {
        match &self.phase {
            Phase::Connected(connected) => Some(&connected.client_id),
            Phase::AwaitingConnect { .. } | Phase::Connecting { .. } | Phase::Closed => None,
        }
    }

    /// The subscriptions in force; empty unless connected.
    pub fn subscriptions(&self) -> impl Iterator<Item = (&str, SubscriptionOptions)> {
        let connected = match &self.phase {
            Phase::Connected(connected) => Some(connected),
            Phase::AwaitingConnect { .. } | Phase::Connecting { .. } | Phase::Closed => None,
        };
        connected.into_iter().flat_map(|c| c.subscriptions.iter()).map(|(filter, options)| (filter.as_str(), *options))
    }

    /// Whether the session has ended.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether this is an MQTT 5.0 connection, where refusals can be told; `false` before CONNECT.
    #[must_use]
    pub fn is_v5(&self) -> bool {
        match &self.phase {
            Phase::Connected(connected) => connected.negotiated.is_v5,
            Phase::Connecting { connect, .. } => connect.is_v5,
            Phase::AwaitingConnect { .. } | Phase::Closed => false,
        }
    }

    /// When the client was last heard.
    #[must_use]
    pub const fn last_heard(&self) -> UnixMillis {
        self.last_heard
    }

    /// The keep-alive in seconds that was settled; zero for none or before CONNACK.
    #[must_use]
    pub fn keep_alive(&self) -> u16 {
        match &self.phase {
            Phase::Connected(connected) => connected.negotiated.keep_alive,
            Phase::AwaitingConnect { .. } | Phase::Connecting { .. } | Phase::Closed => 0,
        }
    }

    /// When [`Input::Tick`] is due at the latest; may be later at the next call.
    #[must_use]
    pub fn next_timeout(&self) -> Option<UnixMillis> {
        match &self.phase {
            Phase::AwaitingConnect { since } | Phase::Connecting { since, .. } => {
                Some(since.plus_millis(CONNECT_MILLIS))
            }
            // One and a half times the keep-alive [MQTT-3.1.2-22].
            Phase::Connected(connected) => match connected.negotiated.keep_alive {
                0 => None,
                secs => Some(self.last_heard.plus_millis(u64::from(secs) * 1_500)),
            },
            Phase::Closed => None,
        }
    }

    /// Takes one input and appends what follows from it.
    pub fn handle(&mut self, now: UnixMillis, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Packet(packet) => {
                self.last_heard = now;
                self.packet(packet, now, out);
            }
            Input::Undecodable(error) => self.undecodable(&error, out),
            Input::Accepted { client_id, assigned } => self.accepted(client_id, assigned, now, out),
            Input::Settled { packet_id, reason_code } => self.settled(packet_id, reason_code, out),
            Input::Subscribed { packet_id, reason_codes } => self.subscribed(packet_id, reason_codes, out),
            Input::Deliver(delivery) => self.deliver(delivery, now, out),
            Input::End { reason_code, reason } => self.end(reason_code, reason, out),
            Input::ConnectionLost => self.close(ReasonCode::UnspecifiedError, "the connection was lost", out),
            Input::Tick => self.tick(now, out),
        }
    }

    fn packet(&mut self, packet: Packet, now: UnixMillis, out: &mut Vec<Output>) {
        match &mut self.phase {
            Phase::AwaitingConnect { .. } => match packet {
                Packet::Connect(connect) => self.connect(connect, now, out),
                _ => self.close(ReasonCode::ProtocolError, "[MQTT-3.1.0-1] the first packet is not CONNECT", out),
            },
            Phase::Connecting { connect, early, .. } => {
                let bytes = early.bytes.saturating_add(encoded_len(&packet, connect.version()));
                let has_room = early.packets.len() < self.settings.maximum_early_packets
                    && bytes <= self.settings.maximum_early_bytes;
                if has_room {
                    early.packets.push_back(packet);
                    early.bytes = bytes;
                } else {
                    self.end(ReasonCode::QuotaExceeded, "too much was sent before CONNACK", out);
                }
            }
            Phase::Connected(_) => self.connected_packet(packet, now, out),
            Phase::Closed => {}
        }
    }

    /// Tells the client why, as far as its version and the phase allow, and closes.
    fn end(&mut self, reason_code: ReasonCode, reason: &'static str, out: &mut Vec<Output>) {
        match &self.phase {
            Phase::Connecting { connect, .. } => {
                connect.say_why(reason, out, |reason_string| {
                    let properties = ConnAckProperties { reason_string, ..ConnAckProperties::default() };
                    let reason_code = fit_for(PacketType::ConnAck, reason_code);
                    Packet::ConnAck(ConnAck { session_present: false, reason_code, properties })
                });
            }
            Phase::Connected(connected) if connected.negotiated.is_v5 => {
                connected.negotiated.say_why(reason, out, |reason_string| {
                    let properties = DisconnectProperties { reason_string, ..DisconnectProperties::default() };
                    let reason_code = fit_for(PacketType::Disconnect, reason_code);
                    Packet::Disconnect(Disconnect { reason_code, properties })
                });
            }
            Phase::Connected(_) | Phase::AwaitingConnect { .. } | Phase::Closed => {}
        }
        self.close(reason_code, reason, out);
    }

    fn close(&mut self, reason_code: ReasonCode, reason: &'static str, out: &mut Vec<Output>) {
        let mut ended = Disconnection {
            reason_code,
            reason,
            client_initiated: false,
            will: None,
            client_id: None,
            subscriptions: Subscriptions::new(),
        };
        match core::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Connected(connected) => {
                ended.will = connected.negotiated.will;
                ended.client_id = Some(connected.client_id);
                ended.subscriptions = connected.subscriptions;
            }
            Phase::AwaitingConnect { .. } | Phase::Connecting { .. } => {}
            Phase::Closed => return,
        }
        out.push(Output::Close(ended));
    }

    fn tick(&mut self, now: UnixMillis, out: &mut Vec<Output>) {
        if self.next_timeout().is_none_or(|timeout| timeout > now) {
            return;
        }
        match self.phase {
            Phase::AwaitingConnect { .. } => self.close(ReasonCode::KeepAliveTimeout, "no CONNECT came in time", out),
            Phase::Connecting { .. } => {
                self.end(ReasonCode::ServerUnavailable, "the connection could not be set up", out)
            }
            Phase::Connected(_) => {
                self.end(ReasonCode::KeepAliveTimeout, "[MQTT-3.1.2-22] nothing heard within the keep-alive", out);
            }
            Phase::Closed => {}
        }
    }
}

impl Negotiated {
    const fn version(&self) -> ProtocolVersion {
        if self.is_v5 { ProtocolVersion::V5 } else { ProtocolVersion::V3_1_1 }
    }

    /// Whether the client takes a packet of this size ([MQTT-3.1.2-24]).
    fn takes(&self, packet: &Packet) -> bool {
        self.maximum_packet_size
            .is_none_or(|maximum| encoded_len(packet, self.version()) <= usize::try_from(maximum).unwrap_or(usize::MAX))
    }

    /// Sends the last packet: with the reason in words if the client wants it and has room for it ([MQTT-3.2.2-19],
    /// [MQTT-3.14.2-3]), else without, else not at all.
    fn say_why(&self, reason: &'static str, out: &mut Vec<Output>, packet: impl Fn(Option<ByteString>) -> Packet) {
        let in_words = (self.is_v5 && self.problem_information).then(|| packet(Some(reason.into())));
        let last = in_words.filter(|packet| self.takes(packet)).unwrap_or_else(|| packet(None));
        if self.takes(&last) {
            out.push(Output::Send(last));
        }
    }
}

/// The Reason Code as the packet may carry it ([MQTT-3.2.2-8], [MQTT-3.14.2-1]).
fn fit_for(packet: PacketType, reason_code: ReasonCode) -> ReasonCode {
    if reason_code.is_allowed_in(packet) { reason_code } else { ReasonCode::UnspecifiedError }
}

#[cfg(test)]
mod tests;
