//! Messages to this node's own clients.

use crate::broker::Broker;
use crate::token::Token;
use iot_types::{Qos, UnixMillis};
use messages::broker::ConnectionId;
use messages::publication::Publication;
use messages::session::SubscriptionOptions;
use messages::sessions::SessionsRequest;
use mqtt_session::{Delivery, Input as SessionInput};
use std::rc::Rc;

impl Broker {
    /// Delivers to this node's subscribers whose sessions end with their connections: one copy for each client,
    /// whatever number of its filters match ([MQTT-3.3.4-2]).
    pub(crate) fn deliver(&mut self, now: UnixMillis, publication: &Rc<Publication>, publisher: Option<ConnectionId>) {
        let mut matches: Vec<(ConnectionId, SubscriptionOptions)> = Vec::new();
        self.index.for_each_match(&publication.topic, |id, options| {
            if !(options.no_local && publisher == Some(*id)) {
                matches.push((*id, *options));
            }
        });
        matches.sort_by_key(|(id, _)| *id);
        matches.retain(|(id, _)| self.may_receive(now, *id, &publication.topic));
        for same in matches.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((id, _)) = same.first() else { continue };
            let qos = same.iter().map(|(_, options)| options.qos).max().unwrap_or_default();
            let delivery = Delivery {
                publication: Rc::clone(publication),
                qos: qos.min(publication.qos),
                retain: publication.retain && same.iter().any(|(_, options)| options.retain_as_published),
                subscription_identifiers: same.iter().filter_map(|(_, o)| o.subscription_identifier).collect(),
            };
            if publication.retain {
                self.note_live(*id, &publication.topic);
            }
            self.deliver_to(now, *id, delivery);
        }
    }

    /// Whether a connection's client may receive messages of a topic. AWS drops what it may not without a word.
    pub(crate) fn may_receive(&self, now: UnixMillis, id: ConnectionId, topic: &str) -> bool {
        self.connections.get(&id).is_some_and(|connection| connection.may_receive(now, topic).is_allowed)
    }

    /// Gives a message to one session, unless its client reads nothing.
    pub(crate) fn deliver_to(&mut self, now: UnixMillis, id: ConnectionId, delivery: Delivery) {
        let is_droppable = delivery.qos == Qos::AtMostOnce;
        if self.is_heard(now, id, delivery.publication.payload.len(), is_droppable) {
            self.session(now, id, SessionInput::Deliver(delivery));
        } else {
            self.log(id, "message_dropped", None, Some("the client seems not to read"), None);
        }
    }

    /// Delivers to one connection, whether it subscribed or not.
    pub(crate) fn deliver_directly(&mut self, now: UnixMillis, id: ConnectionId, publication: Publication) {
        let qos = publication.qos.min(self.settings.session.maximum_qos);
        if qos > Qos::AtMostOnce && self.is_durable(id) {
            // What has a packet identifier in such a session comes from its Sessions shard. If it can't be asked, the
            // client asks again.
            let _ = self.ask_sessions(id, Token::Nothing, |client_id, _| SessionsRequest::Direct {
                client_id,
                publication,
                ticket: None,
            });
            return;
        }
        let delivery =
            Delivery { publication: Rc::new(publication), qos, retain: false, subscription_identifiers: Vec::new() };
        self.deliver_to(now, id, delivery);
    }
}
