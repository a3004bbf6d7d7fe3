//! Policies with everything filled in that is known of a connection, ready to decide.

use crate::condition::CompiledCondition;
use crate::document::{PolicyDocument, Statement};
use crate::facts::Facts;
use crate::glob::{Glob, Rest};
use iot_types::{Scope, UnixMillis};
use std::collections::BTreeSet;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// What an MQTT client does (AWS IoT developer guide, "AWS IoT Core policy actions").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `iot:Connect` on `client/{client id}`.
    Connect,
    /// `iot:Publish` on `topic/{topic name}`.
    Publish,
    /// `iot:RetainPublish` on `topic/{topic name}`, besides `iot:Publish`.
    RetainPublish,
    /// `iot:Receive` on `topic/{topic name}`.
    Receive,
    /// `iot:Subscribe` on `topicfilter/{topic filter}`, compared as text: `+` and `#` have no meaning there.
    Subscribe,
}

/// What is known of one request only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Context<'a> {
    /// `aws:CurrentTime` and `aws:EpochTime`.
    pub now: UnixMillis,
    /// `iot:LastWillTopic` and the `LastWill` of `iot:ConnectAttributes`: the Will Topic of a CONNECT.
    pub last_will_topic: Option<&'a str>,
    /// The `PersistentConnect` of `iot:ConnectAttributes`: a CONNECT for a session that outlives its connection.
    pub is_persistent: bool,
}

/// What is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A statement allows it, and none denies it.
    Allowed,
    /// A statement denies it.
    ExplicitDeny,
    /// No statement is about it.
    ImplicitDeny,
}

/// A decision and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    effect: Effect,
    by: Option<StatementNumber>,
    depends_on_time: bool,
}

/// Which statement decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementNumber {
    /// The policy, in the order that they were compiled in, from zero.
    pub policy: usize,
    /// The statement within it, from zero.
    pub statement: usize,
}

impl Decision {
    /// Whether it may be done.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.effect == Effect::Allowed
    }

    /// What was decided.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        self.effect
    }

    /// The statement that allows or denies it; `None` if none does, or if no policy is asked.
    #[must_use]
    pub const fn by(&self) -> Option<StatementNumber> {
        self.by
    }

    /// Whether it may be another one at another time, so that it must not be remembered.
    #[must_use]
    pub const fn depends_on_time(&self) -> bool {
        self.depends_on_time
    }
}

/// Whether something is allowed for all topics that a filter matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// For each of them, at any time.
    Always,
    /// For none of them.
    Never,
    /// That has to be decided for each.
    Depends,
}

/// What one principal may do.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Whether no policy is asked.
    is_everything: bool,
    /// What is said of clients, topics and topic filters, denials first.
    clients: Vec<Rule>,
    topics: Vec<Rule>,
    filters: Vec<Rule>,
    statements: Vec<Compiled>,
    prefixes: Prefixes,
    missing: BTreeSet<String>,
    policies: Vec<String>,
}

#[derive(Clone, Debug)]
struct Prefixes {
    client: String,
    topic: String,
    filter: String,
}

#[derive(Clone, Debug)]
struct Compiled {
    number: StatementNumber,
    is_allow: bool,
    actions: Vec<Glob>,
    is_not_action: bool,
    resources: Vec<Glob>,
    is_not_resource: bool,
    /// Those that only a request can tell.
    conditions: Vec<CompiledCondition>,
}

/// What a statement says of one kind of resource.
#[derive(Clone, Debug)]
struct Rule {
    number: StatementNumber,
    is_allow: bool,
    /// One bit for each [`Action`].
    actions: u8,
    /// What has to match behind the kind's prefix.
    resources: Vec<Glob>,
    /// Patterns whose wildcards have a part in the prefix.
    whole: Vec<Glob>,
    is_not_resource: bool,
    conditions: Vec<CompiledCondition>,
}

const ACTIONS: [(Action, &str); 5] = [
    (Action::Connect, "iot:connect"),
    (Action::Publish, "iot:publish"),
    (Action::RetainPublish, "iot:retainpublish"),
    (Action::Receive, "iot:receive"),
    (Action::Subscribe, "iot:subscribe"),
];

/// Keys whose values come with a request.
const OF_REQUESTS: [&str; 4] = ["iot:connectattributes", "iot:lastwilltopic", "aws:currenttime", "aws:epochtime"];

impl Action {
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Authority {
    /// May do everything, and no policy is asked.
    #[must_use]
    pub fn allow_all() -> Self {
        Self {
            is_everything: true,
            ..Self::nothing(Prefixes { client: String::new(), topic: String::new(), filter: String::new() })
        }
    }

    const fn nothing(prefixes: Prefixes) -> Self {
        Self {
            is_everything: false,
            clients: Vec::new(),
            topics: Vec::new(),
            filters: Vec::new(),
            statements: Vec::new(),
            prefixes,
            missing: BTreeSet::new(),
            policies: Vec::new(),
        }
    }

    /// What these policies, each with its name, say together about whom the facts are of. Without policies: nothing is
    /// allowed.
    #[must_use]
    pub fn compile<'a>(
        policies: impl IntoIterator<Item = (&'a str, &'a PolicyDocument)>,
        facts: &Facts,
        scope: &Scope,
    ) -> Self {
        let arn = |kind: &str| format!("arn:aws:iot:{}:{}:{kind}/", scope.region.as_str(), scope.account_id.as_str());
        let prefixes = Prefixes { client: arn("client"), topic: arn("topic"), filter: arn("topicfilter") };
        let mut authority = Self::nothing(prefixes);
        for (policy, (name, document)) in policies.into_iter().enumerate() {
            authority.policies.push(name.to_owned());
            for (statement, source) in document.statements.iter().enumerate() {
                authority.note_missing(source, facts);
                let number = StatementNumber { policy, statement };
                authority.statements.extend(Compiled::of(number, source, facts));
            }
        }
        // What denies is asked first, so that the first one to apply decides.
        authority.statements.sort_by_key(|statement| statement.is_allow);
        let rules = |prefix: &str| authority.statements.iter().filter_map(|s| Rule::of(s, prefix)).collect();
        let [clients, topics, filters]: [Vec<Rule>; 3] =
            [&authority.prefixes.client, &authority.prefixes.topic, &authority.prefixes.filter].map(|p| rules(p));
        Self { clients, topics, filters, ..authority }
    }

    fn note_missing(&mut self, statement: &Statement, facts: &Facts) {
        let in_resources = statement.resources.iter().flat_map(|resource| resource.variables());
        let in_conditions = statement.conditions.iter().flat_map(|condition| condition.variables());
        let keys = statement.conditions.iter().map(|condition| condition.key.as_str());
        for name in in_resources.chain(in_conditions).chain(keys) {
            if !is_of_requests(&name.to_ascii_lowercase()) && facts.values(name).is_none() {
                self.missing.insert(name.to_owned());
            }
        }
    }

    /// Variables and condition keys that the policies use and nothing is known of (`missingContextValues` of
    /// TestAuthorization).
    pub fn missing_context_values(&self) -> impl Iterator<Item = &str> {
        self.missing.iter().map(String::as_str)
    }

    /// The name of a policy by its number.
    #[must_use]
    pub fn policy_name(&self, number: StatementNumber) -> Option<&str> {
        self.policies.get(number.policy).map(String::as_str)
    }

    /// Whether a client may do something with the client id, topic name or topic filter of this name. Allocates nothing,
    /// but for statements with conditions that only a request can tell.
    #[must_use]
    pub fn decide(&self, action: Action, name: &str, context: &Context<'_>) -> Decision {
        if self.is_everything {
            return EVERYTHING;
        }
        let (rules, prefix) = self.rules(action);
        let mut depends_on_time = false;
        for rule in rules.iter().filter(|rule| rule.actions & action.bit() != 0 && rule.is_about(prefix, name)) {
            depends_on_time |= rule.conditions.iter().any(is_about_time);
            if hold(&rule.conditions, context, &self.prefixes.topic) {
                return decided(rule.is_allow, rule.number, depends_on_time);
            }
        }
        Decision { depends_on_time, ..NOTHING }
    }

    /// The same for any action, such as `iot:CreateThing`, and resource, as ARN or `*`.
    #[must_use]
    pub fn decide_any(&self, action: &str, resource: &str, context: &Context<'_>) -> Decision {
        if self.is_everything {
            return EVERYTHING;
        }
        let action = action.to_ascii_lowercase();
        let mut depends_on_time = false;
        for statement in &self.statements {
            let is_about_action = statement.actions.iter().any(|glob| glob.matches(&action)) != statement.is_not_action;
            let is_about_resource =
                statement.resources.iter().any(|glob| glob.matches(resource)) != statement.is_not_resource;
            if !is_about_action || !is_about_resource {
                continue;
            }
            depends_on_time |= statement.conditions.iter().any(is_about_time);
            if hold(&statement.conditions, context, &self.prefixes.topic) {
                return decided(statement.is_allow, statement.number, depends_on_time);
            }
        }
        Decision { depends_on_time, ..NOTHING }
    }

    /// Whether something is allowed for all topics that an MQTT topic filter matches; [`Coverage::Depends`] whenever that
    /// is not easily told.
    #[must_use]
    pub fn coverage(&self, action: Action, filter: &str) -> Coverage {
        if self.is_everything {
            return Coverage::Always;
        }
        let (rules, _) = self.rules(action);
        let mut rules = rules.iter().filter(|rule| rule.actions & action.bit() != 0).peekable();
        match rules.peek() {
            None => return Coverage::Never,
            Some(rule) if !rule.is_allow => return Coverage::Depends,
            Some(_) => {}
        }
        let common = common_beginning(filter).as_bytes();
        let covers = |rule: &Rule| {
            !rule.is_not_resource
                && rule.conditions.is_empty()
                && rule.resources.iter().any(|glob| match glob {
                    Glob::Everything => true,
                    Glob::Prefix(prefix) => common.starts_with(prefix),
                    Glob::Exact(_) | Glob::Tokens(_) => false,
                })
        };
        if rules.any(covers) { Coverage::Always } else { Coverage::Depends }
    }

    fn rules(&self, action: Action) -> (&[Rule], &str) {
        match action {
            Action::Connect => (&self.clients, &self.prefixes.client),
            Action::Publish | Action::RetainPublish | Action::Receive => (&self.topics, &self.prefixes.topic),
            Action::Subscribe => (&self.filters, &self.prefixes.filter),
        }
    }
}

const EVERYTHING: Decision = Decision { effect: Effect::Allowed, by: None, depends_on_time: false };
const NOTHING: Decision = Decision { effect: Effect::ImplicitDeny, by: None, depends_on_time: false };

const fn decided(is_allow: bool, number: StatementNumber, depends_on_time: bool) -> Decision {
    let effect = if is_allow { Effect::Allowed } else { Effect::ExplicitDeny };
    Decision { effect, by: Some(number), depends_on_time }
}

/// What all topics begin with that the filter matches: `a/#` matches `a`, too.
fn common_beginning(filter: &str) -> &str {
    let filter = match filter.strip_prefix("$share/") {
        Some(rest) => rest.split_once('/').map_or("", |(_, filter)| filter),
        None => filter,
    };
    let literal = filter.split(['+', '#']).next().unwrap_or_default();
    if filter.get(literal.len()..) == Some("#") { literal.strip_suffix('/').unwrap_or(literal) } else { literal }
}

fn is_of_requests(key: &str) -> bool {
    OF_REQUESTS.contains(&key)
}

fn is_about_time(condition: &CompiledCondition) -> bool {
    matches!(condition.key.as_str(), "aws:currenttime" | "aws:epochtime")
}

/// Whether all conditions hold that only a request can tell.
fn hold(conditions: &[CompiledCondition], context: &Context<'_>, topic_prefix: &str) -> bool {
    conditions.iter().all(|condition| condition.holds(request_values(&condition.key, context, topic_prefix).as_deref()))
}

fn request_values(key: &str, context: &Context<'_>, topic_prefix: &str) -> Option<Vec<String>> {
    match key {
        "iot:connectattributes" => {
            let persistent = context.is_persistent.then_some("PersistentConnect");
            let last_will = context.last_will_topic.map(|_| "LastWill");
            Some(persistent.into_iter().chain(last_will).map(str::to_owned).collect())
        }
        "iot:lastwilltopic" => context.last_will_topic.map(|topic| vec![format!("{topic_prefix}{topic}")]),
        "aws:epochtime" => Some(vec![(context.now.0 / 1_000).to_string()]),
        "aws:currenttime" => {
            let seconds = i64::try_from(context.now.0 / 1_000).ok()?;
            Some(vec![OffsetDateTime::from_unix_timestamp(seconds).ok()?.format(&Rfc3339).ok()?])
        }
        _ => None,
    }
}

impl Compiled {
    /// `None` for a statement that can't apply, whatever is asked.
    fn of(number: StatementNumber, statement: &Statement, facts: &Facts) -> Option<Self> {
        let mut conditions = Vec::new();
        for condition in &statement.conditions {
            let compiled = condition.compile(facts);
            if is_of_requests(&compiled.key) {
                conditions.push(compiled);
            } else if !compiled.holds(facts.values(&condition.key).as_deref()) {
                return None;
            }
        }
        Some(Self {
            number,
            is_allow: statement.is_allow,
            actions: statement.actions.iter().filter_map(|action| action.glob(facts)).collect(),
            is_not_action: statement.is_not_action,
            resources: statement.resources.iter().filter_map(|resource| resource.glob(facts)).collect(),
            is_not_resource: statement.is_not_resource,
            conditions,
        })
    }
}

impl Rule {
    /// `None` for a statement that says nothing about an MQTT client's actions on resources of this kind.
    fn of(statement: &Compiled, prefix: &str) -> Option<Self> {
        let is_meant = |name: &str| statement.actions.iter().any(|glob| glob.matches(name)) != statement.is_not_action;
        let actions = ACTIONS.iter().filter(|(_, name)| is_meant(name)).map(|(action, _)| action.bit()).sum();
        let (mut resources, mut whole) = (Vec::new(), Vec::new());
        for glob in &statement.resources {
            match glob.behind(prefix) {
                None => {}
                Some(Rest::Whole) => whole.push(glob.clone()),
                Some(Rest::Behind(rest)) => resources.push(rest),
            }
        }
        let says_something = actions != 0 && (statement.is_not_resource || !resources.is_empty() || !whole.is_empty());
        says_something.then(|| Self {
            number: statement.number,
            is_allow: statement.is_allow,
            actions,
            resources,
            whole,
            is_not_resource: statement.is_not_resource,
            conditions: statement.conditions.clone(),
        })
    }

    fn is_about(&self, prefix: &str, name: &str) -> bool {
        let is_named = self.resources.iter().any(|glob| glob.matches(name))
            || self.whole.iter().any(|glob| glob.matches_joined(prefix, name));
        is_named != self.is_not_resource
    }
}
