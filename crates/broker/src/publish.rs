//! Publishing: to this node's subscribers, to the other nodes that want it, to rules; and the acknowledgement when
//! the message is safe with all of them ("delivered or durable", ARCHITECTURE.md).

use crate::broker::{Broker, Token};
use crate::connection::Connection;
use iot_types::{PacketId, Qos, UnixMillis};
use messages::Request;
use messages::address::{Address, BrokerId};
use messages::broker::{BrokerRequest, ConnectionId};
use messages::publication::{Publication, PublicationProperties};
use messages::router::{Destinations, RouterRequest};
use mqtt_codec::{Publish, ReasonCode};
use mqtt_session::{Delivery, Input as SessionInput, SubscriptionOptions, WillMessage};
use mqtt_topic::TopicName;
use mqtt_topic::reserved::{self, ReservedTopic};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// Names a publish on its way.
pub type Ticket = u64;

/// The publishes that are not safe with everybody yet.
#[derive(Default)]
pub struct Publishes {
    pending: BTreeMap<Ticket, Pending>,
    /// Publishes of one publisher leave for other nodes in the order they came, though their Routers answer in any.
    order: BTreeMap<Publisher, VecDeque<Ticket>>,
    next_ticket: Ticket,
    bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Publisher {
    Connection(ConnectionId),
    Platform,
}

struct Pending {
    publisher: Publisher,
    packet_id: Option<PacketId>,
    publication: Rc<Publication>,
    routes_left: usize,
    destinations: BTreeSet<BrokerId>,
    /// Everything else that has to be done before it is safe: other nodes, rules, a Thing.
    parts_left: usize,
    has_failed: bool,
    is_dispatched: bool,
}

impl Publishes {
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub fn publication(&self, ticket: Ticket) -> Option<Rc<Publication>> {
        self.pending.get(&ticket).map(|pending| Rc::clone(&pending.publication))
    }

    /// The connection that waits for the publish, if a client sent it.
    pub fn connection(&self, ticket: Ticket) -> Option<ConnectionId> {
        match self.pending.get(&ticket)?.publisher {
            Publisher::Connection(id) => Some(id),
            Publisher::Platform => None,
        }
    }

    /// One more part has to be done before the publish is safe.
    pub fn add_part(&mut self, ticket: Ticket) {
        if let Some(pending) = self.pending.get_mut(&ticket) {
            pending.parts_left += 1;
        }
    }
}

impl Broker {
    pub(crate) fn publish_from_client(&mut self, now: UnixMillis, id: ConnectionId, publish: Publish) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let (packet_id, topic) = (publish.packet_id, publish.topic.to_string());
        let refusal = match TopicName::new(topic.as_str()).and_then(|topic| topic.check(&self.settings.topics)) {
            Err(_) => Some((ReasonCode::TopicNameInvalid, "the Topic Name is invalid or too long")),
            Ok(()) if !reserved::may_publish(&topic) => {
                Some((ReasonCode::NotAuthorized, "clients may not publish to this reserved topic"))
            }
            Ok(()) => None,
        };
        if let Some((reason_code, reason)) = refusal {
            return self.refuse_publish(now, id, packet_id, &topic, reason_code, reason);
        }
        let publication = Publication {
            topic,
            payload: publish.payload,
            qos: publish.qos,
            retain: publish.retain,
            properties: passed_properties(&publish.properties),
            client_id: connection.session.client_id().map(|client_id| client_id.as_str().to_owned()),
            accepted_at: now,
        };
        let weight = publication.weight();
        let too_many = connection.pending >= self.settings.maximum_pending_per_connection
            || connection.pending_bytes + weight > self.settings.maximum_pending_bytes_per_connection;
        if too_many || self.publishes.bytes + weight > self.settings.maximum_pending_bytes {
            if packet_id.is_some() {
                let reason = "more is being published than can be passed on";
                let input = SessionInput::End { reason_code: ReasonCode::QuotaExceeded, reason };
                return self.session(now, id, input);
            }
            return self.log(id, "message_dropped", Some(&publication.topic), Some("too much is on its way"), None);
        }
        connection.pending += 1;
        connection.pending_bytes += weight;
        match reserved::parse(&publication.topic) {
            Some(ReservedTopic::Rule { rule_name, topic }) => {
                let (rule_name, topic) = (rule_name.to_owned(), topic.unwrap_or_default().to_owned());
                self.publish_to_rule(now, id, packet_id, publication, &rule_name, topic);
            }
            Some(ReservedTopic::Job { .. }) => self.publish_to_thing(now, id, packet_id, publication, false),
            Some(ReservedTopic::Shadow { .. }) => self.publish_to_thing(now, id, packet_id, publication, true),
            _ => {
                let ticket = self.take(Publisher::Connection(id), packet_id, publication);
                self.pass_on(now, ticket, Some(id));
            }
        }
    }

    /// A refusal leaves the connection open where the client can be told ([MQTT-4.8.0-2] and section 3.4.2.1).
    pub(crate) fn refuse_publish(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        packet_id: Option<PacketId>,
        topic: &str,
        reason_code: ReasonCode,
        reason: &'static str,
    ) {
        self.log(id, "publish_refused", Some(topic), Some(reason), Some(reason_code));
        let is_v5 = self.connections.get(&id).is_some_and(|c| c.session.is_v5());
        let input = match packet_id {
            Some(packet_id) if is_v5 => SessionInput::Settled { packet_id, reason_code },
            _ => SessionInput::End { reason_code, reason },
        };
        self.session(now, id, input);
    }

    /// Publishes for somebody who is no client here: a Thing, the API, a will.
    pub(crate) fn publish_for_platform(&mut self, now: UnixMillis, publication: Publication) {
        let ticket = self.take(Publisher::Platform, None, publication);
        self.pass_on(now, ticket, None);
    }

    pub(crate) fn publish_will(&mut self, now: UnixMillis, connection: &Connection, will: WillMessage) {
        let allowed = TopicName::new(will.topic.as_str()).is_ok_and(|topic| topic.check(&self.settings.topics).is_ok())
            && reserved::parse(&will.topic).is_none();
        if !allowed {
            return;
        }
        let client_id = connection.session.client_id().map(|client_id| client_id.as_str().to_owned());
        let WillMessage { topic, payload, qos, retain, properties } = will;
        let publication = Publication { topic, payload, qos, retain, properties, client_id, accepted_at: now };
        self.publish_for_platform(now, publication);
    }

    pub(crate) fn take_from_client(
        &mut self,
        id: ConnectionId,
        packet_id: Option<PacketId>,
        publication: Publication,
    ) -> Ticket {
        self.take(Publisher::Connection(id), packet_id, publication)
    }

    fn take(&mut self, publisher: Publisher, packet_id: Option<PacketId>, publication: Publication) -> Ticket {
        let ticket = self.publishes.next_ticket;
        self.publishes.next_ticket += 1;
        self.publishes.bytes += publication.weight();
        let pending = Pending {
            publisher,
            packet_id,
            publication: Rc::new(publication),
            routes_left: 0,
            destinations: BTreeSet::new(),
            // The publish itself, until everything that it needs has been asked for.
            parts_left: 1,
            has_failed: false,
            is_dispatched: false,
        };
        self.publishes.pending.insert(ticket, pending);
        ticket
    }

    /// Hands a publish to everybody it may concern, and takes away the part that stood for doing so.
    pub(crate) fn pass_on(&mut self, now: UnixMillis, ticket: Ticket, publisher: Option<ConnectionId>) {
        let Some(publication) = self.publishes.publication(ticket) else { return };
        self.deliver(now, &publication, publisher);
        self.offer_to_rules(now, ticket, &publication);
        if self.settings.broker_count > 1 {
            self.ask_routers(now, ticket, &publication);
        }
        self.part_done(now, ticket, true);
    }

    fn ask_routers(&mut self, now: UnixMillis, ticket: Ticket, publication: &Publication) {
        let Some(pending) = self.publishes.pending.get_mut(&ticket) else { return };
        let shards = routing::shards_of_topic(&publication.topic, self.settings.router_shards);
        pending.routes_left = shards.len();
        pending.parts_left += 1;
        self.publishes.order.entry(pending.publisher).or_default().push_back(ticket);
        for shard in shards {
            let request = Request::Router(RouterRequest::Route { topic: publication.topic.clone() });
            if self.outbox.push(shard, request, Token::Route(ticket)).is_err() {
                self.routed(now, ticket, None);
            }
        }
    }

    /// A Router has answered for a publish, or could not.
    pub(crate) fn routed(&mut self, now: UnixMillis, ticket: Ticket, destinations: Option<Destinations>) {
        let Some(pending) = self.publishes.pending.get_mut(&ticket) else { return };
        pending.routes_left = pending.routes_left.saturating_sub(1);
        match destinations {
            Some(destinations) => pending.destinations.extend(destinations.brokers),
            None => pending.has_failed = true,
        }
        let publisher = pending.publisher;
        loop {
            let Some(queue) = self.publishes.order.get_mut(&publisher) else { return };
            let Some(first) = queue.front().copied() else {
                self.publishes.order.remove(&publisher);
                return;
            };
            let is_ready = self.publishes.pending.get(&first).is_none_or(|pending| pending.routes_left == 0);
            if !is_ready {
                return;
            }
            queue.pop_front();
            self.dispatch(now, first);
        }
    }

    /// Sends a publish whose Routers have all answered to the nodes they named.
    fn dispatch(&mut self, now: UnixMillis, ticket: Ticket) {
        let Some(pending) = self.publishes.pending.get_mut(&ticket) else { return };
        if core::mem::replace(&mut pending.is_dispatched, true) {
            return;
        }
        let mut destinations = core::mem::take(&mut pending.destinations);
        // Its own subscribers have had it.
        destinations.remove(&self.settings.id);
        let publication = Rc::clone(&pending.publication);
        pending.parts_left += destinations.len();
        for destination in destinations {
            let request = Request::Broker(BrokerRequest::Deliver((*publication).clone()));
            if self.outbox.push(Address::Broker(destination), request, Token::Deliver(ticket)).is_err() {
                // A slow node loses QoS 0 and holds back nobody; QoS 1 is not acknowledged and comes again.
                self.part_done(now, ticket, publication.qos == Qos::AtMostOnce);
            }
        }
        self.part_done(now, ticket, true);
    }

    /// One of the parts is done; with the last one, the publish is settled.
    pub(crate) fn part_done(&mut self, now: UnixMillis, ticket: Ticket, succeeded: bool) {
        let Some(pending) = self.publishes.pending.get_mut(&ticket) else { return };
        pending.has_failed |= !succeeded;
        pending.parts_left = pending.parts_left.saturating_sub(1);
        if pending.parts_left > 0 {
            return;
        }
        let Some(settled) = self.publishes.pending.remove(&ticket) else { return };
        self.publishes.bytes = self.publishes.bytes.saturating_sub(settled.publication.weight());
        let Publisher::Connection(id) = settled.publisher else { return };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.pending = connection.pending.saturating_sub(1);
            connection.pending_bytes = connection.pending_bytes.saturating_sub(settled.publication.weight());
        }
        match (settled.packet_id, settled.has_failed) {
            (Some(packet_id), false) => {
                self.session(now, id, SessionInput::Settled { packet_id, reason_code: ReasonCode::Success });
            }
            (Some(_), true) => {
                let (reason_code, reason) =
                    (ReasonCode::ImplementationSpecificError, "the message could not be passed on; publish it again");
                let topic = settled.publication.topic.clone();
                self.refuse_publish(now, id, settled.packet_id, &topic, reason_code, reason);
            }
            (None, _) => {}
        }
    }

    /// Delivers to this node's subscribers: one copy for each client, whatever number of its filters match.
    pub(crate) fn deliver(&mut self, now: UnixMillis, publication: &Rc<Publication>, publisher: Option<ConnectionId>) {
        let mut matches: Vec<(ConnectionId, SubscriptionOptions)> = Vec::new();
        self.index.for_each_match(&publication.topic, |id, options| {
            if !(options.no_local && publisher == Some(*id)) {
                matches.push((*id, *options));
            }
        });
        matches.sort_by_key(|(id, _)| *id);
        for same in matches.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((id, _)) = same.first() else { continue };
            let qos = same.iter().map(|(_, options)| options.qos).max().unwrap_or_default();
            let delivery = Delivery {
                publication: Rc::clone(publication),
                qos: qos.min(publication.qos),
                retain: publication.retain && same.iter().any(|(_, options)| options.retain_as_published),
                subscription_identifiers: same.iter().filter_map(|(_, o)| o.subscription_identifier).collect(),
            };
            self.session(now, *id, SessionInput::Deliver(delivery));
        }
    }

    /// Delivers to one connection, whether it subscribed or not.
    pub(crate) fn deliver_directly(&mut self, now: UnixMillis, id: ConnectionId, publication: Publication) {
        let qos = publication.qos.min(self.settings.session.maximum_qos);
        let delivery =
            Delivery { publication: Rc::new(publication), qos, retain: false, subscription_identifiers: Vec::new() };
        self.session(now, id, SessionInput::Deliver(delivery));
    }
}

fn passed_properties(properties: &mqtt_codec::PublishProperties) -> Option<Box<PublicationProperties>> {
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
            user_properties: p.user_properties.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        })
    })
}
