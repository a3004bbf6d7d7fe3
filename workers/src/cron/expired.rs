//! Certificates whose time has come: claims, and those that were asked for and never provisioned.

use crate::http;
use durable_objects::d1::Registry;
use durable_objects::{Config, log_line};
use iot_types::CertificateId;
use registry::provisioning_template::ExpiringCertificate;
use registry::resource::{Resource, ResourceKind, ResourceRow};
use registry::{Page, Partition, statements};
use serde_json::json;
use worker::{Env, Result};

const P: Partition = Partition::FIRST;

/// Certificates at a time; the next ones a minute later.
const AT_ONCE: u32 = 100;

/// Deletes them.
pub async fn forget(env: &Env) {
    if let Err(error) = run(env).await {
        log_line(&json!({"level": "error", "event": "certificates_not_forgotten", "reason": error.to_string()}));
    }
}

async fn run(env: &Env) -> Result<()> {
    let (registry, now) = (Registry::new(env.clone()), http::now());
    let config = Config::from_env(env)?;
    let statement = statements::list_resources(P, ResourceKind::ExpiringCertificate, "", &Page::first(AT_ONCE));
    let rows: Vec<ResourceRow> = registry.read(statement).await?;
    let mut batch = Vec::new();
    for row in rows.into_iter().filter(|row| ExpiringCertificate::is_over(&row.name, now)) {
        let name = row.name.clone();
        let stored: core::result::Result<Resource<ExpiringCertificate>, _> = row.try_into();
        if let Ok(stored) = stored
            && let Ok(id) = CertificateId::new(stored.document.certificate_id.as_str())
        {
            let arn = config.scope.certificate_arn(&id);
            batch.push(statements::delete_expired_certificate(P, &stored.document));
            batch.push(statements::detach_from_certificate(P, &id, arn.as_str()));
        }
        batch.push(statements::delete_resource(P, ResourceKind::ExpiringCertificate, &name, None));
    }
    if !batch.is_empty() {
        registry.batch(&batch).await?;
    }
    Ok(())
}
