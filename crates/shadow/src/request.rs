//! Reading what a client sent. Nothing here knows the shadow's current state.

use crate::{Limits, ShadowError};
use iot_types::{ShadowName, ThingName};
use json_doc::{Bounds, MAXIMUM_DEPTH, Map, ParseError, Value, depth, has_null_in_array, parse};

/// What a client asks of a shadow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read the document: `…/shadow/get`, GetThingShadow.
    Get,
    /// Merge into the document or create it: `…/shadow/update`, UpdateThingShadow.
    Update,
    /// Delete the document: `…/shadow/delete`, DeleteThingShadow.
    Delete,
}

/// One request, from a topic or over HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What is asked.
    pub operation: Operation,
    /// The body as it came; empty for GET and DELETE over HTTP.
    pub payload: &'a [u8],
    /// Whose shadow. The thing need not exist in the registry.
    pub thing_name: &'a ThingName,
    /// Which named shadow; `None` is the classic one.
    pub shadow_name: Option<&'a ShadowName>,
}

impl Request<'_> {
    /// The error for a shadow that does not exist, with the name as AWS writes it.
    pub(crate) fn not_found(&self) -> ShadowError {
        let name = match self.shadow_name {
            Some(shadow_name) => format!("{}~{shadow_name}", self.thing_name),
            None => self.thing_name.to_string(),
        };
        ShadowError::ShadowNotFound { name }
    }
}

/// What a payload asks for, or why it cannot. The token stands apart because refusals echo it too.
#[derive(Debug)]
pub(crate) struct Reading<T> {
    pub(crate) client_token: Option<String>,
    pub(crate) result: Result<T, ShadowError>,
}

impl<T> Reading<T> {
    fn refused(error: ShadowError) -> Self {
        Self { client_token: None, result: Err(error) }
    }
}

/// An update that is sound in itself.
#[derive(Debug)]
pub(crate) struct Update {
    /// As sent: null, or an object of sections that are each null or an object.
    pub(crate) state: Value,
    /// The version that the client believes to be the current one.
    pub(crate) version: Option<u64>,
}

/// Reads the payload of an update.
pub(crate) fn read_update(payload: &[u8], limits: &Limits) -> Reading<Update> {
    let mut root = match read(payload, limits) {
        Ok(Value::Object(root)) => root,
        Ok(_) => return Reading::refused(ShadowError::MissingState),
        Err(error) => return Reading::refused(error),
    };
    let client_token = match client_token(&root, limits) {
        Ok(token) => token,
        Err(error) => return Reading::refused(error),
    };
    let result = version(&root).and_then(|version| {
        let state = root.remove("state").ok_or(ShadowError::MissingState)?;
        check_state(&state, limits)?;
        Ok(Update { state, version })
    });
    Reading { client_token, result }
}

/// Reads the payload of a get or a delete: the version, if any. Of what is not a JSON object nothing is used, as AWS
/// ignores what it does not need there.
pub(crate) fn read_options(payload: &[u8], limits: &Limits) -> Reading<Option<u64>> {
    let Ok(Value::Object(root)) = read(payload, limits) else {
        return Reading { client_token: None, result: Ok(None) };
    };
    match client_token(&root, limits) {
        Ok(client_token) => Reading { client_token, result: version(&root) },
        Err(error) => Reading::refused(error),
    }
}

fn read(payload: &[u8], limits: &Limits) -> Result<Value, ShadowError> {
    let bounds = Bounds {
        maximum_bytes: limits.maximum_payload_bytes(),
        // Only sections have a limit of levels, checked when they are known; a refusal for it can then echo the token.
        maximum_depth: MAXIMUM_DEPTH,
        // Twice, as with bytes: an update may delete as much as it adds.
        maximum_values: limits.maximum_document_values.saturating_mul(2).saturating_add(16),
    };
    parse(payload, &bounds).map_err(|error| match error {
        ParseError::TooLarge { .. } | ParseError::TooManyValues { .. } => ShadowError::PayloadTooLarge,
        ParseError::NotUtf8 => ShadowError::UnsupportedEncoding,
        ParseError::TooDeep { .. } => ShadowError::TooDeep { maximum: limits.maximum_depth },
        ParseError::Syntax { .. } => ShadowError::InvalidJson,
    })
}

/// A null is taken as absent, here and for the version: serialisers of some clients write out what is not set.
fn client_token(root: &Map<String, Value>, limits: &Limits) -> Result<Option<String>, ShadowError> {
    match root.get("clientToken") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(token)) if token.len() <= limits.maximum_client_token_bytes => Ok(Some(token.clone())),
        Some(_) => Err(ShadowError::InvalidClientToken),
    }
}

fn version(root: &Map<String, Value>) -> Result<Option<u64>, ShadowError> {
    match root.get("version") {
        None | Some(Value::Null) => Ok(None),
        Some(version) => version.as_u64().map(Some).ok_or(ShadowError::InvalidVersion),
    }
}

fn check_state(state: &Value, limits: &Limits) -> Result<(), ShadowError> {
    let sections = match state {
        Value::Null => return Ok(()),
        Value::Object(sections) => sections,
        _ => return Err(ShadowError::StateNotAnObject),
    };
    for (name, section) in sections {
        let wrong_type = match name.as_str() {
            "desired" => ShadowError::DesiredNotAnObject,
            "reported" => ShadowError::ReportedNotAnObject,
            _ => return Err(ShadowError::InvalidNode),
        };
        if !section.is_object() && !section.is_null() {
            return Err(wrong_type);
        }
        if has_null_in_array(section) {
            return Err(ShadowError::InvalidNode);
        }
        // The section is itself one level of JSON.
        if depth(section) > limits.maximum_depth.saturating_add(1) {
            return Err(ShadowError::TooDeep { maximum: limits.maximum_depth });
        }
    }
    Ok(())
}
