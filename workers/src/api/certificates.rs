//! Certificates: RegisterCertificateWithoutCA, DescribeCertificate, ListCertificates, UpdateCertificate,
//! DeleteCertificate.

use super::error::Failure;
use super::{Call, control};
use crate::http::random_uuid;
use durable_objects::d1;
use iot_types::CertificateId;
use registry::certificate::{
    self, CertificateRecord, CertificateRow, CertificateStatus, CertificateSummaryRow, ListCertificatesRequest,
    RegisterCertificateRequest,
};
use registry::control::ControlKind;
use registry::{ApiError, Partition, statements};
use x509::Certificate;

const P: Partition = Partition::FIRST;

pub async fn register_without_ca(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = RegisterCertificateRequest::parse(&call.body)?;
    let certificate = Certificate::from_pem(&request.pem).map_err(invalid)?;
    let record = record(call, &certificate, request.status, None)?;
    let certificate_id = record.certificate_id.clone();
    // Nobody who is connected has it: Brokers need not hear of it.
    let results = call.deployment.registry().batch(&[statements::insert_certificate(P, &record)]).await?;
    let changed = d1::changes_at(&results, 0)?;
    let scope = &call.deployment.config.scope;
    certificate::settle_register(scope, &certificate_id, changed)?;
    Ok(certificate::register_certificate_response(scope, &certificate_id))
}

/// What is stored of a certificate that is registered now.
pub fn record(
    call: &Call<'_>,
    certificate: &Certificate,
    status: CertificateStatus,
    ca_certificate_id: Option<CertificateId>,
) -> Result<CertificateRecord, ApiError> {
    durable_objects::registration::record(certificate, status, ca_certificate_id, random_uuid(), call.now)
        .map_err(invalid)
}

/// What is wrong with a certificate, for who sent it.
pub fn invalid(error: x509::Error) -> ApiError {
    ApiError::new("CertificateValidationException", 400, error.to_string())
}

pub async fn describe(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let (id, arn) = named(call)?;
    let statement = statements::select_certificate(P, &id, &arn);
    let rows: Vec<CertificateRow> = call.deployment.registry().read(statement).await?;
    let row = certificate::found(&id, rows.into_iter().next())?;
    Ok(certificate::describe_certificate_response(&call.deployment.config.scope, &id, &row)?)
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = ListCertificatesRequest::parse(call.query, &call.deployment.limits())?;
    let statement = statements::list_certificates(P, &request);
    let rows: Vec<CertificateSummaryRow> = call.deployment.registry().read(statement).await?;
    Ok(certificate::list_certificates_response(&call.deployment.config.scope, &request, rows)?)
}

pub async fn update(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let (id, _) = named(call)?;
    let status = certificate::new_status(call.query)?;
    let batch = vec![statements::update_certificate(P, &id, status, &random_uuid(), call.now)];
    let (changed, _) = control::store(call, batch, 0, ControlKind::Principal, id.as_str()).await?;
    certificate::settle_update(&id, changed)?;
    Ok(Vec::new())
}

pub async fn delete(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let (id, arn) = named(call)?;
    let batch = vec![
        statements::delete_certificate(P, &id, &arn, certificate::forces_delete(call.query)?),
        statements::detach_from_certificate(P, &id, &arn),
        statements::select_certificate(P, &id, &arn),
    ];
    let (changed, results) = control::store(call, batch, 0, ControlKind::Principal, id.as_str()).await?;
    let left: Vec<CertificateRow> = d1::rows_at(&results, 2)?;
    certificate::settle_delete(&id, changed, left.first())?;
    Ok(Vec::new())
}

fn named(call: &Call<'_>) -> Result<(CertificateId, String), ApiError> {
    let id = certificate::parse_certificate_id(call.route.parameter("certificateId"))?;
    let arn = call.deployment.config.scope.certificate_arn(&id).to_string();
    Ok((id, arn))
}
