//! The operations that are built. What each looks like on the wire is in the tables of the crate `service-model`.

use service_model::{IOT, IOT_DATA, IOT_JOBS_DATA, Model};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The service that an operation belongs to. Paths are unique within a plane, not across planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plane {
    /// The control plane, signed as `iot` (model `iot` 2015-05-28).
    Iot,
    /// The data plane, signed as `iotdata` or, by older clients, `iotdevicegateway` (model `iot-data` 2015-05-28).
    IotData,
    /// The jobs of one device, signed as `iot-jobs-data` (model `iot-jobs-data` 2017-09-29).
    IotJobsData,
}

impl Plane {
    /// All of them, in the order in which an unsigned request is looked for: that of what devices use.
    pub const ALL: [Self; 3] = [Self::IotData, Self::IotJobsData, Self::Iot];

    /// The plane that the service name in a SigV4 credential scope means; `None` when it is none of ours, which the
    /// caller refuses.
    #[must_use]
    pub fn from_signing_name(name: &str) -> Option<Self> {
        match name {
            "iot" => Some(Self::Iot),
            "iotdata" | "iotdevicegateway" => Some(Self::IotData),
            "iot-jobs-data" => Some(Self::IotJobsData),
            _ => None,
        }
    }

    /// The plane's operations, whether built or not.
    #[must_use]
    pub fn model(self) -> &'static Model {
        match self {
            Self::Iot => &IOT,
            Self::IotData => &IOT_DATA,
            Self::IotJobsData => &IOT_JOBS_DATA,
        }
    }
}

macro_rules! operations {
    ($($plane:ident: $($name:ident)+;)+) => {
        /// An operation that is built, by its name in the service model.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum Operation {
            $($($name,)+)+
        }

        impl Operation {
            /// All of them, in the order of the enum.
            pub const ALL: &[Self] = &[$($(Self::$name,)+)+];

            /// The name in the service model.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $($(Self::$name => stringify!($name),)+)+
                }
            }

            /// The plane.
            #[must_use]
            pub const fn plane(self) -> Plane {
                match self {
                    $($(Self::$name => Plane::$plane,)+)+
                }
            }
        }
    };
}

operations! {
    Iot:
        CreateThing DescribeThing ListThings UpdateThing DeleteThing CreateTopicRule GetTopicRule
        ListTopicRules DeleteTopicRule CreateJob DescribeJob ListJobs CreatePolicy GetPolicy ListPolicies
        DeletePolicy CreatePolicyVersion GetPolicyVersion ListPolicyVersions DeletePolicyVersion
        SetDefaultPolicyVersion AttachPolicy DetachPolicy ListAttachedPolicies ListTargetsForPolicy
        RegisterCertificateWithoutCA DescribeCertificate ListCertificates UpdateCertificate DeleteCertificate
        CreateKeysAndCertificate CreateCertificateFromCsr RegisterCertificate RegisterCACertificate
        DescribeCACertificate UpdateCACertificate DeleteCACertificate ListCACertificates ListCertificatesByCA
        GetRegistrationCode DeleteRegistrationCode TransferCertificate CancelCertificateTransfer
        AcceptCertificateTransfer RejectCertificateTransfer ListOutgoingCertificates AttachThingPrincipal
        DetachThingPrincipal ListThingPrincipals ListThingPrincipalsV2 ListPrincipalThings ListPrincipalThingsV2
        GetEffectivePolicies TestAuthorization AttachPrincipalPolicy DetachPrincipalPolicy ListPrincipalPolicies
        ListPolicyPrincipals CreateRoleAlias DescribeRoleAlias UpdateRoleAlias DeleteRoleAlias ListRoleAliases
        CreateApiKey DescribeApiKey ListApiKeys UpdateApiKey DeleteApiKey ListAuditEvents CreateAuthorizer
        DescribeAuthorizer UpdateAuthorizer DeleteAuthorizer TestInvokeAuthorizer ListAuthorizers
        SetDefaultAuthorizer DescribeDefaultAuthorizer ClearDefaultAuthorizer
        RegisterThing CreateProvisioningClaim CreateProvisioningTemplate DescribeProvisioningTemplate ListProvisioningTemplates UpdateProvisioningTemplate DeleteProvisioningTemplate CreateProvisioningTemplateVersion DescribeProvisioningTemplateVersion ListProvisioningTemplateVersions DeleteProvisioningTemplateVersion
        CreateThingType DescribeThingType ListThingTypes UpdateThingType DeprecateThingType DeleteThingType CreateThingGroup DescribeThingGroup ListThingGroups UpdateThingGroup DeleteThingGroup ListThingsInThingGroup AddThingToThingGroup RemoveThingFromThingGroup UpdateThingGroupsForThing ListThingGroupsForThing CreateBillingGroup DescribeBillingGroup ListBillingGroups UpdateBillingGroup DeleteBillingGroup AddThingToBillingGroup RemoveThingFromBillingGroup ListThingsInBillingGroup TagResource UntagResource ListTagsForResource DescribeEventConfigurations UpdateEventConfigurations SetV2LoggingOptions GetV2LoggingOptions SetV2LoggingLevel DeleteV2LoggingLevel ListV2LoggingLevels SetLoggingOptions GetLoggingOptions DescribeEndpoint GetThingConnectivityData CreateDomainConfiguration DescribeDomainConfiguration ListDomainConfigurations UpdateDomainConfiguration DeleteDomainConfiguration
        GetIndexingConfiguration UpdateIndexingConfiguration DescribeIndex ListIndices SearchIndex GetStatistics
        GetCardinality GetPercentiles GetBucketsAggregation;
    IotData:
        AssumeRoleWithCertificate GetThingShadow UpdateThingShadow DeleteThingShadow Publish GetRetainedMessage
        ListRetainedMessages GetConnection DeleteConnection ListSubscriptions SendDirectMessage;
}

/// Those that are built, by plane and name.
static BUILT: LazyLock<BTreeMap<(Plane, &'static str), Operation>> = LazyLock::new(|| {
    Operation::ALL.iter().map(|operation| ((operation.plane(), operation.name()), *operation)).collect()
});

impl Operation {
    /// The operation of this name, if it is built.
    #[must_use]
    pub fn built(plane: Plane, name: &str) -> Option<Self> {
        BUILT.get(&(plane, name)).copied()
    }

    /// The operation's row in its plane's table. `None`: there is none, which a test rules out.
    #[must_use]
    pub fn row(self) -> Option<&'static service_model::Operation> {
        self.plane().model().operation(self.name())
    }

    /// The HTTP status of success.
    #[must_use]
    pub fn success_status(self) -> u16 {
        self.row().map_or(200, |row| row.success_status)
    }

    /// Whether the method is the one for operations that only read.
    #[must_use]
    pub fn is_get(self) -> bool {
        self.row().is_some_and(|row| row.method == "GET")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_that_is_built_has_a_row() {
        for operation in Operation::ALL {
            assert!(operation.row().is_some(), "{}", operation.name());
            assert_eq!(Operation::built(operation.plane(), operation.name()), Some(*operation));
        }
    }

    #[test]
    fn signing_names_find_their_plane() {
        assert_eq!(Plane::from_signing_name("iot"), Some(Plane::Iot));
        assert_eq!(Plane::from_signing_name("iotdevicegateway"), Some(Plane::IotData));
        assert_eq!(Plane::from_signing_name("iot-jobs-data"), Some(Plane::IotJobsData));
        assert_eq!(Plane::from_signing_name("s3"), None);
    }
}
