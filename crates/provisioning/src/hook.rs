//! The pre-provisioning hook: what the function is told and what it may answer (AWS IoT developer guide,
//! "Pre-provisioning hooks").
//!
//! "The provisioning proceeds only if the Lambda function returns an object with `"allowProvisioning": True`." Whatever
//! is not clearly that denies.

use crate::evaluate::check_parameters;
use crate::limits::Limits;
use json_doc::Bounds;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The only `payloadVersion` of a `ProvisioningHook`, and the one of a hook that names none. It says how
/// [`HookRequest`] looks; it is no member of it.
pub const PAYLOAD_VERSION: &str = "2020-04-01";

/// How long the function may take, in seconds.
pub const TIMEOUT_SECS: u32 = 5;

/// The longest answer that is read: as many parameters as a message can hold.
pub const MAXIMUM_ANSWER_BYTES: usize = 128 * 1_024;

/// "Pre-provision hook input".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HookRequest<'a> {
    /// The certificate that the device connected with.
    pub claim_certificate_id: &'a str,
    /// The certificate that it asks to have provisioned.
    pub certificate_id: &'a str,
    /// That certificate.
    pub certificate_pem: &'a str,
    /// The template.
    pub template_arn: &'a str,
    /// The device's MQTT client identifier.
    pub client_id: &'a str,
    /// What the device sent.
    pub parameters: &'a BTreeMap<String, String>,
}

impl HookRequest<'_> {
    /// The JSON that the function gets.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Does not fail: all keys are strings.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Why a device is not provisioned. For the log: the device is told no more than `AccessDenied`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HookDenial {
    /// `allowProvisioning` is false.
    #[error("the hook does not allow it")]
    Refused,
    /// Too long, no JSON, or too deep.
    #[error("the hook's answer can't be read: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
    /// JSON that is no answer.
    #[error("the hook's answer is not as documented: {reason}")]
    Malformed {
        /// Why.
        reason: String,
    },
}

/// Reads "Pre-provision hook return value" to the parameters that it overrides. Other members are ignored.
///
/// # Errors
/// [`HookDenial`]: the device is not provisioned.
pub fn parse_answer(body: &[u8], limits: &Limits) -> Result<BTreeMap<String, String>, HookDenial> {
    let bounds = Bounds { maximum_bytes: MAXIMUM_ANSWER_BYTES, maximum_depth: 32, maximum_values: 16_384 };
    let answer =
        json_doc::parse(body, &bounds).map_err(|error| HookDenial::Unreadable { reason: error.to_string() })?;
    let malformed = |reason: &str| HookDenial::Malformed { reason: reason.to_owned() };
    let answer = answer.as_object().ok_or_else(|| malformed("it is no object"))?;
    match answer.get("allowProvisioning") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Err(HookDenial::Refused),
        _ => return Err(malformed("allowProvisioning is no Boolean")),
    }
    let overrides = match answer.get("parameterOverrides") {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::Object(overrides)) => overrides,
        Some(_) => return Err(malformed("parameterOverrides is no object")),
    };
    let overrides = overrides.iter().map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    let overrides = overrides.collect::<Option<BTreeMap<_, _>>>();
    let overrides = overrides.ok_or_else(|| malformed("parameterOverrides has a value that is no string"))?;
    check_parameters(&overrides, limits).map_err(|error| malformed(&error.to_string()))?;
    Ok(overrides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_gets_the_documented_members() {
        let parameters = BTreeMap::from([("SerialNumber".to_owned(), "1".to_owned())]);
        let request = HookRequest {
            claim_certificate_id: "claim",
            certificate_id: "id",
            certificate_pem: "pem",
            template_arn: "arn:aws:iot:us-east-1:1234567890:provisioningtemplate/MyTemplate",
            client_id: "221a6d10-9c7f-42f1-9153-e52e6fc869c1",
            parameters: &parameters,
        };
        let expected = concat!(
            r#"{"claimCertificateId":"claim","certificateId":"id","certificatePem":"pem","#,
            r#""templateArn":"arn:aws:iot:us-east-1:1234567890:provisioningtemplate/MyTemplate","#,
            r#""clientId":"221a6d10-9c7f-42f1-9153-e52e6fc869c1","parameters":{"SerialNumber":"1"}}"#
        );
        assert_eq!(String::from_utf8(request.encode()).unwrap(), expected);
    }

    #[test]
    fn an_answer_allows_clearly_or_not_at_all() {
        let malformed = |reason: &str| Err(HookDenial::Malformed { reason: reason.to_owned() });
        let no_boolean = || malformed("allowProvisioning is no Boolean");
        let allowed = |pairs: &[(&str, &str)]| {
            Ok(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        for (answer, expected) in [
            (r#"{"allowProvisioning":true}"#, allowed(&[])),
            (r#"{"allowProvisioning":true,"parameterOverrides":null,"other":{}}"#, allowed(&[])),
            (
                r#"{"allowProvisioning":true,"parameterOverrides":{"DeviceLocation":"Seattle"}}"#,
                allowed(&[("DeviceLocation", "Seattle")]),
            ),
            (r#"{"allowProvisioning":false}"#, Err(HookDenial::Refused)),
            (r#"{"allowProvisioning":false,"parameterOverrides":1}"#, Err(HookDenial::Refused)),
            (r#"{"allowProvisioning":"true"}"#, no_boolean()),
            (r#"{"allowProvisioning":1}"#, no_boolean()),
            (r#"{"allowProvisioning":null}"#, no_boolean()),
            (r#"{"AllowProvisioning":true}"#, no_boolean()),
            (r#"{"errorMessage":"2020 Task timed out after 5.00 seconds"}"#, no_boolean()),
            ("{}", no_boolean()),
            ("true", malformed("it is no object")),
            ("[]", malformed("it is no object")),
            (r#"{"allowProvisioning":true,"parameterOverrides":[]}"#, malformed("parameterOverrides is no object")),
            (
                r#"{"allowProvisioning":true,"parameterOverrides":{"a":1}}"#,
                malformed("parameterOverrides has a value that is no string"),
            ),
        ] {
            assert_eq!(parse_answer(answer.as_bytes(), &Limits::STANDARD), expected, "{answer}");
        }
        let long = format!(r#"{{"allowProvisioning":true,"parameterOverrides":{{"a":"{}"}}}}"#, "x".repeat(4_097));
        let long = parse_answer(long.as_bytes(), &Limits::STANDARD);
        assert_eq!(long, malformed("Parameter a has more than 4096 characters"));
        for answer in ["", "{", "\u{feff}{}", &"[".repeat(33), &" ".repeat(MAXIMUM_ANSWER_BYTES + 1)] {
            let denial = parse_answer(answer.as_bytes(), &Limits::STANDARD).unwrap_err();
            assert!(matches!(denial, HookDenial::Unreadable { .. }), "{denial}");
        }
    }
}
