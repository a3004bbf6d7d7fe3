//! The Durable Object classes: platform events in, pure machines from `crates/`, storage and calls out.
//!
//! One file for each class says what state it has, who calls it, why its handlers are atomic and what wakes it.
//! Nothing here decides anything about MQTT or AWS. The JavaScript classes in `workers/entry` own one of these each
//! and hand it every event; see ARCHITECTURE.md, "The two halves of an object".

pub mod audit;
pub mod authorities;
pub mod authorizer_call;
mod broker_object;
mod config;
pub mod custom_authorizer;
pub mod d1;
pub mod events;
pub mod failed_proofs;
mod fleet;
mod host;
pub mod indexing;
pub mod issuing;
mod jitp;
mod job_object;
mod location;
mod outgoing;
mod platform_authority;
mod pool_object;
pub mod provisioning;
pub mod queues;
pub mod registration;
pub mod requests;
mod router_object;
mod rules;
mod sessions_object;
mod sessions_store;
pub mod site;
mod storage;
mod thing_object;
pub mod web_crypto;

pub use broker_object::{AUTHORITY_KEY_LABEL, BrokerObject, GRANT_KEY_LABEL};
pub use config::{Config, ConfigError};
pub use host::{Host, ObjectStub, call_broker_api, call_object, log_line};
pub use job_object::JobObject;
pub use location::{location_hint, open};
pub use pool_object::PoolObject;
pub use router_object::RouterObject;
pub use sessions_object::SessionsObject;
pub use thing_object::ThingObject;
