//! Devices that are being provisioned over MQTT: they ask for a certificate, then for the thing that a template makes of
//! them (AWS IoT developer guide, "Device provisioning MQTT API").

use crate::config::Config;
use crate::host::log_line;
use crate::issuing::{self, Wanted};
use crate::site::{Refusal, Site};
use crate::{authorizer_call, events, provisioning, web_crypto};
use ::provisioning::fleet::{
    CreateFromCsrRequest, CreatedCertificate, FleetTopic, Operation, OwnershipToken, ProvisionRequest, Provisioned,
    Rejection, RejectionCode, Reply, Stage, TOKEN_LIFETIME_SECS, check_create_request, parameters,
};
use ::provisioning::hook::{self, HookRequest};
use ::provisioning::{Limits, Template, TemplateKind, evaluate};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use device_auth::internal_header::InternalKey;
use device_auth::principal::Principal;
use iot_types::{CertificateId, UnixMillis};
use registry::certificate::{CertificateRow, CertificateStatus};
use registry::provisioning_template::{ExpiringCertificate, ProvisioningTemplate, TemplateVersion, version_name};
use registry::resource::{Resource, ResourceKind, ResourceRow};
use registry::{Partition, statements};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

const P: Partition = Partition::FIRST;

/// Who asks.
pub struct Device<'a> {
    /// As in CONNECT.
    pub client_id: &'a str,
    /// What it has proved.
    pub principal: Option<&'a Principal>,
}

/// What a token says: who has it may have this certificate provisioned, until then.
#[derive(Serialize, Deserialize)]
struct Ownership {
    certificate_id: String,
    expires_at: UnixMillis,
}

/// Answers a request: the topic and the payload for the device.
pub async fn answer(
    site: &Site<'_>,
    config: &Config,
    token_key: &InternalKey,
    device: &Device<'_>,
    topic: &str,
    payload: &[u8],
) -> (String, Bytes) {
    let Some(fleet) = FleetTopic::parse(topic).filter(|topic| topic.stage == Stage::Request) else {
        return (topic.to_owned(), Bytes::new());
    };
    let outcome = match fleet.operation {
        Operation::CreateKeysAndCertificate => match check_create_request(fleet.format, payload) {
            Ok(()) => create(site, token_key, None).await,
            Err(rejection) => Err(rejection),
        },
        Operation::CreateCertificateFromCsr => match CreateFromCsrRequest::decode(fleet.format, payload) {
            Ok(request) => create(site, token_key, Some(&request.certificate_signing_request)).await,
            Err(rejection) => Err(rejection),
        },
        Operation::RegisterThing { template: template_name } => {
            let limits = if config.is_aws { Limits::AWS } else { Limits::STANDARD };
            match ProvisionRequest::decode(fleet.format, payload, &limits) {
                Ok(request) => register(site, config, token_key, device, template_name, &request, &limits).await,
                Err(rejection) => Err(rejection),
            }
        }
    };
    let reply = outcome.unwrap_or_else(Reply::Rejected);
    if let Reply::Rejected(rejection) = &reply {
        log_line(
            &json!({"level": "warn", "event": "provisioning_rejected", "client_id": device.client_id, "topic": topic, "reason_code": rejection.error_code, "reason": rejection.error_message}),
        );
    }
    (fleet.reply(reply.is_accepted()).to_string(), Bytes::from(reply.encode(fleet.format)))
}

fn rejection(refusal: Refusal) -> Rejection {
    match refusal {
        Refusal::Client(error) => Rejection {
            status_code: error.status(),
            error_code: error.name().trim_end_matches("Exception").to_owned(),
            error_message: error.message().to_owned(),
        },
        Refusal::Platform(reason) => {
            log_line(&json!({"level": "error", "event": "provisioning_failed", "reason": reason}));
            Rejection::internal_failure()
        }
    }
}

fn failed(reason: impl ToString) -> Rejection {
    rejection(Refusal::Platform(reason.to_string()))
}

/// A certificate that waits to be provisioned, and the token to have that done.
async fn create(site: &Site<'_>, token_key: &InternalKey, csr: Option<&str>) -> Result<Reply, Rejection> {
    let wanted = Wanted::lasting(CertificateStatus::PendingActivation);
    let (issued, private_key) = match csr {
        Some(pem) => {
            let issued = issuing::for_request(site, pem, wanted).await;
            (issued.map_err(|error| invalid_csr(rejection(error)))?, None)
        }
        None => {
            let made = issuing::with_new_keys(site, wanted).await.map_err(rejection)?;
            (made.issued, Some(made.private_key.to_string()))
        }
    };
    let ownership = Ownership {
        certificate_id: issued.certificate_id.as_str().to_owned(),
        expires_at: site.now.plus_secs(u64::from(TOKEN_LIFETIME_SECS)),
    };
    let expiring = ExpiringCertificate { certificate_id: ownership.certificate_id.clone(), is_claim: false };
    let expiring = expiring.resource(ownership.expires_at, site.now);
    let note = statements::put_resource(P, ResourceKind::ExpiringCertificate, &expiring);
    site.registry().batch(&[note]).await.map_err(failed)?;
    let plain = serde_json::to_vec(&ownership).map_err(failed)?;
    let sealed = web_crypto::encrypt(token_key.as_bytes(), &plain).await.map_err(failed)?;
    Ok(Reply::Created(CreatedCertificate {
        certificate_id: ownership.certificate_id,
        certificate_pem: issued.pem,
        private_key,
        certificate_ownership_token: URL_SAFE_NO_PAD.encode(sealed),
    }))
}

fn invalid_csr(error: Rejection) -> Rejection {
    if error.status_code < 500 { Rejection::new(RejectionCode::InvalidCsr, error.error_message) } else { error }
}

/// The certificate that a token is for.
async fn owned(
    site: &Site<'_>,
    token_key: &InternalKey,
    token: &OwnershipToken,
) -> Result<(CertificateId, CertificateRow), Rejection> {
    let invalid = || {
        let message = "The certificate ownership token is not valid, or is no longer";
        Rejection::new(RejectionCode::InvalidCertificateOwnershipToken, message)
    };
    let sealed = URL_SAFE_NO_PAD.decode(token.as_str()).map_err(|_| invalid())?;
    let plain = web_crypto::decrypt(token_key.as_bytes(), &sealed).await.map_err(|_| invalid())?;
    let ownership: Ownership = serde_json::from_slice(&plain).map_err(|_| invalid())?;
    if ownership.expires_at < site.now {
        return Err(invalid());
    }
    let id = CertificateId::new(ownership.certificate_id).map_err(|_| invalid())?;
    let statement = statements::select_certificate(P, &id, site.scope.certificate_arn(&id).as_str());
    let rows: Vec<CertificateRow> = site.registry().read(statement).await.map_err(failed)?;
    rows.into_iter().next().map(|row| (id, row)).ok_or_else(invalid)
}

async fn register(
    site: &Site<'_>,
    config: &Config,
    token_key: &InternalKey,
    device: &Device<'_>,
    template_name: &str,
    request: &ProvisionRequest,
    limits: &Limits,
) -> Result<Reply, Rejection> {
    let (certificate_id, certificate) = owned(site, token_key, &request.certificate_ownership_token).await?;
    let (settings, template) = template(site, template_name, TemplateKind::FleetProvisioning, limits).await?;
    let overrides = match &settings.pre_provisioning_hook {
        Some(hook) => {
            let claim = device.principal.and_then(Principal::certificate_id).map_or("", CertificateId::as_str);
            let asked = HookRequest {
                claim_certificate_id: claim,
                certificate_id: certificate_id.as_str(),
                certificate_pem: &certificate.pem,
                template_arn: &registry::provisioning_template::arn(site.scope, template_name),
                client_id: device.client_id,
                parameters: &request.parameters,
            };
            ask_hook(site, &hook.target_arn, &asked, limits).await?
        }
        None => BTreeMap::new(),
    };
    let parameters = parameters(&request.parameters, &overrides, &certificate_id);
    let invalid =
        |error: ::provisioning::EvaluationError| Rejection::new(RejectionCode::InvalidParameters, error.to_string());
    let plan = evaluate(&template, &parameters).map_err(invalid)?;
    let new_name = crate::registration::random_uuid();
    let done = provisioning::carry_out(site, &plan, &new_name).await.map_err(rejection)?;
    events::tell(site, config, template_name, done.events).await;
    Ok(Reply::Provisioned(Provisioned {
        device_configuration: plan.device_configuration,
        thing_name: done.thing_name.map(|name| name.as_str().to_owned()),
    }))
}

/// A template that devices can be provisioned with, in its default version.
pub async fn template(
    site: &Site<'_>,
    name: &str,
    kind: TemplateKind,
    limits: &Limits,
) -> Result<(ProvisioningTemplate, Template), Rejection> {
    let missing =
        || Rejection::new(RejectionCode::ResourceNotFound, format!("The template {name} is not there or not enabled"));
    let select = statements::select_resource(P, ResourceKind::ProvisioningTemplate, name);
    let rows: Vec<ResourceRow> = site.registry().read(select).await.map_err(failed)?;
    let row = rows.into_iter().next().ok_or_else(missing)?;
    let settings: Resource<ProvisioningTemplate> = row.try_into().map_err(failed)?;
    let settings = settings.document;
    if !settings.enabled || kind.template_type() != Some(settings.template_type.as_str()) {
        return Err(missing());
    }
    let version = version_name(name, settings.default_version_id);
    let select = statements::select_resource(P, ResourceKind::ProvisioningTemplateVersion, &version);
    let rows: Vec<ResourceRow> = site.registry().read(select).await.map_err(failed)?;
    let row = rows.into_iter().next().ok_or_else(missing)?;
    let version: Resource<TemplateVersion> = row.try_into().map_err(failed)?;
    let template = Template::parse(&version.document.template_body, kind, limits).map_err(failed)?;
    Ok((settings, template))
}

/// Asks whether a device may be provisioned: a webhook, or the Worker behind a service binding. Whatever is no clear yes is a no.
async fn ask_hook(
    site: &Site<'_>,
    target: &str,
    request: &HookRequest<'_>,
    limits: &Limits,
) -> Result<BTreeMap<String, String>, Rejection> {
    let denied = |reason: String| {
        log_line(
            &json!({"level": "warn", "event": "provisioning_denied", "client_id": request.client_id, "reason": reason}),
        );
        Rejection::new(RejectionCode::AccessDenied, "The pre-provisioning hook has not allowed it")
    };
    let body = authorizer_call::post_to(site.env, target, &request.encode()).await.map_err(denied)?;
    hook::parse_answer(&body, limits).map_err(|denial| denied(denial.to_string()))
}
