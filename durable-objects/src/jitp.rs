//! Just-in-time provisioning: a device comes with a certificate of an authority that has a template, and becomes what the
//! template says (AWS IoT developer guide, "Just-in-time provisioning"). Its first connection is refused all the same; with
//! the next it is who it is.

use crate::broker_object::AUTHORITY_KEY_LABEL;
use crate::config::Config;
use crate::fleet;
use crate::host::log_line;
use crate::site::{Refusal, Site};
use crate::{events, provisioning};
use ::provisioning::{Limits, Template, TemplateKind, evaluate, jitp};
use device_auth::internal_header::InternalKey;
use iot_types::UnixMillis;
use registry::ApiError;
use registry::certificate::CertificateRecord;
use serde::Deserialize;
use serde_json::json;
use worker::{Env, Result};

/// What the names of a subject's attributes begin with among a certificate's policy variables.
const SUBJECT: &str = "Subject.";

/// `registrationConfig` of a CA certificate.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegistrationConfig {
    #[serde(default)]
    template_body: Option<String>,
    #[serde(default)]
    template_name: Option<String>,
}

impl RegistrationConfig {
    /// `None`: it names no template, so devices are only registered.
    fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text)
            .ok()
            .filter(|config: &Self| config.template_body.is_some() || config.template_name.is_some())
    }
}

/// Provisions the device of a certificate that waits for it, if there is a template; whether there is one. What can't be done is logged, and tried again when the device
/// comes again.
///
/// # Errors
/// When a secret is missing.
pub async fn provision(
    env: &Env,
    config: &Config,
    registration_config: &str,
    certificate: &CertificateRecord,
    now: UnixMillis,
) -> Result<bool> {
    let Some(wanted) = RegistrationConfig::parse(registration_config) else { return Ok(false) };
    let master = env.secret("MASTER_SECRET")?.to_string();
    let authority_key = InternalKey::derive(master.as_bytes(), AUTHORITY_KEY_LABEL)
        .map_err(|error| worker::Error::RustError(error.to_string()))?;
    let site = config.site(env, &authority_key, now);
    let reason = match run(&site, config, &wanted, certificate).await {
        Ok(()) => return Ok(true),
        Err(Refusal::Client(error)) => error.to_string(),
        Err(Refusal::Platform(reason)) => reason,
    };
    let id = certificate.certificate_id.as_str();
    log_line(&json!({"level": "warn", "event": "provisioning_failed", "certificate_id": id, "reason": reason}));
    Ok(true)
}

async fn run(
    site: &Site<'_>,
    config: &Config,
    wanted: &RegistrationConfig,
    certificate: &CertificateRecord,
) -> core::result::Result<(), Refusal> {
    let invalid = |error: String| ApiError::invalid_request(error);
    let limits = if config.is_aws { Limits::AWS } else { Limits::STANDARD };
    let template = match (&wanted.template_name, &wanted.template_body) {
        (Some(name), _) => {
            let found = fleet::template(site, name, TemplateKind::Jitp, &limits).await;
            found.map_err(|rejection| invalid(rejection.error_message))?.1
        }
        (None, Some(body)) => {
            Template::parse(body, TemplateKind::Jitp, &limits).map_err(|error| invalid(error.to_string()))?
        }
        (None, None) => return Ok(()),
    };
    let subject = certificate.attributes.iter().filter_map(|(name, values)| {
        let name = name.strip_prefix(SUBJECT)?;
        // The one attribute that policy variables and templates call differently.
        Some((if name == "State" { "StateName" } else { name }, values.first()?.as_str()))
    });
    let parameters = jitp::parameters(&template, &certificate.certificate_id, subject);
    let parameters = parameters.map_err(|error| invalid(error.to_string()))?;
    let plan = evaluate(&template, &parameters).map_err(|error| invalid(error.to_string()))?;
    let done = provisioning::carry_out(site, &plan, certificate.certificate_id.as_str()).await?;
    events::tell(site, config, certificate.certificate_id.as_str(), done.events).await;
    Ok(())
}
