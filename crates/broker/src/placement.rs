//! The node's place among its region's Brokers: whom it lets in, what it tells their pool, and how it sends its clients
//! elsewhere. What is decided, and when, is `placement`'s; a node that was not told to [join](Broker::join_pool) a pool
//! lets in whom it has room for, and tells nobody.

use crate::broker::Broker;
use crate::token::Token;
use iot_types::UnixMillis;
use messages::address::Address;
use messages::broker::ConnectionId;
use messages::channel::Undelivered;
use messages::pool::{BrokerReport, BuildId, Directive, Instance, PoolReply, PoolRequest};
use messages::{Refusal as Refused, Reply, Request};
use mqtt_codec::ReasonCode;
use placement::report::Told;
use placement::{Admission, AdmissionSettings, Refusal, RefusalReason, ReportPolicy, ReportSettings};

/// How often a node that is being emptied looks whose moment has come, in milliseconds.
const DRAIN_TICK_MILLIS: u64 = 1_000;

/// What a node has to know to be one of a pool's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacementSettings {
    /// Whom it lets in.
    pub admission: AdmissionSettings,
    /// When it tells the pool how it is.
    pub reports: ReportSettings,
    /// The least time in which all clients are sent elsewhere, in milliseconds.
    pub drain_at_least_millis: u64,
    /// What it runs.
    pub build: BuildId,
}

/// What a node of a pool remembers.
#[derive(Debug)]
pub struct Placement {
    settings: PlacementSettings,
    admission: Admission,
    policy: ReportPolicy,
    instance: Instance,
    /// The pool has been told something since this was last stored.
    is_told_stale: bool,
    /// When the next report is due.
    report_at: Option<UnixMillis>,
    /// When to look again whose moment has come.
    drain_at: Option<UnixMillis>,
}

impl Placement {
    fn obey(&mut self, now: UnixMillis, directive: Directive) {
        let least = self.settings.drain_at_least_millis;
        self.admission.obey(now, directive, self.settings.build, least);
        self.drain_at = self.admission.drain().is_some().then_some(now);
    }
}

impl Broker {
    /// Makes the node one of its region's pool. `told` is what [`Self::take_told`] gave last, whichever memory it was.
    pub fn join_pool(&mut self, now: UnixMillis, settings: PlacementSettings, told: Option<&[u8]>) {
        self.placement = Some(Placement {
            admission: Admission::new(settings.admission, now),
            policy: ReportPolicy::new(settings.reports, told.and_then(Told::decode)),
            instance: Instance { build: settings.build, started: now },
            is_told_stale: false,
            report_at: None,
            drain_at: None,
            settings,
        });
    }

    /// Whether an upgrade may come in. [`Broker::flush`] has to follow, whatever the answer.
    ///
    /// # Errors
    /// What to answer the Gateway.
    pub fn admit(&mut self, now: UnixMillis) -> Result<(), Refusal> {
        if self.is_stopped {
            return Err(Refusal::OVERLOADED);
        }
        let has_room = self.has_room();
        let connections = self.connections_in_report();
        match &mut self.placement {
            Some(placement) => {
                let verdict = placement.admission.upgrade(now, connections);
                if verdict.is_err_and(|refusal| refusal.reason == RefusalReason::Full) {
                    placement.policy.refused_full();
                }
                verdict
            }
            None if has_room => Ok(()),
            None => Err(Refusal { reason: RefusalReason::Full, ..Refusal::OVERLOADED }),
        }
    }

    /// What the pool knows, to be stored for [`Self::join_pool`]; `None` when what is stored still holds. To be asked
    /// after [`Broker::flush`].
    pub fn take_told(&mut self) -> Option<Vec<u8>> {
        let placement = self.placement.as_mut().filter(|placement| placement.is_told_stale)?;
        placement.is_told_stale = false;
        Some(placement.policy.told()?.encode())
    }

    /// Whether a CONNECT may be answered now.
    pub(crate) fn admits_connect(&mut self, now: UnixMillis) -> bool {
        match &mut self.placement {
            Some(placement) => placement.admission.connect(now).is_ok(),
            None => self.connect_rate.as_mut().is_none_or(|rate| rate.take(now)),
        }
    }

    /// The pool orders something.
    pub(crate) fn pool_orders(&mut self, now: UnixMillis, directive: Directive) -> Reply {
        self.obey_pool(now, directive);
        let report = self.report();
        report.map_or(Reply::Refused(Refused::Unavailable), Reply::BrokerReport)
    }

    /// The pool has a report, or could not be told.
    pub(crate) fn report_answered(
        &mut self,
        now: UnixMillis,
        report: &BrokerReport,
        result: &Result<Reply, Undelivered>,
    ) {
        let Some(placement) = &mut self.placement else { return };
        match result {
            Ok(Reply::Pool(PoolReply::Directive(directive))) => {
                placement.policy.arrived(now, report);
                placement.is_told_stale = true;
                self.obey_pool(now, *directive);
            }
            Ok(_) | Err(_) => placement.policy.failed(),
        }
    }

    fn obey_pool(&mut self, now: UnixMillis, directive: Directive) {
        let Some(placement) = &mut self.placement else { return };
        let was_draining = placement.admission.drain().is_some();
        placement.obey(now, directive);
        match (was_draining, placement.admission.drain().is_some()) {
            (false, true) => self.log_platform("node_draining", "", "the pool sends its clients elsewhere"),
            (true, false) => self.log_platform("node_serving", "", "the pool sends it clients again"),
            _ => {}
        }
    }

    /// When something of this is due; `None` when nothing is unless something happens.
    pub(crate) fn placement_due(&self) -> Option<UnixMillis> {
        let placement = self.placement.as_ref()?;
        [placement.report_at, placement.drain_at].into_iter().flatten().min()
    }

    /// Does what is due: sends clients elsewhere, and reports.
    pub(crate) fn tend_placement(&mut self, now: UnixMillis) {
        self.drain_clients(now);
        let Some(state) = self.report() else { return };
        let Some(placement) = &mut self.placement else { return };
        let is_draining = placement.admission.drain().is_some();
        placement.report_at = placement.policy.due(now, &state, is_draining);
        if placement.report_at.is_none_or(|at| at > now) {
            return;
        }
        placement.report_at = None;
        let report = placement.policy.begin(now, state);
        let target = Address::Pool(self.settings.id.region.clone());
        let request = Request::Pool(PoolRequest::Report(report));
        if self.outbox.push(target, request, Token::Report(report)).is_err() {
            placement.policy.failed();
        }
    }

    fn drain_clients(&mut self, now: UnixMillis) {
        let Some(placement) = &mut self.placement else { return };
        if placement.drain_at.is_none_or(|at| at > now) {
            return;
        }
        let Some(drain) = placement.admission.drain().copied() else { return };
        let (mut due, mut next) = (Vec::new(), None);
        for id in self.connections.keys() {
            let moment = drain.moment(id.0);
            if moment <= now {
                due.push(*id);
            } else {
                next = Some(next.map_or(moment, |next: UnixMillis| next.min(moment)));
            }
        }
        placement.drain_at = next.map(|moment| moment.max(now.plus_millis(DRAIN_TICK_MILLIS)));
        for id in due {
            self.send_elsewhere(now, id);
        }
        self.drain(now);
    }

    /// *Use another server* (0x9C), which is another Broker behind the same address. A client of 3.1.1 can't be told
    /// ([MQTT-3.1.1 section 3.14]) and is only closed.
    fn send_elsewhere(&mut self, now: UnixMillis, id: ConnectionId) {
        self.end(now, id, ReasonCode::UseAnotherServer, "this node is being emptied; please connect again");
    }

    /// How it is; `None` outside of a pool.
    fn report(&self) -> Option<BrokerReport> {
        let placement = self.placement.as_ref()?;
        Some(BrokerReport {
            index: self.settings.id.index,
            epoch: self.epoch,
            instance: placement.instance,
            connections: self.connections_in_report(),
            capacity: placement.settings.admission.capacity,
            refused_full: 0,
        })
    }

    fn connections_in_report(&self) -> u32 {
        u32::try_from(self.connection_count()).unwrap_or(u32::MAX)
    }
}
