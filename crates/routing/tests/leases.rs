//! What a Broker knows and asks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use iot_types::UnixMillis;
use messages::Reply;
use messages::address::ShardMap;
use messages::channel::Undelivered;
use messages::router::{Destination, NodeView};
use proptest::prelude::*;
use routing::{Ask, Destinations, LeaseSettings, Leases, Route};
use std::collections::BTreeSet;
use support::broker_id;

struct Holder {
    leases: Leases,
    shards: ShardMap,
}

fn view(node: &str, filters: &[&str], has_filters_below: bool) -> NodeView {
    let to = vec![Destination::Broker(broker_id(1)), Destination::Sessions(2)];
    let filters = filters.iter().map(|filter| ((*filter).to_owned(), to.clone())).collect();
    NodeView { node: node.into(), filters, has_filters_below, is_large: false }
}

impl Holder {
    fn new(settings: LeaseSettings) -> Self {
        Self { leases: Leases::new(settings), shards: ShardMap::new(1) }
    }

    fn asks(&mut self, now: u64) -> Vec<Ask> {
        self.leases.asks(UnixMillis(now), &self.shards)
    }

    /// The nodes that are asked for.
    fn asked(&mut self, now: u64) -> Vec<String> {
        self.asks(now).into_iter().flat_map(|ask| ask.nodes).collect()
    }

    fn answer(&mut self, now: u64, ask: &Ask, views: Vec<NodeView>) {
        self.leases.answered(UnixMillis(now), ask.id, Ok(Reply::Leases(views)));
    }

    fn route(&mut self, now: u64, topic: &str) -> Route {
        self.leases.route(UnixMillis(now), topic)
    }

    fn is_known(&mut self, now: u64, topic: &str) -> bool {
        self.route(now, topic) != Route::Missing
    }

    /// Has a lease of the root, asked for and granted now.
    fn with_root(&mut self, now: u64) {
        assert_eq!(self.route(now, "a"), Route::Missing);
        let asks = self.asks(now);
        self.answer(now, &asks[0], vec![view("", &[], false)]);
    }
}

#[test]
fn nodes_are_asked_for_one_by_one_as_long_as_there_is_something_below() {
    let mut holder = Holder::new(LeaseSettings::default());
    for (node, filters, below) in [("", vec![], true), ("a", vec!["a/#"], true), ("a/b", vec!["a/b/+"], false)] {
        assert_eq!(holder.route(1, "a/b/c"), Route::Missing);
        assert_eq!(holder.route(1, "a/b/c"), Route::Missing);
        let asks = holder.asks(1);
        assert_eq!(asks.iter().map(|ask| &ask.nodes[..]).collect::<Vec<_>>(), [[node]]);
        assert_eq!(holder.asked(1), Vec::<String>::new(), "once at a time");
        holder.answer(2, &asks[0], vec![view(node, &filters, below)]);
    }
    let Route::Ready(found) = holder.route(3, "a/b/c") else { panic!() };
    assert_eq!((found.brokers, found.sessions), (vec![broker_id(1)], vec![2]));
    assert!(holder.leases.is_idle());
}

#[test]
fn a_lease_ends_t_after_it_was_asked_for() {
    let mut holder = Holder::new(LeaseSettings::default());
    holder.route(1_000, "a");
    let asks = holder.asks(1_000);
    holder.answer(50_000, &asks[0], vec![view("", &[], false)]);
    assert!(holder.is_known(60_999, "a"));
    assert!(!holder.is_known(61_000, "a"));
    // An answer that comes later than that is worth nothing, and it is asked again.
    let asks = holder.asks(61_000);
    holder.answer(121_000, &asks[0], vec![view("", &[], false)]);
    assert!(!holder.is_known(121_000, "a"));
    assert_eq!(holder.asked(121_000), [""]);
}

#[test]
fn leases_in_use_are_renewed_together_once_one_is_half_over() {
    let mut holder = Holder::new(LeaseSettings::default());
    // At 0, 10 s and 20 s: three nodes of one Router, the last of which nobody uses again.
    for (at, node, topic) in [(0, "", "x"), (10_000, "a", "a"), (20_000, "b", "b")] {
        assert_eq!(holder.route(at, topic), Route::Missing);
        let asks = holder.asks(at);
        assert_eq!(asks[0].nodes, [node]);
        holder.answer(at, &asks[0], vec![view(node, &[], true)]);
    }
    holder.route(25_000, "a");
    assert_eq!(holder.asked(25_000), Vec::<String>::new());
    holder.route(30_000, "a");
    let asks = holder.asks(30_000);
    assert_eq!(asks.len(), 1);
    assert_eq!(asks[0].nodes, ["", "a"]);
    assert!(holder.is_known(30_000, "a"), "the old ones are good meanwhile");
    holder.answer(30_010, &asks[0], vec![view("", &[], true), view("a", &["a"], true)]);
    assert!(holder.is_known(89_999, "a"));
    assert!(!holder.is_known(89_999, "b"));
}

#[test]
fn a_revoked_lease_is_gone_and_so_is_an_answer_on_its_way() {
    for all in [false, true] {
        let nodes = [String::new()];
        let nodes = if all { None } else { Some(&nodes[..]) };
        let mut holder = Holder::new(LeaseSettings::default());
        holder.with_root(0);
        assert!(holder.is_known(30_000, "a"));
        let renewal = holder.asks(30_000);
        holder.leases.revoke(0, nodes);
        assert!(!holder.is_known(30_000, "a"));
        assert_eq!(holder.asked(30_000), Vec::<String>::new(), "it is being asked for");
        holder.answer(30_001, &renewal[0], vec![view("", &[], false)]);
        assert!(!holder.is_known(30_001, "a"), "the answer may be older than the revocation");
        let again = holder.asks(30_001);
        holder.answer(30_002, &again[0], vec![view("", &[], false)]);
        assert!(holder.is_known(30_002, "a"));
    }
}

#[test]
fn what_is_given_back_is_gone_with_the_answers_on_their_way() {
    let mut holder = Holder::new(LeaseSettings::default());
    assert!(holder.leases.give_back().is_empty());
    holder.with_root(0);
    assert_eq!(holder.leases.give_back(), BTreeSet::from([0]));
    assert!(holder.leases.is_empty());
    holder.route(1, "a");
    let asks = holder.asks(1);
    assert_eq!(holder.leases.give_back(), BTreeSet::from([0]), "it is about to lend");
    holder.answer(2, &asks[0], vec![view("", &[], false)]);
    assert!(!holder.is_known(2, "a"));
}

#[test]
fn all_of_one_router_says_nothing_of_anothers() {
    let mut holder = Holder { leases: Leases::new(LeaseSettings::default()), shards: ShardMap::new(2) };
    holder.shards.note_moved(ShardMap::virtual_shard(b""), 0);
    holder.shards.note_moved(ShardMap::virtual_shard(b"a"), 1);
    for (router, node) in [(0, ""), (1, "a")] {
        holder.route(0, "a");
        let asks = holder.asks(0);
        assert_eq!(asks[0].router, router);
        holder.answer(0, &asks[0], vec![view(node, &[], true)]);
    }
    holder.leases.revoke(7, None);
    assert!(holder.is_known(1, "a"));
    holder.leases.revoke(1, None);
    assert!(!holder.is_known(1, "a"));
    assert_eq!(holder.asked(1), ["a"]);
}

#[test]
fn what_a_router_could_not_answer_is_asked_again_while_it_is_wanted() {
    let rows: [(Result<Reply, Undelivered>, u64); 5] = [
        (Err(Undelivered::Unreachable), 500),
        (Err(Undelivered::Refused), 500),
        (Ok(Reply::Leases(vec![])), 500),
        (Ok(Reply::Applied), 500),
        (Err(Undelivered::Moved { shard: ShardMap::virtual_shard(b""), to: 3 }), 0),
    ];
    for (result, wait) in rows {
        let mut holder = Holder::new(LeaseSettings::default());
        holder.route(0, "a");
        let asks = holder.asks(0);
        if let Err(Undelivered::Moved { shard, to }) = result {
            holder.shards.note_moved(shard, to);
        }
        holder.leases.answered(UnixMillis(10), asks[0].id, result.clone());
        assert_eq!(holder.leases.next_timeout(), Some(UnixMillis(10 + wait)), "{result:?}");
        if wait > 0 {
            assert!(holder.asks(10 + wait - 1).is_empty());
        }
        let again = holder.asks(10 + wait);
        assert_eq!(again[0].router, if wait == 0 { 3 } else { 0 });
        // Nobody has published there for long.
        holder.leases.answered(UnixMillis(40_000), again[0].id, Err(Undelivered::Unreachable));
        assert_eq!(holder.leases.next_timeout(), None);
        assert!(holder.leases.is_empty() && holder.leases.is_idle());
    }
}

#[test]
fn nodes_that_an_answer_leaves_out_are_asked_for_again_at_once() {
    let mut holder = Holder::new(LeaseSettings::default());
    holder.with_root(0);
    holder.leases.revoke(0, None);
    for topic in ["a", "b"] {
        holder.route(1, topic);
    }
    let asks = holder.asks(1);
    holder.answer(1, &asks[0], vec![view("", &[], true)]);
    for topic in ["a", "b"] {
        holder.route(1, topic);
    }
    let asks = holder.asks(1);
    assert_eq!(asks[0].nodes, ["a", "b"]);
    holder.answer(2, &asks[0], vec![view("a", &[], true)]);
    assert_eq!(holder.asked(2), ["b"]);
}

#[test]
fn many_nodes_are_asked_for_in_several_requests() {
    let settings = LeaseSettings { ask_nodes: 2, ..LeaseSettings::default() };
    let mut holder = Holder::new(settings);
    holder.route(0, "x");
    let asks = holder.asks(0);
    holder.answer(0, &asks[0], vec![view("", &[], true)]);
    for topic in ["a", "b", "c"] {
        holder.route(0, topic);
    }
    let nodes: Vec<_> = holder.asks(0).into_iter().map(|ask| ask.nodes).collect();
    assert_eq!(nodes, [vec!["a", "b"], vec!["c"]]);
}

#[test]
fn memory_is_bounded_and_what_was_used_last_stays() {
    for settings in [
        LeaseSettings { maximum_nodes: 40, ..LeaseSettings::default() },
        LeaseSettings { maximum_bytes: 6_000, ..LeaseSettings::default() },
    ] {
        let mut holder = Holder::new(settings);
        for i in 0..200 {
            let node = format!("n{i}");
            while !holder.is_known(i, &node) {
                for ask in holder.asks(i) {
                    let views = ask.nodes.iter().map(|node| view(node, &[], true)).collect();
                    holder.answer(i, &ask, views);
                }
            }
            assert!(holder.leases.len() <= 48, "{}", holder.leases.len());
        }
        assert!(holder.is_known(200, "n199"));
        assert!(!holder.is_known(200, "n0"));
    }
}

#[test]
fn large_nodes_are_named_and_their_answers_added() {
    let mut holder = Holder::new(LeaseSettings::default());
    holder.route(0, "a");
    let asks = holder.asks(0);
    let large = NodeView { node: "".into(), is_large: true, ..NodeView::default() };
    holder.answer(0, &asks[0], vec![large]);
    let Route::Ready(mut found) = holder.route(0, "a") else { panic!() };
    assert_eq!(found.large, [""]);
    let to = vec![Destination::Broker(broker_id(4)), Destination::Sessions(4)];
    found.add_route("", vec![("#".into(), to.clone()), ("+".into(), to.clone()), ("$share/g/+".into(), to.clone())]);
    let expected = Destinations {
        brokers: vec![broker_id(4)],
        sessions: vec![4],
        shared: vec![("$share/g/+".into(), to)],
        large: vec![],
    };
    assert_eq!(found, expected);
}

#[test]
fn a_lease_found_to_be_out_of_date_is_asked_for_again() {
    let mut holder = Holder::new(LeaseSettings::default());
    holder.with_root(0);
    holder.leases.refresh(UnixMillis(1), "$share/g/+");
    assert!(!holder.is_known(1, "a"));
    assert_eq!(holder.asked(1), [""]);
    // While it is being asked for, the answer might be as old as what was found.
    holder.leases.refresh(UnixMillis(1), "$share/g/+");
    assert_eq!(holder.asked(1), Vec::<String>::new());
}

proptest! {
    /// Few filters and many are matched alike, by the standard's rule and by AWS's.
    #[test]
    fn a_route_names_whoever_has_a_matching_filter(
        filters in prop::collection::btree_set("[+ab](/[+ab]){0,2}(/#)?|#|\\$share/g/[+ab](/#)?", 0..20),
        topic in "[ab](/[ab]){0,3}", matches_parent in any::<bool>(),
    ) {
        let mut holder = Holder::new(LeaseSettings { matches_parent, ..LeaseSettings::default() });
        let to = |i: usize| vec![Destination::Sessions(i as u32), Destination::Broker(broker_id(i as u32 % 3))];
        while holder.route(0, &topic) == Route::Missing {
            let ask = holder.asks(0).remove(0);
            let of_node = |node: &str| NodeView {
                node: node.into(),
                filters: filters.iter().enumerate()
                    .filter(|(_, filter)| mqtt_topic::node::node_of(filter) == node)
                    .map(|(i, filter)| (filter.clone(), to(i)))
                    .collect(),
                has_filters_below: true,
                is_large: false,
            };
            let views = ask.nodes.iter().map(|node| of_node(node)).collect();
            holder.answer(0, &ask, views);
        }
        let Route::Ready(found) = holder.route(0, &topic) else { panic!() };
        let does_match =
            if matches_parent { mqtt_topic::matches } else { mqtt_topic::matches_without_parent };
        let matching = || filters.iter().enumerate().filter(|(_, filter)| does_match(filter, &topic));
        let plain = || matching().filter(|(_, filter)| !filter.starts_with('$')).map(|(i, _)| i as u32);
        let brokers: BTreeSet<u32> = plain().map(|i| i % 3).collect();
        prop_assert_eq!(found.brokers, brokers.into_iter().map(broker_id).collect::<Vec<_>>());
        prop_assert_eq!(found.sessions, plain().collect::<Vec<_>>());
        let shared: Vec<_> =
            matching().filter(|(_, filter)| filter.starts_with('$')).map(|(i, filter)| (filter.clone(), to(i))).collect();
        prop_assert_eq!(found.shared, shared);
    }
}
