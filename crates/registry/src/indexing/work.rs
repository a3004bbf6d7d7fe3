//! What the queue of fleet indexing carries. Everything may come twice, late and in any order: a message says what may
//! have changed, and whoever takes it looks how it is then.

use crate::partition::{Partition, Partitions};
use crate::registry_event::{About, RegistryEvent};
use fleet_index::Index;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// The documents of these may have changed.
    Changed {
        /// Names of things.
        things: BTreeSet<String>,
        /// Names of thing groups.
        thing_groups: BTreeSet<String>,
    },
    /// A thing group or a billing group is no more: what is indexed with its name comes again, in the order of names.
    Left {
        /// The group.
        group: String,
        /// Which partition's things.
        partition: u16,
        /// Those behind this one.
        after: String,
    },
    /// All of an index.
    Walk(Walk),
}

/// A walk through everything that is in an index, or is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walk {
    /// Which index.
    pub index: Index,
    /// Which walk: the configuration that began it has the same.
    pub walk: String,
    /// How far it has come.
    pub stage: Stage,
    /// Which partition is being walked through.
    pub partition: u16,
    /// The next is behind this name.
    pub after: String,
}

/// A part of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// What is in the registry comes into the index.
    Registered,
    /// What is in the index, and not to be, leaves it.
    Indexed,
}

impl Work {
    /// That one thing may have changed.
    #[must_use]
    pub fn thing(name: &str) -> Self {
        Self::Changed { things: BTreeSet::from([name.to_owned()]), thing_groups: BTreeSet::new() }
    }

    /// What there is to do after events of the registry, for those indexes that there are.
    #[must_use]
    pub fn of_events(events: &[RegistryEvent], is_on: impl Fn(Index) -> bool) -> Vec<Self> {
        let (mut things, mut thing_groups, mut work) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for event in events {
            match &event.about {
                About::Thing(name) if is_on(Index::Things) => {
                    things.insert(name.clone());
                }
                About::ThingGroup { name, is_deleted } => {
                    if is_on(Index::ThingGroups) {
                        thing_groups.insert(name.clone());
                    }
                    if *is_deleted && is_on(Index::Things) {
                        work.push(Self::left(name));
                    }
                }
                About::Thing(_) | About::Nothing => {}
            }
        }
        if !things.is_empty() || !thing_groups.is_empty() {
            work.push(Self::Changed { things, thing_groups });
        }
        work
    }

    /// That a thing group or a billing group is no more.
    #[must_use]
    pub fn left(group: &str) -> Self {
        Self::Left { group: group.to_owned(), partition: 0, after: String::new() }
    }

    /// As a message of the queue.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Texts and numbers only, which always have a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// A message of the queue; `None` for one of a newer release.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl Walk {
    /// From the beginning. What is to have nothing in it has nothing to come into it.
    #[must_use]
    pub fn new(index: Index, walk: &str, is_on: bool) -> Self {
        let stage = if is_on { Stage::Registered } else { Stage::Indexed };
        Self { index, walk: walk.to_owned(), stage, partition: 0, after: String::new() }
    }

    /// The partition that is being walked through.
    #[must_use]
    pub fn in_partition(&self, partitions: Partitions) -> Option<Partition> {
        partitions.all().nth(self.partition.into())
    }

    /// Where the walk goes on. `last`: the last name of a page behind which there may be more. `None`: it is at its end.
    #[must_use]
    pub fn next(&self, last: Option<String>, partitions: Partitions) -> Option<Self> {
        let mut next = self.clone();
        if let Some(last) = last {
            next.after = last;
            return Some(next);
        }
        next.after = String::new();
        next.partition = self.partition.saturating_add(1);
        // Thing groups are in the first partition only.
        if self.index == Index::Things && next.in_partition(partitions).is_some() {
            return Some(next);
        }
        next.partition = 0;
        next.stage = Stage::Indexed;
        (self.stage == Stage::Registered).then_some(next)
    }
}
