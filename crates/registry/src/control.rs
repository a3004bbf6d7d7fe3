//! What Brokers must learn of: the control log, and where virtual shards are.
//!
//! Each change that a Broker must know writes a row of the control log in the same D1 batch as the change. Announcing
//! it is only a hint; a Broker that missed one finds the gap by comparing the head with what it has read
//! (broker protocol, "Control changes"). A row may also stand for a change that did not happen, because the batch
//! found nothing to change: readers read the resource again and see that it is the same.

use iot_types::UnixMillis;
use serde::Deserialize;

/// What kind of resource changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// A topic rule was created, replaced, enabled, disabled or deleted; the subject is its name.
    TopicRule,
    /// Another version of a policy is in force; the subject is the policy's name.
    Policy,
    /// Policies of a principal, or its status, changed; the subject is its identifier.
    Principal,
    /// Attributes, type or groups of a thing changed; the subject is its name.
    Thing,
    /// Policies of a thing group changed; the subject is its name.
    ThingGroup,
}

impl ControlKind {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TopicRule => "topic_rule",
            Self::Policy => "policy",
            Self::Principal => "principal",
            Self::Thing => "thing",
            Self::ThingGroup => "thing_group",
        }
    }

    /// The kind of this stored name; `None` for a kind that newer code has written, which old code skips.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::TopicRule, Self::Policy, Self::Principal, Self::Thing, Self::ThingGroup]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// A change that is to be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlChange {
    /// What kind of resource.
    pub kind: ControlKind,
    /// Its name.
    pub subject: String,
    /// When.
    pub at: UnixMillis,
}

/// A row of the table `control_log`, as D1 gives it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ControlRow {
    /// 1, 2, 3 … without gaps within a partition.
    pub sequence: u64,
    /// See [`ControlKind::parse`].
    pub kind: String,
    /// The name of what changed.
    pub subject: String,
    /// Unix milliseconds.
    pub at: u64,
}

/// The newest sequence number; 0 when nothing has been logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct ControlHead {
    /// The number.
    pub sequence: u64,
}

/// A row of the table `deployment`: a fact about the deployment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct DeploymentRow {
    /// What it is.
    pub key: String,
    /// What holds.
    pub value: String,
}

/// Of what there are virtual shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardKind {
    /// The nodes of the topic tree, at Routers.
    Router,
    /// The client ids, at Sessions objects.
    Sessions,
}

impl ShardKind {
    /// As stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Sessions => "sessions",
        }
    }

    /// The key in the table `deployment` for the number of objects over which all virtual shards were last spread.
    #[must_use]
    pub const fn spread_key(self) -> &'static str {
        match self {
            Self::Router => "router_shards_spread",
            Self::Sessions => "sessions_shards_spread",
        }
    }
}

/// A row of the table `virtual_shards`: a virtual shard that is not where it was when the deployment began.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct VirtualShardRow {
    /// See [`ShardKind::as_str`].
    pub kind: String,
    /// Its number.
    pub shard: u16,
    /// The number of the object that has it.
    pub object: u32,
}

impl VirtualShardRow {
    /// Those of one kind, as `ShardMap::note_moved` takes them.
    pub fn of_kind(rows: &[Self], kind: ShardKind) -> impl Iterator<Item = (u16, u32)> + '_ {
        rows.iter().filter(move |row| row.kind == kind.as_str()).map(|row| (row.shard, row.object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_of_newer_code_is_not_understood() {
        for kind in [
            ControlKind::TopicRule,
            ControlKind::Policy,
            ControlKind::Principal,
            ControlKind::Thing,
            ControlKind::ThingGroup,
        ] {
            assert_eq!(ControlKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(ControlKind::parse("something"), None);
    }
}
