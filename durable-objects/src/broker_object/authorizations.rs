//! Clients that custom authorizers have let in: what is asked about them again is kept until they go, over the sleep of
//! the object, too.

use super::Inner;
use crate::authorities;
use crate::custom_authorizer::{self, Authorization, Presented};
use crate::host::log_line;
use crate::outgoing::now_millis;
use crate::storage::{self, SqlStorage, StorageError, blob, integer, number};
use authorizer::{Invocation, Mqtt};
use broker::{AuthorityRequest, Input, StoredAuthority};
use bytes::Bytes;
use device_auth::jwt::without_port;
use device_auth::principal::Principal;
use messages::broker::ConnectionId;
use serde_json::json;
use std::collections::BTreeMap;
use std::rc::Rc;

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS authorizations (connection INTEGER PRIMARY KEY, bytes BLOB NOT NULL)";

/// What a client said in CONNECT.
pub struct Said {
    pub connection: ConnectionId,
    pub client_id: String,
    pub host: String,
    /// Where it comes from, if that is known.
    pub source_ip: Option<String>,
    pub username: Option<String>,
    pub password: Option<Bytes>,
}

/// Those that were kept over a sleep. What can't be read is left out: its client is asked to come again.
pub fn restore(sql: &SqlStorage) -> Result<BTreeMap<ConnectionId, Authorization>, StorageError> {
    storage::run(sql, SCHEMA, vec![])?;
    let rows = storage::rows(sql, "SELECT connection, bytes FROM authorizations", vec![])?;
    let mut kept = BTreeMap::new();
    for row in &rows {
        if let Ok(authorization) = serde_json::from_slice(blob(row, 1)?) {
            kept.insert(ConnectionId(number(row, 0)?), authorization);
        }
    }
    Ok(kept)
}

/// Forgets all: nobody has slept.
pub fn clear(sql: &SqlStorage) -> Result<(), StorageError> {
    storage::run(sql, SCHEMA, vec![])?;
    storage::run(sql, "DELETE FROM authorizations", vec![])
}

impl Inner {
    /// Asks the authorizer that a client means, if it means any, or if there is one for all.
    pub(super) fn authenticate_by_authorizer(self: &Rc<Self>, said: Said, invocation: Invocation) {
        let inner = Rc::clone(self);
        self.spawn(async move {
            let principal = match inner.asked_authorizer(&said, &invocation).await {
                Ok(principal) => principal,
                Err(reason) => {
                    log_line(
                        &json!({"level": "warn", "event": "authorizer_refused", "client_id": said.client_id, "reason": reason}),
                    );
                    None
                }
            };
            inner.answer(Input::Authenticated { connection: said.connection, principal });
        });
    }

    async fn asked_authorizer(&self, said: &Said, invocation: &Invocation) -> Result<Option<Principal>, String> {
        let Some(row) = custom_authorizer::meant(&self.env, invocation).await? else { return Ok(None) };
        let presented = Presented {
            invocation,
            server_name: without_port(&said.host),
            has_http: !invocation.headers().is_empty(),
            mqtt: Some(Mqtt {
                username: said.username.as_deref(),
                password: said.password.as_deref(),
                client_id: (!said.client_id.is_empty()).then_some(said.client_id.as_str()),
            }),
            connection_id: &format!("{}-{}", self.settings.id.index, said.connection.0),
        };
        let authorization = custom_authorizer::authorize(&self.env, row, &presented).await?;
        let principal = authorization.principal();
        // It may be gone already, and nobody would forget it again.
        if self.sockets.borrow().contains_key(&said.connection) {
            self.keep_authorization(said.connection, authorization);
        }
        Ok(Some(principal))
    }

    fn keep_authorization(&self, connection: ConnectionId, authorization: Authorization) {
        if self.settings.sockets_outlive_memory {
            let bytes = serde_json::to_vec(&authorization).unwrap_or_default();
            let statement = "INSERT OR REPLACE INTO authorizations (connection, bytes) VALUES (?, ?)";
            let kept = storage::run(&self.sql, statement, vec![integer(connection.0), bytes.into()]);
            // Without it a sleep ends the connection when its authorizer should be asked again.
            self.note_failure("authorization_not_kept", kept);
        }
        self.authorizations.borrow_mut().insert(connection, authorization);
    }

    pub(super) fn forget_authorization(&self, connection: ConnectionId) {
        if self.authorizations.borrow_mut().remove(&connection).is_some() && self.settings.sockets_outlive_memory {
            let statement = "DELETE FROM authorizations WHERE connection = ?";
            let forgotten = storage::run(&self.sql, statement, vec![integer(connection.0)]);
            self.note_failure("authorization_not_forgotten", forgotten);
        }
    }

    /// What clients may do: those of authorizers say so themselves, the registry has the others'.
    pub(super) fn load_authorities(self: &Rc<Self>, requests: Vec<AuthorityRequest>) {
        let inner = Rc::clone(self);
        self.spawn(async move {
            let (own, others): (Vec<AuthorityRequest>, Vec<AuthorityRequest>) =
                requests.iter().cloned().partition(|request| matches!(request.principal, Principal::Authorized { .. }));
            let input = match authorities::load(&inner.env, &inner.config, others).await {
                Ok((sequence, mut found)) => {
                    for request in own {
                        found.push((request.connection, inner.authority_of(request.connection).await));
                    }
                    Input::AuthoritiesLoaded { sequence, found }
                }
                Err(error) => {
                    log_line(
                        &json!({"level": "error", "event": "authorities_unavailable", "reason": error.to_string()}),
                    );
                    Input::AuthoritiesUnavailable { requests }
                }
            };
            inner.answer(input);
        });
    }

    async fn authority_of(&self, connection: ConnectionId) -> Option<StoredAuthority> {
        let known = self.authorizations.borrow().get(&connection).cloned()?;
        if known.lease.refresh_at > now_millis() {
            return Some(known.authority());
        }
        match known.refresh(&self.env).await {
            Ok(again) => {
                let authority = again.authority();
                if self.authorizations.borrow().contains_key(&connection) {
                    self.keep_authorization(connection, again);
                }
                Some(authority)
            }
            Err(reason) => {
                log_line(
                    &json!({"level": "warn", "event": "authorizer_refused", "authorizer": known.authorizer_name, "reason": reason}),
                );
                None
            }
        }
    }
}
