//! Topic Names and Topic Filters from a client.

use mqtt_topic::node::{ancestors_of, node_of, nodes_on_path};
use mqtt_topic::reserved::{self, ReservedTopic};
use mqtt_topic::{SubscriptionIndex, TopicFilter, TopicLimits, TopicName, matches, matches_without_parent};
use std::collections::BTreeSet;

/// Filters in one run. More only make it slower.
const MAXIMUM_FILTERS: usize = 16;

/// The first line is a topic, each other line a filter.
///
/// Holds: what is accepted is what section 4.7 allows, read a second time here; one filter against one topic, one topic
/// against an index of filters, and a third implementation agree, in MQTT's way and in AWS's; a filter's node lies on
/// the path of every topic that it matches; reserved topics are rebuilt from what they were parsed to, and nobody who
/// may subscribe hears what is internal.
pub fn topic_filters(data: &[u8]) -> usize {
    let Ok(text) = core::str::from_utf8(data) else { return 0 };
    let mut lines = text.split('\n');
    let topic = lines.next().unwrap_or_default();
    let lines: Vec<&str> = lines.take(MAXIMUM_FILTERS).collect();

    let name = TopicName::new(topic).ok();
    assert_eq!(name.is_some(), is_name(topic), "{topic:?}");
    if let Some(name) = &name {
        let _ = name.check(&TopicLimits::AWS);
        assert_eq!(name.levels().collect::<Vec<_>>().join("/"), topic);
    }
    reserved_topics_are_rebuilt(topic);
    let path: Vec<&str> = nodes_on_path(topic).collect();
    assert!(path.len() <= 5 && path.first() == Some(&""), "{path:?}");
    assert_eq!(path.iter().collect::<BTreeSet<_>>().len(), path.len(), "each node once: {path:?}");

    let mut filters = Vec::new();
    for line in lines {
        let filter = TopicFilter::new(line).ok();
        assert_eq!(filter.is_some(), inner_filter(line).is_some(), "{line:?}");
        let Some(filter) = filter else { continue };
        assert_eq!(Some(filter.matching()), inner_filter(line));
        assert_eq!(filter.to_shared().map(|shared| shared.filter.into_inner()).as_deref(), filter.share().map(|s| s.1));
        let counted = filter.matching();
        let within = counted.len() <= 256 && counted.matches('/').count() <= 7;
        assert_eq!(filter.check(&TopicLimits::AWS).is_ok(), within, "{line:?}");
        filters.push(filter);
    }
    // Only what is a topic may be published; a name that breaks the rules never gets as far as matching.
    if name.is_none() {
        return filters.len();
    }
    for filter in &filters {
        let text = filter.as_str();
        let expected = is_match(filter.matching(), topic, true);
        assert_eq!(matches(text, topic), expected, "{text:?} {topic:?}");
        assert_eq!(filter.matches(topic), expected, "{text:?} {topic:?}");
        assert_eq!(
            matches_without_parent(text, topic),
            is_match(filter.matching(), topic, false),
            "{text:?} {topic:?}"
        );
        if expected {
            let node = node_of(text);
            assert!(path.contains(&node), "{node:?} of {text:?} is on the path of {topic:?}");
            assert!(ancestors_of(node).all(|ancestor| path.contains(&ancestor)), "{node:?}, {topic:?}");
            if reserved::may_subscribe(text) {
                assert_ne!(reserved::parse(topic), Some(ReservedTopic::Umbra), "{text:?} hears {topic:?}");
            }
        }
    }
    for has_parent_match in [true, false] {
        the_index_agrees(&filters, topic, has_parent_match);
    }
    1 + filters.len()
}

fn the_index_agrees(filters: &[TopicFilter], topic: &str, has_parent_match: bool) {
    let mut index = if has_parent_match { SubscriptionIndex::new() } else { SubscriptionIndex::without_parent_match() };
    for (key, filter) in filters.iter().enumerate() {
        assert_eq!(index.insert(filter, key, ()), None);
        assert_eq!(index.insert(filter, key, ()), Some(()), "replaced");
    }
    // All of them; then without every second one, whose nodes are given back; then with them in the same nodes again.
    let is_odd = |key: &usize| key % 2 == 1;
    for step in 0..3 {
        for (key, filter) in filters.iter().enumerate().filter(|(key, _)| is_odd(key)) {
            match step {
                0 => {}
                1 => assert_eq!(index.remove(filter, &key), Some(())),
                _ => assert_eq!(index.insert(filter, key, ()), None),
            }
        }
        let is_in = |key: &usize| step != 1 || !is_odd(key);
        let keys = || (0..filters.len()).filter(|key| is_in(key));
        let mut found = Vec::new();
        index.for_each_match(topic, |key, ()| found.push(*key));
        found.sort_unstable();
        let expected: Vec<usize> =
            keys().filter(|key| is_match(filters[*key].matching(), topic, has_parent_match)).collect();
        assert_eq!(found, expected, "step {step}: {filters:?} {topic:?}");
        assert_eq!(index.len(), keys().count());
        for (key, filter) in filters.iter().enumerate() {
            assert_eq!(index.get(filter, &key).is_some(), is_in(&key), "{filter}");
            let same = keys().any(|other| filters[other].matching() == filter.matching());
            assert_eq!(index.contains_filter(filter), same, "{filter}");
        }
    }
    for (key, filter) in filters.iter().enumerate() {
        assert_eq!(index.remove(filter, &key), Some(()));
        assert_eq!(index.remove(filter, &key), None);
    }
    assert!(index.is_empty());
    index.for_each_match(topic, |key, ()| panic!("nothing is left, but {key}"));
}

fn reserved_topics_are_rebuilt(topic: &str) {
    let rebuilt = match reserved::parse(topic) {
        Some(ReservedTopic::Shadow { thing, shadow, message }) => reserved::shadow_topic(thing, shadow, message),
        Some(ReservedTopic::Job { thing, message }) => reserved::job_topic(thing, message),
        Some(ReservedTopic::Rule { rule_name, topic }) => reserved::rule_topic(rule_name, topic),
        Some(ReservedTopic::Event(event)) => reserved::event_topic(event),
        other => {
            assert_eq!(other.is_some(), topic.starts_with('$'));
            assert!(other.is_none() || !reserved::may_publish(topic), "{topic:?}");
            return;
        }
    };
    assert_eq!(rebuilt, topic);
}

/// Section 4.7.3.
fn is_text(text: &str) -> bool {
    (1..=65_535).contains(&text.len()) && !text.contains('\0')
}

fn is_name(text: &str) -> bool {
    is_text(text) && !text.chars().any(|c| c == '+' || c == '#')
}

/// What a filter asks for, without its Share Name; `None` for what is no filter (sections 4.7.1 and 4.8.2).
fn inner_filter(text: &str) -> Option<&str> {
    let parts: Vec<&str> = text.splitn(3, '/').collect();
    let inner = match parts.as_slice() {
        ["$share", name, inner] => {
            (is_name(name) && !inner.is_empty() && !inner.starts_with("$share/")).then_some(*inner)?
        }
        ["$share", _] => return None,
        _ => text,
    };
    let levels: Vec<&str> = inner.split('/').collect();
    let is_level = |(at, level): (usize, &&str)| match *level {
        "#" => at + 1 == levels.len(),
        "+" => true,
        text => !text.contains(['+', '#']),
    };
    (is_text(text) && levels.iter().enumerate().all(is_level)).then_some(inner)
}

/// Sections 4.7.1 and 4.7.2, level by level.
fn is_match(filter: &str, topic: &str, has_parent_match: bool) -> bool {
    let filter: Vec<&str> = filter.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    if topic[0].starts_with('$') && matches!(filter[0], "+" | "#") {
        return false;
    }
    let plain = filter.strip_suffix(&["#"]).unwrap_or(&filter);
    let fits = match plain.len() == filter.len() {
        true => topic.len() == plain.len(),
        false => topic.len() > plain.len() || has_parent_match && topic.len() == plain.len(),
    };
    fits && plain.iter().zip(&topic).all(|(level, actual)| *level == "+" || level == actual)
}
