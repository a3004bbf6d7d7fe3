//! Over how many objects the virtual shards are spread, and which of them move when that number changes.

use messages::address::{ShardMap, VIRTUAL_SHARDS};
use std::collections::BTreeMap;

/// A virtual shard that is to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardMove {
    /// Its number.
    pub shard: u16,
    /// The object that has it.
    pub from: u32,
    /// The object that is to have it.
    pub to: u32,
}

/// What has to move so that the objects `0..objects` share all virtual shards evenly and nobody else has any: as few as
/// possible. The same map always gives the same plan, and a map after all moves gives none, so a plan that was cut off
/// goes on where it ended.
#[must_use]
pub fn plan_moves(map: &ShardMap, objects: u16) -> Vec<ShardMove> {
    let objects = u32::from(objects.clamp(1, VIRTUAL_SHARDS));
    let all = u32::from(VIRTUAL_SHARDS);
    let mut held: BTreeMap<u32, Vec<u16>> = (0..objects).map(|object| (object, Vec::new())).collect();
    for shard in 0..VIRTUAL_SHARDS {
        held.entry(map.object(shard)).or_default().push(shard);
    }
    // Those that have most keep the few that are left over, as they need not move then.
    let mut by_load: Vec<(u32, usize)> =
        held.iter().filter(|(object, _)| **object < objects).map(|(object, shards)| (*object, shards.len())).collect();
    by_load.sort_by_key(|(object, count)| (core::cmp::Reverse(*count), *object));
    let share = |place: usize| {
        let is_larger = (place as u32) < all % objects;
        (all / objects + u32::from(is_larger)) as usize
    };
    let shares: BTreeMap<u32, usize> =
        by_load.into_iter().enumerate().map(|(place, (object, _))| (object, share(place))).collect();
    let mut surplus = Vec::new();
    let mut wanting = Vec::new();
    for (object, shards) in held {
        let share = shares.get(&object).copied().unwrap_or(0);
        surplus.extend(shards.iter().skip(share).map(|shard| (*shard, object)));
        wanting.extend(core::iter::repeat_n(object, share.saturating_sub(shards.len())));
    }
    let moves = surplus.into_iter().zip(wanting).map(|((shard, from), to)| ShardMove { shard, from, to });
    moves.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    fn after(mut map: ShardMap, moves: &[ShardMove]) -> ShardMap {
        for one in moves {
            assert_eq!(map.object(one.shard), one.from);
            map.note_moved(one.shard, one.to);
        }
        map
    }

    fn counts(map: &ShardMap) -> BTreeMap<u32, u32> {
        (0..VIRTUAL_SHARDS).fold(BTreeMap::new(), |mut counts, shard| {
            *counts.entry(map.object(shard)).or_default() += 1;
            counts
        })
    }

    #[test]
    fn an_even_spread_stays_as_it_is() {
        for objects in 1..=VIRTUAL_SHARDS {
            assert_eq!(plan_moves(&ShardMap::new(objects), objects), []);
        }
    }

    #[test]
    fn from_four_objects_to_six_a_third_moves_and_only_to_the_new_ones() {
        let moves = plan_moves(&ShardMap::new(4), 6);
        assert_eq!(moves.len(), 170 + 170);
        assert!(moves.iter().all(|one| one.from < 4 && one.to >= 4));
    }

    #[test]
    fn objects_that_are_no_longer_wanted_give_everything_away() {
        let map = after(ShardMap::new(6), &plan_moves(&ShardMap::new(6), 4));
        assert_eq!(counts(&map), (0..4).map(|object| (object, 256)).collect());
    }

    proptest! {
        #[test]
        fn a_plan_spreads_evenly_moves_as_little_as_possible_and_can_be_cut_off(
            begins in 1..40_u16,
            sizes in prop::collection::vec(1..=VIRTUAL_SHARDS, 1..4),
            done in 0..VIRTUAL_SHARDS as usize,
        ) {
            let mut map = ShardMap::new(begins);
            for objects in sizes {
                let before = counts(&map);
                let moves = plan_moves(&map, objects);
                // What is cut off goes on, without moving anything twice.
                let cut = done.min(moves.len());
                let half = after(map.clone(), &moves[..cut]);
                prop_assert_eq!(plan_moves(&half, objects).len(), moves.len() - cut);
                map = after(map, &moves);
                prop_assert_eq!(plan_moves(&map, objects), vec![]);
                let now = counts(&map);
                prop_assert!(now.keys().all(|object| *object < u32::from(objects)));
                let (least, most) = (*now.values().min().unwrap(), *now.values().max().unwrap());
                prop_assert!(now.len() == usize::from(objects) && most - least <= 1);
                let gained: u32 =
                    now.iter().map(|(object, count)| count.saturating_sub(before.get(object).copied().unwrap_or(0))).sum();
                prop_assert_eq!(gained as usize, moves.len());
            }
        }
    }
}
