//! AWS's operations without I/O: which operation a request is, whether it is valid, what it does to a record, which SQL
//! that takes, and the bytes AWS's SDKs expect back.
//!
//! In scope:
//! - the operation table and routing ([`route`]), requests parsed and validated with AWS's error names ([`ApiError`]);
//! - things: create, describe, list, update, delete ([`thing`]);
//! - certificates and their authorities, transfers, principals of things, policies, API keys, role aliases, the audit log;
//! - what a caller needs to be allowed for each operation ([`authorization`]);
//! - custom authorizers ([`mod@crate::authorizer`]): what D1 holds of them, and what TestInvokeAuthorizer asks;
//! - what D1 holds about topic rules and jobs ([`topic_rule`], [`job`]), the control log and the values fixed at the
//!   first deploy ([`control`]);
//! - the data plane's requests about messages and connections, from HTTP to what objects are asked and from what they
//!   answer to HTTP ([`data`]);
//! - fleet indexing: its configuration, requests, answers and the work of its queue ([`indexing`]);
//! - every D1 statement, each with the index that serves it ([`statements`]), and the partition it goes to.
//!
//! Out of scope:
//! - running statements, retrying them, HTTP: the `workers` crate;
//! - signatures and who may do what: `device-auth` and `policy`;
//! - publishing, retaining, connections themselves: `broker`, `routing`, `sessions`;
//! - parsing rule SQL: `rules`; rolling out jobs: `jobs`; shadows: `shadow`. Here these are names and stored bytes.
//!
//! **An operation is added** by one row in [`operation`] and one handler, usually three pure functions (parse the
//! request, decide on the stored record, shape the answer) and a statement in the catalogue.
//!
//! **One round trip.** A write is one D1 batch (one transaction) that ends by reading what is stored, and a `settle_*`
//! function then says what happened. There is no read-then-insert, so two requests cannot race between the two.

pub mod api_key;
pub mod audit;
pub mod authorization;
pub mod authorization_test;
pub mod authorizer;
pub mod billing_group;
pub mod ca_certificate;
pub mod certificate;
pub mod certificate_transfer;
pub mod control;
pub mod data;
pub mod domain_configuration;
pub mod endpoint;
mod error;
pub mod indexing;
mod input;
pub mod job;
mod limits;
pub mod operation;
mod page;
mod partition;
pub mod policy;
pub mod provisioning_template;
pub mod registry_event;
pub mod resource;
pub mod role_alias;
mod route;
pub mod setting;
pub mod statements;
pub mod tag;
pub mod thing;
pub mod thing_group;
pub mod thing_principal;
pub mod thing_type;
pub mod topic_rule;

pub use error::{ApiError, CorruptRow};
pub use input::read;
pub use limits::Limits;
pub use operation::{Operation, Plane};
pub use page::Page;
pub use partition::{Partition, Partitions};
pub use route::{RouteError, RouteMatch, route};
pub use service_model::Input;
