//! Retained messages for new subscriptions of durable sessions (MQTT 5.0 section 3.3.1.3).
//!
//! The shard asks the Router of the filter's node, and, if retained messages may lie below it, all others, page by page.
//! A copy whose topic had a live message since the subscription began is dropped: it may be older. A replay is only in
//! memory: a shard that loses it leaves the rest of it out.

use super::{LogEvent, SessionsShard, Stored, Told};
use crate::store::SessionStore;
use iot_types::{ClientId, UnixMillis};
use messages::address::Address;
use messages::channel::Undelivered;
use messages::router::RouterRequest;
use messages::session::SubscriptionOptions;
use messages::{Reply, Request};
use mqtt_session::Delivery;
use mqtt_topic::node::node_of;
use mqtt_topic::{TopicFilter, matches};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The replays under way.
#[derive(Debug, Default)]
pub(super) struct Replays {
    next: u64,
    replays: BTreeMap<u64, Replay>,
}

#[derive(Debug)]
struct Replay {
    client_id: ClientId,
    filter: String,
    options: SubscriptionOptions,
    /// The Routers yet to be asked, the next one last.
    targets: Vec<Address>,
    after: Option<String>,
    /// Topics that have had a live message since the subscription began.
    live: BTreeSet<String>,
    state: State,
    /// How often a Router has said that another one has the node.
    moves: u32,
}

const MAXIMUM_MOVES: u32 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The subscription is not in force yet.
    Prepared,
    Asking,
    /// The session's queue is nearly full.
    Paused,
}

/// Topics to remember for one replay; after that nobody can tell which copies are old.
const MAXIMUM_LIVE: usize = 16_384;

/// A publisher's part that there is not: nobody waits for retained copies, but they need not be stored at once either.
const NO_WAIT: u64 = 0;

impl Replays {
    pub fn is_empty(&self) -> bool {
        self.replays.is_empty()
    }

    pub fn is_for(&self, client_id: &ClientId) -> bool {
        self.replays.values().any(|replay| replay.client_id == *client_id)
    }

    pub fn has(&self, is_it: impl Fn(&ClientId) -> bool) -> bool {
        self.replays.values().any(|replay| is_it(&replay.client_id))
    }

    pub fn forget(&mut self, client_id: &ClientId) {
        self.replays.retain(|_, replay| replay.client_id != *client_id);
    }

    pub fn forget_filter(&mut self, client_id: &ClientId, filter: &str) {
        self.replays.retain(|_, replay| replay.client_id != *client_id || replay.filter != filter);
    }

    /// A SUBSCRIBE that wants retained messages: from now on live ones are noted. Shared subscriptions get none.
    pub fn prepare(&mut self, client_id: &ClientId, filter: &str, options: SubscriptionOptions) {
        self.forget_filter(client_id, filter);
        if filter.starts_with("$share/") {
            return;
        }
        self.next += 1;
        self.replays.insert(
            self.next,
            Replay {
                client_id: client_id.clone(),
                filter: filter.to_owned(),
                options,
                targets: Vec::new(),
                after: None,
                live: BTreeSet::new(),
                state: State::Prepared,
                moves: 0,
            },
        );
    }

    /// A live message went to the session.
    pub fn note_live(&mut self, client_id: &ClientId, topic: &str) {
        for replay in self.replays.values_mut() {
            if replay.client_id == *client_id && matches(&replay.filter, topic) && replay.live.len() < MAXIMUM_LIVE {
                replay.live.insert(topic.to_owned());
            }
        }
    }
}

impl SessionsShard {
    /// The subscription is in force: its retained messages are asked for, if they are wanted.
    pub(super) fn start_replay(&mut self, client_id: &ClientId, filter: &str) {
        let Some((id, replay)) = self.replays.replays.iter_mut().find(|(_, replay)| {
            replay.client_id == *client_id && replay.filter == filter && replay.state == State::Prepared
        }) else {
            return;
        };
        let id = *id;
        replay.targets = vec![Address::router_of_node(node_of(filter), &self.routers)];
        self.ask_replay(id);
    }

    fn ask_replay(&mut self, id: u64) {
        let Some(replay) = self.replays.replays.get_mut(&id) else { return };
        let Some(target) = replay.targets.last() else {
            self.replays.replays.remove(&id);
            return;
        };
        replay.state = State::Asking;
        let request = RouterRequest::Retained {
            filter: replay.filter.clone(),
            after: replay.after.clone(),
            limit: self.settings.retained_page,
        };
        if self.outbox.push(target.clone(), Request::Router(request), Told::Replay { replay: id }).is_err() {
            self.abandon(id);
        }
    }

    fn abandon(&mut self, id: u64) {
        if let Some(Replay { client_id, filter, .. }) = self.replays.replays.remove(&id) {
            self.note(LogEvent::ReplayAbandoned { client_id, filter });
        }
    }

    /// Leaves out the rest of what such clients are being sent.
    pub(super) fn abandon_replays(&mut self, is_it: impl Fn(&ClientId) -> bool) {
        let theirs = self.replays.replays.iter().filter(|(_, replay)| is_it(&replay.client_id));
        for id in theirs.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.abandon(id);
        }
    }

    /// A page of retained messages came.
    pub(super) fn replay_answered(
        &mut self,
        id: u64,
        target: &Address,
        result: Result<Reply, Undelivered>,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<()> {
        let Some(replay) = self.replays.replays.get_mut(&id) else { return Ok(()) };
        if replay.state != State::Asking || replay.targets.last() != Some(target) {
            return Ok(());
        }
        let page = match result {
            Ok(Reply::Retained(page)) => page,
            Err(Undelivered::Moved { .. }) if replay.moves < MAXIMUM_MOVES => {
                // The map has been told; the filter's node is looked for again, and the others are asked anyway.
                replay.moves += 1;
                replay.targets.pop();
                replay.targets.push(Address::router_of_node(node_of(&replay.filter), &self.routers));
                self.ask_replay(id);
                return Ok(());
            }
            _ => {
                self.abandon(id);
                return Ok(());
            }
        };
        let client_id = replay.client_id.clone();
        let options = replay.options;
        let messages: Vec<_> =
            page.messages.into_iter().filter(|message| !replay.live.contains(&message.topic)).collect();
        if replay.live.len() >= MAXIMUM_LIVE {
            self.abandon(id);
            return Ok(());
        }
        replay.after = page.next;
        if replay.after.is_none() {
            replay.targets.pop();
            let is_first = *target == Address::router_of_node(node_of(&replay.filter), &self.routers);
            let has_wildcard = TopicFilter::new(replay.filter.clone()).is_ok_and(|filter| filter.has_wildcard());
            if has_wildcard {
                let before = self.routers.objects();
                for (shard, to) in page.given_away {
                    self.routers.note_moved(shard, to);
                }
                let is_new = |router: &u32| !before.contains(router);
                let others = self.routers.objects().into_iter();
                if is_first && page.has_retained_below {
                    replay.targets.extend(others.map(Address::Router).filter(|other| other != target));
                } else if !is_first {
                    replay.targets.extend(others.filter(is_new).map(Address::Router));
                }
            }
        }
        for mut message in messages {
            // A delivery of its own, not the live one that had this name.
            message.message_id = None;
            let delivery = Delivery {
                qos: message.qos.min(options.qos),
                retain: true,
                subscription_identifiers: options.subscription_identifier.into_iter().collect(),
                publication: Rc::new(message),
            };
            self.offer(&client_id, delivery, Some(NO_WAIT), now, store)?;
        }
        if let Some(replay) = self.replays.replays.get_mut(&id) {
            replay.state = State::Paused;
        }
        self.continue_replays(&client_id);
        Ok(())
    }

    /// Asks for more if the session has room for a page.
    pub(super) fn continue_replays(&mut self, client_id: &ClientId) {
        let Some(live) = self.lives.get(client_id) else { return };
        let page = usize::try_from(self.settings.retained_page).unwrap_or(usize::MAX);
        let has_room = live.messages.saturating_add(page) <= self.settings.maximum_messages
            && live.bytes.saturating_mul(2) <= self.settings.maximum_bytes as u64;
        if !has_room && live.messages > 0 {
            return;
        }
        let paused = self
            .replays
            .replays
            .iter()
            .filter(|(_, replay)| replay.client_id == *client_id && replay.state == State::Paused);
        for id in paused.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.ask_replay(id);
        }
    }
}
