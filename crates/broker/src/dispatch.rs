//! Publishes on their way: in the order of their publishers to everybody who wants them, and the acknowledgement when
//! they are safe with all of them ("delivered or durable", ARCHITECTURE.md).
//!
//! A publish is held until what must come first is done (its packet identifier is a row, its retained message is
//! stored), then it waits for those before it of the same publisher and for the leases of its topic; then it is handed
//! to all its destinations at once. Each of these is a *part*; with the last one the publish is settled.

use crate::broker::Broker;
use crate::io::Output;
use crate::publishes::{Lookup, Origin, Part, PartNumber, PartState, Pending, Publisher, Targets, Ticket};
use crate::shared::SharedPart;
use crate::token::Token;
use iot_types::{PacketId, Qos, UnixMillis};
use messages::address::Address;
use messages::api::{ApiFailure, BrokerApiReply};
use messages::broker::{BrokerRequest, ConnectionId};
use messages::channel::Undelivered;
use messages::publication::Publication;
use messages::router::Destination;
use messages::sessions::{SessionsRequest, SharedReply};
use messages::{Reply, Request};
use mqtt_codec::ReasonCode;
use mqtt_session::Input as SessionInput;
use std::collections::BTreeMap;
use std::rc::Rc;

impl Broker {
    /// Takes a publish, which from here on counts against the budgets.
    pub(crate) fn take(
        &mut self,
        now: UnixMillis,
        publisher: Publisher,
        origin: Origin,
        publication: Publication,
    ) -> Ticket {
        let ticket = self.publishes.next_ticket;
        self.publishes.next_ticket += 1;
        let weight = publication.weight();
        self.publishes.bytes += weight;
        if let Origin::Client { connection, .. } = &origin
            && let Some(connection) = self.connections.get_mut(connection)
        {
            connection.pending += 1;
            connection.pending_bytes += weight;
        }
        let line = self.publishes.order.entry(publisher.clone()).or_default();
        line.tickets.push_back(ticket);
        line.undelivered += 1;
        let pending = Pending {
            publisher,
            origin,
            publication: Rc::new(publication),
            weight,
            // Until `begin_message`.
            holds: 1,
            routes: BTreeMap::new(),
            until: now.plus_millis(self.settings.limits.settle_millis),
            is_received: false,
            is_delivered_here: false,
            is_dispatched: false,
            is_blocked: false,
            // The dispatch.
            parts_left: 1,
            has_failed: false,
        };
        self.publishes.pending.insert(ticket, pending);
        ticket
    }

    /// Begins what a message needs: rules look at it, its retained message is stored, this node's subscribers get it.
    pub(crate) fn begin_message(&mut self, now: UnixMillis, ticket: Ticket) {
        let Some(publication) = self.publishes.publication(ticket) else { return };
        self.offer_to_rules(now, ticket, &publication);
        if publication.retain {
            self.retain(now, ticket, &publication);
        }
        // Asked for now rather than when it is its turn, so that one call carries the questions of many.
        self.want_leases(now, &publication.topic);
        self.release(now, ticket);
        self.deliver_here_in_order(now, ticket);
    }

    /// One of the things is done that had to come before the dispatch.
    pub(crate) fn release(&mut self, now: UnixMillis, ticket: Ticket) {
        let Some(pending) = self.publishes.pending.get_mut(&ticket) else { return };
        pending.holds = pending.holds.saturating_sub(1);
        if pending.holds == 0 {
            let publisher = pending.publisher.clone();
            self.advance(now, &publisher);
        }
    }

    /// One of them can't be done. QoS 0 goes on without it; anything else comes again.
    pub(crate) fn hold_failed(&mut self, now: UnixMillis, ticket: Ticket) {
        if let Some(pending) = self.publishes.pending.get_mut(&ticket) {
            pending.is_blocked |= pending.publication.qos > Qos::AtMostOnce;
        }
        self.release(now, ticket);
    }

    /// Whatever this publish was, it is not dispatched: it has been dealt with, or can't be.
    pub(crate) fn abandon(&mut self, now: UnixMillis, ticket: Ticket, succeeded: bool) {
        let Some(pending) = self.publishes.pending.get_mut(&ticket) else { return };
        let publisher = pending.publisher.clone();
        if core::mem::replace(&mut pending.is_dispatched, true) {
            return;
        }
        self.publishes.mark_delivered_here(ticket);
        self.part_done(now, ticket, succeeded);
        self.advance(now, &publisher);
    }

    /// Gives a message to this node's subscribers without waiting for anybody else, unless one before it of the same
    /// publisher has not been given.
    fn deliver_here_in_order(&mut self, now: UnixMillis, ticket: Ticket) {
        let Some(pending) = self.publishes.pending.get(&ticket) else { return };
        let is_next = self.publishes.order.get(&pending.publisher).is_some_and(|line| line.undelivered == 1);
        if pending.holds == 0 && is_next {
            self.deliver_here(now, ticket);
        }
    }

    fn deliver_here(&mut self, now: UnixMillis, ticket: Ticket) {
        if self.publishes.mark_delivered_here(ticket)
            && let Some(publication) = self.publishes.publication(ticket)
        {
            let publisher = self.publishes.connection(ticket);
            self.deliver(now, &publication, publisher);
        }
    }

    /// Dispatches a publisher's publishes, as far as it is known where they go.
    pub(crate) fn advance(&mut self, now: UnixMillis, publisher: &Publisher) {
        self.publishes.waiting.remove(publisher);
        loop {
            let Some(line) = self.publishes.order.get_mut(publisher) else { return };
            let Some(ticket) = line.tickets.front().copied() else {
                self.publishes.order.remove(publisher);
                return;
            };
            let Some(pending) = self.publishes.pending.get_mut(&ticket).filter(|pending| !pending.is_dispatched) else {
                line.tickets.pop_front();
                continue;
            };
            let is_late = pending.until <= now;
            if pending.holds > 0 && !is_late {
                let until = pending.until;
                self.publishes.waiting.insert(publisher.clone(), until);
                return;
            }
            // What can't be stored is not passed on either: it comes again, whole. QoS 0 does not come again.
            let is_blocked = pending.is_blocked || pending.holds > 0 && pending.publication.qos > Qos::AtMostOnce;
            let targets = if is_blocked {
                self.publishes.mark_delivered_here(ticket);
                None
            } else {
                match self.look_up(now, ticket) {
                    Lookup::Known(targets) => Some(targets),
                    Lookup::Asked if !is_late => {
                        let until = self.publishes.pending.get(&ticket).map_or(now, |pending| pending.until);
                        self.publishes.waiting.insert(publisher.clone(), until);
                        return;
                    }
                    Lookup::Asked | Lookup::Unreachable => None,
                }
            };
            if let Some(line) = self.publishes.order.get_mut(publisher) {
                line.tickets.pop_front();
            }
            if let Some(pending) = self.publishes.pending.get_mut(&ticket) {
                pending.is_dispatched = true;
            }
            self.deliver_here(now, ticket);
            match targets {
                Some(targets) => self.dispatch(now, ticket, targets),
                None => self.part_done(now, ticket, false),
            }
        }
    }

    /// Leases have come, or can't come: goes on with everything that waits for some.
    pub(crate) fn advance_waiting(&mut self, now: UnixMillis) {
        for publisher in core::mem::take(&mut self.publishes.waiting).into_keys() {
            self.advance(now, &publisher);
        }
        for part in self.publishes.refreshing.clone() {
            self.refresh_shared(now, part);
        }
    }

    fn dispatch(&mut self, now: UnixMillis, ticket: Ticket, targets: Targets) {
        let Some(publication) = self.publishes.publication(ticket) else { return };
        for destination in targets.destinations {
            match destination {
                // Its own subscribers have had it.
                Destination::Broker(id) if id == self.settings.id => {}
                Destination::Broker(id) => {
                    let request = Request::Broker(BrokerRequest::Deliver((*publication).clone()));
                    let part = self.new_part(ticket, None);
                    self.send_part(now, part, Address::Broker(id), request);
                }
                Destination::Sessions(shard) => {
                    let part = self.new_part(ticket, None);
                    let number = (publication.qos > Qos::AtMostOnce).then_some(part);
                    let request = SessionsRequest::Deliver { publication: (*publication).clone(), ticket: number };
                    self.send_part(now, part, Address::Sessions(shard), Request::Sessions(request));
                }
            }
        }
        for (shared_filter, destinations) in targets.shared {
            self.share(now, ticket, &publication, shared_filter, destinations);
        }
        if publication.qos == Qos::AtMostOnce
            && let Some(pending) = self.publishes.pending.get_mut(&ticket)
            && let Origin::Request(request) = pending.origin
        {
            // QoS 0 is done when it has been sent.
            pending.origin = Origin::Platform;
            self.outputs.push(Output::Published { request, outcome: BrokerApiReply::Done });
        }
        self.part_done(now, ticket, true);
    }

    pub(crate) fn new_part(&mut self, ticket: Ticket, shared: Option<Box<SharedPart>>) -> PartNumber {
        let number = self.publishes.next_number();
        self.publishes.add_part(ticket);
        self.publishes.parts.insert(number, Part { ticket, state: PartState::Asked, shared });
        number
    }

    /// Hands a part to a receiver.
    pub(crate) fn send_part(&mut self, now: UnixMillis, part: PartNumber, target: Address, request: Request) {
        if let Some(part) = self.publishes.parts.get_mut(&part) {
            part.state = PartState::Asked;
        }
        if let Address::Broker(broker) = &target {
            self.send_packed(now, broker);
        }
        if self.outbox.push(target, request, Token::Part(part)).is_err() {
            self.part_failed(now, part);
        }
    }

    /// The receiver of a part has answered, or could not.
    pub(crate) fn part_answered(&mut self, now: UnixMillis, number: PartNumber, result: Result<Reply, Undelivered>) {
        let Some(part) = self.publishes.parts.get_mut(&number) else { return };
        match result {
            Ok(Reply::Pending | Reply::Shared(SharedReply::Pending)) => match part.state {
                PartState::Settled(is_safe) => self.part_settled(now, number, is_safe),
                PartState::Asked | PartState::Waiting => {
                    part.state = PartState::Waiting;
                    let at = now.plus_millis(self.settings.limits.settle_millis);
                    self.publishes.deadlines.push_back((at, number));
                }
            },
            Ok(Reply::Shared(reply @ (SharedReply::NobodyOnline | SharedReply::NoMember))) => {
                self.shared_declined(now, number, reply == SharedReply::NoMember);
            }
            Ok(_) => self.finish_part(now, number, true),
            // Only a Router that was to keep a message for a group moves.
            Err(Undelivered::Moved { .. }) if part.shared.is_some() => self.keep_for_group(now, number),
            Err(_) => self.part_failed(now, number),
        }
    }

    /// A Sessions shard says what became of messages that it needed time for. It may say so before its answer arrives.
    pub(crate) fn parts_settled(&mut self, now: UnixMillis, outcomes: Vec<(PartNumber, bool)>) {
        for (number, is_safe) in outcomes {
            if self.is_forwarding(number) {
                self.forwarded(now, [number], is_safe);
                continue;
            }
            let Some(part) = self.publishes.parts.get_mut(&number) else {
                self.direct_settled(number, is_safe);
                continue;
            };
            match part.state {
                PartState::Asked => part.state = PartState::Settled(is_safe),
                PartState::Settled(_) => {}
                PartState::Waiting => self.part_settled(now, number, is_safe),
            }
        }
    }

    fn part_settled(&mut self, now: UnixMillis, number: PartNumber, is_safe: bool) {
        if is_safe { self.finish_part(now, number, true) } else { self.part_failed(now, number) }
    }

    /// A receiver could not take a part. One member of a shared group is as good as another, unless the message is of
    /// QoS 2 and the first may have it.
    fn part_failed(&mut self, now: UnixMillis, number: PartNumber) {
        let Some(part) = self.publishes.parts.get(&number) else { return };
        let qos = self.publishes.pending.get(&part.ticket).map_or(Qos::AtMostOnce, |pending| pending.publication.qos);
        if part.shared.is_some() && qos < Qos::ExactlyOnce {
            return self.shared_failed(now, number);
        }
        // A slow receiver loses QoS 0 and holds back nobody; anything else is not acknowledged and comes again.
        self.finish_part(now, number, qos == Qos::AtMostOnce);
    }

    pub(crate) fn finish_part(&mut self, now: UnixMillis, number: PartNumber, succeeded: bool) {
        self.publishes.refreshing.remove(&number);
        // Nobody is to be woken for the sake of what is done.
        while self.publishes.deadlines.front().is_some_and(|(_, part)| *part == number || !self.publishes.waits(*part))
        {
            self.publishes.deadlines.pop_front();
        }
        if let Some(part) = self.publishes.parts.remove(&number) {
            self.part_done(now, part.ticket, succeeded);
        }
    }

    /// Gives up the publishes that have waited for leases for too long, and the parts whose receivers asked for patience
    /// and then said nothing.
    pub(crate) fn give_up_parts(&mut self, now: UnixMillis) {
        let is_late = |part: &PartNumber| self.publishes.patience(*part).is_none_or(|until| until <= now);
        if self.publishes.waiting.values().any(|until| *until <= now) || self.publishes.refreshing.iter().any(is_late) {
            self.advance_waiting(now);
        }
        while let Some((at, number)) = self.publishes.deadlines.front().copied() {
            if self.publishes.waits(number) {
                if at > now {
                    return;
                }
                self.finish_part(now, number, false);
            } else {
                self.publishes.deadlines.pop_front();
            }
        }
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
        self.publishes.bytes = self.publishes.bytes.saturating_sub(settled.weight);
        let is_safe = !settled.has_failed;
        match settled.origin {
            Origin::Platform => {
                if !is_safe && settled.publication.qos > Qos::AtMostOnce {
                    self.log_platform("publish_failed", &settled.publication.topic, "a receiver could not take it");
                }
            }
            Origin::Sessions { object, ticket } => {
                if !is_safe {
                    self.log_platform("publish_failed", &settled.publication.topic, "a receiver could not take it");
                }
                self.announced.entry(object).or_default().push((ticket, is_safe));
            }
            Origin::Request(request) => {
                let outcome = if is_safe { BrokerApiReply::Done } else { BrokerApiReply::Failed(ApiFailure::NotSafe) };
                self.outputs.push(Output::Published { request, outcome });
            }
            Origin::Client { connection: id, packet_id } => {
                let Some(connection) = self.connections.get_mut(&id) else { return };
                connection.pending = connection.pending.saturating_sub(1);
                connection.pending_bytes = connection.pending_bytes.saturating_sub(settled.weight);
                self.touched.insert(id);
                let Some(packet_id) = packet_id else { return };
                if settled.is_received && !is_safe {
                    // Some may have it. The packet identifier goes on to name it, and so the client has to send it
                    // again, which a PUBREC with an error would forbid, rather than publish it anew.
                    let reason = "the message could not be passed on; send it again";
                    self.end(now, id, ReasonCode::ImplementationSpecificError, reason);
                } else if settled.is_received {
                    self.tell_received(now, id, packet_id, is_safe);
                } else {
                    self.acknowledge_publish(now, id, packet_id, Some(&settled.publication.topic), is_safe);
                }
            }
        }
    }

    /// PUBACK or PUBREC.
    pub(crate) fn acknowledge_publish(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        packet_id: PacketId,
        topic: Option<&str>,
        is_safe: bool,
    ) {
        if is_safe {
            let input = SessionInput::Settled { packet_id, reason_code: ReasonCode::Success };
            return self.session(now, id, input);
        }
        let reason = "the message could not be passed on; publish it again";
        self.refuse_publish(now, id, Some(packet_id), topic, ReasonCode::ImplementationSpecificError, reason);
    }
}
