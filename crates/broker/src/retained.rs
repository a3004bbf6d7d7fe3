//! Retained messages: storing those that are published, and sending them to new subscriptions (MQTT 5.0 sections
//! 3.3.1.3 and 3.8.3.1) of sessions that end with their connections.
//!
//! A retained message is stored before anybody gets it, so a new subscriber finds it stored or gets it live. What comes
//! live while a replay runs is newer than the stored copy, which is left out then.

use crate::broker::Broker;
use crate::publishes::Ticket;
use crate::token::Token;
use iot_types::{Qos, UnixMillis};
use messages::address::Address;
use messages::broker::ConnectionId;
use messages::channel::Undelivered;
use messages::publication::Publication;
use messages::router::{RetainedPage, RouterRequest};
use messages::session::SubscriptionOptions;
use messages::{Reply, Request};
use mqtt_session::Delivery;
use mqtt_topic::TopicFilter;
use mqtt_topic::node::node_of;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Pages of one replay asked for at once, each of another Router.
const PAGES_AT_ONCE: usize = 8;
/// Most messages of QoS 1 and 2 asked for at once: they wait in the client's queue, beside the live ones.
const PAGE_WITH_ACKNOWLEDGEMENTS: u32 = 100;
/// Most nodes of which it is remembered that retained messages lie below them.
const MAXIMUM_NODES_ABOVE: usize = 1_000;
/// How often a Router is asked for a page in vain before the replay ends without it.
const ATTEMPTS: u32 = 5;
/// Wait after a page that could not be had, in milliseconds.
const RETRY_MILLIS: u64 = 500;

/// The replays under way.
#[derive(Default)]
pub struct Replays {
    replays: BTreeMap<u64, Replay>,
    by_connection: BTreeMap<ConnectionId, Vec<u64>>,
    next: u64,
    /// Nodes with retained messages below them, as Routers said: all Routers are asked at once. When this is out of date
    /// some of them have nothing to say.
    nodes_above: BTreeSet<String>,
}

struct Replay {
    connection: ConnectionId,
    filter: TopicFilter,
    options: SubscriptionOptions,
    /// What is still to come.
    pages: Vec<Page>,
    /// The objects that have been or will be asked.
    routers: BTreeSet<u32>,
    /// Whether objects other than the filter's own are asked.
    asks_others: bool,
    /// The first object's word on the others has been heard.
    knows_others: bool,
    retry_at: Option<UnixMillis>,
    /// Topics of live messages that came since the subscription is in force.
    live: BTreeSet<String>,
}

/// The next page of one Router object.
struct Page {
    router: u32,
    /// The topic that it begins after.
    after: Option<String>,
    is_asked: bool,
    /// It may be older than a live message that isn't remembered any more, and is asked for once more.
    is_void: bool,
    failures: u32,
}

impl Page {
    const fn of(router: u32, after: Option<String>) -> Self {
        Self { router, after, is_asked: false, is_void: false, failures: 0 }
    }
}

impl Replay {
    fn page_mut(&mut self, router: u32) -> Option<&mut Page> {
        self.pages.iter_mut().find(|page| page.router == router && page.is_asked)
    }

    /// Adds those of these Routers that have not been asked.
    fn extend(&mut self, routers: impl IntoIterator<Item = u32>) {
        let fresh = routers.into_iter().filter(|router| self.routers.insert(*router));
        self.pages.extend(fresh.map(|router| Page::of(router, None)));
    }
}

impl Replays {
    pub fn is_idle(&self) -> bool {
        self.replays.is_empty()
    }

    pub fn next_retry(&self) -> Option<UnixMillis> {
        self.replays.values().filter_map(|replay| replay.retry_at).min()
    }

    fn end(&mut self, number: u64) {
        if let Some(replay) = self.replays.remove(&number)
            && let Some(numbers) = self.by_connection.get_mut(&replay.connection)
        {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.by_connection.remove(&replay.connection);
            }
        }
    }

    /// The connection has the subscription no more, or begins it anew.
    pub fn end_of(&mut self, connection: ConnectionId, filter: &str) {
        let is_it = |number: &&u64| self.replays.get(number).is_some_and(|r| r.filter.as_str() == filter);
        let numbers = self.by_connection.get(&connection).map(Vec::as_slice).unwrap_or_default();
        if let Some(number) = numbers.iter().find(is_it).copied() {
            self.end(number);
        }
    }

    /// The connection is gone.
    pub fn end_all_of(&mut self, connection: ConnectionId) {
        for number in self.by_connection.remove(&connection).unwrap_or_default() {
            self.replays.remove(&number);
        }
    }
}

impl Broker {
    /// Stores a retained message before it is passed on, and marks the way to it.
    pub(crate) fn retain(&mut self, now: UnixMillis, ticket: Ticket, publication: &Publication) {
        // What begins with `$` is the server's, and a request there is no state ("Retained messages" at AWS).
        if publication.topic.starts_with('$') {
            return;
        }
        self.publishes.hold(ticket);
        self.ask_to_retain(now, ticket, publication);
        self.mark_retained(now, ticket, &publication.topic);
    }

    fn ask_to_retain(&mut self, now: UnixMillis, ticket: Ticket, publication: &Publication) {
        let target = Address::router_of_node(node_of(&publication.topic), &self.settings.router_shards);
        let request = Request::Router(RouterRequest::Retain(publication.clone()));
        if self.outbox.push(target, request, Token::Retain(ticket)).is_err() {
            self.hold_failed(now, ticket);
        }
    }

    /// The Router has stored a retained message, or could not.
    pub(crate) fn retain_answered(&mut self, now: UnixMillis, ticket: Ticket, result: Result<Reply, Undelivered>) {
        match (result, self.publishes.publication(ticket)) {
            (Ok(_), _) => self.release(now, ticket),
            (Err(Undelivered::Moved { .. }), Some(publication)) => self.ask_to_retain(now, ticket, &publication),
            (Err(_), _) => self.hold_failed(now, ticket),
        }
    }

    /// Begins to send the retained messages that a new subscription asks for.
    pub(crate) fn begin_replay(&mut self, id: ConnectionId, filter: TopicFilter, options: SubscriptionOptions) {
        self.replays.end_of(id, filter.as_str());
        let number = self.replays.next;
        self.replays.next += 1;
        let node = node_of(filter.as_str());
        let first = self.settings.router_shards.place(node.as_bytes());
        let asks_others = filter.has_wildcard() && self.replays.nodes_above.contains(node);
        let mut replay = Replay {
            connection: id,
            filter,
            options,
            pages: vec![Page::of(first, None)],
            routers: BTreeSet::from([first]),
            asks_others,
            knows_others: asks_others,
            retry_at: None,
            live: BTreeSet::new(),
        };
        if asks_others {
            replay.extend(self.settings.router_shards.objects());
        }
        self.replays.replays.insert(number, replay);
        self.replays.by_connection.entry(id).or_default().push(number);
    }

    /// Asks for the next pages of each replay whose client has room for them.
    pub(crate) fn ask_pages(&mut self, now: UnixMillis) {
        let (mut asked, mut over) = (Vec::new(), Vec::new());
        for (number, replay) in &mut self.replays.replays {
            if replay.pages.is_empty() {
                over.push(*number);
                continue;
            }
            let has_room = self.connections.get(&replay.connection).is_some_and(|c| c.has_room(replay.options.qos));
            replay.retry_at = replay.retry_at.filter(|at| *at > now);
            if !has_room || replay.retry_at.is_some() {
                continue;
            }
            let (limit, at_once) = match replay.options.qos {
                Qos::AtMostOnce => (self.settings.limits.retained_page, PAGES_AT_ONCE),
                Qos::AtLeastOnce | Qos::ExactlyOnce => {
                    (self.settings.limits.retained_page.min(PAGE_WITH_ACKNOWLEDGEMENTS), 1)
                }
            };
            let under_way = replay.pages.iter().filter(|page| page.is_asked).count();
            let free = at_once.saturating_sub(under_way);
            for page in replay.pages.iter_mut().filter(|page| !page.is_asked).take(free) {
                page.is_asked = true;
                let request = RouterRequest::Retained {
                    filter: replay.filter.as_str().to_owned(),
                    after: page.after.clone(),
                    limit,
                };
                asked.push((*number, page.router, Request::Router(request)));
            }
        }
        for (number, router, request) in asked {
            if self.outbox.push(Address::Router(router), request, Token::Replay { number, router }).is_err() {
                self.page_arrived(now, (number, router), None);
            }
        }
        over.into_iter().for_each(|number| self.replays.end(number));
    }

    /// A page has come from a Router, or could not.
    pub(crate) fn page_answered(
        &mut self,
        now: UnixMillis,
        (number, router): (u64, u32),
        result: Result<Reply, Undelivered>,
    ) {
        match result {
            Ok(Reply::Retained(page)) => self.page_arrived(now, (number, router), Some(page)),
            Err(Undelivered::Moved { to, .. }) => {
                if let Some(replay) = self.replays.replays.get_mut(&number) {
                    replay.routers.insert(to);
                    if let Some(page) = replay.page_mut(router) {
                        *page = Page { router: to, is_asked: false, is_void: false, after: page.after.take(), ..*page };
                    }
                }
            }
            _ => self.page_arrived(now, (number, router), None),
        }
    }

    fn page_arrived(&mut self, now: UnixMillis, (number, router): (u64, u32), arrived: Option<RetainedPage>) {
        for (shard, to) in arrived.iter().flat_map(|page| &page.given_away) {
            self.settings.router_shards.note_moved(*shard, *to);
        }
        let Some(replay) = self.replays.replays.get_mut(&number) else { return };
        let Some(at) = replay.pages.iter().position(|page| page.router == router && page.is_asked) else { return };
        let Some(page) = replay.pages.get_mut(at) else { return };
        page.is_asked = false;
        let Some(arrived) = arrived else {
            page.failures += 1;
            let is_given_up = page.failures >= ATTEMPTS;
            replay.retry_at = Some(now.plus_millis(RETRY_MILLIS));
            if is_given_up {
                let (id, filter) = (replay.connection, replay.filter.as_str().to_owned());
                self.log(id, "retained_not_sent", Some(&filter), Some("a Router could not be asked"), None);
                self.replays.end(number);
            }
            return;
        };
        if core::mem::take(&mut page.is_void) {
            return;
        }
        match arrived.next {
            Some(next) => *page = Page::of(router, Some(next)),
            None => drop(replay.pages.remove(at)),
        }
        if !core::mem::replace(&mut replay.knows_others, true) && arrived.has_retained_below {
            replay.asks_others = replay.filter.has_wildcard();
            let nodes_above = &mut self.replays.nodes_above;
            if nodes_above.len() >= MAXIMUM_NODES_ABOVE {
                nodes_above.clear();
            }
            nodes_above.insert(node_of(replay.filter.as_str()).to_owned());
        }
        if replay.asks_others {
            replay.extend(self.settings.router_shards.objects());
        }
        let (id, options) = (replay.connection, replay.options);
        let fresh: Vec<Publication> = arrived
            .messages
            .into_iter()
            .filter(|message| replay.filter.matches(&message.topic) && !replay.live.contains(&message.topic))
            .collect();
        for mut publication in fresh {
            if !self.may_receive(now, id, &publication.topic) {
                continue;
            }
            // Sent again, it is another delivery: its name is that of the live message.
            publication.message_id = None;
            let delivery = Delivery {
                qos: options.qos.min(publication.qos),
                publication: Rc::new(publication),
                // [MQTT-3.3.1-8]
                retain: true,
                subscription_identifiers: options.subscription_identifier.into_iter().collect(),
            };
            self.deliver_to(now, id, delivery);
        }
    }

    /// A live retained message goes to a connection: what is stored of its topic from before is out of date.
    pub(crate) fn note_live(&mut self, id: ConnectionId, topic: &str) {
        let limit = self.settings.limits.maximum_replay_topics;
        for number in self.replays.by_connection.get(&id).map(Vec::as_slice).unwrap_or_default() {
            let Some(replay) = self.replays.replays.get_mut(number) else { continue };
            if !replay.filter.matches(topic) {
                continue;
            }
            if replay.live.len() < limit {
                replay.live.insert(topic.to_owned());
            } else {
                // What is asked for from here on has been stored after all of these; what is on its way may not.
                replay.live.clear();
                replay.pages.iter_mut().filter(|page| page.is_asked).for_each(|page| page.is_void = true);
            }
        }
    }
}
