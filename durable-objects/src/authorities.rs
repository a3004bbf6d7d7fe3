//! What clients may do, as the registry has it: one read for all that a Broker asks for at once.

use crate::d1::Registry;
use crate::host::log_line;
use crate::outgoing::now_millis;
use broker::{AuthorityRequest, PolicySource, StoredAuthority};
use device_auth::enhanced::{Answer, Credential};
use device_auth::jwt::{DeviceToken, Expected, Token};
use device_auth::principal::Principal;
use iot_types::{CertificateId, Scope};
use messages::broker::ConnectionId;
use policy::Facts;
use registry::certificate::{CertificateInUseRow, CertificateRow};
use registry::control::ControlHead;
use registry::policy::PolicyOfTargetRow;
use registry::{Partition, statements};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use worker::{Env, Result};
use x509::Certificate;

/// For each connection what was found.
pub type Found = Vec<(ConnectionId, Option<StoredAuthority>)>;

/// Reads the policies of principals and whether their certificates may be used; and the control log's head as it is in
/// the same moment.
///
/// # Errors
/// When D1 fails, or holds what can't be read.
pub async fn load(env: &Env, scope: &Scope, requests: &[AuthorityRequest]) -> Result<(u64, Found)> {
    let arns: BTreeSet<String> =
        requests.iter().filter_map(|request| Some(request.principal.arn(scope)?.to_string())).collect();
    let certificates: BTreeSet<&str> = requests
        .iter()
        .filter_map(|request| match &request.principal {
            Principal::Certificate { certificate_id } => Some(certificate_id.as_str()),
            Principal::RootKey { .. } => None,
        })
        .collect();
    let arns: Vec<&str> = arns.iter().map(String::as_str).collect();
    let certificates: Vec<&str> = certificates.into_iter().collect();
    // One transaction: what is read belongs together.
    let batch = [
        statements::control_head(Partition::FIRST),
        statements::select_policies_of_targets(Partition::FIRST, &arns),
        statements::select_certificates_in_use(Partition::FIRST, &certificates),
    ];
    let results = Registry::new(env.clone()).batch(&batch).await?;
    let [heads, policies, certificates] = results.as_slice() else { return Err("D1 left answers out".into()) };
    let heads: Vec<ControlHead> = heads.results()?;
    let mut sources: BTreeMap<String, Vec<PolicySource>> = BTreeMap::new();
    for row in policies.results::<PolicyOfTargetRow>()? {
        let source = PolicySource { name: row.policy_name, document: row.document };
        sources.entry(row.target).or_default().push(source);
    }
    let now = now_millis();
    let mut usable = BTreeMap::new();
    for row in certificates.results::<CertificateInUseRow>()? {
        match row.usable(now) {
            Ok(attributes) => usable.extend(attributes.map(|attributes| (row.certificate_id, attributes))),
            // Its holder is refused, and nobody else.
            Err(error) => log_line(
                &json!({"level": "error", "event": "certificate_unreadable", "certificate_id": row.certificate_id, "reason": error.to_string()}),
            ),
        }
    }
    let found = requests.iter().map(|request| {
        let policies = request.principal.arn(scope).and_then(|arn| sources.get(arn.as_str()).cloned());
        let facts = match &request.principal {
            Principal::Certificate { certificate_id } => usable
                .get(certificate_id.as_str())
                .map(|certificate| Facts { certificate: certificate.clone(), ..Facts::default() }),
            // Nobody asks for it: it may do everything.
            Principal::RootKey { .. } => None,
        };
        let stored = facts.map(|facts| StoredAuthority { policies: policies.unwrap_or_default(), facts });
        (request.connection, stored)
    });
    Ok((heads.first().map_or(0, |head| head.sequence), found.collect()))
}

/// Who has signed a token.
///
/// # Errors
/// Why nobody is believed to have, for the log.
pub async fn of_token(
    env: &Env,
    scope: &Scope,
    token: &Token,
    expected: &Expected<'_>,
) -> core::result::Result<Principal, String> {
    let certificate = registered(env, scope, token.certificate_id()).await?;
    let verified = token.verify(&certificate, expected);
    // Uses of one token may come to any Broker.
    verified.and_then(DeviceToken::without_replay_window).map_err(|error| error.to_string())
}

/// Who has answered a challenge.
///
/// # Errors
/// Why nobody is believed to have, for the log.
pub async fn of_answer(env: &Env, scope: &Scope, answer: &Answer) -> core::result::Result<Principal, String> {
    let certificate_id = match answer.credential() {
        Credential::Id(id) => id.clone(),
        Credential::Certificate(certificate) => certificate.certificate_id().map_err(|error| error.to_string())?,
    };
    let certificate = registered(env, scope, &certificate_id).await?;
    let certificate_id = answer.verify(&certificate).map_err(|error| error.to_string())?;
    Ok(Principal::Certificate { certificate_id })
}

/// A certificate as it was registered. Whether it may be used is asked when it is known what it allows.
async fn registered(env: &Env, scope: &Scope, id: &CertificateId) -> core::result::Result<Certificate, String> {
    let statement = statements::select_certificate(Partition::FIRST, id, scope.certificate_arn(id).as_str());
    let rows: Vec<CertificateRow> =
        Registry::new(env.clone()).read(statement).await.map_err(|error| error.to_string())?;
    let row = rows.first().ok_or("the certificate is not registered")?;
    Certificate::from_pem(&row.pem).map_err(|error| error.to_string())
}
