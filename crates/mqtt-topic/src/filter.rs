//! Topic Filters: what a subscription asks for.

use crate::name::check_text;
use crate::{TopicError, TopicLimits};
use bytestring::ByteString;
use core::fmt;

const SHARE: &str = "$share/";

/// A Topic Filter: wildcards only where they may stand, Share Name well formed (MQTT 5.0 sections 4.7 and 4.8.2).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(ByteString);

/// A Shared Subscription taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharedFilter {
    /// Sessions with the same name and filter share the messages.
    pub share_name: ByteString,
    /// What they ask for; not itself shared.
    pub filter: TopicFilter,
}

impl TopicFilter {
    /// Checks the syntax. A [`ByteString`] is taken as it is, without a copy.
    ///
    /// # Errors
    /// [`TopicError`] names the clause.
    pub fn new(text: impl Into<ByteString>) -> Result<Self, TopicError> {
        let text = text.into();
        check_text(&text)?;
        let filter = match text.strip_prefix(SHARE) {
            Some(shared) => check_shared(shared)?,
            None => &text,
        };
        check_wildcards(filter)?;
        Ok(Self(text))
    }

    /// The text, Share Name included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, to be shared.
    #[must_use]
    pub fn into_inner(self) -> ByteString {
        self.0
    }

    /// The Share Name and the filter of `$share/{name}/{filter}`; `None` when it is not shared.
    #[must_use]
    pub fn share(&self) -> Option<(&str, &str)> {
        split_share(&self.0)
    }

    /// [`Self::share`] as values of their own, without a copy.
    #[must_use]
    pub fn to_shared(&self) -> Option<SharedFilter> {
        let (share_name, filter) = self.share()?;
        Some(SharedFilter { share_name: self.0.slice_ref(share_name), filter: Self(self.0.slice_ref(filter)) })
    }

    /// What is matched: the filter without `$share/{name}/`.
    #[must_use]
    pub fn matching(&self) -> &str {
        without_share(&self.0)
    }

    /// The levels of what is matched, wildcards among them.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.matching().split('/')
    }

    /// Whether what is matched has a wildcard; without one it matches exactly the topic of its own text.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.matching().contains(['+', '#'])
    }

    /// Whether a message on `topic` belongs to the subscription.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        matches(&self.0, topic)
    }

    /// Compares with the limits. `$share/{name}/` does not count (AWS developer guide, "Shared Subscriptions").
    ///
    /// # Errors
    /// [`TopicError::TooManyBytes`] or [`TopicError::TooManyLevels`].
    pub fn check(&self, limits: &TopicLimits) -> Result<(), TopicError> {
        limits.check(self.matching())
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The filter behind `$share/`, which is checked here.
fn check_shared(text: &str) -> Result<&str, TopicError> {
    let (name, filter) = text.split_once('/').map_or((text, None), |(name, filter)| (name, Some(filter)));
    if name.is_empty() {
        return Err(TopicError::ShareNameEmpty);
    }
    if name.contains(['+', '#']) {
        return Err(TopicError::ShareNameWildcard);
    }
    let filter = filter.filter(|filter| !filter.is_empty()).ok_or(TopicError::ShareWithoutFilter)?;
    if filter.starts_with(SHARE) {
        return Err(TopicError::ShareWithinShare);
    }
    Ok(filter)
}

fn check_wildcards(filter: &str) -> Result<(), TopicError> {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err(TopicError::MultiLevelWildcard);
        }
        if level.contains('+') && level != "+" {
            return Err(TopicError::SingleLevelWildcard);
        }
    }
    Ok(())
}

fn split_share(filter: &str) -> Option<(&str, &str)> {
    filter.strip_prefix(SHARE)?.split_once('/')
}

/// What of a filter is matched.
pub(crate) fn without_share(filter: &str) -> &str {
    split_share(filter).map_or(filter, |(_, filter)| filter)
}

/// Whether a topic belongs to a filter (MQTT 5.0 section 4.7). The empty text is no topic and matches nothing.
///
/// A leading wildcard does not match a topic that begins with `$` ([MQTT-4.7.2-1]); `sensor/#` matches `sensor`
/// (section 4.7.1.2). Both are taken as they are: check them with [`TopicFilter::new`] and
/// [`TopicName::new`](crate::TopicName::new).
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    match_levels(filter, topic, true)
}

/// [`matches()`] as AWS does it: `sensor/#` does not match `sensor` (AWS IoT developer guide, "Topic filters").
#[must_use]
pub fn matches_without_parent(filter: &str, topic: &str) -> bool {
    match_levels(filter, topic, false)
}

fn match_levels(filter: &str, topic: &str, parent: bool) -> bool {
    let filter = without_share(filter);
    if topic.is_empty() || topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        if level == "#" {
            return parent || topic.next().is_some();
        }
        match topic.next() {
            Some(actual) if level == "+" || level == actual => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}
