//! The publishes on their way: what is known of each, without what follows from it.

use crate::shared::SharedPart;
use iot_types::{PacketId, UnixMillis};
use messages::address::{BrokerId, ShardMap};
use messages::broker::ConnectionId;
use messages::publication::{MessageId, Publication};
use messages::router::Destination;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// Names a publish on its way.
pub type Ticket = u64;

/// Names one receiver's part of a publish, also to the receiver.
pub type PartNumber = u64;

/// Whose publishes leave in the order they came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Publisher {
    Connection(ConnectionId),
    Platform(String),
}

/// Who waits for the outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Client {
        connection: ConnectionId,
        packet_id: Option<PacketId>,
    },
    Request(u64),
    /// A Sessions object whose will or presence event it is, under this ticket.
    Sessions {
        object: u32,
        ticket: u64,
    },
    Platform,
}

/// The publishes that are not safe with everybody yet.
pub struct Publishes {
    pub pending: BTreeMap<Ticket, Pending>,
    pub order: BTreeMap<Publisher, Line>,
    /// Publishers whose next publish waits for leases or for what has to come first, and until when.
    pub waiting: BTreeMap<Publisher, UnixMillis>,
    pub parts: BTreeMap<PartNumber, Part>,
    /// Parts that wait for fresh leases.
    pub refreshing: BTreeSet<PartNumber>,
    /// When parts give up whose receivers asked for patience; the earliest first.
    pub deadlines: VecDeque<(UnixMillis, PartNumber)>,
    pub next_ticket: Ticket,
    pub next_part: PartNumber,
    pub last_message: u64,
    pub bytes: usize,
}

/// The publishes of one publisher that have not been dispatched, in the order they came.
#[derive(Default)]
pub struct Line {
    pub tickets: VecDeque<Ticket>,
    /// How many of them this node's subscribers have not been given.
    pub undelivered: usize,
}

pub struct Pending {
    pub publisher: Publisher,
    pub origin: Origin,
    pub publication: Rc<Publication>,
    pub weight: usize,
    /// What has to be done before it may be dispatched.
    pub holds: usize,
    /// What Routers said about nodes that are too large to be lent; `None` while they are asked.
    pub routes: BTreeMap<String, Option<Found>>,
    /// Until when leases, and what has to come first, are waited for.
    pub until: UnixMillis,
    /// Its packet identifier is a row at its Sessions shard, which has to be told the outcome.
    pub is_received: bool,
    /// This node's subscribers have it.
    pub is_delivered_here: bool,
    pub is_dispatched: bool,
    /// What had to come first can't be done: it is not dispatched.
    pub is_blocked: bool,
    pub parts_left: usize,
    pub has_failed: bool,
}

pub struct Part {
    pub ticket: Ticket,
    pub state: PartState,
    pub shared: Option<Box<SharedPart>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartState {
    /// The receiver has not answered.
    Asked,
    /// It has not answered, but said later what it was going to say.
    Settled(bool),
    /// It answered that it takes longer.
    Waiting,
}

/// Who wants a topic at a node: filters with their destinations.
pub type Found = Vec<(String, Vec<Destination>)>;

/// Where a publish goes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Targets {
    pub destinations: BTreeSet<Destination>,
    /// The shared groups that match, with whoever has members.
    pub shared: BTreeMap<String, BTreeSet<Destination>>,
}

/// What is known of where a publish goes.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup {
    Known(Targets),
    /// Routers have been asked.
    Asked,
    /// They could not answer.
    Unreachable,
}

impl Publishes {
    /// Numbers begin at the clock, so that what is meant for an earlier memory of the node finds nothing here.
    pub const fn new(now: UnixMillis) -> Self {
        Self {
            pending: BTreeMap::new(),
            order: BTreeMap::new(),
            waiting: BTreeMap::new(),
            parts: BTreeMap::new(),
            refreshing: BTreeSet::new(),
            deadlines: VecDeque::new(),
            next_ticket: 0,
            next_part: now.0 << 20,
            last_message: 0,
            bytes: 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// A number that nothing else on its way has.
    pub const fn next_number(&mut self) -> PartNumber {
        self.next_part += 1;
        self.next_part
    }

    /// Bytes of all publishes on their way.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn publication(&self, ticket: Ticket) -> Option<Rc<Publication>> {
        self.pending.get(&ticket).map(|pending| Rc::clone(&pending.publication))
    }

    /// The connection that waits for the publish, if a client sent it.
    pub fn connection(&self, ticket: Ticket) -> Option<ConnectionId> {
        self.client(ticket).map(|(connection, _)| connection)
    }

    /// The same with the packet identifier, if it has one.
    pub fn client(&self, ticket: Ticket) -> Option<(ConnectionId, Option<PacketId>)> {
        match self.pending.get(&ticket)?.origin {
            Origin::Client { connection, packet_id } => Some((connection, packet_id)),
            Origin::Request(_) | Origin::Sessions { .. } | Origin::Platform => None,
        }
    }

    /// One more part has to be done before the publish is safe.
    pub fn add_part(&mut self, ticket: Ticket) {
        if let Some(pending) = self.pending.get_mut(&ticket) {
            pending.parts_left += 1;
        }
    }

    /// One more thing has to be done before the publish may be dispatched.
    pub fn hold(&mut self, ticket: Ticket) {
        if let Some(pending) = self.pending.get_mut(&ticket) {
            pending.holds += 1;
        }
    }

    /// The publish's packet identifier becomes a row, which has to be told the outcome.
    pub fn mark_received(&mut self, ticket: Ticket, is_received: bool) {
        if let Some(pending) = self.pending.get_mut(&ticket) {
            pending.is_received = is_received;
        }
    }

    /// Notes that this node's subscribers have the message, or don't get it; `false` when that was known.
    pub fn mark_delivered_here(&mut self, ticket: Ticket) -> bool {
        let Some(pending) = self.pending.get_mut(&ticket).filter(|pending| !pending.is_delivered_here) else {
            return false;
        };
        pending.is_delivered_here = true;
        if let Some(line) = self.order.get_mut(&pending.publisher) {
            line.undelivered = line.undelivered.saturating_sub(1);
        }
        true
    }

    /// Gives the message the name that its first sending got.
    pub fn name(&mut self, ticket: Ticket, message_id: MessageId) {
        if let Some(pending) = self.pending.get_mut(&ticket) {
            Rc::make_mut(&mut pending.publication).message_id = Some(message_id);
        }
    }

    /// A name for a message of QoS 2 that no client published.
    pub fn platform_message_id(&mut self, now: UnixMillis, broker: &BrokerId) -> MessageId {
        self.last_message = (now.0 << 20).max(self.last_message + 1);
        let region = u64::from(ShardMap::virtual_shard(broker.region.as_bytes()));
        // Connection numbers are at most a few times the clock, so no connection has such a number.
        MessageId { origin: 1 << 63 | region << 32 | u64::from(broker.index), number: self.last_message }
    }

    /// Whether a part's receiver has asked for patience.
    pub fn waits(&self, part: PartNumber) -> bool {
        self.parts.get(&part).is_some_and(|part| part.state == PartState::Waiting)
    }

    /// When something has to be given up.
    pub fn next_deadline(&self) -> Option<UnixMillis> {
        let parts = self.deadlines.front().map(|(at, _)| *at);
        let refreshing = self.refreshing.iter().filter_map(|part| self.patience(*part));
        parts.into_iter().chain(self.waiting.values().copied()).chain(refreshing).min()
    }

    pub fn shared(&mut self, part: PartNumber) -> Option<&mut SharedPart> {
        self.parts.get_mut(&part)?.shared.as_deref_mut()
    }

    /// The publication that a part is of.
    pub fn part_publication(&self, part: PartNumber) -> Option<Rc<Publication>> {
        self.publication(self.parts.get(&part)?.ticket)
    }

    /// When a part that waits for fresh leases goes on without them.
    pub fn patience(&self, part: PartNumber) -> Option<UnixMillis> {
        Some(self.pending.get(&self.parts.get(&part)?.ticket)?.until)
    }

    /// What Routers said about nodes too large to be lent, for this publish.
    pub fn routes(&mut self, ticket: Ticket) -> Option<&mut BTreeMap<String, Option<Found>>> {
        self.pending.get_mut(&ticket).map(|pending| &mut pending.routes)
    }

    /// Whether a publish waits for leases.
    pub fn waits_for_leases(&self) -> bool {
        !self.waiting.is_empty() || !self.refreshing.is_empty()
    }
}
