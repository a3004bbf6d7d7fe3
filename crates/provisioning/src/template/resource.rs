//! `Resources`: things, certificates and policies, with their properties (developer guide, "Resources section").

use super::expression::{List, Node, Reader, Text};
use super::{CERTIFICATE_ID, TemplateError, TemplateKind, object, only};
use crate::limits::Limits;
use crate::plan::{AttachedStatus, Override, ThingOverrides};
use serde_json::{Map, Value};

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Thing {
    pub(crate) logical_name: String,
    pub(crate) name: Option<Text>,
    pub(crate) attributes: Option<Vec<(String, Text)>>,
    pub(crate) thing_type: Option<Text>,
    pub(crate) groups: Option<List>,
    pub(crate) billing_group: Option<Text>,
    pub(crate) overrides: ThingOverrides,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Certificate {
    pub(crate) logical_name: String,
    pub(crate) source: CertificateProperty,
    pub(crate) status: Option<Text>,
    pub(crate) status_override: Option<Override>,
    pub(crate) is_exclusive: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CertificateProperty {
    SigningRequest(Text),
    Id(Text),
    Pem { certificate: Text, ca_certificate: Option<Text> },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Policy {
    pub(crate) logical_name: String,
    pub(crate) source: Document,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Document {
    /// `PolicyName`.
    Named(Text),
    /// `PolicyDocument` as the guide asks for it, as an escaped string.
    Text(Text),
    /// `PolicyDocument` as the guide's example for fleet provisioning has it, as JSON.
    Json(Node),
}

#[derive(Default)]
pub(super) struct Resources {
    pub(super) thing: Option<Thing>,
    pub(super) certificate: Option<Certificate>,
    pub(super) policies: Vec<Policy>,
}

/// What is known of the resource that is being read.
struct Properties<'a> {
    reader: &'a Reader<'a>,
    logical_name: &'a str,
    path: String,
    properties: &'a Map<String, Value>,
    overrides: Option<&'a Map<String, Value>>,
}

pub(super) fn resources(
    reader: &Reader<'_>,
    value: Option<&Value>,
    limits: &Limits,
) -> Result<Resources, TemplateError> {
    let value = value.ok_or_else(|| TemplateError::at("Resources", "is missing"))?;
    let mut resources = Resources::default();
    let mut certificate_path = None;
    for (logical_name, resource) in object(value, "Resources")? {
        let path = format!("Resources.{logical_name}");
        let resource = object(resource, &path)?;
        only(resource, &["Type", "Properties", "OverrideSettings"], &path)?;
        let empty = Map::new();
        let properties = match resource.get("Properties") {
            None => &empty,
            Some(value) => object(value, &format!("{path}.Properties"))?,
        };
        let overrides = resource.get("OverrideSettings");
        let overrides = overrides.map(|value| object(value, &format!("{path}.OverrideSettings"))).transpose()?;
        let read = Properties { reader, logical_name, path, properties, overrides };
        match resource.get("Type").and_then(Value::as_str) {
            Some("AWS::IoT::Thing") if resources.thing.is_none() => resources.thing = Some(read.thing()?),
            Some("AWS::IoT::Certificate") if resources.certificate.is_none() => {
                resources.certificate = Some(read.certificate()?);
                certificate_path = Some(read.path);
            }
            Some("AWS::IoT::Policy") => resources.policies.push(read.policy()?),
            Some("AWS::IoT::Thing" | "AWS::IoT::Certificate") => {
                return Err(TemplateError::at(read.path, "is the second of its type; there may be one"));
            }
            _ => {
                let reason = "must be AWS::IoT::Thing, AWS::IoT::Certificate or AWS::IoT::Policy";
                return Err(TemplateError::at(format!("{}.Type", read.path), reason));
            }
        }
    }
    if resources.policies.len() > limits.policies {
        let reason = format!("has more than {} policies", limits.policies);
        return Err(TemplateError::at("Resources", reason));
    }
    // Without it nothing would become of the certificate that the device has.
    if reader.kind != TemplateKind::Registration && certificate_path.is_none() {
        return Err(TemplateError::at("Resources", "must have an AWS::IoT::Certificate"));
    }
    Ok(resources)
}

impl Properties<'_> {
    fn thing(&self) -> Result<Thing, TemplateError> {
        self.only(&["ThingName", "AttributePayload", "ThingTypeName", "ThingGroups", "BillingGroup"])?;
        let attributes = match self.properties.get("AttributePayload") {
            None => None,
            Some(value) => {
                let path = self.property("AttributePayload");
                let attributes = object(value, &path)?.iter();
                let attributes = attributes
                    .map(|(name, value)| Ok((name.clone(), self.reader.text(value, &format!("{path}.{name}"))?)));
                Some(attributes.collect::<Result<Vec<_>, TemplateError>>()?)
            }
        };
        let groups = self.properties.get("ThingGroups");
        let groups = groups.map(|value| self.reader.list(value, &self.property("ThingGroups"))).transpose()?;
        self.only_overrides(&[
            "AttributePayload",
            "ATTRIBUTE_PAYLOAD",
            "ThingTypeName",
            "THING_TYPE_NAME",
            "ThingGroups",
            "THING_GROUPS",
        ])?;
        Ok(Thing {
            logical_name: self.logical_name.to_owned(),
            name: self.text("ThingName")?,
            attributes,
            thing_type: self.text("ThingTypeName")?,
            groups,
            billing_group: self.text("BillingGroup")?,
            overrides: ThingOverrides {
                attributes: self.override_setting(["AttributePayload", "ATTRIBUTE_PAYLOAD"], true)?,
                thing_type: self.override_setting(["ThingTypeName", "THING_TYPE_NAME"], false)?,
                groups: self.override_setting(["ThingGroups", "THING_GROUPS"], true)?,
            },
        })
    }

    fn certificate(&self) -> Result<Certificate, TemplateError> {
        self.only(&[
            "CertificateSigningRequest",
            "CertificateId",
            "CertificateID",
            "CertificatePem",
            "CACertificatePem",
            "Status",
            "ThingPrincipalType",
        ])?;
        self.only_overrides(&["Status"])?;
        let status = self.text("Status")?;
        if let Some(Text::Literal(text)) = &status
            && AttachedStatus::parse(text).is_none()
        {
            return Err(TemplateError::at(self.property("Status"), "must be ACTIVE or INACTIVE"));
        }
        let is_exclusive = match self.properties.get("ThingPrincipalType").map(Value::as_str) {
            None | Some(Some("NON_EXCLUSIVE_THING")) => false,
            Some(Some("EXCLUSIVE_THING")) => true,
            Some(_) => {
                let reason = "must be EXCLUSIVE_THING or NON_EXCLUSIVE_THING";
                return Err(TemplateError::at(self.property("ThingPrincipalType"), reason));
            }
        };
        Ok(Certificate {
            logical_name: self.logical_name.to_owned(),
            source: self.certificate_source()?,
            status,
            status_override: self.override_setting(["Status", "Status"], false)?,
            is_exclusive,
        })
    }

    fn certificate_source(&self) -> Result<CertificateProperty, TemplateError> {
        let id = match (self.text("CertificateId")?, self.text("CertificateID")?) {
            (Some(_), Some(_)) => {
                return Err(TemplateError::at(self.property("CertificateID"), "is there in another spelling, too"));
            }
            (id, other) => id.or(other),
        };
        let request = self.text("CertificateSigningRequest")?;
        let (pem, ca_certificate) = (self.text("CertificatePem")?, self.text("CACertificatePem")?);
        let source = match (request, id, pem) {
            (Some(request), None, None) if ca_certificate.is_none() => CertificateProperty::SigningRequest(request),
            (None, Some(id), None) if ca_certificate.is_none() => CertificateProperty::Id(id),
            (None, None, Some(certificate)) => CertificateProperty::Pem { certificate, ca_certificate },
            _ => {
                let reason = "must have one of CertificateSigningRequest, CertificateId and CertificatePem, and \
                              CACertificatePem with the last only";
                return Err(TemplateError::at(format!("{}.Properties", self.path), reason));
            }
        };
        // Devices choose their parameters: any other could name a certificate that is not theirs.
        let is_own = matches!(&source, CertificateProperty::Id(Text::Parameter(name)) if name == CERTIFICATE_ID);
        if self.reader.kind != TemplateKind::Registration && !is_own {
            let reason = format!("CertificateId must be {{\"Ref\": \"{CERTIFICATE_ID}\"}} in this type of template");
            return Err(TemplateError::at(format!("{}.Properties", self.path), reason));
        }
        Ok(source)
    }

    fn policy(&self) -> Result<Policy, TemplateError> {
        self.only(&["PolicyName", "PolicyDocument"])?;
        if self.overrides.is_some() {
            return Err(TemplateError::at(format!("{}.OverrideSettings", self.path), "policies have none"));
        }
        let path = self.property("PolicyDocument");
        let source = match (self.text("PolicyName")?, self.properties.get("PolicyDocument")) {
            (Some(name), None) => Document::Named(name),
            // A function makes the text of a document; any other object is one.
            (None, Some(document)) => match self.reader.node(document, &path)? {
                Node::Text(text) => Document::Text(text),
                node @ Node::Object(_) => Document::Json(node),
                Node::Scalar(_) | Node::Array(_) => {
                    return Err(TemplateError::at(path, "must be a string or an object"));
                }
            },
            (Some(_), Some(_)) | (None, None) => {
                let reason = "must have PolicyName or PolicyDocument, and not both";
                return Err(TemplateError::at(format!("{}.Properties", self.path), reason));
            }
        };
        Ok(Policy { logical_name: self.logical_name.to_owned(), source })
    }

    fn only(&self, known: &[&str]) -> Result<(), TemplateError> {
        only(self.properties, known, &format!("{}.Properties", self.path))
    }

    fn only_overrides(&self, known: &[&str]) -> Result<(), TemplateError> {
        self.overrides.map_or(Ok(()), |overrides| only(overrides, known, &format!("{}.OverrideSettings", self.path)))
    }

    fn property(&self, name: &str) -> String {
        format!("{}.Properties.{name}", self.path)
    }

    fn text(&self, name: &str) -> Result<Option<Text>, TemplateError> {
        self.properties.get(name).map(|value| self.reader.text(value, &self.property(name))).transpose()
    }

    /// In either spelling: the guide names the settings in capitals, and its examples write them like properties.
    fn override_setting(&self, names: [&str; 2], merges: bool) -> Result<Option<Override>, TemplateError> {
        let found = self.overrides.into_iter().flatten().find(|(name, _)| names.contains(&name.as_str()));
        let Some((name, value)) = found else { return Ok(None) };
        let allowed = Override::ALL.into_iter().filter(|setting| merges || *setting != Override::Merge);
        let wanted = allowed.clone().find(|setting| value.as_str() == Some(setting.as_str()));
        let wrong = || {
            let allowed: Vec<&str> = allowed.map(Override::as_str).collect();
            let reason = format!("must be one of {}", allowed.join(", "));
            TemplateError::at(format!("{}.OverrideSettings.{name}", self.path), reason)
        };
        wanted.map(Some).ok_or_else(wrong)
    }
}
