//! What must hold of a session, said naively: sets and queues of what was sent and not answered.

use super::name;
use bytes::BytesMut;
use iot_types::{PacketId, Qos};
use messages::publication::MessageId;
use messages::session::{Acknowledgement, AcknowledgementKind, Outgoing};
use mqtt_codec::{
    ByteString, Connect, Decoder, Packet, ProtocolVersion, PubAck, PubComp, PubRec, PubRel, Publish, ReasonCode,
    encode, encoded_len,
};
use mqtt_session::{AcceptedSession, Delivery, Disconnection, Output, Session, SessionSettings};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A message that was handed in for the client.
pub(super) struct Offered {
    topic: String,
    qos: Qos,
    retain: bool,
    subscription_identifiers: Vec<u32>,
    name: Option<MessageId>,
    /// With the packet identifier and DUP, when a Sessions shard decides them.
    relayed: Option<(Option<PacketId>, bool)>,
    can_expire: bool,
    fate: Fate,
}

#[derive(PartialEq)]
enum Fate {
    /// Not connected when it came.
    Ignored,
    Open,
    Sent,
    Dropped,
}

impl Offered {
    pub(super) fn of_broker(delivery: &Delivery) -> Self {
        let publication = &delivery.publication;
        Self {
            topic: publication.topic.clone(),
            qos: delivery.qos,
            retain: delivery.retain,
            subscription_identifiers: delivery.subscription_identifiers.clone(),
            name: publication.message_id,
            relayed: None,
            can_expire: publication.properties.as_ref().is_some_and(|p| p.message_expiry_interval.is_some()),
            fate: Fate::Ignored,
        }
    }

    pub(super) fn of_shard(outgoing: &Outgoing) -> Self {
        let Outgoing::Publish { packet_id, dup, qos, retain, subscription_identifiers, publication } = outgoing else {
            panic!("a PUBLISH is offered");
        };
        Self {
            topic: publication.topic.clone(),
            qos: *qos,
            retain: *retain,
            subscription_identifiers: subscription_identifiers.clone(),
            name: None,
            relayed: Some((*packet_id, *dup)),
            can_expire: true,
            fate: Fate::Ignored,
        }
    }
}

/// A SUBSCRIBE or UNSUBSCRIBE that was given out.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) filters: Vec<ByteString>,
    pub(super) is_unsubscribe: bool,
}

/// What the client asked for and was sent.
struct Client {
    version: ProtocolVersion,
    maximum_packet_size: usize,
    window: usize,
    topic_alias_maximum: u16,
    method: Option<ByteString>,
}

pub(super) struct Model {
    settings: SessionSettings,
    pub(super) outputs: usize,
    client: Option<Client>,
    accepted: Option<AcceptedSession>,
    is_connected: bool,
    is_durable: bool,
    is_closed: bool,
    /// The last packet has been sent: only the end may follow.
    is_last: bool,
    /// Whether the first DISCONNECT asks for no will.
    is_normal_disconnection: Option<bool>,
    reauthenticating: bool,
    /// AUTH was sent before CONNACK and not answered.
    is_clients_turn: bool,

    // What the client publishes.
    aliases: BTreeMap<u16, ByteString>,
    published: VecDeque<Publish>,
    /// Given out, in order, with the outcome.
    open: VecDeque<(PacketId, Qos, Option<ReasonCode>)>,
    /// PUBREC was sent and no PUBCOMP.
    received: BTreeSet<PacketId>,
    releasing: BTreeSet<PacketId>,
    pubrels: VecDeque<PacketId>,
    /// PUBLISHes less their acknowledgements, by packet identifier.
    unanswered: BTreeMap<PacketId, usize>,
    pings: usize,

    // What it is sent.
    offered: BTreeMap<u32, Offered>,
    names: BTreeSet<MessageId>,
    server_aliases: BTreeMap<u16, ByteString>,
    in_flight: BTreeMap<PacketId, (Qos, bool)>,
    last_sent: u32,
    pubrecs: VecDeque<PacketId>,
    acknowledgements: VecDeque<Acknowledgement>,
    relayed: Option<Outgoing>,
    /// Whether the last delivery has to be sent at once, or said to be dropped.
    was_open: bool,

    // What it subscribes to.
    subscriptions: BTreeSet<String>,
    subscribing: BTreeMap<PacketId, Request>,
    answer: Option<(PacketId, Vec<ReasonCode>)>,
    unsubscribed: Option<(PacketId, Vec<ReasonCode>)>,
    unanswered_requests: BTreeMap<PacketId, usize>,
}

impl Model {
    pub(super) fn new(settings: SessionSettings) -> Self {
        Self {
            settings,
            outputs: 0,
            client: None,
            accepted: None,
            is_connected: false,
            is_durable: false,
            is_closed: false,
            is_last: false,
            is_normal_disconnection: None,
            reauthenticating: false,
            is_clients_turn: false,
            aliases: BTreeMap::new(),
            published: VecDeque::new(),
            open: VecDeque::new(),
            received: BTreeSet::new(),
            releasing: BTreeSet::new(),
            pubrels: VecDeque::new(),
            unanswered: BTreeMap::new(),
            pings: 0,
            offered: BTreeMap::new(),
            names: BTreeSet::new(),
            server_aliases: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            last_sent: 0,
            pubrecs: VecDeque::new(),
            acknowledgements: VecDeque::new(),
            relayed: None,
            was_open: false,
            subscriptions: BTreeSet::new(),
            subscribing: BTreeMap::new(),
            answer: None,
            unsubscribed: None,
            unanswered_requests: BTreeMap::new(),
        }
    }

    pub(super) fn version(&self) -> Option<ProtocolVersion> {
        self.client.as_ref().map(|client| client.version)
    }

    fn is_v5(&self) -> bool {
        self.version() == Some(ProtocolVersion::V5)
    }

    pub(super) fn is_connected(&self) -> bool {
        self.is_connected
    }

    pub(super) fn is_reauthenticating(&self) -> bool {
        self.reauthenticating
    }

    pub(super) fn open_publish(&self, at: usize) -> Option<PacketId> {
        self.open.get(at % self.open.len().max(1)).map(|(id, ..)| *id)
    }

    pub(super) fn last_open_publish(&self) -> Option<PacketId> {
        self.open.iter().rev().find(|(.., outcome)| outcome.is_none()).map(|(id, ..)| *id)
    }

    pub(super) fn releasing(&self, at: usize) -> Option<PacketId> {
        self.releasing.iter().nth(at % self.releasing.len().max(1)).copied()
    }

    pub(super) fn subscribing(&self, at: usize) -> Option<(PacketId, Request)> {
        let mut all = self.subscribing.iter();
        all.nth(at % self.subscribing.len().max(1)).map(|(id, request)| (*id, request.clone()))
    }

    /// What a client still has to say, so that nothing is under way.
    pub(super) fn next_of_client(&self) -> Option<Packet> {
        if self.is_durable {
            return None;
        }
        if let Some(id) = self.received.first() {
            return Some(Packet::PubRel(PubRel::new(*id)));
        }
        let (id, (qos, is_released)) = self.in_flight.first_key_value()?;
        Some(match (qos, is_released) {
            (Qos::ExactlyOnce, false) => Packet::PubRec(PubRec::new(*id)),
            (Qos::ExactlyOnce, true) => Packet::PubComp(PubComp::new(*id)),
            _ => Packet::PubAck(PubAck::new(*id)),
        })
    }

    // Before each step.

    pub(super) fn client_sends(&mut self, packet: &Packet) {
        if self.is_closed {
            return;
        }
        match packet {
            Packet::Connect(connect) => {
                self.client = self.client.take().or_else(|| Some(client(connect, &self.settings)))
            }
            _ if self.client.is_none() => {}
            Packet::Publish(publish) => self.client_publishes(publish),
            Packet::PubAck(ack) => {
                self.acknowledges(ack.packet_id, AcknowledgementKind::PubAck);
                self.in_flight.retain(|id, (qos, _)| *id != ack.packet_id || *qos != Qos::AtLeastOnce);
            }
            Packet::PubRec(ack) if ack.reason_code.is_error() => {
                self.acknowledges(ack.packet_id, AcknowledgementKind::PubRecFailed);
                self.in_flight.retain(|id, (qos, _)| *id != ack.packet_id || *qos != Qos::ExactlyOnce);
            }
            Packet::PubRec(ack) => {
                self.acknowledges(ack.packet_id, AcknowledgementKind::PubRec);
                self.pubrecs.push_back(ack.packet_id);
            }
            Packet::PubComp(ack) => {
                self.acknowledges(ack.packet_id, AcknowledgementKind::PubComp);
                self.in_flight.retain(|id, (_, is_released)| *id != ack.packet_id || !*is_released);
            }
            Packet::PubRel(ack) => self.pubrels.push_back(ack.packet_id),
            Packet::Subscribe(subscribe) => *self.unanswered_requests.entry(subscribe.packet_id).or_default() += 1,
            Packet::Unsubscribe(unsubscribe) => {
                *self.unanswered_requests.entry(unsubscribe.packet_id).or_default() += 1;
            }
            Packet::PingReq => self.pings += 1,
            Packet::Auth(_) => self.is_clients_turn = false,
            Packet::Disconnect(disconnect) => {
                let is_normal = disconnect.reason_code == ReasonCode::NormalDisconnection;
                self.is_normal_disconnection.get_or_insert(is_normal);
            }
            _ => {}
        }
    }

    fn client_publishes(&mut self, publish: &Publish) {
        if let Some(id) = publish.packet_id {
            *self.unanswered.entry(id).or_default() += 1;
        }
        let mut publish = publish.clone();
        if let Some(alias) = publish.properties.topic_alias.take() {
            if publish.topic.is_empty() {
                publish.topic = self.aliases.get(&alias).cloned().unwrap_or_default();
            } else {
                self.aliases.insert(alias, publish.topic.clone());
            }
        }
        self.published.push_back(publish);
    }

    fn acknowledges(&mut self, packet_id: PacketId, kind: AcknowledgementKind) {
        self.acknowledgements.push_back(Acknowledgement { packet_id, kind });
    }

    pub(super) fn accepts(&mut self, session: &AcceptedSession) {
        if !self.is_connected {
            self.accepted = Some(session.clone());
        }
    }

    pub(super) fn settles(&mut self, packet_id: PacketId, reason_code: ReasonCode) {
        if let Some((.., outcome)) = self.open.iter_mut().find(|(id, ..)| *id == packet_id) {
            *outcome = Some(reason_code);
        }
    }

    /// The packet identifiers of a durable session that wait for PUBREL are its shard's. The connection has them for
    /// flow control only, and does without after a sleep.
    pub(super) fn sleeps(&mut self) {
        if self.is_durable {
            self.received.clear();
        }
    }

    /// Whether there is room for the subscription.
    pub(super) fn stores(&mut self, filter: &str) -> bool {
        let has_room = self.subscriptions.len() < self.settings.maximum_subscriptions;
        let is_stored = self.is_connected && !self.is_closed && (has_room || self.subscriptions.contains(filter));
        if is_stored {
            self.subscriptions.insert(filter.to_owned());
        }
        is_stored
    }

    pub(super) fn answers(&mut self, packet_id: PacketId, reason_codes: Vec<ReasonCode>) {
        self.answer = Some((packet_id, reason_codes));
    }

    pub(super) fn offers(&mut self, number: u32, mut offered: Offered) {
        let is_relayed = offered.relayed.is_some();
        if self.is_connected && !self.is_closed && (!is_relayed || self.is_durable) {
            offered.fate = Fate::Open;
            if self.is_durable && !is_relayed {
                offered.qos = Qos::AtMostOnce;
            }
        }
        self.was_open = self.client.as_ref().is_some_and(|client| self.in_flight.len() < client.window);
        self.offered.insert(number, offered);
    }

    /// The delivery of this number has been handled.
    pub(super) fn has_offered(&mut self, number: u32) {
        let was_open = self.was_open;
        if !self.must_arrive(number) {
            return;
        }
        let offered = &self.offered[&number];
        let is_due = was_open || offered.qos == Qos::AtMostOnce;
        assert!(!is_due || offered.fate != Fate::Open, "there was room, and it was neither sent nor dropped");
    }

    /// Whether nothing but a full queue can keep the message from the client.
    fn must_arrive(&self, number: u32) -> bool {
        let offered = &self.offered[&number];
        let is_bounded = self.client.as_ref().is_some_and(|client| client.maximum_packet_size != usize::MAX);
        !offered.can_expire && offered.name.is_none() && !is_bounded && !self.is_closed
    }

    pub(super) fn everything_was_sent(&self) {
        for (number, offered) in &self.offered {
            assert!(!self.must_arrive(*number) || offered.fate != Fate::Open, "message {number} was lost");
        }
    }

    pub(super) fn relays(&mut self, outgoing: Option<&Outgoing>) {
        if let Some(Outgoing::Publish { qos, .. }) = &self.relayed {
            let is_open = self.offered.values().next_back().is_some_and(|offered| offered.fate == Fate::Open);
            assert!(!is_open || *qos == Qos::AtMostOnce, "what a shard sends is sent, or the shard is told");
        }
        self.relayed = outgoing.filter(|_| self.is_connected && self.is_durable && !self.is_closed).cloned();
    }

    // Each output.

    pub(super) fn output(&mut self, output: &Output) {
        self.outputs += 1;
        assert!(!self.is_closed, "after the end: {}", name(output));
        assert!(!self.is_last || matches!(output, Output::Close(_)), "after the last packet: {}", name(output));
        match output {
            Output::Send(packet) => self.sent(packet),
            Output::Close(end) => self.closed(end),
            Output::Connect(connect) => {
                assert!(self.client.is_some() && !self.is_connected, "one CONNECT: {connect:?}");
            }
            Output::Authenticate { method, is_reauthentication, .. } => {
                let client = self.client.as_ref().expect("after CONNECT");
                assert_eq!(client.method.as_deref(), Some(method.as_str()));
                assert_eq!(*is_reauthentication, self.is_connected);
                self.reauthenticating |= self.is_connected;
            }
            _ => {
                assert!(self.is_connected, "before CONNACK: {}", name(output));
                self.connected_output(output);
            }
        }
    }

    fn connected_output(&mut self, output: &Output) {
        match output {
            Output::Publish(publish) => self.given_out(publish),
            Output::Release { packet_id } => {
                assert!(self.is_durable && self.releasing.insert(*packet_id), "{packet_id:?} twice");
                assert!(self.pubrels.contains(packet_id), "no PUBREL came");
            }
            Output::Acknowledged(acknowledgement) => {
                assert!(self.is_durable);
                let Some(Outgoing::Publish { packet_id, qos, .. }) = &self.relayed else {
                    assert_eq!(self.acknowledgements.pop_front().as_ref(), Some(acknowledgement));
                    return;
                };
                // It was too large for the client.
                let kind = match qos {
                    Qos::ExactlyOnce => AcknowledgementKind::PubRecFailed,
                    _ => AcknowledgementKind::PubAck,
                };
                assert_eq!((Some(acknowledgement.packet_id), acknowledgement.kind), (*packet_id, kind));
                self.offered.values_mut().next_back().expect("it was offered").fate = Fate::Dropped;
            }
            Output::Subscribe(subscribe) => {
                let filters: Vec<ByteString> = subscribe.filters.iter().map(|request| request.filter).collect();
                assert!(filters.len() <= self.settings.maximum_filters_per_subscribe);
                let request = Request { filters, is_unsubscribe: false };
                assert!(self.subscribing.insert(subscribe.packet_id, request).is_none(), "under way already");
                assert!(self.subscribing.len() <= self.settings.maximum_subscribing);
            }
            Output::Unsubscribe(unsubscribe) => {
                let codes = unsubscribe.filters.iter().map(|filter| match self.subscriptions.remove(&*filter) {
                    true => ReasonCode::Success,
                    false => ReasonCode::NoSubscriptionExisted,
                });
                let codes = codes.collect();
                if self.is_durable {
                    let request = Request { filters: unsubscribe.filters.iter().collect(), is_unsubscribe: true };
                    assert!(self.subscribing.insert(unsubscribe.packet_id, request).is_none(), "under way already");
                } else {
                    assert!(!self.subscribing.contains_key(&unsubscribe.packet_id));
                    self.unsubscribed = Some((unsubscribe.packet_id, codes));
                }
            }
            Output::Dropped(count) => {
                assert_eq!(*count, 1);
                let mut offered = self.offered.values_mut().rev();
                let last = offered.next().expect("something was offered");
                assert!(last.fate == Fate::Open);
                last.fate = Fate::Dropped;
            }
            other => panic!("unexpected: {}", name(other)),
        }
    }

    /// A PUBLISH of the client for the broker.
    fn given_out(&mut self, publish: &Publish) {
        let settings = &self.settings;
        assert!(publish.qos <= settings.maximum_qos);
        assert!(!publish.retain || settings.is_retain_available || !self.is_v5());
        assert!(!publish.topic.is_empty() && publish.properties.topic_alias.is_none());
        assert!(publish.properties.subscription_identifiers.is_empty());
        if let Some(expiry) = publish.properties.message_expiry_interval {
            let most = settings.maximum_message_expiry.unwrap_or(u32::MAX);
            assert!((settings.minimum_message_expiry..=most).contains(&expiry));
        }
        // In order, each once, as the client meant it.
        loop {
            let mut sent = self.published.pop_front().unwrap_or_else(|| panic!("nobody published {publish:?}"));
            let has_expiry = sent.properties.message_expiry_interval.is_some();
            assert!(sent != *publish || has_expiry == publish.properties.message_expiry_interval.is_some());
            sent.properties.message_expiry_interval = publish.properties.message_expiry_interval;
            if sent == *publish {
                break;
            }
        }
        let Some(id) = publish.packet_id else { return };
        assert!(self.open.iter().all(|(open, ..)| *open != id), "{id:?} is being worked on");
        if self.is_durable {
            self.received.remove(&id);
        }
        assert!(!self.received.contains(&id), "{id:?} has been published");
        self.open.push_back((id, publish.qos, None));
        let under_way = self.open.len() + self.received.len();
        assert!(!self.is_v5() || under_way <= usize::from(self.settings.receive_maximum), "{under_way} under way");
    }

    fn closed(&mut self, end: &Disconnection) {
        self.is_closed = true;
        assert_eq!(end.client_id.is_some(), self.is_connected);
        assert_eq!(end.is_durable, self.is_connected && self.is_durable);
        assert!(self.is_connected || !end.publishes_will, "a will counts from CONNACK on");
        assert!(end.client_initiated || !self.is_connected || end.publishes_will);
        assert!(!end.client_initiated || !self.is_last, "a client that leaves is told nothing");
        if end.client_initiated {
            assert_eq!(end.publishes_will, self.is_connected && self.is_normal_disconnection == Some(false));
        }
        assert!(end.session_expiry.is_none() || end.is_durable);
        let filters: BTreeSet<String> = end.subscriptions.keys().cloned().collect();
        assert_eq!(filters, core::mem::take(&mut self.subscriptions));
    }

    fn sent(&mut self, packet: &Packet) {
        self.can_be_read(packet);
        match packet {
            Packet::ConnAck(connack) => {
                assert!(!self.is_connected, "one CONNACK");
                if connack.reason_code != ReasonCode::Success {
                    self.is_last = true;
                    return;
                }
                assert!(!self.is_clients_turn, "the client has not authenticated");
                let accepted = self.accepted.clone().expect("accepted");
                assert_eq!(connack.session_present, accepted.session_present);
                self.is_connected = true;
                self.is_durable = accepted.is_durable;
                self.subscriptions = accepted.subscriptions.keys().cloned().collect();
                return;
            }
            Packet::Auth(auth) => {
                let client = self.client.as_ref().expect("after CONNECT");
                assert!(self.is_v5() && client.method.is_some());
                assert_eq!(auth.properties.authentication_method, client.method);
                self.is_clients_turn = !self.is_connected;
                self.reauthenticating &= auth.reason_code != ReasonCode::Success;
                return;
            }
            _ => assert!(self.is_connected, "before CONNACK: {packet:?}"),
        }
        match packet {
            Packet::Publish(publish) => self.delivered(publish),
            Packet::PubAck(ack) => self.answered(ack.packet_id, Qos::AtLeastOnce, ack.reason_code),
            Packet::PubRec(ack) => self.answered(ack.packet_id, Qos::ExactlyOnce, ack.reason_code),
            Packet::PubComp(ack) if self.is_durable => {
                assert!(self.releasing.remove(&ack.packet_id), "PUBCOMP for {:?}", ack.packet_id);
                self.received.remove(&ack.packet_id);
            }
            Packet::PubComp(ack) => {
                assert_eq!(self.pubrels.pop_front(), Some(ack.packet_id));
                let is_known = self.received.remove(&ack.packet_id);
                assert_eq!(ack.reason_code == ReasonCode::Success, is_known);
            }
            Packet::PubRel(ack) if self.is_durable => {
                assert!(
                    matches!(&self.relayed, Some(Outgoing::PubRel { packet_id, .. }) if *packet_id == ack.packet_id),
                    "{ack:?}"
                );
            }
            Packet::PubRel(ack) => {
                assert_eq!(self.pubrecs.pop_front(), Some(ack.packet_id));
                let known = self.in_flight.get_mut(&ack.packet_id).filter(|(qos, _)| *qos == Qos::ExactlyOnce);
                assert_eq!(ack.reason_code == ReasonCode::Success, known.is_some());
                if let Some((_, is_released)) = known {
                    *is_released = true;
                }
            }
            Packet::SubAck(ack) => self.request_answered(ack.packet_id, &ack.reason_codes, false),
            Packet::UnsubAck(ack) => self.request_answered(ack.packet_id, &ack.reason_codes, true),
            Packet::PingResp => self.pings = self.pings.checked_sub(1).expect("a PINGREQ came"),
            Packet::Disconnect(_) => {
                assert!(self.is_v5(), "not in MQTT 3.1.1");
                self.is_last = true;
            }
            other => panic!("no server sends {other:?}"),
        }
    }

    /// The client can read it, and takes so much ([MQTT-3.1.2-24]).
    fn can_be_read(&self, packet: &Packet) {
        let Some(client) = &self.client else { return };
        let length = encoded_len(packet, client.version);
        assert!(length <= client.maximum_packet_size, "{length} bytes: {packet:?}");
        let mut bytes = BytesMut::new();
        encode(packet, client.version, &mut bytes);
        if bytes.is_empty() {
            let is_silent = matches!(packet, Packet::ConnAck(ack) if ack.reason_code.connect_return_code().is_none());
            assert!(is_silent && !self.is_v5(), "{packet:?}");
            return;
        }
        let mut decoder = Decoder::restore(u32::MAX, Some(client.version), bytes.freeze());
        let read = decoder.next_packet().expect("what is sent decodes").expect("it is whole");
        assert_eq!(read.packet_type(), packet.packet_type());
        assert!(read == *packet || !self.is_v5(), "{read:?} is read, {packet:?} was meant");
    }

    /// PUBACK or PUBREC: the oldest that is open, or a repetition or refusal of what the client sent again.
    fn answered(&mut self, id: PacketId, qos: Qos, reason_code: ReasonCode) {
        let unanswered = self.unanswered.get_mut(&id).expect("a PUBLISH came");
        *unanswered = unanswered.checked_sub(1).expect("each PUBLISH is acknowledged once at most");
        if self.open.front() == Some(&(id, qos, Some(reason_code))) {
            self.open.pop_front();
            if qos == Qos::ExactlyOnce && !reason_code.is_error() {
                self.received.insert(id);
            }
            return;
        }
        if reason_code == ReasonCode::PacketIdentifierInUse {
            let is_open = self.open.iter().any(|(open, other, _)| *open == id && *other != qos);
            assert!(is_open || qos == Qos::AtLeastOnce && self.received.contains(&id), "{id:?} is not in use");
            return;
        }
        let is_repeated = qos == Qos::ExactlyOnce && !self.is_durable && self.received.contains(&id);
        assert!(is_repeated && reason_code == ReasonCode::Success, "{id:?} {qos:?} {reason_code:?} of {:?}", self.open);
    }

    fn delivered(&mut self, publish: &Publish) {
        let client = self.client.as_ref().expect("after CONNECT");
        let number = publish.payload.first_chunk().map(|number| u32::from_be_bytes(*number)).expect("a number");
        let offered = self.offered.get_mut(&number).expect("something that was offered");
        assert!(offered.fate == Fate::Open, "message {number} is sent once");
        offered.fate = Fate::Sent;
        // The topic, by name or by alias.
        let topic = match publish.properties.topic_alias {
            None => publish.topic.clone(),
            Some(alias) => {
                let most = client.topic_alias_maximum.min(self.settings.outgoing_topic_aliases);
                assert!((1..=most).contains(&alias), "alias {alias} of {most}");
                if !publish.topic.is_empty() {
                    self.server_aliases.insert(alias, publish.topic.clone());
                }
                self.server_aliases.get(&alias).expect("an alias that was told").clone()
            }
        };
        assert_eq!((&*topic, publish.qos, publish.retain), (offered.topic.as_str(), offered.qos, offered.retain));
        if client.version == ProtocolVersion::V5 {
            assert_eq!(publish.properties.subscription_identifiers, offered.subscription_identifiers);
        }
        if let Some(relayed) = offered.relayed {
            assert_eq!((publish.packet_id, publish.dup), relayed);
            return;
        }
        assert!(!publish.dup, "a session without its connection is forgotten");
        assert!(offered.name.is_none_or(|name| self.names.insert(name)), "a message of QoS 2 came twice");
        let Some(id) = publish.packet_id else {
            assert_eq!(publish.qos, Qos::AtMostOnce);
            return;
        };
        assert!(number > self.last_sent, "{number} after {}", self.last_sent);
        self.last_sent = number;
        assert!(self.in_flight.insert(id, (publish.qos, false)).is_none(), "{id:?} is in flight");
        assert!(self.in_flight.len() <= client.window, "{} in flight", self.in_flight.len());
    }

    fn request_answered(&mut self, id: PacketId, reason_codes: &[ReasonCode], is_unsubscribe: bool) {
        let unanswered = self.unanswered_requests.get_mut(&id).expect("a request came");
        *unanswered = unanswered.checked_sub(1).expect("each request is answered once");
        if let Some((_, codes)) = self.unsubscribed.take_if(|(unsubscribed, _)| is_unsubscribe && *unsubscribed == id) {
            assert_eq!(codes, reason_codes);
            return;
        }
        if let Some((_, codes)) = self.answer.take_if(|(answered, _)| *answered == id) {
            let request = self.subscribing.remove(&id).expect("it was given out");
            assert_eq!(request.is_unsubscribe, is_unsubscribe);
            assert_eq!(codes, reason_codes);
            return;
        }
        assert!(self.subscribing.contains_key(&id), "nobody answered {id:?}");
        assert!(reason_codes.iter().all(|code| *code == ReasonCode::PacketIdentifierInUse));
    }

    // After each step.

    pub(super) fn check(&mut self, session: &Session) {
        assert_eq!(session.is_closed(), self.is_closed);
        assert!(!self.is_last || self.is_closed, "the end follows the last packet");
        if self.is_closed {
            assert_eq!((session.next_timeout(), session.snapshot()), (None, None));
            return;
        }
        assert_eq!(session.client_id().is_some(), self.is_connected);
        if !self.is_connected {
            return;
        }
        assert_eq!((session.is_v5(), session.is_durable()), (self.is_v5(), self.is_durable));
        assert!(session.subscriptions().map(|(filter, _)| filter).eq(self.subscriptions.iter().map(String::as_str)));
        assert!(!matches!(self.open.front(), Some((.., Some(_)))), "an acknowledgement is held back");
        assert_eq!(self.pings, 0, "a PINGREQ is not answered");
        if self.is_durable {
            assert!(self.acknowledgements.is_empty(), "the shard was not told {:?}", self.acknowledgements);
            assert!(self.pubrels.iter().all(|id| self.releasing.contains(id)), "a PUBREL was lost");
        } else {
            assert!(self.pubrecs.is_empty(), "no PUBREL for {:?}", self.pubrecs);
            assert!(self.pubrels.is_empty(), "no PUBCOMP for {:?}", self.pubrels);
        }
        self.acknowledgements.clear();
        self.pubrecs.clear();
        self.pubrels.clear();
        self.published.clear();
        self.answer = None;
        if session.is_at_rest() {
            assert!(self.open.is_empty() && self.releasing.is_empty() && self.subscribing.is_empty());
            assert!(self.is_durable || self.received.is_empty() && self.in_flight.is_empty());
        }
    }
}

fn client(connect: &Connect, settings: &SessionSettings) -> Client {
    let properties = &connect.properties;
    Client {
        version: connect.version,
        maximum_packet_size: properties.maximum_packet_size.map_or(usize::MAX, |bytes| bytes as usize),
        window: usize::from(properties.receive_maximum.unwrap_or(u16::MAX).min(settings.maximum_inflight)),
        topic_alias_maximum: properties.topic_alias_maximum.unwrap_or(0),
        method: properties.authentication_method.clone(),
    }
}
