//! What the function may answer (AWS IoT developer guide, "Defining your Lambda function").

use core::fmt::Display;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The longest answer that is read: ten documents of 2,048 characters that are not white space, with as much of it and
/// as many escapes as one likes.
pub const MAXIMUM_ANSWER_BYTES: usize = 64 * 1_024;
/// Most policy documents.
pub const MAXIMUM_POLICY_DOCUMENTS: usize = 10;
/// Shortest time until the function is asked again or the client disconnected, in seconds.
pub const SHORTEST_SECS: u32 = 300;
/// Longest time until the function is asked again or the client disconnected, in seconds: a day.
pub const LONGEST_SECS: u32 = 86_400;

const MAXIMUM_PRINCIPAL_CHARACTERS: usize = 128;

/// What the function says of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It may not come in (`isAuthenticated` is false).
    Denied,
    /// It may.
    Authorized(Authorized),
}

/// Who a client is and what it may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorized {
    /// 1 to 128 letters and digits.
    pub principal_id: String,
    /// When the client is disconnected, in seconds from now, between [`SHORTEST_SECS`] and [`LONGEST_SECS`].
    pub disconnect_after_secs: u32,
    /// When the function is asked again, likewise.
    pub refresh_after_secs: u32,
    /// Documents that were found to be good, [`MAXIMUM_POLICY_DOCUMENTS`] at most.
    pub policy_documents: Vec<String>,
}

/// What the function did wrong. Fit for who wrote it, in TestInvokeAuthorizer and in the log; clients that are refused
/// for it are not told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// [`MAXIMUM_ANSWER_BYTES`].
    #[error("the function's answer has more than {MAXIMUM_ANSWER_BYTES} bytes")]
    TooLarge,
    /// Not JSON.
    #[error("the function's answer is not valid JSON: {reason}")]
    Json {
        /// Where and what.
        reason: String,
    },
    /// JSON, but no object.
    #[error("the function's answer is not a JSON object")]
    NotAnObject,
    /// A member that has to be there.
    #[error("the function's answer has no {member}")]
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// A member of another type.
    #[error("{member} of the function's answer is not {wanted}")]
    Type {
        /// Its name.
        member: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// A `principalId` with other characters or another length.
    #[error("principalId of the function's answer must match [a-zA-Z0-9]{{1,{MAXIMUM_PRINCIPAL_CHARACTERS}}}")]
    PrincipalId,
    /// A time that is too short or too long.
    #[error("{member} of the function's answer must be between {SHORTEST_SECS} and {LONGEST_SECS}, not {value}")]
    Seconds {
        /// Its name.
        member: &'static str,
        /// What the function said.
        value: i64,
    },
    /// [`MAXIMUM_POLICY_DOCUMENTS`].
    #[error("policyDocuments of the function's answer has {count} documents, more than {MAXIMUM_POLICY_DOCUMENTS}")]
    DocumentCount {
        /// How many there are.
        count: usize,
    },
    /// A policy document that is malformed or too long.
    #[error("document {number} of policyDocuments of the function's answer: {reason}")]
    Document {
        /// Which, the first being 1.
        number: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl Answer {
    /// Reads an answer. Members that AWS does not know are ignored. `read_policy` is `PolicyDocument::parse` of the crate
    /// `policy`, which belongs to a higher layer; it also sees to the length of documents.
    ///
    /// # Errors
    /// [`AnswerError`]: the client is refused.
    pub fn parse<T, E: Display>(body: &[u8], read_policy: impl Fn(&str) -> Result<T, E>) -> Result<Self, AnswerError> {
        if body.len() > MAXIMUM_ANSWER_BYTES {
            return Err(AnswerError::TooLarge);
        }
        let value = serde_json::from_slice(body).map_err(|error| AnswerError::Json { reason: error.to_string() })?;
        let Value::Object(answer) = value else { return Err(AnswerError::NotAnObject) };
        let is_authenticated = member(&answer, "isAuthenticated")?;
        let is_authenticated =
            is_authenticated.as_bool().ok_or(AnswerError::Type { member: "isAuthenticated", wanted: "a Boolean" })?;
        // Functions that refuse leave the rest out, or fill in something.
        if !is_authenticated {
            return Ok(Self::Denied);
        }
        Ok(Self::Authorized(Authorized {
            principal_id: principal_id(&answer)?,
            disconnect_after_secs: seconds(&answer, "disconnectAfterInSeconds")?,
            refresh_after_secs: seconds(&answer, "refreshAfterInSeconds")?,
            policy_documents: policy_documents(&answer, read_policy)?,
        }))
    }
}

/// `null` is the same as absent.
fn member<'a>(answer: &'a Map<String, Value>, member: &'static str) -> Result<&'a Value, AnswerError> {
    answer.get(member).filter(|value| !value.is_null()).ok_or(AnswerError::Missing { member })
}

fn principal_id(answer: &Map<String, Value>) -> Result<String, AnswerError> {
    const NAME: &str = "principalId";
    let text = member(answer, NAME)?.as_str().ok_or(AnswerError::Type { member: NAME, wanted: "a string" })?;
    let is_good = (1..=MAXIMUM_PRINCIPAL_CHARACTERS).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_good { Ok(text.to_owned()) } else { Err(AnswerError::PrincipalId) }
}

fn seconds(answer: &Map<String, Value>, name: &'static str) -> Result<u32, AnswerError> {
    let value = member(answer, name)?
        .as_i64()
        .ok_or(AnswerError::Type { member: name, wanted: "a whole number of seconds" })?;
    let seconds = u32::try_from(value).ok().filter(|seconds| (SHORTEST_SECS..=LONGEST_SECS).contains(seconds));
    seconds.ok_or(AnswerError::Seconds { member: name, value })
}

/// Each is a string that holds JSON, or the JSON itself.
fn policy_documents<T, E: Display>(
    answer: &Map<String, Value>,
    read_policy: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<String>, AnswerError> {
    const NAME: &str = "policyDocuments";
    let wrong_type =
        AnswerError::Type { member: NAME, wanted: "a list of policy documents, each a string or an object" };
    let Some(documents) = member(answer, NAME)?.as_array() else { return Err(wrong_type) };
    if documents.len() > MAXIMUM_POLICY_DOCUMENTS {
        return Err(AnswerError::DocumentCount { count: documents.len() });
    }
    let read = |(at, document): (usize, &Value)| {
        let text = match document {
            Value::String(text) => text.clone(),
            Value::Object(_) => document.to_string(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => return Err(wrong_type.clone()),
        };
        match read_policy(&text) {
            Ok(_) => Ok(text),
            Err(error) => Err(AnswerError::Document { number: at + 1, reason: error.to_string() }),
        }
    };
    documents.iter().enumerate().map(read).collect()
}
