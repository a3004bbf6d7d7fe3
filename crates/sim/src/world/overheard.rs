//! What a bystander between the platform's objects hears of connections: when claims were granted and endings taken.
//! The model needs it to know what the platform can have known; what followed from it, clients tell.

use super::{Caller, World};
use crate::client::{ClientKey, Granted};
use crate::settings::Sabotage;
use iot_types::ClientId;
use messages::address::Address;
use messages::broker::{BrokerRequest, ConnectionId};
use messages::channel::Call;
use messages::codec::{Batch, BatchReply};
use messages::publication::Publication;
use messages::session::Grant;
use messages::sessions::{ClaimReply, SessionsRequest};
use messages::{Reply, Request};

impl World {
    /// A Sessions shard has answered.
    pub(super) fn overhear_answer(&mut self, batch: &Batch, reply: Option<&BatchReply>) {
        let Some(reply) = reply else { return };
        let Some(Address::Broker(broker)) = batch.sender.as_ref().map(|sender| &sender.address) else { return };
        for (request, reply) in batch.requests.iter().zip(&reply.replies) {
            match (request, reply) {
                (
                    Request::Sessions(SessionsRequest::Claim { client_id, connection, .. }),
                    Reply::Claim(ClaimReply::Granted(grant)),
                ) => self.overhear_grant(broker.index, *connection, Some(client_id), grant),
                (
                    Request::Sessions(SessionsRequest::Release { client_id, number, ending }),
                    Reply::Applied | Reply::Refused(_),
                ) => {
                    let now = self.now();
                    let key = self.grants.get(&(client_id.clone(), *number)).copied();
                    if *reply == Reply::Applied
                        && let Some(client) = key.and_then(|key| self.clients.get_mut(key.0))
                    {
                        client.overheard.released.get_or_insert((now, ending.clone()));
                    }
                }
                _ => {}
            }
        }
    }

    /// Somebody makes a call.
    pub(super) fn overhear_call(&mut self, caller: Caller, call: &Call) {
        let (Caller::Sessions { .. }, Address::Broker(broker)) = (caller, &call.target) else { return };
        let now = self.now();
        for request in &call.batch.requests {
            match request {
                Request::Broker(BrokerRequest::ClaimDecided { connection, grant: Some(grant) }) => {
                    self.overhear_grant(broker.index, *connection, None, grant);
                }
                Request::Broker(BrokerRequest::Fence { connection, .. }) => {
                    let key = self.connections.get(&(broker.index, *connection)).copied();
                    if let Some(client) = key.and_then(|key| self.clients.get_mut(key.0)) {
                        client.overheard.fenced_at.get_or_insert(now);
                    }
                }
                _ => {}
            }
        }
    }

    fn overhear_grant(
        &mut self,
        broker: u32,
        connection: ConnectionId,
        client_id: Option<&ClientId>,
        Grant { number, session_present, .. }: &Grant,
    ) {
        let now = self.now();
        let Some(key) = self.connections.get(&(broker, connection)).copied() else { return };
        let Some(client) = self.clients.get_mut(key.0) else { return };
        if let Some(before) = client.overheard.granted {
            client.overheard.is_granted_again |= before.number != *number;
            return;
        }
        client.overheard.granted = Some(Granted { at: now, number: *number, session_present: *session_present });
        let own = ClientId::new(client.options.client_id.clone());
        if let Some(client_id) = client_id.cloned().or(own) {
            self.grants.insert((client_id, *number), key);
        }
        if *session_present && self.settings.sabotage == Some(Sabotage::WillsAreNotCancelled) {
            self.publish_cancelled_will(key);
        }
    }

    /// A frame has reached the server's side, whether the connection is still there or not.
    pub(super) fn frame_arrived(&mut self, key: ClientKey) {
        let now = self.now();
        let is_there = self.socket(key).is_some();
        let Some(client) = self.clients.get_mut(key.0) else { return };
        client.upstream_pieces = client.upstream_pieces.saturating_sub(1);
        if is_there && client.disconnected.is_some() && client.upstream_pieces == 0 {
            client.overheard.disconnect_arrived_at.get_or_insert(now);
        }
    }

    // --- mistakes built in ---------------------------------------------------------------------------------------

    fn publish_cancelled_will(&mut self, key: ClientKey) {
        let now = self.now();
        let client = self.client(key);
        let Some(before) = client.before.map(|before| self.client(before)) else { return };
        let waits = before.options.will_delay_millis() > 0
            && before.disconnected.is_none()
            && before.overheard.released.as_ref().is_some_and(|(_, ending)| ending.publishes_will);
        if let Some((topic, payload, qos)) = before.options.will.clone().filter(|_| waits) {
            let will = Publication::of_platform(topic, payload, qos, now);
            self.ask_broker(0, BrokerRequest::Publish(will));
        }
    }

    /// A call as a Sessions shard with a built-in mistake makes it.
    pub(super) fn sabotage_call(&self, caller: Caller, call: &mut Call) {
        if self.settings.sabotage != Some(Sabotage::WillsAreRenamed) || !matches!(caller, Caller::Sessions { .. }) {
            return;
        }
        for request in &mut std::rc::Rc::make_mut(&mut call.batch).requests {
            if let Request::Broker(BrokerRequest::Announce { publication, .. }) = request {
                publication.message_id = None;
            }
        }
    }

    /// A call as a Sessions shard with a built-in mistake takes it.
    pub(super) fn sabotaged_for_sessions(&self, mut batch: Batch) -> Batch {
        if self.settings.sabotage == Some(Sabotage::DisconnectsAreForgotten) {
            for request in &mut batch.requests {
                if let Request::Sessions(SessionsRequest::Release { ending, .. }) = request {
                    ending.publishes_will = true;
                }
            }
        }
        batch
    }
}
