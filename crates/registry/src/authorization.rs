//! What a caller needs to be allowed for an operation over HTTPS: actions of the AWS IoT policy language and the
//! resources that they are asked about (Service Authorization Reference, "Actions, resources, and condition keys for AWS
//! IoT"; AWS IoT developer guide, "AWS IoT Core policy actions"). What clients do over MQTT is asked by their Broker.

use crate::error::ApiError;
use crate::input::{Body, Query};
use crate::operation::{Operation, Plane};
use crate::policy::PolicyTarget;
use crate::route::RouteMatch;
use iot_types::{Arn, Scope};

/// One thing that has to be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// Such as `iot:CreateThing`.
    pub action: String,
    /// An ARN, or `*` where the operation is about no resource.
    pub resource: String,
}

/// What an operation is about.
enum Resource<'a> {
    /// The kind in the ARN, and the path parameter behind it.
    Of(&'a str, &'a str),
    /// The target in the body, whose ARN it is.
    BodyTarget(&'a str),
    /// The ARN in the body.
    BodyArn(&'a str),
    /// Several, each by a member of the body with its name or one with its ARN: the kind and both members.
    Members(&'a [(&'a str, &'a str, &'a str)]),
    /// The index that the body names, or that of things.
    BodyIndex,
    /// None.
    Any,
}

/// Everything that has to be allowed for a request.
///
/// # Errors
/// `InvalidRequestException`, `SerializationException` for a request that does not say what it is about.
pub fn needed(route: &RouteMatch, query: &str, body: &[u8], scope: &Scope) -> Result<Vec<Needed>, ApiError> {
    let operation = route.operation;
    let arn = |kind: &str, name: &str| {
        format!("arn:aws:iot:{}:{}:{kind}/{name}", scope.region.as_str(), scope.account_id.as_str())
    };
    let action = |name: &str| format!("iot:{name}");
    let resource = match resource(operation) {
        Resource::Of(kind, parameter) => arn(kind, route.parameter(parameter)),
        Resource::BodyTarget(member) => {
            let body = Body::parse(body)?;
            PolicyTarget::parse(body.string(member)?.unwrap_or_default(), scope)?.as_str().to_owned()
        }
        Resource::BodyArn(member) => {
            Body::parse(body)?.string(member)?.filter(|arn| !arn.is_empty()).unwrap_or("*").to_owned()
        }
        Resource::Members(kinds) => {
            let body = Body::parse(body)?;
            let mut all = Vec::new();
            for (kind, name, its_arn) in kinds {
                let of_arn = body.string(its_arn)?.and_then(|text| Arn::resource_name(text, kind));
                let name = body.string(name)?.or(of_arn).unwrap_or_default();
                all.push(Needed { action: action(operation.name()), resource: arn(kind, name) });
            }
            return Ok(all);
        }
        Resource::BodyIndex => {
            let body = Body::parse(body)?;
            arn("index", body.string("indexName")?.unwrap_or(fleet_index::Index::Things.name()))
        }
        Resource::Any => "*".to_owned(),
    };
    let parameters = Query::parse(query);
    let mut all = vec![Needed { action: action(operation.name()), resource }];
    match operation {
        // A named shadow has a resource of its own below its thing.
        Operation::GetThingShadow | Operation::UpdateThingShadow | Operation::DeleteThingShadow => {
            if let (Some(name), Some(first)) = (parameters.string("name"), all.first_mut()) {
                first.resource = format!("{}/{name}", first.resource);
            }
        }
        Operation::Publish if parameters.boolean("retain")?.unwrap_or(false) => {
            let resource = arn("topic", route.parameter("topic"));
            all.push(Needed { action: action("RetainPublish"), resource });
        }
        _ => {}
    }
    Ok(all)
}

fn resource(operation: Operation) -> Resource<'static> {
    use Operation as O;
    use Resource::{Any, BodyArn, BodyIndex, BodyTarget, Members, Of};
    match operation {
        O::CreateThing
        | O::DescribeThing
        | O::UpdateThing
        | O::DeleteThing
        | O::AttachThingPrincipal
        | O::DetachThingPrincipal
        | O::ListThingPrincipals
        | O::ListThingPrincipalsV2
        | O::ListThingGroupsForThing
        | O::GetThingConnectivityData
        | O::GetThingShadow
        | O::UpdateThingShadow
        | O::DeleteThingShadow => Of("thing", "thingName"),
        O::CreateThingType | O::DescribeThingType | O::UpdateThingType | O::DeprecateThingType | O::DeleteThingType => {
            Of("thingtype", "thingTypeName")
        }
        O::CreateThingGroup
        | O::DescribeThingGroup
        | O::UpdateThingGroup
        | O::DeleteThingGroup
        | O::ListThingsInThingGroup => Of("thinggroup", "thingGroupName"),
        O::CreateBillingGroup
        | O::DescribeBillingGroup
        | O::UpdateBillingGroup
        | O::DeleteBillingGroup
        | O::ListThingsInBillingGroup => Of("billinggroup", "billingGroupName"),
        O::CreateProvisioningClaim
        | O::DescribeProvisioningTemplate
        | O::UpdateProvisioningTemplate
        | O::DeleteProvisioningTemplate
        | O::CreateProvisioningTemplateVersion
        | O::DescribeProvisioningTemplateVersion
        | O::ListProvisioningTemplateVersions
        | O::DeleteProvisioningTemplateVersion => Of("provisioningtemplate", "templateName"),
        O::CreateProvisioningTemplate => Members(&[("provisioningtemplate", "templateName", "")]),
        O::CreateDomainConfiguration
        | O::DescribeDomainConfiguration
        | O::UpdateDomainConfiguration
        | O::DeleteDomainConfiguration => Of("domainconfiguration", "domainConfigurationName"),
        O::AddThingToThingGroup | O::RemoveThingFromThingGroup => {
            Members(&[("thinggroup", "thingGroupName", "thingGroupArn"), ("thing", "thingName", "thingArn")])
        }
        O::AddThingToBillingGroup | O::RemoveThingFromBillingGroup => {
            Members(&[("billinggroup", "billingGroupName", "billingGroupArn"), ("thing", "thingName", "thingArn")])
        }
        O::UpdateThingGroupsForThing => Members(&[("thing", "thingName", "")]),
        O::TagResource | O::UntagResource => BodyArn("resourceArn"),
        O::CreateTopicRule | O::GetTopicRule | O::DeleteTopicRule => Of("rule", "ruleName"),
        O::CreateJob | O::DescribeJob => Of("job", "jobId"),
        O::CreatePolicy
        | O::GetPolicy
        | O::DeletePolicy
        | O::CreatePolicyVersion
        | O::GetPolicyVersion
        | O::ListPolicyVersions
        | O::DeletePolicyVersion
        | O::SetDefaultPolicyVersion
        | O::AttachPrincipalPolicy
        | O::DetachPrincipalPolicy
        | O::ListTargetsForPolicy => Of("policy", "policyName"),
        O::AttachPolicy | O::DetachPolicy => BodyTarget("target"),
        O::DescribeCertificate
        | O::UpdateCertificate
        | O::DeleteCertificate
        | O::TransferCertificate
        | O::CancelCertificateTransfer
        | O::AcceptCertificateTransfer
        | O::RejectCertificateTransfer => Of("cert", "certificateId"),
        O::DescribeCACertificate | O::UpdateCACertificate | O::DeleteCACertificate | O::ListCertificatesByCA => {
            Of("cacert", "caCertificateId")
        }
        O::CreateRoleAlias
        | O::DescribeRoleAlias
        | O::UpdateRoleAlias
        | O::DeleteRoleAlias
        | O::AssumeRoleWithCertificate => Of("rolealias", "roleAlias"),
        O::CreateAuthorizer
        | O::DescribeAuthorizer
        | O::UpdateAuthorizer
        | O::DeleteAuthorizer
        | O::TestInvokeAuthorizer => Of("authorizer", "authorizerName"),
        O::DescribeApiKey | O::UpdateApiKey | O::DeleteApiKey => Of("apikey", "apiKeyId"),
        O::Publish | O::GetRetainedMessage => Of("topic", "topic"),
        O::GetConnection | O::DeleteConnection | O::ListSubscriptions | O::SendDirectMessage => {
            Of("client", "clientId")
        }
        O::DescribeIndex => Of("index", "indexName"),
        O::SearchIndex | O::GetStatistics | O::GetCardinality | O::GetPercentiles | O::GetBucketsAggregation => {
            BodyIndex
        }
        O::RegisterThing
        | O::GetIndexingConfiguration
        | O::UpdateIndexingConfiguration
        | O::ListIndices
        | O::ListProvisioningTemplates
        | O::ListThingTypes
        | O::ListThingGroups
        | O::ListBillingGroups
        | O::ListTagsForResource
        | O::DescribeEventConfigurations
        | O::UpdateEventConfigurations
        | O::SetV2LoggingOptions
        | O::GetV2LoggingOptions
        | O::SetV2LoggingLevel
        | O::DeleteV2LoggingLevel
        | O::ListV2LoggingLevels
        | O::SetLoggingOptions
        | O::GetLoggingOptions
        | O::DescribeEndpoint
        | O::ListDomainConfigurations
        | O::ListThings
        | O::ListTopicRules
        | O::ListJobs
        | O::ListPolicies
        | O::ListAttachedPolicies
        | O::GetEffectivePolicies
        | O::TestAuthorization
        | O::ListPolicyPrincipals
        | O::ListPrincipalPolicies
        | O::RegisterCertificateWithoutCA
        | O::RegisterCertificate
        | O::ListCertificates
        | O::CreateKeysAndCertificate
        | O::CreateCertificateFromCsr
        | O::RegisterCACertificate
        | O::ListCACertificates
        | O::GetRegistrationCode
        | O::DeleteRegistrationCode
        | O::ListOutgoingCertificates
        | O::ListPrincipalThings
        | O::ListRoleAliases
        | O::ListAuditEvents
        | O::ListAuthorizers
        | O::SetDefaultAuthorizer
        | O::DescribeDefaultAuthorizer
        | O::ClearDefaultAuthorizer
        | O::CreateApiKey
        | O::ListApiKeys
        | O::ListPrincipalThingsV2
        | O::ListRetainedMessages => Any,
    }
}

/// What a caller is told who may not do something: which action on which resource, and why.
#[must_use]
pub fn denied(plane: Plane, who: &str, needed: &Needed, reason: &str) -> ApiError {
    let Needed { action, resource } = needed;
    let message = format!("{who} is not authorized to perform: {action} on resource: {resource}, because {reason}");
    match plane {
        Plane::Iot => ApiError::new("AccessDeniedException", 403, message),
        Plane::IotData | Plane::IotJobsData => ApiError::forbidden(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::route;
    use iot_types::{AccountId, Region};

    fn scope() -> Scope {
        Scope { account_id: AccountId::new("123456789012").unwrap(), region: Region::new("eu-west-1").unwrap() }
    }

    fn texts(plane: Plane, method: &str, path: &str, query: &str, body: &str) -> Vec<String> {
        let route = route(Some(plane), method, path).unwrap();
        let all = needed(&route, query, body.as_bytes(), &scope()).unwrap();
        let own = "arn:aws:iot:eu-west-1:123456789012:";
        all.into_iter().map(|one| format!("{} {}", one.action, one.resource.replace(own, ""))).collect()
    }

    #[test]
    fn an_operation_needs_its_action_on_its_resource() {
        use Plane::{Iot, IotData};
        for (plane, method, path, query, body, expected) in [
            (Iot, "POST", "/things/lamp", "", "", &["iot:CreateThing thing/lamp"][..]),
            (Iot, "GET", "/things", "", "", &["iot:ListThings *"]),
            (Iot, "PUT", "/target-policies/p", "", r#"{"target":"x"}"#, &["iot:AttachPolicy x"]),
            (IotData, "POST", "/topics/a%2Fb", "", "", &["iot:Publish topic/a/b"]),
            (IotData, "POST", "/topics/a", "retain=true", "", &["iot:Publish topic/a", "iot:RetainPublish topic/a"]),
            (IotData, "POST", "/topics/a", "retain=false", "", &["iot:Publish topic/a"]),
            (IotData, "GET", "/things/lamp/shadow", "", "", &["iot:GetThingShadow thing/lamp"]),
            (IotData, "POST", "/things/lamp/shadow", "name=night", "", &["iot:UpdateThingShadow thing/lamp/night"]),
            (IotData, "GET", "/retainedMessage/a/b", "", "", &["iot:GetRetainedMessage topic/a/b"]),
            (IotData, "GET", "/retainedMessage", "", "", &["iot:ListRetainedMessages *"]),
            (IotData, "DELETE", "/connections/c%201", "", "", &["iot:DeleteConnection client/c 1"]),
        ] {
            assert_eq!(texts(plane, method, path, query, body), expected, "{method} {path}");
        }
    }

    #[test]
    fn every_path_parameter_that_a_resource_is_named_by_is_in_its_operations_path() {
        for operation in Operation::ALL {
            let row = operation.row().unwrap();
            if let Resource::Of(_, parameter) = resource(*operation) {
                let names = [format!("{{{parameter}}}"), format!("{{{parameter}+}}")];
                assert!(names.iter().any(|name| row.uri_template.contains(name)), "{}", row.name);
            }
        }
    }

    #[test]
    fn who_is_denied_learns_what_is_missing() {
        let needed = Needed { action: "iot:Publish".into(), resource: "arn:x".into() };
        let error = denied(Plane::IotData, "cert", &needed, "no policy allows it");
        let expected = "cert is not authorized to perform: iot:Publish on resource: arn:x, because no policy allows it";
        assert_eq!((error.name(), error.status(), error.message()), ("ForbiddenException", 403, expected));
        assert_eq!(denied(Plane::Iot, "key", &needed, "").name(), "AccessDeniedException");
    }
}
