//! Handing certificates over: TransferCertificate, CancelCertificateTransfer, AcceptCertificateTransfer,
//! RejectCertificateTransfer, ListOutgoingCertificates.

use super::error::Failure;
use super::{Call, control};
use crate::http::random_uuid;
use durable_objects::d1;
use iot_types::{AccountId, CertificateId};
use registry::certificate::{CertificateRow, CertificateStatus, parse_certificate_id};
use registry::certificate_transfer::{
    OutgoingRow, TransferRequest, list_outgoing_response, parse_list_outgoing, reject_reason, settle_end,
    settle_transfer, status_of_accepted, transfer_response,
};
use registry::control::ControlKind;
use registry::statements::Statement;
use registry::{ApiError, Partition, statements};
use serde_json::json;

const P: Partition = Partition::FIRST;

pub async fn transfer(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let id = named(call)?;
    let request = TransferRequest::parse(call.query, &call.body)?;
    let scope = &call.deployment.config.scope;
    let (arn, generation_id) = (scope.certificate_arn(&id).to_string(), random_uuid());
    let batch = [
        statements::begin_transfer(P, &id, &arn, &generation_id, call.now),
        statements::insert_transfer(P, &id, &generation_id, &request.begin(scope, call.now)),
        statements::select_certificate(P, &id, &arn),
    ];
    // Nobody could use it before either: Brokers need not hear of it.
    let results = call.deployment.registry().batch(&batch).await?;
    let after: Vec<CertificateRow> = d1::rows_at(&results, 2)?;
    settle_transfer(&id, d1::changes_at(&results, 0)?, after.first())?;
    Ok(transfer_response(scope, &id))
}

pub async fn cancel(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let (id, generation_id) = (named(call)?, random_uuid());
    let forget = statements::forget_transfer(P, &id, &generation_id);
    end(call, &id, &generation_id, CertificateStatus::Inactive, None, forget).await
}

pub async fn accept(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let (id, generation_id) = (named(call)?, random_uuid());
    let status = status_of_accepted(call.query)?;
    let note = json!({"accepted_at": call.now.0}).to_string();
    let note = statements::note_transfer(P, &id, &generation_id, &note);
    let own = &call.deployment.config.scope.account_id;
    end(call, &id, &generation_id, status, Some(own), note).await
}

pub async fn reject(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let (id, generation_id) = (named(call)?, random_uuid());
    let reason = reject_reason(&call.body)?;
    let note = json!({"rejected_at": call.now.0, "reject_reason": reason}).to_string();
    let note = statements::note_transfer(P, &id, &generation_id, &note);
    let own = &call.deployment.config.scope.account_id;
    end(call, &id, &generation_id, CertificateStatus::Inactive, Some(own), note).await
}

/// Ends a transfer to `target`, or to anybody, and does what follows from it.
async fn end(
    call: &Call<'_>,
    id: &CertificateId,
    generation_id: &str,
    status: CertificateStatus,
    target: Option<&AccountId>,
    follow_up: Statement,
) -> Result<Vec<u8>, Failure> {
    let arn = call.deployment.config.scope.certificate_arn(id).to_string();
    let batch = vec![
        statements::end_transfer(P, id, status, target, generation_id, call.now),
        follow_up,
        statements::select_certificate(P, id, &arn),
    ];
    let (changed, results) = control::store(call, batch, 0, ControlKind::Principal, id.as_str()).await?;
    let after: Vec<CertificateRow> = d1::rows_at(&results, 2)?;
    settle_end(id, changed, after.first())?;
    Ok(Vec::new())
}

pub async fn list_outgoing(call: &Call<'_>) -> Result<Vec<u8>, Failure> {
    let request = parse_list_outgoing(call.query, &call.deployment.limits())?;
    let rows: Vec<OutgoingRow> = call.deployment.registry().read(statements::list_outgoing(P, &request)).await?;
    Ok(list_outgoing_response(&call.deployment.config.scope, &request, rows)?)
}

fn named(call: &Call<'_>) -> Result<CertificateId, ApiError> {
    parse_certificate_id(call.route.parameter("certificateId"))
}
