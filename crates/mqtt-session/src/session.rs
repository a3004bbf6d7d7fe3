//! The state machine of one connection.

mod aliases;
mod authenticating;
mod closing;
mod connecting;
mod delivering;
mod publishing;
mod subscribing;

use crate::io::{Input, Output};
use crate::outbound::Outbound;
use crate::rate::Bucket;
use crate::session::aliases::{IncomingAliases, OutgoingAliases};
use crate::session::authenticating::{Authentication, Turn};
use crate::session::connecting::Connecting;
use crate::snapshot::SessionSnapshot;
use crate::unsettled::Unsettled;
use crate::{SessionSettings, SubscriptionOptions, Subscriptions};
use iot_types::{ClientId, PacketId, UnixMillis};
use mqtt_codec::{AckProperties, ByteString, Packet, ProtocolVersion, ReasonCode, encoded_len};
use std::collections::BTreeSet;

/// One MQTT connection; of a session that ends with it also the session, of a durable one the half that can be lost.
#[derive(Debug)]
pub struct Session {
    settings: SessionSettings,
    phase: Phase,
    last_heard: UnixMillis,
    /// What a snapshot holds has changed.
    is_changed: bool,
}

#[derive(Debug)]
enum Phase {
    /// The socket is open; the first packet must be CONNECT ([MQTT-3.1.0-1]).
    AwaitingConnect { since: UnixMillis },
    /// CONNECT has been given out for authentication.
    Connecting(Box<Connecting>),
    /// CONNACK has been sent.
    Connected(Box<Connected>),
    /// Nothing is read or sent any more.
    Closed,
}

/// What CONNECT settled.
#[derive(Clone, Debug)]
struct Negotiated {
    is_v5: bool,
    keep_alive: u16,
    /// As asked; whether DISCONNECT may change it depends on that, not on what was granted.
    session_expiry: u32,
    receive_maximum: u16,
    maximum_packet_size: Option<u32>,
    problem_information: bool,
    /// The client's.
    topic_alias_maximum: u16,
    authentication_method: Option<ByteString>,
}

#[derive(Debug)]
struct Connected {
    negotiated: Negotiated,
    client_id: ClientId,
    is_durable: bool,
    subscriptions: Subscriptions,
    /// Not used in a durable session: there it is the Sessions shard's.
    outbound: Outbound,
    outgoing_aliases: OutgoingAliases,
    incoming_aliases: IncomingAliases,
    unsettled: Unsettled,
    /// Packet identifiers of QoS 2 for which PUBREC was sent and PUBREL has not come. In a durable session those of
    /// this connection only, for flow control: the shard knows them all.
    received: BTreeSet<PacketId>,
    /// PUBRELs given out.
    releasing: BTreeSet<PacketId>,
    /// SUBSCRIBEs and UNSUBSCRIBEs given out and not yet answered.
    subscribing: BTreeSet<PacketId>,
    reauthentication: Option<Authentication>,
    publish_rate: Bucket,
    publish_bytes_rate: Bucket,
}

/// How long a connection may take to send its CONNECT and to be accepted, and for each step of an authentication, in
/// milliseconds.
const STEP_MILLIS: u64 = 15_000;

impl Session {
    /// A session for a socket that has just been opened.
    #[must_use]
    pub const fn new(settings: SessionSettings, now: UnixMillis) -> Self {
        Self { settings, phase: Phase::AwaitingConnect { since: now }, last_heard: now, is_changed: false }
    }

    /// A session as it was when its snapshot was taken.
    #[must_use]
    pub fn restore(settings: SessionSettings, snapshot: SessionSnapshot) -> Self {
        let negotiated = Negotiated {
            is_v5: snapshot.is_v5,
            keep_alive: snapshot.keep_alive,
            session_expiry: snapshot.session_expiry,
            receive_maximum: snapshot.receive_maximum,
            maximum_packet_size: snapshot.maximum_packet_size,
            problem_information: snapshot.problem_information,
            topic_alias_maximum: snapshot.topic_alias_maximum,
            authentication_method: snapshot.authentication_method.map(ByteString::from),
        };
        let mut connected =
            Connected::new(&settings, negotiated, snapshot.client_id, snapshot.is_durable, snapshot.subscriptions);
        connected.incoming_aliases = IncomingAliases::restore(snapshot.topic_aliases);
        for name in snapshot.recent {
            connected.outbound.restore_recent(name);
        }
        let phase = Phase::Connected(Box::new(connected));
        Self { settings, phase, last_heard: snapshot.last_heard, is_changed: false }
    }

    /// What to store so that the session survives its object's sleep; `None` before CONNACK and after closing.
    #[must_use]
    pub fn snapshot(&self) -> Option<SessionSnapshot> {
        // As many as fit beside the rest into what a socket may keep.
        const RECENT: usize = 64;
        let connected = self.connected()?;
        let negotiated = &connected.negotiated;
        let excess = connected.outbound.recent().count().saturating_sub(RECENT);
        Some(SessionSnapshot {
            client_id: connected.client_id.clone(),
            is_v5: negotiated.is_v5,
            is_durable: connected.is_durable,
            session_expiry: negotiated.session_expiry,
            keep_alive: negotiated.keep_alive,
            last_heard: self.last_heard,
            receive_maximum: negotiated.receive_maximum,
            maximum_packet_size: negotiated.maximum_packet_size,
            problem_information: negotiated.problem_information,
            topic_alias_maximum: negotiated.topic_alias_maximum,
            topic_aliases: connected.incoming_aliases.entries(),
            authentication_method: negotiated.authentication_method.as_deref().map(str::to_owned),
            subscriptions: connected.subscriptions.clone(),
            recent: connected.outbound.recent().skip(excess).collect(),
            is_dirty: !self.is_at_rest(),
        })
    }

    /// Whether a snapshot holds everything there is: nothing is unacknowledged, queued or under way, in either
    /// direction. In a durable session this is without what its Sessions shard has.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        match &self.phase {
            Phase::AwaitingConnect { .. } | Phase::Connecting(_) => false,
            Phase::Connected(connected) => {
                connected.outbound.is_idle()
                    && connected.unsettled.is_empty()
                    && (connected.is_durable || connected.received.is_empty())
                    && connected.releasing.is_empty()
                    && connected.subscribing.is_empty()
                    && connected.reauthentication.is_none()
            }
            Phase::Closed => true,
        }
    }

    /// Whether what a snapshot holds has changed since the last call, when it was last heard apart: a snapshot stored
    /// before is out of date, although it need not have been dirty.
    pub const fn take_changed(&mut self) -> bool {
        core::mem::replace(&mut self.is_changed, false)
    }

    /// The client id, once accepted.
    #[must_use]
    pub fn client_id(&self) -> Option<&ClientId> {
        self.connected().map(|connected| &connected.client_id)
    }

    /// Whether the session outlives the connection; `false` before it is accepted.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.connected().is_some_and(|connected| connected.is_durable)
    }

    /// The subscriptions in force; empty unless connected.
    pub fn subscriptions(&self) -> impl Iterator<Item = (&str, SubscriptionOptions)> {
        let subscriptions = self.connected().into_iter().flat_map(|connected| connected.subscriptions.iter());
        subscriptions.map(|(filter, options)| (filter.as_str(), *options))
    }

    /// The options of the subscription with this filter, if there is one.
    #[must_use]
    pub fn subscription(&self, filter: &str) -> Option<SubscriptionOptions> {
        self.connected()?.subscriptions.get(filter).copied()
    }

    /// Whether a message of QoS 1 or 2 and this weight would be sent or queued rather than dropped. A durable session
    /// has its queue elsewhere.
    #[must_use]
    pub fn can_take(&self, weight: usize) -> bool {
        self.connected().is_some_and(|connected| !connected.is_durable && connected.outbound.can_take(weight))
    }

    /// Whether a message of QoS 1 or 2 would be sent to the client at once: a member of a shared group with room.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.connected().is_some_and(|connected| connected.outbound.has_room())
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
            Phase::Connecting(connecting) => connecting.negotiated.is_v5,
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
        self.connected().map_or(0, |connected| connected.negotiated.keep_alive)
    }

    /// When [`Input::Tick`] is due at the latest; may be later at the next call.
    #[must_use]
    pub fn next_timeout(&self) -> Option<UnixMillis> {
        match &self.phase {
            Phase::AwaitingConnect { since } => Some(since.plus_millis(STEP_MILLIS)),
            Phase::Connecting(connecting) => Some(connecting.since.plus_millis(STEP_MILLIS)),
            Phase::Connected(connected) => {
                // One and a half times the keep-alive [MQTT-3.1.2-22].
                let keep_alive = u64::from(connected.negotiated.keep_alive);
                let silence = (keep_alive > 0).then(|| self.last_heard.plus_millis(keep_alive * 1_500));
                let step = connected.reauthentication.as_ref().map(|step| step.since.plus_millis(STEP_MILLIS));
                silence.into_iter().chain(step).min()
            }
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
            Input::Accepted { client_id, assigned, session, authentication_data } => {
                self.accepted(client_id, assigned, session, authentication_data, now, out);
            }
            Input::AuthContinue { data } => self.continue_authentication(data, now, out),
            Input::Reauthenticated { data } => self.reauthenticated(data, out),
            Input::Settled { packet_id, reason_code } => self.settled(packet_id, reason_code, out),
            Input::Subscribed { packet_id, reason_codes } => self.subscribed(packet_id, reason_codes, out),
            Input::Unsubscribed { packet_id, reason_codes } => self.unsubscribed(packet_id, reason_codes, out),
            Input::Released { packet_id } => self.released(packet_id, out),
            Input::Deliver(delivery) => self.deliver(delivery, now, out),
            Input::Relay(outgoing) => self.relay(outgoing, now, out),
            Input::End { reason_code, reason } => self.end(reason_code, reason, out),
            Input::ConnectionLost => self.lose(out),
            Input::Tick => self.tick(now, out),
        }
    }

    fn packet(&mut self, packet: Packet, now: UnixMillis, out: &mut Vec<Output>) {
        match self.phase {
            Phase::AwaitingConnect { .. } => match packet {
                Packet::Connect(connect) => self.connect(connect, now, out),
                _ => self.close(ReasonCode::ProtocolError, "[MQTT-3.1.0-1] the first packet is not CONNECT", out),
            },
            Phase::Connecting(_) => self.early_packet(packet, now, out),
            Phase::Connected(_) => self.connected_packet(packet, now, out),
            Phase::Closed => {}
        }
    }

    fn connected_packet(&mut self, packet: Packet, now: UnixMillis, out: &mut Vec<Output>) {
        match packet {
            Packet::Publish(publish) => self.publish(publish, now, out),
            Packet::PubAck(ack) => self.puback(ack.packet_id, now, out),
            Packet::PubRec(ack) => self.pubrec(ack.packet_id, ack.reason_code, now, out),
            Packet::PubRel(ack) => self.pubrel(ack.packet_id, out),
            Packet::PubComp(ack) => self.pubcomp(ack.packet_id, now, out),
            Packet::Subscribe(subscribe) => self.subscribe(subscribe, out),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe, out),
            Packet::PingReq => out.push(Output::Send(Packet::PingResp)),
            Packet::Disconnect(disconnect) => self.disconnect(&disconnect, out),
            Packet::Auth(auth) => self.auth(auth, now, out),
            Packet::Connect(_) => self.end(ReasonCode::ProtocolError, "[MQTT-3.1.0-2] a second CONNECT", out),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                self.end(ReasonCode::ProtocolError, "a packet that only a server may send", out);
            }
        }
    }

    fn tick(&mut self, now: UnixMillis, out: &mut Vec<Output>) {
        if self.next_timeout().is_none_or(|timeout| timeout > now) {
            return;
        }
        match &self.phase {
            Phase::AwaitingConnect { .. } => self.close(ReasonCode::KeepAliveTimeout, "no CONNECT came in time", out),
            Phase::Connecting(connecting) if connecting.turn == Some(Turn::Client) => {
                self.end(ReasonCode::NotAuthorized, "section 4.12: no AUTH came in time", out);
            }
            Phase::Connecting(_) => {
                self.end(ReasonCode::ServerUnavailable, "the connection could not be set up", out);
            }
            Phase::Connected(connected) => {
                let is_step =
                    connected.reauthentication.as_ref().is_some_and(|step| now.millis_since(step.since) >= STEP_MILLIS);
                if is_step {
                    self.end(ReasonCode::NotAuthorized, "section 4.12.1: the re-authentication took too long", out);
                } else {
                    let reason = "[MQTT-3.1.2-22] nothing heard within the keep-alive";
                    self.end(ReasonCode::KeepAliveTimeout, reason, out);
                }
            }
            Phase::Closed => {}
        }
    }

    fn connected(&self) -> Option<&Connected> {
        match &self.phase {
            Phase::Connected(connected) => Some(connected),
            Phase::AwaitingConnect { .. } | Phase::Connecting(_) | Phase::Closed => None,
        }
    }

    fn connected_mut(&mut self) -> Option<&mut Connected> {
        match &mut self.phase {
            Phase::Connected(connected) => Some(connected),
            Phase::AwaitingConnect { .. } | Phase::Connecting(_) | Phase::Closed => None,
        }
    }

    /// Sends an acknowledgement that grows with the request; a client without room for it would wait for ever.
    fn answer(&mut self, packet: Packet, out: &mut Vec<Output>) {
        let Some(connected) = self.connected() else { return };
        if connected.negotiated.takes(&packet) {
            out.push(Output::Send(packet));
        } else {
            self.end(ReasonCode::PacketTooLarge, "[MQTT-3.1.2-24] the answer is larger than the client takes", out);
        }
    }
}

impl Connected {
    fn new(
        settings: &SessionSettings,
        negotiated: Negotiated,
        client_id: ClientId,
        is_durable: bool,
        subscriptions: Subscriptions,
    ) -> Self {
        let aliases = negotiated.topic_alias_maximum.min(settings.outgoing_topic_aliases);
        Self {
            client_id,
            is_durable,
            subscriptions,
            outbound: Outbound::new(settings.outbound(negotiated.receive_maximum)),
            negotiated,
            outgoing_aliases: OutgoingAliases::new(aliases),
            incoming_aliases: IncomingAliases::default(),
            unsettled: Unsettled::default(),
            received: BTreeSet::new(),
            releasing: BTreeSet::new(),
            subscribing: BTreeSet::new(),
            reauthentication: None,
            publish_rate: Bucket::default(),
            publish_bytes_rate: Bucket::default(),
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

    /// The packet with a reason in words if the client wants it ([MQTT-3.1.2-29]) and has room for it ([MQTT-3.2.2-19],
    /// [MQTT-3.4.2-2], [MQTT-3.5.2-2], [MQTT-3.9.2-1], [MQTT-3.11.2-1], [MQTT-3.14.2-3]), else without.
    fn in_words(&self, reason: &'static str, packet: impl Fn(Option<ByteString>) -> Packet) -> Packet {
        let in_words = (self.is_v5 && self.problem_information && !reason.is_empty())
            .then(|| packet(Some(ByteString::from_static(reason))));
        in_words.filter(|packet| self.takes(packet)).unwrap_or_else(|| packet(None))
    }

    /// An acknowledgement; the first error among its reason codes is told in words, too.
    fn acknowledgement(&self, reason_codes: &[ReasonCode], packet: impl Fn(AckProperties) -> Packet) -> Packet {
        let error = reason_codes.iter().find(|reason_code| reason_code.is_error());
        self.in_words(error.map_or("", |error| error.text()), |reason_string| {
            packet(AckProperties { reason_string, ..AckProperties::default() })
        })
    }
}

#[cfg(test)]
mod tests;
