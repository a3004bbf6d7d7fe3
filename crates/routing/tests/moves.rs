//! A virtual shard goes from one Router to another.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use iot_types::UnixMillis;
use messages::address::{Address, ShardMap};
use messages::broker::BrokerRequest;
use messages::channel::Call;
use messages::codec::{Batch, BatchReply};
use messages::router::{Destination, Mark, RouterRequest};
use messages::{Refusal, Reply, Request};
use routing::{RouterSettings, RouterShard};
use support::{Caller, MapStore, broker_id, message};

/// Two Routers: the first had everything at first.
struct Pair {
    now: u64,
    routers: [(RouterShard, MapStore); 2],
    shard: u16,
}

/// Its node is `a`.
const FILTER: &str = "a/+";

impl Pair {
    fn new() -> Self {
        let router = |number| (RouterShard::new(number, 1, UnixMillis(0), settings()), MapStore::default());
        Self { now: 1_000, routers: [router(0), router(1)], shard: ShardMap::virtual_shard(b"a") }
    }

    fn ask(&mut self, router: usize, caller: &mut Caller, request: RouterRequest) -> Reply {
        let (shard, store) = &mut self.routers[router];
        caller.ask(self.now, request, shard, store)
    }

    fn hand_over(&mut self, from: usize, to: u32) -> Reply {
        let request = Request::Router(RouterRequest::HandOver { shard: self.shard, to });
        let (shard, store) = &mut self.routers[from];
        let batch = Batch { sender: None, requests: vec![request] };
        shard.call(UnixMillis(self.now), &batch, store).unwrap().replies.remove(0)
    }

    fn restart(&mut self, router: usize) {
        self.now += 1;
        self.routers[router].0 = RouterShard::new(router as u32, 1, UnixMillis(self.now), settings());
    }

    /// Carries the Routers' calls to each other out, and gives those to others.
    fn exchange(&mut self) -> Vec<Call> {
        let now = UnixMillis(self.now);
        let mut others = Vec::new();
        loop {
            let mut calls = Vec::new();
            for from in 0..2 {
                let (shard, store) = &mut self.routers[from];
                shard.timeout(now, store).unwrap();
                calls.extend(shard.calls(now).into_iter().map(|call| (from, call)));
            }
            if calls.is_empty() {
                return others;
            }
            for (from, call) in calls {
                let Address::Router(to) = call.target else {
                    others.push(call);
                    continue;
                };
                let (shard, store) = &mut self.routers[to as usize];
                let reply = shard.call(now, &call.batch, store).ok();
                let (shard, store) = &mut self.routers[from];
                let _ = shard.answered(now, &call.target, reply, store);
            }
        }
    }

    /// Until nobody has anything to do.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.exchange();
            self.now += 1_000;
        }
    }

    fn moved(&self, to: u32) -> Reply {
        Reply::Refused(Refusal::Moved { shard: self.shard, to })
    }
}

fn settings() -> RouterSettings {
    RouterSettings::default()
}

fn subscribe(filter: &str, registration: u64) -> RouterRequest {
    RouterRequest::Subscribe { filter: filter.into(), registration }
}

fn route(topic: &str) -> RouterRequest {
    RouterRequest::Route { node: "a".into(), topic: topic.into() }
}

fn lease(node: &str) -> RouterRequest {
    RouterRequest::Lease { nodes: vec![node.into()] }
}

#[test]
fn everything_of_a_virtual_shard_goes_along_and_nothing_else() {
    let mut pair = Pair::new();
    let (mut one, mut sessions) = (Caller::broker(1), Caller::sessions(5));
    pair.ask(0, &mut one, subscribe(FILTER, 1));
    pair.ask(0, &mut sessions, subscribe("$share/g/a/#", 1));
    pair.ask(0, &mut one, subscribe("other", 2));
    for mark in [Mark::Filters, Mark::Retained] {
        pair.ask(0, &mut one, RouterRequest::Mark { node: "a".into(), mark, registration: 3 });
    }
    for topic in ["a", "other"] {
        pair.ask(0, &mut one, RouterRequest::Retain(message(topic, "x", UnixMillis(1))));
    }
    for payload in ["1", "2"] {
        let publication = message("a/b", payload, UnixMillis(1));
        pair.ask(0, &mut one, RouterRequest::QueueShared { shared_filter: "$share/g/a/#".into(), publication });
    }
    assert_eq!(pair.hand_over(0, 1), Reply::Pending);
    assert_eq!(pair.ask(0, &mut one, route("a/b")), Reply::Refused(Refusal::Unavailable));
    pair.exchange();
    assert_eq!(pair.hand_over(0, 1), Reply::Applied);
    assert_eq!(pair.ask(0, &mut one, route("a/b")), pair.moved(1));
    let found = vec![
        (FILTER.into(), vec![Destination::Broker(broker_id(1))]),
        ("$share/g/a/#".into(), vec![Destination::Sessions(5)]),
    ];
    let Reply::Route(mut actual) = pair.ask(1, &mut one, route("a/b")) else { panic!() };
    actual.sort_by(|a, b| b.cmp(a));
    assert_eq!(actual, found);
    let Reply::Leases(views) = pair.ask(1, &mut one, lease("a")) else { panic!() };
    assert!(views[0].has_filters_below);
    let retained = |filter: &str| RouterRequest::Retained { filter: filter.into(), after: None, limit: 9 };
    let Reply::Retained(page) = pair.ask(1, &mut one, retained("a/#")) else { panic!() };
    assert_eq!((page.messages.len(), page.has_retained_below), (1, true));
    let drain = RouterRequest::DrainShared { shared_filter: "$share/g/a/#".into(), after: 0 };
    let Reply::SharedQueue(messages) = pair.ask(1, &mut sessions, drain) else { panic!() };
    assert_eq!(messages.iter().map(|(_, message)| &message.payload[..]).collect::<Vec<_>>(), [b"1", b"2"]);
    // The first tells those who have to ask everybody that there is a second, and no longer shows what went.
    let Reply::Retained(page) = pair.ask(0, &mut one, retained("#")) else { panic!() };
    assert_eq!(page.given_away, [(pair.shard, 1)]);
    assert_eq!(page.messages.iter().map(|message| &message.topic).collect::<Vec<_>>(), ["other"]);
    pair.settle();
    let counts = |store: &MapStore| b"SMRQ".map(|table| store.count(table));
    assert_eq!(counts(&pair.routers[0].1), [1, 0, 1, 0]);
    assert_eq!(counts(&pair.routers[1].1), [2, 2, 1, 2]);
    assert!(pair.routers.iter().all(|(shard, _)| shard.is_at_rest()));
}

#[test]
fn leases_are_dropped_before_the_new_owner_confirms_anything() {
    // Whether the holder acknowledges, and in which epoch.
    for (acknowledges, waits) in [(Some(1), 0), (Some(2), 3_000), (None, 65_000)] {
        let mut pair = Pair::new();
        let (mut holder, mut sessions) = (Caller::broker(1), Caller::sessions(5));
        pair.ask(0, &mut holder, lease("a"));
        let start = pair.now;
        pair.hand_over(0, 1);
        let calls = pair.exchange();
        assert_eq!(calls[0].batch.requests, [Request::Broker(BrokerRequest::Revoke { nodes: None })]);
        let reply = acknowledges.map(|epoch| BatchReply { epoch, replies: vec![Reply::Applied] });
        let (shard, store) = &mut pair.routers[0];
        shard.answered(UnixMillis(start), &calls[0].target, reply, store).unwrap();
        while pair.hand_over(0, 1) == Reply::Pending {
            pair.exchange();
            pair.now += 100;
            assert!(pair.now < start + 5_000, "the move does not wait for ever");
        }
        let reply = pair.ask(1, &mut sessions, subscribe(FILTER, 7));
        assert_eq!(reply, if waits == 0 { Reply::Applied } else { Reply::Pending }, "{acknowledges:?}");
        // A restart doesn't shorten it.
        pair.restart(1);
        let reply = pair.ask(1, &mut sessions, subscribe(FILTER, 7));
        assert_eq!(reply, if waits == 0 { Reply::Applied } else { Reply::Pending }, "{acknowledges:?}");
        if waits > 0 {
            pair.now = start + waits - 1;
            assert_eq!(pair.ask(1, &mut sessions, subscribe(FILTER, 7)), Reply::Pending);
            pair.now = start + waits + 200;
            assert_eq!(pair.ask(1, &mut sessions, subscribe(FILTER, 7)), Reply::Applied);
        }
    }
}

#[test]
fn a_move_survives_restarts_and_failing_storage_at_every_step() {
    for fails_after in 0..25 {
        for which in 0..2 {
            for restarts in [false, true] {
                let mut pair = Pair::new();
                let mut one = Caller::broker(1);
                for i in 0..5 {
                    pair.ask(0, &mut one, RouterRequest::Retain(message("a", &i.to_string(), UnixMillis(1))));
                    pair.ask(0, &mut one, subscribe(&format!("a/+/{i}"), i));
                }
                pair.routers[which].1.fails_after = Some(fails_after);
                let (shard, store) = &mut pair.routers[0];
                let request = Request::Router(RouterRequest::HandOver { shard: pair.shard, to: 1 });
                let batch = Batch { sender: None, requests: vec![request] };
                let _ = shard.call(UnixMillis(pair.now), &batch, store);
                if restarts {
                    pair.restart(which);
                }
                for (_, store) in &mut pair.routers {
                    if restarts {
                        store.fails_after = None;
                    }
                }
                for _ in 0..12 {
                    let now = UnixMillis(pair.now);
                    for router in 0..2 {
                        let (shard, store) = &mut pair.routers[router];
                        let _ = shard.timeout(now, store);
                        for call in shard.calls(now) {
                            let Address::Router(to) = call.target else { panic!() };
                            let (shard, store) = &mut pair.routers[to as usize];
                            let reply = shard.call(now, &call.batch, store).ok();
                            let (shard, store) = &mut pair.routers[router];
                            let _ = shard.answered(now, &call.target, reply, store);
                        }
                    }
                    pair.now += 1_000;
                }
                for (_, store) in &mut pair.routers {
                    store.fails_after = None;
                }
                // The operator asks until it is done.
                while pair.hand_over(0, 1) != Reply::Applied {
                    pair.exchange();
                    pair.now += 1_000;
                    assert!(pair.now < 60_000, "{fails_after} {which} {restarts}");
                }
                pair.settle();
                let Reply::Route(found) = pair.ask(1, &mut one, route("a/x/3")) else { panic!() };
                assert_eq!(found.len(), 1);
                assert_eq!(pair.routers[1].1.count(b'S'), 5);
                assert_eq!(pair.routers[0].1.count(b'S') + pair.routers[0].1.count(b'R'), 0);
            }
        }
    }
}

#[test]
fn what_was_deleted_elsewhere_does_not_come_back_with_the_virtual_shard() {
    let mut pair = Pair::new();
    let mut one = Caller::broker(1);
    let retained = |filter: &str| RouterRequest::Retained { filter: filter.into(), after: None, limit: 9 };
    pair.ask(0, &mut one, RouterRequest::Retain(message("a", "x", UnixMillis(1))));
    let Reply::Retained(page) = pair.ask(0, &mut one, retained("a/#")) else { panic!() };
    assert_eq!(page.messages.len(), 1);
    pair.ask(0, &mut one, subscribe(FILTER, 1));
    for (from, to) in [(0, 1_u32), (1, 0), (0, 1)] {
        assert_eq!(pair.hand_over(from, to), Reply::Pending);
        pair.settle();
        assert_eq!(pair.hand_over(from, to), Reply::Applied);
        if to == 1 {
            pair.ask(1, &mut one, RouterRequest::Retain(message("a", "", UnixMillis(2))));
            pair.ask(1, &mut one, RouterRequest::Unsubscribe { filter: FILTER.into() });
        }
        let at = to as usize;
        for filter in ["a", "a/#"] {
            let Reply::Retained(page) = pair.ask(at, &mut one, retained(filter)) else { panic!() };
            assert!(page.messages.is_empty(), "{filter} at {to}");
        }
        assert_eq!(pair.ask(at, &mut one, route("a/b")), Reply::Route(vec![]), "at {to}");
    }
}

#[test]
fn late_parts_of_an_earlier_move_change_nothing() {
    let mut pair = Pair::new();
    let mut one = Caller::broker(1);
    pair.ask(0, &mut one, RouterRequest::Retain(message("a", "old", UnixMillis(1))));
    pair.hand_over(0, 1);
    let (shard, store) = &mut pair.routers[0];
    shard.timeout(UnixMillis(pair.now), store).unwrap();
    let late = shard.calls(UnixMillis(pair.now)).remove(0);
    let (shard, store) = &mut pair.routers[1];
    let reply = shard.call(UnixMillis(pair.now), &late.batch, store).unwrap();
    let (shard, store) = &mut pair.routers[0];
    shard.answered(UnixMillis(pair.now), &late.target, Some(reply), store).unwrap();
    pair.settle();
    pair.ask(1, &mut one, RouterRequest::Retain(message("a", "new", UnixMillis(2))));
    pair.restart(1);
    let (shard, store) = &mut pair.routers[1];
    shard.call(UnixMillis(pair.now), &late.batch, store).unwrap();
    let request = RouterRequest::Retained { filter: "a".into(), after: None, limit: 9 };
    let Reply::Retained(page) = pair.ask(1, &mut one, request) else { panic!() };
    assert_eq!(page.messages[0].payload, "new");
}

#[test]
fn handing_over_is_refused_where_it_makes_no_sense() {
    let mut pair = Pair::new();
    assert_eq!(pair.hand_over(0, 0), Reply::Applied, "it is there");
    assert_eq!(pair.hand_over(1, 5), pair.moved(0), "it is not there");
    assert_eq!(pair.hand_over(0, 1), Reply::Pending);
    assert_eq!(pair.hand_over(0, 7), Reply::Refused(Refusal::Unavailable), "it is on its way");
    pair.settle();
    assert_eq!(pair.hand_over(0, 7), pair.moved(1));
    pair.shard = 1_024;
    assert_eq!(pair.hand_over(0, 1), Reply::Refused(Refusal::WrongClass));
}
