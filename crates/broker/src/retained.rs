//! Retained messages: storing those that are published, and sending them to new subscriptions (MQTT 5.0 sections
//! 3.3.1.3 and 3.8.3.1) of sessions that end with their connections.
//!
//! A retained message is stored before anybody gets it, so a new subscriber finds it stored or gets it live. What comes
//! live while a replay runs is newer than the stored copy, which is left out then.

use crate::broker::Broker;
use crate::publishes::Ticket;
use crate::token::Token;
use iot_types::UnixMillis;
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
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

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
}

struct Replay {
    connection: ConnectionId,
    filter: TopicFilter,
    options: SubscriptionOptions,
    /// The Router objects to ask, with the topic that the next page begins after.
    pages: VecDeque<(u32, Option<String>)>,
    /// The objects that have been or will be asked.
    routers: BTreeSet<u32>,
    /// Whether objects other than the filter's own are asked.
    asks_others: bool,
    /// The first object's word on the others has been heard.
    knows_others: bool,
    is_asked: bool,
    failures: u32,
    retry_at: Option<UnixMillis>,
    /// Topics of live messages that came since the subscription is in force.
    live: BTreeSet<String>,
    /// There were too many: the page on its way may be older than some of them.
    has_overflown: bool,
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
        let first = self.settings.router_shards.place(node_of(filter.as_str()).as_bytes());
        let replay = Replay {
            connection: id,
            filter,
            options,
            pages: VecDeque::from([(first, None)]),
            routers: BTreeSet::from([first]),
            asks_others: false,
            knows_others: false,
            is_asked: false,
            failures: 0,
            retry_at: None,
            live: BTreeSet::new(),
            has_overflown: false,
        };
        self.replays.replays.insert(number, replay);
        self.replays.by_connection.entry(id).or_default().push(number);
    }

    /// Asks for the next page of each replay whose client has room for it.
    pub(crate) fn ask_pages(&mut self, now: UnixMillis) {
        let (mut asked, mut over) = (Vec::new(), Vec::new());
        for (number, replay) in &mut self.replays.replays {
            let Some((shard, after)) = replay.pages.front() else {
                over.push(*number);
                continue;
            };
            let has_room = self.connections.get(&replay.connection).is_some_and(|c| c.has_room(replay.options.qos));
            replay.retry_at = replay.retry_at.filter(|at| *at > now);
            if replay.is_asked || !has_room || replay.retry_at.is_some() {
                continue;
            }
            replay.is_asked = true;
            let request = RouterRequest::Retained {
                filter: replay.filter.as_str().to_owned(),
                after: after.clone(),
                limit: self.settings.limits.retained_page,
            };
            asked.push((*number, Address::Router(*shard), Request::Router(request)));
        }
        for (number, target, request) in asked {
            if self.outbox.push(target, request, Token::Replay(number)).is_err() {
                self.page_arrived(now, number, None);
            }
        }
        over.into_iter().for_each(|number| self.replays.end(number));
    }

    /// A page has come, or could not.
    pub(crate) fn page_answered(&mut self, now: UnixMillis, number: u64, result: Result<Reply, Undelivered>) {
        match result {
            Ok(Reply::Retained(page)) => self.page_arrived(now, number, Some(page)),
            Err(Undelivered::Moved { to, .. }) => {
                if let Some(replay) = self.replays.replays.get_mut(&number) {
                    replay.is_asked = false;
                    replay.routers.insert(to);
                    if let Some((router, _)) = replay.pages.front_mut() {
                        *router = to;
                    }
                }
            }
            _ => self.page_arrived(now, number, None),
        }
    }

    fn page_arrived(&mut self, now: UnixMillis, number: u64, page: Option<RetainedPage>) {
        for (shard, to) in page.iter().flat_map(|page| &page.given_away) {
            self.settings.router_shards.note_moved(*shard, *to);
        }
        let all = self.settings.router_shards.objects();
        let Some(replay) = self.replays.replays.get_mut(&number) else { return };
        replay.is_asked = false;
        let Some(page) = page else {
            replay.failures += 1;
            replay.retry_at = Some(now.plus_millis(RETRY_MILLIS));
            if replay.failures >= ATTEMPTS {
                let (id, filter) = (replay.connection, replay.filter.as_str().to_owned());
                self.log(id, "retained_not_sent", Some(&filter), Some("a Router could not be asked"), None);
                self.replays.end(number);
            }
            return;
        };
        if core::mem::take(&mut replay.has_overflown) {
            // Asked for again, now that everything live before it has been sent.
            replay.live.clear();
            return;
        }
        replay.failures = 0;
        let Some((shard, _)) = replay.pages.pop_front() else { return };
        if let Some(next) = page.next {
            replay.pages.push_front((shard, Some(next)));
        }
        if !core::mem::replace(&mut replay.knows_others, true) {
            replay.asks_others = page.has_retained_below && replay.filter.has_wildcard();
        }
        if replay.asks_others {
            let others = all.into_iter().filter(|router| replay.routers.insert(*router));
            replay.pages.extend(others.map(|router| (router, None)));
        }
        let (id, options) = (replay.connection, replay.options);
        let fresh: Vec<Publication> = page
            .messages
            .into_iter()
            .filter(|message| replay.filter.matches(&message.topic) && !replay.live.contains(&message.topic))
            .collect();
        for mut publication in fresh {
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
            } else if replay.is_asked {
                replay.has_overflown = true;
            } else {
                // What is asked for from here on has been stored after all of these.
                replay.live.clear();
            }
        }
    }
}
