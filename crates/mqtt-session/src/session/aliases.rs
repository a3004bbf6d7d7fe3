//! Topic Aliases (MQTT 5.0 section 3.3.2.3.4), each direction for itself and for one connection.

use mqtt_codec::{ByteString, Publish};
use std::collections::{BTreeMap, VecDeque};

/// The client's aliases.
#[derive(Debug, Default)]
pub(super) struct IncomingAliases {
    topics: BTreeMap<u16, ByteString>,
}

/// Why an alias can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AliasError {
    /// It is above Topic Alias Maximum ([MQTT-3.3.2-9]).
    TooLarge,
    /// It stands for nothing yet.
    Unknown,
}

impl IncomingAliases {
    pub(super) fn restore(entries: Vec<(u16, String)>) -> Self {
        Self { topics: entries.into_iter().map(|(alias, topic)| (alias, topic.into())).collect() }
    }

    pub(super) fn entries(&self) -> Vec<(u16, String)> {
        self.topics.iter().map(|(alias, topic)| (*alias, topic.to_string())).collect()
    }

    /// Puts the topic into a PUBLISH that has an alias only, or notes what its alias stands for from now on. Gives
    /// whether something was noted.
    pub(super) fn resolve(&mut self, publish: &mut Publish, maximum: u16) -> Result<bool, AliasError> {
        let Some(alias) = publish.properties.topic_alias else { return Ok(false) };
        publish.properties.topic_alias = None;
        if alias == 0 || alias > maximum {
            return Err(AliasError::TooLarge);
        }
        if publish.topic.is_empty() {
            publish.topic = self.topics.get(&alias).ok_or(AliasError::Unknown)?.clone();
            return Ok(false);
        }
        let is_new = self.topics.get(&alias) != Some(&publish.topic);
        if is_new {
            // A copy of its own: the packet's text would keep the whole frame alive.
            self.topics.insert(alias, ByteString::from(&*publish.topic));
        }
        Ok(is_new)
    }
}

/// Our aliases towards a client that allows them.
///
/// A topic gets one at once while there are any left, and then when it is sent again while it is among the last
/// [`Self::SEEN`] topics without. Aliases are given in turn, so that the oldest is replaced; one connection has 16 at
/// most, and looking through them costs less than the bytes saved.
#[derive(Debug)]
pub(super) struct OutgoingAliases {
    maximum: u16,
    /// The topic of alias 1, and so on.
    topics: Vec<ByteString>,
    /// The place in `topics` that is replaced next.
    turn: usize,
    seen: VecDeque<ByteString>,
}

/// What to do about the topic of a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alias {
    /// Send the topic.
    None,
    /// Send the topic, and the alias that stands for it from now on.
    New(u16),
    /// Send the alias instead.
    Known(u16),
}

impl OutgoingAliases {
    const SEEN: usize = 8;
    /// The property takes three bytes.
    const SHORTEST: usize = 4;

    pub(super) const fn new(maximum: u16) -> Self {
        Self { maximum, topics: Vec::new(), turn: 0, seen: VecDeque::new() }
    }

    /// What [`Self::sent`] will be told if the PUBLISH is sent.
    pub(super) fn alias(&self, topic: &ByteString) -> Alias {
        if self.maximum == 0 || topic.len() < Self::SHORTEST {
            return Alias::None;
        }
        if let Some(place) = self.topics.iter().position(|known| known == topic) {
            return u16::try_from(place + 1).map_or(Alias::None, Alias::Known);
        }
        if self.topics.len() < usize::from(self.maximum) || self.seen.contains(topic) {
            return u16::try_from(self.turn + 1).map_or(Alias::None, Alias::New);
        }
        Alias::None
    }

    /// Notes what was sent.
    pub(super) fn sent(&mut self, topic: &ByteString, alias: Alias) {
        match alias {
            Alias::Known(_) => {}
            Alias::None if self.maximum == 0 || topic.len() < Self::SHORTEST || self.seen.contains(topic) => {}
            Alias::None => {
                if self.seen.len() >= Self::SEEN {
                    self.seen.pop_front();
                }
                self.seen.push_back(topic.clone());
            }
            Alias::New(_) => {
                self.seen.retain(|seen| seen != topic);
                match self.topics.get_mut(self.turn) {
                    Some(place) => *place = topic.clone(),
                    None => self.topics.push(topic.clone()),
                }
                self.turn = (self.turn + 1) % usize::from(self.maximum.max(1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(aliases: &mut OutgoingAliases, topic: &str) -> Alias {
        let topic = ByteString::from(topic);
        let alias = aliases.alias(&topic);
        aliases.sent(&topic, alias);
        alias
    }

    #[test]
    fn a_topic_gets_one_of_the_aliases_left_and_later_when_it_comes_back_the_oldest() {
        let mut aliases = OutgoingAliases::new(2);
        for (topic, expected) in [
            ("topic/a", Alias::New(1)),
            ("topic/a", Alias::Known(1)),
            ("topic/b", Alias::New(2)),
            ("topic/c", Alias::None),
            ("topic/b", Alias::Known(2)),
            ("topic/a", Alias::Known(1)),
            ("topic/c", Alias::New(1)),
            ("topic/c", Alias::Known(1)),
            ("topic/b", Alias::Known(2)),
            ("topic/a", Alias::None),
            ("topic/a", Alias::New(2)),
            ("abc", Alias::None),
            ("abc", Alias::None),
        ] {
            assert_eq!(send(&mut aliases, topic), expected, "{topic}");
        }
    }

    #[test]
    fn a_client_that_allows_no_alias_gets_none() {
        let mut aliases = OutgoingAliases::new(0);
        for _ in 0..3 {
            assert_eq!(send(&mut aliases, "topic/a"), Alias::None);
        }
        assert!(aliases.seen.is_empty());
    }

    #[test]
    fn topics_that_seldom_come_back_replace_no_alias() {
        let mut aliases = OutgoingAliases::new(1);
        assert_eq!(send(&mut aliases, "topic"), Alias::New(1));
        for number in 0..100 {
            assert_eq!(send(&mut aliases, &format!("topic/{}", number % 9)), Alias::None);
        }
    }
}
