//! What one client may do, as its policies say.

use crate::authority::PolicySet;
use device_auth::internal_header::ConnectionGrant;
use device_auth::jwt::without_port;
use iot_types::{ClientId, Scope, UnixMillis};
use messages::session::Claim;
use mqtt_codec::Publish;
use policy::{Action, Authority, Context, Coverage, Facts};
use serde::{Deserialize, Serialize};
use std::rc::Rc;

/// Topics whose decision is remembered for each connection.
const REMEMBERED_TOPICS: usize = 8;
/// The longest of them, in bytes: they are kept.
const LONGEST_REMEMBERED: usize = 256;

/// What a CONNECT asked for that policies have a word in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectWish {
    /// A session that outlives the connection.
    pub is_persistent: bool,
    /// Where its Will Message goes.
    pub will_topic: Option<String>,
    /// Whether that is to be retained.
    pub is_will_retained: bool,
}

impl ConnectWish {
    /// What is asked for with this claim.
    pub fn of(claim: &Claim) -> Self {
        let will = claim.will.as_ref();
        Self {
            is_persistent: claim.session_expiry > 0,
            will_topic: will.map(|will| will.topic.clone()),
            is_will_retained: will.is_some_and(|will| will.retain),
        }
    }
}

/// Permissions at rest: what they are made of again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PermissionsRecord {
    /// The number of the policies, which are kept with the node; `None` for a client that may do everything.
    set: Option<u64>,
    facts: Facts,
    wish: ConnectWish,
}

/// What one client may do.
pub struct Permissions {
    authority: Authority,
    /// `None` for a client that may do everything.
    set: Option<Rc<PolicySet>>,
    facts: Facts,
    wish: ConnectWish,
    /// Whether it may receive whatever a client can subscribe to, but for what begins with `$`.
    receives_all: bool,
    /// Topics published to, the latest decision first.
    published: Vec<(Box<str>, bool)>,
}

/// Whether a message may be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Whether it may be.
    pub is_allowed: bool,
    /// Whether the answer will be the same at any time, as long as the policies are.
    pub is_lasting: bool,
}

impl Permissions {
    /// Those of the deployment's own access key.
    pub fn everything() -> Self {
        Self {
            authority: Authority::allow_all(),
            set: None,
            facts: Facts::default(),
            wish: ConnectWish::default(),
            receives_all: true,
            published: Vec::new(),
        }
    }

    /// What these policies allow this client.
    pub fn compile(set: &Rc<PolicySet>, facts: Facts, wish: ConnectWish, scope: &Scope) -> Self {
        let documents = set.documents.iter().map(|(name, document)| (name.as_str(), document));
        let authority = Authority::compile(documents, &facts, scope);
        let receives_all = authority.coverage(Action::Receive, "#") == Coverage::Always;
        Self { authority, set: Some(Rc::clone(set)), facts, wish, receives_all, published: Vec::new() }
    }

    /// What variables stand for on a connection.
    pub fn facts_of(stored: Facts, grant: &ConnectionGrant, client_id: &ClientId) -> Facts {
        Facts {
            client_id: Some(client_id.as_str().to_owned()),
            source_ip: grant.source_ip,
            domain_name: Some(without_port(&grant.host).to_owned()),
            ..stored
        }
    }

    /// What is kept while the node sleeps.
    pub fn record(&self) -> PermissionsRecord {
        PermissionsRecord { set: self.set_number(), facts: self.facts.clone(), wish: self.wish.clone() }
    }

    /// The same again; `None` if the policies are not there any more.
    pub fn restore(
        record: PermissionsRecord,
        scope: &Scope,
        set: impl FnOnce(u64) -> Option<Rc<PolicySet>>,
    ) -> Option<Self> {
        let PermissionsRecord { set: number, facts, wish } = record;
        let Some(number) = number else { return Some(Self::everything()) };
        Some(Self::compile(&set(number)?, facts, wish, scope))
    }

    /// The number of the policies; `None` if the client may do everything.
    pub fn set_number(&self) -> Option<u64> {
        self.set.as_ref().map(|set| set.number)
    }

    /// What the client asked for when it connected.
    pub const fn wish(&self) -> &ConnectWish {
        &self.wish
    }

    /// Whether this policy is among them.
    pub fn has_policy(&self, name: &str) -> bool {
        self.set.as_ref().is_some_and(|set| set.sources.iter().any(|source| source.name == name))
    }

    /// Whether the client is this thing.
    pub fn is_thing(&self, name: &str) -> bool {
        self.facts.thing.as_ref().is_some_and(|thing| thing.name == name)
    }

    /// Whether the client's thing is in this group, or in one below it.
    pub fn is_in_group(&self, name: &str) -> bool {
        self.facts.thing.as_ref().is_some_and(|thing| thing.groups.iter().any(|group| group == name))
    }

    /// Gives a message the user properties that the client's thing type wants on it, behind its own (AWS IoT developer
    /// guide, "Adding propagating attributes for message enrichment").
    pub fn propagate(&self, publish: &mut Publish) {
        let Some(thing) = self.facts.thing.as_ref().filter(|thing| !thing.propagated.is_empty()) else { return };
        let properties = &mut publish.properties.user_properties;
        let added = thing.propagated.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        *properties = properties.iter().chain(added).collect();
    }

    /// `iot:Connect`, and `iot:Publish` to the Will Topic.
    pub fn may_connect(&self, now: UnixMillis, client_id: &ClientId) -> bool {
        let context =
            Context { now, last_will_topic: self.wish.will_topic.as_deref(), is_persistent: self.wish.is_persistent };
        let may = |action, name: &str| self.authority.decide(action, name, &context).is_allowed();
        may(Action::Connect, client_id.as_str())
            && self.wish.will_topic.as_deref().is_none_or(|topic| {
                may(Action::Publish, topic) && (!self.wish.is_will_retained || may(Action::RetainPublish, topic))
            })
    }

    /// `iot:Publish`, and `iot:RetainPublish` for what is to be retained.
    pub fn may_publish(&mut self, now: UnixMillis, topic: &str, is_retained: bool) -> bool {
        if self.set.is_none() {
            return true;
        }
        let context = Context { now, ..Context::default() };
        if is_retained && !self.authority.decide(Action::RetainPublish, topic, &context).is_allowed() {
            return false;
        }
        if let Some((_, is_allowed)) = self.published.iter().find(|(known, _)| **known == *topic) {
            return *is_allowed;
        }
        let decision = self.authority.decide(Action::Publish, topic, &context);
        if !decision.depends_on_time() && topic.len() <= LONGEST_REMEMBERED {
            self.published.truncate(REMEMBERED_TOPICS - 1);
            self.published.insert(0, (topic.into(), decision.is_allowed()));
        }
        decision.is_allowed()
    }

    /// `iot:Subscribe` on the filter as it is written.
    pub fn may_subscribe(&self, now: UnixMillis, filter: &str) -> bool {
        let context = Context { now, ..Context::default() };
        self.authority.decide(Action::Subscribe, filter, &context).is_allowed()
    }

    /// `iot:Receive`.
    pub fn may_receive(&self, now: UnixMillis, topic: &str) -> Receipt {
        if self.set.is_none() || self.receives_all && !topic.starts_with('$') {
            return Receipt { is_allowed: true, is_lasting: true };
        }
        let decision = self.authority.decide(Action::Receive, topic, &Context { now, ..Context::default() });
        Receipt { is_allowed: decision.is_allowed(), is_lasting: !decision.depends_on_time() }
    }
}
