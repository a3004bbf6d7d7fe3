//! The address book: the one place where names of Durable Objects are built.

use core::fmt;
use iot_types::{ClientId, JobId, ThingName};
use serde::{Deserialize, Serialize};

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
}

impl Class {
    /// All classes, in the order of `wrangler.toml`.
    pub const ALL: [Self; 5] = [Self::Broker, Self::Router, Self::Sessions, Self::Thing, Self::Job];

    /// The `class_name`, which is also the name of the exported JavaScript class.
    #[must_use]
    pub const fn class_name(self) -> &'static str {
        match self {
            Self::Broker => "Broker",
            Self::Router => "Router",
            Self::Sessions => "Sessions",
            Self::Thing => "Thing",
            Self::Job => "Job",
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
        }
    }

    /// The Router shard that holds a node of the topic tree, by the node's literal prefix.
    #[must_use]
    pub fn router_of_node(node: &str, shards: Shards) -> Self {
        Self::Router(shards.place(node.as_bytes()))
    }

    /// The Sessions shard that holds a client id.
    #[must_use]
    pub fn sessions_of_client(client_id: &ClientId, shards: Shards) -> Self {
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
        }
    }
}

/// A number of shards that is fixed with the first deploy: a key's shard must never move by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards(core::num::NonZeroU32);

impl Shards {
    /// At least one shard.
    #[must_use]
    pub const fn new(count: u32) -> Self {
        match core::num::NonZeroU32::new(count) {
            Some(count) => Self(count),
            None => Self(core::num::NonZeroU32::MIN),
        }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.0.get()
    }

    /// The shard of a key.
    #[must_use]
    pub fn place(self, key: &[u8]) -> u32 {
        // The remainder is below a u32, so the cast keeps every bit.
        (stable_hash(key) % u64::from(self.0.get())) as u32
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
fn stable_hash(key: &[u8]) -> u64 {
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
        ] {
            assert_eq!(address.to_string(), name);
        }
    }

    #[test]
    fn shards_of_keys_never_change() {
        let shards = Shards::new(256);
        let places: Vec<u32> =
            ["", "sensors", "sensors/sf", "client-1"].iter().map(|k| shards.place(k.as_bytes())).collect();
        assert_eq!(places, [155, 47, 110, 178]);
    }

    #[test]
    fn keys_spread_evenly_over_shards() {
        let shards = Shards::new(16);
        let mut counts = [0_u32; 16];
        for i in 0..16_000 {
            counts[shards.place(format!("client-{i}").as_bytes()) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
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
