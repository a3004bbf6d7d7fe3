//! Rules on the node: which ones a message concerns, what they make of it, and the way of that into the queue.

use crate::broker::Broker;
use crate::io::{Output, StoredRule};
use crate::publishes::Ticket;
use crate::settings::BrokerSettings;
use bytes::Bytes;
use iot_types::{RuleName, UnixMillis};
use messages::publication::Publication;
use messages::rules::{RuleOutput, RuleOutputs};
use rules::{Context, Message, Program, RuleIndex};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

/// Wait before a refused queue message is offered again, in milliseconds; doubles each time.
const RETRY_MILLIS: u64 = 100;

/// The age at which rules in use are read again, in milliseconds: the bound for a change whose announcement was lost.
const RELOAD_MILLIS: u64 = 60_000;

/// The compiled rules, and the outputs that the queue has not taken yet.
#[derive(Default)]
pub struct RuleOutputsQueue {
    rules: Option<Rules>,
    /// The newest change that the node has been told of.
    announced: u64,
    is_loading: bool,
    loaded_at: UnixMillis,
    unevaluated: Vec<Unevaluated>,
    waiting: VecDeque<(Option<Ticket>, RuleOutput)>,
    in_flight: Option<InFlight>,
    /// Bytes of what no publisher waits for, and so nobody counts elsewhere.
    unclaimed_bytes: usize,
    changes: u64,
}

/// A publish that came before the rules did.
struct Unevaluated {
    /// The publish that waits for the outcome, if any does.
    ticket: Option<Ticket>,
    publication: Rc<Publication>,
    /// One rule, if it was named, and the topic to evaluate with.
    named: Option<(String, String)>,
}

struct Rules {
    sequence: u64,
    index: RuleIndex,
    actions: BTreeMap<RuleName, Vec<String>>,
}

struct InFlight {
    body: Vec<u8>,
    tickets: Vec<Ticket>,
    unclaimed_bytes: usize,
    failures: u32,
    retry_at: Option<UnixMillis>,
}

impl RuleOutputsQueue {
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_none() && self.waiting.is_empty() && self.unevaluated.is_empty()
    }

    pub fn next_retry(&self) -> Option<UnixMillis> {
        self.in_flight.as_ref().and_then(|in_flight| in_flight.retry_at)
    }

    /// Rises with everything that is learnt about rules.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    fn is_current(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.sequence >= self.announced)
    }
}

impl Rules {
    fn compile(sequence: u64, stored: &[StoredRule]) -> Self {
        let mut rules = Self { sequence, index: RuleIndex::new(), actions: BTreeMap::new() };
        for rule in stored {
            // What the API compiled always decodes, unless it is a newer release's: that node will have its rules.
            let Ok(program) = Program::decode(&rule.program) else { continue };
            rules.index.insert(rule.rule_name.clone(), program);
            rules.actions.insert(rule.rule_name.clone(), rule.actions.clone());
        }
        rules
    }
}

impl Broker {
    /// Evaluates the rules that the publish concerns; their outputs are parts of it until the queue has them, unless
    /// publishers don't wait for rules.
    pub(crate) fn offer_to_rules(&mut self, now: UnixMillis, ticket: Ticket, publication: &Rc<Publication>) {
        self.offer(now, ticket, publication, None);
        // Announcements are hints. Whoever missed one finds out here, behind the messages and not before them.
        if now.millis_since(self.rules.loaded_at) >= RELOAD_MILLIS {
            self.load_rules();
        }
    }

    /// Until when it is certain that no rule concerns the topic; `None` if one does, or if it isn't known or has to be
    /// read again.
    pub(crate) fn no_rule_until(&self, now: UnixMillis, topic: &str) -> Option<UnixMillis> {
        let rules = self.rules.rules.as_ref().filter(|_| self.rules.is_current())?;
        let until = self.rules.loaded_at.plus_millis(RELOAD_MILLIS);
        let mut has_rule = false;
        rules.index.for_each_match(topic, |_, _| has_rule = true);
        (!has_rule && now < until).then_some(until)
    }

    /// Basic Ingest: straight to one rule and to nobody else (AWS "Reducing messaging costs with Basic Ingest").
    pub(crate) fn publish_to_rule(&mut self, now: UnixMillis, ticket: Ticket, rule_name: String, topic: String) {
        if let Some(publication) = self.publishes.publication(ticket) {
            self.offer(now, ticket, &publication, Some((rule_name, topic)));
        }
    }

    fn offer(
        &mut self,
        now: UnixMillis,
        ticket: Ticket,
        publication: &Rc<Publication>,
        named: Option<(String, String)>,
    ) {
        let ticket = self.settings.limits.waits_for_rules.then_some(ticket);
        if self.rules.is_current() {
            return self.evaluate(now, ticket, publication, named.as_ref());
        }
        match ticket {
            Some(ticket) => self.publishes.add_part(ticket),
            None if !self.claim_rule_bytes(publication.weight(), &publication.topic) => return,
            None => {}
        }
        self.rules.unevaluated.push(Unevaluated { ticket, publication: Rc::clone(publication), named });
        self.load_rules();
    }

    /// Room for something that no publisher waits for.
    fn claim_rule_bytes(&mut self, bytes: usize, topic: &str) -> bool {
        if self.rules.unclaimed_bytes + bytes > self.settings.limits.maximum_rule_bytes {
            self.log_platform("message_dropped", topic, "too much waits for rules");
            return false;
        }
        self.rules.unclaimed_bytes += bytes;
        true
    }

    fn load_rules(&mut self) {
        if !core::mem::replace(&mut self.rules.is_loading, true) {
            self.outputs.push(Output::LoadRules);
        }
    }

    fn evaluate(
        &mut self,
        now: UnixMillis,
        ticket: Option<Ticket>,
        publication: &Publication,
        named: Option<&(String, String)>,
    ) {
        let Some(rules) = &self.rules.rules else { return };
        let topic = named.map_or(publication.topic.as_str(), |(_, topic)| topic.as_str());
        let message = Message::new(topic, &publication.payload, publication.client_id.as_deref(), now);
        let mut outputs = Vec::new();
        let mut failed = Vec::new();
        let mut evaluate = |rule_name: &RuleName, program: &Program| {
            let context = Context { scope: &self.settings.scope, rule_name };
            match rules::evaluate(program, &message, &context) {
                Ok(Some(payload)) if payload.len() > BrokerSettings::RULE_OUTPUT_BYTES => {
                    failed.push((rule_name.as_str().to_owned(), "the output is larger than a queue message"));
                }
                Ok(Some(payload)) => {
                    let payload = Bytes::from(payload);
                    let actions = rules.actions.get(rule_name).map(Vec::as_slice).unwrap_or_default();
                    outputs.extend(actions.iter().map(|action| RuleOutput {
                        rule_name: rule_name.as_str().to_owned(),
                        action: action.clone(),
                        payload: payload.clone(),
                        topic: topic.to_owned(),
                        attempt: 0,
                    }));
                }
                Ok(None) => {}
                // As in AWS, a statement that fails on a message drops it for this rule; here the log says so.
                Err(_) => failed.push((rule_name.as_str().to_owned(), "the statement failed on the message")),
            }
        };
        match named {
            Some((rule_name, _)) => {
                let named = RuleName::new(rule_name.as_str()).ok();
                if let Some((name, program)) = named.as_ref().and_then(|name| Some((name, rules.index.get(name)?))) {
                    evaluate(name, program);
                }
            }
            None => rules.index.for_each_match(topic, evaluate),
        }
        for output in outputs {
            match ticket {
                Some(ticket) => self.publishes.add_part(ticket),
                None if !self.claim_rule_bytes(weight(&output), &output.topic) => continue,
                None => {}
            }
            self.rules.waiting.push_back((ticket, output));
        }
        for (rule_name, reason) in failed {
            self.log_platform("rule_failed", &rule_name, reason);
        }
    }

    pub(crate) fn rules_changed(&mut self, sequence: u64) {
        self.rules.changes += 1;
        self.rules.announced = self.rules.announced.max(sequence);
        // Loaded now rather than with the next publish: that one would have to wait.
        if !self.rules.is_current() {
            self.load_rules();
        }
    }

    pub(crate) fn rules_loaded(&mut self, now: UnixMillis, sequence: u64, stored: &[StoredRule]) {
        self.rules.changes += 1;
        self.rules.is_loading = false;
        self.rules.loaded_at = now;
        self.rules.rules = Some(Rules::compile(sequence, stored));
        if !self.rules.is_current() {
            return self.load_rules();
        }
        for Unevaluated { ticket, publication, named } in core::mem::take(&mut self.rules.unevaluated) {
            if ticket.is_none() {
                self.rules.unclaimed_bytes = self.rules.unclaimed_bytes.saturating_sub(publication.weight());
            }
            self.evaluate(now, ticket, &publication, named.as_ref());
            if let Some(ticket) = ticket {
                self.part_done(now, ticket, true);
            }
        }
    }

    pub(crate) fn rules_unavailable(&mut self, now: UnixMillis) {
        self.rules.changes += 1;
        self.rules.is_loading = false;
        self.rules.loaded_at = now;
        for Unevaluated { ticket, publication, .. } in core::mem::take(&mut self.rules.unevaluated) {
            match ticket {
                Some(ticket) => self.part_done(now, ticket, false),
                None => {
                    self.rules.unclaimed_bytes = self.rules.unclaimed_bytes.saturating_sub(publication.weight());
                    self.log_platform("message_dropped", &publication.topic, "the rules can't be read");
                }
            }
        }
    }

    /// Packs what waits into one queue message, if none is under way.
    pub(crate) fn offer_rule_outputs(&mut self, now: UnixMillis) {
        if let Some(in_flight) = &mut self.rules.in_flight {
            if in_flight.retry_at.is_some_and(|at| at <= now) {
                in_flight.retry_at = None;
                self.outputs.push(Output::Enqueue { body: in_flight.body.clone() });
            }
            return;
        }
        let (mut packed, mut tickets, mut bytes, mut unclaimed_bytes) = (RuleOutputs::default(), Vec::new(), 0, 0);
        while let Some((_, output)) = self.rules.waiting.front() {
            bytes += weight(output);
            if bytes > BrokerSettings::RULE_BATCH_BYTES && !packed.outputs.is_empty() {
                break;
            }
            if let Some((ticket, output)) = self.rules.waiting.pop_front() {
                match ticket {
                    Some(ticket) => tickets.push(ticket),
                    None => unclaimed_bytes += weight(&output),
                }
                packed.outputs.push(output);
            }
        }
        if packed.outputs.is_empty() {
            return;
        }
        match packed.encode() {
            Ok(body) => {
                self.outputs.push(Output::Enqueue { body: body.clone() });
                let in_flight = InFlight { body, tickets, unclaimed_bytes, failures: 0, retry_at: None };
                self.rules.in_flight = Some(in_flight);
            }
            Err(_) => {
                self.rules.unclaimed_bytes = self.rules.unclaimed_bytes.saturating_sub(unclaimed_bytes);
                tickets.into_iter().for_each(|ticket| self.part_done(now, ticket, false));
            }
        }
    }

    pub(crate) fn enqueued(&mut self, now: UnixMillis, accepted: bool) {
        let Some(mut in_flight) = self.rules.in_flight.take() else { return };
        if !accepted {
            in_flight.failures += 1;
            if in_flight.failures < BrokerSettings::QUEUE_ATTEMPTS {
                in_flight.retry_at = Some(now.plus_millis(RETRY_MILLIS << in_flight.failures.min(10)));
                self.rules.in_flight = Some(in_flight);
                return;
            }
        }
        self.rules.unclaimed_bytes = self.rules.unclaimed_bytes.saturating_sub(in_flight.unclaimed_bytes);
        if !accepted && in_flight.unclaimed_bytes > 0 {
            self.log_platform("message_dropped", "", "the queue takes no outputs of rules");
        }
        for ticket in in_flight.tickets {
            self.part_done(now, ticket, accepted);
        }
    }
}

/// Roughly the bytes of an output in a queue message.
fn weight(output: &RuleOutput) -> usize {
    output.payload.len() + output.action.len() + output.rule_name.len() + output.topic.len() + 16
}
