//! What a client proves and what it may do: the Broker's questions that D1 has to be asked about.

use super::Inner;
use super::authorizations::Said;
use crate::failed_proofs::Prover;
use crate::host::log_line;
use crate::outgoing::now_millis;
use crate::{audit, authorities};
use authorizer::Invocation;
use broker::{AuthenticationStep, Input, LogEvent};
use bytes::Bytes;
use device_auth::enhanced::{Challenge, NONCE_BYTES};
use device_auth::jwt::{Expected, Token, without_port};
use js_sys::Uint8Array;
use messages::broker::ConnectionId;
use mqtt_codec::ReasonCode;
use registry::audit::{AuditEvent, Outcome};
use serde_json::json;
use std::rc::Rc;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    fn fill_with_random(bytes: &Uint8Array);
}

fn random_bytes() -> [u8; NONCE_BYTES] {
    let mut bytes = [0; NONCE_BYTES];
    let filled = Uint8Array::new_with_length(NONCE_BYTES as u32);
    fill_with_random(&filled);
    filled.copy_to(&mut bytes);
    bytes
}

impl Inner {
    /// A step of the one method that there is: a challenge, or what became of its answer.
    pub(super) async fn challenge(
        &self,
        connection: ConnectionId,
        client_id: &str,
        host: &str,
        data: &[u8],
    ) -> AuthenticationStep {
        let failure = |reason: &str| {
            log_line(&json!({"level": "warn", "event": "challenge_failed", "client_id": client_id, "reason": reason}));
            AuthenticationStep::Failure { reason_code: ReasonCode::NotAuthorized }
        };
        let Some(challenge) = self.challenges.borrow_mut().remove(&connection) else {
            return match Challenge::start(data, without_port(host), client_id, random_bytes(), now_millis()) {
                Ok(challenge) => {
                    let data = Some(Bytes::from(challenge.data()));
                    // It may be gone already, and nobody would take the challenge away again.
                    if self.sockets.borrow().contains_key(&connection) {
                        self.challenges.borrow_mut().insert(connection, challenge);
                    }
                    AuthenticationStep::Continue { data }
                }
                Err(error) => failure(&error.to_string()),
            };
        };
        let answer = match challenge.finish(data, now_millis()) {
            Ok(answer) => answer,
            Err(error) => return failure(&error.to_string()),
        };
        match authorities::of_answer(&self.env, &self.config, &answer).await {
            Ok((principal, certificate)) => AuthenticationStep::Success { principal, certificate, data: None },
            Err(reason) => failure(&reason),
        }
    }

    /// What was denied goes into the audit log; proofs that were no good are counted.
    pub(super) fn note_denied(self: &Rc<Self>, event: LogEvent) {
        let Some((action, kind)) = event.denied() else { return };
        let scope = &self.settings.scope;
        let name = event.topic.as_ref().or(event.client_id.as_ref()).cloned().unwrap_or_default();
        let resource = format!("arn:aws:iot:{}:{}:{kind}/{name}", scope.region.as_str(), scope.account_id.as_str());
        let is_connect = action == "iot:Connect";
        let prover = Prover::new(event.source_ip.as_deref(), event.client_id.as_deref());
        let event = AuditEvent {
            at: now_millis(),
            outcome: Outcome::Denied,
            principal: event.principal.unwrap_or_default(),
            source_ip: event.source_ip,
            action: action.to_owned(),
            resource,
            reason: event.reason.map(str::to_owned),
            trace_id: event.trace_id,
        };
        let inner = Rc::clone(self);
        self.spawn(async move {
            if is_connect {
                prover.failed(&inner.env).await;
            }
            audit::write(&inner.env, event).await;
        });
    }

    /// User name and password: an access key, or a JSON Web Token that a device has signed with the key of its
    /// certificate, or what a custom authorizer knows. What is plainly one of them is tried as no other.
    pub(super) fn authenticate(self: &Rc<Self>, said: Said, invocation: Option<String>) {
        if Prover::new(said.source_ip.as_deref(), Some(&said.client_id)).is_blocked() {
            return self.answer(Input::Authenticated { connection: said.connection, principal: None });
        }
        let own: Invocation =
            invocation.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let Ok(invocation) = own.with_user_name(said.username.as_deref().unwrap_or_default()) else {
            return self.answer(Input::Authenticated { connection: said.connection, principal: None });
        };
        if !invocation.is_explicit() {
            if let (Some(username), Some(password)) = (&said.username, &said.password)
                && let Ok(principal) = self.access_keys.authenticate_api_key(username, password)
            {
                return self.answer(Input::Authenticated { connection: said.connection, principal: Some(principal) });
            }
            let password = said.password.as_deref().and_then(|password| core::str::from_utf8(password).ok());
            if let Some(token) = password.and_then(|text| Token::parse(text).ok()) {
                return self.authenticate_token(said.connection, said.client_id, said.host, token);
            }
        }
        self.authenticate_by_authorizer(said, invocation);
    }

    fn authenticate_token(self: &Rc<Self>, connection: ConnectionId, client_id: String, host: String, token: Token) {
        let inner = Rc::clone(self);
        self.spawn(async move {
            let expected = Expected {
                audience: without_port(&host),
                client_id: (!client_id.is_empty()).then_some(client_id.as_str()),
                now: now_millis(),
            };
            let principal = match authorities::of_token(&inner.env, &inner.settings.scope, &token, &expected).await {
                Ok(principal) => Some(principal),
                Err(reason) => {
                    log_line(
                        &json!({"level": "warn", "event": "token_refused", "client_id": client_id, "reason": reason}),
                    );
                    None
                }
            };
            inner.answer(Input::Authenticated { connection, principal });
        });
    }
}
