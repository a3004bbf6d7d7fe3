//! Keyset pagination: a page begins after a key, and the key travels in an opaque token.

use crate::error::ApiError;
use crate::limits::Limits;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use service_model::Input;

/// Goes first in every token, so that the layout may change while clients hold old ones.
const VERSION: u8 = 1;

/// Bytes of a key that a token carries. Names have at most 128; a Topic Filter may have 65,535, and then the token would
/// not fit into the URL of the next request.
const MAX_KEY_BYTES: usize = 8 * 1024;

/// Longer than any token of ours.
const MAX_TOKEN_LENGTH: usize = 12 * 1024;

/// Which list a token continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, dead_code)]
pub(crate) enum List {
    ApiKeys,
    AuditEvents,
    CaCertificates,
    Authorizers,
    BillingGroups,
    Certificates,
    CertificatesOfCa,
    DomainConfigurations,
    FleetMetrics,
    GroupsOfThing,
    Indices,
    Jobs,
    LoggingLevels,
    OutgoingCertificates,
    Policies,
    PolicyTargets,
    ProvisioningTemplates,
    ProvisioningTemplateVersions,
    RegistrationTasks,
    RetainedMessages,
    Search,
    PrincipalThings,
    RoleAliases,
    Subscriptions,
    Tags,
    TaskReports,
    ThingGroups,
    ThingPrincipals,
    Things,
    ThingsInBillingGroup,
    ThingsInGroup,
    ThingTypes,
    TopicRules,
}

impl List {
    const fn tag(self) -> u8 {
        match self {
            Self::ApiKeys => b'k',
            Self::AuditEvents => b'e',
            Self::CaCertificates => b'C',
            Self::RoleAliases => b'R',
            Self::Authorizers => b'z',
            Self::BillingGroups => b'B',
            Self::DomainConfigurations => b'd',
            Self::FleetMetrics => b'f',
            Self::GroupsOfThing => b'G',
            Self::Indices => b'i',
            Self::LoggingLevels => b'l',
            Self::ProvisioningTemplates => b'v',
            Self::ProvisioningTemplateVersions => b'V',
            Self::RegistrationTasks => b'n',
            Self::Search => b'q',
            Self::Tags => b'T',
            Self::TaskReports => b'N',
            Self::ThingGroups => b'g',
            Self::ThingsInBillingGroup => b'b',
            Self::ThingsInGroup => b'u',
            Self::ThingTypes => b'y',
            Self::Certificates => b'c',
            Self::CertificatesOfCa => b'o',
            Self::OutgoingCertificates => b'O',
            Self::Jobs => b'j',
            Self::Policies => b'p',
            Self::PolicyTargets => b'a',
            Self::RetainedMessages => b'm',
            Self::PrincipalThings => b'h',
            Self::Subscriptions => b's',
            Self::ThingPrincipals => b'H',
            Self::Things => b't',
            Self::TopicRules => b'r',
        }
    }
}

impl List {
    /// What AWS calls the token.
    const fn parameter(self) -> &'static str {
        match self {
            Self::CaCertificates
            | Self::Certificates
            | Self::CertificatesOfCa
            | Self::OutgoingCertificates
            | Self::DomainConfigurations
            | Self::RoleAliases
            | Self::Policies
            | Self::Authorizers
            | Self::PolicyTargets => "marker",
            _ => "nextToken",
        }
    }
}

/// The token for "what comes after `key`".
pub(crate) fn encode_token(list: List, key: &str) -> String {
    let mut bytes = vec![VERSION, list.tag()];
    bytes.extend_from_slice(key.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The same for keys of any length. After one that is too long for a token, the next page begins after all that have
/// the same beginning: it may leave something out, but a list never turns in a circle. `None` when nothing can follow.
pub(crate) fn continue_after(list: List, key: &str) -> Option<String> {
    if key.len() <= MAX_KEY_BYTES {
        return Some(encode_token(list, key));
    }
    let end = (0..=MAX_KEY_BYTES).rev().find(|end| key.is_char_boundary(*end))?;
    let beginning = key.get(..end)?.trim_end_matches(char::MAX);
    let last = beginning.chars().next_back()?;
    // `last` has a successor: it is not the greatest character.
    let next = (last..=char::MAX).nth(1)?;
    let mut bound = beginning.to_owned();
    bound.pop();
    bound.push(next);
    Some(encode_token(list, &bound))
}

/// The key in a token that [`encode_token`] made for the same list.
pub(crate) fn decode_token(list: List, token: &str) -> Result<String, ApiError> {
    let key = || {
        if token.len() > MAX_TOKEN_LENGTH {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let key = bytes.strip_prefix(&[VERSION, list.tag()])?;
        Some(core::str::from_utf8(key).ok()?.to_owned())
    };
    key().ok_or_else(|| ApiError::invalid_request(format!("The {} is not valid", list.parameter())))
}

/// Cuts `rows`, of which one more than `limit` was asked for, and gives the token of the next page if there is one.
pub(crate) fn cut<T>(rows: &mut Vec<T>, limit: u32, list: List, key: impl Fn(&T) -> String) -> Option<String> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if rows.len() <= limit {
        return None;
    }
    rows.truncate(limit);
    rows.last().and_then(|row| continue_after(list, &key(row)))
}

/// A page of a list, as a request asks for it that has been checked against the service model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    list: List,
    /// The page begins after this key, in the order of the list.
    pub after: String,
    /// The most on the page.
    pub size: u32,
    /// From the least to the greatest.
    pub is_ascending: bool,
}

impl Page {
    /// Everything, of a list that is short.
    #[must_use]
    pub const fn whole() -> Self {
        Self::first(1_000)
    }

    /// The first of a list that nobody pages through.
    #[must_use]
    pub const fn first(size: u32) -> Self {
        Self { list: List::Things, after: String::new(), size, is_ascending: true }
    }

    /// By `maxResults` and `nextToken`, or by `pageSize`, `marker` and `isAscendingOrder`.
    pub(crate) fn of(list: List, input: &Input, limits: &Limits) -> Result<Self, ApiError> {
        let size = ["maxResults", "pageSize"].iter().find_map(|name| input.get(*name)?.as_u64());
        let size = size.map_or(limits.default_page_size, |size| u32::try_from(size).unwrap_or(u32::MAX));
        let token = input.get(list.parameter()).and_then(Value::as_str).filter(|token| !token.is_empty());
        let after = token.map(|token| decode_token(list, token)).transpose()?;
        let is_ascending = input.get("isAscendingOrder").and_then(Value::as_bool).unwrap_or(true);
        // No name has so great a character.
        let first = || if is_ascending { String::new() } else { char::MAX.to_string() };
        Ok(Self { list, after: after.unwrap_or_else(first), size: size.clamp(1, limits.max_page_size), is_ascending })
    }

    /// The answer: `rows`, of which one more than the page was asked for, under `member`, and the token of the next page.
    pub(crate) fn response<T>(
        &self,
        member: &str,
        mut rows: Vec<T>,
        key: impl Fn(&T) -> String,
        value: impl Fn(&T) -> Value,
    ) -> Vec<u8> {
        let next = cut(&mut rows, self.size, self.list, key);
        let mut body = Map::new();
        body.insert(member.to_owned(), rows.iter().map(value).collect());
        if let Some(next) = next {
            let name = if self.list.parameter() == "marker" { "nextMarker" } else { "nextToken" };
            body.insert(name.to_owned(), next.into());
        }
        Value::Object(body).to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_of_a_token_stays_as_it_is() {
        assert_eq!(encode_token(List::Things, "lamp"), "AXRsYW1w");
        assert_eq!(decode_token(List::Things, "AXRsYW1w").unwrap(), "lamp");
    }

    #[test]
    fn a_long_key_is_cut_between_characters_and_the_next_page_still_begins_after_it() {
        let greatest = "\u{10ffff}".repeat(4_000);
        for key in ["x".repeat(MAX_KEY_BYTES), "ä".repeat(30_000), "x😀".repeat(5_000), format!("x{greatest}")] {
            let token = continue_after(List::Subscriptions, &key).unwrap();
            assert!(token.len() <= MAX_TOKEN_LENGTH, "{}", token.len());
            assert!(decode_token(List::Subscriptions, &token).unwrap() >= key);
        }
        assert_eq!(continue_after(List::Subscriptions, &greatest), None);
    }

    #[test]
    fn a_token_that_is_not_ours_is_refused() {
        let foreign = encode_token(List::Jobs, "lamp");
        let newer = URL_SAFE_NO_PAD.encode(b"\x02tlamp");
        let binary = URL_SAFE_NO_PAD.encode(b"\x01t\xff");
        for token in ["", "!", "AXRsYW1w=", &foreign, &newer, &binary, &"A".repeat(10_000), &"A".repeat(1_000_000)] {
            assert_eq!(decode_token(List::Things, token).unwrap_err().name(), "InvalidRequestException", "{token}");
        }
    }
}
