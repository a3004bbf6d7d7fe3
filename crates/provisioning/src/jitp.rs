//! Just-in-time provisioning: the parameters that a certificate gives a template (AWS IoT developer guide, "Just-in-time
//! provisioning").

use crate::template::{CERTIFICATE_ID, Template};
use iot_types::CertificateId;
use std::collections::BTreeMap;

/// The parameters that a template for just-in-time provisioning may refer to.
pub const PARAMETERS: &[&str] = &[
    "AWS::IoT::Certificate::Country",
    "AWS::IoT::Certificate::Organization",
    "AWS::IoT::Certificate::OrganizationalUnit",
    "AWS::IoT::Certificate::DistinguishedNameQualifier",
    "AWS::IoT::Certificate::StateName",
    "AWS::IoT::Certificate::CommonName",
    "AWS::IoT::Certificate::SerialNumber",
    CERTIFICATE_ID,
];

const PREFIX: &str = "AWS::IoT::Certificate::";

/// A template declares a parameter that the certificate's subject does not have, so the device is not provisioned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("The subject of the certificate has no value for {name}")]
pub struct MissingAttribute {
    /// The parameter.
    pub name: String,
}

/// The parameters of a device's certificate. `subject` are the attributes of its subject by the ends of
/// [`PARAMETERS`], `CommonName` and so on; others are left out, and of repeated ones the first counts.
///
/// # Errors
/// [`MissingAttribute`]: "the device provisioning fails if the certificate doesn't have all of the properties mentioned
/// in the `Parameters` section".
pub fn parameters<'a>(
    template: &Template,
    certificate_id: &CertificateId,
    subject: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<BTreeMap<String, String>, MissingAttribute> {
    let mut parameters = BTreeMap::from([(CERTIFICATE_ID.to_owned(), certificate_id.as_str().to_owned())]);
    for (name, value) in subject {
        let name = format!("{PREFIX}{name}");
        if PARAMETERS.contains(&name.as_str()) {
            parameters.entry(name).or_insert_with(|| value.to_owned());
        }
    }
    match template.required_parameters().find(|name| !parameters.contains_key(*name)) {
        Some(name) => Err(MissingAttribute { name: name.to_owned() }),
        None => Ok(parameters),
    }
}
