//! Provisioning: RegisterThing, CreateProvisioningClaim.

use super::Call;
use super::error::Failure;
use super::provisioning_templates::{self as templates, invalid, limits};
use super::{control, events};
use crate::http::random_uuid;
use durable_objects::issuing::{self, Wanted};
use durable_objects::provisioning::carry_out;
use iot_types::{PolicyName, UnixMillis};
use policy::PolicyDocument;
use provisioning::fleet::CLAIM_LIFETIME_SECS;
use provisioning::{Template, TemplateKind, evaluate};
use registry::certificate::CertificateStatus;
use registry::control::ControlKind;
use registry::policy::PolicyTarget;
use registry::provisioning_template::{self as stored, ExpiringCertificate};
use registry::resource::ResourceKind;
use registry::{ApiError, Partition, statements};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const P: Partition = Partition::FIRST;

pub async fn register_thing(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let body = call.input.get("templateBody").and_then(Value::as_str).unwrap_or_default();
    let template = Template::parse(body, TemplateKind::Registration, &limits(call)).map_err(invalid)?;
    let parameters: BTreeMap<String, String> = match call.input.get("parameters") {
        Some(given) => serde_json::from_value(given.clone()).map_err(invalid)?,
        None => BTreeMap::new(),
    };
    let plan = evaluate(&template, &parameters).map_err(invalid)?;
    let site = call.deployment.site(call.now);
    let done = carry_out(&site, &plan, &random_uuid()).await?;
    let arns = plan.resource_arns(site.scope, done.thing_name.as_ref(), done.certificate_id.as_ref());
    if let Some(id) = &done.certificate_id {
        control::changed(call, ControlKind::Principal, id.as_str()).await?;
    }
    if let Some(name) = &done.thing_name {
        control::changed(call, ControlKind::Thing, name.as_str()).await?;
    }
    events::tell(call, done.events).await;
    Ok(stored::register_thing_response(done.certificate_pem.as_deref(), &arns))
}

/// A certificate with which a device can ask for its own, and nothing else, for five minutes: what a trusted user gives a
/// new device.
pub async fn create_claim(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let name = call.route.parameter("templateName");
    let template = templates::read(call, name).await?;
    if !template.document.enabled {
        return Err(ApiError::invalid_request(format!("Provisioning template {name} is not enabled")).into());
    }
    let expires_at = UnixMillis(call.now.0.saturating_add(u64::from(CLAIM_LIFETIME_SECS) * 1_000));
    let site = call.deployment.site(call.now);
    let wanted = Wanted { status: CertificateStatus::Active, not_after: expires_at };
    let made = issuing::with_new_keys(&site, wanted).await?;
    let target = PolicyTarget::parse(site.scope.certificate_arn(&made.issued.certificate_id).as_str(), site.scope)?;
    let (policy_name, document) = claim_policy(call, name)?;
    let batch = [
        statements::insert_first_policy_version(P, &policy_name, &document, call.now),
        statements::insert_policy(P, &policy_name, call.now),
        statements::attach_policy(P, &policy_name, &target, site.limits.policies_of_target),
    ];
    site.registry().batch(&batch).await?;
    let expiring =
        ExpiringCertificate { certificate_id: made.issued.certificate_id.as_str().to_owned(), is_claim: true };
    let expiring = expiring.resource(expires_at, call.now);
    site.registry().batch(&[statements::put_resource(P, ResourceKind::ExpiringCertificate, &expiring)]).await?;
    let keys = (made.public_key.as_str(), made.private_key.as_str());
    Ok(stored::claim_response(made.issued.certificate_id.as_str(), &made.issued.pem, keys, expires_at))
}

/// The policy of claims for a template: its topics and those for a certificate. One for all claims of the template.
fn claim_policy(call: &Call<'_>, template_name: &str) -> Result<(PolicyName, String), Failure> {
    let scope = &call.deployment.config.scope;
    let arn = |resource: String| scope.resource_arn("x", &resource).to_string().replacen(":x/", ":", 1);
    let topics = [
        "$aws/certificates/create/*".to_owned(),
        "$aws/certificates/create-from-csr/*".to_owned(),
        format!("$aws/provisioning-templates/{template_name}/provision/*"),
    ];
    let of = |kind: &str| topics.iter().map(|topic| arn(format!("{kind}/{topic}"))).collect::<Vec<_>>();
    let document = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"},
        {"Effect": "Allow", "Action": ["iot:Publish", "iot:Receive"], "Resource": of("topic")},
        {"Effect": "Allow", "Action": "iot:Subscribe", "Resource": of("topicfilter")},
    ]})
    .to_string();
    PolicyDocument::parse(&document).map_err(|error| Failure::Platform(error.to_string()))?;
    let name = PolicyName::new(format!("umbra-claim-{template_name}"))
        .map_err(|_| Failure::Platform("a template's name does not fit into a policy's".to_owned()))?;
    Ok((name, document))
}
