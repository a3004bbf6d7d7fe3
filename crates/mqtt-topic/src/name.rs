//! Topic Names: where a message is published.

use crate::{TopicError, TopicLimits, reserved};
use bytestring::ByteString;
use core::fmt;

/// A Topic Name: not empty, no wildcard, no U+0000, at most 65,535 bytes (MQTT 5.0 section 4.7).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(ByteString);

impl TopicName {
    /// Checks the syntax. A [`ByteString`] is taken as it is, without a copy.
    ///
    /// # Errors
    /// [`TopicError`] names the clause.
    pub fn new(text: impl Into<ByteString>) -> Result<Self, TopicError> {
        let text = text.into();
        check_text(&text)?;
        if text.contains(['+', '#']) {
            return Err(TopicError::WildcardInName);
        }
        Ok(Self(text))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, to be shared.
    #[must_use]
    pub fn into_inner(self) -> ByteString {
        self.0
    }

    /// The levels, which may be empty.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// Compares with the limits. `$aws/rules/{rule}/` does not count (AWS developer guide, "Basic Ingest").
    ///
    /// # Errors
    /// [`TopicError::TooManyBytes`] or [`TopicError::TooManyLevels`].
    pub fn check(&self, limits: &TopicLimits) -> Result<(), TopicError> {
        limits.check(reserved::without_basic_ingest_prefix(&self.0))
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What holds for names and filters alike.
pub(crate) fn check_text(text: &str) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > usize::from(u16::MAX) {
        return Err(TopicError::TooLong);
    }
    if text.contains('\0') {
        return Err(TopicError::NullCharacter);
    }
    Ok(())
}
