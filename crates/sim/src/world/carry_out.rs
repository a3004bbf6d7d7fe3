//! What nodes and shards put out, and what reaches them.

use super::{Answer, Caller, Event, World};
use crate::client::ClientKey;
use crate::settings::Sabotage;
use broker::{AuthenticationStep, Input, Output};
use iot_types::{ThingName, UnixMillis};
use messages::address::Address;
use messages::broker::BrokerRequest;
use messages::channel::Call;
use messages::codec::{Batch, BatchReply};
use messages::publication::Publication;
use messages::rules::RuleOutputs;
use messages::sessions::SessionsRequest;
use messages::thing::{Plane, ShadowOperation, ThingReply, ThingRequest};
use messages::{Refusal, Reply, Request};
use mqtt_codec::ReasonCode;
use mqtt_topic::reserved::{ShadowMessage, shadow_topic};

/// How often a node that has something under way looks whether it still has, in milliseconds.
const AWAKE_MILLIS: u64 = 1_000;

impl World {
    pub(crate) fn wake(&mut self, index: u32) {
        let now = self.now();
        let keeps_epoch = self.settings.sabotage == Some(Sabotage::EpochsAreSkipped);
        let Some(node) = self.nodes.get_mut(index as usize) else { return };
        if node.memory.is_none() && !node.sockets.is_empty() {
            self.count.wakes += 1;
        }
        for socket in node.wake(now, keeps_epoch) {
            self.server_ended(socket.client);
        }
    }

    pub(crate) fn handle(&mut self, index: u32, input: Input) {
        self.wake(index);
        let now = self.now();
        if let Some(memory) = self.nodes.get_mut(index as usize).and_then(|node| node.memory.as_mut()) {
            memory.handle(now, input);
        }
        self.after_event(index);
    }

    /// Finishes a tick that has begun.
    pub(crate) fn end_tick(&mut self, index: u32) {
        if let Some(node) = self.nodes.get_mut(index as usize)
            && node.memory.is_some()
        {
            node.is_ticking = false;
            self.after_event(index);
        }
    }

    /// The first outputs of a burst leave at once; what follows until the end of the tick leaves together.
    pub(crate) fn after_event(&mut self, index: u32) {
        let now = self.now();
        let Some(node) = self.nodes.get_mut(index as usize).filter(|node| !node.is_ticking) else { return };
        let Some(memory) = node.memory.as_mut() else { return };
        let outputs = memory.flush(now);
        let deadline = memory.next_timeout();
        let wait = if outputs.is_empty() {
            memory.next_retry().map(|at| at.millis_since(now)).or((!memory.is_at_rest()).then_some(AWAKE_MILLIS))
        } else {
            node.is_ticking = true;
            Some(0)
        };
        if let Some(wait) = wait {
            node.timer += 1;
            let timer = node.timer;
            self.later(wait, Event::NodeTimer { node: index, timer });
        }
        let is_zombie = self.nodes.get(index as usize).is_some_and(|node| node.is_zombie);
        if is_zombie && outputs.contains(&Output::Fence) {
            // Its storage is not its own any more: the write fails, and nothing behind it leaves.
            return self.end(index);
        }
        self.check_turn(index, &outputs);
        for output in outputs {
            self.carry_out(index, output);
        }
        self.arm(index, deadline);
    }

    fn arm(&mut self, index: u32, deadline: Option<UnixMillis>) {
        let now = self.now();
        let (Some(deadline), Some(node)) = (deadline, self.nodes.get_mut(index as usize)) else { return };
        if node.is_zombie {
            return;
        }
        if node.alarm_at.is_none_or(|at| at > deadline) {
            let at = deadline.max(now.plus_millis(AWAKE_MILLIS));
            node.alarm_at = Some(at);
            self.schedule.at(at, Event::Alarm { node: index });
        }
    }

    fn carry_out(&mut self, index: u32, output: Output) {
        let Some(node) = self.nodes.get_mut(index as usize) else { return };
        let life = node.life;
        match output {
            Output::Send { connection, bytes } => {
                if let Some(client) = node.sockets.get(&connection).map(|socket| socket.client) {
                    self.downstream(client, |client| Event::Downstream { client, bytes });
                }
            }
            Output::Close { connection, .. } => {
                if let Some(socket) = node.sockets.remove(&connection) {
                    self.server_ended(socket.client);
                }
            }
            Output::SaveAttachment { connection, bytes } => {
                self.check_attachment(index, bytes.len());
                let Some(node) = self.nodes.get_mut(index as usize) else { return };
                if let Some(socket) = node.sockets.get_mut(&connection) {
                    socket.attachment = Some(bytes);
                }
            }
            Output::Authenticate { connection, password, .. } => {
                let principal =
                    password.is_some_and(|password| *password == *b"secret").then(Self::principal).flatten();
                let input = Input::Authenticated { connection, principal };
                self.answer(index, life, input);
            }
            Output::Call(call) => self.call(Caller::Node { node: index, life }, call),
            Output::Enqueue { body } => {
                self.check_queue(index, body.len());
                let accepted = !self.random.chance(self.settings.faults.refused_messages);
                match RuleOutputs::decode(&body) {
                    Ok(packed) if accepted => self.queue.extend(packed.outputs),
                    Ok(_) => {}
                    Err(error) => self.violations.push(format!("an unreadable queue message: {error}")),
                }
                self.answer(index, life, Input::Enqueued { accepted });
            }
            Output::LoadRules => {
                let input = if self.random.chance(self.settings.faults.unreadable_rules) {
                    Input::RulesUnavailable
                } else {
                    let (sequence, rules) = self.rules.clone();
                    Input::RulesLoaded { sequence, rules }
                };
                self.answer(index, life, input);
            }
            Output::AuthenticateEnhanced { connection, .. } => {
                let step = AuthenticationStep::Failure { reason_code: ReasonCode::BadAuthenticationMethod };
                self.answer(index, life, Input::EnhancedAuthenticated { connection, step });
            }
            // Nobody is provisioned here.
            Output::Provision { ticket, .. } => self.answer(index, life, Input::Provisioned { ticket, answer: None }),
            Output::LoadAuthorities { .. } | Output::SavePolicies { .. } | Output::ForgetPolicies { .. } => {
                self.violations.push("policies were asked, and every client here may do everything".to_owned());
            }
            Output::Published { .. } | Output::Fence => {}
            Output::Stop => self.end(index),
            Output::Log(event) => {
                if event.event == "connected"
                    && let Some(client) = event.trace_id.parse().ok().and_then(|key: usize| self.clients.get_mut(key))
                {
                    client.accepted_at = Some(self.schedule.clock().now());
                }
            }
        }
    }

    fn answer(&mut self, node: u32, life: u64, input: Input) {
        let delay = self.delay();
        self.later(delay, Event::Answer { node, life, input });
    }

    /// The connection ended for its Broker; the client learns it after everything sent before.
    pub(crate) fn server_ended(&mut self, key: ClientKey) {
        let now = self.now();
        if let Some(client) = self.clients.get_mut(key.0) {
            client.server_ended_at.get_or_insert(now);
        }
        self.downstream(key, |client| Event::Closed { client });
    }

    /// Sends something to a client. What is sent later arrives later.
    pub(crate) fn downstream(&mut self, key: ClientKey, event: impl FnOnce(ClientKey) -> Event) {
        let arrives = self.now().plus_millis(self.delay());
        let Some(client) = self.clients.get_mut(key.0) else { return };
        client.downstream_free = client.downstream_free.max(arrives);
        let at = client.downstream_free;
        self.schedule.at(at, event(key));
    }

    // --- calls between objects ----------------------------------------------------------------------------------

    /// The way of a call in one direction.
    fn way(&mut self, target: &Address) -> u64 {
        self.delay() + self.slow.get(target).copied().unwrap_or_default()
    }

    fn call(&mut self, caller: Caller, mut call: Call) {
        self.count.calls += 1;
        self.overhear_call(caller, &call);
        self.sabotage_call(caller, &mut call);
        let delay = self.way(&call.target);
        let (lost_requests, lost_replies) = (self.settings.faults.lost_requests, self.settings.faults.lost_replies);
        if self.random.chance(self.settings.faults.late_copies) {
            // The caller is told that it failed, or that it went well, and then it arrives once more.
            let (call, late) = (call.clone(), self.random.below(3_000));
            self.later(delay + late, Event::Arrives { caller, call, answer: Answer::Nobody });
        }
        if self.random.chance(lost_requests) {
            self.count.failed_calls += 1;
            return self.later(delay, Event::Returns { caller, target: call.target, reply: None });
        }
        let answer = if self.random.chance(lost_replies) { Answer::Lost } else { Answer::Told };
        self.later(delay, Event::Arrives { caller, call, answer });
    }

    /// The address that a caller speaks for.
    fn address(&self, caller: Caller) -> Option<Address> {
        match caller {
            Caller::Node { node, .. } => {
                self.nodes.get(node as usize).map(|node| Address::Broker(node.broker_id().clone()))
            }
            Caller::Sessions { shard, .. } => Some(Address::Sessions(shard)),
            Caller::Router { shard, .. } => Some(Address::Router(shard)),
        }
    }

    pub(crate) fn arrives(&mut self, caller: Caller, call: Call, answer: Answer) {
        let delay = self.way(&call.target);
        let target = call.target;
        let mut reply = None;
        let is_cut = self.unreachable.contains(&target)
            || self.address(caller).is_some_and(|from| self.partitions.contains(&pair(from, target.clone())));
        if !is_cut {
            // As bytes, like between real objects.
            let bytes = call.batch.encode();
            self.check_message(&target, bytes.as_ref().map_or(0, Vec::len));
            match bytes.and_then(|bytes| Batch::decode(&bytes)) {
                Ok(batch) => {
                    let said = self.is_logging().then(|| format!("{caller:?} {answer:?} -> {target}: {batch:?}"));
                    reply = self.apply(&target, batch);
                    self.note(|| format!("{} => {reply:?}", said.unwrap_or_default()));
                }
                Err(error) => self.violations.push(format!("an unreadable batch for {target}: {error}")),
            }
        }
        if answer == Answer::Nobody {
            return;
        }
        if answer == Answer::Lost {
            reply = None;
        }
        let bytes = reply.and_then(|reply| reply.encode().ok());
        self.check_message(&target, bytes.as_ref().map_or(0, Vec::len));
        let reply = bytes.and_then(|bytes| BatchReply::decode(&bytes).ok());
        self.count.failed_calls += u64::from(reply.is_none());
        self.later(delay, Event::Returns { caller, target, reply });
    }

    fn apply(&mut self, target: &Address, batch: Batch) -> Option<BatchReply> {
        let (now, sabotage) = (self.now(), self.settings.sabotage);
        match target {
            Address::Broker(id) => {
                let (batch, pretended) = self.sabotaged(batch);
                self.count_load(target.clone(), 1, 0);
                let index = self.instance(id.index);
                self.wake(index);
                let memory = self.nodes.get_mut(index as usize)?.memory.as_mut()?;
                let mut reply = memory.call(now, batch);
                if pretended.contains(&true) {
                    let mut real = reply.replies.into_iter();
                    let replies = pretended.iter().filter_map(|p| if *p { Some(Reply::Applied) } else { real.next() });
                    reply.replies = replies.collect();
                }
                self.after_event(index);
                Some(reply)
            }
            Address::Router(shard) => {
                let router = self.routers.get_mut(*shard as usize)?;
                let reply = router.call(now, batch, sabotage);
                let rows = router.rows_written();
                self.count_load(target.clone(), 1, rows);
                self.check_rows(target);
                self.pump_router(*shard);
                reply
            }
            Address::Sessions(shard) => {
                let batch = self.sabotaged_for_sessions(batch);
                let is_done_again =
                    sabotage == Some(Sabotage::RepeatsAreAppliedAgain) && self.is_repeat(*shard, &batch);
                let sessions = self.sessions.get_mut(*shard as usize)?;
                if is_done_again {
                    let again = batch
                        .requests
                        .iter()
                        .filter(|request| matches!(request, Request::Sessions(SessionsRequest::Deliver { .. })));
                    sessions.call(now, &Batch { sender: None, requests: again.cloned().collect() });
                }
                let reply = sessions.call(now, &batch);
                let rows = sessions.rows_written();
                self.count_load(target.clone(), 1, rows);
                self.check_rows(target);
                self.overhear_answer(&batch, reply.as_ref());
                self.pump(*shard);
                reply
            }
            Address::Thing(name) => {
                let replies = batch.requests.iter().map(|request| match request {
                    Request::Thing(request) => Reply::Thing((self.things)(name, request, now)),
                    _ => Reply::Refused(Refusal::WrongClass),
                });
                Some(BatchReply { epoch: 0, replies: replies.collect() })
            }
            _ => None,
        }
    }

    /// The batch as a Broker with a built-in mistake would treat it, and which requests it only pretends to carry out.
    fn sabotaged(&mut self, mut batch: Batch) -> (Batch, Vec<bool>) {
        let sabotage = self.settings.sabotage;
        if sabotage == Some(Sabotage::CallsAreAppliedBackwards) {
            batch.requests.reverse();
        }
        let is_pretended = |request: &Request| match (sabotage, request) {
            (
                Some(Sabotage::DeliveriesAreLost),
                Request::Broker(BrokerRequest::Deliver(_) | BrokerRequest::DeliverPackets { .. }),
            ) => {
                self.deliveries += 1;
                self.deliveries.is_multiple_of(3)
            }
            (Some(Sabotage::EventsAreLost), Request::Broker(BrokerRequest::Announce { publication, .. })) => {
                publication.topic.starts_with("$aws/events/presence/") && {
                    self.deliveries += 1;
                    self.deliveries.is_multiple_of(3)
                }
            }
            (Some(Sabotage::FencesAreIgnored), Request::Broker(BrokerRequest::Fence { .. }))
            | (Some(Sabotage::LeasesOutliveRevocation), Request::Broker(BrokerRequest::Revoke { .. })) => true,
            _ => false,
        };
        let pretended: Vec<bool> = batch.requests.iter().map(is_pretended).collect();
        let mut places = pretended.iter();
        batch.requests.retain(|_| places.next() == Some(&false));
        (batch, pretended)
    }

    pub(crate) fn returns(&mut self, caller: Caller, target: Address, reply: Option<BatchReply>) {
        let now = self.now();
        match caller {
            Caller::Node { node, life } => {
                if self.nodes.get(node as usize).is_some_and(|node| node.life == life && node.memory.is_some()) {
                    self.handle(node, Input::Answered { target, reply });
                }
            }
            Caller::Sessions { shard, life } => {
                if let Some(sessions) = self.sessions.get_mut(shard as usize).filter(|s| s.life == life) {
                    sessions.answered(now, &target, reply);
                    self.pump(shard);
                }
            }
            Caller::Router { shard, life } => {
                if let Some(router) = self.routers.get_mut(shard as usize).filter(|router| router.life == life) {
                    router.answered(now, &target, reply);
                    self.pump_router(shard);
                }
            }
        }
    }

    pub(crate) fn pump(&mut self, shard: u32) {
        let now = self.now();
        let Some(sessions) = self.sessions.get_mut(shard as usize) else { return };
        let calls = sessions.calls(now);
        let life = sessions.life;
        sessions.timer += 1;
        let (timer, time) = (sessions.timer, sessions.next_time());
        let awake = (!sessions.is_at_rest()).then(|| now.plus_millis(AWAKE_MILLIS));
        if let Some(at) = time.into_iter().chain(awake).min() {
            // Something that is due already is looked at again in a moment, not at once and for ever.
            self.schedule.at(at.max(now.plus_millis(1)), Event::SessionsTimer { shard, timer });
        }
        self.check_calls(&Address::Sessions(shard), calls.len());
        for call in calls {
            self.call(Caller::Sessions { shard, life }, call);
        }
    }

    pub(crate) fn pump_router(&mut self, shard: u32) {
        let now = self.now();
        let Some(router) = self.routers.get_mut(shard as usize) else { return };
        let calls = router.calls(now);
        let life = router.life;
        router.timer += 1;
        let (timer, time) = (router.timer, router.next_timeout());
        let awake = (!router.is_at_rest()).then(|| now.plus_millis(AWAKE_MILLIS));
        if let Some(at) = time.into_iter().chain(awake).min() {
            self.schedule.at(at.max(now.plus_millis(1)), Event::RouterTimer { shard, timer });
        }
        self.check_calls(&Address::Router(shard), calls.len());
        for call in calls {
            self.call(Caller::Router { shard, life }, call);
        }
    }
}

/// Two addresses, in whichever order.
pub(super) fn pair(a: Address, b: Address) -> (Address, Address) {
    if a < b { (a, b) } else { (b, a) }
}

/// A Thing that accepts everything and says so.
pub(super) fn accept_shadow_requests(thing: &ThingName, request: &ThingRequest, now: UnixMillis) -> ThingReply {
    let none = ThingReply { direct: None, publications: Vec::new(), http: None };
    let ThingRequest::Shadow { shadow_name, operation, payload, plane: Plane::Mqtt } = request else { return none };
    let message = match operation {
        ShadowOperation::Get => ShadowMessage::GetAccepted,
        ShadowOperation::Update => ShadowMessage::UpdateAccepted,
        ShadowOperation::Delete => ShadowMessage::DeleteAccepted,
    };
    let topic = shadow_topic(thing.as_str(), shadow_name.as_ref().map(|name| name.as_str()), message);
    let payload = format!("accepted {}", String::from_utf8_lossy(payload));
    let accepted = Publication::of_platform(topic, payload, iot_types::Qos::AtLeastOnce, now);
    ThingReply { direct: None, publications: vec![accepted], http: None }
}
