//! A Router by itself: what it answers, stores and calls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use iot_types::UnixMillis;
use messages::address::Address;
use messages::broker::BrokerRequest;
use messages::channel::Call;
use messages::codec::BatchReply;
use messages::publication::PublicationProperties;
use messages::router::{Destination, Mark, NodeView, RetainedPage, RouterRequest};
use messages::sessions::SessionsRequest;
use messages::{Refusal, Reply, Request};
use proptest::prelude::*;
use routing::{RouterSettings, RouterShard};
use std::collections::{BTreeMap, BTreeSet};
use support::{Caller, MapStore, broker_id, message};

/// The only Router of a deployment, and its rows.
struct Router {
    shard: RouterShard,
    store: MapStore,
}

impl Router {
    fn new(settings: RouterSettings) -> Self {
        Self { shard: RouterShard::new(0, 1, UnixMillis(0), settings), store: MapStore::default() }
    }

    fn restart(&mut self, now: u64) {
        self.shard = RouterShard::new(0, 1, UnixMillis(now), RouterSettings::default());
    }

    fn ask(&mut self, now: u64, caller: &mut Caller, request: RouterRequest) -> Reply {
        caller.ask(now, request, &mut self.shard, &mut self.store)
    }

    fn calls(&mut self, now: u64) -> Vec<Call> {
        self.shard.timeout(UnixMillis(now), &mut self.store).unwrap();
        self.shard.calls(UnixMillis(now))
    }

    /// Answers all requests of a call with `Applied`.
    fn acknowledge(&mut self, now: u64, call: &Call, epoch: u64) {
        let reply = BatchReply { epoch, replies: vec![Reply::Applied; call.batch.requests.len()] };
        self.shard.answered(UnixMillis(now), &call.target, Some(reply), &mut self.store).unwrap();
    }
}

fn subscribe(filter: &str, registration: u64) -> RouterRequest {
    RouterRequest::Subscribe { filter: filter.into(), registration }
}

fn unsubscribe(filter: &str) -> RouterRequest {
    RouterRequest::Unsubscribe { filter: filter.into() }
}

fn mark(node: &str, mark: Mark, registration: u64) -> RouterRequest {
    RouterRequest::Mark { node: node.into(), mark, registration }
}

fn lease(nodes: &[&str]) -> RouterRequest {
    RouterRequest::Lease { nodes: nodes.iter().map(|node| (*node).to_owned()).collect() }
}

fn route(node: &str, topic: &str) -> RouterRequest {
    RouterRequest::Route { node: node.into(), topic: topic.into() }
}

fn retained(filter: &str, after: Option<&str>, limit: u32) -> RouterRequest {
    RouterRequest::Retained { filter: filter.into(), after: after.map(str::to_owned), limit }
}

fn to_broker(index: u32) -> Destination {
    Destination::Broker(broker_id(index))
}

/// The requests of calls, by target.
fn said(calls: &[Call]) -> Vec<(String, Vec<Request>)> {
    calls.iter().map(|call| (call.target.to_string(), call.batch.requests.clone())).collect()
}

fn revoke(nodes: &[&str]) -> Request {
    Request::Broker(BrokerRequest::Revoke { nodes: Some(nodes.iter().map(|node| (*node).to_owned()).collect()) })
}

fn topics(page: &RetainedPage) -> Vec<&str> {
    page.messages.iter().map(|message| message.topic.as_str()).collect()
}

#[test]
fn a_lease_shows_each_filter_with_whoever_has_it() {
    let mut router = Router::new(RouterSettings::default());
    let (mut one, mut two, mut sessions) = (Caller::broker(1), Caller::broker(2), Caller::sessions(7));
    for (caller, filter) in [(&mut one, "a/+"), (&mut two, "a/+"), (&mut sessions, "$share/g/a/#")] {
        assert_eq!(router.ask(1, caller, subscribe(filter, 1)), Reply::Applied);
    }
    assert_eq!(router.ask(1, &mut one, mark("", Mark::Filters, 2)), Reply::Applied);
    let expected = vec![
        NodeView { node: "".into(), has_filters_below: true, ..NodeView::default() },
        NodeView {
            node: "a".into(),
            filters: vec![
                ("$share/g/a/#".into(), vec![Destination::Sessions(7)]),
                ("a/+".into(), vec![to_broker(1), to_broker(2)]),
            ],
            ..NodeView::default()
        },
    ];
    assert_eq!(router.ask(1, &mut one, lease(&["", "a"])), Reply::Leases(expected));
}

#[test]
fn a_new_filter_is_confirmed_when_all_other_holders_have_dropped_their_leases() {
    let mut router = Router::new(RouterSettings::default());
    let (mut one, mut two, mut three) = (Caller::broker(1), Caller::broker(2), Caller::broker(3));
    for caller in [&mut one, &mut two, &mut three] {
        router.ask(1, caller, lease(&["a"]));
    }
    assert_eq!(router.ask(2, &mut one, subscribe("a/#", 5)), Reply::Pending);
    assert!(!router.shard.is_at_rest());
    let calls = router.calls(2);
    let revoked = vec![revoke(&["a"])];
    assert_eq!(said(&calls), [("broker/home/2".into(), revoked.clone()), ("broker/home/3".into(), revoked)]);
    router.acknowledge(3, &calls[0], 1);
    // Repeating the question changes nothing.
    assert_eq!(router.ask(3, &mut one, subscribe("a/#", 5)), Reply::Pending);
    assert_eq!(router.calls(3), []);
    router.acknowledge(3, &calls[1], 1);
    let registered = vec![Request::Broker(BrokerRequest::Registered { registration: 5 })];
    let calls = router.calls(3);
    assert_eq!(said(&calls), [("broker/home/1".into(), registered)]);
    router.acknowledge(4, &calls[0], 1);
    assert!(router.shard.is_at_rest());
    assert_eq!(router.ask(5, &mut one, subscribe("a/#", 6)), Reply::Applied);
}

#[test]
fn only_the_epoch_that_holds_a_lease_can_drop_it() {
    // The Broker restarts while it holds a lease: what is left of it may serve its clients until it has to prove that it
    // is the present instance, or if nothing is heard of another, until the lease ends.
    for (acknowledged_by, until) in [(Some(1), 2_000), (Some(2), 2_000 + 3_000), (None, 1_000 + 60_000 + 5_000)] {
        let mut router = Router::new(RouterSettings::default());
        let (mut holder, mut sessions) = (Caller::broker(1), Caller::sessions(0));
        router.ask(1_000, &mut holder, lease(&["a"]));
        assert_eq!(router.ask(2_000, &mut sessions, subscribe("a", 9)), Reply::Pending);
        let calls = router.calls(2_000);
        if let Some(epoch) = acknowledged_by {
            router.acknowledge(2_000, &calls[0], epoch);
        }
        if until > 2_000 {
            assert_eq!(router.shard.next_timeout(), Some(UnixMillis(until)), "{acknowledged_by:?}");
            assert_eq!(router.calls(until - 1), []);
        }
        let registered = vec![Request::Sessions(SessionsRequest::Registered { registration: 9 })];
        assert_eq!(said(&router.calls(until)), [("sessions/0".into(), registered)]);
    }
}

#[test]
fn a_new_epoch_shortens_the_leases_of_those_before() {
    for restarts in [false, true] {
        let mut router = Router::new(RouterSettings::default());
        let (mut old, mut sessions) = (Caller::broker(1), Caller::sessions(0));
        router.ask(1_000, &mut old, lease(&["a"]));
        let mut new = Caller { epoch: 2, instance: 2, ..Caller::broker(1) };
        router.ask(2_000, &mut new, RouterRequest::EpochStarted);
        if restarts {
            router.restart(2_000);
        }
        for now in [2_000, 4_999] {
            assert_eq!(router.ask(now, &mut sessions, subscribe("a", 9)), Reply::Pending);
        }
        assert_eq!(router.ask(5_000, &mut sessions, subscribe("a", 9)), Reply::Applied);
    }
}

#[test]
fn holders_of_an_epoch_that_is_over_are_forgotten_so_that_no_later_memory_waits_for_them() {
    let mut router = Router::new(RouterSettings::default());
    let (mut old, mut sessions) = (Caller::broker(1), Caller::sessions(0));
    router.ask(1_000, &mut old, lease(&["a"]));
    let mut new = Caller { epoch: 2, instance: 2, ..Caller::broker(1) };
    router.restart(2_000);
    router.ask(2_000, &mut new, RouterRequest::EpochStarted);
    assert_eq!(router.shard.next_timeout(), Some(UnixMillis(5_000)), "it stays awake until then");
    router.calls(4_999);
    assert_eq!(router.store.count(b'H'), 1);
    router.calls(5_000);
    assert_eq!((router.store.count(b'H'), router.shard.next_timeout()), (0, None));
    router.restart(5_001);
    assert_eq!(router.ask(5_001, &mut sessions, subscribe("a", 9)), Reply::Applied);
}

#[test]
fn nobody_waits_for_leases_that_were_given_back() {
    let mut router = Router::new(RouterSettings::default());
    let (mut one, mut two, mut sessions) = (Caller::broker(1), Caller::broker(2), Caller::sessions(0));
    router.ask(0, &mut one, lease(&["a", "b"]));
    router.ask(0, &mut two, lease(&["a"]));
    assert_eq!(router.ask(1, &mut sessions, subscribe("a", 1)), Reply::Pending);
    assert_eq!(router.ask(1, &mut sessions, subscribe("b", 2)), Reply::Pending);
    assert_eq!(router.calls(1).len(), 2);
    assert_eq!(router.ask(2, &mut one, RouterRequest::LeasesReturned), Reply::Applied);
    let registered = vec![Request::Sessions(SessionsRequest::Registered { registration: 2 })];
    assert_eq!(said(&router.calls(2)), [("sessions/0".into(), registered)]);
    assert_eq!(router.store.count(b'H'), 1, "it is no holder any more");
}

#[test]
fn leases_asked_for_after_others_were_given_back_are_not_those() {
    let mut router = Router::new(RouterSettings::default());
    let (mut one, mut sessions) = (Caller::broker(1), Caller::sessions(0));
    let late = one.batch(vec![RouterRequest::LeasesReturned]);
    router.ask(0, &mut one, lease(&["a"]));
    router.restart(1);
    // By now it is not known any more which of the calls came first.
    router.shard.call(UnixMillis(1), &late, &mut router.store).unwrap();
    assert_eq!(router.store.count(b'H'), 1);
    assert_eq!(router.ask(2, &mut sessions, subscribe("a", 1)), Reply::Pending);
}

#[test]
fn a_revocation_that_does_not_arrive_is_sent_again() {
    let mut router = Router::new(RouterSettings::default());
    let (mut holder, mut sessions) = (Caller::broker(1), Caller::sessions(0));
    router.ask(0, &mut holder, lease(&["a", "b"]));
    router.ask(0, &mut sessions, subscribe("a", 1));
    let mut now = 0;
    let mut sent = 0;
    while sent < 7 {
        for call in router.calls(now) {
            assert_eq!(call.batch.requests, [revoke(&["a"])]);
            sent += 1;
            if sent == 7 {
                router.acknowledge(now, &call, 1);
            } else {
                router.shard.answered(UnixMillis(now), &call.target, None, &mut router.store).unwrap();
            }
        }
        now += 100;
        assert!(now < 10_000, "it is sent soon");
    }
    assert_eq!(said(&router.calls(now))[0].0, "sessions/0");
}

#[test]
fn the_askers_own_lease_matters_for_marks_and_not_for_its_filters() {
    let mut router = Router::new(RouterSettings::default());
    let mut one = Caller::broker(1);
    router.ask(0, &mut one, lease(&["", "a"]));
    assert_eq!(router.ask(0, &mut one, subscribe("a", 1)), Reply::Applied);
    // Another Broker will rely on the mark, and this one's lease says that there is nothing below.
    assert_eq!(router.ask(0, &mut one, mark("", Mark::Filters, 2)), Reply::Pending);
    assert_eq!(said(&router.calls(0)), [("broker/home/1".into(), vec![revoke(&[""])])]);
    // The leases of an earlier life of the same Broker are somebody else's.
    one.epoch = 2;
    one.instance = 2;
    assert_eq!(router.ask(1, &mut one, subscribe("a", 3)), Reply::Pending);
}

#[test]
fn marks_of_retained_messages_are_confirmed_at_once() {
    let mut router = Router::new(RouterSettings::default());
    let mut one = Caller::broker(1);
    router.ask(0, &mut one, lease(&["", "a"]));
    assert_eq!(router.ask(0, &mut one, mark("a", Mark::Retained, 2)), Reply::Applied);
    let Reply::Retained(page) = router.ask(0, &mut one, retained("a/#", None, 10)) else { panic!() };
    assert!(page.has_retained_below);
    let Reply::Retained(page) = router.ask(0, &mut one, retained("#", None, 10)) else { panic!() };
    assert!(!page.has_retained_below);
}

#[test]
fn after_a_restart_everybody_who_may_hold_leases_is_asked_once() {
    let mut router = Router::new(RouterSettings::default());
    let (mut one, mut two, mut sessions) = (Caller::broker(1), Caller::broker(2), Caller::sessions(0));
    router.ask(0, &mut one, lease(&["a"]));
    router.ask(0, &mut two, lease(&["b"]));
    router.restart(1_000);
    assert_eq!(router.ask(1_000, &mut sessions, subscribe("c", 1)), Reply::Pending);
    assert_eq!(router.ask(1_000, &mut sessions, subscribe("d", 2)), Reply::Pending);
    let calls = router.calls(1_000);
    let all = vec![Request::Broker(BrokerRequest::Revoke { nodes: None })];
    assert_eq!(said(&calls), [("broker/home/1".into(), all.clone()), ("broker/home/2".into(), all)]);
    router.acknowledge(1_001, &calls[0], 1);
    router.acknowledge(1_001, &calls[1], 1);
    assert_eq!(said(&router.calls(1_001))[0].1.len(), 2);
    assert_eq!(router.ask(1_002, &mut sessions, subscribe("e", 3)), Reply::Applied);
}

#[test]
fn after_a_restart_the_only_holder_need_not_ask_itself() {
    let mut router = Router::new(RouterSettings::default());
    let mut one = Caller::broker(1);
    router.ask(0, &mut one, lease(&["a"]));
    router.restart(1_000);
    assert_eq!(router.ask(1_000, &mut one, subscribe("c", 1)), Reply::Applied);
    assert_eq!(router.calls(1_000), []);
}

#[test]
fn a_holder_is_a_row_once_and_not_for_ever() {
    let mut router = Router::new(RouterSettings::default());
    let mut one = Caller::broker(1);
    for now in [0, 30_000, 60_000] {
        router.ask(now, &mut one, lease(&["a", "b"]));
    }
    assert_eq!(router.store.count(b'H'), 1);
    // Rows: the sender, the holder.
    assert_eq!(router.store.writes, 2);
    router.ask(1_000_000, &mut one, route("a", "a"));
    assert_eq!(router.store.count(b'H'), 0);
}

#[test]
fn an_epoch_ends_what_earlier_ones_asked_for() {
    let mut router = Router::new(RouterSettings::default());
    let (mut old, mut other) = (Caller::broker(1), Caller::broker(2));
    router.ask(0, &mut old, subscribe("a", 1));
    router.ask(0, &mut other, subscribe("a", 1));
    let mut new = Caller { epoch: 2, instance: 9, ..Caller::broker(1) };
    assert_eq!(router.ask(1, &mut new, RouterRequest::EpochStarted), Reply::Applied);
    let left = Reply::Route(vec![("a".into(), vec![to_broker(2)])]);
    assert_eq!(router.ask(1, &mut other, route("a", "a")), left);
    for late in [subscribe("a", 2), unsubscribe("a"), lease(&["a"])] {
        assert_eq!(router.ask(2, &mut old, late), Reply::Refused(Refusal::Superseded));
    }
    router.restart(3);
    assert_eq!(router.ask(3, &mut other, route("a", "a")), left);
    assert_eq!(router.ask(3, &mut old, subscribe("a", 2)), Reply::Refused(Refusal::Superseded));
    // Void rows go when nobody has written them anew.
    assert_eq!(router.store.count(b'S'), 2);
    let mut newer = Caller { epoch: 3, instance: 10, ..Caller::broker(1) };
    router.ask(4, &mut newer, RouterRequest::EpochStarted);
    router.ask(400_000, &mut newer, route("b", "b"));
    assert_eq!(router.store.count(b'S'), 1);
}

#[test]
fn a_late_word_from_before_a_restart_undoes_nothing() {
    let mut router = Router::new(RouterSettings::default());
    let mut one = Caller::broker(1);
    router.ask(0, &mut one, subscribe("a", 1));
    let late = one.batch(vec![unsubscribe("a")]);
    router.ask(0, &mut one, subscribe("a", 2));
    router.restart(1);
    router.shard.call(UnixMillis(1), &late, &mut router.store).unwrap();
    assert_eq!(router.ask(1, &mut one, route("a", "a")), Reply::Route(vec![("a".into(), vec![to_broker(1)])]));
    router.ask(1, &mut one, unsubscribe("a"));
    assert_eq!(router.ask(1, &mut one, route("a", "a")), Reply::Route(vec![]));
}

#[test]
fn what_is_for_others_is_refused() {
    let mut router = Router::new(RouterSettings::default());
    let mut sessions = Caller::sessions(0);
    let mut thing = Caller { address: Address::Job(iot_types::JobId::new("j").unwrap()), ..Caller::sessions(0) };
    assert_eq!(router.ask(0, &mut sessions, lease(&["a"])), Reply::Refused(Refusal::WrongClass));
    assert_eq!(router.ask(0, &mut thing, subscribe("a", 1)), Reply::Refused(Refusal::WrongClass));
    assert_eq!(router.ask(0, &mut sessions, subscribe("a/#/b", 1)), Reply::Refused(Refusal::WrongClass));
    let anonymous = messages::codec::Batch {
        sender: None,
        requests: vec![Request::Router(subscribe("a", 1)), Request::Job(messages::jobs::JobRequest::Describe)],
    };
    let replies = router.shard.call(UnixMillis(0), &anonymous, &mut router.store).unwrap().replies;
    assert_eq!(replies, vec![Reply::Refused(Refusal::WrongClass); 2]);
}

#[test]
fn a_large_node_is_asked_for_each_time_and_only_small_views_are_revoked() {
    let settings = RouterSettings { view_bytes: 60, ..RouterSettings::default() };
    let mut router = Router::new(settings);
    let (mut one, mut two) = (Caller::broker(1), Caller::broker(2));
    for i in 0..10 {
        router.ask(0, &mut one, subscribe(&format!("a/+/{i}"), i));
    }
    let Reply::Leases(views) = router.ask(0, &mut two, lease(&["a"])) else { panic!() };
    assert_eq!((views[0].is_large, views[0].filters.len()), (true, 0));
    assert_eq!(router.ask(0, &mut two, route("a", "a/x/3")), Reply::Route(vec![("a/+/3".into(), vec![to_broker(1)])]));
    assert_eq!(router.ask(0, &mut one, subscribe("a/#", 20)), Reply::Applied, "nobody has to be told");
    let Reply::Route(found) = router.ask(0, &mut two, route("a", "a/x/3")) else { panic!() };
    assert_eq!(found.len(), 2);
    assert_eq!(router.ask(0, &mut one, mark("a", Mark::Filters, 21)), Reply::Pending, "of what is below they are");
}

#[test]
fn a_lease_that_was_small_counts_as_small_until_it_is_revoked() {
    let settings = RouterSettings { view_bytes: 60, ..RouterSettings::default() };
    let mut router = Router::new(settings);
    let (mut holder, mut sessions) = (Caller::broker(2), Caller::sessions(0));
    router.ask(0, &mut holder, lease(&["a"]));
    for i in 0..10 {
        router.ask(0, &mut sessions, subscribe(&format!("a/+/{i}"), i));
    }
    // The answer to the renewal may be lost, and the old view be used on.
    router.ask(1, &mut holder, lease(&["a"]));
    assert_eq!(router.ask(2, &mut sessions, subscribe("a/#", 20)), Reply::Pending);
}

#[test]
fn an_answer_has_no_more_than_it_may_and_the_rest_is_asked_again() {
    let settings = RouterSettings { reply_bytes: 2_000, ..RouterSettings::default() };
    let mut router = Router::new(settings);
    let mut one = Caller::broker(1);
    let nodes: Vec<String> = (0..10).map(|i| format!("n{i}")).collect();
    for (registration, node) in (0..).zip(&nodes) {
        router.ask(0, &mut one, subscribe(&format!("{node}/+/{}", "x".repeat(900)), registration));
    }
    let Reply::Leases(views) = router.ask(0, &mut one, RouterRequest::Lease { nodes: nodes.clone() }) else { panic!() };
    assert_eq!(views.iter().map(|view| &view.node).collect::<Vec<_>>(), [&nodes[0], &nodes[1]]);
    let batch = one.batch(vec![lease(&["n0", "n1"]), lease(&["n2"]), retained("#", None, 5), lease(&["x"])]);
    let replies = router.shard.call(UnixMillis(0), &batch, &mut router.store).unwrap().replies;
    assert_eq!(replies[1], Reply::Refused(Refusal::Full));
    // What was too long to be kept is worked out again when the call is repeated.
    assert_eq!(router.shard.call(UnixMillis(0), &batch, &mut router.store).unwrap().replies, replies);
}

#[test]
fn a_node_takes_no_more_rows_than_it_may() {
    let settings = RouterSettings { node_rows: 2, ..RouterSettings::default() };
    let mut router = Router::new(settings);
    let mut one = Caller::broker(1);
    for (filter, reply) in [
        ("+/1", Reply::Applied),
        ("+/2", Reply::Applied),
        ("+/3", Reply::Refused(Refusal::Full)),
        ("+/1", Reply::Applied),
        ("a", Reply::Applied),
    ] {
        assert_eq!(router.ask(0, &mut one, subscribe(filter, 1)), reply, "{filter}");
    }
}

#[test]
fn nodes_given_back_for_want_of_memory_are_read_again() {
    let settings = RouterSettings { cache_bytes: 2_000, ..RouterSettings::default() };
    let mut router = Router::new(settings);
    let mut one = Caller::broker(1);
    for i in 0..40 {
        router.ask(0, &mut one, subscribe(&format!("n{i}"), i));
    }
    for i in 0..40 {
        let topic = format!("n{i}");
        let expected = Reply::Route(vec![(topic.clone(), vec![to_broker(1)])]);
        assert_eq!(router.ask(0, &mut one, route(&topic, &topic)), expected);
    }
}

#[test]
fn after_a_storage_error_the_rows_count() {
    // Wherever storage fails, repeating the call brings the same end.
    for fails_after in 0..8 {
        let mut router = Router::new(RouterSettings::default());
        let (mut one, mut two) = (Caller::broker(1), Caller::broker(2));
        router.ask(0, &mut two, lease(&["a"]));
        let batch = one.batch(vec![subscribe("a", 1), RouterRequest::Retain(message("r", "x", UnixMillis(0)))]);
        router.store.fails_after = Some(fails_after);
        let has_failed = router.shard.call(UnixMillis(1), &batch, &mut router.store).is_err();
        router.store.fails_after = None;
        assert_eq!(has_failed, router.shard.next_timeout() == Some(UnixMillis(2_001)), "{fails_after}");
        let reply = router.shard.call(UnixMillis(2), &batch, &mut router.store).unwrap();
        assert_eq!(reply.replies, [Reply::Pending, Reply::Applied], "{fails_after}");
        let calls = router.calls(2);
        router.acknowledge(3, &calls[0], 1);
        // After an error that came late, the revocation of before it may have to be made good by one more.
        let calls = router.calls(3);
        let is_confirmed = |calls: &[Call]| calls.iter().any(|call| call.target == one.address);
        if !is_confirmed(&calls) {
            router.acknowledge(4, &calls[0], 1);
            assert!(is_confirmed(&router.calls(4)), "{fails_after}");
        }
        assert_eq!(router.store.count(b'R'), 1);
    }
}

#[test]
fn retained_messages_are_replaced_deleted_and_found() {
    let mut router = Router::new(RouterSettings::default());
    let mut one = Caller::broker(1);
    for (topic, payload) in [("a", "1"), ("a/b", "2"), ("a/b/c", "3"), ("a/b", "4"), ("$x/a", "5"), ("a-b", "6")] {
        router.ask(0, &mut one, RouterRequest::Retain(message(topic, payload, UnixMillis(0))));
    }
    let rows: &[(&str, &[&str])] = &[
        ("a", &["a"]),
        ("a/b", &["a/b"]),
        ("x", &[]),
        ("#", &["a", "a-b", "a/b", "a/b/c"]),
        ("+", &["a", "a-b"]),
        ("a/#", &["a", "a/b", "a/b/c"]),
        ("a/b/#", &["a/b", "a/b/c"]),
        ("a/+", &["a/b"]),
        ("+/b/#", &["a/b", "a/b/c"]),
        ("$x/#", &["$x/a"]),
    ];
    for (filter, expected) in rows {
        let Reply::Retained(page) = router.ask(0, &mut one, retained(filter, None, 100)) else { panic!() };
        assert_eq!(topics(&page), *expected, "{filter}");
        assert_eq!(page.next, None);
        // Page by page it is the same.
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let request = retained(filter, after.as_deref(), 1);
            let Reply::Retained(page) = router.ask(0, &mut one, request) else { panic!() };
            found.extend(page.messages.into_iter().map(|message| message.topic));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, *expected, "{filter} in pages");
    }
    let Reply::Retained(page) = router.ask(0, &mut one, retained("a/b", None, 1)) else { panic!() };
    assert_eq!(page.messages[0].payload, "4");
    router.ask(0, &mut one, RouterRequest::Retain(message("a/b", "", UnixMillis(0))));
    let Reply::Retained(page) = router.ask(0, &mut one, retained("a/#", None, 9)) else { panic!() };
    assert_eq!(topics(&page), ["a", "a/b/c"]);
}

#[test]
fn with_aws_the_parent_does_not_match_and_nothing_retained_expires() {
    for is_aws in [false, true] {
        let settings =
            RouterSettings { matches_parent: !is_aws, retained_expire: !is_aws, ..RouterSettings::default() };
        let mut router = Router::new(settings);
        let mut one = Caller::broker(1);
        let mut publication = message("a", "x", UnixMillis(0));
        publication.properties =
            Some(Box::new(PublicationProperties { message_expiry_interval: Some(10), ..Default::default() }));
        router.ask(0, &mut one, RouterRequest::Retain(publication));
        router.ask(0, &mut one, RouterRequest::Retain(message("a/b", "y", UnixMillis(0))));
        router.ask(0, &mut one, subscribe("a/#", 1));
        let Reply::Retained(page) = router.ask(1, &mut one, retained("a/#", None, 9)) else { panic!() };
        assert_eq!(topics(&page), if is_aws { vec!["a/b"] } else { vec!["a", "a/b"] });
        let Reply::Route(found) = router.ask(1, &mut one, route("a", "a")) else { panic!() };
        assert_eq!(found.is_empty(), is_aws);
        let Reply::Retained(page) = router.ask(10_000, &mut one, retained("a", None, 9)) else { panic!() };
        assert_eq!(!page.messages.is_empty(), is_aws, "AWS keeps it");
        assert_eq!(router.store.count(b'R'), if is_aws { 2 } else { 1 });
    }
}

#[test]
fn a_shared_queue_keeps_order_and_forgets_what_is_safe() {
    let settings = RouterSettings { shared_messages: 3, ..RouterSettings::default() };
    let mut router = Router::new(settings);
    let (mut one, mut sessions) = (Caller::broker(1), Caller::sessions(3));
    let queue = |payload: &str| RouterRequest::QueueShared {
        shared_filter: "$share/g/a/+".into(),
        publication: message("a/b", payload, UnixMillis(5)),
    };
    let drain = |after| RouterRequest::DrainShared { shared_filter: "$share/g/a/+".into(), after };
    for (payload, reply) in
        [("1", Reply::Applied), ("2", Reply::Applied), ("3", Reply::Applied), ("4", Reply::Refused(Refusal::Full))]
    {
        assert_eq!(router.ask(5, &mut one, queue(payload)), reply);
    }
    let payloads = |reply: Reply| {
        let Reply::SharedQueue(messages) = reply else { panic!("{reply:?}") };
        messages.iter().map(|(_, m)| String::from_utf8(m.payload.to_vec()).unwrap()).collect::<Vec<_>>()
    };
    let Reply::SharedQueue(messages) = router.ask(6, &mut sessions, drain(0)) else { panic!() };
    assert_eq!(messages.len(), 3);
    // One member at a time, or two members would get the same message.
    assert_eq!(router.ask(6, &mut one, drain(0)), Reply::Refused(Refusal::Unavailable));
    let second = messages[1].0;
    assert_eq!(payloads(router.ask(7, &mut sessions, drain(second))), ["3"]);
    assert_eq!(payloads(router.ask(40_000, &mut one, drain(0))), ["3"], "the first has gone silent");
    router.restart(50_000);
    assert_eq!(payloads(router.ask(50_000, &mut one, drain(messages[2].0))), Vec::<String>::new());
    assert_eq!(router.store.count(b'Q'), 0);
    // A place never comes again, even if the queue was empty.
    router.ask(50_001, &mut one, queue("5"));
    assert_eq!(payloads(router.ask(50_001, &mut one, drain(messages[2].0))), ["5"]);
}

#[test]
fn retained_messages_that_are_few_enough_are_read_once() {
    for (retained_bytes, expected) in [(1_000_000, [true, false]), (500, [true, true])] {
        let mut router = Router::new(RouterSettings { retained_bytes, ..RouterSettings::default() });
        let mut one = Caller::broker(1);
        for number in 0..10 {
            router.ask(0, &mut one, RouterRequest::Retain(message(&format!("a/{number}"), "x", UnixMillis(0))));
        }
        // what else there is to read
        router.ask(1, &mut one, lease(&["a"]));
        let reads = expected.map(|_| {
            let before = router.store.reads;
            let Reply::Retained(page) = router.ask(1, &mut one, retained("a/#", None, 100)) else { panic!() };
            assert_eq!(page.messages.len(), 10);
            router.store.reads - before > 0
        });
        assert_eq!(reads, expected, "{retained_bytes}");
    }
}

#[test]
fn retained_messages_that_were_too_many_are_counted_again_after_a_while() {
    let mut router = Router::new(RouterSettings { retained_bytes: 500, ..RouterSettings::default() });
    let mut one = Caller::broker(1);
    let reads = |router: &mut Router, one: &mut Caller, now| {
        let before = router.store.reads;
        router.ask(now, one, retained("a/#", None, 100));
        router.store.reads - before
    };
    for number in 0..10 {
        router.ask(0, &mut one, RouterRequest::Retain(message(&format!("a/{number}"), "x", UnixMillis(0))));
    }
    assert!(reads(&mut router, &mut one, 1) > 10, "they are found to be too many, and read one by one");
    for number in 1..10 {
        router.ask(2, &mut one, RouterRequest::Retain(message(&format!("a/{number}"), "", UnixMillis(0))));
    }
    // the parent is looked for first, one by one
    for (now, expected) in [(3, 2), (600_000, 2), (600_001, 2), (600_002, 0)] {
        assert_eq!(reads(&mut router, &mut one, now), expected, "{now}");
    }
}

proptest! {
    /// Pages from memory are like those from rows, whatever comes and goes between them.
    #[test]
    fn retained_messages_in_memory_are_those_of_the_rows(
        retained_bytes in 0..2_000_usize,
        steps in prop::collection::vec(
            (0..6_u8, "[ab](/[ab]){0,2}", prop::sample::select(vec!["#", "a/#", "+/b", "b", "a/+/#"]), 1..4_u32), 1..60
        ),
    ) {
        let rows_only = RouterSettings { retained_bytes: 0, retained_retry_millis: 0, ..RouterSettings::default() };
        let mut from_rows = Router::new(rows_only);
        let mut from_memory = Router::new(RouterSettings { retained_bytes, retained_retry_millis: 5, ..rows_only });
        let (mut one, mut two) = (Caller::broker(1), Caller::broker(1));
        for (now, (action, topic, filter, limit)) in (1..).zip(steps) {
            let request = match action {
                0 | 1 => {
                    let mut publication = message(&topic, &"x".repeat(usize::from(action) * 200 + 1), UnixMillis(now));
                    publication.properties = (limit == 1).then(|| {
                        Box::new(PublicationProperties { message_expiry_interval: Some(1), ..Default::default() })
                    });
                    RouterRequest::Retain(publication)
                }
                2 => RouterRequest::Retain(message(&topic, "", UnixMillis(now))),
                3 => retained(filter, Some(&topic), limit),
                _ => retained(filter, None, limit * 10),
            };
            // time enough for some to expire
            let at = now * 100;
            let expected = from_rows.ask(at, &mut one, request.clone());
            prop_assert_eq!(from_memory.ask(at, &mut two, request), expected);
        }
    }

    /// What pages show is what the topics that match hold, however the pages fall.
    #[test]
    fn retained_pages_are_complete(
        stored in prop::collection::btree_set("[ab$](/[ab]?){0,4}", 0..30),
        filter in prop::sample::select(vec!["#", "+/#", "a/#", "a/+/b", "a//#", "+", "/#", "a/b", "$/#", "b/+/#"]),
        limit in 1..4_u32,
    ) {
        let mut router = Router::new(RouterSettings::default());
        let mut one = Caller::broker(1);
        for topic in &stored {
            router.ask(0, &mut one, RouterRequest::Retain(message(topic, "x", UnixMillis(0))));
        }
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let Reply::Retained(page) = router.ask(0, &mut one, retained(filter, after.as_deref(), limit)) else {
                panic!()
            };
            prop_assert!(page.messages.len() <= limit as usize);
            found.extend(page.messages.into_iter().map(|message| message.topic));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let expected: Vec<String> =
            stored.iter().filter(|topic| mqtt_topic::matches(filter, topic)).cloned().collect();
        prop_assert_eq!(found, expected);
    }

    /// Memory is a cache: a Router that restarts all the time shows the same.
    #[test]
    fn rows_and_memory_never_differ(
        steps in prop::collection::vec((0..3_u32, 0..4_u8, "[ab](/[ab+])?"), 1..60), cache_bytes in 0..3_000_usize
    ) {
        let settings = RouterSettings { cache_bytes, ..RouterSettings::default() };
        let (mut steady, mut shaky) = (Router::new(settings), Router::new(settings));
        let mut callers: Vec<Caller> = (0..6).map(|i| Caller::broker(i % 3)).collect();
        let mut model: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
        for (now, (index, action, filter)) in (1..).zip(steps) {
            let request = match action {
                0 => {
                    for caller in [index, index + 3] {
                        callers[caller as usize].epoch += 1;
                        callers[caller as usize].instance += 1;
                    }
                    model.values_mut().for_each(|brokers| { brokers.remove(&index); });
                    RouterRequest::EpochStarted
                }
                1 => {
                    if let Some(brokers) = model.get_mut(&filter) {
                        brokers.remove(&index);
                    }
                    unsubscribe(&filter)
                }
                _ => {
                    model.entry(filter.clone()).or_default().insert(index);
                    subscribe(&filter, now)
                }
            };
            steady.ask(now, &mut callers[index as usize], request.clone());
            shaky.restart(now);
            shaky.ask(now, &mut callers[index as usize + 3], request);
            for topic in ["a", "a/b", "b/a"] {
                let mut expected = Vec::new();
                for (filter, brokers) in &model {
                    if mqtt_topic::matches(filter, topic) && mqtt_topic::node::node_of(filter) == &topic[..1] {
                        expected.extend(brokers.iter().map(|index| (filter.clone(), to_broker(*index))));
                    }
                }
                for (router, caller) in [(&mut steady, 0), (&mut shaky, 3)] {
                    let Reply::Route(found) = router.ask(now, &mut callers[caller], route(&topic[..1], topic)) else {
                        panic!()
                    };
                    let mut found: Vec<_> = found
                        .into_iter()
                        .flat_map(|(filter, to)| to.into_iter().map(move |to| (filter.clone(), to)))
                        .collect();
                    found.sort();
                    prop_assert_eq!(&found, &expected);
                }
            }
        }
    }
}
