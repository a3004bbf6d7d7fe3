//! Subscriptions: what is granted; and those of sessions that end with their connection, which this node registers at
//! the Routers.

use crate::broker::Broker;
use crate::durable::DurableSubscribe;
use crate::events::SubscriptionEvent;
use iot_types::{PacketId, UnixMillis};
use messages::broker::ConnectionId;
use messages::session::SubscriptionOptions;
use mqtt_codec::{ReasonCode, RetainHandling, Subscribe, SubscriptionRequest, Unsubscribe};
use mqtt_session::{Disconnection, Input as SessionInput};
use mqtt_topic::{TopicFilter, reserved};
use std::collections::BTreeMap;

/// The SUBSCRIBEs that are not answered yet.
#[derive(Default)]
pub struct Filters {
    /// Those that wait for a filter's registration.
    waiting: BTreeMap<String, Vec<u64>>,
    subscribing: BTreeMap<u64, Subscribing>,
    next_ticket: u64,
}

/// A SUBSCRIBE whose filters are not all in force.
struct Subscribing {
    connection: ConnectionId,
    packet_id: PacketId,
    /// One for each filter.
    filters: Vec<Requested>,
    left: usize,
}

struct Requested {
    filter: String,
    reason_code: ReasonCode,
    /// To be replayed once it is in force.
    replay: Option<(TopicFilter, SubscriptionOptions)>,
}

/// A subscription that may be had.
struct Granted {
    filter: TopicFilter,
    options: SubscriptionOptions,
    /// Whether the retained messages are to be sent.
    replays: bool,
}

impl Filters {
    /// Whether no SUBSCRIBE waits.
    pub fn is_idle(&self) -> bool {
        self.subscribing.is_empty()
    }
}

impl Broker {
    pub(crate) fn subscribe(&mut self, now: UnixMillis, id: ConnectionId, subscribe: &Subscribe) {
        let identifier = subscribe.properties.subscription_identifier;
        let granted: Vec<Result<Granted, ReasonCode>> =
            subscribe.filters.iter().map(|requested| self.grant(now, id, &requested, identifier)).collect();
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.mark_stale();
        }
        if self.is_durable(id) {
            self.subscribe_durable(now, id, subscribe, granted);
        } else {
            self.subscribe_clean(now, id, subscribe, granted);
        }
    }

    fn subscribe_durable(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        subscribe: &Subscribe,
        granted: Vec<Result<Granted, ReasonCode>>,
    ) {
        let packet_id = subscribe.packet_id;
        let (mut reason_codes, mut places, mut filters) = (Vec::new(), Vec::new(), Vec::new());
        for (at, granted) in granted.into_iter().enumerate() {
            match granted {
                Ok(Granted { filter, options, replays }) => {
                    reason_codes.push(ReasonCode::granted(options.qos));
                    places.push(at);
                    filters.push((filter.as_str().to_owned(), options, replays));
                }
                Err(reason_code) => reason_codes.push(reason_code),
            }
        }
        let until = now.plus_millis(self.settings.limits.subscribe_millis);
        let is_empty = filters.is_empty();
        self.subscribing.insert((id, packet_id), DurableSubscribe { reason_codes, places, filters, until });
        if is_empty {
            return self.durable_subscribed(now, id, packet_id, None);
        }
        self.ask_to_subscribe(now, id, packet_id);
    }

    fn subscribe_clean(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        subscribe: &Subscribe,
        granted: Vec<Result<Granted, ReasonCode>>,
    ) {
        let ticket = self.filters.next_ticket;
        self.filters.next_ticket += 1;
        // One more than there are, so that nothing is finished before everything has begun.
        let mut subscribing =
            Subscribing { connection: id, packet_id: subscribe.packet_id, filters: Vec::new(), left: 1 };
        let mut to_add = Vec::new();
        for (requested, granted) in subscribe.filters.iter().zip(granted) {
            let filter = requested.filter.to_string();
            let requested = match granted {
                Ok(Granted { filter: parsed, options, replays }) => {
                    to_add.push((parsed.clone(), options));
                    subscribing.left += 1;
                    let replay = replays.then_some((parsed, options));
                    Requested { filter, reason_code: ReasonCode::granted(options.qos), replay }
                }
                Err(reason_code) => Requested { filter, reason_code, replay: None },
            };
            subscribing.filters.push(requested);
        }
        self.filters.subscribing.insert(ticket, subscribing);
        for (filter, options) in to_add {
            self.add_subscription(now, id, &filter, options, ticket);
        }
        self.one_less(now, ticket);
    }

    fn grant(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        requested: &SubscriptionRequest,
        subscription_identifier: Option<u32>,
    ) -> Result<Granted, ReasonCode> {
        let granted = self.check(now, id, requested, subscription_identifier);
        if let Err(reason_code) = &granted {
            self.log(id, "subscribe_refused", Some(&requested.filter), None, Some(*reason_code));
        }
        granted
    }

    fn check(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        requested: &SubscriptionRequest,
        subscription_identifier: Option<u32>,
    ) -> Result<Granted, ReasonCode> {
        // A copy of its own: the packet's text would keep the whole packet alive.
        let filter = TopicFilter::new(&*requested.filter).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        filter.check(&self.settings.topics).map_err(|_| ReasonCode::TopicFilterInvalid)?;
        let is_allowed = self.connections.get(&id).is_some_and(|c| c.may_subscribe(now, filter.as_str()));
        if !is_allowed || !reserved::may_subscribe(filter.as_str()) {
            return Err(ReasonCode::NotAuthorized);
        }
        let options = SubscriptionOptions {
            qos: requested.qos.min(self.settings.session.maximum_qos),
            no_local: requested.no_local,
            retain_as_published: requested.retain_as_published,
            subscription_identifier,
        };
        let connection = self.connections.get_mut(&id).ok_or(ReasonCode::UnspecifiedError)?;
        let is_new = connection.session.subscription(filter.as_str()).is_none();
        if !connection.session.add_subscription(filter.as_str(), options) {
            return Err(ReasonCode::QuotaExceeded);
        }
        if connection.is_durable {
            connection.durable_filters.insert(filter.as_str().to_owned());
        }
        let is_asked_for = match requested.retain_handling {
            RetainHandling::SendAtSubscribe => true,
            RetainHandling::SendIfNew => is_new,
            RetainHandling::DoNotSend => false,
        };
        // Section 4.8.2: none for shared subscriptions.
        let replays = is_asked_for
            && filter.share().is_none()
            && (self.settings.limits.replays_to_wildcards || !filter.has_wildcard());
        Ok(Granted { filter, options, replays })
    }

    /// Puts a subscription into the index at once: what comes before SUBACK may be sent ([MQTT-3.8.4-1] and the
    /// sentences after it). The SUBSCRIBE `ticket` waits until every node knows.
    fn add_subscription(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        ticket: u64,
    ) {
        let is_new = self.index_subscription(now, id, filter, options);
        let is_in_force =
            if is_new { self.routes.add(now, filter.as_str()) } else { self.routes.is_in_force(filter.as_str()) };
        if is_in_force {
            self.one_less(now, ticket);
        } else {
            self.filters.waiting.entry(filter.as_str().to_owned()).or_default().push(ticket);
        }
    }

    /// Returns whether the connection did not have the filter.
    fn index_subscription(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        filter: &TopicFilter,
        options: SubscriptionOptions,
    ) -> bool {
        if filter.share().is_some() {
            return self.join_group(now, id, filter, options);
        }
        self.index.insert(filter, id, options).is_none()
    }

    /// A subscription that was in force before the node slept; its Router knows it.
    pub(crate) fn restore_subscription(
        &mut self,
        now: UnixMillis,
        id: ConnectionId,
        filter: &str,
        options: SubscriptionOptions,
    ) {
        let Ok(parsed) = TopicFilter::new(filter.to_owned()) else { return };
        if self.index_subscription(now, id, &parsed, options) {
            self.routes.restore(filter);
        }
    }

    /// Every node knows the filter, or it could not be registered: then it has no subscriber here any more.
    pub(crate) fn filter_registered(&mut self, now: UnixMillis, filter: &str, is_in_force: bool) {
        for ticket in self.filters.waiting.remove(filter).unwrap_or_default() {
            if !is_in_force {
                self.refuse_subscription(ticket, filter);
            }
            self.one_less(now, ticket);
        }
    }

    fn refuse_subscription(&mut self, ticket: u64, filter: &str) {
        let Some(subscribing) = self.filters.subscribing.get_mut(&ticket) else { return };
        for requested in subscribing.filters.iter_mut().filter(|requested| requested.filter == filter) {
            requested.reason_code = ReasonCode::ImplementationSpecificError;
            requested.replay = None;
        }
        let id = subscribing.connection;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.session.remove_subscription(filter);
            connection.mark_stale();
        }
        self.unindex(id, filter);
    }

    /// A SUBSCRIBE has one filter less to wait for.
    fn one_less(&mut self, now: UnixMillis, ticket: u64) {
        let Some(subscribing) = self.filters.subscribing.get_mut(&ticket) else { return };
        subscribing.left = subscribing.left.saturating_sub(1);
        if subscribing.left > 0 {
            return;
        }
        let Some(Subscribing { connection: id, packet_id, filters, .. }) = self.filters.subscribing.remove(&ticket)
        else {
            return;
        };
        let reason_codes = filters.iter().map(|requested| requested.reason_code).collect();
        self.session(now, id, SessionInput::Subscribed { packet_id, reason_codes });
        let mut in_force = Vec::new();
        for requested in filters.into_iter().filter(|requested| !requested.reason_code.is_error()) {
            if let Some((filter, options)) = requested.replay
                && self.has_subscription(id, &filter)
            {
                self.begin_replay(id, filter, options);
            }
            in_force.push(requested.filter);
        }
        self.announce_subscriptions(now, id, SubscriptionEvent::Subscribed, &in_force);
    }

    fn has_subscription(&self, id: ConnectionId, filter: &TopicFilter) -> bool {
        self.index.get(filter, &id).is_some()
    }

    pub(crate) fn unsubscribe(&mut self, now: UnixMillis, id: ConnectionId, unsubscribe: &Unsubscribe) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut filters: Vec<String> = unsubscribe.filters.iter().map(|filter| filter.to_string()).collect();
        if connection.is_durable {
            let codes = filters.iter().map(|filter| match connection.durable_filters.remove(filter) {
                true => ReasonCode::Success,
                false => ReasonCode::NoSubscriptionExisted,
            });
            let codes = codes.collect();
            return self.unsubscribe_durable(now, id, unsubscribe.packet_id, filters, codes);
        }
        for filter in &filters {
            // Packets that came before CONNACK are given out together: the session forgot the filter before the
            // SUBSCRIBE ahead of this was carried out.
            connection.session.remove_subscription(filter);
        }
        connection.mark_stale();
        filters.retain(|filter| self.remove_subscription(now, id, filter));
        self.announce_subscriptions(now, id, SubscriptionEvent::Unsubscribed, &filters);
    }

    /// Takes a subscription of a session that ends with its connection out of the index, and its filter from the
    /// Routers if nobody else here has it. Returns whether there was one.
    pub(crate) fn remove_subscription(&mut self, now: UnixMillis, id: ConnectionId, filter: &str) -> bool {
        if !self.unindex(id, filter) {
            return false;
        }
        self.routes.remove(filter);
        // An UNSUBSCRIBE overtook the SUBSCRIBE's Router, whose answer this connection does not wait for any more.
        let subscribing = &self.filters.subscribing;
        let is_its = |ticket: &u64| subscribing.get(ticket).is_none_or(|subscribing| subscribing.connection == id);
        let Some(waiting) = self.filters.waiting.remove(filter) else { return true };
        let (over, others): (Vec<u64>, Vec<u64>) = waiting.into_iter().partition(is_its);
        if !others.is_empty() {
            self.filters.waiting.insert(filter.to_owned(), others);
        }
        for ticket in over {
            self.one_less(now, ticket);
        }
        true
    }

    /// Takes a subscription out of the index; whether it was there.
    fn unindex(&mut self, id: ConnectionId, filter: &str) -> bool {
        let Ok(parsed) = TopicFilter::new(filter.to_owned()) else { return false };
        self.replays.end_of(id, filter);
        if parsed.share().is_some() {
            self.groups.leave(&parsed, id)
        } else {
            self.index.remove(&parsed, &id).is_some()
        }
    }

    /// The connection is gone, and with it the SUBSCRIBEs it waits for, and its subscriptions if its session is over.
    pub(crate) fn forget_subscriber(&mut self, now: UnixMillis, id: ConnectionId, disconnection: &Disconnection) {
        self.replays.end_all_of(id);
        self.filters.subscribing.retain(|_, subscribing| subscribing.connection != id);
        self.subscribing.retain(|(connection, _), _| *connection != id);
        if !disconnection.is_durable {
            for filter in disconnection.subscriptions.keys() {
                self.remove_subscription(now, id, filter);
            }
        }
    }
}
