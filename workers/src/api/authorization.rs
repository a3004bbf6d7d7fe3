//! What a caller may do: the policies of whoever is not the deployment's own access key are asked before an operation
//! sees the request.

use super::error::{self, Failure};
use super::{Call, audit};
use broker::StoredAuthority;
use device_auth::AuthError;
use device_auth::jwt::without_port;
use durable_objects::{authorities, log_line, registration};
use policy::{Authority, Context, Decision, Effect, Facts, PolicyDocument};
use registry::authorization::{denied, needed};
use serde_json::json;
use x509::Certificate;

/// Lets a request pass, or says what is missing. `certificate`: the caller's in DER, where it is known: it may have to be
/// registered first. `authority`: what the caller may do, where it is known.
pub async fn check(
    call: &Call<'_>,
    certificate: Option<&[u8]>,
    authority: Option<StoredAuthority>,
) -> Result<(), Failure> {
    if call.principal.is_root() {
        return Ok(());
    }
    let deployment = call.deployment;
    let config = &deployment.config;
    let found = match authority {
        Some(authority) => Some(authority),
        None => {
            let asked = [authorities::Asked { principal: &call.principal, client_id: "" }];
            authorities::read(&deployment.env, &config.scope, &asked).await?.1.into_iter().next().flatten()
        }
    };
    let Some(stored) = found else {
        if let Some(Ok(certificate)) = certificate.map(Certificate::from_der) {
            registration::register_on_connect(&deployment.env, config, &certificate, call.now).await?;
        }
        return Err(error::of_auth(&AuthError::UnrecognizedClient).into());
    };
    let facts = Facts {
        source_ip: call.header("cf-connecting-ip").and_then(|ip| ip.parse().ok()),
        domain_name: call.header("host").map(|host| without_port(host).to_owned()),
        ..stored.facts
    };
    let documents: Vec<(String, PolicyDocument)> = stored
        .policies
        .into_iter()
        .filter_map(|source| Some((source.name, PolicyDocument::parse(&source.document).ok()?)))
        .collect();
    let named = documents.iter().map(|(name, document)| (name.as_str(), document));
    let authority = Authority::compile(named, &facts, &config.scope);
    let context = Context { now: call.now, ..Context::default() };
    for one in needed(&call.route, call.query, &call.body, &config.scope)? {
        let decision = authority.decide_any(&one.action, &one.resource, &context);
        if !decision.is_allowed() {
            let reason = reason(&authority, &decision);
            log_line(
                &json!({"level": "warn", "event": "request_denied", "request_id": call.request_id, "principal": call.principal.identifier(), "action": one.action, "resource": one.resource, "reason": reason}),
            );
            let plane = call.route.operation.plane();
            let refusal = denied(plane, call.principal.identifier(), &one, &reason);
            audit::note_denied(call, one, reason).await;
            return Err(refusal.into());
        }
    }
    Ok(())
}

fn reason(authority: &Authority, decision: &Decision) -> String {
    let policy = decision.by().and_then(|number| authority.policy_name(number)).unwrap_or_default();
    match decision.effect() {
        Effect::ExplicitDeny => format!("the policy {policy} denies it"),
        Effect::ImplicitDeny | Effect::Allowed => "no policy allows it".to_owned(),
    }
}
