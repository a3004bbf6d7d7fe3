//! What Gateways, Brokers and a region's `BrokerPool` say to each other. What follows from it is `placement`'s.

use crate::address::stable_hash;
use iot_types::UnixMillis;
use serde::{Deserialize, Serialize};

/// Which build of the code somebody runs: a number made of the platform's version id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BuildId(pub u64);

impl BuildId {
    /// The number of a version id (`CF_VERSION_METADATA.id`). Builds are told apart by it, never ordered: a roll-back
    /// is a deploy like any other.
    #[must_use]
    pub fn of(version_id: &str) -> Self {
        Self(stable_hash(version_id.as_bytes()))
    }
}

/// One life of a Broker's or a Gateway's memory.
///
/// Whoever began last runs what is deployed now, so the build of the latest instance is the one to go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// What it runs.
    pub build: BuildId,
    /// When its memory began.
    pub started: UnixMillis,
}

/// How a Broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerReport {
    /// Its place in the region's pool.
    pub index: u32,
    /// Its stored epoch: a report of an earlier one comes from an instance that is over.
    pub epoch: u64,
    /// Which code it runs, and since when.
    pub instance: Instance,
    /// Open connections.
    pub connections: u32,
    /// How many it would take (`BROKER_CAPACITY`).
    pub capacity: u32,
    /// Upgrades refused because it was full, since its last report.
    pub refused_full: u32,
}

/// What a `BrokerPool` is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolRequest {
    /// By a Broker, when something has changed that matters. Answered by [`PoolReply::Directive`].
    Report(BrokerReport),
    /// By a Gateway whose view is old; its own instance tells the pool of a deploy. Answered by [`PoolReply::View`].
    View(Instance),
}

/// What a `BrokerPool` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PoolReply {
    /// To a Broker: what it is to do.
    Directive(Directive),
    /// To a Gateway: the region's Brokers.
    View(PoolView),
}

/// What a Broker is to do. A Broker that forgets it is told again with the answer to its next report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Directive {
    /// Take connections.
    Serve,
    /// Take none, and send away those there are.
    Drain(DrainOrder),
}

/// An order to send all clients elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainOrder {
    /// When the first may be told to go. Upgrades are refused from the moment the order is known.
    pub from: UnixMillis,
    /// When the last should have been told.
    pub until: UnixMillis,
    /// A Broker that runs this build already ignores the order: it was updated in its sleep.
    pub unless_build: Option<BuildId>,
}

/// A region's Brokers as its pool sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolView {
    /// Rises whenever a Broker's state changes; loads don't count.
    pub version: u64,
    /// All Brokers that there are or were, in the order of their indices.
    pub brokers: Vec<BrokerLoad>,
}

impl PoolView {
    /// Those that may have connections, which a message to all Brokers of the region has to reach.
    pub fn reachable(&self) -> impl Iterator<Item = u32> + '_ {
        self.brokers.iter().filter(|broker| broker.state != BrokerState::Retired).map(|broker| broker.index)
    }
}

/// One Broker in a [`PoolView`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerLoad {
    /// Its place in the region's pool.
    pub index: u32,
    /// Whether it takes connections.
    pub state: BrokerState,
    /// Connections in percent of its capacity, 0 to 100, as last reported.
    pub percent: u8,
}

/// Whether a Broker takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BrokerState {
    /// It takes connections.
    Active,
    /// It takes connections when no active one has room: it runs an older build and will be drained, so who is sent
    /// here has to move again.
    Leaving,
    /// It takes none, and sends away those it has.
    Draining,
    /// It has none, and is not used.
    Retired,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::BrokerRequest;
    use crate::{Reply, Request};

    const INSTANCE: Instance = Instance { build: BuildId(300), started: UnixMillis(5) };
    const ORDER: DrainOrder =
        DrainOrder { from: UnixMillis(1), until: UnixMillis(300), unless_build: Some(BuildId(7)) };

    fn report() -> BrokerReport {
        BrokerReport { index: 2, epoch: 3, instance: INSTANCE, connections: 300, capacity: 2_000, refused_full: 4 }
    }

    #[test]
    fn the_bytes_of_every_request_are_pinned() {
        for (request, expected) in [
            (Request::Pool(PoolRequest::Report(report())), "05000203ac0205ac02d00f04"),
            (Request::Pool(PoolRequest::View(INSTANCE)), "0501ac0205"),
            (Request::Broker(BrokerRequest::Pool(Directive::Serve)), "000c00"),
            (Request::Broker(BrokerRequest::Pool(Directive::Drain(ORDER))), "000c0101ac020107"),
        ] {
            let bytes = postcard::to_allocvec(&request).unwrap();
            assert_eq!(hex::encode(&bytes), expected, "{request:?}");
            assert_eq!(postcard::from_bytes::<Request>(&bytes), Ok(request));
        }
    }

    #[test]
    fn the_bytes_of_every_reply_are_pinned() {
        use BrokerState::{Active, Draining, Leaving, Retired};
        let brokers = (0..).zip([Active, Leaving, Draining, Retired]);
        let brokers = brokers.map(|(index, state)| BrokerLoad { index, state, percent: 50 }).collect();
        for (reply, expected) in [
            (Reply::Pool(PoolReply::Directive(Directive::Serve)), "0e0000"),
            (Reply::Pool(PoolReply::Directive(Directive::Drain(ORDER))), "0e000101ac020107"),
            (Reply::Pool(PoolReply::View(PoolView { version: 9, brokers })), "0e010904000032010132020232030332"),
            (Reply::BrokerReport(report()), "0f0203ac0205ac02d00f04"),
        ] {
            let bytes = postcard::to_allocvec(&reply).unwrap();
            assert_eq!(hex::encode(&bytes), expected, "{reply:?}");
            assert_eq!(postcard::from_bytes::<Reply>(&bytes), Ok(reply));
        }
    }

    #[test]
    fn builds_are_told_apart_by_their_version_ids() {
        assert_ne!(BuildId::of("a"), BuildId::of("b"));
        assert_eq!(BuildId::of("local"), BuildId(0x7194_f688_c52d_8613), "stored with a pool, so it never changes");
    }

    #[test]
    fn messages_to_all_brokers_leave_out_those_that_have_nobody() {
        let states = [BrokerState::Active, BrokerState::Retired, BrokerState::Draining, BrokerState::Leaving];
        let brokers = (0..).zip(states).map(|(index, state)| BrokerLoad { index, state, percent: 0 }).collect();
        let view = PoolView { version: 1, brokers };
        assert_eq!(view.reachable().collect::<Vec<_>>(), [0, 2, 3]);
    }
}
