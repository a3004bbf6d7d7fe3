//! The MQTT operations of fleet provisioning: topics, messages in JSON and in CBOR, rejections (AWS IoT developer guide,
//! "Device provisioning MQTT API").
//!
//! A device asks on a topic and is answered on that topic with `/accepted` or `/rejected` behind it, whether it has
//! subscribed to that or not.

mod format;
mod message;
mod rejection;
mod topic;

pub use format::{Format, MAXIMUM_PAYLOAD_BYTES};
pub use message::{
    CreateFromCsrRequest, CreatedCertificate, LONGEST_REQUEST_PEM, LONGEST_TOKEN, OwnershipToken, ProvisionRequest,
    Provisioned, Reply, check_create_request,
};
pub use rejection::{Rejection, RejectionCode};
pub use topic::{FleetTopic, Operation, Stage};

use crate::template::CERTIFICATE_ID;
use iot_types::CertificateId;
use std::collections::BTreeMap;

/// How long an ownership token is good, in seconds; a certificate that is not provisioned until then is deleted.
pub const TOKEN_LIFETIME_SECS: u32 = 3_600;
/// How long the certificate of CreateProvisioningClaim is good, in seconds.
pub const CLAIM_LIFETIME_SECS: u32 = 300;

/// The parameters that a fleet provisioning template is evaluated with: the device's, over them the hook's
/// (`parameterOverrides`), over both what only we may say, the certificate that is being provisioned. Neither device nor
/// hook names a parameter of ours (`AWS::…`).
#[must_use]
pub fn parameters(
    device: &BTreeMap<String, String>,
    overrides: &BTreeMap<String, String>,
    certificate_id: &CertificateId,
) -> BTreeMap<String, String> {
    let given = device.iter().chain(overrides).filter(|(name, _)| !name.starts_with("AWS::"));
    let mut parameters: BTreeMap<String, String> = given.map(|(name, value)| (name.clone(), value.clone())).collect();
    parameters.insert(CERTIFICATE_ID.to_owned(), certificate_id.as_str().to_owned());
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_device_nor_a_hook_says_which_certificate_is_provisioned() {
        let id = CertificateId::new("a".repeat(64)).unwrap();
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let device =
            map(&[("SerialNumber", "1"), ("Location", "here"), (CERTIFICATE_ID, "mine"), ("AWS::Region", "x")]);
        let hook = map(&[("Location", "there"), (CERTIFICATE_ID, "other"), ("Extra", "e")]);
        let expected =
            map(&[("SerialNumber", "1"), ("Location", "there"), ("Extra", "e"), (CERTIFICATE_ID, id.as_str())]);
        assert_eq!(parameters(&device, &hook, &id), expected);
    }
}
