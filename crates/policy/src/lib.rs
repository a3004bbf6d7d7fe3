//! AWS IoT policies: read, filled in with what is known of a client, and decided.
//!
//! In scope: the policy language with its actions, resources, wildcards, variables and conditions (AWS IoT developer
//! guide, "AWS IoT Core policies"; IAM user guide, "IAM JSON policy elements reference"), and decisions with their
//! reasons. Out of scope: which policies are attached to whom, and where the facts come from: `registry` and whoever
//! calls.
//!
//! A [`PolicyDocument`] is read once, an [`Authority`] is compiled once for each connection, and decides without
//! allocation in well under a microsecond. What can't be understood is refused when the policy is made; what nothing is
//! known of matches nothing.
//!
//! ```
//! use policy::{Action, Authority, Context, Facts, PolicyDocument};
//! # use iot_types::{AccountId, Region, Scope};
//! # let scope = Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("eu-central-1").unwrap() };
//! let document = PolicyDocument::parse(r#"{
//!     "Version": "2012-10-17",
//!     "Statement": {
//!         "Effect": "Allow",
//!         "Action": "iot:Publish",
//!         "Resource": "arn:aws:iot:*:*:topic/${iot:ClientId}/*"
//!     }
//! }"#)?;
//! let facts = Facts { client_id: Some("lamp".to_owned()), ..Facts::default() };
//! let authority = Authority::compile([("own-topics", &document)], &facts, &scope);
//! let context = Context::default();
//! assert!(authority.decide(Action::Publish, "lamp/state", &context).is_allowed());
//! assert!(!authority.decide(Action::Publish, "door/state", &context).is_allowed());
//! # Ok::<(), policy::PolicyError>(())
//! ```

mod authority;
mod condition;
mod document;
mod error;
mod facts;
mod glob;
mod template;

pub use authority::{Action, Authority, Context, Coverage, Decision, Effect, StatementNumber};
pub use document::{MAXIMUM_CHARACTERS, PolicyDocument};
pub use error::PolicyError;
pub use facts::{Facts, ThingFacts};
