//! Publishes to reserved topics that are requests: shadows and jobs, answered by the Thing.

use crate::broker::Broker;
use crate::io::Output;
use crate::publishes::Ticket;
use crate::token::Token;
use bytes::Bytes;
use iot_types::{ShadowName, ThingName, UnixMillis};
use messages::address::Address;
use messages::channel::Undelivered;
use messages::publication::Publication;
use messages::thing::{JobOperation, Plane, ShadowOperation, ThingRequest};
use messages::{Reply, Request};
use mqtt_topic::reserved::{self, JobMessage, ReservedTopic, ShadowMessage};

impl Broker {
    /// Asks the Thing that a publish is a request to; its answer is a part of the publish.
    pub(crate) fn publish_to_thing(&mut self, now: UnixMillis, ticket: Ticket, publication: &Publication) {
        let Some((thing_name, request)) = thing_request(publication) else { return };
        self.publishes.add_part(ticket);
        if self.outbox.push(Address::Thing(thing_name), Request::Thing(request), Token::Thing(ticket)).is_err() {
            self.part_done(now, ticket, false);
        }
    }

    /// A Thing has done what a publish asked for, durably, or could not.
    pub(crate) fn thing_answered(&mut self, now: UnixMillis, ticket: Ticket, result: Result<Reply, Undelivered>) {
        let Ok(Reply::Thing(reply)) = result else { return self.part_done(now, ticket, false) };
        let requester = self.publishes.connection(ticket);
        self.part_done(now, ticket, true);
        if let (Some(direct), Some(requester)) = (reply.direct, requester) {
            self.deliver_directly(now, requester, direct);
        }
        for publication in reply.publications {
            self.publish_for_platform(now, publication, None);
        }
    }
}

impl Broker {
    /// Asks for what a device wants that is being provisioned. Who is no connection can get no answer, and is not asked for.
    pub(crate) fn publish_to_provisioning(&mut self, ticket: Ticket, publication: &Publication) {
        let Some(id) = self.publishes.connection(ticket) else { return };
        let Some(connection) = self.connections.get(&id) else { return };
        let Some(client_id) = connection.client_id.as_ref().map(|client_id| client_id.as_str().to_owned()) else {
            return;
        };
        let principal = connection.grant.principal.clone().map(Box::new);
        self.publishes.add_part(ticket);
        let (topic, payload) = (publication.topic.clone(), publication.payload.clone());
        self.outputs.push(Output::Provision { ticket, client_id, principal, topic, payload });
    }

    /// What became of it: an answer for the device, on whatever topic that is.
    pub(crate) fn provisioned(&mut self, now: UnixMillis, ticket: Ticket, answer: Option<(String, Bytes)>) {
        let requester = self.publishes.client(ticket);
        self.part_done(now, ticket, answer.is_some());
        if let (Some((requester, _)), Some((topic, payload))) = (requester, answer) {
            let publication = Publication::of_platform(topic, payload, iot_types::Qos::AtLeastOnce, now);
            self.deliver_directly(now, requester, publication);
        }
    }
}

/// The Thing that a publish is a request to, and the request.
pub fn thing_request(publication: &Publication) -> Option<(ThingName, ThingRequest)> {
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
