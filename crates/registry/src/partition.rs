//! Which D1 database holds what.

use core::num::NonZeroU16;
use iot_types::ThingName;

/// One D1 database of the registry, the binding `REGISTRY_{n}`.
///
/// The partition is the database, not a column: a statement goes to exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u16);

impl Partition {
    /// Holds everything that is not a thing (rules, jobs, deployment values), and the things of a small registry.
    pub const FIRST: Self = Self(0);

    /// The number in the binding's name.
    #[must_use]
    pub const fn index(self) -> u16 {
        self.0
    }
}

/// How many databases the registry has. Fixed at the first deploy: a thing's partition follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partitions(NonZeroU16);

impl Partitions {
    /// A single database: up to 10 GB, some ten million things.
    pub const ONE: Self = Self(NonZeroU16::MIN);

    /// `count` databases.
    #[must_use]
    pub const fn new(count: NonZeroU16) -> Self {
        Self(count)
    }

    /// Where the thing of this name lives, whether it exists or not.
    #[must_use]
    pub fn of(self, thing_name: &ThingName) -> Partition {
        let hash = fnv_1a(thing_name.as_str().as_bytes());
        // The remainder is below a u16, so the conversion cannot fail.
        Partition(u16::try_from(hash % u64::from(self.0.get())).unwrap_or(0))
    }

    /// All of them: a list asks each for a page and merges.
    pub fn all(self) -> impl Iterator<Item = Partition> {
        (0..self.0.get()).map(Partition)
    }
}

/// FNV-1a, 64 bits: where things are stored depends on it, so it may never change.
fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // Test vectors of the FNV reference code.
        assert_eq!(fnv_1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv_1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv_1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn things_spread_over_all_partitions_and_stay_where_they_are() {
        let partitions = Partitions::new(NonZeroU16::new(4).unwrap());
        let mut counts = [0_u32; 4];
        for n in 0..4_000 {
            let partition = partitions.of(&ThingName::new(format!("sensor-{n}")).unwrap());
            counts[usize::from(partition.index())] += 1;
        }
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
        assert_eq!(partitions.of(&ThingName::new("lamp").unwrap()).index(), 3);
        assert_eq!(Partitions::ONE.of(&ThingName::new("lamp").unwrap()), Partition::FIRST);
    }
}
