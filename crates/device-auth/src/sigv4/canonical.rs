//! The texts that are hashed and signed: "Create a canonical request" and "Create a string to sign" in the IAM user
//! guide.

use super::{ALGORITHM, HttpRequest, timestamp};
use crate::access_key::SecretAccessKey;
use crate::{AuthError, keyed_hash};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

/// Everything but the unreserved characters of RFC 3986 section 2.3.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const PATH: &AsciiSet = &COMPONENT.remove(b'/');

/// Where and when a signature is good: the middle of `X-Amz-Credential`.
#[derive(Clone, Copy)]
pub(super) struct CredentialScope<'a> {
    /// `YYYYMMDDTHHMMSSZ`.
    pub timestamp: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

impl CredentialScope<'_> {
    pub fn text(&self) -> String {
        format!("{}/{}/{}/aws4_request", timestamp::day(self.timestamp), self.region, self.service)
    }

    pub fn string_to_sign(&self, canonical_request: &str) -> String {
        let digest = hex::encode(keyed_hash::sha256(canonical_request.as_bytes()));
        format!("{ALGORITHM}\n{}\n{}\n{digest}", self.timestamp, self.text())
    }

    /// "Calculate the signature": a key per day, region and service, then the signature itself.
    pub fn signature(&self, secret: &SecretAccessKey, string_to_sign: &str) -> [u8; 32] {
        let secret = [b"AWS4".as_slice(), secret.expose()].concat();
        let mut key = keyed_hash::hmac_sha256(&secret, &[timestamp::day(self.timestamp).as_bytes()]);
        for part in [self.region, self.service, "aws4_request"] {
            key = keyed_hash::hmac_sha256(&key, &[part.as_bytes()]);
        }
        keyed_hash::hmac_sha256(&key, &[string_to_sign.as_bytes()])
    }
}

/// `canonical_query` is made by [`query`], `payload` is a digest in hexadecimal or what stands for it.
pub(super) fn request(
    request: &HttpRequest<'_>,
    canonical_query: &str,
    signed_headers: &[impl AsRef<str>],
    payload: &str,
) -> Result<String, AuthError> {
    let mut text = format!("{}\n{}\n{canonical_query}\n", request.method, path(request.path));
    let mut names = String::new();
    for name in signed_headers {
        let name = name.as_ref();
        text.push_str(name);
        text.push(':');
        header_value(request, name, &mut text)?;
        text.push('\n');
        if !names.is_empty() {
            names.push(';');
        }
        names.push_str(name);
    }
    text.push('\n');
    text.push_str(&names);
    text.push('\n');
    text.push_str(payload);
    Ok(text)
}

/// All values in the order received, each without white space around it and with single spaces inside.
fn header_value(request: &HttpRequest<'_>, name: &str, text: &mut String) -> Result<(), AuthError> {
    let is_upgrade = || request.header_values("upgrade").any(|value| value.eq_ignore_ascii_case("websocket"));
    if name == "connection" && is_upgrade() {
        text.push_str("Upgrade");
        return Ok(());
    }
    let mut found = false;
    for value in request.header_values(name) {
        if found {
            text.push(',');
        }
        found = true;
        for (index, word) in value.split_ascii_whitespace().enumerate() {
            if index > 0 {
                text.push(' ');
            }
            text.push_str(word);
        }
    }
    if found {
        Ok(())
    } else {
        Err(AuthError::invalid(format!("The signed header '{name:.64}' is not in the request.")))
    }
}

/// Whether the path is the one that its signature covers: no empty, `.` or `..` segment but an empty last one.
pub(super) fn is_normal_path(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    let rest = rest.strip_suffix('/').filter(|rest| !rest.is_empty()).unwrap_or(rest);
    rest.is_empty() && path == "/" || !rest.split('/').any(|segment| matches!(segment, "" | "." | ".."))
}

/// Removes empty and dot segments, then percent-encodes all but `/` and the unreserved characters.
fn path(raw: &str) -> String {
    let mut segments = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let mut text = String::from("/");
    text.extend(percent_encode(segments.join("/").as_bytes(), PATH));
    if raw.ends_with('/') && !segments.is_empty() {
        text.push('/');
    }
    text
}

/// The parameters of a raw query string, decoded, in order.
pub(super) fn query_parameters(raw: &str) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

fn decode(text: &str) -> Vec<u8> {
    percent_decode(text.replace('+', " ").as_bytes()).collect()
}

/// One `name=value`, encoded.
pub(super) fn component(text: &[u8]) -> String {
    percent_encode(text, COMPONENT).to_string()
}

/// The canonical query string: encoded anew and sorted, without the parameters that `skip` picks by their decoded name.
pub(super) fn query(raw: &str, skip: impl Fn(&[u8]) -> bool) -> String {
    let mut pairs: Vec<(String, String)> = query_parameters(raw)
        .filter(|(name, _)| !skip(name))
        .map(|(name, value)| (component(&name), component(&value)))
        .collect();
    pairs.sort();
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        text.push_str(&name);
        text.push('=');
        text.push_str(&value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_normal_path_is_the_one_that_normalising_leaves_alone() {
        for (raw, normal, encoded) in [
            ("/", true, "/"),
            ("/a", true, "/a"),
            ("/a/", true, "/a/"),
            ("/a/b%2Fc", true, "/a/b%252Fc"),
            ("/...", true, "/..."),
            ("/.a/b..", true, "/.a/b.."),
            ("", false, "/"),
            ("a", false, "/a"),
            ("//", false, "/"),
            ("//a", false, "/a"),
            ("/a//", false, "/a/"),
            ("/a//b", false, "/a/b"),
            ("/.", false, "/"),
            ("/..", false, "/"),
            ("/a/./b", false, "/a/b"),
            ("/a/../b", false, "/b"),
            ("/a/..", false, "/"),
            ("/../../a", false, "/a"),
        ] {
            assert_eq!(is_normal_path(raw), normal, "{raw}");
            assert_eq!(path(raw), encoded, "{raw}");
        }
    }

    #[test]
    fn a_canonical_query_is_sorted_and_encoded_anew() {
        for (raw, canonical) in [
            ("", ""),
            ("a", "a="),
            ("b=2&a=1", "a=1&b=2"),
            ("a=2&a=1", "a=1&a=2"),
            ("a=%2f", "a=%2F"),
            ("a=+", "a=%20"),
            ("a=%2B", "a=%2B"),
            ("a=b=c", "a=b%3Dc"),
            ("&&a=1&", "a=1"),
            ("a=%zz", "a=%25zz"),
            ("skip=1&a=1&%73kip=2", "a=1"),
            ("a=%FF", "a=%FF"),
        ] {
            assert_eq!(query(raw, |name| name == b"skip"), canonical, "{raw}");
        }
    }
}
