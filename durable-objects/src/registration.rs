//! Registering certificates: what is stored of one, and those that are registered because their device connects (AWS IoT
//! developer guide, "Just-in-time registration").

use crate::config::Config;
use crate::d1::{self, Registry};
use crate::host::{call_object, log_line};
use crate::jitp;
use iot_types::{CertificateId, Qos, Scope, UnixMillis};
use messages::Request;
use messages::broker::BrokerRequest;
use messages::codec::Batch;
use messages::publication::Publication;
use registry::ca_certificate::{CaCertificateRow, registered_event};
use registry::certificate::{CertificateInUseRow, CertificateRecord, CertificateStatus};
use registry::{Partition, statements};
use serde_json::json;
use wasm_bindgen::prelude::*;
use worker::{Env, Result};
use x509::Certificate;

const P: Partition = Partition::FIRST;

/// What the names of a certificate's policy variables begin with.
const VARIABLE_PREFIX: &str = "iot:Certificate.";

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = randomUUID)]
    /// A fresh UUID.
    pub fn random_uuid() -> String;
}

/// What is stored of a certificate.
///
/// # Errors
/// None that happens: what was read as a certificate has an identifier.
pub fn record(
    certificate: &Certificate,
    status: CertificateStatus,
    ca_certificate_id: Option<CertificateId>,
    generation_id: String,
    now: UnixMillis,
) -> core::result::Result<CertificateRecord, x509::Error> {
    let variables = certificate.policy_variables().into_iter();
    Ok(CertificateRecord {
        certificate_id: certificate.certificate_id()?,
        pem: certificate.to_pem(),
        status,
        ca_certificate_id,
        attributes: variables
            .filter_map(|variable| Some((variable.name.strip_prefix(VARIABLE_PREFIX)?.to_owned(), variable.values)))
            .collect(),
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
        generation_id,
        created_at: now,
    })
}

/// A device has come with a certificate that may not be used, or is not known: if its authority registers its devices,
/// it is registered and waits for its activation, and who is to activate it is told, each time it comes.
///
/// # Errors
/// When D1 fails.
pub async fn register_on_connect(env: &Env, config: &Config, certificate: &Certificate, now: UnixMillis) -> Result<()> {
    let Some((ca, template)) = registering_authority(env, certificate, now).await? else { return Ok(()) };
    let unusable = |error: x509::Error| worker::Error::RustError(error.to_string());
    let record = record(certificate, CertificateStatus::PendingActivation, Some(ca.clone()), random_uuid(), now)
        .map_err(unusable)?;
    let id = &record.certificate_id;
    let batch = [statements::insert_certificate(P, &record), statements::select_certificates_in_use(P, &[id.as_str()])];
    let results = Registry::new(env.clone()).batch(&batch).await?;
    let rows: Vec<CertificateInUseRow> = d1::rows_at(&results, 1)?;
    if rows.iter().any(|row| row.status == CertificateStatus::PendingActivation.as_str()) {
        if let Some(template) = template
            && jitp::provision(env, config, &template, &record, now).await?
        {
            return Ok(());
        }
        log_line(&json!({"level": "info", "event": "certificate_awaits_activation", "certificate_id": id.as_str()}));
        announce(env, config, id, &ca, now).await;
    }
    Ok(())
}

/// The authority that has issued it, if it registers devices, and what it says about their template.
async fn registering_authority(
    env: &Env,
    certificate: &Certificate,
    now: UnixMillis,
) -> Result<Option<(CertificateId, Option<String>)>> {
    let statement = statements::select_ca_certificates_of_subject(P, &certificate.issuer().digest());
    let rows: Vec<CaCertificateRow> = Registry::new(env.clone()).read(statement).await?;
    let mut registering =
        rows.iter().filter(|row| row.status == CertificateStatus::Active.as_str() && row.registers_devices == 1);
    let is_issuer = |row: &&CaCertificateRow| {
        let authority = Certificate::from_pem(&row.pem);
        authority.is_ok_and(|authority| certificate.verify_issued_by(&authority).is_ok())
    };
    let found = registering.find(is_issuer).filter(|_| certificate.check_validity(now).is_ok());
    Ok(found.and_then(|row| {
        let id = CertificateId::new(row.ca_certificate_id.as_str()).ok()?;
        Some((id, row.registration_config.clone()))
    }))
}

async fn announce(env: &Env, config: &Config, id: &CertificateId, ca: &CertificateId, now: UnixMillis) {
    let scope: &Scope = &config.scope;
    let topic = format!("$aws/events/certificates/registered/{}", ca.as_str());
    let event = registered_event(scope, id, ca, now);
    let publication = Publication::of_platform(topic, event, Qos::AtLeastOnce, now);
    let broker = config.publishing_broker(id.as_str());
    let batch = Batch { sender: None, requests: vec![Request::Broker(BrokerRequest::Publish(publication))] };
    if call_object(env, &broker, &batch).await.is_none() {
        // The device comes again, and with it the event.
        log_line(&json!({"level": "warn", "event": "registration_not_announced", "certificate_id": id.as_str()}));
    }
}
