//! The short way of a publish: straight from its publisher to the clients of this node that its plan names, with
//! nothing kept in between. It does what the long way does (`publish`, `dispatch`, `delivery`) where there is nobody to
//! wait for.

use crate::broker::Broker;
use crate::plans::{Receiver, Way};
use crate::publish::passed_properties;
use bytes::{Bytes, BytesMut};
use iot_types::{PacketId, Qos, UnixMillis};
use messages::broker::ConnectionId;
use messages::publication::Publication;
use mqtt_codec::{Delivery as Addressed, ProtocolVersion, Publish, PublishTemplate, ReasonCode};
use mqtt_session::{Delivery, Input as SessionInput};
use std::rc::Rc;

/// One publish on the short way.
pub struct Straight {
    publish: Publish,
    /// Made when a session has to keep it.
    publication: Option<Rc<Publication>>,
    /// As it goes out with QoS 0, in MQTT 3.1.1 and 5, once that has been made.
    encoded: [Option<Bytes>; 2],
    /// As it goes out with QoS 1 and 2, likewise.
    templates: [Option<PublishTemplate>; 2],
}

impl Straight {
    pub const fn new(publish: Publish) -> Self {
        Self { publish, publication: None, encoded: [None, None], templates: [None, None] }
    }
}

impl Broker {
    /// A PUBLISH from a connected client.
    pub(crate) fn client_published(&mut self, now: UnixMillis, id: ConnectionId, mut publish: Publish) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut out = core::mem::take(&mut self.scratch);
        let is_admitted = connection.session.receive_publish(now, &mut publish, &mut out);
        let comes_next = connection.pending == connection.forwarded;
        // Who may not is told so on the long way.
        let is_allowed = is_admitted && connection.may_publish(now, &publish.topic, publish.retain);
        let is_durable = connection.is_durable;
        if let Some(permissions) = connection.permissions.as_ref().filter(|_| is_allowed) {
            permissions.propagate(&mut publish);
        }
        if !out.is_empty() {
            self.carry_out(id, &mut out);
        }
        self.scratch = out;
        if !is_admitted {
            return self.drain(now);
        }
        let is_plain = is_allowed && comes_next && !publish.retain && !(is_durable && publish.qos == Qos::ExactlyOnce);
        let plan = if is_plain { self.plan(now, &publish.topic) } else { None };
        match plan.as_ref().and_then(|plan| plan.way.as_ref()) {
            Some(way) if way.elsewhere.len() == 0 || self.can_forward(id, &publish, &way.elsewhere) => {
                self.publish_straight(now, id, publish, way);
            }
            _ => self.publish_from_client(now, id, publish),
        }
        self.drain(now);
    }

    fn publish_straight(&mut self, now: UnixMillis, id: ConnectionId, publish: Publish, way: &Way) {
        self.routes.note_use();
        let packet_id = publish.packet_id;
        let is_forwarded = way.elsewhere.len() > 0;
        let mut straight = Straight::new(publish);
        if is_forwarded {
            let ticket = self.begin_forward(id, &straight.publish, &way.elsewhere);
            self.forward_to_brokers(now, ticket, &straight.publish, &way.elsewhere.brokers);
            if !way.elsewhere.sessions.is_empty() {
                let publication = self.publication_of(now, Some(id), &mut straight);
                self.forward_to_sessions(now, ticket, &publication, &way.elsewhere.sessions);
            }
        }
        self.hand_out(now, Some(id), straight, &way.receivers);
        if let Some(packet_id) = packet_id
            && !is_forwarded
        {
            self.session(now, id, SessionInput::Settled { packet_id, reason_code: ReasonCode::Success });
        }
    }

    /// Gives a publish to clients of this node. `publisher`: its connection, if it is one of them, too.
    pub(crate) fn hand_out(
        &mut self,
        now: UnixMillis,
        publisher: Option<ConnectionId>,
        mut straight: Straight,
        receivers: &[Receiver],
    ) {
        // With a name of its own, each session notes which it has had.
        let is_shared =
            straight.publish.qos < Qos::ExactlyOnce && straight.publish.properties.message_expiry_interval != Some(0);
        for receiver in receivers {
            let qos = receiver.qos.min(straight.publish.qos);
            let is_plain = qos == Qos::AtMostOnce && is_shared && receiver.subscription_identifiers.is_empty();
            if !(is_plain && self.send_shared(&mut straight, receiver.id, receivers.len() > 1)) {
                let publication = self.publication_of(now, publisher, &mut straight);
                let subscription_identifiers = receiver.subscription_identifiers.clone();
                let delivery = Delivery { publication, qos, retain: false, subscription_identifiers };
                let is_template = qos > Qos::AtMostOnce && receivers.len() > 1;
                if !(is_template && self.send_template(now, &mut straight, receiver.id, &delivery)) {
                    self.deliver_to(now, receiver.id, delivery);
                }
            }
        }
    }

    /// Delivers with QoS 1 or 2 by a packet of which the most is made once for all; `false` if this client has to get
    /// another one, or none.
    fn send_template(
        &mut self,
        now: UnixMillis,
        straight: &mut Straight,
        id: ConnectionId,
        delivery: &Delivery,
    ) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return true };
        let version = connection.version();
        let [older, newer] = &mut straight.templates;
        let template = if version == ProtocolVersion::V5 { newer } else { older };
        let template = template.get_or_insert_with(|| PublishTemplate::new(&straight.publish, version));
        let mut addressed = Addressed {
            dup: false,
            qos: delivery.qos,
            retain: false,
            packet_id: Some(PacketId::FIRST),
            subscription_identifiers: &delivery.subscription_identifiers,
        };
        let is_heard =
            connection.unheard_bytes() + straight.publish.payload.len() <= self.settings.limits.maximum_unheard_bytes;
        let is_alike = connection.session.takes_shared(template.encoded_len(&addressed));
        if connection.is_durable || !is_heard || !is_alike || delivery.publication.is_expired(now) {
            return false;
        }
        let mut out = core::mem::take(&mut self.scratch);
        if let Some(packet_id) = connection.session.deliver_shared(delivery.clone(), now, &mut out) {
            addressed.packet_id = Some(packet_id);
            connection.send_template(template, &addressed, &mut self.frames);
        }
        self.carry_out(id, &mut out);
        self.scratch = out;
        true
    }

    /// Adds the bytes that many get to what this connection is sent; `false` if it has to get others, or none.
    fn send_shared(&mut self, straight: &mut Straight, id: ConnectionId, by_many: bool) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return true };
        let Straight { publish, encoded, .. } = straight;
        let payload = publish.payload.len();
        let is_heard = connection.unheard_bytes() + payload <= self.settings.limits.maximum_unheard_bytes;
        let version = connection.version();
        if !is_heard || !connection.session.takes_shared(publish.encoded_len(version)) {
            return false;
        }
        // Who has a frame is among the touched already.
        if !connection.has_frame() {
            self.touched.insert(id);
        }
        // Written with QoS 0.
        let packet_id = publish.packet_id.take();
        if by_many {
            let [older, newer] = encoded;
            let encoded = if version == ProtocolVersion::V5 { newer } else { older };
            let bytes = encoded.get_or_insert_with(|| {
                let mut bytes = BytesMut::with_capacity(publish.encoded_len(version));
                publish.encode(version, &mut bytes);
                bytes.freeze()
            });
            connection.send_shared(bytes, &mut self.frames);
        } else {
            connection.send_publish(publish, &mut self.frames);
        }
        publish.packet_id = packet_id;
        true
    }

    fn publication_of(
        &mut self,
        now: UnixMillis,
        publisher: Option<ConnectionId>,
        straight: &mut Straight,
    ) -> Rc<Publication> {
        if let Some(publication) = &straight.publication {
            return Rc::clone(publication);
        }
        let publish = &straight.publish;
        let connection = publisher.and_then(|id| self.connections.get_mut(&id));
        let (client_id, message_id) = connection.map_or((None, None), |connection| {
            let named = publish.qos == Qos::ExactlyOnce;
            let message_id = if named { connection.next_message_id(now) } else { None };
            (connection.client_id.as_ref().map(|client_id| client_id.as_str().to_owned()), message_id)
        });
        let publication = Rc::new(Publication {
            topic: publish.topic.to_string(),
            payload: publish.payload.clone(),
            qos: publish.qos,
            retain: false,
            properties: passed_properties(&publish.properties),
            client_id,
            accepted_at: now,
            message_id,
        });
        straight.publication = Some(Rc::clone(&publication));
        publication
    }
}
