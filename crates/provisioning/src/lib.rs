//! Device provisioning without I/O: what a template asks for, what that changes, and what devices, hooks and bulk
//! registration tasks say and are told.
//!
//! In scope:
//! - provisioning templates (AWS IoT developer guide, "Provisioning templates"): read and checked when they are created
//!   ([`Template`]), evaluated with parameters ([`evaluate()`]) into a [`Plan`];
//! - what a plan changes in a thing or a certificate that is there already ([`merge`]);
//! - the MQTT operations of fleet provisioning, in JSON and in CBOR ([`fleet`]);
//! - pre-provisioning hooks: what one is told and what it may answer ([`hook`]);
//! - bulk registration tasks: lines, progress, reports, and where to go on after a crash ([`bulk`]);
//! - the parameters that a device's certificate gives just-in-time provisioning ([`jitp`]).
//!
//! Out of scope:
//! - carrying out a plan: names that exist, quotas, D1 statements are `registry`'s and `workers`';
//! - certificates: they are read and issued by `x509`, policy documents by `policy`. Here they are text;
//! - sealing and opening ownership tokens: the caller's. Here a token has a shape and nothing else.
//!
//! **Nothing explodes.** Templates are read within [`Limits`], nesting is bounded before anything recurses, and all text
//! that an evaluation makes on its way is counted against one budget.

pub mod bulk;
mod evaluate;
pub mod fleet;
pub mod hook;
pub mod jitp;
mod limits;
pub mod merge;
mod plan;
mod template;

pub use evaluate::{EvaluationError, evaluate};
pub use limits::Limits;
pub use plan::{
    AttachedStatus, CertificatePlan, CertificateSource, Override, Plan, PolicyPlan, PolicySource, ThingOverrides,
    ThingPlan,
};
pub use template::{Template, TemplateError, TemplateKind};
