//! Where a thing group is: the names from the root down.

/// A path such as `/site/floor/room/`. A group's descendants are those whose paths begin with its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupPath(String);

impl GroupPath {
    /// Of a group that is below none.
    #[must_use]
    pub fn root(name: &str) -> Self {
        Self(format!("/{name}/"))
    }

    /// Of a group below this one.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        Self(format!("{}{name}/", self.0))
    }

    /// A path as it is stored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let names = text.strip_prefix('/')?.strip_suffix('/')?;
        names.split('/').all(|name| !name.is_empty()).then(|| Self(text.to_owned()))
    }

    /// As it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names, the root's first and the group's own last.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// The group's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.names().next_back().unwrap_or_default()
    }

    /// The names of the groups above it, the root's first.
    #[must_use]
    pub fn ancestors(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.names().collect();
        names.pop();
        names
    }

    /// The path of the group at the root of its hierarchy.
    #[must_use]
    pub fn of_root(&self) -> Self {
        Self::root(self.names().next().unwrap_or_default())
    }

    /// Levels: 1 for a root.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.names().count()
    }

    /// The first text behind all paths that begin with this one.
    #[must_use]
    pub fn end(&self) -> String {
        // `0` is the character behind `/`.
        format!("{}0", self.0.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_the_names_from_the_root_down() {
        let path = GroupPath::root("site").child("floor").child("room");
        assert_eq!(path.as_str(), "/site/floor/room/");
        assert_eq!((path.name(), path.ancestors(), path.depth()), ("room", vec!["site", "floor"], 3));
        assert_eq!((path.of_root().as_str(), path.of_root().ancestors().len()), ("/site/", 0));
        assert_eq!(GroupPath::parse(path.as_str()), Some(path));
        for bad in ["", "/", "//", "a", "/a", "a/", "/a//b/"] {
            assert_eq!(GroupPath::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn descendants_and_only_they_are_before_the_end() {
        let (site, end) = (GroupPath::root("site"), GroupPath::root("site").end());
        let is_in = |path: &GroupPath| path.as_str() >= site.as_str() && path.as_str() < end.as_str();
        assert!(is_in(&site) && is_in(&site.child("a")) && is_in(&site.child("zz:").child("b")));
        for other in ["site-2", "site2", "sit", "site:", "a", "z"] {
            assert!(!is_in(&GroupPath::root(other)), "{other}");
        }
    }
}
