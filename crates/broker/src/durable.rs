//! Sessions that outlive their connection: their Sessions shard has subscriptions, queue and packet identifiers, and
//! this node passes packets to and fro.

use crate::broker::Broker;
use crate::events::SubscriptionEvent;
use crate::token::Token;
use iot_types::{PacketId, Qos, UnixMillis};
use messages::Request;
use messages::address::Address;
use messages::broker::ConnectionId;
use messages::channel::Undelivered;
use messages::session::{Acknowledgement, AcknowledgementKind, Outgoing, SubscriptionOptions};
use messages::sessions::SessionsRequest;
use messages::{Refusal, Reply};
use mqtt_codec::ReasonCode;
use mqtt_session::Input as SessionInput;
use std::collections::BTreeMap;

/// SUBSCRIBEs that a Sessions shard puts into force.
pub type Subscribing = BTreeMap<(ConnectionId, PacketId), DurableSubscribe>;

pub struct DurableSubscribe {
    /// One for each filter of the SUBSCRIBE.
    pub reason_codes: Vec<ReasonCode>,
    /// The places in the SUBSCRIBE of the filters that the shard is told.
    pub places: Vec<usize>,
    /// What the shard is told.
    pub filters: Vec<(String, SubscriptionOptions, bool)>,
    /// When it fails, if nothing is heard.
    pub until: UnixMillis,
}

impl Broker {
    /// Whether a connection's session outlives it.
    pub(crate) fn is_durable(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| connection.is_durable)
    }

    /// Packets from the Sessions shard.
    pub(crate) fn relay(&mut self, now: UnixMillis, id: ConnectionId, number: u64, packets: Vec<Outgoing>) -> Reply {
        let maximum = self.settings.limits.maximum_early_bytes;
        let Some(connection) = self.connections.get_mut(&id) else { return Reply::Refused(Refusal::Superseded) };
        if let Some(claiming) = &mut connection.claiming {
            let is_kept = claiming.keep_early(number, packets, maximum);
            return if is_kept { Reply::Applied } else { Reply::Refused(Refusal::Full) };
        }
        if connection.number != Some(number) {
            return Reply::Refused(Refusal::Superseded);
        }
        for packet in packets {
            let weight = match &packet {
                Outgoing::Publish { publication, .. } => publication.payload.len(),
                Outgoing::PubRel { .. } => 0,
            };
            let is_droppable = matches!(packet, Outgoing::Publish { packet_id: None, .. });
            if self.is_heard(now, id, weight, is_droppable) {
                self.relay_packet(now, id, packet);
            }
        }
        Reply::Applied
    }

    /// Gives the client a packet of its Sessions shard, or tells the shard what it would be told had it been delivered:
    /// so that a message that the client may not receive ends there.
    pub(crate) fn relay_packet(&mut self, now: UnixMillis, id: ConnectionId, packet: Outgoing) {
        let Outgoing::Publish { packet_id, qos, publication, .. } = &packet else {
            return self.session(now, id, SessionInput::Relay(packet));
        };
        if self.may_receive(now, id, &publication.topic) {
            return self.session(now, id, SessionInput::Relay(packet));
        }
        let kind = match qos {
            Qos::ExactlyOnce => AcknowledgementKind::PubRecFailed,
            Qos::AtLeastOnce | Qos::AtMostOnce => AcknowledgementKind::PubAck,
        };
        if let Some((packet_id, connection)) = packet_id.zip(self.connections.get_mut(&id)) {
            connection.acknowledgements.push(Acknowledgement { packet_id, kind });
            self.touched.insert(id);
        }
    }

    /// Tells a Sessions shard what a client has acknowledged in this tick.
    pub(crate) fn tell_acknowledgements(&mut self, now: UnixMillis, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.acknowledgements.is_empty() {
            return;
        }
        let acknowledgements = core::mem::take(&mut connection.acknowledgements);
        connection.acknowledging += 1;
        let token = Token::Acknowledge(id, acknowledgements.clone());
        let told = self.ask_sessions(id, token, |client_id, number| SessionsRequest::Acknowledge {
            client_id,
            number,
            acknowledgements,
        });
        if !told {
            self.connection_answered(now, id, Err(Undelivered::Unreachable));
        }
    }

    /// The Sessions shard has heard what a client acknowledged, or could not be told.
    pub(crate) fn acknowledgements_answered(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        mut acknowledgements: Vec<Acknowledgement>,
        result: Result<Reply, Undelivered>,
    ) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.acknowledging = connection.acknowledging.saturating_sub(1);
            self.touched.insert(id);
        }
        match (result, self.connections.get_mut(&id)) {
            (Err(Undelivered::Moved { .. }), Some(connection)) => {
                acknowledgements.append(&mut connection.acknowledgements);
                connection.acknowledgements = acknowledgements;
                self.touched.insert(id);
            }
            (result, _) => self.connection_answered(now, id, result),
        }
    }

    /// The Sessions shard has heard what became of a message of QoS 2, or could not be told.
    pub(crate) fn receive_settled_answered(
        &mut self,
        now: UnixMillis,
        (id, packet_id, is_safe): (ConnectionId, PacketId, bool),
        result: Result<Reply, Undelivered>,
    ) {
        match result {
            Ok(_) => self.acknowledge_publish(now, id, packet_id, None, is_safe),
            Err(Undelivered::Moved { .. }) => self.tell_received(now, id, packet_id, is_safe),
            result => self.connection_answered(now, id, result),
        }
    }

    /// The Sessions shard has forgotten a packet identifier, or could not be told.
    pub(crate) fn pubrel_answered(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        packet_id: PacketId,
        result: Result<Reply, Undelivered>,
    ) {
        match result {
            Ok(_) => self.session(now, id, SessionInput::Released { packet_id }),
            Err(Undelivered::Moved { .. }) => self.forget_received(now, id, packet_id),
            result => self.connection_answered(now, id, result),
        }
    }

    /// What a session needs its shard for could not be done: it goes on with another connection.
    fn connection_answered(&mut self, now: UnixMillis, id: ConnectionId, result: Result<Reply, Undelivered>) {
        match result {
            Ok(_) => {}
            Err(Undelivered::Superseded) => self.take_over(now, id),
            Err(_) => self.end(now, id, ReasonCode::ServerUnavailable, "the session's state could not be stored"),
        }
    }

    /// Tells the shard what became of a message of QoS 2 from such a session; PUBREC waits for the answer.
    pub(crate) fn tell_received(&mut self, now: UnixMillis, id: ConnectionId, packet_id: PacketId, is_safe: bool) {
        let token = Token::ReceiveSettled { connection: id, packet_id, is_safe };
        let told = self.ask_sessions(id, token, |client_id, number| SessionsRequest::ReceiveSettled {
            client_id,
            number,
            packet_id,
            is_safe,
        });
        if !told {
            self.connection_answered(now, id, Err(Undelivered::Unreachable));
        }
    }

    /// PUBREL: PUBCOMP waits until the shard has forgotten the packet identifier ([MQTT-4.3.3-11]).
    pub(crate) fn forget_received(&mut self, now: UnixMillis, id: ConnectionId, packet_id: PacketId) {
        let token = Token::PubRel { connection: id, packet_id };
        let told =
            self.ask_sessions(id, token, |client_id, number| SessionsRequest::PubRel { client_id, number, packet_id });
        if !told {
            self.connection_answered(now, id, Err(Undelivered::Unreachable));
        }
    }

    /// Asks the Sessions shard to put a SUBSCRIBE into force.
    pub(crate) fn ask_to_subscribe(&mut self, now: UnixMillis, id: ConnectionId, packet_id: PacketId) {
        let Some(subscribing) = self.subscribing.get(&(id, packet_id)) else { return };
        let filters = subscribing.filters.clone();
        let token = Token::Subscribe { connection: id, packet_id };
        let is_told = self.ask_sessions(id, token, |client_id, number| SessionsRequest::Subscribe {
            client_id,
            number,
            packet_id,
            filters,
        });
        if !is_told {
            self.durable_subscribed(now, id, packet_id, Some(&[]));
        }
    }

    /// A Sessions shard has answered a SUBSCRIBE, or could not.
    pub(crate) fn durable_subscribe_answered(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        packet_id: PacketId,
        result: Result<Reply, Undelivered>,
    ) {
        match result {
            // `Subscribed` follows, or came before.
            Ok(Reply::Pending) => {}
            Ok(_) => self.durable_subscribed(now, id, packet_id, None),
            Err(Undelivered::Moved { .. }) => self.ask_to_subscribe(now, id, packet_id),
            Err(error) => {
                self.durable_subscribed(now, id, packet_id, Some(&[]));
                if error == Undelivered::Superseded {
                    self.take_over(now, id);
                }
            }
        }
    }

    /// A SUBSCRIBE is in force: wholly, or for those filters whose place says so.
    pub(crate) fn durable_subscribed(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        packet_id: PacketId,
        are_stored: Option<&[bool]>,
    ) {
        let Some(subscribing) = self.subscribing.remove(&(id, packet_id)) else { return };
        let DurableSubscribe { mut reason_codes, places, filters, .. } = subscribing;
        let mut in_force = Vec::new();
        for (told_at, (at, (filter, ..))) in places.into_iter().zip(filters).enumerate() {
            if are_stored.is_none_or(|stored| stored.get(told_at) == Some(&true)) {
                in_force.push(filter);
                continue;
            }
            if let Some(code) = reason_codes.get_mut(at) {
                *code = ReasonCode::ImplementationSpecificError;
            }
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.session.remove_subscription(&filter);
                connection.durable_filters.remove(&filter);
            }
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.mark_stale();
        }
        self.session(now, id, SessionInput::Subscribed { packet_id, reason_codes });
        self.announce_subscriptions(now, id, SubscriptionEvent::Subscribed, &in_force);
    }

    /// Fails the SUBSCRIBEs that nobody answers.
    pub(crate) fn give_up_subscribes(&mut self, now: UnixMillis) {
        let late: Vec<_> = self.subscribing.iter().filter(|(_, s)| s.until <= now).map(|(key, _)| *key).collect();
        for (id, packet_id) in late {
            self.durable_subscribed(now, id, packet_id, Some(&[]));
        }
    }

    /// Asks the Sessions shard to end subscriptions; UNSUBACK waits for it.
    pub(crate) fn unsubscribe_durable(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        packet_id: PacketId,
        filters: Vec<String>,
        reason_codes: Vec<ReasonCode>,
    ) {
        let token = Token::Unsubscribe(Box::new((id, packet_id, filters.clone(), reason_codes)));
        let told = self.ask_sessions(id, token, |client_id, number| SessionsRequest::Unsubscribe {
            client_id,
            number,
            filters,
        });
        if !told {
            self.connection_answered(now, id, Err(Undelivered::Unreachable));
        }
    }

    pub(crate) fn durable_unsubscribed(
        &mut self,
        now: UnixMillis,
        (id, packet_id, filters, reason_codes): (ConnectionId, PacketId, Vec<String>, Vec<ReasonCode>),
        result: Result<Reply, Undelivered>,
    ) {
        match result {
            Ok(_) => {}
            Err(Undelivered::Moved { .. }) => {
                return self.unsubscribe_durable(now, id, packet_id, filters, reason_codes);
            }
            Err(_) => return self.connection_answered(now, id, result),
        }
        let ended: Vec<String> = filters
            .into_iter()
            .zip(&reason_codes)
            .filter(|(_, code)| **code == ReasonCode::Success)
            .map(|(filter, _)| filter)
            .collect();
        if let Some(connection) = self.connections.get_mut(&id) {
            ended.iter().for_each(|filter| connection.session.remove_subscription(filter));
            connection.mark_stale();
        }
        self.session(now, id, SessionInput::Unsubscribed { packet_id, reason_codes });
        self.announce_subscriptions(now, id, SubscriptionEvent::Unsubscribed, &ended);
    }

    /// A message for the client of such a session, whether it subscribed or not.
    pub(crate) fn ask_direct(
        &mut self,
        client_id: &iot_types::ClientId,
        publication: messages::publication::Publication,
        part: u64,
    ) -> bool {
        let target = Address::sessions_of_client(client_id, &self.settings.sessions_shards);
        let ticket = (publication.qos > iot_types::Qos::AtMostOnce).then_some(part);
        let request = SessionsRequest::Direct { client_id: client_id.clone(), publication, ticket };
        self.outbox.push(target, Request::Sessions(request), Token::Direct(part)).is_ok()
    }
}
