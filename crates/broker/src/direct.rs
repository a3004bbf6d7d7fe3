//! Messages for one client, whether it subscribed or not (AWS `SendDirectMessage`).

use crate::broker::Broker;
use crate::io::Output;
use iot_types::{ClientId, PacketId, Qos, UnixMillis};
use messages::Reply;
use messages::api::{ApiFailure, BrokerApiReply};
use messages::broker::ConnectionId;
use messages::channel::Undelivered;
use messages::publication::Publication;
use mqtt_codec::Packet;
use mqtt_session::{Delivery, Input as SessionInput, Output as SessionOutput};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Most direct messages under way.
const MAXIMUM_DIRECTS: usize = 4_096;

/// The direct messages whose outcome is waited for.
#[derive(Default)]
pub struct Directs {
    directs: BTreeMap<u64, Direct>,
}

struct Direct {
    request: u64,
    connection: ConnectionId,
    /// The PUBLISH that the client has to acknowledge; `None` while its Sessions shard has the message.
    packet_id: Option<PacketId>,
    /// What a Sessions shard is being asked and hasn't answered.
    asked: Option<(ClientId, Publication)>,
    until: UnixMillis,
}

impl Directs {
    pub fn is_empty(&self) -> bool {
        self.directs.is_empty()
    }

    pub fn next_deadline(&self) -> Option<UnixMillis> {
        self.directs.values().map(|direct| direct.until).min()
    }
}

impl Broker {
    /// `until`: how long to wait for the client's acknowledgement, if that is wanted.
    pub(crate) fn direct_request(
        &mut self,
        now: UnixMillis,
        request: u64,
        (id, client_id): (ConnectionId, ClientId),
        mut publication: Publication,
        until: Option<UnixMillis>,
    ) {
        let is_connected = self
            .connections
            .get(&id)
            .is_some_and(|connection| connection.session.client_id() == Some(&client_id) && !connection.is_lost);
        if !is_connected {
            return self.fail_direct(request, ApiFailure::NotConnected);
        }
        if !self.may_receive(now, id, &publication.topic) {
            return self.fail_direct(request, ApiFailure::NotAuthorized);
        }
        if self.directs.directs.len() >= MAXIMUM_DIRECTS {
            return self.fail_direct(request, ApiFailure::Overloaded);
        }
        publication.qos = if until.is_some() { Qos::AtLeastOnce } else { publication.qos.min(Qos::AtLeastOnce) };
        publication.retain = false;
        let number = self.publishes.next_number();
        let patience = now.plus_millis(self.settings.limits.settle_millis);
        let until_then = until.unwrap_or(patience);
        let mut direct = Direct { request, connection: id, packet_id: None, asked: None, until: until_then };
        if self.is_durable(id) {
            if self.ask_direct(&client_id, publication.clone(), number) {
                direct.asked = Some((client_id, publication));
                self.directs.directs.insert(number, direct);
            } else {
                self.fail_direct(request, ApiFailure::Overloaded);
            }
            return;
        }
        let qos = publication.qos;
        let delivery =
            Delivery { publication: Rc::new(publication), qos, retain: false, subscription_identifiers: Vec::new() };
        match (self.send_now(now, id, delivery), until) {
            (Err(failure), _) => self.fail_direct(request, failure),
            (Ok(packet_id), Some(_)) => {
                direct.packet_id = packet_id;
                self.directs.directs.insert(number, direct);
            }
            (Ok(_), None) => self.outputs.push(Output::Published { request, outcome: BrokerApiReply::Done }),
        }
    }

    /// Sends a message at once or not at all: nothing is queued behind what the client has not acknowledged.
    fn send_now(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        delivery: Delivery,
    ) -> Result<Option<PacketId>, ApiFailure> {
        let Some(connection) = self.connections.get_mut(&id) else { return Err(ApiFailure::NotConnected) };
        if !connection.has_room(delivery.qos) {
            return Err(ApiFailure::Overloaded);
        }
        let mut out = Vec::new();
        connection.session.handle(now, SessionInput::Deliver(delivery), &mut out);
        let sent = out.iter().find_map(|output| match output {
            SessionOutput::Send(Packet::Publish(publish)) => Some(publish.packet_id),
            _ => None,
        });
        self.carry_out(id, &mut out);
        // What is larger than the client takes counts as delivered for a session, and not for who sent it.
        sent.ok_or(ApiFailure::TooLarge)
    }

    fn fail_direct(&mut self, request: u64, failure: ApiFailure) {
        self.outputs.push(Output::Published { request, outcome: BrokerApiReply::Failed(failure) });
    }

    fn finish_direct(&mut self, number: u64, outcome: BrokerApiReply) {
        if let Some(direct) = self.directs.directs.remove(&number) {
            self.outputs.push(Output::Published { request: direct.request, outcome });
        }
    }

    /// The client has acknowledged a PUBLISH.
    pub(crate) fn note_puback(&mut self, id: ConnectionId, packet_id: PacketId) {
        let is_it = |direct: &Direct| direct.connection == id && direct.packet_id == Some(packet_id);
        if let Some(number) = self.directs.directs.iter().find(|(_, d)| is_it(d)).map(|(number, _)| *number) {
            self.finish_direct(number, BrokerApiReply::Done);
        }
    }

    /// The Sessions shard has answered for a direct message, or could not.
    pub(crate) fn direct_answered(&mut self, number: u64, result: Result<Reply, Undelivered>) {
        let asked = self.directs.directs.get_mut(&number).and_then(|direct| direct.asked.take());
        match (result, asked) {
            (Ok(Reply::Pending), _) => {}
            (Ok(_), _) => self.finish_direct(number, BrokerApiReply::Done),
            (Err(Undelivered::Moved { .. }), Some((client_id, publication))) => {
                if self.ask_direct(&client_id, publication.clone(), number)
                    && let Some(direct) = self.directs.directs.get_mut(&number)
                {
                    direct.asked = Some((client_id, publication));
                } else {
                    self.finish_direct(number, BrokerApiReply::Failed(ApiFailure::Overloaded));
                }
            }
            (Err(Undelivered::Refused), _) => {
                self.finish_direct(number, BrokerApiReply::Failed(ApiFailure::NotConnected));
            }
            (Err(_), _) => self.finish_direct(number, BrokerApiReply::Failed(ApiFailure::NotSafe)),
        }
    }

    /// The Sessions shard's last word, after it asked for patience or before that has arrived.
    pub(crate) fn direct_settled(&mut self, number: u64, is_safe: bool) {
        let outcome = if is_safe { BrokerApiReply::Done } else { BrokerApiReply::Failed(ApiFailure::NotSafe) };
        self.finish_direct(number, outcome);
    }

    pub(crate) fn give_up_directs(&mut self, now: UnixMillis) {
        let late: Vec<u64> = self.directs.directs.iter().filter(|(_, d)| d.until <= now).map(|(n, _)| *n).collect();
        for number in late {
            self.finish_direct(number, BrokerApiReply::TimedOut);
        }
    }

    /// The connection is gone, and with it who would have acknowledged.
    pub(crate) fn fail_directs_of(&mut self, id: ConnectionId) {
        let of = |direct: &Direct| direct.connection == id && direct.packet_id.is_some();
        let gone: Vec<u64> = self.directs.directs.iter().filter(|(_, d)| of(d)).map(|(number, _)| *number).collect();
        for number in gone {
            self.finish_direct(number, BrokerApiReply::Failed(ApiFailure::NotConnected));
        }
    }
}
