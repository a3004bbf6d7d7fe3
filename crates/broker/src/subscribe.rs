//! Subscriptions of this node's clients, and the filters registered for them at the Routers.

use crate::broker::{Broker, Token};
use iot_types::UnixMillis;
use messages::Request;
use messages::broker::ConnectionId;
use messages::router::RouterRequest;
use mqtt_codec::{ReasonCode, Subscribe, SubscriptionRequest, Unsubscribe};
use mqtt_session::{Input as SessionInput, SubscriptionOptions};
use mqtt_topic::{TopicFilter, reserved};
use std::collections::BTreeMap;

/// The filters that this node has at the Routers: one entry each, however many clients share it.
#[derive(Default)]
pub struct Filters {
    filters: BTreeMap<String, FilterState>,
    subscribing: BTreeMap<u64, Subscribing>,
    next_ticket: u64,
    next_generation: u64,
}

struct FilterState {
    subscribers: usize,
    /// Tells this registration from an earlier one of the same filter whose answer is still to come.
    generation: u64,
    is_registered: bool,
    /// SUBSCRIBEs that wait for the registration.
    waiting: Vec<u64>,
}

/// A SUBSCRIBE whose filters are not all in force.
struct Subscribing {
    connection: ConnectionId,
    packet_id: iot_types::PacketId,
    filters: Vec<String>,
    reason_codes: Vec<ReasonCode>,
    left: usize,
}

impl Broker {
    pub(crate) fn subscribe(&mut self, now: UnixMillis, id: ConnectionId, subscribe: &Subscribe) {
        let ticket = self.filters.next_ticket;
        self.filters.next_ticket += 1;
        let identifier = subscribe.properties.subscription_identifier;
        let mut subscribing = Subscribing {
            connection: id,
            packet_id: subscribe.packet_id,
            filters: Vec::with_capacity(subscribe.filters.len()),
            reason_codes: Vec::with_capacity(subscribe.filters.len()),
            left: 0,
        };
        for requested in &subscribe.filters {
            let reason_code = match self.grant(id, requested, identifier) {
                Ok((filter, options)) => {
                    if self.add_subscription(id, &filter, options, ticket) {
                        subscribing.left += 1;
                    }
                    match options.qos {
                        iot_types::Qos::AtMostOnce => ReasonCode::Success,
                        iot_types::Qos::AtLeastOnce => ReasonCode::GrantedQos1,
                        iot_types::Qos::ExactlyOnce => ReasonCode::GrantedQos2,
                    }
                }
                Err(reason_code) => {
                    self.log(id, "subscribe_refused", Some(&requested.filter), None, Some(reason_code));
                    reason_code
                }
            };
            subscribing.filters.push(requested.filter.to_string());
            subscribing.reason_codes.push(reason_code);
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.mark_stale();
        }
        if subscribing.left == 0 {
            return self.in_force(now, subscribing);
        }
        self.filters.subscribing.insert(ticket, subscribing);
        // Too much waits for these Routers: the same as if they had refused.
        for (filter, generation) in core::mem::take(&mut self.refused) {
            self.registered(now, &filter, generation, false);
        }
    }

    fn grant(
        &mut self,
        id: ConnectionId,
        requested: &SubscriptionRequest,
        subscription_identifier: Option<u32>,
    ) -> Result<(TopicFilter, SubscriptionOptions), ReasonCode> {
        let filter = TopicFilter::new(requested.filter.clone()).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        filter.check(&self.settings.topics).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        if filter.share().is_some() {
            return Err(ReasonCode::SharedSubscriptionsNotSupported);
        }
        if !reserved::may_subscribe(filter.as_str()) {
            return Err(ReasonCode::NotAuthorized);
        }
        let options = SubscriptionOptions {
            qos: requested.qos.min(self.settings.session.maximum_qos),
            no_local: requested.no_local,
            retain_as_published: requested.retain_as_published,
            subscription_identifier,
        };
        let connection = self.connections.get_mut(&id).ok_or(ReasonCode::UnspecifiedError)?;
        if !connection.session.add_subscription(filter.as_str(), options) {
            return Err(ReasonCode::QuotaExceeded);
        }
        Ok((filter, options))
    }

    /// Returns whether the SUBSCRIBE `ticket` has to wait for a Router.
    fn add_subscription(
        &mut self,
        id: ConnectionId,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        ticket: u64,
    ) -> bool {
        let is_new = self.index.insert(filter, id, options).is_none();
        if self.settings.broker_count <= 1 {
            return false;
        }
        if let Some(state) = self.filters.filters.get_mut(filter.as_str()) {
            state.subscribers += usize::from(is_new);
            if !state.is_registered {
                state.waiting.push(ticket);
            }
            return !state.is_registered;
        }
        let generation = self.filters.next_generation;
        self.filters.next_generation += 1;
        let state = FilterState { subscribers: 1, generation, is_registered: false, waiting: vec![ticket] };
        self.filters.filters.insert(filter.as_str().to_owned(), state);
        let target = routing::shard_of_filter(filter.as_str(), self.settings.router_shards);
        let request = Request::Router(RouterRequest::Subscribe { filter: filter.as_str().to_owned() });
        let token = Token::Subscribe { filter: filter.as_str().to_owned(), generation };
        if self.outbox.push(target, request, token).is_err() {
            self.refused.push((filter.as_str().to_owned(), generation));
        }
        true
    }

    /// A subscription that was in force before the node slept; its Router knows it.
    pub(crate) fn restore_subscription(&mut self, id: ConnectionId, filter: &str, options: SubscriptionOptions) {
        let Ok(parsed) = TopicFilter::new(filter) else { return };
        self.index.insert(&parsed, id, options);
        let generation = self.filters.next_generation;
        let state = self.filters.filters.entry(filter.to_owned()).or_insert_with(|| FilterState {
            subscribers: 0,
            generation,
            is_registered: true,
            waiting: Vec::new(),
        });
        state.subscribers += 1;
        self.filters.next_generation += 1;
    }

    /// A Router has stored the filter, or could not.
    pub(crate) fn registered(&mut self, now: UnixMillis, filter: &str, generation: u64, stored: bool) {
        let Some(state) = self.filters.filters.get_mut(filter).filter(|state| state.generation == generation) else {
            return;
        };
        state.is_registered = stored;
        for ticket in core::mem::take(&mut state.waiting) {
            let Some(subscribing) = self.filters.subscribing.get_mut(&ticket) else { continue };
            let connection = subscribing.connection;
            if !stored {
                for (requested, code) in subscribing.filters.iter().zip(&mut subscribing.reason_codes) {
                    if requested == filter {
                        *code = ReasonCode::ImplementationSpecificError;
                    }
                }
            }
            if !stored {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    connection.session.remove_subscription(filter);
                    connection.mark_stale();
                }
                self.remove_subscription(now, connection, filter);
            }
            self.one_less(now, ticket);
        }
    }

    /// A SUBSCRIBE has one Router less to wait for.
    fn one_less(&mut self, now: UnixMillis, ticket: u64) {
        let Some(subscribing) = self.filters.subscribing.get_mut(&ticket) else { return };
        subscribing.left = subscribing.left.saturating_sub(1);
        if subscribing.left == 0
            && let Some(subscribing) = self.filters.subscribing.remove(&ticket)
        {
            self.in_force(now, subscribing);
        }
    }

    fn in_force(&mut self, now: UnixMillis, subscribing: Subscribing) {
        let Subscribing { connection, packet_id, reason_codes, .. } = subscribing;
        self.session(now, connection, SessionInput::Subscribed { packet_id, reason_codes });
    }

    pub(crate) fn unsubscribe(&mut self, now: UnixMillis, id: ConnectionId, unsubscribe: &Unsubscribe) {
        for filter in &unsubscribe.filters {
            self.remove_subscription(now, id, filter);
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            for filter in &unsubscribe.filters {
                // Packets that came before CONNACK are given out together: the session forgot the filter before the
                // SUBSCRIBE ahead of this was carried out.
                connection.session.remove_subscription(filter);
            }
            connection.mark_stale();
        }
    }

    pub(crate) fn remove_subscription(&mut self, now: UnixMillis, id: ConnectionId, filter: &str) {
        let Ok(parsed) = TopicFilter::new(filter) else { return };
        if self.index.remove(&parsed, &id).is_none() {
            return;
        }
        let Some(state) = self.filters.filters.get_mut(filter) else { return };
        state.subscribers -= 1;
        if state.subscribers > 0 {
            return;
        }
        let over = self.filters.filters.remove(filter);
        let target = routing::shard_of_filter(filter, self.settings.router_shards);
        let request = Request::Router(RouterRequest::Unsubscribe { filter: filter.to_owned() });
        // If it can't be sent, messages keep coming here for nobody: wasted, not wrong.
        let _ = self.outbox.push(target, request, Token::Nothing);
        // An UNSUBSCRIBE overtook the SUBSCRIBE's Router, whose answer has nobody to tell any more.
        for ticket in over.map(|state| state.waiting).unwrap_or_default() {
            self.one_less(now, ticket);
        }
    }

    /// The connection is gone, and with it the SUBSCRIBEs it waits for.
    pub(crate) fn forget_subscriber(&mut self, id: ConnectionId) {
        self.filters.subscribing.retain(|_, subscribing| subscribing.connection != id);
    }
}
