//! Certificates that the platform signs: CreateKeysAndCertificate, CreateCertificateFromCsr.

use super::Call;
use super::certificates::{invalid, record};
use super::error::Failure;
use crate::{platform_authority, web_crypto};
use durable_objects::d1;
use iot_types::UnixMillis;
use registry::ca_certificate::{self, certificate_signing_request, created_response};
use registry::certificate::{self, CertificateStatus};
use registry::{Partition, statements};
use x509::{Certificate, CertificateSigningRequest, DistinguishedName, NameAttribute, PublicKey, Validity};

/// The subject of a certificate for which nobody asked for another, as in AWS.
const COMMON_NAME: &str = "Umbra IoT Certificate";

/// How long before it is made a certificate is valid, in milliseconds: clocks of devices are slow.
const CLOCK_SKEW_MILLIS: u64 = 10 * 60 * 1_000;

pub async fn create_keys(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let status = ca_certificate::status_of_created(call.query)?;
    let pair = web_crypto::rsa_key_pair().await?;
    let public_key = PublicKey::from_spki_der(&pair.public).map_err(unusable)?;
    let private_pem = x509::rsa_private_key_pem(&pair.private).map_err(unusable)?;
    let issued = issue(call, &public_key, &default_subject()?, status).await?;
    let id = issued.certificate_id().map_err(unusable)?;
    let keys = Some((public_key.to_pem(), private_pem));
    let keys = keys.as_ref().map(|(public, private)| (public.as_str(), private.as_str()));
    Ok(created_response(&call.deployment.config.scope, &id, &issued.to_pem(), keys))
}

pub async fn create_from_csr(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let status = ca_certificate::status_of_created(call.query)?;
    let pem = certificate_signing_request(&call.body)?;
    let request = CertificateSigningRequest::from_pem(&pem)
        .map_err(|error| registry::ApiError::invalid_request(error.to_string()))?;
    let asked = request.subject();
    let subject = if asked.is_empty() { default_subject()? } else { asked.clone() };
    let issued = issue(call, request.public_key(), &subject, status).await?;
    let id = issued.certificate_id().map_err(unusable)?;
    Ok(created_response(&call.deployment.config.scope, &id, &issued.to_pem(), None))
}

/// Signs a certificate and stores it.
async fn issue(
    call: &Call<'_>,
    public_key: &PublicKey,
    subject: &DistinguishedName,
    status: CertificateStatus,
) -> Result<Certificate, Failure> {
    let authority = platform_authority::load(call.deployment, call.now).await?;
    let not_before = UnixMillis(call.now.0.saturating_sub(CLOCK_SKEW_MILLIS));
    let validity = Validity { not_before, not_after: Validity::AWS_NOT_AFTER };
    let issued = authority.issue(public_key, subject, &web_crypto::random_bytes(), validity).map_err(invalid)?;
    let authority_id = authority.certificate().certificate_id().map_err(unusable)?;
    let record = record(call, &issued, status, Some(authority_id))?;
    let batch = [statements::insert_certificate(Partition::FIRST, &record)];
    let results = call.deployment.registry().batch(&batch).await?;
    certificate::settle_register(&call.deployment.config.scope, &record.certificate_id, d1::changes_at(&results, 0)?)?;
    Ok(issued)
}

fn default_subject() -> Result<DistinguishedName, Failure> {
    DistinguishedName::new(&[(NameAttribute::CommonName, COMMON_NAME)]).map_err(unusable)
}

fn unusable(error: x509::Error) -> Failure {
    Failure::Platform(error.to_string())
}
