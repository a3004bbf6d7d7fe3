//! Certificates that the platform signs: CreateKeysAndCertificate, CreateCertificateFromCsr.

use super::Call;
use super::error::Failure;
use durable_objects::issuing::{self, Wanted};
use registry::ca_certificate::{self, certificate_signing_request, created_response};

pub async fn create_keys(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let wanted = Wanted::lasting(ca_certificate::status_of_created(call.query)?);
    let site = call.deployment.site(call.now);
    let made = issuing::with_new_keys(&site, wanted).await?;
    let keys = Some((made.public_key.as_str(), made.private_key.as_str()));
    Ok(created_response(site.scope, &made.issued.certificate_id, &made.issued.pem, keys))
}

pub async fn create_from_csr(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let wanted = Wanted::lasting(ca_certificate::status_of_created(call.query)?);
    let pem = certificate_signing_request(&call.body)?;
    let site = call.deployment.site(call.now);
    let issued = issuing::for_request(&site, &pem, wanted).await?;
    Ok(created_response(site.scope, &issued.certificate_id, &issued.pem, None))
}
