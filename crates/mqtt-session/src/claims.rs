//! Who owns a client id: at most one connection in the whole platform ([MQTT-3.1.4-3]).
//!
//! One shard decides for its client ids. A claim's number is stored before anything else happens and fences every
//! later word of the connection before it. An older connection is asked to close first; only then is the new one
//! told to go on, so that a client id never has two live connections. While one claim waits, a newer one replaces it.

use iot_types::{ClientId, UnixMillis};
use messages::address::BrokerId;
use messages::broker::ConnectionId;
use messages::sessions::ClaimReply;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long an older connection may take to close before the newer one goes on without its word, in milliseconds.
pub const FENCE_MILLIS: u64 = 2_000;

/// The owner of a client id: one stored row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The Broker that has the connection.
    pub broker: BrokerId,
    /// The Broker's epoch when it claimed.
    pub epoch: u64,
    /// The connection there.
    pub connection: ConnectionId,
    /// Rises with every claim of this client id.
    pub number: u64,
}

/// What to do about a claim, in this order: store the row, then reply, then send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimEffects {
    /// The new row; it replaces the one there was.
    pub store: Holder,
    /// For the claiming Broker.
    pub reply: ClaimReply,
    /// Ask this connection to close, and report the outcome to [`Claims::fenced`].
    pub fence: Option<Holder>,
    /// Tell this earlier claim that a newer one won.
    pub refuse: Option<Holder>,
}

/// The claims of a shard that wait for an older connection to close. Soft: a lost wait is a claim that times out.
#[derive(Debug, Default)]
pub struct Claims {
    waiting: BTreeMap<ClientId, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    claimant: Holder,
    /// The number of the connection that is asked to close.
    fenced: u64,
    since: UnixMillis,
}

impl Claims {
    /// Decides a claim. `current` is the stored row of the client id.
    pub fn claim(
        &mut self,
        client_id: &ClientId,
        current: Option<Holder>,
        (broker, epoch, connection): (BrokerId, u64, ConnectionId),
        now: UnixMillis,
    ) -> ClaimEffects {
        if let Some(current) = &current
            && (&current.broker, current.epoch, current.connection) == (&broker, epoch, connection)
        {
            // The Broker repeats a claim whose reply was lost.
            let reply = match self.waiting.get(client_id) {
                Some(_) => ClaimReply::Pending,
                None => ClaimReply::Granted { number: current.number },
            };
            return ClaimEffects { store: current.clone(), reply, fence: None, refuse: None };
        }
        if let Some(current) = &current
            && current.broker == broker
            && current.epoch > epoch
        {
            // A late word of an earlier epoch, whose connections are gone: nobody waits for the answer.
            return ClaimEffects { store: current.clone(), reply: ClaimReply::Pending, fence: None, refuse: None };
        }
        // Numbers rise even when the row was forgotten in between: then the clock is ahead of any of them.
        let number = current.as_ref().map_or(0, |current| current.number + 1).max(now.0);
        let claimant = Holder { broker, epoch, connection, number };
        if let Some(waiting) = self.waiting.get_mut(client_id) {
            // The fence is on its way already; the newest claim takes the place of the one that waited.
            let refused = core::mem::replace(&mut waiting.claimant, claimant.clone());
            return ClaimEffects { store: claimant, reply: ClaimReply::Pending, fence: None, refuse: Some(refused) };
        }
        match current {
            // A Broker that starts a new epoch has no connection of an earlier one.
            Some(old) if old.broker != claimant.broker || old.epoch == claimant.epoch => {
                self.waiting
                    .insert(client_id.clone(), Waiting { claimant: claimant.clone(), fenced: old.number, since: now });
                ClaimEffects { store: claimant, reply: ClaimReply::Pending, fence: Some(old), refuse: None }
            }
            Some(_) | None => {
                ClaimEffects { reply: ClaimReply::Granted { number }, store: claimant, fence: None, refuse: None }
            }
        }
    }

    /// The older connection with this number has closed: returns the claim to grant, if one still waits for that.
    pub fn fenced(&mut self, client_id: &ClientId, number: u64) -> Option<Holder> {
        self.waiting.get(client_id).filter(|waiting| waiting.fenced == number)?;
        self.waiting.remove(client_id).map(|waiting| waiting.claimant)
    }

    /// Whether the stored row is still the one that a Broker releases by its number.
    #[must_use]
    pub fn may_release(current: Option<&Holder>, number: u64) -> bool {
        current.is_some_and(|current| current.number == number)
    }

    /// The claims that have waited long enough: grant them.
    pub fn overdue(&mut self, now: UnixMillis) -> Vec<(ClientId, Holder)> {
        let due: Vec<ClientId> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| now.millis_since(waiting.since) >= FENCE_MILLIS)
            .map(|(client_id, _)| client_id.clone())
            .collect();
        due.into_iter()
            .filter_map(|client_id| {
                let waiting = self.waiting.remove(&client_id)?;
                Some((client_id, waiting.claimant))
            })
            .collect()
    }

    /// When [`Self::overdue`] will have something to give.
    #[must_use]
    pub fn next_timeout(&self) -> Option<UnixMillis> {
        self.waiting.values().map(|waiting| waiting.since.plus_millis(FENCE_MILLIS)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> ClientId {
        ClientId::new("c").unwrap()
    }

    fn at(index: u32, epoch: u64, connection: u64) -> (BrokerId, u64, ConnectionId) {
        (BrokerId { region: "home".into(), index }, epoch, ConnectionId(connection))
    }

    #[test]
    fn a_first_claim_is_granted_at_once() {
        let effects = Claims::default().claim(&client(), None, at(0, 1, 1), UnixMillis(50));
        assert_eq!(effects.reply, ClaimReply::Granted { number: 50 });
        assert_eq!(effects.fence, None);
    }

    #[test]
    fn a_takeover_waits_until_the_older_connection_has_closed() {
        let mut claims = Claims::default();
        let first = claims.claim(&client(), None, at(0, 1, 1), UnixMillis(50)).store;
        let second = claims.claim(&client(), Some(first.clone()), at(1, 4, 9), UnixMillis(60));
        assert_eq!(second.reply, ClaimReply::Pending);
        assert_eq!(second.fence, Some(first.clone()));
        assert_eq!(claims.fenced(&client(), first.number + 1), None, "the answer to another fence");
        assert_eq!(claims.fenced(&client(), first.number), Some(second.store));
        assert_eq!(claims.fenced(&client(), first.number), None, "granted once");
    }

    #[test]
    fn the_newest_of_several_claims_wins_and_the_others_are_refused() {
        let mut claims = Claims::default();
        let first = claims.claim(&client(), None, at(0, 1, 1), UnixMillis(50)).store;
        let second = claims.claim(&client(), Some(first.clone()), at(1, 1, 1), UnixMillis(60)).store;
        let third = claims.claim(&client(), Some(second.clone()), at(2, 1, 1), UnixMillis(61));
        assert_eq!((third.reply, third.fence, third.refuse), (ClaimReply::Pending, None, Some(second)));
        assert_eq!(claims.fenced(&client(), first.number), Some(third.store));
    }

    #[test]
    fn an_older_connection_that_says_nothing_holds_a_claim_back_for_two_seconds() {
        let mut claims = Claims::default();
        let first = claims.claim(&client(), None, at(0, 1, 1), UnixMillis(0)).store;
        let second = claims.claim(&client(), Some(first), at(1, 1, 1), UnixMillis(100)).store;
        assert_eq!(claims.next_timeout(), Some(UnixMillis(2_100)));
        assert!(claims.overdue(UnixMillis(2_099)).is_empty());
        assert_eq!(claims.overdue(UnixMillis(2_100)), [(client(), second)]);
        assert_eq!(claims.next_timeout(), None);
    }

    #[test]
    fn a_repeated_claim_changes_nothing_and_hears_the_same() {
        let mut claims = Claims::default();
        let first = claims.claim(&client(), None, at(0, 1, 1), UnixMillis(50));
        let again = claims.claim(&client(), Some(first.store.clone()), at(0, 1, 1), UnixMillis(70));
        assert_eq!((again.reply, again.store), (first.reply, first.store));
    }

    #[test]
    fn a_broker_in_a_new_epoch_has_no_older_connection_to_close() {
        let mut claims = Claims::default();
        let first = claims.claim(&client(), None, at(0, 1, 1), UnixMillis(50)).store;
        let second = claims.claim(&client(), Some(first), at(0, 2, 1), UnixMillis(60));
        assert!(matches!(second.reply, ClaimReply::Granted { .. }));
        assert_eq!(second.fence, None);
    }

    #[test]
    fn a_late_claim_of_an_earlier_epoch_takes_nothing_away() {
        let mut claims = Claims::default();
        let first = claims.claim(&client(), None, at(0, 2, 1), UnixMillis(50)).store;
        let late = claims.claim(&client(), Some(first.clone()), at(0, 1, 7), UnixMillis(60));
        assert_eq!((late.store, late.fence, late.refuse), (first, None, None));
    }

    #[test]
    fn only_the_latest_number_can_release_a_client_id() {
        let holder = Claims::default().claim(&client(), None, at(0, 1, 1), UnixMillis(50)).store;
        assert!(Claims::may_release(Some(&holder), 50));
        assert!(!Claims::may_release(Some(&holder), 49));
        assert!(!Claims::may_release(None, 50));
    }

    #[test]
    fn numbers_rise_although_the_row_was_forgotten_and_the_clock_stands_still() {
        let mut claims = Claims::default();
        let first = claims.claim(&client(), None, at(0, 1, 1), UnixMillis(50)).store;
        let second = claims.claim(&client(), Some(first.clone()), at(0, 2, 1), UnixMillis(50)).store;
        assert!(second.number > first.number);
    }
}
