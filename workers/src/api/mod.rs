//! AWS's operations over HTTPS: authenticate, route, hand to the resource's file, answer.

mod api_keys;
mod audit;
mod authentication;
mod authorization;
mod authorizer_cache;
mod authorizers;
mod billing_groups;
mod ca_certificates;
mod certificate_issuing;
mod certificate_transfers;
mod certificates;
mod connections;
mod control;
mod domain_configurations;
mod effective_policies;
pub mod error;
mod events;
mod fleet_indexing;
mod group_members;
mod index_aggregations;
pub mod jobs;
pub mod objects;
mod policies;
mod policy_attachments;
mod provisioning;
mod provisioning_templates;
mod publish;
mod resources;
mod retained;
mod role_aliases;
mod settings;
mod shadows;
mod tags;
mod thing_groups;
mod thing_principals;
mod thing_types;
mod things;
mod topic_rules;

use crate::deployment::Deployment;
use crate::http::{self, RawUrl, random_uuid};
use authentication::{Caller, Unproved};
use device_auth::principal::Principal;
use durable_objects::failed_proofs::Prover;
use durable_objects::log_line;
use error::Failure;
use iot_types::UnixMillis;
use registry::data::HttpParts;
use registry::{ApiError, Input, Operation, Plane, RouteMatch, route};
use serde::de::DeserializeOwned;
use serde_json::json;
use worker::{Headers, Request, Response, Result};

/// Largest request body: what the largest shadow update may have (limits of `shadow`).
const MAXIMUM_BODY_BYTES: usize = 2 * 1024 * 1024 + 4 * 1024;

/// A request that has been authenticated and routed.
pub struct Call<'a> {
    pub deployment: &'a Deployment,
    pub now: UnixMillis,
    pub route: RouteMatch,
    pub principal: Principal,
    /// Without the question mark.
    pub query: &'a str,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The members of the request, checked against the service model; empty on the data plane, whose parsers do that.
    pub input: Input,
    /// Told to the client with every answer.
    pub request_id: &'a str,
}

impl Call<'_> {
    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The request, whose members have been checked against the service model.
    pub fn read<T: DeserializeOwned>(&self) -> core::result::Result<T, ApiError> {
        registry::read(&self.input)
    }

    /// What the pure parsers read.
    pub fn parts(&self) -> HttpParts<'_> {
        HttpParts { query: self.query, headers: &self.headers, body: &self.body }
    }
}

/// Answers a request. Faults of the client and of the platform alike become AWS's error shape.
///
/// # Errors
/// When not even that is possible.
pub async fn answer(deployment: &Deployment, mut request: Request) -> Result<Response> {
    let request_id = random_uuid();
    match handle(deployment, &mut request, &request_id).await {
        Ok((body, status)) => {
            let headers = Headers::new();
            headers.set("content-type", "application/json")?;
            headers.set("x-amzn-RequestId", &request_id)?;
            Ok(Response::from_bytes(body)?.with_status(status).with_headers(headers))
        }
        Err(Failure::Client(refusal)) => error::response(&refusal, &request_id),
        Err(Failure::Data(refusal)) => error::data_response(refusal, &request_id),
        Err(Failure::Platform(reason)) => {
            log_line(&json!({"level": "error", "event": "request_failed", "request_id": request_id, "reason": reason}));
            error::response(&ApiError::internal_failure(), &request_id)
        }
    }
}

async fn handle(
    deployment: &Deployment,
    request: &mut Request,
    request_id: &str,
) -> core::result::Result<(Vec<u8>, u16), Failure> {
    let raw = RawUrl::of(request.inner());
    let Some(body) = http::body(request, MAXIMUM_BODY_BYTES).await? else {
        let message = format!("The request body is larger than {MAXIMUM_BODY_BYTES} bytes");
        return Err(ApiError::request_entity_too_large(message).into());
    };
    let now = http::now();
    let headers = http::headers(request.inner());
    let method = request.method();
    let caller =
        Unproved { request: request.inner(), method: method.as_ref(), raw: &raw, headers: &headers, body: &body, now };
    let prover = Prover::new(caller.source_ip(), None);
    if prover.is_blocked() {
        return Err(ApiError::throttling(Plane::IotData, "Too many proofs from this address were no good; wait").into());
    }
    let proved = caller.prove(deployment).await;
    if let Err(Failure::Client(_)) = &proved {
        prover.failed(&deployment.env).await;
    }
    let Caller { principal, plane, certificate, authority } = proved?;
    let route = route(Some(plane), method.as_ref(), raw.path()).map_err(ApiError::from)?;
    let status = route.operation.success_status();
    let input = Input::new();
    let mut call = Call { deployment, now, route, principal, query: raw.query(), headers, body, input, request_id };
    authorization::check(&call, certificate.as_deref(), authority).await?;
    if call.route.operation.plane() == Plane::Iot {
        call.input = call.route.read(call.query, &call.headers, &call.body)?;
        tags::check_creation(&call)?;
    }
    let body = match call.route.operation {
        Operation::CreateThing => things::create(&call).await,
        Operation::DescribeThing => things::describe(&call).await,
        Operation::ListThings => things::list(&call).await,
        Operation::UpdateThing => things::update(&call).await,
        Operation::DeleteThing => things::delete(&call).await,
        Operation::CreateTopicRule => topic_rules::create(&call).await,
        Operation::GetTopicRule => topic_rules::get(&call).await,
        Operation::ListTopicRules => topic_rules::list(&call).await,
        Operation::DeleteTopicRule => topic_rules::delete(&call).await,
        Operation::CreateJob => jobs::create(&call).await,
        Operation::DescribeJob => jobs::describe(&call).await,
        Operation::ListJobs => jobs::list(&call).await,
        Operation::CreatePolicy => policies::create(&call).await,
        Operation::GetPolicy => policies::get(&call).await,
        Operation::ListPolicies => policies::list(&call).await,
        Operation::DeletePolicy => policies::delete(&call).await,
        Operation::CreatePolicyVersion => policies::create_version(&call).await,
        Operation::GetPolicyVersion => policies::get_version(&call).await,
        Operation::ListPolicyVersions => policies::list_versions(&call).await,
        Operation::DeletePolicyVersion => policies::delete_version(&call).await,
        Operation::SetDefaultPolicyVersion => policies::set_default_version(&call).await,
        Operation::AttachPolicy => policy_attachments::attach(&call).await,
        Operation::DetachPolicy => policy_attachments::detach(&call).await,
        Operation::ListAttachedPolicies => policy_attachments::list(&call).await,
        Operation::ListTargetsForPolicy => policy_attachments::targets(&call).await,
        Operation::RegisterCertificateWithoutCA => certificates::register_without_ca(&call).await,
        Operation::DescribeCertificate => certificates::describe(&call).await,
        Operation::ListCertificates => certificates::list(&call).await,
        Operation::UpdateCertificate => certificates::update(&call).await,
        Operation::DeleteCertificate => certificates::delete(&call).await,
        Operation::CreateKeysAndCertificate => certificate_issuing::create_keys(&call).await,
        Operation::CreateCertificateFromCsr => certificate_issuing::create_from_csr(&call).await,
        Operation::RegisterCertificate => ca_certificates::register_certificate(&call).await,
        Operation::RegisterCACertificate => ca_certificates::register(&call).await,
        Operation::DescribeCACertificate => ca_certificates::describe(&call).await,
        Operation::UpdateCACertificate => ca_certificates::update(&call).await,
        Operation::DeleteCACertificate => ca_certificates::delete(&call).await,
        Operation::ListCACertificates => ca_certificates::list(&call).await,
        Operation::ListCertificatesByCA => ca_certificates::list_certificates(&call).await,
        Operation::GetRegistrationCode => ca_certificates::registration_code(&call).await,
        Operation::DeleteRegistrationCode => ca_certificates::delete_registration_code(&call).await,
        Operation::TransferCertificate => certificate_transfers::transfer(&call).await,
        Operation::CancelCertificateTransfer => certificate_transfers::cancel(&call).await,
        Operation::AcceptCertificateTransfer => certificate_transfers::accept(&call).await,
        Operation::RejectCertificateTransfer => certificate_transfers::reject(&call).await,
        Operation::ListOutgoingCertificates => certificate_transfers::list_outgoing(&call).await,
        Operation::AttachThingPrincipal => thing_principals::attach(&call).await,
        Operation::DetachThingPrincipal => thing_principals::detach(&call).await,
        Operation::ListThingPrincipals => thing_principals::list_principals(&call, false).await,
        Operation::ListThingPrincipalsV2 => thing_principals::list_principals(&call, true).await,
        Operation::ListPrincipalThings => thing_principals::list_things(&call, false).await,
        Operation::ListPrincipalThingsV2 => thing_principals::list_things(&call, true).await,
        Operation::GetEffectivePolicies => effective_policies::get(&call).await,
        Operation::TestAuthorization => effective_policies::test(&call).await,
        Operation::AttachPrincipalPolicy => policy_attachments::attach_principal(&call).await,
        Operation::DetachPrincipalPolicy => policy_attachments::detach_principal(&call).await,
        Operation::ListPrincipalPolicies => policy_attachments::list_of_principal(&call).await,
        Operation::ListPolicyPrincipals => policy_attachments::principals(&call).await,
        Operation::CreateRoleAlias => role_aliases::create(&call).await,
        Operation::DescribeRoleAlias => role_aliases::describe(&call).await,
        Operation::UpdateRoleAlias => role_aliases::update(&call).await,
        Operation::DeleteRoleAlias => role_aliases::delete(&call).await,
        Operation::ListRoleAliases => role_aliases::list(&call).await,
        Operation::AssumeRoleWithCertificate => role_aliases::credentials(&call).await,
        Operation::CreateApiKey => api_keys::create(&call).await,
        Operation::DescribeApiKey => api_keys::describe(&call).await,
        Operation::ListApiKeys => api_keys::list(&call).await,
        Operation::UpdateApiKey => api_keys::update(&call).await,
        Operation::DeleteApiKey => api_keys::delete(&call).await,
        Operation::CreateAuthorizer => authorizers::create(&call).await,
        Operation::DescribeAuthorizer => authorizers::describe(&call).await,
        Operation::UpdateAuthorizer => authorizers::update(&call).await,
        Operation::DeleteAuthorizer => authorizers::delete(&call).await,
        Operation::TestInvokeAuthorizer => authorizers::test_invoke(&call).await,
        Operation::ListAuthorizers => authorizers::list(&call).await,
        Operation::SetDefaultAuthorizer => authorizers::set_default(&call).await,
        Operation::DescribeDefaultAuthorizer => authorizers::describe_default(&call).await,
        Operation::ClearDefaultAuthorizer => authorizers::clear_default(&call).await,
        Operation::CreateThingType => thing_types::create(&call).await,
        Operation::DescribeThingType => thing_types::describe(&call).await,
        Operation::ListThingTypes => thing_types::list(&call).await,
        Operation::UpdateThingType => thing_types::update(&call).await,
        Operation::DeprecateThingType => thing_types::deprecate(&call).await,
        Operation::DeleteThingType => thing_types::delete(&call).await,
        Operation::CreateThingGroup => thing_groups::create(&call).await,
        Operation::DescribeThingGroup => thing_groups::describe(&call).await,
        Operation::ListThingGroups => thing_groups::list(&call).await,
        Operation::UpdateThingGroup => thing_groups::update(&call).await,
        Operation::ListThingsInThingGroup => thing_groups::list_things(&call).await,
        Operation::AddThingToThingGroup => group_members::add(&call).await,
        Operation::RemoveThingFromThingGroup => group_members::remove(&call).await,
        Operation::UpdateThingGroupsForThing => group_members::update(&call).await,
        Operation::ListThingGroupsForThing => group_members::list(&call).await,
        Operation::CreateBillingGroup => billing_groups::create(&call).await,
        Operation::DescribeBillingGroup => billing_groups::describe(&call).await,
        Operation::ListBillingGroups => billing_groups::list(&call).await,
        Operation::UpdateBillingGroup => billing_groups::update(&call).await,
        Operation::DeleteBillingGroup => billing_groups::delete(&call).await,
        Operation::AddThingToBillingGroup => billing_groups::add(&call).await,
        Operation::RemoveThingFromBillingGroup => billing_groups::remove(&call).await,
        Operation::ListThingsInBillingGroup => billing_groups::list_things(&call).await,
        Operation::TagResource => tags::tag(&call).await,
        Operation::UntagResource => tags::untag(&call).await,
        Operation::ListTagsForResource => tags::list(&call).await,
        Operation::DescribeEventConfigurations => settings::describe_events(&call).await,
        Operation::UpdateEventConfigurations => settings::update_events(&call).await,
        Operation::SetV2LoggingOptions => settings::set_v2_options(&call).await,
        Operation::GetV2LoggingOptions => settings::get_v2_options(&call).await,
        Operation::SetV2LoggingLevel => settings::set_level(&call).await,
        Operation::DeleteV2LoggingLevel => settings::delete_level(&call).await,
        Operation::ListV2LoggingLevels => settings::list_levels(&call).await,
        Operation::SetLoggingOptions => settings::set_options(&call).await,
        Operation::GetLoggingOptions => settings::get_options(&call).await,
        Operation::DescribeEndpoint => settings::describe_endpoint(&call).await,
        Operation::GetThingConnectivityData => things::connectivity(&call).await,
        Operation::CreateDomainConfiguration => domain_configurations::create(&call).await,
        Operation::DescribeDomainConfiguration => domain_configurations::describe(&call).await,
        Operation::ListDomainConfigurations => domain_configurations::list(&call).await,
        Operation::UpdateDomainConfiguration => domain_configurations::update(&call).await,
        Operation::DeleteDomainConfiguration => domain_configurations::delete(&call).await,
        Operation::GetIndexingConfiguration => fleet_indexing::get_configuration(&call).await,
        Operation::UpdateIndexingConfiguration => fleet_indexing::update_configuration(&call).await,
        Operation::DescribeIndex => fleet_indexing::describe(&call).await,
        Operation::ListIndices => fleet_indexing::list(&call).await,
        Operation::SearchIndex => fleet_indexing::search(&call).await,
        Operation::GetStatistics => index_aggregations::statistics(&call).await,
        Operation::GetCardinality => index_aggregations::cardinality(&call).await,
        Operation::GetPercentiles => index_aggregations::percentiles(&call).await,
        Operation::GetBucketsAggregation => index_aggregations::buckets(&call).await,
        Operation::DeleteThingGroup => thing_groups::delete(&call, false).await,
        Operation::RegisterThing => provisioning::register_thing(&call).await,
        Operation::CreateProvisioningClaim => provisioning::create_claim(&call).await,
        Operation::CreateProvisioningTemplate => provisioning_templates::create(&call).await,
        Operation::DescribeProvisioningTemplate => provisioning_templates::describe(&call).await,
        Operation::ListProvisioningTemplates => provisioning_templates::list(&call).await,
        Operation::UpdateProvisioningTemplate => provisioning_templates::update(&call).await,
        Operation::DeleteProvisioningTemplate => provisioning_templates::delete(&call).await,
        Operation::CreateProvisioningTemplateVersion => provisioning_templates::create_version(&call).await,
        Operation::DescribeProvisioningTemplateVersion => provisioning_templates::describe_version(&call).await,
        Operation::ListProvisioningTemplateVersions => provisioning_templates::list_versions(&call).await,
        Operation::DeleteProvisioningTemplateVersion => provisioning_templates::delete_version(&call).await,
        Operation::ListAuditEvents => audit::list(&call).await,
        Operation::GetThingShadow | Operation::UpdateThingShadow | Operation::DeleteThingShadow => {
            shadows::answer(&call).await
        }
        Operation::Publish => publish::answer(&call).await,
        Operation::GetRetainedMessage => retained::get(&call).await,
        Operation::ListRetainedMessages => retained::list(&call).await,
        Operation::GetConnection => connections::get(&call).await,
        Operation::DeleteConnection => connections::delete(&call).await,
        Operation::ListSubscriptions => connections::subscriptions(&call).await,
        Operation::SendDirectMessage => connections::send(&call).await,
    }?;
    tags::follow(&call).await?;
    audit::note_change(&call).await;
    Ok((body, status))
}
