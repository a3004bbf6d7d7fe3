//! Taking a publish: from a client, from another part of the platform, from the API. What becomes of it then is in
//! `dispatch`.

use crate::broker::Broker;
use crate::io::Output;
use crate::publishes::{Origin, Publisher, Ticket};
use crate::reserved::thing_request;
use crate::token::Token;
use iot_types::{PacketId, Qos, UnixMillis};
use messages::address::Address;
use messages::api::{ApiFailure, BrokerApiReply};
use messages::broker::ConnectionId;
use messages::channel::Undelivered;
use messages::publication::{MessageId, Publication, PublicationProperties};
use messages::sessions::{ReceivedState, SessionsRequest};
use messages::{Refusal, Reply, Request};
use mqtt_codec::{Publish, ReasonCode};
use mqtt_session::Input as SessionInput;
use mqtt_topic::TopicName;
use mqtt_topic::reserved::{self, ReservedTopic};

const FORBIDDEN: &str = "no policy allows this client to publish to the topic";

impl Broker {
    pub(crate) fn publish_from_client(&mut self, now: UnixMillis, id: ConnectionId, publish: Publish) {
        let Some(connection) = self.connections.get(&id) else { return };
        let client_id = connection.client_id.as_ref().map(|client_id| client_id.as_str().to_owned());
        let (packet_id, topic) = (publish.packet_id, publish.topic.to_string());
        if let Some((reason_code, reason)) = self.refusal(&topic) {
            return self.refuse_publish(now, id, packet_id, Some(&topic), reason_code, reason);
        }
        if !self.connections.get_mut(&id).is_some_and(|c| c.may_publish(now, &topic, publish.retain)) {
            return self.refuse_publish(now, id, packet_id, Some(&topic), ReasonCode::NotAuthorized, FORBIDDEN);
        }
        let mut publication = Publication {
            topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            properties: passed_properties(&publish.properties),
            client_id,
            accepted_at: now,
            message_id: None,
        };
        if !self.has_budget(id, publication.weight()) {
            if packet_id.is_some() {
                let reason = "more is being published than can be passed on";
                let input = SessionInput::End { reason_code: ReasonCode::QuotaExceeded, reason };
                return self.session(now, id, input);
            }
            return self.log(id, "message_dropped", Some(&publication.topic), Some("too much is on its way"), None);
        }
        if publication.qos == Qos::ExactlyOnce
            && let Some(connection) = self.connections.get_mut(&id)
        {
            publication.message_id = connection.next_message_id(now);
        }
        let receives = publication.message_id.filter(|_| self.is_durable(id));
        let ticket =
            self.take(now, Publisher::Connection(id), Origin::Client { connection: id, packet_id }, publication);
        match (receives, packet_id) {
            (Some(message_id), Some(packet_id)) => self.receive(now, id, ticket, packet_id, message_id),
            _ => self.begin(now, ticket),
        }
    }

    /// Why nobody may publish to this topic; `None` if one may.
    pub(crate) fn refusal(&self, topic: &str) -> Option<(ReasonCode, &'static str)> {
        match TopicName::new(topic).and_then(|topic| topic.check(&self.settings.topics)) {
            Err(_) => Some((ReasonCode::TopicNameInvalid, "the Topic Name is invalid or too long")),
            Ok(()) if !reserved::may_publish(topic) => {
                Some((ReasonCode::NotAuthorized, "clients may not publish to this reserved topic"))
            }
            // What no Thing would understand is refused here, while there is somebody to tell.
            Ok(()) => match reserved::parse(topic) {
                Some(ReservedTopic::Shadow { .. } | ReservedTopic::Job { .. }) if thing_name(topic).is_none() => {
                    Some((ReasonCode::TopicNameInvalid, "the topic names no valid thing or shadow"))
                }
                _ => None,
            },
        }
    }

    /// A refusal leaves the connection open where the client can be told ([MQTT-4.8.0-2] and section 3.4.2.1).
    pub(crate) fn refuse_publish(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        packet_id: Option<PacketId>,
        topic: Option<&str>,
        reason_code: ReasonCode,
        reason: &'static str,
    ) {
        self.log(id, "publish_refused", topic, Some(reason), Some(reason_code));
        let is_v5 = self.connections.get(&id).is_some_and(|c| c.session.is_v5());
        let input = match packet_id {
            Some(packet_id) if is_v5 => SessionInput::Settled { packet_id, reason_code },
            _ => SessionInput::End { reason_code, reason },
        };
        self.session(now, id, input);
    }

    /// A message of QoS 2 from a session that outlives its connection: its packet identifier becomes a row before
    /// anybody gets the message ([MQTT-4.3.3-10]).
    fn receive(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        ticket: Ticket,
        packet_id: PacketId,
        message_id: MessageId,
    ) {
        self.publishes.mark_received(ticket, true);
        let asked = self.ask_sessions(id, Token::Receive(ticket), |client_id, number| SessionsRequest::Receive {
            client_id,
            number,
            packet_id,
            message_id,
        });
        if !asked {
            self.received_state(now, ticket, None);
        }
    }

    /// The Sessions shard has answered for a packet identifier, or could not.
    pub(crate) fn receive_answered(&mut self, now: UnixMillis, ticket: Ticket, result: Result<Reply, Undelivered>) {
        let named = self.publishes.publication(ticket).and_then(|publication| publication.message_id);
        match (result, self.publishes.client(ticket), named) {
            (Ok(Reply::Received(state)), ..) => self.received_state(now, ticket, Some(state)),
            (Err(Undelivered::Moved { .. }), Some((id, Some(packet_id))), Some(message_id)) => {
                self.receive(now, id, ticket, packet_id, message_id);
            }
            (result, client, _) => {
                self.received_state(now, ticket, None);
                if let (Some((id, _)), Err(Undelivered::Superseded)) = (client, result) {
                    self.take_over(now, id);
                }
            }
        }
    }

    fn received_state(&mut self, now: UnixMillis, ticket: Ticket, state: Option<ReceivedState>) {
        match state {
            Some(state) if !state.is_settled => {
                self.publishes.name(ticket, state.message_id);
                self.begin(now, ticket);
            }
            // Settled: everybody has it, and the client was not told or did not hear it.
            _ => {
                self.publishes.mark_received(ticket, false);
                self.abandon(now, ticket, state.is_some());
            }
        }
    }

    /// Publishes a will or a presence event of a Sessions object, which publishes it again unless it is safe with
    /// everybody. The answer, if it is known at once.
    pub(crate) fn announce(&mut self, now: UnixMillis, object: u32, ticket: u64, publication: Publication) -> Reply {
        if !self.has_room_for(publication.weight()) {
            return Reply::Refused(Refusal::Full);
        }
        self.publish_as(now, Origin::Sessions { object, ticket }, publication, None);
        let Some(announced) = self.announced.get_mut(&object) else { return Reply::Pending };
        let known = announced.iter().position(|settled| *settled == (ticket, true));
        known.map_or(Reply::Pending, |at| {
            announced.swap_remove(at);
            Reply::Applied
        })
    }

    /// Tells Sessions objects what became of their wills and presence events. What they don't hear they publish again.
    pub(crate) fn tell_announced(&mut self) {
        for (object, tickets) in core::mem::take(&mut self.announced) {
            if !tickets.is_empty() {
                let request = Request::Sessions(SessionsRequest::Announced { tickets });
                let _ = self.outbox.push(Address::Sessions(object), request, Token::Nothing);
            }
        }
    }

    /// Publishes for somebody who is no client here: a Thing, an event. `key` names whose messages keep their
    /// order; else it is the client's they are from, the thing's they are about, or the topic's.
    pub(crate) fn publish_for_platform(&mut self, now: UnixMillis, publication: Publication, key: Option<String>) {
        self.publish_as(now, Origin::Platform, publication, key);
    }

    fn publish_as(&mut self, now: UnixMillis, origin: Origin, mut publication: Publication, key: Option<String>) {
        self.name_message(now, &mut publication);
        let publisher = Publisher::Platform(key.unwrap_or_else(|| platform_key(&publication)));
        let is_for_rule = matches!(reserved::parse(&publication.topic), Some(ReservedTopic::Rule { .. }));
        let ticket = self.take(now, publisher, origin, publication);
        if is_for_rule {
            self.begin(now, ticket);
        } else {
            // A will is no request to a shadow or a job (AWS developer guide, "Device Shadow MQTT topics").
            self.begin_message(now, ticket);
        }
    }

    /// AWS `Publish`: as if a client had, but that the caller waits for the outcome.
    pub(crate) fn publish_request(&mut self, now: UnixMillis, request: u64, mut publication: Publication) {
        let failure = match self.refusal(&publication.topic) {
            Some(_) => Some(ApiFailure::NotAuthorized),
            None if !self.has_room_for(publication.weight()) => Some(ApiFailure::Overloaded),
            None => None,
        };
        if let Some(failure) = failure {
            return self.outputs.push(Output::Published { request, outcome: BrokerApiReply::Failed(failure) });
        }
        self.name_message(now, &mut publication);
        let publisher = Publisher::Platform(platform_key(&publication));
        let ticket = self.take(now, publisher, Origin::Request(request), publication);
        self.begin(now, ticket);
    }

    /// A message of QoS 2 needs a name, or its receivers could not tell a repetition.
    fn name_message(&mut self, now: UnixMillis, publication: &mut Publication) {
        if publication.qos == Qos::ExactlyOnce && publication.message_id.is_none() {
            publication.message_id = Some(self.publishes.platform_message_id(now, &self.settings.id));
        }
    }

    /// Hands a publish on: to a rule, to a Thing, to everybody it may concern.
    fn begin(&mut self, now: UnixMillis, ticket: Ticket) {
        let Some(publication) = self.publishes.publication(ticket) else { return };
        match reserved::parse(&publication.topic) {
            Some(ReservedTopic::Rule { rule_name, topic }) => {
                let (rule_name, topic) = (rule_name.to_owned(), topic.unwrap_or_default().to_owned());
                self.publish_to_rule(now, ticket, rule_name, topic);
                self.abandon(now, ticket, true);
            }
            // Job requests pass neither the broker nor rules.
            Some(ReservedTopic::Job { .. }) => {
                self.publish_to_thing(now, ticket, &publication);
                self.abandon(now, ticket, true);
            }
            // Nor do those of devices that are being provisioned.
            Some(ReservedTopic::Provisioning { .. }) => {
                self.publish_to_provisioning(ticket, &publication);
                self.abandon(now, ticket, true);
            }
            // Shadow requests are messages, too, that others can subscribe to.
            Some(ReservedTopic::Shadow { message, .. }) => {
                if message.is_request() {
                    self.publish_to_thing(now, ticket, &publication);
                }
                self.begin_message(now, ticket);
            }
            _ => self.begin_message(now, ticket),
        }
    }

    /// Asks the Sessions shard of a connection's client; `false` when it can't be asked.
    pub(crate) fn ask_sessions(
        &mut self,
        id: ConnectionId,
        token: Token,
        request: impl FnOnce(iot_types::ClientId, u64) -> SessionsRequest,
    ) -> bool {
        let Some(connection) = self.connections.get(&id) else { return false };
        let Some((client_id, number)) = connection.client_id.clone().zip(connection.number) else {
            return false;
        };
        let target = Address::sessions_of_client(&client_id, &self.settings.sessions_shards);
        self.outbox.push(target, Request::Sessions(request(client_id, number)), token).is_ok()
    }
}

/// Whose messages keep their order, when the publisher is no connection.
fn platform_key(publication: &Publication) -> String {
    match (&publication.client_id, reserved::parse(&publication.topic)) {
        (Some(client_id), _) => client_id.clone(),
        (None, Some(ReservedTopic::Shadow { thing, .. } | ReservedTopic::Job { thing, .. })) => thing.to_owned(),
        (None, _) => publication.topic.clone(),
    }
}

fn thing_name(topic: &str) -> Option<iot_types::ThingName> {
    let request = Publication::of_platform(topic.to_owned(), "", Qos::AtMostOnce, UnixMillis(0));
    thing_request(&request).map(|(thing_name, _)| thing_name)
}

pub(crate) fn passed_properties(properties: &mqtt_codec::PublishProperties) -> Option<Box<PublicationProperties>> {
    let p = properties;
    let is_empty = p.payload_format_indicator.is_none()
        && p.message_expiry_interval.is_none()
        && p.content_type.is_none()
        && p.response_topic.is_none()
        && p.correlation_data.is_none()
        && p.user_properties.is_empty();
    (!is_empty).then(|| {
        Box::new(PublicationProperties {
            payload_format_indicator: p.payload_format_indicator,
            message_expiry_interval: p.message_expiry_interval,
            content_type: p.content_type.as_deref().map(str::to_owned),
            response_topic: p.response_topic.as_deref().map(str::to_owned),
            correlation_data: p.correlation_data.clone(),
            user_properties: p.user_properties.clone(),
        })
    })
}
