//! What a publish on a topic comes to, remembered: most topics are published to again and again, and nothing that
//! decides about them has changed meanwhile.
//!
//! A plan is made for ordinary topics: no reserved topic, no rule, no shared group. Everything else takes the long way
//! (`publish`), and that it does is remembered, too.

use crate::broker::Broker;
use iot_types::{Qos, UnixMillis};
use messages::address::BrokerId;
use messages::broker::ConnectionId;
use messages::session::SubscriptionOptions;
use routing::Route;
use rustc_hash::FxBuildHasher;
use std::collections::HashMap;
use std::rc::Rc;

/// Most topics with a plan; with one more, all are forgotten.
const MAXIMUM_PLANS: usize = 4_096;

/// Longest topic that gets one, in bytes: it is kept with its plan.
const LONGEST_TOPIC: usize = 256;

const FOREVER: UnixMillis = UnixMillis(u64::MAX);

/// Most receivers, objects and Subscription Identifiers in all plans together, likewise.
const MAXIMUM_RECEIVERS: usize = 65_536;

/// The plans of a node.
#[derive(Default)]
pub struct Plans {
    /// Never iterated: the order means nothing.
    plans: HashMap<Box<str>, Rc<Plan>, FxBuildHasher>,
    /// Receivers, objects and Subscription Identifiers in all of them.
    weight: usize,
}

/// What a publish on one topic comes to.
pub struct Plan {
    /// [`Broker::plan_version`] when it was made.
    version: u64,
    until: UnixMillis,
    /// `None` when publishes take the long way.
    pub way: Option<Way>,
}

/// The short way of a publish.
pub struct Way {
    /// This node's clients, each once.
    pub receivers: Rc<[Receiver]>,
    /// Who else wants it.
    pub elsewhere: Elsewhere,
}

/// Objects that hand a message on.
#[derive(Default)]
pub struct Elsewhere {
    /// Other Brokers with subscribers.
    pub brokers: Vec<BrokerId>,
    /// Sessions objects with subscribers whose sessions outlive their connections.
    pub sessions: Vec<u32>,
}

impl Elsewhere {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.brokers.len() + self.sessions.len()
    }
}

/// One client that gets the message.
pub struct Receiver {
    pub id: ConnectionId,
    /// The highest of its matching subscriptions.
    pub qos: Qos,
    pub subscription_identifiers: Vec<u32>,
}

/// Who gets a message of some topic.
struct Receivers {
    receivers: Rc<[Receiver]>,
    /// Whether not all of them get everybody's messages.
    depends_on_publisher: bool,
    /// Whether they will be the same at any time.
    is_lasting: bool,
}

impl Plans {
    fn get(&self, topic: &str) -> Option<Rc<Plan>> {
        self.plans.get(topic).map(Rc::clone)
    }

    fn put(&mut self, topic: &str, plan: &Rc<Plan>) {
        if self.plans.len() >= MAXIMUM_PLANS || self.weight + plan.weight() > MAXIMUM_RECEIVERS {
            self.plans.clear();
            self.weight = 0;
        }
        self.weight += plan.weight();
        if let Some(old) = self.plans.insert(topic.into(), Rc::clone(plan)) {
            self.weight -= old.weight();
        }
    }
}

impl Plan {
    fn weight(&self) -> usize {
        let receivers = self.way.iter().flat_map(|way| way.receivers.iter());
        let elsewhere = self.way.as_ref().map_or(0, |way| way.elsewhere.len());
        elsewhere + receivers.map(|receiver| 1 + receiver.subscription_identifiers.len()).sum::<usize>()
    }
}

impl Broker {
    /// The plan for a topic that a client publishes to; `None` when there is none, or when it is not known yet who wants
    /// it.
    pub(crate) fn plan(&mut self, now: UnixMillis, topic: &str) -> Option<Rc<Plan>> {
        let version = self.plan_version();
        if let Some(plan) = self.plans.get(topic)
            && plan.version == version
            && now < plan.until
        {
            return Some(plan);
        }
        let (way, until) = self.make_plan(now, topic)?;
        let plan = Rc::new(Plan { version, until, way });
        self.plans.put(topic, &plan);
        Some(plan)
    }

    /// Who gets a message here that another Broker has accepted.
    pub(crate) fn arrival_plan(&mut self, now: UnixMillis, topic: &str) -> Rc<[Receiver]> {
        let version = self.index.changes() + self.authorities.changes();
        if let Some(plan) = self.arrivals.get(topic)
            && plan.version == version
            && let Some(way) = &plan.way
        {
            return Rc::clone(&way.receivers);
        }
        // No publisher is a client here, so No Local forbids nothing.
        let Receivers { receivers, is_lasting, .. } = self.receivers(now, topic);
        if is_lasting && topic.len() <= LONGEST_TOPIC {
            let way = Way { receivers: Rc::clone(&receivers), elsewhere: Elsewhere::default() };
            self.arrivals.put(topic, &Rc::new(Plan { version, until: FOREVER, way: Some(way) }));
        }
        receivers
    }

    /// Rises whenever something changes that plans are made from.
    const fn plan_version(&self) -> u64 {
        self.index.changes()
            + self.groups.changes()
            + self.routes.changes()
            + self.rules.changes()
            + self.authorities.changes()
    }

    /// The way, unless publishes take the long one, and until when this holds.
    fn make_plan(&mut self, now: UnixMillis, topic: &str) -> Option<(Option<Way>, UnixMillis)> {
        if topic.len() > LONGEST_TOPIC || topic.starts_with('$') || self.refusal(topic).is_some() {
            return None;
        }
        if !self.groups.matching(topic).is_empty() {
            return Some((None, FOREVER));
        }
        let rules_until = self.no_rule_until(now, topic);
        let elsewhere = self.elsewhere_until(now, topic)?;
        let (Some(rules_until), Some((elsewhere, leases_until))) = (rules_until, elsewhere) else {
            return Some((None, FOREVER));
        };
        let Receivers { receivers, depends_on_publisher, is_lasting } = self.receivers(now, topic);
        let way = (is_lasting && !depends_on_publisher).then_some(Way { receivers, elsewhere });
        Some((way, rules_until.min(leases_until)))
    }

    /// This node's subscribers that may receive a message of the topic.
    fn receivers(&self, now: UnixMillis, topic: &str) -> Receivers {
        let mut matches: Vec<(ConnectionId, SubscriptionOptions)> = Vec::new();
        self.index.for_each_match(topic, |id, options| matches.push((*id, *options)));
        let depends_on_publisher = matches.iter().any(|(_, options)| options.no_local);
        let mut is_lasting = true;
        matches.retain(|(id, _)| {
            let receipt = self.connections.get(id).map(|connection| connection.may_receive(now, topic));
            is_lasting &= receipt.is_none_or(|receipt| receipt.is_lasting);
            receipt.is_some_and(|receipt| receipt.is_allowed)
        });
        matches.sort_by_key(|(id, _)| *id);
        let receivers = matches.chunk_by(|(a, _), (b, _)| a == b).filter_map(|same| {
            Some(Receiver {
                id: same.first()?.0,
                qos: same.iter().map(|(_, options)| options.qos).max()?,
                subscription_identifiers: same.iter().filter_map(|(_, o)| o.subscription_identifier).collect(),
            })
        });
        Receivers { receivers: receivers.collect(), depends_on_publisher, is_lasting }
    }

    /// Who else wants the topic, and until when this is known; within, `None` if it takes the long way. `None` as long as
    /// it isn't known.
    #[allow(clippy::option_option, reason = "not known, the long way, these until")]
    fn elsewhere_until(&mut self, now: UnixMillis, topic: &str) -> Option<Option<(Elsewhere, UnixMillis)>> {
        let (route, until) = self.routes.route(now, topic);
        let Route::Ready(found) = route else { return None };
        let is_plain = found.shared.is_empty() && found.large.is_empty();
        let mut elsewhere = Elsewhere { brokers: found.brokers, sessions: found.sessions };
        elsewhere.brokers.retain(|broker| *broker != self.settings.id);
        Some(until.filter(|_| is_plain).map(|until| (elsewhere, until)))
    }
}
