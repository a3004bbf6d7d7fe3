//! Many filters against one topic.

use crate::TopicFilter;
use std::collections::BTreeMap;

/// A trie of filters by level, with values under (filter, key).
///
/// Nodes lie in one vector and refer to each other by number, so neither matching nor dropping recurses, however deep a
/// filter is. A match visits each node at most once. Nodes that hold nothing are given back. A level that no other
/// filter has costs some hundred bytes: [`TopicFilter::check`] its limits before a client's filter goes in.
///
/// A Shared Subscription is kept under the filter inside it: where a client may hold both, let the key tell them apart.
#[derive(Clone, Debug)]
pub struct SubscriptionIndex<K, V> {
    /// Number 0 is the root and always there.
    nodes: Vec<Node<K, V>>,
    free: Vec<usize>,
    len: usize,
    changes: u64,
    /// Whether `a/#` matches `a`.
    matches_parent: bool,
}

const ROOT: usize = 0;

#[derive(Clone, Debug)]
struct Node<K, V> {
    literal: BTreeMap<Box<str>, usize>,
    /// The child for `+`.
    single: Option<usize>,
    /// Filters that end here.
    here: BTreeMap<K, V>,
    /// Filters that end here with `#` behind.
    below: BTreeMap<K, V>,
}

impl<K, V> Default for Node<K, V> {
    fn default() -> Self {
        Self { literal: BTreeMap::new(), single: None, here: BTreeMap::new(), below: BTreeMap::new() }
    }
}

impl<K, V> Node<K, V> {
    fn is_empty(&self) -> bool {
        self.literal.is_empty() && self.single.is_none() && self.here.is_empty() && self.below.is_empty()
    }

    fn child(&self, level: &str) -> Option<usize> {
        if level == "+" { self.single } else { self.literal.get(level).copied() }
    }
}

impl<K: Ord + Clone, V> Default for SubscriptionIndex<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Clone, V> SubscriptionIndex<K, V> {
    /// An index without filters.
    #[must_use]
    pub fn new() -> Self {
        Self { nodes: vec![Node::default()], free: Vec::new(), len: 0, changes: 0, matches_parent: true }
    }

    /// An index in which `a/#` does not match `a`, as with AWS
    /// ([`matches_without_parent`](crate::matches_without_parent)).
    #[must_use]
    pub fn without_parent_match() -> Self {
        Self { matches_parent: false, ..Self::new() }
    }

    /// How many (filter, key) pairs there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no filter.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Rises with everything that is put in or taken out: what was found stays true as long as this is the same.
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// Puts a value under (filter, key) and gives back the one it replaces.
    pub fn insert(&mut self, filter: &TopicFilter, key: K, value: V) -> Option<V> {
        self.changes += 1;
        let (levels, multi) = split(filter);
        let mut at = ROOT;
        for level in levels {
            at = match self.nodes.get(at).and_then(|node| node.child(level)) {
                Some(child) => child,
                None => self.add_child(at, level),
            };
        }
        let node = self.nodes.get_mut(at)?;
        let replaced = if multi { node.below.insert(key, value) } else { node.here.insert(key, value) };
        if replaced.is_none() {
            self.len += 1;
        }
        replaced
    }

    /// Takes out what lies under (filter, key).
    pub fn remove(&mut self, filter: &TopicFilter, key: &K) -> Option<V> {
        self.changes += 1;
        let (levels, multi) = split(filter);
        let mut path = Vec::new();
        let mut at = ROOT;
        for level in levels {
            path.push((at, level));
            at = self.nodes.get(at)?.child(level)?;
        }
        let node = self.nodes.get_mut(at)?;
        let removed = if multi { node.below.remove(key) } else { node.here.remove(key) }?;
        self.len -= 1;
        self.prune(path, at);
        Some(removed)
    }

    /// What lies under (filter, key).
    #[must_use]
    pub fn get(&self, filter: &TopicFilter, key: &K) -> Option<&V> {
        self.at(filter)?.get(key)
    }

    /// Everything under exactly this filter, in the order of the keys.
    pub fn under(&self, filter: &TopicFilter) -> impl Iterator<Item = (&K, &V)> {
        self.at(filter).into_iter().flatten()
    }

    /// Whether any key has exactly this filter.
    #[must_use]
    pub fn contains_filter(&self, filter: &TopicFilter) -> bool {
        self.at(filter).is_some_and(|values| !values.is_empty())
    }

    /// Calls `found` for every (filter, key) whose filter matches the topic: a key with several such filters comes
    /// several times. The order is the same for the same contents and means nothing else.
    pub fn for_each_match(&self, topic: &str, mut found: impl FnMut(&K, &V)) {
        if topic.is_empty() {
            return;
        }
        let mut waiting = vec![(ROOT, Some(topic))];
        while let Some((at, rest)) = waiting.pop() {
            let Some(node) = self.nodes.get(at) else { continue };
            let wildcards = at != ROOT || !topic.starts_with('$');
            if wildcards && (self.matches_parent || rest.is_some()) {
                node.below.iter().for_each(|(key, value)| found(key, value));
            }
            let Some(rest) = rest else {
                node.here.iter().for_each(|(key, value)| found(key, value));
                continue;
            };
            let (level, rest) = rest.split_once('/').map_or((rest, None), |(level, rest)| (level, Some(rest)));
            if let Some(single) = node.single.filter(|_| wildcards) {
                waiting.push((single, rest));
            }
            if let Some(literal) = node.literal.get(level) {
                waiting.push((*literal, rest));
            }
        }
    }

    fn at(&self, filter: &TopicFilter) -> Option<&BTreeMap<K, V>> {
        let (levels, multi) = split(filter);
        let mut node = self.nodes.get(ROOT)?;
        for level in levels {
            node = self.nodes.get(node.child(level)?)?;
        }
        Some(if multi { &node.below } else { &node.here })
    }

    fn add_child(&mut self, parent: usize, level: &str) -> usize {
        let child = match self.free.pop() {
            // What is free was left empty.
            Some(free) => free,
            None => {
                self.nodes.push(Node::default());
                self.nodes.len() - 1
            }
        };
        if let Some(parent) = self.nodes.get_mut(parent) {
            if level == "+" {
                parent.single = Some(child);
            } else {
                parent.literal.insert(level.into(), child);
            }
        }
        child
    }

    /// Gives back the nodes from `at` upwards that hold nothing; `path` is how it was reached.
    fn prune(&mut self, mut path: Vec<(usize, &str)>, mut at: usize) {
        while self.nodes.get(at).is_some_and(Node::is_empty) {
            let Some((parent, level)) = path.pop() else { break };
            if let Some(node) = self.nodes.get_mut(parent) {
                if level == "+" {
                    node.single = None;
                } else {
                    node.literal.remove(level);
                }
            }
            self.free.push(at);
            at = parent;
        }
        if self.len == 0 {
            self.nodes.truncate(1);
            self.free.clear();
        }
    }
}

/// The levels up to `#`, and whether there is one.
fn split(filter: &TopicFilter) -> (impl Iterator<Item = &str>, bool) {
    (filter.levels().filter(|level| *level != "#"), filter.matching().ends_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_out_leaves_no_node_behind() {
        let filters = ["a/b/c", "a/b/+", "a/#", "+/b", "#", "/", "$share/g/a/b/c/d"];
        let filters = filters.map(|text| TopicFilter::new(text).unwrap());
        let mut index = SubscriptionIndex::new();
        for filter in &filters {
            assert_eq!(index.insert(filter, 1, ()), None);
        }
        let full = index.nodes.len();
        for filter in &filters[1..] {
            assert_eq!(index.remove(filter, &1), Some(()));
            assert_eq!(index.remove(filter, &1), None);
        }
        // The root and the three levels of the filter that is left.
        assert_eq!(index.nodes.len() - index.free.len(), 4);
        for filter in &filters[1..] {
            index.insert(filter, 1, ());
        }
        assert_eq!(index.nodes.len(), full, "nodes are used again");
        for filter in &filters {
            index.remove(filter, &1);
        }
        assert!(index.is_empty());
        assert_eq!((index.nodes.len(), index.free.len()), (1, 0));
    }
}
