//! Publishes to reserved topics that are requests: shadows and jobs, answered by the Thing.

use crate::broker::{Broker, Token};
use crate::publish::Ticket;
use bytes::Bytes;
use iot_types::{PacketId, ShadowName, ThingName, UnixMillis};
use messages::Request;
use messages::address::Address;
use messages::broker::ConnectionId;
use messages::publication::Publication;
use messages::thing::{JobOperation, Plane, ShadowOperation, ThingReply, ThingRequest};
use mqtt_codec::ReasonCode;
use mqtt_topic::reserved::{self, JobMessage, ReservedTopic, ShadowMessage};

impl Broker {
    /// `is_message`: whether the request is also a message that others can subscribe to. Shadow requests are; job
    /// requests pass neither the broker nor rules.
    pub(crate) fn publish_to_thing(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        packet_id: Option<PacketId>,
        publication: Publication,
        is_message: bool,
    ) {
        let Some((thing_name, request)) = thing_request(&publication) else {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.pending = connection.pending.saturating_sub(1);
                connection.pending_bytes = connection.pending_bytes.saturating_sub(publication.weight());
            }
            let reason = "the topic names no valid thing or shadow";
            let topic = publication.topic.clone();
            return self.refuse_publish(now, id, packet_id, &topic, ReasonCode::TopicNameInvalid, reason);
        };
        let ticket = self.take_from_client(id, packet_id, publication);
        self.publishes.add_part(ticket);
        if self.outbox.push(Address::Thing(thing_name), Request::Thing(request), Token::Thing(ticket)).is_err() {
            self.part_done(now, ticket, false);
        }
        if is_message {
            self.pass_on(now, ticket, Some(id));
        } else {
            self.part_done(now, ticket, true);
        }
    }

    /// A Thing has done what a publish asked for, durably, or could not.
    pub(crate) fn thing_replied(&mut self, now: UnixMillis, ticket: Ticket, reply: Option<ThingReply>) {
        let Some(reply) = reply else { return self.part_done(now, ticket, false) };
        let requester = self.publishes.connection(ticket);
        self.part_done(now, ticket, true);
        if let (Some(direct), Some(requester)) = (reply.direct, requester) {
            self.deliver_directly(now, requester, direct);
        }
        for publication in reply.publications {
            self.publish_for_platform(now, publication);
        }
    }
}

fn thing_request(publication: &Publication) -> Option<(ThingName, ThingRequest)> {
    match reserved::parse(&publication.topic)? {
        ReservedTopic::Shadow { thing, shadow, message } => {
            let operation = match message {
                ShadowMessage::Get => ShadowOperation::Get,
                ShadowMessage::Update => ShadowOperation::Update,
                ShadowMessage::Delete => ShadowOperation::Delete,
                _ => return None,
            };
            let shadow_name = match shadow {
                Some(name) => Some(ShadowName::new(name).ok()?),
                None => None,
            };
            let payload: Bytes = publication.payload.clone();
            let request = ThingRequest::Shadow { shadow_name, operation, payload, plane: Plane::Mqtt };
            Some((ThingName::new(thing).ok()?, request))
        }
        ReservedTopic::Job { thing, message } => {
            let operation = match message {
                JobMessage::GetPending => JobOperation::GetPending,
                JobMessage::StartNext => JobOperation::StartNext,
                JobMessage::Describe { job_id } => JobOperation::Describe { job_id: job_id.to_owned() },
                JobMessage::Update { job_id } => JobOperation::Update { job_id: job_id.to_owned() },
                _ => return None,
            };
            let request = ThingRequest::Job { operation, payload: publication.payload.clone(), qos: publication.qos };
            Some((ThingName::new(thing).ok()?, request))
        }
        _ => None,
    }
}
