//! Where a connection goes: regions, the pool of a region's Brokers, the order in which a Gateway tries them, what a
//! Broker lets in, and how it sends its clients elsewhere before a deploy replaces it.
//!
//! In scope:
//! - the region of a request ([`region`]);
//! - `BrokerPool` ([`pool`]): how many Brokers a region has, from what they report, and which are drained;
//! - when a Broker reports ([`report`]);
//! - the Gateway's cached view and its candidates by weighted rendezvous hashing ([`candidates`]);
//! - admission control: token buckets and the moments at which refused clients come back ([`admission`]);
//! - draining: the moment at which each connection is told to go ([`drain`]);
//! - over how many objects virtual shards are spread ([`shards`]).
//!
//! Out of scope:
//! - calls, alarms and rows: `durable-objects` stores what [`pool::Pool::take_snapshot`] gives and sends its orders;
//! - HTTP: the Gateway turns a [`admission::Refusal`] into a 503, and reads one from it;
//! - who a client is: the Gateway gives a key, and any text will do;
//! - what becomes of a session whose connection is sent elsewhere: `mqtt-session` and the `Sessions` shards.
//!
//! A region's Brokers are equals, and none of them holds anything that another connection couldn't rebuild. So every
//! decision here may be made on old knowledge: the Broker itself has the last word (it refuses), and the next view
//! mends the rest. Nothing here runs while nothing happens: an idle deployment has no alarm, no call and no row.

pub mod admission;
pub mod candidates;
pub mod drain;
mod hash;
pub mod pool;
pub mod region;
pub mod report;
pub mod settings;
pub mod shards;

/// What Gateways, Brokers and pools say to each other.
pub use messages::pool as protocol;

pub use admission::{Admission, ConnectBucket, Refusal, RefusalReason};
pub use candidates::{Candidates, Choice, Refresh, rendezvous};
pub use drain::Drain;
pub use pool::{Pool, RestoreError};
pub use region::{BrokerRegion, Origin, Regions, RegionsError};
pub use report::ReportPolicy;
pub use settings::{AdmissionSettings, GatewaySettings, PoolSettings, ReportSettings};
pub use shards::{ShardMove, plan_moves};
