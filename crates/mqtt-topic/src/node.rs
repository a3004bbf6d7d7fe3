//! Where the routing tree keeps a filter: at the node of its literal prefix, at most four whole levels deep.
//!
//! A publisher asks the nodes on its topic's path, at most five, and so learns of every filter that matches: for every
//! filter and topic that match, [`node_of`] of the filter is among [`nodes_on_path`] of the topic. A node is named by
//! its prefix; the root by the empty text. The prefix of a filter that begins with `/` is an empty level, which is
//! also the empty text: such filters lie at the root, too.

use crate::filter::without_share;

/// How many whole levels a node's name has at most.
pub const MAXIMUM_LEVELS: usize = 4;

/// The node of a filter: `a/b/+/c` → `a/b`, `a/#` → `a`, `a/b/c/d/e` → `a/b/c/d`, `+/a` → the root, the empty text.
#[must_use]
pub fn node_of(filter: &str) -> &str {
    let filter = without_share(filter);
    let mut end = 0;
    let mut from = 0;
    for (level, text) in filter.split('/').enumerate() {
        if level == MAXIMUM_LEVELS || text == "+" || text == "#" {
            break;
        }
        end = from + text.len();
        from = end + 1;
    }
    filter.get(..end).unwrap_or_default()
}

/// The nodes where a filter that matches the topic may be: the root, then every literal prefix of at most four levels,
/// each once.
pub fn nodes_on_path(topic: &str) -> impl Iterator<Item = &str> {
    let ends = topic.match_indices('/').map(|(at, _)| at).chain(std::iter::once(topic.len()));
    // An empty first level names the root, which is there already.
    let prefixes = ends.take(MAXIMUM_LEVELS).filter(|end| *end > 0).filter_map(|end| topic.get(..end));
    std::iter::once("").chain(prefixes)
}

/// The nodes above a node, from the root downwards; none for the root. A topic whose path has the node has them, too.
pub fn ancestors_of(node: &str) -> impl Iterator<Item = &str> {
    nodes_on_path(node).filter(move |ancestor| ancestor.len() < node.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_lies_at_its_literal_prefix() {
        let rows = [
            ("#", ""),
            ("+", ""),
            ("+/a", ""),
            ("a", "a"),
            ("a/#", "a"),
            ("a/+", "a"),
            ("a/b", "a/b"),
            ("a/b/+/c", "a/b"),
            ("a/b/c/d", "a/b/c/d"),
            ("a/b/c/d/#", "a/b/c/d"),
            ("a/b/c/d/e", "a/b/c/d"),
            ("a//b/#", "a//b"),
            ("/", "/"),
            ("/#", ""),
            ("/a/+", "/a"),
            ("a/", "a/"),
            ("$aws/things/T/shadow/update", "$aws/things/T/shadow"),
            ("$share/g/a/+", "a"),
            ("$share/g/#", ""),
            ("ä/ö/+", "ä/ö"),
        ];
        for (filter, node) in rows {
            assert_eq!(node_of(filter), node, "{filter}");
        }
    }

    #[test]
    fn the_ancestors_of_a_node_are_what_its_path_passes_before_it() {
        let rows: &[(&str, &[&str])] = &[
            ("", &[]),
            ("a", &[""]),
            ("a/b/c/d", &["", "a", "a/b", "a/b/c"]),
            ("/", &[""]),
            ("//", &["", "/"]),
            ("a/", &["", "a"]),
            ("ä/ö", &["", "ä"]),
        ];
        for (node, ancestors) in rows {
            assert_eq!(ancestors_of(node).collect::<Vec<_>>(), *ancestors, "{node}");
            assert_eq!(nodes_on_path(node).last(), Some(*node));
        }
    }

    #[test]
    fn a_topic_passes_the_root_and_its_prefixes() {
        let rows: &[(&str, &[&str])] = &[
            ("a", &["", "a"]),
            ("a/b", &["", "a", "a/b"]),
            ("a/b/c/d", &["", "a", "a/b", "a/b/c", "a/b/c/d"]),
            ("a/b/c/d/e/f", &["", "a", "a/b", "a/b/c", "a/b/c/d"]),
            ("/", &["", "/"]),
            ("/a", &["", "/a"]),
            ("//", &["", "/", "//"]),
            ("a/", &["", "a", "a/"]),
            ("ä/ö", &["", "ä", "ä/ö"]),
        ];
        for (topic, nodes) in rows {
            assert_eq!(nodes_on_path(topic).collect::<Vec<_>>(), *nodes, "{topic}");
        }
    }
}
