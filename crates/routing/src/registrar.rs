//! The filters for which this object is a destination, and how they get into the directory.

use crate::router_of_node;
use crate::settings::RegistrarSettings;
use iot_types::UnixMillis;
use messages::Reply;
use messages::address::ShardMap;
use messages::channel::Undelivered;
use messages::router::{Mark, RouterRequest};
use mqtt_topic::node;
use std::collections::{BTreeMap, BTreeSet};

/// The registrations of a Broker's clean sessions, or of a Sessions object's durable ones.
///
/// One registration serves all local subscribers of a filter. It is complete, and its SUBSCRIBEs may be acknowledged, when
/// the filter is in force at its node and every node above is marked ([`Registrar::take_finished`]).
#[derive(Clone, Debug)]
pub struct Registrar {
    settings: RegistrarSettings,
    filters: BTreeMap<String, Filter>,
    marks: BTreeMap<(String, Mark), MarkState>,
    /// What has been asked for and is not done.
    asked: BTreeMap<u64, Asked>,
    removals: BTreeMap<u64, Removal>,
    /// Retained messages that wait for marks.
    tickets: BTreeMap<u64, BTreeSet<u64>>,
    next_number: u64,
    /// To be sent now, in this order.
    to_send: Vec<Number>,
    finished: Vec<Registration>,
}

#[derive(Clone, Debug)]
struct Filter {
    subscribers: usize,
    /// The registrations that it waits for; none when it is in force.
    waits_for: BTreeSet<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum MarkState {
    Known,
    Asked(u64),
}

#[derive(Clone, Debug)]
struct Asked {
    about: About,
    deadline: UnixMillis,
    /// Asked again then, unless there is news.
    retry_at: Option<UnixMillis>,
    /// Counts the sendings: an answer to an earlier one changes nothing.
    attempt: u32,
}

#[derive(Clone, Debug)]
enum About {
    Filter(String),
    Mark { node: String, mark: Mark, waiters: BTreeSet<Waiter> },
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Waiter {
    Filter(String),
    Ticket(u64),
}

#[derive(Clone, Debug)]
struct Removal {
    filter: String,
    retry_at: Option<UnixMillis>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Number {
    Registration(u64),
    Removal(u64),
}

/// A request for a Router, for [`messages::channel::Outbox::push`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrarRequest {
    /// The number of the Router.
    pub router: u32,
    /// What to send.
    pub request: RouterRequest,
    /// For [`Registrar::answered`].
    pub token: RegistrarToken,
}

/// Names a request to a Router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RegistrarToken {
    number: Number,
    attempt: u32,
}

/// What [`Registrar::add`] and [`Registrar::mark_retained`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is in force already.
    InForce,
    /// [`Registrar::take_finished`] will tell.
    Waits,
}

/// Something that has come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registration {
    /// The filter is in force: every publish from now on finds this object.
    InForce(String),
    /// It could not be put in force, and is forgotten with all its subscribers: don't remove them.
    Failed(String),
    /// It has been taken out of the directory: the Router knows that nobody here has it.
    Removed(String),
    /// The nodes above a topic are marked, or could not be.
    Marked {
        /// As given to [`Registrar::mark_retained`].
        ticket: u64,
        /// Whether they are.
        is_marked: bool,
    },
}

impl Registrar {
    /// Nothing is registered. `first_number` must be above those of this object's earlier memories, whose answers may still
    /// come: `now.0 << 20` is.
    #[must_use]
    pub const fn new(first_number: u64, settings: RegistrarSettings) -> Self {
        Self {
            settings,
            filters: BTreeMap::new(),
            marks: BTreeMap::new(),
            asked: BTreeMap::new(),
            removals: BTreeMap::new(),
            tickets: BTreeMap::new(),
            next_number: first_number,
            to_send: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// One more subscriber of a filter.
    pub fn add(&mut self, now: UnixMillis, filter: &str) -> Added {
        if let Some(known) = self.filters.get_mut(filter) {
            known.subscribers += 1;
            return if known.waits_for.is_empty() { Added::InForce } else { Added::Waits };
        }
        // An UNSUBSCRIBE that has not been sent yet, or has to be sent again, would end what begins here.
        self.removals.retain(|_, removal| removal.filter != filter);
        let number = self.ask(now, About::Filter(filter.to_owned()));
        let mut waits_for = BTreeSet::from([number]);
        let waiter = Waiter::Filter(filter.to_owned());
        for ancestor in node::ancestors_of(node::node_of(filter)) {
            waits_for.extend(self.mark(now, ancestor, Mark::Filters, &waiter));
        }
        self.filters.insert(filter.to_owned(), Filter { subscribers: 1, waits_for });
        Added::Waits
    }

    /// A subscriber of a filter that has been in force since before this memory began.
    pub fn restore(&mut self, filter: &str) {
        let known = self.filters.entry(filter.to_owned());
        known.or_insert(Filter { subscribers: 0, waits_for: BTreeSet::new() }).subscribers += 1;
        for ancestor in node::ancestors_of(node::node_of(filter)) {
            self.note_marked(ancestor, Mark::Filters);
        }
    }

    /// One subscriber of a filter less. With the last the filter is taken out of the directory: then `Removed` follows
    /// once the Router knows, unless somebody subscribes again.
    pub fn remove(&mut self, filter: &str) {
        let Some(known) = self.filters.get_mut(filter) else { return };
        known.subscribers = known.subscribers.saturating_sub(1);
        if known.subscribers == 0 {
            self.forget(filter);
            self.take_out(filter);
        }
    }

    /// Takes a filter out of the directory that has no subscriber, which an earlier memory may not have come to do.
    pub fn take_out(&mut self, filter: &str) {
        if self.filters.contains_key(filter) || self.removals.values().any(|removal| removal.filter == filter) {
            return;
        }
        self.next_number += 1;
        self.removals.insert(self.next_number, Removal { filter: filter.to_owned(), retry_at: None });
        self.to_send.push(Number::Removal(self.next_number));
    }

    /// A message is about to be retained on this topic: marks the nodes above the topic's own, where it is kept. If it
    /// waits, `Marked` follows with the ticket.
    pub fn mark_retained(&mut self, now: UnixMillis, topic: &str, ticket: u64) -> Added {
        let mut waits_for = BTreeSet::new();
        for ancestor in node::ancestors_of(node::node_of(topic)) {
            waits_for.extend(self.mark(now, ancestor, Mark::Retained, &Waiter::Ticket(ticket)));
        }
        if waits_for.is_empty() {
            return Added::InForce;
        }
        self.tickets.insert(ticket, waits_for);
        Added::Waits
    }

    /// What to send now, in this order.
    pub fn take_requests(&mut self, now: UnixMillis, shards: &ShardMap) -> Vec<RegistrarRequest> {
        self.time_out(now);
        let mut requests = Vec::new();
        for number in core::mem::take(&mut self.to_send) {
            match number {
                Number::Registration(registration) => {
                    let Some(asked) = self.asked.get_mut(&registration) else { continue };
                    asked.attempt += 1;
                    asked.retry_at = None;
                    let (node, request) = match &asked.about {
                        About::Filter(filter) => {
                            (node::node_of(filter), RouterRequest::Subscribe { filter: filter.clone(), registration })
                        }
                        About::Mark { node, mark, .. } => {
                            (node.as_str(), RouterRequest::Mark { node: node.clone(), mark: *mark, registration })
                        }
                    };
                    let token = RegistrarToken { number, attempt: asked.attempt };
                    requests.push(RegistrarRequest { router: router_of_node(node, shards), request, token });
                }
                Number::Removal(removal) => {
                    let Some(removal) = self.removals.get_mut(&removal) else { continue };
                    removal.retry_at = None;
                    let router = router_of_node(node::node_of(&removal.filter), shards);
                    let request = RouterRequest::Unsubscribe { filter: removal.filter.clone() };
                    requests.push(RegistrarRequest { router, request, token: RegistrarToken { number, attempt: 0 } });
                }
            }
        }
        requests
    }

    /// The outcome of a request, or that it could not be pushed. If it is [`Undelivered::Moved`], note it in the shard map
    /// first.
    pub fn answered(&mut self, now: UnixMillis, token: RegistrarToken, result: Result<&Reply, Undelivered>) {
        match token.number {
            Number::Registration(registration) => {
                let Some(asked) = self.asked.get_mut(&registration).filter(|asked| asked.attempt == token.attempt)
                else {
                    return;
                };
                match result {
                    Ok(Reply::Applied) => self.done(registration, true),
                    Ok(Reply::Pending) => asked.retry_at = Some(now.plus_millis(self.settings.pending_millis)),
                    Err(Undelivered::Moved { .. }) => self.to_send.push(token.number),
                    Err(Undelivered::Superseded) => self.done(registration, false),
                    Ok(_) | Err(Undelivered::Refused | Undelivered::Unreachable) => {
                        asked.retry_at = Some(now.plus_millis(self.settings.retry_millis));
                    }
                }
            }
            Number::Removal(number) => {
                let Some(removal) = self.removals.get_mut(&number) else { return };
                match result {
                    Ok(_) => {
                        if let Some(removal) = self.removals.remove(&number) {
                            self.finished.push(Registration::Removed(removal.filter));
                        }
                    }
                    Err(Undelivered::Moved { .. }) => self.to_send.push(token.number),
                    // Nobody listens to this object any more.
                    Err(Undelivered::Superseded) => {
                        self.removals.remove(&number);
                    }
                    Err(Undelivered::Refused | Undelivered::Unreachable) => {
                        removal.retry_at = Some(now.plus_millis(self.settings.pending_millis));
                    }
                }
            }
        }
    }

    /// A Router confirms what it had answered with `Pending`, perhaps before that answer came.
    pub fn registered(&mut self, registration: u64) {
        self.done(registration, true);
    }

    /// What has come to its end since it was last asked.
    pub fn take_finished(&mut self) -> Vec<Registration> {
        core::mem::take(&mut self.finished)
    }

    /// When [`Self::take_requests`] and then [`Self::take_finished`] have something by themselves.
    #[must_use]
    pub fn next_timeout(&self) -> Option<UnixMillis> {
        let asked = self.asked.values().map(|asked| asked.retry_at.unwrap_or(asked.deadline).min(asked.deadline));
        asked.chain(self.removals.values().filter_map(|removal| removal.retry_at)).min()
    }

    /// Whether nothing is asked for, to be sent or to be told.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.asked.is_empty() && self.removals.is_empty() && self.finished.is_empty()
    }

    /// Whether a filter is in force.
    #[must_use]
    pub fn is_in_force(&self, filter: &str) -> bool {
        self.filters.get(filter).is_some_and(|known| known.waits_for.is_empty())
    }

    fn ask(&mut self, now: UnixMillis, about: About) -> u64 {
        self.next_number += 1;
        let deadline = now.plus_millis(self.settings.deadline_millis);
        self.asked.insert(self.next_number, Asked { about, deadline, retry_at: None, attempt: 0 });
        self.to_send.push(Number::Registration(self.next_number));
        self.next_number
    }

    /// The registration to wait for until the node is marked; `None` if it is.
    fn mark(&mut self, now: UnixMillis, node: &str, mark: Mark, waiter: &Waiter) -> Option<u64> {
        let key = (node.to_owned(), mark);
        match self.marks.get(&key) {
            Some(MarkState::Known) => None,
            Some(MarkState::Asked(number)) => {
                let number = *number;
                if let Some(Asked { about: About::Mark { waiters, .. }, .. }) = self.asked.get_mut(&number) {
                    waiters.insert(waiter.clone());
                }
                Some(number)
            }
            None => {
                let waiters = BTreeSet::from([waiter.clone()]);
                let number = self.ask(now, About::Mark { node: node.to_owned(), mark, waiters });
                self.marks.insert(key, MarkState::Asked(number));
                Some(number)
            }
        }
    }

    /// Marks are never taken back, so they can be remembered; and asked for again, so they can be forgotten.
    fn note_marked(&mut self, node: &str, mark: Mark) {
        if self.marks.len() >= self.settings.maximum_marks {
            self.marks.retain(|_, state| *state != MarkState::Known);
        }
        self.marks.insert((node.to_owned(), mark), MarkState::Known);
    }

    fn done(&mut self, registration: u64, succeeded: bool) {
        let Some(asked) = self.asked.remove(&registration) else { return };
        let waiters = match asked.about {
            About::Filter(filter) => BTreeSet::from([Waiter::Filter(filter)]),
            About::Mark { node, mark, waiters } => {
                if succeeded {
                    self.note_marked(&node, mark);
                } else {
                    self.marks.remove(&(node, mark));
                }
                waiters
            }
        };
        for waiter in waiters {
            match waiter {
                Waiter::Filter(filter) => self.filter_done(&filter, registration, succeeded),
                Waiter::Ticket(ticket) => self.ticket_done(ticket, registration, succeeded),
            }
        }
    }

    fn filter_done(&mut self, filter: &str, registration: u64, succeeded: bool) {
        let Some(known) = self.filters.get_mut(filter) else { return };
        // Else an earlier registration of the same filter, which nobody waits for.
        if !known.waits_for.remove(&registration) {
            return;
        }
        if !succeeded {
            self.forget(filter);
            // It may have been applied.
            self.take_out(filter);
            self.finished.push(Registration::Failed(filter.to_owned()));
        } else if known.waits_for.is_empty() {
            self.finished.push(Registration::InForce(filter.to_owned()));
        }
    }

    fn ticket_done(&mut self, ticket: u64, registration: u64, succeeded: bool) {
        let Some(waits_for) = self.tickets.get_mut(&ticket) else { return };
        waits_for.remove(&registration);
        if !succeeded || waits_for.is_empty() {
            self.tickets.remove(&ticket);
            self.finished.push(Registration::Marked { ticket, is_marked: succeeded });
        }
    }

    /// Forgets a filter and what is asked for its sake alone. Marks go on: others may want them.
    fn forget(&mut self, filter: &str) {
        let Some(known) = self.filters.remove(filter) else { return };
        for number in known.waits_for {
            if matches!(self.asked.get(&number), Some(Asked { about: About::Filter(_), .. })) {
                self.asked.remove(&number);
            }
        }
    }

    fn time_out(&mut self, now: UnixMillis) {
        let late: Vec<u64> =
            self.asked.iter().filter(|(_, asked)| asked.deadline <= now).map(|(number, _)| *number).collect();
        for number in late {
            self.done(number, false);
        }
        for (number, asked) in &mut self.asked {
            if asked.retry_at.take_if(|at| *at <= now).is_some() {
                self.to_send.push(Number::Registration(*number));
            }
        }
        for (number, removal) in &mut self.removals {
            if removal.retry_at.take_if(|at| *at <= now).is_some() {
                self.to_send.push(Number::Removal(*number));
            }
        }
    }
}
