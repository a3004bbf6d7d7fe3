//! One type, two encodings: JSON (RFC 8259) and CBOR (RFC 8949).

use json_doc::Bounds;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest payload that is read: AWS's longest MQTT message.
pub const MAXIMUM_PAYLOAD_BYTES: usize = 128 * 1_024;

/// Most maps and lists inside one another. Requests need two; what more there is belongs to members that we ignore.
const MAXIMUM_DEPTH: usize = 16;

/// How a payload is written, the `payload-format` of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `json`.
    Json,
    /// `cbor`.
    Cbor,
}

impl Format {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Json, Self::Cbor];

    /// The topic level.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Cbor => "cbor",
        }
    }

    /// Reads a payload, within bounds on its size and on its nesting; the reason why not, in words for the device.
    pub(super) fn decode<T: DeserializeOwned>(self, payload: &[u8]) -> Result<T, String> {
        if payload.len() > MAXIMUM_PAYLOAD_BYTES {
            return Err(format!("The payload has more than {MAXIMUM_PAYLOAD_BYTES} bytes"));
        }
        match self {
            Self::Json => {
                let bounds = Bounds {
                    maximum_bytes: MAXIMUM_PAYLOAD_BYTES,
                    maximum_depth: MAXIMUM_DEPTH,
                    maximum_values: MAXIMUM_PAYLOAD_BYTES / 8,
                };
                let value = json_doc::parse(payload, &bounds).map_err(|error| error.to_string())?;
                serde_json::from_value(value).map_err(|error| format!("The payload is not as expected: {error}"))
            }
            Self::Cbor => {
                let mut rest = payload;
                // The library's errors hold offsets and names of its own, which tell a device nothing.
                let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, MAXIMUM_DEPTH)
                    .map_err(|_| "The payload is not valid CBOR or not as expected".to_owned())?;
                if rest.is_empty() { Ok(value) } else { Err("The payload goes on behind its CBOR".to_owned()) }
            }
        }
    }

    /// Writes a payload.
    pub(super) fn encode<T: Serialize>(self, message: &T) -> Vec<u8> {
        // Neither fails: keys are strings, and memory has room.
        match self {
            Self::Json => serde_json::to_vec(message).unwrap_or_default(),
            Self::Cbor => {
                let mut payload = Vec::new();
                if ciborium::ser::into_writer(message, &mut payload).is_err() {
                    payload.clear();
                }
                payload
            }
        }
    }
}
