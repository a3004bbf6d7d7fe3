//! What requests to other objects were for, and who hears their outcome.

use crate::broker::Broker;
use crate::forwarding::ForwardTicket;
use crate::publishes::{PartNumber, Ticket};
use iot_types::{ClientId, PacketId, UnixMillis};
use messages::Reply;
use messages::address::Address;
use messages::broker::ConnectionId;
use messages::channel::Undelivered;
use messages::pool::BrokerReport;
use messages::session::{Acknowledgement, Ending};
use mqtt_codec::ReasonCode;
use routing::RegistrarToken;

/// What a request to another object was for.
#[derive(Clone, Debug)]
pub enum Token {
    /// A publish handed to one of its receivers.
    Part(PartNumber),
    /// Publishes handed to another Broker as packets.
    Forward(Vec<ForwardTicket>),
    /// A publish that took the short way, handed to a Sessions object.
    ForwardToSessions(ForwardTicket),
    /// A shadow or job request that came as a publish.
    Thing(Ticket),
    /// Nodes to be lent by a Router.
    Lease(u64),
    /// Who wants this publish's topic, at a node too large to be lent?
    Route { ticket: Ticket, node: String },
    /// A retained message to be stored before its publish goes on.
    Retain(Ticket),
    /// A filter or a mark for a Router.
    Registration(RegistrarToken),
    /// A page of retained messages for a new subscription.
    Replay { number: u64, router: u32 },
    /// What a Router has kept for a shared group.
    Drain(String),
    /// A client id claimed.
    Claim(ConnectionId),
    /// A client id given back.
    Release(Box<(ClientId, u64, Ending)>),
    /// What a client acknowledged.
    Acknowledge(ConnectionId, Vec<Acknowledgement>),
    /// A SUBSCRIBE of a session that outlives its connection.
    Subscribe { connection: ConnectionId, packet_id: PacketId },
    /// An UNSUBSCRIBE of such a session, with its answer.
    Unsubscribe(Box<(ConnectionId, PacketId, Vec<String>, Vec<ReasonCode>)>),
    /// The packet identifier of a QoS 2 publish of such a session.
    Receive(Ticket),
    /// What became of such a publish.
    ReceiveSettled { connection: ConnectionId, packet_id: PacketId, is_safe: bool },
    /// PUBREL of such a session.
    PubRel { connection: ConnectionId, packet_id: PacketId },
    /// A message for one client.
    Direct(u64),
    /// A new epoch announced.
    Epoch(Address),
    /// What the region's pool is told.
    Report(BrokerReport),
    /// Nobody waits for the answer.
    Nothing,
}

impl Broker {
    /// Gives the outcome of a request to whoever waits for it.
    pub(crate) fn outcome(
        &mut self,
        now: UnixMillis,
        target: &Address,
        token: Token,
        result: Result<Reply, Undelivered>,
    ) {
        // They remember every node's latest instance. Another node that says so may itself be the one that is over.
        let is_replaced =
            result == Err(Undelivered::Superseded) && matches!(target, Address::Router(_) | Address::Sessions(_));
        match token {
            // These name a connection's number, which may be over without this node being so.
            Token::Release(released) => self.give_back_answered(now, *released, result),
            Token::Acknowledge(id, acknowledgements) => {
                self.acknowledgements_answered(now, id, acknowledgements, result);
            }
            Token::Subscribe { connection, packet_id } => {
                self.durable_subscribe_answered(now, connection, packet_id, result);
            }
            Token::Unsubscribe(unsubscribe) => self.durable_unsubscribed(now, *unsubscribe, result),
            Token::Receive(ticket) => self.receive_answered(now, ticket, result),
            Token::ReceiveSettled { connection, packet_id, is_safe } => {
                self.receive_settled_answered(now, (connection, packet_id, is_safe), result);
            }
            Token::PubRel { connection, packet_id } => self.pubrel_answered(now, connection, packet_id, result),
            _ if is_replaced => self.stop(now),
            Token::Part(part) => self.part_answered(now, part, result),
            Token::Forward(tickets) => self.forwarded(now, tickets, result.is_ok()),
            Token::ForwardToSessions(ticket) => self.sessions_answered(now, ticket, result),
            Token::Thing(ticket) => self.thing_answered(now, ticket, result),
            Token::Lease(ask) => self.leases_answered(now, ask, result),
            Token::Route { ticket, node } => self.route_answered(now, ticket, &node, result),
            Token::Retain(ticket) => self.retain_answered(now, ticket, result),
            Token::Registration(token) => self.registration_answered(now, token, result),
            Token::Replay { number, router } => self.page_answered(now, (number, router), result),
            Token::Drain(shared_filter) => self.drained(now, &shared_filter, result),
            Token::Claim(id) => self.claim_answered(now, id, result),
            Token::Direct(number) => self.direct_answered(number, result),
            Token::Report(report) => self.report_answered(now, &report, &result),
            Token::Epoch(object) => {
                if result.is_err() {
                    self.announce_epoch(object);
                }
            }
            Token::Nothing => {}
        }
    }

    /// A virtual shard is another object's now.
    pub(crate) fn note_moved(&mut self, target: &Address, shard: u16, to: u32) {
        match target {
            Address::Router(_) => self.settings.router_shards.note_moved(shard, to),
            Address::Sessions(_) => self.settings.sessions_shards.note_moved(shard, to),
            Address::Broker(_) | Address::Thing(_) | Address::Job(_) | Address::Pool(_) => {}
        }
    }
}
