//! What other objects and the Worker ask of the node. Each is answered at once; what takes longer is told later.

use crate::broker::Broker;
use iot_types::UnixMillis;
use messages::address::Address;
use messages::broker::{AuthoritySubject, BrokerRequest};
use messages::channel::{Acceptance, Inbox};
use messages::codec::{Batch, BatchReply};
use messages::sessions::SharedReply;
use messages::{Refusal, Reply, Request};
use std::rc::Rc;

impl Broker {
    /// Applies what another object or the Worker asks. Answers at once and waits for nobody.
    pub fn call(&mut self, now: UnixMillis, batch: Batch) -> BatchReply {
        if self.is_stopped {
            return Inbox::refuse(&batch, self.epoch);
        }
        if let Some(sender) = &batch.sender {
            match self.inbox.accept(sender) {
                Acceptance::New { .. } => {}
                Acceptance::Repeat(reply) => return reply,
                Acceptance::Superseded => return Inbox::refuse(&batch, self.epoch),
            }
        }
        if let Some(sender) = &batch.sender {
            self.is_present(&sender.address, sender.instance);
        }
        let from = batch.sender.as_ref().map(|sender| &sender.address);
        let mut replies = Vec::with_capacity(batch.requests.len());
        for request in batch.requests {
            let reply = match request {
                Request::Broker(request) => self.request(now, from, request),
                _ => Reply::Refused(Refusal::WrongClass),
            };
            replies.push(reply);
            self.drain(now);
        }
        let reply = BatchReply { epoch: self.epoch, replies };
        if let Some(sender) = &batch.sender {
            self.inbox.remember(sender, &reply);
        }
        reply
    }

    /// Whether this is the latest instance of the object that was heard. An earlier one of a Router may still answer when
    /// it was cut off from its storage, and lend what its successor has taken back; its word counts as a failed call.
    pub(crate) fn is_present(&mut self, address: &Address, instance: u64) -> bool {
        let Address::Router(number) = address else { return true };
        let latest = self.router_instances.entry(*number).or_default();
        *latest = instance.max(*latest);
        instance == *latest
    }

    fn request(&mut self, now: UnixMillis, from: Option<&Address>, request: BrokerRequest) -> Reply {
        match request {
            BrokerRequest::Deliver(publication) => self.deliver(now, &Rc::new(publication), None),
            BrokerRequest::DeliverPackets { packets } => return self.deliver_packets(now, packets),
            BrokerRequest::Publish(publication) => {
                if !self.has_room_for(publication.weight()) {
                    return Reply::Refused(Refusal::Full);
                }
                self.publish_for_platform(now, publication, None);
            }
            BrokerRequest::Announce { publication, ticket } => {
                let Some(Address::Sessions(object)) = from else { return Reply::Refused(Refusal::WrongClass) };
                return self.announce(now, *object, ticket, publication);
            }
            BrokerRequest::Fence { connection, client_id, reason } => self.fence(now, connection, &client_id, reason),
            BrokerRequest::ClaimDecided { connection, grant } => self.claim_decided(now, connection, grant),
            BrokerRequest::RulesChanged { sequence } => {
                self.control_changed(sequence, &AuthoritySubject::Nobody);
                self.rules_changed(sequence);
            }
            BrokerRequest::AuthoritiesChanged { sequence, subject } => self.control_changed(sequence, &subject),
            BrokerRequest::DeliverShared { shared_filter, publication } => {
                let publication = Rc::new(publication);
                return Reply::Shared(match self.deliver_shared_here(now, &shared_filter, &publication) {
                    SharedReply::NobodyOnline => self.queue_shared_here(now, &shared_filter, &publication),
                    reply => reply,
                });
            }
            BrokerRequest::Send { connection, number, packets } => {
                return self.relay(now, connection, number, packets);
            }
            BrokerRequest::Subscribed { connection, number, packet_id, are_stored } => {
                if self.connections.get(&connection).is_none_or(|c| c.number != Some(number)) {
                    return Reply::Refused(Refusal::Superseded);
                }
                self.durable_subscribed(now, connection, packet_id, Some(&are_stored));
            }
            BrokerRequest::Settled { tickets } => self.parts_settled(now, tickets),
            BrokerRequest::Revoke { nodes } => {
                if let Some(Address::Router(router)) = from {
                    self.leases_revoked(*router, nodes.as_deref());
                }
            }
            BrokerRequest::Registered { registration } => self.registered(now, registration),
            BrokerRequest::Pool(directive) => return self.pool_orders(now, directive),
            BrokerRequest::Subscriptions { connection } => {
                let connection = self.connections.get(&connection).filter(|c| c.number.is_some());
                return Reply::Subscriptions(connection.map(|connection| {
                    connection.session.subscriptions().map(|(filter, options)| (filter.to_owned(), options)).collect()
                }));
            }
        }
        Reply::Applied
    }
}
