//! Who owns a client id: at most one connection in the whole platform ([MQTT-3.1.4-3]).
//!
//! One shard decides for its client ids. A claim's number is stored before anything else happens and fences every
//! later word of the connection before it. An older connection is asked to close first; only then is the new one
//! told to go on, so that a client id never has two live connections. While one claim waits, a newer one replaces it.
//! The row names the older connections until they have confirmed that they are closed, so that a shard that loses its
//! memory still knows whom to ask.

use crate::client::{Client, Connection};
use iot_types::UnixMillis;
use messages::address::BrokerId;
use messages::broker::ConnectionId;
use messages::session::{Claim, DisconnectReason, Ending};
use serde::{Deserialize, Serialize};

/// The connection that a claim was made for.
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

/// A connection before the present one that may not have closed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Older {
    pub holder: Holder,
    /// When it was first asked to close, by the shard's present memory or the one before.
    pub since: UnixMillis,
    /// The connection and how it ends unless it says otherwise itself; `None` once that has been dealt with.
    pub unsettled: Option<Box<(Connection, Ending)>>,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// The Broker repeats a claim whose reply was lost.
    Repeated,
    /// It is the row's present claim now.
    New {
        /// Tell this earlier claim that a newer one won.
        refused: Option<Holder>,
        /// Ask this connection to close.
        fence: Option<Holder>,
        /// This connection is gone with its Broker's memory, and nobody has to be asked.
        gone: Option<Box<Connection>>,
    },
}

impl Client {
    /// Decides a claim. `is_gone` says whether a connection's Broker has lost it with an earlier epoch.
    pub fn claim(
        &mut self,
        (broker, epoch, connection): (BrokerId, u64, ConnectionId),
        claim: Claim,
        now: UnixMillis,
        is_gone: impl Fn(&Holder) -> bool,
    ) -> Claimed {
        if let Some(current) = &self.current
            && (&current.holder.broker, current.holder.epoch, current.holder.connection) == (&broker, epoch, connection)
        {
            return Claimed::Repeated;
        }
        // Numbers rise even when the row was forgotten in between: then the clock is ahead of any of them.
        let number = self.number.saturating_add(1).max(now.0);
        self.number = number;
        let holder = Holder { broker, epoch, connection, number };
        let before = self.current.replace(Connection::waiting(holder, claim, now));
        let (mut refused, mut fence, mut gone) = (None, None, None);
        match before {
            Some(before) if is_gone(&before.holder) => gone = before.is_granted.then(|| Box::new(before)),
            Some(before) if !before.is_granted => refused = Some(before.holder),
            Some(before) => {
                fence = Some(before.holder.clone());
                self.close(
                    before,
                    Ending { reason: DisconnectReason::DuplicateClientId, publishes_will: true, session_expiry: None },
                    now,
                );
            }
            None => {}
        }
        Claimed::New { refused, fence, gone }
    }

    /// A connection has to close: the row names it until it has.
    pub fn close(&mut self, connection: Connection, ending: Ending, now: UnixMillis) {
        const MAXIMUM_OLDER: usize = 8;
        if self.older.len() >= MAXIMUM_OLDER {
            // Their Brokers can't be reached, and each has been asked for seconds.
            self.older.remove(0);
        }
        let holder = connection.holder.clone();
        self.older.push(Older { holder, since: now, unsettled: Some(Box::new((connection, ending))) });
    }

    /// The older connection with this number has closed, in its own words if it had some. Gives what is left to do
    /// about it.
    pub fn closed(&mut self, number: u64, words: Option<&Ending>) -> Option<(Connection, Ending)> {
        let place = self.older.iter().position(|older| older.holder.number == number)?;
        let (connection, ending) = *self.older.remove(place).unsettled?;
        // What the connection says counts, but not against an administrator's word.
        let ending = match (words, ending.reason) {
            // One that the shard has closed as an administrator would says no more than it was told.
            (Some(words), DisconnectReason::ServerError) if words.reason == DisconnectReason::ApiInitiated => ending,
            (Some(words), DisconnectReason::DuplicateClientId | DisconnectReason::ServerError) => words.clone(),
            _ => ending,
        };
        Some((connection, ending))
    }

    /// Older connections that have been asked for long enough: what is left to do about each, while the row goes on to
    /// name it.
    pub fn overdue(&mut self, now: UnixMillis, fence_millis: u64) -> Vec<(Connection, Ending)> {
        let due = self.older.iter_mut().filter(|older| now.millis_since(older.since) >= fence_millis);
        due.filter_map(|older| older.unsettled.take().map(|unsettled| *unsettled)).collect()
    }

    /// Whether the present claim has to wait for an older connection.
    pub fn has_to_wait(&self) -> bool {
        self.older.iter().any(|older| older.unsettled.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use messages::session::ConnectionDetails;

    fn at(index: u32, epoch: u64, connection: u64) -> (BrokerId, u64, ConnectionId) {
        (BrokerId { region: "home".into(), index }, epoch, ConnectionId(connection))
    }

    fn facts() -> Claim {
        Claim {
            clean_start: true,
            session_expiry: 0,
            receive_maximum: 10,
            maximum_packet_size: None,
            will: None,
            details: Box::new(ConnectionDetails::default()),
        }
    }

    fn holder(client: &Client) -> Holder {
        client.current.as_ref().unwrap().holder.clone()
    }

    fn claim(client: &mut Client, from: (BrokerId, u64, ConnectionId), now: u64) -> Claimed {
        client.claim(from, facts(), UnixMillis(now), |_| false)
    }

    /// A client with a granted claim.
    fn connected(from: (BrokerId, u64, ConnectionId), now: u64) -> Client {
        let mut client = Client::default();
        claim(&mut client, from, now);
        client.current.as_mut().unwrap().is_granted = true;
        client
    }

    const AT_ONCE: Claimed = Claimed::New { refused: None, fence: None, gone: None };

    #[test]
    fn a_first_claim_waits_for_nobody() {
        let mut client = Client::default();
        assert_eq!(claim(&mut client, at(0, 1, 1), 50), AT_ONCE);
        assert_eq!(holder(&client).number, 50);
        assert!(!client.has_to_wait());
    }

    #[test]
    fn a_takeover_waits_until_the_older_connection_has_closed() {
        let mut client = connected(at(0, 1, 1), 50);
        let first = holder(&client);
        let taken = claim(&mut client, at(1, 4, 9), 60);
        assert_eq!(taken, Claimed::New { refused: None, fence: Some(first.clone()), gone: None });
        assert!(client.has_to_wait());
        assert_eq!(client.closed(first.number + 1, None), None, "the answer to another fence");
        let (connection, ending) = client.closed(first.number, None).unwrap();
        assert_eq!((connection.holder, ending.reason), (first.clone(), DisconnectReason::DuplicateClientId));
        assert!(!client.has_to_wait());
        assert_eq!(client.closed(first.number, None), None, "once");
    }

    #[test]
    fn the_newest_of_several_claims_wins_and_the_others_are_refused() {
        let mut client = connected(at(0, 1, 1), 50);
        let first = holder(&client);
        claim(&mut client, at(1, 1, 1), 60);
        let second = holder(&client);
        let third = claim(&mut client, at(2, 1, 1), 61);
        assert_eq!(third, Claimed::New { refused: Some(second), fence: None, gone: None });
        assert_eq!(client.older.len(), 1);
        assert_eq!(client.older[0].holder, first, "the row goes on to name it");
    }

    #[test]
    fn an_older_connection_that_says_nothing_holds_a_claim_back_for_two_seconds_and_stays_named() {
        let mut client = connected(at(0, 1, 1), 0);
        claim(&mut client, at(1, 1, 1), 100);
        assert!(client.overdue(UnixMillis(2_099), 2_000).is_empty());
        assert_eq!(client.overdue(UnixMillis(2_100), 2_000).len(), 1);
        assert!(!client.has_to_wait());
        assert_eq!(client.older.len(), 1);
        assert_eq!(client.closed(client.older[0].holder.number, None), None, "it has been dealt with");
        assert!(client.older.is_empty());
    }

    #[test]
    fn a_repeated_claim_changes_nothing() {
        let mut client = connected(at(0, 1, 1), 50);
        let before = client.clone();
        assert_eq!(claim(&mut client, at(0, 1, 1), 70), Claimed::Repeated);
        assert_eq!(client, before);
    }

    #[test]
    fn a_broker_in_a_new_epoch_has_no_older_connection_to_close() {
        let mut client = connected(at(0, 1, 1), 50);
        let claimed = client.claim(at(0, 2, 1), facts(), UnixMillis(60), |holder| holder.epoch < 2);
        let Claimed::New { refused: None, fence: None, gone: Some(gone) } = claimed else { panic!("{claimed:?}") };
        assert_eq!(gone.holder.number, 50);
        assert!(!client.has_to_wait());
    }

    #[test]
    fn a_claim_that_waited_on_a_broker_that_is_gone_is_not_told_so() {
        let mut client = connected(at(0, 1, 1), 50);
        claim(&mut client, at(1, 1, 1), 60);
        let claimed = client.claim(at(2, 1, 1), facts(), UnixMillis(70), |holder| holder.broker.index == 1);
        assert_eq!(claimed, AT_ONCE);
        assert!(client.has_to_wait(), "for the first");
    }

    #[test]
    fn what_a_closing_connection_says_counts_but_not_against_an_administrator() {
        use DisconnectReason::{ApiInitiated, ClientInitiated, DuplicateClientId, ServerError};
        for (reason, counts) in [(DuplicateClientId, true), (ServerError, true), (ApiInitiated, false)] {
            let mut client = connected(at(0, 1, 1), 50);
            let connection = client.current.take().unwrap();
            client.close(connection, Ending { reason, publishes_will: true, session_expiry: None }, UnixMillis(60));
            let words = Ending { reason: ClientInitiated, publishes_will: false, session_expiry: Some(9) };
            let (_, ending) = client.closed(50, Some(&words)).unwrap();
            assert_eq!(ending == words, counts, "{reason:?}");
        }
    }

    #[test]
    fn numbers_rise_although_the_row_was_forgotten_and_the_clock_stands_still() {
        let mut client = connected(at(0, 1, 1), 50);
        claim(&mut client, at(0, 2, 1), 50);
        assert_eq!(holder(&client).number, 51);
        claim(&mut client, at(0, 3, 1), 90);
        assert_eq!(holder(&client).number, 90);
    }

    #[test]
    fn connections_that_never_confirm_do_not_pile_up() {
        let mut client = Client::default();
        for connection in 0..100 {
            claim(&mut client, at(0, 1, connection), connection);
            client.current.as_mut().unwrap().is_granted = true;
        }
        assert_eq!(client.older.len(), 8);
    }
}
