//! What is wrong with a request, in AWS's words.

use serde_json::{Map, Value};

/// A well-formed request: its members by their names in the model, wherever they were. Members that the model does not
/// know are left out, and so are those that are `null`.
pub type Input = Map<String, Value>;

/// Why a request is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The body is not JSON, or a value is of another type than the model says: `SerializationException`.
    Serialization(String),
    /// Values break constraints of the model: [`Operation::validation_exception`](crate::Operation::validation_exception).
    Validation(String),
}
