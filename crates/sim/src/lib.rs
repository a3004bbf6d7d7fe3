//! A whole deployment in one thread, with a simulated clock and network, for tests only. Never shipped.
//!
//! In scope: Brokers, Router and Sessions shards as their objects run them (ticks, alarms, sleep, rows), Things and the
//! rule queue as far as Brokers see them, MQTT clients, faults, and a naive [`model`] of what clients may expect.
//! Out of scope: the domain logic itself, which is the shipped crates', and the platform's own code.
//!
//! Everything is decided by a seed: the same [`WorldSettings`] and the same calls give the same run. Events happen in
//! the order of their time and, within one millisecond, of their making.

mod client;
pub mod model;
mod node;
mod random;
mod record;
mod sabotage;
mod schedule;
mod settings;
mod shards;
pub mod workload;
mod world;

pub use client::{Client, ClientKey, ClientOptions, Granted, Overheard, Received};
pub use random::Random;
pub use record::{Publish, Stamp, Subscription};
pub use schedule::SimClock;
pub use settings::{Ceilings, Faults, Sabotage, WorldSettings};
pub use world::{Count, Load, World};
