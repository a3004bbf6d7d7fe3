//! The table of operations: one row each, as in AWS's service models.

/// The service that an operation belongs to. Paths are unique within a plane, not across planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Plane {
    /// The control plane, signed as `iot` (model `iot` 2015-05-28).
    Iot,
    /// The data plane, signed as `iotdata` or, by older clients, `iotdevicegateway` (model `iot-data` 2015-05-28).
    IotData,
}

impl Plane {
    /// The plane that the service name in a SigV4 credential scope means; `None` when it is none of ours, which the
    /// caller refuses.
    #[must_use]
    pub fn from_signing_name(name: &str) -> Option<Self> {
        match name {
            "iot" => Some(Self::Iot),
            "iotdata" | "iotdevicegateway" => Some(Self::IotData),
            _ => None,
        }
    }
}

/// The HTTP methods that operations use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Method {
    Delete,
    Get,
    Patch,
    Post,
    Put,
}

impl Method {
    /// The method of this name, which is case-sensitive (RFC 9110 section 9.1); `None` for one that no operation uses.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "DELETE" => Some(Self::Delete),
            "GET" => Some(Self::Get),
            "PATCH" => Some(Self::Patch),
            "POST" => Some(Self::Post),
            "PUT" => Some(Self::Put),
            _ => None,
        }
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Specification {
    /// Which operation.
    pub operation: Operation,
    /// Its name in the service model.
    pub name: &'static str,
    /// Its plane.
    pub plane: Plane,
    /// Its method.
    pub method: Method,
    /// Its path; `{name}` is one segment, `{name+}` the rest of the path with its slashes.
    pub uri_template: &'static str,
    /// The HTTP status of success.
    pub success_status: u16,
}

macro_rules! operations {
    ($($name:ident $plane:ident $method:ident $uri:literal $status:literal;)+) => {
        /// An operation of AWS's, by its name in the service model.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum Operation {
            $($name,)+
        }

        /// All operations, in the order of the enum.
        pub const TABLE: &[Specification] = &[
            $(Specification {
                operation: Operation::$name,
                name: stringify!($name),
                plane: Plane::$plane,
                method: Method::$method,
                uri_template: $uri,
                success_status: $status,
            },)+
        ];

        impl Operation {
            /// The operation's row.
            #[must_use]
            pub const fn specification(self) -> Specification {
                match self {
                    $(Self::$name => Specification {
                        operation: Self::$name,
                        name: stringify!($name),
                        plane: Plane::$plane,
                        method: Method::$method,
                        uri_template: $uri,
                        success_status: $status,
                    },)+
                }
            }

            /// The name in the service model, for logs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                self.specification().name
            }
        }
    };
}

operations! {
    CreateThing          Iot     Post   "/things/{thingName}"                   200;
    DescribeThing        Iot     Get    "/things/{thingName}"                   200;
    ListThings           Iot     Get    "/things"                               200;
    UpdateThing          Iot     Patch  "/things/{thingName}"                   200;
    DeleteThing          Iot     Delete "/things/{thingName}"                   200;
    CreateTopicRule      Iot     Post   "/rules/{ruleName}"                     200;
    GetTopicRule         Iot     Get    "/rules/{ruleName}"                     200;
    ListTopicRules       Iot     Get    "/rules"                                200;
    DeleteTopicRule      Iot     Delete "/rules/{ruleName}"                     200;
    CreateJob            Iot     Put    "/jobs/{jobId}"                         200;
    DescribeJob          Iot     Get    "/jobs/{jobId}"                         200;
    ListJobs             Iot     Get    "/jobs"                                 200;
    CreatePolicy             Iot Post   "/policies/{policyName}"                              200;
    GetPolicy                Iot Get    "/policies/{policyName}"                              200;
    ListPolicies             Iot Get    "/policies"                                           200;
    DeletePolicy             Iot Delete "/policies/{policyName}"                              200;
    CreatePolicyVersion      Iot Post   "/policies/{policyName}/version"                      200;
    GetPolicyVersion         Iot Get    "/policies/{policyName}/version/{policyVersionId}"    200;
    ListPolicyVersions       Iot Get    "/policies/{policyName}/version"                      200;
    DeletePolicyVersion      Iot Delete "/policies/{policyName}/version/{policyVersionId}"    200;
    SetDefaultPolicyVersion  Iot Patch  "/policies/{policyName}/version/{policyVersionId}"    200;
    AttachPolicy             Iot Put    "/target-policies/{policyName}"                       200;
    DetachPolicy             Iot Post   "/target-policies/{policyName}"                       200;
    ListAttachedPolicies     Iot Post   "/attached-policies/{target+}"                        200;
    ListTargetsForPolicy     Iot Post   "/policy-targets/{policyName}"                        200;
    RegisterCertificateWithoutCA Iot Post "/certificate/register-no-ca"                       200;
    DescribeCertificate      Iot Get    "/certificates/{certificateId}"                       200;
    ListCertificates         Iot Get    "/certificates"                                       200;
    UpdateCertificate        Iot Put    "/certificates/{certificateId}"                       200;
    DeleteCertificate        Iot Delete "/certificates/{certificateId}"                       200;
    CreateKeysAndCertificate Iot Post "/keys-and-certificate"                                 200;
    CreateCertificateFromCsr Iot Post "/certificates"                                         200;
    RegisterCertificate      Iot Post "/certificate/register"                                 200;
    RegisterCACertificate    Iot Post "/cacertificate"                                        200;
    DescribeCACertificate    Iot Get  "/cacertificate/{caCertificateId}"                      200;
    UpdateCACertificate      Iot Put  "/cacertificate/{caCertificateId}"                      200;
    DeleteCACertificate      Iot Delete "/cacertificate/{caCertificateId}"                    200;
    ListCACertificates       Iot Get  "/cacertificates"                                       200;
    ListCertificatesByCA     Iot Get  "/certificates-by-ca/{caCertificateId}"                 200;
    GetRegistrationCode      Iot Get  "/registrationcode"                                     200;
    DeleteRegistrationCode   Iot Delete "/registrationcode"                                   200;
    TransferCertificate      Iot Patch "/transfer-certificate/{certificateId}"                200;
    CancelCertificateTransfer Iot Patch "/cancel-certificate-transfer/{certificateId}"        200;
    AcceptCertificateTransfer Iot Patch "/accept-certificate-transfer/{certificateId}"        200;
    RejectCertificateTransfer Iot Patch "/reject-certificate-transfer/{certificateId}"        200;
    ListOutgoingCertificates Iot Get  "/certificates-out-going"                               200;
    AttachThingPrincipal     Iot Put  "/things/{thingName}/principals"                        200;
    DetachThingPrincipal     Iot Delete "/things/{thingName}/principals"                      200;
    ListThingPrincipals      Iot Get  "/things/{thingName}/principals"                        200;
    ListThingPrincipalsV2    Iot Get  "/things/{thingName}/principals-v2"                     200;
    ListPrincipalThings      Iot Get  "/principals/things"                                    200;
    ListPrincipalThingsV2    Iot Get  "/principals/things-v2"                                 200;
    GetEffectivePolicies     Iot Post "/effective-policies"                                   200;
    TestAuthorization        Iot Post "/test-authorization"                                   200;
    AttachPrincipalPolicy    Iot Put  "/principal-policies/{policyName}"                      200;
    DetachPrincipalPolicy    Iot Delete "/principal-policies/{policyName}"                    200;
    ListPrincipalPolicies    Iot Get  "/principal-policies"                                   200;
    ListPolicyPrincipals     Iot Get  "/policy-principals"                                    200;
    CreateRoleAlias          Iot Post "/role-aliases/{roleAlias}"                             200;
    DescribeRoleAlias        Iot Get  "/role-aliases/{roleAlias}"                             200;
    UpdateRoleAlias          Iot Put  "/role-aliases/{roleAlias}"                             200;
    DeleteRoleAlias          Iot Delete "/role-aliases/{roleAlias}"                           200;
    ListRoleAliases          Iot Get  "/role-aliases"                                         200;
    // Not AWS's, which has IAM for it.
    CreateApiKey             Iot Post "/api-keys"                                             200;
    DescribeApiKey           Iot Get  "/api-keys/{apiKeyId}"                                  200;
    ListApiKeys              Iot Get  "/api-keys"                                             200;
    UpdateApiKey             Iot Patch "/api-keys/{apiKeyId}"                                 200;
    DeleteApiKey             Iot Delete "/api-keys/{apiKeyId}"                                200;
    // Not AWS's either, which has CloudTrail for it.
    ListAuditEvents          Iot Get  "/audit-log"                                            200;
    // The credential provider, in AWS on a host of its own.
    AssumeRoleWithCertificate IotData Get "/role-aliases/{roleAlias}/credentials"             200;
    CreateAuthorizer         Iot Post   "/authorizer/{authorizerName}"                        200;
    DescribeAuthorizer       Iot Get    "/authorizer/{authorizerName}"                        200;
    UpdateAuthorizer         Iot Put    "/authorizer/{authorizerName}"                        200;
    DeleteAuthorizer         Iot Delete "/authorizer/{authorizerName}"                        200;
    TestInvokeAuthorizer     Iot Post   "/authorizer/{authorizerName}/test"                   200;
    ListAuthorizers          Iot Get    "/authorizers/"                                       200;
    SetDefaultAuthorizer     Iot Post   "/default-authorizer"                                 200;
    DescribeDefaultAuthorizer Iot Get   "/default-authorizer"                                 200;
    ClearDefaultAuthorizer   Iot Delete "/default-authorizer"                                 200;
    GetThingShadow       IotData Get    "/things/{thingName}/shadow"            200;
    UpdateThingShadow    IotData Post   "/things/{thingName}/shadow"            200;
    DeleteThingShadow    IotData Delete "/things/{thingName}/shadow"            200;
    // The model has `{topic}`, which clients percent-encode; curl users write the slashes as they are.
    Publish              IotData Post   "/topics/{topic+}"                      200;
    GetRetainedMessage   IotData Get    "/retainedMessage/{topic+}"             200;
    ListRetainedMessages IotData Get    "/retainedMessage"                      200;
    GetConnection        IotData Get    "/connections/{clientId}"               200;
    DeleteConnection     IotData Delete "/connections/{clientId}"               200;
    ListSubscriptions    IotData Get    "/connections/{clientId}/subscriptions" 200;
    SendDirectMessage    IotData Post   "/connections/{clientId}/messages"      200;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_its_operations_own() {
        for row in TABLE {
            assert_eq!(row.operation.specification(), *row);
            assert_eq!(row.operation.name(), format!("{:?}", row.operation));
        }
    }
}
