//! How a client asks for an authorizer (AWS IoT developer guide, "Connecting to AWS IoT Core by using custom
//! authentication").

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The header or parameter with the authorizer's name. Without it the default authorizer is asked.
pub const NAME_KEY: &str = "x-amz-customauthorizer-name";
/// The header or parameter with the token's signature.
pub const SIGNATURE_KEY: &str = "x-amz-customauthorizer-signature";

/// Most bytes of names and values of headers, the query, and what is behind `?` in the user name, together: a token of
/// AWS's maximum (6,144) and its signature fit, and what travels with a connection stays small.
pub const MAXIMUM_INVOCATION_BYTES: usize = 8 * 1_024;

/// What a client sent along that may be meant for an authorizer.
///
/// AWS does not say what counts if it comes several times. Here a header counts before a parameter of the query, and this
/// before one of the user name; the first of a repeated parameter counts. Repeated headers are one with a comma, as HTTP
/// has it (RFC 9110 section 5.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Invocation {
    /// By their names in lower case.
    headers: BTreeMap<String, String>,
    /// As it was sent, without the question mark.
    query: String,
    /// The same of the MQTT user name.
    user_name_query: String,
}

#[derive(Deserialize)]
struct Unchecked {
    headers: BTreeMap<String, String>,
    query: String,
    user_name_query: String,
}

impl TryFrom<Unchecked> for Invocation {
    type Error = InvocationError;
    fn try_from(Unchecked { headers, query, user_name_query }: Unchecked) -> Result<Self, InvocationError> {
        Self { headers, query, user_name_query }.bounded()
    }
}

/// Why a client can't be let in by an authorizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvocationError {
    /// [`MAXIMUM_INVOCATION_BYTES`].
    #[error("headers, query and user name for a custom authorizer have more than {MAXIMUM_INVOCATION_BYTES} bytes")]
    TooLarge,
}

impl Invocation {
    /// Reads the headers and the query (without `?`) of an HTTP request.
    ///
    /// # Errors
    /// [`InvocationError`]. It concerns only clients that want to be let in by an authorizer: requests with other proofs
    /// may be larger.
    pub fn from_http<'a>(
        headers: impl IntoIterator<Item = (&'a str, &'a str)>,
        query: &str,
    ) -> Result<Self, InvocationError> {
        let mut left = MAXIMUM_INVOCATION_BYTES.checked_sub(query.len()).ok_or(InvocationError::TooLarge)?;
        let mut joined: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in headers {
            left = left.checked_sub(name.len() + value.len()).ok_or(InvocationError::TooLarge)?;
            joined
                .entry(name.to_ascii_lowercase())
                .and_modify(|known| {
                    known.push_str(", ");
                    known.push_str(value);
                })
                .or_insert_with(|| value.to_owned());
        }
        Self { headers: joined, query: query.to_owned(), user_name_query: String::new() }.bounded()
    }

    /// Adds what is behind the first `?` of the MQTT user name.
    ///
    /// # Errors
    /// [`InvocationError`].
    pub fn with_user_name(self, user_name: &str) -> Result<Self, InvocationError> {
        let query = user_name.split_once('?').map_or("", |(_, query)| query);
        if query.len() > MAXIMUM_INVOCATION_BYTES {
            return Err(InvocationError::TooLarge);
        }
        Self { user_name_query: query.to_owned(), ..self }.bounded()
    }

    fn bounded(self) -> Result<Self, InvocationError> {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let bytes = headers + self.query.len() + self.user_name_query.len();
        if bytes <= MAXIMUM_INVOCATION_BYTES { Ok(self) } else { Err(InvocationError::TooLarge) }
    }

    /// The authorizer that the client names.
    #[must_use]
    pub fn authorizer_name(&self) -> Option<String> {
        self.value(NAME_KEY)
    }

    /// The signature that it brings, as it is written.
    #[must_use]
    pub fn signature(&self) -> Option<String> {
        self.value(SIGNATURE_KEY)
    }

    /// The token, whose name the authorizer has (`tokenKeyName`).
    #[must_use]
    pub fn token(&self, token_key_name: &str) -> Option<String> {
        self.value(token_key_name)
    }

    /// Whether the client names an authorizer or brings a signature for one. One that does neither may still mean the
    /// default authorizer.
    #[must_use]
    pub fn is_explicit(&self) -> bool {
        self.authorizer_name().is_some() || self.signature().is_some()
    }

    /// What the function is told of HTTP: the headers by their names in lower case.
    #[must_use]
    pub const fn headers(&self) -> &BTreeMap<String, String> {
        &self.headers
    }

    /// What the function is told of HTTP: the query with its question mark, and nothing if there is none.
    #[must_use]
    pub fn query_string(&self) -> String {
        if self.query.is_empty() { String::new() } else { format!("?{}", self.query) }
    }

    /// An empty value is the same as none.
    fn value(&self, name: &str) -> Option<String> {
        let header = self.headers.get(&name.to_ascii_lowercase()).filter(|value| !value.is_empty());
        header.cloned().or_else(|| parameter(&self.query, name)).or_else(|| parameter(&self.user_name_query, name))
    }
}

/// The value of a parameter, percent-decoded. A plus stays one, as signatures in Base64 have some and AWS's SDKs encode
/// blanks as `%20`. What is no UTF-8 then becomes another text, which no signature fits.
fn parameter(query: &str, name: &str) -> Option<String> {
    let decoded = |text| percent_decode_str(text).decode_utf8_lossy();
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|(key, value)| !value.is_empty() && decoded(key) == name)?;
    Some(decoded(value).into_owned())
}
