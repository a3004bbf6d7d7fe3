//! What clients may do: their policies come from the registry when they connect, are compiled once for each connection,
//! and are read again when the registry says that something about them has changed.
//!
//! The documents are kept with the node, so that a node that wakes up knows at once what its clients may do.

use crate::broker::Broker;
use crate::io::Output;
use crate::permissions::{ConnectWish, Permissions};
use device_auth::internal_header::Lease;
use device_auth::principal::Principal;
use iot_types::UnixMillis;
use messages::broker::{AuthoritySubject, ConnectionId};
use mqtt_codec::ReasonCode;
use policy::{Facts, PolicyDocument};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Connections that are asked for at once.
const ASKED_AT_ONCE: usize = 100;
/// How long a node waits before it asks again for what could not be read, in milliseconds.
const RETRY_MILLIS: u64 = 1_000;
/// Sets of policies that are kept although no connection has them: the next one is likely to.
const MAXIMUM_IDLE_SETS: usize = 64;
/// After so many answers in a row that are older than what the node was told, the registry is believed: it has been
/// set back to an earlier time, and its numbers begin there.
const MOST_OUTDATED: u32 = 3;

/// A policy in the version that is in force.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PolicySource {
    /// Its name.
    pub name: String,
    /// The document, as JSON text.
    pub document: String,
}

/// What the registry knows of a principal.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAuthority {
    /// The policies attached to it.
    pub policies: Vec<PolicySource>,
    /// What policy variables stand for, as far as the registry knows it: the certificate's and the thing's.
    pub facts: Facts,
    /// Until when a custom authorizer's answer is good.
    pub lease: Option<Lease>,
}

/// A connection whose authority is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityRequest {
    /// Which connection.
    pub connection: ConnectionId,
    /// Whose it is.
    pub principal: Principal,
    /// The thing of this name is the connection's, if it is attached to the principal.
    pub client_id: String,
    /// The certificate itself in DER, where it came with the proof: it may have to be registered first.
    pub certificate: Option<Vec<u8>>,
}

/// Policies that connections have in common.
pub struct PolicySet {
    pub number: u64,
    pub sources: Vec<PolicySource>,
    pub documents: Vec<(String, PolicyDocument)>,
}

impl PolicySet {
    fn new(number: u64, sources: Vec<PolicySource>) -> Self {
        // What the API took can be read, unless a newer release took it: then it allows nothing here.
        let read = |source: &PolicySource| {
            PolicyDocument::parse(&source.document).ok().map(|document| (source.name.clone(), document))
        };
        Self { number, documents: sources.iter().filter_map(read).collect(), sources }
    }
}

/// What the node knows of policies, and what it has asked for.
#[derive(Default)]
pub struct Authorities {
    sets: BTreeMap<u64, Rc<PolicySet>>,
    next_set: u64,
    wanted: BTreeSet<ConnectionId>,
    /// Whether a question is under way.
    is_asking: bool,
    retry_at: Option<UnixMillis>,
    /// The newest change of the control log of which this memory knows that all before it have been told; `None` before
    /// it has heard of any.
    told: Option<u64>,
    /// Answers in a row that were older than that.
    outdated: u32,
    changes: u64,
}

impl Authorities {
    /// Rises whenever the permissions of somebody change who may have subscriptions.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    pub fn is_idle(&self) -> bool {
        self.wanted.is_empty() && !self.is_asking
    }

    pub fn next_retry(&self) -> Option<UnixMillis> {
        self.retry_at.filter(|_| !self.wanted.is_empty() && !self.is_asking)
    }

    /// Has what this connection may do read again.
    pub fn want(&mut self, id: ConnectionId) {
        self.wanted.insert(id);
    }

    pub fn set(&self, number: u64) -> Option<Rc<PolicySet>> {
        self.sets.get(&number).cloned()
    }
}

impl Broker {
    /// Policies that were kept with the node; before [`Broker::wake`].
    ///
    /// What can't be read is left out: the connections that had it are closed.
    pub fn restore_policies(&mut self, stored: Vec<(u64, Vec<u8>)>) {
        for (number, bytes) in stored {
            let Ok(sources) = postcard::from_bytes(&bytes) else { continue };
            self.authorities.next_set = self.authorities.next_set.max(number + 1);
            self.authorities.sets.insert(number, Rc::new(PolicySet::new(number, sources)));
        }
    }

    /// Goes on with a CONNECT once it is known who it is from: what it may do is looked up, unless it is everything.
    pub(crate) fn authorize(&mut self, now: UnixMillis, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.grant.principal.as_ref().is_some_and(Principal::is_root) {
            connection.permissions = Some(Box::new(Permissions::everything()));
            return self.claim(now, id);
        }
        self.authorities.wanted.insert(id);
    }

    /// Asks for what connections are waiting for, all at once, one question after the other.
    pub(crate) fn ask_authorities(&mut self, now: UnixMillis) {
        if self.authorities.is_asking || self.authorities.retry_at.is_some_and(|at| at > now) {
            return;
        }
        self.authorities.retry_at = None;
        let mut requests = Vec::new();
        while requests.len() < ASKED_AT_ONCE
            && let Some(id) = self.authorities.wanted.pop_first()
        {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            // Only needed to connect, and too large to be kept.
            let certificate = connection.grant.certificate.take();
            let claiming = connection.claiming.as_ref().map(|claiming| &claiming.client_id);
            let client_id = connection.client_id.as_ref().or(claiming);
            if let Some((principal, client_id)) = connection.grant.principal.clone().zip(client_id) {
                let client_id = client_id.as_str().to_owned();
                requests.push(AuthorityRequest { connection: id, principal, client_id, certificate });
            }
        }
        if !requests.is_empty() {
            self.authorities.is_asking = true;
            self.outputs.push(Output::LoadAuthorities { requests });
        }
    }

    /// The registry has answered for these connections; nothing for those that may not be here at all.
    pub(crate) fn authorities_loaded(
        &mut self,
        now: UnixMillis,
        sequence: u64,
        found: Vec<(ConnectionId, Option<StoredAuthority>)>,
    ) {
        self.authorities.is_asking = false;
        // Something changed while it was read.
        let mut is_outdated = self.authorities.told.is_some_and(|told| sequence < told);
        self.authorities.outdated = if is_outdated { self.authorities.outdated + 1 } else { 0 };
        if self.authorities.outdated >= MOST_OUTDATED {
            // Should changes only have come thick and fast, the next one shows a gap, and everybody's is read again.
            (is_outdated, self.authorities.outdated, self.authorities.told) = (false, 0, Some(sequence));
        }
        // Of what has changed before, others may still have to be told: only if there are none does it not matter.
        if self.authorities.told.is_none() && self.connections.values().all(|c| c.set_number().is_none()) {
            self.authorities.told = Some(sequence);
        }
        for (id, stored) in found {
            if is_outdated {
                self.authorities.wanted.insert(id);
                continue;
            }
            match stored {
                Some(stored) => self.authority_found(now, id, stored),
                None => {
                    let reason = "the certificate or key is not registered or not active, or its authorizer refuses it";
                    self.end(now, id, ReasonCode::NotAuthorized, reason);
                }
            }
        }
        self.forget_idle_sets();
    }

    /// The registry could not be read: who is connected stays, who connects has to come again.
    pub(crate) fn authorities_unavailable(&mut self, now: UnixMillis, requests: Vec<AuthorityRequest>) {
        self.authorities.is_asking = false;
        self.authorities.retry_at = Some(now.plus_millis(RETRY_MILLIS));
        for AuthorityRequest { connection: id, .. } in requests {
            if self.connections.get(&id).is_some_and(|connection| connection.claiming.is_some()) {
                let reason = "what this client may do could not be looked up";
                self.end(now, id, ReasonCode::ServerUnavailable, reason);
            } else if self.connections.get(&id).is_some() {
                self.authorities.wanted.insert(id);
            }
        }
    }

    fn authority_found(&mut self, now: UnixMillis, id: ConnectionId, stored: StoredAuthority) {
        let set = self.policy_set(stored.policies);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let claiming = connection.claiming.as_ref().map(|claiming| &claiming.client_id);
        let Some(client_id) = connection.client_id.as_ref().or(claiming).cloned() else { return };
        connection.grant.lease = stored.lease;
        let timeout = connection.next_timeout();
        let facts = Permissions::facts_of(stored.facts, &connection.grant, &client_id);
        let wish = match (&connection.claiming, &connection.permissions) {
            (Some(claiming), _) => ConnectWish::of(&claiming.claim),
            (None, Some(permissions)) => permissions.wish().clone(),
            (None, None) => return,
        };
        let permissions = Permissions::compile(&set, facts, wish, &self.settings.scope);
        let is_allowed = permissions.may_connect(now, &client_id);
        // Who connects has no subscription that a plan could have been made from.
        self.authorities.changes += u64::from(connection.permissions.is_some());
        connection.permissions = Some(Box::new(permissions));
        connection.mark_stale();
        self.touched.insert(id);
        self.note_deadline(timeout);
        if !is_allowed {
            let reason = "no policy allows this client to connect, or to leave this will";
            return self.end(now, id, ReasonCode::NotAuthorized, reason);
        }
        self.claim(now, id);
    }

    /// The set of these policies, which is kept from now on.
    fn policy_set(&mut self, mut sources: Vec<PolicySource>) -> Rc<PolicySet> {
        sources.sort();
        if let Some(known) = self.authorities.sets.values().find(|set| set.sources == sources) {
            return Rc::clone(known);
        }
        let number = self.authorities.next_set;
        self.authorities.next_set += 1;
        if self.settings.sockets_outlive_memory {
            // Serialising into memory fails only for types that postcard has no form for; there is none here.
            let bytes = postcard::to_allocvec(&sources).unwrap_or_default();
            self.outputs.push(Output::SavePolicies { number, bytes });
        }
        let set = Rc::new(PolicySet::new(number, sources));
        self.authorities.sets.insert(number, Rc::clone(&set));
        set
    }

    fn forget_idle_sets(&mut self) {
        let is_idle = |set: &Rc<PolicySet>| Rc::strong_count(set) == 1;
        let idle: Vec<u64> = self.authorities.sets.values().filter(|set| is_idle(set)).map(|set| set.number).collect();
        for number in idle.iter().take(idle.len().saturating_sub(MAXIMUM_IDLE_SETS)).copied() {
            self.authorities.sets.remove(&number);
            if self.settings.sockets_outlive_memory {
                self.outputs.push(Output::ForgetPolicies { number });
            }
        }
    }

    /// Something of the control log has changed: the permissions that it concerns are read again. After a gap,
    /// everybody's.
    pub(crate) fn control_changed(&mut self, sequence: u64, subject: &AuthoritySubject) {
        if self.authorities.told.is_some_and(|told| sequence <= told) {
            return;
        }
        let has_gap = self.authorities.told.is_none_or(|told| sequence > told + 1);
        self.authorities.told = Some(sequence);
        for (id, connection) in self.connections.iter() {
            let Some(principal) = connection.grant.principal.as_ref().filter(|principal| !principal.is_root()) else {
                continue;
            };
            let is_concerned = has_gap
                || match subject {
                    AuthoritySubject::Nobody => false,
                    AuthoritySubject::Principal(subject) => principal.is_concerned(subject),
                    AuthoritySubject::Policy(name) => {
                        connection.permissions.as_ref().is_some_and(|permissions| permissions.has_policy(name))
                    }
                    AuthoritySubject::Thing(name) => {
                        connection.permissions.as_ref().is_some_and(|permissions| permissions.is_thing(name))
                    }
                    AuthoritySubject::ThingGroup(name) => {
                        connection.permissions.as_ref().is_some_and(|permissions| permissions.is_in_group(name))
                    }
                };
            if is_concerned {
                self.authorities.wanted.insert(*id);
            }
        }
    }
}
