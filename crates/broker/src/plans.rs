//! What a publish on a topic comes to, remembered: most topics are published to again and again, and nothing that
//! decides about them has changed meanwhile.
//!
//! A plan is made for ordinary topics that concern only sessions that end with their connections, on this node: no
//! reserved topic, no rule, no shared group, nobody elsewhere. Everything else takes the long way (`publish`), and that
//! it does is remembered, too.

use crate::broker::Broker;
use iot_types::{Qos, UnixMillis};
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

/// Most receivers and Subscription Identifiers in all plans together, likewise.
const MAXIMUM_RECEIVERS: usize = 65_536;

/// The plans of a node.
#[derive(Default)]
pub struct Plans {
    /// Never iterated: the order means nothing.
    plans: HashMap<Box<str>, Rc<Plan>, FxBuildHasher>,
    /// Receivers and Subscription Identifiers in all of them.
    weight: usize,
}

/// What a publish on one topic comes to.
pub struct Plan {
    /// [`Broker::plan_version`] when it was made.
    version: u64,
    until: UnixMillis,
    /// Each client once; `None` when publishes take the long way.
    pub receivers: Option<Vec<Receiver>>,
}

/// One client that gets the message.
pub struct Receiver {
    pub id: ConnectionId,
    /// The highest of its matching subscriptions.
    pub qos: Qos,
    pub subscription_identifiers: Vec<u32>,
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
        let receivers = self.receivers.iter().flatten();
        receivers.map(|receiver| 1 + receiver.subscription_identifiers.len()).sum()
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
        let (receivers, until) = self.make_plan(now, topic)?;
        let plan = Rc::new(Plan { version, until, receivers });
        self.plans.put(topic, &plan);
        Some(plan)
    }

    /// Rises whenever something changes that plans are made from.
    const fn plan_version(&self) -> u64 {
        self.index.changes() + self.groups.changes() + self.routes.changes() + self.rules.changes()
    }

    /// The receivers, unless publishes take the long way, and until when this holds.
    fn make_plan(&mut self, now: UnixMillis, topic: &str) -> Option<(Option<Vec<Receiver>>, UnixMillis)> {
        let forever = UnixMillis(u64::MAX);
        if topic.len() > LONGEST_TOPIC || topic.starts_with('$') || self.refusal(topic).is_some() {
            return None;
        }
        if !self.groups.matching(topic).is_empty() {
            return Some((None, forever));
        }
        let rules_until = self.no_rule_until(now, topic);
        let leases_until = self.nobody_elsewhere_until(now, topic)?;
        let (Some(rules_until), Some(leases_until)) = (rules_until, leases_until) else { return Some((None, forever)) };
        Some((self.receivers(topic), rules_until.min(leases_until)))
    }

    /// `None` if it depends on the publisher who they are.
    fn receivers(&self, topic: &str) -> Option<Vec<Receiver>> {
        let mut matches: Vec<(ConnectionId, SubscriptionOptions)> = Vec::new();
        self.index.for_each_match(topic, |id, options| matches.push((*id, *options)));
        if matches.iter().any(|(_, options)| options.no_local) {
            return None;
        }
        matches.sort_by_key(|(id, _)| *id);
        let receivers = matches.chunk_by(|(a, _), (b, _)| a == b).filter_map(|same| {
            Some(Receiver {
                id: same.first()?.0,
                qos: same.iter().map(|(_, options)| options.qos).max()?,
                subscription_identifiers: same.iter().filter_map(|(_, o)| o.subscription_identifier).collect(),
            })
        });
        Some(receivers.collect())
    }

    /// Until when it is known that nobody elsewhere wants the topic; within, `None` if somebody does. `None` as long as
    /// it isn't known.
    #[allow(clippy::option_option, reason = "not known, somebody, nobody until")]
    fn nobody_elsewhere_until(&mut self, now: UnixMillis, topic: &str) -> Option<Option<UnixMillis>> {
        let (route, until) = self.routes.route(now, topic);
        let Route::Ready(found) = route else { return None };
        let is_here = found.brokers.iter().all(|broker| *broker == self.settings.id);
        let is_nobody = is_here && found.sessions.is_empty() && found.shared.is_empty() && found.large.is_empty();
        Some(until.filter(|_| is_nobody))
    }
}
