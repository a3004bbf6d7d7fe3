//! Values that travel in a header under a MAC: `1.<base64url of JSON>.<base64url of HMAC-SHA-256 over what is before>`.

use crate::internal_header::InternalKey;
use crate::keyed_hash;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use iot_types::UnixMillis;
use serde::Serialize;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq;

/// A longer header isn't ours.
pub(crate) const MAXIMUM_HEADER_BYTES: usize = 16 * 1_024;

/// How long a sealed value is believed, in milliseconds.
pub(crate) const LIFETIME_MILLIS: u64 = 30_000;

/// How far the opener's clock may be behind the sealer's, in milliseconds.
const CLOCK_TOLERANCE_MILLIS: u64 = 5_000;

const VERSION: &str = "1";

/// Seals a value, which tells its own age. An error is its reason.
pub(crate) fn seal(key: &InternalKey, value: &impl Serialize) -> Result<String, &'static str> {
    let json = serde_json::to_vec(value).map_err(|_| "it can't be written")?;
    let mut text = format!("{VERSION}.{}", BASE64URL.encode(json));
    let mac = keyed_hash::hmac_sha256(key.expose(), &[text.as_bytes()]);
    text.push('.');
    text.push_str(&BASE64URL.encode(mac));
    if text.len() > MAXIMUM_HEADER_BYTES { Err("it is too long") } else { Ok(text) }
}

/// The value that was sealed with this key; its age is not looked at.
pub(crate) fn open<T: DeserializeOwned>(key: &InternalKey, text: &str) -> Result<T, &'static str> {
    if text.len() > MAXIMUM_HEADER_BYTES {
        return Err("it is too long");
    }
    let (signed, mac) = text.rsplit_once('.').ok_or("it is malformed")?;
    let (version, json) = signed.split_once('.').ok_or("it is malformed")?;
    if version != VERSION {
        return Err("it has an unknown version");
    }
    let mac = BASE64URL.decode(mac).map_err(|_| "it is malformed")?;
    if !bool::from(keyed_hash::hmac_sha256(key.expose(), &[signed.as_bytes()]).ct_eq(mac.as_slice())) {
        return Err("it was not sealed by this deployment");
    }
    let json = BASE64URL.decode(json).map_err(|_| "it is malformed")?;
    serde_json::from_slice(&json).map_err(|_| "it is malformed")
}

/// Whether something sealed at `issued_at` is believed `now`.
pub(crate) fn check_age(issued_at: UnixMillis, now: UnixMillis) -> Result<(), &'static str> {
    if now.millis_since(issued_at) > LIFETIME_MILLIS {
        return Err("it is too old");
    }
    if issued_at.millis_since(now) > CLOCK_TOLERANCE_MILLIS {
        return Err("it is from the future");
    }
    Ok(())
}
