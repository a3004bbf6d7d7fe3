//! The state machine of one connection.

use crate::io::{Delivery, Disconnection, Input, Output, Subscriptions, WillMessage};
use crate::outbound::{Offer, Outbound};
use crate::snapshot::SessionSnapshot;
use crate::{SessionSettings, SubscriptionOptions};
use iot_types::{ClientId, PacketId, Qos, UnixMillis};
use messages::publication::PublicationProperties;
use mqtt_codec::{
    AckProperties, ByteString, ConnAck, ConnAckProperties, Connect, DecodeError, Disconnect, DisconnectProperties,
    Packet, ProtocolVersion, PubAck, Publish, PublishProperties, ReasonCode, SubAck, Subscribe, UnsubAck, Unsubscribe,
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
    Connecting { connect: Box<Negotiated>, early: VecDeque<Packet>, since: UnixMillis },
    /// CONNACK has been sent.
    Connected(Box<Connected>),
    /// Nothing is read or sent any more.
    Closed,
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
    /// PUBACKs leave in the order of the PUBLISHes ([MQTT-4.6.0-2]): settled ones wait for those before them.
    unsettled: VecDeque<(PacketId, Option<ReasonCode>)>,
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
            asked_session_expiry: false,
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
            unsettled: VecDeque::new(),
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
            Phase::Connecting { early, .. } => {
                if early.len() < self.settings.maximum_early_packets {
                    early.push_back(packet);
                } else {
                    self.end(ReasonCode::QuotaExceeded, "too many packets before CONNACK", out);
                }
            }
            Phase::Connected(_) => self.connected_packet(packet, now, out),
            Phase::Closed => {}
        }
    }

    fn connect(&mut self, connect: Connect, now: UnixMillis, out: &mut Vec<Output>) {
        let is_v5 = connect.version == ProtocolVersion::V5;
        let properties = &connect.properties;
        let will = connect.will.as_ref().map(will_message);
        let too_long = connect.client_id.len() > self.settings.maximum_client_id_bytes;
        let will_too_large = will.as_ref().is_some_and(|will| {
            let properties = will.properties.as_ref().map_or(0, |p| {
                p.user_properties.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>()
                    + p.correlation_data.as_ref().map_or(0, bytes::Bytes::len)
                    + p.content_type.as_ref().map_or(0, String::len)
                    + p.response_topic.as_ref().map_or(0, String::len)
            });
            will.topic.len() + will.payload.len() + properties > self.settings.maximum_will_bytes
        });
        let refusal = if connect.client_id.is_empty() && !is_v5 && !connect.clean_start {
            Some((ReasonCode::ClientIdentifierNotValid, "[MQTT-3.1.3-8] an empty client identifier needs Clean Session"))
        } else if too_long {
            Some((ReasonCode::ClientIdentifierNotValid, "the client identifier is too long"))
        } else if properties.authentication_method.is_some() {
            Some((ReasonCode::BadAuthenticationMethod, "[MQTT-4.12.0-1] enhanced authentication is not offered"))
        } else if will.as_ref().is_some_and(|will| will.qos > self.settings.maximum_qos) {
            Some((ReasonCode::QosNotSupported, "[MQTT-3.2.2-12] the Will QoS is higher than the Maximum QoS"))
        } else if will.as_ref().is_some_and(|will| will.retain) && is_v5 {
            Some((ReasonCode::RetainNotSupported, "[MQTT-3.2.2-13] retained messages are not supported"))
        } else if will_too_large {
            Some((ReasonCode::PacketTooLarge, "the Will Message is too large"))
        } else {
            None
        };
        let negotiated = Negotiated {
            is_v5,
            asked_keep_alive: connect.keep_alive,
            keep_alive: self.settings.keep_alive(connect.keep_alive),
            asked_session_expiry: properties.session_expiry_interval.is_some_and(|secs| secs > 0),
            receive_maximum: properties.receive_maximum.unwrap_or(u16::MAX),
            maximum_packet_size: properties.maximum_packet_size,
            problem_information: properties.request_problem_information.unwrap_or(true),
            will,
        };
        self.phase = Phase::Connecting { connect: Box::new(negotiated), early: VecDeque::new(), since: now };
        match refusal {
            Some((reason_code, reason)) => self.end(reason_code, reason, out),
            None => out.push(Output::Connect(Box::new(connect))),
        }
    }

    fn accepted(&mut self, client_id: ClientId, assigned: bool, now: UnixMillis, out: &mut Vec<Output>) {
        let (negotiated, early) = match core::mem::replace(&mut self.phase, Phase::Closed) {
            Phase::Connecting { connect, early, .. } => (*connect, early),
            other => {
                self.phase = other;
                return;
            }
        };
        let settings = &self.settings;
        let mut properties = ConnAckProperties::default();
        if negotiated.is_v5 {
            // Sessions end with their connection so far; whoever asked for more is told ([MQTT-3.2.2-21]).
            properties.session_expiry_interval = negotiated.asked_session_expiry.then_some(0);
            properties.receive_maximum = Some(settings.receive_maximum);
            properties.maximum_qos = (settings.maximum_qos < Qos::ExactlyOnce).then_some(settings.maximum_qos);
            properties.retain_available = Some(false);
            properties.maximum_packet_size = Some(settings.maximum_packet_size);
            properties.shared_subscription_available = Some(false);
            properties.assigned_client_identifier = assigned.then(|| ByteString::from(client_id.as_str()));
            properties.server_keep_alive =
                (negotiated.keep_alive != negotiated.asked_keep_alive).then_some(negotiated.keep_alive);
        }
        let window = negotiated.receive_maximum.min(settings.maximum_inflight);
        self.phase = Phase::Connected(Box::new(Connected {
            negotiated,
            client_id,
            subscriptions: Subscriptions::new(),
            outbound: Outbound::new(window),
            unsettled: VecDeque::new(),
            subscribing: 0,
        }));
        out.push(Output::Send(Packet::ConnAck(ConnAck {
            session_present: false,
            reason_code: ReasonCode::Success,
            properties,
        })));
        for packet in early {
            self.packet(packet, now, out);
        }
    }

    fn connected_packet(&mut self, packet: Packet, now: UnixMillis, out: &mut Vec<Output>) {
        match packet {
            Packet::Publish(publish) => self.publish(publish, out),
            Packet::PubAck(ack) => self.acknowledged(ack.packet_id, now, out),
            Packet::Subscribe(subscribe) => self.subscribe(subscribe, out),
            Packet::Unsubscribe(unsubscribe) => self.unsubscribe(unsubscribe, out),
            Packet::PingReq => out.push(Output::Send(Packet::PingResp)),
            Packet::Disconnect(disconnect) => self.disconnect(&disconnect, out),
            Packet::Connect(_) => self.end(ReasonCode::ProtocolError, "[MQTT-3.1.0-2] a second CONNECT", out),
            Packet::PubRec(_) | Packet::PubRel(_) | Packet::PubComp(_) => {
                self.end(ReasonCode::ProtocolError, "QoS 2 is not in use on this connection", out);
            }
            Packet::Auth(_) => self.end(ReasonCode::ProtocolError, "[MQTT-4.12.0-6] AUTH without a method", out),
            Packet::ConnAck(_) | Packet::SubAck(_) | Packet::UnsubAck(_) | Packet::PingResp => {
                self.end(ReasonCode::ProtocolError, "a packet that only a server may send", out);
            }
        }
    }

    fn publish(&mut self, publish: Publish, out: &mut Vec<Output>) {
        let Phase::Connected(connected) = &mut self.phase else { return };
        if publish.qos > self.settings.maximum_qos {
            return self.end(ReasonCode::QosNotSupported, "[MQTT-3.2.2-11] the QoS is higher than the Maximum QoS", out);
        }
        if publish.properties.topic_alias.is_some() {
            return self.end(ReasonCode::TopicAliasInvalid, "[MQTT-3.3.2-9] Topic Alias Maximum is 0", out);
        }
        if !publish.properties.subscription_identifiers.is_empty() {
            return self.end(ReasonCode::ProtocolError, "[MQTT-3.3.4-6] a Subscription Identifier from a client", out);
        }
        if publish.retain && connected.negotiated.is_v5 {
            return self.end(ReasonCode::RetainNotSupported, "[MQTT-3.2.2-14] retained messages are not supported", out);
        }
        if let Some(packet_id) = publish.packet_id {
            if connected.unsettled.iter().any(|(pending, _)| *pending == packet_id) {
                // A retransmission of what is being worked on: its one PUBACK is still to come.
                return;
            }
            if connected.negotiated.is_v5 && connected.unsettled.len() >= usize::from(self.settings.receive_maximum) {
                return self.end(ReasonCode::ReceiveMaximumExceeded, "[MQTT-3.3.4-9] more than Receive Maximum", out);
            }
            connected.unsettled.push_back((packet_id, None));
        }
        out.push(Output::Publish(Box::new(publish)));
    }

    fn settled(&mut self, packet_id: PacketId, reason_code: ReasonCode, out: &mut Vec<Output>) {
        let Phase::Connected(connected) = &mut self.phase else { return };
        if let Some(entry) = connected.unsettled.iter_mut().find(|(pending, _)| *pending == packet_id) {
            entry.1 = Some(reason_code);
        }
        while let Some((packet_id, Some(reason_code))) = connected.unsettled.front().copied() {
            connected.unsettled.pop_front();
            out.push(Output::Send(Packet::PubAck(PubAck {
                packet_id,
                reason_code,
                properties: AckProperties::default(),
            })));
        }
    }

    fn deliver(&mut self, delivery: Delivery, now: UnixMillis, out: &mut Vec<Output>) {
        let (messages, bytes) = (self.settings.maximum_queued_messages, self.settings.maximum_queued_bytes);
        let Phase::Connected(connected) = &mut self.phase else { return };
        if delivery.publication.is_expired(now) || connected.is_too_large(&delivery) {
            // [MQTT-3.1.2-25]: a packet that is too large for the client counts as delivered.
            return;
        }
        match connected.outbound.offer(delivery, messages, bytes) {
            Offer::Send(delivery, packet_id) => {
                out.push(Output::Send(publish_packet(&delivery, packet_id, connected.negotiated.is_v5, now)));
            }
            Offer::Waits => {}
            Offer::Dropped => out.push(Output::Dropped(1)),
        }
    }

    fn acknowledged(&mut self, packet_id: PacketId, now: UnixMillis, out: &mut Vec<Output>) {
        let Phase::Connected(connected) = &mut self.phase else { return };
        // An unknown identifier is no error: it may acknowledge what was sent before this object slept.
        connected.outbound.acknowledge(packet_id);
        while let Some((delivery, packet_id)) = connected.outbound.next_waiting() {
            if delivery.publication.is_expired(now) {
                connected.outbound.acknowledge(packet_id);
                continue;
            }
            out.push(Output::Send(publish_packet(&delivery, Some(packet_id), connected.negotiated.is_v5, now)));
        }
    }

    fn subscribe(&mut self, subscribe: Subscribe, out: &mut Vec<Output>) {
        let Phase::Connected(connected) = &mut self.phase else { return };
        if subscribe.filters.len() > self.settings.maximum_filters_per_subscribe {
            return self.end(ReasonCode::QuotaExceeded, "too many Topic Filters in one SUBSCRIBE", out);
        }
        connected.subscribing += 1;
        out.push(Output::Subscribe(subscribe));
    }

    /// Notes a subscription that the broker has granted, before [`Input::Subscribed`]; `false` when there are too many.
    pub fn add_subscription(&mut self, filter: &str, options: SubscriptionOptions) -> bool {
        let maximum = self.settings.maximum_subscriptions;
        let Phase::Connected(connected) = &mut self.phase else { return false };
        if connected.subscriptions.len() >= maximum && !connected.subscriptions.contains_key(filter) {
            return false;
        }
        connected.subscriptions.insert(filter.to_owned(), options);
        true
    }

    /// Forgets a subscription that could not be put into force.
    pub fn remove_subscription(&mut self, filter: &str) {
        if let Phase::Connected(connected) = &mut self.phase {
            connected.subscriptions.remove(filter);
        }
    }

    fn subscribed(&mut self, packet_id: PacketId, reason_codes: Vec<ReasonCode>, out: &mut Vec<Output>) {
        let Phase::Connected(connected) = &mut self.phase else { return };
        connected.subscribing = connected.subscribing.saturating_sub(1);
        out.push(Output::Send(Packet::SubAck(SubAck { packet_id, reason_codes, properties: AckProperties::default() })));
    }

    fn unsubscribe(&mut self, unsubscribe: Unsubscribe, out: &mut Vec<Output>) {
        let Phase::Connected(connected) = &mut self.phase else { return };
        let reason_codes = unsubscribe
            .filters
            .iter()
            .map(|filter| match connected.subscriptions.remove(&**filter) {
                Some(_) => ReasonCode::Success,
                None => ReasonCode::NoSubscriptionExisted,
            })
            .collect();
        let packet_id = unsubscribe.packet_id;
        // The broker takes them away before anything else happens, so nothing is delivered after this UNSUBACK.
        out.push(Output::Unsubscribe(unsubscribe));
        out.push(Output::Send(Packet::UnsubAck(UnsubAck {
            packet_id,
            reason_codes,
            properties: AckProperties::default(),
        })));
    }

    fn disconnect(&mut self, disconnect: &Disconnect, out: &mut Vec<Output>) {
        let Phase::Connected(connected) = core::mem::replace(&mut self.phase, Phase::Closed) else { return };
        let keeps_will = disconnect.reason_code == ReasonCode::DisconnectWithWillMessage;
        out.push(Output::Close(Disconnection {
            reason_code: disconnect.reason_code,
            reason: "the client disconnected",
            client_initiated: true,
            will: connected.negotiated.will.filter(|_| keeps_will),
            client_id: Some(connected.client_id),
            subscriptions: connected.subscriptions,
        }));
    }

    fn undecodable(&mut self, error: &DecodeError, out: &mut Vec<Output>) {
        let reason_code = error.reason_code();
        if let Phase::AwaitingConnect { .. } = self.phase {
            // [MQTT-3.1.2-2]: a version that is not spoken here may be told so; everything else just ends.
            if reason_code == ReasonCode::UnsupportedProtocolVersion {
                out.push(Output::Send(Packet::ConnAck(ConnAck {
                    session_present: false,
                    reason_code,
                    properties: ConnAckProperties::default(),
                })));
            }
            return self.close(reason_code, error.clause(), out);
        }
        self.end(reason_code, error.clause(), out);
    }

    /// Tells the client why, as far as its version and the phase allow, and closes.
    fn end(&mut self, reason_code: ReasonCode, reason: &'static str, out: &mut Vec<Output>) {
        match &self.phase {
            Phase::Connecting { connect, .. } => {
                let mut properties = ConnAckProperties::default();
                properties.reason_string = (connect.is_v5 && connect.problem_information).then(|| reason.into());
                out.push(Output::Send(Packet::ConnAck(ConnAck { session_present: false, reason_code, properties })));
            }
            Phase::Connected(connected) if connected.negotiated.is_v5 => {
                let mut properties = DisconnectProperties::default();
                properties.reason_string = connected.negotiated.problem_information.then(|| reason.into());
                out.push(Output::Send(Packet::Disconnect(Disconnect { reason_code, properties })));
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
            Phase::Connecting { .. } => self.end(ReasonCode::ServerUnavailable, "the connection could not be set up", out),
            Phase::Connected(_) => {
                self.end(ReasonCode::KeepAliveTimeout, "[MQTT-3.1.2-22] nothing heard within the keep-alive", out);
            }
            Phase::Closed => {}
        }
    }
}

impl Connected {
    fn is_too_large(&self, delivery: &Delivery) -> bool {
        // The exact length is known to the encoder only; the weight is never below it.
        self.negotiated.maximum_packet_size.is_some_and(|maximum| {
            let publication = &delivery.publication;
            let bare = publication.topic.len() + publication.payload.len() + 9;
            let packet = if publication.properties.is_none() { bare } else { publication.weight() };
            packet > usize::try_from(maximum).unwrap_or(usize::MAX)
        })
    }
}

fn publish_packet(delivery: &Delivery, packet_id: Option<PacketId>, is_v5: bool, now: UnixMillis) -> Packet {
    let publication = &delivery.publication;
    let mut properties = PublishProperties::default();
    if is_v5 {
        if let Some(passed) = &publication.properties {
            properties.payload_format_indicator = passed.payload_format_indicator;
            properties.message_expiry_interval = publication.remaining_expiry(now);
            properties.content_type = passed.content_type.as_deref().map(ByteString::from);
            properties.response_topic = passed.response_topic.as_deref().map(ByteString::from);
            properties.correlation_data.clone_from(&passed.correlation_data);
            properties.user_properties =
                passed.user_properties.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect();
        }
        properties.subscription_identifiers.clone_from(&delivery.subscription_identifiers);
    }
    Packet::Publish(Publish {
        dup: false,
        qos: delivery.qos,
        retain: delivery.retain,
        topic: publication.topic.as_str().into(),
        packet_id,
        properties,
        payload: publication.payload.clone(),
    })
}

fn will_message(will: &mqtt_codec::Will) -> WillMessage {
    let p = &will.properties;
    let passed = PublicationProperties {
        payload_format_indicator: p.payload_format_indicator,
        message_expiry_interval: p.message_expiry_interval,
        content_type: p.content_type.as_deref().map(str::to_owned),
        response_topic: p.response_topic.as_deref().map(str::to_owned),
        correlation_data: p.correlation_data.clone(),
        user_properties: p.user_properties.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
    };
    let properties = (passed != PublicationProperties::default()).then(|| Box::new(passed));
    WillMessage {
        topic: will.topic.to_string(),
        payload: will.payload.clone(),
        qos: will.qos,
        retain: will.retain,
        properties,
    }
}

#[cfg(test)]
mod tests;
