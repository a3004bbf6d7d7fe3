//! Certificate authorities: GetRegistrationCode, DeleteRegistrationCode, RegisterCACertificate,
//! DescribeCACertificate, UpdateCACertificate, DeleteCACertificate, ListCACertificates, ListCertificatesByCA; and
//! RegisterCertificate, which asks for one.

use super::Call;
use super::certificates::{invalid, record};
use super::error::Failure;
use crate::http::random_uuid;
use durable_objects::{d1, web_crypto};
use iot_types::CertificateId;
use registry::ca_certificate::{
    self, CaCertificateRecord, CaCertificateRow, CaCertificateSummaryRow, RegisterCaRequest, RegisterWithCaRequest,
    RegistrationCodeRow, UpdateCaRequest,
};
use registry::certificate::{self, CertificateSummaryRow};
use registry::{ApiError, Partition, statements};
use x509::{Certificate, NameAttribute};

const P: Partition = Partition::FIRST;

/// Random bytes in a registration code, which is their hexadecimal digits, as AWS's are.
const REGISTRATION_CODE_BYTES: usize = 32;

pub async fn registration_code(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    Ok(ca_certificate::registration_code_response(&code(call).await?))
}

async fn code(call: &Call<'_>) -> Result<String, Failure> {
    let random: [u8; REGISTRATION_CODE_BYTES] = web_crypto::random_bytes();
    let drawn = random.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let batch = [statements::insert_registration_code(P, &drawn, call.now), statements::select_registration_code(P)];
    let results = call.deployment.registry().batch(&batch).await?;
    let rows: Vec<RegistrationCodeRow> = d1::rows_at(&results, 1)?;
    let row = rows.into_iter().next();
    row.map(|row| row.registration_code).ok_or_else(|| Failure::Platform("no registration code was stored".to_owned()))
}

pub async fn delete_registration_code(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    call.deployment.registry().batch(&[statements::delete_registration_code(P)]).await?;
    Ok(Vec::new())
}

pub async fn register(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = RegisterCaRequest::parse(call.query, &call.body)?;
    let authority = Certificate::from_pem(&request.pem).map_err(invalid)?;
    if !authority.is_ca() || authority.key_usage().is_some_and(|usage| !usage.key_cert_sign()) {
        let message = "The CA certificate's extensions do not let it sign certificates";
        return Err(ApiError::new("CertificateValidationException", 400, message).into());
    }
    authority.check_validity(call.now).map_err(invalid)?;
    if let Some(pem) = &request.verification_pem {
        let proof = Certificate::from_pem(pem).map_err(invalid)?;
        proof.verify_issued_by(&authority).map_err(invalid)?;
        proof.check_validity(call.now).map_err(invalid)?;
        if !proof.subject().values(NameAttribute::CommonName).contains(&code(call).await?) {
            let message = "The common name of the verification certificate is not the registration code";
            return Err(ApiError::new("RegistrationCodeValidationException", 400, message).into());
        }
    }
    let id = authority.certificate_id().map_err(invalid)?;
    let stored = CaCertificateRecord {
        ca_certificate_id: id.clone(),
        pem: authority.to_pem(),
        subject_digest: authority.subject().digest(),
        not_before: authority.not_before(),
        not_after: authority.not_after(),
        generation_id: random_uuid(),
        created_at: call.now,
    };
    let batch = [statements::insert_ca_certificate(P, &stored, &request), statements::select_ca_certificate(P, &id)];
    let results = call.deployment.registry().batch(&batch).await?;
    let after: Vec<CaCertificateRow> = d1::rows_at(&results, 1)?;
    let scope = &call.deployment.config.scope;
    ca_certificate::settle_register(scope, &id, d1::changes_at(&results, 0)?, after.first())?;
    Ok(ca_certificate::register_ca_response(scope, &id))
}

pub async fn describe(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let id = named(call)?;
    let rows: Vec<CaCertificateRow> =
        call.deployment.registry().read(statements::select_ca_certificate(P, &id)).await?;
    let row = ca_certificate::found(&id, rows.into_iter().next())?;
    Ok(ca_certificate::describe_ca_response(&call.deployment.config.scope, &id, &row)?)
}

pub async fn update(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let id = named(call)?;
    let request = UpdateCaRequest::parse(call.query, &call.body)?;
    let batch = [statements::update_ca_certificate(P, &id, &request, &random_uuid(), call.now)];
    let results = call.deployment.registry().batch(&batch).await?;
    ca_certificate::settle_update(&id, d1::changes_at(&results, 0)?)?;
    Ok(Vec::new())
}

pub async fn delete(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let id = named(call)?;
    let batch = [statements::delete_ca_certificate(P, &id), statements::select_ca_certificate(P, &id)];
    let results = call.deployment.registry().batch(&batch).await?;
    let left: Vec<CaCertificateRow> = d1::rows_at(&results, 1)?;
    ca_certificate::settle_delete(&id, d1::changes_at(&results, 0)?, left.first())?;
    Ok(Vec::new())
}

pub async fn list(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = ca_certificate::parse_list(call.query, &call.deployment.limits())?;
    let statement = statements::list_ca_certificates(P, &request);
    let rows: Vec<CaCertificateSummaryRow> = call.deployment.registry().read(statement).await?;
    Ok(ca_certificate::list_response(&call.deployment.config.scope, &request, rows)?)
}

pub async fn list_certificates(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let id = named(call)?;
    let request = ca_certificate::parse_list_by_ca(call.query, &call.deployment.limits())?;
    let statement = statements::list_certificates_by_ca(P, &id, &request);
    let rows: Vec<CertificateSummaryRow> = call.deployment.registry().read(statement).await?;
    Ok(ca_certificate::list_by_ca_response(&call.deployment.config.scope, &request, rows)?)
}

pub async fn register_certificate(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = RegisterWithCaRequest::parse(call.query, &call.body)?;
    let device = Certificate::from_pem(&request.pem).map_err(invalid)?;
    let issuer = issuer_of(call, &device, request.ca_pem.as_deref()).await?;
    let record = record(call, &device, request.status, Some(issuer))?;
    let results = call.deployment.registry().batch(&[statements::insert_certificate(P, &record)]).await?;
    let scope = &call.deployment.config.scope;
    certificate::settle_register(scope, &record.certificate_id, d1::changes_at(&results, 0)?)?;
    Ok(certificate::register_certificate_response(scope, &record.certificate_id))
}

/// The registered authority that has signed a certificate: the one in `named`, if that is given.
async fn issuer_of(call: &Call<'_>, device: &Certificate, named: Option<&str>) -> Result<CertificateId, Failure> {
    let named = named.map(|pem| Certificate::from_pem(pem).and_then(|ca| ca.certificate_id())).transpose();
    let named = named.map_err(invalid)?;
    let statement = statements::select_ca_certificates_of_subject(P, &device.issuer().digest());
    let rows: Vec<CaCertificateRow> = call.deployment.registry().read(statement).await?;
    let mut reason = ApiError::new("CertificateValidationException", 400, "The CA certificate is not registered");
    for row in rows {
        if named.as_ref().is_some_and(|named| named.as_str() != row.ca_certificate_id) {
            continue;
        }
        if row.status != "ACTIVE" {
            reason = ApiError::new("CertificateStateException", 406, "The CA certificate is not ACTIVE");
            continue;
        }
        let authority = Certificate::from_pem(&row.pem).map_err(|error| Failure::Platform(error.to_string()))?;
        match device.verify_issued_by(&authority) {
            Ok(()) => return authority.certificate_id().map_err(|error| Failure::Platform(error.to_string())),
            Err(error) => reason = invalid(error),
        }
    }
    Err(reason.into())
}

fn named(call: &Call<'_>) -> Result<CertificateId, ApiError> {
    certificate::parse_certificate_id(call.route.parameter("caCertificateId"))
}
