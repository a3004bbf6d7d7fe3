//! Syntax and matching.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use mqtt_topic::node::{node_of, nodes_on_path};
use mqtt_topic::{
    ByteString, SubscriptionIndex, TopicError, TopicFilter, TopicLimits, TopicName, matches, matches_without_parent,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const ROWS: &[(&str, &str, bool)] = &[
    // literal
    ("a", "a", true),
    ("a", "b", false),
    ("a", "A", false),
    ("a", "a/b", false),
    ("a/b", "a", false),
    ("a/b", "a/b", true),
    ("a/b", "a/b/", false),
    ("a/b/", "a/b/", true),
    ("/a", "a", false),
    ("/a", "/a", true),
    ("a ", "a", false),
    // the examples of section 4.7.1.2
    ("sport/tennis/player1/#", "sport/tennis/player1", true),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
    ("sport/tennis/player1/#", "sport/tennis/player2", false),
    ("sport/tennis/player1/#", "sport/tennis/player1x", false),
    ("sport/#", "sport", true),
    ("sensor/#", "sensor", true),
    ("sensor/#", "sensor/", true),
    ("sensor/#", "sensors", false),
    ("#", "a", true),
    ("#", "a/b/c", true),
    ("#", "/", true),
    ("#", "/a", true),
    // section 4.7.1.3
    ("sport/tennis/+", "sport/tennis/player1", true),
    ("sport/tennis/+", "sport/tennis/player2", true),
    ("sport/tennis/+", "sport/tennis/player1/ranking", false),
    ("sport/+", "sport", false),
    ("sport/+", "sport/", true),
    ("+", "finance", true),
    ("+", "/finance", false),
    ("+/+", "/finance", true),
    ("/+", "/finance", true),
    ("+", "a", true),
    ("+", "a/b", false),
    ("+/b", "a/b", true),
    ("+/b", "a/c", false),
    ("a/+/c", "a/b/c", true),
    ("a/+/c", "a//c", true),
    ("a/+/c", "a/b/d", false),
    ("a/+/c", "a/c", false),
    ("a/+/+", "a/b/c", true),
    ("a/+/+", "a/b", false),
    ("+/+/+", "a/b/c", true),
    // both
    ("+/#", "a", true),
    ("+/#", "a/b/c", true),
    ("+/a/#", "b/a", true),
    ("+/a/#", "b/a/c/d", true),
    ("+/a/#", "b/c/a", false),
    ("a/+/#", "a", false),
    ("a/+/#", "a/b", true),
    ("a/+/#", "a/b/c/d", true),
    ("a/+/#", "a/", true),
    // empty levels
    ("/", "/", true),
    ("/", "//", false),
    ("//", "//", true),
    ("+/+", "/", true),
    ("+/+", "//", false),
    ("/#", "/", true),
    ("/#", "/a/b", true),
    ("/#", "a", false),
    ("a//#", "a/", true),
    ("a//#", "a", false),
    ("a//#", "a//b", true),
    ("//+", "//", true),
    // section 4.7.2
    ("#", "$SYS/monitor/Clients", false),
    ("+/monitor/Clients", "$SYS/monitor/Clients", false),
    ("+/#", "$aws/things/T/shadow/get", false),
    ("+", "$SYS", false),
    ("$SYS/#", "$SYS/monitor/Clients", true),
    ("$SYS/#", "$SYS", true),
    ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
    ("$aws/things/+/shadow/#", "$aws/things/T/shadow/update/delta", true),
    ("$aws/#", "$SYS/a", false),
    ("a/#", "a/$b", true),
    ("a/+", "a/$b", true),
    ("$", "$", true),
    ("+", "$", false),
    // shared: what counts is the filter inside
    ("$share/g/a/+", "a/b", true),
    ("$share/g/a/+", "a/b/c", false),
    ("$share/g/#", "a", true),
    ("$share/g/#", "$SYS/a", false),
    ("$share/g//a", "/a", true),
    ("$share/g/$aws/+", "$aws/a", true),
    // not ASCII
    ("ä/+", "ä/ö", true),
    ("+/ö", "日本/ö", true),
    ("日/#", "日/本/語", true),
    ("日/#", "本", false),
    // the empty text is no topic
    ("#", "", false),
    ("+", "", false),
];

#[test]
fn filters_match_topics_as_the_standard_says() {
    for (filter, topic, expected) in ROWS {
        assert_eq!(matches(filter, topic), *expected, "{filter} {topic}");
        let parsed = TopicFilter::new(*filter).unwrap();
        assert_eq!(parsed.matches(topic), *expected, "{filter} {topic}");
        let mut index = SubscriptionIndex::new();
        index.insert(&parsed, (), ());
        let mut found = 0;
        index.for_each_match(topic, |(), ()| found += 1);
        assert_eq!(found, u8::from(*expected), "index: {filter} {topic}");
    }
}

#[test]
fn a_filter_is_well_formed_or_names_its_clause() {
    let long = "a".repeat(65_536);
    let rows: &[(&str, Option<TopicError>)] = &[
        ("a", None),
        ("/", None),
        ("+", None),
        ("#", None),
        ("a/+/b/#", None),
        ("+/+", None),
        ("a b", None),
        ("$SYS/#", None),
        ("$share", None),
        ("$shared/a", None),
        ("$share/g/a", None),
        ("$share/g/#", None),
        ("$share/g//", None),
        (&long[1..], None),
        (&long, Some(TopicError::TooLong)),
        ("", Some(TopicError::Empty)),
        ("a\0", Some(TopicError::NullCharacter)),
        ("a#", Some(TopicError::MultiLevelWildcard)),
        ("#/a", Some(TopicError::MultiLevelWildcard)),
        ("a/#/b", Some(TopicError::MultiLevelWildcard)),
        ("#/", Some(TopicError::MultiLevelWildcard)),
        ("a/b#", Some(TopicError::MultiLevelWildcard)),
        ("##", Some(TopicError::MultiLevelWildcard)),
        ("+#", Some(TopicError::MultiLevelWildcard)),
        ("a+", Some(TopicError::SingleLevelWildcard)),
        ("+a/b", Some(TopicError::SingleLevelWildcard)),
        ("a/++", Some(TopicError::SingleLevelWildcard)),
        ("$share/", Some(TopicError::ShareNameEmpty)),
        ("$share//a", Some(TopicError::ShareNameEmpty)),
        ("$share/g", Some(TopicError::ShareWithoutFilter)),
        ("$share/g/", Some(TopicError::ShareWithoutFilter)),
        ("$share/+/a", Some(TopicError::ShareNameWildcard)),
        ("$share/g#/a", Some(TopicError::ShareNameWildcard)),
        ("$share/g/a+", Some(TopicError::SingleLevelWildcard)),
        ("$share/g/$share/h/a", Some(TopicError::ShareWithinShare)),
    ];
    for (text, error) in rows {
        assert_eq!(TopicFilter::new(*text).err(), *error, "{text:.40}");
    }
}

#[test]
fn a_name_is_well_formed_or_names_its_clause() {
    let rows = [
        ("a", None),
        ("/", None),
        ("$x", None),
        ("日本/語", None),
        ("", Some(TopicError::Empty)),
        ("a/\0", Some(TopicError::NullCharacter)),
        ("a/+", Some(TopicError::WildcardInName)),
        ("#", Some(TopicError::WildcardInName)),
        ("a+b", Some(TopicError::WildcardInName)),
    ];
    for (text, error) in rows {
        assert_eq!(TopicName::new(text).err(), error, "{text}");
    }
    assert!(TopicError::WildcardInName.to_string().starts_with("[MQTT-4.7.0-1]"));
    assert_eq!(TopicName::new("a//b").unwrap().levels().collect::<Vec<_>>(), ["a", "", "b"]);
}

#[test]
fn limits_count_neither_share_names_nor_the_prefix_of_basic_ingest() {
    let aws = TopicLimits::AWS;
    let eight = "1/2/3/4/5/6/7/8";
    let long = "x".repeat(256);
    let bytes = Some(TopicError::TooManyBytes { maximum: 256 });
    let levels = Some(TopicError::TooManyLevels { maximum: 8 });
    let names = [
        (eight.to_owned(), None),
        (format!("{eight}/9"), levels),
        (long.clone(), None),
        (format!("{long}x"), bytes),
        (format!("$aws/rules/r/{eight}"), None),
        (format!("$aws/rules/r/{eight}/9"), levels),
        (format!("$aws/rules/r/{long}"), None),
        (format!("$aws/rules/r/{long}x"), bytes),
    ];
    for (text, error) in names {
        assert_eq!(TopicName::new(text.as_str()).unwrap().check(&aws).err(), error, "{text}");
    }
    let filters = [
        (format!("$share/g/{eight}"), None),
        (format!("$share/g/{eight}/#"), levels),
        (format!("$share/g/{long}"), None),
        (format!("{long}/#"), bytes),
    ];
    for (text, error) in filters {
        assert_eq!(TopicFilter::new(text.as_str()).unwrap().check(&aws).err(), error, "{text}");
    }
    let standard = TopicLimits::default();
    assert_eq!(TopicName::new("/".repeat(127)).unwrap().check(&standard), Ok(()));
    assert!(TopicName::new("/".repeat(128)).unwrap().check(&standard).is_err());
}

#[test]
fn a_shared_filter_comes_apart() {
    let filter = TopicFilter::new("$share/group/a/+").unwrap();
    assert_eq!(filter.share(), Some(("group", "a/+")));
    assert_eq!(filter.matching(), "a/+");
    assert!(filter.has_wildcard());
    let shared = filter.to_shared().unwrap();
    assert_eq!((&*shared.share_name, shared.filter.as_str()), ("group", "a/+"));
    let plain = TopicFilter::new("a/b").unwrap();
    assert_eq!((plain.share(), plain.to_shared(), plain.has_wildcard()), (None, None, false));
}

#[test]
fn the_deepest_filter_is_matched_and_dropped_without_recursion() {
    let text = "/".repeat(65_535);
    let filter = TopicFilter::new(text.as_str()).unwrap();
    let mut index = SubscriptionIndex::new();
    index.insert(&filter, 1, ());
    let mut found = 0;
    index.for_each_match(&text, |_, ()| found += 1);
    assert_eq!(found, 1);
    drop(index.clone());
    assert_eq!(index.remove(&filter, &1), Some(()));
    assert!(index.is_empty());
}

#[test]
fn the_index_replaces_and_finds_by_filter_and_key() {
    let filter = TopicFilter::new("a/+").unwrap();
    let other = TopicFilter::new("a/#").unwrap();
    let mut index = SubscriptionIndex::new();
    assert_eq!(index.insert(&filter, "x", 1), None);
    assert_eq!(index.insert(&filter, "x", 2), Some(1));
    assert_eq!(index.insert(&filter, "y", 3), None);
    assert_eq!(index.insert(&other, "x", 4), None);
    assert_eq!(index.len(), 3);
    assert_eq!((index.get(&filter, &"x"), index.get(&other, &"y")), (Some(&2), None));
    assert_eq!(index.under(&filter).collect::<Vec<_>>(), [(&"x", &2), (&"y", &3)]);
    let mut found = Vec::new();
    index.for_each_match("a/b", |key, value| found.push((*key, *value)));
    found.sort_unstable();
    assert_eq!(found, [("x", 2), ("x", 4), ("y", 3)]);
    assert_eq!(index.remove(&other, &"x"), Some(4));
    assert!(!index.contains_filter(&other) && index.contains_filter(&filter));
}

/// Few levels and letters, so that filters and topics often meet.
fn level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "a", "b", "$", "$a", "ä"])
}

fn topic() -> impl Strategy<Value = String> {
    prop::collection::vec(level(), 1..7).prop_map(|levels| levels.join("/")).prop_filter("no topic", |t| !t.is_empty())
}

fn filter() -> impl Strategy<Value = TopicFilter> {
    let levels = prop::collection::vec(prop_oneof![2 => level(), 1 => Just("+")], 1..7);
    let ends = (any::<bool>(), prop::option::weighted(0.2, Just("$share/g/")));
    (levels, ends).prop_filter_map("no filter", |(levels, (multi, share))| {
        let text = levels.join("/") + if multi { "/#" } else { "" };
        TopicFilter::new(share.unwrap_or_default().to_owned() + &text).ok()
    })
}

proptest! {
    #[test]
    fn the_index_agrees_with_matching_one_by_one(
        steps in prop::collection::vec((filter(), 0..3_u8, any::<bool>()), 0..40),
        topics in prop::collection::vec(topic(), 1..10),
    ) {
        let mut index = SubscriptionIndex::new();
        let mut model = BTreeMap::new();
        for (step, (filter, key, insert)) in steps.into_iter().enumerate() {
            // The index does not tell a shared filter from the one inside it.
            let entry = (ByteString::from(filter.matching()), key);
            if insert {
                prop_assert_eq!(index.insert(&filter, key, step), model.insert(entry, step));
            } else {
                prop_assert_eq!(index.remove(&filter, &key), model.remove(&entry));
            }
            prop_assert_eq!((index.len(), index.is_empty()), (model.len(), model.is_empty()));
        }
        for topic in topics {
            let mut found = Vec::new();
            index.for_each_match(&topic, |key, value| found.push((*key, *value)));
            found.sort_unstable();
            let mut expected: Vec<_> = model
                .iter()
                .filter(|((filter, _), _)| matches(filter, &topic))
                .map(|((_, key), value)| (*key, *value))
                .collect();
            expected.sort_unstable();
            prop_assert_eq!(found, expected, "{}", topic);
        }
    }

    #[test]
    fn without_parent_match_only_the_parent_itself_is_left_out(filter in filter(), topic in topic()) {
        let mut index = SubscriptionIndex::without_parent_match();
        index.insert(&filter, (), ());
        let mut found = false;
        index.for_each_match(&topic, |(), ()| found = true);
        prop_assert_eq!(found, matches_without_parent(filter.as_str(), &topic), "{} {}", filter, topic);
        let is_parent = filter.matching().ends_with("/#") && filter.levels().count() == topic.split('/').count() + 1;
        prop_assert_eq!(found, matches(filter.as_str(), &topic) && !is_parent, "{} {}", filter, topic);
    }

    #[test]
    fn the_node_of_a_filter_is_on_the_path_of_every_topic_it_matches(filter in filter(), topic in topic()) {
        let nodes: Vec<&str> = nodes_on_path(&topic).collect();
        prop_assert!(nodes.len() <= 5);
        prop_assert_eq!(nodes.iter().collect::<BTreeSet<_>>().len(), nodes.len());
        if filter.matches(&topic) {
            prop_assert!(nodes.contains(&node_of(filter.as_str())), "{} {}", filter, topic);
        }
    }

    #[test]
    fn a_topic_is_a_filter_that_matches_itself(topic in topic()) {
        prop_assume!(!topic.starts_with("$share/"));
        prop_assert!(TopicName::new(topic.as_str()).is_ok());
        prop_assert!(matches(&topic, &topic));
        prop_assert!(nodes_on_path(&topic).any(|node| node == node_of(&topic)));
    }

    #[test]
    fn no_text_makes_anything_panic(filter in "\\PC*", topic in "[$/+#\u{0}äa日]{0,12}") {
        for (filter, topic) in [(&filter, &topic), (&topic, &filter), (&topic, &topic)] {
            let _ = matches(filter, topic);
            let _ = node_of(filter);
            let _ = nodes_on_path(topic).count();
            let _ = mqtt_topic::reserved::parse(topic);
            let _ = mqtt_topic::reserved::may_publish(topic);
            let _ = mqtt_topic::reserved::may_subscribe(filter);
            let _ = TopicName::new(topic.as_str()).map(|name| name.check(&TopicLimits::AWS));
            if let Ok(filter) = TopicFilter::new(filter.as_str()) {
                let mut index = SubscriptionIndex::new();
                index.insert(&filter, 1, ());
                let mut found = false;
                index.for_each_match(topic, |_, ()| found = true);
                prop_assert_eq!(found, filter.matches(topic));
            }
        }
    }
}
