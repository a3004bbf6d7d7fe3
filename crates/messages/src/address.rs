//! The address book: the one place where names of Durable Objects are built.

use core::fmt;
use iot_types::{ClientId, JobId, ThingName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Where a Durable Object lives: its class and the name within it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Address {
    /// `broker/{region}/{index}`: an MQTT server node.
    Broker(BrokerId),
    /// `router/{shard}`: a shard of the topic tree.
    Router(u32),
    /// `sessions/{shard}`: a shard of the client ids.
    Sessions(u32),
    /// `thing/{thingName}`: shadows and job executions of one thing.
    Thing(ThingName),
    /// `job/{jobId}`: one job.
    Job(JobId),
    /// `pool/{region}`: the pool of a region's Brokers.
    Pool(String),
}

/// One of a region's Brokers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BrokerId {
    /// The region the Broker was opened in, for example `home`.
    pub region: String,
    /// Its place in the region's pool.
    pub index: u32,
}

/// A Durable Object class, as `wrangler.toml` names its binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// `Broker`.
    Broker,
    /// `Router`.
    Router,
    /// `Sessions`.
    Sessions,
    /// `Thing`.
    Thing,
    /// `Job`.
    Job,
    /// `BrokerPool`.
    BrokerPool,
}

impl Class {
    /// All classes, in the order of `wrangler.toml`.
    pub const ALL: [Self; 6] = [Self::Broker, Self::Router, Self::Sessions, Self::Thing, Self::Job, Self::BrokerPool];

    /// The `class_name`, which is also the name of the exported JavaScript class.
    #[must_use]
    pub const fn class_name(self) -> &'static str {
        match self {
            Self::Broker => "Broker",
            Self::Router => "Router",
            Self::Sessions => "Sessions",
            Self::Thing => "Thing",
            Self::Job => "Job",
            Self::BrokerPool => "BrokerPool",
        }
    }

    /// The binding's name.
    #[must_use]
    pub const fn binding(self) -> &'static str {
        match self {
            Self::Broker => "BROKER",
            Self::Router => "ROUTER",
            Self::Sessions => "SESSIONS",
            Self::Thing => "THING",
            Self::Job => "JOB",
            Self::BrokerPool => "BROKER_POOL",
        }
    }
}

impl Address {
    /// The class that the address belongs to.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::Broker(_) => Class::Broker,
            Self::Router(_) => Class::Router,
            Self::Sessions(_) => Class::Sessions,
            Self::Thing(_) => Class::Thing,
            Self::Job(_) => Class::Job,
            Self::Pool(_) => Class::BrokerPool,
        }
    }

    /// The Router shard that holds a node of the topic tree, by the node's literal prefix.
    #[must_use]
    pub fn router_of_node(node: &str, shards: &ShardMap) -> Self {
        Self::Router(shards.place(node.as_bytes()))
    }

    /// The Sessions shard that holds a client id.
    #[must_use]
    pub fn sessions_of_client(client_id: &ClientId, shards: &ShardMap) -> Self {
        Self::Sessions(shards.place(client_id.as_str().as_bytes()))
    }
}

impl fmt::Display for Address {
    /// The object's name, which `idFromName` turns into its id. Changing it loses the object.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(broker) => write!(f, "broker/{}/{}", broker.region, broker.index),
            Self::Router(shard) => write!(f, "router/{shard}"),
            Self::Sessions(shard) => write!(f, "sessions/{shard}"),
            Self::Thing(name) => write!(f, "thing/{name}"),
            Self::Job(id) => write!(f, "job/{id}"),
            Self::Pool(region) => write!(f, "pool/{region}"),
        }
    }
}

/// How many virtual shards there are of each kind. Fixed for ever: a key's virtual shard is its hash.
pub const VIRTUAL_SHARDS: u16 = 1024;

/// How many objects of each kind share the virtual shards when a deployment begins. Fixed for ever: it says where a
/// virtual shard is that nobody has moved.
pub const INITIAL_OBJECTS: u16 = 4;

/// Which object has which virtual shard.
///
/// Deployments begin with few objects that share the virtual shards evenly, and grow by moving some to new objects.
/// What was moved is stored in D1 and told by the object that had it (`Refusal::Moved`), so a map that is out of date
/// costs a call and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardMap {
    count: core::num::NonZeroU16,
    moved: BTreeMap<u16, u32>,
}

impl ShardMap {
    /// A map in which nothing has moved: `count` objects, at least one and no more than [`VIRTUAL_SHARDS`].
    #[must_use]
    pub fn new(count: u16) -> Self {
        let count = core::num::NonZeroU16::new(count.min(VIRTUAL_SHARDS)).unwrap_or(core::num::NonZeroU16::MIN);
        Self { count, moved: BTreeMap::new() }
    }

    /// The map of every deployment when it begins.
    #[must_use]
    pub fn initial() -> Self {
        Self::new(INITIAL_OBJECTS)
    }

    /// How many objects there were at first.
    #[must_use]
    pub const fn count(&self) -> u16 {
        self.count.get()
    }

    /// The virtual shard of a key.
    #[must_use]
    pub fn virtual_shard(key: &[u8]) -> u16 {
        // The remainder is below 1 024, so the cast keeps every bit.
        (stable_hash(key) % u64::from(VIRTUAL_SHARDS)) as u16
    }

    /// The object that has a virtual shard.
    #[must_use]
    pub fn object(&self, shard: u16) -> u32 {
        let initially = u32::from(shard % VIRTUAL_SHARDS) * u32::from(self.count.get()) / u32::from(VIRTUAL_SHARDS);
        self.moved.get(&shard).copied().unwrap_or(initially)
    }

    /// The object that has a key's virtual shard.
    #[must_use]
    pub fn place(&self, key: &[u8]) -> u32 {
        self.object(Self::virtual_shard(key))
    }

    /// Notes that a virtual shard has moved.
    pub fn note_moved(&mut self, shard: u16, to: u32) {
        self.moved.insert(shard % VIRTUAL_SHARDS, to);
    }

    /// Takes over from a table which virtual shards have moved. What an object has said of one is not replaced: the table
    /// may be older.
    pub fn note_table(&mut self, moved: impl IntoIterator<Item = (u16, u32)>) {
        for (shard, to) in moved {
            self.moved.entry(shard % VIRTUAL_SHARDS).or_insert(to);
        }
    }

    /// All objects, in ascending order.
    #[must_use]
    pub fn objects(&self) -> BTreeSet<u32> {
        (0..u32::from(self.count.get())).chain(self.moved.values().copied()).collect()
    }
}

/// Orders Brokers for a key by rendezvous hashing: the same key prefers the same Brokers, whichever others exist.
///
/// The first is where a connection goes; when it is full, the next.
#[must_use]
pub fn brokers_by_preference(key: &str, region: &str, count: u32) -> Vec<BrokerId> {
    let mut scored: Vec<(u64, u32)> = (0..count)
        .map(|index| {
            let mut seed = Vec::with_capacity(key.len() + 5);
            seed.extend_from_slice(&index.to_be_bytes());
            seed.push(0);
            seed.extend_from_slice(key.as_bytes());
            (stable_hash(&seed), index)
        })
        .collect();
    scored.sort_unstable_by(|a, b| b.cmp(a));
    scored.into_iter().map(|(_, index)| BrokerId { region: region.to_owned(), index }).collect()
}

/// FNV-1a with an avalanche at the end. Placement of stored state depends on it, so it is spelt out here and pinned
/// by a test instead of being left to a library's next version.
#[must_use]
pub fn stable_hash(key: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in key {
        hash ^= u64::from(*byte);
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
    }
    // The finaliser of SplitMix64: without it, short keys leave the high bits almost alone.
    hash ^= hash >> 30;
    hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^= hash >> 27;
    hash = hash.wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects_never_change() {
        let broker = BrokerId { region: "home".into(), index: 2 };
        for (address, name) in [
            (Address::Broker(broker), "broker/home/2"),
            (Address::Router(3), "router/3"),
            (Address::Sessions(0), "sessions/0"),
            (Address::Thing(ThingName::new("lamp:1").unwrap()), "thing/lamp:1"),
            (Address::Job(JobId::new("update-7").unwrap()), "job/update-7"),
            (Address::Pool("weur".into()), "pool/weur"),
        ] {
            assert_eq!(address.to_string(), name);
        }
    }

    #[test]
    fn virtual_shards_of_keys_never_change() {
        let places: Vec<u16> =
            ["", "sensors", "sensors/sf", "client-1"].map(|key| ShardMap::virtual_shard(key.as_bytes())).to_vec();
        assert_eq!(places, [155, 559, 622, 178]);
    }

    #[test]
    fn keys_spread_evenly_over_any_number_of_objects() {
        for count in [1, 3, 16, 1_000] {
            let shards = ShardMap::new(count);
            let mut counts = vec![0_u32; usize::from(count)];
            for shard in 0..VIRTUAL_SHARDS {
                counts[shards.object(shard) as usize] += 1;
            }
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(most - least <= 1, "{count}: {least} to {most}");
        }
    }

    #[test]
    fn a_moved_shard_is_where_it_was_moved_to_and_no_other_is() {
        let mut shards = ShardMap::new(4);
        let before: Vec<u32> = (0..VIRTUAL_SHARDS).map(|shard| shards.object(shard)).collect();
        shards.note_moved(7, 9);
        for shard in 0..VIRTUAL_SHARDS {
            let expected = if shard == 7 { 9 } else { before[usize::from(shard)] };
            assert_eq!(shards.object(shard), expected);
        }
        assert_eq!(shards.objects().into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 9]);
    }

    #[test]
    fn one_more_broker_moves_only_the_keys_it_takes() {
        let moved = (0..1000)
            .filter(|i| {
                let key = format!("client-{i}");
                let (before, after) = (brokers_by_preference(&key, "home", 4), brokers_by_preference(&key, "home", 5));
                if before[0] != after[0] {
                    assert_eq!(after[0].index, 4, "only the new Broker takes keys");
                    return true;
                }
                false
            })
            .count();
        assert!((120..280).contains(&moved), "about a fifth moves: {moved}");
    }
}
