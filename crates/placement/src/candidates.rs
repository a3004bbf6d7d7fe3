//! The Gateway's side: which Brokers to try for a client, from a view that may be old.
//!
//! For each upgrade: [`Candidates::refresh`], then [`Candidates::choose`]. While a Broker of the order answers 503:
//! [`Candidates::refused`], and the next one if [`Candidates::goes_on`]. When none is left and
//! [`Candidates::deserves_another_view`], fetch it and choose once more. Then 503 with
//! [`Candidates::retry_after_secs`].

use crate::admission::{Refusal, RefusalReason};
use crate::hash::{below, combine, hash};
use crate::protocol::{BrokerLoad, BrokerState, PoolView};
use crate::settings::GatewaySettings;
use iot_types::UnixMillis;
use std::collections::BTreeMap;

/// The weight of an empty Broker; see [`rendezvous`].
const WEIGHT_OF_EMPTY: u32 = 8;

/// Orders Brokers, each an index with a weight, for a key by rendezvous hashing: best first.
///
/// A Broker of weight *w* has *w* lots, and its best one counts, so it is first for *w* parts of all keys. The same key
/// has the same lots whichever others exist: one Broker more, or one weight more, moves only the keys that it takes.
#[must_use]
pub fn rendezvous(key: &str, brokers: impl IntoIterator<Item = (u32, u32)>) -> Vec<u32> {
    let key = hash(key.as_bytes());
    let mut scored: Vec<(u64, u32)> =
        brokers.into_iter().map(|(index, weight)| (score(key, index, weight), index)).collect();
    scored.sort_unstable_by(|a, b| b.cmp(a));
    scored.into_iter().map(|(_, index)| index).collect()
}

fn score(key: u64, index: u32, weight: u32) -> u64 {
    let lots = 0..u64::from(weight);
    lots.map(|lot| combine(key, u64::from(index) | lot << 32)).max().unwrap_or_default()
}

/// By the room it has, in eighths: connections never move by themselves, so a new Broker fills up with those who come,
/// and has to get more of them than the old ones.
fn weight(load: &BrokerLoad) -> u32 {
    let room = 100_u32.saturating_sub(u32::from(load.percent));
    (room * WEIGHT_OF_EMPTY).div_ceil(100).max(1)
}

/// One in so many Brokers that are busy is a flood.
const FLOODED_SHARE: usize = 4;

/// What to do about the view before using it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Nothing.
    No,
    /// Fetch another one, without waiting for it.
    Beside,
    /// Fetch another one and wait: this one is too old, or there is none.
    First,
}

/// Where a client may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Try these, in this order, until one doesn't refuse.
    Try(Vec<u32>),
    /// All are known to refuse: answer 503 with this `Retry-After`.
    Refuse {
        /// In seconds.
        retry_after_secs: u32,
    },
}

#[derive(Clone, Copy, Debug)]
struct Held {
    reason: RefusalReason,
    until: UnixMillis,
    /// When the Broker thinks it will have room.
    retry_at: UnixMillis,
}

/// What an isolate of the Gateway knows about one region.
#[derive(Clone, Debug)]
pub struct Candidates {
    settings: GatewaySettings,
    view: PoolView,
    /// When the view was asked for; `None` before the first.
    viewed: Option<UnixMillis>,
    /// A fetch that is under way.
    refreshing: Option<UnixMillis>,
    /// The last fetch that failed.
    failed: Option<UnixMillis>,
    /// A Broker said something that the view should have told.
    is_outdated: bool,
    held: BTreeMap<u32, Held>,
}

impl Candidates {
    /// Knows only that there are Brokers `0..minimum`.
    #[must_use]
    pub fn new(settings: GatewaySettings) -> Self {
        let brokers = (0..settings.minimum.max(1))
            .map(|index| BrokerLoad { index, state: BrokerState::Active, percent: 0 })
            .collect();
        Self {
            settings,
            view: PoolView { version: 0, brokers },
            viewed: None,
            refreshing: None,
            failed: None,
            is_outdated: false,
            held: BTreeMap::new(),
        }
    }

    /// What is known, for messages to all Brokers of the region.
    #[must_use]
    pub const fn view(&self) -> &PoolView {
        &self.view
    }

    /// Whether the view has to be fetched. Unless the answer is *no*, [`Self::refresh_begun`] follows.
    #[must_use]
    pub fn refresh(&self, now: UnixMillis) -> Refresh {
        let settings = &self.settings;
        if self.refreshing.is_some_and(|at| now.millis_since(at) < settings.refresh_timeout_millis) {
            return Refresh::No;
        }
        // A pool that can't be reached is left in peace, and what is known is used.
        if self.failed.is_some_and(|at| now.millis_since(at) < settings.early_refresh_millis) {
            return Refresh::No;
        }
        let Some(viewed) = self.viewed else { return Refresh::First };
        let age = now.millis_since(viewed);
        if age >= settings.usable_for_millis {
            Refresh::First
        } else if age >= settings.fresh_for_millis || self.is_outdated && age >= settings.early_refresh_millis {
            Refresh::Beside
        } else {
            Refresh::No
        }
    }

    /// When nobody took a client: whether the view is to blame, and not so young that another would say the same. Then
    /// one is fetched ([`Self::refresh_begun`]) and the client is given a second choice. Without it, each isolate that
    /// rests between two clients would refuse one for each thing it has missed.
    #[must_use]
    pub fn deserves_another_view(&self, now: UnixMillis) -> bool {
        self.is_outdated && self.refresh(now) != Refresh::No
    }

    /// The pool is being asked.
    pub const fn refresh_begun(&mut self, now: UnixMillis) {
        self.refreshing = Some(now);
    }

    /// It answered.
    pub fn refreshed(&mut self, now: UnixMillis, view: PoolView) {
        let asked = self.refreshing.take().unwrap_or(now);
        self.failed = None;
        if view.version < self.view.version && self.viewed.is_some_and(|at| at > asked) {
            return;
        }
        (self.view, self.viewed, self.is_outdated) = (view, Some(asked), false);
        // Whether a Broker is full or drained, the view says. Whether it is busy, only the Broker knows.
        self.held.retain(|_, held| held.reason == RefusalReason::Busy && held.until > now);
    }

    /// It can't be reached.
    pub const fn refresh_failed(&mut self, now: UnixMillis) {
        self.refreshing = None;
        self.failed = Some(now);
    }

    /// Whether so many Brokers are busy that it isn't about one of them: everybody comes at once.
    ///
    /// Then what the view says of loads is over, since the connections it counts are those that come back; all Brokers
    /// are equal again. And to try one after the other would only multiply the calls.
    fn is_flooded(&self, now: UnixMillis) -> bool {
        let busy = |held: &&Held| held.reason == RefusalReason::Busy && held.until > now;
        let taking = |load: &&BrokerLoad| matches!(load.state, BrokerState::Active | BrokerState::Leaving);
        let busy = self.held.values().filter(busy).count();
        busy > 1 && busy * FLOODED_SHARE >= self.view.brokers.iter().filter(taking).count()
    }

    /// After a refusal ([`Self::refused`]): whether to try this Broker, the next of the order, or to give up.
    #[must_use]
    pub fn goes_on(&self, now: UnixMillis, refusal: Refusal, next: u32) -> bool {
        self.allows(now, next) && !(refusal.reason == RefusalReason::Busy && self.is_flooded(now))
    }

    fn allows(&self, now: UnixMillis, index: u32) -> bool {
        self.held.get(&index).is_none_or(|held| held.until <= now)
    }

    /// The Brokers for a client: by its certificate, user or client id, whatever is known first; else by a random text.
    #[must_use]
    pub fn choose(&self, now: UnixMillis, key: &str) -> Choice {
        let is_flooded = self.is_flooded(now);
        let of = |state: BrokerState, is_full: bool| {
            let brokers = self.view.brokers.iter().filter(move |load| load.state == state);
            brokers
                .filter(move |load| (load.percent >= 100 && !is_flooded) == is_full && self.allows(now, load.index))
                .map(move |load| (load.index, if is_flooded { 1 } else { weight(load) }))
        };
        // The view may be behind: a Broker that was full is asked, but last.
        let mut order = rendezvous(key, of(BrokerState::Active, false));
        for (state, is_full) in
            [(BrokerState::Leaving, false), (BrokerState::Active, true), (BrokerState::Leaving, true)]
        {
            if order.len() < self.settings.tries {
                order.extend(rendezvous(key, of(state, is_full)));
            }
        }
        order.truncate(self.settings.tries);
        if order.is_empty() {
            return Choice::Refuse { retry_after_secs: self.retry_after_secs(now, key) };
        }
        Choice::Try(order)
    }

    /// A Broker refused.
    pub fn refused(&mut self, now: UnixMillis, index: u32, refusal: Refusal) {
        self.is_outdated |= refusal.reason != RefusalReason::Busy;
        let held = Held {
            reason: refusal.reason,
            until: now.plus_millis(u64::from(refusal.hold_millis)),
            retry_at: now.plus_secs(u64::from(refusal.retry_after_secs)),
        };
        // One entry for each Broker of the region at most.
        self.held.insert(index, held);
    }

    /// `Retry-After` for a client that nobody takes, in seconds: not before the first Broker thinks to have room, and
    /// from then on spread by the key and the time, so that those who come together don't come back together.
    #[must_use]
    pub fn retry_after_secs(&self, now: UnixMillis, key: &str) -> u32 {
        let room_in = self.held.values().map(|held| held.retry_at.millis_since(now)).min().unwrap_or_default();
        // The longer the backlog, the more there are who wait as well.
        let window = self.settings.spread_millis.max(room_in);
        let jitter = below(combine(hash(key.as_bytes()), now.0), window);
        let secs = room_in.saturating_add(jitter).div_ceil(1_000).max(1);
        u32::try_from(secs).unwrap_or(u32::MAX).min(self.settings.longest_retry_secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: Refusal = Refusal { reason: RefusalReason::Busy, retry_after_secs: 7, hold_millis: 1_000 };
    const FULL: Refusal = Refusal { reason: RefusalReason::Full, retry_after_secs: 10, hold_millis: 5_000 };

    fn view(brokers: &[(BrokerState, u8)]) -> PoolView {
        let brokers =
            (0..).zip(brokers).map(|(index, (state, percent))| BrokerLoad { index, state: *state, percent: *percent });
        PoolView { version: 1, brokers: brokers.collect() }
    }

    fn with(view: PoolView) -> Candidates {
        let mut candidates = Candidates::new(GatewaySettings::STANDARD);
        candidates.refresh_begun(UnixMillis(0));
        candidates.refreshed(UnixMillis(0), view);
        candidates
    }

    fn order(candidates: &Candidates, now: u64, key: &str) -> Vec<u32> {
        match candidates.choose(UnixMillis(now), key) {
            Choice::Try(order) => order,
            Choice::Refuse { .. } => Vec::new(),
        }
    }

    #[test]
    fn one_more_broker_moves_only_the_keys_it_takes() {
        let mut moved = 0;
        for i in 0..5_000 {
            let key = format!("client-{i}");
            let (before, after) = (rendezvous(&key, (0..9).map(|i| (i, 4))), rendezvous(&key, (0..10).map(|i| (i, 4))));
            let without: Vec<u32> = after.iter().copied().filter(|index| *index != 9).collect();
            assert_eq!(before, without, "the others keep their order");
            moved += u32::from(after[0] == 9);
        }
        assert!((420..580).contains(&moved), "about a tenth: {moved}");
    }

    #[test]
    fn keys_are_shared_out_by_weight() {
        let mut counts = [0_u32; 4];
        for i in 0..10_000 {
            counts[rendezvous(&format!("client-{i}"), [(0, 1), (1, 1), (2, 2), (3, 4)])[0] as usize] += 1;
        }
        for (count, expected) in counts.into_iter().zip([1_250, 1_250, 2_500, 5_000]) {
            assert!(count.abs_diff(expected) < 200, "{counts:?}");
        }
    }

    #[test]
    fn only_brokers_that_take_connections_are_tried_and_the_best_first() {
        use BrokerState::{Active, Draining, Leaving, Retired};
        let candidates =
            with(view(&[(Draining, 0), (Retired, 0), (Leaving, 10), (Active, 100), (Active, 99), (Leaving, 100)]));
        for i in 0..100 {
            assert_eq!(order(&candidates, 0, &format!("client-{i}")), [4, 2, 3]);
        }
    }

    #[test]
    fn a_broker_that_refused_is_left_in_peace_for_as_long_as_it_said() {
        let mut candidates = with(view(&[(BrokerState::Active, 50); 3]));
        let first = order(&candidates, 0, "k")[0];
        candidates.refused(UnixMillis(0), first, BUSY);
        assert!(!order(&candidates, 999, "k").contains(&first));
        assert_eq!(order(&candidates, 1_000, "k")[0], first);
    }

    #[test]
    fn when_all_refuse_clients_are_told_moments_that_spread() {
        let mut candidates = with(view(&[(BrokerState::Active, 50); 3]));
        for index in 0..3 {
            candidates.refused(UnixMillis(0), index, BUSY);
        }
        let mut counts = BTreeMap::new();
        for i in 0..2_000 {
            let Choice::Refuse { retry_after_secs } = candidates.choose(UnixMillis(500), &format!("client-{i}")) else {
                panic!("tried");
            };
            *counts.entry(retry_after_secs).or_insert(0_u32) += 1;
        }
        assert_eq!((*counts.keys().next().unwrap(), *counts.keys().last().unwrap()), (7, 27));
        assert!(counts.values().all(|count| *count < 150), "{counts:?}");
        let (a, b) = (UnixMillis(500), UnixMillis(501));
        assert_eq!(candidates.retry_after_secs(a, "k"), candidates.retry_after_secs(a, "k"));
        assert!((0..20).any(|i| {
            let key = format!("client-{i}");
            candidates.retry_after_secs(a, &key) != candidates.retry_after_secs(b, &key)
        }));
    }

    #[test]
    fn views_are_fetched_when_they_are_old_or_wrong_and_by_one_at_a_time() {
        let mut candidates = Candidates::new(GatewaySettings::STANDARD);
        assert_eq!(candidates.refresh(UnixMillis(0)), Refresh::First);
        candidates.refresh_begun(UnixMillis(0));
        assert_eq!(candidates.refresh(UnixMillis(100)), Refresh::No, "under way");
        assert_eq!(candidates.refresh(UnixMillis(5_000)), Refresh::First, "lost");
        candidates.refreshed(UnixMillis(200), view(&[(BrokerState::Active, 0)]));
        for (now, refresh) in [(14_999, Refresh::No), (15_000, Refresh::Beside), (600_000, Refresh::First)] {
            assert_eq!(candidates.refresh(UnixMillis(now)), refresh, "{now}");
        }
        candidates.refused(UnixMillis(1_000), 0, BUSY);
        assert_eq!(candidates.refresh(UnixMillis(6_000)), Refresh::No, "a view says nothing of being busy");
        candidates.refused(UnixMillis(1_000), 0, FULL);
        assert_eq!(candidates.refresh(UnixMillis(4_999)), Refresh::No);
        assert_eq!(candidates.refresh(UnixMillis(5_000)), Refresh::Beside);
        candidates.refresh_begun(UnixMillis(5_000));
        candidates.refresh_failed(UnixMillis(5_100));
        assert_eq!(candidates.refresh(UnixMillis(9_000)), Refresh::No);
        assert_eq!(candidates.refresh(UnixMillis(10_100)), Refresh::Beside);
    }

    #[test]
    fn a_new_view_forgets_who_was_full_and_keeps_who_is_busy() {
        let mut candidates = with(view(&[(BrokerState::Active, 50); 2]));
        candidates.refused(UnixMillis(0), 0, FULL);
        candidates.refused(UnixMillis(0), 1, BUSY);
        assert_eq!(order(&candidates, 100, "k"), Vec::<u32>::new());
        candidates.refreshed(UnixMillis(200), view(&[(BrokerState::Active, 50); 2]));
        assert_eq!(order(&candidates, 300, "k"), [0]);
    }

    #[test]
    fn a_flood_is_not_passed_from_broker_to_broker() {
        let mut candidates = with(view(&[(BrokerState::Active, 50); 8]));
        candidates.refused(UnixMillis(0), 0, BUSY);
        assert!(candidates.goes_on(UnixMillis(0), BUSY, 3), "one that is busy is one that was lost");
        assert!(!candidates.goes_on(UnixMillis(0), BUSY, 0), "it has refused already");
        candidates.refused(UnixMillis(0), 1, BUSY);
        assert!(!candidates.goes_on(UnixMillis(0), BUSY, 3), "a quarter is a flood");
        assert!(candidates.goes_on(UnixMillis(0), FULL, 3), "to be full is no flood");
        assert!(candidates.goes_on(UnixMillis(1_000), BUSY, 3), "it is over");
    }

    #[test]
    fn whom_an_old_view_misled_gets_another() {
        let mut candidates = with(view(&[(BrokerState::Active, 50); 3]));
        candidates.refused(UnixMillis(9_000), 0, BUSY);
        assert!(!candidates.deserves_another_view(UnixMillis(9_000)));
        candidates.refused(UnixMillis(9_000), 0, FULL);
        assert!(candidates.deserves_another_view(UnixMillis(9_000)));
        candidates.refresh_begun(UnixMillis(9_000));
        assert!(!candidates.deserves_another_view(UnixMillis(9_000)), "one at a time");
        candidates.refreshed(UnixMillis(9_050), view(&[(BrokerState::Active, 50); 3]));
        candidates.refused(UnixMillis(9_100), 0, FULL);
        assert!(!candidates.deserves_another_view(UnixMillis(9_100)), "it would say the same");
    }

    #[test]
    fn without_a_pool_the_first_brokers_are_tried() {
        let mut found = order(&Candidates::new(GatewaySettings::STANDARD), 0, "k");
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2]);
    }
}
