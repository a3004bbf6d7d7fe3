//! The Routers of a [`Model`], as one that answers as slowly as the publisher's lease is revoked.

use super::Model;
use messages::address::Address;
use messages::channel::{Acceptance, Call, Inbox};
use messages::codec::{Batch, BatchReply, Sender};
use messages::router::RouterRequest;
use messages::sessions::SessionsRequest;
use messages::{Reply, Request};
use std::collections::{BTreeMap, BTreeSet};

/// The Routers, as one: who has which filter, and what the publisher's Broker knows of it.
#[derive(Default)]
pub struct Router {
    pub inbox: Inbox,
    pub filters: BTreeMap<String, BTreeSet<u32>>,
    /// The publisher's lease.
    pub known: BTreeMap<String, BTreeSet<u32>>,
    /// Registrations that wait until the lease has been revoked.
    pub unconfirmed: Vec<(u32, u64)>,
    pub numbers: u64,
    /// Whether filters are registered at once.
    pub is_fast: bool,
}

impl Model {
    /// The lease of the publisher's Broker is revoked: it gets a new one, and those who wait for that hear it.
    pub fn revoke(&mut self, fault: u8) {
        self.router.known.clone_from(&self.router.filters);
        for (to, registration) in std::mem::take(&mut self.router.unconfirmed) {
            if fault == 1 {
                // The Router has forgotten, or could not reach it: it will be asked again.
                continue;
            }
            self.router.numbers += 1;
            let sender = Sender { address: Address::Router(0), epoch: 0, instance: 1, number: self.router.numbers };
            let requests = vec![Request::Sessions(SessionsRequest::Registered { registration })];
            self.call(to as usize, &Batch { sender: Some(sender), requests });
        }
    }

    pub fn at_router(&mut self, call: &Call) -> BatchReply {
        let sender = call.batch.sender.as_ref().unwrap();
        match self.router.inbox.accept(sender) {
            Acceptance::New { .. } => {}
            Acceptance::Repeat(reply) => return reply,
            Acceptance::Superseded => return Inbox::refuse(&call.batch, 0),
        }
        let Address::Sessions(from) = sender.address else { panic!() };
        let mut replies = Vec::new();
        for request in &call.batch.requests {
            let Request::Router(request) = request else { panic!() };
            replies.push(match request {
                RouterRequest::Subscribe { filter, registration } => {
                    self.router.filters.entry(filter.clone()).or_default().insert(from);
                    let is_known = self.router.known.get(filter).is_some_and(|known| known.contains(&from));
                    if self.router.is_fast {
                        self.router.known.clone_from(&self.router.filters);
                    }
                    if is_known || self.router.is_fast {
                        Reply::Applied
                    } else {
                        self.router.unconfirmed.push((from, *registration));
                        Reply::Pending
                    }
                }
                RouterRequest::Unsubscribe { filter } => {
                    self.router.filters.entry(filter.clone()).or_default().remove(&from);
                    Reply::Applied
                }
                _ => Reply::Applied,
            });
        }
        let reply = BatchReply { epoch: 0, replies };
        self.router.inbox.remember(sender, &reply);
        reply
    }
}
