//! Custom authorizers without I/O: a function of the operator's says who a client is and what it may do (AWS IoT
//! developer guide, "Custom authentication and authorization").
//!
//! In scope:
//! - how a client asks for an authorizer, in HTTP headers, a query or the MQTT user name ([`Invocation`]);
//! - which function an authorizer has ([`AuthorizerFunction`]), and the keys that tokens are signed with
//!   ([`SigningKeys`], [`check_token`]);
//! - what the function is told ([`Event`]) and what it may answer ([`Answer`]).
//!
//! Out of scope:
//! - authorizers as they are stored, and AWS's operations on them: `registry`;
//! - calling the function: the Worker, within [`TIMEOUT_MILLIS`] and without reading more than [`MAXIMUM_ANSWER_BYTES`];
//! - policies: their documents are texts here, which the caller lets the crate `policy` read; when the function is asked again: the Broker.

mod answer;
mod call;
mod event;
mod function;
mod invocation;
mod signing;

pub use answer::{
    Answer, AnswerError, Authorized, LONGEST_SECS, MAXIMUM_ANSWER_BYTES, MAXIMUM_POLICY_DOCUMENTS, SHORTEST_SECS,
};
pub use call::CallError;
pub use event::{Event, Http, Mqtt};
pub use function::{AuthorizerFunction, FunctionError, MAXIMUM_FUNCTION_CHARACTERS, Webhook};
pub use invocation::{Invocation, InvocationError, MAXIMUM_INVOCATION_BYTES, NAME_KEY, SIGNATURE_KEY};
pub use signing::{
    CheckedToken, MAXIMUM_SIGNING_KEYS, SigningKeyError, SigningKeys, SigningPolicy, TokenError, check_token,
};

/// How long the function may take, its whole answer included, in milliseconds (AWS IoT developer guide, "Creating and
/// managing custom authorizers").
pub const TIMEOUT_MILLIS: u32 = 5_000;
