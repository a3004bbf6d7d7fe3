//! What a template asks for once it is evaluated.

use iot_types::{CertificateId, NameError, PolicyName, Scope, ThingName};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that one evaluation of a template asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The thing, if the template declares one.
    pub thing: Option<ThingPlan>,
    /// The certificate, if the template declares one; fleet and just-in-time provisioning always do.
    pub certificate: Option<CertificatePlan>,
    /// Policies to attach to the certificate, in the template's order.
    pub policies: Vec<PolicyPlan>,
    /// What the device is told (`deviceConfiguration`).
    pub device_configuration: BTreeMap<String, String>,
}

/// The thing to create, or to bring to this. A property that is `None` is not in the template, and is left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThingPlan {
    /// The name in the template, the key in `resourceArns`.
    pub logical_name: String,
    /// `ThingName`. The guide's own examples leave it out; then whoever carries out the plan has to choose one.
    pub name: Option<ThingName>,
    /// `AttributePayload`. Names and values are not held to the registry's rules yet.
    pub attributes: Option<BTreeMap<String, String>>,
    /// `ThingTypeName`, of the right characters.
    pub thing_type: Option<String>,
    /// `ThingGroups`, each of the right characters.
    pub groups: Option<BTreeSet<String>>,
    /// `BillingGroup`, of the right characters.
    pub billing_group: Option<String>,
    /// What to do if the thing is there already.
    pub overrides: ThingOverrides,
}

/// `OverrideSettings` of a thing. `None` is not in the template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThingOverrides {
    /// `AttributePayload`.
    pub attributes: Option<Override>,
    /// `ThingTypeName`, never [`Override::Merge`].
    pub thing_type: Option<Override>,
    /// `ThingGroups`.
    pub groups: Option<Override>,
}

/// What to do with a property of a resource that exists ("Override settings").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Override {
    /// `DO_NOTHING`: it stays as it is.
    DoNothing,
    /// `REPLACE`: it becomes what the template says.
    Replace,
    /// `FAIL`: the request fails.
    Fail,
    /// `MERGE`: what is there and what the template says.
    Merge,
}

impl Override {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::DoNothing, Self::Replace, Self::Fail, Self::Merge];

    /// AWS's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DoNothing => "DO_NOTHING",
            Self::Replace => "REPLACE",
            Self::Fail => "FAIL",
            Self::Merge => "MERGE",
        }
    }
}

/// The certificate to issue, register or take, and what it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePlan {
    /// The name in the template, the key in `resourceArns`.
    pub logical_name: String,
    /// Which certificate.
    pub source: CertificateSource,
    /// What it is to be.
    pub status: AttachedStatus,
    /// What to do with the status of one that is registered already; never [`Override::Merge`].
    pub status_override: Option<Override>,
    /// `ThingPrincipalType` is `EXCLUSIVE_THING`: the certificate is attached to no other thing.
    pub is_exclusive: bool,
}

/// Which certificate a template means ("Certificate resources").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// `CertificateSigningRequest`: to be issued from this PEM.
    SigningRequest(String),
    /// `CertificateId`: registered already.
    Registered(CertificateId),
    /// `CertificatePem`: to be registered.
    Pem {
        /// The device's certificate.
        certificate: String,
        /// `CACertificatePem`: its authority's, which must be given when several have the same subject.
        ca_certificate: Option<String>,
    },
}

/// `Status` of a certificate in a template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttachedStatus {
    /// `ACTIVE`, also when a template does not say.
    #[default]
    #[serde(rename = "ACTIVE")]
    Active,
    /// `INACTIVE`.
    #[serde(rename = "INACTIVE")]
    Inactive,
}

impl AttachedStatus {
    /// AWS's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
        }
    }

    /// Reads it in any case: the guide's example for fleet provisioning says `Active`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Inactive].into_iter().find(|status| status.as_str().eq_ignore_ascii_case(text))
    }
}

/// A policy to attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyPlan {
    /// The name in the template, the key in `resourceArns`.
    pub logical_name: String,
    /// Which policy.
    pub source: PolicySource,
}

/// Which policy a template means ("Policy resources").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicySource {
    /// `PolicyName`: it must exist.
    Existing(PolicyName),
    /// `PolicyDocument`: it is created, unless one of its name exists.
    Document {
        /// The SHA-256 of the document in hexadecimal digits, so the same document is the same policy for every device
        /// and every repetition.
        name: PolicyName,
        /// The document, not looked into.
        document: String,
    },
}

impl PolicySource {
    /// A document and its name.
    pub(crate) fn document(document: String) -> Result<Self, NameError> {
        let name = PolicyName::new(hex::encode(Sha256::digest(document.as_bytes())))?;
        Ok(Self::Document { name, document })
    }

    /// The policy's name.
    #[must_use]
    pub fn name(&self) -> &PolicyName {
        match self {
            Self::Existing(name) | Self::Document { name, .. } => name,
        }
    }
}

impl Plan {
    /// `resourceArns` of RegisterThing's answer, by the names in the template: of the thing and the certificate that the
    /// plan has led to, and of the policies.
    #[must_use]
    pub fn resource_arns(
        &self,
        scope: &Scope,
        thing: Option<&ThingName>,
        certificate: Option<&CertificateId>,
    ) -> BTreeMap<String, String> {
        let thing = self.thing.as_ref().zip(thing).map(|(plan, name)| (&plan.logical_name, scope.thing_arn(name)));
        let certificate = self.certificate.as_ref().zip(certificate);
        let certificate = certificate.map(|(plan, id)| (&plan.logical_name, scope.certificate_arn(id)));
        let policies = self.policies.iter();
        let policies = policies.map(|plan| (&plan.logical_name, scope.policy_arn(plan.source.name())));
        let all = thing.into_iter().chain(certificate).chain(policies);
        all.map(|(name, arn)| (name.clone(), arn.as_str().to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use iot_types::{AccountId, Region};

    #[test]
    fn a_policy_given_as_a_document_is_named_by_its_hash() {
        let name = |text: &str| PolicySource::document(text.to_owned()).unwrap().name().as_str().to_owned();
        // FIPS 180-2, appendix B.1
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(name("abc"), of_abc);
        assert_ne!(name("abd"), of_abc);
    }

    #[test]
    fn arns_are_by_the_names_in_the_template() {
        let policy = |name: &str| PolicyPlan {
            logical_name: format!("my {name}"),
            source: PolicySource::Existing(PolicyName::new(name).unwrap()),
        };
        let plan = Plan {
            thing: Some(ThingPlan { logical_name: "my thing".to_owned(), ..ThingPlan::default() }),
            certificate: None,
            policies: vec![policy("p"), policy("q")],
            device_configuration: BTreeMap::new(),
        };
        let scope =
            Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("us-east-1").unwrap() };
        let (lamp, id) = (ThingName::new("lamp").unwrap(), CertificateId::new("a".repeat(64)).unwrap());
        let arns = plan.resource_arns(&scope, Some(&lamp), Some(&id));
        let expected = [
            ("my p", "arn:aws:iot:us-east-1:123456789012:policy/p"),
            ("my q", "arn:aws:iot:us-east-1:123456789012:policy/q"),
            ("my thing", "arn:aws:iot:us-east-1:123456789012:thing/lamp"),
        ];
        assert_eq!(arns, expected.map(|(name, arn)| (name.to_owned(), arn.to_owned())).into());
        assert_eq!(plan.resource_arns(&scope, None, None).len(), 2);
    }

    #[test]
    fn a_status_is_read_in_any_case() {
        for (text, expected) in [
            ("ACTIVE", Some(AttachedStatus::Active)),
            ("Active", Some(AttachedStatus::Active)),
            ("inactive", Some(AttachedStatus::Inactive)),
            ("REVOKED", None),
            ("", None),
        ] {
            assert_eq!(AttachedStatus::parse(text), expected, "{text}");
        }
    }
}
