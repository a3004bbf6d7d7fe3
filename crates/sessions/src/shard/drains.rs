//! What Routers keep for shared groups with nobody online (MQTT 5.0 section 4.8.2): taken over when a member is there.

use super::deliveries::to_member;
use super::queue::Offered;
use super::{SessionsShard, Stored, Told};
use crate::store::SessionStore;
use iot_types::{ClientId, UnixMillis};
use messages::address::Address;
use messages::channel::Undelivered;
use messages::router::RouterRequest;
use messages::{Reply, Request};
use mqtt_topic::node::node_of;
use std::collections::{BTreeMap, BTreeSet};

/// How long a message may be on its way to a Router after the shard has said that nobody is online, in milliseconds: as
/// long as two calls may take that fail again and again.
const DECLINED_MILLIS: u64 = 30_000;

/// Wait before a Router is asked again that could not answer, in milliseconds.
const RETRY_MILLIS: u64 = 5_000;

/// Groups whose last refusal is remembered.
const MAXIMUM_DECLINED: usize = 10_000;

/// What is known of the queues at the Routers.
#[derive(Debug, Default)]
pub(super) struct Drains {
    /// Groups whose queue has more than their members here could take: it goes on when one has acknowledged something.
    paused: BTreeSet<String>,
    /// Groups whose Router is being asked: twice at once would give each message to two members.
    under_way: BTreeSet<String>,
    /// Those of them for which somebody came meanwhile.
    wanted: BTreeSet<String>,
    /// Groups to ask for again, and when.
    again: BTreeMap<String, UnixMillis>,
    /// When a message for the group was last declined because nobody was online: it may reach the Router after a member
    /// that comes meanwhile has found the queue empty.
    declined: BTreeMap<String, UnixMillis>,
}

impl Drains {
    pub fn note_declined(&mut self, shared_filter: &str, now: UnixMillis) {
        if self.declined.len() >= MAXIMUM_DECLINED {
            self.declined.retain(|_, at| at.plus_millis(DECLINED_MILLIS) > now);
        }
        self.declined.insert(shared_filter.to_owned(), now);
    }

    /// Until when messages may reach the Router that were declined here, or may have been by a memory before.
    fn late_until(&mut self, shared_filter: &str, began_at: UnixMillis, now: UnixMillis) -> Option<UnixMillis> {
        let declined = self.declined.remove(shared_filter);
        let until = declined.unwrap_or(began_at).max(began_at).plus_millis(DECLINED_MILLIS);
        (until > now).then_some(until)
    }

    pub fn next_timeout(&self) -> Option<UnixMillis> {
        self.again.values().copied().min()
    }

    pub fn is_idle(&self) -> bool {
        self.again.is_empty()
    }
}

impl SessionsShard {
    /// A member of shared groups is there: what waits for them at the Routers can be had.
    pub(super) fn drain_groups(&mut self, client_id: &ClientId, now: UnixMillis) {
        // Also those that the Routers aren't known to have: a row may be behind.
        for shared_filter in self.subscriptions.groups_of(client_id) {
            if let Some(until) = self.drains.late_until(&shared_filter, self.began_at, now) {
                self.drains.again.insert(shared_filter.clone(), until);
            }
            self.drain(shared_filter, 0, now);
        }
    }

    fn drain(&mut self, shared_filter: String, after: u64, now: UnixMillis) {
        if self.drains.under_way.contains(&shared_filter) {
            self.drains.wanted.insert(shared_filter);
            return;
        }
        let target = Address::router_of_node(node_of(&shared_filter), &self.routers);
        let request = RouterRequest::DrainShared { shared_filter: shared_filter.clone(), after };
        let told = Told::Drain { shared_filter: shared_filter.clone() };
        let is_asked = self.outbox.push(target, Request::Router(request), told).is_ok();
        self.drains.paused.remove(&shared_filter);
        if is_asked {
            self.drains.under_way.insert(shared_filter);
        } else {
            self.drains.again.insert(shared_filter, now.plus_millis(RETRY_MILLIS));
        }
    }

    /// A memory before this one may not have come to ask for what members wait for that are there.
    pub(super) fn load_drains(&mut self, now: UnixMillis) {
        let groups = self.subscriptions.shared_filters().cloned();
        self.drains.again.extend(groups.map(|shared_filter| (shared_filter, now)));
    }

    /// Asks again for the groups whose time has come, unless everybody has left.
    pub(super) fn drains_due(&mut self, now: UnixMillis, store: &mut dyn SessionStore) -> Stored<()> {
        if self.drains.next_timeout().is_none_or(|at| at > now) {
            return Ok(());
        }
        let (due, later) = std::mem::take(&mut self.drains.again).into_iter().partition(|(_, at)| *at <= now);
        self.drains.again = later;
        let due: BTreeMap<String, UnixMillis> = due;
        for shared_filter in due.into_keys() {
            for (client_id, _) in self.subscriptions.members(&shared_filter).unwrap_or_default() {
                self.load_live(&client_id, now, store)?;
                if self.is_online(&client_id) {
                    self.drain(shared_filter, 0, now);
                    break;
                }
            }
        }
        Ok(())
    }

    /// There may be room now for what is queued for the client's groups.
    pub(super) fn continue_drains(&mut self, client_id: &ClientId, now: UnixMillis) {
        if self.drains.paused.is_empty() || !self.can_take(client_id) {
            return;
        }
        for shared_filter in self.subscriptions.groups_of(client_id) {
            if self.drains.paused.contains(&shared_filter) {
                self.drain(shared_filter, 0, now);
            }
        }
    }

    /// Queued messages of a shared group came: each is stored with a member before the Router is told to forget it.
    pub(super) fn drain_answered(
        &mut self,
        shared_filter: &str,
        result: Result<Reply, Undelivered>,
        now: UnixMillis,
        store: &mut dyn SessionStore,
    ) -> Stored<()> {
        self.drains.under_way.remove(shared_filter);
        let is_wanted = self.drains.wanted.remove(shared_filter);
        let Ok(Reply::SharedQueue(messages)) = result else {
            // Out of reach, or another destination is at it.
            let is_moved = matches!(result, Err(Undelivered::Moved { .. }));
            let at = if is_moved { now } else { now.plus_millis(RETRY_MILLIS) };
            self.drains.again.insert(shared_filter.to_owned(), at);
            return Ok(());
        };
        let mut taken = None;
        for (place, publication) in messages {
            let Some(members) = self.subscriptions.members(shared_filter) else { break };
            let mut is_taken = false;
            for (client_id, options) in members {
                self.load_live(&client_id, now, store)?;
                if self.has_had(&client_id, &publication) {
                    is_taken = true;
                    break;
                }
                if !self.can_take(&client_id) {
                    continue;
                }
                let offered = self.offer(&client_id, to_member(&publication, options), None, now, store)?;
                if offered == Offered::Safe {
                    self.subscriptions.note_turn(shared_filter, client_id);
                    is_taken = true;
                    break;
                }
            }
            if !is_taken {
                self.drains.paused.insert(shared_filter.to_owned());
                break;
            }
            taken = Some(place);
        }
        // The rows are committed before this leaves.
        if let Some(taken) = taken {
            let is_paused = self.drains.paused.contains(shared_filter);
            self.drain(shared_filter.to_owned(), taken, now);
            if is_paused {
                self.drains.paused.insert(shared_filter.to_owned());
            }
        } else if is_wanted {
            self.drain(shared_filter.to_owned(), 0, now);
        }
        Ok(())
    }
}
